/* mse.c -- mean squared error and Huber's, weighted sample by sample, and their gradient. */
#include <math.h>

#include "kernels/shape.h"
#include "kernels/sums.h"
#include "kernels/variants.h"

static const at_operand mse_operands[] = {
    AT_OPERAND(mse, loss, AT_OUT, 0, AT_F32),
    AT_OPERAND(mse, per_sample, AT_OUT, AT_BATCHED | AT_OPTIONAL, AT_F32),
    AT_OPERAND(mse, x, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(mse, target, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(mse, weight, AT_IN, AT_BATCHED | AT_OPTIONAL, AT_F32),
};
static const at_attr mse_attrs[] = {
    AT_FLOAT(mse, delta),
};

static at_status check_mse(const char *op, const at_view *x, const at_view *target,
                           const at_view *weight, float delta, at_error *err)
{
    AT_TRY(at_expect_float(op, "x", x, err));
    AT_TRY(at_expect_rank(op, "x", x, 2, AT_RANK_MAX, err));
    AT_TRY(at_expect_like(op, "target", target, x, err));
    AT_TRY(at_expect_vector(op, "weight", weight, x->size[0], err));
    if (target->dtype != x->dtype)
        return at_fail(err, AT_INVALID, "%s: target is %s, expected %s as x", op,
                       at_dtype_name(target->dtype), at_dtype_name(x->dtype));
    if (!(delta >= 0))
        return at_fail(err, AT_INVALID, "%s: delta is %g, expected at least 0", op, (double)delta);
    return AT_OK;
}

static at_status mse_shape(void *args, at_error *err)
{
    at_mse_args *a = args;
    AT_TRY(check_mse("mse", &a->x, &a->target, &a->weight, a->delta, err));
    a->loss = at_view_vector(at_wide(a->x.dtype), 1);
    a->per_sample = at_view_vector(at_wide(a->x.dtype), a->x.size[0]);
    return AT_OK;
}

static double mse_flops(const void *args)
{
    const at_mse_args *a = args;
    return 3 * (double)at_elements(&a->x);
}

/* --- reference -------------------------------------------------------------------------------- */

static double penalty(double d, double delta)
{
    if (delta <= 0)
        return d * d;
    return fabs(d) <= delta ? d * d / 2 : delta * (fabs(d) - delta / 2);
}

static double penalty_slope(double d, double delta)
{
    if (delta <= 0)
        return 2 * d;
    return d < -delta ? -delta : d > delta ? delta : d;
}

static at_status mse_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_mse_args *a = args;
    (void)p, (void)l;
    int64_t samples = a->x.size[0], rows = at_rows(&a->x), cols = at_cols(&a->x);
    int64_t rows_each = rows / samples;
    double loss = 0;
    for (int64_t b = 0; b < samples; b++) {
        double sum = 0;
        for (int64_t r = b * rows_each; r < (b + 1) * rows_each; r++)
            for (int64_t c = 0; c < cols; c++) {
                double d = at_get(&a->x, r, c) - at_get(&a->target, r, c);
                sum += penalty(d, (double)a->delta);
            }
        double mean = sum / (double)(rows_each * cols);
        if (at_has(&a->per_sample))
            at_set(&a->per_sample, 0, b, mean);
        loss += (at_has(&a->weight) ? at_get(&a->weight, 0, b) : 1) * mean;
    }
    at_set(&a->loss, 0, 0, loss / (double)samples);
    return AT_OK;
}

/* --- gradient --------------------------------------------------------------------------------- */

/* A sample's gradient depends on how many samples the mean is over, so nothing here is
 * AT_BATCHED. */
static const at_operand mse_bwd_operands[] = {
    AT_OPERAND(mse_bwd, dx, AT_OUT, AT_OVERLAY, AT_NONE),
    AT_OPERAND(mse_bwd, x, AT_IN, 0, AT_NONE),
    AT_OPERAND(mse_bwd, target, AT_IN, 0, AT_NONE),
    AT_OPERAND(mse_bwd, weight, AT_IN, AT_OPTIONAL, AT_F32),
    AT_OPERAND(mse_bwd, dloss, AT_IN, 0, AT_NONE), /* f32, or f64 beside f64 */
};
static const at_attr mse_bwd_attrs[] = {
    AT_FLOAT(mse_bwd, delta),
};

static at_status mse_bwd_shape(void *args, at_error *err)
{
    at_mse_bwd_args *a = args;
    AT_TRY(check_mse("mse_bwd", &a->x, &a->target, &a->weight, a->delta, err));
    AT_TRY(at_expect_vector("mse_bwd", "dloss", &a->dloss, 1, err));
    AT_TRY(at_expect_wide("mse_bwd", "dloss", &a->dloss, err));
    a->dx = at_view_like(&a->x, a->x.dtype);
    return AT_OK;
}

static at_status mse_bwd_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_mse_bwd_args *a = args;
    (void)p, (void)l;
    int64_t samples = a->x.size[0], rows = at_rows(&a->x), cols = at_cols(&a->x);
    double share = at_get(&a->dloss, 0, 0) / (double)(rows * cols);
    for (int64_t r = 0; r < rows; r++) {
        int64_t b = r / (rows / samples);
        double weight = at_has(&a->weight) ? at_get(&a->weight, 0, b) : 1;
        for (int64_t c = 0; c < cols; c++) {
            double d = at_get(&a->x, r, c) - at_get(&a->target, r, c);
            at_set(&a->dx, r, c, share * weight * penalty_slope(d, (double)a->delta));
        }
    }
    return AT_OK;
}

/* --- variants --------------------------------------------------------------------------------- */

static bool mse_fits(const void *args)
{
    const at_mse_args *a = args;
    return at_is_simd_type(a->x.dtype);
}

/* A place for the sum of each part of each sample. */
static at_status mse_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                             at_error *err)
{
    const at_mse_args *a = args;
    int64_t samples = a->x.size[0];
    (void)in, (void)err;
    out->scratch_bytes =
        (size_t)(samples * at_sum_parts(at_elements(&a->x) / samples)) * sizeof(double);
    return AT_OK;
}

static bool mse_bwd_fits(const void *args)
{
    const at_mse_bwd_args *a = args;
    return at_is_simd_type(a->x.dtype) && a->dloss.dtype == AT_F32;
}

AT_SIMD_DECLARE(at_mse);
AT_CUDA_DECLARE(at_mse);
static const at_variant mse_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("mse", at_mse, AT_ROWS_INDEPENDENT, mse_prepare),
#endif
    AT_SIMD_VARIANTS("mse", at_mse, AT_ROWS_INDEPENDENT, mse_fits, mse_prepare, NULL),
    AT_REFERENCE("mse", mse_ref),
};
AT_DEFINE_OP(mse, "loss = mean of weight * mean of (x - target)^2, or of Huber's penalty",
             mse_operands, mse_attrs, mse_shape, mse_flops, mse_variants);

AT_SIMD_DECLARE(at_mse_bwd);
AT_CUDA_DECLARE(at_mse_bwd);
static const at_variant mse_bwd_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("mse_bwd", at_mse_bwd, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("mse_bwd", at_mse_bwd, AT_ROWS_INDEPENDENT, mse_bwd_fits, NULL, NULL),
    AT_REFERENCE("mse_bwd", mse_bwd_ref),
};
AT_DEFINE_OP(mse_bwd, "dx = gradient of mse by x", mse_bwd_operands, mse_bwd_attrs, mse_bwd_shape,
             NULL, mse_bwd_variants);
