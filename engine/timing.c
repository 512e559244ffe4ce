#include "engine/timing.h"

#include <stdlib.h>

#include "engine/clock.h"

/* --- moments ---------------------------------------------------------------------------------- */

at_status at_moments_new(at_device *d, at_moment *moments, int count, at_error *err)
{
    for (int i = 0; i < count; i++)
        moments[i] = (at_moment){ 0 };
    for (int i = 0; i < count && d->api->moment_new; i++) {
        moments[i].event = d->api->moment_new(d);
        if (moments[i].event)
            continue;
        at_moments_free(d, moments, count);
        at_status status = at_device_check(d, err);
        return status != AT_OK ? status
                               : at_fail(err, AT_DEVICE, "%s cannot take the time", d->api->name);
    }
    return AT_OK;
}

void at_moments_free(at_device *d, at_moment *moments, int count)
{
    for (int i = 0; i < count; i++) {
        if (moments[i].event)
            d->api->moment_free(d, moments[i].event);
        moments[i] = (at_moment){ 0 };
    }
}

void at_moment_mark(at_device *d, at_moment *moment)
{
    if (moment->event) {
        d->api->moment_mark(d, moment->event);
        return;
    }
    at_device_wait(d);
    moment->clock = at_clock_seconds();
}

double at_moments_between(at_device *d, const at_moment *from, const at_moment *to)
{
    return to->event ? d->api->moment_seconds(d, from->event, to->event) : to->clock - from->clock;
}

/* --- the middle of many ----------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double at_median(double *seconds, int n)
{
    qsort(seconds, (size_t)n, sizeof *seconds, compare);
    return seconds[n / 2];
}

/* --- launches --------------------------------------------------------------------------------- */

/* Replays follow one another without a wait between, this many at a time: the device never runs
 * dry, and the first of them alone waits for the host. */
enum { BUNCH = 8, REPLAYS_MIN = 3, REPLAYS_MAX = 1000 };

/* What a replay lasts at least, so that its own beginning, some microseconds, does not count. */
static const double replay_seconds = 2e-3;

at_status at_launches_try(at_device *d, at_launches *l, at_error *err)
{
    at_moment m[2];
    at_status status = at_moments_new(d, m, 2, err);
    if (status != AT_OK)
        return status;
    status = l->launch(l->context, 0, err);
    at_moment_mark(d, &m[0]);
    if (status == AT_OK)
        status = l->launch(l->context, 0, err);
    at_moment_mark(d, &m[1]);
    l->each = at_moments_between(d, &m[0], &m[1]);
    at_moments_free(d, m, 2);
    return status == AT_OK ? at_device_check(d, err) : status;
}

/* As many as last 'seconds', in whole rounds. */
static int launches_for(const at_launches *l, double seconds)
{
    double wanted = l->each > 0 ? seconds / l->each : AT_LAUNCHES_MOST;
    int most = AT_LAUNCHES_MOST / l->round,
        n = wanted / l->round < most ? (int)(wanted / l->round) : most;
    return (n > 0 ? n : 1) * l->round;
}

static at_status capture(at_device *d, const at_launches *l, int n, void **out, at_error *err)
{
    *out = NULL;
    at_status launched = AT_OK, status = d->api->capture_begin(d, err);
    if (status != AT_OK)
        return status;
    for (int i = 0; i < n && launched == AT_OK; i++)
        launched = l->launch(l->context, i, err);
    status = d->api->capture_end(d, out, launched == AT_OK ? err : NULL);
    if (launched != AT_OK && *out) {
        d->api->capture_free(d, *out);
        *out = NULL;
    }
    return launched != AT_OK ? launched : status;
}

/* What a time is taken of, and with. */
typedef struct replays {
    at_device *device;
    void *captured;
    int launches; /* of one replay */
    at_moment moments[BUNCH + 1];
    double *each; /* seconds of a launch, by replay, room for REPLAYS_MAX */
    int count;
} replays;

/* Seconds of 'n' replays on the host's clock; each one's are added to r->each. */
static at_status replay_bunch(replays *r, int n, double *seconds, at_error *err)
{
    at_device *d = r->device;
    double start = at_clock_seconds();
    at_status status = AT_OK;
    at_moment_mark(d, &r->moments[0]);
    for (int i = 0; i < n && status == AT_OK; i++) {
        status = d->api->replay(d, r->captured, err);
        at_moment_mark(d, &r->moments[i + 1]);
    }
    at_device_wait(d);
    for (int i = 0; i < n && status == AT_OK; i++)
        r->each[r->count + i] =
            at_moments_between(d, &r->moments[i], &r->moments[i + 1]) / r->launches;
    *seconds = at_clock_seconds() - start;
    return status == AT_OK ? at_device_check(d, err) : status;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* How many replays of 'one' seconds each to make next: until 'left' is used up. */
static int bunch_of(const replays *r, double one, double left)
{
    int n = one > 0 && left / one < BUNCH ? (int)(left / one) + 1 : BUNCH;
    return smaller(smaller(n, BUNCH), REPLAYS_MAX - r->count);
}

/* A tenth of the time warms up, one replay at least: it brings the graph to the device. */
static at_status time_replays(replays *r, double seconds, at_error *err)
{
    double spent = 0, took = 0, one = 0;
    at_status status = AT_OK;
    do {
        status = replay_bunch(r, 1, &one, err);
        spent += one;
    } while (status == AT_OK && spent < seconds / 10);
    for (spent = 0; status == AT_OK && r->count < REPLAYS_MAX;) {
        if (spent >= seconds && r->count && (r->count >= REPLAYS_MIN || spent >= 4 * seconds))
            break;
        int n = bunch_of(r, one, seconds - spent > 0 ? seconds - spent : 0);
        status = replay_bunch(r, n, &took, err);
        r->count += n;
        spent += took;
    }
    return status;
}

at_status at_launches_time(at_device *d, const at_launches *l, double seconds, at_timing *out,
                           at_error *err)
{
    const double slice = seconds / (2 * REPLAYS_MIN);
    replays r = { .device = d };
    r.launches = launches_for(l, slice < replay_seconds ? slice : replay_seconds);
    at_status status = at_moments_new(d, r.moments, BUNCH + 1, err);
    if (status != AT_OK)
        return status;
    r.each = calloc(REPLAYS_MAX, sizeof *r.each);
    status = r.each ? capture(d, l, r.launches, &r.captured, err)
                    : at_fail(err, AT_NO_MEMORY, "no memory to time with");
    if (status == AT_OK)
        status = time_replays(&r, seconds, err);
    if (status == AT_OK) {
        *out = (at_timing){ .runs = r.count * r.launches, .sets = 1 };
        out->seconds = at_median(r.each, r.count);
        out->seconds_min = r.each[0];
    }
    if (r.captured)
        d->api->capture_free(d, r.captured);
    at_moments_free(d, r.moments, BUNCH + 1);
    free(r.each);
    return status == AT_OK ? at_device_check(d, err) : status;
}

at_status at_launches_enqueue(at_device *d, const at_launches *l, double *seconds, at_error *err)
{
    enum { TRIES = 7 };
    double tries[TRIES];
    void *captured;
    at_status status = capture(d, l, l->round, &captured, err);
    if (status != AT_OK)
        return status;
    status = d->api->replay(d, captured, err);
    for (int i = 0; i < TRIES && status == AT_OK; i++) {
        at_device_wait(d);
        double start = at_clock_seconds();
        status = d->api->replay(d, captured, err);
        tries[i] = at_clock_seconds() - start;
    }
    d->api->capture_free(d, captured);
    if (status != AT_OK)
        return status;
    *seconds = at_median(tries, TRIES);
    return at_device_check(d, err);
}
