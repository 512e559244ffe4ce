/* binary_simd.c -- bound by memory: two loads, an operation, one store. A short b (a bias of three
 * channels, a number) is repeated to a pattern of some vectors first. */
#include "kernels/ops.h"
#include "kernels/spread.h"
#include "kernels/variants.h"
#include "kernels/vec.h"

AT_SIMD_DECLARE(at_binary);
AT_SIMD_DECLARE(at_lerp);

enum { PART = 8192 }; /* elements: as at_parallel_runs() cuts dense views */

AT_INLINE at_vf apply(int kind, at_vf a, at_vf b)
{
    switch ((at_binary_kind)kind) {
    case AT_ADD: return a + b;
    case AT_SUB: return a - b;
    case AT_MUL: return a * b;
    case AT_DIV: return a / b;
    case AT_MAX: return at_vf_max(a, b);
    case AT_MIN: return at_vf_min(a, b);
    }
    return a;
}

/* One run of n elements. Constant 'kind', 'ta' and 'tb' make a loop of its own for each triple. */
AT_INLINE void run_of(int kind, at_dtype ta, at_dtype tb, void *y, const void *a, const void *b,
                      int64_t n, at_vf factor)
{
    int64_t i = 0;
    for (; i + AT_LANES <= n; i += AT_LANES)
        at_vf_store(y, i, ta, apply(kind, at_vf_load(a, i, ta), factor * at_vf_load(b, i, tb)));
    int rest = (int)(n - i);
    if (rest)
        at_vf_store_n(y, i, ta,
                      apply(kind, at_vf_load_n(a, i, ta, rest, 1.0f),
                            factor * at_vf_load_n(b, i, tb, rest, 1.0f)),
                      rest);
}

AT_INLINE void run_of_types(int kind, at_dtype ta, at_dtype tb, void *y, const void *a,
                            const void *b, int64_t n, at_vf factor)
{
    if (ta == AT_F32)
        run_of(kind, AT_F32, AT_F32, y, a, b, n, factor);
    else if (ta == AT_BF16 && tb == AT_F32)
        run_of(kind, AT_BF16, AT_F32, y, a, b, n, factor);
    else if (ta == AT_BF16)
        run_of(kind, AT_BF16, AT_BF16, y, a, b, n, factor);
    else if (tb == AT_F32)
        run_of(kind, AT_F16, AT_F32, y, a, b, n, factor);
    else
        run_of(kind, AT_F16, AT_F16, y, a, b, n, factor);
}

static void run_of_kind(int kind, at_dtype ta, at_dtype tb, void *y, const void *a, const void *b,
                        int64_t n, at_vf factor)
{
#define RUN(KIND) \
    case KIND: run_of_types(KIND, ta, tb, y, a, b, n, factor); break
    switch ((at_binary_kind)kind) {
        RUN(AT_ADD);
        RUN(AT_SUB);
        RUN(AT_MUL);
        RUN(AT_DIV);
        RUN(AT_MAX);
        RUN(AT_MIN);
    }
#undef RUN
}

typedef struct job {
    const at_binary_args *a;
    at_spread_map map;
    float factor;
} job;

/* b's row s, repeated, as floats. */
static void fill_pattern(const job *j, int64_t s, float *pattern)
{
    const at_view *b = &j->a->b;
    int64_t period = j->map.period;
    for (int64_t i = 0; i < period; i++)
        pattern[i] = (float)at_load(b->data, s * j->map.pitch + i, b->dtype);
    for (int64_t i = period; i < AT_PATTERN + period; i++)
        pattern[i] = pattern[i - period];
}

static void work(void *ctx, int64_t begin, int64_t end, int worker)
{
    const job *j = ctx;
    const at_binary_args *a = j->a;
    const at_spread_map *m = &j->map;
    float pattern[AT_PATTERN + AT_PATTERN_PERIOD_MAX];
    int64_t patterned = -1;
    size_t bytes = at_dtype_bytes(a->a.dtype), b_bytes = at_dtype_bytes(a->b.dtype);
    (void)worker;
    for (int64_t e = begin, n; e < end; e += n) {
        int64_t s = at_spread_row(m, e);
        const void *b = (const char *)a->b.data + (size_t)(s * m->pitch + e % m->cols) * b_bytes;
        at_dtype tb = a->b.dtype;
        if (m->period) {
            if (s != patterned)
                fill_pattern(j, s, pattern);
            patterned = s;
            b = pattern + e % m->cols % m->period;
            tb = AT_F32;
        }
        n = at_spread_run(m, e, end);
        run_of_kind(a->kind, a->a.dtype, tb,
                    (char *)a->y.data + (size_t)at_spread_index(m, &a->y, e) * bytes,
                    (const char *)a->a.data + (size_t)at_spread_index(m, &a->a, e) * bytes, b, n,
                    at_vf_set(j->factor));
    }
}

at_status AT_SIMD(at_binary)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_binary_args *a = args;
    job j = { a, at_spread_map_of(&a->a, &a->b, a->spread, at_dense(&a->a) && at_dense(&a->y)),
              a->b_scale != 0 ? a->b_scale : 1.0f };
    (void)p;
    at_parallel(l->stream, at_elements(&a->a), PART, work, &j);
    return AT_OK;
}

/* --- linear interpolation --------------------------------------------------------------------- */

AT_INLINE void lerp_of(at_dtype type, void *y, const void *a, const void *b, int64_t n, at_vf t)
{
    int64_t i = 0;
    for (; i + AT_LANES <= n; i += AT_LANES) {
        at_vf from = at_vf_load(a, i, type), to = at_vf_load(b, i, type);
        at_vf_store(y, i, type, at_vf_fma(t, to - from, from));
    }
    int rest = (int)(n - i);
    if (rest) {
        at_vf from = at_vf_load_n(a, i, type, rest, 0), to = at_vf_load_n(b, i, type, rest, 0);
        at_vf_store_n(y, i, type, at_vf_fma(t, to - from, from), rest);
    }
}

static void lerp_of_type(at_dtype type, void *y, const void *a, const void *b, int64_t n, at_vf t)
{
    if (type == AT_F32)
        lerp_of(AT_F32, y, a, b, n, t);
    else if (type == AT_BF16)
        lerp_of(AT_BF16, y, a, b, n, t);
    else
        lerp_of(AT_F16, y, a, b, n, t);
}

typedef struct lerp_job {
    const at_lerp_args *a;
    int64_t run, sample; /* elements that lie together, and of one sample */
    bool dense;
} lerp_job;

static void lerp_work(void *ctx, int64_t begin, int64_t end, int worker)
{
    const lerp_job *j = ctx;
    const at_lerp_args *a = j->a;
    size_t bytes = at_dtype_bytes(a->a.dtype);
    const float *t = a->t.data;
    (void)worker;
    for (int64_t e = begin, n; e < end; e += n) {
        int64_t r = j->dense ? 0 : e / j->run, c = j->dense ? e : e % j->run;
        n = j->run - e % j->run < end - e ? j->run - e % j->run : end - e;
        lerp_of_type(a->a.dtype, (char *)a->y.data + (size_t)(r * a->y.pitch + c) * bytes,
                     (const char *)a->a.data + (size_t)(r * a->a.pitch + c) * bytes,
                     (const char *)a->b.data + (size_t)(r * a->b.pitch + c) * bytes, n,
                     at_vf_set(t[at_cols(&a->t) > 1 ? e / j->sample : 0]));
    }
}

at_status AT_SIMD(at_lerp)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_lerp_args *a = args;
    bool dense = at_dense(&a->y) && at_dense(&a->a) && at_dense(&a->b);
    int64_t elements = at_elements(&a->a);
    int64_t sample = a->a.rank > 1 ? elements / a->a.size[0] : elements;
    lerp_job j = { a, dense ? sample : at_cols(&a->a), sample, dense };
    (void)p;
    at_parallel(l->stream, elements, PART, lerp_work, &j);
    return AT_OK;
}
