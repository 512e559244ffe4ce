/* linear_few_simd.c -- linear for a few rows, as when a token is decoded: bound by reading the
 * weights.
 *
 * They are read once for all rows, as they are stored. A row's sums are dot products of their own,
 * so its bytes do not depend on the other rows. */
#include "kernels/linear_variants.h"
#include "kernels/product.h"

AT_SIMD_DECLARE(at_linear_few);

enum { BLOCK = AT_FEW_BLOCK, TILE = 4 }; /* weight rows of a part; rows of a tile, both ways */
_Static_assert(BLOCK % TILE == 0, "whole tiles");

typedef struct few {
    const at_linear_args *a;
    at_epilogue end;
    const float *x; /* (rows, stride) f32, zeros past K */
    int64_t rows, stride, depth;
    char *sums; /* per worker (rows, BLOCK) */
    size_t sums_worker;
    float *part_amax;
} few;

/* sums[m][n] = x[m] . w[n] for mb rows of x and TILE rows of w; the rows past 'nb' are read
 * again. */
AT_INLINE void dot_tile(float *sums, const float *x, int64_t stride, const void *w, int64_t pitch,
                        int64_t depth, const int mb, int64_t nb, const at_dtype type)
{
    at_vf sum[TILE][TILE];
    int64_t at[TILE], k = 0;
    AT_UNROLL for (int n = 0; n < TILE; n++)
    {
        at[n] = (n < nb ? n : 0) * pitch;
        AT_UNROLL for (int m = 0; m < mb; m++) sum[m][n] = (at_vf){ 0 };
    }
    for (; k + AT_LANES <= depth; k += AT_LANES) {
        at_vf b[TILE];
        AT_UNROLL for (int n = 0; n < TILE; n++) b[n] = at_vf_load(w, at[n] + k, type);
        AT_UNROLL for (int m = 0; m < mb; m++)
        {
            at_vf a = at_vf_load(x, m * stride + k, AT_F32);
            AT_UNROLL for (int n = 0; n < TILE; n++) sum[m][n] = at_vf_fma(a, b[n], sum[m][n]);
        }
    }
    AT_UNROLL for (int n = 0; n < TILE; n++)
    {
        at_vf b = at_vf_load_upto(w, at[n] + k, type, depth - k);
        AT_UNROLL for (int m = 0; m < mb; m++)
        {
            at_vf a = at_vf_load(x, m * stride + k, AT_F32);
            sums[m * BLOCK + n] = at_vf_sum(at_vf_fma(a, b, sum[m][n]));
        }
    }
}

AT_INLINE void block_as(float *sums, const few *f, int64_t first, const at_dtype type, int64_t n)
{
    const at_view *w = &f->a->w;
    for (int64_t i = 0; i < n; i += TILE) {
        const void *rows = at_row(w, first + i);
        int64_t m = 0, nb = n - i;
        for (; m + TILE <= f->rows; m += TILE)
            dot_tile(sums + m * BLOCK + i, f->x + m * f->stride, f->stride, rows, w->pitch,
                     f->depth, TILE, nb, type);
        for (; m < f->rows; m++)
            dot_tile(sums + m * BLOCK + i, f->x + m * f->stride, f->stride, rows, w->pitch,
                     f->depth, 1, nb, type);
    }
}

static void run_block(void *ctx, int64_t begin, int64_t end, int worker)
{
    const few *f = ctx;
    float *sums = (float *)(void *)(f->sums + (size_t)worker * f->sums_worker);
    for (int64_t i = begin; i < end; i++) {
        int64_t first = i * BLOCK, n = f->a->w.size[0] - first;
        n = n < BLOCK ? n : BLOCK;
        for (int64_t m = 0; m < f->rows; m++)
            memset(sums + m * BLOCK, 0, BLOCK * sizeof *sums);
        AT_OF_TYPE(f->a->w.dtype, block_as, (sums, f, first), n);
        /* What a tile computed past n is not stored; it must not count in the largest either. */
        for (int64_t m = 0; m < f->rows && n < BLOCK; m++)
            memset(sums + m * BLOCK + n, 0, (size_t)(BLOCK - n) * sizeof *sums);
        f->part_amax[i] = at_finish(&f->end, sums, BLOCK, 0, f->rows, first, n);
    }
}

at_status AT_SIMD(at_linear_few)(const void *args, const at_prepared *prepared, const at_launch *l)
{
    const at_linear_args *a = args;
    at_few_layout lay = at_few_layout_of(a, l->stream->threads);
    float *x = l->scratch, largest = 0;
    few f = { .a = a, .x = x, .rows = at_rows(&a->x), .stride = lay.stride };
    (void)prepared;
    f.depth = at_cols(&a->x);
    f.end = (at_epilogue){ a->y, a->z, a->residual, a->bias, a->act, at_has(&a->y_amax) };
    f.part_amax = (float *)(void *)((char *)l->scratch + lay.x);
    f.sums = (char *)f.part_amax + lay.amax;
    f.sums_worker = lay.worker;
    at_rows_load(x, f.stride, a->x.data, a->x.pitch, a->x.dtype, f.rows, f.depth, f.stride);
    int64_t blocks = (a->w.size[0] + BLOCK - 1) / BLOCK;
    at_parallel(l->stream, blocks, 1, run_block, &f);
    for (int64_t i = 0; i < blocks; i++)
        largest = f.part_amax[i] > largest ? f.part_amax[i] : largest;
    if (at_has(&a->y_amax))
        *(float *)a->y_amax.data = largest;
    return AT_OK;
}
