/* train_test.c -- a network with one of everything, trained for 200 steps: the losses are torch's
 * (golden file written by reference/train_block.py), and the weights at the end are the same bytes
 * for any number of threads and whether cheap results are kept or computed again. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/backward.h"
#include "engine/plan.h"
#include "tests/unit.h"

enum { STEPS = 200, B = 4, H = 8, W = 8, CIN = 8, C = 16, PARAMS_MAX = 32 };

/* f32 in another order of summation; the difference grows from step to step. */
static const double tolerance = 1e-4;

static void numbers(uint32_t seed, int64_t n, double scale, double base, float *out)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)(((uint64_t)i * 2654435761u + (uint64_t)seed * 40503u + 12345u));
        bits = (bits ^ bits >> 15) * 2246822519u;
        bits ^= bits >> 13;
        out[i] = (float)(((double)bits / 4294967296.0 - 0.5) * scale) + (float)base;
    }
}

typedef struct trainer {
    at_device *device;
    at_params *params;
    at_graph *g;
    at_plan *plan;
    at_tensor weights[PARAMS_MAX], x, target, loss, hyper;
    int n;
} trainer;

static at_tensor weight(trainer *t, int rank, const int64_t *size, double scale, double base)
{
    char name[32];
    at_error err;
    snprintf(name, sizeof name, "w%d", t->n);
    at_param *p = at_params_add(t->params, name, AT_F32, rank, size, &err);
    assert_non_null(p);
    p->trainable = true;
    int64_t n = at_elements(&p->view);
    float *values = malloc((size_t)n * sizeof *values);
    numbers((uint32_t)t->n + 1, n, scale, base, values);
    at_param_upload(t->params, p, values);
    free(values);
    return t->weights[t->n++] = at_graph_param(t->g, p);
}

static at_tensor vector(trainer *t, int64_t n, double base)
{
    return weight(t, 1, &n, 0.2, base);
}

static at_tensor matrix(trainer *t, int64_t n, int64_t k, double scale)
{
    return weight(t, 2, (const int64_t[]){ n, k }, scale, 0);
}

static at_tensor kernel(trainer *t, int64_t out, int64_t in, double scale)
{
    return weight(t, 4, (const int64_t[]){ out, in, 3, 3 }, scale, 0);
}

static at_tensor attend(at_graph *g, at_tensor x, at_tensor qkv_w, at_tensor w, at_tensor bias,
                        at_tensor residual)
{
    at_tensor none = { 0 }, qkv = at_linear(g, x, qkv_w, none, none, AT_ACT_NONE);
    at_tensor a = at_attention(g, (at_attend){ .q = at_graph_slice_cols(g, qkv, 0, C),
                                               .k = at_graph_slice_cols(g, qkv, C, C),
                                               .v = at_graph_slice_cols(g, qkv, 2 * C, C),
                                               .heads = 2 });
    return at_linear(g, a, w, bias, residual, AT_ACT_NONE);
}

/* The forward pass; weights are made in the order in which the reference makes them. */
static void describe(trainer *t)
{
    at_graph *g = t->g;
    const int64_t picture[] = { B, H, W, CIN }, tokens[] = { B, H * W, C }, map[] = { B, H, W, C };
    at_tensor w = kernel(t, C, CIN, 0.4), b = vector(t, C, 0), none = { 0 };
    t->x = at_graph_input(g, "x", AT_F32, 4, picture);
    t->target = at_graph_input(g, "target", AT_F32, 4, picture);
    at_tensor h = at_conv2d(g, (at_conv){ .x = t->x, .w = w, .bias = b, .pad = 1 });
    at_tensor gamma = vector(t, C, 1), beta = vector(t, C, 0);
    h = at_group_norm(
        g, (at_group){
               .x = h, .gamma = gamma, .beta = beta, .groups = 4, .eps = 1e-5f, .silu = true });
    h = at_graph_reshape(g, h, 3, tokens);
    gamma = vector(t, C, 1), beta = vector(t, C, 0);
    at_tensor n = at_layer_norm(g, h, gamma, beta, 1e-5f);
    at_tensor qkv = matrix(t, 3 * C, C, 0.8);
    w = matrix(t, C, C, 0.6), b = vector(t, C, 0);
    h = attend(g, n, qkv, w, b, h);
    gamma = vector(t, C, 1), beta = vector(t, C, 0);
    n = at_layer_norm(g, h, gamma, beta, 1e-5f);
    w = matrix(t, 4 * C, C, 0.6), b = vector(t, 4 * C, 0);
    at_tensor up = at_geglu(g, at_linear(g, n, w, b, none, AT_ACT_NONE));
    w = matrix(t, C, 2 * C, 0.5), b = vector(t, C, 0);
    h = at_linear(g, up, w, b, h, AT_ACT_NONE);
    w = kernel(t, CIN, C, 0.3), b = vector(t, CIN, 0);
    at_tensor y =
        at_conv2d(g, (at_conv){ .x = at_graph_reshape(g, h, 4, map), .w = w, .bias = b, .pad = 1 });
    t->loss = at_mse(g, y, t->target, none, 0);
    at_graph_output(g, t->loss, "loss");
}

static at_tensor state_of(trainer *t, at_tensor w, const char *kind)
{
    char name[64];
    at_error err;
    at_view v = at_graph_view(t->g, w);
    snprintf(name, sizeof name, "%s.%s", kind, at_graph_tensor(t->g, w.id)->name);
    at_param *p = at_params_add(t->params, name, AT_F32, v.rank, v.size, &err);
    assert_non_null(p);
    return at_graph_param(t->g, p);
}

static void trainer_open(trainer *t, int threads, bool repeat)
{
    at_error err;
    memset(t, 0, sizeof *t);
    assert_int_equal(
        at_device_open(&t->device, "cpu", &(at_device_options){ .threads = threads }, &err), AT_OK);
    t->params = at_params_new(t->device);
    t->g = at_graph_new();
    describe(t);
    t->hyper = at_graph_input(t->g, "hyper", AT_F32, 1, (const int64_t[]){ AT_HYPERS });
    at_backward *b = at_graph_backward(t->g, t->loss, &(at_backward_options){ .repeat = repeat });
    for (int i = 0; i < t->n; i++) {
        at_tensor w = t->weights[i];
        at_adamw(t->g, w, state_of(t, w, "m"), state_of(t, w, "v"), at_backward_gradient(b, w),
                 t->hyper, (at_adam){ 0.9f, 0.999f, 1e-8f, 0.01f });
    }
    at_backward_free(b);
    at_status status = at_plan_new(&t->plan, t->device, t->params, t->g, NULL, &err);
    if (status != AT_OK)
        fail_msg("%s", err.text);
    float data[B * H * W * CIN];
    numbers(1001, B * H * W * CIN, 2, 0, data);
    assert_int_equal(at_plan_set(t->plan, t->x, data, &err), AT_OK);
    numbers(1002, B * H * W * CIN, 2, 0, data);
    assert_int_equal(at_plan_set(t->plan, t->target, data, &err), AT_OK);
}

static void trainer_close(trainer *t)
{
    at_plan_free(t->plan);
    at_graph_free(t->g);
    at_params_free(t->params);
    at_device_close(t->device);
}

static float train_step(trainer *t, int step)
{
    at_error err;
    float loss = 0, hyper[AT_HYPERS] = {
        [AT_HYPER_LR] = 1e-3f,
        [AT_HYPER_BIAS1] = (float)(1 - pow(0.9, step)),
        [AT_HYPER_BIAS2] = (float)(1 - pow(0.999, step)),
        [AT_HYPER_FACTOR] = 1,
    };
    assert_int_equal(at_plan_set(t->plan, t->hyper, hyper, &err), AT_OK);
    if (at_plan_run(t->plan, &err) != AT_OK)
        fail_msg("%s", err.text);
    assert_int_equal(at_plan_get(t->plan, t->loss, &loss, &err), AT_OK);
    return loss;
}

/* The bytes of all weights, one after the other. */
static unsigned char *final_weights(trainer *t, size_t *bytes)
{
    unsigned char *all = NULL;
    *bytes = 0;
    for (int i = 0; i < t->n; i++) {
        at_param *p = at_graph_tensor(t->g, t->weights[i].id)->param;
        size_t n = at_view_bytes(&p->view);
        all = realloc(all, *bytes + n);
        assert_non_null(all);
        at_param_download(t->params, p, all + *bytes);
        *bytes += n;
    }
    return all;
}

static void losses_are_torchs(void **state)
{
    trainer t;
    (void)state;
    FILE *f = fopen(AT_SOURCE_DIR "/tests/golden/train_block.txt", "r");
    assert_non_null(f);
    trainer_open(&t, 1, false);
    double first = 0, last = 0, worst = 0;
    for (int step = 1; step <= STEPS; step++) {
        double expected = 0;
        assert_int_equal(fscanf(f, "%lf", &expected), 1);
        last = (double)train_step(&t, step);
        first = step == 1 ? last : first;
        worst = fabs(last - expected) > worst ? fabs(last - expected) : worst;
        if (!(fabs(last - expected) <= tolerance))
            fail_msg("step %d: loss %.9g, torch's is %.9g", step, last, expected);
    }
    fclose(f);
    printf("200 steps: loss %.6f -> %.6f, at most %.2g from torch's\n", first, last, worst);
    assert_true(last < 0.8 * first);
    trainer_close(&t);
}

static void weights_are_the_same_bytes(void **state)
{
    static const struct {
        int threads;
        bool repeat;
    } runs[] = { { 1, false }, { 2, false }, { 1, true }, { 2, true } };
    unsigned char *expected = NULL;
    size_t bytes = 0, n = 0;
    (void)state;
    for (size_t i = 0; i < AT_COUNT(runs); i++) {
        trainer t;
        trainer_open(&t, runs[i].threads, runs[i].repeat);
        for (int step = 1; step <= STEPS; step++)
            train_step(&t, step);
        unsigned char *weights = final_weights(&t, &n);
        if (!expected) {
            expected = weights;
            bytes = n;
        } else {
            assert_int_equal(n, bytes);
            if (memcmp(expected, weights, bytes))
                fail_msg("other weights with %d threads, repeat %d", runs[i].threads,
                         runs[i].repeat);
            free(weights);
        }
        trainer_close(&t);
    }
    free(expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_are_torchs),
        cmocka_unit_test(weights_are_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
