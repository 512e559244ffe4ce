/* conformance.h -- small kernels whose results are known: what we believe a CUDA device does.
 *
 * The same sources run on the emulator and, compiled by nvcc, on a GPU. Where the two differ the
 * emulator is wrong, and a case here says so from then on. A case computes its expected result on
 * the host, from the manual's words and not with the emulator's functions. */
#ifndef AT_TESTS_CONFORMANCE_CONFORMANCE_H
#define AT_TESTS_CONFORMANCE_CONFORMANCE_H

#include <cuda_runtime.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct conformance_case {
    const char *name; /* NULL ends a list */
    int sm;           /* the least compute capability: 80, 90 */
    bool (*run)(void);
} conformance_case;

extern const conformance_case conformance_threads[]; /* threads.cu */
extern const conformance_case conformance_tiles[];   /* tiles.cu */
extern const conformance_case conformance_hopper[];  /* hopper_sm90a.cu */

/* --- where it runs: tests/emulator/conformance_schedules.c or device_schedules.c -------------- */

/* Makes schedule i the current one and names it; NULL when there are no more. */
const char *conformance_schedule(int i, uint64_t seed);

/* --- helpers: main.c -------------------------------------------------------------------------- */

/* A complaint and false, so that a case may return it. */
bool conformance_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Device memory with these bytes (NULL: not set); freed after the case. NULL after a complaint. */
void *conformance_upload(const void *host, size_t bytes);
/* Complains about the launch, or about what came back; 'status' is the launch's. */
bool conformance_download(void *host, const void *device, size_t bytes, cudaError_t status);
bool conformance_same_f32(const float *expected, const float *found, int n);
bool conformance_same_u32(const uint32_t *expected, const uint32_t *found, int n);
/* Small integers, exact in bf16, f16 and in sums of a few hundred products. */
int conformance_value(int i);

#ifdef __cplusplus
}
#endif
#endif
