/* global_norm.c -- the length of all gradients together, and the factor that clips it. */
#include <math.h>

#include "kernels/shape.h"
#include "kernels/sums.h"
#include "kernels/variants.h"

static const at_operand global_norm_operands[] = {
    AT_OPERAND(global_norm, norm, AT_OUT, 0, AT_F32),
    AT_OPERAND(global_norm, sum_squares, AT_OUT, AT_OPTIONAL, AT_F32),
    AT_OPERAND(global_norm, x, AT_IN, 0, AT_NONE),
    AT_OPERAND(global_norm, acc, AT_IN, AT_OPTIONAL, AT_F32),
};

static at_status global_norm_shape(void *args, at_error *err)
{
    at_global_norm_args *a = args;
    AT_TRY(at_expect_float("global_norm", "x", &a->x, err));
    AT_TRY(at_expect_vector("global_norm", "acc", &a->acc, 1, err));
    a->norm = at_view_vector(AT_F32, 1);
    a->sum_squares = at_view_vector(AT_F32, 1);
    return AT_OK;
}

static double global_norm_flops(const void *args)
{
    const at_global_norm_args *a = args;
    return 2 * (double)at_elements(&a->x);
}

static at_status global_norm_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_global_norm_args *a = args;
    (void)p, (void)l;
    int64_t rows = at_rows(&a->x), cols = at_cols(&a->x);
    double sum = at_has(&a->acc) ? at_get(&a->acc, 0, 0) : 0;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++)
            sum += at_get(&a->x, r, c) * at_get(&a->x, r, c);
    at_set(&a->norm, 0, 0, sqrt(sum));
    if (at_has(&a->sum_squares))
        at_set(&a->sum_squares, 0, 0, sum);
    return AT_OK;
}

static bool global_norm_fits(const void *args)
{
    const at_global_norm_args *a = args;
    return at_is_simd_type(a->x.dtype);
}

/* A place for the sum of each part. */
static at_status global_norm_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                     at_error *err)
{
    const at_global_norm_args *a = args;
    (void)in, (void)err;
    out->scratch_bytes = (size_t)at_sum_parts(at_elements(&a->x)) * sizeof(double);
    return AT_OK;
}

AT_SIMD_DECLARE(at_global_norm);
AT_CUDA_DECLARE(at_global_norm);
static const at_variant global_norm_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("global_norm", at_global_norm, AT_ROWS_INDEPENDENT, global_norm_prepare),
#endif
    AT_SIMD_VARIANTS("global_norm", at_global_norm, AT_ROWS_INDEPENDENT, global_norm_fits,
                     global_norm_prepare, NULL),
    AT_REFERENCE("global_norm", global_norm_ref),
};
AT_DEFINE_OP(global_norm, "norm = sqrt(acc + sum of x^2)", global_norm_operands, at_no_attrs,
             global_norm_shape, global_norm_flops, global_norm_variants);

/* --- clipping --------------------------------------------------------------------------------- */

static const at_operand clip_factor_operands[] = {
    AT_OPERAND(clip_factor, factor, AT_OUT, 0, AT_F32),
    AT_OPERAND(clip_factor, bad, AT_OUT, 0, AT_I32),
    AT_OPERAND(clip_factor, norm, AT_IN, 0, AT_F32),
};
static const at_attr clip_factor_attrs[] = {
    AT_FLOAT(clip_factor, max_norm),
};

static at_status clip_factor_shape(void *args, at_error *err)
{
    at_clip_factor_args *a = args;
    AT_TRY(at_expect_vector("clip_factor", "norm", &a->norm, 1, err));
    if (!(a->max_norm > 0))
        return at_fail(err, AT_INVALID, "clip_factor: max_norm is %g, expected more than 0",
                       (double)a->max_norm);
    a->factor = at_view_vector(AT_F32, 1);
    a->bad = at_view_vector(AT_I32, 1);
    return AT_OK;
}

static at_status clip_factor_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_clip_factor_args *a = args;
    (void)p, (void)l;
    double norm = at_get(&a->norm, 0, 0), factor = (double)a->max_norm / (norm + 1e-6);
    bool bad = !isfinite(norm);
    at_set(&a->factor, 0, 0, bad ? 0 : fmin(1, factor));
    at_set(&a->bad, 0, 0, bad);
    return AT_OK;
}

AT_CUDA_DECLARE(at_clip_factor);
/* One number: nothing to gain from vectors. */
static const at_variant clip_factor_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("clip_factor", at_clip_factor, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_REFERENCE("clip_factor", clip_factor_ref),
};
AT_DEFINE_OP(clip_factor, "factor = min(1, max_norm / norm), 0 when norm is not finite",
             clip_factor_operands, clip_factor_attrs, clip_factor_shape, NULL,
             clip_factor_variants);
