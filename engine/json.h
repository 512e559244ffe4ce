/* json.h -- JSON read in place, value by value, without building a tree: what a file's header costs
 * is its own bytes, whatever it says.
 *
 * The reader walks over text that the caller keeps. It takes strict JSON (RFC 8259) only, nested at
 * most AT_JSON_DEPTH_MAX deep, with numbers of at most AT_JSON_NUMBER_MAX characters. After the
 * first error every call returns false and the sentence stays; so a caller may ask at the end. One
 * thread a reader.
 *
 *     at_json j;
 *     at_json_start(&j, text, bytes, err);
 *     for (at_json_object(&j); at_json_key(&j, &key);)
 *         if (at_json_is(&key, "size"))
 *             at_json_int(&j, &size);
 *         else
 *             at_json_skip(&j);
 *     status = at_json_end(&j);
 */
#ifndef AT_ENGINE_JSON_H
#define AT_ENGINE_JSON_H

#include "kernels/base.h"

enum {
    AT_JSON_DEPTH_MAX = 64,
    AT_JSON_NUMBER_MAX = 1024 /* characters of one */
};

typedef enum at_json_type {
    AT_JSON_NOTHING, /* the text has ended, or an error came before */
    AT_JSON_OBJECT,
    AT_JSON_ARRAY,
    AT_JSON_STRING,
    AT_JSON_NUMBER,
    AT_JSON_TRUE,
    AT_JSON_FALSE,
    AT_JSON_NULL
} at_json_type;

typedef struct at_json {
    const char *text;
    size_t at, bytes;
    size_t
        string_max; /* bytes of a string between its quotes; 0, or set by the caller at any time */
    int depth;
    bool first;                            /* nothing stands before this member or element yet */
    unsigned char kind[AT_JSON_DEPTH_MAX]; /* of the open values: '{' or '[' */
    at_error *err;
    at_status status;
} at_json;

/* A string as it stands in the text, between its quotes; 'escaped': it holds backslashes. */
typedef struct at_json_text {
    const char *raw;
    size_t raw_bytes;
    bool escaped;
} at_json_text;

void at_json_start(at_json *j, const char *text, size_t bytes, at_error *err);
at_json_type at_json_peek(at_json *j);
bool at_json_object(at_json *j); /* enters one; then keys and their values in turns */
bool at_json_key(at_json *j, at_json_text *key); /* false: the object has ended */
bool at_json_array(at_json *j);                  /* enters one; then elements */
bool at_json_element(at_json *j);                /* false: the array has ended */
bool at_json_string(at_json *j, at_json_text *out);
bool at_json_int(at_json *j, int64_t *out); /* no fraction, no exponent, within int64_t */
bool at_json_uint(at_json *j, uint64_t *out);
bool at_json_real(at_json *j, double *out);
bool at_json_bool(at_json *j, bool *out);
bool at_json_skip(at_json *j); /* any value, however nested */
/* The text of a whole value, skipped. */
bool at_json_raw(at_json *j, const char **from, size_t *bytes);
/* After the outermost value: AT_OK if nothing but blanks follows and there was no error. */
at_status at_json_end(at_json *j);
/* Stops the reader with the caller's own sentence. */
bool at_json_refuse(at_json *j, const char *fmt, ...) AT_PRINTF(2, 3);

/* Whether a string is exactly 'text'. */
bool at_json_is(const at_json_text *s, const char *text);
/* The string with its escapes resolved, as UTF-8 without a zero; its bytes, or SIZE_MAX when it
 * does not fit into 'room' or holds a lone surrogate or U+0000. Never longer than raw_bytes, and
 * 'out' may be where the string stands: a caller that owns the text resolves it in place, and finds
 * room for a zero on the closing quote, which the reader has passed. */
size_t at_json_unescape(const at_json_text *s, char *out, size_t room);

#endif
