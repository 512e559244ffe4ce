/* sdxl_unet.h -- the denoiser of Stable Diffusion XL, base and refiner: its parameters by
 * diffusers' names, and its graphs.
 *
 * What stays the same over all steps of a picture is a graph of its own: the text's keys and values
 * for every block, and the row that pooled text and sizes add to the time's. The graph of a step
 * takes them as inputs.
 *
 * A model holds its configuration and its parameters' places; the store owns the parameters, the
 * caller the model. Describing only reads the model; one thread at a time for a graph. */
#ifndef AT_MODELS_SDXL_UNET_H
#define AT_MODELS_SDXL_UNET_H

#include "engine/build.h"

enum { AT_SDXL_LEVELS_MAX = 4, AT_SDXL_TOKENS = 77 /* of one chunk of text */ };

typedef struct at_sdxl_unet_config {
    int levels;                           /* of resolution: 3, the refiner has 4 */
    int64_t channels[AT_SDXL_LEVELS_MAX]; /* 320, 640, 1280 */
    int depth[AT_SDXL_LEVELS_MAX];        /* transformer blocks of each attention: 0, 2, 10 */
    int mid_depth;                        /* 10 */
    int layers;                           /* resnets of a level going down, one more up: 2 */
    int64_t latent;                       /* channels in and out: 4 */
    int64_t head_size;                    /* 64 */
    int64_t context;                      /* width of the text: 2048 */
    int64_t pooled;                       /* width of the pooled text: 1280 */
    int64_t sizes;                        /* numbers beside it: 6, of the refiner 5 */
    int64_t size_dim;                     /* sinusoid of each of them: 256 */
    int64_t groups;                       /* of the group norms: 32 */
} at_sdxl_unet_config;

extern const at_sdxl_unet_config at_sdxl_unet_base, at_sdxl_unet_refiner;

typedef struct at_sdxl_unet at_sdxl_unet;

AT_API at_status at_sdxl_unet_new(at_sdxl_unet **out, at_params *store,
                                  const at_sdxl_unet_config *config, at_dtype dtype, at_error *err);
AT_API void at_sdxl_unet_free(at_sdxl_unet *m);
/* Every parameter that a file of weights has, in diffusers' order. */
AT_API int at_sdxl_unet_params(const at_sdxl_unet *m);
AT_API at_param *at_sdxl_unet_param(const at_sdxl_unet *m, int i);
/* Columns of the text's keys and values: k | v of every block, one block after the other. */
AT_API int64_t at_sdxl_unet_text_columns(const at_sdxl_unet *m);

/* B rows: a picture with guidance has two. */
typedef struct at_sdxl_unet_size {
    int64_t batch, height, width; /* of the latent: 128 for a picture of 1024 */
    int64_t tokens;               /* 77, or a multiple */
} at_sdxl_unet_size;

/* T is the type of the model. */
typedef struct at_sdxl_unet_text {
    at_tensor context; /* in: (B, tokens, context) T */
    at_tensor pooled;  /* in: (B, pooled) T */
    at_tensor sizes;   /* in: (B, sizes) f32: height, width, top, left, target height and width */
    at_tensor keys;    /* out: (B, tokens, columns) T */
    at_tensor added;   /* out: (B, 4 * channels[0]) T */
} at_sdxl_unet_text;

typedef struct at_sdxl_unet_step {
    at_tensor latent;      /* in: (B, H, W, latent) T, scaled as the sampler says */
    at_tensor time;        /* in: (B) f32, of the 1000 */
    at_tensor keys, added; /* in: what the text's graph gave */
    at_tensor out;         /* out: (B, H, W, latent) T */
} at_sdxl_unet_step;

AT_API at_sdxl_unet_text at_sdxl_unet_describe_text(const at_sdxl_unet *m, at_graph *g,
                                                    at_sdxl_unet_size size);
AT_API at_sdxl_unet_step at_sdxl_unet_describe_step(const at_sdxl_unet *m, at_graph *g,
                                                    at_sdxl_unet_size size);

#endif
