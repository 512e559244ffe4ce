/* clip_tokenizer_write.h -- the tokenizers that are built in, as the files that transformers reads.
 * Any thread. */
#ifndef AT_MODELS_CLIP_TOKENIZER_WRITE_H
#define AT_MODELS_CLIP_TOKENIZER_WRITE_H

#include "models/clip_tokenizer.h"

typedef enum at_clip_written {
    AT_CLIP_WRITTEN_VOCAB,
    AT_CLIP_WRITTEN_MERGES,
    AT_CLIP_WRITTEN_CONFIG,
    AT_CLIP_WRITTEN_SPECIAL,
    AT_CLIP_WRITTEN_COUNT
} at_clip_written;

/* "vocab.json" */
const char *at_clip_written_name(at_clip_written file);
/* The caller frees the text, which has no zero behind it. */
at_status at_clip_tokenizer_write(char **text, size_t *bytes, at_clip_builtin which,
                                  at_clip_written file, at_error *err);

#endif
