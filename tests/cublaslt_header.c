/* cublaslt_header.c -- our declarations of cuBLASLt against the real ones. It is compiled where
 * CUDA's toolkit is, and it either compiles or tells the row that is wrong. */
#include <cublasLt.h>
#include <stddef.h>

#include "kernels/cublaslt.h"

_Static_assert(sizeof(at_cublaslt_algo) == sizeof(cublasLtMatmulAlgo_t), "at_cublaslt_algo");
_Static_assert(sizeof(at_cublaslt_found) == sizeof(cublasLtMatmulHeuristicResult_t),
               "at_cublaslt_found");
_Static_assert(offsetof(at_cublaslt_found, workspace_bytes) ==
                       offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize) &&
                   offsetof(at_cublaslt_found, state) ==
                       offsetof(cublasLtMatmulHeuristicResult_t, state) &&
                   offsetof(at_cublaslt_found, waves) ==
                       offsetof(cublasLtMatmulHeuristicResult_t, wavesCount),
               "at_cublaslt_found");
_Static_assert(sizeof(at_cublaslt_status) == sizeof(cublasStatus_t) &&
                   sizeof(at_cublaslt_type) == sizeof(cudaDataType_t) &&
                   sizeof(at_cublaslt_compute) == sizeof(cublasComputeType_t) &&
                   sizeof(at_cublaslt_config) == sizeof(cublasLtMatmulAlgoConfigAttributes_t) &&
                   sizeof(at_cublaslt_desc_attribute) == sizeof(cublasLtMatmulDescAttributes_t) &&
                   sizeof(at_cublaslt_preference_attribute) ==
                       sizeof(cublasLtMatmulPreferenceAttributes_t),
               "an enumeration is no int");

/* The rows once more, with the real types. */
#define at_cublaslt_status               cublasStatus_t
#define at_cublaslt_type                 cudaDataType_t
#define at_cublaslt_compute              cublasComputeType_t
#define at_cublaslt_config               cublasLtMatmulAlgoConfigAttributes_t
#define at_cublaslt_desc_attribute       cublasLtMatmulDescAttributes_t
#define at_cublaslt_preference_attribute cublasLtMatmulPreferenceAttributes_t
#define at_cublaslt_handle               cublasLtHandle_t
#define at_cublaslt_stream               cudaStream_t
#define at_cublaslt_desc                 cublasLtMatmulDesc_t
#define at_cublaslt_layout               cublasLtMatrixLayout_t
#define at_cublaslt_preference           cublasLtMatmulPreference_t
#define at_cublaslt_algo                 cublasLtMatmulAlgo_t
#define at_cublaslt_found                cublasLtMatmulHeuristicResult_t

#define AT_CUBLASLT_VALUE(NAME, value) _Static_assert((int)NAME == (value), #NAME);
#define AT_CUBLASLT_CALL(returns, name, symbol, args) \
    _Static_assert(__builtin_types_compatible_p(__typeof__(symbol), returns args), #symbol);
#include "kernels/cublaslt.def"
