/* softmax_simd.c -- row after row, a row in a near cache while it is passed over. */
#include "kernels/softmax.h"
#include "kernels/variants.h"
#include "kernels/vec.h"

AT_SIMD_DECLARE(at_softmax);
AT_SIMD_DECLARE(at_softmax_bwd);
AT_SIMD_DECLARE(at_l2_normalize);
AT_SIMD_DECLARE(at_l2_normalize_bwd);

enum { FLOAT = 4 };

/* n elements, AT_LANES or fewer; with a constant n = AT_LANES a plain load. */
AT_INLINE at_vf load_upto(const void *p, int64_t i, at_dtype type, int n, float rest)
{
    return n == AT_LANES ? at_vf_load(p, i, type) : at_vf_load_n(p, i, type, n, rest);
}

AT_INLINE void store_upto(void *p, int64_t i, at_dtype type, at_vf x, int n)
{
    if (n == AT_LANES)
        at_vf_store(p, i, type, x);
    else
        at_vf_store_n(p, i, type, x, n);
}

/* The statements, for every vector of a row: 'c' is its first column, 'n' its elements. */
#define EACH_VECTOR(cols, ...)                          \
    do {                                                \
        int64_t c = 0;                                  \
        for (; c + AT_LANES <= (cols); c += AT_LANES) { \
            enum { n = AT_LANES };                      \
            __VA_ARGS__                                 \
        }                                               \
        if (c < (cols)) {                               \
            const int n = (int)((cols)-c);              \
            __VA_ARGS__                                 \
        }                                               \
    } while (0)

/* --- rows ------------------------------------------------------------------------------------- */

/* The exponentials are kept as f32 between the passes, so that each is computed once. */
AT_INLINE void softmax_row(at_dtype type, void *y, const void *x, int64_t cols, float factor,
                           float *kept)
{
    const at_vf scale = at_vf_set(factor);
    at_vf top = at_vf_set(-INFINITY), sum = { 0 };
    EACH_VECTOR(cols, {
        at_vf v = load_upto(x, c, type, n, 0.0f) * scale, masked = at_vf_set(-INFINITY);
        store_upto(&masked, 0, AT_F32, v, n);
        top = at_vf_max(masked, top);
    });
    const at_vf largest = at_vf_set(at_vf_largest(top));
    EACH_VECTOR(cols, {
        at_vf e = at_vf_exp(at_vf_fma(load_upto(x, c, type, n, 0.0f), scale, -largest)),
              own = { 0 };
        store_upto(&own, 0, AT_F32, e, n);
        store_upto(kept, c, AT_F32, e, n);
        sum += own;
    });
    const at_vf inverse = at_vf_set(1.0f / at_vf_sum(sum));
    EACH_VECTOR(cols,
                { store_upto(y, c, type, load_upto(kept, c, AT_F32, n, 0.0f) * inverse, n); });
}

AT_INLINE void softmax_bwd_row(at_dtype type, void *dx, const void *y, const void *dy, int64_t cols,
                               float factor)
{
    at_vf sum = { 0 };
    EACH_VECTOR(cols, {
        sum = at_vf_fma(load_upto(y, c, type, n, 0.0f), load_upto(dy, c, type, n, 0.0f), sum);
    });
    const at_vf dot = at_vf_set(at_vf_sum(sum)), scale = at_vf_set(factor);
    EACH_VECTOR(cols, {
        at_vf d = load_upto(dy, c, type, n, 0.0f) - dot;
        store_upto(dx, c, type, load_upto(y, c, type, n, 0.0f) * scale * d, n);
    });
}

/* |x|, squared in f64: a length may be in range where its square is not. */
AT_INLINE double row_length(at_dtype type, const void *x, int64_t cols)
{
    at_vsum squares = { { 0 }, { 0 } };
    EACH_VECTOR(cols, { at_vsum_add_square(&squares, load_upto(x, c, type, n, 0.0f)); });
    return sqrt(at_vsum_total(&squares));
}

AT_INLINE void l2_normalize_row(at_dtype type, void *y, const void *x, int64_t cols, double eps)
{
    double length = row_length(type, x, cols);
    const at_vf by = at_vf_set((float)(length > eps ? length : eps));
    EACH_VECTOR(cols, { store_upto(y, c, type, load_upto(x, c, type, n, 0.0f) / by, n); });
}

AT_INLINE void l2_normalize_bwd_row(at_dtype type, void *dx, const void *x, const void *dy,
                                    int64_t cols, double eps)
{
    double length = row_length(type, x, cols), along = 0;
    if (length >= eps) {
        const at_vf by = at_vf_set((float)length);
        at_vf sum = { 0 };
        EACH_VECTOR(cols, {
            at_vf unit = load_upto(x, c, type, n, 0.0f) / by;
            sum = at_vf_fma(unit, load_upto(dy, c, type, n, 0.0f), sum);
        });
        along = (double)at_vf_sum(sum) / length;
    }
    const at_vf part = at_vf_set((float)-along);
    const at_vf by = at_vf_set((float)(length > eps ? length : eps));
    EACH_VECTOR(cols, {
        at_vf d = at_vf_fma(load_upto(x, c, type, n, 0.0f), part, load_upto(dy, c, type, n, 0.0f));
        store_upto(dx, c, type, d / by, n);
    });
}

/* --- all rows --------------------------------------------------------------------------------- */

typedef enum row_op { SOFTMAX, SOFTMAX_BWD, L2_NORMALIZE, L2_NORMALIZE_BWD } row_op;

typedef struct rows_job {
    row_op op;
    const at_view *out, *a, *b; /* b: backward only */
    float number;               /* scale or eps */
    char *scratch;
    size_t scratch_row;
} rows_job;

AT_INLINE void run_row(at_dtype type, const rows_job *j, int64_t r, float *kept)
{
    int64_t cols = at_cols(j->a);
    void *out = at_row(j->out, r);
    const void *a = at_row(j->a, r);
    switch (j->op) {
    case SOFTMAX: softmax_row(type, out, a, cols, j->number, kept); break;
    case SOFTMAX_BWD: softmax_bwd_row(type, out, a, at_row(j->b, r), cols, j->number); break;
    case L2_NORMALIZE: l2_normalize_row(type, out, a, cols, (double)j->number); break;
    case L2_NORMALIZE_BWD:
        l2_normalize_bwd_row(type, out, a, at_row(j->b, r), cols, (double)j->number);
        break;
    }
}

static void run_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const rows_job *j = ctx;
    float *kept = NULL;
    if (j->scratch_row)
        kept = (float *)(void *)(j->scratch + (size_t)worker * j->scratch_row);
    for (int64_t r = begin; r < end; r++) {
        if (j->a->dtype == AT_F32)
            run_row(AT_F32, j, r, kept);
        else if (j->a->dtype == AT_BF16)
            run_row(AT_BF16, j, r, kept);
        else
            run_row(AT_F16, j, r, kept);
    }
}

static at_status run_all(rows_job *j, const at_launch *l)
{
    int64_t rows = at_rows(j->a);
    at_parallel(l->stream, rows, at_grain(rows, (double)at_cols(j->a) * FLOAT), run_rows, j);
    return AT_OK;
}

at_status AT_SIMD(at_softmax)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_softmax_args *a = args;
    (void)p;
    rows_job j = { SOFTMAX,
                   &a->y,
                   &a->x,
                   NULL,
                   a->scale != 0 ? a->scale : 1.0f,
                   l->scratch,
                   at_softmax_row_bytes(&a->x) };
    return run_all(&j, l);
}

at_status AT_SIMD(at_softmax_bwd)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_softmax_bwd_args *a = args;
    (void)p;
    rows_job j = { SOFTMAX_BWD, &a->dx, &a->y, &a->dy, a->scale != 0 ? a->scale : 1.0f, NULL, 0 };
    return run_all(&j, l);
}

at_status AT_SIMD(at_l2_normalize)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_l2_normalize_args *a = args;
    (void)p;
    rows_job j = { L2_NORMALIZE, &a->y, &a->x, NULL, a->eps, NULL, 0 };
    return run_all(&j, l);
}

at_status AT_SIMD(at_l2_normalize_bwd)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_l2_normalize_bwd_args *a = args;
    (void)p;
    rows_job j = { L2_NORMALIZE_BWD, &a->dx, &a->x, &a->dy, a->eps, NULL, 0 };
    return run_all(&j, l);
}
