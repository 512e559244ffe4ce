/* conv2d_cudnn.c -- convolution by cuDNN, with what follows it in one graph.
 *
 * The order is the residual, then the bias, then relu: so the library has engines that were
 * compiled long ago and fuse all of it. With the bias before the residual, or with another
 * activation, it compiles one while the plan is made, from a handful of kinds. Sums are f32, and
 * y is rounded once.
 *
 * Weights are packed as own kernels read them, channels innermost: one form serves both. Numbers of
 * channels that do not fill 16 bytes are left to own kernels: the library copies such a picture
 * into its workspace, padded, before it begins. */
#include "kernels/conv2d_cudnn.h"

#include <stdio.h>

#ifdef AT_HAS_CUDA
/* --- the graph -------------------------------------------------------------------------------- */

enum { ID_X = 1, ID_W, ID_Y, ID_RESIDUAL, ID_BIAS };

at_cudnn_window at_cudnn_window_of(const at_conv *c)
{
    return (at_cudnn_window){ .stride = { c->sh, c->sw },
                              .before = { c->top, c->left },
                              .after = { c->bottom, c->right } };
}

at_cudnn_descriptor at_cudnn_add_picture(at_cudnn_graph *g, int64_t id, const at_view *v)
{
    at_cudnn_tensor t = { .id = id, .dtype = v->dtype };
    t.size[0] = v->size[0], t.size[1] = v->size[3], t.size[2] = v->size[1], t.size[3] = v->size[2];
    at_cudnn_strides_nhwc(&t);
    return at_cudnn_add_tensor(g, &t);
}

at_cudnn_descriptor at_cudnn_add_filter(at_cudnn_graph *g, int64_t id, at_dtype dtype,
                                        const at_conv *c)
{
    at_cudnn_tensor t = { .id = id, .dtype = dtype, .size = { c->co, c->ci, c->kh, c->kw } };
    at_cudnn_strides_nhwc(&t);
    return at_cudnn_add_tensor(g, &t);
}

/* In x's type, whatever it was. */
static at_cudnn_descriptor add_bias(at_cudnn_graph *g, const at_conv2d_args *a)
{
    at_cudnn_tensor t = { .id = ID_BIAS, .dtype = a->x.dtype };
    t.size[0] = t.size[2] = t.size[3] = 1;
    t.size[1] = at_cols(&a->bias);
    at_cudnn_strides_nhwc(&t);
    return at_cudnn_add_tensor(g, &t);
}

void at_conv2d_cudnn_describe(at_cudnn_graph *g, const void *args)
{
    const at_conv2d_args *a = args;
    const at_conv c = at_conv_of(a);
    const at_cudnn_window window = at_cudnn_window_of(&c);
    const int64_t size[] = { c.b, c.co, c.ho, c.wo };
    at_cudnn_keep_f32(g, a->x.dtype);
    int steps = at_has(&a->residual) + at_has(&a->bias) + (a->relu ? 1 : 0);
    at_cudnn_descriptor x = at_cudnn_add_picture(g, ID_X, &a->x);
    at_cudnn_descriptor w = at_cudnn_add_filter(g, ID_W, a->x.dtype, &c);
    at_cudnn_descriptor y = at_cudnn_add_picture(g, ID_Y, &a->y), from, to;
    to = steps ? at_cudnn_add_virtual(g, AT_F32, size) : y;
    at_cudnn_add_convolution(g, AT_CUDNN_FORWARD, &window, x, w, to);
    if (at_has(&a->residual)) {
        from = to, to = --steps ? at_cudnn_add_virtual(g, AT_F32, size) : y;
        at_cudnn_add_pointwise(g, AT_CUDNN_POINTWISE_ADD, from,
                               at_cudnn_add_picture(g, ID_RESIDUAL, &a->residual), to);
    }
    if (at_has(&a->bias)) {
        from = to, to = --steps ? at_cudnn_add_virtual(g, AT_F32, size) : y;
        at_cudnn_add_pointwise(g, AT_CUDNN_POINTWISE_ADD, from, add_bias(g, a), to);
    }
    if (a->relu)
        at_cudnn_add_pointwise(g, AT_CUDNN_POINTWISE_RELU_FWD, to, NULL, y);
}

/* --- the variant ------------------------------------------------------------------------------ */

bool at_cudnn_window_fits(const at_conv *c)
{
    enum { CHANNELS = 8 };
    return c->ci % CHANNELS == 0 && c->co % CHANNELS == 0 &&
           !(c->reflect && c->top + c->left + c->bottom + c->right > 0);
}

bool at_conv2d_cudnn_fits(const void *args)
{
    const at_conv2d_args *a = args;
    const at_conv c = at_conv_of(a);
    return at_conv2d_simd_fits(args) && a->y.dtype == a->x.dtype && at_cudnn_window_fits(&c);
}

/* With a bias of another type than x's the library has no engine but those that it compiles: it is
 * rounded to that type, as weights are. */
static bool converts_bias(const at_conv2d_args *a)
{
    return at_has(&a->bias) && a->bias.dtype != a->x.dtype;
}

static void pack_bias_as(at_dtype type, void *dst, const at_view *bias, const at_stream *stream)
{
    const at_launch l = { stream, NULL, NULL };
    at_status status = at_conv2d_vector_cuda(bias, dst, type, &l);
    AT_ASSERT(status == AT_OK, "packing a bias: %s", at_status_name(status));
}

#define PACK_BIAS(NAME, TYPE)                                                        \
    static void NAME(const at_prepared *p, int form, void *dst, const at_view *bias, \
                     const at_stream *stream)                                        \
    {                                                                                \
        (void)p, (void)form;                                                         \
        pack_bias_as(TYPE, dst, bias, stream);                                       \
    }
PACK_BIAS(pack_bias_f32, AT_F32)
PACK_BIAS(pack_bias_bf16, AT_BF16)
PACK_BIAS(pack_bias_f16, AT_F16)

/* The bias is a form where the weights are one too: so the number of forms tells which are. */
enum { FORMS_WITH_BIAS = 2, W = 2, BIAS = 3 };

static size_t bias_bytes(const at_conv2d_args *a)
{
    size_t bytes = (size_t)at_cols(&a->bias) * at_dtype_bytes(a->x.dtype), to = AT_CUDNN_REGION;
    return (bytes + to - 1) / to * to;
}

static void add_bias_form(at_prepared *out, const at_conv2d_args *a)
{
    at_form *f = &out->forms[out->n_forms++];
    at_dtype type = a->x.dtype;
    f->operand = BIAS;
    f->bytes = bias_bytes(a);
    f->pack = type == AT_F32 ? pack_bias_f32 : type == AT_BF16 ? pack_bias_bf16 : pack_bias_f16;
    snprintf(f->key, sizeof f->key, "conv2d_cudnn bias %s", at_dtype_name(type));
}

/* Scratch: the bias, the weights, as far as they are no forms; the workspace. */
at_status at_conv2d_cudnn_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                  at_error *err)
{
    const at_conv2d_args *a = args;
    bool constant = (in->constants >> W & 1u) && (in->constants >> BIAS & 1u);
    if (converts_bias(a) && !constant)
        out->scratch_bytes = bias_bytes(a);
    at_conv2d_weights_book_cuda(out, in, &a->w, a->x.dtype);
    if (converts_bias(a) && constant)
        add_bias_form(out, a);
    return at_cudnn_prepare(at_conv2d_cudnn_describe, args, in, out, err);
}

int at_conv2d_cudnn_candidates(const void *args, const at_caps *caps)
{
    return at_cudnn_candidates(at_conv2d_cudnn_describe, args, caps);
}

at_status at_conv2d_cudnn(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_conv2d_args *a = args;
    bool converts = converts_bias(a) && p->n_forms < FORMS_WITH_BIAS;
    at_launch rest = *l;
    at_cudnn_binding b[] = {
        { ID_X, a->x.data }, { ID_W, NULL }, { ID_Y, a->y.data }, { 0 }, { 0 }
    };
    int n = ID_Y;
    if (at_has(&a->residual))
        b[n++] = (at_cudnn_binding){ ID_RESIDUAL, a->residual.data };
    if (at_has(&a->bias))
        b[n++] = (at_cudnn_binding){ ID_BIAS, converts ? l->scratch : a->bias.data };
    if (converts) {
        at_status status = at_conv2d_vector_cuda(&a->bias, l->scratch, a->x.dtype, l);
        if (status != AT_OK)
            return status;
        rest.scratch = (char *)l->scratch + bias_bytes(a);
    }
    at_status status = at_conv2d_weights_cuda(&b[1].data, &a->w, a->x.dtype, p, &rest);
    return status == AT_OK ? at_cudnn_execute(p, b, n, l) : status;
}
#endif
