/* The source: one file or several. Headers are read when it is opened; afterwards a few files stay
 * open, and the others are opened again when their tensors are asked for. */
#include "engine/safetensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/source.h"

enum { LENGTH_BYTES = 8, HEAD_BYTES = 64 };

typedef struct files {
    at_arena *arena; /* paths */
    at_shard *shards;
    int count, next; /* next: the slot that is emptied next */
    at_file open[AT_SAFETENSORS_OPEN_MAX];
    int holds[AT_SAFETENSORS_OPEN_MAX]; /* which shard is open there, -1: none */
} files;

static at_status use_shard(files *own, int k, at_file **out, at_error *err)
{
    at_shard *shard = &own->shards[k];
    if (shard->slot < 0) {
        int slot = own->next;
        own->next = (own->next + 1) % AT_SAFETENSORS_OPEN_MAX;
        if (own->holds[slot] >= 0) {
            at_file_close(&own->open[slot]);
            own->shards[own->holds[slot]].slot = -1;
        }
        own->holds[slot] = -1;
        at_status status = at_file_open(&own->open[slot], shard->path, err);
        if (status != AT_OK)
            return status;
        own->holds[slot] = k;
        shard->slot = slot;
    }
    *out = &own->open[shard->slot];
    if (shard->bytes != UINT64_MAX && shard->bytes != (*out)->bytes)
        return at_fail(err, AT_CORRUPT,
                       "%s: has %" PRIu64 " bytes; it had %" PRIu64 " when it was first opened",
                       at_safetensors_path(shard->path), (*out)->bytes, shard->bytes);
    return AT_OK;
}

/* Reads the headers of all the files. */
static at_status read_shards(at_source *s, at_error *err)
{
    files *own = s->own;
    at_status status = AT_OK;
    for (int k = 0; k < own->count && status == AT_OK; k++) {
        at_file *f;
        status = use_shard(own, k, &f, err);
        if (status == AT_OK)
            status = at_safetensors_header(&s->list, f, (uint16_t)k, err);
        if (status == AT_OK) {
            own->shards[k].bytes = f->bytes;
            s->file_bytes += f->bytes;
        }
    }
    at_error why = { AT_OK, "" };
    if (status == AT_OK && (status = at_tensors_finish(&s->list, &why)) != AT_OK)
        at_fail(err, status, "%s: %s",
                own->count ? at_safetensors_path(own->shards[0].path) : "a list", why.text);
    return status;
}

static at_status open_index(at_source *s, const at_file *f, at_error *err)
{
    files *own = s->own;
    at_safetensors_index index = { 0 };
    s->file_bytes = f->bytes;
    at_status status = at_safetensors_index_read(&index, f, own->arena, err);
    own->shards = index.shards;
    own->count = status == AT_OK ? index.shard_count : 0;
    if (status == AT_OK)
        status = read_shards(s, err);
    if (status == AT_OK)
        status = at_safetensors_index_check(&index, &s->list, f->path, err);
    at_safetensors_index_free(&index);
    for (int k = 0; k < own->count; k++)
        own->shards[k].name = NULL; /* it lay in the index */
    return status;
}

static at_status open_single(at_source *s, const char *path, at_error *err)
{
    files *own = s->own;
    size_t bytes = strlen(path) + 1;
    char *copy = at_arena_try(own->arena, bytes);
    own->shards = calloc(1, sizeof *own->shards);
    if (!copy || !own->shards)
        return at_fail(err, AT_NO_MEMORY, "%s: no memory to open it", at_safetensors_path(path));
    memcpy(copy, path, bytes);
    own->shards[0] = (at_shard){ .path = copy, .bytes = UINT64_MAX, .slot = -1 };
    own->count = 1;
    return read_shards(s, err);
}

/* An index begins as JSON does. A file begins with the length of its header: the last of those
 * eight bytes is zero, which no text holds. */
static bool is_index(const unsigned char *head, size_t bytes)
{
    size_t i = 0;
    while (i < bytes && i < HEAD_BYTES && head[i] && strchr(" \t\r\n", head[i]))
        i++;
    return i < bytes && head[i] == '{' && (bytes < LENGTH_BYTES || head[LENGTH_BYTES - 1]);
}

static bool is_safetensors(const unsigned char *head, size_t head_bytes, uint64_t bytes)
{
    (void)bytes;
    return is_index(head, head_bytes) || (head_bytes > LENGTH_BYTES && head[LENGTH_BYTES] == '{');
}

static at_status open_file(at_source *s, const char *path, at_error *err)
{
    at_file f;
    unsigned char head[HEAD_BYTES];
    at_status status = at_file_open(&f, path, err);
    if (status != AT_OK)
        return status;
    size_t bytes = f.bytes < sizeof head ? (size_t)f.bytes : sizeof head;
    status = at_file_read(&f, 0, head, bytes, err);
    if (status == AT_OK)
        status = is_index(head, bytes) ? open_index(s, &f, err) : open_single(s, path, err);
    at_file_close(&f);
    return status;
}

static at_status open_safetensors(at_source *s, const char *path, at_error *err)
{
    files *own = s->own = calloc(1, sizeof *own);
    if (!own)
        return at_fail(err, AT_NO_MEMORY, "%s: no memory to open it", at_safetensors_path(path));
    for (int i = 0; i < AT_SAFETENSORS_OPEN_MAX; i++)
        own->holds[i] = -1;
    own->arena = at_arena_try_new();
    if (!own->arena)
        return at_fail(err, AT_NO_MEMORY, "%s: no memory to open it", at_safetensors_path(path));
    struct stat about;
    if (stat(path, &about) != 0 || !S_ISDIR(about.st_mode))
        return open_file(s, path, err);
    char *found = NULL;
    at_status status = at_safetensors_folder(&found, path, err);
    if (status == AT_OK)
        status = open_file(s, found, err);
    free(found);
    return status;
}

static at_status read_safetensors(at_source *s, int i, uint64_t from, void *out, size_t bytes,
                                  at_error *err)
{
    const at_stored_tensor *t = &s->list.items[i];
    at_file *f;
    at_status status = use_shard(s->own, t->file, &f, err);
    return status == AT_OK ? at_file_read(f, t->offset + from, out, bytes, err) : status;
}

static void close_safetensors(at_source *s)
{
    files *own = s->own;
    if (!own)
        return;
    for (int i = 0; i < AT_SAFETENSORS_OPEN_MAX; i++)
        if (own->holds[i] >= 0)
            at_file_close(&own->open[i]);
    free(own->shards);
    at_arena_free(own->arena);
    free(own);
    s->own = NULL;
}

const at_source_kind at_source_safetensors = {
    .name = "safetensors",
    .is = is_safetensors,
    .open = open_safetensors,
    .read = read_safetensors,
    .close = close_safetensors,
};
