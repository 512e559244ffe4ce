/* cuda_fp16.h -- half precision of CUDA where the device is emulated: names our kernels use. */
#ifndef AT_TESTS_EMULATOR_TWIN_CUDA_FP16_H
#define AT_TESTS_EMULATOR_TWIN_CUDA_FP16_H

#include "tests/emulator/numbers.h"
#include "tests/emulator/twin/cuda_runtime.h"

struct __align__(2) __half
{
    uint16_t bits;
    __half() = default;
    __half(float f) : bits(at_emu_f16_bits(f))
    {
    }
    operator float() const
    {
        return at_emu_f16_value(bits);
    }
};

struct __align__(4) __half2
{
    __half x, y;
};

inline float __half2float(__half v)
{
    return v;
}

inline __half __float2half(float f)
{
    return f;
}

inline __half __float2half_rn(float f)
{
    return f;
}

inline float2 __half22float2(__half2 v)
{
    return make_float2(v.x, v.y);
}

inline __half2 __float22half2_rn(float2 f)
{
    return { f.x, f.y };
}

inline __half2 __floats2half2_rn(float x, float y)
{
    return { x, y };
}

inline float __low2float(__half2 v)
{
    return v.x;
}

inline float __high2float(__half2 v)
{
    return v.y;
}

inline __half __ushort_as_half(unsigned short bits)
{
    __half v;
    v.bits = bits;
    return v;
}

inline unsigned short __half_as_ushort(__half v)
{
    return v.bits;
}

#endif
