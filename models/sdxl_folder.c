/* sdxl_folder.c -- a pipeline's folder, as diffusers saves it and as hubs keep it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "kernels/shape.h"
#include "models/sdxl_import_own.h"

enum { TEXT_FILE_MAX = 32 << 20, VARIANT_MAX = 32 };

/* --- files ------------------------------------------------------------------------------------ */

at_status at_sdxl_import_path(char out[AT_SDXL_PATH_MAX], const char *folder, const char *name,
                              at_error *err)
{
    const int n = snprintf(out, AT_SDXL_PATH_MAX, "%s/%s", folder, name);
    return n >= 0 && n < AT_SDXL_PATH_MAX
               ? AT_OK
               : at_fail(err, AT_INVALID, "%.200s...: a path of over %d bytes", folder,
                         AT_SDXL_PATH_MAX);
}

at_status at_sdxl_import_read(at_sdxl_text *out, const char *folder, const char *name,
                              at_error *err)
{
    char path[AT_SDXL_PATH_MAX];
    struct stat about;
    at_file f;
    *out = (at_sdxl_text){ 0 };
    AT_TRY(at_sdxl_import_path(path, folder, name, err));
    if (stat(path, &about) != 0 && errno == ENOENT)
        return AT_OK;
    AT_TRY(at_file_open(&f, path, err));
    at_status status = AT_OK;
    const size_t bytes = (size_t)f.bytes;
    if (f.bytes > TEXT_FILE_MAX)
        status = at_fail(err, AT_INVALID, "'%.200s' has %zu bytes: expected at most %d", path,
                         bytes, (int)TEXT_FILE_MAX);
    else if (!(out->data = malloc(bytes + 1)))
        status = at_fail(err, AT_NO_MEMORY, "no memory for '%.200s'", path);
    if (status == AT_OK)
        status = at_file_read(&f, 0, out->data, bytes, err);
    at_file_close(&f);
    if (status != AT_OK) {
        free(out->data);
        out->data = NULL;
    }
    out->bytes = bytes;
    return status;
}

/* --- weights ---------------------------------------------------------------------------------- */

enum { SPELLINGS_MAX = 5, NAME_MAX_BYTES = 96 };

static const char *stem_of(at_sdxl_part part)
{
    return part == AT_SDXL_UNET || part == AT_SDXL_VAE ? "diffusion_pytorch_model" : "model";
}

/* How a part's weights may be called, the first that is there is taken; with a variant asked for
 * only its files. */
static int spell(char names[SPELLINGS_MAX][NAME_MAX_BYTES], at_sdxl_part part, const char *variant)
{
    const char *stem = stem_of(part), *other = variant ? variant : "fp16";
    int n = 0;
    if (!variant) {
        snprintf(names[n++], NAME_MAX_BYTES, "%s.safetensors", stem);
        snprintf(names[n++], NAME_MAX_BYTES, "%s.safetensors.index.json", stem);
    }
    snprintf(names[n++], NAME_MAX_BYTES, "%s.%s.safetensors", stem, other);
    snprintf(names[n++], NAME_MAX_BYTES, "%s.safetensors.index.%s.json", stem, other);
    if (!variant)
        snprintf(names[n++], NAME_MAX_BYTES, "%s.bin",
                 strcmp(stem, "model") ? stem : "pytorch_model");
    return n;
}

at_status at_sdxl_import_weights(at_source **out, at_sdxl_part part, const char *folder,
                                 const char *variant, at_error *err)
{
    char names[SPELLINGS_MAX][NAME_MAX_BYTES], path[AT_SDXL_PATH_MAX];
    struct stat about;
    const int n = spell(names, part, variant);
    for (int i = 0; i < n; i++) {
        AT_TRY(at_sdxl_import_path(path, folder, names[i], err));
        if (stat(path, &about) == 0)
            return at_source_open(out, path, err);
    }
    return at_fail(err, AT_NOT_FOUND, "'%.250s': expected %s or its index in it, found neither",
                   folder, names[0]);
}

/* A variant is part of a file's name and must not lead elsewhere. */
static at_status check_variant(const char *variant, at_error *err)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    if (!variant ||
        (*variant && strlen(variant) <= VARIANT_MAX && strspn(variant, letters) == strlen(variant)))
        return AT_OK;
    return at_fail(err, AT_INVALID,
                   "the variant '%.40s': expected at most %d letters, digits, '-' and '_'", variant,
                   VARIANT_MAX);
}

/* Opens what is in a folder, for a part in diffusers' names. */
static at_status take_weights(at_sdxl_import *m, at_sdxl_part part, const char *folder,
                              const char *variant, at_error *err)
{
    at_source *file;
    AT_TRY(at_sdxl_import_weights(&file, part, folder, variant, err));
    const at_tensors *list = &file->list;
    AT_TRY(at_sdxl_import_take(m, file, &m->source[part], err));
    m->places[part] =
        (at_sdxl_place){ .list = list, .part = part, .layout = AT_SDXL_DIFFUSERS, .prefix = "" };
    m->has[part] = true;
    return AT_OK;
}

/* --- the pipeline ----------------------------------------------------------------------------- */

static at_status take_text(at_sdxl_import *m, const char *folder, const char *file,
                           const char *name, at_error *err)
{
    at_sdxl_text text;
    AT_TRY(at_sdxl_import_read(&text, folder, file, err));
    at_status status = AT_OK;
    if (text.data)
        status = at_sdxl_import_text(m, name, text.data, text.bytes, err);
    free(text.data);
    return status;
}

at_status at_sdxl_import_folder(at_sdxl_import *m, const char *path, at_error *err)
{
    char folder[AT_SDXL_PATH_MAX], config[AT_TEXT_NAME_MAX];
    at_sdxl_index index;
    const char *name;
    AT_TRY(check_variant(m->options->variant, err));
    for (int i = 0; (name = at_sdxl_text_path(i)); i++)
        AT_TRY(take_text(m, path, name, name, err));
    const at_text *text = at_tensors_text(&m->out->list, "model_index.json");
    AT_TRY(at_sdxl_index_read(&index, text->data, text->bytes, err));
    for (int i = 0; i < AT_SDXL_PARTS; i++) {
        const at_sdxl_part part = (at_sdxl_part)i;
        if (!index.has[i] || (part == AT_SDXL_VAE && m->vae_replaced))
            continue;
        snprintf(config, sizeof config, "%s/config.json", at_sdxl_part_name(part));
        if (!at_tensors_text(&m->out->list, config))
            return at_fail(err, AT_NOT_FOUND, "%s is missing", config);
        AT_TRY(at_sdxl_import_path(folder, path, at_sdxl_part_name(part), err));
        AT_TRY(take_weights(m, part, folder, m->options->variant, err));
    }
    return AT_OK;
}

/* --- another VAE ------------------------------------------------------------------------------ */

/* A folder with a VAE, or a pipeline's that holds one. */
static at_status take_vae_folder(at_sdxl_import *m, const char *path, at_error *err)
{
    static const char config[] = "vae/config.json";
    char folder[AT_SDXL_PATH_MAX];
    AT_TRY(take_text(m, path, "config.json", config, err));
    if (at_tensors_text(&m->out->list, config))
        return take_weights(m, AT_SDXL_VAE, path, NULL, err);
    AT_TRY(take_text(m, path, config, config, err));
    if (!at_tensors_text(&m->out->list, config))
        return at_fail(err, AT_NOT_FOUND, "expected a config.json in it, found none");
    AT_TRY(at_sdxl_import_path(folder, path, "vae", err));
    return take_weights(m, AT_SDXL_VAE, folder, NULL, err);
}

/* A file's names may be of either layout, with a prefix or without. */
static at_status find_vae(at_sdxl_place *place, at_error *err)
{
    static const char name[] = "decoder.mid_block.resnets.0.norm1.weight";
    const char *prefix = "";
    for (int i = 0; prefix; prefix = at_sdxl_prefix(AT_SDXL_VAE, i++)) {
        place->prefix = prefix;
        place->layout = AT_SDXL_SINGLE;
        if (at_sdxl_find(place, name, NULL) >= 0)
            return AT_OK;
        place->layout = AT_SDXL_DIFFUSERS;
        if (at_sdxl_find(place, name, NULL) >= 0)
            return AT_OK;
    }
    return at_fail(err, AT_INVALID,
                   "expected a VAE: neither 'decoder.mid.block_1.norm1.weight' nor '%s' is there",
                   name);
}

static at_status take_vae_file(at_sdxl_import *m, const char *path, at_error *err)
{
    at_source *file;
    at_sdxl_place *place = &m->places[AT_SDXL_VAE];
    AT_TRY(at_source_open(&file, path, err));
    *place = (at_sdxl_place){ .list = &file->list, .part = AT_SDXL_VAE };
    AT_TRY(at_sdxl_import_take(m, file, &m->source[AT_SDXL_VAE], err));
    AT_TRY(find_vae(place, err));
    m->left[m->source[AT_SDXL_VAE]] = place->prefix;
    m->has[AT_SDXL_VAE] = true;
    return AT_OK;
}

at_status at_sdxl_import_vae(at_sdxl_import *m, const char *path, at_error *err)
{
    struct stat about;
    at_error why = { AT_OK, "" };
    m->vae_replaced = true;
    const bool folder = stat(path, &about) == 0 && S_ISDIR(about.st_mode);
    at_status status = folder ? take_vae_folder(m, path, &why) : take_vae_file(m, path, &why);
    return status == AT_OK ? AT_OK
                           : at_fail(err, status, "the VAE '%.100s': %.300s", path, why.text);
}
