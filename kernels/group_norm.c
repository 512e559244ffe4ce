/* group_norm.c -- normalisation over the positions and the channels of a group, with the SiLU that
 * follows it in a U-Net, and its gradient. */
#include <math.h>

#include "kernels/channels.h"
#include "kernels/shape.h"
#include "kernels/variants.h"

static const at_operand group_norm_operands[] = {
    AT_OPERAND(group_norm, y, AT_OUT, AT_BATCHED | AT_OVERLAY, AT_NONE),
    AT_OPERAND(group_norm, mean, AT_OUT, AT_BATCHED | AT_OPTIONAL, AT_NONE),
    AT_OPERAND(group_norm, rstd, AT_OUT, AT_BATCHED | AT_OPTIONAL, AT_NONE),
    AT_OPERAND(group_norm, y_amax, AT_OUT, AT_OPTIONAL, AT_NONE),
    AT_OPERAND(group_norm, x, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(group_norm, x2, AT_IN, AT_BATCHED | AT_OPTIONAL, AT_NONE),
    AT_OPERAND(group_norm, add, AT_IN, AT_BATCHED | AT_OPTIONAL, AT_NONE),
    AT_OPERAND(group_norm, gamma, AT_IN, AT_WEIGHT, AT_NONE),
    AT_OPERAND(group_norm, beta, AT_IN, AT_WEIGHT, AT_NONE),
    AT_OPERAND(group_norm, y_scale, AT_IN, AT_OPTIONAL, AT_F32),
};
static const at_attr group_norm_attrs[] = {
    AT_INT(group_norm, groups),
    AT_FLOAT(group_norm, eps),
    AT_ENUM(group_norm, silu, "no|yes"),
};

/* --- shapes ----------------------------------------------------------------------------------- */

static at_view with_both(const at_view *x, const at_view *x2)
{
    return at_view_with_cols(x, at_cols(x) + at_cols(x2));
}

/* What the inputs of both directions have in common. */
static at_status check_inputs(const char *op, const at_view *x, const at_view *x2,
                              const at_view *add, const at_view *gamma, const at_view *beta,
                              int64_t groups, at_error *err)
{
    at_view beside = at_view_with_cols(x, at_has(x2) ? at_cols(x2) : at_cols(x));
    at_view all = with_both(x, x2);
    int64_t channels = at_cols(&all);
    AT_TRY(at_expect_float(op, "x", x, err));
    AT_TRY(at_expect_rank(op, "x", x, 2, AT_RANK_MAX, err));
    AT_TRY(at_expect_float(op, "x2", x2, err));
    AT_TRY(at_expect_like(op, "x2", x2, &beside, err));
    AT_TRY(at_expect_float(op, "add", add, err));
    AT_TRY(at_expect_sizes(op, "add", add, 2, (int64_t[]){ x->size[0], channels }, err));
    AT_TRY(at_expect_float(op, "gamma", gamma, err));
    AT_TRY(at_expect_vector(op, "gamma", gamma, channels, err));
    AT_TRY(at_expect_float(op, "beta", beta, err));
    AT_TRY(at_expect_vector(op, "beta", beta, channels, err));
    if (groups < 1 || channels % groups)
        return at_fail(err, AT_INVALID, "%s: %lld channels do not make %lld equal groups", op,
                       (long long)channels, (long long)groups);
    return AT_OK;
}

static at_status group_norm_shape(void *args, at_error *err)
{
    at_group_norm_args *a = args;
    AT_TRY(check_inputs("group_norm", &a->x, &a->x2, &a->add, &a->gamma, &a->beta, a->groups, err));
    AT_TRY(at_expect_vector("group_norm", "y_scale", &a->y_scale, 1, err));
    at_dtype wide = at_wide(a->x.dtype);
    a->y = with_both(&a->x, &a->x2);
    if (at_has(&a->y_scale))
        a->y.dtype = AT_F8;
    a->mean = at_view_matrix(wide, a->x.size[0], a->groups);
    a->rstd = a->mean;
    a->y_amax = at_view_vector(wide, 1);
    return AT_OK;
}

/* An exponential counts as one. */
static double group_norm_flops(const void *args)
{
    const at_group_norm_args *a = args;
    return (a->silu ? 9 : 5) * (double)at_elements(&a->y);
}

/* --- reference -------------------------------------------------------------------------------- */

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* v of row r, sample b, channel c: the two inputs side by side, plus the sample's own. */
static double input_at(const at_view *x, const at_view *x2, const at_view *add, int64_t r,
                       int64_t b, int64_t c)
{
    double v = c < at_cols(x) ? at_get(x, r, c) : at_get(x2, r, c - at_cols(x));
    return at_has(add) ? v + at_get(add, b, c) : v;
}

static void group_moments(const at_group_norm_args *a, int64_t b, int64_t g, double *mean,
                          double *rstd)
{
    int64_t rows = at_rows(&a->x) / a->x.size[0], size = at_cols(&a->y) / a->groups;
    double n = (double)(rows * size), sum = 0, squares = 0;
    for (int64_t r = b * rows; r < (b + 1) * rows; r++)
        for (int64_t c = g * size; c < (g + 1) * size; c++)
            sum += input_at(&a->x, &a->x2, &a->add, r, b, c);
    *mean = sum / n;
    for (int64_t r = b * rows; r < (b + 1) * rows; r++)
        for (int64_t c = g * size; c < (g + 1) * size; c++) {
            double d = input_at(&a->x, &a->x2, &a->add, r, b, c) - *mean;
            squares += d * d;
        }
    *rstd = 1 / sqrt(squares / n + (double)a->eps);
}

static at_status group_norm_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_group_norm_args *a = args;
    (void)p, (void)l;
    int64_t batch = a->x.size[0], rows = at_rows(&a->x) / batch;
    int64_t size = at_cols(&a->y) / a->groups;
    double scale = at_has(&a->y_scale) ? at_get(&a->y_scale, 0, 0) : 1, top = 0;
    for (int64_t b = 0; b < batch; b++)
        for (int64_t g = 0; g < a->groups; g++) {
            double mean, rstd;
            group_moments(a, b, g, &mean, &rstd);
            if (at_has(&a->mean))
                at_set(&a->mean, b, g, mean);
            if (at_has(&a->rstd))
                at_set(&a->rstd, b, g, rstd);
            for (int64_t r = b * rows; r < (b + 1) * rows; r++)
                for (int64_t c = g * size; c < (g + 1) * size; c++) {
                    double v = input_at(&a->x, &a->x2, &a->add, r, b, c);
                    double z = (v - mean) * rstd * at_get(&a->gamma, 0, c) + at_get(&a->beta, 0, c);
                    z = a->silu ? z * sigmoid(z) : z;
                    top = fmax(top, fabs(z));
                    at_set(&a->y, r, c, z / scale);
                }
        }
    if (at_has(&a->y_amax))
        at_set(&a->y_amax, 0, 0, top);
    return AT_OK;
}

/* --- gradient --------------------------------------------------------------------------------- */

static const at_operand group_norm_bwd_operands[] = {
    AT_OPERAND(group_norm_bwd, dx, AT_OUT, AT_BATCHED | AT_OVERLAY, AT_NONE),
    AT_OPERAND(group_norm_bwd, dx2, AT_OUT, AT_BATCHED | AT_OPTIONAL, AT_NONE),
    AT_OPERAND(group_norm_bwd, dadd, AT_OUT, AT_BATCHED | AT_OPTIONAL, AT_NONE),
    AT_OPERAND(group_norm_bwd, dgamma, AT_OUT, AT_OPTIONAL, AT_NONE),
    AT_OPERAND(group_norm_bwd, dbeta, AT_OUT, AT_OPTIONAL, AT_NONE),
    AT_OPERAND(group_norm_bwd, dy, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(group_norm_bwd, x, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(group_norm_bwd, x2, AT_IN, AT_BATCHED | AT_OPTIONAL, AT_NONE),
    AT_OPERAND(group_norm_bwd, add, AT_IN, AT_BATCHED | AT_OPTIONAL, AT_NONE),
    AT_OPERAND(group_norm_bwd, gamma, AT_IN, AT_WEIGHT, AT_NONE),
    AT_OPERAND(group_norm_bwd, beta, AT_IN, AT_WEIGHT, AT_NONE),
    AT_OPERAND(group_norm_bwd, mean, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(group_norm_bwd, rstd, AT_IN, AT_BATCHED, AT_NONE),
};
static const at_attr group_norm_bwd_attrs[] = {
    AT_INT(group_norm_bwd, groups),
    AT_ENUM(group_norm_bwd, silu, "no|yes"),
};

static at_status group_norm_bwd_shape(void *args, at_error *err)
{
    static const char op[] = "group_norm_bwd";
    at_group_norm_bwd_args *a = args;
    AT_TRY(check_inputs(op, &a->x, &a->x2, &a->add, &a->gamma, &a->beta, a->groups, err));
    at_view all = with_both(&a->x, &a->x2);
    int64_t statistics[] = { a->x.size[0], a->groups };
    AT_TRY(at_expect_float(op, "dy", &a->dy, err));
    AT_TRY(at_expect_like(op, "dy", &a->dy, &all, err));
    AT_TRY(at_expect_wide(op, "mean", &a->mean, err));
    AT_TRY(at_expect_sizes(op, "mean", &a->mean, 2, statistics, err));
    AT_TRY(at_expect_wide(op, "rstd", &a->rstd, err));
    AT_TRY(at_expect_sizes(op, "rstd", &a->rstd, 2, statistics, err));
    a->dx = at_view_like(&a->x, a->x.dtype);
    if (at_has(&a->x2))
        a->dx2 = at_view_like(&a->x2, a->x2.dtype);
    if (at_has(&a->add))
        a->dadd = at_view_like(&a->add, a->add.dtype);
    a->dgamma = at_view_vector(at_wide(a->x.dtype), at_cols(&all));
    a->dbeta = a->dgamma;
    return AT_OK;
}

static double group_norm_bwd_flops(const void *args)
{
    const at_group_norm_bwd_args *a = args;
    return (a->silu ? 18 : 10) * (double)at_elements(&a->dy);
}

/* What one element contributes: its normalised value and the gradient before gamma and beta. */
typedef struct term {
    double xhat, dz;
} term;

static term term_at(const at_group_norm_bwd_args *a, int64_t r, int64_t b, int64_t c)
{
    int64_t g = c / (at_cols(&a->dy) / a->groups);
    term t = { input_at(&a->x, &a->x2, &a->add, r, b, c), at_get(&a->dy, r, c) };
    t.xhat = (t.xhat - at_get(&a->mean, b, g)) * at_get(&a->rstd, b, g);
    if (a->silu) {
        double z = t.xhat * at_get(&a->gamma, 0, c) + at_get(&a->beta, 0, c), s = sigmoid(z);
        t.dz *= s * (1 + z * (1 - s));
    }
    return t;
}

/* dv = rstd * (g - mean of g - xhat * mean of g xhat), g = dz * gamma, means over the group. */
static void group_gradient(const at_group_norm_bwd_args *a, int64_t b, int64_t group)
{
    int64_t rows = at_rows(&a->x) / a->x.size[0], size = at_cols(&a->dy) / a->groups;
    int64_t first = group * size, c1 = at_cols(&a->x);
    double n = (double)(rows * size), rstd = at_get(&a->rstd, b, group), mean = 0, slope = 0;
    for (int64_t r = b * rows; r < (b + 1) * rows; r++)
        for (int64_t c = first; c < first + size; c++) {
            term t = term_at(a, r, b, c);
            mean += t.dz * at_get(&a->gamma, 0, c) / n;
            slope += t.dz * at_get(&a->gamma, 0, c) * t.xhat / n;
        }
    for (int64_t c = first; c < first + size; c++) {
        double sum = 0;
        for (int64_t r = b * rows; r < (b + 1) * rows; r++) {
            term t = term_at(a, r, b, c);
            double dv = rstd * (t.dz * at_get(&a->gamma, 0, c) - mean - t.xhat * slope);
            sum += dv;
            if (c < c1)
                at_set(&a->dx, r, c, dv);
            else if (at_has(&a->dx2))
                at_set(&a->dx2, r, c - c1, dv);
        }
        if (at_has(&a->dadd))
            at_set(&a->dadd, b, c, sum);
    }
}

static at_status group_norm_bwd_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_group_norm_bwd_args *a = args;
    (void)p, (void)l;
    int64_t batch = a->x.size[0], rows = at_rows(&a->x) / batch;
    for (int64_t c = 0; c < at_cols(&a->dy); c++) {
        double dgamma = 0, dbeta = 0;
        for (int64_t r = 0; r < batch * rows; r++) {
            term t = term_at(a, r, r / rows, c);
            dgamma += t.dz * t.xhat;
            dbeta += t.dz;
        }
        if (at_has(&a->dgamma))
            at_set(&a->dgamma, 0, c, dgamma);
        if (at_has(&a->dbeta))
            at_set(&a->dbeta, 0, c, dbeta);
    }
    /* Last, because dx may lie over dy. */
    for (int64_t b = 0; b < batch; b++)
        for (int64_t g = 0; g < a->groups; g++)
            group_gradient(a, b, g);
    return AT_OK;
}

/* --- variants --------------------------------------------------------------------------------- */

static bool same_type(const at_view *v, at_dtype type)
{
    return !at_has(v) || v->dtype == type;
}

static bool group_norm_fits(const void *args)
{
    const at_group_norm_args *a = args;
    at_dtype type = a->x.dtype;
    return at_is_simd_type(type) && same_type(&a->x2, type) && same_type(&a->y, type);
}

static bool group_norm_bwd_fits(const void *args)
{
    const at_group_norm_bwd_args *a = args;
    at_dtype type = a->x.dtype;
    return at_is_simd_type(type) && same_type(&a->x2, type) && same_type(&a->dy, type);
}

static at_status group_norm_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                    at_error *err)
{
    const at_group_norm_args *a = args;
    (void)in, (void)err;
    at_channels_cut cut =
        at_channels_cut_of(&a->y, at_cols(&a->y) / a->groups, AT_CHANNELS_FORWARD);
    out->scratch_bytes = at_channels_scratch(&cut, AT_CHANNELS_FORWARD);
    return AT_OK;
}

static at_status group_norm_bwd_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                        at_error *err)
{
    const at_group_norm_bwd_args *a = args;
    (void)in, (void)err;
    at_channels_cut cut =
        at_channels_cut_of(&a->dy, at_cols(&a->dy) / a->groups, AT_CHANNELS_BACKWARD);
    out->scratch_bytes = at_channels_scratch(&cut, AT_CHANNELS_BACKWARD);
    return AT_OK;
}

AT_SIMD_DECLARE(at_group_norm);
AT_CUDA_DECLARE(at_group_norm);
at_status at_group_norm_cuda_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                     at_error *err);
static const at_variant group_norm_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("group_norm", at_group_norm, AT_ROWS_INDEPENDENT, at_group_norm_cuda_prepare),
#endif
    AT_SIMD_VARIANTS("group_norm", at_group_norm, AT_ROWS_INDEPENDENT, group_norm_fits,
                     group_norm_prepare, NULL),
    AT_REFERENCE("group_norm", group_norm_ref),
};
AT_DEFINE_OP(group_norm, "y = silu?((x | x2 + add - mean) * rstd * gamma + beta), by groups",
             group_norm_operands, group_norm_attrs, group_norm_shape, group_norm_flops,
             group_norm_variants);

AT_SIMD_DECLARE(at_group_norm_bwd);
AT_CUDA_DECLARE(at_group_norm_bwd);
at_status at_group_norm_bwd_cuda_prepare(const void *args, const at_prepare_in *in,
                                         at_prepared *out, at_error *err);
static const at_variant group_norm_bwd_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("group_norm_bwd", at_group_norm_bwd, AT_ROWS_INDEPENDENT,
                    at_group_norm_bwd_cuda_prepare),
#endif
    AT_SIMD_VARIANTS("group_norm_bwd", at_group_norm_bwd, AT_ROWS_INDEPENDENT, group_norm_bwd_fits,
                     group_norm_bwd_prepare, NULL),
    AT_REFERENCE("group_norm_bwd", group_norm_bwd_ref),
};
AT_DEFINE_OP(group_norm_bwd, "gradients of group_norm by x, x2, add, gamma, beta",
             group_norm_bwd_operands, group_norm_bwd_attrs, group_norm_bwd_shape,
             group_norm_bwd_flops, group_norm_bwd_variants);
