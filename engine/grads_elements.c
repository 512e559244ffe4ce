/* grads_elements.c -- elementwise ops and reductions. */
#include "engine/backward.h"

static at_view graph_view(at_backward *b, at_tensor t)
{
    return at_graph_view(at_backward_graph(b), t);
}

static void unary(at_backward *b, int node, const void *args)
{
    const at_unary_args *a = args;
    at_unary_bwd_args d = {
        .x = at_kept(b, &a->x), .dy = at_arrived(b, &a->y), .kind = a->kind, .a = a->a, .b = a->b
    };
    (void)node;
    at_graph_append(at_backward_graph(b), &at_op_unary_bwd, &d, 0);
    at_give(b, &a->x, &d.dx);
}

/* Sums a gradient of the large operand's sizes down to what was spread over it. */
static at_tensor sum_to(at_backward *b, at_tensor t, const at_view *small, int spread)
{
    static const at_over over[] = { [AT_SUFFIX] = AT_OVER_LEADING,
                                    [AT_PER_SAMPLE] = AT_OVER_POSITIONS,
                                    [AT_SCALAR] = AT_OVER_ALL };
    if (spread == AT_SAME)
        return t;
    at_reduce_args a = {
        .x = graph_view(b, t), .kind = 0, .over = (int)over[spread], .keep = small->rank
    };
    at_graph_append(at_backward_graph(b), &at_op_reduce, &a, 0);
    return at_tensor_of(&a.y);
}

static at_tensor times(at_backward *b, at_tensor t, float factor)
{
    return factor == 1 ? t : at_scale(at_backward_graph(b), t, factor, 0);
}

/* t op (factor * small), small spread over t */
static at_tensor spread_binary(at_backward *b, at_tensor t, const at_view *small, int kind,
                               int spread, float factor)
{
    at_binary_args a = {
        .a = graph_view(b, t), .b = *small, .kind = kind, .spread = spread, .b_scale = factor
    };
    at_graph_append(at_backward_graph(b), &at_op_binary, &a, 0);
    return at_tensor_of(&a.y);
}

static void give_b(at_backward *b, const at_binary_args *a, at_tensor t, float factor)
{
    at_graph *g = at_backward_graph(b);
    at_tensor sum = times(b, sum_to(b, t, &a->b, a->spread), factor);
    if (!at_graph_tensor(g, a->b.tag)->param)
        sum = at_cast(g, sum, a->b.dtype);
    at_view v = at_graph_view(g, sum);
    at_give(b, &a->b, &v);
}

static void binary(at_backward *b, int node, const void *args)
{
    const at_binary_args *a = args;
    at_graph *g = at_backward_graph(b);
    at_view dy = at_arrived(b, &a->y);
    at_tensor d = at_tensor_of(&dy);
    float s = a->b_scale != 0 ? a->b_scale : 1;
    (void)node;
    AT_ASSERT(a->kind == AT_ADD || a->kind == AT_SUB || a->kind == AT_MUL || a->kind == AT_DIV,
              "binary max and min have no gradient");
    if (a->kind == AT_ADD || a->kind == AT_SUB) {
        at_give(b, &a->a, &dy);
        if (at_needs(b, &a->b))
            give_b(b, a, d, a->kind == AT_ADD ? s : -s);
        return;
    }
    at_view small = at_kept(b, &a->b);
    at_tensor to_a = spread_binary(b, d, &small, a->kind, a->spread, s);
    at_view v = at_graph_view(g, to_a);
    at_give(b, &a->a, &v);
    if (!at_needs(b, &a->b))
        return;
    at_view large = at_kept(b, &a->a);
    if (a->kind == AT_MUL) {
        give_b(b, a, at_mul(g, d, at_tensor_of(&large)), s);
        return;
    }
    /* y = a / (s b): dy/db = -a / (s b^2), and to_a is already dy / (s b) */
    at_tensor t = spread_binary(b, to_a, &small, AT_DIV, a->spread, 1);
    give_b(b, a, at_mul(g, t, at_tensor_of(&large)), -1);
}

static void lerp(at_backward *b, int node, const void *args)
{
    const at_lerp_args *a = args;
    at_graph *g = at_backward_graph(b);
    at_view dy = at_arrived(b, &a->y);
    /* dy * t, from 0 to dy by t */
    at_tensor zero = at_fill(g, dy.dtype, dy.rank, dy.size, 0);
    at_view to_b = at_graph_view(g, at_lerp(g, zero, at_tensor_of(&dy), at_tensor_of(&a->t)));
    at_view to_a = at_graph_view(g, at_lerp(g, at_tensor_of(&dy), zero, at_tensor_of(&a->t)));
    (void)node;
    at_give(b, &a->a, &to_a);
    at_give(b, &a->b, &to_b);
}

static void geglu(at_backward *b, int node, const void *args)
{
    const at_geglu_args *a = args;
    at_geglu_bwd_args d = { .x = at_kept(b, &a->x), .dy = at_arrived(b, &a->y) };
    (void)node;
    at_graph_append(at_backward_graph(b), &at_op_geglu_bwd, &d, 0);
    at_give(b, &a->x, &d.dx);
}

static void cast(at_backward *b, int node, const void *args)
{
    const at_cast_args *a = args;
    at_view dy = at_arrived(b, &a->y);
    (void)node;
    AT_ASSERT(!at_has(&a->scale), "a scaled cast has no gradient");
    at_give(b, &a->x, &dy); /* which brings it into x's own type */
}

static void reduce(at_backward *b, int node, const void *args)
{
    const at_reduce_args *a = args;
    at_graph *g = at_backward_graph(b);
    at_view dy = at_arrived(b, &a->y);
    static const int spread[] = { [AT_OVER_ROWS] = AT_SUFFIX,
                                  [AT_OVER_POSITIONS] = AT_PER_SAMPLE,
                                  [AT_OVER_ALL] = AT_SCALAR,
                                  [AT_OVER_LEADING] = AT_SUFFIX };
    (void)node;
    AT_ASSERT(a->over != AT_OVER_COLS, "a sum over the last axis has no gradient");
    at_give(b, &a->acc, &dy);
    if (!at_needs(b, &a->x))
        return;
    bool squares = a->kind == AT_SUM_SQUARES;
    double count = (double)at_elements(&a->x) / (double)at_elements(&a->y);
    at_broadcast_args d = { .x = dy,
                            .scale = a->kind == AT_MEAN ? (float)(1 / count)
                                     : squares          ? 2
                                                        : 1,
                            .spread = spread[a->over] };
    for (int i = 0; i < a->x.rank; i++)
        d.size[i] = a->x.size[i];
    d.to = a->x.dtype == AT_F64 ? 4 : a->x.dtype == AT_F16 ? 2 : a->x.dtype == AT_BF16;
    at_graph_append(g, &at_op_broadcast, &d, 0);
    at_view v = d.y;
    if (squares) {
        at_view x = at_kept(b, &a->x);
        v = at_graph_view(g, at_mul(g, at_tensor_of(&v), at_tensor_of(&x)));
    }
    at_give(b, &a->x, &v);
}

static void broadcast(at_backward *b, int node, const void *args)
{
    const at_broadcast_args *a = args;
    at_graph *g = at_backward_graph(b);
    at_view dy = at_arrived(b, &a->y);
    (void)node;
    at_tensor sum = sum_to(b, at_tensor_of(&dy), &a->x, a->spread);
    at_view v = at_graph_view(g, times(b, sum, a->scale != 0 ? a->scale : 1));
    at_give(b, &a->x, &v);
}

static void fill(at_backward *b, int node, const void *args)
{
    (void)b, (void)node, (void)args; /* a constant: nothing to hand on */
}

const at_gradient_row at_gradients_elements[] = {
    { &at_op_unary, unary },         { &at_op_binary, binary }, { &at_op_lerp, lerp },
    { &at_op_geglu, geglu },         { &at_op_cast, cast },     { &at_op_reduce, reduce },
    { &at_op_broadcast, broadcast }, { &at_op_fill, fill },     { NULL, NULL },
};
