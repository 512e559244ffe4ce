/* checkpoint_format.h -- the bytes of a checkpoint's header and index, and an opened checkpoint as
 * the files of this module share it.
 *
 * Everything is little-endian. The header is the first 4096 bytes (HDF5's user block):
 *
 *     0  magic            8  u32 version    12  u32 bytes of the header
 *    16  u64 bytes of the file
 *    24  u64 offset, 32 u64 bytes, 40 u64 XXH3-64 of the index
 *    48  u64 checksum in pieces (checksum.h) of the rest: all that is in no other sum, in order
 *    56  zeros          4088  u64 XXH3-64 of the 4088 bytes before
 *
 * The index is u32 tensors, u32 texts, u64 bytes of names; a record of 104 bytes for each text,
 * then for each tensor; their names, one after the other. A record:
 *
 *     0  u64 offset, 8 u64 bytes, 16 u64 checksum in pieces
 *    24  type, 8 characters, zeros after it: "bf16", "text"
 *    32  u32 bytes of the name     36  u32 rank     40  8 x u64 sizes, zeros after the last
 *
 * Index, texts and tensors lie in this order, each at a multiple of 4096; without bytes, at 0. */
#ifndef AT_ENGINE_CHECKPOINT_FORMAT_H
#define AT_ENGINE_CHECKPOINT_FORMAT_H

#include <stdatomic.h>

#include "engine/checkpoint.h"

enum {
    AT_CHECKPOINT_HEADER_BYTES = 4096,
    AT_CHECKPOINT_ALIGN = 4096,
    AT_CHECKPOINT_VERSION = 1,
    AT_CHECKPOINT_MAGIC_BYTES = 8,
    AT_CHECKPOINT_MESSAGE_MAX = 480, /* of what is said about a file after its path */
};

/* A piece of the file with a sum of its own. */
typedef struct at_extent {
    uint64_t offset, bytes, sum;
} at_extent;

typedef struct at_checkpoint_header {
    uint64_t file_bytes;
    at_extent index;
    uint64_t rest_sum;
    uint64_t sum; /* of the header itself; filled in by both */
} at_checkpoint_header;

bool at_checkpoint_is(const unsigned char *head, size_t bytes);
void at_checkpoint_header_put(unsigned char *out, at_checkpoint_header *h);
/* 'in' is a whole header; 'file_bytes' what the file has. */
at_status at_checkpoint_header_get(at_checkpoint_header *h, const unsigned char *in,
                                   uint64_t file_bytes, at_error *err);

size_t at_checkpoint_index_bytes(const at_tensors *list);
/* 'extents': of the texts, then of the tensors. */
void at_checkpoint_index_put(unsigned char *out, const at_tensors *list, const at_extent *extents);

/* --- an opened one ---------------------------------------------------------------------------- */

typedef struct at_file_identity {
    uint64_t device, number, bytes, modified_s, modified_ns, changed_s, changed_ns;
} at_file_identity;

typedef enum at_checked { AT_UNCHECKED, AT_WHOLE, AT_DAMAGED } at_checked;

struct at_checkpoint {
    char *path, *trust_folder;
    at_file file;
    at_mapping map;
    at_checkpoint_header header;
    at_file_identity identity;
    bool steady; /* at_file_identity_steady() when it was opened */
    at_tensors list;
    bool list_lent;        /* somebody else frees what the list holds */
    at_extent *extents;    /* of the texts, then of the tensors */
    atomic_uchar *checked; /* at_checked of each extent */
    atomic_int unchecked;  /* tensors */
};

/* Where open says what is wrong with texts when it is to go on after that; NULL: it fails. */
typedef void (*at_checkpoint_text_damaged)(void *context, const char *name);

/* Fills a zeroed one; 'thing' becomes the part that is to blame. On failure it is closed by the
 * caller all the same. */
at_status at_checkpoint_load(at_checkpoint *c, const char *path, const char **thing,
                             at_checkpoint_text_damaged damaged, void *context, at_error *err);
void at_checkpoint_unload(at_checkpoint *c);

/* Reads pages of the mapping: where a disk fails, this is an error and touching them a signal. */
at_status at_checkpoint_touch(const at_checkpoint *c, uint64_t offset, size_t bytes, at_error *err);
/* Lets go of pages, so that a check or a copy does not make the process as large as the file.
 * Whoever reads them again finds them in the system's cache. */
void at_checkpoint_leave(const at_checkpoint *c, uint64_t offset, size_t bytes);
/* Touches, sums and leaves: a piece as it is (checksum.h), an extent in pieces. */
at_status at_checkpoint_piece(const at_checkpoint *c, uint64_t offset, size_t bytes, uint64_t *sum,
                              at_error *err);
at_status at_checkpoint_sum(const at_checkpoint *c, uint64_t offset, size_t bytes, uint64_t *sum,
                            at_error *err);
/* Compares the sum of a tensor unless that has been done. Any thread. */
at_status at_checkpoint_check_tensor(at_checkpoint *c, int i, at_error *err);
at_status at_checkpoint_tensor_damaged(const at_checkpoint *c, int i, uint64_t sum, at_error *err);
/* Sets the state of a tensor; the last one found whole is remembered in the trust folder. */
void at_checkpoint_settle(at_checkpoint *c, int i, at_checked state);

/* Whether the trust folder remembers this very file, and making it so. */
bool at_trust_holds(const char *folder, const at_file_identity *id, uint64_t header_sum);
void at_trust_remember(const char *folder, const at_file *file, const at_file_identity *id,
                       uint64_t header_sum);
at_status at_file_identify(const at_file *file, at_file_identity *id, at_error *err);
/* Whether a change that comes from now on will show in the file's times. */
bool at_file_identity_steady(const at_file_identity *id);

/* Sums of many extents on several threads; 'sums' has room for each. */
at_status at_checkpoint_sums(const at_checkpoint *c, const at_extent *extents, int count,
                             uint64_t *sums, int threads, const at_progress *progress,
                             at_error *err);

#endif
