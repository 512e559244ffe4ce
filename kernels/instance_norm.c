/* instance_norm.c -- normalisation of every channel of a sample over its positions, with the ReLU
 * that follows it in a style net, and its gradient. */
#include <math.h>

#include "kernels/channels.h"
#include "kernels/shape.h"
#include "kernels/variants.h"

static const at_operand instance_norm_operands[] = {
    AT_OPERAND(instance_norm, y, AT_OUT, AT_BATCHED | AT_OVERLAY, AT_NONE),
    AT_OPERAND(instance_norm, mean, AT_OUT, AT_BATCHED | AT_OPTIONAL, AT_NONE),
    AT_OPERAND(instance_norm, rstd, AT_OUT, AT_BATCHED | AT_OPTIONAL, AT_NONE),
    AT_OPERAND(instance_norm, x, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(instance_norm, gamma, AT_IN, AT_OPTIONAL | AT_WEIGHT, AT_NONE),
    AT_OPERAND(instance_norm, beta, AT_IN, AT_OPTIONAL | AT_WEIGHT, AT_NONE),
    AT_OPERAND(instance_norm, mean_in, AT_IN, AT_BATCHED | AT_OPTIONAL, AT_NONE),
    AT_OPERAND(instance_norm, rstd_in, AT_IN, AT_BATCHED | AT_OPTIONAL, AT_NONE),
};
static const at_attr instance_norm_attrs[] = {
    AT_FLOAT(instance_norm, eps),
    AT_ENUM(instance_norm, relu, "no|yes"),
};

/* --- shapes ----------------------------------------------------------------------------------- */

static at_status check_inputs(const char *op, const at_view *x, const at_view *gamma,
                              const at_view *beta, at_error *err)
{
    AT_TRY(at_expect_float(op, "x", x, err));
    AT_TRY(at_expect_rank(op, "x", x, 2, AT_RANK_MAX, err));
    AT_TRY(at_expect_float(op, "gamma", gamma, err));
    AT_TRY(at_expect_vector(op, "gamma", gamma, at_cols(x), err));
    AT_TRY(at_expect_float(op, "beta", beta, err));
    return at_expect_vector(op, "beta", beta, at_cols(x), err);
}

static at_status check_statistic(const char *op, const char *name, const at_view *v,
                                 const at_view *x, at_error *err)
{
    AT_TRY(at_expect_wide(op, name, v, err));
    return at_expect_sizes(op, name, v, 2, (int64_t[]){ x->size[0], at_cols(x) }, err);
}

static at_status instance_norm_shape(void *args, at_error *err)
{
    static const char op[] = "instance_norm";
    at_instance_norm_args *a = args;
    AT_TRY(check_inputs(op, &a->x, &a->gamma, &a->beta, err));
    AT_TRY(check_statistic(op, "mean_in", &a->mean_in, &a->x, err));
    AT_TRY(check_statistic(op, "rstd_in", &a->rstd_in, &a->x, err));
    if (at_has(&a->mean_in) != at_has(&a->rstd_in))
        return at_fail(err, AT_INVALID, "%s: %s is given, expected %s with it", op,
                       at_has(&a->mean_in) ? "mean_in" : "rstd_in",
                       at_has(&a->mean_in) ? "rstd_in" : "mean_in");
    a->y = at_view_like(&a->x, a->x.dtype);
    a->mean = at_view_matrix(at_wide(a->x.dtype), a->x.size[0], at_cols(&a->x));
    a->rstd = a->mean;
    return AT_OK;
}

static double instance_norm_flops(const void *args)
{
    const at_instance_norm_args *a = args;
    return (at_has(&a->mean_in) ? 2 : 5) * (double)at_elements(&a->x);
}

/* --- reference -------------------------------------------------------------------------------- */

static void channel_moments(const at_instance_norm_args *a, int64_t b, int64_t c, double *mean,
                            double *rstd)
{
    int64_t rows = at_rows(&a->x) / a->x.size[0];
    double sum = 0, squares = 0;
    for (int64_t r = b * rows; r < (b + 1) * rows; r++)
        sum += at_get(&a->x, r, c);
    *mean = sum / (double)rows;
    for (int64_t r = b * rows; r < (b + 1) * rows; r++) {
        double d = at_get(&a->x, r, c) - *mean;
        squares += d * d;
    }
    *rstd = 1 / sqrt(squares / (double)rows + (double)a->eps);
}

static at_status instance_norm_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_instance_norm_args *a = args;
    (void)p, (void)l;
    int64_t batch = a->x.size[0], rows = at_rows(&a->x) / batch;
    for (int64_t b = 0; b < batch; b++)
        for (int64_t c = 0; c < at_cols(&a->x); c++) {
            double mean, rstd;
            if (at_has(&a->mean_in)) {
                mean = at_get(&a->mean_in, b, c);
                rstd = at_get(&a->rstd_in, b, c);
            } else {
                channel_moments(a, b, c, &mean, &rstd);
            }
            at_set_if(&a->mean, b, c, mean);
            at_set_if(&a->rstd, b, c, rstd);
            for (int64_t r = b * rows; r < (b + 1) * rows; r++) {
                double z = (at_get(&a->x, r, c) - mean) * rstd * at_get_or(&a->gamma, 0, c, 1);
                z += at_get_or(&a->beta, 0, c, 0);
                at_set(&a->y, r, c, a->relu && z < 0 ? 0 : z);
            }
        }
    return AT_OK;
}

/* --- gradient --------------------------------------------------------------------------------- */

static const at_operand instance_norm_bwd_operands[] = {
    AT_OPERAND(instance_norm_bwd, dx, AT_OUT, AT_BATCHED | AT_OVERLAY, AT_NONE),
    AT_OPERAND(instance_norm_bwd, dgamma, AT_OUT, AT_OPTIONAL, AT_NONE),
    AT_OPERAND(instance_norm_bwd, dbeta, AT_OUT, AT_OPTIONAL, AT_NONE),
    AT_OPERAND(instance_norm_bwd, dy, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(instance_norm_bwd, x, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(instance_norm_bwd, gamma, AT_IN, AT_OPTIONAL | AT_WEIGHT, AT_NONE),
    AT_OPERAND(instance_norm_bwd, beta, AT_IN, AT_OPTIONAL | AT_WEIGHT, AT_NONE),
    AT_OPERAND(instance_norm_bwd, mean, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(instance_norm_bwd, rstd, AT_IN, AT_BATCHED, AT_NONE),
};
static const at_attr instance_norm_bwd_attrs[] = {
    AT_ENUM(instance_norm_bwd, relu, "no|yes"),
};

static at_status instance_norm_bwd_shape(void *args, at_error *err)
{
    static const char op[] = "instance_norm_bwd";
    at_instance_norm_bwd_args *a = args;
    AT_TRY(check_inputs(op, &a->x, &a->gamma, &a->beta, err));
    AT_TRY(at_expect_float(op, "dy", &a->dy, err));
    AT_TRY(at_expect_like(op, "dy", &a->dy, &a->x, err));
    AT_TRY(check_statistic(op, "mean", &a->mean, &a->x, err));
    AT_TRY(check_statistic(op, "rstd", &a->rstd, &a->x, err));
    a->dx = at_view_like(&a->x, a->x.dtype);
    a->dgamma = at_view_vector(at_wide(a->x.dtype), at_cols(&a->x));
    a->dbeta = a->dgamma;
    return AT_OK;
}

static double instance_norm_bwd_flops(const void *args)
{
    const at_instance_norm_bwd_args *a = args;
    return 10 * (double)at_elements(&a->x);
}

/* What one element contributes: its normalised value and the gradient before gamma and beta. */
typedef struct term {
    double xhat, dz;
} term;

static term term_at(const at_instance_norm_bwd_args *a, int64_t r, int64_t b, int64_t c)
{
    term t = { at_get(&a->x, r, c), at_get(&a->dy, r, c) };
    t.xhat = (t.xhat - at_get(&a->mean, b, c)) * at_get(&a->rstd, b, c);
    if (a->relu && t.xhat * at_get_or(&a->gamma, 0, c, 1) + at_get_or(&a->beta, 0, c, 0) <= 0)
        t.dz = 0;
    return t;
}

/* dx = rstd * gamma * (dz - mean of dz - xhat * mean of dz xhat), means over the positions. */
static at_status instance_norm_bwd_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_instance_norm_bwd_args *a = args;
    (void)p, (void)l;
    int64_t batch = a->x.size[0], rows = at_rows(&a->x) / batch;
    for (int64_t c = 0; c < at_cols(&a->x); c++) {
        double dgamma = 0, dbeta = 0;
        for (int64_t b = 0; b < batch; b++) {
            double sum = 0, slope = 0;
            for (int64_t r = b * rows; r < (b + 1) * rows; r++) {
                term t = term_at(a, r, b, c);
                sum += t.dz;
                slope += t.dz * t.xhat;
            }
            double scale = at_get(&a->rstd, b, c) * at_get_or(&a->gamma, 0, c, 1), n = (double)rows;
            for (int64_t r = b * rows; r < (b + 1) * rows; r++) {
                term t = term_at(a, r, b, c);
                at_set(&a->dx, r, c, scale * (t.dz - sum / n - t.xhat * slope / n));
            }
            dgamma += slope;
            dbeta += sum;
        }
        at_set_if(&a->dgamma, 0, c, dgamma);
        at_set_if(&a->dbeta, 0, c, dbeta);
    }
    return AT_OK;
}

/* --- variants --------------------------------------------------------------------------------- */

static bool instance_norm_fits(const void *args)
{
    return at_is_simd_type(((const at_instance_norm_args *)args)->x.dtype);
}

static bool instance_norm_bwd_fits(const void *args)
{
    const at_instance_norm_bwd_args *a = args;
    return at_is_simd_type(a->x.dtype) && a->dy.dtype == a->x.dtype;
}

static at_status book(const at_view *x, at_channels_way way, at_prepared *out)
{
    at_channels_cut cut = at_channels_cut_of(x, 1, way);
    out->scratch_bytes = at_channels_scratch(&cut, way);
    return AT_OK;
}

static at_status instance_norm_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                       at_error *err)
{
    const at_instance_norm_args *a = args;
    (void)in, (void)err;
    return book(&a->x, at_has(&a->mean_in) ? AT_CHANNELS_WRITE : AT_CHANNELS_FORWARD, out);
}

static at_status instance_norm_bwd_prepare(const void *args, const at_prepare_in *in,
                                           at_prepared *out, at_error *err)
{
    (void)in, (void)err;
    return book(&((const at_instance_norm_bwd_args *)args)->x, AT_CHANNELS_BACKWARD, out);
}

AT_SIMD_DECLARE(at_instance_norm);
AT_CUDA_DECLARE(at_instance_norm);
at_status at_instance_norm_cuda_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                        at_error *err);
static const at_variant instance_norm_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("instance_norm", at_instance_norm, AT_ROWS_INDEPENDENT,
                    at_instance_norm_cuda_prepare),
#endif
    AT_SIMD_VARIANTS("instance_norm", at_instance_norm, AT_ROWS_INDEPENDENT, instance_norm_fits,
                     instance_norm_prepare, NULL),
    AT_REFERENCE("instance_norm", instance_norm_ref),
};
AT_DEFINE_OP(instance_norm, "y = relu?((x - mean) * rstd * gamma + beta), by sample and channel",
             instance_norm_operands, instance_norm_attrs, instance_norm_shape, instance_norm_flops,
             instance_norm_variants);

AT_SIMD_DECLARE(at_instance_norm_bwd);
AT_CUDA_DECLARE(at_instance_norm_bwd);
at_status at_instance_norm_bwd_cuda_prepare(const void *args, const at_prepare_in *in,
                                            at_prepared *out, at_error *err);
static const at_variant instance_norm_bwd_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("instance_norm_bwd", at_instance_norm_bwd, AT_ROWS_INDEPENDENT,
                    at_instance_norm_bwd_cuda_prepare),
#endif
    AT_SIMD_VARIANTS("instance_norm_bwd", at_instance_norm_bwd, AT_ROWS_INDEPENDENT,
                     instance_norm_bwd_fits, instance_norm_bwd_prepare, NULL),
    AT_REFERENCE("instance_norm_bwd", instance_norm_bwd_ref),
};
AT_DEFINE_OP(instance_norm_bwd, "gradients of instance_norm by x, gamma, beta",
             instance_norm_bwd_operands, instance_norm_bwd_attrs, instance_norm_bwd_shape,
             instance_norm_bwd_flops, instance_norm_bwd_variants);
