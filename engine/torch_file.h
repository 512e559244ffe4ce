/* torch_file.h -- what the two layouts of torch.save have in common: a pickle that describes
 * tensors, and storages that lie in the file as bytes.
 *
 * What was saved is flattened into one list of tensors. A name is the keys on the way to the
 * tensor, joined by '.': texts as they are, whole numbers and the places in lists and tuples in
 * decimal, so that checkpoint['model']['fc.weight'] is "model.fc.weight". A tensor saved by itself
 * is "tensor". Parameters are their tensors, and a tensor that stands in two places is listed
 * twice. Whatever else was saved (epochs, texts, settings, bare storages) is no weight: it is
 * counted and left out, and so is the state of objects, as a state dict's _metadata. A tensor lies
 * where its offset says, if its elements lie there in row-major order; others are gathered when
 * they are read. One that its storage cannot fill, overlapping itself or expanded, is refused, so
 * that no list promises more than its file holds for each tensor. */
#ifndef AT_ENGINE_TORCH_FILE_H
#define AT_ENGINE_TORCH_FILE_H

#include "engine/pickle.h"
#include "engine/source.h"

enum {
    AT_TORCH_DEPTH_MAX = 32,       /* of dicts in dicts */
    AT_TORCH_VISITS_MAX = 1 << 20, /* of values while flattening: shared ones are visited again */
    AT_TORCH_MEMORY_MIN = 4 << 20  /* besides twice the file: thousands of tiny tensors need it */
};

/* What a persistent id says of a storage. */
typedef struct at_torch_storage {
    at_pickle_text key;
    at_stored type;        /* AT_STORED_NONE: plain bytes */
    uint32_t element;      /* bytes of one */
    uint64_t bytes;        /* as the pickle says */
    at_pickle_value view;  /* legacy: none, or which part of the storage is meant */
    uint64_t offset, room; /* of its bytes in the file; filled by a find() */
} at_torch_storage;

typedef at_status (*at_torch_find)(void *context, at_torch_storage *s, at_error *err);

typedef struct at_torch_strides {
    int tensor;
    uint64_t bytes; /* from its first element to behind its last */
    int64_t stride[AT_STORED_RANK_MAX];
} at_torch_strides;

typedef struct at_torch_file {
    at_file file; /* its path, for messages, is the end of 'path' */
    char *path;
    at_torch_strides *strides; /* of the tensors that are not row-major, in the list's order */
    int count, capacity;
    unsigned char *span; /* the bytes between the first and last element of tensor 'span_of' */
    int span_of;
    int64_t ignored; /* values that were not tensors */
} at_torch_file;

at_status at_torch_open(at_torch_file *t, const char *path, at_error *err);
void at_torch_close(at_torch_file *t);
/* Bytes of memory that opening may take when 'used' are taken. */
size_t at_torch_memory(const at_torch_file *t, size_t used);
/* Puts the file's name before a sentence that lacks it; returns 'status'. */
at_status at_torch_named(const at_torch_file *t, at_status status, at_error *err);

/* Reads a persistent id of 'items' items. */
at_status at_torch_describe(const at_pickle *p, at_pickle_value v, size_t items,
                            at_torch_storage *out, at_error *err);
/* Flattens what 'p' left into the list of 's' and finishes that; p->room is what it may take. */
at_status at_torch_list(at_torch_file *t, at_source *s, const at_pickle *p, size_t items,
                        at_torch_find find, void *context, at_error *err);
bool at_torch_is_dense(const at_torch_file *t, int i);
at_status at_torch_read(at_torch_file *t, const at_source *s, int i, uint64_t from, void *out,
                        size_t bytes, at_error *err);

#endif
