#include "engine/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kernels/parallel.h"
#include "kernels/peak.h"

void at_machine_name(char *name, size_t name_size)
{
    char line[256];
    snprintf(name, name_size, "unknown processor");
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) || !colon)
            continue;
        colon[strcspn(colon, "\n")] = 0;
        snprintf(name, name_size, "%s", colon + 1 + strspn(colon + 1, " "));
        break;
    }
    if (f)
        fclose(f);
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* --- the loops of this processor -------------------------------------------------------------- */

typedef struct loops {
    at_peak_fn *f32, *bf16;
    at_read_fn *read;
    at_copy_fn *copy, *streaming;
} loops;

static loops loops_of(const at_caps *caps)
{
#if defined(__x86_64__)
    bool wide = caps->has & AT_CAP_MASK(AVX512), tiles = caps->has & AT_CAP_MASK(AMX_BF16);
    bool dots = caps->has & AT_CAP_MASK(AVX512_BF16);
    if (!(caps->has & AT_CAP_MASK(AVX2)))
        return (loops){ 0 };
    return (loops){
        wide ? at_peak_f32_avx512 : at_peak_f32_avx2,
        tiles  ? at_peak_tiles_bf16
        : dots ? at_peak_dot_bf16
               : NULL,
        wide ? at_read_avx512 : at_read_avx2,
        wide ? at_copy_avx512 : at_copy_avx2,
        wide ? at_copy_streaming_avx512 : at_copy_streaming_avx2,
    };
#else
    (void)caps;
    return (loops){ at_peak_f32_simd, NULL, at_read_simd, at_copy_simd, at_copy_streaming_simd };
#endif
}

/* --- arithmetic ------------------------------------------------------------------------------- */

typedef struct peak_job {
    at_peak_fn *fn;
    int64_t rounds;
    double *flops; /* by part */
} peak_job;

static void peak_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    const peak_job *j = ctx;
    float sink;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        j->flops[i] = j->fn(j->rounds, &sink);
}

/* FLOP/s of all threads together: the best of a few tries. */
static double measure_peak(const at_stream *stream, at_peak_fn *fn, int64_t rounds, int tries)
{
    enum { THREADS_MAX = 1024 };
    double flops[THREADS_MAX], best = 0;
    for (int t = 0; t < tries && fn; t++) {
        peak_job j = { fn, rounds, flops };
        double start = seconds_now(), sum = 0;
        at_parallel(stream, stream->threads, 1, peak_part, &j);
        double seconds = seconds_now() - start;
        for (int i = 0; i < stream->threads; i++)
            sum += flops[i];
        best = sum / seconds > best ? sum / seconds : best;
    }
    return best;
}

/* --- memory ----------------------------------------------------------------------------------- */

typedef struct memory_job {
    at_read_fn *read; /* or */
    at_copy_fn *copy;
    char *to, *from;
    float sink[64];
} memory_job;

enum { PART_BYTES = 4 << 20, MEMORY_BYTES = 256 << 20 };

static void memory_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    memory_job *j = ctx;
    for (int64_t i = begin; i < end; i++) {
        size_t at = (size_t)i * PART_BYTES;
        if (j->read)
            j->sink[worker % 64] += j->read(j->from + at, PART_BYTES);
        else
            j->copy(j->to + at, j->from + at, PART_BYTES);
    }
}

static double measure_memory(const at_stream *stream, memory_job j)
{
    double best = 0, moved = (double)MEMORY_BYTES * (j.read ? 1 : 2);
    for (int t = 0; t < 4; t++) {
        double start = seconds_now();
        at_parallel(stream, MEMORY_BYTES / PART_BYTES, 1, memory_part, &j);
        double rate = moved / (seconds_now() - start);
        best = t && rate > best ? rate : best; /* the first pass maps the pages */
    }
    return best;
}

at_status at_machine_measure(at_device *d, at_machine *out, at_error *err)
{
    enum { ROUNDS = 2000000, TRIES = 4 };
    *out = (at_machine){ .cores = d->caps.threads, .threads = d->caps.threads };
    at_machine_name(out->name, sizeof out->name);
    out->memory_bytes = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    if (d->caps.kind != AT_CPU)
        return at_fail(err, AT_UNSUPPORTED, "only the cpu device can be measured");
    loops l = loops_of(&d->caps);
    if (!l.f32)
        return at_fail(err, AT_UNSUPPORTED, "measuring needs at least AVX2 on this processor");
    char *memory = at_device_alloc(d, 2 * (size_t)MEMORY_BYTES);
    if (!memory)
        return at_fail(err, AT_NO_MEMORY, "no memory to measure with: %zu bytes",
                       2 * (size_t)MEMORY_BYTES);
    char *to = memory + MEMORY_BYTES;
    out->f32_flops = measure_peak(&d->stream, l.f32, ROUNDS, TRIES);
    out->bf16_flops = measure_peak(&d->stream, l.bf16, ROUNDS, TRIES);
    out->read_bytes = measure_memory(&d->stream, (memory_job){ .read = l.read, .from = memory });
    out->copy_bytes =
        measure_memory(&d->stream, (memory_job){ .copy = l.copy, .to = to, .from = memory });
    out->streaming_copy_bytes =
        measure_memory(&d->stream, (memory_job){ .copy = l.streaming, .to = to, .from = memory });
    at_device_free(d, memory, 2 * (size_t)MEMORY_BYTES);
    return AT_OK;
}

double at_machine_bandwidth(const at_machine *m)
{
    double best = m->copy_bytes > m->streaming_copy_bytes ? m->copy_bytes : m->streaming_copy_bytes;
    return best;
}

double at_machine_roofline(const at_machine *m, at_cost cost, at_dtype dtype)
{
    double peak = dtype == AT_BF16 && m->bf16_flops > m->f32_flops ? m->bf16_flops : m->f32_flops;
    double arithmetic = peak > 0 ? cost.flops / peak : 0;
    double bandwidth = at_machine_bandwidth(m);
    double memory = bandwidth > 0 ? cost.bytes / bandwidth : 0;
    return arithmetic > memory ? arithmetic : memory;
}

at_dtype at_device_default_dtype(const at_device *d)
{
    bool fast = d->caps.has & (AT_CAP_MASK(AMX_BF16) | AT_CAP_MASK(BF16_FAST));
    return fast ? AT_BF16 : AT_F32;
}

uint32_t at_machine_fast_types(uint32_t has)
{
#if defined(__x86_64__)
    enum { ROUNDS = 20000, TRIES = 5 }; /* a millisecond */
    const at_stream one = { AT_CPU, 1, NULL };
    if (!(has & AT_CAP_MASK(AVX512_BF16)))
        return 0;
    double f32 = measure_peak(&one, at_peak_f32_avx512, ROUNDS, TRIES);
    double bf16 = measure_peak(&one, at_peak_dot_bf16, ROUNDS, TRIES);
    return bf16 > 1.25 * f32 ? AT_CAP_MASK(BF16_FAST) : 0;
#else
    (void)has;
    return 0;
#endif
}
