/* checkpoint_test.c -- what the store promises: what is written comes back; a changed byte is found
 * wherever it is; a file that lies is refused; killing a writer leaves the old file or the new one.
 *
 *     checkpoint_test [FLIP_STRIDE [KILLS [SEED]]]     (1, 50 and 1)
 *     checkpoint_test make PATH     a file of everything, for tests/reference/checkpoint_h5py.py */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/checkpoint_format.h"
#include "engine/checksum.h"
#include "engine/source.h"
#include "tests/unit.h"

enum { PATH_ROOM = 256, LONG_TEXT = 1 << 20 };

typedef struct suite {
    char folder[PATH_ROOM], file[PATH_ROOM];
    int flip_stride, kills;
    uint64_t seed;
} suite;

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

/* --- making files ----------------------------------------------------------------------------- */

static void add(at_tensors *list, const char *name, at_stored type, int rank, const int64_t *size)
{
    at_error err = { 0 };
    int64_t elements;
    assert_true(at_stored_elements(size, rank, &elements));
    at_stored_tensor t = { .size = size,
                           .bytes = (uint64_t)elements * at_stored_about(type)->bytes,
                           .type = type,
                           .rank = (int16_t)rank };
    if (at_tensors_add(list, &t, name, strlen(name), &err) != AT_OK)
        fail_msg("%s", err.text);
}

static void add_text(at_tensors *list, const char *name, const char *text)
{
    at_error err = { 0 };
    if (at_tensors_add_text(list, name, strlen(name), text, strlen(text), &err) != AT_OK)
        fail_msg("%s", err.text);
}

/* Byte k of tensor i in version v. */
static unsigned char byte_of(int v, int i, uint64_t k)
{
    return (unsigned char)(((k * 2654435761u + (uint64_t)i * 40503u) >> 8) + (uint64_t)v * 29u);
}

static at_status write_file(const char *path, const at_tensors *list, int version, at_error *err)
{
    enum { STEP = 100003 };
    unsigned char *bytes = malloc(STEP);
    at_checkpoint_writer *w;
    at_status status = at_checkpoint_writer_new(&w, path, list, err);
    for (int i = 0; i < list->count && status == AT_OK; i++) {
        uint64_t total = list->items[i].bytes;
        for (uint64_t at = 0; at < total && status == AT_OK; at += STEP) {
            size_t n = total - at < STEP ? (size_t)(total - at) : STEP;
            for (size_t k = 0; k < n; k++)
                bytes[k] = byte_of(version, i, at + k);
            status = at_checkpoint_write(w, i, at, bytes, n, err);
        }
    }
    if (status == AT_OK)
        status = at_checkpoint_writer_finish(w, err);
    at_checkpoint_writer_free(w);
    free(bytes);
    return status;
}

static void make_file(const char *path, at_tensors *list, int version)
{
    at_error err = { 0 };
    if (at_tensors_finish(list, &err) != AT_OK || write_file(path, list, version, &err) != AT_OK)
        fail_msg("%s", err.text);
}

/* A few tensors and texts: about 50 KB. */
static void small_list(at_tensors *list)
{
    add_text(list, "config", "{\"channels\": [320, 640]}");
    add_text(list, "licence", "made for a test");
    add(list, "blocks.0.weight", AT_STORED_F32, 2, (const int64_t[]){ 30, 41 });
    add(list, "blocks.0.bias", AT_STORED_BF16, 1, (const int64_t[]){ 30 });
    add(list, "none", AT_STORED_F16, 2, (const int64_t[]){ 0, 7 });
    add(list, "count", AT_STORED_I64, 0, NULL);
}

static void make_small(const suite *s)
{
    at_tensors list = { 0 };
    small_list(&list);
    make_file(s->file, &list, 0);
    at_tensors_free(&list);
}

/* The file's bytes, to be changed in place. */
static unsigned char *map_file(const char *path, size_t *bytes)
{
    struct stat st;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    *bytes = (size_t)st.st_size;
    unsigned char *data = mmap(NULL, *bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(data != MAP_FAILED);
    close(fd);
    return data;
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

static void remove_all(const char *folder)
{
    char path[2 * PATH_ROOM];
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
            if (unlink(path) != 0) {
                remove_all(path);
                rmdir(path);
            }
        }
    if (d)
        closedir(d);
}

/* --- looking at files ------------------------------------------------------------------------- */

static void same_lists(const at_tensors *a, const at_tensors *b)
{
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->text_count, b->text_count);
    for (int i = 0; i < a->count; i++) {
        const at_stored_tensor *x = &a->items[i], *y = &b->items[i];
        assert_string_equal(x->name, y->name);
        assert_true(x->type == y->type && x->rank == y->rank && x->bytes == y->bytes);
        for (int k = 0; k < x->rank; k++)
            assert_int_equal(x->size[k], y->size[k]);
    }
    for (int i = 0; i < a->text_count; i++) {
        assert_string_equal(a->texts[i].name, b->texts[i].name);
        assert_int_equal(a->texts[i].bytes, b->texts[i].bytes);
        assert_string_equal(a->texts[i].data, b->texts[i].data);
    }
}

static void same_bytes(const unsigned char *data, int version, int i, uint64_t bytes)
{
    for (uint64_t k = 0; k < bytes; k++)
        if (data[k] != byte_of(version, i, k))
            fail_msg("tensor %d, byte %" PRIu64 ": %d, expected %d", i, k, data[k],
                     byte_of(version, i, k));
}

static void check_file(const char *path, const at_tensors *list, int version)
{
    at_checkpoint *c;
    at_error err = { 0 };
    if (at_checkpoint_open(&c, path, NULL, &err) != AT_OK)
        fail_msg("%s", err.text);
    same_lists(list, at_checkpoint_list(c));
    for (int i = 0; i < list->count; i++) {
        const unsigned char *data = at_checkpoint_data(c, i, &err);
        if (!data)
            fail_msg("%s", err.text);
        assert_true((uintptr_t)data % AT_CHECKPOINT_ALIGN == 0);
        same_bytes(data, version, i, list->items[i].bytes);
    }
    assert_true(at_checkpoint_trusted(c));
    at_checkpoint_close(c);
}

typedef struct finding {
    int count;
    char things[2000];
} finding;

static void remember(void *context, const char *thing, const char *text)
{
    finding *f = context;
    size_t used = strlen(f->things);
    f->count++;
    snprintf(f->things + used, sizeof f->things - used, "[%s]", thing);
    assert_true(*text != 0);
}

static at_status verify_within(const char *path, at_verify_parts parts, unsigned seconds,
                               finding *f)
{
    at_error err = { 0 };
    *f = (finding){ 0 };
    const at_verify_options o = { parts, 1, seconds, NULL, remember, f };
    at_status status = at_checkpoint_verify(path, &o, &err);
    if ((status == AT_OK) != (f->count == 0) || (status != AT_OK && status != AT_CORRUPT))
        fail_msg("verify: %s, %d findings, '%s'", at_status_name(status), f->count, err.text);
    return status;
}

static at_status verify(const char *path, at_verify_parts parts, finding *f)
{
    return verify_within(path, parts, 0, f);
}

/* --- what is written comes back --------------------------------------------------------------- */

static void everything_list(at_tensors *list)
{
    const int64_t size[AT_STORED_RANK_MAX] = { 2, 3, 1, 2, 1, 3, 2, 1 };
    char name[AT_TENSOR_NAME_MAX + 1], *long_text = malloc(LONG_TEXT + 1);
    for (int t = AT_STORED_NONE + 1; t < AT_STORED_COUNT; t++)
        for (int rank = 0; rank <= AT_STORED_RANK_MAX; rank++) {
            snprintf(name, sizeof name, "t.%s.%d", at_stored_about((at_stored)t)->name, rank);
            add(list, name, (at_stored)t, rank, size);
        }
    /* U+00E4, U+20AC and an emoji stand in the last but one. */
    const char *names = ". .. a a/b / //a/ %2F % ./x \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80 index";
    for (int64_t i = 0; *names; i++, names += *names == ' ') {
        snprintf(name, sizeof name, "%.*s", (int)strcspn(names, " "), names);
        add(list, name, AT_STORED_U8, 1, &i);
        names += strlen(name);
    }
    memset(name, '/', AT_TENSOR_NAME_MAX);
    name[AT_TENSOR_NAME_MAX] = 0;
    add(list, name, AT_STORED_F64, 2, (const int64_t[]){ 3, 0 });
    add(list, "big", AT_STORED_BF16, 2, (const int64_t[]){ 1500, 4001 }); /* over two pieces */
    memset(long_text, 'x', LONG_TEXT);
    long_text[LONG_TEXT] = 0;
    add_text(list, "tokenizer", long_text);
    free(long_text);
    add_text(list, "empty", "");
    add_text(list, "a/b", "\xc3\xa4\n{}");
    add_text(list, ".", "point");
}

static void make_everything(const char *path)
{
    at_tensors list = { 0 };
    everything_list(&list);
    make_file(path, &list, 3);
    at_tensors_free(&list);
}

static void what_is_written_comes_back(void **state)
{
    const suite *s = *state;
    at_tensors list = { 0 };
    finding f;
    everything_list(&list);
    make_file(s->file, &list, 3);
    check_file(s->file, &list, 3);
    if (verify(s->file, AT_VERIFY_ALL, &f) != AT_OK)
        fail_msg("%s", f.things);
    assert_int_equal(files_in(s->folder), 1);
    at_tensors_free(&list);
}

static void a_file_without_anything(void **state)
{
    const suite *s = *state;
    at_tensors list = { 0 };
    finding f;
    make_file(s->file, &list, 0);
    check_file(s->file, &list, 0);
    assert_int_equal(verify(s->file, AT_VERIFY_ALL, &f), AT_OK);
    at_tensors_free(&list);
}

static void equal_lists_give_equal_bytes(void **state)
{
    const suite *s = *state;
    size_t a_bytes, b_bytes;
    char other[2 * PATH_ROOM];
    at_tensors list = { 0 };
    snprintf(other, sizeof other, "%s/other", s->folder);
    small_list(&list);
    make_file(s->file, &list, 0);
    usleep(1100000); /* a time in seconds, if one were kept, would be another */
    make_file(other, &list, 0);
    unsigned char *a = map_file(s->file, &a_bytes), *b = map_file(other, &b_bytes);
    assert_int_equal(a_bytes, b_bytes);
    assert_memory_equal(a, b, a_bytes);
    munmap(a, a_bytes);
    munmap(b, b_bytes);
    at_tensors_free(&list);
}

static void a_checkpoint_is_a_source(void **state)
{
    const suite *s = *state;
    unsigned char bytes[30];
    at_error err = { 0 };
    at_source source = { .kind = &at_source_checkpoint };
    make_small(s);
    size_t n;
    unsigned char *head = map_file(s->file, &n);
    assert_true(source.kind->is(head, 64, n));
    munmap(head, n);
    assert_int_equal(source.kind->open(&source, s->file, &err), AT_OK);
    assert_int_equal(source.file_bytes, n);
    assert_int_equal(at_tensors_find(&source.list, "blocks.0.bias"), 1);
    assert_int_equal(source.kind->read(&source, 1, 30, bytes, sizeof bytes, &err), AT_OK);
    for (int k = 0; k < 30; k++)
        assert_int_equal(bytes[k], byte_of(0, 1, (uint64_t)(30 + k)));
    source.kind->close(&source);
    at_tensors_free(&source.list);
}

/* --- damage ----------------------------------------------------------------------------------- */

static void every_changed_byte_is_found(void **state)
{
    const suite *s = *state;
    size_t bytes;
    finding f;
    int header = 0, metadata = 0, tensors = 0, index = 0, texts = 0;
    make_small(s);
    unsigned char *data = map_file(s->file, &bytes);
    for (size_t at = 0; at < bytes; at += (size_t)s->flip_stride) {
        unsigned char bit = (unsigned char)(1u << at % 8);
        data[at] ^= bit;
        if (verify(s->file, AT_VERIFY_SUMS, &f) == AT_OK || f.count != 1)
            fail_msg("byte %zu of %zu changed: found '%s'", at, bytes, f.things);
        header += !strcmp(f.things, "[header]");
        metadata += !strcmp(f.things, "[HDF5 metadata]");
        index += !strcmp(f.things, "[index]");
        texts += !strncmp(f.things, "[text ", 6);
        tensors += !strncmp(f.things, "[blocks.0.", 10) || !strcmp(f.things, "[count]");
        data[at] ^= bit;
    }
    printf("%zu bytes, every %d. changed: header %d, metadata %d, index %d, texts %d, tensors %d\n",
           bytes, s->flip_stride, header, metadata, index, texts, tensors);
    assert_true(header && metadata && tensors && (s->flip_stride > 20 || (index && texts)));
    assert_int_equal(verify(s->file, AT_VERIFY_ALL, &f), AT_OK);
    munmap(data, bytes);
}

static void a_damaged_tensor_is_not_handed_out(void **state)
{
    const suite *s = *state;
    size_t bytes;
    at_checkpoint *c;
    at_error err = { 0 };
    finding f;
    make_small(s);
    unsigned char *data = map_file(s->file, &bytes);
    assert_int_equal(at_checkpoint_open(&c, s->file, NULL, &err), AT_OK);
    uint64_t offset = at_checkpoint_list(c)->items[0].offset;
    data[offset + 100] ^= 1;
    for (int again = 0; again < 2; again++) {
        assert_null(at_checkpoint_data(c, 0, &err));
        assert_non_null(strstr(err.text, "'blocks.0.weight'"));
    }
    assert_non_null(at_checkpoint_data(c, 1, &err));
    assert_int_equal(at_checkpoint_check(c, 2, NULL, &err), AT_CORRUPT);
    assert_false(at_checkpoint_trusted(c));
    at_checkpoint_close(c);
    data[at_checkpoint_is(data, bytes) ? 4096 : 0] ^= 1; /* HDF5's first byte */
    assert_int_equal(verify(s->file, AT_VERIFY_ALL, &f), AT_CORRUPT);
    assert_string_equal(f.things, "[blocks.0.weight][HDF5 metadata][HDF5 metadata]");
    munmap(data, bytes);
}

static void a_shorter_file_is_refused(void **state)
{
    const suite *s = *state;
    at_checkpoint *c;
    at_error err = { 0 };
    size_t bytes = 0;
    make_small(s);
    unsigned char *data = map_file(s->file, &bytes);
    munmap(data, bytes);
    for (; bytes > 0; bytes -= bytes > 97 ? 97 : bytes) {
        assert_int_equal(truncate(s->file, (off_t)bytes - 1), 0);
        assert_int_equal(at_checkpoint_open(&c, s->file, NULL, &err), AT_CORRUPT);
        assert_null(c);
        assert_non_null(strstr(err.text, s->file));
    }
}

static void other_files_are_refused(void **state)
{
    const suite *s = *state;
    at_checkpoint *c;
    at_error err = { 0 };
    assert_int_equal(at_checkpoint_open(&c, s->folder, NULL, &err), AT_INVALID);
    assert_int_equal(at_checkpoint_open(&c, s->file, NULL, &err), AT_NOT_FOUND);
    assert_int_equal(mkfifo(s->file, 0600), 0);
    assert_int_equal(at_checkpoint_open(&c, s->file, NULL, &err), AT_INVALID);
    unlink(s->file);
    at_draft *d;
    char bytes[8192] = "no checkpoint";
    assert_int_equal(at_draft_new(&d, s->file, &err), AT_OK);
    assert_int_equal(at_draft_write(d, 0, bytes, sizeof bytes, &err), AT_OK);
    assert_int_equal(at_draft_publish(d, &err), AT_OK);
    at_draft_free(d);
    assert_int_equal(at_checkpoint_open(&c, s->file, NULL, &err), AT_CORRUPT);
    assert_non_null(strstr(err.text, "expected a checkpoint"));
}

/* --- lies ------------------------------------------------------------------------------------- */

/* Makes header and index whole again after somebody changed them. */
static void seal(unsigned char *data, size_t bytes)
{
    at_checkpoint_header h = { .file_bytes = bytes };
    memcpy(&h.index.offset, data + 24, 8);
    memcpy(&h.index.bytes, data + 32, 8);
    memcpy(&h.rest_sum, data + 48, 8);
    h.index.sum = at_checksum_of(data + h.index.offset, (size_t)h.index.bytes);
    at_checkpoint_header_put(data, &h);
}

static void an_index_that_lies_is_refused(void **state)
{
    enum { TRIES = 20000 };
    const suite *s = *state;
    size_t bytes;
    uint64_t offset, index_bytes, seed = s->seed;
    finding f;
    int believed = 0;
    make_small(s);
    unsigned char *data = map_file(s->file, &bytes), *whole = malloc(bytes);
    memcpy(whole, data, bytes);
    memcpy(&offset, data + 24, 8);
    memcpy(&index_bytes, data + 32, 8);
    for (int i = 0; i < TRIES; i++) {
        for (uint64_t n = next_random(&seed) % 3 + 1; n > 0; n--) {
            const unsigned char values[] = {
                0, 1, 0x7f, 0x80, 0xff, 8, (unsigned char)next_random(&seed)
            };
            data[offset + next_random(&seed) % index_bytes] =
                values[next_random(&seed) % sizeof values];
        }
        seal(data, bytes);
        believed += verify(s->file, AT_VERIFY_SUMS, &f) == AT_OK;
        memcpy(data, whole, bytes);
    }
    printf("seed %" PRIu64 ": of %d indexes that were changed, %d are as good as any\n", s->seed,
           TRIES, believed);
    free(whole);
    munmap(data, bytes);
}

static void hdf5_must_agree_with_the_index(void **state)
{
    const suite *s = *state;
    size_t bytes;
    uint64_t offset;
    finding f;
    make_small(s);
    unsigned char *data = map_file(s->file, &bytes);
    memcpy(&offset, data + 24, 8);
    unsigned char *record = data + offset + 16 + 3 * 104; /* blocks.0.bias */
    assert_memory_equal(record + 24, "bf16", 5);
    memcpy(record + 24, "f16\0", 5);
    seal(data, bytes);
    assert_int_equal(verify(s->file, AT_VERIFY_SUMS, &f), AT_OK);
    assert_int_equal(verify(s->file, AT_VERIFY_ALL, &f), AT_CORRUPT);
    assert_string_equal(f.things, "[blocks.0.bias]");
    munmap(data, bytes);
}

/* Whatever HDF5 does with such a file, we live and come to an end. */
static void metadata_made_by_chance_do_no_harm(void **state)
{
    enum { TRIES = 60, CHANGES = 20 };
    const suite *s = *state;
    size_t bytes;
    uint64_t index, seed = s->seed;
    finding f;
    int lost = 0, opened = 0;
    make_small(s);
    unsigned char *data = map_file(s->file, &bytes), *whole = malloc(bytes);
    memcpy(whole, data, bytes);
    memcpy(&index, data + 24, 8);
    for (int i = 0; i < TRIES; i++) {
        for (int changed = 0; changed < CHANGES;) {
            uint64_t at = 4096 + 16 + next_random(&seed) % (index - 4096 - 16);
            if (whole[at] && data[at] == whole[at]) {
                data[at] ^= (unsigned char)(1 + next_random(&seed) % 255);
                changed++;
            }
        }
        assert_int_equal(verify_within(s->file, AT_VERIFY_ALL, 1, &f), AT_CORRUPT);
        opened += strchr(f.things + 1, '[') != NULL;
        lost += !strcmp(f.things, "[HDF5 metadata][HDF5 metadata]");
        memcpy(data, whole, bytes);
    }
    printf("seed %" PRIu64 ": of %d files with %d changed bytes of metadata HDF5 saw %d as others, "
           "and gave up, crashed or hung on %d of them\n",
           s->seed, TRIES, CHANGES, opened, lost);
    free(whole);
    munmap(data, bytes);
}

/* --- trust ------------------------------------------------------------------------------------ */

static bool trusted(const suite *s, const char *folder)
{
    at_checkpoint *c;
    at_error err = { 0 };
    if (at_checkpoint_open(&c, s->file, &(at_checkpoint_options){ folder }, &err) != AT_OK)
        fail_msg("%s", err.text);
    bool answer = at_checkpoint_trusted(c);
    assert_int_equal(at_checkpoint_check(c, 2, NULL, &err), AT_OK);
    at_checkpoint_close(c);
    return answer;
}

static void change_record(const char *folder, int byte)
{
    char path[4 * PATH_ROOM] = "";
    size_t bytes;
    DIR *d = opendir(folder);
    for (struct dirent *e; (e = readdir(d));)
        if (strstr(e->d_name, ".trust"))
            snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
    closedir(d);
    unsigned char *data = map_file(path, &bytes);
    data[byte] ^= 4;
    munmap(data, bytes);
}

static void what_was_checked_is_remembered(void **state)
{
    const suite *s = *state;
    char folder[2 * PATH_ROOM];
    size_t bytes;
    snprintf(folder, sizeof folder, "%s/trust", s->folder);
    make_small(s);
    usleep(60000);                    /* a file this young is not remembered */
    assert_false(trusted(s, folder)); /* there is no such folder: every start checks */
    assert_false(trusted(s, folder));
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_false(trusted(s, folder));
    assert_true(trusted(s, folder));
    assert_int_equal(files_in(folder), 1);
    for (int byte = 0; byte < 80; byte += 7) { /* records that do not say exactly this */
        change_record(folder, byte);
        assert_false(trusted(s, folder));
        assert_true(trusted(s, folder));
    }
    assert_int_equal(utimensat(AT_FDCWD, s->file, NULL, 0), 0);
    usleep(60000);
    assert_false(trusted(s, folder)); /* touched: another file, as far as we know */
    assert_true(trusted(s, folder));
    make_small(s);
    usleep(60000);
    assert_false(trusted(s, folder));
    unsigned char *data = map_file(s->file, &bytes);
    at_checkpoint *c;
    at_error err = { 0 };
    data[bytes - 1] = (unsigned char)(data[bytes - 1] ^ 1); /* in place, as nobody should */
    msync(data, bytes, MS_SYNC);
    munmap(data, bytes);
    assert_int_equal(at_checkpoint_open(&c, s->file, &(at_checkpoint_options){ folder }, &err),
                     AT_OK);
    assert_false(at_checkpoint_trusted(c));
    at_checkpoint_close(c);
}

static void *use_all(void *context)
{
    at_checkpoint *c = context;
    size_t wrong = 0;
    at_error err;
    for (int i = 0; i < at_checkpoint_list(c)->count; i++)
        wrong += at_checkpoint_data(c, i, &err) == NULL;
    return (void *)wrong;
}

static void threads_may_share_it(void **state)
{
    enum { THREADS = 4, TENSORS = 300 };
    const suite *s = *state;
    at_tensors list = { 0 };
    at_checkpoint *c;
    at_error err = { 0 };
    pthread_t threads[THREADS];
    for (int i = 0; i < TENSORS; i++) {
        char name[32];
        snprintf(name, sizeof name, "t%d", i);
        add(&list, name, AT_STORED_F16, 1, (const int64_t[]){ 100 + i });
    }
    make_file(s->file, &list, 0);
    assert_int_equal(at_checkpoint_open(&c, s->file, &(at_checkpoint_options){ s->folder }, &err),
                     AT_OK);
    for (int t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, use_all, c), 0);
    for (int t = 0; t < THREADS; t++) {
        void *wrong;
        pthread_join(threads[t], &wrong);
        assert_null(wrong);
    }
    assert_true(at_checkpoint_trusted(c));
    at_checkpoint_close(c);
    at_tensors_free(&list);
}

/* --- writers ---------------------------------------------------------------------------------- */

static void an_unfinished_writer_leaves_nothing(void **state)
{
    const suite *s = *state;
    at_tensors list = { 0 };
    at_error err = { 0 };
    at_checkpoint_writer *w;
    unsigned char bytes[30 * 41 * 4] = { 0 };
    small_list(&list);
    assert_int_equal(at_tensors_finish(&list, &err), AT_OK);
    assert_int_equal(at_checkpoint_writer_new(&w, s->file, &list, &err), AT_OK);
    assert_int_equal(at_checkpoint_write(w, 0, 0, bytes, sizeof bytes, &err), AT_OK);
    assert_int_equal(at_checkpoint_writer_finish(w, &err), AT_INVALID);
    assert_non_null(strstr(err.text, "'blocks.0.bias' is not complete"));
    assert_int_equal(at_checkpoint_write(w, 0, 0, bytes, 1, &err), AT_INVALID); /* twice */
    at_checkpoint_writer_free(w);
    assert_int_equal(files_in(s->folder), 0);
    assert_int_equal(at_checkpoint_writer_new(&w, s->file, &list, &err), AT_OK);
    assert_int_equal(at_checkpoint_write(w, 1, 2, bytes, 4, &err), AT_INVALID);  /* a hole */
    assert_int_equal(at_checkpoint_write(w, 1, 0, bytes, 61, &err), AT_INVALID); /* too many */
    at_checkpoint_writer_free(w);
    assert_int_equal(files_in(s->folder), 0);
    char elsewhere[2 * PATH_ROOM];
    snprintf(elsewhere, sizeof elsewhere, "%s/no/such", s->folder);
    assert_int_equal(at_checkpoint_writer_new(&w, elsewhere, &list, &err), AT_NOT_FOUND);
    assert_int_equal(at_checkpoint_writer_new(&w, s->folder, &list, &err), AT_INVALID);
    at_tensors_free(&list);
}

static void readers_keep_their_file(void **state)
{
    const suite *s = *state;
    at_tensors list = { 0 };
    at_error err = { 0 };
    at_checkpoint *c;
    small_list(&list);
    make_file(s->file, &list, 1);
    assert_int_equal(at_checkpoint_open(&c, s->file, NULL, &err), AT_OK);
    make_file(s->file, &list, 2);
    same_bytes(at_checkpoint_data(c, 0, &err), 1, 0, list.items[0].bytes);
    at_checkpoint_close(c);
    check_file(s->file, &list, 2);
    at_tensors_free(&list);
}

static bool stop(void *context, uint64_t done, uint64_t total)
{
    assert_true(done <= total);
    ++*(int *)context;
    return false;
}

static void checking_may_be_cancelled(void **state)
{
    const suite *s = *state;
    at_checkpoint *c;
    at_error err = { 0 };
    int calls = 0;
    const at_progress p = { stop, &calls };
    make_small(s);
    assert_int_equal(at_checkpoint_open(&c, s->file, NULL, &err), AT_OK);
    assert_int_equal(at_checkpoint_check(c, 2, &p, &err), AT_CANCELLED);
    assert_false(at_checkpoint_trusted(c));
    assert_int_equal(at_checkpoint_check(c, 2, NULL, &err), AT_OK);
    assert_true(at_checkpoint_trusted(c));
    at_checkpoint_close(c);
    assert_int_equal(at_checkpoint_verify(s->file, &(at_verify_options){ .progress = &p }, &err),
                     AT_CANCELLED);
    assert_true(calls >= 2);
}

/* Kills a writer after 'delay' microseconds; true if the new file was there. */
static bool kill_writer(const suite *s, const at_tensors *list, int version, uint64_t delay)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        at_error err;
        (void)!write_file(s->file, list, version, &err);
        raise(SIGKILL);
    }
    nanosleep(&(struct timespec){ 0, (long)delay * 1000 }, NULL);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    finding f;
    at_checkpoint *c;
    at_error err = { 0 };
    if (verify(s->file, AT_VERIFY_SUMS, &f) != AT_OK)
        fail_msg("killed after %" PRIu64 " us: %s", delay, f.things);
    assert_int_equal(at_checkpoint_open(&c, s->file, NULL, &err), AT_OK);
    const unsigned char *data = at_checkpoint_data(c, 0, &err);
    assert_non_null(data);
    bool newer = data[1] == byte_of(version, 0, 1) && data[2] == byte_of(version, 0, 2);
    at_checkpoint_close(c);
    check_file(s->file, list, newer ? version : version - 1);
    return newer;
}

static void a_killed_writer_leaves_old_or_new(void **state)
{
    const suite *s = *state;
    uint64_t seed = s->seed, longest = 2000;
    at_tensors list = { 0 };
    int version = 0, newer = 0;
    small_list(&list);
    add(&list, "more", AT_STORED_U8, 1, (const int64_t[]){ 300000 });
    make_file(s->file, &list, version);
    for (int i = 0; i < s->kills; i++) {
        bool is_new = kill_writer(s, &list, version + 1, next_random(&seed) % longest);
        version += is_new;
        newer += is_new;
        longest = is_new ? longest * 9 / 10 : longest * 11 / 10; /* about as many of each */
    }
    int left = files_in(s->folder) - 1;
    printf("seed %" PRIu64 ": %d writers killed, %d old files, %d new ones, %d names left over\n",
           s->seed, s->kills, s->kills - newer, newer, left);
    make_file(s->file, &list, version);
    assert_int_equal(files_in(s->folder), 1);
    at_tensors_free(&list);
}

/* --- the suite -------------------------------------------------------------------------------- */

static int clean(void **state)
{
    remove_all(((const suite *)*state)->folder);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "make")) {
        make_everything(argv[2]);
        return 0;
    }
    suite s = { .folder = "/tmp/atelier-checkpoint-XXXXXX",
                .flip_stride = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 1,
                .kills = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 50,
                .seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1 };
    if (!mkdtemp(s.folder))
        return 2;
    snprintf(s.file, sizeof s.file, "%.200s/file.h5", s.folder);
#define TEST(name) cmocka_unit_test_prestate_setup_teardown(name, NULL, clean, &s)
    const struct CMUnitTest tests[] = {
        TEST(what_is_written_comes_back),
        TEST(a_file_without_anything),
        TEST(equal_lists_give_equal_bytes),
        TEST(a_checkpoint_is_a_source),
        TEST(every_changed_byte_is_found),
        TEST(a_damaged_tensor_is_not_handed_out),
        TEST(a_shorter_file_is_refused),
        TEST(other_files_are_refused),
        TEST(an_index_that_lies_is_refused),
        TEST(hdf5_must_agree_with_the_index),
        TEST(metadata_made_by_chance_do_no_harm),
        TEST(what_was_checked_is_remembered),
        TEST(threads_may_share_it),
        TEST(an_unfinished_writer_leaves_nothing),
        TEST(readers_keep_their_file),
        TEST(checking_may_be_cancelled),
        TEST(a_killed_writer_leaves_old_or_new),
    };
#undef TEST
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_all(s.folder);
    rmdir(s.folder);
    return failed != 0;
}
