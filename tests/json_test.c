/* json_test.c -- what the JSON reader takes and refuses, what its values are, and the writer. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/json_write.h"
#include "tests/unit.h"

/* --- whole texts ------------------------------------------------------------------------------ */

typedef struct text_case {
    const char *text;
    size_t bytes; /* 0: those before the zero */
} text_case;

static const text_case good[] = {
    { "{}", 0 },
    { "[]", 0 },
    { " \t\r\n{ \"a\" : [ 1 , 2 ] } \n", 0 },
    { "                                         []                                         ", 0 },
    { "0", 0 },
    { "-0", 0 },
    { "-0.0e-0", 0 },
    { "123.456e+7", 0 },
    { "1E5", 0 },
    { "123456789012345678901234567890123456789012345678901234567890", 0 },
    { "\"\"", 0 },
    { "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"", 0 },
    { "\"\\ud83d\\ude00\"", 0 },
    { "\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \x7f\"", 0 },
    { "\"\xef\xbf\xbf \xf4\x8f\xbf\xbf\"", 0 },
    { "true", 0 },
    { "false", 0 },
    { "null", 0 },
    { "[[],{},\"\",0,true,false,null,[[{}]]]", 0 },
    { "{\"a\":1,\"a\":2,\"\":{\"b\":[{\"c\":{}}]}}", 0 }, /* twice the same key is the caller's */
    { "[\"12345678\\\"12345678\",\"1234567\"]", 0 },
};

static const text_case bad[] = {
    { "", 0 },
    { "   ", 0 },
    { "[", 0 },
    { "]", 0 },
    { "{", 0 },
    { "[}", 0 },
    { "{]", 0 },
    { "[1", 0 },
    { "[1,", 0 },
    { "[1,]", 0 },
    { "[,1]", 0 },
    { "[1 2]", 0 },
    { "[1,,2]", 0 },
    { "[1]]", 0 },
    { "[] x", 0 },
    { "{}{}", 0 },
    { "{\"a\"}", 0 },
    { "{\"a\":}", 0 },
    { "{\"a\":1,}", 0 },
    { "{\"a\":1 \"b\":2}", 0 },
    { "{\"a\",1}", 0 },
    { "{a:1}", 0 },
    { "{1:1}", 0 },
    { "{'a':1}", 0 },
    { "{\"a\":1", 0 },
    { "{\"a", 0 },
    { "{,}", 0 },
    { "01", 0 },
    { "-01", 0 },
    { "00", 0 },
    { "-", 0 },
    { "+1", 0 },
    { ".5", 0 },
    { "1.", 0 },
    { "1.e5", 0 },
    { "1e", 0 },
    { "1e+", 0 },
    { "1.5.5", 0 },
    { "0x10", 0 },
    { "--1", 0 },
    { "NaN", 0 },
    { "Infinity", 0 },
    { "-Infinity", 0 },
    { "tru", 0 },
    { "truE", 0 },
    { "True", 0 },
    { "nul", 0 },
    { "nulll", 0 },
    { "\"", 0 },
    { "\"a", 0 },
    { "'a'", 0 },
    { "\"\\\"", 0 },
    { "\"\\x41\"", 0 },
    { "\"\\a\"", 0 },
    { "\"\\u12\"", 0 },
    { "\"\\u12g4\"", 0 },
    { "\"\\u\"", 0 },
    { "\"\\U0041\"", 0 },
    { "\"\\", 0 },
    { "\"a\nb\"", 0 },
    { "\"a\tb\"", 0 },
    { "\"12345678\x1f\"", 0 },
    { "\"a\0b\"", 5 },
    { "[]\0", 3 },
    { "\"\x80\"", 0 },
    { "\"\xc3\"", 0 },
    { "\"\xc0\x80\"", 0 },     /* overlong */
    { "\"\xed\xa0\x80\"", 0 }, /* a surrogate in UTF-8 */
    { "\"\xf4\x90\x80\x80\"", 0 },
    { "\"\xff\"", 0 },
    { "\"\xe2\x82", 0 },
    { "\"\\u00e", 0 },
    { "\xef\xbb\xbf{}", 0 }, /* a byte order mark */
    { "[1]//", 0 },
    { "/* */[]", 0 },
    { "\xc2\xa0[]", 0 },
    { "\f[]", 0 },
    { "[\"a\",\n4\n,1,", 0 },
    { "{\"a\":{\"b\":[}}", 0 },
};

/* Skips the text from memory of exactly its size, so that a sanitizer sees a step too far. */
static at_status skip_text(const char *text, size_t bytes, at_error *err)
{
    char *copy = malloc(bytes + !bytes);
    at_json j;
    assert_non_null(copy);
    memcpy(copy, text, bytes);
    at_json_start(&j, copy, bytes, err);
    at_json_skip(&j);
    at_status status = at_json_end(&j);
    free(copy);
    return status;
}

static void texts_are_taken_or_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < AT_COUNT(good); i++) {
        at_error err = { AT_OK, "" };
        size_t bytes = good[i].bytes ? good[i].bytes : strlen(good[i].text);
        if (skip_text(good[i].text, bytes, &err) != AT_OK)
            fail_msg("'%s' was refused: %s", good[i].text, err.text);
    }
    for (size_t i = 0; i < AT_COUNT(bad); i++) {
        at_error err = { AT_OK, "" };
        size_t bytes = bad[i].bytes ? bad[i].bytes : strlen(bad[i].text);
        if (skip_text(bad[i].text, bytes, &err) != AT_CORRUPT || !err.text[0])
            fail_msg("'%s' was taken", bad[i].text);
        assert_int_equal(skip_text(bad[i].text, bytes, NULL), AT_CORRUPT);
    }
}

/* Every beginning of a good text ends in an error, and nothing is read behind its end. */
static void beginnings_are_refused(void **state)
{
    static const char text[] =
        "{\"a\":[1.5e+3,-2,{\"\\u00e9\xe2\x82\xac\":true}],\"b\":null,\"c\":\"\\ud83d\\ude00\"}";
    (void)state;
    for (size_t n = 0; n + 1 < sizeof text; n++)
        assert_int_equal(skip_text(text, n, NULL), AT_CORRUPT);
    assert_int_equal(skip_text(text, sizeof text - 1, NULL), AT_OK);
}

static void nesting_has_a_limit(void **state)
{
    char text[3 * AT_JSON_DEPTH_MAX];
    at_error err = { AT_OK, "" };
    (void)state;
    for (int depth = AT_JSON_DEPTH_MAX; depth <= AT_JSON_DEPTH_MAX + 1; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        at_status status = skip_text(text, 2 * (size_t)depth, &err);
        assert_int_equal(status, depth > AT_JSON_DEPTH_MAX ? AT_CORRUPT : AT_OK);
    }
    assert_non_null(strstr(err.text, "nested over 64 deep"));
}

/* --- values ----------------------------------------------------------------------------------- */

typedef struct int_case {
    const char *text;
    bool is_int, is_uint;
    int64_t i;
    uint64_t u;
} int_case;

static const int_case ints[] = {
    { "0", true, true, 0, 0 },
    { "-0", true, false, 0, 0 },
    { "42", true, true, 42, 42 },
    { "-42", true, false, -42, 0 },
    { "9223372036854775807", true, true, INT64_MAX, INT64_MAX },
    { "9223372036854775808", false, true, 0, UINT64_C(1) << 63 },
    { "-9223372036854775808", true, false, INT64_MIN, 0 },
    { "-9223372036854775809", false, false, 0, 0 },
    { "18446744073709551615", false, true, 0, UINT64_MAX },
    { "18446744073709551616", false, false, 0, 0 },
    { "99999999999999999999999999", false, false, 0, 0 },
    { "9007199254740993", true, true, 9007199254740993, 9007199254740993 }, /* no double is */
    { "1e3", false, false, 0, 0 },
    { "1.0", false, false, 0, 0 },
    { "\"1\"", false, false, 0, 0 },
    { "true", false, false, 0, 0 },
    { "01", false, false, 0, 0 },
};

static void integers_are_exact(void **state)
{
    (void)state;
    for (size_t k = 0; k < AT_COUNT(ints); k++) {
        const int_case *c = &ints[k];
        at_json j;
        int64_t i = 77;
        uint64_t u = 77;
        at_json_start(&j, c->text, strlen(c->text), NULL);
        bool taken = at_json_int(&j, &i) && at_json_end(&j) == AT_OK;
        if (taken != c->is_int || (taken && i != c->i))
            fail_msg("'%s' as int: %s, %lld", c->text, taken ? "taken" : "refused", (long long)i);
        at_json_start(&j, c->text, strlen(c->text), NULL);
        taken = at_json_uint(&j, &u) && at_json_end(&j) == AT_OK;
        if (taken != c->is_uint || (taken && u != c->u))
            fail_msg("'%s' as uint: %s, %llu", c->text, taken ? "taken" : "refused",
                     (unsigned long long)u);
    }
}

static bool real_of(const char *text, double *out)
{
    at_json j;
    at_json_start(&j, text, strlen(text), NULL);
    return at_json_real(&j, out) && at_json_end(&j) == AT_OK;
}

static void reals_are_rounded_once(void **state)
{
    double x = 0;
    (void)state;
    assert_true(real_of("0.1", &x) && x == 0.1);
    assert_true(real_of("-1.7976931348623157e308", &x) && x == -DBL_MAX);
    assert_true(real_of("5e-324", &x) && x > 0);
    assert_true(real_of("1e-999", &x) && x == 0);
    assert_true(real_of("2", &x) && x == 2);
    assert_false(real_of("1e309", &x));
    assert_false(real_of("null", &x));
    assert_false(real_of("1e", &x));
    char text[AT_JSON_NUMBER_MAX + 2];
    memset(text, '1', sizeof text);
    text[AT_JSON_NUMBER_MAX] = 0;
    assert_false(real_of(text, &x)); /* over the range */
    text[100] = '.';
    assert_true(real_of(text, &x));
    text[AT_JSON_NUMBER_MAX] = '1';
    text[AT_JSON_NUMBER_MAX + 1] = 0;
    assert_false(real_of(text, &x)); /* too long a spelling */
}

typedef struct string_case {
    const char *text, *meaning; /* NULL: none */
} string_case;

static const string_case strings[] = {
    { "\"\"", "" },
    { "\"plain\"", "plain" },
    { "\"a\\nb\\tc\\\\d\\\"e\\/f\\b\\f\\r\"", "a\nb\tc\\d\"e/f\b\f\r" },
    { "\"\\u0041\\u00e9\\u20AC\\uD83D\\uDE00\"", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" },
    { "\"\\u007f\\u0080\\u07ff\\u0800\\uffff\"", "\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf" },
    { "\"\\udbff\\udfff\"", "\xf4\x8f\xbf\xbf" },
    { "\"\\u0000\"", NULL },
    { "\"\\ud800\"", NULL },
    { "\"\\ud800x\"", NULL },
    { "\"\\ud800\\n\"", NULL },
    { "\"\\ud800\\ud800\"", NULL },
    { "\"\\ud83d\\u0041\"", NULL },
    { "\"\\udc00\"", NULL },
    { "\"\\ude00\\ud83d\"", NULL },
};

static void strings_are_resolved(void **state)
{
    (void)state;
    for (size_t k = 0; k < AT_COUNT(strings); k++) {
        const string_case *c = &strings[k];
        size_t bytes = strlen(c->text), room = c->meaning ? strlen(c->meaning) : 64;
        char out[64], *copy = malloc(bytes);
        at_json j;
        at_json_text s;
        assert_non_null(copy);
        memcpy(copy, c->text, bytes);
        at_json_start(&j, copy, bytes, NULL);
        assert_true(at_json_string(&j, &s) && at_json_end(&j) == AT_OK);
        assert_int_equal(at_json_unescape(&s, out, room), c->meaning ? room : SIZE_MAX);
        assert_true(!room || at_json_unescape(&s, out, room - 1) == SIZE_MAX);
        if (c->meaning) {
            assert_memory_equal(out, c->meaning, room);
            assert_true(at_json_is(&s, c->meaning) && !at_json_is(&s, "something else"));
            snprintf(out, sizeof out, "%s!", c->meaning);
            assert_false(at_json_is(&s, out));
            assert_int_equal(at_json_unescape(&s, copy + 1, bytes - 1), room); /* in place */
            assert_memory_equal(copy + 1, c->meaning, room);
        }
        free(copy);
    }
}

static void members_and_elements_come_in_turns(void **state)
{
    static const char text[] = "{\"list\":[1,[],{\"x\":true}],\"skip\\u0070ed\":{\"a\":[{}]},"
                               "\"raw\" : [ 1, {} ] ,\"last\":-1.5e1}";
    at_json j;
    at_json_text key;
    at_error err = { AT_OK, "" };
    int elements = 0, seen = 0;
    (void)state;
    at_json_start(&j, text, strlen(text), &err);
    for (at_json_object(&j); at_json_key(&j, &key); seen++) {
        const char *raw;
        size_t bytes;
        double x;
        if (at_json_is(&key, "list")) {
            for (at_json_array(&j); at_json_element(&j); elements++)
                assert_true(at_json_skip(&j));
        } else if (at_json_is(&key, "raw")) {
            assert_true(at_json_raw(&j, &raw, &bytes));
            assert_int_equal(bytes, 9);
            assert_memory_equal(raw, "[ 1, {} ]", bytes);
        } else if (at_json_is(&key, "last")) {
            assert_int_equal(at_json_peek(&j), AT_JSON_NUMBER);
            assert_true(at_json_real(&j, &x) && x == -15);
        } else {
            assert_true(at_json_is(&key, "skipped"));
            assert_true(at_json_skip(&j));
        }
    }
    assert_int_equal(at_json_end(&j), AT_OK);
    assert_true(elements == 3 && seen == 4);
}

static void strings_may_have_a_limit(void **state)
{
    static const char *const texts[] = { "\"abcd\"", "\"ab\\n\"", "\"\\u00\"",
                                         "\"\xc3\xa9\xc3\xa9\"", "\"\\n\\n\"" };
    (void)state;
    for (size_t i = 0; i < AT_COUNT(texts); i++)
        for (size_t max = 0; max <= 5; max++) {
            at_json j;
            at_json_text s;
            at_error err = { AT_OK, "" };
            at_json_start(&j, texts[i], 6, &err);
            j.string_max = max;
            bool taken = at_json_string(&j, &s), good_one = i != 2;
            assert_int_equal(taken, good_one && (max == 0 || max >= 4));
            assert_true(taken || !good_one || strstr(err.text, "a string of at most"));
        }
}

static void first_error_stays(void **state)
{
    at_json j;
    at_error err = { AT_OK, "" };
    int64_t i;
    bool b;
    (void)state;
    at_json_start(&j, "[1,2]", 5, &err);
    assert_false(at_json_object(&j));
    assert_non_null(strstr(err.text, "expected an object at byte 0, found '['"));
    assert_false(at_json_refuse(&j, "later %d", 1) || at_json_int(&j, &i) || at_json_bool(&j, &b));
    assert_false(at_json_array(&j) || at_json_element(&j) || at_json_skip(&j));
    assert_int_equal(at_json_peek(&j), AT_JSON_NOTHING);
    assert_int_equal(at_json_end(&j), AT_CORRUPT);
    assert_null(strstr(err.text, "later"));
    at_json_start(&j, "[1,2]", 5, &err);
    assert_false(at_json_refuse(&j, "own %s", "words"));
    assert_int_equal(at_json_end(&j), AT_CORRUPT);
    assert_string_equal(err.text, "own words");
}

/* --- the writer ------------------------------------------------------------------------------- */

static void put_sample(at_json_writer *w)
{
    at_json_write_object(w);
    at_json_write_key(w, "k\n\"");
    at_json_write_array(w);
    at_json_write_int(w, INT64_MIN);
    at_json_write_uint(w, UINT64_MAX);
    at_json_write_real(w, 0.1);
    at_json_write_real(w, -1e300);
    at_json_write_bool(w, true);
    at_json_write_null(w);
    at_json_write_array(w);
    at_json_write_close(w);
    at_json_write_close(w);
    at_json_write_key(w, "t");
    at_json_write_string(w, "\x01\b\\\xe2\x82\xac\x1f\x7f", 8);
    at_json_write_key(w, "r");
    at_json_write_raw(w, "{}", 2);
    at_json_write_close(w);
}

static const char sample[] =
    "{\"k\\n\\\"\":[-9223372036854775808,18446744073709551615,0.1,-1e+300,"
    "true,null,[]],\"t\":\"\\u0001\\b\\\\\xe2\x82\xac\\u001f\x7f\",\"r\":{}}";

static void writer_writes_what_the_reader_reads(void **state)
{
    at_json_writer w = { .bytes_max = 4096 };
    at_error err = { AT_OK, "" };
    (void)state;
    put_sample(&w);
    assert_int_equal(at_json_write_end(&w, &err), AT_OK);
    assert_int_equal(w.bytes, strlen(sample));
    assert_memory_equal(w.text, sample, w.bytes);
    assert_int_equal(skip_text(w.text, w.bytes, &err), AT_OK);
    at_json_writer_free(&w);
}

static at_status count_bytes(void *context, const char *text, size_t bytes, at_error *err)
{
    size_t *left = context;
    (void)text;
    if (bytes > *left)
        return at_fail(err, AT_IO, "the sink is full");
    *left -= bytes;
    return AT_OK;
}

static void writer_fails_once_and_stays_so(void **state)
{
    static const double infinite = HUGE_VAL;
    at_error err = { AT_OK, "" };
    (void)state;
    for (int k = 0; k < 5; k++) {
        size_t left = 10;
        at_json_writer w = { .bytes_max = k == 0 ? strlen(sample) - 1 : 4096 };
        if (k == 4)
            w.sink = (at_json_sink){ count_bytes, &left };
        at_json_write_array(&w);
        if (k == 1)
            at_json_write_real(&w, infinite);
        if (k == 2)
            at_json_write_string(&w, "\xff", 1);
        for (int i = 0; i <= AT_JSON_DEPTH_MAX && k == 3; i++)
            at_json_write_array(&w);
        put_sample(&w);
        at_json_write_close(&w);
        err.text[0] = 0;
        assert_int_equal(at_json_write_end(&w, &err), k == 4 ? AT_IO : AT_INVALID);
        assert_true(err.text[0]);
        at_json_writer_free(&w);
    }
}

static void sink_needs_little_memory(void **state)
{
    enum { BYTES = 1 << 20 };
    size_t left = 64 << 20;
    at_json_writer w = { .bytes_max = 64 << 20, .sink = { count_bytes, &left } };
    char *text = malloc(BYTES);
    (void)state;
    assert_non_null(text);
    memset(text, 'a', BYTES);
    at_json_write_array(&w);
    for (int i = 0; i < 20; i++)
        at_json_write_string(&w, text, BYTES);
    at_json_write_close(&w);
    assert_int_equal(at_json_write_end(&w, NULL), AT_OK);
    assert_true(w.capacity <= 1 << 17);
    assert_int_equal(w.total, 20 * (BYTES + 3) + 1);
    assert_int_equal((64 << 20) - left, w.total);
    at_json_writer_free(&w);
    free(text);
}

/* --- speed, printed: machines differ ---------------------------------------------------------- */

/* Of this process's work, so that a busy machine changes little. */
static double seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

static void large_texts_are_read_quickly(void **state)
{
    enum { BYTES = 10 << 20 };
    static const char member[] =
        "\"model.layers.%06d.self_attn.q_proj.weight\":{\"dtype\":\"BF16\","
        "\"shape\":[4096,4096],\"data_offsets\":[%d,%d]},";
    char *text = malloc(BYTES);
    size_t used = 1;
    (void)state;
    assert_non_null(text);
    text[0] = '{';
    for (int i = 0; used + 256 < BYTES; i++)
        used += (size_t)snprintf(text + used, BYTES - used, member, i, i, i + 1);
    text[used - 1] = '}';
    double start = seconds();
    assert_int_equal(skip_text(text, used, NULL), AT_OK);
    printf("%.1f MB of JSON skipped in %.1f ms\n", (double)used / 1e6, 1e3 * (seconds() - start));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_taken_or_refused),
        cmocka_unit_test(beginnings_are_refused),
        cmocka_unit_test(nesting_has_a_limit),
        cmocka_unit_test(integers_are_exact),
        cmocka_unit_test(reals_are_rounded_once),
        cmocka_unit_test(strings_are_resolved),
        cmocka_unit_test(members_and_elements_come_in_turns),
        cmocka_unit_test(strings_may_have_a_limit),
        cmocka_unit_test(first_error_stays),
        cmocka_unit_test(writer_writes_what_the_reader_reads),
        cmocka_unit_test(writer_fails_once_and_stays_so),
        cmocka_unit_test(sink_needs_little_memory),
        cmocka_unit_test(large_texts_are_read_quickly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
