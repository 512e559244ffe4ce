/* checkpoint_format.c -- header and index, byte by byte; and opening, which believes neither. */
#include "engine/checkpoint_format.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/checksum.h"

enum {
    POS_VERSION = 8,
    POS_HEADER = 12,
    POS_FILE_BYTES = 16,
    POS_INDEX = 24,
    POS_REST = 48,
    POS_ZEROS = 56,
    POS_SUM = AT_CHECKPOINT_HEADER_BYTES - 8,

    INDEX_HEAD = 16,
    RECORD = 104,
    POS_TYPE = 24,
    POS_NAME_BYTES = 32,
    POS_RANK = 36,
    POS_SIZES = 40,
    TYPE_BYTES = 8,
    POPULATE_READ = 22, /* MADV_POPULATE_READ of Linux 5.14: older headers lack it */
};
#define PAGE_MAX ((uint64_t)64 << 10) /* the largest page that any of our machines has */

static const unsigned char magic[AT_CHECKPOINT_MAGIC_BYTES] = { 0x89, 'A',  'T',  'L',
                                                                '\r', '\n', 0x1a, '\n' };

static void put(unsigned char *out, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        out[i] = (unsigned char)(value >> 8 * i);
}

static uint64_t get(const unsigned char *in, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)in[i] << 8 * i;
    return value;
}

static bool all_zero(const unsigned char *p, size_t bytes)
{
    unsigned char any = 0;
    for (size_t i = 0; i < bytes; i++)
        any |= p[i];
    return any == 0;
}

/* --- header ----------------------------------------------------------------------------------- */

bool at_checkpoint_is(const unsigned char *head, size_t bytes)
{
    return bytes >= sizeof magic && !memcmp(head, magic, sizeof magic);
}

void at_checkpoint_header_put(unsigned char *out, at_checkpoint_header *h)
{
    memset(out, 0, AT_CHECKPOINT_HEADER_BYTES);
    memcpy(out, magic, sizeof magic);
    put(out + POS_VERSION, AT_CHECKPOINT_VERSION, 4);
    put(out + POS_HEADER, AT_CHECKPOINT_HEADER_BYTES, 4);
    put(out + POS_FILE_BYTES, h->file_bytes, 8);
    put(out + POS_INDEX, h->index.offset, 8);
    put(out + POS_INDEX + 8, h->index.bytes, 8);
    put(out + POS_INDEX + 16, h->index.sum, 8);
    put(out + POS_REST, h->rest_sum, 8);
    h->sum = at_checksum_of(out, POS_SUM);
    put(out + POS_SUM, h->sum, 8);
}

static at_status check_header(const at_checkpoint_header *h, uint64_t file_bytes, at_error *err)
{
    if (h->file_bytes != file_bytes)
        return at_fail(err, AT_CORRUPT,
                       "the header expects a file of %" PRIu64 " bytes, found %" PRIu64,
                       h->file_bytes, file_bytes);
    if (h->index.offset % AT_CHECKPOINT_ALIGN || h->index.offset < AT_CHECKPOINT_HEADER_BYTES ||
        h->index.offset > file_bytes || h->index.bytes > file_bytes - h->index.offset ||
        h->index.bytes < INDEX_HEAD)
        return at_fail(err, AT_CORRUPT,
                       "the header puts an index of %" PRIu64 " bytes at %" PRIu64
                       ", the file has %" PRIu64 " bytes",
                       h->index.bytes, h->index.offset, file_bytes);
    return AT_OK;
}

at_status at_checkpoint_header_get(at_checkpoint_header *h, const unsigned char *in,
                                   uint64_t file_bytes, at_error *err)
{
    if (!at_checkpoint_is(in, AT_CHECKPOINT_HEADER_BYTES))
        return at_fail(err, AT_CORRUPT, "expected a checkpoint, the first bytes are not of one");
    uint64_t version = get(in + POS_VERSION, 4);
    if (version != AT_CHECKPOINT_VERSION)
        return at_fail(err, AT_UNSUPPORTED, "the header says version %" PRIu64 ", expected %d",
                       version, AT_CHECKPOINT_VERSION);
    h->sum = at_checksum_of(in, POS_SUM);
    if (get(in + POS_SUM, 8) != h->sum)
        return at_fail(err, AT_CORRUPT,
                       "the header is damaged: its checksum is %016" PRIx64
                       ", expected %016" PRIx64,
                       h->sum, get(in + POS_SUM, 8));
    if (get(in + POS_HEADER, 4) != AT_CHECKPOINT_HEADER_BYTES ||
        !all_zero(in + POS_ZEROS, POS_SUM - POS_ZEROS))
        return at_fail(err, AT_CORRUPT, "the header holds more than version %d knows",
                       AT_CHECKPOINT_VERSION);
    h->file_bytes = get(in + POS_FILE_BYTES, 8);
    h->index = (at_extent){ get(in + POS_INDEX, 8), get(in + POS_INDEX + 8, 8),
                            get(in + POS_INDEX + 16, 8) };
    h->rest_sum = get(in + POS_REST, 8);
    return check_header(h, file_bytes, err);
}

/* --- writing the index ------------------------------------------------------------------------ */

static size_t names_bytes(const at_tensors *list)
{
    size_t bytes = 0;
    for (int i = 0; i < list->text_count; i++)
        bytes += strlen(list->texts[i].name);
    for (int i = 0; i < list->count; i++)
        bytes += strlen(list->items[i].name);
    return bytes;
}

size_t at_checkpoint_index_bytes(const at_tensors *list)
{
    return INDEX_HEAD + RECORD * ((size_t)list->text_count + (size_t)list->count) +
           names_bytes(list);
}

static unsigned char *put_record(unsigned char *record, unsigned char *names, const at_extent *e,
                                 const char *type, const char *name)
{
    size_t name_bytes = strlen(name);
    memset(record, 0, RECORD);
    put(record, e->offset, 8);
    put(record + 8, e->bytes, 8);
    put(record + 16, e->sum, 8);
    memcpy(record + POS_TYPE, type, strlen(type));
    put(record + POS_NAME_BYTES, name_bytes, 4);
    memcpy(names, name, name_bytes);
    return names + name_bytes;
}

void at_checkpoint_index_put(unsigned char *out, const at_tensors *list, const at_extent *extents)
{
    size_t records = (size_t)list->text_count + (size_t)list->count;
    unsigned char *record = out + INDEX_HEAD, *names = record + RECORD * records;
    put(out, (uint64_t)list->count, 4);
    put(out + 4, (uint64_t)list->text_count, 4);
    put(out + 8, names_bytes(list), 8);
    for (int i = 0; i < list->text_count; i++, record += RECORD) {
        names = put_record(record, names, extents++, "text", list->texts[i].name);
        put(record + POS_RANK, 1, 4);
        put(record + POS_SIZES, list->texts[i].bytes, 8);
    }
    for (int i = 0; i < list->count; i++, record += RECORD) {
        const at_stored_tensor *t = &list->items[i];
        names = put_record(record, names, extents++, at_stored_about(t->type)->name, t->name);
        put(record + POS_RANK, (uint64_t)t->rank, 4);
        for (int a = 0; a < t->rank; a++)
            put(record + POS_SIZES + 8 * a, (uint64_t)t->size[a], 8);
    }
}

/* --- reading the index ------------------------------------------------------------------------ */

/* A walk through the records: the next name, and the byte after the last extent. */
typedef struct walk {
    at_checkpoint *c;
    const unsigned char *record, *names;
    uint64_t names_left, end;
    at_checkpoint_text_damaged damaged;
    void *context;
} walk;

typedef struct record {
    const char *name;
    int name_bytes;
    at_extent extent;
    int rank;
    int64_t size[AT_STORED_RANK_MAX];
} record;

static at_stored type_named(const unsigned char *text)
{
    for (int t = AT_STORED_NONE + 1; t < AT_STORED_COUNT; t++) {
        char name[TYPE_BYTES + 1] = { 0 };
        snprintf(name, sizeof name, "%s", at_stored_about((at_stored)t)->name);
        if (!memcmp(name, text, TYPE_BYTES))
            return (at_stored)t;
    }
    return AT_STORED_NONE;
}

static at_status next_record(walk *w, record *r, at_error *err)
{
    const unsigned char *in = w->record;
    uint64_t name_bytes = get(in + POS_NAME_BYTES, 4), rank = get(in + POS_RANK, 4);
    if (name_bytes > w->names_left || name_bytes > AT_TENSOR_NAME_MAX)
        return at_fail(err, AT_CORRUPT,
                       "the index has a name of %" PRIu64 " bytes, %" PRIu64 " are left",
                       name_bytes, w->names_left);
    *r = (record){ (const char *)w->names,
                   (int)name_bytes,
                   { get(in, 8), get(in + 8, 8), get(in + 16, 8) },
                   (int)rank };
    w->names += name_bytes;
    w->names_left -= name_bytes;
    w->record += RECORD;
    if (rank > AT_STORED_RANK_MAX ||
        !all_zero(in + POS_SIZES + 8 * rank, RECORD - POS_SIZES - 8 * rank))
        return at_fail(err, AT_CORRUPT, "the index gives '%.*s' %" PRIu64 " axes; the limit is %d",
                       r->name_bytes, r->name, rank, AT_STORED_RANK_MAX);
    for (uint64_t a = 0; a < rank; a++)
        r->size[a] = (int64_t)get(in + POS_SIZES + 8 * a, 8);
    const at_extent *e = &r->extent;
    uint64_t file_bytes = w->c->file.bytes;
    bool outside = e->offset > file_bytes || e->bytes > file_bytes - e->offset;
    if (e->bytes ? outside || e->offset < w->end || e->offset % AT_CHECKPOINT_ALIGN : e->offset)
        return at_fail(err, AT_CORRUPT,
                       "the index puts the %" PRIu64 " bytes of '%.*s' at %" PRIu64
                       ", expected a multiple of %d between %" PRIu64 " and %" PRIu64,
                       e->bytes, r->name_bytes, r->name, e->offset, AT_CHECKPOINT_ALIGN, w->end,
                       file_bytes);
    w->end = e->bytes ? e->offset + e->bytes : w->end;
    return AT_OK;
}

static at_status read_text(walk *w, int i, at_error *err)
{
    at_checkpoint *c = w->c;
    record r;
    bool is_text = !memcmp(w->record + POS_TYPE, "text\0\0\0\0", TYPE_BYTES);
    at_status status = next_record(w, &r, err);
    if (status != AT_OK)
        return status;
    if (!is_text || r.rank != 1 || (uint64_t)r.size[0] != r.extent.bytes)
        return at_fail(err, AT_CORRUPT, "the index says of text '%.*s' that it is none",
                       r.name_bytes, r.name);
    c->extents[i] = r.extent;
    if (r.extent.bytes > AT_TEXT_BYTES_MAX)
        return at_fail(err, AT_CORRUPT, "text '%.*s' has %" PRIu64 " bytes; the limit is %d",
                       r.name_bytes, r.name, r.extent.bytes, AT_TEXT_BYTES_MAX);
    uint64_t sum = 0;
    size_t bytes = (size_t)r.extent.bytes;
    status = at_checkpoint_sum(c, r.extent.offset, bytes, &sum, err);
    if (status != AT_OK)
        return status;
    if (sum != r.extent.sum && !w->damaged)
        return at_fail(err, AT_CORRUPT,
                       "text '%.*s' is damaged: its checksum is %016" PRIx64
                       ", expected %016" PRIx64,
                       r.name_bytes, r.name, sum, r.extent.sum);
    bool whole = sum == r.extent.sum;
    atomic_store(&c->checked[i], whole ? AT_WHOLE : AT_DAMAGED);
    status =
        at_tensors_add_text(&c->list, r.name, (size_t)r.name_bytes,
                            (const char *)c->map.data + r.extent.offset, whole ? bytes : 0, err);
    if (status == AT_OK && !whole)
        w->damaged(w->context, c->list.texts[i].name);
    return status;
}

static at_status read_tensor(walk *w, int i, at_error *err)
{
    record r;
    at_stored type = type_named(w->record + POS_TYPE);
    at_status status = next_record(w, &r, err);
    if (status != AT_OK)
        return status;
    if (type == AT_STORED_NONE)
        return at_fail(err, AT_CORRUPT, "the index gives tensor '%.*s' a type that is not known",
                       r.name_bytes, r.name);
    w->c->extents[w->c->list.text_count + i] = r.extent;
    at_stored_tensor t = { .size = r.size,
                           .offset = r.extent.offset,
                           .bytes = r.extent.bytes,
                           .type = type,
                           .rank = (int16_t)r.rank };
    return at_tensors_add(&w->c->list, &t, r.name, (size_t)r.name_bytes, err);
}

static at_status read_records(walk *w, int texts, int tensors, at_error *err)
{
    at_status status = AT_OK;
    for (int i = 0; i < texts && status == AT_OK; i++)
        status = read_text(w, i, err);
    for (int i = 0; i < tensors && status == AT_OK; i++)
        status = read_tensor(w, i, err);
    if (status == AT_OK && w->names_left)
        status = at_fail(err, AT_CORRUPT, "the index has %" PRIu64 " bytes of names too many",
                         w->names_left);
    return status == AT_OK ? at_tensors_finish(&w->c->list, err) : status;
}

static at_status read_index(at_checkpoint *c, at_checkpoint_text_damaged damaged, void *context,
                            at_error *err)
{
    const at_extent *x = &c->header.index;
    const unsigned char *in = c->map.data + x->offset;
    uint64_t sum = at_checksum_of(in, (size_t)x->bytes);
    if (sum != x->sum)
        return at_fail(err, AT_CORRUPT,
                       "the index is damaged: its checksum is %016" PRIx64 ", expected %016" PRIx64,
                       sum, x->sum);
    uint64_t tensors = get(in, 4), texts = get(in + 4, 4), names = get(in + 8, 8);
    uint64_t records = tensors + texts, records_bytes = records * RECORD;
    if (tensors > AT_TENSORS_MAX || texts > AT_TEXTS_MAX || records_bytes > x->bytes - INDEX_HEAD ||
        names != x->bytes - INDEX_HEAD - records_bytes)
        return at_fail(err, AT_CORRUPT,
                       "the index says %" PRIu64 " tensors, %" PRIu64 " texts and %" PRIu64
                       " bytes of names, found %" PRIu64 " bytes (limits: %d, %d)",
                       tensors, texts, names, x->bytes, AT_TENSORS_MAX, AT_TEXTS_MAX);
    c->extents = calloc((size_t)records + 1, sizeof *c->extents);
    c->checked = calloc((size_t)records + 1, sizeof *c->checked);
    if (!c->extents || !c->checked)
        return at_fail(err, AT_NO_MEMORY, "no memory for an index of %" PRIu64 " records", records);
    at_status status = at_tensors_reserve(&c->list, (int64_t)tensors, err);
    if (status != AT_OK)
        return status;
    walk w = { c,      in + INDEX_HEAD,      in + INDEX_HEAD + records_bytes,
               names,  x->offset + x->bytes, damaged,
               context };
    atomic_store(&c->unchecked, (int)tensors);
    return read_records(&w, (int)texts, (int)tensors, err);
}

/* --- opening ---------------------------------------------------------------------------------- */

/* Sentences above say what; whoever reads them wants to know where. */
static at_status about(const char *path, at_status status, at_error *err)
{
    if (status == AT_OK || !err || !strncmp(err->text, path, strlen(path)))
        return status;
    char text[AT_CHECKPOINT_MESSAGE_MAX];
    snprintf(text, sizeof text, "%.*s", (int)sizeof text - 1, err->text);
    return at_fail(err, status, "%s: %s", path, text);
}

static at_status open_file(at_checkpoint *c, const char *path, at_error *err)
{
    c->file.fd = -1;
    c->path = strdup(path);
    if (!c->path)
        return at_fail(err, AT_NO_MEMORY, "%s: no memory to open it", path);
    at_status status = at_file_open(&c->file, c->path, err);
    if (status == AT_OK)
        status = at_file_identify(&c->file, &c->identity, err);
    if (status == AT_OK && c->file.bytes < AT_CHECKPOINT_HEADER_BYTES)
        status = at_fail(err, AT_CORRUPT,
                         "%s: expected a checkpoint, found %" PRIu64 " bytes; its header has %d",
                         path, c->file.bytes, AT_CHECKPOINT_HEADER_BYTES);
    c->steady = status == AT_OK && at_file_identity_steady(&c->identity);
    return status == AT_OK ? at_file_map(&c->file, &c->map, err) : status;
}

at_status at_checkpoint_load(at_checkpoint *c, const char *path, const char **thing,
                             at_checkpoint_text_damaged damaged, void *context, at_error *err)
{
    unsigned char head[AT_CHECKPOINT_HEADER_BYTES];
    *thing = "file";
    at_status status = open_file(c, path, err);
    if (status != AT_OK)
        return status;
    status = at_file_read(&c->file, 0, head, sizeof head, err);
    if (status != AT_OK)
        return status;
    *thing = "header";
    status = at_checkpoint_header_get(&c->header, head, c->file.bytes, err);
    if (status == AT_OK) {
        *thing = "index";
        status = read_index(c, damaged, context, err);
    }
    return about(path, status, err);
}

void at_checkpoint_unload(at_checkpoint *c)
{
    at_mapping_free(&c->map);
    at_file_close(&c->file);
    if (!c->list_lent)
        at_tensors_free(&c->list);
    free(c->checked);
    free(c->extents);
    free(c->trust_folder);
    free(c->path);
}

/* The pages that hold a range of the mapped file, from the first one on. */
static void *pages_of(const at_checkpoint *c, uint64_t offset, size_t *bytes)
{
    uint64_t first = offset / PAGE_MAX * PAGE_MAX;
    *bytes += (size_t)(offset - first);
    return (void *)(uintptr_t)(c->map.data + first);
}

at_status at_checkpoint_touch(const at_checkpoint *c, uint64_t offset, size_t bytes, at_error *err)
{
    size_t all = bytes;
    void *pages = pages_of(c, offset, &all);
    /* Kernels that do not know the advice read the pages when they are touched. */
    if (bytes && madvise(pages, all, POPULATE_READ) != 0 && (errno == EFAULT || errno == EHWPOISON))
        return at_fail(err, AT_IO, "%s: reading %zu bytes at %" PRIu64 " failed", c->path, bytes,
                       offset);
    return AT_OK;
}

void at_checkpoint_leave(const at_checkpoint *c, uint64_t offset, size_t bytes)
{
    void *pages = pages_of(c, offset, &bytes);
    if (bytes)
        madvise(pages, bytes, MADV_DONTNEED); /* a wish; the file's pages stay in the cache */
}

at_status at_checkpoint_piece(const at_checkpoint *c, uint64_t offset, size_t bytes, uint64_t *sum,
                              at_error *err)
{
    at_status status = at_checkpoint_touch(c, offset, bytes, err);
    if (status == AT_OK)
        *sum = at_checksum_of(c->map.data + offset, bytes);
    at_checkpoint_leave(c, offset, bytes);
    return status;
}

at_status at_checkpoint_sum(const at_checkpoint *c, uint64_t offset, size_t bytes, uint64_t *sum,
                            at_error *err)
{
    at_checksum *all = at_checksum_new();
    at_status status =
        all ? AT_OK : at_fail(err, AT_NO_MEMORY, "%s: no memory to check it", c->path);
    for (size_t at = 0; at < bytes && status == AT_OK; at += AT_CHECKSUM_PIECE) {
        size_t n = bytes - at < AT_CHECKSUM_PIECE ? bytes - at : AT_CHECKSUM_PIECE;
        status = at_checkpoint_touch(c, offset + at, n, err);
        if (status == AT_OK)
            at_checksum_add(all, c->map.data + offset + at, n);
        at_checkpoint_leave(c, offset + at, n);
    }
    if (status == AT_OK)
        *sum = at_checksum_value(all);
    at_checksum_free(all);
    return status;
}
