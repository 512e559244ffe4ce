#include "models/sdxl_vae.h"

#include <stdlib.h>

#include "kernels/shape.h"
#include "models/layers.h"

const at_sdxl_vae_config at_sdxl_vae_base = {
    .levels = 4,
    .channels = { 128, 256, 512, 512 },
    .layers = 2,
    .latent = 4,
    .groups = 32,
    .attention = true,
    .quant = true,
    .post_quant = true,
    .sample = 1024,
    .upcast = true,
    .scaling = 0.13025,
};

enum { PIXEL = 3 };

typedef struct level {
    at_resnet resnets[AT_SDXL_VAE_LAYERS_MAX];
    int n;
    at_affine resample; /* no weight: the sizes stay */
} level;

typedef struct middle {
    at_resnet resnet1, resnet2;
    at_affine norm, qkv, out; /* attention of one head; without weights: none */
} middle;

typedef struct half {
    at_affine conv_in, norm_out, conv_out;
    level levels[AT_SDXL_VAE_LEVELS_MAX];
    middle mid;
} half;

struct at_sdxl_vae {
    at_sdxl_vae_config config;
    at_naming naming;
    half encoder, decoder;
    at_affine quant, post_quant;
};

static const at_tensor none = { 0 };

/* --- the visitor: every parameter's name stands here, once ------------------------------------ */

static at_resnet visit_resnet(at_naming *n, int index, int64_t in, int64_t out)
{
    const size_t mark = at_naming_enter(n, "resnets.%d", index);
    at_resnet r = at_name_resnet(n, (at_resnet_size){ in, 0, out }, NULL, NULL);
    at_naming_leave(n, mark);
    return r;
}

static void visit_attention(at_naming *n, middle *mid, int64_t c)
{
    static const char *const qkv[] = { "to_q", "to_k", "to_v", NULL };
    const size_t mark = at_naming_enter(n, "attentions.0");
    mid->norm = at_name_norm(n, "group_norm", c);
    mid->qkv = at_name_linears(n, "to_qkv", qkv, c, c, AT_WITH_BIAS);
    mid->out = at_name_linear(n, "to_out.0", c, c, AT_WITH_BIAS);
    at_naming_leave(n, mark);
}

static void visit_middle(at_naming *n, middle *mid, int64_t c, bool attention)
{
    const size_t mark = at_naming_enter(n, "mid_block");
    mid->resnet1 = visit_resnet(n, 0, c, c);
    if (attention)
        visit_attention(n, mid, c);
    mid->resnet2 = visit_resnet(n, 1, c, c);
    at_naming_leave(n, mark);
}

/* 'n' resnets from 'in' channels to 'out', and another size after them unless it is the last. */
static void visit_level(at_naming *n, level *l, int resnets, int64_t in, int64_t out,
                        const char *resample)
{
    l->n = resnets;
    for (int k = 0; k < resnets; k++)
        l->resnets[k] = visit_resnet(n, k, k ? out : in, out);
    if (resample)
        l->resample = at_name_conv(n, resample, out, out, 3);
}

static void visit_ends(at_naming *n, half *h, int64_t c, int64_t out)
{
    h->norm_out = at_name_norm(n, "conv_norm_out", c);
    h->conv_out = at_name_conv(n, "conv_out", out, c, 3);
}

static void visit_encoder(at_sdxl_vae *m)
{
    const at_sdxl_vae_config *c = &m->config;
    at_naming *n = &m->naming;
    const size_t mark = at_naming_enter(n, "encoder");
    int64_t from = c->channels[0];
    m->encoder.conv_in = at_name_conv(n, "conv_in", from, PIXEL, 3);
    for (int i = 0; i < c->levels; i++) {
        const size_t inner = at_naming_enter(n, "down_blocks.%d", i);
        visit_level(n, &m->encoder.levels[i], c->layers, from, c->channels[i],
                    i + 1 < c->levels ? "downsamplers.0.conv" : NULL);
        from = c->channels[i];
        at_naming_leave(n, inner);
    }
    visit_middle(n, &m->encoder.mid, from, c->attention);
    visit_ends(n, &m->encoder, from, 2 * c->latent);
    at_naming_leave(n, mark);
}

static void visit_decoder(at_sdxl_vae *m)
{
    const at_sdxl_vae_config *c = &m->config;
    at_naming *n = &m->naming;
    const size_t mark = at_naming_enter(n, "decoder");
    int64_t from = c->channels[c->levels - 1];
    m->decoder.conv_in = at_name_conv(n, "conv_in", from, c->latent, 3);
    visit_middle(n, &m->decoder.mid, from, c->attention);
    for (int i = 0; i < c->levels; i++) {
        const int64_t to = c->channels[c->levels - 1 - i];
        const size_t inner = at_naming_enter(n, "up_blocks.%d", i);
        visit_level(n, &m->decoder.levels[i], c->layers + 1, from, to,
                    i + 1 < c->levels ? "upsamplers.0.conv" : NULL);
        from = to;
        at_naming_leave(n, inner);
    }
    visit_ends(n, &m->decoder, from, PIXEL);
    at_naming_leave(n, mark);
}

static void visit(at_sdxl_vae *m)
{
    const int64_t z = m->config.latent;
    visit_encoder(m);
    if (m->config.quant)
        m->quant = at_name_conv(&m->naming, "quant_conv", 2 * z, 2 * z, 1);
    if (m->config.post_quant)
        m->post_quant = at_name_conv(&m->naming, "post_quant_conv", z, z, 1);
    visit_decoder(m);
}

/* --- life ------------------------------------------------------------------------------------- */

static at_status check_bounds(const char *key, int64_t value, int64_t most, at_error *err)
{
    if (value < 1 || value > most)
        return at_fail(err, AT_UNSUPPORTED, "a VAE with %s %lld: expected 1 to %lld", key,
                       (long long)value, (long long)most);
    return AT_OK;
}

at_status at_sdxl_vae_check(const at_sdxl_vae_config *c, at_error *err)
{
    if (c->levels < 1 || c->levels > AT_SDXL_VAE_LEVELS_MAX)
        return at_fail(err, AT_UNSUPPORTED,
                       "a VAE of %d levels (block_out_channels): expected 1 to %d", c->levels,
                       AT_SDXL_VAE_LEVELS_MAX);
    AT_TRY(check_bounds("layers_per_block", c->layers, AT_SDXL_VAE_LAYERS_MAX - 1, err));
    AT_TRY(check_bounds("latent_channels", c->latent, AT_SDXL_VAE_LATENT_MAX, err));
    AT_TRY(check_bounds("norm_num_groups", c->groups, AT_SDXL_VAE_WIDTH_MAX, err));
    for (int i = 0; i < c->levels; i++) {
        AT_TRY(check_bounds("block_out_channels", c->channels[i], AT_SDXL_VAE_WIDTH_MAX, err));
        if (c->channels[i] % c->groups)
            return at_fail(err, AT_UNSUPPORTED,
                           "a VAE with %lld channels (block_out_channels): they do not divide "
                           "into %lld groups (norm_num_groups)",
                           (long long)c->channels[i], (long long)c->groups);
    }
    return AT_OK;
}

int64_t at_sdxl_vae_shrinks(const at_sdxl_vae_config *config)
{
    return (int64_t)1 << (config->levels - 1);
}

at_status at_sdxl_vae_new(at_sdxl_vae **out, at_params *store, const at_sdxl_vae_config *config,
                          at_dtype dtype, at_error *err)
{
    *out = NULL;
    AT_TRY(at_sdxl_vae_check(config, err));
    at_sdxl_vae *m = calloc(1, sizeof *m);
    if (!m)
        return at_fail(err, AT_NO_MEMORY, "no memory for the description of a VAE");
    m->config = *config;
    at_naming_start(&m->naming, store, dtype, err);
    visit(m);
    at_status status = m->naming.status;
    if (status == AT_OK)
        *out = m;
    else
        at_sdxl_vae_free(m);
    return status;
}

void at_sdxl_vae_free(at_sdxl_vae *m)
{
    if (!m)
        return;
    at_naming_free(&m->naming);
    free(m);
}

int at_sdxl_vae_params(const at_sdxl_vae *m)
{
    return m->naming.n_named;
}

at_param *at_sdxl_vae_param(const at_sdxl_vae *m, int i)
{
    AT_ASSERT(i >= 0 && i < m->naming.n_named, "parameter %d of %d", i, m->naming.n_named);
    return m->naming.named[i];
}

/* --- graphs ----------------------------------------------------------------------------------- */

static at_tensor describe_resnet(const at_sdxl_vae *m, at_graph *g, const at_resnet *r, at_tensor x)
{
    return at_layer_resnet(g, r,
                           (at_resnet_in){ .x = x, .groups = m->config.groups, .eps = 1e-6f });
}

static at_tensor group_norm(const at_sdxl_vae *m, at_graph *g, const at_affine *a, at_tensor x,
                            bool silu)
{
    return at_group_norm(g, (at_group){ .x = x,
                                        .gamma = at_graph_param(g, a->weight),
                                        .beta = at_graph_param(g, a->bias),
                                        .groups = m->config.groups,
                                        .eps = 1e-6f,
                                        .silu = silu });
}

/* One head as wide as the channels, over all positions. */
static at_tensor describe_attention(const at_sdxl_vae *m, at_graph *g, const middle *mid,
                                    at_tensor x)
{
    const int64_t c = mid->out.weight->view.size[0];
    at_tensor h = at_layer_tokens(g, group_norm(m, g, &mid->norm, x, false));
    at_tensor qkv = at_layer_linear(g, h, &mid->qkv, none, AT_ACT_NONE);
    h = at_attention(g, (at_attend){ .q = at_graph_slice_cols(g, qkv, 0, c),
                                     .k = at_graph_slice_cols(g, qkv, c, c),
                                     .v = at_graph_slice_cols(g, qkv, 2 * c, c),
                                     .heads = 1 });
    h = at_layer_linear(g, h, &mid->out, at_layer_tokens(g, x), AT_ACT_NONE);
    return at_layer_picture(g, h, x);
}

static at_tensor describe_middle(const at_sdxl_vae *m, at_graph *g, const middle *mid, at_tensor h)
{
    at_graph_scope(g, "mid.resnet");
    h = describe_resnet(m, g, &mid->resnet1, h);
    at_graph_scope(g, "mid.attention");
    if (m->config.attention)
        h = describe_attention(m, g, mid, h);
    at_graph_scope(g, "mid.resnet");
    return describe_resnet(m, g, &mid->resnet2, h);
}

static at_tensor describe_end(const at_sdxl_vae *m, at_graph *g, const half *of, at_tensor h)
{
    at_graph_scope(g, "out");
    h = group_norm(m, g, &of->norm_out, h, true);
    return at_layer_conv(g, h, &of->conv_out, 1, none);
}

at_sdxl_vae_io at_sdxl_vae_describe_decoder(const at_sdxl_vae *m, at_graph *g, int64_t batch,
                                            int64_t height, int64_t width)
{
    const int64_t size[] = { batch, height, width, m->config.latent };
    const half *d = &m->decoder;
    at_sdxl_vae_io io = { .in = at_graph_input(g, "latent", m->naming.dtype, 4, size) };
    at_graph_scope(g, "in");
    at_tensor h = io.in;
    if (m->config.post_quant)
        h = at_layer_conv(g, h, &m->post_quant, 1, none);
    h = at_layer_conv(g, h, &d->conv_in, 1, none);
    h = describe_middle(m, g, &d->mid, h);
    for (int i = 0; i < m->config.levels; i++) {
        at_graph_scope(g, "up.%d", i);
        for (int k = 0; k < d->levels[i].n; k++)
            h = describe_resnet(m, g, &d->levels[i].resnets[k], h);
        if (!d->levels[i].resample.weight)
            continue;
        at_graph_scope(g, "up.%d.double", i);
        const at_view v = at_graph_view(g, h);
        h = at_upsample_nearest(g, h, 2 * v.size[1], 2 * v.size[2]);
        h = at_layer_conv(g, h, &d->levels[i].resample, 1, none);
    }
    io.out = describe_end(m, g, d, h);
    at_graph_scope(g, "%s", "");
    at_graph_output(g, io.out, "picture");
    return io;
}

/* To half the size: a row of zeros below, a column to the right, and none before. */
static at_tensor describe_half_size(at_graph *g, at_tensor h, const at_affine *a)
{
    return at_conv2d(g, (at_conv){ .x = h,
                                   .w = at_graph_param(g, a->weight),
                                   .bias = at_graph_param(g, a->bias),
                                   .stride = 2,
                                   .pads = { 0, 0, 1, 1 } });
}

at_sdxl_vae_io at_sdxl_vae_describe_encoder(const at_sdxl_vae *m, at_graph *g, int64_t batch,
                                            int64_t height, int64_t width)
{
    const int64_t size[] = { batch, height, width, PIXEL };
    const half *e = &m->encoder;
    const int64_t least = at_sdxl_vae_shrinks(&m->config);
    AT_ASSERT(height >= least && width >= least, "a picture of %lld x %lld: expected sides of %lld",
              (long long)width, (long long)height, (long long)least);
    at_sdxl_vae_io io = { .in = at_graph_input(g, "picture", m->naming.dtype, 4, size) };
    at_graph_scope(g, "in");
    at_tensor h = at_layer_conv(g, io.in, &e->conv_in, 1, none);
    for (int i = 0; i < m->config.levels; i++) {
        at_graph_scope(g, "down.%d", i);
        for (int k = 0; k < e->levels[i].n; k++)
            h = describe_resnet(m, g, &e->levels[i].resnets[k], h);
        if (!e->levels[i].resample.weight)
            continue;
        at_graph_scope(g, "down.%d.half", i);
        h = describe_half_size(g, h, &e->levels[i].resample);
    }
    h = describe_middle(m, g, &e->mid, h);
    h = describe_end(m, g, e, h);
    io.out = m->config.quant ? at_layer_conv(g, h, &m->quant, 1, none) : h;
    at_graph_output(g, io.out, "moments");
    at_graph_scope(g, "%s", "");
    return io;
}
