/* bpe.h -- byte pair encoding: which two symbols become one, and words merged by it.
 *
 * The pairs are filled once and read by any number of threads; a word belongs to one thread and is
 * used for one text after the other, so that nothing is allocated for a word but when it is the
 * longest so far. */
#ifndef AT_MODELS_BPE_H
#define AT_MODELS_BPE_H

#include "kernels/base.h"

typedef struct at_bpe at_bpe;

/* For at most 'pairs_max' pairs. */
at_status at_bpe_new(at_bpe **out, size_t pairs_max, at_error *err);
void at_bpe_free(at_bpe *b);
/* 'left' and 'right' become 'result'. Earlier pairs are merged first; a pair that comes again takes
 * its new place. */
void at_bpe_add(at_bpe *b, uint32_t left, uint32_t right, uint32_t result);

typedef struct at_bpe_merge at_bpe_merge;

typedef struct at_bpe_word {
    uint32_t *ids; /* (count) symbols: bytes at first */
    size_t count;
    size_t room;             /* of every array; the heap has three times as much */
    int32_t *before, *after; /* the neighbours that are left */
    at_bpe_merge *heap;
} at_bpe_word;

/* Room for a word of 'count' symbols, which are lost when it grows. */
at_status at_bpe_word_reserve(at_bpe_word *w, size_t count, at_error *err);
void at_bpe_word_free(at_bpe_word *w);
/* Merges the word in place: the pair that was added first comes first, and of equal ones the
 * leftmost. */
void at_bpe_merge_word(const at_bpe *b, at_bpe_word *w);

#endif
