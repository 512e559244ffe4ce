/* clip_text.h -- CLIP's text encoders, of which Stable Diffusion XL has two: their parameters by
 * transformers' names (CLIPTextModel, CLIPTextModelWithProjection), their config.json, their graph.
 *
 * hidden_states are counted as transformers counts them: 0 is the sum of the embeddings, i what
 * layer i gives, -1 the last, all without the final norm. The row that stands for a whole text is
 * where it ends: data, which at_clip_text_ends() finds on the host, so that a captured plan serves
 * every text.
 *
 * A model holds its configuration and its parameters' places; the store owns the parameters, the
 * caller the model. Describing only reads the model; one thread at a time for a graph. */
#ifndef AT_MODELS_CLIP_TEXT_H
#define AT_MODELS_CLIP_TEXT_H

#include "engine/build.h"

enum {
    AT_CLIP_TEXT_HIDDEN_MAX = 4,            /* hidden states of one graph */
    AT_CLIP_TEXT_CONFIG_BYTES_MAX = 1 << 20 /* of a config.json */
};

/* C, the width, is divided among the heads. */
typedef struct at_clip_text_config {
    int64_t vocabulary; /* 49408 */
    int64_t positions;  /* most tokens of a text: 77 */
    int64_t width;      /* 768, 1280 */
    int64_t inner;      /* width between a layer's two products: 3072, 5120 */
    int64_t layers;     /* 12, 32 */
    int64_t heads;      /* 12, 20 */
    int64_t projection; /* width of what stands for a whole text: 1280; 0: there is no projection */
    int64_t end;        /* the token that ends a text; 2: it is the one with the largest id */
    float eps;          /* of the norms: 1e-5 */
    at_act act;         /* AT_ACT_QUICK_GELU, AT_ACT_GELU */
} at_clip_text_config;

/* CLIP-L and OpenCLIP bigG. */
extern const at_clip_text_config at_clip_text_sdxl_1, at_clip_text_sdxl_2;

/* From the text of a config.json; keys that it lacks have transformers' defaults. Whether there is
 * a projection is told by 'architectures'. */
AT_API at_status at_clip_text_config_read(at_clip_text_config *out, const char *json, size_t bytes,
                                          at_error *err);
/* Every number within its limits; else a sentence with the key of config.json. */
AT_API at_status at_clip_text_config_check(const at_clip_text_config *c, at_error *err);

typedef struct at_clip_text at_clip_text;

AT_API at_status at_clip_text_new(at_clip_text **out, at_params *store,
                                  const at_clip_text_config *config, at_dtype dtype, at_error *err);
AT_API void at_clip_text_free(at_clip_text *m);
/* Every parameter that a file of weights has, in transformers' order. */
AT_API int at_clip_text_params(const at_clip_text *m);
AT_API at_param *at_clip_text_param(const at_clip_text *m, int i);

/* What is computed; layers that nothing of it needs are left out. */
typedef struct at_clip_text_wanted {
    int64_t batch, tokens;               /* tokens: up to the configuration's positions */
    int hidden[AT_CLIP_TEXT_HIDDEN_MAX]; /* of -layers - 1 to layers; SDXL reads -2 */
    int n_hidden;
    bool last, pooled, embeds;
} at_clip_text_wanted;

/* T is the type of the model; what is not wanted is { 0 }. */
typedef struct at_clip_text_io {
    at_tensor ids;                             /* in: (B, L) i32 */
    at_tensor ends;                            /* in: (B) i32, for pooled and embeds */
    at_tensor hidden[AT_CLIP_TEXT_HIDDEN_MAX]; /* out: (B, L, C) T, "hidden.-2" */
    at_tensor last;                            /* out: (B, L, C) T: after the final norm */
    at_tensor pooled;                          /* out: (B, C) T: of 'last', each text's end */
    at_tensor embeds;                          /* out: (B, projection) T: pooled, projected */
} at_clip_text_io;

AT_API at_clip_text_io at_clip_text_describe(const at_clip_text *m, at_graph *g,
                                             at_clip_text_wanted wanted);

/* The rows, of all texts' tokens, at which the texts end. A text without an end has its first row,
 * as in transformers; an id that the vocabulary lacks is refused. */
AT_API at_status at_clip_text_ends(const at_clip_text_config *c, int32_t *ends /* (B) */,
                                   const int32_t *ids /* (B, L) */, int64_t batch, int64_t tokens,
                                   at_error *err);

#endif
