/* Tables are searched by halves: a text is short beside what is done with its tokens. Below
 * U+00C0 nothing is searched, and a text that stays below U+0300 is composed already. */
#include "models/unicode.h"

#include <string.h>

/* --- tables ----------------------------------------------------------------------------------- */

/* Every row begins with the first code point that it is about. */
typedef struct range {
    uint32_t first, last;
} range;

typedef struct capitals {
    uint32_t first, last, step;
    int32_t add;
} capitals;

typedef struct parts {
    uint32_t from, to[2]; /* the second is 0 where there is one */
} parts;

typedef struct pair {
    uint32_t first, second, result;
} pair;

typedef struct marks {
    uint32_t first, last, class;
} marks;

#define AT_LETTERS(first, last)
#define AT_NUMBERS(first, last) { first, last },
static const range numbers[] = {
#include "models/unicode_classes.def"
};
#undef AT_LETTERS
#undef AT_NUMBERS
#define AT_LETTERS(first, last) { first, last },
#define AT_NUMBERS(first, last)
static const range letters[] = {
#include "models/unicode_classes.def"
};
#undef AT_LETTERS
#undef AT_NUMBERS

#define AT_LOWER(first, last, step, add) { first, last, step, add },
static const capitals capital_letters[] = {
#include "models/unicode_lower.def"
};
#undef AT_LOWER

#define AT_SAME(from, to) { from, { to, 0 } },
#define AT_PARTS(from, first, second)
static const parts singles[] = {
#include "models/unicode_decompose.def"
};
#undef AT_SAME
#undef AT_PARTS
#define AT_SAME(from, to)
#define AT_PARTS(from, first, second) { from, { first, second } },
static const parts doubles[] = {
#include "models/unicode_decompose.def"
};
#undef AT_SAME
#undef AT_PARTS

#define AT_COMPOSE(first, second, result) { first, second, result },
#define AT_MARKS(first, last, class)
static const pair pairs[] = {
#include "models/unicode_compose.def"
};
#undef AT_COMPOSE
#undef AT_MARKS
#define AT_COMPOSE(first, second, result)
#define AT_MARKS(first, last, class) { first, last, class },
static const marks classes[] = {
#include "models/unicode_compose.def"
};
#undef AT_COMPOSE
#undef AT_MARKS

static uint32_t first_of(const void *table, size_t row_bytes, size_t i)
{
    uint32_t first;
    memcpy(&first, (const char *)table + i * row_bytes, sizeof first);
    return first;
}

/* The last row that begins at c or before it, or NULL. */
static const void *row_before(const void *table, size_t rows, size_t row_bytes, uint32_t c)
{
    size_t low = 0, high = rows;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (first_of(table, row_bytes, middle) <= c)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? (const char *)table + (low - 1) * row_bytes : NULL;
}

#define ROW_BEFORE(table, c) row_before(table, AT_COUNT(table), sizeof *(table), c)

/* --- UTF-8 ------------------------------------------------------------------------------------ */

/* Bytes of the character at p, its code point in 'out'; 0 if there is none. */
static size_t decode_one(uint32_t *out, const unsigned char *p, size_t left)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    size_t n = *p < 0x80 ? 1 : *p < 0xc2 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf5 ? 4 : 0;
    if (n == 0 || n > left)
        return 0;
    uint32_t c = n == 1 ? *p : *p & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3fu);
    }
    *out = c;
    return c < least[n] || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff ? 0 : n;
}

at_status at_unicode_decode(uint32_t *out, size_t *count, const char *text, size_t bytes,
                            at_error *err)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t at = 0, n;
    for (*count = 0; at < bytes; at += n) {
        n = decode_one(&out[*count], p + at, bytes - at);
        if (n == 0)
            return at_fail(err, AT_INVALID, "expected text in UTF-8, found 0x%02x at byte %zu",
                           p[at], at);
        ++*count;
    }
    return AT_OK;
}

size_t at_unicode_encode(unsigned char out[4], uint32_t c)
{
    if (c < 0x80) {
        out[0] = (unsigned char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; c >>= 6)
        out[i] = (unsigned char)(0x80 | (c & 0x3f));
    out[0] = (unsigned char)((0xf00u >> n & 0xff) | c);
    return n;
}

/* --- classes and lower case ------------------------------------------------------------------- */

bool at_unicode_is_letter(uint32_t c)
{
    if (c < 0x80)
        return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
    const range *r = ROW_BEFORE(letters, c);
    return c <= r->last;
}

bool at_unicode_is_number(uint32_t c)
{
    if (c < 0x80)
        return c >= '0' && c <= '9';
    const range *r = ROW_BEFORE(numbers, c);
    return c <= r->last;
}

bool at_unicode_is_blank(uint32_t c)
{
    if (c < 0x1680)
        return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0;
    return c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

size_t at_unicode_lower(uint32_t out[2], uint32_t c)
{
    out[0] = c;
    if (c < 0x80) {
        out[0] += c >= 'A' && c <= 'Z' ? 0x20 : 0;
        return 1;
    }
    if (c == 0x130) {
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    const capitals *r = ROW_BEFORE(capital_letters, c);
    if (c <= r->last && (c - r->first) % r->step == 0)
        out[0] = (uint32_t)((int32_t)c + r->add);
    return 1;
}

/* --- composed form ---------------------------------------------------------------------------- */

enum {
    HANGUL = 0xac00, /* the syllables, made of one of LEADS, VOWELS and perhaps TAILS */
    HANGUL_COUNT = 11172,
    LEADS = 0x1100,
    LEAD_COUNT = 19,
    VOWELS = 0x1161,
    VOWEL_COUNT = 21,
    TAILS = 0x11a7, /* one before the first */
    TAIL_COUNT = 28,
    PARTS_MAX = 4, /* that a code point comes apart into */
    CLASS_SHIFT = 24
};

/* While it is worked on, a mark carries its class above CLASS_SHIFT; anything else has class 0. */
static uint32_t with_class(uint32_t c)
{
    const marks *r = c < 0x300 ? NULL : ROW_BEFORE(classes, c);
    return r && c <= r->last ? c | r->class << CLASS_SHIFT : c;
}

static uint32_t class_of(uint32_t packed)
{
    return packed >> CLASS_SHIFT;
}

static size_t take_hangul_apart(uint32_t *out, uint32_t c)
{
    uint32_t i = c - HANGUL, tail = i % TAIL_COUNT;
    out[0] = LEADS + i / (VOWEL_COUNT * TAIL_COUNT);
    out[1] = VOWELS + i / TAIL_COUNT % VOWEL_COUNT;
    out[2] = TAILS + tail;
    return tail ? 3 : 2;
}

/* Wholly: the first part may come apart again. From the last to the first, so that the parts lie in
 * order. */
static size_t take_apart(uint32_t *out, uint32_t c)
{
    uint32_t reversed[PARTS_MAX];
    size_t n = 0;
    if (c < 0xc0) {
        out[0] = c;
        return 1;
    }
    if (c - HANGUL < HANGUL_COUNT)
        return take_hangul_apart(out, c);
    for (bool more = true; more;) {
        const parts *one = ROW_BEFORE(singles, c), *two = ROW_BEFORE(doubles, c);
        if (two && two->from == c) {
            AT_ASSERT(n < PARTS_MAX - 1, "U+%04X has too many parts", c);
            reversed[n++] = two->to[1];
            c = two->to[0];
        } else if (one && one->from == c) {
            c = one->to[0];
        } else {
            more = false;
        }
    }
    out[0] = with_class(c);
    for (size_t i = 0; i < n; i++)
        out[i + 1] = with_class(reversed[n - 1 - i]);
    return n + 1;
}

/* By class, those of one class as they stood. */
static void sort_marks(uint32_t *marks_at, uint32_t *spare, size_t count)
{
    size_t starts[256] = { 0 };
    bool sorted = true;
    for (size_t i = 1; i < count; i++)
        sorted = sorted && class_of(marks_at[i - 1]) <= class_of(marks_at[i]);
    if (sorted)
        return;
    for (size_t i = 0; i < count; i++)
        starts[class_of(marks_at[i])]++;
    for (size_t i = 0, sum = 0; i < AT_COUNT(starts); i++) {
        size_t n = starts[i];
        starts[i] = sum;
        sum += n;
    }
    for (size_t i = 0; i < count; i++)
        spare[starts[class_of(marks_at[i])]++] = marks_at[i];
    memcpy(marks_at, spare, count * sizeof *spare);
}

static void order_marks(uint32_t *points, uint32_t *spare, size_t count)
{
    for (size_t i = 0, end; i < count; i = end + 1) {
        for (end = i; end < count && class_of(points[end]); end++)
            continue;
        if (end - i > 1)
            sort_marks(points + i, spare, end - i);
    }
}

/* What two become, or 0. */
static uint32_t join(uint32_t a, uint32_t b)
{
    if (a - LEADS < LEAD_COUNT && b - VOWELS < VOWEL_COUNT)
        return HANGUL + ((a - LEADS) * VOWEL_COUNT + (b - VOWELS)) * TAIL_COUNT;
    if (a - HANGUL < HANGUL_COUNT && (a - HANGUL) % TAIL_COUNT == 0 && b > TAILS &&
        b < TAILS + TAIL_COUNT)
        return a + (b - TAILS);
    size_t low = 0, high = AT_COUNT(pairs);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const pair *p = &pairs[middle];
        if (p->first == a && p->second == b)
            return p->result;
        if (p->first < a || (p->first == a && p->second < b))
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

/* In place; takes the classes off. A mark joins the last code point that is none, unless one of its
 * own class or above stands between. */
static size_t join_all(uint32_t *points, size_t count)
{
    size_t out = 0, base = SIZE_MAX;
    uint32_t before = 0; /* class of what stands before, behind the base */
    for (size_t i = 0; i < count; i++) {
        uint32_t c = points[i] & ((1u << CLASS_SHIFT) - 1), class = class_of(points[i]), joined = 0;
        if (base != SIZE_MAX && (out == base + 1 || before < class))
            joined = join(points[base], c);
        if (joined) {
            points[base] = joined;
            continue;
        }
        if (class == 0)
            base = out;
        before = class;
        points[out++] = c;
    }
    return out;
}

size_t at_unicode_nfc_room(const uint32_t *in, size_t count)
{
    size_t room = 0;
    for (size_t i = 0; i < count; i++)
        room += in[i] < 0xc0 ? 1 : PARTS_MAX;
    return room;
}

size_t at_unicode_nfc(uint32_t *out, uint32_t *spare, const uint32_t *in, size_t count)
{
    uint32_t all = 0;
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        all |= in[i];
    if (all < 0x100) {
        memcpy(out, in, count * sizeof *out);
        return count;
    }
    for (size_t i = 0; i < count; i++)
        n += take_apart(out + n, in[i]);
    order_marks(out, spare, n);
    return join_all(out, n);
}
