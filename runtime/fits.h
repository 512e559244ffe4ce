/* fits.h -- whether a drawing fits into a device's memory, before anything of it is loaded: its
 * plans are made on paper, with no memory behind them. One thread at a time. */
#ifndef AT_RUNTIME_FITS_H
#define AT_RUNTIME_FITS_H

#include "runtime/model.h"

/* What a drawing does with a model. */
typedef struct at_fits {
    at_model *model;
    at_sdxl_unet_size size; /* of a step */
    int64_t rows;           /* of the text */
    bool encodes, decodes;  /* a picture; latents */
    bool tiles;             /* so that neither is done in one go */
} at_fits;

/* Not asked again of the same shape as long as the UNet stays loaded. AT_NO_MEMORY with the bytes
 * that are needed and those that are there. */
at_status at_fits_check(const at_fits *f, at_error *err);
/* The most bytes that UNet and VAE need, one after the other; both where the model keeps parts. */
AT_API at_status at_fits_most(const at_fits *f, size_t *bytes, at_error *err);

#endif
