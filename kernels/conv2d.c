/* conv2d.c -- y = relu?(conv(x, w) + residual + bias). */
#include "kernels/conv2d.h"

#include "kernels/conv2d_variants.h"
#include "kernels/shape.h"

static const at_operand conv2d_operands[] = {
    AT_OPERAND(conv2d, y, AT_OUT, AT_BATCHED | AT_DENSE, AT_NONE),
    AT_OPERAND(conv2d, x, AT_IN, AT_BATCHED | AT_DENSE, AT_NONE),
    AT_OPERAND(conv2d, w, AT_IN, AT_WEIGHT | AT_DENSE, AT_NONE),
    AT_OPERAND(conv2d, bias, AT_IN, AT_OPTIONAL | AT_WEIGHT, AT_NONE),
    AT_OPERAND(conv2d, residual, AT_IN, AT_OPTIONAL | AT_BATCHED | AT_DENSE, AT_NONE),
};
static const at_attr conv2d_attrs[] = {
    AT_INTS(conv2d, stride, 2),
    AT_INTS(conv2d, pad, 4),
    AT_ENUM(conv2d, pad_mode, AT_PAD_MODES),
    AT_ENUM(conv2d, relu, "no|yes"),
    AT_ENUM(conv2d, y_dtype, "same|f32"),
};

/* --- geometry --------------------------------------------------------------------------------- */

static at_conv geometry(const int64_t *stride, const int64_t *pad, int pad_mode)
{
    at_conv c = { .top = pad[0], .left = pad[1], .bottom = pad[2], .right = pad[3] };
    c.sh = stride[0] ? stride[0] : 1;
    c.sw = stride[1] ? stride[1] : c.sh;
    c.reflect = pad_mode == AT_PAD_REFLECT;
    return c;
}

static void set_input(at_conv *c, int64_t b, int64_t h, int64_t w, int64_t ci)
{
    c->b = b, c->h = h, c->w = w, c->ci = ci;
}

static void set_kernel(at_conv *c, int64_t co, int64_t kh, int64_t kw)
{
    c->co = co, c->kh = kh, c->kw = kw;
    c->ho = (c->h + c->top + c->bottom - kh) / c->sh + 1;
    c->wo = (c->w + c->left + c->right - kw) / c->sw + 1;
}

at_conv at_conv_of(const at_conv2d_args *a)
{
    at_conv c = geometry(a->stride, a->pad, a->pad_mode);
    set_input(&c, a->x.size[0], a->x.size[1], a->x.size[2], a->x.size[3]);
    set_kernel(&c, a->w.size[0], a->w.size[2], a->w.size[3]);
    return c;
}

at_conv at_conv_of_dgrad(const at_conv2d_dgrad_args *a)
{
    at_conv c = geometry(a->stride, a->pad, a->pad_mode);
    set_input(&c, a->dy.size[0], a->in_size[0], a->in_size[1], a->w.size[1]);
    set_kernel(&c, a->w.size[0], a->w.size[2], a->w.size[3]);
    return c;
}

at_conv at_conv_of_wgrad(const at_conv2d_wgrad_args *a)
{
    at_conv c = geometry(a->stride, a->pad, a->pad_mode);
    set_input(&c, a->x.size[0], a->x.size[1], a->x.size[2], a->x.size[3]);
    set_kernel(&c, a->dy.size[3], a->kernel[0], a->kernel[1]);
    return c;
}

double at_conv_flops(const at_conv *c)
{
    return 2.0 * (double)(c->b * c->ho * c->wo) * (double)(c->ci * c->co) * (double)(c->kh * c->kw);
}

at_status at_conv_check(const char *op, const at_conv *c, at_error *err)
{
    const int64_t pads[4] = { c->top, c->left, c->bottom, c->right };
    for (int i = 0; i < 4; i++) {
        int64_t n = i % 2 ? c->w : c->h;
        if (pads[i] < 0 || (c->reflect && pads[i] >= n))
            return at_fail(err, AT_INVALID, "%s: a padding of %lld on a side of %lld, expected %s",
                           op, (long long)pads[i], (long long)n,
                           c->reflect ? "0 to one less than the side" : "at least 0");
    }
    if (c->sh < 1 || c->sw < 1)
        return at_fail(err, AT_INVALID, "%s: stride %lld x %lld, expected at least 1", op,
                       (long long)c->sh, (long long)c->sw);
    if (c->h < 1 || c->w < 1 || c->kh < 1 || c->kw < 1 || c->h + c->top + c->bottom < c->kh ||
        c->w + c->left + c->right < c->kw)
        return at_fail(err, AT_INVALID, "%s: a kernel of %lld x %lld does not fit into %lld x %lld",
                       op, (long long)c->kh, (long long)c->kw,
                       (long long)(c->h + c->top + c->bottom),
                       (long long)(c->w + c->left + c->right));
    return AT_OK;
}

static at_status conv2d_shape(void *args, at_error *err)
{
    at_conv2d_args *a = args;
    AT_TRY(at_expect_rank("conv2d", "x", &a->x, 4, 4, err));
    AT_TRY(at_expect_rank("conv2d", "w", &a->w, 4, 4, err));
    AT_TRY(at_expect_float("conv2d", "x", &a->x, err));
    AT_TRY(at_expect_float("conv2d", "w", &a->w, err));
    AT_TRY(at_expect_float("conv2d", "bias", &a->bias, err));
    const int64_t kernel[4] = { a->w.size[0], a->x.size[3], a->w.size[2], a->w.size[3] };
    AT_TRY(at_expect_sizes("conv2d", "w", &a->w, 4, kernel, err));
    AT_TRY(at_expect_vector("conv2d", "bias", &a->bias, a->w.size[0], err));
    at_conv c = at_conv_of(a);
    AT_TRY(at_conv_check("conv2d", &c, err));
    at_dtype type = a->y_dtype ? at_wide(a->x.dtype) : a->x.dtype;
    a->y = at_view_of(type, 4, (const int64_t[]){ c.b, c.ho, c.wo, c.co });
    AT_TRY(at_expect_like("conv2d", "residual", &a->residual, &a->y, err));
    if (at_has(&a->residual) && a->residual.dtype != type)
        return at_fail(err, AT_INVALID, "conv2d: residual is %s, expected %s as y",
                       at_dtype_name(a->residual.dtype), at_dtype_name(type));
    return AT_OK;
}

static double conv2d_flops(const void *args)
{
    at_conv c = at_conv_of(args);
    return at_conv_flops(&c);
}

/* --- reference -------------------------------------------------------------------------------- */

/* The sum over the window of output (b, oh, ow) for channel co. */
static double window_sum(const at_conv2d_args *a, const at_conv *c, int64_t b, int64_t oh,
                         int64_t ow, int64_t co)
{
    double sum = 0;
    for (int64_t i = 0; i < c->kh; i++) {
        int64_t h = at_conv_source(oh * c->sh + i - c->top, c->h, c->reflect);
        for (int64_t j = 0; j < c->kw && h >= 0; j++) {
            int64_t w = at_conv_source(ow * c->sw + j - c->left, c->w, c->reflect);
            for (int64_t ci = 0; ci < c->ci && w >= 0; ci++)
                sum += at_get(&a->x, (b * c->h + h) * c->w + w, ci) *
                       at_get(&a->w, (co * c->ci + ci) * c->kh + i, j);
        }
    }
    return sum;
}

static at_status conv2d_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_conv2d_args *a = args;
    at_conv c = at_conv_of(a);
    (void)p, (void)l;
    for (int64_t r = 0; r < c.b * c.ho * c.wo; r++)
        for (int64_t co = 0; co < c.co; co++) {
            double y = window_sum(a, &c, r / (c.ho * c.wo), r / c.wo % c.ho, r % c.wo, co);
            if (at_has(&a->residual))
                y += at_get(&a->residual, r, co);
            if (at_has(&a->bias))
                y += at_get(&a->bias, 0, co);
            at_set(&a->y, r, co, a->relu && y < 0 ? 0 : y);
        }
    return AT_OK;
}

/* --- variants --------------------------------------------------------------------------------- */

bool at_conv2d_simd_fits(const void *args)
{
    const at_conv2d_args *a = args;
    return at_is_simd_type(a->x.dtype) && at_is_simd_type(a->w.dtype) &&
           (!at_has(&a->bias) || at_is_simd_type(a->bias.dtype));
}

static const at_variant conv2d_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDNN_VARIANT("conv2d", at_conv2d),
    AT_CUDA_TILED_VARIANT("conv2d", at_conv2d, AT_ROWS_INDEPENDENT),
#endif
    AT_ONEDNN_FIRST(conv2d, AT_ROWS_INDEPENDENT) //
    AT_OWN_VARIANTS("conv2d", at_conv2d, AT_ROWS_INDEPENDENT, at_conv2d_simd_fits),
    AT_ONEDNN_LAST(conv2d, AT_ROWS_INDEPENDENT) //
    AT_REFERENCE("conv2d", conv2d_ref),
};
AT_DEFINE_OP(conv2d, "y = relu?(conv(x, w) + residual + bias)", conv2d_operands, conv2d_attrs,
             conv2d_shape, conv2d_flops, conv2d_variants);
