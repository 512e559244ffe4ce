/* global_norm.cu -- bound by memory: x is read once; the aim is 85 % of the bandwidth. */
#include "kernels/sums.cuh"

struct global_norm_job {
    at_flat x;
    double *sums;              /* (parts) */
    const float *acc;          /* (1) or NULL */
    float *norm, *sum_squares; /* (1), (1) or NULL */
    int64_t n, parts;
};

enum { SPAN = AT_BLOCK * AT_PACK }; /* elements that a block loads at a time */

template <class T>
__global__ void __launch_bounds__(AT_BLOCK) global_norm_parts(global_norm_job j)
{
    AT_SHARED(double[AT_WARPS_MAX], room);
    const int64_t first = (int64_t)blockIdx.x * AT_SUM_PART;
    const int64_t n = j.n - first < AT_SUM_PART ? j.n - first : (int64_t)AT_SUM_PART;
    double sum = 0;
    for (int64_t e = (int64_t)threadIdx.x * AT_PACK; e < n; e += 2 * SPAN) {
        const at_pack<T> x0 = at_flat_load<T>(j.x, first + e, n - e);
        const at_pack<T> x1 = at_flat_load<T>(j.x, first + e + SPAN, n - e - SPAN);
#pragma unroll
        for (int i = 0; i < AT_PACK; i++) {
            const double a = at_flat_get(x0, i), b = at_flat_get(x1, i);
            sum = fma(b, b, fma(a, a, sum));
        }
    }
    sum = at_block_sum(sum, room);
    if (threadIdx.x == 0)
        j.sums[blockIdx.x] = sum;
}

/* One block. */
static __global__ void __launch_bounds__(AT_BLOCK_MAX) global_norm_total(global_norm_job j)
{
    AT_SHARED(double[AT_WARPS_MAX], room);
    double sum = at_places_sum(j.sums, j.parts, room);
    if (threadIdx.x > 0)
        return;
    sum += j.acc ? *j.acc : 0.0f;
    *j.norm = static_cast<float>(sqrt(sum));
    if (j.sum_squares)
        *j.sum_squares = static_cast<float>(sum);
}

template <class T>
static cudaError_t launch_norm(const global_norm_job &j, cudaStream_t stream)
{
    const dim3 grid((unsigned)j.parts);
    const cudaError_t error = AT_LAUNCH(global_norm_parts<T>, grid, AT_BLOCK, 0, stream, j);
    if (error != cudaSuccess)
        return error;
    return AT_LAUNCH(global_norm_total, 1, at_places_threads(j.parts), 0, stream, j);
}

extern "C" bool at_global_norm_cuda_fits(const void *args)
{
    return at_is_simd_type(static_cast<const at_global_norm_args *>(args)->x.dtype);
}

extern "C" at_status at_global_norm_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_global_norm_args *>(args);
    const int64_t n = at_elements(&a->x);
    const global_norm_job j = {
        at_flat_of(&a->x),      static_cast<double *>(l->scratch), at_floats_of(&a->acc),
        at_floats_of(&a->norm), at_floats_of(&a->sum_squares),     n,
        at_sum_parts(n)
    };
    return at_launched(l, AT_BY_TYPE(a->x.dtype, launch_norm, j, at_stream_of(l)));
}

/* --- clipping --------------------------------------------------------------------------------- */

struct clip_factor_job {
    float *factor;     /* (1) */
    int32_t *bad;      /* (1) */
    const float *norm; /* (1) */
    float max_norm;
};

/* One thread. */
static __global__ void __launch_bounds__(AT_WARP) clip_factor_once(clip_factor_job j)
{
    const double norm = *j.norm, factor = j.max_norm / (norm + 1e-6);
    const bool bad = !(fabs(norm) < INFINITY); /* nor is what is not a number */
    *j.factor = bad ? 0.0f : static_cast<float>(fmin(1.0, factor));
    *j.bad = bad;
}

extern "C" bool at_clip_factor_cuda_fits(const void *)
{
    return true;
}

extern "C" at_status at_clip_factor_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_clip_factor_args *>(args);
    const clip_factor_job j = { at_floats_of(&a->factor), static_cast<int32_t *>(a->bad.data),
                                at_floats_of(&a->norm), a->max_norm };
    return at_launched(l, AT_LAUNCH(clip_factor_once, 1, 1, 0, at_stream_of(l), j));
}
