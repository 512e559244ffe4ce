/* cudnn_plans.h -- what every variant of cuDNN does: graphs that were asked about are kept, with
 * their engines and their plans, and equal calls share them.
 *
 * To list engines takes the library 10 to 200 ms of a CPU core, to compile a plan up to two seconds
 * (asked without a GPU), and a U-Net has the same attention seventy times. Graphs that no prepared
 * call holds any more stay for the next one, AT_CUDNN_IDLE_MAX of them; the oldest goes first.
 *
 * Whoever opened the library owns what is kept, by its at_cudnn. One thread at a time. */
#ifndef AT_KERNELS_CUDNN_PLANS_H
#define AT_KERNELS_CUDNN_PLANS_H

#include "kernels/cudnn_graph.h"

enum { AT_CUDNN_IDLE_MAX = 64 };

/* Puts the graph for these args into g, all but at_cudnn_graph_end(). */
typedef void at_cudnn_describe_fn(at_cudnn_graph *g, const void *args);

at_cudnn_plans *at_cudnn_plans_new(void); /* NULL: no memory */
void at_cudnn_plans_free(at_cudnn_plans *plans);

/* Makes the plan of in->choice, or of the candidate, or finds it; candidate 0 is the first that can
 * be made. The workspace is put behind what out->scratch_bytes counts already. */
at_status at_cudnn_prepare(at_cudnn_describe_fn *describe, const void *args,
                           const at_prepare_in *in, at_prepared *out, at_error *err);
int at_cudnn_candidates(at_cudnn_describe_fn *describe, const void *args, const at_caps *caps);
void at_cudnn_release(at_prepared *p);
at_status at_cudnn_execute(const at_prepared *p, const at_cudnn_binding *bindings, int n,
                           const at_launch *l);

#endif
