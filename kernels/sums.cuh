/* sums.cuh -- the parts of sums.h on a GPU: a block sums a part, one more block adds up the places.
 *
 * Sums are f64, as on a processor: squares neither overflow nor vanish, and the GPUs that train
 * have f64 at half the rate of f32, far more than what memory feeds. */
#ifndef AT_KERNELS_SUMS_CUH
#define AT_KERNELS_SUMS_CUH

#include "kernels/elements.cuh"
#include "kernels/sums.h"

/* The sum of n places, by a whole block. */
__device__ __forceinline__ double at_places_sum(const double *places, int64_t n, double *room)
{
    double sum = 0;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x)
        sum += places[i];
    return at_block_sum(sum, room);
}

/* The threads of the block that adds the places up: whole warps. */
static inline unsigned at_places_threads(int64_t places)
{
    unsigned threads = AT_WARP;
    while (threads < places && threads < AT_BLOCK_MAX)
        threads *= 2;
    return threads;
}

/* A view as one long row: 'cols' elements of it lie side by side, all of them where it is dense. */
struct at_flat {
    at_lines lines;
    int64_t cols;
};

static inline at_flat at_flat_of(const at_view *v)
{
    return { at_lines_of(v), at_dense(v) ? at_elements(v) : at_cols(v) };
}

/* Elements e to e + 7 of the long row; zeros from the n-th on. Several packs are fetched before the
 * first is made floats of. */
template <class T>
__device__ __forceinline__ at_pack<T> at_flat_load(const at_flat &f, int64_t e, int64_t n)
{
    int64_t row = e < f.cols ? 0 : e / f.cols, c = e - row * f.cols;
    const T *p = at_line<T>(f.lines, row) + c;
    at_pack<T> pack;
    if (c + AT_PACK <= f.cols && n >= AT_PACK && reinterpret_cast<uintptr_t>(p) % 16 == 0) {
        at_pack_fetch(pack, p, AT_PACK, true);
        return pack;
    }
#pragma unroll
    for (int i = 0; i < AT_PACK; i++) { /* perhaps into the next rows */
        pack.e[i] = i < n ? *p : static_cast<T>(0.0f);
        p++;
        if (++c == f.cols) {
            c = 0;
            p = at_line<T>(f.lines, ++row);
        }
    }
    return pack;
}

template <class T>
__device__ __forceinline__ float at_flat_get(const at_pack<T> &pack, int i)
{
    return static_cast<float>(pack.e[i]);
}

#endif
