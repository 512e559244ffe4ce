/* sampling_simd.c -- bound by memory: one pass over the scores. */
#include "kernels/variants.h"
#include "kernels/vec.h"

AT_SIMD_DECLARE(at_argmax);

/* The first largest of a row: each lane keeps its own first largest, and of the lanes the largest
 * with the lowest index wins. What is not a number never compares as larger; lanes that have met
 * nothing yet are marked by an index of -1, so that minus infinity can win. */
AT_INLINE int64_t row_argmax(at_dtype type, const void *x, int64_t n)
{
    const float worst = -INFINITY;
    at_vf best = at_vf_set(worst);
    at_vi at = (at_vi){ 0 } - 1, now;
    for (int k = 0; k < AT_LANES; k++)
        now[k] = k;
    for (int64_t i = 0; i < n; i += AT_LANES) {
        int rest = n - i < AT_LANES ? (int)(n - i) : 0;
        at_vf v = rest ? at_vf_load_n(x, i, type, rest, NAN) : at_vf_load(x, i, type);
        at_vi better = (v > best) | ((v == best) & (at < 0));
        best = at_vf_select(better, v, best);
        at = (better & now) | (~better & at);
        now += AT_LANES;
    }
    int winner = 0;
    for (int k = 1; k < AT_LANES; k++)
        if (at[k] >= 0 && (at[winner] < 0 || best[k] > best[winner] ||
                           (best[k] == best[winner] && at[k] < at[winner])))
            winner = k;
    return at[winner] < 0 ? 0 : at[winner];
}

static void argmax_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const at_argmax_args *a = ctx;
    int64_t n = at_cols(&a->x);
    int32_t *y = a->y.data;
    (void)worker;
    for (int64_t r = begin; r < end; r++) {
        const void *x = at_row(&a->x, r);
        if (a->x.dtype == AT_F32)
            y[r] = (int32_t)row_argmax(AT_F32, x, n);
        else if (a->x.dtype == AT_BF16)
            y[r] = (int32_t)row_argmax(AT_BF16, x, n);
        else
            y[r] = (int32_t)row_argmax(AT_F16, x, n);
    }
}

at_status AT_SIMD(at_argmax)(const void *args, const at_prepared *p, const at_launch *l)
{
    at_argmax_args a = *(const at_argmax_args *)args;
    (void)p;
    int64_t rows = at_rows(&a.x);
    double bytes = (double)at_cols(&a.x) * (double)at_dtype_bytes(a.x.dtype);
    at_parallel(l->stream, rows, at_grain(rows, bytes), argmax_rows, &a);
    return AT_OK;
}
