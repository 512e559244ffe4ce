/* torch_legacy.c -- files of torch.save before 1.6, which later ones still write on request: a
 * magic number, a version and what the machine was like, each a pickle; then the pickle that
 * describes the tensors, a pickled list of the storages' keys, and each storage: how many elements,
 * and their bytes.
 *
 * Nothing says how long a pickle is, so that the front of the file is read in growing pieces until
 * all five are in one. Nothing carries a checksum either. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/torch_file.h"

enum { ID_ITEMS = 6, VERSION = 1001, FIRST_READ = 64 << 10, READ_GROWTH = 4, TAR_MARK_AT = 257 };

/* The magic number as a pickle's LONG1 has it. */
static const unsigned char magic[] = { 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46,
                                       0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19 };

typedef struct stored {
    at_pickle_text key;
    uint64_t offset, bytes; /* UINT64_MAX: the pickle did not mention it yet */
    uint32_t element;
} stored;

typedef struct reading {
    at_torch_file *t;
    unsigned char *bytes;
    size_t have;
    uint64_t data_from;
    at_pickle main, keys;
    stored *storages, **by_key; /* in the order of the file; of their keys */
    size_t count;
    bool starved;
    at_error *err;
} reading;

/* 2 when the number comes right behind the protocol, 11 when a frame stands between; 0: no
 * magic. */
static size_t find_magic(const unsigned char *head, size_t bytes)
{
    const size_t places[] = { 2, 11 };
    for (size_t i = 0; i < AT_COUNT(places); i++)
        if (bytes >= places[i] + sizeof magic && head[0] == 0x80 &&
            !memcmp(head + places[i], magic, sizeof magic))
            return places[i];
    return 0;
}

/* The layout of 2016 was a tar file; what other tar files hold is nobody's weights. */
static bool is_tar(const unsigned char *head, size_t bytes)
{
    return bytes >= TAR_MARK_AT + 5 && !memcmp(head + TAR_MARK_AT, "ustar", 5);
}

static bool is_legacy(const unsigned char *head, size_t head_bytes, uint64_t bytes)
{
    (void)bytes;
    return find_magic(head, head_bytes) || is_tar(head, head_bytes);
}

/* --- pickles ---------------------------------------------------------------------------------- */

/* Runs the pickle at '*at' of what was read and moves '*at' behind it. */
static at_status run_next(reading *r, at_pickle *p, size_t *at, size_t memory)
{
    at_status status = at_pickle_run(p, r->bytes + *at, r->have - *at, memory, r->err);
    *at += p->at;
    r->starved = p->starved;
    return status;
}

static bool is_little(const at_pickle *p)
{
    static const char name[] = "little_endian";
    at_pickle_value key, value;
    at_pickle_text text;
    for (at_pickle_walk w = at_pickle_enter(p, p->result); at_pickle_next(&w, &key, &value);)
        if (at_pickle_text_of(p, key, &text) && text.bytes == strlen(name) &&
            !memcmp(text.data, name, text.bytes))
            return at_pickle_true(value);
    return false;
}

/* Magic number, version, machine. */
static at_status run_front(reading *r, size_t *at)
{
    at_pickle p = { 0 };
    int64_t version = 0;
    at_status status = run_next(r, &p, at, AT_TORCH_MEMORY_MIN);
    at_pickle_free(&p);
    if (status != AT_OK)
        return status;
    status = run_next(r, &p, at, AT_TORCH_MEMORY_MIN);
    bool known = status == AT_OK && at_pickle_int(&p, p.result, &version) && version == VERSION;
    at_pickle_free(&p);
    if (status != AT_OK)
        return status;
    if (!known)
        return at_fail(r->err, AT_UNSUPPORTED,
                       "its torch layout is version %" PRId64 "; %d is read", version, VERSION);
    status = run_next(r, &p, at, AT_TORCH_MEMORY_MIN);
    bool little = status == AT_OK && is_little(&p);
    at_pickle_free(&p);
    if (status == AT_OK && !little)
        return at_fail(r->err, AT_UNSUPPORTED, "its byte order is not little-endian");
    return status;
}

static at_status run_pickles(reading *r)
{
    size_t at = 0;
    at_status status = run_front(r, &at);
    if (status == AT_OK)
        status = run_next(r, &r->main, &at, at_torch_memory(r->t, r->have));
    if (status == AT_OK)
        status = run_next(r, &r->keys, &at, r->main.room);
    r->data_from = at;
    return status;
}

static at_status read_pickles(reading *r)
{
    const at_file *f = &r->t->file;
    size_t most = f->bytes < AT_PICKLE_BYTES_MAX ? (size_t)f->bytes : AT_PICKLE_BYTES_MAX;
    for (size_t want = FIRST_READ;; want *= READ_GROWTH) {
        r->have = want < most ? want : most;
        free(r->bytes);
        r->bytes = malloc(r->have + 1);
        if (!r->bytes)
            return at_torch_named(
                r->t, at_fail(r->err, AT_NO_MEMORY, "no memory for a pickle of %zu bytes", r->have),
                r->err);
        at_status status = at_file_read(f, 0, r->bytes, r->have, r->err);
        if (status != AT_OK)
            return status;
        status = run_pickles(r);
        if (!r->starved || r->have == most)
            return at_torch_named(r->t, status, r->err);
        at_pickle_free(&r->main);
        at_pickle_free(&r->keys);
    }
}

/* --- storages --------------------------------------------------------------------------------- */

static int compare_texts(at_pickle_text a, at_pickle_text b)
{
    if (a.bytes != b.bytes)
        return a.bytes < b.bytes ? -1 : 1;
    return a.bytes ? memcmp(a.data, b.data, a.bytes) : 0;
}

static int compare_keys(const void *a, const void *b)
{
    return compare_texts((*(const stored *const *)a)->key, (*(const stored *const *)b)->key);
}

static stored *find_key(const reading *r, at_pickle_text key)
{
    size_t low = 0, high = r->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_texts(r->by_key[middle]->key, key);
        if (order == 0)
            return r->by_key[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static at_status refuse_key(const reading *r, at_pickle_text key, const char *what)
{
    char name[64];
    at_pickle_printable(name, sizeof name, key.data, key.bytes);
    return at_fail(r->err, AT_CORRUPT, "storage '%s' %s", name, what);
}

static at_status read_keys(reading *r)
{
    at_pickle_value index, value;
    size_t count = 0, each = sizeof *r->storages + sizeof *r->by_key;
    for (at_pickle_walk w = at_pickle_enter(&r->keys, r->keys.result);
         at_pickle_next(&w, &index, &value);)
        count++;
    if (count > r->keys.room / each)
        return at_fail(r->err, AT_CORRUPT,
                       "it lists more storages than fit into memory of twice its bytes");
    r->main.room = r->keys.room - count * each;
    r->storages = calloc(count + 1, sizeof *r->storages);
    r->by_key = calloc(count + 1, sizeof *r->by_key);
    if (!r->storages || !r->by_key)
        return at_fail(r->err, AT_NO_MEMORY, "no memory for a list of %zu storages", count);
    for (at_pickle_walk w = at_pickle_enter(&r->keys, r->keys.result);
         at_pickle_next(&w, &index, &value); r->count++) {
        stored *s = &r->storages[r->count];
        s->bytes = UINT64_MAX;
        r->by_key[r->count] = s;
        if (!at_pickle_text_of(&r->keys, value, &s->key))
            return at_fail(r->err, AT_CORRUPT, "its list of storages holds what is no key");
    }
    if (r->count)
        qsort(r->by_key, r->count, sizeof *r->by_key, compare_keys);
    for (size_t i = 1; i < r->count; i++)
        if (compare_keys(&r->by_key[i - 1], &r->by_key[i]) == 0)
            return refuse_key(r, r->by_key[i]->key, "is there twice");
    return AT_OK;
}

/* What the pickle says of each storage, in every place that mentions it. */
static at_status describe_storages(reading *r)
{
    at_pickle_value index, value;
    for (at_pickle_walk w = at_pickle_enter(&r->main, r->main.stored);
         at_pickle_next(&w, &index, &value);) {
        at_torch_storage about;
        at_status status = at_torch_describe(&r->main, value, ID_ITEMS, &about, r->err);
        if (status != AT_OK)
            return status;
        stored *s = find_key(r, about.key);
        if (!s)
            return refuse_key(r, about.key, "is needed and not there");
        if (s->bytes != UINT64_MAX && (s->bytes != about.bytes || s->element != about.element))
            return refuse_key(r, about.key, "has two sizes");
        s->bytes = about.bytes;
        s->element = about.element;
    }
    return AT_OK;
}

/* Where each storage lies; the file ends with the last. */
static at_status locate_storages(reading *r)
{
    const at_file *f = &r->t->file;
    uint64_t at = r->data_from;
    for (size_t i = 0; i < r->count; i++) {
        stored *s = &r->storages[i];
        unsigned char count[8];
        uint64_t elements = 0;
        if (s->bytes == UINT64_MAX)
            return refuse_key(r, s->key, "is there and nothing tells its type");
        if (f->bytes - at < sizeof count || f->bytes - at - sizeof count < s->bytes)
            return refuse_key(r, s->key, "is cut off by the end of the file");
        at_status status = at_file_read(f, at, count, sizeof count, r->err);
        if (status != AT_OK)
            return status;
        for (int b = 8; b-- > 0;)
            elements = elements << 8 | count[b];
        if (elements != s->bytes / s->element)
            return refuse_key(r, s->key, "has another size than its pickle says");
        s->offset = at + sizeof count;
        at = s->offset + s->bytes;
    }
    if (at != f->bytes)
        return at_fail(r->err, AT_CORRUPT, "it goes on for %" PRIu64 " bytes behind its storages",
                       f->bytes - at);
    return AT_OK;
}

/* A storage may be a part of another: (key of its own, first element, elements). */
static at_status find_storage(void *context, at_torch_storage *s, at_error *err)
{
    const reading *r = context;
    const stored *found = find_key(r, s->key);
    int64_t first, elements, end;
    (void)err;
    AT_ASSERT(found, "a storage that describe_storages() did not see");
    s->offset = found->offset;
    s->room = found->bytes;
    if (at_pickle_is(s->view) == AT_PICKLE_NONE)
        return AT_OK;
    if (at_pickle_is(s->view) != AT_PICKLE_TUPLE || at_pickle_count(s->view) != 3 ||
        !at_pickle_int(&r->main, at_pickle_item(&r->main, s->view, 1), &first) ||
        !at_pickle_int(&r->main, at_pickle_item(&r->main, s->view, 2), &elements) || first < 0 ||
        elements < 0 || __builtin_add_overflow(first, elements, &end) ||
        (uint64_t)end > found->bytes / found->element)
        return refuse_key(r, s->key, "has a view that leads out of it");
    s->offset += (uint64_t)first * found->element;
    s->room = (uint64_t)elements * found->element;
    return AT_OK;
}

/* --- the source ------------------------------------------------------------------------------- */

static at_status open_reading(reading *r, at_source *s)
{
    at_status status = read_pickles(r);
    if (status != AT_OK)
        return status;
    if (at_pickle_is(r->keys.result) != AT_PICKLE_LIST)
        status = at_fail(r->err, AT_CORRUPT, "its list of storages is no list");
    if (status == AT_OK)
        status = read_keys(r);
    if (status == AT_OK)
        status = describe_storages(r);
    if (status == AT_OK)
        status = locate_storages(r);
    if (status != AT_OK)
        return at_torch_named(r->t, status, r->err);
    return at_torch_list(r->t, s, &r->main, ID_ITEMS, find_storage, r, r->err);
}

static at_status check_head(const at_torch_file *t, at_error *err)
{
    unsigned char head[TAR_MARK_AT + 5];
    size_t bytes = t->file.bytes < sizeof head ? (size_t)t->file.bytes : sizeof head;
    at_status status = at_file_read(&t->file, 0, head, bytes, err);
    if (status != AT_OK)
        return status;
    if (is_tar(head, bytes))
        return at_fail(
            err, AT_UNSUPPORTED,
            "%s: is a tar file, as torch wrote before 0.1.10; save it anew with torch.save",
            t->file.path);
    if (!find_magic(head, bytes))
        return at_fail(err, AT_CORRUPT, "%s: does not begin with torch's magic number",
                       t->file.path);
    return AT_OK;
}

static at_status open_legacy(at_source *s, const char *path, at_error *err)
{
    at_torch_file *t = calloc(1, sizeof *t);
    if (!t)
        return at_fail(err, AT_NO_MEMORY, "%.160s: no memory to open it", path);
    s->own = t;
    reading r = { .t = t, .err = err };
    at_status status = at_torch_open(t, path, err);
    if (status == AT_OK)
        status = check_head(t, err);
    if (status == AT_OK)
        status = open_reading(&r, s);
    s->file_bytes = t->file.bytes;
    free(r.by_key);
    free(r.storages);
    at_pickle_free(&r.keys);
    at_pickle_free(&r.main);
    free(r.bytes);
    return status;
}

static at_status read_legacy(at_source *s, int i, uint64_t from, void *out, size_t bytes,
                             at_error *err)
{
    return at_torch_read(s->own, s, i, from, out, bytes, err);
}

static void close_legacy(at_source *s)
{
    if (!s->own)
        return;
    at_torch_close(s->own);
    free(s->own);
    s->own = NULL;
}

const at_source_kind at_source_torch_legacy = { "torch before 1.6", is_legacy, open_legacy,
                                                read_legacy, close_legacy };
