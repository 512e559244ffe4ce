#include "models/clip_tokenizer_write.h"

#include <stdlib.h>
#include <string.h>

#include "engine/json_write.h"
#include "models/clip_merges.h"
#include "models/clip_tokenizer_own.h"
#include "models/unicode.h"

enum { BYTES = 256, SYMBOLS = 2 * BYTES, TEXT_MAX = 8 << 20 };

static const char *const files[] = {
    [AT_CLIP_WRITTEN_VOCAB] = "vocab.json",
    [AT_CLIP_WRITTEN_MERGES] = "merges.txt",
    [AT_CLIP_WRITTEN_CONFIG] = "tokenizer_config.json",
    [AT_CLIP_WRITTEN_SPECIAL] = "special_tokens_map.json",
};

static const char begin[] = "<|startoftext|>", end[] = "<|endoftext|>";

const char *at_clip_written_name(at_clip_written file)
{
    return files[file];
}

/* --- the vocabulary --------------------------------------------------------------------------- */

/* What each symbol is written as, in the order of their numbers. */
typedef struct symbols {
    at_arena *arena;
    const char **text; /* (SYMBOLS + AT_CLIP_MERGES) */
} symbols;

static char *join(symbols *s, const char *a, const char *b)
{
    const size_t n = strlen(a), m = strlen(b);
    char *text = at_arena_try(s->arena, n + m + 1);
    if (text) {
        memcpy(text, a, n);
        memcpy(text + n, b, m);
    }
    return text;
}

static bool fill(symbols *s)
{
    bool whole = true;
    for (int byte = 0; byte < BYTES && whole; byte++) {
        char text[8] = "";
        uint32_t point;
        const int place = at_clip_byte_place(byte, &point);
        text[at_unicode_encode((unsigned char *)text, point)] = 0;
        s->text[place] = join(s, text, "");
        s->text[BYTES + place] = join(s, text, "</w>");
        whole = s->text[place] && s->text[BYTES + place];
    }
    for (int i = 0; i < AT_CLIP_MERGES && whole; i++) {
        s->text[SYMBOLS + i] =
            join(s, s->text[at_clip_merges[2 * i]], s->text[at_clip_merges[2 * i + 1]]);
        whole = s->text[SYMBOLS + i] != NULL;
    }
    return whole;
}

static void put_vocabulary(at_json_writer *w, const symbols *s)
{
    at_json_write_object(w);
    for (int i = 0; i < SYMBOLS + AT_CLIP_MERGES; i++) {
        at_json_write_key(w, s->text[i]);
        at_json_write_int(w, i);
    }
    at_json_write_key(w, begin);
    at_json_write_int(w, SYMBOLS + AT_CLIP_MERGES);
    at_json_write_key(w, end);
    at_json_write_int(w, SYMBOLS + AT_CLIP_MERGES + 1);
    at_json_write_close(w);
}

static char *put_piece(char *to, const char *text)
{
    const size_t bytes = strlen(text);
    memcpy(to, text, bytes);
    return to + bytes;
}

static bool write_merges(char **text, size_t *bytes, const symbols *s)
{
    static const char version[] = "#version: 0.2\n";
    size_t room = sizeof version;
    for (int i = 0; i < 2 * AT_CLIP_MERGES; i++)
        room += strlen(s->text[at_clip_merges[i]]) + 1;
    char *to = *text = malloc(room);
    if (!to)
        return false;
    to = put_piece(to, version);
    for (int i = 0; i < 2 * AT_CLIP_MERGES; i++) {
        to = put_piece(to, s->text[at_clip_merges[i]]);
        *to++ = i % 2 ? '\n' : ' ';
    }
    *bytes = (size_t)(to - *text);
    return true;
}

static at_status write_symbols(char **text, size_t *bytes, at_clip_written file, at_error *err)
{
    symbols s = { .arena = at_arena_try_new() };
    at_json_writer w = { .bytes_max = TEXT_MAX };
    at_status status = AT_OK;
    if (s.arena)
        s.text = at_arena_try(s.arena, (SYMBOLS + AT_CLIP_MERGES) * sizeof *s.text);
    bool whole = s.text && fill(&s);
    if (whole && file == AT_CLIP_WRITTEN_MERGES) {
        whole = write_merges(text, bytes, &s);
    } else if (whole) {
        put_vocabulary(&w, &s);
        status = at_json_write_end(&w, err);
        *text = w.text;
        *bytes = w.bytes;
    }
    at_arena_free(s.arena);
    return whole ? status : at_fail(err, AT_NO_MEMORY, "no memory for a tokenizer's files");
}

/* --- the small files -------------------------------------------------------------------------- */

static void put_text(at_json_writer *w, const char *key, const char *text)
{
    at_json_write_key(w, key);
    at_json_write_string(w, text, strlen(text));
}

static void put_flag(at_json_writer *w, const char *key, bool value)
{
    at_json_write_key(w, key);
    at_json_write_bool(w, value);
}

static void put_token(at_json_writer *w, const char *key, const char *text, bool typed)
{
    at_json_write_key(w, key);
    at_json_write_object(w);
    if (typed)
        put_text(w, "__type", "AddedToken");
    put_text(w, "content", text);
    put_flag(w, "lstrip", false);
    put_flag(w, "normalized", true);
    put_flag(w, "rstrip", false);
    put_flag(w, "single_word", false);
    at_json_write_close(w);
}

static void put_tokens(at_json_writer *w, at_clip_builtin which, bool typed)
{
    put_token(w, "bos_token", begin, typed);
    put_token(w, "eos_token", end, typed);
    put_text(w, "pad_token", which == AT_CLIP_SDXL_2 ? "!" : end);
    put_token(w, "unk_token", end, typed);
}

/* As they stand beside SDXL. */
static at_status write_small(char **text, size_t *bytes, at_clip_builtin which,
                             at_clip_written file, at_error *err)
{
    const bool config = file == AT_CLIP_WRITTEN_CONFIG;
    at_json_writer w = { .bytes_max = TEXT_MAX };
    at_json_write_object(&w);
    put_tokens(&w, which, config);
    if (config) {
        put_flag(&w, "add_prefix_space", false);
        put_flag(&w, "do_lower_case", true);
        put_text(&w, "errors", "replace");
        at_json_write_key(&w, "model_max_length");
        at_json_write_int(&w, AT_CLIP_LENGTH);
        put_text(&w, "tokenizer_class", "CLIPTokenizer");
    }
    at_json_write_close(&w);
    at_status status = at_json_write_end(&w, err);
    *text = w.text;
    *bytes = w.bytes;
    return status;
}

at_status at_clip_tokenizer_write(char **text, size_t *bytes, at_clip_builtin which,
                                  at_clip_written file, at_error *err)
{
    *text = NULL;
    *bytes = 0;
    const bool long_file = file == AT_CLIP_WRITTEN_VOCAB || file == AT_CLIP_WRITTEN_MERGES;
    at_status status = long_file ? write_symbols(text, bytes, file, err)
                                 : write_small(text, bytes, which, file, err);
    if (status != AT_OK) {
        free(*text);
        *text = NULL;
    }
    return status;
}
