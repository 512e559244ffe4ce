#include "runtime/request.h"

#include <math.h>
#include <string.h>

#include "kernels/shape.h"
#include "runtime/picture.h"

#define LEFT_OPEN \
    {             \
        -1, -1    \
    }

const at_request at_request_usual = {
    .count = 1,
    .rng = "torch",
    .prompt_syntax = "literal",
    .steps = 50,
    .zero_snr = -1,
    .guidance = -1,
    .original_size = LEFT_OPEN,
    .target_size = LEFT_OPEN,
    .crop = LEFT_OPEN,
    .negative_original_size = LEFT_OPEN,
    .negative_target_size = LEFT_OPEN,
    .negative_crop = LEFT_OPEN,
    .aesthetic_score = -1,
    .negative_aesthetic_score = -1,
    .strength = -1,
    .only_masked = -1,
    .refine_from = 0.8,
    .begin_at = 0,
    .end_at = 1,
};

/* --- numbers ---------------------------------------------------------------------------------- */

static at_status expect_count(const char *name, int64_t value, int64_t least, int64_t most,
                              at_error *err)
{
    if (least <= value && value <= most)
        return AT_OK;
    return at_fail(err, AT_INVALID, "%s %lld, expected %lld to %lld", name, (long long)value,
                   (long long)least, (long long)most);
}

static at_status expect_real(const char *name, double value, double least, double most,
                             at_error *err)
{
    if (least <= value && value <= most)
        return AT_OK;
    return at_fail(err, AT_INVALID, "%s %g, expected %g to %g", name, value, least, most);
}

/* A pair that is told, or -1 in both. */
static at_status fill_pair(const char *name, int64_t pair[2], int64_t first, int64_t second,
                           at_error *err)
{
    if (pair[0] == -1 && pair[1] == -1) {
        pair[0] = first;
        pair[1] = second;
    }
    for (int i = 0; i < 2; i++)
        AT_TRY(expect_count(name, pair[i], 0, AT_REQUEST_TOLD_MAX, err));
    return AT_OK;
}

static bool is_open(const int64_t pair[2])
{
    return pair[0] == -1 && pair[1] == -1;
}

/* --- parts of it ------------------------------------------------------------------------------ */

static at_status check_numbers(at_request *r, at_error *err)
{
    if (r->guidance == -1)
        r->guidance = r->mask ? 7.5 : 5;
    if (r->strength == -1)
        r->strength = r->mask ? 0.9999 : 0.3;
    if (r->aesthetic_score == -1)
        r->aesthetic_score = 6;
    if (r->negative_aesthetic_score == -1)
        r->negative_aesthetic_score = 2.5;
    AT_TRY(expect_count("count", r->count, 1, AT_REQUEST_COUNT_MAX, err));
    AT_TRY(expect_count("steps", r->steps, 1, AT_REQUEST_STEPS_MAX, err));
    AT_TRY(expect_count("clip skip", r->clip_skip, 0, AT_REQUEST_CLIP_SKIP_MAX, err));
    AT_TRY(expect_count("zero_snr", r->zero_snr, -1, 1, err));
    AT_TRY(expect_real("guidance", r->guidance, 0, AT_REQUEST_GUIDANCE_MAX, err));
    AT_TRY(expect_real("guidance rescale", r->guidance_rescale, 0, 1, err));
    AT_TRY(expect_real("strength", r->strength, 0, 1, err));
    AT_TRY(expect_real("aesthetic score", r->aesthetic_score, 0, AT_REQUEST_SCORE_MAX, err));
    AT_TRY(expect_real("negative aesthetic score", r->negative_aesthetic_score, 0,
                       AT_REQUEST_SCORE_MAX, err));
    AT_TRY(expect_real("begin_at", r->begin_at, 0, 1, err));
    AT_TRY(expect_real("end_at", r->end_at, 0, 1, err));
    if (!(r->begin_at < r->end_at))
        return at_fail(err, AT_INVALID, "the way begins at %g and ends at %g of it", r->begin_at,
                       r->end_at);
    if (r->begin_at > 0 && !r->picture)
        return at_fail(err, AT_INVALID, "begin_at %g without a picture to begin from", r->begin_at);
    if (r->refiner && !(r->begin_at < r->refine_from && r->refine_from < r->end_at))
        return at_fail(err, AT_INVALID,
                       "the refiner begins at %g of the way, expected between %g and %g",
                       r->refine_from, r->begin_at, r->end_at);
    return AT_OK;
}

static at_status check_loras(const at_request *r, at_error *err)
{
    AT_TRY(expect_count("the number of adapters is", r->n_loras, 0, AT_REQUEST_LORAS_MAX, err));
    for (int i = 0; i < r->n_loras; i++) {
        if (!r->loras[i].path)
            return at_fail(err, AT_INVALID, "adapter %d has no path", i + 1);
        AT_TRY(expect_real("adapter's weight", r->loras[i].weight, -AT_REQUEST_WEIGHT_MAX,
                           AT_REQUEST_WEIGHT_MAX, err));
    }
    return AT_OK;
}

static at_status check_pixels(const char *name, const at_pixels *p, at_error *err)
{
    AT_TRY(expect_count(name, p->width, 1, AT_PICTURE_SIDE_MAX, err));
    AT_TRY(expect_count(name, p->height, 1, AT_PICTURE_SIDE_MAX, err));
    if (p->width * p->height > AT_PICTURE_PIXELS_MAX)
        return at_fail(err, AT_INVALID, "%s has %lld x %lld pixels, expected at most %lld", name,
                       (long long)p->width, (long long)p->height, (long long)AT_PICTURE_PIXELS_MAX);
    if (p->channels != 1 && p->channels != 3 && p->channels != 4)
        return at_fail(err, AT_INVALID, "%s has %d channels, expected 1, 3 or 4", name,
                       p->channels);
    return p->data ? AT_OK : at_fail(err, AT_INVALID, "%s has no pixels", name);
}

static at_status check_pictures(const at_request *r, at_error *err)
{
    if (!r->mask && (r->only_masked != -1 || r->paste_original || r->mask_blur != 0))
        return at_fail(err, AT_INVALID, "%s without a mask",
                       r->paste_original      ? "paste_original"
                       : r->only_masked != -1 ? "only_masked"
                                              : "mask_blur");
    AT_TRY(expect_real("mask_blur", r->mask_blur, 0, AT_REQUEST_BLUR_MAX, err));
    AT_TRY(expect_count("only_masked", r->only_masked, -1, AT_PICTURE_SIDE_MAX, err));
    if (r->mask && !r->picture)
        return at_fail(err, AT_INVALID, "a mask without a picture");
    if (!r->picture)
        return AT_OK;
    AT_TRY(check_pixels("the picture", r->picture, err));
    if (!r->mask)
        return AT_OK;
    AT_TRY(check_pixels("the mask", r->mask, err));
    if (r->mask->width == r->picture->width && r->mask->height == r->picture->height)
        return AT_OK;
    return at_fail(err, AT_INVALID,
                   "the mask has %lld x %lld pixels, expected the picture's %lld x "
                   "%lld",
                   (long long)r->mask->width, (long long)r->mask->height,
                   (long long)r->picture->width, (long long)r->picture->height);
}

/* --- sizes ------------------------------------------------------------------------------------ */

/* Where a picture is drawn over without a mask, its own; else the model's. */
static int64_t usual_side(const at_request *r, const at_sdxl_about *about, int which,
                          int64_t multiple)
{
    const int64_t latent = about->unet.sample[which] ? about->unet.sample[which] : 128;
    const int64_t picture =
        r->picture ? (which ? r->picture->width : r->picture->height) / multiple * multiple : 0;
    return r->picture && !r->mask ? picture : latent * multiple;
}

static at_status fill_size(at_request *r, const at_sdxl_about *about, at_error *err)
{
    const int64_t multiple = at_sdxl_vae_shrinks(&about->vae);
    int64_t *sides[] = { &r->height, &r->width };
    static const char *const names[] = { "height", "width" };
    for (int i = 0; i < 2; i++) {
        if (!*sides[i])
            *sides[i] = usual_side(r, about, i, multiple);
        AT_TRY(expect_count(names[i], *sides[i], multiple, AT_REQUEST_SIDE_MAX, err));
        if (*sides[i] % multiple)
            return at_fail(err, AT_INVALID, "%s %lld, expected a multiple of %lld", names[i],
                           (long long)*sides[i], (long long)multiple);
    }
    if (r->width * r->height > AT_PICTURE_PIXELS_MAX)
        return at_fail(err, AT_INVALID, "%lld x %lld pixels, expected at most %lld",
                       (long long)r->width, (long long)r->height, (long long)AT_PICTURE_PIXELS_MAX);
    return AT_OK;
}

/* diffusers takes a negative size beside a text alone only where both are given. */
static at_status fill_told(at_request *r, at_error *err)
{
    const bool half = is_open(r->negative_original_size) != is_open(r->negative_target_size);
    if (!r->picture && half)
        return at_fail(err, AT_INVALID,
                       "negative_original_size and negative_target_size: expected both or none");
    if (!r->picture && is_open(r->negative_original_size) && !is_open(r->negative_crop))
        return at_fail(err, AT_INVALID,
                       "negative_crop without negative_original_size and "
                       "negative_target_size");
    const bool same = !r->picture && is_open(r->negative_original_size);
    AT_TRY(fill_pair("original_size", r->original_size, r->height, r->width, err));
    AT_TRY(fill_pair("target_size", r->target_size, r->height, r->width, err));
    AT_TRY(fill_pair("crop", r->crop, 0, 0, err));
    AT_TRY(fill_pair("negative_original_size", r->negative_original_size, r->original_size[0],
                     r->original_size[1], err));
    AT_TRY(fill_pair("negative_target_size", r->negative_target_size, r->target_size[0],
                     r->target_size[1], err));
    return fill_pair("negative_crop", r->negative_crop, same ? r->crop[0] : 0,
                     same ? r->crop[1] : 0, err);
}

at_status at_request_resolve(at_request *out, const at_request *r, const at_sdxl_about *about,
                             at_error *err)
{
    *out = *r;
    if (!r->prompt)
        return at_fail(err, AT_INVALID, "a request without a prompt");
    out->rng = r->rng ? r->rng : "torch";
    out->prompt_syntax = r->prompt_syntax ? r->prompt_syntax : "literal";
    AT_TRY(check_numbers(out, err));
    AT_TRY(check_loras(out, err));
    AT_TRY(check_pictures(out, err));
    AT_TRY(fill_size(out, about, err));
    return fill_told(out, err);
}

/* --- what the model is told ------------------------------------------------------------------- */

static bool is_same_pair(const int64_t a[2], const int64_t b[2])
{
    return a[0] == b[0] && a[1] == b[1];
}

/* Nothing else was said of what to keep away from. Beside a text the crop is then the prompt's too,
 * but diffusers' refiners take none. */
static bool negative_is_same(const at_request *r)
{
    return is_same_pair(r->negative_original_size, r->original_size) &&
           is_same_pair(r->negative_target_size, r->target_size) &&
           is_same_pair(r->negative_crop, r->crop);
}

at_status at_request_sizes(float *out, const at_request *r, const at_sdxl_about *about,
                           bool negative, bool over, at_error *err)
{
    const bool scored = over && about->asks_aesthetics_score;
    const int64_t *original = negative ? r->negative_original_size : r->original_size;
    const int64_t *target = negative ? r->negative_target_size : r->target_size;
    /* Over a picture diffusers takes the negative crop only beside a score. */
    const int64_t *crop = negative && (scored || !over) ? r->negative_crop : r->crop;
    const int64_t n = scored ? 5 : 6;
    const int64_t none[2] = { 0, 0 };
    if (negative && scored && !r->picture && negative_is_same(r))
        crop = none;
    if (about->unet.sizes != n)
        return at_fail(err, AT_UNSUPPORTED, "the UNet is told %lld sizes, which %s are not%s",
                       (long long)about->unet.sizes, scored ? "those with a score" : "these",
                       over ? "" : ": is it a refiner, which draws over a picture?");
    for (int i = 0; i < 2; i++) {
        out[i] = (float)original[i];
        out[2 + i] = (float)crop[i];
        if (!scored)
            out[4 + i] = (float)target[i];
    }
    if (scored)
        out[4] = (float)(negative ? r->negative_aesthetic_score : r->aesthetic_score);
    return AT_OK;
}
