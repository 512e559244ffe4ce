/* attention_cudnn.c -- attention by cuDNN: one operation of the library, without a mask.
 *
 * It compiles its engines while the plan is made. q, k, v, o are views with any pitch of whole
 * chunks of 16 bytes: heads lie beside each other in a row, and strides say so. The numbers that
 * backward wants (lse) are the library's statistics: the natural logarithm of the sum of the
 * exponentials of scaled scores, in f32. A causal mask is in the library from 9.21 only, and
 * lengths would need a graph of their own: own kernels take both.
 *
 * B samples, H heads, L tokens, D head size. */
#include "kernels/attention_cudnn.h"

#ifdef AT_HAS_CUDA
enum { ID_Q = 1, ID_K, ID_V, ID_O, ID_SCALE, ID_LSE };

at_cudnn_descriptor at_cudnn_add_heads(at_cudnn_graph *g, int64_t id, const at_view *v,
                                       int64_t heads, at_cudnn_heads how)
{
    const int64_t size = at_cols(v) / heads;
    at_cudnn_tensor t = { .id = id,
                          .dtype = v->dtype,
                          .size = { v->size[0], heads, v->size[1], size },
                          .stride = { v->size[1] * v->pitch, size, v->pitch, 1 } };
    if (how == AT_CUDNN_HEADS_TURNED) {
        t.size[2] = size, t.stride[2] = 1;
        t.size[3] = v->size[1], t.stride[3] = v->pitch;
    }
    return at_cudnn_add_tensor(g, &t);
}

at_cudnn_descriptor at_cudnn_add_rows(at_cudnn_graph *g, int64_t id, const at_view *v)
{
    const at_cudnn_tensor t = { .id = id,
                                .dtype = v->dtype,
                                .size = { v->size[0], v->size[1], v->size[2], 1 },
                                .stride = { v->size[1] * v->pitch, v->pitch, 1, 1 } };
    return at_cudnn_add_tensor(g, &t);
}

bool at_cudnn_heads_fit(const at_view *v, int64_t heads)
{
    enum { ELEMENTS = 8 };
    const uint64_t row = (uint64_t)v->pitch * at_dtype_bytes(v->dtype);
    return (v->dtype == AT_BF16 || v->dtype == AT_F16) && at_cols(v) / heads % ELEMENTS == 0 &&
           ((uintptr_t)v->data | row) % AT_CUDNN_ALIGNMENT == 0;
}

void at_attention_cudnn_describe(at_cudnn_graph *g, const void *args)
{
    const at_attention_args *a = args;
    at_cudnn_sdpa s = { .q = at_cudnn_add_heads(g, ID_Q, &a->q, a->heads, AT_CUDNN_HEADS),
                        .k = at_cudnn_add_heads(g, ID_K, &a->k, a->heads, AT_CUDNN_HEADS),
                        .v = at_cudnn_add_heads(g, ID_V, &a->v, a->heads, AT_CUDNN_HEADS),
                        .o = at_cudnn_add_heads(g, ID_O, &a->o, a->heads, AT_CUDNN_HEADS),
                        .scale = at_cudnn_add_scalar(g, ID_SCALE) };
    if (at_has(&a->lse))
        s.stats = at_cudnn_add_rows(g, ID_LSE, &a->lse);
    at_cudnn_add_sdpa(g, &s);
}

bool at_attention_cudnn_fits(const void *args)
{
    const at_attention_args *a = args;
    return !a->causal && !at_has(&a->lengths) && at_cudnn_heads_fit(&a->q, a->heads) &&
           at_cudnn_heads_fit(&a->k, a->heads) && at_cudnn_heads_fit(&a->v, a->heads) &&
           at_cudnn_heads_fit(&a->o, a->heads) && (uintptr_t)a->lse.data % AT_CUDNN_ALIGNMENT == 0;
}

at_status at_attention_cudnn_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                     at_error *err)
{
    return at_cudnn_prepare(at_attention_cudnn_describe, args, in, out, err);
}

int at_attention_cudnn_candidates(const void *args, const at_caps *caps)
{
    return at_cudnn_candidates(at_attention_cudnn_describe, args, caps);
}

at_status at_attention_cudnn(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_attention_args *a = args;
    _Alignas(AT_CUDNN_ALIGNMENT) const float scale =
        at_attention_scale(a->scale, at_cols(&a->q) / a->heads);
    const at_cudnn_binding b[] = { { ID_Q, a->q.data },  { ID_K, a->k.data },
                                   { ID_V, a->v.data },  { ID_O, a->o.data },
                                   { ID_SCALE, &scale }, { ID_LSE, a->lse.data } };
    return at_cudnn_execute(p, b, (int)AT_COUNT(b) - !at_has(&a->lse), l);
}
#endif
