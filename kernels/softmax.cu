/* softmax.cu -- bound by memory: a row is read once and written once, kept in registers up to
 * 16,384 columns and read up to four times from the L2 cache beyond; the aim is 80 % of the
 * bandwidth. */
#include "kernels/elements.cuh"

struct row_job {
    at_lines y, x, dy; /* (rows, cols) */
    int64_t rows, cols;
    float scale, eps;
};

/* --- softmax ---------------------------------------------------------------------------------- */

template <class T>
__global__ void __launch_bounds__(AT_BLOCK_MAX) softmax_forward(row_job j)
{
    AT_SHARED(float[AT_WARPS_MAX], room);
    at_wait_for_earlier();
    const int64_t r = at_kept_row(), span = at_kept_span();
    const bool again = span < j.cols;
    const float rest = j.scale < 0 ? INFINITY : -INFINITY; /* its exponential is zero */
    float v[AT_KEPT][AT_PACK], top = -INFINITY, sum = 0;
    if (r >= j.rows) /* whole warps, in blocks that have no barrier */
        return;
    for (int64_t base = 0; base < j.cols; base += span) {
        at_kept_load<T>(v, j.x, r, base, j.cols, rest);
        AT_FOR_KEPT(k, i)
        top = fmaxf(top, j.scale * v[k][i]);
    }
    top = at_row_max(top, room);
    for (int64_t base = 0; base < j.cols; base += span) {
        if (again)
            at_kept_load<T>(v, j.x, r, base, j.cols, rest);
        AT_FOR_KEPT(k, i)
        sum += v[k][i] = expf(j.scale * v[k][i] - top);
    }
    sum = at_row_sum(sum, room);
    for (int64_t base = 0; base < j.cols; base += span) {
        if (again) {
            at_kept_load<T>(v, j.x, r, base, j.cols, rest);
            AT_FOR_KEPT(k, i)
            v[k][i] = expf(j.scale * v[k][i] - top);
        }
        AT_FOR_KEPT(k, i)
        v[k][i] /= sum;
        at_kept_store<T>(j.y, r, base, j.cols, v);
    }
}

/* dx = scale * y * (dy - sum of y dy); x is the softmax's y, y is dx. */
template <class T>
__global__ void __launch_bounds__(AT_BLOCK_MAX) softmax_backward(row_job j)
{
    AT_SHARED(float[AT_WARPS_MAX], room);
    const int64_t r = at_kept_row(), span = at_kept_span();
    const bool again = span < j.cols;
    float y[AT_KEPT][AT_PACK], dy[AT_KEPT][AT_PACK], dot = 0;
    if (r >= j.rows)
        return;
    for (int64_t base = 0; base < j.cols; base += span) {
        at_kept_load<T>(y, j.x, r, base, j.cols, 0.0f);
        at_kept_load_any(dy, j.dy, r, base, j.cols, 0.0f);
        AT_FOR_KEPT(k, i)
        dot = fmaf(y[k][i], dy[k][i], dot);
    }
    dot = at_row_sum(dot, room);
    for (int64_t base = 0; base < j.cols; base += span) {
        if (again) {
            at_kept_load<T>(y, j.x, r, base, j.cols, 0.0f);
            at_kept_load_any(dy, j.dy, r, base, j.cols, 0.0f);
        }
        AT_FOR_KEPT(k, i)
        y[k][i] *= j.scale * (dy[k][i] - dot);
        at_kept_store<T>(j.y, r, base, j.cols, y);
    }
}

/* --- l2_normalize ----------------------------------------------------------------------------- */

/* The length of row r of x, whatever its numbers' size. With one span v holds the row on return. */
template <class T>
__device__ __forceinline__ float row_length(float (&v)[AT_KEPT][AT_PACK], const row_job &j,
                                            int64_t r, float *room)
{
    const int64_t span = at_kept_span();
    float top = 0, sum = 0;
    for (int64_t base = 0; base < j.cols; base += span) {
        at_kept_load<T>(v, j.x, r, base, j.cols, 0.0f);
        AT_FOR_KEPT(k, i)
        top = fmaxf(top, fabsf(v[k][i]));
    }
    top = at_row_max(top, room);
    if (top == 0)
        return 0;
    for (int64_t base = 0; base < j.cols; base += span) {
        if (span < j.cols)
            at_kept_load<T>(v, j.x, r, base, j.cols, 0.0f);
        AT_FOR_KEPT(k, i)
        sum += v[k][i] / top * (v[k][i] / top);
    }
    return top * sqrtf(at_row_sum(sum, room));
}

template <class T>
__global__ void __launch_bounds__(AT_BLOCK_MAX) l2_normalize_forward(row_job j)
{
    AT_SHARED(float[AT_WARPS_MAX], room);
    at_wait_for_earlier();
    const int64_t r = at_kept_row(), span = at_kept_span();
    float v[AT_KEPT][AT_PACK];
    if (r >= j.rows)
        return;
    const float length = fmaxf(row_length<T>(v, j, r, room), j.eps);
    for (int64_t base = 0; base < j.cols; base += span) {
        if (span < j.cols)
            at_kept_load<T>(v, j.x, r, base, j.cols, 0.0f);
        AT_FOR_KEPT(k, i)
        v[k][i] /= length;
        at_kept_store<T>(j.y, r, base, j.cols, v);
    }
}

/* dx = (dy - y * sum of y dy) / |x|, y = x / |x|; dy / eps where the row is shorter than eps. */
template <class T>
__global__ void __launch_bounds__(AT_BLOCK_MAX) l2_normalize_backward(row_job j)
{
    AT_SHARED(float[AT_WARPS_MAX], room);
    const int64_t r = at_kept_row(), span = at_kept_span();
    const bool again = span < j.cols;
    float x[AT_KEPT][AT_PACK], dy[AT_KEPT][AT_PACK], along = 0;
    if (r >= j.rows)
        return;
    const float length = row_length<T>(x, j, r, room);
    const bool is_long = length >= j.eps;
    for (int64_t base = 0; base < j.cols; base += span) {
        if (again)
            at_kept_load<T>(x, j.x, r, base, j.cols, 0.0f);
        at_kept_load_any(dy, j.dy, r, base, j.cols, 0.0f);
        AT_FOR_KEPT(k, i)
        along += is_long ? x[k][i] / length * dy[k][i] : 0.0f;
    }
    along = at_row_sum(along, room);
    for (int64_t base = 0; base < j.cols; base += span) {
        if (again) {
            at_kept_load<T>(x, j.x, r, base, j.cols, 0.0f);
            at_kept_load_any(dy, j.dy, r, base, j.cols, 0.0f);
        }
        AT_FOR_KEPT(k, i)
        x[k][i] = is_long ? (dy[k][i] - x[k][i] / length * along) / length : dy[k][i] / j.eps;
        at_kept_store<T>(j.y, r, base, j.cols, x);
    }
}

/* --- launches --------------------------------------------------------------------------------- */

#define LAUNCHER(kernel, LAUNCH)                                          \
    template <class T>                                                    \
    static cudaError_t launch_##kernel(const row_job &j, at_queue stream) \
    {                                                                     \
        const at_tiles t = at_row_tiles_of(j.rows, j.cols);               \
        return LAUNCH(kernel<T>, t.grid, t.block, 0, stream, j);          \
    }
LAUNCHER(softmax_forward, AT_LAUNCH_EARLY)
LAUNCHER(softmax_backward, AT_LAUNCH)
LAUNCHER(l2_normalize_forward, AT_LAUNCH_EARLY)
LAUNCHER(l2_normalize_backward, AT_LAUNCH)
#undef LAUNCHER

extern "C" bool at_softmax_cuda_fits(const void *args)
{
    return at_is_simd_type(static_cast<const at_softmax_args *>(args)->x.dtype);
}

extern "C" at_status at_softmax_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_softmax_args *>(args);
    const row_job j = { at_lines_of(&a->y),
                        at_lines_of(&a->x),
                        {},
                        at_rows(&a->x),
                        at_cols(&a->x),
                        a->scale != 0 ? a->scale : 1.0f,
                        0 };
    return at_launched(l, AT_BY_TYPE(a->x.dtype, launch_softmax_forward, j, at_queue_of(l)));
}

extern "C" bool at_softmax_bwd_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_softmax_bwd_args *>(args);
    return at_is_simd_type(a->y.dtype) && at_is_simd_type(a->dy.dtype);
}

extern "C" at_status at_softmax_bwd_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_softmax_bwd_args *>(args);
    const row_job j = { at_lines_of(&a->dx),
                        at_lines_of(&a->y),
                        at_lines_of(&a->dy),
                        at_rows(&a->y),
                        at_cols(&a->y),
                        a->scale != 0 ? a->scale : 1.0f,
                        0 };
    return at_launched(l, AT_BY_TYPE(a->y.dtype, launch_softmax_backward, j, at_queue_of(l)));
}

extern "C" bool at_l2_normalize_cuda_fits(const void *args)
{
    return at_is_simd_type(static_cast<const at_l2_normalize_args *>(args)->x.dtype);
}

extern "C" at_status at_l2_normalize_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_l2_normalize_args *>(args);
    const row_job j = {
        at_lines_of(&a->y), at_lines_of(&a->x), {}, at_rows(&a->x), at_cols(&a->x), 1.0f, a->eps
    };
    return at_launched(l, AT_BY_TYPE(a->x.dtype, launch_l2_normalize_forward, j, at_queue_of(l)));
}

extern "C" bool at_l2_normalize_bwd_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_l2_normalize_bwd_args *>(args);
    return at_is_simd_type(a->x.dtype) && at_is_simd_type(a->dy.dtype);
}

extern "C" at_status at_l2_normalize_bwd_cuda(const void *args, const at_prepared *,
                                              const at_launch *l)
{
    const auto *a = static_cast<const at_l2_normalize_bwd_args *>(args);
    const row_job j = { at_lines_of(&a->dx),
                        at_lines_of(&a->x),
                        at_lines_of(&a->dy),
                        at_rows(&a->x),
                        at_cols(&a->x),
                        1.0f,
                        a->eps };
    return at_launched(l, AT_BY_TYPE(a->x.dtype, launch_l2_normalize_backward, j, at_queue_of(l)));
}
