/* upsample.cu -- bound by memory, mostly by the writing: y is written once, and each element of x
 * comes from memory once and from cache for the positions beside; the aim is 85 % of the bandwidth.
 * The gradient reads every element of dy once. */
#include "kernels/box.cuh"

/* Positions move as units of 16 bytes, or of 4, 2 or 1 where addresses do not allow it. */
struct copy_job {
    uint8_t *y;                   /* (B * Ho * Wo, units) */
    const uint8_t *x;             /* (B * H * W, units) */
    int64_t y_pitch, x_pitch;     /* bytes */
    int64_t rows, out_rows, cols; /* B * Ho, Ho, Wo */
    int64_t in_rows, in_cols;     /* H, W */
    int64_t units;                /* of a position */
};

template <class V>
__device__ __forceinline__ V load_unit(const uint8_t *p)
{
    if constexpr (sizeof(V) >= 4)
        return at_load<V>(p);
    else
        return *reinterpret_cast<const V *>(p);
}

template <class V>
__device__ __forceinline__ void store_unit(uint8_t *p, V v)
{
    if constexpr (sizeof(V) >= 4)
        at_store(p, v);
    else
        *reinterpret_cast<V *>(p) = v;
}

/* A thread takes so many rows of y below each other: their loads are under way together, and most
 * of them meet in one row of x. */
enum { ROWS_EACH = 4 };

template <class V>
__global__ void __launch_bounds__(AT_BLOCK) copy_nearest(copy_job j)
{
    at_wait_for_earlier();
    const int64_t q = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    const int64_t col = q / j.units, unit = q % j.units * (int64_t)sizeof(V);
    const int64_t from = col * j.in_cols / j.cols;
    int64_t first = ((int64_t)blockIdx.y * blockDim.y + threadIdx.y) * ROWS_EACH;
    for (; col < j.cols && first < j.rows; first += (int64_t)gridDim.y * blockDim.y * ROWS_EACH) {
        V v[ROWS_EACH];
#pragma unroll
        for (int k = 0; k < ROWS_EACH; k++) {
            const int64_t r = first + k < j.rows ? first + k : j.rows - 1;
            const int64_t row =
                r / j.out_rows * j.in_rows + r % j.out_rows * j.in_rows / j.out_rows;
            v[k] = load_unit<V>(j.x + (row * j.in_cols + from) * j.x_pitch + unit);
        }
#pragma unroll
        for (int k = 0; k < ROWS_EACH; k++)
            if (first + k < j.rows)
                store_unit(j.y + ((first + k) * j.cols + col) * j.y_pitch + unit, v[k]);
    }
}

/* --- launches --------------------------------------------------------------------------------- */

template <class V>
static cudaError_t launch_copy(const copy_job &of_bytes, at_queue stream)
{
    copy_job j = of_bytes;
    j.units /= (int64_t)sizeof(V);
    const at_tiles t =
        at_tiles_of((j.rows + ROWS_EACH - 1) / ROWS_EACH, j.cols * j.units * AT_PACK);
    return AT_LAUNCH_EARLY(copy_nearest<V>, t.grid, t.block, 0, stream, j);
}

/* Moves elements as they are, so any type will do. */
extern "C" bool at_upsample_nearest_cuda_fits(const void *)
{
    return true;
}

extern "C" at_status at_upsample_nearest_cuda(const void *args, const at_prepared *,
                                              const at_launch *l)
{
    const auto *a = static_cast<const at_upsample_nearest_args *>(args);
    const int64_t bytes = (int64_t)at_dtype_bytes(a->x.dtype), *out = a->y.size, *in = a->x.size;
    const copy_job j = { static_cast<uint8_t *>(a->y.data),
                         static_cast<uint8_t *>(a->x.data),
                         a->y.pitch * bytes,
                         a->x.pitch * bytes,
                         out[0] * out[1],
                         out[1],
                         out[2],
                         in[1],
                         in[2],
                         in[3] * bytes };
    const uint64_t all = (uint64_t)(uintptr_t)j.y | (uint64_t)(uintptr_t)j.x |
                         (uint64_t)(j.y_pitch | j.x_pitch | j.units);
    const at_queue stream = at_queue_of(l);
    return at_launched(l, all % 16 == 0  ? launch_copy<uint4>(j, stream)
                          : all % 4 == 0 ? launch_copy<unsigned>(j, stream)
                          : all % 2 == 0 ? launch_copy<uint16_t>(j, stream)
                                         : launch_copy<uint8_t>(j, stream));
}

extern "C" bool at_upsample_nearest_bwd_cuda_fits(const void *args)
{
    return at_is_simd_type(static_cast<const at_upsample_nearest_bwd_args *>(args)->dy.dtype);
}

/* Row h was taken by the rows i with h <= i * H / Ho < h + 1. */
extern "C" at_status at_upsample_nearest_bwd_cuda(const void *args, const at_prepared *,
                                                  const at_launch *l)
{
    const auto *a = static_cast<const at_upsample_nearest_bwd_args *>(args);
    const int64_t H = a->dx.size[1], W = a->dx.size[2], Ho = a->dy.size[1], Wo = a->dy.size[2];
    const at_box box = { a->dx, a->dy, { { Ho, 0, Ho, H }, { Wo, 0, Wo, W } }, 1.0f };
    return at_launched(l, at_box_sum_cuda(box, at_stream_of(l)));
}
