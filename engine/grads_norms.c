/* grads_norms.c -- norms, statistics, softmax. */
#include "engine/backward.h"

/* Bits of the optional outputs of a gradient op that are needed. */
static uint32_t wanted_if(bool needed, const at_op *op, const char *output)
{
    return needed ? 1u << at_operand_index(op, output) : 0;
}

static void group_norm(at_backward *b, int node, const void *args)
{
    const at_group_norm_args *a = args;
    const at_op *op = &at_op_group_norm_bwd;
    at_group_norm_bwd_args d = {
        .dy = at_arrived(b, &a->y),
        .x = at_kept(b, &a->x),
        .x2 = at_has(&a->x2) ? at_kept(b, &a->x2) : (at_view){ 0 },
        .add = at_has(&a->add) ? at_kept(b, &a->add) : (at_view){ 0 },
        .gamma = a->gamma,
        .beta = a->beta,
        .mean = at_optional_output(b, node, "mean"),
        .rstd = at_optional_output(b, node, "rstd"),
        .groups = a->groups,
        .silu = a->silu,
    };
    uint32_t wanted = wanted_if(at_has(&a->x2), op, "dx2") |
                      wanted_if(at_needs(b, &a->add), op, "dadd") |
                      wanted_if(at_needs(b, &a->gamma), op, "dgamma") |
                      wanted_if(at_needs(b, &a->beta), op, "dbeta");
    at_graph_append(at_backward_graph(b), op, &d, wanted);
    at_give(b, &a->x, &d.dx);
    at_give(b, &a->x2, &d.dx2);
    at_give(b, &a->add, &d.dadd);
    at_give(b, &a->gamma, &d.dgamma);
    at_give(b, &a->beta, &d.dbeta);
}

static void layer_norm(at_backward *b, int node, const void *args)
{
    const at_layer_norm_args *a = args;
    const at_op *op = &at_op_layer_norm_bwd;
    at_layer_norm_bwd_args d = {
        .dy = at_arrived(b, &a->y),
        .x = at_kept(b, &a->x),
        .gamma = a->gamma,
        .mean = at_optional_output(b, node, "mean"),
        .rstd = at_optional_output(b, node, "rstd"),
    };
    uint32_t wanted = wanted_if(at_needs(b, &a->gamma), op, "dgamma") |
                      wanted_if(at_needs(b, &a->beta), op, "dbeta");
    at_graph_append(at_backward_graph(b), op, &d, wanted);
    at_give(b, &a->x, &d.dx);
    at_give(b, &a->gamma, &d.dgamma);
    at_give(b, &a->beta, &d.dbeta);
}

static void instance_norm(at_backward *b, int node, const void *args)
{
    const at_instance_norm_args *a = args;
    const at_op *op = &at_op_instance_norm_bwd;
    AT_ASSERT(!at_has(&a->mean_in), "an instance norm with given statistics has no gradient");
    at_instance_norm_bwd_args d = {
        .dy = at_arrived(b, &a->y),
        .x = at_kept(b, &a->x),
        .gamma = a->gamma,
        .beta = a->beta,
        .mean = at_optional_output(b, node, "mean"),
        .rstd = at_optional_output(b, node, "rstd"),
        .relu = a->relu,
    };
    uint32_t wanted = wanted_if(at_needs(b, &a->gamma), op, "dgamma") |
                      wanted_if(at_needs(b, &a->beta), op, "dbeta");
    at_graph_append(at_backward_graph(b), op, &d, wanted);
    at_give(b, &a->x, &d.dx);
    at_give(b, &a->gamma, &d.dgamma);
    at_give(b, &a->beta, &d.dbeta);
}

/* The gradient at one of two outputs, zeros if only the other got one. */
static at_view arrived_or_zero(at_backward *b, const at_view *output)
{
    at_graph *g = at_backward_graph(b);
    at_view d = at_arrived(b, output);
    if (at_has(&d))
        return d;
    return at_graph_view(g, at_fill(g, output->dtype, output->rank, output->size, 0));
}

static void mean_std(at_backward *b, int node, const void *args)
{
    const at_mean_std_args *a = args;
    at_mean_std_bwd_args d = {
        .x = at_kept(b, &a->x),
        .mean = a->mean,
        .std = a->std,
        .dmean = arrived_or_zero(b, &a->mean),
        .dstd = arrived_or_zero(b, &a->std),
        .unbiased = a->unbiased,
    };
    (void)node;
    at_graph_append(at_backward_graph(b), &at_op_mean_std_bwd, &d, 0);
    at_give(b, &a->x, &d.dx);
}

static void softmax(at_backward *b, int node, const void *args)
{
    const at_softmax_args *a = args;
    at_softmax_bwd_args d = { .y = a->y, .dy = at_arrived(b, &a->y), .scale = a->scale };
    (void)node;
    at_graph_append(at_backward_graph(b), &at_op_softmax_bwd, &d, 0);
    at_give(b, &a->x, &d.dx);
}

static void l2_normalize(at_backward *b, int node, const void *args)
{
    const at_l2_normalize_args *a = args;
    at_l2_normalize_bwd_args d = { .x = at_kept(b, &a->x),
                                   .dy = at_arrived(b, &a->y),
                                   .eps = a->eps };
    (void)node;
    at_graph_append(at_backward_graph(b), &at_op_l2_normalize_bwd, &d, 0);
    at_give(b, &a->x, &d.dx);
}

const at_gradient_row at_gradients_norms[] = {
    { &at_op_group_norm, group_norm },
    { &at_op_layer_norm, layer_norm },
    { &at_op_instance_norm, instance_norm },
    { &at_op_mean_std, mean_std },
    { &at_op_softmax, softmax },
    { &at_op_l2_normalize, l2_normalize },
    { NULL, NULL },
};
