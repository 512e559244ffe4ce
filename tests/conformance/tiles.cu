/* tiles.cu -- mma fragments, ldmatrix, cp.async, and a small product that pipelines all three.
 * Conformance: nothing here is timed. */
#include "tests/conformance/conformance.h"

#include "kernels/device/async.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/mma.cuh"
#include "kernels/device/warp.cuh"

/* --- mma.m16n8k16 ----------------------------------------------------------------------------- */

enum { M = 16, N = 8, K = 16 };

template <class T>
struct element;

template <>
struct element<__nv_bfloat16> {
    static __nv_bfloat16 of(int v)
    {
        return __float2bfloat16((float)v);
    }
    __device__ static void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
    {
        at_mma_m16n8k16_bf16(d, a, b, d);
    }
};

template <>
struct element<__half> {
    static __half of(int v)
    {
        return __float2half((float)v);
    }
    __device__ static void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
    {
        at_mma_m16n8k16_f16(d, a, b, d);
    }
};

template <class T>
__device__ uint32_t pair(const T *p, int step)
{
    const uint16_t *u = reinterpret_cast<const uint16_t *>(p);
    return (uint32_t)u[0] | (uint32_t)u[step] << 16;
}

/* Fragments are filled by the manual's words: (16, 8) = (16, 16) (16, 8) + (16, 8). */
template <class T>
__global__ void one_mma(float *y, const T *a, const T *b, const float *c)
{
    const int g = threadIdx.x / 4, t = threadIdx.x % 4 * 2;
    const uint32_t fa[4] = { pair(a + g * K + t, 1), pair(a + (g + 8) * K + t, 1),
                             pair(a + g * K + t + 8, 1), pair(a + (g + 8) * K + t + 8, 1) };
    const uint32_t fb[2] = { pair(b + t * N + g, N), pair(b + (t + 8) * N + g, N) };
    float d[4] = { c[g * N + t], c[g * N + t + 1], c[(g + 8) * N + t], c[(g + 8) * N + t + 1] };
    element<T>::mma(d, fa, fb);
    for (int i = 0; i < 4; i++)
        y[(g + i / 2 * 8) * N + t + i % 2] = d[i];
}

template <class T>
static bool run_mma()
{
    T a[M * K], b[K * N];
    float c[M * N], expected[M * N], found[M * N];
    for (int i = 0; i < M * K; i++)
        a[i] = element<T>::of(conformance_value(i));
    for (int i = 0; i < K * N; i++)
        b[i] = element<T>::of(conformance_value(i + 1000));
    for (int i = 0; i < M * N; i++) {
        expected[i] = c[i] = (float)i;
        for (int k = 0; k < K; k++)
            expected[i] +=
                (float)(conformance_value(i / N * K + k) * conformance_value(1000 + k * N + i % N));
    }
    auto *da = static_cast<T *>(conformance_upload(a, sizeof a));
    auto *db = static_cast<T *>(conformance_upload(b, sizeof b));
    auto *dc = static_cast<float *>(conformance_upload(c, sizeof c));
    auto *y = static_cast<float *>(conformance_upload(nullptr, sizeof found));
    return da && db && dc && y &&
           conformance_download(found, y, sizeof found,
                                AT_LAUNCH(one_mma<T>, 1, AT_WARP, 0, 0, y, (const T *)da,
                                          (const T *)db, (const float *)dc)) &&
           conformance_same_f32(expected, found, M * N);
}

/* --- ldmatrix --------------------------------------------------------------------------------- */

template <int MATRICES, bool TRANSPOSED>
struct load_matrices;

#define LOADER(MATRICES, TRANSPOSED, function)                               \
    template <>                                                              \
    struct load_matrices<MATRICES, TRANSPOSED> {                             \
        __device__ static void run(uint32_t (&r)[MATRICES], const void *row) \
        {                                                                    \
            function(r, row);                                                \
        }                                                                    \
    };
LOADER(4, false, at_ldmatrix_x4)
LOADER(4, true, at_ldmatrix_x4_trans)
LOADER(2, false, at_ldmatrix_x2)
LOADER(2, true, at_ldmatrix_x2_trans)

/* x (32 rows of 8) u16: matrix i is rows 8 i to 8 i + 7. y (32 lanes, MATRICES). */
template <int MATRICES, bool TRANSPOSED>
__global__ void ldmatrix(uint32_t *y, const uint16_t *x)
{
    AT_SHARED(uint16_t[32][8], tile);
    for (int i = 0; i < 8; i++)
        tile[threadIdx.x][i] = x[threadIdx.x * 8 + i];
    __syncthreads();
    uint32_t r[MATRICES];
    load_matrices<MATRICES, TRANSPOSED>::run(r, tile[threadIdx.x % (8 * MATRICES)]);
    for (int i = 0; i < MATRICES; i++)
        y[threadIdx.x * MATRICES + i] = r[i];
}

template <int MATRICES, bool TRANSPOSED>
static bool run_ldmatrix()
{
    uint16_t x[32 * 8];
    uint32_t expected[32 * MATRICES], found[32 * MATRICES];
    for (int i = 0; i < 32 * 8; i++)
        x[i] = (uint16_t)(i * 257);
    for (int l = 0; l < 32; l++)
        for (int m = 0; m < MATRICES; m++) {
            const int row = l / 4, column = l % 4 * 2;
            const int low = TRANSPOSED ? column * 8 + row : row * 8 + column;
            const int high = TRANSPOSED ? low + 8 : low + 1;
            expected[l * MATRICES + m] = x[m * 64 + low] | (uint32_t)x[m * 64 + high] << 16;
        }
    auto *dx = static_cast<uint16_t *>(conformance_upload(x, sizeof x));
    auto *y = static_cast<uint32_t *>(conformance_upload(nullptr, sizeof found));
    return dx && y &&
           conformance_download(found, y, sizeof found,
                                AT_LAUNCH((ldmatrix<MATRICES, TRANSPOSED>), 1, AT_WARP, 0, 0, y,
                                          (const uint16_t *)dx)) &&
           conformance_same_u32(expected, found, 32 * MATRICES);
}

/* --- cp.async --------------------------------------------------------------------------------- */

enum { COPIES = 64 };

/* The first n of 64 pieces are copied, the rest are zeros; pieces come back turned around. */
__global__ void copies(uint32_t *y, const uint32_t *x, int n)
{
    AT_SHARED(uint32_t[COPIES][4], pieces);
    const int i = threadIdx.x;
    at_copy_async16(pieces[i], i < n ? x + i * 4 : x, i < n);
    at_copy_async_commit();
    at_copy_async_wait<0>();
    __syncthreads();
    for (int k = 0; k < 4; k++)
        y[i * 4 + k] = pieces[COPIES - 1 - i][k];
}

static bool run_copies()
{
    enum { WORDS = COPIES * 4, KEPT = 41 };
    uint32_t x[WORDS], expected[WORDS], found[WORDS];
    for (int i = 0; i < WORDS; i++)
        x[i] = (uint32_t)i + 1;
    for (int i = 0; i < WORDS; i++) {
        const int piece = COPIES - 1 - i / 4;
        expected[i] = piece < KEPT ? x[piece * 4 + i % 4] : 0;
    }
    auto *dx = static_cast<uint32_t *>(conformance_upload(x, KEPT * 16));
    auto *y = static_cast<uint32_t *>(conformance_upload(nullptr, sizeof found));
    return dx && y &&
           conformance_download(
               found, y, sizeof found,
               AT_LAUNCH(copies, 1, COPIES, 0, 0, y, (const uint32_t *)dx, (int)KEPT)) &&
           conformance_same_u32(expected, found, WORDS);
}

/* --- a product in three stages ---------------------------------------------------------------- */

enum { TILE = 32, STAGES = 3, THREADS = 128, PITCH = TILE + 8 };

/* One stage: 32 rows of a, 32 rows of b, 32 of k each; rows and columns outside arrive as zeros. */
__device__ void load_stage(__nv_bfloat16 (*tile)[PITCH], const __nv_bfloat16 *x, int row0, int rows,
                           int k0, int k)
{
    const int row = threadIdx.x / 4, column = threadIdx.x % 4 * 8;
    const bool wanted = row0 + row < rows && k0 + column < k;
    at_copy_async16(&tile[row][column], wanted ? x + (size_t)(row0 + row) * k + k0 + column : x,
                    wanted);
}

/* y (m, n) f32 = a (m, k) b (n, k), k a multiple of 8. Each of four warps has 16 x 16 of a tile. */
__global__ void __launch_bounds__(THREADS)
    product(float *y, const __nv_bfloat16 *a, const __nv_bfloat16 *b, int m, int n, int k)
{
    AT_SHARED(__nv_bfloat16[STAGES][TILE][PITCH], as);
    AT_SHARED(__nv_bfloat16[STAGES][TILE][PITCH], bs);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int row0 = warp / 2 * 16, column0 = warp % 2 * 16, steps = (k + TILE - 1) / TILE;
    float d[2][4] = {};
    for (int s = 0; s < STAGES - 1; s++) {
        load_stage(as[s], a, blockIdx.y * TILE, m, s * TILE, k);
        load_stage(bs[s], b, blockIdx.x * TILE, n, s * TILE, k);
        at_copy_async_commit();
    }
    for (int step = 0; step < steps; step++) {
        at_copy_async_wait<STAGES - 2>();
        __syncthreads();
        const int next = step + STAGES - 1, s = step % STAGES;
        load_stage(as[next % STAGES], a, blockIdx.y * TILE, m, next * TILE, k);
        load_stage(bs[next % STAGES], b, blockIdx.x * TILE, n, next * TILE, k);
        at_copy_async_commit();
        for (int kk = 0; kk < TILE; kk += 16) {
            uint32_t fa[4], fb[4];
            at_ldmatrix_x4(fa, &as[s][row0 + lane % 16][kk + lane / 16 * 8]);
            at_ldmatrix_x4(fb, &bs[s][column0 + lane % 8 + lane / 16 * 8][kk + lane / 8 % 2 * 8]);
            const uint32_t left[2] = { fb[0], fb[1] }, right[2] = { fb[2], fb[3] };
            at_mma_m16n8k16_bf16(d[0], fa, left, d[0]);
            at_mma_m16n8k16_bf16(d[1], fa, right, d[1]);
        }
    }
    at_copy_async_wait<0>();
    for (int i = 0; i < 8; i++) {
        const int row = blockIdx.y * TILE + row0 + lane / 4 + i % 4 / 2 * 8;
        const int column = blockIdx.x * TILE + column0 + i / 4 * 8 + lane % 4 * 2 + i % 2;
        if (row < m && column < n)
            y[(size_t)row * n + column] = d[i / 4][i % 4];
    }
}

static bool run_product()
{
    enum { ROWS = 40, COLUMNS = 50, DEPTH = 136 };
    static __nv_bfloat16 a[ROWS * DEPTH], b[COLUMNS * DEPTH];
    static float expected[ROWS * COLUMNS], found[ROWS * COLUMNS];
    for (int i = 0; i < ROWS * DEPTH; i++)
        a[i] = element<__nv_bfloat16>::of(conformance_value(i));
    for (int i = 0; i < COLUMNS * DEPTH; i++)
        b[i] = element<__nv_bfloat16>::of(conformance_value(i + 7));
    for (int i = 0; i < ROWS * COLUMNS; i++) {
        int sum = 0;
        for (int k = 0; k < DEPTH; k++)
            sum += conformance_value(i / COLUMNS * DEPTH + k) *
                   conformance_value(i % COLUMNS * DEPTH + k + 7);
        expected[i] = (float)sum;
    }
    auto *da = static_cast<__nv_bfloat16 *>(conformance_upload(a, sizeof a));
    auto *db = static_cast<__nv_bfloat16 *>(conformance_upload(b, sizeof b));
    auto *y = static_cast<float *>(conformance_upload(nullptr, sizeof found));
    if (!da || !db || !y)
        return false;
    dim3 grid((COLUMNS + TILE - 1) / TILE, (ROWS + TILE - 1) / TILE);
    cudaError_t status = AT_LAUNCH(product, grid, THREADS, 0, 0, y, (const __nv_bfloat16 *)da,
                                   (const __nv_bfloat16 *)db, (int)ROWS, (int)COLUMNS, (int)DEPTH);
    return conformance_download(found, y, sizeof found, status) &&
           conformance_same_f32(expected, found, ROWS * COLUMNS);
}

const conformance_case conformance_tiles[] = {
    { "mma.m16n8k16 fragments, bf16", 80, run_mma<__nv_bfloat16> },
    { "mma.m16n8k16 fragments, f16", 80, run_mma<__half> },
    { "ldmatrix x4", 80, run_ldmatrix<4, false> },
    { "ldmatrix x4 transposed", 80, run_ldmatrix<4, true> },
    { "ldmatrix x2", 80, run_ldmatrix<2, false> },
    { "ldmatrix x2 transposed", 80, run_ldmatrix<2, true> },
    { "cp.async with zeros beyond the end", 80, run_copies },
    { "product: cp.async in three stages, ldmatrix, mma", 80, run_product },
    { nullptr, 0, nullptr },
};
