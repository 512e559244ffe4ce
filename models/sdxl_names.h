/* sdxl_names.h -- one table (sdxl_names.def) for the names of SDXL's tensors in other layouts.
 *
 * Translated is from diffusers' name, which a model's visitor gives, to the one of a single file;
 * going through all names of a model that way is the other direction too. Nothing is kept; any
 * thread. */
#ifndef AT_MODELS_SDXL_NAMES_H
#define AT_MODELS_SDXL_NAMES_H

#include "engine/tensors.h"
#include "models/sdxl.h"

/* How the tensor of a single file holds that of diffusers. */
typedef enum at_sdxl_form {
    AT_SDXL_AS_IT_IS,
    AT_SDXL_ROWS_1, /* as the first third of its rows, the second, the third */
    AT_SDXL_ROWS_2,
    AT_SDXL_ROWS_3,
    AT_SDXL_TURNED,    /* rows as columns */
    AT_SDXL_POINTWISE, /* (N, K) as (N, K, 1, 1) */
} at_sdxl_form;

typedef struct at_sdxl_name {
    char text[AT_TENSOR_NAME_MAX];
    at_sdxl_form form;
} at_sdxl_name;

/* What the numbers in names depend on; of the part that is named, the others may be NULL. */
typedef struct at_sdxl_sizes {
    const at_sdxl_unet_config *unet;
    const at_sdxl_vae_config *vae;
} at_sdxl_sizes;

/* False: single files have no such tensor. 'name' is without its part, the result without its
 * prefix. */
bool at_sdxl_name_single(at_sdxl_name *out, at_sdxl_part part, const char *name,
                         const at_sdxl_sizes *sizes);
/* The i-th other spelling of a name in its layout; false: there are not so many. */
bool at_sdxl_name_also(char out[AT_TENSOR_NAME_MAX], at_sdxl_part part, const char *name, int i);
/* The i-th prefix of a part's names in single files, NULL behind the last. */
const char *at_sdxl_prefix(at_sdxl_part part, int i);

/* What a tensor is that nothing is drawn with; NULL: it is not known as such. */
const char *at_sdxl_ignored(const char *name);
/* Why a file with this tensor is refused, or NULL. */
const char *at_sdxl_refused(const char *name);

#endif
