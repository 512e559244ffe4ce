/* allocation_test.c -- running a plan allocates nothing: every call of malloc and its kin in this
 * process, libraries included, is counted while a plan runs. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/backward.h"
#include "engine/plan.h"
#include "tests/counted_malloc.h"
#include "tests/unit.h"

static at_tensor param(at_graph *g, at_params *params, const char *name, int rank,
                       const int64_t *size)
{
    at_error err;
    at_param *p = at_params_add(params, name, AT_F32, rank, size, &err);
    assert_non_null(p);
    p->trainable = true;
    return at_graph_param(g, p);
}

/* A convolution, a norm, attention and products, forward and backward. */
static void describe(at_graph *g, at_params *params)
{
    const int64_t picture[] = { 2, 16, 16, 32 }, tokens[] = { 2, 256, 32 }, c[] = { 32 };
    at_tensor none = { 0 }, x = at_graph_input(g, "x", AT_F32, 4, picture);
    at_tensor w = param(g, params, "conv", 4, (const int64_t[]){ 32, 32, 3, 3 });
    at_tensor h = at_conv2d(g, (at_conv){ .x = x, .w = w, .pad = 1 });
    at_tensor gamma = param(g, params, "gamma", 1, c), beta = param(g, params, "beta", 1, c);
    h = at_group_norm(
        g, (at_group){
               .x = h, .gamma = gamma, .beta = beta, .groups = 8, .eps = 1e-5f, .silu = true });
    h = at_graph_reshape(g, h, 3, tokens);
    at_tensor qkv = at_linear(g, h, param(g, params, "qkv", 2, (const int64_t[]){ 96, 32 }), none,
                              none, AT_ACT_NONE);
    h = at_attention(g, (at_attend){ .q = at_graph_slice_cols(g, qkv, 0, 32),
                                     .k = at_graph_slice_cols(g, qkv, 32, 32),
                                     .v = at_graph_slice_cols(g, qkv, 64, 32),
                                     .heads = 2 });
    h = at_layer_norm(g, h, gamma, beta, 1e-5f);
    h = at_geglu(g, at_linear(g, h, param(g, params, "up", 2, (const int64_t[]){ 128, 32 }), none,
                              none, AT_ACT_NONE));
    at_tensor target = at_graph_input(g, "target", AT_F32, 3, (const int64_t[]){ 2, 256, 64 });
    at_tensor loss = at_mse(g, h, target, none, 0);
    at_graph_output(g, loss, "loss");
    at_backward *b = at_graph_backward(g, loss, NULL);
    at_graph_output(g, at_backward_gradient(b, w), "gradient");
    at_backward_free(b);
}

static void running_allocates_nothing(void **state)
{
    at_device *d;
    at_error err;
    (void)state;
    assert_int_equal(at_device_open(&d, "cpu", &(at_device_options){ .threads = 2 }, &err), AT_OK);
    at_params *params = at_params_new(d);
    at_graph *g = at_graph_new();
    describe(g, params);
    at_plan *plan;
    if (at_plan_new(&plan, d, params, g, NULL, &err) != AT_OK)
        fail_msg("%s", err.text);
    int before = test_allocations();
    void *volatile one = malloc(1); /* which a compiler may not leave out */
    free(one);
    assert_int_equal(test_allocations(), before + 1); /* the counter counts */
    if (at_plan_run(plan, &err) != AT_OK)             /* the first run makes forms and threads */
        fail_msg("%s", err.text);
    before = test_allocations();
    for (int i = 0; i < 3; i++)
        if (at_plan_run(plan, &err) != AT_OK)
            fail_msg("%s", err.text);
    assert_int_equal(test_allocations(), before);
    at_plan_free(plan);
    at_graph_free(g);
    at_params_free(params);
    at_device_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(running_allocates_nothing) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
