/* ops.h -- the args of every op: outputs first, then inputs, then attributes.
 *
 * Shapes stand beside the fields. B sample, H W height and width, L tokens, C channels, K inner
 * size, N outer size, D head size, R rows (all axes but the last), "..." any leading axes. T is the
 * type of the computation (f32, bf16, f16; f64 in references). "opt" fields may be absent: rank 0.
 * Weights, biases, gammas and betas may have any floating type of their own: they stay as their
 * file had them. Numbers that change from step to step are operands in device memory, so that a
 * captured plan stays valid; attributes are fixed when a plan is made.
 *
 * Sums are accumulated in f32 or better, and each output is rounded once. */
#ifndef AT_KERNELS_OPS_H
#define AT_KERNELS_OPS_H

#include "kernels/op.h"

#ifdef __cplusplus
extern "C" {
#endif

#define AT_OP(name) extern const at_op at_op_##name;
#include "kernels/ops.def"
#undef AT_OP

/* --- convolution and products ----------------------------------------------------------------- */

typedef enum at_pad_mode { AT_PAD_ZERO, AT_PAD_REFLECT } at_pad_mode;
#define AT_PAD_MODES "zero|reflect"

/* y = relu?(conv(x, w) + residual + bias) */
typedef struct at_conv2d_args {
    at_view y;                 /* (B, Ho, Wo, Co) T, or y_dtype */
    at_view x;                 /* (B, H, W, Ci) T */
    at_view w;                 /* (Co, Ci, Kh, Kw) */
    at_view bias;              /* (Co) opt */
    at_view residual;          /* (B, Ho, Wo, Co) type of y, opt */
    int64_t stride[2], pad[4]; /* vertical, horizontal; top, left, bottom, right */
    int pad_mode;              /* at_pad_mode */
    int relu;                  /* no|yes */
    int y_dtype;               /* same|f32 */
} at_conv2d_args;

/* dx = gradient of conv2d by x: (B, H, W, Ci) of size in_size */
typedef struct at_conv2d_dgrad_args {
    at_view dx; /* (B, H, W, Ci) T */
    at_view dy; /* (B, Ho, Wo, Co) T */
    at_view w;  /* (Co, Ci, Kh, Kw) */
    int64_t in_size[2], stride[2], pad[4];
    int pad_mode;
} at_conv2d_dgrad_args;

/* dw = acc + gradient of conv2d by w; dbias = bias_acc + column sums of dy */
typedef struct at_conv2d_wgrad_args {
    at_view dw;       /* (Co, Ci, Kh, Kw) f32 */
    at_view dbias;    /* (Co) f32, opt */
    at_view dy;       /* (B, Ho, Wo, Co) T */
    at_view x;        /* (B, H, W, Ci) T */
    at_view acc;      /* (Co, Ci, Kh, Kw) f32 opt, may be dw itself */
    at_view bias_acc; /* (Co) f32 opt, may be dbias itself */
    int64_t kernel[2], stride[2], pad[4];
    int pad_mode;
} at_conv2d_wgrad_args;

#define AT_ACTS "none|relu|gelu|quick_gelu|silu"
typedef enum at_act {
    AT_ACT_NONE,
    AT_ACT_RELU,
    AT_ACT_GELU,
    AT_ACT_QUICK_GELU,
    AT_ACT_SILU
} at_act;

/* z = x_scale * w_scale * (x w^T) + bias + residual; y = act(z) / y_scale */
typedef struct at_linear_args {
    at_view y;        /* (..., N) T, or y_dtype */
    at_view z;        /* (..., N) T opt: before the activation, for backward */
    at_view y_amax;   /* (1) f32 opt: largest |act(z)|, to choose a scale by */
    at_view x;        /* (..., K) T or f8 */
    at_view w;        /* (N, K) */
    at_view bias;     /* (N) opt */
    at_view residual; /* (..., N) T opt */
    at_view x_scale;  /* (1) or (R) f32 opt: goes with f8 */
    at_view w_scale;  /* (1) or (N) f32 opt: goes with f8 */
    at_view y_scale;  /* (1) f32 opt: y is stored as f8 of act(z) / y_scale */
    int act;          /* at_act */
    int y_dtype;      /* same|f32|bf16|f16|f8 */
} at_linear_args;

/* dx = dy w (+ residual: a gradient that is already there) */
typedef struct at_linear_dgrad_args {
    at_view dx;       /* (..., K) T */
    at_view dy;       /* (..., N) T */
    at_view w;        /* (N, K) */
    at_view residual; /* (..., K) T opt */
} at_linear_dgrad_args;

/* dw = acc + dy^T x; dbias = bias_acc + column sums of dy */
typedef struct at_linear_wgrad_args {
    at_view dw;       /* (N, K) f32 */
    at_view dbias;    /* (N) f32 opt */
    at_view dy;       /* (..., N) T */
    at_view x;        /* (..., K) T */
    at_view acc;      /* (N, K) f32 opt, may be dw itself */
    at_view bias_acc; /* (N) f32 opt, may be dbias itself */
} at_linear_wgrad_args;

/* a | g = x_scale * w_scale * (x w^T) + bias; y = a * gelu(g) / y_scale: linear and then geglu,
 * without rounding what is between them. For inference: it has no gradient. */
typedef struct at_linear_geglu_args {
    at_view y;       /* (..., N) T, or y_dtype; f8 when y_scale is there */
    at_view y_amax;  /* (1) f32 opt: largest |y * y_scale| */
    at_view x;       /* (..., K) T or f8 */
    at_view w;       /* (2N, K): a's rows above g's */
    at_view bias;    /* (2N) opt: a's before g's */
    at_view x_scale; /* (1) f32 opt: goes with f8 */
    at_view w_scale; /* (1) f32 opt: goes with f8 */
    at_view y_scale; /* (1) f32 opt */
    int y_dtype;     /* same|f32|bf16|f16, of a y without a scale */
} at_linear_geglu_args;

/* y[b] = scale * x[b]^T x[b] over the positions of sample b */
typedef struct at_gram_args {
    at_view y; /* (B, C, C) f32 */
    at_view x; /* (B, H, W, C) or (B, L, C) T */
    float scale;
} at_gram_args;

/* dx[b] = scale * x[b] (dy[b] + dy[b]^T) */
typedef struct at_gram_bwd_args {
    at_view dx; /* as x */
    at_view x;  /* (B, H, W, C) or (B, L, C) T */
    at_view dy; /* (B, C, C) f32 */
    float scale;
} at_gram_bwd_args;

/* y = w + strength * scale * up down, up and down seen as matrices: LoRA merged into a weight */
typedef struct at_lora_args {
    at_view y;        /* as w */
    at_view w;        /* (N, K) or (Co, Ci, Kh, Kw) */
    at_view up;       /* (N, rank) or (Co, rank, 1, 1) */
    at_view down;     /* (rank, K) or (rank, Ci, Kh, Kw) */
    at_view strength; /* (1) f32 */
    float scale;      /* alpha / rank */
} at_lora_args;

/* --- attention -------------------------------------------------------------------------------- */

/* o = softmax(scale q k^T + mask) v, head by head. With causal, query i of sample b sees keys j <=
 * i + (len_b - Lq); keys >= len_b are never seen. A row that sees nothing is zero, its lse -inf. */
typedef struct at_attention_args {
    at_view o;       /* (B, Lq, H*D) T */
    at_view lse;     /* (B, H, Lq) f32 opt: log of the sum of exponentials, for backward */
    at_view q;       /* (B, Lq, H*D) T */
    at_view k, v;    /* (B, Lk, H*D) T */
    at_view lengths; /* (B) i32 opt: len_b, else Lk */
    int64_t heads;
    float scale; /* 0: 1 / sqrt(D) */
    int causal;  /* no|yes */
} at_attention_args;

typedef struct at_attention_bwd_args {
    at_view dq, dk, dv; /* as q, k, v */
    at_view q, k, v, o, dout;
    at_view lse;     /* (B, H, Lq) f32 */
    at_view lengths; /* (B) i32 opt */
    int64_t heads;
    float scale;
    int causal;
} at_attention_bwd_args;

/* Rows pos_b .. pos_b + L - 1 of sample b's cache become k and v. */
typedef struct at_kv_append_args {
    at_view k_cache, v_cache; /* (B, Lmax, C) T, changed in place */
    at_view k, v;             /* (B, L, C) T */
    at_view pos;              /* (B) i32 */
} at_kv_append_args;

/* --- norms and statistics --------------------------------------------------------------------- */

/* v = x | x2 on channels, + add per sample; y = silu?((v - mean) * rstd * gamma + beta) / y_scale.
 * Groups may straddle the seam between x and x2. */
typedef struct at_group_norm_args {
    at_view y;       /* (B, ..., C) T, or f8 when y_scale is there */
    at_view mean;    /* (B, G) f32 opt */
    at_view rstd;    /* (B, G) f32 opt */
    at_view y_amax;  /* (1) f32 opt */
    at_view x;       /* (B, ..., C1) T */
    at_view x2;      /* (B, ..., C2) T opt */
    at_view add;     /* (B, C) T opt: the time embedding */
    at_view gamma;   /* (C), C = C1 + C2 */
    at_view beta;    /* (C) */
    at_view y_scale; /* (1) f32 opt */
    int64_t groups;
    float eps;
    int silu; /* no|yes */
} at_group_norm_args;

typedef struct at_group_norm_bwd_args {
    at_view dx;     /* as x */
    at_view dx2;    /* as x2, opt */
    at_view dadd;   /* (B, C) T opt */
    at_view dgamma; /* (C) f32 opt */
    at_view dbeta;  /* (C) f32 opt */
    at_view dy;     /* (B, ..., C) T */
    at_view x, x2, add, gamma, beta;
    at_view mean, rstd; /* (B, G) f32 */
    int64_t groups;
    int silu;
} at_group_norm_bwd_args;

/* y = (x - mean) * rstd * gamma + beta over the last axis */
typedef struct at_layer_norm_args {
    at_view y;       /* (..., C) T, or f8 when y_scale is there */
    at_view mean;    /* (R) f32 opt */
    at_view rstd;    /* (R) f32 opt */
    at_view y_amax;  /* (1) f32 opt */
    at_view x;       /* (..., C) T */
    at_view gamma;   /* (C) opt */
    at_view beta;    /* (C) opt */
    at_view y_scale; /* (1) f32 opt */
    float eps;
} at_layer_norm_args;

typedef struct at_layer_norm_bwd_args {
    at_view dx;         /* (..., C) T */
    at_view dgamma;     /* (C) f32 opt */
    at_view dbeta;      /* (C) f32 opt */
    at_view dy, x;      /* (..., C) T */
    at_view gamma;      /* (C) opt */
    at_view mean, rstd; /* (R) f32 */
} at_layer_norm_bwd_args;

/* y = relu?((x - mean) * rstd * gamma + beta) per sample and channel. With mean_in and rstd_in the
 * statistics are given: a tile of a larger picture uses the picture's. */
typedef struct at_instance_norm_args {
    at_view y;       /* (B, ..., C) T */
    at_view mean;    /* (B, C) f32 opt */
    at_view rstd;    /* (B, C) f32 opt */
    at_view x;       /* (B, ..., C) T */
    at_view gamma;   /* (C) opt */
    at_view beta;    /* (C) opt */
    at_view mean_in; /* (B, C) f32 opt */
    at_view rstd_in; /* (B, C) f32 opt */
    float eps;
    int relu; /* no|yes */
} at_instance_norm_args;

typedef struct at_instance_norm_bwd_args {
    at_view dx;          /* as x */
    at_view dgamma;      /* (C) f32 opt */
    at_view dbeta;       /* (C) f32 opt */
    at_view dy, x;       /* (B, ..., C) T */
    at_view gamma, beta; /* (C) opt */
    at_view mean, rstd;  /* (B, C) f32 */
    int relu;
} at_instance_norm_bwd_args;

/* t = (x - x_mean) / x_std * std + mean; y = x + alpha * (t - x) */
typedef struct at_adain_args {
    at_view y;             /* (B, ..., C) T */
    at_view x;             /* (B, ..., C) T */
    at_view x_mean, x_std; /* (B, C) f32: of the content */
    at_view mean, std;     /* (B, C) or (1, C) f32: of the style */
    float alpha;
} at_adain_args;

/* Per sample and channel: mean, std = sqrt(variance + eps), variance over N or N - 1 positions */
typedef struct at_mean_std_args {
    at_view mean, std; /* (B, C) f32 */
    at_view x;         /* (B, ..., C) T */
    float eps;
    int unbiased; /* no|yes */
} at_mean_std_args;

typedef struct at_mean_std_bwd_args {
    at_view dx;                     /* as x */
    at_view x;                      /* (B, ..., C) T */
    at_view mean, std, dmean, dstd; /* (B, C) f32 */
    int unbiased;
} at_mean_std_bwd_args;

/* y = softmax(scale * x) over the last axis */
typedef struct at_softmax_args {
    at_view y, x; /* (..., C) T */
    float scale;  /* 0: 1 */
} at_softmax_args;

typedef struct at_softmax_bwd_args {
    at_view dx, y, dy; /* (..., C) T */
    float scale;
} at_softmax_bwd_args;

/* y = x / max(|x|, eps) over the last axis */
typedef struct at_l2_normalize_args {
    at_view y, x; /* (..., C) T */
    float eps;
} at_l2_normalize_args;

typedef struct at_l2_normalize_bwd_args {
    at_view dx, x, dy; /* (..., C) T */
    float eps;
} at_l2_normalize_bwd_args;

/* --- elementwise ------------------------------------------------------------------------------ */

typedef enum at_unary_kind {
    AT_SILU,
    AT_GELU,
    AT_QUICK_GELU,
    AT_RELU,
    AT_SIGMOID,
    AT_TANH,
    AT_EXP,
    AT_CLAMP,
    AT_SCALE,
    AT_SQRT
} at_unary_kind;
#define AT_UNARY_KINDS "silu|gelu|quick_gelu|relu|sigmoid|tanh|exp|clamp|scale|sqrt"

/* y = f(x); clamp: min(max(x, a), b); scale: a * x + b; the others ignore a and b */
typedef struct at_unary_args {
    at_view y, x; /* (..., C) T */
    int kind;     /* at_unary_kind */
    float a, b;
} at_unary_args;

typedef struct at_unary_bwd_args {
    at_view dx, x, dy; /* (..., C) T */
    int kind;
    float a, b;
} at_unary_bwd_args;

typedef enum at_binary_kind { AT_ADD, AT_SUB, AT_MUL, AT_DIV, AT_MAX, AT_MIN } at_binary_kind;
#define AT_BINARY_KINDS "add|sub|mul|div|max|min"
/* How b is laid over a: same shape; its shape is a's last axes; one row per sample; one number. */
typedef enum at_spread { AT_SAME, AT_SUFFIX, AT_PER_SAMPLE, AT_SCALAR } at_spread;
#define AT_SPREADS "same|suffix|per_sample|scalar"

/* y = a op (b_scale * b) */
typedef struct at_binary_args {
    at_view y, a;  /* (..., C) T */
    at_view b;     /* as a; or the last axes of a; or (B, C); or (1) T or f32 */
    int kind;      /* at_binary_kind */
    int spread;    /* at_spread */
    float b_scale; /* 0: 1 */
} at_binary_args;

/* y = a + t * (b - a), t one number or one per sample in device memory */
typedef struct at_lerp_args {
    at_view y, a, b; /* (B, ..., C) T */
    at_view t;       /* (1) or (B) f32 */
} at_lerp_args;

/* x = a | g on the last axis; y = a * gelu(g) / y_scale */
typedef struct at_geglu_args {
    at_view y;       /* (..., C) T, or f8 when y_scale is there */
    at_view y_amax;  /* (1) f32 opt */
    at_view x;       /* (..., 2C) T */
    at_view y_scale; /* (1) f32 opt */
} at_geglu_args;

typedef struct at_geglu_bwd_args {
    at_view dx; /* (..., 2C) T */
    at_view x;  /* (..., 2C) T */
    at_view dy; /* (..., C) T */
} at_geglu_bwd_args;

#define AT_CAST_TYPES "f32|bf16|f16|f8|f64|i32|i64|u8"
/* y = x * scale (f8 to others) or x / scale (others to f8), in y's type; integers truncate and
 * saturate */
typedef struct at_cast_args {
    at_view y;     /* (..., C) */
    at_view amax;  /* (1) f32 opt: largest |x| */
    at_view x;     /* (..., C) */
    at_view scale; /* (1) or (R) f32 opt */
    int to;        /* AT_CAST_TYPES */
} at_cast_args;

/* y = value everywhere, of the shape 'size' (zeros end it) */
typedef struct at_fill_args {
    at_view y; /* size, in 'to' */
    int64_t size[4];
    float value;
    int to; /* AT_CAST_TYPES */
} at_fill_args;

/* What is summed away: everything but the last axis; the last axis; the positions of each sample;
 * all; or the leading axes beyond the last 'keep' ones (the opposite of AT_SUFFIX). */
typedef enum at_over {
    AT_OVER_ROWS,
    AT_OVER_COLS,
    AT_OVER_POSITIONS,
    AT_OVER_ALL,
    AT_OVER_LEADING
} at_over;
#define AT_OVERS "rows|cols|positions|all|leading"
typedef enum at_reduction { AT_SUM, AT_MEAN, AT_SUM_SQUARES } at_reduction;
#define AT_REDUCE_KINDS "sum|mean|sum_squares"

/* y = acc + reduction of x */
typedef struct at_reduce_args {
    at_view y;   /* (C), (R), (B, C), (1) or the last 'keep' axes; f32 (f64 for f64) */
    at_view x;   /* (B, ..., C) T */
    at_view acc; /* as y, opt */
    int kind;    /* at_reduction */
    int over;    /* at_over */
    int64_t keep;
} at_reduce_args;

/* The opposite: y of shape 'size' = scale * x laid over it by 'spread' (suffix, per_sample,
 * scalar) */
typedef struct at_broadcast_args {
    at_view y; /* size, in 'to' */
    at_view x; /* as binary's b */
    int64_t size[4];
    float scale; /* 0: 1 */
    int spread;  /* at_spread */
    int to;      /* AT_CAST_TYPES */
} at_broadcast_args;

/* --- moving ----------------------------------------------------------------------------------- */

/* y = x0 | x1 | x2 | x3 along 'axis' */
typedef struct at_concat_args {
    at_view y;
    at_view x0, x1, x2, x3; /* x2, x3 opt; any type, equal sizes but on the axis */
    int64_t axis;
} at_concat_args;

/* y = x[..., start : start + length, ...] along 'axis' */
typedef struct at_slice_args {
    at_view y, x;
    int64_t axis, start, length;
} at_slice_args;

/* dx = zeros of length 'full' along 'axis', dy put in at start */
typedef struct at_slice_bwd_args {
    at_view dx, dy;
    int64_t axis, start, full;
} at_slice_bwd_args;

/* axis i of y is axis order[i] of x */
typedef struct at_permute_args {
    at_view y, x;
    int64_t order[4];
} at_permute_args;

/* y = table[ids], rows; an id outside the table gives zeros */
typedef struct at_embedding_args {
    at_view y;     /* (..., C) type of the table, or y_dtype */
    at_view table; /* (V, C) */
    at_view ids;   /* (...) i32 */
    int y_dtype;   /* same|f32|bf16|f16 */
} at_embedding_args;

/* dtable = acc + rows of dy added up at their ids, in the order of the rows */
typedef struct at_embedding_bwd_args {
    at_view dtable; /* (V, C) f32 */
    at_view dy;     /* (..., C) T */
    at_view ids;    /* (...) i32 */
    at_view acc;    /* (V, C) f32 opt, may be dtable itself */
    int64_t vocabulary;
} at_embedding_bwd_args;

/* --- pictures --------------------------------------------------------------------------------- */

/* y(i, j) = x(floor(i * H / Ho), floor(j * W / Wo)) */
typedef struct at_upsample_nearest_args {
    at_view y, x; /* (B, Ho, Wo, C), (B, H, W, C) T */
    int64_t size[2];
} at_upsample_nearest_args;

typedef struct at_upsample_nearest_bwd_args {
    at_view dx, dy;  /* (B, H, W, C), (B, Ho, Wo, C) T */
    int64_t size[2]; /* H, W */
} at_upsample_nearest_bwd_args;

/* No padding; ceil: a last window that is cut off counts too */
typedef struct at_max_pool2d_args {
    at_view y, x; /* (B, Ho, Wo, C), (B, H, W, C) T */
    int64_t kernel[2], stride[2];
    int ceil; /* no|yes */
} at_max_pool2d_args;

/* The gradient goes to the first largest element of the window, in row order. */
typedef struct at_max_pool2d_bwd_args {
    at_view dx, x, dy;
    int64_t kernel[2], stride[2];
    int ceil;
} at_max_pool2d_bwd_args;

typedef struct at_avg_pool2d_args {
    at_view y, x; /* (B, Ho, Wo, C), (B, H, W, C) T */
    int64_t kernel[2], stride[2];
} at_avg_pool2d_args;

typedef struct at_avg_pool2d_bwd_args {
    at_view dx, dy;
    int64_t in_size[2], kernel[2], stride[2];
} at_avg_pool2d_bwd_args;

typedef enum at_filter { AT_BILINEAR, AT_BICUBIC, AT_LANCZOS, AT_BICUBIC_TORCH } at_filter;
#define AT_FILTERS "bilinear|bicubic|lanczos|bicubic_torch"
/* bilinear, bicubic, lanczos as Pillow resizes (antialiased; u8 in Pillow's fixed point, exactly);
 * bicubic_torch as interpolate(align_corners=False) does, without antialiasing */
typedef struct at_resize_args {
    at_view y, x; /* (B, Ho, Wo, C), (B, H, W, C) T or u8 */
    int64_t size[2];
    int filter; /* at_filter */
} at_resize_args;

/* y = (x * scale - mean[c]) / std[c] */
typedef struct at_image_to_tensor_args {
    at_view y;             /* (B, H, W, C) in 'to' */
    at_view x;             /* (B, H, W, C) u8 */
    float mean[4], std[4]; /* std 0: 1 */
    float scale;
    int to; /* AT_CAST_TYPES */
} at_image_to_tensor_args;

#define AT_ROUNDINGS "half_even|half_up|truncate"
/* y = round(clamp(x * scale + shift, 0, 255)) */
typedef struct at_tensor_to_image_args {
    at_view y; /* (B, H, W, C) u8 */
    at_view x; /* (B, H, W, C) T */
    float scale, shift;
    int rounding; /* AT_ROUNDINGS */
} at_tensor_to_image_args;

/* --- drawing ---------------------------------------------------------------------------------- */

/* w_i = exp(-ln(max_period) * i / (dim / 2 - shift)); y = sin(t w) | cos(t w), or cos first with
 * flip */
typedef struct at_timestep_embedding_args {
    at_view y; /* (R, dim) in 'to' */
    at_view t; /* (R) f32 */
    int64_t dim;
    float max_period, shift;
    int flip; /* no|yes */
    int to;   /* AT_CAST_TYPES */
} at_timestep_embedding_args;

/* Philox4x32-10 keyed by seed; element i of sample b depends on (seed, purpose, step, sample_b, i)
 * only. uniform is in [0, 1) with 24 bits; normal is Box-Muller of two such numbers. */
typedef struct at_random_args {
    at_view y;      /* (B, ...) of shape 'size', in 'to' */
    at_view key;    /* (3) i64: seed, purpose, step */
    at_view sample; /* (B) i64 */
    int64_t size[4];
    int kind; /* uniform|normal */
    int to;   /* AT_CAST_TYPES */
} at_random_args;

/* One sampler step for each of B rows, all coefficients per row in device memory:
 *   m  = guided ? uncond + guidance * (cond - uncond) : the only output
 *   x0 = k_x * x + k_m * m
 *   y  = c_x * x + c_0 * x0 + c_1 * h0 + c_2 * h1 + c_n * noise
 * coef columns: guidance, k_x, k_m, c_x, c_0, c_1, c_2, c_n. */
enum { AT_DIFFUSION_COEFS = 8 };
typedef struct at_diffusion_step_args {
    at_view y;      /* (B, ..., C) f32: the next latents */
    at_view x0;     /* (B, ..., C) f32 opt: the prediction, kept for multistep samplers */
    at_view x;      /* (B, ..., C) f32 */
    at_view cond;   /* (B, ..., C) T: the model's output */
    at_view uncond; /* (B, ..., C) T opt */
    at_view h0, h1; /* (B, ..., C) f32 opt: earlier predictions */
    at_view noise;  /* (B, ..., C) f32 opt */
    at_view coef;   /* (B, 8) f32 */
} at_diffusion_step_args;

/* y = index of the first largest element of each row */
typedef struct at_argmax_args {
    at_view y; /* (R) i32 */
    at_view x; /* (..., C) T */
} at_argmax_args;

/* Nucleus sampling: softmax(x / temperature), the top_k largest (0: all), of those the fewest whose
 * sum reaches top_p; then the first whose running sum, in falling order, exceeds u times their
 * total. */
typedef struct at_sample_top_args {
    at_view y; /* (R) i32 */
    at_view x; /* (R, C) T */
    at_view u; /* (R) f32 in [0, 1) */
    int64_t top_k;
    float top_p, temperature;
} at_sample_top_args;

/* --- learning --------------------------------------------------------------------------------- */

/* loss = mean over samples of weight_b * mean of f(x - target); f is the square, or with delta > 0
 * Huber's: d^2 / 2 inside delta, delta * (|d| - delta / 2) outside */
typedef struct at_mse_args {
    at_view loss;       /* (1) f32 */
    at_view per_sample; /* (B) f32 opt: mean of f for each sample, without its weight */
    at_view x, target;  /* (B, ..., C) T */
    at_view weight;     /* (B) f32 opt */
    float delta;
} at_mse_args;

typedef struct at_mse_bwd_args {
    at_view dx;        /* as x */
    at_view x, target; /* (B, ..., C) T */
    at_view weight;    /* (B) f32 opt */
    at_view dloss;     /* (1) f32 */
    float delta;
} at_mse_bwd_args;

/* loss = mean over rows with target != ignore of -(1 - s) log p[target] - s / C * sum log p */
typedef struct at_cross_entropy_args {
    at_view loss;   /* (1) f32 */
    at_view lse;    /* (R) f32 opt */
    at_view x;      /* (..., C) T */
    at_view target; /* (R) i32 */
    int64_t ignore;
    float smoothing;
} at_cross_entropy_args;

typedef struct at_cross_entropy_bwd_args {
    at_view dx;     /* (..., C) T */
    at_view x;      /* (..., C) T */
    at_view target; /* (R) i32 */
    at_view lse;    /* (R) f32 */
    at_view dloss;  /* (1) f32 */
    int64_t ignore;
    float smoothing;
} at_cross_entropy_bwd_args;

/* norm = sqrt(acc + sum of squares); acc is the sum of squares of other buckets */
typedef struct at_global_norm_args {
    at_view norm;        /* (1) f32 */
    at_view sum_squares; /* (1) f32 opt: to be another bucket's acc */
    at_view x;           /* (...) f32 or bf16 */
    at_view acc;         /* (1) f32 opt */
} at_global_norm_args;

/* factor = min(1, max_norm / (norm + 1e-6)); 0 and a raised flag when the norm is not finite */
typedef struct at_clip_factor_args {
    at_view factor; /* (1) f32 */
    at_view bad;    /* (1) i32: 1 when the norm is not finite */
    at_view norm;   /* (1) f32 */
    float max_norm;
} at_clip_factor_args;

/* Optimizers change w and their states in place; w_low is the same weights rounded for computing.
 * hyper (device memory): learning rate, 1 - beta1^t, 1 - beta2^t, gradient factor (clipping,
 * averaging). */
enum { AT_HYPER_LR, AT_HYPER_BIAS1, AT_HYPER_BIAS2, AT_HYPER_FACTOR, AT_HYPERS };

/* As torch's AdamW: w *= 1 - lr * decay; w -= lr * (m / bias1) / (sqrt(v / bias2) + eps) */
typedef struct at_adamw_args {
    at_view w, m, v; /* (...) f32, in place */
    at_view w_low;   /* (...) bf16 or f16, opt: rounded copy */
    at_view g;       /* (...) f32 or bf16 */
    at_view hyper;   /* (4) f32 */
    float beta1, beta2, eps, decay;
    int low; /* bf16|f16: type of w_low */
} at_adamw_args;

/* The same with states of one byte: blocks of 256 elements, m signed and v unsigned, both on a
 * quantile-free dynamic map scaled by the block's largest magnitude. */
enum { AT_STATE_BLOCK = 256 };
typedef struct at_adamw8bit_args {
    at_view w;                /* (n) f32, in place */
    at_view m, v;             /* (n) u8, in place */
    at_view m_scale, v_scale; /* (ceil(n / 256)) f32, in place */
    at_view w_low;            /* (n) opt */
    at_view g;                /* (n) f32 or bf16 */
    at_view hyper;            /* (4) f32 */
    float beta1, beta2, eps, decay;
    int low;
} at_adamw8bit_args;

/* u = sign(beta1 m + (1 - beta1) g); w -= lr * (u + decay * w); m = beta2 m + (1 - beta2) g */
typedef struct at_lion_args {
    at_view w, m;  /* (...) f32, in place */
    at_view w_low; /* opt */
    at_view g, hyper;
    float beta1, beta2, decay;
    int low;
} at_lion_args;

/* Adafactor for a matrix with factored second moments and no first moment, as transformers'
 * Adafactor with relative_step=False, scale_parameter=False: beta2_t comes as hyper[BIAS2]. */
typedef struct at_adafactor_args {
    at_view w;        /* (N, K) f32, in place */
    at_view row, col; /* (N), (K) f32, in place */
    at_view w_low;    /* opt */
    at_view g, hyper;
    float eps, clip, decay; /* eps added to g^2; clip: largest root mean square of an update */
    int low;
} at_adafactor_args;

/* e = decay * e + (1 - decay) * w, decay in device memory */
typedef struct at_ema_args {
    at_view e;     /* (...) f32, in place */
    at_view w;     /* (...) f32 */
    at_view decay; /* (1) f32 */
} at_ema_args;

#ifdef __cplusplus
}
#endif
#endif
