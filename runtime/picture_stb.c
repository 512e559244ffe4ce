/* picture_stb.c -- BMP, GIF and TGA through stb_image.
 *
 * stb_image fills what is missing with zeros and knows no limits, so that everything it relies upon
 * is checked here first: that the dimensions are accepted, that samples or packets are there to the
 * last one, and that a GIF has one frame and its end. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/picture_format.h"

/* The largest that accepted dimensions need, and a little for tables. */
#define STB_BYTES_MAX ((size_t)AT_PICTURE_PIXELS_MAX * 8)

static void *stb_malloc(size_t bytes)
{
    return bytes <= STB_BYTES_MAX ? malloc(bytes) : NULL;
}

static void *stb_realloc(void *p, size_t bytes)
{
    return bytes <= STB_BYTES_MAX ? realloc(p, bytes) : NULL;
}

#define STBI_MALLOC(bytes)     stb_malloc(bytes)
#define STBI_REALLOC(p, bytes) stb_realloc(p, bytes)
#define STBI_FREE(p)           free(p)
#define STBI_ASSERT(x)         ((void)sizeof(x))
#define STBI_ONLY_BMP
#define STBI_ONLY_GIF
#define STBI_ONLY_TGA
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
/* Judged at the end of the file, when what was ignored in between is warned about again. */
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

static unsigned u16_at(const unsigned char *p)
{
    return (unsigned)p[0] | (unsigned)p[1] << 8;
}

static uint32_t u32_at(const unsigned char *p)
{
    return u16_at(p) | (uint32_t)u16_at(p + 2) << 16;
}

static at_status cut(const at_picture_load *load, at_error *err)
{
    return at_fail(err, AT_CORRUPT, "%s: the %s ends before its last pixel, after %zu bytes",
                   load->name, at_picture_format_name(load->info.format), load->bytes);
}

/* Decodes to load->info.channels, of which grey and alpha become four. */
static at_status decode(at_picture_load *load, at_error *err)
{
    int width, height, found, channels = load->info.channels == 2 ? 4 : load->info.channels;
    if (load->head_only)
        return AT_OK;
    if (load->bytes > INT_MAX)
        return at_fail(err, AT_UNSUPPORTED, "%s: %zu bytes, the limit here is %d", load->name,
                       load->bytes, INT_MAX);
    unsigned char *pixels =
        stbi_load_from_memory(load->data, (int)load->bytes, &width, &height, &found, channels);
    if (!pixels) {
        const char *reason = stbi_failure_reason();
        snprintf(load->problem, sizeof load->problem, "%s", reason ? reason : "no reason given");
        load->no_memory = !strcmp(load->problem, "outofmem");
        return at_picture_damaged(load, err);
    }
    load->picture = (at_picture){ width, height, channels, 8, pixels, { .format = 0 } };
    if (width == load->info.width && height == load->info.height)
        return AT_OK;
    return at_fail(err, AT_CORRUPT, "%s: the %s has %d x %d pixels, its head says %lld x %lld",
                   load->name, at_picture_format_name(load->info.format), width, height,
                   (long long)load->info.width, (long long)load->info.height);
}

/* --- BMP -------------------------------------------------------------------------------------- */

enum { BMP_PLAIN = 0, BMP_BITFIELDS = 3, BMP_OLD_HEAD = 12, BMP_HEAD = 40, BMP_HEAD_ALPHA = 56 };

typedef struct bmp {
    uint32_t offset, head, packing;
    int64_t width, height;
    unsigned bits;
    bool has_alpha;
} bmp;

/* False: no head that is known. */
static bool bmp_head(const at_picture_load *load, bmp *b)
{
    const unsigned char *d = load->data;
    b->offset = u32_at(d + 10);
    b->head = u32_at(d + 14);
    bool old = b->head == BMP_OLD_HEAD;
    if ((!old && b->head < BMP_HEAD) || load->bytes - 14 < b->head)
        return false;
    b->width = old ? (int64_t)u16_at(d + 18) : (int32_t)u32_at(d + 18);
    b->height = old ? (int64_t)u16_at(d + 20) : (int32_t)u32_at(d + 22);
    b->height = b->height < 0 ? -b->height : b->height; /* from the top down */
    b->bits = u16_at(d + (old ? 24 : 28));
    b->packing = old ? BMP_PLAIN : u32_at(d + 30);
    b->has_alpha = b->packing == BMP_BITFIELDS && b->bits == 32 && b->head >= BMP_HEAD_ALPHA &&
                   u32_at(d + 66) != 0;
    return true;
}

at_status at_picture_bmp_read(at_picture_load *load, at_error *err)
{
    bmp b;
    if (load->bytes < 2 || memcmp(load->data, "BM", 2) != 0)
        return AT_NOT_FOUND;
    if (load->bytes < 30 || !bmp_head(load, &b))
        return at_fail(err, AT_CORRUPT, "%s: the bmp has no head that is known", load->name);
    bool known =
        b.bits == 1 || b.bits == 4 || b.bits == 8 || b.bits == 16 || b.bits == 24 || b.bits == 32;
    if (!known || (b.packing != BMP_PLAIN && b.packing != BMP_BITFIELDS))
        return at_fail(err, AT_UNSUPPORTED,
                       "%s: a bmp of %u bits and packing %u, expected 1 to 32 bits, not packed",
                       load->name, b.bits, (unsigned)b.packing);
    AT_TRY(at_picture_accept(load, b.width, b.height, load->bytes, 8.0 / b.bits, err));
    load->info.depth = b.bits < 8 ? (int)b.bits : 8;
    load->info.channels = b.has_alpha ? 4 : 3;
    size_t row = ((size_t)b.width * b.bits + 31) / 32 * 4;
    if (b.offset > load->bytes || row * (size_t)b.height > load->bytes - b.offset)
        return cut(load, err);
    return decode(load, err);
}

/* --- GIF -------------------------------------------------------------------------------------- */

/* A code of 12 bits stands for up to 4096 pixels. */
enum { GIF_HEAD_BYTES = 13, GIF_FRAME_BYTES = 10, GIF_PIXELS_PER_BYTE_MAX = 4096 };

typedef struct gif {
    int64_t width, height;
    int frames;
    bool transparent, covered; /* a frame as large as the picture */
} gif;

static size_t gif_table_bytes(unsigned flags)
{
    return flags & 0x80 ? (size_t)3 << ((flags & 7) + 1) : 0;
}

/* The position behind the blocks at 'at', the last of which is empty; the end when they are cut. */
static size_t gif_skip_blocks(const at_picture_load *load, size_t at)
{
    while (at < load->bytes && load->data[at] != 0)
        at += (size_t)load->data[at] + 1;
    return at < load->bytes ? at + 1 : load->bytes;
}

static void gif_frame(gif *g, const unsigned char *d)
{
    g->frames++;
    g->covered = u16_at(d + 1) == 0 && u16_at(d + 3) == 0 && u16_at(d + 5) == g->width &&
                 u16_at(d + 7) == g->height;
}

/* Walks to the trailer; false: it is not there, or something else is. */
static bool gif_walk(const at_picture_load *load, gif *g)
{
    const unsigned char *d = load->data;
    size_t at = GIF_HEAD_BYTES + gif_table_bytes(d[10]);
    while (at < load->bytes && g->frames < 2) {
        size_t left = load->bytes - at;
        if (d[at] == 0x3B)
            return true;
        if (d[at] == 0x21 && left > 2) {
            if (d[at + 1] == 0xF9 && left > 3 && g->frames == 0)
                g->transparent = d[at + 3] & 1;
            at = gif_skip_blocks(load, at + 2);
        } else if (d[at] == 0x2C && left > GIF_FRAME_BYTES) {
            gif_frame(g, d + at);
            at = gif_skip_blocks(load, at + GIF_FRAME_BYTES + gif_table_bytes(d[at + 9]) + 1);
        } else {
            return false;
        }
    }
    return g->frames > 1;
}

at_status at_picture_gif_read(at_picture_load *load, at_error *err)
{
    gif g = { 0 };
    if (load->bytes < GIF_HEAD_BYTES ||
        (memcmp(load->data, "GIF87a", 6) != 0 && memcmp(load->data, "GIF89a", 6) != 0))
        return AT_NOT_FOUND;
    g.width = u16_at(load->data + 6);
    g.height = u16_at(load->data + 8);
    if (!gif_walk(load, &g) || g.frames == 0)
        return cut(load, err);
    if (g.frames > 1)
        return at_fail(err, AT_UNSUPPORTED, "%s: an animated gif, expected one picture",
                       load->name);
    AT_TRY(at_picture_accept(load, g.width, g.height, load->bytes, GIF_PIXELS_PER_BYTE_MAX, err));
    load->info.depth = 8;
    load->info.channels = g.transparent || !g.covered ? 4 : 3;
    return decode(load, err);
}

/* --- TGA -------------------------------------------------------------------------------------- */

enum { TGA_HEAD_BYTES = 18, TGA_PACKED = 8, TGA_FROM_RIGHT = 0x10, TGA_PACKET_MAX = 128 };

typedef struct tga {
    unsigned kind, bits; /* kind: 1 palette, 2 RGB, 3 grey, and TGA_PACKED */
    int64_t width, height;
    size_t at; /* of the pixels */
} tga;

/* TGA has no mark: everything that can be wrong with a head is asked. */
static bool tga_head(const at_picture_load *load, tga *t)
{
    const unsigned char *d = load->data;
    if (load->bytes < TGA_HEAD_BYTES)
        return false;
    unsigned kind = d[2] & ~(unsigned)TGA_PACKED, table_bits = d[7];
    bool table = kind == 1;
    t->kind = d[2];
    t->bits = d[16];
    t->width = u16_at(d + 12);
    t->height = u16_at(d + 14);
    t->at = TGA_HEAD_BYTES + d[0] + (table ? (size_t)u16_at(d + 5) * ((table_bits + 7) / 8) : 0);
    bool fits = table       ? t->bits == 8 && (table_bits == 24 || table_bits == 32)
                : kind == 2 ? t->bits == 16 || t->bits == 24 || t->bits == 32
                            : t->bits == 8;
    return kind >= 1 && kind <= 3 && fits && d[1] == (table ? 1 : 0) && !(d[17] & 0xC0) &&
           t->width > 0 && t->height > 0;
}

/* Whether all pixels of runs and literal packets are there. */
static bool tga_packets_fit(const at_picture_load *load, const tga *t)
{
    size_t at = t->at, pixel = t->bits / 8;
    for (int64_t left = t->width * t->height; left > 0;) {
        if (at >= load->bytes)
            return false;
        int64_t n = (load->data[at] & 0x7F) + 1;
        at += 1 + pixel * (load->data[at] & 0x80 ? 1 : (size_t)n);
        left -= n;
    }
    return at <= load->bytes;
}

at_status at_picture_tga_read(at_picture_load *load, at_error *err)
{
    tga t;
    if (!tga_head(load, &t))
        return AT_NOT_FOUND;
    if (load->data[17] & TGA_FROM_RIGHT)
        return at_fail(err, AT_UNSUPPORTED, "%s: a tga with rows from right to left", load->name);
    bool packed = (t.kind & TGA_PACKED) != 0;
    double bytes_per_pixel = packed ? (t.bits / 8 + 1.0) / TGA_PACKET_MAX : t.bits / 8;
    AT_TRY(at_picture_accept(load, t.width, t.height, load->bytes, 1 / bytes_per_pixel, err));
    unsigned bits = (t.kind & 3) == 1 ? load->data[7] : t.bits;
    load->info.depth = bits == 16 ? 5 : 8;
    load->info.channels = bits == 8 ? 1 : bits == 32 ? 4 : 3;
    size_t plain = (size_t)(t.width * t.height) * (t.bits / 8);
    bool whole =
        t.at <= load->bytes && (packed ? tga_packets_fit(load, &t) : plain <= load->bytes - t.at);
    return whole ? decode(load, err) : cut(load, err);
}

/* Its header says one in a comment only. */
void at_picture_stb_version(char *text, size_t text_size)
{
    snprintf(text, text_size, "%s", "");
}
