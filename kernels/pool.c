/* pool.c -- the largest and the mean of windows, and their gradients. */
#include <math.h>

#include "kernels/shape.h"
#include "kernels/variants.h"

/* --- windows ---------------------------------------------------------------------------------- */

/* How many windows of 'kernel' positions, 'stride' apart, an axis of n positions has. With ceil,
 * one more that is cut off, as long as it still starts inside. */
static int64_t windows_of(int64_t n, int64_t kernel, int64_t stride, int ceil)
{
    if (n < kernel && !ceil)
        return 0;
    int64_t over = n - kernel + (ceil ? stride - 1 : 0);
    int64_t count = (over < 0 ? 0 : over / stride) + 1;
    return (count - 1) * stride >= n ? count - 1 : count;
}

/* The sizes of a picture of windows over one of sizes 'in'. */
static at_status windows_shape(const char *op, int64_t *out, const int64_t *in,
                               const int64_t *kernel, const int64_t *stride, int ceil,
                               at_error *err)
{
    for (int i = 0; i < 2; i++) {
        if (kernel[i] < 1 || stride[i] < 1)
            return at_fail(err, AT_INVALID,
                           "%s: kernel %lld x %lld with stride %lld x %lld, expected at least 1",
                           op, (long long)kernel[0], (long long)kernel[1], (long long)stride[0],
                           (long long)stride[1]);
        out[i] = windows_of(in[i], kernel[i], stride[i], ceil);
        if (out[i] < 1)
            return at_fail(err, AT_INVALID, "%s: a window of %lld x %lld does not fit %lld x %lld",
                           op, (long long)kernel[0], (long long)kernel[1], (long long)in[0],
                           (long long)in[1]);
    }
    return AT_OK;
}

/* The shape rule of both forward ops: y from x. */
static at_status pooled_shape(const char *op, at_view *y, const at_view *x, const int64_t *kernel,
                              const int64_t *stride, int ceil, at_error *err)
{
    int64_t out[2];
    AT_TRY(at_expect_rank(op, "x", x, 4, 4, err));
    AT_TRY(at_expect_float(op, "x", x, err));
    AT_TRY(windows_shape(op, out, x->size + 1, kernel, stride, ceil, err));
    *y = at_view_of(x->dtype, 4, (const int64_t[]){ x->size[0], out[0], out[1], x->size[3] });
    return AT_OK;
}

/* --- largest ---------------------------------------------------------------------------------- */

static const at_operand max_pool2d_operands[] = {
    AT_OPERAND(max_pool2d, y, AT_OUT, AT_BATCHED, AT_NONE),
    AT_OPERAND(max_pool2d, x, AT_IN, AT_BATCHED, AT_NONE),
};
static const at_attr max_pool2d_attrs[] = {
    AT_INTS(max_pool2d, kernel, 2),
    AT_INTS(max_pool2d, stride, 2),
    AT_ENUM(max_pool2d, ceil, "no|yes"),
};

static at_status max_pool2d_shape(void *args, at_error *err)
{
    at_max_pool2d_args *a = args;
    return pooled_shape("max_pool2d", &a->y, &a->x, a->kernel, a->stride, a->ceil, err);
}

/* Position in sample b, counted row by row, of the first largest element of channel c in the window
 * at (top, left). The first that is not a number beats all. */
static int64_t first_largest(const at_view *x, int64_t b, int64_t top, int64_t left,
                             const int64_t *kernel, int64_t c)
{
    int64_t H = x->size[1], W = x->size[2], best = top * W + left;
    for (int64_t h = top; h < top + kernel[0] && h < H; h++)
        for (int64_t w = left; w < left + kernel[1] && w < W; w++) {
            double v = at_get(x, b * H * W + h * W + w, c), u = at_get(x, b * H * W + best, c);
            if (v > u || (isnan(v) && !isnan(u)))
                best = h * W + w;
        }
    return best;
}

static at_status max_pool2d_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_max_pool2d_args *a = args;
    (void)p, (void)l;
    int64_t B = a->y.size[0], Ho = a->y.size[1], Wo = a->y.size[2], C = a->y.size[3];
    for (int64_t b = 0; b < B; b++)
        for (int64_t i = 0; i < Ho; i++)
            for (int64_t j = 0; j < Wo; j++)
                for (int64_t c = 0; c < C; c++) {
                    int64_t at =
                        first_largest(&a->x, b, i * a->stride[0], j * a->stride[1], a->kernel, c);
                    at_set(&a->y, (b * Ho + i) * Wo + j, c,
                           at_get(&a->x, b * a->x.size[1] * a->x.size[2] + at, c));
                }
    return AT_OK;
}

static const at_operand max_pool2d_bwd_operands[] = {
    AT_OPERAND(max_pool2d_bwd, dx, AT_OUT, AT_BATCHED, AT_NONE),
    AT_OPERAND(max_pool2d_bwd, x, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(max_pool2d_bwd, dy, AT_IN, AT_BATCHED, AT_NONE),
};
static const at_attr max_pool2d_bwd_attrs[] = {
    AT_INTS(max_pool2d_bwd, kernel, 2),
    AT_INTS(max_pool2d_bwd, stride, 2),
    AT_ENUM(max_pool2d_bwd, ceil, "no|yes"),
};

static at_status max_pool2d_bwd_shape(void *args, at_error *err)
{
    at_max_pool2d_bwd_args *a = args;
    at_view y;
    AT_TRY(pooled_shape("max_pool2d_bwd", &y, &a->x, a->kernel, a->stride, a->ceil, err));
    AT_TRY(at_expect_like("max_pool2d_bwd", "dy", &a->dy, &y, err));
    a->dx = at_view_like(&a->x, a->x.dtype);
    return AT_OK;
}

/* Sum of dy over the windows whose first largest element is (h, w). */
static double sum_of_won(const at_max_pool2d_bwd_args *a, int64_t b, int64_t h, int64_t w,
                         int64_t c)
{
    int64_t Ho = a->dy.size[1], Wo = a->dy.size[2];
    double sum = 0;
    for (int64_t i = 0; i < Ho; i++)
        for (int64_t j = 0; j < Wo; j++) {
            int64_t top = i * a->stride[0], left = j * a->stride[1];
            bool inside =
                h >= top && h < top + a->kernel[0] && w >= left && w < left + a->kernel[1];
            if (inside && first_largest(&a->x, b, top, left, a->kernel, c) == h * a->x.size[2] + w)
                sum += at_get(&a->dy, (b * Ho + i) * Wo + j, c);
        }
    return sum;
}

static at_status max_pool2d_bwd_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_max_pool2d_bwd_args *a = args;
    (void)p, (void)l;
    int64_t B = a->dx.size[0], H = a->dx.size[1], W = a->dx.size[2], C = a->dx.size[3];
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t w = 0; w < W; w++)
                for (int64_t c = 0; c < C; c++)
                    at_set(&a->dx, (b * H + h) * W + w, c, sum_of_won(a, b, h, w, c));
    return AT_OK;
}

/* --- mean ------------------------------------------------------------------------------------- */

static const at_operand avg_pool2d_operands[] = {
    AT_OPERAND(avg_pool2d, y, AT_OUT, AT_BATCHED, AT_NONE),
    AT_OPERAND(avg_pool2d, x, AT_IN, AT_BATCHED, AT_NONE),
};
static const at_attr avg_pool2d_attrs[] = {
    AT_INTS(avg_pool2d, kernel, 2),
    AT_INTS(avg_pool2d, stride, 2),
};

static at_status avg_pool2d_shape(void *args, at_error *err)
{
    at_avg_pool2d_args *a = args;
    return pooled_shape("avg_pool2d", &a->y, &a->x, a->kernel, a->stride, 0, err);
}

static at_status avg_pool2d_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_avg_pool2d_args *a = args;
    (void)p, (void)l;
    int64_t Ho = a->y.size[1], Wo = a->y.size[2], H = a->x.size[1], W = a->x.size[2];
    for (int64_t r = 0; r < at_rows(&a->y); r++)
        for (int64_t c = 0; c < a->y.size[3]; c++) {
            int64_t b = r / Wo / Ho, top = r / Wo % Ho * a->stride[0], left = r % Wo * a->stride[1];
            double sum = 0;
            for (int64_t h = top; h < top + a->kernel[0]; h++)
                for (int64_t w = left; w < left + a->kernel[1]; w++)
                    sum += at_get(&a->x, (b * H + h) * W + w, c);
            at_set(&a->y, r, c, sum / (double)(a->kernel[0] * a->kernel[1]));
        }
    return AT_OK;
}

static const at_operand avg_pool2d_bwd_operands[] = {
    AT_OPERAND(avg_pool2d_bwd, dx, AT_OUT, AT_BATCHED, AT_NONE),
    AT_OPERAND(avg_pool2d_bwd, dy, AT_IN, AT_BATCHED, AT_NONE),
};
static const at_attr avg_pool2d_bwd_attrs[] = {
    AT_INTS(avg_pool2d_bwd, in_size, 2),
    AT_INTS(avg_pool2d_bwd, kernel, 2),
    AT_INTS(avg_pool2d_bwd, stride, 2),
};

static at_status avg_pool2d_bwd_shape(void *args, at_error *err)
{
    at_avg_pool2d_bwd_args *a = args;
    int64_t out[2];
    AT_TRY(at_expect_rank("avg_pool2d_bwd", "dy", &a->dy, 4, 4, err));
    AT_TRY(at_expect_float("avg_pool2d_bwd", "dy", &a->dy, err));
    AT_TRY(windows_shape("avg_pool2d_bwd", out, a->in_size, a->kernel, a->stride, 0, err));
    const int64_t B = a->dy.size[0], C = a->dy.size[3];
    AT_TRY(at_expect_sizes("avg_pool2d_bwd", "dy", &a->dy, 4,
                           (const int64_t[]){ B, out[0], out[1], C }, err));
    a->dx = at_view_of(a->dy.dtype, 4, (const int64_t[]){ B, a->in_size[0], a->in_size[1], C });
    return AT_OK;
}

/* Sum of dy over the windows that hold (h, w). */
static double sum_of_held(const at_avg_pool2d_bwd_args *a, int64_t b, int64_t h, int64_t w,
                          int64_t c)
{
    int64_t Ho = a->dy.size[1], Wo = a->dy.size[2];
    double sum = 0;
    for (int64_t i = 0; i < Ho; i++)
        for (int64_t j = 0; j < Wo; j++) {
            int64_t top = i * a->stride[0], left = j * a->stride[1];
            if (h >= top && h < top + a->kernel[0] && w >= left && w < left + a->kernel[1])
                sum += at_get(&a->dy, (b * Ho + i) * Wo + j, c);
        }
    return sum;
}

static at_status avg_pool2d_bwd_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_avg_pool2d_bwd_args *a = args;
    (void)p, (void)l;
    int64_t H = a->dx.size[1], W = a->dx.size[2];
    double n = (double)(a->kernel[0] * a->kernel[1]);
    for (int64_t r = 0; r < at_rows(&a->dx); r++)
        for (int64_t c = 0; c < a->dx.size[3]; c++)
            at_set(&a->dx, r, c, sum_of_held(a, r / W / H, r / W % H, r % W, c) / n);
    return AT_OK;
}

/* --- variants --------------------------------------------------------------------------------- */

static double max_pool2d_flops(const void *args)
{
    const at_max_pool2d_args *a = args;
    return (double)at_elements(&a->y) * (double)(a->kernel[0] * a->kernel[1]);
}

static double avg_pool2d_flops(const void *args)
{
    const at_avg_pool2d_args *a = args;
    return (double)at_elements(&a->y) * (double)(a->kernel[0] * a->kernel[1]);
}

static bool max_pool2d_fits(const void *args)
{
    return at_is_simd_type(((const at_max_pool2d_args *)args)->x.dtype);
}

static bool max_pool2d_bwd_fits(const void *args)
{
    const at_max_pool2d_bwd_args *a = args;
    return at_is_simd_type(a->x.dtype) && a->dy.dtype == a->x.dtype;
}

static bool avg_pool2d_fits(const void *args)
{
    return at_is_simd_type(((const at_avg_pool2d_args *)args)->x.dtype);
}

static bool avg_pool2d_bwd_fits(const void *args)
{
    return at_is_simd_type(((const at_avg_pool2d_bwd_args *)args)->dy.dtype);
}

AT_SIMD_DECLARE(at_max_pool2d);
AT_CUDA_DECLARE(at_max_pool2d);
static const at_variant max_pool2d_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("max_pool2d", at_max_pool2d, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("max_pool2d", at_max_pool2d, AT_ROWS_INDEPENDENT, max_pool2d_fits, NULL, NULL),
    AT_REFERENCE("max_pool2d", max_pool2d_ref),
};
AT_DEFINE_OP(max_pool2d, "y = the largest of each window", max_pool2d_operands, max_pool2d_attrs,
             max_pool2d_shape, max_pool2d_flops, max_pool2d_variants);

AT_SIMD_DECLARE(at_max_pool2d_bwd);
AT_CUDA_DECLARE(at_max_pool2d_bwd);
static const at_variant max_pool2d_bwd_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("max_pool2d_bwd", at_max_pool2d_bwd, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("max_pool2d_bwd", at_max_pool2d_bwd, AT_ROWS_INDEPENDENT, max_pool2d_bwd_fits,
                     NULL, NULL),
    AT_REFERENCE("max_pool2d_bwd", max_pool2d_bwd_ref),
};
AT_DEFINE_OP(max_pool2d_bwd, "dx = dy at the first largest of each window", max_pool2d_bwd_operands,
             max_pool2d_bwd_attrs, max_pool2d_bwd_shape, NULL, max_pool2d_bwd_variants);

AT_SIMD_DECLARE(at_avg_pool2d);
AT_CUDA_DECLARE(at_avg_pool2d);
static const at_variant avg_pool2d_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("avg_pool2d", at_avg_pool2d, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("avg_pool2d", at_avg_pool2d, AT_ROWS_INDEPENDENT, avg_pool2d_fits, NULL, NULL),
    AT_REFERENCE("avg_pool2d", avg_pool2d_ref),
};
AT_DEFINE_OP(avg_pool2d, "y = the mean of each window", avg_pool2d_operands, avg_pool2d_attrs,
             avg_pool2d_shape, avg_pool2d_flops, avg_pool2d_variants);

AT_SIMD_DECLARE(at_avg_pool2d_bwd);
AT_CUDA_DECLARE(at_avg_pool2d_bwd);
static const at_variant avg_pool2d_bwd_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("avg_pool2d_bwd", at_avg_pool2d_bwd, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("avg_pool2d_bwd", at_avg_pool2d_bwd, AT_ROWS_INDEPENDENT, avg_pool2d_bwd_fits,
                     NULL, NULL),
    AT_REFERENCE("avg_pool2d_bwd", avg_pool2d_bwd_ref),
};
AT_DEFINE_OP(avg_pool2d_bwd, "dx = dy spread over each window", avg_pool2d_bwd_operands,
             avg_pool2d_bwd_attrs, avg_pool2d_bwd_shape, NULL, avg_pool2d_bwd_variants);
