/* adamw_simd.c -- bound by memory: 16 bytes read and 12 written for each weight, in one pass. */
#include "kernels/adamw_step.h"
#include "kernels/variants.h"

AT_SIMD_DECLARE(at_adamw);

typedef struct job {
    const at_adamw_args *a;
    at_adamw_step step;
} job;

/* 'first' holds where the run begins in w, m, v, g and w_low. */
AT_INLINE void step_vector(const job *j, at_dtype type, const int64_t *first, int64_t i, int n)
{
    const at_adamw_args *a = j->a;
    at_vf w = at_lanes_load(a->w.data, first[0] + i, AT_F32, n);
    at_vf m = at_lanes_load(a->m.data, first[1] + i, AT_F32, n);
    at_vf v = at_lanes_load(a->v.data, first[2] + i, AT_F32, n);
    at_adamw_states(&j->step, &m, &v, at_lanes_load(a->g.data, first[3] + i, type, n));
    w = at_adamw_weight(&j->step, w, m, v);
    at_lanes_store(a->m.data, first[1] + i, AT_F32, m, n);
    at_lanes_store(a->v.data, first[2] + i, AT_F32, v, n);
    at_lanes_store(a->w.data, first[0] + i, AT_F32, w, n);
    at_low_store(&a->w_low, first[4] + i, w, n);
}

static void step_run(void *ctx, const int64_t *first, int64_t n)
{
    const job *j = ctx;
    AT_FOR_GRADIENTS(step_vector, j, j->a->g.dtype, first, n);
}

at_status AT_SIMD(at_adamw)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_adamw_args *a = args;
    const at_hyper h = at_hyper_of(&a->hyper);
    (void)p;
    if (h.factor == 0)
        return at_low_copy(l->stream, &a->w_low, &a->w);
    job j = { a, at_adamw_step_of(&h, a->beta1, a->beta2, a->eps, a->decay) };
    const at_view *const views[] = { &a->w, &a->m, &a->v, &a->g, &a->w_low };
    at_parallel_runs(l->stream, views, at_has(&a->w_low) ? 5 : 4, step_run, &j);
    return AT_OK;
}
