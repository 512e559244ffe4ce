/* attention_few_simd.c -- attention of a few queries to a cache: bound by reading keys and values,
 * which are used where they lie. One head of one sample at a time, its queries one after the
 * other. */
#include "kernels/attention.h"
#include "kernels/panel.h"

AT_ATTENTION_DECLARE(AT_SIMD_LEVEL);

enum { SPAN = 256, ALIGN = 64 };

typedef struct few {
    const at_attention_args *a;
    int64_t size, padded;
    float scale;
    size_t words; /* of a thread's scratch */
    float *scratch;
} few;

/* One query at work. */
typedef struct query {
    const few *f;
    float *q, *out;    /* (padded) */
    float *scores;     /* (SPAN) */
    const char *k, *v; /* the head's part of the sample's first key and value */
    int64_t keys;      /* that it sees */
    float top, sum;
} query;

static few plan_few(const at_attention_args *a)
{
    few f = { .a = a, .size = at_cols(&a->q) / a->heads };
    f.padded = (f.size + AT_LANES - 1) / AT_LANES * AT_LANES;
    f.scale = at_attention_scale(a->scale, f.size) * 1.44269504f;
    f.words = (size_t)(2 * f.padded + SPAN);
    return f;
}

/* q . k for AT_LANES keys from key 'first' on; a lane a key. */
AT_INLINE at_vf dot_keys(const query *x, int64_t first, int64_t n, const at_dtype type)
{
    at_vf t[AT_LANES], sum = { 0 };
    for (int i = 0; i < AT_LANES; i++)
        t[i] = (at_vf){ 0 };
    for (int64_t e = 0; e < x->f->size; e += AT_LANES) {
        at_vf q = at_vf_load(x->q, e, AT_F32);
        AT_UNROLL for (int i = 0; i < AT_LANES; i++)
        {
            int64_t j = first + (i < n ? i : n - 1);
            at_vf k = at_vf_load_upto(x->k, j * x->f->a->k.pitch + e, type, x->f->size - e);
            t[i] = at_vf_fma(q, k, t[i]);
        }
    }
    at_transpose(t);
    AT_UNROLL for (int i = 0; i < AT_LANES; i++) sum += t[i];
    return sum;
}

/* out += sum of scores[j] * v[first + j], a few registers of the head at a time. */
AT_INLINE void add_values(query *x, int64_t first, int64_t n, const at_dtype type)
{
    enum { VECTORS = 4 };
    for (int64_t e = 0; e < x->f->size; e += VECTORS * AT_LANES) {
        at_vf sum[VECTORS];
        AT_UNROLL for (int v = 0; v < VECTORS; v++) sum[v] =
            e + v * AT_LANES < x->f->padded ? at_vf_load(x->out, e + v * AT_LANES, AT_F32)
                                            : (at_vf){ 0 };
        for (int64_t j = 0; j < n; j++) {
            at_vf p = at_vf_set(x->scores[j]);
            AT_UNROLL for (int v = 0; v < VECTORS; v++)
            {
                int64_t i = e + v * AT_LANES;
                sum[v] = at_vf_fma(
                    p,
                    at_vf_load_upto(x->v, (first + j) * x->f->a->v.pitch + i, type, x->f->size - i),
                    sum[v]);
            }
        }
        AT_UNROLL for (int v = 0; v < VECTORS; v++) if (e + v * AT_LANES < x->f->padded)
            at_vf_store(x->out, e + v * AT_LANES, AT_F32, sum[v]);
    }
}

/* Scores become powers of two of their distance from the largest, which is taken out exactly. */
static void soften(query *x, int64_t n)
{
    at_vf high = at_vf_set(-INFINITY), total = { 0 };
    for (int64_t j = 0; j < n; j += AT_LANES)
        high = at_vf_max(high, at_vf_load(x->scores, j, AT_F32));
    float wanted = ceilf(at_vf_largest(high) * x->f->scale),
          top = wanted > x->top ? wanted : x->top;
    float factor = exp2f(x->top - top);
    if (factor != 1)
        for (int64_t e = 0; e < x->f->padded; e++)
            x->out[e] *= factor;
    for (int64_t j = 0; j < n; j += AT_LANES) {
        at_vf s = at_vf_load(x->scores, j, AT_F32);
        at_vf p = at_vf_exp2(at_vf_fma(s, at_vf_set(x->f->scale), at_vf_set(-top)), 5);
        p = at_vf_select(s > at_vf_set(-INFINITY), p, (at_vf){ 0 });
        at_vf_store(x->scores, j, AT_F32, p);
        total += p;
    }
    x->sum = x->sum * factor + at_vf_sum(total);
    x->top = top;
}

AT_INLINE void attend_query(query *x, const at_dtype type)
{
    for (int64_t first = 0; first < x->keys; first += SPAN) {
        int64_t n = x->keys - first < SPAN ? x->keys - first : SPAN;
        for (int64_t j = 0; j < n; j += AT_LANES) {
            int64_t m = n - j < AT_LANES ? n - j : AT_LANES;
            at_vf_store(x->scores, j, AT_F32, dot_keys(x, first + j, m, type));
            for (int64_t i = m; i < AT_LANES; i++)
                x->scores[j + i] = -INFINITY;
        }
        soften(x, n);
        add_values(x, first, n, type);
    }
}

static void attend_row(const few *f, query *x, int64_t sample, int64_t head, int64_t row)
{
    const at_attention_args *a = f->a;
    at_dtype type = a->q.dtype;
    int64_t at = sample * a->q.size[1] + row, col = head * f->size,
            bytes = (int64_t)at_dtype_bytes(type);
    x->top = -INFINITY, x->sum = 0;
    memset(x->out, 0, (size_t)f->padded * sizeof *x->out);
    const char *q = (const char *)a->q.data + (at * a->q.pitch + col) * bytes;
    at_rows_load(x->q, f->padded, q, a->q.pitch, type, 1, f->size, f->padded);
    if (type == AT_F32)
        attend_query(x, AT_F32);
    else if (type == AT_BF16)
        attend_query(x, AT_BF16);
    else
        attend_query(x, AT_F16);
    float factor = x->sum > 0 ? 1 / x->sum : 0;
    char *o = (char *)a->o.data + (at * a->o.pitch + col) * bytes;
    for (int64_t e = 0; e < f->size; e += AT_LANES)
        at_vf_store_upto(o, e, type, at_vf_load(x->out, e, AT_F32) * at_vf_set(factor),
                         f->size - e);
    if (at_has(&a->lse))
        ((float *)at_row(&a->lse, sample * a->heads + head))[row] =
            x->sum > 0 ? (x->top + log2f(x->sum)) * 0.69314718f : -INFINITY;
}

static void attend_heads(void *ctx, int64_t begin, int64_t end, int worker)
{
    const few *f = ctx;
    const at_attention_args *a = f->a;
    float *p = f->scratch + (size_t)worker * f->words;
    for (int64_t i = begin; i < end; i++) {
        int64_t sample = i / a->heads, head = i % a->heads, keys = a->k.size[1];
        int64_t length = at_attention_length(&a->lengths, sample, keys), queries = a->q.size[1];
        size_t bytes = at_dtype_bytes(a->q.dtype);
        query x = { .f = f, .q = p, .out = p + f->padded, .scores = p + 2 * f->padded };
        x.k = (const char *)at_row(&a->k, sample * keys) + (size_t)(head * f->size) * bytes;
        x.v = (const char *)at_row(&a->v, sample * keys) + (size_t)(head * f->size) * bytes;
        for (int64_t row = 0; row < queries; row++) {
            int64_t seen = a->causal ? row + length - queries + 1 : length;
            x.keys = seen < 0 ? 0 : seen < length ? seen : length;
            attend_row(f, &x, sample, head, row);
        }
    }
}

size_t AT_SIMD(at_attention_few_scratch)(const at_attention_args *a, int threads)
{
    return plan_few(a).words * sizeof(float) * (size_t)threads;
}

void AT_SIMD(at_attention_few)(const at_attention_args *a, const at_launch *l)
{
    few f = plan_few(a);
    f.scratch = l->scratch;
    at_parallel(l->stream, a->q.size[0] * a->heads, 1, attend_heads, &f);
}
