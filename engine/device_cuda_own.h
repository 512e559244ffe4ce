/* device_cuda_own.h -- what the files of the device "cuda" share: its state, and the few steps that
 * every call begins and ends with. */
#ifndef AT_ENGINE_DEVICE_CUDA_OWN_H
#define AT_ENGINE_DEVICE_CUDA_OWN_H

#include "engine/cuda_driver.h"
#include "engine/device_cuda.h"
#include "kernels/cublaslt.h"
#include "kernels/cudnn.h"

enum { AT_CUDA_WINDOWS = 2 };

typedef struct at_cuda_window {
    void *host;       /* AT_CUDA_WINDOW_BYTES, pinned */
    at_cu_event done; /* the device is through with all that was copied by it */
    size_t used;      /* bytes that it may still be busy with */
} at_cuda_window;

/* A reserved range of addresses; its first 'mapped' bytes have memory. */
typedef struct at_cuda_range {
    struct at_cuda_range *next;
    at_cu_address base;
    size_t bytes, mapped; /* multiples of the granularity */
} at_cuda_range;

typedef struct at_cuda {
    at_cuda_driver driver;
    at_cu_device device;
    at_cu_context context;
    at_cu_stream stream;
    at_cu_stream lanes[AT_LANE_COUNT]; /* beside it; NULL until asked for */
    at_cuda_window windows[AT_CUDA_WINDOWS];
    int current;        /* the window that uploads are put into */
    size_t granularity; /* of mapped memory */
    at_cuda_range *ranges;
    int depth; /* of enter() */
    at_error failed;
    at_cublaslt cublaslt; /* without a handle: not there, 'no_cublaslt' says why */
    at_cudnn cudnn;
    at_error no_cublaslt, no_cudnn;
} at_cuda;

/* For functions that return no status. */
static inline bool at_cuda_good(at_cuda *c, at_cu_result result, const char *doing)
{
    at_error err;
    if (at_cuda_check(&c->driver, result, &err, "%s", doing) == AT_OK)
        return true;
    if (c->failed.status == AT_OK)
        c->failed = err;
    return false;
}

/* The same for memory, of which there may be none left: that is the caller's to say. */
static inline bool at_cuda_granted(at_cuda *c, at_cu_result result, const char *doing)
{
    return result != AT_CUDA_ERROR_OUT_OF_MEMORY && at_cuda_good(c, result, doing);
}

static inline bool at_cuda_push(at_cuda *c)
{
    return at_cuda_good(c, c->driver.context_push(c->context), "making the device current");
}

static inline void at_cuda_pop(at_cuda *c)
{
    at_cu_context ours;
    at_cuda_good(c, c->driver.context_pop(&ours), "restoring what was current");
}

static inline at_cu_allocation at_cuda_allocation_of(const at_cuda *c)
{
    return (at_cu_allocation){ .type = AT_CU_MEM_ALLOCATION_TYPE_PINNED,
                               .location = { AT_CU_MEM_LOCATION_TYPE_DEVICE, c->device } };
}

/* Its memory and the copies to and from it, as at_device_api asks for them
 * (device_cuda_memory.c). */
void *at_cuda_alloc(at_device *d, size_t bytes);
void at_cuda_clear(at_device *d, void *memory, size_t bytes);
void at_cuda_free(at_device *d, void *memory, size_t bytes);
void *at_cuda_reserve(at_device *d, size_t bytes);
bool at_cuda_map(at_device *d, void *base, size_t mapped, size_t bytes);
void at_cuda_unreserve(at_device *d, void *base, size_t bytes);
size_t at_cuda_memory_free(at_device *d);
void at_cuda_upload(at_device *d, void *to, const void *from_host, size_t bytes);
void at_cuda_download(at_device *d, void *to_host, const void *from, size_t bytes);
void at_cuda_copy(at_device *d, void *to, const void *from, size_t bytes);
void at_cuda_wait(at_device *d);

#endif
