/* plan_choose.h -- which variant each node of a plan takes, and what that prepared.
 *
 * Nodes of the same op with the same args and parameters are one call: it is chosen and prepared
 * once, and they share it. The plan owns its calls; one thread. */
#ifndef AT_ENGINE_PLAN_CHOOSE_H
#define AT_ENGINE_PLAN_CHOOSE_H

#include "engine/arena.h"
#include "engine/plan.h"

typedef struct at_call {
    const at_op *op;
    const void *key;    /* args without tags */
    uint32_t constants; /* bit i: operand i is a parameter */
    const at_variant *variant;
    at_prepared prepared;
} at_call;

typedef struct at_calls {
    at_device *device;
    const at_plan_options *options;
    at_arena *arena; /* of the keys */
    at_call *list;
    int n, capacity;
} at_calls;

/* The number of the call for these args, made if there is none yet. */
at_status at_calls_choose(at_calls *calls, const at_op *op, const void *args, uint32_t constants,
                          int *number, at_error *err);
void at_calls_free(at_calls *calls);

#endif
