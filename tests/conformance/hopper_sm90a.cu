/* hopper_sm90a.cu -- mbarrier phases, TMA tiles with every swizzle, wgmma of every shape we have.
 * Conformance: nothing here is timed. */
#include "tests/conformance/conformance.h"

#include "kernels/device/hopper.cuh"
#include "kernels/device/memory.cuh"

enum { GROUP = 128 };

template <class T>
constexpr at_dtype TYPE = sizeof(T) == 1 ? AT_F8 : AT_BF16;

/* Uploads n small integers from conformance_value(seed) on; 'host' has them too. */
template <class T>
static void *upload_integers(T *host, int n, int seed)
{
    for (int i = 0; i < n; i++)
        host[i] = static_cast<T>((float)conformance_value(i + seed));
    return conformance_upload(host, (size_t)n * sizeof *host);
}

/* Bytes of a tile's row. */
template <at_swizzle SWIZZLE>
constexpr int SPAN_BYTES = SWIZZLE == AT_SWIZZLE_NONE ? 16 : 256 >> SWIZZLE;

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

/* Byte address of byte 'column' of row 'row' of a tile whose rows span the swizzle's width. */
template <at_swizzle SWIZZLE>
static size_t swizzled(int row, int column)
{
    const int piece = column / 16;
    int moved = piece;
    if (SWIZZLE == AT_SWIZZLE_128)
        moved = piece ^ (row % 8);
    if (SWIZZLE == AT_SWIZZLE_64)
        moved = piece ^ (row / 2 % 4);
    if (SWIZZLE == AT_SWIZZLE_32)
        moved = piece ^ (row / 4 % 2);
    return (size_t)(row * SPAN_BYTES<SWIZZLE> + moved * 16 + column % 16);
}

template <class T, at_swizzle SWIZZLE>
static bool run_tma()
{
    enum { ROWS = 20, COLUMNS = 48, BOX_ROWS = 16 };
    const int size = (int)sizeof(T), span = SPAN_BYTES<SWIZZLE> / size;
    const int bytes = BOX_ROWS * SPAN_BYTES<SWIZZLE>;
    T host[ROWS * COLUMNS];
    void *x = upload_integers(host, ROWS * COLUMNS, 3);
    auto *y = static_cast<uint32_t *>(conformance_upload(nullptr, (size_t)bytes));
    at_tensor_map map;
    at_tensor_map_2d of = { x,        ROWS,           COLUMNS, COLUMNS * sizeof(T),
                            BOX_ROWS, (uint32_t)span, SWIZZLE, TYPE<T> };
    if (!x || !y || at_tensor_map_encode(&map, &of) != cudaSuccess)
        return conformance_fail("the tensor map is refused");
    static const int at[3][2] = { { 0, 0 }, { 44, 12 }, { -5, -3 } };
    for (auto &origin : at) {
        uint32_t expected[BOX_ROWS * 32] = { 0 }, found[BOX_ROWS * 32];
        for (int r = 0; r < BOX_ROWS; r++)
            for (int c = 0; c < span; c++) {
                const int row = r + origin[1], column = c + origin[0];
                const bool in = row >= 0 && row < ROWS && column >= 0 && column < COLUMNS;
                if (in)
                    memcpy((char *)expected + swizzled<SWIZZLE>(r, c * size),
                           &host[row * COLUMNS + column], sizeof(T));
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

template <class T, int N>
struct wgmma;

#define SHAPE(N, function)                                                                    \
    template <>                                                                               \
    struct wgmma<__nv_bfloat16, N> {                                                          \
        template <int TRANSPOSED_B>                                                           \
        __device__ static void run(float (&d)[N / 2], uint64_t a, uint64_t b, int accumulate) \
        {                                                                                     \
            function<0, TRANSPOSED_B>(d, a, b, accumulate);                                   \
        }                                                                                     \
    };
SHAPE(64, at_wgmma_m64n64k16_bf16)
SHAPE(128, at_wgmma_m64n128k16_bf16)
SHAPE(256, at_wgmma_m64n256k16_bf16)
template <>
struct wgmma<__nv_fp8_e4m3, 256> {
    template <int TRANSPOSED_B>
    __device__ static void run(float (&d)[128], uint64_t a, uint64_t b, int accumulate)
    {
        at_wgmma_m64n256k32_e4m3(d, a, b, accumulate);
    }
};

template <int N>
__device__ void store_result(float *y, const float (&d)[N / 2])
{
    const int t = threadIdx.x;
    for (int r = 0; r < N / 2; r++)
        y[(t / 32 * 16 + t % 32 / 4 + (r & 2 ? 8 : 0)) * N + r / 4 * 8 + t % 4 * 2 + r % 2] = d[r];
}

/* y (64, N) = a (64, span) b (N, span), both with k innermost, as TMA lays them down. */
template <class T, int N, at_swizzle SWIZZLE>
__global__ void __launch_bounds__(GROUP)
    wgmma_rows(float *y, const __grid_constant__ at_tensor_map ma,
               const __grid_constant__ at_tensor_map mb)
{
    constexpr int SPAN = SPAN_BYTES<SWIZZLE>, STEP = 32;
    AT_SHARED_DYNAMIC(unsigned char, shared);
    AT_SHARED(uint64_t[1], bar);
    unsigned char *a = shared, *b = shared + 64 * SPAN;
    if (threadIdx.x == 0) {
        at_mbarrier_init(bar, 1);
        at_mbarrier_init_fence();
        at_mbarrier_expect(bar, (64 + N) * SPAN);
        at_tma_load_2d(a, &ma, bar, 0, 0);
        at_tma_load_2d(b, &mb, bar, 0, 0);
    }
    __syncthreads();
    at_mbarrier_wait(bar, 0);
    float d[N / 2];
    at_wgmma_fence();
    for (int k = 0; k < SPAN; k += STEP)
        wgmma<T, N>::template run<0>(d, at_wgmma_descriptor(a + k, 16, 8 * SPAN, SWIZZLE),
                                     at_wgmma_descriptor(b + k, 16, 8 * SPAN, SWIZZLE), k > 0);
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
static __nv_fp8_e4m3 small_a[64 * 128], small_b[N_MAX * 128];

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

/* One product of a (64, span) and b (N, span), which are on the device. */
template <class T, int N, at_swizzle SWIZZLE>
static bool run_rows(float *y, const void *a, const void *b, cudaError_t *status)
{
    const auto pitch = (uint64_t)SPAN_BYTES<SWIZZLE>, k = pitch / sizeof(T);
    const at_tensor_map_2d of_a = { a, 64, k, pitch, 64, (uint32_t)k, SWIZZLE, TYPE<T> };
    const at_tensor_map_2d of_b = { b, N, k, pitch, N, (uint32_t)k, SWIZZLE, TYPE<T> };
    at_tensor_map ma, mb;
    if (!a || !b || !y || at_tensor_map_encode(&ma, &of_a) != cudaSuccess ||
        at_tensor_map_encode(&mb, &of_b) != cudaSuccess)
        return conformance_fail("the tensor maps are refused");
    *status = AT_LAUNCH((wgmma_rows<T, N, SWIZZLE>), 1, GROUP, (64 + N) * pitch, 0, y, ma, mb);
    return true;
}

template <class T, int N, at_swizzle SWIZZLE>
static bool run_wgmma(T *host_of_a, T *host_of_b)
{
    const int k = SPAN_BYTES<SWIZZLE> / (int)sizeof(T);
    void *a = upload_integers(host_of_a, 64 * k, SEED_A);
    void *b = upload_integers(host_of_b, N * k, SEED_B);
    auto *y = static_cast<float *>(conformance_upload(nullptr, 64 * N * 4));
    cudaError_t status;
    return run_rows<T, N, SWIZZLE>(y, a, b, &status) && same_product(y, N, k, false, status);
}

template <int N, at_swizzle SWIZZLE>
static bool run_wgmma_bf16()
{
    return run_wgmma<__nv_bfloat16, N, SWIZZLE>(host_a, host_b);
}

static bool run_wgmma_e4m3()
{
    return run_wgmma<__nv_fp8_e4m3, 256, AT_SWIZZLE_128>(small_a, small_b);
}

/* Sums of e4m3 that do not fit into 14 bits: every step of 32 may cut each of its products, and
 * what they are added to, 13 bits behind the first of the largest, and no more than that. */
static bool run_wgmma_e4m3_sums()
{
    enum { K = 128, N = 256, STEP = 32 };
    static float found[64 * N];
    for (int i = 0; i < N * K; i++) {
        const float v = (float)conformance_value(i) + (float)conformance_value(i * 7 + 5) / 16;
        small_a[i % (64 * K)] = static_cast<__nv_fp8_e4m3>(v);
        small_b[i] = static_cast<__nv_fp8_e4m3>(v * (float)(i % 5) * 0.125f);
    }
    void *a = conformance_upload(small_a, sizeof small_a);
    void *b = conformance_upload(small_b, sizeof small_b);
    auto *y = static_cast<float *>(conformance_upload(nullptr, sizeof found));
    cudaError_t status;
    if (!run_rows<__nv_fp8_e4m3, N, AT_SWIZZLE_128>(y, a, b, &status) ||
        !conformance_download(found, y, sizeof found, status))
        return false;
    for (int i = 0; i < 64 * N; i++) {
        float sum = 0, top = 0, lost = 0;
        for (int k = 0; k < K; k++) {
            const auto p = static_cast<float>(small_a[i / N * K + k]);
            const auto q = static_cast<float>(small_b[i % N * K + k]);
            sum += p * q;
            top = fmaxf(top, fmaxf(fabsf(sum), fabsf(p * q)));
            if (k % STEP == STEP - 1)
                lost += (STEP + 2) * 0x1p-13f * top;
        }
        if (!(fabsf(found[i] - sum) <= lost))
            return conformance_fail("sum %d is %.9g, expected %.9g +- %.3g", i, (double)found[i],
                                    (double)sum, (double)lost);
    }
    return true;
}

static bool run_wgmma_columns()
{
    void *a = upload_integers(host_a, 64 * 64, SEED_A);
    void *b = upload_integers(host_b, 64 * 64, SEED_B);
    auto *y = static_cast<float *>(conformance_upload(nullptr, 64 * 64 * 4));
    at_tensor_map ma, mb;
    at_tensor_map_2d of_a = { a, 64, 64, 128, 64, 64, AT_SWIZZLE_128, AT_BF16 }, of_b = of_a;
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
    { "TMA with zeros outside, no swizzle", 90, run_tma<__nv_bfloat16, AT_SWIZZLE_NONE> },
    { "TMA with zeros outside, 128-byte swizzle", 90, run_tma<__nv_bfloat16, AT_SWIZZLE_128> },
    { "TMA with zeros outside, 64-byte swizzle", 90, run_tma<__nv_bfloat16, AT_SWIZZLE_64> },
    { "TMA with zeros outside, 32-byte swizzle", 90, run_tma<__nv_bfloat16, AT_SWIZZLE_32> },
    { "TMA of single bytes, 128-byte swizzle", 90, run_tma<__nv_fp8_e4m3, AT_SWIZZLE_128> },
    { "wgmma m64n64k16, 128-byte swizzle", 90, run_wgmma_bf16<64, AT_SWIZZLE_128> },
    { "wgmma m64n64k16, 64-byte swizzle", 90, run_wgmma_bf16<64, AT_SWIZZLE_64> },
    { "wgmma m64n64k16, 32-byte swizzle", 90, run_wgmma_bf16<64, AT_SWIZZLE_32> },
    { "wgmma m64n64k16, no swizzle", 90, run_wgmma_pieces },
    { "wgmma m64n64k16, b with k outermost", 90, run_wgmma_columns },
    { "wgmma m64n128k16, 128-byte swizzle", 90, run_wgmma_bf16<128, AT_SWIZZLE_128> },
    { "wgmma m64n256k16, 128-byte swizzle", 90, run_wgmma_bf16<256, AT_SWIZZLE_128> },
    { "wgmma m64n256k32 in e4m3", 90, run_wgmma_e4m3 },
    { "sums of e4m3 lose what lies 13 bits below", 90, run_wgmma_e4m3_sums },
    { nullptr, 0, nullptr },
};
