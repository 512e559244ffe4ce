/* layer_norm_simd.c -- row after row; a row stays in the first cache while it is passed over three
 * times. Bound by memory: x is read and y written once. */
#include "kernels/layer_norm.h"
#include "kernels/variants.h"
#include "kernels/vec.h"

AT_SIMD_DECLARE(at_layer_norm);
AT_SIMD_DECLARE(at_layer_norm_bwd);

enum { FLUSH_ROWS = 64 }; /* summed in f32 before they are added up in f64 */

typedef struct context {
    const at_layer_norm_args *forward;
    const at_layer_norm_bwd_args *backward;
    at_layer_norm_places places;
    char *scratch;
} context;

static float *gamma_of(const context *k)
{
    return (float *)(void *)k->scratch;
}

static float *beta_of(const context *k)
{
    return gamma_of(k) + k->places.stride;
}

static void *part_of(const context *k, int64_t part)
{
    return k->scratch + k->places.at_parts + (size_t)part * k->places.of_part;
}

static void bring_weights(const context *k, const at_view *gamma, const at_view *beta, int64_t cols)
{
    for (int64_t c = 0; c < cols; c++) {
        gamma_of(k)[c] = at_has(gamma) ? (float)at_get(gamma, 0, c) : 1.0f;
        beta_of(k)[c] = at_has(beta) ? (float)at_get(beta, 0, c) : 0.0f;
    }
}

/* --- forward ---------------------------------------------------------------------------------- */

typedef struct moments {
    float mean, rest, rstd; /* the mean is mean + rest */
} moments;

AT_INLINE float row_mean(at_dtype type, const void *x, int64_t cols)
{
    at_vf s0 = { 0 }, s1 = s0, s2 = s0, s3 = s0;
    int64_t c = 0;
    for (; c + 4 * AT_LANES <= cols; c += 4 * AT_LANES) {
        s0 += at_vf_load(x, c, type);
        s1 += at_vf_load(x, c + AT_LANES, type);
        s2 += at_vf_load(x, c + 2 * AT_LANES, type);
        s3 += at_vf_load(x, c + 3 * AT_LANES, type);
    }
    for (; c + AT_LANES <= cols; c += AT_LANES)
        s0 += at_vf_load(x, c, type);
    if (c < cols)
        s1 += at_vf_load_n(x, c, type, (int)(cols - c), 0.0f);
    return at_vf_sum((s0 + s1) + (s2 + s3)) / (float)cols;
}

/* The deviations from the first, rounded mean give the variance and what the mean lacks. */
AT_INLINE moments row_moments(at_dtype type, const void *x, int64_t cols, float eps)
{
    moments m = { row_mean(type, x, cols), 0, 0 };
    at_vf mean = at_vf_set(m.mean), s0 = { 0 }, s1 = s0, q0 = s0, q1 = s0;
    int64_t c = 0;
    for (; c + 2 * AT_LANES <= cols; c += 2 * AT_LANES) {
        at_vf d0 = at_vf_load(x, c, type) - mean, d1 = at_vf_load(x, c + AT_LANES, type) - mean;
        s0 += d0;
        s1 += d1;
        q0 = at_vf_fma(d0, d0, q0);
        q1 = at_vf_fma(d1, d1, q1);
    }
    for (; c < cols; c += AT_LANES) {
        at_vf d = (cols - c < AT_LANES ? at_vf_load_n(x, c, type, (int)(cols - c), m.mean)
                                       : at_vf_load(x, c, type)) -
                  mean;
        s0 += d;
        q0 = at_vf_fma(d, d, q0);
    }
    double n = (double)cols, rest = (double)at_vf_sum(s0 + s1) / n;
    double variance = (double)at_vf_sum(q0 + q1) / n - rest * rest;
    m.rest = (float)rest;
    m.rstd = (float)(1 / sqrt((variance > 0 ? variance : 0) + (double)eps));
    return m;
}

/* The largest |y| is looked for only where it is wanted. */
AT_INLINE at_vf write_row(at_dtype type, bool wants_top, void *y, const void *x, int64_t cols,
                          const moments *m, const float *gamma, const float *beta, at_vf top)
{
    const at_vf mean = at_vf_set(m->mean), rstd = at_vf_set(m->rstd);
    const at_vf rest = at_vf_set(-m->rest * m->rstd);
    int64_t c = 0;
    for (; c + AT_LANES <= cols; c += AT_LANES) {
        at_vf u = at_vf_fma(at_vf_load(x, c, type) - mean, rstd, rest);
        at_vf v = at_vf_fma(u, at_vf_load(gamma, c, AT_F32), at_vf_load(beta, c, AT_F32));
        at_vf_store(y, c, type, v);
        if (wants_top)
            top = at_vf_max(at_vf_abs(v), top);
    }
    int n = (int)(cols - c);
    if (!n)
        return top;
    at_vf u = at_vf_fma(at_vf_load_n(x, c, type, n, 0.0f) - mean, rstd, rest), size = { 0 };
    at_vf v = at_vf_fma(u, at_vf_load(gamma, c, AT_F32), at_vf_load(beta, c, AT_F32));
    at_vf_store_n(y, c, type, v, n);
    at_vf_store_n(&size, 0, AT_F32, at_vf_abs(v), n);
    return at_vf_max(size, top);
}

/* The next row's moments come before a row is written: their sums are chains of dependent steps,
 * which the writing then fills. */
AT_INLINE float normalise_rows(at_dtype type, bool wants_top, const context *k, int64_t begin,
                               int64_t end)
{
    const at_layer_norm_args *a = k->forward;
    int64_t cols = at_cols(&a->x);
    at_vf top = { 0 };
    moments m, next = row_moments(type, at_row(&a->x, begin), cols, a->eps);
    for (int64_t r = begin; r < end; r++) {
        m = next;
        if (r + 1 < end)
            next = row_moments(type, at_row(&a->x, r + 1), cols, a->eps);
        top = write_row(type, wants_top, at_row(&a->y, r), at_row(&a->x, r), cols, &m, gamma_of(k),
                        beta_of(k), top);
        if (at_has(&a->mean))
            at_set(&a->mean, 0, r, (double)m.mean + (double)m.rest);
        if (at_has(&a->rstd))
            at_set(&a->rstd, 0, r, (double)m.rstd);
    }
    return at_vf_largest(top);
}

AT_INLINE float normalise_part(at_dtype type, const context *k, int64_t begin, int64_t end)
{
    if (at_has(&k->forward->y_amax))
        return normalise_rows(type, true, k, begin, end);
    return normalise_rows(type, false, k, begin, end);
}

/* Parts are taken one at a time: part p is rows [p * part, ...). */
static void forward_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    const context *k = ctx;
    at_dtype type = k->forward->x.dtype;
    float *top = part_of(k, begin / k->places.part);
    (void)worker;
    if (type == AT_F32)
        *top = normalise_part(AT_F32, k, begin, end);
    else if (type == AT_BF16)
        *top = normalise_part(AT_BF16, k, begin, end);
    else
        *top = normalise_part(AT_F16, k, begin, end);
}

at_status AT_SIMD(at_layer_norm)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_layer_norm_args *a = args;
    context k = { a, NULL, at_layer_norm_places_of(&a->x, false), l->scratch };
    (void)p;
    bring_weights(&k, &a->gamma, &a->beta, at_cols(&a->x));
    at_parallel(l->stream, at_rows(&a->x), k.places.part, forward_part, &k);
    if (at_has(&a->y_amax)) {
        float top = 0;
        for (int64_t i = 0; i < k.places.parts; i++) {
            float of_part = *(const float *)part_of(&k, i);
            top = of_part > top ? of_part : top;
        }
        at_set(&a->y_amax, 0, 0, (double)top);
    }
    return AT_OK;
}

/* --- backward --------------------------------------------------------------------------------- */

/* n elements, AT_LANES or fewer, of one row. */
typedef struct lanes {
    at_vf dy, xhat;
} lanes;

AT_INLINE lanes lanes_at(at_dtype type, const void *x, const void *dy, int64_t c, int n, at_vf mean,
                         at_vf rstd)
{
    if (n == AT_LANES)
        return (lanes){ at_vf_load(dy, c, type), (at_vf_load(x, c, type) - mean) * rstd };
    return (lanes){ at_vf_load_n(dy, c, type, n, 0.0f),
                    (at_vf_load_n(x, c, type, n, 0.0f) - mean) * rstd };
}

/* Zeros beyond the last column, so that what is read there adds nothing. */
AT_INLINE void gradient_row(at_dtype type, void *dx, const void *x, const void *dy, int64_t cols,
                            float mean_of_row, float rstd_of_row, const float *gamma, float *dgamma,
                            float *dbeta)
{
    const at_vf mean = at_vf_set(mean_of_row), rstd = at_vf_set(rstd_of_row);
    at_vf s = { 0 }, q = { 0 };
    for (int64_t c = 0; c < cols; c += AT_LANES) {
        int n = cols - c < AT_LANES ? (int)(cols - c) : AT_LANES;
        lanes v = lanes_at(type, x, dy, c, n, mean, rstd);
        at_vf g = v.dy * at_vf_load(gamma, c, AT_F32);
        s += g;
        q = at_vf_fma(g, v.xhat, q);
    }
    at_vf middle = at_vf_set(at_vf_sum(s) / (float)cols),
          slope = at_vf_set(at_vf_sum(q) / (float)cols);
    for (int64_t c = 0; c < cols; c += AT_LANES) {
        int n = cols - c < AT_LANES ? (int)(cols - c) : AT_LANES;
        lanes v = lanes_at(type, x, dy, c, n, mean, rstd);
        at_vf g = at_vf_fma(v.dy, at_vf_load(gamma, c, AT_F32), -middle);
        at_vf d = at_vf_fma(-v.xhat, slope, g) * rstd;
        at_vf_store(dgamma, c, AT_F32, at_vf_fma(v.dy, v.xhat, at_vf_load(dgamma, c, AT_F32)));
        at_vf_store(dbeta, c, AT_F32, v.dy + at_vf_load(dbeta, c, AT_F32));
        if (n == AT_LANES)
            at_vf_store(dx, c, type, d);
        else
            at_vf_store_n(dx, c, type, d, n);
    }
}

/* Adds the f32 sums to the f64 ones and empties them. */
static void flush(double *total, float *sum, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        total[i] += (double)sum[i];
        sum[i] = 0;
    }
}

AT_INLINE void gradient_rows(at_dtype type, const context *k, int64_t begin, int64_t end)
{
    const at_layer_norm_bwd_args *a = k->backward;
    int64_t cols = at_cols(&a->x), stride = k->places.stride;
    double *total = part_of(k, begin / k->places.part);
    float *sum = (float *)(void *)(total + 2 * stride);
    memset(total, 0, k->places.of_part);
    for (int64_t r = begin; r < end; r++) {
        gradient_row(type, at_row(&a->dx, r), at_row(&a->x, r), at_row(&a->dy, r), cols,
                     (float)at_get(&a->mean, 0, r), (float)at_get(&a->rstd, 0, r), gamma_of(k), sum,
                     sum + stride);
        if ((r - begin) % FLUSH_ROWS == FLUSH_ROWS - 1 || r + 1 == end)
            flush(total, sum, 2 * stride);
    }
}

static void backward_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    const context *k = ctx;
    at_dtype type = k->backward->x.dtype;
    (void)worker;
    if (type == AT_F32)
        gradient_rows(AT_F32, k, begin, end);
    else if (type == AT_BF16)
        gradient_rows(AT_BF16, k, begin, end);
    else
        gradient_rows(AT_F16, k, begin, end);
}

/* Columns [begin, end): part after part, in order. */
static void add_parts(void *ctx, int64_t begin, int64_t end, int worker)
{
    const context *k = ctx;
    (void)worker;
    double *first = part_of(k, 0);
    for (int64_t i = 1; i < k->places.parts; i++) {
        const double *part = part_of(k, i);
        for (int64_t c = begin; c < end; c++) {
            first[c] += part[c];
            first[k->places.stride + c] += part[k->places.stride + c];
        }
    }
    for (int64_t c = begin; c < end; c++) {
        if (at_has(&k->backward->dgamma))
            at_set(&k->backward->dgamma, 0, c, first[c]);
        if (at_has(&k->backward->dbeta))
            at_set(&k->backward->dbeta, 0, c, first[k->places.stride + c]);
    }
}

at_status AT_SIMD(at_layer_norm_bwd)(const void *args, const at_prepared *p, const at_launch *l)
{
    enum { COLUMNS = 128 };
    const at_layer_norm_bwd_args *a = args;
    context k = { NULL, a, at_layer_norm_places_of(&a->x, true), l->scratch };
    (void)p;
    memset(k.scratch, 0, k.places.at_parts);
    bring_weights(&k, &a->gamma, &(at_view){ 0 }, at_cols(&a->x));
    at_parallel(l->stream, at_rows(&a->x), k.places.part, backward_part, &k);
    if (at_has(&a->dgamma) || at_has(&a->dbeta))
        at_parallel(l->stream, at_cols(&a->x), COLUMNS, add_parts, &k);
    return AT_OK;
}
