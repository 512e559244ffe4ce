/* conv2d_variants.h -- what conv2d.c and conv2d_grad.c list: the functions of the other conv2d
 * files. */
#ifndef AT_KERNELS_CONV2D_VARIANTS_H
#define AT_KERNELS_CONV2D_VARIANTS_H

#include "kernels/conv2d.h"
#include "kernels/cudnn_variants.h"
#include "kernels/linear_variants.h"

#ifdef __cplusplus
extern "C" {
#endif

at_status at_conv_check(const char *op, const at_conv *c, at_error *err);

AT_SIMD_DECLARE(at_conv2d);
AT_SIMD_DECLARE(at_conv2d_dgrad);
AT_SIMD_DECLARE(at_conv2d_wgrad);
bool at_conv2d_simd_fits(const void *args);
bool at_conv2d_dgrad_simd_fits(const void *args);
bool at_conv2d_wgrad_simd_fits(const void *args);
AT_OWN_PREPARE_DECLARE(at_conv2d);
AT_OWN_PREPARE_DECLARE(at_conv2d_dgrad);
AT_OWN_PREPARE_DECLARE(at_conv2d_wgrad);
AT_CUDA_TILED_DECLARE(at_conv2d);
AT_CUDA_TILED_DECLARE(at_conv2d_dgrad);
AT_CUDA_TILED_DECLARE(at_conv2d_wgrad);
AT_CUDNN_DECLARE(at_conv2d);
AT_CUDNN_DECLARE(at_conv2d_dgrad);
AT_CUDNN_DECLARE(at_conv2d_wgrad);

/* The library's rows. Where bf16 products are slower than f32 ones, own code that widens is faster
 * than the library in bf16, so the library comes after it. */
#if defined(AT_HAS_ONEDNN)
bool at_conv2d_onednn_f32_fits(const void *args);
bool at_conv2d_onednn_bf16_fits(const void *args);
bool at_conv2d_dgrad_onednn_f32_fits(const void *args);
bool at_conv2d_dgrad_onednn_bf16_fits(const void *args);
bool at_conv2d_wgrad_onednn_f32_fits(const void *args);
bool at_conv2d_wgrad_onednn_bf16_fits(const void *args);
at_status at_conv2d_onednn_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                   at_error *err);
at_status at_conv2d_dgrad_onednn_prepare(const void *args, const at_prepare_in *in,
                                         at_prepared *out, at_error *err);
at_status at_conv2d_wgrad_onednn_prepare(const void *args, const at_prepare_in *in,
                                         at_prepared *out, at_error *err);
at_status at_conv2d_onednn_run(const void *args, const at_prepared *p, const at_launch *l);
at_status at_conv2d_dgrad_onednn_run(const void *args, const at_prepared *p, const at_launch *l);
at_status at_conv2d_wgrad_onednn_run(const void *args, const at_prepared *p, const at_launch *l);
void at_conv2d_onednn_release(at_prepared *p);
void at_conv2d_dgrad_onednn_release(at_prepared *p);
void at_conv2d_wgrad_onednn_release(at_prepared *p);

#define AT_ONEDNN_ROW(name, cap, flags, fits, F)                                             \
    {                                                                                        \
        name, AT_CPU, AT_CAP_MASK(cap), flags, fits, F##_prepare, NULL, F##_release, F##_run \
    }
#define AT_ONEDNN_FIRST(op, flags)                                                              \
    AT_ONEDNN_ROW(#op "_f32_onednn", AVX2, flags, at_##op##_onednn_f32_fits, at_##op##_onednn), \
        AT_ONEDNN_ROW(#op "_bf16_onednn_fast", BF16_FAST, flags, at_##op##_onednn_bf16_fits,    \
                      at_##op##_onednn),
#define AT_ONEDNN_LAST(op, flags)                                                     \
    AT_ONEDNN_ROW(#op "_bf16_onednn", AVX512_BF16, flags, at_##op##_onednn_bf16_fits, \
                  at_##op##_onednn),
#else
#define AT_ONEDNN_FIRST(op, flags)
#define AT_ONEDNN_LAST(op, flags)
#endif

#ifdef __cplusplus
}
#endif
#endif
