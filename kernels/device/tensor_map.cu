/* tensor_map.cu -- host code that asks the driver to encode a tensor map; it moves no tensor.
 *
 * The driver's function is found through the runtime, so that nothing links libcuda. */
#include "kernels/device/tensor_map.h"

#include <cuda.h>

typedef decltype(&cuTensorMapEncodeTiled) encode_fn;

static_assert(sizeof(CUtensorMap) == sizeof(at_tensor_map), "a tensor map has 128 bytes");

/* A number of 8 bits is copied as it is, whatever it means; zero is zero. */
static CUtensorMapDataType type_of(at_dtype dtype)
{
    switch (dtype) {
    case AT_F16: return CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
    case AT_F8: return CU_TENSOR_MAP_DATA_TYPE_UINT8;
    default: return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    }
}

cudaError_t at_tensor_map_encode(at_tensor_map *map, const at_tensor_map_2d *of)
{
    static const CUtensorMapSwizzle swizzles[] = { CU_TENSOR_MAP_SWIZZLE_NONE,
                                                   CU_TENSOR_MAP_SWIZZLE_128B,
                                                   CU_TENSOR_MAP_SWIZZLE_64B,
                                                   CU_TENSOR_MAP_SWIZZLE_32B };
    void *found = nullptr;
    cudaDriverEntryPointQueryResult result;
    cudaError_t status = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000,
                                                          cudaEnableDefault, &result);
    if (status != cudaSuccess || !found)
        return status != cudaSuccess ? status : cudaErrorNotSupported;
    cuuint64_t sizes[2] = { of->columns, of->rows }, pitches[1] = { of->pitch };
    cuuint32_t box[2] = { of->box_columns, of->box_rows }, steps[2] = { 1, 1 };
    CUresult encoded = reinterpret_cast<encode_fn>(found)(
        reinterpret_cast<CUtensorMap *>(map), type_of(of->dtype), 2, const_cast<void *>(of->data),
        sizes, pitches, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzles[of->swizzle],
        CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return encoded == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}
