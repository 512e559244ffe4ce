/* softmax.h -- the scratch of softmax's fast variants: one row of f32 for each thread. */
#ifndef AT_KERNELS_SOFTMAX_H
#define AT_KERNELS_SOFTMAX_H

#include "kernels/ops.h"

static inline size_t at_softmax_row_bytes(const at_view *x)
{
    enum { LINE = 64 };
    return ((size_t)at_cols(x) * sizeof(float) + LINE - 1) / LINE * LINE + LINE;
}

#endif
