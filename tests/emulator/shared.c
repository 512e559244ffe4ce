/* shared.c -- the block's shared memory: dynamic bytes first, then the arrays of the kernel, each
 * behind a gap that nobody may touch.
 *
 * All of it is filled with ones before each block, which is NaN in every floating format, so that
 * what nobody wrote is seen in the result. The window begins at 1024, as on sm_90. */
#include <stdio.h>
#include <stdlib.h>

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

enum {
    WINDOW_BYTES = 512 << 10,
    WINDOW_START = 1024,
    GAP_BYTES = 128,
    ALIGN_BYTES = 128,
    ARRAYS_MAX = 64,
    POISON = 0xFF,
};

typedef struct array {
    const void *key;
    char *start;
    size_t bytes;
} array;

static _Alignas(1024) char window[WINDOW_BYTES];
static size_t dynamic_bytes, arrays_bytes, used;
static array arrays[ARRAYS_MAX];
static int n_arrays;

static size_t rounded(size_t bytes)
{
    return (bytes + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
}

void at_emu_shared_launch(size_t bytes)
{
    dynamic_bytes = bytes;
    arrays_bytes = 0;
    used = rounded(bytes) + GAP_BYTES;
    n_arrays = 0;
    __asan_poison_memory_region(window, sizeof window);
    __asan_unpoison_memory_region(window, bytes);
}

void at_emu_shared_poison(void)
{
    memset(window, POISON, dynamic_bytes);
    for (int i = 0; i < n_arrays; i++)
        memset(arrays[i].start, POISON, arrays[i].bytes);
}

void *at_emu_shared_dynamic(void)
{
    return window;
}

void *at_emu_shared_array(const void *key, size_t bytes, at_emu_place place)
{
    for (int i = 0; i < n_arrays; i++)
        if (arrays[i].key == key)
            return arrays[i].start;
    arrays_bytes += bytes;
    if (arrays_bytes > AT_EMU_SHARED_DEFAULT)
        at_emu_fail(place, "%zu bytes of static shared memory; %d are possible,", arrays_bytes,
                    AT_EMU_SHARED_DEFAULT);
    if (arrays_bytes + dynamic_bytes > AT_EMU_SHARED_MAX)
        at_emu_fail(place, "%zu bytes of shared memory, static and dynamic; %d are possible,",
                    arrays_bytes + dynamic_bytes, AT_EMU_SHARED_MAX);
    if (n_arrays == ARRAYS_MAX)
        at_emu_fail(place, "more than %d shared arrays in a kernel", ARRAYS_MAX);
    array *a = &arrays[n_arrays++];
    *a = (array){ key, window + used, bytes };
    used += rounded(bytes) + GAP_BYTES;
    __asan_unpoison_memory_region(a->start, bytes);
    memset(a->start, POISON, bytes);
    return a->start;
}

static bool inside(const char *c, size_t bytes, const char *start, size_t size)
{
    return c >= start && bytes <= size && c <= start + (size - bytes);
}

bool at_emu_shared_holds(const void *p, size_t bytes)
{
    if (inside(p, bytes, window, dynamic_bytes))
        return true;
    for (int i = 0; i < n_arrays; i++)
        if (inside(p, bytes, arrays[i].start, arrays[i].bytes))
            return true;
    return false;
}

uint32_t at_emu_shared_address(const void *p, at_emu_place place)
{
    const char *c = p;
    if (c < window || c >= window + WINDOW_BYTES)
        at_emu_fail(place, "%p is not an address of shared memory,", p);
    return (uint32_t)(c - window) + WINDOW_START;
}

void *at_emu_shared_pointer(uint32_t address, size_t bytes, at_emu_place place)
{
    char *p = window + (address - WINDOW_START);
    if (address < WINDOW_START || address - WINDOW_START >= WINDOW_BYTES ||
        !at_emu_shared_holds(p, bytes))
        at_emu_fail(place, "shared address 0x%x lies in none of the block's arrays,", address);
    return p;
}

char *at_emu_shared_base(size_t *bytes)
{
    *bytes = sizeof window;
    return window;
}
