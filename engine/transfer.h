/* transfer.h -- weights on their way: any source into a checkpoint, any source into safetensors.
 *
 * Tensors keep their names, order, types and bytes; texts come along. A piece at a time passes
 * through one buffer, so that a file of any size costs the same memory. The result appears under
 * its name when it is whole. */
#ifndef AT_ENGINE_TRANSFER_H
#define AT_ENGINE_TRANSFER_H

#include "engine/source.h"

/* Texts of this beginning are Atelier's own and stay behind on export. */
#define AT_TEXT_OWN        "atelier."
#define AT_TEXT_PROVENANCE "atelier.provenance"

/* 'more': texts to add, which replace those of the same name. */
AT_API at_status at_transfer_import(at_source *from, const char *path, const at_text *more,
                                    int n_more, const at_progress *progress, at_error *err);
AT_API at_status at_transfer_export(at_source *from, const char *path, const at_progress *progress,
                                    at_error *err);

#endif
