/* view.h -- a tensor as a kernel sees it: an address, sizes and a row pitch. It owns nothing.
 *
 * Layout is row-major with the last axis contiguous. All axes but the last lie densely above rows
 * that are 'pitch' elements apart, so a slice of the last axis is a view of its parent and costs
 * nothing: row r starts at data + r * pitch. Pictures are (B, H, W, C), tokens (B, L, C). */
#ifndef AT_KERNELS_VIEW_H
#define AT_KERNELS_VIEW_H

#include "kernels/base.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { AT_RANK_MAX = 4 };

typedef struct at_view {
    void *data;                /* NULL while shapes are only being discussed */
    int64_t size[AT_RANK_MAX]; /* outermost first; unused entries are 0 */
    int64_t pitch;             /* elements from one row to the next, >= the last size */
    int32_t rank;              /* 0: this operand is absent */
    at_dtype dtype;
    int32_t tag; /* for whoever made the view: a graph keeps its tensor's number here */
} at_view;

static inline bool at_has(const at_view *v)
{
    return v->rank > 0;
}

/* The last size: elements of a row. */
static inline int64_t at_cols(const at_view *v)
{
    return v->rank > 0 ? v->size[v->rank - 1] : 0;
}

/* The product of all sizes but the last. */
static inline int64_t at_rows(const at_view *v)
{
    int64_t n = v->rank > 0;
    for (int i = 0; i + 1 < v->rank; i++)
        n *= v->size[i];
    return n;
}

static inline int64_t at_elements(const at_view *v)
{
    return at_rows(v) * at_cols(v);
}

static inline bool at_dense(const at_view *v)
{
    return v->pitch == at_cols(v) || at_rows(v) <= 1;
}

/* Bytes from the first element to the end of the last row. */
size_t at_view_bytes(const at_view *v);

/* A dense view without an address: at_view_of(AT_F32, 4, (int64_t[]){B, H, W, C}). */
at_view at_view_of(at_dtype dtype, int rank, const int64_t *size);

bool at_same_shape(const at_view *a, const at_view *b);

/* Address of row r. */
static inline void *at_row(const at_view *v, int64_t r)
{
    return (char *)v->data + (size_t)(r * v->pitch) * at_dtype_bytes(v->dtype);
}

/* Element (row r, column c) as a double, for references. */
static inline double at_get(const at_view *v, int64_t r, int64_t c)
{
    return at_load(v->data, r * v->pitch + c, v->dtype);
}

static inline void at_set(const at_view *v, int64_t r, int64_t c, double value)
{
    at_store(v->data, r * v->pitch + c, v->dtype, value);
}

#ifdef __cplusplus
}
#endif
#endif
