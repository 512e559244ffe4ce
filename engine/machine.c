#include "engine/machine.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/clock.h"
#include "kernels/cpu.h"
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

void at_machine_look(const at_device *d, at_machine *out)
{
    *out = (at_machine){ .cores = at_cpu_cores(), .threads = d->caps.threads };
    at_machine_name(out->name, sizeof out->name);
    out->memory_bytes = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    if (d->caps.kind == AT_CPU)
        return;
    snprintf(out->name, sizeof out->name, "cuda, compute capability %d.%d", d->caps.sm / 10,
             d->caps.sm % 10);
    if (*d->processor)
        snprintf(out->name, sizeof out->name, "%s", d->processor);
    out->memory_bytes = d->memory_bytes;
    out->cache_bytes = d->cache_bytes;
    out->multiprocessors = d->multiprocessors;
}

/* --- the loops of this processor -------------------------------------------------------------- */

typedef struct loops {
    at_peak_fn *f32, *bf16; /* NULL: no instructions for it */
    at_read_fn *read;       /* NULL: nothing can be measured */
    at_copy_fn *copy, *streaming_copy;
} loops;

#if defined(__x86_64__)
static const struct {
    uint32_t needs;
    at_peak_fn *f32;
    at_read_fn *read;
    at_copy_fn *copy, *streaming_copy;
} widths[] = {
    { AT_CAP_MASK(AVX512), at_peak_f32_avx512, at_read_avx512, at_copy_avx512,
      at_copy_streaming_avx512 },
    { AT_CAP_MASK(AVX2), at_peak_f32_avx2, at_read_avx2, at_copy_avx2, at_copy_streaming_avx2 },
};
static const struct {
    uint32_t needs;
    at_peak_fn *fn;
} bf16_loops[] = {
    { AT_CAP_MASK(AMX_BF16), at_peak_tiles_bf16 },
    { AT_CAP_MASK(AVX512_BF16), at_peak_dot_bf16 },
};
#else
static const struct {
    uint32_t needs;
    at_peak_fn *f32;
    at_read_fn *read;
    at_copy_fn *copy, *streaming_copy;
} widths[] = { { 0, at_peak_f32_simd, at_read_simd, at_copy_simd, at_copy_streaming_simd } };
static const struct {
    uint32_t needs;
    at_peak_fn *fn;
} bf16_loops[] = { { ~0u, NULL } };
#endif

static loops loops_of(uint32_t has)
{
    loops l = { 0 };
    for (size_t i = 0; i < AT_COUNT(widths) && !l.f32; i++)
        if (!(widths[i].needs & ~has))
            l = (loops){ widths[i].f32, NULL, widths[i].read, widths[i].copy,
                         widths[i].streaming_copy };
    for (size_t i = 0; i < AT_COUNT(bf16_loops) && !l.bf16; i++)
        if (!(bf16_loops[i].needs & ~has))
            l.bf16 = bf16_loops[i].fn;
    return l;
}

/* --- arithmetic ------------------------------------------------------------------------------- */

enum { THREADS_MAX = 1024 };

typedef struct peak_job {
    at_peak_fn *fn;
    int64_t rounds;
    double flops[THREADS_MAX]; /* by part */
} peak_job;

static void peak_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    peak_job *j = ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        j->flops[i] = j->fn(j->rounds, (float[2]){ 0.999f, 1e-3f });
}

/* Seconds that 'rounds' take on all threads, and the FLOPs done in them. */
static double time_peak(const at_stream *stream, peak_job *j, double *flops)
{
    double start = at_clock_seconds();
    at_parallel(stream, stream->threads, 1, peak_part, j);
    double seconds = at_clock_seconds() - start;
    *flops = 0;
    for (int i = 0; i < stream->threads; i++)
        *flops += j->flops[i];
    return seconds;
}

/* Rounds that take at least 'seconds'. */
static int64_t rounds_for(const at_stream *stream, at_peak_fn *fn, double seconds)
{
    peak_job j = { .fn = fn, .rounds = 1024 };
    double flops;
    while (time_peak(stream, &j, &flops) < seconds)
        j.rounds *= 2;
    return j.rounds;
}

/* FLOP/s of all threads together: the best of many short tries, because somebody else may be using
 * the cores for a while. */
static double measure_peak(const at_stream *stream, at_peak_fn *fn, double seconds, int tries)
{
    double best = 0, flops;
    if (!fn)
        return 0;
    peak_job j = { .fn = fn, .rounds = rounds_for(stream, fn, seconds) };
    for (int t = 0; t < tries; t++) {
        double took = time_peak(stream, &j, &flops);
        best = fmax(best, flops / took);
    }
    return best;
}

/* --- memory ----------------------------------------------------------------------------------- */

/* Total bytes touched: one that a core's own cache holds, some for shared caches (16 to 260 MB on
 * the machines seen), one for memory. On a Xeon with 260 MB of them, two threads: 73 GB/s up to 128
 * MiB, 62 at 256 MiB, 43 from 512 MiB to 2 GiB. */
static const size_t sizes[AT_MACHINE_SIZES] = { 1 << 20,   8 << 20,   32 << 20,
                                                128 << 20, 256 << 20, 512 << 20 };

typedef struct memory_job {
    at_read_fn *read; /* or */
    at_copy_fn *copy;
    char *to, *from;
    size_t bytes, part;
    float sums[THREADS_MAX]; /* by worker, so that reading is not left out */
} memory_job;

static void memory_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    memory_job *j = ctx;
    for (int64_t i = begin; i < end; i++) {
        size_t at = (size_t)i * j->part;
        if (j->read)
            j->sums[worker] += j->read(j->from + at, j->part);
        else
            j->copy(j->to + at, j->from + at, j->part);
    }
}

/* Bytes per second over j->bytes: the best of the passes that fit into 20 ms, at least five. */
static double measure_memory(const at_stream *stream, memory_job *j)
{
    enum { PASSES = 5 };
    double best = 0, spent = 0;
    j->part = 64 << 10;
    for (int pass = 0; pass < PASSES || spent < 0.02; pass++) {
        double start = at_clock_seconds();
        at_parallel(stream, (int64_t)((j->read ? j->bytes : j->bytes / 2) / j->part), 1,
                    memory_part, j);
        double seconds = at_clock_seconds() - start, rate = (double)j->bytes / seconds;
        spent += seconds;
        best = pass ? fmax(best, rate) : 0; /* the first pass finds cold caches */
    }
    return best;
}

static at_status measure_bandwidth(at_device *d, const loops *l, double bytes, at_machine *out,
                                   at_error *err)
{
    void *arena;
    int n = 1;
    while (n < AT_MACHINE_SIZES && (bytes <= 0 || (double)sizes[n - 1] < bytes))
        n++;
    size_t most = sizes[n - 1], there = at_device_memory_free(d);
    if (there + d->range_mapped < most)
        return at_fail(err, AT_NO_MEMORY, "measuring memory takes %zu MiB, and %zu MiB are free",
                       most >> 20, there >> 20);
    at_status status = at_device_arena(d, most, &arena, err);
    if (status != AT_OK)
        return status;
    memory_job j = { .copy = l->copy, .from = arena, .to = (char *)arena + most / 2 };
    j.bytes = most;
    measure_memory(&d->stream, &j); /* finds pages for the addresses */
    for (int i = 0; i < n; i++) {
        j.bytes = sizes[i];
        j.to = (char *)arena + sizes[i] / 2;
        at_bandwidth *b = &out->bandwidth[out->n_bandwidth++];
        b->bytes = sizes[i];
        j.copy = l->copy;
        b->copy = measure_memory(&d->stream, &j);
        j.copy = l->streaming_copy;
        b->streaming_copy = measure_memory(&d->stream, &j);
        j.read = l->read;
        b->read = measure_memory(&d->stream, &j);
        j.read = NULL;
    }
    return AT_OK;
}

/* About two milliseconds of multiply-adds on a large GPU. */
static const at_gpu_work gpu_work = {
    .bytes = { 2 << 20, 8 << 20, 32 << 20, 128 << 20, 512 << 20, (size_t)2 << 30 },
    .product = 8192,
    .rounds = 50000,
    .launches = AT_MACHINE_LAUNCHES,
    .seconds = 0.1,
};

at_status at_machine_measure(at_device *d, double bytes, at_machine *out, at_error *err)
{
    enum { TRIES = 30 };
    const double slice = 2e-3;
    if (d->caps.kind != AT_CPU)
        return at_machine_measure_gpu(d, &gpu_work, out, err);
    at_machine_look(d, out);
    loops l = loops_of(at_cpu_probe());
    if (!l.read)
        return AT_OK; /* peaks stay 0: there is no loop for this processor */
    out->f32_flops = measure_peak(&d->stream, l.f32, slice, TRIES);
    out->bf16_flops = measure_peak(&d->stream, l.bf16, slice, TRIES);
    return measure_bandwidth(d, &l, bytes, out, err);
}

/* --- what can be expected of it --------------------------------------------------------------- */

static double best_of(const at_bandwidth *b)
{
    return fmax(fmax(b->read, b->copy), fmax(b->streaming_copy, b->driver_copy));
}

double at_machine_bandwidth(const at_machine *m, double bytes)
{
    if (!m->n_bandwidth)
        return 0;
    const at_bandwidth *last = &m->bandwidth[m->n_bandwidth - 1];
    if (bytes <= (double)m->bandwidth[0].bytes)
        return best_of(&m->bandwidth[0]);
    for (const at_bandwidth *b = m->bandwidth; b < last; b++) {
        if (bytes > (double)b[1].bytes)
            continue;
        double low = (double)b[0].bytes, high = (double)b[1].bytes;
        double part = log2(bytes / low) / log2(high / low);
        return best_of(&b[0]) + part * (best_of(&b[1]) - best_of(&b[0]));
    }
    return best_of(last);
}

static double peak_of(const at_machine *m, at_dtype dtype)
{
    double own = dtype == AT_BF16  ? m->bf16_flops
                 : dtype == AT_F16 ? m->f16_flops
                 : dtype == AT_F8  ? m->f8_flops
                                   : 0;
    return fmax(own, m->f32_flops);
}

double at_machine_roofline_over(const at_machine *m, at_cost cost, at_dtype dtype, double bytes)
{
    double peak = peak_of(m, dtype), bandwidth = at_machine_bandwidth(m, bytes);
    double arithmetic = peak > 0 ? cost.flops / peak : 0;
    double memory = bandwidth > 0 ? cost.bytes / bandwidth : 0;
    return fmax(arithmetic, memory);
}

double at_machine_roofline(const at_machine *m, at_cost cost, at_dtype dtype)
{
    return at_machine_roofline_over(m, cost, dtype, cost.bytes);
}

at_dtype at_machine_dtype_of(const at_op *op, const void *args)
{
    for (int i = 0; i < op->n_operands; i++) {
        const at_view *v = at_operand_in(op, args, i);
        if (op->operands[i].role != AT_OUT && op->operands[i].dtype == AT_NONE && at_has(v) &&
            at_dtype_is_float(v->dtype))
            return v->dtype;
    }
    return AT_F32;
}

at_dtype at_device_default_dtype(const at_device *d)
{
    bool fast =
        d->caps.kind == AT_CUDA || d->caps.has & (AT_CAP_MASK(AMX_BF16) | AT_CAP_MASK(BF16_FAST));
    return fast ? AT_BF16 : AT_F32;
}

double at_machine_bf16_ratio(uint32_t has)
{
    enum { TRIES = 5 };
    const double slice = 4e-5;
    const at_stream one = { AT_CPU, 1, NULL };
    loops l = loops_of(has);
    if (!l.bf16)
        return 0;
    return measure_peak(&one, l.bf16, slice, TRIES) / measure_peak(&one, l.f32, slice, TRIES);
}

uint32_t at_machine_fast_types(uint32_t has)
{
    double ratio = at_machine_bf16_ratio(has & ~AT_CAP_MASK(AMX_BF16));
    return ratio > AT_BF16_WORTH ? AT_CAP_MASK(BF16_FAST) : 0;
}
