/* tuning_file_test.c -- choices as a file: written, read again, valid for one machine only, and
 * refused when damaged. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/file.h"
#include "engine/kernels_hash.h"
#include "engine/tuning.h"
#include "tests/unit.h"

static at_tuned_for this_machine(void)
{
    at_device *d;
    at_tuned_for machine;
    at_error err;
    at_status status = at_device_open(&d, "cpu", &(at_device_options){ .threads = 1 }, &err);
    AT_ASSERT(status == AT_OK, "%s", err.text);
    assert_int_equal(at_tuned_for_device(d, &machine, &err), AT_OK);
    at_device_close(d);
    return machine;
}

static at_tuning *new_tuning(void)
{
    const at_tuned_for machine = this_machine();
    at_tuning *t;
    at_error err;
    assert_int_equal(at_tuning_new(&t, &machine, &err), AT_OK);
    return t;
}

static void store(at_tuning *t, const char *key, const char *choice)
{
    at_choice c = { .variant = "planted_library", .seconds = 1e-3 };
    at_error err;
    snprintf(c.text, sizeof c.text, "%s", choice);
    assert_int_equal(at_tuning_put(t, key, &c, &err), AT_OK);
}

typedef struct folder {
    char path[64], file[512];
} folder;

static folder new_folder(const at_tuning *t)
{
    folder f = { "/tmp/atelier-tuning-XXXXXX", "" };
    assert_non_null(mkdtemp(f.path));
    snprintf(f.file, sizeof f.file, "%s/%s", f.path, at_tuning_file(t));
    return f;
}

static void remove_folder(const folder *f)
{
    unlink(f->file);
    assert_int_equal(rmdir(f->path), 0);
}

static char *read_file(const folder *f, size_t *bytes)
{
    at_file file;
    at_error err;
    assert_int_equal(at_file_open(&file, f->file, &err), AT_OK);
    char *text = malloc(file.bytes + 1);
    assert_non_null(text);
    assert_int_equal(at_file_read(&file, 0, text, file.bytes, &err), AT_OK);
    text[ *bytes = file.bytes] = 0;
    at_file_close(&file);
    return text;
}

static void what_is_stored_is_read_again(void **state)
{
    static const char *const keys[] = { "fast b", "exact b", "fast a", "fast c", "exact a" };
    at_tuning *t = new_tuning(), *again = new_tuning();
    at_error err = { 0 };
    size_t bytes, bytes_again;
    (void)state;
    folder f = new_folder(t);
    assert_int_equal(at_tuning_load(t, f.path, &err), AT_NOT_FOUND);
    for (size_t i = 0; i < AT_COUNT(keys); i++)
        store(t, keys[i], "a21 tile=18 stages=4");
    at_tuning_drop(t, "fast c");
    store(t, "fast a", "e11"); /* in place of what was there */
    store(again, "fast a", "e10");
    assert_int_equal(at_tuning_save(t, f.path, &err), AT_OK);
    assert_int_equal(at_tuning_load(again, f.path, &err), AT_OK);
    assert_int_equal(at_tuning_count(again), 4);
    assert_string_equal(at_tuning_find(again, "fast a")->text, "e11");
    assert_string_equal(at_tuning_find(again, "exact b")->text, "a21 tile=18 stages=4");
    assert_null(at_tuning_find(again, "fast c"));
    char *text = read_file(&f, &bytes);
    assert_int_equal(at_tuning_save(again, f.path, &err), AT_OK);
    char *text_again = read_file(&f, &bytes_again);
    assert_int_equal(bytes, bytes_again);
    assert_memory_equal(text, text_again, bytes);
    printf("%s", text);
    free(text);
    free(text_again);
    remove_folder(&f);
    at_tuning_free(t);
    at_tuning_free(again);
}

static void no_line_holds_everything(void **state)
{
    static const char *const wrong[] = { "", "a\tb", "a\nb", "\x7f" };
    at_tuning *t = new_tuning();
    char longest[AT_TUNING_KEY_MAX + 1];
    at_choice c = { .variant = "v", .text = "0" };
    at_error err;
    (void)state;
    for (size_t i = 0; i < AT_COUNT(wrong); i++) {
        assert_int_equal(at_tuning_put(t, wrong[i], &c, &err), AT_INVALID);
        snprintf(c.text, sizeof c.text, "%s", wrong[i]);
        assert_int_equal(at_tuning_put(t, "key", &c, &err), AT_INVALID);
        snprintf(c.text, sizeof c.text, "0");
    }
    memset(longest, 'a', sizeof longest);
    longest[AT_TUNING_KEY_MAX] = 0;
    assert_int_equal(at_tuning_put(t, longest, &c, &err), AT_INVALID);
    longest[AT_TUNING_KEY_MAX - 1] = 0;
    assert_int_equal(at_tuning_put(t, longest, &c, &err), AT_OK);
    assert_int_equal(at_tuning_count(t), 1);
    at_tuning_free(t);
}

static void another_machine_begins_anew(void **state)
{
    at_tuning *t = new_tuning();
    at_tuned_for machine;
    at_error err = { 0 };
    size_t bytes;
    (void)state;
    folder f = new_folder(t);
    store(t, "fast planted x=4", "e11");
    machine = this_machine();
    assert_int_equal(strlen(machine.field[AT_TUNED_FOR_KERNELS]), 64);
    assert_string_equal(machine.field[AT_TUNED_FOR_KERNELS], at_kernels_hash);
    assert_int_equal(at_tuning_save(t, f.path, &err), AT_OK);
    char *text = read_file(&f, &bytes);
    for (int i = 0; i < AT_TUNED_FOR_COUNT; i++) {
        at_tuned_for other = machine;
        at_tuning *u;
        size_t end = strlen(other.field[i]) - 1;
        other.field[i][end] = other.field[i][end] == '1' ? '2' : '1';
        assert_int_equal(at_tuning_new(&u, &other, &err), AT_OK);
        assert_int_equal(at_tuning_parse(u, "choices", text, bytes, &err), AT_UNSUPPORTED);
        assert_non_null(strstr(err.text, at_tuned_for_name(i)));
        assert_non_null(strstr(err.text, other.field[i]));
        assert_int_equal(at_tuning_count(u), 0);
        if (i == AT_TUNED_FOR_DRIVER)
            printf("%s\n", err.text);
        at_tuning_free(u);
    }
    free(text);
    remove_folder(&f);
    at_tuning_free(t);
}

static void is_damaged(at_tuning *t, const char *text, size_t bytes)
{
    at_error err = { 0 };
    at_status status = at_tuning_parse(t, "choices", text, bytes, &err);
    if (status != AT_CORRUPT || !*err.text || at_tuning_count(t))
        fail_msg("%zu bytes: %s, '%s': %.*s", bytes, at_status_name(status), err.text, (int)bytes,
                 text);
}

/* 'text' with its first 'from' made 'to', or with 'to' behind it. */
static void damage(at_tuning *t, const char *text, const char *from, const char *to)
{
    char other[8192];
    const char *at = *from ? strstr(text, from) : text + strlen(text);
    assert_non_null(at);
    int n =
        snprintf(other, sizeof other, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    assert_true(n > 0 && (size_t)n < sizeof other);
    is_damaged(t, other, (size_t)n);
}

static void damaged_files_are_refused(void **state)
{
    static const struct {
        const char *from, *to;
    } damages[] = {
        { "tuning 1", "tuning 2" },
        { "device\t", "devil\t" },
        { "driver\t", "driver\tx\t" },
        { "choices\t2", "choices\t3" },
        { "choices\t2", "choices\t1" },
        { "choices\t2", "choices\t2.5" },
        { "choices\t2", "choices\t-2" },
        { "choices\t2", "choices\t1e9" },
        { "choices\t2", "choices\t0x2" },
        { "fast", "zzzz" },
        { "planted_library", "" },
        { "e11", "e1\t1" },
        { "e11", "e\x01" },
        { "0.001", "nan" },
        { "0.001", "inf" },
        { "0.001", "-1" },
        { "0.001", "" },
        { "\t0\n", "\t1e300\n" },
        { "\t0\n", "\n" },
        { "", "more\n" },
        { "", "\n" },
    };
    at_tuning *t = new_tuning();
    size_t bytes;
    at_error err;
    (void)state;
    folder f = new_folder(t);
    store(t, "fast planted x=4", "e11");
    store(t, "fast planted x=5", "e11");
    assert_int_equal(at_tuning_save(t, f.path, &err), AT_OK);
    char *text = read_file(&f, &bytes);
    at_tuning_free(t);
    t = new_tuning();
    for (size_t i = 0; i < AT_COUNT(damages); i++)
        damage(t, text, damages[i].from, damages[i].to);
    for (size_t n = 0; n < bytes; n++)
        is_damaged(t, text, n);
    char *line = malloc(1 << 20);
    assert_non_null(line);
    memset(line, 'a', 1 << 20);
    is_damaged(t, line, 1 << 20);
    free(line);
    assert_int_equal(truncate(f.file, (off_t)AT_TUNING_BYTES_MAX + 1), 0);
    assert_int_equal(at_tuning_load(t, f.path, &err), AT_CORRUPT);
    assert_non_null(strstr(err.text, f.file));
    free(text);
    remove_folder(&f);
    at_tuning_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_stored_is_read_again),
        cmocka_unit_test(no_line_holds_everything),
        cmocka_unit_test(another_machine_begins_anew),
        cmocka_unit_test(damaged_files_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
