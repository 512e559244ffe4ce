/* picture_webp.c -- WebP through libwebp's decoder, with its defaults, which are Pillow's.
 *
 * The RIFF chunks around the pixels are walked here: what is animated or cut is known from them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <webp/decode.h>

#include "runtime/picture_format.h"

enum {
    RIFF_BYTES = 12,
    FORMAT_LOSSY = 1, /* of WebPBitstreamFeatures */
    /* A macroblock of 256 pixels takes two bits or more: its modes have fixed probabilities. */
    LOSSY_PIXELS_PER_BYTE_MAX = 2048,
    /* One colour costs no bits at all in the lossless format; libwebp's own encoder makes up to
     * 26 thousand pixels of a byte then (64 to 8000 pixels a side). */
    LOSSLESS_PIXELS_PER_BYTE_MAX = 1 << 16,
};

static size_t u32_at(const unsigned char *p)
{
    return (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
}

static at_status take_chunk(at_picture_load *load, const unsigned char *chunk, size_t bytes,
                            at_error *err)
{
    const unsigned char *data = chunk + 8;
    if (!memcmp(chunk, "ANIM", 4) || !memcmp(chunk, "ANMF", 4))
        return at_fail(err, AT_UNSUPPORTED, "%s: an animated webp, expected one picture",
                       load->name);
    if (!memcmp(chunk, "ICCP", 4))
        return at_picture_set_profile(load, data, bytes, err);
    if (!memcmp(chunk, "EXIF", 4)) {
        size_t mark = bytes > 6 && !memcmp(data, "Exif\0", 6) ? 6 : 0; /* some writers repeat it */
        return at_picture_take_exif(load, data + mark, bytes - mark, err);
    }
    return AT_OK;
}

static at_status walk_chunks(at_picture_load *load, at_error *err)
{
    size_t end = u32_at(load->data + 4) + 8, at = RIFF_BYTES;
    if (end > load->bytes)
        return at_fail(err, AT_CORRUPT, "%s: the webp says that it has %zu bytes, found %zu",
                       load->name, end, load->bytes);
    while (at + 8 <= end) {
        size_t bytes = u32_at(load->data + at + 4);
        if (bytes > end - at - 8)
            return at_fail(err, AT_CORRUPT, "%s: the webp ends in a chunk at byte %zu of %zu",
                           load->name, at, end);
        AT_TRY(take_chunk(load, load->data + at, bytes, err));
        at += 8 + bytes + (bytes & 1);
    }
    return AT_OK;
}

/* libwebp has no hook for its memory, and calls some failures to allocate damage. */
static at_status damaged(at_picture_load *load, VP8StatusCode code, at_error *err)
{
    static const char *const text[] = { "no error",          "out of memory",  "invalid parameter",
                                        "bitstream error",   "unsupported",    "suspended",
                                        "stopped by a user", "not enough data" };
    load->no_memory = code == VP8_STATUS_OUT_OF_MEMORY || errno == ENOMEM;
    size_t i = (size_t)code < AT_COUNT(text) ? (size_t)code : 3;
    memcpy(load->problem, text[i], strlen(text[i]) + 1);
    return at_picture_damaged(load, err);
}

static at_status read_image(at_picture_load *load, WebPDecoderConfig *config, at_error *err)
{
    int channels = config->input.has_alpha ? 4 : 3;
    AT_TRY(at_picture_room(load, channels, 8, err));
    config->output.colorspace = channels == 4 ? MODE_RGBA : MODE_RGB;
    config->output.is_external_memory = 1;
    config->output.u.RGBA.rgba = load->picture.pixels;
    config->output.u.RGBA.stride = (int)load->picture.width * channels;
    config->output.u.RGBA.size = at_picture_size(&load->picture);
    errno = 0;
    VP8StatusCode code = WebPDecode(load->data, load->bytes, config);
    WebPFreeDecBuffer(&config->output);
    return code == VP8_STATUS_OK ? AT_OK : damaged(load, code, err);
}

at_status at_picture_webp_read(at_picture_load *load, at_error *err)
{
    WebPDecoderConfig config;
    if (load->bytes < RIFF_BYTES || memcmp(load->data, "RIFF", 4) != 0 ||
        memcmp(load->data + 8, "WEBP", 4) != 0)
        return AT_NOT_FOUND;
    AT_TRY(walk_chunks(load, err));
    if (!WebPInitDecoderConfig(&config))
        return at_fail(err, AT_UNSUPPORTED, "%s: libwebp is not the one this was built for",
                       load->name);
    errno = 0;
    VP8StatusCode code = WebPGetFeatures(load->data, load->bytes, &config.input);
    if (code != VP8_STATUS_OK)
        return damaged(load, code, err);
    bool lossy = config.input.format == FORMAT_LOSSY;
    AT_TRY(at_picture_accept(load, config.input.width, config.input.height, load->bytes,
                             lossy ? LOSSY_PIXELS_PER_BYTE_MAX : LOSSLESS_PIXELS_PER_BYTE_MAX,
                             err));
    load->info.channels = config.input.has_alpha ? 4 : 3;
    load->info.depth = 8;
    return load->head_only ? AT_OK : read_image(load, &config, err);
}

void at_picture_webp_version(char *text, size_t text_size)
{
    int v = WebPGetDecoderVersion();
    snprintf(text, text_size, "%d.%d.%d", v >> 16, v >> 8 & 0xFF, v & 0xFF);
}
