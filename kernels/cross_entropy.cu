/* cross_entropy.cu -- bound by memory: the loss reads a row once, whatever its length, and the
 * gradient reads it once more and writes it; the aim is 80 % of the bandwidth.
 *
 * Every thread keeps the largest element that it has met and its sum of exponentials relative to
 * that; threads are brought to the row's largest at the end. */
#include "kernels/elements.cuh"
#include "kernels/sums.cuh"

__device__ __forceinline__ bool is_class(int32_t target, int64_t cols)
{
    return target >= 0 && target < cols;
}

/* --- loss ------------------------------------------------------------------------------------- */

struct cross_entropy_job {
    at_lines x;            /* (rows, cols) */
    const int32_t *target; /* (rows) */
    double *losses;        /* (rows) */
    float *lse, *loss;     /* (rows) or NULL, (1) */
    int64_t rows, cols, ignore;
    float smoothing;
};

/* A thread's part of a row: sum is of the elements, exps of e^(x - top). */
struct row_sums {
    float top, exps, sum;
};

template <class T>
__device__ __forceinline__ row_sums sums_of_thread(const cross_entropy_job &j, int64_t r)
{
    const int64_t span = at_kept_span();
    row_sums s = { -INFINITY, 0, 0 };
    for (int64_t base = 0; base < j.cols; base += span) {
        float v[AT_KEPT][AT_PACK], top = s.top;
        at_kept_load<T>(v, j.x, r, base, j.cols, -INFINITY);
        AT_FOR_KEPT(k, i)
        top = fmaxf(top, v[k][i]);
        const float shift = top > -INFINITY ? top : 0.0f; /* e^-inf is 0 also where all are -inf */
        s.exps *= expf(s.top - shift);
        s.top = top;
        AT_FOR_KEPT(k, i)
        {
            s.exps += expf(v[k][i] - shift);
            s.sum += at_kept_column(base, k) + i < j.cols ? v[k][i] : 0.0f;
        }
    }
    return s;
}

/* -(1 - s) log p[t] - s / C * sum of log p, with log p = x - lse. */
template <class T>
__global__ void __launch_bounds__(AT_BLOCK_MAX) cross_entropy_rows(cross_entropy_job j)
{
    AT_SHARED(float[AT_WARPS_MAX], room);
    const int64_t r = at_kept_row();
    if (r >= j.rows) /* whole warps, in blocks that have no barrier */
        return;
    row_sums s = sums_of_thread<T>(j, r);
    const float top = at_row_max(s.top, room);
    /* NaN where all are -inf, as e^(-inf - -inf) is by the definition. */
    const float exps = at_row_sum(s.exps * expf(s.top - top), room);
    const float sum = j.smoothing > 0 ? at_row_sum(s.sum, room) : 0.0f;
    if (threadIdx.x > 0)
        return;
    const double lse = top + log(static_cast<double>(exps)), smooth = j.smoothing;
    const int32_t t = j.target[r];
    double loss = t == j.ignore ? 0.0 : static_cast<double>(NAN);
    if (t != j.ignore && is_class(t, j.cols))
        loss = lse - (1 - smooth) * at_row_get(j.x, r, t) - smooth * sum / j.cols;
    j.losses[r] = loss;
    if (j.lse)
        j.lse[r] = static_cast<float>(lse);
}

/* How many rows count; a whole block. */
__device__ __forceinline__ double rows_counted(const int32_t *target, int64_t rows, int64_t ignore,
                                               double *room)
{
    int64_t counted = 0;
    for (int64_t r = threadIdx.x; r < rows; r += blockDim.x)
        counted += target[r] != ignore;
    return at_block_sum(static_cast<double>(counted), room);
}

/* One block. */
static __global__ void __launch_bounds__(AT_BLOCK_MAX) cross_entropy_mean(cross_entropy_job j)
{
    AT_SHARED(double[AT_WARPS_MAX], room);
    const double counted = rows_counted(j.target, j.rows, j.ignore, room);
    const double sum = at_places_sum(j.losses, j.rows, room);
    if (threadIdx.x == 0)
        *j.loss = counted > 0 ? static_cast<float>(sum / counted) : 0.0f;
}

template <class T>
static cudaError_t launch_loss(const cross_entropy_job &j, cudaStream_t stream)
{
    const at_tiles t = at_row_tiles_of(j.rows, j.cols);
    const cudaError_t error = AT_LAUNCH(cross_entropy_rows<T>, t.grid, t.block, 0, stream, j);
    if (error != cudaSuccess)
        return error;
    return AT_LAUNCH(cross_entropy_mean, 1, at_places_threads(j.rows), 0, stream, j);
}

extern "C" bool at_cross_entropy_cuda_fits(const void *args)
{
    return at_is_simd_type(static_cast<const at_cross_entropy_args *>(args)->x.dtype);
}

extern "C" at_status at_cross_entropy_cuda(const void *args, const at_prepared *,
                                           const at_launch *l)
{
    const auto *a = static_cast<const at_cross_entropy_args *>(args);
    const cross_entropy_job j = { at_lines_of(&a->x),
                                  static_cast<const int32_t *>(a->target.data),
                                  static_cast<double *>(l->scratch),
                                  at_floats_of(&a->lse),
                                  at_floats_of(&a->loss),
                                  at_rows(&a->x),
                                  at_cols(&a->x),
                                  a->ignore,
                                  a->smoothing };
    return at_launched(l, AT_BY_TYPE(a->x.dtype, launch_loss, j, at_stream_of(l)));
}

/* --- gradient --------------------------------------------------------------------------------- */

struct cross_entropy_bwd_job {
    at_lines dx, x;           /* (rows, cols) */
    const int32_t *target;    /* (rows) */
    const float *lse, *dloss; /* (rows), (1) */
    float *share;             /* (1): of a row that counts */
    int64_t rows, cols, ignore;
    float smoothing;
};

/* One block. */
static __global__ void __launch_bounds__(AT_BLOCK_MAX) cross_entropy_share(cross_entropy_bwd_job j)
{
    AT_SHARED(double[AT_WARPS_MAX], room);
    const double counted = rows_counted(j.target, j.rows, j.ignore, room);
    if (threadIdx.x == 0)
        *j.share = counted > 0 ? static_cast<float>(*j.dloss / counted) : 0.0f;
}

/* (p - (1 - s) [c = target] - s / C) * share for a pack of a row that counts. The target's own
 * p - 1, nearly 0 in a row that was learnt, keeps its digits as an expm1. */
__device__ __forceinline__ void slopes_of_pack(float (&v)[AT_PACK], int64_t own, float lse,
                                               float smoothing, float even, float share)
{
    float at_target = 0;
#pragma unroll
    for (int i = 0; i < AT_PACK; i++)
        at_target = i == own ? v[i] : at_target;
    if (own >= 0 && own < AT_PACK)
        at_target = expm1f(at_target - lse) + smoothing;
#pragma unroll
    for (int i = 0; i < AT_PACK; i++)
        v[i] = ((i == own ? at_target : expf(v[i] - lse)) - even) * share;
}

template <class T>
__global__ void __launch_bounds__(AT_BLOCK) cross_entropy_backward(cross_entropy_bwd_job j)
{
    const float share = *j.share, even = j.smoothing / static_cast<float>(j.cols);
    const int64_t c = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * AT_PACK;
    int64_t r = (int64_t)blockIdx.y * blockDim.y + threadIdx.y;
    for (; c < j.cols && r < j.rows; r += (int64_t)gridDim.y * blockDim.y) {
        const int32_t t = j.target[r];
        float v[AT_PACK] = {};
        if (t != j.ignore) {
            at_pack_load(v, at_line<T>(j.x, r) + c, j.cols - c, j.x.wide, 0.0f);
            slopes_of_pack(v, t - c, j.lse[r], j.smoothing, even,
                           is_class(t, j.cols) ? share : NAN);
        }
        at_pack_store(at_line<T>(j.dx, r) + c, v, j.cols - c, j.dx.wide);
    }
}

template <class T>
static cudaError_t launch_backward(const cross_entropy_bwd_job &j, cudaStream_t stream)
{
    const at_tiles t = at_tiles_of(j.rows, j.cols);
    const unsigned threads = at_places_threads(j.rows);
    const cudaError_t error = AT_LAUNCH(cross_entropy_share, 1, threads, 0, stream, j);
    if (error != cudaSuccess)
        return error;
    return AT_LAUNCH(cross_entropy_backward<T>, t.grid, t.block, 0, stream, j);
}

extern "C" bool at_cross_entropy_bwd_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_cross_entropy_bwd_args *>(args);
    return at_is_simd_type(a->x.dtype) && a->lse.dtype == AT_F32 && a->dloss.dtype == AT_F32;
}

extern "C" at_status at_cross_entropy_bwd_cuda_prepare(const void *, const at_prepare_in *,
                                                       at_prepared *out, at_error *)
{
    out->scratch_bytes = sizeof(float);
    return AT_OK;
}

extern "C" at_status at_cross_entropy_bwd_cuda(const void *args, const at_prepared *,
                                               const at_launch *l)
{
    const auto *a = static_cast<const at_cross_entropy_bwd_args *>(args);
    const cross_entropy_bwd_job j = { at_lines_of(&a->dx),
                                      at_lines_of(&a->x),
                                      static_cast<const int32_t *>(a->target.data),
                                      at_floats_of(&a->lse),
                                      at_floats_of(&a->dloss),
                                      static_cast<float *>(l->scratch),
                                      at_rows(&a->x),
                                      at_cols(&a->x),
                                      a->ignore,
                                      a->smoothing };
    return at_launched(l, AT_BY_TYPE(a->x.dtype, launch_backward, j, at_stream_of(l)));
}
