/* plan_own.h -- what plan_profile.c does with a plan, and nobody else does. */
#ifndef AT_ENGINE_PLAN_OWN_H
#define AT_ENGINE_PLAN_OWN_H

#include "engine/plan.h"

/* What was measured, kept with the plan. */
typedef struct at_plan_notes {
    at_plan_times times;
    double *seconds; /* by node */
} at_plan_notes;

/* Memory, addresses and weights' forms: before nodes are run. */
at_status at_plan_own_ready(at_plan *plan, at_error *err);
/* Enqueues node i, as a plain run does. */
at_status at_plan_own_node(at_plan *plan, int i, at_error *err);
/* After all of them, in order. */
void at_plan_own_ran(at_plan *plan);
at_plan_notes *at_plan_own_notes(at_plan *plan);

#endif
