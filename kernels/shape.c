#include "kernels/shape.h"

#include <stdio.h>

static void sizes_text(char *text, size_t text_size, int rank, const int64_t *size)
{
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < rank && used < text_size; i++)
        used += (size_t)snprintf(text + used, text_size - used, i ? ", %lld" : "%lld",
                                 (long long)size[i]);
}

at_status at_expect_sizes(const char *op, const char *name, const at_view *v, int rank,
                          const int64_t *size, at_error *err)
{
    bool same = v->rank == rank;
    for (int i = 0; i < rank && same; i++)
        same = v->size[i] == size[i];
    if (same || !at_has(v))
        return AT_OK;
    char expected[96], found[96];
    sizes_text(expected, sizeof expected, rank, size);
    sizes_text(found, sizeof found, v->rank, v->size);
    return at_fail(err, AT_INVALID, "%s: %s has sizes (%s), expected (%s)", op, name, found,
                   expected);
}

at_status at_expect_like(const char *op, const char *name, const at_view *v, const at_view *like,
                         at_error *err)
{
    return at_expect_sizes(op, name, v, like->rank, like->size, err);
}

at_status at_expect_vector(const char *op, const char *name, const at_view *v, int64_t n,
                           at_error *err)
{
    return at_expect_sizes(op, name, v, 1, &n, err);
}

at_status at_expect_rank(const char *op, const char *name, const at_view *v, int low, int high,
                         at_error *err)
{
    if (!at_has(v) || (v->rank >= low && v->rank <= high))
        return AT_OK;
    return at_fail(err, AT_INVALID, "%s: %s has %d axes, expected %d to %d", op, name, (int)v->rank,
                   low, high);
}

at_status at_expect_float(const char *op, const char *name, const at_view *v, at_error *err)
{
    if (!at_has(v) || at_dtype_is_float(v->dtype))
        return AT_OK;
    return at_fail(err, AT_INVALID, "%s: %s is %s, expected a floating type", op, name,
                   at_dtype_name(v->dtype));
}

at_status at_expect_wide(const char *op, const char *name, const at_view *v, at_error *err)
{
    if (!at_has(v) || v->dtype == AT_F32 || v->dtype == AT_F64)
        return AT_OK;
    return at_fail(err, AT_INVALID, "%s: %s is %s, expected f32", op, name,
                   at_dtype_name(v->dtype));
}

at_status at_expect_scale(const char *op, const char *name, const at_view *v, const at_view *scale,
                          int64_t n, at_error *err)
{
    if ((v->dtype == AT_F8) != at_has(scale))
        return at_fail(err, AT_INVALID, "%s: %s is %s and %s: f8 goes with a scale", op, name,
                       at_dtype_name(v->dtype), at_has(scale) ? "has a scale" : "has none");
    if (!at_has(scale) || (scale->rank == 1 && (scale->size[0] == 1 || scale->size[0] == n)))
        return AT_OK;
    char expected[32] = "1";
    if (n > 1)
        snprintf(expected, sizeof expected, "1 or %lld", (long long)n);
    return at_fail(err, AT_INVALID, "%s: scale of %s has %lld elements, expected %s", op, name,
                   (long long)at_elements(scale), expected);
}

at_status at_expect_size_attr(const char *op, const int64_t *size, at_dtype dtype, at_view *v,
                              at_error *err)
{
    int rank = 0;
    while (rank < AT_RANK_MAX && size[rank])
        rank++;
    for (int i = 0; i < AT_RANK_MAX; i++)
        if (size[i] < (i < rank) || (i >= rank && size[i]) || rank < 1)
            return at_fail(err, AT_INVALID, "%s: size %d is %lld, expected sizes of at least 1", op,
                           i, (long long)size[i]);
    *v = at_view_of(dtype, rank, size);
    return AT_OK;
}

at_view at_view_like(const at_view *v, at_dtype dtype)
{
    return at_view_of(dtype, v->rank, v->size);
}

at_view at_view_with_cols(const at_view *v, int64_t cols)
{
    at_view w = at_view_of(v->dtype, v->rank, v->size);
    w.size[w.rank - 1] = w.pitch = cols;
    return w;
}

at_view at_view_vector(at_dtype dtype, int64_t n)
{
    return at_view_of(dtype, 1, &n);
}

at_view at_view_matrix(at_dtype dtype, int64_t rows, int64_t cols)
{
    return at_view_of(dtype, 2, (const int64_t[]){ rows, cols });
}

at_dtype at_cast_type(int choice)
{
    static const at_dtype types[] = {
        AT_F32, AT_BF16, AT_F16, AT_F8, AT_F64, AT_I32, AT_I64, AT_U8
    };
    return types[choice];
}

at_dtype at_wide(at_dtype dtype)
{
    return dtype == AT_F64 ? AT_F64 : AT_F32;
}
