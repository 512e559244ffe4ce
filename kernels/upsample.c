/* upsample.c -- a picture in another size, each position taking the nearest one, and its gradient.
 *
 * Which one is nearest is counted in whole numbers, so that no size meets a rounding: row i of Ho
 * takes row floor(i * H / Ho). A picture may shrink as well. */
#include <string.h>

#include "kernels/shape.h"
#include "kernels/variants.h"

static const at_operand upsample_nearest_operands[] = {
    AT_OPERAND(upsample_nearest, y, AT_OUT, AT_BATCHED, AT_NONE),
    AT_OPERAND(upsample_nearest, x, AT_IN, AT_BATCHED, AT_NONE),
};
static const at_attr upsample_nearest_attrs[] = {
    AT_INTS(upsample_nearest, size, 2),
};

/* The picture 'like' in the sizes that an attribute asks for. */
static at_status picture_of_size(const char *op, at_view *out, const at_view *like,
                                 const int64_t *size, at_error *err)
{
    if (size[0] < 1 || size[1] < 1)
        return at_fail(err, AT_INVALID, "%s: size is %lld x %lld, expected at least 1 x 1", op,
                       (long long)size[0], (long long)size[1]);
    *out = at_view_of(like->dtype, 4,
                      (const int64_t[]){ like->size[0], size[0], size[1], like->size[3] });
    return AT_OK;
}

static at_status upsample_nearest_shape(void *args, at_error *err)
{
    at_upsample_nearest_args *a = args;
    AT_TRY(at_expect_rank("upsample_nearest", "x", &a->x, 4, 4, err));
    return picture_of_size("upsample_nearest", &a->y, &a->x, a->size, err);
}

/* Moves elements as they are, so any type will do. */
static at_status upsample_nearest_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_upsample_nearest_args *a = args;
    (void)p, (void)l;
    int64_t B = a->y.size[0], Ho = a->y.size[1], Wo = a->y.size[2], H = a->x.size[1],
            W = a->x.size[2];
    size_t bytes = (size_t)a->x.size[3] * at_dtype_bytes(a->x.dtype);
    for (int64_t b = 0; b < B; b++)
        for (int64_t i = 0; i < Ho; i++)
            for (int64_t j = 0; j < Wo; j++)
                memcpy(at_row(&a->y, (b * Ho + i) * Wo + j),
                       at_row(&a->x, (b * H + i * H / Ho) * W + j * W / Wo), bytes);
    return AT_OK;
}

/* --- gradient --------------------------------------------------------------------------------- */

static const at_operand upsample_nearest_bwd_operands[] = {
    AT_OPERAND(upsample_nearest_bwd, dx, AT_OUT, AT_BATCHED, AT_NONE),
    AT_OPERAND(upsample_nearest_bwd, dy, AT_IN, AT_BATCHED, AT_NONE),
};
static const at_attr upsample_nearest_bwd_attrs[] = {
    AT_INTS(upsample_nearest_bwd, size, 2),
};

static at_status upsample_nearest_bwd_shape(void *args, at_error *err)
{
    at_upsample_nearest_bwd_args *a = args;
    AT_TRY(at_expect_rank("upsample_nearest_bwd", "dy", &a->dy, 4, 4, err));
    AT_TRY(at_expect_float("upsample_nearest_bwd", "dy", &a->dy, err));
    return picture_of_size("upsample_nearest_bwd", &a->dx, &a->dy, a->size, err);
}

/* Sum of dy at the positions that took (h, w). */
static double sum_of_takers(const at_view *dy, int64_t b, int64_t h, int64_t H, int64_t w,
                            int64_t W, int64_t c)
{
    int64_t Ho = dy->size[1], Wo = dy->size[2];
    double sum = 0;
    for (int64_t i = 0; i < Ho; i++)
        for (int64_t j = 0; j < Wo && i * H / Ho == h; j++)
            if (j * W / Wo == w)
                sum += at_get(dy, (b * Ho + i) * Wo + j, c);
    return sum;
}

static at_status upsample_nearest_bwd_ref(const void *args, const at_prepared *p,
                                          const at_launch *l)
{
    const at_upsample_nearest_bwd_args *a = args;
    (void)p, (void)l;
    int64_t B = a->dx.size[0], H = a->dx.size[1], W = a->dx.size[2], C = a->dx.size[3];
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t w = 0; w < W; w++)
                for (int64_t c = 0; c < C; c++)
                    at_set(&a->dx, (b * H + h) * W + w, c, sum_of_takers(&a->dy, b, h, H, w, W, c));
    return AT_OK;
}

static double upsample_nearest_bwd_flops(const void *args)
{
    return (double)at_elements(&((const at_upsample_nearest_bwd_args *)args)->dy);
}

/* --- variants --------------------------------------------------------------------------------- */

static bool upsample_nearest_bwd_fits(const void *args)
{
    return at_is_simd_type(((const at_upsample_nearest_bwd_args *)args)->dy.dtype);
}

AT_SIMD_DECLARE(at_upsample_nearest);
AT_CUDA_DECLARE(at_upsample_nearest);
static const at_variant upsample_nearest_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("upsample_nearest", at_upsample_nearest, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("upsample_nearest", at_upsample_nearest, AT_ROWS_INDEPENDENT, NULL, NULL,
                     NULL),
    AT_REFERENCE("upsample_nearest", upsample_nearest_ref),
};
AT_DEFINE_OP(upsample_nearest, "y(i, j) = x(floor(i * H / Ho), floor(j * W / Wo))",
             upsample_nearest_operands, upsample_nearest_attrs, upsample_nearest_shape, NULL,
             upsample_nearest_variants);

AT_SIMD_DECLARE(at_upsample_nearest_bwd);
AT_CUDA_DECLARE(at_upsample_nearest_bwd);
static const at_variant upsample_nearest_bwd_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("upsample_nearest_bwd", at_upsample_nearest_bwd, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("upsample_nearest_bwd", at_upsample_nearest_bwd, AT_ROWS_INDEPENDENT,
                     upsample_nearest_bwd_fits, NULL, NULL),
    AT_REFERENCE("upsample_nearest_bwd", upsample_nearest_bwd_ref),
};
AT_DEFINE_OP(upsample_nearest_bwd, "dx = sum of dy over the positions that took x",
             upsample_nearest_bwd_operands, upsample_nearest_bwd_attrs, upsample_nearest_bwd_shape,
             upsample_nearest_bwd_flops, upsample_nearest_bwd_variants);
