#include "tests/emulator/cudnn_manners.h"

#include <stdio.h>

#include "tests/emulator/cudnn_build.h"

static const conv_shape plain = { { 1, 1 }, { 1, 1 }, { 1, 1 }, { 1, 1 } };

static shape picture(int64_t id, int64_t channels, int64_t height)
{
    return shape_of(id, AT_CUDNN_DATA_BFLOAT16, 2, channels, height, 8);
}

/* A tensor that lacks the attribute 'left', and is not finalized. */
static at_cudnn_descriptor tensor_without(build *b, at_cudnn_attribute left)
{
    static const int64_t size[] = { 1, 8, 4, 4 }, stride[] = { 128, 1, 32, 8 };
    const int type = AT_CUDNN_DATA_BFLOAT16;
    at_cudnn_descriptor d = build_make(b, AT_CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    build_i64(b, d, AT_CUDNN_ATTR_TENSOR_UNIQUE_ID, 1);
    build_set(b, d, AT_CUDNN_ATTR_TENSOR_DATA_TYPE, AT_CUDNN_TYPE_DATA_TYPE, 1, &type);
    if (left != AT_CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT)
        build_i64(b, d, AT_CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, 16);
    if (left != AT_CUDNN_ATTR_TENSOR_DIMENSIONS)
        build_set(b, d, AT_CUDNN_ATTR_TENSOR_DIMENSIONS, AT_CUDNN_TYPE_INT64, 4, size);
    if (left != AT_CUDNN_ATTR_TENSOR_STRIDES)
        build_set(b, d, AT_CUDNN_ATTR_TENSOR_STRIDES, AT_CUDNN_TYPE_INT64, 4, stride);
    return d;
}

/* --- tensors ---------------------------------------------------------------------------------- */

static void whole_tensor(build *b)
{
    build_finish(b, tensor_without(b, -1));
}

static void empty_tensor(build *b)
{
    build_finish(b, build_make(b, AT_CUDNN_BACKEND_TENSOR_DESCRIPTOR));
}

static void tensor_without_alignment(build *b)
{
    build_finish(b, tensor_without(b, AT_CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT));
}

static void tensor_without_strides(build *b)
{
    build_finish(b, tensor_without(b, AT_CUDNN_ATTR_TENSOR_STRIDES));
}

static void three_strides(build *b)
{
    static const int64_t stride[] = { 128, 1, 32 };
    at_cudnn_descriptor d = tensor_without(b, AT_CUDNN_ATTR_TENSOR_STRIDES);
    build_set(b, d, AT_CUDNN_ATTR_TENSOR_STRIDES, AT_CUDNN_TYPE_INT64, 3, stride);
    build_finish(b, d);
}

static void negative_stride(build *b)
{
    static const int64_t stride[] = { 128, 1, 32, -8 };
    at_cudnn_descriptor d = tensor_without(b, -1);
    build_set(b, d, AT_CUDNN_ATTR_TENSOR_STRIDES, AT_CUDNN_TYPE_INT64, 4, stride);
    build_finish(b, d);
}

static void odd_alignment(build *b)
{
    at_cudnn_descriptor d = tensor_without(b, AT_CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT);
    build_i64(b, d, AT_CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, 3);
    build_finish(b, d);
}

static void other_type(build *b)
{
    const int64_t id = 1;
    build_set(b, tensor_without(b, -1), AT_CUDNN_ATTR_TENSOR_UNIQUE_ID, AT_CUDNN_TYPE_CHAR, 1, &id);
}

static void two_ids(build *b)
{
    static const int64_t ids[] = { 1, 2 };
    build_set(b, tensor_without(b, -1), AT_CUDNN_ATTR_TENSOR_UNIQUE_ID, AT_CUDNN_TYPE_INT64, 2,
              ids);
}

static void no_elements(build *b)
{
    build_set(b, tensor_without(b, -1), AT_CUDNN_ATTR_TENSOR_UNIQUE_ID, AT_CUDNN_TYPE_INT64, 1,
              NULL);
}

static void other_kinds_attribute(build *b)
{
    const int type = AT_CUDNN_DATA_FLOAT;
    build_set(b, tensor_without(b, -1), AT_CUDNN_ATTR_CONVOLUTION_COMP_TYPE,
              AT_CUDNN_TYPE_DATA_TYPE, 1, &type);
}

static void set_twice(build *b)
{
    at_cudnn_descriptor d = tensor_without(b, -1);
    build_i64(b, d, AT_CUDNN_ATTR_TENSOR_UNIQUE_ID, 2);
    build_finish(b, d);
}

static void set_when_finalized(build *b)
{
    build_i64(b, build_finish(b, tensor_without(b, -1)), AT_CUDNN_ATTR_TENSOR_UNIQUE_ID, 2);
}

static void finalized_twice(build *b)
{
    build_finish(b, build_finish(b, tensor_without(b, -1)));
}

static void unknown_kind(build *b)
{
    build_make(b, 999);
}

/* --- reading ---------------------------------------------------------------------------------- */

static void read_one(build *b, at_cudnn_descriptor d, at_cudnn_attribute name, at_cudnn_type type)
{
    int64_t n = 0, value[8];
    build_note(b, b->c->get(d, name, type, 8, &n, value));
}

static void read_whole(build *b)
{
    const shape s = picture(1, 16, 8);
    int64_t n = 0, size[8] = { 0 };
    at_cudnn_descriptor d = build_tensor(b, &s);
    build_note(b, b->c->get(d, AT_CUDNN_ATTR_TENSOR_DIMENSIONS, AT_CUDNN_TYPE_INT64, 8, &n, size));
    if (n != 4 || size[1] != 16)
        build_note(b, AT_CUDNN_STATUS_EXECUTION_FAILED);
}

static void read_part(build *b)
{
    const shape s = picture(1, 16, 8);
    int64_t n = 0, size[8] = { 0 };
    at_cudnn_descriptor d = build_tensor(b, &s);
    build_note(b, b->c->get(d, AT_CUDNN_ATTR_TENSOR_DIMENSIONS, AT_CUDNN_TYPE_INT64, 2, &n, size));
    if (n != 2 || size[1] != 16 || size[2])
        build_note(b, AT_CUDNN_STATUS_EXECUTION_FAILED);
}

static void read_early(build *b)
{
    read_one(b, tensor_without(b, -1), AT_CUDNN_ATTR_TENSOR_UNIQUE_ID, AT_CUDNN_TYPE_INT64);
}

static void read_as_other_type(build *b)
{
    const shape s = picture(1, 16, 8);
    read_one(b, build_tensor(b, &s), AT_CUDNN_ATTR_TENSOR_UNIQUE_ID, AT_CUDNN_TYPE_CHAR);
}

static void read_other_kinds(build *b)
{
    const shape s = picture(1, 16, 8);
    read_one(b, build_tensor(b, &s), AT_CUDNN_ATTR_CONVOLUTION_COMP_TYPE, AT_CUDNN_TYPE_DATA_TYPE);
}

/* --- convolutions ----------------------------------------------------------------------------- */

static void convolve(build *b, int64_t channels, int64_t weights, int64_t rows)
{
    const shape x = picture(1, channels, 8), y = picture(3, 32, rows);
    const shape w = shape_of(2, AT_CUDNN_DATA_BFLOAT16, 32, weights, 3, 3);
    build_conv(b, &plain, &x, &w, &y);
}

static void convolution(build *b)
{
    convolve(b, 16, 16, 8);
}

static void other_channels(build *b)
{
    convolve(b, 16, 12, 8);
}

static void other_rows(build *b)
{
    convolve(b, 16, 16, 7);
}

static void window_without_sides(build *b)
{
    build_finish(b, build_make(b, AT_CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR));
}

static void window_without_strides(build *b)
{
    at_cudnn_descriptor d = build_make(b, AT_CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    build_i64(b, d, AT_CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, 2);
    build_set(b, d, AT_CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, AT_CUDNN_TYPE_INT64, 2, plain.before);
    build_set(b, d, AT_CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, AT_CUDNN_TYPE_INT64, 2, plain.after);
    build_finish(b, d);
}

/* A convolution without y, of a window that is finalized late or not. */
static at_cudnn_descriptor without_y(build *b, at_cudnn_descriptor made_window)
{
    const shape x = picture(1, 16, 8), w = shape_of(2, AT_CUDNN_DATA_BFLOAT16, 32, 16, 3, 3);
    at_cudnn_descriptor d =
        build_conv_open(b, AT_CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                        AT_CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, made_window);
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, build_tensor(b, &x));
    build_ref(b, d, AT_CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, build_tensor(b, &w));
    return d;
}

static void set_y(build *b, at_cudnn_descriptor op)
{
    const shape y = picture(3, 32, 8);
    build_ref(b, op, AT_CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, build_tensor(b, &y));
}

static void no_y(build *b)
{
    build_finish(b, without_y(b, build_finish(b, build_window(b, &plain))));
}

static void window_not_finalized(build *b)
{
    at_cudnn_descriptor op = without_y(b, build_window(b, &plain));
    set_y(b, op);
    build_finish(b, op);
}

/* What a descriptor refers to is copied: it may go at once. */
static void references_destroyed(build *b)
{
    at_cudnn_descriptor op = without_y(b, build_finish(b, build_window(b, &plain)));
    set_y(b, op);
    int kept = 0;
    for (int i = 0; i < b->n; i++)
        if (b->made[i] == op)
            b->made[kept++] = op;
        else
            build_note(b, b->c->unmake(b->made[i]));
    b->n = kept;
    build_finish(b, op);
    build_graph(b, &op, 1);
}

/* --- graphs and what comes after them --------------------------------------------------------- */

static void empty_graph(build *b)
{
    build_finish(b, build_make(b, AT_CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR));
}

static void operation_not_finalized(build *b)
{
    at_cudnn_descriptor op = without_y(b, build_finish(b, build_window(b, &plain)));
    set_y(b, op);
    build_graph(b, &op, 1);
}

/* Operations in the order in which they cannot be run. */
static void graph_in_any_order(build *b)
{
    const shape x = picture(1, 16, 8), y = picture(3, 32, 8);
    const shape w = shape_of(2, AT_CUDNN_DATA_BFLOAT16, 32, 16, 3, 3);
    shape t = shape_of(4, AT_CUDNN_DATA_FLOAT, 2, 32, 8, 8);
    t.is_virtual = true;
    const at_cudnn_descriptor ops[] = {
        build_point(b, AT_CUDNN_POINTWISE_RELU_FWD, &t, NULL, &y),
        build_conv(b, &plain, &x, &w, &t),
    };
    build_graph(b, ops, AT_COUNT(ops));
}

static void heuristics_without_graph(build *b)
{
    build_finish(b, build_make(b, AT_CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR));
}

static void engine_without_graph(build *b)
{
    at_cudnn_descriptor d = build_make(b, AT_CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    build_i64(b, d, AT_CUDNN_ATTR_ENGINE_GLOBAL_INDEX, 10);
    build_finish(b, d);
}

static void unknown_engine(build *b)
{
    const shape x = picture(1, 16, 8), y = picture(3, 32, 8);
    const shape w = shape_of(2, AT_CUDNN_DATA_BFLOAT16, 32, 16, 3, 3);
    at_cudnn_descriptor op = build_conv(b, &plain, &x, &w, &y);
    at_cudnn_descriptor d = build_make(b, AT_CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    build_ref(b, d, AT_CUDNN_ATTR_ENGINE_OPERATION_GRAPH, build_graph(b, &op, 1));
    build_i64(b, d, AT_CUDNN_ATTR_ENGINE_GLOBAL_INDEX, 99999);
    build_finish(b, d);
}

static void config_of_open_engine(build *b)
{
    at_cudnn_descriptor d = build_make(b, AT_CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    build_ref(b, d, AT_CUDNN_ATTR_ENGINECFG_ENGINE,
              build_make(b, AT_CUDNN_BACKEND_ENGINE_DESCRIPTOR));
    build_finish(b, d);
}

static void plan_of_open_config(build *b)
{
    at_cudnn_descriptor d = build_make(b, AT_CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    build_ref(b, d, AT_CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
              build_make(b, AT_CUDNN_BACKEND_ENGINECFG_DESCRIPTOR));
    build_finish(b, d);
}

static void reference_of_another_kind(build *b)
{
    const shape x = picture(1, 16, 8);
    at_cudnn_descriptor op = without_y(b, build_finish(b, build_window(b, &plain)));
    at_cudnn_descriptor graph = build_make(b, AT_CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    at_cudnn_descriptor tensor = build_tensor(b, &x);
    build_set(b, graph, AT_CUDNN_ATTR_OPERATIONGRAPH_OPS, AT_CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
              &tensor);
    build_ref(b, op, AT_CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, graph);
}

static void used_when_destroyed(build *b)
{
    at_cudnn_descriptor d = tensor_without(b, -1);
    b->c->unmake(d);
    b->n--;
    build_finish(b, d);
}

static void set_in_finalized_pack(build *b)
{
    static const int64_t ids[] = { 1, 2 };
    static int memory[2];
    void *const at[] = { &memory[0], &memory[1] };
    at_cudnn_descriptor d = build_make(b, AT_CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    build_set(b, d, AT_CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, AT_CUDNN_TYPE_INT64, 2, ids);
    build_set(b, d, AT_CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, AT_CUDNN_TYPE_VOID_PTR, 2, at);
    build_finish(b, d);
    if (b->status != AT_CUDNN_STATUS_SUCCESS)
        printf("a pack could not be finalized\n");
    build_set(b, d, AT_CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, AT_CUDNN_TYPE_INT64, 2, ids);
}

/* --- the list --------------------------------------------------------------------------------- */

typedef enum answer {
    TAKEN,
    REFUSED,
    DEADLY, /* refused by the emulated one; the real one has been seen to crash */
} answer;

static const struct {
    const char *what;
    void (*use)(build *b);
    answer expected;
} uses[] = {
    { "a tensor with all it needs", whole_tensor, TAKEN },
    { "a tensor of nothing", empty_tensor, REFUSED },
    { "a tensor without an alignment", tensor_without_alignment, REFUSED },
    { "a tensor without strides", tensor_without_strides, REFUSED },
    { "four sizes and three strides", three_strides, REFUSED },
    { "a negative stride", negative_stride, REFUSED },
    { "an alignment of 3", odd_alignment, REFUSED },
    { "an id of another type", other_type, REFUSED },
    { "two ids", two_ids, REFUSED },
    { "an id from nowhere", no_elements, REFUSED },
    { "an attribute of another kind", other_kinds_attribute, REFUSED },
    { "an attribute set twice", set_twice, TAKEN },
    { "an attribute set when finalized", set_when_finalized, REFUSED },
    { "finalizing twice", finalized_twice, REFUSED },
    { "an unknown kind", unknown_kind, REFUSED },
    { "reading all there is", read_whole, TAKEN },
    { "reading a part", read_part, TAKEN },
    { "reading before finalizing", read_early, REFUSED },
    { "reading as another type", read_as_other_type, REFUSED },
    { "reading what another kind has", read_other_kinds, REFUSED },
    { "a convolution", convolution, TAKEN },
    { "a convolution of other channels", other_channels, REFUSED },
    { "a convolution to other rows", other_rows, REFUSED },
    { "a window without its number of sides", window_without_sides, REFUSED },
    { "a window without strides", window_without_strides, REFUSED },
    { "a convolution to nowhere", no_y, REFUSED },
    { "a window that is not finalized", window_not_finalized, REFUSED },
    { "references destroyed once they are set", references_destroyed, TAKEN },
    { "a graph of nothing", empty_graph, REFUSED },
    { "an operation that is not finalized", operation_not_finalized, REFUSED },
    { "operations in any order", graph_in_any_order, TAKEN },
    { "heuristics without a graph", heuristics_without_graph, REFUSED },
    { "an engine without a graph", engine_without_graph, REFUSED },
    { "an engine that nobody has", unknown_engine, REFUSED },
    { "a configuration of an open engine", config_of_open_engine, DEADLY },
    { "a reference of another kind", reference_of_another_kind, DEADLY },
    { "a descriptor that was destroyed", used_when_destroyed, DEADLY },
    { "a plan of an open configuration", plan_of_open_config, REFUSED },
    { "a pack set when finalized", set_in_finalized_pack, REFUSED },
};

int cudnn_manners(const at_cudnn *c, const char *name)
{
    int wrong = 0;
    for (size_t i = 0; i < AT_COUNT(uses); i++) {
        build b = { .c = c };
        char text[256] = "";
        if (uses[i].expected == DEADLY && !c->handle)
            continue;
        uses[i].use(&b);
        answer got = b.status == AT_CUDNN_STATUS_SUCCESS ? TAKEN : REFUSED;
        c->last_error(text, sizeof text);
        if ((got == TAKEN) != (uses[i].expected == TAKEN)) {
            printf("FAIL %s cuDNN: %s was %s, expected the other (%s: %s)\n", name, uses[i].what,
                   got == TAKEN ? "taken" : "refused", c->status_text(b.status), text);
            wrong++;
        }
        build_end(&b);
    }
    return wrong;
}
