/* plan_profile.c -- where a plan's time goes.
 *
 * Nodes are timed by moments on the stream, between which they are enqueued one by one. While the
 * host enqueues a group of them the device is held, so that it never waits for the host within the
 * group; what two moments with nothing between them lie apart is taken off each. A kernel's start,
 * which in a captured run overlaps with the end of the one before, stays in. */
#include "engine/clock.h"
#include "engine/plan_own.h"
#include "engine/timing.h"

enum { GROUP = 64, REPLAYS = 7 };

/* The host needs less to enqueue a node and a moment. */
static const double host_seconds = 2e-5;

static at_status time_group(at_plan *plan, int first, int n, at_moment *m, at_error *err)
{
    at_device *d = at_plan_device(plan);
    double *seconds = at_plan_own_notes(plan)->seconds + first;
    at_status status = AT_OK;
    at_device_hold(d, n * host_seconds);
    at_moment_mark(d, &m[0]);
    at_moment_mark(d, &m[1]);
    for (int i = 0; i < n && status == AT_OK; i++) {
        status = at_plan_own_node(plan, first + i, err);
        at_moment_mark(d, &m[i + 2]);
    }
    if (status != AT_OK)
        return status;
    double empty = m[0].event ? at_moments_between(d, &m[0], &m[1]) : 0;
    for (int i = 0; i < n; i++) {
        double took = at_moments_between(d, &m[i + 1], &m[i + 2]);
        seconds[i] = took > empty ? took - empty : 0;
    }
    return at_device_check(d, err);
}

static at_status time_nodes(at_plan *plan, at_error *err)
{
    at_moment m[GROUP + 2];
    at_plan_notes *notes = at_plan_own_notes(plan);
    const int all = at_plan_nodes(plan);
    at_status status = at_moments_new(at_plan_device(plan), m, GROUP + 2, err);
    if (status != AT_OK)
        return status;
    for (int i = 0; i < all && status == AT_OK; i += GROUP)
        status = time_group(plan, i, all - i < GROUP ? all - i : GROUP, m, err);
    at_moments_free(at_plan_device(plan), m, GROUP + 2);
    if (status != AT_OK)
        return status;
    notes->times = (at_plan_times){ 0 };
    for (int i = 0; i < all; i++)
        notes->times.nodes += notes->seconds[i];
    at_plan_own_ran(plan);
    return AT_OK;
}

/* Replays follow one another, so that a plan longer than the host's part never waits for it. */
static at_status run_replays(at_plan *plan, at_moment *m, double *host, at_error *err)
{
    at_device *d = at_plan_device(plan);
    at_status status = at_plan_run(plan, err); /* captures, and brings the graph to the device */
    at_device_wait(d);
    at_moment_mark(d, &m[0]);
    for (int i = 0; i < REPLAYS && status == AT_OK; i++) {
        double start = at_clock_seconds();
        status = at_plan_run(plan, err);
        host[i] = at_clock_seconds() - start;
        at_moment_mark(d, &m[i + 1]);
    }
    return status;
}

static at_status time_replays(at_plan *plan, at_error *err)
{
    at_device *d = at_plan_device(plan);
    at_moment m[REPLAYS + 1];
    double host[REPLAYS], run[REPLAYS];
    at_plan_times *times = &at_plan_own_notes(plan)->times;
    at_status status = at_moments_new(d, m, REPLAYS + 1, err);
    if (status != AT_OK)
        return status;
    status = run_replays(plan, m, host, err);
    if (status == AT_OK) {
        for (int i = 0; i < REPLAYS; i++)
            run[i] = at_moments_between(d, &m[i], &m[i + 1]);
        times->run = at_median(run, REPLAYS);
        times->host = at_median(host, REPLAYS);
    }
    at_moments_free(d, m, REPLAYS + 1);
    return status == AT_OK ? at_device_check(d, err) : status;
}

at_status at_plan_profile(at_plan *plan, at_error *err)
{
    at_device *d = at_plan_device(plan);
    at_device_enter(d);
    at_status status = at_plan_own_ready(plan, err);
    if (status == AT_OK && d->api->replay)
        status = at_plan_run(plan, err); /* a first run loads what the kernels need */
    if (status == AT_OK)
        status = time_nodes(plan, err);
    if (status == AT_OK && d->api->replay)
        status = time_replays(plan, err);
    at_device_leave(d);
    return status;
}
