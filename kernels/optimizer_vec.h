/* optimizer_vec.h -- vectors of weights for the optimizers, whole or cut short by the end of a run.
 *
 * Included by *_simd.c files only. */
#ifndef AT_KERNELS_OPTIMIZER_VEC_H
#define AT_KERNELS_OPTIMIZER_VEC_H

#include "kernels/optimizer.h"
#include "kernels/vec.h"

/* n is AT_LANES (a constant in the loops, so that the choice is gone) or less. */
AT_INLINE at_vf at_lanes_load(const void *p, int64_t i, at_dtype type, int n)
{
    return n == AT_LANES ? at_vf_load(p, i, type) : at_vf_load_n(p, i, type, n, 0.0f);
}

AT_INLINE void at_lanes_store(void *p, int64_t i, at_dtype type, at_vf x, int n)
{
    if (n == AT_LANES)
        at_vf_store(p, i, type, x);
    else
        at_vf_store_n(p, i, type, x, n);
}

/* The rounded copy of weights, where one is kept. */
AT_INLINE void at_low_store(const at_view *low, int64_t i, at_vf w, int n)
{
    if (low->dtype == AT_BF16)
        at_lanes_store(low->data, i, AT_BF16, w, n);
    else if (low->dtype == AT_F16)
        at_lanes_store(low->data, i, AT_F16, w, n);
}

/* Calls vector(ctx, type, first, i, n) for each vector of a run of 'count' elements. */
#define AT_FOR_VECTORS(vector, ctx, type, first, count)          \
    do {                                                         \
        int64_t at_i = 0;                                        \
        for (; at_i + AT_LANES <= (count); at_i += AT_LANES)     \
            vector(ctx, type, first, at_i, AT_LANES);            \
        if (at_i < (count))                                      \
            vector(ctx, type, first, at_i, (int)((count)-at_i)); \
    } while (0)

/* The same with a constant type of gradients. */
#define AT_FOR_GRADIENTS(vector, ctx, type, first, count)       \
    do {                                                        \
        if ((type) == AT_F32)                                   \
            AT_FOR_VECTORS(vector, ctx, AT_F32, first, count);  \
        else if ((type) == AT_BF16)                             \
            AT_FOR_VECTORS(vector, ctx, AT_BF16, first, count); \
        else                                                    \
            AT_FOR_VECTORS(vector, ctx, AT_F16, first, count);  \
    } while (0)

/* low = w rounded: all that is left of a step that is left out. */
AT_INLINE void at_low_run(void *ctx, const int64_t *first, int64_t count)
{
    const at_view *const *views = ctx;
    for (int64_t i = 0; i < count; i += AT_LANES) {
        int n = count - i < AT_LANES ? (int)(count - i) : AT_LANES;
        at_low_store(views[1], first[1] + i, at_lanes_load(views[0]->data, first[0] + i, AT_F32, n),
                     n);
    }
}

AT_INLINE at_status at_low_copy(const at_stream *stream, const at_view *low, const at_view *w)
{
    const at_view *views[] = { w, low };
    if (at_has(low))
        at_parallel_runs(stream, views, 2, at_low_run, views);
    return AT_OK;
}

#endif
