#include "engine/json_write.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tensors.h"

enum { SINK_BYTES = 64 << 10, PIECE_BYTES = 4 << 10 };

void at_json_writer_free(at_json_writer *w)
{
    free(w->text);
    *w = (at_json_writer){ 0 };
}

/* --- bytes ------------------------------------------------------------------------------------ */

static void stop(at_json_writer *w, at_status status, const char *why)
{
    if (w->status == AT_OK)
        w->status = at_fail(&w->failure, status, "%s", why);
}

static void flush(at_json_writer *w)
{
    if (w->status == AT_OK && w->bytes > 0)
        w->status = w->sink.write(w->sink.context, w->text, w->bytes, &w->failure);
    w->bytes = 0;
}

/* Room for 'bytes' more, which with a sink are at most a piece. */
static bool make_room(at_json_writer *w, size_t bytes)
{
    if (w->status == AT_OK && bytes > w->bytes_max - w->total)
        w->status = at_fail(&w->failure, AT_INVALID,
                            "a JSON text would be longer than its limit of %" PRIu64 " bytes",
                            w->bytes_max);
    if (w->status == AT_OK && w->sink.write && bytes > w->capacity - w->bytes)
        flush(w);
    if (w->status != AT_OK || bytes <= w->capacity - w->bytes)
        return w->status == AT_OK;
    size_t wanted = w->sink.write ? SINK_BYTES : w->bytes + w->bytes / 2 + bytes + 256;
    char *grown = realloc(w->text, wanted);
    if (!grown) {
        stop(w, AT_NO_MEMORY, "no memory for a JSON text");
        return false;
    }
    w->text = grown;
    w->capacity = wanted;
    return true;
}

static void put(at_json_writer *w, const char *text, size_t bytes)
{
    while (bytes > 0) {
        size_t n = w->sink.write && bytes > PIECE_BYTES ? PIECE_BYTES : bytes;
        if (!make_room(w, n))
            return;
        memcpy(w->text + w->bytes, text, n);
        w->bytes += n;
        w->total += n;
        text += n;
        bytes -= n;
    }
}

/* What must stand between the value before and this one. */
static void separate(at_json_writer *w)
{
    if (w->comma)
        put(w, ",", 1);
    w->comma = true;
}

static void put_escape(at_json_writer *w, unsigned char c)
{
    static const char letters[] = "\b\f\n\r\t\"\\", names[] = "bfnrt\"\\";
    const char *letter = c ? strchr(letters, c) : NULL;
    char text[8];
    int n = letter ? snprintf(text, sizeof text, "\\%c", names[letter - letters])
                   : snprintf(text, sizeof text, "\\u%04x", c);
    put(w, text, (size_t)n);
}

static void put_string(at_json_writer *w, const char *text, size_t bytes)
{
    if (!at_utf8_valid(text, bytes))
        stop(w, AT_INVALID, "a string for a JSON text is not UTF-8, or holds a zero");
    put(w, "\"", 1);
    for (size_t i = 0, n; i < bytes && w->status == AT_OK; i += n + 1) {
        const char *p = text + i;
        for (n = 0; i + n < bytes && (unsigned char)p[n] >= 0x20 && p[n] != '"' && p[n] != '\\';)
            n++;
        put(w, p, n);
        if (i + n < bytes)
            put_escape(w, (unsigned char)p[n]);
    }
    put(w, "\"", 1);
}

/* --- values ----------------------------------------------------------------------------------- */

static void open_bracket(at_json_writer *w, const char *bracket, char close)
{
    separate(w);
    put(w, bracket, 1);
    if (w->depth == AT_JSON_DEPTH_MAX) {
        stop(w, AT_INVALID, "a JSON text would be nested too deeply");
        return;
    }
    w->close[w->depth++] = close;
    w->comma = false;
}

void at_json_write_object(at_json_writer *w)
{
    open_bracket(w, "{", '}');
}

void at_json_write_array(at_json_writer *w)
{
    open_bracket(w, "[", ']');
}

void at_json_write_close(at_json_writer *w)
{
    if (w->status != AT_OK)
        return;
    AT_ASSERT(w->depth > 0, "nothing is open after %" PRIu64 " bytes", w->total);
    put(w, &w->close[--w->depth], 1);
    w->comma = true;
}

void at_json_write_key(at_json_writer *w, const char *key)
{
    separate(w);
    put_string(w, key, strlen(key));
    put(w, ":", 1);
    w->comma = false;
}

void at_json_write_string(at_json_writer *w, const char *text, size_t bytes)
{
    separate(w);
    put_string(w, text, bytes);
}

void at_json_write_raw(at_json_writer *w, const char *text, size_t bytes)
{
    separate(w);
    put(w, text, bytes);
}

void at_json_write_int(at_json_writer *w, int64_t value)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%" PRId64, value);
    at_json_write_raw(w, text, (size_t)n);
}

void at_json_write_uint(at_json_writer *w, uint64_t value)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%" PRIu64, value);
    at_json_write_raw(w, text, (size_t)n);
}

/* printf and strtod ask the process's locale for the decimal sign alike; what it put there becomes
 * a point. */
void at_json_write_real(at_json_writer *w, double value)
{
    char text[40];
    int n = 0, precision = 15;
    if (!isfinite(value)) {
        stop(w, AT_INVALID, "JSON has no spelling for infinity and NaN");
        return;
    }
    for (; precision <= 17; precision++) {
        n = snprintf(text, sizeof text, "%.*g", precision, value);
        if (strtod(text, NULL) == value)
            break;
    }
    for (int i = 0; i < n; i++)
        if (!strchr("0123456789+-e", text[i]))
            text[i] = '.';
    at_json_write_raw(w, text, (size_t)n);
}

void at_json_write_bool(at_json_writer *w, bool value)
{
    at_json_write_raw(w, value ? "true" : "false", value ? 4 : 5);
}

void at_json_write_null(at_json_writer *w)
{
    at_json_write_raw(w, "null", 4);
}

at_status at_json_write_end(at_json_writer *w, at_error *err)
{
    AT_ASSERT(w->status != AT_OK || w->depth == 0, "%d brackets are open", w->depth);
    if (w->sink.write)
        flush(w);
    if (w->status != AT_OK)
        return at_fail(err, w->status, "%s", w->failure.text);
    return AT_OK;
}
