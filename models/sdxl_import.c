#include "models/sdxl_import.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "kernels/shape.h"
#include "models/sdxl_export_own.h"
#include "models/sdxl_import_own.h"

/* --- what the files of this module share ------------------------------------------------------ */

at_status at_sdxl_import_take(at_sdxl_import *m, at_source *file, int *source, at_error *err)
{
    const size_t count = (size_t)file->list.count;
    *source = at_assembled_take(m->out, file, err);
    if (*source < 0)
        return AT_UNSUPPORTED;
    m->used[*source] = calloc(count + 1, sizeof(bool));
    m->left[*source] = "";
    return m->used[*source]
               ? AT_OK
               : at_fail(err, AT_NO_MEMORY, "no memory for a list of %zu tensors", count);
}

at_status at_sdxl_import_text(at_sdxl_import *m, const char *name, const char *data, size_t bytes,
                              at_error *err)
{
    if (at_tensors_text(&m->out->list, name))
        return AT_OK;
    return at_tensors_add_text(&m->out->list, name, strlen(name), data, bytes, err);
}

static void config_path(char out[AT_TEXT_NAME_MAX], at_sdxl_part part)
{
    snprintf(out, AT_TEXT_NAME_MAX, "%s/config.json", at_sdxl_part_name(part));
}

at_status at_sdxl_import_config(at_sdxl_import *m, at_sdxl_part part, at_error *err)
{
    char path[AT_TEXT_NAME_MAX];
    at_sdxl_text text = { 0 };
    config_path(path, part);
    const at_text *given = at_tensors_text(&m->out->list, path);
    if (given)
        return at_sdxl_configs_read(&m->configs, part, given->data, given->bytes, path, err);
    at_status status = at_sdxl_measure(&m->configs, &m->places[part], err);
    if (status == AT_OK)
        status = at_sdxl_config_write(&text, part, &m->configs, err);
    if (status == AT_OK)
        status = at_sdxl_import_text(m, path, text.data, text.bytes, err);
    free(text.data);
    return status;
}

/* --- a tensor --------------------------------------------------------------------------------- */

/* What the file should have for a tensor of the model: its sizes as they are stored. */
static at_stored_tensor expected(const at_sdxl_wanted *w, at_sdxl_form form,
                                 int64_t size[AT_SDXL_RANK_MAX])
{
    int rank = w->rank;
    memcpy(size, w->size, sizeof w->size);
    if (form == AT_SDXL_ROWS_1 || form == AT_SDXL_ROWS_2 || form == AT_SDXL_ROWS_3)
        size[0] *= 3;
    if (form == AT_SDXL_TURNED) {
        size[0] = w->size[1];
        size[1] = w->size[0];
    }
    if (form == AT_SDXL_POINTWISE) {
        size[2] = size[3] = 1;
        rank = 4;
    }
    return (at_stored_tensor){ .size = size, .rank = (int16_t)rank };
}

/* The same sizes; of a linear layer also those of a convolution of one pixel, which is the same
 * numbers in the same order, and the other way round. */
static bool same_sizes(const at_stored_tensor *found, const at_stored_tensor *wanted)
{
    const at_stored_tensor *longer = found->rank > wanted->rank ? found : wanted;
    const at_stored_tensor *shorter = longer == found ? wanted : found;
    if (longer->rank != shorter->rank && (longer->rank != 4 || shorter->rank != 2))
        return false;
    for (int i = 0; i < longer->rank; i++)
        if (longer->size[i] != (i < shorter->rank ? shorter->size[i] : 1))
            return false;
    return true;
}

static at_status check_tensor(const at_stored_tensor *t, const at_sdxl_wanted *w, at_sdxl_form form,
                              at_error *err)
{
    int64_t size[AT_SDXL_RANK_MAX];
    char found[96], sizes[96];
    const at_stored_tensor wanted = expected(w, form, size);
    if (t->type != AT_STORED_F32 && t->type != AT_STORED_F16 && t->type != AT_STORED_BF16)
        return at_fail(err, AT_UNSUPPORTED, "tensor '%.200s' is %s: expected f32, f16 or bf16",
                       t->name, at_stored_about(t->type)->name);
    if (same_sizes(t, &wanted))
        return AT_OK;
    at_stored_shape_text(t, found, sizeof found);
    at_stored_shape_text(&wanted, sizes, sizeof sizes);
    return at_fail(err, AT_INVALID, "tensor '%.200s' has the sizes %s: expected %s", t->name, found,
                   sizes);
}

static at_status take_tensor(at_sdxl_import *m, at_sdxl_part part, const at_sdxl_wanted *w,
                             at_error *err)
{
    const at_sdxl_place *place = &m->places[part];
    char name[AT_TENSOR_NAME_MAX];
    at_sdxl_form form;
    const int i = at_sdxl_find(place, w->name, &form);
    if (i < 0) {
        at_sdxl_spell(place, w->name, name);
        return at_fail(err, AT_INVALID, "tensor '%.200s' is missing", name);
    }
    const at_stored_tensor *t = &place->list->items[i];
    AT_TRY(check_tensor(t, w, form, err));
    const bool rows = form == AT_SDXL_ROWS_1 || form == AT_SDXL_ROWS_2 || form == AT_SDXL_ROWS_3;
    const uint64_t bytes = rows ? t->bytes / 3 : t->bytes;
    const at_assembly how = { .pieces = { { m->source[part], i,
                                            rows ? bytes * (form - AT_SDXL_ROWS_1) : 0, bytes } },
                              .n = 1,
                              .columns = form == AT_SDXL_TURNED ? t->size[1] : 0 };
    snprintf(name, sizeof name, "%s.%s", at_sdxl_part_name(part), w->name);
    const at_stored_tensor made = {
        .name = name, .size = w->size, .rank = (int16_t)w->rank, .type = t->type, .bytes = bytes
    };
    m->used[m->source[part]][i] = true;
    return at_assembled_add(m->out, &made, &how, err);
}

static at_status take_part(at_sdxl_import *m, at_sdxl_part part, at_error *err)
{
    at_sdxl_wanted_list wanted;
    at_error why = { AT_OK, "" };
    at_status status = at_sdxl_wanted_of(&wanted, part, &m->configs, &why);
    for (int i = 0; i < wanted.count && status == AT_OK; i++)
        status = take_tensor(m, part, &wanted.items[i], &why);
    at_sdxl_wanted_free(&wanted);
    return status == AT_OK ? AT_OK
                           : at_fail(err, status, "%s: %.400s", at_sdxl_part_name(part), why.text);
}

/* --- what is left over ------------------------------------------------------------------------ */

/* Tells of tensors that are of no use once for each reason; any other is refused. */
static at_status check_rest(at_sdxl_import *m, int source, at_error *err)
{
    const at_tensors *list = &at_assembled_source(m->out, source)->list;
    const char *told = NULL;
    for (int i = 0; i < list->count; i++) {
        const char *name = list->items[i].name, *what = at_sdxl_ignored(name);
        if (m->used[source][i] || strncmp(name, m->left[source], strlen(m->left[source])))
            continue;
        if (!what)
            return at_fail(err, AT_INVALID, "tensor '%.200s' is none of the model's", name);
        if (what != told && m->options->note) {
            char text[AT_ERROR_TEXT_MAX];
            snprintf(text, sizeof text, "left out: '%.200s' and the like, %s", name, what);
            m->options->note(m->options->context, text);
        }
        told = what;
    }
    return AT_OK;
}

/* --- opening ---------------------------------------------------------------------------------- */

static at_status build(at_sdxl_import *m, at_error *err)
{
    bool asked[AT_ASSEMBLED_SOURCES_MAX] = { false };
    if (!m->has[AT_SDXL_TEXT_2] || !m->has[AT_SDXL_UNET] || !m->has[AT_SDXL_VAE])
        return at_fail(err, AT_INVALID, "there is no %s in it: expected %s, %s and %s%s",
                       at_sdxl_part_name(!m->has[AT_SDXL_UNET]     ? AT_SDXL_UNET
                                         : !m->has[AT_SDXL_TEXT_2] ? AT_SDXL_TEXT_2
                                                                   : AT_SDXL_VAE),
                       at_sdxl_part_name(AT_SDXL_TEXT_2), at_sdxl_part_name(AT_SDXL_UNET),
                       at_sdxl_part_name(AT_SDXL_VAE),
                       m->has[AT_SDXL_VAE] ? "" : "; a VAE can be given beside it");
    for (int part = 0; part < AT_SDXL_PARTS; part++)
        if (m->has[part])
            AT_TRY(at_sdxl_import_config(m, (at_sdxl_part)part, err));
    for (int part = 0; part < AT_SDXL_PARTS; part++) {
        if (!m->has[part])
            continue;
        m->places[part].sizes = (at_sdxl_sizes){ &m->configs.unet, &m->configs.vae };
        AT_TRY(take_part(m, (at_sdxl_part)part, err));
        asked[m->source[part]] = true;
    }
    for (int i = 0; i < AT_ASSEMBLED_SOURCES_MAX; i++)
        if (asked[i])
            AT_TRY(check_rest(m, i, err));
    at_sdxl_text index = { 0 };
    at_status status = AT_OK;
    if (!at_tensors_text(&m->out->list, "model_index.json"))
        status = at_sdxl_index_write(&index, &m->configs, m->has[AT_SDXL_TEXT_1], err);
    if (status == AT_OK && index.data)
        status = at_sdxl_import_text(m, "model_index.json", index.data, index.bytes, err);
    free(index.data);
    return status == AT_OK ? at_assembled_finish(m->out, err) : status;
}

/* 'file' is NULL for a folder; it belongs to this function. */
static at_status open_model(at_source **out, const char *path, at_source *file,
                            const at_sdxl_import_options *options, at_error *err)
{
    at_sdxl_import m = { .options = options };
    at_error why = { AT_OK, "" };
    at_status status =
        at_assembled_new(&m.out, file ? "SDXL single file" : "diffusers folder", err);
    if (status != AT_OK) {
        at_source_close(file);
        return status;
    }
    if (options->vae)
        status = at_sdxl_import_vae(&m, options->vae, &why);
    if (status == AT_OK) {
        status =
            file ? at_sdxl_import_single(&m, file, &why) : at_sdxl_import_folder(&m, path, &why);
        if (status == AT_OK)
            status = build(&m, &why);
    } else {
        at_source_close(file);
    }
    for (int i = 0; i < AT_ASSEMBLED_SOURCES_MAX; i++)
        free(m.used[i]);
    if (status != AT_OK) {
        at_source_close(m.out);
        return at_fail(err, status, "%.150s: %.350s", path, why.text);
    }
    *out = m.out;
    return AT_OK;
}

static bool is_folder(const char *path)
{
    struct stat about;
    char index[AT_SDXL_PATH_MAX];
    return at_sdxl_import_path(index, path, "model_index.json", NULL) == AT_OK &&
           stat(index, &about) == 0;
}

static bool has_prefix(const at_tensors *list, const char *prefix)
{
    for (int i = 0; i < list->count; i++)
        if (!strncmp(list->items[i].name, prefix, strlen(prefix)))
            return true;
    return false;
}

/* Trainers' files have the model as one of several things: the same tensors without that word. */
static at_status unwrap(at_source **file, const char *word, at_error *err)
{
    const at_tensors *list = &(*file)->list;
    at_source *out;
    at_status status = at_assembled_new(&out, (*file)->kind->name, err);
    if (status != AT_OK)
        return status;
    const int source = at_assembled_borrow(out, *file, err);
    for (int i = 0; i < list->count && status == AT_OK; i++) {
        at_stored_tensor t = list->items[i];
        const at_assembly how = { .pieces = { { source, i, 0, t.bytes } }, .n = 1 };
        if (strncmp(t.name, word, strlen(word)) != 0)
            continue;
        t.name += strlen(word);
        status = at_assembled_add(out, &t, &how, err);
    }
    if (status == AT_OK)
        status = at_assembled_finish(out, err);
    if (status != AT_OK) {
        at_source_close(out);
        return status;
    }
    at_assembled_keep(out, source);
    *file = out;
    return AT_OK;
}

/* Whether a file is a single file of SDXL; its names then begin as they should. */
static at_status find_single(at_source **file, bool *is, at_error *err)
{
    static const char word[] = "state_dict.";
    char wrapped[64];
    const char *prefix = at_sdxl_prefix(AT_SDXL_UNET, 0);
    *is = has_prefix(&(*file)->list, prefix);
    snprintf(wrapped, sizeof wrapped, "%s%s", word, prefix);
    if (*is || !has_prefix(&(*file)->list, wrapped))
        return AT_OK;
    *is = true;
    return unwrap(file, word, err);
}

/* Options that only make sense for models of SDXL, and a variant only of a folder. */
static at_status check_options(const at_sdxl_import_options *o, const char *path, bool single,
                               at_error *err)
{
    if (single && o->variant)
        return at_fail(err, AT_INVALID, "%.200s: a variant is one of a diffusers folder's", path);
    if (!single && (o->vae || o->variant))
        return at_fail(err, AT_INVALID,
                       "%.200s: neither a diffusers folder nor a single file of SDXL, which alone "
                       "have variants and take another VAE",
                       path);
    return AT_OK;
}

at_status at_sdxl_import_open(at_source **out, const char *path,
                              const at_sdxl_import_options *options, at_error *err)
{
    static const at_sdxl_import_options usual = { 0 };
    at_source *file;
    bool single = false;
    *out = NULL;
    options = options ? options : &usual;
    if (is_folder(path))
        return open_model(out, path, NULL, options, err);
    AT_TRY(at_source_open(&file, path, err));
    at_status status = find_single(&file, &single, err);
    if (status == AT_OK)
        status = check_options(options, path, single, err);
    if (status != AT_OK) {
        at_source_close(file);
        return status;
    }
    if (single)
        return open_model(out, path, file, options, err);
    *out = file;
    return AT_OK;
}

const char *at_sdxl_kind(at_source *s)
{
    enum { REFINER_SIZES = 5 };
    at_sdxl_model m;
    if (at_sdxl_model_read(&m, s, NULL) != AT_OK)
        return "weights";
    if (m.configs.unet.sizes == REFINER_SIZES)
        return "SDXL refiner";
    return m.configs.unet.in > m.configs.unet.latent ? "SDXL inpainting" : "SDXL";
}
