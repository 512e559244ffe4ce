/* prompt.h -- prompts in their three syntaxes, as chunks of 77 tokens with a weight each.
 *
 * Literal: every character counts as itself, and what does not fit into one chunk is cut, as
 * diffusers does. a1111 and comfy: as the programs of that name read them: (word), (word:1.3), and
 * [word] in a1111; BREAK; long prompts go on in further chunks; <lora:NAME:WEIGHT> is taken out and
 * listed. The caller owns a prompt and frees it. Any thread. */
#ifndef AT_RUNTIME_PROMPT_H
#define AT_RUNTIME_PROMPT_H

#include "models/clip_tokenizer.h"

enum {
    AT_PROMPT_BYTES_MAX = 64 << 10,
    AT_PROMPT_CHUNKS_MAX = 32,
    AT_PROMPT_LORAS_MAX = 32,
    AT_PROMPT_LORA_NAME_MAX = 256
};

typedef enum at_prompt_syntax {
#define AT_PROMPT_SYNTAX(NAME, name, read, about) AT_PROMPT_##NAME,
#include "runtime/prompt_syntaxes.def"
#undef AT_PROMPT_SYNTAX
    AT_PROMPT_SYNTAXES
} at_prompt_syntax;
/* An unknown name is refused with those that there are. */
AT_API at_status at_prompt_syntax_named(at_prompt_syntax *out, const char *name, at_error *err);

typedef struct at_prompt_chunk {
    int32_t ids[AT_CLIP_LENGTH];  /* begin, tokens, end, padding */
    float weight[AT_CLIP_LENGTH]; /* 1: as it is */
} at_prompt_chunk;

typedef struct at_prompt_lora {
    char name[AT_PROMPT_LORA_NAME_MAX]; /* as it was written: a file's name without its ending */
    double weight;
} at_prompt_lora;

typedef struct at_prompt {
    at_prompt_chunk *chunks;
    int n_chunks;  /* 1 at least */
    bool weighted; /* a weight is not 1 */
    at_prompt_lora *loras;
    int n_loras;
    size_t cut; /* tokens that found no room, in the literal syntax */
} at_prompt;

AT_API at_status at_prompt_read(at_prompt *out, const at_clip_tokenizer *t, at_prompt_syntax syntax,
                                const char *text, size_t bytes, at_error *err);
AT_API void at_prompt_free(at_prompt *p);
/* Appends chunks of "" until there are n: prompts of one batch have as many. */
AT_API at_status at_prompt_extend(at_prompt *p, const at_clip_tokenizer *t, int n, at_error *err);

/* Applies the weights of all chunks to what the encoder made of them: hidden and empty are
 * (n_chunks, AT_CLIP_LENGTH, width) and (AT_CLIP_LENGTH, width) f32, 'empty' that of "". */
AT_API void at_prompt_weigh(const at_prompt *p, at_prompt_syntax syntax, float *hidden,
                            const float *empty, int64_t width);

#endif
