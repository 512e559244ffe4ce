/* As the library does it, in its order: tokens that stand in the text as they are; composed form,
 * blanks, lower case; tokens that stand in what came of that; words, by a regular expression of a
 * few alternatives, which is written out here; bytes; merges. Everything before the bytes works on
 * code points, in buffers that are allocated once for a text. */
#include "models/clip_tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "models/clip_tokenizer_own.h"
#include "models/unicode.h"

/* A text on its way. */
typedef struct run {
    const at_clip_tokenizer *t;
    at_clip_ids *out;
    at_bpe_word word;
    uint32_t *points, *normal, *spare; /* normal and spare have the room that composing needs */
    int32_t without;                   /* a token that is not looked for, or -1 */
    at_error *err;
} run;

static at_status put_id(run *r, int32_t id)
{
    at_clip_ids *out = r->out;
    if (out->count == out->room) {
        size_t room = out->room ? 2 * out->room : 128;
        int32_t *ids = realloc(out->ids, room * sizeof *ids);
        if (!ids)
            return at_fail(r->err, AT_NO_MEMORY, "no memory for %zu tokens", room);
        out->ids = ids;
        out->room = room;
    }
    out->ids[out->count++] = id;
    return AT_OK;
}

/* --- words ------------------------------------------------------------------------------------ */

static at_status take_word(run *r, const uint32_t *points, size_t count)
{
    at_bpe_word *w = &r->word;
    unsigned char bytes[4], last = 0;
    at_status status = at_bpe_word_reserve(w, 4 * count, r->err);
    if (status != AT_OK)
        return status;
    w->count = 0;
    for (size_t i = 0; i < count; i++) {
        size_t n = at_unicode_encode(bytes, points[i]);
        for (size_t k = 0; k < n; k++)
            w->ids[w->count++] = (uint32_t)r->t->bytes[0][bytes[k]];
        last = bytes[n - 1];
    }
    w->ids[w->count - 1] = (uint32_t)r->t->bytes[1][last];
    at_bpe_merge_word(r->t->bpe, w);
    for (size_t i = 0; i < w->count && status == AT_OK; i++)
        status = put_id(r, (int32_t)w->ids[i]);
    return status;
}

/* Whether 'text', which is ASCII, stands at p; its length or 0. */
static size_t matches(const char *text, const uint32_t *p, size_t left)
{
    size_t n = 0;
    for (; text[n]; n++)
        if (n == left || p[n] != (unsigned char)text[n])
            return 0;
    return n;
}

static size_t first_match(const char *const *texts, size_t count, const uint32_t *p, size_t left)
{
    size_t n = 0;
    for (size_t i = 0; i < count && n == 0; i++)
        n = matches(texts[i], p, left);
    return n;
}

/* Code points of the word at p, which is no blank. */
static size_t word_length(const uint32_t *p, size_t left)
{
    static const char *const endings[] = { "'s", "'t", "'re", "'ve", "'m", "'ll", "'d" };
    size_t n = *p == '\'' ? first_match(endings, AT_COUNT(endings), p, left) : 0;
    if (n > 0 || at_unicode_is_number(*p))
        return n > 0 ? n : 1;
    if (at_unicode_is_letter(*p)) {
        while (n < left && at_unicode_is_letter(p[n]))
            n++;
        return n;
    }
    while (n < left && !at_unicode_is_blank(p[n]) && !at_unicode_is_letter(p[n]) &&
           !at_unicode_is_number(p[n]))
        n++;
    return n;
}

/* The regular expression has these two as words, but a second one cuts them into three; that the
 * last of the three ends there is all that is left of them. They come here only where they are not
 * taken for tokens, as in capitals. */
static at_status take_words(run *r, const uint32_t *p, size_t left)
{
    static const char *const marks[] = { "<|startoftext|>", "<|endoftext|>" };
    at_status status = AT_OK;
    while (left > 0 && status == AT_OK) {
        size_t mark = *p == '<' ? first_match(marks, AT_COUNT(marks), p, left) : 0, n = 1;
        if (mark > 0) {
            n = mark;
            status = take_word(r, p, 2);
            if (status == AT_OK)
                status = take_word(r, p + 2, n - 4);
            if (status == AT_OK)
                status = take_word(r, p + n - 2, 2);
        } else if (!at_unicode_is_blank(*p)) {
            n = word_length(p, left);
            status = take_word(r, p, n);
        }
        p += n;
        left -= n;
    }
    return status;
}

/* --- tokens in the text ----------------------------------------------------------------------- */

/* A text cut into tokens that stand in it and what is between them. */
typedef struct cutting {
    const at_clip_added_list *list;
    const uint32_t *points;
    size_t count, at; /* what is before 'at' has been handed out */
    size_t look_from;
    int32_t without;
    const at_clip_added *waiting;
} cutting;

typedef struct piece {
    const uint32_t *points; /* (count) */
    size_t count;
    const at_clip_added *token; /* or NULL: text */
} piece;

/* The longest token at p that is not 'without'. */
static const at_clip_added *longest_at(const at_clip_added_list *list, const uint32_t *p,
                                       size_t left, int32_t without)
{
    const at_clip_added *best = NULL;
    if (!(list->first_points >> (*p % 64) & 1))
        return NULL;
    for (size_t i = 0; i < list->count; i++) {
        const at_clip_added *a = &list->items[i];
        if (*a->points == *p && a->count <= left && (!best || a->count > best->count) &&
            a->id != without && !memcmp(a->points, p, a->count * sizeof *p))
            best = a;
    }
    return best;
}

/* Finds the next token; 'from' and 'to' are what it takes of the text. */
static const at_clip_added *find_token(cutting *c, size_t *from, size_t *to)
{
    const at_clip_added *a = NULL;
    size_t i = c->look_from;
    while (i < c->count && !(a = longest_at(c->list, c->points + i, c->count - i, c->without)))
        i++;
    if (!a)
        return NULL;
    *from = i;
    *to = c->look_from = i + a->count;
    while (a->left && *from > c->at && at_unicode_is_blank(c->points[*from - 1]))
        --*from;
    while (a->right && *to < c->count && at_unicode_is_blank(c->points[*to]))
        ++*to;
    return a;
}

static bool next_piece(cutting *c, piece *out)
{
    size_t from, to;
    *out = (piece){ .token = c->waiting };
    c->waiting = NULL;
    if (out->token)
        return true;
    const at_clip_added *a = find_token(c, &from, &to);
    if (!a)
        from = to = c->count;
    if (c->at < from) {
        out->points = c->points + c->at;
        out->count = from - c->at;
        c->waiting = a;
    } else if (!a) {
        return false;
    }
    out->token = out->count ? NULL : a;
    c->at = to;
    return true;
}

/* --- the text --------------------------------------------------------------------------------- */

/* Composed, blanks in one, lower case; the result is in 'spare'. There is room for U+0130, of which
 * lower case makes two code points: composing had room for at least four there. */
static size_t normalize(uint32_t *normal, uint32_t *spare, const uint32_t *points, size_t count)
{
    size_t n = at_unicode_nfc(normal, spare, points, count), out = 0;
    for (size_t i = 0; i < n; i++) {
        bool blank = at_unicode_is_blank(normal[i]);
        if (!blank)
            out += at_unicode_lower(spare + out, normal[i]);
        else if (i == 0 || !at_unicode_is_blank(normal[i - 1]))
            spare[out++] = ' ';
    }
    return out;
}

static at_status take_text(run *r, const uint32_t *points, size_t count)
{
    size_t n = normalize(r->normal, r->spare, points, count);
    cutting c = {
        .list = &r->t->normalized, .points = r->spare, .count = n, .without = r->without
    };
    at_status status = AT_OK;
    for (piece p; status == AT_OK && next_piece(&c, &p);)
        status = p.token ? put_id(r, p.token->id) : take_words(r, p.points, p.count);
    return status;
}

static at_status take_all(run *r, const char *text, size_t bytes)
{
    at_arena *arena = at_arena_try_new();
    size_t count = 0, room = 0;
    at_status status = AT_NO_MEMORY;
    if (arena && (r->points = at_arena_try(arena, (bytes + 1) * sizeof *r->points)))
        status = at_unicode_decode(r->points, &count, text, bytes, r->err);
    if (status == AT_OK) {
        room = (at_unicode_nfc_room(r->points, count) + 1) * sizeof *r->points;
        r->normal = at_arena_try(arena, room);
        r->spare = at_arena_try(arena, room);
        status = r->normal && r->spare ? AT_OK : AT_NO_MEMORY;
    }
    cutting c = { .list = &r->t->raw, .points = r->points, .count = count, .without = r->without };
    for (piece p; status == AT_OK && next_piece(&c, &p);)
        status = p.token ? put_id(r, p.token->id) : take_text(r, p.points, p.count);
    at_arena_free(arena);
    if (status == AT_NO_MEMORY)
        at_fail(r->err, status, "no memory for a text of %zu bytes", bytes);
    return status;
}

static at_status take(const at_clip_tokenizer *t, at_clip_ids *out, const char *text, size_t bytes,
                      int32_t without, at_error *err)
{
    run r = { .t = t, .out = out, .without = without, .err = err };
    if (bytes > AT_CLIP_TEXT_BYTES_MAX)
        return at_fail(err, AT_INVALID, "a text of %zu bytes is over the limit of %d", bytes,
                       AT_CLIP_TEXT_BYTES_MAX);
    size_t before = out->count;
    at_status status = take_all(&r, text, bytes);
    if (status != AT_OK)
        out->count = before;
    at_bpe_word_free(&r.word);
    return status;
}

at_status at_clip_tokenizer_ids(const at_clip_tokenizer *t, at_clip_ids *out, const char *text,
                                size_t bytes, at_error *err)
{
    return take(t, out, text, bytes, -1, err);
}

at_status at_clip_tokenizer_words(const at_clip_tokenizer *t, at_clip_ids *out, const char *text,
                                  size_t bytes, at_error *err)
{
    return take(t, out, text, bytes, t->special.pad != t->special.end ? t->special.pad : -1, err);
}

at_status at_clip_tokenizer_encode(const at_clip_tokenizer *t, int32_t *ids, size_t length,
                                   size_t *cut, const char *text, size_t bytes, at_error *err)
{
    at_clip_ids all = { 0 };
    AT_ASSERT(length >= 2, "a length of %zu has no room for begin and end", length);
    at_status status = at_clip_tokenizer_ids(t, &all, text, bytes, err);
    if (status == AT_OK) {
        size_t n = all.count < length - 2 ? all.count : length - 2;
        ids[0] = t->special.begin;
        if (n > 0)
            memcpy(ids + 1, all.ids, n * sizeof *ids);
        ids[n + 1] = t->special.end;
        for (size_t i = n + 2; i < length; i++)
            ids[i] = t->special.pad;
        if (cut)
            *cut = all.count - n;
    }
    free(all.ids);
    return status;
}

at_clip_special at_clip_tokenizer_special(const at_clip_tokenizer *t)
{
    return t->special;
}

int32_t at_clip_tokenizer_size(const at_clip_tokenizer *t)
{
    return t->size;
}

/* --- tokens to find --------------------------------------------------------------------------- */

/* Here, since what is looked for in a normalized text is normalized the same way. */
at_status at_clip_tokenizer_add(at_clip_tokenizer *t, const at_clip_token *token, int32_t id,
                                at_error *err)
{
    at_clip_added_list *list = token->normalized ? &t->normalized : &t->raw;
    uint32_t *points = at_arena_try(t->arena, (token->bytes + 1) * sizeof *points);
    size_t count, room;
    AT_ASSERT(list->count < AT_CLIP_ADDED_MAX, "%zu added tokens", list->count);
    if (!list->items)
        list->items = at_arena_try(t->arena, AT_CLIP_ADDED_MAX * sizeof *list->items);
    if (!points || !list->items)
        return at_fail(err, AT_NO_MEMORY, "no memory for a token of %zu bytes", token->bytes);
    at_status status = at_unicode_decode(points, &count, token->text, token->bytes, err);
    if (status != AT_OK)
        return status;
    if (token->normalized) {
        room = (at_unicode_nfc_room(points, count) + 1) * sizeof *points;
        uint32_t *normal = at_arena_try(t->arena, room), *spare = at_arena_try(t->arena, room);
        if (!normal || !spare)
            return at_fail(err, AT_NO_MEMORY, "no memory for a token of %zu bytes", token->bytes);
        count = normalize(normal, spare, points, count);
        points = spare;
    }
    if (count == 0)
        return AT_OK;
    list->items[list->count++] = (at_clip_added){ points, count, id, token->left, token->right };
    list->first_points |= UINT64_C(1) << (*points % 64);
    t->size = id >= t->size ? id + 1 : t->size;
    return AT_OK;
}
