/* attention_simd.c -- bound by arithmetic: two products of 2 * Lq * Lk * D operations in f32
 * registers and about 13 more per score for the exponential. Target: the processor's FMA rate less
 * that share.
 *
 * bf16 and f16 are widened where keys and values are brought in, once per block of queries. */
#include "kernels/attention_softmax.h"
#include "kernels/variants.h"

AT_ATTENTION_DECLARE(AT_SIMD_LEVEL);

static void load_queries(const at_attention_block *b, int64_t row, int64_t width)
{
    float *to = b->queries + row * b->padded;
    const char *from = (const char *)b->q + (size_t)(row * b->q_pitch) * at_dtype_bytes(b->type);
    int64_t n = b->rows - row < width ? b->rows - row : width;
    at_panel_load(to, from, b->q_pitch, b->type, n, b->size, b->padded, (int)width / AT_LANES);
    at_softmax_reset(b, b->out + row * b->padded, row, width);
}

static void load_span(const at_attention_block *b)
{
    size_t bytes = at_dtype_bytes(b->type);
    const char *k = (const char *)b->k + (size_t)(b->key * b->k_pitch) * bytes;
    const char *v = (const char *)b->v + (size_t)(b->key * b->v_pitch) * bytes;
    at_rows_load(b->key_rows, b->stride, k, b->k_pitch, b->type, b->keys, b->size, b->padded);
    at_rows_load(b->value_rows, b->stride, v, b->v_pitch, b->type, b->keys, b->size, b->padded);
}

/* Scores become powers, in place. */
AT_INLINE void soften(const at_attention_block *b, int64_t row, int64_t keys, const int nv,
                      const int masked)
{
    float *out = b->out + row * b->padded;
    at_softmax_lanes s;
    at_vf sum[AT_PANEL_VECTORS];
    at_softmax_open(&s, b, row, keys, out, nv, masked);
    for (int v = 0; v < nv; v++)
        sum[v] = (at_vf){ 0 };
    for (int64_t j = 0; j < keys; j++)
        AT_UNROLL for (int v = 0; v < nv; v++)
        {
            at_vf x = at_panel_get(b->scores, j * nv + v);
            at_vf p = at_softmax_power(&s, x, j, v, masked, 5);
            sum[v] += p;
            at_panel_set(b->scores, j * nv + v, p);
        }
    at_softmax_close(b, row, sum, nv);
}

/* The two products and what lies between them, for a panel of nv registers. */
AT_INLINE void attend_width(const at_attention_block *b, int64_t row, int64_t keys, const int nv)
{
    at_panel_dot(b->scores, b->key_rows, b->stride, b->queries + row * b->padded, keys, b->padded,
                 nv, AT_PANEL_F32);
    if (b->masked)
        soften(b, row, keys, nv, 1);
    else
        soften(b, row, keys, nv, 0);
    at_panel_add(b->out + row * b->padded, b->value_rows, b->stride, b->scores, keys, b->padded, nv,
                 AT_PANEL_F32);
}

static void attend(const at_attention_block *b, int64_t row, int64_t width, int64_t keys)
{
    if (width == 3 * AT_LANES)
        attend_width(b, row, keys, 3);
    else if (width == 2 * AT_LANES)
        attend_width(b, row, keys, 2);
    else
        attend_width(b, row, keys, 1);
}

static void store(const at_attention_block *b, int64_t row, int64_t width)
{
    const float *from = b->out + row * b->padded;
    char *to = (char *)b->o + (size_t)(row * b->o_pitch) * at_dtype_bytes(b->type);
    int64_t n = b->rows - row < width ? b->rows - row : width;
    at_softmax_finish(b, row, width);
    at_panel_store(to, b->o_pitch, b->type, from, b->sum + row, n, b->size, (int)width / AT_LANES);
}

static const at_attention_kernel kernel = { .width = AT_PANEL_WIDTH,
                                            .grain = AT_LANES,
                                            .pad = AT_PANEL_ROWS,
                                            .bytes = 4,
                                            .span = 128,
                                            .span_large = 128,
                                            .load_queries = load_queries,
                                            .load_span = load_span,
                                            .attend = attend,
                                            .store = store };

at_status AT_SIMD(at_attention_prepare)(const void *args, const at_prepare_in *in, at_prepared *out,
                                        at_error *err)
{
    const at_attention_args *a = args;
    if (a->q.size[1] > AT_ATTENTION_FEW)
        return at_attention_prepare(&kernel, a, in->caps->threads, out, err);
    out->scratch_bytes = AT_SIMD(at_attention_few_scratch)(a, in->caps->threads);
    return AT_OK;
}

at_status AT_SIMD(at_attention)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_attention_args *a = args;
    if (a->q.size[1] > AT_ATTENTION_FEW)
        at_attention_walk(a, p, l);
    else
        AT_SIMD(at_attention_few)(a, l);
    return AT_OK;
}
