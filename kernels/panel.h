/* panel.h -- products of short rows with a panel of columns, for attention and its gradient.
 *
 * A panel holds vectors side by side, one per lane: panel[d][lane], up to AT_PANEL_VECTORS
 * registers wide. Rows stay as they are, their elements are broadcast. So keys and values are read
 * in rows, queries are turned once into a panel, and everything that softmax does happens lane by
 * lane, without a horizontal step. Each lane sees the same operations in the same order however
 * wide its panel is.
 *
 * Included by files compiled for one instruction set. */
#ifndef AT_KERNELS_PANEL_H
#define AT_KERNELS_PANEL_H

#include "kernels/vec.h"

/* AT_PANEL_ROWS x AT_PANEL_VECTORS sums live in registers: 24 of 32, or 12 of 16. */
#if defined(__AVX512F__) || defined(__aarch64__)
enum { AT_PANEL_ROWS = 8 };
#else
enum { AT_PANEL_ROWS = 4 };
#endif
enum { AT_PANEL_VECTORS = 3, AT_PANEL_WIDTH = AT_PANEL_VECTORS * AT_LANES };

/* Loops over registers must be unrolled, else the registers become memory. */
#if defined(__clang__)
#define AT_UNROLL _Pragma("clang loop unroll(full)")
#else
#define AT_UNROLL _Pragma("GCC unroll 16")
#endif

/* A word is a float or a pair of bf16; a step on pairs adds the products of both halves. */
enum { AT_PANEL_F32, AT_PANEL_PAIRS };

#if defined(__AVX512BF16__)
AT_INLINE at_vf at_panel_step(at_vf y, at_vf x, at_vf sum, const int words)
{
    if (words == AT_PANEL_PAIRS)
        return (at_vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)y, (__m512bh)x);
    return at_vf_fma(y, x, sum);
}
#else
AT_INLINE at_vf at_panel_step(at_vf y, at_vf x, at_vf sum, const int words)
{
    (void)words;
    return at_vf_fma(y, x, sum);
}
#endif

AT_INLINE at_vf at_panel_word(const float *p)
{
    int32_t bits;
    memcpy(&bits, p, sizeof bits);
    return (at_vf)((at_vi){ 0 } + bits);
}

AT_INLINE at_vf at_panel_get(const float *p, int64_t vector)
{
    return at_vf_load(p, vector * AT_LANES, AT_F32);
}

AT_INLINE void at_panel_set(float *p, int64_t vector, at_vf x)
{
    at_vf_store(p, vector * AT_LANES, AT_F32, x);
}

/* out[row][lane] = sum over d of rows[row][d] * panel[d][lane], for AT_PANEL_ROWS rows 'stride'
 * apart; added to what is there when 'more' (a constant). */
AT_INLINE void at_panel_dot_tile(float *out, const float *rows, int64_t stride, const float *panel,
                                 int64_t d, const int nv, const int words, const int more)
{
    at_vf sum[AT_PANEL_ROWS][AT_PANEL_VECTORS];
    AT_UNROLL for (int i = 0; i < AT_PANEL_ROWS; i++)
    {
        AT_UNROLL for (int v = 0; v < nv; v++) sum[i][v] =
            more ? at_panel_get(out, i * nv + v) : (at_vf){ 0 };
    }
    for (int64_t e = 0; e < d; e++) {
        at_vf x[AT_PANEL_VECTORS];
        AT_UNROLL for (int v = 0; v < nv; v++) x[v] = at_panel_get(panel, e * nv + v);
        AT_UNROLL for (int i = 0; i < AT_PANEL_ROWS; i++)
        {
            at_vf y = at_panel_word(rows + i * stride + e);
            AT_UNROLL for (int v = 0; v < nv; v++) sum[i][v] =
                at_panel_step(y, x[v], sum[i][v], words);
        }
    }
    AT_UNROLL for (int i = 0; i < AT_PANEL_ROWS; i++)
    {
        AT_UNROLL for (int v = 0; v < nv; v++) at_panel_set(out, i * nv + v, sum[i][v]);
    }
}

/* The same for n rows (memory for n rounded up to AT_PANEL_ROWS). A long d goes in pieces, so that
 * a piece of the panel stays in the first cache while all rows pass. */
AT_INLINE void at_panel_dot(float *out, const float *rows, int64_t stride, const float *panel,
                            int64_t n, int64_t d, const int nv, const int words)
{
    enum { PIECE = 128 };
    const int64_t w = nv * AT_LANES;
    for (int64_t i = 0; i < n; i += AT_PANEL_ROWS)
        at_panel_dot_tile(out + i * w, rows + i * stride, stride, panel, d < PIECE ? d : PIECE, nv,
                          words, 0);
    for (int64_t e = PIECE; e < d; e += PIECE)
        for (int64_t i = 0; i < n; i += AT_PANEL_ROWS)
            at_panel_dot_tile(out + i * w, rows + i * stride + e, stride, panel + e * w,
                              d - e < PIECE ? d - e : PIECE, nv, words, 1);
}

/* out[d][lane] += sum over rows of rows[row][d] * panel[row][lane]; AT_PANEL_ROWS divides d. */
AT_INLINE void at_panel_add(float *out, const float *rows, int64_t stride, const float *panel,
                            int64_t n, int64_t d, const int nv, const int words)
{
    const int64_t w = nv * AT_LANES;
    for (int64_t e = 0; e < d; e += AT_PANEL_ROWS) {
        at_vf sum[AT_PANEL_ROWS][AT_PANEL_VECTORS];
        AT_UNROLL for (int i = 0; i < AT_PANEL_ROWS; i++)
        {
            AT_UNROLL for (int v = 0; v < nv; v++) sum[i][v] =
                at_panel_get(out + e * w, i * nv + v);
        }
        for (int64_t r = 0; r < n; r++) {
            at_vf x[AT_PANEL_VECTORS];
            AT_UNROLL for (int v = 0; v < nv; v++) x[v] = at_panel_get(panel, r * nv + v);
            AT_UNROLL for (int i = 0; i < AT_PANEL_ROWS; i++)
            {
                at_vf y = at_panel_word(rows + r * stride + e + i);
                AT_UNROLL for (int v = 0; v < nv; v++) sum[i][v] =
                    at_panel_step(y, x[v], sum[i][v], words);
            }
        }
        AT_UNROLL for (int i = 0; i < AT_PANEL_ROWS; i++)
        {
            AT_UNROLL for (int v = 0; v < nv; v++) at_panel_set(out + e * w, i * nv + v, sum[i][v]);
        }
    }
}

/* --- rows into panels and back ---------------------------------------------------------------- */

/* Lane l of the pair (a, b) after blocks of h lanes have been exchanged across the diagonal. */
#define AT_SWAP_LOW(l, h)   ((l) & (h) ? AT_LANES + (l) - (h) : (l))
#define AT_SWAP_HIGH(l, h)  ((l) & (h) ? AT_LANES + (l) : (l) + (h))
#define AT_LANES_4(F, l, h) F(l, h), F(l + 1, h), F(l + 2, h), F(l + 3, h)
#define AT_LANES_8(F, l, h) AT_LANES_4(F, l, h), AT_LANES_4(F, l + 4, h)
#if defined(__AVX512F__)
#define AT_ALL_LANES(F, h) AT_LANES_8(F, 0, h), AT_LANES_8(F, 8, h)
#define AT_TRANSPOSE_LONG(t)     \
    do {                         \
        AT_TRANSPOSE_STEP(t, 4); \
        AT_TRANSPOSE_STEP(t, 8); \
    } while (0)
#elif defined(__AVX2__)
#define AT_ALL_LANES(F, h)   AT_LANES_8(F, 0, h)
#define AT_TRANSPOSE_LONG(t) AT_TRANSPOSE_STEP(t, 4)
#else
#define AT_ALL_LANES(F, h)   AT_LANES_4(F, 0, h)
#define AT_TRANSPOSE_LONG(t) ((void)(t))
#endif
#define AT_TRANSPOSE_STEP(t, h)                                                               \
    do {                                                                                      \
        AT_UNROLL for (int i = 0; i < AT_LANES; i++)                                          \
        {                                                                                     \
            if (i & (h))                                                                      \
                continue;                                                                     \
            at_vf low = (t)[i], high = (t)[i + (h)];                                          \
            (t)[i] = __builtin_shufflevector(low, high, AT_ALL_LANES(AT_SWAP_LOW, h));        \
            (t)[i + (h)] = __builtin_shufflevector(low, high, AT_ALL_LANES(AT_SWAP_HIGH, h)); \
        }                                                                                     \
    } while (0)

/* A square of AT_LANES x AT_LANES words, turned in log2 steps. */
AT_INLINE void at_transpose(at_vf t[AT_LANES])
{
    AT_TRANSPOSE_STEP(t, 1);
    AT_TRANSPOSE_STEP(t, 2);
    AT_TRANSPOSE_LONG(t);
}

/* Up to AT_LANES elements, zeros after them. */
AT_INLINE at_vf at_vf_load_upto(const void *p, int64_t i, const at_dtype type, int64_t n)
{
    if (n >= AT_LANES)
        return at_vf_load(p, i, type);
    return n > 0 ? at_vf_load_n(p, i, type, (int)n, 0.0f) : (at_vf){ 0 };
}

AT_INLINE void at_vf_store_upto(void *p, int64_t i, const at_dtype type, at_vf x, int64_t n)
{
    if (n >= AT_LANES)
        at_vf_store(p, i, type, x);
    else if (n > 0)
        at_vf_store_n(p, i, type, x, (int)n);
}

/* panel[d][lane] = rows[lane][d] for 'n' rows of 'd' elements 'pitch' apart; zeros to the full
 * width of nv registers and to 'd_padded'. */
AT_INLINE void at_panel_load_as(float *panel, const void *rows, int64_t pitch, const at_dtype type,
                                int64_t n, int64_t d, int64_t d_padded, int nv)
{
    for (int v = 0; v < nv; v++)
        for (int64_t e = 0; e < d_padded; e += AT_LANES) {
            at_vf t[AT_LANES];
            AT_UNROLL for (int i = 0; i < AT_LANES; i++)
            {
                int64_t r = v * AT_LANES + i;
                t[i] = at_vf_load_upto(rows, r * pitch + e, type, r < n ? d - e : 0);
            }
            at_transpose(t);
            AT_UNROLL for (int i = 0; i < AT_LANES; i++)
            {
                if (e + i < d_padded)
                    at_panel_set(panel, (e + i) * nv + v, t[i]);
            }
        }
}

/* The way back: rows[lane][d] = panel[d][lane] * factor[lane] */
AT_INLINE void at_panel_store_as(void *rows, int64_t pitch, const at_dtype type, const float *panel,
                                 const float *factor, int64_t n, int64_t d, int nv)
{
    for (int v = 0; v < nv; v++)
        for (int64_t e = 0; e < d; e += AT_LANES) {
            at_vf t[AT_LANES], f = at_panel_get(factor, v);
            AT_UNROLL for (int i = 0; i < AT_LANES; i++) t[i] =
                e + i < d ? at_panel_get(panel, (e + i) * nv + v) * f : (at_vf){ 0 };
            at_transpose(t);
            AT_UNROLL for (int i = 0; i < AT_LANES; i++)
            {
                int64_t r = v * AT_LANES + i;
                at_vf_store_upto(rows, r * pitch + e, type, t[i], r < n ? d - e : 0);
            }
        }
}

/* f32 rows 'stride' apart from rows of any type; zeros from d to d_padded. */
AT_INLINE void at_rows_load_as(float *out, int64_t stride, const void *rows, int64_t pitch,
                               const at_dtype type, int64_t n, int64_t d, int64_t d_padded)
{
    for (int64_t r = 0; r < n; r++) {
        int64_t e = 0;
        for (; e + AT_LANES <= d; e += AT_LANES)
            at_vf_store(out, r * stride + e, AT_F32, at_vf_load(rows, r * pitch + e, type));
        for (; e < d_padded; e += AT_LANES)
            at_vf_store_upto(out, r * stride + e, AT_F32,
                             at_vf_load_upto(rows, r * pitch + e, type, d - e), d_padded - e);
    }
}

/* Calls FN(..., type, ...) with a constant type. */
#define AT_OF_TYPE(type, FN, before, ...)             \
    do {                                              \
        if ((type) == AT_F32)                         \
            FN(AT_ARGS before, AT_F32, __VA_ARGS__);  \
        else if ((type) == AT_BF16)                   \
            FN(AT_ARGS before, AT_BF16, __VA_ARGS__); \
        else                                          \
            FN(AT_ARGS before, AT_F16, __VA_ARGS__);  \
    } while (0)
#define AT_ARGS(...) __VA_ARGS__
#define AT_OUTLINE   static __attribute__((noinline, unused))

AT_OUTLINE void at_panel_load(float *panel, const void *rows, int64_t pitch, at_dtype type,
                              int64_t n, int64_t d, int64_t d_padded, int nv)
{
    AT_OF_TYPE(type, at_panel_load_as, (panel, rows, pitch), n, d, d_padded, nv);
}

AT_OUTLINE void at_panel_store(void *rows, int64_t pitch, at_dtype type, const float *panel,
                               const float *factor, int64_t n, int64_t d, int nv)
{
    AT_OF_TYPE(type, at_panel_store_as, (rows, pitch), panel, factor, n, d, nv);
}

AT_OUTLINE void at_rows_load(float *out, int64_t stride, const void *rows, int64_t pitch,
                             at_dtype type, int64_t n, int64_t d, int64_t d_padded)
{
    AT_OF_TYPE(type, at_rows_load_as, (out, stride, rows, pitch), n, d, d_padded);
}

/* --- 2^x -------------------------------------------------------------------------------------- */

/* 2^f for f from 0 to 1, relative error 7.5e-8 (degree 5) or 2.6e-6 (degree 4: enough where the
 * result is rounded to 16 bits). */
AT_INLINE at_vf at_vf_exp2_fraction(at_vf f, const int degree)
{
    if (degree == 4) {
        at_vf p = at_vf_fma(f, at_vf_set(0.01353416791f), at_vf_set(0.05201146062f));
        p = at_vf_fma(p, f, at_vf_set(0.2414427569f));
        p = at_vf_fma(p, f, at_vf_set(0.6930038345f));
        return at_vf_fma(p, f, at_vf_set(1.000002593f));
    }
    at_vf p = at_vf_fma(f, at_vf_set(0.001877576673f), at_vf_set(0.008989340095f));
    p = at_vf_fma(p, f, at_vf_set(0.05582631805f));
    p = at_vf_fma(p, f, at_vf_set(0.240153617f));
    p = at_vf_fma(p, f, at_vf_set(0.6931530732f));
    return at_vf_fma(p, f, at_vf_set(0.9999999251f));
}

/* 2^x for x <= 126. Below -126 it is 0 or tiny; what must be 0 exactly is set to 0 by its mask. */
#if defined(__AVX512F__)
AT_INLINE at_vf at_vf_exp2(at_vf x, const int degree)
{
    enum { FLOOR = 1 };
    at_vf p = at_vf_exp2_fraction((at_vf)_mm512_reduce_ps((__m512)x, FLOOR), degree);
    return (at_vf)_mm512_scalef_ps((__m512)p, (__m512)x); /* p * 2^floor(x) */
}
#else
AT_INLINE at_vf at_vf_exp2(at_vf x, const int degree)
{
    const at_vf magic = at_vf_set(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
    x = at_vf_max(at_vf_set(-126.0f), x);
    at_vf n = (x - at_vf_set(0.5f) + magic) - magic;
    at_vf p = at_vf_exp2_fraction(x - n, degree);
    return (at_vf)((at_vi)p + (__builtin_convertvector(n, at_vi) << 23));
}
#endif

#endif
