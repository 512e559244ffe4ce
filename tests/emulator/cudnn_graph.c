/* cudnn_graph.c -- what the emulated cuDNN accepts as a tensor, an operation and a graph.
 *
 * A graph becomes a program: its tensors told apart by their ids, its operations in an order in
 * which each comes after what it reads. Which graphs have engines follows what cuDNN 9.19 answered
 * for an H200: see judge(). */
#include <stdlib.h>
#include <string.h>

#include "tests/emulator/cudnn_bag.h"

#define BAD(...)         at_dnn_fail(AT_CUDNN_STATUS_BAD_PARAM, __VA_ARGS__)
#define MISMATCH(...)    at_dnn_fail(AT_CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH, __VA_ARGS__)
#define UNSUPPORTED(...) at_dnn_fail(AT_CUDNN_STATUS_NOT_SUPPORTED, __VA_ARGS__)
#define GOOD             AT_CUDNN_STATUS_SUCCESS

/* --- tensors ---------------------------------------------------------------------------------- */

static at_dnn_tensor tensor_of(const at_dnn *d)
{
    const at_dnn_field *size = at_dnn_field_of(d, AT_CUDNN_ATTR_TENSOR_DIMENSIONS);
    const at_dnn_field *stride = at_dnn_field_of(d, AT_CUDNN_ATTR_TENSOR_STRIDES);
    at_dnn_tensor t = { .id = at_dnn_i64(d, AT_CUDNN_ATTR_TENSOR_UNIQUE_ID),
                        .type = at_dnn_enum(d, AT_CUDNN_ATTR_TENSOR_DATA_TYPE),
                        .alignment = at_dnn_i64(d, AT_CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT),
                        .is_virtual = at_dnn_flag(d, AT_CUDNN_ATTR_TENSOR_IS_VIRTUAL),
                        .by_value = at_dnn_flag(d, AT_CUDNN_ATTR_TENSOR_IS_BY_VALUE) };
    t.rank = (int)size->count;
    memcpy(t.size, size->elements, (size_t)size->count * sizeof *t.size);
    memcpy(t.stride, stride->elements, (size_t)stride->count * sizeof *t.stride);
    return t;
}

at_cudnn_status at_dnn_check_tensor(const at_dnn *d)
{
    const at_dnn_tensor t = tensor_of(d);
    int64_t bytes = (int64_t)at_dnn_type_bytes(t.type);
    if (at_dnn_field_of(d, AT_CUDNN_ATTR_TENSOR_STRIDES)->count != t.rank)
        return BAD("tensor %lld has other numbers of sizes and strides", (long long)t.id);
    if (!bytes)
        return UNSUPPORTED("tensor %lld is of type %d", (long long)t.id, t.type);
    if (t.alignment <= 0 || t.alignment % bytes)
        return BAD("tensor %lld is aligned to %lld", (long long)t.id, (long long)t.alignment);
    for (int i = 0; i < t.rank; i++)
        if (t.size[i] < 1 || t.stride[i] < 0)
            return BAD("axis %d of tensor %lld has size %lld and stride %lld", i, (long long)t.id,
                       (long long)t.size[i], (long long)t.stride[i]);
    if (t.by_value && (t.is_virtual || at_dnn_elements(&t) != 1 || t.type != AT_CUDNN_DATA_FLOAT))
        return BAD("tensor %lld is passed by value and is not one f32", (long long)t.id);
    return GOOD;
}

static bool same_tensor(const at_dnn_tensor *a, const at_dnn_tensor *b)
{
    size_t bytes = (size_t)a->rank * sizeof *a->size;
    return a->type == b->type && a->rank == b->rank && a->alignment == b->alignment &&
           a->is_virtual == b->is_virtual && a->by_value == b->by_value &&
           memcmp(a->size, b->size, bytes) == 0 && memcmp(a->stride, b->stride, bytes) == 0;
}

static bool same_sizes(const at_dnn_tensor *a, const at_dnn_tensor *b)
{
    return a->rank == b->rank && memcmp(a->size, b->size, (size_t)a->rank * sizeof *a->size) == 0;
}

/* Its sizes are the other's, or 1. */
static bool repeats_to(const at_dnn_tensor *a, const at_dnn_tensor *b)
{
    for (int i = 0; i < a->rank && a->rank == b->rank; i++)
        if (a->size[i] != b->size[i] && a->size[i] != 1)
            return false;
    return a->rank == b->rank;
}

/* --- convolutions' descriptors ---------------------------------------------------------------- */

at_cudnn_status at_dnn_check_convolution(const at_dnn *d)
{
    static const struct {
        at_cudnn_attribute name;
        int64_t least;
    } each[] = { { AT_CUDNN_ATTR_CONVOLUTION_DILATIONS, 1 },
                 { AT_CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, 1 },
                 { AT_CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, 0 },
                 { AT_CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, 0 } };
    int64_t axes = at_dnn_i64(d, AT_CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS);
    if (axes != AT_DNN_SPATIAL)
        return UNSUPPORTED("a convolution over %lld axes", (long long)axes);
    for (size_t i = 0; i < AT_COUNT(each); i++) {
        const at_dnn_field *f = at_dnn_field_of(d, each[i].name);
        const int64_t *values = f->elements;
        for (int64_t k = 0; k < f->count; k++)
            if (f->count != axes || values[k] < each[i].least)
                return BAD("attribute %d of a convolution has %lld values, the first is %lld",
                           each[i].name, (long long)f->count, (long long)values[0]);
    }
    if (at_dnn_enum(d, AT_CUDNN_ATTR_CONVOLUTION_COMP_TYPE) != AT_CUDNN_DATA_FLOAT)
        return UNSUPPORTED("a convolution that does not compute in f32");
    return at_dnn_enum(d, AT_CUDNN_ATTR_CONVOLUTION_CONV_MODE) == AT_CUDNN_CROSS_CORRELATION
               ? GOOD
               : UNSUPPORTED("a convolution that mirrors its weights");
}

/* --- operations as a table -------------------------------------------------------------------- */

enum { NONE = 0 }; /* no attribute of an operation is 0 */

typedef struct operation {
    at_cudnn_kind kind;
    at_dnn_step_kind step;
    at_cudnn_attribute in[AT_DNN_INPUTS_MAX], out[2], how, alpha, beta;
} operation;

#define ATTR(name) AT_CUDNN_ATTR_OPERATION_##name
static const operation operations[] = {
    { AT_CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
      AT_DNN_CONV,
      { ATTR(CONVOLUTION_FORWARD_X), ATTR(CONVOLUTION_FORWARD_W) },
      { ATTR(CONVOLUTION_FORWARD_Y) },
      ATTR(CONVOLUTION_FORWARD_CONV_DESC),
      ATTR(CONVOLUTION_FORWARD_ALPHA),
      ATTR(CONVOLUTION_FORWARD_BETA) },
    { AT_CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
      AT_DNN_DGRAD,
      { ATTR(CONVOLUTION_BWD_DATA_DY), ATTR(CONVOLUTION_BWD_DATA_W) },
      { ATTR(CONVOLUTION_BWD_DATA_DX) },
      ATTR(CONVOLUTION_BWD_DATA_CONV_DESC),
      ATTR(CONVOLUTION_BWD_DATA_ALPHA),
      ATTR(CONVOLUTION_BWD_DATA_BETA) },
    { AT_CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
      AT_DNN_WGRAD,
      { ATTR(CONVOLUTION_BWD_FILTER_DY), ATTR(CONVOLUTION_BWD_FILTER_X) },
      { ATTR(CONVOLUTION_BWD_FILTER_DW) },
      ATTR(CONVOLUTION_BWD_FILTER_CONV_DESC),
      ATTR(CONVOLUTION_BWD_FILTER_ALPHA),
      ATTR(CONVOLUTION_BWD_FILTER_BETA) },
    { AT_CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR,
      AT_DNN_POINTWISE,
      { ATTR(POINTWISE_XDESC), ATTR(POINTWISE_BDESC) },
      { ATTR(POINTWISE_YDESC) },
      ATTR(POINTWISE_PW_DESCRIPTOR),
      NONE,
      NONE },
    { AT_CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR,
      AT_DNN_MATMUL,
      { ATTR(MATMUL_ADESC), ATTR(MATMUL_BDESC) },
      { ATTR(MATMUL_CDESC) },
      ATTR(MATMUL_DESC),
      NONE,
      NONE },
    { AT_CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR,
      AT_DNN_REDUCTION,
      { ATTR(REDUCTION_XDESC) },
      { ATTR(REDUCTION_YDESC) },
      ATTR(REDUCTION_DESC),
      NONE,
      NONE },
    { AT_CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR,
      AT_DNN_RESHAPE,
      { ATTR(RESHAPE_XDESC) },
      { ATTR(RESHAPE_YDESC) },
      NONE,
      NONE,
      NONE },
    { AT_CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR,
      AT_DNN_SDPA,
      { ATTR(SDPA_FWD_QDESC), ATTR(SDPA_FWD_KDESC), ATTR(SDPA_FWD_VDESC),
        ATTR(SDPA_FWD_SCALEDESC) },
      { ATTR(SDPA_FWD_ODESC), ATTR(SDPA_FWD_STATSDESC) },
      NONE,
      NONE,
      NONE },
};
#undef ATTR

static const operation *operation_of(const at_dnn *d)
{
    for (size_t i = 0; i < AT_COUNT(operations); i++)
        if (operations[i].kind == d->kind)
            return &operations[i];
    AT_ASSERT(false, "descriptor %d is no operation", d->kind);
    return NULL;
}

/* --- one operation ---------------------------------------------------------------------------- */

/* An operation with its tensors, those that are not there with rank 0. */
typedef struct view {
    at_dnn_step step;
    at_dnn_tensor in[AT_DNN_INPUTS_MAX], out[2];
} view;

static bool read_tensor(const at_dnn *d, at_cudnn_attribute name, at_dnn_tensor *out)
{
    bool there = name != NONE && at_dnn_field_of(d, name);
    *out = there ? tensor_of(at_dnn_ref(d, name)) : (at_dnn_tensor){ 0 };
    return there;
}

static void read_axes(const at_dnn *d, at_cudnn_attribute name, int64_t *out)
{
    memcpy(out, at_dnn_field_of(d, name)->elements, AT_DNN_SPATIAL * sizeof *out);
}

static view view_of(const at_dnn *d)
{
    const operation *o = operation_of(d);
    const at_dnn *how = o->how == NONE ? NULL : at_dnn_ref(d, o->how);
    view v = { .step = { .kind = o->step } };
    for (int i = 0; i < AT_DNN_INPUTS_MAX; i++)
        v.step.in[i] = read_tensor(d, o->in[i], &v.in[i]) ? i : -1;
    for (int i = 0; i < 2; i++)
        v.step.out[i] = read_tensor(d, o->out[i], &v.out[i]) ? i : -1;
    if (o->step == AT_DNN_POINTWISE)
        v.step.mode = at_dnn_enum(how, AT_CUDNN_ATTR_POINTWISE_MODE);
    if (o->step == AT_DNN_REDUCTION)
        v.step.mode = at_dnn_enum(how, AT_CUDNN_ATTR_REDUCTION_OPERATOR);
    if (o->alpha != NONE) {
        read_axes(how, AT_CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, v.step.before);
        read_axes(how, AT_CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, v.step.after);
        read_axes(how, AT_CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, v.step.stride);
        read_axes(how, AT_CUDNN_ATTR_CONVOLUTION_DILATIONS, v.step.dilation);
    }
    return v;
}

static at_cudnn_status check_window(const at_dnn_step *s, const at_dnn_tensor *x,
                                    const at_dnn_tensor *w, const at_dnn_tensor *y)
{
    if (x->rank != 4 || w->rank != 4 || y->rank != 4)
        return BAD("a convolution in two dimensions takes tensors of rank 4");
    if (x->size[0] != y->size[0] || w->size[0] != y->size[1] || x->size[1] != w->size[1])
        return MISMATCH("a convolution of %lld channels by weights of %lld x %lld to %lld",
                        (long long)x->size[1], (long long)w->size[0], (long long)w->size[1],
                        (long long)y->size[1]);
    for (int i = 0; i < AT_DNN_SPATIAL; i++) {
        int64_t reach = (w->size[2 + i] - 1) * s->dilation[i] + 1;
        int64_t whole = x->size[2 + i] + s->before[i] + s->after[i];
        if (whole < reach || (whole - reach) / s->stride[i] + 1 != y->size[2 + i])
            return MISMATCH("a side of %lld, a kernel of %lld: the result cannot be %lld",
                            (long long)whole, (long long)reach, (long long)y->size[2 + i]);
    }
    return GOOD;
}

static at_cudnn_status check_pointwise(const view *v)
{
    bool two = v->step.mode == AT_CUDNN_POINTWISE_ADD || v->step.mode == AT_CUDNN_POINTWISE_MUL ||
               v->step.mode == AT_CUDNN_POINTWISE_SUB || v->step.mode == AT_CUDNN_POINTWISE_MAX;
    bool one =
        v->step.mode == AT_CUDNN_POINTWISE_EXP || v->step.mode == AT_CUDNN_POINTWISE_IDENTITY ||
        v->step.mode == AT_CUDNN_POINTWISE_RELU_FWD || v->step.mode == AT_CUDNN_POINTWISE_SWISH_FWD;
    if (!one && !two)
        return UNSUPPORTED("pointwise operation %d", v->step.mode);
    if (two != (v->step.in[1] >= 0))
        return BAD("pointwise operation %d has %s operand", v->step.mode,
                   two ? "no second" : "a second");
    if (!repeats_to(&v->in[0], &v->out[0]) || (two && !repeats_to(&v->in[1], &v->out[0])))
        return MISMATCH("an operand of a pointwise operation does not fit its result");
    return GOOD;
}

static at_cudnn_status check_matmul(const at_dnn_tensor *a, const at_dnn_tensor *b,
                                    const at_dnn_tensor *c)
{
    int n = c->rank;
    if (n < 2 || a->rank != n || b->rank != n)
        return BAD("a product of tensors of rank %d and %d", a->rank, b->rank);
    for (int i = 0; i < n - 2; i++)
        if ((a->size[i] != c->size[i] && a->size[i] != 1) ||
            (b->size[i] != c->size[i] && b->size[i] != 1))
            return MISMATCH("a product's batches differ");
    return a->size[n - 2] == c->size[n - 2] && b->size[n - 1] == c->size[n - 1] &&
                   a->size[n - 1] == b->size[n - 2]
               ? GOOD
               : MISMATCH("a product of %lld columns by %lld rows", (long long)a->size[n - 1],
                          (long long)b->size[n - 2]);
}

static at_cudnn_status check_sdpa(const view *v)
{
    const at_dnn_tensor *q = &v->in[0], *k = &v->in[1], *x = &v->in[2], *scale = &v->in[3];
    const at_dnn_tensor *o = &v->out[0], *stats = &v->out[1];
    if (q->rank != 4 || k->rank != 4 || x->rank != 4 || o->rank != 4)
        return BAD("attention takes tensors of rank 4");
    bool fits = q->size[0] == k->size[0] && q->size[1] == k->size[1] && q->size[3] == k->size[3];
    fits = fits && k->size[0] == x->size[0] && k->size[1] == x->size[1] && k->size[2] == x->size[2];
    fits = fits && o->size[0] == q->size[0] && o->size[1] == q->size[1] &&
           o->size[2] == q->size[2] && o->size[3] == x->size[3];
    if (!fits)
        return MISMATCH("attention's q, k, v and o do not fit each other");
    const at_dnn_tensor wanted = { .rank = 4, .size = { q->size[0], q->size[1], q->size[2], 1 } };
    if (stats->rank && (stats->type != AT_CUDNN_DATA_FLOAT || !same_sizes(stats, &wanted)))
        return MISMATCH("attention's statistics are f32 of one column");
    return !scale->rank || at_dnn_elements(scale) == 1 ? GOOD
                                                       : MISMATCH("attention's scale is a number");
}

static at_cudnn_status check_numbers(const at_dnn *d, const operation *o)
{
    const at_dnn *how = o->how == NONE ? NULL : at_dnn_ref(d, o->how);
    const at_cudnn_attribute types[] = {
        [AT_DNN_POINTWISE] = AT_CUDNN_ATTR_POINTWISE_MATH_PREC,
        [AT_DNN_MATMUL] = AT_CUDNN_ATTR_MATMUL_COMP_TYPE,
        [AT_DNN_REDUCTION] = AT_CUDNN_ATTR_REDUCTION_COMP_TYPE,
    };
    if (o->alpha != NONE) {
        const float *alpha = at_dnn_field_of(d, o->alpha)->elements;
        const float *beta = at_dnn_field_of(d, o->beta)->elements;
        return *alpha == 1 && *beta == 0 ? GOOD : UNSUPPORTED("a convolution that is scaled");
    }
    if (!how || at_dnn_enum(how, types[o->step]) == AT_CUDNN_DATA_FLOAT)
        return GOOD;
    return UNSUPPORTED("an operation that does not compute in f32");
}

at_cudnn_status at_dnn_check_operation(const at_dnn *d)
{
    const view v = view_of(d);
    at_cudnn_status status = check_numbers(d, operation_of(d));
    if (status != GOOD)
        return status;
    switch (v.step.kind) {
    case AT_DNN_CONV: return check_window(&v.step, &v.in[0], &v.in[1], &v.out[0]);
    case AT_DNN_DGRAD: return check_window(&v.step, &v.out[0], &v.in[1], &v.in[0]);
    case AT_DNN_WGRAD: return check_window(&v.step, &v.in[1], &v.out[0], &v.in[0]);
    case AT_DNN_POINTWISE: return check_pointwise(&v);
    case AT_DNN_MATMUL: return check_matmul(&v.in[0], &v.in[1], &v.out[0]);
    case AT_DNN_SDPA: return check_sdpa(&v);
    case AT_DNN_RESHAPE:
        return at_dnn_is_transposed(&v.in[0], &v.out[0])
                   ? GOOD
                   : UNSUPPORTED("a reshape that does not exchange axes");
    case AT_DNN_REDUCTION: break;
    }
    if (v.step.mode != AT_CUDNN_REDUCE_TENSOR_ADD && v.step.mode != AT_CUDNN_REDUCE_TENSOR_MAX)
        return UNSUPPORTED("reduction %d", v.step.mode);
    return repeats_to(&v.out[0], &v.in[0]) ? GOOD : MISMATCH("a reduction to other sizes");
}

/* --- a graph's tensors ------------------------------------------------------------------------ */

/* The place of a tensor in the program; -1, and the sentence is kept, if there is none. */
static int place(at_dnn_program *p, const at_dnn_tensor *t)
{
    for (int i = 0; i < p->n_tensors; i++)
        if (p->tensors[i].id == t->id) {
            if (same_tensor(&p->tensors[i], t))
                return i;
            BAD("two tensors that differ have the id %lld", (long long)t->id);
            return -1;
        }
    if (p->n_tensors == AT_DNN_TENSORS_MAX) {
        UNSUPPORTED("a graph of more than %d tensors", AT_DNN_TENSORS_MAX);
        return -1;
    }
    p->tensors[p->n_tensors] = *t;
    return p->n_tensors++;
}

static at_cudnn_status place_all(at_dnn_program *p, view *v)
{
    for (int i = 0; i < AT_DNN_INPUTS_MAX; i++)
        if (v->step.in[i] >= 0 && (v->step.in[i] = place(p, &v->in[i])) < 0)
            return AT_CUDNN_STATUS_BAD_PARAM;
    for (int i = 0; i < 2; i++)
        if (v->step.out[i] >= 0 && (v->step.out[i] = place(p, &v->out[i])) < 0)
            return AT_CUDNN_STATUS_BAD_PARAM;
    return GOOD;
}

static bool reads(const at_dnn_step *s, int which)
{
    for (int i = 0; i < AT_DNN_INPUTS_MAX; i++)
        if (s->in[i] == which)
            return true;
    return false;
}

static bool writes(const at_dnn_step *s, int which)
{
    return s->out[0] == which || s->out[1] == which;
}

/* Each tensor is produced once at most; a virtual one once, and read. */
static at_cudnn_status check_flow(const at_dnn_program *p)
{
    for (int t = 0; t < p->n_tensors; t++) {
        const at_dnn_tensor *tensor = &p->tensors[t];
        int readers = 0, writers = 0;
        for (int i = 0; i < p->n_steps; i++)
            readers += reads(&p->steps[i], t), writers += writes(&p->steps[i], t);
        if (writers > 1 || (writers && tensor->by_value))
            return BAD("tensor %lld is written %d times", (long long)tensor->id, writers);
        if (tensor->is_virtual && (writers == 0 || readers == 0))
            return BAD("virtual tensor %lld is written %d times and read %d times",
                       (long long)tensor->id, writers, readers);
    }
    return GOOD;
}

/* --- a graph's order -------------------------------------------------------------------------- */

/* Whether all that step i reads is there once 'done' steps are. */
static bool is_ready(const at_dnn_program *p, int i, int done)
{
    for (int k = done; k < p->n_steps; k++)
        for (int o = 0; o < 2; o++)
            if (p->steps[k].out[o] >= 0 && reads(&p->steps[i], p->steps[k].out[o]))
                return false;
    return true;
}

static at_cudnn_status put_in_order(at_dnn_program *p)
{
    for (int done = 0; done < p->n_steps; done++) {
        int i = done;
        while (i < p->n_steps && !is_ready(p, i, done))
            i++;
        if (i == p->n_steps)
            return BAD("operations wait for each other");
        const at_dnn_step step = p->steps[i];
        memmove(&p->steps[done + 1], &p->steps[done], (size_t)(i - done) * sizeof step);
        p->steps[done] = step;
    }
    return GOOD;
}

/* --- which graphs have engines ---------------------------------------------------------------- */

static int count(const at_dnn_program *p, at_dnn_step_kind first, at_dnn_step_kind last)
{
    int n = 0;
    for (int i = 0; i < p->n_steps; i++)
        n += p->steps[i].kind >= first && p->steps[i].kind <= last;
    return n;
}

/* Precompiled: conv, then residual, then bias, then ReLU, each of the three or not. */
static bool is_precompiled(const at_dnn_program *p)
{
    int stage = 0;
    for (int i = 1; i < p->n_steps; i++) {
        const at_dnn_step *s = &p->steps[i];
        const at_dnn_tensor *y = &p->tensors[s->out[0]];
        const at_dnn_tensor *b = s->in[1] < 0 ? y : &p->tensors[s->in[1]];
        bool whole = same_sizes(b, y);
        bool channels = b->size[1] == y->size[1] && at_dnn_elements(b) == y->size[1];
        int next = s->mode == AT_CUDNN_POINTWISE_RELU_FWD ? 3
                   : s->mode != AT_CUDNN_POINTWISE_ADD    ? 0
                   : whole                                ? 1
                   : channels                             ? 2
                                                          : 0;
        if (next <= stage)
            return false;
        stage = next;
    }
    return p->n_steps == 1 || p->steps[0].kind == AT_DNN_CONV;
}

static const char *judge_convolution(const at_dnn_program *p, at_dnn_compiled *compiled)
{
    const at_dnn_step *s = &p->steps[0];
    const at_dnn_tensor *a = &p->tensors[s->in[0]], *b = &p->tensors[s->in[1]];
    const at_dnn_tensor *y = &p->tensors[s->out[0]];
    if (s->kind > AT_DNN_WGRAD || count(p, AT_DNN_CONV, AT_DNN_WGRAD) != 1 ||
        count(p, AT_DNN_CONV, AT_DNN_POINTWISE) != p->n_steps)
        return "a convolution comes first, and only pointwise operations after it";
    if (a->type != b->type || a->is_virtual || b->is_virtual)
        return "the operands of a convolution are of one type, and in memory";
    bool widens = at_dnn_type_bytes(a->type) == 2 && y->type == AT_CUDNN_DATA_FLOAT;
    if (widens && s->kind == AT_DNN_WGRAD && !y->is_virtual)
        return "there is no weight gradient straight to f32";
    *compiled = is_precompiled(p) ? AT_DNN_PRECOMPILED : AT_DNN_FEW_AT_RUN_TIME;
    if (widens && !y->is_virtual)
        *compiled = AT_DNN_FALLBACK_ONLY;
    return NULL;
}

static const char *judge_attention(const at_dnn_program *p)
{
    const at_dnn_step *s = &p->steps[0];
    const at_dnn_tensor *q = &p->tensors[s->in[0]], *o = &p->tensors[s->out[0]];
    if (p->n_steps > 1)
        return "the attention operation is alone in its graph";
    if (q->size[3] % 8 || o->size[3] % 8)
        return "a head's size is a multiple of 8";
    for (int i = 1; i < 3; i++)
        if (p->tensors[s->in[i]].type != q->type || o->type != q->type)
            return "attention's tensors are of one type";
    return NULL;
}

/* A graph with four products or more is attention's backward. */
static const char *judge_products(const at_dnn_program *p)
{
    int n = count(p, AT_DNN_MATMUL, AT_DNN_MATMUL);
    for (int i = 0; i < p->n_steps && n >= 4; i++) {
        const at_dnn_step *s = &p->steps[i];
        const at_dnn_tensor *q = &p->tensors[s->in[0]];
        if (s->kind == AT_DNN_MATMUL && !q->is_virtual && q->size[q->rank - 1] > 256)
            return "attention's backward has heads of at most 256";
    }
    return NULL;
}

/* What cuDNN 9.19 answers for an H200, given its properties, as far as our graphs go. */
static void judge(at_dnn *graph)
{
    const at_dnn_program *p = graph->program;
    graph->compiled = AT_DNN_AT_RUN_TIME;
    if (count(p, AT_DNN_CONV, AT_DNN_WGRAD))
        graph->refused = judge_convolution(p, &graph->compiled);
    else if (count(p, AT_DNN_SDPA, AT_DNN_SDPA))
        graph->refused = judge_attention(p);
    else
        graph->refused = judge_products(p);
}

at_cudnn_status at_dnn_finish_graph(at_dnn *d)
{
    const at_dnn_field *ops = at_dnn_field_of(d, AT_CUDNN_ATTR_OPERATIONGRAPH_OPS);
    at_dnn_program *p = d->program = calloc(1, sizeof *p);
    if (!p)
        return at_dnn_fail(AT_CUDNN_STATUS_INTERNAL_ERROR, "no memory");
    at_cudnn_status status = GOOD;
    for (int64_t i = 0; i < ops->count && status == GOOD; i++) {
        view v = view_of(((at_dnn **)ops->elements)[i]);
        status = place_all(p, &v);
        p->steps[p->n_steps++] = v.step;
    }
    if (status == GOOD)
        status = check_flow(p);
    if (status == GOOD)
        status = put_in_order(p);
    if (status == GOOD) {
        judge(d);
    } else {
        free(p);
        d->program = NULL;
    }
    return status;
}
