/* linear.c -- y = act(x w^T + bias + residual), with scales around it where operands are f8. */
#include <math.h>

#include "kernels/linear_variants.h"
#include "kernels/shape.h"

static const at_operand linear_operands[] = {
    AT_OPERAND(linear, y, AT_OUT, AT_BATCHED, AT_NONE),
    AT_OPERAND(linear, z, AT_OUT, AT_OPTIONAL | AT_BATCHED, AT_NONE),
    AT_OPERAND(linear, y_amax, AT_OUT, AT_OPTIONAL, AT_F32),
    AT_OPERAND(linear, x, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(linear, w, AT_IN, AT_WEIGHT | AT_DENSE, AT_NONE),
    AT_OPERAND(linear, bias, AT_IN, AT_OPTIONAL | AT_WEIGHT, AT_NONE),
    AT_OPERAND(linear, residual, AT_IN, AT_OPTIONAL | AT_BATCHED, AT_NONE),
    AT_OPERAND(linear, x_scale, AT_IN, AT_OPTIONAL, AT_F32),
    AT_OPERAND(linear, w_scale, AT_IN, AT_OPTIONAL, AT_F32),
    AT_OPERAND(linear, y_scale, AT_IN, AT_OPTIONAL, AT_F32),
};
static const at_attr linear_attrs[] = {
    AT_ENUM(linear, act, AT_ACTS),
    AT_ENUM(linear, y_dtype, "same|f32|bf16|f16|f8"),
};

static at_status check_inputs(const at_linear_args *a, at_error *err)
{
    AT_TRY(at_expect_rank("linear", "w", &a->w, 2, 2, err));
    AT_TRY(at_expect_float("linear", "x", &a->x, err));
    AT_TRY(at_expect_float("linear", "w", &a->w, err));
    AT_TRY(at_expect_float("linear", "bias", &a->bias, err));
    const int64_t size[2] = { a->w.size[0], at_cols(&a->x) };
    AT_TRY(at_expect_sizes("linear", "w", &a->w, 2, size, err));
    AT_TRY(at_expect_vector("linear", "bias", &a->bias, size[0], err));
    AT_TRY(at_expect_scale("linear", "x", &a->x, &a->x_scale, at_rows(&a->x), err));
    AT_TRY(at_expect_scale("linear", "w", &a->w, &a->w_scale, a->w.size[0], err));
    return AT_OK;
}

static at_status linear_shape(void *args, at_error *err)
{
    static const at_dtype types[] = { AT_NONE, AT_F32, AT_BF16, AT_F16, AT_F8 };
    at_linear_args *a = args;
    AT_TRY(check_inputs(a, err));
    at_dtype type = a->y_dtype ? types[a->y_dtype] : a->x.dtype;
    if (type == AT_F32)
        type = at_wide(a->x.dtype);
    at_view y = at_view_with_cols(&a->x, a->w.size[0]);
    a->y = at_view_like(&y, type);
    AT_TRY(at_expect_scale("linear", "y", &a->y, &a->y_scale, 1, err));
    at_dtype wide = type == AT_F8 ? AT_F32 : type;
    a->z = at_view_like(&y, a->x.dtype == AT_F8 ? wide : a->x.dtype);
    a->y_amax = at_view_vector(AT_F32, 1);
    AT_TRY(at_expect_like("linear", "residual", &a->residual, &a->y, err));
    return at_expect_float("linear", "residual", &a->residual, err);
}

static double linear_flops(const void *args)
{
    const at_linear_args *a = args;
    return 2.0 * (double)at_rows(&a->x) * (double)a->w.size[0] * (double)a->w.size[1];
}

/* --- reference -------------------------------------------------------------------------------- */

static double activate(int act, double z)
{
    switch ((at_act)act) {
    case AT_ACT_NONE: return z;
    case AT_ACT_RELU: return z > 0 ? z : 0;
    case AT_ACT_GELU: return 0.5 * z * (1 + erf(z * M_SQRT1_2));
    case AT_ACT_QUICK_GELU: return z / (1 + exp(-1.702 * z));
    case AT_ACT_SILU: return z / (1 + exp(-z));
    }
    AT_ASSERT(false, "activation %d", act);
}

/* The scale of row or column i: one for all, or one each; 1 when there is none. */
static double scale_of(const at_view *scale, int64_t i)
{
    return at_has(scale) ? at_get(scale, 0, at_cols(scale) > 1 ? i : 0) : 1;
}

static double before_activation(const at_linear_args *a, int64_t r, int64_t n)
{
    double z = 0;
    for (int64_t k = 0; k < at_cols(&a->x); k++)
        z += at_get(&a->x, r, k) * at_get(&a->w, n, k);
    z *= scale_of(&a->x_scale, r) * scale_of(&a->w_scale, n);
    if (at_has(&a->bias))
        z += at_get(&a->bias, 0, n);
    if (at_has(&a->residual))
        z += at_get(&a->residual, r, n);
    return z;
}

static at_status linear_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_linear_args *a = args;
    double largest = 0;
    (void)p, (void)l;
    for (int64_t r = 0; r < at_rows(&a->y); r++)
        for (int64_t n = 0; n < at_cols(&a->y); n++) {
            double z = before_activation(a, r, n), y = activate(a->act, z);
            if (at_has(&a->z))
                at_set(&a->z, r, n, z);
            at_set(&a->y, r, n, y / scale_of(&a->y_scale, 0));
            largest = fmax(largest, fabs(y));
        }
    if (at_has(&a->y_amax))
        at_set(&a->y_amax, 0, 0, largest);
    return AT_OK;
}

/* --- variants --------------------------------------------------------------------------------- */

bool at_linear_simd_fits(const void *args)
{
    const at_linear_args *a = args;
    return at_is_simd_type(a->x.dtype) && at_is_simd_type(a->w.dtype) &&
           at_is_simd_type(a->y.dtype) && (!at_has(&a->bias) || at_is_simd_type(a->bias.dtype)) &&
           (!at_has(&a->residual) || at_is_simd_type(a->residual.dtype));
}

/* Few rows a sample, and not so many samples that it would be an ordinary product: the choice is
 * the same for a sample alone and in a batch of up to FEW_SAMPLES. */
bool at_linear_few_fits(const void *args)
{
    enum { FEW_ROWS = 16, FEW_SAMPLES = 64 };
    const at_linear_args *a = args;
    int64_t samples = a->x.rank > 1 ? a->x.size[0] : 1;
    return at_linear_simd_fits(args) && samples <= FEW_SAMPLES &&
           at_rows(&a->x) <= FEW_ROWS * samples;
}

at_few_layout at_few_layout_of(const at_linear_args *a, int threads)
{
    enum { LINE = 16 }; /* floats */
    at_few_layout l = { .stride = (at_cols(&a->x) / AT_FEW_LANES + 1) * AT_FEW_LANES };
    int64_t blocks = (a->w.size[0] + AT_FEW_BLOCK - 1) / AT_FEW_BLOCK, rows = at_rows(&a->x);
    l.x = (size_t)(rows * l.stride) * 4;
    l.amax = (size_t)((blocks + LINE - 1) / LINE * LINE) * 4;
    l.worker = (size_t)(rows * AT_FEW_BLOCK) * 4;
    l.total = l.x + l.amax + l.worker * (size_t)threads;
    return l;
}

at_status at_linear_few_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                at_error *err)
{
    (void)err;
    out->scratch_bytes = at_few_layout_of(args, in->caps->threads).total;
    return AT_OK;
}

static const at_variant linear_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("linear_few", at_linear_few, AT_ROWS_INDEPENDENT, NULL),
    AT_CUBLASLT_VARIANT("linear", at_linear),
    AT_CUDA_TILED_VARIANT("linear", at_linear, AT_ROWS_INDEPENDENT),
#endif
    AT_SIMD_VARIANTS("linear_few", at_linear_few, AT_ROWS_INDEPENDENT, at_linear_few_fits,
                     at_linear_few_prepare, NULL),
    AT_LINEAR_ONEDNN_FIRST(linear, AT_ROWS_WHEN_EXACT) //
    AT_LINEAR_ONEDNN_F32(linear, AT_ROWS_WHEN_EXACT)   //
    AT_OWN_VARIANTS("linear", at_linear, AT_ROWS_INDEPENDENT, at_linear_simd_fits),
    AT_LINEAR_ONEDNN_LAST(linear, AT_ROWS_WHEN_EXACT) //
    AT_REFERENCE("linear", linear_ref),
};
AT_DEFINE_OP(linear, "y = act(x w^T + bias + residual)", linear_operands, linear_attrs,
             linear_shape, linear_flops, linear_variants);
