/* linear_grad_simd.c -- dw = acc + dy^T x. A part owns a block of dw and walks over all rows in
 * order, so that nothing is added across threads: the bytes are the same for any number of them.
 *
 * Rows are packed and widened a slab at a time: those of dy in groups of columns that stay in the
 * second cache beside the block's sums, those of x in one panel that stays in the first. While a
 * slab is computed, the next one's rows are fetched, and dw's rows during the last one. */
#include "kernels/linear_variants.h"
#include "kernels/product.h"

AT_SIMD_DECLARE(at_linear_wgrad);
at_prepare_fn AT_SIMD(at_linear_wgrad_prepare);

/* Measured on a Xeon with 48 KiB and 2 MiB of cache a core. */
enum {
    ROWS = 128,       /* of dy and x in a slab */
    OUTPUTS = 384,    /* the most rows of dw in a part */
    COLUMNS = 480,    /* the most columns of dw in a part */
    GROUP = 16,       /* columns of dy side by side */
    SPREAD = 4,       /* parts come in about multiples of this, for equal shares */
    LINE_FLOATS = 16, /* keeps neighbouring groups out of each other's cache sets */
    GROUP_FLOATS = ROWS * GROUP + LINE_FLOATS,
    PANELS = (COLUMNS + AT_PANEL_WIDTH - 1) / AT_PANEL_WIDTH,
};

/* A worker's memory, in floats. */
enum {
    DY_FLOATS = OUTPUTS / GROUP * GROUP_FLOATS,
    X_FLOATS = ROWS * AT_PANEL_WIDTH,
    SUM_FLOATS = PANELS * OUTPUTS * AT_PANEL_WIDTH,
    BIAS_FLOATS = OUTPUTS,
    WORKER_FLOATS = DY_FLOATS + X_FLOATS + SUM_FLOATS + BIAS_FLOATS,
};

typedef struct wgrad {
    const at_linear_wgrad_args *a;
    int64_t m, n, k;              /* dy (m, n), x (m, k), dw (n, k) */
    int64_t slab, n_step, k_step; /* rows of a slab, rows and columns of a block of dw */
    int64_t n_parts, k_parts;
    char *scratch;
} wgrad;

/* A part at work: its block of dw, the slab that it has reached, its worker's memory. */
typedef struct block {
    int64_t n0, n, k0, k;
    int64_t stride; /* of its sums' panels in rows: n to whole groups */
    int64_t row, rows;
    float *dy, *x, *sums, *bias;
} block;

at_status AT_SIMD(at_linear_wgrad_prepare)(const void *args, const at_prepare_in *in,
                                           at_prepared *out, at_error *err)
{
    (void)args, (void)err;
    out->scratch_bytes = (size_t)in->caps->threads * WORKER_FLOATS * sizeof(float);
    return AT_OK;
}

static int64_t share(int64_t n, int64_t parts, int64_t multiple)
{
    return at_round_up((n + parts - 1) / parts, multiple);
}

/* The cut of n for which SPREAD threads are done first; packing x costs like PACKING more rows. */
static void cut(wgrad *g)
{
    enum { PACKING = 16 };
    int64_t least = INT64_MAX, first = (g->n + OUTPUTS - 1) / OUTPUTS;
    g->slab = share(g->m, (g->m + ROWS - 1) / ROWS, 1);
    g->k_step = share(g->k, (g->k + COLUMNS - 1) / COLUMNS, AT_LANES);
    g->k_parts = (g->k + g->k_step - 1) / g->k_step;
    for (int64_t parts = first; parts <= first + SPREAD; parts++) {
        int64_t step = share(g->n, parts, GROUP), n_parts = (g->n + step - 1) / step;
        int64_t turns = (n_parts * g->k_parts + SPREAD - 1) / SPREAD;
        if (turns * (step + PACKING) >= least)
            continue;
        least = turns * (step + PACKING);
        g->n_step = step;
        g->n_parts = n_parts;
    }
}

/* --- packing ---------------------------------------------------------------------------------- */

/* out[group][row][column] = rows[row][group, column], zeros in columns past 'n'. */
AT_INLINE void pack_groups_as(float *out, const void *rows, int64_t pitch, const at_dtype type,
                              int64_t m, int64_t n)
{
    for (int64_t r = 0; r < m; r++)
        for (int64_t i = 0; i < n; i += GROUP) {
            float *to = out + i / GROUP * GROUP_FLOATS + r * GROUP;
            AT_UNROLL for (int64_t v = 0; v < GROUP; v += AT_LANES)
            {
                at_vf in = at_vf_load_upto(rows, r * pitch + i + v, type, n - i - v);
                at_vf_store(to, v, AT_F32, in);
            }
        }
}

static const char *element(const at_view *v, int64_t row, int64_t column)
{
    return (const char *)at_row(v, row) + (size_t)column * at_dtype_bytes(v->dtype);
}

AT_OUTLINE void pack_groups(const block *b, const at_view *dy)
{
    AT_OF_TYPE(dy->dtype, pack_groups_as, (b->dy, element(dy, b->row, b->n0), dy->pitch), b->rows,
               b->n);
}

/* The last panel of a block has only the vectors that it needs. */
static int64_t panel_width(int64_t k)
{
    return k < AT_PANEL_WIDTH ? at_round_up(k, AT_LANES) : AT_PANEL_WIDTH;
}

static void pack_panel(const block *b, const at_view *x, int64_t k, int64_t width)
{
    int64_t n = b->k - k < width ? b->k - k : width;
    at_rows_load(b->x, width, element(x, b->row, b->k0 + k), x->pitch, x->dtype, b->rows, n, width);
}

/* --- sums ------------------------------------------------------------------------------------- */

/* bias[i] += the column sums of 'rows' rows of a group. */
static void add_columns(float *bias, const float *dy, int64_t rows)
{
    for (int64_t i = 0; i < GROUP; i += AT_LANES) {
        at_vf sum = { 0 };
        for (int64_t r = 0; r < rows; r++)
            sum += at_vf_load(dy, r * GROUP + i, AT_F32);
        at_vf_store(bias, i, AT_F32, at_vf_load(bias, i, AT_F32) + sum);
    }
}

/* What add_tile fetches: 'step' bytes further at each row, from 'at' on. */
typedef struct fetch {
    const char *at;
    int64_t step;
} fetch;

static fetch fetch_of(const at_view *v, int64_t row, int64_t first, int64_t n, int64_t steps)
{
    int64_t bytes = n * (int64_t)at_dtype_bytes(v->dtype);
    return (fetch){ element(v, row, first), (bytes + steps - 1) / steps };
}

/* For the tiles of group 'i' of all 'n' groups: a row of each input, later rows of dw. */
static void choose_fetch(const wgrad *g, fetch f[2], const block *b, int64_t i, int64_t n)
{
    int64_t next = b->row + b->rows + i * b->rows / n;
    if (b->row + b->rows == g->m) {
        for (int64_t t = 0; t < 2; t++)
            f[t] = fetch_of(&g->a->dw, b->n0 + (2 * i + t) * b->n / (2 * n), b->k0, b->k, b->rows);
        return;
    }
    next = next < g->m ? next : g->m - 1;
    f[0] = fetch_of(&g->a->dy, next, b->n0, b->n, b->rows);
    f[1] = fetch_of(&g->a->x, next, b->k0, b->k, b->rows);
}

/* at_panel_add for AT_PANEL_ROWS columns of a group, fetching on the way. */
AT_INLINE void add_tile(float *out, const float *dy, const float *x, int64_t rows, fetch f,
                        const int nv)
{
    at_vf sum[AT_PANEL_ROWS][AT_PANEL_VECTORS];
    AT_UNROLL for (int i = 0; i < AT_PANEL_ROWS; i++)
    {
        AT_UNROLL for (int v = 0; v < nv; v++) sum[i][v] = at_panel_get(out, i * nv + v);
    }
    for (int64_t r = 0; r < rows; r++, f.at += f.step) {
        at_vf in[AT_PANEL_VECTORS];
        __builtin_prefetch(f.at, 0, 2);
        AT_UNROLL for (int v = 0; v < nv; v++) in[v] = at_panel_get(x, r * nv + v);
        AT_UNROLL for (int i = 0; i < AT_PANEL_ROWS; i++)
        {
            at_vf y = at_panel_word(dy + r * GROUP + i);
            AT_UNROLL for (int v = 0; v < nv; v++) sum[i][v] = at_vf_fma(y, in[v], sum[i][v]);
        }
    }
    AT_UNROLL for (int i = 0; i < AT_PANEL_ROWS; i++)
    {
        AT_UNROLL for (int v = 0; v < nv; v++) at_panel_set(out, i * nv + v, sum[i][v]);
    }
}

AT_OUTLINE void add_group(float *sums, const float *dy, const float *x, int64_t rows,
                          const fetch f[2], int64_t width)
{
    for (int i = 0; i < GROUP; i += AT_PANEL_ROWS) {
        fetch next = f[i >= GROUP / 2];
        if (width == 3 * AT_LANES)
            add_tile(sums + i * width, dy + i, x, rows, next, 3);
        else if (width == 2 * AT_LANES)
            add_tile(sums + i * width, dy + i, x, rows, next, 2);
        else
            add_tile(sums + i * width, dy + i, x, rows, next, 1);
    }
}

static void add_slab(const wgrad *g, const block *b)
{
    int64_t groups = b->stride / GROUP, panels = at_panels_of(b->k);
    pack_groups(b, &g->a->dy);
    for (int64_t p = 0; p < panels; p++) {
        int64_t k = p * AT_PANEL_WIDTH, width = panel_width(b->k - k);
        pack_panel(b, &g->a->x, k, width);
        for (int64_t i = 0; i < groups; i++) {
            fetch f[2];
            choose_fetch(g, f, b, p * groups + i, panels * groups);
            add_group(b->sums + b->stride * k + i * GROUP * width, b->dy + i * GROUP_FLOATS, b->x,
                      b->rows, f, width);
        }
    }
    for (int64_t i = 0; i < groups && b->k0 == 0 && at_has(&g->a->dbias); i++)
        add_columns(b->bias + i * GROUP, b->dy + i * GROUP_FLOATS, b->rows);
}

static void store_block(const wgrad *g, const block *b)
{
    const at_linear_wgrad_args *a = g->a;
    for (int64_t k = 0; k < b->k; k += AT_PANEL_WIDTH) {
        int64_t n = b->k - k < AT_PANEL_WIDTH ? b->k - k : AT_PANEL_WIDTH, width = panel_width(n);
        const float *sums = b->sums + b->stride * k;
        for (int64_t r = 0; r < b->n; r++)
            for (int64_t i = 0; i < n; i += AT_LANES) {
                int64_t dw = (b->n0 + r) * g->k + b->k0 + k + i;
                at_vf sum = at_vf_load(sums, r * width + i, AT_F32);
                if (at_has(&a->acc))
                    sum += at_vf_load_upto(a->acc.data, dw, AT_F32, n - i);
                at_vf_store_upto(a->dw.data, dw, AT_F32, sum, n - i);
            }
    }
}

static void store_bias(const wgrad *g, const block *b)
{
    float *out = (float *)g->a->dbias.data + b->n0;
    const float *acc = at_has(&g->a->bias_acc) ? (const float *)g->a->bias_acc.data + b->n0 : NULL;
    for (int64_t i = 0; i < b->n; i++)
        out[i] = acc ? acc[i] + b->bias[i] : b->bias[i];
}

static void run_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    const wgrad *g = ctx;
    float *dy = (float *)(void *)g->scratch + (int64_t)worker * WORKER_FLOATS;
    block b = { .dy = dy, .x = dy + DY_FLOATS };
    b.sums = b.x + X_FLOATS, b.bias = b.sums + SUM_FLOATS;
    for (int64_t part = begin; part < end; part++) {
        b.n0 = part % g->n_parts * g->n_step, b.k0 = part / g->n_parts * g->k_step;
        b.n = g->n - b.n0 < g->n_step ? g->n - b.n0 : g->n_step;
        b.k = g->k - b.k0 < g->k_step ? g->k - b.k0 : g->k_step;
        b.stride = at_round_up(b.n, GROUP);
        memset(b.sums, 0, (size_t)(b.stride * at_round_up(b.k, AT_LANES)) * sizeof *b.sums);
        memset(b.bias, 0, BIAS_FLOATS * sizeof *b.bias);
        for (b.row = 0; b.row < g->m; b.row += b.rows) {
            b.rows = g->m - b.row < g->slab ? g->m - b.row : g->slab;
            add_slab(g, &b);
        }
        store_block(g, &b);
        if (b.k0 == 0 && at_has(&g->a->dbias))
            store_bias(g, &b);
    }
}

at_status AT_SIMD(at_linear_wgrad)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_linear_wgrad_args *a = args;
    wgrad g = { .a = a, .m = at_rows(&a->x), .n = at_cols(&a->dy), .k = at_cols(&a->x) };
    (void)p;
    g.scratch = l->scratch;
    cut(&g);
    at_parallel_uneven(l->stream, g.n_parts * g.k_parts, 1, run_part, &g);
    return AT_OK;
}
