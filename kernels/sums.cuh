/* sums.cuh -- the parts of sums.h on a GPU: a block sums a part, one more block adds up the places.
 *
 * Sums are f64, as on a processor: squares neither overflow nor vanish, and the GPUs that train
 * have f64 at half the rate of f32, far more than what memory feeds. */
#ifndef AT_KERNELS_SUMS_CUH
#define AT_KERNELS_SUMS_CUH

#include "kernels/elements.cuh"
#include "kernels/sums.h"

__device__ __forceinline__ double at_warp_sum_f64(double v)
{
#pragma unroll
    for (int bits = AT_WARP / 2; bits > 0; bits /= 2)
        v += __shfl_xor_sync(AT_LANES_ALL, v, bits);
    return v;
}

/* Whole warps only. 'room' is shared, (AT_WARPS_MAX) f64; it is free again on return. */
__device__ __forceinline__ double at_block_sum_f64(double v, double *room)
{
    const unsigned lane = threadIdx.x % AT_WARP, warp = threadIdx.x / AT_WARP;
    v = at_warp_sum_f64(v);
    if (lane == 0)
        room[warp] = v;
    __syncthreads();
    v = at_warp_sum_f64(lane < blockDim.x / AT_WARP ? room[lane] : 0.0);
    __syncthreads();
    return v;
}

/* The sum of n places, by a whole block. */
__device__ __forceinline__ double at_places_sum(const double *places, int64_t n, double *room)
{
    double sum = 0;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x)
        sum += places[i];
    return at_block_sum_f64(sum, room);
}

/* The threads of the block that adds the places up: whole warps. */
static inline unsigned at_places_threads(int64_t places)
{
    unsigned threads = AT_WARP;
    while (threads < places && threads < AT_BLOCK_MAX)
        threads *= 2;
    return threads;
}

/* A view as one long row: 'cols' elements of it lie side by side, all of them where it is dense. */
struct at_flat {
    at_lines lines;
    int64_t cols;
};

static inline at_flat at_flat_of(const at_view *v)
{
    return { at_lines_of(v), at_dense(v) ? at_elements(v) : at_cols(v) };
}

/* Eight elements as they lie in memory. Several packs are fetched before the first is made floats
 * of: a load is waited for where its bits are first touched. */
template <class T>
struct at_flat_pack {
    uint4 bits[AT_PACK * sizeof(T) / sizeof(uint4)];
};

/* Elements e to e + 7 of the long row; zeros from the n-th on. */
template <class T>
__device__ __forceinline__ at_flat_pack<T> at_flat_load(const at_flat &f, int64_t e, int64_t n)
{
    constexpr int EACH = sizeof(uint4) / sizeof(T);
    int64_t row = e < f.cols ? 0 : e / f.cols, c = e - row * f.cols;
    const T *p = at_line<T>(f.lines, row) + c;
    at_flat_pack<T> pack = {};
    if (c + AT_PACK <= f.cols && n >= AT_PACK && reinterpret_cast<uintptr_t>(p) % 16 == 0) {
#pragma unroll
        for (int i = 0; i < AT_PACK / EACH; i++)
            pack.bits[i] = at_load<uint4>(p + i * EACH);
        return pack;
    }
    T *to = reinterpret_cast<T *>(pack.bits);
#pragma unroll
    for (int i = 0; i < AT_PACK; i++) { /* perhaps into the next rows */
        if (i < n)
            to[i] = *p;
        p++;
        if (++c == f.cols) {
            c = 0;
            p = at_line<T>(f.lines, ++row);
        }
    }
    return pack;
}

template <class T>
__device__ __forceinline__ float at_flat_get(const at_flat_pack<T> &pack, int i)
{
    return static_cast<float>(reinterpret_cast<const T *>(pack.bits)[i]);
}

#endif
