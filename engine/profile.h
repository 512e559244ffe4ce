/* profile.h -- where a plan's time goes: what at_plan_profile() measured, as a table and as a
 * trace.
 *
 * Both only read the plan; they show zeros for a plan that was never profiled. */
#ifndef AT_ENGINE_PROFILE_H
#define AT_ENGINE_PROFILE_H

#include <stdio.h>

#include "engine/machine.h"
#include "engine/plan.h"

typedef enum at_profile_rows {
    AT_PROFILE_VARIANTS, /* one row for each variant, slowest first */
    AT_PROFILE_NODES,    /* one row for each node, in order */
} at_profile_rows;

/* Count, time, share of the whole, FLOP/s, bytes/s and, where 'machine' has been measured (it may
 * be NULL), the share of the roofline: how much of the time the machine's peaks would have
 * needed. A last line tells of a plan that is captured how long a replay takes, beside the sum of
 * its nodes, and what the host does for one. */
AT_API at_status at_profile_table(const at_plan *plan, const at_machine *machine,
                                  at_profile_rows rows, FILE *out, at_error *err);
/* The same as a trace for Perfetto or chrome://tracing: one complete event per node, with its scope
 * as category, and args, variant and rates beside it. */
AT_API at_status at_profile_trace(const at_plan *plan, const at_machine *machine, FILE *out,
                                  at_error *err);

#endif
