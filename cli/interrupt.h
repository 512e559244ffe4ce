/* interrupt.h -- Ctrl-C during work that has to clean up after itself: the first one is noticed
 * where the work reports its progress, a second one ends the program. */
#ifndef AT_CLI_INTERRUPT_H
#define AT_CLI_INTERRUPT_H

#include "engine/file.h"

/* A progress that goes on to 'outer' and cancels once a signal came. Both stay where they are. */
typedef struct at_interrupt {
    const at_progress *outer;
    at_progress progress; /* hand this to the work */
} at_interrupt;

void at_interrupt_start(at_interrupt *i, const at_progress *outer);
/* The exit status that shells have for a program that a signal ended; 0: none came. */
int at_interrupt_status(void);

#endif
