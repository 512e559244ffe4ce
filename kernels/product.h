/* product.h -- what own products and convolutions share: weights in panels, and what is done to
 * sums before they are stored. Included by *_simd.c files only.
 *
 * A panel is AT_PANEL_WIDTH output columns side by side: panel[k][column], zeros in columns that do
 * not exist, in the weight's own type: 16-bit weights cost no more memory than they had, and a
 * piece of a panel is widened once for all the rows that pass it. The sum of an output is one chain
 * of fused multiply-adds over k, whatever rows and panels it is computed with, so a row's bytes
 * depend on nothing but the row. */
#ifndef AT_KERNELS_PRODUCT_H
#define AT_KERNELS_PRODUCT_H

#include <stdio.h>

#include "kernels/ops.h"
#include "kernels/panel.h"

static inline int64_t at_round_up(int64_t n, int64_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

/* --- weights ---------------------------------------------------------------------------------- */

/* A weight seen as (columns, outer, inner): element (c, o, i) lies at first + c * column +
 * o * outer_step + i * inner_step, and o, i together are the rows of a panel. */
typedef struct at_weight_map {
    int64_t columns, column;
    int64_t outer, outer_step;
    int64_t inner, inner_step;
    int64_t first;
} at_weight_map;

static inline int64_t at_panels_of(int64_t columns)
{
    return (columns + AT_PANEL_WIDTH - 1) / AT_PANEL_WIDTH;
}

static inline int64_t at_panel_elements(const at_weight_map *m)
{
    return m->outer * m->inner * AT_PANEL_WIDTH;
}

static inline size_t at_panels_bytes(const at_weight_map *m, at_dtype type)
{
    return (size_t)(at_panels_of(m->columns) * at_panel_elements(m)) * at_dtype_bytes(type);
}

/* Panel i. */
static inline const void *at_panel_at(const void *panels, const at_weight_map *m, at_dtype type,
                                      int64_t i)
{
    return (const char *)panels + (size_t)(i * at_panel_elements(m)) * at_dtype_bytes(type);
}

/* Steps [first, first + steps) of a panel in f32: where they lie, or widened into 'room'. */
AT_INLINE const float *at_panel_piece(float *room, const void *panel, at_dtype type, int64_t first,
                                      int64_t steps)
{
    const int64_t n = steps * AT_PANEL_WIDTH;
    const size_t skip = (size_t)(first * AT_PANEL_WIDTH) * at_dtype_bytes(type);
    if (type == AT_F32)
        return (const float *)(const void *)((const char *)panel + skip);
    at_rows_load(room, 0, (const char *)panel + skip, 0, type, 1, n, n);
    return room;
}

/* Whether a column's elements lie end to end, be it in another order than a panel has them. */
static inline bool at_weight_in_rows(const at_weight_map *m)
{
    return m->first == 0 && m->inner_step == m->outer && (m->outer == 1 || m->outer_step == 1);
}

/* Squares of rows are turned; each row that comes of it goes to its place. */
AT_INLINE void at_pack_rows_as(void *panel, const at_weight_map *m, int64_t first,
                               const at_dtype type, const void *w)
{
    enum { STEPS = 64 };
    const int64_t n = m->columns - first, depth = m->outer * m->inner;
    float turned[STEPS * AT_PANEL_WIDTH];
    for (int64_t k = 0; k < depth; k += STEPS) {
        const int64_t d = depth - k < STEPS ? depth - k : STEPS;
        const size_t skip = (size_t)(first * m->column + k) * at_dtype_bytes(type);
        at_panel_load_as(turned, (const char *)w + skip, m->column, type,
                         n < AT_PANEL_WIDTH ? n : AT_PANEL_WIDTH, d, d, AT_PANEL_VECTORS);
        for (int64_t e = 0; e < d; e++) {
            const int64_t row = (k + e) % m->outer * m->inner + (k + e) / m->outer;
            for (int v = 0; v < AT_PANEL_VECTORS; v++)
                at_vf_store_exact(panel, row * AT_PANEL_WIDTH + v * AT_LANES, type,
                                  at_panel_get(turned, e * AT_PANEL_VECTORS + v));
        }
    }
}

/* Element by element, in any order. */
AT_INLINE void at_pack_elements_as(void *panel, const at_weight_map *m, int64_t first,
                                   const at_dtype type, const void *w)
{
    const int64_t n = m->columns - first < AT_PANEL_WIDTH ? m->columns - first : AT_PANEL_WIDTH;
    const size_t each = at_dtype_bytes(type);
    char *to = panel;
    memset(panel, 0, (size_t)at_panel_elements(m) * each);
    for (int64_t o = 0; o < m->outer; o++)
        for (int64_t i = 0; i < m->inner; i++, to += (size_t)AT_PANEL_WIDTH * each) {
            const int64_t at = m->first + first * m->column + o * m->outer_step + i * m->inner_step;
            for (int64_t c = 0; c < n; c++)
                memcpy(to + (size_t)c * each, (const char *)w + (size_t)(at + c * m->column) * each,
                       each);
        }
}

AT_INLINE void at_pack_panel_as(void *panel, const at_weight_map *m, int64_t first,
                                const at_dtype type, const void *w)
{
    if (at_weight_in_rows(m))
        at_pack_rows_as(panel, m, first, type, w);
    else
        at_pack_elements_as(panel, m, first, type, w);
}

typedef struct at_packing {
    const at_weight_map *map;
    const at_view *w;
    char *panels;
} at_packing;

AT_OUTLINE void at_pack_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    const at_packing *p = ctx;
    const size_t bytes = (size_t)at_panel_elements(p->map) * at_dtype_bytes(p->w->dtype);
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        void *panel = p->panels + (size_t)i * bytes;
        AT_OF_TYPE(p->w->dtype, at_pack_panel_as, (panel, p->map, i * AT_PANEL_WIDTH), p->w->data);
    }
}

/* Of the weight's type. */
AT_OUTLINE void at_pack_panels(void *panels, const at_weight_map *m, const at_view *w,
                               const at_stream *stream)
{
    at_packing p = { m, w, panels };
    at_parallel(stream, at_panels_of(m->columns), 1, at_pack_part, &p);
}

/* --- after the sums --------------------------------------------------------------------------- */

AT_INLINE at_vf at_vf_act(int act, at_vf z)
{
    switch ((at_act)act) {
    case AT_ACT_NONE: break;
    case AT_ACT_RELU: return at_vf_select(z > (at_vf){ 0 }, z, (at_vf){ 0 });
    case AT_ACT_GELU: return at_vf_gelu(z);
    case AT_ACT_QUICK_GELU: return z * at_vf_sigmoid(z * at_vf_set(1.702f));
    case AT_ACT_SILU: return z * at_vf_sigmoid(z);
    }
    return z;
}

/* z = sum + residual + bias, y = act(z). Views that are absent have rank 0. */
typedef struct at_epilogue {
    at_view y, z, residual, bias;
    int act;
    bool amax; /* report the largest |act(z)| */
} at_epilogue;

/* One row of up to AT_PANEL_WIDTH sums, which become elements col .. col + n - 1 of row 'row'. */
AT_INLINE at_vf at_finish_row(const at_epilogue *e, const float *sums, int64_t row, int64_t col,
                              int64_t n, at_vf largest)
{
    for (int64_t i = 0; i < n; i += AT_LANES) {
        int64_t rest = n - i, at = col + i;
        at_vf z = at_vf_load(sums, i, AT_F32);
        if (at_has(&e->residual))
            z += at_vf_load_upto(e->residual.data, row * e->residual.pitch + at, e->residual.dtype,
                                 rest);
        if (at_has(&e->bias))
            z += at_vf_load_upto(e->bias.data, at, e->bias.dtype, rest);
        if (at_has(&e->z))
            at_vf_store_upto(e->z.data, row * e->z.pitch + at, e->z.dtype, z, rest);
        at_vf y = at_vf_act(e->act, z);
        if (e->amax) { /* lanes past the end hold act(0) = 0 */
            at_vf size = at_vf_abs(y);
            largest = at_vf_max(size, largest);
        }
        at_vf_store_upto(e->y.data, row * e->y.pitch + at, e->y.dtype, y, rest);
    }
    return largest;
}

/* 'rows' rows of sums, 'stride' floats apart. Returns the largest |act(z)|, or 0. */
AT_OUTLINE float at_finish(const at_epilogue *e, const float *sums, int64_t stride, int64_t row,
                           int64_t rows, int64_t col, int64_t n)
{
    at_vf largest = { 0 };
    for (int64_t r = 0; r < rows; r++)
        largest = at_finish_row(e, sums + r * stride, row + r, col, n, largest);
    return e->amax ? at_vf_largest(largest) : 0;
}

#endif
