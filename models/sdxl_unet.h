/* sdxl_unet.h -- the denoiser of Stable Diffusion XL and of models made like it (base, refiner,
 * inpainting, LCM, SSD-1B): its parameters by diffusers' names, and its graphs.
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

enum {
    AT_SDXL_LEVELS_MAX = 4,
    AT_SDXL_LAYERS_MAX = 8,      /* of a level going up, which has one more than going down */
    AT_SDXL_DEPTH_MAX = 64,      /* blocks of an attention */
    AT_SDXL_WIDTH_MAX = 1 << 16, /* of channels, text and what else a layer reads */
    AT_SDXL_SIZES_MAX = 64,
    AT_SDXL_TOKENS = 77 /* of one chunk of text */
};

/* Going up, levels count from the coarsest, as in the files. */
typedef struct at_sdxl_unet_config {
    int levels;                                       /* of resolution: 3, the refiner has 4 */
    int64_t channels[AT_SDXL_LEVELS_MAX];             /* 320, 640, 1280 */
    int64_t heads[AT_SDXL_LEVELS_MAX];                /* of attention: 5, 10, 20 */
    int layers[AT_SDXL_LEVELS_MAX];                   /* resnets going down, one more up: 2 */
    int down[AT_SDXL_LEVELS_MAX][AT_SDXL_LAYERS_MAX]; /* blocks of the attention behind each */
    int up[AT_SDXL_LEVELS_MAX][AT_SDXL_LAYERS_MAX];   /* resnet, 0: none */
    int mid_resnets;                                  /* 2 around an attention, 1, or 0 */
    int mid_depth;                                    /* blocks of that attention: 10 */
    int64_t in;                                       /* channels: 4; inpainting has 9 */
    int64_t latent;                                   /* channels out: 4 */
    int64_t context;                                  /* width of the text: 2048 */
    int64_t pooled;                                   /* width of the pooled text: 1280 */
    int64_t sizes;                                    /* numbers beside it: 6, of the refiner 5 */
    int64_t size_dim;                                 /* sinusoid of each of them: 256 */
    int64_t guidance;                                 /* width of LCM's embedding of it, or 0 */
    int64_t groups;                                   /* of the group norms: 32 */
    float eps;                                        /* of the norms outside of attention: 1e-5 */
    float freq_shift;                                 /* of the sinusoids: 0 */
    bool cos_first;                                   /* in the sinusoids */
    int64_t sample[2];                                /* usual height and width, 0: not said */
} at_sdxl_unet_config;

extern const at_sdxl_unet_config at_sdxl_unet_base, at_sdxl_unet_refiner;

/* Whether there can be a model of it; the sentence names the key of diffusers' config. */
AT_API at_status at_sdxl_unet_check(const at_sdxl_unet_config *config, at_error *err);

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
    at_tensor latent;      /* in: (B, H, W, in) T, scaled as the sampler says */
    at_tensor time;        /* in: (B) f32, of the 1000 */
    at_tensor guidance;    /* in: (B, guidance) T, zeros are as if there were none; or no tensor */
    at_tensor keys, added; /* in: what the text's graph gave */
    at_tensor out;         /* out: (B, H, W, latent) T */
} at_sdxl_unet_step;

AT_API at_sdxl_unet_text at_sdxl_unet_describe_text(const at_sdxl_unet *m, at_graph *g,
                                                    at_sdxl_unet_size size);
AT_API at_sdxl_unet_step at_sdxl_unet_describe_step(const at_sdxl_unet *m, at_graph *g,
                                                    at_sdxl_unet_size size);

#endif
