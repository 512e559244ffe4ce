/* cudnn_build.h -- graphs of cuDNN as tests write them: descriptors of few words, kept in a list
 * and destroyed together. Any thread may have its own. */
#ifndef AT_TESTS_EMULATOR_CUDNN_BUILD_H
#define AT_TESTS_EMULATOR_CUDNN_BUILD_H

#include "kernels/cudnn.h"

enum { BUILD_MAX = 128 };

typedef struct build {
    const at_cudnn *c;
    at_cudnn_status status; /* of the first call that failed */
    at_cudnn_descriptor made[BUILD_MAX];
    int n;
} build;

/* A tensor as a test has it: pictures are (n, c, h, w) in the order of memory n, h, w, c. */
typedef struct shape {
    int64_t id, size[4], stride[4];
    int type; /* AT_CUDNN_DATA_... */
    bool is_virtual, by_value;
} shape;

static inline void build_note(build *b, at_cudnn_status status)
{
    if (b->status == AT_CUDNN_STATUS_SUCCESS)
        b->status = status;
}

static inline at_cudnn_descriptor build_make(build *b, at_cudnn_kind kind)
{
    at_cudnn_descriptor d = NULL;
    AT_ASSERT(b->n < BUILD_MAX, "%d descriptors", b->n);
    build_note(b, b->c->make(kind, &d));
    if (d)
        b->made[b->n++] = d;
    return d;
}

static inline void build_set(build *b, at_cudnn_descriptor d, at_cudnn_attribute name,
                             at_cudnn_type type, int64_t count, const void *elements)
{
    build_note(b, b->c->set(d, name, type, count, elements));
}

static inline void build_i64(build *b, at_cudnn_descriptor d, at_cudnn_attribute name, int64_t v)
{
    build_set(b, d, name, AT_CUDNN_TYPE_INT64, 1, &v);
}

static inline void build_ref(build *b, at_cudnn_descriptor d, at_cudnn_attribute name,
                             at_cudnn_descriptor of)
{
    build_set(b, d, name, AT_CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &of);
}

static inline at_cudnn_descriptor build_finish(build *b, at_cudnn_descriptor d)
{
    build_note(b, b->c->finalize(d));
    return d;
}

static inline void build_end(build *b)
{
    while (b->n)
        b->c->unmake(b->made[--b->n]);
}

static inline shape shape_of(int64_t id, int type, int64_t n, int64_t c, int64_t h, int64_t w)
{
    return (shape){
        .id = id, .size = { n, c, h, w }, .stride = { h * w * c, 1, w * c, c }, .type = type
    };
}

/* (2, 2, l, d): samples, heads, tokens, elements; in memory samples, tokens, heads, elements. */
static inline shape shape_of_heads(int64_t id, int type, int64_t l, int64_t d)
{
    return (shape){
        .id = id, .size = { 2, 2, l, d }, .stride = { l * 2 * d, d, 2 * d, 1 }, .type = type
    };
}

static inline at_cudnn_descriptor build_tensor(build *b, const shape *s)
{
    at_cudnn_descriptor d = build_make(b, AT_CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    const bool yes = true;
    build_i64(b, d, AT_CUDNN_ATTR_TENSOR_UNIQUE_ID, s->id);
    build_i64(b, d, AT_CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, 16);
    build_set(b, d, AT_CUDNN_ATTR_TENSOR_DATA_TYPE, AT_CUDNN_TYPE_DATA_TYPE, 1, &s->type);
    build_set(b, d, AT_CUDNN_ATTR_TENSOR_DIMENSIONS, AT_CUDNN_TYPE_INT64, 4, s->size);
    build_set(b, d, AT_CUDNN_ATTR_TENSOR_STRIDES, AT_CUDNN_TYPE_INT64, 4, s->stride);
    if (s->is_virtual)
        build_set(b, d, AT_CUDNN_ATTR_TENSOR_IS_VIRTUAL, AT_CUDNN_TYPE_BOOLEAN, 1, &yes);
    if (s->by_value)
        build_set(b, d, AT_CUDNN_ATTR_TENSOR_IS_BY_VALUE, AT_CUDNN_TYPE_BOOLEAN, 1, &yes);
    return build_finish(b, d);
}

/* Two axes: strides, dilations, padding before, padding after. */
typedef struct conv_shape {
    int64_t stride[2], dilation[2], before[2], after[2];
} conv_shape;

static inline at_cudnn_descriptor build_window(build *b, const conv_shape *c)
{
    at_cudnn_descriptor d = build_make(b, AT_CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    const int type = AT_CUDNN_DATA_FLOAT, mode = AT_CUDNN_CROSS_CORRELATION;
    build_set(b, d, AT_CUDNN_ATTR_CONVOLUTION_COMP_TYPE, AT_CUDNN_TYPE_DATA_TYPE, 1, &type);
    build_set(b, d, AT_CUDNN_ATTR_CONVOLUTION_CONV_MODE, AT_CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    build_i64(b, d, AT_CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, 2);
    build_set(b, d, AT_CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, AT_CUDNN_TYPE_INT64, 2, c->stride);
    build_set(b, d, AT_CUDNN_ATTR_CONVOLUTION_DILATIONS, AT_CUDNN_TYPE_INT64, 2, c->dilation);
    build_set(b, d, AT_CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, AT_CUDNN_TYPE_INT64, 2, c->before);
    build_set(b, d, AT_CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, AT_CUDNN_TYPE_INT64, 2, c->after);
    return d;
}

/* The attributes of the three convolutions are numbered alike: alpha, beta, the descriptor. */
static inline at_cudnn_descriptor build_conv_open(build *b, at_cudnn_kind kind,
                                                  at_cudnn_attribute alpha,
                                                  at_cudnn_descriptor window)
{
    at_cudnn_descriptor d = build_make(b, kind);
    const float one = 1, zero = 0;
    build_set(b, d, alpha, AT_CUDNN_TYPE_FLOAT, 1, &one);
    build_set(b, d, alpha + 1, AT_CUDNN_TYPE_FLOAT, 1, &zero);
    build_ref(b, d, alpha + 2, window);
    return d;
}

static inline at_cudnn_descriptor build_conv(build *b, const conv_shape *c, const shape *x,
                                             const shape *w, const shape *y)
{
    at_cudnn_descriptor window = build_finish(b, build_window(b, c));
    at_cudnn_descriptor d =
        build_conv_open(b, AT_CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                        AT_CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, window);
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, build_tensor(b, x));
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, build_tensor(b, w));
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, build_tensor(b, y));
    return build_finish(b, d);
}

static inline at_cudnn_descriptor build_dgrad(build *b, const conv_shape *c, const shape *dx,
                                              const shape *w, const shape *dy)
{
    at_cudnn_descriptor window = build_finish(b, build_window(b, c));
    at_cudnn_descriptor d =
        build_conv_open(b, AT_CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                        AT_CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, window);
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, build_tensor(b, dx));
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, build_tensor(b, w));
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, build_tensor(b, dy));
    return build_finish(b, d);
}

static inline at_cudnn_descriptor build_wgrad(build *b, const conv_shape *c, const shape *x,
                                              const shape *dw, const shape *dy)
{
    at_cudnn_descriptor window = build_finish(b, build_window(b, c));
    at_cudnn_descriptor d =
        build_conv_open(b, AT_CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                        AT_CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, window);
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, build_tensor(b, x));
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, build_tensor(b, dw));
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, build_tensor(b, dy));
    return build_finish(b, d);
}

/* 'second' is NULL for an operation of one operand. */
static inline at_cudnn_descriptor build_point(build *b, int mode, const shape *x,
                                              const shape *second, const shape *y)
{
    at_cudnn_descriptor how = build_make(b, AT_CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    at_cudnn_descriptor d = build_make(b, AT_CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    const int type = AT_CUDNN_DATA_FLOAT;
    build_set(b, how, AT_CUDNN_ATTR_POINTWISE_MODE, AT_CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    build_set(b, how, AT_CUDNN_ATTR_POINTWISE_MATH_PREC, AT_CUDNN_TYPE_DATA_TYPE, 1, &type);
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, build_finish(b, how));
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_POINTWISE_XDESC, build_tensor(b, x));
    if (second)
        build_ref(b, d, AT_CUDNN_ATTR_OPERATION_POINTWISE_BDESC, build_tensor(b, second));
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_POINTWISE_YDESC, build_tensor(b, y));
    return build_finish(b, d);
}

static inline at_cudnn_descriptor build_matmul(build *b, const shape *x, const shape *y,
                                               const shape *z)
{
    at_cudnn_descriptor how = build_make(b, AT_CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    at_cudnn_descriptor d = build_make(b, AT_CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
    const int type = AT_CUDNN_DATA_FLOAT;
    build_set(b, how, AT_CUDNN_ATTR_MATMUL_COMP_TYPE, AT_CUDNN_TYPE_DATA_TYPE, 1, &type);
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_MATMUL_DESC, build_finish(b, how));
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_MATMUL_ADESC, build_tensor(b, x));
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_MATMUL_BDESC, build_tensor(b, y));
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_MATMUL_CDESC, build_tensor(b, z));
    return build_finish(b, d);
}

static inline at_cudnn_descriptor build_reduce(build *b, int operation, const shape *x,
                                               const shape *y)
{
    at_cudnn_descriptor how = build_make(b, AT_CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    at_cudnn_descriptor d = build_make(b, AT_CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
    const int type = AT_CUDNN_DATA_FLOAT;
    build_set(b, how, AT_CUDNN_ATTR_REDUCTION_OPERATOR, AT_CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1,
              &operation);
    build_set(b, how, AT_CUDNN_ATTR_REDUCTION_COMP_TYPE, AT_CUDNN_TYPE_DATA_TYPE, 1, &type);
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_REDUCTION_DESC, build_finish(b, how));
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_REDUCTION_XDESC, build_tensor(b, x));
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_REDUCTION_YDESC, build_tensor(b, y));
    return build_finish(b, d);
}

static inline at_cudnn_descriptor build_reshape(build *b, const shape *x, const shape *y)
{
    at_cudnn_descriptor d = build_make(b, AT_CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_RESHAPE_XDESC, build_tensor(b, x));
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_RESHAPE_YDESC, build_tensor(b, y));
    return build_finish(b, d);
}

/* t: q, k, v, o, statistics, scale. */
static inline at_cudnn_descriptor build_sdpa(build *b, const shape *t)
{
    at_cudnn_descriptor d = build_make(b, AT_CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, build_tensor(b, &t[0]));
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, build_tensor(b, &t[1]));
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, build_tensor(b, &t[2]));
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, build_tensor(b, &t[3]));
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_SDPA_FWD_STATSDESC, build_tensor(b, &t[4]));
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, build_tensor(b, &t[5]));
    return build_finish(b, d);
}

static inline at_cudnn_descriptor build_graph(build *b, const at_cudnn_descriptor *ops, int64_t n)
{
    at_cudnn_descriptor d = build_make(b, AT_CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    build_set(b, d, AT_CUDNN_ATTR_OPERATIONGRAPH_OPS, AT_CUDNN_TYPE_BACKEND_DESCRIPTOR, n, ops);
    return build_finish(b, d);
}

/* A plan of an engine by its index; its knob 2 is set unless 'knob' is negative. */
static inline at_cudnn_descriptor build_plan(build *b, at_cudnn_descriptor graph, int64_t index,
                                             int64_t knob)
{
    at_cudnn_descriptor engine = build_make(b, AT_CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    at_cudnn_descriptor config = build_make(b, AT_CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    at_cudnn_descriptor plan = build_make(b, AT_CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    const int type = 2;
    build_ref(b, engine, AT_CUDNN_ATTR_ENGINE_OPERATION_GRAPH, graph);
    build_i64(b, engine, AT_CUDNN_ATTR_ENGINE_GLOBAL_INDEX, index);
    build_ref(b, config, AT_CUDNN_ATTR_ENGINECFG_ENGINE, build_finish(b, engine));
    if (knob >= 0) {
        at_cudnn_descriptor choice = build_make(b, AT_CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
        build_set(b, choice, AT_CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, AT_CUDNN_TYPE_KNOB_TYPE, 1,
                  &type);
        build_i64(b, choice, AT_CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, knob);
        build_ref(b, config, AT_CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, build_finish(b, choice));
    }
    build_ref(b, plan, AT_CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, build_finish(b, config));
    build_set(b, plan, AT_CUDNN_ATTR_EXECUTION_PLAN_HANDLE, AT_CUDNN_TYPE_HANDLE, 1, &b->c->handle);
    return build_finish(b, plan);
}

#endif
