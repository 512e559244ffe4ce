/* channels_simd.h -- the passes of channels.h, compiled once per instruction set. Included by
 * *_simd.c files only. */
#ifndef AT_KERNELS_CHANNELS_SIMD_H
#define AT_KERNELS_CHANNELS_SIMD_H

#include "kernels/channels.h"
#include "kernels/vec.h"

void AT_SIMD(at_channels_forward)(const at_channels *job, const at_launch *l);
void AT_SIMD(at_channels_backward)(const at_channels *job, const at_launch *l);

/* The part of one input that lies in channels [begin, end) of all inputs together. */
typedef struct at_piece {
    const at_view *view;
    int64_t first; /* channel of the view */
    int64_t at;    /* the same channel among all */
    int64_t cols;
} at_piece;

/* Piece 'which' (0: of x, 1: of x2); cols <= 0 when nothing of it lies there. */
AT_INLINE at_piece at_piece_of(const at_view *x, const at_view *x2, int which, int64_t begin,
                               int64_t end)
{
    int64_t seam = at_cols(x), low = which ? seam : 0, high = which ? seam + at_cols(x2) : seam;
    int64_t from = begin > low ? begin : low, to = end < high ? end : high;
    return (at_piece){ which ? x2 : x, from - low, from, to - from };
}

AT_INLINE void *at_element(const at_view *v, int64_t row, int64_t col)
{
    return (char *)at_row(v, row) + (size_t)col * at_dtype_bytes(v->dtype);
}

/* n elements, AT_LANES or fewer; with a constant n = AT_LANES a plain load. */
AT_INLINE at_vf at_vf_load_upto(const void *p, int64_t i, at_dtype type, int n)
{
    return n == AT_LANES ? at_vf_load(p, i, type) : at_vf_load_n(p, i, type, n, 0.0f);
}

AT_INLINE void at_vf_store_upto(void *p, int64_t i, at_dtype type, at_vf x, int n)
{
    if (n == AT_LANES)
        at_vf_store(p, i, type, x);
    else
        at_vf_store_n(p, i, type, x, n);
}

#endif
