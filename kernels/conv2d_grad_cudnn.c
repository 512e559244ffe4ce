/* conv2d_grad_cudnn.c -- the gradients of convolution by cuDNN.
 *
 * The gradient by the input is the library's own operation, rounded once, from the weights in the
 * same form as conv2d's.
 *
 * The gradient by the weights is wanted in f32. For bf16 and f16 the library has some forty engines
 * that write it in that type, which would round what every step adds to a sum by 2^-9, and none
 * that writes f32; but multiplied by one in the same graph it comes out in f32, from eleven that it
 * compiles when the plan is made. (An identity in its place leaves two; adding 'acc' there as many
 * as the one, but acc has another layout.) The sums, channels innermost, then go through scratch:
 * an own kernel turns them into dw's layout and adds acc. */
#include "kernels/conv2d_cudnn.h"

#ifdef AT_HAS_CUDA
enum { ID_X = 1, ID_W, ID_Y, ID_ONE };

static size_t round_up(size_t n)
{
    return (n + AT_CUDNN_REGION - 1) / AT_CUDNN_REGION * AT_CUDNN_REGION;
}

/* --- by the input ----------------------------------------------------------------------------- */

void at_conv2d_dgrad_cudnn_describe(at_cudnn_graph *g, const void *args)
{
    const at_conv2d_dgrad_args *a = args;
    const at_conv c = at_conv_of_dgrad(a);
    const at_cudnn_window window = at_cudnn_window_of(&c);
    at_cudnn_keep_f32(g, a->dy.dtype);
    at_cudnn_descriptor dx = at_cudnn_add_picture(g, ID_X, &a->dx);
    at_cudnn_descriptor w = at_cudnn_add_filter(g, ID_W, a->dy.dtype, &c);
    at_cudnn_descriptor dy = at_cudnn_add_picture(g, ID_Y, &a->dy);
    at_cudnn_add_convolution(g, AT_CUDNN_DATA_GRADIENT, &window, dx, w, dy);
}

bool at_conv2d_dgrad_cudnn_fits(const void *args)
{
    const at_conv c = at_conv_of_dgrad(args);
    return at_conv2d_dgrad_simd_fits(args) && at_cudnn_window_fits(&c);
}

at_status at_conv2d_dgrad_cudnn_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                        at_error *err)
{
    const at_conv2d_dgrad_args *a = args;
    at_conv2d_weights_book_cuda(out, in, &a->w, a->dy.dtype);
    return at_cudnn_prepare(at_conv2d_dgrad_cudnn_describe, args, in, out, err);
}

int at_conv2d_dgrad_cudnn_candidates(const void *args, const at_caps *caps)
{
    return at_cudnn_candidates(at_conv2d_dgrad_cudnn_describe, args, caps);
}

at_status at_conv2d_dgrad_cudnn(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_conv2d_dgrad_args *a = args;
    at_cudnn_binding b[] = { { ID_X, a->dx.data }, { ID_W, NULL }, { ID_Y, a->dy.data } };
    at_status status = at_conv2d_weights_cuda(&b[1].data, &a->w, a->dy.dtype, p, l);
    return status == AT_OK ? at_cudnn_execute(p, b, (int)AT_COUNT(b), l) : status;
}

/* --- by the weights --------------------------------------------------------------------------- */

void at_conv2d_wgrad_cudnn_describe(at_cudnn_graph *g, const void *args)
{
    const at_conv2d_wgrad_args *a = args;
    const at_conv c = at_conv_of_wgrad(a);
    const at_cudnn_window window = at_cudnn_window_of(&c);
    at_cudnn_keep_f32(g, a->x.dtype);
    at_cudnn_descriptor x = at_cudnn_add_picture(g, ID_X, &a->x);
    at_cudnn_descriptor dw = at_cudnn_add_filter(g, ID_W, AT_F32, &c);
    at_cudnn_descriptor dy = at_cudnn_add_picture(g, ID_Y, &a->dy);
    if (a->x.dtype == AT_F32) {
        at_cudnn_add_convolution(g, AT_CUDNN_FILTER_GRADIENT, &window, x, dw, dy);
        return;
    }
    const int64_t size[] = { c.co, c.ci, c.kh, c.kw };
    at_cudnn_descriptor sums = at_cudnn_add_virtual(g, AT_F32, size);
    at_cudnn_add_convolution(g, AT_CUDNN_FILTER_GRADIENT, &window, x, sums, dy);
    at_cudnn_add_pointwise(g, AT_CUDNN_POINTWISE_MUL, sums, at_cudnn_add_scalar(g, ID_ONE), dw);
}

/* Bytes of dw's sums: Co, Kh, Kw, Ci in f32. */
static size_t sums_bytes(const at_conv2d_wgrad_args *a)
{
    return round_up((size_t)at_elements(&a->dw) * sizeof(float));
}

bool at_conv2d_wgrad_cudnn_fits(const void *args)
{
    const at_conv2d_wgrad_args *a = args;
    const at_conv c = at_conv_of_wgrad(a);
    return at_conv2d_wgrad_simd_fits(args) && a->dw.dtype == AT_F32 && at_cudnn_window_fits(&c);
}

/* Scratch: the sums of dw, those of dbias, the workspace. */
at_status at_conv2d_wgrad_cudnn_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                        at_error *err)
{
    const at_conv2d_wgrad_args *a = args;
    out->scratch_bytes = sums_bytes(a) + at_conv2d_bias_bytes_cuda(a);
    return at_cudnn_prepare(at_conv2d_wgrad_cudnn_describe, args, in, out, err);
}

int at_conv2d_wgrad_cudnn_candidates(const void *args, const at_caps *caps)
{
    return at_cudnn_candidates(at_conv2d_wgrad_cudnn_describe, args, caps);
}

at_status at_conv2d_wgrad_cudnn(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_conv2d_wgrad_args *a = args;
    _Alignas(AT_CUDNN_ALIGNMENT) const float one = 1;
    const at_cudnn_binding b[] = {
        { ID_X, a->x.data }, { ID_W, l->scratch }, { ID_Y, a->dy.data }, { ID_ONE, &one }
    };
    int n = (int)AT_COUNT(b) - (a->x.dtype == AT_F32);
    at_status status = at_cudnn_execute(p, b, n, l);
    return status == AT_OK
               ? at_conv2d_wgrad_finish_cuda(a, l->scratch, (char *)l->scratch + sums_bytes(a), l)
               : status;
}
#endif
