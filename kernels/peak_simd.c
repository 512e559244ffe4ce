#include "kernels/peak.h"
#include "kernels/vec.h"

double AT_SIMD(at_peak_f32)(int64_t rounds, float numbers[2])
{
    enum { CHAINS = 12 }; /* enough to hide the latency of an FMA on two pipes */
    at_vf c[CHAINS], a = at_vf_set(numbers[0]), b = at_vf_set(numbers[1]), sum = { 0 };
    for (int i = 0; i < CHAINS; i++)
        c[i] = at_vf_set((float)i * numbers[1]);
    for (int64_t r = 0; r < rounds; r++)
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++)
            c[i] = at_vf_fma(c[i], a, b);
    for (int i = 0; i < CHAINS; i++)
        sum += c[i];
    numbers[0] = at_vf_sum(sum);
    return 2.0 * CHAINS * AT_LANES * (double)rounds;
}

float AT_SIMD(at_read)(const void *from, size_t bytes)
{
    enum { CHAINS = 4 };
    at_vf sum[CHAINS] = { 0 };
    const float *p = from;
    for (size_t i = 0; i + CHAINS * AT_LANES <= bytes / sizeof *p; i += CHAINS * AT_LANES)
        for (int c = 0; c < CHAINS; c++)
            sum[c] += at_vf_load(p, (int64_t)i + c * AT_LANES, AT_F32);
    return at_vf_sum(sum[0] + sum[1] + sum[2] + sum[3]);
}

void AT_SIMD(at_copy)(void *to, const void *from, size_t bytes)
{
    for (size_t i = 0; i + AT_LANES <= bytes / 4; i += AT_LANES)
        at_vf_store(to, (int64_t)i, AT_F32, at_vf_load(from, (int64_t)i, AT_F32));
}

/* Stores that go past the caches: the line is not read before it is overwritten. */
void AT_SIMD(at_copy_streaming)(void *to, const void *from, size_t bytes)
{
    at_stream_copy(to, from, bytes);
    at_stream_end();
}
