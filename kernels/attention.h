/* attention.h -- the walk that every fast attention kernel shares; the arithmetic is the kernel's.
 *
 * The queries of one head of one sample are cut into blocks, a block into panels of a few
 * registers' width, its keys into fixed spans. One thread takes a block: for each span it brings
 * keys and values into its own scratch in the order that the kernel computes in, then attends with
 * each panel in turn, keeping per query the largest score so far, the sum and the output (softmax
 * while reading). So nothing as large as queries x keys exists, and packing costs one part in a
 * block's rows.
 *
 * A query's bytes depend on its own row, the keys and the spans only: not on the block it lies in,
 * nor on the threads, nor on the batch. */
#ifndef AT_KERNELS_ATTENTION_H
#define AT_KERNELS_ATTENTION_H

#include <math.h>

#include "kernels/parallel.h"
#include "kernels/variants.h"

typedef at_status at_prepare_fn(const void *args, const at_prepare_in *in, at_prepared *out,
                                at_error *err);

/* One block of queries of one head while a thread works on it. Pitches are in elements. */
typedef struct at_attention_block {
    at_dtype type;
    int64_t size;      /* D: elements of a head */
    int64_t padded;    /* D rounded up as the kernel asked */
    float scale;       /* scale * log2(e): probabilities are powers of two */
    const void *q;     /* first query of the block */
    const void *k, *v; /* first key and value of the sample */
    void *o;           /* where the block's output goes */
    float *lse;        /* of the block's queries, or NULL */
    int64_t q_pitch, k_pitch, v_pitch, o_pitch;
    int64_t rows;  /* queries of the block */
    int64_t key;   /* the span: first key ... */
    int64_t keys;  /* ... and how many */
    int64_t reach; /* row r sees key j of the span if j <= r + reach */
    bool masked;   /* some row of the panel does not see some key of the span */
    /* scratch: */
    float *queries;    /* panels, padded * width words apart */
    float *out;        /* panels, likewise: the output before division by the sum */
    float *top, *sum;  /* per query: the exponent taken out, the sum of what is left */
    float *key_rows;   /* span * stride words */
    float *value_rows; /* span * stride words */
    float *scores;     /* span * width words */
    int64_t stride;    /* words from one row to the next, an odd number of cache lines */
} at_attention_block;

typedef struct at_attention_kernel {
    int width;      /* queries of a full panel; the last of a block may be narrower */
    int grain;      /* widths come in multiples of this */
    int pad;        /* heads are padded to a multiple of this */
    int bytes;      /* of an element in key_rows */
    int span;       /* keys brought in at once, heads of up to 128 */
    int span_large; /* ... larger heads */
    /* A panel begins at 'row' of the block; those before it are full. */
    void (*load_queries)(const at_attention_block *b, int64_t row, int64_t width);
    void (*load_span)(const at_attention_block *b);
    /* Attends with one panel to the first 'keys' keys of the span. */
    void (*attend)(const at_attention_block *b, int64_t row, int64_t width, int64_t keys);
    void (*store)(const at_attention_block *b, int64_t row, int64_t width);
    /* Around the work of a thread on a block; may be NULL. */
    void (*begin)(void);
    void (*end)(void);
} at_attention_kernel;

/* Plans the cutting for a team of 'threads', books its scratch. Bytes do not depend on the
 * cutting. */
at_status at_attention_prepare(const at_attention_kernel *kernel, const at_attention_args *a,
                               int threads, at_prepared *out, at_error *err);
void at_attention_release(at_prepared *p);
void at_attention_walk(const at_attention_args *a, const at_prepared *p, const at_launch *l);

/* Up to this many queries (decoding with a cache) are attended one by one, with nothing packed. */
enum { AT_ATTENTION_FEW = 8, AT_ATTENTION_SIZE_MAX = 512 };

/* What attention_simd.c and attention_few_simd.c define for an instruction set. */
#define AT_ATTENTION_DECLARE(level) AT_ATTENTION_DECLARE2(level)
#define AT_ATTENTION_DECLARE2(level)                                               \
    at_run_fn at_attention_##level;                                                \
    at_prepare_fn at_attention_prepare_##level;                                    \
    void at_attention_few_##level(const at_attention_args *a, const at_launch *l); \
    size_t at_attention_few_scratch_##level(const at_attention_args *a, int threads)

#define AT_ATTENTION_BWD_DECLARE(level) AT_ATTENTION_BWD_DECLARE2(level)
#define AT_ATTENTION_BWD_DECLARE2(level) \
    at_run_fn at_attention_bwd_##level;  \
    at_prepare_fn at_attention_bwd_prepare_##level

/* The attributes with their defaults put in. */
static inline float at_attention_scale(float scale, int64_t size)
{
    return scale > 0 ? scale : 1 / sqrtf((float)size);
}

/* Keys of sample b that exist. */
static inline int64_t at_attention_length(const at_view *lengths, int64_t b, int64_t keys)
{
    if (!at_has(lengths))
        return keys;
    int64_t n = ((const int32_t *)lengths->data)[b];
    return n < 0 ? 0 : n < keys ? n : keys;
}

/* Keys that query i of sample b sees; they are always the first ones. */
static inline int64_t at_attention_seen(const at_view *lengths, int64_t b, int64_t i,
                                        int64_t queries, int64_t keys, int causal)
{
    int64_t n = at_attention_length(lengths, b, keys), seen = causal ? i + n - queries + 1 : n;
    return seen < 0 ? 0 : seen < n ? seen : n;
}

/* --- of attention.c, for the gradient and for tests ------------------------------------------- */

/* What the variants on pairs of bf16 take. */
bool at_attention_fits_pairs(const void *args);
at_status at_attention_check(const char *op, const at_view *q, const at_view *k, const at_view *v,
                             const at_view *lengths, int64_t heads, float scale, at_error *err);
/* Pairs of a query and a key it sees, over all heads and samples, lengths left out. */
double at_attention_pairs(const at_view *q, const at_view *k, int64_t heads, int causal);
double at_attention_dot(const at_view *q, int64_t i, const at_view *k, int64_t j, int64_t col,
                        int64_t size);

#endif
