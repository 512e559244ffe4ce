/* mse.cu -- bound by memory: x and target are read once, and dx is written once; the aim is 85 % of
 * the bandwidth.
 *
 * Differences are f32, squares and sums f64, part by part (sums.h). */
#include "kernels/sums.cuh"

/* --- loss ------------------------------------------------------------------------------------- */

struct mse_job {
    at_flat x, target;   /* (B, n) */
    double *sums;        /* (B, parts) */
    const float *weight; /* (B) or NULL */
    float *per_sample;   /* (B) or NULL */
    float *loss;         /* (1) */
    int64_t samples, n, parts;
    float delta; /* 0: the square */
};

__device__ __forceinline__ double penalty(float d, float delta)
{
    if (delta <= 0)
        return static_cast<double>(d) * d;
    const float size = fabsf(d);
    return size <= delta ? 0.5f * d * d : delta * (size - 0.5f * delta);
}

enum { SPAN = AT_BLOCK * AT_PACK }; /* elements that a block loads at a time */

template <class T>
__global__ void __launch_bounds__(AT_BLOCK) mse_parts(mse_job j)
{
    AT_SHARED(double[AT_WARPS_MAX], room);
    const int64_t b = blockIdx.x / j.parts, first = blockIdx.x % j.parts * AT_SUM_PART;
    const int64_t n = j.n - first < AT_SUM_PART ? j.n - first : (int64_t)AT_SUM_PART;
    const int64_t at = b * j.n + first;
    double sum = 0;
    for (int64_t e = (int64_t)threadIdx.x * AT_PACK; e < n; e += 2 * SPAN) {
        const at_pack<T> x0 = at_flat_load<T>(j.x, at + e, n - e);
        const at_pack<T> t0 = at_flat_load<T>(j.target, at + e, n - e);
        const at_pack<T> x1 = at_flat_load<T>(j.x, at + e + SPAN, n - e - SPAN);
        const at_pack<T> t1 = at_flat_load<T>(j.target, at + e + SPAN, n - e - SPAN);
#pragma unroll
        for (int i = 0; i < AT_PACK; i++) {
            sum += penalty(at_flat_get(x0, i) - at_flat_get(t0, i), j.delta);
            sum += penalty(at_flat_get(x1, i) - at_flat_get(t1, i), j.delta);
        }
    }
    sum = at_block_sum(sum, room);
    if (threadIdx.x == 0)
        j.sums[blockIdx.x] = sum;
}

/* One block; a warp a sample. */
static __global__ void __launch_bounds__(AT_BLOCK) mse_samples(mse_job j)
{
    AT_SHARED(double[AT_WARPS_MAX], room);
    const unsigned lane = threadIdx.x % AT_WARP;
    double loss = 0;
    for (int64_t b = threadIdx.x / AT_WARP; b < j.samples; b += AT_BLOCK / AT_WARP) {
        double mean = 0;
        for (int64_t part = lane; part < j.parts; part += AT_WARP)
            mean += j.sums[b * j.parts + part];
        mean = at_warp_sum(mean) / static_cast<double>(j.n);
        if (lane == 0 && j.per_sample)
            j.per_sample[b] = static_cast<float>(mean);
        if (lane == 0)
            loss += (j.weight ? j.weight[b] : 1.0f) * mean;
    }
    loss = at_block_sum(loss, room);
    if (threadIdx.x == 0)
        *j.loss = static_cast<float>(loss / static_cast<double>(j.samples));
}

template <class T>
static cudaError_t launch_loss(const mse_job &j, cudaStream_t stream)
{
    const dim3 grid((unsigned)(j.samples * j.parts));
    const cudaError_t error = AT_LAUNCH(mse_parts<T>, grid, AT_BLOCK, 0, stream, j);
    return error == cudaSuccess ? AT_LAUNCH(mse_samples, 1, AT_BLOCK, 0, stream, j) : error;
}

extern "C" bool at_mse_cuda_fits(const void *args)
{
    return at_is_simd_type(static_cast<const at_mse_args *>(args)->x.dtype);
}

extern "C" at_status at_mse_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_mse_args *>(args);
    const int64_t samples = a->x.size[0], n = at_elements(&a->x) / samples;
    const mse_job j = { at_flat_of(&a->x),
                        at_flat_of(&a->target),
                        static_cast<double *>(l->scratch),
                        at_floats_of(&a->weight),
                        at_floats_of(&a->per_sample),
                        at_floats_of(&a->loss),
                        samples,
                        n,
                        at_sum_parts(n),
                        a->delta };
    return at_launched(l, AT_BY_TYPE(a->x.dtype, launch_loss, j, at_stream_of(l)));
}

/* --- gradient --------------------------------------------------------------------------------- */

struct mse_bwd_job {
    at_lines dx, x, target; /* (rows, cols) */
    const float *weight;    /* of row r: weight[r / every]; NULL: 1 */
    const float *dloss;     /* (1) */
    int64_t rows, cols, every;
    float elements, delta;
};

__device__ __forceinline__ float slope(float d, float delta)
{
    if (delta <= 0)
        return d + d;
    return d < -delta ? -delta : d > delta ? delta : d;
}

template <class T>
__global__ void __launch_bounds__(AT_BLOCK) mse_backward(mse_bwd_job j)
{
    const float share = *j.dloss / j.elements;
    const int64_t c = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * AT_PACK;
    int64_t r = (int64_t)blockIdx.y * blockDim.y + threadIdx.y;
    for (; c < j.cols && r < j.rows; r += (int64_t)gridDim.y * blockDim.y) {
        const float factor = share * (j.weight ? j.weight[r / j.every] : 1.0f);
        float x[AT_PACK], target[AT_PACK];
        at_pack_load(x, at_line<T>(j.x, r) + c, j.cols - c, j.x.wide, 0.0f);
        at_pack_load(target, at_line<T>(j.target, r) + c, j.cols - c, j.target.wide, 0.0f);
#pragma unroll
        for (int i = 0; i < AT_PACK; i++)
            x[i] = factor * slope(x[i] - target[i], j.delta);
        at_pack_store(at_line<T>(j.dx, r) + c, x, j.cols - c, j.dx.wide);
    }
}

template <class T>
static cudaError_t launch_backward(const mse_bwd_job &j, cudaStream_t stream)
{
    const at_tiles t = at_tiles_of(j.rows, j.cols);
    return AT_LAUNCH(mse_backward<T>, t.grid, t.block, 0, stream, j);
}

extern "C" bool at_mse_bwd_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_mse_bwd_args *>(args);
    return at_is_simd_type(a->x.dtype) && a->dloss.dtype == AT_F32;
}

extern "C" at_status at_mse_bwd_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_mse_bwd_args *>(args);
    const int64_t samples = a->x.size[0], rows = at_rows(&a->x), elements = at_elements(&a->x);
    mse_bwd_job j = { at_lines_of(&a->dx),     at_lines_of(&a->x),
                      at_lines_of(&a->target), at_floats_of(&a->weight),
                      at_floats_of(&a->dloss), rows,
                      at_cols(&a->x),          rows / samples,
                      (float)elements,         a->delta };
    if (at_dense(&a->dx) && at_dense(&a->x) && at_dense(&a->target)) { /* a sample is a row */
        j.rows = samples;
        j.cols = elements / samples;
        j.every = 1;
        j.dx = at_lines_joined(&a->dx, j.cols);
        j.x = at_lines_joined(&a->x, j.cols);
        j.target = at_lines_joined(&a->target, j.cols);
    }
    return at_launched(l, AT_BY_TYPE(a->x.dtype, launch_backward, j, at_stream_of(l)));
}
