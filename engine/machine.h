/* machine.h -- what the machine can reach, by measuring it: peaks that shares are taken of. */
#ifndef AT_ENGINE_MACHINE_H
#define AT_ENGINE_MACHINE_H

#include "engine/device.h"

enum { AT_MACHINE_NAME_MAX = 96 };

typedef struct at_machine {
    char name[AT_MACHINE_NAME_MAX]; /* of the processor */
    int cores, threads;
    size_t memory_bytes;
    double f32_flops, bf16_flops; /* per second, all threads; bf16 0: no instructions for it */
    double read_bytes, copy_bytes,
        streaming_copy_bytes; /* per second; a copy counts read and write */
} at_machine;

/* The processor's own name. */
AT_API void at_machine_name(char *name, size_t name_size);
/* Takes about half a second, with the device's threads. Only the cpu device. */
AT_API at_status at_machine_measure(at_device *d, at_machine *out, at_error *err);
/* Bytes per second that ops which read and write are compared with. */
AT_API double at_machine_bandwidth(const at_machine *m);
/* Seconds that this cost takes at the machine's peaks: the larger of its FLOPs and its bytes. */
AT_API double at_machine_roofline(const at_machine *m, at_cost cost, at_dtype dtype);
/* The type that computes fastest here: bf16 where its dot products beat f32's. */
AT_API at_dtype at_device_default_dtype(const at_device *d);
/* AT_CAP_MASK(BF16_FAST) if a millisecond of each shows bf16 dot products ahead of f32 products. */
uint32_t at_machine_fast_types(uint32_t has);

#endif
