/* unary_simd.c -- bound by memory: one load, the function, one store; the target is the
 * bandwidth. */
#include "kernels/ops.h"
#include "kernels/variants.h"
#include "kernels/vec.h"

AT_SIMD_DECLARE(at_unary);
AT_SIMD_DECLARE(at_unary_bwd);

AT_INLINE at_vf apply(int kind, at_vf x, at_vf a, at_vf b)
{
    switch ((at_unary_kind)kind) {
    case AT_SILU: return x * at_vf_sigmoid(x);
    case AT_GELU: return at_vf_gelu(x);
    case AT_QUICK_GELU: return x * at_vf_sigmoid(x * at_vf_set(1.702f));
    case AT_RELU: return at_vf_max(x, (at_vf){ 0 });
    case AT_SIGMOID: return at_vf_sigmoid(x);
    case AT_TANH: return at_vf_tanh(x);
    case AT_EXP: return at_vf_exp(x);
    case AT_CLAMP: return at_vf_min(at_vf_max(x, a), b);
    case AT_SCALE: return at_vf_fma(a, x, b);
    case AT_SQRT: return at_vf_sqrt(x);
    }
    return x;
}

AT_INLINE at_vf slope(int kind, at_vf x, at_vf a, at_vf b)
{
    const at_vf one = at_vf_set(1.0f), zero = { 0 };
    at_vf s, p;
    switch ((at_unary_kind)kind) {
    case AT_SILU: s = at_vf_sigmoid(x); return s * at_vf_fma(x, one - s, one);
    case AT_GELU: p = at_vf_normal(x, &s); return at_vf_fma(x, s, p);
    case AT_QUICK_GELU:
        s = at_vf_sigmoid(x * at_vf_set(1.702f));
        return s * at_vf_fma(x * at_vf_set(1.702f), one - s, one);
    case AT_RELU: return at_vf_select(x > zero, one, zero);
    case AT_SIGMOID: s = at_vf_sigmoid(x); return s * (one - s);
    case AT_TANH: s = at_vf_tanh(x); return one - s * s;
    case AT_EXP: return at_vf_exp(x);
    case AT_CLAMP: return at_vf_select((x >= a) & (x <= b), one, zero);
    case AT_SCALE: return a;
    case AT_SQRT: return at_vf_set(0.5f) / at_vf_sqrt(x);
    }
    return one;
}

/* One row of f(x), or of f'(x) dy when dy is there. Constant 'kind' and 'type' make a loop of its
 * own for each pair. */
AT_INLINE void row_of(int kind, at_dtype type, void *y, const void *x, const void *dy, int64_t n,
                      at_vf a, at_vf b)
{
    int64_t i = 0;
    for (; i + AT_LANES <= n; i += AT_LANES) {
        at_vf v = at_vf_load(x, i, type);
        v = dy ? slope(kind, v, a, b) * at_vf_load(dy, i, type) : apply(kind, v, a, b);
        at_vf_store(y, i, type, v);
    }
    int rest = (int)(n - i);
    if (!rest)
        return;
    at_vf v = at_vf_load_n(x, i, type, rest, 1.0f);
    v = dy ? slope(kind, v, a, b) * at_vf_load_n(dy, i, type, rest, 0.0f) : apply(kind, v, a, b);
    at_vf_store_n(y, i, type, v, rest);
}

AT_INLINE void row_of_type(int kind, at_dtype type, void *y, const void *x, const void *dy,
                           int64_t n, at_vf a, at_vf b)
{
    if (type == AT_F32)
        row_of(kind, AT_F32, y, x, dy, n, a, b);
    else if (type == AT_BF16)
        row_of(kind, AT_BF16, y, x, dy, n, a, b);
    else
        row_of(kind, AT_F16, y, x, dy, n, a, b);
}

AT_INLINE void row_of_kind(int kind, at_dtype type, void *y, const void *x, const void *dy,
                           int64_t n, at_vf a, at_vf b)
{
#define ROW(KIND) \
    case KIND: row_of_type(KIND, type, y, x, dy, n, a, b); break
    switch ((at_unary_kind)kind) {
        ROW(AT_SILU);
        ROW(AT_GELU);
        ROW(AT_QUICK_GELU);
        ROW(AT_RELU);
        ROW(AT_SIGMOID);
        ROW(AT_TANH);
        ROW(AT_EXP);
        ROW(AT_CLAMP);
        ROW(AT_SCALE);
        ROW(AT_SQRT);
    }
#undef ROW
}

/* --- the two ops ------------------------------------------------------------------------------ */

static void forward_run(void *ctx, const int64_t *first, int64_t n)
{
    const at_unary_args *a = ctx;
    size_t bytes = at_dtype_bytes(a->x.dtype);
    row_of_kind(a->kind, a->x.dtype, (char *)a->y.data + (size_t)first[0] * bytes,
                (const char *)a->x.data + (size_t)first[1] * bytes, NULL, n, at_vf_set(a->a),
                at_vf_set(a->b));
}

at_status AT_SIMD(at_unary)(const void *args, const at_prepared *p, const at_launch *l)
{
    at_unary_args a = *(const at_unary_args *)args;
    (void)p;
    at_parallel_runs(l->stream, (const at_view *const[]){ &a.y, &a.x }, 2, forward_run, &a);
    return AT_OK;
}

static void backward_run(void *ctx, const int64_t *first, int64_t n)
{
    const at_unary_bwd_args *a = ctx;
    size_t bytes = at_dtype_bytes(a->x.dtype);
    row_of_kind(a->kind, a->x.dtype, (char *)a->dx.data + (size_t)first[0] * bytes,
                (const char *)a->x.data + (size_t)first[1] * bytes,
                (const char *)a->dy.data + (size_t)first[2] * bytes, n, at_vf_set(a->a),
                at_vf_set(a->b));
}

at_status AT_SIMD(at_unary_bwd)(const void *args, const at_prepared *p, const at_launch *l)
{
    at_unary_bwd_args a = *(const at_unary_bwd_args *)args;
    (void)p;
    at_parallel_runs(l->stream, (const at_view *const[]){ &a.dx, &a.x, &a.dy }, 3, backward_run,
                     &a);
    return AT_OK;
}
