/* hopper_sm90a.cu -- mbarrier phases, TMA tiles with every swizzle, wgmma of every shape we have.
 * Conformance: nothing here is timed. */
#include "tests/conformance/conformance.h"

#include "kernels/device/hopper.cuh"
#include "kernels/device/memory.cuh"

enum { GROUP = 128 };

/* Uploads n small integers from conformance_value(seed) on; 'host' has them too. */
static void *upload_integers(__nv_bfloat16 *host, int n, int seed)
{
    for (int i = 0; i < n; i++)
        host[i] = __float2bfloat16((float)conformance_value(i + seed));
    return conformance_upload(host, (size_t)n * sizeof *host);
}

static uint32_t span_columns(at_swizzle swizzle)
{
    static const uint32_t columns[] = { 8, 64, 32, 16 };
    return columns[swizzle];
}

/* --- mbarrier --------------------------------------------------------------------------------- */

enum { ROUNDS = 7, BUFFERS = 2, CONSUMERS = 32 };

/* One warp produces, another adds up; two buffers, so each barrier goes through several phases. */
__global__ void rounds(uint32_t *y) /* (CONSUMERS) */
{
    AT_SHARED(uint64_t[2 * BUFFERS], bars);
    AT_SHARED(uint32_t[BUFFERS], values);
    uint64_t *full = bars, *empty = bars + BUFFERS;
    if (threadIdx.x == 0) {
        for (int i = 0; i < BUFFERS; i++) {
            at_mbarrier_init(full + i, 1);
            at_mbarrier_init(empty + i, CONSUMERS);
        }
        at_mbarrier_init_fence();
    }
    __syncthreads();
    uint32_t sum = 0;
    for (int r = 0; r < ROUNDS; r++) {
        const int i = r % BUFFERS, parity = r / BUFFERS % 2;
        if (threadIdx.x == CONSUMERS) {
            if (r >= BUFFERS)
                at_mbarrier_wait(empty + i, parity ^ 1);
            values[i] = 1u << r;
            at_mbarrier_arrive(full + i);
        } else if (threadIdx.x < CONSUMERS) {
            at_mbarrier_wait(full + i, parity);
            sum += values[i];
            at_mbarrier_arrive(empty + i);
        }
    }
    if (threadIdx.x < CONSUMERS)
        y[threadIdx.x] = sum;
}

static bool run_rounds()
{
    uint32_t expected[CONSUMERS], found[CONSUMERS];
    for (uint32_t &e : expected)
        e = (1u << ROUNDS) - 1;
    auto *y = static_cast<uint32_t *>(conformance_upload(nullptr, sizeof found));
    return y && conformance_download(found, y, sizeof found, AT_LAUNCH(rounds, 1, 64, 0, 0, y)) &&
           conformance_same_u32(expected, found, CONSUMERS);
}

/* --- TMA -------------------------------------------------------------------------------------- */

/* The box at (x, y) as its bytes lie in shared memory. */
__global__ void tma_box(uint32_t *out, const __grid_constant__ at_tensor_map map, int x, int y,
                        int bytes)
{
    AT_SHARED_DYNAMIC(uint32_t, tile);
    AT_SHARED(uint64_t[1], bar);
    if (threadIdx.x == 0) {
        at_mbarrier_init(bar, 1);
        at_mbarrier_init_fence();
        at_mbarrier_expect(bar, bytes);
        at_tma_load_2d(tile, &map, bar, x, y);
    }
    __syncthreads();
    at_mbarrier_wait(bar, 0);
    for (int i = threadIdx.x; i < bytes / 4; i += blockDim.x)
        out[i] = tile[i];
}

/* Byte address of element (row, column) of a tile whose rows span the swizzle's width. */
static size_t swizzled(at_swizzle swizzle, int row, int column, int columns)
{
    const int piece = column / 8;
    int moved = piece;
    if (swizzle == AT_SWIZZLE_128)
        moved = piece ^ (row % 8);
    if (swizzle == AT_SWIZZLE_64)
        moved = piece ^ (row / 2 % 4);
    if (swizzle == AT_SWIZZLE_32)
        moved = piece ^ (row / 4 % 2);
    return (size_t)(row * columns + moved * 8 + column % 8) * 2;
}

template <at_swizzle SWIZZLE>
static bool run_tma()
{
    enum { ROWS = 20, COLUMNS = 40, BOX_ROWS = 16 };
    const int span = (int)span_columns(SWIZZLE), bytes = BOX_ROWS * span * 2;
    __nv_bfloat16 host[ROWS * COLUMNS];
    void *x = upload_integers(host, ROWS * COLUMNS, 3);
    auto *y = static_cast<uint32_t *>(conformance_upload(nullptr, (size_t)bytes));
    at_tensor_map map;
    at_tensor_map_2d of = {
        x, ROWS, COLUMNS, COLUMNS * 2, BOX_ROWS, (uint32_t)span, SWIZZLE, false
    };
    if (!x || !y || at_tensor_map_encode(&map, &of) != cudaSuccess)
        return conformance_fail("the tensor map is refused");
    static const int at[3][2] = { { 0, 0 }, { 36, 12 }, { -5, -3 } };
    for (auto &origin : at) {
        uint32_t expected[BOX_ROWS * 32] = { 0 }, found[BOX_ROWS * 32];
        for (int r = 0; r < BOX_ROWS; r++)
            for (int c = 0; c < span; c++) {
                const int row = r + origin[1], column = c + origin[0];
                const bool in = row >= 0 && row < ROWS && column >= 0 && column < COLUMNS;
                if (in)
                    memcpy((char *)expected + swizzled(SWIZZLE, r, c, span),
                           &host[row * COLUMNS + column], 2);
            }
        cudaError_t status =
            AT_LAUNCH(tma_box, 1, 32, (size_t)bytes, 0, y, map, origin[0], origin[1], bytes);
        if (!conformance_download(found, y, (size_t)bytes, status) ||
            !conformance_same_u32(expected, found, bytes / 4))
            return conformance_fail("box at column %d, row %d", origin[0], origin[1]);
    }
    return true;
}

/* --- wgmma ------------------------------------------------------------------------------------ */

template <int N>
struct wgmma;

#define SHAPE(N, function)                                                                    \
    template <>                                                                               \
    struct wgmma<N> {                                                                         \
        template <int TRANSPOSED_B>                                                           \
        __device__ static void run(float (&d)[N / 2], uint64_t a, uint64_t b, int accumulate) \
        {                                                                                     \
            function<0, TRANSPOSED_B>(d, a, b, accumulate);                                   \
        }                                                                                     \
    };
SHAPE(64, at_wgmma_m64n64k16_bf16)
SHAPE(128, at_wgmma_m64n128k16_bf16)
SHAPE(256, at_wgmma_m64n256k16_bf16)

template <int N>
__device__ void store_result(float *y, const float (&d)[N / 2])
{
    const int t = threadIdx.x;
    for (int r = 0; r < N / 2; r++)
        y[(t / 32 * 16 + t % 32 / 4 + (r & 2 ? 8 : 0)) * N + r / 4 * 8 + t % 4 * 2 + r % 2] = d[r];
}

/* y (64, N) = a (64, span) b (N, span), both with k innermost, as TMA lays them down. */
template <int N, at_swizzle SWIZZLE>
__global__ void __launch_bounds__(GROUP)
    wgmma_rows(float *y, const __grid_constant__ at_tensor_map ma,
               const __grid_constant__ at_tensor_map mb)
{
    constexpr int SPAN = SWIZZLE == AT_SWIZZLE_128 ? 64 : SWIZZLE == AT_SWIZZLE_64 ? 32 : 16;
    AT_SHARED_DYNAMIC(unsigned char, shared);
    AT_SHARED(uint64_t[1], bar);
    unsigned char *a = shared, *b = shared + 64 * SPAN * 2;
    if (threadIdx.x == 0) {
        at_mbarrier_init(bar, 1);
        at_mbarrier_init_fence();
        at_mbarrier_expect(bar, (64 + N) * SPAN * 2);
        at_tma_load_2d(a, &ma, bar, 0, 0);
        at_tma_load_2d(b, &mb, bar, 0, 0);
    }
    __syncthreads();
    at_mbarrier_wait(bar, 0);
    float d[N / 2];
    at_wgmma_fence();
    for (int k = 0; k < SPAN; k += 16)
        wgmma<N>::template run<0>(d, at_wgmma_descriptor(a + k * 2, 16, 8 * SPAN * 2, SWIZZLE),
                                  at_wgmma_descriptor(b + k * 2, 16, 8 * SPAN * 2, SWIZZLE), k > 0);
    at_wgmma_commit();
    at_wgmma_wait<0>();
    store_result<N>(y, d);
}

/* y (64, 64) = a (64, 64) b (64, 64), b with k outermost. */
__global__ void __launch_bounds__(GROUP)
    wgmma_columns(float *y, const __grid_constant__ at_tensor_map ma,
                  const __grid_constant__ at_tensor_map mb)
{
    AT_SHARED_DYNAMIC(unsigned char, shared);
    AT_SHARED(uint64_t[1], bar);
    unsigned char *a = shared, *b = shared + 8192;
    if (threadIdx.x == 0) {
        at_mbarrier_init(bar, 1);
        at_mbarrier_init_fence();
        at_mbarrier_expect(bar, 2 * 8192);
        at_tma_load_2d(a, &ma, bar, 0, 0);
        at_tma_load_2d(b, &mb, bar, 0, 0);
    }
    __syncthreads();
    at_mbarrier_wait(bar, 0);
    float d[32];
    at_wgmma_fence();
    for (int k = 0; k < 64; k += 16)
        at_wgmma_m64n64k16_bf16<0, 1>(d, at_wgmma_descriptor(a + k * 2, 16, 1024, AT_SWIZZLE_128),
                                      at_wgmma_descriptor(b + k * 128, 8192, 1024, AT_SWIZZLE_128),
                                      k > 0);
    at_wgmma_commit();
    at_wgmma_wait<0>();
    store_result<64>(y, d);
}

/* y (64, 64) = a (64, 16) b (64, 16), written by threads as 8 x 8 pieces without a swizzle. */
__global__ void __launch_bounds__(GROUP)
    wgmma_pieces(float *y, const __nv_bfloat16 *a, const __nv_bfloat16 *b)
{
    AT_SHARED_DYNAMIC(__nv_bfloat16, shared);
    __nv_bfloat16 *const sa = shared, *const sb = shared + 64 * 16;
    for (int i = threadIdx.x; i < 64 * 16; i += GROUP) {
        const int row = i / 16, k = i % 16, at = row / 8 * 128 + k / 8 * 64 + row % 8 * 8 + k % 8;
        sa[at] = a[i];
        sb[at] = b[i];
    }
    at_async_proxy_fence();
    __syncthreads();
    float d[32];
    at_wgmma_fence();
    at_wgmma_m64n64k16_bf16<0, 0>(d, at_wgmma_descriptor(sa, 128, 256, AT_SWIZZLE_NONE),
                                  at_wgmma_descriptor(sb, 128, 256, AT_SWIZZLE_NONE), 0);
    at_wgmma_commit();
    at_wgmma_wait<0>();
    store_result<64>(y, d);
}

enum { SEED_A = 11, SEED_B = 17, N_MAX = 256 };

static __nv_bfloat16 host_a[64 * 64], host_b[N_MAX * 64];

/* Compares y (64, n) with a (64, k) b, b (n, k) or, transposed, (k, n). */
static bool same_product(const float *y, int n, int k, bool transposed, cudaError_t status)
{
    static float expected[64 * N_MAX], found[64 * N_MAX];
    for (int i = 0; i < 64; i++)
        for (int j = 0; j < n; j++) {
            int sum = 0;
            for (int q = 0; q < k; q++)
                sum += conformance_value(i * k + q + SEED_A) *
                       conformance_value((transposed ? q * n + j : j * k + q) + SEED_B);
            expected[i * n + j] = (float)sum;
        }
    return conformance_download(found, y, (size_t)(64 * n) * sizeof *y, status) &&
           conformance_same_f32(expected, found, 64 * n);
}

template <int N, at_swizzle SWIZZLE>
static bool run_wgmma()
{
    const int k = (int)span_columns(SWIZZLE);
    void *a = upload_integers(host_a, 64 * k, SEED_A);
    void *b = upload_integers(host_b, N * k, SEED_B);
    auto *y = static_cast<float *>(conformance_upload(nullptr, 64 * N * 4));
    at_tensor_map ma, mb;
    const auto pitch = (uint64_t)k * 2;
    at_tensor_map_2d of_a = { a, 64, (uint64_t)k, pitch, 64, (uint32_t)k, SWIZZLE, false };
    at_tensor_map_2d of_b = { b, N, (uint64_t)k, pitch, N, (uint32_t)k, SWIZZLE, false };
    if (!a || !b || !y || at_tensor_map_encode(&ma, &of_a) != cudaSuccess ||
        at_tensor_map_encode(&mb, &of_b) != cudaSuccess)
        return conformance_fail("the tensor maps are refused");
    const size_t bytes = (size_t)(64 + N) * k * 2;
    cudaError_t status = AT_LAUNCH((wgmma_rows<N, SWIZZLE>), 1, GROUP, bytes, 0, y, ma, mb);
    return same_product(y, N, k, false, status);
}

static bool run_wgmma_columns()
{
    void *a = upload_integers(host_a, 64 * 64, SEED_A);
    void *b = upload_integers(host_b, 64 * 64, SEED_B);
    auto *y = static_cast<float *>(conformance_upload(nullptr, 64 * 64 * 4));
    at_tensor_map ma, mb;
    at_tensor_map_2d of_a = { a, 64, 64, 128, 64, 64, AT_SWIZZLE_128, false }, of_b = of_a;
    of_b.data = b;
    if (!a || !b || !y || at_tensor_map_encode(&ma, &of_a) != cudaSuccess ||
        at_tensor_map_encode(&mb, &of_b) != cudaSuccess)
        return conformance_fail("the tensor maps are refused");
    return same_product(y, 64, 64, true,
                        AT_LAUNCH(wgmma_columns, 1, GROUP, 2 * 8192, 0, y, ma, mb));
}

static bool run_wgmma_pieces()
{
    auto *a = static_cast<__nv_bfloat16 *>(upload_integers(host_a, 64 * 16, SEED_A));
    auto *b = static_cast<__nv_bfloat16 *>(upload_integers(host_b, 64 * 16, SEED_B));
    auto *y = static_cast<float *>(conformance_upload(nullptr, 64 * 64 * 4));
    return a && b && y &&
           same_product(y, 64, 16, false,
                        AT_LAUNCH(wgmma_pieces, 1, GROUP, 4096, 0, y, (const __nv_bfloat16 *)a,
                                  (const __nv_bfloat16 *)b));
}

const conformance_case conformance_hopper[] = {
    { "mbarrier phases between two warps", 90, run_rounds },
    { "TMA with zeros outside, no swizzle", 90, run_tma<AT_SWIZZLE_NONE> },
    { "TMA with zeros outside, 128-byte swizzle", 90, run_tma<AT_SWIZZLE_128> },
    { "TMA with zeros outside, 64-byte swizzle", 90, run_tma<AT_SWIZZLE_64> },
    { "TMA with zeros outside, 32-byte swizzle", 90, run_tma<AT_SWIZZLE_32> },
    { "wgmma m64n64k16, 128-byte swizzle", 90, run_wgmma<64, AT_SWIZZLE_128> },
    { "wgmma m64n64k16, 64-byte swizzle", 90, run_wgmma<64, AT_SWIZZLE_64> },
    { "wgmma m64n64k16, 32-byte swizzle", 90, run_wgmma<64, AT_SWIZZLE_32> },
    { "wgmma m64n64k16, no swizzle", 90, run_wgmma_pieces },
    { "wgmma m64n64k16, b with k outermost", 90, run_wgmma_columns },
    { "wgmma m64n128k16, 128-byte swizzle", 90, run_wgmma<128, AT_SWIZZLE_128> },
    { "wgmma m64n256k16, 128-byte swizzle", 90, run_wgmma<256, AT_SWIZZLE_128> },
    { nullptr, 0, nullptr },
};
