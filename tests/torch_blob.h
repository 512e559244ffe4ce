/* torch_blob.h -- what the tests of torch's files share: a file made in memory, put where it can be
 * opened, and refused in time with one sentence. */
#ifndef AT_TESTS_TORCH_BLOB_H
#define AT_TESTS_TORCH_BLOB_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/torch_file.h"
#include "tests/unit.h"

/* Of the processor's time. Checked and unoptimised builds are several times slower. */
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static const double seconds_max = 0.05;
#else
static const double seconds_max = 5;
#endif

static inline double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* --- files in memory -------------------------------------------------------------------------- */

typedef struct blob {
    unsigned char *data;
    size_t bytes, capacity;
} blob;

static inline void put(blob *b, const void *data, size_t bytes)
{
    if (b->bytes + bytes > b->capacity) {
        b->capacity = 2 * (b->bytes + bytes) + 256;
        b->data = realloc(b->data, b->capacity);
        assert_non_null(b->data);
    }
    if (bytes)
        memcpy(b->data + b->bytes, data, bytes);
    b->bytes += bytes;
}

static inline void put_number(blob *b, uint64_t n, size_t bytes)
{
    unsigned char little[8];
    for (size_t i = 0; i < bytes; i++, n >>= 8)
        little[i] = (unsigned char)n;
    put(b, little, bytes);
}

#define PUT(b, text) put(b, text, sizeof(text) - 1)

static inline void drop(blob *b)
{
    free(b->data);
    *b = (blob){ 0 };
}

static inline size_t find(const blob *b, const char *what, size_t bytes)
{
    for (size_t i = 0; i + bytes <= b->bytes; i++)
        if (!memcmp(b->data + i, what, bytes))
            return i;
    fail_msg("%zu bytes are not there", bytes);
    return 0;
}

/* One temporary file whose contents change; it stays open, since making thousands anew is slow. */
static char scratch[] = "/tmp/torch_test_XXXXXX";
static int scratch_fd;

static inline void write_scratch(const void *data, size_t bytes)
{
    assert_int_equal(ftruncate(scratch_fd, (off_t)bytes), 0);
    assert_true(pwrite(scratch_fd, data, bytes, 0) == (ssize_t)bytes);
}

/* Opens the scratch file, which must be refused in time with one sentence that names it and holds
 * 'sentence'. */
static inline void expect_refusal(const char *sentence)
{
    at_source *s;
    at_error err = { 0 };
    double start = cpu_seconds();
    at_status status = at_source_open(&s, scratch, &err);
    double seconds = cpu_seconds() - start;
    if (status == AT_OK || !strstr(err.text, sentence) || !strstr(err.text, scratch) ||
        strchr(err.text, '\n') || seconds > seconds_max)
        fail_msg("expected '%s', found '%s' (%s) after %.3f s", sentence, err.text,
                 at_status_name(status), seconds);
}

static inline int open_scratch(void **state)
{
    (void)state;
    scratch_fd = mkstemp(scratch);
    return scratch_fd >= 0 ? 0 : -1;
}

static inline int close_scratch(void **state)
{
    (void)state;
    close(scratch_fd);
    return unlink(scratch);
}

#endif
