#include "engine/backward.h"

#include <stdlib.h>
#include <string.h>

#include "engine/arena.h"

/* A gradient for the columns [start, start + n) of a tensor's rows. */
typedef struct piece {
    struct piece *next;
    at_tensor gradient;
    int64_t start, n;
} piece;

struct at_backward {
    at_graph *g;
    at_arena *arena;
    at_backward_options options;
    int n_forward;  /* nodes of the forward pass */
    int n_tensors;  /* tensors there were before */
    bool *needed;   /* by base, [id - 1] */
    piece **pieces; /* by base: what has arrived */
    int32_t *again; /* by base: the tensor that holds it computed again; 0: not yet */
};

static const at_gradient_row *const tables[] = {
    at_gradients_products, at_gradients_norms,  at_gradients_elements,
    at_gradients_moves,    at_gradients_losses,
};

static at_gradient_fn gradient_of(const at_op *op)
{
    for (size_t t = 0; t < AT_COUNT(tables); t++)
        for (const at_gradient_row *row = tables[t]; row->op; row++)
            if (row->op == op)
                return row->fn;
    return NULL;
}

bool at_op_has_gradient(const at_op *op)
{
    return gradient_of(op) != NULL;
}

bool at_op_repeats(const at_op *op)
{
    static const at_op *const cheap[] = { &at_op_group_norm, &at_op_layer_norm,
                                          &at_op_instance_norm, &at_op_unary, &at_op_geglu };
    for (size_t i = 0; i < AT_COUNT(cheap); i++)
        if (cheap[i] == op)
            return true;
    return false;
}

at_graph *at_backward_graph(at_backward *b)
{
    return b->g;
}

static at_tensor_info *base_of(const at_backward *b, int32_t id)
{
    return at_graph_tensor(b->g, at_graph_tensor(b->g, id)->base);
}

/* --- who wants a gradient --------------------------------------------------------------------- */

static void find_needed(at_backward *b)
{
    for (int id = 1; id <= b->n_tensors; id++) {
        const at_tensor_info *t = at_graph_tensor(b->g, id);
        AT_ASSERT(!t->param || !t->param->trainable || !t->param->storage->lent,
                  "parameter %s is trained, but its memory is lent", t->param->name);
        if (t->param && t->param->trainable)
            b->needed[id - 1] = true;
    }
    for (int i = 0; i < b->options.n_wanted; i++)
        b->needed[base_of(b, b->options.wanted[i].id)->view.tag - 1] = true;
    for (int i = 0; i < b->n_forward; i++) {
        at_node *n = at_graph_node(b->g, i);
        bool any = false;
        for (int k = 0; k < n->op->n_operands; k++) {
            const at_view *v = at_operand_of(n->op, n->args, k);
            if (n->op->operands[k].role == AT_IN && at_has(v))
                any = any || b->needed[base_of(b, v->tag)->view.tag - 1];
        }
        for (int k = 0; k < n->op->n_operands && any; k++) {
            const at_view *v = at_operand_of(n->op, n->args, k);
            if (n->op->operands[k].role == AT_OUT && at_has(v) && at_dtype_is_float(v->dtype))
                b->needed[v->tag - 1] = true;
        }
    }
}

bool at_needs(const at_backward *b, const at_view *operand)
{
    return at_has(operand) && b->needed[base_of(b, operand->tag)->view.tag - 1];
}

/* --- gradients on their way ------------------------------------------------------------------- */

static at_tensor same_sizes(at_backward *b, at_tensor t, const at_view *like)
{
    at_view v = at_graph_view(b->g, t);
    return at_same_shape(&v, like) ? t : at_graph_reshape(b->g, t, like->rank, like->size);
}

/* In the type that gradients of this tensor have: f32 (f64) for parameters, else its own. */
static at_tensor in_type(at_backward *b, const at_tensor_info *base, at_tensor t)
{
    at_dtype type = base->view.dtype;
    if (base->param)
        type = type == AT_F64 ? AT_F64 : AT_F32;
    return at_cast(b->g, t, type);
}

/* Lays pieces that do not fill the rows side by side: joined if they tile the rows, else each is
 * put among zeros and added. */
static at_tensor join(at_backward *b, piece *list, const at_tensor_info *base)
{
    int64_t cols = at_cols(&base->view), end = 0;
    at_tensor parts[16], sum = { 0 };
    int n = 0;
    for (bool found = true; found && end < cols && n < 16;) {
        found = false;
        for (piece *p = list; p && !found; p = p->next)
            if (p->start == end && p->n < cols) {
                parts[n++] = p->gradient;
                end += p->n;
                found = true;
            }
    }
    int count = 0;
    for (piece *p = list; p; p = p->next)
        count++;
    if (end == cols && n == count)
        return at_concat(b->g, parts, n, base->view.rank - 1);
    for (piece *p = list; p; p = p->next) {
        at_tensor whole = p->gradient;
        if (p->n < cols) {
            at_slice_bwd_args a = { .dy = at_graph_view(b->g, whole),
                                    .axis = base->view.rank - 1,
                                    .start = p->start,
                                    .full = cols };
            at_graph_append(b->g, &at_op_slice_bwd, &a, 0);
            whole = at_tensor_of(&a.dx);
        }
        sum = sum.id ? at_add(b->g, sum, whole) : whole;
    }
    return sum;
}

/* All that has arrived at a base, as one tensor of its sizes; { 0 }: nothing has. */
static at_tensor collect(at_backward *b, const at_tensor_info *base)
{
    piece **list = &b->pieces[base->view.tag - 1];
    if (!*list)
        return (at_tensor){ 0 };
    if ((*list)->next || (*list)->n < at_cols(&base->view)) {
        at_tensor t = join(b, *list, base);
        piece *p = at_arena_alloc(b->arena, sizeof *p);
        *p = (piece){ NULL, t, 0, at_cols(&base->view) };
        *list = p;
    }
    return (*list)->gradient;
}

void at_give(at_backward *b, const at_view *operand, const at_view *gradient)
{
    if (!at_needs(b, operand))
        return;
    const at_tensor_info *t = at_graph_tensor(b->g, operand->tag), *base = base_of(b, operand->tag);
    piece *p = at_arena_alloc(b->arena, sizeof *p);
    int64_t cols = at_cols(&base->view);
    at_tensor gradient_tensor = at_make_dense(b->g, at_tensor_of(gradient));
    *p = (piece){ NULL, in_type(b, base, gradient_tensor), 0, cols };
    if (at_elements(operand) == at_elements(&base->view)) {
        p->gradient = same_sizes(b, p->gradient, &base->view);
    } else {
        /* A slice of columns: its rows are the base's rows, perhaps grouped otherwise. */
        AT_ASSERT(at_rows(operand) == at_rows(&base->view) && t->offset + at_cols(operand) <= cols,
                  "gradient of a view that is not a slice of columns");
        at_view like = base->view;
        like.size[like.rank - 1] = p->n = at_cols(operand);
        p->start = t->offset;
        p->gradient = same_sizes(b, p->gradient, &like);
    }
    piece **end = &b->pieces[base->view.tag - 1];
    while (*end)
        end = &(*end)->next;
    *end = p;
}

at_view at_arrived(at_backward *b, const at_view *output)
{
    const at_tensor_info *base = base_of(b, output->tag);
    at_tensor t = collect(b, base);
    return at_graph_view(b->g, t);
}

at_view at_take(at_backward *b, const at_view *operand)
{
    const at_tensor_info *base = base_of(b, operand->tag);
    piece **list = &b->pieces[base->view.tag - 1];
    bool whole = *list && !(*list)->next && (*list)->n == at_cols(&base->view) &&
                 at_same_shape(operand, &base->view);
    if (!whole)
        return (at_view){ 0 };
    at_tensor t = (*list)->gradient;
    *list = NULL;
    return at_graph_view(b->g, t);
}

/* --- what the backward pass may use of the forward pass --------------------------------------- */

/* Appends the node that makes 'base' once more. */
static int32_t repeat(at_backward *b, const at_tensor_info *base)
{
    at_node *n = at_graph_node(b->g, base->producer);
    const at_op *op = n->op;
    _Alignas(16) unsigned char args[AT_ARGS_MAX];
    memcpy(args, n->args, op->args_size);
    int out = 0;
    for (int k = 0; k < op->n_operands; k++) {
        at_view *v = at_operand_of(op, args, k);
        if (op->operands[k].role == AT_IN && at_has(v))
            *v = at_kept(b, v);
        if (op->operands[k].role == AT_OUT && at_has(v) && v->tag == base->view.tag)
            out = k;
    }
    at_graph_append(b->g, op, args, 0);
    at_graph_node(b->g, at_graph_nodes(b->g) - 1)->repeated = true;
    return at_operand_of(op, args, out)->tag;
}

at_view at_kept(at_backward *b, const at_view *operand)
{
    at_tensor_info *t = at_graph_tensor(b->g, operand->tag), *base = base_of(b, operand->tag);
    int32_t id = base->view.tag;
    if (!b->options.repeat || base->producer < 0 || base->producer >= b->n_forward ||
        base->is_output || !at_op_repeats(at_graph_node(b->g, base->producer)->op))
        return *operand;
    int32_t *again = &b->again[id - 1];
    if (!*again)
        *again = repeat(b, base);
    at_tensor copy = { *again };
    if (at_cols(operand) < at_cols(&base->view)) {
        at_view like = base->view;
        copy = at_graph_slice_cols(b->g, copy, t->offset, at_cols(operand));
        like.size[like.rank - 1] = at_cols(operand);
    }
    return at_graph_view(b->g, same_sizes(b, copy, operand));
}

at_view at_optional_output(at_backward *b, int node, const char *name)
{
    const at_op *op = at_graph_node(b->g, node)->op;
    int i = at_operand_index(op, name);
    AT_ASSERT(i >= 0, "%s has no output %s", op->name, name);
    return at_graph_view(b->g, at_graph_want(b->g, node, i));
}

/* --- the walk --------------------------------------------------------------------------------- */

static void walk_node(at_backward *b, int i)
{
    at_node *n = at_graph_node(b->g, i);
    bool arrived = false;
    for (int k = 0; k < n->op->n_operands; k++) {
        const at_view *v = at_operand_of(n->op, n->args, k);
        if (n->op->operands[k].role == AT_OUT && at_has(v) && v->tag <= b->n_tensors)
            arrived = arrived || b->pieces[v->tag - 1];
    }
    if (!arrived)
        return;
    at_gradient_fn fn = gradient_of(n->op);
    AT_ASSERT(fn, "%s has no gradient, but one is needed%s%s", n->op->name, *n->scope ? " in " : "",
              n->scope);
    _Alignas(16) unsigned char args[AT_ARGS_MAX];
    memcpy(args, n->args, n->op->args_size);
    at_graph_scope(b->g, "%s%sbackward", n->scope, *n->scope ? "." : "");
    fn(b, i, args);
}

at_backward *at_graph_backward(at_graph *g, at_tensor loss, const at_backward_options *options)
{
    at_backward *b = calloc(1, sizeof *b);
    AT_ASSERT(b, "no memory for a backward pass");
    b->g = g;
    b->arena = at_arena_new();
    b->options = options ? *options : (at_backward_options){ 0 };
    b->n_forward = at_graph_nodes(g);
    b->n_tensors = at_graph_tensors(g);
    size_t n = (size_t)b->n_tensors;
    b->needed = at_arena_alloc(b->arena, n * sizeof *b->needed);
    b->pieces = at_arena_alloc(b->arena, n * sizeof *b->pieces);
    b->again = at_arena_alloc(b->arena, n * sizeof *b->again);
    find_needed(b);
    at_view l = at_graph_view(g, loss);
    AT_ASSERT(at_elements(&l) == 1, "the loss has %lld elements", (long long)at_elements(&l));
    AT_ASSERT(at_needs(b, &l), "the loss does not depend on any tensor whose gradient is wanted");
    float scale = b->options.loss_scale > 0 ? b->options.loss_scale : 1;
    at_view start = at_graph_view(g, at_fill(g, l.dtype, l.rank, l.size, scale));
    at_give(b, &l, &start);
    for (int i = b->n_forward - 1; i >= 0; i--)
        walk_node(b, i);
    at_graph_scope(g, "%s", "");
    return b;
}

at_tensor at_backward_gradient(at_backward *b, at_tensor t)
{
    const at_tensor_info *base = base_of(b, t.id);
    return collect(b, base);
}

void at_backward_free(at_backward *b)
{
    if (!b)
        return;
    at_arena_free(b->arena);
    free(b);
}
