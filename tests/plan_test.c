/* plan_test.c -- layout, plans, forms, cache: what the engine promises about memory. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/backward.h"
#include "engine/layout.h"
#include "engine/plan.h"
#include "tests/shapes/unet_shape.h"
#include "tests/unit.h"

static at_device *open_cpu(int threads)
{
    at_device *d;
    at_error err;
    at_status status = at_device_open(&d, "cpu", &(at_device_options){ .threads = threads }, &err);
    AT_ASSERT(status == AT_OK, "%s", err.text);
    return d;
}

/* --- layout ----------------------------------------------------------------------------------- */

static void blocks_never_meet(void **state)
{
    enum { N = 300, NODES = 100, TRIES = 20 };
    at_block b[N];
    unsigned seed = 12345;
    (void)state;
    for (int t = 0; t < TRIES; t++) {
        for (int i = 0; i < N; i++) {
            seed = seed * 1664525u + 1013904223u;
            int first = (int)(seed >> 8) % NODES, last = first + (int)(seed >> 16) % 9;
            size_t bytes = 1 + (seed >> 20) % 5000;
            b[i] = (at_block){ bytes, first, last, AT_LANE_COMPUTE, { last }, 0 };
        }
        size_t top = at_layout(b, N);
        assert_true(top >= at_layout_bound(b, N));
        for (int i = 0; i < N; i++) {
            assert_true(b[i].offset % AT_BLOCK_ALIGN == 0 && b[i].offset + b[i].bytes <= top);
            for (int j = 0; j < i; j++) {
                bool together = b[i].first <= b[j].last && b[j].first <= b[i].last;
                bool overlap = b[i].offset < b[j].offset + b[j].bytes &&
                               b[j].offset < b[i].offset + b[i].bytes;
                assert_false(together && overlap);
            }
        }
    }
}

/* --- the UNet's memory ------------------------------------------------------------------------ */

static at_plan_bytes unet_bytes(bool training, bool repeat)
{
    at_device *d = open_cpu(1);
    at_params *params = at_params_new(d);
    at_graph *g = at_graph_new();
    unet_shape shape = unet_shape_sdxl;
    at_error err;
    shape.batch = training ? 1 : 2;
    shape.trainable = training;
    shape.dtype = AT_F32;
    unet_io io = unet_describe(g, params, &shape);
    at_graph_output(g, io.out, "out");
    if (training) {
        at_view out = at_graph_view(g, io.out);
        at_tensor target = at_graph_input(g, "target", out.dtype, out.rank, out.size);
        at_tensor loss = at_mse(g, io.out, target, (at_tensor){ 0 }, 0);
        at_backward *b = at_graph_backward(g, loss, &(at_backward_options){ .repeat = repeat });
        for (int i = 0; i < at_params_count(params); i++) {
            at_tensor w = at_graph_param(g, at_params_at(params, i));
            at_tensor gradient = at_backward_gradient(b, w);
            assert_true(gradient.id != 0);
            at_graph_output(g, gradient, "gradient");
        }
        at_backward_free(b);
    }
    at_plan *plan;
    at_status status = at_plan_new(&plan, d, params, g, NULL, &err);
    AT_ASSERT(status == AT_OK, "%s", err.text);
    at_plan_bytes bytes = at_plan_memory(plan);
    printf("UNet 1024x1024 %s%s, batch %d: weights %.2f GB, arena %.1f MB, bound %.1f MB (%.3f), "
           "%d nodes\n",
           training ? "training" : "forward", repeat ? " repeating" : "", (int)shape.batch,
           (double)bytes.weights / 1e9, (double)bytes.arena / 1e6, (double)bytes.bound / 1e6,
           (double)bytes.arena / (double)bytes.bound, at_plan_nodes(plan));
    assert_int_equal(d->bytes_in_use, at_params_bytes(params)); /* planning allocates nothing */
    at_plan_free(plan);
    at_graph_free(g);
    at_params_free(params);
    at_device_close(d);
    return bytes;
}

static void unet_memory_is_near_the_bound(void **state)
{
    (void)state;
    at_plan_bytes forward = unet_bytes(false, false);
    at_plan_bytes kept = unet_bytes(true, false), repeated = unet_bytes(true, true);
    assert_true((double)forward.arena <= 1.10 * (double)forward.bound);
    assert_true((double)kept.arena <= 1.10 * (double)kept.bound);
    assert_true((double)repeated.arena <= 1.10 * (double)repeated.bound);
    assert_true((double)repeated.arena < 0.85 * (double)kept.arena);
    assert_true(forward.weights > (size_t)2500000000 * 4); /* the real thing: 2.57 G parameters */
}

/* --- a small model ---------------------------------------------------------------------------- */

typedef struct small {
    at_device *device;
    at_params *params;
    at_param *w, *bias;
} small;

static void small_open(small *s, int threads)
{
    at_error err;
    float values[64 * 32];
    s->device = open_cpu(threads);
    s->params = at_params_new(s->device);
    s->w = at_params_add(s->params, "w", AT_F32, 2, (const int64_t[]){ 64, 32 }, &err);
    s->bias = at_params_add(s->params, "bias", AT_F32, 1, (const int64_t[]){ 64 }, &err);
    for (int i = 0; i < 64 * 32; i++)
        values[i] = (float)(i % 17) / 17.0f - 0.5f;
    at_param_upload(s->params, s->w, values);
    at_param_upload(s->params, s->bias, values);
}

static void small_close(small *s)
{
    at_params_free(s->params);
    at_device_close(s->device);
}

/* y = gelu(x w^T + bias), then silu */
static at_graph *small_graph(small *s, int64_t rows)
{
    at_graph *g = at_graph_new();
    at_tensor x = at_graph_input(g, "x", AT_F32, 2, (const int64_t[]){ rows, 32 });
    at_tensor y = at_linear(g, x, at_graph_param(g, s->w), at_graph_param(g, s->bias),
                            (at_tensor){ 0 }, AT_ACT_GELU);
    at_graph_output(g, at_unary(g, y, AT_SILU), "y");
    return g;
}

static at_plan *small_plan(small *s, at_graph *g, const at_plan_options *options)
{
    at_plan *plan;
    at_error err;
    at_status status = at_plan_new(&plan, s->device, s->params, g, options, &err);
    AT_ASSERT(status == AT_OK, "%s", err.text);
    return plan;
}

static void run_small(at_graph *g, at_plan *plan, const float *x, float *y)
{
    at_error err;
    assert_int_equal(at_plan_set(plan, at_graph_named(g, "x"), x, &err), AT_OK);
    assert_int_equal(at_plan_run(plan, &err), AT_OK);
    assert_int_equal(at_plan_get(plan, at_graph_named(g, "y"), y, &err), AT_OK);
}

static void exact_plans_do_not_see_the_batch(void **state)
{
    enum { ROWS = 5 };
    small s;
    float x[ROWS * 32], all[ROWS * 64], one[64];
    (void)state;
    small_open(&s, 2);
    for (int i = 0; i < ROWS * 32; i++)
        x[i] = (float)((i * 37) % 101) / 50.0f - 1.0f;
    const at_plan_options exact = { .exact = true };
    at_graph *g = small_graph(&s, ROWS), *g1 = small_graph(&s, 1);
    at_plan *plan = small_plan(&s, g, &exact), *plan1 = small_plan(&s, g1, &exact);
    run_small(g, plan, x, all);
    for (int r = 0; r < ROWS; r++) {
        run_small(g1, plan1, x + r * 32, one);
        assert_memory_equal(one, all + r * 64, sizeof one);
    }
    at_plan_free(plan);
    at_plan_free(plan1);
    at_graph_free(g);
    at_graph_free(g1);
    small_close(&s);
}

static void plans_share_forms_and_see_new_weights(void **state)
{
    small s;
    float x[2 * 32], first[2 * 64], second[2 * 64], zeros[64 * 32] = { 0 };
    (void)state;
    small_open(&s, 1);
    for (int i = 0; i < 2 * 32; i++)
        x[i] = 0.01f * (float)i;
    at_graph *g = small_graph(&s, 2), *same = small_graph(&s, 2);
    at_plan *plan = small_plan(&s, g, NULL), *twin = small_plan(&s, same, NULL);
    run_small(g, plan, x, first);
    size_t forms = at_params_form_bytes(s.params);
    run_small(same, twin, x, second);
    assert_int_equal(at_params_form_bytes(s.params), forms);
    assert_memory_equal(first, second, sizeof first);
    at_param_upload(s.params, s.w, zeros);
    run_small(g, plan, x, second);
    assert_memory_not_equal(first, second, sizeof first);
    assert_int_equal(at_params_form_bytes(s.params), forms);
    at_plan_free(plan);
    at_plan_free(twin);
    at_graph_free(g);
    at_graph_free(same);
    small_close(&s);
}

static void too_large_a_plan_is_refused_with_numbers(void **state)
{
    small s;
    at_error err = { 0 };
    char there[32];
    (void)state;
    small_open(&s, 1);
    at_graph *g = small_graph(&s, (int64_t)1 << 33);
    at_plan *plan = small_plan(&s, g, NULL);
    size_t before = s.device->bytes_in_use;
    assert_int_equal(at_plan_commit(plan, &err), AT_NO_MEMORY);
    assert_int_equal(s.device->bytes_in_use, before);
    snprintf(there, sizeof there, "%zu", at_plan_memory(plan).arena);
    assert_non_null(strstr(err.text, there));
    at_plan_free(plan);
    at_graph_free(g);
    small_close(&s);
}

/* --- cache ------------------------------------------------------------------------------------ */

static at_status make_small(void *ctx, const char *key, at_graph **graph, at_plan **plan,
                            at_error *err)
{
    small *s = ctx;
    *graph = small_graph(s, atoll(key));
    return at_plan_new(plan, s->device, s->params, *graph, NULL, err);
}

static void cache_makes_each_shape_once(void **state)
{
    small s;
    at_error err;
    at_plan *a, *b, *again;
    (void)state;
    small_open(&s, 1);
    at_plan_cache *cache = at_plan_cache_new(2);
    assert_int_equal(at_plan_cache_get(cache, "1", make_small, &s, &a, &err), AT_OK);
    assert_int_equal(at_plan_cache_get(cache, "2", make_small, &s, &b, &err), AT_OK);
    assert_int_equal(at_plan_cache_get(cache, "1", make_small, &s, &again, &err), AT_OK);
    assert_ptr_equal(a, again);
    assert_int_equal(at_plan_cache_made(cache), 2);
    assert_int_equal(at_plan_cache_get(cache, "3", make_small, &s, &b, &err), AT_OK); /* drops 2 */
    assert_int_equal(at_plan_cache_get(cache, "1", make_small, &s, &again, &err), AT_OK);
    assert_ptr_equal(a, again);
    assert_int_equal(at_plan_cache_get(cache, "2", make_small, &s, &b, &err), AT_OK);
    assert_int_equal(at_plan_cache_made(cache), 4);
    at_plan_cache_free(cache);
    small_close(&s);
}

/* --- broken promises -------------------------------------------------------------------------- */

static void wrong_shapes_stop_with_names_and_numbers(void **state)
{
    int fd[2];
    char text[1024] = { 0 };
    (void)state;
    assert_int_equal(pipe(fd), 0);
    pid_t child = fork();
    if (child == 0) {
        small s;
        dup2(fd[1], STDERR_FILENO);
        small_open(&s, 1);
        at_graph *g = at_graph_new();
        at_tensor x = at_graph_input(g, "x", AT_F32, 2, (const int64_t[]){ 3, 31 }), none = { 0 };
        at_linear(g, x, at_graph_param(g, s.w), none, none, AT_ACT_NONE);
        _exit(0);
    }
    close(fd[1]);
    for (size_t n = 0; n < sizeof text - 1;) {
        ssize_t got = read(fd[0], text + n, sizeof text - 1 - n);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    close(fd[0]);
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(text, "linear"));
    assert_non_null(strstr(text, "31"));
    assert_non_null(strstr(text, "32"));
}

static void unknown_devices_are_errors(void **state)
{
    at_device *d;
    at_error err;
    (void)state;
    assert_int_equal(at_device_open(&d, "abacus", NULL, &err), AT_NOT_FOUND);
    assert_non_null(strstr(err.text, "abacus"));
    assert_int_equal(at_device_open(&d, "cpu", &(at_device_options){ .isa = "mmx" }, &err),
                     AT_INVALID);
    assert_non_null(strstr(err.text, "mmx"));
    assert_int_equal(at_device_open(&d, "cpu", &(at_device_options){ .threads = -1 }, &err),
                     AT_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_never_meet),
        cmocka_unit_test(unet_memory_is_near_the_bound),
        cmocka_unit_test(exact_plans_do_not_see_the_batch),
        cmocka_unit_test(plans_share_forms_and_see_new_weights),
        cmocka_unit_test(too_large_a_plan_is_refused_with_numbers),
        cmocka_unit_test(cache_makes_each_shape_once),
        cmocka_unit_test(wrong_shapes_stop_with_names_and_numbers),
        cmocka_unit_test(unknown_devices_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
