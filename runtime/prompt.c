/* prompt.c -- what all syntaxes share: the list of chunks, and the weights' way into what an
 * encoder made of them. */
#include "runtime/prompt.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "models/unicode.h"
#include "runtime/prompt_own.h"

typedef struct syntax {
    const char *name;
    at_status (*read)(at_prompt *out, const at_clip_tokenizer *t, const char *text, size_t bytes,
                      at_error *err);
} syntax;

static const syntax syntaxes[] = {
#define AT_PROMPT_SYNTAX(NAME, name, read, about) { name, read },
#include "runtime/prompt_syntaxes.def"
#undef AT_PROMPT_SYNTAX
};

at_status at_prompt_syntax_named(at_prompt_syntax *out, const char *name, at_error *err)
{
    char names[128] = "";
    for (int i = 0; i < AT_PROMPT_SYNTAXES; i++) {
        if (!strcmp(syntaxes[i].name, name)) {
            *out = (at_prompt_syntax)i;
            return AT_OK;
        }
        const size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", syntaxes[i].name);
    }
    return at_fail(err, AT_INVALID, "prompt syntax: expected one of %s; found \"%.40s\"", names,
                   name);
}

/* --- chunks ----------------------------------------------------------------------------------- */

/* Room for n chunks. */
static at_status reserve(at_prompt *p, int n, at_error *err)
{
    at_prompt_chunk *chunks = realloc(p->chunks, (size_t)n * sizeof *chunks);
    if (!chunks)
        return at_fail(err, AT_NO_MEMORY, "no memory for %d chunks of a prompt", n);
    p->chunks = chunks;
    return AT_OK;
}

at_status at_prompt_add_chunk(at_prompt_filling *f, at_error *err)
{
    at_prompt *p = f->prompt;
    const at_clip_special special = at_clip_tokenizer_special(f->tokenizer);
    if (p->n_chunks == AT_PROMPT_CHUNKS_MAX)
        return at_fail(err, AT_INVALID, "the prompt needs more than %d chunks of %d tokens",
                       AT_PROMPT_CHUNKS_MAX, AT_PROMPT_ROOM);
    const at_status status = reserve(p, p->n_chunks + 1, err);
    if (status != AT_OK)
        return status;
    at_prompt_chunk *c = &p->chunks[p->n_chunks++];
    for (int i = 0; i < AT_CLIP_LENGTH; i++) {
        const bool is_token = i > 0 && i <= f->n;
        c->ids[i] = i == 0 ? special.begin : i == f->n + 1 ? special.end : special.pad;
        c->weight[i] = is_token ? f->weight[i - 1] : 1;
        if (is_token)
            c->ids[i] = f->ids[i - 1];
        p->weighted |= c->weight[i] != 1;
    }
    f->n = 0;
    return AT_OK;
}

at_status at_prompt_add_lora(at_prompt *p, const char *name, size_t bytes, double weight,
                             at_error *err)
{
    if (p->n_loras == AT_PROMPT_LORAS_MAX)
        return at_fail(err, AT_INVALID, "the prompt names more than %d loras", AT_PROMPT_LORAS_MAX);
    if (bytes >= AT_PROMPT_LORA_NAME_MAX)
        return at_fail(err, AT_INVALID, "a lora's name of %zu bytes is over the limit of %d", bytes,
                       AT_PROMPT_LORA_NAME_MAX - 1);
    if (!p->loras)
        p->loras = calloc(AT_PROMPT_LORAS_MAX, sizeof *p->loras);
    if (!p->loras)
        return at_fail(err, AT_NO_MEMORY, "no memory for the names of loras");
    at_prompt_lora *l = &p->loras[p->n_loras++];
    memcpy(l->name, name, bytes);
    l->name[bytes] = 0;
    l->weight = weight;
    return AT_OK;
}

at_status at_prompt_extend(at_prompt *p, const at_clip_tokenizer *t, int n, at_error *err)
{
    at_prompt_filling f = { .prompt = p, .tokenizer = t };
    at_status status = AT_OK;
    while (p->n_chunks < n && status == AT_OK)
        status = at_prompt_add_chunk(&f, err);
    return status;
}

static void repeat(at_prompt *p, int n)
{
    for (int i = p->n_chunks; i < n; i++)
        p->chunks[i] = p->chunks[i - p->n_chunks];
    p->n_chunks = n;
}

at_status at_prompt_match(at_prompt *a, at_prompt *b, at_error *err)
{
    int n = a->n_chunks;
    while (n % b->n_chunks)
        n += a->n_chunks;
    if (n > AT_PROMPT_MATCHED_MAX)
        return at_fail(err, AT_INVALID,
                       "a prompt of %d chunks and one of %d only go together as %d each, and the "
                       "limit is %d: leave some words out",
                       a->n_chunks, b->n_chunks, n, AT_PROMPT_MATCHED_MAX);
    at_status status = reserve(a, n, err);
    if (status == AT_OK)
        status = reserve(b, n, err);
    if (status == AT_OK) {
        repeat(a, n);
        repeat(b, n);
    }
    return status;
}

void at_prompt_free(at_prompt *p)
{
    free(p->chunks);
    free(p->loras);
    *p = (at_prompt){ 0 };
}

/* --- reading ---------------------------------------------------------------------------------- */

static at_status check_text(const char *text, size_t bytes, at_error *err)
{
    size_t count;
    if (bytes > AT_PROMPT_BYTES_MAX)
        return at_fail(err, AT_INVALID, "a prompt of %zu bytes is over the limit of %d", bytes,
                       AT_PROMPT_BYTES_MAX);
    uint32_t *points = malloc((bytes + 1) * sizeof *points);
    if (!points)
        return at_fail(err, AT_NO_MEMORY, "no memory for a prompt of %zu bytes", bytes);
    const at_status status = at_unicode_decode(points, &count, text, bytes, err);
    free(points);
    return status;
}

at_status at_prompt_read(at_prompt *out, const at_clip_tokenizer *t, at_prompt_syntax s,
                         const char *text, size_t bytes, at_error *err)
{
    *out = (at_prompt){ 0 };
    AT_ASSERT((int)s >= 0 && s < AT_PROMPT_SYNTAXES, "prompt syntax %d", (int)s);
    at_status status = check_text(text, bytes, err);
    if (status == AT_OK)
        status = syntaxes[s].read(out, t, text, bytes, err);
    if (status != AT_OK)
        at_prompt_free(out);
    return status;
}

at_status at_prompt_literal(at_prompt *out, const at_clip_tokenizer *t, const char *text,
                            size_t bytes, at_error *err)
{
    at_prompt_filling f = { .prompt = out, .tokenizer = t };
    const at_status status = at_prompt_add_chunk(&f, err);
    return status == AT_OK ? at_clip_tokenizer_encode(t, out->chunks->ids, AT_CLIP_LENGTH,
                                                      &out->cut, text, bytes, err)
                           : status;
}

/* --- what syntaxes need ----------------------------------------------------------------------- */

static bool is_blank_byte(char c)
{
    return c == ' ' || (c >= 9 && c <= 13) || (c >= 28 && c <= 31); /* as Python has it */
}

static size_t count_digits(const char *text)
{
    return strspn(text, "0123456789");
}

/* Digits with a point among them, or only digits, then an exponent or none. */
static bool is_decimal(const char *text)
{
    text += *text == '+' || *text == '-';
    const size_t whole = count_digits(text);
    text += whole;
    const bool point = *text == '.';
    const size_t part = point ? count_digits(text + 1) : 0;
    text += part + point;
    if (whole + part == 0)
        return false;
    if (*text == 'e' || *text == 'E') {
        text += text[1] == '+' || text[1] == '-' ? 2 : 1;
        if (count_digits(text) == 0)
            return false;
        text += count_digits(text);
    }
    return !*text;
}

static bool is_unlimited(const char *text)
{
    text += *text == '+' || *text == '-';
    return !strcasecmp(text, "inf") || !strcasecmp(text, "infinity") || !strcasecmp(text, "nan");
}

bool at_prompt_number(double *out, const char *text, size_t bytes)
{
    char plain[AT_PROMPT_NUMBER_MAX + 1], *end;
    size_t n = 0;
    while (bytes > 0 && is_blank_byte(text[0]))
        text++, bytes--;
    while (bytes > 0 && is_blank_byte(text[bytes - 1]))
        bytes--;
    if (bytes > AT_PROMPT_NUMBER_MAX)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        const bool among = i > 0 && i + 1 < bytes && isdigit((unsigned char)text[i - 1]) &&
                           isdigit((unsigned char)text[i + 1]);
        if (text[i] != '_' || !among)
            plain[n++] = text[i];
    }
    plain[n] = 0;
    if (strlen(plain) != n || (!is_decimal(plain) && !is_unlimited(plain)))
        return false;
    *out = strtod(plain, &end);
    if (*end == '.') { /* in the process's locale the point is written otherwise */
        *end = ',';
        *out = strtod(plain, &end);
    }
    return !*end;
}

at_status at_prompt_check_weight(double weight, at_error *err)
{
    if (fabs(weight) <= AT_PROMPT_WEIGHT_MAX)
        return AT_OK;
    return at_fail(err, AT_INVALID, "a weight of %g in the prompt; expected %d at most", weight,
                   AT_PROMPT_WEIGHT_MAX);
}

uint32_t at_prompt_next(const char *text, size_t bytes, size_t at)
{
    uint32_t point[4] = { 0 };
    size_t n = at < bytes, count;
    while (n && at + n < bytes && ((unsigned char)text[at + n] & 0xc0) == 0x80)
        n++;
    return at_unicode_decode(point, &count, text + at, n, NULL) == AT_OK ? point[0] : 0;
}

uint32_t at_prompt_before(const char *text, size_t at)
{
    size_t from = at;
    while (from > 0 && ((unsigned char)text[--from] & 0xc0) == 0x80)
        continue;
    return at_prompt_next(text, at, from);
}

int at_prompt_shown(const char *text, size_t bytes)
{
    size_t n = bytes < AT_PROMPT_SHOWN_MAX ? bytes : AT_PROMPT_SHOWN_MAX;
    while (n > 0 && n < bytes && ((unsigned char)text[n] & 0xc0) == 0x80)
        n--;
    return (int)n;
}

/* --- weights ---------------------------------------------------------------------------------- */

static double mean_of(const float *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i];
    return sum / (double)n;
}

/* Every vector times its weight, then all of them times what gives the chunk its mean back. A mean
 * of 0 cannot be given back: the chunk then stays as the weights made it. */
static void weigh_a1111(const at_prompt_chunk *c, float *hidden, int64_t width)
{
    const double before = mean_of(hidden, AT_CLIP_LENGTH * width);
    for (int k = 0; k < AT_CLIP_LENGTH; k++)
        for (int64_t i = 0; i < width; i++)
            hidden[k * width + i] *= c->weight[k];
    const float factor = (float)(before / mean_of(hidden, AT_CLIP_LENGTH * width));
    for (int64_t i = 0; i < AT_CLIP_LENGTH * width && isfinite(factor); i++)
        hidden[i] *= factor;
}

/* Every vector on the line from that of "" at its place. */
static void weigh_comfy(const at_prompt_chunk *c, float *hidden, const float *empty, int64_t width)
{
    for (int k = 0; k < AT_CLIP_LENGTH; k++)
        for (int64_t i = k * width; i < (k + 1) * width && c->weight[k] != 1; i++)
            hidden[i] = (hidden[i] - empty[i]) * c->weight[k] + empty[i];
}

static bool is_weighted(const at_prompt_chunk *c)
{
    for (int k = 0; k < AT_CLIP_LENGTH; k++)
        if (c->weight[k] != 1)
            return true;
    return false;
}

void at_prompt_weigh(const at_prompt *p, at_prompt_syntax s, float *hidden, const float *empty,
                     int64_t width)
{
    for (int i = 0; i < p->n_chunks; i++, hidden += AT_CLIP_LENGTH * width) {
        if (!is_weighted(&p->chunks[i]))
            continue;
        if (s == AT_PROMPT_A1111)
            weigh_a1111(&p->chunks[i], hidden, width);
        else
            weigh_comfy(&p->chunks[i], hidden, empty, width);
    }
}
