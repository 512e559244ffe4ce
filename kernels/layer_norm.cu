/* layer_norm.cu -- bound by memory: a row is read once and written once, kept in registers up to
 * 16,384 columns and read up to three times from the L2 cache beyond, the gradient by gamma and
 * beta reads x and dy once more; the aim is 80 % of the bandwidth. */
#include "kernels/elements.cuh"
#include "kernels/layer_norm.h"

struct norm_job {
    at_lines y, x;             /* (rows, cols) */
    at_lines gamma, beta;      /* (cols), or no data */
    float *mean, *rstd, *amax; /* (rows), (rows), (1) or NULL */
    const float *scale;        /* (1) or NULL: y is e4m3 */
    int64_t rows, cols;
    float eps;
};

/* Takes 'shift' from the row's elements; what lies beyond its end becomes zero. */
__device__ __forceinline__ void subtract(float (&v)[AT_KEPT][AT_PACK], int64_t base, int64_t cols,
                                         float shift)
{
    AT_FOR_KEPT(k, i)
    v[k][i] = at_kept_column(base, k) + i < cols ? v[k][i] - shift : 0.0f;
}

/* y of v, which are differences from the mean; returns the largest |y| so far. */
template <class T>
__device__ __forceinline__ float store_row(float (&v)[AT_KEPT][AT_PACK], const norm_job &j,
                                           int64_t r, int64_t base, float rstd, float top)
{
    const float scale = j.scale ? *j.scale : 1.0f;
#pragma unroll
    for (int k = 0; k < AT_KEPT; k++) {
        const int64_t c = at_kept_column(base, k);
        float gamma[AT_PACK], beta[AT_PACK];
        if (j.gamma.data)
            at_row_load(gamma, j.gamma, 0, c, j.cols, 0.0f);
        if (j.beta.data)
            at_row_load(beta, j.beta, 0, c, j.cols, 0.0f);
#pragma unroll
        for (int i = 0; i < AT_PACK; i++) {
            float y = v[k][i] * rstd * (j.gamma.data ? gamma[i] : 1.0f);
            y += j.beta.data ? beta[i] : 0.0f;
            if (c + i < j.cols)
                top = fmaxf(top, fabsf(y));
            v[k][i] = y / scale;
        }
    }
    if (j.scale)
        at_kept_store<__nv_fp8_e4m3>(j.y, r, base, j.cols, v);
    else
        at_kept_store<T>(j.y, r, base, j.cols, v);
    return top;
}

/* The mean is found as a difference from the row's first element, so that rows far from zero keep
 * their digits. Returns the largest |y|. */
template <class T>
__device__ __forceinline__ float normalize_row(const norm_job &j, int64_t r, float *room)
{
    const int64_t span = at_kept_span();
    const bool again = span < j.cols;
    float v[AT_KEPT][AT_PACK], sum = 0, squares = 0, top = 0;
    at_kept_load<T>(v, j.x, r, 0, j.cols, 0.0f);
    const float shift = at_row_first(v[0][0], room);
    for (int64_t base = 0; base < j.cols; base += span) {
        if (base > 0)
            at_kept_load<T>(v, j.x, r, base, j.cols, 0.0f);
        subtract(v, base, j.cols, shift);
        AT_FOR_KEPT(k, i)
        sum += v[k][i];
    }
    const float mean = at_row_sum(sum, room) / (float)j.cols;
    for (int64_t base = 0; base < j.cols; base += span) {
        if (again) {
            at_kept_load<T>(v, j.x, r, base, j.cols, 0.0f);
            subtract(v, base, j.cols, shift);
        }
        subtract(v, base, j.cols, mean);
        AT_FOR_KEPT(k, i)
        squares = fmaf(v[k][i], v[k][i], squares);
    }
    const float rstd = 1.0f / sqrtf(at_row_sum(squares, room) / (float)j.cols + j.eps);
    for (int64_t base = 0; base < j.cols; base += span) {
        if (again) {
            at_kept_load<T>(v, j.x, r, base, j.cols, 0.0f);
            subtract(v, base, j.cols, shift);
            subtract(v, base, j.cols, mean);
        }
        top = store_row<T>(v, j, r, base, rstd, top);
    }
    if (threadIdx.x == 0 && j.mean)
        j.mean[r] = shift + mean;
    if (threadIdx.x == 0 && j.rstd)
        j.rstd[r] = rstd;
    return top;
}

template <class T>
__global__ void __launch_bounds__(AT_BLOCK_MAX) layer_norm_forward(norm_job j)
{
    AT_SHARED(float[AT_WARPS_MAX], room);
    at_wait_for_earlier();
    const int64_t r = at_kept_row();
    float top = 0;
    if (r < j.rows) /* whole warps, in blocks that have no barrier inside */
        top = normalize_row<T>(j, r, room);
    if (j.amax)
        at_amax_put(top, j.amax, room);
}

/* --- gradient --------------------------------------------------------------------------------- */

struct norm_bwd_job {
    at_lines dx, dy, x;       /* (rows, cols) */
    at_lines gamma;           /* (cols), or no data */
    const float *mean, *rstd; /* (rows) */
    float *dgamma, *dbeta;    /* (cols) or NULL */
    float *sums;              /* (2, parts, cols) */
    int64_t rows, cols, parts;
};

/* xhat = (x - mean) * rstd, g = dy * gamma, zero beyond the row's end. */
template <class T>
__device__ __forceinline__ void load_pair(float (&xhat)[AT_KEPT][AT_PACK],
                                          float (&g)[AT_KEPT][AT_PACK], const norm_bwd_job &j,
                                          int64_t r, int64_t base)
{
    const float mean = j.mean[r], rstd = j.rstd[r];
    at_kept_load<T>(xhat, j.x, r, base, j.cols, mean);
    at_kept_load_any(g, j.dy, r, base, j.cols, 0.0f);
#pragma unroll
    for (int k = 0; k < AT_KEPT; k++) {
        float gamma[AT_PACK];
        if (j.gamma.data)
            at_row_load(gamma, j.gamma, 0, at_kept_column(base, k), j.cols, 0.0f);
#pragma unroll
        for (int i = 0; i < AT_PACK; i++) {
            xhat[k][i] = (xhat[k][i] - mean) * rstd;
            g[k][i] *= j.gamma.data ? gamma[i] : 1.0f;
        }
    }
}

/* dx = rstd * (g - mean of g - xhat * mean of g xhat). One block a multiprocessor will do: else the
 * compiler keeps to 64 registers and spills two. */
template <class T>
__global__ void __launch_bounds__(AT_BLOCK_MAX, 1) layer_norm_backward(norm_bwd_job j)
{
    AT_SHARED(float[AT_WARPS_MAX], room);
    const int64_t r = at_kept_row(), span = at_kept_span();
    const bool again = span < j.cols;
    float xhat[AT_KEPT][AT_PACK], g[AT_KEPT][AT_PACK], mean = 0, slope = 0;
    if (r >= j.rows)
        return;
    for (int64_t base = 0; base < j.cols; base += span) {
        load_pair<T>(xhat, g, j, r, base);
        AT_FOR_KEPT(k, i)
        {
            mean += g[k][i];
            slope = fmaf(g[k][i], xhat[k][i], slope);
        }
    }
    mean = at_row_sum(mean, room) / (float)j.cols;
    slope = at_row_sum(slope, room) / (float)j.cols;
    for (int64_t base = 0; base < j.cols; base += span) {
        if (again)
            load_pair<T>(xhat, g, j, r, base);
        AT_FOR_KEPT(k, i)
        g[k][i] = j.rstd[r] * (g[k][i] - mean - xhat[k][i] * slope);
        at_kept_store<T>(j.dx, r, base, j.cols, g);
    }
}

enum { COLUMNS = 32, ROWS = 8 };

/* A block sums COLUMNS columns over a part of the rows; ROWS rows at a time. */
template <class T>
__global__ void __launch_bounds__(COLUMNS *ROWS) layer_norm_columns(norm_bwd_job j)
{
    AT_SHARED(float[2][ROWS][COLUMNS], room);
    const int64_t c = (int64_t)blockIdx.x * COLUMNS + threadIdx.x, part = blockIdx.y;
    const int64_t end = (part + 1) * j.rows / j.parts;
    float dgamma = 0, dbeta = 0;
    for (int64_t r = part * j.rows / j.parts + threadIdx.y; r < end && c < j.cols; r += ROWS) {
        const float x = static_cast<float>(at_line<T>(j.x, r)[c]), dy = at_row_get(j.dy, r, c);
        dgamma += dy * ((x - j.mean[r]) * j.rstd[r]);
        dbeta += dy;
    }
    room[0][threadIdx.y][threadIdx.x] = dgamma;
    room[1][threadIdx.y][threadIdx.x] = dbeta;
    __syncthreads();
    if (threadIdx.y < 2 && c < j.cols) {
        float sum = 0;
        for (int y = 0; y < ROWS; y++)
            sum += room[threadIdx.y][y][threadIdx.x];
        j.sums[(threadIdx.y * j.parts + part) * j.cols + c] = sum;
    }
}

/* Adds the parts up, in their order. */
static __global__ void __launch_bounds__(AT_BLOCK) layer_norm_parts(norm_bwd_job j)
{
    const int64_t c = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    float *to = blockIdx.y == 0 ? j.dgamma : j.dbeta;
    float sum = 0;
    if (c >= j.cols || !to)
        return;
    for (int64_t part = 0; part < j.parts; part++)
        sum += j.sums[((int64_t)blockIdx.y * j.parts + part) * j.cols + c];
    to[c] = sum;
}

/* --- launches --------------------------------------------------------------------------------- */

template <class T>
static cudaError_t launch_forward(const norm_job &j, at_queue stream)
{
    const at_tiles t = at_row_tiles_of(j.rows, j.cols);
    return AT_LAUNCH_EARLY(layer_norm_forward<T>, t.grid, t.block, 0, stream, j);
}

extern "C" bool at_layer_norm_cuda_fits(const void *args)
{
    return at_is_simd_type(static_cast<const at_layer_norm_args *>(args)->x.dtype);
}

extern "C" at_status at_layer_norm_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_layer_norm_args *>(args);
    const norm_job j = { at_lines_of(&a->y),
                         at_lines_of(&a->x),
                         at_lines_of(&a->gamma),
                         at_lines_of(&a->beta),
                         at_floats_of(&a->mean),
                         at_floats_of(&a->rstd),
                         at_floats_of(&a->y_amax),
                         at_floats_of(&a->y_scale),
                         at_rows(&a->x),
                         at_cols(&a->x),
                         a->eps };
    cudaError_t error = at_amax_clear(j.amax, at_queue_of(l));
    if (error == cudaSuccess)
        error = AT_BY_TYPE(a->x.dtype, launch_forward, j, at_queue_of(l));
    return at_launched(l, error);
}

/* The columns first, because dx may lie over dy. */
template <class T>
static cudaError_t launch_backward(const norm_bwd_job &j, at_queue stream)
{
    const at_tiles t = at_row_tiles_of(j.rows, j.cols);
    cudaError_t error = cudaSuccess;
    if (j.dgamma || j.dbeta) {
        const dim3 grid((unsigned)((j.cols + COLUMNS - 1) / COLUMNS), (unsigned)j.parts);
        const dim3 columns((unsigned)((j.cols + AT_BLOCK - 1) / AT_BLOCK), 2);
        error = AT_LAUNCH(layer_norm_columns<T>, grid, dim3(COLUMNS, ROWS), 0, stream, j);
        if (error == cudaSuccess)
            error = AT_LAUNCH(layer_norm_parts, columns, AT_BLOCK, 0, stream, j);
    }
    if (error == cudaSuccess)
        error = AT_LAUNCH(layer_norm_backward<T>, t.grid, t.block, 0, stream, j);
    return error;
}

extern "C" bool at_layer_norm_bwd_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_layer_norm_bwd_args *>(args);
    return at_is_simd_type(a->x.dtype) && at_is_simd_type(a->dy.dtype);
}

extern "C" at_status at_layer_norm_bwd_cuda_prepare(const void *args, const at_prepare_in *,
                                                    at_prepared *out, at_error *)
{
    const at_view *x = &static_cast<const at_layer_norm_bwd_args *>(args)->x;
    out->scratch_bytes = 2 * sizeof(float) * (size_t)(at_layer_norm_cuda_parts(x) * at_cols(x));
    return AT_OK;
}

extern "C" at_status at_layer_norm_bwd_cuda(const void *args, const at_prepared *,
                                            const at_launch *l)
{
    const auto *a = static_cast<const at_layer_norm_bwd_args *>(args);
    const norm_bwd_job j = {
        at_lines_of(&a->dx),      at_lines_of(&a->dy),     at_lines_of(&a->x),
        at_lines_of(&a->gamma),   at_floats_of(&a->mean),  at_floats_of(&a->rstd),
        at_floats_of(&a->dgamma), at_floats_of(&a->dbeta), static_cast<float *>(l->scratch),
        at_rows(&a->x),           at_cols(&a->x),          at_layer_norm_cuda_parts(&a->x)
    };
    return at_launched(l, AT_BY_TYPE(a->x.dtype, launch_backward, j, at_queue_of(l)));
}
