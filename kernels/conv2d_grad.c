/* conv2d_grad.c -- the gradients of conv2d by its input and by its weights. */
#include "kernels/conv2d.h"
#include "kernels/conv2d_variants.h"
#include "kernels/shape.h"

/* --- by the input ----------------------------------------------------------------------------- */

static const at_operand conv2d_dgrad_operands[] = {
    AT_OPERAND(conv2d_dgrad, dx, AT_OUT, AT_BATCHED | AT_DENSE, AT_NONE),
    AT_OPERAND(conv2d_dgrad, dy, AT_IN, AT_BATCHED | AT_DENSE, AT_NONE),
    AT_OPERAND(conv2d_dgrad, w, AT_IN, AT_WEIGHT | AT_DENSE, AT_NONE),
};
static const at_attr conv2d_dgrad_attrs[] = {
    AT_INTS(conv2d_dgrad, in_size, 2),
    AT_INTS(conv2d_dgrad, stride, 2),
    AT_INTS(conv2d_dgrad, pad, 4),
    AT_ENUM(conv2d_dgrad, pad_mode, AT_PAD_MODES),
};

static at_status conv2d_dgrad_shape(void *args, at_error *err)
{
    at_conv2d_dgrad_args *a = args;
    AT_TRY(at_expect_rank("conv2d_dgrad", "dy", &a->dy, 4, 4, err));
    AT_TRY(at_expect_rank("conv2d_dgrad", "w", &a->w, 4, 4, err));
    AT_TRY(at_expect_float("conv2d_dgrad", "dy", &a->dy, err));
    AT_TRY(at_expect_float("conv2d_dgrad", "w", &a->w, err));
    at_conv c = at_conv_of_dgrad(a);
    AT_TRY(at_conv_check("conv2d_dgrad", &c, err));
    const int64_t size[4] = { c.b, c.ho, c.wo, c.co };
    AT_TRY(at_expect_sizes("conv2d_dgrad", "dy", &a->dy, 4, size, err));
    a->dx = at_view_of(a->dy.dtype, 4, (const int64_t[]){ c.b, c.h, c.w, c.ci });
    return AT_OK;
}

static double conv2d_dgrad_flops(const void *args)
{
    at_conv c = at_conv_of_dgrad(args);
    return at_conv_flops(&c);
}

/* Which outputs o have a tap i that reads input h: o * stride + i - pad is h, or reflects onto
 * it. */
static bool reads(int64_t o, int64_t i, int64_t stride, int64_t pad, int64_t n, bool reflect,
                  int64_t h)
{
    return at_conv_source(o * stride + i - pad, n, reflect) == h;
}

/* Sum over output channels of dy at (oh, ow) times the tap (i, j) of channel ci. */
static double tap_sum(const at_conv2d_dgrad_args *a, const at_conv *c, int64_t row, int64_t ci,
                      int64_t i, int64_t j)
{
    double sum = 0;
    for (int64_t co = 0; co < c->co; co++)
        sum += at_get(&a->dy, row, co) * at_get(&a->w, (co * c->ci + ci) * c->kh + i, j);
    return sum;
}

static double input_gradient(const at_conv2d_dgrad_args *a, const at_conv *c, int64_t b, int64_t h,
                             int64_t w, int64_t ci)
{
    double sum = 0;
    for (int64_t oh = 0; oh < c->ho; oh++)
        for (int64_t i = 0; i < c->kh; i++) {
            if (!reads(oh, i, c->sh, c->top, c->h, c->reflect, h))
                continue;
            for (int64_t ow = 0; ow < c->wo; ow++)
                for (int64_t j = 0; j < c->kw; j++)
                    if (reads(ow, j, c->sw, c->left, c->w, c->reflect, w))
                        sum += tap_sum(a, c, (b * c->ho + oh) * c->wo + ow, ci, i, j);
        }
    return sum;
}

static at_status conv2d_dgrad_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_conv2d_dgrad_args *a = args;
    at_conv c = at_conv_of_dgrad(a);
    (void)p, (void)l;
    for (int64_t r = 0; r < c.b * c.h * c.w; r++)
        for (int64_t ci = 0; ci < c.ci; ci++)
            at_set(&a->dx, r, ci,
                   input_gradient(a, &c, r / (c.h * c.w), r / c.w % c.h, r % c.w, ci));
    return AT_OK;
}

bool at_conv2d_dgrad_simd_fits(const void *args)
{
    const at_conv2d_dgrad_args *a = args;
    return at_is_simd_type(a->dy.dtype) && at_is_simd_type(a->w.dtype);
}

static const at_variant conv2d_dgrad_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDNN_VARIANT("conv2d_dgrad", at_conv2d_dgrad),
    AT_CUDA_TILED_VARIANT("conv2d_dgrad", at_conv2d_dgrad, AT_ROWS_INDEPENDENT),
#endif
    AT_ONEDNN_FIRST(conv2d_dgrad, AT_ROWS_INDEPENDENT) //
    AT_OWN_VARIANTS("conv2d_dgrad", at_conv2d_dgrad, AT_ROWS_INDEPENDENT,
                    at_conv2d_dgrad_simd_fits),
    AT_ONEDNN_LAST(conv2d_dgrad, AT_ROWS_INDEPENDENT) //
    AT_REFERENCE("conv2d_dgrad", conv2d_dgrad_ref),
};
AT_DEFINE_OP(conv2d_dgrad, "dx = gradient of conv2d by x", conv2d_dgrad_operands,
             conv2d_dgrad_attrs, conv2d_dgrad_shape, conv2d_dgrad_flops, conv2d_dgrad_variants);

/* --- by the weights --------------------------------------------------------------------------- */

static const at_operand conv2d_wgrad_operands[] = {
    AT_OPERAND(conv2d_wgrad, dw, AT_OUT, AT_DENSE, AT_NONE),
    AT_OPERAND(conv2d_wgrad, dbias, AT_OUT, AT_OPTIONAL, AT_NONE),
    AT_OPERAND(conv2d_wgrad, dy, AT_IN, AT_DENSE, AT_NONE),
    AT_OPERAND(conv2d_wgrad, x, AT_IN, AT_DENSE, AT_NONE),
    AT_OPERAND(conv2d_wgrad, acc, AT_IN, AT_OPTIONAL | AT_DENSE, AT_NONE),
    AT_OPERAND(conv2d_wgrad, bias_acc, AT_IN, AT_OPTIONAL, AT_NONE),
};
static const at_attr conv2d_wgrad_attrs[] = {
    AT_INTS(conv2d_wgrad, kernel, 2),
    AT_INTS(conv2d_wgrad, stride, 2),
    AT_INTS(conv2d_wgrad, pad, 4),
    AT_ENUM(conv2d_wgrad, pad_mode, AT_PAD_MODES),
};

static at_status conv2d_wgrad_shape(void *args, at_error *err)
{
    at_conv2d_wgrad_args *a = args;
    AT_TRY(at_expect_rank("conv2d_wgrad", "dy", &a->dy, 4, 4, err));
    AT_TRY(at_expect_rank("conv2d_wgrad", "x", &a->x, 4, 4, err));
    AT_TRY(at_expect_float("conv2d_wgrad", "x", &a->x, err));
    at_conv c = at_conv_of_wgrad(a);
    AT_TRY(at_conv_check("conv2d_wgrad", &c, err));
    const int64_t size[4] = { c.b, c.ho, c.wo, c.co };
    AT_TRY(at_expect_sizes("conv2d_wgrad", "dy", &a->dy, 4, size, err));
    if (a->dy.dtype != a->x.dtype)
        return at_fail(err, AT_INVALID, "conv2d_wgrad: dy is %s, expected %s as x",
                       at_dtype_name(a->dy.dtype), at_dtype_name(a->x.dtype));
    at_dtype wide = at_wide(a->x.dtype);
    a->dw = at_view_of(wide, 4, (const int64_t[]){ c.co, c.ci, c.kh, c.kw });
    a->dbias = at_view_vector(wide, c.co);
    AT_TRY(at_expect_like("conv2d_wgrad", "acc", &a->acc, &a->dw, err));
    AT_TRY(at_expect_vector("conv2d_wgrad", "bias_acc", &a->bias_acc, c.co, err));
    return at_expect_sums("conv2d_wgrad", &a->acc, &a->bias_acc, wide, err);
}

static double conv2d_wgrad_flops(const void *args)
{
    at_conv c = at_conv_of_wgrad(args);
    return at_conv_flops(&c);
}

static double weight_gradient(const at_conv2d_wgrad_args *a, const at_conv *c, int64_t co,
                              int64_t ci, int64_t i, int64_t j)
{
    double sum = 0;
    for (int64_t r = 0; r < c->b * c->ho * c->wo; r++) {
        int64_t h = at_conv_source(r / c->wo % c->ho * c->sh + i - c->top, c->h, c->reflect);
        int64_t w = at_conv_source(r % c->wo * c->sw + j - c->left, c->w, c->reflect);
        if (h >= 0 && w >= 0)
            sum += at_get(&a->dy, r, co) *
                   at_get(&a->x, (r / (c->ho * c->wo) * c->h + h) * c->w + w, ci);
    }
    return sum;
}

static at_status conv2d_wgrad_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_conv2d_wgrad_args *a = args;
    at_conv c = at_conv_of_wgrad(a);
    (void)p, (void)l;
    for (int64_t r = 0; r < c.co * c.ci * c.kh; r++)
        for (int64_t j = 0; j < c.kw; j++) {
            double sum = at_has(&a->acc) ? at_get(&a->acc, r, j) : 0;
            int64_t co = r / (c.ci * c.kh), ci = r / c.kh % c.ci;
            at_set(&a->dw, r, j, sum + weight_gradient(a, &c, co, ci, r % c.kh, j));
        }
    for (int64_t co = 0; co < c.co && at_has(&a->dbias); co++) {
        double sum = at_has(&a->bias_acc) ? at_get(&a->bias_acc, 0, co) : 0;
        for (int64_t r = 0; r < c.b * c.ho * c.wo; r++)
            sum += at_get(&a->dy, r, co);
        at_set(&a->dbias, 0, co, sum);
    }
    return AT_OK;
}

bool at_conv2d_wgrad_simd_fits(const void *args)
{
    const at_conv2d_wgrad_args *a = args;
    return at_is_simd_type(a->x.dtype);
}

static const at_variant conv2d_wgrad_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDNN_VARIANT("conv2d_wgrad", at_conv2d_wgrad),
    AT_CUDA_TILED_VARIANT("conv2d_wgrad", at_conv2d_wgrad, 0),
#endif
    AT_ONEDNN_FIRST(conv2d_wgrad, 0) //
    AT_OWN_VARIANTS("conv2d_wgrad", at_conv2d_wgrad, 0, at_conv2d_wgrad_simd_fits),
    AT_ONEDNN_LAST(conv2d_wgrad, 0) //
    AT_REFERENCE("conv2d_wgrad", conv2d_wgrad_ref),
};
AT_DEFINE_OP(conv2d_wgrad, "dw = acc + gradient of conv2d by w; dbias", conv2d_wgrad_operands,
             conv2d_wgrad_attrs, conv2d_wgrad_shape, conv2d_wgrad_flops, conv2d_wgrad_variants);
