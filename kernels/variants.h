/* variants.h -- rows of variant tables that every family writes the same way. */
#ifndef AT_KERNELS_VARIANTS_H
#define AT_KERNELS_VARIANTS_H

#include "kernels/ops.h"

typedef at_status at_run_fn(const void *args, const at_prepared *p, const at_launch *l);

/* The variants of a function F that a *_simd.c file defines as AT_SIMD(F): one row per instruction
 * set it is compiled for, widest first. */
#if defined(__x86_64__)
#define AT_SIMD_DECLARE(F) at_run_fn F##_avx512, F##_avx2
#define AT_SIMD_VARIANTS(op, F, flags, fits, prepare, release)                                     \
    {                                                                                              \
        op "_avx512", AT_CPU, AT_CAP_MASK(AVX512), flags, fits, prepare, NULL, release, F##_avx512 \
    },                                                                                             \
    {                                                                                              \
        op "_avx2", AT_CPU, AT_CAP_MASK(AVX2), flags, fits, prepare, NULL, release, F##_avx2       \
    }
#else
#define AT_SIMD_DECLARE(F) at_run_fn F##_simd
#define AT_SIMD_VARIANTS(op, F, flags, fits, prepare, release)               \
    {                                                                        \
        op "_simd", AT_CPU, 0, flags, fits, prepare, NULL, release, F##_simd \
    }
#endif

/* The variant of a function F that a *.cu file defines, F_cuda beside what it fits: the first rows
 * of a table, under #ifdef AT_HAS_CUDA. */
#define AT_CUDA_DECLARE(F) \
    at_run_fn F##_cuda;    \
    bool F##_cuda_fits(const void *args)
#define AT_CUDA_VARIANT(op, F, flags, prepare)                                      \
    {                                                                               \
        op "_cuda", AT_CUDA, 0, flags, F##_cuda_fits, prepare, NULL, NULL, F##_cuda \
    }

/* What the *_simd.c files read and write. */
static inline bool at_is_simd_type(at_dtype type)
{
    return type == AT_F32 || type == AT_BF16 || type == AT_F16;
}

/* The last row of every table: the definition in plain C. It takes one sample at a time. */
#define AT_REFERENCE(op, run)                                                  \
    {                                                                          \
        op "_ref", AT_CPU, 0, AT_ROWS_INDEPENDENT, NULL, NULL, NULL, NULL, run \
    }

#endif
