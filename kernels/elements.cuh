/* elements.cuh -- rows of f32, bf16, f16 and e4m3 as CUDA kernels read and write them.
 *
 * A thread works on AT_PACK neighbouring elements at a time, whatever their type: one or two loads
 * of 16 bytes where a row's address allows it, else element by element. Which elements are whose,
 * and so every sum, does not depend on that. */
#ifndef AT_KERNELS_ELEMENTS_CUH
#define AT_KERNELS_ELEMENTS_CUH

#include "kernels/device/device.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/warp.cuh"
#include "kernels/variants.h"

enum { AT_PACK = 8, AT_BLOCK = 256, AT_BLOCK_MAX = 512 };

/* A view inside of a kernel. */
struct at_lines {
    void *data;
    int64_t pitch;
    at_dtype dtype;
    bool wide; /* every row begins at a multiple of 16 bytes */
};

static inline at_lines at_lines_of(const at_view *v)
{
    const uint64_t pitch = (uint64_t)v->pitch * at_dtype_bytes(v->dtype);
    return { v->data, v->pitch, v->dtype, ((uintptr_t)v->data | pitch) % 16 == 0 };
}

/* A dense view seen as rows of 'cols', which may be more or fewer than its own. */
static inline at_lines at_lines_joined(const at_view *v, int64_t cols)
{
    at_view joined = *v;
    joined.pitch = cols;
    return at_lines_of(&joined);
}

template <class T>
__device__ __forceinline__ T *at_line(const at_lines &l, int64_t row)
{
    return static_cast<T *>(l.data) + row * l.pitch;
}

/* --- packs ------------------------------------------------------------------------------------ */

/* The vector that holds a pack, or half of one. */
template <class T, int BYTES = sizeof(T)>
struct at_pack_vector {
    using type = uint4;
};
template <class T>
struct at_pack_vector<T, 1> {
    using type = uint2;
};

/* Eight elements as they lie in memory. */
template <class T>
struct __align__(sizeof(T) == 1 ? 8 : 16) at_pack
{
    T e[AT_PACK];
};

/* The elements from p on, of which n exist. What is fetched first and converted later is on its way
 * together: a conversion between two loads makes the second wait for the first. */
template <class T>
__device__ __forceinline__ void at_pack_fetch(at_pack<T> &raw, const T *p, int64_t n, bool wide)
{
    using V = typename at_pack_vector<T>::type;
    if (wide && n >= AT_PACK) {
        constexpr int EACH = sizeof(V) / sizeof(T);
#pragma unroll
        for (int i = 0; i < AT_PACK; i += EACH)
            *reinterpret_cast<V *>(raw.e + i) = at_load<V>(p + i);
        return;
    }
#pragma unroll
    for (int i = 0; i < AT_PACK; i++)
        raw.e[i] = i < n ? p[i] : static_cast<T>(0.0f);
}

/* v = the n elements, 'rest' from there on. */
template <class T>
__device__ __forceinline__ void at_pack_convert(float (&v)[AT_PACK], const at_pack<T> &raw,
                                                int64_t n, float rest)
{
#pragma unroll
    for (int i = 0; i < AT_PACK; i++)
        v[i] = i < n ? static_cast<float>(raw.e[i]) : rest;
}

/* v = the elements from p on; 'rest' from the n-th on. */
template <class T>
__device__ __forceinline__ void at_pack_load(float (&v)[AT_PACK], const T *p, int64_t n, bool wide,
                                             float rest)
{
    at_pack<T> raw;
    at_pack_fetch(raw, p, n, wide);
    at_pack_convert(v, raw, n, rest);
}

/* The first n elements from p on become the pack's. */
template <class T>
__device__ __forceinline__ void at_pack_put(T *p, const at_pack<T> &raw, int64_t n, bool wide)
{
    using V = typename at_pack_vector<T>::type;
    if (wide && n >= AT_PACK) {
        constexpr int EACH = sizeof(V) / sizeof(T);
#pragma unroll
        for (int i = 0; i < AT_PACK; i += EACH)
            at_store(p + i, *reinterpret_cast<const V *>(raw.e + i));
        return;
    }
#pragma unroll
    for (int i = 0; i < AT_PACK; i++)
        if (i < n)
            p[i] = raw.e[i];
}

template <class T>
__device__ __forceinline__ void at_pack_store(T *p, const float (&v)[AT_PACK], int64_t n, bool wide)
{
    at_pack<T> raw;
#pragma unroll
    for (int i = 0; i < AT_PACK; i++)
        raw.e[i] = static_cast<T>(v[i]);
    at_pack_put(p, raw, n, wide);
}

/* Columns c to c + 7 of a row of 'cols', in the type that the lines say: for operands that are
 * small, or whose type is their own. */
__device__ __forceinline__ void at_row_load(float (&v)[AT_PACK], const at_lines &l, int64_t row,
                                            int64_t c, int64_t cols, float rest)
{
    if (l.dtype == AT_F32)
        at_pack_load(v, at_line<float>(l, row) + c, cols - c, l.wide, rest);
    else if (l.dtype == AT_BF16)
        at_pack_load(v, at_line<__nv_bfloat16>(l, row) + c, cols - c, l.wide, rest);
    else
        at_pack_load(v, at_line<__half>(l, row) + c, cols - c, l.wide, rest);
}

/* One element likewise. */
__device__ __forceinline__ float at_row_get(const at_lines &l, int64_t row, int64_t c)
{
    if (l.dtype == AT_F32)
        return at_line<float>(l, row)[c];
    if (l.dtype == AT_BF16)
        return static_cast<float>(at_line<__nv_bfloat16>(l, row)[c]);
    return static_cast<float>(at_line<__half>(l, row)[c]);
}

/* --- grids ------------------------------------------------------------------------------------ */

/* How rows of packs are laid out over threads: x along a row, y down the rows. */
struct at_tiles {
    dim3 grid, block;
};

/* For element by element: short rows share a block, whose size is a multiple of a warp. */
static inline at_tiles at_tiles_of(int64_t rows, int64_t cols)
{
    enum { GRID_Y_MAX = 65535 };
    const int64_t packs = (cols + AT_PACK - 1) / AT_PACK;
    unsigned x = 1, y = 1;
    while (x < packs && x < AT_BLOCK)
        x *= 2;
    while (x * y < AT_WARP || (y < rows && x * y < AT_BLOCK))
        y *= 2;
    const int64_t down = (rows + y - 1) / y;
    return { dim3((unsigned)((packs + x - 1) / x),
                  (unsigned)(down < GRID_Y_MAX ? down : (int64_t)GRID_Y_MAX)),
             dim3(x, y) };
}

/* For sums along rows: a warp a row, several rows a block; a block where a row is longer. A thread
 * keeps up to AT_KEPT packs of a row in registers; longer rows are read again. */
enum { AT_KEPT = 2, AT_ROW_WARPS = 4 };

static inline at_tiles at_row_tiles_of(int64_t rows, int64_t cols)
{
    unsigned x = AT_WARP;
    while ((int64_t)x * AT_KEPT * AT_PACK < cols && x < AT_BLOCK_MAX)
        x *= 2;
    const unsigned y = x == AT_WARP && rows > 1 ? AT_ROW_WARPS : 1;
    return { dim3((unsigned)((rows + y - 1) / y)), dim3(x, y) };
}

/* This thread's packs of the columns from 'base' on, 'rest' beyond the row's end. */
__device__ __forceinline__ int64_t at_kept_column(int64_t base, int k)
{
    return base + ((int64_t)k * blockDim.x + threadIdx.x) * AT_PACK;
}

template <class T>
__device__ __forceinline__ void at_kept_load(float (&v)[AT_KEPT][AT_PACK], const at_lines &l,
                                             int64_t row, int64_t base, int64_t cols, float rest)
{
    at_pack<T> raw[AT_KEPT];
#pragma unroll
    for (int k = 0; k < AT_KEPT; k++) {
        const int64_t c = at_kept_column(base, k);
        at_pack_fetch(raw[k], at_line<T>(l, row) + c, cols - c, l.wide);
    }
#pragma unroll
    for (int k = 0; k < AT_KEPT; k++)
        at_pack_convert(v[k], raw[k], cols - at_kept_column(base, k), rest);
}

/* The same in the type that the lines say. */
__device__ __forceinline__ void at_kept_load_any(float (&v)[AT_KEPT][AT_PACK], const at_lines &l,
                                                 int64_t row, int64_t base, int64_t cols,
                                                 float rest)
{
#pragma unroll
    for (int k = 0; k < AT_KEPT; k++)
        at_row_load(v[k], l, row, at_kept_column(base, k), cols, rest);
}

template <class T>
__device__ __forceinline__ void at_kept_store(const at_lines &l, int64_t row, int64_t base,
                                              int64_t cols, const float (&v)[AT_KEPT][AT_PACK])
{
#pragma unroll
    for (int k = 0; k < AT_KEPT; k++) {
        const int64_t c = at_kept_column(base, k);
        at_pack_store(at_line<T>(l, row) + c, v[k], cols - c, l.wide);
    }
}

/* Columns that a row's threads keep at a time. */
__device__ __forceinline__ int64_t at_kept_span()
{
    return (int64_t)blockDim.x * AT_KEPT * AT_PACK;
}

__device__ __forceinline__ int64_t at_kept_row()
{
    return (int64_t)blockIdx.x * blockDim.y + threadIdx.y;
}

/* For each of a thread's kept elements: k, i. */
#define AT_FOR_KEPT(k, i)                               \
    _Pragma("unroll") for (int k = 0; k < AT_KEPT; k++) \
        _Pragma("unroll") for (int i = 0; i < AT_PACK; i++)

/* Sums and maxima of such a row; 'room' is shared, (AT_WARPS_MAX) f32. */
__device__ __forceinline__ float at_row_sum(float v, float *room)
{
    return blockDim.x == AT_WARP ? at_warp_sum(v) : at_block_sum(v, room);
}

__device__ __forceinline__ float at_row_max(float v, float *room)
{
    return blockDim.x == AT_WARP ? at_warp_max(v) : at_block_max(v, room);
}

/* What the row's first thread has; the others need not have it in memory still. */
__device__ __forceinline__ float at_row_first(float v, float *room)
{
    if (blockDim.x == AT_WARP)
        return __shfl_sync(AT_LANES_ALL, v, 0);
    if (threadIdx.x == 0)
        room[0] = v;
    __syncthreads();
    v = room[0];
    __syncthreads();
    return v;
}

/* The largest 'top' of all threads of the grid, none of them negative, is put into *amax, which was
 * zero. As integers their order is the same, so atomics do no harm. All threads call. */
__device__ __forceinline__ void at_amax_put(float top, float *amax, float *room)
{
    const unsigned thread = threadIdx.y * blockDim.x + threadIdx.x;
    const unsigned warps = blockDim.x * blockDim.y / AT_WARP;
    top = at_warp_max(top);
    if (thread % AT_WARP == 0)
        room[thread / AT_WARP] = top;
    __syncthreads();
    for (unsigned w = 0; thread == 0 && w < warps; w++)
        top = fmaxf(top, room[w]);
    if (thread == 0)
        atomicMax(reinterpret_cast<unsigned *>(amax), __float_as_uint(top));
}

/* --- the host's side -------------------------------------------------------------------------- */

static inline cudaStream_t at_stream_of(const at_launch *l)
{
    return static_cast<cudaStream_t>(l->stream->native);
}

/* For AT_LAUNCH_EARLY. */
static inline at_queue at_queue_on(const at_stream *s)
{
    return { static_cast<cudaStream_t>(s->native), s->early };
}

static inline at_queue at_queue_of(const at_launch *l)
{
    return at_queue_on(l->stream);
}

static inline at_status at_launched(const at_launch *l, cudaError_t error)
{
    return error == cudaSuccess ? AT_OK
                                : at_fail(l->err, AT_DEVICE, "%s", cudaGetErrorString(error));
}

/* An operand of f32; NULL where it is absent. */
static inline float *at_floats_of(const at_view *v)
{
    return at_has(v) ? static_cast<float *>(v->data) : nullptr;
}

/* Before a launch that uses at_amax_put(). NULL: nobody asks. */
static inline cudaError_t at_amax_clear(float *amax, cudaStream_t stream)
{
    return amax ? cudaMemsetAsync(amax, 0, sizeof *amax, stream) : cudaSuccess;
}

static inline cudaError_t at_amax_clear(float *amax, at_queue queue)
{
    return at_amax_clear(amax, queue.native);
}

/* f32, bf16 or f16: FUNCTION<type>(arguments...). */
#define AT_BY_TYPE(dtype, FUNCTION, ...)                         \
    ((dtype) == AT_F32    ? FUNCTION<float>(__VA_ARGS__)         \
     : (dtype) == AT_BF16 ? FUNCTION<__nv_bfloat16>(__VA_ARGS__) \
                          : FUNCTION<__half>(__VA_ARGS__))

#endif
