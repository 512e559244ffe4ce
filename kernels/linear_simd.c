/* linear_simd.c -- own products in f32: y = act(x w^T + ...) and dx = dy w, from weights in panels.
 *
 * Bound by multiply-adds: a block of rows stays in the second cache while the panels pass, a piece
 * of a panel stays in the first while the rows pass. 16-bit rows and pieces are widened once per
 * block. */
#include <stdlib.h>

#include "kernels/linear_variants.h"
#include "kernels/product.h"

AT_SIMD_DECLARE(at_linear);
AT_SIMD_DECLARE(at_linear_dgrad);
at_prepare_fn AT_SIMD(at_linear_prepare), AT_SIMD(at_linear_dgrad_prepare);

enum {
    ROWS = 128,  /* of a block: f32 rows of 1280 are 655 KB, a third of a second cache of 2 MB */
    PANELS = 16, /* of a part */
    PIECE = 128, /* steps of a panel that stay in the first cache: 24 KB */
};

typedef struct product {
    at_weight_map map;
    at_view x;
    const void *panels;
    at_dtype type; /* of the panels */
    at_epilogue end;
    int64_t rows, depth, blocks, groups;
    char *scratch; /* per worker: sums, a widened piece of a panel, widened rows */
    size_t scratch_worker;
    float *part_amax;
} product;

typedef struct layout {
    size_t packed, amax, worker, total;
} layout;

static int64_t depth_of(const at_weight_map *m)
{
    return m->outer * m->inner;
}

static int64_t parts_of(const at_weight_map *m, int64_t rows)
{
    int64_t groups = (at_panels_of(m->columns) + PANELS - 1) / PANELS;
    return (rows + ROWS - 1) / ROWS * groups;
}

/* 'packs': the type of panels that are made at every run, or AT_NONE. */
static layout layout_of(const at_weight_map *m, int64_t rows, at_dtype packs, int threads)
{
    enum { LINE = 64 };
    layout l = { 0 };
    int64_t floats =
        ROWS * (at_round_up(depth_of(m), AT_LANES) + AT_PANEL_WIDTH) + PIECE * AT_PANEL_WIDTH;
    l.packed = packs ? (size_t)at_round_up((int64_t)at_panels_bytes(m, packs), LINE) : 0;
    l.amax = (size_t)at_round_up(parts_of(m, rows) * 4, LINE);
    l.worker = (size_t)at_round_up(floats * 4, LINE);
    l.total = l.packed + l.amax + l.worker * (size_t)threads;
    return l;
}

/* --- a part: a block of rows times a group of panels ------------------------------------------ */

/* Rows as f32, a whole number of tiles of them: where they lie when that will do, else a copy. */
static const float *rows_of(const product *p, float *copy, int64_t row, int64_t n, int64_t *stride)
{
    *stride = p->x.pitch;
    if (p->x.dtype == AT_F32 && n % AT_PANEL_ROWS == 0)
        return (const float *)p->x.data + row * p->x.pitch;
    *stride = at_round_up(p->depth, AT_LANES);
    at_rows_load(copy, *stride, at_row(&p->x, row), p->x.pitch, p->x.dtype, n, p->depth, p->depth);
    for (int64_t r = n; r < at_round_up(n, AT_PANEL_ROWS); r++)
        memset(copy + r * *stride, 0, (size_t)p->depth * 4);
    return copy;
}

static void sum_panel(float *sums, const float *rows, int64_t stride, const void *panel,
                      at_dtype type, int64_t n, int64_t depth)
{
    float *room = sums + ROWS * AT_PANEL_WIDTH;
    for (int64_t k = 0; k < depth; k += PIECE) {
        int64_t d = depth - k < PIECE ? depth - k : PIECE;
        const float *b = at_panel_piece(room, panel, type, k, d);
        for (int64_t r = 0; r < n; r += AT_PANEL_ROWS) {
            float *out = sums + r * AT_PANEL_WIDTH;
            const float *a = rows + r * stride + k;
            if (k)
                at_panel_dot_tile(out, a, stride, b, d, AT_PANEL_VECTORS, AT_PANEL_F32, 1);
            else
                at_panel_dot_tile(out, a, stride, b, d, AT_PANEL_VECTORS, AT_PANEL_F32, 0);
        }
    }
}

static void run_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    const product *p = ctx;
    float *sums = (float *)(void *)(p->scratch + (size_t)worker * p->scratch_worker);
    float *copy = sums + (ROWS + PIECE) * AT_PANEL_WIDTH;
    int64_t panels = at_panels_of(p->map.columns);
    for (int64_t part = begin; part < end; part++) {
        int64_t row = part % p->blocks * ROWS, first = part / p->blocks * PANELS, stride;
        int64_t n = p->rows - row < ROWS ? p->rows - row : ROWS;
        const float *rows = rows_of(p, copy, row, n, &stride);
        float largest = 0;
        for (int64_t i = first; i < panels && i < first + PANELS; i++) {
            int64_t col = i * AT_PANEL_WIDTH, cols = p->map.columns - col;
            sum_panel(sums, rows, stride, at_panel_at(p->panels, &p->map, p->type, i), p->type,
                      at_round_up(n, AT_PANEL_ROWS), p->depth);
            float size = at_finish(&p->end, sums, AT_PANEL_WIDTH, row, n, col,
                                   cols < AT_PANEL_WIDTH ? cols : AT_PANEL_WIDTH);
            largest = size > largest ? size : largest;
        }
        p->part_amax[part] = largest;
    }
}

/* --- both ops --------------------------------------------------------------------------------- */

static at_weight_map forward_map(const at_view *w)
{
    return (at_weight_map){ w->size[0], w->size[1], 1, 0, w->size[1], 1, 0 };
}

static at_weight_map backward_map(const at_view *w)
{
    return (at_weight_map){ w->size[1], 1, 1, 0, w->size[0], w->size[1], 0 };
}

static void pack_forward(const at_prepared *p, int form, void *dst, const at_view *w,
                         const at_stream *stream)
{
    at_weight_map m = forward_map(w);
    (void)p, (void)form;
    at_pack_panels(dst, &m, w, stream);
}

static void pack_backward(const at_prepared *p, int form, void *dst, const at_view *w,
                          const at_stream *stream)
{
    at_weight_map m = backward_map(w);
    (void)p, (void)form;
    at_pack_panels(dst, &m, w, stream);
}

/* Asks for a form when the weight is a parameter, else for room to pack it at every run. */
static void book(const at_weight_map *m, at_dtype type, int64_t rows, int operand, const char *key,
                 const at_prepare_in *in, at_prepared *out)
{
    bool form = in->constants >> operand & 1u;
    out->scratch_bytes = layout_of(m, rows, form ? AT_NONE : type, in->caps->threads).total;
    if (!form)
        return;
    at_form *f = &out->forms[out->n_forms++];
    f->operand = operand;
    f->bytes = at_panels_bytes(m, type);
    snprintf(f->key, sizeof f->key, "%s, panels of %d, %s", key, (int)AT_PANEL_WIDTH,
             at_dtype_name(type));
}

enum { LINEAR_W = 4, LINEAR_DGRAD_W = 2 }; /* places in the operand tables */

at_status AT_SIMD(at_linear_prepare)(const void *args, const at_prepare_in *in, at_prepared *out,
                                     at_error *err)
{
    const at_linear_args *a = args;
    at_weight_map m = forward_map(&a->w);
    (void)err;
    book(&m, a->w.dtype, at_rows(&a->x), LINEAR_W, "x w^T", in, out);
    out->forms[0].pack = pack_forward;
    return AT_OK;
}

at_status AT_SIMD(at_linear_dgrad_prepare)(const void *args, const at_prepare_in *in,
                                           at_prepared *out, at_error *err)
{
    const at_linear_dgrad_args *a = args;
    at_weight_map m = backward_map(&a->w);
    (void)err;
    book(&m, a->w.dtype, at_rows(&a->dy), LINEAR_DGRAD_W, "dy w", in, out);
    out->forms[0].pack = pack_backward;
    return AT_OK;
}

static float run_product(product *p, const at_view *w, const at_prepared *prepared,
                         const at_launch *l)
{
    layout lay =
        layout_of(&p->map, p->rows, prepared->n_forms ? AT_NONE : w->dtype, l->stream->threads);
    void *packed = l->scratch;
    float largest = 0;
    p->panels = w->data;
    p->type = w->dtype;
    if (prepared->n_forms == 0) {
        at_pack_panels(packed, &p->map, w, l->stream);
        p->panels = packed;
    }
    p->part_amax = (float *)(void *)((char *)l->scratch + lay.packed);
    p->scratch = (char *)p->part_amax + lay.amax;
    p->scratch_worker = lay.worker;
    p->depth = depth_of(&p->map);
    p->blocks = (p->rows + ROWS - 1) / ROWS;
    int64_t parts = parts_of(&p->map, p->rows);
    at_parallel_uneven(l->stream, parts, 1, run_part, p);
    for (int64_t i = 0; i < parts; i++)
        largest = p->part_amax[i] > largest ? p->part_amax[i] : largest;
    return largest;
}

at_status AT_SIMD(at_linear)(const void *args, const at_prepared *prepared, const at_launch *l)
{
    const at_linear_args *a = args;
    product p = { .map = forward_map(&a->w), .x = a->x, .rows = at_rows(&a->x) };
    p.end = (at_epilogue){ a->y, a->z, a->residual, a->bias, a->act, at_has(&a->y_amax) };
    float largest = run_product(&p, &a->w, prepared, l);
    if (at_has(&a->y_amax))
        *(float *)a->y_amax.data = largest;
    return AT_OK;
}

at_status AT_SIMD(at_linear_dgrad)(const void *args, const at_prepared *prepared,
                                   const at_launch *l)
{
    const at_linear_dgrad_args *a = args;
    product p = { .map = backward_map(&a->w), .x = a->dy, .rows = at_rows(&a->dy) };
    p.end = (at_epilogue){ .y = a->dx, .residual = a->residual };
    run_product(&p, &a->w, prepared, l);
    return AT_OK;
}
