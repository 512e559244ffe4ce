/* amax.h -- the largest magnitude that the threads of a call have seen, to choose an f8 scale by.
 * Each keeps its own, a cache line apart; the largest of them does not depend on who saw what. What
 * is not a number is passed over. */
#ifndef AT_KERNELS_AMAX_H
#define AT_KERNELS_AMAX_H

#include "kernels/op.h"

enum { AT_AMAX_APART = 16 }; /* floats */

/* A variant's prepare(): a place for every worker. */
static inline at_status at_amax_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                        at_error *err)
{
    (void)args, (void)err;
    out->scratch_bytes = (size_t)in->caps->threads * AT_AMAX_APART * sizeof(float);
    return AT_OK;
}

/* The workers' places, cleared; NULL when nobody asks for 'amax'. */
static inline float *at_amax_begin(const at_view *amax, const at_launch *l)
{
    float *places = at_has(amax) ? l->scratch : NULL;
    for (int i = 0; places && i < l->stream->threads; i++)
        places[i * AT_AMAX_APART] = 0;
    return places;
}

static inline void at_amax_end(const at_view *amax, const at_launch *l, const float *places)
{
    float largest = 0;
    for (int i = 0; places && i < l->stream->threads; i++)
        if (places[i * AT_AMAX_APART] > largest)
            largest = places[i * AT_AMAX_APART];
    if (places)
        *(float *)amax->data = largest;
}

#endif
