/* recipe.c -- a request as JSON: the plain settings by the rows of request.def, the rest by hand.
 *
 * Reading resolves strings where they stand in a copy of the text, so that a recipe costs its own
 * bytes and a few lists of fixed length. */
#include "runtime/recipe.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/checksum.h"
#include "engine/file.h"
#include "engine/json_write.h"
#include "kernels/shape.h"
#include "runtime/parameters.h"

enum { SIDE_MAX = 65535, SIDE_LEAST = -65535 };

/* --- settings --------------------------------------------------------------------------------- */

typedef enum setting_kind {
    SETTING_TEXT,
    SETTING_INT,
    SETTING_REAL,
    SETTING_SWITCH,
    SETTING_PAIR,
    SETTING_FLAG
} setting_kind;

typedef struct setting {
    const char *name;
    setting_kind kind;
    size_t offset;
    double low, high;
} setting;

#define FIELD(field)                           offsetof(at_request, field)
#define AT_REQUEST_TEXT(field, argument, help) { #field, SETTING_TEXT, FIELD(field), 0, 0 },
#define AT_REQUEST_INT(field, low, high, argument, help) \
    { #field, SETTING_INT, FIELD(field), low, high },
#define AT_REQUEST_REAL(field, low, high, argument, help) \
    { #field, SETTING_REAL, FIELD(field), low, high },
#define AT_REQUEST_SWITCH(field, help) { #field, SETTING_SWITCH, FIELD(field), 0, 1 },
#define AT_REQUEST_PAIR(field, argument, help) \
    { #field, SETTING_PAIR, FIELD(field), SIDE_LEAST, SIDE_MAX },
#define AT_REQUEST_FLAG(field, help) { #field, SETTING_FLAG, FIELD(field), 0, 1 },
static const setting settings[] = {
#include "runtime/request.def"
};

static const void *get(const at_request *r, const setting *s)
{
    return (const char *)r + s->offset;
}

static void *set(at_request *r, const setting *s)
{
    return (char *)r + s->offset;
}

/* Everything left open. */
static at_request open_request(void)
{
    at_request r = { 0 };
    for (size_t i = 0; i < AT_COUNT(settings); i++) {
        void *field = set(&r, &settings[i]);
        if (settings[i].kind == SETTING_INT || settings[i].kind == SETTING_SWITCH)
            *(int *)field = -1;
        else if (settings[i].kind == SETTING_REAL)
            *(double *)field = -1;
        else if (settings[i].kind == SETTING_PAIR)
            ((int64_t *)field)[0] = ((int64_t *)field)[1] = -1;
    }
    r.count = 1;
    return r;
}

/* --- hashes ----------------------------------------------------------------------------------- */

static void hash_text(char out[AT_RECIPE_HASH_TEXT], uint64_t hash)
{
    snprintf(out, AT_RECIPE_HASH_TEXT, "%016" PRIx64, hash);
}

void at_recipe_pixels_hash(char out[AT_RECIPE_HASH_TEXT], const at_pixels *p)
{
    const size_t bytes = (size_t)p->width * (size_t)p->height * (size_t)p->channels;
    const uint64_t parts[] = { (uint64_t)p->width, (uint64_t)p->height, (uint64_t)p->channels,
                               at_checksum_pieces(p->data, bytes) };
    hash_text(out, at_checksum_of(parts, sizeof parts));
}

at_status at_recipe_file_hash(char out[AT_RECIPE_HASH_TEXT], const char *path, at_error *err)
{
    at_file f;
    at_mapping map;
    AT_TRY(at_file_open(&f, path, err));
    at_status status = at_file_map(&f, &map, err);
    if (status == AT_OK)
        hash_text(out, at_checksum_pieces(map.data, map.bytes));
    at_mapping_free(&map);
    at_file_close(&f);
    return status;
}

static const char *without_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* --- writing ---------------------------------------------------------------------------------- */

static void put_text(at_json_writer *w, const char *key, const char *text)
{
    if (!text)
        return;
    at_json_write_key(w, key);
    at_json_write_string(w, text, strlen(text));
}

static void put_int(at_json_writer *w, const char *key, int64_t value)
{
    at_json_write_key(w, key);
    at_json_write_int(w, value);
}

static void put_named(at_json_writer *w, const char *key, const char *name, const char *hash)
{
    at_json_write_key(w, key);
    at_json_write_object(w);
    put_text(w, "name", name);
    put_text(w, "hash", hash);
    at_json_write_close(w);
}

static at_status put_number(at_json_writer *w, const setting *s, double x, at_error *err)
{
    if (x == -1 && s->low > x)
        return AT_OK; /* left open */
    if (!(x >= s->low && x <= s->high))
        return at_fail(err, AT_INVALID, "%s: expected %g to %g, found %g", s->name, s->low, s->high,
                       x);
    at_json_write_key(w, s->name);
    if (s->kind == SETTING_SWITCH)
        at_json_write_bool(w, x != 0);
    else
        at_json_write_real(w, x);
    return AT_OK;
}

static at_status put_pair(at_json_writer *w, const setting *s, const int64_t pair[2], at_error *err)
{
    if (pair[0] == -1 && pair[1] == -1)
        return AT_OK;
    for (int i = 0; i < 2; i++)
        if (pair[i] < SIDE_LEAST || pair[i] > SIDE_MAX)
            return at_fail(err, AT_INVALID, "%s: expected %d to %d, found %" PRId64, s->name,
                           SIDE_LEAST, SIDE_MAX, pair[i]);
    at_json_write_key(w, s->name);
    at_json_write_array(w);
    at_json_write_int(w, pair[0]);
    at_json_write_int(w, pair[1]);
    at_json_write_close(w);
    return AT_OK;
}

static at_status put_setting(at_json_writer *w, const setting *s, const at_request *r,
                             at_error *err)
{
    const void *field = get(r, s);
    switch (s->kind) {
    case SETTING_TEXT: put_text(w, s->name, *(const char *const *)field); return AT_OK;
    case SETTING_INT:
    case SETTING_SWITCH: return put_number(w, s, *(const int *)field, err);
    case SETTING_REAL: return put_number(w, s, *(const double *)field, err);
    case SETTING_PAIR: return put_pair(w, s, field, err);
    case SETTING_FLAG: at_json_write_key(w, s->name); at_json_write_bool(w, *(const bool *)field);
    }
    return AT_OK;
}

static at_status put_loras(at_json_writer *w, const at_request *r, at_error *err)
{
    char hash[AT_RECIPE_HASH_TEXT];
    if (r->n_loras < 0 || r->n_loras > AT_RECIPE_LORAS_MAX)
        return at_fail(err, AT_INVALID, "loras: expected at most %d, found %d", AT_RECIPE_LORAS_MAX,
                       r->n_loras);
    if (r->n_loras == 0)
        return AT_OK;
    at_json_write_key(w, "loras");
    at_json_write_array(w);
    for (int i = 0; i < r->n_loras; i++) {
        AT_TRY(at_recipe_file_hash(hash, r->loras[i].path, err));
        at_json_write_object(w);
        put_text(w, "name", without_folder(r->loras[i].path));
        put_text(w, "hash", hash);
        at_json_write_key(w, "weight");
        at_json_write_real(w, r->loras[i].weight);
        at_json_write_close(w);
    }
    at_json_write_close(w);
    return AT_OK;
}

static void put_pixels(at_json_writer *w, const char *key, const at_pixels *p)
{
    char hash[AT_RECIPE_HASH_TEXT];
    if (!p)
        return;
    at_recipe_pixels_hash(hash, p);
    put_named(w, key, NULL, hash);
}

static at_status put_brought(at_json_writer *w, const at_request *r, at_error *err)
{
    char hash[AT_RECIPE_HASH_TEXT];
    put_pixels(w, "picture", r->picture);
    put_pixels(w, "mask", r->mask);
    if (r->noise_file) {
        AT_TRY(at_recipe_file_hash(hash, r->noise_file, err));
        put_named(w, "noise", NULL, hash);
    }
    return put_loras(w, r, err);
}

static void put_facts(at_json_writer *w, const at_recipe_facts *f)
{
    put_int(w, "atelier", AT_RECIPE_FORMAT);
    put_text(w, "version", AT_VERSION);
    put_named(w, "model", f->model, f->model_hash);
    if (f->refiner)
        put_named(w, "refiner", f->refiner, f->refiner_hash);
    put_text(w, "device", f->device);
    put_text(w, "precision", f->precision);
    put_text(w, "mode", f->mode);
    at_json_write_key(w, "seed");
    at_json_write_uint(w, f->seed);
    put_int(w, "width", f->width);
    put_int(w, "height", f->height);
}

static at_status write_json(char **out, const at_request *r, const at_recipe_facts *facts,
                            at_error *err)
{
    at_json_writer w = { .bytes_max = AT_RECIPE_BYTES_MAX };
    at_status status = AT_OK;
    at_error why = { 0 };
    at_json_write_object(&w);
    put_facts(&w, facts);
    for (size_t i = 0; i < AT_COUNT(settings) && status == AT_OK; i++)
        status = put_setting(&w, &settings[i], r, &why);
    if (status == AT_OK)
        status = put_brought(&w, r, &why);
    if (status == AT_OK) {
        at_json_write_close(&w);
        status = at_json_write_end(&w, &why);
    }
    if (status == AT_OK && !(*out = strndup(w.text, w.bytes)))
        status = at_fail(&why, AT_NO_MEMORY, "no memory");
    at_json_writer_free(&w);
    return status == AT_OK ? AT_OK : at_fail(err, status, "the picture's recipe: %s", why.text);
}

static bool is_pair(const int64_t pair[2], int64_t first, int64_t second)
{
    return pair[0] == first && pair[1] == second;
}

static void leave_open(int64_t pair[2])
{
    pair[0] = pair[1] = -1;
}

/* What is told of the picture's size only because that is its size follows another size, if the
 * recipe is repeated with one. */
static void open_told(at_request *r, const at_recipe_facts *f)
{
    const int64_t *crop = r->crop, *negative = r->negative_crop;
    const bool whole = r->picture ? is_pair(negative, 0, 0) : is_pair(negative, crop[0], crop[1]);
    if (whole && is_pair(r->negative_original_size, r->original_size[0], r->original_size[1]) &&
        is_pair(r->negative_target_size, r->target_size[0], r->target_size[1])) {
        leave_open(r->negative_original_size);
        leave_open(r->negative_target_size);
        leave_open(r->negative_crop);
    }
    if (is_pair(r->original_size, f->height, f->width))
        leave_open(r->original_size);
    if (is_pair(r->target_size, f->height, f->width))
        leave_open(r->target_size);
    if (is_pair(crop, 0, 0))
        leave_open(r->crop);
}

/* The request with what atelier.h says of the numbers that it leaves open. */
static at_request decided(const at_request *r, const at_recipe_facts *facts)
{
    at_request whole = *r;
    whole.sampler = facts->sampler;
    if (r->guidance == -1)
        whole.guidance = r->mask ? 7.5 : 5;
    if (r->aesthetic_score == -1)
        whole.aesthetic_score = 6;
    if (r->negative_aesthetic_score == -1)
        whole.negative_aesthetic_score = 2.5;
    if (r->picture && r->strength == -1)
        whole.strength = r->mask ? 0.9999 : 0.3;
    if (!r->picture)
        whole.strength = -1;
    open_told(&whole, facts);
    return whole;
}

at_status at_recipe_write(char **json, char **parameters, const at_request *r,
                          const at_recipe_facts *facts, at_error *err)
{
    char *text = NULL;
    const at_request whole = decided(r, facts);
    if (json)
        AT_TRY(write_json(&text, &whole, facts, err));
    at_status status = parameters ? at_parameters_write(parameters, &whole, facts, err) : AT_OK;
    if (status != AT_OK)
        free(text);
    else if (json)
        *json = text;
    return status;
}

/* --- reading ---------------------------------------------------------------------------------- */

typedef struct own {
    at_lora_use loras[AT_RECIPE_LORAS_MAX];
    const char *lora_hashes[AT_RECIPE_LORAS_MAX];
    bool seen[AT_COUNT(settings)];
    char text[]; /* the JSON, its strings resolved where they stand */
} own;

typedef struct reader {
    at_json j;
    at_recipe *out;
    own *own;
} reader;

static bool read_text(at_json *j, const char **out)
{
    at_json_text text;
    if (*out)
        return at_json_refuse(j, "it stands there twice");
    if (!at_json_string(j, &text))
        return false;
    char *to = (char *)(uintptr_t)text.raw; /* our own copy */
    const size_t n = at_json_unescape(&text, to, text.raw_bytes);
    if (n == SIZE_MAX)
        return at_json_refuse(j, "a string with a half of a character, or a zero");
    to[n] = 0;
    *out = to;
    return true;
}

/* A hash is written as 16 digits; another is no harm, but too long a one would spoil sentences. */
static bool read_hash(at_json *j, const char **out)
{
    if (!read_text(j, out))
        return false;
    if (strlen(*out) >= AT_RECIPE_HASH_TEXT || strspn(*out, "0123456789abcdef") != strlen(*out))
        return at_json_refuse(j, "a hash that is not %d hexadecimal digits",
                              AT_RECIPE_HASH_TEXT - 1);
    return true;
}

/* Names of files come from whoever made the picture: none leads into another folder. */
static bool read_name(at_json *j, const char **out)
{
    if (!read_text(j, out))
        return false;
    if (!**out || strchr(*out, '/') || !strcmp(*out, "..") || !strcmp(*out, ".") ||
        strlen(*out) > 255)
        return at_json_refuse(j, "a file's name that is none");
    return true;
}

/* {"name": ..., "hash": ..., "weight": ...}; what is NULL may not be there. */
static bool read_named(at_json *j, const char **name, const char **hash, double *weight)
{
    at_json_text key;
    for (at_json_object(j); at_json_key(j, &key);)
        if (name && at_json_is(&key, "name"))
            read_name(j, name);
        else if (at_json_is(&key, "hash"))
            read_hash(j, hash);
        else if (weight && at_json_is(&key, "weight"))
            at_json_real(j, weight);
        else
            at_json_refuse(j, "a key that is not known");
    if (j->status == AT_OK && ((name && !*name) || !*hash))
        return at_json_refuse(j, "a name or a hash is missing");
    return j->status == AT_OK;
}

static bool read_loras(reader *r)
{
    at_request *q = &r->out->request;
    if (q->n_loras > 0)
        return at_json_refuse(&r->j, "they stand there twice");
    for (at_json_array(&r->j); at_json_element(&r->j); q->n_loras++) {
        if (q->n_loras == AT_RECIPE_LORAS_MAX)
            return at_json_refuse(&r->j, "more than %d", AT_RECIPE_LORAS_MAX);
        at_lora_use *use = &r->own->loras[q->n_loras];
        use->weight = 1;
        if (!read_named(&r->j, &use->path, &r->own->lora_hashes[q->n_loras], &use->weight))
            return false;
    }
    return r->j.status == AT_OK;
}

static bool refuse_number(at_json *j, const setting *s, double x)
{
    return at_json_refuse(j, "expected %g to %g, found %g", s->low, s->high, x);
}

static bool read_int(at_json *j, const setting *s, int64_t *out)
{
    if (!at_json_int(j, out))
        return false;
    return (*out >= (int64_t)s->low && *out <= (int64_t)s->high) ||
           refuse_number(j, s, (double)*out);
}

static bool read_real(at_json *j, const setting *s, double *out)
{
    if (!at_json_real(j, out))
        return false;
    return (*out >= s->low && *out <= s->high) || refuse_number(j, s, *out);
}

static bool read_pair(at_json *j, const setting *s, int64_t pair[2])
{
    int n = 0;
    for (at_json_array(j); at_json_element(j);)
        if (n == 2 || !read_int(j, s, &pair[n++]))
            return at_json_refuse(j, "expected two numbers");
    return n == 2 || at_json_refuse(j, "expected two numbers");
}

static bool read_setting(reader *r, size_t i)
{
    const setting *s = &settings[i];
    void *field = set(&r->out->request, s);
    int64_t whole = 0;
    bool yes = false;
    if (r->own->seen[i])
        return at_json_refuse(&r->j, "it stands there twice");
    r->own->seen[i] = true;
    switch (s->kind) {
    case SETTING_TEXT: return read_text(&r->j, field);
    case SETTING_INT:
        if (read_int(&r->j, s, &whole))
            *(int *)field = (int)whole;
        break;
    case SETTING_REAL: return read_real(&r->j, s, field);
    case SETTING_SWITCH:
        if (at_json_bool(&r->j, &yes))
            *(int *)field = yes;
        break;
    case SETTING_PAIR: return read_pair(&r->j, s, field);
    case SETTING_FLAG: return at_json_bool(&r->j, field);
    }
    return r->j.status == AT_OK;
}

static bool read_side(at_json *j, int64_t *out)
{
    if (!at_json_int(j, out))
        return false;
    return (*out >= 1 && *out <= SIDE_MAX) ||
           at_json_refuse(j, "expected 1 to %d, found %" PRId64, SIDE_MAX, *out);
}

static bool read_format(at_json *j)
{
    int64_t format;
    if (!at_json_int(j, &format))
        return false;
    return format == AT_RECIPE_FORMAT ||
           at_json_refuse(j, "expected recipes of format %d, found %" PRId64, AT_RECIPE_FORMAT,
                          format);
}

/* What is no plain setting; -1: it is one, or nobody's. */
static int read_special(reader *r, const at_json_text *key)
{
    at_recipe *o = r->out;
    at_recipe_facts *f = &o->facts;
    const struct {
        const char *key, **text;
    } texts[] = { { "version", &o->version },
                  { "device", &f->device },
                  { "precision", &f->precision },
                  { "mode", &f->mode } };
    const struct {
        const char *key, **name, **hash;
    } files[] = { { "model", &f->model, &f->model_hash },
                  { "refiner", &f->refiner, &f->refiner_hash },
                  { "picture", NULL, &o->picture_hash },
                  { "mask", NULL, &o->mask_hash },
                  { "noise", NULL, &o->noise_hash } };
    for (size_t i = 0; i < AT_COUNT(texts); i++)
        if (at_json_is(key, texts[i].key))
            return read_text(&r->j, texts[i].text);
    for (size_t i = 0; i < AT_COUNT(files); i++)
        if (at_json_is(key, files[i].key))
            return read_named(&r->j, files[i].name, files[i].hash, NULL);
    if (at_json_is(key, "atelier"))
        return read_format(&r->j);
    if (at_json_is(key, "seed"))
        return at_json_uint(&r->j, &f->seed);
    if (at_json_is(key, "width"))
        return read_side(&r->j, &f->width);
    if (at_json_is(key, "height"))
        return read_side(&r->j, &f->height);
    return at_json_is(key, "loras") ? read_loras(r) : -1;
}

static bool read_key(reader *r, const at_json_text *key)
{
    const int special = read_special(r, key);
    if (special >= 0)
        return special;
    for (size_t i = 0; i < AT_COUNT(settings); i++)
        if (at_json_is(key, settings[i].name))
            return read_setting(r, i);
    return at_json_refuse(&r->j, "a key that is not known");
}

static at_status read_keys(reader *r, at_error *err)
{
    at_error why = { 0 };
    char name[40] = "";
    at_json_text key;
    r->j.err = &why;
    for (at_json_object(&r->j); at_json_key(&r->j, &key);) {
        snprintf(name, sizeof name,
                 "%.*s: ", (int)(key.raw_bytes < sizeof name - 3 ? key.raw_bytes : sizeof name - 3),
                 key.raw);
        if (!read_key(r, &key))
            break;
        *name = 0;
    }
    at_status status = at_json_end(&r->j);
    return status == AT_OK ? AT_OK
                           : at_fail(err, status, "the picture's recipe: %s%s", name, why.text);
}

/* Ties what was read together. */
static at_status finish(at_recipe *r, own *o, at_error *err)
{
    at_recipe_facts *f = &r->facts;
    at_request *q = &r->request;
    const char *missing = !f->model       ? "model"
                          : !q->prompt    ? "prompt"
                          : !q->sampler   ? "sampler"
                          : f->width < 1  ? "width"
                          : f->height < 1 ? "height"
                          : q->steps < 1  ? "steps"
                                          : NULL;
    if (missing)
        return at_fail(err, AT_CORRUPT, "the picture's recipe: it has no %s", missing);
    f->sampler = q->sampler;
    q->seed = f->seed;
    q->width = f->width;
    q->height = f->height;
    q->loras = o->loras;
    r->lora_hashes = o->lora_hashes;
    r->needs_picture = r->picture_hash != NULL;
    r->needs_mask = r->mask_hash != NULL;
    return AT_OK;
}

at_status at_recipe_read(at_recipe *out, const char *json, size_t bytes, at_error *err)
{
    *out = (at_recipe){ .request = open_request() };
    if (bytes > AT_RECIPE_BYTES_MAX)
        return at_fail(err, AT_INVALID, "the picture's recipe: %zu bytes, the limit is %d", bytes,
                       AT_RECIPE_BYTES_MAX);
    own *o = calloc(1, sizeof *o + bytes + 1);
    if (!o)
        return at_fail(err, AT_NO_MEMORY, "no memory for a picture's recipe");
    out->own = o;
    memcpy(o->text, json, bytes);
    reader r = { .out = out, .own = o };
    at_json_start(&r.j, o->text, bytes, NULL);
    at_status status = read_keys(&r, err);
    if (status == AT_OK)
        status = finish(out, o, err);
    if (status != AT_OK)
        at_recipe_free(out);
    return status;
}

void at_recipe_free(at_recipe *r)
{
    free(r->own);
    *r = (at_recipe){ 0 };
}
