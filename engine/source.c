#include "engine/source.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { HEAD_BYTES = 4096 };

static const at_source_kind *const kinds[] = {
#define AT_SOURCE(symbol) &symbol,
#include "engine/sources.def"
#undef AT_SOURCE
};

static at_status refuse(const char *path, const unsigned char *head, size_t bytes, at_error *err)
{
    char names[160] = "", found[40] = "";
    size_t used = 0;
    for (size_t i = 0; i < AT_COUNT(kinds) && used < sizeof names; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "",
                                 kinds[i]->name);
    for (size_t i = 0; i < bytes && i < 8; i++)
        snprintf(found + 3 * i, sizeof found - 3 * i, " %02x", head[i]);
    return at_fail(err, AT_UNSUPPORTED, "%.200s: expected a file of weights (%s), found %s%s", path,
                   names, bytes ? "one that begins with" : "an empty one", found);
}

/* The kind of a file by its first bytes. */
static at_status find_kind(const char *path, const at_source_kind **kind, at_error *err)
{
    unsigned char head[HEAD_BYTES];
    at_file f;
    at_status status = at_file_open(&f, path, err);
    if (status != AT_OK)
        return status;
    size_t bytes = f.bytes < HEAD_BYTES ? (size_t)f.bytes : HEAD_BYTES;
    status = at_file_read(&f, 0, head, bytes, err);
    for (size_t i = 0; i < AT_COUNT(kinds) && status == AT_OK && !*kind; i++)
        if (kinds[i]->is(head, bytes, f.bytes))
            *kind = kinds[i];
    if (status == AT_OK && !*kind)
        status = refuse(path, head, bytes, err);
    at_file_close(&f);
    return status;
}

at_status at_source_open(at_source **out, const char *path, at_error *err)
{
    struct stat about;
    const at_source_kind *kind = NULL;
    at_status status = AT_OK;
    *out = NULL;
    if (stat(path, &about) == 0 && S_ISDIR(about.st_mode))
        kind = &at_source_safetensors; /* the only kind that comes in folders */
    else
        status = find_kind(path, &kind, err);
    if (status != AT_OK)
        return status;
    at_source *s = calloc(1, sizeof *s);
    if (!s)
        return at_fail(err, AT_NO_MEMORY, "%.200s: no memory to open it", path);
    s->kind = kind;
    status = kind->open(s, path, err);
    if (status != AT_OK) {
        at_source_close(s);
        return status;
    }
    *out = s;
    return AT_OK;
}

void at_source_close(at_source *s)
{
    if (!s)
        return;
    s->kind->close(s);
    at_tensors_free(&s->list);
    free(s);
}

at_status at_source_read(at_source *s, int i, uint64_t from, void *out, size_t bytes, at_error *err)
{
    AT_ASSERT(i >= 0 && i < s->list.count, "tensor %d of %d", i, s->list.count);
    uint64_t all = s->list.items[i].bytes;
    AT_ASSERT(from <= all && bytes <= all - from, "bytes %" PRIu64 " + %zu of %" PRIu64, from,
              bytes, all);
    return bytes ? s->kind->read(s, i, from, out, bytes, err) : AT_OK;
}
