/* timing.h -- how long work takes on a device: moments on its stream, and launches that are
 * captured and replayed.
 *
 * A launch of a few microseconds cannot be timed from the host, which needs as long to make it. So
 * many launches are captured into one graph, and the graph's replays are timed by moments that the
 * device itself takes. Where work is done when a call returns, a moment is the clock's.
 *
 * The caller owns its moments. One thread, and the device is entered. */
#ifndef AT_ENGINE_TIMING_H
#define AT_ENGINE_TIMING_H

#include "engine/device.h"

/* --- moments ---------------------------------------------------------------------------------- */

typedef struct at_moment {
    void *event; /* the device's; NULL: the clock serves */
    double clock;
} at_moment;

/* All of them or none. */
at_status at_moments_new(at_device *d, at_moment *moments, int count, at_error *err);
void at_moments_free(at_device *d, at_moment *moments, int count);
/* The moment in which all that is enqueued so far is done. */
void at_moment_mark(at_device *d, at_moment *moment);
/* Seconds between two; waits for 'to'. What fails is told by at_device_check(). */
double at_moments_between(at_device *d, const at_moment *from, const at_moment *to);

/* --- launches --------------------------------------------------------------------------------- */

typedef struct at_timing {
    double seconds, seconds_min; /* of one run: the median, the shortest */
    int runs;
    int sets; /* of operands that the runs took in turn */
} at_timing;

typedef struct at_launches {
    at_status (*launch)(void *context, int i, at_error *err); /* enqueues the i-th */
    void *context;
    int round;   /* a replay has a multiple of so many */
    double each; /* seconds that one takes, about: see at_launches_try() */
} at_launches;

enum { AT_LAUNCHES_MOST = 2048 }; /* of a replay, if a round is not longer */

/* Enqueues the first one twice, so that what it needs is loaded, and fills in l->each. */
at_status at_launches_try(at_device *d, at_launches *l, at_error *err);
/* Replays for about 'seconds', at least three times unless that takes four times as long.
 * out->seconds is of one launch, runs are all of them. 'd' captures. */
at_status at_launches_time(at_device *d, const at_launches *l, double seconds, at_timing *out,
                           at_error *err);
/* Seconds that the host needs to enqueue a replay of one round, the median of a few. */
at_status at_launches_enqueue(at_device *d, const at_launches *l, double *seconds, at_error *err);

/* Sorts 'n' > 0 of them. */
double at_median(double *seconds, int n);

#endif
