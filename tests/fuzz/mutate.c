/* mutate.c -- damages good files in many ways, feeds them to the parsers, counts what comes back.
 *
 *     fuzz_mutate tests/golden                        1,000 inputs for every target
 *     fuzz_mutate tests/golden --count 100000         as many as you like
 *     fuzz_mutate tests/golden --target png --only 77 one input again, as a crash named it
 *
 * Each input follows from (seed, target, number). A target runs in a process of its own, so that a
 * crash or a hang is reported and the next target still runs. A refusal must be one sentence, come
 * within REFUSAL_MS_MAX of processor time and hold no more memory than twice the file and what the
 * target's line allows; nothing may be left behind. Exit status: 0, 1 when something is wrong, 2
 * when it could not run. */
#include <ctype.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/memory.h"

enum {
    SEEDS_MAX = 256,
    DEPTH_MAX = 4,
    SECONDS_MAX = 20, /* for one input, before it counts as a hang */
    COMPLAINTS_MAX = 10
};
static const double REFUSAL_MS_MAX = 50;

typedef struct seeds {
    at_bytes files[SEEDS_MAX];
    int count;
} seeds;

/* What a target's process tells; it lies in memory that its parent shares. */
typedef struct tally {
    long long number, accepted, refused, wrong, good;
    double slowest_ms, most_memory;
} tally;

typedef struct options {
    const char *golden, *target;
    long long count, only;
    uint64_t seed;
} options;

/* --- seeds ------------------------------------------------------------------------------------ */

static bool has_ending(const char *name, const char *endings)
{
    const char *dot = strrchr(name, '.');
    for (const char *e = endings; dot && *e;) {
        size_t n = strcspn(e, " ");
        if (strlen(dot + 1) == n && !strncmp(dot + 1, e, n))
            return true;
        e += n + (e[n] == ' ');
    }
    return false;
}

static void take_file(seeds *s, const char *path)
{
    static unsigned char data[1 << 20];
    FILE *f = fopen(path, "rb");
    AT_ASSERT(f, "cannot open %s", path);
    size_t n = fread(data, 1, sizeof data, f);
    fclose(f);
    if (s->count < SEEDS_MAX)
        at_bytes_set(&s->files[s->count++], data, n);
}

static void take_folder(seeds *s, const char *folder, const char *endings, int depth)
{
    struct dirent **entries = NULL;
    int n = depth < DEPTH_MAX ? scandir(folder, &entries, NULL, alphasort) : 0;
    for (int i = 0; i < n; i++) {
        char path[4096];
        const char *name = entries[i]->d_name;
        int length = snprintf(path, sizeof path, "%s/%s", folder, name);
        AT_ASSERT(length > 0 && (size_t)length < sizeof path, "the path of %s is too long", name);
        if (entries[i]->d_type == DT_DIR && name[0] != '.')
            take_folder(s, path, endings, depth + 1);
        else if (has_ending(name, endings))
            take_file(s, path);
        free(entries[i]);
    }
    free(entries);
}

/* --- one input -------------------------------------------------------------------------------- */

static double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* The first 'count' numbers are the seeds as they are. Some are bad on purpose; if most were
 * refused, nothing behind the first checks would be tried. */
static bool make_input(at_bytes *b, const seeds *s, const at_fuzz_target *t, long long number,
                       uint64_t seed)
{
    uint64_t name = 0;
    for (const char *p = t->name; *p; p++)
        name = name * 31 + (unsigned char)*p;
    at_dice d = { seed * 0x100000001b3u + name };
    d.state += at_dice_next(&d) ^ (uint64_t)number * 0xd1342543de82ef95u;
    bool untouched = number < s->count;
    const at_bytes *from =
        &s->files[untouched ? (size_t)number : at_dice_below(&d, (size_t)s->count)];
    at_bytes_set(b, from->data, from->count);
    if (untouched)
        return true;
    at_mutate(b, &s->files[at_dice_below(&d, (size_t)s->count)], &d);
    if (t->mend && at_dice_below(&d, 4))
        t->mend(b->data, b->count);
    return false;
}

static void complain(tally *out, const at_fuzz_target *t, const char *what, const char *more)
{
    if (out->wrong++ < COMPLAINTS_MAX)
        printf("%s: input %lld: %s%s%s\n", t->name, out->number, what, *more ? ": " : "", more);
    fflush(stdout);
}

static bool is_sentence(const char *text)
{
    size_t n = strlen(text);
    if (n < 10 || n >= AT_ERROR_TEXT_MAX || !strchr(text, ' '))
        return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < ' ')
            return false;
    return true;
}

static void judge(tally *out, const at_fuzz_target *t, const at_bytes *b, at_status status,
                  const at_error *err, double ms)
{
    char more[160];
    size_t memory = at_memory_peak(), room = 2 * b->count + (t->memory_kib << 10);
    if (status == AT_OK) {
        out->accepted++;
        if (*err->text)
            complain(out, t, "accepted, with an error", err->text);
    } else {
        out->refused++;
        out->slowest_ms = ms > out->slowest_ms ? ms : out->slowest_ms;
        double part = (double)memory / (double)room;
        out->most_memory = part > out->most_memory ? part : out->most_memory;
        if (!is_sentence(err->text))
            complain(out, t, "refused without a sentence", err->text);
        if (status == AT_NO_MEMORY)
            complain(out, t, "ran out of memory", err->text);
        snprintf(more, sizeof more, "%.1f ms for %zu bytes", ms, b->count);
        if (ms > REFUSAL_MS_MAX && at_memory_is_counted())
            complain(out, t, "refused late", more);
        snprintf(more, sizeof more, "%zu bytes for a file of %zu", memory, b->count);
        if (memory > room)
            complain(out, t, "took much memory", more);
    }
    snprintf(more, sizeof more, "%zu bytes", at_memory_left());
    if (at_memory_left() > 0)
        complain(out, t, "left memory behind", more);
}

static void run_input(tally *out, const at_fuzz_target *t, at_bytes *b, const seeds *s,
                      const options *o)
{
    at_error err = { AT_OK, "" };
    bool untouched = make_input(b, s, t, out->number, o->seed);
    alarm(SECONDS_MAX);
    at_memory_start();
    double before = cpu_ms();
    at_status status = t->run(b->data, b->count, &err);
    judge(out, t, b, status, &err, cpu_ms() - before);
    out->good += untouched && status == AT_OK;
}

/* --- a target --------------------------------------------------------------------------------- */

static void run_all(tally *out, const at_fuzz_target *t, const seeds *s, const options *o)
{
    at_bytes b = { 0 };
    long long first = o->only >= 0 ? o->only : 0, end = o->only >= 0 ? o->only + 1 : o->count;
    for (out->number = first; out->number < end; out->number++)
        run_input(out, t, &b, s, o);
    if (o->only < 0 && end >= s->count && 2 * out->good < s->count)
        complain(out, t, "most seeds are refused as they are", "");
    free(b.data);
}

/* True when nothing was wrong. */
static bool run_target(const at_fuzz_target *t, const options *o)
{
    seeds s = { .count = 0 };
    take_folder(&s, o->golden, t->endings, 0);
    if (s.count == 0) {
        printf("%s: no seed *.%s under %s\n", t->name, t->endings, o->golden);
        return false;
    }
    tally *out = mmap(NULL, sizeof *out, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    AT_ASSERT(out != MAP_FAILED, "no shared memory");
    fflush(stdout);
    pid_t child = fork();
    AT_ASSERT(child >= 0, "no process for target %s", t->name);
    if (child == 0) {
        run_all(out, t, &s, o);
        exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    bool whole = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!whole)
        printf("%s: input %lld (--target %s --only %lld --seed %llu): %s\n", t->name, out->number,
               t->name, out->number, (unsigned long long)o->seed,
               WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? "hangs" : "crashes");
    printf(
        "%-12s %8lld inputs from %3d files: %7lld accepted, %7lld refused, slowest refusal %5.1f "
        "ms, most memory %3.0f %% of its limit, %lld wrong\n",
        t->name, out->accepted + out->refused, s.count, out->accepted, out->refused,
        out->slowest_ms, 100 * out->most_memory, out->wrong);
    bool good = whole && out->wrong == 0;
    munmap(out, sizeof *out);
    for (int i = 0; i < s.count; i++)
        free(s.files[i].data);
    return good;
}

static bool take_number(const char *text, long long *out)
{
    char *end;
    *out = strtoll(text, &end, 10);
    return end != text && *end == '\0' && *out >= 0;
}

static bool take_options(options *o, int argc, char **argv)
{
    long long seed = 1;
    bool good = true;
    for (int i = 1; i < argc && good; i++) {
        bool more = i + 1 < argc;
        if (!strcmp(argv[i], "--count") && more)
            good = take_number(argv[++i], &o->count);
        else if (!strcmp(argv[i], "--only") && more)
            good = take_number(argv[++i], &o->only);
        else if (!strcmp(argv[i], "--seed") && more)
            good = take_number(argv[++i], &seed);
        else if (!strcmp(argv[i], "--target") && more)
            o->target = argv[++i];
        else if (argv[i][0] != '-' && !o->golden)
            o->golden = argv[i];
        else
            good = false;
    }
    o->seed = (uint64_t)seed;
    return good && o->golden && (!o->target || at_fuzz_named(o->target));
}

int main(int argc, char **argv)
{
    options o = { .count = 1000, .only = -1 };
    if (!take_options(&o, argc, argv)) {
        fprintf(stderr, "usage: fuzz_mutate FOLDER [--count N] [--seed S] [--target NAME] "
                        "[--only NUMBER]\n");
        return 2;
    }
    printf("seed %llu\n", (unsigned long long)o.seed);
    bool good = true;
    for (int i = 0; i < at_fuzz_target_count; i++)
        if (!o.target || !strcmp(o.target, at_fuzz_targets[i].name))
            good = run_target(&at_fuzz_targets[i], &o) && good;
    return good ? 0 : 1;
}
