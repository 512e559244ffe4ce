/* device_cuda.h -- what only the device "cuda" can tell. device.h has everything else. */
#ifndef AT_ENGINE_DEVICE_CUDA_H
#define AT_ENGINE_DEVICE_CUDA_H

#include "engine/device.h"

/* Uploads and downloads pass through two windows of pinned memory of this size each. */
enum { AT_CUDA_WINDOW_BYTES = 4 << 20 };

typedef struct at_cuda_about {
    char name[256]; /* "NVIDIA H100 80GB HBM3" */
    int sm;         /* 90 for compute capability 9.0 */
    int driver_version;
    size_t bytes;       /* of its memory, in all */
    size_t cache_bytes; /* of its L2 */
    int multiprocessors;
    at_error no_cublaslt, no_cudnn; /* why a library is not used; empty where it is */
} at_cuda_about;

/* 'd' was opened as "cuda". */
AT_API at_status at_device_cuda_about(at_device *d, at_cuda_about *out, at_error *err);

/* Files to open instead of the system's, for tests that bring their own. */
typedef struct at_cuda_files {
    const char *driver, *cublaslt, *cudnn; /* NULL: the system's; cublaslt, cudnn: "": none */
} at_cuda_files;

/* at_device_cuda.open with such files. */
at_status at_device_cuda_open(at_device *d, const at_cuda_files *files,
                              const at_device_options *options, at_error *err);

#endif
