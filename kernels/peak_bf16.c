#include <immintrin.h>

#include "kernels/peak.h"

double at_peak_dot_bf16(int64_t rounds, float *sink)
{
    enum { CHAINS = 12 };
    __m512 c[CHAINS];
    __m512bh a = (__m512bh)_mm512_set1_epi32(0x3f803f80), b = (__m512bh)_mm512_set1_epi32(0x38003800);
    for (int i = 0; i < CHAINS; i++)
        c[i] = _mm512_set1_ps((float)i);
    for (int64_t r = 0; r < rounds; r++)
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++)
            c[i] = _mm512_dpbf16_ps(c[i], a, b);
    __m512 sum = _mm512_setzero_ps();
    for (int i = 0; i < CHAINS; i++)
        sum = _mm512_add_ps(sum, c[i]);
    *sink = _mm512_reduce_add_ps(sum);
    return 2.0 * CHAINS * 32 * (double)rounds;
}
