/* linear_onednn.c -- linear and its gradient by the input, by the library, block of rows by block
 * of rows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/linear_variants.h"
#include "kernels/onednn.h"
#include "kernels/parallel.h"

/* Rows of a block: of a sample in exact plans, else of all rows. */
enum { ROWS = 256, ROWS_MIN = 48, EVEN = 4 };

typedef struct state {
    at_dnn *dnn;
    int64_t all, each, rows, blocks; /* rows; rows of a piece that is cut by itself; of a block */
    int job[2], act[2], packing;     /* of a whole block, of the last one of a piece */
    size_t packed_bytes, x_bytes, worker_bytes;
    int operand; /* the weight's place in the operand table */
} state;

/* One op as the library sees it: z = x w (+ residual) + bias, y = act(z). */
typedef struct call {
    at_view y, z, x, w, bias, residual;
    int act;
    int64_t k, n, k_stride, n_stride;
} call;

static call call_of(const at_linear_args *a)
{
    int64_t n = a->w.size[0], k = a->w.size[1];
    return (call){ a->y, a->z, a->x, a->w, a->bias, a->residual, a->act, k, n, 1, k };
}

static call call_of_dgrad(const at_linear_dgrad_args *a)
{
    int64_t n = a->w.size[0], k = a->w.size[1];
    return (call){ .y = a->dx,
                   .x = a->dy,
                   .w = a->w,
                   .residual = a->residual,
                   .k = n,
                   .n = k,
                   .k_stride = k,
                   .n_stride = 1 };
}

static bool whole(const at_view *v, at_dtype type)
{
    return !at_has(v) || (at_dense(v) && v->dtype == type);
}

static bool bf16_fits(const call *c)
{
    bool types = c->x.dtype == AT_BF16 && (c->w.dtype == AT_F32 || c->w.dtype == AT_BF16) &&
                 (c->y.dtype == AT_BF16 || (c->y.dtype == AT_F32 && c->w.dtype == AT_BF16));
    bool bias = !at_has(&c->bias) || c->bias.dtype == AT_F32 || c->bias.dtype == AT_BF16;
    return types && bias && whole(&c->residual, c->y.dtype) && whole(&c->z, c->y.dtype) &&
           at_dense(&c->y);
}

/* For few rows own code, which reads the weights as they are, is faster. */
static bool f32_fits(const call *c)
{
    return c->x.dtype == AT_F32 && c->w.dtype == AT_F32 && whole(&c->y, AT_F32) &&
           whole(&c->bias, AT_F32) && whole(&c->residual, AT_F32) && whole(&c->z, AT_F32);
}

bool at_linear_bf16_onednn_fits(const void *args)
{
    const at_linear_args *a = args;
    call c = call_of(a);
    return bf16_fits(&c) && !at_has(&a->y_amax);
}

bool at_linear_f32_onednn_fits(const void *args)
{
    const at_linear_args *a = args;
    call c = call_of(a);
    return f32_fits(&c) && !at_has(&a->y_amax);
}

bool at_linear_dgrad_bf16_onednn_fits(const void *args)
{
    call c = call_of_dgrad(args);
    return bf16_fits(&c);
}

bool at_linear_dgrad_f32_onednn_fits(const void *args)
{
    call c = call_of_dgrad(args);
    return f32_fits(&c);
}

/* --- preparing -------------------------------------------------------------------------------- */

void at_linear_onednn_release(at_prepared *p)
{
    state *s = p->state;
    if (!s)
        return;
    at_dnn_free(s->dnn);
    free(s);
}

static size_t round_line(size_t n)
{
    return (n + 63) / 64 * 64;
}

static void cut(state *s, const call *c, bool exact)
{
    s->all = at_rows(&c->x);
    s->each = exact && c->x.rank > 1 ? s->all / c->x.size[0] : s->all;
    int64_t blocks = (s->each + ROWS - 1) / ROWS;
    if (s->each >= EVEN * ROWS_MIN) /* equal shares for two or four threads */
        blocks = (blocks + EVEN - 1) / EVEN * EVEN;
    else if (blocks == 1 && s->each > 1)
        blocks = 2;
    s->rows = (s->each + blocks - 1) / blocks;
    s->blocks = (s->each + s->rows - 1) / s->rows;
}

static at_status add_jobs(state *s, const call *c, at_error *err)
{
    for (int i = 0; i < 2; i++) {
        at_dnn_product d;
        memset(&d, 0, sizeof d); /* descriptions are compared byte by byte */
        d.m = i ? s->each - (s->blocks - 1) * s->rows : s->rows;
        d.k = c->k, d.n = c->n, d.k_stride = c->k_stride, d.n_stride = c->n_stride;
        d.type = c->x.dtype, d.y_type = c->y.dtype;
        d.bias_type = at_has(&c->bias) ? c->bias.dtype : AT_NONE;
        d.sum = at_has(&c->residual);
        d.act = at_has(&c->z) ? AT_ACT_NONE : c->act;
        at_status status = at_dnn_add_product(s->dnn, &d, &s->job[i], err);
        if (status == AT_OK && at_has(&c->z) && c->act) {
            d.act = c->act;
            status = at_dnn_add_act(s->dnn, &d, &s->act[i], err);
        }
        if (status != AT_OK)
            return status;
    }
    if (!at_dnn_same_weights(s->dnn, s->job[0], s->job[1]))
        return at_fail(err, AT_UNSUPPORTED, "blocks want different layouts of the weights");
    return at_dnn_add_packing(s->dnn, s->job[0], c->w.dtype, &s->packing, err);
}

static void pack_into(const state *s, void *dst, const at_view *w, void *scratch)
{
    void *memory[AT_DNN_SLOTS] = { [AT_DNN_X] = w->data, [AT_DNN_W] = dst };
    at_status status = at_dnn_run(s->dnn, s->packing, 0, memory, scratch);
    AT_ASSERT(status == AT_OK, "packing weights: %s", at_status_name(status));
}

/* Packing happens when weights are loaded or have changed, outside of runs: it may allocate. */
static void pack(const at_prepared *p, int form, void *dst, const at_view *w,
                 const at_stream *stream)
{
    const state *s = p->state;
    size_t bytes = round_line(at_dnn_scratch_bytes(s->dnn) + 1);
    void *scratch = aligned_alloc(64, bytes);
    (void)form, (void)stream;
    AT_ASSERT(scratch, "no memory for packing %zu bytes", bytes);
    pack_into(s, dst, w, scratch);
    free(scratch);
}

static void book(state *s, const call *c, const at_prepare_in *in, at_prepared *out)
{
    s->packed_bytes = round_line(at_dnn_weight_bytes(s->dnn, s->job[0]));
    s->x_bytes =
        at_dense(&c->x) ? 0 : round_line((size_t)(s->rows * c->k) * at_dtype_bytes(c->x.dtype));
    s->worker_bytes = s->x_bytes + at_dnn_scratch_bytes(s->dnn);
    out->scratch_bytes = s->worker_bytes * (size_t)in->caps->threads;
    if (!(in->constants >> s->operand & 1u)) {
        out->scratch_bytes += s->packed_bytes;
        return;
    }
    at_form *f = &out->forms[out->n_forms++];
    f->operand = s->operand;
    f->bytes = s->packed_bytes;
    f->pack = pack;
    int n = snprintf(f->key, sizeof f->key, "onednn product%s %s ", c->k_stride > 1 ? " t" : "",
                     at_dtype_name(c->x.dtype));
    at_dnn_weight_text(s->dnn, s->job[0], f->key + n, sizeof f->key - (size_t)n);
}

static at_status prepare(const call *c, int operand, const at_prepare_in *in, at_prepared *out,
                         at_error *err)
{
    state *s = calloc(1, sizeof *s);
    if (!s)
        return at_fail(err, AT_NO_MEMORY, "no memory for a prepared product");
    out->state = s;
    s->operand = operand;
    cut(s, c, in->exact);
    at_status status = at_dnn_new(&s->dnn, in->caps->threads, err);
    if (status == AT_OK)
        status = add_jobs(s, c, err);
    if (status == AT_OK) {
        book(s, c, in, out);
    } else {
        at_linear_onednn_release(out);
        *out = (at_prepared){ 0 };
    }
    return status;
}

enum { LINEAR_W = 4, LINEAR_DGRAD_W = 2 }; /* places in the operand tables */

at_status at_linear_onednn_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                   at_error *err)
{
    call c = call_of(args);
    return prepare(&c, LINEAR_W, in, out, err);
}

at_status at_linear_dgrad_onednn_prepare(const void *args, const at_prepare_in *in,
                                         at_prepared *out, at_error *err)
{
    call c = call_of_dgrad(args);
    return prepare(&c, LINEAR_DGRAD_W, in, out, err);
}

/* --- running ---------------------------------------------------------------------------------- */

typedef struct run {
    const state *s;
    const call *c;
    void *w;
    char *scratch;
} run;

static void run_block(void *ctx, int64_t begin, int64_t end, int worker)
{
    const run *r = ctx;
    const state *s = r->s;
    const call *c = r->c;
    char *x = r->scratch + (size_t)worker * s->worker_bytes, *rest = x + s->x_bytes;
    const at_view *sums = at_has(&c->z) ? &c->z : &c->y;
    for (int64_t part = begin; part < end; part++) {
        int64_t block = part % s->blocks, row = part / s->blocks * s->each + block * s->rows;
        int which = block == s->blocks - 1;
        int64_t n = which ? s->each - block * s->rows : s->rows;
        size_t bytes = (size_t)(n * c->n) * at_dtype_bytes(c->y.dtype);
        size_t x_row = (size_t)c->k * at_dtype_bytes(c->x.dtype);
        void *memory[AT_DNN_SLOTS] = { at_row(&c->x, row), r->w, c->bias.data, at_row(sums, row) };
        for (int64_t i = 0; i < n && s->x_bytes; i++)
            memcpy(x + (size_t)i * x_row, at_row(&c->x, row + i), x_row);
        if (s->x_bytes)
            memory[AT_DNN_X] = x;
        if (at_has(&c->residual) && at_row(&c->residual, row) != memory[AT_DNN_Y])
            memcpy(memory[AT_DNN_Y], at_row(&c->residual, row), bytes);
        at_status status = at_dnn_run(s->dnn, s->job[which], worker, memory, rest);
        if (status == AT_OK && at_has(&c->z) && c->act) {
            void *act[AT_DNN_SLOTS] = { memory[AT_DNN_Y], NULL, NULL, at_row(&c->y, row) };
            status = at_dnn_run(s->dnn, s->act[which], worker, act, rest);
        } else if (at_has(&c->z)) {
            memcpy(at_row(&c->y, row), memory[AT_DNN_Y], bytes);
        }
        AT_ASSERT(status == AT_OK, "oneDNN: %s", at_status_name(status));
    }
}

static at_status run_call(const call *c, const at_prepared *p, const at_launch *l)
{
    const state *s = p->state;
    run r = { s, c, c->w.data, l->scratch };
    if (!p->n_forms) {
        r.w = l->scratch;
        r.scratch += s->packed_bytes;
        pack_into(s, r.w, &c->w, r.scratch + s->x_bytes);
    }
    at_parallel_uneven(l->stream, s->all / s->each * s->blocks, 1, run_block, &r);
    return AT_OK;
}

at_status at_linear_onednn_run(const void *args, const at_prepared *p, const at_launch *l)
{
    call c = call_of(args);
    return run_call(&c, p, l);
}

at_status at_linear_dgrad_onednn_run(const void *args, const at_prepared *p, const at_launch *l)
{
    call c = call_of_dgrad(args);
    return run_call(&c, p, l);
}
