/* device_cpu.c -- the host as a device: its memory is mapped in whole pages of its own, on huge
 * pages where the system gives them, and work is done when a call returns. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/device.h"
#include "engine/machine.h"
#include "kernels/cpu.h"

static at_status cpu_open(at_device *d, const at_device_options *options, at_error *err)
{
    enum { THREADS_MAX = 1024 };
    uint32_t has = at_cpu_probe();
    d->caps = (at_caps){ AT_CPU, has | at_machine_fast_types(has), at_cpu_cores(), 0 };
    if (options->isa && !at_cpu_cap(&d->caps.has, options->isa))
        return at_fail(err, AT_INVALID, "'%s' is not an instruction set of the cpu device",
                       options->isa);
    if (options->threads < 0 || options->threads > THREADS_MAX)
        return at_fail(err, AT_INVALID, "%d threads: expected 1 to %d, or 0 for one per core",
                       options->threads, (int)THREADS_MAX);
    if (options->threads)
        d->caps.threads = options->threads;
    at_cpu_limit(d->caps.has);
    d->stream = (at_stream){ AT_CPU, d->caps.threads, NULL };
    return AT_OK;
}

static void cpu_close(at_device *d)
{
    (void)d;
}

static void *map_pages(size_t bytes, int protection)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | (protection == PROT_NONE ? MAP_NORESERVE : 0);
    void *p = mmap(NULL, bytes, protection, flags, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void *cpu_alloc(at_device *d, size_t bytes)
{
    enum { HUGE = 2 << 20 };
    (void)d;
    void *p = map_pages(bytes, PROT_READ | PROT_WRITE);
    if (p && bytes >= HUGE)
        madvise(p, bytes, MADV_HUGEPAGE); /* a wish: it works without, a few percent slower */
    return p;
}

static void cpu_free(at_device *d, void *memory, size_t bytes)
{
    (void)d;
    munmap(memory, bytes);
}

static void *cpu_reserve(at_device *d, size_t bytes)
{
    (void)d;
    return map_pages(bytes, PROT_NONE);
}

static bool cpu_map(at_device *d, void *range, size_t mapped, size_t bytes)
{
    (void)d;
    char *from = (char *)range + mapped;
    if (mprotect(from, bytes - mapped, PROT_READ | PROT_WRITE) != 0)
        return false;
    madvise(from, bytes - mapped, MADV_HUGEPAGE);
    return true;
}

static void cpu_copy(at_device *d, void *to, const void *from, size_t bytes)
{
    (void)d;
    memcpy(to, from, bytes);
}

static void cpu_wait(at_device *d)
{
    (void)d;
}

/* What the kernel says could be used without swapping. */
static size_t cpu_memory_free(at_device *d)
{
    char line[128];
    unsigned long long kib = 0;
    (void)d;
    FILE *f = fopen("/proc/meminfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return (size_t)kib * 1024;
}

const at_device_api at_device_cpu = {
    .name = "cpu",
    .uses_host_memory = true,
    .open = cpu_open,
    .close = cpu_close,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .reserve = cpu_reserve,
    .map = cpu_map,
    .unreserve = cpu_free,
    .upload = cpu_copy,
    .download = cpu_copy,
    .wait = cpu_wait,
    .copy = cpu_copy,
    .memory_free = cpu_memory_free,
};
