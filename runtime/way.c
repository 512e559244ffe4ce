#include "runtime/way.h"

#include <stdio.h>
#include <string.h>

#include "engine/json.h"
#include "kernels/shape.h"

/* --- the model's own sampler ------------------------------------------------------------------ */

enum { CLASS_MAX = 80, NAMES_MAX = 256 };

typedef struct class_words {
    char class[CLASS_MAX], algorithm[CLASS_MAX];
    bool karras;
} class_words;

static void copy_text(char out[CLASS_MAX], const at_json_text *t)
{
    snprintf(out, CLASS_MAX, "%.*s", t->raw_bytes < CLASS_MAX ? (int)t->raw_bytes : CLASS_MAX - 1,
             t->raw);
}

/* diffusers writes -Infinity for a number that is not JSON. */
static bool skip_value(at_json *j)
{
    static const char infinity[] = "-Infinity";
    at_json_peek(j);
    if (j->bytes - j->at < sizeof infinity - 1 ||
        memcmp(j->text + j->at, infinity, sizeof infinity - 1) != 0)
        return at_json_skip(j);
    j->at += sizeof infinity - 1;
    return true;
}

static at_status read_class(class_words *out, const char *json, size_t bytes, at_error *err)
{
    at_json j;
    at_json_text key, text;
    *out = (class_words){ .algorithm = "dpmsolver++" };
    at_json_start(&j, json, bytes, err);
    for (at_json_object(&j); at_json_key(&j, &key);) {
        const bool class = at_json_is(&key, "_class_name");
        if (class || at_json_is(&key, "algorithm_type")) {
            if (at_json_string(&j, &text))
                copy_text(class ? out->class : out->algorithm, &text);
        } else if (at_json_is(&key, "use_karras_sigmas") && at_json_peek(&j) == AT_JSON_TRUE) {
            at_json_bool(&j, &out->karras);
        } else {
            skip_value(&j);
        }
    }
    return at_json_end(&j);
}

static at_status refuse_class(const char *class, at_error *err)
{
    char names[NAMES_MAX] = "";
    for (int i = 0; i < AT_SAMPLER_COUNT; i++) {
        const size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "",
                 at_sampler_at((at_sampler)i)->name);
    }
    return at_fail(err, AT_UNSUPPORTED,
                   "the model's scheduler is %s, which there is no sampler for: choose one of %s",
                   class, names);
}

at_status at_way_sampler_of(at_sampler *out, const char *json, size_t bytes, at_error *err)
{
    class_words w;
    at_error why = { 0 };
    *out = AT_SAMPLER_IS_EULER;
    if (read_class(&w, json, bytes, &why) != AT_OK)
        return at_fail(err, AT_CORRUPT, "scheduler_config: %.400s", why.text);
    if (!w.class[0])
        return AT_OK;
    if (!strcmp(w.class, at_scheduler_class(AT_SCHEDULER_DPM_MULTISTEP))) {
        const bool sde = !strcmp(w.algorithm, "sde-dpmsolver++");
        *out = sde        ? AT_SAMPLER_IS_DPMPP_2M_SDE
               : w.karras ? AT_SAMPLER_IS_DPMPP_2M_KARRAS
                          : AT_SAMPLER_IS_DPMPP_2M;
        if (sde || !strcmp(w.algorithm, "dpmsolver++"))
            return AT_OK;
        snprintf(w.class + strlen(w.class), CLASS_MAX - strlen(w.class), " with %s", w.algorithm);
        return refuse_class(w.class, err);
    }
    for (int i = 0; i < AT_SAMPLER_COUNT; i++) {
        *out = (at_sampler)i;
        if (!strcmp(w.class, at_scheduler_class(at_sampler_at(*out)->scheduler)))
            return AT_OK;
    }
    return refuse_class(w.class, err);
}

/* --- what the request overrules --------------------------------------------------------------- */

#define AT_SCHEDULER(NAME, class, letter, beta_start, beta_end, betas, spacing, clip) letter,
static const char letters[] = {
#include "runtime/schedules.def"
};

#define AT_SPACING(NAME, text) text,
static const char *const spacings[] = {
#include "runtime/schedules.def"
    NULL
};
#define AT_PREDICTION(NAME, text) text,
static const char *const predictions[] = {
#include "runtime/schedules.def"
    NULL
};
static const char *const rules[] = { "plain", "karras", "exponential", "beta", NULL };

typedef struct known_by {
    const char *key, *letters;
} known_by;
#define AT_KEY_INT(key, letters, initial, least, most)        { #key, letters },
#define AT_KEY_REAL(key, letters, initial, least, most, null) { #key, letters },
#define AT_KEY_BOOL(key, letters, initial)                    { #key, letters },
#define AT_KEY_NAME(key, letters, initial, list)              { #key, letters },
#define AT_KEY_ONLY(key, letters, value)                      { #key, letters },
static const known_by keys[] = {
#include "runtime/schedule_keys.def"
};

static at_status check_known(const char *setting, const char *key, at_sampler sampler,
                             at_error *err)
{
    const at_sampler_info *info = at_sampler_at(sampler);
    for (size_t i = 0; i < AT_COUNT(keys); i++)
        if (!strcmp(keys[i].key, key) && strchr(keys[i].letters, letters[info->scheduler]))
            return AT_OK;
    return at_fail(err, AT_INVALID, "the sampler %s knows no %s", info->name, setting);
}

static at_status find_name(int *out, const char *setting, const char *name, const char *const *list,
                           at_error *err)
{
    char names[NAMES_MAX] = "";
    for (*out = 0; list[*out]; ++*out) {
        if (!strcmp(list[*out], name))
            return AT_OK;
        const size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", *out ? ", " : "", list[*out]);
    }
    return at_fail(err, AT_INVALID, "%s '%.40s', expected one of %s", setting, name, names);
}

static at_status overrule_sigmas(at_schedule_config *c, at_sampler sampler, const char *name,
                                 at_error *err)
{
    int rule = 0;
    AT_TRY(find_name(&rule, "sigmas", name, rules, err));
    if (rule)
        AT_TRY(check_known("sigmas", "use_karras_sigmas", sampler, err));
    c->use_karras_sigmas = rule == 1;
    c->use_exponential_sigmas = rule == 2;
    c->use_beta_sigmas = rule == 3;
    return AT_OK;
}

static at_status overrule(at_schedule_config *c, at_sampler sampler, const at_request *r,
                          at_error *err)
{
    if (r->sigmas)
        AT_TRY(overrule_sigmas(c, sampler, r->sigmas, err));
    if (r->spacing) {
        AT_TRY(check_known("spacing", "timestep_spacing", sampler, err));
        AT_TRY(find_name(&c->timestep_spacing, "spacing", r->spacing, spacings, err));
    }
    if (r->prediction)
        AT_TRY(find_name(&c->prediction_type, "prediction", r->prediction, predictions, err));
    if (r->zero_snr > 0)
        AT_TRY(check_known("zero_snr", "rescale_betas_zero_snr", sampler, err));
    if (r->zero_snr >= 0)
        c->rescale_betas_zero_snr = r->zero_snr > 0;
    return AT_OK;
}

at_status at_way_choose(at_sampler *sampler, at_schedule *schedule, const at_sdxl_about *model,
                        const at_request *r, at_error *err)
{
    at_schedule_config config;
    if (r->sampler)
        AT_TRY(at_sampler_named(sampler, r->sampler, err));
    else
        AT_TRY(at_way_sampler_of(sampler, model->scheduler, model->scheduler_bytes, err));
    AT_TRY(at_sampler_configure(&config, *sampler, model->scheduler, model->scheduler_bytes, err));
    AT_TRY(overrule(&config, *sampler, r, err));
    return at_schedule_make(schedule, &config, r->steps, err);
}
