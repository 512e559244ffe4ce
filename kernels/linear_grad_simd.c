/* linear_grad_simd.c -- dw = acc + dy^T x. A part owns a block of dw and walks over all rows in
 * order, so that nothing is added across threads: the bytes are the same for any number of them. */
#include "kernels/linear_variants.h"
#include "kernels/product.h"

AT_SIMD_DECLARE(at_linear_wgrad);
at_prepare_fn AT_SIMD(at_linear_wgrad_prepare);

enum {
    ROWS = 128,    /* of dy and x that are widened at a time */
    OUTPUTS = 160, /* rows of dw in a part */
    PANELS = 4,    /* of AT_PANEL_WIDTH columns of dw in a part */
};

typedef struct wgrad {
    const at_linear_wgrad_args *a;
    int64_t rows, n, k, blocks;
    char *scratch;
    size_t worker;
} wgrad;

/* A worker's memory, in floats. */
enum {
    DY_FLOATS = ROWS * OUTPUTS,
    X_FLOATS = PANELS * ROWS * AT_PANEL_WIDTH,
    SUM_FLOATS = PANELS * OUTPUTS * AT_PANEL_WIDTH,
    BIAS_FLOATS = OUTPUTS,
    WORKER_FLOATS = DY_FLOATS + X_FLOATS + SUM_FLOATS + BIAS_FLOATS,
};

at_status AT_SIMD(at_linear_wgrad_prepare)(const void *args, const at_prepare_in *in,
                                           at_prepared *out, at_error *err)
{
    (void)args, (void)err;
    out->scratch_bytes = (size_t)in->caps->threads * WORKER_FLOATS * sizeof(float);
    return AT_OK;
}

/* bias[i] += the column sums of 'rows' rows of dy. */
static void add_columns(float *bias, const float *dy, int64_t stride, int64_t rows, int64_t n)
{
    for (int64_t i = 0; i < n; i += AT_LANES) {
        at_vf sum = { 0 };
        for (int64_t r = 0; r < rows; r++)
            sum += at_vf_load(dy, r * stride + i, AT_F32);
        at_vf_store(bias, i, AT_F32, at_vf_load(bias, i, AT_F32) + sum);
    }
}

static void store_block(const wgrad *g, const float *sums, int64_t n0, int64_t n, int64_t k0)
{
    const at_linear_wgrad_args *a = g->a;
    for (int64_t i = 0; i < PANELS * AT_PANEL_VECTORS && k0 + i * AT_LANES < g->k; i++)
        for (int64_t r = 0; r < n; r++) {
            int64_t at = k0 + i * AT_LANES, dw = (n0 + r) * g->k + at, rest = g->k - at;
            int64_t panel = i / AT_PANEL_VECTORS * OUTPUTS;
            at_vf sum = at_panel_get(sums + (panel + r) * AT_PANEL_WIDTH, i % AT_PANEL_VECTORS);
            if (at_has(&a->acc))
                sum += at_vf_load_upto(a->acc.data, dw, AT_F32, rest);
            at_vf_store_upto(a->dw.data, dw, AT_F32, sum, rest);
        }
}

static void store_bias(const wgrad *g, const float *bias, int64_t n0, int64_t n)
{
    float *out = (float *)g->a->dbias.data + n0;
    const float *acc = at_has(&g->a->bias_acc) ? (const float *)g->a->bias_acc.data + n0 : NULL;
    for (int64_t i = 0; i < n; i++)
        out[i] = acc ? acc[i] + bias[i] : bias[i];
}

static void run_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    const wgrad *g = ctx;
    const at_view *vy = &g->a->dy, *vx = &g->a->x;
    float *dy = (float *)(void *)(g->scratch + (size_t)worker * g->worker);
    float *x = dy + DY_FLOATS, *sums = x + X_FLOATS, *bias = sums + SUM_FLOATS;
    for (int64_t part = begin; part < end; part++) {
        int64_t n0 = part % g->blocks * OUTPUTS, k0 = part / g->blocks * PANELS * AT_PANEL_WIDTH;
        int64_t n = g->n - n0 < OUTPUTS ? g->n - n0 : OUTPUTS;
        int64_t whole = at_round_up(n, AT_LANES);
        size_t size = at_dtype_bytes(vx->dtype);
        memset(sums, 0, (SUM_FLOATS + BIAS_FLOATS) * sizeof *sums);
        for (int64_t r = 0; r < g->rows; r += ROWS) {
            int64_t rows = g->rows - r < ROWS ? g->rows - r : ROWS;
            at_rows_load(dy, OUTPUTS, (char *)at_row(vy, r) + (size_t)n0 * size, vy->pitch,
                         vy->dtype, rows, n, whole);
            for (int64_t i = 0; i < PANELS; i++) {
                int64_t k = k0 + i * AT_PANEL_WIDTH, cols = g->k - k;
                if (cols <= 0)
                    break;
                cols = cols < AT_PANEL_WIDTH ? cols : AT_PANEL_WIDTH;
                at_rows_load(x, AT_PANEL_WIDTH, (char *)at_row(vx, r) + (size_t)k * size, vx->pitch,
                             vx->dtype, rows, cols, AT_PANEL_WIDTH);
                at_panel_add(sums + i * OUTPUTS * AT_PANEL_WIDTH, dy, OUTPUTS, x, rows,
                             at_round_up(n, AT_PANEL_ROWS), AT_PANEL_VECTORS, AT_PANEL_F32);
            }
            if (k0 == 0)
                add_columns(bias, dy, OUTPUTS, rows, whole);
        }
        store_block(g, sums, n0, n, k0);
        if (k0 == 0 && at_has(&g->a->dbias))
            store_bias(g, bias, n0, n);
    }
}

at_status AT_SIMD(at_linear_wgrad)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_linear_wgrad_args *a = args;
    wgrad g = { .a = a, .rows = at_rows(&a->x), .n = at_cols(&a->dy), .k = at_cols(&a->x) };
    (void)p;
    g.scratch = l->scratch;
    g.worker = WORKER_FLOATS * sizeof(float);
    g.blocks = (g.n + OUTPUTS - 1) / OUTPUTS;
    int64_t columns = PANELS * AT_PANEL_WIDTH, groups = (g.k + columns - 1) / columns;
    at_parallel_uneven(l->stream, g.blocks * groups, 1, run_part, &g);
    return AT_OK;
}
