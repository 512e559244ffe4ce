/* device.cuh -- the one include of every kernel: CUDA's types, the launch, shared memory.
 *
 * What stands in this folder is what the emulated device replaces: a build for it finds
 * tests/emulator/twin/kernels/device first. So a launch is AT_LAUNCH, shared memory is AT_SHARED or
 * AT_SHARED_DYNAMIC (a bare __shared__ does not compile there), and PTX stands only here, one thin
 * function an instruction. Never write a loop that spins on memory: emulated threads are not
 * preempted; wait through a function of this folder. */
#ifndef AT_KERNELS_DEVICE_DEVICE_CUH
#define AT_KERNELS_DEVICE_DEVICE_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <cuda_runtime.h>
#include <stdint.h>

/* AT_LAUNCH(kernel, grid, block, shared_bytes, stream, arguments...) enqueues and returns a
 * cudaError_t. A template with a comma stands in parentheses:
 * AT_LAUNCH((softmax<float, 4>), ...). */
#define AT_LAUNCH(...) at_launch_kernel(__VA_ARGS__)

template <class... P, class... A>
cudaError_t at_launch_kernel(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes,
                             cudaStream_t stream, A... args)
{
    kernel<<<grid, block, shared_bytes, stream>>>(static_cast<P>(args)...);
    return cudaGetLastError();
}

/* Needed once before a launch with more than 48 KiB of dynamic shared memory. */
template <class... P>
cudaError_t at_shared_allow(void (*kernel)(P...), size_t shared_bytes)
{
    return cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel),
                                cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared_bytes);
}

/* AT_SHARED(float[8][33], tile); declares an array of the block, aligned to 16. */
#define AT_SHARED(type, name)    \
    using name##_at_type = type; \
    __shared__ __align__(16) name##_at_type name

/* AT_SHARED_DYNAMIC(float, rows); declares a pointer to the launch's shared bytes, aligned to 1024,
 * which the widest swizzle needs. */
#define AT_SHARED_DYNAMIC(type, name)                                  \
    extern __shared__ __align__(1024) unsigned char at_shared_bytes[]; \
    type *const name = reinterpret_cast<type *>(at_shared_bytes)

/* The address that instructions and descriptors use for a place in shared memory. */
__device__ __forceinline__ uint32_t at_shared_address(const void *p)
{
    return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

#endif
