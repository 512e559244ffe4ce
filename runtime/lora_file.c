/* lora_file.c -- one adapter read from its file: keys to weights, sizes, alpha, bytes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/safetensors.h"
#include "engine/source.h"
#include "kernels/shape.h"
#include "models/sdxl_names.h"
#include "runtime/lora_config.h"
#include "runtime/lora_own.h"

enum { TOLD_MAX = 3, PATH_MAX_BYTES = 4096 };

static const char peft_prefix[] = "base_model.model.";

typedef enum key_role { DOWN, UP, MID, ALPHA, ROLES } key_role;

static const struct {
    const char *text;
    key_role role;
} endings[] = {
#define AT_LORA_KEY(ending, ROLE) { ending, ROLE },
#define AT_LORA_OTHER(piece, kind)
#include "runtime/lora_keys.def"
#undef AT_LORA_KEY
#undef AT_LORA_OTHER
};

static const struct {
    const char *piece, *kind;
} others[] = {
#define AT_LORA_KEY(ending, ROLE)
#define AT_LORA_OTHER(piece, kind) { piece, kind },
#include "runtime/lora_keys.def"
#undef AT_LORA_KEY
#undef AT_LORA_OTHER
};

/* A weight's tensors in the file, -1: there is none. */
typedef struct roles {
    int tensor[ROLES];
} roles;

typedef struct reader {
    const char *path; /* for sentences */
    const at_sdxl_about *model;
    at_source *source;
    const at_tensors *list;
    at_lora_names *names;
    roles *found; /* for each weight of the model */
    bool peft;
    at_sdxl_part part; /* of a file of PEFT, which is about one */
    at_lora_config config[AT_SDXL_PARTS];
    at_lora *lora;
    at_error *err;
} reader;

/* A key cut for a sentence; whole characters. */
#define KEY_SHOWN(name) at_safetensors_shown(name, strlen(name)), name

/* --- keys ------------------------------------------------------------------------------------- */

/* What a key is for and how many of its bytes name the module; false: it ends like no adapter's. */
static bool split(const char *key, key_role *role, size_t *module_bytes)
{
    const size_t bytes = strlen(key);
    for (size_t i = 0; i < AT_COUNT(endings); i++) {
        const size_t tail = strlen(endings[i].text);
        if (bytes <= tail || strcmp(key + bytes - tail, endings[i].text) != 0)
            continue;
        *role = endings[i].role;
        *module_bytes = bytes - tail;
        return true;
    }
    return false;
}

/* The weight that a module of the file changes, in a file of PEFT as one of 'part'. */
static int find_target(const reader *r, at_sdxl_part part, const char *module, size_t bytes)
{
    char text[AT_TENSOR_NAME_MAX + 32];
    const size_t skipped = sizeof peft_prefix - 1;
    if (!r->peft)
        return at_lora_target_named(r->names, module, bytes);
    if (bytes < skipped || memcmp(module, peft_prefix, skipped) != 0)
        return -1;
    const int written = snprintf(text, sizeof text, "%s.%.*s", at_sdxl_part_name(part),
                                 (int)(bytes - skipped), module + skipped);
    return at_lora_target_named(r->names, text, (size_t)written);
}

/* Whether a key holds a piece that no word goes on behind: ".diff", not ".diffusion_model". */
static bool holds(const char *key, const char *piece)
{
    const char *at = strstr(key, piece);
    const char next = at ? at[strlen(piece)] : 0;
    return at && (piece[strlen(piece) - 1] == '_' || !next || next == '.' || next == '_');
}

static at_status refuse_others(const reader *r)
{
    for (int i = 0; i < r->list->count; i++)
        for (size_t k = 0; k < AT_COUNT(others); k++) {
            const char *key = r->list->items[i].name;
            if (holds(key, others[k].piece))
                return at_fail(r->err, AT_UNSUPPORTED,
                               "%s: '%.*s' is of %s: only LoRA is supported", r->path,
                               KEY_SHOWN(key), others[k].kind);
        }
    return AT_OK;
}

/* Whether the tensor has the size in which its weight can be told from another of its name. */
static bool fits_part(const at_lora_target *t, const at_stored_tensor *tensor, key_role role)
{
    if (role != DOWN && role != UP)
        return true;
    return tensor->rank >= 2 &&
           (role == UP ? tensor->size[0] == t->rows : tensor->size[1] == t->cols);
}

/* PEFT's files do not say of which part they are. */
static at_status find_part(reader *r)
{
    static const at_sdxl_part parts[] = { AT_SDXL_UNET, AT_SDXL_TEXT_1, AT_SDXL_TEXT_2 };
    int most = 0, with_most = 0;
    r->part = AT_SDXL_UNET;
    for (size_t p = 0; p < AT_COUNT(parts); p++) {
        int fit = 0;
        for (int i = 0; i < r->list->count; i++) {
            const at_stored_tensor *t = &r->list->items[i];
            key_role role;
            size_t bytes;
            if (!split(t->name, &role, &bytes))
                continue;
            const int k = find_target(r, parts[p], t->name, bytes);
            fit += k >= 0 && fits_part(at_lora_target_at(r->names, k), t, role);
        }
        with_most = fit == most ? with_most + 1 : fit > most ? 1 : with_most;
        if (fit > most) {
            most = fit;
            r->part = parts[p];
        }
    }
    if (most && with_most > 1)
        return at_fail(r->err, AT_UNSUPPORTED,
                       "%s: it fits both text encoders and does not say which it is for", r->path);
    return AT_OK;
}

/* What an adapter's cross-attention reads tells which model it was made for. */
static at_status refuse_other_model(const reader *r)
{
    static const struct {
        int64_t width;
        const char *model;
    } known[] = { { 768, ", as Stable Diffusion 1's" },
                  { 1024, ", as Stable Diffusion 2's" },
                  { 2048, ", as SDXL's" },
                  { 1280, ", as SDXL's refiner's" } };
    const int64_t here = r->model->unet.context;
    for (int i = 0; i < r->list->count && r->model->has[AT_SDXL_UNET]; i++) {
        const at_stored_tensor *t = &r->list->items[i];
        key_role role;
        size_t bytes;
        const char *model = "";
        if (!strstr(t->name, "attn2") || !(strstr(t->name, "to_k") || strstr(t->name, "to_v")) ||
            !split(t->name, &role, &bytes) || role != DOWN || t->rank < 2 || t->size[1] == here)
            continue;
        for (size_t k = 0; k < AT_COUNT(known); k++)
            if (known[k].width == t->size[1])
                model = known[k].model;
        return at_fail(r->err, AT_INVALID,
                       "%s: it is for another model: the text that '%.*s' reads is %lld wide%s, "
                       "this model's %lld",
                       r->path, KEY_SHOWN(t->name), (long long)t->size[1], model, (long long)here);
    }
    return AT_OK;
}

/* --- keys to weights -------------------------------------------------------------------------- */

typedef struct strangers {
    const char *keys[TOLD_MAX];
    int count;
} strangers;

static at_status refuse_strangers(const reader *r, const strangers *s)
{
    enum { SHOWN = 96 };
    char told[TOLD_MAX * (SHOWN + 8)];
    size_t used = 0;
    for (int i = 0; i < s->count && i < TOLD_MAX; i++) {
        const int shown = at_safetensors_shown(s->keys[i], strlen(s->keys[i]));
        const size_t most = SHOWN, bytes = (size_t)shown < most ? (size_t)shown : most;
        used += (size_t)snprintf(told + used, sizeof told - used, "%s'%.*s'", i ? ", " : "",
                                 (int)bytes, s->keys[i]);
    }
    if (s->count > TOLD_MAX)
        snprintf(told + used, sizeof told - used, ", ...");
    return at_fail(r->err, AT_INVALID, "%s: %s%d of its %d keys fit no weight of the model: %s",
                   r->path, s->count == r->list->count ? "all " : "", s->count, r->list->count,
                   told);
}

static at_status place(reader *r, int i, int target, key_role role)
{
    int *tensor = &r->found[target].tensor[role];
    if (*tensor >= 0)
        return at_fail(r->err, AT_INVALID, "%s: '%.*s' and '%.*s' are the same of %s", r->path,
                       KEY_SHOWN(r->list->items[*tensor].name), KEY_SHOWN(r->list->items[i].name),
                       at_lora_target_at(r->names, target)->name);
    *tensor = i;
    return AT_OK;
}

static at_status match_keys(reader *r)
{
    strangers s = { .count = 0 };
    for (int i = 0; i < r->list->count; i++) {
        const char *key = r->list->items[i].name;
        key_role role;
        size_t bytes;
        const int target = split(key, &role, &bytes) ? find_target(r, r->part, key, bytes) : -1;
        if (target >= 0)
            AT_TRY(place(r, i, target, role));
        else if (s.count++ < TOLD_MAX)
            s.keys[s.count - 1] = key;
    }
    return s.count ? refuse_strangers(r, &s) : AT_OK;
}

/* --- sizes ------------------------------------------------------------------------------------ */

/* "4x640x3x3"; the kernel only where there is one. */
static void shape_text(int64_t rows, int64_t cols, int64_t kernel, char text[64])
{
    int n = snprintf(text, 64, "%lldx%lld", (long long)rows, (long long)cols);
    if (kernel > 1)
        snprintf(text + n, 64 - (size_t)n, "x%lldx%lld", (long long)kernel, (long long)kernel);
}

/* Whether a tensor is (rows, cols) or (rows, cols, kernel, kernel). */
static at_status check_sizes(const reader *r, int i, const at_lora_target *to, int64_t rows,
                             int64_t cols, int64_t kernel)
{
    const at_stored_tensor *t = &r->list->items[i];
    const int64_t size[] = { rows, cols, kernel, kernel };
    bool same = t->rank == 4 || (t->rank == 2 && kernel == 1);
    char found[64], expected[64], weight[64];
    for (int k = 0; same && k < t->rank; k++)
        same = t->size[k] == size[k];
    if (same)
        return AT_OK;
    at_stored_shape_text(t, found, sizeof found);
    shape_text(rows, cols, kernel, expected);
    shape_text(to->rows, to->cols, to->kernel, weight);
    return at_fail(r->err, AT_INVALID, "%s: '%.*s' is %s, expected %s for %s, which is %s", r->path,
                   KEY_SHOWN(t->name), found, expected, to->name, weight);
}

/* All of a weight's tensors there and of one rank. */
static at_status check_update(const reader *r, const at_lora_target *to, const roles *f,
                              int64_t *rank)
{
    const int down = f->tensor[DOWN], up = f->tensor[UP], mid = f->tensor[MID];
    if (down < 0 || up < 0)
        return at_fail(r->err, AT_INVALID, "%s: %s has no %s", r->path, to->name,
                       down >= 0 ? "up (lora_B)"
                       : up >= 0 ? "down (lora_A)"
                                 : "down and up (lora_A, lora_B)");
    const at_stored_tensor *d = &r->list->items[down];
    const int most = mid < 0 ? AT_LORA_RANK_MAX : AT_LORA_MID_RANK_MAX;
    *rank = d->rank ? d->size[0] : 0;
    if (*rank < 1 || *rank > most)
        return at_fail(r->err, AT_UNSUPPORTED, "%s: '%.*s' has rank %lld, expected 1 to %d",
                       r->path, KEY_SHOWN(d->name), (long long)*rank, most);
    AT_TRY(check_sizes(r, down, to, *rank, to->cols, mid < 0 ? to->kernel : 1));
    if (mid >= 0)
        AT_TRY(check_sizes(r, mid, to, *rank, *rank, to->kernel));
    return check_sizes(r, up, to, to->rows, *rank, 1);
}

/* --- numbers ---------------------------------------------------------------------------------- */

/* The bits of the number farthest from zero; of all types infinity and what is no number have the
 * largest. */
static uint32_t farthest(const void *data, int64_t n, at_dtype dtype)
{
    const uint32_t *wide = data;
    const uint16_t *narrow = data;
    uint32_t most = 0;
    uint16_t most_narrow = 0;
    for (int64_t i = 0; dtype == AT_F32 && i < n; i++)
        most = (wide[i] & 0x7fffffff) > most ? wide[i] & 0x7fffffff : most;
    for (int64_t i = 0; dtype != AT_F32 && i < n; i++) {
        const uint16_t bits = narrow[i] & 0x7fff;
        most_narrow = bits > most_narrow ? bits : most_narrow;
    }
    return dtype == AT_F32 ? most : most_narrow;
}

/* The largest absolute value of a matrix; infinite or no number is refused. */
static at_status find_largest(const reader *r, const char *key, const at_view *v, double *largest)
{
    const int64_t n = at_elements(v);
    const uint32_t bits = farthest(v->data, n, v->dtype);
    const uint16_t narrow = (uint16_t)bits;
    *largest = at_load(v->dtype == AT_F32 ? (const void *)&bits : &narrow, 0, v->dtype);
    if (isfinite(*largest))
        return AT_OK;
    int64_t bad = 0;
    while (isfinite(at_load(v->data, bad, v->dtype)))
        bad++;
    return at_fail(r->err, AT_CORRUPT, "%s: number %lld of '%.*s' is %g", r->path, (long long)bad,
                   KEY_SHOWN(key), at_load(v->data, bad, v->dtype));
}

/* Reads a tensor; types that merging does not take become one that holds them. */
static at_status read_matrix(reader *r, int i, at_arena *arena, at_view *out, double *largest)
{
    const at_stored_tensor *t = &r->list->items[i];
    const at_dtype stored = at_stored_about(t->type)->dtype;
    const bool direct = stored == AT_F32 || stored == AT_F16 || stored == AT_BF16;
    const at_dtype dtype = direct ? stored : stored == AT_F8 ? AT_F16 : AT_F32;
    if (stored == AT_NONE || !at_dtype_is_float(stored))
        return at_fail(r->err, AT_UNSUPPORTED, "%s: '%.*s' is of %s, expected floating numbers",
                       r->path, KEY_SHOWN(t->name), at_stored_about(t->type)->name);
    const int64_t n = (int64_t)(t->bytes / at_dtype_bytes(stored)),
                  size[] = { t->size[0], n / t->size[0] };
    *out = at_view_of(dtype, 2, size);
    out->data = at_arena_try(arena, (size_t)n * at_dtype_bytes(dtype));
    void *from = direct ? out->data : malloc((size_t)t->bytes);
    at_status status = AT_OK;
    if (!out->data || !from)
        status =
            at_fail(r->err, AT_NO_MEMORY, "%s: no memory for '%.*s'", r->path, KEY_SHOWN(t->name));
    if (status == AT_OK)
        status = at_source_read(r->source, i, 0, from, (size_t)t->bytes, r->err);
    for (int64_t k = 0; !direct && status == AT_OK && k < n; k++)
        at_store(out->data, k, dtype, at_load(from, k, stored));
    if (status == AT_OK)
        status = find_largest(r, t->name, out, largest);
    if (!direct)
        free(from);
    return status;
}

/* sums (rank, cols, taps) = mid (rank, rank, taps) down (rank, cols), with a row of 'down' and of
 * sums in f32 at hand. */
static void multiply_mid(float *sums, const at_view *mid, const at_view *down, int64_t taps,
                         float *wide)
{
    const int64_t rank = down->size[0], cols = down->size[1];
    float *row = wide + rank * cols;
    for (int64_t i = 0; i < rank * cols; i++)
        wide[i] = (float)at_load(down->data, i, down->dtype);
    for (int64_t a = 0; a < rank; a++)
        for (int64_t k = 0; k < taps; k++) {
            memset(row, 0, (size_t)cols * sizeof *row);
            for (int64_t b = 0; b < rank; b++) {
                const float m = (float)at_load(mid->data, (a * rank + b) * taps + k, mid->dtype);
                for (int64_t c = 0; c < cols; c++)
                    row[c] += m * wide[b * cols + c];
            }
            for (int64_t c = 0; c < cols; c++)
                sums[(a * cols + c) * taps + k] = row[c];
        }
}

/* A convolution between two 1x1 ones, put into the first of them: (rank, cols, kernel, kernel). */
static at_status put_mid(reader *r, int i, const at_lora_target *to, at_view *down, double *largest)
{
    const int64_t rank = down->size[0], cols = to->cols, taps = to->kernel * to->kernel;
    const int64_t size[] = { rank, cols * taps };
    at_view mid, out = at_view_of(AT_F32, 2, size);
    at_arena *arena = at_arena_try_new();
    at_status status = AT_OK;
    float *wide = arena ? at_arena_try(arena, (size_t)((rank + 1) * cols) * sizeof *wide) : NULL;
    out.data = at_arena_try(r->lora->arena, (size_t)(rank * cols * taps) * sizeof *wide);
    if (!wide || !out.data)
        status = at_fail(r->err, AT_NO_MEMORY, "%s: no memory for %s", r->path, to->name);
    if (status == AT_OK)
        status = read_matrix(r, i, arena, &mid, largest);
    if (status == AT_OK) {
        multiply_mid(out.data, &mid, down, taps, wide);
        *down = out;
        status = find_largest(r, r->list->items[i].name, down, largest);
    }
    at_arena_free(arena);
    return status;
}

/* --- scale ------------------------------------------------------------------------------------ */

static at_status read_alpha(reader *r, int i, double *alpha)
{
    const at_stored_tensor *t = &r->list->items[i];
    const at_dtype dtype = at_stored_about(t->type)->dtype;
    unsigned char bytes[8];
    if (dtype == AT_NONE || t->bytes != at_dtype_bytes(dtype))
        return at_fail(r->err, AT_INVALID, "%s: '%.*s' is not one number", r->path,
                       KEY_SHOWN(t->name));
    AT_TRY(at_source_read(r->source, i, 0, bytes, (size_t)t->bytes, r->err));
    *alpha = at_load(bytes, 0, dtype);
    if (!isfinite(*alpha))
        return at_fail(r->err, AT_CORRUPT, "%s: '%.*s' is %g", r->path, KEY_SHOWN(t->name), *alpha);
    return AT_OK;
}

/* In patterns a module may have its other names, too. */
static double pattern_value(const at_lora_patterns *p, const at_lora_target *to, double otherwise)
{
    char module[AT_TENSOR_NAME_MAX], other[AT_TENSOR_NAME_MAX];
    snprintf(module, sizeof module, "%.*s", (int)to->module_bytes, to->module);
    for (int i = 0; at_sdxl_name_also(other, to->part, module, i); i++)
        otherwise = at_lora_pattern_value(p, other, strlen(other), otherwise);
    return at_lora_pattern_value(p, module, to->module_bytes, otherwise);
}

/* alpha / rank, by what the configuration says or the tensor beside the matrices, which must not
 * differ; 1 where neither says anything. */
static at_status find_scale(reader *r, const at_lora_target *to, const roles *f, int64_t rank,
                            double *scale)
{
    const at_lora_config *c = &r->config[to->part];
    const int i = f->tensor[ALPHA];
    double alpha = (double)rank;
    if (i >= 0)
        AT_TRY(read_alpha(r, i, &alpha));
    if (c->there) {
        const double says = pattern_value(&c->ranks, to, c->rank);
        const double its = pattern_value(&c->alphas, to, c->alpha);
        if (says != (double)rank)
            return at_fail(r->err, AT_INVALID,
                           "%s: %s has rank %lld in its matrices and %g in the configuration",
                           r->path, to->name, (long long)rank, says);
        if (i >= 0 && alpha != its)
            return at_fail(r->err, AT_INVALID, "%s: '%.*s' is %g, which is %g in the configuration",
                           r->path, KEY_SHOWN(r->list->items[i].name), alpha, its);
        alpha = its;
    }
    *scale = alpha / (c->by_root ? sqrt((double)rank) : (double)rank);
    return AT_OK;
}

/* --- configurations --------------------------------------------------------------------------- */

/* diffusers': one text for all parts. */
static at_status read_metadata(reader *r)
{
    static const char name[] = "lora_adapter_metadata";
    const at_text *text = at_tensors_text(r->list, name);
    char what[AT_ERROR_TEXT_MAX], prefix[32];
    snprintf(what, sizeof what, "%s: %s", r->path, name);
    for (int p = 0; text && p < AT_SDXL_PARTS; p++) {
        snprintf(prefix, sizeof prefix, "%s.", at_sdxl_part_name(p));
        AT_TRY(at_lora_config_read(&r->config[p], r->lora->arena, what, prefix, text->data,
                                   text->bytes, r->err));
    }
    return AT_OK;
}

/* The path of the configuration beside a file, or in a folder. */
static bool config_path(const char *path, char out[PATH_MAX_BYTES])
{
    struct stat about;
    const char *slash = strrchr(path, '/');
    size_t folder = slash ? (size_t)(slash - path) + 1 : 0;
    const bool whole = stat(path, &about) == 0 && S_ISDIR(about.st_mode);
    if (whole)
        folder = strlen(path);
    const int written = snprintf(out, PATH_MAX_BYTES, "%.*s%sadapter_config.json", (int)folder,
                                 path, whole ? "/" : "");
    return written > 0 && written < PATH_MAX_BYTES;
}

/* PEFT's: a file of its own, without which alpha is not known. */
static at_status read_peft(reader *r, const char *path)
{
    char file[PATH_MAX_BYTES], what[AT_ERROR_TEXT_MAX];
    at_file f;
    if (!config_path(path, file))
        return at_fail(r->err, AT_UNSUPPORTED, "%s: its path is too long", r->path);
    snprintf(what, sizeof what, "%s", at_safetensors_path(file));
    AT_TRY(at_file_open(&f, file, r->err));
    char *text = f.bytes <= AT_LORA_CONFIG_BYTES_MAX ? malloc((size_t)f.bytes + 1) : NULL;
    at_status status = AT_OK;
    if (f.bytes > AT_LORA_CONFIG_BYTES_MAX)
        status = at_fail(r->err, AT_UNSUPPORTED, "%s has %llu bytes, expected at most %d", what,
                         (unsigned long long)f.bytes, AT_LORA_CONFIG_BYTES_MAX);
    else if (!text)
        status = at_fail(r->err, AT_NO_MEMORY, "%s: no memory to read it", what);
    if (status == AT_OK)
        status = at_file_read(&f, 0, text, (size_t)f.bytes, r->err);
    if (status == AT_OK)
        status = at_lora_config_read(&r->config[r->part], r->lora->arena, what, "", text,
                                     (size_t)f.bytes, r->err);
    free(text);
    at_file_close(&f);
    return status;
}

/* --- all of it -------------------------------------------------------------------------------- */

static at_status read_update(reader *r, int target)
{
    const at_lora_target *to = at_lora_target_at(r->names, target);
    const roles *f = &r->found[target];
    at_lora_update *u = &r->lora->updates[r->lora->count];
    double up, down;
    int64_t rank = 0;
    AT_TRY(check_update(r, to, f, &rank));
    AT_TRY(find_scale(r, to, f, rank, &u->scale));
    AT_TRY(read_matrix(r, f->tensor[UP], r->lora->arena, &u->up, &up));
    AT_TRY(read_matrix(r, f->tensor[DOWN], r->lora->arena, &u->down, &down));
    if (f->tensor[MID] >= 0)
        AT_TRY(put_mid(r, f->tensor[MID], to, &u->down, &down));
    u->largest = fabs(u->scale) * (double)rank * up * down;
    u->part = to->part;
    u->name = at_arena_text(r->lora->arena, to->name);
    r->lora->count++;
    return AT_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const at_lora_update *)a)->name, ((const at_lora_update *)b)->name);
}

static at_status read_updates(reader *r)
{
    const int n = at_lora_targets(r->names);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < ROLES; k++)
            if (r->found[i].tensor[k] >= 0) {
                AT_TRY(read_update(r, i));
                break;
            }
    qsort(r->lora->updates, (size_t)r->lora->count, sizeof *r->lora->updates, by_name);
    return AT_OK;
}

static at_status check_list(const reader *r)
{
    if (r->source->kind != &at_source_safetensors)
        return at_fail(r->err, AT_UNSUPPORTED, "%s: it is a file of %s, expected safetensors",
                       r->path, r->source->kind->name);
    if (!r->list->count || r->list->count > AT_LORA_KEYS_MAX)
        return at_fail(r->err, AT_UNSUPPORTED, "%s: it has %d tensors, expected 1 to %d", r->path,
                       r->list->count, AT_LORA_KEYS_MAX);
    if (at_tensors_bytes(r->list) > AT_LORA_BYTES_MAX)
        return at_fail(r->err, AT_UNSUPPORTED, "%s: its tensors have %llu bytes, expected %llu",
                       r->path, (unsigned long long)at_tensors_bytes(r->list),
                       (unsigned long long)AT_LORA_BYTES_MAX);
    return refuse_others(r);
}

static at_status read_all(reader *r, const char *path)
{
    AT_TRY(check_list(r));
    AT_TRY(refuse_other_model(r));
    AT_TRY(at_lora_names_new(&r->names, r->model, r->err));
    const size_t n = (size_t)at_lora_targets(r->names);
    r->found = malloc((n + 1) * sizeof *r->found);
    r->lora->arena = at_arena_try_new();
    if (r->found && r->lora->arena)
        r->lora->updates = at_arena_try(r->lora->arena, (n + 1) * sizeof *r->lora->updates);
    if (!r->lora->updates)
        return at_fail(r->err, AT_NO_MEMORY, "%s: no memory to read it", r->path);
    memset(r->found, -1, (n + 1) * sizeof *r->found);
    for (int i = 0; i < r->list->count && !r->peft; i++)
        r->peft = !strncmp(r->list->items[i].name, peft_prefix, sizeof peft_prefix - 1);
    if (r->peft)
        AT_TRY(find_part(r));
    AT_TRY(match_keys(r));
    AT_TRY(r->peft ? read_peft(r, path) : read_metadata(r));
    return read_updates(r);
}

at_status at_lora_read(at_lora *lora, const at_sdxl_about *model, const char *path, at_error *err)
{
    reader r = { .path = at_safetensors_path(path), .model = model, .lora = lora, .err = err };
    *lora = (at_lora){ 0 };
    AT_TRY(at_source_open(&r.source, path, err));
    r.list = &r.source->list;
    const at_status status = read_all(&r, path);
    for (int p = 0; p < AT_SDXL_PARTS; p++)
        at_lora_config_free(&r.config[p]);
    free(r.found);
    at_lora_names_free(r.names);
    at_source_close(r.source);
    return status;
}

void at_lora_free(at_lora *lora)
{
    at_arena_free(lora->arena);
    *lora = (at_lora){ 0 };
}
