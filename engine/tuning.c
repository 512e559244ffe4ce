#include "engine/tuning.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/arena.h"
#include "engine/rows.h"
#include "engine/tuning_inside.h"

/* --- keys ------------------------------------------------------------------------------------- */

typedef struct writer {
    char *text;
    size_t used;
} writer;

static void put(writer *w, const char *fmt, ...) AT_PRINTF(2, 3);
static void put(writer *w, const char *fmt, ...)
{
    size_t room = AT_TUNING_KEY_MAX - w->used;
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(w->text + w->used, room, fmt, args);
    va_end(args);
    w->used += n < 0 || (size_t)n >= room ? room - 1 : (size_t)n;
}

/* What the inputs' sizes do not tell. */
static void put_rest(writer *w, const at_tuning_call *c)
{
    for (int i = 0; i < c->op->n_operands; i++) {
        const at_view *v = at_operand_in(c->op, c->args, i);
        const at_operand *o = &c->op->operands[i];
        if (at_has(v) && v->pitch != at_cols(v))
            put(w, " pitch:%s=%lld", o->name, (long long)v->pitch);
        if (at_has(v) && o->role == AT_OUT && (o->flags & AT_OPTIONAL))
            put(w, " also:%s", o->name);
        if (at_has(v) && (o->flags & AT_WEIGHT) && (c->constants >> i & 1u))
            put(w, " constant:%s", o->name);
    }
}

bool at_tuning_key(const at_tuning_call *call, char key[AT_TUNING_KEY_MAX])
{
    _Alignas(16) unsigned char one[AT_ARGS_MAX];
    at_tuning_call c = *call;
    at_error err;
    writer w = { key, 0 };
    if (c.exact && at_rows_matter(c.op, c.args)) {
        if (at_rows_resize(c.op, c.args, 1, one, &err) != AT_OK)
            return false;
        c.args = one;
    }
    put(&w, "%s %s ", c.exact ? "exact" : "fast", c.op->name);
    at_args_print(c.op, c.args, key + w.used, AT_TUNING_KEY_MAX - w.used);
    w.used = strlen(key);
    put_rest(&w, &c);
    return w.used + 1 < AT_TUNING_KEY_MAX;
}

/* --- the choices ------------------------------------------------------------------------------ */

at_status at_tuning_new(at_tuning **out, const at_tuned_for *machine, at_error *err)
{
    at_tuning *t = *out = calloc(1, sizeof *t);
    if (!t)
        return at_fail(err, AT_NO_MEMORY, "no memory for a tuning");
    t->machine = *machine;
    at_tuning_name_file(t);
    return AT_OK;
}

void at_tuning_free(at_tuning *t)
{
    for (int i = 0; t && i < t->n; i++)
        free(t->list[i]);
    if (t)
        free(t->list);
    free(t);
}

/* Where the key is, or where it would be put in. */
static int place_of(const at_tuning *t, const char *key, bool *found)
{
    int low = 0, high = t->n;
    *found = false;
    while (low < high && !*found) {
        int middle = low + (high - low) / 2, order = strcmp(key, t->list[middle]->key);
        *found = order == 0;
        if (order <= 0)
            high = middle;
        else
            low = middle + 1;
    }
    return high;
}

const at_choice *at_tuning_find(const at_tuning *t, const char *key)
{
    bool found;
    int at = place_of(t, key, &found);
    return found ? &t->list[at]->choice : NULL;
}

/* Words of a line: printable, no tabs. */
bool at_tuning_is_word(const char *text, size_t size_max)
{
    size_t n = 0;
    while (n < size_max && text[n] >= ' ' && text[n] <= '~')
        n++;
    return n > 0 && n < size_max && !text[n];
}

at_status at_tuning_put(at_tuning *t, const char *key, const at_choice *c, at_error *err)
{
    bool found;
    int at = place_of(t, key, &found);
    if (!at_tuning_is_word(key, AT_TUNING_KEY_MAX) ||
        !at_tuning_is_word(c->variant, sizeof c->variant) ||
        !at_tuning_is_word(c->text, sizeof c->text))
        return at_fail(err, AT_INVALID, "a choice has no name, or one that no line can hold");
    if (!found && t->n == AT_TUNING_CHOICES_MAX)
        return at_fail(err, AT_NO_MEMORY, "a tuning holds %d choices at most",
                       AT_TUNING_CHOICES_MAX);
    if (found) {
        t->list[at]->choice = *c;
        return AT_OK;
    }
    size_t key_bytes = strlen(key) + 1;
    at_tuning_line *line = malloc(sizeof *line + key_bytes);
    if (!line)
        return at_fail(err, AT_NO_MEMORY, "no memory for a choice");
    line->choice = *c;
    memcpy(line->key, key, key_bytes);
    t->list = at_grow(t->list, t->n, &t->capacity, sizeof *t->list);
    memmove(t->list + at + 1, t->list + at, (size_t)(t->n - at) * sizeof *t->list);
    t->list[at] = line;
    t->n++;
    return AT_OK;
}

void at_tuning_drop(at_tuning *t, const char *key)
{
    bool found;
    int at = place_of(t, key, &found);
    if (!found)
        return;
    free(t->list[at]);
    t->n--;
    memmove(t->list + at, t->list + at + 1, (size_t)(t->n - at) * sizeof *t->list);
}

int at_tuning_count(const at_tuning *t)
{
    return t->n;
}

const at_choice *at_tuning_at(const at_tuning *t, int i, const char **key)
{
    if (i < 0 || i >= t->n)
        return NULL;
    *key = t->list[i]->key;
    return &t->list[i]->choice;
}

/* --- using them ------------------------------------------------------------------------------- */

void at_tuning_set(at_tuning *t, const at_tuning_settings *settings)
{
    t->settings = *settings;
}

at_tuning_counts at_tuning_counted(const at_tuning *t)
{
    return t->counts;
}

static const at_variant *named(const at_op *op, const char *name)
{
    for (int i = 0; i < op->n_variants; i++)
        if (!strcmp(op->variants[i].name, name))
            return &op->variants[i];
    return NULL;
}

bool at_tuning_usable(const at_variant *v, const void *args, const at_caps *caps, bool exact)
{
    if (v->flags & AT_ROWS_WHEN_TRIED)
        exact = false; /* then it is the choice that was tried out, not the variant */
    return at_variant_usable(v, args, caps, exact);
}

at_status at_tuning_make(const at_device *d, const at_tuning_call *call, const at_choice *c,
                         const at_variant **variant, at_prepared *prepared, at_error *err)
{
    const at_variant *v = *variant = named(call->op, c->variant);
    if (!v)
        return at_fail(err, AT_NOT_FOUND, "%s has no variant '%s'", call->op->name, c->variant);
    if (!at_tuning_usable(v, call->args, &d->caps, call->exact))
        return at_fail(err, AT_UNSUPPORTED, "%s does not take these sizes here", v->name);
    const at_prepare_in in = {
        .caps = &d->caps, .constants = call->constants, .exact = call->exact, .choice = c->text
    };
    at_status status = at_prepare(v, call->args, &in, prepared, err);
    size_t room = d->api->workspace_bytes;
    if (status != AT_OK || !room || prepared->scratch_bytes <= room)
        return status;
    size_t wants = prepared->scratch_bytes;
    at_release(v, prepared);
    return at_fail(err, AT_UNSUPPORTED, "%s would need %zu bytes of scratch here", v->name, wants);
}

/* Whether the choice can be made for a sample alone. */
static bool made_for_one(const at_device *d, const at_tuning_call *call, const at_choice *c)
{
    _Alignas(16) unsigned char one[AT_ARGS_MAX];
    const at_variant *v;
    at_prepared p;
    at_error err;
    if (at_rows_resize(call->op, call->args, 1, one, &err) != AT_OK)
        return false;
    const at_tuning_call alone = { call->op, one, call->constants, call->exact };
    if (at_tuning_make(d, &alone, c, &v, &p, &err) != AT_OK)
        return false;
    at_release(v, &p);
    return true;
}

static void tell_unmet(at_tuning *t, const char *key, const at_choice *c, const char *why)
{
    t->counts.unmet++;
    if (t->settings.unmet)
        t->settings.unmet(t->settings.context, key, c, why);
}

static at_status choose(at_tuning *t, const at_device *d, const at_tuning_call *call,
                        const at_variant **variant, at_prepared *prepared, at_error *err)
{
    char key[AT_TUNING_KEY_MAX];
    const at_prepare_in in = { .caps = &d->caps,
                               .constants = call->constants,
                               .exact = call->exact };
    bool written = t && at_tuning_key(call, key);
    const at_choice *c = written ? at_tuning_find(t, key) : NULL;
    at_error why = { 0 };
    if (t && !c)
        t->counts.unknown++;
    if (c && at_tuning_make(d, call, c, variant, prepared, &why) == AT_OK) {
        t->counts.found++;
        return AT_OK;
    }
    if (c) {
        tell_unmet(t, key, c, why.text);
        if (!call->exact || !made_for_one(d, call, c))
            at_tuning_drop(t, key);
    }
    return at_op_choose(call->op, call->args, &in, variant, prepared, err);
}

/* Libraries ask which context is current. */
at_status at_tuning_choose(at_tuning *t, at_device *d, const at_tuning_call *call,
                           const at_variant **variant, at_prepared *prepared, at_error *err)
{
    at_device_enter(d);
    at_status status = choose(t, d, call, variant, prepared, err);
    at_device_leave(d);
    return status;
}
