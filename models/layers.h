/* layers.h -- the layers that models are made of: their parameters, by the names that files give
 * them, and the ops that they become in a graph.
 *
 * A model walks once over its layers with a naming (at_name_*), which adds each parameter to a
 * store and lists it; from then on a layer holds its parameters and is described by at_layer_*.
 * The store owns the parameters, the naming its list. One thread at a time. */
#ifndef AT_MODELS_LAYERS_H
#define AT_MODELS_LAYERS_H

#include "engine/build.h"

/* --- naming ----------------------------------------------------------------------------------- */

enum { AT_PARAM_NAME_MAX = 160 };

typedef struct at_naming {
    at_params *store;
    at_dtype dtype;
    at_error *err; /* filled by the first failure; then every call returns NULL */
    at_status status;
    char path[AT_PARAM_NAME_MAX]; /* of the layer, with a dot behind it */
    at_param **named;             /* in order: what a file of weights holds */
    int n_named, capacity;
} at_naming;

void at_naming_start(at_naming *n, at_params *store, at_dtype dtype, at_error *err);
void at_naming_free(at_naming *n);
/* Goes into a part of the model, "down_blocks.%d"; returns what at_naming_leave() takes. */
size_t at_naming_enter(at_naming *n, const char *fmt, ...) AT_PRINTF(2, 3);
void at_naming_leave(at_naming *n, size_t mark);

/* A weight (N, K) or (Co, Ci, Kh, Kw) with its bias (N), or a gamma with its beta. */
typedef struct at_affine {
    at_param *weight, *bias;
} at_affine;

typedef enum at_bias { AT_WITHOUT_BIAS, AT_WITH_BIAS } at_bias;

/* A parameter that files know by this name below the path. */
at_param *at_name_param(at_naming *n, const char *name, int rank, const int64_t *size);
/* The same as rows [first, first + rows) of a storage. */
at_param *at_name_rows(at_naming *n, const char *name, at_param *storage, int64_t first,
                       int64_t rows);
/* A storage, which no file knows: what lies in it is named by slices. */
at_param *at_name_storage(at_naming *n, const char *name, at_dtype dtype, int rank,
                          const int64_t *size);
at_affine at_name_linear(at_naming *n, const char *name, int64_t out, int64_t in, at_bias bias);
at_affine at_name_conv(at_naming *n, const char *name, int64_t out, int64_t in, int64_t kernel);
at_affine at_name_norm(at_naming *n, const char *name, int64_t channels);
/* Linear layers side by side in one storage, so that one product computes them all: 'names' end
 * with NULL, each has 'out' rows. */
at_affine at_name_linears(at_naming *n, const char *storage, const char *const *names, int64_t out,
                          int64_t in, at_bias bias);

/* --- layers in a graph ------------------------------------------------------------------------ */

at_tensor at_layer_conv(at_graph *g, at_tensor x, const at_affine *a, int64_t stride,
                        at_tensor residual);
at_tensor at_layer_linear(at_graph *g, at_tensor x, const at_affine *a, at_tensor residual,
                          at_act act);
at_tensor at_layer_norm_affine(at_graph *g, at_tensor x, const at_affine *a);
/* (B, H, W, C) as (B, H * W, C), and back to the sizes of 'like'. */
at_tensor at_layer_tokens(at_graph *g, at_tensor x);
at_tensor at_layer_picture(at_graph *g, at_tensor x, at_tensor like);

/* group norm and SiLU, 3x3, group norm with the time's row and SiLU, 3x3, and the input again. */
typedef struct at_resnet {
    at_affine norm1, conv1, norm2, conv2;
    at_affine shortcut;      /* 1x1, where the channels change; of the first part of the input */
    at_param *shortcut_skip; /* of its second part, the skip; NULL: there is none */
} at_resnet;

/* Channels of the input, of the skip that continues it (0: none), of the output. */
typedef struct at_resnet_size {
    int64_t in, skip, out;
} at_resnet_size;

/* Names all but the time's projection, which belongs between conv1 and norm2: 'between' does it. */
typedef void at_name_between(at_naming *n, void *ctx);
at_resnet at_name_resnet(at_naming *n, at_resnet_size size, at_name_between *between, void *ctx);

typedef struct at_resnet_in {
    at_tensor x, skip; /* (B, H, W, in), (B, H, W, skip): never joined in memory */
    at_tensor time;    /* (B, out), or none */
    int64_t groups;
    float eps;
} at_resnet_in;
at_tensor at_layer_resnet(at_graph *g, const at_resnet *r, at_resnet_in in);

#endif
