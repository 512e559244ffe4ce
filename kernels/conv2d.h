/* conv2d.h -- the geometry that convolution and its two gradients share. */
#ifndef AT_KERNELS_CONV2D_H
#define AT_KERNELS_CONV2D_H

#include "kernels/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct at_conv {
    int64_t b, h, w, ci; /* input (b, h, w, ci) */
    int64_t ho, wo, co;  /* output (b, ho, wo, co) */
    int64_t kh, kw;      /* kernel (co, ci, kh, kw) */
    int64_t sh, sw;      /* stride */
    int64_t top, left, bottom, right;
    bool reflect;
} at_conv;

at_conv at_conv_of(const at_conv2d_args *a);
at_conv at_conv_of_dgrad(const at_conv2d_dgrad_args *a);
at_conv at_conv_of_wgrad(const at_conv2d_wgrad_args *a);

double at_conv_flops(const at_conv *c);

/* Which of n rows (or columns) a padded index i, -pad <= i < n + pad, reads: -1 for a zero. The
 * border is not repeated: -1 reads 1, n reads n - 2. */
static inline int64_t at_conv_source(int64_t i, int64_t n, bool reflect)
{
    if (i >= 0 && i < n)
        return i;
    if (!reflect)
        return -1;
    return i < 0 ? -i : 2 * (n - 1) - i;
}

#ifdef __cplusplus
}
#endif
#endif
