/* channels_simd.c -- forward: sums over positions, then y = act((x - centre) * scale + shift).
 *
 * Bound by memory: x is read twice, from a core's own cache the second time where a slab fits it,
 * and y is written once. */
#include "kernels/channels_simd.h"

enum {
    ROWS = 64,   /* positions summed in f32 before they are added up in f64 */
    CHUNK = 512, /* channels at a time, so that their sums stay in the first cache */
};

/* --- sums ------------------------------------------------------------------------------------- */

/* Sums of d and d^2, d = x - shift, of four rows (or one: 'rows'), n channels from c. */
AT_INLINE void add_rows(at_dtype type, int rows, const char *x, size_t pitch, int64_t c, int n,
                        const float *shift, float *sum, float *squares)
{
    at_vf k = at_vf_load(shift, c, AT_F32), s = at_vf_load(sum, c, AT_F32);
    at_vf q = at_vf_load(squares, c, AT_F32);
    at_vf d0 = at_vf_load_upto(x, c, type, n) - k;
    if (rows == 4) {
        at_vf d1 = at_vf_load_upto(x + pitch, c, type, n) - k;
        at_vf d2 = at_vf_load_upto(x + 2 * pitch, c, type, n) - k;
        at_vf d3 = at_vf_load_upto(x + 3 * pitch, c, type, n) - k;
        s += (d0 + d1) + (d2 + d3);
        q = at_vf_fma(d0, d0, at_vf_fma(d1, d1, q));
        q = at_vf_fma(d2, d2, at_vf_fma(d3, d3, q));
    } else {
        s += d0;
        q = at_vf_fma(d0, d0, q);
    }
    at_vf_store(sum, c, AT_F32, s);
    at_vf_store(squares, c, AT_F32, q);
}

AT_INLINE void add_row_group(at_dtype type, int rows, const char *x, size_t pitch, int64_t cols,
                             const float *shift, float *sum, float *squares)
{
    int64_t c = 0;
    for (; c + AT_LANES <= cols; c += AT_LANES)
        add_rows(type, rows, x, pitch, c, AT_LANES, shift, sum, squares);
    if (c < cols)
        add_rows(type, rows, x, pitch, c, (int)(cols - c), shift, sum, squares);
}

/* Adds the sums of up to ROWS rows. The first row is taken off before squaring: as it is one of the
 * values, what cancels is at most ROWS times what is left, however far the mean is from zero. */
AT_INLINE void add_block(at_dtype type, const char *x, size_t pitch, int64_t rows, int64_t cols,
                         double *total, double *total_squares)
{
    float shift[CHUNK], sum[CHUNK], squares[CHUNK];
    int64_t r = 0;
    for (int64_t c = 0; c < cols; c += AT_LANES) {
        int n = cols - c < AT_LANES ? (int)(cols - c) : AT_LANES;
        at_vf_store(shift, c, AT_F32, at_vf_load_upto(x, c, type, n));
        at_vf_store(sum, c, AT_F32, (at_vf){ 0 });
        at_vf_store(squares, c, AT_F32, (at_vf){ 0 });
    }
    for (; r + 4 <= rows; r += 4)
        add_row_group(type, 4, x + (size_t)r * pitch, pitch, cols, shift, sum, squares);
    for (; r < rows; r++)
        add_row_group(type, 1, x + (size_t)r * pitch, pitch, cols, shift, sum, squares);
    for (int64_t c = 0; c < cols; c++) {
        double k = (double)shift[c], s = (double)sum[c], all = s + (double)rows * k;
        total[c] += all;
        total_squares[c] += (double)squares[c] + k * (s + all);
    }
}

AT_INLINE void add_piece(at_dtype type, const char *x, size_t pitch, int64_t rows, int64_t cols,
                         double *total, double *total_squares)
{
    for (int64_t r = 0; r < rows; r += ROWS)
        for (int64_t c = 0; c < cols; c += CHUNK)
            add_block(type, x + (size_t)r * pitch + (size_t)c * at_dtype_bytes(type), pitch,
                      rows - r < ROWS ? rows - r : ROWS, cols - c < CHUNK ? cols - c : CHUNK,
                      total + c, total_squares + c);
}

/* Rows [row, row + rows) of channels [begin, end) into n. */
static void sum_channels(const at_channels *job, int64_t row, int64_t rows, int64_t begin,
                         int64_t end, const at_channels_numbers *n)
{
    double *sum = n->sum[AT_SUM_X], *squares = n->sum[AT_SUM_XX];
    memset(sum + begin, 0, sizeof *sum * (size_t)(end - begin));
    memset(squares + begin, 0, sizeof *squares * (size_t)(end - begin));
    for (int i = 0; i < 2; i++) {
        at_piece p = at_piece_of(&job->x, &job->x2, i, begin, end);
        if (p.cols <= 0)
            continue;
        size_t pitch = (size_t)p.view->pitch * at_dtype_bytes(p.view->dtype);
        const char *x = at_element(p.view, row, p.first);
        if (p.view->dtype == AT_F32)
            add_piece(AT_F32, x, pitch, rows, p.cols, sum + p.at, squares + p.at);
        else if (p.view->dtype == AT_BF16)
            add_piece(AT_BF16, x, pitch, rows, p.cols, sum + p.at, squares + p.at);
        else
            add_piece(AT_F16, x, pitch, rows, p.cols, sum + p.at, squares + p.at);
    }
}

/* --- y ---------------------------------------------------------------------------------------- */

AT_INLINE at_vf activated(at_channels_act act, at_vf z)
{
    if (act == AT_CHANNELS_SILU)
        return z * at_vf_sigmoid(z);
    return act == AT_CHANNELS_RELU ? at_vf_max(z, (at_vf){ 0 }) : z;
}

/* The coefficients of some channels; those behind them another thread may be writing. */
typedef struct terms {
    const float *centre, *scale, *shift;
} terms;

/* How y is stored; the largest |y| is looked for only where it is wanted. */
typedef enum store { STORE, STORE_TOP, STORE_STREAM } store;

AT_INLINE at_vf write_vector(at_dtype type, at_channels_act act, store how, void *y, const void *x,
                             int64_t c, int n, const terms *t, at_vf top)
{
    at_vf u = at_vf_load_upto(x, c, type, n) - at_vf_load_upto(t->centre, c, AT_F32, n);
    at_vf z = at_vf_fma(u, at_vf_load_upto(t->scale, c, AT_F32, n),
                        at_vf_load_upto(t->shift, c, AT_F32, n));
    at_vf v = activated(act, z), size = { 0 };
    if (how == STORE_STREAM)
        at_vf_stream(y, c, type, v);
    else
        at_vf_store_upto(y, c, type, v, n);
    if (how != STORE_TOP)
        return top;
    at_vf_store_upto(&size, 0, AT_F32, at_vf_abs(v), n);
    return at_vf_max(size, top);
}

/* Some rows of one input. */
typedef struct piece_rows {
    char *y;
    const char *x;
    size_t y_pitch, x_pitch;
    int64_t n, cols;
    terms t;
} piece_rows;

AT_INLINE at_vf write_rows(at_dtype type, at_channels_act act, store how, const piece_rows *p,
                           at_vf top)
{
    const char *x = p->x;
    char *y = p->y;
    for (int64_t r = 0; r < p->n; r++, x += p->x_pitch, y += p->y_pitch) {
        int64_t c = 0;
        for (; c + AT_LANES <= p->cols; c += AT_LANES)
            top = write_vector(type, act, how, y, x, c, AT_LANES, &p->t, top);
        if (c < p->cols)
            top = write_vector(type, act, how, y, x, c, (int)(p->cols - c), &p->t, top);
    }
    if (how == STORE_STREAM)
        at_stream_end();
    return top;
}

AT_INLINE at_vf write_rows_as(at_dtype type, at_channels_act act, store how, const piece_rows *p,
                              at_vf top)
{
    if (how == STORE_STREAM)
        return write_rows(type, act, STORE_STREAM, p, top);
    if (how == STORE_TOP)
        return write_rows(type, act, STORE_TOP, p, top);
    return write_rows(type, act, STORE, p, top);
}

AT_INLINE at_vf write_rows_of(at_channels_act act, at_dtype type, store how, const piece_rows *p,
                              at_vf top)
{
    if (type == AT_F32)
        return write_rows_as(AT_F32, act, how, p, top);
    if (type == AT_BF16)
        return write_rows_as(AT_BF16, act, how, p, top);
    return write_rows_as(AT_F16, act, how, p, top);
}

static store store_of(const at_channels *job)
{
    if (at_has(&job->y_amax))
        return STORE_TOP;
    bool large = at_view_bytes(&job->y) >= AT_STREAM_BYTES && !at_has(&job->x2);
    return large && job->cut.slab == job->cut.cols && at_can_stream(&job->y) ? STORE_STREAM : STORE;
}

/* Writes rows [row, row + rows) of channels [begin, end) of y; returns the largest |y|. */
static float write_channels(const at_channels *job, int64_t row, int64_t n_rows, int64_t begin,
                            int64_t end, const at_channels_numbers *n)
{
    const store how = store_of(job);
    at_vf top = { 0 };
    for (int i = 0; i < 2; i++) {
        at_piece p = at_piece_of(&job->x, &job->x2, i, begin, end);
        if (p.cols <= 0)
            continue;
        at_dtype type = p.view->dtype;
        size_t bytes = at_dtype_bytes(type);
        const piece_rows j = { .y = at_element(&job->y, row, p.at),
                               .x = at_element(p.view, row, p.first),
                               .y_pitch = (size_t)job->y.pitch * bytes,
                               .x_pitch = (size_t)p.view->pitch * bytes,
                               .n = n_rows,
                               .cols = p.cols,
                               .t = { n->coefficient[AT_COEF_CENTRE] + p.at,
                                      n->coefficient[AT_COEF_SCALE] + p.at,
                                      n->coefficient[AT_COEF_SHIFT] + p.at } };
        if (job->act == AT_CHANNELS_SILU)
            top = write_rows_of(AT_CHANNELS_SILU, type, how, &j, top);
        else if (job->act == AT_CHANNELS_RELU)
            top = write_rows_of(AT_CHANNELS_RELU, type, how, &j, top);
        else
            top = write_rows_of(AT_CHANNELS_PLAIN, type, how, &j, top);
    }
    return at_vf_largest(top);
}

/* --- the three steps -------------------------------------------------------------------------- */

typedef struct turn {
    const at_channels *job;
    void *scratch;
    int64_t first; /* the turn's first sample */
    float *tops;
    int64_t units; /* of the turn, cut by positions */
    int threads;
} turn;

static bool has_sums(const at_channels *job)
{
    return job->way == AT_CHANNELS_FORWARD;
}

static at_channels_numbers numbers_of(const turn *t, int64_t i, int64_t part)
{
    return at_channels_numbers_of(&t->job->cut, t->job->way, t->scratch, i, part);
}

static void finish_channels(const turn *t, int64_t i, int64_t begin, int64_t end)
{
    const at_channels_cut *cut = &t->job->cut;
    at_channels_numbers all = numbers_of(t, i, 0);
    for (int64_t p = 1; p < at_channels_parts(cut) && has_sums(t->job); p++) {
        at_channels_numbers n = numbers_of(t, i, p);
        for (int k = 0; k < AT_FORWARD_SUMS; k++)
            for (int64_t c = begin; c < end; c++)
                all.sum[k][c] += n.sum[k][c];
    }
    t->job->finish(t->job, t->first + i, begin, end, &all);
}

/* Unit u of a turn cut by slabs: all steps. */
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
        if (has_sums(t->job))
            sum_channels(t->job, row, cut->rows, c0, c1, &n);
        finish_channels(t, i, c0, c1);
        if (at_has(&t->job->y))
            t->tops[u] = write_channels(t->job, row, cut->rows, c0, c1, &n);
    }
}

/* Unit u of a turn cut by positions: the first step, */
static void sum_units(void *ctx, int64_t begin, int64_t end, int worker)
{
    const turn *t = ctx;
    const at_channels_cut *cut = &t->job->cut;
    int64_t parts = at_channels_parts(cut);
    (void)worker;
    for (int64_t u = begin; u < end; u++) {
        int64_t i = u / parts, r = u % parts * cut->part;
        int64_t rows = cut->rows - r < cut->part ? cut->rows - r : cut->part;
        at_channels_numbers n = numbers_of(t, i, u % parts);
        sum_channels(t->job, (t->first + i) * cut->rows + r, rows, 0, cut->cols, &n);
    }
}

/* the second, of a sample, */
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

/* Unit u of the third step: each thread goes back over what it read in the first, whose end its
 * cache still holds. */
static int64_t backwards(int64_t u, int64_t units, int threads)
{
    int64_t share = (units + threads - 1) / threads, first = u / share * share;
    int64_t end = first + share < units ? first + share : units;
    return first + end - 1 - u;
}

/* and the third. */
static void write_units(void *ctx, int64_t begin, int64_t end, int worker)
{
    const turn *t = ctx;
    const at_channels_cut *cut = &t->job->cut;
    int64_t parts = at_channels_parts(cut);
    (void)worker;
    for (int64_t k = begin; k < end; k++) {
        int64_t u = backwards(k, t->units, t->threads);
        int64_t i = u / parts, r = u % parts * cut->part;
        int64_t rows = cut->rows - r < cut->part ? cut->rows - r : cut->part;
        at_channels_numbers n = numbers_of(t, i, 0);
        t->tops[u] = write_channels(t->job, (t->first + i) * cut->rows + r, rows, 0, cut->cols, &n);
    }
}

void AT_SIMD(at_channels_forward)(const at_channels *job, const at_launch *l)
{
    const at_channels_cut *cut = &job->cut;
    turn t = { .job = job,
               .scratch = l->scratch,
               .tops = at_channels_tops(cut, job->way, l->scratch),
               .threads = l->stream->threads };
    int64_t parts = at_channels_parts(cut), slabs = at_channels_slabs(cut);
    float top = 0;
    for (; t.first < cut->batch; t.first += cut->turn) {
        int64_t n = cut->batch - t.first < cut->turn ? cut->batch - t.first : cut->turn;
        t.units = n * parts;
        if (parts == 1) {
            at_parallel(l->stream, n * slabs, 1, slab_units, &t);
        } else {
            if (has_sums(job))
                at_parallel(l->stream, n * parts, 1, sum_units, &t);
            at_parallel(l->stream, n * at_channels_finishes(cut), 1, finish_units, &t);
            if (at_has(&job->y))
                at_parallel(l->stream, n * parts, 1, write_units, &t);
        }
        for (int64_t u = 0; u < n * parts * slabs && at_has(&job->y_amax); u++)
            top = t.tops[u] > top ? t.tops[u] : top;
    }
    if (at_has(&job->y_amax))
        at_set(&job->y_amax, 0, 0, (double)top);
}
