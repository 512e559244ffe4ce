/* adamw.c -- AdamW as torch computes it, weights and states in place. */
#include <math.h>

#include "kernels/optimizer.h"
#include "kernels/shape.h"
#include "kernels/variants.h"

static const at_operand adamw_operands[] = {
    AT_OPERAND(adamw, w, AT_INOUT, 0, AT_F32),
    AT_OPERAND(adamw, m, AT_INOUT, 0, AT_F32),
    AT_OPERAND(adamw, v, AT_INOUT, 0, AT_F32),
    AT_OPERAND(adamw, w_low, AT_OUT, AT_OPTIONAL, AT_NONE),
    AT_OPERAND(adamw, g, AT_IN, 0, AT_NONE),
    AT_OPERAND(adamw, hyper, AT_IN, 0, AT_F32),
};
static const at_attr adamw_attrs[] = {
    AT_FLOAT(adamw, beta1),
    AT_FLOAT(adamw, beta2),
    AT_FLOAT(adamw, eps),
    AT_FLOAT(adamw, decay),
    AT_ENUM(adamw, low, AT_LOW_TYPES),
};

static at_status adamw_shape(void *args, at_error *err)
{
    at_adamw_args *a = args;
    AT_TRY(at_expect_step("adamw", &a->w, &a->g, &a->hyper, err));
    AT_TRY(at_expect_like("adamw", "m", &a->m, &a->w, err));
    AT_TRY(at_expect_like("adamw", "v", &a->v, &a->w, err));
    a->w_low = at_view_like(&a->w, at_low_type(a->low));
    return AT_OK;
}

static double adamw_flops(const void *args)
{
    const at_adamw_args *a = args;
    return 16 * (double)at_elements(&a->w);
}

static void adamw_element(const at_adamw_args *a, const at_hyper *h, int64_t r, int64_t c)
{
    double beta1 = (double)a->beta1, beta2 = (double)a->beta2;
    double g = h->factor * at_get(&a->g, r, c), w = at_get(&a->w, r, c);
    double m = beta1 * at_get(&a->m, r, c) + (1 - beta1) * g;
    double v = beta2 * at_get(&a->v, r, c) + (1 - beta2) * g * g;
    w *= 1 - h->lr * (double)a->decay;
    w -= h->lr * (m / h->bias1) / (sqrt(v / h->bias2) + (double)a->eps);
    at_set(&a->m, r, c, m);
    at_set(&a->v, r, c, v);
    at_set(&a->w, r, c, w);
}

static at_status adamw_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_adamw_args *a = args;
    const at_hyper h = at_hyper_of(&a->hyper);
    (void)p, (void)l;
    int64_t rows = at_rows(&a->w), cols = at_cols(&a->w);
    for (int64_t r = 0; r < rows && h.factor != 0; r++)
        for (int64_t c = 0; c < cols; c++)
            adamw_element(a, &h, r, c);
    at_low_copy_ref(&a->w_low, &a->w);
    return AT_OK;
}

static bool adamw_fits(const void *args)
{
    const at_adamw_args *a = args;
    return at_is_simd_type(a->g.dtype);
}

AT_SIMD_DECLARE(at_adamw);
AT_CUDA_DECLARE(at_adamw);
static const at_variant adamw_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("adamw", at_adamw, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("adamw", at_adamw, AT_ROWS_INDEPENDENT, adamw_fits, NULL, NULL),
    AT_REFERENCE("adamw", adamw_ref),
};
AT_DEFINE_OP(adamw, "AdamW step, f32 states, in place", adamw_operands, adamw_attrs, adamw_shape,
             adamw_flops, adamw_variants);
