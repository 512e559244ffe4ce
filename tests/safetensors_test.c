/* safetensors_test.c -- reading safetensors: files of the Python library, hostile headers. */
#include <time.h>

#include "tests/safetensors_files.h"
#include "tests/unit.h"

/* --- files of the Python library -------------------------------------------------------------- */

static void every_type_is_read_as_written(void **state)
{
    scratch dir;
    char path[PATH_BYTES], name[32];
    (void)state;
    make_scratch(&dir);
    at_source *s = open_good(GOLDEN "types.safetensors");
    assert_int_equal(s->list.count, AT_STORED_COUNT - 1);
    assert_int_equal(s->list.text_count, 0);
    for (int type = AT_STORED_NONE + 1; type < AT_STORED_COUNT; type++) {
        snprintf(name, sizeof name, "t.%s", at_stored_about((at_stored)type)->name);
        int i = at_tensors_find(&s->list, name);
        assert_true(i >= 0);
        const at_stored_tensor *t = &s->list.items[i];
        assert_true(t->type == (at_stored)type && t->rank == 2 && t->size[0] == 5);
        assert_int_equal(t->size[1], 7);
        expect_values(s, i);
    }
    expect_same_file(s, GOLDEN "types.safetensors", path_in(&dir, "types.safetensors", path));
    at_source_close(s);
    drop_scratch(&dir);
}

typedef struct named {
    const char *name, *shape;
    at_stored type;
} named;

static const named names[] = {
    { "scalar", "scalar", AT_STORED_F32 },
    { "empty", "0x3", AT_STORED_F32 },
    { "empty.too", "4x0", AT_STORED_BF16 },
    { "eight.axes", "1x2x1x2x1x3x1x2", AT_STORED_I16 },
    { "schl\xc3\xbcssel.\xe6\xa8\xa1\xe5\x9e\x8b.\xf0\x9f\x98\x80", "3", AT_STORED_U8 },
    { "quote\"back\\slash/", "4", AT_STORED_U8 },
    { "a name with blanks", "2", AT_STORED_F64 },
};

static void names_and_texts_are_read_as_written(void **state)
{
    static const char note[] = "tab\t \"quoted\" \xe2\x82\xac \x01 \\ \xf0\x9f\x98\x80";
    scratch dir;
    char path[PATH_BYTES], shape[64];
    (void)state;
    make_scratch(&dir);
    at_source *s = open_good(GOLDEN "names.safetensors");
    assert_int_equal(s->list.count, AT_COUNT(names));
    for (size_t k = 0; k < AT_COUNT(names); k++) {
        int i = at_tensors_find(&s->list, names[k].name);
        assert_true(i >= 0);
        assert_int_equal(s->list.items[i].type, names[k].type);
        at_stored_shape_text(&s->list.items[i], shape, sizeof shape);
        assert_string_equal(shape, names[k].shape);
        expect_values(s, i);
    }
    assert_int_equal(s->list.text_count, 2);
    assert_string_equal(at_tensors_text(&s->list, "format")->data, "pt");
    assert_string_equal(at_tensors_text(&s->list, "note")->data, note);
    expect_same_file(s, GOLDEN "names.safetensors", path_in(&dir, "names.safetensors", path));
    at_source_close(s);
    drop_scratch(&dir);
}

/* --- hostile headers -------------------------------------------------------------------------- */

typedef struct hostile {
    const char *header;
    size_t data; /* bytes behind it */
    const char *piece;
} hostile;

#define T(members)         "{\"t\":{" members "}}"
#define U8(shape, offsets) "\"dtype\":\"U8\",\"shape\":" shape ",\"data_offsets\":" offsets
#define REST               "\"shape\":[1],\"data_offsets\":[0,1]"

static const hostile headers[] = {
    { "{", 0, "expected a header" },
    { "{\"", 0, "expected '\"'" },
    { "{]", 0, "expected a key" },
    { "{}x", 0, "expected the end" },
    { "{}{}", 0, "expected the end" },
    { "{} ", 1, "the end of the file" },
    { "{}", 5, "the tensors end at 0 of the data; expected 5" },
    { "{\"t\"}", 0, "expected ':'" },
    { "{\"t\":1}", 0, "tensor 't': expected an object" },
    { "{\"t\":[]}", 0, "tensor 't': expected an object" },
    { "{\"t\":null}", 0, "tensor 't': expected an object" },
    { "{\"t\":{}}", 0, "found no dtype" },
    { "{\"\":{" ONE "}}", 1, "empty" },
    { "{\"a\\u0000b\":{" ONE "}}", 1, "surrogate pair or a zero" },
    { "{\"a\\ud800b\":{" ONE "}}", 1, "surrogate pair or a zero" },
    { "{\"a\\nb\":{" ONE "}}", 1, "control characters" },
    { "{\"a\\u001b[2J\":{" ONE "}}", 1, "control characters" },
    { "{\"a\xff\":{" ONE "}}", 1, "UTF-8" },
    { "{\"a\x01\":{" ONE "}}", 1, "control characters" },
    { T("\"dtype\":\"U8\""), 1, "found no shape" },
    { T("\"dtype\":\"U8\",\"shape\":[1]"), 1, "found no data_offsets" },
    { T("\"dtype\":\"U8\",\"data_offsets\":[0,1]"), 1, "found no shape" },
    { T(REST), 1, "found no dtype" },
    { T(ONE ",\"extra\":1"), 1, "found 'extra'" },
    { T("\"extra\":{\"deep\":[]}," ONE), 1, "found 'extra'" },
    { T(ONE ",\"shape\":[1]"), 1, "found 'shape' twice" },
    { T(ONE ",\"dtype\":\"U8\""), 1, "found 'dtype' twice" },
    { T(ONE ",\"d\\u0074ype\":\"U8\""), 1, "twice" },
    { T(ONE ",\"data_offsets\":[0,1]"), 1, "found 'data_offsets' twice" },
    { T(ONE ","), 1, "expected a key" },
    { T("\"dtype\":1," REST), 1, "tensor 't': expected a string" },
    { T("\"dtype\":\"u8\"," REST), 1, "found 'u8'" },
    { T("\"dtype\":\"C64\"," REST), 1, "found 'C64'" },
    { T("\"dtype\":\"F4\"," REST), 1, "found 'F4'" },
    { T("\"dtype\":\"\"," REST), 1, "found ''" },
    { T("\"dtype\":\"U8\\u0000\"," REST), 1, "found 'U8\\u0000'" },
    { T(U8("1", "[0,1]")), 1, "expected an array" },
    { T(U8("[-1]", "[0,1]")), 1, "found -1" },
    { T(U8("[1.0]", "[0,1]")), 1, "found 1.0" },
    { T(U8("[1e3]", "[0,1]")), 1, "found 1e3" },
    { T(U8("[\"1\"]", "[0,1]")), 1, "expected a number" },
    { T(U8("[null]", "[0,1]")), 1, "expected a number" },
    { T(U8("[[1]]", "[0,1]")), 1, "expected a number" },
    { T(U8("[01]", "[0,1]")), 1, "expected ','" },
    { T(U8("[1,]", "[0,1]")), 1, "expected a value" },
    { T(U8("[9223372036854775808]", "[0,1]")), 1, "below 2^63" },
    { T(U8("[18446744073709551616]", "[0,1]")), 1, "2^64 - 1" },
    { T(U8("[4294967296,4294967296]", "[0,1]")), 1, "no memory can hold" },
    { T(U8("[9223372036854775807,2]", "[0,1]")), 1, "no memory can hold" },
    { T("\"dtype\":\"F64\",\"shape\":[2305843009213693952],\"data_offsets\":[0,0]"), 0,
      "no memory can hold" },
    { T(U8("[1,1,1,1,1,1,1,1,1]", "[0,1]")), 1, "at most 8 axes" },
    { T(U8("[2]", "[0,1]")), 1, "its shape needs 2" },
    { T(U8("[]", "[0,0]")), 0, "its shape needs 1" },
    { T("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,3]"), 3, "its shape needs 4" },
    { T(U8("[1]", "[1,0]")), 1, "begin at 1 and end before, at 0" },
    { T(U8("[1]", "[0,2]")), 1, "the file has 1 bytes of data" },
    { T(U8("[1]", "[9223372036854775808,9223372036854775809]")), 1, "1 bytes of data" },
    { T(U8("[1]", "[18446744073709551615,0]")), 1, "end before" },
    { T(U8("[1]", "[-1,0]")), 1, "found -1" },
    { T(U8("[1]", "[0,1e0]")), 1, "found 1e0" },
    { T(U8("[1]", "[0]")), 1, "expected two data_offsets, found 1" },
    { T(U8("[1]", "[]")), 1, "expected two data_offsets, found 0" },
    { T(U8("[1]", "[0,1,2]")), 1, "expected two data_offsets, found more" },
    { T(U8("[1]", "{}")), 1, "expected an array" },
    { T(U8("[1]", "[1,2]")), 2, "tensor 't' begins at 1 of the data; expected 0" },
    { "{\"a\":{" ONE "},\"b\":{" U8("[1]", "[2,3]") "}}", 3, "tensor 'b' begins at 2" },
    { "{\"a\":{" U8("[2]", "[0,2]") "},\"b\":{" U8("[2]", "[1,3]") "}}", 3, "'b' begins at 1" },
    { "{\"b\":{" U8("[2]", "[1,3]") "},\"a\":{" U8("[2]", "[0,2]") "}}", 3, "'b' begins at 1" },
    { "{\"a\":{" ONE "},\"a\":{" U8("[1]", "[1,2]") "}}", 2, "tensor 'a' is there twice" },
    { "{\"a\":{" ONE "},\"\\u0061\":{" U8("[1]", "[1,2]") "}}", 2, "tensor 'a' is there twice" },
    { "{\"a\":{" ONE "},\"a\":{" ONE "}}", 1, "neither overlap" },
    { "{\"__metadata__\":1}", 0, "expected an object" },
    { "{\"__metadata__\":{\"a\":1}}", 0, "expected a string" },
    { "{\"__metadata__\":{\"a\":{\"b\":\"c\"}}}", 0, "expected a string" },
    { "{\"__metadata__\":{\"a\":\"b\",\"a\":\"b\"}}", 0, "'a' is there twice" },
    { "{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__ is there twice" },
    { "{\"__metadata__\":{\"a\":\"\\udead\"}}", 0, "surrogate" },
    { "{\"__metadata__\":{\"\":\"b\"}}", 0, "empty" },
    { "{\"__metadata__\":{\"a\\u007f\":\"b\"}}", 0, "control" },
    { "{\"t\":{\"dtype\":[[[[[[[[", 0, "expected a string" },
};

static void hostile_headers_are_refused(void **state)
{
    scratch dir;
    char path[PATH_BYTES];
    (void)state;
    make_scratch(&dir);
    path_in(&dir, "hostile.safetensors", path);
    for (size_t i = 0; i < AT_COUNT(headers); i++) {
        const hostile *h = &headers[i];
        size_t bytes = strlen(h->header);
        put_safetensors(path, bytes, h->header, bytes, h->data);
        expect_refusal(path, h->piece, h->header);
        expect_refusal(path, "hostile.safetensors", h->header);
    }
    drop_scratch(&dir);
}

typedef struct lie {
    uint64_t length;
    size_t bytes;
    const char *piece;
} lie;

static void lying_lengths_are_refused(void **state)
{
    static const lie lies[] = {
        { 0, 2, "begins with '{', found none" },
        { 1, 2, "begins with '{', found none" },
        { 3, 2, "has 3 bytes, but the file only 10" },
        { 16000000, 2, "has 16000000 bytes, but" },
        { 16000001, 2, "at most 16000000" },
        { UINT64_C(1) << 32, 2, "at most 16000000" },
        { (UINT64_C(1) << 56) - 1, 2, "at most 16000000" },
        { 2, 1, "has 2 bytes, but the file only 9" },
    };
    static const unsigned char torn[] = { 2, 0, 0, 0, 0, 0, 0, 0 };
    scratch dir;
    char path[PATH_BYTES];
    (void)state;
    make_scratch(&dir);
    path_in(&dir, "lie.safetensors", path);
    for (size_t i = 0; i < AT_COUNT(lies); i++) {
        put_safetensors(path, lies[i].length, "{}", lies[i].bytes, 0);
        expect_refusal(path, lies[i].piece, lies[i].piece);
    }
    for (size_t n = 0; n <= sizeof torn; n++) {
        put_file(path, torn, n);
        expect_refusal(path, "expected a file of weights", "a torn file");
    }
    put_safetensors(path, 4, "[{}]", 4, 0);
    expect_refusal(path, "expected a file of weights", "an array");
    put_safetensors(path, 2, "{}", 2, 0);
    at_source_close(open_good(path)); /* no tensors are none to miss */
    drop_scratch(&dir);
    expect_refusal("/tmp/there is no such file", "no such file", "no file");
}

/* --- large headers: none may cost more than its bytes ----------------------------------------- */

/* Of this process's work, so that a busy machine changes little. */
static double milliseconds(void)
{
    return 1e3 * (double)clock() / CLOCKS_PER_SEC;
}

enum { LARGE_BYTES = 15 * 1000 * 1000 };

typedef struct large {
    const char *what, *begin;
    char fill;
    const char *repeat; /* instead of fill, may hold %d */
} large;

static size_t fill_large(char *text, const large *l)
{
    size_t used = (size_t)snprintf(text, 256, "%s", l->begin);
    if (!l->repeat) {
        memset(text + used, l->fill, LARGE_BYTES - used);
        return LARGE_BYTES;
    }
    for (int i = 0; i < 200000 && used + 256 < LARGE_BYTES; i++)
        used += (size_t)snprintf(text + used, 256, l->repeat, i, i % 7 ? i : 200000 - i,
                                 i % 7 ? i : 200000 - i);
    text[used - 1] = '}';
    return used;
}

static void large_headers_are_refused_quickly(void **state)
{
    static const large cases[] = {
        { "garbage", "{", 'x', NULL },
        { "blanks", "{", ' ', NULL },
        { "one name", "{\"", 'a', NULL },
        { "brackets", "{\"a\":", '[', NULL },
        { "digits", "{\"a\":{\"shape\":[", '7', NULL },
        { "backslashes", "{\"", '\\', NULL },
        { "two bytes a character", "{\"", (char)0xc3, NULL },
        { "empty tensors behind the end", "{", 0,
          "\"a%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[%d,%d]}," },
        { "one text", "{\"__metadata__\":{\"a\":\"", '\\', NULL },
        { "tensors with a hole", "{", 0,
          "\"a%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}," },
        { "texts", "{\"__metadata__\":{", 0, "\"a%d\":\"%d%d\"," },
    };
    scratch dir;
    char path[PATH_BYTES], *text = malloc(LARGE_BYTES);
    (void)state;
    assert_non_null(text);
    make_scratch(&dir);
    path_in(&dir, "large.safetensors", path);
    for (size_t i = 0; i < AT_COUNT(cases); i++) {
        size_t bytes = fill_large(text, &cases[i]);
        at_source *s;
        at_error err = { AT_OK, "" };
        put_safetensors(path, bytes, text, bytes, 1);
        double start = milliseconds();
        assert_int_not_equal(at_source_open(&s, path, &err), AT_OK);
        double spent = milliseconds() - start;
        printf("%5.1f MB of %s refused in %.1f ms%.60s\n", (double)bytes / 1e6, cases[i].what,
               spent, strchr(err.text, ':'));
        assert_true(spent < 3000); /* quadratic work would take minutes; sanitizers take 1 s */
    }
    free(text);
    drop_scratch(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_read_as_written),
        cmocka_unit_test(names_and_texts_are_read_as_written),
        cmocka_unit_test(hostile_headers_are_refused),
        cmocka_unit_test(lying_lengths_are_refused),
        cmocka_unit_test(large_headers_are_refused_quickly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
