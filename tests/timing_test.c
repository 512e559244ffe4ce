/* timing_test.c -- time taken on a device: on a stub that plays the driver (cuda_stub.c), whose
 * moments lie a millisecond apart for each piece of work between them, launches are captured,
 * replayed and timed, operands are taken in turn, and whichever call fails is told. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/bench.h"
#include "engine/device_cuda.h"
#include "engine/plan.h"
#include "kernels/ops.h"
#include "kernels/shape.h"
#include "kernels/variants.h"
#include "tests/cuda_stubbed.h"
#include "tests/unit.h"

enum { ILLEGAL_ADDRESS = 700, PIECES = 2 };

static bool near(double found, double expected)
{
    return found > 0.999 * expected && found < 1.001 * expected;
}

/* --- an op of the test's own: PIECES pieces of work; it remembers its operands ---------------- */

enum { SEEN_MAX = 4096 };

typedef struct seen {
    const void *x[SEEN_MAX], *y[SEEN_MAX], *scratch[SEEN_MAX];
    int runs;
    int fail_at; /* the run of this number, from 1, fails */
} seen;

static seen saw; /* a run is given no context of the test's */

static at_status seen_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                              at_error *err)
{
    (void)args, (void)in, (void)err;
    out->scratch_bytes = 1000;
    return AT_OK;
}

static at_status seen_run(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_unary_args *a = args;
    seen *s = &saw;
    (void)p;
    if (s->runs < SEEN_MAX) {
        s->x[s->runs] = a->x.data;
        s->y[s->runs] = a->y.data;
        s->scratch[s->runs] = l->scratch;
    }
    if (++s->runs == s->fail_at)
        return at_fail(l->err, AT_DEVICE, "the planted kernel would not start");
    for (int i = 0; i < PIECES; i++)
        if (cuda_stub_launch_on(l->stream->native, i) != AT_CUDA_SUCCESS)
            return at_fail(l->err, AT_DEVICE, "no launch");
    return AT_OK;
}

static const at_variant planted = { "unary_planted", AT_CUDA, 0,    0,       NULL,
                                    seen_prepare,    NULL,    NULL, seen_run };

static at_status time_planted(at_device *d, const char *text, size_t rotate, double seconds,
                              at_timing *out, at_error *err)
{
    at_bench *b;
    saw = (seen){ .fail_at = saw.fail_at };
    at_status status = at_bench_new(&b, d, &at_op_unary, text, AT_F32, err);
    if (status != AT_OK)
        return status;
    at_bench_rotate(b, rotate);
    status = at_bench_time(b, &planted, seconds, out, err);
    at_bench_free(b);
    return status;
}

/* --- moments ---------------------------------------------------------------------------------- */

static void moments_lie_on_the_stream(void **state)
{
    at_device_api api = cuda_stub_api();
    at_device *d = cuda_stub_open(&api);
    at_moment m[3];
    at_error err;
    (void)state;
    const int before = cuda_stub_seen()->live;
    assert_int_equal(at_moments_new(d, m, 3, &err), AT_OK);
    assert_int_equal(cuda_stub_seen()->live, before + 3);
    cuda_stub_launch_on(d->stream.native, 1);
    at_moment_mark(d, &m[0]);
    for (int i = 0; i < 5; i++)
        cuda_stub_launch_on(d->stream.native, i);
    at_moment_mark(d, &m[1]);
    at_moment_mark(d, &m[2]);
    assert_int_equal(cuda_stub_seen()->logged, 0); /* marking waits for nothing */
    assert_true(near(at_moments_between(d, &m[0], &m[1]), 5e-3));
    assert_true(at_moments_between(d, &m[1], &m[2]) == 0);
    at_moments_free(d, m, 3);
    assert_int_equal(cuda_stub_seen()->live, before);
    assert_int_equal(at_device_check(d, &err), AT_OK);
    at_device_close(d);
}

static void a_failing_moment_is_told(void **state)
{
    static const char *const words[] = { "making an event failed", "marking a moment failed",
                                         "the work before a moment failed",
                                         "the time between two moments failed" };
    cuda_stub *s = cuda_stub_seen();
    at_device_api api = cuda_stub_api();
    at_device *d = cuda_stub_open(&api);
    (void)state;
    /* Each call of the driver is preceded by a push and followed by a pop. */
    const int call_of[] = { 2, 8, 14, 15 };
    s->fail_with = ILLEGAL_ADDRESS;
    for (size_t i = 0; i < AT_COUNT(words); i++) {
        at_moment m[2];
        at_error err = { 0 };
        s->fail_at = s->calls + call_of[i];
        at_status status = at_moments_new(d, m, 2, &err);
        if (status == AT_OK) {
            at_moment_mark(d, &m[0]);
            at_moment_mark(d, &m[1]);
            (void)at_moments_between(d, &m[0], &m[1]);
            at_moments_free(d, m, 2);
            status = at_device_check(d, &err);
        }
        if (status != AT_DEVICE || !strstr(err.text, words[i]))
            fail_msg("expected '%s', found: %s", words[i], err.text);
    }
    s->wrong = NULL; /* the time of a moment that could not be marked was asked for */
    at_device_close(d);
}

/* The cpu has none: the clock serves. */
static void without_events_the_clock_serves(void **state)
{
    at_device *d;
    at_moment m[2];
    at_error err;
    (void)state;
    assert_int_equal(at_device_open(&d, "cpu", NULL, &err), AT_OK);
    assert_int_equal(at_moments_new(d, m, 2, &err), AT_OK);
    at_moment_mark(d, &m[0]);
    at_moment_mark(d, &m[1]);
    assert_null(m[0].event);
    double seconds = at_moments_between(d, &m[0], &m[1]);
    assert_true(seconds >= 0 && seconds < 1);
    at_moments_free(d, m, 2);
    at_device_close(d);
}

/* --- launches --------------------------------------------------------------------------------- */

static void a_run_is_timed_by_the_device(void **state)
{
    at_device_api api = cuda_stub_api();
    at_device *d = cuda_stub_open(&api);
    at_timing t;
    at_error err = { 0 };
    (void)state;
    if (time_planted(d, "x=64,64 kind=silu", 0, 0.05, &t, &err) != AT_OK)
        fail_msg("%s", err.text);
    assert_true(near(t.seconds, PIECES * 1e-3) && near(t.seconds_min, PIECES * 1e-3));
    assert_int_equal(t.sets, 1);
    assert_true(t.runs >= 3);
    for (int i = 1; i < saw.runs; i++)
        assert_ptr_equal(saw.x[i], saw.x[0]);
    at_device_close(d);
}

/* --- operands in turn ------------------------------------------------------------------------- */

/* How many different first operands there were. */
static int sets_seen(int from)
{
    int n = 0;
    while (from + n < saw.runs && (n == 0 || saw.x[from + n] != saw.x[from]))
        n++;
    return n;
}

static void operands_are_taken_in_turn(void **state)
{
    enum { ROWS = 64, COLS = 100, BYTES = ROWS * COLS * sizeof(float), SETS = 8 };
    at_device_api api = cuda_stub_api();
    at_device *d = cuda_stub_open(&api);
    at_timing t;
    at_error err = { 0 };
    (void)state;
    if (time_planted(d, "x=64,100 kind=silu", 2 * BYTES * (SETS - 1) + 5, 0.2, &t, &err) != AT_OK)
        fail_msg("%s", err.text);
    assert_int_equal(t.sets, SETS);
    assert_true(near(t.seconds, PIECES * 1e-3)); /* of one run, not of a replay */
    assert_int_equal(sets_seen(2), SETS); /* two runs came before, to see how long one takes */
    for (int i = 0; i < SETS; i++) {
        const char *x = saw.x[2 + i], *y = saw.y[2 + i];
        assert_memory_equal(x, saw.x[0], BYTES);
        assert_ptr_equal(saw.scratch[2 + i], saw.scratch[2]);
        const char *scratch = saw.scratch[2 + i];
        for (int k = 0; k < SETS; k++) {
            const char *other = saw.x[2 + k], *out = saw.y[2 + k];
            if (k != i)
                assert_true(x + BYTES <= other || other + BYTES <= x);
            assert_true(x + BYTES <= out || out + BYTES <= x);
        }
        assert_true(scratch >= x + BYTES && scratch >= y + BYTES);
    }
    assert_int_equal(saw.runs, 2 + SETS); /* captured once */
    at_device_close(d);
}

/* Not more than half of what is free, and not more than there is time for. */
static void sets_have_limits(void **state)
{
    at_device_api api = cuda_stub_api();
    at_device *d = cuda_stub_open(&api);
    at_timing t;
    at_error err = { 0 };
    (void)state;
    /* 16 MiB a set, of 248 MiB that the windows leave. */
    if (time_planted(d, "x=2097152 kind=silu", (size_t)1 << 40, 1.0, &t, &err) != AT_OK)
        fail_msg("%s", err.text);
    assert_in_range(t.sets, 7, 8);
    if (time_planted(d, "x=64 kind=silu", (size_t)1 << 40, 0.06, &t, &err) != AT_OK)
        fail_msg("%s", err.text);
    assert_int_equal(t.sets, 5); /* a sixth of the time, 2 ms each */
    at_device_close(d);
}

/* --- failures --------------------------------------------------------------------------------- */

static void a_launch_that_fails_is_told(void **state)
{
    at_device_api api = cuda_stub_api();
    at_device *d = cuda_stub_open(&api);
    (void)state;
    for (saw.fail_at = 1; saw.fail_at <= 4; saw.fail_at++) {
        at_timing t;
        at_error err = { 0 };
        assert_int_equal(time_planted(d, "x=64 kind=silu", 1000, 0.06, &t, &err), AT_DEVICE);
        if (!strstr(err.text, "unary_planted failed") || !strstr(err.text, "would not start"))
            fail_msg("run %d: %s", saw.fail_at, err.text);
    }
    saw.fail_at = 0;
    at_timing t;
    at_error err = { 0 };
    assert_int_equal(time_planted(d, "x=64 kind=silu", 1000, 0.06, &t, &err), AT_OK);
    at_device_close(d);
}

/* Whether a failure of call 'n' was met at all. */
static bool fails_at(int n)
{
    cuda_stub *s = cuda_stub_seen();
    at_device_api api = cuda_stub_api();
    at_device *d = cuda_stub_open(&api);
    at_timing t;
    at_error err = { 0 };
    s->fail_with = ILLEGAL_ADDRESS;
    s->calls = 0;
    s->fail_at = n;
    at_status status = time_planted(d, "x=64 kind=silu", 1000, 0.03, &t, &err);
    const bool met = s->calls >= n;
    s->fail_at = 0;
    if (met && (status == AT_OK || !strstr(err.text, "failed with")))
        fail_msg("call %d failed, and this was said: '%s'", n, err.text);
    s->wrong = NULL; /* what could not be marked is asked for its time all the same */
    at_device_close(d);
    return met;
}

/* Every call up to the first replays; then some of the many that are alike. */
static void whichever_call_fails_it_is_told(void **state)
{
    enum { EVERY = 200, PART = 4 };
    int n = 1;
    (void)state;
    while (fails_at(n)) {
        if (cuda_stub_seen()->live || cuda_stub_seen()->used)
            fail_msg("call %d: %d objects and %zu bytes leaked", n, cuda_stub_seen()->live,
                     cuda_stub_seen()->used);
        n += n < EVERY ? 1 : n / PART;
    }
    assert_true(n > EVERY);
}

/* --- a plan ----------------------------------------------------------------------------------- */

typedef struct at_pieces_args {
    at_view y; /* (N) f32 */
    at_view x; /* (N) f32 */
    int64_t pieces;
} at_pieces_args;

static const at_operand pieces_operands[] = {
    AT_OPERAND(pieces, y, AT_OUT, 0, AT_F32),
    AT_OPERAND(pieces, x, AT_IN, 0, AT_F32),
};
static const at_attr pieces_attrs[] = { AT_INT(pieces, pieces) };

static at_status pieces_shape(void *args, at_error *err)
{
    at_pieces_args *a = args;
    (void)err;
    a->y = at_view_like(&a->x, a->x.dtype);
    return AT_OK;
}

static at_status pieces_run(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_pieces_args *a = args;
    (void)p;
    for (int64_t i = 0; i < a->pieces; i++)
        if (cuda_stub_launch_on(l->stream->native, (int)i) != AT_CUDA_SUCCESS)
            return at_fail(l->err, AT_DEVICE, "no launch");
    return AT_OK;
}

static const at_variant pieces_variants[] = {
    { "pieces_cuda", AT_CUDA, 0, AT_ROWS_INDEPENDENT, NULL, NULL, NULL, NULL, pieces_run },
};
AT_DEFINE_OP(pieces, "as many pieces of work", pieces_operands, pieces_attrs, pieces_shape, NULL,
             pieces_variants);

enum { NODES = 70, SORTS = 3 };

/* Nodes of 1, 2, 3, 1, 2, 3, ... pieces: more than are timed at once. */
static at_status profile(at_device *d, at_plan_times *times, double *seconds, at_error *err)
{
    at_plan *plan = NULL;
    at_params *params = at_params_new(d);
    at_graph *g = at_graph_new();
    at_tensor y = at_graph_input(g, "x", AT_F32, 1, (const int64_t[]){ 8 });
    for (int i = 0; i < NODES; i++) {
        at_pieces_args a = { .x = at_graph_view(g, y), .pieces = i % SORTS + 1 };
        at_graph_append(g, &at_op_pieces, &a, 0);
        y = at_tensor_of(&a.y);
    }
    at_graph_output(g, y, "y");
    at_status status = at_plan_new(&plan, d, params, g, NULL, err);
    if (status == AT_OK)
        status = at_plan_profile(plan, err);
    for (int i = 0; i < NODES && status == AT_OK; i++)
        seconds[i] = at_plan_node(plan, i).seconds;
    if (status == AT_OK)
        *times = at_plan_timing(plan);
    at_plan_free(plan);
    at_graph_free(g);
    at_params_free(params);
    return status;
}

static void nodes_and_replays_are_timed_by_the_device(void **state)
{
    at_device_api api = cuda_stub_api();
    at_device *d = cuda_stub_open(&api);
    at_plan_times times;
    double seconds[NODES], sum = 0;
    at_error err = { 0 };
    (void)state;
    if (profile(d, &times, seconds, &err) != AT_OK)
        fail_msg("%s", err.text);
    for (int i = 0; i < NODES; i++) {
        if (!near(seconds[i], (i % SORTS + 1) * 1e-3))
            fail_msg("node %d took %g s", i, seconds[i]);
        sum += seconds[i];
    }
    assert_true(near(times.nodes, sum) && near(times.run, sum));
    assert_true(times.host > 0 && times.host < 1);
    at_device_close(d);
}

/* Whether a failure of call 'n' was met at all. */
static bool profile_fails_at(int n)
{
    cuda_stub *s = cuda_stub_seen();
    at_device_api api = cuda_stub_api();
    at_device *d = cuda_stub_open(&api);
    at_plan_times times;
    double seconds[NODES];
    at_error err = { 0 };
    s->fail_with = ILLEGAL_ADDRESS;
    s->calls = 0;
    s->fail_at = n;
    at_status status = profile(d, &times, seconds, &err);
    const bool met = s->calls >= n;
    s->fail_at = 0;
    bool told = status != AT_OK || at_device_check(d, &err) != AT_OK;
    if (met && !told)
        fail_msg("call %d failed, and nothing was said", n);
    s->wrong = NULL; /* what could not be marked is asked for its time all the same */
    at_device_close(d);
    return met;
}

static void whichever_call_of_a_profile_fails_it_is_told(void **state)
{
    int n = 1;
    (void)state;
    for (; profile_fails_at(n); n++)
        if (cuda_stub_seen()->live || cuda_stub_seen()->used)
            fail_msg("call %d: %d objects and %zu bytes leaked", n, cuda_stub_seen()->live,
                     cuda_stub_seen()->used);
    assert_true(n > 2 * NODES);
}

#define WITH_STUB(test) \
    cmocka_unit_test_setup_teardown(test, cuda_stub_set_up, cuda_stub_nothing_is_left)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STUB(moments_lie_on_the_stream),
        WITH_STUB(a_failing_moment_is_told),
        cmocka_unit_test(without_events_the_clock_serves),
        WITH_STUB(a_run_is_timed_by_the_device),
        WITH_STUB(operands_are_taken_in_turn),
        WITH_STUB(sets_have_limits),
        WITH_STUB(a_launch_that_fails_is_told),
        WITH_STUB(whichever_call_fails_it_is_told),
        WITH_STUB(nodes_and_replays_are_timed_by_the_device),
        WITH_STUB(whichever_call_of_a_profile_fails_it_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
