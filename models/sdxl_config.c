/* A config's keys are read into a struct of what the file says, each by the row that has its name,
 * and those that are not there from the row's default. What the keys together mean is worked out
 * afterwards. */
#include "models/sdxl_config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/json.h"
#include "kernels/shape.h"

enum { LIST_MAX = 8, KEYS_MAX = 64, NOT_GIVEN = -1 /* as a count: JSON's null */ };

/* Whole numbers, or places in a list of names; a count of 0: of[0] is meant for all levels. */
typedef struct numbers {
    int count;
    int64_t of[LIST_MAX];
} numbers;

typedef struct nested {
    int count;
    numbers of[LIST_MAX];
} nested;

typedef struct reals {
    int count;
    double of[AT_SDXL_VAE_LATENT_MAX];
} reals;

typedef struct unet_file {
    numbers sample, channels, down, up, layers, heads, context;
    nested depth, reverse;
    int64_t in, latent, mid, groups, size_dim, added, guidance;
    double eps, freq_shift;
    bool cos_first;
} unet_file;

typedef struct vae_file {
    numbers down, up, channels, sample;
    reals mean, std;
    int64_t layers, latent, groups;
    double scaling, shift;
    bool quant, post_quant, attention, upcast;
} vae_file;

typedef enum key_kind {
    KEY_COUNT,
    KEY_COUNTS,
    KEY_NESTED,
    KEY_REAL,
    KEY_REALS,
    KEY_SWITCH,
    KEY_NAMES,
    KEY_NAME,
    KEY_ONLY,
    KEY_ALL
} key_kind;

typedef struct key_row {
    const char *name;
    key_kind kind;
    size_t offset;
    const char *initial; /* JSON */
    double least, most, null;
    const char *const *names; /* the last is NULL */
    const char *values;
} key_row;

static const char *const down_blocks[] = { "DownBlock2D", "CrossAttnDownBlock2D", NULL };
static const char *const up_blocks[] = { "UpBlock2D", "CrossAttnUpBlock2D", NULL };
static const char *const mid_blocks[] = { "UNetMidBlock2DCrossAttn", "UNetMidBlock2D", NULL };
static const char *const encoder_blocks[] = { "DownEncoderBlock2D", NULL };
static const char *const decoder_blocks[] = { "UpDecoderBlock2D", NULL };

#define AT_KEY_COUNT(key, field, initial, least, most, null) \
    { #key, KEY_COUNT, offsetof(FILE_OF, field), initial, least, most, null, NULL, NULL },
#define AT_KEY_COUNTS(key, field, initial, least, most) \
    { #key, KEY_COUNTS, offsetof(FILE_OF, field), initial, least, most, NAN, NULL, NULL },
#define AT_KEY_NESTED(key, field, initial, least, most) \
    { #key, KEY_NESTED, offsetof(FILE_OF, field), initial, least, most, NAN, NULL, NULL },
#define AT_KEY_REAL(key, field, initial, least, most, null) \
    { #key, KEY_REAL, offsetof(FILE_OF, field), initial, least, most, null, NULL, NULL },
#define AT_KEY_REALS(key, field, initial, least, most) \
    { #key, KEY_REALS, offsetof(FILE_OF, field), initial, least, most, NAN, NULL, NULL },
#define AT_KEY_SWITCH(key, field, initial) \
    { #key, KEY_SWITCH, offsetof(FILE_OF, field), initial, 0, 0, NAN, NULL, NULL },
#define AT_KEY_NAMES(key, field, initial, list) \
    { #key, KEY_NAMES, offsetof(FILE_OF, field), initial, 0, 0, NAN, list, NULL },
#define AT_KEY_NAME(key, field, initial, list) \
    { #key, KEY_NAME, offsetof(FILE_OF, field), initial, 0, 0, NAN, list, NULL },
#define AT_KEY_ONLY(key, initial, values) { #key, KEY_ONLY, 0, initial, 0, 0, NAN, NULL, values },
#define AT_KEY_ALL(key, initial, values)  { #key, KEY_ALL, 0, initial, 0, 0, NAN, NULL, values },

#define FILE_OF unet_file
static const key_row unet_keys[] = {
#include "models/sdxl_unet_keys.def"
};
#undef FILE_OF
#define FILE_OF vae_file
static const key_row vae_keys[] = {
#include "models/sdxl_vae_keys.def"
};
#undef FILE_OF

/* --- values ----------------------------------------------------------------------------------- */

static bool read_null(at_json *j)
{
    return at_json_peek(j) == AT_JSON_NULL && at_json_skip(j);
}

static bool read_count(at_json *j, const key_row *k, int64_t *out)
{
    if (k->null == k->null && read_null(j)) { /* which a NAN is not */
        *out = (int64_t)k->null;
        return true;
    }
    if (!at_json_int(j, out))
        return false;
    if (*out < (int64_t)k->least || *out > (int64_t)k->most)
        return at_json_refuse(j, "expected %.0f to %.0f, found %lld", k->least, k->most,
                              (long long)*out);
    return true;
}

static bool read_real(at_json *j, const key_row *k, double *out)
{
    if (k->null == k->null && read_null(j)) {
        *out = k->null;
        return true;
    }
    if (!at_json_real(j, out))
        return false;
    if (!(*out >= k->least && *out <= k->most))
        return at_json_refuse(j, "expected %g to %g, found %g", k->least, k->most, *out);
    return true;
}

/* The place of a name among those that the key may have. */
static bool read_place(at_json *j, const key_row *k, int64_t *out)
{
    at_json_text text;
    char list[128] = "";
    if (!at_json_string(j, &text))
        return false;
    for (*out = 0; k->names[*out]; ++*out) {
        if (at_json_is(&text, k->names[*out]))
            return true;
        const size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", *out > 0 ? " or " : "", k->names[*out]);
    }
    return at_json_refuse(j, "expected %s, found \"%.*s\"", list,
                          (int)(text.raw_bytes < 40 ? text.raw_bytes : 40), text.raw);
}

static bool read_name(at_json *j, const key_row *k, int64_t *out)
{
    if (!read_null(j))
        return read_place(j, k, out);
    for (*out = 0; k->names[*out];)
        ++*out;
    return true;
}

/* Whether a list goes on, with room for what comes. */
static bool has_item(at_json *j, int count, int most)
{
    if (!at_json_element(j))
        return false;
    return count < most || at_json_refuse(j, "expected at most %d values", most);
}

static bool end_list(at_json *j, int count)
{
    if (j->status == AT_OK && count == 0)
        return at_json_refuse(j, "the list is empty");
    return j->status == AT_OK;
}

/* Counts, or places of names. */
static bool read_numbers(at_json *j, const key_row *k, numbers *out)
{
    const bool names = k->names != NULL;
    out->count = 0;
    if (at_json_peek(j) != AT_JSON_ARRAY && !names)
        return read_count(j, k, &out->of[0]);
    for (at_json_array(j); has_item(j, out->count, LIST_MAX); out->count++)
        if (!(names ? read_place : read_count)(j, k, &out->of[out->count]))
            return false;
    return end_list(j, out->count);
}

static bool read_counts(at_json *j, const key_row *k, numbers *out)
{
    out->count = NOT_GIVEN;
    return read_null(j) || read_numbers(j, k, out);
}

static bool read_nested(at_json *j, const key_row *k, nested *out)
{
    out->count = NOT_GIVEN;
    if (read_null(j))
        return true;
    out->count = 0;
    if (at_json_peek(j) != AT_JSON_ARRAY)
        return read_numbers(j, k, &out->of[0]);
    for (at_json_array(j); has_item(j, out->count, LIST_MAX); out->count++)
        if (!read_numbers(j, k, &out->of[out->count]))
            return false;
    return end_list(j, out->count);
}

static bool read_reals(at_json *j, const key_row *k, reals *out)
{
    out->count = NOT_GIVEN;
    if (read_null(j))
        return true;
    out->count = 0;
    for (at_json_array(j); has_item(j, out->count, AT_SDXL_VAE_LATENT_MAX); out->count++)
        if (!read_real(j, k, &out->of[out->count]))
            return false;
    return end_list(j, out->count);
}

/* Whether 'text' is one of 'values', which stand between bars. */
static bool is_among(const char *values, const char *text, size_t bytes)
{
    for (const char *at = values; *at;) {
        const size_t length = strcspn(at, "|");
        if (length == bytes && !memcmp(at, text, bytes))
            return true;
        at += length + (at[length] == '|');
    }
    return false;
}

/* Numbers are compared as such: 1.0 is 1. */
static bool read_only(at_json *j, const key_row *k)
{
    const char *text = NULL;
    size_t bytes = 0;
    char number[32];
    double value = 0;
    if (at_json_peek(j) == AT_JSON_NUMBER) {
        if (!at_json_real(j, &value))
            return false;
        snprintf(number, sizeof number, "%.9g", value);
        text = number;
        bytes = strlen(number);
    } else if (!at_json_raw(j, &text, &bytes)) {
        return false;
    }
    if (is_among(k->values, text, bytes))
        return true;
    return at_json_refuse(j, "only %s is supported, found %.*s", k->values,
                          (int)(bytes < 40 ? bytes : 40), text);
}

/* One for all levels, or a list. */
static bool read_all(at_json *j, const key_row *k)
{
    if (at_json_peek(j) != AT_JSON_ARRAY)
        return read_only(j, k);
    for (at_json_array(j); at_json_element(j);)
        if (!read_only(j, k))
            return false;
    return j->status == AT_OK;
}

static bool read_key(at_json *j, const key_row *k, void *file)
{
    void *field = (char *)file + k->offset;
    switch (k->kind) {
    case KEY_COUNT: return read_count(j, k, field);
    case KEY_COUNTS: return read_counts(j, k, field);
    case KEY_NESTED: return read_nested(j, k, field);
    case KEY_REAL: return read_real(j, k, field);
    case KEY_REALS: return read_reals(j, k, field);
    case KEY_SWITCH: return at_json_bool(j, field);
    case KEY_NAMES: return read_numbers(j, k, field);
    case KEY_NAME: return read_name(j, k, field);
    case KEY_ALL: return read_all(j, k);
    default: return read_only(j, k);
    }
}

/* --- files ------------------------------------------------------------------------------------ */

typedef struct table {
    const char *what; /* for sentences */
    const key_row *keys;
    int n;
} table;

static int find_key(const table *t, const at_json_text *key)
{
    int i = 0;
    while (i < t->n && !at_json_is(key, t->keys[i].name))
        i++;
    return i;
}

/* What the file does not say. */
static at_status read_defaults(const table *t, const bool *seen, void *file, at_error *err)
{
    for (int i = 0; i < t->n; i++) {
        const key_row *k = &t->keys[i];
        at_error inner = { 0 };
        at_json j;
        if (seen[i])
            continue;
        at_json_start(&j, k->initial, strlen(k->initial), &inner);
        read_key(&j, k, file);
        if (at_json_end(&j) != AT_OK)
            return at_fail(err, AT_UNSUPPORTED, "%s: %s, which is not given: %s", t->what, k->name,
                           inner.text);
    }
    return AT_OK;
}

static at_status read_file(const table *t, void *file, const char *json, size_t bytes,
                           at_error *err)
{
    bool seen[KEYS_MAX] = { false };
    at_error inner = { 0 };
    at_json_text key;
    at_json j;
    const char *name = NULL;
    AT_ASSERT(t->n <= KEYS_MAX, "%d keys", t->n);
    if (bytes > AT_SDXL_CONFIG_BYTES_MAX)
        return at_fail(err, AT_INVALID, "%s: %zu bytes, expected at most %d", t->what, bytes,
                       AT_SDXL_CONFIG_BYTES_MAX);
    at_json_start(&j, json, bytes, &inner);
    for (at_json_object(&j); at_json_key(&j, &key); name = NULL) {
        const int i = find_key(t, &key);
        if (i == t->n) {
            at_json_skip(&j);
            continue;
        }
        name = t->keys[i].name;
        seen[i] = true;
        if (!read_key(&j, &t->keys[i], file))
            break;
    }
    at_status status = at_json_end(&j);
    if (status != AT_OK)
        return at_fail(err, status, "%s: %s%s%.*s", t->what, name ? name : "", name ? ": " : "",
                       (int)(sizeof inner.text - 96), inner.text);
    return read_defaults(t, seen, file, err);
}

/* --- levels ----------------------------------------------------------------------------------- */

static int64_t of_level(const numbers *n, int i)
{
    return n->of[n->count ? i : 0];
}

/* One for all levels, or as many as there are. */
static at_status check_count(const table *t, const char *key, int count, int levels, at_error *err)
{
    if (count == 0 || count == levels)
        return AT_OK;
    if (count == NOT_GIVEN)
        return at_fail(err, AT_UNSUPPORTED, "%s: %s: null is not supported", t->what, key);
    return at_fail(err, AT_UNSUPPORTED,
                   "%s: %s: expected %d values, as block_out_channels has, "
                   "found %d",
                   t->what, key, levels, count);
}

static at_status check_channels(const table *t, const numbers *channels, int most, at_error *err)
{
    if (channels->count < 1 || channels->count > most)
        return at_fail(err, AT_UNSUPPORTED,
                       "%s: block_out_channels: expected a list of 1 to %d values", t->what, most);
    return AT_OK;
}

/* --- UNet ------------------------------------------------------------------------------------- */

static const table unet_table = { "unet config", unet_keys, (int)AT_COUNT(unet_keys) };

/* The depths of one level's attentions, one for all of its layers or a list that has enough. */
static at_status set_depths(int *out, const char *key, const numbers *from, int layers,
                            at_error *err)
{
    if (from->count && from->count < layers)
        return at_fail(err, AT_UNSUPPORTED,
                       "unet config: %s: a list of %d values for %d layers with attention", key,
                       from->count, layers);
    for (int k = 0; k < layers; k++) {
        out[k] = (int)of_level(from, k);
        if (out[k] < 1)
            return at_fail(err, AT_UNSUPPORTED,
                           "unet config: %s: an attention without blocks is not supported", key);
    }
    return AT_OK;
}

/* Level i going up: what stands under 'reverse', or else what the same level has going down. */
static at_status set_up(at_sdxl_unet_config *c, const unet_file *f, int i, at_error *err)
{
    const int from = c->levels - 1 - i;
    if (!f->up.of[i])
        return AT_OK;
    if (f->reverse.count != NOT_GIVEN)
        return set_depths(c->up[i], "reverse_transformer_layers_per_block", &f->reverse.of[i],
                          c->layers[from] + 1, err);
    return set_depths(c->up[i], "transformer_layers_per_block",
                      &f->depth.of[f->depth.count ? from : 0], c->layers[from] + 1, err);
}

static at_status check_nested(const unet_file *f, int levels, at_error *err)
{
    bool lists = false;
    AT_TRY(check_count(&unet_table, "transformer_layers_per_block", f->depth.count, levels, err));
    for (int i = 0; i < f->depth.count; i++)
        lists = lists || f->depth.of[i].count;
    if (f->reverse.count == NOT_GIVEN && lists)
        return at_fail(err, AT_UNSUPPORTED,
                       "unet config: reverse_transformer_layers_per_block: expected, since "
                       "transformer_layers_per_block has lists");
    if (f->reverse.count != NOT_GIVEN && f->reverse.count != levels)
        return at_fail(err, AT_UNSUPPORTED,
                       "unet config: reverse_transformer_layers_per_block: expected a list of %d "
                       "values or null",
                       levels);
    return AT_OK;
}

static at_status set_levels(at_sdxl_unet_config *c, const unet_file *f, at_error *err)
{
    const struct {
        const char *key;
        const numbers *values;
    } lists[] = {
        { "down_block_types", &f->down },       { "up_block_types", &f->up },
        { "layers_per_block", &f->layers },     { "attention_head_dim", &f->heads },
        { "cross_attention_dim", &f->context },
    };
    AT_TRY(check_channels(&unet_table, &f->channels, AT_SDXL_LEVELS_MAX, err));
    c->levels = f->channels.count;
    for (size_t i = 0; i < AT_COUNT(lists); i++)
        AT_TRY(check_count(&unet_table, lists[i].key, lists[i].values->count, c->levels, err));
    AT_TRY(check_nested(f, c->levels, err));
    for (int i = 0; i < c->levels; i++) {
        c->channels[i] = f->channels.of[i];
        c->heads[i] = of_level(&f->heads, i);
        c->layers[i] = (int)of_level(&f->layers, i);
        if (of_level(&f->context, i) != f->context.of[0])
            return at_fail(err, AT_UNSUPPORTED,
                           "unet config: cross_attention_dim: expected the same for all levels");
        if (f->down.of[i])
            AT_TRY(set_depths(c->down[i], "transformer_layers_per_block",
                              &f->depth.of[f->depth.count ? i : 0], c->layers[i], err));
    }
    for (int i = 0; i < c->levels; i++)
        AT_TRY(set_up(c, f, i, err));
    return AT_OK;
}

/* Of a list of depths for the lowest level its middle has the first. */
static at_status set_middle(at_sdxl_unet_config *c, const unet_file *f, at_error *err)
{
    c->mid_resnets = 2 - (int)f->mid;
    if (c->mid_resnets < 2)
        return AT_OK;
    return set_depths(&c->mid_depth, "transformer_layers_per_block",
                      &f->depth.of[f->depth.count ? c->levels - 1 : 0], 1, err);
}

static at_status check_added(const unet_file *f, at_error *err)
{
    if (f->size_dim && f->added)
        return AT_OK;
    return at_fail(err, AT_UNSUPPORTED, "unet config: %s: null is not supported",
                   f->size_dim ? "projection_class_embeddings_input_dim"
                               : "addition_time_embed_dim");
}

/* The width that is added to the time: the pooled text and a sinusoid of every size. */
static at_status set_added(at_sdxl_unet_config *c, const unet_file *f, int64_t pooled,
                           at_error *err)
{
    AT_TRY(check_added(f, err));
    const int64_t rest = f->added - pooled;
    if (rest < f->size_dim || rest % f->size_dim)
        return at_fail(err, AT_UNSUPPORTED,
                       "unet config: projection_class_embeddings_input_dim is %lld: expected %lld "
                       "of the pooled text and a multiple of addition_time_embed_dim, %lld",
                       (long long)f->added, (long long)pooled, (long long)f->size_dim);
    c->pooled = pooled;
    c->size_dim = f->size_dim;
    c->sizes = rest / f->size_dim;
    return AT_OK;
}

at_status at_sdxl_unet_config_read(at_sdxl_unet_config *out, const char *json, size_t bytes,
                                   int64_t pooled, at_error *err)
{
    unet_file f = { 0 };
    AT_ASSERT(pooled > 0, "a pooled text of width %lld", (long long)pooled);
    AT_TRY(read_file(&unet_table, &f, json, bytes, err));
    at_sdxl_unet_config c = {
        .in = f.in,
        .latent = f.latent,
        .context = f.context.of[0],
        .guidance = f.guidance,
        .groups = f.groups,
        .eps = (float)f.eps,
        .freq_shift = (float)f.freq_shift,
        .cos_first = f.cos_first,
    };
    if (f.sample.count > 2)
        return at_fail(err, AT_UNSUPPORTED, "unet config: sample_size: expected height and width");
    if (f.sample.count != NOT_GIVEN) {
        c.sample[0] = f.sample.of[0];
        c.sample[1] = f.sample.of[f.sample.count == 2];
    }
    AT_TRY(set_levels(&c, &f, err));
    AT_TRY(set_middle(&c, &f, err));
    AT_TRY(set_added(&c, &f, pooled, err));
    AT_TRY(at_sdxl_unet_check(&c, err));
    *out = c;
    return AT_OK;
}

at_status at_sdxl_unet_config_pooled(int64_t *out, const char *json, size_t bytes, int64_t sizes,
                                     at_error *err)
{
    unet_file f = { 0 };
    AT_TRY(read_file(&unet_table, &f, json, bytes, err));
    AT_TRY(check_added(&f, err));
    *out = f.added - sizes * f.size_dim;
    if (*out < 1)
        return at_fail(err, AT_UNSUPPORTED,
                       "unet config: projection_class_embeddings_input_dim is %lld: expected more "
                       "than %lld numbers of addition_time_embed_dim, %lld",
                       (long long)f.added, (long long)sizes, (long long)f.size_dim);
    return AT_OK;
}

/* --- VAE -------------------------------------------------------------------------------------- */

static const table vae_table = { "vae config", vae_keys, (int)AT_COUNT(vae_keys) };

static at_status set_statistics(at_sdxl_vae_config *c, const vae_file *f, at_error *err)
{
    c->normalized = f->mean.count != NOT_GIVEN;
    if (!c->normalized && f->std.count == NOT_GIVEN)
        return AT_OK;
    if (f->mean.count != c->latent || f->std.count != c->latent)
        return at_fail(err, AT_UNSUPPORTED,
                       "vae config: latents_mean and latents_std: expected %lld values each, as "
                       "latent_channels says, or null for both",
                       (long long)c->latent);
    memcpy(c->mean, f->mean.of, (size_t)c->latent * sizeof c->mean[0]);
    memcpy(c->std, f->std.of, (size_t)c->latent * sizeof c->std[0]);
    return AT_OK;
}

at_status at_sdxl_vae_config_read(at_sdxl_vae_config *out, const char *json, size_t bytes,
                                  at_error *err)
{
    vae_file f = { 0 };
    AT_TRY(read_file(&vae_table, &f, json, bytes, err));
    AT_TRY(check_channels(&vae_table, &f.channels, AT_SDXL_VAE_LEVELS_MAX, err));
    at_sdxl_vae_config c = {
        .levels = f.channels.count,
        .layers = (int)f.layers,
        .latent = f.latent,
        .groups = f.groups,
        .attention = f.attention,
        .quant = f.quant,
        .post_quant = f.post_quant,
        .sample = f.sample.count == NOT_GIVEN ? 0 : f.sample.of[0],
        .scaling = f.scaling,
        .shift = f.shift,
        .upcast = f.upcast,
    };
    memcpy(c.channels, f.channels.of, (size_t)c.levels * sizeof c.channels[0]);
    AT_TRY(check_count(&vae_table, "down_block_types", f.down.count, c.levels, err));
    AT_TRY(check_count(&vae_table, "up_block_types", f.up.count, c.levels, err));
    AT_TRY(set_statistics(&c, &f, err));
    AT_TRY(at_sdxl_vae_check(&c, err));
    *out = c;
    return AT_OK;
}
