/* safetensors_write_test.c -- files are written as the Python library does it, whole or not at all.
 *
 *     safetensors_write_test [FOLDER]   with a folder, writes there for safetensors_files.py check
 */
#include "tests/safetensors_files.h"
#include "tests/unit.h"

/* --- writing ---------------------------------------------------------------------------------- */

static at_status read_made(void *context, int i, uint64_t from, void *out, size_t bytes,
                           at_error *err)
{
    const at_tensors *list = context;
    size_t n = at_stored_about(list->items[i].type)->bytes;
    unsigned char element[8], *to = out;
    (void)err;
    for (size_t k = 0; k < bytes; k++) {
        make_element(list->items[i].type, (int64_t)((from + k) / n), element);
        to[k] = element[(from + k) % n];
    }
    return AT_OK;
}

static void add(at_tensors *list, const char *name, at_stored type, int16_t rank,
                const int64_t *size)
{
    at_error err = { AT_OK, "" };
    int64_t elements;
    assert_true(at_stored_elements(size, rank, &elements));
    at_stored_tensor t = { .size = size, .type = type, .rank = rank };
    t.bytes = (uint64_t)elements * at_stored_about(type)->bytes;
    if (at_tensors_add(list, &t, name, strlen(name), &err) != AT_OK)
        fail_msg("%s", err.text);
}

static void make_types(at_tensors *list)
{
    char name[32];
    for (int type = AT_STORED_COUNT - 1; type > AT_STORED_NONE; type--) {
        snprintf(name, sizeof name, "t.%s", at_stored_about((at_stored)type)->name);
        add(list, name, (at_stored)type, 2, (const int64_t[]){ 5, 7 });
    }
    assert_int_equal(at_tensors_finish(list, NULL), AT_OK);
}

static bool count_reports(void *context, uint64_t done, uint64_t total)
{
    int *left = context;
    assert_true(done <= total);
    return --*left > 0;
}

static void made_lists_are_written_and_read(void **state)
{
    scratch dir;
    char path[PATH_BYTES];
    at_tensors list = { 0 };
    at_error err = { AT_OK, "" };
    size_t n, m;
    (void)state;
    make_scratch(&dir);
    path_in(&dir, "types.safetensors", path);
    make_types(&list);
    at_tensor_bytes from = { read_made, &list };
    assert_int_equal(at_safetensors_write(path, &list, &from, NULL, &err), AT_OK);
    unsigned char *a = whole_file(GOLDEN "types.safetensors", &n), *b = whole_file(path, &m);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    free(a);
    free(b);
    at_tensors_free(&list);
    drop_scratch(&dir);
}

/* Tensors around the size of the writer's buffer, and every escape in names and texts. */
static void large_tensors_are_written_in_pieces(void **state)
{
    static const char odd[] = "\x01\x1f\"\\/\b\f\n\r\t\x7f\xc3\xa9\xf0\x9f\x98\x80";
    scratch dir;
    char path[PATH_BYTES];
    at_tensors list = { 0 };
    at_error err = { AT_OK, "" };
    int left = 1000;
    (void)state;
    make_scratch(&dir);
    path_in(&dir, "large.safetensors", path);
    add(&list, "large\"\\\xc3\xa9", AT_STORED_F32, 1, (const int64_t[]){ (9 << 20) / 4 });
    add(&list, "odd", AT_STORED_U8, 1, (const int64_t[]){ (4 << 20) - 1 });
    add(&list, "scalar", AT_STORED_I64, 0, NULL);
    add(&list, "none", AT_STORED_F64, 2, (const int64_t[]){ 0, 5 });
    assert_int_equal(at_tensors_add_text(&list, "odd", 3, odd, sizeof odd - 1, &err), AT_OK);
    assert_int_equal(at_tensors_add_text(&list, "none", 4, "", 0, &err), AT_OK);
    assert_int_equal(at_tensors_finish(&list, &err), AT_OK);
    at_tensor_bytes from = { read_made, &list };
    at_progress progress = { count_reports, &left };
    assert_int_equal(at_safetensors_write(path, &list, &from, &progress, &err), AT_OK);
    assert_true(left < 1000);
    at_source *s = open_good(path);
    unsigned char *found = malloc(9 << 20), *expected = malloc(9 << 20);
    assert_true(found && expected && s->list.count == 4);
    for (int i = 0; i < 4; i++) {
        int k = at_tensors_find(&list, s->list.items[i].name);
        uint64_t bytes = s->list.items[i].bytes;
        assert_true(k >= 0 && list.items[k].bytes == bytes);
        assert_int_equal(at_source_read(s, i, 0, found, bytes, &err), AT_OK);
        read_made(&list, k, 0, expected, bytes, NULL);
        assert_memory_equal(found, expected, bytes);
    }
    assert_memory_equal(at_tensors_text(&s->list, "odd")->data, odd, sizeof odd);
    assert_int_equal(at_tensors_text(&s->list, "none")->bytes, 0);
    free(found);
    free(expected);
    at_source_close(s);
    at_tensors_free(&list);
    drop_scratch(&dir);
}

static at_status fail_to_read(void *context, int i, uint64_t from, void *out, size_t bytes,
                              at_error *err)
{
    (void)context, (void)from;
    memset(out, 0, bytes);
    return i == 3 ? at_fail(err, AT_IO, "tensor 3 is gone") : AT_OK;
}

static void failed_writes_leave_the_old_file(void **state)
{
    scratch dir;
    char path[PATH_BYTES];
    at_tensors list = { 0 }, reserved = { 0 };
    at_error err = { AT_OK, "" };
    int left = 1;
    size_t n;
    (void)state;
    make_scratch(&dir);
    path_in(&dir, "kept.safetensors", path);
    put_file(path, "old", 3);
    make_types(&list);
    at_tensor_bytes broken = { fail_to_read, NULL }, from = { read_made, &list };
    at_progress cancel = { count_reports, &left };
    assert_int_equal(at_safetensors_write(path, &list, &broken, NULL, &err), AT_IO);
    assert_string_equal(err.text, "tensor 3 is gone");
    assert_int_equal(at_safetensors_write(path, &list, &from, &cancel, &err), AT_CANCELLED);
    add(&reserved, "__metadata__", AT_STORED_U8, 0, NULL);
    assert_int_equal(at_tensors_finish(&reserved, NULL), AT_OK);
    from.context = &reserved;
    assert_int_equal(at_safetensors_write(path, &reserved, &from, NULL, &err), AT_INVALID);
    assert_non_null(strstr(err.text, "__metadata__"));
    assert_int_not_equal(at_safetensors_write("/no/such/folder/x", &list, &from, NULL, &err), 0);
    unsigned char *old = whole_file(path, &n);
    assert_true(n == 3 && !memcmp(old, "old", 3));
    free(old);
    at_tensors_free(&list);
    at_tensors_free(&reserved);
    drop_scratch(&dir);
}

/* --- for safetensors_files.py check ----------------------------------------------------------- */

static int write_samples(const char *folder)
{
    static const char *const files[] = { "types.safetensors", "names.safetensors" };
    char path[PATH_BYTES];
    at_error err = { AT_OK, "" };
    for (size_t i = 0; i < AT_COUNT(files); i++) {
        at_source *s;
        snprintf(path, sizeof path, "%s%s", GOLDEN, files[i]);
        at_status status = at_source_open(&s, path, &err);
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        at_tensor_bytes from = { read_from_source, s };
        if (status == AT_OK)
            status = at_safetensors_write(path, &s->list, &from, NULL, &err);
        at_source_close(s);
        if (status != AT_OK) {
            fprintf(stderr, "%s\n", err.text);
            return 2;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_lists_are_written_and_read),
        cmocka_unit_test(large_tensors_are_written_in_pieces),
        cmocka_unit_test(failed_writes_leave_the_old_file),
    };
    if (argc > 1)
        return write_samples(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
