/* cuda_header.c -- our declarations of the driver against the real ones. It is compiled where
 * CUDA's toolkit is, and it either compiles or tells the row that is wrong. */
#include <cuda.h>
#include <stddef.h>

#include "engine/cuda_driver.h"

#define TEXT_OF(x) #x
#define TEXT(x)    TEXT_OF(x)

_Static_assert(sizeof(at_cu_allocation) == sizeof(CUmemAllocationProp), "at_cu_allocation");
_Static_assert(sizeof(at_cu_location) == sizeof(CUmemLocation), "at_cu_location");
_Static_assert(sizeof(at_cu_access) == sizeof(CUmemAccessDesc), "at_cu_access");
_Static_assert(offsetof(at_cu_location, id) == offsetof(CUmemLocation, id), "location.id");
_Static_assert(offsetof(at_cu_allocation, location) == offsetof(CUmemAllocationProp, location) &&
                   offsetof(at_cu_allocation, handle_types) ==
                       offsetof(CUmemAllocationProp, requestedHandleTypes) &&
                   offsetof(at_cu_allocation, windows_only) ==
                       offsetof(CUmemAllocationProp, win32HandleMetaData) &&
                   offsetof(at_cu_allocation, flags) == offsetof(CUmemAllocationProp, allocFlags),
               "at_cu_allocation");
_Static_assert(offsetof(at_cu_access, flags) == offsetof(CUmemAccessDesc, flags), "access.flags");
_Static_assert(sizeof(at_cu_result) == sizeof(CUresult), "at_cu_result");

/* Every driver has the first version, those of CUDA 12.8 and later a second one with the same
 * arguments, which newer headers put in its place: we ask for the first. */
#ifdef cuEventElapsedTime
#undef cuEventElapsedTime
CUresult CUDAAPI cuEventElapsedTime_v2(float *ms, CUevent from, CUevent to);
extern __typeof__(cuEventElapsedTime_v2) cuEventElapsedTime;
#endif

/* The rows once more, with the real types. */
#define at_cu_result      CUresult
#define at_cu_device      CUdevice
#define at_cu_attribute   CUdevice_attribute
#define at_cu_capture     CUstreamCaptureMode
#define at_cu_granularity CUmemAllocationGranularity_flags
#define at_cu_address     CUdeviceptr
#define at_cu_memory      CUmemGenericAllocationHandle
#define at_cu_context     CUcontext
#define at_cu_stream      CUstream
#define at_cu_event       CUevent
#define at_cu_graph       CUgraph
#define at_cu_exec        CUgraphExec
#define at_cu_allocation  CUmemAllocationProp
#define at_cu_access      CUmemAccessDesc

#define AT_CUDA_VALUE(NAME, value) _Static_assert(NAME == (value), #NAME);
#define AT_CUDA_CALL(name, base, suffix, args)                                                    \
    _Static_assert(__builtin_types_compatible_p(__typeof__(base##suffix), CUresult args), #base); \
    _Static_assert(!__builtin_strcmp(TEXT(base), #base #suffix), "another version of " #base);
#include "engine/cuda_driver.def"
