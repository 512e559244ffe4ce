/* permute.h -- how an order of axes walks through memory: what permute's variants share. */
#ifndef AT_KERNELS_PERMUTE_H
#define AT_KERNELS_PERMUTE_H

#include "kernels/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

/* For each axis of y: its size and how far apart its elements lie in x; padded in front to four
 * axes. */
typedef struct at_permute_walk {
    int64_t size[AT_RANK_MAX], stride[AT_RANK_MAX];
    size_t bytes; /* of an element */
    char *y;
    const char *x;
} at_permute_walk;

/* Axes of one element are left out, and those that are neighbours in x and in y are one. */
at_permute_walk at_permute_walk_of(const at_permute_args *a);

#ifdef __cplusplus
}
#endif
#endif
