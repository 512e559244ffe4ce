/* adafactor.c -- Adafactor on a matrix: the second moments are kept as row and column means
 * only. */
#include "kernels/adafactor.h"

#include <math.h>

#include "kernels/optimizer.h"
#include "kernels/shape.h"
#include "kernels/variants.h"

static const at_operand adafactor_operands[] = {
    AT_OPERAND(adafactor, w, AT_INOUT, 0, AT_F32),
    AT_OPERAND(adafactor, row, AT_INOUT, 0, AT_F32),
    AT_OPERAND(adafactor, col, AT_INOUT, 0, AT_F32),
    AT_OPERAND(adafactor, w_low, AT_OUT, AT_OPTIONAL, AT_NONE),
    AT_OPERAND(adafactor, g, AT_IN, 0, AT_NONE),
    AT_OPERAND(adafactor, hyper, AT_IN, 0, AT_F32),
};
static const at_attr adafactor_attrs[] = {
    AT_FLOAT(adafactor, eps),
    AT_FLOAT(adafactor, clip),
    AT_FLOAT(adafactor, decay),
    AT_ENUM(adafactor, low, AT_LOW_TYPES),
};

static at_status adafactor_shape(void *args, at_error *err)
{
    at_adafactor_args *a = args;
    AT_TRY(at_expect_rank("adafactor", "w", &a->w, 2, 2, err));
    AT_TRY(at_expect_step("adafactor", &a->w, &a->g, &a->hyper, err));
    AT_TRY(at_expect_vector("adafactor", "row", &a->row, a->w.size[0], err));
    AT_TRY(at_expect_vector("adafactor", "col", &a->col, a->w.size[1], err));
    if (!(a->clip > 0))
        return at_fail(err, AT_INVALID, "adafactor: clip is %g, expected more than 0",
                       (double)a->clip);
    a->w_low = at_view_like(&a->w, at_low_type(a->low));
    return AT_OK;
}

static double adafactor_flops(const void *args)
{
    const at_adafactor_args *a = args;
    return 12 * (double)at_elements(&a->w);
}

/* --- reference -------------------------------------------------------------------------------- */

static double gradient(const at_adafactor_args *a, const at_hyper *h, int64_t r, int64_t c)
{
    return h->factor * at_get(&a->g, r, c);
}

/* row and col forward by the means of g^2 + eps. */
static void move_means(const at_adafactor_args *a, const at_hyper *h)
{
    int64_t rows = at_rows(&a->w), cols = at_cols(&a->w);
    double beta = h->bias2;
    for (int64_t r = 0; r < rows; r++) {
        double sum = 0;
        for (int64_t c = 0; c < cols; c++)
            sum += gradient(a, h, r, c) * gradient(a, h, r, c) + (double)a->eps;
        at_set(&a->row, 0, r, beta * at_get(&a->row, 0, r) + (1 - beta) * sum / (double)cols);
    }
    for (int64_t c = 0; c < cols; c++) {
        double sum = 0;
        for (int64_t r = 0; r < rows; r++)
            sum += gradient(a, h, r, c) * gradient(a, h, r, c) + (double)a->eps;
        at_set(&a->col, 0, c, beta * at_get(&a->col, 0, c) + (1 - beta) * sum / (double)rows);
    }
}

/* g / sqrt(row / mean of row * col) */
static double update(const at_adafactor_args *a, const at_hyper *h, double row_mean, int64_t r,
                     int64_t c)
{
    double moment = at_get(&a->row, 0, r) / row_mean * at_get(&a->col, 0, c);
    return gradient(a, h, r, c) / sqrt(moment);
}

static void move_weights(const at_adafactor_args *a, const at_hyper *h)
{
    int64_t rows = at_rows(&a->w), cols = at_cols(&a->w);
    double mean = 0, squares = 0;
    for (int64_t r = 0; r < rows; r++)
        mean += at_get(&a->row, 0, r) / (double)rows;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++)
            squares += pow(update(a, h, mean, r, c), 2);
    double rate = h->lr / fmax(1, sqrt(squares / (double)(rows * cols)) / (double)a->clip);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) {
            double w = at_get(&a->w, r, c) * (1 - h->lr * (double)a->decay);
            at_set(&a->w, r, c, w - rate * update(a, h, mean, r, c));
        }
}

static at_status adafactor_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_adafactor_args *a = args;
    const at_hyper h = at_hyper_of(&a->hyper);
    (void)p, (void)l;
    if (h.factor != 0) {
        move_means(a, &h);
        move_weights(a, &h);
    }
    at_low_copy_ref(&a->w_low, &a->w);
    return AT_OK;
}

/* --- variants --------------------------------------------------------------------------------- */

static bool adafactor_fits(const void *args)
{
    const at_adafactor_args *a = args;
    return at_is_simd_type(a->g.dtype);
}

static at_status adafactor_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                   at_error *err)
{
    const at_adafactor_args *a = args;
    (void)in, (void)err;
    out->scratch_bytes = at_adafactor_bytes(a->w.size[0], a->w.size[1]);
    return AT_OK;
}

AT_SIMD_DECLARE(at_adafactor);
AT_CUDA_DECLARE(at_adafactor);
at_status at_adafactor_cuda_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                    at_error *err);
static const at_variant adafactor_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("adafactor", at_adafactor, AT_ROWS_INDEPENDENT, at_adafactor_cuda_prepare),
#endif
    AT_SIMD_VARIANTS("adafactor", at_adafactor, AT_ROWS_INDEPENDENT, adafactor_fits,
                     adafactor_prepare, NULL),
    AT_REFERENCE("adafactor", adafactor_ref),
};
AT_DEFINE_OP(adafactor, "Adafactor step of a matrix, factored second moments, in place",
             adafactor_operands, adafactor_attrs, adafactor_shape, adafactor_flops,
             adafactor_variants);
