/* checkpoint.c -- a checkpoint in use: its tensors, each compared with its checksum before it is
 * handed out for the first time; and the same file as a source of weights like any other. */
#include "engine/checkpoint.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/checkpoint_format.h"
#include "engine/source.h"

/* --- life ------------------------------------------------------------------------------------- */

static at_status remember_folder(at_checkpoint *c, const at_checkpoint_options *options,
                                 at_error *err)
{
    if (!options || !options->trust_folder)
        return AT_OK;
    c->trust_folder = strdup(options->trust_folder);
    if (!c->trust_folder)
        return at_fail(err, AT_NO_MEMORY, "%s: no memory to open it", c->path);
    if (!at_trust_holds(c->trust_folder, &c->identity, c->header.sum))
        return AT_OK;
    for (int i = 0; i < c->list.count; i++)
        atomic_store(&c->checked[c->list.text_count + i], AT_WHOLE);
    atomic_store(&c->unchecked, 0);
    return AT_OK;
}

at_status at_checkpoint_open(at_checkpoint **out, const char *path,
                             const at_checkpoint_options *options, at_error *err)
{
    const char *thing;
    *out = NULL;
    at_checkpoint *c = calloc(1, sizeof *c);
    if (!c)
        return at_fail(err, AT_NO_MEMORY, "%s: no memory to open it", path);
    at_status status = at_checkpoint_load(c, path, &thing, NULL, NULL, err);
    if (status == AT_OK)
        status = remember_folder(c, options, err);
    if (status == AT_OK)
        *out = c;
    else
        at_checkpoint_close(c);
    return status;
}

void at_checkpoint_close(at_checkpoint *c)
{
    if (c)
        at_checkpoint_unload(c);
    free(c);
}

const at_tensors *at_checkpoint_list(const at_checkpoint *c)
{
    return &c->list;
}

bool at_checkpoint_trusted(const at_checkpoint *c)
{
    return atomic_load(&c->unchecked) == 0;
}

/* --- tensors ---------------------------------------------------------------------------------- */

at_status at_checkpoint_tensor_damaged(const at_checkpoint *c, int i, uint64_t sum, at_error *err)
{
    const at_extent *e = &c->extents[c->list.text_count + i];
    return at_fail(err, AT_CORRUPT,
                   "%.200s: tensor '%.128s' (%" PRIu64 " bytes at %" PRIu64
                   ") is damaged: its checksum is %016" PRIx64 ", expected %016" PRIx64,
                   c->path, c->list.items[i].name, e->bytes, e->offset, sum, e->sum);
}

void at_checkpoint_settle(at_checkpoint *c, int i, at_checked state)
{
    /* Two threads may have compared the same tensor; the first one counts it. */
    unsigned char before = AT_UNCHECKED;
    if (!atomic_compare_exchange_strong(&c->checked[c->list.text_count + i], &before,
                                        (unsigned char)state) ||
        state != AT_WHOLE)
        return;
    if (atomic_fetch_sub(&c->unchecked, 1) == 1 && c->trust_folder && c->steady)
        at_trust_remember(c->trust_folder, &c->file, &c->identity, c->header.sum);
}

at_status at_checkpoint_check_tensor(at_checkpoint *c, int i, at_error *err)
{
    const at_extent *e = &c->extents[c->list.text_count + i];
    if (atomic_load(&c->checked[c->list.text_count + i]) == AT_WHOLE)
        return AT_OK;
    uint64_t sum = 0;
    at_status status = at_checkpoint_sum(c, e->offset, (size_t)e->bytes, &sum, err);
    if (status != AT_OK)
        return status;
    bool whole = sum == e->sum;
    at_checkpoint_settle(c, i, whole ? AT_WHOLE : AT_DAMAGED);
    return whole ? AT_OK : at_checkpoint_tensor_damaged(c, i, sum, err);
}

const void *at_checkpoint_data(at_checkpoint *c, int i, at_error *err)
{
    AT_ASSERT(i >= 0 && i < c->list.count, "tensor %d of %d", i, c->list.count);
    if (at_checkpoint_check_tensor(c, i, err) != AT_OK)
        return NULL;
    return c->map.data + c->extents[c->list.text_count + i].offset;
}

uint64_t at_checkpoint_sum_of(const at_checkpoint *c, int i)
{
    AT_ASSERT(i >= 0 && i < c->list.count, "tensor %d of %d", i, c->list.count);
    return c->extents[c->list.text_count + i].sum;
}

void at_checkpoint_rest(const at_checkpoint *c, int i)
{
    AT_ASSERT(i >= 0 && i < c->list.count, "tensor %d of %d", i, c->list.count);
    const at_extent *e = &c->extents[c->list.text_count + i];
    at_checkpoint_leave(c, e->offset, (size_t)e->bytes);
}

void at_checkpoint_rest_bytes(const at_checkpoint *c, const void *data, size_t bytes)
{
    const unsigned char *at = data;
    AT_ASSERT(at >= c->map.data && bytes <= c->map.bytes &&
                  (size_t)(at - c->map.data) <= c->map.bytes - bytes,
              "%zu bytes that are not the file's", bytes);
    at_checkpoint_leave(c, (uint64_t)(at - c->map.data), bytes);
}

at_status at_checkpoint_check(at_checkpoint *c, int threads, const at_progress *progress,
                              at_error *err)
{
    if (at_checkpoint_trusted(c))
        return AT_OK;
    const at_extent *extents = c->extents + c->list.text_count;
    uint64_t *sums = malloc(((size_t)c->list.count + 1) * sizeof *sums);
    at_status status =
        sums ? at_checkpoint_sums(c, extents, c->list.count, sums, threads, progress, err)
             : at_fail(err, AT_NO_MEMORY, "%s: no memory to check it", c->path);
    int damaged = -1;
    for (int i = c->list.count - 1; i >= 0 && status == AT_OK; i--) {
        bool whole = sums[i] == extents[i].sum;
        at_checkpoint_settle(c, i, whole ? AT_WHOLE : AT_DAMAGED);
        damaged = whole ? damaged : i;
    }
    if (damaged >= 0)
        status = at_checkpoint_tensor_damaged(c, damaged, sums[damaged], err);
    free(sums);
    return status;
}

/* --- as a source ------------------------------------------------------------------------------ */

static bool source_is(const unsigned char *head, size_t head_bytes, uint64_t bytes)
{
    (void)bytes;
    return at_checkpoint_is(head, head_bytes);
}

static at_status source_open(at_source *s, const char *path, at_error *err)
{
    at_checkpoint *c;
    at_status status = at_checkpoint_open(&c, path, NULL, err);
    if (status != AT_OK)
        return status;
    c->list_lent = true; /* the source frees it */
    s->list = c->list;
    s->file_bytes = c->file.bytes;
    s->own = c;
    return AT_OK;
}

static at_status source_read(at_source *s, int i, uint64_t from, void *out, size_t bytes,
                             at_error *err)
{
    at_error why;
    const char *data = at_checkpoint_data(s->own, i, &why);
    if (!data)
        return at_fail(err, why.status, "%s", why.text);
    memcpy(out, data + from, bytes);
    const at_checkpoint *c = s->own;
    at_checkpoint_leave(c, c->list.items[i].offset + from, bytes);
    return AT_OK;
}

static void source_close(at_source *s)
{
    at_checkpoint_close(s->own);
    s->own = NULL;
}

const at_source_kind at_source_checkpoint = { "checkpoint", source_is, source_open, source_read,
                                              source_close };
