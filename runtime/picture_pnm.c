/* picture_pnm.c -- PBM, PGM and PPM with binary samples, which need no library: a mark, three
 * numbers in plain text, then the samples, the upper byte first. */
#include <string.h>

#include "runtime/picture_format.h"

typedef struct pnm {
    int kind; /* 4 bits, 5 grey, 6 RGB */
    int64_t width, height, highest;
    size_t at; /* of the samples */
} pnm;

static bool is_blank(unsigned char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The number at *at, behind blanks and comments; -1: none, or too large for any picture. */
static int64_t take_number(const at_picture_load *load, size_t *at)
{
    int64_t value = -1;
    bool comment = false;
    for (; *at < load->bytes; (*at)++) {
        unsigned char c = load->data[*at];
        comment = (comment || c == '#') && c != '\n' && c != '\r';
        if (!comment && !is_blank(c))
            break;
    }
    for (; *at < load->bytes && load->data[*at] >= '0' && load->data[*at] <= '9'; (*at)++) {
        value = (value < 0 ? 0 : value) * 10 + (load->data[*at] - '0');
        if (value > 1 << 24)
            return -1;
    }
    return value;
}

static at_status read_head(at_picture_load *load, pnm *p, at_error *err)
{
    p->at = 2;
    p->width = take_number(load, &p->at);
    p->height = take_number(load, &p->at);
    p->highest = p->kind == 4 ? 1 : take_number(load, &p->at);
    if (p->width < 0 || p->height < 0 || p->highest < 1 || p->highest > 65535 ||
        p->at >= load->bytes || !is_blank(load->data[p->at]))
        return at_fail(err, AT_CORRUPT,
                       "%s: the pnm does not begin with its width, height and "
                       "highest sample",
                       load->name);
    p->at++;
    return AT_OK;
}

/* Bytes of a row in the file. */
static size_t row_bytes(const pnm *p)
{
    size_t width = (size_t)p->width;
    if (p->kind == 4)
        return (width + 7) / 8;
    return width * (p->kind == 6 ? 3 : 1) * (p->highest > 255 ? 2 : 1);
}

static unsigned sample_at(const pnm *p, const unsigned char *row, size_t i)
{
    if (p->kind == 4)
        return !(row[i / 8] >> (7 - i % 8) & 1); /* 1 is black */
    return p->highest > 255 ? (unsigned)row[2 * i] << 8 | row[2 * i + 1] : row[i];
}

/* A sample of the file stretched to 'top', halves to the even number as Pillow does. */
static unsigned stretch(const pnm *p, unsigned v, unsigned top)
{
    uint64_t highest = (uint64_t)p->highest, product = (v < highest ? v : highest) * top;
    uint64_t whole = product / highest, twice = 2 * (product % highest);
    return (unsigned)(whole + (twice > highest || (twice == highest && (whole & 1))));
}

static void take_samples(at_picture_load *load, const pnm *p)
{
    at_picture *out = &load->picture;
    size_t n = (size_t)(p->width * out->channels);
    for (int64_t y = 0; y < p->height; y++) {
        const unsigned char *row = load->data + p->at + (size_t)y * row_bytes(p);
        uint8_t *to = (uint8_t *)out->pixels + (size_t)y * n;
        uint16_t *wide = (uint16_t *)out->pixels + (size_t)y * n;
        if (out->depth == 8 && p->highest == 255)
            memcpy(to, row, n);
        else if (out->depth == 8)
            for (size_t i = 0; i < n; i++)
                to[i] = (uint8_t)stretch(p, sample_at(p, row, i), 255);
        else
            for (size_t i = 0; i < n; i++)
                wide[i] = (uint16_t)stretch(p, sample_at(p, row, i), 65535);
    }
}

at_status at_picture_pnm_read(at_picture_load *load, at_error *err)
{
    pnm p = { 0 };
    if (load->bytes < 3 || load->data[0] != 'P' || load->data[1] < '1' || load->data[1] > '6' ||
        (!is_blank(load->data[2]) && load->data[2] != '#'))
        return AT_NOT_FOUND;
    p.kind = load->data[1] - '0';
    if (p.kind < 4)
        return at_fail(err, AT_UNSUPPORTED,
                       "%s: a pnm of kind P%d in plain text, expected P4 to P6", load->name,
                       p.kind);
    AT_TRY(read_head(load, &p, err));
    double bits = p.kind == 4 ? 1 : (p.kind == 6 ? 24 : 8) * (p.highest > 255 ? 2 : 1);
    AT_TRY(at_picture_accept(load, p.width, p.height, load->bytes, 8 / bits, err));
    load->info.depth = p.kind == 4 ? 1 : p.highest > 255 ? 16 : 8;
    load->info.channels = p.kind == 6 ? 3 : 1;
    if (row_bytes(&p) * (size_t)p.height > load->bytes - p.at)
        return at_fail(err, AT_CORRUPT, "%s: the pnm has %zu bytes of samples, expected %zu",
                       load->name, load->bytes - p.at, row_bytes(&p) * (size_t)p.height);
    if (load->head_only)
        return AT_OK;
    bool wide = p.highest > 255 && load->options.keep_16_bits;
    AT_TRY(at_picture_room(load, load->info.channels, wide ? 16 : 8, err));
    take_samples(load, &p);
    return AT_OK;
}
