/* sdxl_vae.h -- between pictures and latents: the autoencoder of Stable Diffusion XL and
 * those made like it, its parameters by diffusers' names, and the graphs of its two halves.
 *
 * A model holds its configuration and its parameters' places; the store owns the parameters, the
 * caller the model. Describing only reads the model; one thread at a time for a graph. */
#ifndef AT_MODELS_SDXL_VAE_H
#define AT_MODELS_SDXL_VAE_H

#include "engine/build.h"

enum {
    AT_SDXL_VAE_LEVELS_MAX = 8,
    AT_SDXL_VAE_LAYERS_MAX = 8,      /* of a level of the decoder: one more than the encoder's */
    AT_SDXL_VAE_WIDTH_MAX = 1 << 16, /* of channels */
    AT_SDXL_VAE_LATENT_MAX = 64,
    AT_SDXL_VAE_SHRINKS = 8 /* pixels by latents on a side, of SDXL's own */
};

/* The last six are for who uses the latents; the graphs do not scale. */
typedef struct at_sdxl_vae_config {
    int levels;                               /* of resolution: 4 */
    int64_t channels[AT_SDXL_VAE_LEVELS_MAX]; /* 128, 256, 512, 512, finest first */
    int layers;                               /* resnets of a level of the encoder: 2 */
    int64_t latent;                           /* channels: 4 */
    int64_t groups;                           /* of the group norms: 32 */
    bool attention;                           /* one in the middle of both halves */
    bool quant, post_quant;                   /* 1x1 behind the encoder, before the decoder */
    int64_t sample;                           /* side of a tile, in pixels, 0: not said */
    bool upcast;           /* pictures are encoded in f32, whatever else computes in */
    double scaling, shift; /* latent = (what the encoder gives - shift) * scaling */
    bool normalized;       /* latents have this mean and deviation, by channel */
    double mean[AT_SDXL_VAE_LATENT_MAX], std[AT_SDXL_VAE_LATENT_MAX];
} at_sdxl_vae_config;

extern const at_sdxl_vae_config at_sdxl_vae_base;

/* Whether there can be a model of it; the sentence names the key of diffusers' config. */
AT_API at_status at_sdxl_vae_check(const at_sdxl_vae_config *config, at_error *err);
/* Pixels by latents, on a side. */
AT_API int64_t at_sdxl_vae_shrinks(const at_sdxl_vae_config *config);

typedef struct at_sdxl_vae at_sdxl_vae;

AT_API at_status at_sdxl_vae_new(at_sdxl_vae **out, at_params *store,
                                 const at_sdxl_vae_config *config, at_dtype dtype, at_error *err);
AT_API void at_sdxl_vae_free(at_sdxl_vae *m);
/* Every parameter that a file of weights has, in diffusers' order. */
AT_API int at_sdxl_vae_params(const at_sdxl_vae *m);
AT_API at_param *at_sdxl_vae_param(const at_sdxl_vae *m, int i);

typedef struct at_sdxl_vae_io {
    at_tensor in, out;
} at_sdxl_vae_io;

/* in: (B, h, w, latent) T, divided by the scaling factor; out: (B, 8h, 8w, 3) T of [-1, 1],
 * where 8 stands for the model's shrinks. */
AT_API at_sdxl_vae_io at_sdxl_vae_describe_decoder(const at_sdxl_vae *m, at_graph *g, int64_t batch,
                                                   int64_t height, int64_t width);
/* in: (B, H, W, 3) T of [-1, 1], sides of 8 at least; out: (B, H/8, W/8, 2 * latent) T, rounded
 * down: mean | log of the variance. */
AT_API at_sdxl_vae_io at_sdxl_vae_describe_encoder(const at_sdxl_vae *m, at_graph *g, int64_t batch,
                                                   int64_t height, int64_t width);

#endif
