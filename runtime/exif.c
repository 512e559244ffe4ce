/* exif.c -- TIFF's directory: a count, entries of twelve bytes (tag, type, count, value or the
 * offset of the value), all in the byte order that the block begins with. */
#include "runtime/exif.h"

#include <string.h>

enum { TAG_ORIENTATION = 0x0112, TYPE_ASCII = 2, TYPE_SHORT = 3, TYPE_LONG = 4, ENTRY_BYTES = 12 };

typedef struct exif_name {
    unsigned tag;
    const char *name;
} exif_name;

static const exif_name names[] = {
    { 0x010E, "description" }, { 0x010F, "make" },      { 0x0110, "model" },
    { 0x0131, "software" },    { 0x0132, "date_time" }, { 0x013B, "artist" },
    { 0x8298, "copyright" },
};
_Static_assert(AT_COUNT(names) <= AT_EXIF_TEXTS_MAX, "a place for each text");

typedef struct exif_block {
    const unsigned char *data;
    size_t bytes;
    bool big_endian;
} exif_block;

static uint32_t number(const exif_block *b, size_t at, int bytes)
{
    uint32_t v = 0;
    for (int i = 0; i < bytes; i++)
        v = v << 8 | b->data[at + (size_t)(b->big_endian ? i : bytes - 1 - i)];
    return v;
}

static bool has_text(const at_exif *e, const char *name)
{
    for (int i = 0; i < e->n_texts; i++)
        if (!strcmp(e->text[i].name, name))
            return true;
    return false;
}

/* Adds the text of an entry; false when it lies outside. */
static bool take_text(at_exif *out, const exif_block *b, size_t entry, const char *name)
{
    size_t count = number(b, entry + 4, 4), at = count <= 4 ? entry + 8 : number(b, entry + 8, 4);
    if (at > b->bytes || count > b->bytes - at)
        return false;
    const unsigned char *end = memchr(b->data + at, 0, count);
    size_t bytes = end ? (size_t)(end - (b->data + at)) : count;
    if (bytes > 0 && !has_text(out, name))
        out->text[out->n_texts++] = (at_exif_text){ name, b->data + at, bytes };
    return true;
}

/* One entry, which lies in the block. */
static bool take_entry(at_exif *out, const exif_block *b, size_t entry)
{
    uint32_t tag = number(b, entry, 2), type = number(b, entry + 2, 2);
    if (tag == TAG_ORIENTATION && (type == TYPE_SHORT || type == TYPE_LONG)) {
        uint32_t v = number(b, entry + 8, type == TYPE_SHORT ? 2 : 4);
        out->orientation = v >= 1 && v <= 8 ? (int)v : 1;
    }
    for (size_t i = 0; i < AT_COUNT(names) && type == TYPE_ASCII; i++)
        if (names[i].tag == tag)
            return take_text(out, b, entry, names[i].name);
    return true;
}

bool at_exif_read(at_exif *out, const unsigned char *block, size_t bytes)
{
    *out = (at_exif){ .orientation = 1 };
    exif_block b = { block, bytes, false };
    if (bytes < 8 || (memcmp(block, "II*\0", 4) != 0 && memcmp(block, "MM\0*", 4) != 0))
        return false;
    b.big_endian = block[0] == 'M';
    size_t at = number(&b, 4, 4);
    if (at > bytes || bytes - at < 2)
        return false;
    size_t count = number(&b, at, 2), room = (bytes - at - 2) / ENTRY_BYTES;
    size_t limit = count < room ? count : room;
    limit = limit < AT_EXIF_ENTRIES_MAX ? limit : AT_EXIF_ENTRIES_MAX;
    bool whole = limit == count;
    for (size_t i = 0; i < limit; i++)
        whole = take_entry(out, &b, at + 2 + i * ENTRY_BYTES) && whole;
    return whole;
}
