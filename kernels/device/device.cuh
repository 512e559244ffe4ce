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

/* A stream on which AT_LAUNCH_EARLY may launch early; only devices of sm_90 and later can. */
struct at_queue {
    cudaStream_t native;
    bool early;
};

template <class... P, class... A>
cudaError_t at_launch_kernel(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes,
                             at_queue queue, A... args)
{
    return at_launch_kernel(kernel, grid, block, shared_bytes, queue.native, args...);
}

/* The same as AT_LAUNCH, but on an early at_queue the kernel need not wait for the one before it in
 * the stream to end: its blocks come onto the device as soon as all blocks of that one have called
 * at_wait_for_earlier() or have ended, and so the time from kernel to kernel is hidden.
 *
 * Every thread of every block calls at_wait_for_earlier() before it touches global memory, be it to
 * read, and also if it then has nothing to do: only index arithmetic and the set-up of shared
 * memory and barriers may stand before. So a kernel is never complete before the one before it is,
 * and whatever waits for the last kernel, launched early or not, waits for all of them: without
 * that, a third kernel could begin while the first still writes.
 *
 * In a captured stream the edge from the kernel before becomes what CUDA calls programmatic. It is
 * assumed that the attribute changes nothing where no kernel comes before (a memset, a copy, an
 * event, the graph's beginning), as CUDA defines it between kernels only. */
#define AT_LAUNCH_EARLY(...) at_launch_kernel_early(__VA_ARGS__)

template <class... P, class... A>
cudaError_t at_launch_kernel_early(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes,
                                   cudaStream_t stream, A... args)
{
    return at_launch_kernel(kernel, grid, block, shared_bytes, stream, args...);
}

template <class... P, class... A>
cudaError_t at_launch_kernel_early(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes,
                                   at_queue queue, A... args)
{
    if (!queue.early)
        return at_launch_kernel(kernel, grid, block, shared_bytes, queue.native, args...);
    cudaLaunchAttribute early = {};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared_bytes;
    config.stream = queue.native;
    config.attrs = &early;
    config.numAttrs = 1;
    const cudaError_t error = cudaLaunchKernelEx(&config, kernel, static_cast<P>(args)...);
    return error == cudaSuccess ? error : cudaGetLastError();
}

/* Until all that was enqueued before is complete and what it wrote can be read; then the next
 * kernel may come. In a kernel that was launched plainly, and below sm_90, it costs nothing. The
 * clobber keeps every access to memory behind it. */
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
__device__ __forceinline__ void at_wait_for_earlier()
{
    asm volatile("griddepcontrol.wait;\n\tgriddepcontrol.launch_dependents;" ::: "memory");
}
#else
__device__ __forceinline__ void at_wait_for_earlier()
{
}
#endif

/* Needed once before a launch with more than 48 KiB of dynamic shared memory. What is allowed never
 * becomes less: captured plans that launch the kernel with more may be replayed later. */
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
