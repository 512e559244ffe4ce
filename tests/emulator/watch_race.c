/* watch_race.c -- every access of a kernel, watched.
 *
 * Kernels are compiled with -fsanitize=thread, which puts a call before each access, and linked
 * without that sanitizer's runtime: the calls land here. The watcher knows what a thread sanitizer
 * does not: blocks, barriers, shared memory. It reports accesses that nothing orders, reads of
 * memory that nobody wrote, and addresses outside of every array, with the line of each.
 *
 * What orders: a launch, a barrier of the block (it begins an era), and inside an era __syncwarp
 * and mbarriers (vector clocks). Shuffles do not order memory. */
#define _GNU_SOURCE

#include <dlfcn.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/emulator/machine.h"

enum {
    GRAIN = 2, /* bytes of a cell; a record says which of them */
    FLAG_ATOMIC = 4,
    OBJECTS_MAX = 64,
    PLACES_MAX = 4096,
    PAGE_BYTES = 4096,
};
static const char source_root[] = AT_SOURCE_DIR "/";
static const uint32_t place_bit = 1u << 31;

typedef struct record {
    uint32_t era, site;
    uint16_t clock, thread, flags, unused;
} record;

typedef struct cell {
    record write, read[2];
} cell;

typedef struct region {
    char *base;
    size_t bytes;
    cell *cells;
    uint8_t *written; /* a bit for each byte */
    bool shared;
} region;

typedef struct object {
    const void *address;
    uint32_t era;
    uint16_t clock[AT_EMU_THREADS_MAX];
} object;

static region device, shared = { .shared = true };
static uint32_t era = 1, launch_era = 1, block_era = 1;
static uint16_t clocks[AT_EMU_THREADS_MAX][AT_EMU_THREADS_MAX];
static uint32_t clocks_era[AT_EMU_THREADS_MAX];
static object objects[OBJECTS_MAX];
static int n_objects;
static at_emu_place places[PLACES_MAX];
static uint32_t n_places;
static char *program;
static bool position_independent;

bool at_emu_watched(void)
{
    return true;
}

/* --- regions ---------------------------------------------------------------------------------- */

static void *map_lazily(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (p == MAP_FAILED) {
        perror("emulator: memory to watch accesses");
        abort();
    }
    return p;
}

static void open_region(region *r, char *base, size_t bytes)
{
    r->base = base;
    r->bytes = bytes;
    r->cells = map_lazily(bytes / GRAIN * sizeof *r->cells);
    r->written = map_lazily(bytes / 8);
}

static void open_all(void)
{
    if (device.cells)
        return;
    size_t bytes;
    char *base = at_emu_memory_base(&bytes);
    open_region(&device, base, bytes);
    base = at_emu_shared_base(&bytes);
    open_region(&shared, base, bytes);
    Dl_info info;
    if (dladdr((void *)(uintptr_t)at_emu_watched, &info)) {
        program = info.dli_fbase;
        position_independent = ((const Elf64_Ehdr *)(const void *)program)->e_type == ET_DYN;
    }
}

static region *region_of(const void *p)
{
    const char *c = p;
    if (c >= shared.base && c < shared.base + shared.bytes)
        return &shared;
    if (c >= device.base && c < device.base + device.bytes)
        return &device;
    return NULL;
}

typedef enum mark_as { UNWRITTEN, WRITTEN } mark_as;

static void mark(const region *r, const void *p, size_t bytes, mark_as written)
{
    size_t at = (size_t)((const char *)p - r->base), end = at + bytes;
    for (; at < end && (at % 8 || end - at < 8); at++)
        r->written[at / 8] = (uint8_t)(written ? r->written[at / 8] | 1 << at % 8
                                               : r->written[at / 8] & ~(1 << at % 8));
    memset(r->written + at / 8, written ? 0xFF : 0, (end - at) / 8);
    at += (end - at) / 8 * 8;
    if (at < end)
        mark(r, r->base + at, end - at, written);
}

static bool all_written(const region *r, size_t at, size_t bytes)
{
    for (size_t i = at; i < at + bytes; i++)
        if (!(r->written[i / 8] >> i % 8 & 1))
            return false;
    return true;
}

void at_emu_watch_written(const void *p, size_t bytes)
{
    open_all();
    const region *r = region_of(p);
    if (r)
        mark(r, p, bytes, WRITTEN);
}

void at_emu_watch_pending(const void *p, size_t bytes)
{
    const region *r = region_of(p);
    if (r)
        mark(r, p, bytes, UNWRITTEN);
}

void at_emu_watch_forget(const void *p, size_t bytes)
{
    open_all();
    const region *r = region_of(p);
    mark(r, p, bytes, UNWRITTEN);
    char *first = (char *)&r->cells[(size_t)((const char *)p - r->base) / GRAIN];
    char *last = first + bytes / GRAIN * sizeof(cell);
    char *from = (char *)(((uintptr_t)first + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES);
    char *to = (char *)((uintptr_t)last / PAGE_BYTES * PAGE_BYTES);
    if (from >= to) {
        memset(first, 0, (size_t)(last - first));
        return;
    }
    memset(first, 0, (size_t)(from - first));
    madvise(from, (size_t)(to - from), MADV_DONTNEED);
    memset(to, 0, (size_t)(last - to));
}

/* --- order ------------------------------------------------------------------------------------ */

void at_emu_watch_launch(void)
{
    open_all();
    launch_era = ++era;
}

void at_emu_watch_block(void)
{
    block_era = ++era;
    n_objects = 0;
    memset(shared.written, 0, shared.bytes / 8);
}

void at_emu_watch_barrier(void)
{
    era++;
}

/* What this thread knows of the others in this era. */
static uint16_t *clock_of(uint32_t thread)
{
    if (clocks_era[thread] != era) {
        memset(clocks[thread], 0, at_emu_now.threads * sizeof **clocks);
        clocks[thread][thread] = 1;
        clocks_era[thread] = era;
    }
    return clocks[thread];
}

static void join(uint16_t *into, const uint16_t *from)
{
    for (uint32_t i = 0; i < at_emu_now.threads; i++)
        into[i] = from[i] > into[i] ? from[i] : into[i];
}

void at_emu_watch_warp(uint32_t warp, uint32_t mask)
{
    static uint16_t all[AT_EMU_THREADS_MAX];
    if ((uint32_t)__builtin_popcount(mask) == at_emu_now.threads) {
        era++;
        return;
    }
    memset(all, 0, sizeof all);
    for (uint32_t i = 0; i < AT_EMU_LANES; i++)
        if (mask >> i & 1)
            join(all, clock_of(warp * AT_EMU_LANES + i));
    for (uint32_t i = 0; i < AT_EMU_LANES; i++)
        if (mask >> i & 1) {
            uint32_t t = warp * AT_EMU_LANES + i;
            memcpy(clocks[t], all, sizeof all);
            clocks[t][t]++;
        }
}

static object *object_at(const void *address)
{
    int i = 0;
    while (i < n_objects && objects[i].address != address)
        i++;
    if (i == OBJECTS_MAX)
        at_emu_fail((at_emu_place){ NULL, 0 }, "more than %d mbarriers in a block", OBJECTS_MAX);
    object *o = &objects[i];
    if (i == n_objects || o->era != era)
        *o = (object){ .address = address, .era = era };
    n_objects += i == n_objects;
    return o;
}

void at_emu_watch_release(const void *address)
{
    uint32_t me = at_emu_now.fibre->id;
    join(object_at(address)->clock, clock_of(me));
    clocks[me][me]++;
}

void at_emu_watch_acquire(const void *address)
{
    join(clock_of(at_emu_now.fibre->id), object_at(address)->clock);
}

static bool is_ordered(const record *old, bool in_shared)
{
    uint32_t me = at_emu_now.fibre->id;
    if (old->era < launch_era)
        return true;
    if (old->era < block_era)
        return in_shared;
    return old->era < era || old->thread == me || clock_of(me)[old->thread] >= old->clock;
}

/* --- reports ---------------------------------------------------------------------------------- */

/* A line of the kernel, not of the wrappers it is inlined through. */
static bool is_wrapper(const char *line)
{
    return strstr(line, "tests/emulator/builtins") || strstr(line, "tests/emulator/twin") ||
           strstr(line, "tests/emulator/numbers") || strstr(line, "kernels/device/") ||
           line[0] == '?';
}

static const char *where(uint32_t site, char text[512])
{
    if (site & place_bit) {
        const at_emu_place *p = &places[site & ~place_bit];
        snprintf(text, 512, "%s:%d", p->file, p->line);
        return text;
    }
    char command[256], line[512];
    size_t base = position_independent ? 0 : (size_t)program;
    snprintf(command, sizeof command, "addr2line -i -e /proc/%d/exe %#zx", (int)getpid(),
             base + site - 1);
    snprintf(text, 512, "(addr2line is missing: %#zx)", base + site);
    FILE *f = popen(command, "r");
    if (!f)
        return text;
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, " \n")] = '\0';
        size_t root =
            strncmp(line, source_root, sizeof source_root - 1) ? 0 : sizeof source_root - 1;
        snprintf(text, 512, "%s", line + root);
        if (!is_wrapper(line))
            break;
    }
    while (fgets(line, sizeof line, f))
        ;
    pclose(f);
    return text;
}

static void report_race(const region *r, const record *old, at_emu_access was, uint32_t site,
                        at_emu_access now)
{
    static const char *const names[] = { "read", "write", "atomic" };
    char here[512], there[512];
    if (at_emu_fault()[0])
        return;
    bool other_block = old->era < block_era;
    at_emu_note("race in %s memory: %s at %s, and %s by thread %u of %s at %s, with nothing that"
                " orders them",
                r->shared ? "shared" : "global", names[now], where(site, here),
                names[old->flags & FLAG_ATOMIC ? AT_EMU_ATOMIC : was], old->thread,
                other_block ? "another block" : "this block", where(old->site, there));
}

static void report_address(const region *r, const void *p, size_t bytes, const char *what,
                           uint32_t site)
{
    char here[512];
    if (!at_emu_fault()[0])
        at_emu_note("%s memory: %zu bytes at %p %s, at %s", r->shared ? "shared" : "global", bytes,
                    p, what, where(site, here));
}

/* --- accesses --------------------------------------------------------------------------------- */

static bool clash(const record *old, const record *now, bool in_shared)
{
    return (old->flags & now->flags & 3) && !(old->flags & now->flags & FLAG_ATOMIC) &&
           !is_ordered(old, in_shared);
}

static void see(const region *r, cell *c, const record *now, at_emu_access access)
{
    if (clash(&c->write, now, r->shared))
        report_race(r, &c->write, AT_EMU_WRITE, now->site, access);
    if (access != AT_EMU_READ) {
        for (int i = 0; i < 2; i++)
            if (clash(&c->read[i], now, r->shared))
                report_race(r, &c->read[i], AT_EMU_READ, now->site, access);
        c->write = *now;
        return;
    }
    /* Two readers of an era are kept: the first, and the latest of another thread. */
    const record *first = &c->read[0];
    bool replace = first->era != now->era || first->thread == now->thread;
    c->read[replace ? 0 : 1] = *now;
}

static void watch(const void *p, size_t bytes, at_emu_access access, uint32_t site)
{
    if (!at_emu_now.fibre || bytes == 0)
        return;
    const region *r = region_of(p);
    if (!r)
        return;
    bool live = r->shared && at_emu_shared_holds(p, bytes);
    if (!r->shared)
        at_emu_memory_covers(p, bytes, &live);
    if (!live) {
        report_address(r, p, bytes, "belong to no array", site);
        return;
    }
    size_t at = (size_t)((const char *)p - r->base);
    if (access != AT_EMU_WRITE && !all_written(r, at, bytes))
        report_address(r, p, bytes, "are read, which nobody wrote yet", site);
    if (access != AT_EMU_READ)
        mark(r, p, bytes, WRITTEN);
    uint32_t me = at_emu_now.fibre->id;
    record now = { era, site, clock_of(me)[me], (uint16_t)me, 0, 0 };
    for (size_t i = at / GRAIN; i <= (at + bytes - 1) / GRAIN; i++) {
        bool low = at <= i * GRAIN, high = at + bytes > i * GRAIN + 1;
        now.flags = (uint16_t)((low ? 1 : 0) | (high ? 2 : 0) |
                               (access == AT_EMU_ATOMIC ? FLAG_ATOMIC : 0));
        see(r, &r->cells[i], &now, access);
    }
}

static uint32_t site_of(at_emu_place place)
{
    uint32_t i = 0;
    while (i < n_places && (places[i].line != place.line || places[i].file != place.file))
        i++;
    if (i == n_places && n_places < PLACES_MAX)
        places[n_places++] = place;
    return i < PLACES_MAX ? place_bit | i : 0;
}

void at_emu_watch_range(const void *p, size_t bytes, at_emu_access access, at_emu_place place)
{
    watch(p, bytes, access, site_of(place));
}

/* --- the compiler's calls --------------------------------------------------------------------- */

#define SITE ((uint32_t)((const char *)__builtin_return_address(0) - program))

#define ACCESSES(bytes)                               \
    void __tsan_read##bytes(void *p);                 \
    void __tsan_write##bytes(void *p);                \
    void __tsan_unaligned_read##bytes(void *p);       \
    void __tsan_unaligned_write##bytes(void *p);      \
    void __tsan_read_write##bytes(void *p);           \
    void __tsan_unaligned_read_write##bytes(void *p); \
    void __tsan_read##bytes(void *p)                  \
    {                                                 \
        watch(p, bytes, AT_EMU_READ, SITE);           \
    }                                                 \
    void __tsan_write##bytes(void *p)                 \
    {                                                 \
        watch(p, bytes, AT_EMU_WRITE, SITE);          \
    }                                                 \
    void __tsan_unaligned_read##bytes(void *p)        \
    {                                                 \
        watch(p, bytes, AT_EMU_READ, SITE);           \
    }                                                 \
    void __tsan_unaligned_write##bytes(void *p)       \
    {                                                 \
        watch(p, bytes, AT_EMU_WRITE, SITE);          \
    }                                                 \
    void __tsan_read_write##bytes(void *p)            \
    {                                                 \
        watch(p, bytes, AT_EMU_READ, SITE);           \
        watch(p, bytes, AT_EMU_WRITE, SITE);          \
    }                                                 \
    void __tsan_unaligned_read_write##bytes(void *p)  \
    {                                                 \
        watch(p, bytes, AT_EMU_READ, SITE);           \
        watch(p, bytes, AT_EMU_WRITE, SITE);          \
    }
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)

void __tsan_read_range(void *p, size_t bytes);
void __tsan_write_range(void *p, size_t bytes);
void *__tsan_memcpy(void *dst, const void *src, size_t bytes);
void *__tsan_memset(void *dst, int value, size_t bytes);
void *__tsan_memmove(void *dst, const void *src, size_t bytes);
char __tsan_atomic8_load(const char *p, int order);
void __tsan_init(void);
void __tsan_func_entry(void *pc);
void __tsan_func_exit(void);

void __tsan_read_range(void *p, size_t bytes)
{
    watch(p, bytes, AT_EMU_READ, SITE);
}

void __tsan_write_range(void *p, size_t bytes)
{
    watch(p, bytes, AT_EMU_WRITE, SITE);
}

void *__tsan_memcpy(void *dst, const void *src, size_t bytes)
{
    watch(src, bytes, AT_EMU_READ, SITE);
    watch(dst, bytes, AT_EMU_WRITE, SITE);
    return memcpy(dst, src, bytes);
}

void *__tsan_memset(void *dst, int value, size_t bytes)
{
    watch(dst, bytes, AT_EMU_WRITE, SITE);
    return memset(dst, value, bytes);
}

void *__tsan_memmove(void *dst, const void *src, size_t bytes)
{
    watch(src, bytes, AT_EMU_READ, SITE);
    watch(dst, bytes, AT_EMU_WRITE, SITE);
    return memmove(dst, src, bytes);
}

/* The guard of a static variable in host code. */
char __tsan_atomic8_load(const char *p, int order)
{
    (void)order;
    return *p;
}

void __tsan_init(void)
{
}

void __tsan_func_entry(void *pc)
{
    (void)pc;
}

void __tsan_func_exit(void)
{
}
