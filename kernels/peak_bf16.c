#include <immintrin.h>

#include "kernels/peak.h"

double at_peak_dot_bf16(int64_t rounds, float numbers[2])
{
    enum { CHAINS = 12 };
    __m512 c[CHAINS], sum = _mm512_setzero_ps();
    __m512 first = _mm512_set1_ps(numbers[0]), second = _mm512_set1_ps(numbers[1]);
    __m512bh a = _mm512_cvtne2ps_pbh(first, first), b = _mm512_cvtne2ps_pbh(second, second);
    for (int i = 0; i < CHAINS; i++)
        c[i] = _mm512_set1_ps((float)i * numbers[1]);
    for (int64_t r = 0; r < rounds; r++)
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++)
            c[i] = _mm512_dpbf16_ps(c[i], a, b);
    for (int i = 0; i < CHAINS; i++)
        sum = _mm512_add_ps(sum, c[i]);
    numbers[0] = _mm512_reduce_add_ps(sum);
    return 2.0 * CHAINS * 32 * (double)rounds;
}
