/* linear_few.cu -- linear for a few rows, as when a word is decoded: bound by reading the weights,
 * once, 16 bytes a lane; the aim is 80 % of the bandwidth for up to 8 rows, while up to 16 rows'
 * multiply-adds still hide behind it.
 *
 * A warp has one or four columns of y and all of k: lane l takes every 32nd pack of eight, and the
 * lanes' sums are added up as a tree. So a row's bytes depend on the row alone. Rows come in groups
 * of up to eight; what takes the later groups finds the weights in the caches. */
#include "kernels/linear_variants.h"
#include "kernels/product_end.cuh"

enum { FEW_ROWS = 8, FEW_COLS = 4, FEW_WARPS = 4 };

struct few_job {
    at_lines x, w; /* (rows, depth), (cols, depth) */
    at_product_end end;
    int64_t rows, cols, depth;
};

/* v[r * COLS + c] = the products of this lane's packs of k, of ROWS rows and COLS columns. */
template <class W, int ROWS, int COLS>
__device__ __forceinline__ void add_lane(float (&v)[ROWS * COLS], const few_job &j, int64_t row,
                                         int64_t col)
{
    const int64_t lane = threadIdx.x;
    for (int64_t k = lane * AT_PACK; k < j.depth; k += AT_WARP * AT_PACK) {
        float w[COLS][AT_PACK], x[AT_PACK];
#pragma unroll
        for (int c = 0; c < COLS; c++)
            at_pack_load(w[c], at_line<W>(j.w, col + c < j.cols ? col + c : col) + k, j.depth - k,
                         j.w.wide, 0.0f);
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            at_row_load(x, j.x, row + r < j.rows ? row + r : row, k, j.depth, 0.0f);
#pragma unroll
            for (int c = 0; c < COLS; c++)
#pragma unroll
                for (int i = 0; i < AT_PACK; i++)
                    v[r * COLS + c] = fmaf(x[i], w[c][i], v[r * COLS + c]);
        }
    }
}

/* Sums v over the lanes, and gives each lane one: lane i * 32 / N and those up to the next have sum
 * i. Half of the sums go to the lane's partner while there are several, so N of them take N - 1
 * exchanges and the rest of five; the tree of a sum is the same for every N. */
template <int N>
__device__ __forceinline__ float own_sum(float (&v)[N])
{
    int n = N;
#pragma unroll
    for (int bits = AT_WARP / 2; bits > 0; bits /= 2) {
        const bool upper = threadIdx.x & bits;
        n /= 2;
#pragma unroll
        for (int i = 0; i < N / 2; i++)
            if (i < n) {
                const float kept = upper ? v[i + n] : v[i];
                v[i] = kept + __shfl_xor_sync(AT_LANES_ALL, upper ? v[i] : v[i + n], bits);
            }
        if (n == 0)
            v[0] += __shfl_xor_sync(AT_LANES_ALL, v[0], bits);
    }
    return v[0];
}

/* The first lane that has a sum finishes its element: sum r * COLS + c that of row + r, col + c. */
template <int ROWS, int COLS>
__device__ __forceinline__ void finish(float (&v)[ROWS * COLS], at_product_end &end,
                                       const few_job &j, int64_t row, int64_t col)
{
    enum { EACH = AT_WARP / (ROWS * COLS) };
    float own[AT_PACK] = { own_sum(v) };
    const int sum = threadIdx.x / EACH;
    const int64_t r = row + sum / COLS, c = col + sum % COLS;
    if (threadIdx.x % EACH == 0 && r < j.rows && c < j.cols)
        at_end_put(end, own, r, c, 1);
}

template <class W, int ROWS, int COLS>
__global__ void __launch_bounds__(AT_WARP *FEW_WARPS, 4) linear_few(few_job j)
{
    AT_SHARED(float[AT_WARPS_MAX], room);
    at_wait_for_earlier();
    const int64_t col = ((int64_t)blockIdx.x * FEW_WARPS + threadIdx.y) * COLS;
    int64_t row = (int64_t)blockIdx.y * ROWS;
    for (; col < j.cols && row < j.rows; row += (int64_t)gridDim.y * ROWS) {
        float v[ROWS * COLS] = {};
        add_lane<W, ROWS, COLS>(v, j, row, col);
        finish<ROWS, COLS>(v, j.end, j, row, col);
    }
    if (j.end.amax)
        at_amax_put(j.end.top, j.end.amax, room);
}

/* --- launches --------------------------------------------------------------------------------- */

template <class W, int ROWS, int COLS>
static cudaError_t launch_few(const few_job &j, at_queue stream)
{
    /* With one column a warp there are few blocks: groups of rows get their own. */
    const int64_t groups = COLS == 1 ? (j.rows + ROWS - 1) / ROWS : 1;
    const int64_t blocks = (j.cols + FEW_WARPS * COLS - 1) / (FEW_WARPS * COLS);
    return AT_LAUNCH_EARLY((linear_few<W, ROWS, COLS>), dim3((unsigned)blocks, (unsigned)groups),
                           dim3(AT_WARP, FEW_WARPS), 0, stream, j);
}

/* Four columns share what is read of x, where that leaves enough warps to read the weights. */
template <class W>
static cudaError_t launch(const few_job &j, at_queue stream)
{
    enum { MANY = 4096 };
    const bool many = j.cols >= MANY;
    if (j.rows == 1)
        return many ? launch_few<W, 1, FEW_COLS>(j, stream) : launch_few<W, 1, 1>(j, stream);
    return many ? launch_few<W, FEW_ROWS, FEW_COLS>(j, stream)
                : launch_few<W, FEW_ROWS, 1>(j, stream);
}

extern "C" bool at_linear_few_cuda_fits(const void *args)
{
    return at_linear_few_fits(args);
}

extern "C" at_status at_linear_few_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_linear_args *>(args);
    few_job j = {};
    j.x = at_lines_of(&a->x);
    j.w = at_lines_of(&a->w);
    j.rows = at_rows(&a->x);
    j.cols = a->w.size[0];
    j.depth = at_cols(&a->x);
    j.end = at_linear_end_of(a);
    cudaError_t error = at_amax_clear(j.end.amax, at_queue_of(l));
    if (error == cudaSuccess)
        error = AT_BY_TYPE(a->w.dtype, launch, j, at_queue_of(l));
    return at_launched(l, error);
}
