/* conv2d_grad_simd.c -- own gradient of a convolution by its weights, in f32.
 *
 * A part owns a block of output channels times a panel of input channels, for all taps, and walks
 * over all pixels in order: nothing is added across threads, the bytes are the same for any number
 * of them. */
#include "kernels/conv2d_variants.h"
#include "kernels/product.h"

AT_SIMD_DECLARE(at_conv2d_wgrad);
at_prepare_fn AT_SIMD(at_conv2d_wgrad_prepare);

enum { OUTPUTS = 80, PIXELS = 256 }; /* output channels of a part; pixels staged at a time */

typedef struct wgrad {
    const at_conv2d_wgrad_args *a;
    at_conv c;
    int64_t block, blocks, stage_w; /* output rows of a step, steps of a sample */
    int64_t dy_floats, x_floats, tap_floats, sum_floats, worker_floats;
    int64_t co_blocks;
    float *scratch;
} wgrad;

static wgrad wgrad_of(const at_conv2d_wgrad_args *a)
{
    wgrad g = { .a = a, .c = at_conv_of_wgrad(a) };
    g.block = PIXELS / g.c.wo;
    g.block = g.block < 1 ? 1 : g.block > g.c.ho ? g.c.ho : g.block;
    g.blocks = (g.c.ho + g.block - 1) / g.block;
    g.stage_w = (g.c.wo - 1) * g.c.sw + g.c.kw;
    g.dy_floats = g.block * g.c.wo * OUTPUTS;
    g.x_floats = ((g.block - 1) * g.c.sh + g.c.kh) * g.stage_w * AT_PANEL_WIDTH;
    g.tap_floats = g.c.wo * AT_PANEL_WIDTH;
    g.sum_floats = g.c.kh * g.c.kw * OUTPUTS * AT_PANEL_WIDTH + OUTPUTS;
    g.worker_floats = g.dy_floats + g.x_floats + g.tap_floats + g.sum_floats;
    g.co_blocks = (g.c.co + OUTPUTS - 1) / OUTPUTS;
    return g;
}

at_status AT_SIMD(at_conv2d_wgrad_prepare)(const void *args, const at_prepare_in *in,
                                           at_prepared *out, at_error *err)
{
    wgrad g = wgrad_of(args);
    (void)err;
    out->scratch_bytes = (size_t)(g.worker_floats * in->caps->threads) * sizeof(float);
    return AT_OK;
}

/* n channels from channel ci of padded row v, a panel's width apart. */
static void stage_row(const wgrad *g, float *row, int64_t b, int64_t v, int64_t ci, int64_t n)
{
    const at_conv *c = &g->c;
    int64_t h = at_conv_source(v, c->h, c->reflect);
    for (int64_t j = 0; j < g->stage_w; j++, row += AT_PANEL_WIDTH) {
        int64_t w = at_conv_source(j - c->left, c->w, c->reflect);
        if (h < 0 || h >= c->h || w < 0 || w >= c->w) {
            memset(row, 0, AT_PANEL_WIDTH * sizeof *row);
            continue;
        }
        const char *src = at_row(&g->a->x, (b * c->h + h) * c->w + w);
        at_rows_load(row, 0, src + (size_t)ci * at_dtype_bytes(g->a->x.dtype), 0, g->a->x.dtype, 1,
                     n, AT_PANEL_WIDTH);
    }
}

/* Adds what the output rows o .. o + rows - 1 contribute, for every tap. */
static void add_rows(const wgrad *g, float *sums, float *tap, const float *dy, const float *x,
                     int64_t rows, int64_t n)
{
    const at_conv *c = &g->c;
    for (int64_t t = 0; t < c->kh * c->kw; t++)
        for (int64_t r = 0; r < rows; r++) {
            const float *from =
                x + ((r * c->sh + t / c->kw) * g->stage_w + t % c->kw) * AT_PANEL_WIDTH;
            for (int64_t j = 0; j < c->wo && c->sw > 1; j++)
                memcpy(tap + j * AT_PANEL_WIDTH, from + j * c->sw * AT_PANEL_WIDTH,
                       AT_PANEL_WIDTH * sizeof *tap);
            at_panel_add(sums + t * OUTPUTS * AT_PANEL_WIDTH, dy + r * c->wo * OUTPUTS, OUTPUTS,
                         c->sw > 1 ? tap : from, c->wo, n, AT_PANEL_VECTORS, AT_PANEL_F32);
        }
}

static void add_columns(float *bias, const float *dy, int64_t rows)
{
    for (int64_t i = 0; i < OUTPUTS; i += AT_LANES) {
        at_vf sum = { 0 };
        for (int64_t r = 0; r < rows; r++)
            sum += at_vf_load(dy, r * OUTPUTS + i, AT_F32);
        at_vf_store(bias, i, AT_F32, at_vf_load(bias, i, AT_F32) + sum);
    }
}

static void store_block(const wgrad *g, const float *sums, int64_t co, int64_t n, int64_t ci,
                        int64_t m)
{
    int64_t taps = g->c.kh * g->c.kw;
    float *dw = g->a->dw.data;
    const float *acc = at_has(&g->a->acc) ? g->a->acc.data : NULL;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < m; j++)
            for (int64_t t = 0; t < taps; t++) {
                int64_t at = ((co + i) * g->c.ci + ci + j) * taps + t;
                float sum = sums[(t * OUTPUTS + i) * AT_PANEL_WIDTH + j];
                dw[at] = acc ? acc[at] + sum : sum;
            }
}

static void store_bias(const wgrad *g, const float *bias, int64_t co, int64_t n)
{
    float *out = (float *)g->a->dbias.data + co;
    const float *acc = at_has(&g->a->bias_acc) ? (const float *)g->a->bias_acc.data + co : NULL;
    for (int64_t i = 0; i < n; i++)
        out[i] = acc ? acc[i] + bias[i] : bias[i];
}

static void run_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    const wgrad *g = ctx;
    const at_conv *c = &g->c;
    float *dy = g->scratch + g->worker_floats * worker, *x = dy + g->dy_floats;
    float *tap = x + g->x_floats, *sums = tap + g->tap_floats;
    float *bias = sums + g->sum_floats - OUTPUTS;
    size_t size = at_dtype_bytes(g->a->dy.dtype);
    for (int64_t part = begin; part < end; part++) {
        int64_t co = part % g->co_blocks * OUTPUTS, ci = part / g->co_blocks * AT_PANEL_WIDTH;
        int64_t n = c->co - co < OUTPUTS ? c->co - co : OUTPUTS, m = c->ci - ci;
        m = m < AT_PANEL_WIDTH ? m : AT_PANEL_WIDTH;
        memset(sums, 0, (size_t)g->sum_floats * sizeof *sums);
        for (int64_t step = 0; step < c->b * g->blocks; step++) {
            int64_t b = step / g->blocks, o = step % g->blocks * g->block;
            int64_t rows = c->ho - o < g->block ? c->ho - o : g->block;
            at_rows_load(dy, OUTPUTS,
                         (char *)at_row(&g->a->dy, (b * c->ho + o) * c->wo) + (size_t)co * size,
                         c->co, g->a->dy.dtype, rows * c->wo, n, OUTPUTS);
            for (int64_t t = 0; t < (rows - 1) * c->sh + c->kh; t++)
                stage_row(g, x + t * g->stage_w * AT_PANEL_WIDTH, b, o * c->sh + t - c->top, ci, m);
            add_rows(g, sums, tap, dy, x, rows, at_round_up(n, AT_PANEL_ROWS));
            if (ci == 0)
                add_columns(bias, dy, rows * c->wo);
        }
        store_block(g, sums, co, n, ci, m);
        if (ci == 0 && at_has(&g->a->dbias))
            store_bias(g, bias, co, n);
    }
}

at_status AT_SIMD(at_conv2d_wgrad)(const void *args, const at_prepared *p, const at_launch *l)
{
    wgrad g = wgrad_of(args);
    (void)p;
    g.scratch = l->scratch;
    at_parallel_uneven(l->stream, g.co_blocks * at_panels_of(g.c.ci), 1, run_part, &g);
    return AT_OK;
}
