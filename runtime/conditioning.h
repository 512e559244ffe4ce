/* conditioning.h -- what a UNet is told in words: prompts, read by a model's tokenizers and encoded
 * by its text encoders.
 *
 * A base model has two encoders, whose results lie side by side; a refiner has only the second.
 * Where prompt and negative prompt have different numbers of chunks their rows are repeated, each
 * as a whole, until they are as many, which attention cannot tell.
 *
 * The caller owns both structs; a model that does not keep its parts is without its text encoders
 * after encoding. One thread at a time. */
#ifndef AT_RUNTIME_CONDITIONING_H
#define AT_RUNTIME_CONDITIONING_H

#include "runtime/model.h"
#include "runtime/prompt.h"

enum { AT_CONDITIONING_ENCODERS = 2 };

/* Of one encoder. */
typedef struct at_prompts_of {
    at_sdxl_part part;
    int index; /* 0, 1: which of the model's */
    at_prompt positive, negative, empty;
} at_prompts_of;

typedef struct at_prompts {
    at_prompts_of of[AT_CONDITIONING_ENCODERS];
    int n_encoders;
    int chunks, negative_chunks; /* of each encoder's; no negative prompt: as many */
    int common;                  /* the least number that is a multiple of both */
    at_prompt_syntax syntax;
    bool guided; /* there is a negative prompt, or what stands for none: */
    bool zeros;  /* zeros, not the encoding of "" */
} at_prompts;

/* 'out' is to be freed in any case. */
at_status at_prompts_read(at_prompts *out, const at_model *m, const at_request *r, bool guided,
                          at_error *err);
void at_prompts_free(at_prompts *p);

/* Rows: the negative prompt's, where there is guidance, then the prompt's. */
typedef struct at_conditioning {
    int64_t rows, tokens, width, pooled_width;
    float *context; /* (rows, tokens, width) */
    float *pooled;  /* (rows, pooled_width) */
} at_conditioning;

at_status at_conditioning_make(at_conditioning *out, at_model *m, const at_prompts *p,
                               int clip_skip, const at_model_adapters *adapters, at_error *err);
void at_conditioning_free(at_conditioning *c);

#endif
