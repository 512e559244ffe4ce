/* picture.h -- pictures: read from files and bytes, told about, resized, written.
 *
 * A picture is rows of interleaved samples, without padding, and what its file said besides. Bytes
 * may come from anybody: dimensions, texts, profiles and the number of scans have limits, checked
 * before anything is decoded, and dimensions that so few bytes cannot hold are refused. Pixels are
 * those of Pillow's convert(): see at_picture_options for what is done to them.
 *
 * Everything here is reentrant. The caller owns what a function fills in and frees it with
 * at_picture_free(), at_picture_info_free() or at_picture_bytes_free(); a function that fails
 * leaves nothing to free. */
#ifndef AT_RUNTIME_PICTURE_H
#define AT_RUNTIME_PICTURE_H

#include "kernels/ops.h"

#define AT_PICTURE_PIXELS_MAX (INT64_C(1) << 26)  /* 64 Mi, unless the caller says otherwise */
#define AT_PICTURE_BYTES_MAX  (UINT64_C(1) << 28) /* of a file, the same */
enum {
    AT_PICTURE_SIDE_MAX = 65535,
    AT_PICTURE_SCANS_MAX = 100, /* of a progressive JPEG: each one walks over all pixels */
    AT_PICTURE_TEXTS_MAX = 64,
    AT_PICTURE_TEXT_BYTES_MAX = 1 << 20,  /* of all texts together, in UTF-8 */
    AT_PICTURE_CHUNK_BYTES_MAX = 2 << 20, /* of one unpacked chunk that is not pixels */
    AT_PICTURE_KEYWORD_MAX = 79,          /* of a text's name, as PNG has it */
    AT_PICTURE_WARNING_MAX = 128,
};

typedef enum at_picture_format_id {
    AT_PICTURE_UNKNOWN, /* where one is chosen: by the file's ending */
#define AT_PICTURE_FORMAT(NAME, name, endings, read, write) AT_PICTURE_##NAME,
#include "runtime/formats.def"
#undef AT_PICTURE_FORMAT
} at_picture_format_id;

/* Both in UTF-8; a JPEG's comment has the name "comment". */
typedef struct at_picture_text {
    char *name, *text;
} at_picture_text;

typedef struct at_picture_info {
    at_picture_format_id format;
    int64_t width, height; /* as the file has them: before the orientation is applied */
    int channels;          /* of the file: 1 grey, 2 grey and alpha, 3, 4 with alpha or CMYK */
    int depth;             /* bits of a sample in the file */
    int orientation;       /* EXIF's, 1 to 8 */
    bool is_cmyk;
    bool has_profile;  /* the file carries an ICC profile */
    bool profile_used; /* the pixels were converted with it, or it is sRGB already */
    at_picture_text *text;
    int n_texts;
    char warning[AT_PICTURE_WARNING_MAX]; /* the first thing that was ignored; empty: none */
} at_picture_info;

typedef struct at_picture {
    int64_t width, height;
    int channels; /* 1 grey, 3 RGB, 4 RGBA (never premultiplied) */
    int depth;    /* 8: uint8_t, 16: uint16_t in the machine's order */
    void *pixels; /* (height, width, channels) */
    at_picture_info info;
} at_picture;

typedef enum at_picture_alpha {
    AT_ALPHA_KEEP,
    AT_ALPHA_ON_WHITE, /* as BLIP does */
    AT_ALPHA_DROP,     /* as diffusers does */
} at_picture_alpha;

/* Zero and NULL mean the defaults: 8 bits, turned upright, in sRGB, alpha kept. */
typedef struct at_picture_options {
    int64_t pixels_max;
    uint64_t bytes_max;
    bool keep_16_bits;     /* else the upper byte of a sample, for grey too */
    bool keep_orientation; /* else the picture is turned as its EXIF says */
    bool keep_profile;     /* else converted to sRGB, where the build can */
    bool rgb;              /* grey becomes three equal channels */
    at_picture_alpha alpha;
} at_picture_options;

/* 'options' may be NULL. */
AT_API at_status at_picture_read(at_picture *out, const char *path,
                                 const at_picture_options *options, at_error *err);
/* 'name' is for messages. */
AT_API at_status at_picture_decode(at_picture *out, const void *bytes, size_t n, const char *name,
                                   const at_picture_options *options, at_error *err);
AT_API void at_picture_free(at_picture *p);

/* What stands before the pixels. */
AT_API at_status at_picture_about(at_picture_info *out, const char *path,
                                  const at_picture_options *options, at_error *err);
AT_API at_status at_picture_about_bytes(at_picture_info *out, const void *bytes, size_t n,
                                        const char *name, const at_picture_options *options,
                                        at_error *err);
AT_API void at_picture_info_free(at_picture_info *info);
/* The text of this name, or NULL. */
AT_API const char *at_picture_text_of(const at_picture_info *info, const char *name);

/* What this build can do: read a format, convert to sRGB with a profile. */
AT_API bool at_picture_reads(at_picture_format_id format);
AT_API bool at_picture_converts_colours(void);
AT_API const char *at_picture_format_name(at_picture_format_id format);
/* From a path's ending; AT_PICTURE_UNKNOWN where it says nothing. */
AT_API at_picture_format_id at_picture_format_of(const char *path);

/* The libraries that pictures are read and written with. */
typedef struct at_picture_library {
    const char *name, *use;
    void (*version)(char *text, size_t text_size); /* NULL: not in this build. May tell "" */
} at_picture_library;
AT_API const at_picture_library *at_picture_library_at(int i); /* NULL past the end */

/* Zero means the defaults: Pillow's but for the level, whose reason is in picture.c. */
typedef struct at_picture_write_options {
    at_picture_format_id format; /* AT_PICTURE_UNKNOWN: by the path's ending */
    int quality;                 /* JPEG: 1 to 100; 0: 75. Chroma is halved both ways */
    int level;                   /* PNG: 1 to 9; 0: 4 */
    const at_picture_text *text; /* a text chunk each; in JPEG comments "name: text" */
    int n_texts;
} at_picture_write_options;

typedef struct at_picture_bytes {
    unsigned char *data;
    size_t bytes, room;
} at_picture_bytes;

/* The file appears whole or not at all. */
AT_API at_status at_picture_write(const char *path, const at_picture *p,
                                  const at_picture_write_options *options, at_error *err);
/* Appends to 'out', which begins as zeros; on failure it is as it was, perhaps with more room. */
AT_API at_status at_picture_encode(at_picture_bytes *out, const at_picture *p,
                                   const at_picture_write_options *options, at_error *err);
AT_API void at_picture_bytes_free(at_picture_bytes *b);

/* An 8-bit picture in another size, byte for byte as Pillow's resize() makes it, which multiplies
 * by alpha before and divides after. 'out' has no texts; 'filter' is at_filter. */
AT_API at_status at_picture_resize(at_picture *out, const at_picture *in, int64_t width,
                                   int64_t height, int filter, at_error *err);

#endif
