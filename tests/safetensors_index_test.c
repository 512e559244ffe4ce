/* safetensors_index_test.c -- models in several files: indexes, folders, files that come and go. */
#include "tests/safetensors_files.h"
#include "tests/unit.h"

/* --- a good one ------------------------------------------------------------------------------- */

static void model_in_several_files_is_one(void **state)
{
    static const char *const paths[] = { GOLDEN "sharded", GOLDEN "sharded/",
                                         GOLDEN "sharded/model.safetensors.index.json" };
    (void)state;
    for (size_t k = 0; k < AT_COUNT(paths); k++) {
        at_source *s = open_good(paths[k]);
        assert_int_equal(s->list.count, 4);
        assert_int_equal(s->list.text_count, 1); /* both files have the same one */
        for (int i = 0; i < s->list.count; i++)
            expect_values(s, i);
        assert_int_equal(s->list.items[at_tensors_find(&s->list, "b.bias")].file, 1);
        assert_int_equal(s->file_bytes, 232 + 180 + 271);
        at_source_close(s);
    }
}

/* --- models in several files ------------------------------------------------------------------ */

typedef struct index_case {
    const char *index, *piece; /* NULL: good */
} index_case;

#define MAP(entries) "{\"weight_map\":{" entries "}}"
#define AX           "\"a\":\"x.safetensors\""

static const index_case indexes[] = {
    { MAP(AX ",\"b\":\"y.safetensors\""), NULL },
    { "\n {\"metadata\":{\"total_size\":2,\"x\":[1]},\"weight_map\":{" AX
      ",\"\\u0062\":\"y.safe\\u0074ensors\"}} ",
      NULL },
    { "{}", "expected a weight_map" },
    { "{\"weight_map\":[]}", "expected an object" },
    { "{\"weight_map\":{},\"weight_map\":{}}", "weight_map is there twice" },
    { MAP(AX ",\"c\":\"y.safetensors\""), "does not name tensor 'b', which is in y.safetensors" },
    { MAP(AX ",\"b\":\"y.safetensors\",\"c\":\"y.safetensors\""),
      "'c' should be in y.safetensors" },
    { MAP("\"a\":\"y.safetensors\",\"b\":\"x.safetensors\""),
      "'a' should be in y.safetensors, but" },
    { MAP(AX "," AX ",\"b\":\"y.safetensors\""), "'a' is there twice" },
    { MAP(AX ",\"b\":\"x.safetensors\""), "'b' should be in x.safetensors" },
    { MAP(AX ",\"b\":\"z.safetensors\""), "z.safetensors" },
    { MAP(AX ",\"b\":\"../y.safetensors\""), "beside the index, found '../y" },
    { MAP(AX ",\"b\":\"/etc/passwd\""), "beside the index, found '/etc" },
    { MAP(AX ",\"b\":\"..\""), "beside the index, found '..'" },
    { MAP(AX ",\"b\":\".\""), "beside the index" },
    { MAP(AX ",\"b\":\"\""), "beside the index, found ''" },
    { MAP(AX ",\"b\":\"sub/y.safetensors\""), "beside the index" },
    { MAP(AX ",\"b\":\"sub\\\\y.safetensors\""), "beside the index" },
    { MAP(AX ",\"b\":\"\\u002e\\u002e\\u002fy\""), "beside the index" },
    { MAP(AX ",\"b\":\"y\\u0000.safetensors\""), "or a zero" },
    { MAP(AX ",\"b\":\"y\\n\""), "beside the index" },
    { MAP(AX ",\"b\":1"), "tensor 'b': expected the name of a file" },
    { MAP(AX ",\"b\":[\"y.safetensors\"]"), "tensor 'b': expected the name of a file" },
    { MAP(AX ",\"b\":\"folder\""), "regular file" },
    { MAP(AX ",\"b\":\"m.safetensors.index.json\""), "m.safetensors.index.json" },
    { MAP(AX ",\"b\":\"other.safetensors\""), "is there twice" },
    { MAP(AX ",\"b\":\"twice.safetensors\""), "text 'k' is there twice" },
    { MAP(AX ",\"b\":\"y.safetensors\",\"c\":\"text.safetensors\""), "text 'k' differs" },
    { MAP(AX ",\"b\":\"text.safetensors\""), "text 'k' differs" },
    { MAP(AX ",\"b\":\"y.safetensors\"") "}", "expected the end" },
    { "{\"weight_map\":{" AX, "expected ','" },
    { "{\"metadata\":[[[", "" },
};

static void put_model(const scratch *dir)
{
    static const char *const files[][2] = {
        { "x.safetensors", "{\"__metadata__\":{\"k\":\"v\"},\"a\":{" ONE "}}" },
        { "y.safetensors", "{\"b\":{" ONE "},\"__metadata__\":{\"k\":\"v\"}}" },
        { "other.safetensors", "{\"a\":{" ONE "}}" },
        { "twice.safetensors", "{\"b\":{" ONE "},\"__metadata__\":{\"k\":\"v\",\"k\":\"v\"}}" },
        { "text.safetensors", "{\"b\":{" ONE "},\"__metadata__\":{\"k\":\"w\"}}" },
    };
    char path[PATH_BYTES];
    for (size_t i = 0; i < AT_COUNT(files); i++)
        put_safetensors(path_in(dir, files[i][0], path), strlen(files[i][1]), files[i][1],
                        strlen(files[i][1]), 1);
    assert_int_equal(mkdir(path_in(dir, "folder", path), 0700), 0);
}

static void indexes_are_checked(void **state)
{
    scratch dir;
    char path[PATH_BYTES];
    (void)state;
    make_scratch(&dir);
    put_model(&dir);
    path_in(&dir, "m.safetensors.index.json", path);
    for (size_t i = 0; i < AT_COUNT(indexes); i++) {
        put_file(path, indexes[i].index, strlen(indexes[i].index));
        if (indexes[i].piece) {
            expect_refusal(path, indexes[i].piece, indexes[i].index);
            continue;
        }
        at_source *s = open_good(path);
        assert_true(s->list.count >= 1 && s->list.text_count == 1);
        at_source_close(s);
    }
    drop_scratch(&dir);
}

static void folders_hold_one_model(void **state)
{
    static const char index[] = MAP(AX ",\"b\":\"y.safetensors\"");
    scratch dir;
    char path[PATH_BYTES];
    (void)state;
    make_scratch(&dir);
    expect_refusal(dir.folder, "found neither", "an empty folder");
    put_safetensors(path_in(&dir, "x.safetensors", path), 2, "{}", 2, 0);
    put_safetensors(path_in(&dir, "._x.safetensors", path), 2, "{}", 2, 0);
    put_file(path_in(&dir, "config.json", path), "{}", 2);
    at_source_close(open_good(dir.folder));
    put_model(&dir);
    expect_refusal(dir.folder, "expected one .safetensors file in the folder", "many files");
    put_file(path_in(&dir, "m.safetensors.index.json", path), index, strlen(index));
    at_source_close(open_good(dir.folder));
    put_file(path_in(&dir, "n.safetensors.index.json", path), index, strlen(index));
    expect_refusal(dir.folder, "expected one index in the folder", "two indexes");
    drop_scratch(&dir);
}

/* More files than a source keeps open, read in an order that closes and opens them again. */
static void many_files_are_opened_in_turns(void **state)
{
    enum { FILES = 3 * AT_SAFETENSORS_OPEN_MAX };
    scratch dir;
    char path[PATH_BYTES], name[64], header[256], index[8192];
    size_t used = (size_t)snprintf(index, sizeof index, "{\"weight_map\":{");
    (void)state;
    make_scratch(&dir);
    for (int k = 0; k < FILES; k++) {
        snprintf(name, sizeof name, "part%02d.safetensors", k);
        int n = snprintf(header, sizeof header, "{\"t%02d\":{" ONE "}}", k);
        put_safetensors(path_in(&dir, name, path), (size_t)n, header, (size_t)n, 1);
        FILE *f = fopen(path, "r+b");
        assert_non_null(f);
        assert_int_equal(fseek(f, -1, SEEK_END), 0);
        assert_int_equal(fputc(k, f), k);
        fclose(f);
        used += (size_t)snprintf(index + used, sizeof index - used, "%s\"t%02d\":\"%s\"",
                                 k ? "," : "", k, name);
    }
    used += (size_t)snprintf(index + used, sizeof index - used, "}}");
    put_file(path_in(&dir, "m.safetensors.index.json", path), index, used);
    at_source *s = open_good(dir.folder);
    at_error err = { AT_OK, "" };
    for (int i = 0; i < 500; i++) {
        unsigned char byte = 255;
        int k = i * 29 % FILES;
        snprintf(name, sizeof name, "t%02d", k);
        assert_int_equal(at_source_read(s, at_tensors_find(&s->list, name), 0, &byte, 1, &err), 0);
        assert_int_equal(byte, k);
    }
    /* One that changed since is noticed when it is opened again. */
    put_file(path_in(&dir, "part00.safetensors", path), "short", 5);
    unsigned char byte;
    for (int i = FILES - 1; i > 0; i--)
        assert_int_equal(at_source_read(s, i, 0, &byte, 1, &err), AT_OK);
    assert_int_equal(at_source_read(s, 0, 0, &byte, 1, &err), AT_CORRUPT);
    assert_non_null(strstr(err.text, "it had"));
    at_source_close(s);
    drop_scratch(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(model_in_several_files_is_one),
        cmocka_unit_test(indexes_are_checked),
        cmocka_unit_test(folders_hold_one_model),
        cmocka_unit_test(many_files_are_opened_in_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
