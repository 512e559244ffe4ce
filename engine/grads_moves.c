/* grads_moves.c -- ops that move elements: concat, slice, permute, embedding, sampling of
 * pictures. */
#include "engine/backward.h"

static void concat(at_backward *b, int node, const void *args)
{
    const at_concat_args *a = args;
    at_graph *g = at_backward_graph(b);
    const at_view *parts[] = { &a->x0, &a->x1, &a->x2, &a->x3 };
    at_view dy = at_arrived(b, &a->y);
    int64_t start = 0;
    (void)node;
    for (size_t i = 0; i < AT_COUNT(parts) && at_has(parts[i]); i++) {
        int64_t n = parts[i]->size[a->axis];
        if (at_needs(b, parts[i])) {
            at_view v = at_graph_view(g, at_slice(g, at_tensor_of(&dy), (int)a->axis, start, n));
            at_give(b, parts[i], &v);
        }
        start += n;
    }
}

static void slice(at_backward *b, int node, const void *args)
{
    const at_slice_args *a = args;
    at_slice_bwd_args d = {
        .dy = at_arrived(b, &a->y), .axis = a->axis, .start = a->start, .full = a->x.size[a->axis]
    };
    (void)node;
    at_graph_append(at_backward_graph(b), &at_op_slice_bwd, &d, 0);
    at_give(b, &a->x, &d.dx);
}

static void permute(at_backward *b, int node, const void *args)
{
    const at_permute_args *a = args;
    at_graph *g = at_backward_graph(b);
    at_view dy = at_arrived(b, &a->y);
    int64_t inverse[AT_RANK_MAX] = { 0 };
    (void)node;
    for (int i = 0; i < a->x.rank; i++)
        inverse[a->order[i]] = i;
    at_view v = at_graph_view(g, at_permute(g, at_tensor_of(&dy), inverse));
    at_give(b, &a->x, &v);
}

static void embedding(at_backward *b, int node, const void *args)
{
    const at_embedding_args *a = args;
    at_embedding_bwd_args d = { .dy = at_arrived(b, &a->y),
                                .ids = a->ids,
                                .acc = at_take(b, &a->table),
                                .vocabulary = a->table.size[0] };
    (void)node;
    at_graph_append(at_backward_graph(b), &at_op_embedding_bwd, &d, 0);
    at_give(b, &a->table, &d.dtable);
}

static void upsample_nearest(at_backward *b, int node, const void *args)
{
    const at_upsample_nearest_args *a = args;
    at_upsample_nearest_bwd_args d = { .dy = at_arrived(b, &a->y),
                                       .size = { a->x.size[1], a->x.size[2] } };
    (void)node;
    at_graph_append(at_backward_graph(b), &at_op_upsample_nearest_bwd, &d, 0);
    at_give(b, &a->x, &d.dx);
}

static void max_pool2d(at_backward *b, int node, const void *args)
{
    const at_max_pool2d_args *a = args;
    at_max_pool2d_bwd_args d = { .x = at_kept(b, &a->x),
                                 .dy = at_arrived(b, &a->y),
                                 .kernel = { a->kernel[0], a->kernel[1] },
                                 .stride = { a->stride[0], a->stride[1] },
                                 .ceil = a->ceil };
    (void)node;
    at_graph_append(at_backward_graph(b), &at_op_max_pool2d_bwd, &d, 0);
    at_give(b, &a->x, &d.dx);
}

static void avg_pool2d(at_backward *b, int node, const void *args)
{
    const at_avg_pool2d_args *a = args;
    at_avg_pool2d_bwd_args d = { .dy = at_arrived(b, &a->y),
                                 .in_size = { a->x.size[1], a->x.size[2] },
                                 .kernel = { a->kernel[0], a->kernel[1] },
                                 .stride = { a->stride[0], a->stride[1] } };
    (void)node;
    at_graph_append(at_backward_graph(b), &at_op_avg_pool2d_bwd, &d, 0);
    at_give(b, &a->x, &d.dx);
}

const at_gradient_row at_gradients_moves[] = {
    { &at_op_concat, concat },
    { &at_op_slice, slice },
    { &at_op_permute, permute },
    { &at_op_embedding, embedding },
    { &at_op_upsample_nearest, upsample_nearest },
    { &at_op_max_pool2d, max_pool2d },
    { &at_op_avg_pool2d, avg_pool2d },
    { NULL, NULL },
};
