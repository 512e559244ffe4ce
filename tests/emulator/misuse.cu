/* misuse.cu -- kernels that are wrong on purpose; misuse.h says how they are marked.
 * Their roofline does not matter. */
#include "tests/emulator/misuse.h"

#include "kernels/device/async.cuh"
#include "kernels/device/device.cuh"
#include "kernels/device/hopper.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/mma.cuh"
#include "kernels/device/warp.cuh"

enum { T = 128 };

/* --- barriers --------------------------------------------------------------------------------- */

__global__ void missing_barrier(float *y)
{
    AT_SHARED(float[T], s);
    s[threadIdx.x] = 1.0f;
    y[threadIdx.x] = s[T - 1 - threadIdx.x]; /* planted: missing_barrier */
}

/* Each warp's sum goes through 'room'; the second round overwrites what slow warps still read. */
__global__ void missing_second_barrier(float *y)
{
    AT_SHARED(float[T / 32], room);
    float sum = 0.0f;
    for (int round = 1; round <= 2; round++) {
        const float v = at_warp_sum((float)round);
        if (threadIdx.x % 32 == 0)
            room[threadIdx.x / 32] = v; /* planted: missing_second_barrier */
        __syncthreads();
        for (int w = 0; w < T / 32; w++)
            sum += room[w];
    }
    y[threadIdx.x] = sum;
}

__global__ void divergent_barrier(float *y)
{
    if (threadIdx.x < 32)
        __syncthreads(); /* planted: divergent_barrier */
    else
        __syncthreads(); /* planted: divergent_barrier */
    y[threadIdx.x] = 1.0f;
}

__global__ void barrier_after_exit(float *y)
{
    if (threadIdx.x >= 40)
        return;
    __syncthreads(); /* planted: barrier_after_exit */
    y[threadIdx.x] = 1.0f;
}

/* --- addresses -------------------------------------------------------------------------------- */

__global__ void global_out_of_bounds(float *y)
{
    y[threadIdx.x + 1] = 1.0f; /* planted: global_out_of_bounds */
}

__global__ void shared_out_of_bounds(float *y)
{
    AT_SHARED(float[T], s);
    float *const p = s;
    p[threadIdx.x + 1] = 1.0f; /* planted: shared_out_of_bounds */
    __syncthreads();
    y[threadIdx.x] = 1.0f;
}

__global__ void dynamic_out_of_bounds(float *y)
{
    AT_SHARED_DYNAMIC(float, s);
    s[threadIdx.x + 1] = 1.0f; /* planted: dynamic_out_of_bounds */
    __syncthreads();
    y[threadIdx.x] = 1.0f;
}

__global__ void misaligned_vector_load(float *y)
{
    const float4 v = at_load<float4>(y + 1); /* planted: misaligned_vector_load */
    y[threadIdx.x] = v.x;
}

__global__ void uninitialised_shared(float *y)
{
    AT_SHARED(float[T], s);
    if (threadIdx.x != 5)
        s[threadIdx.x] = 1.0f;
    __syncthreads();
    y[threadIdx.x] = s[threadIdx.x]; /* planted: uninitialised_shared */
}

__global__ void too_much_shared(float *y)
{
    y[threadIdx.x] = 1.0f;
}

/* --- order ------------------------------------------------------------------------------------ */

__global__ void float_atomics(float *y)
{
    atomicAdd(y, 0.1f * (float)threadIdx.x); /* planted: float_atomics */
}

/* Integer atomics are exact; the place that a thread draws with one is not the same twice. */
__global__ void order_by_ticket(float *y)
{
    AT_SHARED(unsigned[1], next);
    AT_SHARED(float[T], s);
    if (threadIdx.x == 0)
        next[0] = 0;
    __syncthreads();
    const unsigned ticket = atomicAdd(&next[0], 1u);
    s[ticket] = (float)threadIdx.x;
    __syncthreads();
    y[threadIdx.x] = s[threadIdx.x] - (float)threadIdx.x + 1.0f;
}

__global__ void race_in_block(float *y)
{
    y[threadIdx.x] = 1.0f;
    y[threadIdx.x / 2] = 1.0f; /* planted: race_in_block */
}

__global__ void race_between_blocks(float *y)
{
    y[threadIdx.x] = 1.0f; /* planted: race_between_blocks */
}

/* --- warps ------------------------------------------------------------------------------------ */

__global__ void divergent_shuffle(float *y)
{
    float v = 1.0f;
    if (threadIdx.x & 1)
        v = __shfl_xor_sync(AT_LANES_ALL, v, 1); /* planted: divergent_shuffle */
    else
        v = __shfl_xor_sync(AT_LANES_ALL, v, 1); /* planted: divergent_shuffle */
    y[threadIdx.x] = v;
}

__global__ void shuffle_from_outside(float *y)
{
    float v = 1.0f;
    if (threadIdx.x % 32 < 16)
        v = __shfl_sync(0xffffu, v, 20); /* planted: shuffle_from_outside */
    y[threadIdx.x] = v;
}

__global__ void mma_in_half_a_warp(float *y)
{
    float d[4] = { 0.0f };
    const uint32_t a[4] = { 0 }, b[2] = { 0 };
    if (threadIdx.x % 32 < 16)
        at_mma_m16n8k16_bf16(d, a, b, d); /* planted: mma_in_half_a_warp */
    y[threadIdx.x] = d[0] + 1.0f;
}

/* Rows of 24 bytes: every other one is not aligned. */
__global__ void ldmatrix_pitch(float *y)
{
    AT_SHARED(uint16_t[32][12], s);
    uint32_t r[4];
    for (int i = 0; i < 12 && threadIdx.x < 32; i++)
        s[threadIdx.x][i] = 0;
    __syncthreads();
    at_ldmatrix_x4(r, s[threadIdx.x % 32]); /* planted: ldmatrix_pitch */
    y[threadIdx.x] = (float)r[0] + 1.0f;
}

__global__ void ldmatrix_of_global(float *y)
{
    uint32_t r[4];
    at_ldmatrix_x4(r, y + threadIdx.x % 32 * 4); /* planted: ldmatrix_of_global */
    y[threadIdx.x] = (float)r[0];
}

/* The second and third quarter of a are swapped: each multiplies the other's columns. */
__global__ void ldmatrix_layout(float *y)
{
    AT_SHARED(__nv_bfloat16[16][16], s);
    const int lane = threadIdx.x % 32;
    if (threadIdx.x < 16)
        for (int k = 0; k < 16; k++)
            s[threadIdx.x][k] = __float2bfloat16(threadIdx.x < 8 ? 1.0f : 0.0f);
    __syncthreads();
    uint32_t a[4];
    const uint32_t one = 0x3f803f80u, b[2] = { one, 0 };
    float d[4] = { 0.0f };
    at_ldmatrix_x4(a, &s[lane % 8 + lane / 16 * 8][lane / 8 % 2 * 8]);
    at_mma_m16n8k16_bf16(d, a, b, d);
    /* Only rows 0 to 7 hold ones; with the halves of a row taken for rows, others do too. */
    y[threadIdx.x] = d[0] == 8.0f && d[2] == 0.0f ? 1.0f : 2.0f;
}

/* --- asynchronous copies ---------------------------------------------------------------------- */

__global__ void copy_never_waited(float *y)
{
    AT_SHARED(float[T][4], s);
    at_copy_async16(s[threadIdx.x], y + threadIdx.x / 4 * 4, true); /* planted: copy_never_waited */
    at_copy_async_commit();
    y[threadIdx.x] = 1.0f;
}

__global__ void copy_wait_too_short(float *y)
{
    AT_SHARED(float[T][4], s);
    at_copy_async16(s[threadIdx.x], y + threadIdx.x / 4 * 4, true);
    at_copy_async_commit();
    at_copy_async_wait<1>();
    __syncthreads();
    const float v = s[threadIdx.x][0]; /* planted: copy_wait_too_short */
    at_copy_async_wait<0>();
    __syncthreads();
    y[threadIdx.x] = v + 1.0f;
}

/* Thread 0's warp refills the buffer that the others still read. */
__global__ void copy_refilled_early(float *y)
{
    AT_SHARED(float[4], s);
    float sum = 1.0f;
    for (int round = 0; round < 2; round++) {
        if (threadIdx.x == 0) {
            at_copy_async16(s, y + round * 4, true); /* planted: copy_refilled_early */
            at_copy_async_commit();
            at_copy_async_wait<0>();
        }
        __syncthreads();
        sum += s[threadIdx.x % 4];
    }
    __syncthreads();
    y[threadIdx.x] = sum;
}

/* --- early launches --------------------------------------------------------------------------- */

/* Threads of the second half have nothing to read, and forget that the launch before may still
 * run. */
__global__ void early_without_wait(float *y)
{
    if (threadIdx.x >= T / 2)
        return;
    at_wait_for_earlier();
    y[threadIdx.x] = y[threadIdx.x + T / 2] = 1.0f;
}

__global__ void early_read(float *y)
{
    const float v = y[threadIdx.x];
    at_wait_for_earlier();
    y[threadIdx.x] = v + 1.0f;
}

/* One thread writes while the others have waited long ago. */
__global__ void early_write(float *y)
{
    if (threadIdx.x == T - 1)
        y[threadIdx.x] = 1.0f;
    at_wait_for_earlier();
    y[threadIdx.x] = 1.0f;
}

__global__ void early_vector_load(float *y)
{
    const float4 v = at_load<float4>(y + threadIdx.x / 4 * 4); /* planted: early_vector_load */
    at_wait_for_earlier();
    y[threadIdx.x] = v.x + 1.0f;
}

__global__ void early_copy(float *y)
{
    AT_SHARED(float[T][4], s);
    at_copy_async16(s[threadIdx.x], y + threadIdx.x / 4 * 4, true); /* planted: early_copy */
    at_copy_async_commit();
    at_wait_for_earlier();
    at_copy_async_wait<0>();
    const float v = s[threadIdx.x][0];
    __syncthreads();
    y[threadIdx.x] = v + 1.0f;
}

/* Only the second block reads too early, which only a checked load sees. */
__global__ void early_later_block(float *y)
{
    float v = 0.0f;
    if (blockIdx.x > 0)
        v = at_load<float>(y + threadIdx.x); /* planted: early_later_block */
    at_wait_for_earlier();
    if (blockIdx.x > 0)
        y[threadIdx.x] = v + 1.0f;
}

/* --- sm_90 ------------------------------------------------------------------------------------ */

__global__ void tma_without_wait(float *y, const __grid_constant__ at_tensor_map map)
{
    AT_SHARED_DYNAMIC(__nv_bfloat16, tile);
    AT_SHARED(uint64_t[1], bar);
    if (threadIdx.x == 0) {
        at_mbarrier_init(bar, 1);
        at_mbarrier_init_fence();
        at_mbarrier_expect(bar, 64 * 8 * 2);
        at_tma_load_2d(tile, &map, bar, 0, 0);
    }
    __syncthreads();
    const float v = (float)tile[threadIdx.x]; /* planted: tma_without_wait */
    at_mbarrier_wait(bar, 0);
    y[threadIdx.x] = v + 1.0f;
}

__global__ void mbarrier_never_full(float *y)
{
    AT_SHARED(uint64_t[1], bar);
    if (threadIdx.x == 0)
        at_mbarrier_init(bar, T + 1);
    __syncthreads();
    at_mbarrier_arrive(bar);
    at_mbarrier_wait(bar, 0); /* planted: mbarrier_never_full */
    y[threadIdx.x] = 1.0f;
}

__global__ void wgmma_without_fence(float *y)
{
    AT_SHARED_DYNAMIC(unsigned char, s);
    float d[32] = { 0.0f };
    for (int i = threadIdx.x; i < 4096; i += T)
        s[i] = 0;
    __syncthreads();
    const uint64_t tile = at_wgmma_descriptor(s, 128, 256, AT_SWIZZLE_NONE);
    at_wgmma_m64n64k16_bf16<0, 0>(d, tile, tile, 0); /* planted: wgmma_without_fence */
    at_wgmma_commit();
    at_wgmma_wait<0>();
    y[threadIdx.x] = d[0] + 1.0f;
}

__global__ void wgmma_read_early(float *y)
{
    AT_SHARED_DYNAMIC(unsigned char, s);
    float d[32] = { 0.0f };
    for (int i = threadIdx.x; i < 4096; i += T)
        s[i] = 0;
    __syncthreads();
    const uint64_t tile = at_wgmma_descriptor(s, 128, 256, AT_SWIZZLE_NONE);
    at_wgmma_fence();
    at_wgmma_m64n64k16_bf16<0, 0>(d, tile, tile, 0);
    at_wgmma_commit();
    const float v = d[0];
    at_wgmma_wait<0>();
    y[threadIdx.x] = v + 1.0f;
}

/* --- running ---------------------------------------------------------------------------------- */

/* Zeros in, ones out (threes for the one that adds up): that is what a right kernel would leave. */
static cudaError_t finish(float *y, cudaError_t status, float expected, const char *file, int line)
{
    float found[T], all[T];
    for (float &e : all)
        e = expected;
    if (status == cudaSuccess)
        status = cudaMemcpy(found, y, sizeof found, cudaMemcpyDeviceToHost);
    if (status == cudaSuccess)
        misuse_result(found, all, T, file, line);
    cudaFree(y);
    return status;
}

static float *zeros()
{
    float *y = nullptr;
    if (cudaMalloc(&y, T * sizeof *y) == cudaSuccess)
        cudaMemset(y, 0, T * sizeof *y);
    return y;
}

#define RUN(kernel, blocks, shared_bytes, expected)                            \
    static cudaError_t run_##kernel(const misuse *)                            \
    {                                                                          \
        float *y = zeros();                                                    \
        cudaError_t status = AT_LAUNCH(kernel, blocks, T, shared_bytes, 0, y); \
        return finish(y, status, expected, __FILE__, __LINE__);                \
    }
#define RUN_EARLY(kernel, blocks)                                                   \
    static cudaError_t run_##kernel(const misuse *)                                 \
    {                                                                               \
        float *y = zeros();                                                         \
        const at_queue queue = { nullptr, true };                                   \
        const cudaError_t status = AT_LAUNCH_EARLY(kernel, blocks, T, 0, queue, y); \
        return finish(y, status, 1.0f, __FILE__, __LINE__);                         \
    }
RUN_EARLY(early_without_wait, 1) /* planted: early_without_wait */
RUN_EARLY(early_read, 1)         /* planted: early_read */
RUN_EARLY(early_write, 1)        /* planted: early_write */
RUN_EARLY(early_vector_load, 1)
RUN_EARLY(early_copy, 1)
RUN_EARLY(early_later_block, 2)
RUN(missing_barrier, 1, 0, 1.0f)          /* launched: missing_barrier */
RUN(missing_second_barrier, 1, 0, 384.0f) /* launched: missing_second_barrier */
RUN(divergent_barrier, 1, 0, 1.0f)
RUN(barrier_after_exit, 1, 0, 1.0f)
RUN(global_out_of_bounds, 1, 0, 1.0f)
RUN(shared_out_of_bounds, 1, 0, 1.0f)
RUN(dynamic_out_of_bounds, 1, T * sizeof(float), 1.0f)
RUN(misaligned_vector_load, 1, 0, 1.0f)
RUN(uninitialised_shared, 1, 0, 1.0f) /* launched: uninitialised_shared */
RUN(too_much_shared, 1, 60000, 1.0f)  /* planted: too_much_shared */
RUN(float_atomics, 1, 0, 1.0f)
RUN(order_by_ticket, 1, 0, 1.0f) /* launched: order_by_ticket */
RUN(race_in_block, 1, 0, 1.0f)
RUN(race_between_blocks, 2, 0, 1.0f)
RUN(divergent_shuffle, 1, 0, 1.0f)
RUN(shuffle_from_outside, 1, 0, 1.0f)
RUN(mma_in_half_a_warp, 1, 0, 1.0f)
RUN(ldmatrix_pitch, 1, 0, 1.0f)
RUN(ldmatrix_of_global, 1, 0, 1.0f)
RUN(ldmatrix_layout, 1, 0, 1.0f) /* launched: ldmatrix_layout */
RUN(copy_never_waited, 1, 0, 1.0f)
RUN(copy_wait_too_short, 1, 0, 1.0f) /* launched: copy_wait_too_short */
RUN(copy_refilled_early, 1, 0, 1.0f)
RUN(mbarrier_never_full, 1, 0, 1.0f)
RUN(wgmma_without_fence, 1, 4096, 1.0f)
RUN(wgmma_read_early, 1, 4096, 1.0f) /* launched: wgmma_read_early */

static cudaError_t run_tma_without_wait(const misuse *)
{
    float *y = zeros(), *x = nullptr;
    at_tensor_map map;
    cudaMalloc(&x, 64 * 8 * 2);
    cudaMemset(x, 0, 64 * 8 * 2);
    at_tensor_map_2d of = { x, 8, 64, 128, 8, 64, AT_SWIZZLE_NONE, AT_BF16 };
    cudaError_t status = at_tensor_map_encode(&map, &of);
    if (status == cudaSuccess)
        status = AT_LAUNCH(tma_without_wait, 1, T, 1024, 0, y, map);
    cudaFree(x);
    return finish(y, status, 1.0f, __FILE__, __LINE__); /* launched: tma_without_wait */
}

/* clang-format off */
#define FAULT(name, plain, sanitized, race, order, async) \
    { #name, plain, sanitized, race, AT_EMU_##order, AT_EMU_##async, run_##name }
const misuse misuses[] = {
    /*                            plain      sanitized  race */
    FAULT(missing_barrier,        BY_RESULT, BY_RESULT, BY_LINE,   FORWARD,   LAZY),
    FAULT(missing_second_barrier, BY_RESULT, BY_RESULT, BY_LINE,   RUN_AHEAD, LAZY),
    FAULT(divergent_barrier,      BY_LINE,   BY_LINE,   BY_LINE,   FORWARD,   LAZY),
    FAULT(barrier_after_exit,     BY_LINE,   BY_LINE,   BY_LINE,   FORWARD,   LAZY),
    FAULT(global_out_of_bounds,   UNSEEN,    BY_LINE,   BY_LINE,   FORWARD,   LAZY),
    FAULT(shared_out_of_bounds,   UNSEEN,    BY_LINE,   BY_LINE,   FORWARD,   LAZY),
    FAULT(dynamic_out_of_bounds,  UNSEEN,    BY_LINE,   BY_LINE,   FORWARD,   LAZY),
    FAULT(misaligned_vector_load, BY_LINE,   BY_LINE,   BY_LINE,   FORWARD,   LAZY),
    FAULT(uninitialised_shared,   BY_RESULT, BY_RESULT, BY_LINE,   FORWARD,   LAZY),
    FAULT(too_much_shared,        BY_LINE,   BY_LINE,   BY_LINE,   FORWARD,   LAZY),
    FAULT(float_atomics,          BY_LINE,   BY_LINE,   BY_LINE,   FORWARD,   LAZY),
    FAULT(order_by_ticket,        BY_RESULT, BY_RESULT, BY_RESULT, REVERSE,   LAZY),
    FAULT(race_in_block,          UNSEEN,    UNSEEN,    BY_LINE,   FORWARD,   LAZY),
    FAULT(race_between_blocks,    UNSEEN,    UNSEEN,    BY_LINE,   FORWARD,   LAZY),
    FAULT(divergent_shuffle,      BY_LINE,   BY_LINE,   BY_LINE,   FORWARD,   LAZY),
    FAULT(shuffle_from_outside,   BY_LINE,   BY_LINE,   BY_LINE,   FORWARD,   LAZY),
    FAULT(mma_in_half_a_warp,     BY_LINE,   BY_LINE,   BY_LINE,   FORWARD,   LAZY),
    FAULT(ldmatrix_pitch,         BY_LINE,   BY_LINE,   BY_LINE,   FORWARD,   LAZY),
    FAULT(ldmatrix_of_global,     BY_LINE,   BY_LINE,   BY_LINE,   FORWARD,   LAZY),
    FAULT(ldmatrix_layout,        BY_RESULT, BY_RESULT, BY_RESULT, FORWARD,   LAZY),
    FAULT(copy_never_waited,      BY_LINE,   BY_LINE,   BY_LINE,   FORWARD,   LAZY),
    FAULT(copy_wait_too_short,    BY_RESULT, BY_RESULT, BY_LINE,   FORWARD,   LAZY),
    FAULT(copy_refilled_early,    UNSEEN,    UNSEEN,    BY_LINE,   FORWARD,   EAGER),
    FAULT(early_without_wait,     BY_LINE,   BY_LINE,   BY_LINE,   FORWARD,   LAZY),
    FAULT(early_read,             BY_LINE,   BY_LINE,   BY_LINE,   FORWARD,   LAZY),
    FAULT(early_write,            BY_LINE,   BY_LINE,   BY_LINE,   FORWARD,   LAZY),
    FAULT(early_vector_load,      BY_LINE,   BY_LINE,   BY_LINE,   FORWARD,   LAZY),
    FAULT(early_copy,             BY_LINE,   BY_LINE,   BY_LINE,   FORWARD,   LAZY),
    FAULT(early_later_block,      BY_LINE,   BY_LINE,   BY_LINE,   FORWARD,   LAZY),
    FAULT(tma_without_wait,       BY_RESULT, BY_RESULT, BY_LINE,   FORWARD,   LAZY),
    FAULT(mbarrier_never_full,    BY_LINE,   BY_LINE,   BY_LINE,   FORWARD,   LAZY),
    FAULT(wgmma_without_fence,    BY_LINE,   BY_LINE,   BY_LINE,   FORWARD,   LAZY),
    FAULT(wgmma_read_early,       BY_RESULT, BY_RESULT, BY_RESULT, FORWARD,   LAZY),
    { nullptr, UNSEEN, UNSEEN, UNSEEN, AT_EMU_FORWARD, AT_EMU_LAZY, nullptr },
};
/* clang-format on */
