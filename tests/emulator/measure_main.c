/* measure_main.c -- what is measured on a GPU, on the emulated one: its figures, a copy's bytes,
 * ops with operands in turn, a plan's nodes beside its replay. Times are the emulator's and mean
 * nothing; that there are any, of the right work, is held. Exit status: 0 all of it, 1 something is
 * not so. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/bench.h"
#include "engine/build.h"
#include "engine/machine.h"
#include "engine/profile.h"
#include "kernels/peak_gpu.h"
#include "tests/emulator/device.h"
#include "tests/emulator/emulator.h"
#include "tests/told.h"

/* --- the machine ------------------------------------------------------------------------------ */

static void is_positive(const char *what, double figure)
{
    if (!(figure > 0))
        test_failed("%s is %g", what, figure);
}

static void a_gpu_is_measured(at_device *d)
{
    static const at_gpu_work work = { .bytes = { 4 << 10, 64 << 10 },
                                      .product = 64,
                                      .rounds = 3,
                                      .threads = 32,
                                      .launches = 20,
                                      .seconds = 1e-3 };
    at_machine m;
    at_error err = { 0 };
    test_must(at_machine_measure_gpu(d, &work, &m, &err), &err);
    if (strcmp(m.name, "emulated sm_90") || m.multiprocessors != 132 || m.cache_bytes != 50 << 20 ||
        !m.memory_bytes)
        test_failed("the machine is '%s', %d multiprocessors, %zu bytes of cache, %zu of memory",
                    m.name, m.multiprocessors, m.cache_bytes, m.memory_bytes);
    is_positive("f32", m.f32_flops);
    is_positive("bf16", m.bf16_flops);
    is_positive("f16", m.f16_flops);
    is_positive("f8", m.f8_flops);
    is_positive("a launch", m.launch_seconds);
    is_positive("an early launch", m.early_seconds);
    is_positive("enqueueing launches", m.enqueue_seconds);
    if (m.n_bandwidth != 2 || m.bandwidth[1].bytes != 64 << 10)
        test_failed("%d bandwidths", m.n_bandwidth);
    for (int i = 0; i < m.n_bandwidth; i++) {
        is_positive("a copy", m.bandwidth[i].copy);
        is_positive("the driver's copy", m.bandwidth[i].driver_copy);
    }
    const at_cost bytes = { 0, 1e9 }, flops = { 1e9, 0 };
    is_positive("a roofline of bytes", at_machine_roofline(&m, bytes, AT_F32));
    m.f8_flops = 4e30;
    if (at_machine_roofline(&m, flops, AT_F8) != 1e9 / 4e30)
        test_failed("f8 has no peak of its own");
}

/* Every byte of sizes around a block's, none beyond. */
static void a_copy_is_whole(at_device *d)
{
    enum { MOST = 40000, STEP = 16, GUARD = 64 };
    static const size_t sizes[] = { 16, 4080, 4096, 16368, 16384, 16400, 32768 + 4096 + 16 };
    static unsigned char from[MOST], to[MOST];
    unsigned char *memory = at_device_alloc(d, 2 * MOST);
    AT_ASSERT(memory, "no memory");
    for (int i = 0; i < MOST; i++)
        from[i] = (unsigned char)(i * 131 + i / 251);
    for (size_t k = 0; k < AT_COUNT(sizes); k++) {
        at_error err = { 0 };
        const at_launch l = { &d->stream, NULL, &err };
        memset(to, 0xEE, MOST);
        at_device_upload(d, memory, from, MOST);
        at_device_upload(d, memory + MOST, to, MOST);
        test_must(at_peak_gpu_kernels()->copy(memory + MOST, memory, sizes[k], &l), &err);
        at_device_download(d, to, memory + MOST, MOST);
        test_must(at_device_check(d, &err), &err);
        if (memcmp(to, from, sizes[k]))
            test_failed("a copy of %zu bytes has others", sizes[k]);
        for (size_t i = sizes[k]; i < sizes[k] + GUARD; i++)
            if (to[i] != 0xEE) {
                test_failed("a copy of %zu bytes wrote byte %zu", sizes[k], i);
                break;
            }
    }
    at_device_free(d, memory, 2 * MOST);
}

/* --- ops -------------------------------------------------------------------------------------- */

/* One call, with several sets of operands and with one. */
static void operands_take_turns(at_device *d)
{
    static const char text[] = "x=1,8,8,8 w=8,8,3,3 bias=8 pad=1,1,1,1";
    const at_op *op = at_op_named("conv2d");
    at_bench *b;
    at_timing t = { 0 };
    at_error err = { 0 };
    test_must(at_bench_new(&b, d, op, text, AT_BF16, &err), &err);
    const at_variant *v = at_op_pick(op, at_bench_args(b), &d->caps, false);
    AT_ASSERT(v && at_bench_bytes(b) > 0, "conv2d has no variant");
    test_must(at_bench_time(b, v, 0.2, &t, &err), &err);
    if (t.sets < 2 || t.seconds <= 0 || t.seconds_min > t.seconds || t.runs < t.sets)
        test_failed("%s: %d sets, %d runs of %g s, %g at least", v->name, t.sets, t.runs, t.seconds,
                    t.seconds_min);
    at_bench_rotate(b, 0);
    test_must(at_bench_time(b, v, 0.01, &t, &err), &err);
    if (t.sets != 1 || t.seconds <= 0)
        test_failed("%s: %d sets where one was wanted", v->name, t.sets);
    at_bench_free(b);
}

/* --- a plan ----------------------------------------------------------------------------------- */

static bool said(const at_plan *plan, at_status (*print)(const at_plan *, FILE *, at_error *),
                 const char *words)
{
    char *text = NULL;
    size_t size = 0;
    at_error err = { 0 };
    FILE *out = open_memstream(&text, &size);
    AT_ASSERT(out, "no memory");
    test_must(print(plan, out, &err), &err);
    fclose(out);
    bool found = strstr(text, words) != NULL;
    free(text);
    return found;
}

static at_status print_table(const at_plan *plan, FILE *out, at_error *err)
{
    return at_profile_table(plan, NULL, AT_PROFILE_NODES, out, err);
}

static at_status print_trace(const at_plan *plan, FILE *out, at_error *err)
{
    return at_profile_trace(plan, NULL, out, err);
}

static void is_profiled(at_plan *plan)
{
    at_error err = { 0 };
    double sum = 0;
    if (at_plan_timing(plan).run != 0 || said(plan, print_table, "replayed"))
        test_failed("a plan has times before it is profiled");
    test_must(at_plan_profile(plan, &err), &err);
    const at_plan_times t = at_plan_timing(plan);
    for (int i = 0; i < at_plan_nodes(plan); i++) {
        is_positive("a node's time", at_plan_node(plan, i).seconds);
        sum += at_plan_node(plan, i).seconds;
    }
    if (sum < t.nodes * 0.999 || sum > t.nodes * 1.001)
        test_failed("nodes take %g s, and their sum is %g", sum, t.nodes);
    is_positive("a replay", t.run);
    is_positive("the host's part", t.host);
    if (!said(plan, print_table, "replayed: ") || !said(plan, print_trace, "\"replay_us\":"))
        test_failed("a profile tells nothing of the replay");
}

/* More nodes than are timed at once; the same bytes come out before and after. */
static void a_plan_is_profiled(at_device *d)
{
    enum { NODES = 70, N = 40 };
    float x[N], before[N], after[N];
    at_plan *plan;
    at_error err = { 0 };
    at_params *params = at_params_new(d);
    at_graph *g = at_graph_new();
    at_tensor in = at_graph_input(g, "x", AT_F32, 1, (const int64_t[]){ N }), y = in;
    for (int i = 0; i < NODES; i++)
        y = at_scale(g, y, 1.01f, 0.001f);
    at_graph_output(g, y, "y");
    test_must(at_plan_new(&plan, d, params, g, NULL, &err), &err);
    for (int i = 0; i < N; i++)
        x[i] = (float)i - 0.4f * N;
    test_must(at_plan_set(plan, in, x, &err), &err);
    test_must(at_plan_run(plan, &err), &err);
    test_must(at_plan_get(plan, y, before, &err), &err);
    if (at_plan_nodes(plan) != NODES)
        test_failed("%d nodes", at_plan_nodes(plan));
    is_profiled(plan);
    test_must(at_plan_get(plan, y, after, &err), &err);
    if (memcmp(before, after, sizeof before))
        test_failed("a profiled plan gives other bytes");
    at_plan_free(plan);
    at_graph_free(g);
    at_params_free(params);
}

int main(void)
{
    at_device *d;
    at_error err = { 0 };
    setvbuf(stdout, NULL, _IOLBF, 0);
    at_emu_configure(&(at_emu_settings){ .order = AT_EMU_RUN_AHEAD, .seed = 7, .quiet = true });
    test_must(at_device_emulated(&d, &err), &err);
    a_gpu_is_measured(d);
    a_copy_is_whole(d);
    operands_take_turns(d);
    a_plan_is_profiled(d);
    at_device_close(d);
    printf("measure: %d failures\n", test_failures());
    return test_failures() > 0;
}
