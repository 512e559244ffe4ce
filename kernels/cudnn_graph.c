/* cudnn_graph.c -- the graph interface knows descriptors and attributes only: what is told here is
 * which of them an operation has, and in which order a plan comes about. */
#include "kernels/cudnn_graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SPATIAL = 2, KNOBS_MAX = 32, NOTES_MAX = 32, ID_VIRTUAL = 1000 };

/* --- descriptors ------------------------------------------------------------------------------ */

/* True as long as all went well. */
static bool good(at_cudnn_graph *g, at_cudnn_status status, const char *doing)
{
    if (g->status == AT_OK && at_cudnn_check(g->library, status, g->err, doing) != AT_OK) {
        if (g->err)
            g->err->status = AT_UNSUPPORTED;
        g->status = AT_UNSUPPORTED;
    }
    return g->status == AT_OK;
}

static bool keep(at_cudnn_graph *g, at_cudnn_descriptor d)
{
    if (g->n_owned == g->owned_max) {
        int most = g->owned_max ? 2 * g->owned_max : 32;
        at_cudnn_descriptor *owned = realloc(g->owned, (size_t)most * sizeof *owned);
        if (!owned) {
            g->library->unmake(d);
            g->status = at_fail(g->err, AT_NO_MEMORY, "no memory for %d descriptors", most);
            return false;
        }
        g->owned = owned;
        g->owned_max = most;
    }
    g->owned[g->n_owned++] = d;
    return true;
}

/* Until it is finished, a graph writes down what is said of it: equal texts are equal graphs. */
static void note(at_cudnn_graph *g, const void *what, size_t bytes)
{
    if (g->graph || g->status != AT_OK)
        return;
    if (g->text_bytes + bytes > g->text_max) {
        size_t most = 2 * (g->text_bytes + bytes) + 1024;
        unsigned char *text = realloc(g->text, most);
        if (!text) {
            g->status = at_fail(g->err, AT_NO_MEMORY, "no memory for a graph of %zu bytes", most);
            return;
        }
        g->text = text;
        g->text_max = most;
    }
    memcpy(g->text + g->text_bytes, what, bytes);
    g->text_bytes += bytes;
}

static at_cudnn_descriptor make(at_cudnn_graph *g, at_cudnn_kind kind)
{
    at_cudnn_descriptor d = NULL;
    if (g->status != AT_OK || !good(g, g->library->make(kind, &d), "making a descriptor"))
        return NULL;
    note(g, &kind, sizeof kind);
    return keep(g, d) ? d : NULL;
}

/* Destroys what was made since there were 'n'. */
static void drop(at_cudnn_graph *g, int n)
{
    while (g->n_owned > n)
        g->library->unmake(g->owned[--g->n_owned]);
}

static size_t bytes_of(at_cudnn_type type)
{
    switch (type) {
    case AT_CUDNN_TYPE_BOOLEAN: return sizeof(bool);
    case AT_CUDNN_TYPE_INT64: return sizeof(int64_t);
    case AT_CUDNN_TYPE_FLOAT: return sizeof(float);
    default: return sizeof(int); /* enumerations */
    }
}

/* A descriptor as text: when it was made. */
static void note_descriptor(at_cudnn_graph *g, at_cudnn_descriptor d)
{
    int i = g->n_owned - 1;
    while (i >= 0 && g->owned[i] != d)
        i--;
    note(g, &i, sizeof i);
}

static void note_attribute(at_cudnn_graph *g, at_cudnn_descriptor d, at_cudnn_attribute name,
                           at_cudnn_type type, int64_t n, const void *values)
{
    if (type == AT_CUDNN_TYPE_HANDLE)
        return;
    note_descriptor(g, d);
    note(g, &name, sizeof name);
    note(g, &n, sizeof n);
    if (type != AT_CUDNN_TYPE_BACKEND_DESCRIPTOR)
        note(g, values, (size_t)n * bytes_of(type));
    for (int64_t i = 0; i < n && type == AT_CUDNN_TYPE_BACKEND_DESCRIPTOR; i++)
        note_descriptor(g, ((const at_cudnn_descriptor *)values)[i]);
}

static void set(at_cudnn_graph *g, at_cudnn_descriptor d, at_cudnn_attribute name,
                at_cudnn_type type, int64_t n, const void *values)
{
    char doing[48];
    if (g->status != AT_OK)
        return;
    note_attribute(g, d, name, type, n, values);
    snprintf(doing, sizeof doing, "setting attribute %d", name);
    good(g, g->library->set(d, name, type, n, values), doing);
}

static void set_int(at_cudnn_graph *g, at_cudnn_descriptor d, at_cudnn_attribute name,
                    at_cudnn_type type, int value)
{
    set(g, d, name, type, 1, &value);
}

static void set_int64(at_cudnn_graph *g, at_cudnn_descriptor d, at_cudnn_attribute name,
                      int64_t value)
{
    set(g, d, name, AT_CUDNN_TYPE_INT64, 1, &value);
}

static void set_true(at_cudnn_graph *g, at_cudnn_descriptor d, at_cudnn_attribute name)
{
    const bool yes = true;
    set(g, d, name, AT_CUDNN_TYPE_BOOLEAN, 1, &yes);
}

static void set_one(at_cudnn_graph *g, at_cudnn_descriptor d, at_cudnn_attribute name,
                    at_cudnn_descriptor value)
{
    set(g, d, name, AT_CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

/* Sums are computed in f32. */
static void set_f32(at_cudnn_graph *g, at_cudnn_descriptor d, at_cudnn_attribute name)
{
    set_int(g, d, name, AT_CUDNN_TYPE_DATA_TYPE, AT_CUDNN_DATA_FLOAT);
}

static bool finish(at_cudnn_graph *g, at_cudnn_descriptor d, const char *doing)
{
    return g->status == AT_OK && good(g, g->library->finalize(d), doing);
}

void at_cudnn_graph_begin(at_cudnn_graph *g, const at_cudnn *library, at_error *err)
{
    *g = (at_cudnn_graph){ .library = library, .err = err };
    g->never = 1u << AT_CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC |
               1u << AT_CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS |
               1u << AT_CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION;
}

void at_cudnn_graph_free(at_cudnn_graph *g)
{
    drop(g, 0);
    free(g->owned);
    free(g->text);
    *g = (at_cudnn_graph){ 0 };
}

/* --- tensors ---------------------------------------------------------------------------------- */

static int data_type(at_dtype dtype)
{
    return dtype == AT_F32    ? AT_CUDNN_DATA_FLOAT
           : dtype == AT_BF16 ? AT_CUDNN_DATA_BFLOAT16
           : dtype == AT_F16  ? AT_CUDNN_DATA_HALF
                              : -1;
}

at_cudnn_descriptor at_cudnn_add_tensor(at_cudnn_graph *g, const at_cudnn_tensor *t)
{
    AT_ASSERT(data_type(t->dtype) >= 0, "a graph of %s", at_dtype_name(t->dtype));
    AT_ASSERT(t->id < ID_VIRTUAL, "a tensor's id is %lld", (long long)t->id);
    at_cudnn_descriptor d = make(g, AT_CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    set_int64(g, d, AT_CUDNN_ATTR_TENSOR_UNIQUE_ID, t->id ? t->id : ID_VIRTUAL + g->ids++);
    set_int(g, d, AT_CUDNN_ATTR_TENSOR_DATA_TYPE, AT_CUDNN_TYPE_DATA_TYPE, data_type(t->dtype));
    set_int64(g, d, AT_CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, AT_CUDNN_ALIGNMENT);
    set(g, d, AT_CUDNN_ATTR_TENSOR_DIMENSIONS, AT_CUDNN_TYPE_INT64, AT_CUDNN_RANK, t->size);
    set(g, d, AT_CUDNN_ATTR_TENSOR_STRIDES, AT_CUDNN_TYPE_INT64, AT_CUDNN_RANK, t->stride);
    if (!t->id)
        set_true(g, d, AT_CUDNN_ATTR_TENSOR_IS_VIRTUAL);
    if (t->by_value)
        set_true(g, d, AT_CUDNN_ATTR_TENSOR_IS_BY_VALUE);
    finish(g, d, "describing a tensor");
    return d;
}

at_cudnn_descriptor at_cudnn_add_scalar(at_cudnn_graph *g, int64_t id)
{
    const at_cudnn_tensor t = { .id = id,
                                .dtype = AT_F32,
                                .size = { 1, 1, 1, 1 },
                                .stride = { 1, 1, 1, 1 },
                                .by_value = true };
    return at_cudnn_add_tensor(g, &t);
}

void at_cudnn_keep_f32(at_cudnn_graph *g, at_dtype dtype)
{
    if (dtype == AT_F32)
        g->never |= 1u << AT_CUDNN_NUMERICAL_NOTE_TENSOR_CORE;
}

void at_cudnn_strides_nhwc(at_cudnn_tensor *t)
{
    t->stride[1] = 1;
    t->stride[3] = t->size[1];
    t->stride[2] = t->size[3] * t->stride[3];
    t->stride[0] = t->size[2] * t->stride[2];
}

at_cudnn_descriptor at_cudnn_add_virtual(at_cudnn_graph *g, at_dtype dtype, const int64_t *size)
{
    at_cudnn_tensor t = { .dtype = dtype };
    memcpy(t.size, size, sizeof t.size);
    at_cudnn_strides_nhwc(&t);
    return at_cudnn_add_tensor(g, &t);
}

/* --- operations ------------------------------------------------------------------------------- */

static at_cudnn_descriptor operation(at_cudnn_graph *g, at_cudnn_kind kind)
{
    AT_ASSERT(g->n_operations < AT_CUDNN_OPERATIONS_MAX, "a graph of more than %d operations",
              AT_CUDNN_OPERATIONS_MAX);
    at_cudnn_descriptor d = make(g, kind);
    g->operations[g->n_operations++] = d;
    return d;
}

static at_cudnn_descriptor window_of(at_cudnn_graph *g, const at_cudnn_window *w)
{
    static const int64_t dilation[SPATIAL] = { 1, 1 };
    at_cudnn_descriptor d = make(g, AT_CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    set_f32(g, d, AT_CUDNN_ATTR_CONVOLUTION_COMP_TYPE);
    set_int(g, d, AT_CUDNN_ATTR_CONVOLUTION_CONV_MODE, AT_CUDNN_TYPE_CONVOLUTION_MODE,
            AT_CUDNN_CROSS_CORRELATION);
    set_int64(g, d, AT_CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, SPATIAL);
    set(g, d, AT_CUDNN_ATTR_CONVOLUTION_DILATIONS, AT_CUDNN_TYPE_INT64, SPATIAL, dilation);
    set(g, d, AT_CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, AT_CUDNN_TYPE_INT64, SPATIAL, w->stride);
    set(g, d, AT_CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, AT_CUDNN_TYPE_INT64, SPATIAL, w->before);
    set(g, d, AT_CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, AT_CUDNN_TYPE_INT64, SPATIAL, w->after);
    finish(g, d, "describing a window");
    return d;
}

/* What the three kinds call the same things. */
typedef struct conv_names {
    at_cudnn_kind kind;
    at_cudnn_attribute window, x, w, y, alpha, beta;
} conv_names;

/* clang-format off */
#define CONV_NAMES(KIND, NAME, X, W, Y)                       \
    { AT_CUDNN_BACKEND_OPERATION_CONVOLUTION_##KIND##_DESCRIPTOR, \
      AT_CUDNN_ATTR_OPERATION_CONVOLUTION_##NAME##_CONV_DESC,     \
      AT_CUDNN_ATTR_OPERATION_CONVOLUTION_##NAME##_##X,           \
      AT_CUDNN_ATTR_OPERATION_CONVOLUTION_##NAME##_##W,           \
      AT_CUDNN_ATTR_OPERATION_CONVOLUTION_##NAME##_##Y,           \
      AT_CUDNN_ATTR_OPERATION_CONVOLUTION_##NAME##_ALPHA,         \
      AT_CUDNN_ATTR_OPERATION_CONVOLUTION_##NAME##_BETA }
static const conv_names conv_kinds[] = {
    [AT_CUDNN_FORWARD] = CONV_NAMES(FORWARD, FORWARD, X, W, Y),
    [AT_CUDNN_DATA_GRADIENT] = CONV_NAMES(BACKWARD_DATA, BWD_DATA, DX, W, DY),
    [AT_CUDNN_FILTER_GRADIENT] = CONV_NAMES(BACKWARD_FILTER, BWD_FILTER, X, DW, DY),
};
/* clang-format on */

void at_cudnn_add_convolution(at_cudnn_graph *g, at_cudnn_conv_kind kind,
                              const at_cudnn_window *window, at_cudnn_descriptor x,
                              at_cudnn_descriptor w, at_cudnn_descriptor y)
{
    const conv_names *names = &conv_kinds[kind];
    const float alpha = 1, beta = 0;
    at_cudnn_descriptor taps = window_of(g, window), d = operation(g, names->kind);
    set_one(g, d, names->window, taps);
    set_one(g, d, names->x, x);
    set_one(g, d, names->w, w);
    set_one(g, d, names->y, y);
    set(g, d, names->alpha, AT_CUDNN_TYPE_FLOAT, 1, &alpha);
    set(g, d, names->beta, AT_CUDNN_TYPE_FLOAT, 1, &beta);
    finish(g, d, "describing a convolution");
}

void at_cudnn_add_pointwise(at_cudnn_graph *g, int mode, at_cudnn_descriptor x,
                            at_cudnn_descriptor b, at_cudnn_descriptor y)
{
    at_cudnn_descriptor how = make(g, AT_CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    set_int(g, how, AT_CUDNN_ATTR_POINTWISE_MODE, AT_CUDNN_TYPE_POINTWISE_MODE, mode);
    set_f32(g, how, AT_CUDNN_ATTR_POINTWISE_MATH_PREC);
    finish(g, how, "describing a function of elements");
    at_cudnn_descriptor d = operation(g, AT_CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    set_one(g, d, AT_CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how);
    set_one(g, d, AT_CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    if (b)
        set_one(g, d, AT_CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
    set_one(g, d, AT_CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    finish(g, d, "describing an operation on elements");
}

void at_cudnn_add_product(at_cudnn_graph *g, at_cudnn_descriptor a, at_cudnn_descriptor b,
                          at_cudnn_descriptor c)
{
    at_cudnn_descriptor how = make(g, AT_CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    set_f32(g, how, AT_CUDNN_ATTR_MATMUL_COMP_TYPE);
    finish(g, how, "describing a product's type");
    at_cudnn_descriptor d = operation(g, AT_CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
    set_one(g, d, AT_CUDNN_ATTR_OPERATION_MATMUL_ADESC, a);
    set_one(g, d, AT_CUDNN_ATTR_OPERATION_MATMUL_BDESC, b);
    set_one(g, d, AT_CUDNN_ATTR_OPERATION_MATMUL_CDESC, c);
    set_one(g, d, AT_CUDNN_ATTR_OPERATION_MATMUL_DESC, how);
    finish(g, d, "describing a product");
}

void at_cudnn_add_reduction(at_cudnn_graph *g, int operator, at_cudnn_descriptor x,
                            at_cudnn_descriptor y)
{
    at_cudnn_descriptor how = make(g, AT_CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    set_int(g, how, AT_CUDNN_ATTR_REDUCTION_OPERATOR,
            AT_CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, operator);
    set_f32(g, how, AT_CUDNN_ATTR_REDUCTION_COMP_TYPE);
    finish(g, how, "describing how sums are made");
    at_cudnn_descriptor d = operation(g, AT_CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
    set_one(g, d, AT_CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x);
    set_one(g, d, AT_CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y);
    set_one(g, d, AT_CUDNN_ATTR_OPERATION_REDUCTION_DESC, how);
    finish(g, d, "describing sums");
}

void at_cudnn_add_reshape(at_cudnn_graph *g, at_cudnn_descriptor x, at_cudnn_descriptor y)
{
    at_cudnn_descriptor d = operation(g, AT_CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
    set_one(g, d, AT_CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x);
    set_one(g, d, AT_CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y);
    finish(g, d, "describing another view");
}

void at_cudnn_add_sdpa(at_cudnn_graph *g, const at_cudnn_sdpa *s)
{
    at_cudnn_descriptor d = operation(g, AT_CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);
    set_one(g, d, AT_CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, s->q);
    set_one(g, d, AT_CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, s->k);
    set_one(g, d, AT_CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, s->v);
    set_one(g, d, AT_CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, s->o);
    if (s->stats)
        set_one(g, d, AT_CUDNN_ATTR_OPERATION_SDPA_FWD_STATSDESC, s->stats);
    set_one(g, d, AT_CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, s->scale);
    finish(g, d, "describing attention");
}

at_status at_cudnn_graph_end(at_cudnn_graph *g)
{
    const at_cudnn *c = g->library;
    size_t said = g->text_bytes;
    at_cudnn_descriptor d = make(g, AT_CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    if (c->handle)
        set(g, d, AT_CUDNN_ATTR_OPERATIONGRAPH_HANDLE, AT_CUDNN_TYPE_HANDLE, 1, &c->handle);
    set(g, d, AT_CUDNN_ATTR_OPERATIONGRAPH_OPS, AT_CUDNN_TYPE_BACKEND_DESCRIPTOR, g->n_operations,
        g->operations);
    if (finish(g, d, "making a graph"))
        g->graph = d;
    g->text_bytes = said;
    return g->status;
}

/* --- engines ---------------------------------------------------------------------------------- */

static int64_t get(at_cudnn_graph *g, at_cudnn_descriptor d, at_cudnn_attribute name,
                   at_cudnn_type type, int64_t most, void *values)
{
    char doing[48];
    int64_t n = 0;
    if (g->status != AT_OK)
        return 0;
    snprintf(doing, sizeof doing, "reading attribute %d", name);
    if (!good(g, g->library->get(d, name, type, most, &n, values), doing))
        return 0;
    return n < most ? n : most;
}

/* Notes as bits; a number that we do not know of is left out, none of those stands for harm. */
static uint32_t notes_of(at_cudnn_graph *g, at_cudnn_descriptor engine, at_cudnn_attribute name,
                         at_cudnn_type type)
{
    int notes[NOTES_MAX];
    uint32_t bits = 0;
    int64_t n = get(g, engine, name, type, NOTES_MAX, notes);
    for (int64_t i = 0; i < n; i++)
        if (notes[i] >= 0 && notes[i] < 32)
            bits |= 1u << notes[i];
    return bits;
}

/* Descriptors for the library to fill in. */
static bool make_many(at_cudnn_graph *g, at_cudnn_kind kind, at_cudnn_descriptor *out, int n)
{
    for (int i = 0; i < n; i++)
        out[i] = make(g, kind);
    return g->status == AT_OK;
}

/* Writes a configuration as text; false if it is too long for one. */
static bool name_engine(at_cudnn_graph *g, at_cudnn_descriptor config, at_cudnn_engine *out)
{
    at_cudnn_descriptor engine = make(g, AT_CUDNN_BACKEND_ENGINE_DESCRIPTOR), knobs[KNOBS_MAX];
    int64_t index = 0, value = 0;
    int type = 0;
    make_many(g, AT_CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, knobs, KNOBS_MAX);
    get(g, config, AT_CUDNN_ATTR_ENGINECFG_ENGINE, AT_CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &engine);
    get(g, engine, AT_CUDNN_ATTR_ENGINE_GLOBAL_INDEX, AT_CUDNN_TYPE_INT64, 1, &index);
    out->notes =
        notes_of(g, engine, AT_CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, AT_CUDNN_TYPE_NUMERICAL_NOTE);
    out->compiled =
        notes_of(g, engine, AT_CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, AT_CUDNN_TYPE_BEHAVIOR_NOTE) >>
            AT_CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION &
        1u;
    int64_t n = get(g, config, AT_CUDNN_ATTR_ENGINECFG_KNOB_CHOICES,
                    AT_CUDNN_TYPE_BACKEND_DESCRIPTOR, KNOBS_MAX, knobs);
    size_t room = sizeof out->choice;
    size_t used = (size_t)snprintf(out->choice, room, "engine %lld", (long long)index);
    for (int64_t i = 0; i < n && used < room; i++) {
        get(g, knobs[i], AT_CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, AT_CUDNN_TYPE_KNOB_TYPE, 1, &type);
        get(g, knobs[i], AT_CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, AT_CUDNN_TYPE_INT64, 1, &value);
        used +=
            (size_t)snprintf(out->choice + used, room - used, " k%d=%lld", type, (long long)value);
    }
    return used < room;
}

/* Known before a plan is made, which may take seconds; 0 if the library does not say. */
static size_t workspace_of(const at_cudnn_graph *g, at_cudnn_descriptor config)
{
    int64_t n = 0, bytes = 0;
    at_cudnn_status status = g->library->get(config, AT_CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE,
                                             AT_CUDNN_TYPE_INT64, 1, &n, &bytes);
    return status == AT_CUDNN_STATUS_SUCCESS && bytes > 0 ? (size_t)bytes : 0;
}

static bool is_known(const at_cudnn_engines *e, const char *choice)
{
    for (int i = 0; i < e->n; i++)
        if (!strcmp(e->list[i].choice, choice))
            return true;
    return false;
}

static void add_engine(at_cudnn_graph *g, size_t most, at_cudnn_engines *out,
                       at_cudnn_descriptor config)
{
    at_cudnn_engine *e = &out->list[out->n];
    int before = g->n_owned;
    bool named = name_engine(g, config, e);
    drop(g, before);
    out->offered++;
    e->workspace = workspace_of(g, config);
    if (named && g->status == AT_OK && !(e->notes & g->never) && e->workspace <= most &&
        !is_known(out, e->choice))
        out->n++;
}

static void ask(at_cudnn_graph *g, size_t most, at_cudnn_engines *out, int mode)
{
    at_cudnn_descriptor configs[AT_CUDNN_ENGINES_MAX];
    const at_cudnn *c = g->library;
    int before = g->n_owned;
    at_cudnn_descriptor d = make(g, AT_CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    set_one(g, d, AT_CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, g->graph);
    set_int(g, d, AT_CUDNN_ATTR_ENGINEHEUR_MODE, AT_CUDNN_TYPE_HEUR_MODE, mode);
    if (!c->handle)
        set_one(g, d, AT_CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, c->imagined);
    finish(g, d, "asking for engines");
    make_many(g, AT_CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, configs, AT_CUDNN_ENGINES_MAX);
    int64_t n = get(g, d, AT_CUDNN_ATTR_ENGINEHEUR_RESULTS, AT_CUDNN_TYPE_BACKEND_DESCRIPTOR,
                    AT_CUDNN_ENGINES_MAX, configs);
    for (int64_t i = 0; i < n && out->n < AT_CUDNN_ENGINES_MAX; i++)
        add_engine(g, most, out, configs[i]);
    drop(g, before);
}

/* The graph stays as good as it was: what was asked for in vain is forgotten. */
static void forget_failure(at_cudnn_graph *g)
{
    g->status = AT_OK;
}

at_status at_cudnn_engines_of(at_cudnn_graph *g, size_t most, at_cudnn_engines *out)
{
    static const int modes[] = { AT_CUDNN_HEUR_MODE_A, AT_CUDNN_HEUR_MODE_FALLBACK };
    at_status status = AT_UNSUPPORTED;
    out->offered = out->n = 0;
    for (size_t i = 0; i < AT_COUNT(modes); i++) {
        ask(g, most, out, modes[i]);
        status = g->status;
        forget_failure(g);
    }
    return out->offered && status != AT_NO_MEMORY ? AT_OK : status;
}

/* --- plans ------------------------------------------------------------------------------------ */

/* The text may come from a file: engines that are never offered are not taken either. */
static at_cudnn_descriptor take_engine(at_cudnn_graph *g, int64_t index)
{
    at_cudnn_descriptor engine = make(g, AT_CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    set_one(g, engine, AT_CUDNN_ATTR_ENGINE_OPERATION_GRAPH, g->graph);
    set_int64(g, engine, AT_CUDNN_ATTR_ENGINE_GLOBAL_INDEX, index);
    if (!g->library->handle)
        set_one(g, engine, AT_CUDNN_ATTR_ENGINE_DEVICEPROP, g->library->imagined);
    finish(g, engine, "taking an engine");
    uint32_t notes =
        notes_of(g, engine, AT_CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, AT_CUDNN_TYPE_NUMERICAL_NOTE);
    if (g->status == AT_OK && (notes & g->never))
        g->status = at_fail(g->err, AT_UNSUPPORTED,
                            "cuDNN: engine %lld is not deterministic, or computes in less than "
                            "its types",
                            (long long)index);
    return engine;
}

/* True, and '*at' is behind them, if these words stand there. */
static bool take_word(const char **at, const char *word)
{
    size_t n = strlen(word);
    if (strncmp(*at, word, n) != 0)
        return false;
    *at += n;
    return true;
}

static bool take_number(const char **at, int64_t *out)
{
    char *end = NULL;
    bool digits =
        (**at >= '0' && **at <= '9') || (**at == '-' && at[0][1] >= '0' && at[0][1] <= '9');
    if (!digits)
        return false;
    *out = strtoll(*at, &end, 10);
    *at = end;
    return *out >= INT32_MIN && *out <= INT32_MAX;
}

/* Sets 'config' up as the text says. */
static void configure(at_cudnn_graph *g, at_cudnn_descriptor config, const char *choice)
{
    at_cudnn_descriptor engine = NULL, knobs[KNOBS_MAX];
    const char *at = choice;
    int64_t number = 0, value = 0;
    int n = 0;
    bool understood = take_word(&at, "engine ") && take_number(&at, &number);
    if (understood)
        engine = take_engine(g, number);
    for (; understood && *at && n < KNOBS_MAX; n++) {
        understood = take_word(&at, " k") && take_number(&at, &number) && take_word(&at, "=") &&
                     take_number(&at, &value);
        knobs[n] = make(g, AT_CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
        set_int(g, knobs[n], AT_CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, AT_CUDNN_TYPE_KNOB_TYPE,
                (int)number);
        set_int64(g, knobs[n], AT_CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, value);
        finish(g, knobs[n], "turning a knob");
    }
    if (!understood || *at)
        g->status = at_fail(g->err, AT_UNSUPPORTED, "'%s' is no engine of cuDNN", choice);
    set_one(g, config, AT_CUDNN_ATTR_ENGINECFG_ENGINE, engine);
    if (n > 0)
        set(g, config, AT_CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, AT_CUDNN_TYPE_BACKEND_DESCRIPTOR, n,
            knobs);
    finish(g, config, "setting an engine up");
}

static void check_workspace(at_cudnn_graph *g, const char *choice, size_t wanted, size_t most)
{
    if (g->status == AT_OK && wanted > most)
        g->status = at_fail(g->err, AT_UNSUPPORTED,
                            "cuDNN: %s wants %zu bytes of workspace, and at most %zu are given",
                            choice, wanted, most);
}

at_status at_cudnn_plan(at_cudnn_graph *g, const char *choice, size_t most)
{
    const at_cudnn *c = g->library;
    int before = g->n_owned;
    int64_t workspace = 0;
    at_cudnn_descriptor config = make(g, AT_CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    configure(g, config, choice);
    if (g->status == AT_OK)
        check_workspace(g, choice, workspace_of(g, config), most);
    at_cudnn_descriptor plan = make(g, AT_CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    set_one(g, plan, AT_CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
    if (c->handle)
        set(g, plan, AT_CUDNN_ATTR_EXECUTION_PLAN_HANDLE, AT_CUDNN_TYPE_HANDLE, 1, &c->handle);
    else
        set_one(g, plan, AT_CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, c->imagined);
    finish(g, plan, "making a plan");
    get(g, plan, AT_CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, AT_CUDNN_TYPE_INT64, 1, &workspace);
    check_workspace(g, choice, workspace < 0 ? SIZE_MAX : (size_t)workspace, most);
    at_status status = g->status;
    forget_failure(g);
    if (status != AT_OK) {
        drop(g, before);
        return status;
    }
    g->plan = plan;
    g->workspace = (size_t)workspace;
    return AT_OK;
}

/* --- running ---------------------------------------------------------------------------------- */

enum { BINDINGS_MAX = 16 };

static at_cudnn_status fill_pack(const at_cudnn *c, at_cudnn_descriptor pack,
                                 const at_cudnn_binding *bindings, int n, void *workspace)
{
    int64_t ids[BINDINGS_MAX];
    const void *data[BINDINGS_MAX];
    for (int i = 0; i < n; i++) {
        ids[i] = bindings[i].id;
        data[i] = bindings[i].data;
    }
    at_cudnn_status status =
        c->set(pack, AT_CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, AT_CUDNN_TYPE_INT64, n, ids);
    if (status == AT_CUDNN_STATUS_SUCCESS)
        status =
            c->set(pack, AT_CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, AT_CUDNN_TYPE_VOID_PTR, n, data);
    if (status == AT_CUDNN_STATUS_SUCCESS)
        status = c->set(pack, AT_CUDNN_ATTR_VARIANT_PACK_WORKSPACE, AT_CUDNN_TYPE_VOID_PTR, 1,
                        &workspace);
    return status == AT_CUDNN_STATUS_SUCCESS ? c->finalize(pack) : status;
}

at_status at_cudnn_run(const at_cudnn *c, at_cudnn_descriptor plan,
                       const at_cudnn_binding *bindings, int n, void *workspace, const at_launch *l)
{
    at_cudnn_descriptor pack = NULL;
    AT_ASSERT(n <= BINDINGS_MAX, "%d tensors, at most %d", n, BINDINGS_MAX);
    for (int i = 0; i < n; i++)
        if ((uintptr_t)bindings[i].data % AT_CUDNN_ALIGNMENT)
            return at_fail(l->err, AT_INVALID,
                           "cuDNN: tensor %lld lies at %p, expected a multiple of %d",
                           (long long)bindings[i].id, bindings[i].data, AT_CUDNN_ALIGNMENT);
    at_status status =
        at_cudnn_check(c, c->set_stream(c->handle, l->stream->native), l->err, "taking a stream");
    if (status == AT_OK)
        status = at_cudnn_check(c, c->make(AT_CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack), l->err,
                                "making a descriptor");
    if (status == AT_OK)
        status = at_cudnn_check(c, fill_pack(c, pack, bindings, n, workspace), l->err,
                                "naming the tensors");
    if (status == AT_OK)
        status = at_cudnn_check(c, c->execute(c->handle, plan, pack), l->err, "running a plan");
    if (pack)
        c->unmake(pack);
    return status;
}
