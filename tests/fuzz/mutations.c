/* mutations.c -- how an input is damaged: bits, bytes, numbers in either byte order and in digits,
 * pieces cut, doubled, moved and taken from another seed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

enum { INPUT_MAX = 4 << 20 };

uint64_t at_dice_next(at_dice *d)
{
    uint64_t z = d->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

size_t at_dice_below(at_dice *d, size_t n)
{
    return n ? (size_t)(at_dice_next(d) % n) : 0;
}

void at_bytes_set(at_bytes *b, const void *data, size_t bytes)
{
    if (b->room < bytes + 1) {
        b->data = realloc(b->data, bytes + 1);
        AT_ASSERT(b->data, "no memory for %zu bytes of input", bytes);
        b->room = bytes + 1;
    }
    if (bytes)
        memmove(b->data, data, bytes);
    b->count = bytes;
}

/* Puts 'bytes' bytes at 'from' before position 'at'. 'from' is not part of 'b'. */
static void insert(at_bytes *b, size_t at, const unsigned char *from, size_t bytes)
{
    if (b->count + bytes > INPUT_MAX)
        return;
    if (b->room < b->count + bytes + 1) {
        b->room = b->count + bytes + 1;
        b->data = realloc(b->data, b->room);
        AT_ASSERT(b->data, "no memory for %zu bytes of input", b->room);
    }
    memmove(b->data + at + bytes, b->data + at, b->count - at);
    memcpy(b->data + at, from, bytes);
    b->count += bytes;
}

static void erase(at_bytes *b, size_t at, size_t bytes)
{
    memmove(b->data + at, b->data + at + bytes, b->count - at - bytes);
    b->count -= bytes;
}

/* Mostly short, sometimes anything. */
static size_t some_length(at_dice *d, size_t most)
{
    size_t limit = at_dice_below(d, 4) ? 16 : most;
    return at_dice_below(d, (limit < most ? limit : most) + 1);
}

/* --- the ways --------------------------------------------------------------------------------- */

typedef void mutation(at_bytes *b, const at_bytes *other, at_dice *d);

static void flip_bit(at_bytes *b, const at_bytes *other, at_dice *d)
{
    (void)other;
    if (b->count)
        b->data[at_dice_below(d, b->count)] ^= (unsigned char)(1u << at_dice_below(d, 8));
}

static void set_byte(at_bytes *b, const at_bytes *other, at_dice *d)
{
    static const unsigned char telling[] = { 0, 1, 0x7f, 0x80, 0xff, '"', '{', '[', '.', '(' };
    (void)other;
    if (b->count)
        b->data[at_dice_below(d, b->count)] = at_dice_below(d, 2)
                                                  ? telling[at_dice_below(d, AT_COUNT(telling))]
                                                  : (unsigned char)at_dice_next(d);
}

/* A number of 2, 4 or 8 bytes at the edge of what it can hold, or near the input's own size. */
static void set_number(at_bytes *b, const at_bytes *other, at_dice *d)
{
    static const uint64_t edges[] = { 0,
                                      1,
                                      0x7fff,
                                      0x8000,
                                      0xffff,
                                      0x7fffffff,
                                      0x80000000,
                                      0xffffffff,
                                      0x7fffffffffffffff,
                                      0x8000000000000000,
                                      0xffffffffffffffff };
    (void)other;
    size_t width = (size_t)2 << at_dice_below(d, 3);
    if (b->count < width)
        return;
    uint64_t x = at_dice_below(d, 3) ? edges[at_dice_below(d, AT_COUNT(edges))]
                                     : b->count + at_dice_below(d, 9) - 4;
    unsigned char *to = b->data + at_dice_below(d, b->count - width + 1);
    bool little = at_dice_below(d, 2) == 0;
    for (size_t i = 0; i < width; i++)
        to[little ? i : width - 1 - i] = (unsigned char)(x >> (8 * i));
}

/* Another number in place of a run of digits, for formats that are text. */
static void set_digits(at_bytes *b, const at_bytes *other, at_dice *d)
{
    static const char *const edges[] = { "0",
                                         "-1",
                                         "4294967296",
                                         "9223372036854775807",
                                         "9223372036854775808",
                                         "18446744073709551616",
                                         "1e999",
                                         "0.5",
                                         "00" };
    (void)other;
    size_t from = at_dice_below(d, b->count), to;
    while (from < b->count && (b->data[from] < '0' || b->data[from] > '9'))
        from++;
    for (to = from; to < b->count && b->data[to] >= '0' && b->data[to] <= '9';)
        to++;
    if (from == to)
        return;
    const char *text = edges[at_dice_below(d, AT_COUNT(edges))];
    erase(b, from, to - from);
    insert(b, from, (const unsigned char *)text, strlen(text));
}

static void cut_end(at_bytes *b, const at_bytes *other, at_dice *d)
{
    (void)other;
    b->count =
        at_dice_below(d, 2) ? at_dice_below(d, b->count + 1) : b->count - some_length(d, b->count);
}

static void cut_piece(at_bytes *b, const at_bytes *other, at_dice *d)
{
    (void)other;
    size_t bytes = some_length(d, b->count);
    erase(b, at_dice_below(d, b->count - bytes + 1), bytes);
}

/* A piece of 'from', copied to somewhere in 'b'. */
static void bring_piece(at_bytes *b, const at_bytes *from, at_dice *d)
{
    size_t bytes = some_length(d, from->count);
    unsigned char *piece = malloc(bytes + 1);
    AT_ASSERT(piece, "no memory for %zu bytes of input", bytes);
    memcpy(piece, from->data + at_dice_below(d, from->count - bytes + 1), bytes);
    size_t at = at_dice_below(d, b->count + 1);
    if (at_dice_below(d, 2) && at + bytes <= b->count)
        memcpy(b->data + at, piece, bytes);
    else
        insert(b, at, piece, bytes);
    free(piece);
}

static void double_piece(at_bytes *b, const at_bytes *other, at_dice *d)
{
    (void)other;
    bring_piece(b, b, d);
}

static void splice(at_bytes *b, const at_bytes *other, at_dice *d)
{
    bring_piece(b, other, d);
}

void at_mutate(at_bytes *b, const at_bytes *other, at_dice *d)
{
    static mutation *const ways[] = { flip_bit,   set_byte, set_byte,  set_number,   set_number,
                                      set_digits, cut_end,  cut_piece, double_piece, splice };
    for (size_t left = 1 + at_dice_below(d, 1 + at_dice_below(d, 8)); left > 0; left--)
        ways[at_dice_below(d, AT_COUNT(ways))](b, other, d);
}
