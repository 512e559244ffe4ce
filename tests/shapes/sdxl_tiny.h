/* sdxl_tiny.h -- SDXL's models as small as they can be, with weights that follow from their names:
 * tests/reference/sdxl_tiny.py makes the same ones for torch. */
#ifndef AT_TESTS_SHAPES_SDXL_TINY_H
#define AT_TESTS_SHAPES_SDXL_TINY_H

#include "models/sdxl_unet.h"
#include "models/sdxl_vae.h"

extern const at_sdxl_unet_config sdxl_tiny_unet;
extern const at_sdxl_vae_config sdxl_tiny_vae;

/* Of a text: where its numbers begin. */
uint64_t sdxl_tiny_seed(const char *text);
/* n numbers of that type, shift + scale * (uniform in [-1, 1)); the caller frees them. */
void *sdxl_tiny_numbers(at_dtype dtype, int64_t n, double scale, double shift, uint64_t seed);
/* Weights so that sums keep the size of what is summed, gains near 1. */
void sdxl_tiny_fill(at_params *store);

#endif
