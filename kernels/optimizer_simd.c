/* optimizer_simd.c -- Lion and the running average: bound by memory, one pass each. */
#include "kernels/optimizer_vec.h"
#include "kernels/variants.h"

AT_SIMD_DECLARE(at_lion);
AT_SIMD_DECLARE(at_ema);

/* --- Lion ------------------------------------------------------------------------------------- */

typedef struct lion_job {
    const at_lion_args *a;
    at_vd beta1, rest1; /* rest: (1 - beta) * gradient factor */
    at_vf beta2, rest2;
    at_vf keep; /* 1 - lr * decay */
    at_vf rate;
} lion_job;

/* The sign of what two nearly opposite terms leave is decided in f64: f32 would turn some
 * around. What is smaller than any f32 has no sign left. */
AT_INLINE at_vf direction(const lion_job *j, at_vf m, at_vf g)
{
    at_vf u = at_vf_join(at_vd_fma(j->beta1, at_vd_low(m), j->rest1 * at_vd_low(g)),
                         at_vd_fma(j->beta1, at_vd_high(m), j->rest1 * at_vd_high(g)));
    const at_vf one = at_vf_set(1.0f), zero = { 0 };
    return at_vf_select(u > zero, one, zero) - at_vf_select(u < zero, one, zero);
}

AT_INLINE void lion_vector(const lion_job *j, at_dtype type, const int64_t *first, int64_t i, int n)
{
    const at_lion_args *a = j->a;
    at_vf w = at_lanes_load(a->w.data, first[0] + i, AT_F32, n);
    at_vf m = at_lanes_load(a->m.data, first[1] + i, AT_F32, n);
    at_vf g = at_lanes_load(a->g.data, first[2] + i, type, n);
    w = w * j->keep - j->rate * direction(j, m, g);
    at_lanes_store(a->m.data, first[1] + i, AT_F32, at_vf_fma(j->beta2, m, j->rest2 * g), n);
    at_lanes_store(a->w.data, first[0] + i, AT_F32, w, n);
    at_low_store(&a->w_low, first[3] + i, w, n);
}

static void lion_run(void *ctx, const int64_t *first, int64_t n)
{
    const lion_job *j = ctx;
    AT_FOR_GRADIENTS(lion_vector, j, j->a->g.dtype, first, n);
}

at_status AT_SIMD(at_lion)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_lion_args *a = args;
    const at_hyper h = at_hyper_of(&a->hyper);
    (void)p;
    if (h.factor == 0)
        return at_low_copy(l->stream, &a->w_low, &a->w);
    lion_job j = {
        .a = a,
        .beta1 = (double)a->beta1 - (at_vd){ 0 },
        .rest1 = (1 - (double)a->beta1) * h.factor - (at_vd){ 0 },
        .beta2 = at_vf_set(a->beta2),
        .rest2 = at_vf_set((float)((1 - (double)a->beta2) * h.factor)),
        .keep = at_vf_set((float)(1 - h.lr * (double)a->decay)),
        .rate = at_vf_set((float)h.lr),
    };
    const at_view *const views[] = { &a->w, &a->m, &a->g, &a->w_low };
    at_parallel_runs(l->stream, views, at_has(&a->w_low) ? 4 : 3, lion_run, &j);
    return AT_OK;
}

/* --- running average -------------------------------------------------------------------------- */

typedef struct ema_job {
    const at_ema_args *a;
    at_vf rest; /* 1 - decay */
} ema_job;

AT_INLINE void ema_vector(const ema_job *j, at_dtype type, const int64_t *first, int64_t i, int n)
{
    at_vf e = at_lanes_load(j->a->e.data, first[0] + i, type, n);
    at_vf w = at_lanes_load(j->a->w.data, first[1] + i, type, n);
    at_lanes_store(j->a->e.data, first[0] + i, type, at_vf_fma(j->rest, w - e, e), n);
}

static void ema_run(void *ctx, const int64_t *first, int64_t n)
{
    const ema_job *j = ctx;
    AT_FOR_VECTORS(ema_vector, j, AT_F32, first, n);
}

at_status AT_SIMD(at_ema)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_ema_args *a = args;
    ema_job j = { a, at_vf_set((float)(1 - at_get(&a->decay, 0, 0))) };
    (void)p;
    at_parallel_runs(l->stream, (const at_view *const[]){ &a->e, &a->w }, 2, ema_run, &j);
    return AT_OK;
}
