/* draft_test.c -- files: read whole or refused, written whole or not at all. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/file.h"
#include "tests/unit.h"

enum { PATH_ROOM = 256 };

typedef struct place {
    char folder[PATH_ROOM], file[PATH_ROOM];
} place;

static void write_draft(const char *path, const char *text)
{
    at_draft *d;
    at_error err = { 0 };
    if (at_draft_new(&d, path, &err) != AT_OK ||
        at_draft_write(d, 0, text, strlen(text), &err) != AT_OK ||
        at_draft_publish(d, &err) != AT_OK)
        fail_msg("%s", err.text);
    at_draft_free(d);
}

static void holds(const char *path, const char *text)
{
    at_file f;
    at_error err = { 0 };
    char found[PATH_ROOM] = "";
    assert_int_equal(at_file_open(&f, path, &err), AT_OK);
    assert_int_equal(f.bytes, strlen(text));
    assert_int_equal(at_file_read(&f, 0, found, (size_t)f.bytes, &err), AT_OK);
    assert_string_equal(found, text);
    at_file_close(&f);
}

static int files_in(const char *folder)
{
    int count = -2; /* "." and ".." */
    DIR *d = opendir(folder);
    assert_non_null(d);
    while (readdir(d))
        count++;
    closedir(d);
    return count;
}

static void a_draft_appears_when_it_is_published(void **state)
{
    const place *p = *state;
    at_draft *d;
    at_error err = { 0 };
    char found[8] = "";
    assert_int_equal(at_draft_new(&d, p->file, &err), AT_OK);
    assert_int_equal(at_draft_write(d, 3, "lo", 2, &err), AT_OK);
    assert_int_equal(at_draft_write(d, 0, "hel", 3, &err), AT_OK);
    assert_int_equal(at_draft_read(d, 0, found, 5, &err), AT_OK);
    assert_string_equal(found, "hello");
    assert_int_equal(at_draft_read(d, 1, found, 5, &err), AT_CORRUPT); /* there are only four */
    assert_int_equal(access(p->file, F_OK), -1);
    assert_int_equal(access(at_draft_path(d), R_OK | W_OK), 0);
    assert_int_equal(at_draft_publish(d, &err), AT_OK);
    at_draft_free(d);
    holds(p->file, "hello");
    assert_int_equal(files_in(p->folder), 1);
}

static void a_dropped_draft_leaves_the_old_file(void **state)
{
    const place *p = *state;
    at_draft *d;
    at_error err = { 0 };
    write_draft(p->file, "old");
    assert_int_equal(at_draft_new(&d, p->file, &err), AT_OK);
    assert_int_equal(at_draft_write(d, 0, "newer", 5, &err), AT_OK);
    at_draft_free(d);
    holds(p->file, "old");
    assert_int_equal(files_in(p->folder), 1);
    write_draft(p->file, "newer");
    holds(p->file, "newer");
    assert_int_equal(files_in(p->folder), 1);
}

static void two_drafts_of_one_name_do_not_meet(void **state)
{
    const place *p = *state;
    at_draft *a, *b;
    at_error err = { 0 };
    assert_int_equal(at_draft_new(&a, p->file, &err), AT_OK);
    assert_int_equal(at_draft_new(&b, p->file, &err), AT_OK);
    assert_int_equal(at_draft_write(a, 0, "aaa", 3, &err), AT_OK);
    assert_int_equal(at_draft_write(b, 0, "bb", 2, &err), AT_OK);
    assert_int_equal(at_draft_publish(b, &err), AT_OK);
    holds(p->file, "bb");
    assert_int_equal(at_draft_publish(a, &err), AT_OK);
    holds(p->file, "aaa");
    at_draft_free(a);
    at_draft_free(b);
    assert_int_equal(files_in(p->folder), 1);
}

static void what_is_no_file_is_refused(void **state)
{
    const place *p = *state;
    at_file f;
    at_draft *d;
    at_error err = { 0 };
    char path[2 * PATH_ROOM];
    assert_int_equal(at_file_open(&f, p->file, &err), AT_NOT_FOUND);
    assert_non_null(strstr(err.text, p->file));
    assert_int_equal(at_file_open(&f, p->folder, &err), AT_INVALID);
    assert_int_equal(at_file_open(&f, "/dev/zero", &err), AT_INVALID);
    assert_int_equal(mkfifo(p->file, 0600), 0);
    assert_int_equal(at_file_open(&f, p->file, &err), AT_INVALID); /* and does not wait */
    assert_int_equal(at_draft_new(&d, p->file, &err), AT_INVALID);
    unlink(p->file);
    assert_int_equal(at_draft_new(&d, p->folder, &err), AT_INVALID);
    snprintf(path, sizeof path, "%s/none/file", p->folder);
    assert_int_equal(at_draft_new(&d, path, &err), AT_NOT_FOUND);
    assert_null(d);
}

static void reading_stays_inside(void **state)
{
    const place *p = *state;
    at_file f;
    at_mapping map;
    at_error err = { 0 };
    char bytes[16];
    write_draft(p->file, "0123456789");
    assert_int_equal(at_file_open(&f, p->file, &err), AT_OK);
    assert_int_equal(at_file_read(&f, 10, bytes, 0, &err), AT_OK);
    assert_int_equal(at_file_read(&f, 9, bytes, 2, &err), AT_CORRUPT);
    assert_int_equal(at_file_read(&f, UINT64_MAX, bytes, 2, &err), AT_CORRUPT);
    assert_int_equal(at_file_read(&f, 2, bytes, SIZE_MAX, &err), AT_CORRUPT);
    assert_int_equal(at_file_map(&f, &map, &err), AT_OK);
    assert_memory_equal(map.data, "0123456789", 10);
    at_mapping_free(&map);
    assert_int_equal(truncate(p->file, 4), 0);
    assert_int_equal(at_file_read(&f, 2, bytes, 8, &err), AT_CORRUPT); /* shorter than it was */
    at_file_close(&f);
    at_file_close(&f);
    write_draft(p->file, "");
    assert_int_equal(at_file_open(&f, p->file, &err), AT_OK);
    assert_int_equal(at_file_map(&f, &map, &err), AT_OK);
    assert_null(map.data);
    at_mapping_free(&map);
    at_file_close(&f);
}

static void a_full_disk_is_told(void **state)
{
    const place *p = *state;
    at_draft *d;
    at_error err = { 0 };
    assert_int_equal(at_draft_new(&d, p->file, &err), AT_OK);
    at_status status = at_draft_reserve(d, (uint64_t)1 << 53, &err);
    assert_true(status == AT_IO || status == AT_OK); /* where the file system cannot reserve */
    if (status == AT_IO)
        assert_non_null(strstr(err.text, p->file));
    at_draft_free(d);
    assert_int_equal(files_in(p->folder), 0);
}

static int clean(void **state)
{
    unlink(((const place *)*state)->file);
    return 0;
}

int main(void)
{
    place p = { .folder = "/tmp/atelier-draft-XXXXXX" };
    if (!mkdtemp(p.folder))
        return 2;
    snprintf(p.file, sizeof p.file, "%.200s/file", p.folder);
#define TEST(name) cmocka_unit_test_prestate_setup_teardown(name, NULL, clean, &p)
    const struct CMUnitTest tests[] = {
        TEST(a_draft_appears_when_it_is_published),
        TEST(a_dropped_draft_leaves_the_old_file),
        TEST(two_drafts_of_one_name_do_not_meet),
        TEST(what_is_no_file_is_refused),
        TEST(reading_stays_inside),
        TEST(a_full_disk_is_told),
    };
#undef TEST
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(p.folder);
    return failed != 0;
}
