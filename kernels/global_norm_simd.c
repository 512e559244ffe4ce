/* global_norm_simd.c -- bound by memory: x is read once. */
#include "kernels/ops.h"
#include "kernels/sums.h"
#include "kernels/variants.h"
#include "kernels/vec.h"

AT_SIMD_DECLARE(at_global_norm);

AT_INLINE void add_run(at_vsum *sum, at_dtype type, const void *x, int64_t first, int64_t n)
{
    int64_t i = 0;
    for (; i + AT_LANES <= n; i += AT_LANES)
        at_vsum_add_square(sum, at_vf_load(x, first + i, type));
    if (i < n)
        at_vsum_add_square(sum, at_vf_load_n(x, first + i, type, (int)(n - i), 0.0f));
}

typedef struct job {
    const at_view *x;
    at_sample_rows rows;
    double *sums; /* of each part */
} job;

static void sum_parts(void *ctx, int64_t begin, int64_t end, int worker)
{
    const job *j = ctx;
    const at_view *x = j->x;
    at_vsum sum = { { 0 }, { 0 } };
    (void)worker;
    for (int64_t e = begin, n; e < end; e += n) {
        n = at_sample_run(&j->rows, e, end);
        int64_t first = at_sample_index(&j->rows, x, 0, e);
        if (x->dtype == AT_F32)
            add_run(&sum, AT_F32, x->data, first, n);
        else if (x->dtype == AT_BF16)
            add_run(&sum, AT_BF16, x->data, first, n);
        else
            add_run(&sum, AT_F16, x->data, first, n);
    }
    j->sums[begin / AT_SUM_PART] = at_vsum_total(&sum);
}

at_status AT_SIMD(at_global_norm)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_global_norm_args *a = args;
    int64_t n = at_elements(&a->x);
    job j = { &a->x, at_sample_rows_of((const at_view *const[]){ &a->x }, 1, 1), l->scratch };
    (void)p;
    at_parallel(l->stream, n, AT_SUM_PART, sum_parts, &j);
    double sum = at_has(&a->acc) ? at_get(&a->acc, 0, 0) : 0;
    sum += at_sum_in_order(j.sums, at_sum_parts(n));
    at_set(&a->norm, 0, 0, sqrt(sum));
    if (at_has(&a->sum_squares))
        at_set(&a->sum_squares, 0, 0, sum);
    return AT_OK;
}
