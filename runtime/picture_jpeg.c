/* picture_jpeg.c -- JPEG through libjpeg, with its default inverse transform and upsampling, which
 * are Pillow's.
 *
 * The markers are walked first: the end must be there, and the scans must be few, since each scan
 * of a progressive picture of a few bytes may walk over all its blocks. What libjpeg only warns
 * about and then fills with grey is refused. libjpeg's way out of an error is longjmp: its calls
 * run inside guarded(), whose callers keep their state in a struct. */
#include <stdio.h> /* before jpeglib.h, which uses FILE */

#include <jerror.h>
#include <jpeglib.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/picture_format.h"

#if !defined(LIBJPEG_TURBO_VERSION) /* the plain libjpeg, which serves as well */
#define LIBJPEG_TURBO_VERSION not turbo
#endif
#define TEXT_OF_(tokens) #tokens
#define TEXT_OF(tokens)  TEXT_OF_(tokens)

enum {
    MARKER_SOI = 0xD8,
    MARKER_EOI = 0xD9,
    MARKER_SOS = 0xDA,
    MARKER_BYTES_MAX = 65533, /* of data */
    PROFILE_PARTS_MAX = 255,
    /* One bit for each block of 64 pixels, and of three components the two that matter least may be
     * the only ones in full size. */
    PIXELS_PER_BYTE_MAX = 1024,
    STEP_BYTES = 1 << 14, /* the encoder's output grows by so much at least */
};

typedef struct jpeg_work {
    struct jpeg_error_mgr errors; /* first: libjpeg hands its address back */
    jmp_buf out_of_here;
    struct jpeg_decompress_struct in;
    struct jpeg_compress_struct out;
    struct jpeg_destination_mgr to;
    at_picture_load *load;
    at_picture_bytes *bytes;
    const at_picture *picture;
    const at_picture_write_options *options;
} jpeg_work;

/* --- libjpeg's callbacks ---------------------------------------------------------------------- */

static jpeg_work *work_of(j_common_ptr info)
{
    return (jpeg_work *)(void *)info->err;
}

static void keep_message(j_common_ptr info, char *to, size_t room)
{
    char text[JMSG_LENGTH_MAX];
    info->err->format_message(info, text);
    snprintf(to, room, "%.*s", (int)room - 1, text);
}

static void on_error(j_common_ptr info)
{
    jpeg_work *w = work_of(info);
    w->load->no_memory = w->load->no_memory || info->err->msg_code == JERR_OUT_OF_MEMORY;
    keep_message(info, w->load->problem, sizeof w->load->problem);
    longjmp(w->out_of_here, 1);
}

/* Level -1 is damage that libjpeg would repair by guessing. */
static void on_message(j_common_ptr info, int level)
{
    static const int harmless[] = { JWRN_ADOBE_XFORM, JWRN_JFIF_MAJOR, JWRN_EXTRANEOUS_DATA };
    char text[AT_PICTURE_WARNING_MAX];
    if (level >= 0)
        return;
    for (size_t i = 0; i < AT_COUNT(harmless); i++)
        if (info->err->msg_code == harmless[i]) {
            keep_message(info, text, sizeof text);
            at_picture_warn(work_of(info)->load, text);
            return;
        }
    on_error(info);
}

static void on_output(j_common_ptr info)
{
    (void)info; /* the default prints */
}

static void set_callbacks(jpeg_work *w)
{
    jpeg_std_error(&w->errors);
    w->errors.error_exit = on_error;
    w->errors.emit_message = on_message;
    w->errors.output_message = on_output;
}

/* Whether 'step' came to its end. */
static bool guarded(jpeg_work *w, void (*step)(jpeg_work *w))
{
    if (setjmp(w->out_of_here))
        return false;
    step(w);
    return true;
}

/* --- markers ---------------------------------------------------------------------------------- */

/* The next marker after 'at' in packed data; an FF before a zero or a restart's number is none. */
static size_t skip_packed(const unsigned char *data, size_t at, size_t bytes)
{
    while (at + 1 < bytes) {
        const unsigned char *ff = memchr(data + at, 0xFF, bytes - at - 1);
        if (!ff)
            return bytes;
        at = (size_t)(ff - data);
        if (ff[1] != 0 && ff[1] != 0xFF && (ff[1] < 0xD0 || ff[1] > 0xD7))
            return at;
        at += ff[1] == 0xFF ? 1 : 2;
    }
    return bytes;
}

/* Counts scans up to the end of the picture; false: it has none. */
static bool walk_markers(const at_picture_load *load, int *scans)
{
    size_t at = 2, bytes = load->bytes;
    const unsigned char *data = load->data;
    *scans = 0;
    while (at + 1 < bytes) {
        if (data[at] != 0xFF || data[at + 1] == 0xFF || data[at + 1] == 0) {
            at++; /* fill, or something between the segments that libjpeg skips too */
            continue;
        }
        int marker = data[at + 1];
        at += 2;
        if (marker == MARKER_EOI)
            return true;
        if ((marker >= 0xD0 && marker <= MARKER_SOI) || marker == 0x01)
            continue;
        size_t length = at + 2 <= bytes ? (size_t)data[at] << 8 | data[at + 1] : 0;
        if (length < 2 || length > bytes - at)
            return false;
        at += length;
        *scans += marker == MARKER_SOS;
        at = marker == MARKER_SOS ? skip_packed(data, at, bytes) : at;
    }
    return false;
}

static at_status check_markers(const at_picture_load *load, at_error *err)
{
    int scans;
    if (!walk_markers(load, &scans))
        return at_fail(err, AT_CORRUPT, "%s: the jpeg has no end within its %zu bytes", load->name,
                       load->bytes);
    if (scans > AT_PICTURE_SCANS_MAX)
        return at_fail(err, AT_UNSUPPORTED, "%s: the jpeg has %d scans, the limit is %d",
                       load->name, scans, AT_PICTURE_SCANS_MAX);
    return AT_OK;
}

/* The part of the profile with this number (from 1) and its bytes; NULL: it is not there. */
static const unsigned char *profile_part(const jpeg_work *w, int number, int *parts, size_t *bytes)
{
    for (jpeg_saved_marker_ptr m = w->in.marker_list; m; m = m->next)
        if (m->marker == JPEG_APP0 + 2 && m->data_length > 14 &&
            !memcmp(m->data, "ICC_PROFILE", 12) && m->data[12] == number) {
            *parts = m->data[13];
            *bytes = m->data_length - 14;
            return m->data + 14;
        }
    return NULL;
}

/* Joins the parts of a profile; one with a part missing is left out with a warning. */
static at_status take_profile(jpeg_work *w, at_error *err)
{
    int parts = 0, ignored;
    size_t bytes = 0, total = 0;
    if (!profile_part(w, 1, &parts, &bytes))
        return AT_OK;
    for (int i = 1; i <= parts; i++, total += bytes)
        if (!profile_part(w, i, &ignored, &bytes)) {
            at_picture_warn(w->load, "a part of the colour profile is missing");
            return AT_OK;
        }
    unsigned char *whole = malloc(total + 1);
    if (!whole)
        return at_picture_no_memory(w->load->name, err);
    total = 0;
    for (int i = 1; i <= parts; i++, total += bytes) {
        const unsigned char *part = profile_part(w, i, &ignored, &bytes);
        memcpy(whole + total, part, bytes);
    }
    at_status status = at_picture_set_profile(w->load, whole, total, err);
    free(whole);
    return status;
}

static at_status take_extras(jpeg_work *w, at_error *err)
{
    bool exif = false;
    for (jpeg_saved_marker_ptr m = w->in.marker_list; m; m = m->next) {
        if (m->marker == JPEG_COM)
            AT_TRY(at_picture_add_text(w->load, "comment", m->data, m->data_length, true, err));
        if (m->marker == JPEG_APP0 + 1 && m->data_length > 6 && !exif &&
            !memcmp(m->data, "Exif\0", 6)) {
            exif = true;
            AT_TRY(at_picture_take_exif(w->load, m->data + 6, m->data_length - 6, err));
        }
    }
    return take_profile(w, err);
}

/* --- reading ---------------------------------------------------------------------------------- */

static void read_head(jpeg_work *w)
{
    jpeg_create_decompress(&w->in);
    jpeg_mem_src(&w->in, w->load->data, (unsigned long)w->load->bytes);
    jpeg_save_markers(&w->in, JPEG_COM, 0xFFFF);
    jpeg_save_markers(&w->in, JPEG_APP0 + 1, 0xFFFF);
    jpeg_save_markers(&w->in, JPEG_APP0 + 2, 0xFFFF);
    jpeg_read_header(&w->in, TRUE);
}

static at_status check_head(jpeg_work *w, at_error *err)
{
    at_picture_load *load = w->load;
    const struct jpeg_decompress_struct *in = &w->in;
    int n = in->num_components;
    if (in->arith_code)
        return at_fail(err, AT_UNSUPPORTED,
                       "%s: the jpeg is arithmetically coded, expected Huffman", load->name);
    if (n != 1 && n != 3 && n != 4)
        return at_fail(err, AT_UNSUPPORTED, "%s: the jpeg has %d components, expected 1, 3 or 4",
                       load->name, n);
    AT_TRY(at_picture_accept(load, in->image_width, in->image_height, load->bytes,
                             PIXELS_PER_BYTE_MAX, err));
    load->info.channels = n;
    load->info.depth = in->data_precision;
    load->info.is_cmyk = n == 4;
    return AT_OK;
}

static void start_pixels(jpeg_work *w)
{
    int n = w->in.num_components;
    w->in.out_color_space = n == 1 ? JCS_GRAYSCALE : n == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_start_decompress(&w->in);
}

static void read_rows(jpeg_work *w)
{
    const at_picture *p = &w->load->picture;
    size_t row = at_picture_size(p) / (size_t)p->height;
    while (w->in.output_scanline < w->in.output_height) {
        JSAMPROW at = (JSAMPROW)p->pixels + w->in.output_scanline * row;
        jpeg_read_scanlines(&w->in, &at, 1);
    }
    jpeg_finish_decompress(&w->in);
}

/* Adobe's programs write ink inverted, and so does everybody else; Pillow assumes it too. */
static void invert_ink(at_picture *p)
{
    uint8_t *at = p->pixels;
    for (size_t i = 0; i < at_picture_size(p); i++)
        at[i] = (uint8_t)~at[i];
}

static at_status read_image(jpeg_work *w, at_error *err)
{
    at_picture_load *load = w->load;
    if (!guarded(w, start_pixels))
        return at_picture_damaged(load, err);
    AT_TRY(at_picture_room(load, w->in.output_components, 8, err));
    if (!guarded(w, read_rows))
        return at_picture_damaged(load, err);
    if (load->info.is_cmyk)
        invert_ink(&load->picture);
    return AT_OK;
}

at_status at_picture_jpeg_read(at_picture_load *load, at_error *err)
{
    jpeg_work w = { .load = load };
    if (load->bytes < 3 || memcmp(load->data, "\xFF\xD8\xFF", 3) != 0)
        return AT_NOT_FOUND;
    AT_TRY(check_markers(load, err));
    set_callbacks(&w);
    w.in.err = &w.errors;
    at_status status = guarded(&w, read_head) ? AT_OK : at_picture_damaged(load, err);
    if (status == AT_OK)
        status = check_head(&w, err);
    if (status == AT_OK)
        status = take_extras(&w, err);
    if (status == AT_OK && !load->head_only)
        status = read_image(&w, err);
    jpeg_destroy_decompress(&w.in);
    return status;
}

/* --- writing ---------------------------------------------------------------------------------- */

static jpeg_work *work_of_output(j_compress_ptr info)
{
    return work_of((j_common_ptr)info);
}

/* Offers the encoder what room there is behind the bytes. */
static void offer_room(jpeg_work *w)
{
    if (!at_picture_bytes_grow(w->bytes, STEP_BYTES)) {
        w->load->no_memory = true;
        longjmp(w->out_of_here, 1);
    }
    w->to.next_output_byte = w->bytes->data + w->bytes->bytes;
    w->to.free_in_buffer = w->bytes->room - w->bytes->bytes;
}

static void on_start(j_compress_ptr info)
{
    offer_room(work_of_output(info));
}

static boolean on_full(j_compress_ptr info)
{
    jpeg_work *w = work_of_output(info);
    w->bytes->bytes = w->bytes->room;
    offer_room(w);
    return TRUE;
}

static void on_end(j_compress_ptr info)
{
    jpeg_work *w = work_of_output(info);
    w->bytes->bytes = w->bytes->room - w->to.free_in_buffer;
}

static void write_comments(jpeg_work *w)
{
    for (int i = 0; i < w->options->n_texts; i++) {
        const at_picture_text *t = &w->options->text[i];
        size_t name = strlen(t->name), text = strlen(t->text);
        jpeg_write_m_header(&w->out, JPEG_COM, (unsigned)(name + 2 + text));
        for (size_t k = 0; k < name; k++)
            jpeg_write_m_byte(&w->out, (unsigned char)t->name[k]);
        jpeg_write_m_byte(&w->out, ':');
        jpeg_write_m_byte(&w->out, ' ');
        for (size_t k = 0; k < text; k++)
            jpeg_write_m_byte(&w->out, (unsigned char)t->text[k]);
    }
}

static void write_all(jpeg_work *w)
{
    const at_picture *p = w->picture;
    size_t row = at_picture_size(p) / (size_t)p->height;
    jpeg_create_compress(&w->out);
    w->out.dest = &w->to;
    w->out.image_width = (JDIMENSION)p->width;
    w->out.image_height = (JDIMENSION)p->height;
    w->out.input_components = p->channels;
    w->out.in_color_space = p->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&w->out);
    jpeg_set_quality(&w->out, w->options->quality, TRUE);
    jpeg_start_compress(&w->out, TRUE);
    write_comments(w);
    while (w->out.next_scanline < w->out.image_height) {
        JSAMPROW at = (JSAMPROW)p->pixels + w->out.next_scanline * row;
        jpeg_write_scanlines(&w->out, &at, 1);
    }
    jpeg_finish_compress(&w->out);
}

static at_status check_to_write(const at_picture *p, const at_picture_write_options *options,
                                at_error *err)
{
    if (p->channels == 4 || p->depth != 8)
        return at_fail(err, AT_UNSUPPORTED,
                       "jpeg: a picture of %d channels of %d bits, expected 1 or 3 of 8",
                       p->channels, p->depth);
    for (int i = 0; i < options->n_texts; i++) {
        const at_picture_text *t = &options->text[i];
        if (strlen(t->name) + 2 + strlen(t->text) > MARKER_BYTES_MAX)
            return at_fail(err, AT_UNSUPPORTED,
                           "jpeg: the text \"%s\" has %zu bytes, a comment holds %d", t->name,
                           strlen(t->text), MARKER_BYTES_MAX);
    }
    return AT_OK;
}

at_status at_picture_jpeg_write(at_picture_bytes *out, const at_picture *p,
                                const at_picture_write_options *options, at_error *err)
{
    at_picture_load complaints = { .name = "jpeg" };
    jpeg_work w = { .load = &complaints, .bytes = out, .picture = p, .options = options };
    AT_TRY(check_to_write(p, options, err));
    set_callbacks(&w);
    w.out.err = &w.errors;
    w.to.init_destination = on_start;
    w.to.empty_output_buffer = on_full;
    w.to.term_destination = on_end;
    at_status status = AT_OK;
    if (!guarded(&w, write_all))
        status = complaints.no_memory
                     ? at_picture_no_memory("jpeg", err)
                     : at_fail(err, AT_IO, "jpeg: libjpeg could not write the picture: %s",
                               complaints.problem);
    jpeg_destroy_compress(&w.out);
    return status;
}

/* Of the header, since no call tells it: its macro is 2.1.5 without quotes. */
void at_picture_jpeg_version(char *text, size_t text_size)
{
    snprintf(text, text_size, "%s", TEXT_OF(LIBJPEG_TURBO_VERSION));
}
