/* mse_simd.c -- bound by memory: x and target are read once, and dx is written once.
 *
 * Differences are taken in f32 as the reference's are in f64: exact for neighbours, else good to
 * one rounding. Squares and sums are f64, part by part (sums.h). */
#include "kernels/ops.h"
#include "kernels/sums.h"
#include "kernels/variants.h"
#include "kernels/vec.h"

AT_SIMD_DECLARE(at_mse);
AT_SIMD_DECLARE(at_mse_bwd);

/* --- loss ------------------------------------------------------------------------------------- */

/* Adds the penalties of a vector of differences; delta 0 is the square. */
AT_INLINE void add_penalty(at_vsum *sum, at_vf d, float delta)
{
    if (delta <= 0) {
        at_vsum_add_square(sum, d);
        return;
    }
    at_vf size = at_vf_abs(d), half = at_vf_set(0.5f), limit = at_vf_set(delta);
    at_vf outside = limit * (size - half * limit);
    at_vsum_add(sum, at_vf_select(size <= limit, half * d * d, outside));
}

AT_INLINE void add_run(at_vsum *sum, at_dtype type, const void *x, int64_t ix, const void *t,
                       int64_t it, int64_t n, float delta)
{
    int64_t i = 0;
    for (; i + AT_LANES <= n; i += AT_LANES)
        add_penalty(sum, at_vf_load(x, ix + i, type) - at_vf_load(t, it + i, type), delta);
    int rest = (int)(n - i);
    if (rest > 0)
        add_penalty(sum,
                    at_vf_load_n(x, ix + i, type, rest, 0.0f) -
                        at_vf_load_n(t, it + i, type, rest, 0.0f),
                    delta);
}

typedef struct mse_job {
    const at_mse_args *a;
    at_sample_rows rows;
    int64_t n, parts; /* of one sample */
    double *sums;     /* (B, parts) */
} mse_job;

static void sum_parts(void *ctx, int64_t begin, int64_t end, int worker)
{
    const mse_job *j = ctx;
    const at_view *x = &j->a->x, *t = &j->a->target;
    (void)worker;
    for (int64_t u = begin; u < end; u++) {
        int64_t b = u / j->parts, e = u % j->parts * AT_SUM_PART;
        int64_t stop = e + AT_SUM_PART < j->n ? e + AT_SUM_PART : j->n;
        at_vsum sum = { { 0 }, { 0 } };
        while (e < stop) {
            int64_t n = at_sample_run(&j->rows, e, stop);
            int64_t ix = at_sample_index(&j->rows, x, b, e),
                    it = at_sample_index(&j->rows, t, b, e);
            if (x->dtype == AT_F32)
                add_run(&sum, AT_F32, x->data, ix, t->data, it, n, j->a->delta);
            else if (x->dtype == AT_BF16)
                add_run(&sum, AT_BF16, x->data, ix, t->data, it, n, j->a->delta);
            else
                add_run(&sum, AT_F16, x->data, ix, t->data, it, n, j->a->delta);
            e += n;
        }
        j->sums[u] = at_vsum_total(&sum);
    }
}

at_status AT_SIMD(at_mse)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_mse_args *a = args;
    int64_t samples = a->x.size[0], n = at_elements(&a->x) / samples;
    mse_job j = { a, at_sample_rows_of((const at_view *const[]){ &a->x, &a->target }, 2, samples),
                  n, at_sum_parts(n), l->scratch };
    (void)p;
    at_parallel(l->stream, samples * j.parts, 1, sum_parts, &j);
    double loss = 0;
    for (int64_t b = 0; b < samples; b++) {
        double mean = at_sum_in_order(j.sums + b * j.parts, j.parts) / (double)n;
        if (at_has(&a->per_sample))
            at_set(&a->per_sample, 0, b, mean);
        loss += (at_has(&a->weight) ? at_get(&a->weight, 0, b) : 1) * mean;
    }
    at_set(&a->loss, 0, 0, loss / (double)samples);
    return AT_OK;
}

/* --- gradient --------------------------------------------------------------------------------- */

AT_INLINE at_vf slope(at_vf d, float delta)
{
    if (delta <= 0)
        return d + d;
    return at_vf_min(at_vf_max(d, at_vf_set(-delta)), at_vf_set(delta));
}

typedef struct bwd_job {
    const at_mse_bwd_args *a;
    at_sample_rows rows;
    int64_t n, parts;
    float share; /* of one element of a sample of weight 1 */
} bwd_job;

AT_INLINE void slope_run(const bwd_job *j, at_dtype type, int64_t b, int64_t e, int64_t n)
{
    const at_mse_bwd_args *a = j->a;
    const void *x = a->x.data, *t = a->target.data;
    int64_t ix = at_sample_index(&j->rows, &a->x, b, e),
            it = at_sample_index(&j->rows, &a->target, b, e);
    int64_t iy = at_sample_index(&j->rows, &a->dx, b, e), i = 0;
    float weight = at_has(&a->weight) ? (float)at_get(&a->weight, 0, b) : 1.0f;
    at_vf factor = at_vf_set(j->share * weight);
    for (; i + AT_LANES <= n; i += AT_LANES) {
        at_vf d = at_vf_load(x, ix + i, type) - at_vf_load(t, it + i, type);
        at_vf_store(a->dx.data, iy + i, type, factor * slope(d, a->delta));
    }
    int rest = (int)(n - i);
    if (rest <= 0)
        return;
    at_vf d = at_vf_load_n(x, ix + i, type, rest, 0.0f) - at_vf_load_n(t, it + i, type, rest, 0.0f);
    at_vf_store_n(a->dx.data, iy + i, type, factor * slope(d, a->delta), rest);
}

static void slope_parts(void *ctx, int64_t begin, int64_t end, int worker)
{
    const bwd_job *j = ctx;
    (void)worker;
    for (int64_t u = begin; u < end; u++) {
        int64_t b = u / j->parts, e = u % j->parts * AT_SUM_PART;
        int64_t stop = e + AT_SUM_PART < j->n ? e + AT_SUM_PART : j->n;
        while (e < stop) {
            int64_t n = at_sample_run(&j->rows, e, stop);
            if (j->a->x.dtype == AT_F32)
                slope_run(j, AT_F32, b, e, n);
            else if (j->a->x.dtype == AT_BF16)
                slope_run(j, AT_BF16, b, e, n);
            else
                slope_run(j, AT_F16, b, e, n);
            e += n;
        }
    }
}

at_status AT_SIMD(at_mse_bwd)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_mse_bwd_args *a = args;
    int64_t samples = a->x.size[0], n = at_elements(&a->x) / samples;
    const at_view *const views[] = { &a->dx, &a->x, &a->target };
    bwd_job j = { a, at_sample_rows_of(views, 3, samples), n, at_sum_parts(n),
                  (float)(at_get(&a->dloss, 0, 0) / (double)(samples * n)) };
    (void)p;
    at_parallel(l->stream, samples * j.parts, 1, slope_parts, &j);
    return AT_OK;
}
