/* picture.cuh -- pictures (B, H, W, C) as CUDA kernels walk over them.
 *
 * A thread has a spot: AT_PACK channels of one column, in every row of positions from its own on
 * that is a grid apart. Neighbouring threads have neighbouring channels, then columns, so that
 * their addresses follow each other. */
#ifndef AT_KERNELS_PICTURE_CUH
#define AT_KERNELS_PICTURE_CUH

#include "kernels/elements.cuh"

/* --- grids ------------------------------------------------------------------------------------ */

/* Tiles in smaller blocks where there are too few to keep a large GPU busy: latents and thumbnails
 * are small. What a thread does stays what it was. */
static inline at_tiles at_tiles_spread(at_tiles t)
{
    enum { BLOCKS_MIN = 264, THREADS_MIN = 64 };
    while ((uint64_t)t.grid.x * t.grid.y < BLOCKS_MIN && t.block.x * t.block.y > THREADS_MIN) {
        unsigned &block = t.block.y > 1 ? t.block.y : t.block.x;
        unsigned &grid = t.block.y > 1 ? t.grid.y : t.grid.x;
        block /= 2;
        grid *= 2;
    }
    return t;
}

/* --- spots ------------------------------------------------------------------------------------ */

struct at_pixels {
    int64_t rows, cols; /* B * H, W */
    int64_t channels, packs;
};

struct at_pixel {
    int64_t row, col, channel;
};

static inline at_pixels at_pixels_of(int64_t rows, int64_t cols, int64_t channels)
{
    return { rows, cols, channels, (channels + AT_PACK - 1) / AT_PACK };
}

static inline at_tiles at_pixel_tiles(const at_pixels &s)
{
    return at_tiles_spread(at_tiles_of(s.rows, s.cols * s.packs * AT_PACK));
}

__device__ __forceinline__ at_pixel at_pixel_first(const at_pixels &s)
{
    const int64_t q = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    return { (int64_t)blockIdx.y * blockDim.y + threadIdx.y, q / s.packs, q % s.packs * AT_PACK };
}

__device__ __forceinline__ bool at_pixel_exists(const at_pixels &s, const at_pixel &at)
{
    return at.col < s.cols && at.row < s.rows;
}

__device__ __forceinline__ void at_pixel_next(at_pixel &at)
{
    at.row += (int64_t)gridDim.y * blockDim.y;
}

/* --- bytes ------------------------------------------------------------------------------------ */

/* v = the bytes from p on; 0 from the n-th on. */
__device__ __forceinline__ void at_bytes_load(int (&v)[AT_PACK], const uint8_t *p, int64_t n,
                                              bool wide)
{
    if (wide && n >= AT_PACK) {
        const uint2 raw = at_load<uint2>(p);
        const uint8_t *e = reinterpret_cast<const uint8_t *>(&raw);
#pragma unroll
        for (int i = 0; i < AT_PACK; i++)
            v[i] = e[i];
        return;
    }
#pragma unroll
    for (int i = 0; i < AT_PACK; i++)
        v[i] = i < n ? p[i] : 0;
}

/* v lies in 0 to 255. */
__device__ __forceinline__ void at_bytes_store(uint8_t *p, const int (&v)[AT_PACK], int64_t n,
                                               bool wide)
{
    if (wide && n >= AT_PACK) {
        uint2 raw;
        uint8_t *e = reinterpret_cast<uint8_t *>(&raw);
#pragma unroll
        for (int i = 0; i < AT_PACK; i++)
            e[i] = static_cast<uint8_t>(v[i]);
        at_store(p, raw);
        return;
    }
#pragma unroll
    for (int i = 0; i < AT_PACK; i++)
        if (i < n)
            p[i] = static_cast<uint8_t>(v[i]);
}

#endif
