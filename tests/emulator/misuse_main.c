/* misuse_main.c -- emulator_misuse [--list] [NAME...]: runs every wrong kernel in a process of its
 * own and reads what was said about it.
 *
 * Exit status: 0 each fault that this build can see was reported with its file and line; 1 one went
 * unnoticed; 2 usage. */
#include "tests/emulator/misuse.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OUTPUT_BYTES = 64 << 10, LINE_BYTES = 512 };

static const char *const source = AT_SOURCE_DIR "/tests/emulator/misuse.cu";

void misuse_result(const float *y, const float *expected, int n, const char *file, int line)
{
    for (int i = 0; i < n; i++)
        if (!(y[i] == expected[i])) {
            fprintf(stderr, "result: element %d is %g, expected %g, launched at %s:%d\n", i,
                    (double)y[i], (double)expected[i], file, line);
            return;
        }
}

static misuse_sight sight_of(const misuse *m)
{
    switch (at_emu_built()) {
    case AT_EMU_PLAIN: return m->plain;
    case AT_EMU_SANITIZED: return m->sanitized;
    default: return m->race;
    }
}

/* In the child: everything it says goes to the pipe. */
static void run_child(const misuse *m, int fd)
{
    at_emu_settings s = { .order = m->order, .async = m->async, .seed = 3, .quiet = true };
    dup2(fd, STDERR_FILENO);
    dup2(fd, STDOUT_FILENO);
    at_emu_configure(&s);
    cudaError_t status = m->run(m);
    if (status != cudaSuccess)
        fprintf(stderr, "%s\n", cudaGetErrorString(status));
    fflush(NULL);
    _exit(0);
}

static bool collect(const misuse *m, char *text)
{
    int ends[2], status;
    size_t n = 0;
    ssize_t got;
    if (pipe(ends) != 0)
        return false;
    pid_t child = fork();
    if (child == 0)
        run_child(m, ends[1]);
    close(ends[1]);
    while (n < OUTPUT_BYTES - 1 && (got = read(ends[0], text + n, OUTPUT_BYTES - 1 - n)) > 0)
        n += (size_t)got;
    text[n] = '\0';
    close(ends[0]);
    return child > 0 && waitpid(child, &status, 0) == child;
}

/* The line of 'text' that names "misuse.cu:number" and no longer number. */
static const char *line_with(const char *text, int number, char line[LINE_BYTES])
{
    char place[64];
    int n = snprintf(place, sizeof place, "misuse.cu:%d", number);
    const char *at = text;
    while ((at = strstr(at, place)) != NULL && at[n] >= '0' && at[n] <= '9')
        at++;
    if (!at)
        return NULL;
    while (at > text && at[-1] != '\n')
        at--;
    snprintf(line, LINE_BYTES, "%.*s", (int)strcspn(at, "\n"), at);
    return line;
}

/* Looks for a report on a line of the source that carries "MARK: NAME". */
static bool is_reported(const misuse *m, const char *mark, const char *text, char line[LINE_BYTES])
{
    char wanted[128], row[LINE_BYTES];
    bool found = false;
    FILE *f = fopen(source, "r");
    if (!f)
        return false;
    snprintf(wanted, sizeof wanted, "%s: %s ", mark, m->name);
    for (int number = 1; !found && fgets(row, sizeof row, f); number++)
        found = strstr(row, wanted) && line_with(text, number, line);
    fclose(f);
    return found;
}

/* What a sanitizer said first; its place stands in a frame some lines below. */
static void print_kind(const char *text)
{
    const char *at = strstr(text, "ERROR: AddressSanitizer: ");
    if (at)
        printf("%.*s ", (int)strcspn(at + 25, " "), at + 25);
}

static bool check(const misuse *m)
{
    static char text[OUTPUT_BYTES];
    char line[LINE_BYTES];
    misuse_sight sight = sight_of(m);
    if (sight == UNSEEN) {
        printf("%-26s  not visible in this build; seen by:%s%s%s\n", m->name,
               m->plain ? " plain" : "", m->sanitized ? " sanitized" : "", m->race ? " race" : "");
        return true;
    }
    bool good = collect(m, text) &&
                is_reported(m, sight == BY_LINE ? "planted" : "launched", text, line) &&
                (sight == BY_LINE || strstr(line, "result: "));
    if (!good) {
        printf("%-26s  UNNOTICED; all that was said: %s\n", m->name, text[0] ? text : "nothing");
        return false;
    }
    printf("%-26s  ", m->name);
    print_kind(text);
    printf("%s\n", line + strspn(line, " "));
    return true;
}

int main(int argc, char **argv)
{
    int checked = 0, unnoticed = 0;
    bool list = argc > 1 && !strcmp(argv[1], "--list");
    for (const misuse *m = misuses; m->name; m++) {
        bool chosen = argc == 1 || list;
        for (int i = 1; i < argc; i++)
            chosen = chosen || !strcmp(argv[i], m->name);
        if (list)
            puts(m->name);
        if (list || !chosen)
            continue;
        checked++;
        unnoticed += !check(m);
        fflush(stdout);
    }
    if (list)
        return 0;
    if (checked == 0) {
        fprintf(stderr, "usage: emulator_misuse [--list] [NAME...]\n");
        return 2;
    }
    printf("emulator_misuse: %d faults, %d unnoticed\n", checked, unnoticed);
    return unnoticed > 0;
}
