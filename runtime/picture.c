/* picture.c -- the formats tried in turn, limits, and what is done to pixels after decoding:
 * colours to sRGB, then alpha, then the turn, so that every step sees the fewest bytes it can. */
#include "runtime/picture.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/file.h"
#include "runtime/exif.h"
#include "runtime/picture_format.h"

/* What stands in for a library that this build lacks. */
#if defined(AT_HAS_LIBWEBP)
#define AT_PICTURE_WEBP_READ    at_picture_webp_read
#define AT_PICTURE_WEBP_VERSION at_picture_webp_version
#else
#define AT_PICTURE_WEBP_READ    NULL
#define AT_PICTURE_WEBP_VERSION NULL
#endif
#if defined(AT_HAS_STB)
#define AT_PICTURE_BMP_READ    at_picture_bmp_read
#define AT_PICTURE_GIF_READ    at_picture_gif_read
#define AT_PICTURE_TGA_READ    at_picture_tga_read
#define AT_PICTURE_STB_VERSION at_picture_stb_version
#else
#define AT_PICTURE_BMP_READ    NULL
#define AT_PICTURE_GIF_READ    NULL
#define AT_PICTURE_TGA_READ    NULL
#define AT_PICTURE_STB_VERSION NULL
#endif
#if defined(AT_HAS_LCMS2)
#define AT_PICTURE_TO_SRGB      at_picture_to_srgb_lcms
#define AT_PICTURE_LCMS_VERSION at_picture_lcms_version
#else
#define AT_PICTURE_TO_SRGB      NULL
#define AT_PICTURE_LCMS_VERSION NULL
#endif

typedef struct picture_format {
    const char *name, *endings;
    at_picture_reader read;
    at_picture_writer write;
} picture_format;

static const picture_format formats[] = {
    { "unknown", "", NULL, NULL },
#define AT_PICTURE_FORMAT(NAME, name, endings, read, write) { name, endings, read, write },
#include "runtime/formats.def"
#undef AT_PICTURE_FORMAT
};

static const at_picture_library libraries[] = {
    { "libpng", "PNG pictures", at_picture_png_version },
    { "libjpeg-turbo", "JPEG pictures", at_picture_jpeg_version },
    { "libwebp", "reading of WebP pictures", AT_PICTURE_WEBP_VERSION },
    { "stb", "reading of BMP, GIF and TGA pictures", AT_PICTURE_STB_VERSION },
    { "lcms2", "conversion of colour profiles to sRGB", AT_PICTURE_LCMS_VERSION },
};

/* Of quality, Pillow's; of PNG's effort, less than its 6: 1080p takes 0.3 s instead of 0.6 to 1.1 s
 * and a photograph grows by 6 to 8 % (a Xeon with AVX-512, libpng 1.6.39, zlib 1.2.13). */
enum { QUALITY = 75, LEVEL = 4 };

static bool (*const to_srgb)(at_picture_load *load) = AT_PICTURE_TO_SRGB;

/* --- what readers use ------------------------------------------------------------------------- */

at_status at_picture_no_memory(const char *name, at_error *err)
{
    return at_fail(err, AT_NO_MEMORY, "%s: no memory for the picture", name);
}

at_status at_picture_damaged(const at_picture_load *load, at_error *err)
{
    if (load->no_memory)
        return at_picture_no_memory(load->name, err);
    return at_fail(err, AT_CORRUPT, "%s: damaged %s: %s", load->name,
                   at_picture_format_name(load->info.format), load->problem);
}

void at_picture_warn(at_picture_load *load, const char *what)
{
    if (!load->info.warning[0])
        snprintf(load->info.warning, sizeof load->info.warning, "%s", what);
}

at_status at_picture_accept(at_picture_load *load, int64_t width, int64_t height, size_t bytes,
                            double pixels_per_byte, at_error *err)
{
    enum { SLACK = 4096 }; /* headers that a rule of bytes would have to know */
    const char *format = at_picture_format_name(load->info.format);
    if (width < 1 || height < 1 || width > AT_PICTURE_SIDE_MAX || height > AT_PICTURE_SIDE_MAX)
        return at_fail(err, AT_CORRUPT,
                       "%s: the %s has %lld x %lld pixels, expected 1 to %d a side", load->name,
                       format, (long long)width, (long long)height, AT_PICTURE_SIDE_MAX);
    if (width * height > load->options.pixels_max)
        return at_fail(err, AT_UNSUPPORTED, "%s: the %s has %lld x %lld pixels, the limit is %lld",
                       load->name, format, (long long)width, (long long)height,
                       (long long)load->options.pixels_max);
    if ((double)(width * height) > pixels_per_byte * (double)bytes + SLACK)
        return at_fail(err, AT_CORRUPT,
                       "%s: the %s has %lld x %lld pixels, more than %zu bytes hold", load->name,
                       format, (long long)width, (long long)height, bytes);
    load->info.width = width;
    load->info.height = height;
    return AT_OK;
}

at_status at_picture_room(at_picture_load *load, int channels, int depth, at_error *err)
{
    at_picture *p = &load->picture;
    p->width = load->info.width;
    p->height = load->info.height;
    p->channels = channels;
    p->depth = depth;
    p->pixels = malloc(at_picture_size(p));
    return p->pixels ? AT_OK : at_picture_no_memory(load->name, err);
}

at_status at_picture_set_profile(at_picture_load *load, const void *profile, size_t bytes,
                                 at_error *err)
{
    load->info.has_profile = true;
    if (load->head_only || load->options.keep_profile || load->profile || bytes == 0)
        return AT_OK;
    load->profile = malloc(bytes);
    if (!load->profile)
        return at_picture_no_memory(load->name, err);
    memcpy(load->profile, profile, bytes);
    load->profile_bytes = bytes;
    return AT_OK;
}

at_status at_picture_take_exif(at_picture_load *load, const unsigned char *exif, size_t bytes,
                               at_error *err)
{
    at_exif found;
    if (!at_exif_read(&found, exif, bytes))
        at_picture_warn(load, "the EXIF block is damaged");
    load->info.orientation = found.orientation;
    for (int i = 0; i < found.n_texts; i++)
        AT_TRY(at_picture_add_text(load, found.text[i].name, found.text[i].text,
                                   found.text[i].bytes, true, err));
    return AT_OK;
}

/* --- texts ------------------------------------------------------------------------------------ */

/* Bytes of the UTF-8 sequence at 's', of which 'n' bytes are there; 0: it is none. */
static size_t utf8_length(const unsigned char *s, size_t n)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    size_t length = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : 4;
    if (length == 1)
        return 1;
    if (length > n || (length == 4 && s[0] >> 3 != 30))
        return 0;
    uint32_t code = s[0] & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xC0) != 0x80)
            return 0;
        code = code << 6 | (s[i] & 0x3Fu);
    }
    bool fine = code >= least[length] && code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF);
    return fine ? length : 0;
}

static bool is_all_utf8(const unsigned char *s, size_t n)
{
    size_t step = 1;
    for (size_t i = 0; i < n && step > 0; i += step)
        step = utf8_length(s + i, n - i);
    return step > 0;
}

/* A copy in UTF-8; 'room' is counted down. NULL: no memory. */
static char *copy_text(const unsigned char *s, size_t n, bool is_utf8)
{
    bool keep = is_utf8 && is_all_utf8(s, n);
    unsigned char *out = malloc(2 * n + 1), *to = out;
    if (!out)
        return NULL;
    for (size_t i = 0; i < n; i++)
        if (keep || s[i] < 0x80) {
            *to++ = s[i];
        } else {
            *to++ = (unsigned char)(0xC0 | s[i] >> 6);
            *to++ = (unsigned char)(0x80 | (s[i] & 0x3F));
        }
    *to = 0;
    return (char *)out;
}

at_status at_picture_add_text(at_picture_load *load, const char *name, const void *text,
                              size_t bytes, bool is_utf8, at_error *err)
{
    at_picture_info *info = &load->info;
    const unsigned char *end = bytes ? memchr(text, 0, bytes) : NULL;
    bytes = end ? (size_t)(end - (const unsigned char *)text) : bytes;
    size_t name_bytes = strlen(name);
    if (info->n_texts == AT_PICTURE_TEXTS_MAX ||
        bytes + name_bytes > AT_PICTURE_TEXT_BYTES_MAX - load->text_bytes) {
        at_picture_warn(load, "texts beyond the limit were left out");
        return AT_OK;
    }
    if (!info->text)
        info->text = calloc(AT_PICTURE_TEXTS_MAX, sizeof *info->text);
    if (!info->text)
        return at_picture_no_memory(load->name, err);
    load->text_bytes += bytes + name_bytes;
    at_picture_text *t = &info->text[info->n_texts++];
    t->name = copy_text((const unsigned char *)name, name_bytes, false);
    t->text = copy_text(text, bytes, is_utf8);
    return t->name && t->text ? AT_OK : at_picture_no_memory(load->name, err);
}

const char *at_picture_text_of(const at_picture_info *info, const char *name)
{
    for (int i = 0; i < info->n_texts; i++)
        if (!strcmp(info->text[i].name, name))
            return info->text[i].text;
    return NULL;
}

void at_picture_info_free(at_picture_info *info)
{
    for (int i = 0; i < info->n_texts; i++) {
        free(info->text[i].name);
        free(info->text[i].text);
    }
    free(info->text);
    info->text = NULL;
    info->n_texts = 0;
}

void at_picture_free(at_picture *p)
{
    at_picture_info_free(&p->info);
    free(p->pixels);
    p->pixels = NULL;
}

/* --- reading ---------------------------------------------------------------------------------- */

static void load_free(at_picture_load *load)
{
    at_picture_info_free(&load->info);
    free(load->picture.pixels);
    free(load->profile);
}

static at_status unknown_format(const at_picture_load *load, at_error *err)
{
    char list[96];
    int used = 0;
    for (size_t i = 1; i < AT_COUNT(formats); i++)
        if (formats[i].read)
            used += snprintf(list + used, sizeof list - (size_t)used, "%s%s", used ? ", " : "",
                             formats[i].name);
    return at_fail(err, AT_UNSUPPORTED, "%s: %s is no picture that this build reads (%s)",
                   load->name, load->bytes ? "this" : "an empty file", list);
}

/* Decodes with the first reader that knows the bytes. */
static at_status read_any(at_picture_load *load, at_error *err)
{
    for (size_t i = 1; i < AT_COUNT(formats); i++) {
        if (!formats[i].read)
            continue;
        load->info = (at_picture_info){ .format = (at_picture_format_id)i, .orientation = 1 };
        at_status status = formats[i].read(load, err);
        if (status != AT_NOT_FOUND)
            return status;
    }
    return unknown_format(load, err);
}

static at_status convert_colours(at_picture_load *load, at_error *err)
{
    at_picture_info *info = &load->info;
    if (load->profile && to_srgb)
        info->profile_used = to_srgb(load);
    else if (load->profile)
        at_picture_warn(load, "this build cannot use the colour profile");
    if (load->no_memory)
        return at_picture_no_memory(load->name, err);
    if (info->is_cmyk && load->picture.channels == 4)
        at_picture_cmyk_to_rgb(&load->picture);
    return AT_OK;
}

static at_status finish(at_picture_load *load, at_error *err)
{
    at_picture *p = &load->picture;
    AT_TRY(convert_colours(load, err));
    if (p->channels == 4 && load->options.alpha == AT_ALPHA_ON_WHITE)
        at_picture_alpha_on_white(p);
    if (p->channels == 4 && load->options.alpha == AT_ALPHA_DROP)
        at_picture_alpha_drop(p);
    if (!load->options.keep_orientation)
        AT_TRY(at_picture_turn(p, load->info.orientation, err));
    return p->channels == 1 && load->options.rgb ? at_picture_grey_to_rgb(p, err) : AT_OK;
}

static at_picture_options without_zeros(const at_picture_options *options)
{
    at_picture_options o = options ? *options : (at_picture_options){ 0 };
    o.pixels_max = o.pixels_max > 0 ? o.pixels_max : AT_PICTURE_PIXELS_MAX;
    o.bytes_max = o.bytes_max > 0 ? o.bytes_max : AT_PICTURE_BYTES_MAX;
    return o;
}

static at_status load_bytes(at_picture_load *load, at_error *err)
{
    if (load->bytes > load->options.bytes_max)
        return at_fail(err, AT_UNSUPPORTED, "%s: %zu bytes, the limit for a picture is %llu",
                       load->name, load->bytes, (unsigned long long)load->options.bytes_max);
    at_status status = read_any(load, err);
    if (status == AT_OK && !load->head_only)
        status = finish(load, err);
    if (status != AT_OK)
        load_free(load);
    return status;
}

/* The whole file in memory: mapped, it could shrink while it is decoded. */
static at_status read_file(unsigned char **data, size_t *bytes, const char *path,
                           const at_picture_options *options, at_error *err)
{
    at_file f;
    uint64_t limit = without_zeros(options).bytes_max;
    AT_TRY(at_file_open(&f, path, err));
    at_status status = AT_OK;
    *bytes = (size_t)f.bytes;
    *data = NULL;
    if (f.bytes > limit)
        status = at_fail(err, AT_UNSUPPORTED, "%s: %llu bytes, the limit for a picture is %llu",
                         path, (unsigned long long)f.bytes, (unsigned long long)limit);
    else if (!(*data = malloc(*bytes + 1)))
        status = at_picture_no_memory(path, err);
    else
        status = at_file_read(&f, 0, *data, *bytes, err);
    at_file_close(&f);
    if (status != AT_OK)
        free(*data);
    return status;
}

at_status at_picture_decode(at_picture *out, const void *bytes, size_t n, const char *name,
                            const at_picture_options *options, at_error *err)
{
    at_picture_load load = { .data = bytes, .bytes = n, .name = name ? name : "the picture" };
    load.options = without_zeros(options);
    AT_TRY(load_bytes(&load, err));
    free(load.profile);
    *out = load.picture;
    out->info = load.info;
    return AT_OK;
}

at_status at_picture_read(at_picture *out, const char *path, const at_picture_options *options,
                          at_error *err)
{
    unsigned char *data;
    size_t bytes;
    AT_TRY(read_file(&data, &bytes, path, options, err));
    at_status status = at_picture_decode(out, data, bytes, path, options, err);
    free(data);
    return status;
}

at_status at_picture_about_bytes(at_picture_info *out, const void *bytes, size_t n,
                                 const char *name, const at_picture_options *options, at_error *err)
{
    at_picture_load load = { .data = bytes, .bytes = n, .name = name ? name : "the picture" };
    load.options = without_zeros(options);
    load.head_only = true;
    AT_TRY(load_bytes(&load, err));
    *out = load.info;
    return AT_OK;
}

at_status at_picture_about(at_picture_info *out, const char *path,
                           const at_picture_options *options, at_error *err)
{
    unsigned char *data;
    size_t bytes;
    AT_TRY(read_file(&data, &bytes, path, options, err));
    at_status status = at_picture_about_bytes(out, data, bytes, path, options, err);
    free(data);
    return status;
}

/* --- writing ---------------------------------------------------------------------------------- */

bool at_picture_bytes_grow(at_picture_bytes *b, size_t n)
{
    if (n <= b->room - b->bytes)
        return true;
    size_t room = b->room < 4096 ? 4096 : b->room;
    while (room - b->bytes < n && room <= SIZE_MAX / 2)
        room *= 2;
    void *data = room - b->bytes >= n ? realloc(b->data, room) : NULL;
    if (!data)
        return false;
    b->data = data;
    b->room = room;
    return true;
}

bool at_picture_bytes_add(at_picture_bytes *b, const void *data, size_t n)
{
    if (!at_picture_bytes_grow(b, n))
        return false;
    memcpy(b->data + b->bytes, data, n);
    b->bytes += n;
    return true;
}

void at_picture_bytes_free(at_picture_bytes *b)
{
    free(b->data);
    *b = (at_picture_bytes){ 0 };
}

const char *at_picture_format_name(at_picture_format_id format)
{
    return (size_t)format < AT_COUNT(formats) ? formats[format].name : "unknown";
}

bool at_picture_reads(at_picture_format_id format)
{
    return (size_t)format < AT_COUNT(formats) && formats[format].read != NULL;
}

bool at_picture_converts_colours(void)
{
    return to_srgb != NULL;
}

const at_picture_library *at_picture_library_at(int i)
{
    return i >= 0 && (size_t)i < AT_COUNT(libraries) ? &libraries[i] : NULL;
}

static bool is_one_of(const char *list, const char *word, size_t n)
{
    for (; *list; list += strcspn(list, "|"), list += *list == '|')
        if (strcspn(list, "|") == n && !strncasecmp(list, word, n))
            return true;
    return false;
}

at_picture_format_id at_picture_format_of(const char *path)
{
    const char *dot = strrchr(path, '.');
    for (size_t i = 1; dot && i < AT_COUNT(formats); i++)
        if (is_one_of(formats[i].endings, dot + 1, strlen(dot + 1)))
            return (at_picture_format_id)i;
    return AT_PICTURE_UNKNOWN;
}

static at_status check_text(const at_picture_text *t, at_error *err)
{
    size_t n = strlen(t->name), bytes = strlen(t->text);
    if (n < 1 || n > AT_PICTURE_KEYWORD_MAX)
        return at_fail(err, AT_INVALID,
                       "a picture's text has a name of %zu bytes, expected 1 to %d", n,
                       AT_PICTURE_KEYWORD_MAX);
    for (size_t i = 0; i < n; i++)
        if (t->name[i] < 0x20 || t->name[i] > 0x7E || (t->name[i] == ' ' && (i == 0 || i == n - 1)))
            return at_fail(err, AT_INVALID,
                           "the name \"%s\" of a picture's text is not plain ASCII", t->name);
    if (bytes > AT_PICTURE_TEXT_BYTES_MAX)
        return at_fail(err, AT_INVALID, "the picture's text \"%s\" has %zu bytes, the limit is %d",
                       t->name, bytes, AT_PICTURE_TEXT_BYTES_MAX);
    if (!is_all_utf8((const unsigned char *)t->text, bytes))
        return at_fail(err, AT_INVALID, "the picture's text \"%s\" is not UTF-8", t->name);
    return AT_OK;
}

static at_status check_to_write(const at_picture *p, const at_picture_write_options *o,
                                at_error *err)
{
    if (p->width < 1 || p->height < 1 || p->width > AT_PICTURE_SIDE_MAX ||
        p->height > AT_PICTURE_SIDE_MAX)
        return at_fail(err, AT_INVALID, "a picture of %lld x %lld, expected 1 to %d a side",
                       (long long)p->width, (long long)p->height, AT_PICTURE_SIDE_MAX);
    if ((p->channels != 1 && p->channels != 3 && p->channels != 4) ||
        (p->depth != 8 && p->depth != 16))
        return at_fail(err, AT_INVALID,
                       "a picture of %d channels of %d bits, expected 1, 3 or 4 of 8 or 16",
                       p->channels, p->depth);
    if (o->quality < 0 || o->quality > 100 || o->level < 0 || o->level > 9)
        return at_fail(err, AT_INVALID,
                       "quality %d and level %d of a picture, expected 0 to 100 and 0 to 9",
                       o->quality, o->level);
    if (o->n_texts < 0 || o->n_texts > AT_PICTURE_TEXTS_MAX)
        return at_fail(err, AT_INVALID, "%d texts for a picture, the limit is %d", o->n_texts,
                       AT_PICTURE_TEXTS_MAX);
    for (int i = 0; i < o->n_texts; i++)
        AT_TRY(check_text(&o->text[i], err));
    return AT_OK;
}

at_status at_picture_encode(at_picture_bytes *out, const at_picture *p,
                            const at_picture_write_options *options, at_error *err)
{
    at_picture_write_options o = options ? *options : (at_picture_write_options){ 0 };
    const char *name = at_picture_format_name(o.format);
    if ((size_t)o.format >= AT_COUNT(formats) || !formats[o.format].write)
        return at_fail(err, AT_UNSUPPORTED, "pictures are not written as %s, only as png or jpeg",
                       name);
    AT_TRY(check_to_write(p, &o, err));
    o.quality = o.quality ? o.quality : QUALITY;
    o.level = o.level ? o.level : LEVEL;
    size_t before = out->bytes;
    at_status status = formats[o.format].write(out, p, &o, err);
    if (status != AT_OK)
        out->bytes = before;
    return status;
}

at_status at_picture_write(const char *path, const at_picture *p,
                           const at_picture_write_options *options, at_error *err)
{
    at_picture_write_options o = options ? *options : (at_picture_write_options){ 0 };
    at_picture_bytes bytes = { 0 };
    at_draft *draft = NULL;
    if (o.format == AT_PICTURE_UNKNOWN)
        o.format = at_picture_format_of(path);
    if (o.format == AT_PICTURE_UNKNOWN)
        return at_fail(err, AT_INVALID, "%s: its ending names no format, expected .png or .jpg",
                       path);
    at_status status = at_picture_encode(&bytes, p, &o, err);
    if (status == AT_OK)
        status = at_draft_new(&draft, path, err);
    if (status == AT_OK)
        status = at_draft_write(draft, 0, bytes.data, bytes.bytes, err);
    if (status == AT_OK)
        status = at_draft_publish(draft, err);
    if (draft)
        at_draft_free(draft);
    at_picture_bytes_free(&bytes);
    return status;
}
