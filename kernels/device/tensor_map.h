/* tensor_map.h -- the description of a matrix that TMA reads tiles of; made on the host.
 *
 * A kernel takes it by value: const __grid_constant__ at_tensor_map map. It holds the address, so a
 * captured launch stays valid as long as the matrix does not move. */
#ifndef AT_KERNELS_DEVICE_TENSOR_MAP_H
#define AT_KERNELS_DEVICE_TENSOR_MAP_H

#include <cuda_runtime.h>
#include <stdint.h>

#include "kernels/base.h"

typedef struct at_tensor_map {
    __align__(64) unsigned char bytes[128];
} at_tensor_map;

/* As descriptors of wgmma count them: how 16-byte pieces of a row move from row to row. */
typedef enum at_swizzle {
    AT_SWIZZLE_NONE,
    AT_SWIZZLE_128,
    AT_SWIZZLE_64,
    AT_SWIZZLE_32,
} at_swizzle;

typedef struct at_tensor_map_2d {
    const void *data; /* (rows, columns), aligned to 16 */
    uint64_t rows, columns;
    uint64_t pitch;       /* bytes from row to row, a multiple of 16 */
    uint32_t box_rows;    /* a tile, up to 256 rows */
    uint32_t box_columns; /* a row of it is no wider than the swizzle */
    at_swizzle swizzle;
    at_dtype dtype; /* bf16, f16 or f8 */
} at_tensor_map_2d;

/* cudaErrorInvalidValue when the driver does not take it. Defined in tensor_map.cu. */
cudaError_t at_tensor_map_encode(at_tensor_map *map, const at_tensor_map_2d *of);

#endif
