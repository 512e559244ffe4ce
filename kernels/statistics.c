/* statistics.c -- mean and deviation of every channel of a sample, and AdaIN, which puts a
 * picture's on another's. */
#include <math.h>

#include "kernels/channels.h"
#include "kernels/shape.h"
#include "kernels/variants.h"

static at_status check_statistic(const char *op, const char *name, const at_view *v,
                                 const at_view *x, at_error *err)
{
    AT_TRY(at_expect_wide(op, name, v, err));
    return at_expect_sizes(op, name, v, 2, (int64_t[]){ x->size[0], at_cols(x) }, err);
}

static int64_t positions_of(const at_view *x)
{
    return at_rows(x) / x->size[0];
}

static at_status check_picture(const char *op, const at_view *x, int unbiased, at_error *err)
{
    AT_TRY(at_expect_float(op, "x", x, err));
    AT_TRY(at_expect_rank(op, "x", x, 2, AT_RANK_MAX, err));
    if (unbiased && positions_of(x) < 2)
        return at_fail(err, AT_INVALID, "%s: unbiased needs at least 2 positions in x, found 1",
                       op);
    return AT_OK;
}

static at_status book(const at_view *x, at_channels_way way, at_prepared *out)
{
    at_channels_cut cut = at_channels_cut_of(x, 1, way);
    out->scratch_bytes = at_channels_scratch(&cut, way);
    return AT_OK;
}

/* --- mean_std --------------------------------------------------------------------------------- */

static const at_operand mean_std_operands[] = {
    AT_OPERAND(mean_std, mean, AT_OUT, AT_BATCHED, AT_NONE),
    AT_OPERAND(mean_std, std, AT_OUT, AT_BATCHED, AT_NONE),
    AT_OPERAND(mean_std, x, AT_IN, AT_BATCHED, AT_NONE),
};
static const at_attr mean_std_attrs[] = {
    AT_FLOAT(mean_std, eps),
    AT_ENUM(mean_std, unbiased, "no|yes"),
};

static at_status mean_std_shape(void *args, at_error *err)
{
    at_mean_std_args *a = args;
    AT_TRY(check_picture("mean_std", &a->x, a->unbiased, err));
    a->mean = at_view_matrix(at_wide(a->x.dtype), a->x.size[0], at_cols(&a->x));
    a->std = a->mean;
    return AT_OK;
}

static double mean_std_flops(const void *args)
{
    return 3 * (double)at_elements(&((const at_mean_std_args *)args)->x);
}

static at_status mean_std_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_mean_std_args *a = args;
    (void)p, (void)l;
    int64_t rows = positions_of(&a->x);
    for (int64_t b = 0; b < a->x.size[0]; b++)
        for (int64_t c = 0; c < at_cols(&a->x); c++) {
            double sum = 0, squares = 0;
            for (int64_t r = b * rows; r < (b + 1) * rows; r++)
                sum += at_get(&a->x, r, c);
            double mean = sum / (double)rows;
            for (int64_t r = b * rows; r < (b + 1) * rows; r++) {
                double d = at_get(&a->x, r, c) - mean;
                squares += d * d;
            }
            double variance = squares / (double)(a->unbiased ? rows - 1 : rows);
            at_set(&a->mean, b, c, mean);
            at_set(&a->std, b, c, sqrt(variance + (double)a->eps));
        }
    return AT_OK;
}

static bool mean_std_fits(const void *args)
{
    return at_is_simd_type(((const at_mean_std_args *)args)->x.dtype);
}

static at_status mean_std_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                  at_error *err)
{
    (void)in, (void)err;
    return book(&((const at_mean_std_args *)args)->x, AT_CHANNELS_FORWARD, out);
}

AT_SIMD_DECLARE(at_mean_std);
AT_CUDA_DECLARE(at_mean_std);
at_status at_mean_std_cuda_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                   at_error *err);
static const at_variant mean_std_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("mean_std", at_mean_std, AT_ROWS_INDEPENDENT, at_mean_std_cuda_prepare),
#endif
    AT_SIMD_VARIANTS("mean_std", at_mean_std, AT_ROWS_INDEPENDENT, mean_std_fits, mean_std_prepare,
                     NULL),
    AT_REFERENCE("mean_std", mean_std_ref),
};
AT_DEFINE_OP(mean_std, "mean and sqrt(variance + eps), by sample and channel", mean_std_operands,
             mean_std_attrs, mean_std_shape, mean_std_flops, mean_std_variants);

/* --- mean_std_bwd ----------------------------------------------------------------------------- */

static const at_operand mean_std_bwd_operands[] = {
    AT_OPERAND(mean_std_bwd, dx, AT_OUT, AT_BATCHED | AT_OVERLAY, AT_NONE),
    AT_OPERAND(mean_std_bwd, x, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(mean_std_bwd, mean, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(mean_std_bwd, std, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(mean_std_bwd, dmean, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(mean_std_bwd, dstd, AT_IN, AT_BATCHED, AT_NONE),
};
static const at_attr mean_std_bwd_attrs[] = { AT_ENUM(mean_std_bwd, unbiased, "no|yes") };

static at_status mean_std_bwd_shape(void *args, at_error *err)
{
    static const char op[] = "mean_std_bwd";
    at_mean_std_bwd_args *a = args;
    AT_TRY(check_picture(op, &a->x, a->unbiased, err));
    AT_TRY(check_statistic(op, "mean", &a->mean, &a->x, err));
    AT_TRY(check_statistic(op, "std", &a->std, &a->x, err));
    AT_TRY(check_statistic(op, "dmean", &a->dmean, &a->x, err));
    AT_TRY(check_statistic(op, "dstd", &a->dstd, &a->x, err));
    a->dx = at_view_like(&a->x, a->x.dtype);
    return AT_OK;
}

static double mean_std_bwd_flops(const void *args)
{
    return 3 * (double)at_elements(&((const at_mean_std_bwd_args *)args)->x);
}

static at_status mean_std_bwd_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_mean_std_bwd_args *a = args;
    (void)p, (void)l;
    int64_t rows = positions_of(&a->x);
    double n = (double)rows, freedom = a->unbiased ? n - 1 : n;
    for (int64_t r = 0; r < at_rows(&a->x); r++)
        for (int64_t c = 0; c < at_cols(&a->x); c++) {
            int64_t b = r / rows;
            double off = at_get(&a->x, r, c) - at_get(&a->mean, b, c);
            double slope = at_get(&a->dstd, b, c) / (at_get(&a->std, b, c) * freedom);
            at_set(&a->dx, r, c, at_get(&a->dmean, b, c) / n + slope * off);
        }
    return AT_OK;
}

static bool mean_std_bwd_fits(const void *args)
{
    return at_is_simd_type(((const at_mean_std_bwd_args *)args)->x.dtype);
}

static at_status mean_std_bwd_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                      at_error *err)
{
    (void)in, (void)err;
    return book(&((const at_mean_std_bwd_args *)args)->x, AT_CHANNELS_WRITE, out);
}

AT_SIMD_DECLARE(at_mean_std_bwd);
AT_CUDA_DECLARE(at_mean_std_bwd);
at_status at_mean_std_bwd_cuda_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                       at_error *err);
static const at_variant mean_std_bwd_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("mean_std_bwd", at_mean_std_bwd, AT_ROWS_INDEPENDENT,
                    at_mean_std_bwd_cuda_prepare),
#endif
    AT_SIMD_VARIANTS("mean_std_bwd", at_mean_std_bwd, AT_ROWS_INDEPENDENT, mean_std_bwd_fits,
                     mean_std_bwd_prepare, NULL),
    AT_REFERENCE("mean_std_bwd", mean_std_bwd_ref),
};
AT_DEFINE_OP(mean_std_bwd, "gradient of mean_std by x", mean_std_bwd_operands, mean_std_bwd_attrs,
             mean_std_bwd_shape, mean_std_bwd_flops, mean_std_bwd_variants);

/* --- adain ------------------------------------------------------------------------------------ */

static const at_operand adain_operands[] = {
    AT_OPERAND(adain, y, AT_OUT, AT_BATCHED | AT_OVERLAY, AT_NONE),
    AT_OPERAND(adain, x, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(adain, x_mean, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(adain, x_std, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(adain, mean, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(adain, std, AT_IN, AT_BATCHED, AT_NONE),
};
static const at_attr adain_attrs[] = { AT_FLOAT(adain, alpha) };

/* The style's: of every sample, or one for all. */
static at_status check_style(const char *name, const at_view *v, const at_view *x, at_error *err)
{
    bool one = v->rank == 2 && v->size[0] == 1;
    int64_t size[] = { one ? 1 : x->size[0], at_cols(x) };
    AT_TRY(at_expect_wide("adain", name, v, err));
    return at_expect_sizes("adain", name, v, 2, size, err);
}

static at_status adain_shape(void *args, at_error *err)
{
    at_adain_args *a = args;
    AT_TRY(check_picture("adain", &a->x, false, err));
    AT_TRY(check_statistic("adain", "x_mean", &a->x_mean, &a->x, err));
    AT_TRY(check_statistic("adain", "x_std", &a->x_std, &a->x, err));
    AT_TRY(check_style("mean", &a->mean, &a->x, err));
    AT_TRY(check_style("std", &a->std, &a->x, err));
    a->y = at_view_like(&a->x, a->x.dtype);
    return AT_OK;
}

static double adain_flops(const void *args)
{
    return 3 * (double)at_elements(&((const at_adain_args *)args)->x);
}

static at_status adain_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_adain_args *a = args;
    (void)p, (void)l;
    int64_t rows = positions_of(&a->x);
    for (int64_t r = 0; r < at_rows(&a->x); r++)
        for (int64_t c = 0; c < at_cols(&a->x); c++) {
            int64_t b = r / rows;
            double x = at_get(&a->x, r, c), t = x - at_get(&a->x_mean, b, c);
            t = t / at_get(&a->x_std, b, c) * at_get(&a->std, a->std.size[0] > 1 ? b : 0, c);
            t += at_get(&a->mean, a->mean.size[0] > 1 ? b : 0, c);
            at_set(&a->y, r, c, x + (double)a->alpha * (t - x));
        }
    return AT_OK;
}

static bool adain_fits(const void *args)
{
    return at_is_simd_type(((const at_adain_args *)args)->x.dtype);
}

static at_status adain_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                               at_error *err)
{
    (void)in, (void)err;
    return book(&((const at_adain_args *)args)->x, AT_CHANNELS_WRITE, out);
}

AT_SIMD_DECLARE(at_adain);
AT_CUDA_DECLARE(at_adain);
at_status at_adain_cuda_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                at_error *err);
static const at_variant adain_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("adain", at_adain, AT_ROWS_INDEPENDENT, at_adain_cuda_prepare),
#endif
    AT_SIMD_VARIANTS("adain", at_adain, AT_ROWS_INDEPENDENT, adain_fits, adain_prepare, NULL),
    AT_REFERENCE("adain", adain_ref),
};
AT_DEFINE_OP(adain, "y = x + alpha * ((x - x_mean) / x_std * std + mean - x)", adain_operands,
             adain_attrs, adain_shape, adain_flops, adain_variants);
