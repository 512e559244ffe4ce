/* conv2d_grad_onednn.c -- the gradient of conv2d by its weights, by the library.
 *
 * A part is a slice of output channels, over all pixels, on one thread: nothing is added across
 * threads. The library by itself splits the pixels, and its result changes with the number of
 * threads. */
#include <stdlib.h>
#include <string.h>

#include "kernels/conv2d_variants.h"
#include "kernels/onednn.h"
#include "kernels/parallel.h"

/* Measured at 320 to 1280 channels: 80 loses nothing against one slice, 32 up to half. */
enum { SLICE = 80 };

typedef struct state {
    at_dnn *dnn;
    at_conv c;
    int64_t slices;
    int job[2], unpacking[2];               /* of a whole slice, of the last one */
    size_t dy, layout, plain, bias, worker; /* bytes of a worker's scratch */
} state;

static int64_t slice_size(const state *s, int64_t i)
{
    int64_t rest = s->c.co - i * SLICE;
    return rest < SLICE ? rest : SLICE;
}

static at_status add_slice(state *s, int which, int64_t co, at_dtype type, at_error *err)
{
    const at_conv *c = &s->c;
    at_dnn_conv d;
    memset(&d, 0, sizeof d); /* descriptions are compared byte by byte */
    d.b = c->b, d.h = c->h, d.w = c->w, d.ci = c->ci, d.co = co, d.kh = c->kh, d.kw = c->kw;
    d.sh = c->sh, d.sw = c->sw, d.top = c->top, d.left = c->left, d.bottom = c->bottom;
    d.right = c->right, d.type = type, d.y_type = type, d.bias_type = AT_F32;
    at_status status = at_dnn_add_conv_wgrad(s->dnn, &d, &s->job[which], err);
    if (status == AT_OK)
        status = at_dnn_add_unpacking(s->dnn, s->job[which], &s->unpacking[which], err);
    return status;
}

static size_t round_line(size_t n)
{
    return (n + 63) / 64 * 64;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static void book(state *s, at_dtype type, int threads, at_prepared *out)
{
    const at_conv *c = &s->c;
    int64_t co = slice_size(s, 0);
    s->dy = round_line((size_t)(c->b * c->ho * c->wo * co) * at_dtype_bytes(type));
    s->layout = round_line(
        larger(at_dnn_weight_bytes(s->dnn, s->job[0]), at_dnn_weight_bytes(s->dnn, s->job[1])));
    s->plain = round_line((size_t)(co * c->ci * c->kh * c->kw) * sizeof(float));
    s->bias = round_line((size_t)co * sizeof(float));
    s->worker = s->dy + s->layout + s->plain + s->bias + at_dnn_scratch_bytes(s->dnn);
    out->scratch_bytes = s->worker * (size_t)threads;
}

static bool wgrad_fits(const at_conv2d_wgrad_args *a, at_dtype type)
{
    at_conv c = at_conv_of_wgrad(a);
    return a->x.dtype == type && !c.reflect && c.top < c.kh && c.bottom < c.kh && c.left < c.kw &&
           c.right < c.kw;
}

bool at_conv2d_wgrad_onednn_f32_fits(const void *args)
{
    return wgrad_fits(args, AT_F32);
}

bool at_conv2d_wgrad_onednn_bf16_fits(const void *args)
{
    return wgrad_fits(args, AT_BF16);
}

static void state_free(state *s)
{
    if (s)
        at_dnn_free(s->dnn);
    free(s);
}

void at_conv2d_wgrad_onednn_release(at_prepared *p)
{
    state_free(p->state);
}

at_status at_conv2d_wgrad_onednn_prepare(const void *args, const at_prepare_in *in,
                                         at_prepared *out, at_error *err)
{
    const at_conv2d_wgrad_args *a = args;
    state *s = calloc(1, sizeof *s);
    if (!s)
        return at_fail(err, AT_NO_MEMORY, "no memory for a prepared gradient");
    s->c = at_conv_of_wgrad(a);
    s->slices = (s->c.co + SLICE - 1) / SLICE;
    at_status status = at_dnn_new(&s->dnn, in->caps->threads, err);
    if (status == AT_OK)
        status = add_slice(s, 0, slice_size(s, 0), a->x.dtype, err);
    if (status == AT_OK)
        status = add_slice(s, 1, slice_size(s, s->slices - 1), a->x.dtype, err);
    if (status != AT_OK) {
        state_free(s);
        return status;
    }
    book(s, a->x.dtype, in->caps->threads, out);
    out->state = s;
    return AT_OK;
}

typedef struct run {
    const state *s;
    const at_conv2d_wgrad_args *a;
    char *scratch;
} run;

static void add_up(float *out, const float *acc, const float *sum, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = acc ? acc[i] + sum[i] : sum[i];
}

static void run_slice(void *ctx, int64_t begin, int64_t end, int worker)
{
    const run *r = ctx;
    const state *s = r->s;
    const at_conv *c = &s->c;
    const at_conv2d_wgrad_args *a = r->a;
    char *dy = r->scratch + (size_t)worker * s->worker, *layout = dy + s->dy;
    char *plain = layout + s->layout, *bias = plain + s->plain, *rest = bias + s->bias;
    size_t element = at_dtype_bytes(a->dy.dtype);
    for (int64_t i = begin; i < end; i++) {
        int64_t co = slice_size(s, i), first = i * SLICE, each = c->ci * c->kh * c->kw;
        int which = i == s->slices - 1;
        for (int64_t p = 0; p < c->b * c->ho * c->wo; p++)
            memcpy(dy + (size_t)(p * co) * element,
                   (const char *)at_row(&a->dy, p) + (size_t)first * element, (size_t)co * element);
        void *sums[AT_DNN_SLOTS] = { a->x.data, layout, bias, dy };
        void *turn[AT_DNN_SLOTS] = { layout, plain, NULL, NULL };
        at_status status = at_dnn_run(s->dnn, s->job[which], worker, sums, rest);
        if (status == AT_OK)
            status = at_dnn_run(s->dnn, s->unpacking[which], worker, turn, rest);
        AT_ASSERT(status == AT_OK, "oneDNN: %s", at_status_name(status));
        add_up((float *)a->dw.data + first * each,
               at_has(&a->acc) ? (const float *)a->acc.data + first * each : NULL,
               (const float *)(void *)plain, co * each);
        if (at_has(&a->dbias))
            add_up((float *)a->dbias.data + first,
                   at_has(&a->bias_acc) ? (const float *)a->bias_acc.data + first : NULL,
                   (const float *)(void *)bias, co);
    }
}

at_status at_conv2d_wgrad_onednn_run(const void *args, const at_prepared *p, const at_launch *l)
{
    run r = { p->state, args, l->scratch };
    at_parallel_uneven(l->stream, r.s->slices, 1, run_slice, &r);
    return AT_OK;
}
