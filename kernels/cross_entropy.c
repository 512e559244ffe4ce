/* cross_entropy.c -- the loss of a choice among C classes, and its gradient.
 *
 * A row whose target is 'ignore' counts for nothing; when no row counts the loss is 0. A target
 * outside [0, C) makes the loss (and the row's gradient) not a number: a loud answer that every
 * device can give. */
#include <math.h>

#include "kernels/shape.h"
#include "kernels/variants.h"

static const at_operand cross_entropy_operands[] = {
    AT_OPERAND(cross_entropy, loss, AT_OUT, 0, AT_F32),
    AT_OPERAND(cross_entropy, lse, AT_OUT, AT_OPTIONAL, AT_F32),
    AT_OPERAND(cross_entropy, x, AT_IN, 0, AT_NONE),
    AT_OPERAND(cross_entropy, target, AT_IN, 0, AT_I32),
};
static const at_attr cross_entropy_attrs[] = {
    AT_INT(cross_entropy, ignore),
    AT_FLOAT(cross_entropy, smoothing),
};

static at_status check_choices(const char *op, const at_view *x, const at_view *target,
                               float smoothing, at_error *err)
{
    AT_TRY(at_expect_float(op, "x", x, err));
    AT_TRY(at_expect_vector(op, "target", target, at_rows(x), err));
    if (!(smoothing >= 0 && smoothing <= 1))
        return at_fail(err, AT_INVALID, "%s: smoothing is %g, expected 0 to 1", op,
                       (double)smoothing);
    return AT_OK;
}

static at_status cross_entropy_shape(void *args, at_error *err)
{
    at_cross_entropy_args *a = args;
    AT_TRY(check_choices("cross_entropy", &a->x, &a->target, a->smoothing, err));
    a->loss = at_view_vector(at_wide(a->x.dtype), 1);
    a->lse = at_view_vector(at_wide(a->x.dtype), at_rows(&a->x));
    return AT_OK;
}

/* An exponential counts as one. */
static double cross_entropy_flops(const void *args)
{
    const at_cross_entropy_args *a = args;
    return 4 * (double)at_elements(&a->x);
}

/* --- reference -------------------------------------------------------------------------------- */

static int64_t target_of(const at_view *target, int64_t r)
{
    return ((const int32_t *)target->data)[r];
}

static double log_sum_exp(const at_view *x, int64_t r)
{
    int64_t cols = at_cols(x);
    double top = -INFINITY, sum = 0;
    for (int64_t c = 0; c < cols; c++)
        top = fmax(top, at_get(x, r, c));
    for (int64_t c = 0; c < cols; c++)
        sum += exp(at_get(x, r, c) - top);
    return top + log(sum);
}

/* -(1 - s) log p[t] - s / C * sum of log p, with log p = x - lse. Without smoothing a class may
 * be ruled out by a score of minus infinity. */
static double row_loss(const at_cross_entropy_args *a, int64_t r, int64_t t, double lse)
{
    int64_t cols = at_cols(&a->x);
    double s = (double)a->smoothing, sum = 0;
    if (t < 0 || t >= cols)
        return NAN;
    for (int64_t c = 0; c < cols && s > 0; c++)
        sum += at_get(&a->x, r, c);
    return lse - (1 - s) * at_get(&a->x, r, t) - s * sum / (double)cols;
}

static at_status cross_entropy_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_cross_entropy_args *a = args;
    (void)p, (void)l;
    int64_t rows = at_rows(&a->x), counted = 0;
    double loss = 0;
    for (int64_t r = 0; r < rows; r++) {
        double lse = log_sum_exp(&a->x, r);
        int64_t t = target_of(&a->target, r);
        if (at_has(&a->lse))
            at_set(&a->lse, 0, r, lse);
        if (t != a->ignore) {
            loss += row_loss(a, r, t, lse);
            counted++;
        }
    }
    at_set(&a->loss, 0, 0, counted ? loss / (double)counted : 0);
    return AT_OK;
}

/* --- gradient --------------------------------------------------------------------------------- */

static const at_operand cross_entropy_bwd_operands[] = {
    AT_OPERAND(cross_entropy_bwd, dx, AT_OUT, AT_OVERLAY, AT_NONE),
    AT_OPERAND(cross_entropy_bwd, x, AT_IN, 0, AT_NONE),
    AT_OPERAND(cross_entropy_bwd, target, AT_IN, 0, AT_I32),
    AT_OPERAND(cross_entropy_bwd, lse, AT_IN, 0, AT_NONE),   /* f32, or f64 beside f64 */
    AT_OPERAND(cross_entropy_bwd, dloss, AT_IN, 0, AT_NONE), /* likewise */
};
static const at_attr cross_entropy_bwd_attrs[] = {
    AT_INT(cross_entropy_bwd, ignore),
    AT_FLOAT(cross_entropy_bwd, smoothing),
};

static at_status cross_entropy_bwd_shape(void *args, at_error *err)
{
    at_cross_entropy_bwd_args *a = args;
    AT_TRY(check_choices("cross_entropy_bwd", &a->x, &a->target, a->smoothing, err));
    AT_TRY(at_expect_vector("cross_entropy_bwd", "lse", &a->lse, at_rows(&a->x), err));
    AT_TRY(at_expect_wide("cross_entropy_bwd", "lse", &a->lse, err));
    AT_TRY(at_expect_vector("cross_entropy_bwd", "dloss", &a->dloss, 1, err));
    AT_TRY(at_expect_wide("cross_entropy_bwd", "dloss", &a->dloss, err));
    a->dx = at_view_like(&a->x, a->x.dtype);
    return AT_OK;
}

/* dx = (p - (1 - s) [c = target] - s / C) * dloss / rows that count */
static at_status cross_entropy_bwd_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_cross_entropy_bwd_args *a = args;
    (void)p, (void)l;
    int64_t rows = at_rows(&a->x), cols = at_cols(&a->x), counted = 0;
    double s = (double)a->smoothing;
    for (int64_t r = 0; r < rows; r++)
        counted += target_of(&a->target, r) != a->ignore;
    double share = counted ? at_get(&a->dloss, 0, 0) / (double)counted : 0;
    for (int64_t r = 0; r < rows; r++) {
        int64_t t = target_of(&a->target, r);
        double lse = at_get(&a->lse, 0, r), factor = t < 0 || t >= cols ? NAN : share;
        for (int64_t c = 0; c < cols; c++) {
            double d = exp(at_get(&a->x, r, c) - lse) - (c == t ? 1 - s : 0) - s / (double)cols;
            at_set(&a->dx, r, c, t == a->ignore ? 0 : factor * d);
        }
    }
    return AT_OK;
}

/* --- variants --------------------------------------------------------------------------------- */

static bool cross_entropy_fits(const void *args)
{
    const at_cross_entropy_args *a = args;
    return at_is_simd_type(a->x.dtype);
}

/* A place for each row's loss. */
static at_status cross_entropy_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                       at_error *err)
{
    const at_cross_entropy_args *a = args;
    (void)in, (void)err;
    out->scratch_bytes = (size_t)at_rows(&a->x) * sizeof(double);
    return AT_OK;
}

static bool cross_entropy_bwd_fits(const void *args)
{
    const at_cross_entropy_bwd_args *a = args;
    return at_is_simd_type(a->x.dtype) && a->lse.dtype == AT_F32 && a->dloss.dtype == AT_F32;
}

AT_SIMD_DECLARE(at_cross_entropy);
AT_CUDA_DECLARE(at_cross_entropy);
static const at_variant cross_entropy_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("cross_entropy", at_cross_entropy, AT_ROWS_INDEPENDENT, cross_entropy_prepare),
#endif
    AT_SIMD_VARIANTS("cross_entropy", at_cross_entropy, AT_ROWS_INDEPENDENT, cross_entropy_fits,
                     cross_entropy_prepare, NULL),
    AT_REFERENCE("cross_entropy", cross_entropy_ref),
};
AT_DEFINE_OP(cross_entropy, "loss = mean over rows of -log softmax(x)[target], smoothed",
             cross_entropy_operands, cross_entropy_attrs, cross_entropy_shape, cross_entropy_flops,
             cross_entropy_variants);

AT_SIMD_DECLARE(at_cross_entropy_bwd);
AT_CUDA_DECLARE(at_cross_entropy_bwd);
at_status at_cross_entropy_bwd_cuda_prepare(const void *args, const at_prepare_in *in,
                                            at_prepared *out, at_error *err);
static const at_variant cross_entropy_bwd_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("cross_entropy_bwd", at_cross_entropy_bwd, AT_ROWS_INDEPENDENT,
                    at_cross_entropy_bwd_cuda_prepare),
#endif
    AT_SIMD_VARIANTS("cross_entropy_bwd", at_cross_entropy_bwd, AT_ROWS_INDEPENDENT,
                     cross_entropy_bwd_fits, NULL, NULL),
    AT_REFERENCE("cross_entropy_bwd", cross_entropy_bwd_ref),
};
AT_DEFINE_OP(cross_entropy_bwd, "dx = gradient of cross_entropy by x", cross_entropy_bwd_operands,
             cross_entropy_bwd_attrs, cross_entropy_bwd_shape, NULL, cross_entropy_bwd_variants);
