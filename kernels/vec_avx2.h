/* vec_avx2.h -- what vec.h is built on, with AVX2, FMA and F16C: 8 lanes. For vec.h only. */
#ifndef AT_KERNELS_VEC_AVX2_H
#define AT_KERNELS_VEC_AVX2_H

/* a * b + c: one rounding where the machine has it (AVX2 and up always do). */
AT_INLINE at_vf at_vf_fma(at_vf a, at_vf b, at_vf c)
{
    return (at_vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}

/* mask ? a : b, mask from a comparison */
AT_INLINE at_vf at_vf_select(at_vi mask, at_vf a, at_vf b)
{
    return (at_vf)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)mask);
}

/* As the machine's instruction: b where either is not a number. */
AT_INLINE at_vf at_vf_max(at_vf a, at_vf b)
{
    return (at_vf)_mm256_max_ps((__m256)a, (__m256)b);
}

AT_INLINE at_vf at_vf_min(at_vf a, at_vf b)
{
    return (at_vf)_mm256_min_ps((__m256)a, (__m256)b);
}

AT_INLINE at_vf at_vf_sqrt(at_vf x)
{
    return (at_vf)_mm256_sqrt_ps((__m256)x);
}

/* Sum of the lanes, always in the same order: lanes i and i + n, n = AT_LANES / 2, ..., 2, 1. */
AT_INLINE float at_vf_sum(at_vf x)
{
    __m256 half = (__m256)x;
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

/* The intrinsics, because gcc 12 widens a vector half by half: twice as slow where bf16 is read. */
AT_INLINE at_vf at_vf_of_bf16(at_vh h)
{
    return (at_vf)_mm256_slli_epi32(_mm256_cvtepu16_epi32((__m128i)h), 16);
}

/* The upper half of every lane: what bf16 is, without rounding. */
AT_INLINE at_vh at_vh_of_upper(at_vf x)
{
    at_vu u = (at_vu)x >> 16;
    __m256i p = _mm256_packus_epi32((__m256i)u, (__m256i)u);
    return (at_vh)_mm256_castsi256_si128(_mm256_permute4x64_epi64(p, 0x08));
}

AT_INLINE at_vh at_bf16_of_vf(at_vf x)
{
    at_vu u = (at_vu)x;
    at_vu rounded = u + 0x7fffu + ((u >> 16) & 1u);
    rounded = (at_vu)at_vf_select(x != x, (at_vf)(u | 0x400000u), (at_vf)rounded);
    return at_vh_of_upper((at_vf)rounded);
}

AT_INLINE at_vf at_vf_of_f16(at_vh h)
{
    return (at_vf)_mm256_cvtph_ps((__m128i)h);
}

AT_INLINE at_vh at_f16_of_vf(at_vf x)
{
    return (at_vh)_mm256_cvtps_ph((__m256)x, _MM_FROUND_TO_NEAREST_INT);
}

/* Past the caches, to an aligned address. */
AT_INLINE void at_vf_stream_f32(void *p, at_vf x)
{
    _mm256_stream_ps(p, (__m256)x);
}

AT_INLINE void at_vh_stream(void *p, at_vh h)
{
    _mm_stream_si128(p, (__m128i)h);
}

/* 1 / x for x from 1 to 2^126. */
AT_INLINE at_vf at_vf_reciprocal(at_vf x)
{
    return at_vf_set(1.0f) / x;
}

/* p * 2^n, n an integer from -126 to 127. */
AT_INLINE at_vf at_vf_scale2(at_vf p, at_vf n)
{
    const at_vf magic = at_vf_set(12582912.0f); /* n added to its bits is n added to it */
    return p * (at_vf)(((at_vi)(n + magic) - (0x4b400000 - 127)) << 23);
}

/* The last step of e^x: p * 2^n, as 2^(n - 1) twice because n may reach 128; at n = -126, which is
 * x below -87, the half has no exponent left and is 0. */
AT_INLINE at_vf at_vf_exp_end(at_vf p, at_vf n)
{
    const at_vf magic = at_vf_set(12582912.0f); /* n added to its bits is n added to it */
    at_vf half = (at_vf)(((at_vi)(n + magic) - (0x4b400000 - 126)) << 23);
    return p * half + p * half;
}

#endif
