#include "tests/emulator/cudnn_program.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cudnn.h"
#include "tests/emulator/machine.h"
#include "tests/emulator/numbers.h"

/* --- elements --------------------------------------------------------------------------------- */

size_t at_dnn_type_bytes(int type)
{
    switch (type) {
    case AT_CUDNN_DATA_FLOAT: return sizeof(float);
    case AT_CUDNN_DATA_HALF:
    case AT_CUDNN_DATA_BFLOAT16: return sizeof(uint16_t);
    default: return 0;
    }
}

size_t at_dnn_extent(const at_dnn_tensor *t)
{
    int64_t last = 0;
    for (int i = 0; i < t->rank; i++)
        last += (t->size[i] - 1) * t->stride[i];
    return (size_t)(last + 1) * at_dnn_type_bytes(t->type);
}

int64_t at_dnn_elements(const at_dnn_tensor *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++)
        n *= t->size[i];
    return n;
}

static float element(const void *p, int type)
{
    uint16_t bits;
    float value;
    if (type == AT_CUDNN_DATA_FLOAT) {
        memcpy(&value, p, sizeof value);
        return value;
    }
    memcpy(&bits, p, sizeof bits);
    return type == AT_CUDNN_DATA_HALF ? at_emu_f16_value(bits) : at_emu_bf16_value(bits);
}

static void put_element(void *p, int type, float value)
{
    uint16_t bits;
    if (type == AT_CUDNN_DATA_FLOAT) {
        memcpy(p, &value, sizeof value);
        return;
    }
    bits = type == AT_CUDNN_DATA_HALF ? at_emu_f16_bits(value) : at_emu_bf16_bits(value);
    memcpy(p, &bits, sizeof bits);
}

static float rounded(float value, int type)
{
    float out = 0;
    put_element(&out, type, value);
    return element(&out, type);
}

/* Counts like the digits of a number; false when it is back at zero. */
static bool next(int64_t *index, const int64_t *size, int rank)
{
    for (int i = rank - 1; i >= 0; i--) {
        if (++index[i] < size[i])
            return true;
        index[i] = 0;
    }
    return false;
}

/* Where an element lies in the dense array of a tensor whose sizes of 1 are repeated. */
static int64_t repeated(const at_dnn_tensor *t, const int64_t *index)
{
    int64_t at = 0;
    for (int i = 0; i < t->rank; i++)
        at = at * t->size[i] + (t->size[i] == 1 ? 0 : index[i]);
    return at;
}

/* --- a run ------------------------------------------------------------------------------------ */

typedef struct run {
    const at_dnn_program *p;
    float *values[AT_DNN_TENSORS_MAX]; /* dense; NULL: not there yet */
    int64_t batch;                     /* of the first tensor */
} run;

static float *room_for(int64_t n)
{
    float *values = malloc((size_t)n * sizeof *values);
    if (!values) {
        fprintf(stderr, "the emulated cuDNN has no memory\n");
        abort();
    }
    return values;
}

static char *place_of(const at_dnn_tensor *t, const int64_t *index)
{
    int64_t at = 0;
    for (int i = 0; i < t->rank; i++)
        at += index[i] * t->stride[i];
    return (char *)t->data + (size_t)at * at_dnn_type_bytes(t->type);
}

/* An input as the engine takes it in. */
static float taken(float value, at_dnn_engine engine)
{
    if (engine == AT_DNN_ENGINE_DOWN_CONVERTS)
        return rounded(value, AT_CUDNN_DATA_BFLOAT16);
    if (engine == AT_DNN_ENGINE_TF32) /* 10 bits behind the point */
        return at_emu_float_of(at_emu_bits_of(value) & 0xffffe000u);
    return value;
}

/* The values of an input, read when they are first asked for. */
static const float *input(run *r, int which)
{
    const at_dnn_tensor *t = &r->p->tensors[which];
    int64_t index[AT_DNN_RANK_MAX] = { 0 }, n = 0;
    if (r->values[which])
        return r->values[which];
    float *values = r->values[which] = room_for(at_dnn_elements(t));
    if (t->by_value) {
        values[0] = t->value;
        return values;
    }
    do {
        values[n++] = taken(element(place_of(t, index), t->type), r->p->engine);
    } while (next(index, t->size, t->rank));
    return values;
}

static float *output(run *r, int which)
{
    return r->values[which] = room_for(at_dnn_elements(&r->p->tensors[which]));
}

/* Engines that may never be taken leave what cannot be overlooked. */
static bool is_poison(const at_dnn_program *p)
{
    return p->engine == AT_DNN_ENGINE_NONDETERMINISTIC || p->engine == AT_DNN_ENGINE_TOO_BIG;
}

/* Rounds what a step produced, and writes it where it is not virtual. */
static void deliver(run *r, int which)
{
    const at_dnn_tensor *t = &r->p->tensors[which];
    float *values = r->values[which];
    int64_t index[AT_DNN_RANK_MAX] = { 0 }, n = 0;
    do {
        values[n] = is_poison(r->p) ? NAN : rounded(values[n], t->type);
        if (!t->is_virtual) {
            void *place = place_of(t, index);
            put_element(place, t->type, values[n]);
            at_emu_watch_written(place, at_dnn_type_bytes(t->type));
        }
        n++;
    } while (next(index, t->size, t->rank));
}

/* --- sums, in the engine's way ---------------------------------------------------------------- */

typedef struct sum {
    const run *r;
    double total;
    float part;
    int64_t in_part, chunk, parts;
    int bits; /* that are kept of a part; 0: all */
} sum;

static sum sum_begin(const run *r)
{
    sum s = { .r = r };
    if (r->p->engine == AT_DNN_ENGINE_WORKSPACE)
        s.chunk = r->p->knob ? 64 : 16;
    if (r->p->engine == AT_DNN_ENGINE_SPLIT_BY_BATCH)
        s.chunk = 2 + 3 * r->batch;
    return s;
}

/* A sum that ends as a result of 'type'. Its parts go through memory in fewer bits, three more than
 * the result has: what a reduction in pieces may lose, so that where they end shows in it. */
static sum sum_begin_as(const run *r, int type)
{
    sum s = sum_begin(r);
    if (r->p->engine == AT_DNN_ENGINE_SPLIT_BY_BATCH && type != AT_CUDNN_DATA_FLOAT)
        s.bits = type == AT_CUDNN_DATA_BFLOAT16 ? 11 : 14;
    return s;
}

static float kept(float part, int bits)
{
    uint32_t unit = 1u << (24 - bits); /* of the last bit that is kept */
    if (!bits || !isfinite(part))
        return part;
    return at_emu_float_of((at_emu_bits_of(part) + unit / 2) & ~(unit - 1));
}

static void sum_part(sum *s)
{
    float *slots = s->r->p->workspace;
    int64_t room = (int64_t)(s->r->p->workspace_bytes / sizeof *slots);
    float part = kept(s->part, s->bits);
    if (room > 0) { /* through the workspace, which must be there */
        float *slot = &slots[s->parts++ % room];
        *slot = part;
        part = *slot;
    }
    s->total = (float)s->total + part;
    s->part = 0;
    s->in_part = 0;
}

/* n products; the steps are how far one factor lies from the next. */
static void sum_dot(sum *s, const float *a, int64_t a_step, const float *b, int64_t b_step,
                    int64_t n)
{
    double total = s->total;
    for (int64_t i = 0; i < n && !s->chunk; i++)
        total += (double)a[i * a_step] * (double)b[i * b_step];
    s->total = total;
    for (int64_t i = 0; i < n && s->chunk;) {
        float part = s->part;
        int64_t end = i + s->chunk - s->in_part;
        end = end < n ? end : n;
        s->in_part += end - i;
        for (; i < end; i++)
            part += a[i * a_step] * b[i * b_step];
        s->part = part;
        if (s->in_part == s->chunk)
            sum_part(s);
    }
}

static void sum_add(sum *s, float a)
{
    const float one = 1;
    sum_dot(s, &a, 0, &one, 0, 1);
}

static float sum_end(sum *s)
{
    if (s->chunk && s->in_part)
        sum_part(s);
    return (float)s->total;
}

/* --- convolutions: x (n, c, h, w), w (k, c, r, s), y (n, k, p, q) ----------------------------- */

typedef struct window {
    const at_dnn_step *step;
    const int64_t *x, *w, *y; /* sizes */
    const float *xs, *ws, *ys;
    int type; /* of what the graph makes of the result */
} window;

/* The row (i = 0) or column of x that tap t of output o reads; -1: padding. */
static int64_t source(const window *v, int i, int64_t o, int64_t t)
{
    int64_t at = o * v->step->stride[i] + t * v->step->dilation[i] - v->step->before[i];
    return at >= 0 && at < v->x[2 + i] ? at : -1;
}

static float conv_at(const run *r, const window *v, const int64_t *o)
{
    sum s = sum_begin_as(r, v->type);
    for (int64_t i = 0; i < v->w[2]; i++)
        for (int64_t j = 0; j < v->w[3]; j++) {
            int64_t h = source(v, 0, o[2], i), w = source(v, 1, o[3], j);
            if (h >= 0 && w >= 0)
                sum_dot(&s, v->xs + (o[0] * v->x[1] * v->x[2] + h) * v->x[3] + w, v->x[2] * v->x[3],
                        v->ws + (o[1] * v->w[1] * v->w[2] + i) * v->w[3] + j, v->w[2] * v->w[3],
                        v->x[1]);
        }
    return sum_end(&s);
}

/* The output whose tap t reads position 'at' of x; -1: there is none. */
static int64_t reader(const window *v, int i, int64_t at, int64_t t)
{
    int64_t from = at + v->step->before[i] - t * v->step->dilation[i];
    bool hit = from >= 0 && from % v->step->stride[i] == 0;
    return hit && from / v->step->stride[i] < v->y[2 + i] ? from / v->step->stride[i] : -1;
}

static float dgrad_at(const run *r, const window *v, const int64_t *o)
{
    sum s = sum_begin_as(r, v->type);
    for (int64_t i = 0; i < v->w[2]; i++)
        for (int64_t j = 0; j < v->w[3]; j++) {
            int64_t p = reader(v, 0, o[2], i), q = reader(v, 1, o[3], j);
            if (p >= 0 && q >= 0)
                sum_dot(&s, v->ys + (o[0] * v->y[1] * v->y[2] + p) * v->y[3] + q, v->y[2] * v->y[3],
                        v->ws + (o[1] * v->w[2] + i) * v->w[3] + j, v->w[1] * v->w[2] * v->w[3],
                        v->w[0]);
        }
    return sum_end(&s);
}

static float wgrad_at(const run *r, const window *v, const int64_t *o)
{
    sum s = sum_begin_as(r, v->type);
    for (int64_t n = 0; n < v->x[0]; n++)
        for (int64_t p = 0; p < v->y[2]; p++) {
            int64_t h = source(v, 0, p, o[2]);
            for (int64_t q = 0; q < v->y[3] && h >= 0; q++) {
                int64_t w = source(v, 1, q, o[3]);
                if (w >= 0)
                    sum_dot(&s, v->ys + ((n * v->y[1] + o[0]) * v->y[2] + p) * v->y[3] + q, 0,
                            v->xs + ((n * v->x[1] + o[1]) * v->x[2] + h) * v->x[3] + w, 0, 1);
            }
        }
    return sum_end(&s);
}

static void run_convolution(run *r, const at_dnn_step *s)
{
    const at_dnn_tensor *t = r->p->tensors;
    float (*at)(const run *, const window *, const int64_t *) = conv_at;
    window v = { .step = s, .type = t[r->p->steps[r->p->n_steps - 1].out[0]].type };
    int64_t index[AT_DNN_RANK_MAX] = { 0 }, n = 0;
    if (s->kind == AT_DNN_CONV) {
        v.x = t[s->in[0]].size, v.xs = input(r, s->in[0]);
        v.w = t[s->in[1]].size, v.ws = input(r, s->in[1]);
        v.y = t[s->out[0]].size;
    } else if (s->kind == AT_DNN_DGRAD) {
        at = dgrad_at;
        v.y = t[s->in[0]].size, v.ys = input(r, s->in[0]);
        v.w = t[s->in[1]].size, v.ws = input(r, s->in[1]);
        v.x = t[s->out[0]].size;
    } else {
        at = wgrad_at;
        v.y = t[s->in[0]].size, v.ys = input(r, s->in[0]);
        v.x = t[s->in[1]].size, v.xs = input(r, s->in[1]);
        v.w = t[s->out[0]].size;
    }
    float *out = output(r, s->out[0]);
    do
        out[n++] = at(r, &v, index);
    while (next(index, t[s->out[0]].size, t[s->out[0]].rank));
}

/* --- pointwise operations, reductions, products ----------------------------------------------- */

static float point(int mode, float x, float b)
{
    switch (mode) {
    case AT_CUDNN_POINTWISE_ADD: return x + b;
    case AT_CUDNN_POINTWISE_MUL: return x * b;
    case AT_CUDNN_POINTWISE_SUB: return x - b;
    case AT_CUDNN_POINTWISE_MAX: return x > b || isnan(x) ? x : b;
    case AT_CUDNN_POINTWISE_EXP: return expf(x);
    case AT_CUDNN_POINTWISE_RELU_FWD: return x > 0 || isnan(x) ? x : 0;
    case AT_CUDNN_POINTWISE_SWISH_FWD: return x / (1 + expf(-x));
    default: return x; /* AT_CUDNN_POINTWISE_IDENTITY */
    }
}

static void run_pointwise(run *r, const at_dnn_step *s)
{
    const at_dnn_tensor *x = &r->p->tensors[s->in[0]], *y = &r->p->tensors[s->out[0]];
    const at_dnn_tensor *b = s->in[1] < 0 ? x : &r->p->tensors[s->in[1]];
    const float *xs = input(r, s->in[0]), *bs = s->in[1] < 0 ? xs : input(r, s->in[1]);
    float *ys = output(r, s->out[0]);
    int64_t index[AT_DNN_RANK_MAX] = { 0 }, n = 0;
    do
        ys[n++] = point(s->mode, xs[repeated(x, index)], bs[repeated(b, index)]);
    while (next(index, y->size, y->rank));
}

/* One result: over the axes of x where y has size 1. */
static float reduce_at(const run *r, const at_dnn_step *s, const float *xs, const int64_t *at)
{
    const at_dnn_tensor *x = &r->p->tensors[s->in[0]], *y = &r->p->tensors[s->out[0]];
    int64_t inner[AT_DNN_RANK_MAX] = { 0 }, size[AT_DNN_RANK_MAX], index[AT_DNN_RANK_MAX];
    for (int i = 0; i < x->rank; i++)
        size[i] = y->size[i] == 1 ? x->size[i] : 1;
    sum total = sum_begin(r);
    float most = -INFINITY;
    do {
        for (int i = 0; i < x->rank; i++)
            index[i] = at[i] + inner[i];
        float value = xs[repeated(x, index)];
        most = point(AT_CUDNN_POINTWISE_MAX, value, most);
        sum_add(&total, value);
    } while (next(inner, size, x->rank));
    return s->mode == AT_CUDNN_REDUCE_TENSOR_MAX ? most : sum_end(&total);
}

static void run_reduction(run *r, const at_dnn_step *s)
{
    const at_dnn_tensor *y = &r->p->tensors[s->out[0]];
    const float *xs = input(r, s->in[0]);
    float *ys = output(r, s->out[0]);
    int64_t index[AT_DNN_RANK_MAX] = { 0 }, n = 0;
    do
        ys[n++] = reduce_at(r, s, xs, index);
    while (next(index, y->size, y->rank));
}

/* A tensor's first element of the matrix in which an element of the result lies. */
static const float *matrix(const at_dnn_tensor *t, const float *values, const int64_t *index)
{
    int64_t first[AT_DNN_RANK_MAX] = { 0 };
    memcpy(first, index, (size_t)(t->rank - 2) * sizeof *first);
    return values + repeated(t, first);
}

static void run_matmul(run *r, const at_dnn_step *s)
{
    const at_dnn_tensor *a = &r->p->tensors[s->in[0]], *b = &r->p->tensors[s->in[1]];
    const at_dnn_tensor *c = &r->p->tensors[s->out[0]];
    const float *as = input(r, s->in[0]), *bs = input(r, s->in[1]);
    float *cs = output(r, s->out[0]);
    int64_t index[AT_DNN_RANK_MAX] = { 0 }, n = 0;
    int row = c->rank - 2, column = c->rank - 1;
    do {
        sum total = sum_begin_as(r, c->is_virtual ? AT_CUDNN_DATA_FLOAT : c->type);
        sum_dot(&total, matrix(a, as, index) + index[row] * a->size[column], 1,
                matrix(b, bs, index) + index[column], b->size[column], a->size[column]);
        cs[n++] = sum_end(&total);
    } while (next(index, c->size, c->rank));
}

/* --- a view with its axes exchanged ----------------------------------------------------------- */

/* Which axis of x each axis of y is: the one with its size and its stride. */
static bool find_axes(const at_dnn_tensor *x, const at_dnn_tensor *y, int *axes)
{
    bool taken_already[AT_DNN_RANK_MAX] = { false };
    for (int i = 0; i < y->rank; i++) {
        int k = 0;
        while (k < x->rank && (taken_already[k] || x->size[k] != y->size[i] ||
                               (y->size[i] > 1 && x->stride[k] != y->stride[i])))
            k++;
        if (k == x->rank)
            return false;
        taken_already[k] = true;
        axes[i] = k;
    }
    return x->rank == y->rank;
}

bool at_dnn_is_transposed(const at_dnn_tensor *x, const at_dnn_tensor *y)
{
    int axes[AT_DNN_RANK_MAX];
    return find_axes(x, y, axes);
}

static void run_reshape(run *r, const at_dnn_step *s)
{
    const at_dnn_tensor *x = &r->p->tensors[s->in[0]], *y = &r->p->tensors[s->out[0]];
    const float *xs = input(r, s->in[0]);
    float *ys = output(r, s->out[0]);
    int64_t index[AT_DNN_RANK_MAX] = { 0 }, from[AT_DNN_RANK_MAX], n = 0;
    int axes[AT_DNN_RANK_MAX];
    find_axes(x, y, axes);
    do {
        for (int i = 0; i < y->rank; i++)
            from[axes[i]] = index[i];
        ys[n++] = xs[repeated(x, from)];
    } while (next(index, y->size, y->rank));
}

/* --- attention: q (b, h, l, d), k and v (b, h, m, d), stats (b, h, l, 1) ---------------------- */

typedef struct attention {
    const float *q, *k, *v; /* of one head */
    int64_t m, d, dv;
    int type; /* of o */
    float scale;
    float *weights; /* (m) */
} attention;

/* One row of the result; returns the log of the sum of exponentials. */
static float attend(const run *r, const attention *a, const float *q, float *o)
{
    float most = -INFINITY;
    for (int64_t j = 0; j < a->m; j++) {
        sum dot = sum_begin(r);
        sum_dot(&dot, q, 1, a->k + j * a->d, 1, a->d);
        a->weights[j] = a->scale * sum_end(&dot);
        most = point(AT_CUDNN_POINTWISE_MAX, a->weights[j], most);
    }
    sum total = sum_begin(r);
    for (int64_t j = 0; j < a->m; j++) {
        a->weights[j] = expf(a->weights[j] - most);
        sum_add(&total, a->weights[j]);
    }
    float all = sum_end(&total);
    for (int64_t i = 0; i < a->dv; i++) {
        sum mix = sum_begin_as(r, a->type);
        sum_dot(&mix, a->weights, 1, a->v + i, a->dv, a->m);
        o[i] = sum_end(&mix) / all;
    }
    return most + logf(all);
}

static void run_sdpa(run *r, const at_dnn_step *s)
{
    const at_dnn_tensor *q = &r->p->tensors[s->in[0]], *k = &r->p->tensors[s->in[1]];
    const at_dnn_tensor *v = &r->p->tensors[s->in[2]];
    const float *qs = input(r, s->in[0]), *ks = input(r, s->in[1]), *vs = input(r, s->in[2]);
    float *os = output(r, s->out[0]), *stats = s->out[1] < 0 ? NULL : output(r, s->out[1]);
    attention a = { .m = k->size[2], .d = q->size[3], .dv = v->size[3] };
    a.type = r->p->tensors[s->out[0]].type;
    a.scale = s->in[3] < 0 ? 1 : *input(r, s->in[3]);
    a.weights = room_for(a.m);
    for (int64_t head = 0; head < q->size[0] * q->size[1]; head++) {
        a.k = ks + head * a.m * a.d;
        a.v = vs + head * a.m * a.dv;
        for (int64_t l = head * q->size[2]; l < (head + 1) * q->size[2]; l++) {
            float log_sum = attend(r, &a, qs + l * a.d, os + l * a.dv);
            if (stats)
                stats[l] = log_sum;
        }
    }
    free(a.weights);
}

/* --- a program -------------------------------------------------------------------------------- */

static void run_step(run *r, const at_dnn_step *s)
{
    switch (s->kind) {
    case AT_DNN_CONV:
    case AT_DNN_DGRAD:
    case AT_DNN_WGRAD: run_convolution(r, s); break;
    case AT_DNN_POINTWISE: run_pointwise(r, s); break;
    case AT_DNN_MATMUL: run_matmul(r, s); break;
    case AT_DNN_REDUCTION: run_reduction(r, s); break;
    case AT_DNN_RESHAPE: run_reshape(r, s); break;
    case AT_DNN_SDPA: run_sdpa(r, s); break;
    }
    for (int i = 0; i < 2; i++)
        if (s->out[i] >= 0)
            deliver(r, s->out[i]);
}

/* Nothing of an earlier run may be read from the workspace, nor anything kept in it. */
static void spoil_workspace(const at_dnn_program *p)
{
    if (p->workspace_bytes)
        memset(p->workspace, 0xFF, p->workspace_bytes);
}

void at_dnn_program_run(void *program)
{
    const at_dnn_program *p = program;
    const at_dnn_tensor *first = &p->tensors[p->steps[0].in[0]];
    run r = { .p = p, .batch = first->size[0] };
    spoil_workspace(p);
    for (int i = 0; i < p->n_steps; i++)
        run_step(&r, &p->steps[i]);
    spoil_workspace(p);
    if (p->workspace_bytes)
        at_emu_watch_forget(p->workspace, p->workspace_bytes);
    for (int i = 0; i < p->n_tensors; i++)
        free(r.values[i]);
}
