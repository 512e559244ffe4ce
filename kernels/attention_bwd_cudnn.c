/* attention_bwd_cudnn.c -- the gradient of attention by cuDNN: a graph of products and functions of
 * elements, which the library recognizes and computes in one go. It must be put as it is here, step
 * by step; engines for it are compiled while the plan is made.
 *
 * P and dS are rounded to the type of q before they are multiplied, as in own kernels; every sum is
 * f32. A deterministic dq is summed over the keys in one place, so engines keep dS in their
 * workspace, which grows with queries x keys: where it does not fit, the plan is not made and own
 * kernels remain.
 *
 * B samples, H heads, L tokens, D head size. */
#include "kernels/attention_cudnn.h"

#ifdef AT_HAS_CUDA
enum {
    ID_Q = 1,
    ID_K,
    ID_V,
    ID_O,
    ID_DOUT,
    ID_LSE,
    ID_DQ,
    ID_DK,
    ID_DV,
    ID_SCALE,
    ID_ONE,
    ID_SUMS
};

/* The sizes of one graph, and what several of its steps need. */
typedef struct bwd {
    at_cudnn_graph *g;
    const at_attention_bwd_args *a;
    int64_t b, heads, queries, keys, size;
    at_cudnn_descriptor q, k_turned, dout, scale;
} bwd;

/* (B, H, rows, cols) inside of the graph, rows one after the other. */
static at_cudnn_descriptor inside(const bwd *w, at_dtype dtype, int64_t rows, int64_t cols)
{
    const at_cudnn_tensor t = { .dtype = dtype,
                                .size = { w->b, w->heads, rows, cols },
                                .stride = { w->heads * rows * cols, rows * cols, cols, 1 } };
    return at_cudnn_add_tensor(w->g, &t);
}

static at_cudnn_descriptor scores(const bwd *w)
{
    return inside(w, AT_F32, w->queries, w->keys);
}

/* Scores seen the other way, (B, H, keys, queries), in the type that products are made of. */
static at_cudnn_descriptor turned(const bwd *w, at_cudnn_descriptor x)
{
    const int64_t all = w->queries * w->keys;
    const at_cudnn_tensor t = { .dtype = w->a->q.dtype,
                                .size = { w->b, w->heads, w->keys, w->queries },
                                .stride = { w->heads * all, all, 1, w->keys } };
    at_cudnn_descriptor y = at_cudnn_add_tensor(w->g, &t);
    at_cudnn_add_reshape(w->g, x, y);
    return y;
}

static at_cudnn_descriptor apply(const bwd *w, int mode, at_cudnn_descriptor x,
                                 at_cudnn_descriptor b)
{
    at_cudnn_descriptor y = scores(w);
    at_cudnn_add_pointwise(w->g, mode, x, b, y);
    return y;
}

/* delta = rowsum(dout * o), in memory between the parts of the computation. */
static at_cudnn_descriptor deltas(const bwd *w)
{
    const at_attention_bwd_args *a = w->a;
    at_cudnn_descriptor each = inside(w, AT_F32, w->queries, w->size);
    at_cudnn_descriptor sums = inside(w, AT_F32, w->queries, 1);
    at_view rows = a->lse;
    rows.pitch = at_cols(&rows);
    at_cudnn_descriptor out = at_cudnn_add_rows(w->g, ID_SUMS, &rows);
    at_cudnn_add_pointwise(w->g, AT_CUDNN_POINTWISE_MUL, w->dout,
                           at_cudnn_add_heads(w->g, ID_O, &a->o, a->heads, AT_CUDNN_HEADS), each);
    at_cudnn_add_reduction(w->g, AT_CUDNN_REDUCE_TENSOR_ADD, each, sums);
    at_cudnn_add_pointwise(w->g, AT_CUDNN_POINTWISE_MUL, sums, at_cudnn_add_scalar(w->g, ID_ONE),
                           out);
    return out;
}

/* P = exp(scale q k^T - lse) */
static at_cudnn_descriptor probabilities(const bwd *w)
{
    at_cudnn_descriptor s = scores(w);
    at_cudnn_add_product(w->g, w->q, w->k_turned, s);
    s = apply(w, AT_CUDNN_POINTWISE_MUL, s, w->scale);
    s = apply(w, AT_CUDNN_POINTWISE_SUB, s, at_cudnn_add_rows(w->g, ID_LSE, &w->a->lse));
    return apply(w, AT_CUDNN_POINTWISE_EXP, s, NULL);
}

/* scale dS = scale P (dout v^T - delta) */
static at_cudnn_descriptor score_gradients(const bwd *w, at_cudnn_descriptor p,
                                           at_cudnn_descriptor delta)
{
    const at_attention_bwd_args *a = w->a;
    at_cudnn_descriptor s = scores(w);
    at_cudnn_add_product(w->g, w->dout,
                         at_cudnn_add_heads(w->g, ID_V, &a->v, a->heads, AT_CUDNN_HEADS_TURNED), s);
    s = apply(w, AT_CUDNN_POINTWISE_SUB, s, delta);
    s = apply(w, AT_CUDNN_POINTWISE_MUL, s, p);
    return apply(w, AT_CUDNN_POINTWISE_MUL, s, w->scale);
}

void at_attention_bwd_cudnn_describe(at_cudnn_graph *g, const void *args)
{
    const at_attention_bwd_args *a = args;
    bwd w = { .g = g, .a = a, .b = a->q.size[0], .heads = a->heads };
    w.queries = a->q.size[1], w.keys = a->k.size[1], w.size = at_cols(&a->q) / a->heads;
    w.q = at_cudnn_add_heads(g, ID_Q, &a->q, a->heads, AT_CUDNN_HEADS);
    w.k_turned = at_cudnn_add_heads(g, ID_K, &a->k, a->heads, AT_CUDNN_HEADS_TURNED);
    w.dout = at_cudnn_add_heads(g, ID_DOUT, &a->dout, a->heads, AT_CUDNN_HEADS);
    w.scale = at_cudnn_add_scalar(g, ID_SCALE);
    at_cudnn_descriptor delta = deltas(&w), p = probabilities(&w);
    at_cudnn_add_product(g, turned(&w, p), w.dout,
                         at_cudnn_add_heads(g, ID_DV, &a->dv, a->heads, AT_CUDNN_HEADS));
    at_cudnn_descriptor ds = score_gradients(&w, p, delta);
    at_cudnn_add_product(g, turned(&w, ds), w.q,
                         at_cudnn_add_heads(g, ID_DK, &a->dk, a->heads, AT_CUDNN_HEADS));
    at_cudnn_descriptor k = at_cudnn_add_heads(g, 0, &a->k, a->heads, AT_CUDNN_HEADS);
    at_cudnn_add_reshape(g, w.k_turned, k);
    at_cudnn_add_product(g, ds, k, at_cudnn_add_heads(g, ID_DQ, &a->dq, a->heads, AT_CUDNN_HEADS));
}

/* --- the variant ------------------------------------------------------------------------------ */

bool at_attention_bwd_cudnn_fits(const void *args)
{
    const at_attention_bwd_args *a = args;
    const at_view *views[] = { &a->q, &a->k, &a->v, &a->o, &a->dout, &a->dq, &a->dk, &a->dv };
    bool fits = !a->causal && !at_has(&a->lengths) && a->lse.dtype == AT_F32 &&
                (uintptr_t)a->lse.data % AT_CUDNN_ALIGNMENT == 0;
    for (size_t i = 0; i < AT_COUNT(views); i++)
        fits = fits && at_cudnn_heads_fit(views[i], a->heads);
    return fits;
}

/* Scratch: delta (B, H, Lq) f32, the workspace. */
at_status at_attention_bwd_cudnn_prepare(const void *args, const at_prepare_in *in,
                                         at_prepared *out, at_error *err)
{
    const at_attention_bwd_args *a = args;
    out->scratch_bytes = (size_t)at_elements(&a->lse) * sizeof(float);
    return at_cudnn_prepare(at_attention_bwd_cudnn_describe, args, in, out, err);
}

int at_attention_bwd_cudnn_candidates(const void *args, const at_caps *caps)
{
    return at_cudnn_candidates(at_attention_bwd_cudnn_describe, args, caps);
}

at_status at_attention_bwd_cudnn(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_attention_bwd_args *a = args;
    _Alignas(AT_CUDNN_ALIGNMENT) const float one = 1;
    _Alignas(AT_CUDNN_ALIGNMENT) const float scale =
        at_attention_scale(a->scale, at_cols(&a->q) / a->heads);
    const at_cudnn_binding b[] = {
        { ID_Q, a->q.data },   { ID_K, a->k.data },       { ID_V, a->v.data },
        { ID_O, a->o.data },   { ID_DOUT, a->dout.data }, { ID_LSE, a->lse.data },
        { ID_DQ, a->dq.data }, { ID_DK, a->dk.data },     { ID_DV, a->dv.data },
        { ID_SCALE, &scale },  { ID_ONE, &one },          { ID_SUMS, l->scratch },
    };
    return at_cudnn_execute(p, b, (int)AT_COUNT(b), l);
}
#endif
