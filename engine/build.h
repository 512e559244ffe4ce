/* build.h -- the calls that models are described with: each appends one op to a graph (attention
 * with a cache, LoRA: a few) and returns its result. { 0 } stands for an absent operand. What an op
 * computes stands in kernels/ops.h; shapes that do not fit stop the program with names and
 * numbers. */
#ifndef AT_ENGINE_BUILD_H
#define AT_ENGINE_BUILD_H

#include "engine/graph.h"

/* --- convolution and products ----------------------------------------------------------------- */

typedef struct at_conv {
    at_tensor x, w, bias, residual;
    int64_t stride;  /* 0: 1 */
    int64_t pad;     /* on every side, unless pads says otherwise */
    int64_t pads[4]; /* top, left, bottom, right */
    at_pad_mode pad_mode;
    bool relu;
} at_conv;
AT_API at_tensor at_conv2d(at_graph *g, at_conv c);

AT_API at_tensor at_linear(at_graph *g, at_tensor x, at_tensor w, at_tensor bias,
                           at_tensor residual, at_act act);
/* geglu of a linear layer; for inference. */
AT_API at_tensor at_linear_geglu(at_graph *g, at_tensor x, at_tensor w, at_tensor bias);
/* y + scale * up(down(x)): the low-rank path of a linear layer whose own result is y. */
AT_API at_tensor at_lora_linear(at_graph *g, at_tensor y, at_tensor x, at_tensor down, at_tensor up,
                                float scale);
/* The same for a convolution: down has its kernel and stride, up is 1x1. */
AT_API at_tensor at_lora_conv2d(at_graph *g, at_tensor y, at_conv down, at_tensor up, float scale);
AT_API at_tensor at_gram(at_graph *g, at_tensor x, float scale);

/* --- attention -------------------------------------------------------------------------------- */

typedef struct at_attend {
    at_tensor q, k, v, lengths;
    int64_t heads;
    float scale; /* 0: 1 / sqrt(head size) */
    bool causal;
} at_attend;
AT_API at_tensor at_attention(at_graph *g, at_attend a);
AT_API void at_kv_append(at_graph *g, at_tensor k_cache, at_tensor v_cache, at_tensor k,
                         at_tensor v, at_tensor pos);

/* --- norms ------------------------------------------------------------------------------------ */

typedef struct at_group {
    at_tensor x, x2, add, gamma, beta;
    int64_t groups;
    float eps;
    bool silu;
} at_group;
AT_API at_tensor at_group_norm(at_graph *g, at_group n);
AT_API at_tensor at_layer_norm(at_graph *g, at_tensor x, at_tensor gamma, at_tensor beta,
                               float eps);
typedef struct at_instance {
    at_tensor x, gamma, beta, mean, rstd; /* mean and rstd: given statistics */
    float eps;
    bool relu;
} at_instance;
AT_API at_tensor at_instance_norm(at_graph *g, at_instance n);
typedef struct at_statistics {
    at_tensor mean, std;
} at_statistics;
typedef enum at_variance { AT_BIASED, AT_UNBIASED } at_variance;
AT_API at_statistics at_mean_std(at_graph *g, at_tensor x, float eps, at_variance variance);
AT_API at_tensor at_adain(at_graph *g, at_tensor x, at_statistics content, at_statistics style,
                          float alpha);
AT_API at_tensor at_softmax(at_graph *g, at_tensor x, float scale);
AT_API at_tensor at_l2_normalize(at_graph *g, at_tensor x, float eps);

/* --- elementwise ------------------------------------------------------------------------------ */

AT_API at_tensor at_unary(at_graph *g, at_tensor x, at_unary_kind kind);
AT_API at_tensor at_clamp(at_graph *g, at_tensor x, float low, float high);
AT_API at_tensor at_scale(at_graph *g, at_tensor x, float factor, float shift);
/* 'b' is laid over 'a' as its shape allows: the same, the last axes, one row per sample, one
 * number. */
AT_API at_tensor at_binary(at_graph *g, at_tensor a, at_tensor b, at_binary_kind kind);
AT_API at_tensor at_add(at_graph *g, at_tensor a, at_tensor b);
AT_API at_tensor at_mul(at_graph *g, at_tensor a, at_tensor b);
AT_API at_tensor at_lerp(at_graph *g, at_tensor a, at_tensor b, at_tensor t);
AT_API at_tensor at_geglu(at_graph *g, at_tensor x);
AT_API at_tensor at_cast(at_graph *g, at_tensor x, at_dtype to);
AT_API at_tensor at_fill(at_graph *g, at_dtype dtype, int rank, const int64_t *size, float value);
AT_API at_tensor at_reduce(at_graph *g, at_tensor x, at_reduction kind, at_over over);

/* --- moving ----------------------------------------------------------------------------------- */

AT_API at_tensor at_concat(at_graph *g, const at_tensor *parts, int n, int axis);
AT_API at_tensor at_slice(at_graph *g, at_tensor x, int axis, int64_t start, int64_t length);
AT_API at_tensor at_permute(at_graph *g, at_tensor x, const int64_t *order);
AT_API at_tensor at_embedding(at_graph *g, at_tensor table, at_tensor ids, at_dtype dtype);
/* The tensor itself if it is dense, else a dense copy. */
AT_API at_tensor at_make_dense(at_graph *g, at_tensor x);

/* --- pictures --------------------------------------------------------------------------------- */

AT_API at_tensor at_upsample_nearest(at_graph *g, at_tensor x, int64_t height, int64_t width);
AT_API at_tensor at_max_pool2x2(at_graph *g, at_tensor x);
AT_API at_tensor at_avg_pool(at_graph *g, at_tensor x, int64_t kernel);
AT_API at_tensor at_resize(at_graph *g, at_tensor x, int64_t height, int64_t width,
                           at_filter filter);

/* --- drawing ---------------------------------------------------------------------------------- */

typedef struct at_sinusoid {
    int64_t dim;
    float max_period; /* 0: 10000 */
    float shift;
    bool cos_first;
    at_dtype dtype;
} at_sinusoid;
AT_API at_tensor at_timestep_embedding(at_graph *g, at_tensor t, at_sinusoid s);

/* --- learning --------------------------------------------------------------------------------- */

AT_API at_tensor at_mse(at_graph *g, at_tensor x, at_tensor target, at_tensor weight, float delta);
AT_API at_tensor at_cross_entropy(at_graph *g, at_tensor x, at_tensor target, int64_t ignore,
                                  float smoothing);
typedef struct at_adam {
    float beta1, beta2, eps, decay;
} at_adam;
AT_API void at_adamw(at_graph *g, at_tensor w, at_tensor m, at_tensor v, at_tensor gradient,
                     at_tensor hyper, at_adam a);

#endif
