/* sampling.c -- which token comes next: the largest, or one drawn from the largest. */
#include <math.h>
#include <string.h>

#include "kernels/parallel.h"
#include "kernels/shape.h"
#include "kernels/variants.h"

/* --- argmax ----------------------------------------------------------------------------------- */

static const at_operand argmax_operands[] = {
    AT_OPERAND(argmax, y, AT_OUT, AT_BATCHED, AT_I32),
    AT_OPERAND(argmax, x, AT_IN, AT_BATCHED, AT_NONE),
};

static at_status argmax_shape(void *args, at_error *err)
{
    at_argmax_args *a = args;
    AT_TRY(at_expect_rank("argmax", "x", &a->x, 2, AT_RANK_MAX, err));
    AT_TRY(at_expect_float("argmax", "x", &a->x, err));
    a->y = at_view_vector(AT_I32, at_rows(&a->x));
    return AT_OK;
}

/* What is not a number never wins; a row of nothing else gives 0. */
static at_status argmax_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_argmax_args *a = args;
    (void)p, (void)l;
    for (int64_t r = 0; r < at_rows(&a->x); r++) {
        int64_t best = -1;
        for (int64_t c = 0; c < at_cols(&a->x); c++) {
            double v = at_get(&a->x, r, c);
            if (!isnan(v) && (best < 0 || v > at_get(&a->x, r, best)))
                best = c;
        }
        at_set(&a->y, 0, r, (double)(best < 0 ? 0 : best));
    }
    return AT_OK;
}

static bool argmax_fits(const void *args)
{
    return at_is_simd_type(((const at_argmax_args *)args)->x.dtype);
}

static double argmax_flops(const void *args)
{
    return (double)at_elements(&((const at_argmax_args *)args)->x);
}

AT_SIMD_DECLARE(at_argmax);
AT_CUDA_DECLARE(at_argmax);
static const at_variant argmax_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("argmax", at_argmax, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("argmax", at_argmax, AT_ROWS_INDEPENDENT, argmax_fits, NULL, NULL),
    AT_REFERENCE("argmax", argmax_ref),
};
AT_DEFINE_OP(argmax, "y = index of the first largest element of each row", argmax_operands,
             at_no_attrs, argmax_shape, argmax_flops, argmax_variants);

/* --- nucleus sampling ------------------------------------------------------------------------- */

static const at_operand sample_top_operands[] = {
    AT_OPERAND(sample_top, y, AT_OUT, AT_BATCHED, AT_I32),
    AT_OPERAND(sample_top, x, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(sample_top, u, AT_IN, AT_BATCHED, AT_F32),
};
static const at_attr sample_top_attrs[] = {
    AT_INT(sample_top, top_k),
    AT_FLOAT(sample_top, top_p),
    AT_FLOAT(sample_top, temperature),
};

static at_status sample_top_shape(void *args, at_error *err)
{
    at_sample_top_args *a = args;
    AT_TRY(at_expect_rank("sample_top", "x", &a->x, 2, 2, err));
    AT_TRY(at_expect_float("sample_top", "x", &a->x, err));
    AT_TRY(at_expect_vector("sample_top", "u", &a->u, a->x.size[0], err));
    if (a->top_k < 0 || !(a->top_p > 0 && a->top_p <= 1) || !(a->temperature > 0))
        return at_fail(
            err, AT_INVALID,
            "sample_top: top_k is %lld, top_p %g, temperature %g, expected at least 0, in "
            "(0, 1], more than 0",
            (long long)a->top_k, (double)a->top_p, (double)a->temperature);
    a->y = at_view_vector(AT_I32, a->x.size[0]);
    return AT_OK;
}

/* Candidates are walked through in falling order, equals in the order of their indices; what is not
 * a number is none. */
typedef struct candidate {
    double value;
    int64_t index; /* -1: there is none */
} candidate;

static bool is_before(double value, int64_t index, candidate than)
{
    return value > than.value || (value == than.value && index < than.index);
}

/* The one that follows 'last'; the first of all for an index of -1. */
static candidate next_candidate(const at_view *x, int64_t r, candidate last)
{
    candidate best = { 0, -1 };
    for (int64_t c = 0; c < at_cols(x); c++) {
        double v = at_get(x, r, c);
        bool follows =
            last.index < 0 || (v <= last.value && !is_before(v, c, last) && c != last.index);
        if (!isnan(v) && follows && (best.index < 0 || is_before(v, c, best)))
            best = (candidate){ v, c };
    }
    return best;
}

/* exp((value - largest) / temperature), also where both are infinite */
static double weight_of(double value, double largest, float temperature)
{
    return value == largest ? 1 : exp((value - largest) / (double)temperature);
}

/* Sums weights from the largest on, over at most 'count' candidates (0: all), up to where the sum
 * reaches 'enough' or, with 'beyond', exceeds it. Gives the last one taken. */
static candidate walk(const at_sample_top_args *a, int64_t r, int64_t count, double enough,
                      bool beyond, double *sum, int64_t *taken)
{
    candidate first = next_candidate(&a->x, r, (candidate){ 0, -1 }), last = first;
    *sum = 0;
    *taken = 0;
    for (candidate c = first; c.index >= 0; c = next_candidate(&a->x, r, c)) {
        last = c;
        *sum += weight_of(c.value, first.value, a->temperature);
        if (++*taken == count || (beyond ? *sum > enough : *sum >= enough))
            break;
    }
    return last;
}

/* Shares are of the total of the top_k, as in transformers, where one filter follows the other. */
static at_status sample_top_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_sample_top_args *a = args;
    (void)p, (void)l;
    for (int64_t r = 0; r < a->x.size[0]; r++) {
        double total, kept, sum;
        int64_t n;
        walk(a, r, a->top_k, INFINITY, false, &total, &n);
        walk(a, r, n, (double)a->top_p * total, false, &kept, &n);
        candidate c = walk(a, r, n, at_get(&a->u, 0, r) * kept, true, &sum, &n);
        at_set(&a->y, 0, r, (double)(c.index < 0 ? 0 : c.index));
    }
    return AT_OK;
}

/* The variant: a heap of all candidates, from which they are taken in falling order, as many as
 * needed, into the places that become free behind it. Weights are doubles, so that it draws what
 * the reference draws: an index has no tolerance. */
typedef struct heap {
    const double *value; /* by index */
    int32_t *index;      /* [0, n): the heap; [n, all): taken, the last at n */
    double *weight;      /* of the ones taken, in the same places */
    int64_t n, all;
} heap;

static bool heap_before(const heap *h, int32_t a, int32_t b)
{
    return is_before(h->value[a], a, (candidate){ h->value[b], b });
}

static void heap_sink(heap *h, int64_t i)
{
    int32_t moving = h->index[i];
    for (int64_t child; (child = 2 * i + 1) < h->n; i = child) {
        if (child + 1 < h->n && heap_before(h, h->index[child + 1], h->index[child]))
            child++;
        if (!heap_before(h, h->index[child], moving))
            break;
        h->index[i] = h->index[child];
    }
    h->index[i] = moving;
}

static void heap_fill(heap *h, int64_t C)
{
    for (int64_t c = 0; c < C; c++)
        if (!isnan(h->value[c]))
            h->index[h->n++] = (int32_t)c;
    h->all = h->n;
    for (int64_t i = h->n / 2; i-- > 0;)
        heap_sink(h, i);
}

/* The weight of the next one in falling order. */
static double heap_take(heap *h, double largest, float temperature)
{
    int32_t first = h->index[0];
    h->index[0] = h->index[--h->n];
    heap_sink(h, 0);
    h->index[h->n] = first;
    return h->weight[h->n] = weight_of(h->value[first], largest, temperature);
}

static int32_t draw(heap *h, const at_sample_top_args *a, double u)
{
    double largest = h->all ? h->value[h->index[0]] : 0, total = 0, share = 0, sum = 0;
    int64_t count = h->all, kept = 0;
    if (a->top_k && a->top_k < count) {
        for (count = a->top_k; h->all - h->n < count;)
            total += heap_take(h, largest, a->temperature);
    } else {
        for (int64_t i = 0; i < count; i++)
            total += weight_of(h->value[h->index[i]], largest, a->temperature);
    }
    while (kept < count && (kept == 0 || share < (double)a->top_p * total)) {
        bool taken = h->all - h->n > kept++;
        share += taken ? h->weight[h->all - kept] : heap_take(h, largest, a->temperature);
    }
    for (int64_t i = 1; i <= kept; i++) {
        sum += h->weight[h->all - i];
        if (sum > u * share || i == kept)
            return h->index[h->all - i];
    }
    return 0;
}

typedef struct draw_job {
    const at_sample_top_args *a;
    char *scratch;
} draw_job;

/* For each worker: values, weights, indices. */
static size_t draw_bytes(int64_t C)
{
    return ((size_t)C * (2 * sizeof(double) + sizeof(int32_t)) + 63) / 64 * 64;
}

static void draw_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const draw_job *j = ctx;
    int64_t C = j->a->x.size[1];
    double *value = (void *)(j->scratch + (size_t)worker * draw_bytes(C)), *weight = value + C;
    for (int64_t r = begin; r < end; r++) {
        for (int64_t c = 0; c < C; c++)
            value[c] = at_get(&j->a->x, r, c);
        heap h = { .value = value, .weight = weight, .index = (void *)(weight + C) };
        heap_fill(&h, C);
        ((int32_t *)j->a->y.data)[r] = draw(&h, j->a, at_get(&j->a->u, 0, r));
    }
}

static at_status sample_top_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                    at_error *err)
{
    const at_sample_top_args *a = args;
    (void)err;
    out->scratch_bytes = (size_t)in->caps->threads * draw_bytes(a->x.size[1]);
    return AT_OK;
}

static at_status sample_top_heap(const void *args, const at_prepared *p, const at_launch *l)
{
    draw_job j = { args, l->scratch };
    (void)p;
    at_parallel(l->stream, j.a->x.size[0], 1, draw_rows, &j);
    return AT_OK;
}

static bool sample_top_fits(const void *args)
{
    return ((const at_sample_top_args *)args)->x.size[1] <= INT32_MAX;
}

AT_CUDA_DECLARE(at_sample_top);
at_status at_sample_top_cuda_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                     at_error *err);
static const at_variant sample_top_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("sample_top", at_sample_top, AT_ROWS_INDEPENDENT, at_sample_top_cuda_prepare),
#endif
    { "sample_top_heap", AT_CPU, 0, AT_ROWS_INDEPENDENT, sample_top_fits, sample_top_prepare, NULL,
      NULL, sample_top_heap },
    AT_REFERENCE("sample_top", sample_top_ref),
};
AT_DEFINE_OP(sample_top, "y = an index drawn from the top_k largest, of those the top_p nucleus",
             sample_top_operands, sample_top_attrs, sample_top_shape, NULL, sample_top_variants);
