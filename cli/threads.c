/* threads.c -- how the team of threads waits.
 *
 * A thread that has run dry spins, so that the next op finds it awake, then sleeps. By default
 * libgomp spins 300,000 times, which is about 7 ms: a program that has work every now and then
 * keeps all cores busy for nothing, and where others compute too its spinning holds the core that
 * they need. Measured on two cores of a Xeon: microseconds to run an empty parallel region on both,
 * as median (90th percentile), and what one idle spell costs in CPU time.
 *
 *   spins                      0            2,000       20,000      100,000   default
 *   right after another        4-48         0.9         0.8         0.9       0.8
 *   after 100 us               84           32-38       0.9         1.0       1.0
 *   after 300 us               84           34-90       1.0         1.1       1.0
 *   after 1 ms                 90           65          37-52       1.4       1.1
 *   CPU time of an idle spell  0.05 ms      0.13 ms     0.7 ms      2.7 ms    6.3 ms
 *   another program on one of the two cores:
 *   after 300 us               5 (5)        64 (94)     430 (1,080) 2 (3,060) 1 (7,700)
 *
 * Ops of a plan follow each other within tens of microseconds, steps of the host between them take
 * a few hundred: 20,000 covers them, and bounds at a millisecond what a neighbour can make us wait.
 * The numbers with 0 and 2,000 scatter by what the host system lets the core do meanwhile.
 *
 * libgomp reads its settings when it is loaded, before main() and before what .preinit_array calls:
 * setting them later has no effect. So the program starts itself once more. */
#define _GNU_SOURCE
#include "cli/threads.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char spins[] = "GOMP_SPINCOUNT", policy[] = "OMP_WAIT_POLICY";

void at_threads_settle(char **argv)
{
    if (getenv(spins) || getenv(policy))
        return;
    /* Without /proc it goes on as it is: slower neighbours, the same results. */
    if (setenv(spins, "20000", 0) == 0)
        execv("/proc/self/exe", argv);
}

void at_threads_describe(char *text, unsigned long text_size)
{
    const char *set = getenv(spins) ? spins : policy, *value = getenv(set);
    if (value)
        snprintf(text, text_size, "idle threads wait as %s=%s says", set, value);
    else
        snprintf(text, text_size, "idle threads wait as the OpenMP library has it");
}
