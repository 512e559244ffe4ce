/* geglu_simd.c -- two loads and one store for each output, and about forty operations: bound by
 * memory in f32, by arithmetic in bf16. The normal distribution gives gelu and its slope with one
 * exponential and one reciprocal. */
#include "kernels/amax.h"
#include "kernels/ops.h"
#include "kernels/variants.h"
#include "kernels/vec.h"

AT_SIMD_DECLARE(at_geglu);
AT_SIMD_DECLARE(at_geglu_bwd);

enum { PART = 8192 }; /* outputs */

/* How y is stored; the largest |y| is looked for only where it is wanted. */
typedef enum store { STORE, STORE_TOP, STORE_STREAM } store;

/* Returns the largest |y| of the run, lane by lane, or what 'most' was. */
AT_INLINE at_vf run_of(at_dtype type, store how, void *y, const void *x, const void *g, int64_t n,
                       at_vf most)
{
    int64_t i = 0;
    for (; i + AT_LANES <= n; i += AT_LANES) {
        at_vf v = at_vf_load(x, i, type) * at_vf_gelu(at_vf_load(g, i, type));
        if (how == STORE_TOP)
            most = at_vf_max(at_vf_abs(v), most);
        if (how == STORE_STREAM)
            at_vf_stream(y, i, type, v);
        else
            at_vf_store(y, i, type, v);
    }
    if (how == STORE_STREAM)
        at_stream_end();
    int rest = (int)(n - i);
    if (rest) {
        at_vf v = at_vf_load_n(x, i, type, rest, 0) * at_vf_gelu(at_vf_load_n(g, i, type, rest, 0));
        most = at_vf_max(at_vf_abs(v), most);
        at_vf_store_n(y, i, type, v, rest);
    }
    return most;
}

AT_INLINE at_vf run_as(at_dtype type, store how, void *y, const void *x, const void *g, int64_t n,
                       at_vf most)
{
    if (how == STORE_STREAM)
        return run_of(type, STORE_STREAM, y, x, g, n, most);
    if (how == STORE_TOP)
        return run_of(type, STORE_TOP, y, x, g, n, most);
    return run_of(type, STORE, y, x, g, n, most);
}

static at_vf run_of_type(at_dtype type, store how, void *y, const void *x, const void *g, int64_t n,
                         at_vf most)
{
    if (type == AT_F32)
        return run_as(AT_F32, how, y, x, g, n, most);
    if (type == AT_BF16)
        return run_as(AT_BF16, how, y, x, g, n, most);
    return run_as(AT_F16, how, y, x, g, n, most);
}

typedef struct job {
    const at_geglu_args *a;
    float *amax; /* the workers' places, or NULL */
    store how;
} job;

static store store_of(const at_geglu_args *a)
{
    if (at_has(&a->y_amax))
        return STORE_TOP;
    return at_view_bytes(&a->y) >= AT_STREAM_BYTES && at_can_stream(&a->y) ? STORE_STREAM : STORE;
}

static void work(void *ctx, int64_t begin, int64_t end, int worker)
{
    const job *j = ctx;
    const at_geglu_args *a = j->a;
    size_t bytes = at_dtype_bytes(a->x.dtype);
    int64_t cols = at_cols(&a->y);
    at_vf most = { 0 };
    for (int64_t e = begin, n; e < end; e += n) {
        int64_t r = e / cols, c = e % cols;
        n = cols - c < end - e ? cols - c : end - e;
        const char *x = (const char *)at_row(&a->x, r) + (size_t)c * bytes;
        most = run_of_type(a->x.dtype, j->how, (char *)at_row(&a->y, r) + (size_t)c * bytes, x,
                           x + (size_t)cols * bytes, n, most);
    }
    if (j->amax) {
        float largest = at_vf_largest(most), *own = j->amax + worker * AT_AMAX_APART;
        *own = largest > *own ? largest : *own;
    }
}

at_status AT_SIMD(at_geglu)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_geglu_args *a = args;
    job j = { a, at_amax_begin(&a->y_amax, l), store_of(a) };
    (void)p;
    at_parallel(l->stream, at_elements(&a->y), PART, work, &j);
    at_amax_end(&a->y_amax, l, j.amax);
    return AT_OK;
}

/* --- gradient --------------------------------------------------------------------------------- */

/* dy at a time: dx = dy * gelu(g) where x was, dg = dy * x * gelu'(g) where g was. */
AT_INLINE at_vf slopes(at_vf x, at_vf g, at_vf dy, at_vf *dg)
{
    at_vf density, p = at_vf_normal(g, &density);
    *dg = dy * x * at_vf_fma(g, density, p);
    return dy * g * p;
}

AT_INLINE void slopes_of(at_dtype type, void *dx, void *dg, const void *x, const void *g,
                         const void *dy, int64_t n)
{
    int64_t i = 0;
    at_vf v, w;
    for (; i + AT_LANES <= n; i += AT_LANES) {
        v = slopes(at_vf_load(x, i, type), at_vf_load(g, i, type), at_vf_load(dy, i, type), &w);
        at_vf_store(dx, i, type, v);
        at_vf_store(dg, i, type, w);
    }
    int rest = (int)(n - i);
    if (rest) {
        v = slopes(at_vf_load_n(x, i, type, rest, 0), at_vf_load_n(g, i, type, rest, 0),
                   at_vf_load_n(dy, i, type, rest, 0), &w);
        at_vf_store_n(dx, i, type, v, rest);
        at_vf_store_n(dg, i, type, w, rest);
    }
}

static void slopes_of_type(at_dtype type, void *dx, void *dg, const void *x, const void *g,
                           const void *dy, int64_t n)
{
    if (type == AT_F32)
        slopes_of(AT_F32, dx, dg, x, g, dy, n);
    else if (type == AT_BF16)
        slopes_of(AT_BF16, dx, dg, x, g, dy, n);
    else
        slopes_of(AT_F16, dx, dg, x, g, dy, n);
}

static void backward_work(void *ctx, int64_t begin, int64_t end, int worker)
{
    const at_geglu_bwd_args *a = ctx;
    size_t bytes = at_dtype_bytes(a->x.dtype);
    int64_t cols = at_cols(&a->dy);
    (void)worker;
    for (int64_t e = begin, n; e < end; e += n) {
        int64_t r = e / cols, c = e % cols;
        n = cols - c < end - e ? cols - c : end - e;
        char *dx = (char *)at_row(&a->dx, r) + (size_t)c * bytes;
        const char *x = (const char *)at_row(&a->x, r) + (size_t)c * bytes;
        slopes_of_type(a->x.dtype, dx, dx + (size_t)cols * bytes, x, x + (size_t)cols * bytes,
                       (const char *)at_row(&a->dy, r) + (size_t)c * bytes, n);
    }
}

at_status AT_SIMD(at_geglu_bwd)(const void *args, const at_prepared *p, const at_launch *l)
{
    at_geglu_bwd_args a = *(const at_geglu_bwd_args *)args;
    (void)p;
    at_parallel(l->stream, at_elements(&a.dy), PART, backward_work, &a);
    return AT_OK;
}
