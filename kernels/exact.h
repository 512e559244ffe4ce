/* exact.h -- functions that give the same bits on every device: for C11 and CUDA C++, with products
 * and sums that no compiler may fuse.
 *
 * A device compiler fuses a product and a sum by default; what is written with these macros it
 * leaves alone, and the host's build says -ffp-contract=off. */
#ifndef AT_KERNELS_EXACT_H
#define AT_KERNELS_EXACT_H

#include <math.h>
#include <stdint.h>

#if defined(__CUDACC__)
#define AT_EVERYWHERE static inline __host__ __device__
#else
#define AT_EVERYWHERE static inline __attribute__((always_inline, unused))
#endif

/* In f32, and the first two in f64. */
#if defined(__CUDA_ARCH__)
#define AT_MUL_RN(a, b)   __fmul_rn(a, b)
#define AT_ADD_RN(a, b)   __fadd_rn(a, b)
#define AT_SQRT_RN(a)     __fsqrt_rn(a)
#define AT_MUL64_RN(a, b) __dmul_rn(a, b)
#define AT_ADD64_RN(a, b) __dadd_rn(a, b)
#else
#define AT_MUL_RN(a, b)   ((a) * (b))
#define AT_ADD_RN(a, b)   ((a) + (b))
#define AT_SQRT_RN(a)     sqrtf(a)
#define AT_MUL64_RN(a, b) ((a) * (b))
#define AT_ADD64_RN(a, b) ((a) + (b))
#endif

#endif
