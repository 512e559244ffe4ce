/* adamw_step.h -- AdamW's arithmetic on one vector, for states of four bytes and of one.
 *
 * Products and sums of the states are not fused, so that plain C in f32 gives the same bytes:
 * codes of one byte must not depend on who computed them. Included by *_simd.c files only. */
#ifndef AT_KERNELS_ADAMW_STEP_H
#define AT_KERNELS_ADAMW_STEP_H

#include "kernels/optimizer_vec.h"

typedef struct at_adamw_step {
    at_vf factor, beta1, rest1, beta2, rest2, eps;
    at_vf keep; /* 1 - lr * decay */
    at_vf rate; /* lr / bias1 */
    at_vf root; /* 1 / sqrt(bias2) */
} at_adamw_step;

AT_INLINE at_adamw_step at_adamw_step_of(const at_hyper *h, float beta1, float beta2, float eps,
                                         float decay)
{
    return (at_adamw_step){
        .factor = at_vf_set((float)h->factor),
        .beta1 = at_vf_set(beta1),
        .rest1 = at_vf_set((float)(1 - (double)beta1)),
        .beta2 = at_vf_set(beta2),
        .rest2 = at_vf_set((float)(1 - (double)beta2)),
        .eps = at_vf_set(eps),
        .keep = at_vf_set((float)(1 - h->lr * (double)decay)),
        .rate = at_vf_set((float)(h->lr / h->bias1)),
        .root = at_vf_set((float)(1 / sqrt(h->bias2))),
    };
}

/* m and v forward by one gradient. */
AT_INLINE void at_adamw_states(const at_adamw_step *s, at_vf *m, at_vf *v, at_vf g)
{
    g = g * s->factor;
    *m = s->beta1 * *m + s->rest1 * g;
    *v = s->beta2 * *v + s->rest2 * (g * g);
}

/* The weight that follows from the new states. */
AT_INLINE at_vf at_adamw_weight(const at_adamw_step *s, at_vf w, at_vf m, at_vf v)
{
    at_vf size = at_vf_fma(at_vf_sqrt(v), s->root, s->eps);
    return w * s->keep - s->rate * m / size;
}

#endif
