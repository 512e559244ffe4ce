/* cuda_fp8.h -- e4m3 of CUDA, where the device is emulated: the names our kernels use, no more. */
#ifndef AT_TESTS_EMULATOR_TWIN_CUDA_FP8_H
#define AT_TESTS_EMULATOR_TWIN_CUDA_FP8_H

#include "tests/emulator/numbers.h"
#include "tests/emulator/twin/cuda_runtime.h"

typedef unsigned char __nv_fp8_storage_t;

struct __nv_fp8_e4m3 {
    __nv_fp8_storage_t __x;
    __nv_fp8_e4m3() = default;
    explicit __nv_fp8_e4m3(float f) : __x(at_emu_e4m3_bits(f))
    {
    }
    explicit operator float() const
    {
        return at_emu_e4m3_value(__x);
    }
};

#endif
