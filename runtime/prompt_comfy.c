/* prompt_comfy.c -- the syntax of ComfyUI: brackets, cut into stretches level by level.
 *
 * Written from what comfy/sd1_clip.py does. There a function cuts a text into its outermost
 * brackets and what is between them, and calls itself for what is inside; here the levels are a
 * stack, and what they cut are places in one text. Its way with brackets that do not close is kept:
 * one too many that closes makes those behind it text, as the count starts below zero. */
#include <stdlib.h>
#include <string.h>

#include "models/unicode.h"
#include "runtime/prompt_own.h"

/* What stands for \( and \) in the text; no byte of UTF-8 is one of them. */
enum { LITERAL_OPEN = 0xfe, LITERAL_CLOSE = 0xff };

/* A text whose outermost brackets are looked for. */
typedef struct level {
    size_t at, end;
    int depth;
    double weight;
} level;

typedef struct reading {
    char *text, *plain; /* (bytes) as above; a stretch with its characters back */
    at_clip_ids ids;
    at_prompt_filling filling;
    int depth;
    level levels[AT_PROMPT_NESTING_MAX + 1]; /* the text, and what is open in it */
    at_error *err;
} reading;

/* --- chunks ----------------------------------------------------------------------------------- */

/* Tokens of one weight. */
static at_status put_stretch(reading *r, const int32_t *ids, size_t n, double weight)
{
    at_prompt_filling *f = &r->filling;
    const bool is_cut = n >= AT_PROMPT_WORD_MAX;
    at_status status = AT_OK;
    while (n > 0 && status == AT_OK) {
        const size_t room = (size_t)(AT_PROMPT_ROOM - f->n);
        const size_t now = n <= room ? n : is_cut ? room : 0;
        for (size_t i = 0; i < now; i++) {
            f->ids[f->n] = ids[i];
            f->weight[f->n++] = (float)weight;
        }
        ids += now;
        n -= now;
        if (n > 0)
            status = at_prompt_add_chunk(f, r->err);
    }
    return status;
}

/* --- stretches -------------------------------------------------------------------------------- */

static at_status refuse_embedding(reading *r, const char *text, size_t bytes)
{
    static const char mark[] = "embedding:";
    for (size_t i = 0; i + sizeof mark - 1 <= bytes; i++) {
        const uint32_t before = at_prompt_before(text, i);
        if (memcmp(text + i, mark, sizeof mark - 1) != 0 ||
            (i > 0 && !at_unicode_is_blank(before) && !(before >= 28 && before <= 31)))
            continue;
        size_t n = i;
        while (n < bytes && (unsigned char)text[n] > ' ')
            n++;
        return at_fail(r->err, AT_UNSUPPORTED,
                       "\"%.*s\" asks for an embedding, and there are none here",
                       at_prompt_shown(text + i, n - i), text + i);
    }
    return AT_OK;
}

static at_status take_stretch(reading *r, size_t from, size_t to, double weight)
{
    at_status status = at_prompt_check_weight(weight, r->err);
    for (size_t i = from; i < to; i++) {
        const unsigned char c = (unsigned char)r->text[i];
        r->plain[i - from] = c == LITERAL_OPEN ? '(' : c == LITERAL_CLOSE ? ')' : r->text[i];
    }
    if (status == AT_OK)
        status = refuse_embedding(r, r->plain, to - from);
    r->ids.count = 0;
    if (status == AT_OK)
        status =
            at_clip_tokenizer_words(r->filling.tokenizer, &r->ids, r->plain, to - from, r->err);
    return status == AT_OK ? put_stretch(r, r->ids.ids, r->ids.count, weight) : status;
}

/* --- brackets --------------------------------------------------------------------------------- */

/* The next piece of a level: up to an outermost bracket, or that bracket; false at its end. */
static bool next_piece(level *l, const char *text, size_t *from, size_t *to)
{
    *from = l->at;
    while (l->at < l->end) {
        const char c = text[l->at];
        if (c == '(' && l->depth == 0 && l->at > *from)
            break;
        l->at++;
        l->depth += (c == '(') - (c == ')');
        if (c == ')' && l->depth == 0)
            break;
    }
    *to = l->at;
    return *to > *from;
}

/* What is in a bracket, as a level: "word", "word:1.3" */
static at_status enter(reading *r, size_t from, size_t to, double weight)
{
    size_t colon = to;
    double own;
    if (r->depth > AT_PROMPT_NESTING_MAX)
        return at_fail(r->err, AT_INVALID, "the prompt has more than %d brackets in each other",
                       AT_PROMPT_NESTING_MAX);
    weight *= 1.1;
    while (colon > from && r->text[colon - 1] != ':')
        colon--;
    if (colon > from + 1 && at_prompt_number(&own, r->text + colon, to - colon)) {
        weight = own;
        to = colon - 1;
    }
    r->levels[r->depth++] = (level){ .at = from, .end = to, .weight = weight };
    return AT_OK;
}

static at_status take_all(reading *r, size_t bytes)
{
    at_status status = AT_OK;
    r->levels[r->depth++] = (level){ .end = bytes, .weight = 1 };
    while (r->depth > 0 && status == AT_OK) {
        level *l = &r->levels[r->depth - 1];
        size_t from, to;
        if (!next_piece(l, r->text, &from, &to))
            r->depth--;
        else if (to - from >= 2 && r->text[from] == '(' && r->text[to - 1] == ')')
            status = enter(r, from + 1, to - 1, l->weight);
        else
            status = take_stretch(r, from, to, l->weight);
    }
    if (status == AT_OK && (r->filling.n > 0 || r->filling.prompt->n_chunks == 0))
        status = at_prompt_add_chunk(&r->filling, r->err);
    return status;
}

static size_t take_escapes(char *out, const char *text, size_t bytes)
{
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++) {
        const char next = i + 1 < bytes ? text[i + 1] : 0;
        if (text[i] == '\\' && (next == '(' || next == ')')) {
            out[n++] = (char)(next == '(' ? LITERAL_OPEN : LITERAL_CLOSE);
            i++;
        } else {
            out[n++] = text[i];
        }
    }
    return n;
}

at_status at_prompt_comfy(at_prompt *out, const at_clip_tokenizer *t, const char *text,
                          size_t bytes, at_error *err)
{
    reading r = { .filling = { .prompt = out, .tokenizer = t }, .err = err };
    at_status status = AT_NO_MEMORY;
    r.text = malloc(bytes + 1);
    r.plain = malloc(bytes + 1);
    if (r.text && r.plain)
        status = take_all(&r, take_escapes(r.text, text, bytes));
    else
        at_fail(err, status, "no memory for a prompt of %zu bytes", bytes);
    free(r.text);
    free(r.plain);
    free(r.ids.ids);
    return status;
}
