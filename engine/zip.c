/* The directory of a zip file, read from its end: the end record (with its 64-bit twin where there
 * is one) says where the directory lies, the directory says where each member's header lies, and
 * that header where the bytes begin. Numbers are little-endian wherever this runs. */
#include "engine/zip.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tensors.h"

enum {
    END_BYTES = 22,
    END64_BYTES = 56,
    LOCATOR_BYTES = 20,
    ENTRY_BYTES = 46,
    HEADER_BYTES = 30,
    EXTRA_64 = 0x0001,
    FLAG_SIZES_FOLLOW = 1 << 3,
    FLAGS_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
};

static const uint32_t end_mark = 0x06054b50, end64_mark = 0x06064b50, locator_mark = 0x07064b50,
                      entry_mark = 0x02014b50, header_mark = 0x04034b50;

static uint64_t number(const unsigned char *at, int bytes)
{
    uint64_t n = 0;
    for (int i = bytes; i-- > 0;)
        n = n << 8 | at[i];
    return n;
}

static uint16_t u16(const unsigned char *at)
{
    return (uint16_t)number(at, 2);
}

static uint32_t u32(const unsigned char *at)
{
    return (uint32_t)number(at, 4);
}

/* --- CRC-32 ----------------------------------------------------------------------------------- */

/* Eight tables, so that eight bytes are taken at a time: reading a tensor with its checksum then
 * does 1.0 GB/s on a cloud machine with its file in memory. zlib is not asked for, because nothing
 * else here needs it. */
void at_crc_init(at_crc *c)
{
    const uint32_t polynomial = 0xedb88320u;
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t word = i;
        for (int bit = 0; bit < 8; bit++)
            word = word >> 1 ^ (word & 1 ? polynomial : 0);
        c->words[0][i] = word;
    }
    for (int t = 1; t < 8; t++)
        for (int i = 0; i < 256; i++) {
            uint32_t before = c->words[t - 1][i];
            c->words[t][i] = before >> 8 ^ c->words[0][before & 0xff];
        }
}

uint32_t at_crc_of(const at_crc *c, uint32_t crc, const void *data, size_t bytes)
{
    const unsigned char *p = data;
    crc = ~crc;
    for (; bytes >= 8; bytes -= 8, p += 8) {
        uint32_t low = crc ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
                              (uint32_t)p[3] << 24);
        crc = c->words[7][low & 0xff] ^ c->words[6][low >> 8 & 0xff] ^
              c->words[5][low >> 16 & 0xff] ^ c->words[4][low >> 24] ^ c->words[3][p[4]] ^
              c->words[2][p[5]] ^ c->words[1][p[6]] ^ c->words[0][p[7]];
    }
    for (; bytes > 0; bytes--, p++)
        crc = crc >> 8 ^ c->words[0][(crc ^ *p) & 0xff];
    return ~crc;
}

/* --- where the directory is ------------------------------------------------------------------- */

typedef struct place {
    uint64_t count, bytes, offset; /* of the directory */
    uint64_t end;                  /* where the records behind it begin */
} place;

static at_status read_end64(const at_file *f, uint64_t locator_at, const unsigned char *locator,
                            place *d, at_error *err)
{
    unsigned char end[END64_BYTES];
    uint64_t at = number(locator + 8, 8);
    if (u32(locator + 4) != 0 || u32(locator + 16) > 1)
        return at_fail(err, AT_UNSUPPORTED, "%s: is one part of a split zip file", f->path);
    if (at > locator_at || locator_at - at < END64_BYTES)
        return at_fail(err, AT_CORRUPT, "%s: its zip64 end record would lie at byte %" PRIu64,
                       f->path, at);
    at_status status = at_file_read(f, at, end, sizeof end, err);
    if (status != AT_OK)
        return status;
    place d64 = { number(end + 32, 8), number(end + 40, 8), number(end + 48, 8), at };
    bool agrees = (d->count == 0xffff || d->count == d64.count) &&
                  (d->bytes == 0xffffffff || d->bytes == d64.bytes) &&
                  (d->offset == 0xffffffff || d->offset == d64.offset);
    if (u32(end) != end64_mark || number(end + 4, 8) != locator_at - at - 12 || !agrees)
        return at_fail(err, AT_CORRUPT, "%s: its two zip end records contradict each other",
                       f->path);
    if (u32(end + 16) != 0 || u32(end + 20) != 0 || number(end + 24, 8) != d64.count)
        return at_fail(err, AT_UNSUPPORTED, "%s: is one part of a split zip file", f->path);
    *d = d64;
    return AT_OK;
}

static at_status find_directory(const at_file *f, place *d, at_error *err)
{
    unsigned char tail[LOCATOR_BYTES + END_BYTES] = { 0 }, *end = tail + LOCATOR_BYTES;
    if (f->bytes < END_BYTES)
        return at_fail(err, AT_CORRUPT, "%s: its %" PRIu64 " bytes are too few for a zip file",
                       f->path, f->bytes);
    size_t have = f->bytes < sizeof tail ? (size_t)f->bytes : sizeof tail;
    at_status status = at_file_read(f, f->bytes - have, tail + sizeof tail - have, have, err);
    if (status != AT_OK)
        return status;
    if (u32(end) != end_mark || u16(end + 20) != 0)
        return at_fail(err, AT_CORRUPT,
                       "%s: does not end in a zip file's end record; is it cut off?", f->path);
    if (u16(end + 4) != 0 || u16(end + 6) != 0 || u16(end + 8) != u16(end + 10))
        return at_fail(err, AT_UNSUPPORTED, "%s: is one part of a split zip file", f->path);
    *d = (place){ u16(end + 10), u32(end + 12), u32(end + 16), f->bytes - END_BYTES };
    if (u32(tail) == locator_mark)
        status = read_end64(f, f->bytes - sizeof tail, tail, d, err);
    if (status == AT_OK && (d->offset > d->end || d->bytes != d->end - d->offset))
        return at_fail(err, AT_CORRUPT,
                       "%s: its zip directory would be %" PRIu64 " bytes at %" PRIu64
                       ", which is not where it ends",
                       f->path, d->bytes, d->offset);
    return status;
}

/* --- members ---------------------------------------------------------------------------------- */

/* A member's name as a sentence may show it: AT_ZIP_NAME_MAX holds, but nothing else was
 * checked. */
typedef struct shown {
    char text[100];
} shown;

static shown show(const char *name, size_t bytes)
{
    shown s;
    size_t n = bytes < sizeof s.text - 1 ? bytes : sizeof s.text - 1;
    for (size_t i = 0; i < n; i++)
        s.text[i] = name[i] >= ' ' && name[i] <= '~' ? name[i] : '?';
    s.text[n] = 0;
    return s;
}

/* Nobody here writes files by these names; but who unpacks such an archive does. */
static bool name_is_harmless(const char *name, size_t bytes)
{
    size_t part = 0;
    if (bytes == 0 || bytes > AT_ZIP_NAME_MAX || name[0] == '/' || !at_utf8_valid(name, bytes))
        return false;
    for (size_t i = 0; i <= bytes; i++) {
        if (i < bytes && ((unsigned char)name[i] < ' ' || name[i] == '\\' || name[i] == 0x7f))
            return false;
        if (i < bytes && name[i] != '/')
            continue;
        if (i - part == 2 && name[part] == '.' && name[part + 1] == '.')
            return false;
        part = i + 1;
    }
    return true;
}

/* The next of the numbers in a zip64 extra field, in place of one that does not fit 32 bits. */
static bool widen(uint64_t *n, const unsigned char **extra, size_t *left)
{
    if (*n != 0xffffffff)
        return true;
    if (*left < 8)
        return false;
    *n = number(*extra, 8);
    *extra += 8;
    *left -= 8;
    return true;
}

/* The zip64 part of extra fields; false when they do not fill their room exactly. */
static bool find_extra64(const unsigned char *extra, size_t bytes, const unsigned char **found,
                         size_t *found_bytes)
{
    *found = NULL;
    *found_bytes = 0;
    while (bytes >= 4) {
        size_t part = u16(extra + 2);
        if (part > bytes - 4)
            return false;
        if (u16(extra) == EXTRA_64) {
            *found = extra + 4;
            *found_bytes = part;
        }
        extra += 4 + part;
        bytes -= 4 + part;
    }
    return bytes == 0;
}

static at_status check_entry(const at_zip *z, const unsigned char *e, shown name, at_error *err)
{
    if (u16(e + 8) & FLAGS_ENCRYPTED)
        return at_fail(err, AT_UNSUPPORTED, "%s: member '%s' is encrypted", z->file->path,
                       name.text);
    if (u16(e + 10) != 0)
        return at_fail(err, AT_UNSUPPORTED,
                       "%s: member '%s' is compressed; torch.save compresses nothing, and what "
                       "unfolds can be a bomb",
                       z->file->path, name.text);
    if (u16(e + 34) != 0)
        return at_fail(err, AT_UNSUPPORTED, "%s: is one part of a split zip file", z->file->path);
    return AT_OK;
}

/* One entry of the directory, at '*at'. Until its header is read, offset is the header's. */
static at_status read_entry(const at_zip *z, size_t *at, at_zip_member *m, at_error *err)
{
    const unsigned char *e = z->directory + *at, *extra;
    size_t left = z->directory_bytes - *at, extra_left;
    size_t room = left < ENTRY_BYTES || u32(e) != entry_mark
                      ? 0
                      : (size_t)ENTRY_BYTES + u16(e + 28) + u16(e + 30) + u16(e + 32);
    if (room == 0 || room > left)
        return at_fail(err, AT_CORRUPT, "%s: its zip directory is broken at byte %zu",
                       z->file->path, *at);
    *at += room;
    *m = (at_zip_member){ .name = (const char *)e + ENTRY_BYTES,
                          .name_bytes = u16(e + 28),
                          .crc = u32(e + 16),
                          .bytes = u32(e + 24),
                          .offset = u32(e + 42) };
    uint64_t packed = u32(e + 20);
    shown name = show(m->name, m->name_bytes);
    at_status status = check_entry(z, e, name, err);
    if (status != AT_OK)
        return status;
    if (!name_is_harmless(m->name, m->name_bytes))
        return at_fail(err, AT_CORRUPT,
                       "%s: member '%s' has a name that leads out of its folder, "
                       "is too long or is not text",
                       z->file->path, name.text);
    bool good = find_extra64(e + ENTRY_BYTES + m->name_bytes, u16(e + 30), &extra, &extra_left) &&
                widen(&m->bytes, &extra, &extra_left) && widen(&packed, &extra, &extra_left) &&
                widen(&m->offset, &extra, &extra_left);
    if (!good || packed != m->bytes)
        return at_fail(err, AT_CORRUPT, "%s: member '%s' has sizes that contradict each other",
                       z->file->path, name.text);
    return AT_OK;
}

/* Whether the header 'h', of which 'have' bytes were read, says what the directory says of 'm'. */
static bool header_agrees(const at_zip_member *m, const unsigned char *h, size_t have)
{
    size_t name_bytes = u16(h + 26), names_end = HEADER_BYTES + name_bytes;
    uint64_t bytes = u32(h + 22), packed = u32(h + 18);
    bool later = u16(h + 6) & FLAG_SIZES_FOLLOW;
    if (u32(h) != header_mark || u16(h + 6) & FLAGS_ENCRYPTED || u16(h + 8) != 0 ||
        name_bytes != m->name_bytes || memcmp(h + HEADER_BYTES, m->name, name_bytes) != 0)
        return false;
    if (later && bytes == 0 && packed == 0)
        return u32(h + 14) == 0 || u32(h + 14) == m->crc;
    /* The only extra field that matters comes first; behind it may be a padding of any length. */
    const unsigned char *extra = h + names_end;
    size_t left = have - names_end;
    bool is64 = left >= 4 && u16(h + 28) >= 4 && u16(extra) == EXTRA_64;
    left = is64 ? u16(extra + 2) < left - 4 ? u16(extra + 2) : left - 4 : 0;
    extra += 4;
    return widen(&bytes, &extra, &left) && widen(&packed, &extra, &left) && bytes == m->bytes &&
           packed == m->bytes && u32(h + 14) == m->crc;
}

/* Reads the header of a member, which with its bytes must end before 'end'. */
static at_status read_header(const at_zip *z, at_zip_member *m, uint64_t end, at_error *err)
{
    enum { EXTRA_READ = 4 + 16 };
    unsigned char h[HEADER_BYTES + AT_ZIP_NAME_MAX + EXTRA_READ];
    shown name = show(m->name, m->name_bytes);
    uint64_t at = m->offset, room = at < end ? end - at : 0;
    size_t header = HEADER_BYTES + m->name_bytes;
    if (room >= header && room - header >= m->bytes) {
        size_t have = room < header + EXTRA_READ ? (size_t)room : header + EXTRA_READ;
        at_status status = at_file_read(z->file, at, h, have, err);
        if (status != AT_OK)
            return status;
        if (!header_agrees(m, h, have))
            return at_fail(err, AT_CORRUPT,
                           "%s: the header of member '%s' does not say what the zip directory says",
                           z->file->path, name.text);
        header += u16(h + 28);
    }
    if (room < header || room - header < m->bytes)
        return at_fail(err, AT_CORRUPT,
                       "%s: member '%s' of %" PRIu64 " bytes at byte %" PRIu64
                       " overlaps what follows at byte %" PRIu64,
                       z->file->path, name.text, m->bytes, at, end);
    m->offset = at + header;
    return AT_OK;
}

static int compare_offsets(const void *a, const void *b)
{
    const at_zip_member *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Shorter names first: whoever looks for one knows its length. */
static int compare_names(const void *a, const void *b)
{
    const at_zip_member *x = *(const at_zip_member *const *)a;
    const at_zip_member *y = *(const at_zip_member *const *)b;
    if (x->name_bytes != y->name_bytes)
        return x->name_bytes < y->name_bytes ? -1 : 1;
    return memcmp(x->name, y->name, x->name_bytes);
}

static at_status sort_names(at_zip *z, at_error *err)
{
    for (int i = 0; i < z->count; i++)
        z->by_name[i] = &z->members[i];
    if (z->count)
        qsort(z->by_name, (size_t)z->count, sizeof *z->by_name, compare_names);
    for (int i = 1; i < z->count; i++)
        if (compare_names(&z->by_name[i - 1], &z->by_name[i]) == 0)
            return at_fail(err, AT_CORRUPT, "%s: member '%s' is there twice", z->file->path,
                           show(z->by_name[i]->name, z->by_name[i]->name_bytes).text);
    return AT_OK;
}

static at_status read_members(at_zip *z, const place *d, at_error *err)
{
    at_status status = AT_OK;
    size_t at = 0;
    for (; (uint64_t)z->count < d->count && status == AT_OK; z->count++)
        status = read_entry(z, &at, &z->members[z->count], err);
    if (status != AT_OK)
        return status;
    if (at != z->directory_bytes)
        return at_fail(err, AT_CORRUPT, "%s: its zip directory holds more than its %d members",
                       z->file->path, z->count);
    if (z->count)
        qsort(z->members, (size_t)z->count, sizeof *z->members, compare_offsets);
    /* Upwards: the next member's offset is still that of its header. */
    for (int i = 0; i < z->count && status == AT_OK; i++)
        status = read_header(z, &z->members[i],
                             i + 1 < z->count ? z->members[i + 1].offset : d->offset, err);
    return status;
}

/* --- opening ---------------------------------------------------------------------------------- */

at_status at_zip_open(at_zip *z, const at_file *file, at_error *err)
{
    place d = { 0 };
    *z = (at_zip){ .file = file };
    at_status status = find_directory(file, &d, err);
    if (status != AT_OK)
        return status;
    if (d.count > AT_ZIP_MEMBERS_MAX)
        return at_fail(err, AT_CORRUPT, "%s: %" PRIu64 " members of a zip file; the limit is %d",
                       file->path, d.count, AT_ZIP_MEMBERS_MAX);
    if (d.count > d.bytes / ENTRY_BYTES)
        return at_fail(err, AT_CORRUPT,
                       "%s: its zip directory of %" PRIu64 " bytes cannot list %" PRIu64 " members",
                       file->path, d.bytes, d.count);
    if (d.bytes > d.count * (ENTRY_BYTES + 3 * (uint64_t)UINT16_MAX))
        return at_fail(err, AT_CORRUPT, "%s: its zip directory has bytes that list no member",
                       file->path);
    z->directory_bytes = (size_t)d.bytes;
    z->directory = malloc(z->directory_bytes + 1);
    z->members = malloc((size_t)(d.count + 1) * sizeof *z->members);
    z->by_name = malloc((size_t)(d.count + 1) * sizeof *z->by_name);
    if (!z->directory || !z->members || !z->by_name)
        return at_fail(err, AT_NO_MEMORY, "%s: no memory for the %" PRIu64 " members of a zip file",
                       file->path, d.count);
    status = at_file_read(file, d.offset, z->directory, z->directory_bytes, err);
    if (status == AT_OK)
        status = read_members(z, &d, err);
    if (status == AT_OK)
        status = sort_names(z, err);
    return status;
}

void at_zip_close(at_zip *z)
{
    free(z->members);
    free(z->by_name);
    free(z->directory);
    *z = (at_zip){ 0 };
}

/* --- finding ---------------------------------------------------------------------------------- */

static int compare_with(const at_zip_member *m, const char *folder, size_t folder_bytes,
                        const char *name, size_t name_bytes)
{
    if (m->name_bytes != folder_bytes + name_bytes)
        return m->name_bytes < folder_bytes + name_bytes ? -1 : 1;
    int order = folder_bytes ? memcmp(m->name, folder, folder_bytes) : 0;
    return order || !name_bytes ? order : memcmp(m->name + folder_bytes, name, name_bytes);
}

const at_zip_member *at_zip_find(const at_zip *z, const char *folder, size_t folder_bytes,
                                 const char *name, size_t name_bytes)
{
    int low = 0, high = z->count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        int order = compare_with(z->by_name[middle], folder, folder_bytes, name, name_bytes);
        if (order == 0)
            return z->by_name[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const at_zip_member *at_zip_at(const at_zip *z, uint64_t offset)
{
    int low = 0, high = z->count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (z->members[middle].offset == offset)
            return &z->members[middle];
        if (z->members[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
