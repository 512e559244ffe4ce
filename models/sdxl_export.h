/* sdxl_export.h -- a model file of SDXL (models/sdxl.h) as other programs read it.
 *
 * A folder is a pipeline of diffusers, with the texts that came along and those that were not there
 * written; a single file has the names and forms of SDXL's own, and what it has no names for is
 * refused. Tensors keep types and bytes. What is written appears whole under its name or not at
 * all: a folder that is there already is only taken when it is empty. One thread at a time. */
#ifndef AT_MODELS_SDXL_EXPORT_H
#define AT_MODELS_SDXL_EXPORT_H

#include "engine/source.h"

AT_API at_status at_sdxl_export_folder(at_source *model, const char *path,
                                       const at_progress *progress, at_error *err);
AT_API at_status at_sdxl_export_single(at_source *model, const char *path,
                                       const at_progress *progress, at_error *err);

#endif
