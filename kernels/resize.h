/* resize.h -- which elements of a line make each element of the resized line, and with what
 * weights.
 *
 * Made when a call is prepared, freed with it; resize.c makes it, the variants read it from any
 * thread. */
#ifndef AT_KERNELS_RESIZE_H
#define AT_KERNELS_RESIZE_H

#include "kernels/ops.h"

enum {
    /* Weights of bytes are integers with so many fractional bits. */
    AT_RESIZE_BITS = 22,
    /* Rows that a vector variant resizes side by side, at most. */
    AT_RESIZE_LANES = 16,
};

/* One axis: element o is the sum over t < count[o] of weight[o * taps + t] * x[first[o] + t]. */
typedef struct at_resize_axis {
    int64_t in, out, taps;
    int32_t *first, *count; /* (out) */
    double *weight;         /* (out, taps) */
    float *narrow;          /* (out, taps) the same in f32 */
    int32_t *fixed;         /* (out, taps) the same as integers, for bytes */
} at_resize_axis;

typedef struct at_resize_plan {
    at_resize_axis axis[2]; /* vertical, horizontal */
    bool vertical_first;
    size_t middle_bytes, worker_bytes; /* of scratch: between the passes, for each worker */
} at_resize_plan;

#endif
