/* clip_tokenizer.h -- prompts as the numbers that CLIP's text encoders read: the same, for every
 * text, as those of transformers' CLIPTokenizer.
 *
 * A tokenizer is made from the texts of the files that stand beside a model, of either age, or from
 * the vocabulary that is built in; it keeps nothing of them. It belongs to the caller and does not
 * change: any number of threads may use it at a time. */
#ifndef AT_MODELS_CLIP_TOKENIZER_H
#define AT_MODELS_CLIP_TOKENIZER_H

#include "kernels/base.h"

enum {
    AT_CLIP_LENGTH = 77,               /* tokens of a prompt, its begin and end included */
    AT_CLIP_TEXT_BYTES_MAX = 4 << 20,  /* of a prompt */
    AT_CLIP_FILE_BYTES_MAX = 64 << 20, /* of each file */
    AT_CLIP_VOCABULARY_MAX = 1 << 20,  /* tokens, and merges */
    AT_CLIP_TOKEN_BYTES_MAX = 1024,    /* of a token as files write it */
    AT_CLIP_ADDED_MAX = 1024           /* tokens that are found in the text as they are */
};

typedef struct at_clip_tokenizer at_clip_tokenizer;

/* A file's text, which the caller keeps until the tokenizer is made; NULL: there is none. */
typedef struct at_clip_file {
    const char *text;
    size_t bytes;
} at_clip_file;

/* Either tokenizer.json or vocab.json with merges.txt; the others where there are any. */
typedef struct at_clip_files {
    at_clip_file tokenizer; /* tokenizer.json: taken before vocab.json and merges.txt */
    at_clip_file vocab;     /* vocab.json */
    at_clip_file merges;    /* merges.txt */
    at_clip_file config;    /* tokenizer_config.json */
    at_clip_file special;   /* special_tokens_map.json */
    at_clip_file added;     /* added_tokens.json */
} at_clip_files;

AT_API at_status at_clip_tokenizer_open(at_clip_tokenizer **out, const at_clip_files *files,
                                        at_error *err);

/* SDXL's two, whose vocabularies are equal. The second pads with '!', which is therefore a token of
 * its own wherever it stands in a prompt. */
typedef enum at_clip_builtin { AT_CLIP_SDXL_1, AT_CLIP_SDXL_2 } at_clip_builtin;
AT_API at_status at_clip_tokenizer_builtin(at_clip_tokenizer **out, at_clip_builtin which,
                                           at_error *err);
AT_API void at_clip_tokenizer_free(at_clip_tokenizer *t);

typedef struct at_clip_ids {
    int32_t *ids; /* (count) the caller frees them */
    size_t count, room;
} at_clip_ids;

/* The tokens of a text alone, as many as it has, behind those that 'out' holds already; {0} is
 * none. Text that is not UTF-8 is refused with the place of the byte. */
AT_API at_status at_clip_tokenizer_ids(const at_clip_tokenizer *t, at_clip_ids *out,
                                       const char *text, size_t bytes, at_error *err);

/* The same, but a padding token that is not the end is not looked for in the text: what programs do
 * whose two encoders share one tokenizer and pad by number, for which '!' is a character. */
AT_API at_status at_clip_tokenizer_words(const at_clip_tokenizer *t, at_clip_ids *out,
                                         const char *text, size_t bytes, at_error *err);

/* What a text encoder reads: begin, the text's tokens, end, and padding up to 'length', at least 2.
 * 'cut' (or NULL): how many tokens of the text found no room, of which the caller should tell. */
AT_API at_status at_clip_tokenizer_encode(const at_clip_tokenizer *t, int32_t *ids /* (length) */,
                                          size_t length, size_t *cut, const char *text,
                                          size_t bytes, at_error *err);

/* The four tokens with a role. */
typedef struct at_clip_special {
    int32_t begin, end, unknown, pad;
} at_clip_special;
AT_API at_clip_special at_clip_tokenizer_special(const at_clip_tokenizer *t);
/* How many ids there are: one more than the largest. */
AT_API int32_t at_clip_tokenizer_size(const at_clip_tokenizer *t);

#endif
