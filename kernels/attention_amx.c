/* attention_amx.c -- attention on tiles: the products run at 1024 bf16 operations a cycle, so most
 * of the time goes into the exponential between them; panels are two tiles wide.
 *
 * scores[key][query]: A = 16 keys x 32 elements as they lie, B = query pairs. out[d][query]: A =
 * 16 elements x 32 keys (values turned when a span is brought in), B = pairs of probabilities.
 * Both products so leave panels, and the softmax works down their columns. */
#include "kernels/attention_pairs.h"
#include "kernels/tile.h"

#if defined(AT_TILE_EMULATED)
#define PUBLIC(name) name##_amx_emulated
AT_ATTENTION_DECLARE(amx_emulated);
#else
#define PUBLIC(name) name##_amx
AT_ATTENTION_DECLARE(amx);
#endif

/* KEYS: keys of two tiles side by side, and the depth of one step of the second product. */
enum { KEYS = 32, WORDS = AT_TILE_ROW_BYTES / 4, LINE = AT_TILE_ROW_BYTES };

/* value_rows[key / 32][d][key % 32]: each tile is 1 KiB on end. */
static void load_span(const at_attention_block *b)
{
    at_pairs_load_keys(b);
    for (int64_t j = 0; j < b->keys; j += KEYS)
        for (int64_t e = 0; e < b->padded; e += AT_LANES) {
            at_vf t[AT_LANES];
            AT_UNROLL for (int i = 0; i < AT_LANES; i++)
            {
                const uint16_t *low = at_pairs_value(b, j + 2 * i);
                t[i] = at_pairs_of_rows(low, at_pairs_value(b, j + 2 * i + 1), e, b->size);
            }
            at_transpose(t);
            AT_UNROLL for (int i = 0; i < AT_LANES; i++)
                at_vf_store(b->value_rows, (j / KEYS * b->padded + e + i) * WORDS, AT_F32, t[i]);
        }
}

/* C0 | C1 over C2 | C3 are a square of the result; C1 and C3 only when the panel has two tiles. */
AT_INLINE void multiply_step(at_tiles *t, const float *a0, const float *a1, int64_t a_bytes,
                             const float *b, int64_t b_bytes, const int nv)
{
    AT_TILE_LOAD(t, 4, a0, a_bytes);
    AT_TILE_LOAD(t, 6, b, b_bytes);
    AT_TILE_MULTIPLY(t, 0, 4, 6);
    AT_TILE_LOAD(t, 5, a1, a_bytes);
    AT_TILE_MULTIPLY(t, 2, 5, 6);
    if (nv == 2) {
        AT_TILE_LOAD(t, 7, b + WORDS, b_bytes);
        AT_TILE_MULTIPLY(t, 1, 4, 7);
        AT_TILE_MULTIPLY(t, 3, 5, 7);
    }
}

AT_INLINE void store_square(at_tiles *t, float *c, int64_t c_bytes, const int nv)
{
    float *below = c + AT_TILE_ROWS * nv * WORDS;
    AT_TILE_STORE(t, 0, c, c_bytes);
    AT_TILE_STORE(t, 2, below, c_bytes);
    if (nv == 2) {
        AT_TILE_STORE(t, 1, c + WORDS, c_bytes);
        AT_TILE_STORE(t, 3, below + WORDS, c_bytes);
    }
}

AT_INLINE void load_square(at_tiles *t, const float *c, int64_t c_bytes, const int nv)
{
    const float *below = c + AT_TILE_ROWS * nv * WORDS;
    AT_TILE_LOAD(t, 0, c, c_bytes);
    AT_TILE_LOAD(t, 2, below, c_bytes);
    if (nv == 2) {
        AT_TILE_LOAD(t, 1, c + WORDS, c_bytes);
        AT_TILE_LOAD(t, 3, below + WORDS, c_bytes);
    }
}

AT_INLINE void attend_width(const at_attention_block *b, int64_t row, int64_t keys, const int nv)
{
    const int64_t width = nv * WORDS, bytes = width * 4, whole = (keys + KEYS - 1) / KEYS * KEYS;
    const float *queries = b->queries + row * b->padded;
    float *out = b->out + row * b->padded;
    at_tiles tiles, *t = &tiles;
    for (int64_t j = 0; j < whole; j += KEYS) {
        const float *a0 = b->key_rows + j * b->stride, *a1 = a0 + AT_TILE_ROWS * b->stride;
        AT_TILE_ZERO(t, 0);
        AT_TILE_ZERO(t, 1);
        AT_TILE_ZERO(t, 2);
        AT_TILE_ZERO(t, 3);
        for (int64_t e = 0; e < b->padded / 2; e += WORDS)
            multiply_step(t, a0 + e, a1 + e, b->stride * 4, queries + e * width, bytes, nv);
        store_square(t, b->scores + j * width, bytes, nv);
    }
    if (b->masked)
        at_pairs_soften(b, row, keys, whole, nv, 1);
    else
        at_pairs_soften(b, row, keys, whole, nv, 0);
    for (int64_t e = 0; e < b->padded; e += 2 * AT_TILE_ROWS) {
        load_square(t, out + e * width, bytes, nv);
        for (int64_t j = 0; j < whole; j += KEYS) {
            const float *a = b->value_rows + (j / KEYS * b->padded + e) * WORDS;
            multiply_step(t, a, a + AT_TILE_ROWS * WORDS, LINE, b->scores + j / 2 * width, bytes,
                          nv);
        }
        store_square(t, out + e * width, bytes, nv);
    }
}

static void attend(const at_attention_block *b, int64_t row, int64_t width, int64_t keys)
{
    if (width == 2 * WORDS)
        attend_width(b, row, keys, 2);
    else
        attend_width(b, row, keys, 1);
}

static const at_attention_kernel kernel = { .width = 2 * WORDS,
                                            .grain = WORDS,
                                            .pad = 32,
                                            .bytes = 2,
                                            .span = 256,
                                            .span_large = 128,
                                            .load_queries = at_pairs_load_queries,
                                            .load_span = load_span,
                                            .attend = attend,
                                            .store = at_pairs_store,
                                            .begin = at_tile_configure,
                                            .end = at_tile_release };

at_status PUBLIC(at_attention_prepare)(const void *args, const at_prepare_in *in, at_prepared *out,
                                       at_error *err)
{
    return at_attention_prepare(&kernel, args, in->caps->threads, out, err);
}

at_status PUBLIC(at_attention)(const void *args, const at_prepared *p, const at_launch *l)
{
    at_attention_walk(args, p, l);
    return AT_OK;
}
