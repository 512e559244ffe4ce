/* tensors.h -- what a file of weights holds: a list of named tensors and of named texts.
 *
 * The list is the same for every kind of file. It describes; the bytes stay in the file. Names,
 * sizes and texts lie in the list's own memory and die with it. Everything that comes in is checked
 * here once, so that whoever reads a list may trust it: names are not empty, hold no control
 * characters and occur once, sizes are not negative, bytes are exactly what sizes and type need.
 * One thread fills a list; any number may read it afterwards. */
#ifndef AT_ENGINE_TENSORS_H
#define AT_ENGINE_TENSORS_H

#include "engine/arena.h"

typedef enum at_stored {
    AT_STORED_NONE = 0,
#define AT_STORED(NAME, name, safetensors, storage, torch, bytes, dtype) AT_STORED_##NAME,
#include "engine/stored.def"
#undef AT_STORED
    AT_STORED_COUNT
} at_stored;

typedef struct at_stored_info {
    const char *name, *safetensors, *storage, *torch; /* spellings: ours, and other formats' */
    uint32_t bytes;                                   /* of an element */
    at_dtype dtype;                                   /* AT_NONE: no op computes with it */
} at_stored_info;

/* 'type' is not AT_STORED_NONE. */
const at_stored_info *at_stored_about(at_stored type);

enum {
    AT_STORED_RANK_MAX = 8,
    AT_TENSOR_NAME_MAX = 512, /* bytes */
    AT_TENSORS_MAX = 1 << 16, /* more than any model has; refused ones stay cheap */
    AT_TEXT_NAME_MAX = 128,
    AT_TEXTS_MAX = 1 << 10,
    AT_TEXT_BYTES_MAX = 64 << 20 /* of all texts together */
};

typedef struct at_stored_tensor {
    const char *name;
    const int64_t *size; /* rank of them, outermost first */
    uint64_t offset;     /* of its first byte in its file; a source may give it another meaning */
    uint64_t bytes;      /* the product of the sizes times the bytes of an element */
    at_stored type;
    int16_t rank;
    uint16_t file; /* which file of its source */
} at_stored_tensor;

/* Metadata: config JSON, tokenizer, licence, ... UTF-8, and a zero after the last byte. */
typedef struct at_text {
    const char *name, *data;
    size_t bytes;
} at_text;

typedef struct at_tensors {
    at_stored_tensor *items; /* in the order of the file */
    at_text *texts;
    uint32_t *by_name; /* items in the order of their names; made by at_tensors_finish() */
    int count, capacity, text_count, text_capacity;
    size_t text_bytes;
    at_arena *arena;
} at_tensors;

/* A zeroed list is empty and needs no init; at_tensors_free() makes it so again. */
void at_tensors_free(at_tensors *list);

/* Room for 'count' tensors, so that adding them does not move the list; a count over the limit is
 * refused. */
at_status at_tensors_reserve(at_tensors *list, int64_t count, at_error *err);
/* Copies 't' with its sizes and the 'name_bytes' bytes at 'name' (t->name is not looked at);
 * t->bytes must fit the sizes. */
at_status at_tensors_add(at_tensors *list, const at_stored_tensor *t, const char *name,
                         size_t name_bytes, at_error *err);
/* Copies a text. A second one of the same name is refused. */
at_status at_tensors_add_text(at_tensors *list, const char *name, size_t name_bytes,
                              const char *data, size_t bytes, at_error *err);
/* After the last: makes finding fast, refuses names that occur twice. */
at_status at_tensors_finish(at_tensors *list, at_error *err);

/* -1 and NULL when there is none. The list is finished. */
int at_tensors_find(const at_tensors *list, const char *name);
const at_text *at_tensors_text(const at_tensors *list, const char *name);
/* Bytes of all tensors together. */
uint64_t at_tensors_bytes(const at_tensors *list);

/* Elements of a shape; false when a size is negative or the product passes INT64_MAX. */
bool at_stored_elements(const int64_t *size, int rank, int64_t *elements);
/* "640x640x3x3"; a scalar is "scalar". */
void at_stored_shape_text(const at_stored_tensor *t, char *text, size_t room);
/* Whether 'bytes' bytes are well-formed UTF-8 without zeros. */
bool at_utf8_valid(const char *text, size_t bytes);

#endif
