/* cudnn_graphs_test.c -- which graphs the emulated cuDNN has engines for, how many, and which it
 * does not take for a graph. */
#include "tests/emulator/cudnn_tests.h"

enum { QUERIES = 5 };
static const conv_shape plain = { { 1, 1 }, { 1, 1 }, { 1, 1 }, { 1, 1 } };

/* How many configurations the heuristics give, in both modes. */
static int offered(const at_cudnn_descriptor *ops, int n_ops, build *b, int *at_run_time)
{
    static const int modes[] = { AT_CUDNN_HEUR_MODE_A, AT_CUDNN_HEUR_MODE_FALLBACK };
    at_cudnn_descriptor graph = build_graph(b, ops, n_ops), configs[16];
    int total = 0;
    *at_run_time = 0;
    for (size_t m = 0; m < AT_COUNT(modes); m++) {
        int64_t n = 0, notes = 0;
        int note[8];
        at_cudnn_descriptor h = build_make(b, AT_CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
        build_ref(b, h, AT_CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
        build_set(b, h, AT_CUDNN_ATTR_ENGINEHEUR_MODE, AT_CUDNN_TYPE_HEUR_MODE, 1, &modes[m]);
        build_finish(b, h);
        for (size_t i = 0; i < AT_COUNT(configs); i++)
            configs[i] = build_make(b, AT_CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
        build_note(b, b->c->get(h, AT_CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                AT_CUDNN_TYPE_BACKEND_DESCRIPTOR, 16, &n, configs));
        for (int64_t i = 0; i < n; i++) {
            at_cudnn_descriptor e = build_make(b, AT_CUDNN_BACKEND_ENGINE_DESCRIPTOR);
            build_note(b, b->c->get(configs[i], AT_CUDNN_ATTR_ENGINECFG_ENGINE,
                                    AT_CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &notes, &e));
            build_note(b, b->c->get(e, AT_CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE,
                                    AT_CUDNN_TYPE_BEHAVIOR_NOTE, 8, &notes, note));
            *at_run_time += notes > 0;
        }
        total += (int)n;
    }
    return total;
}

static void expect_offered(const char *what, build *b, const at_cudnn_descriptor *ops, int n,
                           int engines, int compiled)
{
    int at_run_time, got = offered(ops, n, b, &at_run_time);
    expect_success(b);
    if (got != engines || at_run_time != compiled)
        fail_msg("%s: %d engines, %d of them compiled at run time; expected %d and %d", what, got,
                 at_run_time, engines, compiled);
    build_end(b);
}

/* Bias before the residual has fewer engines than after it, and none that is ready. */
void test_orders(void **state)
{
    const int type = AT_CUDNN_DATA_BFLOAT16;
    shape x = shape_of(1, type, 1, 8, 6, 6), w = shape_of(2, type, 8, 8, 3, 3), y = x, r = x;
    shape bias = shape_of(5, type, 1, 8, 1, 1), t = shape_of(10, 0, 1, 8, 6, 6), u = t;
    build b = { .c = *state };
    y.id = 3, r.id = 4, u.id = 11;
    t.is_virtual = u.is_virtual = true;
    at_cudnn_descriptor ops[4] = { build_conv(&b, &plain, &x, &w, &t),
                                   build_point(&b, AT_CUDNN_POINTWISE_ADD, &t, &r, &u),
                                   build_point(&b, AT_CUDNN_POINTWISE_ADD, &u, &bias, &y) };
    expect_offered("residual, bias", &b, ops, 3, 7, 0);
    ops[0] = build_conv(&b, &plain, &x, &w, &t);
    ops[1] = build_point(&b, AT_CUDNN_POINTWISE_ADD, &t, &bias, &u);
    ops[2] = build_point(&b, AT_CUDNN_POINTWISE_ADD, &u, &r, &y);
    expect_offered("bias, residual", &b, ops, 3, 5, 5);
    ops[0] = build_conv(&b, &plain, &x, &w, &t);
    ops[1] = build_point(&b, AT_CUDNN_POINTWISE_SWISH_FWD, &t, NULL, &y);
    expect_offered("SiLU", &b, ops, 2, 5, 5);
}

void test_refused(void **state)
{
    const int type = AT_CUDNN_DATA_BFLOAT16;
    shape x = shape_of(1, type, 1, 8, 6, 6), w = shape_of(2, type, 8, 8, 3, 3), y = x;
    shape wide = w, t = w, s[6];
    build b = { .c = *state };
    y.id = 3, wide.type = t.type = AT_CUDNN_DATA_FLOAT, t.id = 10, t.is_virtual = true;
    at_cudnn_descriptor ops[2] = { build_wgrad(&b, &plain, &x, &wide, &y) };
    expect_offered("a weight gradient straight to f32", &b, ops, 1, 0, 0);
    ops[0] = build_wgrad(&b, &plain, &x, &t, &y);
    ops[1] = build_point(&b, AT_CUDNN_POINTWISE_IDENTITY, &t, NULL, &wide);
    expect_offered("and by a virtual one", &b, ops, 2, 5, 5);
    ops[0] = build_conv(&b, &plain, &x, &w,
                        &(shape){ .id = 3, .size = { 1, 8, 6, 6 }, .stride = { 288, 1, 48, 8 } });
    expect_offered("a convolution straight to f32", &b, ops, 1, 1, 1);
    for (int i = 0; i < 6; i++)
        s[i] = shape_of_heads(i + 1, i < 4 ? type : 0, QUERIES, i < 4 ? 20 : 1);
    s[5] = shape_of(6, 0, 1, 1, 1, 1);
    s[5].by_value = true;
    ops[0] = build_sdpa(&b, s);
    expect_offered("heads of 20", &b, ops, 1, 0, 0);
}

typedef enum tangle {
    NO_TANGLE,
    VIRTUAL_NEVER_WRITTEN,
    VIRTUAL_NEVER_READ,
    WRITTEN_TWICE,
    ONE_ID_TWO_SIZES,
    IN_A_CIRCLE,
    TANGLES
} tangle;

/* Two operations, x -> t -> y, of which a tangle changes one tensor. */
void test_tangles(void **state)
{
    for (int i = NO_TANGLE; i < TANGLES; i++) {
        shape x = shape_of(1, 0, 1, 4, 2, 3), y = x, t = x;
        y.id = 2, t.id = 3, t.is_virtual = true;
        shape from = x, to = t, then = t, end = y;
        build b = { .c = *state };
        if (i == VIRTUAL_NEVER_WRITTEN)
            then.id = 4;
        if (i == VIRTUAL_NEVER_READ)
            then = x;
        if (i == WRITTEN_TWICE)
            to = y, then = x;
        if (i == ONE_ID_TWO_SIZES)
            then = shape_of(1, 0, 1, 4, 3, 2), end = shape_of(2, 0, 1, 4, 3, 2), to = y, to.id = 5;
        if (i == IN_A_CIRCLE)
            from = t, to = t, from.id = to.id + 1, end = from;
        const at_cudnn_descriptor ops[] = {
            build_point(&b, AT_CUDNN_POINTWISE_EXP, &from, NULL, &to),
            build_point(&b, AT_CUDNN_POINTWISE_EXP, &then, NULL, &end),
        };
        expect_success(&b);
        build_graph(&b, ops, AT_COUNT(ops));
        if ((b.status == AT_CUDNN_STATUS_SUCCESS) != (i == NO_TANGLE))
            fail_msg("tangle %d: %s", i, b.c->status_text(b.status));
        build_end(&b);
    }
}
