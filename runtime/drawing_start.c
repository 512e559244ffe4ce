/* drawing_start.c -- what latents begin as, in diffusers' order of random numbers: a picture's
 * posterior, the noise, a masked picture's posterior. */
#include <stdlib.h>
#include <string.h>

#include "kernels/shape.h"
#include "runtime/drawing.h"
#include "runtime/latents.h"

enum { PIXEL = 3 };

static at_status new_latents(float **out, const at_drawing *d, int64_t count, at_error *err)
{
    *out = calloc((size_t)(count * d->each), sizeof **out);
    return *out ? AT_OK
                : at_fail(err, AT_NO_MEMORY, "no memory for the latents of %lld pictures",
                          (long long)count);
}

/* --- pictures --------------------------------------------------------------------------------- */

/* What the VAE makes of the picture, or of what of it is not drawn anew and grey elsewhere: new
 * moments, to be freed. */
static at_status encode(at_drawing *d, float **moments, at_noise_use use, at_error *err)
{
    const at_canvas *c = &d->canvas;
    const int64_t n = c->width * c->height;
    const at_latents_tiles tiles = d->request.tile_vae ? AT_LATENTS_TILED : AT_LATENTS_WHOLE;
    float *picture = malloc((size_t)(n * PIXEL) * sizeof *picture);
    at_status status = AT_OK;
    *moments = malloc((size_t)(2 * d->each) * sizeof **moments);
    if (!picture || !*moments)
        status = at_fail(err, AT_NO_MEMORY, "no memory to encode a picture");
    if (status == AT_OK) {
        at_latents_from_u8(picture, c->picture.pixels, n * PIXEL);
        if (use == AT_NOISE_VAE_MASKED)
            for (int64_t i = 0; i < n; i++)
                if (at_canvas_drawn(c, i / c->width, i % c->width))
                    memset(picture + i * PIXEL, 0, PIXEL * sizeof *picture);
        status = at_latents_encode(d->model, *moments, picture, d->size, tiles, err);
    }
    free(picture);
    return status;
}

/* Latents of the picture, one of each drawing's own. */
static at_status sample(at_drawing *d, float *out, const float *moments, at_noise_use use,
                        at_error *err)
{
    const at_sdxl_vae_config *vae = &at_sdxl_about_of(d->model->sdxl)->vae;
    const at_latents_scaling scaling = d->request.mask ? AT_LATENTS_SCALED : AT_LATENTS_NORMALIZED;
    float *noise = NULL;
    AT_TRY(new_latents(&noise, d, 1, err));
    at_status status = AT_OK;
    for (int i = 0; i < d->request.count && status == AT_OK; i++) {
        status = at_noise_draw(d->noise, i, use, noise, d->size, err);
        if (status == AT_OK)
            at_latents_sample(out + i * d->each, moments, noise, vae, d->size, scaling);
    }
    free(noise);
    return status;
}

static at_status draw_picture(at_drawing *d, float **out, at_noise_use use, at_error *err)
{
    float *moments = NULL;
    at_status status = new_latents(out, d, d->request.count, err);
    if (status == AT_OK)
        status = encode(d, &moments, use, err);
    if (status == AT_OK)
        status = sample(d, *out, moments, use, err);
    free(moments);
    return status;
}

/* The top left pixel of each of the VAE's blocks. */
static at_status shrink_mask(at_drawing *d, at_error *err)
{
    const int64_t shrinks = d->canvas.width / d->size[2];
    d->mask = malloc((size_t)(d->size[1] * d->size[2]) * sizeof *d->mask);
    if (!d->mask)
        return at_fail(err, AT_NO_MEMORY, "no memory for a mask");
    for (int64_t i = 0; i < d->size[1] * d->size[2]; i++)
        d->mask[i] =
            at_canvas_drawn(&d->canvas, i / d->size[2] * shrinks, i % d->size[2] * shrinks);
    return AT_OK;
}

/* --- noise ------------------------------------------------------------------------------------ */

static at_status draw_noise(at_drawing *d, float *out, at_noise_use use, at_error *err)
{
    for (int i = 0; i < d->request.count; i++)
        AT_TRY(at_noise_draw(d->noise, i, use, out + i * d->each, d->size, err));
    return AT_OK;
}

/* latents = image * a + noise * b */
static void mix(at_drawing *d, float a, float b)
{
    for (int64_t i = 0; i < d->request.count * d->each; i++)
        d->latents[i] = (a != 0 ? a * d->image[i] : 0) + (b != 0 ? b * d->image_noise[i] : 0);
}

/* --- the whole -------------------------------------------------------------------------------- */

/* diffusers' inpainting encodes the picture where it is needed: by UNets that read 4 channels, and
 * where not everything begins as noise. */
static bool needs_picture(const at_drawing *d)
{
    const at_request *r = &d->request;
    const bool all_new = r->mask && r->strength == 1 && r->begin_at == 0;
    return r->picture && !(all_new && d->tells_mask);
}

static at_status encode_pictures(at_drawing *d, at_error *err)
{
    if (needs_picture(d))
        AT_TRY(draw_picture(d, &d->image, AT_NOISE_VAE, err));
    if (d->request.begin_at == 0 || d->request.mask)
        AT_TRY(draw_noise(d, d->image_noise, AT_NOISE_LATENTS, err));
    if (!d->request.mask)
        return AT_OK;
    AT_TRY(shrink_mask(d, err));
    if (!d->tells_mask) /* drawn in diffusers, and not used */
        return draw_noise(d, d->latents, AT_NOISE_VAE_MASKED, err);
    return draw_picture(d, &d->masked, AT_NOISE_VAE_MASKED, err);
}

at_status at_drawing_start_latents(at_drawing *d, at_error *err)
{
    const at_request *r = &d->request;
    const at_leg *leg = &d->legs[0];
    float image = 0, noise = leg->schedule.noise_scale;
    AT_TRY(new_latents(&d->latents, d, r->count, err));
    AT_TRY(new_latents(&d->image_noise, d, r->count, err));
    if (!r->picture) {
        AT_TRY(draw_noise(d, d->image_noise, AT_NOISE_LATENTS, err));
        mix(d, 0, noise);
        return AT_OK;
    }
    AT_TRY(at_canvas_make(&d->canvas, r, err));
    AT_TRY(at_latents_load(d->model, AT_LATENTS_ENCODE, err));
    const at_status status = encode_pictures(d, err);
    at_model_done(d->model, AT_SDXL_VAE);
    if (status != AT_OK)
        return status;
    if (r->begin_at > 0) {
        image = 1;
        noise = 0;
    } else if (!r->mask || r->strength != 1) {
        at_sampler_noising(&image, &noise, &leg->schedule, leg->begin);
    }
    mix(d, image, noise);
    return AT_OK;
}
