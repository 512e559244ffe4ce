/* device.h -- the narrow contract between plans and a processor with its memory.
 *
 * Device memory belongs to the device: the host may not touch it, only copy to and from it. Work is
 * enqueued on a stream and is done when at_device_wait() has returned. One thread drives a device
 * at a time. Addresses never move: an arena is a reserved range that is mapped as it grows, so that
 * plans which never overlap can share it and captured work stays valid. */
#ifndef AT_ENGINE_DEVICE_H
#define AT_ENGINE_DEVICE_H

#include "kernels/op.h"

typedef struct at_device at_device;

enum { AT_DEVICE_NAME_MAX = 128 };

/* Where a node's work is enqueued: what is on one lane runs in order, lanes run side by side and
 * wait for each other where it is said. */
typedef enum at_lane {
    AT_LANE_COMPUTE,    /* the device's own stream; begins and ends every run */
    AT_LANE_COPY,       /* moves of data that computing need not wait for */
    AT_LANE_COLLECTIVE, /* what several devices do together */
    AT_LANE_COUNT
} at_lane;

typedef struct at_device_options {
    const char *isa; /* cpu: use nothing beyond this instruction set; NULL: all there is */
    int threads;     /* cpu: 0 = one per physical core */
    int index;       /* cuda: which of the devices that the driver shows */
    /* cuda: where its libraries may lie besides the system's places (engine/cuda_libraries.h). */
    const char *const *library_folders;
    /* cuda: whether a kernel may be launched before the one before it has ended, which devices of
     * compute capability 9.0 can: "yes" or NULL where it can, "no" never, to see what it brings. */
    const char *early;
} at_device_options;

typedef struct at_device_api {
    const char *name;      /* "cpu", "cuda" */
    bool uses_host_memory; /* its ops may read what the host has mapped, where it lies */
    /* The region that scratch of its calls is taken from, alive with every plan; 0: each call has
     * scratch of its own size. */
    size_t workspace_bytes;
    at_status (*open)(at_device *d, const at_device_options *options, at_error *err);
    void (*close)(at_device *d);
    /* 64-byte aligned; NULL when there is none left. */
    void *(*alloc)(at_device *d, size_t bytes);
    void (*clear)(at_device *d, void *memory, size_t bytes); /* NULL: what is fresh is zero */
    void (*free)(at_device *d, void *memory, size_t bytes);
    /* A range of addresses without memory; map() backs its first 'bytes'. */
    void *(*reserve)(at_device *d, size_t bytes);
    bool (*map)(at_device *d, void *range, size_t mapped, size_t bytes);
    void (*unreserve)(at_device *d, void *range, size_t bytes);
    void (*upload)(at_device *d, void *to, const void *from_host, size_t bytes);
    void (*download)(at_device *d, void *to_host, const void *from, size_t bytes);
    void (*wait)(at_device *d);
    size_t (*memory_free)(at_device *d); /* bytes that could be allocated now */
    /* Around the launches of a run: makes the device the calling thread's own; NULL: nothing to
     * do. */
    void (*enter)(at_device *d);
    void (*leave)(at_device *d);
    /* Capture of a plan's launches and their replay; NULL where launches cost nothing. */
    at_status (*capture_begin)(at_device *d, at_error *err);
    at_status (*capture_end)(at_device *d, void **captured, at_error *err);
    at_status (*replay)(at_device *d, void *captured, at_error *err);
    void (*capture_free)(at_device *d, void *captured);
    /* Lanes; NULL where all are one, and work is done in the order of nodes. A mark stands behind
     * what was enqueued on a lane when it was set; another lane's next work waits for it. */
    at_status (*lane_stream)(at_device *d, at_lane lane, at_stream *stream, at_error *err);
    at_status (*mark_new)(at_device *d, void **mark, at_error *err);
    void (*mark_free)(at_device *d, void *mark);
    at_status (*mark_set)(at_device *d, at_lane lane, void *mark, at_error *err);
    at_status (*mark_await)(at_device *d, at_lane lane, void *mark, at_error *err);
    /* The first failure since it was asked last of the functions above that return none, and of
     * work that was enqueued: AT_OK if there was none. NULL: they cannot fail. */
    at_status (*check)(at_device *d, at_error *err);
    /* Within the device's memory, on the stream. */
    void (*copy)(at_device *d, void *to, const void *from, size_t bytes);
    /* Moments on the stream (engine/timing.h); all NULL where work is done when a call returns.
     * new: NULL if none can be made. seconds: between two that are marked; waits for 'to'. */
    void *(*moment_new)(at_device *d);
    void (*moment_free)(at_device *d, void *moment);
    void (*moment_mark)(at_device *d, void *moment);
    double (*moment_seconds)(at_device *d, void *from, void *to);
    /* Keeps the stream busy for about that long, so that the host gets ahead of it; NULL: it need
     * not. */
    void (*hold)(at_device *d, double seconds);
} at_device_api;

struct at_device {
    const at_device_api *api;
    at_caps caps;
    at_stream stream;
    size_t bytes_in_use, bytes_high; /* of alloc() and map() */
    void *range;                     /* the shared arena */
    size_t range_bytes, range_mapped;
    void *own; /* the implementation's */
    /* What a GPU says of itself; empty and zero elsewhere. */
    char processor[AT_DEVICE_NAME_MAX]; /* "NVIDIA H200" */
    size_t memory_bytes, cache_bytes;   /* in all; of its L2 */
    int multiprocessors;
};

/* "cpu", "cuda"; a device that is named and is not there is an error, never replaced by another. */
AT_API at_status at_device_open(at_device **out, const char *name, const at_device_options *options,
                                at_error *err);
/* The best that is here: cuda if this build has kernels for it and it opens, else the cpu, and then
 * 'why' tells in a sentence why not cuda (empty where this build could not use it anyway). */
AT_API at_status at_device_open_best(at_device **out, const at_device_options *options,
                                     at_error *why, at_error *err);
/* For devices made elsewhere, such as a test's. */
at_status at_device_open_api(at_device **out, const at_device_api *api,
                             const at_device_options *options, at_error *err);
AT_API void at_device_close(at_device *d);

void *at_device_alloc(at_device *d, size_t bytes);
/* The same, all zero. */
void *at_device_alloc_zeroed(at_device *d, size_t bytes);
void at_device_free(at_device *d, void *memory, size_t bytes);
/* Makes the shared arena at least 'bytes' large; its address stays. */
at_status at_device_arena(at_device *d, size_t bytes, void **arena, at_error *err);
void at_device_upload(at_device *d, void *to, const void *from_host, size_t bytes);
void at_device_download(at_device *d, void *to_host, const void *from, size_t bytes);
void at_device_copy(at_device *d, void *to, const void *from, size_t bytes);
void at_device_wait(at_device *d);
void at_device_enter(at_device *d);
void at_device_leave(at_device *d);
void at_device_hold(at_device *d, double seconds);
size_t at_device_memory_free(at_device *d);
/* After a wait or a download: whether what was done since the last check has come to its end. */
at_status at_device_check(at_device *d, at_error *err);

extern const at_device_api at_device_cpu, at_device_cuda;

#endif
