/* schedule.c -- who runs next, what holds a thread up, and what is wrong when nobody can go on.
 *
 * A thread runs until it must wait for others. A thread that ends hands its stack, still in the
 * cache, to the next one that has not begun, so a kernel without collectives never switches. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/emulator/machine.h"

enum { TEXT_BYTES = 4096 };

typedef struct warp {
    uint32_t present, arrived, exited, priority;
    uint32_t ready,
        fresh; /* with AT_EMU_RUN_AHEAD: the lanes that could run, that have not begun */
    void *data[AT_EMU_LANES];
} warp;

typedef struct group {
    int arrived;
    void *data[AT_EMU_GROUP_THREADS];
    at_emu_fibre *fibre[AT_EMU_GROUP_THREADS];
} group;

typedef struct queue {
    at_emu_fibre *fibre[AT_EMU_THREADS_MAX];
    int first, count;
} queue;

at_emu_machine at_emu_now = { .settings = { .seed = 1 } };

static at_emu_fibre fibres[AT_EMU_THREADS_MAX];
static warp warps[AT_EMU_WARPS_MAX];
static group groups[AT_EMU_THREADS_MAX / AT_EMU_GROUP_THREADS];
static queue ready, fresh;                     /* with the other orders */
static uint32_t by_priority[AT_EMU_WARPS_MAX]; /* warps of the block, the first to run first */
static uint32_t n_runnable;
static at_emu_fibre *waiting[AT_EMU_THREADS_MAX];
static int n_waiting;
static uint32_t n_done, n_barrier;
static at_emu_fibre *first_at_barrier;
static uint64_t random_state;
static bool failed;
static char fault[TEXT_BYTES];

/* --- settings and faults ---------------------------------------------------------------------- */

void at_emu_configure(const at_emu_settings *settings)
{
    at_emu_now.settings = *settings;
}

const char *at_emu_fault(void)
{
    return fault;
}

static const char *const order_names[AT_EMU_ORDER_COUNT] = { "forward", "reverse", "random",
                                                             "run-ahead" };

const char *at_emu_order_name(at_emu_order order)
{
    return order_names[order];
}

bool at_emu_option(at_emu_settings *settings, const char *arg)
{
    for (int i = 0; i < AT_EMU_ORDER_COUNT; i++)
        if (!strncmp(arg, "--order=", 8) && !strcmp(arg + 8, order_names[i])) {
            settings->order = (at_emu_order)i;
            return true;
        }
    if (!strcmp(arg, "--async=lazy") || !strcmp(arg, "--async=eager")) {
        settings->async = arg[8] == 'l' ? AT_EMU_LAZY : AT_EMU_EAGER;
        return true;
    }
    if (!strncmp(arg, "--seed=", 7)) {
        settings->seed = strtoull(arg + 7, NULL, 10);
        return true;
    }
    return false;
}

/* A launch's name is its arguments as text; the kernel is what stands before the first comma that
 * is not inside of parentheses. */
static int name_length(const char *text)
{
    int n = 0, depth = 0;
    for (; text[n] && (depth > 0 || text[n] != ','); n++)
        depth += (text[n] == '(') - (text[n] == ')');
    return n;
}

/* Only the first fault of a launch is kept: the others follow from it. */
static void keep(const char *fmt, va_list args)
{
    if (failed)
        return;
    failed = true;
    const at_emu_kernel *k = at_emu_now.kernel;
    size_t n = (size_t)snprintf(fault, sizeof fault, "%.*s: ", name_length(k->name), k->name);
    int more = vsnprintf(fault + n, sizeof fault - n, fmt, args);
    n = more > 0 && n + (size_t)more < sizeof fault ? n + (size_t)more : sizeof fault - 1;
    uint3 b = at_emu_now.block;
    if (at_emu_now.fibre)
        snprintf(fault + n, sizeof fault - n, " [block (%u,%u,%u), thread %u; launched at %s:%d]",
                 b.x, b.y, b.z, at_emu_now.fibre->id, k->place.file, k->place.line);
}

void at_emu_note(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    keep(fmt, args);
    va_end(args);
}

void at_emu_fail(at_emu_place place, const char *fmt, ...)
{
    char text[TEXT_BYTES / 2];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (!at_emu_now.fibre) {
        fprintf(stderr, "emulator: outside of a kernel: %s at %s:%d\n", text, place.file,
                place.line);
        abort();
    }
    if (place.file)
        at_emu_note("%s at %s:%d", text, place.file, place.line);
    else
        at_emu_note("%s", text);
    void *nowhere;
    at_emu_fibre_switch(&nowhere, NULL, AT_EMU_ENDS);
    abort();
}

cudaError_t at_emu_reject(const at_emu_kernel *k, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    at_emu_now.kernel = k;
    failed = false;
    keep(fmt, args);
    va_end(args);
    size_t n = strlen(fault);
    snprintf(fault + n, sizeof fault - n, " [launched at %s:%d]", k->place.file, k->place.line);
    if (!at_emu_now.settings.quiet)
        fprintf(stderr, "emulator: %s\n", fault);
    return cudaErrorInvalidConfiguration;
}

uint32_t at_emu_random(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)((random_state >> 11) % below);
}

/* --- choosing --------------------------------------------------------------------------------- */

static void push(queue *q, at_emu_fibre *f)
{
    q->fibre[(q->first + q->count++) % AT_EMU_THREADS_MAX] = f;
}

/* Takes entry i, whose place the first one fills. */
static at_emu_fibre *take(queue *q, int i)
{
    int at = (q->first + i) % AT_EMU_THREADS_MAX;
    at_emu_fibre *f = q->fibre[at];
    q->fibre[at] = q->fibre[q->first];
    q->first = (q->first + 1) % AT_EMU_THREADS_MAX;
    q->count--;
    return f;
}

static bool runs_ahead(void)
{
    return at_emu_now.settings.order == AT_EMU_RUN_AHEAD;
}

static void make_ready(at_emu_fibre *f)
{
    f->state = AT_EMU_READY;
    n_runnable++;
    if (runs_ahead())
        warps[f->warp].ready |= 1u << f->lane;
    else
        push(&ready, f);
}

static void make_fresh(at_emu_fibre *f)
{
    f->state = AT_EMU_FRESH;
    n_runnable++;
    if (runs_ahead())
        warps[f->warp].fresh |= 1u << f->lane;
    else
        push(&fresh, f);
}

static uint32_t warps_of_block(void)
{
    return (at_emu_now.threads + AT_EMU_LANES - 1) / AT_EMU_LANES;
}

/* By insertion: there are 32 at most. */
static void draw_priorities(void)
{
    for (uint32_t i = 0; i < warps_of_block(); i++) {
        uint32_t at = i;
        warps[i].priority = at_emu_random(1u << 30);
        for (; at > 0 && warps[by_priority[at - 1]].priority < warps[i].priority; at--)
            by_priority[at] = by_priority[at - 1];
        by_priority[at] = i;
    }
}

static at_emu_fibre *choose_ahead(void)
{
    uint32_t i = 0;
    while (!warps[by_priority[i]].ready && !warps[by_priority[i]].fresh)
        i++;
    warp *w = &warps[by_priority[i]];
    uint32_t *lanes = w->ready ? &w->ready : &w->fresh;
    uint32_t lane = (uint32_t)__builtin_ctz(*lanes);
    *lanes &= *lanes - 1;
    return &fibres[by_priority[i] * AT_EMU_LANES + lane];
}

static at_emu_fibre *choose(void)
{
    n_runnable--;
    if (runs_ahead())
        return choose_ahead();
    if (at_emu_now.settings.order == AT_EMU_RANDOM) {
        int i = (int)at_emu_random((uint32_t)(ready.count + fresh.count));
        return i < ready.count ? take(&ready, i) : take(&fresh, i - ready.count);
    }
    return take(ready.count > 0 ? &ready : &fresh, 0);
}

static bool wake_waiting(void)
{
    int kept = 0, before = n_waiting;
    for (int i = 0; i < before; i++) {
        at_emu_fibre *f = waiting[i];
        if (f->ready(f->ready_argument))
            make_ready(f);
        else
            waiting[kept++] = f;
    }
    n_waiting = kept;
    return kept < before;
}

static at_emu_fibre *pick(void)
{
    do {
        if (n_runnable > 0)
            return choose();
    } while (wake_waiting() || at_emu_async_deliver());
    return NULL;
}

static bool waits_alike(const at_emu_fibre *a, const at_emu_fibre *b)
{
    return a->state != AT_EMU_DONE && b->state != AT_EMU_DONE && a->what == b->what &&
           a->place.line == b->place.line && a->place.file == b->place.file;
}

static void report_stuck(void)
{
    char text[TEXT_BYTES / 4];
    size_t n = 0;
    for (uint32_t i = 0; i < at_emu_now.threads && n < sizeof text - 256; i++) {
        uint32_t alike = 0, before = 0;
        for (uint32_t j = 0; j < at_emu_now.threads; j++) {
            alike += waits_alike(&fibres[i], &fibres[j]);
            before += j < i && waits_alike(&fibres[i], &fibres[j]);
        }
        if (alike > 0 && before == 0)
            n += (size_t)snprintf(text + n, sizeof text - n,
                                  "%s %u (from thread %u) in %s at %s:%d", n ? ";" : "", alike, i,
                                  fibres[i].what, fibres[i].place.file, fibres[i].place.line);
    }
    at_emu_fail((at_emu_place){ NULL, 0 }, "deadlock: %u of %u threads have ended, there wait:%s",
                n_done, at_emu_now.threads, text);
}

static void on_exit_checks(at_emu_fibre *f)
{
    warp *w = &warps[f->warp];
    for (int i = 0; i < AT_EMU_LANES; i++) {
        const at_emu_fibre *g = &fibres[f->warp * AT_EMU_LANES + (uint32_t)i];
        if ((w->arrived >> i & 1) && (g->mask >> f->lane & 1))
            at_emu_fail(g->place, "thread %u ends, lane %d of its warp waits for it in %s", f->id,
                        i, g->what);
    }
    at_emu_copy_exit(f);
    at_emu_early_exit(f);
    if (n_barrier > 0)
        at_emu_fail(first_at_barrier->place, "thread %u ends, %u threads wait in __syncthreads",
                    f->id, n_barrier);
    w->exited |= 1u << f->lane;
    f->state = AT_EMU_DONE;
    n_done++;
}

static void enter(void)
{
    at_emu_fibre_entered();
    for (;;) {
        at_emu_fibre *me = at_emu_now.fibre;
        me->state = AT_EMU_READY;
        at_emu_now.kernel->body(at_emu_now.kernel->args);
        on_exit_checks(me);
        at_emu_fibre *next = pick();
        if (!next && n_done < at_emu_now.threads)
            report_stuck();
        if (next && !next->stack) {
            next->stack = me->stack;
            me->stack = NULL;
            at_emu_now.fibre = next;
            continue;
        }
        void *nowhere;
        at_emu_fibre_give(me->stack);
        me->stack = NULL;
        at_emu_now.fibre = next;
        at_emu_fibre_switch(&nowhere, next, AT_EMU_ENDS);
    }
}

static void yield(void)
{
    at_emu_fibre *me = at_emu_now.fibre, *next = pick();
    if (!next)
        report_stuck();
    if (next == me)
        return;
    if (!next->stack)
        at_emu_fibre_start(next, enter);
    at_emu_now.fibre = next;
    at_emu_fibre_switch(&me->stack_pointer, next, AT_EMU_STAYS);
}

/* --- what holds a thread up ------------------------------------------------------------------- */

static at_emu_fibre *asks(const char *what, at_emu_place place)
{
    at_emu_fibre *f = at_emu_now.fibre;
    if (!f)
        at_emu_fail(place, "%s", what);
    f->what = what;
    f->place = place;
    return f;
}

static inline bool same_place(at_emu_place a, at_emu_place b)
{
    return a.line == b.line && (a.file == b.file || !strcmp(a.file, b.file));
}

static void release_all(at_emu_fibre *const *list, int n, const at_emu_fibre *but)
{
    bool back = at_emu_now.settings.order == AT_EMU_REVERSE;
    for (int i = 0; i < n; i++) {
        at_emu_fibre *f = list[back ? n - 1 - i : i];
        if (f && f != but)
            make_ready(f);
    }
}

void at_emu_barrier(at_emu_place place)
{
    static at_emu_fibre *all[AT_EMU_THREADS_MAX];
    at_emu_fibre *f = asks("__syncthreads", place);
    if (n_done > 0)
        at_emu_fail(place, "__syncthreads, but %u threads have ended,", n_done);
    if (n_barrier == 0)
        first_at_barrier = f;
    else if (!same_place(first_at_barrier->place, place))
        at_emu_fail(place, "divergent __syncthreads: thread %u is at %s:%d, thread %u",
                    first_at_barrier->id, first_at_barrier->place.file,
                    first_at_barrier->place.line, f->id);
    f->state = AT_EMU_WAITS;
    if (++n_barrier < at_emu_now.threads) {
        yield();
        return;
    }
    at_emu_watch_barrier();
    n_barrier = 0;
    for (uint32_t i = 0; i < at_emu_now.threads; i++)
        all[i] = &fibres[i];
    release_all(all, (int)at_emu_now.threads, f);
    f->state = AT_EMU_READY;
}

static void check_alike(const at_emu_fibre *f, const at_emu_fibre *g)
{
    if (g->act != f->act || g->mask != f->mask || g->what != f->what ||
        !same_place(g->place, f->place))
        at_emu_fail(
            f->place, "divergent warp: lane %u in %s (mask %08x) at %s:%d, lane %u in %s (%08x)",
            g->lane, g->what, g->mask, g->place.file, g->place.line, f->lane, f->what, f->mask);
}

void at_emu_warp(uint32_t mask, void *data, at_emu_act_fn act, void *context, const char *what,
                 at_emu_place place)
{
    at_emu_fibre *f = asks(what, place), *lanes[AT_EMU_LANES] = { NULL };
    warp *w = &warps[f->warp];
    uint32_t want = mask & w->present;
    if (!(mask >> f->lane & 1))
        at_emu_fail(place, "%s: the calling lane %u is not in its mask %08x", what, f->lane, mask);
    if (want & w->exited)
        at_emu_fail(place, "%s: mask %08x names lanes that have ended (%08x)", what, mask,
                    want & w->exited);
    f->mask = mask;
    f->act = act;
    w->data[f->lane] = data;
    w->arrived |= 1u << f->lane;
    f->state = AT_EMU_WAITS;
    if ((w->arrived & want) != want) {
        yield();
        return;
    }
    for (int i = 0; i < AT_EMU_LANES; i++)
        if (want >> i & 1) {
            lanes[i] = &fibres[f->warp * AT_EMU_LANES + (uint32_t)i];
            check_alike(f, lanes[i]);
        }
    w->arrived &= ~want;
    act(w->data, want, context);
    release_all(lanes, AT_EMU_LANES, f);
    f->state = AT_EMU_READY;
}

void at_emu_group(void *data, at_emu_act_fn act, void *context, const char *what,
                  at_emu_place place)
{
    at_emu_fibre *f = asks(what, place);
    uint32_t at = f->id / AT_EMU_GROUP_THREADS;
    group *g = &groups[at];
    if ((at + 1) * AT_EMU_GROUP_THREADS > at_emu_now.threads)
        at_emu_fail(place, "%s: the warpgroup is not complete,", what);
    if (g->arrived && (g->fibre[0]->act != act || !same_place(g->fibre[0]->place, place)))
        at_emu_fail(place, "divergent warpgroup: %s at %s:%d and %s", g->fibre[0]->what,
                    g->fibre[0]->place.file, g->fibre[0]->place.line, what);
    f->act = act;
    f->state = AT_EMU_WAITS;
    g->data[f->id % AT_EMU_GROUP_THREADS] = data;
    g->fibre[g->arrived++] = f;
    if (g->arrived < AT_EMU_GROUP_THREADS) {
        yield();
        return;
    }
    act(g->data, AT_EMU_GROUP_THREADS, context);
    g->arrived = 0;
    release_all(g->fibre, AT_EMU_GROUP_THREADS, f);
    f->state = AT_EMU_READY;
}

void at_emu_wait(at_emu_ready_fn is_ready, void *argument, const char *what, at_emu_place place)
{
    at_emu_fibre *f = asks(what, place);
    if (is_ready(argument))
        return;
    f->ready = is_ready;
    f->ready_argument = argument;
    f->state = AT_EMU_WAITS;
    waiting[n_waiting++] = f;
    yield();
}

/* --- launches --------------------------------------------------------------------------------- */

static cudaError_t check_limits(const at_emu_kernel *k)
{
    dim3 g = k->grid, b = k->block;
    uint64_t threads = (uint64_t)b.x * b.y * b.z;
    if (threads == 0 || threads > AT_EMU_THREADS_MAX || b.z > 64)
        return at_emu_reject(k, "a block of (%u,%u,%u) threads; 1 to 1024 are possible", b.x, b.y,
                             b.z);
    if (!g.x || !g.y || !g.z || g.x > INT32_MAX || g.y > UINT16_MAX || g.z > UINT16_MAX)
        return at_emu_reject(k, "a grid of (%u,%u,%u) blocks", g.x, g.y, g.z);
    int limit = at_emu_shared_limit(k->function);
    if (k->shared_bytes > (size_t)limit)
        return at_emu_reject(k, "%zu bytes of dynamic shared memory; %d are allowed to this kernel",
                             k->shared_bytes, limit);
    return cudaSuccess;
}

static void lay_out_threads(dim3 b, uint32_t threads)
{
    for (uint32_t i = 0; i < threads; i++) {
        at_emu_fibre *f = &fibres[i];
        *f = (at_emu_fibre){ .id = i, .lane = i % AT_EMU_LANES, .warp = i / AT_EMU_LANES };
        f->thread = make_uint3(i % b.x, i / b.x % b.y, i / (b.x * b.y));
    }
    for (uint32_t i = 0; i < AT_EMU_WARPS_MAX; i++) {
        uint32_t n = threads > i * AT_EMU_LANES ? threads - i * AT_EMU_LANES : 0;
        warps[i] = (warp){ .present = n >= AT_EMU_LANES ? ~0u : (1u << n) - 1 };
    }
}

static void begin_block(uint64_t number)
{
    dim3 g = at_emu_now.grid_size;
    at_emu_now.block = make_uint3((unsigned)(number % g.x), (unsigned)(number / g.x % g.y),
                                  (unsigned)(number / ((uint64_t)g.x * g.y)));
    uint32_t n = at_emu_now.threads;
    ready.count = fresh.count = n_waiting = 0;
    n_done = n_barrier = n_runnable = 0;
    for (uint32_t i = 0; i < AT_EMU_WARPS_MAX; i++)
        warps[i].arrived = warps[i].exited = warps[i].ready = warps[i].fresh = 0;
    draw_priorities();
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        groups[i].arrived = 0;
    for (uint32_t i = 0; i < n; i++) {
        at_emu_fibre *f = &fibres[at_emu_now.settings.order == AT_EMU_REVERSE ? n - 1 - i : i];
        f->waited = false;
        f->what = "nothing";
        make_fresh(f);
    }
    at_emu_async_reset();
    at_emu_wgmma_reset();
    at_emu_shared_poison();
    at_emu_watch_block();
}

static void run_block(uint64_t number)
{
    begin_block(number);
    at_emu_fibre *first = choose();
    at_emu_fibre_start(first, enter);
    at_emu_now.fibre = first;
    at_emu_fibre_switch(NULL, first, AT_EMU_STAYS);
    if (!failed)
        at_emu_wgmma_exit();
    at_emu_now.fibre = NULL;
}

cudaError_t at_emu_run(const at_emu_kernel *k)
{
    fault[0] = '\0';
    cudaError_t status = check_limits(k);
    if (status != cudaSuccess)
        return status;
    failed = false;
    at_emu_now.kernel = k;
    at_emu_now.grid_size = k->grid;
    at_emu_now.block_size = k->block;
    at_emu_now.threads = k->block.x * k->block.y * k->block.z;
    random_state = at_emu_now.settings.seed * 0x9E3779B97F4A7C15u + 88172645463325252u;
    lay_out_threads(k->block, at_emu_now.threads);
    at_emu_shared_launch(k->shared_bytes);
    at_emu_watch_launch();
    at_emu_early_launch();
    uint64_t blocks = (uint64_t)k->grid.x * k->grid.y * k->grid.z;
    bool back = at_emu_now.settings.order == AT_EMU_REVERSE;
    for (uint64_t i = 0; i < blocks && !failed; i++)
        run_block(back ? blocks - 1 - i : i);
    at_emu_early_end();
    for (uint32_t i = 0; i < at_emu_now.threads; i++)
        if (fibres[i].stack)
            at_emu_fibre_give(fibres[i].stack);
    if (!failed)
        return cudaSuccess;
    if (!at_emu_now.settings.quiet)
        fprintf(stderr, "emulator: %s\n", fault);
    return cudaErrorLaunchFailure;
}
