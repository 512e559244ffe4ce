/* unicode.h -- what tokenizers need of Unicode: text as code points, letters and numbers, lower
 * case, composed form (NFC).
 *
 * The tables are those of the Python library whose tokens we must give, which mixes versions of
 * Unicode; tests/reference/unicode_tables.py asked it for them. Nothing here allocates; every
 * function may be called from any thread. */
#ifndef AT_MODELS_UNICODE_H
#define AT_MODELS_UNICODE_H

#include "kernels/base.h"

/* The code points of a text in UTF-8, of which there are at most 'bytes'. What is not UTF-8 (a
 * surrogate, a form that is too long, a character that is cut) is refused with its place. */
AT_API at_status at_unicode_decode(uint32_t *out, size_t *count, const char *text, size_t bytes,
                                   at_error *err);
/* One code point in UTF-8; returns its bytes. */
size_t at_unicode_encode(unsigned char out[4], uint32_t c);

bool at_unicode_is_letter(uint32_t c);
bool at_unicode_is_number(uint32_t c);
bool at_unicode_is_blank(uint32_t c);

/* One code point in lower case, by itself: one code point or two. Returns how many. */
size_t at_unicode_lower(uint32_t out[2], uint32_t c);

/* Composed form. 'out' has room for what at_unicode_nfc_room() says; returns the count, which is
 * never more. 'spare' has the same room. */
size_t at_unicode_nfc_room(const uint32_t *in, size_t count);
size_t at_unicode_nfc(uint32_t *out, uint32_t *spare, const uint32_t *in, size_t count);

#endif
