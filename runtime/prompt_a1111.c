/* prompt_a1111.c -- the syntax of A1111. */
#include "runtime/prompt_own.h"

at_status at_prompt_a1111(at_prompt *out, const at_clip_tokenizer *t, const char *text,
                          size_t bytes, at_error *err)
{
    (void)out, (void)t, (void)text;
    return at_fail(err, AT_UNSUPPORTED, "prompt of %zu bytes in a1111's syntax", bytes);
}
