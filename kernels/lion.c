/* lion.c -- the sign of an interpolated momentum as the step. */
#include "kernels/optimizer.h"
#include "kernels/shape.h"
#include "kernels/variants.h"

static const at_operand lion_operands[] = {
    AT_OPERAND(lion, w, AT_INOUT, 0, AT_F32),
    AT_OPERAND(lion, m, AT_INOUT, 0, AT_F32),
    AT_OPERAND(lion, w_low, AT_OUT, AT_OPTIONAL, AT_NONE),
    AT_OPERAND(lion, g, AT_IN, 0, AT_NONE),
    AT_OPERAND(lion, hyper, AT_IN, 0, AT_F32),
};
static const at_attr lion_attrs[] = {
    AT_FLOAT(lion, beta1),
    AT_FLOAT(lion, beta2),
    AT_FLOAT(lion, decay),
    AT_ENUM(lion, low, AT_LOW_TYPES),
};

static at_status lion_shape(void *args, at_error *err)
{
    at_lion_args *a = args;
    AT_TRY(at_expect_step("lion", &a->w, &a->g, &a->hyper, err));
    AT_TRY(at_expect_like("lion", "m", &a->m, &a->w, err));
    a->w_low = at_view_like(&a->w, at_low_type(a->low));
    return AT_OK;
}

static double lion_flops(const void *args)
{
    const at_lion_args *a = args;
    return 10 * (double)at_elements(&a->w);
}

static void lion_element(const at_lion_args *a, const at_hyper *h, int64_t r, int64_t c)
{
    double beta1 = (double)a->beta1, beta2 = (double)a->beta2;
    double g = h->factor * at_get(&a->g, r, c), m = at_get(&a->m, r, c), w = at_get(&a->w, r, c);
    double u = beta1 * m + (1 - beta1) * g;
    double sign = u > 0 ? 1 : u < 0 ? -1 : 0;
    at_set(&a->w, r, c, w - h->lr * (sign + (double)a->decay * w));
    at_set(&a->m, r, c, beta2 * m + (1 - beta2) * g);
}

static at_status lion_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_lion_args *a = args;
    const at_hyper h = at_hyper_of(&a->hyper);
    (void)p, (void)l;
    int64_t rows = at_rows(&a->w), cols = at_cols(&a->w);
    for (int64_t r = 0; r < rows && h.factor != 0; r++)
        for (int64_t c = 0; c < cols; c++)
            lion_element(a, &h, r, c);
    at_low_copy_ref(&a->w_low, &a->w);
    return AT_OK;
}

static bool lion_fits(const void *args)
{
    const at_lion_args *a = args;
    return at_is_simd_type(a->g.dtype);
}

AT_SIMD_DECLARE(at_lion);
AT_CUDA_DECLARE(at_lion);
static const at_variant lion_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("lion", at_lion, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("lion", at_lion, AT_ROWS_INDEPENDENT, lion_fits, NULL, NULL),
    AT_REFERENCE("lion", lion_ref),
};
AT_DEFINE_OP(lion, "Lion step, in place", lion_operands, lion_attrs, lion_shape, lion_flops,
             lion_variants);
