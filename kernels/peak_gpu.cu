/* peak_gpu.cu -- the measures of a GPU: a copy bound by memory alone, multiply-adds bound by
 * arithmetic alone, and a launch of nothing; each is meant to reach all of what it measures. */
#include "kernels/peak_gpu.h"

#include "kernels/elements.cuh"

/* --- a copy: 16 bytes a load, all of a thread's under way before its first store -------------- */

enum { COPY_EACH = 4, COPY_BYTES = 16 };

struct peak_copy_job {
    unsigned char *to;
    const unsigned char *from;
    int64_t pieces; /* of COPY_BYTES */
};

__global__ void __launch_bounds__(AT_BLOCK) peak_copy(peak_copy_job j)
{
    const int64_t first = (int64_t)blockIdx.x * AT_BLOCK * COPY_EACH + threadIdx.x;
    uint4 v[COPY_EACH];
#pragma unroll
    for (int i = 0; i < COPY_EACH; i++)
        if (first + i * AT_BLOCK < j.pieces)
            v[i] = at_load<uint4>(j.from + (first + i * AT_BLOCK) * COPY_BYTES);
#pragma unroll
    for (int i = 0; i < COPY_EACH; i++)
        if (first + i * AT_BLOCK < j.pieces)
            at_store(j.to + (first + i * AT_BLOCK) * COPY_BYTES, v[i]);
}

extern "C" at_status at_peak_gpu_copy(void *to, const void *from, size_t bytes, const at_launch *l)
{
    const peak_copy_job j = { static_cast<unsigned char *>(to),
                              static_cast<const unsigned char *>(from),
                              (int64_t)(bytes / COPY_BYTES) };
    const int64_t blocks = (j.pieces + AT_BLOCK * COPY_EACH - 1) / (AT_BLOCK * COPY_EACH);
    return at_launched(
        l, AT_LAUNCH(peak_copy, dim3((unsigned)blocks), dim3(AT_BLOCK), 0, at_stream_of(l), j));
}

/* --- multiply-adds ---------------------------------------------------------------------------- */

struct peak_f32_job {
    float *nobody;
    float factor, summand, never;
    int64_t rounds;
};

/* The compiler does not know that no sum is ever 'never', so it must work each one out. */
__global__ void __launch_bounds__(AT_BLOCK) peak_f32(peak_f32_job j)
{
    float v[AT_PEAK_GPU_CHAINS];
#pragma unroll
    for (int i = 0; i < AT_PEAK_GPU_CHAINS; i++)
        v[i] = (float)(threadIdx.x + i);
#pragma unroll 8
    for (int64_t r = 0; r < j.rounds; r++) {
#pragma unroll
        for (int i = 0; i < AT_PEAK_GPU_CHAINS; i++)
            v[i] = fmaf(v[i], j.factor, j.summand);
    }
    float sum = 0;
#pragma unroll
    for (int i = 0; i < AT_PEAK_GPU_CHAINS; i++)
        sum += v[i];
    if (sum == j.never)
        *j.nobody = sum;
}

extern "C" at_status at_peak_gpu_f32(int64_t rounds, int blocks, int threads, const at_launch *l)
{
    const peak_f32_job j = { nullptr, 0.999f, 1e-3f, -1.0f, rounds };
    return at_launched(l, AT_LAUNCH(peak_f32, dim3((unsigned)blocks), dim3((unsigned)threads), 0,
                                    at_stream_of(l), j));
}

/* --- a launch --------------------------------------------------------------------------------- */

__global__ void __launch_bounds__(AT_WARP) peak_nothing()
{
    at_wait_for_earlier();
}

extern "C" at_status at_peak_gpu_nothing(const at_launch *l)
{
    return at_launched(l, AT_LAUNCH_EARLY(peak_nothing, dim3(1), dim3(1), 0, at_queue_of(l)));
}
