/* adafactor_simd.c -- bound by memory: the update's size must be known before it is made, and
 * the means before that, so g is read three times, and w read and written once. */
#include "kernels/adafactor.h"
#include "kernels/optimizer_vec.h"
#include "kernels/variants.h"

AT_SIMD_DECLARE(at_adafactor);

typedef struct job {
    const at_adafactor_args *a;
    at_adafactor_scratch s;
    int64_t n, k; /* the matrix is n rows of k */
    at_hyper h;
    float rate; /* lr, less where the update is clipped */
} job;

/* A row on its way through one of the three passes. */
typedef struct row {
    const job *j;
    int64_t r;
    const void *g;
    float *cols;  /* squares are added to these */
    at_vf factor; /* of gradients; in the last pass, of updates */
    at_vf keep;   /* of weights */
    at_vsum squares;
} row;

static row row_of(const job *j, int64_t r, double factor)
{
    return (row){ .j = j,
                  .r = r,
                  .g = at_row(&j->a->g, r),
                  .factor = at_vf_set((float)factor),
                  .keep = at_vf_set((float)(1 - j->h.lr * (double)j->a->decay)) };
}

/* --- the means -------------------------------------------------------------------------------- */

AT_INLINE void square_vector(row *x, at_dtype type, const int64_t *first, int64_t i, int n)
{
    at_vf g = at_lanes_load(x->g, i, type, n) * x->factor;
    (void)first;
    at_vsum_add_square(&x->squares, g);
    at_lanes_store(x->cols, i, AT_F32, at_vf_fma(g, g, at_lanes_load(x->cols, i, AT_F32, n)), n);
}

static float moved(double beta, float old, double sum, int64_t count, float eps)
{
    return (float)(beta * (double)old + (1 - beta) * (sum / (double)count + (double)eps));
}

static void mean_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const job *j = ctx;
    float *means = j->a->row.data, *cols = j->s.cols + begin / at_adafactor_rows(j->n) * j->k;
    (void)worker;
    memset(cols, 0, (size_t)j->k * sizeof *cols);
    for (int64_t r = begin; r < end; r++) {
        row x = row_of(j, r, j->h.factor);
        x.cols = cols;
        AT_FOR_GRADIENTS(square_vector, &x, j->a->g.dtype, NULL, j->k);
        means[r] = moved(j->h.bias2, means[r], at_vsum_total(&x.squares), j->k, j->a->eps);
    }
}

/* Adds up the parts' columns and takes the roots. */
static void mean_cols(void *ctx, int64_t begin, int64_t end, int worker)
{
    const job *j = ctx;
    float *means = j->a->col.data;
    (void)worker;
    for (int64_t c = begin; c < end; c++) {
        double sum = 0;
        for (int64_t p = 0; p < at_adafactor_parts(j->n); p++)
            sum += (double)j->s.cols[p * j->k + c];
        means[c] = moved(j->h.bias2, means[c], sum, j->n, j->a->eps);
        j->s.col_root[c] = (float)(1 / sqrt((double)means[c]));
    }
}

static void root_rows(job *j)
{
    const float *means = j->a->row.data;
    double sum = 0;
    for (int64_t r = 0; r < j->n; r++)
        sum += (double)means[r];
    for (int64_t r = 0; r < j->n; r++)
        j->s.row_root[r] = (float)(1 / sqrt((double)means[r] / (sum / (double)j->n)));
}

/* --- the update ------------------------------------------------------------------------------- */

AT_INLINE void size_vector(row *x, at_dtype type, const int64_t *first, int64_t i, int n)
{
    at_vf root = at_lanes_load(x->j->s.col_root, i, AT_F32, n);
    (void)first;
    at_vsum_add_square(&x->squares, at_lanes_load(x->g, i, type, n) * x->factor * root);
}

static void size_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const job *j = ctx;
    double sum = 0;
    (void)worker;
    for (int64_t r = begin; r < end; r++) {
        row x = row_of(j, r, j->h.factor * (double)j->s.row_root[r]);
        AT_FOR_GRADIENTS(size_vector, &x, j->a->g.dtype, NULL, j->k);
        sum += at_vsum_total(&x.squares);
    }
    j->s.part[begin / at_adafactor_rows(j->n)] = sum;
}

AT_INLINE void step_vector(row *x, at_dtype type, const int64_t *first, int64_t i, int n)
{
    const at_adafactor_args *a = x->j->a;
    at_vf update =
        at_lanes_load(x->g, i, type, n) * x->factor * at_lanes_load(x->j->s.col_root, i, AT_F32, n);
    at_vf w = at_lanes_load(a->w.data, first[0] + i, AT_F32, n) * x->keep - update;
    at_lanes_store(a->w.data, first[0] + i, AT_F32, w, n);
    at_low_store(&a->w_low, first[1] + i, w, n);
}

static void step_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const job *j = ctx;
    const at_adafactor_args *a = j->a;
    (void)worker;
    for (int64_t r = begin; r < end; r++) {
        row x = row_of(j, r, j->h.factor * (double)j->s.row_root[r] * (double)j->rate);
        const int64_t first[] = { r * a->w.pitch, r * a->w_low.pitch };
        AT_FOR_GRADIENTS(step_vector, &x, a->g.dtype, first, j->k);
    }
}

at_status AT_SIMD(at_adafactor)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_adafactor_args *a = args;
    int64_t n = a->w.size[0], k = a->w.size[1], rows = at_adafactor_rows(n);
    job j = { .a = a,
              .s = at_adafactor_split(l->scratch, n, k),
              .n = n,
              .k = k,
              .h = at_hyper_of(&a->hyper) };
    (void)p;
    if (j.h.factor == 0)
        return at_low_copy(l->stream, &a->w_low, &a->w);
    at_parallel(l->stream, n, rows, mean_rows, &j);
    at_parallel(l->stream, k, 1024, mean_cols, &j);
    root_rows(&j);
    at_parallel(l->stream, n, rows, size_rows, &j);
    double squares = 0;
    for (int64_t i = 0; i < at_adafactor_parts(n); i++)
        squares += j.s.part[i];
    double size = sqrt(squares / ((double)n * (double)k)) / (double)a->clip;
    j.rate = (float)(j.h.lr / (size > 1 ? size : 1));
    at_parallel(l->stream, n, at_grain(n, (double)k * 12), step_rows, &j);
    return AT_OK;
}
