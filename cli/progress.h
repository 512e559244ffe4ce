/* progress.h -- a bar on the terminal for work that takes a while; silent where stderr is none. */
#ifndef AT_CLI_PROGRESS_H
#define AT_CLI_PROGRESS_H

#include "engine/file.h"

typedef struct at_bar {
    const char *what; /* "import" */
    const char *unit; /* of what is counted: "steps"; NULL: bytes */
    double started, drawn;
    bool shown;
    at_progress progress; /* hand this to the work */
} at_bar;

/* 'bar' stays where it is while the work runs. */
void at_bar_start(at_bar *bar, const char *what);
/* The same for work that is counted in 'unit'. Its time begins when none is done: what comes before
 * the first says nothing about how long the others take. */
void at_bar_start_counting(at_bar *bar, const char *what, const char *unit);
/* Wipes the bar; the seconds that the work took. */
double at_bar_end(at_bar *bar);

/* "1.3 GB" in decimal units, in 'text', which is returned. */
enum { AT_BYTES_TEXT = 16 };
const char *at_bytes_text(uint64_t bytes, char text[AT_BYTES_TEXT]);

#endif
