/* threads.cu -- what threads of a warp, a block and a grid do with each other; conversions.
 * Conformance: nothing here is timed. */
#include "tests/conformance/conformance.h"

#include "kernels/base.h"
#include "kernels/device/device.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/warp.cuh"

enum { BLOCK = 128, LANES = 32 };

/* --- shuffles and votes ----------------------------------------------------------------------- */

enum { SHUFFLES = 6 };

__global__ void shuffles(uint32_t *y) /* (32, SHUFFLES) */
{
    const uint32_t lane = threadIdx.x;
    uint32_t r[SHUFFLES] = {
        __shfl_sync(AT_LANES_ALL, lane, 5),         __shfl_sync(AT_LANES_ALL, lane, 3, 8),
        __shfl_xor_sync(AT_LANES_ALL, lane, 17),    __shfl_down_sync(AT_LANES_ALL, lane, 3u),
        __shfl_up_sync(AT_LANES_ALL, lane, 2u, 16), __shfl_down_sync(AT_LANES_ALL, lane, 2u, 8),
    };
    for (int i = 0; i < SHUFFLES; i++)
        y[lane * SHUFFLES + i] = r[i];
}

static bool run_shuffles()
{
    uint32_t expected[LANES * SHUFFLES], found[LANES * SHUFFLES];
    for (uint32_t l = 0; l < LANES; l++) {
        uint32_t *e = expected + l * SHUFFLES;
        e[0] = 5;
        e[1] = l / 8 * 8 + 3;
        e[2] = l ^ 17;
        e[3] = l + 3 < 32 ? l + 3 : l;
        e[4] = l % 16 >= 2 ? l - 2 : l;
        e[5] = l % 8 + 2 < 8 ? l + 2 : l;
    }
    auto *y = static_cast<uint32_t *>(conformance_upload(nullptr, sizeof found));
    return y &&
           conformance_download(found, y, sizeof found, AT_LAUNCH(shuffles, 1, LANES, 0, 0, y)) &&
           conformance_same_u32(expected, found, LANES * SHUFFLES);
}

enum { VOTES = 5 };

__global__ void votes(uint32_t *y) /* (32, VOTES) */
{
    const uint32_t lane = threadIdx.x;
    uint32_t *row = y + lane * VOTES;
    row[0] = __ballot_sync(AT_LANES_ALL, lane % 3 == 0);
    row[1] = (uint32_t)__any_sync(AT_LANES_ALL, lane == 31);
    row[2] = (uint32_t)__all_sync(AT_LANES_ALL, lane < 31);
    row[3] = lane < 16 ? __ballot_sync(0xffffu, lane > 3) : 7;
    __syncwarp();
    row[4] = (uint32_t)(__popc(row[0]) + __ffs(8) + __clz(1));
}

static bool run_votes()
{
    uint32_t expected[LANES * VOTES], found[LANES * VOTES];
    for (uint32_t l = 0; l < LANES; l++) {
        uint32_t row[VOTES] = { 0x49249249u, 1, 0, l < 16 ? 0xfff0u : 7u, 11 + 4 + 31 };
        memcpy(expected + l * VOTES, row, sizeof row);
    }
    auto *y = static_cast<uint32_t *>(conformance_upload(nullptr, sizeof found));
    return y && conformance_download(found, y, sizeof found, AT_LAUNCH(votes, 1, LANES, 0, 0, y)) &&
           conformance_same_u32(expected, found, LANES * VOTES);
}

/* --- sums of a block, shared memory ----------------------------------------------------------- */

/* Mean and centred sum of squares of each row, as a norm takes them. */
__global__ void moments(float *y, const float *x, int columns) /* (rows, 2); (rows, columns) */
{
    AT_SHARED(float[AT_WARPS_MAX], room);
    const float *row = x + (size_t)blockIdx.x * columns;
    float sum = 0.0f, squares = 0.0f;
    for (int i = threadIdx.x; i < columns; i += blockDim.x)
        sum += row[i];
    const float mean = at_block_sum(sum, room) / (float)columns;
    for (int i = threadIdx.x; i < columns; i += blockDim.x)
        squares += (row[i] - mean) * (row[i] - mean);
    squares = at_block_sum(squares, room);
    const float top = at_block_max(threadIdx.x < (unsigned)columns ? mean : -1e30f, room);
    if (threadIdx.x == 0) {
        y[blockIdx.x * 2] = top;
        y[blockIdx.x * 2 + 1] = squares;
    }
}

static bool run_moments()
{
    enum { ROWS = 3, COLUMNS = 64 };
    float x[ROWS * COLUMNS], expected[ROWS * 2], found[ROWS * 2];
    for (int r = 0; r < ROWS; r++) {
        double sum = 0, squares = 0;
        for (int i = 0; i < COLUMNS; i++)
            sum += x[r * COLUMNS + i] = (float)(conformance_value(r * COLUMNS + i) * 64);
        for (int i = 0; i < COLUMNS; i++)
            squares += (x[r * COLUMNS + i] - sum / COLUMNS) * (x[r * COLUMNS + i] - sum / COLUMNS);
        expected[2 * r] = (float)(sum / COLUMNS);
        expected[2 * r + 1] = (float)squares;
    }
    auto *dx = static_cast<float *>(conformance_upload(x, sizeof x));
    auto *y = static_cast<float *>(conformance_upload(nullptr, sizeof found));
    return dx && y &&
           conformance_download(found, y, sizeof found,
                                AT_LAUNCH(moments, ROWS, BLOCK, 0, 0, y, dx, (int)COLUMNS)) &&
           conformance_same_f32(expected, found, ROWS * 2);
}

__global__ void turn_around(uint4 *y, const uint4 *x, int n)
{
    AT_SHARED_DYNAMIC(uint4, all);
    for (int i = threadIdx.x; i < n; i += blockDim.x)
        all[i] = at_load_constant<uint4>(x + i);
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += blockDim.x)
        at_store(y + i, all[n - 1 - i]);
}

/* 200 KiB: allowed on request only. */
static bool run_dynamic_shared()
{
    enum { PIECES = 200 * 1024 / 16, WORDS = PIECES * 4 };
    static uint32_t x[WORDS], expected[WORDS], found[WORDS];
    const int n = PIECES;
    for (uint32_t i = 0; i < WORDS; i++)
        x[i] = i * 2654435761u;
    for (int i = 0; i < n; i++)
        memcpy(expected + i * 4, x + (n - 1 - i) * 4, 16);
    void *dx = conformance_upload(x, sizeof x);
    void *y = conformance_upload(nullptr, sizeof x);
    if (!dx || !y)
        return false;
    /* Less than an earlier run was allowed, which at_shared_allow() never makes it. */
    cudaFuncSetAttribute(turn_around, cudaFuncAttributeMaxDynamicSharedMemorySize, 48 * 1024);
    cudaError_t without =
        AT_LAUNCH(turn_around, 1, BLOCK, (size_t)n * 16, 0, (uint4 *)y, (const uint4 *)dx, n);
    cudaGetLastError();
    if (without == cudaSuccess)
        return conformance_fail("200 KiB of shared memory were given without asking");
    cudaError_t status = at_shared_allow(turn_around, (size_t)n * 16);
    if (status == cudaSuccess)
        status =
            AT_LAUNCH(turn_around, 1, BLOCK, (size_t)n * 16, 0, (uint4 *)y, (const uint4 *)dx, n);
    return conformance_download(found, y, sizeof found, status) &&
           conformance_same_u32(expected, found, WORDS);
}

/* --- atomics ---------------------------------------------------------------------------------- */

__global__ void atomics(unsigned *y, unsigned long long *wide, int *lowest)
{
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    atomicAdd(y, i);
    atomicMax(y + 1, i);
    atomicOr(y + 2, 1u << i % 32);
    atomicCAS(y + 3, 0u, 77u);
    atomicAdd(wide, (unsigned long long)i << 32);
    atomicMin(lowest, -(int)i);
}

static bool run_atomics()
{
    const uint32_t n = 2 * BLOCK, zeros[7] = { 0 };
    const uint32_t expected[7] = { n * (n - 1) / 2,       n - 1, ~0u, 77, 0, n * (n - 1) / 2,
                                   (uint32_t)(1 - (int)n) };
    uint32_t found[7];
    auto *y = static_cast<unsigned *>(conformance_upload(zeros, sizeof zeros));
    if (!y)
        return false;
    cudaError_t status =
        AT_LAUNCH(atomics, 2, BLOCK, 0, 0, y, reinterpret_cast<unsigned long long *>(y + 4),
                  reinterpret_cast<int *>(y + 6));
    return conformance_download(found, y, sizeof found, status) &&
           conformance_same_u32(expected, found, 7);
}

/* --- conversions ------------------------------------------------------------------------------ */

__global__ void convert(uint32_t *bits, float *back, const float *x, int n) /* (n, 3) (n, 3) (n) */
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    const __nv_bfloat16 b = __float2bfloat16(x[i]);
    const __half h = __float2half(x[i]);
    const __nv_fp8_e4m3 q = __nv_fp8_e4m3(x[i]);
    bits[3 * i] = __bfloat16_as_ushort(b);
    bits[3 * i + 1] = __half_as_ushort(h);
    bits[3 * i + 2] = q.__x;
    back[3 * i] = __bfloat162float(b);
    back[3 * i + 1] = __half2float(h);
    back[3 * i + 2] = (float)q;
}

/* Every exponent with mantissas around each type's halves; no NaN, whose bits nobody promises. */
static const uint32_t mantissas[] = { 0,        1,        0x7fff,   0x8000,   0x8001,   0x18000,
                                      0x0fff,   0x1000,   0x1001,   0x3000,   0x7ffff,  0x80000,
                                      0x80001,  0x180000, 0x100000, 0x700000, 0x780000, 0x7fffff,
                                      0x7fdfff, 0x7fe000, 0x2aaaaa };
enum { EXPONENTS = 255, NUMBERS = EXPONENTS * 2 * (sizeof mantissas / sizeof *mantissas) };

static float number(uint32_t i)
{
    const uint32_t bits = i % 2 << 31 | i / 2 % EXPONENTS << 23 | mantissas[i / 2 / EXPONENTS];
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static bool run_conversions()
{
    static float x[NUMBERS], back[3 * NUMBERS], found[3 * NUMBERS];
    static uint32_t bits[3 * NUMBERS], found_bits[3 * NUMBERS];
    for (uint32_t i = 0; i < NUMBERS; i++) {
        uint32_t *b = bits + 3 * i;
        x[i] = number(i);
        b[0] = at_bf16_from_f32(x[i]);
        b[1] = at_f16_from_f32(x[i]);
        b[2] = at_f8_from_f32(x[i]);
        back[3 * i] = at_bf16_to_f32((uint16_t)b[0]);
        back[3 * i + 1] = at_f16_to_f32((uint16_t)b[1]);
        back[3 * i + 2] = at_f8_to_f32((uint8_t)b[2]);
    }
    auto *dx = static_cast<float *>(conformance_upload(x, sizeof x));
    auto *dbits = static_cast<uint32_t *>(conformance_upload(nullptr, sizeof bits));
    auto *dback = static_cast<float *>(conformance_upload(nullptr, sizeof back));
    if (!dx || !dbits || !dback)
        return false;
    cudaError_t status = AT_LAUNCH(convert, (NUMBERS + BLOCK - 1) / BLOCK, BLOCK, 0, 0, dbits,
                                   dback, (const float *)dx, (int)NUMBERS);
    return conformance_download(found_bits, dbits, sizeof bits, status) &&
           conformance_download(found, dback, sizeof back, status) &&
           conformance_same_u32(bits, found_bits, 3 * NUMBERS) &&
           conformance_same_f32(back, found, 3 * NUMBERS);
}

/* --- capture ---------------------------------------------------------------------------------- */

template <class T>
__global__ void add_scalar(T *y, const T *x, const T *scalar, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        y[i] = x[i] + *scalar;
}

/* Two streams, joined, captured once, replayed twice with another scalar in device memory. */
static cudaError_t capture(cudaGraphExec_t *exec, cudaStream_t a, cudaStream_t b, float *x,
                           const float *scalar, int n)
{
    cudaEvent_t fork, join;
    cudaGraph_t graph = nullptr;
    cudaEventCreateWithFlags(&fork, cudaEventDisableTiming);
    cudaEventCreateWithFlags(&join, cudaEventDisableTiming);
    cudaError_t status = cudaStreamBeginCapture(a, cudaStreamCaptureModeThreadLocal);
    if (status == cudaSuccess)
        status = cudaMemsetAsync(x, 0, (size_t)n * 4, a);
    cudaEventRecord(fork, a);
    cudaStreamWaitEvent(b, fork, 0);
    if (status == cudaSuccess)
        status = AT_LAUNCH(add_scalar<float>, 1, BLOCK, 0, b, x + n, (const float *)x, scalar, n);
    cudaEventRecord(join, b);
    cudaStreamWaitEvent(a, join, 0);
    if (status == cudaSuccess)
        status = AT_LAUNCH(add_scalar<float>, 1, BLOCK, 0, a, x, (const float *)(x + n), scalar, n);
    cudaError_t ended = cudaStreamEndCapture(a, &graph);
    status = status == cudaSuccess ? ended : status;
    if (status == cudaSuccess)
        status = cudaGraphInstantiate(exec, graph, 0);
    if (graph)
        cudaGraphDestroy(graph);
    cudaEventDestroy(fork);
    cudaEventDestroy(join);
    return status;
}

/* What a captured stream forked off must come back to it before the capture ends. */
static bool run_forgotten_stream()
{
    cudaStream_t a, b;
    cudaEvent_t fork;
    cudaGraph_t graph = nullptr;
    auto *x = static_cast<float *>(conformance_upload(nullptr, 4));
    cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking);
    cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking);
    cudaEventCreateWithFlags(&fork, cudaEventDisableTiming);
    cudaStreamBeginCapture(a, cudaStreamCaptureModeThreadLocal);
    cudaEventRecord(fork, a);
    cudaStreamWaitEvent(b, fork, 0);
    cudaMemsetAsync(x, 0, 4, b);
    cudaError_t status = cudaStreamEndCapture(a, &graph);
    cudaGetLastError();
    cudaEventDestroy(fork);
    cudaStreamDestroy(a);
    cudaStreamDestroy(b);
    return status == cudaErrorStreamCaptureUnjoined ||
           conformance_fail("status %d (%s)", (int)status, cudaGetErrorString(status));
}

static bool run_capture()
{
    enum { COUNT = 100 };
    float expected[COUNT], found[COUNT];
    cudaStream_t a, b;
    cudaGraphExec_t exec = nullptr;
    bool good = true;
    auto *x = static_cast<float *>(conformance_upload(nullptr, 2 * sizeof found));
    auto *scalar = static_cast<float *>(conformance_upload(nullptr, 4));
    if (!x || !scalar)
        return false;
    cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking);
    cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking);
    cudaError_t status = capture(&exec, a, b, x, scalar, COUNT);
    for (int replay = 1; replay <= 2 && good; replay++) {
        const float value = 10.0f * (float)replay;
        for (int i = 0; i < COUNT; i++)
            expected[i] = 2 * value;
        if (status == cudaSuccess)
            status = cudaMemcpyAsync(scalar, &value, 4, cudaMemcpyHostToDevice, a);
        if (status == cudaSuccess)
            status = cudaGraphLaunch(exec, a);
        good = conformance_download(found, x, sizeof found, status) &&
               conformance_same_f32(expected, found, COUNT);
    }
    if (exec)
        cudaGraphExecDestroy(exec);
    cudaStreamDestroy(a);
    cudaStreamDestroy(b);
    return good;
}

/* --- early launches --------------------------------------------------------------------------- */

enum { LINKS = 12, LINK_BLOCKS = 96, LINK_ROUNDS = 1000 };

/* y of x, from all over x. Some blocks take long, so that one launched early comes while they still
 * work; the factor is 1, which nobody knows. */
__device__ void link_of(uint32_t *y, const uint32_t *x, uint32_t factor, uint32_t number)
{
    const uint32_t n = gridDim.x * blockDim.x, i = blockIdx.x * blockDim.x + threadIdx.x;
    uint32_t v = x[i] * 5 + x[(i * 7 + 11) % n] + number;
    for (int r = 0; r < LINK_ROUNDS && blockIdx.x % 8 == 7; r++)
        v *= factor;
    y[i] = v;
}

__global__ void early_link(uint32_t *y, const uint32_t *x, uint32_t factor, uint32_t number)
{
    at_wait_for_earlier();
    link_of(y, x, factor, number);
}

__global__ void plain_link(uint32_t *y, const uint32_t *x, uint32_t factor, uint32_t number)
{
    link_of(y, x, factor, number);
}

/* Between two halves of x, to and fro, on the same memory; the second half is set before. Every
 * fifth launch is plain, and every seventh waits for a memset. */
static cudaError_t chain_up(uint32_t *x, uint32_t n, at_queue queue)
{
    cudaError_t status = cudaMemsetAsync(x + n, 0, n * sizeof *x, queue.native);
    for (uint32_t i = 0; i < LINKS && status == cudaSuccess; i++) {
        uint32_t *to = x + (i + 1) % 2 * n, *from = x + i % 2 * n;
        if (i % 7 == 6)
            status = cudaMemsetAsync(to, 0xFF, n * sizeof *x, queue.native);
        if (status != cudaSuccess)
            return status;
        status = i % 5 == 4 ? AT_LAUNCH(plain_link, LINK_BLOCKS, BLOCK, 0, queue, to,
                                        (const uint32_t *)from, 1u, i)
                            : AT_LAUNCH_EARLY(early_link, LINK_BLOCKS, BLOCK, 0, queue, to,
                                              (const uint32_t *)from, 1u, i);
    }
    return status;
}

static void expect_chain(uint32_t *x, uint32_t n)
{
    for (uint32_t k = 0; k < LINKS; k++)
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t *from = x + k % 2 * n;
            x[(k + 1) % 2 * n + i] = from[i] * 5 + from[(i * 7 + 11) % n] + k;
        }
}

static cudaError_t capture_chain(cudaGraphExec_t *exec, uint32_t *x, uint32_t n, at_queue queue)
{
    cudaGraph_t graph = nullptr;
    cudaError_t status = cudaStreamBeginCapture(queue.native, cudaStreamCaptureModeThreadLocal);
    if (status == cudaSuccess)
        status = chain_up(x, n, queue);
    const cudaError_t ended = cudaStreamEndCapture(queue.native, &graph);
    status = status == cudaSuccess ? ended : status;
    if (status == cudaSuccess)
        status = cudaGraphInstantiate(exec, graph, 0);
    if (graph)
        cudaGraphDestroy(graph);
    return status;
}

/* Launched as they are, and captured and replayed, links find what the one before has left. */
static bool run_early()
{
    enum { N = LINK_BLOCKS * BLOCK };
    static uint32_t x[2 * N], expected[2 * N], found[2 * N];
    cudaDeviceProp device;
    cudaGraphExec_t exec = nullptr;
    bool good = true;
    if (cudaGetDeviceProperties(&device, 0) != cudaSuccess)
        return conformance_fail("no properties of the device");
    at_queue queue = { nullptr, device.major >= 9 };
    for (uint32_t i = 0; i < N; i++)
        x[i] = expected[i] = i * 2654435761u;
    expect_chain(expected, N);
    auto *y = static_cast<uint32_t *>(conformance_upload(nullptr, sizeof x));
    if (!y || cudaStreamCreateWithFlags(&queue.native, cudaStreamNonBlocking) != cudaSuccess)
        return false;
    cudaError_t status = capture_chain(&exec, y, N, queue);
    for (int run = 0; run < 4 && good; run++) {
        if (status == cudaSuccess)
            status = cudaMemcpyAsync(y, x, sizeof x, cudaMemcpyHostToDevice, queue.native);
        if (status == cudaSuccess)
            status = run % 2 ? cudaGraphLaunch(exec, queue.native) : chain_up(y, N, queue);
        good = conformance_download(found, y, sizeof found, status) &&
               conformance_same_u32(expected, found, 2 * N);
    }
    if (exec)
        cudaGraphExecDestroy(exec);
    cudaStreamDestroy(queue.native);
    return good;
}

const conformance_case conformance_threads[] = {
    { "shuffles, whole and by width", 80, run_shuffles },
    { "votes, whole warp and half", 80, run_votes },
    { "block sums and maxima through shared memory", 80, run_moments },
    { "dynamic shared memory: refused, allowed, 200 KiB", 80, run_dynamic_shared },
    { "integer atomics", 80, run_atomics },
    { "bf16, f16 and e4m3 conversions", 80, run_conversions },
    { "capture of two streams and replay", 80, run_capture },
    { "early launches in a stream and captured", 80, run_early },
    { "capture that forgets a stream is refused", 80, run_forgotten_stream },
    { nullptr, 0, nullptr },
};
