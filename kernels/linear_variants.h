/* linear_variants.h -- what linear.c and linear_grad.c list: the functions of the other linear
 * files. */
#ifndef AT_KERNELS_LINEAR_VARIANTS_H
#define AT_KERNELS_LINEAR_VARIANTS_H

#include "kernels/product_variants.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef bool at_fits_fn(const void *args);
typedef at_status at_prepare_fn(const void *args, const at_prepare_in *in, at_prepared *out,
                                at_error *err);

/* Sums that a weight gradient is added to: both of the type of the gradient. */
at_status at_expect_sums(const char *op, const at_view *acc, const at_view *bias_acc, at_dtype wide,
                         at_error *err);

/* Own rows prepare by instruction set, because the width of a panel depends on it. */
#if defined(__x86_64__)
#define AT_OWN_PREPARE_DECLARE(F) at_prepare_fn F##_prepare_avx512, F##_prepare_avx2
#define AT_OWN_VARIANTS(op, F, flags, fits)                                                        \
    { op "_avx512", AT_CPU, AT_CAP_MASK(AVX512), flags, fits, F##_prepare_avx512,                  \
      NULL,         NULL,   F##_avx512 },                                                          \
    {                                                                                              \
        op "_avx2", AT_CPU, AT_CAP_MASK(AVX2), flags, fits, F##_prepare_avx2, NULL, NULL, F##_avx2 \
    }
#else
#define AT_OWN_PREPARE_DECLARE(F) at_prepare_fn F##_prepare_simd
#define AT_OWN_VARIANTS(op, F, flags, fits)                                        \
    {                                                                              \
        op "_simd", AT_CPU, 0, flags, fits, F##_prepare_simd, NULL, NULL, F##_simd \
    }
#endif

AT_SIMD_DECLARE(at_linear);
AT_SIMD_DECLARE(at_linear_few);
AT_SIMD_DECLARE(at_linear_dgrad);
AT_SIMD_DECLARE(at_linear_wgrad);
bool at_linear_simd_fits(const void *args);
bool at_linear_few_fits(const void *args);
bool at_linear_dgrad_simd_fits(const void *args);
bool at_linear_wgrad_simd_fits(const void *args);
at_status at_linear_few_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                at_error *err);
AT_OWN_PREPARE_DECLARE(at_linear);
AT_OWN_PREPARE_DECLARE(at_linear_dgrad);
AT_OWN_PREPARE_DECLARE(at_linear_wgrad);

AT_CUDA_DECLARE(at_linear_few);
AT_CUDA_TILED_DECLARE(at_linear);
AT_CUDA_TILED_DECLARE(at_linear_dgrad);
AT_CUDA_TILED_DECLARE(at_linear_wgrad);

/* cuBLASLt's rows: after what is for few rows, before our own tiles. What the library does not do
 * our own functions do beside it: what a product that ends in f8 is multiplied by, 1 / y_scale, and
 * an amax of zero; the sums of dy's columns, in at_linear_dbias_bytes() of scratch. */
#define AT_CUBLASLT_DECLARE(F)                                      \
    bool F##_cublaslt_fits(const void *args);                       \
    at_prepare_fn F##_cublaslt_prepare;                             \
    int F##_cublaslt_candidates(const void *args, const at_caps *); \
    at_run_fn F##_cublaslt
AT_CUBLASLT_DECLARE(at_linear);
AT_CUBLASLT_DECLARE(at_linear_dgrad);
AT_CUBLASLT_DECLARE(at_linear_wgrad);
void at_cublaslt_product_release(at_prepared *p);
at_status at_linear_f8_scale_cuda(float *factor, const at_linear_args *a, const at_launch *l);
size_t at_linear_dbias_bytes(const at_linear_wgrad_args *a);
at_status at_linear_dbias_cuda(const at_linear_wgrad_args *a, void *sums, const at_launch *l);
#define AT_CUBLASLT_VARIANT(op, F)                                                             \
    {                                                                                          \
        op "_cublaslt", AT_CUDA, AT_CAP_MASK(CUBLASLT), AT_ROWS_WHEN_TRIED, F##_cublaslt_fits, \
            F##_cublaslt_prepare, F##_cublaslt_candidates, at_cublaslt_product_release,        \
            F##_cublaslt                                                                       \
    }

/* Scratch of linear for few rows: rows widened to f32, one number a block, sums of each worker. */
typedef struct at_few_layout {
    int64_t stride; /* of a widened row, elements */
    size_t x, amax, worker, total;
} at_few_layout;
at_few_layout at_few_layout_of(const at_linear_args *a, int threads);
/* The most weight rows of a block, and the shortest. */
enum { AT_FEW_BLOCK = 48, AT_FEW_LANES = 16 };

/* The library's rows: where bf16 products are fast it is first, elsewhere own code that widens to
 * f32 is faster than it. */
#if defined(AT_HAS_ONEDNN)
bool at_linear_bf16_onednn_fits(const void *args);
bool at_linear_f32_onednn_fits(const void *args);
bool at_linear_dgrad_bf16_onednn_fits(const void *args);
bool at_linear_dgrad_f32_onednn_fits(const void *args);
at_status at_linear_onednn_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                   at_error *err);
at_status at_linear_dgrad_onednn_prepare(const void *args, const at_prepare_in *in,
                                         at_prepared *out, at_error *err);
at_status at_linear_onednn_run(const void *args, const at_prepared *p, const at_launch *l);
at_status at_linear_dgrad_onednn_run(const void *args, const at_prepared *p, const at_launch *l);
void at_linear_onednn_release(at_prepared *p);

/* clang-format off */
#define AT_LINEAR_ONEDNN_ROW(op, type, suffix, cap, flags) \
    { #op "_" #type suffix, AT_CPU, AT_CAP_MASK(cap), flags, at_##op##_##type##_onednn_fits, \
      at_##op##_onednn_prepare, NULL, at_linear_onednn_release, at_##op##_onednn_run }
/* clang-format on */
#define AT_LINEAR_ONEDNN_FIRST(op, flags) \
    AT_LINEAR_ONEDNN_ROW(op, bf16, "_onednn_fast", BF16_FAST, flags),
#define AT_LINEAR_ONEDNN_F32(op, flags) AT_LINEAR_ONEDNN_ROW(op, f32, "_onednn", AVX2, flags),
#define AT_LINEAR_ONEDNN_LAST(op, flags) \
    AT_LINEAR_ONEDNN_ROW(op, bf16, "_onednn", AVX512_BF16, flags),
#else
#define AT_LINEAR_ONEDNN_FIRST(op, flags)
#define AT_LINEAR_ONEDNN_F32(op, flags)
#define AT_LINEAR_ONEDNN_LAST(op, flags)
#endif

#ifdef __cplusplus
}
#endif
#endif
