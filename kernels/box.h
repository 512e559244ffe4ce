/* box.h -- every position of a picture is the sum over a box of another picture's positions, times a
 * factor: average pooling, its gradient and the gradient of nearest upsampling differ only in where the
 * boxes lie.
 *
 * Included by *_simd.c files, after vec.h. */
#ifndef AT_KERNELS_BOX_H
#define AT_KERNELS_BOX_H

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

void AT_SIMD(at_box_sum)(const at_box *box, const at_stream *stream);

#endif
