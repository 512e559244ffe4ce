/* hopper.cuh -- emulated twin of kernels/device/hopper.cuh, which has the contract. */
#ifndef AT_TESTS_EMULATOR_TWIN_KERNELS_DEVICE_HOPPER_CUH
#define AT_TESTS_EMULATOR_TWIN_KERNELS_DEVICE_HOPPER_CUH

#include "kernels/device/device.cuh"
#include "kernels/device/tensor_map.h"

inline void at_mbarrier_init(uint64_t *bar, uint32_t arrivals, AT_EMU_HERE)
{
    at_emu_mbarrier_init(bar, arrivals, AT_EMU_PLACE);
}

inline void at_mbarrier_init_fence()
{
}

inline void at_mbarrier_arrive(uint64_t *bar, AT_EMU_HERE)
{
    at_emu_mbarrier_arrive(bar, 0, AT_EMU_PLACE);
}

inline void at_mbarrier_expect(uint64_t *bar, uint32_t bytes, AT_EMU_HERE)
{
    at_emu_mbarrier_arrive(bar, bytes, AT_EMU_PLACE);
}

inline void at_mbarrier_wait(uint64_t *bar, uint32_t parity, AT_EMU_HERE)
{
    at_emu_mbarrier_wait(bar, parity, AT_EMU_PLACE);
}

inline void at_tma_load_2d(void *shared, const at_tensor_map *map, uint64_t *bar, int x, int y,
                           AT_EMU_HERE)
{
    at_emu_tma_load_2d(shared, map, bar, x, y, AT_EMU_PLACE);
}

inline void at_async_proxy_fence()
{
}

inline void at_wgmma_fence(AT_EMU_HERE)
{
    at_emu_wgmma_fence(AT_EMU_PLACE);
}

inline void at_wgmma_commit(AT_EMU_HERE)
{
    at_emu_wgmma_commit(AT_EMU_PLACE);
}

template <int GROUPS_LEFT>
void at_wgmma_wait(AT_EMU_HERE)
{
    at_emu_wgmma_wait(GROUPS_LEFT, AT_EMU_PLACE);
}

inline uint64_t at_wgmma_descriptor(const void *tile, uint32_t leading, uint32_t stride,
                                    at_swizzle swizzle, AT_EMU_HERE)
{
    return (uint64_t)((at_emu_shared_address(tile, AT_EMU_PLACE) & 0x3FFFF) >> 4) |
           (uint64_t)(leading >> 4) << 16 | (uint64_t)(stride >> 4) << 32 | (uint64_t)swizzle << 62;
}

template <int TRANSPOSED_A, int TRANSPOSED_B>
void at_wgmma_m64n64k16_bf16(float (&d)[32], uint64_t a, uint64_t b, int accumulate, AT_EMU_HERE)
{
    at_emu_wgmma w = { d, a, b, 64, accumulate, TRANSPOSED_A, TRANSPOSED_B, AT_EMU_BF16 };
    at_emu_wgmma_issue(&w, AT_EMU_PLACE);
}

template <int TRANSPOSED_A, int TRANSPOSED_B>
void at_wgmma_m64n128k16_bf16(float (&d)[64], uint64_t a, uint64_t b, int accumulate, AT_EMU_HERE)
{
    at_emu_wgmma w = { d, a, b, 128, accumulate, TRANSPOSED_A, TRANSPOSED_B, AT_EMU_BF16 };
    at_emu_wgmma_issue(&w, AT_EMU_PLACE);
}

template <int TRANSPOSED_A, int TRANSPOSED_B>
void at_wgmma_m64n256k16_bf16(float (&d)[128], uint64_t a, uint64_t b, int accumulate, AT_EMU_HERE)
{
    at_emu_wgmma w = { d, a, b, 256, accumulate, TRANSPOSED_A, TRANSPOSED_B, AT_EMU_BF16 };
    at_emu_wgmma_issue(&w, AT_EMU_PLACE);
}

inline void at_wgmma_m64n256k32_e4m3(float (&d)[128], uint64_t a, uint64_t b, int accumulate,
                                     AT_EMU_HERE)
{
    at_emu_wgmma w = { d, a, b, 256, accumulate, false, false, AT_EMU_E4M3 };
    at_emu_wgmma_issue(&w, AT_EMU_PLACE);
}

#endif
