/* picture_format.h -- between picture.c and the files that each know one library.
 *
 * A reader looks at the first bytes and says AT_NOT_FOUND when the format is not its own, without
 * a message. Otherwise it checks dimensions with at_picture_accept() before it allocates or
 * decodes, fills load->info and, unless only the head is wanted, load->picture. What it has filled
 * in when it fails is freed by picture.c. */
#ifndef AT_RUNTIME_PICTURE_FORMAT_H
#define AT_RUNTIME_PICTURE_FORMAT_H

#include "kernels/shape.h"
#include "runtime/picture.h"

typedef struct at_picture_load {
    const unsigned char *data;
    size_t bytes;
    const char *name;           /* for messages */
    at_picture_options options; /* without zeros */
    bool head_only;
    at_picture_info info;
    at_picture picture; /* its own info stays empty; CMYK where info says so */
    size_t text_bytes;
    unsigned char *profile; /* ICC, owned */
    size_t profile_bytes;
    char problem[AT_PICTURE_WARNING_MAX]; /* the library's last complaint */
    bool no_memory;                       /* an allocation of the library's failed */
} at_picture_load;

typedef at_status (*at_picture_reader)(at_picture_load *load, at_error *err);
typedef at_status (*at_picture_writer)(at_picture_bytes *out, const at_picture *p,
                                       const at_picture_write_options *options, at_error *err);

at_status at_picture_png_read(at_picture_load *load, at_error *err);
at_status at_picture_png_write(at_picture_bytes *out, const at_picture *p,
                               const at_picture_write_options *options, at_error *err);
at_status at_picture_jpeg_read(at_picture_load *load, at_error *err);
at_status at_picture_jpeg_write(at_picture_bytes *out, const at_picture *p,
                                const at_picture_write_options *options, at_error *err);
at_status at_picture_webp_read(at_picture_load *load, at_error *err);
at_status at_picture_bmp_read(at_picture_load *load, at_error *err);
at_status at_picture_gif_read(at_picture_load *load, at_error *err);
at_status at_picture_pnm_read(at_picture_load *load, at_error *err);
at_status at_picture_tga_read(at_picture_load *load, at_error *err);

/* Sets the size in load->info, or refuses it: beyond the limits, or more pixels than 'bytes' of
 * data can hold at 'pixels_per_byte', the most that the format's packing allows. */
at_status at_picture_accept(at_picture_load *load, int64_t width, int64_t height, size_t bytes,
                            double pixels_per_byte, at_error *err);
/* Room for an accepted picture's samples in load->picture. */
at_status at_picture_room(at_picture_load *load, int channels, int depth, at_error *err);
/* Copies a text, cut at its first NUL; Latin-1 becomes UTF-8, and what is no UTF-8 is taken for
 * Latin-1. What is beyond the limits is left out with a warning. */
at_status at_picture_add_text(at_picture_load *load, const char *name, const void *text,
                              size_t bytes, bool is_utf8, at_error *err);
at_status at_picture_set_profile(at_picture_load *load, const void *profile, size_t bytes,
                                 at_error *err);
/* Takes the orientation and the texts from an EXIF block, which begins with its byte order. */
at_status at_picture_take_exif(at_picture_load *load, const unsigned char *exif, size_t bytes,
                               at_error *err);
/* Keeps the first. */
void at_picture_warn(at_picture_load *load, const char *what);
/* AT_NO_MEMORY or AT_CORRUPT with the library's complaint. */
at_status at_picture_damaged(const at_picture_load *load, at_error *err);
at_status at_picture_no_memory(const char *name, at_error *err);

/* Makes room for n more bytes; false: no memory. */
bool at_picture_bytes_grow(at_picture_bytes *b, size_t n);
bool at_picture_bytes_add(at_picture_bytes *b, const void *data, size_t n);

/* --- pixels ----------------------------------------------------------------------------------- */

size_t at_picture_size(const at_picture *p); /* bytes */
/* Gives back what a picture with fewer channels does not need; that may fail without harm. */
void at_picture_shrink(at_picture *p, int channels);
/* In place. */
void at_picture_cmyk_to_rgb(at_picture *p);
void at_picture_alpha_on_white(at_picture *p);
void at_picture_alpha_drop(at_picture *p);
void at_picture_premultiply(at_picture *p);
void at_picture_unpremultiply(at_picture *p);
/* These need memory for the new picture. */
at_status at_picture_grey_to_rgb(at_picture *p, at_error *err);
at_status at_picture_turn(at_picture *p, int orientation, at_error *err);

/* Converts the samples to sRGB with load->profile. False: it does not fit these pixels or is
 * damaged, nothing was changed, and there is a warning; or load->no_memory. */
bool at_picture_to_srgb_lcms(at_picture_load *load);

/* --- versions --------------------------------------------------------------------------------- */

void at_picture_png_version(char *text, size_t text_size);
void at_picture_jpeg_version(char *text, size_t text_size);
void at_picture_webp_version(char *text, size_t text_size);
void at_picture_stb_version(char *text, size_t text_size);
void at_picture_lcms_version(char *text, size_t text_size);

#endif
