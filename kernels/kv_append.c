/* kv_append.c -- writes new keys and values into a decoder's cache, each sample at its own
 * position. */
#include <string.h>

#include "kernels/parallel.h"
#include "kernels/shape.h"
#include "kernels/variants.h"

static const at_operand kv_append_operands[] = {
    AT_OPERAND(kv_append, k_cache, AT_INOUT, AT_BATCHED | AT_SPARSE, AT_NONE),
    AT_OPERAND(kv_append, v_cache, AT_INOUT, AT_BATCHED | AT_SPARSE, AT_NONE),
    AT_OPERAND(kv_append, k, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(kv_append, v, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(kv_append, pos, AT_IN, AT_BATCHED, AT_I32),
};

static at_status kv_append_shape(void *args, at_error *err)
{
    at_kv_append_args *a = args;
    const at_view *views[] = { &a->k_cache, &a->v_cache, &a->v };
    const char *names[] = { "k_cache", "v_cache", "v" };
    AT_TRY(at_expect_float("kv_append", "k", &a->k, err));
    AT_TRY(at_expect_rank("kv_append", "k", &a->k, 3, 3, err));
    AT_TRY(at_expect_rank("kv_append", "k_cache", &a->k_cache, 3, 3, err));
    const int64_t cache[] = { a->k.size[0], a->k_cache.size[1], at_cols(&a->k) };
    AT_TRY(at_expect_sizes("kv_append", "k_cache", &a->k_cache, 3, cache, err));
    AT_TRY(at_expect_sizes("kv_append", "v_cache", &a->v_cache, 3, cache, err));
    AT_TRY(at_expect_like("kv_append", "v", &a->v, &a->k, err));
    AT_TRY(at_expect_vector("kv_append", "pos", &a->pos, a->k.size[0], err));
    for (size_t i = 0; i < AT_COUNT(views); i++)
        if (views[i]->dtype != a->k.dtype)
            return at_fail(err, AT_INVALID, "kv_append: %s is %s, k is %s, expected one type",
                           names[i], at_dtype_name(views[i]->dtype), at_dtype_name(a->k.dtype));
    if (a->k.size[1] > a->k_cache.size[1])
        return at_fail(err, AT_INVALID, "kv_append: %lld rows do not fit into a cache of %lld",
                       (long long)a->k.size[1], (long long)a->k_cache.size[1]);
    return AT_OK;
}

/* The cache's row, counted over all samples, that row i of sample b goes to. */
static int64_t row_of(const at_kv_append_args *a, int64_t b, int64_t i)
{
    int64_t pos = ((const int32_t *)a->pos.data)[b], rows = a->k.size[1], most = a->k_cache.size[1];
    AT_ASSERT(pos >= 0 && pos + rows <= most, "kv_append: sample %lld: %lld rows at %lld of %lld",
              (long long)b, (long long)rows, (long long)pos, (long long)most);
    return b * most + pos + i;
}

static at_status kv_append_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_kv_append_args *a = args;
    (void)p, (void)l;
    for (int64_t b = 0; b < a->k.size[0]; b++)
        for (int64_t i = 0; i < a->k.size[1]; i++)
            for (int64_t c = 0; c < at_cols(&a->k); c++) {
                int64_t from = b * a->k.size[1] + i, to = row_of(a, b, i);
                at_set(&a->k_cache, to, c, at_get(&a->k, from, c));
                at_set(&a->v_cache, to, c, at_get(&a->v, from, c));
            }
    return AT_OK;
}

static void copy_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const at_kv_append_args *a = ctx;
    size_t bytes = (size_t)at_cols(&a->k) * at_dtype_bytes(a->k.dtype);
    (void)worker;
    for (int64_t r = begin; r < end; r++) {
        int64_t to = row_of(a, r / a->k.size[1], r % a->k.size[1]);
        memcpy(at_row(&a->k_cache, to), at_row(&a->k, r), bytes);
        memcpy(at_row(&a->v_cache, to), at_row(&a->v, r), bytes);
    }
}

static at_status kv_append_copy(const void *args, const at_prepared *p, const at_launch *l)
{
    at_kv_append_args a = *(const at_kv_append_args *)args;
    double bytes = 4 * (double)at_cols(&a.k) * (double)at_dtype_bytes(a.k.dtype);
    int64_t rows = at_rows(&a.k);
    (void)p;
    at_parallel(l->stream, rows, at_grain(rows, bytes), copy_rows, &a);
    return AT_OK;
}

AT_CUDA_DECLARE(at_kv_append);
static const at_variant kv_append_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("kv_append", at_kv_append, AT_ROWS_INDEPENDENT, NULL),
#endif
    { "kv_append_copy", AT_CPU, 0, AT_ROWS_INDEPENDENT, NULL, NULL, NULL, NULL, kv_append_copy },
    AT_REFERENCE("kv_append", kv_append_ref),
};
AT_DEFINE_OP(kv_append, "rows pos .. of the caches become k and v", kv_append_operands, at_no_attrs,
             kv_append_shape, NULL, kv_append_variants);
