/* misuse.h -- kernels that are wrong on purpose, and which build must see each.
 *
 * In misuse.cu the wrong statement carries the comment "planted: NAME", the launch "launched:
 * NAME". A report counts only with the file and line of one of them. */
#ifndef AT_TESTS_EMULATOR_MISUSE_H
#define AT_TESTS_EMULATOR_MISUSE_H

#include "tests/emulator/emulator.h"
#include "tests/emulator/twin/cuda_runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum misuse_sight {
    UNSEEN,
    BY_LINE,   /* the emulator names the planted line */
    BY_RESULT, /* only the result is wrong; the launch is named */
} misuse_sight;

typedef struct misuse {
    const char *name; /* NULL ends the list */
    misuse_sight plain, sanitized, race;
    at_emu_order order;
    at_emu_async async;
    /* Launches; prints a sentence with the place of the launch when the result is wrong. */
    cudaError_t (*run)(const struct misuse *);
} misuse;

extern const misuse misuses[];

/* Complains unless the n floats at y are 'expected'; the place is the launch's. */
void misuse_result(const float *y, const float *expected, int n, const char *file, int line);

#ifdef __cplusplus
}
#endif
#endif
