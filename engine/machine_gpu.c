/* machine_gpu.c -- the figures of a GPU: its products through op linear, whatever variant is
 * fastest; multiply-adds, copies and launches by kernels that do nothing else. */
#include <math.h>
#include <stdio.h>

#include "engine/bench.h"
#include "engine/machine.h"
#include "kernels/ops.h"
#include "kernels/peak_gpu.h"

enum { THREADS = 256, BLOCKS_EACH = 4 }; /* of the multiply-adds, for each multiprocessor */

/* What a launch of this file needs. */
typedef struct gpu_run {
    at_device *device;
    const at_peak_gpu *peak;
    const at_gpu_work *work;
    char *to, *from;
    size_t bytes;     /* of each */
    at_stream stream; /* of launches that do nothing */
} gpu_run;

static at_status launched(const gpu_run *g, at_status status, const at_error *why, at_error *err)
{
    return status == AT_OK
               ? AT_OK
               : at_fail(err, status, "measuring %s failed: %s", g->device->api->name, why->text);
}

static at_status launch_f32(void *context, int i, at_error *err)
{
    const gpu_run *g = context;
    at_error why = { 0 };
    const at_launch l = { &g->device->stream, NULL, &why };
    (void)i;
    return launched(g,
                    g->peak->f32(g->work->rounds, BLOCKS_EACH * g->device->multiprocessors,
                                 g->work->threads ? g->work->threads : THREADS, &l),
                    &why, err);
}

static at_status launch_copy(void *context, int i, at_error *err)
{
    const gpu_run *g = context;
    at_error why = { 0 };
    const at_launch l = { &g->device->stream, NULL, &why };
    (void)i;
    return launched(g, g->peak->copy(g->to, g->from, g->bytes, &l), &why, err);
}

static at_status launch_driver_copy(void *context, int i, at_error *err)
{
    const gpu_run *g = context;
    (void)i, (void)err;
    at_device_copy(g->device, g->to, g->from, g->bytes);
    return AT_OK;
}

static at_status launch_nothing(void *context, int i, at_error *err)
{
    const gpu_run *g = context;
    at_error why = { 0 };
    const at_launch l = { &g->stream, NULL, &why };
    (void)i;
    return launched(g, g->peak->nothing(&l), &why, err);
}

/* Seconds of one launch, the shortest: that is what the device can reach. */
static at_status measure(gpu_run *g, at_status (*launch)(void *, int, at_error *), double *seconds,
                         at_error *err)
{
    at_launches l = { .launch = launch, .context = g, .round = 1 };
    at_timing t;
    at_status status = at_launches_try(g->device, &l, err);
    if (status == AT_OK)
        status = at_launches_time(g->device, &l, g->work->seconds, &t, err);
    if (status == AT_OK)
        *seconds = t.seconds_min;
    return status;
}

/* --- products --------------------------------------------------------------------------------- */

/* FLOP/s of the best of the first variants that take it: those behind them are what they fall back
 * on. 0: nothing takes it. */
static at_status measure_product(gpu_run *g, const char *text, at_dtype dtype, double *flops,
                                 at_error *err)
{
    enum { TRIED = 2 };
    const at_op *op = &at_op_linear;
    const at_caps *caps = &g->device->caps;
    at_bench *b;
    at_timing t;
    at_cost cost;
    int tried = 0;
    at_status status = at_bench_check(g->device, op, text, dtype, &cost, err);
    if (status != AT_OK)
        return status == AT_UNSUPPORTED || status == AT_NO_MEMORY ? AT_OK : status;
    status = at_bench_new(&b, g->device, op, text, dtype, err);
    if (status != AT_OK)
        return status;
    for (int i = 0; i < op->n_variants && tried < TRIED && status == AT_OK; i++) {
        const at_variant *v = &op->variants[i];
        if (!at_variant_usable(v, at_bench_args(b), caps, false))
            continue;
        status = at_bench_time(b, v, g->work->seconds, &t, err);
        if (status == AT_UNSUPPORTED) { /* its library has nothing for this shape */
            status = AT_OK;
            continue;
        }
        tried++;
        if (status == AT_OK)
            *flops = fmax(*flops, cost.flops / t.seconds);
    }
    at_bench_free(b);
    return status;
}

static at_status measure_products(gpu_run *g, at_machine *out, at_error *err)
{
    char plain[64], scaled[128];
    const long long n = (long long)g->work->product;
    snprintf(plain, sizeof plain, "x=%lld,%lld w=%lld,%lld", n, n, n, n);
    snprintf(scaled, sizeof scaled,
             "x=%lld,%lld:f8 w=%lld,%lld:f8 x_scale=1 w_scale=1 y_dtype=bf16", n, n, n, n);
    at_status status = measure_product(g, plain, AT_BF16, &out->bf16_flops, err);
    if (status == AT_OK)
        status = measure_product(g, plain, AT_F16, &out->f16_flops, err);
    if (status == AT_OK)
        status = measure_product(g, scaled, AT_BF16, &out->f8_flops, err);
    return status;
}

/* --- the rest --------------------------------------------------------------------------------- */

static at_status measure_f32(gpu_run *g, at_machine *out, at_error *err)
{
    double seconds = 0;
    at_status status = measure(g, launch_f32, &seconds, err);
    double threads = (double)(g->work->threads ? g->work->threads : THREADS) * BLOCKS_EACH *
                     g->device->multiprocessors;
    if (status == AT_OK && seconds > 0)
        out->f32_flops = 2.0 * AT_PEAK_GPU_CHAINS * (double)g->work->rounds * threads / seconds;
    return status;
}

static at_status measure_copies(gpu_run *g, at_bandwidth *b, at_error *err)
{
    void *arena;
    double seconds = 0;
    at_status status = at_device_arena(g->device, b->bytes, &arena, err);
    if (status != AT_OK)
        return status;
    g->bytes = b->bytes / 2;
    g->from = arena;
    g->to = g->from + g->bytes;
    status = measure(g, launch_copy, &seconds, err);
    if (status != AT_OK)
        return status;
    b->copy = seconds > 0 ? (double)b->bytes / seconds : 0;
    status = measure(g, launch_driver_copy, &seconds, err);
    b->driver_copy = status == AT_OK && seconds > 0 ? (double)b->bytes / seconds : 0;
    return status;
}

static at_status measure_bandwidth(gpu_run *g, at_machine *out, at_error *err)
{
    at_status status = AT_OK;
    size_t there = (at_device_memory_free(g->device) + g->device->range_mapped) / 2;
    for (int i = 0; i < AT_MACHINE_SIZES && g->work->bytes[i] && status == AT_OK; i++) {
        at_bandwidth *b = &out->bandwidth[out->n_bandwidth];
        if (g->work->bytes[i] > there)
            break;
        *b = (at_bandwidth){ .bytes = g->work->bytes[i] };
        status = measure_copies(g, b, err);
        out->n_bandwidth++;
    }
    return status;
}

static at_status time_launches(gpu_run *g, double *seconds, double *enqueue, at_error *err)
{
    at_launches l = { .launch = launch_nothing, .context = g, .round = g->work->launches };
    at_timing t;
    at_status status = at_launches_try(g->device, &l, err);
    if (status == AT_OK)
        status = at_launches_time(g->device, &l, g->work->seconds, &t, err);
    if (status == AT_OK)
        *seconds = t.seconds;
    if (status == AT_OK && enqueue)
        status = at_launches_enqueue(g->device, &l, enqueue, err);
    return status;
}

static at_status measure_launches(gpu_run *g, at_machine *out, at_error *err)
{
    g->stream = g->device->stream;
    g->stream.early = false;
    at_status status = time_launches(g, &out->launch_seconds, &out->enqueue_seconds, err);
    g->stream = g->device->stream;
    if (status == AT_OK && g->stream.early)
        status = time_launches(g, &out->early_seconds, NULL, err);
    return status;
}

/* Products come first: what they leave behind is copied afterwards, and it is not zeros. */
at_status at_machine_measure_gpu(at_device *d, const at_gpu_work *work, at_machine *out,
                                 at_error *err)
{
    gpu_run g = { .device = d, .peak = at_peak_gpu_kernels(), .work = work };
    at_machine_look(d, out);
    if (!g.peak || !d->api->replay)
        return AT_OK; /* figures stay 0: this build has no kernels for it */
    at_device_enter(d);
    at_status status = measure_products(&g, out, err);
    if (status == AT_OK)
        status = measure_f32(&g, out, err);
    if (status == AT_OK)
        status = measure_bandwidth(&g, out, err);
    if (status == AT_OK)
        status = measure_launches(&g, out, err);
    at_device_leave(d);
    at_status own = at_device_check(d, status == AT_OK ? err : NULL);
    return status == AT_OK ? own : status;
}
