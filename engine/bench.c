#include "engine/bench.h"

#include <stdlib.h>
#include <string.h>

#include "engine/clock.h"
#include "engine/layout.h"
#include "kernels/ops.h"

static const at_bench_shape shapes[] = {
#define AT_SHAPE(op, where, text) { #op, where, text },
#include "kernels/shapes.def"
#undef AT_SHAPE
};

const at_bench_shape *at_bench_shape_at(int i)
{
    return i >= 0 && (size_t)i < AT_COUNT(shapes) ? &shapes[i] : NULL;
}

enum { RUNS_MIN = 3, RUNS_MAX = 10000, SETS_MAX = 1024 };

struct at_bench {
    at_device *device;
    const at_op *op;
    char *arena;
    size_t used;   /* of the arena, by operands */
    size_t rotate; /* bytes that sets of them exceed together; 0: one set */
    double *runs;  /* seconds of each run, room for RUNS_MAX */
    _Alignas(16) unsigned char args[AT_ARGS_MAX];
};

static at_view *operand(at_bench *b, int i)
{
    return at_operand_of(b->op, b->args, i);
}

/* --- what the inputs are filled with ---------------------------------------------------------- */

typedef struct range {
    double low, high;
} range;

/* Inputs that would be nonsense between -1 and 1. */
static const struct {
    const char *name;
    range range;
} ranges[] = {
    { "rstd", { 0.5, 2 } },      { "rstd_in", { 0.5, 2 } },   { "std", { 0.5, 2 } },
    { "x_std", { 0.5, 2 } },     { "x_scale", { 0.5, 2 } },   { "w_scale", { 0.5, 2 } },
    { "y_scale", { 0.5, 2 } },   { "scale", { 0.5, 2 } },     { "m_scale", { 0.5, 2 } },
    { "v_scale", { 0.5, 2 } },   { "weight", { 0.5, 2 } },    { "row", { 0.1, 1 } },
    { "col", { 0.1, 1 } },       { "acc", { 0, 1 } },         { "norm", { 0, 1 } },
    { "hyper", { 1e-3, 1e-2 } }, { "decay", { 0.9, 0.999 } }, { "t", { 0, 1 } },
    { "u", { 0, 1 } },           { "strength", { 0, 1 } },    { "pos", { 0, 0 } },
};

/* Inputs whose numbers say how far another operand goes: up to 'axis' of 'of' (from the end if it
 * is negative), which comes first wherever an op has it. */
static const struct {
    const char *name, *of;
    int axis;
    bool filled; /* to the brim: the size itself, not indices below it */
} bounds[] = {
    { "ids", "table", 0, false },
    { "ids", "dtable", 0, false },
    { "target", "x", -1, false },
    { "lengths", "k", 1, true },
};

static bool bound_of(const at_op *op, const void *args, const char *name, range *r)
{
    for (size_t i = 0; i < AT_COUNT(bounds); i++) {
        int k = at_operand_index(op, bounds[i].of);
        if (strcmp(bounds[i].name, name) || k < 0)
            continue;
        const at_view *v = at_operand_in(op, args, k);
        double size = (double)v->size[bounds[i].axis < 0 ? v->rank - 1 : bounds[i].axis];
        *r = bounds[i].filled ? (range){ size, size } : (range){ 0, size - 1 };
        return true;
    }
    return false;
}

static range range_of(const at_op *op, const void *args, int i)
{
    const char *name = op->operands[i].name;
    at_dtype dtype = at_operand_in(op, args, i)->dtype;
    range r = { -1, 1 };
    if (dtype == AT_U8)
        return (range){ 0, 255 };
    if (!at_dtype_is_float(dtype) && bound_of(op, args, name, &r))
        return r;
    for (size_t k = 0; k < AT_COUNT(ranges); k++)
        if (!strcmp(ranges[k].name, name))
            return ranges[k].range;
    if (!strcmp(name,
                "lse")) /* of a row of scores near 0: its sum of exponentials is their count */
        return (range){ 4, 9 };
    if (!strcmp(name, "v") && op->operands[i].role == AT_INOUT) /* an optimizer's second moment */
        return (range){ 0, 1 };
    return at_dtype_is_float(dtype) ? r : (range){ 0, 3 };
}

static uint64_t mix(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdull;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53ull;
    return x ^ x >> 33;
}

/* A block of numbers, laid end to end: drawing each one would take longer than many an op. Its
 * length divides no size that models have, so rows differ. */
static at_status fill(at_bench *b, int i, at_error *err)
{
    enum { PERIOD = 65521 };
    at_view *v = operand(b, i);
    size_t bytes = at_view_bytes(v), block = (size_t)PERIOD * at_dtype_bytes(v->dtype);
    range r = range_of(b->op, b->args, i);
    bool whole = !at_dtype_is_float(v->dtype);
    char *host = malloc(block);
    if (!host)
        return at_fail(err, AT_NO_MEMORY, "no memory for %zu bytes", block);
    for (int64_t k = 0; k < PERIOD; k++) {
        double u = (double)(mix((uint64_t)(k + 1) * 64 + (uint64_t)i) >> 11) * 0x1p-53;
        double width = r.high - r.low + (whole ? 1 : 0);
        double x = r.low + u * width;
        at_store(host, k, v->dtype, whole ? (double)(int64_t)x : x);
    }
    for (size_t at = 0; at < bytes; at += block)
        at_device_upload(b->device, (char *)v->data + at, host,
                         bytes - at < block ? bytes - at : block);
    free(host);
    return AT_OK;
}

/* --- the call --------------------------------------------------------------------------------- */

/* Sizes come from outside here: their product must be something that can be counted. */
static at_status check_size(const at_op *op, const void *args, int i, double *total, at_error *err)
{
    const at_view *v = at_operand_in(op, args, i);
    double bytes = (double)at_dtype_bytes(v->dtype);
    for (int k = 0; k < v->rank; k++) {
        if (v->size[k] < 1)
            return at_fail(err, AT_INVALID, "%s: %s would have %lld elements on axis %d", op->name,
                           op->operands[i].name, (long long)v->size[k], k);
        bytes *= (double)v->size[k];
    }
    *total += at_has(v) ? bytes : 0;
    if (*total > 1e15)
        return at_fail(err, AT_NO_MEMORY, "%s: %s alone would take %.3g bytes", op->name,
                       op->operands[i].name, bytes);
    return AT_OK;
}

static at_status check_sizes(const at_op *op, const void *args, double *total, at_error *err)
{
    *total = 0;
    for (int i = 0; i < op->n_operands; i++) {
        at_status status = check_size(op, args, i, total, err);
        if (status != AT_OK)
            return status;
    }
    return AT_OK;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), k = strlen(end);
    return n >= k && !strcmp(text + n - k, end);
}

at_status at_bench_describe(const at_op *op, const char *text, at_dtype dtype, void *args,
                            at_error *err)
{
    double bytes;
    bool gradient = ends_with(op->name, "_bwd") || ends_with(op->name, "_wgrad");
    at_status status = at_args_parse(op, text, dtype, args, err);
    if (status == AT_OK)
        status = check_sizes(op, args, &bytes, err);
    return status != AT_OK ? status : at_op_shape(op, args, gradient ? UINT32_MAX : 0, err);
}

static at_status check_memory(const at_bench *b, at_error *err)
{
    double bytes, there = (double)at_device_memory_free(b->device);
    at_status status = check_sizes(b->op, b->args, &bytes, err);
    if (status == AT_OK && bytes > there + (double)b->device->range_mapped)
        status =
            at_fail(err, AT_NO_MEMORY, "%s: the operands take %.0f MiB, and %.0f MiB are there",
                    b->op->name, bytes / 0x1p20, there / 0x1p20);
    return status;
}

static at_status describe(at_bench *b, const char *text, at_dtype dtype, at_error *err)
{
    at_status status = at_bench_describe(b->op, text, dtype, b->args, err);
    return status == AT_OK ? check_memory(b, err) : status;
}

at_status at_bench_check(at_device *d, const at_op *op, const char *text, at_dtype dtype,
                         at_cost *cost, at_error *err)
{
    at_bench b = { .device = d, .op = op };
    at_status status = describe(&b, text, dtype, err);
    if (status != AT_OK)
        return status;
    if (!at_op_pick(op, b.args, &d->caps, false))
        return at_fail(err, AT_UNSUPPORTED, "%s: no variant on %s takes %s", op->name, d->api->name,
                       text);
    *cost = at_op_cost(op, b.args);
    return AT_OK;
}

static size_t rounded(size_t bytes)
{
    return (bytes + AT_BLOCK_ALIGN - 1) / AT_BLOCK_ALIGN * AT_BLOCK_ALIGN;
}

static at_status place(at_bench *b, at_error *err)
{
    void *arena;
    for (int i = 0; i < b->op->n_operands; i++)
        if (at_has(operand(b, i)))
            b->used += rounded(at_view_bytes(operand(b, i)));
    at_status status = at_device_arena(b->device, b->used, &arena, err);
    if (status != AT_OK)
        return status;
    b->arena = arena;
    size_t at = 0;
    for (int i = 0; i < b->op->n_operands && status == AT_OK; i++) {
        at_view *v = operand(b, i);
        if (!at_has(v))
            continue;
        v->data = b->arena + at;
        at += rounded(at_view_bytes(v));
        if (b->op->operands[i].role != AT_OUT)
            status = fill(b, i, err);
    }
    return status;
}

/* A device that failed has no memory free: that it failed is what must be told. */
static at_status reason_of(at_device *d, at_status status, at_error *err)
{
    at_error failed = { 0 };
    at_status own = at_device_check(d, &failed);
    return own == AT_OK ? status : at_fail(err, own, "%s", failed.text);
}

/* A bench without memory for its operands yet. */
static at_bench *bench_of(at_device *d, const at_op *op, at_error *err)
{
    at_bench *b = calloc(1, sizeof *b);
    double *runs = calloc(RUNS_MAX, sizeof *runs);
    if (!b || !runs) {
        free(b);
        free(runs);
        at_fail(err, AT_NO_MEMORY, "no memory to time with");
        return NULL;
    }
    *b = (at_bench){ .device = d, .op = op, .runs = runs, .rotate = AT_BENCH_ROTATE };
    if (b->rotate < 4 * d->cache_bytes)
        b->rotate = 4 * d->cache_bytes;
    return b;
}

/* Gives the described call its memory. */
static at_status finish(at_bench **out, at_bench *b, at_status described, at_error *err)
{
    at_status status = described == AT_OK ? place(b, err) : described;
    *out = status == AT_OK ? b : NULL;
    if (status != AT_OK)
        status = reason_of(b->device, status, err);
    if (status != AT_OK)
        at_bench_free(b);
    return status;
}

at_status at_bench_new(at_bench **out, at_device *d, const at_op *op, const char *text,
                       at_dtype dtype, at_error *err)
{
    at_bench *b = bench_of(d, op, err);
    *out = NULL;
    return b ? finish(out, b, describe(b, text, dtype, err), err) : AT_NO_MEMORY;
}

at_status at_bench_new_args(at_bench **out, at_device *d, const at_op *op, const void *args,
                            at_error *err)
{
    at_bench *b = bench_of(d, op, err);
    *out = NULL;
    if (!b)
        return AT_NO_MEMORY;
    memcpy(b->args, args, op->args_size);
    return finish(out, b, check_memory(b, err), err);
}

void at_bench_free(at_bench *b)
{
    if (b)
        free(b->runs);
    free(b);
}

const void *at_bench_args(const at_bench *b)
{
    return b->args;
}

void at_bench_rotate(at_bench *b, size_t bytes)
{
    b->rotate = bytes;
}

size_t at_bench_bytes(const at_bench *b)
{
    return b->used;
}

/* --- timing ----------------------------------------------------------------------------------- */

typedef struct call {
    at_bench *bench;
    const at_variant *variant;
    at_prepared prepared;
    at_launch launch;
    size_t stride; /* from one set of operands and forms to the next */
    int sets;
    double hopeless;                              /* at_bench_how */
    _Alignas(16) unsigned char args[AT_ARGS_MAX]; /* the first set's, with the forms' addresses */
} call;

uint32_t at_bench_constants(const at_op *op)
{
    uint32_t mask = 0;
    for (int i = 0; i < op->n_operands; i++)
        if ((op->operands[i].flags & AT_WEIGHT) && op->operands[i].role == AT_IN)
            mask |= 1u << i;
    return mask;
}

/* Puts forms and scratch behind the operands, and packs the weights. */
static at_status make_ready(at_bench *b, call *c, at_error *err)
{
    const at_prepared *p = &c->prepared;
    size_t forms = 0;
    void *arena;
    for (int f = 0; f < p->n_forms; f++)
        forms += rounded(p->forms[f].bytes);
    at_status status =
        at_device_arena(b->device, b->used + forms + rounded(p->scratch_bytes), &arena, err);
    if (status != AT_OK)
        return status;
    char *next = b->arena + b->used;
    for (int f = 0; f < p->n_forms; f++) {
        const at_form *form = &p->forms[f];
        form->pack(p, f, next, operand(b, form->operand), &b->device->stream);
        at_operand_of(b->op, c->args, form->operand)->data = next;
        next += rounded(form->bytes);
    }
    c->launch = (at_launch){ &b->device->stream, p->scratch_bytes ? next : NULL, NULL };
    c->stride = b->used + forms;
    c->sets = 1;
    return AT_OK;
}

static at_status enqueue(const call *c, const void *args, at_error *err)
{
    at_error why = { 0 };
    at_launch launch = c->launch;
    launch.err = &why;
    at_status status = c->variant->run(args, &c->prepared, &launch);
    return status == AT_OK ? AT_OK
                           : at_fail(err, status, "%s failed: %s%s%s", c->variant->name,
                                     at_status_name(status), *why.text ? ": " : "", why.text);
}

static at_status run_once(at_bench *b, const call *c, double *seconds, at_error *err)
{
    double start = at_clock_seconds();
    at_status status = enqueue(c, c->args, err);
    at_device_wait(b->device);
    *seconds = at_clock_seconds() - start;
    return status;
}

/* A tenth of the time warms up: caches, clocks, the team of threads. */
static at_status time_runs(at_bench *b, call *c, double seconds, at_timing *out, at_error *err)
{
    enum { WARM = 10 }; /* how much longer than another a first run may take */
    double spent = 0, took = 0;
    at_status status = AT_OK;
    while (status == AT_OK && spent <= seconds / 10) {
        status = run_once(b, c, &took, err);
        spent += took;
        if (c->hopeless > 0 && took > WARM * c->hopeless)
            break;
    }
    int n = 0;
    for (spent = 0; status == AT_OK && n < RUNS_MAX;) {
        if (spent >= seconds && n && (n >= RUNS_MIN || spent >= 4 * seconds))
            break;
        status = run_once(b, c, &b->runs[n], err);
        spent += b->runs[n++];
        if (c->hopeless > 0 && n == 1 && b->runs[0] > c->hopeless)
            break;
    }
    if (status != AT_OK)
        return status;
    *out = (at_timing){ .seconds = at_median(b->runs, n), .runs = n, .sets = 1 };
    out->seconds_min = b->runs[0];
    return AT_OK;
}

/* --- timing where runs are captured ----------------------------------------------------------- */

static at_status enqueue_set(void *context, int i, at_error *err)
{
    const call *c = context;
    const at_op *op = c->bench->op;
    _Alignas(16) unsigned char args[AT_ARGS_MAX];
    memcpy(args, c->args, sizeof args);
    for (int k = 0; k < op->n_operands; k++) {
        at_view *v = at_operand_of(op, args, k);
        if (at_has(v))
            v->data = (char *)v->data + (size_t)(i % c->sets) * c->stride;
    }
    return enqueue(c, args, err);
}

/* How many sets: a run of 'each' seconds that could not go round them in a fraction of the time is
 * so slow that a cache makes no difference to it. */
static int sets_for(const at_bench *b, const call *c, double each, double seconds)
{
    enum { FRACTION = 6 };
    size_t there = (at_device_memory_free(b->device) + b->device->range_mapped) / 2;
    double touched = at_op_cost(b->op, b->args).bytes; /* a part of a sparse operand */
    size_t sets = (size_t)((double)b->rotate / (touched > 1 ? touched : 1)) + 1;
    if (sets > there / c->stride)
        sets = there / c->stride;
    if (each > 0 && (double)sets * each > seconds / FRACTION)
        sets = (size_t)(seconds / FRACTION / each);
    if (sets > SETS_MAX)
        sets = SETS_MAX;
    return sets > 1 ? (int)sets : 1;
}

/* Copies of the first set, one behind the other; scratch, which all share, moves behind them. */
static at_status make_sets(at_bench *b, call *c, int sets, at_error *err)
{
    void *arena;
    const size_t bytes = (size_t)sets * c->stride;
    at_status status =
        at_device_arena(b->device, bytes + rounded(c->prepared.scratch_bytes), &arena, err);
    if (status != AT_OK)
        return status;
    for (int i = 1; i < sets; i++)
        at_device_copy(b->device, b->arena + (size_t)i * c->stride, b->arena, c->stride);
    c->sets = sets;
    c->launch.scratch = c->prepared.scratch_bytes ? b->arena + bytes : NULL;
    return AT_OK;
}

static at_status time_captured(at_bench *b, call *c, double seconds, at_timing *out, at_error *err)
{
    at_launches l = { .launch = enqueue_set, .context = c, .round = 1 };
    at_status status = at_launches_try(b->device, &l, err);
    *out = (at_timing){ .seconds = l.each, .seconds_min = l.each, .runs = 1, .sets = 1 };
    if (status == AT_OK && c->hopeless > 0 && l.each > c->hopeless)
        return AT_OK;
    if (status == AT_OK)
        status = make_sets(b, c, sets_for(b, c, l.each, seconds), err);
    if (status != AT_OK)
        return status;
    l.round = c->sets;
    status = at_launches_time(b->device, &l, seconds, out, err);
    out->sets = c->sets;
    return status;
}

/* Runs once where 'out' is NULL. */
static at_status time_entered(at_bench *b, const at_bench_how *how, double seconds, at_timing *out,
                              at_error *err)
{
    call c = { .bench = b, .variant = how->variant, .hopeless = how->hopeless };
    double took;
    const at_prepare_in in = { .caps = &b->device->caps,
                               .constants = how->constants,
                               .exact = how->exact,
                               .candidate = how->candidate,
                               .choice = how->choice };
    memcpy(c.args, b->args, sizeof c.args);
    at_status status = at_prepare(c.variant, c.args, &in, &c.prepared, err);
    if (status != AT_OK)
        return status;
    status = make_ready(b, &c, err);
    if (status == AT_OK && out)
        status = (b->device->api->replay ? time_captured : time_runs)(b, &c, seconds, out, err);
    else if (status == AT_OK)
        status = run_once(b, &c, &took, err);
    at_release(c.variant, &c.prepared);
    return status;
}

at_status at_bench_time_as(at_bench *b, const at_bench_how *how, double seconds, at_timing *out,
                           at_error *err)
{
    at_device_enter(b->device);
    at_status status = time_entered(b, how, seconds, out, err);
    at_device_leave(b->device);
    return status == AT_OK ? at_device_check(b->device, err) : status;
}

at_status at_bench_time(at_bench *b, const at_variant *v, double seconds, at_timing *out,
                        at_error *err)
{
    const at_bench_how how = { .variant = v, .constants = at_bench_constants(b->op) };
    return at_bench_time_as(b, &how, seconds, out, err);
}

at_status at_bench_run(at_bench *b, const at_bench_how *how, at_error *err)
{
    return at_bench_time_as(b, how, 0, NULL, err);
}
