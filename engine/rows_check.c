/* rows_check.c -- runs a batch, then samples of it alone on the same numbers, and compares. */
#include <stdlib.h>
#include <string.h>

#include "engine/rows.h"

/* What the operands held: inputs before the run of the batch, then outputs after it. */
typedef struct batch {
    at_device *device;
    const at_op *op;
    const at_bench_how *how;
    int64_t samples;
    _Alignas(16) unsigned char args[AT_ARGS_MAX];
    char *before[AT_OPERANDS_MAX], *after[AT_OPERANDS_MAX];
    char *alone; /* room for an output of one sample */
} batch;

static bool is_written(const at_op *op, int i)
{
    return op->operands[i].role != AT_IN;
}

static at_status fetch(const batch *b, const at_view *v, char **host, at_error *err)
{
    size_t bytes = at_view_bytes(v);
    *host = malloc(bytes);
    if (!*host)
        return at_fail(err, AT_NO_MEMORY, "no memory for %zu bytes", bytes);
    at_device_download(b->device, *host, v->data, bytes);
    return AT_OK;
}

/* Runs the batch on what the bench has filled its operands with. */
static at_status run_batch(batch *b, at_error *err)
{
    at_bench *bench;
    at_status status = at_bench_new_args(&bench, b->device, b->op, b->args, err);
    if (status != AT_OK)
        return status;
    const void *placed = at_bench_args(bench);
    for (int i = 0; i < b->op->n_operands && status == AT_OK; i++)
        if (at_rows_cut(b->op, b->args, i, b->samples) && b->op->operands[i].role != AT_OUT)
            status = fetch(b, at_operand_in(b->op, placed, i), &b->before[i], err);
    if (status == AT_OK)
        status = at_bench_run(bench, b->how, err);
    for (int i = 0; i < b->op->n_operands && status == AT_OK; i++)
        if (at_rows_cut(b->op, b->args, i, b->samples) && is_written(b->op, i))
            status = fetch(b, at_operand_in(b->op, placed, i), &b->after[i], err);
    at_bench_free(bench);
    return status;
}

/* Where sample s lies in operand i of the batch; 'one' is the sample's own view. */
static size_t offset_of(const at_view *one, int64_t s)
{
    int64_t elements = one->rank == 1 ? one->size[0] : at_rows(one) * one->pitch;
    return (size_t)(s * elements) * at_dtype_bytes(one->dtype);
}

/* The first row that differs; -1: none. */
static int64_t difference(const at_view *v, const char *a, const char *b)
{
    size_t element = at_dtype_bytes(v->dtype), row = (size_t)at_cols(v) * element;
    for (int64_t r = 0; r < at_rows(v); r++) {
        size_t at = (size_t)(r * v->pitch) * element;
        if (memcmp(a + at, b + at, row) != 0)
            return r;
    }
    return -1;
}

static at_status compare(batch *b, const void *placed, int64_t s, at_error *err)
{
    for (int i = 0; i < b->op->n_operands; i++) {
        const at_view *v = at_operand_in(b->op, placed, i);
        if (!b->after[i])
            continue;
        at_device_download(b->device, b->alone, v->data, at_view_bytes(v));
        int64_t row = difference(v, b->alone, b->after[i] + offset_of(v, s));
        if (row >= 0)
            return at_fail(err, AT_INVALID,
                           "row %lld of %s of sample %lld differs alone and in a batch of %lld",
                           (long long)row, b->op->operands[i].name, (long long)s,
                           (long long)b->samples);
    }
    return AT_OK;
}

static at_status run_alone(batch *b, at_bench *bench, int64_t s, at_error *err)
{
    const void *placed = at_bench_args(bench);
    for (int i = 0; i < b->op->n_operands; i++) {
        const at_view *v = at_operand_in(b->op, placed, i);
        if (b->before[i])
            at_device_upload(b->device, v->data, b->before[i] + offset_of(v, s), at_view_bytes(v));
    }
    at_status status = at_bench_run(bench, b->how, err);
    return status == AT_OK ? compare(b, placed, s, err) : status;
}

/* The first samples and the last: tiles that straddle samples begin and end there. */
static at_status check_alone(batch *b, at_error *err)
{
    _Alignas(16) unsigned char one[AT_ARGS_MAX];
    const int64_t samples[] = { 0, 1, b->samples - 1 };
    at_bench *bench;
    size_t most = 1;
    at_status status = at_rows_resize(b->op, b->args, 1, one, err);
    if (status == AT_OK)
        status = at_bench_new_args(&bench, b->device, b->op, one, err);
    if (status != AT_OK)
        return status;
    for (int i = 0; i < b->op->n_operands; i++) {
        size_t bytes = b->after[i] ? at_view_bytes(at_operand_in(b->op, one, i)) : 0;
        most = bytes > most ? bytes : most;
    }
    b->alone = malloc(most);
    if (!b->alone)
        status = at_fail(err, AT_NO_MEMORY, "no memory for %zu bytes", most);
    for (size_t i = 0; i < AT_COUNT(samples) && status == AT_OK; i++)
        if (i < 2 || samples[i] > 1)
            status = run_alone(b, bench, samples[i], err);
    at_bench_free(bench);
    return status;
}

at_status at_rows_check(at_device *d, const at_op *op, const void *args, int64_t samples,
                        const at_bench_how *how, at_error *err)
{
    AT_ASSERT(samples > 1, "a batch of %lld", (long long)samples);
    batch *b = calloc(1, sizeof *b);
    if (!b)
        return at_fail(err, AT_NO_MEMORY, "no memory to compare samples");
    *b = (batch){ .device = d, .op = op, .how = how, .samples = samples };
    at_status status = at_rows_resize(op, args, samples, b->args, err);
    if (status == AT_OK)
        status = run_batch(b, err);
    if (status == AT_OK)
        status = check_alone(b, err);
    for (int i = 0; i < AT_OPERANDS_MAX; i++) {
        free(b->before[i]);
        free(b->after[i]);
    }
    free(b->alone);
    free(b);
    return status;
}
