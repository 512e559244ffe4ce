/* pool.cu -- bound by memory: every operand once, where windows do not overlap; the aim is 80 % of
 * the bandwidth. Where they do, x and dy are read again from the L2 cache: the gradient of the
 * largest finds the winner of every window that holds a position. */
#include "kernels/box.cuh"

struct pool_job {
    at_pixels spots;      /* of what the kernel writes */
    at_lines y, x;        /* (B * Ho * Wo, C) or, in the gradient, dx; (B * H * W, C) */
    at_lines dy;          /* (B * Ho * Wo, C) of the gradient */
    int64_t rows, cols;   /* H, W */
    int64_t down, across; /* windows: Ho, Wo */
    int64_t kernel[2], stride[2];
};

/* A window of x, cut off at the picture's border. */
struct pool_window {
    int64_t corner, rows, cols; /* the corner is a position of x */
};

__device__ __forceinline__ pool_window window_at(const pool_job &j, int64_t b, int64_t top,
                                                 int64_t left)
{
    const int64_t rows = j.rows - top, cols = j.cols - left;
    return { (b * j.rows + top) * j.cols + left, j.kernel[0] < rows ? j.kernel[0] : rows,
             j.kernel[1] < cols ? j.kernel[1] : cols };
}

/* The largest of each channel from 'channel' on, and which position of the window, counted row by
 * row, has it first. The first that is not a number beats all. */
template <class T>
__device__ __forceinline__ void find_largest(float (&best)[AT_PACK], int (&winner)[AT_PACK],
                                             const pool_job &j, const pool_window &s,
                                             int64_t channel)
{
    const int64_t n = j.spots.channels - channel;
    int at = 0;
#pragma unroll
    for (int i = 0; i < AT_PACK; i++) {
        best[i] = -INFINITY;
        winner[i] = 0;
    }
    for (int64_t r = 0; r < s.rows; r++) {
        const T *x = at_line<T>(j.x, s.corner + r * j.cols) + channel;
        for (int64_t c = 0; c < s.cols; c++, at++, x += j.x.pitch) {
            float v[AT_PACK];
            at_pack_load(v, x, n, j.x.wide, 0.0f);
#pragma unroll
            for (int i = 0; i < AT_PACK; i++) {
                const bool better = v[i] > best[i] || (v[i] != v[i] && best[i] == best[i]);
                best[i] = better ? v[i] : best[i];
                winner[i] = better ? at : winner[i];
            }
        }
    }
}

template <class T>
__global__ void __launch_bounds__(AT_BLOCK) max_forward(pool_job j)
{
    for (at_pixel s = at_pixel_first(j.spots); at_pixel_exists(j.spots, s); at_pixel_next(s)) {
        const int64_t b = s.row / j.down, top = s.row % j.down * j.stride[0];
        const pool_window window = window_at(j, b, top, s.col * j.stride[1]);
        float best[AT_PACK];
        int winner[AT_PACK];
        find_largest<T>(best, winner, j, window, s.channel);
        T *y = at_line<T>(j.y, s.row * j.across + s.col) + s.channel;
        at_pack_store(y, best, j.spots.channels - s.channel, j.y.wide);
    }
}

/* --- gradient of the largest ------------------------------------------------------------------ */

/* Windows that do not overlap. The picture is cut into cells of stride x stride positions, the last
 * ones smaller; a window lies in its cell's corner, and a cell may have none. Every position of dx
 * is in one cell, so the kernel writes all of it. */
template <class T>
__global__ void __launch_bounds__(AT_BLOCK) max_backward_apart(pool_job j)
{
    const int64_t cells = (j.rows + j.stride[0] - 1) / j.stride[0];
    for (at_pixel s = at_pixel_first(j.spots); at_pixel_exists(j.spots, s); at_pixel_next(s)) {
        const int64_t b = s.row / cells, i = s.row % cells, n = j.spots.channels - s.channel;
        const int64_t top = i * j.stride[0], left = s.col * j.stride[1];
        const int64_t rows = j.stride[0] < j.rows - top ? j.stride[0] : j.rows - top;
        const int64_t cols = j.stride[1] < j.cols - left ? j.stride[1] : j.cols - left;
        pool_window window = window_at(j, b, top, left);
        float best[AT_PACK], dy[AT_PACK] = {};
        int winner[AT_PACK] = {};
        if (i < j.down && s.col < j.across) {
            find_largest<T>(best, winner, j, window, s.channel);
            at_row_load(dy, j.dy, (b * j.down + i) * j.across + s.col, s.channel, j.spots.channels,
                        0.0f);
        } else {
            window.rows = 0;
        }
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < cols; c++) {
                const bool inside = r < window.rows && c < window.cols;
                const int at = (int)(r * window.cols + c);
                float v[AT_PACK];
#pragma unroll
                for (int k = 0; k < AT_PACK; k++)
                    v[k] = inside && winner[k] == at ? dy[k] : 0.0f;
                T *dx = at_line<T>(j.y, window.corner + r * j.cols + c) + s.channel;
                at_pack_store(dx, v, n, j.y.wide);
            }
    }
}

/* Windows that hold position p of an axis: [first, end). */
__device__ __forceinline__ void windows_of(int64_t p, int64_t kernel, int64_t stride, int64_t n,
                                           int64_t &first, int64_t &end)
{
    first = p < kernel ? 0 : (p - kernel) / stride + 1;
    end = p / stride + 1 < n ? p / stride + 1 : n;
}

/* Any windows: a position gathers from those that hold it, row by row. */
template <class T>
__global__ void __launch_bounds__(AT_BLOCK) max_backward_any(pool_job j)
{
    for (at_pixel s = at_pixel_first(j.spots); at_pixel_exists(j.spots, s); at_pixel_next(s)) {
        const int64_t b = s.row / j.rows, h = s.row % j.rows;
        int64_t i0, i1, w0, w1;
        float sum[AT_PACK] = {};
        windows_of(h, j.kernel[0], j.stride[0], j.down, i0, i1);
        windows_of(s.col, j.kernel[1], j.stride[1], j.across, w0, w1);
        for (int64_t i = i0; i < i1; i++)
            for (int64_t w = w0; w < w1; w++) {
                const int64_t top = i * j.stride[0], left = w * j.stride[1];
                const pool_window window = window_at(j, b, top, left);
                const int at = (int)((h - top) * window.cols + s.col - left);
                float best[AT_PACK], dy[AT_PACK];
                int winner[AT_PACK];
                find_largest<T>(best, winner, j, window, s.channel);
                at_row_load(dy, j.dy, (b * j.down + i) * j.across + w, s.channel, j.spots.channels,
                            0.0f);
#pragma unroll
                for (int k = 0; k < AT_PACK; k++)
                    sum[k] += winner[k] == at ? dy[k] : 0.0f;
            }
        T *dx = at_line<T>(j.y, s.row * j.cols + s.col) + s.channel;
        at_pack_store(dx, sum, j.spots.channels - s.channel, j.y.wide);
    }
}

/* --- launches --------------------------------------------------------------------------------- */

#define LAUNCHER(kernel)                                                       \
    template <class T>                                                         \
    static cudaError_t launch_##kernel(const pool_job &j, cudaStream_t stream) \
    {                                                                          \
        const at_tiles t = at_pixel_tiles(j.spots);                            \
        return AT_LAUNCH(kernel<T>, t.grid, t.block, 0, stream, j);            \
    }
LAUNCHER(max_forward)
LAUNCHER(max_backward_apart)
LAUNCHER(max_backward_any)
#undef LAUNCHER

/* 'windows' is (B, Ho, Wo, C). */
static pool_job job_of(const at_view *y, const at_view *x, const at_view *windows,
                       const int64_t *kernel, const int64_t *stride)
{
    pool_job j = {};
    j.spots = at_pixels_of(y->size[0] * y->size[1], y->size[2], y->size[3]);
    j.y = at_lines_of(y);
    j.x = at_lines_of(x);
    j.rows = x->size[1];
    j.cols = x->size[2];
    j.down = windows->size[1];
    j.across = windows->size[2];
    for (int i = 0; i < 2; i++) {
        j.kernel[i] = kernel[i];
        j.stride[i] = stride[i];
    }
    return j;
}

extern "C" bool at_max_pool2d_cuda_fits(const void *args)
{
    return at_is_simd_type(static_cast<const at_max_pool2d_args *>(args)->x.dtype);
}

extern "C" at_status at_max_pool2d_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_max_pool2d_args *>(args);
    const pool_job j = job_of(&a->y, &a->x, &a->y, a->kernel, a->stride);
    return at_launched(l, AT_BY_TYPE(a->x.dtype, launch_max_forward, j, at_stream_of(l)));
}

extern "C" bool at_max_pool2d_bwd_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_max_pool2d_bwd_args *>(args);
    return at_is_simd_type(a->x.dtype) && at_is_simd_type(a->dy.dtype);
}

extern "C" at_status at_max_pool2d_bwd_cuda(const void *args, const at_prepared *,
                                            const at_launch *l)
{
    const auto *a = static_cast<const at_max_pool2d_bwd_args *>(args);
    pool_job j = job_of(&a->dx, &a->x, &a->dy, a->kernel, a->stride);
    j.dy = at_lines_of(&a->dy);
    if (a->kernel[0] > a->stride[0] || a->kernel[1] > a->stride[1])
        return at_launched(l, AT_BY_TYPE(a->x.dtype, launch_max_backward_any, j, at_stream_of(l)));
    const int64_t down = (j.rows + j.stride[0] - 1) / j.stride[0];
    const int64_t across = (j.cols + j.stride[1] - 1) / j.stride[1];
    j.spots = at_pixels_of(a->x.size[0] * down, across, a->x.size[3]);
    return at_launched(l, AT_BY_TYPE(a->x.dtype, launch_max_backward_apart, j, at_stream_of(l)));
}

extern "C" bool at_avg_pool2d_cuda_fits(const void *args)
{
    return at_is_simd_type(static_cast<const at_avg_pool2d_args *>(args)->x.dtype);
}

extern "C" at_status at_avg_pool2d_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_avg_pool2d_args *>(args);
    const at_box box = { a->y,
                         a->x,
                         { { a->stride[0], 0, a->kernel[0], 1 },
                           { a->stride[1], 0, a->kernel[1], 1 } },
                         1.0f / (float)(a->kernel[0] * a->kernel[1]) };
    return at_launched(l, at_box_sum_cuda(box, at_stream_of(l)));
}

extern "C" bool at_avg_pool2d_bwd_cuda_fits(const void *args)
{
    return at_is_simd_type(static_cast<const at_avg_pool2d_bwd_args *>(args)->dy.dtype);
}

/* Position h is held by the windows from ceil((h - kernel + 1) / stride) to floor(h / stride). */
extern "C" at_status at_avg_pool2d_bwd_cuda(const void *args, const at_prepared *,
                                            const at_launch *l)
{
    const auto *a = static_cast<const at_avg_pool2d_bwd_args *>(args);
    const at_box box = { a->dx,
                         a->dy,
                         { { 1, 1 - a->kernel[0], 1, a->stride[0] },
                           { 1, 1 - a->kernel[1], 1, a->stride[1] } },
                         1.0f / (float)(a->kernel[0] * a->kernel[1]) };
    return at_launched(l, at_box_sum_cuda(box, at_stream_of(l)));
}
