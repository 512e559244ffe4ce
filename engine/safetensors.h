/* safetensors.h -- the format of the Python world's weights: a header of JSON, then the bytes.
 *
 * Reading is the source kind at_source_safetensors. It takes a file; the index of a model that was
 * cut into several (NAME.safetensors.index.json, with the files beside it); or a folder that holds
 * exactly one index, or no index and one file. Texts come from "__metadata__". What the format's
 * own library refuses is refused: holes and overlaps among the tensors, bytes behind the last. So
 * are keys that are not known or occur twice.
 *
 * A header costs its own length in memory while it is read, and a list of its tensors. Time grows
 * with the header's length, whatever it says. */
#ifndef AT_ENGINE_SAFETENSORS_H
#define AT_ENGINE_SAFETENSORS_H

#include "engine/file.h"
#include "engine/tensors.h"

enum {
    /* Bytes. The format allows 100 MB; models need a few hundred kB, and so much of anything is
     * read or refused within 50 ms. */
    AT_SAFETENSORS_HEADER_MAX = 16000000,
    AT_SAFETENSORS_SHARDS_MAX = 65535,
    AT_SAFETENSORS_OPEN_MAX = 16 /* files that one source keeps open */
};

/* Where the bytes of a list's tensors come from: bytes [from, from + bytes) of tensor i. */
typedef struct at_tensor_bytes {
    at_status (*read)(void *context, int i, uint64_t from, void *out, size_t bytes, at_error *err);
    void *context;
} at_tensor_bytes;

/* Writes the list, which is finished, with its texts as "__metadata__"; 'progress' may be NULL. The
 * file appears whole or not at all, and is byte for byte what the format's library writes: aligned
 * types first, then names. Needs 4 MiB, however large the tensors are. */
AT_API at_status at_safetensors_write(const char *path, const at_tensors *list,
                                      const at_tensor_bytes *from, const at_progress *progress,
                                      at_error *err);

/* --- among the files of this module ----------------------------------------------------------- */

/* Adds what the header of an open file names to the list, as file number 'file'. Sentences name the
 * file. */
at_status at_safetensors_header(at_tensors *list, const at_file *f, uint16_t file, at_error *err);
/* A path, or its end if it is long: a sentence must have room for more. */
const char *at_safetensors_path(const char *path);
/* How many bytes of a name a sentence shows; whole characters. */
int at_safetensors_shown(const char *text, size_t bytes);
bool at_safetensors_has_control(const char *text);

typedef struct at_shard {
    const char *name; /* within the folder */
    const char *path;
    uint64_t bytes; /* when it was first opened */
    int slot;       /* among the open files, -1: closed */
} at_shard;

/* Which file a tensor should be in, as an index says. */
typedef struct at_safetensors_entry {
    const char *name, *file;
} at_safetensors_entry;

typedef struct at_safetensors_index {
    char *text;                    /* the index; names and files lie in it */
    at_safetensors_entry *entries; /* in the order of names */
    size_t count;
    at_shard *shards; /* in the order of their names */
    int shard_count;
} at_safetensors_index;

/* Reads an index and makes a list of its shards, none of them opened. To be freed in any case. */
at_status at_safetensors_index_read(at_safetensors_index *index, const at_file *f, at_arena *arena,
                                    at_error *err);
/* Whether the list, which is finished, holds what the index at 'path' says and nothing else. */
at_status at_safetensors_index_check(const at_safetensors_index *index, const at_tensors *list,
                                     const char *path, at_error *err);
void at_safetensors_index_free(at_safetensors_index *index); /* the shards stay */
/* The one index or file of a folder, as a path that the caller frees. */
at_status at_safetensors_folder(char **path, const char *folder, at_error *err);

#endif
