/* random_simd.c -- bound by arithmetic: ten rounds of two long products for four numbers, then
 * about thirty operations for each. The functions are philox.h's, in loops that the compiler turns
 * into vectors. */
#include "kernels/philox.h"
#include "kernels/variants.h"
#include "kernels/vec.h"

AT_SIMD_DECLARE(at_random);

enum { BLOCKS = 64, CHUNK = 4 * BLOCKS, PART = 16 * CHUNK };

typedef struct job {
    const at_random_args *a;
    at_philox_key key;
    int64_t runs;               /* runs of a sample: its rows, or one where it is dense */
    int64_t cols, pitch, parts; /* elements of a run, from one to the next, parts it is cut into */
} job;

/* The words of blocks [first, first + BLOCKS) of a sample. */
AT_INLINE void draw_words(uint32_t w[4][BLOCKS], at_philox_key key, int64_t sample, int64_t first)
{
    for (int i = 0; i < BLOCKS; i++) {
        at_philox_words c = at_philox_counter(first + i, sample);
        w[0][i] = c.w0, w[1][i] = c.w1, w[2][i] = c.w2, w[3][i] = c.w3;
    }
    for (int r = 0; r < AT_PHILOX_ROUNDS; r++, key = at_philox_bump(key))
        for (int i = 0; i < BLOCKS; i++) {
            const at_philox_words before = { w[0][i], w[1][i], w[2][i], w[3][i] };
            const at_philox_words c = at_philox_round(before, key);
            w[0][i] = c.w0, w[1][i] = c.w1, w[2][i] = c.w2, w[3][i] = c.w3;
        }
}

/* Elements [CHUNK * n, CHUNK * (n + 1)) of a sample. */
static void draw_chunk(float *out, at_philox_key key, int64_t sample, int64_t n, int kind)
{
    uint32_t w[4][BLOCKS];
    float x[4][BLOCKS];
    draw_words(w, key, sample, n * BLOCKS);
    if (kind == AT_RANDOM_UNIFORM) {
        for (int k = 0; k < 4; k++)
            for (int i = 0; i < BLOCKS; i++)
                x[k][i] = at_uniform_of(w[k][i]);
    } else {
        for (int k = 0; k < 4; k += 2)
            for (int i = 0; i < BLOCKS; i++) {
                at_pair p = at_normal_of(w[k][i], w[k + 1][i]);
                x[k][i] = p.a;
                x[k + 1][i] = p.b;
            }
    }
    for (int i = 0; i < BLOCKS; i++)
        for (int k = 0; k < 4; k++)
            out[4 * i + k] = x[k][i];
}

AT_INLINE void store(void *y, at_dtype type, const float *x, int64_t n)
{
    int64_t i = 0;
    for (; i + AT_LANES <= n; i += AT_LANES)
        at_vf_store(y, i, type, at_vf_load(x, i, AT_F32));
    if (i < n)
        at_vf_store_n(y, i, type, at_vf_load_n(x, i, AT_F32, (int)(n - i), 0.0f), (int)(n - i));
}

/* Elements [first, end) of a sample to y. */
static void draw_run(const job *j, char *y, int64_t sample, int64_t first, int64_t end)
{
    at_dtype type = j->a->y.dtype;
    float chunk[CHUNK];
    for (int64_t i = first; i < end;) {
        int64_t skip = i % CHUNK, n = CHUNK - skip < end - i ? CHUNK - skip : end - i;
        draw_chunk(chunk, j->key, sample, i / CHUNK, j->a->kind);
        if (type == AT_F32)
            store(y, AT_F32, chunk + skip, n);
        else if (type == AT_BF16)
            store(y, AT_BF16, chunk + skip, n);
        else
            store(y, AT_F16, chunk + skip, n);
        y += (size_t)n * at_dtype_bytes(type);
        i += n;
    }
}

static void draw_parts(void *ctx, int64_t begin, int64_t end, int worker)
{
    const job *j = ctx;
    size_t bytes = at_dtype_bytes(j->a->y.dtype);
    (void)worker;
    for (int64_t p = begin; p < end; p++) {
        int64_t run = p / j->parts, from = p % j->parts * PART;
        int64_t to = from + PART < j->cols ? from + PART : j->cols,
                offset = run % j->runs * j->cols;
        int64_t sample = ((const int64_t *)j->a->sample.data)[run / j->runs];
        char *y = (char *)j->a->y.data + (size_t)(run * j->pitch + from) * bytes;
        draw_run(j, y, sample, offset + from, offset + to);
    }
}

at_status AT_SIMD(at_random)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_random_args *a = args;
    const int64_t *key = a->key.data;
    int64_t B = a->y.size[0], rows = at_rows(&a->y) / B;
    (void)p;
    job j = { a, at_random_key(key[0], key[1], key[2]), rows, at_cols(&a->y), a->y.pitch, 1 };
    if (at_dense(&a->y))
        j.runs = 1, j.cols *= rows, j.pitch = j.cols;
    j.parts = (j.cols + PART - 1) / PART;
    at_parallel(l->stream, B * j.runs * j.parts, j.cols < PART ? 1 + PART / j.cols / 4 : 1,
                draw_parts, &j);
    return AT_OK;
}
