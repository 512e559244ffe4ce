/* machine.h -- what the machine can reach, by measuring it: the peaks that shares are taken of. */
#ifndef AT_ENGINE_MACHINE_H
#define AT_ENGINE_MACHINE_H

#include "engine/device.h"

enum { AT_MACHINE_NAME_MAX = AT_DEVICE_NAME_MAX, AT_MACHINE_SIZES = 6 };

/* Bytes per second where 'bytes' in all are touched again and again. A copy counts what it reads
 * and what it writes; a streaming copy writes past the caches. */
typedef struct at_bandwidth {
    size_t bytes;
    double read, copy, streaming_copy;
    double
        driver_copy; /* a GPU's, by its driver; 'copy' is by a kernel, the others are not taken */
} at_bandwidth;

typedef struct at_machine {
    char name[AT_MACHINE_NAME_MAX]; /* of the processor */
    int cores, threads;             /* cores that this process may use; threads of the device */
    size_t memory_bytes;
    double f32_flops, bf16_flops; /* per second, all threads; 0: no instructions for it */
    at_bandwidth bandwidth[AT_MACHINE_SIZES]; /* smallest first; the last is beyond any cache */
    int n_bandwidth;
    /* Only of a GPU: its memory is memory_bytes. */
    int multiprocessors; /* 0: it is no GPU */
    size_t cache_bytes;  /* of its L2 */
    double f16_flops, f8_flops;
    double launch_seconds;  /* of an empty kernel in a captured run */
    double early_seconds;   /* of one that is launched early; 0: none is on this device */
    double enqueue_seconds; /* of the host's, for a replay of AT_MACHINE_LAUNCHES of them */
} at_machine;

/* Empty kernels in the captured run that launches are measured by. */
enum { AT_MACHINE_LAUNCHES = 1000 };

/* The processor's own name. */
AT_API void at_machine_name(char *name, size_t name_size);
/* What can be known without measuring: name, cores, threads, memory. */
AT_API void at_machine_look(const at_device *d, at_machine *out);
/* The rest too, with all that the processor has, whatever the device is limited to; bandwidths up
 * to a working set of 'bytes' (0: beyond any cache, which takes half a gigabyte of the device's
 * shared arena and two seconds; up to 32 MB it is half a second). A GPU's are measured up to 2 GiB
 * in any case, as far as half of its free memory reaches; its bf16, f16 and f8 are those of a
 * product of 8192 x 8192 x 8192 by the best variant. */
AT_API at_status at_machine_measure(at_device *d, double bytes, at_machine *out, at_error *err);

/* How much a GPU is given to do. */
typedef struct at_gpu_work {
    size_t bytes[AT_MACHINE_SIZES]; /* working sets of copies, multiples of 32; 0 ends them */
    int64_t product;                /* rows, columns and depth */
    int64_t rounds;                 /* of multiply-adds in a thread */
    int threads;                    /* of a block of them; 0: many */
    int launches;                   /* of empty kernels in a run */
    double seconds;                 /* for each figure */
} at_gpu_work;

/* at_machine_measure() for a GPU, which may be an emulated one that can do but little. */
AT_API at_status at_machine_measure_gpu(at_device *d, const at_gpu_work *work, at_machine *out,
                                        at_error *err);

/* Bytes per second that an op which touches 'bytes' in all can reach: the best of reading and
 * copying as many. In a cache that is more than memory gives, so an op is never praised for fitting
 * into one. 0: not measured. */
AT_API double at_machine_bandwidth(const at_machine *m, double bytes);
/* Seconds that this cost takes at the machine's peaks: the larger of its FLOPs and its bytes. */
AT_API double at_machine_roofline(const at_machine *m, at_cost cost, at_dtype dtype);
/* The same where 'bytes' are touched before the same ones are touched again: operands in turn. */
AT_API double at_machine_roofline_over(const at_machine *m, at_cost cost, at_dtype dtype,
                                       double bytes);
/* The type that an op with these args computes in: that of its first floating input whose type the
 * op leaves open, else f32. */
AT_API at_dtype at_machine_dtype_of(const at_op *op, const void *args);

/* The type that computes fastest here: bf16 where its dot products beat f32's. */
AT_API at_dtype at_device_default_dtype(const at_device *d);
/* How much faster than f32 bf16 dot products must be measured to make it the default: what is left
 * of less is eaten up by converting at the borders. */
#define AT_BF16_WORTH 1.25
/* bf16's FLOP/s by f32's on one thread, with these capabilities; 0: no instructions for it. Takes a
 * millisecond. */
AT_API double at_machine_bf16_ratio(uint32_t has);
/* AT_CAP_MASK(BF16_FAST) if dot products, not counting tiles, are that much ahead. */
uint32_t at_machine_fast_types(uint32_t has);

#endif
