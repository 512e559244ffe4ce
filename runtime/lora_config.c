#include "runtime/lora_config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/json.h"

typedef struct reader {
    at_json j;
    at_lora_config *c;
    at_arena *arena;
    at_json_text key;
} reader;

/* --- patterns --------------------------------------------------------------------------------- */

/* PEFT reads a pattern as a regular expression behind "(.*\.)?" and before "$". Those that tools
 * write are names, perhaps with '^' before them or with their dots escaped; others are refused. */
static bool plain(at_lora_pattern *p, char *text, size_t bytes)
{
    size_t used = 0, i = 0;
    if (bytes && text[0] == '^') {
        p->whole = true;
        i++;
    }
    if (bytes > i && text[bytes - 1] == '$')
        bytes--;
    for (; i < bytes; i++) {
        if (text[i] == '\\' && i + 1 < bytes && text[i + 1] == '.')
            i++;
        if (strchr("\\^$*+?()[]{}|", text[i]))
            return false;
        text[used++] = text[i];
    }
    p->text = text;
    p->bytes = used;
    return used > 0;
}

static bool fits(const at_lora_pattern *p, const char *module, size_t bytes)
{
    if (p->bytes > bytes || memcmp(module + bytes - p->bytes, p->text, p->bytes) != 0)
        return false;
    return p->bytes == bytes || (!p->whole && module[bytes - p->bytes - 1] == '.');
}

double at_lora_pattern_value(const at_lora_patterns *p, const char *module, size_t bytes,
                             double otherwise)
{
    for (int i = 0; i < p->count; i++)
        if (fits(&p->items[i], module, bytes))
            return p->items[i].value;
    return otherwise;
}

static bool read_number(reader *r, double *out)
{
    if (at_json_real(&r->j, out) && !(isfinite(*out) && fabs(*out) <= 1e9))
        return at_json_refuse(&r->j, "%.*s is %g", (int)r->key.raw_bytes, r->key.raw, *out);
    return r->j.status == AT_OK;
}

static bool read_pattern(reader *r, at_lora_patterns *p, const at_json_text *key)
{
    at_lora_pattern pattern = { 0 };
    char *text = at_arena_try(r->arena, key->raw_bytes + 1);
    if (!text || p->count == AT_LORA_PATTERNS_MAX)
        return at_json_refuse(&r->j, "no room for more than %d patterns", p->count);
    const size_t bytes = at_json_unescape(key, text, key->raw_bytes);
    if (bytes > AT_LORA_PATTERN_BYTES_MAX || !plain(&pattern, text, bytes))
        return at_json_refuse(&r->j, "the pattern '%.*s' is not a layer's name",
                              key->raw_bytes < 64 ? (int)key->raw_bytes : 64, key->raw);
    if (!read_number(r, &pattern.value))
        return false;
    p->items = at_grow(p->items, p->count, &p->capacity, sizeof *p->items);
    p->items[p->count++] = pattern;
    return true;
}

static void read_patterns(reader *r, at_lora_patterns *p)
{
    at_json_text key;
    if (at_json_peek(&r->j) == AT_JSON_NULL)
        at_json_skip(&r->j);
    else
        for (at_json_object(&r->j); at_json_key(&r->j, &key);)
            if (!read_pattern(r, p, &key))
                return;
}

/* --- members ---------------------------------------------------------------------------------- */

/* What must not be true, because it makes another sum of the matrices. */
static void refuse_true(reader *r)
{
    bool on = false;
    if (at_json_peek(&r->j) == AT_JSON_TRUE || at_json_peek(&r->j) == AT_JSON_FALSE)
        at_json_bool(&r->j, &on);
    else
        at_json_skip(&r->j);
    if (on)
        at_json_refuse(&r->j, "%.*s is true, which is not supported", (int)r->key.raw_bytes,
                       r->key.raw);
}

static bool is_one_of(const at_json_text *s, const char *const *words)
{
    while (*words && !at_json_is(s, *words))
        words++;
    return *words != NULL;
}

static void read_word(reader *r, const char *const *words, const char *why)
{
    at_json_text word;
    if (at_json_peek(&r->j) != AT_JSON_STRING)
        at_json_skip(&r->j);
    else if (at_json_string(&r->j, &word) && !is_one_of(&word, words))
        at_json_refuse(&r->j, "%.*s is '%.*s', %s", (int)r->key.raw_bytes, r->key.raw,
                       word.raw_bytes < 64 ? (int)word.raw_bytes : 64, word.raw, why);
}

static void read_member(reader *r, const at_json_text *name)
{
    static const char *const types[] = { "LORA", NULL };
    static const char *const beginnings[] = { "gaussian", "eva", "orthogonal", NULL };
    static const char *const refused[] = { "use_dora", "fan_in_fan_out", "lora_bias", "use_qalora",
                                           NULL };
    at_lora_config *c = r->c;
    c->there = true;
    r->key = *name;
    if (at_json_is(name, "r"))
        read_number(r, &c->rank);
    else if (at_json_is(name, "lora_alpha"))
        read_number(r, &c->alpha);
    else if (at_json_is(name, "use_rslora"))
        at_json_bool(&r->j, &c->by_root);
    else if (at_json_is(name, "rank_pattern"))
        read_patterns(r, &c->ranks);
    else if (at_json_is(name, "alpha_pattern"))
        read_patterns(r, &c->alphas);
    else if (at_json_is(name, "peft_type"))
        read_word(r, types, "expected 'LORA'");
    else if (at_json_is(name, "init_lora_weights"))
        read_word(r, beginnings, "which changes the model's own weights too");
    else if (is_one_of(name, refused))
        refuse_true(r);
    else
        at_json_skip(&r->j);
}

at_status at_lora_config_read(at_lora_config *c, at_arena *arena, const char *what,
                              const char *prefix, const char *json, size_t bytes, at_error *err)
{
    enum { PEFT_DEFAULT = 8 }; /* of both, where a key is missing */
    const size_t skipped = strlen(prefix);
    at_error why = { 0 };
    at_json_text key;
    reader r = { .c = c, .arena = arena };
    *c = (at_lora_config){ .rank = PEFT_DEFAULT, .alpha = PEFT_DEFAULT };
    at_json_start(&r.j, json, bytes, &why);
    for (at_json_object(&r.j); at_json_key(&r.j, &key);)
        if (key.raw_bytes <= skipped || memcmp(key.raw, prefix, skipped) != 0) {
            at_json_skip(&r.j);
        } else {
            const at_json_text name = { key.raw + skipped, key.raw_bytes - skipped, key.escaped };
            read_member(&r, &name);
        }
    const at_status status = at_json_end(&r.j);
    return status == AT_OK ? AT_OK : at_fail(err, status, "%s: %s", what, why.text);
}

void at_lora_config_free(at_lora_config *c)
{
    free(c->ranks.items);
    free(c->alphas.items);
    *c = (at_lora_config){ 0 };
}
