/* check_model.c -- checkop --bench on the emulated device: what its variants must move and compute
 * at the models' shapes, and how long a GPU needs for that at least. Nothing is run. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/bench.h"
#include "engine/machine.h"
#include "tests/check.h"

/* An H100 SXM by its data sheet: bytes and multiply-adds' FLOPs (dense, tensor cores; f32 without
 * them) a second. */
static const double peak_bytes = 3.35e12, peak_half = 989e12, peak_single = 67e12;

static double peak_of(at_dtype dtype)
{
    return dtype == AT_F32 ? peak_single : peak_half;
}

static at_status print_variant(const check_bench_options *o, const at_caps *caps, const at_op *op,
                               const at_variant *v, const void *args, at_error *err)
{
    const at_cost cost = at_op_cost(op, args);
    const at_dtype dtype = at_machine_dtype_of(op, args);
    const at_prepare_in in = { .caps = caps };
    double memory = cost.bytes / peak_bytes, arithmetic = cost.flops / peak_of(dtype);
    at_prepared p;
    if (v->device != caps->kind || !at_variant_usable(v, args, caps, false) ||
        (o->variant && !strstr(v->name, o->variant)))
        return AT_OK;
    at_status status = at_prepare(v, args, &in, &p, err);
    if (status != AT_OK)
        return status;
    printf("  %-32s %9.2f MB %9.2f GFLOP  %7.1f FLOP/byte  bound by %-10s  %8.1f us  scratch %.2f "
           "MB\n",
           v->name, cost.bytes / 1e6, cost.flops / 1e9, cost.flops / cost.bytes,
           memory > arithmetic ? "bytes" : "arithmetic", fmax(memory, arithmetic) * 1e6,
           (double)p.scratch_bytes / 1e6);
    at_release(v, &p);
    return AT_OK;
}

static at_status print_shape(const check_bench_options *o, const at_caps *caps, const at_op *op,
                             const char *where, const char *text, at_error *err)
{
    _Alignas(16) unsigned char args[AT_ARGS_MAX] = { 0 };
    const at_dtype dtype = o->dtype ? at_dtype_named(o->dtype) : AT_BF16;
    at_status status = at_bench_describe(op, text, dtype, args, err);
    if (status != AT_OK)
        return status;
    printf("%s, %s%s%s: %s\n", op->name, at_dtype_name(at_machine_dtype_of(op, args)),
           *where ? ", " : "", where, text);
    for (int i = 0; i < op->n_variants && status == AT_OK; i++)
        status = print_variant(o, caps, op, &op->variants[i], args, err);
    return status;
}

int check_model(const check_bench_options *o, const at_caps *caps)
{
    at_error err = { 0 };
    int failures = 0;
    printf("On an H100 at its peaks: %.2f TB/s, %.0f TFLOP/s in bf16 and f16, %.0f in f32\n",
           peak_bytes / 1e12, peak_half / 1e12, peak_single / 1e12);
    if (o->text) {
        if (print_shape(o, caps, at_op_named(o->op), "", o->text, &err) == AT_OK)
            return 0;
        fprintf(stderr, "checkop: %s\n", err.text);
        return 2;
    }
    for (int i = 0; at_bench_shape_at(i); i++) {
        const at_bench_shape *s = at_bench_shape_at(i);
        if (o->op && strcmp(o->op, s->op))
            continue;
        if (print_shape(o, caps, at_op_named(s->op), s->where, s->text, &err) != AT_OK) {
            printf("FAIL %s [%s]: %s\n", s->op, s->text, err.text);
            failures++;
        }
    }
    return failures != 0;
}
