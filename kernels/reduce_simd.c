/* reduce_simd.c -- bound by memory: x is read once. Going down, four rows at a time are added to a
 * row of sums that stays in the core's first cache; along a row, sums are kept in doubles.
 * Broadcasting writes rows that are converted once, or a pattern of short ones. */
#include "kernels/reduce.h"

#include "kernels/convert.h"
#include "kernels/spread.h"
#include "kernels/variants.h"

AT_SIMD_DECLARE(at_reduce);
AT_SIMD_DECLARE(at_broadcast);

enum { FOLD_MAX = 32, FINISH = 256 };

typedef struct job {
    const at_reduce_args *a;
    at_reduce_walk w;
    double count; /* what a sum is divided by */
    void *scratch;
} job;

/* --- down: rows are added up to one ----------------------------------------------------------- */

AT_INLINE at_vf add(int kind, at_vf sum, at_vf x)
{
    return kind == AT_SUM_SQUARES ? at_vf_fma(x, x, sum) : sum + x;
}

/* sum[0..n) += 'rows' rows of x. */
AT_INLINE void add_rows(int kind, at_dtype type, float *sum, const void *x, int64_t step,
                        int64_t rows, int64_t n)
{
    int64_t r = 0, i;
    const int rest = (int)(n % AT_LANES);
    for (; r + 4 <= rows; r += 4) {
        int64_t at[4] = { r * step, (r + 1) * step, (r + 2) * step, (r + 3) * step };
        for (i = 0; i + AT_LANES <= n; i += AT_LANES) {
            at_vf s = at_vf_load(sum, i, AT_F32);
            for (int k = 0; k < 4; k++)
                s = add(kind, s, at_vf_load(x, at[k] + i, type));
            at_vf_store(sum, i, AT_F32, s);
        }
        if (!rest)
            continue;
        at_vf s = at_vf_load_n(sum, i, AT_F32, rest, 0);
        for (int k = 0; k < 4; k++)
            s = add(kind, s, at_vf_load_n(x, at[k] + i, type, rest, 0));
        at_vf_store_n(sum, i, AT_F32, s, rest);
    }
    for (; r < rows; r++) {
        for (i = 0; i + AT_LANES <= n; i += AT_LANES)
            at_vf_store(sum, i, AT_F32,
                        add(kind, at_vf_load(sum, i, AT_F32), at_vf_load(x, r * step + i, type)));
        if (!rest)
            continue;
        at_vf s = at_vf_load_n(sum, i, AT_F32, rest, 0);
        s = add(kind, s, at_vf_load_n(x, r * step + i, type, rest, 0));
        at_vf_store_n(sum, i, AT_F32, s, rest);
    }
}

AT_INLINE void add_rows_as(int kind, at_dtype type, float *sum, const void *x, int64_t step,
                           int64_t rows, int64_t n)
{
    if (type == AT_F32)
        add_rows(kind, AT_F32, sum, x, step, rows, n);
    else if (type == AT_BF16)
        add_rows(kind, AT_BF16, sum, x, step, rows, n);
    else
        add_rows(kind, AT_F16, sum, x, step, rows, n);
}

static void add_rows_of(int kind, at_dtype type, float *sum, const void *x, int64_t step,
                        int64_t rows, int64_t n)
{
    if (kind == AT_SUM_SQUARES)
        add_rows_as(AT_SUM_SQUARES, type, sum, x, step, rows, n);
    else
        add_rows_as(AT_SUM, type, sum, x, step, rows, n);
}

/* Short rows that lie together: as many as fill a tile are one row first, folded at the end. */
static void add_short_rows(int kind, at_dtype type, float *sum, const void *x, int64_t rows,
                           int64_t cols)
{
    int64_t width = AT_REDUCE_TILE / cols * cols, n = rows * cols, whole = n / width * width;
    add_rows_of(kind, type, sum, x, width, n / width, width);
    add_rows_of(kind, type, sum, (const char *)x + (size_t)whole * at_dtype_bytes(type), width,
                n > whole, n - whole);
    for (int64_t i = cols; i < width; i++)
        sum[i % cols] += sum[i];
}

/* y[first .. first + n) of group g from 'n' sums, one every 'step' floats for each of 'parts'. */
static void finish_down(const job *j, int64_t g, int64_t first, int64_t n, const float *sums,
                        int64_t parts, int64_t step)
{
    const at_reduce_args *a = j->a;
    float *y = (float *)at_row(&a->y, g) + first;
    const float *acc = at_has(&a->acc) ? (const float *)at_row(&a->acc, g) + first : NULL;
    for (int64_t begin = 0; begin < n; begin += FINISH) {
        int64_t m = n - begin < FINISH ? n - begin : FINISH;
        double total[FINISH] = { 0 };
        for (int64_t k = 0; k < parts; k++)
            for (int64_t i = 0; i < m; i++)
                total[i] += (double)sums[k * step + begin + i];
        for (int64_t i = 0; i < m; i++)
            y[begin + i] = (float)(total[i] / j->count + (acc ? (double)acc[begin + i] : 0));
    }
}

/* Part i is tile i % tiles of block i / tiles % blocks of a group. */
static void down_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    const job *j = ctx;
    const at_reduce_walk *w = &j->w;
    const at_view *x = &j->a->x;
    int64_t block = at_reduce_block(w), blocks = at_reduce_blocks(w);
    int64_t tiles = (w->cols + AT_REDUCE_TILE - 1) / AT_REDUCE_TILE;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int64_t g = i / tiles / blocks, r = i / tiles % blocks * block;
        int64_t c = i % tiles * AT_REDUCE_TILE;
        int64_t rows = w->rows - r < block ? w->rows - r : block;
        int64_t cols = w->cols - c < AT_REDUCE_TILE ? w->cols - c : AT_REDUCE_TILE;
        int64_t first = g * w->group_step + r * w->step + c;
        const void *from = (const char *)x->data + (size_t)first * at_dtype_bytes(x->dtype);
        float sum[AT_REDUCE_TILE] = { 0 };
        if (w->step == w->cols && w->cols <= FOLD_MAX)
            add_short_rows(j->a->kind, x->dtype, sum, from, rows, cols);
        else
            add_rows_of(j->a->kind, x->dtype, sum, from, w->step, rows, cols);
        if (blocks == 1)
            finish_down(j, g, c, cols, sum, 1, 0);
        else
            memcpy((float *)j->scratch + (g * blocks + i / tiles % blocks) * w->cols + c, sum,
                   (size_t)cols * sizeof *sum);
    }
}

/* Part i is stretch i % stretches of the columns of a group. */
static void down_end(void *ctx, int64_t begin, int64_t end, int worker)
{
    const job *j = ctx;
    int64_t cols = j->w.cols, stretches = (cols + FINISH - 1) / FINISH;
    int64_t blocks = at_reduce_blocks(&j->w);
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int64_t g = i / stretches, c = i % stretches * FINISH;
        finish_down(j, g, c, cols - c < FINISH ? cols - c : FINISH,
                    (const float *)j->scratch + g * blocks * cols + c, blocks, cols);
    }
}

static void run_down(job *j, const at_stream *stream)
{
    const at_reduce_walk *w = &j->w;
    int64_t tiles = (w->cols + AT_REDUCE_TILE - 1) / AT_REDUCE_TILE;
    int64_t tile = w->cols < AT_REDUCE_TILE ? w->cols : AT_REDUCE_TILE;
    int64_t rows = w->rows < at_reduce_block(w) ? w->rows : at_reduce_block(w);
    int64_t grain = AT_REDUCE_PART / 4 / (tile * rows);
    at_parallel(stream, w->groups * at_reduce_blocks(w) * tiles, grain > 1 ? grain : 1, down_part,
                j);
    if (at_reduce_blocks(w) > 1)
        at_parallel(stream, w->groups * ((w->cols + FINISH - 1) / FINISH), 4, down_end, j);
}

/* --- along: rows are added up to numbers ------------------------------------------------------ */

AT_INLINE void add_vector(int kind, at_vsum *sum, at_vf x)
{
    if (kind == AT_SUM_SQUARES)
        at_vsum_add_square(sum, x);
    else
        at_vsum_add(sum, x);
}

AT_INLINE double sum_of(int kind, at_dtype type, const void *x, int64_t n)
{
    at_vsum even = { { 0 }, { 0 } }, odd = { { 0 }, { 0 } };
    int64_t i = 0;
    for (; i + 2 * AT_LANES <= n; i += 2 * AT_LANES) {
        add_vector(kind, &even, at_vf_load(x, i, type));
        add_vector(kind, &odd, at_vf_load(x, i + AT_LANES, type));
    }
    if (i + AT_LANES <= n) {
        add_vector(kind, &even, at_vf_load(x, i, type));
        i += AT_LANES;
    }
    int rest = (int)(n - i);
    if (rest)
        add_vector(kind, &odd, at_vf_load_n(x, i, type, rest, 0));
    even.low += odd.low;
    even.high += odd.high;
    return at_vsum_total(&even);
}

AT_INLINE double sum_of_type(int kind, at_dtype type, const void *x, int64_t n)
{
    if (type == AT_F32)
        return sum_of(kind, AT_F32, x, n);
    if (type == AT_BF16)
        return sum_of(kind, AT_BF16, x, n);
    return sum_of(kind, AT_F16, x, n);
}

static double sum_of_kind(int kind, at_dtype type, const void *x, int64_t n)
{
    return kind == AT_SUM_SQUARES ? sum_of_type(AT_SUM_SQUARES, type, x, n)
                                  : sum_of_type(AT_SUM, type, x, n);
}

static void finish_along(const job *j, int64_t i, double sum)
{
    double acc = at_has(&j->a->acc) ? (double)((const float *)j->a->acc.data)[i] : 0;
    ((float *)j->a->y.data)[i] = (float)(sum / j->count + acc);
}

/* Part i is piece i % pieces of row i / pieces. */
static void along_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    const job *j = ctx;
    const at_view *x = &j->a->x;
    int64_t pieces = at_reduce_pieces(&j->w);
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        int64_t c = i % pieces * AT_REDUCE_ALONG, first = i / pieces * j->w.pitch + c;
        int64_t n = j->w.cols - c < AT_REDUCE_ALONG ? j->w.cols - c : AT_REDUCE_ALONG;
        const char *from = (const char *)x->data + (size_t)first * at_dtype_bytes(x->dtype);
        double sum = sum_of_kind(j->a->kind, x->dtype, from, n);
        if (j->scratch)
            ((double *)j->scratch)[i] = sum;
        else
            finish_along(j, i, sum);
    }
}

static void run_along(job *j, const at_stream *stream)
{
    int64_t pieces = at_reduce_pieces(&j->w), n = j->w.groups * pieces;
    int64_t grain = AT_REDUCE_ALONG / j->w.cols;
    at_parallel(stream, n, grain > 1 ? grain : 1, along_part, j);
    if (!j->scratch)
        return;
    int64_t outputs = at_elements(&j->a->y), each = n / outputs;
    for (int64_t i = 0; i < outputs; i++) {
        double sum = 0;
        for (int64_t k = 0; k < each; k++)
            sum += ((const double *)j->scratch)[i * each + k];
        finish_along(j, i, sum);
    }
}

at_status AT_SIMD(at_reduce)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_reduce_args *a = args;
    job j = { a, at_reduce_walk_of(a), 1, p->scratch_bytes ? l->scratch : NULL };
    if (a->kind == AT_MEAN)
        j.count = (double)at_elements(&a->x) / (double)at_elements(&a->y);
    if (j.w.down)
        run_down(&j, l->stream);
    else
        run_along(&j, l->stream);
    return AT_OK;
}

/* --- broadcast -------------------------------------------------------------------------------- */

enum { PART = 16384 }; /* elements */

typedef struct broadcast_job {
    const at_broadcast_args *a;
    at_spread_map map;
    float scale;
} broadcast_job;

/* x's row s, converted, repeated. */
static void fill_pattern(const broadcast_job *j, int64_t s, char *pattern)
{
    const at_view *x = &j->a->x;
    at_dtype to = j->a->y.dtype;
    int64_t n = j->map.period, all = AT_PATTERN + n;
    size_t bytes = at_dtype_bytes(to);
    AT_SIMD(at_convert)
    (pattern, to, (const char *)x->data + (size_t)(s * j->map.pitch) * at_dtype_bytes(x->dtype),
     x->dtype, n, j->scale);
    for (int64_t have = n; have < all; have *= 2)
        memcpy(pattern + (size_t)have * bytes, pattern,
               (size_t)(have < all - have ? have : all - have) * bytes);
}

static void broadcast_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    const broadcast_job *j = ctx;
    const at_view *x = &j->a->x, *y = &j->a->y;
    const at_spread_map *m = &j->map;
    _Alignas(64) char pattern[(AT_PATTERN + AT_PATTERN_PERIOD_MAX) * sizeof(float)];
    int64_t patterned = -1;
    size_t bytes = at_dtype_bytes(y->dtype);
    (void)worker;
    for (int64_t e = begin, n; e < end; e += n) {
        int64_t s = at_spread_row(m, e);
        char *to = (char *)y->data + (size_t)at_spread_index(m, y, e) * bytes;
        n = at_spread_run(m, e, end);
        if (!m->period) {
            int64_t first = s * m->pitch + e % m->cols;
            AT_SIMD(at_convert)
            (to, y->dtype, (const char *)x->data + (size_t)first * at_dtype_bytes(x->dtype),
             x->dtype, n, j->scale);
            continue;
        }
        if (s != patterned)
            fill_pattern(j, s, pattern);
        patterned = s;
        memcpy(to, pattern + (size_t)(e % m->cols % m->period) * bytes, (size_t)n * bytes);
    }
}

at_status AT_SIMD(at_broadcast)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_broadcast_args *a = args;
    broadcast_job j = { a, at_spread_map_of(&a->y, &a->x, a->spread, at_dense(&a->y)),
                        a->scale != 0 ? a->scale : 1.0f };
    (void)p;
    at_parallel(l->stream, at_elements(&a->y), PART, broadcast_part, &j);
    return AT_OK;
}
