#include "engine/tuning_try.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/bench.h"
#include "engine/clock.h"
#include "engine/rows.h"
#include "engine/tuning_inside.h"

/* Times as slow as the best, and a launch that was not captured: not worth more than one run. What
 * is kept must win by the margin. */
static const double hopeless = 3, launch_seconds = 3e-5, margin = 0.98, seconds_each = 0.05;

static const char *const verdicts[] = {
#define AT_VERDICT(NAME, text) text,
#include "engine/verdicts.def"
#undef AT_VERDICT
};

const char *at_verdict_text(at_verdict verdict)
{
    return verdicts[verdict];
}

typedef struct
try {
    const at_tuning *tuning;
    at_device *device;
    const at_tuning_call *call;
    at_trial *trial;
    at_error *err;
}
try;

static at_prepare_in preparation(const try *t)
{
    return (at_prepare_in){ .caps = &t->device->caps,
                            .constants = t->call->constants,
                            .exact = t->call->exact };
}

static void say(at_tried *c, at_verdict verdict, const char *why)
{
    c->verdict = verdict;
    snprintf(c->why, sizeof c->why, "%.*s", (int)sizeof c->why - 1, why);
}

/* --- what there is ---------------------------------------------------------------------------- */

/* Takes the prepared candidate on the list, once, and releases it. */
static void add(try *t, const at_variant *v, at_prepared *p)
{
    at_trial *l = t->trial;
    bool there = l->n == AT_TRIED_MAX;
    for (int i = 0; i < l->n && !there; i++)
        there = l->list[i].variant == v && !strcmp(l->list[i].choice, p->choice);
    if (!there) {
        at_tried *c = &l->list[l->n++];
        *c = (at_tried){ .variant = v,
                         .scratch = p->scratch_bytes,
                         .verdict = AT_VERDICT_NOT_TIMED };
        snprintf(c->choice, sizeof c->choice, "%s", p->choice);
    }
    at_release(v, p);
}

static void add_candidates(try *t, const at_variant *v)
{
    at_prepare_in in = preparation(t);
    at_error why;
    int n = at_candidates(v, t->call->args, &t->device->caps);
    for (int k = 0; k < n; k++) {
        at_prepared p;
        in.candidate = k;
        if (at_prepare(v, t->call->args, &in, &p, &why) == AT_OK)
            add(t, v, &p);
    }
}

/* The one that an untuned plan takes comes first. The reference of the cpu, which may take minutes,
 * is tried only if it is that one. */
static at_status collect(try *t)
{
    const at_op *op = t->call->op;
    const at_prepare_in in = preparation(t);
    const at_variant *untuned;
    at_prepared p;
    t->trial->n = t->trial->kept = 0;
    at_status status = at_op_choose(op, t->call->args, &in, &untuned, &p, t->err);
    if (status != AT_OK)
        return status;
    add(t, untuned, &p);
    for (int i = 0; i < op->n_variants; i++) {
        const at_variant *v = &op->variants[i];
        bool reference = v->device == AT_CPU && i == op->n_variants - 1;
        if (!reference && at_tuning_usable(v, t->call->args, &t->device->caps, t->call->exact))
            add_candidates(t, v);
    }
    return AT_OK;
}

/* --- how fast they are ------------------------------------------------------------------------ */

static at_bench_how how_of(const try *t, const at_tried *c)
{
    return (at_bench_how){ .variant = c->variant,
                           .constants = t->call->constants,
                           .exact = t->call->exact,
                           .choice = c->choice };
}

/* Times a candidate; 'best' is the shortest time so far, 0: none. */
static at_status time_one(const try *t, at_bench *b, at_tried *c, double *best, at_error *why)
{
    const at_tuning_settings *set = &t->tuning->settings;
    double each = set->seconds_each > 0 ? set->seconds_each : seconds_each;
    at_bench_how how = how_of(t, c);
    at_timing timing;
    how.hopeless = *best > 0 ? *best * hopeless + launch_seconds : 0;
    at_status status = set->time ? set->time(set->context, b, &how, each, &timing, why)
                                 : at_bench_time_as(b, &how, each, &timing, why);
    say(c, status == AT_OK ? AT_VERDICT_SLOWER : AT_VERDICT_FAILED, why->text);
    if (status != AT_OK)
        return status;
    c->seconds = timing.seconds;
    *best = *best > 0 && *best < c->seconds ? *best : c->seconds;
    if (how.hopeless > 0 && c->seconds > how.hopeless)
        say(c, AT_VERDICT_HOPELESS, "");
    return AT_OK;
}

/* Whether a launch that failed has left the device as it was. */
static bool still_runs(const try *t, at_bench *b)
{
    const at_bench_how how = how_of(t, t->trial->list);
    at_error why;
    return at_bench_run(b, &how, &why) == AT_OK;
}

static at_status time_all(try *t)
{
    size_t room = t->device->api->workspace_bytes;
    double best = 0;
    at_bench *b;
    at_status status = at_bench_new_args(&b, t->device, t->call->op, t->call->args, t->err);
    if (status != AT_OK)
        return status;
    for (int i = 0; i < t->trial->n && status == AT_OK; i++) {
        at_tried *c = &t->trial->list[i];
        at_error why = { 0 };
        if (i && room && c->scratch > room)
            say(c, AT_VERDICT_SCRATCH, "");
        else if (time_one(t, b, c, &best, &why) == AT_DEVICE && !still_runs(t, b))
            status = at_fail(t->err, AT_DEVICE, "%s", why.text);
    }
    at_bench_free(b);
    return status;
}

/* --- what an exact plan may take -------------------------------------------------------------- */

/* Batches that a choice must be there for, besides the one that was asked for. */
static const int64_t batches[] = { 1, 2, 3, 4, 8, 16 };

static bool made_for_every_batch(const try *t, at_tried *c)
{
    _Alignas(16) unsigned char args[AT_ARGS_MAX];
    at_choice choice;
    snprintf(choice.variant, sizeof choice.variant, "%s", c->variant->name);
    snprintf(choice.text, sizeof choice.text, "%s", c->choice);
    for (size_t i = 0; i < AT_COUNT(batches); i++) {
        const at_tuning_call other = { t->call->op, args, t->call->constants, t->call->exact };
        const at_variant *v;
        at_prepared p;
        at_error why = { 0 };
        if (at_rows_resize(t->call->op, t->call->args, batches[i], args, &why) != AT_OK ||
            at_tuning_make(t->device, &other, &choice, &v, &p, &why) != AT_OK) {
            say(c, AT_VERDICT_OTHER_BATCH, why.text);
            return false;
        }
        at_release(v, &p);
    }
    return true;
}

/* An untuned plan may take the first one anyway. */
static at_status check_exact(const try *t, at_tried *c, bool *good)
{
    const at_tuning_call *call = t->call;
    *good = true;
    if (!call->exact || !at_rows_matter(call->op, call->args) || c == t->trial->list)
        return AT_OK;
    *good = made_for_every_batch(t, c);
    if (!*good || (c->variant->flags & (AT_ROWS_INDEPENDENT | AT_ROWS_WHEN_EXACT)))
        return AT_OK;
    const at_bench_how how = how_of(t, c);
    int64_t batch = at_rows_batch(call->op, call->args);
    const int64_t sizes[] = { batch > 2 ? batch : 2, 3 };
    for (size_t i = 0; i < AT_COUNT(sizes) && *good; i++) {
        at_error why = { 0 };
        at_status status = at_rows_check(t->device, call->op, call->args, sizes[i], &how, &why);
        *good = status == AT_OK;
        if (status == AT_DEVICE)
            return at_fail(t->err, status, "%s", why.text);
        if (status != AT_OK)
            say(c, status == AT_INVALID ? AT_VERDICT_ROWS : AT_VERDICT_FAILED, why.text);
    }
    return AT_OK;
}

static bool is_left(const at_tried *c)
{
    return c->verdict == AT_VERDICT_SLOWER || c->verdict == AT_VERDICT_HOPELESS;
}

/* The fastest that was not dropped, be it hopeless beside one that was; -1: none was timed. */
static int fastest(const at_trial *l)
{
    int best = -1;
    for (int i = 0; i < l->n; i++) {
        const at_tried *c = &l->list[i];
        if (is_left(c) && (best < 0 || c->seconds < l->list[best].seconds * (best ? 1 : margin)))
            best = i;
    }
    return best;
}

/* What is slower may still be told apart. */
static at_status check_rest(const try *t)
{
    at_status status = AT_OK;
    bool good;
    for (int i = 0; i < t->trial->n && status == AT_OK; i++) {
        at_tried *c = &t->trial->list[i];
        if (is_left(c))
            status = check_exact(t, c, &good);
    }
    return status;
}

static at_status decide(try *t)
{
    bool good = false;
    at_status status = AT_OK;
    while (status == AT_OK && !good) {
        t->trial->kept = fastest(t->trial);
        if (t->trial->kept < 0)
            return at_fail(t->err, AT_UNSUPPORTED, "no variant of %s could be run: %s",
                           t->call->op->name, t->trial->list[0].why);
        status = check_exact(t, &t->trial->list[t->trial->kept], &good);
    }
    if (status != AT_OK)
        return status;
    t->trial->list[t->trial->kept].verdict = AT_VERDICT_KEPT;
    return t->tuning->settings.check_all ? check_rest(t) : AT_OK;
}

/* --- all of it -------------------------------------------------------------------------------- */

static at_status keep(at_tuning *t, const char *key, const at_trial *l, at_error *err)
{
    const at_tried *c = &l->list[l->kept];
    at_choice choice = { .seconds = c->seconds, .scratch = c->scratch };
    snprintf(choice.variant, sizeof choice.variant, "%s", c->variant->name);
    snprintf(choice.text, sizeof choice.text, "%s", c->choice);
    return at_tuning_put(t, key, &choice, err);
}

static at_status try_entered(try *all, const char *key, at_tuning *t)
{
    at_status status = collect(all);
    if (status != AT_OK || all->trial->n < 2)
        return status;
    status = time_all(all);
    if (status == AT_OK)
        status = decide(all);
    if (status == AT_OK)
        status = keep(t, key, all->trial, all->err);
    for (int i = 0; i < all->trial->n; i++)
        t->counts.tried += all->trial->list[i].seconds > 0;
    if (status == AT_OK && t->settings.tried)
        t->settings.tried(t->settings.context, all->call, all->trial);
    return status;
}

at_status at_tuning_try(at_tuning *t, at_device *d, const at_tuning_call *call, at_trial *trial,
                        at_error *err)
{
    char key[AT_TUNING_KEY_MAX];
    double start = at_clock_seconds();
    try all = { t, d, call, trial, err };
    if (!at_tuning_key(call, key))
        return at_fail(err, AT_UNSUPPORTED, "%s: the call is too long to be a key", call->op->name);
    at_device_enter(d);
    at_status status = try_entered(&all, key, t);
    at_device_leave(d);
    t->counts.seconds += at_clock_seconds() - start;
    return status;
}

bool at_tuning_is_over(const at_tuning *t)
{
    return t->settings.seconds_total > 0 && t->counts.seconds >= t->settings.seconds_total;
}

at_status at_tuning_learn(at_tuning *t, at_device *d, const at_tuning_call *call, at_error *err)
{
    char key[AT_TUNING_KEY_MAX];
    at_error why = { 0 };
    if (at_tuning_is_over(t) || !at_tuning_key(call, key) || at_tuning_find(t, key))
        return AT_OK;
    at_trial *trial = malloc(sizeof *trial);
    if (!trial)
        return at_fail(err, AT_NO_MEMORY, "no memory for a trial");
    at_status status = at_tuning_try(t, d, call, trial, &why);
    free(trial);
    return status == AT_DEVICE ? at_fail(err, status, "%s", why.text) : AT_OK;
}
