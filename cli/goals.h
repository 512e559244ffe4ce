/* goals.h -- whether a GPU is expected to reach what SDXL is meant to reach, and what it would
 * take: goals.def against budgets. */
#ifndef AT_CLI_GOALS_H
#define AT_CLI_GOALS_H

#include "cli/planned.h"

typedef struct at_goal {
    const char *text;
    double value, bound; /* expected, wanted */
    bool at_least, reached;
    /* What reaching it depends on: how many times their shares products and 3x3 convolutions must
     * reach, 0: that alone does not do it; or, of a step by its kernels, seconds of a launch. */
    bool of_launches;
    double needs;
} at_goal;

enum { AT_GOALS_MAX = 16 };

/* All of them, for a device that plans for that GPU. */
at_status at_goals_check(at_goal *goals, int *count, const at_gpu *gpu, at_device *device,
                         at_error *err);
/* "yes; with 0.97 of their shares ..." */
void at_goal_text(const at_goal *goal, char *text, size_t text_size);

#endif
