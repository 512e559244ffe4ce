/* ema.c -- the running average of the weights. */
#include "kernels/shape.h"
#include "kernels/variants.h"

static const at_operand ema_operands[] = {
    AT_OPERAND(ema, e, AT_INOUT, 0, AT_F32),
    AT_OPERAND(ema, w, AT_IN, 0, AT_F32),
    AT_OPERAND(ema, decay, AT_IN, 0, AT_F32),
};

static at_status ema_shape(void *args, at_error *err)
{
    at_ema_args *a = args;
    AT_TRY(at_expect_like("ema", "w", &a->w, &a->e, err));
    AT_TRY(at_expect_vector("ema", "decay", &a->decay, 1, err));
    return AT_OK;
}

static double ema_flops(const void *args)
{
    const at_ema_args *a = args;
    return 3 * (double)at_elements(&a->e);
}

static at_status ema_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_ema_args *a = args;
    (void)p, (void)l;
    double decay = at_get(&a->decay, 0, 0);
    for (int64_t r = 0; r < at_rows(&a->e); r++)
        for (int64_t c = 0; c < at_cols(&a->e); c++)
            at_set(&a->e, r, c, decay * at_get(&a->e, r, c) + (1 - decay) * at_get(&a->w, r, c));
    return AT_OK;
}

AT_SIMD_DECLARE(at_ema);
AT_CUDA_DECLARE(at_ema);
static const at_variant ema_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("ema", at_ema, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("ema", at_ema, AT_ROWS_INDEPENDENT, NULL, NULL, NULL),
    AT_REFERENCE("ema", ema_ref),
};
AT_DEFINE_OP(ema, "e = decay * e + (1 - decay) * w, in place", ema_operands, at_no_attrs, ema_shape,
             ema_flops, ema_variants);
