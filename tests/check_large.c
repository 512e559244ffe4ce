/* check_large.c -- checkop --large: a device's variants at the shapes that the models run at, where
 * the reference would take hours.
 *
 * They are held against the naive variant of the device, the last one of the list that takes the
 * call; where there is but one, against the processor's best. Both have been proved by the small
 * cases. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/bench.h"
#include "engine/machine.h"
#include "tests/check.h"

enum { CANDIDATES_MAX = 4, POISON = 0xFF };

/* Twice what check_run.c allows, in f32 ten times: sums are of up to 100,000 terms here, and what
 * is compared with has rounded, too. */
static double tolerance_of(at_dtype dtype)
{
    switch (dtype) {
    case AT_F32: return 1e-4;
    case AT_F16: return 0x1p-9;
    case AT_BF16: return 0x1p-6;
    case AT_F8: return 0x1p-2;
    default: return 0;
    }
}

/* Bytes of a picture or of 8-bit states may fall on either side of a rounding border, that many of
 * them by one. */
static const double whole_numbers_off = 1e-4;

/* One call: inputs as they were, and what the reference and a variant have made of them. */
typedef struct large {
    at_check *c;
    const at_op *op;
    at_device *processor;
    at_bench *bench;
    const char *text;
    const at_variant *naive; /* what the others are held against; NULL: the processor's */
    const char *reference;   /* the name of either */
    _Alignas(16) unsigned char args[AT_ARGS_MAX];           /* addresses of the device */
    void *inputs[AT_OPERANDS_MAX];                          /* as the bench has filled them */
    void *expected[AT_OPERANDS_MAX], *got[AT_OPERANDS_MAX]; /* of outputs */
} large;

static at_view *operand(large *l, int i)
{
    return at_operand_of(l->op, l->args, i);
}

static bool is_output(large *l, int i)
{
    return l->op->operands[i].role != AT_IN && at_has(operand(l, i));
}

static void *room(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    AT_ASSERT(p, "no memory for %zu bytes", bytes);
    return p;
}

static void take_inputs(large *l)
{
    memcpy(l->args, at_bench_args(l->bench), sizeof l->args);
    for (int i = 0; i < l->op->n_operands; i++) {
        const at_view *v = operand(l, i);
        if (!at_has(v))
            continue;
        size_t bytes = at_view_bytes(v);
        l->inputs[i] = room(bytes);
        if (l->op->operands[i].role == AT_OUT)
            memset(l->inputs[i], POISON, bytes);
        else
            at_device_download(l->c->device, l->inputs[i], v->data, bytes);
        if (is_output(l, i)) {
            l->expected[i] = room(bytes);
            l->got[i] = room(bytes);
        }
    }
}

static void free_all(large *l)
{
    for (int i = 0; i < l->op->n_operands; i++) {
        free(l->inputs[i]);
        free(l->expected[i]);
        free(l->got[i]);
    }
    at_bench_free(l->bench);
}

/* --- running ---------------------------------------------------------------------------------- */

/* What a prepared variant computes from and in, on the device. */
typedef struct lent {
    void *forms[AT_FORMS_MAX], *scratch;
} lent;

static void give_back(at_device *d, const at_prepared *p, lent *m)
{
    for (int f = 0; f < p->n_forms; f++)
        at_device_free(d, m->forms[f], p->forms[f].bytes);
    at_device_free(d, m->scratch, p->scratch_bytes);
}

static at_status lend(large *l, void *args, const at_prepared *p, lent *m, at_error *err)
{
    at_device *d = l->c->device;
    bool whole = true;
    for (int f = 0; f < p->n_forms; f++)
        whole = (m->forms[f] = at_device_alloc(d, p->forms[f].bytes)) && whole;
    if (p->scratch_bytes)
        whole = (m->scratch = at_device_alloc(d, p->scratch_bytes)) && whole;
    if (!whole)
        return at_fail(err, AT_NO_MEMORY, "no memory for its weights and %zu bytes of scratch",
                       p->scratch_bytes);
    for (int f = 0; f < p->n_forms; f++)
        p->forms[f].pack(p, f, m->forms[f], operand(l, p->forms[f].operand), &d->stream);
    for (int f = 0; f < p->n_forms; f++)
        at_operand_of(l->op, args, p->forms[f].operand)->data = m->forms[f];
    return AT_OK;
}

static uint32_t weights_of(const at_op *op)
{
    uint32_t mask = 0;
    for (int i = 0; i < op->n_operands; i++)
        if ((op->operands[i].flags & AT_WEIGHT) && op->operands[i].role == AT_IN)
            mask |= 1u << i;
    return mask;
}

/* The outputs as they were before a run: poison, or what is updated in place. */
static void put_back(large *l)
{
    for (int i = 0; i < l->op->n_operands; i++)
        if (is_output(l, i))
            at_device_upload(l->c->device, operand(l, i)->data, l->inputs[i],
                             at_view_bytes(operand(l, i)));
}

/* Runs a candidate of the device's variant; its outputs go to 'out'. */
static at_status run_there(large *l, const at_variant *v, int candidate, void **out, at_error *err)
{
    at_device *d = l->c->device;
    const at_prepare_in in = { .caps = &d->caps,
                               .constants = weights_of(l->op),
                               .candidate = candidate };
    _Alignas(16) unsigned char args[AT_ARGS_MAX];
    at_prepared p;
    lent m = { { NULL }, NULL };
    memcpy(args, l->args, sizeof args);
    at_status status = at_prepare(v, args, &in, &p, err);
    if (status != AT_OK)
        return status;
    put_back(l);
    at_device_enter(d);
    status = lend(l, args, &p, &m, err);
    if (status == AT_OK) {
        const at_launch launch = { &d->stream, m.scratch, err };
        status = v->run(args, &p, &launch);
    }
    at_device_wait(d);
    at_device_leave(d);
    for (int i = 0; i < l->op->n_operands; i++)
        if (is_output(l, i))
            at_device_download(d, out[i], operand(l, i)->data, at_view_bytes(operand(l, i)));
    give_back(d, &p, &m);
    at_release(v, &p);
    at_status seen = at_device_check(d, err);
    return seen != AT_OK ? seen : status;
}

/* The processor's best on copies; its outputs are the expected ones. */
static at_status run_here(large *l, const at_variant *v, at_error *err)
{
    at_device *d = l->processor;
    const at_prepare_in in = { .caps = &d->caps };
    _Alignas(16) unsigned char args[AT_ARGS_MAX];
    at_prepared p;
    memcpy(args, l->args, sizeof args);
    for (int i = 0; i < l->op->n_operands; i++) {
        at_view *view = at_operand_of(l->op, args, i);
        if (is_output(l, i))
            memcpy(l->expected[i], l->inputs[i], at_view_bytes(view));
        if (at_has(view))
            view->data = is_output(l, i) ? l->expected[i] : l->inputs[i];
    }
    at_status status = at_prepare(v, args, &in, &p, err);
    if (status != AT_OK)
        return status;
    void *scratch = p.scratch_bytes ? room(p.scratch_bytes) : NULL;
    const at_launch launch = { &d->stream, scratch, err };
    status = v->run(args, &p, &launch);
    free(scratch);
    at_release(v, &p);
    return status;
}

/* --- comparing -------------------------------------------------------------------------------- */

/* The largest deviation of output i in tolerances; above 1 it is another result. */
static double deviation(large *l, int i)
{
    at_view e = *operand(l, i), g = e;
    double squares = 0, most = 0, tolerance = tolerance_of(e.dtype);
    int64_t rows = at_rows(&e), cols = at_cols(&e), off = 0;
    bool whole = !at_dtype_is_float(e.dtype);
    e.data = l->expected[i];
    g.data = l->got[i];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < cols; k++)
            squares += at_get(&e, r, k) * at_get(&e, r, k);
    double scale = sqrt(squares / ((double)rows * (double)cols));
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < cols; k++) {
            double want = at_get(&e, r, k), have = at_get(&g, r, k), apart = fabs(want - have);
            if (!isfinite(want) || !isfinite(have))
                return want == have ? most : INFINITY;
            off += whole && apart > 0;
            most = fmax(most, whole ? (apart > 1 ? INFINITY : 0)
                                    : apart / (tolerance * (fabs(want) + scale) + 1e-30));
        }
    return whole && most <= 1 ? (double)off / (whole_numbers_off * (double)rows * (double)cols + 1)
                              : most;
}

static void compare(large *l, const at_variant *v, int candidate)
{
    for (int i = 0; i < l->op->n_operands; i++) {
        if (!is_output(l, i))
            continue;
        const char *name = l->op->operands[i].name;
        double apart = deviation(l, i);
        l->c->runs++;
        if (!(apart <= 1))
            check_fail(l->c, "%s candidate %d [%s]: %s is %.3g tolerances from %s", v->name,
                       candidate, l->text, name, apart, l->reference);
        else
            printf("ok   %s candidate %d [%s]: %s is %.2f tolerances from %s\n", v->name, candidate,
                   l->text, name, apart, l->reference);
    }
}

static void check_variant(large *l, const at_variant *v)
{
    int n = at_candidates(v, l->args, &l->c->caps);
    for (int candidate = 0; candidate < n && candidate < CANDIDATES_MAX; candidate++) {
        at_error err = { 0 };
        if (run_there(l, v, candidate, l->got, &err) == AT_OK) {
            compare(l, v, candidate);
            continue;
        }
        l->c->runs++;
        check_fail(l->c, "%s candidate %d [%s]: %s", v->name, candidate, l->text, err.text);
    }
}

/* --- a shape ---------------------------------------------------------------------------------- */

static bool takes(large *l, const at_variant *v)
{
    return at_variant_usable(v, l->args, &l->c->caps, false);
}

/* What the others are compared with; its outputs are then the expected ones. */
static at_status make_expected(large *l, at_error *err)
{
    const at_variant *last = NULL, *first = NULL;
    for (int i = 0; i < l->op->n_variants; i++)
        if (takes(l, &l->op->variants[i])) {
            last = &l->op->variants[i];
            first = first ? first : last;
        }
    if (last && last != first) {
        l->naive = last;
        l->reference = last->name;
        return run_there(l, last, 0, l->expected, err);
    }
    const at_variant *v = at_op_pick(l->op, l->args, &l->processor->caps, false);
    if (!last || !v)
        return at_fail(err, AT_UNSUPPORTED, "nothing takes it");
    l->reference = v->name;
    return run_here(l, v, err);
}

static void check_shape(at_check *c, at_device *processor, const at_op *op, const char *text,
                        at_dtype dtype)
{
    large *l = calloc(1, sizeof *l);
    at_error err = { 0 };
    AT_ASSERT(l, "no memory");
    *l = (large){ .c = c, .op = op, .processor = processor, .text = text };
    at_status status = at_bench_new(&l->bench, c->device, op, text, dtype, &err);
    if (status == AT_OK) {
        take_inputs(l);
        status = make_expected(l, &err);
    }
    if (status != AT_OK) {
        c->runs++;
        check_fail(c, "%s [%s]: %s", op->name, text, err.text);
    }
    for (int i = 0; i < op->n_variants && status == AT_OK; i++)
        if (&op->variants[i] != l->naive && takes(l, &op->variants[i]))
            check_variant(l, &op->variants[i]);
    free_all(l);
    free(l);
}

int check_large(at_check *c, const check_bench_options *o)
{
    at_device *processor;
    at_error err = { 0 };
    at_dtype dtype = o->dtype ? at_dtype_named(o->dtype) : AT_BF16;
    if (at_device_open(&processor, "cpu", NULL, &err) != AT_OK) {
        fprintf(stderr, "checkop: %s\n", err.text);
        return 2;
    }
    check_here.schedule(0, c->seed);
    if (o->text)
        check_shape(c, processor, at_op_named(o->op), o->text, dtype);
    for (int i = 0; !o->text && at_bench_shape_at(i); i++) {
        const at_bench_shape *s = at_bench_shape_at(i);
        if (!o->op || !strcmp(o->op, s->op))
            check_shape(c, processor, at_op_named(s->op), s->text, dtype);
    }
    at_device_close(processor);
    printf("checkop: %d passed, %d failed\n", c->runs - c->failures, c->failures);
    return c->failures != 0;
}
