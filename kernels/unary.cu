/* unary.cu -- bound by memory: every element is read once and written once, 16 bytes at a time; the
 * aim is 85 % of the bandwidth. */
#include "kernels/elements.cuh"

__device__ __forceinline__ float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

/* The normal distribution. */
__device__ __forceinline__ float normal(float x)
{
    return 0.5f * erfcf(-0.70710678f * x);
}

__device__ __forceinline__ float apply(int kind, float x, float a, float b)
{
    switch (kind) {
    case AT_SILU: return x * sigmoid(x);
    case AT_GELU: return x * normal(x);
    case AT_QUICK_GELU: return x * sigmoid(1.702f * x);
    case AT_RELU: return x > 0 ? x : 0;
    case AT_SIGMOID: return sigmoid(x);
    case AT_TANH: return tanhf(x);
    case AT_EXP: return expf(x);
    case AT_CLAMP: return x < a ? a : x > b ? b : x;
    case AT_SCALE: return fmaf(a, x, b);
    default: return sqrtf(x);
    }
}

/* The derivative, with the reference's choice at kinks. */
__device__ __forceinline__ float slope(int kind, float x, float a, float b)
{
    float s;
    switch (kind) {
    case AT_SILU: s = sigmoid(x); return s * (1.0f + x * (1.0f - s));
    case AT_GELU: return normal(x) + x * expf(-0.5f * x * x) * 0.39894228f;
    case AT_QUICK_GELU: s = sigmoid(1.702f * x); return s * (1.0f + 1.702f * x * (1.0f - s));
    case AT_RELU: return x > 0 ? 1.0f : 0.0f;
    case AT_SIGMOID: s = sigmoid(x); return s * (1.0f - s);
    case AT_TANH: s = tanhf(x); return 1.0f - s * s;
    case AT_EXP: return expf(x);
    case AT_CLAMP: return x >= a && x <= b ? 1.0f : 0.0f;
    case AT_SCALE: return a;
    default: return 0.5f / sqrtf(x);
    }
}

struct unary_job {
    at_lines y, x, dy; /* (rows, cols); y is dx in the gradient */
    int64_t rows, cols;
    int kind;
    float a, b;
};

template <class T>
__global__ void __launch_bounds__(AT_BLOCK) unary_forward(unary_job j)
{
    at_wait_for_earlier();
    const int64_t c = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * AT_PACK;
    int64_t r = (int64_t)blockIdx.y * blockDim.y + threadIdx.y;
    for (; c < j.cols && r < j.rows; r += (int64_t)gridDim.y * blockDim.y) {
        float v[AT_PACK];
        at_pack_load(v, at_line<T>(j.x, r) + c, j.cols - c, j.x.wide, 1.0f);
#pragma unroll
        for (int i = 0; i < AT_PACK; i++)
            v[i] = apply(j.kind, v[i], j.a, j.b);
        at_pack_store(at_line<T>(j.y, r) + c, v, j.cols - c, j.y.wide);
    }
}

template <class T>
__global__ void __launch_bounds__(AT_BLOCK) unary_backward(unary_job j)
{
    const int64_t c = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * AT_PACK;
    int64_t r = (int64_t)blockIdx.y * blockDim.y + threadIdx.y;
    for (; c < j.cols && r < j.rows; r += (int64_t)gridDim.y * blockDim.y) {
        float v[AT_PACK], dy[AT_PACK];
        at_pack_load(v, at_line<T>(j.x, r) + c, j.cols - c, j.x.wide, 1.0f);
        at_row_load(dy, j.dy, r, c, j.cols, 0.0f);
#pragma unroll
        for (int i = 0; i < AT_PACK; i++)
            v[i] = slope(j.kind, v[i], j.a, j.b) * dy[i];
        at_pack_store(at_line<T>(j.y, r) + c, v, j.cols - c, j.y.wide);
    }
}

/* --- launches --------------------------------------------------------------------------------- */

template <class T>
static cudaError_t launch(const unary_job &j, at_queue stream)
{
    const at_tiles t = at_tiles_of(j.rows, j.cols);
    if (j.dy.data)
        return AT_LAUNCH(unary_backward<T>, t.grid, t.block, 0, stream, j);
    return AT_LAUNCH_EARLY(unary_forward<T>, t.grid, t.block, 0, stream, j);
}

extern "C" bool at_unary_cuda_fits(const void *args)
{
    return at_is_simd_type(static_cast<const at_unary_args *>(args)->x.dtype);
}

extern "C" at_status at_unary_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_unary_args *>(args);
    const bool dense = at_dense(&a->x) && at_dense(&a->y);
    const int64_t rows = dense ? 1 : at_rows(&a->x), cols = at_elements(&a->x) / rows;
    unary_job j = { at_lines_of(&a->y), at_lines_of(&a->x), {}, rows, cols, a->kind, a->a, a->b };
    if (dense) {
        j.y = at_lines_joined(&a->y, 0);
        j.x = at_lines_joined(&a->x, 0);
    }
    return at_launched(l, AT_BY_TYPE(a->x.dtype, launch, j, at_queue_of(l)));
}

extern "C" bool at_unary_bwd_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_unary_bwd_args *>(args);
    return at_is_simd_type(a->x.dtype) && at_is_simd_type(a->dy.dtype);
}

extern "C" at_status at_unary_bwd_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_unary_bwd_args *>(args);
    const bool dense = at_dense(&a->x) && at_dense(&a->dx) && at_dense(&a->dy);
    const int64_t rows = dense ? 1 : at_rows(&a->x), cols = at_elements(&a->x) / rows;
    unary_job j = { at_lines_of(&a->dx),
                    at_lines_of(&a->x),
                    at_lines_of(&a->dy),
                    rows,
                    cols,
                    a->kind,
                    a->a,
                    a->b };
    if (dense) {
        j.y = at_lines_joined(&a->dx, 0);
        j.x = at_lines_joined(&a->x, 0);
        j.dy = at_lines_joined(&a->dy, 0);
    }
    return at_launched(l, AT_BY_TYPE(a->x.dtype, launch, j, at_queue_of(l)));
}
