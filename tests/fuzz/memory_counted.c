/* memory_counted.c -- malloc and its kin of the whole process, counted. glibc's own allocator does
 * the work under its other names. */
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "tests/fuzz/memory.h"

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *p, size_t bytes);
void *__libc_memalign(size_t align, size_t bytes);
void __libc_free(void *p);

static atomic_llong held, peak, start;

static void *count(void *p)
{
    if (!p)
        return NULL;
    long long more = (long long)malloc_usable_size(p), worst = atomic_load(&peak);
    long long now = atomic_fetch_add(&held, more) + more;
    while (now > worst && !atomic_compare_exchange_weak(&peak, &worst, now))
        continue;
    return p;
}

static void drop(void *p)
{
    if (p)
        held -= (long long)malloc_usable_size(p);
}

void *malloc(size_t bytes)
{
    return count(__libc_malloc(bytes));
}

void *calloc(size_t n, size_t bytes)
{
    return count(__libc_calloc(n, bytes));
}

void *realloc(void *p, size_t bytes)
{
    long long before = p ? (long long)malloc_usable_size(p) : 0;
    void *moved = __libc_realloc(p, bytes);
    if (moved || bytes == 0)
        held -= before;
    return count(moved);
}

void *aligned_alloc(size_t align, size_t bytes)
{
    return count(__libc_memalign(align, bytes));
}

void *memalign(size_t align, size_t bytes)
{
    return count(__libc_memalign(align, bytes));
}

int posix_memalign(void **p, size_t align, size_t bytes)
{
    *p = count(__libc_memalign(align, bytes));
    return *p ? 0 : 12;
}

void free(void *p)
{
    drop(p);
    __libc_free(p);
}

bool at_memory_is_counted(void)
{
    return true;
}

void at_memory_start(void)
{
    start = (long long)held;
    peak = (long long)held;
}

size_t at_memory_peak(void)
{
    return (size_t)(peak - start);
}

size_t at_memory_left(void)
{
    return held > start ? (size_t)(held - start) : 0;
}
