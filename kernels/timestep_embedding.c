/* timestep_embedding.c -- sines and cosines of a number at falling frequencies.
 *
 * The models were trained on what f32 arithmetic makes of the formula, and at t = 999 a product t *
 * w rounded to f32 is 3e-5 away from the exact one. So the exponent, the frequency w and the
 * product are each rounded to f32 here, as PyTorch does; only the functions are better. A few
 * numbers per step: the plain variant is fast enough for every machine. */
#include <math.h>

#include "kernels/shape.h"
#include "kernels/variants.h"

static const at_operand timestep_embedding_operands[] = {
    AT_OPERAND(timestep_embedding, y, AT_OUT, AT_BATCHED, AT_NONE),
    AT_OPERAND(timestep_embedding, t, AT_IN, AT_BATCHED, AT_F32),
};
static const at_attr timestep_embedding_attrs[] = {
    AT_INT(timestep_embedding, dim),
    AT_FLOAT(timestep_embedding, max_period),
    AT_FLOAT(timestep_embedding, shift),
    AT_ENUM(timestep_embedding, flip, "no|yes"),
    AT_ENUM(timestep_embedding, to, AT_CAST_TYPES),
};

static at_status timestep_embedding_shape(void *args, at_error *err)
{
    at_timestep_embedding_args *a = args;
    AT_TRY(at_expect_rank("timestep_embedding", "t", &a->t, 1, 1, err));
    at_dtype to = at_cast_type(a->to);
    if (!at_dtype_is_float(to))
        return at_fail(err, AT_INVALID, "timestep_embedding: to is %s, expected a floating type",
                       at_dtype_name(to));
    if (a->dim < 2 || a->dim % 2)
        return at_fail(err, AT_INVALID, "timestep_embedding: dim is %lld, expected an even number",
                       (long long)a->dim);
    if (!(a->max_period > 0) || !((float)(a->dim / 2) - a->shift > 0))
        return at_fail(
            err, AT_INVALID,
            "timestep_embedding: max_period is %g and shift %g, expected more than 0 and less "
            "than %lld",
            (double)a->max_period, (double)a->shift, (long long)(a->dim / 2));
    a->y = at_view_matrix(to, a->t.size[0], a->dim);
    return AT_OK;
}

static float frequency(const at_timestep_embedding_args *a, int64_t i)
{
    float exponent = (float)-log((double)a->max_period) * (float)i;
    exponent /= (float)(a->dim / 2) - a->shift;
    return (float)exp((double)exponent);
}

static at_status timestep_embedding_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_timestep_embedding_args *a = args;
    (void)p, (void)l;
    int64_t half = a->dim / 2, sin_at = a->flip ? half : 0, cos_at = a->flip ? 0 : half;
    for (int64_t i = 0; i < half; i++) {
        float w = frequency(a, i);
        for (int64_t r = 0; r < a->t.size[0]; r++) {
            float angle = ((const float *)a->t.data)[r] * w;
            at_set(&a->y, r, sin_at + i, sin((double)angle));
            at_set(&a->y, r, cos_at + i, cos((double)angle));
        }
    }
    return AT_OK;
}

/* A sine or cosine is about twenty operations. */
static double timestep_embedding_flops(const void *args)
{
    return 20.0 * (double)at_elements(&((const at_timestep_embedding_args *)args)->y);
}

AT_CUDA_DECLARE(at_timestep_embedding);
static const at_variant timestep_embedding_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("timestep_embedding", at_timestep_embedding, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_REFERENCE("timestep_embedding", timestep_embedding_ref),
};
AT_DEFINE_OP(timestep_embedding, "y = sin(t w) | cos(t w)", timestep_embedding_operands,
             timestep_embedding_attrs, timestep_embedding_shape, timestep_embedding_flops,
             timestep_embedding_variants);
