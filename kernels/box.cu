/* box.cu -- bound by memory: x is read once as long as boxes do not overlap, y is written once; the
 * aim is 80 % of the bandwidth. Where boxes overlap x comes from the L2 cache again. */
#include "kernels/box.cuh"

struct box_job {
    at_lines y, x;          /* (B * Ho * Wo, C), (B * H * W, C) */
    at_pixels spots;        /* of y */
    int64_t out_rows, rows; /* Ho, H */
    int64_t cols;           /* W */
    at_box_axis down, across;
    float factor;
};

/* ceil(n / div) brought into [low, high]; low is not negative. */
__device__ __forceinline__ int64_t border(int64_t n, int64_t div, int64_t low, int64_t high)
{
    const int64_t at = n <= 0 ? 0 : (n + div - 1) / div;
    return at < low ? low : at > high ? high : at;
}

template <class T>
__global__ void __launch_bounds__(AT_BLOCK) sum_boxes(box_job j)
{
    at_pixel s = at_pixel_first(j.spots);
    const at_box_axis &h = j.down, &w = j.across;
    const int64_t left = border(w.step * s.col + w.first, w.div, 0, j.cols);
    const int64_t right = border(w.step * s.col + w.last, w.div, left, j.cols);
    const int64_t n = j.spots.channels - s.channel;
    for (; at_pixel_exists(j.spots, s); at_pixel_next(s)) {
        const int64_t b = s.row / j.out_rows, o = s.row % j.out_rows;
        const int64_t top = border(h.step * o + h.first, h.div, 0, j.rows);
        const int64_t bottom = border(h.step * o + h.last, h.div, top, j.rows);
        float sum[AT_PACK] = {};
        for (int64_t r = top; r < bottom; r++) {
            const T *x = at_line<T>(j.x, (b * j.rows + r) * j.cols + left) + s.channel;
            for (int64_t c = left; c < right; c++, x += j.x.pitch) {
                float v[AT_PACK];
                at_pack_load(v, x, n, j.x.wide, 0.0f);
#pragma unroll
                for (int i = 0; i < AT_PACK; i++)
                    sum[i] += v[i];
            }
        }
#pragma unroll
        for (int i = 0; i < AT_PACK; i++)
            sum[i] *= j.factor;
        T *y = at_line<T>(j.y, s.row * j.spots.cols + s.col) + s.channel;
        at_pack_store(y, sum, n, j.y.wide);
    }
}

template <class T>
static cudaError_t launch_boxes(const box_job &j, cudaStream_t stream)
{
    const at_tiles t = at_pixel_tiles(j.spots);
    return AT_LAUNCH(sum_boxes<T>, t.grid, t.block, 0, stream, j);
}

cudaError_t at_box_sum_cuda(const at_box &box, cudaStream_t stream)
{
    const int64_t *out = box.y.size;
    const box_job j = { at_lines_of(&box.y),
                        at_lines_of(&box.x),
                        at_pixels_of(out[0] * out[1], out[2], out[3]),
                        out[1],
                        box.x.size[1],
                        box.x.size[2],
                        box.axis[0],
                        box.axis[1],
                        box.factor };
    return AT_BY_TYPE(box.y.dtype, launch_boxes, j, stream);
}
