/* drawing.c -- a drawing's life: begun, stepped, finished, freed. */
#include "runtime/drawing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/clock.h"
#include "kernels/shape.h"
#include "runtime/fits.h"
#include "runtime/latents.h"
#include "runtime/recipe.h"
#include "runtime/way.h"

enum { PIXEL = 3 };

/* --- whose turn it is ------------------------------------------------------------------------- */

/* Plans hold what belongs to a drawing, so that a model makes one at a time. */
static at_status take(at_drawing *d, at_model *m, at_error *err)
{
    if (m->drawing && m->drawing != d)
        return at_fail(err, AT_INVALID, "'%.200s' is making another drawing: finish or free that",
                       m->path);
    m->drawing = d;
    return AT_OK;
}

/* Whatever of the model the drawing had not come to the end with is given back, too. */
static void let_go(const at_drawing *d, at_model *m)
{
    if (m->drawing != d)
        return;
    m->drawing = NULL;
    for (int part = 0; part < AT_SDXL_PARTS; part++)
        at_model_done(m, (at_sdxl_part)part);
}

/* --- before anything is drawn ----------------------------------------------------------------- */

/* A model draws only with all that its kind needs. */
static at_status check_parts(const at_model *m, at_error *err)
{
    static const at_sdxl_part needed[] = { AT_SDXL_TEXT_2, AT_SDXL_UNET, AT_SDXL_VAE };
    const at_sdxl_about *about = at_sdxl_about_of(m->sdxl);
    for (size_t i = 0; i < AT_COUNT(needed); i++)
        if (!about->has[needed[i]])
            return at_fail(err, AT_NOT_FOUND, "'%.200s' has no %s", m->path,
                           at_sdxl_part_name(needed[i]));
    if (about->unet.latent != about->vae.latent)
        return at_fail(err, AT_UNSUPPORTED, "the UNet makes %lld channels, the VAE reads %lld",
                       (long long)about->unet.latent, (long long)about->vae.latent);
    return AT_OK;
}

/* UNets of inpainting read latents, mask and masked picture; the others read latents. */
static at_status check_channels(at_drawing *d, at_error *err)
{
    const at_sdxl_unet_config *unet = &at_sdxl_about_of(d->model->sdxl)->unet;
    d->tells_mask = unet->in != unet->latent;
    if (!d->tells_mask)
        return AT_OK;
    if (unet->in != 2 * unet->latent + 1)
        return at_fail(err, AT_UNSUPPORTED, "the UNet reads %lld channels, expected %lld or %lld",
                       (long long)unet->in, (long long)unet->latent,
                       (long long)(2 * unet->latent + 1));
    if (!d->request.mask)
        return at_fail(err, AT_INVALID, "'%.200s' is for inpainting: expected a picture and a mask",
                       d->model->path);
    return AT_OK;
}

static at_status choose_begin(at_leg *leg, const at_request *r, double begin_at, at_error *err)
{
    leg->begin = 0;
    if (begin_at > 0)
        return at_schedule_begin_at(&leg->schedule, begin_at, &leg->begin, err);
    return r->picture ? at_schedule_begin_strength(&leg->schedule, r->strength, &leg->begin, err)
                      : AT_OK;
}

static at_status add_leg(at_drawing *d, at_model *m, double begin_at, double end_at, at_error *err)
{
    const at_request *r = &d->request;
    const at_sdxl_about *about = at_sdxl_about_of(m->sdxl);
    at_leg *leg = &d->legs[d->n_legs++];
    float sizes[AT_DENOISE_SIZES_MAX];
    leg->model = m;
    AT_TRY(take(d, m, err));
    leg->guided = r->guidance > 1 && !about->unet.guidance;
    AT_TRY(at_request_sizes(sizes, r, about, false, r->picture || d->n_legs > 1, err));
    AT_TRY(at_way_choose(&leg->sampler, &leg->schedule, about, r, err));
    AT_TRY(choose_begin(leg, r, begin_at, err));
    leg->end = leg->schedule.n;
    if (end_at < 1)
        AT_TRY(at_schedule_end_at(&leg->schedule, end_at, &leg->end, err));
    if (leg->end <= leg->begin)
        return at_fail(err, AT_INVALID,
                       "strength %g begins behind %g of the way: nothing is left to draw",
                       r->strength, end_at);
    AT_TRY(at_sampler_check(&leg->schedule, leg->begin, err));
    return at_prompts_read(&leg->prompts, m, r, leg->guided, err);
}

static at_status add_legs(at_drawing *d, at_error *err)
{
    const at_request *r = &d->request;
    AT_TRY(add_leg(d, d->model, r->begin_at, r->refiner ? r->refine_from : r->end_at, err));
    if (!r->refiner)
        return AT_OK;
    if (r->refiner == d->model)
        return at_fail(err, AT_INVALID, "the refiner is the model itself");
    AT_TRY(check_parts(r->refiner, err));
    const at_sdxl_unet_config *unet = &at_sdxl_about_of(r->refiner->sdxl)->unet;
    if (unet->in != d->size[0] || unet->latent != d->size[0])
        return at_fail(err, AT_UNSUPPORTED, "the refiner reads %lld channels, expected %lld",
                       (long long)unet->in, (long long)d->size[0]);
    const int64_t shrinks = at_sdxl_vae_shrinks(&at_sdxl_about_of(r->refiner->sdxl)->vae);
    if (d->size[1] * shrinks != r->height || d->size[2] * shrinks != r->width)
        return at_fail(err, AT_UNSUPPORTED,
                       "the refiner's VAE makes %lld x %lld pixels, expected %lld x %lld",
                       (long long)(d->size[2] * shrinks), (long long)(d->size[1] * shrinks),
                       (long long)r->width, (long long)r->height);
    return add_leg(d, r->refiner, r->refine_from, r->end_at, err);
}

/* --- adapters --------------------------------------------------------------------------------- */

/* FNV-1a: of names, to tell lists of adapters apart. */
static uint64_t name_on(uint64_t name, const void *bytes, size_t n)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < n; i++)
        name = (name ^ at[i]) * UINT64_C(1099511628211);
    return name;
}

static at_status add_adapter(at_drawing *d, const char *path, double weight, at_error *err)
{
    const at_sdxl_about *about = at_sdxl_about_of(d->model->sdxl);
    at_model_adapters *a = &d->adapters;
    if (!a->list && !(a->list = at_loras_new()))
        return at_fail(err, AT_NO_MEMORY, "no memory for adapters");
    a->name = a->name ? a->name : UINT64_C(14695981039346656037);
    a->name = name_on(a->name, path, strlen(path) + 1);
    a->name = name_on(a->name, &weight, sizeof weight);
    return at_loras_add(a->list, about, path, weight, err);
}

/* Those that a prompt names are files of the request's folder. */
static at_status add_named(at_drawing *d, const at_prompt *p, at_error *err)
{
    const char *folder = d->request.lora_folder;
    for (int i = 0; i < p->n_loras; i++) {
        const at_prompt_lora *l = &p->loras[i];
        char path[4096];
        if (!folder)
            return at_fail(err, AT_INVALID,
                           "the prompt names the adapter '%.100s', but no folder of adapters is "
                           "known",
                           l->name);
        if (strchr(l->name, '/') || l->name[0] == '.' || !l->name[0])
            return at_fail(err, AT_INVALID,
                           "the prompt names the adapter '%.100s', expected a file's name",
                           l->name);
        const int n = snprintf(path, sizeof path, "%s/%s.safetensors", folder, l->name);
        if (n < 0 || n >= (int)sizeof path)
            return at_fail(err, AT_INVALID, "the folder of adapters has too long a name");
        AT_TRY(add_adapter(d, path, l->weight, err));
    }
    return AT_OK;
}

static at_status add_adapters(at_drawing *d, at_error *err)
{
    const at_request *r = &d->request;
    const at_prompts *p = &d->legs[0].prompts;
    for (int i = 0; i < r->n_loras; i++)
        AT_TRY(add_adapter(d, r->loras[i].path, r->loras[i].weight, err));
    AT_TRY(add_named(d, &p->of[0].positive, err));
    if (p->n_encoders > 1 && r->prompt_2 && r->prompt_2[0])
        AT_TRY(add_named(d, &p->of[1].positive, err));
    return AT_OK;
}

/* --- legs ------------------------------------------------------------------------------------- */

static at_status begin_denoising(at_drawing *d, at_leg *leg, const at_conditioning *text,
                                 at_error *err)
{
    const at_request *r = &d->request;
    const at_sdxl_about *about = at_sdxl_about_of(leg->model->sdxl);
    const bool over = r->picture || d->leg > 0, told = d->tells_mask && d->leg == 0;
    at_denoise_task task = {
        .model = leg->model,
        .schedule = &leg->schedule,
        .begin = leg->begin,
        .end = leg->end,
        .count = r->count,
        .guidance = (float)r->guidance,
        .rescale = (float)r->guidance_rescale,
        .text = text,
        .noise = d->noise,
        .inpaint = { .mask = d->mask,
                     .image = d->mask && !told ? d->image : NULL,
                     .noise = d->image_noise,
                     .masked = told ? d->masked : NULL },
        .x = d->latents,
    };
    memcpy(task.size, d->size, sizeof task.size);
    for (int i = 0; i < text->rows; i++)
        AT_TRY(at_request_sizes(task.sizes[i], r, about, leg->guided && i == 0, over, err));
    return at_denoise_begin(&d->denoise, &task, err);
}

/* Encodes the prompts and loads the UNet. */
static at_status begin_leg(at_drawing *d, at_error *err)
{
    at_leg *leg = &d->legs[d->leg];
    const at_model_adapters *adapters = d->leg ? NULL : &d->adapters;
    const double begin = at_clock_seconds();
    const double loaded = leg->model->load_seconds;
    at_conditioning text = { 0 };
    at_status status =
        at_conditioning_make(&text, leg->model, &leg->prompts, d->request.clip_skip, adapters, err);
    d->times.text += at_clock_seconds() - begin - (leg->model->load_seconds - loaded);
    if (status == AT_OK && d->leg == 0) {
        const double encode = at_clock_seconds(), before = leg->model->load_seconds;
        status = at_drawing_start_latents(d, err);
        d->times.encode += at_clock_seconds() - encode - (leg->model->load_seconds - before);
    }
    if (status == AT_OK)
        status = at_model_load(leg->model, AT_SDXL_UNET, leg->model->dtype, adapters, err);
    if (status == AT_OK)
        status = begin_denoising(d, leg, &text, err);
    d->times.load += leg->model->load_seconds - loaded;
    at_conditioning_free(&text);
    return status;
}

/* Keeps what previews show, and gives the UNet's memory back. */
static void end_leg(at_drawing *d)
{
    const at_leg *leg = &d->legs[d->leg];
    memcpy(d->guess, at_denoise_guess(d->denoise, 0),
           (size_t)(d->request.count * d->each) * sizeof *d->guess);
    d->times.evaluations += (int)at_denoise_done(d->denoise);
    at_denoise_end(d->denoise);
    d->denoise = NULL;
    at_model_done(leg->model, AT_SDXL_UNET);
    d->leg++;
}

/* --- memory ----------------------------------------------------------------------------------- */

static at_status check_memory(const at_drawing *d, at_error *err)
{
    const at_request *r = &d->request;
    for (int i = 0; i < d->n_legs; i++) {
        const at_leg *leg = &d->legs[i];
        const int64_t rows = leg->guided ? 2 : 1;
        const at_fits fits = {
            .model = leg->model,
            .size = { rows * r->count, d->size[1], d->size[2],
                      AT_CLIP_LENGTH * leg->prompts.common },
            .rows = rows,
            .encodes = i == 0 && r->picture,
            .decodes = i == d->n_legs - 1 && !r->latents_only,
            .tiles = r->tile_vae,
        };
        AT_TRY(at_fits_check(&fits, err));
    }
    return AT_OK;
}

/* --- begin ------------------------------------------------------------------------------------ */

static at_status set_seeds(at_drawing *d, at_error *err)
{
    const at_request *r = &d->request;
    const size_t count = (size_t)r->count;
    d->seeds = calloc(count, sizeof *d->seeds);
    d->pictures = calloc(count, sizeof *d->pictures);
    d->recipes = calloc(count, sizeof *d->recipes);
    d->parameters = calloc(count, sizeof *d->parameters);
    d->guess = calloc(count * (size_t)d->each, sizeof *d->guess);
    if (!d->seeds || !d->pictures || !d->recipes || !d->parameters || !d->guess)
        return at_fail(err, AT_NO_MEMORY, "no memory for %d pictures", r->count);
    for (int i = 0; i < r->count; i++)
        d->seeds[i] = r->seeds ? r->seeds[i] : r->seed + (uint64_t)i;
    if (r->noise_file)
        return at_noise_from_file(&d->noise, r->noise_file, r->count, err);
    return at_noise_seeded(&d->noise, r->rng, d->seeds, r->count, err);
}

static void set_size(at_drawing *d)
{
    const at_sdxl_vae_config *vae = &at_sdxl_about_of(d->model->sdxl)->vae;
    const int64_t shrinks = at_sdxl_vae_shrinks(vae);
    d->size[0] = vae->latent;
    d->size[1] = d->request.height / shrinks;
    d->size[2] = d->request.width / shrinks;
    d->each = d->size[0] * d->size[1] * d->size[2];
}

static at_status begin(at_drawing *d, const at_request *r, at_error *err)
{
    AT_TRY(check_parts(d->model, err));
    AT_TRY(at_request_resolve(&d->request, r, at_sdxl_about_of(d->model->sdxl), err));
    AT_TRY(check_channels(d, err));
    set_size(d);
    AT_TRY(add_legs(d, err));
    AT_TRY(set_seeds(d, err));
    AT_TRY(add_adapters(d, err));
    AT_TRY(check_memory(d, err));
    return begin_leg(d, err);
}

at_status at_drawing_begin(at_drawing **out, at_model *m, const at_request *r, at_error *err)
{
    at_drawing *d = calloc(1, sizeof *d);
    *out = NULL;
    if (!d)
        return at_fail(err, AT_NO_MEMORY, "no memory for a drawing");
    d->model = m;
    d->begun = at_clock_seconds();
    const at_status status = begin(d, r, err);
    if (status != AT_OK)
        at_drawing_free(d);
    else
        *out = d;
    return status;
}

void at_drawing_free(at_drawing *d)
{
    if (!d)
        return;
    if (d->denoise)
        end_leg(d);
    for (int i = 0; i < d->n_legs; i++) {
        at_prompts_free(&d->legs[i].prompts);
        let_go(d, d->legs[i].model);
    }
    for (int i = 0; i < d->request.count && d->pictures && d->recipes && d->parameters; i++) {
        at_picture_free(&d->pictures[i]);
        free(d->recipes[i]);
        free(d->parameters[i]);
    }
    at_loras_free(d->adapters.list);
    at_noise_free(d->noise);
    at_canvas_free(&d->canvas);
    void *memory[] = { d->seeds,  d->latents, d->image,    d->image_noise, d->mask,
                       d->masked, d->guess,   d->pictures, d->recipes,     d->parameters };
    for (size_t i = 0; i < AT_COUNT(memory); i++)
        free(memory[i]);
    free(d);
}

/* --- steps ------------------------------------------------------------------------------------ */

at_status at_drawing_step(at_drawing *d, bool *more, at_error *err)
{
    AT_ASSERT(d->denoise, "a step of a drawing that has made all of them");
    const double begin = at_clock_seconds();
    AT_TRY(at_denoise_step(d->denoise, err));
    d->times.steps += at_clock_seconds() - begin;
    *more = true;
    if (at_denoise_done(d->denoise) < at_denoise_all(d->denoise))
        return AT_OK;
    end_leg(d);
    *more = d->leg < d->n_legs;
    return *more ? begin_leg(d, err) : AT_OK;
}

/* --- finish ----------------------------------------------------------------------------------- */

static at_status decode_one(at_drawing *d, int i, float *picture, uint8_t *bytes, at_error *err)
{
    const at_request *r = &d->request;
    const int64_t n = r->height * r->width * PIXEL;
    const at_latents_tiles tiles = r->tile_vae ? AT_LATENTS_TILED : AT_LATENTS_WHOLE;
    at_picture *out = &d->pictures[i];
    AT_TRY(at_latents_decode(d->legs[d->n_legs - 1].model, picture, d->latents + i * d->each,
                             d->size, tiles, err));
    at_latents_to_u8(bytes, picture, n);
    if (r->mask)
        return at_canvas_finish(&d->canvas, out, bytes, r, err);
    *out = (at_picture){ r->width, r->height, PIXEL, 8, malloc((size_t)n), { .orientation = 1 } };
    if (!out->pixels)
        return at_fail(err, AT_NO_MEMORY, "no memory for picture %d", i + 1);
    memcpy(out->pixels, bytes, (size_t)n);
    return AT_OK;
}

/* The last model's VAE decodes. */
static at_status decode(at_drawing *d, at_error *err)
{
    at_model *m = d->legs[d->n_legs - 1].model;
    const size_t n = (size_t)(d->request.height * d->request.width * PIXEL);
    const double loaded = m->load_seconds;
    float *picture = malloc(n * sizeof *picture);
    uint8_t *bytes = malloc(n);
    at_status status = picture && bytes ? at_latents_load(m, AT_LATENTS_DECODE, err)
                                        : at_fail(err, AT_NO_MEMORY, "no memory for a picture");
    d->times.load += m->load_seconds - loaded;
    const double begin = at_clock_seconds();
    for (int i = 0; i < d->request.count && status == AT_OK; i++)
        status = decode_one(d, i, picture, bytes, err);
    d->times.decode = at_clock_seconds() - begin;
    at_model_done(m, AT_SDXL_VAE);
    free(picture);
    free(bytes);
    return status;
}

static const char *file_of(const at_model *m)
{
    const char *slash = strrchr(m->path, '/');
    return slash ? slash + 1 : m->path;
}

static at_status write_recipes(at_drawing *d, at_error *err)
{
    const at_model *m = d->model, *refiner = d->request.refiner;
    at_recipe_facts facts = {
        .model = file_of(m),
        .model_hash = at_model_hash(m),
        .refiner = refiner ? file_of(refiner) : NULL,
        .refiner_hash = refiner ? at_model_hash(refiner) : NULL,
        .sampler = at_sampler_at(d->legs[0].sampler)->name,
        .device = at_model_device(m),
        .precision = at_model_precision(m),
        .mode = m->exact ? "exact" : "fast",
        .width = d->request.width,
        .height = d->request.height,
    };
    for (int i = 0; i < d->request.count; i++) {
        facts.seed = d->seeds[i];
        AT_TRY(at_recipe_write(&d->recipes[i], &d->parameters[i], &d->request, &facts, err));
    }
    return AT_OK;
}

at_status at_drawing_finish(at_drawing *d, at_error *err)
{
    AT_ASSERT(!d->denoise && !d->finished, "a drawing finished twice, or before its last step");
    if (!d->request.latents_only)
        AT_TRY(decode(d, err));
    AT_TRY(write_recipes(d, err));
    for (int i = 0; i < d->n_legs; i++)
        let_go(d, d->legs[i].model);
    d->finished = true;
    d->times.total = at_clock_seconds() - d->begun;
    return AT_OK;
}

static at_status draw_on(at_drawing *d, at_error *err)
{
    const at_request *r = &d->request;
    int steps = 0;
    bool more = true;
    for (int i = 0; i < d->n_legs; i++)
        steps += (int)(d->legs[i].end - d->legs[i].begin);
    for (int i = 0; i <= steps; i++) {
        if (r->progress && !r->progress(r->progress_context, d, i, steps))
            return at_fail(err, AT_CANCELLED, "cancelled at step %d of %d", i, steps);
        if (more)
            AT_TRY(at_drawing_step(d, &more, err));
    }
    return at_drawing_finish(d, err);
}

at_status at_draw(at_drawing **out, at_model *m, const at_request *r, at_error *err)
{
    at_drawing *d = NULL;
    *out = NULL;
    AT_TRY(at_drawing_begin(&d, m, r, err));
    const at_status status = draw_on(d, err);
    if (status != AT_OK)
        at_drawing_free(d);
    else
        *out = d;
    return status;
}
