/* vec.h -- one vector of floats, as wide as the instruction set this file is compiled for.
 *
 * A *_simd.c file is written once with these and compiled once per instruction set (AT_SIMD_LEVEL):
 * avx512 (16 lanes), avx2 (8 lanes), and on other machines "simd": the compiler's 128-bit vectors.
 * + - * / and comparisons are the compiler's vector operators. Whatever a caller does lane by lane
 * gives the same bytes however the rows were cut. Included by *_simd.c files only. */
#ifndef AT_KERNELS_VEC_H
#define AT_KERNELS_VEC_H

#include <math.h>
#include <string.h>

#include "kernels/parallel.h"

#if defined(__AVX512F__) && defined(__AVX512BW__)
#include <immintrin.h>
enum { AT_LANES = 16 };
#elif defined(__AVX2__)
#include <immintrin.h>
enum { AT_LANES = 8 };
#else
enum { AT_LANES = 4 };
#endif

/* AT_SIMD(name) is name_avx512, name_avx2 or name_simd. */
#define AT_SIMD_JOIN2(name, level) name##_##level
#define AT_SIMD_JOIN(name, level)  AT_SIMD_JOIN2(name, level)
#define AT_SIMD(name)              AT_SIMD_JOIN(name, AT_SIMD_LEVEL)

typedef float at_vf __attribute__((vector_size(AT_LANES * 4)));
typedef int32_t at_vi __attribute__((vector_size(AT_LANES * 4)));
typedef uint32_t at_vu __attribute__((vector_size(AT_LANES * 4)));
typedef uint16_t at_vh __attribute__((vector_size(AT_LANES * 2)));
#define AT_INLINE static inline __attribute__((always_inline, unused))

AT_INLINE at_vf at_vf_set(float x)
{
    return x - (at_vf){ 0 };
}

#if defined(__AVX512F__)
#include "kernels/vec_avx512.h"
#elif defined(__AVX2__)
#include "kernels/vec_avx2.h"
#else
#include "kernels/vec_plain.h"
#endif

AT_INLINE at_vf at_vf_abs(at_vf x)
{
    return (at_vf)((at_vi)x & 0x7fffffff);
}

AT_INLINE float at_vf_largest(at_vf x)
{
    float t[AT_LANES];
    memcpy(t, &x, sizeof t);
    for (int n = AT_LANES / 2; n > 0; n /= 2)
        for (int i = 0; i < n; i++)
            t[i] = t[i] > t[i + n] ? t[i] : t[i + n];
    return t[0];
}

/* --- loads and stores: any alignment, f32, bf16 or f16 in memory, floats in registers --------- */

/* AT_LANES elements from element i of an array of 'type' (f32, bf16, f16). Call it with a constant
 * type: the switch is then gone. */
AT_INLINE at_vf at_vf_load(const void *p, int64_t i, at_dtype type)
{
    at_vf x;
    at_vh h;
    if (type == AT_F32) {
        memcpy(&x, (const float *)p + i, sizeof x);
        return x;
    }
    memcpy(&h, (const uint16_t *)p + i, sizeof h);
    return type == AT_BF16 ? at_vf_of_bf16(h) : at_vf_of_f16(h);
}

AT_INLINE void at_vf_store(void *p, int64_t i, at_dtype type, at_vf x)
{
    if (type == AT_F32) {
        memcpy((float *)p + i, &x, sizeof x);
        return;
    }
    at_vh h = type == AT_BF16 ? at_bf16_of_vf(x) : at_f16_of_vf(x);
    memcpy((uint16_t *)p + i, &h, sizeof h);
}

/* The same for values that 'type' holds exactly, which saves bf16 its rounding. */
AT_INLINE void at_vf_store_exact(void *p, int64_t i, at_dtype type, at_vf x)
{
    if (type != AT_BF16) {
        at_vf_store(p, i, type, x);
        return;
    }
    at_vh h = at_vh_of_upper(x);
    memcpy((uint16_t *)p + i, &h, sizeof h);
}

/* at_vf_load_n: the first n < AT_LANES elements; the other lanes are 'rest'. at_vf_store_n: the
 * first n lanes. */
#if defined(__AVX512F__)
AT_INLINE at_vf at_vf_load_n(const void *p, int64_t i, at_dtype type, int n, float rest)
{
    const __mmask16 mask = (__mmask16)((1u << n) - 1u);
    if (type == AT_F32)
        return (at_vf)_mm512_mask_loadu_ps(_mm512_set1_ps(rest), mask, (const float *)p + i);
    at_vh h = (at_vh)_mm256_maskz_loadu_epi16(mask, (const uint16_t *)p + i);
    at_vf x = type == AT_BF16 ? at_vf_of_bf16(h) : at_vf_of_f16(h);
    return (at_vf)_mm512_mask_mov_ps(_mm512_set1_ps(rest), mask, (__m512)x);
}

AT_INLINE void at_vf_store_n(void *p, int64_t i, at_dtype type, at_vf x, int n)
{
    const __mmask16 mask = (__mmask16)((1u << n) - 1u);
    if (type == AT_F32) {
        _mm512_mask_storeu_ps((float *)p + i, mask, (__m512)x);
        return;
    }
    at_vh h = type == AT_BF16 ? at_bf16_of_vf(x) : at_f16_of_vf(x);
    _mm256_mask_storeu_epi16((uint16_t *)p + i, mask, (__m256i)h);
}
#else
AT_INLINE at_vf at_vf_load_n(const void *p, int64_t i, at_dtype type, int n, float rest)
{
    at_vf x = at_vf_set(rest);
    at_vh h = { 0 };
    if (type == AT_F32) {
        for (int k = 0; k < n; k++)
            x[k] = ((const float *)p)[i + k];
        return x;
    }
    for (int k = 0; k < n; k++)
        h[k] = ((const uint16_t *)p)[i + k];
    x = type == AT_BF16 ? at_vf_of_bf16(h) : at_vf_of_f16(h);
    for (int k = 0; k < AT_LANES; k++)
        x[k] = k < n ? x[k] : rest;
    return x;
}

AT_INLINE void at_vf_store_n(void *p, int64_t i, at_dtype type, at_vf x, int n)
{
    if (type == AT_F32) {
        for (int k = 0; k < n; k++)
            ((float *)p)[i + k] = x[k];
        return;
    }
    at_vh h = type == AT_BF16 ? at_bf16_of_vf(x) : at_f16_of_vf(x);
    for (int k = 0; k < n; k++)
        ((uint16_t *)p)[i + k] = h[k];
}
#endif

/* --- bytes: pixels as integers, one in each lane ---------------------------------------------- */

/* at_vi_store_u8: every lane must be in 0..255. */
#if defined(__AVX512F__)
AT_INLINE at_vi at_vi_load_u8(const void *p, int64_t i)
{
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)((const uint8_t *)p + i));
    return (at_vi)_mm512_cvtepu8_epi32(b);
}

AT_INLINE void at_vi_store_u8(void *p, int64_t i, at_vi x)
{
    __m128i b = _mm512_cvtepi32_epi8((__m512i)x);
    memcpy((uint8_t *)p + i, &b, AT_LANES);
}
#elif defined(__AVX2__)
AT_INLINE at_vi at_vi_load_u8(const void *p, int64_t i)
{
    __m128i b = _mm_loadl_epi64((const __m128i *)(const void *)((const uint8_t *)p + i));
    return (at_vi)_mm256_cvtepu8_epi32(b);
}

AT_INLINE void at_vi_store_u8(void *p, int64_t i, at_vi x)
{
    __m128i h = _mm_packus_epi32(_mm256_castsi256_si128((__m256i)x),
                                 _mm256_extracti128_si256((__m256i)x, 1));
    __m128i b = _mm_packus_epi16(h, h);
    memcpy((uint8_t *)p + i, &b, AT_LANES);
}
#else
AT_INLINE at_vi at_vi_load_u8(const void *p, int64_t i)
{
    at_vi x;
    for (int k = 0; k < AT_LANES; k++)
        x[k] = ((const uint8_t *)p)[i + k];
    return x;
}

AT_INLINE void at_vi_store_u8(void *p, int64_t i, at_vi x)
{
    for (int k = 0; k < AT_LANES; k++)
        ((uint8_t *)p)[i + k] = (uint8_t)x[k];
}
#endif

/* The first n < AT_LANES bytes; the other lanes are 0. */
AT_INLINE at_vi at_vi_load_u8_n(const void *p, int64_t i, int n)
{
    uint8_t t[AT_LANES] = { 0 };
    memcpy(t, (const uint8_t *)p + i, (size_t)n);
    return at_vi_load_u8(t, 0);
}

AT_INLINE void at_vi_store_u8_n(void *p, int64_t i, at_vi x, int n)
{
    uint8_t t[AT_LANES];
    at_vi_store_u8(t, 0, x);
    memcpy((uint8_t *)p + i, t, (size_t)n);
}

/* --- around the caches ------------------------------------------------------------------------ */

/* Outputs from this size on are better written around the caches: whoever reads them finds the
 * caches overrun anyway. Measured on a Xeon, two threads, writing and then reading back: 80 MB 4.6
 * ms instead of 5.5, 320 MB 20 instead of 30; but 20 MB 1.2 ms instead of 0.9, and 40 MB alike. */
enum { AT_STREAM_BYTES = 64 << 20 };

/* at_vf_stream: at_vf_store past the caches. Its address must be a multiple of a vector's bytes;
 * all vectors of a view's rows are such if at_can_stream() says so. */
AT_INLINE void at_vf_stream(void *p, int64_t i, at_dtype type, at_vf x)
{
    if (type == AT_F32)
        at_vf_stream_f32((float *)p + i, x);
    else
        at_vh_stream((uint16_t *)p + i, type == AT_BF16 ? at_bf16_of_vf(x) : at_f16_of_vf(x));
}

AT_INLINE bool at_can_stream(const at_view *v)
{
    size_t vector = AT_LANES * at_dtype_bytes(v->dtype);
    return (uintptr_t)v->data % vector == 0 && v->pitch % AT_LANES == 0 &&
           at_cols(v) % AT_LANES == 0;
}

/* at_stream_copy: memcpy, past the caches. A part that streamed ends with at_stream_end(). */
#if defined(__AVX2__)
AT_INLINE void at_stream_copy(void *to, const void *from, size_t bytes)
{
    enum { LINE = 64 };
    size_t head = (LINE - (uintptr_t)to % LINE) % LINE, i = head < bytes ? head : bytes;
    memcpy(to, from, i);
    for (; i + LINE <= bytes; i += LINE) {
        __m256i *d = (__m256i *)(void *)((char *)to + i);
        const __m256i *s = (const __m256i *)(const void *)((const char *)from + i);
        __m256i low = _mm256_loadu_si256(s), high = _mm256_loadu_si256(s + 1);
        _mm256_stream_si256(d, low);
        _mm256_stream_si256(d + 1, high);
    }
    memcpy((char *)to + i, (const char *)from + i, bytes - i);
}

AT_INLINE void at_stream_end(void)
{
    _mm_sfence();
}
#else
AT_INLINE void at_stream_copy(void *to, const void *from, size_t bytes)
{
    memcpy(to, from, bytes);
}

AT_INLINE void at_stream_end(void)
{
}
#endif

/* --- functions: relative error below 2.5e-7 unless said otherwise ----------------------------- */

/* e^x: x = n ln 2 + r, |r| <= ln 2 / 2; e^r by a minimax polynomial (3.3e-9). 0 below -87 and
 * infinite above 88.72; nothing subnormal, which is slow, is ever made. What is not a number stays
 * so: the clamps pass their second operand. */
AT_INLINE at_vf at_vf_exp(at_vf x)
{
    const at_vf magic = at_vf_set(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
    at_vf clamped = at_vf_min(at_vf_set(88.8f), at_vf_max(at_vf_set(-87.33654f), x));
    at_vf t = at_vf_fma(clamped, at_vf_set(1.44269504f), magic);
    at_vf n = t - magic;
    at_vf r = at_vf_fma(n, at_vf_set(-0.693359375f), clamped);
    r = at_vf_fma(n, at_vf_set(2.12194440e-4f), r);
    at_vf p = at_vf_set(1.38131457e-3f);
    p = at_vf_fma(p, r, at_vf_set(8.36941932e-3f));
    p = at_vf_fma(p, r, at_vf_set(4.16684568e-2f));
    p = at_vf_fma(p, r, at_vf_set(0.166665148f));
    p = at_vf_fma(p, r, at_vf_set(0.499999931f));
    p = at_vf_fma(p, r, at_vf_set(1.0f));
    p = at_vf_fma(p, r, at_vf_set(1.0f));
    return at_vf_exp_end(p, n);
}

/* 1 / (1 + e^-x), with -87 and 87 for what lies beyond: nothing is infinite then, and e^-x needs
 * neither a special case nor exact steps (relative error 2e-7 at -87). r is the negative rest of
 * -x, hence the signs of the polynomial. */
AT_INLINE at_vf at_vf_sigmoid(at_vf x)
{
    const at_vf magic = at_vf_set(12582912.0f), one = at_vf_set(1.0f);
    at_vf clamped = at_vf_min(at_vf_set(87.0f), at_vf_max(at_vf_set(-87.0f), x));
    at_vf n = at_vf_fma(clamped, at_vf_set(-1.44269504f), magic) - magic;
    at_vf r = at_vf_fma(n, at_vf_set(0.693147181f), clamped);
    at_vf p = at_vf_set(1.38131457e-3f);
    p = at_vf_fma(p, r, at_vf_set(-8.36941932e-3f));
    p = at_vf_fma(p, r, at_vf_set(4.16684568e-2f));
    p = at_vf_fma(p, r, at_vf_set(-0.166665148f));
    p = at_vf_fma(p, r, at_vf_set(0.499999931f));
    p = at_vf_fma(p, r, at_vf_set(-1.0f));
    p = at_vf_fma(p, r, one);
    return at_vf_reciprocal(one + at_vf_scale2(p, n));
}

/* e^(-x^2 / 2), 0 for |x| above 13.2: as at_vf_exp, with r = -s / 2 and one step for the rest,
 * which leaves 1e-7 at |x| = 10, less than the rounding of x^2. */
AT_INLINE at_vf at_vf_bell(at_vf x)
{
    const at_vf magic = at_vf_set(12582912.0f), one = at_vf_set(1.0f);
    at_vf square = at_vf_min(at_vf_set(174.67308f), x * x);
    at_vf n = at_vf_fma(square, at_vf_set(-0.721347520f), magic) - magic;
    at_vf s = at_vf_fma(n, at_vf_set(1.38629436f), square);
    at_vf p = at_vf_set(2.15830402e-5f);
    p = at_vf_fma(p, s, at_vf_set(-2.61544354e-4f));
    p = at_vf_fma(p, s, at_vf_set(2.60427855e-3f));
    p = at_vf_fma(p, s, at_vf_set(-2.08331435e-2f));
    p = at_vf_fma(p, s, at_vf_set(0.124999983f));
    p = at_vf_fma(p, s, at_vf_set(-0.5f));
    return at_vf_exp_end(at_vf_fma(p, s, one), n);
}

/* The normal distribution's probability beyond x >= 0: e = e^(-x^2 / 2) times a polynomial in 1 /
 * (1 + 0.46 x), so that gelu keeps its digits where it is small: relative error 4e-7 up to 1, 9e-7
 * at 5, where x^2 has been rounded. */
AT_INLINE at_vf at_vf_normal_tail(at_vf x, at_vf *e)
{
    at_vf t = at_vf_reciprocal(at_vf_fma(x, at_vf_set(0.46f), at_vf_set(1.0f)));
    at_vf q = at_vf_set(0.041386476f);
    q = at_vf_fma(q, t, at_vf_set(-0.234467817f));
    q = at_vf_fma(q, t, at_vf_set(0.531959292f));
    q = at_vf_fma(q, t, at_vf_set(-0.561824096f));
    q = at_vf_fma(q, t, at_vf_set(0.196865301f));
    q = at_vf_fma(q, t, at_vf_set(0.00484409893f));
    q = at_vf_fma(q, t, at_vf_set(0.155135122f));
    q = at_vf_fma(q, t, at_vf_set(0.182551173f));
    q = at_vf_fma(q, t, at_vf_set(0.183550452f));
    *e = at_vf_bell(x);
    return q * t * *e;
}

/* |x|, and 1e18 for what is larger: beyond that the tail is 0 all the same, and infinity times 0
 * would not be a number. */
AT_INLINE at_vf at_vf_finite_abs(at_vf x)
{
    return at_vf_min(at_vf_set(1e18f), at_vf_abs(x));
}

/* The normal distribution: its probability up to x, and its density at x. */
AT_INLINE at_vf at_vf_normal(at_vf x, at_vf *density)
{
    at_vf e, tail = at_vf_normal_tail(at_vf_finite_abs(x), &e);
    *density = e * at_vf_set(0.39894228f);
    return at_vf_select(x < (at_vf){ 0 }, tail, at_vf_set(1.0f) - tail);
}

/* x times that probability: max(x, 0) - |x| times the tail. */
AT_INLINE at_vf at_vf_gelu(at_vf x)
{
    at_vf e, size = at_vf_finite_abs(x);
    return at_vf_max((at_vf){ 0 }, x) - size * at_vf_normal_tail(size, &e);
}

/* erf x: near 0 an odd minimax polynomial, else from the normal distribution. */
AT_INLINE at_vf at_vf_erf(at_vf x)
{
    at_vf s = x * x, density;
    at_vf q = at_vf_set(-6.74951343e-4f);
    q = at_vf_fma(q, s, at_vf_set(5.11434567e-3f));
    q = at_vf_fma(q, s, at_vf_set(-2.68346247e-2f));
    q = at_vf_fma(q, s, at_vf_set(0.112833766f));
    q = at_vf_fma(q, s, at_vf_set(-0.376126188f));
    q = at_vf_fma(q, s, at_vf_set(1.12837917f));
    at_vf p = at_vf_normal(x * at_vf_set(1.41421356f), &density);
    at_vf far = at_vf_fma(p, at_vf_set(2.0f), at_vf_set(-1.0f));
    return at_vf_select(at_vf_abs(x) < at_vf_set(0.75f), q * x, far);
}

/* tanh x: near 0 an odd minimax polynomial, else 1 - 2 / (e^2x + 1). */
AT_INLINE at_vf at_vf_tanh(at_vf x)
{
    const at_vf one = at_vf_set(1.0f);
    at_vf s = x * x;
    at_vf q = at_vf_set(-5.70496179e-3f);
    q = at_vf_fma(q, s, at_vf_set(2.06390634e-2f));
    q = at_vf_fma(q, s, at_vf_set(-5.37397075e-2f));
    q = at_vf_fma(q, s, at_vf_set(0.133314421f));
    q = at_vf_fma(q, s, at_vf_set(-0.333332819f));
    at_vf far = one - at_vf_set(2.0f) / (at_vf_exp(x + x) + one);
    return at_vf_select(at_vf_abs(x) < at_vf_set(0.625f), at_vf_fma(q * s, x, x), far);
}

/* --- f64: sums that must not lose digits ------------------------------------------------------ */

/* Half as many lanes, in doubles. */
typedef double at_vd __attribute__((vector_size(AT_LANES * 4)));

#if defined(__AVX512F__)

AT_INLINE at_vd at_vd_low(at_vf x)
{
    return (at_vd)_mm512_cvtps_pd(_mm512_castps512_ps256((__m512)x));
}

AT_INLINE at_vd at_vd_high(at_vf x)
{
    return (at_vd)_mm512_cvtps_pd(_mm512_extractf32x8_ps((__m512)x, 1));
}

/* The halves of a vector rounded and put together again. */
AT_INLINE at_vf at_vf_join(at_vd low, at_vd high)
{
    __m512 x = _mm512_castps256_ps512(_mm512_cvtpd_ps((__m512d)low));
    return (at_vf)_mm512_insertf32x8(x, _mm512_cvtpd_ps((__m512d)high), 1);
}

/* a * b + c */
AT_INLINE at_vd at_vd_fma(at_vd a, at_vd b, at_vd c)
{
    return (at_vd)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}

#elif defined(__AVX2__)

AT_INLINE at_vd at_vd_low(at_vf x)
{
    return (at_vd)_mm256_cvtps_pd(_mm256_castps256_ps128((__m256)x));
}

AT_INLINE at_vd at_vd_high(at_vf x)
{
    return (at_vd)_mm256_cvtps_pd(_mm256_extractf128_ps((__m256)x, 1));
}

AT_INLINE at_vf at_vf_join(at_vd low, at_vd high)
{
    __m256 x = _mm256_castps128_ps256(_mm256_cvtpd_ps((__m256d)low));
    return (at_vf)_mm256_insertf128_ps(x, _mm256_cvtpd_ps((__m256d)high), 1);
}

AT_INLINE at_vd at_vd_fma(at_vd a, at_vd b, at_vd c)
{
    return (at_vd)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}

#else

AT_INLINE at_vd at_vd_low(at_vf x)
{
    at_vd y;
    for (int i = 0; i < AT_LANES / 2; i++)
        y[i] = (double)x[i];
    return y;
}

AT_INLINE at_vd at_vd_high(at_vf x)
{
    at_vd y;
    for (int i = 0; i < AT_LANES / 2; i++)
        y[i] = (double)x[AT_LANES / 2 + i];
    return y;
}

AT_INLINE at_vf at_vf_join(at_vd low, at_vd high)
{
    at_vf y;
    for (int i = 0; i < AT_LANES; i++)
        y[i] = (float)(i < AT_LANES / 2 ? low[i] : high[i - AT_LANES / 2]);
    return y;
}

AT_INLINE at_vd at_vd_fma(at_vd a, at_vd b, at_vd c)
{
    return a * b + c;
}

#endif

/* A running sum with a place for every lane. */
typedef struct at_vsum {
    at_vd low, high;
} at_vsum;

AT_INLINE void at_vsum_add(at_vsum *s, at_vf x)
{
    s->low += at_vd_low(x);
    s->high += at_vd_high(x);
}

AT_INLINE void at_vsum_add_square(at_vsum *s, at_vf x)
{
    at_vd low = at_vd_low(x), high = at_vd_high(x);
    s->low = at_vd_fma(low, low, s->low);
    s->high = at_vd_fma(high, high, s->high);
}

/* Always in the same order. */
AT_INLINE double at_vsum_total(const at_vsum *s)
{
    at_vd both = s->low + s->high;
    double sum = 0;
    for (int i = 0; i < AT_LANES / 2; i++)
        sum += both[i];
    return sum;
}

#endif
