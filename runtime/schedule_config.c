/* schedule_config.c -- a scheduler_config's keys, each read by the row of schedule_keys.def that
 * has its name. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/json.h"
#include "runtime/schedule.h"

#define LIST(name)                static const char *const name[]
#define AT_PREDICTION(NAME, text) text,
LIST(predictions) = {
#include "runtime/schedules.def"
    NULL
};
#define AT_BETA_SCHEDULE(NAME, text) text,
LIST(beta_schedules) = {
#include "runtime/schedules.def"
    NULL
};
#define AT_SPACING(NAME, text) text,
LIST(spacings) = {
#include "runtime/schedules.def"
    NULL
};
#define AT_INTERPOLATION(NAME, text) text,
LIST(interpolations) = {
#include "runtime/schedules.def"
    NULL
};
#define AT_TIMESTEP_TYPE(NAME, text) text,
LIST(timestep_types) = {
#include "runtime/schedules.def"
    NULL
};
#define AT_FINAL_SIGMA(NAME, text) text,
LIST(final_sigmas) = {
#include "runtime/schedules.def"
    NULL
};
#define AT_SOLVER(NAME, text) text,
LIST(solvers) = {
#include "runtime/schedules.def"
    NULL
};
#define AT_ADDED_NOISE(NAME, text) text,
LIST(variances) = {
#include "runtime/schedules.def"
    NULL
};

/* Where the classes differ. */
typedef struct class_row {
    const char *name;
    char letter;
    double beta_start, beta_end;
    int beta_schedule, timestep_spacing, clip_sample;
} class_row;

#define AT_SCHEDULER(NAME, class, letter, beta_start, beta_end, betas, spacing, clip) \
    { class, letter, beta_start, beta_end, AT_BETA_SCHEDULE_##betas, AT_SPACING_##spacing, clip },
static const class_row classes[] = {
#include "runtime/schedules.def"
};

typedef enum key_kind { KEY_INT, KEY_REAL, KEY_BOOL, KEY_NAME, KEY_ONLY } key_kind;

typedef struct key_row {
    const char *name, *letters;
    key_kind kind;
    size_t offset;
    double initial, least, most, null;
    const char *const *names;
} key_row;

#define FIELD(key) offsetof(at_schedule_config, key)
#define AT_KEY_INT(key, letters, initial, least, most) \
    { #key, letters, KEY_INT, FIELD(key), initial, least, most, NAN, NULL },
#define AT_KEY_REAL(key, letters, initial, least, most, null) \
    { #key, letters, KEY_REAL, FIELD(key), initial, least, most, null, NULL },
#define AT_KEY_BOOL(key, letters, initial) \
    { #key, letters, KEY_BOOL, FIELD(key), initial, 0, 1, NAN, NULL },
#define AT_KEY_NAME(key, letters, initial, list) \
    { #key, letters, KEY_NAME, FIELD(key), initial, 0, 0, NAN, list },
#define AT_KEY_ONLY(key, letters, value) \
    { #key, letters, KEY_ONLY, FIELD(key), value, 0, 0, NAN, NULL },
static const key_row keys[] = {
#include "runtime/schedule_keys.def"
};

const char *at_scheduler_class(at_scheduler scheduler)
{
    return classes[scheduler].name;
}

int at_scheduler_order(at_scheduler scheduler)
{
    return scheduler == AT_SCHEDULER_HEUN || scheduler == AT_SCHEDULER_DPM_SDE ? 2 : 1;
}

/* --- defaults --------------------------------------------------------------------------------- */

static void set_number(at_schedule_config *c, const key_row *k, double value)
{
    char *field = (char *)c + k->offset;
    if (k->kind == KEY_INT)
        *(int64_t *)(void *)field = (int64_t)value;
    else if (k->kind == KEY_REAL)
        *(double *)(void *)field = value;
    else
        *(int *)(void *)field = (int)value;
}

static void set_defaults(at_schedule_config *c, at_scheduler scheduler)
{
    const class_row *row = &classes[scheduler];
    memset(c, 0, sizeof *c);
    for (size_t i = 0; i < AT_COUNT(keys); i++)
        set_number(c, &keys[i], keys[i].initial);
    c->scheduler = scheduler;
    c->beta_start = row->beta_start;
    c->beta_end = row->beta_end;
    c->beta_schedule = row->beta_schedule;
    c->timestep_spacing = row->timestep_spacing;
    c->clip_sample = row->clip_sample;
}

/* --- values ----------------------------------------------------------------------------------- */

/* Python writes what JSON does not have: DPM-Solver's own default of lambda_min_clipped. */
static bool skip_minus_infinity(at_json *j)
{
    static const char text[] = "-Infinity";
    if (at_json_peek(j) != AT_JSON_NUMBER || j->bytes - j->at < sizeof text - 1 ||
        memcmp(j->text + j->at, text, sizeof text - 1) != 0)
        return false;
    j->at += sizeof text - 1;
    return true;
}

static bool read_null(at_json *j)
{
    return at_json_peek(j) == AT_JSON_NULL && at_json_skip(j);
}

static bool read_int(at_json *j, const key_row *k, at_schedule_config *c)
{
    int64_t value;
    if (!at_json_int(j, &value))
        return false;
    if (value < (int64_t)k->least || value > (int64_t)k->most)
        return at_json_refuse(j, "expected %g to %g, found %lld", k->least, k->most,
                              (long long)value);
    set_number(c, k, (double)value);
    return true;
}

static bool read_real(at_json *j, const key_row *k, at_schedule_config *c)
{
    double value;
    if (k->null == k->null && read_null(j)) { /* which a NAN is not */
        set_number(c, k, k->null);
        return true;
    }
    if (k->initial == -INFINITY && skip_minus_infinity(j)) {
        set_number(c, k, -INFINITY);
        return true;
    }
    if (!at_json_real(j, &value))
        return false;
    if (value < k->least || value > k->most)
        return at_json_refuse(j, "expected %g to %g, found %g", k->least, k->most, value);
    set_number(c, k, value);
    return true;
}

static bool read_name(at_json *j, const key_row *k, at_schedule_config *c)
{
    at_json_text text;
    if (!at_json_string(j, &text))
        return false;
    char list[160] = "";
    for (int i = 0; k->names[i]; i++) {
        if (at_json_is(&text, k->names[i])) {
            set_number(c, k, i);
            return true;
        }
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "", k->names[i]);
    }
    return at_json_refuse(j, "expected one of %s; found \"%.*s\"", list,
                          (int)(text.raw_bytes < 40 ? text.raw_bytes : 40), text.raw);
}

static bool read_switch(at_json *j, const key_row *k, at_schedule_config *c)
{
    bool value;
    if (!at_json_bool(j, &value))
        return false;
    if (k->kind == KEY_ONLY && value != (k->initial != 0))
        return at_json_refuse(j, "%s is not supported", value ? "true" : "false");
    set_number(c, k, value);
    return true;
}

static bool read_key(at_json *j, const key_row *k, at_schedule_config *c)
{
    switch (k->kind) {
    case KEY_INT: return read_int(j, k, c);
    case KEY_REAL: return read_real(j, k, c);
    case KEY_NAME: return read_name(j, k, c);
    default: return read_switch(j, k, c);
    }
}

static bool read_betas(at_json *j, at_schedule_config *c)
{
    double value;
    c->n_trained_betas = 0;
    if (read_null(j))
        return true;
    for (at_json_array(j); at_json_element(j);) {
        if (!at_json_real(j, &value))
            return false;
        if (c->n_trained_betas == AT_SCHEDULE_TRAIN_STEPS_MAX || value < 0 || value > 1)
            return at_json_refuse(j, "expected at most %d numbers from 0 to 1, found %g",
                                  AT_SCHEDULE_TRAIN_STEPS_MAX, value);
        c->trained_betas[c->n_trained_betas++] = (float)value;
    }
    if (j->status == AT_OK && c->n_trained_betas == 0)
        return at_json_refuse(j, "the list is empty");
    return j->status == AT_OK;
}

static bool read_disabled(at_json *j)
{
    at_json_array(j);
    if (at_json_element(j))
        return at_json_refuse(j, "expected an empty list");
    return j->status == AT_OK;
}

/* --- the object ------------------------------------------------------------------------------- */

/* Reads the value of 'key'; 'name' becomes the key's, if it is one that counts here. */
static bool read_value(at_json *j, const at_json_text *key, at_schedule_config *c,
                       const char **name)
{
    const char letter = classes[c->scheduler].letter;
    for (size_t i = 0; i < AT_COUNT(keys); i++)
        if (strchr(keys[i].letters, letter) && at_json_is(key, keys[i].name)) {
            *name = keys[i].name;
            if (c->scheduler == AT_SCHEDULER_DDPM && keys[i].names == variances && read_null(j))
                return true; /* DPM-Solver's default, which means fixed_small to DDPM */
            return read_key(j, &keys[i], c);
        }
    if (at_json_is(key, "trained_betas")) {
        *name = "trained_betas";
        return read_betas(j, c);
    }
    if (letter == 'U' && at_json_is(key, "disable_corrector")) {
        *name = "disable_corrector";
        return read_disabled(j);
    }
    if (letter == 'M' && at_json_is(key, "variance_type") && at_json_peek(j) != AT_JSON_NULL) {
        *name = "variance_type";
        return at_json_refuse(j, "a model that predicts variances is not supported");
    }
    *name = NULL;
    return skip_minus_infinity(j) || at_json_skip(j);
}

/* What only the keys together can get wrong. */
static at_status check_config(const at_schedule_config *c, at_error *err)
{
    if (c->use_karras_sigmas + c->use_exponential_sigmas + c->use_beta_sigmas > 1)
        return at_fail(err, AT_INVALID,
                       "scheduler_config: use_karras_sigmas, use_exponential_sigmas and "
                       "use_beta_sigmas: expected at most one true");
    if (c->n_trained_betas > 0 && c->n_trained_betas != c->num_train_timesteps)
        return at_fail(err, AT_INVALID,
                       "scheduler_config: trained_betas: expected %lld, as num_train_timesteps "
                       "says, found %lld",
                       (long long)c->num_train_timesteps, (long long)c->n_trained_betas);
    return AT_OK;
}

at_status at_schedule_config_read(at_schedule_config *out, at_scheduler scheduler, const char *json,
                                  size_t bytes, at_error *err)
{
    at_json j;
    at_json_text key;
    at_error inner = { 0 };
    const char *name = NULL;
    if (bytes > AT_SCHEDULE_CONFIG_BYTES_MAX)
        return at_fail(err, AT_INVALID, "scheduler_config: %zu bytes, expected at most %d", bytes,
                       AT_SCHEDULE_CONFIG_BYTES_MAX);
    set_defaults(out, scheduler);
    at_json_start(&j, json, bytes, &inner);
    for (at_json_object(&j); at_json_key(&j, &key);) {
        if (!read_value(&j, &key, out, &name))
            break;
        name = NULL;
    }
    at_status status = at_json_end(&j);
    if (status != AT_OK)
        return at_fail(err, status, "scheduler_config: %s%s%s", name ? name : "", name ? ": " : "",
                       inner.text);
    return check_config(out, err);
}
