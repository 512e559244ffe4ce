/* softmax.c -- rows that sum to one: softmax; rows of length one: l2_normalize; and their
 * gradients. */
#include <math.h>

#include "kernels/shape.h"
#include "kernels/softmax.h"
#include "kernels/variants.h"

/* --- softmax ---------------------------------------------------------------------------------- */

static const at_operand softmax_operands[] = {
    AT_OPERAND(softmax, y, AT_OUT, AT_BATCHED | AT_OVERLAY, AT_NONE),
    AT_OPERAND(softmax, x, AT_IN, AT_BATCHED, AT_NONE),
};
static const at_attr softmax_attrs[] = { AT_FLOAT(softmax, scale) };

static at_status softmax_shape(void *args, at_error *err)
{
    at_softmax_args *a = args;
    AT_TRY(at_expect_float("softmax", "x", &a->x, err));
    a->y = at_view_like(&a->x, a->x.dtype);
    return AT_OK;
}

/* An exponential counts as one. */
static double softmax_flops(const void *args)
{
    return 5 * (double)at_elements(&((const at_softmax_args *)args)->x);
}

static at_status softmax_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_softmax_args *a = args;
    (void)p, (void)l;
    double scale = a->scale != 0 ? (double)a->scale : 1;
    int64_t cols = at_cols(&a->x);
    for (int64_t r = 0; r < at_rows(&a->x); r++) {
        double top = -INFINITY, sum = 0;
        for (int64_t c = 0; c < cols; c++)
            top = fmax(top, scale * at_get(&a->x, r, c));
        for (int64_t c = 0; c < cols; c++)
            sum += exp(scale * at_get(&a->x, r, c) - top);
        for (int64_t c = 0; c < cols; c++)
            at_set(&a->y, r, c, exp(scale * at_get(&a->x, r, c) - top) / sum);
    }
    return AT_OK;
}

static bool softmax_fits(const void *args)
{
    return at_is_simd_type(((const at_softmax_args *)args)->x.dtype);
}

static at_status softmax_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                 at_error *err)
{
    (void)err;
    size_t row = at_softmax_row_bytes(&((const at_softmax_args *)args)->x);
    out->scratch_bytes = row * (size_t)(in->caps->threads > 1 ? in->caps->threads : 1);
    return AT_OK;
}

AT_SIMD_DECLARE(at_softmax);
AT_CUDA_DECLARE(at_softmax);
static const at_variant softmax_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("softmax", at_softmax, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("softmax", at_softmax, AT_ROWS_INDEPENDENT, softmax_fits, softmax_prepare,
                     NULL),
    AT_REFERENCE("softmax", softmax_ref),
};
AT_DEFINE_OP(softmax, "y = softmax(scale * x), by rows", softmax_operands, softmax_attrs,
             softmax_shape, softmax_flops, softmax_variants);

/* --- softmax_bwd ------------------------------------------------------------------------------ */

static const at_operand softmax_bwd_operands[] = {
    AT_OPERAND(softmax_bwd, dx, AT_OUT, AT_BATCHED | AT_OVERLAY, AT_NONE),
    AT_OPERAND(softmax_bwd, y, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(softmax_bwd, dy, AT_IN, AT_BATCHED, AT_NONE),
};
static const at_attr softmax_bwd_attrs[] = { AT_FLOAT(softmax_bwd, scale) };

static at_status softmax_bwd_shape(void *args, at_error *err)
{
    at_softmax_bwd_args *a = args;
    AT_TRY(at_expect_float("softmax_bwd", "y", &a->y, err));
    AT_TRY(at_expect_float("softmax_bwd", "dy", &a->dy, err));
    AT_TRY(at_expect_like("softmax_bwd", "dy", &a->dy, &a->y, err));
    a->dx = at_view_like(&a->y, a->y.dtype);
    return AT_OK;
}

static double softmax_bwd_flops(const void *args)
{
    return 5 * (double)at_elements(&((const at_softmax_bwd_args *)args)->y);
}

/* dx = scale * y * (dy - sum of y dy) */
static at_status softmax_bwd_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_softmax_bwd_args *a = args;
    (void)p, (void)l;
    double scale = a->scale != 0 ? (double)a->scale : 1;
    int64_t cols = at_cols(&a->y);
    for (int64_t r = 0; r < at_rows(&a->y); r++) {
        double dot = 0;
        for (int64_t c = 0; c < cols; c++)
            dot += at_get(&a->y, r, c) * at_get(&a->dy, r, c);
        for (int64_t c = 0; c < cols; c++)
            at_set(&a->dx, r, c, scale * at_get(&a->y, r, c) * (at_get(&a->dy, r, c) - dot));
    }
    return AT_OK;
}

static bool softmax_bwd_fits(const void *args)
{
    const at_softmax_bwd_args *a = args;
    return at_is_simd_type(a->y.dtype) && a->dy.dtype == a->y.dtype;
}

AT_SIMD_DECLARE(at_softmax_bwd);
AT_CUDA_DECLARE(at_softmax_bwd);
static const at_variant softmax_bwd_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("softmax_bwd", at_softmax_bwd, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("softmax_bwd", at_softmax_bwd, AT_ROWS_INDEPENDENT, softmax_bwd_fits, NULL,
                     NULL),
    AT_REFERENCE("softmax_bwd", softmax_bwd_ref),
};
AT_DEFINE_OP(softmax_bwd, "dx = scale * y * (dy - sum of y dy), by rows", softmax_bwd_operands,
             softmax_bwd_attrs, softmax_bwd_shape, softmax_bwd_flops, softmax_bwd_variants);

/* --- l2_normalize ----------------------------------------------------------------------------- */

static const at_operand l2_normalize_operands[] = {
    AT_OPERAND(l2_normalize, y, AT_OUT, AT_BATCHED | AT_OVERLAY, AT_NONE),
    AT_OPERAND(l2_normalize, x, AT_IN, AT_BATCHED, AT_NONE),
};
static const at_attr l2_normalize_attrs[] = { AT_FLOAT(l2_normalize, eps) };

static at_status l2_normalize_shape(void *args, at_error *err)
{
    at_l2_normalize_args *a = args;
    AT_TRY(at_expect_float("l2_normalize", "x", &a->x, err));
    a->y = at_view_like(&a->x, a->x.dtype);
    return AT_OK;
}

static double l2_normalize_flops(const void *args)
{
    return 3 * (double)at_elements(&((const at_l2_normalize_args *)args)->x);
}

static double row_length(const at_view *x, int64_t r)
{
    double squares = 0;
    for (int64_t c = 0; c < at_cols(x); c++)
        squares += at_get(x, r, c) * at_get(x, r, c);
    return sqrt(squares);
}

static at_status l2_normalize_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_l2_normalize_args *a = args;
    (void)p, (void)l;
    for (int64_t r = 0; r < at_rows(&a->x); r++) {
        double length = fmax(row_length(&a->x, r), (double)a->eps);
        for (int64_t c = 0; c < at_cols(&a->x); c++)
            at_set(&a->y, r, c, at_get(&a->x, r, c) / length);
    }
    return AT_OK;
}

static bool l2_normalize_fits(const void *args)
{
    return at_is_simd_type(((const at_l2_normalize_args *)args)->x.dtype);
}

AT_SIMD_DECLARE(at_l2_normalize);
AT_CUDA_DECLARE(at_l2_normalize);
static const at_variant l2_normalize_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("l2_normalize", at_l2_normalize, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("l2_normalize", at_l2_normalize, AT_ROWS_INDEPENDENT, l2_normalize_fits, NULL,
                     NULL),
    AT_REFERENCE("l2_normalize", l2_normalize_ref),
};
AT_DEFINE_OP(l2_normalize, "y = x / max(|x|, eps), by rows", l2_normalize_operands,
             l2_normalize_attrs, l2_normalize_shape, l2_normalize_flops, l2_normalize_variants);

/* --- l2_normalize_bwd ------------------------------------------------------------------------- */

static const at_operand l2_normalize_bwd_operands[] = {
    AT_OPERAND(l2_normalize_bwd, dx, AT_OUT, AT_BATCHED | AT_OVERLAY, AT_NONE),
    AT_OPERAND(l2_normalize_bwd, x, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(l2_normalize_bwd, dy, AT_IN, AT_BATCHED, AT_NONE),
};
static const at_attr l2_normalize_bwd_attrs[] = { AT_FLOAT(l2_normalize_bwd, eps) };

static at_status l2_normalize_bwd_shape(void *args, at_error *err)
{
    at_l2_normalize_bwd_args *a = args;
    AT_TRY(at_expect_float("l2_normalize_bwd", "x", &a->x, err));
    AT_TRY(at_expect_float("l2_normalize_bwd", "dy", &a->dy, err));
    AT_TRY(at_expect_like("l2_normalize_bwd", "dy", &a->dy, &a->x, err));
    a->dx = at_view_like(&a->x, a->x.dtype);
    return AT_OK;
}

static double l2_normalize_bwd_flops(const void *args)
{
    return 7 * (double)at_elements(&((const at_l2_normalize_bwd_args *)args)->x);
}

/* dx = (dy - y * sum of y dy) / |x|; a row shorter than eps was only scaled: dx = dy / eps. */
static at_status l2_normalize_bwd_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_l2_normalize_bwd_args *a = args;
    (void)p, (void)l;
    int64_t cols = at_cols(&a->x);
    double eps = (double)a->eps;
    for (int64_t r = 0; r < at_rows(&a->x); r++) {
        double length = row_length(&a->x, r), along = 0;
        for (int64_t c = 0; c < cols && length >= eps; c++)
            along += at_get(&a->x, r, c) * at_get(&a->dy, r, c) / (length * length);
        for (int64_t c = 0; c < cols; c++) {
            double d = at_get(&a->dy, r, c) - along * at_get(&a->x, r, c);
            at_set(&a->dx, r, c, d / fmax(length, eps));
        }
    }
    return AT_OK;
}

static bool l2_normalize_bwd_fits(const void *args)
{
    const at_l2_normalize_bwd_args *a = args;
    return at_is_simd_type(a->x.dtype) && a->dy.dtype == a->x.dtype;
}

AT_SIMD_DECLARE(at_l2_normalize_bwd);
AT_CUDA_DECLARE(at_l2_normalize_bwd);
static const at_variant l2_normalize_bwd_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("l2_normalize_bwd", at_l2_normalize_bwd, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("l2_normalize_bwd", at_l2_normalize_bwd, AT_ROWS_INDEPENDENT,
                     l2_normalize_bwd_fits, NULL, NULL),
    AT_REFERENCE("l2_normalize_bwd", l2_normalize_bwd_ref),
};
AT_DEFINE_OP(l2_normalize_bwd, "gradient of l2_normalize by x", l2_normalize_bwd_operands,
             l2_normalize_bwd_attrs, l2_normalize_bwd_shape, l2_normalize_bwd_flops,
             l2_normalize_bwd_variants);
