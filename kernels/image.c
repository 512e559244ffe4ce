/* image.c -- pictures of bytes into tensors and back. */
#include <math.h>

#include "kernels/shape.h"
#include "kernels/variants.h"

enum { CHANNELS_MAX = 4 };

/* --- bytes to numbers ------------------------------------------------------------------------- */

static const at_operand image_to_tensor_operands[] = {
    AT_OPERAND(image_to_tensor, y, AT_OUT, AT_BATCHED, AT_NONE),
    AT_OPERAND(image_to_tensor, x, AT_IN, AT_BATCHED, AT_U8),
};
static const at_attr image_to_tensor_attrs[] = {
    { "mean", offsetof(at_image_to_tensor_args, mean), AT_ATTR_F32, CHANNELS_MAX, NULL },
    { "std", offsetof(at_image_to_tensor_args, std), AT_ATTR_F32, CHANNELS_MAX, NULL },
    AT_FLOAT(image_to_tensor, scale),
    AT_ENUM(image_to_tensor, to, AT_CAST_TYPES),
};

static at_status image_to_tensor_shape(void *args, at_error *err)
{
    at_image_to_tensor_args *a = args;
    AT_TRY(at_expect_rank("image_to_tensor", "x", &a->x, 4, 4, err));
    at_dtype to = at_cast_type(a->to);
    if (!at_dtype_is_float(to))
        return at_fail(err, AT_INVALID, "image_to_tensor: to is %s, expected a floating type",
                       at_dtype_name(to));
    if (a->x.size[3] > CHANNELS_MAX)
        return at_fail(err, AT_INVALID, "image_to_tensor: x has %lld channels, expected at most %d",
                       (long long)a->x.size[3], CHANNELS_MAX);
    a->y = at_view_like(&a->x, to);
    return AT_OK;
}

static at_status image_to_tensor_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_image_to_tensor_args *a = args;
    (void)p, (void)l;
    for (int64_t r = 0; r < at_rows(&a->x); r++)
        for (int64_t c = 0; c < a->x.size[3]; c++) {
            double mean = (double)a->mean[c], std = a->std[c] == 0 ? 1 : (double)a->std[c];
            at_set(&a->y, r, c, (at_get(&a->x, r, c) * (double)a->scale - mean) / std);
        }
    return AT_OK;
}

/* --- numbers to bytes ------------------------------------------------------------------------- */

static const at_operand tensor_to_image_operands[] = {
    AT_OPERAND(tensor_to_image, y, AT_OUT, AT_BATCHED, AT_U8),
    AT_OPERAND(tensor_to_image, x, AT_IN, AT_BATCHED, AT_NONE),
};
static const at_attr tensor_to_image_attrs[] = {
    AT_FLOAT(tensor_to_image, scale),
    AT_FLOAT(tensor_to_image, shift),
    AT_ENUM(tensor_to_image, rounding, AT_ROUNDINGS),
};

static at_status tensor_to_image_shape(void *args, at_error *err)
{
    at_tensor_to_image_args *a = args;
    AT_TRY(at_expect_rank("tensor_to_image", "x", &a->x, 4, 4, err));
    AT_TRY(at_expect_float("tensor_to_image", "x", &a->x, err));
    a->y = at_view_like(&a->x, AT_U8);
    return AT_OK;
}

/* In f32, a product rounded and then a sum rounded: a byte has no tolerance, so where a half lies
 * must not depend on the variant. What is not a number becomes 0. */
static float byte_of(float x, const at_tensor_to_image_args *a)
{
    float scaled = x * a->scale, v = scaled + a->shift;
    v = v > 0 ? v : 0;
    v = v < 255 ? v : 255;
    enum { HALF_EVEN, HALF_UP, TRUNCATE };
    return a->rounding == HALF_EVEN ? rintf(v)
           : a->rounding == HALF_UP ? floorf(v + 0.5f)
                                    : floorf(v);
}

static at_status tensor_to_image_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_tensor_to_image_args *a = args;
    (void)p, (void)l;
    for (int64_t r = 0; r < at_rows(&a->x); r++)
        for (int64_t c = 0; c < a->x.size[3]; c++)
            at_set(&a->y, r, c, (double)byte_of((float)at_get(&a->x, r, c), a));
    return AT_OK;
}

/* --- variants --------------------------------------------------------------------------------- */

static bool image_to_tensor_fits(const void *args)
{
    return at_is_simd_type(((const at_image_to_tensor_args *)args)->y.dtype);
}

static bool tensor_to_image_fits(const void *args)
{
    return at_is_simd_type(((const at_tensor_to_image_args *)args)->x.dtype);
}

AT_SIMD_DECLARE(at_image_to_tensor);
AT_CUDA_DECLARE(at_image_to_tensor);
static const at_variant image_to_tensor_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("image_to_tensor", at_image_to_tensor, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("image_to_tensor", at_image_to_tensor, AT_ROWS_INDEPENDENT,
                     image_to_tensor_fits, NULL, NULL),
    AT_REFERENCE("image_to_tensor", image_to_tensor_ref),
};
AT_DEFINE_OP(image_to_tensor, "y = (x * scale - mean) / std, x bytes", image_to_tensor_operands,
             image_to_tensor_attrs, image_to_tensor_shape, NULL, image_to_tensor_variants);

AT_SIMD_DECLARE(at_tensor_to_image);
AT_CUDA_DECLARE(at_tensor_to_image);
static const at_variant tensor_to_image_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("tensor_to_image", at_tensor_to_image, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("tensor_to_image", at_tensor_to_image, AT_ROWS_INDEPENDENT,
                     tensor_to_image_fits, NULL, NULL),
    AT_REFERENCE("tensor_to_image", tensor_to_image_ref),
};
AT_DEFINE_OP(tensor_to_image, "y = round(clamp(x * scale + shift, 0, 255)), y bytes",
             tensor_to_image_operands, tensor_to_image_attrs, tensor_to_image_shape, NULL,
             tensor_to_image_variants);
