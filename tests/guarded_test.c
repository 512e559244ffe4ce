/* guarded_test.c -- the host never touches device memory: on a device whose memory is unmapped
 * except during copies and runs, a plan gives the bytes that it gives on the cpu. Any stray look at
 * an address ends this test with a fault. Captures are counted: the first run is plain, the second
 * is captured. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/backward.h"
#include "engine/plan.h"
#include "tests/unit.h"

/* --- the device ------------------------------------------------------------------------------- */

enum { PIECES_MAX = 256 };

typedef struct piece {
    void *memory;
    size_t bytes;
} piece;

typedef struct guarded {
    piece pieces[PIECES_MAX];
    int count, depth;
} guarded;

static void protect(at_device *d, int protection)
{
    guarded *g = d->own;
    for (int i = 0; i < g->count; i++)
        if (g->pieces[i].memory)
            assert_int_equal(mprotect(g->pieces[i].memory, g->pieces[i].bytes, protection), 0);
}

static void guarded_enter(at_device *d)
{
    guarded *g = d->own;
    if (g->depth++ == 0)
        protect(d, PROT_READ | PROT_WRITE);
}

static void guarded_leave(at_device *d)
{
    guarded *g = d->own;
    if (--g->depth == 0)
        protect(d, PROT_NONE);
}

static void keep(at_device *d, void *memory, size_t bytes)
{
    guarded *g = d->own;
    assert_true(g->count < PIECES_MAX);
    g->pieces[g->count++] = (piece){ memory, bytes };
    mprotect(memory, bytes, g->depth ? PROT_READ | PROT_WRITE : PROT_NONE);
}

static at_status guarded_open(at_device *d, const at_device_options *options, at_error *err)
{
    d->own = calloc(1, sizeof(guarded));
    assert_non_null(d->own);
    return at_device_cpu.open(d, options, err);
}

static void guarded_close(at_device *d)
{
    free(d->own);
}

static void *guarded_alloc(at_device *d, size_t bytes)
{
    void *memory = at_device_cpu.alloc(d, bytes);
    if (memory)
        keep(d, memory, bytes);
    return memory;
}

static void guarded_free(at_device *d, void *memory, size_t bytes)
{
    guarded *g = d->own;
    for (int i = 0; i < g->count; i++)
        if (g->pieces[i].memory == memory)
            g->pieces[i].memory = NULL;
    at_device_cpu.free(d, memory, bytes);
}

static bool guarded_map(at_device *d, void *range, size_t mapped, size_t bytes)
{
    if (!at_device_cpu.map(d, range, mapped, bytes))
        return false;
    keep(d, (char *)range + mapped, bytes - mapped);
    return true;
}

static void guarded_copy(at_device *d, void *to, const void *from, size_t bytes)
{
    guarded_enter(d);
    memcpy(to, from, bytes);
    guarded_leave(d);
}

static at_device *open_guarded(void)
{
    static at_device_api api; /* filled from the cpu's, whose functions it wraps */
    at_device *d;
    at_error err;
    api = at_device_cpu;
    api.name = "guarded";
    api.open = guarded_open;
    api.close = guarded_close;
    api.alloc = guarded_alloc;
    api.free = guarded_free;
    api.map = guarded_map;
    api.upload = api.download = guarded_copy;
    api.enter = guarded_enter;
    api.leave = guarded_leave;
    assert_int_equal(at_device_open_api(&d, &api, &(at_device_options){ .threads = 1 }, &err),
                     AT_OK);
    return d;
}

/* --- the work --------------------------------------------------------------------------------- */

enum { ROWS = 6, IN = 32, OUT = 24, STEPS = 4 };

static at_tensor param(at_graph *g, at_params *params, const char *name, int rank,
                       const int64_t *size, float scale)
{
    at_error err;
    at_param *p = at_params_add(params, name, AT_F32, rank, size, &err);
    assert_non_null(p);
    float *values = malloc(at_view_bytes(&p->view));
    for (int64_t i = 0; i < at_elements(&p->view); i++)
        values[i] = scale * ((float)(i * 29 % 31) / 31.0f - 0.5f);
    at_param_upload(params, p, values);
    free(values);
    p->trainable = scale > 0;
    return at_graph_param(g, p);
}

/* A few steps of training; the weights afterwards. */
static void train(at_device *d, float *weights)
{
    const int64_t size[] = { OUT, IN }, in[] = { ROWS, IN }, out[] = { ROWS, OUT };
    at_error err;
    at_params *params = at_params_new(d);
    at_graph *g = at_graph_new();
    at_tensor none = { 0 }, x = at_graph_input(g, "x", AT_F32, 2, in);
    at_tensor target = at_graph_input(g, "target", AT_F32, 2, out);
    at_tensor hyper = at_graph_input(g, "hyper", AT_F32, 1, (const int64_t[]){ AT_HYPERS });
    at_tensor w = param(g, params, "w", 2, size, 1);
    at_tensor y = at_linear(g, x, w, none, none, AT_ACT_SILU);
    at_tensor loss = at_mse(g, at_layer_norm(g, y, none, none, 1e-5f), target, none, 0);
    at_backward *b = at_graph_backward(g, loss, NULL);
    at_adamw(g, w, param(g, params, "m", 2, size, 0), param(g, params, "v", 2, size, 0),
             at_backward_gradient(b, w), hyper, (at_adam){ 0.9f, 0.999f, 1e-8f, 0 });
    at_backward_free(b);
    at_plan *plan;
    if (at_plan_new(&plan, d, params, g, NULL, &err) != AT_OK)
        fail_msg("%s", err.text);
    float data[ROWS * IN];
    for (int i = 0; i < ROWS * IN; i++)
        data[i] = (float)(i * 17 % 37) / 18.0f - 1.0f;
    for (int step = 0; step < STEPS; step++) {
        assert_int_equal(at_plan_set(plan, x, data, &err), AT_OK);
        assert_int_equal(at_plan_set(plan, target, data, &err), AT_OK);
        const float h[AT_HYPERS] = { 0.01f, 0.1f, 0.001f, 1 };
        assert_int_equal(at_plan_set(plan, hyper, h, &err), AT_OK);
        at_status status = step % 2 ? at_plan_profile(plan, &err) : at_plan_run(plan, &err);
        if (status != AT_OK)
            fail_msg("%s", err.text);
    }
    at_param_download(params, at_params_named(params, "w"), weights);
    at_plan_free(plan);
    at_graph_free(g);
    at_params_free(params);
}

static void plans_keep_off_device_memory(void **state)
{
    float expected[OUT * IN], found[OUT * IN];
    at_device *cpu, *guarded_cpu = open_guarded();
    at_error err;
    (void)state;
    assert_int_equal(at_device_open(&cpu, "cpu", &(at_device_options){ .threads = 1 }, &err),
                     AT_OK);
    train(cpu, expected);
    train(guarded_cpu, found);
    assert_memory_equal(expected, found, sizeof expected);
    at_device_close(cpu);
    at_device_close(guarded_cpu);
}

/* --- capture ---------------------------------------------------------------------------------- */

typedef struct counts {
    int begun, ended, replayed, freed;
} counts;

static at_status begin(at_device *d, at_error *err)
{
    (void)err;
    ((counts *)d->own)->begun++;
    return AT_OK;
}

static at_status end(at_device *d, void **captured, at_error *err)
{
    (void)err;
    ((counts *)d->own)->ended++;
    *captured = d;
    return AT_OK;
}

static at_status replay(at_device *d, void *captured, at_error *err)
{
    (void)err, (void)captured;
    ((counts *)d->own)->replayed++;
    return AT_OK;
}

static void captured_free(at_device *d, void *captured)
{
    (void)captured;
    ((counts *)d->own)->freed++;
}

static void the_second_run_is_captured(void **state)
{
    at_device_api api = at_device_cpu;
    at_device *d;
    at_error err;
    counts n = { 0 };
    (void)state;
    api.capture_begin = begin;
    api.capture_end = end;
    api.replay = replay;
    api.capture_free = captured_free;
    assert_int_equal(at_device_open_api(&d, &api, NULL, &err), AT_OK);
    d->own = &n;
    at_params *params = at_params_new(d);
    at_graph *g = at_graph_new();
    at_tensor x = at_graph_input(g, "x", AT_F32, 2, (const int64_t[]){ 2, 2 });
    at_graph_output(g, at_unary(g, x, AT_RELU), "y");
    at_plan *plan;
    assert_int_equal(at_plan_new(&plan, d, params, g, NULL, &err), AT_OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(at_plan_run(plan, &err), AT_OK);
    assert_int_equal(n.begun, 1);
    assert_int_equal(n.ended, 1);
    assert_int_equal(n.replayed, 3);
    at_plan_free(plan);
    assert_int_equal(n.freed, 1);
    at_graph_free(g);
    at_params_free(params);
    at_device_close(d);
}

/* --- failures --------------------------------------------------------------------------------- */

/* Fails when it is captured. */
static at_status launch_once(const void *args, const at_prepared *p, const at_launch *l)
{
    const counts *n = l->stream->native;
    (void)args, (void)p;
    return n->begun > n->ended ? AT_DEVICE : AT_OK;
}

static at_status same_shape(void *args, at_error *err)
{
    at_unary_args *a = args;
    (void)err;
    a->y = at_view_of(a->x.dtype, a->x.rank, a->x.size);
    return AT_OK;
}

static const at_operand once_operands[] = {
    AT_OPERAND(unary, y, AT_OUT, AT_DENSE, AT_NONE),
    AT_OPERAND(unary, x, AT_IN, 0, AT_NONE),
};
static const at_variant once_variants[] = {
    { "once_ref", AT_CPU, 0, AT_ROWS_INDEPENDENT, NULL, NULL, NULL, NULL, launch_once },
};
static const at_op once = { "once",
                            "launched once",
                            sizeof(at_unary_args),
                            once_operands,
                            2,
                            at_no_attrs,
                            0,
                            same_shape,
                            NULL,
                            once_variants,
                            1 };

/* Half a plan is not kept: the next run captures again. */
static void a_failed_capture_is_dropped(void **state)
{
    at_device_api api = at_device_cpu;
    at_device *d;
    at_error err;
    counts n = { 0 };
    (void)state;
    api.capture_begin = begin;
    api.capture_end = end;
    api.replay = replay;
    api.capture_free = captured_free;
    assert_int_equal(at_device_open_api(&d, &api, NULL, &err), AT_OK);
    d->own = d->stream.native = &n;
    at_params *params = at_params_new(d);
    at_graph *g = at_graph_new();
    at_unary_args args = { .x = at_graph_view(
                               g, at_graph_input(g, "x", AT_F32, 1, (const int64_t[]){ 2 })) };
    at_graph_append(g, &once, &args, 0);
    at_graph_output(g, at_tensor_of(&args.y), "y");
    at_plan *plan;
    assert_int_equal(at_plan_new(&plan, d, params, g, NULL, &err), AT_OK);
    assert_int_equal(at_plan_run(plan, &err), AT_OK);
    for (int i = 1; i <= 2; i++) {
        assert_int_equal(at_plan_run(plan, &err), AT_DEVICE);
        assert_int_equal(n.begun, i);
        assert_int_equal(n.freed, i);
    }
    assert_int_equal(n.replayed, 0);
    at_plan_free(plan);
    assert_int_equal(n.freed, 2);
    at_graph_free(g);
    at_params_free(params);
    at_device_close(d);
}

static at_status check_fails(at_device *d, at_error *err)
{
    (void)d;
    return at_fail(err, AT_DEVICE, "the copy failed");
}

/* Copies are enqueued; whoever fetches a result hears of what failed before it. */
static void what_failed_before_a_result_is_told(void **state)
{
    at_device_api api = at_device_cpu;
    at_device *d;
    at_error err;
    float y[2];
    (void)state;
    api.check = check_fails;
    assert_int_equal(at_device_open_api(&d, &api, NULL, &err), AT_OK);
    at_params *params = at_params_new(d);
    at_graph *g = at_graph_new();
    at_tensor x = at_graph_input(g, "x", AT_F32, 1, (const int64_t[]){ 2 });
    at_tensor out = at_unary(g, x, AT_RELU);
    at_graph_output(g, out, "y");
    at_plan *plan;
    assert_int_equal(at_plan_new(&plan, d, params, g, NULL, &err), AT_OK);
    assert_int_equal(at_plan_run(plan, &err), AT_OK);
    assert_int_equal(at_plan_get(plan, out, y, &err), AT_DEVICE);
    assert_string_equal(err.text, "the copy failed");
    at_plan_free(plan);
    at_graph_free(g);
    at_params_free(params);
    at_device_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_keep_off_device_memory),
        cmocka_unit_test(the_second_run_is_captured),
        cmocka_unit_test(a_failed_capture_is_dropped),
        cmocka_unit_test(what_failed_before_a_result_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
