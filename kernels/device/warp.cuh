/* warp.cuh -- sums and maxima over a warp or a block, in an order that never changes.
 *
 * All threads of the warp, or of the block, call; all get the result. */
#ifndef AT_KERNELS_DEVICE_WARP_CUH
#define AT_KERNELS_DEVICE_WARP_CUH

#include "kernels/device/device.cuh"

enum { AT_WARP = 32, AT_WARPS_MAX = 32 };
constexpr unsigned AT_LANES_ALL = 0xffffffffu;

/* Of f32 or f64. */
template <class F>
__device__ __forceinline__ F at_warp_sum(F v)
{
#pragma unroll
    for (int bits = AT_WARP / 2; bits > 0; bits /= 2)
        v += __shfl_xor_sync(AT_LANES_ALL, v, bits);
    return v;
}

__device__ __forceinline__ float at_warp_max(float v)
{
#pragma unroll
    for (int bits = AT_WARP / 2; bits > 0; bits /= 2)
        v = fmaxf(v, __shfl_xor_sync(AT_LANES_ALL, v, bits));
    return v;
}

/* Whole warps only. 'room' is shared, (AT_WARPS_MAX) numbers; it is free again on return. */
template <class F>
__device__ __forceinline__ F at_block_sum(F v, F *room)
{
    const unsigned lane = threadIdx.x % AT_WARP, warp = threadIdx.x / AT_WARP;
    v = at_warp_sum(v);
    if (lane == 0)
        room[warp] = v;
    __syncthreads();
    v = at_warp_sum(lane < blockDim.x / AT_WARP ? room[lane] : F(0));
    __syncthreads();
    return v;
}

__device__ __forceinline__ float at_block_max(float v, float *room)
{
    const unsigned lane = threadIdx.x % AT_WARP, warp = threadIdx.x / AT_WARP;
    v = at_warp_max(v);
    if (lane == 0)
        room[warp] = v;
    __syncthreads();
    v = at_warp_max(lane < blockDim.x / AT_WARP ? room[lane] : -INFINITY);
    __syncthreads();
    return v;
}

#endif
