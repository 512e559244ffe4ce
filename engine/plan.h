/* plan.h -- a graph made ready for a device: shapes checked, a variant chosen for every node,
 * weights' forms listed, scratch booked, every intermediate given its place in one arena.
 *
 * A plan knows its bytes before anything is allocated. at_plan_commit() allocates, or refuses with
 * the number needed and the number there; at_plan_run() allocates nothing. Plans of one device
 * share its arena: only one runs at a time. A plan borrows the graph, the device and the
 * parameters. Nodes of other lanes than the compute lane run beside it where the device has streams
 * for them; a run is over when all of them are. */
#ifndef AT_ENGINE_PLAN_H
#define AT_ENGINE_PLAN_H

#include "engine/graph.h"
#include "engine/lanes.h"
#include "engine/tuning.h"

typedef struct at_plan at_plan;

typedef struct at_plan_options {
    bool exact; /* a sample's bytes never depend on the batch it is in */
    /* Which variants and candidates are taken; borrowed while the plan is made. NULL: the first of
     * the list that fits. */
    at_tuning *tuning;
    bool tune; /* what the tuning does not know is tried out; then no plan may be running */
} at_plan_options;

typedef struct at_plan_bytes {
    size_t weights;     /* parameters that the plan uses, as they were loaded */
    size_t forms;       /* derived weights, shared with other plans */
    size_t activations; /* most bytes of intermediates alive at once */
    size_t workspace;   /* the device's region for scratch, or the largest scratch of a node */
    size_t arena;       /* intermediates and scratch as laid out */
    size_t bound;       /* what no layout of the arena could beat */
    size_t in_out;      /* inputs and outputs */
} at_plan_bytes;

typedef struct at_node_info {
    const at_op *op;
    const void *args;
    const at_variant *variant;
    const char *choice; /* which of its candidates: at_prepared.choice */
    const char *scope;
    at_cost cost;
    size_t scratch;
    at_lane lane;   /* the compute lane where the device has no others */
    at_waits waits; /* before it */
    double seconds; /* of the last profiled run */
} at_node_info;

typedef struct at_plan_times {
    double nodes; /* seconds of all nodes together */
    double run;   /* of a replay, on the device; 0 where nothing is captured, as host is */
    double host;  /* that at_plan_run() takes to enqueue a replay */
} at_plan_times;

AT_API at_status at_plan_new(at_plan **out, at_device *device, at_params *params, at_graph *graph,
                             const at_plan_options *options, at_error *err);
AT_API void at_plan_free(at_plan *plan);
AT_API at_plan_bytes at_plan_memory(const at_plan *plan);
/* Allocates what is missing; or AT_NO_MEMORY, nothing allocated. Called by the first run
 * otherwise. */
AT_API at_status at_plan_commit(at_plan *plan, at_error *err);

/* Device memory for an input or output that the caller owns; without it the plan has its own. Two
 * tensors that are given the same memory are not known to be the same: with lanes, what one of them
 * is used for may run beside the other's. */
AT_API void at_plan_bind(at_plan *plan, at_tensor t, void *memory);
/* Copies between the host and the memory of an input or output; commits first if need be. */
AT_API at_status at_plan_set(at_plan *plan, at_tensor t, const void *host, at_error *err);
AT_API at_status at_plan_get(at_plan *plan, at_tensor t, void *host, at_error *err);

AT_API at_status at_plan_run(at_plan *plan, at_error *err);
/* Runs once more, node by node on one lane with the time of each; see at_plan_node(). On a device
 * that captures it then replays a few times; see at_plan_timing(). A plan that trains has made as
 * many steps. */
AT_API at_status at_plan_profile(at_plan *plan, at_error *err);
/* Of the last profile, zeros before it. */
AT_API at_plan_times at_plan_timing(const at_plan *plan);

/* After a run whose outputs are not all finite: runs once more, node by node, up to the first that
 * makes such a number; 'node' is it, or -1 when none does. */
AT_API at_status at_plan_find_infinite(at_plan *plan, int *node, at_error *err);

AT_API int at_plan_nodes(const at_plan *plan);
AT_API at_node_info at_plan_node(const at_plan *plan, int i);
at_device *at_plan_device(const at_plan *plan);
at_graph *at_plan_graph(const at_plan *plan);

/* --- a cache of plans by shape ---------------------------------------------------------------- */

typedef struct at_plan_cache at_plan_cache;
/* Makes the plan for 'key' when the cache lacks it; graph and plan then belong to the cache. */
typedef at_status (*at_plan_make)(void *ctx, const char *key, at_graph **graph, at_plan **plan,
                                  at_error *err);

AT_API at_plan_cache *at_plan_cache_new(int most);
AT_API void at_plan_cache_free(at_plan_cache *cache);
/* The plan of that key, made if need be; the longest unused one gives way when the cache is
 * full. */
AT_API at_status at_plan_cache_get(at_plan_cache *cache, const char *key, at_plan_make make,
                                   void *ctx, at_plan **plan, at_error *err);
AT_API int at_plan_cache_made(const at_plan_cache *cache);

#endif
