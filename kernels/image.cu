/* image.cu -- bound by memory: five bytes a channel value in f32, three in bf16, each moved once;
 * the aim is 80 % of the bandwidth. */
#include "kernels/picture.cuh"

enum { CHANNELS_MAX = 4 };

/* --- bytes to numbers ------------------------------------------------------------------------- */

/* y = x * factor + shift, or in f64 the formula as it stands. */
struct numbers_job {
    at_lines y, x;      /* (rows, cols): pixels, or all values in one row */
    int64_t rows, cols; /* cols is a multiple of the channels */
    int channels;
    float factor[CHANNELS_MAX], shift[CHANNELS_MAX];
    float mean[CHANNELS_MAX], std[CHANNELS_MAX], scale;
};

/* Element c of four, without an index that would send them to memory. */
__device__ __forceinline__ float pick(const float (&v)[CHANNELS_MAX], int c)
{
    return c == 0 ? v[0] : c == 1 ? v[1] : c == 2 ? v[2] : v[3];
}

template <class T>
__device__ __forceinline__ void store_numbers(const numbers_job &j, int64_t r, int64_t at,
                                              const int (&x)[AT_PACK])
{
    float v[AT_PACK];
    int c = (int)(at % j.channels);
#pragma unroll
    for (int i = 0; i < AT_PACK; i++) {
        v[i] = fmaf((float)x[i], pick(j.factor, c), pick(j.shift, c));
        c = c + 1 == j.channels ? 0 : c + 1;
    }
    at_pack_store(at_line<T>(j.y, r) + at, v, j.cols - at, j.y.wide);
}

template <>
__device__ __forceinline__ void store_numbers<double>(const numbers_job &j, int64_t r, int64_t at,
                                                      const int (&x)[AT_PACK])
{
    int c = (int)(at % j.channels);
    for (int i = 0; i < AT_PACK && at + i < j.cols; i++) {
        const double v = (double)x[i] * (double)j.scale - (double)pick(j.mean, c);
        at_line<double>(j.y, r)[at + i] = v / (double)pick(j.std, c);
        c = c + 1 == j.channels ? 0 : c + 1;
    }
}

template <class T>
__global__ void __launch_bounds__(AT_BLOCK) to_numbers(numbers_job j)
{
    const int64_t c = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * AT_PACK;
    int64_t r = (int64_t)blockIdx.y * blockDim.y + threadIdx.y;
    for (; c < j.cols && r < j.rows; r += (int64_t)gridDim.y * blockDim.y) {
        int x[AT_PACK];
        at_bytes_load(x, at_line<uint8_t>(j.x, r) + c, j.cols - c, j.x.wide);
        store_numbers<T>(j, r, c, x);
    }
}

/* --- numbers to bytes ------------------------------------------------------------------------- */

struct bytes_job {
    at_lines y, x; /* (rows, cols) */
    int64_t rows, cols;
    float scale, shift;
    int rounding;
};

enum { HALF_EVEN, HALF_UP, TRUNCATE };

/* As the reference: product and sum rounded apart, so that halves fall where they fall there; what
 * is not a number becomes 0. */
__device__ __forceinline__ int byte_of(float x, const bytes_job &j)
{
    float v = __fadd_rn(__fmul_rn(x, j.scale), j.shift);
    v = v > 0 ? v : 0;
    v = v < 255 ? v : 255;
    return (int)(j.rounding == HALF_EVEN ? rintf(v)
                 : j.rounding == HALF_UP ? floorf(v + 0.5f)
                                         : floorf(v));
}

template <class T>
__global__ void __launch_bounds__(AT_BLOCK) to_bytes(bytes_job j)
{
    const int64_t c = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * AT_PACK;
    int64_t r = (int64_t)blockIdx.y * blockDim.y + threadIdx.y;
    for (; c < j.cols && r < j.rows; r += (int64_t)gridDim.y * blockDim.y) {
        float v[AT_PACK];
        int y[AT_PACK];
        at_pack_load(v, at_line<T>(j.x, r) + c, j.cols - c, j.x.wide, 0.0f);
#pragma unroll
        for (int i = 0; i < AT_PACK; i++)
            y[i] = byte_of(v[i], j);
        at_bytes_store(at_line<uint8_t>(j.y, r) + c, y, j.cols - c, j.y.wide);
    }
}

/* --- launches --------------------------------------------------------------------------------- */

template <class T>
static cudaError_t launch_numbers(const numbers_job &j, cudaStream_t stream)
{
    const at_tiles t = at_tiles_of(j.rows, j.cols);
    return AT_LAUNCH(to_numbers<T>, t.grid, t.block, 0, stream, j);
}

template <class T>
static cudaError_t launch_bytes(const bytes_job &j, cudaStream_t stream)
{
    const at_tiles t = at_tiles_of(j.rows, j.cols);
    return AT_LAUNCH(to_bytes<T>, t.grid, t.block, 0, stream, j);
}

/* Two pictures of the same sizes as rows of pixels, as one row where both are dense. */
struct line_pair {
    at_lines y, x;
    int64_t rows, cols;
};

static line_pair lines_of(const at_view *y, const at_view *x)
{
    if (at_dense(y) && at_dense(x))
        return { at_lines_joined(y, 0), at_lines_joined(x, 0), 1, at_elements(x) };
    return { at_lines_of(y), at_lines_of(x), at_rows(x), at_cols(x) };
}

extern "C" bool at_image_to_tensor_cuda_fits(const void *args)
{
    const at_dtype type = static_cast<const at_image_to_tensor_args *>(args)->y.dtype;
    return at_is_simd_type(type) || type == AT_F64;
}

extern "C" at_status at_image_to_tensor_cuda(const void *args, const at_prepared *,
                                             const at_launch *l)
{
    const auto *a = static_cast<const at_image_to_tensor_args *>(args);
    const line_pair p = lines_of(&a->y, &a->x);
    numbers_job j = {};
    j.y = p.y;
    j.x = p.x;
    j.rows = p.rows;
    j.cols = p.cols;
    j.channels = (int)a->x.size[3];
    j.scale = a->scale;
    for (int c = 0; c < CHANNELS_MAX; c++) {
        j.mean[c] = a->mean[c];
        j.std[c] = a->std[c] == 0 ? 1 : a->std[c];
        j.factor[c] = (float)((double)a->scale / (double)j.std[c]);
        j.shift[c] = (float)(-(double)a->mean[c] / (double)j.std[c]);
    }
    if (a->y.dtype == AT_F64)
        return at_launched(l, launch_numbers<double>(j, at_stream_of(l)));
    return at_launched(l, AT_BY_TYPE(a->y.dtype, launch_numbers, j, at_stream_of(l)));
}

extern "C" bool at_tensor_to_image_cuda_fits(const void *args)
{
    return at_is_simd_type(static_cast<const at_tensor_to_image_args *>(args)->x.dtype);
}

extern "C" at_status at_tensor_to_image_cuda(const void *args, const at_prepared *,
                                             const at_launch *l)
{
    const auto *a = static_cast<const at_tensor_to_image_args *>(args);
    const line_pair p = lines_of(&a->y, &a->x);
    const bytes_job j = { p.y, p.x, p.rows, p.cols, a->scale, a->shift, a->rounding };
    return at_launched(l, AT_BY_TYPE(a->x.dtype, launch_bytes, j, at_stream_of(l)));
}
