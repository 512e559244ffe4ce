/* grads_losses.c -- where the gradient begins. */
#include "engine/backward.h"

static void mse(at_backward *b, int node, const void *args)
{
    const at_mse_args *a = args;
    at_graph *g = at_backward_graph(b);
    at_mse_bwd_args d = { .x = at_kept(b, &a->x),
                          .target = at_kept(b, &a->target),
                          .weight = a->weight,
                          .dloss = at_arrived(b, &a->loss),
                          .delta = a->delta };
    (void)node;
    at_graph_append(g, &at_op_mse_bwd, &d, 0);
    at_give(b, &a->x, &d.dx);
    if (at_needs(b, &a->target)) { /* the loss is even in their difference */
        at_view v = at_graph_view(g, at_scale(g, at_tensor_of(&d.dx), -1, 0));
        at_give(b, &a->target, &v);
    }
}

static void cross_entropy(at_backward *b, int node, const void *args)
{
    const at_cross_entropy_args *a = args;
    at_cross_entropy_bwd_args d = { .x = at_kept(b, &a->x),
                                    .target = a->target,
                                    .lse = at_optional_output(b, node, "lse"),
                                    .dloss = at_arrived(b, &a->loss),
                                    .ignore = a->ignore,
                                    .smoothing = a->smoothing };
    at_graph_append(at_backward_graph(b), &at_op_cross_entropy_bwd, &d, 0);
    at_give(b, &a->x, &d.dx);
}

const at_gradient_row at_gradients_losses[] = {
    { &at_op_mse, mse },
    { &at_op_cross_entropy, cross_entropy },
    { NULL, NULL },
};
