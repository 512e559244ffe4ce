/* vec_avx512.h -- what vec.h is built on, with AVX-512: 16 lanes. For vec.h only. */
#ifndef AT_KERNELS_VEC_AVX512_H
#define AT_KERNELS_VEC_AVX512_H

/* a * b + c: one rounding where the machine has it (AVX2 and up always do). */
AT_INLINE at_vf at_vf_fma(at_vf a, at_vf b, at_vf c)
{
    return (at_vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}

/* mask ? a : b, mask from a comparison */
AT_INLINE at_vf at_vf_select(at_vi mask, at_vf a, at_vf b)
{
    return (at_vf)((mask & (at_vi)a) | (~mask & (at_vi)b));
}

/* As the machine's instruction: b where either is not a number. */
AT_INLINE at_vf at_vf_max(at_vf a, at_vf b)
{
    return (at_vf)_mm512_max_ps((__m512)a, (__m512)b);
}

AT_INLINE at_vf at_vf_min(at_vf a, at_vf b)
{
    return (at_vf)_mm512_min_ps((__m512)a, (__m512)b);
}

AT_INLINE at_vf at_vf_sqrt(at_vf x)
{
    return (at_vf)_mm512_sqrt_ps((__m512)x);
}

/* Sum of the lanes, always in the same order: lanes i and i + n, n = AT_LANES / 2, ..., 2, 1. */
AT_INLINE float at_vf_sum(at_vf x)
{
    __m256 half =
        _mm256_add_ps(_mm512_castps512_ps256((__m512)x), _mm512_extractf32x8_ps((__m512)x, 1));
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

/* The intrinsics, because gcc 12 widens a vector half by half: twice as slow where bf16 is read. */
AT_INLINE at_vf at_vf_of_bf16(at_vh h)
{
    return (at_vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)h), 16);
}

/* The upper half of every lane: what bf16 is, without rounding. One permutation, where shifting and
 * narrowing take three steps. */
AT_INLINE at_vh at_vh_of_upper(at_vf x)
{
    typedef uint16_t halves __attribute__((vector_size(64)));
    const halves upper = { 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31 };
    return (at_vh)_mm512_castsi512_si256(_mm512_permutexvar_epi16((__m512i)upper, (__m512i)x));
}

AT_INLINE at_vh at_bf16_of_vf(at_vf x)
{
    at_vu u = (at_vu)x, rounded = u + 0x7fffu;
    __mmask16 odd = _mm512_test_epi32_mask((__m512i)u, _mm512_set1_epi32(0x10000));
    __mmask16 nan = _mm512_cmp_ps_mask((__m512)x, (__m512)x, _CMP_UNORD_Q);
    rounded =
        (at_vu)_mm512_mask_add_epi32((__m512i)rounded, odd, (__m512i)rounded, _mm512_set1_epi32(1));
    rounded =
        (at_vu)_mm512_mask_or_epi32((__m512i)rounded, nan, (__m512i)u, _mm512_set1_epi32(0x400000));
    return at_vh_of_upper((at_vf)rounded);
}

AT_INLINE at_vf at_vf_of_f16(at_vh h)
{
    return (at_vf)_mm512_cvtph_ps((__m256i)h);
}

AT_INLINE at_vh at_f16_of_vf(at_vf x)
{
    return (at_vh)_mm512_cvtps_ph((__m512)x, _MM_FROUND_TO_NEAREST_INT);
}

/* Past the caches, to an aligned address. */
AT_INLINE void at_vf_stream_f32(void *p, at_vf x)
{
    _mm512_stream_ps(p, (__m512)x);
}

AT_INLINE void at_vh_stream(void *p, at_vh h)
{
    _mm256_stream_si256(p, (__m256i)h);
}

/* 1 / x for x from 1 to 2^126: an estimate of 14 bits and a Newton step. A division of 16 lanes
 * keeps the divider for 16 cycles. */
AT_INLINE at_vf at_vf_reciprocal(at_vf x)
{
    __m512 r = _mm512_rcp14_ps((__m512)x);
    return (at_vf)_mm512_fmadd_ps(_mm512_fnmadd_ps((__m512)x, r, _mm512_set1_ps(1.0f)), r, r);
}

/* p * 2^n, n an integer from -126 to 127. */
AT_INLINE at_vf at_vf_scale2(at_vf p, at_vf n)
{
    return (at_vf)_mm512_scalef_ps((__m512)p, (__m512)n);
}

/* The last step of e^x: p * 2^n, 0 for n below -125, which is x below -87. */
AT_INLINE at_vf at_vf_exp_end(at_vf p, at_vf n)
{
    __mmask16 kept = _mm512_cmp_ps_mask((__m512)n, _mm512_set1_ps(-125.0f), _CMP_NLT_UQ);
    return (at_vf)_mm512_maskz_scalef_ps(kept, (__m512)p, (__m512)n);
}

#endif
