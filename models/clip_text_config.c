/* clip_text_config.c -- a text encoder's config.json: keys, defaults and limits are rows. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/json.h"
#include "kernels/attention.h"
#include "models/clip_text.h"

/* Transformers' keys and its CLIPTextConfig's defaults. */
typedef struct key_row {
    const char *name;
    size_t offset;
    int64_t initial, least, most;
} key_row;

#define FIELD(name) offsetof(at_clip_text_config, name)
static const key_row keys[] = {
    { "vocab_size", FIELD(vocabulary), 49408, 1, 1 << 24 },
    { "max_position_embeddings", FIELD(positions), 77, 1, 1 << 16 },
    { "hidden_size", FIELD(width), 512, 1, 1 << 16 },
    { "intermediate_size", FIELD(inner), 2048, 1, 1 << 18 },
    { "num_hidden_layers", FIELD(layers), 12, 1, 1 << 10 },
    { "num_attention_heads", FIELD(heads), 8, 1, 1 << 16 },
    { "projection_dim", FIELD(projection), 512, 0, 1 << 16 },
    { "eos_token_id", FIELD(end), 49407, 0, INT32_MAX },
};

typedef struct act_row {
    const char *name;
    at_act act;
} act_row;
static const act_row acts[] = {
    { "quick_gelu", AT_ACT_QUICK_GELU },
    { "gelu", AT_ACT_GELU },
};

static const double eps_least = 1e-12, eps_most = 1;

static int64_t *field_of(at_clip_text_config *c, const key_row *k)
{
    return (int64_t *)(void *)((char *)c + k->offset);
}

/* --- limits ----------------------------------------------------------------------------------- */

static const act_row *act_of(at_act act)
{
    for (size_t i = 0; i < AT_COUNT(acts); i++)
        if (acts[i].act == act)
            return &acts[i];
    return NULL;
}

at_status at_clip_text_config_check(const at_clip_text_config *c, at_error *err)
{
    at_clip_text_config copy = *c;
    for (size_t i = 0; i < AT_COUNT(keys); i++) {
        const key_row *k = &keys[i];
        const int64_t value = *field_of(&copy, k);
        if (value < k->least || value > k->most)
            return at_fail(err, AT_INVALID, "text encoder: %s is %lld, expected %lld to %lld",
                           k->name, (long long)value, (long long)k->least, (long long)k->most);
    }
    if (c->width % c->heads || c->width / c->heads > AT_ATTENTION_SIZE_MAX)
        return at_fail(err, AT_UNSUPPORTED,
                       "text encoder: hidden_size is %lld, which num_attention_heads, %lld, does "
                       "not divide into heads of at most %d",
                       (long long)c->width, (long long)c->heads, AT_ATTENTION_SIZE_MAX);
    if (!(c->eps >= (float)eps_least && c->eps <= (float)eps_most))
        return at_fail(err, AT_INVALID, "text encoder: layer_norm_eps is %g, expected %g to %g",
                       (double)c->eps, eps_least, eps_most);
    if (!act_of(c->act))
        return at_fail(err, AT_UNSUPPORTED, "text encoder: hidden_act is activation %d",
                       (int)c->act);
    return AT_OK;
}

/* --- values ----------------------------------------------------------------------------------- */

/* What a file says of the class it was saved from. */
typedef enum kind { KIND_UNSAID, KIND_PLAIN, KIND_PROJECTED } kind;

typedef struct reading {
    at_json json;
    at_clip_text_config config;
    kind kind;
} reading;

static bool refuse_text(at_json *j, const char *expected, const at_json_text *found)
{
    return at_json_refuse(j, "expected %s, found \"%.*s\"", expected,
                          (int)(found->raw_bytes < 40 ? found->raw_bytes : 40), found->raw);
}

static bool read_architectures(reading *r)
{
    static const char expected[] = "CLIPTextModel or CLIPTextModelWithProjection alone";
    at_json *j = &r->json;
    at_json_text text;
    r->kind = KIND_UNSAID;
    for (at_json_array(j); at_json_element(j);) {
        if (!at_json_string(j, &text))
            return false;
        const bool plain = at_json_is(&text, "CLIPTextModel");
        if (r->kind != KIND_UNSAID || (!plain && !at_json_is(&text, "CLIPTextModelWithProjection")))
            return refuse_text(j, expected, &text);
        r->kind = plain ? KIND_PLAIN : KIND_PROJECTED;
    }
    return j->status == AT_OK;
}

static bool read_act(reading *r)
{
    at_json_text text;
    if (!at_json_string(&r->json, &text))
        return false;
    for (size_t i = 0; i < AT_COUNT(acts); i++)
        if (at_json_is(&text, acts[i].name)) {
            r->config.act = acts[i].act;
            return true;
        }
    return refuse_text(&r->json, "quick_gelu or gelu", &text);
}

static bool read_eps(reading *r)
{
    double value;
    if (!at_json_real(&r->json, &value))
        return false;
    if (!(value >= eps_least && value <= eps_most))
        return at_json_refuse(&r->json, "expected %g to %g, found %g", eps_least, eps_most, value);
    r->config.eps = (float)value;
    return true;
}

/* null is a projection that is not there. */
static bool read_number(reading *r, const key_row *k)
{
    int64_t value = 0;
    if (k->offset == FIELD(projection) && at_json_peek(&r->json) == AT_JSON_NULL)
        at_json_skip(&r->json);
    else if (!at_json_int(&r->json, &value))
        return false;
    if (value < k->least || value > k->most)
        return at_json_refuse(&r->json, "expected %lld to %lld, found %lld", (long long)k->least,
                              (long long)k->most, (long long)value);
    *field_of(&r->config, k) = value;
    return true;
}

/* Reads the value of 'key'; 'name' becomes the key's, if it is one that counts here. */
static bool read_value(reading *r, const at_json_text *key, const char **name)
{
    for (size_t i = 0; i < AT_COUNT(keys); i++)
        if (at_json_is(key, *name = keys[i].name))
            return read_number(r, &keys[i]);
    if (at_json_is(key, *name = "hidden_act"))
        return read_act(r);
    if (at_json_is(key, *name = "layer_norm_eps"))
        return read_eps(r);
    if (at_json_is(key, *name = "architectures"))
        return read_architectures(r);
    *name = NULL;
    return at_json_skip(&r->json);
}

/* --- the object ------------------------------------------------------------------------------- */

/* A projection_dim stands in files of models without a projection too. */
static at_status settle(reading *r, at_error *err)
{
    if (r->kind == KIND_UNSAID)
        return at_fail(err, AT_INVALID,
                       "text encoder: config.json has no architectures, which tell whether there "
                       "is a projection");
    if (r->kind == KIND_PLAIN)
        r->config.projection = 0;
    else if (!r->config.projection)
        return at_fail(err, AT_INVALID,
                       "text encoder: projection_dim is 0 or null in the config.json of a "
                       "CLIPTextModelWithProjection");
    return at_clip_text_config_check(&r->config, err);
}

at_status at_clip_text_config_read(at_clip_text_config *out, const char *json, size_t bytes,
                                   at_error *err)
{
    reading r = { .config = { .eps = 1e-5f, .act = AT_ACT_QUICK_GELU } };
    at_json_text key;
    at_error inner = { 0 };
    const char *name = NULL;
    if (bytes > AT_CLIP_TEXT_CONFIG_BYTES_MAX)
        return at_fail(err, AT_INVALID,
                       "text encoder: config.json has %zu bytes, expected up to %d", bytes,
                       AT_CLIP_TEXT_CONFIG_BYTES_MAX);
    for (size_t i = 0; i < AT_COUNT(keys); i++)
        *field_of(&r.config, &keys[i]) = keys[i].initial;
    at_json_start(&r.json, json, bytes, &inner);
    for (at_json_object(&r.json); at_json_key(&r.json, &key);) {
        if (!read_value(&r, &key, &name))
            break;
        name = NULL;
    }
    at_status status = at_json_end(&r.json);
    if (status != AT_OK)
        return at_fail(err, status, "text encoder: config.json: %s%s%s", name ? name : "",
                       name ? ": " : "", inner.text);
    status = settle(&r, err);
    if (status == AT_OK)
        *out = r.config;
    return status;
}
