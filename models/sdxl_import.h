/* sdxl_import.h -- models of SDXL as other programs keep them, opened as a source whose list is
 * that of a model file (models/sdxl.h): at_transfer_import() does the rest.
 *
 * A folder with a model_index.json is a pipeline of diffusers: a folder for each part, its weights
 * in one file or cut into several, under the plain name or a variant's, of any age; texts beside
 * them come along byte for byte. A file that holds a UNet beside other parts is a single file
 * (base, refiner, inpainting), whose sizes are read off its tensors; its texts are written. Any
 * other path is opened as it is.
 *
 * What the model needs must be there in the sizes that it needs, and nothing else but what is known
 * to be of no use, of which the caller is told. Parts come in the order of sdxl_parts.def, and what
 * is computed as one side by side (models/sdxl_wanted.h). The source belongs to the caller. One
 * thread at a time. */
#ifndef AT_MODELS_SDXL_IMPORT_H
#define AT_MODELS_SDXL_IMPORT_H

#include "engine/source.h"

typedef struct at_sdxl_import_options {
    const char *variant; /* "fp16"; NULL: the plain files, or fp16 where there are no plain ones */
    const char *vae;     /* a file or folder whose VAE takes the place of the model's; or NULL */
    void (*note)(void *context, const char *text); /* what is left out; may be NULL */
    void *context;
} at_sdxl_import_options;

/* 'options' may be NULL. */
AT_API at_status at_sdxl_import_open(at_source **out, const char *path,
                                     const at_sdxl_import_options *options, at_error *err);
/* What people call a model like this: "SDXL", "SDXL refiner", "SDXL inpainting"; "weights" where it
 * is none of SDXL's. */
AT_API const char *at_sdxl_kind(at_source *s);

#endif
