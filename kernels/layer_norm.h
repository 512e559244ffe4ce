/* layer_norm.h -- how the fast variants of layer_norm cut rows into parts, and where their numbers
 * lie in scratch: gamma and beta as f32, then a place for every part. */
#ifndef AT_KERNELS_LAYER_NORM_H
#define AT_KERNELS_LAYER_NORM_H

#include "kernels/ops.h"

typedef struct at_layer_norm_places {
    int64_t stride;           /* of an array of columns: room for a vector beyond its end */
    int64_t part, parts;      /* rows of a part, and how many parts */
    size_t at_parts, of_part; /* where the parts' places begin, and the bytes of one */
    size_t end;
} at_layer_norm_places;

/* A part's place holds its largest |y|, or in the gradient two f64 and two f32 sums per column. */
static inline at_layer_norm_places at_layer_norm_places_of(const at_view *x, bool backward)
{
    enum { PARTS_MAX = 64, PART_BYTES = 64 << 10, LINE = 64, VECTOR = 16 };
    int64_t rows = at_rows(x), cols = at_cols(x);
    int64_t least = PART_BYTES / (cols * (int64_t)sizeof(float));
    int64_t part = (rows + PARTS_MAX - 1) / PARTS_MAX;
    at_layer_norm_places p = { (cols + VECTOR - 1) / VECTOR * VECTOR + VECTOR, 0, 0, 0, LINE, 0 };
    p.part = part > least ? part : least > 0 ? least : 1;
    p.parts = (rows + p.part - 1) / p.part;
    p.at_parts = 2 * sizeof(float) * (size_t)p.stride;
    if (backward)
        p.of_part = 2 * (sizeof(double) + sizeof(float)) * (size_t)p.stride;
    p.end = p.at_parts + (size_t)p.parts * p.of_part;
    return p;
}

/* The gradient by gamma and beta on CUDA: rows are cut into this many parts, whose sums of columns,
 * f32 (2, parts, cols), lie in scratch. */
static inline int64_t at_layer_norm_cuda_parts(const at_view *x)
{
    enum { PARTS_MAX = 64, ROWS_MIN = 32 };
    int64_t parts = (at_rows(x) + ROWS_MIN - 1) / ROWS_MIN;
    return parts < PARTS_MAX ? parts : (int64_t)PARTS_MAX;
}

#endif
