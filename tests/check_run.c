/* check_run.c -- the method behind check.h. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/check.h"

enum {
    GUARD = 64,
    PITCH_EXTRA = 8,
    PITCH_OFFSET = 3,
    PITCH_ASIDE = 16,
    ALIGN = 64,
    POISON = 0xA5,
    TEXT = 512
};

/* How far two correct results may lie apart, relative to the element and to the output's root mean
 * square. f32: sums of thousands of terms in another order; bf16 and f16: the two sides may round
 * to neighbouring numbers, one last place apart, after such a sum; f8 likewise. */
static double tolerance_of(at_dtype dtype)
{
    switch (dtype) {
    case AT_F64: return 1e-12;
    case AT_F32: return 1e-5;
    case AT_F16: return 0x1p-10;
    case AT_BF16: return 0x1p-7;
    case AT_F8: return 0x1p-3;
    default: return 0;
    }
}

void check_fail(at_check *c, const char *fmt, ...)
{
    char line[2 * TEXT];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    c->failures++;
    if (c->report)
        c->report(c, line);
    else
        printf("FAIL %s\n", line);
}

/* --- memory ----------------------------------------------------------------------------------- */

typedef struct block {
    unsigned char *base, *data;
    size_t bytes;
} block;

static block block_new(size_t bytes, size_t offset)
{
    size_t all = (GUARD + offset + bytes + GUARD + ALIGN - 1) / ALIGN * ALIGN;
    block b = { aligned_alloc(ALIGN, all), NULL, bytes };
    AT_ASSERT(b.base, "no memory for %zu bytes", all);
    memset(b.base, POISON, all);
    b.data = b.base + GUARD + offset;
    return b;
}

static bool guards_intact(const block *b)
{
    for (const unsigned char *p = b->base; p < b->data; p++)
        if (*p != POISON)
            return false;
    for (size_t i = 0; i < GUARD; i++)
        if (b->data[b->bytes + i] != POISON)
            return false;
    return true;
}

/* --- rows ------------------------------------------------------------------------------------- */

static void copy_rows(const at_view *to, const at_view *from)
{
    size_t bytes = (size_t)at_cols(to) * at_dtype_bytes(to->dtype);
    for (int64_t r = 0; r < at_rows(to); r++)
        memcpy(at_row(to, r), at_row(from, r), bytes);
}

static bool same_rows(const at_view *a, const at_view *b)
{
    size_t bytes = (size_t)at_cols(a) * at_dtype_bytes(a->dtype);
    for (int64_t r = 0; r < at_rows(a); r++)
        if (memcmp(at_row(a, r), at_row(b, r), bytes))
            return false;
    return true;
}

/* --- a set of operands with memory ------------------------------------------------------------ */

typedef struct set {
    const at_op *op;
    _Alignas(16) unsigned char args[AT_ARGS_MAX];
    block blocks[AT_OPERANDS_MAX];
} set;

static at_view *operand(set *s, int i)
{
    return at_operand_of(s->op, s->args, i);
}

/* How rows lie: one after the other; apart and off alignment, where that is allowed; apart, each at
 * a multiple of 16 bytes where its length is one, like a slice of a wider tensor. */
typedef enum rows_lie { DENSE, APART, ASIDE } rows_lie;

/* Gives every operand memory of its own. */
static void set_allocate(set *s, rows_lie how)
{
    for (int i = 0; i < s->op->n_operands; i++) {
        at_view *v = operand(s, i);
        s->blocks[i] = (block){ 0 };
        if (!at_has(v))
            continue;
        bool apart = how != DENSE && v->rank > 1 && !(s->op->operands[i].flags & AT_DENSE);
        v->pitch = at_cols(v) + (!apart ? 0 : how == ASIDE ? PITCH_ASIDE : PITCH_EXTRA);
        size_t offset = !apart ? 0 : how == ASIDE ? PITCH_ASIDE : PITCH_OFFSET;
        offset *= at_dtype_bytes(v->dtype);
        s->blocks[i] = block_new(at_view_bytes(v), offset);
        v->data = s->blocks[i].data;
    }
}

static void set_free(set *s)
{
    for (int i = 0; i < s->op->n_operands; i++)
        free(s->blocks[i].base);
}

/* Poisons the outputs and brings the inputs back from 'from'. */
static void set_load(set *s, set *from)
{
    for (int i = 0; i < s->op->n_operands; i++) {
        at_view *v = operand(s, i);
        if (!at_has(v))
            continue;
        memset(s->blocks[i].data, POISON, s->blocks[i].bytes);
        if (s->op->operands[i].role != AT_OUT)
            copy_rows(v, operand(from, i));
    }
}

/* --- one run of one variant ------------------------------------------------------------------- */

typedef struct job {
    at_check *c;
    const at_op *op;
    const at_case *k;
    at_dtype dtype;
    const at_variant *v;
    set *inputs, *expected; /* dense; expected holds the reference's outputs */
    set got;
    rows_lie pitched;
    bool exact;
    uint32_t constants;
    int candidate;
    const char *choice;       /* prepared by it instead */
    char made[AT_CHOICE_MAX]; /* what the last run was prepared as, */
    int n_forms;              /* and how many forms it asked for */
    bool fitted[2];           /* some variant took the case: dense, pitched */
    char label[TEXT];
} job;

static const char *const how[] = { [DENSE] = "", [APART] = "pitched ", [ASIDE] = "aside " };

static void job_fail(job *j, const char *what)
{
    check_fail(j->c, "%s [%s] %s%s%s candidate %d, seed %llu: %s", j->v->name, j->label,
               how[j->pitched], j->exact ? "exact " : "", j->constants ? "packed" : "plain",
               j->candidate, (unsigned long long)j->c->seed, what);
}

static uint32_t weights_of(const at_op *op)
{
    uint32_t mask = 0;
    for (int i = 0; i < op->n_operands; i++)
        if (op->operands[i].flags & AT_WEIGHT)
            mask |= 1u << i;
    return mask;
}

static void *aligned(size_t bytes)
{
    void *p = aligned_alloc(ALIGN, (bytes + ALIGN) / ALIGN * ALIGN);
    AT_ASSERT(p, "no memory for %zu bytes", bytes);
    memset(p, POISON, (bytes + ALIGN) / ALIGN * ALIGN);
    return p;
}

/* --- on a device ------------------------------------------------------------------------------ */

typedef struct range {
    unsigned char *host, *there;
    size_t bytes;
} range;

/* The operands of one run, and last its scratch, copied to the device. */
typedef struct stage {
    range ranges[AT_OPERANDS_MAX + 1];
    int n;
    void *original[AT_OPERANDS_MAX];
} stage;

/* The device's address of 'bytes' at 'host', alignment kept; what overlays another shares it. */
static void *stage_in(const at_check *c, stage *s, void *host, size_t bytes)
{
    unsigned char *first = host;
    for (int i = 0; i < s->n; i++)
        if (first >= s->ranges[i].host && first < s->ranges[i].host + s->ranges[i].bytes)
            return s->ranges[i].there + (first - s->ranges[i].host);
    range *r = &s->ranges[s->n++];
    r->host = first - (uintptr_t)first % ALIGN - c->guard;
    r->bytes = (size_t)(first - r->host) + bytes + c->guard;
    r->there = at_device_alloc(c->device, r->bytes);
    AT_ASSERT(r->there, "no memory for %zu bytes on %s", r->bytes, c->device->api->name);
    at_device_upload(c->device, r->there, r->host, r->bytes);
    return r->there + (first - r->host);
}

static void stage_operands(job *j, stage *s, void *args)
{
    for (int i = 0; i < j->op->n_operands; i++) {
        at_view *v = at_operand_of(j->op, args, i);
        s->original[i] = v->data;
        if (at_has(v))
            v->data = stage_in(j->c, s, v->data, at_view_bytes(v));
    }
}

static void stage_out(job *j, stage *s, void *args)
{
    for (int i = 0; i < s->n; i++) {
        at_device_download(j->c->device, s->ranges[i].host, s->ranges[i].there, s->ranges[i].bytes);
        at_device_free(j->c->device, s->ranges[i].there, s->ranges[i].bytes);
    }
    for (int i = 0; i < j->op->n_operands; i++)
        at_operand_of(j->op, args, i)->data = s->original[i];
}

/* Packs the weights' forms there and puts them in the weights' place, as the parameters' owner
 * does. */
static void stage_forms(job *j, void *args, const at_prepared *p, void **forms)
{
    at_device *d = j->c->device;
    for (int f = 0; f < p->n_forms; f++) {
        const at_form *form = &p->forms[f];
        forms[f] = at_device_alloc(d, form->bytes);
        AT_ASSERT(forms[f], "no memory for %zu bytes on %s", form->bytes, d->api->name);
        form->pack(p, f, forms[f], at_operand_of(j->op, args, form->operand), &d->stream);
    }
    for (int f = 0; f < p->n_forms; f++)
        at_operand_of(j->op, args, p->forms[f].operand)->data = forms[f];
}

/* The prepared variant, on copies of its operands. */
static at_status run_on_device(job *j, void *args, const at_prepared *p, at_error *err)
{
    at_device *d = j->c->device;
    stage s = { 0 };
    void *forms[AT_FORMS_MAX] = { NULL };
    block scratch = block_new(p->scratch_bytes, 0);
    stage_operands(j, &s, args);
    void *there = p->scratch_bytes ? stage_in(j->c, &s, scratch.data, scratch.bytes) : NULL;
    const at_launch launch = { &d->stream, there, NULL };
    at_device_enter(d);
    stage_forms(j, args, p, forms);
    at_status status = j->v->run(args, p, &launch);
    stage_out(j, &s, args);
    at_device_leave(d);
    for (int f = 0; f < p->n_forms; f++)
        at_device_free(d, forms[f], p->forms[f].bytes);
    if (!guards_intact(&scratch))
        job_fail(j, "wrote outside its scratch");
    free(scratch.base);
    at_status seen = at_device_check(d, err);
    return seen == AT_OK && status != AT_OK
               ? at_fail(err, status, "run failed: %s", at_status_name(status))
               : seen;
}

/* A library may ask the device, and give something back to it. */
static at_status prepare(job *j, const void *args, const at_prepare_in *in, at_prepared *p,
                         at_error *err)
{
    if (j->c->device)
        at_device_enter(j->c->device);
    at_status status = at_prepare(j->v, args, in, p, err);
    if (j->c->device)
        at_device_leave(j->c->device);
    return status;
}

static void release(job *j, at_prepared *p)
{
    if (j->c->device)
        at_device_enter(j->c->device);
    at_release(j->v, p);
    if (j->c->device)
        at_device_leave(j->c->device);
}

static int candidates_of(job *j)
{
    if (j->c->device)
        at_device_enter(j->c->device);
    int n = at_candidates(j->v, j->got.args, &j->c->caps);
    if (j->c->device)
        at_device_leave(j->c->device);
    return n;
}

/* A library's engines are known when it is asked: it may have none for these args, or no such
 * candidate that is exact, and then the variant does not fit. */
static bool is_tried(const job *j)
{
    return j->v->flags & AT_ROWS_WHEN_TRIED;
}

static bool is_usable(job *j, const void *args)
{
    const at_prepare_in in = { &j->c->caps, j->constants, j->exact, j->candidate, j->choice };
    at_prepared p;
    at_error err;
    if (!at_variant_usable(j->v, args, &j->c->caps, j->exact && !is_tried(j)))
        return false;
    if (!is_tried(j))
        return true;
    at_status status = prepare(j, args, &in, &p, &err);
    if (status == AT_OK)
        release(j, &p);
    return status != AT_UNSUPPORTED;
}

/* Prepares, packs, runs with the given number of threads. 'args' has its addresses. */
static at_status run_variant(job *j, void *args, int threads, at_error *err)
{
    at_caps caps = j->c->caps;
    caps.threads = threads;
    const at_stream stream = { AT_CPU, threads, NULL };
    const at_prepare_in in = { &caps, j->constants, j->exact, j->candidate, j->choice };
    at_prepared p;
    at_status status = prepare(j, args, &in, &p, err);
    if (status != AT_OK)
        return status;
    memcpy(j->made, p.choice, sizeof j->made);
    j->n_forms = p.n_forms;
    if (j->v->device != AT_CPU) {
        status = run_on_device(j, args, &p, err);
        release(j, &p);
        return status;
    }
    void *packed[AT_FORMS_MAX] = { NULL }, *original[AT_FORMS_MAX];
    for (int f = 0; f < p.n_forms; f++) {
        at_view *w = at_operand_of(j->op, args, p.forms[f].operand);
        original[f] = w->data;
        packed[f] = aligned(p.forms[f].bytes);
        p.forms[f].pack(&p, f, packed[f], w, &stream);
    }
    for (int f = 0; f < p.n_forms; f++)
        at_operand_of(j->op, args, p.forms[f].operand)->data = packed[f];
    block scratch = block_new(p.scratch_bytes, 0);
    const at_launch launch = { &stream, p.scratch_bytes ? scratch.data : NULL, NULL };
    status = j->v->run(args, &p, &launch);
    if (!guards_intact(&scratch))
        job_fail(j, "wrote outside its scratch");
    for (int f = 0; f < p.n_forms; f++) {
        at_operand_of(j->op, args, p.forms[f].operand)->data = original[f];
        free(packed[f]);
    }
    free(scratch.base);
    at_release(j->v, &p);
    return status == AT_OK ? AT_OK : at_fail(err, status, "run failed: %s", at_status_name(status));
}

/* --- comparing -------------------------------------------------------------------------------- */

static double root_mean_square(const at_view *v)
{
    double sum = 0;
    int64_t n = 0;
    for (int64_t r = 0; r < at_rows(v); r++)
        for (int64_t i = 0; i < at_cols(v); i++) {
            double x = at_get(v, r, i);
            if (isfinite(x))
                sum += x * x, n++;
        }
    return n ? sqrt(sum / (double)n) : 0;
}

static bool close_enough(double expected, double got, double tolerance, double scale)
{
    if (isnan(expected) || isnan(got))
        return isnan(expected) && isnan(got);
    if (isinf(expected) || isinf(got))
        return expected == got;
    return fabs(expected - got) <= tolerance * (fabs(expected) + scale);
}

static void compare_output(job *j, int i)
{
    const at_view *e = operand(j->expected, i), *g = operand(&j->got, i);
    double loose = j->k->loose > 0 ? j->k->loose : 1;
    double tolerance = tolerance_of(e->dtype) * loose, scale = root_mean_square(e);
    /* An f32 result of bf16 arithmetic is as good as bf16 only where the case says so by
     * 'loose'. */
    for (int64_t r = 0; r < at_rows(e); r++)
        for (int64_t c = 0; c < at_cols(e); c++) {
            double want = at_get(e, r, c), have = at_get(g, r, c);
            if (close_enough(want, have, tolerance, scale))
                continue;
            char what[TEXT];
            snprintf(what, sizeof what, "%s[%lld][%lld] expected %.9g, got %.9g (tolerance %.3g)",
                     j->op->operands[i].name, (long long)r, (long long)c, want, have,
                     tolerance * (fabs(want) + scale));
            job_fail(j, what);
            return;
        }
}

/* Nothing outside the outputs' rows may have changed. */
static void check_untouched(job *j)
{
    char what[TEXT];
    for (int i = 0; i < j->op->n_operands; i++) {
        at_view *v = operand(&j->got, i);
        if (!at_has(v))
            continue;
        const char *name = j->op->operands[i].name;
        snprintf(what, sizeof what, "wrote outside %s", name);
        bool intact = guards_intact(&j->got.blocks[i]);
        size_t bytes = at_dtype_bytes(v->dtype);
        for (int64_t r = 0; r + 1 < at_rows(v) && intact && v->pitch > at_cols(v); r++) {
            const unsigned char *gap = (unsigned char *)at_row(v, r) + (size_t)at_cols(v) * bytes;
            for (size_t b = 0; b < (size_t)(v->pitch - at_cols(v)) * bytes; b++)
                intact = intact && gap[b] == POISON;
        }
        if (!intact)
            job_fail(j, what);
        snprintf(what, sizeof what, "changed its input %s", name);
        if (j->op->operands[i].role == AT_IN && !same_rows(v, operand(j->inputs, i)))
            job_fail(j, what);
    }
}

/* --- the properties --------------------------------------------------------------------------- */

/* Runs once into 'got' and compares with the reference; false if it could not run at all. */
static bool check_values(job *j)
{
    at_error err = { 0 };
    set_load(&j->got, j->inputs);
    j->c->runs++;
    if (run_variant(j, j->got.args, 1, &err) != AT_OK) {
        job_fail(j, err.text);
        return false;
    }
    for (int i = 0; i < j->op->n_operands; i++)
        if (at_has(operand(&j->got, i)) && j->op->operands[i].role != AT_IN)
            compare_output(j, i);
    check_untouched(j);
    return true;
}

static void compare_bytes(job *j, set *other, const char *what)
{
    char text[TEXT];
    for (int i = 0; i < j->op->n_operands; i++) {
        at_view *a = operand(&j->got, i), *b = operand(other, i);
        if (j->op->operands[i].role == AT_IN || !at_has(a) || !at_has(b) || same_rows(a, b))
            continue;
        snprintf(text, sizeof text, "%s differs %s", j->op->operands[i].name, what);
        job_fail(j, text);
    }
}

static void check_threads(job *j)
{
    set other = j->got;
    set_allocate(&other, j->pitched);
    int most = j->c->device ? 2 : 3; /* on a device it is run once more */
    for (int threads = 2; threads <= most; threads++) {
        at_error err = { 0 };
        char what[64];
        set_load(&other, j->inputs);
        if (run_variant(j, other.args, threads, &err) != AT_OK)
            job_fail(j, err.text);
        snprintf(what, sizeof what, "between 1 and %d threads", threads);
        if (j->c->device)
            snprintf(what, sizeof what, "from run to run");
        compare_bytes(j, &other, what);
    }
    set_free(&other);
}

/* Runs into the memory of the input that the first overlay output may occupy. */
static void check_overlay(job *j)
{
    int out = -1, in = -1;
    for (int i = 0; i < j->op->n_operands && out < 0; i++)
        if ((j->op->operands[i].flags & AT_OVERLAY) && at_has(operand(&j->got, i)))
            out = i;
    for (int i = 0; i < j->op->n_operands && out >= 0 && in < 0; i++)
        if (j->op->operands[i].role == AT_IN &&
            at_same_shape(operand(&j->got, i), operand(&j->got, out)) &&
            operand(&j->got, i)->dtype == operand(&j->got, out)->dtype)
            in = i;
    if (in < 0 || j->pitched)
        return;
    at_error err = { 0 };
    set other = j->got;
    set_allocate(&other, DENSE);
    set_load(&other, j->inputs);
    void *own = operand(&other, out)->data;
    operand(&other, out)->data = operand(&other, in)->data;
    if (run_variant(j, other.args, 1, &err) != AT_OK)
        job_fail(j, err.text);
    compare_bytes(j, &other, "when it overlays its input");
    operand(&other, out)->data = own;
    set_free(&other);
}

/* The views of sample b of 'batch'. What all samples share, (1, C), stays whole; what has several
 * entries for each, such as a statistic of every row, is cut into equal pieces. */
static void cut_sample(job *j, set *one, set *all, int64_t b, int64_t batch)
{
    for (int i = 0; i < j->op->n_operands; i++) {
        at_view *v = operand(one, i), *whole = operand(all, i);
        *v = *whole;
        if (!at_has(v) || !(j->op->operands[i].flags & AT_BATCHED) || v->size[0] % batch)
            continue;
        v->size[0] /= batch;
        int64_t elements = b * (v->rank == 1 ? v->size[0] : at_rows(v) * v->pitch);
        v->data = (char *)whole->data + (size_t)elements * at_dtype_bytes(v->dtype);
    }
}

/* The first axis of the operands that have most axes. */
static int64_t batch_of(job *j)
{
    int64_t batch = 1;
    int rank = 0;
    for (int i = 0; i < j->op->n_operands; i++) {
        const at_view *v = operand(&j->got, i);
        if (!at_has(v) || !(j->op->operands[i].flags & AT_BATCHED) || v->rank < rank)
            continue;
        if (v->rank > rank || v->size[0] > batch)
            batch = v->size[0];
        rank = v->rank;
    }
    return batch;
}

static void check_samples(job *j)
{
    int64_t batch = batch_of(j);
    if (is_tried(j) || (!(j->v->flags & AT_ROWS_INDEPENDENT) && !j->exact))
        return;
    for (int64_t b = 0; b < batch && batch > 1 && b < 3; b++) {
        at_error err = { 0 };
        char what[64];
        set other = j->got, one;
        set_allocate(&other, j->pitched);
        set_load(&other, j->inputs);
        one = other;
        cut_sample(j, &one, &other, b, batch);
        if (!is_usable(j, one.args))
            job_fail(j, "does not fit one sample of the batch alone");
        else if (run_variant(j, one.args, 1, &err) != AT_OK)
            job_fail(j, err.text);
        snprintf(what, sizeof what, "between sample %lld alone and in the batch", (long long)b);
        set kept = j->got;
        cut_sample(j, &j->got, &kept, b, batch);
        for (int i = 0; i < j->op->n_operands; i++) /* what is no sample's own cannot be compared */
            if (!(j->op->operands[i].flags & AT_BATCHED))
                *operand(&j->got, i) = (at_view){ 0 };
        compare_bytes(j, &one, what);
        j->got = kept;
        set_free(&other);
    }
}

/* Without the optional outputs the others must come out the same. */
static void check_without_optional(job *j)
{
    bool any = false;
    set other = j->got;
    for (int i = 0; i < j->op->n_operands; i++)
        if (j->op->operands[i].role == AT_OUT && (j->op->operands[i].flags & AT_OPTIONAL) &&
            at_has(operand(&other, i))) {
            *operand(&other, i) = (at_view){ 0 };
            any = true;
        }
    if (!any || !is_usable(j, other.args))
        return;
    at_error err = { 0 };
    set_allocate(&other, j->pitched);
    set_load(&other, j->inputs);
    if (run_variant(j, other.args, 1, &err) != AT_OK)
        job_fail(j, err.text);
    set kept = j->got;
    memcpy(j->got.args, other.args, sizeof other.args);
    memcpy(j->got.blocks, other.blocks, sizeof other.blocks);
    for (int i = 0; i < j->op->n_operands; i++)
        if (at_has(operand(&j->got, i)) && j->op->operands[i].role != AT_IN)
            compare_output(j, i);
    j->got = kept;
    set_free(&other);
}

/* What was prepared, once more from its text: choices are kept on disk. */
static void check_choice(job *j)
{
    char choice[AT_CHOICE_MAX];
    at_error err = { 0 };
    set other = j->got;
    memcpy(choice, j->made, sizeof choice);
    set_allocate(&other, j->pitched);
    set_load(&other, j->inputs);
    j->choice = choice;
    if (run_variant(j, other.args, 1, &err) != AT_OK)
        job_fail(j, err.text);
    else if (strcmp(choice, j->made))
        job_fail(j, "is called otherwise when it is prepared by its own text");
    else
        compare_bytes(j, &other, "when it is prepared by its text");
    j->choice = NULL;
    set_free(&other);
}

/* One thread's plain loops, row by row, the same for every type: there is no thread or batch that
 * they could depend on. */
static bool is_reference(const job *j)
{
    return j->v == &j->op->variants[j->op->n_variants - 1];
}

/* The runs that must give the same again. */
static void check_again(job *j)
{
    if (j->constants && !j->n_forms)
        return; /* nothing was packed: seen when the weights were none */
    if (is_tried(j))
        check_choice(j);
    if (!is_reference(j)) {
        check_threads(j);
        check_samples(j);
    }
    check_overlay(j);
    if (!is_reference(j) || (j->dtype == AT_F32 && !j->pitched))
        check_without_optional(j);
}

static void check_candidate(job *j)
{
    int before = j->c->failures;
    if (!check_values(j) || j->c->failures > before)
        return;
    if (!j->c->brief)
        check_again(j);
    if (j->c->verbose && j->c->failures == before)
        printf("ok   %s [%s] %s%s%s\n", j->v->name, j->label, how[j->pitched],
               j->exact ? " exact" : "", j->constants ? " packed" : "");
}

/* A variant that cannot give every optional output is checked with the last ones that it can. */
static void drop_optional(job *j)
{
    for (int i = 0; i < j->op->n_operands && !is_usable(j, j->got.args); i++)
        if (j->op->operands[i].role == AT_OUT && (j->op->operands[i].flags & AT_OPTIONAL))
            *operand(&j->got, i) = (at_view){ 0 };
}

/* On a device every other case has aligned rows: what lies off alignment takes another path there,
 * and neither may go untested. */
static rows_lie pitched_of(const job *j)
{
    return j->c->device && (strlen(j->k->text) + (size_t)j->dtype) % 2 ? ASIDE : APART;
}

static void check_candidates(job *j)
{
    if (!is_usable(j, j->got.args))
        return;
    j->fitted[j->pitched != DENSE] = true;
    int n = candidates_of(j);
    if (n < 1)
        job_fail(j, "fits, and has no candidate");
    for (j->candidate = 0; j->candidate < n; j->candidate++)
        if (is_usable(j, j->got.args))
            check_candidate(j);
}

static void check_variant(job *j)
{
    const at_variant *v = j->v;
    if (j->c->only_variant && !strstr(v->name, j->c->only_variant))
        return;
    for (int m = 0; m < 8; m++) {
        j->pitched = m & 1 ? pitched_of(j) : DENSE;
        j->exact = m & 2;
        j->constants = m & 4 ? weights_of(j->op) : 0;
        if ((j->exact && !(v->flags & (AT_ROWS_WHEN_EXACT | AT_ROWS_WHEN_TRIED))) ||
            ((m & 4) && !j->constants))
            continue;
        j->candidate = 0;
        j->got = *j->inputs;
        set_allocate(&j->got, j->pitched);
        if (!is_usable(j, j->got.args)) {
            set_free(&j->got);
            drop_optional(j);
            set_allocate(&j->got, j->pitched);
        }
        check_candidates(j);
        set_free(&j->got);
    }
}

/* A device has no reference to fall back on: its variants take every case but those in f64. */
static void check_fitted(job *j)
{
    if (!j->c->device || j->c->only_variant || j->dtype == AT_F64)
        return;
    j->v = &j->op->variants[0];
    for (int pitched = 0; pitched < 2; pitched++)
        if (!j->fitted[pitched]) {
            j->pitched = pitched ? APART : DENSE;
            job_fail(j, "no variant of the device takes this case");
        }
}

/* --- a case ----------------------------------------------------------------------------------- */

static bool case_inputs(at_check *c, const at_op *op, const at_case *k, at_dtype dtype, set *s)
{
    at_error err = { 0 };
    s->op = op;
    AT_ASSERT(op->args_size <= AT_ARGS_MAX && op->n_operands <= AT_OPERANDS_MAX, "%s", op->name);
    if (at_args_parse(op, k->text, dtype, s->args, &err) != AT_OK ||
        at_op_shape(op, s->args, UINT32_MAX, &err) != AT_OK) {
        check_fail(c, "%s [%s] %s: %s", op->name, k->text, at_dtype_name(dtype), err.text);
        return false;
    }
    set_allocate(s, DENSE);
    for (int i = 0; i < op->n_operands; i++)
        if (at_has(operand(s, i)) && op->operands[i].role != AT_OUT)
            check_fill(c, k->fill, op->operands[i].name, operand(s, i));
    return true;
}

void check_case(at_check *c, const at_op *op, const at_case *k, at_dtype dtype)
{
    set *inputs = calloc(1, sizeof *inputs), *expected = calloc(1, sizeof *expected);
    job *j = calloc(1, sizeof *j);
    AT_ASSERT(inputs && expected && j, "no memory");
    if (case_inputs(c, op, k, dtype, inputs)) {
        *expected = *inputs;
        set_allocate(expected, DENSE);
        set_load(expected, inputs);
        const at_variant *ref = &op->variants[op->n_variants - 1];
        *j = (job){ .c = c,
                    .op = op,
                    .k = k,
                    .dtype = dtype,
                    .v = ref,
                    .inputs = inputs,
                    .expected = expected };
        snprintf(j->label, sizeof j->label, "%s, %s", k->text, at_dtype_name(dtype));
        at_error err = { 0 };
        if (run_variant(j, expected->args, 1, &err) != AT_OK)
            job_fail(j, err.text);
        j->got = *inputs;
        for (int i = 0; i < op->n_variants; i++) {
            j->v = &op->variants[i];
            check_variant(j);
        }
        for (const at_extra *e = at_extras; e->op; e++)
            if (!strcmp(e->op, op->name)) {
                j->v = e->variant;
                check_variant(j);
            }
        check_fitted(j);
        set_free(expected);
        set_free(inputs);
    }
    free(inputs);
    free(expected);
    free(j);
}
