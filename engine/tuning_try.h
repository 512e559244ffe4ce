/* tuning_try.h -- tries out the variants of a call and all of their candidates, on operands full of
 * random numbers, and keeps the fastest in a tuning.
 *
 * For an exact plan a candidate must also give the same bytes for a sample alone and in a batch. Of
 * variants marked AT_ROWS_INDEPENDENT or AT_ROWS_WHEN_EXACT that is known; of others it is tried:
 * by that candidate a batch as large as was asked for, at least 2, another of 3, and samples of
 * each alone. And its choice must be one that can be made for every batch.
 *
 * Trying uses the device's shared arena (engine/bench.h): no plan may be running. */
#ifndef AT_ENGINE_TUNING_TRY_H
#define AT_ENGINE_TUNING_TRY_H

#include "engine/tuning.h"

typedef enum at_verdict {
#define AT_VERDICT(NAME, text) AT_VERDICT_##NAME,
#include "engine/verdicts.def"
#undef AT_VERDICT
} at_verdict;

enum { AT_TRIED_MAX = 64, AT_TRIED_WHY_MAX = 160 };

typedef struct at_tried {
    const at_variant *variant;
    char choice[AT_CHOICE_MAX];
    double seconds; /* 0: it was not timed */
    size_t scratch;
    at_verdict verdict;
    char why[AT_TRIED_WHY_MAX]; /* more about the verdict; may be empty */
} at_tried;

typedef struct at_trial {
    at_tried list[AT_TRIED_MAX]; /* the first one is what an untuned plan takes */
    int n, kept;
} at_trial;

AT_API const char *at_verdict_text(at_verdict verdict);

/* Tries the call and stores what is fastest. A call with one candidate only is not timed, and
 * nothing is stored. A candidate takes the first one's place if it is at least 2 % faster. */
AT_API at_status at_tuning_try(at_tuning *t, at_device *d, const at_tuning_call *call,
                               at_trial *trial, at_error *err);
/* The same for what is not known yet, while there is time; what is too large to be tried, or cannot
 * be written as a key, stays untuned. */
at_status at_tuning_learn(at_tuning *t, at_device *d, const at_tuning_call *call, at_error *err);
/* Whether the time for trying is over. */
AT_API bool at_tuning_is_over(const at_tuning *t);

#endif
