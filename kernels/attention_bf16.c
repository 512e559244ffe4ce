/* attention_bf16.c -- attention with bf16 dot products in registers (vdpbf16ps), for processors
 * where they run at the rate of f32 products and so do twice the work: a Zen 5, not a Xeon without
 * tiles. */
#include "kernels/attention_pairs.h"

AT_ATTENTION_DECLARE(bf16);

/* Rows of value pairs take two rows' room. */
static void load_span(const at_attention_block *b)
{
    at_pairs_load_keys(b);
    for (int64_t j = 0; j < b->keys; j += 2) {
        const uint16_t *low = at_pairs_value(b, j), *high = at_pairs_value(b, j + 1);
        for (int64_t e = 0; e < b->padded; e += AT_LANES)
            at_vf_store_upto(b->value_rows, j * b->stride + e, AT_F32,
                             at_pairs_of_rows(low, high, e, b->size), b->padded - e);
    }
}

AT_INLINE void attend_width(const at_attention_block *b, int64_t row, int64_t keys, const int nv)
{
    int64_t even = keys + (keys & 1);
    at_panel_dot(b->scores, b->key_rows, b->stride, b->queries + row * b->padded, keys,
                 b->padded / 2, nv, AT_PANEL_PAIRS);
    if (b->masked)
        at_pairs_soften(b, row, keys, even, nv, 1);
    else
        at_pairs_soften(b, row, keys, even, nv, 0);
    at_panel_add(b->out + row * b->padded, b->value_rows, 2 * b->stride, b->scores, even / 2,
                 b->padded, nv, AT_PANEL_PAIRS);
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

static const at_attention_kernel kernel = { .width = AT_PANEL_WIDTH,
                                            .grain = AT_LANES,
                                            .pad = 32,
                                            .bytes = 2,
                                            .span = 128,
                                            .span_large = 128,
                                            .load_queries = at_pairs_load_queries,
                                            .load_span = load_span,
                                            .attend = attend,
                                            .store = at_pairs_store };

at_status at_attention_prepare_bf16(const void *args, const at_prepare_in *in, at_prepared *out,
                                    at_error *err)
{
    return at_attention_prepare(&kernel, args, in->caps->threads, out, err);
}

at_status at_attention_bf16(const void *args, const at_prepared *p, const at_launch *l)
{
    at_attention_walk(args, p, l);
    return AT_OK;
}
