/* cross_entropy_simd.c -- bound by memory and by the exponential, which cost about the same.
 *
 * A row goes by once, in pieces. What is taken out of the exponents is the largest element of
 * the first piece; only a piece that rises far above it is done again with its own largest.
 * Memory is asked for ahead of time, because one iteration's arithmetic is longer than what a
 * core looks ahead: 30 GB/s instead of 14 in f32 on two cores of a Xeon. Sums are f32 inside a
 * piece and f64 across pieces. */
#include "kernels/ops.h"
#include "kernels/variants.h"
#include "kernels/vec.h"

AT_SIMD_DECLARE(at_cross_entropy);
AT_SIMD_DECLARE(at_cross_entropy_bwd);

/* --- loss ------------------------------------------------------------------------------------- */

typedef struct row_sums {
    double exps; /* sum of e^(x - shift) */
    double sum;  /* of x */
    float shift, top;
} row_sums;

/* Elements beyond the row's end are minus infinity, and 0 in the sum. */
AT_INLINE void add_vector(at_vf v, at_vf in_sum, at_vf shift, at_vf *exps, at_vf *sum, at_vf *top)
{
    *exps += at_vf_exp(v - shift);
    *sum += in_sum;
    *top = at_vf_max(*top, v);
}

enum { AHEAD = 1024 }; /* elements */

/* Sums and the largest element of n elements from element i. */
AT_INLINE row_sums sums_of_piece(at_dtype type, const void *x, int64_t i, int64_t n, float shift)
{
    at_vf exps = { 0 }, sum = { 0 }, top = at_vf_set(-INFINITY), s = at_vf_set(shift);
    int64_t k = 0;
    for (; k + AT_LANES <= n; k += AT_LANES) {
        __builtin_prefetch((const char *)x + (i + k + AHEAD) * (type == AT_F32 ? 4 : 2));
        at_vf v = at_vf_load(x, i + k, type);
        add_vector(v, v, s, &exps, &sum, &top);
    }
    if (k < n)
        add_vector(at_vf_load_n(x, i + k, type, (int)(n - k), -INFINITY),
                   at_vf_load_n(x, i + k, type, (int)(n - k), 0.0f), s, &exps, &sum, &top);
    return (row_sums){ (double)at_vf_sum(exps), (double)at_vf_sum(sum), shift, at_vf_largest(top) };
}

AT_INLINE row_sums sums_of_row(at_dtype type, const void *x, int64_t cols)
{
    enum { PIECE = 2048, RISE = 32 }; /* 2048 e^32 is far from overflow */
    row_sums row = { 0, 0, -INFINITY, -INFINITY };
    for (int64_t i = 0; i < cols; i += PIECE) {
        int64_t n = cols - i < PIECE ? cols - i : PIECE;
        row_sums piece = sums_of_piece(type, x, i, n, row.shift);
        if (piece.top > row.shift + RISE) {
            row.exps *= exp((double)row.shift - (double)piece.top);
            row.shift = piece.top;
            piece = sums_of_piece(type, x, i, n, row.shift);
        }
        if (row.shift > -INFINITY) /* else nothing but classes that are ruled out */
            row.exps += piece.exps;
        row.sum += piece.sum;
    }
    return row;
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
        double lse = (double)s.shift + log(s.exps), smooth = (double)a->smoothing;
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
    if (rest <= 0)
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
