/* lora.c -- a low-rank change merged into a weight. */
#include "kernels/lora.h"

#include "kernels/product_variants.h"
#include "kernels/shape.h"

static const at_operand lora_operands[] = {
    AT_OPERAND(lora, y, AT_OUT, AT_OVERLAY, AT_NONE), AT_OPERAND(lora, w, AT_IN, 0, AT_NONE),
    AT_OPERAND(lora, up, AT_IN, 0, AT_NONE),          AT_OPERAND(lora, down, AT_IN, 0, AT_NONE),
    AT_OPERAND(lora, strength, AT_IN, 0, AT_NONE), /* f32, or f64 beside f64 */
};
static const at_attr lora_attrs[] = {
    AT_FLOAT(lora, scale),
};

static at_status lora_shape(void *args, at_error *err)
{
    at_lora_args *a = args;
    const at_view *const weights[] = { &a->w, &a->up, &a->down };
    const char *const names[] = { "w", "up", "down" };
    for (int i = 0; i < 3; i++) {
        AT_TRY(at_expect_rank("lora", names[i], weights[i], 2, AT_RANK_MAX, err));
        AT_TRY(at_expect_float("lora", names[i], weights[i], err));
    }
    AT_TRY(at_expect_vector("lora", "strength", &a->strength, 1, err));
    AT_TRY(at_expect_wide("lora", "strength", &a->strength, err));
    int64_t n = a->w.size[0], k = at_matrix_cols(&a->w), rank = a->down.size[0];
    if (a->up.size[0] != n || at_matrix_cols(&a->up) != rank)
        return at_fail(err, AT_INVALID, "lora: up is a matrix of %lld x %lld, expected %lld x %lld",
                       (long long)a->up.size[0], (long long)at_matrix_cols(&a->up), (long long)n,
                       (long long)rank);
    if (at_matrix_cols(&a->down) != k)
        return at_fail(
            err, AT_INVALID, "lora: down is a matrix of %lld x %lld, expected %lld x %lld",
            (long long)rank, (long long)at_matrix_cols(&a->down), (long long)rank, (long long)k);
    a->y = at_view_like(&a->w, a->w.dtype);
    return AT_OK;
}

static double lora_flops(const void *args)
{
    const at_lora_args *a = args;
    return 2 * (double)at_elements(&a->w) * (double)a->down.size[0];
}

/* --- reference -------------------------------------------------------------------------------- */

/* Row and column in the view of element (r, c) of the matrix. */
static double get(const at_view *v, int64_t r, int64_t c)
{
    int64_t e = r * at_matrix_cols(v) + c;
    return at_get(v, e / at_cols(v), e % at_cols(v));
}

static void set(const at_view *v, int64_t r, int64_t c, double value)
{
    int64_t e = r * at_matrix_cols(v) + c;
    at_set(v, e / at_cols(v), e % at_cols(v), value);
}

static at_status lora_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_lora_args *a = args;
    (void)p, (void)l;
    int64_t n = a->w.size[0], k = at_matrix_cols(&a->w), rank = a->down.size[0];
    double scale = at_get(&a->strength, 0, 0) * (double)a->scale;
    for (int64_t r = 0; r < n; r++)
        for (int64_t c = 0; c < k; c++) {
            double sum = 0;
            for (int64_t i = 0; i < rank; i++)
                sum += get(&a->up, r, i) * get(&a->down, i, c);
            set(&a->y, r, c, get(&a->w, r, c) + scale * sum);
        }
    return AT_OK;
}

/* --- variants --------------------------------------------------------------------------------- */

static bool lora_fits(const void *args)
{
    const at_lora_args *a = args;
    return at_is_simd_type(a->w.dtype) && at_is_simd_type(a->up.dtype) &&
           at_is_simd_type(a->down.dtype) && a->strength.dtype == AT_F32 && at_is_matrix(&a->y) &&
           at_is_matrix(&a->w) && at_is_matrix(&a->up) && at_is_matrix(&a->down);
}

static at_status lora_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                              at_error *err)
{
    const at_lora_args *a = args;
    int64_t rank = a->down.size[0];
    (void)err;
    int64_t floats =
        at_lora_panels(rank, at_matrix_cols(&a->w)) + in->caps->threads * at_lora_worker(rank);
    out->scratch_bytes = (size_t)floats * sizeof(float);
    return AT_OK;
}

AT_SIMD_DECLARE(at_lora);
AT_CUDA_TILED_DECLARE(at_lora);
static const at_variant lora_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_TILED_VARIANT("lora", at_lora, AT_ROWS_INDEPENDENT),
#endif
    AT_SIMD_VARIANTS("lora", at_lora, AT_ROWS_INDEPENDENT, lora_fits, lora_prepare, NULL),
    AT_REFERENCE("lora", lora_ref),
};
AT_DEFINE_OP(lora, "y = w + strength * scale * up down", lora_operands, lora_attrs, lora_shape,
             lora_flops, lora_variants);
