/* source.h -- an opened file of weights, whatever its kind: its list, and the bytes of a tensor.
 *
 * at_source_open() looks at the first bytes of a file (or for an index in a folder) and asks each
 * kind of sources.def in turn. Opening checks everything that can be checked without reading the
 * tensors. Reading gives a tensor's bytes in row-major order, a piece at a time. A source belongs
 * to one thread. Outside files are hostile until checked: a lying size is refused with one
 * sentence. */
#ifndef AT_ENGINE_SOURCE_H
#define AT_ENGINE_SOURCE_H

#include "engine/file.h"
#include "engine/tensors.h"

typedef struct at_source at_source;

typedef struct at_source_kind {
    const char *name; /* for people: "safetensors" */
    /* Whether a file that begins with these bytes (of 'bytes' in all) is of this kind. */
    bool (*is)(const unsigned char *head, size_t head_bytes, uint64_t bytes);
    /* Fills list and own; on failure close() is called all the same. */
    at_status (*open)(at_source *s, const char *path, at_error *err);
    /* Bytes [from, from + bytes) of tensor i; the range lies within it. */
    at_status (*read)(at_source *s, int i, uint64_t from, void *out, size_t bytes, at_error *err);
    void (*close)(at_source *s);
} at_source_kind;

struct at_source {
    const at_source_kind *kind;
    at_tensors list;
    uint64_t file_bytes; /* of all its files */
    void *own;           /* the kind's */
};

#define AT_SOURCE(symbol) extern const at_source_kind symbol;
#include "engine/sources.def"
#undef AT_SOURCE

AT_API at_status at_source_open(at_source **out, const char *path, at_error *err);
AT_API void at_source_close(at_source *s);
at_status at_source_read(at_source *s, int i, uint64_t from, void *out, size_t bytes,
                         at_error *err);

#endif
