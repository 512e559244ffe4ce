/* cuda_driver.h -- the NVIDIA driver's library, opened at run time.
 *
 * No header of CUDA is needed to build, and no library to start: the few types, constants and
 * functions that we use are declared here and in cuda_driver.def, and a test holds them against the
 * real header where there is one. The caller owns the table, which needs no closing: the driver's
 * library keeps threads and stays in the process once it is in. Any thread may call the functions
 * of an open table, each in the context that is current to it. */
#ifndef AT_ENGINE_CUDA_DRIVER_H
#define AT_ENGINE_CUDA_DRIVER_H

#include "kernels/base.h"

typedef int at_cu_result; /* AT_CUDA_SUCCESS, AT_CUDA_ERROR_... */
typedef int at_cu_device;
typedef int at_cu_attribute, at_cu_capture, at_cu_granularity;
typedef unsigned long long at_cu_address, at_cu_memory;
typedef void *at_cu_context, *at_cu_stream, *at_cu_event, *at_cu_graph, *at_cu_exec;

typedef struct at_cu_location {
    int type, id;
} at_cu_location;

/* Physical memory as cuMemCreate() is asked for it. */
typedef struct at_cu_allocation {
    int type, handle_types;
    at_cu_location location;
    void *windows_only;
    unsigned char flags[8]; /* compression, RDMA, use: nothing of it */
} at_cu_allocation;

typedef struct at_cu_access {
    at_cu_location location;
    int flags;
} at_cu_access;

enum {
#define AT_CUDA_VALUE(NAME, value) AT_##NAME = (value),
#define AT_CUDA_CALL(name, base, suffix, args)
#include "engine/cuda_driver.def"
#undef AT_CUDA_CALL
#undef AT_CUDA_VALUE
};

/* The first driver whose graphs and Hopper support are those that we build for. */
enum { AT_CUDA_DRIVER_VERSION_MIN = 12000 };

typedef struct at_cuda_driver {
    int version; /* the newest CUDA that it serves: 13000 for 13.0 */
#define AT_CUDA_VALUE(NAME, value)
#define AT_CUDA_CALL(name, base, suffix, args) at_cu_result(*name) args;
#include "engine/cuda_driver.def"
#undef AT_CUDA_CALL
#undef AT_CUDA_VALUE
} at_cuda_driver;

/* Opens and initialises it. 'library' is its file; NULL: libcuda.so.1, where the system looks. The
 * sentence of a failure says whether the library is missing, too old, or has no device. */
at_status at_cuda_driver_open(at_cuda_driver *out, const char *library, at_error *err);

/* AT_OK for AT_CUDA_SUCCESS; else 'err' tells what was being done and what the driver said. */
at_status at_cuda_check(const at_cuda_driver *driver, at_cu_result result, at_error *err,
                        const char *doing, ...) AT_PRINTF(4, 5);

#endif
