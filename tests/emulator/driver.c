/* driver.c -- the NVIDIA driver's library on the emulated device, opened by engine/cuda_driver.c
 * like the real one: so the device "cuda" itself runs here, its arena, windows and captures.
 *
 * A module of its own. Each function is the emulator's in the program that loads it; misuse of the
 * driver is for tests/cuda_stub.c to see. */
#include <string.h>

#include "engine/cuda_driver.h"
#include "tests/emulator/machine.h"

#define AT_CUDA_VALUE(NAME, value)
#define AT_CUDA_CALL(name, base, suffix, args) AT_API at_cu_result base##suffix args;
#include "engine/cuda_driver.def"
#undef AT_CUDA_CALL
#undef AT_CUDA_VALUE

static at_cu_result result_of(cudaError_t error)
{
    return error == cudaErrorMemoryAllocation ? AT_CUDA_ERROR_OUT_OF_MEMORY : (at_cu_result)error;
}

static void *pointer_to(at_cu_address address)
{
    return (void *)(uintptr_t)address;
}

/* --- the driver and its device ---------------------------------------------------------------- */

at_cu_result cuInit(unsigned flags)
{
    (void)flags;
    return AT_CUDA_SUCCESS;
}

at_cu_result cuDriverGetVersion(int *version)
{
    return result_of(cudaDriverGetVersion(version));
}

at_cu_result cuGetErrorName(at_cu_result error, const char **name)
{
    *name = cudaGetErrorName((cudaError_t)error);
    return AT_CUDA_SUCCESS;
}

at_cu_result cuGetErrorString(at_cu_result error, const char **text)
{
    *text = cudaGetErrorString((cudaError_t)error);
    return AT_CUDA_SUCCESS;
}

at_cu_result cuDeviceGetCount(int *count)
{
    return result_of(cudaGetDeviceCount(count));
}

at_cu_result cuDeviceGet(at_cu_device *device, int index)
{
    *device = index;
    return AT_CUDA_SUCCESS;
}

at_cu_result cuDeviceGetName(char *name, int name_size, at_cu_device device)
{
    cudaDeviceProp prop;
    cudaError_t error = cudaGetDeviceProperties(&prop, device);
    if (error != cudaSuccess || name_size < 1)
        return AT_CUDA_ERROR_INVALID_VALUE;
    strncpy(name, prop.name, (size_t)name_size - 1);
    name[name_size - 1] = '\0';
    return AT_CUDA_SUCCESS;
}

at_cu_result cuDeviceGetAttribute(int *value, at_cu_attribute attribute, at_cu_device device)
{
    *value = 1;
    if (attribute == AT_CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED)
        return AT_CUDA_SUCCESS;
    if (attribute == AT_CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE) {
        cudaDeviceProp prop;
        cudaError_t error = cudaGetDeviceProperties(&prop, device);
        *value = prop.l2CacheSize;
        return result_of(error);
    }
    return result_of(cudaDeviceGetAttribute(value, (enum cudaDeviceAttr)attribute, device));
}

at_cu_result cuDeviceTotalMem_v2(size_t *bytes, at_cu_device device)
{
    size_t there;
    (void)device;
    return result_of(cudaMemGetInfo(&there, bytes));
}

/* There is one context, current to everybody. */
at_cu_result cuDevicePrimaryCtxRetain(at_cu_context *context, at_cu_device device)
{
    (void)device;
    *context = &at_emu_now;
    return AT_CUDA_SUCCESS;
}

at_cu_result cuDevicePrimaryCtxRelease_v2(at_cu_device device)
{
    (void)device;
    return AT_CUDA_SUCCESS;
}

at_cu_result cuCtxPushCurrent_v2(at_cu_context context)
{
    return context == &at_emu_now ? AT_CUDA_SUCCESS : AT_CUDA_ERROR_INVALID_CONTEXT;
}

at_cu_result cuCtxPopCurrent_v2(at_cu_context *context)
{
    *context = &at_emu_now;
    return AT_CUDA_SUCCESS;
}

/* --- memory ----------------------------------------------------------------------------------- */

at_cu_result cuMemAlloc_v2(at_cu_address *address, size_t bytes)
{
    void *p = NULL;
    cudaError_t error = cudaMalloc(&p, bytes);
    *address = (at_cu_address)(uintptr_t)p;
    return result_of(error);
}

at_cu_result cuMemFree_v2(at_cu_address address)
{
    return result_of(cudaFree(pointer_to(address)));
}

at_cu_result cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes)
{
    return result_of(cudaMemGetInfo(free_bytes, total_bytes));
}

at_cu_result cuMemAllocHost_v2(void **host, size_t bytes)
{
    return result_of(cudaMallocHost(host, bytes));
}

at_cu_result cuMemFreeHost(void *host)
{
    return result_of(cudaFreeHost(host));
}

at_cu_result cuMemcpyHtoDAsync_v2(at_cu_address to, const void *from, size_t bytes,
                                  at_cu_stream stream)
{
    return result_of(cudaMemcpyAsync(pointer_to(to), from, bytes, cudaMemcpyHostToDevice, stream));
}

at_cu_result cuMemcpyDtoHAsync_v2(void *to, at_cu_address from, size_t bytes, at_cu_stream stream)
{
    return result_of(cudaMemcpyAsync(to, pointer_to(from), bytes, cudaMemcpyDeviceToHost, stream));
}

at_cu_result cuMemcpyDtoDAsync_v2(at_cu_address to, at_cu_address from, size_t bytes,
                                  at_cu_stream stream)
{
    return result_of(
        cudaMemcpyAsync(pointer_to(to), pointer_to(from), bytes, cudaMemcpyDeviceToDevice, stream));
}

at_cu_result cuMemsetD8Async(at_cu_address to, unsigned char value, size_t bytes,
                             at_cu_stream stream)
{
    return result_of(cudaMemsetAsync(pointer_to(to), value, bytes, stream));
}

/* --- a range that is mapped as it grows ------------------------------------------------------- */

at_cu_result cuMemGetAllocationGranularity(size_t *bytes, const at_cu_allocation *what,
                                           at_cu_granularity flags)
{
    (void)what, (void)flags;
    *bytes = (size_t)2 << 20;
    return AT_CUDA_SUCCESS;
}

at_cu_result cuMemAddressReserve(at_cu_address *address, size_t bytes, size_t alignment,
                                 at_cu_address wish, unsigned long long flags)
{
    (void)alignment, (void)wish, (void)flags;
    *address = (at_cu_address)(uintptr_t)at_emu_memory_reserve(bytes);
    return *address ? AT_CUDA_SUCCESS : AT_CUDA_ERROR_OUT_OF_MEMORY;
}

at_cu_result cuMemAddressFree(at_cu_address address, size_t bytes)
{
    (void)bytes;
    return at_emu_memory_unreserve(pointer_to(address)) ? AT_CUDA_SUCCESS
                                                        : AT_CUDA_ERROR_INVALID_VALUE;
}

/* Memory without an address is a number of bytes. */
at_cu_result cuMemCreate(at_cu_memory *memory, size_t bytes, const at_cu_allocation *what,
                         unsigned long long flags)
{
    (void)what, (void)flags;
    *memory = bytes;
    return AT_CUDA_SUCCESS;
}

at_cu_result cuMemRelease(at_cu_memory memory)
{
    (void)memory;
    return AT_CUDA_SUCCESS;
}

at_cu_result cuMemMap(at_cu_address address, size_t bytes, size_t offset, at_cu_memory memory,
                      unsigned long long flags)
{
    (void)offset, (void)flags;
    return memory == bytes && at_emu_memory_map(pointer_to(address), bytes)
               ? AT_CUDA_SUCCESS
               : AT_CUDA_ERROR_INVALID_VALUE;
}

at_cu_result cuMemUnmap(at_cu_address address, size_t bytes)
{
    return at_emu_memory_unmap(pointer_to(address), bytes) ? AT_CUDA_SUCCESS
                                                           : AT_CUDA_ERROR_INVALID_VALUE;
}

at_cu_result cuMemSetAccess(at_cu_address address, size_t bytes, const at_cu_access *access,
                            size_t count)
{
    bool live = false;
    (void)access, (void)count;
    return at_emu_memory_covers(pointer_to(address), bytes, &live) && live
               ? AT_CUDA_SUCCESS
               : AT_CUDA_ERROR_INVALID_VALUE;
}

/* --- streams, events, captures ---------------------------------------------------------------- */

at_cu_result cuStreamCreate(at_cu_stream *stream, unsigned flags)
{
    return result_of(cudaStreamCreateWithFlags((cudaStream_t *)stream, flags));
}

at_cu_result cuStreamDestroy_v2(at_cu_stream stream)
{
    return result_of(cudaStreamDestroy(stream));
}

at_cu_result cuStreamSynchronize(at_cu_stream stream)
{
    return result_of(cudaStreamSynchronize(stream));
}

at_cu_result cuStreamWaitEvent(at_cu_stream stream, at_cu_event event, unsigned flags)
{
    return result_of(cudaStreamWaitEvent(stream, event, flags));
}

at_cu_result cuEventCreate(at_cu_event *event, unsigned flags)
{
    return result_of(cudaEventCreateWithFlags((cudaEvent_t *)event, flags));
}

at_cu_result cuEventDestroy_v2(at_cu_event event)
{
    return result_of(cudaEventDestroy(event));
}

at_cu_result cuEventRecord(at_cu_event event, at_cu_stream stream)
{
    return result_of(cudaEventRecord(event, stream));
}

at_cu_result cuEventSynchronize(at_cu_event event)
{
    return result_of(cudaEventSynchronize(event));
}

at_cu_result cuEventElapsedTime(float *ms, at_cu_event from, at_cu_event to)
{
    return result_of(cudaEventElapsedTime(ms, from, to));
}

at_cu_result cuStreamBeginCapture_v2(at_cu_stream stream, at_cu_capture mode)
{
    return result_of(cudaStreamBeginCapture(stream, (enum cudaStreamCaptureMode)mode));
}

at_cu_result cuStreamEndCapture(at_cu_stream stream, at_cu_graph *graph)
{
    return result_of(cudaStreamEndCapture(stream, (cudaGraph_t *)graph));
}

at_cu_result cuGraphInstantiateWithFlags(at_cu_exec *exec, at_cu_graph graph,
                                         unsigned long long flags)
{
    return result_of(cudaGraphInstantiate((cudaGraphExec_t *)exec, graph, flags));
}

at_cu_result cuGraphDestroy(at_cu_graph graph)
{
    return result_of(cudaGraphDestroy(graph));
}

at_cu_result cuGraphLaunch(at_cu_exec exec, at_cu_stream stream)
{
    return result_of(cudaGraphLaunch(exec, stream));
}

at_cu_result cuGraphExecDestroy(at_cu_exec exec)
{
    return result_of(cudaGraphExecDestroy(exec));
}
