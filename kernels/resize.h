/* resize.h -- which elements of a line make each element of the resized line, and with what
 * weights.
 *
 * Made when a call is prepared, freed with it; resize.c makes it, the variants read it from any
 * thread. */
#ifndef AT_KERNELS_RESIZE_H
#define AT_KERNELS_RESIZE_H

#include "kernels/resize_weights.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Rows that a vector variant resizes side by side, at most. */
enum { AT_RESIZE_LANES = 16 };

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

/* --- on a GPU --------------------------------------------------------------------------------- */

/* A GPU makes its own tables, from the same functions. All of them but lanczos's sine give the same
 * bits there. A sine that is three last places off moves a weight of bytes by less than 3e-8 of its
 * unit, so only a weight that lies that near to a half may become another integer. The host finds
 * those, with eight times the margin, and sends what is right: about one weight of 2,000,000. */
typedef struct at_resize_close {
    int64_t place;  /* tap * out + element */
    int32_t axis;   /* 0 vertical, 1 horizontal */
    int32_t weight; /* the integer */
} at_resize_close;

/* Where things lie in scratch, in bytes. A table is first (out), count (out), weights (taps, out),
 * 4 bytes each. */
typedef struct at_resize_cuda_plan {
    size_t table_at[2], middle_at;
    bool vertical_first;
    int64_t closes;
    at_resize_close *close; /* (closes) */
} at_resize_cuda_plan;

at_status at_resize_cuda_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                 at_error *err);
void at_resize_cuda_release(at_prepared *p);

#ifdef __cplusplus
}
#endif
#endif
