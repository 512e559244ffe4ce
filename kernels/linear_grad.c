/* linear_grad.c -- the gradients of linear by its input and by its weights. */
#include "kernels/linear_variants.h"
#include "kernels/shape.h"

/* --- by the input ----------------------------------------------------------------------------- */

static const at_operand linear_dgrad_operands[] = {
    AT_OPERAND(linear_dgrad, dx, AT_OUT, AT_BATCHED, AT_NONE),
    AT_OPERAND(linear_dgrad, dy, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(linear_dgrad, w, AT_IN, AT_WEIGHT | AT_DENSE, AT_NONE),
    AT_OPERAND(linear_dgrad, residual, AT_IN, AT_OPTIONAL | AT_BATCHED, AT_NONE),
};

static at_status linear_dgrad_shape(void *args, at_error *err)
{
    at_linear_dgrad_args *a = args;
    AT_TRY(at_expect_rank("linear_dgrad", "w", &a->w, 2, 2, err));
    AT_TRY(at_expect_float("linear_dgrad", "dy", &a->dy, err));
    AT_TRY(at_expect_float("linear_dgrad", "w", &a->w, err));
    const int64_t size[2] = { at_cols(&a->dy), a->w.size[1] };
    AT_TRY(at_expect_sizes("linear_dgrad", "w", &a->w, 2, size, err));
    a->dx = at_view_with_cols(&a->dy, size[1]);
    AT_TRY(at_expect_like("linear_dgrad", "residual", &a->residual, &a->dx, err));
    return at_expect_float("linear_dgrad", "residual", &a->residual, err);
}

static double linear_dgrad_flops(const void *args)
{
    const at_linear_dgrad_args *a = args;
    return 2.0 * (double)at_rows(&a->dy) * (double)a->w.size[0] * (double)a->w.size[1];
}

static at_status linear_dgrad_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_linear_dgrad_args *a = args;
    (void)p, (void)l;
    for (int64_t r = 0; r < at_rows(&a->dx); r++)
        for (int64_t k = 0; k < at_cols(&a->dx); k++) {
            double sum = at_has(&a->residual) ? at_get(&a->residual, r, k) : 0;
            for (int64_t n = 0; n < at_cols(&a->dy); n++)
                sum += at_get(&a->dy, r, n) * at_get(&a->w, n, k);
            at_set(&a->dx, r, k, sum);
        }
    return AT_OK;
}

bool at_linear_dgrad_simd_fits(const void *args)
{
    const at_linear_dgrad_args *a = args;
    return at_is_simd_type(a->dy.dtype) && at_is_simd_type(a->w.dtype) &&
           (!at_has(&a->residual) || at_is_simd_type(a->residual.dtype));
}

static const at_variant linear_dgrad_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUBLASLT_VARIANT("linear_dgrad", at_linear_dgrad),
    AT_CUDA_TILED_VARIANT("linear_dgrad", at_linear_dgrad, AT_ROWS_INDEPENDENT),
#endif
    AT_LINEAR_ONEDNN_FIRST(linear_dgrad, AT_ROWS_WHEN_EXACT) //
    AT_LINEAR_ONEDNN_F32(linear_dgrad, AT_ROWS_WHEN_EXACT)   //
    AT_OWN_VARIANTS("linear_dgrad", at_linear_dgrad, AT_ROWS_INDEPENDENT,
                    at_linear_dgrad_simd_fits),
    AT_LINEAR_ONEDNN_LAST(linear_dgrad, AT_ROWS_WHEN_EXACT) //
    AT_REFERENCE("linear_dgrad", linear_dgrad_ref),
};
AT_DEFINE_OP(linear_dgrad, "dx = dy w + residual", linear_dgrad_operands, at_no_attrs,
             linear_dgrad_shape, linear_dgrad_flops, linear_dgrad_variants);

/* --- by the weights --------------------------------------------------------------------------- */

static const at_operand linear_wgrad_operands[] = {
    AT_OPERAND(linear_wgrad, dw, AT_OUT, AT_DENSE, AT_NONE),
    AT_OPERAND(linear_wgrad, dbias, AT_OUT, AT_OPTIONAL, AT_NONE),
    AT_OPERAND(linear_wgrad, dy, AT_IN, 0, AT_NONE),
    AT_OPERAND(linear_wgrad, x, AT_IN, 0, AT_NONE),
    AT_OPERAND(linear_wgrad, acc, AT_IN, AT_OPTIONAL | AT_DENSE, AT_NONE),
    AT_OPERAND(linear_wgrad, bias_acc, AT_IN, AT_OPTIONAL, AT_NONE),
};

at_status at_expect_sums(const char *op, const at_view *acc, const at_view *bias_acc, at_dtype wide,
                         at_error *err)
{
    if (at_has(acc) && acc->dtype != wide)
        return at_fail(err, AT_INVALID, "%s: acc is %s, expected %s", op, at_dtype_name(acc->dtype),
                       at_dtype_name(wide));
    if (at_has(bias_acc) && bias_acc->dtype != wide)
        return at_fail(err, AT_INVALID, "%s: bias_acc is %s, expected %s", op,
                       at_dtype_name(bias_acc->dtype), at_dtype_name(wide));
    return AT_OK;
}

static at_status linear_wgrad_shape(void *args, at_error *err)
{
    at_linear_wgrad_args *a = args;
    AT_TRY(at_expect_float("linear_wgrad", "dy", &a->dy, err));
    AT_TRY(at_expect_float("linear_wgrad", "x", &a->x, err));
    at_view like = at_view_with_cols(&a->x, at_cols(&a->dy));
    AT_TRY(at_expect_like("linear_wgrad", "dy", &a->dy, &like, err));
    if (a->dy.dtype != a->x.dtype)
        return at_fail(err, AT_INVALID, "linear_wgrad: dy is %s, expected %s as x",
                       at_dtype_name(a->dy.dtype), at_dtype_name(a->x.dtype));
    at_dtype wide = at_wide(a->x.dtype);
    a->dw = at_view_matrix(wide, at_cols(&a->dy), at_cols(&a->x));
    a->dbias = at_view_vector(wide, at_cols(&a->dy));
    AT_TRY(at_expect_like("linear_wgrad", "acc", &a->acc, &a->dw, err));
    AT_TRY(at_expect_like("linear_wgrad", "bias_acc", &a->bias_acc, &a->dbias, err));
    return at_expect_sums("linear_wgrad", &a->acc, &a->bias_acc, wide, err);
}

static double linear_wgrad_flops(const void *args)
{
    const at_linear_wgrad_args *a = args;
    return 2.0 * (double)at_rows(&a->dy) * (double)at_cols(&a->dy) * (double)at_cols(&a->x);
}

static at_status linear_wgrad_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_linear_wgrad_args *a = args;
    int64_t rows = at_rows(&a->dy);
    (void)p, (void)l;
    for (int64_t n = 0; n < at_cols(&a->dy); n++) {
        for (int64_t k = 0; k < at_cols(&a->x); k++) {
            double sum = at_has(&a->acc) ? at_get(&a->acc, n, k) : 0;
            for (int64_t r = 0; r < rows; r++)
                sum += at_get(&a->dy, r, n) * at_get(&a->x, r, k);
            at_set(&a->dw, n, k, sum);
        }
        double sum = at_has(&a->bias_acc) ? at_get(&a->bias_acc, 0, n) : 0;
        for (int64_t r = 0; r < rows && at_has(&a->dbias); r++)
            sum += at_get(&a->dy, r, n);
        if (at_has(&a->dbias))
            at_set(&a->dbias, 0, n, sum);
    }
    return AT_OK;
}

bool at_linear_wgrad_simd_fits(const void *args)
{
    const at_linear_wgrad_args *a = args;
    return at_is_simd_type(a->x.dtype);
}

static const at_variant linear_wgrad_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUBLASLT_VARIANT("linear_wgrad", at_linear_wgrad),
    AT_CUDA_TILED_VARIANT("linear_wgrad", at_linear_wgrad, 0),
#endif
    AT_OWN_VARIANTS("linear_wgrad", at_linear_wgrad, 0, at_linear_wgrad_simd_fits),
    AT_REFERENCE("linear_wgrad", linear_wgrad_ref),
};
AT_DEFINE_OP(linear_wgrad, "dw = acc + dy^T x; dbias", linear_wgrad_operands, at_no_attrs,
             linear_wgrad_shape, linear_wgrad_flops, linear_wgrad_variants);
