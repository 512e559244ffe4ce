/* reduce.c -- sums over axes, and the opposite: a small tensor laid over a large one. */
#include "kernels/reduce.h"

#include "kernels/shape.h"
#include "kernels/spread.h"
#include "kernels/variants.h"

static const at_operand reduce_operands[] = {
    AT_OPERAND(reduce, y, AT_OUT, AT_OVERLAY, AT_NONE),
    AT_OPERAND(reduce, x, AT_IN, 0, AT_NONE),
    AT_OPERAND(reduce, acc, AT_IN, AT_OPTIONAL, AT_NONE),
};
static const at_attr reduce_attrs[] = {
    AT_ENUM(reduce, kind, AT_REDUCE_KINDS),
    AT_ENUM(reduce, over, AT_OVERS),
    AT_INT(reduce, keep),
};

/* --- shape ------------------------------------------------------------------------------------ */

static at_status reduced(const at_reduce_args *a, at_view *y, at_error *err)
{
    const at_view *x = &a->x;
    at_dtype wide = at_wide(x->dtype);
    switch ((at_over)a->over) {
    case AT_OVER_ROWS: *y = at_view_vector(wide, at_cols(x)); return AT_OK;
    case AT_OVER_COLS: *y = at_view_vector(wide, at_rows(x)); return AT_OK;
    case AT_OVER_ALL: *y = at_view_vector(wide, 1); return AT_OK;
    case AT_OVER_POSITIONS:
        AT_TRY(at_expect_rank("reduce", "x", x, 2, AT_RANK_MAX, err));
        *y = at_view_matrix(wide, x->size[0], at_cols(x));
        return AT_OK;
    case AT_OVER_LEADING:
        if (a->keep < 1 || a->keep > x->rank)
            return at_fail(err, AT_INVALID, "reduce: keep is %lld, expected 1 to %d axes",
                           (long long)a->keep, (int)x->rank);
        *y = at_view_of(wide, (int)a->keep, x->size + x->rank - a->keep);
        return AT_OK;
    }
    return at_fail(err, AT_INVALID, "reduce: over %d does not exist", a->over);
}

static at_status reduce_shape(void *args, at_error *err)
{
    at_reduce_args *a = args;
    AT_TRY(at_expect_float("reduce", "x", &a->x, err));
    AT_TRY(reduced(a, &a->y, err));
    AT_TRY(at_expect_like("reduce", "acc", &a->acc, &a->y, err));
    if (at_has(&a->acc) && a->acc.dtype != a->y.dtype)
        return at_fail(err, AT_INVALID, "reduce: acc is %s, expected %s",
                       at_dtype_name(a->acc.dtype), at_dtype_name(a->y.dtype));
    return AT_OK;
}

static double reduce_flops(const void *args)
{
    const at_reduce_args *a = args;
    return (a->kind == AT_SUM_SQUARES ? 2 : 1) * (double)at_elements(&a->x);
}

at_reduce_walk at_reduce_walk_of(const at_reduce_args *a)
{
    int64_t rows = at_rows(&a->x), cols = at_cols(&a->x), pitch = a->x.pitch;
    int64_t groups = 1, step = pitch;
    bool dense = at_dense(&a->x) && at_dense(&a->y) && (!at_has(&a->acc) || at_dense(&a->acc));
    switch ((at_over)a->over) {
    case AT_OVER_ROWS: break;
    case AT_OVER_COLS: return (at_reduce_walk){ rows, 0, 1, 0, cols, pitch, false };
    case AT_OVER_ALL:
        if (at_dense(&a->x))
            return (at_reduce_walk){ 1, 0, 1, 0, rows * cols, rows * cols, false };
        return (at_reduce_walk){ rows, 0, 1, 0, cols, pitch, false };
    case AT_OVER_POSITIONS:
        groups = a->x.size[0];
        return (
            at_reduce_walk){ groups, rows / groups * pitch, rows / groups, pitch, cols, 0, true };
    case AT_OVER_LEADING:
        groups = at_rows(&a->y);
        if (dense)
            return (at_reduce_walk){ 1, 0, rows / groups, groups * cols, groups * cols, 0, true };
        step = groups * pitch;
        break;
    }
    return (at_reduce_walk){ groups, pitch, rows / groups, step, cols, 0, true };
}

/* --- reference -------------------------------------------------------------------------------- */

/* Which element of y, counted without pitch, element (r, c) of x belongs to. */
static int64_t target_of(const at_reduce_args *a, int64_t r, int64_t c)
{
    int64_t rows = at_rows(&a->x), cols = at_cols(&a->x);
    switch ((at_over)a->over) {
    case AT_OVER_ROWS: return c;
    case AT_OVER_COLS: return r;
    case AT_OVER_POSITIONS: return r / (rows / a->x.size[0]) * cols + c;
    case AT_OVER_ALL: return 0;
    case AT_OVER_LEADING: return r % at_rows(&a->y) * cols + c;
    }
    AT_ASSERT(false, "over %d", a->over);
}

/* One output at a time, so that its sum is kept in double. */
static at_status reduce_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_reduce_args *a = args;
    int64_t rows = at_rows(&a->x), cols = at_cols(&a->x), n = at_elements(&a->y);
    int64_t y_cols = at_cols(&a->y);
    double *sum = l->scratch; /* as many as y has elements */
    (void)p;
    for (int64_t i = 0; i < n; i++)
        sum[i] = 0;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) {
            double x = at_get(&a->x, r, c);
            sum[target_of(a, r, c)] += a->kind == AT_SUM_SQUARES ? x * x : x;
        }
    for (int64_t i = 0; i < n; i++) {
        double y = a->kind == AT_MEAN ? sum[i] / ((double)(rows * cols) / (double)n) : sum[i];
        if (at_has(&a->acc))
            y += at_get(&a->acc, i / y_cols, i % y_cols);
        at_set(&a->y, i / y_cols, i % y_cols, y);
    }
    return AT_OK;
}

static at_status reduce_ref_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                    at_error *err)
{
    const at_reduce_args *a = args;
    (void)in, (void)err;
    out->scratch_bytes = (size_t)at_elements(&a->y) * sizeof(double);
    return AT_OK;
}

/* --- broadcast -------------------------------------------------------------------------------- */

static const at_operand broadcast_operands[] = {
    AT_OPERAND(broadcast, y, AT_OUT, 0, AT_NONE),
    AT_OPERAND(broadcast, x, AT_IN, 0, AT_NONE),
};
static const at_attr broadcast_attrs[] = {
    AT_INTS(broadcast, size, AT_RANK_MAX),
    AT_FLOAT(broadcast, scale),
    AT_ENUM(broadcast, spread, AT_SPREADS),
    AT_ENUM(broadcast, to, AT_CAST_TYPES),
};

static at_status broadcast_shape(void *args, at_error *err)
{
    at_broadcast_args *a = args;
    AT_TRY(at_expect_float("broadcast", "x", &a->x, err));
    AT_TRY(at_expect_size_attr("broadcast", a->size, at_cast_type(a->to), &a->y, err));
    return at_expect_spread("broadcast", "x", &a->x, &a->y, a->spread, err);
}

static at_status broadcast_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_broadcast_args *a = args;
    double scale = a->scale != 0 ? (double)a->scale : 1;
    (void)p, (void)l;
    int64_t rows = at_rows(&a->y), cols = at_cols(&a->y), samples = a->y.size[0];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) {
            int64_t row = r, col = c;
            if (a->spread == AT_SUFFIX)
                row = r % at_rows(&a->x);
            if (a->spread == AT_PER_SAMPLE)
                row = r / (rows / samples);
            if (a->spread == AT_SCALAR)
                row = col = 0;
            at_set(&a->y, r, c, scale * at_get(&a->x, row, col));
        }
    return AT_OK;
}

/* --- variants --------------------------------------------------------------------------------- */

static bool reduce_fits(const void *args)
{
    const at_reduce_args *a = args;
    return at_is_simd_type(a->x.dtype);
}

static bool broadcast_fits(const void *args)
{
    const at_broadcast_args *a = args;
    return at_is_simd_type(a->x.dtype) && at_is_simd_type(a->y.dtype);
}

static at_status reduce_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                at_error *err)
{
    const at_reduce_args *a = args;
    at_reduce_walk w = at_reduce_walk_of(a);
    (void)in, (void)err;
    out->scratch_bytes = at_reduce_scratch(&w, a->over);
    return AT_OK;
}

AT_SIMD_DECLARE(at_reduce);
AT_CUDA_DECLARE(at_reduce);
at_status at_reduce_cuda_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                 at_error *err);
static const at_variant reduce_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("reduce", at_reduce, AT_ROWS_INDEPENDENT, at_reduce_cuda_prepare),
#endif
    AT_SIMD_VARIANTS("reduce", at_reduce, AT_ROWS_INDEPENDENT, reduce_fits, reduce_prepare, NULL),
    { "reduce_ref", AT_CPU, 0, AT_ROWS_INDEPENDENT, NULL, reduce_ref_prepare, NULL, NULL,
      reduce_ref },
};
AT_DEFINE_OP(reduce, "y = acc + " AT_REDUCE_KINDS " of x over " AT_OVERS, reduce_operands,
             reduce_attrs, reduce_shape, reduce_flops, reduce_variants);

AT_SIMD_DECLARE(at_broadcast);
AT_CUDA_DECLARE(at_broadcast);
static const at_variant broadcast_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("broadcast", at_broadcast, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("broadcast", at_broadcast, AT_ROWS_INDEPENDENT, broadcast_fits, NULL, NULL),
    AT_REFERENCE("broadcast", broadcast_ref),
};
AT_DEFINE_OP(broadcast, "y = scale * x laid over a larger shape", broadcast_operands,
             broadcast_attrs, broadcast_shape, NULL, broadcast_variants);
