/* attention_bwd.c -- the gradient of attention. With P the probabilities, recomputed from lse:
 *   dv = P^T dout    dS = P * (dout v^T - delta), delta = rowsum(dout * o)    dq = scale dS k
 *   dk = scale dS^T q */
#include "kernels/attention.h"
#include "kernels/cudnn_variants.h"
#include "kernels/shape.h"

static const at_operand attention_bwd_operands[] = {
    AT_OPERAND(attention_bwd, dq, AT_OUT, AT_BATCHED, AT_NONE),
    AT_OPERAND(attention_bwd, dk, AT_OUT, AT_BATCHED, AT_NONE),
    AT_OPERAND(attention_bwd, dv, AT_OUT, AT_BATCHED, AT_NONE),
    AT_OPERAND(attention_bwd, q, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(attention_bwd, k, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(attention_bwd, v, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(attention_bwd, o, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(attention_bwd, dout, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(attention_bwd, lse, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(attention_bwd, lengths, AT_IN, AT_BATCHED | AT_OPTIONAL, AT_I32),
};
static const at_attr attention_bwd_attrs[] = {
    AT_INT(attention_bwd, heads),
    AT_FLOAT(attention_bwd, scale),
    AT_ENUM(attention_bwd, causal, "no|yes"),
};

static at_status attention_bwd_shape(void *args, at_error *err)
{
    at_attention_bwd_args *a = args;
    const char *op = "attention_bwd";
    AT_TRY(at_attention_check(op, &a->q, &a->k, &a->v, &a->lengths, a->heads, a->scale, err));
    const int64_t lse[] = { a->q.size[0], a->heads, a->q.size[1] };
    AT_TRY(at_expect_like(op, "o", &a->o, &a->q, err));
    AT_TRY(at_expect_like(op, "dout", &a->dout, &a->q, err));
    AT_TRY(at_expect_sizes(op, "lse", &a->lse, 3, lse, err));
    if (a->o.dtype != a->q.dtype || a->dout.dtype != a->q.dtype)
        return at_fail(err, AT_INVALID, "%s: q, o, dout are %s, %s, %s, expected one type", op,
                       at_dtype_name(a->q.dtype), at_dtype_name(a->o.dtype),
                       at_dtype_name(a->dout.dtype));
    if (a->lse.dtype != at_wide(a->q.dtype))
        return at_fail(err, AT_INVALID, "%s: lse is %s, expected %s", op,
                       at_dtype_name(a->lse.dtype), at_dtype_name(at_wide(a->q.dtype)));
    a->dq = at_view_like(&a->q, a->q.dtype);
    a->dk = at_view_like(&a->k, a->k.dtype);
    a->dv = at_view_like(&a->v, a->v.dtype);
    return AT_OK;
}

/* Five products: scores, dP, dq, dk, dv. */
static double attention_bwd_flops(const void *args)
{
    const at_attention_bwd_args *a = args;
    double size = (double)(at_cols(&a->q) / a->heads);
    return at_attention_pairs(&a->q, &a->k, a->heads, a->causal) * 10 * size;
}

/* --- reference -------------------------------------------------------------------------------- */

/* P and dS of one query and one key of a head; rows counted over all samples. */
static double weigh(const at_attention_bwd_args *a, int64_t lse_row, int64_t i, int64_t query,
                    int64_t key, int64_t col, double scale, double *ds)
{
    int64_t size = at_cols(&a->q) / a->heads;
    double s = scale * at_attention_dot(&a->q, query, &a->k, key, col, size);
    double p = exp(s - at_get(&a->lse, lse_row, i));
    double dp = at_attention_dot(&a->dout, query, &a->v, key, col, size);
    *ds = p * (dp - at_attention_dot(&a->dout, query, &a->o, query, col, size));
    return p;
}

static void query_gradient(const at_attention_bwd_args *a, int64_t b, int64_t h, int64_t i,
                           double scale)
{
    int64_t size = at_cols(&a->q) / a->heads, col = h * size, keys = a->k.size[1];
    int64_t query = b * a->q.size[1] + i;
    int64_t n = at_attention_seen(&a->lengths, b, i, a->q.size[1], keys, a->causal);
    double dq[AT_ATTENTION_SIZE_MAX] = { 0 }, ds;
    for (int64_t j = 0; j < n; j++) {
        weigh(a, b * a->heads + h, i, query, b * keys + j, col, scale, &ds);
        for (int64_t d = 0; d < size; d++)
            dq[d] += scale * ds * at_get(&a->k, b * keys + j, col + d);
    }
    for (int64_t d = 0; d < size; d++)
        at_set(&a->dq, query, col + d, dq[d]);
}

static void key_gradient(const at_attention_bwd_args *a, int64_t b, int64_t h, int64_t j,
                         double scale)
{
    int64_t size = at_cols(&a->q) / a->heads, col = h * size, queries = a->q.size[1];
    int64_t keys = a->k.size[1], key = b * keys + j;
    double dk[AT_ATTENTION_SIZE_MAX] = { 0 }, dv[AT_ATTENTION_SIZE_MAX] = { 0 }, ds;
    for (int64_t i = 0; i < queries; i++) {
        int64_t query = b * queries + i;
        if (j >= at_attention_seen(&a->lengths, b, i, queries, keys, a->causal))
            continue;
        double p = weigh(a, b * a->heads + h, i, query, key, col, scale, &ds);
        for (int64_t d = 0; d < size; d++) {
            dk[d] += scale * ds * at_get(&a->q, query, col + d);
            dv[d] += p * at_get(&a->dout, query, col + d);
        }
    }
    for (int64_t d = 0; d < size; d++) {
        at_set(&a->dk, key, col + d, dk[d]);
        at_set(&a->dv, key, col + d, dv[d]);
    }
}

static at_status attention_bwd_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_attention_bwd_args *a = args;
    double scale = a->scale > 0 ? (double)a->scale : 1 / sqrt((double)(at_cols(&a->q) / a->heads));
    (void)p, (void)l;
    for (int64_t b = 0; b < a->q.size[0]; b++)
        for (int64_t h = 0; h < a->heads; h++) {
            for (int64_t i = 0; i < a->q.size[1]; i++)
                query_gradient(a, b, h, i, scale);
            for (int64_t j = 0; j < a->k.size[1]; j++)
                key_gradient(a, b, h, j, scale);
        }
    return AT_OK;
}

/* --- variants --------------------------------------------------------------------------------- */

static bool fits_simd(const void *args)
{
    const at_attention_bwd_args *a = args;
    return a->q.dtype == AT_F32 || a->q.dtype == AT_BF16 || a->q.dtype == AT_F16;
}

#define ATTENTION_BWD_SIMD(level, needs)                                           \
    {                                                                              \
        "attention_bwd_" #level, AT_CPU, needs, AT_ROWS_INDEPENDENT, fits_simd,    \
            at_attention_bwd_prepare_##level, NULL, NULL, at_attention_bwd_##level \
    }
#if defined(__x86_64__)
AT_ATTENTION_BWD_DECLARE(avx512);
AT_ATTENTION_BWD_DECLARE(avx2);
#else
AT_ATTENTION_BWD_DECLARE(simd);
#endif

AT_CUDA_DECLARE(at_attention_bwd);
AT_CUDA_DECLARE(at_attention_bwd_plain);
AT_CUDNN_DECLARE(at_attention_bwd);
at_prepare_fn at_attention_bwd_cuda_prepare;
static const at_variant attention_bwd_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDNN_VARIANT("attention_bwd", at_attention_bwd),
    AT_CUDA_VARIANT("attention_bwd", at_attention_bwd, AT_ROWS_INDEPENDENT,
                    at_attention_bwd_cuda_prepare),
    AT_CUDA_VARIANT("attention_bwd_plain", at_attention_bwd_plain, AT_ROWS_INDEPENDENT,
                    at_attention_bwd_cuda_prepare),
#endif
#if defined(__x86_64__)
    ATTENTION_BWD_SIMD(avx512, AT_CAP_MASK(AVX512)),
    ATTENTION_BWD_SIMD(avx2, AT_CAP_MASK(AVX2)),
#else
    ATTENTION_BWD_SIMD(simd, 0),
#endif
    AT_REFERENCE("attention_bwd", attention_bwd_ref),
};
AT_DEFINE_OP(attention_bwd, "dq, dk, dv of attention, probabilities recomputed from lse",
             attention_bwd_operands, attention_bwd_attrs, attention_bwd_shape, attention_bwd_flops,
             attention_bwd_variants);
