/* torch_noise.c -- the Mersenne twister (Matsumoto and Nishimura, 1998), and what torch makes of
 * it: Box and Muller's normal numbers in groups of 16 from 24 bits each, or one by one from 53.
 *
 * For the groups torch has its own logarithm, sine and cosine: Pommier's vectors of Moshier's
 * Cephes, in which the compiler fused multiplications with additions. Where it did decides over
 * the last bits; the places below were found by comparing all 64 possible choices with torch 2.15,
 * of which these alone gave its bits. */
#include "runtime/torch_noise.h"

#include <math.h>
#include <string.h>

enum { GROUP = 16, HALF = 8, MT_DISTANCE = 397 };

/* --- words ------------------------------------------------------------------------------------ */

void at_torch_noise_seed(at_torch_noise *g, uint64_t seed)
{
    g->word[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < AT_MT19937_WORDS; i++)
        g->word[i] = 1812433253u * (g->word[i - 1] ^ (g->word[i - 1] >> 30)) + i;
    g->used = AT_MT19937_WORDS;
    g->has_next = false;
    g->next = 0;
}

static void make_words(at_torch_noise *g)
{
    for (int i = 0; i < AT_MT19937_WORDS; i++) {
        const uint32_t low = g->word[(i + 1) % AT_MT19937_WORDS];
        const uint32_t y = (g->word[i] & 0x80000000u) | (low & 0x7fffffffu);
        const uint32_t other = g->word[(i + MT_DISTANCE) % AT_MT19937_WORDS];
        g->word[i] = other ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfu : 0);
    }
    g->used = 0;
}

static uint32_t next_word(at_torch_noise *g)
{
    if (g->used == AT_MT19937_WORDS)
        make_words(g);
    uint32_t y = g->word[g->used++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

static float uniform_24(at_torch_noise *g)
{
    return (float)(next_word(g) & 0xffffffu) * 0x1p-24f;
}

static double uniform_53(at_torch_noise *g)
{
    const uint64_t high = next_word(g), low = next_word(g);
    return (double)((high << 32 | low) & ((UINT64_C(1) << 53) - 1)) * 0x1p-53;
}

/* --- groups of 16 ----------------------------------------------------------------------------- */

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* ln x, x in (0, 1] */
static float log_of(float x)
{
    float e = (float)((int)(bits_of(x) >> 23) - 126);
    x = float_of((bits_of(x) & 0x007fffffu) | 0x3f000000u); /* in [1/2, 1) */
    if (x < 0.707106781186547524f) {
        e -= 1;
        x += x - 1;
    } else {
        x -= 1;
    }
    const float z = x * x;
    float y = fmaf(7.0376836292E-2f, x, -1.1514610310E-1f);
    y = fmaf(y, x, 1.1676998740E-1f);
    y = fmaf(y, x, -1.2420140846E-1f);
    y = fmaf(y, x, 1.4249322787E-1f);
    y = fmaf(y, x, -1.6668057665E-1f);
    y = fmaf(y, x, 2.0000714765E-1f);
    y = fmaf(y, x, -2.4999993993E-1f);
    y = fmaf(y, x, 3.3333331174E-1f) * x;
    y = fmaf(y, z, e * -2.12194440e-4f);
    y -= z * 0.5f;
    return x + y + e * 0.693359375f;
}

/* sine and cosine of x, x in [0, 2 pi) */
static void turn_of(float x, float *sine, float *cosine)
{
    const int j =
        ((int)(x * 1.27323954473516f) + 1) & ~1; /* eighths of a turn, to an even number */
    const float n = (float)j;
    x += n * -0.78515625f; /* pi / 4 in three parts */
    x += n * -2.4187564849853515625e-4f;
    x += n * -3.77489497744594108e-8f;
    const float z = x * x;
    float c = fmaf(2.443315711809948E-005f, z, -1.388731625493765E-003f);
    c = fmaf(c, z, 4.166664568298827E-002f) * z;
    c = fmaf(c, z, -(z * 0.5f)) + 1;
    float s = fmaf(-1.9515295891E-4f, z, 8.3321608736E-3f);
    s = fmaf(s, z, -1.6666654611E-1f) * z;
    s = fmaf(s, x, x);
    const bool swapped = (j & 2) != 0;
    const uint32_t sine_sign = (uint32_t)(j & 4) << 29, cosine_sign = (uint32_t)(~(j - 2) & 4)
                                                                      << 29;
    *sine = float_of(bits_of(swapped ? c : s) ^ sine_sign);
    *cosine = float_of(bits_of(swapped ? s : c) ^ cosine_sign);
}

/* 16 uniform numbers become normal: those of the first half give the radius, of the second the
 * angle. */
static void fill_group(float *group)
{
    for (int i = 0; i < HALF; i++) {
        const float radius = sqrtf(-2 * log_of(1 - group[i]));
        float sine, cosine;
        turn_of(6.283185307179586f * group[i + HALF], &sine, &cosine);
        group[i] = radius * cosine + 0.0f; /* torch's mean, which makes -0 a 0 */
        group[i + HALF] = radius * sine + 0.0f;
    }
}

/* --- draws ------------------------------------------------------------------------------------ */

static double draw_one(at_torch_noise *g)
{
    if (g->has_next) {
        g->has_next = false;
        return g->next;
    }
    const double u1 = uniform_53(g), u2 = uniform_53(g);
    const double radius = sqrt(-2 * log1p(-u2)), angle = 2 * M_PI * u1;
    g->next = radius * sin(angle);
    g->has_next = true;
    return radius * cos(angle);
}

void at_torch_noise_draw(at_torch_noise *g, float *out, int64_t n)
{
    if (n < GROUP) {
        for (int64_t i = 0; i < n; i++)
            out[i] = (float)draw_one(g);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        out[i] = uniform_24(g);
    for (int64_t i = 0; i + GROUP <= n; i += GROUP)
        fill_group(out + i);
    if (n % GROUP == 0)
        return;
    for (int64_t i = n - GROUP; i < n; i++)
        out[i] = uniform_24(g);
    fill_group(out + n - GROUP);
}
