/* box.h -- every position of a picture is the sum over a box of another picture's positions, times
 * a factor: average pooling, its gradient and the gradient of nearest upsampling differ only in
 * where the boxes lie.
 *
 * Included by *_simd.c files only. */
#ifndef AT_KERNELS_BOX_H
#define AT_KERNELS_BOX_H

#include "kernels/vec.h"

/* Position o of an axis sums positions ceil((step * o + first) / div) up to, without it,
 * ceil((step * o + last) / div), as far as they exist. */
typedef struct at_box_axis {
    int64_t step, first, last, div;
} at_box_axis;

typedef struct at_box {
    at_view y, x; /* (B, Ho, Wo, C), (B, H, W, C) of one type */
    at_box_axis axis[2];
    float factor;
} at_box;

/* ceil((step * o + first) / div) for o = 0, 1, ..., with one division at the start: for narrow
 * pictures divisions cost more than the pixels. */
typedef struct at_walk {
    int64_t at, over, step, step_over, div;
} at_walk;

AT_INLINE at_walk at_walk_start(int64_t step, int64_t first, int64_t div)
{
    int64_t n = first + div - 1, at = n / div, over = n % div;
    return (at_walk){ over < 0 ? at - 1 : at, over < 0 ? over + div : over, step / div, step % div,
                      div };
}

AT_INLINE void at_walk_next(at_walk *w)
{
    w->at += w->step;
    w->over += w->step_over;
    if (w->over >= w->div) {
        w->over -= w->div;
        w->at++;
    }
}

void AT_SIMD(at_box_sum)(const at_box *box, const at_stream *stream);

#endif
