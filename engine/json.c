/* The reader keeps no tree and no stack but one byte a level: which bracket is open. Strings are
 * checked where they stand, eight bytes at a time, since most of a large header is in them.
 * Whatever is read moves 'at' forward only, so the work is bounded by the length of the text. */
#include "engine/json.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tensors.h"

enum { ESCAPES_BYTES = 64, WIDE_BYTES = 64 }; /* looked at together */

/* --- errors ----------------------------------------------------------------------------------- */

bool at_json_refuse(at_json *j, const char *fmt, ...)
{
    if (j->status != AT_OK)
        return false;
    char text[AT_ERROR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    j->status = at_fail(j->err, AT_CORRUPT, "%s", text);
    return false;
}

/* What stands at 'at', for a sentence. */
static void describe(const at_json *j, char text[32])
{
    unsigned char c = j->at < j->bytes ? (unsigned char)j->text[j->at] : 0;
    if (j->at >= j->bytes)
        snprintf(text, 32, "the end");
    else if (c >= 0x20 && c < 0x7f)
        snprintf(text, 32, "'%c'", c);
    else
        snprintf(text, 32, "a byte 0x%02x", c);
}

static bool expected(at_json *j, const char *what)
{
    char found[32];
    describe(j, found);
    return at_json_refuse(j, "expected %s at byte %zu, found %s", what, j->at, found);
}

/* --- bytes ------------------------------------------------------------------------------------ */

static uint64_t load_8(const char *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

static uint64_t every(unsigned char c)
{
    return UINT64_C(0x0101010101010101) * c;
}

/* The high bit of each of the eight bytes that is below 'limit', which is at most 0x80. Exact up to
 * the first such byte, behind which a borrow may mark others. */
static uint64_t any_below(uint64_t x, unsigned char limit)
{
    return (x - every(limit)) & ~x & every(0x80);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* The next byte that is no blank, or -1 at the end. */
static int next(at_json *j)
{
    while (j->at < j->bytes && is_blank(j->text[j->at])) {
        j->at++;
        while (j->bytes - j->at >= 8 && load_8(j->text + j->at) == every(' '))
            j->at += 8;
    }
    return j->at < j->bytes ? (unsigned char)j->text[j->at] : -1;
}

/* Bytes from p on that a string may hold as they are and that need no further look. */
static size_t plain_bytes(const char *p, size_t left)
{
    size_t i = 0;
    for (; left - i >= 8; i += 8) {
        uint64_t x = load_8(p + i);
        uint64_t other = (x & every(0x80)) | any_below(x, 0x20) | any_below(x ^ every('"'), 1) |
                         any_below(x ^ every('\\'), 1);
        if (other)
            return i + (size_t)__builtin_ctzll(other) / 8; /* little-endian machines */
    }
    while (i < left && (unsigned char)p[i] >= 0x20 && (unsigned char)p[i] < 0x80 && p[i] != '"' &&
           p[i] != '\\')
        i++;
    return i;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The value of \uXXXX at p, or -1. */
static int32_t hex_escape(const char *p, size_t left)
{
    if (left < 6 || p[0] != '\\' || p[1] != 'u')
        return -1;
    int32_t value = 0;
    for (int i = 2; i < 6; i++) {
        int digit = hex_digit(p[i]);
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* Bytes of the escape at p, 0 if JSON has none such. */
static size_t escape_bytes(const char *p, size_t left)
{
    if (left < 2)
        return 0;
    switch (p[1]) {
    case 'u': return hex_escape(p, left) < 0 ? 0 : 6;
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't': return 2;
    default: return 0;
    }
}

/* --- values ----------------------------------------------------------------------------------- */

/* Bytes of some of the escapes that follow each other at p, 0 if one is none that JSON has. */
static size_t escapes_bytes(const char *p, size_t left)
{
    size_t n = 0, one;
    do {
        one = escape_bytes(p + n, left - n);
        n += one;
    } while (one > 0 && n < left && n < ESCAPES_BYTES && p[n] == '\\');
    return one > 0 ? n : 0;
}

/* Bytes from p on, behind the plain ones, that stand for other characters; 0 after an error. */
static size_t special_bytes(at_json *j, const char *p, size_t left, bool *escaped)
{
    size_t n = 0;
    if (*p == '\\') {
        *escaped = true;
        n = escapes_bytes(p, left);
        if (n == 0)
            expected(j, "escapes that JSON has");
        return n;
    }
    while (n < left && (unsigned char)p[n] >= 0x80 &&
           (n < WIDE_BYTES || (n < WIDE_BYTES + 4 && ((unsigned char)p[n] & 0xc0) == 0x80)))
        n++;
    if (n == 0)
        expected(j, "a string without control characters");
    else if (!at_utf8_valid(p, n))
        n = expected(j, "a string in UTF-8");
    return n;
}

/* 'at' stands on the opening quote, and afterwards behind the closing one. */
static bool scan_string(at_json *j, at_json_text *out)
{
    size_t from = ++j->at, max = j->string_max > 0 ? j->string_max : SIZE_MAX - 1;
    bool escaped = false;
    for (;;) {
        const char *p = j->text + j->at;
        size_t used = j->at - from, left = j->bytes - j->at;
        size_t look = used <= max && left > max - used + 1 ? max - used + 1 : left, n;
        n = used > max ? 0 : plain_bytes(p, look);
        if (used + n > max)
            return at_json_refuse(j, "expected a string of at most %zu bytes at byte %zu", max,
                                  from);
        j->at += n;
        if (n == left)
            return expected(j, "'\"'");
        if (p[n] == '"')
            break;
        n = special_bytes(j, p + n, left - n, &escaped);
        if (n == 0)
            return false;
        j->at += n;
    }
    *out = (at_json_text){ j->text + from, j->at - from, escaped };
    j->at++;
    return true;
}

/* Never more than one above the limit. */
static size_t digits(const char *p, size_t left)
{
    size_t n = 0;
    left = left <= AT_JSON_NUMBER_MAX ? left : AT_JSON_NUMBER_MAX + 1;
    while (n < left && p[n] >= '0' && p[n] <= '9')
        n++;
    return n;
}

typedef struct number {
    const char *text;
    size_t at, bytes;
    bool whole; /* neither fraction nor exponent */
} number;

static bool scan_number(at_json *j, number *out)
{
    if (at_json_peek(j) != AT_JSON_NUMBER)
        return expected(j, "a number");
    size_t from = j->at, n;
    j->at += j->text[j->at] == '-';
    n = digits(j->text + j->at, j->bytes - j->at);
    if (n == 0)
        return expected(j, "a digit");
    j->at += j->text[j->at] == '0' ? 1 : n; /* a digit behind the zero meets an error there */
    bool whole = true;
    if (j->at < j->bytes && j->text[j->at] == '.') {
        j->at++;
        if ((n = digits(j->text + j->at, j->bytes - j->at)) == 0)
            return expected(j, "a digit");
        j->at += n;
        whole = false;
    }
    if (j->at < j->bytes && (j->text[j->at] == 'e' || j->text[j->at] == 'E')) {
        j->at++;
        j->at += j->at < j->bytes && (j->text[j->at] == '+' || j->text[j->at] == '-');
        if ((n = digits(j->text + j->at, j->bytes - j->at)) == 0)
            return expected(j, "a digit");
        j->at += n;
        whole = false;
    }
    *out = (number){ j->text + from, from, j->at - from, whole };
    if (out->bytes > AT_JSON_NUMBER_MAX)
        return at_json_refuse(j, "expected a number of at most %d characters at byte %zu",
                              AT_JSON_NUMBER_MAX, from);
    return true;
}

static bool refuse_number(at_json *j, const number *n, const char *what)
{
    return at_json_refuse(j, "expected %s at byte %zu, found %.*s", what, n->at,
                          (int)(n->bytes < 40 ? n->bytes : 40), n->text);
}

static bool scan_word(at_json *j, const char *word)
{
    size_t n = strlen(word);
    if (j->bytes - j->at < n || memcmp(j->text + j->at, word, n) != 0)
        return expected(j, "a value");
    j->at += n;
    return true;
}

static bool enter(at_json *j, at_json_type type, char bracket, const char *what)
{
    if (at_json_peek(j) != type)
        return expected(j, what);
    if (j->depth == AT_JSON_DEPTH_MAX)
        return at_json_refuse(j, "values are nested over %d deep at byte %zu", AT_JSON_DEPTH_MAX,
                              j->at);
    j->kind[j->depth++] = (unsigned char)bracket;
    j->at++;
    j->first = true;
    return true;
}

/* Before a member or an element: false behind the last, which closes the bracket, and on errors. */
static bool another(at_json *j, char bracket)
{
    if (j->status != AT_OK)
        return false;
    AT_ASSERT(j->depth > 0 && j->kind[j->depth - 1] == bracket, "no %c is open", bracket);
    char close = bracket == '{' ? '}' : ']';
    int c = next(j);
    if (c == close) {
        j->at++;
        j->depth--;
        j->first = false;
        return false;
    }
    if (!j->first && c != ',')
        return expected(j, bracket == '{' ? "',' or '}'" : "',' or ']'");
    j->at += !j->first;
    j->first = false;
    return true;
}

/* --- the contract ----------------------------------------------------------------------------- */

void at_json_start(at_json *j, const char *text, size_t bytes, at_error *err)
{
    *j = (at_json){ .text = text, .bytes = bytes, .err = err, .status = AT_OK };
}

at_json_type at_json_peek(at_json *j)
{
    int c = j->status == AT_OK ? next(j) : -1;
    switch (c) {
    case -1: return AT_JSON_NOTHING;
    case '{': return AT_JSON_OBJECT;
    case '[': return AT_JSON_ARRAY;
    case '"': return AT_JSON_STRING;
    case 't': return AT_JSON_TRUE;
    case 'f': return AT_JSON_FALSE;
    case 'n': return AT_JSON_NULL;
    default: break;
    }
    if (c == '-' || (c >= '0' && c <= '9'))
        return AT_JSON_NUMBER;
    expected(j, "a value");
    return AT_JSON_NOTHING;
}

bool at_json_object(at_json *j)
{
    return enter(j, AT_JSON_OBJECT, '{', "an object");
}

bool at_json_array(at_json *j)
{
    return enter(j, AT_JSON_ARRAY, '[', "an array");
}

bool at_json_key(at_json *j, at_json_text *key)
{
    if (!another(j, '{'))
        return false;
    if (next(j) != '"')
        return expected(j, "a key");
    if (!scan_string(j, key))
        return false;
    if (next(j) != ':')
        return expected(j, "':'");
    j->at++;
    return true;
}

bool at_json_element(at_json *j)
{
    return another(j, '[');
}

bool at_json_string(at_json *j, at_json_text *out)
{
    if (at_json_peek(j) != AT_JSON_STRING)
        return expected(j, "a string");
    return scan_string(j, out);
}

/* The magnitude of a whole number; false past 'max'. */
static bool magnitude(const char *p, size_t bytes, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++) {
        uint64_t digit = (uint64_t)(p[i] - '0');
        if (value > (max - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

bool at_json_int(at_json *j, int64_t *out)
{
    number n;
    uint64_t value;
    if (!scan_number(j, &n))
        return false;
    bool minus = *n.text == '-';
    uint64_t max = (uint64_t)INT64_MAX + minus;
    if (!n.whole || !magnitude(n.text + minus, n.bytes - minus, max, &value))
        return refuse_number(j, &n, "a whole number of 64 bits");
    *out = minus && value ? -(int64_t)(value - 1) - 1 : (int64_t)value;
    return true;
}

bool at_json_uint(at_json *j, uint64_t *out)
{
    number n;
    if (!scan_number(j, &n))
        return false;
    if (!n.whole || *n.text == '-' || !magnitude(n.text, n.bytes, UINT64_MAX, out))
        return refuse_number(j, &n, "a whole number from 0 to 2^64 - 1");
    return true;
}

/* strtod() rounds correctly but asks the process's locale for the decimal sign. Where a program has
 * set one without a point the number is refused, not misread. */
bool at_json_real(at_json *j, double *out)
{
    number n;
    if (!scan_number(j, &n))
        return false;
    char text[AT_JSON_NUMBER_MAX + 1], *end;
    memcpy(text, n.text, n.bytes);
    text[n.bytes] = 0;
    double value = strtod(text, &end);
    if (end != text + n.bytes)
        return refuse_number(j, &n, "a number in the spelling of this process's locale");
    if (!isfinite(value))
        return refuse_number(j, &n, "a number that a double can hold");
    *out = value;
    return true;
}

bool at_json_bool(at_json *j, bool *out)
{
    at_json_type type = at_json_peek(j);
    if (type != AT_JSON_TRUE && type != AT_JSON_FALSE)
        return expected(j, "true or false");
    *out = type == AT_JSON_TRUE;
    return scan_word(j, *out ? "true" : "false");
}

/* Reads a value that holds no others, or enters one that does. */
static bool begin(at_json *j)
{
    at_json_text string;
    number n;
    switch (at_json_peek(j)) {
    case AT_JSON_OBJECT: return at_json_object(j);
    case AT_JSON_ARRAY: return at_json_array(j);
    case AT_JSON_STRING: return scan_string(j, &string);
    case AT_JSON_NUMBER: return scan_number(j, &n);
    case AT_JSON_TRUE: return scan_word(j, "true");
    case AT_JSON_FALSE: return scan_word(j, "false");
    case AT_JSON_NULL: return scan_word(j, "null");
    case AT_JSON_NOTHING: break;
    }
    return expected(j, "a value");
}

bool at_json_skip(at_json *j)
{
    int depth = j->depth;
    bool more = begin(j);
    while (j->status == AT_OK && j->depth > depth) {
        at_json_text key;
        more = j->kind[j->depth - 1] == '{' ? at_json_key(j, &key) : at_json_element(j);
        if (more)
            begin(j);
    }
    return j->status == AT_OK;
}

bool at_json_raw(at_json *j, const char **from, size_t *bytes)
{
    next(j);
    size_t at = j->at;
    if (!at_json_skip(j))
        return false;
    *from = j->text + at;
    *bytes = j->at - at;
    return true;
}

at_status at_json_end(at_json *j)
{
    if (j->status == AT_OK && j->depth > 0)
        at_json_refuse(j, "the value that began with '%c' was not read to its end",
                       j->kind[j->depth - 1]);
    if (j->status == AT_OK && next(j) != -1)
        expected(j, "the end");
    return j->status;
}

/* --- strings ---------------------------------------------------------------------------------- */

static size_t encode(int32_t code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)((0xf00 >> n & 0xf0) | code);
    return n;
}

/* What a backslash and this letter mean. */
static char letter_means(char c)
{
    switch (c) {
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    default: return c;
    }
}

/* The escape at p as UTF-8, 'n' bytes; its own bytes, or 0 for what is no character. */
static size_t resolve(const char *p, size_t left, char out[4], size_t *n)
{
    *n = 1;
    if (p[1] != 'u') {
        out[0] = letter_means(p[1]);
        return 2;
    }
    int32_t code = hex_escape(p, left), low = hex_escape(p + 6, left - 6);
    if (code <= 0 || (code >= 0xdc00 && code < 0xe000))
        return 0;
    bool pair = code >= 0xd800 && code < 0xdc00;
    if (pair && (low < 0xdc00 || low > 0xdfff))
        return 0;
    if (pair)
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    *n = encode(code, out);
    return pair ? 12 : 6;
}

size_t at_json_unescape(const at_json_text *s, char *out, size_t room)
{
    size_t used = 0;
    for (size_t i = 0; i < s->raw_bytes;) {
        const char *p = s->raw + i;
        size_t left = s->raw_bytes - i, taken, n;
        char bytes[4];
        if (*p == '\\') {
            taken = resolve(p, left, bytes, &n);
            if (taken == 0 || n > room - used)
                return SIZE_MAX;
            for (size_t k = 0; k < n; k++)
                out[used + k] = bytes[k];
        } else {
            const char *escape = s->escaped ? memchr(p, '\\', left) : NULL;
            taken = n = escape ? (size_t)(escape - p) : left;
            if (n > room - used)
                return SIZE_MAX;
            memmove(out + used, p, n);
        }
        used += n;
        i += taken;
    }
    return used;
}

bool at_json_is(const at_json_text *s, const char *text)
{
    size_t bytes = strlen(text), used = 0;
    if (!s->escaped)
        return s->raw_bytes == bytes && memcmp(s->raw, text, bytes) == 0;
    for (size_t i = 0; i < s->raw_bytes;) {
        const char *p = s->raw + i;
        size_t taken = 1, n = 1;
        char resolved[4];
        if (*p == '\\') {
            taken = resolve(p, s->raw_bytes - i, resolved, &n);
            p = resolved;
        }
        if (taken == 0 || n > bytes - used || memcmp(p, text + used, n) != 0)
            return false;
        used += n;
        i += taken;
    }
    return used == bytes;
}
