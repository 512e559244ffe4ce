/* attention_softmax.h -- what all attention kernels do between their two products, lane by lane.
 *
 * Scores come as panels, scores[key][query]. Each query keeps an exponent 'top', an integer near
 * the largest scaled score so far, and sums 2^(score - top). It is raised only when a score
 * exceeds it by more than RAISE, so outputs are hardly ever rescaled; p stays below 2^RAISE, which
 * costs a float nothing. Powers of two make the rescaling exact. */
#ifndef AT_KERNELS_ATTENTION_SOFTMAX_H
#define AT_KERNELS_ATTENTION_SOFTMAX_H

#include "kernels/attention.h"
#include "kernels/panel.h"

typedef struct at_softmax_lanes {
    at_vf scale;
    at_vf top[AT_PANEL_VECTORS];
    at_vi reach[AT_PANEL_VECTORS]; /* last key of the span that a lane sees */
} at_softmax_lanes;

AT_INLINE at_vi at_lanes_iota(void)
{
    at_vi x;
    for (int i = 0; i < AT_LANES; i++)
        x[i] = i;
    return x;
}

AT_INLINE at_vi at_lanes_see(const at_softmax_lanes *s, int64_t key, int v)
{
    return ((at_vi){ 0 } + (int32_t)key) <= s->reach[v];
}

/* An integer in [x, x + 1], for any x. */
AT_INLINE at_vf at_vf_whole_above(at_vf x)
{
    const at_vf magic = at_vf_set(12582912.0f);
    at_vf r = (x + magic) - magic;
    r = at_vf_select(at_vf_abs(x) < at_vf_set(4194304.0f), r, x);
    return at_vf_select(r < x, r + at_vf_set(1.0f), r);
}

AT_INLINE bool at_any_lane(at_vi mask)
{
    int64_t part[AT_LANES / 2], any = 0;
    memcpy(part, &mask, sizeof mask);
    for (int i = 0; i < AT_LANES / 2; i++)
        any |= part[i];
    return any != 0;
}

/* Loads the lanes' state and raises 'top' where the panel's scores ask for it: 'sum' and 'out' are
 * then rescaled. The first span finds top = -inf, sum = 0. */
AT_INLINE void at_softmax_open(at_softmax_lanes *s, const at_attention_block *b, int64_t row,
                               int64_t keys, float *out, const int nv, const int masked)
{
    enum { RAISE = 8 };
    const at_vf never = at_vf_set(-INFINITY);
    at_vf high[AT_PANEL_VECTORS], factor[AT_PANEL_VECTORS];
    s->scale = at_vf_set(b->scale);
    for (int v = 0; v < nv; v++) {
        high[v] = never;
        s->reach[v] = at_lanes_iota() + (int32_t)(row + v * AT_LANES + b->reach);
    }
    for (int64_t j = 0; j < keys; j++)
        AT_UNROLL for (int v = 0; v < nv; v++)
        {
            at_vf x = at_panel_get(b->scores, j * nv + v);
            if (masked)
                x = at_vf_select(at_lanes_see(s, j, v), x, never);
            high[v] = at_vf_max(high[v], x);
        }
    at_vi raised = { 0 };
    for (int v = 0; v < nv; v++) {
        at_vf old = at_vf_load(b->top, row + v * AT_LANES, AT_F32);
        at_vf wanted = at_vf_whole_above(high[v] * s->scale);
        at_vi raise = wanted > old + at_vf_set(RAISE);
        at_vf down = at_vf_max(old - wanted, at_vf_set(-127.0f)) + at_vf_set(127.0f);
        s->top[v] = at_vf_select(raise, wanted, old);
        factor[v] = (at_vf)(__builtin_convertvector(down, at_vi) << 23);
        factor[v] = at_vf_select(raise, factor[v], at_vf_set(1.0f));
        raised |= raise;
        at_vf_store(b->top, row + v * AT_LANES, AT_F32, s->top[v]);
        at_vf sum = at_vf_load(b->sum, row + v * AT_LANES, AT_F32);
        at_vf_store(b->sum, row + v * AT_LANES, AT_F32, sum * factor[v]);
    }
    if (b->key > 0 && at_any_lane(raised))
        for (int64_t e = 0; e < b->padded; e++)
            AT_UNROLL for (int v = 0; v < nv; v++)
                at_panel_set(out, e * nv + v, at_panel_get(out, e * nv + v) * factor[v]);
}

/* The probability, not yet divided by the sum, of a score of key j. */
AT_INLINE at_vf at_softmax_power(const at_softmax_lanes *s, at_vf score, int64_t j, int v,
                                 const int masked, const int degree)
{
    at_vf p = at_vf_exp2(at_vf_fma(score, s->scale, -s->top[v]), degree);
    return masked ? at_vf_select(at_lanes_see(s, j, v), p, (at_vf){ 0 }) : p;
}

/* Adds the span's sums, taken separately so that long rows keep their digits. */
AT_INLINE void at_softmax_close(const at_attention_block *b, int64_t row, const at_vf *sum,
                                const int nv)
{
    for (int v = 0; v < nv; v++)
        at_vf_store(b->sum, row + v * AT_LANES, AT_F32,
                    at_vf_load(b->sum, row + v * AT_LANES, AT_F32) + sum[v]);
}

/* State of a panel before its first span. */
AT_INLINE void at_softmax_reset(const at_attention_block *b, float *out, int64_t row, int64_t width)
{
    memset(out, 0, (size_t)(b->padded * width) * sizeof *out);
    for (int64_t i = row; i < row + width; i++) {
        b->top[i] = -INFINITY;
        b->sum[i] = 0;
    }
}

/* Turns the sums into factors for the output and writes the log-sum-exps. A query without a visible
 * key has sum 0: its factor is 0. */
AT_INLINE void at_softmax_finish(const at_attention_block *b, int64_t row, int64_t width)
{
    for (int64_t i = row; i < row + width; i++) {
        if (b->lse && i < b->rows)
            b->lse[i] = b->sum[i] > 0 ? (b->top[i] + log2f(b->sum[i])) * 0.69314718f : -INFINITY;
        b->sum[i] = b->sum[i] > 0 ? 1 / b->sum[i] : 0;
    }
}

#endif
