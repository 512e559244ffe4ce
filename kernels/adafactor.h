/* adafactor.h -- how Adafactor's sums over a matrix are cut up. */
#ifndef AT_KERNELS_ADAFACTOR_H
#define AT_KERNELS_ADAFACTOR_H

#include "kernels/ops.h"

enum { AT_ADAFACTOR_PARTS_MAX = 16 };

/* Rows of a part of an (N, K) matrix: at least 8, and at most 16 parts, each with K sums of its
 * own. */
static inline int64_t at_adafactor_rows(int64_t n)
{
    int64_t rows = (n + AT_ADAFACTOR_PARTS_MAX - 1) / AT_ADAFACTOR_PARTS_MAX;
    return rows > 8 ? rows : 8;
}

static inline int64_t at_adafactor_parts(int64_t n)
{
    return (n + at_adafactor_rows(n) - 1) / at_adafactor_rows(n);
}

/* Scratch, in this order: a sum per part, then per part and column; what rows and columns are
 * multiplied with. */
typedef struct at_adafactor_scratch {
    double *part;    /* (parts) */
    float *cols;     /* (parts, K) */
    float *col_root; /* (K): 1 / sqrt(col) */
    float *row_root; /* (N): 1 / sqrt(row / mean of row) */
} at_adafactor_scratch;

static inline size_t at_adafactor_bytes(int64_t n, int64_t k)
{
    int64_t parts = at_adafactor_parts(n);
    return (size_t)parts * sizeof(double) + (size_t)(parts * k + k + n) * sizeof(float);
}

static inline at_adafactor_scratch at_adafactor_split(void *scratch, int64_t n, int64_t k)
{
    int64_t parts = at_adafactor_parts(n);
    at_adafactor_scratch s = { .part = scratch };
    s.cols = (float *)(void *)(s.part + parts);
    s.col_root = s.cols + parts * k;
    s.row_root = s.col_root + k;
    return s;
}

#endif
