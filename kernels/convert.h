/* convert.h -- rows from one floating type to another: what cast, broadcast and embedding share.
 * Included by *_simd.c files only. */
#ifndef AT_KERNELS_CONVERT_H
#define AT_KERNELS_CONVERT_H

#include "kernels/vec.h"

/* y = factor * x, n elements of f32, bf16 or f16. */
void AT_SIMD(at_convert)(void *y, at_dtype to, const void *x, at_dtype from, int64_t n,
                         float factor);

#endif
