/* prompt_own.h -- how a prompt is put together; for the files of its syntaxes. */
#ifndef AT_RUNTIME_PROMPT_OWN_H
#define AT_RUNTIME_PROMPT_OWN_H

#include "runtime/prompt.h"

enum { AT_PROMPT_ROOM = AT_CLIP_LENGTH - 2 /* tokens of a chunk between its begin and its end */ };

/* Each reads text in UTF-8, no longer than it may be, into an empty prompt; what was added stays in
 * 'out' when it fails. */
at_status at_prompt_literal(at_prompt *out, const at_clip_tokenizer *t, const char *text,
                            size_t bytes, at_error *err);
at_status at_prompt_a1111(at_prompt *out, const at_clip_tokenizer *t, const char *text,
                          size_t bytes, at_error *err);
at_status at_prompt_comfy(at_prompt *out, const at_clip_tokenizer *t, const char *text,
                          size_t bytes, at_error *err);

/* Adds a chunk of begin, n tokens (AT_PROMPT_ROOM at most), end and padding. */
at_status at_prompt_add_chunk(at_prompt *p, const at_clip_tokenizer *t, const int32_t *ids,
                              const float *weight, int n, at_error *err);
at_status at_prompt_add_lora(at_prompt *p, const char *name, size_t bytes, double weight,
                             at_error *err);

#endif
