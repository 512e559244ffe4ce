/* cuda_bf16.h -- bfloat16 of CUDA where the device is emulated: names our kernels use. */
#ifndef AT_TESTS_EMULATOR_TWIN_CUDA_BF16_H
#define AT_TESTS_EMULATOR_TWIN_CUDA_BF16_H

#include "tests/emulator/numbers.h"
#include "tests/emulator/twin/cuda_runtime.h"

struct __align__(2) __nv_bfloat16
{
    uint16_t bits;
    __nv_bfloat16() = default;
    __nv_bfloat16(float f) : bits(at_emu_bf16_bits(f))
    {
    }
    operator float() const
    {
        return at_emu_bf16_value(bits);
    }
};

struct __align__(4) __nv_bfloat162
{
    __nv_bfloat16 x, y;
};

inline float __bfloat162float(__nv_bfloat16 v)
{
    return v;
}

inline __nv_bfloat16 __float2bfloat16(float f)
{
    return f;
}

inline __nv_bfloat16 __float2bfloat16_rn(float f)
{
    return f;
}

inline float2 __bfloat1622float2(__nv_bfloat162 v)
{
    return make_float2(v.x, v.y);
}

inline __nv_bfloat162 __float22bfloat162_rn(float2 f)
{
    return { f.x, f.y };
}

inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y)
{
    return { x, y };
}

inline float __low2float(__nv_bfloat162 v)
{
    return v.x;
}

inline float __high2float(__nv_bfloat162 v)
{
    return v.y;
}

inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits)
{
    __nv_bfloat16 v;
    v.bits = bits;
    return v;
}

inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 v)
{
    return v.bits;
}

#endif
