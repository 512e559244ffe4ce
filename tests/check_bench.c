/* check_bench.c -- checkop --bench: how fast every variant is at the shapes that the models run
 * at. */
#include <stdio.h>
#include <string.h>

#include "engine/bench.h"
#include "engine/machine.h"
#include "tests/check.h"

/* A reference at a large shape tells nothing that is worth minutes. */
static const double ref_flops_max = 2e9, seconds_each = 0.3;

typedef struct timed {
    const at_variant *variant;
    double seconds;
} timed;

typedef struct bench_run {
    const check_bench_options *o;
    at_device *device;
    at_machine machine;
    at_dtype dtype;
} bench_run;

static bool left_out(const bench_run *r, const at_op *op, const at_variant *v, const void *args,
                     at_cost cost)
{
    if (!at_variant_usable(v, args, &r->device->caps, false))
        return true;
    if (r->o->variant)
        return !strstr(v->name, r->o->variant);
    return v == &op->variants[op->n_variants - 1] && cost.flops > ref_flops_max;
}

static void print_times(const bench_run *r, const at_op *op, const void *args, const timed *t,
                        int n)
{
    at_cost cost = at_op_cost(op, args);
    double roofline = at_machine_roofline(&r->machine, cost, at_machine_dtype_of(op, args));
    for (int i = 0; i < n; i++) {
        double seconds = t[i].seconds;
        printf("  %-32s %11.1f us %9.1f GFLOP/s %8.2f GB/s %5.0f %%", t[i].variant->name,
               seconds * 1e6, cost.flops / seconds / 1e9, cost.bytes / seconds / 1e9,
               100 * roofline / seconds);
        if (i + 1 < n)
            printf("  %.2f x the next", t[i + 1].seconds / seconds);
        putchar('\n');
    }
}

static at_status time_variants(bench_run *r, at_bench *b, const at_op *op, at_error *err)
{
    enum { VARIANTS_MAX = 32 };
    timed times[VARIANTS_MAX];
    int n = 0;
    const void *args = at_bench_args(b);
    at_cost cost = at_op_cost(op, args);
    at_status status = AT_OK;
    for (int i = 0; i < op->n_variants && n < VARIANTS_MAX && status == AT_OK; i++) {
        const at_variant *v = &op->variants[i];
        at_timing t;
        if (left_out(r, op, v, args, cost))
            continue;
        status = at_bench_time(b, v, seconds_each, &t, err);
        times[n++] = (timed){ v, t.seconds };
    }
    if (status == AT_OK)
        print_times(r, op, args, times, n);
    return status;
}

static at_status bench_shape(bench_run *r, const at_op *op, const char *where, const char *text,
                             at_error *err)
{
    at_bench *b;
    at_status status = at_bench_new(&b, r->device, op, text, r->dtype, err);
    if (status != AT_OK)
        return status;
    printf("%s, %s%s%s: %s\n", op->name, at_dtype_name(at_machine_dtype_of(op, at_bench_args(b))),
           *where ? ", " : "", where, text);
    status = time_variants(r, b, op, err);
    at_bench_free(b);
    return status;
}

static int bench_shapes(bench_run *r)
{
    at_error err;
    int failures = 0;
    for (int i = 0; at_bench_shape_at(i); i++) {
        const at_bench_shape *s = at_bench_shape_at(i);
        if (r->o->op && strcmp(r->o->op, s->op))
            continue;
        if (bench_shape(r, at_op_named(s->op), s->where, s->text, &err) != AT_OK) {
            printf("FAIL %s [%s]: %s\n", s->op, s->text, err.text);
            failures++;
        }
    }
    return failures;
}

int check_bench(const check_bench_options *o)
{
    bench_run r = { .o = o };
    at_error err;
    int failures = 0;
    const at_device_options options = { .isa = o->isa, .threads = o->threads };
    if (at_device_open(&r.device, "cpu", &options, &err) != AT_OK ||
        at_machine_measure(r.device, 0, &r.machine, &err) != AT_OK) {
        fprintf(stderr, "checkop: %s\n", err.text);
        at_device_close(r.device);
        return 2;
    }
    r.dtype = o->dtype ? at_dtype_named(o->dtype) : at_device_default_dtype(r.device);
    double large = (double)r.machine.bandwidth[AT_MACHINE_SIZES - 1].bytes;
    printf("%s, %d threads; f32 %.0f GFLOP/s, bf16 %.0f, %.1f GB/s on %.0f MiB\n", r.machine.name,
           r.machine.threads, r.machine.f32_flops / 1e9, r.machine.bf16_flops / 1e9,
           at_machine_bandwidth(&r.machine, large) / 1e9, large / 0x1p20);
    if (!o->text) {
        failures = bench_shapes(&r);
    } else if (bench_shape(&r, at_op_named(o->op), "", o->text, &err) != AT_OK) {
        fprintf(stderr, "checkop: %s\n", err.text);
        failures = 2;
    }
    at_device_close(r.device);
    return o->text ? failures : failures != 0;
}
