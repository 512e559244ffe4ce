/* memory.cuh -- emulated twin of kernels/device/memory.cuh, which has the contract. */
#ifndef AT_TESTS_EMULATOR_TWIN_KERNELS_DEVICE_MEMORY_CUH
#define AT_TESTS_EMULATOR_TWIN_KERNELS_DEVICE_MEMORY_CUH

#include "kernels/device/device.cuh"

template <class V>
V at_load(const void *p, AT_EMU_HERE)
{
    static_assert(sizeof(V) == 4 || sizeof(V) == 8 || sizeof(V) == 16, "a vector type");
    V v;
    at_emu_load(&v, p, sizeof v, AT_EMU_PLACE);
    return v;
}

template <class V>
V at_load_constant(const void *p, AT_EMU_HERE)
{
    return at_load<V>(p, file_, line_);
}

template <class V>
V at_load_once(const void *p, AT_EMU_HERE)
{
    return at_load<V>(p, file_, line_);
}

template <class V>
void at_store(void *p, V v, AT_EMU_HERE)
{
    static_assert(sizeof(V) == 4 || sizeof(V) == 8 || sizeof(V) == 16, "a vector type");
    at_emu_store(p, &v, sizeof v, AT_EMU_PLACE);
}

#endif
