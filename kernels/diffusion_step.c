/* diffusion_step.c -- guidance and one sampler step in one pass over the latents.
 *
 * A row of coefficients says which sampler, which step and how much guidance, so that rows of one
 * batch may be at different steps of different samplers. What a row does not use may hold anything,
 * even what is not a number: a coefficient of 0 leaves its history or noise out, a guidance of 1
 * takes the guided output as it is. A row's result is therefore that of the same row in a call
 * without those operands. */
#include "kernels/shape.h"
#include "kernels/variants.h"

static const at_operand diffusion_step_operands[] = {
    AT_OPERAND(diffusion_step, y, AT_OUT, AT_BATCHED | AT_OVERLAY, AT_F32),
    AT_OPERAND(diffusion_step, x0, AT_OUT, AT_BATCHED | AT_OPTIONAL, AT_F32),
    AT_OPERAND(diffusion_step, x, AT_IN, AT_BATCHED, AT_F32),
    AT_OPERAND(diffusion_step, cond, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(diffusion_step, uncond, AT_IN, AT_BATCHED | AT_OPTIONAL, AT_NONE),
    AT_OPERAND(diffusion_step, h0, AT_IN, AT_BATCHED | AT_OPTIONAL, AT_F32),
    AT_OPERAND(diffusion_step, h1, AT_IN, AT_BATCHED | AT_OPTIONAL, AT_F32),
    AT_OPERAND(diffusion_step, noise, AT_IN, AT_BATCHED | AT_OPTIONAL, AT_F32),
    AT_OPERAND(diffusion_step, coef, AT_IN, AT_BATCHED, AT_F32),
};

static at_status diffusion_step_shape(void *args, at_error *err)
{
    const char *op = "diffusion_step";
    at_diffusion_step_args *a = args;
    AT_TRY(at_expect_rank(op, "x", &a->x, 2, AT_RANK_MAX, err));
    AT_TRY(at_expect_float(op, "cond", &a->cond, err));
    AT_TRY(at_expect_like(op, "cond", &a->cond, &a->x, err));
    AT_TRY(at_expect_like(op, "uncond", &a->uncond, &a->x, err));
    AT_TRY(at_expect_like(op, "h0", &a->h0, &a->x, err));
    AT_TRY(at_expect_like(op, "h1", &a->h1, &a->x, err));
    AT_TRY(at_expect_like(op, "noise", &a->noise, &a->x, err));
    const int64_t coefs[] = { a->x.size[0], AT_DIFFUSION_COEFS };
    AT_TRY(at_expect_sizes(op, "coef", &a->coef, 2, coefs, err));
    if (at_has(&a->uncond) && a->uncond.dtype != a->cond.dtype)
        return at_fail(err, AT_INVALID, "%s: uncond is %s, expected %s as cond", op,
                       at_dtype_name(a->uncond.dtype), at_dtype_name(a->cond.dtype));
    a->y = a->x0 = at_view_like(&a->x, AT_F32);
    return AT_OK;
}

/* coefficient * element, or nothing */
static double term(double coef, const at_view *v, int64_t r, int64_t c)
{
    return at_has(v) && coef != 0 ? coef * at_get(v, r, c) : 0;
}

static at_status diffusion_step_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_diffusion_step_args *a = args;
    (void)p, (void)l;
    int64_t rows = at_rows(&a->x), rows_per_sample = rows / a->x.size[0];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < at_cols(&a->x); c++) {
            int64_t b = r / rows_per_sample;
            double guidance = at_get(&a->coef, b, 0), k_x = at_get(&a->coef, b, 1);
            double k_m = at_get(&a->coef, b, 2), c_x = at_get(&a->coef, b, 3);
            double x = at_get(&a->x, r, c), m = at_get(&a->cond, r, c);
            if (at_has(&a->uncond) && guidance != 1) {
                double u = at_get(&a->uncond, r, c);
                m = u + guidance * (m - u);
            }
            double x0 = k_x * x + k_m * m;
            double y = c_x * x + at_get(&a->coef, b, 4) * x0;
            y += term(at_get(&a->coef, b, 5), &a->h0, r, c);
            y += term(at_get(&a->coef, b, 6), &a->h1, r, c);
            y += term(at_get(&a->coef, b, 7), &a->noise, r, c);
            if (at_has(&a->x0))
                at_set(&a->x0, r, c, x0);
            at_set(&a->y, r, c, y);
        }
    return AT_OK;
}

static double diffusion_step_flops(const void *args)
{
    return 15.0 * (double)at_elements(&((const at_diffusion_step_args *)args)->x);
}

static bool diffusion_step_fits(const void *args)
{
    return at_is_simd_type(((const at_diffusion_step_args *)args)->cond.dtype);
}

AT_SIMD_DECLARE(at_diffusion_step);
AT_CUDA_DECLARE(at_diffusion_step);
static const at_variant diffusion_step_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("diffusion_step", at_diffusion_step, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("diffusion_step", at_diffusion_step, AT_ROWS_INDEPENDENT, diffusion_step_fits,
                     NULL, NULL),
    AT_REFERENCE("diffusion_step", diffusion_step_ref),
};
AT_DEFINE_OP(diffusion_step, "y = one sampler step of x, guided, by coefficients in device memory",
             diffusion_step_operands, at_no_attrs, diffusion_step_shape, diffusion_step_flops,
             diffusion_step_variants);
