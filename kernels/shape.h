/* shape.h -- the checks that every op's shape rule makes, each failing with one sentence. */
#ifndef AT_KERNELS_SHAPE_H
#define AT_KERNELS_SHAPE_H

#include "kernels/ops.h"

/* 'v' must have exactly these sizes; an absent view passes. */
at_status at_expect_sizes(const char *op, const char *name, const at_view *v, int rank,
                          const int64_t *size, at_error *err);
at_status at_expect_like(const char *op, const char *name, const at_view *v, const at_view *like,
                         at_error *err);
/* A vector of n elements. */
at_status at_expect_vector(const char *op, const char *name, const at_view *v, int64_t n,
                           at_error *err);
at_status at_expect_rank(const char *op, const char *name, const at_view *v, int low, int high,
                         at_error *err);
at_status at_expect_float(const char *op, const char *name, const at_view *v, at_error *err);
/* f32, or f64 where the computation is in f64. */
at_status at_expect_wide(const char *op, const char *name, const at_view *v, at_error *err);
/* An f8 operand comes with its scale, one or n of them, and nothing else does. */
at_status at_expect_scale(const char *op, const char *name, const at_view *v, const at_view *scale,
                          int64_t n, at_error *err);

/* Returns from a shape rule at the first check that fails. */
#define AT_TRY(call)                   \
    do {                               \
        at_status try_status = (call); \
        if (try_status != AT_OK)       \
            return try_status;         \
    } while (0)

/* A dense view of the sizes in an attribute, which zeros end. */
at_status at_expect_size_attr(const char *op, const int64_t *size, at_dtype dtype, at_view *v,
                              at_error *err);

/* A dense view of the same sizes in another type. */
at_view at_view_like(const at_view *v, at_dtype dtype);
/* The same sizes but the last. */
at_view at_view_with_cols(const at_view *v, int64_t cols);
/* (n) */
at_view at_view_vector(at_dtype dtype, int64_t n);
at_view at_view_matrix(at_dtype dtype, int64_t rows, int64_t cols);

/* The type that a choice of AT_CAST_TYPES names. */
at_dtype at_cast_type(int choice);
/* The type of outputs that are f32, or f64 where the computation is in f64. */
at_dtype at_wide(at_dtype dtype);

#endif
