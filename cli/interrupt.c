#include "cli/interrupt.h"

#include <signal.h>

#include "cli/command.h"

static volatile sig_atomic_t signalled; /* the signal's number */

static void on_signal(int number)
{
    signalled = number;
}

static bool report(void *context, uint64_t done, uint64_t total)
{
    const at_interrupt *i = context;
    return i->outer->report(i->outer->context, done, total) && !signalled;
}

void at_interrupt_start(at_interrupt *i, const at_progress *outer)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    *i = (at_interrupt){ .outer = outer, .progress = { report, i } };
}

int at_interrupt_status(void)
{
    return signalled ? AT_EXIT_SIGNAL + signalled : 0;
}
