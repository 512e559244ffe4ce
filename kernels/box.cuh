/* box.cuh -- every position of a picture is the sum over a box of another picture's positions,
 * times a factor, on a GPU: what box.h is on the processor. */
#ifndef AT_KERNELS_BOX_CUH
#define AT_KERNELS_BOX_CUH

#include "kernels/picture.cuh"

/* Position o of an axis sums positions ceil((step * o + first) / div) up to, without it,
 * ceil((step * o + last) / div), as far as they exist. */
struct at_box_axis {
    int64_t step, first, last, div;
};

struct at_box {
    at_view y, x; /* (B, Ho, Wo, C), (B, H, W, C) of one type: f32, bf16 or f16 */
    at_box_axis axis[2];
    float factor;
};

/* Enqueues it. A sum goes through its box row by row. */
cudaError_t at_box_sum_cuda(const at_box &box, cudaStream_t stream);

#endif
