/* channels_bwd_simd.c -- backward: sums over positions, then dx = dz * by_dz + u * by_u + by_1, u =
 * x - centre.
 *
 * dz, the gradient before the activation, is computed in both passes: that costs less than keeping
 * it. Bound by memory: x and dy are read twice (see channels.h), dx is written once. */
#include "kernels/channels_simd.h"

enum {
    ROWS = 64, /* positions summed in f32 before they are added up in f64 */
    CHUNK =
        256, /* channels at a time, so that their sums and coefficients stay in the first cache */
};

/* The coefficients of some channels. */
typedef struct coefficients {
    const float *of[AT_BACKWARD_COEFFICIENTS];
} coefficients;

static coefficients coefficients_from(const at_channels_numbers *n, int64_t c)
{
    coefficients k;
    for (int i = 0; i < AT_BACKWARD_COEFFICIENTS; i++)
        k.of[i] = n->coefficient[i] + c;
    return k;
}

/* act'(u * scale + shift) * dy. Coefficients are read for n channels only: what lies behind them
 * another thread may be writing. */
AT_INLINE at_vf before_activation(at_channels_act act, at_vf u, at_vf dy, const coefficients *k,
                                  int64_t c, int n)
{
    if (act == AT_CHANNELS_PLAIN)
        return dy;
    const at_vf one = at_vf_set(1.0f), zero = { 0 };
    at_vf z = at_vf_fma(u, at_vf_load_upto(k->of[AT_COEF_SCALE], c, AT_F32, n),
                        at_vf_load_upto(k->of[AT_COEF_SHIFT], c, AT_F32, n));
    if (act == AT_CHANNELS_RELU)
        return at_vf_select(z > zero, dy, zero);
    at_vf s = at_vf_sigmoid(z);
    return dy * s * at_vf_fma(z, one - s, one);
}

/* --- sums ------------------------------------------------------------------------------------- */

typedef struct pair {
    const char *x, *dy;
    size_t x_pitch, dy_pitch;
} pair;

static pair pair_at(const pair *p, int64_t row, int64_t col, at_dtype type)
{
    size_t bytes = at_dtype_bytes(type) * (size_t)col;
    return (pair){ p->x + (size_t)row * p->x_pitch + bytes,
                   p->dy + (size_t)row * p->dy_pitch + bytes, p->x_pitch, p->dy_pitch };
}

/* Four rows, or one; n channels from c. */
AT_INLINE void add_rows(at_dtype type, at_channels_act act, int rows, const pair *p, int64_t c,
                        int n, const coefficients *k, float *dz_sum, float *product_sum,
                        float *xhat_sum)
{
    at_vf scale = at_vf_load_upto(k->of[AT_COEF_XHAT_SCALE], c, AT_F32, n);
    at_vf shift = at_vf_load_upto(k->of[AT_COEF_XHAT_SHIFT], c, AT_F32, n);
    at_vf s = at_vf_load(dz_sum, c, AT_F32), q = at_vf_load(product_sum, c, AT_F32);
    at_vf h = at_vf_load(xhat_sum, c, AT_F32),
          centre = at_vf_load_upto(k->of[AT_COEF_CENTRE], c, AT_F32, n);
    for (int r = 0; r < rows; r++) {
        at_vf u = at_vf_load_upto(p->x + (size_t)r * p->x_pitch, c, type, n) - centre;
        at_vf dy = at_vf_load_upto(p->dy + (size_t)r * p->dy_pitch, c, type, n);
        at_vf dz = before_activation(act, u, dy, k, c, n), xhat = at_vf_fma(u, scale, shift);
        s += dz;
        q = at_vf_fma(dz, xhat, q);
        h += xhat;
    }
    at_vf_store(dz_sum, c, AT_F32, s);
    at_vf_store(product_sum, c, AT_F32, q);
    at_vf_store(xhat_sum, c, AT_F32, h);
}

AT_INLINE void add_block(at_dtype type, at_channels_act act, const pair *p, int64_t rows,
                         int64_t cols, const coefficients *k, double *const *total)
{
    float sum[AT_BACKWARD_SUMS][CHUNK];
    int64_t r = 0, whole = cols / AT_LANES * AT_LANES;
    for (int i = 0; i < AT_BACKWARD_SUMS; i++)
        memset(sum[i], 0, sizeof sum[i]);
    while (r < rows) {
        pair at = pair_at(p, r, 0, type);
        int step = rows - r >= 4 ? 4 : 1;
        for (int64_t c = 0; c < whole && step == 4; c += AT_LANES)
            add_rows(type, act, 4, &at, c, AT_LANES, k, sum[0], sum[1], sum[2]);
        for (int64_t c = 0; c < whole && step == 1; c += AT_LANES)
            add_rows(type, act, 1, &at, c, AT_LANES, k, sum[0], sum[1], sum[2]);
        if (whole < cols)
            add_rows(type, act, step, &at, whole, (int)(cols - whole), k, sum[0], sum[1], sum[2]);
        r += step;
    }
    for (int i = 0; i < AT_BACKWARD_SUMS; i++)
        for (int64_t c = 0; c < cols; c++)
            total[i][c] += (double)sum[i][c];
}

AT_INLINE void add_piece(at_dtype type, at_channels_act act, const pair *p, int64_t rows,
                         int64_t cols, const at_channels_numbers *n, int64_t at)
{
    for (int64_t r = 0; r < rows; r += ROWS)
        for (int64_t c = 0; c < cols; c += CHUNK) {
            pair from = pair_at(p, r, c, type);
            coefficients k = coefficients_from(n, at + c);
            double *total[AT_BACKWARD_SUMS];
            for (int i = 0; i < AT_BACKWARD_SUMS; i++)
                total[i] = n->sum[i] + at + c;
            add_block(type, act, &from, rows - r < ROWS ? rows - r : ROWS,
                      cols - c < CHUNK ? cols - c : CHUNK, &k, total);
        }
}

/* --- dx --------------------------------------------------------------------------------------- */

AT_INLINE void write_vector(at_dtype type, at_channels_act act, void *dx, const pair *p, int64_t c,
                            int n, const coefficients *k)
{
    at_vf dy = at_vf_load_upto(p->dy, c, type, n);
    at_vf u =
        at_vf_load_upto(p->x, c, type, n) - at_vf_load_upto(k->of[AT_COEF_CENTRE], c, AT_F32, n);
    at_vf v = at_vf_fma(u, at_vf_load_upto(k->of[AT_COEF_U], c, AT_F32, n),
                        at_vf_load_upto(k->of[AT_COEF_1], c, AT_F32, n));
    at_vf dz = before_activation(act, u, dy, k, c, n);
    v = at_vf_fma(dz, at_vf_load_upto(k->of[AT_COEF_DZ], c, AT_F32, n), v);
    at_vf_store_upto(dx, c, type, v, n);
}

AT_INLINE void write_piece(at_dtype type, at_channels_act act, char *dx, size_t dx_pitch,
                           const pair *p, int64_t rows, int64_t cols, const coefficients *k)
{
    for (int64_t r = 0; r < rows; r++, dx += dx_pitch) {
        pair at = pair_at(p, r, 0, type);
        int64_t c = 0;
        for (; c + AT_LANES <= cols; c += AT_LANES)
            write_vector(type, act, dx, &at, c, AT_LANES, k);
        if (c < cols)
            write_vector(type, act, dx, &at, c, (int)(cols - c), k);
    }
}

/* --- one piece in its type and with its activation -------------------------------------------- */

typedef struct piece_job {
    pair from;
    char *dx; /* NULL: the first pass */
    size_t dx_pitch;
    int64_t rows, cols, at;
    const at_channels_numbers *n;
} piece_job;

AT_INLINE void run_piece(at_dtype type, at_channels_act act, const piece_job *j)
{
    coefficients k = coefficients_from(j->n, j->at);
    if (j->dx)
        write_piece(type, act, j->dx, j->dx_pitch, &j->from, j->rows, j->cols, &k);
    else
        add_piece(type, act, &j->from, j->rows, j->cols, j->n, j->at);
}

AT_INLINE void run_piece_of(at_channels_act act, at_dtype type, const piece_job *j)
{
    if (type == AT_F32)
        run_piece(AT_F32, act, j);
    else if (type == AT_BF16)
        run_piece(AT_BF16, act, j);
    else
        run_piece(AT_F16, act, j);
}

/* Rows [row, row + rows) of channels [begin, end): their sums, or their dx. */
static void pass_channels(const at_channels *job, bool write, int64_t row, int64_t rows,
                          int64_t begin, int64_t end, const at_channels_numbers *n)
{
    for (int i = 0; i < AT_BACKWARD_SUMS && !write; i++)
        memset(n->sum[i] + begin, 0, sizeof *n->sum[i] * (size_t)(end - begin));
    for (int i = 0; i < 2; i++) {
        at_piece p = at_piece_of(&job->x, &job->x2, i, begin, end);
        const at_view *dx = i ? &job->dx2 : &job->dx;
        if (p.cols <= 0 || (write && !at_has(dx)))
            continue;
        size_t bytes = at_dtype_bytes(p.view->dtype);
        piece_job j = { .from = { at_element(p.view, row, p.first), at_element(&job->dy, row, p.at),
                                  (size_t)p.view->pitch * bytes, (size_t)job->dy.pitch * bytes },
                        .dx = write ? at_element(dx, row, p.first) : NULL,
                        .dx_pitch = (size_t)dx->pitch * bytes,
                        .rows = rows,
                        .cols = p.cols,
                        .at = p.at,
                        .n = n };
        if (job->act == AT_CHANNELS_SILU)
            run_piece_of(AT_CHANNELS_SILU, p.view->dtype, &j);
        else if (job->act == AT_CHANNELS_RELU)
            run_piece_of(AT_CHANNELS_RELU, p.view->dtype, &j);
        else
            run_piece_of(AT_CHANNELS_PLAIN, p.view->dtype, &j);
    }
}

/* --- the steps -------------------------------------------------------------------------------- */

typedef struct turn {
    const at_channels *job;
    void *scratch;
    int64_t first; /* the turn's first sample */
    bool write;    /* which pass */
} turn;

static at_channels_numbers numbers_of(const turn *t, int64_t i, int64_t part)
{
    return at_channels_numbers_of(&t->job->cut, AT_CHANNELS_BACKWARD, t->scratch, i, part);
}

static void finish_channels(const turn *t, int64_t i, int64_t begin, int64_t end)
{
    at_channels_numbers all = numbers_of(t, i, 0);
    for (int64_t p = 1; p < at_channels_parts(&t->job->cut); p++) {
        at_channels_numbers n = numbers_of(t, i, p);
        for (int k = 0; k < AT_BACKWARD_SUMS; k++)
            for (int64_t c = begin; c < end; c++)
                all.sum[k][c] += n.sum[k][c];
    }
    t->job->finish(t->job, t->first + i, begin, end, &all);
}

static void slab_units(void *ctx, int64_t begin, int64_t end, int worker)
{
    const turn *t = ctx;
    const at_channels_cut *cut = &t->job->cut;
    int64_t slabs = at_channels_slabs(cut);
    (void)worker;
    for (int64_t u = begin; u < end; u++) {
        int64_t i = u / slabs, c0 = u % slabs * cut->slab, row = (t->first + i) * cut->rows;
        int64_t c1 = c0 + cut->slab < cut->cols ? c0 + cut->slab : cut->cols;
        at_channels_numbers n = numbers_of(t, i, 0);
        t->job->start(t->job, t->first + i, c0, c1, &n);
        pass_channels(t->job, false, row, cut->rows, c0, c1, &n);
        finish_channels(t, i, c0, c1);
        pass_channels(t->job, true, row, cut->rows, c0, c1, &n);
    }
}

static void start_units(void *ctx, int64_t begin, int64_t end, int worker)
{
    const turn *t = ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        at_channels_numbers n = numbers_of(t, i, 0);
        t->job->start(t->job, t->first + i, 0, t->job->cut.cols, &n);
    }
}

static void pass_units(void *ctx, int64_t begin, int64_t end, int worker)
{
    const turn *t = ctx;
    const at_channels_cut *cut = &t->job->cut;
    int64_t parts = at_channels_parts(cut);
    (void)worker;
    for (int64_t u = begin; u < end; u++) {
        int64_t i = u / parts, r = u % parts * cut->part;
        int64_t rows = cut->rows - r < cut->part ? cut->rows - r : cut->part;
        at_channels_numbers n = numbers_of(t, i, u % parts);
        pass_channels(t->job, t->write, (t->first + i) * cut->rows + r, rows, 0, cut->cols, &n);
    }
}

static void finish_units(void *ctx, int64_t begin, int64_t end, int worker)
{
    const turn *t = ctx;
    const at_channels_cut *cut = &t->job->cut;
    int64_t pieces = at_channels_finishes(cut);
    (void)worker;
    for (int64_t u = begin; u < end; u++) {
        int64_t c0 = u % pieces * cut->finish, c1 = c0 + cut->finish;
        finish_channels(t, u / pieces, c0, c1 < cut->cols ? c1 : cut->cols);
    }
}

/* Sample after sample, in order. */
static void add_totals(const turn *t, int64_t n, double *total, int64_t stride)
{
    for (int64_t i = 0; i < n; i++) {
        at_channels_numbers all = numbers_of(t, i, 0);
        for (int64_t c = 0; c < t->job->cut.cols; c++) {
            total[c] += all.sum[AT_SUM_DZ_XHAT][c];
            total[stride + c] += all.sum[AT_SUM_DZ][c];
        }
    }
}

void AT_SIMD(at_channels_backward)(const at_channels *job, const at_launch *l)
{
    const at_channels_cut *cut = &job->cut;
    turn t = { job, l->scratch, 0, false };
    int64_t parts = at_channels_parts(cut), slabs = at_channels_slabs(cut);
    int64_t stride = at_channels_stride(cut);
    double *total = at_channels_totals(cut, AT_CHANNELS_BACKWARD, l->scratch);
    memset(total, 0, sizeof *total * (size_t)(2 * stride));
    for (; t.first < cut->batch; t.first += cut->turn) {
        int64_t n = cut->batch - t.first < cut->turn ? cut->batch - t.first : cut->turn;
        if (parts == 1) {
            at_parallel(l->stream, n * slabs, 1, slab_units, &t);
        } else {
            at_parallel(l->stream, n, 1, start_units, &t);
            t.write = false;
            at_parallel(l->stream, n * parts, 1, pass_units, &t);
            at_parallel(l->stream, n * at_channels_finishes(cut), 1, finish_units, &t);
            t.write = true;
            at_parallel(l->stream, n * parts, 1, pass_units, &t);
        }
        add_totals(&t, n, total, stride);
    }
    for (int64_t c = 0; c < cut->cols; c++) {
        if (at_has(&job->dgamma))
            at_set(&job->dgamma, 0, c, total[c]);
        if (at_has(&job->dbeta))
            at_set(&job->dbeta, 0, c, total[stride + c]);
    }
}
