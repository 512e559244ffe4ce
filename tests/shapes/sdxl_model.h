/* sdxl_model.h -- small models of SDXL's kind as files have them: what is in each part, by its
 * config.json, and weights that follow from their names, as tests/reference/model_run.py makes
 * them. */
#ifndef AT_TESTS_SHAPES_SDXL_MODEL_H
#define AT_TESTS_SHAPES_SDXL_MODEL_H

#include "engine/tensors.h"
#include "models/sdxl.h"

/* Parts described in stores without memory; those without a config are empty. */
typedef struct sdxl_model {
    const char *configs[AT_SDXL_PARTS];
    at_params *stores[AT_SDXL_PARTS];
    at_clip_text *text[2];
    at_sdxl_unet *unet;
    at_sdxl_vae *vae;
} sdxl_model;

/* A UNet needs the second text encoder. The texts stay the caller's. */
sdxl_model sdxl_model_describe(const char *const configs[AT_SDXL_PARTS]);
void sdxl_model_end(sdxl_model *m);
/* What files have of a part. */
int sdxl_model_count(const sdxl_model *m, int part);
const at_param *sdxl_model_param(const sdxl_model *m, int part, int i);

/* Adds all tensors as f32, "PART.NAME", and the configs as texts; the list is not finished. */
void sdxl_model_list(const sdxl_model *m, at_tensors *list);
/* The values of one of them; the caller frees them. */
float *sdxl_model_values(const at_stored_tensor *t);

#endif
