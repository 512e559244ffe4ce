/* async.cuh -- cp.async of sm_80: 16 bytes from global to shared memory, without a register.
 *
 * A thread's copies join a group at each commit; wait<N> returns when at most N groups of this
 * thread are still on their way. Others see the bytes after a barrier. */
#ifndef AT_KERNELS_DEVICE_ASYNC_CUH
#define AT_KERNELS_DEVICE_ASYNC_CUH

#include "kernels/device/device.cuh"

/* Both addresses are aligned to 16. Where 'wanted' is false nothing is read and zeros arrive. */
__device__ __forceinline__ void at_copy_async16(void *shared, const void *global, bool wanted)
{
    const int bytes = wanted ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at_shared_address(shared)),
                 "l"(global), "r"(bytes)
                 : "memory");
}

__device__ __forceinline__ void at_copy_async_commit()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

template <int GROUPS_LEFT>
__device__ __forceinline__ void at_copy_async_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(GROUPS_LEFT) : "memory");
}

#endif
