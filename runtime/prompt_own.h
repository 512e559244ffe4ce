/* prompt_own.h -- how a prompt is put together; for the files of its syntaxes. */
#ifndef AT_RUNTIME_PROMPT_OWN_H
#define AT_RUNTIME_PROMPT_OWN_H

#include "runtime/prompt.h"

enum {
    AT_PROMPT_ROOM = AT_CLIP_LENGTH - 2, /* tokens of a chunk between its begin and its end */
    AT_PROMPT_NUMBER_MAX = 64,           /* characters of a weight */
    AT_PROMPT_SHOWN_MAX = 48             /* bytes of a prompt that a sentence shows */
};

/* Each reads text in UTF-8, no longer than it may be, into an empty prompt; what was added stays in
 * 'out' when it fails. */
at_status at_prompt_literal(at_prompt *out, const at_clip_tokenizer *t, const char *text,
                            size_t bytes, at_error *err);
at_status at_prompt_a1111(at_prompt *out, const at_clip_tokenizer *t, const char *text,
                          size_t bytes, at_error *err);
at_status at_prompt_comfy(at_prompt *out, const at_clip_tokenizer *t, const char *text,
                          size_t bytes, at_error *err);

/* A chunk that is being filled. */
typedef struct at_prompt_filling {
    at_prompt *prompt;
    const at_clip_tokenizer *tokenizer;
    int n;
    int32_t ids[AT_PROMPT_ROOM];
    float weight[AT_PROMPT_ROOM];
} at_prompt_filling;

/* Adds what is in it, which may be nothing, to the prompt as a chunk of begin, tokens, end and
 * padding; it is empty then. */
at_status at_prompt_add_chunk(at_prompt_filling *f, at_error *err);
at_status at_prompt_add_lora(at_prompt *p, const char *name, size_t bytes, double weight,
                             at_error *err);

/* A number as Python's float() reads it, as far as it is written in ASCII: blanks around it, a
 * sign, digits with single underscores among them, a point, an exponent; inf and nan too. */
bool at_prompt_number(double *out, const char *text, size_t bytes);
/* Refuses a weight that is not finite or over AT_PROMPT_WEIGHT_MAX. */
at_status at_prompt_check_weight(double weight, at_error *err);
/* The code point that begins at 'at', or that ends there; 0 at the text's end or begin. */
uint32_t at_prompt_next(const char *text, size_t bytes, size_t at);
uint32_t at_prompt_before(const char *text, size_t at);
/* How many of a piece's bytes a sentence shows; whole characters. */
int at_prompt_shown(const char *text, size_t bytes);

#endif
