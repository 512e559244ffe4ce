/* memory.cuh -- vector loads and stores of 4, 8 and 16 bytes.
 *
 * Emulated, they say who gave an address that is not aligned; on a device such an access stops the
 * kernel without a line. */
#ifndef AT_KERNELS_DEVICE_MEMORY_CUH
#define AT_KERNELS_DEVICE_MEMORY_CUH

#include "kernels/device/device.cuh"

/* V at p, which is aligned to V's size: uint4 v = at_load<uint4>(x). */
template <class V>
__device__ __forceinline__ V at_load(const void *p)
{
    static_assert(sizeof(V) == 4 || sizeof(V) == 8 || sizeof(V) == 16, "a vector type");
    return *static_cast<const V *>(p);
}

/* The same through the read-only path: nothing writes there while the kernel runs. */
template <class V>
__device__ __forceinline__ V at_load_constant(const void *p)
{
    static_assert(sizeof(V) == 4 || sizeof(V) == 8 || sizeof(V) == 16, "a vector type");
    return __ldg(static_cast<const V *>(p));
}

/* The same, for what is read once: it leaves the caches first. */
template <class V>
__device__ __forceinline__ V at_load_once(const void *p)
{
    static_assert(sizeof(V) == 4 || sizeof(V) == 8 || sizeof(V) == 16, "a vector type");
    return __ldcs(static_cast<const V *>(p));
}

template <class V>
__device__ __forceinline__ void at_store(void *p, V v)
{
    static_assert(sizeof(V) == 4 || sizeof(V) == 8 || sizeof(V) == 16, "a vector type");
    *static_cast<V *>(p) = v;
}

#endif
