/* gram_simd.c -- bound by arithmetic: C / 2 multiply-adds for each element that is read.
 *
 * A block of positions is widened into panels of columns. A tile of the matrix is the product of
 * two panels; tiles below the diagonal are not computed but mirrored at the end. */
#include "kernels/columns.h"
#include "kernels/gram.h"
#include "kernels/variants.h"

AT_SIMD_DECLARE(at_gram);
AT_SIMD_DECLARE(at_gram_bwd);

_Static_assert((int)AT_COLUMN_WIDTH <= (int)AT_GRAM_PAD,
               "a panel may not be wider than the padding");

enum { W = AT_COLUMN_WIDTH, TILE = W * W, BLOCK_FLOATS = AT_GRAM_BLOCK * W };

typedef struct job {
    const at_gram_args *a;
    at_gram_plan p;
    float *matrices, *blocks;
    int64_t sample; /* the first of those that are worked on */
} job;

/* Tile (i, j), i <= j, of an upper triangle stored panel by panel; tile (0, n) is the end of n
 * panels. */
static float *tile_of(float *matrix, int64_t i, int64_t j)
{
    return matrix + (j * (j + 1) / 2 + i) * TILE;
}

/* matrix += x^T x over the positions of a block. */
static void add_block(const job *j, float *matrix, const float *block, int64_t n)
{
    int64_t panels = at_column_panels(j->p.channels);
    for (int64_t right = 0; right < panels; right++)
        for (int64_t left = 0; left <= right; left++)
            at_panel_add(tile_of(matrix, left, right), block + left * BLOCK_FLOATS, W,
                         block + right * BLOCK_FLOATS, n, W, AT_COLUMN_VECTORS, AT_PANEL_F32);
}

static void sum_parts(void *ctx, int64_t begin, int64_t end, int worker)
{
    const job *j = ctx;
    const at_view *x = &j->a->x;
    float *block = j->blocks + worker * at_gram_worker(&j->p);
    for (int64_t u = begin; u < end; u++) {
        float *matrix = j->matrices + u * at_gram_matrix(&j->p);
        int64_t b = j->sample + u / j->p.parts, first = u % j->p.parts * j->p.part;
        int64_t stop = first + j->p.part < j->p.positions ? first + j->p.part : j->p.positions;
        float *end_of_matrix = tile_of(matrix, 0, at_column_panels(j->p.channels));
        memset(matrix, 0, (size_t)(end_of_matrix - matrix) * sizeof *matrix);
        for (int64_t r = first; r < stop; r += AT_GRAM_BLOCK) {
            int64_t n = stop - r < AT_GRAM_BLOCK ? stop - r : AT_GRAM_BLOCK;
            at_columns_load(block, BLOCK_FLOATS, x, x->pitch, (b * j->p.positions + r) * x->pitch,
                            n, j->p.channels);
            add_block(j, matrix, block, n);
        }
    }
}

/* One row of a tile, all parts added up and scaled; columns that do not exist are left out, and
 * so is what lies below the diagonal of the matrix. */
static void finish_row(const job *j, int64_t b, const float *parts, int64_t row, int64_t col)
{
    const at_view *y = &j->a->y;
    int64_t channels = j->p.channels, top = b * channels;
    for (int v = 0; v < AT_COLUMN_VECTORS; v++) {
        at_vsum sum = { { 0 }, { 0 } };
        for (int64_t p = 0; p < j->p.parts; p++)
            at_vsum_add(&sum, at_panel_get(parts + p * at_gram_matrix(&j->p), v));
        double scale = (double)j->a->scale;
        at_vf all = at_vf_join(sum.low * scale, sum.high * scale);
        for (int lane = 0; lane < AT_LANES; lane++) {
            int64_t c = col + v * AT_LANES + lane;
            if (c < row || c >= channels)
                continue;
            ((float *)at_row(y, top + row))[c] = all[lane];
            ((float *)at_row(y, top + c))[row] = all[lane];
        }
    }
}

/* Rows of the matrices of all samples that are worked on. */
static void finish_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const job *j = ctx;
    int64_t panels = at_column_panels(j->p.channels);
    (void)worker;
    for (int64_t u = begin; u < end; u++) {
        int64_t s = u / j->p.channels, row = u % j->p.channels;
        float *parts = j->matrices + s * j->p.parts * at_gram_matrix(&j->p);
        for (int64_t right = row / W; right < panels; right++)
            finish_row(j, j->sample + s, tile_of(parts, row / W, right) + row % W * W, row,
                       right * W);
    }
}

at_status AT_SIMD(at_gram)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_gram_args *a = args;
    job j = { .a = a, .p = at_gram_plan_of(&a->x), .matrices = l->scratch };
    (void)p;
    j.blocks = j.matrices + j.p.together * j.p.parts * at_gram_matrix(&j.p);
    for (int64_t samples = a->x.size[0]; j.sample < samples; j.sample += j.p.together) {
        int64_t n = samples - j.sample < j.p.together ? samples - j.sample : j.p.together;
        at_parallel(l->stream, n * j.p.parts, 1, sum_parts, &j);
        at_parallel(l->stream, n * j.p.channels, 16, finish_rows, &j);
    }
    return AT_OK;
}

/* --- gradient --------------------------------------------------------------------------------- */

typedef struct bwd_job {
    const at_gram_bwd_args *a;
    at_gram_plan p;
    float *sides; /* scale * (dy + dy^T) of the sample, in panels (panels, C, W) */
    float *workers;
    int64_t sample;
} bwd_job;

static void add_sides(void *ctx, int64_t begin, int64_t end, int worker)
{
    const bwd_job *j = ctx;
    const at_view *dy = &j->a->dy;
    int64_t channels = j->p.channels, top = j->sample * channels;
    (void)worker;
    for (int64_t panel = begin; panel < end; panel++)
        for (int64_t k = 0; k < channels; k++) {
            float *out = j->sides + (panel * channels + k) * W;
            const float *across = at_row(dy, top + k);
            for (int64_t lane = 0; lane < W; lane++) {
                int64_t c = panel * W + lane;
                out[lane] = c < channels
                                ? j->a->scale * (across[c] + ((float *)at_row(dy, top + c))[k])
                                : 0;
            }
        }
}

static void store_rows(const bwd_job *j, const float *sums, int64_t row, int64_t n, int64_t col)
{
    const at_view *dx = &j->a->dx;
    for (int64_t r = 0; r < n; r++)
        for (int v = 0; v < AT_COLUMN_VECTORS; v++) {
            int64_t at = col + v * AT_LANES;
            at_vf_store_upto(dx->data, (row + r) * dx->pitch + at, dx->dtype,
                             at_panel_get(sums + r * W, v), j->p.channels - at);
        }
}

static void multiply_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const bwd_job *j = ctx;
    const at_view *x = &j->a->x;
    int64_t channels = j->p.channels, stride = j->p.padded,
            row = j->sample * j->p.positions + begin;
    float *rows = j->workers + worker * at_gram_bwd_worker(&j->p),
          *sums = rows + AT_GRAM_ROWS * stride;
    at_rows_load(rows, stride, (const char *)at_row(x, row), x->pitch, x->dtype, end - begin,
                 channels, channels);
    for (int64_t panel = 0; panel < at_column_panels(channels); panel++) {
        at_panel_dot(sums, rows, stride, j->sides + panel * channels * W, end - begin, channels,
                     AT_COLUMN_VECTORS, AT_PANEL_F32);
        store_rows(j, sums, row, end - begin, panel * W);
    }
}

at_status AT_SIMD(at_gram_bwd)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_gram_bwd_args *a = args;
    bwd_job j = { .a = a, .p = at_gram_plan_of(&a->x), .sides = l->scratch };
    (void)p;
    j.workers = j.sides + at_gram_matrix(&j.p);
    for (; j.sample < a->x.size[0]; j.sample++) {
        at_parallel(l->stream, at_column_panels(j.p.channels), 1, add_sides, &j);
        at_parallel(l->stream, j.p.positions, AT_GRAM_ROWS, multiply_rows, &j);
    }
    return AT_OK;
}
