/* checkpoint_write.c -- HDF5 lays the file out, then the bytes are written where they belong and
 * summed on the way, index and header last. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/checkpoint_hdf5.h"
#include "engine/checksum.h"

/* Written and summed at a time: the second reading finds it in the cache. */
enum { STEP_BYTES = 512 * 1024, REST_BYTES = 64 * 1024 };

struct at_checkpoint_writer {
    char *path;
    const at_tensors *list;
    at_draft *draft;
    at_extent index, *extents; /* of the texts, then of the tensors */
    bool *complete;            /* tensors */
    at_checksum *sum;          /* of the current tensor */
    int current;               /* -1: none */
    uint64_t filled;           /* of the current tensor */
    uint64_t file_bytes;
    bool failed; /* a write did not succeed: there is no finishing */
};

static at_status no_memory(const char *path, at_error *err)
{
    return at_fail(err, AT_NO_MEMORY, "%s: no memory to write it", path);
}

static at_status write_texts(at_checkpoint_writer *w, at_error *err)
{
    at_status status = AT_OK;
    for (int i = 0; i < w->list->text_count && status == AT_OK; i++) {
        const at_text *t = &w->list->texts[i];
        w->extents[i].sum = at_checksum_pieces(t->data, t->bytes);
        if (t->bytes)
            status = at_draft_write(w->draft, w->extents[i].offset, t->data, t->bytes, err);
    }
    return status;
}

static at_status lay_out(at_checkpoint_writer *w, at_error *err)
{
    w->index.bytes = at_checkpoint_index_bytes(w->list);
    at_status status =
        at_hdf5_lay_out(w->draft, w->list, &w->index, w->extents, &w->file_bytes, err);
    if (status == AT_OK)
        status = at_draft_reserve(w->draft, w->file_bytes, err);
    return status == AT_OK ? write_texts(w, err) : status;
}

at_status at_checkpoint_writer_new(at_checkpoint_writer **out, const char *path,
                                   const at_tensors *list, at_error *err)
{
    *out = NULL;
    AT_ASSERT(list->by_name, "a list of %d tensors is not finished", list->count);
    at_checkpoint_writer *w = calloc(1, sizeof *w);
    if (!w)
        return no_memory(path, err);
    w->list = list;
    w->current = -1;
    w->path = strdup(path);
    w->extents = calloc((size_t)list->text_count + (size_t)list->count + 1, sizeof *w->extents);
    w->complete = calloc((size_t)list->count + 1, sizeof *w->complete);
    w->sum = at_checksum_new();
    at_status status =
        w->path && w->extents && w->complete && w->sum ? AT_OK : no_memory(path, err);
    if (status == AT_OK)
        status = at_draft_new(&w->draft, path, err);
    if (status == AT_OK)
        status = lay_out(w, err);
    if (status == AT_OK)
        *out = w;
    else
        at_checkpoint_writer_free(w);
    return status;
}

void at_checkpoint_writer_free(at_checkpoint_writer *w)
{
    if (!w)
        return;
    at_draft_free(w->draft);
    at_checksum_free(w->sum);
    free(w->complete);
    free(w->extents);
    free(w->path);
    free(w);
}

/* --- tensors ---------------------------------------------------------------------------------- */

static at_status begin_tensor(at_checkpoint_writer *w, int i, at_error *err)
{
    if (w->complete[i])
        return at_fail(err, AT_INVALID, "%s: tensor '%s' is written twice", w->path,
                       w->list->items[i].name);
    if (w->current >= 0)
        return at_fail(err, AT_INVALID, "%s: tensor '%s' begins before '%s' is complete", w->path,
                       w->list->items[i].name, w->list->items[w->current].name);
    w->current = i;
    w->filled = 0;
    at_checksum_reset(w->sum);
    return AT_OK;
}

static void end_tensor(at_checkpoint_writer *w)
{
    w->extents[w->list->text_count + w->current].sum = at_checksum_value(w->sum);
    w->complete[w->current] = true;
    w->current = -1;
}

at_status at_checkpoint_write(at_checkpoint_writer *w, int i, uint64_t from, const void *data,
                              size_t bytes, at_error *err)
{
    AT_ASSERT(i >= 0 && i < w->list->count, "tensor %d of %d", i, w->list->count);
    const at_extent *e = &w->extents[w->list->text_count + i];
    at_status status = AT_OK;
    if (w->current != i)
        status = begin_tensor(w, i, err);
    if (status == AT_OK && (from != w->filled || bytes > e->bytes - w->filled))
        status =
            at_fail(err, AT_INVALID,
                    "%s: tensor '%s': expected at most %" PRIu64 " bytes from %" PRIu64
                    ", found %zu from %" PRIu64,
                    w->path, w->list->items[i].name, e->bytes - w->filled, w->filled, bytes, from);
    for (size_t at = 0, n; at < bytes && status == AT_OK; at += n) {
        n = bytes - at < STEP_BYTES ? bytes - at : STEP_BYTES;
        const char *p = (const char *)data + at;
        status = at_draft_write(w->draft, e->offset + from + at, p, n, err);
        at_checksum_add(w->sum, p, n);
    }
    w->failed |= status != AT_OK;
    if (status != AT_OK)
        return status;
    w->filled += bytes;
    if (w->filled == e->bytes)
        end_tensor(w);
    return AT_OK;
}

/* --- the end ---------------------------------------------------------------------------------- */

static at_status check_complete(const at_checkpoint_writer *w, at_error *err)
{
    if (w->failed)
        return at_fail(err, AT_INVALID, "%s: not finished, because writing it failed", w->path);
    for (int i = 0; i < w->list->count; i++)
        if (!w->complete[i] && w->list->items[i].bytes)
            return at_fail(err, AT_INVALID, "%s: tensor '%s' is not complete", w->path,
                           w->list->items[i].name);
    return AT_OK;
}

/* Adds what lies in [from, to) to the sum of the rest. */
static at_status add_rest(at_checkpoint_writer *w, uint64_t from, uint64_t to, at_error *err)
{
    unsigned char bytes[REST_BYTES];
    at_status status = AT_OK;
    for (size_t n; from < to && status == AT_OK; from += n) {
        n = to - from < sizeof bytes ? (size_t)(to - from) : sizeof bytes;
        status = at_draft_read(w->draft, from, bytes, n, err);
        if (status == AT_OK)
            at_checksum_add(w->sum, bytes, n);
    }
    return status;
}

static at_status sum_rest(at_checkpoint_writer *w, uint64_t *sum, at_error *err)
{
    at_checksum_reset(w->sum);
    uint64_t end = w->index.offset + w->index.bytes;
    at_status status = add_rest(w, AT_CHECKPOINT_HEADER_BYTES, w->index.offset, err);
    for (int i = 0; i < w->list->text_count + w->list->count && status == AT_OK; i++) {
        const at_extent *e = &w->extents[i];
        if (e->bytes == 0)
            continue;
        status = add_rest(w, end, e->offset, err);
        end = e->offset + e->bytes;
    }
    if (status == AT_OK)
        status = add_rest(w, end, w->file_bytes, err);
    *sum = at_checksum_value(w->sum);
    return status;
}

/* The sum of no bytes, for tensors that nobody had to write. */
static void sum_empty(at_checkpoint_writer *w)
{
    for (int i = 0; i < w->list->count; i++)
        if (w->list->items[i].bytes == 0)
            w->extents[w->list->text_count + i].sum = at_checksum_pieces(NULL, 0);
}

at_status at_checkpoint_writer_finish(at_checkpoint_writer *w, at_error *err)
{
    at_checkpoint_header h = { .file_bytes = w->file_bytes };
    unsigned char head[AT_CHECKPOINT_HEADER_BYTES];
    at_status status = check_complete(w, err);
    if (status != AT_OK)
        return status;
    unsigned char *index = malloc((size_t)w->index.bytes);
    if (!index)
        return no_memory(w->path, err);
    sum_empty(w);
    at_checkpoint_index_put(index, w->list, w->extents);
    w->index.sum = at_checksum_of(index, (size_t)w->index.bytes);
    status = at_draft_write(w->draft, w->index.offset, index, (size_t)w->index.bytes, err);
    free(index);
    if (status == AT_OK)
        status = sum_rest(w, &h.rest_sum, err);
    if (status != AT_OK)
        return status;
    h.index = w->index;
    at_checkpoint_header_put(head, &h);
    status = at_draft_write(w->draft, 0, head, sizeof head, err);
    return status == AT_OK ? at_draft_publish(w->draft, err) : status;
}
