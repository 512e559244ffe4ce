/* budget.h -- what a graph must cost on a GPU, before the GPU is there: each node's arithmetic and
 * bytes at the share of the chip's figures that such work is expected to reach, and its launches.
 *
 *     time of a call = max(FLOPs / (peak * share), bytes / (bandwidth * share)) + launches
 *
 * Weights, inputs and outputs of the graph come from memory; intermediates from the L2 cache if all
 * that the call touches of them fits. The shares (shares.def) are goals and assumptions, and say
 * which: a budget is an expectation, never a measurement. What was measured can be put beside it.
 *
 * A budget borrows the graph; the caller owns it. One thread at a time. */
#ifndef AT_ENGINE_BUDGET_H
#define AT_ENGINE_BUDGET_H

#include "engine/gpus.h"
#include "engine/graph.h"

typedef enum at_work {
#define AT_WORK(NAME, name, launches, early, rereads, cheaper) AT_WORK_##NAME,
#include "engine/work.def"
#undef AT_WORK
    AT_WORKS
} at_work;

AT_API const char *at_work_name(at_work work);
AT_API at_work at_work_of(const at_op *op, const void *args);

typedef struct at_share {
    double arithmetic, bandwidth; /* of the GPU's figures */
    at_origin origin;
    const char *why;
} at_share;
AT_API at_share at_share_of(at_work work, double elements);

typedef enum at_bound { AT_BOUND_ARITHMETIC, AT_BOUND_BYTES, AT_BOUND_LAUNCHES } at_bound;

/* Some calls, added up. Seconds are expected ones. */
typedef struct at_budget_line {
    char name[256];
    int calls, launches;
    double seconds;           /* with launches */
    double launch_seconds;    /* of these, between kernels */
    double flops, bytes;      /* bytes: those from memory and from the cache */
    double cached;            /* of these, from the cache */
    double by_bound[3];       /* seconds of the calls that are bound so */
    double by_origin[4];      /* kernels' seconds by where the calls' shares come from */
    int measured_calls;       /* how many were measured, */
    double measured_seconds;  /* how long these took, */
    double measured_expected; /* and were expected to take, without launches */
    at_work work;             /* of a line of one work or of equal calls */
    int node;                 /* its first */
} at_budget_line;

typedef struct at_budget at_budget;

typedef struct at_budget_options {
    double effort; /* products and 3x3 convolutions reach so many times their share; 0: once */
} at_budget_options;

/* AT_UNSUPPORTED: the GPU does not compute in a type that the graph has. */
AT_API at_status at_budget_new(at_budget **out, const at_gpu *gpu, at_graph *graph,
                               const at_budget_options *options, at_error *err);
AT_API void at_budget_free(at_budget *b);

/* Lines of everything; of the parts that scopes begin with, in the graph's order; of kinds of work,
 * and of equal calls, both longest first. */
typedef enum at_budget_by { AT_BY_ALL, AT_BY_PART, AT_BY_WORK, AT_BY_CALL, AT_BYS } at_budget_by;
AT_API int at_budget_lines(const at_budget *b, at_budget_by by);
AT_API const at_budget_line *at_budget_line_at(const at_budget *b, at_budget_by by, int i);
/* The same as at_budget_line_at(b, AT_BY_ALL, 0). */
AT_API const at_budget_line *at_budget_all(const at_budget *b);

/* A sentence: what bounds the calls of such a line, and what would make them cheaper. */
AT_API void at_budget_advice(const at_budget *b, const at_budget_line *line, char *text,
                             size_t text_size);

/* Puts what `bench ops --json` wrote beside the expectations: calls of the same op, shapes, types
 * and attributes. Gives how many calls of the graph it has found there. */
AT_API at_status at_budget_measured(at_budget *b, const char *json, size_t bytes, int *found,
                                    at_error *err);

#endif
