/* safetensors_files.h -- what the tests of safetensors share: a folder for files, files with any
 * header, values that safetensors_files.py knows. */
#ifndef AT_TESTS_SAFETENSORS_FILES_H
#define AT_TESTS_SAFETENSORS_FILES_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/safetensors.h"
#include "engine/source.h"
#include "tests/unit.h"

#define GOLDEN AT_SOURCE_DIR "/tests/golden/files/"
#define ONE    "\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]" /* a tensor of one byte */

/* --- files ------------------------------------------------------------------------------------ */

enum { PATH_BYTES = 512 };

typedef struct scratch {
    char folder[64];
} scratch;

static inline const char *path_in(const scratch *s, const char *name, char path[PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%s/%s", s->folder, name);
    return path;
}

static inline void make_scratch(scratch *s)
{
    snprintf(s->folder, sizeof s->folder, "/tmp/safetensors_test_XXXXXX");
    assert_non_null(mkdtemp(s->folder));
}

static inline void drop_scratch(const scratch *s)
{
    DIR *folder = opendir(s->folder);
    struct dirent *entry;
    char path[PATH_BYTES];
    assert_non_null(folder);
    while ((entry = readdir(folder)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            assert_int_equal(remove(path_in(s, entry->d_name, path)), 0);
    closedir(folder);
    assert_int_equal(rmdir(s->folder), 0); /* a draft left behind would show here */
}

static inline void put_file(const char *path, const void *data, size_t bytes)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
}

/* A file with this length, header, and so many zeros behind it. */
static inline void put_safetensors(const char *path, uint64_t length, const char *header,
                                   size_t bytes, size_t data)
{
    unsigned char *all = calloc(1, 8 + bytes + data);
    assert_non_null(all);
    for (int i = 0; i < 8; i++)
        all[i] = (unsigned char)(length >> 8 * i);
    memcpy(all + 8, header, bytes);
    put_file(path, all, 8 + bytes + data);
    free(all);
}

static inline unsigned char *whole_file(const char *path, size_t *bytes)
{
    struct stat about;
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &about), 0);
    *bytes = (size_t)about.st_size;
    unsigned char *data = malloc(*bytes + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *bytes, f), *bytes);
    fclose(f);
    return data;
}

static inline at_source *open_good(const char *path)
{
    at_source *s;
    at_error err = { AT_OK, "" };
    if (at_source_open(&s, path, &err) != AT_OK)
        fail_msg("%s was refused: %s", path, err.text);
    assert_string_equal(s->kind->name, "safetensors");
    return s;
}

static inline void expect_refusal(const char *path, const char *piece, const char *what)
{
    at_source *s = NULL;
    at_error err = { AT_OK, "" };
    at_status status = at_source_open(&s, path, &err);
    if (status == AT_OK)
        fail_msg("accepted: %s", what);
    if (s || !strstr(err.text, piece))
        fail_msg("'%s': expected a sentence with '%s', found '%s'", what, piece, err.text);
    assert_int_equal(status, err.status);
    assert_true(at_utf8_valid(err.text, strlen(err.text)));
    assert_int_equal(at_source_open(&s, path, NULL), status);
}

/* --- values ----------------------------------------------------------------------------------- */

/* Element i as safetensors_files.py writes it. */
static inline void make_element(at_stored type, int64_t i, unsigned char out[8])
{
    int64_t v = i % 9 - 4;
    uint16_t half = at_f16_from_f32((float)v), bf16 = at_bf16_from_f32((float)v);
    uint8_t e4m3 = at_f8_from_f32((float)v), e5m2 = (uint8_t)(half >> 8);
    float f32 = (float)v;
    double f64 = (double)v;
    const void *from = &v;
    switch (type) {
    case AT_STORED_F64: from = &f64; break;
    case AT_STORED_F32: from = &f32; break;
    case AT_STORED_F16: from = &half; break;
    case AT_STORED_BF16: from = &bf16; break;
    case AT_STORED_F8_E4M3: from = &e4m3; break;
    case AT_STORED_F8_E5M2: from = &e5m2; break;
    case AT_STORED_U64:
    case AT_STORED_U32:
    case AT_STORED_U16:
    case AT_STORED_U8: v = i % 9; break;
    case AT_STORED_BOOL: v = i % 2; break;
    default: break;
    }
    memcpy(out, from, at_stored_about(type)->bytes); /* little-endian machines */
}

static inline void expect_values(at_source *s, int i)
{
    const at_stored_tensor *t = &s->list.items[i];
    size_t n = at_stored_about(t->type)->bytes;
    unsigned char found[8], expected[8];
    at_error err = { AT_OK, "" };
    for (uint64_t k = 0; k < t->bytes / n; k++) {
        make_element(t->type, (int64_t)k, expected);
        assert_int_equal(at_source_read(s, i, k * n, found, n, &err), AT_OK);
        if (memcmp(found, expected, n) != 0)
            fail_msg("tensor %s, element %d is wrong", t->name, (int)k);
    }
}

static inline at_status read_from_source(void *context, int i, uint64_t from, void *out,
                                         size_t bytes, at_error *err)
{
    return at_source_read(context, i, from, out, bytes, err);
}

/* What a source holds, written anew, is the same file to the last byte. */
static inline void expect_same_file(at_source *s, const char *original, const char *path)
{
    at_tensor_bytes from = { read_from_source, s };
    at_error err = { AT_OK, "" };
    size_t n, m;
    if (at_safetensors_write(path, &s->list, &from, NULL, &err) != AT_OK)
        fail_msg("%s was not written: %s", path, err.text);
    unsigned char *a = whole_file(original, &n), *b = whole_file(path, &m);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    free(a);
    free(b);
}

#endif
