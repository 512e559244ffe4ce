/* graph.h -- a model as a description: op calls append nodes and return tensor handles; nothing
 * runs.
 *
 * Nodes run in the order in which they were appended. A tensor is an input, a parameter, or what a
 * node makes; reshape and slice_cols give views of a tensor that cost nothing. The same description
 * serves inference and training, every device and every plan. A graph owns its nodes and tensors,
 * not the parameters. A shape that does not fit is a broken promise of the model's code: it stops
 * with names and numbers. */
#ifndef AT_ENGINE_GRAPH_H
#define AT_ENGINE_GRAPH_H

#include "engine/param.h"
#include "kernels/ops.h"

typedef struct at_graph at_graph;

/* A handle; { 0 } is "no tensor". */
typedef struct at_tensor {
    int32_t id;
} at_tensor;

typedef enum at_storage {
    AT_STORAGE_TEMP,  /* made by a node, lives in the arena while it is needed */
    AT_STORAGE_INPUT, /* bound from outside */
    AT_STORAGE_PARAM, /* a parameter's or a state's memory */
} at_storage;

typedef struct at_tensor_info {
    at_view view; /* sizes, pitch and type; tag is the handle; no address */
    at_storage storage;
    int32_t base;     /* the tensor whose memory this is a view of; itself if it has its own */
    int64_t offset;   /* elements from the base's first */
    int32_t producer; /* the node that makes it; -1: none */
    bool is_output;   /* outlives the run */
    at_param *param;
    const char *name; /* inputs, outputs; else NULL */
} at_tensor_info;

typedef struct at_node {
    const at_op *op;
    void *args;        /* the op's struct; each view's tag is a tensor */
    const char *scope; /* where in the model, for profiles: "down.1.attn" */
    bool repeated;     /* computes again what the forward pass had */
    at_lane lane;
} at_node;

AT_API at_graph *at_graph_new(void);
AT_API void at_graph_free(at_graph *g);

/* --- tensors ---------------------------------------------------------------------------------- */

AT_API at_tensor at_graph_input(at_graph *g, const char *name, at_dtype dtype, int rank,
                                const int64_t *size);
/* The same parameter gives the same tensor each time. */
AT_API at_tensor at_graph_param(at_graph *g, at_param *p);
/* Keeps a tensor beyond the run, under a name. */
AT_API void at_graph_output(at_graph *g, at_tensor t, const char *name);
AT_API at_tensor at_graph_named(const at_graph *g, const char *name); /* { 0 }: none */

AT_API at_tensor at_graph_reshape(at_graph *g, at_tensor t, int rank, const int64_t *size);
/* Columns [start, start + n) of the last axis. */
AT_API at_tensor at_graph_slice_cols(at_graph *g, at_tensor t, int64_t start, int64_t n);
/* As 'like' of another graph looks at its base: the same sizes, pitch and offset, in t's type. */
at_tensor at_graph_view_like(at_graph *g, at_tensor t, const at_tensor_info *like);

/* --- nodes ------------------------------------------------------------------------------------ */

/* The view of a tensor to put into an args struct; the absent view for { 0 }. */
AT_API at_view at_graph_view(const at_graph *g, at_tensor t);
/* Appends a call: checks it, makes a tensor for every output that is not optional or is in 'wanted'
 * (bit i: operand i), and writes their views back into args. */
AT_API void at_graph_append(at_graph *g, const at_op *op, void *args, uint32_t wanted);
/* Adds an optional output to a node that did not have it, and returns its tensor. */
at_tensor at_graph_want(at_graph *g, int node, int operand);

static inline at_tensor at_tensor_of(const at_view *v)
{
    return (at_tensor){ v->tag };
}

/* Names what follows in profiles; "" to end. */
AT_API void at_graph_scope(at_graph *g, const char *fmt, ...) AT_PRINTF(2, 3);
/* The lane of the nodes appended next; it begins with the compute lane. The order of nodes stays
 * what it says: lanes change when work is done, never a byte of it. */
AT_API void at_graph_lane(at_graph *g, at_lane lane);

/* --- looking at it ---------------------------------------------------------------------------- */

int at_graph_nodes(const at_graph *g);
at_node *at_graph_node(at_graph *g, int i);
int at_graph_tensors(const at_graph *g); /* ids run from 1 to this */
at_tensor_info *at_graph_tensor(const at_graph *g, int32_t id);

#endif
