/* layer_norm.c -- normalisation of every row, and its gradient. */
#include <math.h>

#include "kernels/layer_norm.h"
#include "kernels/shape.h"
#include "kernels/variants.h"

static const at_operand layer_norm_operands[] = {
    AT_OPERAND(layer_norm, y, AT_OUT, AT_BATCHED | AT_OVERLAY, AT_NONE),
    AT_OPERAND(layer_norm, mean, AT_OUT, AT_BATCHED | AT_OPTIONAL, AT_NONE),
    AT_OPERAND(layer_norm, rstd, AT_OUT, AT_BATCHED | AT_OPTIONAL, AT_NONE),
    AT_OPERAND(layer_norm, y_amax, AT_OUT, AT_OPTIONAL, AT_NONE),
    AT_OPERAND(layer_norm, x, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(layer_norm, gamma, AT_IN, AT_OPTIONAL | AT_WEIGHT, AT_NONE),
    AT_OPERAND(layer_norm, beta, AT_IN, AT_OPTIONAL | AT_WEIGHT, AT_NONE),
    AT_OPERAND(layer_norm, y_scale, AT_IN, AT_OPTIONAL, AT_F32),
};
static const at_attr layer_norm_attrs[] = { AT_FLOAT(layer_norm, eps) };

static at_status layer_norm_shape(void *args, at_error *err)
{
    static const char op[] = "layer_norm";
    at_layer_norm_args *a = args;
    AT_TRY(at_expect_float(op, "x", &a->x, err));
    AT_TRY(at_expect_float(op, "gamma", &a->gamma, err));
    AT_TRY(at_expect_vector(op, "gamma", &a->gamma, at_cols(&a->x), err));
    AT_TRY(at_expect_float(op, "beta", &a->beta, err));
    AT_TRY(at_expect_vector(op, "beta", &a->beta, at_cols(&a->x), err));
    AT_TRY(at_expect_vector(op, "y_scale", &a->y_scale, 1, err));
    at_dtype wide = at_wide(a->x.dtype);
    a->y = at_view_like(&a->x, at_has(&a->y_scale) ? AT_F8 : a->x.dtype);
    a->mean = at_view_vector(wide, at_rows(&a->x));
    a->rstd = a->mean;
    a->y_amax = at_view_vector(wide, 1);
    return AT_OK;
}

static double layer_norm_flops(const void *args)
{
    return 7 * (double)at_elements(&((const at_layer_norm_args *)args)->x);
}

/* --- reference -------------------------------------------------------------------------------- */

static double get_or(const at_view *v, int64_t c, double otherwise)
{
    return at_has(v) ? at_get(v, 0, c) : otherwise;
}

static void set_if(const at_view *v, int64_t c, double value)
{
    if (at_has(v))
        at_set(v, 0, c, value);
}

static at_status layer_norm_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_layer_norm_args *a = args;
    (void)p, (void)l;
    int64_t cols = at_cols(&a->x);
    double scale = get_or(&a->y_scale, 0, 1), top = 0;
    for (int64_t r = 0; r < at_rows(&a->x); r++) {
        double sum = 0, squares = 0;
        for (int64_t c = 0; c < cols; c++)
            sum += at_get(&a->x, r, c);
        double mean = sum / (double)cols;
        for (int64_t c = 0; c < cols; c++) {
            double d = at_get(&a->x, r, c) - mean;
            squares += d * d;
        }
        double rstd = 1 / sqrt(squares / (double)cols + (double)a->eps);
        set_if(&a->mean, r, mean);
        set_if(&a->rstd, r, rstd);
        for (int64_t c = 0; c < cols; c++) {
            double y = (at_get(&a->x, r, c) - mean) * rstd * get_or(&a->gamma, c, 1);
            y += get_or(&a->beta, c, 0);
            top = fmax(top, fabs(y));
            at_set(&a->y, r, c, y / scale);
        }
    }
    set_if(&a->y_amax, 0, top);
    return AT_OK;
}

/* --- gradient --------------------------------------------------------------------------------- */

static const at_operand layer_norm_bwd_operands[] = {
    AT_OPERAND(layer_norm_bwd, dx, AT_OUT, AT_BATCHED | AT_OVERLAY, AT_NONE),
    AT_OPERAND(layer_norm_bwd, dgamma, AT_OUT, AT_OPTIONAL, AT_NONE),
    AT_OPERAND(layer_norm_bwd, dbeta, AT_OUT, AT_OPTIONAL, AT_NONE),
    AT_OPERAND(layer_norm_bwd, dy, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(layer_norm_bwd, x, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(layer_norm_bwd, gamma, AT_IN, AT_OPTIONAL | AT_WEIGHT, AT_NONE),
    AT_OPERAND(layer_norm_bwd, mean, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(layer_norm_bwd, rstd, AT_IN, AT_BATCHED, AT_NONE),
};

static at_status layer_norm_bwd_shape(void *args, at_error *err)
{
    static const char op[] = "layer_norm_bwd";
    at_layer_norm_bwd_args *a = args;
    AT_TRY(at_expect_float(op, "x", &a->x, err));
    AT_TRY(at_expect_float(op, "dy", &a->dy, err));
    AT_TRY(at_expect_like(op, "dy", &a->dy, &a->x, err));
    AT_TRY(at_expect_float(op, "gamma", &a->gamma, err));
    AT_TRY(at_expect_vector(op, "gamma", &a->gamma, at_cols(&a->x), err));
    AT_TRY(at_expect_wide(op, "mean", &a->mean, err));
    AT_TRY(at_expect_vector(op, "mean", &a->mean, at_rows(&a->x), err));
    AT_TRY(at_expect_wide(op, "rstd", &a->rstd, err));
    AT_TRY(at_expect_vector(op, "rstd", &a->rstd, at_rows(&a->x), err));
    a->dx = at_view_like(&a->x, a->x.dtype);
    a->dgamma = at_view_vector(at_wide(a->x.dtype), at_cols(&a->x));
    a->dbeta = a->dgamma;
    return AT_OK;
}

static double layer_norm_bwd_flops(const void *args)
{
    return 13 * (double)at_elements(&((const at_layer_norm_bwd_args *)args)->x);
}

static double xhat_at(const at_layer_norm_bwd_args *a, int64_t r, int64_t c)
{
    return (at_get(&a->x, r, c) - at_get(&a->mean, 0, r)) * at_get(&a->rstd, 0, r);
}

/* dx = rstd * (g - mean of g - xhat * mean of g xhat), g = dy * gamma, means over the row. */
static at_status layer_norm_bwd_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_layer_norm_bwd_args *a = args;
    (void)p, (void)l;
    int64_t rows = at_rows(&a->x), cols = at_cols(&a->x);
    for (int64_t c = 0; c < cols; c++) {
        double dgamma = 0, dbeta = 0;
        for (int64_t r = 0; r < rows; r++) {
            dgamma += at_get(&a->dy, r, c) * xhat_at(a, r, c);
            dbeta += at_get(&a->dy, r, c);
        }
        set_if(&a->dgamma, c, dgamma);
        set_if(&a->dbeta, c, dbeta);
    }
    /* Last, because dx may lie over dy. */
    for (int64_t r = 0; r < rows; r++) {
        double mean = 0, slope = 0;
        for (int64_t c = 0; c < cols; c++) {
            double g = at_get(&a->dy, r, c) * get_or(&a->gamma, c, 1);
            mean += g / (double)cols;
            slope += g * xhat_at(a, r, c) / (double)cols;
        }
        for (int64_t c = 0; c < cols; c++) {
            double g = at_get(&a->dy, r, c) * get_or(&a->gamma, c, 1);
            at_set(&a->dx, r, c, at_get(&a->rstd, 0, r) * (g - mean - xhat_at(a, r, c) * slope));
        }
    }
    return AT_OK;
}

/* --- variants --------------------------------------------------------------------------------- */

static bool layer_norm_fits(const void *args)
{
    const at_layer_norm_args *a = args;
    return at_is_simd_type(a->x.dtype) && a->y.dtype == a->x.dtype;
}

static bool layer_norm_bwd_fits(const void *args)
{
    const at_layer_norm_bwd_args *a = args;
    return at_is_simd_type(a->x.dtype) && a->dy.dtype == a->x.dtype;
}

static at_status layer_norm_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                    at_error *err)
{
    (void)in, (void)err;
    out->scratch_bytes = at_layer_norm_places_of(&((const at_layer_norm_args *)args)->x, false).end;
    return AT_OK;
}

static at_status layer_norm_bwd_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                        at_error *err)
{
    (void)in, (void)err;
    out->scratch_bytes =
        at_layer_norm_places_of(&((const at_layer_norm_bwd_args *)args)->x, true).end;
    return AT_OK;
}

AT_SIMD_DECLARE(at_layer_norm);
AT_CUDA_DECLARE(at_layer_norm);
static const at_variant layer_norm_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("layer_norm", at_layer_norm, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("layer_norm", at_layer_norm, AT_ROWS_INDEPENDENT, layer_norm_fits,
                     layer_norm_prepare, NULL),
    AT_REFERENCE("layer_norm", layer_norm_ref),
};
AT_DEFINE_OP(layer_norm, "y = (x - mean) * rstd * gamma + beta, by rows", layer_norm_operands,
             layer_norm_attrs, layer_norm_shape, layer_norm_flops, layer_norm_variants);

AT_SIMD_DECLARE(at_layer_norm_bwd);
AT_CUDA_DECLARE(at_layer_norm_bwd);
at_status at_layer_norm_bwd_cuda_prepare(const void *args, const at_prepare_in *in,
                                         at_prepared *out, at_error *err);
static const at_variant layer_norm_bwd_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("layer_norm_bwd", at_layer_norm_bwd, AT_ROWS_INDEPENDENT,
                    at_layer_norm_bwd_cuda_prepare),
#endif
    AT_SIMD_VARIANTS("layer_norm_bwd", at_layer_norm_bwd, AT_ROWS_INDEPENDENT, layer_norm_bwd_fits,
                     layer_norm_bwd_prepare, NULL),
    AT_REFERENCE("layer_norm_bwd", layer_norm_bwd_ref),
};
AT_DEFINE_OP(layer_norm_bwd, "gradients of layer_norm by x, gamma, beta", layer_norm_bwd_operands,
             at_no_attrs, layer_norm_bwd_shape, layer_norm_bwd_flops, layer_norm_bwd_variants);
