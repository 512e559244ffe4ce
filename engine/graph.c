#include "engine/graph.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/arena.h"

struct at_graph {
    at_arena *arena;
    at_node *nodes;
    int n_nodes, nodes_capacity;
    at_tensor_info **tensors; /* [id - 1]; addresses stay */
    int n_tensors, tensors_capacity;
    const char *scope;
    at_lane lane;
};

at_graph *at_graph_new(void)
{
    at_graph *g = calloc(1, sizeof *g);
    AT_ASSERT(g, "no memory for a graph");
    g->arena = at_arena_new();
    g->scope = "";
    return g;
}

void at_graph_free(at_graph *g)
{
    if (!g)
        return;
    free(g->nodes);
    free(g->tensors);
    at_arena_free(g->arena);
    free(g);
}

int at_graph_nodes(const at_graph *g)
{
    return g->n_nodes;
}

at_node *at_graph_node(at_graph *g, int i)
{
    AT_ASSERT(i >= 0 && i < g->n_nodes, "node %d of %d", i, g->n_nodes);
    return &g->nodes[i];
}

int at_graph_tensors(const at_graph *g)
{
    return g->n_tensors;
}

at_tensor_info *at_graph_tensor(const at_graph *g, int32_t id)
{
    AT_ASSERT(id >= 1 && id <= g->n_tensors, "tensor %d of %d", (int)id, g->n_tensors);
    return g->tensors[id - 1];
}

/* --- tensors ---------------------------------------------------------------------------------- */

static at_tensor_info *new_tensor(at_graph *g, at_view view, at_storage storage)
{
    at_tensor_info *t = at_arena_alloc(g->arena, sizeof *t);
    g->tensors = at_grow(g->tensors, g->n_tensors, &g->tensors_capacity, sizeof(at_tensor_info *));
    g->tensors[g->n_tensors++] = t;
    view.data = NULL;
    view.tag = g->n_tensors;
    *t = (at_tensor_info){ .view = view, .storage = storage, .base = view.tag, .producer = -1 };
    return t;
}

at_tensor at_graph_input(at_graph *g, const char *name, at_dtype dtype, int rank,
                         const int64_t *size)
{
    at_tensor_info *t = new_tensor(g, at_view_of(dtype, rank, size), AT_STORAGE_INPUT);
    t->name = at_arena_text(g->arena, name);
    return (at_tensor){ t->view.tag };
}

at_tensor at_graph_param(at_graph *g, at_param *p)
{
    for (int i = 0; i < g->n_tensors; i++)
        if (g->tensors[i]->param == p)
            return (at_tensor){ i + 1 };
    at_tensor_info *t = new_tensor(g, p->view, AT_STORAGE_PARAM);
    t->param = p;
    t->name = p->name;
    return (at_tensor){ t->view.tag };
}

void at_graph_output(at_graph *g, at_tensor t, const char *name)
{
    at_tensor_info *info = at_graph_tensor(g, t.id), *base = at_graph_tensor(g, info->base);
    info->name = at_arena_text(g->arena, name);
    base->is_output = true;
}

at_tensor at_graph_named(const at_graph *g, const char *name)
{
    for (int i = 0; i < g->n_tensors; i++)
        if (g->tensors[i]->name && !strcmp(g->tensors[i]->name, name))
            return (at_tensor){ i + 1 };
    return (at_tensor){ 0 };
}

/* A tensor that looks at the memory of 't'. */
static at_tensor view_of(at_graph *g, at_tensor t, at_view view, int64_t offset)
{
    at_tensor_info of = *at_graph_tensor(g, t.id), *v = new_tensor(g, view, of.storage);
    v->base = of.base;
    v->offset = of.offset + offset;
    v->producer = of.producer;
    return (at_tensor){ v->view.tag };
}

at_tensor at_graph_reshape(at_graph *g, at_tensor t, int rank, const int64_t *size)
{
    const at_view *from = &at_graph_tensor(g, t.id)->view;
    at_view to = at_view_of(from->dtype, rank, size);
    AT_ASSERT(at_elements(&to) == at_elements(from), "reshape of %lld elements to %lld",
              (long long)at_elements(from), (long long)at_elements(&to));
    if (!at_dense(from)) { /* rows may be regrouped, not cut */
        AT_ASSERT(at_cols(&to) == at_cols(from), "reshape of a slice must keep its %lld columns",
                  (long long)at_cols(from));
        to.pitch = from->pitch;
    }
    return view_of(g, t, to, 0);
}

at_tensor at_graph_slice_cols(at_graph *g, at_tensor t, int64_t start, int64_t n)
{
    at_view view = at_graph_tensor(g, t.id)->view;
    AT_ASSERT(start >= 0 && n > 0 && start + n <= at_cols(&view), "columns %lld to %lld of %lld",
              (long long)start, (long long)(start + n), (long long)at_cols(&view));
    view.size[view.rank - 1] = n;
    return view_of(g, t, view, start);
}

at_tensor at_graph_view_like(at_graph *g, at_tensor t, const at_tensor_info *like)
{
    at_view view = like->view;
    view.dtype = at_graph_tensor(g, t.id)->view.dtype;
    return view_of(g, t, view, like->offset);
}

/* --- nodes ------------------------------------------------------------------------------------ */

at_view at_graph_view(const at_graph *g, at_tensor t)
{
    return t.id ? at_graph_tensor(g, t.id)->view : (at_view){ 0 };
}

/* Gives every output of the node that has none yet a tensor. */
static void make_outputs(at_graph *g, int node, void *args)
{
    const at_op *op = g->nodes[node].op;
    for (int i = 0; i < op->n_operands; i++) {
        at_view *v = at_operand_of(op, args, i);
        if (op->operands[i].role != AT_OUT || !at_has(v) || v->tag)
            continue;
        at_tensor_info *t = new_tensor(g, *v, AT_STORAGE_TEMP);
        t->producer = node;
        *v = t->view;
    }
}

void at_graph_append(at_graph *g, const at_op *op, void *args, uint32_t wanted)
{
    at_error err;
    AT_ASSERT(op->args_size <= AT_ARGS_MAX, "args of %s", op->name);
    for (int i = 0; i < op->n_operands; i++)
        if (op->operands[i].role == AT_OUT)
            at_operand_of(op, args, i)->tag = 0;
    if (at_op_shape(op, args, wanted, &err) != AT_OK)
        AT_ASSERT(false, "%s%s%s", g->scope, *g->scope ? ": " : "", err.text);
    g->nodes = at_grow(g->nodes, g->n_nodes, &g->nodes_capacity, sizeof *g->nodes);
    int node = g->n_nodes++;
    g->nodes[node] = (at_node){ .op = op,
                                .args = at_arena_alloc(g->arena, op->args_size),
                                .scope = g->scope,
                                .lane = g->lane };
    make_outputs(g, node, args);
    memcpy(g->nodes[node].args, args, op->args_size);
}

at_tensor at_graph_want(at_graph *g, int node, int operand)
{
    at_node *n = at_graph_node(g, node);
    at_view *out = at_operand_of(n->op, n->args, operand);
    if (!at_has(out)) {
        /* The shape rule fills in all outputs of a copy; only the one asked for is taken over. */
        _Alignas(16) unsigned char copy[AT_ARGS_MAX];
        at_error err;
        memcpy(copy, n->args, n->op->args_size);
        at_status status = at_op_shape(n->op, copy, UINT32_MAX, &err);
        AT_ASSERT(status == AT_OK, "%s", err.text);
        *out = *at_operand_of(n->op, copy, operand);
        out->tag = 0;
        make_outputs(g, node, n->args);
    }
    return at_tensor_of(out);
}

void at_graph_scope(at_graph *g, const char *fmt, ...)
{
    char text[128];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    g->scope = at_arena_text(g->arena, text);
}

void at_graph_lane(at_graph *g, at_lane lane)
{
    AT_ASSERT(lane < AT_LANE_COUNT, "lane %d", (int)lane);
    g->lane = lane;
}
