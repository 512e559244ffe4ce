/* checkpoint_hdf5.h -- HDF5, behind two calls: laying a checkpoint out, and looking at one.
 *
 * Opening and reading a checkpoint need neither. The library is large and was not written for files
 * of strangers: whoever looks at one does so in a process that may die of it. */
#ifndef AT_ENGINE_CHECKPOINT_HDF5_H
#define AT_ENGINE_CHECKPOINT_HDF5_H

#include "engine/checkpoint_format.h"

/* Makes the draft an HDF5 file of everything but the bytes of index, texts and tensors, and says
 * where those belong: 'index' (its bytes come in) and 'extents', of the texts, then of the tensors;
 * and how long the file is, once it is whole. */
at_status at_hdf5_lay_out(at_draft *draft, const at_tensors *list, at_extent *index,
                          at_extent *extents, uint64_t *file_bytes, at_error *err);

typedef void (*at_hdf5_found)(void *context, const char *thing, const char *text);

/* Tells everything in which HDF5's view of 'path' is not what the index says; skips texts whose
 * 'checked' is AT_DAMAGED. */
void at_hdf5_compare(const char *path, const at_checkpoint *c, at_hdf5_found found, void *context);

/* The library's own. */
void at_hdf5_version(char *text, size_t text_size);

#endif
