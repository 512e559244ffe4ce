/* memory.c -- device memory: one range, its lower half for allocations that never touch each other,
 * its upper half for a reservation that is mapped as it grows.
 *
 * Fresh memory is filled with ones (NaN). Addresses are not used again until everything is freed,
 * so that a use after a free is seen by the builds that watch addresses. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/emulator/machine.h"

#if defined(__has_feature)
#define HAS_FEATURE(name) __has_feature(name)
#else
#define HAS_FEATURE(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer)
#include <sanitizer/asan_interface.h>
#else
#define __asan_poison_memory_region(p, bytes)   ((void)(p))
#define __asan_unpoison_memory_region(p, bytes) ((void)(p))
#endif

static const size_t range_bytes = (size_t)8 << 30, half_bytes = (size_t)4 << 30;
enum { ALIGN_BYTES = 512, GAP_BYTES = 512, PAGE_BYTES = 4096 };

typedef struct block {
    char *start;
    size_t bytes;
    bool live;
} block;

static char *range;
static size_t used, bytes_live;
static block *blocks; /* by address */
static size_t n_blocks, n_live, room;
static size_t reserved, mapped; /* bytes of the upper half */

static bool have_range(void)
{
    if (range)
        return true;
    void *p = mmap(NULL, range_bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return false;
    range = p;
    return true;
}

void *at_emu_memory_take(size_t bytes)
{
    size_t whole = (bytes + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
    if (!have_range() || whole < bytes || whole > half_bytes - GAP_BYTES - used)
        return NULL;
    if (n_blocks == room) {
        size_t more = room ? 2 * room : 64;
        block *b = realloc(blocks, more * sizeof *b);
        if (!b)
            return NULL;
        blocks = b;
        room = more;
    }
    char *start = range + used;
    blocks[n_blocks++] = (block){ start, bytes, true };
    n_live++;
    bytes_live += bytes;
    used += whole + GAP_BYTES;
    __asan_unpoison_memory_region(start, whole + GAP_BYTES);
    memset(start, 0xFF, bytes);
    __asan_poison_memory_region(start + bytes, whole - bytes + GAP_BYTES);
    at_emu_watch_forget(start, whole);
    return start;
}

void *at_emu_memory_reserve(size_t bytes)
{
    if (!have_range() || reserved || !bytes || bytes > half_bytes)
        return NULL;
    reserved = bytes;
    mapped = 0;
    __asan_poison_memory_region(range + half_bytes, bytes);
    return range + half_bytes;
}

bool at_emu_memory_map(void *p, size_t bytes)
{
    if (!range || p != range + half_bytes + mapped || bytes > reserved - mapped)
        return false;
    mapped += bytes;
    __asan_unpoison_memory_region(p, bytes);
    memset(p, 0xFF, bytes);
    at_emu_watch_forget(p, bytes);
    return true;
}

bool at_emu_memory_unmap(void *p, size_t bytes)
{
    if (!range || p != range + half_bytes || bytes != mapped)
        return false;
    madvise(p, bytes, MADV_DONTNEED);
    __asan_poison_memory_region(p, bytes);
    mapped = 0;
    return true;
}

bool at_emu_memory_unreserve(void *p)
{
    if (!reserved || p != range + half_bytes || mapped)
        return false;
    reserved = 0;
    return true;
}

/* The block that holds p, or the last one before it. */
static block *find(const void *p)
{
    size_t low = 0, high = n_blocks;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (blocks[middle].start <= (const char *)p)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? &blocks[low - 1] : NULL;
}

bool at_emu_memory_give(void *p)
{
    block *b = find(p);
    if (!b || b->start != p || !b->live)
        return false;
    b->live = false;
    bytes_live -= b->bytes;
    char *first = (char *)(((uintptr_t)b->start + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES);
    char *last = (char *)((uintptr_t)(b->start + b->bytes) / PAGE_BYTES * PAGE_BYTES);
    if (last > first)
        madvise(first, (size_t)(last - first), MADV_DONTNEED);
    __asan_poison_memory_region(b->start, b->bytes);
    if (--n_live == 0)
        n_blocks = used = 0;
    return true;
}

bool at_emu_memory_covers(const void *p, size_t bytes, bool *live)
{
    const char *c = p;
    if (!range || c < range || c >= range + range_bytes)
        return false;
    if (c >= range + half_bytes) {
        *live = bytes <= mapped && (size_t)(c - range) - half_bytes <= mapped - bytes;
        return true;
    }
    const block *b = find(p);
    *live = b && b->live && bytes <= b->bytes && c <= b->start + (b->bytes - bytes);
    return true;
}

char *at_emu_memory_base(size_t *bytes)
{
    *bytes = range_bytes;
    return have_range() ? range : NULL;
}

size_t at_emu_memory_free(void)
{
    return half_bytes - used - mapped;
}

static void protect(int access)
{
    const size_t lower = (used + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    if ((lower && mprotect(range, lower, access) != 0) ||
        (mapped && mprotect(range + half_bytes, mapped, access) != 0)) {
        perror("emulator: device memory");
        abort();
    }
}

void at_emu_memory_close(void)
{
    protect(PROT_NONE);
}

void at_emu_memory_open(void)
{
    protect(PROT_READ | PROT_WRITE);
}

/* --- checked accesses of kernels/device/memory.cuh -------------------------------------------- */

static void check_access(const char *what, const void *p, size_t bytes, at_emu_place place)
{
    bool live;
    if ((uintptr_t)p % bytes)
        at_emu_fail(place, "misaligned %s of %zu bytes at %p,", what, bytes, p);
    if (!at_emu_memory_covers(p, bytes, &live))
        return;
    if (!live)
        at_emu_fail(place, "%s of %zu bytes at %p, which no allocation covers,", what, bytes, p);
    at_emu_early_touch(what, place);
}

void at_emu_load(void *value, const void *p, size_t bytes, at_emu_place place)
{
    check_access("load", p, bytes, place);
    at_emu_watch_range(p, bytes, AT_EMU_READ, place);
    memcpy(value, p, bytes);
}

void at_emu_store(void *p, const void *value, size_t bytes, at_emu_place place)
{
    check_access("store", p, bytes, place);
    at_emu_watch_range(p, bytes, AT_EMU_WRITE, place);
    memcpy(p, value, bytes);
}
