/* state_map.h -- states of one byte: which number a code stands for, and which code is nearest.
 *
 * A block of AT_STATE_BLOCK numbers shares a scale, its largest magnitude; a code is a magnitude
 * between 0 and 1 of that. Codes are dense near 1 and thin out downwards, as in a dynamic tree:
 * with n bits, code k, K = k + 1 = 2^i (1 + f) and 0 <= f < 1,
 *
 *     value(k) = 8^(i - n) (1 + 7 f)
 *
 * so each of n segments spans a factor of 8 in 2^i even steps, and the last code is 1. Every
 * value is a dyadic fraction, exact in f32. First moments are a sign (bit 7) and n = 7 bits,
 * where code 0 is 0. Second moments are n = 8 bits and never 0: a small one cannot turn a step
 * into a division by eps.
 *
 * In each segment k is a linear function of the value, so rounding it rounds to the nearest
 * code. All arithmetic is f32 without fused products: every variant finds the same code. On a GPU,
 * where nvcc fuses what is written apart, that is up to the caller: at_state_code() and others that
 * round in between are the host's. */
#ifndef AT_KERNELS_STATE_MAP_H
#define AT_KERNELS_STATE_MAP_H

#include <math.h>

#include "kernels/ops.h"

enum { AT_STATE_M_BITS = 7, AT_STATE_V_BITS = 8, AT_STATE_SIGN = 0x80 };

/* nvcc makes them for the GPU too. */
#ifdef __CUDACC__
#define AT_STATE_MAP static inline __host__ __device__
#else
#define AT_STATE_MAP static inline
#endif

/* Values reach the search for a code four times too large, and the largest a little below 4: their
 * exponents, divided by three, then count segments. */
#define AT_STATE_LARGEST (4 * (1 - 0x1p-22f))

/* First moments have a code for 0. */
AT_STATE_MAP bool at_state_has_zero(int bits)
{
    return bits == AT_STATE_M_BITS;
}

/* value(k) = gain(i) * k + base(i), exactly. */
AT_STATE_MAP float at_state_gain(int bits, int i)
{
    return ldexpf(7, 2 * i - 3 * bits);
}

AT_STATE_MAP float at_state_base(int bits, int i)
{
    return ldexpf((float)(7 - (6 << i)), 2 * i - 3 * bits);
}

/* The value of code 0. */
AT_STATE_MAP float at_state_floor(int bits)
{
    return at_state_has_zero(bits) ? 0 : ldexpf(1, -3 * bits);
}

AT_STATE_MAP float at_state_value(int k, int bits)
{
    int i = 0;
    while (k >> (i + 1))
        i++;
    return k ? at_state_gain(bits, i) * (float)k + at_state_base(bits, i) : at_state_floor(bits);
}

/* k = (int)(slope(i) * x4 + offset(i)) for x4 = 4 * value in segment i, rounding included. */
AT_STATE_MAP float at_state_slope(int bits, int i)
{
    if (i == 0 && at_state_has_zero(bits)) /* from 0 to the first code in one step */
        return ldexpf(1, 3 * bits - 5);
    return ldexpf(1, 3 * bits - 2 * i - 2) / 7;
}

AT_STATE_MAP float at_state_offset(int bits, int i)
{
    if (i == 0 && at_state_has_zero(bits))
        return 0.5f;
    return (float)(6 << i) / 7 - 0.5f;
}

/* Where segment i begins, four times. */
AT_STATE_MAP float at_state_begin(int bits, int i)
{
    return ldexpf(4, 3 * (i - bits));
}

/* The nearest code of x4 in [0, 4). */
AT_STATE_MAP int at_state_code(float x4, int bits)
{
    int i = 0;
    float x = x4 > at_state_begin(bits, 0) ? x4 : at_state_begin(bits, 0);
    while (i + 1 < bits && x >= at_state_begin(bits, i + 1))
        i++;
    return (int)(x * at_state_slope(bits, i) + at_state_offset(bits, i));
}

/* The scale of a block, and what its numbers are multiplied with to become x4. A block without a
 * number worth keeping has scale 0 and is 0. */
AT_STATE_MAP float at_state_scale(float largest)
{
    return largest < 0x1p-100f ? 0 : largest;
}

AT_STATE_MAP float at_state_inverse(float scale)
{
    return scale > 0 ? AT_STATE_LARGEST / scale : 0;
}

#endif
