/* channels.h -- passes over pictures with numbers of their own for every channel: the method that
 * group_norm, instance_norm, mean_std, adain and their gradients share.
 *
 * A sample is 'rows' positions of 'cols' channels. One pass sums over the positions, channel by
 * channel; then 'finish' turns the sums of a sample into coefficients, one set per channel; then a
 * second pass applies them. Where a sample (backward: the channels that belong together, a group
 * over all positions) fits a core's cache, it is cut into slabs of channels and each slab goes
 * through all three steps at once, so that memory is read once. Where not, it is cut into parts of
 * positions: whole rows, which the prefetcher follows. Forward, that is worth reading twice.
 * Both cuts depend on the sizes of one sample only, and sums are added up in one order. */
#ifndef AT_KERNELS_CHANNELS_H
#define AT_KERNELS_CHANNELS_H

#include "kernels/ops.h"

typedef enum at_channels_way {
    AT_CHANNELS_FORWARD,
    AT_CHANNELS_WRITE, /* forward without sums: the coefficients come from elsewhere */
    AT_CHANNELS_BACKWARD
} at_channels_way;
typedef enum at_channels_act {
    AT_CHANNELS_PLAIN,
    AT_CHANNELS_RELU,
    AT_CHANNELS_SILU
} at_channels_act;

typedef struct at_channels_cut {
    int64_t batch, rows, cols; /* samples, positions of one, channels of all inputs together */
    int64_t slab;              /* channels of a slab: cols when cut by rows */
    int64_t part;              /* positions of a part: rows when cut by slabs */
    int64_t turn;              /* samples that are worked on together */
    int64_t finish;            /* channels, whole groups, whose parts are added up together */
} at_channels_cut;

/* 'all' has the sizes (B, ..., C) and the type of what is read; 'group' channels stay together. */
at_channels_cut at_channels_cut_of(const at_view *all, int64_t group, at_channels_way way);
size_t at_channels_scratch(const at_channels_cut *cut, at_channels_way way);

/* What is summed over the positions of a channel, and what is computed from that: */
enum {
    /* forward: the sums of x and x^2; u = x - centre; y = act(u * scale + shift) */
    AT_SUM_X = 0,
    AT_SUM_XX,
    AT_FORWARD_SUMS,
    AT_COEF_CENTRE = 0,
    AT_COEF_SCALE,
    AT_COEF_SHIFT,
    AT_FORWARD_COEFFICIENTS,
    /* backward: xhat = u * xhat_scale + xhat_shift; dz = act'(u * scale + shift) * dy; the sums of
     * dz, dz * xhat and xhat; dx = dz * by_dz + u * by_u + by_1 */
    AT_SUM_DZ = 0,
    AT_SUM_DZ_XHAT,
    AT_SUM_XHAT,
    AT_BACKWARD_SUMS,
    AT_COEF_XHAT_SCALE = AT_FORWARD_COEFFICIENTS,
    AT_COEF_XHAT_SHIFT,
    AT_COEF_DZ,
    AT_COEF_U,
    AT_COEF_1,
    AT_BACKWARD_COEFFICIENTS,
};

/* The numbers of channel c of one sample: sum[i][c] and coefficient[i][c]. */
typedef struct at_channels_numbers {
    double *sum[AT_BACKWARD_SUMS];
    float *coefficient[AT_BACKWARD_COEFFICIENTS];
} at_channels_numbers;

/* One op's use of the passes. Channels of x and x2 lie side by side; absent views are skipped. */
typedef struct at_channels {
    at_channels_way way;
    at_channels_cut cut;
    at_channels_act act;
    at_view x, x2;   /* (B, ..., C1), (B, ..., C2) T */
    at_view y;       /* (B, ..., C) T: forward, what is written */
    at_view y_amax;  /* (1) f32: forward, the largest |y| */
    at_view dy;      /* (B, ..., C) T: backward, what is read */
    at_view dx, dx2; /* as x, x2: backward, what is written */
    const void *args;
    /* Before the first pass of backward: CENTRE, SCALE, SHIFT, XHAT_SCALE and XHAT_SHIFT of
     * sample b's channels [begin, end), which are whole groups. */
    void (*start)(const struct at_channels *, int64_t b, int64_t begin, int64_t end,
                  const at_channels_numbers *);
    /* After the first pass: forward CENTRE, SCALE and SHIFT, backward DZ, U and 1. Also writes the
     * op's own small outputs. */
    void (*finish)(const struct at_channels *, int64_t b, int64_t begin, int64_t end,
                   const at_channels_numbers *);
    /* After backward: the sums over all samples of dz * xhat and dz, (C) each; either may be
     * absent. */
    at_view dgamma, dbeta;
} at_channels;

/* Sets channel c's centre to 'mean' in f32. What that rounding leaves, mean = centre - rest, is for
 * the shift: so a channel that hardly varies keeps its digits, however far from zero it lies. */
static inline double at_channels_centre(const at_channels_numbers *n, int64_t c, double mean)
{
    float centre = (float)mean;
    n->coefficient[AT_COEF_CENTRE][c] = centre;
    return (double)centre - mean;
}

/* What an optional operand says, or what its absence means. */
static inline double at_get_or(const at_view *v, int64_t r, int64_t c, double otherwise)
{
    return at_has(v) ? at_get(v, r, c) : otherwise;
}

static inline void at_set_if(const at_view *v, int64_t r, int64_t c, double value)
{
    if (at_has(v))
        at_set(v, r, c, value);
}

/* Where things lie in scratch; every array of channels has room for a vector beyond its end. */
int64_t at_channels_stride(const at_channels_cut *cut);
int64_t at_channels_parts(const at_channels_cut *cut);
int64_t at_channels_slabs(const at_channels_cut *cut);
int64_t at_channels_finishes(const at_channels_cut *cut);
/* Of sample i of a turn; the sums are those of one part (part 0 also takes the totals). */
at_channels_numbers at_channels_numbers_of(const at_channels_cut *cut, at_channels_way way,
                                           void *scratch, int64_t i, int64_t part);
/* One float for each part and slab of the turn: its largest |y|. */
float *at_channels_tops(const at_channels_cut *cut, at_channels_way way, void *scratch);
/* 2 * stride doubles: running totals over samples, for dgamma and dbeta. */
double *at_channels_totals(const at_channels_cut *cut, at_channels_way way, void *scratch);

#endif
