#include "tests/shapes/unet_shape.h"

#include <stdio.h>

const unet_shape unet_shape_sdxl = {
    .dtype = AT_BF16,
    .batch = 2,
    .height = 128,
    .width = 128,
    .channels = 320,
    .head_size = 64,
    .context = 2048,
    .depth = { 0, 2, 10 },
};

typedef struct builder {
    at_graph *g;
    at_params *params;
    const unet_shape *s;
    at_tensor emb, context; /* (B, 4C) after silu, (B, 77, context) */
    int serial;
} builder;

static const at_tensor none = { 0 };

static at_tensor param(builder *b, int rank, const int64_t *size)
{
    char name[32];
    at_error err;
    snprintf(name, sizeof name, "p%d", b->serial++);
    at_param *p = at_params_add(b->params, name, b->s->dtype, rank, size, &err);
    AT_ASSERT(p, "%s", err.text);
    p->trainable = b->s->trainable;
    return at_graph_param(b->g, p);
}

static at_tensor vector(builder *b, int64_t n)
{
    return param(b, 1, &n);
}

static at_tensor matrix(builder *b, int64_t n, int64_t k)
{
    return param(b, 2, (const int64_t[]){ n, k });
}

static int64_t channels_of(builder *b, at_tensor t)
{
    at_view v = at_graph_view(b->g, t);
    return at_cols(&v);
}

static at_tensor linear(builder *b, at_tensor x, int64_t n, bool bias, at_tensor residual)
{
    at_tensor w = matrix(b, n, channels_of(b, x));
    return at_linear(b->g, x, w, bias ? vector(b, n) : none, residual, AT_ACT_NONE);
}

static at_tensor conv(builder *b, at_tensor x, int64_t out, int64_t kernel, int64_t stride,
                      at_tensor residual)
{
    at_tensor w = param(b, 4, (const int64_t[]){ out, channels_of(b, x), kernel, kernel });
    return at_conv2d(b->g, (at_conv){ .x = x,
                                      .w = w,
                                      .bias = vector(b, out),
                                      .residual = residual,
                                      .stride = stride,
                                      .pad = kernel / 2 });
}

/* group norm over h, or over h | skip, which is never built */
static at_tensor norm(builder *b, at_tensor h, at_tensor skip, at_tensor add, bool silu)
{
    int64_t c = channels_of(b, h) + (skip.id ? channels_of(b, skip) : 0);
    return at_group_norm(b->g, (at_group){ .x = h,
                                           .x2 = skip,
                                           .add = add,
                                           .gamma = vector(b, c),
                                           .beta = vector(b, c),
                                           .groups = 32,
                                           .eps = 1e-5f,
                                           .silu = silu });
}

static at_tensor resnet(builder *b, at_tensor h, at_tensor skip, int64_t out)
{
    at_tensor y = conv(b, norm(b, h, skip, none, true), out, 3, 1, none);
    at_tensor time = linear(b, b->emb, out, true, none);
    at_tensor n = norm(b, y, none, time, true), shortcut = h;
    if (skip.id || channels_of(b, h) != out) {
        shortcut = conv(b, h, out, 1, 1, none);
        if (skip.id) /* the 1x1 shortcut of h | skip is two products */
            shortcut = conv(b, skip, out, 1, 1, shortcut);
    }
    return conv(b, n, out, 3, 1, shortcut);
}

static at_tensor attend(builder *b, at_tensor x, at_tensor normed, at_tensor context)
{
    int64_t c = channels_of(b, x);
    at_tensor q, k, v;
    if (context.id) {
        q = linear(b, normed, c, false, none);
        at_tensor kv = linear(b, context, 2 * c, false, none);
        k = at_graph_slice_cols(b->g, kv, 0, c);
        v = at_graph_slice_cols(b->g, kv, c, c);
    } else {
        at_tensor qkv = linear(b, normed, 3 * c, false, none);
        q = at_graph_slice_cols(b->g, qkv, 0, c);
        k = at_graph_slice_cols(b->g, qkv, c, c);
        v = at_graph_slice_cols(b->g, qkv, 2 * c, c);
    }
    at_tensor o =
        at_attention(b->g, (at_attend){ .q = q, .k = k, .v = v, .heads = c / b->s->head_size });
    return linear(b, o, c, true, x);
}

static at_tensor layer_norm(builder *b, at_tensor x)
{
    int64_t c = channels_of(b, x);
    return at_layer_norm(b->g, x, vector(b, c), vector(b, c), 1e-5f);
}

static at_tensor transformer(builder *b, at_tensor x, int depth)
{
    at_view v = at_graph_view(b->g, x);
    int64_t c = at_cols(&v), tokens[] = { v.size[0], v.size[1] * v.size[2], c };
    at_tensor n = norm(b, x, none, none, false);
    at_tensor h = linear(b, at_graph_reshape(b->g, n, 3, tokens), c, true, none);
    for (int i = 0; i < depth; i++) {
        h = attend(b, h, layer_norm(b, h), none);
        h = attend(b, h, layer_norm(b, h), b->context);
        at_tensor up = linear(b, layer_norm(b, h), 8 * c, true, none);
        h = linear(b, at_geglu(b->g, up), c, true, h);
    }
    at_tensor flat = at_graph_reshape(b->g, x, 3, tokens);
    return at_graph_reshape(b->g, linear(b, h, c, true, flat), 4, v.size);
}

static at_tensor layer(builder *b, at_tensor h, at_tensor skip, int64_t out, int level)
{
    h = resnet(b, h, skip, out);
    return b->s->depth[level] ? transformer(b, h, b->s->depth[level]) : h;
}

static at_tensor upsample(builder *b, at_tensor h)
{
    at_view v = at_graph_view(b->g, h);
    at_tensor up = at_upsample_nearest(b->g, h, 2 * v.size[1], 2 * v.size[2]);
    return conv(b, up, at_cols(&v), 3, 1, none);
}

unet_io unet_describe(at_graph *g, at_params *params, const unet_shape *s)
{
    builder b = { g, params, s, none, none, 0 };
    const int64_t c = s->channels, widths[] = { c, 2 * c, 4 * c };
    unet_io io = {
        .latent = at_graph_input(g, "latent", s->dtype, 4,
                                 (const int64_t[]){ s->batch, s->height, s->width, 4 }),
        .temb = at_graph_input(g, "temb", s->dtype, 2, (const int64_t[]){ s->batch, 4 * c }),
        .context = at_graph_input(g, "context", s->dtype, 3,
                                  (const int64_t[]){ s->batch, 77, s->context }),
    };
    b.emb = at_unary(g, io.temb, AT_SILU);
    b.context = io.context;
    at_tensor skips[9], h = conv(&b, io.latent, c, 3, 1, none);
    int n = 0;
    skips[n++] = h;
    for (int level = 0; level < 3; level++) {
        for (int i = 0; i < 2; i++)
            skips[n++] = h = layer(&b, h, none, widths[level], level);
        if (level < 2)
            skips[n++] = h = conv(&b, h, widths[level], 3, 2, none);
    }
    h = resnet(&b, h, none, widths[2]);
    h = transformer(&b, h, s->depth[2]);
    h = resnet(&b, h, none, widths[2]);
    for (int level = 2; level >= 0; level--) {
        for (int i = 0; i < 3; i++)
            h = layer(&b, h, skips[--n], widths[level], level);
        if (level > 0)
            h = upsample(&b, h);
    }
    io.out = conv(&b, norm(&b, h, none, none, true), 4, 3, 1, none);
    return io;
}
