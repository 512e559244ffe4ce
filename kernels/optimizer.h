/* optimizer.h -- what the optimizers share: the numbers of a step, the checks, the low copy.
 *
 * A gradient factor of exactly 0 is what clip_factor answers to gradients that are not finite.
 * Such a step is left out: weights and states keep their bytes (0 times a NaN would be a NaN),
 * and only the low copy is made. */
#ifndef AT_KERNELS_OPTIMIZER_H
#define AT_KERNELS_OPTIMIZER_H

#include "kernels/ops.h"

#define AT_LOW_TYPES "bf16|f16"

typedef struct at_hyper {
    double lr, bias1, bias2, factor;
} at_hyper;

at_hyper at_hyper_of(const at_view *v);

at_dtype at_low_type(int low);

/* g as w and of a floating type, hyper the four numbers. */
at_status at_expect_step(const char *op, const at_view *w, const at_view *g, const at_view *hyper,
                         at_error *err);

/* low = w rounded, by the definition; nothing if 'low' is absent. */
void at_low_copy_ref(const at_view *low, const at_view *w);

#endif
