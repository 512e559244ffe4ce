/* geglu.cu -- bound by memory: two elements are read and one is written for about thirty
 * operations, which a GPU hides; the aim is 80 % of the bandwidth. */
#include "kernels/elements.cuh"

struct geglu_job {
    at_lines y, x, g;    /* (rows, cols): x and g are the halves of a row */
    at_lines dx, dg, dy; /* of the gradient */
    const float *scale;  /* (1) or NULL: y is e4m3 */
    float *amax;         /* (1) or NULL, zero before */
    int64_t rows, cols;
};

/* The normal distribution. */
__device__ __forceinline__ float normal(float x)
{
    return 0.5f * erfcf(-0.70710678f * x);
}

template <class T>
__global__ void __launch_bounds__(AT_BLOCK) geglu_forward(geglu_job j)
{
    AT_SHARED(float[AT_WARPS_MAX], room);
    at_wait_for_earlier();
    const int64_t c = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * AT_PACK;
    const float scale = j.scale ? *j.scale : 1.0f;
    int64_t r = (int64_t)blockIdx.y * blockDim.y + threadIdx.y;
    float top = 0;
    for (; c < j.cols && r < j.rows; r += (int64_t)gridDim.y * blockDim.y) {
        float v[AT_PACK], g[AT_PACK];
        at_pack_load(v, at_line<T>(j.x, r) + c, j.cols - c, j.x.wide, 0.0f);
        at_pack_load(g, at_line<T>(j.g, r) + c, j.cols - c, j.g.wide, 0.0f);
#pragma unroll
        for (int i = 0; i < AT_PACK; i++) {
            v[i] *= g[i] * normal(g[i]);
            top = fmaxf(top, fabsf(v[i]));
            v[i] /= scale;
        }
        if (j.scale)
            at_pack_store(at_line<__nv_fp8_e4m3>(j.y, r) + c, v, j.cols - c, j.y.wide);
        else
            at_pack_store(at_line<T>(j.y, r) + c, v, j.cols - c, j.y.wide);
    }
    if (j.amax)
        at_amax_put(top, j.amax, room);
}

/* dx = dy * gelu(g) where x was, dg = dy * x * gelu'(g) where g was. */
template <class T>
__global__ void __launch_bounds__(AT_BLOCK) geglu_backward(geglu_job j)
{
    const int64_t c = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * AT_PACK;
    int64_t r = (int64_t)blockIdx.y * blockDim.y + threadIdx.y;
    for (; c < j.cols && r < j.rows; r += (int64_t)gridDim.y * blockDim.y) {
        float x[AT_PACK], g[AT_PACK], dy[AT_PACK];
        at_pack_load(x, at_line<T>(j.x, r) + c, j.cols - c, j.x.wide, 0.0f);
        at_pack_load(g, at_line<T>(j.g, r) + c, j.cols - c, j.g.wide, 0.0f);
        at_row_load(dy, j.dy, r, c, j.cols, 0.0f);
#pragma unroll
        for (int i = 0; i < AT_PACK; i++) {
            const float p = normal(g[i]), density = expf(-0.5f * g[i] * g[i]) * 0.39894228f;
            const float dg = dy[i] * x[i] * fmaf(g[i], density, p);
            x[i] = dy[i] * g[i] * p;
            g[i] = dg;
        }
        at_pack_store(at_line<T>(j.dx, r) + c, x, j.cols - c, j.dx.wide);
        at_pack_store(at_line<T>(j.dg, r) + c, g, j.cols - c, j.dg.wide);
    }
}

/* --- launches --------------------------------------------------------------------------------- */

/* The second half of every row. */
static at_lines gates_of(const at_view *x)
{
    at_view g = *x;
    g.data = static_cast<char *>(x->data) + (size_t)(at_cols(x) / 2) * at_dtype_bytes(x->dtype);
    return at_lines_of(&g);
}

template <class T>
static cudaError_t launch_forward(const geglu_job &j, at_queue stream)
{
    const at_tiles t = at_tiles_of(j.rows, j.cols);
    return AT_LAUNCH_EARLY(geglu_forward<T>, t.grid, t.block, 0, stream, j);
}

template <class T>
static cudaError_t launch_backward(const geglu_job &j, at_queue stream)
{
    const at_tiles t = at_tiles_of(j.rows, j.cols);
    return AT_LAUNCH(geglu_backward<T>, t.grid, t.block, 0, stream, j);
}

extern "C" bool at_geglu_cuda_fits(const void *args)
{
    return at_is_simd_type(static_cast<const at_geglu_args *>(args)->x.dtype);
}

extern "C" at_status at_geglu_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_geglu_args *>(args);
    geglu_job j = {};
    j.y = at_lines_of(&a->y);
    j.x = at_lines_of(&a->x);
    j.g = gates_of(&a->x);
    j.scale = at_floats_of(&a->y_scale);
    j.amax = at_floats_of(&a->y_amax);
    j.rows = at_rows(&a->y);
    j.cols = at_cols(&a->y);
    cudaError_t error = at_amax_clear(j.amax, at_queue_of(l));
    if (error == cudaSuccess)
        error = AT_BY_TYPE(a->x.dtype, launch_forward, j, at_queue_of(l));
    return at_launched(l, error);
}

extern "C" bool at_geglu_bwd_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_geglu_bwd_args *>(args);
    return at_is_simd_type(a->x.dtype) && at_is_simd_type(a->dy.dtype);
}

extern "C" at_status at_geglu_bwd_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_geglu_bwd_args *>(args);
    geglu_job j = {};
    j.x = at_lines_of(&a->x);
    j.g = gates_of(&a->x);
    j.dx = at_lines_of(&a->dx);
    j.dg = gates_of(&a->dx);
    j.dy = at_lines_of(&a->dy);
    j.rows = at_rows(&a->dy);
    j.cols = at_cols(&a->dy);
    return at_launched(l, AT_BY_TYPE(a->x.dtype, launch_backward, j, at_queue_of(l)));
}
