/* async.cuh -- emulated twin of kernels/device/async.cuh, which has the contract. */
#ifndef AT_TESTS_EMULATOR_TWIN_KERNELS_DEVICE_ASYNC_CUH
#define AT_TESTS_EMULATOR_TWIN_KERNELS_DEVICE_ASYNC_CUH

#include "kernels/device/device.cuh"

inline void at_copy_async16(void *shared, const void *global, bool wanted, AT_EMU_HERE)
{
    at_emu_copy(shared, global, 16, wanted ? 16 : 0, AT_EMU_PLACE);
}

inline void at_copy_async_commit(AT_EMU_HERE)
{
    at_emu_copy_commit(AT_EMU_PLACE);
}

template <int GROUPS_LEFT>
void at_copy_async_wait(AT_EMU_HERE)
{
    at_emu_copy_wait(GROUPS_LEFT, AT_EMU_PLACE);
}

#endif
