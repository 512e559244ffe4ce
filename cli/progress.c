#include "cli/progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/clock.h"

static const double redraw_seconds = 0.1;

const char *at_bytes_text(uint64_t bytes, char text[AT_BYTES_TEXT])
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB" };
    double x = (double)bytes;
    size_t unit = 0;
    while (x >= 999.5 && unit + 1 < AT_COUNT(units)) {
        x /= 1000;
        unit++;
    }
    snprintf(text, AT_BYTES_TEXT, unit && x < 9.95 ? "%.1f %s" : "%.0f %s", x, units[unit]);
    return text;
}

enum { COUNTED_TEXT = 96 };

/* "12 of 50 steps, 0.54 steps/s", or the same of bytes. */
static void counted_text(const at_bar *bar, uint64_t done, uint64_t total, double seconds,
                         char text[COUNTED_TEXT])
{
    char a[AT_BYTES_TEXT], b[AT_BYTES_TEXT], rate[AT_BYTES_TEXT];
    const double speed = seconds > 0 ? (double)done / seconds : 0;
    if (bar->unit && done == 0)
        snprintf(text, COUNTED_TEXT, "0 of %llu %s", (unsigned long long)total, bar->unit);
    else if (bar->unit)
        snprintf(text, COUNTED_TEXT, "%llu of %llu %s, %.3g %s/s", (unsigned long long)done,
                 (unsigned long long)total, bar->unit, speed, bar->unit);
    else
        snprintf(text, COUNTED_TEXT, "%s of %s, %s/s", at_bytes_text(done, a),
                 at_bytes_text(total, b), at_bytes_text((uint64_t)speed, rate));
}

static bool draw(void *context, uint64_t done, uint64_t total)
{
    enum { CELLS = 30 };
    static const char full[CELLS + 1] = "##############################";
    at_bar *bar = context;
    double now = at_clock_seconds();
    if (bar->unit && done == 0)
        bar->started = now;
    if (!isatty(STDERR_FILENO) || now - bar->drawn < redraw_seconds)
        return true;
    double part = total ? (double)done / (double)total : 1, seconds = now - bar->started;
    int left = part > 0 ? (int)(seconds * (1 - part) / part) : 0;
    char text[COUNTED_TEXT];
    counted_text(bar, done, total, seconds, text);
    fprintf(stderr, "\r%s [%-*.*s] %s", bar->what, CELLS, (int)(part * CELLS), full, text);
    if (part > 0)
        fprintf(stderr, ", %d:%02d left", left / 60, left % 60);
    fputs(" \033[K", stderr);
    bar->drawn = now;
    bar->shown = true;
    return true;
}

void at_bar_start(at_bar *bar, const char *what)
{
    *bar = (at_bar){ .what = what, .started = at_clock_seconds(), .progress = { draw, bar } };
}

void at_bar_start_counting(at_bar *bar, const char *what, const char *unit)
{
    at_bar_start(bar, what);
    bar->unit = unit;
}

double at_bar_end(at_bar *bar)
{
    if (bar->shown)
        fputs("\r\033[K", stderr);
    return at_clock_seconds() - bar->started;
}
