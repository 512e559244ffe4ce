/* cast.cu -- bound by memory: an element is read once and written once, and filling only writes;
 * the aim is 85 % of the bandwidth. */
#include "kernels/convert.cuh"
#include "kernels/moves.cuh"

struct cast_job {
    at_lines y, x;      /* (rows, cols) */
    const float *scale; /* (1) or (rows), or NULL */
    float *amax;        /* (1) or NULL, zero before */
    int64_t rows, cols;
    bool per_row; /* a scale for each row */
    bool divide;  /* by the scale: y is e4m3 */
};

/* A quotient of two f32 never comes so near to the middle between two of them that the reference's
 * way, a product with 1 / scale in double, would round to the other one. */
__device__ __forceinline__ float scaled(float v, float scale, bool divide)
{
    return divide ? v / scale : v * scale;
}

__device__ __forceinline__ double scaled(double v, float scale, bool divide)
{
    return v * (divide ? 1.0 / scale : scale);
}

/* From i64 to i64 without the detour through a double, which has 53 bits. */
__device__ __forceinline__ void copy_whole(const cast_job &j, int64_t r, int64_t c)
{
#pragma unroll
    for (int i = 0; i < AT_PACK; i++)
        if (c + i < j.cols)
            at_line<int64_t>(j.y, r)[c + i] = at_line<int64_t>(j.x, r)[c + i];
}

template <class V>
__global__ void __launch_bounds__(AT_BLOCK) cast_packs(cast_job j)
{
    AT_SHARED(float[AT_WARPS_MAX], room);
    at_wait_for_earlier();
    const int64_t c = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * AT_PACK;
    const bool whole = j.x.dtype == AT_I64 && j.y.dtype == AT_I64;
    int64_t r = (int64_t)blockIdx.y * blockDim.y + threadIdx.y;
    float top = 0;
    for (; c < j.cols && r < j.rows; r += (int64_t)gridDim.y * blockDim.y) {
        V v[AT_PACK];
        at_values_load(v, j.x, r, c, j.cols);
#pragma unroll
        for (int i = 0; i < AT_PACK; i++)
            top = fmaxf(top, static_cast<float>(fabs(v[i])));
        if (j.scale) {
            const float scale = j.scale[j.per_row ? r : 0];
#pragma unroll
            for (int i = 0; i < AT_PACK; i++)
                v[i] = scaled(v[i], scale, j.divide);
        }
        if (whole)
            copy_whole(j, r, c);
        else
            at_values_store(j.y, r, c, j.cols, v);
    }
    if (j.amax)
        at_amax_put(top, j.amax, room);
}

extern "C" bool at_cast_cuda_fits(const void *)
{
    return true;
}

template <class V>
static cudaError_t launch_cast(const cast_job &j, at_queue stream)
{
    const at_tiles t = at_tiles_of(j.rows, j.cols);
    return AT_LAUNCH_EARLY(cast_packs<V>, t.grid, t.block, 0, stream, j);
}

extern "C" at_status at_cast_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_cast_args *>(args);
    cast_job j = { at_lines_of(&a->y),     at_lines_of(&a->x), at_floats_of(&a->scale),
                   at_floats_of(&a->amax), at_rows(&a->x),     at_cols(&a->x),
                   at_cols(&a->scale) > 1, a->y.dtype == AT_F8 };
    if (at_dense(&a->x) && at_dense(&a->y) && !j.per_row) {
        j.cols = at_elements(&a->x);
        j.rows = 1;
        j.y = at_lines_joined(&a->y, 0);
        j.x = at_lines_joined(&a->x, 0);
    }
    const bool single = at_values_are_float(a->x.dtype) && at_values_are_float(a->y.dtype);
    cudaError_t error = at_amax_clear(j.amax, at_queue_of(l));
    if (error == cudaSuccess)
        error =
            single ? launch_cast<float>(j, at_queue_of(l)) : launch_cast<double>(j, at_queue_of(l));
    return at_launched(l, error);
}

/* --- fill ------------------------------------------------------------------------------------- */

struct fill_job {
    char *y;
    int64_t step;  /* bytes from row to row */
    uint4 pattern; /* the value, repeated */
    at_walk walk;
};

template <class U>
__global__ void __launch_bounds__(AT_BLOCK) fill_units(fill_job j)
{
    at_wait_for_earlier();
    const int64_t c0 = at_walk_column(j.walk), round = at_walk_round(j.walk);
    const U v = *reinterpret_cast<const U *>(&j.pattern);
    for (int64_t r0 = at_walk_row(j.walk); r0 < j.walk.rows; r0 += round)
#pragma unroll
        for (int i = 0; i < AT_MOVES; i++) {
            const int64_t r = r0 + i * j.walk.down, c = c0 + i * j.walk.across;
            if (at_walk_inside(j.walk, r, c))
                at_unit_store<U>(j.y + r * j.step + c * (int64_t)sizeof(U), v);
        }
}

extern "C" bool at_fill_cuda_fits(const void *)
{
    return true;
}

template <class U>
static cudaError_t launch_fill(fill_job j, at_queue stream)
{
    j.walk.units /= (int64_t)sizeof(U);
    const at_tiles t = at_walk_tiles_of(&j.walk);
    return AT_LAUNCH_EARLY(fill_units<U>, t.grid, t.block, 0, stream, j);
}

extern "C" at_status at_fill_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_fill_args *>(args);
    const int64_t element = (int64_t)at_dtype_bytes(a->y.dtype);
    const int64_t rows = at_dense(&a->y) ? 1 : at_rows(&a->y);
    fill_job j = { static_cast<char *>(a->y.data), a->y.pitch * element, {}, {} };
    j.walk.rows = rows;
    j.walk.units = at_elements(&a->y) / rows * element; /* bytes still */
    for (int64_t i = 0; i < (int64_t)sizeof j.pattern / element; i++)
        at_store(&j.pattern, i, a->y.dtype, (double)a->value);
    const uint64_t bits = (uint64_t)(uintptr_t)j.y | (uint64_t)j.walk.units;
    const int unit = at_unit_of(rows > 1 ? bits | (uint64_t)j.step : bits);
    return at_launched(l, AT_BY_UNIT(unit, launch_fill, j, at_queue_of(l)));
}
