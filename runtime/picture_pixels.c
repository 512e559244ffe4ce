/* picture_pixels.c -- what is done to samples between decoding and the caller: ink to light, alpha
 * as Pillow computes with it, turning. Products of bytes are divided by 255 with Pillow's rounding,
 * which differs from a division in no case but must not be replaced by a shift. */
#include <stdlib.h>
#include <string.h>

#include "runtime/picture_format.h"

static inline unsigned multiply_255(unsigned a, unsigned b)
{
    unsigned t = a * b + 128;
    return ((t >> 8) + t) >> 8;
}

static int64_t pixel_count(const at_picture *p)
{
    return p->width * p->height;
}

size_t at_picture_size(const at_picture *p)
{
    return (size_t)pixel_count(p) * (size_t)p->channels * (size_t)(p->depth / 8);
}

void at_picture_shrink(at_picture *p, int channels)
{
    p->channels = channels;
    void *less = realloc(p->pixels, at_picture_size(p));
    p->pixels = less ? less : p->pixels;
}

void at_picture_cmyk_to_rgb(at_picture *p)
{
    const uint8_t *from = p->pixels;
    uint8_t *to = p->pixels;
    for (int64_t i = 0; i < pixel_count(p); i++, from += 4, to += 3) {
        unsigned light = 255u - from[3];
        uint8_t ink[3] = { from[0], from[1], from[2] };
        for (int c = 0; c < 3; c++)
            to[c] = (uint8_t)(light - multiply_255(ink[c], light));
    }
    at_picture_shrink(p, 3);
}

/* Pillow's alpha_composite() over opaque white: seven more bits, rounded once. */
static inline uint8_t over_white_8(unsigned x, unsigned alpha)
{
    unsigned a = alpha * 128, t = x * a + 255 * (255 * 128 - a) + (128u << 7);
    return (uint8_t)((((t >> 8) + t) >> 8) >> 7);
}

static inline uint16_t over_white_16(uint64_t x, uint64_t alpha)
{
    return (uint16_t)((x * alpha + 65535 * (65535 - alpha) + 32767) / 65535);
}

void at_picture_alpha_on_white(at_picture *p)
{
    uint8_t *at = p->pixels;
    uint16_t *wide = p->pixels;
    for (int64_t i = 0; p->depth == 8 && i < pixel_count(p); i++, at += 4)
        for (int c = 0; c < 3; c++)
            at[c] = over_white_8(at[c], at[3]);
    for (int64_t i = 0; p->depth == 16 && i < pixel_count(p); i++, wide += 4)
        for (int c = 0; c < 3; c++)
            wide[c] = over_white_16(wide[c], wide[3]);
    at_picture_alpha_drop(p);
}

void at_picture_alpha_drop(at_picture *p)
{
    size_t sample = (size_t)(p->depth / 8);
    unsigned char *from = p->pixels, *to = p->pixels;
    for (int64_t i = 0; i < pixel_count(p); i++, from += 4 * sample, to += 3 * sample)
        memmove(to, from, 3 * sample);
    at_picture_shrink(p, 3);
}

void at_picture_premultiply(at_picture *p)
{
    uint8_t *at = p->pixels;
    for (int64_t i = 0; i < pixel_count(p); i++, at += 4)
        for (int c = 0; c < 3; c++)
            at[c] = (uint8_t)multiply_255(at[c], at[3]);
}

void at_picture_unpremultiply(at_picture *p)
{
    uint8_t *at = p->pixels;
    for (int64_t i = 0; i < pixel_count(p); i++, at += 4) {
        if (at[3] == 0 || at[3] == 255)
            continue;
        for (int c = 0; c < 3; c++) {
            unsigned v = 255u * at[c] / at[3];
            at[c] = (uint8_t)(v < 255 ? v : 255);
        }
    }
}

at_status at_picture_grey_to_rgb(at_picture *p, at_error *err)
{
    at_picture out = *p;
    out.channels = 3;
    out.pixels = malloc(at_picture_size(&out));
    if (!out.pixels)
        return at_picture_no_memory("grey to RGB", err);
    const uint8_t *from = p->pixels;
    const uint16_t *wide = p->pixels;
    uint8_t *to = out.pixels;
    uint16_t *to_wide = out.pixels;
    for (int64_t i = 0; p->depth == 8 && i < pixel_count(p); i++, to += 3)
        to[0] = to[1] = to[2] = from[i];
    for (int64_t i = 0; p->depth == 16 && i < pixel_count(p); i++, to_wide += 3)
        to_wide[0] = to_wide[1] = to_wide[2] = wide[i];
    free(p->pixels);
    *p = out;
    return AT_OK;
}

/* How a result is walked in the source: from 'start', 'right' bytes to the next pixel of a row,
 * 'down' to the next row. */
typedef struct walk {
    ptrdiff_t start, right, down;
} walk;

static walk walk_of(int orientation, int64_t width, int64_t height, int64_t pixel)
{
    bool turned = orientation >= 5;
    bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    bool from_below = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    int64_t row = width * pixel, x = from_right ? -pixel : pixel, y = from_below ? -row : row;
    walk w = { 0 };
    w.start = (ptrdiff_t)((from_right ? row - pixel : 0) + (from_below ? (height - 1) * row : 0));
    w.right = (ptrdiff_t)(turned ? y : x);
    w.down = (ptrdiff_t)(turned ? x : y);
    return w;
}

at_status at_picture_turn(at_picture *p, int orientation, at_error *err)
{
    if (orientation < 2 || orientation > 8)
        return AT_OK;
    size_t pixel = (size_t)(p->channels * (p->depth / 8));
    walk w = walk_of(orientation, p->width, p->height, (int64_t)pixel);
    unsigned char *out = malloc(at_picture_size(p)), *to = out;
    if (!out)
        return at_picture_no_memory("turning", err);
    int64_t height = orientation >= 5 ? p->width : p->height;
    int64_t width = orientation >= 5 ? p->height : p->width;
    for (int64_t y = 0; y < height; y++) {
        const unsigned char *from = (unsigned char *)p->pixels + w.start + y * w.down;
        for (int64_t x = 0; x < width; x++, to += pixel, from += w.right)
            memcpy(to, from, pixel);
    }
    free(p->pixels);
    p->pixels = out;
    p->width = width;
    p->height = height;
    return AT_OK;
}
