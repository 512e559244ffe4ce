/* vec_plain.h -- what vec.h is built on, in the compiler's vectors: 4 lanes. For vec.h only. */
#ifndef AT_KERNELS_VEC_PLAIN_H
#define AT_KERNELS_VEC_PLAIN_H

/* a * b + c: one rounding where the machine has it (AVX2 and up always do). */
AT_INLINE at_vf at_vf_fma(at_vf a, at_vf b, at_vf c)
{
    return a * b + c;
}

/* mask ? a : b, mask from a comparison */
AT_INLINE at_vf at_vf_select(at_vi mask, at_vf a, at_vf b)
{
    return (at_vf)((mask & (at_vi)a) | (~mask & (at_vi)b));
}

/* As the machine's instruction: b where either is not a number. */
AT_INLINE at_vf at_vf_max(at_vf a, at_vf b)
{
    return at_vf_select(a > b, a, b);
}

AT_INLINE at_vf at_vf_min(at_vf a, at_vf b)
{
    return at_vf_select(a < b, a, b);
}

AT_INLINE at_vf at_vf_sqrt(at_vf x)
{
    at_vf y;
    for (int i = 0; i < AT_LANES; i++)
        y[i] = sqrtf(x[i]);
    return y;
}

/* Sum of the lanes, always in the same order: lanes i and i + n, n = AT_LANES / 2, ..., 2, 1. */
AT_INLINE float at_vf_sum(at_vf x)
{
    float t[AT_LANES];
    memcpy(t, &x, sizeof t);
    for (int n = AT_LANES / 2; n > 0; n /= 2)
        for (int i = 0; i < n; i++)
            t[i] += t[i + n];
    return t[0];
}

/* The intrinsics, because gcc 12 widens a vector half by half: twice as slow where bf16 is read. */
AT_INLINE at_vf at_vf_of_bf16(at_vh h)
{
    return (at_vf)(__builtin_convertvector(h, at_vu) << 16);
}

/* The upper half of every lane: what bf16 is, without rounding. */
AT_INLINE at_vh at_vh_of_upper(at_vf x)
{
    at_vu u = (at_vu)x >> 16;
    return __builtin_convertvector(u, at_vh);
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
    at_vf y;
    for (int i = 0; i < AT_LANES; i++)
        y[i] = at_f16_to_f32(h[i]);
    return y;
}

AT_INLINE at_vh at_f16_of_vf(at_vf x)
{
    at_vh h;
    for (int i = 0; i < AT_LANES; i++)
        h[i] = at_f16_from_f32(x[i]);
    return h;
}

/* Plain stores: no instruction for it. */
AT_INLINE void at_vf_stream_f32(void *p, at_vf x)
{
    memcpy(p, &x, sizeof x);
}

AT_INLINE void at_vh_stream(void *p, at_vh h)
{
    memcpy(p, &h, sizeof h);
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
