/* generate_files.c -- the files of atelier generate, looked at before a model is opened. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/generate.h"
#include "engine/file.h"
#include "kernels/shape.h"

/* 'name' is not what the recipe was made with, but what the user wanted instead. */
static void note_other(at_generate *g, const char *name, const char *what)
{
    char text[AT_ERROR_TEXT_MAX];
    snprintf(text, sizeof text, "%.300s is not the %s that the recipe was made with", name, what);
    at_generate_note(g, text);
}

/* --- models and adapters ---------------------------------------------------------------------- */

static at_status find_models(at_generate *g, at_error *err)
{
    const char *name = g->words.model ? g->words.model : g->recipe.facts.model;
    const char *refiner = g->words.refiner ? g->words.refiner : g->recipe.facts.refiner;
    if (!name)
        return at_fail(err, AT_INVALID,
                       "--model is missing: a file, or one of 'atelier model list'");
    AT_TRY(at_folder_find(g->model, AT_FOLDER_MODELS, name, err));
    return refiner ? at_folder_find(g->refiner, AT_FOLDER_MODELS, refiner, err) : AT_OK;
}

/* "FILE:WEIGHT": the weight is what follows the last colon, if that is a number. */
static at_status read_lora(at_generate *g, const char *word, at_lora_use *out, at_error *err)
{
    char name[AT_FOLDER_PATH_MAX], path[AT_FOLDER_PATH_MAX], *end = NULL;
    snprintf(name, sizeof name, "%s", word);
    char *colon = strrchr(name, ':');
    double weight = colon ? strtod(colon + 1, &end) : 1;
    if (colon && end != colon + 1 && !*end)
        *colon = 0;
    else
        weight = 1;
    if (!isfinite(weight))
        return at_fail(err, AT_INVALID, "--lora: expected a finite weight, found '%.100s'", word);
    AT_TRY(at_folder_find(path, AT_FOLDER_LORAS, name, err));
    *out = (at_lora_use){ g->owned[g->n_owned++] = strdup(path), weight };
    return out->path ? AT_OK : at_fail(err, AT_NO_MEMORY, "no memory for the name of a LoRA");
}

/* A recipe's adapter is one of that name with the very weights. */
static at_status find_lora(at_generate *g, int i, at_error *err)
{
    const at_lora_use *use = &g->recipe.request.loras[i];
    char path[AT_FOLDER_PATH_MAX], hash[AT_RECIPE_HASH_TEXT];
    AT_TRY(at_folder_find(path, AT_FOLDER_LORAS, use->path, err));
    AT_TRY(at_recipe_file_hash(hash, path, err));
    if (strcmp(hash, g->recipe.lora_hashes[i]) != 0)
        return at_fail(err, AT_INVALID,
                       "%.200s is not the LoRA of the picture: expected %s, found %s; --lora %s",
                       path, g->recipe.lora_hashes[i], hash, "names others");
    g->loras[i] = (at_lora_use){ g->owned[g->n_owned++] = strdup(path), use->weight };
    return g->loras[i].path ? AT_OK : at_fail(err, AT_NO_MEMORY, "no memory for a LoRA's name");
}

static at_status find_loras(at_generate *g, at_error *err)
{
    at_request *r = &g->request;
    const bool given = g->words.loras.count > 0;
    const int n = given ? g->words.loras.count : r->n_loras;
    if (n > AT_GENERATE_LORAS_MAX)
        return at_fail(err, AT_INVALID, "--lora: at most %d, found %d", AT_GENERATE_LORAS_MAX, n);
    for (int i = 0; i < n; i++)
        if (given)
            AT_TRY(read_lora(g, g->words.loras.items[i], &g->loras[i], err));
        else
            AT_TRY(find_lora(g, i, err));
    r->loras = g->loras;
    r->n_loras = n;
    if (g->words.lora_folder)
        r->lora_folder = g->words.lora_folder;
    else if (at_folder_path(g->lora_folder, AT_FOLDER_LORAS))
        r->lora_folder = g->lora_folder;
    return AT_OK;
}

/* --- pictures and noise ----------------------------------------------------------------------- */

/* One of the two that an option brings; 'wanted' is its hash in the recipe. */
static at_status read_picture(at_generate *g, const char *option, const char *path,
                              const char *wanted, at_picture *picture, const at_pixels **out,
                              at_error *err)
{
    const at_picture_options options = { .alpha = AT_ALPHA_DROP };
    at_pixels *pixels = &g->pixels[picture == &g->mask];
    char hash[AT_RECIPE_HASH_TEXT];
    if (!path && wanted)
        return at_fail(err, AT_INVALID, "the picture was drawn over another: %s brings that",
                       option);
    if (!path)
        return AT_OK;
    AT_TRY(at_picture_read(picture, path, &options, err));
    *pixels = (at_pixels){ picture->width, picture->height, picture->channels, picture->pixels };
    at_recipe_pixels_hash(hash, pixels);
    if (wanted && strcmp(hash, wanted) != 0)
        note_other(g, path, "picture");
    *out = pixels;
    return AT_OK;
}

static at_status read_pictures(at_generate *g, at_error *err)
{
    const at_generate_words *w = &g->words;
    const at_recipe *k = &g->recipe;
    if (w->mask && !w->image)
        return at_fail(err, AT_INVALID, "--mask without a picture: --image names one");
    AT_TRY(read_picture(g, "--image", w->image, k->picture_hash, &g->picture, &g->request.picture,
                        err));
    AT_TRY(read_picture(g, "--mask", w->mask, k->mask_hash, &g->mask, &g->request.mask, err));
    if (w->mask && (g->mask.width != g->picture.width || g->mask.height != g->picture.height))
        return at_fail(err, AT_INVALID,
                       "the mask %.150s is %lld x %lld, the picture %.150s %lld x %lld; they have "
                       "to be of one size",
                       w->mask, (long long)g->mask.width, (long long)g->mask.height, w->image,
                       (long long)g->picture.width, (long long)g->picture.height);
    return AT_OK;
}

static at_status find_noise(at_generate *g, at_error *err)
{
    const char *wanted = g->recipe.noise_hash;
    char hash[AT_RECIPE_HASH_TEXT];
    if (!g->words.noise && wanted && !g->words.seed)
        return at_fail(err, AT_INVALID,
                       "the picture was drawn with noise from a file: --noise brings it");
    if (!g->words.noise)
        return AT_OK;
    AT_TRY(at_recipe_file_hash(hash, g->words.noise, err));
    if (wanted && strcmp(hash, wanted) != 0)
        note_other(g, g->words.noise, "noise");
    g->request.noise_file = g->words.noise;
    return AT_OK;
}

/* --- where things go -------------------------------------------------------------------------- */

void at_generate_path(const at_generate *g, int i, int count, char path[AT_FOLDER_PATH_MAX])
{
    const char *dot = strrchr(g->out, '.');
    const int stem = (int)(dot - g->out);
    if (count == 1)
        snprintf(path, AT_FOLDER_PATH_MAX, "%s", g->out);
    else if (i < 0)
        snprintf(path, AT_FOLDER_PATH_MAX, "%.*s-sheet%s", stem, g->out, dot);
    else
        snprintf(path, AT_FOLDER_PATH_MAX, "%.*s-%d%s", stem, g->out, i + 1, dot);
}

/* A draft that is dropped again: whether a file could be written there. */
static at_status try_path(const char *path, at_error *err)
{
    at_draft *draft = NULL;
    at_status status = at_draft_new(&draft, path, err);
    if (draft)
        at_draft_free(draft);
    return status;
}

static at_status try_picture(const char *option, const char *path, at_error *err)
{
    const at_picture_format_id format = at_picture_format_of(path);
    if (format != AT_PICTURE_PNG && format != AT_PICTURE_JPEG)
        return at_fail(err, AT_INVALID, "%s: '%.300s' ends neither in .png nor in .jpg", option,
                       path);
    return try_path(path, err);
}

/* A JPEG's comment holds 64 KiB, which a recipe with long prompts is over: better told now than
 * when the picture is drawn. Names and hashes are as long as they get. */
static at_status try_recipe(const at_generate *g, at_error *err)
{
    enum { LONG = 8192, COMMENT_MAX = 65000 };
    static const char longest[] =
        "................................................................";
    const at_request *r = &g->request;
    const char *const prompts[] = { r->prompt, r->prompt_2, r->negative, r->negative_2 };
    const at_recipe_facts facts = {
        .model = longest, .model_hash = longest, .sampler = longest, .seed = UINT64_MAX
    };
    at_request texts = *r;
    char *json, *parameters;
    size_t bytes = 0;
    for (size_t i = 0; i < AT_COUNT(prompts); i++)
        bytes += prompts[i] ? strlen(prompts[i]) : 0;
    if (bytes < LONG || at_picture_format_of(g->out) != AT_PICTURE_JPEG)
        return AT_OK;
    texts.n_loras = 0;
    texts.noise_file = NULL;
    AT_TRY(at_recipe_write(&json, &parameters, &texts, &facts, err));
    bytes = strlen(json) > strlen(parameters) ? strlen(json) : strlen(parameters);
    free(json);
    free(parameters);
    return bytes <= COMMENT_MAX
               ? AT_OK
               : at_fail(err, AT_INVALID,
                         "%.200s: a JPEG holds %d bytes of recipe, these prompts make %zu; a PNG "
                         "holds more",
                         g->out, (int)COMMENT_MAX, bytes);
}

static at_status try_outputs(at_generate *g, at_error *err)
{
    enum { ROOM = 16 }; /* for "-sheet" or a number */
    const at_generate_words *w = &g->words;
    char path[AT_FOLDER_PATH_MAX];
    const int n = g->request.count;
    g->request.latents_only = !w->out && w->latents;
    if (w->out && strlen(w->out) + ROOM >= sizeof g->out)
        return at_fail(err, AT_INVALID, "-o: a name of %zu bytes, the limit is %zu", strlen(w->out),
                       sizeof g->out - ROOM);
    if (w->out)
        snprintf(g->out, sizeof g->out, "%s", w->out);
    else if (!w->latents)
        snprintf(g->out, sizeof g->out, "atelier-%llu.png", (unsigned long long)g->request.seed);
    if (*g->out)
        AT_TRY(try_picture("-o", g->out, err));
    AT_TRY(try_recipe(g, err));
    for (int i = -1; *g->out && n > 1 && i < n; i++) {
        at_generate_path(g, i, n, path);
        AT_TRY(try_path(path, err));
    }
    if (w->preview)
        AT_TRY(try_picture("--preview", w->preview, err));
    return w->latents ? try_path(w->latents, err) : AT_OK;
}

/* --- all -------------------------------------------------------------------------------------- */

/* Which files were checked and which variants are fastest is remembered where the user has a folder
 * for such things. */
static void fill_options(at_generate *g)
{
    at_error none;
    if (at_tuning_folder(NULL, g->cache, &none) != AT_OK ||
        at_tuning_folder_make(g->cache, &none) != AT_OK)
        *g->cache = 0;
    const char *cache = *g->cache ? g->cache : NULL;
    at_places_find(&g->places);
    at_tuning_places_find(&g->choices, cache);
    g->options = (at_model_options){ .device = g->words.device,
                                     .precision = g->words.precision,
                                     .mode = g->words.mode,
                                     .threads = g->words.threads,
                                     .trust_folder = cache,
                                     .library_folders = g->places.folders,
                                     .tuning_folders = g->choices.folders,
                                     .warn = at_generate_note,
                                     .warn_context = g };
}

at_status at_generate_prepare(at_generate *g, at_error *err)
{
    fill_options(g);
    AT_TRY(try_outputs(g, err));
    AT_TRY(read_pictures(g, err));
    AT_TRY(find_noise(g, err));
    AT_TRY(find_models(g, err));
    return find_loras(g, err);
}

/* 'given': the user named this file, and may have meant another model. */
static at_status check_model(at_generate *g, const char *path, const char *hash, const char *wanted,
                             bool given, at_error *err)
{
    if (!wanted || !strcmp(hash, wanted))
        return AT_OK;
    if (!given)
        return at_fail(err, AT_INVALID,
                       "%.300s is not the model of the picture: expected %s, found %s; --model %s",
                       path, wanted, hash, "names another");
    note_other(g, path, "model");
    return AT_OK;
}

at_status at_generate_check_models(at_generate *g, const at_model *model, const at_model *refiner,
                                   at_error *err)
{
    const at_recipe_facts *f = &g->recipe.facts;
    AT_TRY(check_model(g, g->model, at_model_hash(model), f->model_hash, g->words.model, err));
    return refiner ? check_model(g, g->refiner, at_model_hash(refiner), f->refiner_hash,
                                 g->words.refiner, err)
                   : AT_OK;
}
