#include "engine/rewrite.h"

#include <stdlib.h>
#include <string.h>

struct at_rewrite {
    at_graph *from, *to;
    at_tensor *now; /* [id - 1] of the old graph; { 0 }: not there yet */
    int count;
    const char *scope;
};

at_graph *at_rewrite_graph(at_rewrite *r)
{
    return r->to;
}

void at_rewrite_put(at_rewrite *r, at_tensor old, at_tensor now)
{
    AT_ASSERT(old.id >= 1 && old.id <= r->count, "tensor %d of %d", (int)old.id, r->count);
    r->now[old.id - 1] = now;
}

at_tensor at_rewrite_tensor(at_rewrite *r, at_tensor old)
{
    if (!old.id || r->now[old.id - 1].id)
        return old.id ? r->now[old.id - 1] : old;
    const at_tensor_info *t = at_graph_tensor(r->from, old.id);
    AT_ASSERT(t->param || t->base != old.id, "tensor %d is used before it is made", (int)old.id);
    at_tensor now =
        t->param ? at_graph_param(r->to, t->param)
                 : at_graph_view_like(r->to, at_rewrite_tensor(r, (at_tensor){ t->base }), t);
    at_rewrite_put(r, old, now);
    return now;
}

static void take_inputs(at_rewrite *r)
{
    for (int id = 1; id <= r->count; id++) {
        const at_tensor_info *t = at_graph_tensor(r->from, id);
        if (t->storage == AT_STORAGE_INPUT && t->base == id)
            at_rewrite_put(
                r, (at_tensor){ id },
                at_graph_input(r->to, t->name, t->view.dtype, t->view.rank, t->view.size));
    }
}

static void copy_node(at_rewrite *r, const at_node *n, void *args)
{
    uint32_t wanted = 0;
    int32_t old[AT_OPERANDS_MAX] = { 0 };
    for (int i = 0; i < n->op->n_operands; i++) {
        const at_view *v = at_operand_of(n->op, args, i);
        if (n->op->operands[i].role != AT_OUT || !at_has(v))
            continue;
        wanted |= 1u << i;
        old[i] = v->tag;
    }
    at_graph_append(r->to, n->op, args, wanted);
    for (int i = 0; i < n->op->n_operands; i++)
        if (old[i])
            at_rewrite_put(r, (at_tensor){ old[i] }, at_tensor_of(at_operand_of(n->op, args, i)));
    at_node *copy = at_graph_node(r->to, at_graph_nodes(r->to) - 1);
    copy->repeated = n->repeated;
    copy->lane = n->lane;
}

static void take_node(at_rewrite *r, int node, at_rewrite_fn fn, void *ctx)
{
    _Alignas(16) unsigned char args[AT_ARGS_MAX];
    const at_node *n = at_graph_node(r->from, node);
    memcpy(args, n->args, n->op->args_size);
    for (int i = 0; i < n->op->n_operands; i++) {
        at_view *v = at_operand_of(n->op, args, i);
        if (at_has(v) && n->op->operands[i].role != AT_OUT)
            *v = at_graph_view(r->to, at_rewrite_tensor(r, at_tensor_of(v)));
    }
    if (n->scope != r->scope)
        at_graph_scope(r->to, "%s", r->scope = n->scope);
    if (!fn || !fn(r, node, args, ctx))
        copy_node(r, n, args);
}

static void name_outputs(at_rewrite *r)
{
    for (int id = 1; id <= r->count; id++) {
        const at_tensor_info *t = at_graph_tensor(r->from, id);
        if (t->name && at_graph_tensor(r->from, t->base)->is_output)
            at_graph_output(r->to, at_rewrite_tensor(r, (at_tensor){ id }), t->name);
    }
}

at_graph *at_graph_rewrite(at_graph *from, at_rewrite_fn fn, void *ctx)
{
    at_rewrite r = { .from = from, .to = at_graph_new(), .count = at_graph_tensors(from) };
    r.now = calloc((size_t)r.count + 1, sizeof *r.now);
    AT_ASSERT(r.now, "no memory to rewrite %d tensors", r.count);
    take_inputs(&r);
    for (int i = 0; i < at_graph_nodes(from); i++)
        take_node(&r, i, fn, ctx);
    name_outputs(&r);
    free(r.now);
    return r.to;
}
