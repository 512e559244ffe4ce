/* attention_bwd_simd.c -- bound by arithmetic: 14 * D operations per pair where 10 are needed,
 * because the two passes recompute scores and dP each; in return no thread ever adds to another's
 * sums.
 *
 * Both passes are the same walk with the sides exchanged. One side lies in panels, a token per
 * lane, and receives the gradient; the other passes by in rows:
 *   dq:      queries and dout in panels, keys and values in rows
 *   dk, dv:  keys and values in panels, queries and dout in rows */
#include "kernels/attention.h"
#include "kernels/panel.h"

AT_ATTENTION_BWD_DECLARE(AT_SIMD_LEVEL);

enum { SPAN = 64, PANELS_MAX = 8, BLOCK_BYTES = 800 << 10, LINE = 16 };

typedef struct gradient {
    const at_attention_bwd_args *a;
    int64_t size, padded, stride, panels; /* panels of a block, at most */
    float scale;
    size_t thread_words;
    float *delta;   /* (B, H, Lq) */
    float *scratch; /* of the threads */
    bool of_keys;   /* which pass */
} gradient;

/* One block of tokens in panels. */
typedef struct block {
    const gradient *g;
    int64_t head, col;            /* over all samples; first column */
    int64_t sample, first, rows;  /* tokens of the panel side */
    float *x, *y;                 /* panels: queries and dout, or keys and values */
    float *dx, *dy;               /* panels of sums: dq, or dk and dv */
    float *x_rows, *y_rows;       /* span of the other side */
    float *p, *ds;                /* span * width: scores, then P; dP, then dS */
    float *row_lse, *row_delta;   /* span, where queries are the rows */
    float *lane_lse, *lane_delta; /* panels * width, where queries are the lanes */
    int32_t *low, *high;          /* panels * width: a lane meets rows low .. high */
} block;

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static gradient plan(const at_attention_bwd_args *a)
{
    gradient g = { .a = a, .size = at_cols(&a->q) / a->heads };
    g.padded = (g.size + AT_PANEL_ROWS - 1) / AT_PANEL_ROWS * AT_PANEL_ROWS;
    g.stride = ((g.padded + LINE - 1) / LINE + 1) | 1; /* an odd number of cache lines */
    g.stride *= LINE;
    g.scale = at_attention_scale(a->scale, g.size);
    int64_t panel = g.padded * AT_PANEL_WIDTH;
    g.panels = larger(1, smaller(PANELS_MAX, BLOCK_BYTES / (panel * 16)));
    g.thread_words = (size_t)(4 * g.panels * panel + 2 * SPAN * g.stride +
                              2 * SPAN * AT_PANEL_WIDTH + 2 * SPAN + 4 * g.panels * AT_PANEL_WIDTH);
    g.thread_words = (g.thread_words + LINE - 1) / LINE * LINE;
    return g;
}

static size_t delta_words(const at_attention_bwd_args *a)
{
    size_t words = (size_t)(a->q.size[0] * a->heads * a->q.size[1]);
    return (words + LINE - 1) / LINE * LINE;
}

static const void *element(const at_view *v, int64_t row, int64_t col)
{
    return (const char *)v->data + (size_t)(row * v->pitch + col) * at_dtype_bytes(v->dtype);
}

static void carve_scratch(block *b, float *p)
{
    const gradient *g = b->g;
    int64_t panels = g->panels * g->padded * AT_PANEL_WIDTH, lanes = g->panels * AT_PANEL_WIDTH;
    b->x = p, p += panels;
    b->y = p, p += panels;
    b->dx = p, p += panels;
    b->dy = p, p += panels;
    b->x_rows = p, p += SPAN * g->stride;
    b->y_rows = p, p += SPAN * g->stride;
    b->p = p, p += SPAN * AT_PANEL_WIDTH;
    b->ds = p, p += SPAN * AT_PANEL_WIDTH;
    b->row_lse = p, p += SPAN;
    b->row_delta = p, p += SPAN;
    b->lane_lse = p, p += lanes;
    b->lane_delta = p, p += lanes;
    b->low = (int32_t *)p, p += lanes;
    b->high = (int32_t *)p;
}

/* --- the arithmetic of one panel and one span ------------------------------------------------- */

/* scores, dP -> P, dS for rows row .. row + n - 1. */
AT_INLINE void weigh(const block *b, int64_t lane, int64_t row, int64_t n, const int nv,
                     const int of_keys)
{
    const at_vf log2e = at_vf_set(1.44269504f), scale = at_vf_set(b->g->scale * 1.44269504f);
    at_vf lse[AT_PANEL_VECTORS], delta[AT_PANEL_VECTORS];
    at_vi low[AT_PANEL_VECTORS], high[AT_PANEL_VECTORS];
    for (int v = 0; v < nv; v++) {
        int64_t i = lane + v * AT_LANES;
        lse[v] = of_keys ? (at_vf){ 0 } : at_vf_load(b->lane_lse, i, AT_F32) * log2e;
        delta[v] = of_keys ? (at_vf){ 0 } : at_vf_load(b->lane_delta, i, AT_F32);
        memcpy(&low[v], b->low + i, sizeof low[v]);
        memcpy(&high[v], b->high + i, sizeof high[v]);
    }
    for (int64_t r = 0; r < n; r++)
        AT_UNROLL for (int v = 0; v < nv; v++)
        {
            at_vi now = (at_vi){ 0 } + (int32_t)(row + r);
            at_vi seen = (now >= low[v]) & (now <= high[v]);
            at_vf l = of_keys ? at_vf_set(b->row_lse[r]) * log2e : lse[v];
            at_vf d = of_keys ? at_vf_set(b->row_delta[r]) : delta[v];
            at_vf p = at_vf_exp2(at_vf_fma(at_panel_get(b->p, r * nv + v), scale, -l), 5);
            at_vf ds = p * (at_panel_get(b->ds, r * nv + v) - d);
            at_panel_set(b->p, r * nv + v, at_vf_select(seen, p, (at_vf){ 0 }));
            at_panel_set(b->ds, r * nv + v, at_vf_select(seen, ds, (at_vf){ 0 }));
        }
}

AT_INLINE void add_span(const block *b, int64_t lane, int64_t row, int64_t n, const int nv)
{
    const gradient *g = b->g;
    int64_t at = lane * g->padded;
    at_panel_dot(b->p, b->x_rows, g->stride, b->x + at, n, g->padded, nv, AT_PANEL_F32);
    at_panel_dot(b->ds, b->y_rows, g->stride, b->y + at, n, g->padded, nv, AT_PANEL_F32);
    if (g->of_keys) {
        weigh(b, lane, row, n, nv, 1);
        at_panel_add(b->dy + at, b->y_rows, g->stride, b->p, n, g->padded, nv, AT_PANEL_F32);
    } else {
        weigh(b, lane, row, n, nv, 0);
    }
    at_panel_add(b->dx + at, b->x_rows, g->stride, b->ds, n, g->padded, nv, AT_PANEL_F32);
}

static void add_span_to_panel(const block *b, int64_t lane, int64_t row, int64_t n, int64_t width)
{
    if (width == 3 * AT_LANES)
        add_span(b, lane, row, n, 3);
    else if (width == 2 * AT_LANES)
        add_span(b, lane, row, n, 2);
    else
        add_span(b, lane, row, n, 1);
}

/* --- one block -------------------------------------------------------------------------------- */

static int64_t panel_width(const block *b, int64_t lane)
{
    int64_t left = b->rows - lane;
    return left >= AT_PANEL_WIDTH ? AT_PANEL_WIDTH : (left + AT_LANES - 1) / AT_LANES * AT_LANES;
}

/* Which rows each lane meets, and where the lanes are queries their lse and delta. Lanes without a
 * token meet none. */
static void describe_lanes(block *b)
{
    const at_attention_bwd_args *a = b->g->a;
    int64_t queries = a->q.size[1],
            length = at_attention_length(&a->lengths, b->sample, a->k.size[1]);
    int64_t shift = length - queries, lanes = b->g->panels * AT_PANEL_WIDTH;
    for (int64_t i = 0; i < lanes; i++) {
        int64_t token = b->first + i, low = 0, high = b->g->of_keys ? queries - 1 : length - 1;
        if (a->causal && b->g->of_keys)
            low = larger(0, token - shift);
        if (a->causal && !b->g->of_keys)
            high = smaller(high, token + shift);
        bool there = i < b->rows && (!b->g->of_keys || token < length);
        b->low[i] = (int32_t)low;
        b->high[i] = there ? (int32_t)high : -1;
        bool query = i < b->rows && !b->g->of_keys;
        const float *lse = (const float *)at_row(&a->lse, b->head);
        b->lane_lse[i] = query ? lse[token] : 0;
        b->lane_delta[i] = query ? b->g->delta[b->head * queries + token] : 0;
    }
}

static void load_panels(const block *b, const at_view *x, const at_view *y)
{
    const gradient *g = b->g;
    int64_t row = b->sample * x->size[1] + b->first;
    for (int64_t lane = 0; lane < b->rows; lane += AT_PANEL_WIDTH) {
        int64_t width = panel_width(b, lane), n = smaller(width, b->rows - lane),
                at = lane * g->padded;
        int nv = (int)(width / AT_LANES);
        at_panel_load(b->x + at, element(x, row + lane, b->col), x->pitch, x->dtype, n, g->size,
                      g->padded, nv);
        at_panel_load(b->y + at, element(y, row + lane, b->col), y->pitch, y->dtype, n, g->size,
                      g->padded, nv);
        memset(b->dx + at, 0, (size_t)(g->padded * width) * sizeof(float));
        memset(b->dy + at, 0, (size_t)(g->padded * width) * sizeof(float));
    }
}

/* Tokens row .. row + n - 1 of the side that passes by. */
static void load_rows(const block *b, const at_view *x, const at_view *y, int64_t row, int64_t n)
{
    const gradient *g = b->g;
    int64_t at = b->sample * x->size[1] + row;
    at_rows_load(b->x_rows, g->stride, element(x, at, b->col), x->pitch, x->dtype, n, g->size,
                 g->padded);
    at_rows_load(b->y_rows, g->stride, element(y, at, b->col), y->pitch, y->dtype, n, g->size,
                 g->padded);
    if (!g->of_keys)
        return;
    memcpy(b->row_lse, (const float *)at_row(&g->a->lse, b->head) + row, (size_t)n * sizeof(float));
    memcpy(b->row_delta, g->delta + b->head * x->size[1] + row, (size_t)n * sizeof(float));
}

static void walk_spans(const block *b, const at_view *x, const at_view *y)
{
    for (int64_t row = 0; row < x->size[1]; row += SPAN) {
        int64_t n = smaller(SPAN, x->size[1] - row);
        bool loaded = false;
        for (int64_t lane = 0; lane < b->rows; lane += AT_PANEL_WIDTH) {
            int64_t width = panel_width(b, lane), last = smaller(width, b->rows - lane) + lane - 1;
            /* 'low' grows with the lane when keys are in lanes, 'high' when queries are. */
            int64_t high = larger(b->high[lane], b->high[last]);
            if (row > high || row + n <= b->low[lane])
                continue;
            if (!loaded)
                load_rows(b, x, y, row, n);
            loaded = true;
            add_span_to_panel(b, lane, row, n, width);
        }
    }
}

static void store_panels(const block *b, const at_view *dx, const at_view *dy)
{
    const gradient *g = b->g;
    float scale[AT_PANEL_WIDTH], one[AT_PANEL_WIDTH];
    int64_t row = b->sample * dx->size[1] + b->first;
    for (int i = 0; i < AT_PANEL_WIDTH; i++)
        scale[i] = g->scale, one[i] = 1;
    for (int64_t lane = 0; lane < b->rows; lane += AT_PANEL_WIDTH) {
        int64_t width = panel_width(b, lane), n = smaller(width, b->rows - lane),
                at = lane * g->padded;
        int nv = (int)(width / AT_LANES);
        at_panel_store((void *)(uintptr_t)element(dx, row + lane, b->col), dx->pitch, dx->dtype,
                       b->dx + at, scale, n, g->size, nv);
        if (g->of_keys)
            at_panel_store((void *)(uintptr_t)element(dy, row + lane, b->col), dy->pitch, dy->dtype,
                           b->dy + at, one, n, g->size, nv);
    }
}

static int64_t blocks_of(const gradient *g, int64_t tokens)
{
    int64_t width = g->panels * AT_PANEL_WIDTH;
    return (tokens + width - 1) / width;
}

static void add_blocks(void *ctx, int64_t begin, int64_t end, int worker)
{
    const gradient *g = ctx;
    const at_attention_bwd_args *a = g->a;
    const at_view *x = g->of_keys ? &a->k : &a->q, *y = g->of_keys ? &a->v : &a->dout;
    int64_t blocks = blocks_of(g, x->size[1]), width = g->panels * AT_PANEL_WIDTH;
    for (int64_t i = begin; i < end; i++) {
        block b = { .g = g, .head = i / blocks, .first = i % blocks * width };
        b.sample = b.head / a->heads;
        b.col = b.head % a->heads * g->size;
        b.rows = smaller(width, x->size[1] - b.first);
        carve_scratch(&b, g->scratch + (size_t)worker * g->thread_words);
        describe_lanes(&b);
        load_panels(&b, x, y);
        if (g->of_keys)
            walk_spans(&b, &a->q, &a->dout);
        else
            walk_spans(&b, &a->k, &a->v);
        store_panels(&b, g->of_keys ? &a->dk : &a->dq, &a->dv);
    }
}

/* --- delta ------------------------------------------------------------------------------------ */

AT_INLINE float dot_row(const void *x, const void *y, int64_t n, const at_dtype type)
{
    at_vf sum = { 0 };
    for (int64_t e = 0; e < n; e += AT_LANES)
        sum =
            at_vf_fma(at_vf_load_upto(x, e, type, n - e), at_vf_load_upto(y, e, type, n - e), sum);
    return at_vf_sum(sum);
}

static void delta_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const gradient *g = ctx;
    const at_attention_bwd_args *a = g->a;
    int64_t queries = a->q.size[1];
    (void)worker;
    for (int64_t r = begin; r < end; r++)
        for (int64_t h = 0; h < a->heads; h++) {
            const void *o = element(&a->o, r, h * g->size), *d = element(&a->dout, r, h * g->size);
            float *to = g->delta + (r / queries * a->heads + h) * queries + r % queries;
            if (a->q.dtype == AT_F32)
                *to = dot_row(o, d, g->size, AT_F32);
            else if (a->q.dtype == AT_BF16)
                *to = dot_row(o, d, g->size, AT_BF16);
            else
                *to = dot_row(o, d, g->size, AT_F16);
        }
}

at_status AT_SIMD(at_attention_bwd_prepare)(const void *args, const at_prepare_in *in,
                                            at_prepared *out, at_error *err)
{
    gradient g = plan(args);
    (void)err;
    size_t words = delta_words(args) + g.thread_words * (size_t)in->caps->threads;
    out->scratch_bytes = words * sizeof(float);
    return AT_OK;
}

at_status AT_SIMD(at_attention_bwd)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_attention_bwd_args *a = args;
    gradient g = plan(a);
    int64_t heads = a->q.size[0] * a->heads, rows = at_rows(&a->q);
    (void)p;
    g.delta = l->scratch;
    g.scratch = g.delta + delta_words(a);
    at_parallel(l->stream, rows, at_grain(rows, 4 * (double)at_cols(&a->q)), delta_rows, &g);
    at_parallel_uneven(l->stream, heads * blocks_of(&g, a->q.size[1]), 1, add_blocks, &g);
    g.of_keys = true;
    at_parallel_uneven(l->stream, heads * blocks_of(&g, a->k.size[1]), 1, add_blocks, &g);
    return AT_OK;
}
