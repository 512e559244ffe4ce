/* numbers.h -- bf16, f16 and e4m3 as bits, for the emulator's C and for CUDA's types in the twins.
 *
 * Conversions round to nearest even; bf16 and f16 overflow to infinity, e4m3 saturates at 448.
 * Written apart from kernels/base.c on purpose: the conformance suite compares the two. */
#ifndef AT_TESTS_EMULATOR_NUMBERS_H
#define AT_TESTS_EMULATOR_NUMBERS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float at_emu_float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t at_emu_bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static inline float at_emu_bf16_value(uint16_t bits)
{
    return at_emu_float_of((uint32_t)bits << 16);
}

static inline uint16_t at_emu_bf16_bits(float f)
{
    uint32_t u = at_emu_bits_of(f);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return 0x7fff;
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

static inline float at_emu_f16_value(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000u) << 16, e = bits >> 10 & 31u, m = bits & 0x3ffu;
    if (e == 0) {
        float f = (float)m * 0x1p-24f;
        return sign ? -f : f;
    }
    return at_emu_float_of(sign | (e == 31 ? 0x7f800000u | m << 13 : (e + 112) << 23 | m << 13));
}

static inline uint16_t at_emu_f16_bits(float f)
{
    uint32_t u = at_emu_bits_of(f), sign = u >> 16 & 0x8000u, a = u & 0x7fffffffu;
    if (a > 0x7f800000u)
        return 0x7fff;
    if (a >= 0x477ff000u)
        return (uint16_t)(sign | 0x7c00u);
    if (a < 0x38800000u) /* below the smallest normal: a multiple of 2^-24 */
        return (uint16_t)(sign | (uint32_t)rintf(at_emu_float_of(a) * 0x1p24f));
    uint32_t v = a - 0x38000000u;
    return (uint16_t)(sign | ((v + 0xfffu + (v >> 13 & 1u)) >> 13));
}

static inline float at_emu_e4m3_value(uint8_t bits)
{
    uint32_t e = bits >> 3 & 15u, m = bits & 7u;
    float f = e == 0 ? (float)m * 0x1p-9f : ldexpf(1.0f + (float)m / 8.0f, (int)e - 7);
    if (e == 15 && m == 7)
        f = NAN;
    return bits & 0x80u ? -f : f;
}

static inline uint8_t at_emu_e4m3_bits(float f)
{
    uint32_t sign = at_emu_bits_of(f) >> 24 & 0x80u;
    float a = fabsf(f);
    if (isnan(f))
        return 0x7f;
    if (a > 448.0f)
        return (uint8_t)(sign | 0x7eu);
    if (a < 0x1p-6f)
        return (uint8_t)(sign | (uint32_t)rintf(a * 0x1p9f));
    uint32_t u = at_emu_bits_of(a);
    u += 0x7ffffu + (u >> 20 & 1u);
    return (uint8_t)(sign | ((u >> 20) - (120u << 3)));
}

#endif
