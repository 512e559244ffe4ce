/* gram.c -- how alike the channels of a picture are over all its positions, and the gradient. */
#include "kernels/gram.h"

#include "kernels/product_variants.h"
#include "kernels/shape.h"

static const at_operand gram_operands[] = {
    AT_OPERAND(gram, y, AT_OUT, AT_BATCHED, AT_F32),
    AT_OPERAND(gram, x, AT_IN, AT_BATCHED, AT_NONE),
};
static const at_attr gram_attrs[] = {
    AT_FLOAT(gram, scale),
};

static at_status gram_shape(void *args, at_error *err)
{
    at_gram_args *a = args;
    AT_TRY(at_expect_rank("gram", "x", &a->x, 3, 4, err));
    AT_TRY(at_expect_float("gram", "x", &a->x, err));
    int64_t channels = at_cols(&a->x);
    const int64_t size[] = { a->x.size[0], channels, channels };
    a->y = at_view_of(at_wide(a->x.dtype), 3, size);
    return AT_OK;
}

/* A symmetric matrix: half the products. */
static double gram_flops(const void *args)
{
    const at_gram_args *a = args;
    return (double)at_elements(&a->x) * (double)(at_cols(&a->x) + 1);
}

static at_status gram_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_gram_args *a = args;
    (void)p, (void)l;
    int64_t samples = a->x.size[0], channels = at_cols(&a->x), positions = at_rows(&a->x) / samples;
    for (int64_t b = 0; b < samples; b++)
        for (int64_t i = 0; i < channels; i++)
            for (int64_t j = 0; j < channels; j++) {
                double sum = 0;
                for (int64_t r = b * positions; r < (b + 1) * positions; r++)
                    sum += at_get(&a->x, r, i) * at_get(&a->x, r, j);
                at_set(&a->y, b * channels + i, j, (double)a->scale * sum);
            }
    return AT_OK;
}

/* --- gradient --------------------------------------------------------------------------------- */

static const at_operand gram_bwd_operands[] = {
    AT_OPERAND(gram_bwd, dx, AT_OUT, AT_BATCHED, AT_NONE),
    AT_OPERAND(gram_bwd, x, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(gram_bwd, dy, AT_IN, AT_BATCHED, AT_NONE), /* f32, or f64 beside f64 */
};
static const at_attr gram_bwd_attrs[] = {
    AT_FLOAT(gram_bwd, scale),
};

static at_status gram_bwd_shape(void *args, at_error *err)
{
    at_gram_bwd_args *a = args;
    AT_TRY(at_expect_rank("gram_bwd", "x", &a->x, 3, 4, err));
    AT_TRY(at_expect_float("gram_bwd", "x", &a->x, err));
    int64_t channels = at_cols(&a->x);
    const int64_t size[] = { a->x.size[0], channels, channels };
    AT_TRY(at_expect_sizes("gram_bwd", "dy", &a->dy, 3, size, err));
    AT_TRY(at_expect_wide("gram_bwd", "dy", &a->dy, err));
    a->dx = at_view_like(&a->x, a->x.dtype);
    return AT_OK;
}

static double gram_bwd_flops(const void *args)
{
    const at_gram_bwd_args *a = args;
    return 2 * (double)at_elements(&a->x) * (double)at_cols(&a->x);
}

static at_status gram_bwd_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_gram_bwd_args *a = args;
    (void)p, (void)l;
    int64_t rows = at_rows(&a->x), channels = at_cols(&a->x), positions = rows / a->x.size[0];
    for (int64_t r = 0; r < rows; r++) {
        int64_t b = r / positions * channels; /* where the sample's matrix begins */
        for (int64_t i = 0; i < channels; i++) {
            double sum = 0;
            for (int64_t j = 0; j < channels; j++)
                sum += at_get(&a->x, r, j) * (at_get(&a->dy, b + i, j) + at_get(&a->dy, b + j, i));
            at_set(&a->dx, r, i, (double)a->scale * sum);
        }
    }
    return AT_OK;
}

/* --- variants --------------------------------------------------------------------------------- */

static bool gram_fits(const void *args)
{
    const at_gram_args *a = args;
    return at_is_simd_type(a->x.dtype);
}

static bool gram_bwd_fits(const void *args)
{
    const at_gram_bwd_args *a = args;
    return at_is_simd_type(a->x.dtype) && a->dy.dtype == AT_F32;
}

static at_status gram_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                              at_error *err)
{
    const at_gram_args *a = args;
    const at_gram_plan p = at_gram_plan_of(&a->x);
    (void)err;
    int64_t floats =
        p.together * p.parts * at_gram_matrix(&p) + in->caps->threads * at_gram_worker(&p);
    out->scratch_bytes = (size_t)floats * sizeof(float);
    return AT_OK;
}

static at_status gram_bwd_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                  at_error *err)
{
    const at_gram_bwd_args *a = args;
    const at_gram_plan p = at_gram_plan_of(&a->x);
    (void)err;
    int64_t floats = at_gram_matrix(&p) + in->caps->threads * at_gram_bwd_worker(&p);
    out->scratch_bytes = (size_t)floats * sizeof(float);
    return AT_OK;
}

AT_SIMD_DECLARE(at_gram);
AT_CUDA_TILED_DECLARE(at_gram);
static const at_variant gram_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_TILED_VARIANT("gram", at_gram, AT_ROWS_INDEPENDENT),
#endif
    AT_SIMD_VARIANTS("gram", at_gram, AT_ROWS_INDEPENDENT, gram_fits, gram_prepare, NULL),
    AT_REFERENCE("gram", gram_ref),
};
AT_DEFINE_OP(gram, "y[b] = scale * x[b]^T x[b] over positions", gram_operands, gram_attrs,
             gram_shape, gram_flops, gram_variants);

AT_SIMD_DECLARE(at_gram_bwd);
AT_CUDA_TILED_DECLARE(at_gram_bwd);
static const at_variant gram_bwd_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_TILED_VARIANT("gram_bwd", at_gram_bwd, AT_ROWS_INDEPENDENT),
#endif
    AT_SIMD_VARIANTS("gram_bwd", at_gram_bwd, AT_ROWS_INDEPENDENT, gram_bwd_fits, gram_bwd_prepare,
                     NULL),
    AT_REFERENCE("gram_bwd", gram_bwd_ref),
};
AT_DEFINE_OP(gram_bwd, "dx[b] = scale * x[b] (dy[b] + dy[b]^T)", gram_bwd_operands, gram_bwd_attrs,
             gram_bwd_shape, gram_bwd_flops, gram_bwd_variants);
