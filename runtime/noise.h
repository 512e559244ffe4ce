/* noise.h -- where a picture's random numbers come from: a seed, by one of three generators, or a
 * file that holds them.
 *
 * torch: the CPU generator of torch, so that a seed gives diffusers' picture. a1111: the GPU's
 * Philox of torch as the program of that name draws it on any machine. atelier: Philox counted by
 * seed and draw: what is drawn for one use is the same whatever was drawn for another.
 *
 * A file (safetensors, or another that at_source_open() knows) has N(0, 1) tensors "noise",
 * "noise_1", "noise_2", ... in the order of drawing, and "noise_vae", "noise_vae_masked", each
 * (count, channels, height, width) of any float type; one that is missing is refused, but for the
 * last two, which then are 0. Other tensors are not looked at.
 *
 * A source serves the pictures of one drawing, each with numbers of its own, which do not depend on
 * how many pictures there are; the caller owns it. One thread at a time. */
#ifndef AT_RUNTIME_NOISE_H
#define AT_RUNTIME_NOISE_H

#include "kernels/base.h"

enum {
    AT_NOISE_PICTURES_MAX = 1 << 16,
    AT_NOISE_SIDE_MAX = 1 << 20,    /* of each of the three sizes */
    AT_NOISE_NUMBERS_MAX = 1 << 30, /* of a picture's draw */
};

typedef struct at_noise at_noise;

typedef enum at_noise_use {
    AT_NOISE_LATENTS,    /* what latents begin as: "noise" */
    AT_NOISE_STEP,       /* the next of the sampler's: "noise_1", ... */
    AT_NOISE_VAE,        /* of the posterior of a picture: "noise_vae" */
    AT_NOISE_VAE_MASKED, /* of a masked picture: "noise_vae_masked" */
    AT_NOISE_USES
} at_noise_use;

/* 'rng' is "torch", "a1111" or "atelier"; another is refused. */
AT_API at_status at_noise_seeded(at_noise **out, const char *rng, const uint64_t *seeds, int count,
                                 at_error *err);
/* Refuses a file whose tensors of these names are of another type or of another count. */
AT_API at_status at_noise_from_file(at_noise **out, const char *path, int count, at_error *err);
AT_API void at_noise_free(at_noise *n);
/* (channels, height, width) numbers for picture i, in this order whatever the generator: NCHW. The
 * draws of a picture come in the order in which they are asked for. Allocates nothing. */
AT_API at_status at_noise_draw(at_noise *n, int i, at_noise_use use, float *out,
                               const int64_t size[3], at_error *err);

#endif
