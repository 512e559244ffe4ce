/* embedding.c -- rows of a table by number, and gradients added back to them. */
#include <string.h>

#include "kernels/parallel.h"
#include "kernels/shape.h"
#include "kernels/variants.h"

static const at_operand embedding_operands[] = {
    AT_OPERAND(embedding, y, AT_OUT, AT_BATCHED | AT_DENSE, AT_NONE),
    AT_OPERAND(embedding, table, AT_IN, AT_SPARSE, AT_NONE),
    AT_OPERAND(embedding, ids, AT_IN, AT_BATCHED | AT_DENSE, AT_I32),
};
static const at_attr embedding_attrs[] = { AT_ENUM(embedding, y_dtype, "same|f32|bf16|f16") };

static at_status embedding_shape(void *args, at_error *err)
{
    static const at_dtype types[] = { AT_NONE, AT_F32, AT_BF16, AT_F16 };
    at_embedding_args *a = args;
    AT_TRY(at_expect_rank("embedding", "table", &a->table, 2, 2, err));
    AT_TRY(at_expect_float("embedding", "table", &a->table, err));
    AT_TRY(at_expect_rank("embedding", "ids", &a->ids, 1, AT_RANK_MAX - 1, err));
    a->y = at_view_like(&a->ids, a->y_dtype ? types[a->y_dtype] : a->table.dtype);
    a->y.size[a->y.rank++] = at_cols(&a->table);
    return AT_OK;
}

/* The row of the table for position r; -1 when the id is outside of it. */
static int64_t row_at(const at_view *ids, int64_t r, int64_t rows)
{
    int64_t id = ((const int32_t *)ids->data)[r];
    return id >= 0 && id < rows ? id : -1;
}

static at_status embedding_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_embedding_args *a = args;
    int64_t cols = at_cols(&a->y), vocabulary = a->table.size[0];
    (void)p, (void)l;
    for (int64_t r = 0; r < at_rows(&a->y); r++) {
        int64_t id = row_at(&a->ids, r, vocabulary);
        for (int64_t c = 0; c < cols; c++)
            at_set(&a->y, r, c, id < 0 ? 0 : at_get(&a->table, id, c));
    }
    return AT_OK;
}

static void rows_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    const at_embedding_args *a = ctx;
    size_t bytes = (size_t)at_cols(&a->y) * at_dtype_bytes(a->y.dtype);
    (void)worker;
    for (int64_t r = begin; r < end; r++) {
        int64_t id = row_at(&a->ids, r, a->table.size[0]);
        if (id < 0)
            memset(at_row(&a->y, r), 0, bytes);
        else
            memcpy(at_row(&a->y, r), at_row(&a->table, id), bytes);
    }
}

static at_status embedding_rows(const void *args, const at_prepared *p, const at_launch *l)
{
    at_embedding_args a = *(const at_embedding_args *)args;
    int64_t rows = at_rows(&a.y);
    (void)p;
    at_parallel(l->stream, rows,
                at_grain(rows, 2 * (double)at_cols(&a.y) * (double)at_dtype_bytes(a.y.dtype)),
                rows_part, &a);
    return AT_OK;
}

static bool embedding_fits(const void *args)
{
    const at_embedding_args *a = args;
    return a->y.dtype == a->table.dtype;
}

AT_CUDA_DECLARE(at_embedding);
static const at_variant embedding_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("embedding", at_embedding, AT_ROWS_INDEPENDENT, NULL),
#endif
    { "embedding_rows", AT_CPU, 0, AT_ROWS_INDEPENDENT, embedding_fits, NULL, NULL, NULL,
      embedding_rows },
    AT_REFERENCE("embedding", embedding_ref),
};
AT_DEFINE_OP(embedding, "y = table[ids], rows", embedding_operands, embedding_attrs,
             embedding_shape, NULL, embedding_variants);

/* --- gradient --------------------------------------------------------------------------------- */

static const at_operand embedding_bwd_operands[] = {
    AT_OPERAND(embedding_bwd, dtable, AT_OUT, 0, AT_NONE),
    AT_OPERAND(embedding_bwd, dy, AT_IN, 0, AT_NONE),
    AT_OPERAND(embedding_bwd, ids, AT_IN, AT_DENSE, AT_I32),
    AT_OPERAND(embedding_bwd, acc, AT_IN, AT_OPTIONAL, AT_NONE),
};
static const at_attr embedding_bwd_attrs[] = { AT_INT(embedding_bwd, vocabulary) };

static at_status embedding_bwd_shape(void *args, at_error *err)
{
    at_embedding_bwd_args *a = args;
    AT_TRY(at_expect_float("embedding_bwd", "dy", &a->dy, err));
    at_view expected = at_view_like(&a->ids, a->dy.dtype);
    if (a->ids.rank >= AT_RANK_MAX)
        return at_fail(err, AT_INVALID, "embedding_bwd: ids has %d axes", (int)a->ids.rank);
    expected.size[expected.rank++] = at_cols(&a->dy);
    AT_TRY(at_expect_like("embedding_bwd", "dy", &a->dy, &expected, err));
    if (a->vocabulary <= 0)
        return at_fail(err, AT_INVALID, "embedding_bwd: a vocabulary of %lld",
                       (long long)a->vocabulary);
    a->dtable = at_view_matrix(at_wide(a->dy.dtype), a->vocabulary, at_cols(&a->dy));
    if (at_has(&a->acc) && a->acc.dtype != a->dtable.dtype)
        return at_fail(err, AT_INVALID, "embedding_bwd: acc is %s, expected %s",
                       at_dtype_name(a->acc.dtype), at_dtype_name(a->dtable.dtype));
    return at_expect_like("embedding_bwd", "acc", &a->acc, &a->dtable, err);
}

/* Columns [begin, end) of the table: each is summed by one thread, in the order of the rows. */
static void columns_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    const at_embedding_bwd_args *a = ctx;
    (void)worker;
    for (int64_t v = 0; v < a->vocabulary; v++)
        for (int64_t c = begin; c < end; c++)
            at_set(&a->dtable, v, c, at_has(&a->acc) ? at_get(&a->acc, v, c) : 0);
    for (int64_t r = 0; r < at_rows(&a->dy); r++) {
        int64_t id = row_at(&a->ids, r, a->vocabulary);
        for (int64_t c = begin; c < end && id >= 0; c++)
            at_set(&a->dtable, id, c, at_get(&a->dtable, id, c) + at_get(&a->dy, r, c));
    }
}

static at_status embedding_bwd_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    at_embedding_bwd_args a = *(const at_embedding_bwd_args *)args;
    (void)p, (void)l;
    columns_part(&a, 0, at_cols(&a.dy), 0);
    return AT_OK;
}

/* f32 only: the same sums without a conversion at each element. */
static void f32_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    const at_embedding_bwd_args *a = ctx;
    size_t bytes = (size_t)(end - begin) * sizeof(float);
    (void)worker;
    for (int64_t v = 0; v < a->vocabulary; v++) {
        float *to = (float *)at_row(&a->dtable, v) + begin;
        if (!at_has(&a->acc))
            memset(to, 0, bytes);
        else if (at_row(&a->acc, v) != at_row(&a->dtable, v))
            memcpy(to, (const float *)at_row(&a->acc, v) + begin, bytes);
    }
    for (int64_t r = 0; r < at_rows(&a->dy); r++) {
        int64_t id = row_at(&a->ids, r, a->vocabulary);
        if (id < 0)
            continue;
        float *to = at_row(&a->dtable, id);
        const float *from = at_row(&a->dy, r);
        for (int64_t c = begin; c < end; c++)
            to[c] += from[c];
    }
}

static at_status embedding_bwd_f32(const void *args, const at_prepared *p, const at_launch *l)
{
    enum { COLUMNS = 64 }; /* a part: whole cache lines, the same for any number of threads */
    at_embedding_bwd_args a = *(const at_embedding_bwd_args *)args;
    (void)p;
    at_parallel(l->stream, at_cols(&a.dy), COLUMNS, f32_part, &a);
    return AT_OK;
}

static bool embedding_bwd_fits(const void *args)
{
    const at_embedding_bwd_args *a = args;
    return a->dy.dtype == AT_F32;
}

AT_CUDA_DECLARE(at_embedding_bwd);
static const at_variant embedding_bwd_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("embedding_bwd", at_embedding_bwd, AT_ROWS_INDEPENDENT, NULL),
#endif
    { "embedding_bwd_f32", AT_CPU, 0, AT_ROWS_INDEPENDENT, embedding_bwd_fits, NULL, NULL, NULL,
      embedding_bwd_f32 },
    AT_REFERENCE("embedding_bwd", embedding_bwd_ref),
};
AT_DEFINE_OP(embedding_bwd, "dtable = acc + rows of dy added up at their ids",
             embedding_bwd_operands, embedding_bwd_attrs, embedding_bwd_shape, NULL,
             embedding_bwd_variants);
