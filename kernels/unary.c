/* unary.c -- y = f(x), element by element, and its gradient. */
#include <math.h>

#include "kernels/shape.h"
#include "kernels/variants.h"

static const at_operand unary_operands[] = {
    AT_OPERAND(unary, y, AT_OUT, AT_BATCHED | AT_OVERLAY, AT_NONE),
    AT_OPERAND(unary, x, AT_IN, AT_BATCHED, AT_NONE),
};
static const at_attr unary_attrs[] = {
    AT_ENUM(unary, kind, AT_UNARY_KINDS),
    AT_FLOAT(unary, a),
    AT_FLOAT(unary, b),
};

static at_status unary_shape(void *args, at_error *err)
{
    at_unary_args *a = args;
    AT_TRY(at_expect_float("unary", "x", &a->x, err));
    a->y = at_view_like(&a->x, a->x.dtype);
    return AT_OK;
}

/* --- reference -------------------------------------------------------------------------------- */

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double apply(int kind, double x, double a, double b)
{
    switch ((at_unary_kind)kind) {
    case AT_SILU: return x * sigmoid(x);
    case AT_GELU: return 0.5 * x * (1 + erf(x * M_SQRT1_2));
    case AT_QUICK_GELU: return x * sigmoid(1.702 * x);
    case AT_RELU: return x > 0 ? x : 0;
    case AT_SIGMOID: return sigmoid(x);
    case AT_TANH: return tanh(x);
    case AT_EXP: return exp(x);
    case AT_CLAMP: return x < a ? a : x > b ? b : x;
    case AT_SCALE: return a * x + b;
    case AT_SQRT: return sqrt(x);
    }
    AT_ASSERT(false, "unary kind %d", kind);
}

/* f'(x). At a kink, the side that torch takes: relu'(0) = 0, clamp passes at its bounds. */
static double slope(int kind, double x, double a, double b)
{
    double s;
    switch ((at_unary_kind)kind) {
    case AT_SILU: s = sigmoid(x); return s * (1 + x * (1 - s));
    case AT_GELU:
        return 0.5 * (1 + erf(x * M_SQRT1_2)) +
               x * exp(-0.5 * x * x) * M_2_SQRTPI * 0.5 * M_SQRT1_2;
    case AT_QUICK_GELU: s = sigmoid(1.702 * x); return s * (1 + 1.702 * x * (1 - s));
    case AT_RELU: return x > 0;
    case AT_SIGMOID: s = sigmoid(x); return s * (1 - s);
    case AT_TANH: s = tanh(x); return 1 - s * s;
    case AT_EXP: return exp(x);
    case AT_CLAMP: return x >= a && x <= b;
    case AT_SCALE: return a;
    case AT_SQRT: return 0.5 / sqrt(x);
    }
    AT_ASSERT(false, "unary kind %d", kind);
}

static at_status unary_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_unary_args *a = args;
    (void)p, (void)l;
    int64_t rows = at_rows(&a->x), cols = at_cols(&a->x);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++)
            at_set(&a->y, r, c, apply(a->kind, at_get(&a->x, r, c), (double)a->a, (double)a->b));
    return AT_OK;
}

/* --- gradient --------------------------------------------------------------------------------- */

static const at_operand unary_bwd_operands[] = {
    AT_OPERAND(unary_bwd, dx, AT_OUT, AT_BATCHED | AT_OVERLAY, AT_NONE),
    AT_OPERAND(unary_bwd, x, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(unary_bwd, dy, AT_IN, AT_BATCHED, AT_NONE),
};
static const at_attr unary_bwd_attrs[] = {
    AT_ENUM(unary_bwd, kind, AT_UNARY_KINDS),
    AT_FLOAT(unary_bwd, a),
    AT_FLOAT(unary_bwd, b),
};

static at_status unary_bwd_shape(void *args, at_error *err)
{
    at_unary_bwd_args *a = args;
    AT_TRY(at_expect_float("unary_bwd", "x", &a->x, err));
    AT_TRY(at_expect_like("unary_bwd", "dy", &a->dy, &a->x, err));
    a->dx = at_view_like(&a->x, a->x.dtype);
    return AT_OK;
}

static at_status unary_bwd_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_unary_bwd_args *a = args;
    (void)p, (void)l;
    int64_t rows = at_rows(&a->x), cols = at_cols(&a->x);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) {
            double f = slope(a->kind, at_get(&a->x, r, c), (double)a->a, (double)a->b);
            at_set(&a->dx, r, c, f * at_get(&a->dy, r, c));
        }
    return AT_OK;
}

/* --- variants --------------------------------------------------------------------------------- */

static bool is_simd_type(at_dtype t)
{
    return t == AT_F32 || t == AT_BF16 || t == AT_F16;
}

static bool unary_fits(const void *args)
{
    const at_unary_args *a = args;
    return is_simd_type(a->x.dtype);
}

static bool unary_bwd_fits(const void *args)
{
    const at_unary_bwd_args *a = args;
    return is_simd_type(a->x.dtype) && a->dy.dtype == a->x.dtype;
}

AT_SIMD_DECLARE(at_unary);
AT_CUDA_DECLARE(at_unary);
static const at_variant unary_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("unary", at_unary, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("unary", at_unary, AT_ROWS_INDEPENDENT, unary_fits, NULL, NULL),
    AT_REFERENCE("unary", unary_ref),
};
AT_DEFINE_OP(unary, "y = f(x): " AT_UNARY_KINDS, unary_operands, unary_attrs, unary_shape, NULL,
             unary_variants);

AT_SIMD_DECLARE(at_unary_bwd);
AT_CUDA_DECLARE(at_unary_bwd);
static const at_variant unary_bwd_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("unary_bwd", at_unary_bwd, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("unary_bwd", at_unary_bwd, AT_ROWS_INDEPENDENT, unary_bwd_fits, NULL, NULL),
    AT_REFERENCE("unary_bwd", unary_bwd_ref),
};
AT_DEFINE_OP(unary_bwd, "dx = f'(x) dy", unary_bwd_operands, unary_bwd_attrs, unary_bwd_shape, NULL,
             unary_bwd_variants);
