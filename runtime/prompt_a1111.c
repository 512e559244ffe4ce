/* prompt_a1111.c -- the syntax of A1111: comments and networks are taken out, what cannot be done
 * is refused, then brackets give weights to parts of the text.
 *
 * Written from what modules/prompt_parser.py and sd_hijack_clip.py of that program do. There a
 * schedule is found by a grammar that is ambiguous; here a bracket that could be one is refused.
 * Its parts are kept as they are, for the tokens depend on them: parts of one weight are tokenized
 * as one text, and BREAK in a bracket has the weight of no BREAK and is a word. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/unicode.h"
#include "runtime/prompt_own.h"

static const double more = 1.1, less = 1 / 1.1, break_weight = -1;
static const char break_word[] = "BREAK";

/* Text of one weight. */
typedef struct part {
    size_t from, bytes;
    double weight;
} part;

/* The parts before which brackets opened. */
typedef struct open_brackets {
    int count;
    size_t part[AT_PROMPT_NESTING_MAX];
} open_brackets;

typedef struct reading {
    char *text; /* without comments and networks */
    size_t bytes;
    char *plain; /* the parts' text, one behind the other */
    size_t plain_bytes;
    part *parts;
    size_t n_parts, parts_room;
    open_brackets round, square;
    at_clip_ids ids;
    at_prompt_filling filling;
    int32_t comma;  /* the token, or -1 */
    int last_comma; /* its place in the chunk, or -1 */
    at_error *err;
} reading;

/* --- characters ------------------------------------------------------------------------------- */

static bool is_blank(uint32_t c)
{
    return at_unicode_is_blank(c) || (c >= 28 && c <= 31); /* as Python has it */
}

static bool is_word(uint32_t c)
{
    return c == '_' || at_unicode_is_letter(c) || at_unicode_is_number(c);
}

static size_t skip_blanks(const char *text, size_t bytes, size_t at)
{
    while (at < bytes && is_blank(at_prompt_next(text, bytes, at)))
        do
            at++;
        while (at < bytes && ((unsigned char)text[at] & 0xc0) == 0x80);
    return at;
}

static size_t skip_blanks_back(const char *text, size_t end)
{
    while (end > 0 && is_blank(at_prompt_before(text, end)))
        while (((unsigned char)text[--end] & 0xc0) == 0x80)
            continue;
    return end;
}

/* The next place of a word, in capitals and by itself; 'bytes' if there is none. */
static size_t find_word(const char *word, const char *text, size_t bytes, size_t at)
{
    const size_t n = strlen(word);
    for (; at + n <= bytes; at++)
        if (!memcmp(text + at, word, n) && !is_word(at_prompt_before(text, at)) &&
            !is_word(at_prompt_next(text, bytes, at + n)))
            return at;
    return bytes;
}

static bool is_digit_or_point(char c)
{
    return (c >= '0' && c <= '9') || c == '.';
}

/* --- what is taken out ------------------------------------------------------------------------ */

/* From # to the line's end. */
static void take_comments_out(reading *r, const char *text, size_t bytes)
{
    bool in_comment = false;
    for (size_t i = 0; i < bytes; i++) {
        in_comment = text[i] != '\n' && (in_comment || text[i] == '#');
        if (!in_comment)
            r->text[r->bytes++] = text[i];
    }
}

/* "NAME", "NAME:WEIGHT" */
static at_status take_lora(reading *r, const char *what, size_t bytes)
{
    const char *colon = memchr(what, ':', bytes);
    const size_t name = colon ? (size_t)(colon - what) : bytes;
    double weight = 1;
    const bool good = name > 0 && !memchr(what, '=', bytes) && !memchr(what, 0, bytes) &&
                      (!colon || at_prompt_number(&weight, colon + 1, bytes - name - 1));
    if (!good)
        return at_fail(r->err, AT_INVALID, "expected <lora:NAME:WEIGHT>, found <lora:%.*s>",
                       at_prompt_shown(what, bytes), what);
    const at_status status = at_prompt_check_weight(weight, r->err);
    return status == AT_OK ? at_prompt_add_lora(r->filling.prompt, what, name, weight, r->err)
                           : status;
}

/* The length of "<NAME:WHAT>" at the begin of the text, or 0; 'what' is behind the colon. */
static size_t network_at(const char *text, size_t bytes, size_t *what)
{
    size_t n = 1;
    while (n < bytes && is_word(at_prompt_next(text, bytes, n)))
        do
            n++;
        while (n < bytes && ((unsigned char)text[n] & 0xc0) == 0x80);
    if (*text != '<' || n == 1 || n >= bytes || text[n] != ':')
        return 0;
    *what = ++n;
    const char *end = memchr(text + n, '>', bytes - n);
    return end && end > text + n ? (size_t)(end - text) + 1 : 0;
}

static at_status take_networks_out(reading *r)
{
    size_t kept = 0, n, what = 0;
    at_status status = AT_OK;
    for (size_t i = 0; i < r->bytes && status == AT_OK; i += n) {
        const char *text = r->text + i;
        n = *text == '<' ? network_at(text, r->bytes - i, &what) : 0;
        if (n == 0) {
            r->text[kept++] = *text;
            n = 1;
        } else if (what == sizeof "<lora:" - 1 && !memcmp(text, "<lora:", what)) {
            status = take_lora(r, text + what, n - what - 1);
        } else {
            status = at_fail(r->err, AT_UNSUPPORTED,
                             "\"%.*s\" asks for a network of a kind other than lora",
                             at_prompt_shown(text, n), text);
        }
    }
    r->bytes = kept;
    return status;
}

/* --- what is refused -------------------------------------------------------------------------- */

/* Prompts joined by AND, each with ":WEIGHT" at its end, which a single one may have too. */
static at_status refuse_joined(reading *r)
{
    const size_t and = find_word("AND", r->text, r->bytes, 0);
    if (and < r->bytes)
        return at_fail(r->err, AT_UNSUPPORTED,
                       "AND at byte %zu joins prompts in a1111's syntax, which is not done here: "
                       "write it in small letters",
                       and);
    const size_t end = skip_blanks_back(r->text, r->bytes);
    size_t at = end, points = 0;
    while (at > 0 && is_digit_or_point(r->text[at - 1]))
        points += r->text[--at] == '.';
    const bool is_number = points <= 1 && end - at > points;
    at -= at > 0 && (r->text[at - 1] == '+' || r->text[at - 1] == '-');
    at = skip_blanks_back(r->text, at);
    if (!is_number || at == 0 || r->text[at - 1] != ':')
        return AT_OK;
    return at_fail(r->err, AT_UNSUPPORTED,
                   "\"%.*s\" at the prompt's end is the weight of a joined prompt in a1111's "
                   "syntax, which is not done here: put a comma behind it if it is text",
                   at_prompt_shown(r->text + at - 1, end - at + 1), r->text + at - 1);
}

/* A bracket that is open while schedules are looked for. */
typedef struct candidate {
    char kind;
    size_t at, colon; /* behind the last colon in it; 0: none */
    bool has_bar;
} candidate;

static at_status refuse_schedule(reading *r, const candidate *c, size_t close)
{
    double when = INFINITY;
    const bool timed =
        c->colon && at_prompt_number(&when, r->text + c->colon, close - c->colon) && isfinite(when);
    if (!timed && !c->has_bar)
        return AT_OK;
    return at_fail(r->err, AT_UNSUPPORTED,
                   "\"%.*s\" changes the prompt during the steps, which is not done here",
                   at_prompt_shown(r->text + c->at, close - c->at + 1), r->text + c->at);
}

static at_status close_candidate(reading *r, candidate *open, int *n, size_t at)
{
    const char kind = r->text[at] == ')' ? '(' : '[';
    int k = *n - 1;
    while (k >= 0 && open[k].kind != kind)
        k--;
    if (k < 0)
        return AT_OK;
    for (int i = k + 1; i < *n; i++) { /* brackets that never close hide nothing */
        open[k].has_bar |= open[i].has_bar;
        open[k].colon = open[i].colon > open[k].colon ? open[i].colon : open[k].colon;
    }
    *n = k;
    return kind == '[' ? refuse_schedule(r, &open[k], at) : AT_OK;
}

static at_status refuse_schedules(reading *r)
{
    candidate open[AT_PROMPT_NESTING_MAX];
    int n = 0;
    at_status status = AT_OK;
    for (size_t i = 0; i < r->bytes && status == AT_OK; i++) {
        const char c = r->text[i];
        if (c == '\\')
            i++;
        else if ((c == '(' || c == '[') && n == AT_PROMPT_NESTING_MAX)
            status = at_fail(r->err, AT_INVALID, "the prompt has more than %d open brackets",
                             AT_PROMPT_NESTING_MAX);
        else if (c == '(' || c == '[')
            open[n++] = (candidate){ .kind = c, .at = i };
        else if (c == ')' || c == ']')
            status = close_candidate(r, open, &n, i);
        else if (c == ':' && n > 0)
            open[n - 1].colon = i + 1;
        else if (c == '|' && n > 0)
            open[n - 1].has_bar = true;
    }
    return status;
}

/* --- brackets --------------------------------------------------------------------------------- */

static at_status put_part(reading *r, const char *text, size_t bytes, double weight)
{
    if (r->n_parts == r->parts_room) {
        const size_t room = r->parts_room ? 2 * r->parts_room : 64;
        part *parts = realloc(r->parts, room * sizeof *parts);
        if (!parts)
            return at_fail(r->err, AT_NO_MEMORY, "no memory for %zu parts of a prompt", room);
        r->parts = parts;
        r->parts_room = room;
    }
    r->parts[r->n_parts++] = (part){ r->plain_bytes, bytes, weight };
    memcpy(r->plain + r->plain_bytes, text, bytes);
    r->plain_bytes += bytes;
    return AT_OK;
}

/* What is between BREAKs, even if it is nothing: it keeps them apart. */
static at_status put_text(reading *r, const char *text, size_t bytes)
{
    at_status status = AT_OK;
    for (size_t at = 0; status == AT_OK;) {
        const size_t next = find_word(break_word, text, bytes, at);
        status = put_part(r, text + at, next - at, 1);
        if (next == bytes || status != AT_OK)
            break;
        status = put_part(r, break_word, sizeof break_word - 1, break_weight);
        at = next + sizeof break_word - 1;
    }
    return status;
}

static at_status open_bracket(reading *r, open_brackets *b)
{
    if (b->count == AT_PROMPT_NESTING_MAX)
        return at_fail(r->err, AT_INVALID, "the prompt has more than %d open brackets",
                       AT_PROMPT_NESTING_MAX);
    b->part[b->count++] = r->n_parts;
    return AT_OK;
}

static void multiply(reading *r, size_t from, double weight)
{
    for (size_t i = from; i < r->n_parts; i++)
        r->parts[i].weight *= weight;
}

/* The length of ":1.3)" at 'at', or 0. */
static size_t weight_at(const reading *r, size_t at, size_t *number, size_t *bytes)
{
    size_t i = skip_blanks(r->text, r->bytes, at + 1);
    *number = i;
    i += i < r->bytes && (r->text[i] == '+' || r->text[i] == '-');
    const size_t digits = i;
    while (i < r->bytes && is_digit_or_point(r->text[i]))
        i++;
    *bytes = i - *number;
    if (i == digits)
        return 0;
    i = skip_blanks(r->text, r->bytes, i);
    return i < r->bytes && r->text[i] == ')' ? i + 1 - at : 0;
}

/* Text up to what means something, or one character that does not here. */
static size_t text_length(const reading *r, size_t at)
{
    size_t n = at;
    while (n < r->bytes && !(r->text[n] && strchr("\\()[]:", r->text[n])))
        n++;
    return n > at ? n - at : 1;
}

/* A colon with what belongs to it. */
static at_status take_colon(reading *r, size_t at, size_t *taken)
{
    size_t number, bytes;
    double weight;
    *taken = weight_at(r, at, &number, &bytes);
    if (*taken == 0 || r->round.count == 0) {
        *taken += *taken == 0;
        return put_text(r, r->text + at, *taken);
    }
    if (!at_prompt_number(&weight, r->text + number, bytes))
        return at_fail(r->err, AT_INVALID, "\"%.*s\" in the prompt: expected a number",
                       at_prompt_shown(r->text + at, *taken), r->text + at);
    multiply(r, r->round.part[--r->round.count], weight);
    return AT_OK;
}

static at_status take_one(reading *r, size_t at, size_t *taken)
{
    const char *text = r->text + at, next = at + 1 < r->bytes ? text[1] : 0;
    *taken = 1;
    switch (*text) {
    case '\\':
        if (next && strchr("()[]\\", next)) {
            *taken = 2;
            return put_part(r, text + 1, 1, 1);
        }
        return put_part(r, text, 0, 1);
    case '(': return open_bracket(r, &r->round);
    case '[': return open_bracket(r, &r->square);
    case ':': return take_colon(r, at, taken);
    case ')':
        if (r->round.count == 0)
            return put_part(r, text, 1, 1);
        multiply(r, r->round.part[--r->round.count], more);
        return AT_OK;
    case ']':
        if (r->square.count == 0)
            return put_part(r, text, 1, 1);
        multiply(r, r->square.part[--r->square.count], less);
        return AT_OK;
    default: *taken = text_length(r, at); return put_text(r, text, *taken);
    }
}

/* Neighbours of one weight become one part. */
static void merge_parts(reading *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_parts; i++) {
        if (n > 0 && r->parts[n - 1].weight == r->parts[i].weight)
            r->parts[n - 1].bytes += r->parts[i].bytes;
        else
            r->parts[n++] = r->parts[i];
    }
    r->n_parts = n;
}

static at_status take_brackets(reading *r)
{
    at_status status = AT_OK;
    for (size_t at = 0, taken; at < r->bytes && status == AT_OK; at += taken)
        status = take_one(r, at, &taken);
    for (int i = 0; i < r->round.count; i++)
        multiply(r, r->round.part[i], more);
    for (int i = 0; i < r->square.count; i++)
        multiply(r, r->square.part[i], less);
    merge_parts(r);
    return status;
}

/* --- chunks ----------------------------------------------------------------------------------- */

/* Behind an end that stands in the text, an encoder that pads with another token reads padding. */
static void pad_behind_end(at_prompt_chunk *c, at_clip_special special)
{
    int i = 0;
    while (c->ids[i] != special.end)
        i++;
    for (i++; i < AT_CLIP_LENGTH && special.pad != special.end; i++)
        c->ids[i] = special.pad;
}

static at_status end_chunk(reading *r)
{
    at_prompt *p = r->filling.prompt;
    const at_status status = at_prompt_add_chunk(&r->filling, r->err);
    if (status == AT_OK)
        pad_behind_end(&p->chunks[p->n_chunks - 1],
                       at_clip_tokenizer_special(r->filling.tokenizer));
    r->last_comma = -1;
    return status;
}

/* Ends a full chunk behind its last comma, what follows that goes to the next. */
static at_status end_behind_comma(reading *r)
{
    at_prompt_filling *f = &r->filling;
    const int from = r->last_comma + 1, n = f->n - from;
    f->n = from;
    const at_status status = end_chunk(r);
    if (status == AT_OK && n > 0) { /* what was there is there still */
        memmove(f->ids, f->ids + from, (size_t)n * sizeof *f->ids);
        memmove(f->weight, f->weight + from, (size_t)n * sizeof *f->weight);
    }
    f->n = status == AT_OK ? n : 0;
    return status;
}

static at_status put_token(reading *r, int32_t id, double weight)
{
    at_prompt_filling *f = &r->filling;
    at_status status = AT_OK;
    if (id == r->comma)
        r->last_comma = f->n;
    else if (f->n == AT_PROMPT_ROOM && r->last_comma >= 0 &&
             f->n - r->last_comma <= AT_PROMPT_COMMA_BACK)
        status = end_behind_comma(r);
    if (status == AT_OK && f->n == AT_PROMPT_ROOM)
        status = end_chunk(r);
    if (status == AT_OK) {
        f->ids[f->n] = id;
        f->weight[f->n++] = (float)weight;
    }
    return status;
}

static at_status put_tokens(reading *r, const part *p)
{
    const char *text = r->plain + p->from;
    if (p->weight == break_weight && p->bytes == sizeof break_word - 1 &&
        !memcmp(text, break_word, p->bytes))
        return end_chunk(r);
    r->ids.count = 0;
    at_status status =
        at_clip_tokenizer_words(r->filling.tokenizer, &r->ids, text, p->bytes, r->err);
    if (status == AT_OK && r->ids.count > 0)
        status = at_prompt_check_weight(p->weight, r->err);
    for (size_t i = 0; i < r->ids.count && status == AT_OK; i++)
        status = put_token(r, r->ids.ids[i], p->weight);
    return status;
}

static at_status find_comma(reading *r)
{
    const at_status status = at_clip_tokenizer_words(r->filling.tokenizer, &r->ids, ",", 1, r->err);
    r->comma = r->ids.count == 1 ? r->ids.ids[0] : -1;
    r->last_comma = -1;
    return status;
}

static at_status make_chunks(reading *r)
{
    at_status status = find_comma(r);
    for (size_t i = 0; i < r->n_parts && status == AT_OK; i++)
        if (r->parts[i].bytes > 0)
            status = put_tokens(r, &r->parts[i]);
    if (status == AT_OK && (r->filling.n > 0 || r->filling.prompt->n_chunks == 0))
        status = end_chunk(r);
    return status;
}

static at_status read_all(reading *r, const char *text, size_t bytes)
{
    at_status status = AT_OK;
    take_comments_out(r, text, bytes);
    if ((status = take_networks_out(r)) != AT_OK || (status = refuse_joined(r)) != AT_OK ||
        (status = refuse_schedules(r)) != AT_OK || (status = take_brackets(r)) != AT_OK)
        return status;
    return make_chunks(r);
}

at_status at_prompt_a1111(at_prompt *out, const at_clip_tokenizer *t, const char *text,
                          size_t bytes, at_error *err)
{
    reading *r = calloc(1, sizeof *r);
    at_status status = AT_NO_MEMORY;
    if (r) {
        r->filling = (at_prompt_filling){ .prompt = out, .tokenizer = t };
        r->err = err;
        r->text = malloc(bytes + 1);
        r->plain = malloc(bytes + 1);
    }
    if (r && r->text && r->plain)
        status = read_all(r, text, bytes);
    else
        at_fail(err, status, "no memory for a prompt of %zu bytes", bytes);
    if (r) {
        free(r->text);
        free(r->plain);
        free(r->parts);
        free(r->ids.ids);
    }
    free(r);
    return status;
}
