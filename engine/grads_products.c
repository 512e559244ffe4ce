/* grads_products.c -- convolution, products, attention. */
#include "engine/backward.h"

#define APPEND(op, args) at_graph_append(at_backward_graph(b), &at_op_##op, &(args), 0)

/* The gradient before the activation. 'z' is what the activation was applied to. */
static at_view before_act(at_backward *b, at_unary_kind kind, const at_view *z, const at_view *dy)
{
    at_unary_bwd_args a = { .x = *z, .dy = *dy, .kind = (int)kind };
    APPEND(unary_bwd, a);
    return a.dx;
}

static at_view in_type_of(at_backward *b, const at_view *like, const at_view *v)
{
    at_graph *g = at_backward_graph(b);
    return at_graph_view(g, at_cast(g, at_tensor_of(v), like->dtype));
}

static void conv2d(at_backward *b, int node, const void *args)
{
    const at_conv2d_args *a = args;
    at_view dy = at_arrived(b, &a->y);
    (void)node;
    if (a->relu)
        dy = before_act(b, AT_RELU, &a->y, &dy); /* y > 0 exactly where its argument was */
    at_give(b, &a->residual, &dy);
    dy = in_type_of(b, &a->x, &dy);
    if (at_needs(b, &a->x)) {
        at_conv2d_dgrad_args d = { .dy = dy,
                                   .w = a->w,
                                   .in_size = { a->x.size[1], a->x.size[2] },
                                   .stride = { a->stride[0], a->stride[1] },
                                   .pad = { a->pad[0], a->pad[1], a->pad[2], a->pad[3] },
                                   .pad_mode = a->pad_mode };
        APPEND(conv2d_dgrad, d);
        at_give(b, &a->x, &d.dx);
    }
    if (!at_needs(b, &a->w) && !at_needs(b, &a->bias))
        return;
    at_conv2d_wgrad_args w = { .dy = dy,
                               .x = at_kept(b, &a->x),
                               .acc = at_take(b, &a->w),
                               .kernel = { a->w.size[2], a->w.size[3] },
                               .stride = { a->stride[0], a->stride[1] },
                               .pad = { a->pad[0], a->pad[1], a->pad[2], a->pad[3] },
                               .pad_mode = a->pad_mode };
    bool bias = at_needs(b, &a->bias);
    if (bias)
        w.bias_acc = at_take(b, &a->bias);
    at_graph_append(at_backward_graph(b), &at_op_conv2d_wgrad, &w, bias ? 1u << 1 : 0);
    at_give(b, &a->w, &w.dw);
    if (bias)
        at_give(b, &a->bias, &w.dbias);
}

static at_view linear_before_act(at_backward *b, int node, const at_linear_args *a, at_view dy)
{
    static const at_unary_kind kinds[] = { 0, AT_RELU, AT_GELU, AT_QUICK_GELU, AT_SILU };
    if (a->act == AT_ACT_NONE)
        return dy;
    if (a->act == AT_ACT_RELU)
        return before_act(b, AT_RELU, &a->y, &dy);
    at_view z = at_optional_output(b, node, "z");
    dy = in_type_of(b, &z, &dy);
    return before_act(b, kinds[a->act], &z, &dy);
}

static void linear(at_backward *b, int node, const void *args)
{
    const at_linear_args *a = args;
    AT_ASSERT(!at_has(&a->x_scale) && !at_has(&a->w_scale) && !at_has(&a->y_scale),
              "a product of scaled f8 numbers has no gradient");
    at_view dy = at_arrived(b, &a->y);
    dy = linear_before_act(b, node, a, dy);
    at_give(b, &a->residual, &dy);
    dy = in_type_of(b, &a->x, &dy);
    if (at_needs(b, &a->x)) {
        at_linear_dgrad_args d = { .dy = dy, .w = a->w, .residual = at_take(b, &a->x) };
        APPEND(linear_dgrad, d);
        at_give(b, &a->x, &d.dx);
    }
    if (!at_needs(b, &a->w) && !at_needs(b, &a->bias))
        return;
    at_linear_wgrad_args w = { .dy = dy, .x = at_kept(b, &a->x), .acc = at_take(b, &a->w) };
    bool bias = at_needs(b, &a->bias);
    if (bias)
        w.bias_acc = at_take(b, &a->bias);
    at_graph_append(at_backward_graph(b), &at_op_linear_wgrad, &w, bias ? 1u << 1 : 0);
    at_give(b, &a->w, &w.dw);
    if (bias)
        at_give(b, &a->bias, &w.dbias);
}

static void gram(at_backward *b, int node, const void *args)
{
    const at_gram_args *a = args;
    at_gram_bwd_args d = { .x = at_kept(b, &a->x), .dy = at_arrived(b, &a->y), .scale = a->scale };
    (void)node;
    APPEND(gram_bwd, d);
    at_give(b, &a->x, &d.dx);
}

static void attention(at_backward *b, int node, const void *args)
{
    const at_attention_args *a = args;
    at_attention_bwd_args d = {
        .q = at_kept(b, &a->q),
        .k = at_kept(b, &a->k),
        .v = at_kept(b, &a->v),
        .o = a->o,
        .dout = at_arrived(b, &a->o),
        .lse = at_optional_output(b, node, "lse"),
        .lengths = a->lengths,
        .heads = a->heads,
        .scale = a->scale,
        .causal = a->causal,
    };
    APPEND(attention_bwd, d);
    at_give(b, &a->q, &d.dq);
    at_give(b, &a->k, &d.dk);
    at_give(b, &a->v, &d.dv);
}

const at_gradient_row at_gradients_products[] = {
    { &at_op_conv2d, conv2d },
    { &at_op_linear, linear },
    { &at_op_gram, gram },
    { &at_op_attention, attention },
    { NULL, NULL },
};
