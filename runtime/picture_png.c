/* picture_png.c -- PNG through libpng.
 *
 * The chunks are walked before libpng sees them: sizes, the packing's bound (deflate makes at most
 * 1032 bytes of one), frames and a missing end are decided from their headers alone. Gamma is
 * ignored, as Pillow does. libpng must leave its own frames when something fails, and its way out
 * is longjmp: all of its calls that can fail run inside guarded(), whose callers keep their state
 * in a struct, so that no local variable is lost. */
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/picture_format.h"

enum {
    SIGNATURE_BYTES = 8,
    CHUNKS_MAX = AT_PICTURE_TEXTS_MAX, /* that libpng keeps, unpacked */
    DEFLATE_RATIO_MAX = 1032,          /* 258 bytes for two bits */
    IDAT_BYTES = 1 << 16,              /* of a chunk that is written */
};

typedef struct png_work {
    png_structp png;
    png_infop info;
    at_picture_load *load; /* where complaints go, and what is read */
    size_t at;             /* reading: of load->data */
    png_bytepp rows;
    at_picture_bytes *out; /* writing */
    const at_picture *picture;
    const at_picture_write_options *options;
} png_work;

/* --- libpng's callbacks ----------------------------------------------------------------------- */

static void on_error(png_structp png, png_const_charp what)
{
    png_work *w = png_get_error_ptr(png);
    snprintf(w->load->problem, sizeof w->load->problem, "%s", what);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp what)
{
    png_work *w = png_get_error_ptr(png);
    at_picture_warn(w->load, what);
}

static png_voidp on_malloc(png_structp png, png_alloc_size_t bytes)
{
    png_work *w = png_get_mem_ptr(png);
    void *p = malloc(bytes);
    w->load->no_memory = w->load->no_memory || !p;
    return p;
}

static void on_free(png_structp png, png_voidp p)
{
    (void)png;
    free(p);
}

static void on_read(png_structp png, png_bytep to, size_t bytes)
{
    png_work *w = png_get_io_ptr(png);
    if (bytes > w->load->bytes - w->at)
        png_error(png, "the data end too early");
    memcpy(to, w->load->data + w->at, bytes);
    w->at += bytes;
}

static void on_write(png_structp png, png_bytep from, size_t bytes)
{
    png_work *w = png_get_io_ptr(png);
    if (!at_picture_bytes_add(w->out, from, bytes)) {
        w->load->no_memory = true;
        png_error(png, "no memory");
    }
}

static void on_flush(png_structp png)
{
    (void)png;
}

/* Whether 'step' came to its end. */
static bool guarded(png_work *w, void (*step)(png_work *w))
{
    if (setjmp(png_jmpbuf(w->png)))
        return false;
    step(w);
    return true;
}

/* --- the chunks ------------------------------------------------------------------------------- */

typedef struct png_facts {
    int64_t width, height;
    int depth, colour;
    uint32_t frames; /* of an animation; 0: none */
    size_t packed;   /* bytes of pixels */
    bool ended;
} png_facts;

static uint32_t u32_at(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void take_chunk(png_facts *f, const unsigned char *type, const unsigned char *data,
                       uint32_t bytes)
{
    if (!memcmp(type, "IHDR", 4) && bytes == 13 && f->width == 0) { /* the one libpng takes */
        f->width = u32_at(data);
        f->height = u32_at(data + 4);
        f->depth = data[8];
        f->colour = data[9];
    }
    if (!memcmp(type, "acTL", 4) && bytes == 8)
        f->frames = u32_at(data);
    if (!memcmp(type, "IDAT", 4))
        f->packed += bytes;
    f->ended = !memcmp(type, "IEND", 4);
}

static at_status walk_chunks(at_picture_load *load, png_facts *f, at_error *err)
{
    size_t at = SIGNATURE_BYTES;
    while (!f->ended) {
        size_t left = load->bytes - at;
        uint32_t bytes = left >= 12 ? u32_at(load->data + at) : 0;
        if (left < 12 || bytes > left - 12)
            return at_fail(err, AT_CORRUPT, "%s: the png ends in a chunk at byte %zu of %zu",
                           load->name, at, load->bytes);
        take_chunk(f, load->data + at + 4, load->data + at + 8, bytes);
        at += 12 + (size_t)bytes;
    }
    return AT_OK;
}

static int samples_of(int colour)
{
    return colour == PNG_COLOR_TYPE_RGB          ? 3
           : colour == PNG_COLOR_TYPE_RGB_ALPHA  ? 4
           : colour == PNG_COLOR_TYPE_GRAY_ALPHA ? 2
                                                 : 1;
}

static at_status check_facts(at_picture_load *load, const png_facts *f, at_error *err)
{
    if (f->depth < 1 || f->depth > 16)
        return at_fail(err, AT_CORRUPT, "%s: the png has samples of %d bits, expected 1 to 16",
                       load->name, f->depth);
    if (f->frames > 1)
        return at_fail(err, AT_UNSUPPORTED,
                       "%s: an animated png of %u frames, expected one picture", load->name,
                       (unsigned)f->frames);
    double bytes_per_pixel = samples_of(f->colour) * f->depth / 8.0;
    AT_TRY(at_picture_accept(load, f->width, f->height, f->packed,
                             DEFLATE_RATIO_MAX / bytes_per_pixel, err));
    load->info.depth = f->depth;
    load->info.channels = f->colour == PNG_COLOR_TYPE_PALETTE ? 3 : samples_of(f->colour);
    return AT_OK;
}

/* --- reading ---------------------------------------------------------------------------------- */

static void read_head(png_work *w)
{
    png_set_read_fn(w->png, w, on_read);
    png_set_user_limits(w->png, AT_PICTURE_SIDE_MAX, AT_PICTURE_SIDE_MAX);
    png_set_chunk_cache_max(w->png, CHUNKS_MAX);
    png_set_chunk_malloc_max(w->png, AT_PICTURE_CHUNK_BYTES_MAX);
    png_read_info(w->png, w->info);
}

static bool little_endian(void)
{
    const uint16_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    return first == 1;
}

/* Asks for grey, RGB or RGBA of 8 or 16 bits. */
static void ask_samples(png_work *w)
{
    int colour = png_get_color_type(w->png, w->info);
    bool key = png_get_valid(w->png, w->info, PNG_INFO_tRNS) != 0;
    png_set_expand(w->png); /* palettes, fewer than 8 bits, transparent colours */
    if (colour == PNG_COLOR_TYPE_GRAY_ALPHA || (colour == PNG_COLOR_TYPE_GRAY && key))
        png_set_gray_to_rgb(w->png);
    if (!w->load->options.keep_16_bits)
        png_set_strip_16(w->png);
    else if (little_endian())
        png_set_swap(w->png);
    png_set_interlace_handling(w->png);
    png_read_update_info(w->png, w->info);
}

static void read_pixels(png_work *w)
{
    png_read_image(w->png, w->rows);
    png_read_end(w->png, w->info);
}

static at_status take_texts(png_work *w, at_error *err)
{
    png_textp text = NULL;
    int n = png_get_text(w->png, w->info, &text, NULL);
    for (int i = 0; i < n; i++) {
        bool utf8 = text[i].compression >= PNG_ITXT_COMPRESSION_NONE;
        size_t bytes = utf8 ? text[i].itxt_length : text[i].text_length;
        AT_TRY(at_picture_add_text(w->load, text[i].key, text[i].text, bytes, utf8, err));
    }
    return AT_OK;
}

/* Texts, EXIF and profile, wherever they stood. */
static at_status take_extras(png_work *w, at_error *err)
{
    png_charp name;
    png_bytep data = NULL;
    png_uint_32 bytes = 0;
    int packing;
    AT_TRY(take_texts(w, err));
    if (png_get_eXIf_1(w->png, w->info, &bytes, &data) && data)
        AT_TRY(at_picture_take_exif(w->load, data, bytes, err));
    data = NULL;
    if (png_get_iCCP(w->png, w->info, &name, &packing, &data, &bytes) && data)
        AT_TRY(at_picture_set_profile(w->load, data, bytes, err));
    return AT_OK;
}

static at_status read_image(png_work *w, at_error *err)
{
    at_picture_load *load = w->load;
    if (!guarded(w, ask_samples))
        return at_picture_damaged(load, err);
    int channels = png_get_channels(w->png, w->info), depth = png_get_bit_depth(w->png, w->info);
    AT_TRY(at_picture_room(load, channels, depth, err));
    size_t row = png_get_rowbytes(w->png, w->info), height = (size_t)load->info.height;
    if (row * png_get_image_height(w->png, w->info) != at_picture_size(&load->picture))
        return at_fail(err, AT_CORRUPT, "%s: damaged png: its head contradicts itself", load->name);
    w->rows = malloc(height * sizeof *w->rows);
    if (!w->rows)
        return at_picture_no_memory(load->name, err);
    for (size_t y = 0; y < height; y++)
        w->rows[y] = (png_bytep)load->picture.pixels + y * row;
    return guarded(w, read_pixels) ? AT_OK : at_picture_damaged(load, err);
}

at_status at_picture_png_read(at_picture_load *load, at_error *err)
{
    png_facts facts = { 0 };
    png_work w = { .load = load };
    if (load->bytes < SIGNATURE_BYTES || png_sig_cmp(load->data, 0, SIGNATURE_BYTES) != 0)
        return AT_NOT_FOUND;
    AT_TRY(walk_chunks(load, &facts, err));
    AT_TRY(check_facts(load, &facts, err));
    w.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &w, on_error, on_warning, &w, on_malloc,
                                     on_free);
    w.info = w.png ? png_create_info_struct(w.png) : NULL;
    at_status status = AT_OK;
    if (!w.info)
        status = at_picture_no_memory(load->name, err);
    else if (!guarded(&w, read_head))
        status = at_picture_damaged(load, err);
    else if (!load->head_only)
        status = read_image(&w, err);
    if (status == AT_OK)
        status = take_extras(&w, err);
    if (status == AT_OK && load->no_memory) /* libpng goes on without a chunk's memory */
        status = at_picture_no_memory(load->name, err);
    if (w.png)
        png_destroy_read_struct(&w.png, &w.info, NULL);
    free(w.rows);
    return status;
}

/* --- writing ---------------------------------------------------------------------------------- */

static bool is_ascii(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text >= 0x80)
            return false;
    return true;
}

static void write_texts(png_work *w)
{
    for (int i = 0; i < w->options->n_texts; i++) {
        const at_picture_text *from = &w->options->text[i];
        bool plain = is_ascii(from->text);
        png_text t = { .key = from->name, .text = from->text };
        t.compression = plain ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE;
        png_set_text(w->png, w->info, &t, 1);
    }
}

static void write_all(png_work *w)
{
    const at_picture *p = w->picture;
    int colour = p->channels == 1   ? PNG_COLOR_TYPE_GRAY
                 : p->channels == 3 ? PNG_COLOR_TYPE_RGB
                                    : PNG_COLOR_TYPE_RGB_ALPHA;
    size_t row = at_picture_size(p) / (size_t)p->height;
    png_set_write_fn(w->png, w, on_write, on_flush);
    png_set_IHDR(w->png, w->info, (png_uint_32)p->width, (png_uint_32)p->height, p->depth, colour,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_compression_level(w->png, w->options->level);
    png_set_compression_buffer_size(w->png, IDAT_BYTES);
    write_texts(w);
    png_write_info(w->png, w->info);
    if (p->depth == 16 && little_endian())
        png_set_swap(w->png);
    for (int64_t y = 0; y < p->height; y++)
        png_write_row(w->png, (png_const_bytep)p->pixels + (size_t)y * row);
    png_write_end(w->png, w->info);
}

at_status at_picture_png_write(at_picture_bytes *out, const at_picture *p,
                               const at_picture_write_options *options, at_error *err)
{
    at_picture_load complaints = { .name = "png" };
    png_work w = { .load = &complaints, .out = out, .picture = p, .options = options };
    w.png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, &w, on_error, on_warning, &w,
                                      on_malloc, on_free);
    w.info = w.png ? png_create_info_struct(w.png) : NULL;
    at_status status = AT_OK;
    bool written = w.info && guarded(&w, write_all);
    if (!w.info || complaints.no_memory)
        status = at_picture_no_memory("png", err);
    else if (!written)
        status =
            at_fail(err, AT_IO, "png: libpng could not write the picture: %s", complaints.problem);
    if (w.png)
        png_destroy_write_struct(&w.png, &w.info);
    return status;
}

void at_picture_png_version(char *text, size_t text_size)
{
    snprintf(text, text_size, "%s", png_get_libpng_ver(NULL));
}
