/* peak_gpu.h -- kernels that do nothing but what a GPU does fastest: its figures are taken of them
 * (engine/machine.h).
 *
 * They enqueue on the stream of the launch and neither allocate nor wait. */
#ifndef AT_KERNELS_PEAK_GPU_H
#define AT_KERNELS_PEAK_GPU_H

#include "kernels/op.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Multiply-adds that a thread does in each round of f32(). */
enum { AT_PEAK_GPU_CHAINS = 8 };

typedef struct at_peak_gpu {
    /* 'bytes' is a multiple of 16, and both addresses are. */
    at_status (*copy)(void *to, const void *from, size_t bytes, const at_launch *l);
    /* 'rounds' times AT_PEAK_GPU_CHAINS multiply-adds on each of blocks * threads. */
    at_status (*f32)(int64_t rounds, int blocks, int threads, const at_launch *l);
    /* One thread, which returns; launched early on a stream that is. */
    at_status (*nothing)(const at_launch *l);
} at_peak_gpu;

/* NULL: this build has no kernels for a GPU. */
const at_peak_gpu *at_peak_gpu_kernels(void);

/* In peak_gpu.cu. */
at_status at_peak_gpu_copy(void *to, const void *from, size_t bytes, const at_launch *l);
at_status at_peak_gpu_f32(int64_t rounds, int blocks, int threads, const at_launch *l);
at_status at_peak_gpu_nothing(const at_launch *l);

#ifdef __cplusplus
}
#endif
#endif
