/* prompt.h -- prompts in their three syntaxes, as chunks of 77 tokens with a weight each.
 *
 * Literal: every character counts as itself, and what does not fit into one chunk is cut, as
 * diffusers does.
 *
 * a1111, as the program of that name reads it (1.10, its default settings): (word) is 1.1 times as
 * heavy, [word] as much lighter, (word:1.3) has a factor of its own, all of them nest; \( \) \[ \]
 * \\ are characters; BREAK ends a chunk; what stands behind # on a line is a comment;
 * <lora:NAME:WEIGHT> is taken out and listed. A prompt goes on in further chunks; one that is full
 * gives what stands behind its last comma to the next, if that is at most 20 tokens. What changes
 * during the steps ([a:b:10], [a|b]), joins prompts (AND, and a weight at the prompt's end) or asks
 * for another kind of network is refused. What that program makes of names of embeddings is text
 * here. A negative prompt is read the same way, though that program leaves AND and networks in it
 * as text. A weight multiplies the vector that the encoder gave, then the whole chunk is scaled so
 * that its mean is what it was.
 *
 * comfy, as ComfyUI reads it: (word) is 1.1 times as heavy as what is around it, (word:1.3) has the
 * weight 1.3 whatever is around it; \( \) are characters; [ ] and < > too. A prompt goes on in
 * further chunks; a stretch of one weight is cut anywhere if it has 8 tokens or more, else it moves
 * to the next chunk as a whole. embedding:NAME is refused. A weight moves the vector on the line
 * from that of "" at the same place.
 *
 * Both give SDXL's two encoders the same text and take what is pooled from the first chunk, without
 * weights; their second encoder pads with token 0, for which '!' in the text is not taken. Where
 * prompt and negative prompt have different numbers of chunks both run as they are, or have their
 * rows repeated as a whole until they are as many, which attention cannot tell; where the texts for
 * the two encoders differ, ComfyUI appends chunks of "" to the shorter.
 *
 * The caller owns a prompt and frees it. Any thread. */
#ifndef AT_RUNTIME_PROMPT_H
#define AT_RUNTIME_PROMPT_H

#include "models/clip_tokenizer.h"

enum {
    AT_PROMPT_BYTES_MAX = 64 << 10,
    AT_PROMPT_CHUNKS_MAX = 32,   /* that are read */
    AT_PROMPT_MATCHED_MAX = 128, /* after at_prompt_match() */
    AT_PROMPT_NESTING_MAX = 256, /* brackets that are open at a time */
    AT_PROMPT_WEIGHT_MAX = 1000000,
    AT_PROMPT_COMMA_BACK = 20, /* tokens behind a comma that move to the next chunk, in a1111 */
    AT_PROMPT_WORD_MAX = 8,    /* tokens of a stretch from which on it is cut, in comfy */
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

/* On failure 'out' is empty. */
AT_API at_status at_prompt_read(at_prompt *out, const at_clip_tokenizer *t, at_prompt_syntax syntax,
                                const char *text, size_t bytes, at_error *err);
AT_API void at_prompt_free(at_prompt *p);
/* Appends chunks of "" until there are n, as ComfyUI does where the two encoders of one prompt have
 * texts of different lengths. */
AT_API at_status at_prompt_extend(at_prompt *p, const at_clip_tokenizer *t, int n, at_error *err);
/* Repeats both, each as a whole, until they have as many chunks: what prompt and negative prompt
 * need to run as one batch. Attention is the same over rows that are all there twice, so that each
 * gives what it gives alone. On failure both are as they were. */
AT_API at_status at_prompt_match(at_prompt *a, at_prompt *b, at_error *err);

/* Applies the weights of all chunks to what the encoder made of them: hidden and empty are
 * (n_chunks, AT_CLIP_LENGTH, width) and (AT_CLIP_LENGTH, width) f32, 'empty' that of "", which only
 * comfy looks at. Of each encoder by itself, and before what is repeated is repeated. */
AT_API void at_prompt_weigh(const at_prompt *p, at_prompt_syntax syntax, float *hidden,
                            const float *empty, int64_t width);

#endif
