/* lanes_main.c -- plans with several lanes on the emulated device.
 *
 * What is held: the bytes of a plan whose nodes are all on the compute lane, in the plain run and
 * in replays whose streams are interleaved in every way that the waits allow: a lane as late and as
 * early as it may. So a memory that is used anew before a lane is through with it, or a wait that
 * is missing, gives other bytes. The schedules themselves are held by a graph that lacks a wait.
 * Exit status: 0 all of it, 1 something is not so. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cuda_runtime.h>

#include "engine/build.h"
#include "engine/plan.h"
#include "tests/emulator/device.h"
#include "tests/emulator/emulator.h"
#include "tests/told.h"

enum { ROWS = 4, COLS = 64, N = ROWS * COLS, NODES = 36, RUNS = 4, GRAPHS = 24 };

static void fill(uint32_t seed, float *out)
{
    for (uint32_t i = 0; i < N; i++) {
        uint32_t bits = (i + 1) * 2654435761u ^ seed * 40503u;
        bits = (bits ^ bits >> 15) * 2246822519u;
        out[i] = (float)(bits >> 8) / 16777216.0f - 0.5f;
    }
}

/* --- graphs ----------------------------------------------------------------------------------- */

typedef enum lane_use { ONE_LANE, MANY_LANES } lane_use;

typedef struct model {
    at_device *device;
    at_params *params;
    at_graph *g;
    at_plan *plan;
    at_tensor x, hyper, y;
    lane_use use;
    unsigned seed;
} model;

static unsigned draw(model *m, unsigned below)
{
    m->seed = m->seed * 1664525u + 1013904223u;
    return (m->seed >> 8) % below;
}

static at_tensor param(model *m, const char *name, uint32_t seed)
{
    at_error err;
    float values[N];
    at_param *p = at_params_add(m->params, name, AT_F32, 2, (const int64_t[]){ ROWS, COLS }, &err);
    AT_ASSERT(p, "%s", err.text);
    fill(seed, values);
    at_param_upload(m->params, p, values);
    return at_graph_param(m->g, p);
}

static void set_lane(model *m, at_lane lane)
{
    at_graph_lane(m->g, m->use == ONE_LANE ? AT_LANE_COMPUTE : lane);
}

/* The copy lane reads 'a' beside a chain of temporaries, the first of which would take a's memory
 * if a's life ended with its last use on the compute lane. */
static void describe_late_reader(model *m)
{
    at_tensor a = at_unary(m->g, m->x, AT_SILU), t = at_scale(m->g, a, 2, 1);
    set_lane(m, AT_LANE_COPY);
    at_tensor copied = at_scale(m->g, a, 3, 0);
    set_lane(m, AT_LANE_COMPUTE);
    for (int i = 0; i < 4; i++)
        t = at_add(m->g, t, at_scale(m->g, t, 0.5f, 1));
    m->y = at_add(m->g, copied, t);
}

/* The collective lane works in place on a parameter that is read before and after. */
static void describe_update(model *m)
{
    at_tensor w = param(m, "w", 3), first = param(m, "m", 4), second = param(m, "v", 5);
    at_tensor before = at_add(m->g, m->x, w);
    set_lane(m, AT_LANE_COLLECTIVE);
    at_adamw(m->g, w, first, at_unary(m->g, second, AT_SILU), m->x, m->hyper,
             (at_adam){ 0.9f, 0.999f, 1e-2f, 0.01f });
    set_lane(m, AT_LANE_COMPUTE);
    at_tensor beside = at_scale(m->g, before, 2, 1);
    m->y = at_add(m->g, at_add(m->g, beside, before), w);
}

/* Nodes on any lane that read any of the last few results, and now and then an update in place. */
static void describe_random(model *m)
{
    at_tensor made[NODES], w = param(m, "w", 3), first = param(m, "m", 4);
    at_tensor second = param(m, "v", 5);
    made[0] = m->x;
    for (int i = 1; i < NODES; i++) {
        unsigned lane = draw(m, 5), span = i < 7 ? (unsigned)i : 7;
        at_tensor a = made[i - 1 - (int)draw(m, span)], b = made[i - 1 - (int)draw(m, span)];
        set_lane(m, lane < 3 ? AT_LANE_COMPUTE : lane == 3 ? AT_LANE_COPY : AT_LANE_COLLECTIVE);
        unsigned kind = draw(m, 8);
        if (kind == 0)
            at_adamw(m->g, w, first, second, a, m->hyper, (at_adam){ 0.9f, 0.999f, 1e-2f, 0.01f });
        made[i] = kind < 2   ? at_add(m->g, a, w)
                  : kind < 5 ? at_scale(m->g, a, 0.75f, 0.1f)
                             : at_add(m->g, a, b);
    }
    set_lane(m, AT_LANE_COMPUTE);
    m->y = at_scale(m->g, made[NODES - 1], 1, 0);
    for (int i = NODES - 5; i < NODES; i++)
        m->y = at_add(m->g, m->y, made[i]);
}

typedef void describe_fn(model *m);

static void open_model(model *m, describe_fn *describe, lane_use use, unsigned seed)
{
    at_error err;
    float x[N], hyper[AT_HYPERS] = { [AT_HYPER_LR] = 1e-2f,
                                     [AT_HYPER_BIAS1] = 0.1f,
                                     [AT_HYPER_BIAS2] = 0.001f,
                                     [AT_HYPER_FACTOR] = 1 };
    *m = (model){ .use = use, .seed = seed };
    test_must(at_device_emulated(&m->device, &err), &err);
    m->params = at_params_new(m->device);
    m->g = at_graph_new();
    m->x = at_graph_input(m->g, "x", AT_F32, 2, (const int64_t[]){ ROWS, COLS });
    m->hyper = at_graph_input(m->g, "hyper", AT_F32, 1, (const int64_t[]){ AT_HYPERS });
    describe(m);
    at_graph_output(m->g, m->y, "y");
    test_must(at_plan_new(&m->plan, m->device, m->params, m->g, NULL, &err), &err);
    fill(seed, x);
    test_must(at_plan_set(m->plan, m->x, x, &err), &err);
    test_must(at_plan_set(m->plan, m->hyper, hyper, &err), &err);
}

static void close_model(model *m)
{
    at_plan_free(m->plan);
    at_graph_free(m->g);
    at_params_free(m->params);
    at_device_close(m->device);
}

/* --- what is held ----------------------------------------------------------------------------- */

/* Plainly, captured, replayed: y of each run. */
static void run(describe_fn *describe, lane_use use, unsigned seed, at_emu_streams streams,
                float y[RUNS][N])
{
    model m;
    at_error err;
    at_emu_configure(&(at_emu_settings){
        .order = AT_EMU_RUN_AHEAD, .seed = 3, .streams = streams, .quiet = true });
    open_model(&m, describe, use, seed);
    for (int i = 0; i < RUNS; i++) {
        test_must(at_plan_run(m.plan, &err), &err);
        test_must(at_plan_get(m.plan, m.y, y[i], &err), &err);
    }
    close_model(&m);
}

static void same_bytes(describe_fn *describe, const char *name, unsigned seed)
{
    static float expected[RUNS][N], got[RUNS][N];
    run(describe, ONE_LANE, seed, AT_EMU_STREAMS_ENQUEUED, expected);
    for (int s = 0; s < AT_EMU_STREAMS_COUNT; s++) {
        memset(got, 0, sizeof got);
        run(describe, MANY_LANES, seed, (at_emu_streams)s, got);
        for (int i = 0; i < RUNS; i++)
            if (memcmp(expected[i], got[i], sizeof got[i])) {
                test_failed("%s, seed %u: run %d with lanes in schedule %d has other bytes", name,
                            seed, i, s);
            }
    }
}

static void lanes_are_there(void)
{
    model m;
    int used[AT_LANE_COUNT] = { 0 }, waits = 0;
    open_model(&m, describe_random, MANY_LANES, 1);
    for (int i = 0; i < at_plan_nodes(m.plan); i++) {
        at_node_info info = at_plan_node(m.plan, i);
        used[info.lane]++;
        for (int k = 0; k < AT_LANE_COUNT; k++)
            waits += info.waits.after[k] >= 0;
    }
    if (!used[AT_LANE_COMPUTE] || !used[AT_LANE_COPY] || !used[AT_LANE_COLLECTIVE] || !waits) {
        test_failed("%d, %d and %d nodes on the lanes, %d waits", used[0], used[1], used[2], waits);
    }
    close_model(&m);
}

/* --- the schedules ---------------------------------------------------------------------------- */

typedef enum wait_kind { WAITS, LACKS_A_WAIT } wait_kind;

/* Two streams in a graph: the second copies 1 to 'to', the first 2, after it or not. */
static float replayed(at_emu_streams streams, wait_kind kind)
{
    float one = 1, two = 2, got = 0, *memory = NULL;
    cudaStream_t s[2];
    cudaEvent_t fork, done;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    at_emu_configure(&(at_emu_settings){ .streams = streams, .quiet = true });
    int bad = cudaMalloc((void **)&memory, sizeof one) || cudaEventCreate(&fork) ||
              cudaEventCreate(&done) || cudaStreamCreate(&s[0]) || cudaStreamCreate(&s[1]) ||
              cudaStreamBeginCapture(s[0], cudaStreamCaptureModeThreadLocal) ||
              cudaEventRecord(fork, s[0]) || cudaStreamWaitEvent(s[1], fork, 0) ||
              cudaMemcpyAsync(memory, &one, sizeof one, cudaMemcpyHostToDevice, s[1]) ||
              cudaEventRecord(done, s[1]) ||
              (kind == WAITS && cudaStreamWaitEvent(s[0], done, 0)) ||
              cudaMemcpyAsync(memory, &two, sizeof two, cudaMemcpyHostToDevice, s[0]) ||
              cudaStreamWaitEvent(s[0], done, 0) || cudaStreamEndCapture(s[0], &graph) ||
              cudaGraphInstantiate(&exec, graph, 0) || cudaGraphLaunch(exec, s[0]) ||
              cudaMemcpy(&got, memory, sizeof got, cudaMemcpyDeviceToHost) ||
              cudaGraphExecDestroy(exec) || cudaGraphDestroy(graph) || cudaEventDestroy(fork) ||
              cudaEventDestroy(done) || cudaStreamDestroy(s[0]) || cudaStreamDestroy(s[1]) ||
              cudaFree(memory);
    AT_ASSERT(!bad, "%s", cudaGetErrorString(cudaGetLastError()));
    return got;
}

static void schedules_show_a_missing_wait(void)
{
    static const float without[AT_EMU_STREAMS_COUNT] = {
        [AT_EMU_STREAMS_ENQUEUED] = 2,
        [AT_EMU_STREAMS_FIRST_AHEAD] = 1,
        [AT_EMU_STREAMS_FIRST_LATE] = 2,
    };
    for (int i = 0; i < AT_EMU_STREAMS_COUNT; i++) {
        float with = replayed((at_emu_streams)i, WAITS);
        float lacking = replayed((at_emu_streams)i, LACKS_A_WAIT);
        if (with != 2.0f || lacking != without[i]) {
            test_failed("schedule %d: %g with the wait, expected 2; %g without, expected %g", i,
                        (double)with, (double)lacking, (double)without[i]);
        }
    }
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    schedules_show_a_missing_wait();
    lanes_are_there();
    same_bytes(describe_late_reader, "a late reader", 1);
    same_bytes(describe_update, "an update", 1);
    for (unsigned seed = 1; seed <= GRAPHS; seed++)
        same_bytes(describe_random, "a random graph", seed);
    printf("lanes: %d failures\n", test_failures());
    return test_failures() > 0;
}
