/* device.cuh -- emulated twin of kernels/device/device.cuh, which has the contract. */
#ifndef AT_TESTS_EMULATOR_TWIN_KERNELS_DEVICE_DEVICE_CUH
#define AT_TESTS_EMULATOR_TWIN_KERNELS_DEVICE_DEVICE_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <cuda_runtime.h>
#include <stdint.h>

struct at_queue {
    cudaStream_t native;
    bool early;
};

#define AT_LAUNCH(...) \
    at_emu_launch({ AT_EMU_AFTER, #__VA_ARGS__, { __FILE__, __LINE__ } }, __VA_ARGS__)
#define AT_LAUNCH_EARLY(...) \
    at_emu_launch({ AT_EMU_EARLY, #__VA_ARGS__, { __FILE__, __LINE__ } }, __VA_ARGS__)

struct at_emu_call {
    at_emu_start start;
    const char *name;
    at_emu_place place;
};

/* The kernel's arguments are copied with its closure, into which a captured graph keeps them. */
template <class... P, class... A>
cudaError_t at_emu_launch(const at_emu_call &call, void (*kernel)(P...), dim3 grid, dim3 block,
                          size_t shared_bytes, at_queue queue, A... args)
{
    auto body = [=] { kernel(static_cast<P>(args)...); };
    using closure = decltype(body);
    at_emu_kernel k = {};
    k.name = call.name;
    k.place = call.place;
    k.function = reinterpret_cast<const void *>(kernel);
    k.grid = grid;
    k.block = block;
    k.shared_bytes = shared_bytes;
    k.start = queue.early ? call.start : AT_EMU_AFTER;
    k.body = [](void *p) { (*static_cast<const closure *>(p))(); };
    k.args = &body;
    k.args_bytes = sizeof body;
    return at_emu_enqueue(&k, queue.native);
}

template <class... P, class... A>
cudaError_t at_emu_launch(const at_emu_call &call, void (*kernel)(P...), dim3 grid, dim3 block,
                          size_t shared_bytes, cudaStream_t stream, A... args)
{
    return at_emu_launch(call, kernel, grid, block, shared_bytes, at_queue{ stream, false },
                         args...);
}

inline void at_wait_for_earlier(AT_EMU_HERE)
{
    at_emu_early_wait(AT_EMU_PLACE);
}

template <class... P>
cudaError_t at_shared_allow(void (*kernel)(P...), size_t shared_bytes)
{
    const void *function = reinterpret_cast<const void *>(kernel);
    cudaFuncAttributes now;
    const cudaError_t error = cudaFuncGetAttributes(&now, function);
    if (error != cudaSuccess || (size_t)now.maxDynamicSharedSizeBytes >= shared_bytes)
        return error;
    return cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                (int)shared_bytes);
}

#define AT_SHARED(type, name)                              \
    using name##_at_type = type;                           \
    static char name##_at_key;                             \
    name##_at_type &name = *static_cast<name##_at_type *>( \
        at_emu_shared_array(&name##_at_key, sizeof(type), at_emu_place{ __FILE__, __LINE__ }))

#define AT_SHARED_DYNAMIC(type, name) \
    type *const name = static_cast<type *>(at_emu_shared_dynamic())

inline uint32_t at_shared_address(const void *p, AT_EMU_HERE)
{
    return at_emu_shared_address(p, AT_EMU_PLACE);
}

#endif
