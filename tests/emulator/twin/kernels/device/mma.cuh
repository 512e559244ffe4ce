/* mma.cuh -- emulated twin of kernels/device/mma.cuh, which has the contract. */
#ifndef AT_TESTS_EMULATOR_TWIN_KERNELS_DEVICE_MMA_CUH
#define AT_TESTS_EMULATOR_TWIN_KERNELS_DEVICE_MMA_CUH

#include "kernels/device/device.cuh"

inline void at_mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                                 const float (&c)[4], AT_EMU_HERE)
{
    at_emu_mma m = { d, a, b, c };
    at_emu_mma_m16n8k16(&m, AT_EMU_BF16, AT_EMU_PLACE);
}

inline void at_mma_m16n8k16_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                                const float (&c)[4], AT_EMU_HERE)
{
    at_emu_mma m = { d, a, b, c };
    at_emu_mma_m16n8k16(&m, AT_EMU_F16, AT_EMU_PLACE);
}

inline void at_ldmatrix_x4(uint32_t (&r)[4], const void *row, AT_EMU_HERE)
{
    at_emu_ldmatrix(r, row, 4, AT_EMU_STRAIGHT, AT_EMU_PLACE);
}

inline void at_ldmatrix_x4_trans(uint32_t (&r)[4], const void *row, AT_EMU_HERE)
{
    at_emu_ldmatrix(r, row, 4, AT_EMU_TRANSPOSED, AT_EMU_PLACE);
}

inline void at_ldmatrix_x2(uint32_t (&r)[2], const void *row, AT_EMU_HERE)
{
    at_emu_ldmatrix(r, row, 2, AT_EMU_STRAIGHT, AT_EMU_PLACE);
}

inline void at_ldmatrix_x2_trans(uint32_t (&r)[2], const void *row, AT_EMU_HERE)
{
    at_emu_ldmatrix(r, row, 2, AT_EMU_TRANSPOSED, AT_EMU_PLACE);
}

#endif
