/* binary.cu -- bound by memory: a and y move once, b once or out of the cache where it is laid over
 * a; the aim is 85 % of the bandwidth. */
#include "kernels/elements.cuh"

struct binary_job {
    at_lines y, a; /* (rows, cols) */
    at_lines b;    /* row r of a meets row r / every % b_rows */
    int64_t rows, cols, every, b_rows;
    int kind;
    bool scalar; /* b is one number */
    float b_scale;
};

__device__ __forceinline__ float apply(int kind, float a, float b)
{
    switch (kind) {
    case AT_ADD: return a + b;
    case AT_SUB: return a - b;
    case AT_MUL: return a * b;
    case AT_DIV: return a / b;
    case AT_MAX: return a > b ? a : b;
    default: return a < b ? a : b;
    }
}

template <class T>
__global__ void __launch_bounds__(AT_BLOCK) binary_forward(binary_job j)
{
    at_wait_for_earlier();
    const int64_t c = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * AT_PACK;
    int64_t r = (int64_t)blockIdx.y * blockDim.y + threadIdx.y;
    for (; c < j.cols && r < j.rows; r += (int64_t)gridDim.y * blockDim.y) {
        float v[AT_PACK], b[AT_PACK];
        at_pack_load(v, at_line<T>(j.a, r) + c, j.cols - c, j.a.wide, 1.0f);
        if (j.scalar) {
            const float one = at_row_get(j.b, 0, 0);
#pragma unroll
            for (int i = 0; i < AT_PACK; i++)
                b[i] = one;
        } else {
            at_row_load(b, j.b, r / j.every % j.b_rows, c, j.cols, 1.0f);
        }
#pragma unroll
        for (int i = 0; i < AT_PACK; i++)
            v[i] = apply(j.kind, v[i], j.b_scale * b[i]);
        at_pack_store(at_line<T>(j.y, r) + c, v, j.cols - c, j.y.wide);
    }
}

template <class T>
static cudaError_t launch_binary(const binary_job &j, at_queue stream)
{
    const at_tiles t = at_tiles_of(j.rows, j.cols);
    return AT_LAUNCH_EARLY(binary_forward<T>, t.grid, t.block, 0, stream, j);
}

/* Rows are as long as b allows: all of a, or b's last axes, where everything is dense. */
static void lay_out(binary_job *j, const at_binary_args *a)
{
    const int64_t rows = at_rows(&a->a), elements = at_elements(&a->a);
    const bool dense = at_dense(&a->a) && at_dense(&a->y), b_dense = dense && at_dense(&a->b);
    j->rows = rows;
    j->cols = at_cols(&a->a);
    j->every = 1;
    j->b_rows = rows;
    if (a->spread == AT_SCALAR || (a->spread == AT_SAME && b_dense)) {
        j->rows = dense ? 1 : rows;
        j->cols = elements / j->rows;
        j->b_rows = 1;
    } else if (a->spread == AT_SUFFIX) {
        j->b_rows = b_dense ? 1 : at_rows(&a->b);
        j->cols = at_elements(&a->b) / j->b_rows;
        j->rows = elements / j->cols;
    } else if (a->spread == AT_PER_SAMPLE) {
        j->b_rows = a->a.size[0];
        j->every = rows / j->b_rows;
    }
}

extern "C" bool at_binary_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_binary_args *>(args);
    return at_is_simd_type(a->a.dtype) && at_is_simd_type(a->b.dtype);
}

extern "C" at_status at_binary_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_binary_args *>(args);
    binary_job j = {};
    j.y = at_lines_of(&a->y);
    j.a = at_lines_of(&a->a);
    j.b = at_lines_of(&a->b);
    j.kind = a->kind;
    j.scalar = a->spread == AT_SCALAR;
    j.b_scale = a->b_scale != 0 ? a->b_scale : 1.0f;
    lay_out(&j, a);
    if (j.cols > at_cols(&a->a)) {
        j.y = at_lines_joined(&a->y, j.cols);
        j.a = at_lines_joined(&a->a, j.cols);
        j.b = at_lines_joined(&a->b, j.cols);
    }
    return at_launched(l, AT_BY_TYPE(a->a.dtype, launch_binary, j, at_queue_of(l)));
}

/* --- linear interpolation --------------------------------------------------------------------- */

struct lerp_job {
    at_lines y, a, b; /* (rows, cols) */
    const float *t;   /* of row r: t[r / every] */
    int64_t rows, cols, every;
};

template <class T>
__global__ void __launch_bounds__(AT_BLOCK) lerp_forward(lerp_job j)
{
    at_wait_for_earlier();
    const int64_t c = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * AT_PACK;
    int64_t r = (int64_t)blockIdx.y * blockDim.y + threadIdx.y;
    for (; c < j.cols && r < j.rows; r += (int64_t)gridDim.y * blockDim.y) {
        const float t = j.t[r / j.every];
        float a[AT_PACK], b[AT_PACK];
        at_pack_load(a, at_line<T>(j.a, r) + c, j.cols - c, j.a.wide, 0.0f);
        at_pack_load(b, at_line<T>(j.b, r) + c, j.cols - c, j.b.wide, 0.0f);
#pragma unroll
        for (int i = 0; i < AT_PACK; i++)
            a[i] = fmaf(t, b[i] - a[i], a[i]);
        at_pack_store(at_line<T>(j.y, r) + c, a, j.cols - c, j.y.wide);
    }
}

template <class T>
static cudaError_t launch_lerp(const lerp_job &j, at_queue stream)
{
    const at_tiles t = at_tiles_of(j.rows, j.cols);
    return AT_LAUNCH_EARLY(lerp_forward<T>, t.grid, t.block, 0, stream, j);
}

extern "C" bool at_lerp_cuda_fits(const void *args)
{
    return at_is_simd_type(static_cast<const at_lerp_args *>(args)->a.dtype);
}

extern "C" at_status at_lerp_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_lerp_args *>(args);
    const int64_t samples = at_cols(&a->t), rows = at_rows(&a->a), elements = at_elements(&a->a);
    lerp_job j = { at_lines_of(&a->y),
                   at_lines_of(&a->a),
                   at_lines_of(&a->b),
                   static_cast<const float *>(a->t.data),
                   rows,
                   at_cols(&a->a),
                   rows / samples };
    if (at_dense(&a->y) && at_dense(&a->a) && at_dense(&a->b)) { /* a sample is a row */
        j.rows = samples;
        j.cols = elements / samples;
        j.every = 1;
        j.y = at_lines_joined(&a->y, j.cols);
        j.a = at_lines_joined(&a->a, j.cols);
        j.b = at_lines_joined(&a->b, j.cols);
    }
    return at_launched(l, AT_BY_TYPE(a->a.dtype, launch_lerp, j, at_queue_of(l)));
}
