/* rewrite.h -- a graph made anew from another, node by node, with changes on the way.
 *
 * The new graph has the inputs, names and outputs of the old one and the same parameters; each node
 * is copied unless the caller appends something else in its place. The old graph stays as it is,
 * and whoever asked owns the new one. */
#ifndef AT_ENGINE_REWRITE_H
#define AT_ENGINE_REWRITE_H

#include "engine/graph.h"

typedef struct at_rewrite at_rewrite;

/* Asked for each node of the old graph in turn. 'args' is a copy of its args whose inputs are
 * tensors of the new graph already; its outputs are still the old ones. True: nodes were appended
 * in its place, and at_rewrite_put() told what its outputs have become. False: copy it, with what
 * was changed in 'args'. */
typedef bool (*at_rewrite_fn)(at_rewrite *r, int node, void *args, void *ctx);

/* 'fn' NULL: a plain copy, whose nodes have the numbers of the old ones. */
at_graph *at_graph_rewrite(at_graph *from, at_rewrite_fn fn, void *ctx);
at_graph *at_rewrite_graph(at_rewrite *r);
/* What an old tensor is in the new graph. */
at_tensor at_rewrite_tensor(at_rewrite *r, at_tensor old);
void at_rewrite_put(at_rewrite *r, at_tensor old, at_tensor now);

#endif
