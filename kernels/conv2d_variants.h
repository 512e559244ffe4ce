/* conv2d_variants.h -- what conv2d.c and conv2d_grad.c list: the functions of the other conv2d files. */
#ifndef AT_KERNELS_CONV2D_VARIANTS_H
#define AT_KERNELS_CONV2D_VARIANTS_H

#include "kernels/conv2d.h"
#include "kernels/variants.h"

at_status at_conv_check(const char *op, const at_conv *c, at_error *err);
/* Sums that a weight gradient is added to: both of the type of the gradient. */
at_status at_expect_sums(const char *op, const at_view *acc, const at_view *bias_acc, at_dtype wide,
                         at_error *err);

typedef bool at_fits_fn(const void *args);
typedef at_status at_prepare_fn(const void *args, const at_prepare_in *in, at_prepared *out,
                                at_error *err);

AT_SIMD_DECLARE(at_conv2d);
AT_SIMD_DECLARE(at_conv2d_dgrad);
AT_SIMD_DECLARE(at_conv2d_wgrad);
at_fits_fn at_conv2d_simd_fits, at_conv2d_dgrad_simd_fits, at_conv2d_wgrad_simd_fits;
at_prepare_fn at_conv2d_simd_prepare, at_conv2d_dgrad_simd_prepare, at_conv2d_wgrad_simd_prepare;
void at_conv2d_simd_release(at_prepared *p);

/* The library's rows. Where bf16 products are slower than f32 ones, own code that widens is faster
 * than the library in bf16, so the library comes after it. */
#if defined(AT_HAS_ONEDNN)
at_fits_fn at_conv2d_onednn_f32_fits, at_conv2d_onednn_bf16_fits;
at_fits_fn at_conv2d_dgrad_onednn_f32_fits, at_conv2d_dgrad_onednn_bf16_fits;
at_fits_fn at_conv2d_wgrad_onednn_f32_fits, at_conv2d_wgrad_onednn_bf16_fits;
at_prepare_fn at_conv2d_onednn_prepare, at_conv2d_dgrad_onednn_prepare,
    at_conv2d_wgrad_onednn_prepare;
at_run_fn at_conv2d_onednn_run, at_conv2d_dgrad_onednn_run, at_conv2d_wgrad_onednn_run;
void at_conv2d_onednn_release(at_prepared *p);

#define AT_ONEDNN_ROW(name, cap, flags, fits, F)                                         \
    {                                                                                    \
        name, AT_CPU, AT_CAP_MASK(cap), flags, fits, F##_prepare, NULL,                  \
            at_conv2d_onednn_release, F##_run                                            \
    }
#define AT_ONEDNN_FIRST(op, flags)                                                       \
    AT_ONEDNN_ROW(#op "_f32_onednn", AVX2, flags, at_##op##_onednn_f32_fits,             \
                  at_##op##_onednn),                                                     \
    AT_ONEDNN_ROW(#op "_bf16_onednn_fast", BF16_FAST, flags, at_##op##_onednn_bf16_fits, \
                  at_##op##_onednn),
#define AT_ONEDNN_LAST(op, flags)                                                        \
    AT_ONEDNN_ROW(#op "_bf16_onednn", AVX512_BF16, flags, at_##op##_onednn_bf16_fits,    \
                  at_##op##_onednn),
#else
#define AT_ONEDNN_FIRST(op, flags)
#define AT_ONEDNN_LAST(op, flags)
#endif
#define AT_CONV2D_ONEDNN_FIRST AT_ONEDNN_FIRST(conv2d, AT_ROWS_INDEPENDENT)
#define AT_CONV2D_ONEDNN_LAST AT_ONEDNN_LAST(conv2d, AT_ROWS_INDEPENDENT)
#define AT_CONV2D_DGRAD_ONEDNN_FIRST AT_ONEDNN_FIRST(conv2d_dgrad, AT_ROWS_INDEPENDENT)
#define AT_CONV2D_DGRAD_ONEDNN_LAST AT_ONEDNN_LAST(conv2d_dgrad, AT_ROWS_INDEPENDENT)
#define AT_CONV2D_WGRAD_ONEDNN_FIRST AT_ONEDNN_FIRST(conv2d_wgrad, 0)
#define AT_CONV2D_WGRAD_ONEDNN_LAST AT_ONEDNN_LAST(conv2d_wgrad, 0)

#endif
