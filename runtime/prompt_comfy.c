/* prompt_comfy.c -- the syntax of ComfyUI. */
#include "runtime/prompt_own.h"

at_status at_prompt_comfy(at_prompt *out, const at_clip_tokenizer *t, const char *text,
                          size_t bytes, at_error *err)
{
    (void)out, (void)t, (void)text;
    return at_fail(err, AT_UNSUPPORTED, "prompt of %zu bytes in comfy's syntax", bytes);
}
