/* drawing_look.c -- what can be asked of a drawing: pictures, previews, latents, files. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/shape.h"
#include "runtime/drawing.h"
#include "runtime/recipe.h"

enum { PIXEL = 3, PREVIEW_CHANNELS = 4 };

int at_drawing_count(const at_drawing *d)
{
    return d->request.count;
}

static void expect_picture(const at_drawing *d, int i)
{
    AT_ASSERT(i >= 0 && i < d->request.count, "picture %d of %d", i, d->request.count);
}

at_pixels at_drawing_picture(const at_drawing *d, int i)
{
    expect_picture(d, i);
    const at_picture *p = &d->pictures[i];
    return (at_pixels){ p->width, p->height, p->channels, p->pixels };
}

const float *at_drawing_latents(const at_drawing *d, int i, int64_t size[3])
{
    expect_picture(d, i);
    memcpy(size, d->size, sizeof d->size);
    return d->latents + i * d->each;
}

uint64_t at_drawing_seed(const at_drawing *d, int i)
{
    expect_picture(d, i);
    return d->seeds[i];
}

const char *at_drawing_recipe(const at_drawing *d, int i)
{
    expect_picture(d, i);
    return d->recipes[i];
}

at_drawing_times at_drawing_timing(const at_drawing *d)
{
    return d->times;
}

/* --- previews --------------------------------------------------------------------------------- */

/* ComfyUI's table for SDXL: red, green, blue of each channel, and of none. */
static const float colours[PREVIEW_CHANNELS + 1][PIXEL] = { { .3651f, .4232f, .4341f },
                                                            { -.2533f, -.0042f, .1068f },
                                                            { .1076f, .1111f, -.0362f },
                                                            { -.3165f, -.2492f, -.2188f },
                                                            { .1084f, -.0175f, -.0011f } };

static uint8_t colour_of(const float *guess, int64_t n, int colour)
{
    float value = colours[PREVIEW_CHANNELS][colour];
    for (int c = 0; c < PREVIEW_CHANNELS; c++)
        value += guess[c * n] * colours[c][colour];
    value = rintf((value + 1) * 127.5f);
    return (uint8_t)fminf(fmaxf(value, 0), 255);
}

at_status at_drawing_preview(at_drawing *d, int i, at_pixels *out, at_error *err)
{
    const int64_t n = d->size[1] * d->size[2];
    expect_picture(d, i);
    if (d->size[0] != PREVIEW_CHANNELS)
        return at_fail(err, AT_UNSUPPORTED, "a preview of %lld channels, expected %d",
                       (long long)d->size[0], PREVIEW_CHANNELS);
    const float *guess = d->denoise ? at_denoise_guess(d->denoise, i) : d->guess + i * d->each;
    uint8_t *pixels = malloc((size_t)(n * PIXEL));
    if (!pixels)
        return at_fail(err, AT_NO_MEMORY, "no memory for a preview");
    for (int64_t k = 0; k < n * PIXEL; k++)
        pixels[k] = colour_of(guess + k / PIXEL, n, (int)(k % PIXEL));
    *out = (at_pixels){ d->size[2], d->size[1], PIXEL, pixels };
    return AT_OK;
}

/* --- files ------------------------------------------------------------------------------------ */

at_status at_drawing_save(at_drawing *d, int i, const char *path, at_error *err)
{
    expect_picture(d, i);
    if (!d->pictures[i].pixels)
        return at_fail(err, AT_INVALID, "%s: there is no picture, only latents", path);
    const at_picture_text texts[] = { { (char[]){ AT_RECIPE_TEXT }, d->recipes[i] },
                                      { (char[]){ AT_PARAMETERS_TEXT }, d->parameters[i] } };
    const at_picture_write_options options = { .text = texts, .n_texts = (int)AT_COUNT(texts) };
    return at_picture_write(path, &d->pictures[i], &options, err);
}
