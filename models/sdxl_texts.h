/* sdxl_texts.h -- the texts of a diffusers folder of SDXL: which there are, and those that are
 * written for models that come without them.
 *
 * What is written belongs to the caller, who frees it, after a failure too. Any thread. */
#ifndef AT_MODELS_SDXL_TEXTS_H
#define AT_MODELS_SDXL_TEXTS_H

#include "models/sdxl_wanted.h"

/* A text of the caller's. */
typedef struct at_sdxl_text {
    char *data;
    size_t bytes;
} at_sdxl_text;

/* The path of the i-th text, NULL behind the last. */
const char *at_sdxl_text_path(int i);

/* A part's config.json, from which the same configuration is read; one that diffusers' keys cannot
 * say is refused. */
at_status at_sdxl_config_write(at_sdxl_text *out, at_sdxl_part part, const at_sdxl_configs *configs,
                               at_error *err);
/* model_index.json: the pipeline that diffusers runs such a model in. */
at_status at_sdxl_index_write(at_sdxl_text *out, const at_sdxl_configs *configs, bool has_text_1,
                              at_error *err);

/* What is read of a model_index.json. */
typedef struct at_sdxl_index {
    bool has[AT_SDXL_PARTS];
} at_sdxl_index;
/* A pipeline that is not SDXL's is refused; what the file does not mention is not there. */
at_status at_sdxl_index_read(at_sdxl_index *out, const char *json, size_t bytes, at_error *err);

#endif
