/* conv2d_simd.c -- own convolution in f32, and its gradient by the input, which is a convolution
 * too.
 *
 * Rows of the input are copied once per block, widened, padded and, for a gradient with a stride,
 * with zeros between them. After that there are no borders: a tap row of an output pixel is one
 * contiguous run of kw * c numbers, and a tile of pixels is a tile of rows some stride apart. */
#include "kernels/conv2d_variants.h"
#include "kernels/product.h"

AT_SIMD_DECLARE(at_conv2d);
AT_SIMD_DECLARE(at_conv2d_dgrad);
at_prepare_fn AT_SIMD(at_conv2d_prepare), AT_SIMD(at_conv2d_dgrad_prepare);

enum {
    PIXELS = 256, /* of a block: their sums are 48 KB */
    PANELS = 16,  /* of a part */
    PIECE = 128,  /* steps of a panel that stay in the first cache */
};

/* Output o reads the virtual rows first_h + o * step_h + 0 .. kh - 1; a virtual row v is source row
 * v / gap_h, or nothing where that leaves a rest or lies outside. The same for columns. */
typedef struct walk {
    at_weight_map map;
    const void *panels;
    at_dtype type; /* of the panels */
    at_epilogue end;
    at_view x; /* (b, h, w, c) */
    int64_t h, w, c, out_h, out_w, kh, kw;
    int64_t first_h, first_w, step_h, step_w, gap_h, gap_w;
    bool reflect;
    /* derived */
    int64_t block, blocks,
        groups;               /* output rows of a block, blocks of a sample, groups of panels */
    int64_t whole_w, stage_w; /* output columns in whole tiles; columns of a staged row */
    int64_t stage_floats, sums_floats; /* sums_floats: and a widened piece of a panel */
    int64_t b0;                        /* sample that part 0 belongs to */
    float *scratch;
} walk;

static void derive(walk *k)
{
    k->whole_w = at_round_up(k->out_w, AT_PANEL_ROWS);
    k->stage_w = (k->whole_w - 1) * k->step_w + k->kw;
    k->block = PIXELS / k->whole_w;
    k->block = k->block < 1 ? 1 : k->block > k->out_h ? k->out_h : k->block;
    k->blocks = (k->out_h + k->block - 1) / k->block;
    k->groups = (at_panels_of(k->map.columns) + PANELS - 1) / PANELS;
    k->stage_floats =
        at_round_up(((k->block - 1) * k->step_h + k->kh) * k->stage_w * k->c, AT_LANES);
    k->sums_floats = (k->block * k->whole_w + PIECE) * AT_PANEL_WIDTH;
}

static size_t worker_bytes(const walk *k)
{
    return (size_t)(k->stage_floats + k->sums_floats) * sizeof(float);
}

/* --- staging ---------------------------------------------------------------------------------- */

static int64_t source_of(int64_t v, int64_t n, int64_t gap, bool reflect)
{
    if (gap == 1)
        return at_conv_source(v, n, reflect);
    return v >= 0 && v % gap == 0 && v / gap < n ? v / gap : -1;
}

static void stage_columns(const walk *k, float *row, const void *src, int64_t from, int64_t to)
{
    size_t pixel = (size_t)k->c * at_dtype_bytes(k->x.dtype);
    for (int64_t j = from; j < to; j++) {
        int64_t v = k->first_w + j, last = k->gap_w * (k->w - 1) + (k->reflect ? k->kw : 0);
        int64_t s = v > last ? -1 : source_of(v, k->w, k->gap_w, k->reflect);
        if (s < 0 || s >= k->w)
            memset(row + j * k->c, 0, (size_t)k->c * sizeof *row);
        else
            at_rows_load(row + j * k->c, 0, (const char *)src + (size_t)s * pixel, 0, k->x.dtype, 1,
                         k->c, k->c);
    }
}

static void stage_row(const walk *k, float *row, int64_t b, int64_t v)
{
    int64_t s = source_of(v, k->h, k->gap_h, k->reflect);
    if (s < 0 || s >= k->h) {
        memset(row, 0, (size_t)(k->stage_w * k->c) * sizeof *row);
        return;
    }
    const void *src = at_row(&k->x, (b * k->h + s) * k->w);
    if (k->gap_w > 1) {
        stage_columns(k, row, src, 0, k->stage_w);
        return;
    }
    int64_t from = k->first_w < 0 ? -k->first_w : 0, to = k->w - k->first_w;
    from = from < k->stage_w ? from : k->stage_w;
    to = to < from ? from : to < k->stage_w ? to : k->stage_w;
    size_t skip = (size_t)((k->first_w + from) * k->c) * at_dtype_bytes(k->x.dtype);
    stage_columns(k, row, src, 0, from);
    if (to > from)
        at_rows_load(row + from * k->c, 0, (const char *)src + skip, 0, k->x.dtype, 1,
                     (to - from) * k->c, (to - from) * k->c);
    stage_columns(k, row, src, to, k->stage_w);
}

/* --- a part: a block of output rows times a group of panels ----------------------------------- */

static void sum_block(const walk *k, float *sums, const float *stage, const void *panel,
                      int64_t rows)
{
    int64_t run = k->kw * k->c, stride = k->step_w * k->c;
    float *room = sums + k->sums_floats - PIECE * AT_PANEL_WIDTH;
    for (int64_t i = 0; i < k->kh; i++)
        for (int64_t e = 0; e < run; e += PIECE) {
            int64_t d = run - e < PIECE ? run - e : PIECE;
            const float *p = at_panel_piece(room, panel, k->type, i * run + e, d);
            for (int64_t r = 0; r < rows; r++)
                for (int64_t o = 0; o < k->whole_w; o += AT_PANEL_ROWS) {
                    float *out = sums + (r * k->whole_w + o) * AT_PANEL_WIDTH;
                    const float *a =
                        stage + (r * k->step_h + i) * k->stage_w * k->c + o * stride + e;
                    if (i || e)
                        at_panel_dot_tile(out, a, stride, p, d, AT_PANEL_VECTORS, AT_PANEL_F32, 1);
                    else
                        at_panel_dot_tile(out, a, stride, p, d, AT_PANEL_VECTORS, AT_PANEL_F32, 0);
                }
        }
}

static void run_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    const walk *k = ctx;
    float *stage = k->scratch + (k->stage_floats + k->sums_floats) * worker;
    float *sums = stage + k->stage_floats;
    int64_t panels = at_panels_of(k->map.columns);
    for (int64_t part = begin; part < end; part++) {
        int64_t group = part % k->groups, block = part / k->groups % k->blocks;
        int64_t b = k->b0 + part / (k->groups * k->blocks), o = block * k->block;
        int64_t rows = k->out_h - o < k->block ? k->out_h - o : k->block;
        for (int64_t t = 0; t < (rows - 1) * k->step_h + k->kh; t++)
            stage_row(k, stage + t * k->stage_w * k->c, b, k->first_h + o * k->step_h + t);
        for (int64_t i = group * PANELS; i < panels && i < (group + 1) * PANELS; i++) {
            int64_t col = i * AT_PANEL_WIDTH, cols = k->map.columns - col;
            sum_block(k, sums, stage, at_panel_at(k->panels, &k->map, k->type, i), rows);
            for (int64_t r = 0; r < rows; r++)
                at_finish(&k->end, sums + r * k->whole_w * AT_PANEL_WIDTH, AT_PANEL_WIDTH,
                          ((b - k->b0) * k->out_h + o + r) * k->out_w, k->out_w, col,
                          cols < AT_PANEL_WIDTH ? cols : AT_PANEL_WIDTH);
        }
    }
}

/* --- forward ---------------------------------------------------------------------------------- */

static walk forward_walk(const at_conv *c, const at_view *x, at_dtype type)
{
    int64_t taps = c->kh * c->kw;
    walk k = {
        .map = { c->co, c->ci * taps, taps, 1, c->ci, taps, 0 },
        .type = type,
        .x = *x,
        .h = c->h,
        .w = c->w,
        .c = c->ci,
        .out_h = c->ho,
        .out_w = c->wo,
        .kh = c->kh,
        .kw = c->kw,
        .first_h = -c->top,
        .first_w = -c->left,
        .step_h = c->sh,
        .step_w = c->sw,
        .gap_h = 1,
        .gap_w = 1,
        .reflect = c->reflect,
    };
    derive(&k);
    return k;
}

static void pack_forward(const at_prepared *p, int form, void *dst, const at_view *w,
                         const at_stream *stream)
{
    int64_t taps = w->size[2] * w->size[3];
    at_weight_map m = { w->size[0], w->size[1] * taps, taps, 1, w->size[1], taps, 0 };
    (void)p, (void)form;
    at_pack_panels(dst, &m, w, stream);
}

/* A whole number of cache lines: other scratch lies behind it. */
static size_t packed_bytes(const walk *k)
{
    enum { LINE = 64 };
    return (size_t)at_round_up((int64_t)at_panels_bytes(&k->map, k->type), LINE);
}

/* Asks for a form when the weight is a parameter, else for room to pack it at every run. */
static void book(const walk *k, size_t extra, const char *key, const at_prepare_in *in,
                 at_prepared *out)
{
    enum { W = 2 }; /* w's place in both tables */
    bool form = in->constants >> W & 1u;
    out->scratch_bytes = extra + worker_bytes(k) * (size_t)in->caps->threads;
    if (!form) {
        out->scratch_bytes += packed_bytes(k);
        return;
    }
    at_form *f = &out->forms[out->n_forms++];
    f->operand = W;
    f->bytes = at_panels_bytes(&k->map, k->type);
    snprintf(f->key, sizeof f->key, "%s, panels of %d, %s", key, (int)AT_PANEL_WIDTH,
             at_dtype_name(k->type));
}

/* The panels, packed now if prepare could not have them made; returns the scratch after them. */
static float *take_panels(walk *k, const at_view *w, const at_prepared *p, const at_launch *l)
{
    float *scratch = l->scratch;
    k->panels = w->data;
    if (p->n_forms)
        return scratch;
    at_pack_panels(scratch, &k->map, w, l->stream);
    k->panels = scratch;
    return scratch + packed_bytes(k) / sizeof *scratch;
}

at_status AT_SIMD(at_conv2d_prepare)(const void *args, const at_prepare_in *in, at_prepared *out,
                                     at_error *err)
{
    const at_conv2d_args *a = args;
    at_conv c = at_conv_of(a);
    walk k = forward_walk(&c, &a->x, a->w.dtype);
    (void)err;
    book(&k, 0, "convolution", in, out);
    out->forms[0].pack = pack_forward;
    return AT_OK;
}

at_status AT_SIMD(at_conv2d)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_conv2d_args *a = args;
    at_conv c = at_conv_of(a);
    walk k = forward_walk(&c, &a->x, a->w.dtype);
    k.end = (at_epilogue){ .y = a->y, .residual = a->residual, .bias = a->bias };
    k.end.act = a->relu ? AT_ACT_RELU : AT_ACT_NONE;
    k.scratch = take_panels(&k, &a->w, p, l);
    at_parallel_uneven(l->stream, c.b * k.blocks * k.groups, 1, run_part, &k);
    return AT_OK;
}

/* --- gradient by the input -------------------------------------------------------------------- */

/* The padded input's gradient at row v sums dy[(v - i) / stride] w[i]: a convolution of dy, spread
 * out by the stride, with the kernel turned around. Of it, rows from 'cut' on are computed. */
static walk backward_walk(const at_conv *c, const at_view *dy, at_dtype type)
{
    int64_t taps = c->kh * c->kw;
    int64_t top = c->reflect ? 0 : c->top, left = c->reflect ? 0 : c->left;
    walk k = {
        .map = { c->ci, taps, taps, -1, c->co, c->ci * taps, taps - 1 },
        .type = type,
        .x = *dy,
        .h = c->ho,
        .w = c->wo,
        .c = c->co,
        .out_h = c->h,
        .out_w = c->w,
        .kh = c->kh,
        .kw = c->kw,
        .first_h = top - (c->kh - 1),
        .first_w = left - (c->kw - 1),
        .step_h = 1,
        .step_w = 1,
        .gap_h = c->sh,
        .gap_w = c->sw,
    };
    if (c->reflect) {
        k.out_h += c->top + c->bottom;
        k.out_w += c->left + c->right;
    }
    derive(&k);
    return k;
}

static void pack_backward(const at_prepared *p, int form, void *dst, const at_view *w,
                          const at_stream *stream)
{
    int64_t taps = w->size[2] * w->size[3];
    at_weight_map m = { w->size[1], taps, taps, -1, w->size[0], w->size[1] * taps, taps - 1 };
    (void)p, (void)form;
    at_pack_panels(dst, &m, w, stream);
}

/* With reflection the gradient of one padded sample is computed first, then folded. */
static int64_t padded_floats(const at_conv *c)
{
    int64_t n = (c->h + c->top + c->bottom) * (c->w + c->left + c->right) * c->ci;
    return c->reflect ? at_round_up(n, AT_LANES) : 0;
}

at_status AT_SIMD(at_conv2d_dgrad_prepare)(const void *args, const at_prepare_in *in,
                                           at_prepared *out, at_error *err)
{
    const at_conv2d_dgrad_args *a = args;
    at_conv c = at_conv_of_dgrad(a);
    walk k = backward_walk(&c, &a->dy, a->w.dtype);
    (void)err;
    book(&k, (size_t)padded_floats(&c) * sizeof(float), "convolution's gradient", in, out);
    out->forms[0].pack = pack_backward;
    return AT_OK;
}

typedef struct fold {
    const at_conv *c;
    const float *padded;
    at_view dx;
    int64_t b;
} fold;

/* The padded indices that read index i of n: itself, and up to two reflections. */
static int readers(int64_t out[3], int64_t i, int64_t n, int64_t before, int64_t after)
{
    int count = 0;
    out[count++] = i + before;
    if (i >= 1 && i <= before)
        out[count++] = before - i;
    if (i >= n - 1 - after && i <= n - 2)
        out[count++] = before + 2 * (n - 1) - i;
    return count;
}

static void fold_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const fold *f = ctx;
    const at_conv *c = f->c;
    int64_t wide = c->w + c->left + c->right, hs[3], ws[3];
    (void)worker;
    for (int64_t p = begin; p < end; p++) {
        int nh = readers(hs, p / c->w, c->h, c->top, c->bottom);
        int nw = readers(ws, p % c->w, c->w, c->left, c->right);
        void *out = at_row(&f->dx, f->b * c->h * c->w + p);
        for (int64_t i = 0; i < c->ci; i += AT_LANES) {
            at_vf sum = { 0 };
            for (int y = 0; y < nh; y++)
                for (int x = 0; x < nw; x++)
                    sum += at_vf_load_upto(f->padded, (hs[y] * wide + ws[x]) * c->ci + i, AT_F32,
                                           c->ci - i);
            at_vf_store_upto(out, i, f->dx.dtype, sum, c->ci - i);
        }
    }
}

static void run_folded(walk *k, const at_conv *c, const at_view *dx, const at_launch *l)
{
    float *padded = k->scratch;
    k->scratch += padded_floats(c);
    k->end.y = at_view_of(AT_F32, 3, (const int64_t[]){ k->out_h, k->out_w, c->ci });
    k->end.y.data = padded;
    for (k->b0 = 0; k->b0 < c->b; k->b0++) {
        fold f = { c, padded, *dx, k->b0 };
        at_parallel_uneven(l->stream, k->blocks * k->groups, 1, run_part, k);
        at_parallel(l->stream, c->h * c->w, c->w, fold_rows, &f);
    }
}

at_status AT_SIMD(at_conv2d_dgrad)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_conv2d_dgrad_args *a = args;
    at_conv c = at_conv_of_dgrad(a);
    walk k = backward_walk(&c, &a->dy, a->w.dtype);
    k.scratch = take_panels(&k, &a->w, p, l);
    k.end = (at_epilogue){ .y = a->dx };
    if (c.reflect)
        run_folded(&k, &c, &a->dx, l);
    else
        at_parallel_uneven(l->stream, c.b * k.blocks * k.groups, 1, run_part, &k);
    return AT_OK;
}
