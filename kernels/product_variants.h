/* product_variants.h -- rows of variant tables for products on a GPU: their candidates are tiles,
 * and prepare keeps which one. */
#ifndef AT_KERNELS_PRODUCT_VARIANTS_H
#define AT_KERNELS_PRODUCT_VARIANTS_H

#include "kernels/variants.h"

#define AT_CUDA_TILED_DECLARE(F)                                                            \
    AT_CUDA_DECLARE(F);                                                                     \
    at_status F##_cuda_prepare(const void *args, const at_prepare_in *in, at_prepared *out, \
                               at_error *err);                                              \
    int F##_cuda_candidates(const void *args, const at_caps *caps)
#define AT_CUDA_TILED_VARIANT(op, F, flags)                                                        \
    {                                                                                              \
        op "_cuda", AT_CUDA, 0, flags, F##_cuda_fits, F##_cuda_prepare, F##_cuda_candidates, NULL, \
            F##_cuda                                                                               \
    }

#endif
