/* philox.h -- numbers that look random and depend on nothing but their address.
 *
 * Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers, as easy as 1, 2, 3; 2011)
 * turns a 64-bit key and a 128-bit counter into four 32-bit words. The key here is itself drawn,
 * from (seed, purpose, step); the counter is (block, sample), and block i / 4 holds elements i to i
 * + 3.
 *
 * Every device computes the same bits: the words are integers, and what turns them into floats is
 * written in single multiplications, additions and square roots in a fixed order, each rounded by
 * itself, so that no compiler may fuse them (the build says -ffp-contract=off) and no library's
 * logarithm, sine or cosine has a say. Common subset of C11 and CUDA C++; loops over these
 * functions vectorise, as they branch nowhere. */
#ifndef AT_KERNELS_PHILOX_H
#define AT_KERNELS_PHILOX_H

#include <string.h>

#include "kernels/exact.h"

typedef enum at_random_kind { AT_RANDOM_UNIFORM, AT_RANDOM_NORMAL } at_random_kind;
#define AT_RANDOM_KINDS "uniform|normal"

/* --- words ------------------------------------------------------------------------------------ */

typedef struct at_philox_key {
    uint32_t k0, k1;
} at_philox_key;

typedef struct at_philox_words {
    uint32_t w0, w1, w2, w3;
} at_philox_words;

enum { AT_PHILOX_ROUNDS = 10 };

AT_EVERYWHERE at_philox_words at_philox_round(at_philox_words c, at_philox_key k)
{
    uint64_t p = (uint64_t)c.w0 * 0xD2511F53u, q = (uint64_t)c.w2 * 0xCD9E8D57u;
    at_philox_words r = { (uint32_t)(q >> 32) ^ c.w1 ^ k.k0, (uint32_t)q,
                          (uint32_t)(p >> 32) ^ c.w3 ^ k.k1, (uint32_t)p };
    return r;
}

/* The key of the next round. */
AT_EVERYWHERE at_philox_key at_philox_bump(at_philox_key k)
{
    at_philox_key next = { k.k0 + 0x9E3779B9u, k.k1 + 0xBB67AE85u };
    return next;
}

AT_EVERYWHERE at_philox_words at_philox(at_philox_words counter, at_philox_key key)
{
    for (int i = 0; i < AT_PHILOX_ROUNDS; i++) {
        counter = at_philox_round(counter, key);
        key = at_philox_bump(key);
    }
    return counter;
}

/* Two 64-bit numbers as a counter. */
AT_EVERYWHERE at_philox_words at_philox_counter(int64_t low, int64_t high)
{
    uint64_t a = (uint64_t)low, b = (uint64_t)high;
    at_philox_words c = { (uint32_t)a, (uint32_t)(a >> 32), (uint32_t)b, (uint32_t)(b >> 32) };
    return c;
}

/* The key under which all samples of one purpose and step are drawn. */
AT_EVERYWHERE at_philox_key at_random_key(int64_t seed, int64_t purpose, int64_t step)
{
    at_philox_key k = { (uint32_t)(uint64_t)seed, (uint32_t)((uint64_t)seed >> 32) };
    at_philox_words w = at_philox(at_philox_counter(purpose, step), k);
    at_philox_key drawn = { w.w0, w.w1 };
    return drawn;
}

/* --- numbers ---------------------------------------------------------------------------------- */

/* a * b + c, rounded twice */
AT_EVERYWHERE float at_muladd_rn(float a, float b, float c)
{
    return AT_ADD_RN(AT_MUL_RN(a, b), c);
}

/* In [0, 1), a multiple of 2^-24 */
AT_EVERYWHERE float at_uniform_of(uint32_t word)
{
    return AT_MUL_RN((float)(int32_t)(word >> 8), 0x1p-24f);
}

/* ln(1 - u), u as above: exponent and mantissa apart, the mantissa in [sqrt(1/2), sqrt(2)), there
 * s - s^2 / 2 + s^3 P(s), P fitted to 6e-9 of the result. */
AT_EVERYWHERE float at_log_of(uint32_t word)
{
    float x = AT_MUL_RN((float)(int32_t)(0x1000000u - (word >> 8)), 0x1p-24f);
    int32_t bits, e;
    memcpy(&bits, &x, sizeof bits);
    bits -= 0x3f3504f3; /* sqrt(1/2) */
    e = bits >> 23;
    bits = (bits & 0x7fffff) + 0x3f3504f3;
    memcpy(&x, &bits, sizeof x);
    float s = AT_ADD_RN(x, -1.0f), n = (float)e, square = AT_MUL_RN(s, s);
    float p = -0.0785954587f;
    p = at_muladd_rn(p, s, 0.128816224f);
    p = at_muladd_rn(p, s, -0.131287676f);
    p = at_muladd_rn(p, s, 0.141811961f);
    p = at_muladd_rn(p, s, -0.166245531f);
    p = at_muladd_rn(p, s, 0.200022861f);
    p = at_muladd_rn(p, s, -0.250008104f);
    p = at_muladd_rn(p, s, 0.333333167f);
    float tail = AT_MUL_RN(AT_MUL_RN(square, s), p);
    tail = at_muladd_rn(n, -2.12194440e-4f, tail); /* ln 2 in two parts, the first of few digits */
    tail = at_muladd_rn(square, -0.5f, tail);
    return at_muladd_rn(n, 0.693359375f, AT_ADD_RN(s, tail));
}

typedef struct at_pair {
    float a, b;
} at_pair;

/* cos and sin of 2 pi v, v the uniform of 'word': to the nearest quarter turn exactly, in integers,
 * then polynomials on [-pi / 4, pi / 4] good to 4e-9. */
AT_EVERYWHERE at_pair at_turn_of(uint32_t word)
{
    int32_t v = (int32_t)(word >> 8), quarter = (v + (1 << 21)) >> 22;
    float r = AT_MUL_RN((float)(v - (quarter << 22)), 3.74507035e-7f); /* 2 pi / 2^24 */
    float z = AT_MUL_RN(r, r);
    float s = at_muladd_rn(-0.000195173273f, z, 0.00833217841f);
    s = at_muladd_rn(s, z, -0.166666549f);
    s = at_muladd_rn(AT_MUL_RN(s, z), r, r);
    float c = at_muladd_rn(2.44385513e-05f, z, -0.00138873685f);
    c = at_muladd_rn(c, z, 0.0416666469f);
    c = at_muladd_rn(AT_MUL_RN(c, z), z, at_muladd_rn(z, -0.5f, 1.0f));
    /* Odd quarters swap the two; the signs go + - - + for the cosine, + + - - for the sine. */
    int32_t cos_bits, sin_bits, swap = -(quarter & 1);
    memcpy(&cos_bits, &c, sizeof cos_bits);
    memcpy(&sin_bits, &s, sizeof sin_bits);
    int32_t a = (cos_bits & ~swap) | (sin_bits & swap), b = (sin_bits & ~swap) | (cos_bits & swap);
    a ^= (int32_t)((uint32_t)((quarter + 1) & 2) << 30);
    b ^= (int32_t)((uint32_t)(quarter & 2) << 30);
    at_pair p;
    memcpy(&p.a, &a, sizeof p.a);
    memcpy(&p.b, &b, sizeof p.b);
    return p;
}

/* Two independent normal numbers, by Box and Muller. */
AT_EVERYWHERE at_pair at_normal_of(uint32_t radius_word, uint32_t turn_word)
{
    float radius = AT_SQRT_RN(AT_MUL_RN(-2.0f, at_log_of(radius_word)));
    at_pair p = at_turn_of(turn_word);
    p.a = AT_MUL_RN(radius, p.a);
    p.b = AT_MUL_RN(radius, p.b);
    return p;
}

/* Element i of a sample. */
AT_EVERYWHERE float at_random_element(at_philox_key key, int64_t sample, int64_t i, int kind)
{
    at_philox_words w = at_philox(at_philox_counter(i / 4, sample), key);
    uint32_t first = i & 2 ? w.w2 : w.w0, second = i & 2 ? w.w3 : w.w1;
    if (kind == AT_RANDOM_UNIFORM)
        return at_uniform_of(i & 1 ? second : first);
    at_pair p = at_normal_of(first, second);
    return i & 1 ? p.b : p.a;
}

#endif
