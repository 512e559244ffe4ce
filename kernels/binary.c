/* binary.c -- y = a op (b_scale * b), b of a's shape or laid over it, and linear interpolation. */
#include "kernels/shape.h"
#include "kernels/spread.h"
#include "kernels/variants.h"

static const at_operand binary_operands[] = {
    AT_OPERAND(binary, y, AT_OUT, AT_BATCHED | AT_OVERLAY, AT_NONE),
    AT_OPERAND(binary, a, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(binary, b, AT_IN, AT_BATCHED, AT_NONE),
};
static const at_attr binary_attrs[] = {
    AT_ENUM(binary, kind, AT_BINARY_KINDS),
    AT_ENUM(binary, spread, AT_SPREADS),
    AT_FLOAT(binary, b_scale),
};

static at_status binary_shape(void *args, at_error *err)
{
    at_binary_args *a = args;
    AT_TRY(at_expect_float("binary", "a", &a->a, err));
    AT_TRY(at_expect_float("binary", "b", &a->b, err));
    AT_TRY(at_expect_spread("binary", "b", &a->b, &a->a, a->spread, err));
    a->y = at_view_like(&a->a, a->a.dtype);
    return AT_OK;
}

/* --- reference -------------------------------------------------------------------------------- */

static double apply(int kind, double a, double b)
{
    switch ((at_binary_kind)kind) {
    case AT_ADD: return a + b;
    case AT_SUB: return a - b;
    case AT_MUL: return a * b;
    case AT_DIV: return a / b;
    case AT_MAX: return a > b ? a : b; /* b where either is not a number */
    case AT_MIN: return a < b ? a : b;
    }
    AT_ASSERT(false, "binary kind %d", kind);
}

/* Element (r, c) of a's partner. */
static double partner(const at_binary_args *a, int64_t r, int64_t c)
{
    switch ((at_spread)a->spread) {
    case AT_SAME: return at_get(&a->b, r, c);
    case AT_SUFFIX: return at_get(&a->b, r % at_rows(&a->b), c);
    case AT_PER_SAMPLE: return at_get(&a->b, r / (at_rows(&a->a) / a->a.size[0]), c);
    case AT_SCALAR: return at_get(&a->b, 0, 0);
    }
    AT_ASSERT(false, "spread %d", a->spread);
}

static at_status binary_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_binary_args *a = args;
    double factor = a->b_scale != 0 ? (double)a->b_scale : 1;
    (void)p, (void)l;
    int64_t rows = at_rows(&a->a), cols = at_cols(&a->a);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) {
            double y = apply(a->kind, at_get(&a->a, r, c), factor * partner(a, r, c));
            at_set(&a->y, r, c, y);
        }
    return AT_OK;
}

/* --- linear interpolation --------------------------------------------------------------------- */

static const at_operand lerp_operands[] = {
    AT_OPERAND(lerp, y, AT_OUT, AT_BATCHED | AT_OVERLAY, AT_NONE),
    AT_OPERAND(lerp, a, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(lerp, b, AT_IN, AT_BATCHED, AT_NONE),
    AT_OPERAND(lerp, t, AT_IN, AT_BATCHED, AT_F32),
};

static at_status lerp_shape(void *args, at_error *err)
{
    at_lerp_args *a = args;
    AT_TRY(at_expect_float("lerp", "a", &a->a, err));
    AT_TRY(at_expect_like("lerp", "b", &a->b, &a->a, err));
    if (a->b.dtype != a->a.dtype)
        return at_fail(err, AT_INVALID, "lerp: b is %s, a is %s", at_dtype_name(a->b.dtype),
                       at_dtype_name(a->a.dtype));
    if (a->t.rank != 1 || a->t.size[0] != 1)
        AT_TRY(at_expect_vector("lerp", "t", &a->t, a->a.size[0], err));
    a->y = at_view_like(&a->a, a->a.dtype);
    return AT_OK;
}

static at_status lerp_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_lerp_args *a = args;
    (void)p, (void)l;
    int64_t rows = at_rows(&a->a), cols = at_cols(&a->a);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) {
            int64_t sample = a->a.rank > 1 ? r / (rows / a->a.size[0]) : c;
            double t = at_get(&a->t, 0, at_cols(&a->t) > 1 ? sample : 0);
            double from = at_get(&a->a, r, c), to = at_get(&a->b, r, c);
            at_set(&a->y, r, c, from + t * (to - from));
        }
    return AT_OK;
}

static double lerp_flops(const void *args)
{
    const at_lerp_args *a = args;
    return 3 * (double)at_elements(&a->a);
}

/* --- variants --------------------------------------------------------------------------------- */

static bool binary_fits(const void *args)
{
    const at_binary_args *a = args;
    return at_is_simd_type(a->a.dtype) && (a->b.dtype == a->a.dtype || a->b.dtype == AT_F32);
}

static bool lerp_fits(const void *args)
{
    const at_lerp_args *a = args;
    return at_is_simd_type(a->a.dtype) && (a->a.rank > 1 || at_cols(&a->t) == 1);
}

AT_SIMD_DECLARE(at_binary);
AT_CUDA_DECLARE(at_binary);
static const at_variant binary_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("binary", at_binary, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("binary", at_binary, AT_ROWS_INDEPENDENT, binary_fits, NULL, NULL),
    AT_REFERENCE("binary", binary_ref),
};
AT_DEFINE_OP(binary, "y = a op (b_scale * b): " AT_BINARY_KINDS, binary_operands, binary_attrs,
             binary_shape, NULL, binary_variants);

AT_SIMD_DECLARE(at_lerp);
AT_CUDA_DECLARE(at_lerp);
static const at_variant lerp_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("lerp", at_lerp, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("lerp", at_lerp, AT_ROWS_INDEPENDENT, lerp_fits, NULL, NULL),
    AT_REFERENCE("lerp", lerp_ref),
};
AT_DEFINE_OP(lerp, "y = a + t * (b - a)", lerp_operands, at_no_attrs, lerp_shape, lerp_flops,
             lerp_variants);
