/* conv2d_onednn.c -- convolution and its gradients by the library, block of rows by block of rows.
 *
 * A block's residual is copied into y just before the library adds to it, while it is in the cache.
 * The gradient by the input is a convolution with the kernel turned around: the library's own
 * backward pass runs at 85-90 % of that speed on a Xeon, at 70-80 % on a Zen 5. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/conv2d_variants.h"
#include "kernels/onednn.h"
#include "kernels/parallel.h"

enum { W = 2 }; /* the weight's place in the operand tables of conv2d and conv2d_dgrad */

/* Blocks of about this many pixels, and at least two for a sample: smaller ones lose to reading the
 * weights again (1 to 5 % at 256 pixels and 1280 channels), larger ones leave threads idle. */
enum { PIXELS = 512 };

typedef struct state {
    at_dnn *dnn;
    at_conv c;            /* as the library sees it: of a gradient, the turned convolution */
    int64_t rows, blocks; /* output rows of a block, blocks of a sample */
    int *job;             /* of each block */
    int packing;
    bool turned;      /* weights are (ci, co) and turned around */
    int64_t staged_w; /* reflection: columns of a padded row, else 0 */
    size_t packed_bytes, turned_bytes, stage_bytes, worker_bytes; /* of scratch */
} state;

/* --- preparing -------------------------------------------------------------------------------- */

/* Rows of the input that output rows o .. o + n - 1 read, inside the picture, and what is
 * missing. */
typedef struct span {
    int64_t first, rows, before, after;
} span;

static span span_of(const at_conv *c, int64_t o, int64_t n)
{
    int64_t first = o * c->sh - c->top, end = (o + n - 1) * c->sh - c->top + c->kh;
    span s = { first, end - first, 0, 0 };
    if (c->reflect)
        return s;
    s.before = first < 0 ? -first : 0;
    s.after = end > c->h ? end - c->h : 0;
    s.first += s.before;
    s.rows -= s.before + s.after;
    return s;
}

static at_status add_blocks(state *s, at_dtype type, at_dtype y_type, at_dtype bias, int sum,
                            int relu, at_error *err)
{
    const at_conv *c = &s->c;
    s->blocks = (c->ho + s->rows - 1) / s->rows;
    s->job = calloc((size_t)s->blocks, sizeof *s->job);
    if (!s->job)
        return at_fail(err, AT_NO_MEMORY, "no memory for %lld blocks", (long long)s->blocks);
    for (int64_t i = 0; i < s->blocks; i++) {
        int64_t o = i * s->rows, n = c->ho - o < s->rows ? c->ho - o : s->rows;
        span in = span_of(c, o, n);
        at_dnn_conv d;
        memset(&d, 0, sizeof d); /* descriptions are compared byte by byte */
        d.b = 1, d.h = in.rows, d.w = s->staged_w ? s->staged_w : c->w, d.ci = c->ci, d.co = c->co;
        d.kh = c->kh, d.kw = c->kw, d.sh = c->sh, d.sw = c->sw;
        d.top = in.before, d.bottom = in.after;
        d.left = s->staged_w ? 0 : c->left, d.right = s->staged_w ? 0 : c->right;
        d.type = type, d.y_type = y_type, d.bias_type = bias, d.sum = sum, d.relu = relu;
        at_status status = at_dnn_add_conv(s->dnn, &d, &s->job[i], err);
        if (status != AT_OK)
            return status;
        if (!at_dnn_same_weights(s->dnn, s->job[0], s->job[i]))
            return at_fail(err, AT_UNSUPPORTED, "blocks want different layouts of the weights");
    }
    return AT_OK;
}

void at_conv2d_onednn_release(at_prepared *p)
{
    state *s = p->state;
    if (!s)
        return;
    at_dnn_free(s->dnn);
    free(s->job);
    free(s);
}

void at_conv2d_dgrad_onednn_release(at_prepared *p)
{
    at_conv2d_onednn_release(p);
}

static size_t round_line(size_t n)
{
    return (n + 63) / 64 * 64;
}

static state *state_new(const at_conv *c, const at_prepare_in *in, at_prepared *out, at_error *err)
{
    state *s = calloc(1, sizeof *s);
    if (!s) {
        at_fail(err, AT_NO_MEMORY, "no memory for a prepared convolution");
        return NULL;
    }
    out->state = s;
    s->c = *c;
    s->staged_w = c->reflect ? c->w + c->left + c->right : 0;
    return at_dnn_new(&s->dnn, in->caps->threads, err) == AT_OK ? s : NULL;
}

static int64_t block_rows(const at_conv *c)
{
    int64_t rows = PIXELS / c->wo, half = (c->ho + 1) / 2;
    rows = rows < half ? rows : half;
    return rows > 0 ? rows : 1;
}

/* Turns (co, ci, taps) of the op into (ci, co, taps backwards), what the library is to see. */
static void turn(void *out, const at_view *w)
{
    int64_t co = w->size[0], ci = w->size[1], taps = w->size[2] * w->size[3];
    for (int64_t i = 0; i < ci; i++)
        for (int64_t o = 0; o < co; o++) {
            int64_t to = (i * co + o) * taps, from = (o * ci + i) * taps + taps - 1;
            for (int64_t t = 0; t < taps; t++)
                if (w->dtype == AT_F32)
                    ((float *)out)[to + t] = ((const float *)w->data)[from - t];
                else
                    ((uint16_t *)out)[to + t] = ((const uint16_t *)w->data)[from - t];
        }
}

static void pack_into(const state *s, void *dst, const at_view *w, void *turned, void *scratch)
{
    void *memory[AT_DNN_SLOTS] = { [AT_DNN_X] = w->data, [AT_DNN_W] = dst };
    if (s->turned) {
        turn(turned, w);
        memory[AT_DNN_X] = turned;
    }
    at_status status = at_dnn_run(s->dnn, s->packing, 0, memory, scratch);
    AT_ASSERT(status == AT_OK, "packing weights: %s", at_status_name(status));
}

/* Packing happens when weights are loaded or have changed, outside of runs: it may allocate. */
static void pack(const at_prepared *p, int form, void *dst, const at_view *w,
                 const at_stream *stream)
{
    const state *s = p->state;
    size_t turned = s->turned ? round_line(at_view_bytes(w)) : 0;
    size_t bytes = turned + at_dnn_scratch_bytes(s->dnn) + 64;
    char *memory = aligned_alloc(64, round_line(bytes));
    (void)form, (void)stream;
    AT_ASSERT(memory, "no memory for packing %zu bytes", bytes);
    pack_into(s, dst, w, memory, memory + turned);
    free(memory);
}

static at_status book(state *s, const at_view *w, const at_prepare_in *in, at_prepared *out,
                      at_error *err)
{
    size_t pixel = (size_t)s->c.ci * at_dtype_bytes(AT_F32);
    at_status status = at_dnn_add_packing(s->dnn, s->job[0], w->dtype, &s->packing, err);
    if (status != AT_OK)
        return status;
    s->packed_bytes = round_line(at_dnn_weight_bytes(s->dnn, s->job[0]));
    s->turned_bytes = s->turned ? round_line(at_view_bytes(w)) : 0;
    s->stage_bytes =
        s->staged_w
            ? round_line((size_t)(((s->rows - 1) * s->c.sh + s->c.kh) * s->staged_w) * pixel)
            : 0;
    s->worker_bytes = s->stage_bytes + at_dnn_scratch_bytes(s->dnn);
    out->scratch_bytes = s->worker_bytes * (size_t)in->caps->threads;
    if (!(in->constants >> W & 1u)) {
        out->scratch_bytes += s->packed_bytes + s->turned_bytes;
        return AT_OK;
    }
    at_form *f = &out->forms[out->n_forms++];
    f->operand = W;
    f->bytes = s->packed_bytes;
    f->pack = pack;
    int n = snprintf(f->key, sizeof f->key, "onednn conv%s ", s->turned ? " turned" : "");
    at_dnn_weight_text(s->dnn, s->job[0], f->key + n, sizeof f->key - (size_t)n);
    return AT_OK;
}

/* --- running ---------------------------------------------------------------------------------- */

typedef struct run {
    const state *s;
    const at_view *x, *y, *residual;
    void *w, *bias;
    char *scratch;
} run;

/* Rows of a picture with their reflected borders. */
static void stage(const run *r, char *out, int64_t b, const span *in)
{
    const at_conv *c = &r->s->c;
    size_t pixel = (size_t)c->ci * at_dtype_bytes(r->x->dtype);
    for (int64_t i = 0; i < in->rows; i++) {
        int64_t h = at_conv_source(in->first + i, c->h, true);
        const char *row = at_row(r->x, (b * c->h + h) * c->w);
        char *to = out + (size_t)(i * r->s->staged_w) * pixel;
        for (int64_t j = 0; j < c->left; j++)
            memcpy(to + (size_t)j * pixel,
                   row + (size_t)at_conv_source(j - c->left, c->w, true) * pixel, pixel);
        memcpy(to + (size_t)c->left * pixel, row, (size_t)c->w * pixel);
        for (int64_t j = c->w; j < c->w + c->right; j++)
            memcpy(to + (size_t)(c->left + j) * pixel,
                   row + (size_t)at_conv_source(j, c->w, true) * pixel, pixel);
    }
}

static void run_block(void *ctx, int64_t begin, int64_t end, int worker)
{
    const run *r = ctx;
    const state *s = r->s;
    const at_conv *c = &s->c;
    char *own = r->scratch + (size_t)worker * s->worker_bytes;
    for (int64_t part = begin; part < end; part++) {
        int64_t b = part / s->blocks, block = part % s->blocks, o = block * s->rows;
        int64_t n = c->ho - o < s->rows ? c->ho - o : s->rows, first = (b * c->ho + o) * c->wo;
        span in = span_of(c, o, n);
        void *memory[AT_DNN_SLOTS] = { NULL, r->w, r->bias, at_row(r->y, first) };
        if (r->residual && at_row(r->residual, first) != memory[AT_DNN_Y])
            memcpy(memory[AT_DNN_Y], at_row(r->residual, first),
                   (size_t)(n * c->wo * c->co) * at_dtype_bytes(r->y->dtype));
        if (s->staged_w) {
            stage(r, own, b, &in);
            memory[AT_DNN_X] = own;
        } else {
            memory[AT_DNN_X] = at_row(r->x, (b * c->h + in.first) * c->w);
        }
        at_status status = at_dnn_run(s->dnn, s->job[block], worker, memory, own + s->stage_bytes);
        AT_ASSERT(status == AT_OK, "oneDNN: %s", at_status_name(status));
    }
}

static void run_all(run *r, const at_view *w, const at_prepared *p, const at_launch *l)
{
    const state *s = r->s;
    char *scratch = l->scratch;
    r->w = w->data;
    r->scratch = scratch;
    if (!p->n_forms) {
        r->w = scratch;
        r->scratch = scratch + s->packed_bytes + s->turned_bytes;
        pack_into(s, scratch, w, scratch + s->packed_bytes, r->scratch + s->stage_bytes);
    }
    at_parallel_uneven(l->stream, s->c.b * s->blocks, 1, run_block, r);
}

/* --- conv2d ----------------------------------------------------------------------------------- */

/* A kernel that is padded by its own size or more would give blocks without any input. */
static bool geometry_fits(const at_conv *c)
{
    return c->top < c->kh && c->bottom < c->kh && c->left < c->kw && c->right < c->kw;
}

/* Few channels one way or the other: the library's blocks are wider, own code is faster or
 * equal. */
static bool forward_fits(const at_conv2d_args *a, at_dtype type)
{
    at_conv c = at_conv_of(a);
    at_dtype w = a->w.dtype, bias = a->bias.dtype;
    bool types = a->x.dtype == type && (w == AT_F32 || w == AT_BF16);
    bool exact = a->y.dtype == type || w == type; /* else the weights would lose digits in vain */
    return types && exact && (!at_has(&a->bias) || bias == AT_F32 || bias == type) &&
           geometry_fits(&c);
}

bool at_conv2d_onednn_f32_fits(const void *args)
{
    return forward_fits(args, AT_F32);
}

bool at_conv2d_onednn_bf16_fits(const void *args)
{
    return forward_fits(args, AT_BF16);
}

at_status at_conv2d_onednn_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                   at_error *err)
{
    const at_conv2d_args *a = args;
    at_conv c = at_conv_of(a);
    state *s = state_new(&c, in, out, err);
    at_status status = s ? AT_OK : AT_NO_MEMORY;
    if (s) {
        s->rows = block_rows(&c);
        status = add_blocks(s, a->x.dtype, a->y.dtype, at_has(&a->bias) ? a->bias.dtype : AT_NONE,
                            at_has(&a->residual), a->relu, err);
    }
    if (status == AT_OK)
        status = book(s, &a->w, in, out, err);
    if (status != AT_OK) {
        at_conv2d_onednn_release(out);
        *out = (at_prepared){ 0 };
    }
    return status;
}

at_status at_conv2d_onednn_run(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_conv2d_args *a = args;
    run r = { .s = p->state, .x = &a->x, .y = &a->y, .bias = a->bias.data };
    r.residual = at_has(&a->residual) ? &a->residual : NULL;
    run_all(&r, &a->w, p, l);
    return AT_OK;
}

/* --- conv2d_dgrad ----------------------------------------------------------------------------- */

/* The convolution of dy that is the gradient; a stride would spread dy with zeros. */
static at_conv turned_of(const at_conv2d_dgrad_args *a)
{
    at_conv c = at_conv_of_dgrad(a), t = c;
    t.h = c.ho, t.w = c.wo, t.ci = c.co;
    t.ho = c.h, t.wo = c.w, t.co = c.ci;
    t.top = c.kh - 1 - c.top, t.left = c.kw - 1 - c.left;
    t.bottom = c.kh - 1 - c.bottom, t.right = c.kw - 1 - c.right;
    return t;
}

static bool dgrad_fits(const at_conv2d_dgrad_args *a, at_dtype type)
{
    at_conv c = at_conv_of_dgrad(a);
    return a->dy.dtype == type && (a->w.dtype == AT_F32 || a->w.dtype == AT_BF16) && !c.reflect &&
           c.sh == 1 && c.sw == 1 && geometry_fits(&c);
}

bool at_conv2d_dgrad_onednn_f32_fits(const void *args)
{
    return dgrad_fits(args, AT_F32);
}

bool at_conv2d_dgrad_onednn_bf16_fits(const void *args)
{
    return dgrad_fits(args, AT_BF16);
}

at_status at_conv2d_dgrad_onednn_prepare(const void *args, const at_prepare_in *in,
                                         at_prepared *out, at_error *err)
{
    const at_conv2d_dgrad_args *a = args;
    at_conv c = turned_of(a);
    state *s = state_new(&c, in, out, err);
    at_status status = s ? AT_OK : AT_NO_MEMORY;
    if (s) {
        s->turned = true;
        s->rows = block_rows(&c);
        status = add_blocks(s, a->dy.dtype, a->dx.dtype, AT_NONE, 0, 0, err);
    }
    if (status == AT_OK)
        status = book(s, &a->w, in, out, err);
    if (status != AT_OK) {
        at_conv2d_onednn_release(out);
        *out = (at_prepared){ 0 };
    }
    return status;
}

at_status at_conv2d_dgrad_onednn_run(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_conv2d_dgrad_args *a = args;
    run r = { .s = p->state, .x = &a->dy, .y = &a->dx };
    run_all(&r, &a->w, p, l);
    return AT_OK;
}
