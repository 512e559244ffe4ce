/* linear_simd.c -- own products in f32: y = act(x w^T + ...) and dx = dy w, from weights where and
 * as they lie.
 *
 * Bound by multiply-adds: a piece of a panel, PIECE steps of 48 columns, is made of the weights and
 * stays in the first cache while a block of rows passes. Making it costs as much as ten rows that
 * pass, so 4 % of a block of 256; with 512 rows and sums leave the second cache, which costs more.
 * Weights packed beforehand would save that, and take their memory and the time to pack them. */
#include "kernels/linear_variants.h"
#include "kernels/product.h"

AT_SIMD_DECLARE(at_linear);
AT_SIMD_DECLARE(at_linear_dgrad);
at_prepare_fn AT_SIMD(at_linear_prepare), AT_SIMD(at_linear_dgrad_prepare);

enum {
    ROWS = 256,  /* of a block: their sums are 49 KB */
    PANELS = 16, /* of a part */
    PIECE = 128, /* steps of a panel that stay in the first cache: 24 KB */
};

/* A weight seen as (columns, steps): one of the two strides is 1. */
typedef struct weights {
    const at_view *w;
    int64_t columns, column, depth, step;
} weights;

typedef struct product {
    weights w;
    at_view x;
    at_epilogue end;
    int64_t rows, blocks;
    char *scratch; /* per worker: sums, a piece of a panel, widened rows */
    size_t scratch_worker;
    float *part_amax;
} product;

typedef struct layout {
    size_t amax, worker, total;
} layout;

static int64_t block_of(int64_t rows)
{
    return rows < ROWS ? at_round_up(rows, AT_PANEL_ROWS) : ROWS;
}

static int64_t parts_of(const weights *w, int64_t rows)
{
    const int64_t groups = (at_panels_of(w->columns) + PANELS - 1) / PANELS;
    return (rows + ROWS - 1) / ROWS * groups;
}

static layout layout_of(const weights *w, int64_t rows, int threads)
{
    enum { LINE = 64 };
    layout l = { 0 };
    const int64_t block = block_of(rows);
    const int64_t floats =
        block * (at_round_up(w->depth, AT_LANES) + AT_PANEL_WIDTH) + PIECE * AT_PANEL_WIDTH;
    l.amax = (size_t)at_round_up(parts_of(w, rows) * 4, LINE);
    l.worker = (size_t)at_round_up(floats * 4, LINE);
    l.total = l.amax + l.worker * (size_t)threads;
    return l;
}

/* --- a part: a block of rows times a group of panels ------------------------------------------ */

/* Rows as f32, a whole number of tiles of them: where they lie when that will do, else a copy. */
static const float *rows_of(const product *p, float *copy, int64_t row, int64_t n, int64_t *stride)
{
    *stride = p->x.pitch;
    if (p->x.dtype == AT_F32 && n % AT_PANEL_ROWS == 0)
        return (const float *)p->x.data + row * p->x.pitch;
    const int64_t depth = p->w.depth;
    *stride = at_round_up(depth, AT_LANES);
    at_rows_load(copy, *stride, at_row(&p->x, row), p->x.pitch, p->x.dtype, n, depth, depth);
    for (int64_t r = n; r < at_round_up(n, AT_PANEL_ROWS); r++)
        memset(copy + r * *stride, 0, (size_t)depth * 4);
    return copy;
}

/* Steps [k, k + d) of the panel that begins at column 'first'. */
static void take_piece(float *piece, const weights *w, int64_t first, int64_t k, int64_t d)
{
    const at_dtype type = w->w->dtype;
    const int64_t left = w->columns - first, n = left < AT_PANEL_WIDTH ? left : AT_PANEL_WIDTH;
    const char *from =
        (const char *)w->w->data + (size_t)(first * w->column + k * w->step) * at_dtype_bytes(type);
    if (w->step == 1)
        at_panel_load(piece, from, w->column, type, n, d, d, AT_PANEL_VECTORS);
    else
        at_rows_load(piece, AT_PANEL_WIDTH, from, w->step, type, d, n, AT_PANEL_WIDTH);
}

static void sum_panel(float *sums, float *piece, const float *rows, int64_t stride,
                      const weights *w, int64_t first, int64_t n)
{
    for (int64_t k = 0; k < w->depth; k += PIECE) {
        int64_t d = w->depth - k < PIECE ? w->depth - k : PIECE;
        take_piece(piece, w, first, k, d);
        for (int64_t r = 0; r < n; r += AT_PANEL_ROWS) {
            float *out = sums + r * AT_PANEL_WIDTH;
            const float *a = rows + r * stride + k;
            if (k)
                at_panel_dot_tile(out, a, stride, piece, d, AT_PANEL_VECTORS, AT_PANEL_F32, 1);
            else
                at_panel_dot_tile(out, a, stride, piece, d, AT_PANEL_VECTORS, AT_PANEL_F32, 0);
        }
    }
}

static void run_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    const product *p = ctx;
    float *sums = (float *)(void *)(p->scratch + (size_t)worker * p->scratch_worker);
    float *piece = sums + block_of(p->rows) * AT_PANEL_WIDTH;
    float *copy = piece + PIECE * AT_PANEL_WIDTH;
    int64_t panels = at_panels_of(p->w.columns);
    for (int64_t part = begin; part < end; part++) {
        int64_t row = part % p->blocks * ROWS, first = part / p->blocks * PANELS, stride;
        int64_t n = p->rows - row < ROWS ? p->rows - row : ROWS;
        const float *rows = rows_of(p, copy, row, n, &stride);
        float largest = 0;
        for (int64_t i = first; i < panels && i < first + PANELS; i++) {
            int64_t col = i * AT_PANEL_WIDTH, cols = p->w.columns - col;
            sum_panel(sums, piece, rows, stride, &p->w, col, at_round_up(n, AT_PANEL_ROWS));
            float size = at_finish(&p->end, sums, AT_PANEL_WIDTH, row, n, col,
                                   cols < AT_PANEL_WIDTH ? cols : AT_PANEL_WIDTH);
            largest = size > largest ? size : largest;
        }
        p->part_amax[part] = largest;
    }
}

/* --- both ops --------------------------------------------------------------------------------- */

static weights forward_of(const at_view *w)
{
    return (weights){ w, w->size[0], w->pitch, w->size[1], 1 };
}

static weights backward_of(const at_view *w)
{
    return (weights){ w, w->size[1], 1, w->size[0], w->pitch };
}

at_status AT_SIMD(at_linear_prepare)(const void *args, const at_prepare_in *in, at_prepared *out,
                                     at_error *err)
{
    const at_linear_args *a = args;
    const weights w = forward_of(&a->w);
    (void)err;
    out->scratch_bytes = layout_of(&w, at_rows(&a->x), in->caps->threads).total;
    return AT_OK;
}

at_status AT_SIMD(at_linear_dgrad_prepare)(const void *args, const at_prepare_in *in,
                                           at_prepared *out, at_error *err)
{
    const at_linear_dgrad_args *a = args;
    const weights w = backward_of(&a->w);
    (void)err;
    out->scratch_bytes = layout_of(&w, at_rows(&a->dy), in->caps->threads).total;
    return AT_OK;
}

static float run_product(product *p, const at_launch *l)
{
    const layout lay = layout_of(&p->w, p->rows, l->stream->threads);
    float largest = 0;
    p->part_amax = l->scratch;
    p->scratch = (char *)l->scratch + lay.amax;
    p->scratch_worker = lay.worker;
    p->blocks = (p->rows + ROWS - 1) / ROWS;
    int64_t parts = parts_of(&p->w, p->rows);
    at_parallel_uneven(l->stream, parts, 1, run_part, p);
    for (int64_t i = 0; i < parts; i++)
        largest = p->part_amax[i] > largest ? p->part_amax[i] : largest;
    return largest;
}

at_status AT_SIMD(at_linear)(const void *args, const at_prepared *prepared, const at_launch *l)
{
    const at_linear_args *a = args;
    product p = { .w = forward_of(&a->w), .x = a->x, .rows = at_rows(&a->x) };
    (void)prepared;
    p.end = (at_epilogue){ a->y, a->z, a->residual, a->bias, a->act, at_has(&a->y_amax) };
    float largest = run_product(&p, l);
    if (at_has(&a->y_amax))
        *(float *)a->y_amax.data = largest;
    return AT_OK;
}

at_status AT_SIMD(at_linear_dgrad)(const void *args, const at_prepared *prepared,
                                   const at_launch *l)
{
    const at_linear_dgrad_args *a = args;
    product p = { .w = backward_of(&a->w), .x = a->dy, .rows = at_rows(&a->dy) };
    (void)prepared;
    p.end = (at_epilogue){ .y = a->dx, .residual = a->residual };
    run_product(&p, l);
    return AT_OK;
}
