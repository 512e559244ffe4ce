/* cross_entropy_simd.c -- bound by memory and by the exponential, which cost about the same.
 *
 * A row goes by in pieces that stay in the first cache: a piece's largest element, then its sum of
 * exponentials, so memory is read once. Sums are f32 inside a piece and f64 across pieces. */
#include "kernels/ops.h"
#include "kernels/variants.h"
#include "kernels/vec.h"

AT_SIMD_DECLARE(at_cross_entropy);
AT_SIMD_DECLARE(at_cross_entropy_bwd);

enum { PIECE = 2048 };

/* --- loss ------------------------------------------------------------------------------------- */

typedef struct row_sums {
    double exps; /* sum of e^(x - top) */
    double sum;  /* of x */
    float top;
} row_sums;

AT_INLINE float top_of(at_dtype type, const void *x, int64_t i, int64_t n)
{
    at_vf top = at_vf_set(-INFINITY);
    int64_t k = 0;
    for (; k + AT_LANES <= n; k += AT_LANES)
        top = at_vf_max(top, at_vf_load(x, i + k, type));
    if (k < n)
        top = at_vf_max(top, at_vf_load_n(x, i + k, type, (int)(n - k), -INFINITY));
    return at_vf_largest(top);
}

AT_INLINE void add_piece(row_sums *s, at_dtype type, const void *x, int64_t i, int64_t n)
{
    float top = top_of(type, x, i, n);
    if (top > s->top) {
        s->exps *= exp((double)s->top - (double)top);
        s->top = top;
    }
    if (s->top == -INFINITY) { /* nothing but classes that are ruled out */
        s->sum = -INFINITY;
        return;
    }
    const at_vf shift = at_vf_set(s->top);
    at_vf exps = { 0 }, sum = { 0 };
    int64_t k = 0;
    for (; k + AT_LANES <= n; k += AT_LANES) {
        at_vf v = at_vf_load(x, i + k, type);
        exps += at_vf_exp(v - shift);
        sum += v;
    }
    if (k < n) {
        exps += at_vf_exp(at_vf_load_n(x, i + k, type, (int)(n - k), -INFINITY) - shift);
        sum += at_vf_load_n(x, i + k, type, (int)(n - k), 0.0f);
    }
    s->exps += (double)at_vf_sum(exps);
    s->sum += (double)at_vf_sum(sum);
}

AT_INLINE row_sums sums_of_row(at_dtype type, const void *x, int64_t n)
{
    row_sums s = { 0, 0, -INFINITY };
    for (int64_t i = 0; i < n; i += PIECE)
        add_piece(&s, type, x, i, n - i < PIECE ? n - i : PIECE);
    return s;
}

typedef struct job {
    const at_cross_entropy_args *a;
    double *losses; /* (R) */
} job;

static void loss_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const job *j = ctx;
    const at_cross_entropy_args *a = j->a;
    int64_t cols = at_cols(&a->x);
    (void)worker;
    for (int64_t r = begin; r < end; r++) {
        const void *x = at_row(&a->x, r);
        row_sums s = a->x.dtype == AT_F32    ? sums_of_row(AT_F32, x, cols)
                     : a->x.dtype == AT_BF16 ? sums_of_row(AT_BF16, x, cols)
                                             : sums_of_row(AT_F16, x, cols);
        double lse = (double)s.top + log(s.exps), smooth = (double)a->smoothing;
        int64_t t = ((const int32_t *)a->target.data)[r];
        if (at_has(&a->lse))
            at_set(&a->lse, 0, r, lse);
        if (t == a->ignore)
            j->losses[r] = 0;
        else if (t < 0 || t >= cols)
            j->losses[r] = NAN;
        else
            j->losses[r] = lse - (1 - smooth) * at_get(&a->x, r, t) -
                           (smooth > 0 ? smooth * s.sum / (double)cols : 0);
    }
}

static int64_t count_rows(const at_view *target, int64_t ignore)
{
    int64_t counted = 0;
    for (int64_t r = 0; r < at_cols(target); r++)
        counted += ((const int32_t *)target->data)[r] != ignore;
    return counted;
}

at_status AT_SIMD(at_cross_entropy)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_cross_entropy_args *a = args;
    job j = { a, l->scratch };
    int64_t rows = at_rows(&a->x), counted = count_rows(&a->target, a->ignore);
    (void)p;
    at_parallel(l->stream, rows, at_grain(rows, (double)at_cols(&a->x) * 4), loss_rows, &j);
    double loss = 0;
    for (int64_t r = 0; r < rows; r++)
        loss += j.losses[r];
    at_set(&a->loss, 0, 0, counted ? loss / (double)counted : 0);
    return AT_OK;
}

/* --- gradient --------------------------------------------------------------------------------- */

typedef struct bwd_job {
    const at_cross_entropy_bwd_args *a;
    float share; /* of a row that counts */
} bwd_job;

/* dx = (e^(x - lse) - even) * share; the target's own part is taken off afterwards. */
AT_INLINE void bwd_row(at_dtype type, void *dx, const void *x, int64_t n, float lse, float even,
                       float share)
{
    const at_vf shift = at_vf_set(lse), less = at_vf_set(even), factor = at_vf_set(share);
    int64_t i = 0;
    for (; i + AT_LANES <= n; i += AT_LANES)
        at_vf_store(dx, i, type, (at_vf_exp(at_vf_load(x, i, type) - shift) - less) * factor);
    int rest = (int)(n - i);
    if (!rest)
        return;
    at_vf v = at_vf_load_n(x, i, type, rest, 0.0f);
    at_vf_store_n(dx, i, type, (at_vf_exp(v - shift) - less) * factor, rest);
}

static void bwd_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const bwd_job *j = ctx;
    const at_cross_entropy_bwd_args *a = j->a;
    int64_t cols = at_cols(&a->x);
    float even = a->smoothing / (float)cols;
    (void)worker;
    for (int64_t r = begin; r < end; r++) {
        int64_t t = ((const int32_t *)a->target.data)[r];
        void *dx = at_row(&a->dx, r);
        if (t == a->ignore) {
            memset(dx, 0, (size_t)cols * at_dtype_bytes(a->x.dtype));
            continue;
        }
        bool inside = t >= 0 && t < cols;
        float share = inside ? j->share : NAN, lse = (float)at_get(&a->lse, 0, r);
        /* Read before dx, which may lie over x, is written. */
        double own = inside ? exp(at_get(&a->x, r, t) - (double)lse) : 0;
        const void *x = at_row(&a->x, r);
        if (a->x.dtype == AT_F32)
            bwd_row(AT_F32, dx, x, cols, lse, even, share);
        else if (a->x.dtype == AT_BF16)
            bwd_row(AT_BF16, dx, x, cols, lse, even, share);
        else
            bwd_row(AT_F16, dx, x, cols, lse, even, share);
        if (inside)
            at_set(&a->dx, r, t, (own - (1 - (double)a->smoothing) - (double)even) * (double)share);
    }
}

at_status AT_SIMD(at_cross_entropy_bwd)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_cross_entropy_bwd_args *a = args;
    int64_t rows = at_rows(&a->x), counted = count_rows(&a->target, a->ignore);
    bwd_job j = { a, counted ? (float)(at_get(&a->dloss, 0, 0) / (double)counted) : 0.0f };
    (void)p;
    at_parallel(l->stream, rows, at_grain(rows, (double)at_cols(&a->x) * 8), bwd_rows, &j);
    return AT_OK;
}
