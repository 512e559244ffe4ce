/* product.h -- what own products and convolutions share: weights in panels, and what is done to
 * sums before they are stored. Included by *_simd.c files only.
 *
 * A panel is AT_PANEL_WIDTH output columns side by side: panel[k][column], f32, zeros in columns
 * that do not exist. The sum of an output is one chain of fused multiply-adds over k, whatever rows
 * and panels it is computed with, so a row's bytes depend on nothing but the row. */
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

static inline size_t at_panels_bytes(const at_weight_map *m)
{
    return (size_t)(at_panels_of(m->columns) * at_panel_elements(m)) * sizeof(float);
}

AT_INLINE float at_element_as(const void *p, int64_t i, const at_dtype type)
{
    if (type == AT_F32)
        return ((const float *)p)[i];
    return type == AT_BF16 ? at_bf16_to_f32(((const uint16_t *)p)[i])
                           : at_f16_to_f32(((const uint16_t *)p)[i]);
}

AT_INLINE void at_pack_panel_as(float *panel, const at_weight_map *m, int64_t first,
                                const at_dtype type, const void *w)
{
    int64_t n = m->columns - first < AT_PANEL_WIDTH ? m->columns - first : AT_PANEL_WIDTH;
    for (int64_t o = 0; o < m->outer; o++)
        for (int64_t i = 0; i < m->inner; i++, panel += AT_PANEL_WIDTH) {
            int64_t at = m->first + first * m->column + o * m->outer_step + i * m->inner_step;
            for (int64_t c = 0; c < n; c++)
                panel[c] = at_element_as(w, at + c * m->column, type);
            for (int64_t c = n; c < AT_PANEL_WIDTH; c++)
                panel[c] = 0;
        }
}

typedef struct at_packing {
    const at_weight_map *map;
    const at_view *w;
    float *panels;
} at_packing;

AT_OUTLINE void at_pack_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    const at_packing *p = ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        float *panel = p->panels + i * at_panel_elements(p->map);
        AT_OF_TYPE(p->w->dtype, at_pack_panel_as, (panel, p->map, i * AT_PANEL_WIDTH), p->w->data);
    }
}

AT_OUTLINE void at_pack_panels(float *panels, const at_weight_map *m, const at_view *w,
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
