/* clock.h -- the time that measurements are taken by. */
#ifndef AT_ENGINE_CLOCK_H
#define AT_ENGINE_CLOCK_H

#include <time.h>

/* Seconds since some moment; never goes back. */
static inline double at_clock_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#endif
