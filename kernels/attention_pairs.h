/* attention_pairs.h -- attention on pairs of bf16: what the dot-product and the tile kernel share.
 *
 * Products take words of two bf16 that are neighbours along the axis they sum over: elements of a
 * head for the scores, keys for the output. Keys are such rows as they lie; queries become panels
 * of pairs, queries[d / 2][query]; probabilities are rounded and paired as they are made, p[key /
 * 2][query]. */
#ifndef AT_KERNELS_ATTENTION_PAIRS_H
#define AT_KERNELS_ATTENTION_PAIRS_H

#include "kernels/attention_softmax.h"

/* Words e .. e + AT_LANES - 1 of a row of d bf16; zeros after its end. */
AT_INLINE at_vf at_pairs_load(const uint16_t *row, int64_t e, int64_t d)
{
    at_vf x = { 0 };
    int64_t n = d - 2 * e;
    if (n >= 2 * AT_LANES)
        memcpy(&x, row + 2 * e, sizeof x);
    else if (n > 0)
        memcpy(&x, row + 2 * e, (size_t)n * sizeof *row);
    return x;
}

/* Elements e .. e + AT_LANES - 1 of a row of d, as the low halves of words; NULL is a row of
 * zeros. */
AT_INLINE at_vu at_pairs_half(const uint16_t *row, int64_t e, int64_t d)
{
    at_vh x = { 0 };
    if (row && d - e >= AT_LANES)
        memcpy(&x, row + e, sizeof x);
    else if (row && d > e)
        memcpy(&x, row + e, (size_t)(d - e) * sizeof *row);
    return __builtin_convertvector(x, at_vu);
}

AT_INLINE at_vf at_pairs_of_rows(const uint16_t *low, const uint16_t *high, int64_t e, int64_t d)
{
    return (at_vf)(at_pairs_half(low, e, d) | at_pairs_half(high, e, d) << 16);
}

/* Value j of the span, NULL past its end. */
AT_INLINE const uint16_t *at_pairs_value(const at_attention_block *b, int64_t j)
{
    return j < b->keys ? (const uint16_t *)b->v + (b->key + j) * b->v_pitch : NULL;
}

AT_OUTLINE void at_pairs_load_queries(const at_attention_block *b, int64_t row, int64_t width)
{
    float *to = b->queries + row * b->padded;
    const uint16_t *from = b->q;
    for (int64_t v = 0; v < width / AT_LANES; v++)
        for (int64_t e = 0; e < b->padded / 2; e += AT_LANES) {
            at_vf t[AT_LANES];
            AT_UNROLL for (int i = 0; i < AT_LANES; i++)
            {
                int64_t r = row + v * AT_LANES + i;
                t[i] =
                    r < b->rows ? at_pairs_load(from + r * b->q_pitch, e, b->size) : (at_vf){ 0 };
            }
            at_transpose(t);
            AT_UNROLL for (int i = 0; i < AT_LANES; i++)
            {
                if (e + i < b->padded / 2)
                    at_vf_store(to, (e + i) * width + v * AT_LANES, AT_F32, t[i]);
            }
        }
    at_softmax_reset(b, b->out + row * b->padded, row, width);
}

/* Keys, padded with zeros. Rows after the last are left as they are: their scores are not used. */
AT_OUTLINE void at_pairs_load_keys(const at_attention_block *b)
{
    for (int64_t j = 0; j < b->keys; j++) {
        const uint16_t *from = (const uint16_t *)b->k + (b->key + j) * b->k_pitch;
        for (int64_t e = 0; e < b->padded / 2; e += AT_LANES)
            at_vf_store(b->key_rows, j * b->stride + e, AT_F32, at_pairs_load(from, e, b->size));
    }
}

AT_INLINE at_vf at_pairs_round(at_vf low, at_vf high)
{
    static const uint16_t interleave[32] = { 0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                             21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                             11, 27, 12, 28, 13, 29, 14, 30, 15, 31 };
    __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
    return (at_vf)_mm512_permutexvar_epi16(_mm512_loadu_si512(interleave), both);
}

/* Scores become pairs of powers, in place: the pair of keys j, j + 1 in row j / 2. Zeros fill the
 * pairs up to 'keys_padded' keys. */
AT_INLINE void at_pairs_soften(const at_attention_block *b, int64_t row, int64_t keys,
                               int64_t keys_padded, const int nv, const int masked)
{
    at_softmax_lanes s;
    at_vf sum[AT_PANEL_VECTORS];
    at_softmax_open(&s, b, row, keys, b->out + row * b->padded, nv, masked);
    for (int v = 0; v < nv; v++)
        sum[v] = (at_vf){ 0 };
    for (int64_t j = 0; j < keys; j += 2)
        AT_UNROLL for (int v = 0; v < nv; v++)
        {
            at_vf low = at_panel_get(b->scores, j * nv + v), high = { 0 };
            low = at_softmax_power(&s, low, j, v, masked, 4);
            if (j + 1 < keys)
                high = at_softmax_power(&s, at_panel_get(b->scores, (j + 1) * nv + v), j + 1, v,
                                        masked, 4);
            sum[v] += low;
            sum[v] += high;
            at_panel_set(b->scores, j / 2 * nv + v, at_pairs_round(low, high));
        }
    for (int64_t j = (keys + 1) / 2; j < keys_padded / 2; j++)
        for (int v = 0; v < nv; v++)
            at_panel_set(b->scores, j * nv + v, (at_vf){ 0 });
    at_softmax_close(b, row, sum, nv);
}

AT_OUTLINE void at_pairs_store(const at_attention_block *b, int64_t row, int64_t width)
{
    uint16_t *to = (uint16_t *)b->o + row * b->o_pitch;
    at_softmax_finish(b, row, width);
    at_panel_store_as(to, b->o_pitch, AT_BF16, b->out + row * b->padded, b->sum + row,
                      b->rows - row < width ? b->rows - row : width, b->size,
                      (int)width / AT_LANES);
}

#endif
