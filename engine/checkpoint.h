/* checkpoint.h -- the store of model versions: one file each, written once and never changed.
 *
 * A checkpoint is an HDF5 file whose tensors lie contiguous and aligned to 4096 bytes, so that the
 * file is mapped and its tensors are used where they lie. h5py sees /tensors/NAME, the texts as
 * attributes of the root, and /atelier/index. Names stand in paths as they are, but for '%' (%25),
 * '/' (%2F) and a name that is only a point (%2E). bf16 is a float of 1-8-7 bits, bool h5py's enum,
 * f8 is u8 with an attribute "dtype".
 *
 * Opening needs no HDF5: a header of ours in HDF5's user block points to an index of names, types,
 * sizes, places and checksums. Header, index, every tensor, every text and the rest of the file
 * (HDF5's metadata, the gaps) have a checksum, so a changed byte is found wherever it is; that is
 * protection against damage, not against forgery. A file may come from anywhere: whatever it says
 * is checked before it is believed, and nothing is allocated that its size does not justify.
 *
 * A reader keeps its file: one that is written over it later is another file under the same name.
 * Any thread may call at_checkpoint_data() and _list(); everything else belongs to one thread at a
 * time. */
#ifndef AT_ENGINE_CHECKPOINT_H
#define AT_ENGINE_CHECKPOINT_H

#include "engine/file.h"
#include "engine/tensors.h"

/* --- reading ---------------------------------------------------------------------------------- */

typedef struct at_checkpoint at_checkpoint;

typedef struct at_checkpoint_options {
    /* Where it is remembered which files were checked whole on this machine; NULL: nowhere. Who may
     * write there decides what is believed: it should be a folder of ours. */
    const char *trust_folder;
} at_checkpoint_options;

/* Checks header, index and texts; the tensors are checked when they are used. 'options' may be
 * NULL. */
AT_API at_status at_checkpoint_open(at_checkpoint **out, const char *path,
                                    const at_checkpoint_options *options, at_error *err);
AT_API void at_checkpoint_close(at_checkpoint *c);

/* Tensors, their offsets being those in the file, and texts. */
AT_API const at_tensors *at_checkpoint_list(const at_checkpoint *c);
/* The bytes of tensor i, aligned to 4096, until the checkpoint is closed. Its first use compares
 * the checksum unless the file is trusted; NULL and 'err' when it is damaged. When the last tensor
 * has been found whole, that is remembered in the trust folder: for this very file, by its number,
 * size, times and header. A folder that cannot be written costs the checks, nothing else. */
AT_API const void *at_checkpoint_data(at_checkpoint *c, int i, at_error *err);
/* Its checksum, as the file has it: equal bytes have equal ones. */
AT_API uint64_t at_checkpoint_sum_of(const at_checkpoint *c, int i);
/* Gives back the memory that the bytes of tensor i take, as good as it goes; whoever reads them
 * again finds them in the system's cache. */
AT_API void at_checkpoint_rest(const at_checkpoint *c, int i);
/* The same of any bytes of the file's tensors. */
AT_API void at_checkpoint_rest_bytes(const at_checkpoint *c, const void *data, size_t bytes);
/* Compares what is not yet compared, on 'threads' threads (0: one per core). */
AT_API at_status at_checkpoint_check(at_checkpoint *c, int threads, const at_progress *progress,
                                     at_error *err);
/* Whether every tensor has been found whole, now or before. */
AT_API bool at_checkpoint_trusted(const at_checkpoint *c);

/* --- verifying -------------------------------------------------------------------------------- */

typedef enum at_verify_parts {
    AT_VERIFY_ALL,
    AT_VERIFY_SUMS, /* not HDF5's view */
} at_verify_parts;

typedef struct at_verify_options {
    at_verify_parts parts;
    int threads;           /* 0: one per core */
    unsigned hdf5_seconds; /* that HDF5 may take; 0: 20, and more for many tensors */
    const at_progress *progress;
    /* Called for everything that is wrong, from the calling thread: a tensor's name, or "header",
     * "index", "text NAME", "HDF5 metadata"; and a sentence. May be NULL. */
    void (*found)(void *context, const char *thing, const char *text);
    void *context;
} at_verify_options;

/* Every byte of the file against its checksum, and HDF5's view of it against the index: the same
 * tensors and texts of the same types and sizes in the same places, and nothing else. HDF5 reads in
 * a process of its own with bounds on time and memory. AT_CORRUPT when anything is wrong; err has
 * the first sentence. */
AT_API at_status at_checkpoint_verify(const char *path, const at_verify_options *options,
                                      at_error *err);

/* --- writing ---------------------------------------------------------------------------------- */

typedef struct at_checkpoint_writer at_checkpoint_writer;

/* Lays out the whole file and takes its room on the disk. Of the list, offsets and files are not
 * looked at; it is finished and lives as long as the writer. Nothing changes under 'path' yet. */
AT_API at_status at_checkpoint_writer_new(at_checkpoint_writer **out, const char *path,
                                          const at_tensors *list, at_error *err);
/* Bytes [from, from + bytes) of tensor i. Tensors come in any order, one after the other, the bytes
 * of each from its first to its last. */
AT_API at_status at_checkpoint_write(at_checkpoint_writer *w, int i, uint64_t from,
                                     const void *data, size_t bytes, at_error *err);
/* Every tensor is there: the file appears under its name. */
AT_API at_status at_checkpoint_writer_finish(at_checkpoint_writer *w, at_error *err);
/* In any case; what is not finished vanishes. */
AT_API void at_checkpoint_writer_free(at_checkpoint_writer *w);

#endif
