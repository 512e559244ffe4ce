/* sdxl_export_own.h -- among the files that write SDXL models: what a model file says. */
#ifndef AT_MODELS_SDXL_EXPORT_OWN_H
#define AT_MODELS_SDXL_EXPORT_OWN_H

#include "models/sdxl_export.h"
#include "models/sdxl_wanted.h"

typedef struct at_sdxl_model {
    at_source *source;
    bool has[AT_SDXL_PARTS];
    at_sdxl_configs configs;
} at_sdxl_model;

/* Refuses what is no model file of SDXL, or lacks a configuration. */
at_status at_sdxl_model_read(at_sdxl_model *m, at_source *source, at_error *err);
/* Refuses a tensor that is missing or has other sizes, and returns where it is. */
at_status at_sdxl_model_tensor(const at_sdxl_model *m, int *tensor, at_sdxl_part part,
                               const at_sdxl_wanted *w, at_error *err);

#endif
