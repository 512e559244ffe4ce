/* The parts that a tokenizer is put together from, and the one with SDXL's vocabulary. */
#include <stdlib.h>
#include <string.h>

#include "models/clip_merges.h"
#include "models/clip_tokenizer_own.h"
#include "models/unicode.h"

/* --- life ------------------------------------------------------------------------------------- */

at_status at_clip_tokenizer_start(at_clip_tokenizer **out, size_t merges_max, at_error *err)
{
    at_arena *arena = at_arena_try_new();
    at_clip_tokenizer *t = arena ? at_arena_try(arena, sizeof *t) : NULL;
    at_bpe *bpe = NULL;
    at_status status = AT_NO_MEMORY;
    if (t)
        status = at_bpe_new(&bpe, merges_max, err);
    else
        at_fail(err, status, "no memory for a tokenizer");
    if (status != AT_OK) {
        at_arena_free(arena);
        return status;
    }
    t->arena = arena;
    t->bpe = bpe;
    *out = t;
    return AT_OK;
}

void at_clip_tokenizer_free(at_clip_tokenizer *t)
{
    if (!t)
        return;
    at_bpe_free(t->bpe);
    at_arena_free(t->arena);
}

/* --- bytes ------------------------------------------------------------------------------------ */

/* A vocabulary writes each byte as a character. Those that can be seen stand for themselves and are
 * the first symbols; the other 68, in their order, are written as U+0100 and on. */
enum { SEEN_COUNT = 188 };

static bool is_seen(int byte)
{
    return (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte != 0xad);
}

int at_clip_byte_place(int byte, uint32_t *point)
{
    int place = is_seen(byte) ? 0 : SEEN_COUNT;
    for (int i = 0; i < byte; i++)
        place += is_seen(i) == is_seen(byte);
    *point = (uint32_t)(place < SEEN_COUNT ? byte : 0x100 + place - SEEN_COUNT);
    return place;
}

void at_clip_tokenizer_take_bytes(at_clip_tokenizer *t, const at_clip_vocabulary *v)
{
    static const char end[] = "</w>";
    for (int byte = 0; byte < 256; byte++) {
        char text[8];
        uint32_t c;
        at_clip_byte_place(byte, &c);
        size_t n = at_unicode_encode((unsigned char *)text, c);
        memcpy(text + n, end, sizeof end - 1);
        for (int last = 0; last < 2; last++) {
            int32_t id = at_clip_vocabulary_find(v, text, n + (last ? sizeof end - 1 : 0));
            t->bytes[last][byte] = id < 0 ? t->special.unknown : id;
        }
    }
}

/* --- vocabulary ------------------------------------------------------------------------------- */

at_status at_clip_vocabulary_start(at_clip_vocabulary *v, at_arena *arena, size_t count_max,
                                   at_error *err)
{
    size_t room = 16;
    if (count_max > AT_CLIP_VOCABULARY_MAX)
        return at_fail(err, AT_UNSUPPORTED, "%zu tokens are over the limit of %d", count_max,
                       AT_CLIP_VOCABULARY_MAX);
    while (room < 2 * count_max)
        room *= 2;
    *v = (at_clip_vocabulary){ .mask = room - 1, .count_max = count_max };
    v->table = at_arena_try(arena, room * sizeof *v->table);
    v->ids_taken = at_arena_try(arena, AT_CLIP_VOCABULARY_MAX / 64 * sizeof *v->ids_taken);
    if (!v->table || !v->ids_taken)
        return at_fail(err, AT_NO_MEMORY, "no memory for %zu tokens", count_max);
    return AT_OK;
}

/* Where the word is, or the free place where it would be: one without a text. */
static at_clip_word *find_word(const at_clip_vocabulary *v, const char *text, size_t bytes)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < bytes; i++)
        h = (h ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
    for (size_t i = (size_t)(h ^ h >> 32);; i++) {
        at_clip_word *w = &v->table[i & v->mask];
        if (!w->text || (w->bytes == bytes && !memcmp(w->text, text, bytes)))
            return w;
    }
}

at_status at_clip_vocabulary_add(at_clip_vocabulary *v, const char *text, size_t bytes, int64_t id,
                                 at_error *err)
{
    AT_ASSERT(v->count < v->count_max, "more than %zu tokens", v->count_max);
    if (id < 0 || id >= AT_CLIP_VOCABULARY_MAX)
        return at_fail(err, AT_CORRUPT, "expected token ids from 0 to %d, found %lld",
                       AT_CLIP_VOCABULARY_MAX - 1, (long long)id);
    at_clip_word *w = find_word(v, text, bytes);
    uint64_t bit = UINT64_C(1) << (id % 64);
    if (w->text)
        return at_fail(err, AT_CORRUPT, "the ids %d and %lld are for the same token", w->id,
                       (long long)id);
    if (v->ids_taken[id / 64] & bit)
        return at_fail(err, AT_CORRUPT, "the id %lld is given to two tokens", (long long)id);
    v->ids_taken[id / 64] |= bit;
    v->count++;
    v->size = id >= v->size ? (int32_t)id + 1 : v->size;
    *w = (at_clip_word){ text, (uint32_t)bytes, (int32_t)id };
    return AT_OK;
}

int32_t at_clip_vocabulary_find(const at_clip_vocabulary *v, const char *text, size_t bytes)
{
    const at_clip_word *w = find_word(v, text, bytes);
    return w->text ? w->id : -1;
}

/* --- the vocabulary that is built in ---------------------------------------------------------- */

enum { SYMBOLS = 512, BEGIN = 49406, END = 49407, SDXL_SIZE = 49408 };

typedef struct sdxl_token {
    const char *text; /* NULL: none */
    int32_t id;
    bool normalized;
} sdxl_token;

/* As the files beside SDXL have it: begin and end are looked for in the normalized text; but where
 * the end pads too, it is named a second time without saying so. */
static const sdxl_token sdxl_tokens[2][3] = {
    [AT_CLIP_SDXL_1] = { { "<|startoftext|>", BEGIN, true }, { "<|endoftext|>", END, false } },
    [AT_CLIP_SDXL_2] = { { "<|startoftext|>", BEGIN, true },
                         { "<|endoftext|>", END, true },
                         { "!", 0, false } },
};

static at_status add_sdxl_tokens(at_clip_tokenizer *t, at_clip_builtin which, at_error *err)
{
    at_status status = AT_OK;
    for (size_t i = 0; i < AT_COUNT(sdxl_tokens[which]) && status == AT_OK; i++) {
        const sdxl_token *from = &sdxl_tokens[which][i];
        if (!from->text)
            continue;
        at_clip_token token = { .text = from->text, .bytes = strlen(from->text) };
        token.normalized = from->normalized;
        status = at_clip_tokenizer_add(t, &token, from->id, err);
    }
    t->special = (at_clip_special){ BEGIN, END, END, which == AT_CLIP_SDXL_2 ? 0 : END };
    return status;
}

at_status at_clip_tokenizer_builtin(at_clip_tokenizer **out, at_clip_builtin which, at_error *err)
{
    at_clip_tokenizer *t;
    at_status status = at_clip_tokenizer_start(&t, AT_CLIP_MERGES, err);
    if (status != AT_OK)
        return status;
    for (int byte = 0; byte < 256; byte++) {
        uint32_t c;
        t->bytes[0][byte] = at_clip_byte_place(byte, &c);
        t->bytes[1][byte] = 256 + t->bytes[0][byte];
    }
    for (uint32_t i = 0; i < AT_CLIP_MERGES; i++)
        at_bpe_add(t->bpe, at_clip_merges[2 * i], at_clip_merges[2 * i + 1], SYMBOLS + i);
    t->size = SDXL_SIZE;
    status = add_sdxl_tokens(t, which, err);
    if (status != AT_OK)
        at_clip_tokenizer_free(t);
    else
        *out = t;
    return status;
}
