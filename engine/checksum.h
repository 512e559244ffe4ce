/* checksum.h -- XXH3-64, the checksum of checkpoints: it finds damage, not forgery.
 *
 * Of bytes that may be many, a sum is taken in pieces: XXH3-64 of the little-endian XXH3-64s of
 * consecutive pieces of 4 MiB, the last one shorter, no bytes being no pieces. So several threads
 * may work on one tensor, and a tensor may be summed while it arrives. The values are the same on
 * every processor. Any thread may call anything; an at_checksum belongs to one. */
#ifndef AT_ENGINE_CHECKSUM_H
#define AT_ENGINE_CHECKSUM_H

#include "kernels/base.h"

#define AT_CHECKSUM_PIECE ((size_t)4 << 20)

/* XXH3-64 of the bytes. */
uint64_t at_checksum_of(const void *data, size_t bytes);

/* In pieces: whole, from the pieces' sums, and as the bytes arrive. */
uint64_t at_checksum_pieces(const void *data, size_t bytes);
uint64_t at_checksum_join(const uint64_t *sums, size_t count);

typedef struct at_checksum at_checksum;

at_checksum *at_checksum_new(void); /* NULL: no memory */
void at_checksum_free(at_checksum *c);
void at_checksum_reset(at_checksum *c);
void at_checksum_add(at_checksum *c, const void *data, size_t bytes);
uint64_t at_checksum_value(const at_checksum *c);

/* The library's own. */
void at_checksum_version(char *text, size_t text_size);

#endif
