/* lanes_test.c -- who waits for whom, and how long memory stays taken, held against every path from
 * node to node; the checker is tested by lifetimes that end too early. What lanes do on a device
 * with streams is in tests/emulator/lanes_main.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/build.h"
#include "engine/layout.h"
#include "engine/plan.h"
#include "kernels/shape.h"
#include "tests/unit.h"

enum { NODES = 40, MEMORIES = 12, TOUCHES = 4, TRIES = 300 };

typedef struct random_graph {
    int n;
    at_lane lane[NODES];
    at_touch touches[NODES][TOUCHES];
    int n_touches[NODES];
} random_graph;

static unsigned draw(unsigned *seed, unsigned below)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 8) % below;
}

/* Mostly on the compute lane, so that the others' waits do not follow from each other. */
static at_lane draw_lane(unsigned *seed)
{
    unsigned k = draw(seed, 5);
    return k < 3 ? AT_LANE_COMPUTE : k == 3 ? AT_LANE_COPY : AT_LANE_COLLECTIVE;
}

static at_lanes *lanes_of(const random_graph *g, int memories)
{
    at_lanes *l = at_lanes_new(g->n, memories);
    for (int i = 0; i < g->n; i++)
        at_lanes_add(l, g->lane[i], g->touches[i], g->n_touches[i]);
    at_lanes_end(l);
    return l;
}

/* --- every path ------------------------------------------------------------------------------- */

/* before[i][j]: there is a path from i to j; node n is the end. */
typedef struct paths {
    bool before[NODES + 1][NODES + 1];
} paths;

/* By the order of each lane and the waits, the wait of 'without' for lane 'cut' left out. */
static void find_paths(const random_graph *g, const at_lanes *l, int without, int cut, paths *p)
{
    memset(p, 0, sizeof *p);
    for (int j = 0; j <= g->n; j++) {
        at_lane lane = j < g->n ? g->lane[j] : AT_LANE_COMPUTE;
        const at_waits *w = at_lanes_waits(l, j);
        for (int i = 0; i < j; i++)
            if (g->lane[i] == lane ||
                (w->after[g->lane[i]] == i && !(j == without && (int)g->lane[i] == cut)))
                p->before[i][j] = true;
        for (int k = 0; k < j; k++) /* paths to k are known */
            for (int i = 0; i < k && p->before[k][j]; i++)
                p->before[i][j] = p->before[i][j] || p->before[i][k];
    }
}

static bool conflict(const random_graph *g, int i, int j)
{
    for (int a = 0; a < g->n_touches[i]; a++)
        for (int b = 0; b < g->n_touches[j]; b++) {
            const at_touch *x = &g->touches[i][a], *y = &g->touches[j][b];
            if (x->memory == y->memory && (x->writes || y->writes))
                return true;
        }
    return false;
}

static void check_orders(const random_graph *g, const at_lanes *l)
{
    paths all;
    find_paths(g, l, -1, 0, &all);
    for (int j = 0; j <= g->n; j++)
        for (int i = 0; i < j; i++) {
            assert_int_equal(at_lanes_before(l, i, j), all.before[i][j]);
            assert_true(all.before[i][j] || (j < g->n && !conflict(g, i, j)));
        }
}

/* Without any one of them something would be out of order. */
static int check_waits_are_needed(const random_graph *g, const at_lanes *l)
{
    int waits = 0;
    paths without;
    for (int j = 0; j <= g->n; j++)
        for (int k = 0; k < AT_LANE_COUNT; k++) {
            int i = at_lanes_waits(l, j)->after[k];
            if (i < 0)
                continue;
            waits++;
            assert_true(i < j && (int)g->lane[i] == k && at_lanes_awaited(l, i));
            find_paths(g, l, j, k, &without);
            assert_true((j == g->n || conflict(g, i, j)) && !without.before[i][j]);
        }
    return waits;
}

/* A lane's first node follows the begin of the run: it forks, or it waits for a node. */
static void check_forks(const random_graph *g, const at_lanes *l)
{
    bool seen[AT_LANE_COUNT] = { true };
    for (int j = 0; j < g->n; j++) {
        const at_waits *w = at_lanes_waits(l, j);
        bool waits = false;
        for (int k = 0; k < AT_LANE_COUNT; k++)
            waits = waits || w->after[k] >= 0;
        assert_int_equal(w->forks, !seen[g->lane[j]] && !waits);
        seen[g->lane[j]] = true;
    }
}

static void waits_are_enough_and_no_more(void **state)
{
    unsigned seed = 7;
    int waits = 0;
    (void)state;
    for (int t = 0; t < TRIES; t++) {
        random_graph g = { .n = 1 + (int)draw(&seed, NODES) };
        for (int i = 0; i < g.n; i++) {
            g.lane[i] = draw_lane(&seed);
            g.n_touches[i] = 1 + (int)draw(&seed, TOUCHES);
            for (int k = 0; k < g.n_touches[i]; k++)
                g.touches[i][k] = (at_touch){ (int)draw(&seed, MEMORIES), draw(&seed, 3) == 0 };
        }
        at_lanes *l = lanes_of(&g, MEMORIES);
        check_orders(&g, l);
        check_forks(&g, l);
        waits += check_waits_are_needed(&g, l);
        at_lanes_free(l);
    }
    assert_true(waits > 4 * TRIES); /* there was something to see */
}

/* --- by hand ---------------------------------------------------------------------------------- */

static void expect_waits(const at_lanes *l, int i, int compute, int copy, int collective)
{
    const int expected[AT_LANE_COUNT] = { compute, copy, collective };
    const at_waits *w = at_lanes_waits(l, i);
    for (int k = 0; k < AT_LANE_COUNT; k++)
        if (w->after[k] != expected[k])
            fail_msg("node %d waits for %d of lane %d, expected %d", i, w->after[k], k,
                     expected[k]);
}

static void readers_wait_for_writers_and_writers_for_readers(void **state)
{
    const at_touch read0 = { 0, false }, write0 = { 0, true }, write1 = { 1, true };
    const at_touch read1 = { 1, false };
    at_lanes *l = at_lanes_new(7, 2);
    (void)state;
    at_lanes_add(l, AT_LANE_COPY, &read1, 1);                                   /* 0: forks */
    at_lanes_add(l, AT_LANE_COMPUTE, &write0, 1);                               /* 1 */
    at_lanes_add(l, AT_LANE_COPY, (const at_touch[]){ read0, write1 }, 2);      /* 2: after 1 */
    at_lanes_add(l, AT_LANE_COMPUTE, &read0, 1);                                /* 3: beside 2 */
    at_lanes_add(l, AT_LANE_COLLECTIVE, (const at_touch[]){ read0, read1 }, 2); /* 4: after 2 */
    at_lanes_add(l, AT_LANE_COMPUTE, &write0, 1); /* 5: after 4, so 2 */
    at_lanes_add(l, AT_LANE_COPY, &read1, 1);     /* 6 */
    at_lanes_end(l);
    for (int i = 0; i < 7; i++)
        assert_int_equal(at_lanes_waits(l, i)->forks, i == 0);
    expect_waits(l, 1, -1, -1, -1);
    expect_waits(l, 2, 1, -1, -1);
    expect_waits(l, 3, -1, -1, -1);
    expect_waits(l, 4, -1, 2, -1); /* node 1 follows from 2 */
    expect_waits(l, 5, -1, -1, 4); /* node 2 follows from 4 */
    expect_waits(l, 6, -1, -1, -1);
    expect_waits(l, 7, -1, 6, -1); /* the end; node 4 is done before 5 */
    assert_false(at_lanes_before(l, 2, 3));
    assert_true(at_lanes_before(l, 2, 5));
    /* What nodes 1 and 2 used is free for copies from node 6 on, for computing from node 5 on. */
    const int last[AT_LANE_COUNT] = { 1, 2, -1 };
    assert_int_equal(at_lanes_until(l, last, AT_LANE_COMPUTE), 4);
    assert_int_equal(at_lanes_until(l, last, AT_LANE_COPY), 5);
    assert_int_equal(at_lanes_until(l, last, AT_LANE_COLLECTIVE), 3);
    const int late[AT_LANE_COUNT] = { 5, -1, -1 };
    assert_int_equal(at_lanes_until(l, late, AT_LANE_COPY), 7); /* not in this run */
    at_lanes_free(l);
}

/* --- memory ----------------------------------------------------------------------------------- */

/* Every node makes a memory of its own number and reads a few that are there. */
static random_graph draw_flow(unsigned *seed)
{
    random_graph g = { .n = NODES };
    for (int i = 0; i < g.n; i++) {
        g.lane[i] = draw_lane(seed);
        g.touches[i][g.n_touches[i]++] = (at_touch){ i, true };
        for (int k = 1; k < TOUCHES && i > 0; k++) {
            int back = 1 + (int)draw(seed, 6);
            g.touches[i][g.n_touches[i]++] = (at_touch){ back > i ? 0 : i - back, false };
        }
    }
    return g;
}

static bool uses(const random_graph *g, int node, int memory)
{
    for (int k = 0; k < g->n_touches[node]; k++)
        if (g->touches[node][k].memory == memory)
            return true;
    return false;
}

typedef enum lifetimes { JOINED, TOO_SHORT } lifetimes;

static void make_blocks(const random_graph *g, const at_lanes *l, lifetimes how, unsigned *seed,
                        at_block *blocks)
{
    for (int m = 0; m < g->n; m++) {
        int last[AT_LANE_COUNT] = { -1, -1, -1 }, end = m;
        for (int i = m; i < g->n; i++)
            if (uses(g, i, m))
                end = last[g->lane[i]] = i;
        blocks[m] = (at_block){
            .bytes = 64 * (1 + (size_t)draw(seed, 4)), .first = m, .last = end, .lane = g->lane[m]
        };
        for (int k = 0; k < AT_LANE_COUNT; k++)
            blocks[m].until[k] = how == JOINED ? at_lanes_until(l, last, (at_lane)k) : end;
    }
}

/* True if all that use memory a are done before any that uses b begins. */
static bool all_before(const random_graph *g, const paths *p, int a, int b)
{
    for (int i = 0; i < g->n; i++)
        for (int j = 0; j < g->n && uses(g, i, a); j++)
            if (uses(g, j, b) && !p->before[i][j])
                return false;
    return true;
}

/* Pairs of memories that share bytes while lanes may use both. */
static int count_meetings(const random_graph *g, const paths *p, const at_block *blocks)
{
    int meetings = 0;
    for (int b = 0; b < g->n; b++)
        for (int a = 0; a < b; a++) {
            bool shared = blocks[a].offset < blocks[b].offset + blocks[b].bytes &&
                          blocks[b].offset < blocks[a].offset + blocks[a].bytes;
            meetings += shared && !all_before(g, p, a, b) && !all_before(g, p, b, a);
        }
    return meetings;
}

static void memory_is_not_used_anew_before_lanes_join(void **state)
{
    unsigned seed = 11;
    int planted = 0, smaller = 0;
    (void)state;
    for (int t = 0; t < TRIES; t++) {
        at_block blocks[NODES];
        paths p;
        size_t whole = 0;
        random_graph g = draw_flow(&seed);
        at_lanes *l = lanes_of(&g, g.n);
        find_paths(&g, l, -1, 0, &p);
        make_blocks(&g, l, JOINED, &seed, blocks);
        size_t top = at_layout(blocks, g.n);
        assert_true(top >= at_layout_bound(blocks, g.n));
        assert_int_equal(count_meetings(&g, &p, blocks), 0);
        for (int m = 0; m < g.n; m++)
            whole += blocks[m].bytes;
        smaller += 2 * top < whole;
        make_blocks(&g, l, TOO_SHORT, &seed, blocks);
        at_layout(blocks, g.n);
        planted += count_meetings(&g, &p, blocks) > 0;
        at_lanes_free(l);
    }
    assert_true(planted > TRIES / 2); /* the checker sees lifetimes that end too early */
    assert_true(smaller > TRIES / 2); /* and memory is shared for all that */
}

/* --- a plan where there is one lane ----------------------------------------------------------- */

static void lanes_change_nothing_on_the_cpu(void **state)
{
    enum { N = 1000 };
    float x[N], y[2][N];
    at_plan_bytes bytes[2];
    at_device *d;
    at_error err;
    (void)state;
    assert_int_equal(at_device_open(&d, "cpu", NULL, &err), AT_OK);
    for (int i = 0; i < N; i++)
        x[i] = (float)(i % 91) / 45.0f - 1.0f;
    for (int with = 0; with < 2; with++) {
        at_params *params = at_params_new(d);
        at_graph *g = at_graph_new();
        at_plan *plan;
        at_tensor in = at_graph_input(g, "x", AT_F32, 1, (const int64_t[]){ N });
        at_tensor a = at_unary(g, in, AT_SILU);
        at_graph_lane(g, with ? AT_LANE_COPY : AT_LANE_COMPUTE);
        at_tensor b = at_scale(g, a, 2, 1);
        at_graph_lane(g, AT_LANE_COMPUTE);
        at_tensor c = at_scale(g, at_scale(g, a, 3, 0), 1, 1);
        at_graph_output(g, at_add(g, b, c), "y");
        assert_int_equal(at_plan_new(&plan, d, params, g, NULL, &err), AT_OK);
        bytes[with] = at_plan_memory(plan);
        for (int i = 0; i < at_plan_nodes(plan); i++)
            assert_int_equal(at_plan_node(plan, i).lane, AT_LANE_COMPUTE);
        assert_int_equal(at_plan_set(plan, in, x, &err), AT_OK);
        assert_int_equal(at_plan_run(plan, &err), AT_OK);
        assert_int_equal(at_plan_get(plan, at_graph_named(g, "y"), y[with], &err), AT_OK);
        at_plan_free(plan);
        at_graph_free(g);
        at_params_free(params);
    }
    assert_memory_equal(&bytes[0], &bytes[1], sizeof bytes[0]);
    assert_memory_equal(y[0], y[1], sizeof y[0]);
    at_device_close(d);
}

/* --- a plan where there are many -------------------------------------------------------------- */

enum { TEXT = 1024, SCRATCH = 1000, WORKSPACE = 4096, TRACED = 6, MARKS = 8 };

/* What was enqueued on a device that only writes it down. */
typedef struct trace {
    char text[TEXT];
    struct traced_stream {
        struct trace *trace;
        const char *name;
    } streams[AT_LANE_COUNT]; /* their 'native' points here */
    int marks[MARKS], n_marks;
    char *scratch[TRACED]; /* of each node */
    int64_t fail_at;       /* the node that fails; -1: none */
} trace;

static void AT_PRINTF(2, 3) note(trace *t, const char *fmt, ...)
{
    size_t used = strlen(t->text);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(t->text + used, TEXT - used, fmt, ap);
    va_end(ap);
}

/* y is made from x and, if it is there, from x2: nothing is computed. */
typedef struct at_traced_args {
    at_view y;     /* (n) f32 */
    at_view x, x2; /* (n) f32 */
    int64_t number;
} at_traced_args;

static const at_operand traced_operands[] = {
    AT_OPERAND(traced, y, AT_OUT, 0, AT_F32),
    AT_OPERAND(traced, x, AT_IN, 0, AT_F32),
    AT_OPERAND(traced, x2, AT_IN, AT_OPTIONAL, AT_F32),
};
static const at_attr traced_attrs[] = { AT_INT(traced, number) };

static at_status traced_shape(void *args, at_error *err)
{
    at_traced_args *a = args;
    (void)err;
    a->y = at_view_like(&a->x, AT_F32);
    return AT_OK;
}

static at_status traced_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                at_error *err)
{
    (void)args, (void)in, (void)err;
    out->scratch_bytes = SCRATCH;
    return AT_OK;
}

static at_status traced_run(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_traced_args *a = args;
    const struct traced_stream *s = l->stream->native;
    (void)p;
    if (a->number == s->trace->fail_at)
        return at_fail(l->err, AT_DEVICE, "the node is to fail");
    s->trace->scratch[a->number] = l->scratch;
    note(s->trace, "%d@%s ", (int)a->number, s->name);
    return AT_OK;
}

static const at_variant traced_variants[] = { { .name = "traced_ref",
                                                .device = AT_CPU,
                                                .flags = AT_ROWS_INDEPENDENT,
                                                .prepare = traced_prepare,
                                                .run = traced_run } };
static const at_op at_op_traced = { .name = "traced",
                                    .args_size = sizeof(at_traced_args),
                                    .operands = traced_operands,
                                    .n_operands = AT_COUNT(traced_operands),
                                    .attrs = traced_attrs,
                                    .n_attrs = AT_COUNT(traced_attrs),
                                    .shape = traced_shape,
                                    .variants = traced_variants,
                                    .n_variants = AT_COUNT(traced_variants) };

static at_status trace_lane_stream(at_device *d, at_lane lane, at_stream *stream, at_error *err)
{
    trace *t = d->own;
    (void)err;
    *stream = (at_stream){ AT_CPU, 1, &t->streams[lane] };
    return AT_OK;
}

static at_status trace_mark_new(at_device *d, void **mark, at_error *err)
{
    trace *t = d->own;
    (void)err;
    assert_true(t->n_marks < MARKS);
    t->marks[t->n_marks] = t->n_marks;
    *mark = &t->marks[t->n_marks++];
    return AT_OK;
}

static void trace_mark_free(at_device *d, void *mark)
{
    trace *t = d->own;
    assert_true(*(int *)mark >= 0);
    *(int *)mark = -1;
    t->n_marks--;
}

static at_status trace_mark_set(at_device *d, at_lane lane, void *mark, at_error *err)
{
    trace *t = d->own;
    (void)err;
    note(t, "set%d@%s ", *(int *)mark, t->streams[lane].name);
    return AT_OK;
}

static at_status trace_mark_await(at_device *d, at_lane lane, void *mark, at_error *err)
{
    trace *t = d->own;
    (void)err;
    note(t, "await%d@%s ", *(int *)mark, t->streams[lane].name);
    return AT_OK;
}

static void trace_wait(at_device *d)
{
    trace *t = d->own;
    if (t)
        note(t, "wait ");
}

static at_device_api trace_api(void)
{
    at_device_api api = at_device_cpu;
    api.workspace_bytes = WORKSPACE;
    api.wait = trace_wait;
    api.lane_stream = trace_lane_stream;
    api.mark_new = trace_mark_new;
    api.mark_free = trace_mark_free;
    api.mark_set = trace_mark_set;
    api.mark_await = trace_mark_await;
    return api;
}

static void trace_open(trace *t, const at_device_api *api, at_device **d)
{
    static const char *const names[] = { "compute", "copy", "collective" };
    at_error err;
    *t = (trace){ .fail_at = -1 };
    for (int k = 0; k < AT_LANE_COUNT; k++)
        t->streams[k] = (struct traced_stream){ t, names[k] };
    assert_int_equal(at_device_open_api(d, api, NULL, &err), AT_OK);
    (*d)->own = t;
    (*d)->stream = (at_stream){ AT_CPU, 1, &t->streams[AT_LANE_COMPUTE] };
}

static at_tensor traced(at_graph *g, at_lane lane, int64_t number, at_tensor x, at_tensor x2)
{
    at_traced_args a = { .x = at_graph_view(g, x), .x2 = at_graph_view(g, x2), .number = number };
    at_graph_lane(g, lane);
    at_graph_append(g, &at_op_traced, &a, 0);
    return at_tensor_of(&a.y);
}

/* Node 1 is beside 2 and joined by 3; 4 and 5 are joined by the end. */
static at_graph *traced_graph(void)
{
    at_graph *g = at_graph_new();
    at_tensor x = at_graph_input(g, "x", AT_F32, 1, (const int64_t[]){ 100 }), none = { 0 };
    at_tensor a = traced(g, AT_LANE_COMPUTE, 0, x, none);
    at_tensor b = traced(g, AT_LANE_COPY, 1, a, none);
    at_tensor c = traced(g, AT_LANE_COMPUTE, 2, a, none);
    at_graph_output(g, traced(g, AT_LANE_COMPUTE, 3, b, c), "y");
    at_graph_output(g, traced(g, AT_LANE_COPY, 4, x, none), "copied");
    at_graph_output(g, traced(g, AT_LANE_COLLECTIVE, 5, x, none), "reduced");
    return g;
}

/* Mark 4 is the begin of the run, the others stand behind the nodes that somebody waits for. */
static const char traced_run_text[] =
    "set4@compute 0@compute set0@compute await0@copy 1@copy set1@copy 2@compute await1@compute "
    "3@compute 4@copy set2@copy await4@collective 5@collective set3@collective await2@compute "
    "await3@compute ";

static bool apart(const trace *t, int i, int j)
{
    return t->scratch[i] + SCRATCH <= t->scratch[j] || t->scratch[j] + SCRATCH <= t->scratch[i];
}

/* Nodes of the compute lane share the workspace; beside it others have scratch of their own. */
static void check_scratch(const trace *t)
{
    assert_ptr_equal(t->scratch[0], t->scratch[2]);
    assert_ptr_equal(t->scratch[0], t->scratch[3]);
    for (int i = 0; i < TRACED; i++)
        assert_true(i == 0 || i == 2 || i == 3 || apart(t, 0, i));
    assert_true(apart(t, 1, 5) && apart(t, 4, 5));
}

static void expect_run(at_plan *plan, trace *t, const char *text)
{
    at_error err;
    t->text[0] = '\0';
    assert_int_equal(at_plan_run(plan, &err), t->fail_at < 0 ? AT_OK : AT_DEVICE);
    assert_string_equal(t->text, text);
}

static void a_run_forks_and_joins_its_lanes(void **state)
{
    const at_device_api api = trace_api();
    trace t;
    at_device *d;
    at_plan *plan;
    at_error err;
    (void)state;
    trace_open(&t, &api, &d);
    at_params *params = at_params_new(d);
    at_graph *g = traced_graph();
    assert_int_equal(at_plan_new(&plan, d, params, g, NULL, &err), AT_OK);
    expect_run(plan, &t, traced_run_text);
    check_scratch(&t);
    t.fail_at = 2; /* what is given up is waited for: its lanes are not joined */
    expect_run(plan, &t, "set4@compute 0@compute set0@compute await0@copy 1@copy set1@copy wait ");
    t.fail_at = -1;
    expect_run(plan, &t, traced_run_text);
    t.text[0] = '\0';
    assert_int_equal(at_plan_profile(plan, &err), AT_OK);
    assert_non_null(strstr(t.text, "1@compute"));
    assert_null(strstr(t.text, "@copy"));
    at_plan_free(plan);
    assert_int_equal(t.n_marks, 0);
    at_graph_free(g);
    at_params_free(params);
    at_device_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_wait_for_writers_and_writers_for_readers),
        cmocka_unit_test(waits_are_enough_and_no_more),
        cmocka_unit_test(memory_is_not_used_anew_before_lanes_join),
        cmocka_unit_test(lanes_change_nothing_on_the_cpu),
        cmocka_unit_test(a_run_forks_and_joins_its_lanes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
