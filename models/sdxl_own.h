/* sdxl_own.h -- an open model file, as the two files of this module share it. */
#ifndef AT_MODELS_SDXL_OWN_H
#define AT_MODELS_SDXL_OWN_H

#include "engine/checkpoint.h"
#include "models/sdxl.h"

/* A part's description, and the store it describes itself in. One of the three is there. */
typedef struct at_sdxl_described {
    at_params *store;
    at_sdxl_unet *unet;
    at_sdxl_vae *vae;
    at_clip_text *text;
} at_sdxl_described;

struct at_sdxl {
    at_device *device;
    char *path;
    at_checkpoint *file;
    at_sdxl_about about;
    at_clip_tokenizer *tokenizers[2];
    char hash[17];
    at_sdxl_described loaded[AT_SDXL_PARTS];
    at_dtype dtypes[AT_SDXL_PARTS];
};

/* Describes a part in a store on 'device', NULL: only its names and sizes; 'offer' may be NULL
 * (engine/param.h). To be freed in any case. */
at_status at_sdxl_describe(at_sdxl_described *out, const at_sdxl *m, at_sdxl_part part,
                           at_dtype dtype, at_device *device, at_params_offer *offer, void *context,
                           at_error *err);
void at_sdxl_described_free(at_sdxl_described *d);
/* What the file has a tensor for. */
int at_sdxl_described_count(const at_sdxl_described *d);
at_param *at_sdxl_described_param(const at_sdxl_described *d, int i);

/* "unet.conv_in.weight" */
enum { AT_SDXL_NAME_MAX = 192 };
void at_sdxl_tensor_name(char name[AT_SDXL_NAME_MAX], at_sdxl_part part, const at_param *p);

#endif
