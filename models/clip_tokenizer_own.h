/* clip_tokenizer_own.h -- how a tokenizer is put together; for the files that make one. */
#ifndef AT_MODELS_CLIP_TOKENIZER_OWN_H
#define AT_MODELS_CLIP_TOKENIZER_OWN_H

#include "engine/arena.h"
#include "models/bpe.h"
#include "models/clip_tokenizer.h"

/* A token that is found in a text as it is written, before the text is cut into words. */
typedef struct at_clip_added {
    const uint32_t *points; /* (count) the code points that are looked for */
    size_t count;
    int32_t id;
    bool left, right; /* takes the blanks before it, behind it */
} at_clip_added;

typedef struct at_clip_added_list {
    at_clip_added *items; /* (count) the arena's */
    size_t count;
    uint64_t first_points; /* bit c % 64 of every first code point: most places are passed by it */
} at_clip_added_list;

struct at_clip_tokenizer {
    at_arena *arena;
    at_bpe *bpe;
    int32_t bytes[2][256]; /* a byte's symbol: within a word, at its end */
    at_clip_added_list raw, normalized;
    at_clip_special special;
    int32_t size;
};

/* A vocabulary while a tokenizer is made: what files write, to numbers. Words point into the files
 * or, where they had escapes, into an arena. */
typedef struct at_clip_word {
    const char *text;
    uint32_t bytes;
    int32_t id;
} at_clip_word;

typedef struct at_clip_vocabulary {
    at_clip_word *table;
    size_t mask, count, count_max;
    uint64_t *ids_taken; /* a bit for each id there may be */
    int32_t size;
} at_clip_vocabulary;

/* A byte's place among the symbols, and the character that a vocabulary writes it as. */
int at_clip_byte_place(int byte, uint32_t *point);

at_status at_clip_vocabulary_start(at_clip_vocabulary *v, at_arena *arena, size_t count_max,
                                   at_error *err);
/* Refuses a word or an id that comes twice. The text stays the caller's. */
at_status at_clip_vocabulary_add(at_clip_vocabulary *v, const char *text, size_t bytes, int64_t id,
                                 at_error *err);
/* -1: there is no such word. */
int32_t at_clip_vocabulary_find(const at_clip_vocabulary *v, const char *text, size_t bytes);

/* A token as a file names it. */
typedef struct at_clip_token {
    const char *text; /* UTF-8, bytes long */
    size_t bytes;
    int64_t order;  /* of those that the file numbers */
    bool is_string; /* it stands there by its name only */
    bool special, normalized, left, right;
    bool normalized_is_told; /* else the opposite of 'special' */
} at_clip_token;

/* An empty tokenizer; at_clip_tokenizer_free() frees it whatever becomes of it. */
at_status at_clip_tokenizer_start(at_clip_tokenizer **out, size_t merges_max, at_error *err);
/* The symbols of the 256 bytes; what the vocabulary lacks is unknown. */
void at_clip_tokenizer_take_bytes(at_clip_tokenizer *t, const at_clip_vocabulary *v);
/* A token to be found in the text; those found in the text as it is come before the others. */
at_status at_clip_tokenizer_add(at_clip_tokenizer *t, const at_clip_token *token, int32_t id,
                                at_error *err);

#endif
