/* cudnn_variants.h -- rows of variant tables for cuDNN: their candidates are its engines, of which
 * nobody knows without trying whether a sample's bytes depend on the batch. */
#ifndef AT_KERNELS_CUDNN_VARIANTS_H
#define AT_KERNELS_CUDNN_VARIANTS_H

#include "kernels/variants.h"

void at_cudnn_release(at_prepared *p);

#define AT_CUDNN_DECLARE(F)                                                                  \
    bool F##_cudnn_fits(const void *args);                                                   \
    at_status F##_cudnn_prepare(const void *args, const at_prepare_in *in, at_prepared *out, \
                                at_error *err);                                              \
    int F##_cudnn_candidates(const void *args, const at_caps *caps);                         \
    at_run_fn F##_cudnn
#define AT_CUDNN_VARIANT(op, F)                                                       \
    {                                                                                 \
        op "_cudnn", AT_CUDA, AT_CAP_MASK(CUDNN), AT_ROWS_WHEN_TRIED, F##_cudnn_fits, \
            F##_cudnn_prepare, F##_cudnn_candidates, at_cudnn_release, F##_cudnn      \
    }

#endif
