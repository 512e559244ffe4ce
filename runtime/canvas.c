#include "runtime/canvas.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/shape.h"

enum { RGB = 3 };

/* --- pixels ----------------------------------------------------------------------------------- */

static at_status new_picture(at_picture *out, int64_t width, int64_t height, int channels,
                             at_error *err)
{
    *out = (at_picture){ width, height, channels, 8, NULL, { .orientation = 1 } };
    out->pixels = calloc((size_t)(width * height), (size_t)channels);
    return out->pixels ? AT_OK
                       : at_fail(err, AT_NO_MEMORY, "no memory for a picture of %lld x %lld pixels",
                                 (long long)width, (long long)height);
}

static uint8_t *pixel(const at_picture *p, int64_t y, int64_t x)
{
    return (uint8_t *)p->pixels + (y * p->width + x) * p->channels;
}

/* Pillow's convert("L"). */
static uint8_t grey_of(const uint8_t *rgb)
{
    return (uint8_t)((rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 32768) >> 16);
}

/* In as many channels, 1 or 3; alpha is dropped. */
static at_status convert(at_picture *out, const at_picture *in, int channels, at_error *err)
{
    AT_TRY(new_picture(out, in->width, in->height, channels, err));
    const uint8_t *from = in->pixels;
    uint8_t *to = out->pixels;
    for (int64_t i = 0; i < in->width * in->height; i++, from += in->channels, to += channels)
        for (int c = 0; c < channels; c++)
            to[c] = in->channels == 1 ? from[0] : channels == 1 ? grey_of(from) : from[c];
    return AT_OK;
}

/* Converts what 'p' holds. */
static at_status convert_own(at_picture *p, int channels, at_error *err)
{
    at_picture converted;
    AT_TRY(convert(&converted, p, channels, err));
    at_picture_free(p);
    *p = converted;
    return AT_OK;
}

/* 'in' lies at x, y of 'out', as far as it is on it. Both have as many channels. */
static void paste(at_picture *out, const at_picture *in, int64_t x, int64_t y)
{
    for (int64_t i = 0; i < in->height; i++)
        for (int64_t k = 0; k < in->width; k++)
            if (y + i >= 0 && y + i < out->height && x + k >= 0 && x + k < out->width)
                memcpy(pixel(out, y + i, x + k), pixel(in, i, k), (size_t)in->channels);
}

static at_status crop(at_picture *out, const at_picture *in, const at_canvas *c, at_error *err)
{
    AT_TRY(new_picture(out, c->right - c->left, c->bottom - c->top, in->channels, err));
    paste(out, in, -c->left, -c->top);
    return AT_OK;
}

/* --- blur ------------------------------------------------------------------------------------- */

enum { BLUR_PASSES = 3 };

/* The radius of a box, three of which make up for a Gaussian (Gwosdek et al., Theoretical
 * foundations of Gaussian convolution by extended box filtering). */
static float box_radius(float radius)
{
    const float sigma2 = radius * radius / BLUR_PASSES;
    const float length = (float)sqrt(12.0 * (double)sigma2 + 1.0);
    const float whole = (float)floor(((double)length - 1.0) / 2.0);
    float rest = (2 * whole + 1) * (whole * (whole + 1) - 3 * sigma2);
    rest /= 6 * (sigma2 - (whole + 1) * (whole + 1));
    return whole + rest;
}

static int64_t inside(int64_t i, int64_t n)
{
    return i < 0 ? 0 : i < n ? i : n - 1;
}

/* One pass over n pixels that lie 'stride' apart, in 24 bits after the point; 'line' has room for
 * them. */
static void blur_line(uint8_t *at, int64_t n, int64_t stride, float radius, uint8_t *line)
{
    const int64_t r = (int64_t)radius;
    const uint32_t all = UINT32_C(1) << 24, whole = (uint32_t)((float)all / (radius * 2 + 1));
    const uint32_t edge = (all - (uint32_t)(r * 2 + 1) * whole) / 2;
    uint32_t sum = 0;
    for (int64_t i = 0; i < n; i++)
        line[i] = at[i * stride];
    for (int64_t k = -r; k <= r; k++)
        sum += line[inside(k, n)];
    for (int64_t i = 0; i < n; i++) {
        const uint32_t far =
            (uint32_t)line[inside(i - r - 1, n)] + (uint32_t)line[inside(i + r + 1, n)];
        at[i * stride] = (uint8_t)((sum * whole + far * edge + (all >> 1)) >> 24);
        sum += (uint32_t)line[inside(i + r + 1, n)] - (uint32_t)line[inside(i - r, n)];
    }
}

at_status at_canvas_blur(at_picture *grey, double radius, at_error *err)
{
    const float box = box_radius((float)radius);
    const int64_t longest = grey->width > grey->height ? grey->width : grey->height;
    uint8_t *line = malloc((size_t)longest), *at = grey->pixels;
    AT_ASSERT(grey->channels == 1, "a blur of %d channels", grey->channels);
    if (!line)
        return at_fail(err, AT_NO_MEMORY, "no memory to blur a mask");
    for (int pass = 0; pass < BLUR_PASSES; pass++)
        for (int64_t y = 0; y < grey->height; y++)
            blur_line(at + y * grey->width, grey->width, 1, box, line);
    for (int pass = 0; pass < BLUR_PASSES; pass++)
        for (int64_t x = 0; x < grey->width; x++)
            blur_line(at + x, grey->height, grey->width, box, line);
    free(line);
    return AT_OK;
}

/* --- the box around a mask -------------------------------------------------------------------- */

static at_status find_mask(at_canvas *c, const at_picture *mask, at_error *err)
{
    c->left = mask->width;
    c->top = mask->height;
    c->right = c->bottom = 0;
    for (int64_t y = 0; y < mask->height; y++)
        for (int64_t x = 0; x < mask->width; x++)
            if (*pixel(mask, y, x)) {
                c->left = x < c->left ? x : c->left;
                c->top = y < c->top ? y : c->top;
                c->right = x + 1 > c->right ? x + 1 : c->right;
                c->bottom = y + 1 > c->bottom ? y + 1 : c->bottom;
            }
    if (c->right)
        return AT_OK;
    return at_fail(err, AT_INVALID, "the mask is black: there is nothing to draw");
}

/* Makes [*from, *to) longer by 'more', within [0, size). */
static void widen(int64_t *from, int64_t *to, int64_t more, int64_t size)
{
    *from -= more / 2;
    *to += more - more / 2;
    if (*to >= size) {
        *from -= *to - size;
        *to = size;
    }
    if (*from < 0) {
        *to -= *from;
        *from = 0;
    }
    if (*to >= size)
        *to = size;
}

/* diffusers' get_crop_region(): the mask's surroundings in the proportions of what is drawn. */
static at_status find_box(at_canvas *c, const at_picture *mask, int64_t pad, at_error *err)
{
    AT_TRY(find_mask(c, mask, err));
    c->left = c->left > pad ? c->left - pad : 0;
    c->top = c->top > pad ? c->top - pad : 0;
    c->right = c->right + pad < mask->width ? c->right + pad : mask->width;
    c->bottom = c->bottom + pad < mask->height ? c->bottom + pad : mask->height;
    const int64_t width = c->right - c->left, height = c->bottom - c->top;
    const double drawn = (double)c->width / (double)c->height;
    if ((double)width / (double)height > drawn)
        widen(&c->top, &c->bottom, (int64_t)((double)width / drawn - (double)height), mask->height);
    else
        widen(&c->left, &c->right, (int64_t)((double)height * drawn - (double)width), mask->width);
    return AT_OK;
}

/* --- fitting ---------------------------------------------------------------------------------- */

/* Copies a line of 'p' outwards as Pillow's bicubic filter does from a box without an extent: from
 * the line at the edge and, a little, the one before it. 'across' and 'along' are steps in
 * pixels. */
static void extend_edge(at_picture *p, int64_t edge, int64_t before, int64_t first, int64_t n,
                        bool rows)
{
    const int64_t length = rows ? p->width : p->height;
    for (int64_t i = 0; i < length; i++)
        for (int64_t k = 0; k < n; k++) {
            const uint8_t *a = rows ? pixel(p, edge, i) : pixel(p, i, edge);
            const uint8_t *b = rows ? pixel(p, before, i) : pixel(p, i, before);
            uint8_t *to = rows ? pixel(p, first + k, i) : pixel(p, i, first + k);
            for (int ch = 0; ch < p->channels; ch++) {
                const int value = (9 * a[ch] - b[ch] + 4) >> 3;
                to[ch] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
            }
        }
}

/* Fills what a picture pasted in the middle, of 'n' lines from 'first' on, leaves free on both
 * sides. */
static void fill_sides(at_picture *p, int64_t first, int64_t n, bool rows)
{
    const int64_t all = rows ? p->height : p->width, last = first + n - 1;
    const int64_t after = first < all - last - 1 ? first : all - last - 1;
    if (first <= 0)
        return;
    extend_edge(p, first, n > 1 ? first + 1 : first, 0, first, rows);
    extend_edge(p, last, n > 1 ? last - 1 : last, last + 1, after, rows);
}

/* The largest size of these proportions within width x height ("fill"), or the smallest around it
 * ("crop"), as diffusers rounds it. */
static void fit(int64_t out[2], const at_picture *in, int64_t width, int64_t height, bool around)
{
    const double ratio = (double)width / (double)height;
    const double own = (double)in->width / (double)in->height;
    const bool whole_width = around ? ratio > own : ratio < own;
    const bool whole_height = around ? ratio <= own : ratio >= own;
    out[0] = whole_width ? width : in->width * height / in->height;
    out[1] = whole_height ? height : in->height * width / in->width;
    out[0] = out[0] > 0 ? out[0] : 1;
    out[1] = out[1] > 0 ? out[1] : 1;
}

/* diffusers' resize modes "fill" and, 'around', "crop". */
static at_status resize_centred(at_picture *out, const at_picture *in, int64_t width,
                                int64_t height, bool around, at_error *err)
{
    int64_t size[2];
    at_picture scaled;
    fit(size, in, width, height, around);
    AT_TRY(at_picture_resize(&scaled, in, size[0], size[1], AT_LANCZOS, err));
    at_status status = new_picture(out, width, height, in->channels, err);
    const int64_t x = width / 2 - size[0] / 2, y = height / 2 - size[1] / 2;
    if (status == AT_OK) {
        paste(out, &scaled, x, y);
        if (!around && size[1] < height)
            fill_sides(out, y, size[1], true);
        else if (!around && size[0] < width)
            fill_sides(out, x, size[0], false);
    }
    at_picture_free(&scaled);
    return status;
}

/* What the model sees of a picture or a mask, in 1 channel or 3. Alpha is gone before anything is
 * resized, as it is in what diffusers' load_image() gives. */
static at_status fit_picture(at_picture *out, const at_canvas *c, const at_picture *in,
                             int channels, at_error *err)
{
    at_picture plain = { 0 }, part = { 0 };
    at_status status = convert(&plain, in, in->channels == 1 ? 1 : RGB, err);
    if (status == AT_OK && c->cropped) {
        status = crop(&part, &plain, c, err);
        if (status == AT_OK)
            status = resize_centred(out, &part, c->width, c->height, false, err);
    } else if (status == AT_OK) {
        status = at_picture_resize(out, &plain, c->width, c->height, AT_LANCZOS, err);
    }
    at_picture_free(&part);
    at_picture_free(&plain);
    return status == AT_OK ? convert_own(out, channels, err) : status;
}

/* --- making it -------------------------------------------------------------------------------- */

static at_picture borrow(const at_pixels *p)
{
    return (at_picture){
        p->width, p->height, p->channels, 8, (void *)(uintptr_t)p->data, { .orientation = 1 }
    };
}

static at_status make_masked(at_canvas *c, const at_request *r, at_error *err)
{
    const at_picture picture = borrow(r->picture), given = borrow(r->mask);
    at_picture mask = given;
    at_status status = AT_OK;
    if (r->mask_blur > 0) {
        status = convert(&mask, &given, 1, err);
        if (status == AT_OK)
            status = at_canvas_blur(&mask, r->mask_blur, err);
    } else if (given.channels > RGB) {
        status = convert(&mask, &given, RGB, err);
    }
    c->cropped = r->only_masked >= 0;
    if (status == AT_OK && c->cropped) {
        status = convert(&c->whole, &picture, RGB, err);
        if (status == AT_OK)
            status = convert(&c->whole_mask, &mask, 1, err);
        if (status == AT_OK)
            status = find_box(c, &c->whole_mask, r->only_masked, err);
    }
    if (status == AT_OK)
        status = fit_picture(&c->mask, c, &mask, 1, err);
    if (mask.pixels != given.pixels)
        at_picture_free(&mask);
    return status;
}

at_status at_canvas_make(at_canvas *out, const at_request *r, at_error *err)
{
    const at_picture given = borrow(r->picture);
    at_picture picture = { 0 };
    at_status status = AT_OK;
    *out = (at_canvas){ .width = r->width, .height = r->height };
    if (r->mask)
        status = make_masked(out, r, err);
    if (status == AT_OK) /* before it is resized, as diffusers' load_image() does */
        status = convert(&picture, &given, RGB, err);
    if (status == AT_OK)
        status = fit_picture(&out->picture, out, &picture, RGB, err);
    at_picture_free(&picture);
    if (status != AT_OK)
        at_canvas_free(out);
    return status;
}

void at_canvas_free(at_canvas *c)
{
    at_picture_free(&c->picture);
    at_picture_free(&c->mask);
    at_picture_free(&c->whole);
    at_picture_free(&c->whole_mask);
    *c = (at_canvas){ 0 };
}

bool at_canvas_drawn(const at_canvas *c, int64_t y, int64_t x)
{
    return *pixel(&c->mask, y, x) >= 128; /* half of 255 or more */
}

/* --- going back ------------------------------------------------------------------------------- */

static int div_255(int a)
{
    return ((a >> 8) + a) >> 8;
}

/* A pixel of what was there over one of what was drawn, by the mask: Pillow's paste(), which
 * multiplies by alpha, its convert("RGBA"), which divides by it, and its alpha_composite(). */
static uint8_t mix(uint8_t was, uint8_t drawn, uint8_t mask)
{
    enum { BITS = 7 };
    const int alpha = 255 - mask;
    if (!alpha)
        return drawn;
    int colour = div_255(was * alpha + 128);
    if (alpha < 255)
        colour = 255 * colour / alpha;
    colour = colour > 255 ? 255 : colour;
    const int share = alpha << BITS, rest = (255 << BITS) - share;
    return (uint8_t)(div_255(colour * share + drawn * rest + (0x80 << BITS)) >> BITS);
}

static void mix_all(at_picture *drawn, const at_picture *was, const at_picture *mask)
{
    uint8_t *to = drawn->pixels;
    const uint8_t *from = was->pixels, *by = mask->pixels;
    for (int64_t i = 0; i < drawn->width * drawn->height * RGB; i++)
        to[i] = mix(from[i], to[i], by[i / RGB]);
}

at_status at_canvas_finish(const at_canvas *c, at_picture *out, const uint8_t *drawn,
                           const at_request *r, at_error *err)
{
    at_picture made, part;
    AT_TRY(new_picture(&made, c->width, c->height, RGB, err));
    memcpy(made.pixels, drawn, (size_t)(c->width * c->height * RGB));
    if (!c->cropped) {
        if (r->paste_original)
            mix_all(&made, &c->picture, &c->mask);
        *out = made;
        return AT_OK;
    }
    at_status status =
        resize_centred(&part, &made, c->right - c->left, c->bottom - c->top, true, err);
    at_picture_free(&made);
    if (status != AT_OK)
        return status;
    status = new_picture(out, c->whole.width, c->whole.height, RGB, err);
    if (status == AT_OK) {
        paste(out, &part, c->left, c->top);
        mix_all(out, &c->whole, &c->whole_mask);
    }
    at_picture_free(&part);
    return status;
}
