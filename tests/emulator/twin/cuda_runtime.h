/* cuda_runtime.h -- the part of CUDA's runtime that the project uses, where the device is emulated.
 *
 * It stands before any toolkit's header in the include path of an emulated build, so that there is
 * one path whether a toolkit is installed or not. Names and values are CUDA's. Calls are
 * synchronous and come from one thread; tests/emulator/runtime.c has them. */
#ifndef AT_TESTS_EMULATOR_TWIN_CUDA_RUNTIME_H
#define AT_TESTS_EMULATOR_TWIN_CUDA_RUNTIME_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n)    __attribute__((aligned(n)))
#define __launch_bounds__(...)
#define __grid_constant__

/* --- vector types ----------------------------------------------------------------------------- */

#define AT_EMU_VECTORS(type, base, align2, align4)                       \
    typedef struct base##1                                               \
    {                                                                    \
        type x;                                                          \
    }                                                                    \
    base##1;                                                             \
    typedef struct __align__(align2) base##2                             \
    {                                                                    \
        type x, y;                                                       \
    }                                                                    \
    base##2;                                                             \
    typedef struct base##3                                               \
    {                                                                    \
        type x, y, z;                                                    \
    }                                                                    \
    base##3;                                                             \
    typedef struct __align__(align4) base##4                             \
    {                                                                    \
        type x, y, z, w;                                                 \
    }                                                                    \
    base##4;                                                             \
    static inline base##2 make_##base##2(type x, type y)                 \
    {                                                                    \
        base##2 v = { x, y };                                            \
        return v;                                                        \
    }                                                                    \
    static inline base##3 make_##base##3(type x, type y, type z)         \
    {                                                                    \
        base##3 v = { x, y, z };                                         \
        return v;                                                        \
    }                                                                    \
    static inline base##4 make_##base##4(type x, type y, type z, type w) \
    {                                                                    \
        base##4 v = { x, y, z, w };                                      \
        return v;                                                        \
    }
AT_EMU_VECTORS(signed char, char, 2, 4)
AT_EMU_VECTORS(unsigned char, uchar, 2, 4)
AT_EMU_VECTORS(short, short, 4, 8)
AT_EMU_VECTORS(unsigned short, ushort, 4, 8)
AT_EMU_VECTORS(int, int, 8, 16)
AT_EMU_VECTORS(unsigned, uint, 8, 16)
AT_EMU_VECTORS(long long, longlong, 16, 16)
AT_EMU_VECTORS(unsigned long long, ulonglong, 16, 16)
AT_EMU_VECTORS(float, float, 8, 16)
AT_EMU_VECTORS(double, double, 16, 16)

typedef struct dim3 {
    unsigned x, y, z;
#ifdef __cplusplus
    constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c)
    {
    }
#endif
} dim3;

#ifdef __cplusplus
extern "C" {
#endif

/* --- errors ----------------------------------------------------------------------------------- */

typedef enum cudaError {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorInvalidResourceHandle = 400,
    cudaErrorNotReady = 600,
    cudaErrorLaunchFailure = 719,
    cudaErrorStreamCaptureUnsupported = 900,
    cudaErrorStreamCaptureUnjoined = 904,
    cudaErrorUnknown = 999,
} cudaError_t;

/* For a failed launch the emulator's sentence: what, where, which kernel, block and thread. */
const char *cudaGetErrorString(cudaError_t error);
const char *cudaGetErrorName(cudaError_t error);
cudaError_t cudaGetLastError(void);
cudaError_t cudaPeekAtLastError(void);

/* --- the device ------------------------------------------------------------------------------- */

typedef struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem, sharedMemPerBlock, sharedMemPerBlockOptin, sharedMemPerMultiprocessor;
    int regsPerBlock, warpSize, maxThreadsPerBlock, maxThreadsDim[3], maxGridSize[3];
    int major, minor, multiProcessorCount, maxThreadsPerMultiProcessor, l2CacheSize;
    int memoryBusWidth, concurrentKernels, asyncEngineCount, unifiedAddressing, ECCEnabled;
    int pciBusID, pciDeviceID, pciDomainID;
} cudaDeviceProp;

enum cudaDeviceAttr {
    cudaDevAttrMaxThreadsPerBlock = 1,
    cudaDevAttrMaxSharedMemoryPerBlock = 8,
    cudaDevAttrWarpSize = 10,
    cudaDevAttrMultiProcessorCount = 16,
    cudaDevAttrMaxThreadsPerMultiProcessor = 39,
    cudaDevAttrComputeCapabilityMajor = 75,
    cudaDevAttrComputeCapabilityMinor = 76,
    cudaDevAttrMaxSharedMemoryPerMultiprocessor = 81,
    cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
};

cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int *device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *prop, int device);
cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attr, int device);
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes);
cudaError_t cudaDeviceSynchronize(void);
cudaError_t cudaDeviceReset(void);

/* --- memory ----------------------------------------------------------------------------------- */

enum cudaMemcpyKind {
    cudaMemcpyHostToHost,
    cudaMemcpyHostToDevice,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice,
    cudaMemcpyDefault,
};

typedef struct CUstream_st *cudaStream_t;
typedef struct CUevent_st *cudaEvent_t;

cudaError_t cudaMalloc(void **p, size_t bytes);
cudaError_t cudaFree(void *p);
cudaError_t cudaMallocHost(void **p, size_t bytes);
cudaError_t cudaFreeHost(void *p);
cudaError_t cudaMemcpy(void *dst, const void *src, size_t bytes, enum cudaMemcpyKind kind);
cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemset(void *dst, int value, size_t bytes);
cudaError_t cudaMemsetAsync(void *dst, int value, size_t bytes, cudaStream_t stream);

/* --- streams, events, graphs ------------------------------------------------------------------ */

enum { cudaStreamDefault = 0, cudaStreamNonBlocking = 1 };
enum { cudaEventDefault = 0, cudaEventDisableTiming = 2 };
enum cudaStreamCaptureMode {
    cudaStreamCaptureModeGlobal,
    cudaStreamCaptureModeThreadLocal,
    cudaStreamCaptureModeRelaxed,
};
typedef struct CUgraph_st *cudaGraph_t;
typedef struct CUgraphExec_st *cudaGraphExec_t;

cudaError_t cudaStreamCreate(cudaStream_t *stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaEventCreate(cudaEvent_t *event);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph,
                                 unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);

/* --- functions -------------------------------------------------------------------------------- */

enum cudaFuncAttribute {
    cudaFuncAttributeMaxDynamicSharedMemorySize = 8,
    cudaFuncAttributePreferredSharedMemoryCarveout = 9,
};
typedef struct cudaFuncAttributes {
    int maxDynamicSharedSizeBytes;
} cudaFuncAttributes;
cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *attr, const void *function);
cudaError_t cudaFuncSetAttribute(const void *function, enum cudaFuncAttribute attr, int value);

#ifdef __cplusplus
}

template <class T>
cudaError_t cudaFuncSetAttribute(T *function, enum cudaFuncAttribute attr, int value)
{
    return cudaFuncSetAttribute(reinterpret_cast<const void *>(function), attr, value);
}

template <class T>
cudaError_t cudaMalloc(T **p, size_t bytes)
{
    return cudaMalloc(reinterpret_cast<void **>(p), bytes);
}

#include "tests/emulator/builtins.h"
#endif
#endif
