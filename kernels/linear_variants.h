/* linear_variants.h -- what linear.c and linear_grad.c list: the functions of the other linear files. */
#ifndef AT_KERNELS_LINEAR_VARIANTS_H
#define AT_KERNELS_LINEAR_VARIANTS_H

#include "kernels/variants.h"

typedef bool at_linear_fits_fn(const void *args);
typedef at_status at_linear_prepare_fn(const void *args, const at_prepare_in *in, at_prepared *out,
                                       at_error *err);

AT_SIMD_DECLARE(at_linear);
AT_SIMD_DECLARE(at_linear_few);
AT_SIMD_DECLARE(at_linear_dgrad);
AT_SIMD_DECLARE(at_linear_wgrad);
at_linear_fits_fn at_linear_simd_fits, at_linear_few_fits, at_linear_dgrad_simd_fits,
    at_linear_wgrad_simd_fits;
at_linear_prepare_fn at_linear_simd_prepare, at_linear_few_prepare, at_linear_dgrad_simd_prepare,
    at_linear_wgrad_simd_prepare;
void at_linear_simd_release(at_prepared *p);

/* The library's rows: where bf16 products are fast it is first, elsewhere own code that widens to f32
 * is faster than it. */
#if defined(AT_HAS_ONEDNN)
at_linear_fits_fn at_linear_onednn_fits, at_linear_dgrad_onednn_fits;
at_linear_prepare_fn at_linear_onednn_prepare, at_linear_dgrad_onednn_prepare;
at_run_fn at_linear_onednn_run, at_linear_dgrad_onednn_run;
void at_linear_onednn_release(at_prepared *p);

#define AT_LINEAR_ONEDNN_ROW(op, suffix, cap, flags)                             \
    {                                                                            \
        #op suffix, AT_CPU, AT_CAP_MASK(cap), flags, at_##op##_onednn_fits,      \
            at_##op##_onednn_prepare, NULL, at_linear_onednn_release,            \
            at_##op##_onednn_run                                                 \
    }
#define AT_LINEAR_ONEDNN_FIRST(op, flags) \
    AT_LINEAR_ONEDNN_ROW(op, "_bf16_onednn_fast", BF16_FAST, flags),
#define AT_LINEAR_ONEDNN_LAST(op, flags) \
    AT_LINEAR_ONEDNN_ROW(op, "_bf16_onednn", AVX512_BF16, flags),
#else
#define AT_LINEAR_ONEDNN_FIRST(op, flags)
#define AT_LINEAR_ONEDNN_LAST(op, flags)
#endif

#endif
