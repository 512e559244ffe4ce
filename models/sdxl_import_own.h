/* sdxl_import_own.h -- among the files that open SDXL models: a source under construction. */
#ifndef AT_MODELS_SDXL_IMPORT_OWN_H
#define AT_MODELS_SDXL_IMPORT_OWN_H

#include "models/assembled.h"
#include "models/sdxl_import.h"
#include "models/sdxl_measure.h"
#include "models/sdxl_texts.h"

enum { AT_SDXL_PATH_MAX = 4096 };

typedef struct at_sdxl_import {
    const at_sdxl_import_options *options;
    at_source *out;
    at_sdxl_configs configs;
    bool has[AT_SDXL_PARTS];
    at_sdxl_place places[AT_SDXL_PARTS];
    int source[AT_SDXL_PARTS];                  /* of 'out' */
    bool *used[AT_ASSEMBLED_SOURCES_MAX];       /* which tensors of a source found their place */
    const char *left[AT_ASSEMBLED_SOURCES_MAX]; /* only names with this prefix are asked after */
    bool vae_replaced;
} at_sdxl_import;

/* Fill in places and configurations; texts go to out->list. */
at_status at_sdxl_import_folder(at_sdxl_import *m, const char *path, at_error *err);
at_status at_sdxl_import_single(at_sdxl_import *m, at_source *file, at_error *err);
/* The VAE that takes the other's place; before those. */
at_status at_sdxl_import_vae(at_sdxl_import *m, const char *path, at_error *err);

/* The number of a source that belongs to 'm' from here on. */
at_status at_sdxl_import_take(at_sdxl_import *m, at_source *file, int *source, at_error *err);
/* A text of the model file, unless it has one of that name. */
at_status at_sdxl_import_text(at_sdxl_import *m, const char *name, const char *data, size_t bytes,
                              at_error *err);
/* Opens the weights of a part in its folder. */
at_status at_sdxl_import_weights(at_source **out, at_sdxl_part part, const char *folder,
                                 const char *variant, at_error *err);
/* The text of a file, or one without data where there is no such file. */
at_status at_sdxl_import_read(at_sdxl_text *out, const char *folder, const char *name,
                              at_error *err);
/* The configuration of a part out of the text that the model file has of it; without one it is
 * measured, and the text written. */
at_status at_sdxl_import_config(at_sdxl_import *m, at_sdxl_part part, at_error *err);
/* "folder/name"; too long a path is refused. */
at_status at_sdxl_import_path(char out[AT_SDXL_PATH_MAX], const char *folder, const char *name,
                              at_error *err);

#endif
