/* checksum_level.h -- XXH3 compiled for more than the least processor of its architecture: what
 * checksum.c chooses from. The state is the library's XXH3_state_t, whose layout is the same. */
#ifndef AT_ENGINE_CHECKSUM_LEVEL_H
#define AT_ENGINE_CHECKSUM_LEVEL_H

#include "kernels/base.h"

typedef struct at_checksum_level {
    bool (*usable)(void); /* by this processor */
    uint64_t (*of)(const void *data, size_t bytes);
    void (*add)(void *state, const void *data, size_t bytes);
} at_checksum_level;

extern const at_checksum_level at_checksum_avx512, at_checksum_avx2;

#endif
