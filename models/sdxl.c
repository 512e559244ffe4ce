#include "models/sdxl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/checksum.h"
#include "engine/json.h"
#include "kernels/shape.h"
#include "models/sdxl_config.h"
#include "models/sdxl_own.h"
#include "models/sdxl_scheduler.h"

enum {
    SIZES_BASE = 6,     /* original, crop, target: two numbers each */
    SIZES_REFINER = 5,  /* a score instead of the target */
    INDEX_MAX = 1 << 20 /* bytes of model_index.json */
};

static const char *const folders[] = {
#define AT_SDXL_PART(NAME, folder) folder,
#include "models/sdxl_parts.def"
#undef AT_SDXL_PART
};

const char *at_sdxl_part_name(at_sdxl_part part)
{
    return folders[part];
}

at_sdxl_part at_sdxl_part_named(const char *name)
{
    int i = 0;
    while (i < AT_SDXL_PARTS && strcmp(folders[i], name))
        i++;
    return (at_sdxl_part)i;
}

/* "FILE: sentence", however long both are. */
static at_status fail_in(const at_sdxl *m, const at_error *why, at_error *err)
{
    return at_fail(err, why->status, "%.160s: %.340s", m->path, why->text);
}

/* --- descriptions ----------------------------------------------------------------------------- */

at_status at_sdxl_describe(at_sdxl_described *out, const at_sdxl *m, at_sdxl_part part,
                           at_dtype dtype, at_device *device, at_params_offer *offer, void *context,
                           at_error *err)
{
    *out = (at_sdxl_described){ .store = at_params_new(device) };
    if (offer)
        at_params_accept(out->store, offer, context);
    if (part == AT_SDXL_UNET)
        return at_sdxl_unet_new(&out->unet, out->store, &m->about.unet, dtype, err);
    if (part == AT_SDXL_VAE)
        return at_sdxl_vae_new(&out->vae, out->store, &m->about.vae, dtype, err);
    return at_clip_text_new(&out->text, out->store, &m->about.text[part - AT_SDXL_TEXT_1], dtype,
                            err);
}

void at_sdxl_described_free(at_sdxl_described *d)
{
    at_sdxl_unet_free(d->unet);
    at_sdxl_vae_free(d->vae);
    at_clip_text_free(d->text);
    at_params_free(d->store);
    *d = (at_sdxl_described){ 0 };
}

int at_sdxl_described_count(const at_sdxl_described *d)
{
    return d->unet  ? at_sdxl_unet_params(d->unet)
           : d->vae ? at_sdxl_vae_params(d->vae)
                    : at_clip_text_params(d->text);
}

at_param *at_sdxl_described_param(const at_sdxl_described *d, int i)
{
    return d->unet  ? at_sdxl_unet_param(d->unet, i)
           : d->vae ? at_sdxl_vae_param(d->vae, i)
                    : at_clip_text_param(d->text, i);
}

void at_sdxl_tensor_name(char name[AT_SDXL_NAME_MAX], at_sdxl_part part, const at_param *p)
{
    snprintf(name, AT_SDXL_NAME_MAX, "%s.%s", folders[part], p->name);
}

/* --- tensors ---------------------------------------------------------------------------------- */

/* Whether a tensor is the part's: its name begins with the folder's and a point. */
static bool is_of(at_sdxl_part part, const char *name)
{
    const size_t n = strlen(folders[part]);
    return !strncmp(name, folders[part], n) && name[n] == '.';
}

/* What older transformers saved beside the weights: 0, 1, 2, ... */
static bool is_counter(at_sdxl_part part, const char *name)
{
    static const char counter[] = ".text_model.embeddings.position_ids";
    return is_of(part, name) && !strcmp(name + strlen(folders[part]), counter);
}

static bool is_loadable(at_stored type)
{
    return type == AT_STORED_F32 || type == AT_STORED_BF16 || type == AT_STORED_F16;
}

static at_status check_tensor(const at_sdxl *m, const char *name, const at_param *p,
                              const at_stored_tensor *t, at_error *err)
{
    char found[96], expected[96];
    const at_stored_tensor wanted = { .size = p->view.size, .rank = (int16_t)p->view.rank };
    bool same = t->rank == wanted.rank;
    for (int a = 0; a < wanted.rank && same; a++)
        same = t->size[a] == wanted.size[a];
    at_stored_shape_text(t, found, sizeof found);
    at_stored_shape_text(&wanted, expected, sizeof expected);
    if (!same)
        return at_fail(err, AT_INVALID,
                       "%.120s: tensor '%s' is %s: expected %s, as the config says", m->path, name,
                       found, expected);
    if (!is_loadable(t->type))
        return at_fail(err, AT_UNSUPPORTED,
                       "%.120s: tensor '%s' is of type %s: expected f32, bf16 or f16", m->path,
                       name, at_stored_about(t->type)->name);
    return AT_OK;
}

/* Every parameter has its tensor; 'used' becomes true for those. */
static at_status check_described(const at_sdxl *m, at_sdxl_part part, const at_sdxl_described *d,
                                 bool *used, at_error *err)
{
    const at_tensors *list = at_checkpoint_list(m->file);
    char name[AT_SDXL_NAME_MAX];
    for (int i = 0; i < at_sdxl_described_count(d); i++) {
        const at_param *p = at_sdxl_described_param(d, i);
        at_sdxl_tensor_name(name, part, p);
        const int t = at_tensors_find(list, name);
        if (t < 0)
            return at_fail(err, AT_NOT_FOUND, "%.160s: tensor '%s' is missing", m->path, name);
        AT_TRY(check_tensor(m, name, p, &list->items[t], err));
        used[t] = true;
    }
    for (int t = 0; t < list->count; t++) {
        const char *found = list->items[t].name;
        if (is_of(part, found) && !used[t] && !is_counter(part, found))
            return at_fail(err, AT_INVALID,
                           "%.160s: tensor '%.200s' is none of a %s of this config", m->path, found,
                           folders[part]);
    }
    return AT_OK;
}

static at_status check_part(const at_sdxl *m, at_sdxl_part part, bool *used, at_error *err)
{
    at_sdxl_described d;
    at_error why;
    at_status status = at_sdxl_describe(&d, m, part, AT_F32, NULL, NULL, NULL, &why);
    if (status != AT_OK)
        fail_in(m, &why, err);
    else
        status = check_described(m, part, &d, used, err);
    at_sdxl_described_free(&d);
    return status;
}

static void add_to_hash(at_checksum *sum, const at_stored_tensor *t, uint64_t bytes_sum)
{
    const char *type = at_stored_about(t->type)->name;
    at_checksum_add(sum, t->name, strlen(t->name) + 1);
    at_checksum_add(sum, type, strlen(type) + 1);
    at_checksum_add(sum, t->size, (size_t)t->rank * sizeof *t->size);
    at_checksum_add(sum, &bytes_sum, sizeof bytes_sum);
}

/* In the order of names, so that the order of the file does not count. */
static at_status make_hash(at_sdxl *m, const bool *used, at_error *err)
{
    const at_tensors *list = at_checkpoint_list(m->file);
    at_checksum *sum = at_checksum_new();
    if (!sum)
        return at_fail(err, AT_NO_MEMORY, "%.160s: no memory to open it", m->path);
    for (int i = 0; i < list->count; i++) {
        const int t = (int)list->by_name[i];
        if (used[t])
            add_to_hash(sum, &list->items[t], at_checkpoint_sum_of(m->file, t));
    }
    snprintf(m->hash, sizeof m->hash, "%016" PRIx64, at_checksum_value(sum));
    at_checksum_free(sum);
    return AT_OK;
}

static at_status check_tensors(at_sdxl *m, at_error *err)
{
    const at_tensors *list = at_checkpoint_list(m->file);
    bool *used = calloc((size_t)list->count + 1, sizeof *used);
    if (!used)
        return at_fail(err, AT_NO_MEMORY, "%.160s: no memory to open it", m->path);
    at_status status = AT_OK;
    for (int i = 0; i < AT_SDXL_PARTS && status == AT_OK; i++)
        if (m->about.has[i])
            status = check_part(m, (at_sdxl_part)i, used, err);
    if (status == AT_OK)
        status = make_hash(m, used, err);
    free(used);
    return status;
}

/* --- texts ------------------------------------------------------------------------------------ */

static const at_text *text_of(const at_sdxl *m, const char *folder, const char *file)
{
    char name[AT_TEXT_NAME_MAX];
    snprintf(name, sizeof name, "%s%s%s", folder, *folder ? "/" : "", file);
    return at_tensors_text(at_checkpoint_list(m->file), name);
}

static bool read_index_keys(at_json *j, at_sdxl_about *about)
{
    at_json_text key;
    for (at_json_object(j); at_json_key(j, &key);)
        if (at_json_is(&key, "force_zeros_for_empty_prompt"))
            at_json_bool(j, &about->zeros_for_no_negative);
        else if (at_json_is(&key, "requires_aesthetics_score"))
            at_json_bool(j, &about->asks_aesthetics_score);
        else
            at_json_skip(j);
    return j->status == AT_OK;
}

/* What keys that are not there mean is in the pipelines' __init__ of diffusers. */
static at_status read_index(at_sdxl *m, at_error *err)
{
    const at_text *t = text_of(m, "", "model_index.json");
    at_json j;
    at_error why = { 0 };
    m->about.zeros_for_no_negative = true;
    m->about.asks_aesthetics_score = false;
    if (!t)
        return AT_OK;
    if (t->bytes > INDEX_MAX)
        return at_fail(err, AT_INVALID,
                       "%.160s: model_index.json has %zu bytes, expected at most %d", m->path,
                       t->bytes, INDEX_MAX);
    at_json_start(&j, t->data, t->bytes, &why);
    read_index_keys(&j, &m->about);
    at_status status = at_json_end(&j);
    if (status != AT_OK)
        return at_fail(err, status, "%.160s: model_index.json: %.300s", m->path, why.text);
    return AT_OK;
}

static at_status find_config(const at_sdxl *m, at_sdxl_part part, const at_text **out,
                             at_error *err)
{
    *out = text_of(m, folders[part], "config.json");
    if (*out)
        return AT_OK;
    return at_fail(err, AT_NOT_FOUND,
                   "%.160s: there are tensors of a %s and no text '%s/config.json'", m->path,
                   folders[part], folders[part]);
}

static at_status read_unet(at_sdxl *m, const at_text *t, at_error *err)
{
    int64_t pooled = m->about.text[1].projection;
    const int64_t sizes = m->about.asks_aesthetics_score ? SIZES_REFINER : SIZES_BASE;
    if (!m->about.has[AT_SDXL_TEXT_2])
        AT_TRY(at_sdxl_unet_config_pooled(&pooled, t->data, t->bytes, sizes, err));
    return at_sdxl_unet_config_read(&m->about.unet, t->data, t->bytes, pooled, err);
}

static at_status read_text_encoder(at_sdxl *m, at_sdxl_part part, const at_text *t, at_error *err)
{
    at_clip_text_config *c = &m->about.text[part - AT_SDXL_TEXT_1];
    AT_TRY(at_clip_text_config_read(c, t->data, t->bytes, err));
    if (part == AT_SDXL_TEXT_2 && !c->projection)
        return at_fail(err, AT_UNSUPPORTED,
                       "architectures: expected CLIPTextModelWithProjection, whose text_embeds "
                       "the UNet reads");
    return AT_OK;
}

/* The encoders come before the UNet, whose config leaves open what the second of them says. */
static at_status read_configs(at_sdxl *m, at_error *err)
{
    for (int i = 0; i < AT_SDXL_PARTS; i++) {
        const at_sdxl_part part = (at_sdxl_part)i;
        const at_text *t;
        at_error why = { 0 };
        if (!m->about.has[i])
            continue;
        AT_TRY(find_config(m, part, &t, err));
        const at_status status =
            part == AT_SDXL_UNET  ? read_unet(m, t, &why)
            : part == AT_SDXL_VAE ? at_sdxl_vae_config_read(&m->about.vae, t->data, t->bytes, &why)
                                  : read_text_encoder(m, part, t, &why);
        if (status != AT_OK)
            return at_fail(err, status, "%.160s: %s/config.json: %.280s", m->path, folders[i],
                           why.text);
    }
    return AT_OK;
}

/* What one part gives the other takes. */
static at_status check_fit(const at_sdxl *m, at_error *err)
{
    const at_sdxl_about *a = &m->about;
    const int64_t text = a->text[0].width + a->text[1].width;
    if (a->has[AT_SDXL_UNET] && a->has[AT_SDXL_TEXT_1] && a->has[AT_SDXL_TEXT_2] &&
        a->unet.context != text)
        return at_fail(err, AT_INVALID,
                       "%.160s: cross_attention_dim of the UNet is %lld: expected %lld, the "
                       "hidden_size of both text encoders together",
                       m->path, (long long)a->unet.context, (long long)text);
    if (a->has[AT_SDXL_UNET] && a->has[AT_SDXL_VAE] && a->unet.latent != a->vae.latent)
        return at_fail(err, AT_INVALID,
                       "%.160s: out_channels of the UNet is %lld: expected %lld, the "
                       "latent_channels of the VAE",
                       m->path, (long long)a->unet.latent, (long long)a->vae.latent);
    return AT_OK;
}

static void find_scheduler(at_sdxl *m)
{
    static const char base[] = AT_SDXL_SCHEDULER("epsilon", "false");
    const at_text *t = text_of(m, "scheduler", "scheduler_config.json");
    m->about.scheduler = t ? t->data : base;
    m->about.scheduler_bytes = t ? t->bytes : sizeof base - 1;
}

/* --- tokenizers ------------------------------------------------------------------------------- */

static at_clip_file tokenizer_file(const at_sdxl *m, const char *folder, const char *file)
{
    const at_text *t = text_of(m, folder, file);
    return t ? (at_clip_file){ t->data, t->bytes } : (at_clip_file){ 0 };
}

static at_status open_tokenizer(at_sdxl *m, int i, at_error *err)
{
    static const char *const names[] = { "tokenizer", "tokenizer_2" };
    const at_clip_files files = {
        .tokenizer = tokenizer_file(m, names[i], "tokenizer.json"),
        .vocab = tokenizer_file(m, names[i], "vocab.json"),
        .merges = tokenizer_file(m, names[i], "merges.txt"),
        .config = tokenizer_file(m, names[i], "tokenizer_config.json"),
        .special = tokenizer_file(m, names[i], "special_tokens_map.json"),
        .added = tokenizer_file(m, names[i], "added_tokens.json"),
    };
    at_error why = { 0 };
    if (!files.tokenizer.text && !files.vocab.text && !files.merges.text)
        return at_clip_tokenizer_builtin(&m->tokenizers[i], i ? AT_CLIP_SDXL_2 : AT_CLIP_SDXL_1,
                                         err);
    const at_status status = at_clip_tokenizer_open(&m->tokenizers[i], &files, &why);
    if (status != AT_OK)
        return at_fail(err, status, "%.160s: %s: %.300s", m->path, names[i], why.text);
    return AT_OK;
}

static at_status open_tokenizers(at_sdxl *m, at_error *err)
{
    for (int i = 0; i < 2; i++)
        if (m->about.has[AT_SDXL_TEXT_1 + i])
            AT_TRY(open_tokenizer(m, i, err));
    return AT_OK;
}

/* --- life ------------------------------------------------------------------------------------- */

static at_status find_parts(at_sdxl *m, at_error *err)
{
    const at_tensors *list = at_checkpoint_list(m->file);
    bool any = false;
    for (int i = 0; i < AT_SDXL_PARTS; i++)
        for (int t = 0; t < list->count && !m->about.has[i]; t++)
            any = (m->about.has[i] = is_of((at_sdxl_part)i, list->items[t].name)) || any;
    if (!any)
        return at_fail(err, AT_INVALID,
                       "%.160s: no model of SDXL's kind: none of its %d tensors is of a unet, a "
                       "vae or a text encoder",
                       m->path, list->count);
    return AT_OK;
}

static at_status open_file(at_sdxl *m, const char *trust_folder, at_error *err)
{
    const at_checkpoint_options options = { .trust_folder = trust_folder };
    AT_TRY(at_checkpoint_open(&m->file, m->path, &options, err));
    AT_TRY(find_parts(m, err));
    AT_TRY(read_index(m, err));
    AT_TRY(read_configs(m, err));
    AT_TRY(check_fit(m, err));
    AT_TRY(check_tensors(m, err));
    find_scheduler(m);
    return open_tokenizers(m, err);
}

at_status at_sdxl_open(at_sdxl **out, const char *path, at_device *device, const char *trust_folder,
                       at_error *err)
{
    *out = NULL;
    at_sdxl *m = calloc(1, sizeof *m);
    char *copy = strdup(path);
    if (!m || !copy) {
        free(copy);
        free(m);
        return at_fail(err, AT_NO_MEMORY, "%.160s: no memory to open it", path);
    }
    m->device = device;
    m->path = copy;
    const at_status status = open_file(m, trust_folder, err);
    if (status == AT_OK)
        *out = m;
    else
        at_sdxl_close(m);
    return status;
}

void at_sdxl_close(at_sdxl *m)
{
    if (!m)
        return;
    for (int i = 0; i < AT_SDXL_PARTS; i++)
        at_sdxl_drop(m, (at_sdxl_part)i);
    for (size_t i = 0; i < AT_COUNT(m->tokenizers); i++)
        at_clip_tokenizer_free(m->tokenizers[i]);
    at_checkpoint_close(m->file);
    free(m->path);
    free(m);
}

at_device *at_sdxl_device(const at_sdxl *m)
{
    return m->device;
}

const at_sdxl_about *at_sdxl_about_of(const at_sdxl *m)
{
    return &m->about;
}

const at_clip_tokenizer *at_sdxl_tokenizer(const at_sdxl *m, int i)
{
    AT_ASSERT(i == 0 || i == 1, "tokenizer %d of 2", i);
    return m->tokenizers[i];
}

const char *at_sdxl_hash(const at_sdxl *m)
{
    return m->hash;
}

at_dtype at_sdxl_stored_dtype(const at_sdxl *m, at_sdxl_part part)
{
    const at_tensors *list = at_checkpoint_list(m->file);
    const char *name = at_sdxl_part_name(part);
    const size_t length = strlen(name);
    uint64_t bytes[AT_DTYPE_COUNT] = { 0 };
    at_dtype most = AT_NONE;
    for (int i = 0; i < list->count; i++) {
        const at_stored_tensor *t = &list->items[i];
        const at_dtype dtype = at_stored_about(t->type)->dtype;
        if (strncmp(t->name, name, length) != 0 || t->name[length] != '.' || dtype == AT_NONE)
            continue;
        bytes[dtype] += t->bytes;
        most = bytes[dtype] > bytes[most] ? dtype : most;
    }
    return most;
}
