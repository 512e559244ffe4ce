/* geglu.c -- y = a * gelu(g), a and g side by side in the rows of x, and its gradient. */
#include <math.h>

#include "kernels/amax.h"
#include "kernels/shape.h"
#include "kernels/variants.h"

static const at_operand geglu_operands[] = {
    AT_OPERAND(geglu, y, AT_OUT, AT_BATCHED, AT_NONE),
    AT_OPERAND(geglu, y_amax, AT_OUT, AT_OPTIONAL, AT_F32),
    AT_OPERAND(geglu, x, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(geglu, y_scale, AT_IN, AT_OPTIONAL, AT_F32),
};

static at_status expect_pairs(const char *op, const at_view *x, at_error *err)
{
    AT_TRY(at_expect_float(op, "x", x, err));
    if (at_cols(x) % 2)
        return at_fail(err, AT_INVALID, "%s: rows of x have %lld elements, expected two halves", op,
                       (long long)at_cols(x));
    return AT_OK;
}

static at_status geglu_shape(void *args, at_error *err)
{
    at_geglu_args *a = args;
    AT_TRY(expect_pairs("geglu", &a->x, err));
    AT_TRY(at_expect_vector("geglu", "y_scale", &a->y_scale, 1, err));
    a->y = at_view_with_cols(&a->x, at_cols(&a->x) / 2);
    a->y.dtype = at_has(&a->y_scale) ? AT_F8 : a->x.dtype;
    a->y_amax = at_view_vector(AT_F32, 1);
    return AT_OK;
}

static double gelu(double x)
{
    return 0.5 * x * erfc(-x * M_SQRT1_2);
}

static double gelu_slope(double x)
{
    return 0.5 * erfc(-x * M_SQRT1_2) + x * exp(-0.5 * x * x) * 0.5 * M_2_SQRTPI * M_SQRT1_2;
}

static at_status geglu_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_geglu_args *a = args;
    double scale = at_has(&a->y_scale) ? at_get(&a->y_scale, 0, 0) : 1, amax = 0;
    (void)p, (void)l;
    int64_t rows = at_rows(&a->y), cols = at_cols(&a->y);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) {
            double y = at_get(&a->x, r, c) * gelu(at_get(&a->x, r, cols + c));
            amax = fabs(y) > amax ? fabs(y) : amax;
            at_set(&a->y, r, c, y / scale);
        }
    if (at_has(&a->y_amax))
        at_set(&a->y_amax, 0, 0, amax);
    return AT_OK;
}

static double geglu_flops(const void *args)
{
    const at_geglu_args *a = args;
    return 2 * (double)at_elements(&a->y);
}

/* --- gradient --------------------------------------------------------------------------------- */

static const at_operand geglu_bwd_operands[] = {
    AT_OPERAND(geglu_bwd, dx, AT_OUT, AT_BATCHED | AT_OVERLAY, AT_NONE),
    AT_OPERAND(geglu_bwd, x, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(geglu_bwd, dy, AT_IN, AT_BATCHED, AT_NONE),
};

static at_status geglu_bwd_shape(void *args, at_error *err)
{
    at_geglu_bwd_args *a = args;
    AT_TRY(expect_pairs("geglu_bwd", &a->x, err));
    at_view y = at_view_with_cols(&a->x, at_cols(&a->x) / 2);
    AT_TRY(at_expect_like("geglu_bwd", "dy", &a->dy, &y, err));
    AT_TRY(at_expect_float("geglu_bwd", "dy", &a->dy, err));
    a->dx = at_view_like(&a->x, a->x.dtype);
    return AT_OK;
}

static at_status geglu_bwd_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_geglu_bwd_args *a = args;
    (void)p, (void)l;
    int64_t rows = at_rows(&a->dy), cols = at_cols(&a->dy);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) {
            double x = at_get(&a->x, r, c), g = at_get(&a->x, r, cols + c);
            double dy = at_get(&a->dy, r, c);
            at_set(&a->dx, r, c, dy * gelu(g));
            at_set(&a->dx, r, cols + c, dy * x * gelu_slope(g));
        }
    return AT_OK;
}

static double geglu_bwd_flops(const void *args)
{
    const at_geglu_bwd_args *a = args;
    return 5 * (double)at_elements(&a->dy);
}

/* --- variants --------------------------------------------------------------------------------- */

static bool geglu_fits(const void *args)
{
    const at_geglu_args *a = args;
    return at_is_simd_type(a->x.dtype) && !at_has(&a->y_scale);
}

static bool geglu_bwd_fits(const void *args)
{
    const at_geglu_bwd_args *a = args;
    return at_is_simd_type(a->x.dtype) && a->dy.dtype == a->x.dtype;
}

AT_SIMD_DECLARE(at_geglu);
AT_CUDA_DECLARE(at_geglu);
static const at_variant geglu_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("geglu", at_geglu, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("geglu", at_geglu, AT_ROWS_INDEPENDENT, geglu_fits, at_amax_prepare, NULL),
    AT_REFERENCE("geglu", geglu_ref),
};
AT_DEFINE_OP(geglu, "y = a * gelu(g), x = a | g", geglu_operands, at_no_attrs, geglu_shape,
             geglu_flops, geglu_variants);

AT_SIMD_DECLARE(at_geglu_bwd);
AT_CUDA_DECLARE(at_geglu_bwd);
static const at_variant geglu_bwd_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("geglu_bwd", at_geglu_bwd, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("geglu_bwd", at_geglu_bwd, AT_ROWS_INDEPENDENT, geglu_bwd_fits, NULL, NULL),
    AT_REFERENCE("geglu_bwd", geglu_bwd_ref),
};
AT_DEFINE_OP(geglu_bwd, "dx = dy * gelu(g) | dy * a * gelu'(g)", geglu_bwd_operands, at_no_attrs,
             geglu_bwd_shape, geglu_bwd_flops, geglu_bwd_variants);
