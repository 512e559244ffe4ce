/* attention.c -- softmax(scale q k^T + mask) v, and what a decoder does to its cache before it. */
#include "kernels/attention.h"

#include <math.h>

#include "kernels/cudnn_variants.h"
#include "kernels/shape.h"

static const at_operand attention_operands[] = {
    AT_OPERAND(attention, o, AT_OUT, AT_BATCHED, AT_NONE),
    AT_OPERAND(attention, lse, AT_OUT, AT_BATCHED | AT_OPTIONAL, AT_NONE),
    AT_OPERAND(attention, q, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(attention, k, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(attention, v, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(attention, lengths, AT_IN, AT_BATCHED | AT_OPTIONAL, AT_I32),
};
static const at_attr attention_attrs[] = {
    AT_INT(attention, heads),
    AT_FLOAT(attention, scale),
    AT_ENUM(attention, causal, "no|yes"),
};

at_status at_attention_check(const char *op, const at_view *q, const at_view *k, const at_view *v,
                             const at_view *lengths, int64_t heads, float scale, at_error *err)
{
    AT_TRY(at_expect_float(op, "q", q, err));
    AT_TRY(at_expect_rank(op, "q", q, 3, 3, err));
    AT_TRY(at_expect_rank(op, "k", k, 3, 3, err));
    const int64_t keys[] = { q->size[0], k->size[1], at_cols(q) };
    AT_TRY(at_expect_sizes(op, "k", k, 3, keys, err));
    AT_TRY(at_expect_sizes(op, "v", v, 3, keys, err));
    AT_TRY(at_expect_vector(op, "lengths", lengths, q->size[0], err));
    if (k->dtype != q->dtype || v->dtype != q->dtype)
        return at_fail(err, AT_INVALID, "%s: q, k, v are %s, %s, %s, expected one type", op,
                       at_dtype_name(q->dtype), at_dtype_name(k->dtype), at_dtype_name(v->dtype));
    if (heads <= 0 || at_cols(q) % heads)
        return at_fail(err, AT_INVALID, "%s: %lld channels do not divide into %lld heads", op,
                       (long long)at_cols(q), (long long)heads);
    if (at_cols(q) / heads > AT_ATTENTION_SIZE_MAX)
        return at_fail(err, AT_INVALID, "%s: heads of %lld elements, expected at most %d", op,
                       (long long)(at_cols(q) / heads), AT_ATTENTION_SIZE_MAX);
    if (!(scale >= 0) || isinf(scale))
        return at_fail(err, AT_INVALID,
                       "%s: scale is %g, expected a positive number, or 0 for "
                       "1 / sqrt(head size)",
                       op, (double)scale);
    return AT_OK;
}

static at_status attention_shape(void *args, at_error *err)
{
    at_attention_args *a = args;
    AT_TRY(
        at_attention_check("attention", &a->q, &a->k, &a->v, &a->lengths, a->heads, a->scale, err));
    const int64_t lse[] = { a->q.size[0], a->heads, a->q.size[1] };
    a->o = at_view_like(&a->q, a->q.dtype);
    a->lse = at_view_of(at_wide(a->q.dtype), 3, lse);
    return AT_OK;
}

double at_attention_pairs(const at_view *q, const at_view *k, int64_t heads, int causal)
{
    double queries = (double)q->size[1], keys = (double)k->size[1], seen = keys;
    if (causal)
        seen = queries <= keys ? keys - (queries - 1) / 2 : keys * (keys + 1) / (2 * queries);
    return (double)(q->size[0] * heads) * queries * seen;
}

/* Two products, each a multiplication and an addition per pair and element. */
static double attention_flops(const void *args)
{
    const at_attention_args *a = args;
    double size = (double)(at_cols(&a->q) / a->heads);
    return at_attention_pairs(&a->q, &a->k, a->heads, a->causal) * 4 * size;
}

/* --- reference -------------------------------------------------------------------------------- */

/* q_i . k_j of the head that begins at column 'col'; rows counted over all samples */
double at_attention_dot(const at_view *q, int64_t i, const at_view *k, int64_t j, int64_t col,
                        int64_t size)
{
    double sum = 0;
    for (int64_t d = 0; d < size; d++)
        sum += at_get(q, i, col + d) * at_get(k, j, col + d);
    return sum;
}

static void attend_row(const at_attention_args *a, int64_t b, int64_t h, int64_t i)
{
    int64_t size = at_cols(&a->q) / a->heads, col = h * size;
    int64_t row = b * a->q.size[1] + i, key = b * a->k.size[1];
    int64_t n = at_attention_seen(&a->lengths, b, i, a->q.size[1], a->k.size[1], a->causal);
    double scale = a->scale > 0 ? (double)a->scale : 1 / sqrt((double)size);
    double o[AT_ATTENTION_SIZE_MAX] = { 0 }, top = -INFINITY, sum = 0;
    for (int64_t j = 0; j < n; j++)
        top = fmax(top, scale * at_attention_dot(&a->q, row, &a->k, key + j, col, size));
    for (int64_t j = 0; j < n; j++) {
        double p = exp(scale * at_attention_dot(&a->q, row, &a->k, key + j, col, size) - top);
        sum += p;
        for (int64_t d = 0; d < size; d++)
            o[d] += p * at_get(&a->v, key + j, col + d);
    }
    for (int64_t d = 0; d < size; d++)
        at_set(&a->o, row, col + d, n ? o[d] / sum : 0);
    if (at_has(&a->lse))
        at_set(&a->lse, b * a->heads + h, i, n ? top + log(sum) : -INFINITY);
}

static at_status attention_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_attention_args *a = args;
    (void)p, (void)l;
    for (int64_t b = 0; b < a->q.size[0]; b++)
        for (int64_t h = 0; h < a->heads; h++)
            for (int64_t i = 0; i < a->q.size[1]; i++)
                attend_row(a, b, h, i);
    return AT_OK;
}

/* --- variants --------------------------------------------------------------------------------- */

static bool fits_simd(const void *args)
{
    const at_attention_args *a = args;
    return a->q.dtype == AT_F32 || a->q.dtype == AT_BF16 || a->q.dtype == AT_F16;
}

bool at_attention_fits_pairs(const void *args)
{
    const at_attention_args *a = args;
    return a->q.dtype == AT_BF16 && a->q.size[1] > AT_ATTENTION_FEW;
}

#define ATTENTION_VARIANT(level, needs, fits)                                              \
    {                                                                                      \
        "attention_" #level, AT_CPU, needs, AT_ROWS_INDEPENDENT, fits,                     \
            at_attention_prepare_##level, NULL, at_attention_release, at_attention_##level \
    }
#if defined(__x86_64__)
AT_ATTENTION_DECLARE(amx);
AT_ATTENTION_DECLARE(bf16);
AT_ATTENTION_DECLARE(avx512);
AT_ATTENTION_DECLARE(avx2);
#else
AT_ATTENTION_DECLARE(simd);
#endif

AT_CUDA_DECLARE(at_attention_few);
AT_CUDA_DECLARE(at_attention);
AT_CUDA_DECLARE(at_attention_slabs);
at_prepare_fn at_attention_slabs_cuda_prepare;
int at_attention_slabs_cuda_candidates(const void *args, const at_caps *caps);
AT_CUDA_DECLARE(at_attention_plain);
AT_CUDNN_DECLARE(at_attention);
static const at_variant attention_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("attention_few", at_attention_few, AT_ROWS_INDEPENDENT, NULL),
    AT_CUDNN_VARIANT("attention", at_attention),
    AT_CUDA_VARIANT("attention", at_attention, AT_ROWS_INDEPENDENT, NULL),
    { "attention_slabs_cuda", AT_CUDA, 0, AT_ROWS_INDEPENDENT, at_attention_slabs_cuda_fits,
      at_attention_slabs_cuda_prepare, at_attention_slabs_cuda_candidates, NULL,
      at_attention_slabs_cuda },
    AT_CUDA_VARIANT("attention_plain", at_attention_plain, AT_ROWS_INDEPENDENT, NULL),
#endif
#if defined(__x86_64__)
    ATTENTION_VARIANT(amx, AT_CAP_MASK(AMX_BF16), at_attention_fits_pairs),
    ATTENTION_VARIANT(bf16, AT_CAP_MASK(AVX512_BF16) | AT_CAP_MASK(BF16_FAST),
                      at_attention_fits_pairs),
    ATTENTION_VARIANT(avx512, AT_CAP_MASK(AVX512), fits_simd),
    ATTENTION_VARIANT(avx2, AT_CAP_MASK(AVX2), fits_simd),
#else
    ATTENTION_VARIANT(simd, 0, fits_simd),
#endif
    AT_REFERENCE("attention", attention_ref),
};
AT_DEFINE_OP(attention, "o = softmax(scale q k^T + mask) v", attention_operands, attention_attrs,
             attention_shape, attention_flops, attention_variants);
