#include "models/assembled.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct assembled {
    at_source_kind kind;
    at_source *sources[AT_ASSEMBLED_SOURCES_MAX];
    bool lent[AT_ASSEMBLED_SOURCES_MAX];
    int n_sources;
    at_assembly *items; /* as many as the list has */
    int capacity;
    unsigned char *turned; /* the bytes of tensor turned_item */
    int turned_item;
} assembled;

static at_status read_assembled(at_source *s, int i, uint64_t from, void *out, size_t bytes,
                                at_error *err);
static void close_assembled(at_source *s);

/* --- making one ------------------------------------------------------------------------------- */

at_status at_assembled_new(at_source **out, const char *kind, at_error *err)
{
    at_source *s = calloc(1, sizeof *s);
    assembled *own = calloc(1, sizeof *own);
    *out = NULL;
    if (!s || !own) {
        free(s);
        free(own);
        return at_fail(err, AT_NO_MEMORY, "no memory to open a %s", kind);
    }
    own->kind = (at_source_kind){ .name = kind, .read = read_assembled, .close = close_assembled };
    own->turned_item = -1;
    s->kind = &own->kind;
    s->own = own;
    *out = s;
    return AT_OK;
}

int at_assembled_borrow(at_source *s, at_source *part, at_error *err)
{
    assembled *own = s->own;
    if (own->n_sources == AT_ASSEMBLED_SOURCES_MAX) {
        at_fail(err, AT_UNSUPPORTED, "a %s of over %d files", own->kind.name,
                AT_ASSEMBLED_SOURCES_MAX);
        return -1;
    }
    own->lent[own->n_sources] = true;
    own->sources[own->n_sources] = part;
    s->file_bytes += part->file_bytes;
    return own->n_sources++;
}

int at_assembled_take(at_source *s, at_source *part, at_error *err)
{
    const int i = at_assembled_borrow(s, part, err);
    if (i < 0)
        at_source_close(part);
    else
        at_assembled_keep(s, i);
    return i;
}

void at_assembled_keep(at_source *s, int i)
{
    assembled *own = s->own;
    AT_ASSERT(i >= 0 && i < own->n_sources, "source %d of %d", i, own->n_sources);
    own->lent[i] = false;
}

const at_source *at_assembled_source(const at_source *s, int i)
{
    const assembled *own = s->own;
    AT_ASSERT(i >= 0 && i < own->n_sources, "source %d of %d", i, own->n_sources);
    return own->sources[i];
}

/* What must hold of every assembly, whatever files say; whoever makes one has checked it. */
static void check_pieces(const assembled *own, const at_stored_tensor *t, const at_assembly *how)
{
    uint64_t bytes = 0;
    for (int k = 0; k < how->n; k++) {
        const at_piece *p = &how->pieces[k];
        const at_tensors *list = &own->sources[p->source]->list;
        const uint64_t all = list->items[p->tensor].bytes;
        AT_ASSERT(p->from <= all && p->bytes <= all - p->from,
                  "%s: bytes %" PRIu64 " + %" PRIu64 " of %" PRIu64, t->name, p->from, p->bytes,
                  all);
        bytes += p->bytes;
    }
    AT_ASSERT(bytes == t->bytes, "%s: pieces of %" PRIu64 " bytes for %" PRIu64, t->name, bytes,
              t->bytes);
}

at_status at_assembled_add(at_source *s, const at_stored_tensor *t, const at_assembly *how,
                           at_error *err)
{
    assembled *own = s->own;
    const int i = s->list.count;
    check_pieces(own, t, how);
    if (how->columns && t->bytes > AT_ASSEMBLED_TURNED_MAX)
        return at_fail(err, AT_UNSUPPORTED,
                       "tensor '%.200s' has %" PRIu64 " bytes: expected at most %d of one that is "
                       "stored transposed",
                       t->name, t->bytes, AT_ASSEMBLED_TURNED_MAX);
    if (i == own->capacity) {
        const int capacity = own->capacity ? 2 * own->capacity : 256;
        at_assembly *grown = realloc(own->items, (size_t)capacity * sizeof *grown);
        if (!grown)
            return at_fail(err, AT_NO_MEMORY, "no memory for a list of %d tensors", capacity);
        own->items = grown;
        own->capacity = capacity;
    }
    own->items[i] = *how;
    return at_tensors_add(&s->list, t, t->name, strlen(t->name), err);
}

at_status at_assembled_finish(at_source *s, at_error *err)
{
    return at_tensors_finish(&s->list, err);
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Reads a matrix and lays its columns out as rows. */
static at_status turn(at_source *s, int i, at_error *err)
{
    assembled *own = s->own;
    const at_stored_tensor *t = &s->list.items[i];
    const at_assembly *how = &own->items[i];
    const size_t each = at_stored_about(t->type)->bytes, bytes = (size_t)t->bytes;
    const size_t columns = (size_t)how->columns, rows = bytes / each / columns;
    unsigned char *from = malloc(bytes), *to = malloc(bytes);
    at_status status =
        from && to ? AT_OK
                   : at_fail(err, AT_NO_MEMORY, "no memory for the tensor '%.200s'", t->name);
    const at_piece *p = &how->pieces[0];
    if (status == AT_OK)
        status = at_source_read(own->sources[p->source], p->tensor, p->from, from, bytes, err);
    for (size_t r = 0; r < rows && status == AT_OK; r++)
        for (size_t c = 0; c < columns; c++)
            memcpy(to + (c * rows + r) * each, from + (r * columns + c) * each, each);
    free(from);
    free(own->turned);
    own->turned = NULL;
    own->turned_item = -1;
    if (status != AT_OK) {
        free(to);
        return status;
    }
    own->turned = to;
    own->turned_item = i;
    return AT_OK;
}

static at_status read_assembled(at_source *s, int i, uint64_t from, void *out, size_t bytes,
                                at_error *err)
{
    assembled *own = s->own;
    const at_assembly *how = &own->items[i];
    unsigned char *to = out;
    if (how->columns) {
        if (own->turned_item != i) {
            at_status status = turn(s, i, err);
            if (status != AT_OK)
                return status;
        }
        memcpy(to, own->turned + from, bytes);
        return AT_OK;
    }
    for (int k = 0; k < how->n && bytes; k++) {
        const at_piece *p = &how->pieces[k];
        if (from >= p->bytes) {
            from -= p->bytes;
            continue;
        }
        const size_t n = bytes < p->bytes - from ? bytes : (size_t)(p->bytes - from);
        at_status status =
            at_source_read(own->sources[p->source], p->tensor, p->from + from, to, n, err);
        if (status != AT_OK)
            return status;
        to += n;
        bytes -= n;
        from = 0;
    }
    return AT_OK;
}

static void close_assembled(at_source *s)
{
    assembled *own = s->own;
    for (int i = 0; i < own->n_sources; i++)
        if (!own->lent[i])
            at_source_close(own->sources[i]);
    free(own->items);
    free(own->turned);
    free(own);
}
