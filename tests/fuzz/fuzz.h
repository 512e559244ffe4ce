/* fuzz.h -- every parser of outside bytes behind one signature, for whoever feeds them: the
 * mutation program (mutate.c), which every test run calls, and libFuzzer (libfuzzer.c) for long
 * runs. */
#ifndef AT_TESTS_FUZZ_FUZZ_H
#define AT_TESTS_FUZZ_FUZZ_H

#include "kernels/base.h"

/* AT_OK: the bytes were accepted and everything in them was read. */
typedef at_status at_fuzz_fn(const unsigned char *data, size_t bytes, at_error *err);
typedef void at_mend_fn(unsigned char *data, size_t bytes);

typedef struct at_fuzz_target {
    const char *name;
    at_fuzz_fn *run;
    const char *endings; /* separated by blanks */
    at_mend_fn *mend;
    size_t memory_kib; /* besides twice the file */
} at_fuzz_target;

#define AT_FUZZ(name, run, endings, mend, memory) at_fuzz_fn run;
#include "tests/fuzz/targets.def"
#undef AT_FUZZ
at_mend_fn at_mend_checkpoint, at_mend_png;

extern const at_fuzz_target at_fuzz_targets[];
extern const int at_fuzz_target_count;
const at_fuzz_target *at_fuzz_named(const char *name);

/* Numbers that follow from their seed alone. */
typedef struct at_dice {
    uint64_t state;
} at_dice;
uint64_t at_dice_next(at_dice *d);
size_t at_dice_below(at_dice *d, size_t n); /* 0 when n is 0 */

/* A growing input. */
typedef struct at_bytes {
    unsigned char *data;
    size_t count, room;
} at_bytes;

/* Changes 'b' in one to eight places; 'other' is another seed to take pieces from. */
void at_mutate(at_bytes *b, const at_bytes *other, at_dice *d);
void at_bytes_set(at_bytes *b, const void *data, size_t bytes);

#endif
