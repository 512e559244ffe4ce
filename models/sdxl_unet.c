#include "models/sdxl_unet.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/arena.h"
#include "kernels/shape.h"
#include "models/layers.h"

const at_sdxl_unet_config at_sdxl_unet_base = {
    .levels = 3,
    .channels = { 320, 640, 1280 },
    .heads = { 5, 10, 20 },
    .layers = { 2, 2, 2 },
    .down = { { 0 }, { 2, 2 }, { 10, 10 } },
    .up = { { 10, 10, 10 }, { 2, 2, 2 }, { 0 } },
    .mid_resnets = 2,
    .mid_depth = 10,
    .in = 4,
    .latent = 4,
    .context = 2048,
    .pooled = 1280,
    .sizes = 6,
    .size_dim = 256,
    .groups = 32,
    .eps = 1e-5f,
    .cos_first = true,
    .sample = { 128, 128 },
};

const at_sdxl_unet_config at_sdxl_unet_refiner = {
    .levels = 4,
    .channels = { 384, 768, 1536, 1536 },
    .heads = { 6, 12, 24, 24 },
    .layers = { 2, 2, 2, 2 },
    .down = { { 0 }, { 4, 4 }, { 4, 4 }, { 0 } },
    .up = { { 0 }, { 4, 4, 4 }, { 4, 4, 4 }, { 0 } },
    .mid_resnets = 2,
    .mid_depth = 4,
    .in = 4,
    .latent = 4,
    .context = 1280,
    .pooled = 1280,
    .sizes = 5,
    .size_dim = 256,
    .groups = 32,
    .eps = 1e-5f,
    .cos_first = true,
    .sample = { 128, 128 },
};

/* One block of a transformer: attention to itself, to the text, feed forward. */
typedef struct block {
    at_affine norm1, qkv, out1;
    at_affine norm2, q, out2;
    int64_t keys; /* first of its columns among the text's keys and values */
    at_affine norm3, up, down;
} block;

typedef struct transformer {
    at_affine norm, in, out;
    int64_t channels, heads;
    int depth;
    block *blocks; /* (depth) */
} transformer;

typedef struct layer {
    at_resnet resnet;
    at_resnet_size size;
    int64_t time;          /* first of its columns among the projections of the time */
    transformer attention; /* depth 0: none */
} layer;

enum { SKIPS_MAX = AT_SDXL_LEVELS_MAX * AT_SDXL_LAYERS_MAX, MID_MAX = 2 };

typedef struct level {
    layer layers[AT_SDXL_LAYERS_MAX];
    int n_layers;
    at_affine resample; /* no weight: the sizes stay */
} level;

struct at_sdxl_unet {
    at_sdxl_unet_config config;
    at_dtype dtype;
    at_arena *arena;
    at_naming naming;
    int64_t time_rows, keys_rows;
    at_affine time_all; /* (time_rows, 4C): all resnets' projections of the time */
    at_param *keys_all; /* (keys_rows, context): all blocks' keys and values of the text */
    at_affine time1, time2, guidance, add1, add2;
    at_affine conv_in, norm_out, conv_out;
    level down[AT_SDXL_LEVELS_MAX], up[AT_SDXL_LEVELS_MAX]; /* up[0] is the lowest resolution */
    layer mid[MID_MAX]; /* the attention between them is the first's */
};

static const at_tensor none = { 0 };

/* --- what there is, without parameters -------------------------------------------------------- */

static void shape_layer(at_sdxl_unet *m, layer *l, at_resnet_size size, int64_t heads, int depth)
{
    l->size = size;
    l->time = m->time_rows;
    m->time_rows += size.out;
    l->attention = (transformer){ .channels = size.out, .heads = heads, .depth = depth };
    if (!depth)
        return;
    l->attention.blocks = at_arena_alloc(m->arena, (size_t)depth * sizeof(block));
    for (int i = 0; i < depth; i++) {
        l->attention.blocks[i].keys = m->keys_rows;
        m->keys_rows += 2 * size.out;
    }
}

/* The channels of every layer follow from those that were put aside on the way down. */
static void shape(at_sdxl_unet *m)
{
    const at_sdxl_unet_config *c = &m->config;
    int64_t skips[SKIPS_MAX], h = c->channels[0];
    int n = 0;
    skips[n++] = h;
    for (int i = 0; i < c->levels; i++) {
        m->down[i].n_layers = c->layers[i];
        for (int k = 0; k < c->layers[i]; k++) {
            shape_layer(m, &m->down[i].layers[k], (at_resnet_size){ h, 0, c->channels[i] },
                        c->heads[i], c->down[i][k]);
            skips[n++] = h = c->channels[i];
        }
        if (i + 1 < c->levels)
            skips[n++] = h;
    }
    for (int k = 0; k < c->mid_resnets; k++)
        shape_layer(m, &m->mid[k], (at_resnet_size){ h, 0, h }, c->heads[c->levels - 1],
                    k + 1 < c->mid_resnets ? c->mid_depth : 0);
    for (int i = 0; i < c->levels; i++) {
        const int from = c->levels - 1 - i;
        m->up[i].n_layers = c->layers[from] + 1;
        for (int k = 0; k <= c->layers[from]; k++) {
            shape_layer(m, &m->up[i].layers[k],
                        (at_resnet_size){ h, skips[--n], c->channels[from] }, c->heads[from],
                        c->up[i][k]);
            h = c->channels[from];
        }
    }
}

/* --- the visitor: every parameter's name stands here, once ------------------------------------ */

static void visit_block(at_sdxl_unet *m, block *b, int64_t c)
{
    static const char *const qkv[] = { "to_q", "to_k", "to_v", NULL };
    at_naming *n = &m->naming;
    b->norm1 = at_name_norm(n, "norm1", c);
    size_t mark = at_naming_enter(n, "attn1");
    b->qkv = at_name_linears(n, "to_qkv", qkv, c, c, AT_WITHOUT_BIAS);
    b->out1 = at_name_linear(n, "to_out.0", c, c, AT_WITH_BIAS);
    at_naming_leave(n, mark);
    b->norm2 = at_name_norm(n, "norm2", c);
    mark = at_naming_enter(n, "attn2");
    b->q = at_name_linear(n, "to_q", c, c, AT_WITHOUT_BIAS);
    at_name_rows(n, "to_k.weight", m->keys_all, b->keys, c);
    at_name_rows(n, "to_v.weight", m->keys_all, b->keys + c, c);
    b->out2 = at_name_linear(n, "to_out.0", c, c, AT_WITH_BIAS);
    at_naming_leave(n, mark);
    b->norm3 = at_name_norm(n, "norm3", c);
    b->up = at_name_linear(n, "ff.net.0.proj", 8 * c, c, AT_WITH_BIAS);
    b->down = at_name_linear(n, "ff.net.2", c, 4 * c, AT_WITH_BIAS);
}

static void visit_transformer(at_sdxl_unet *m, transformer *t, int index)
{
    at_naming *n = &m->naming;
    const size_t mark = at_naming_enter(n, "attentions.%d", index);
    t->norm = at_name_norm(n, "norm", t->channels);
    t->in = at_name_linear(n, "proj_in", t->channels, t->channels, AT_WITH_BIAS);
    t->out = at_name_linear(n, "proj_out", t->channels, t->channels, AT_WITH_BIAS);
    for (int i = 0; i < t->depth; i++) {
        const size_t inner = at_naming_enter(n, "transformer_blocks.%d", i);
        visit_block(m, &t->blocks[i], t->channels);
        at_naming_leave(n, inner);
    }
    at_naming_leave(n, mark);
}

/* A resnet's projection of the time, which files name between its parts. */
typedef struct projection {
    const at_sdxl_unet *m;
    int64_t first, rows;
} projection;

static void visit_time(at_naming *n, void *ctx)
{
    const projection *p = ctx;
    at_name_rows(n, "time_emb_proj.weight", p->m->time_all.weight, p->first, p->rows);
    at_name_rows(n, "time_emb_proj.bias", p->m->time_all.bias, p->first, p->rows);
}

static void visit_resnet(at_sdxl_unet *m, layer *l, int index)
{
    projection time = { m, l->time, l->size.out };
    const size_t mark = at_naming_enter(&m->naming, "resnets.%d", index);
    l->resnet = at_name_resnet(&m->naming, l->size, visit_time, &time);
    at_naming_leave(&m->naming, mark);
}

static void visit_level(at_sdxl_unet *m, level *l, const char *resample, bool resampled)
{
    for (int k = 0; k < l->n_layers; k++) {
        visit_resnet(m, &l->layers[k], k);
        if (l->layers[k].attention.depth)
            visit_transformer(m, &l->layers[k].attention, k);
    }
    const int64_t c = l->layers[0].size.out;
    if (resampled)
        l->resample = at_name_conv(&m->naming, resample, c, c, 3);
}

static void visit_embedding(at_sdxl_unet *m, const char *name, at_affine *first, at_affine *second,
                            int64_t in)
{
    const int64_t width = 4 * m->config.channels[0];
    const size_t mark = at_naming_enter(&m->naming, "%s", name);
    *first = at_name_linear(&m->naming, "linear_1", width, in, AT_WITH_BIAS);
    *second = at_name_linear(&m->naming, "linear_2", width, width, AT_WITH_BIAS);
    at_naming_leave(&m->naming, mark);
}

/* What LCM adds to the sinusoid of the time. */
static void visit_guidance(at_sdxl_unet *m)
{
    const at_sdxl_unet_config *c = &m->config;
    const size_t mark = at_naming_enter(&m->naming, "time_embedding");
    m->guidance =
        at_name_linear(&m->naming, "cond_proj", c->channels[0], c->guidance, AT_WITHOUT_BIAS);
    at_naming_leave(&m->naming, mark);
}

static void visit_mid(at_sdxl_unet *m)
{
    const size_t mark = at_naming_enter(&m->naming, "mid_block");
    for (int k = 0; k < m->config.mid_resnets; k++) {
        visit_resnet(m, &m->mid[k], k);
        if (m->mid[k].attention.depth)
            visit_transformer(m, &m->mid[k].attention, k);
    }
    at_naming_leave(&m->naming, mark);
}

static void visit(at_sdxl_unet *m)
{
    const at_sdxl_unet_config *c = &m->config;
    at_naming *n = &m->naming;
    size_t mark;
    visit_embedding(m, "time_embedding", &m->time1, &m->time2, c->channels[0]);
    if (c->guidance)
        visit_guidance(m);
    visit_embedding(m, "add_embedding", &m->add1, &m->add2, c->pooled + c->sizes * c->size_dim);
    m->conv_in = at_name_conv(n, "conv_in", c->channels[0], c->in, 3);
    for (int i = 0; i < c->levels; i++) {
        mark = at_naming_enter(n, "down_blocks.%d", i);
        visit_level(m, &m->down[i], "downsamplers.0.conv", i + 1 < c->levels);
        at_naming_leave(n, mark);
    }
    visit_mid(m);
    for (int i = 0; i < c->levels; i++) {
        mark = at_naming_enter(n, "up_blocks.%d", i);
        visit_level(m, &m->up[i], "upsamplers.0.conv", i + 1 < c->levels);
        at_naming_leave(n, mark);
    }
    m->norm_out = at_name_norm(n, "conv_norm_out", c->channels[0]);
    m->conv_out = at_name_conv(n, "conv_out", c->latent, c->channels[0], 3);
}

/* --- life ------------------------------------------------------------------------------------- */

/* A number within bounds, for a sentence that begins with the key. */
typedef struct bounded {
    const char *key;
    int64_t value, least, most;
} bounded;

static at_status check_bounds(const bounded *b, int n, at_error *err)
{
    for (int i = 0; i < n; i++)
        if (b[i].value < b[i].least || b[i].value > b[i].most)
            return at_fail(err, AT_UNSUPPORTED, "a UNet with %s %lld: expected %lld to %lld",
                           b[i].key, (long long)b[i].value, (long long)b[i].least,
                           (long long)b[i].most);
    return AT_OK;
}

/* Sinusoids have as many cosines as sines. */
static at_status check_sinusoid(const char *key, int64_t dim, float shift, at_error *err)
{
    if (dim % 2 || !((float)(dim / 2) > shift))
        return at_fail(err, AT_UNSUPPORTED,
                       "a UNet with %s %lld: expected an even number above twice freq_shift, %g",
                       key, (long long)dim, (double)shift);
    return AT_OK;
}

static int attentions(const int *depth, int layers)
{
    int n = 0;
    for (int k = 0; k < layers; k++)
        n += depth[k] > 0;
    return n;
}

static at_status check_depths(const int *depth, int layers, at_error *err)
{
    for (int k = 0; k < layers; k++) {
        const bounded b = { "transformer_layers_per_block", depth[k], 0, AT_SDXL_DEPTH_MAX };
        AT_TRY(check_bounds(&b, 1, err));
    }
    return AT_OK;
}

/* Level 'i' and its way up; '*found' counts attentions. */
static at_status check_level(const at_sdxl_unet_config *c, int i, int *found, at_error *err)
{
    const int *up = c->up[c->levels - 1 - i];
    const bounded sizes[] = {
        { "layers_per_block", c->layers[i], 1, AT_SDXL_LAYERS_MAX - 1 },
        { "block_out_channels", c->channels[i], 1, AT_SDXL_WIDTH_MAX },
    };
    AT_TRY(check_bounds(sizes, (int)AT_COUNT(sizes), err));
    AT_TRY(check_depths(c->down[i], c->layers[i], err));
    AT_TRY(check_depths(up, c->layers[i] + 1, err));
    if (c->channels[i] % c->groups)
        return at_fail(err, AT_UNSUPPORTED,
                       "a UNet with %lld channels (block_out_channels): they do not divide into "
                       "%lld groups (norm_num_groups)",
                       (long long)c->channels[i], (long long)c->groups);
    const bool lowest = i + 1 == c->levels && c->mid_resnets == MID_MAX;
    const int n = attentions(c->down[i], c->layers[i]) + attentions(up, c->layers[i] + 1) +
                  (lowest && c->mid_depth > 0);
    if (n && (c->heads[i] < 1 || c->channels[i] % c->heads[i]))
        return at_fail(err, AT_UNSUPPORTED,
                       "a UNet with %lld channels (block_out_channels): they do not divide into "
                       "%lld heads (attention_head_dim)",
                       (long long)c->channels[i], (long long)c->heads[i]);
    *found += n;
    return AT_OK;
}

at_status at_sdxl_unet_check(const at_sdxl_unet_config *c, at_error *err)
{
    int found = 0;
    if (c->levels < 1 || c->levels > AT_SDXL_LEVELS_MAX)
        return at_fail(err, AT_UNSUPPORTED,
                       "a UNet of %d levels (block_out_channels): expected 1 to %d", c->levels,
                       AT_SDXL_LEVELS_MAX);
    const bounded sizes[] = {
        { "norm_num_groups", c->groups, 1, AT_SDXL_WIDTH_MAX },
        { "in_channels", c->in, 1, AT_SDXL_WIDTH_MAX },
        { "out_channels", c->latent, 1, AT_SDXL_WIDTH_MAX },
        { "cross_attention_dim", c->context, 1, AT_SDXL_WIDTH_MAX },
        { "addition_time_embed_dim", c->size_dim, 2, AT_SDXL_WIDTH_MAX },
        { "width of the pooled text", c->pooled, 1, AT_SDXL_WIDTH_MAX },
        { "number of sizes", c->sizes, 1, AT_SDXL_SIZES_MAX },
        { "time_cond_proj_dim", c->guidance, 0, AT_SDXL_WIDTH_MAX },
        { "resnets in its middle", c->mid_resnets, 0, MID_MAX },
        { "blocks in its middle", c->mid_depth, 0, AT_SDXL_DEPTH_MAX },
    };
    AT_TRY(check_bounds(sizes, (int)AT_COUNT(sizes), err));
    if (!(c->eps > 0 && c->eps < 1))
        return at_fail(err, AT_UNSUPPORTED, "a UNet with norm_eps %g: expected 0 < norm_eps < 1",
                       (double)c->eps);
    for (int i = 0; i < c->levels; i++)
        AT_TRY(check_level(c, i, &found, err));
    AT_TRY(check_sinusoid("block_out_channels", c->channels[0], c->freq_shift, err));
    AT_TRY(check_sinusoid("addition_time_embed_dim", c->size_dim, c->freq_shift, err));
    if (!found)
        return at_fail(err, AT_UNSUPPORTED, "a UNet without attention: it would not read the text");
    return AT_OK;
}

static void name_storages(at_sdxl_unet *m)
{
    const int64_t width = 4 * m->config.channels[0];
    const int64_t time[] = { m->time_rows, width }, keys[] = { m->keys_rows, m->config.context };
    at_naming *n = &m->naming;
    m->time_all.weight = at_name_storage(n, "time_emb_proj.weight", n->dtype, 2, time);
    m->time_all.bias = at_name_storage(n, "time_emb_proj.bias", n->dtype, 1, time);
    m->keys_all = at_name_storage(n, "attn2.to_kv.weight", n->dtype, 2, keys);
}

at_status at_sdxl_unet_new(at_sdxl_unet **out, at_params *store, const at_sdxl_unet_config *config,
                           at_dtype dtype, at_error *err)
{
    *out = NULL;
    at_status status = at_sdxl_unet_check(config, err);
    if (status != AT_OK)
        return status;
    at_sdxl_unet *m = calloc(1, sizeof *m);
    if (!m)
        return at_fail(err, AT_NO_MEMORY, "no memory for the description of a UNet");
    m->config = *config;
    m->dtype = dtype;
    m->arena = at_arena_new();
    shape(m);
    at_naming_start(&m->naming, store, m->dtype, err);
    name_storages(m);
    if (m->naming.status == AT_OK)
        visit(m);
    if (m->naming.status != AT_OK) {
        status = m->naming.status;
        at_sdxl_unet_free(m);
        return status;
    }
    *out = m;
    return AT_OK;
}

void at_sdxl_unet_free(at_sdxl_unet *m)
{
    if (!m)
        return;
    at_naming_free(&m->naming);
    at_arena_free(m->arena);
    free(m);
}

int at_sdxl_unet_params(const at_sdxl_unet *m)
{
    return m->naming.n_named;
}

at_param *at_sdxl_unet_param(const at_sdxl_unet *m, int i)
{
    AT_ASSERT(i >= 0 && i < m->naming.n_named, "parameter %d of %d", i, m->naming.n_named);
    return m->naming.named[i];
}

int64_t at_sdxl_unet_text_columns(const at_sdxl_unet *m)
{
    return m->keys_rows;
}

/* --- once a picture --------------------------------------------------------------------------- */

/* What comes after computes in the model's type. */
static at_tensor sinusoid(const at_sdxl_unet *m, at_graph *g, at_tensor t, int64_t dim)
{
    return at_timestep_embedding(g, t,
                                 (at_sinusoid){ .dim = dim,
                                                .shift = m->config.freq_shift,
                                                .cos_first = m->config.cos_first,
                                                .dtype = m->dtype });
}

at_sdxl_unet_text at_sdxl_unet_describe_text(const at_sdxl_unet *m, at_graph *g,
                                             at_sdxl_unet_size s)
{
    const at_sdxl_unet_config *c = &m->config;
    const int64_t context[] = { s.batch, s.tokens, c->context }, pooled[] = { s.batch, c->pooled };
    const int64_t sizes[] = { s.batch, c->sizes }, each[] = { s.batch * c->sizes };
    const int64_t joined[] = { s.batch, c->sizes * c->size_dim };
    at_sdxl_unet_text t = {
        .context = at_graph_input(g, "context", m->dtype, 3, context),
        .pooled = at_graph_input(g, "pooled", m->dtype, 2, pooled),
        .sizes = at_graph_input(g, "sizes", AT_F32, 2, sizes),
    };
    at_graph_scope(g, "text.keys");
    t.keys = at_linear(g, t.context, at_graph_param(g, m->keys_all), none, none, AT_ACT_NONE);
    at_graph_scope(g, "text.added");
    at_tensor waves = sinusoid(m, g, at_graph_reshape(g, t.sizes, 1, each), c->size_dim);
    const at_tensor parts[] = { t.pooled, at_graph_reshape(g, waves, 2, joined) };
    at_tensor both = at_concat(g, parts, 2, 1);
    t.added = at_layer_linear(g, both, &m->add1, none, AT_ACT_SILU);
    t.added = at_layer_linear(g, t.added, &m->add2, none, AT_ACT_NONE);
    at_graph_scope(g, "%s", "");
    at_graph_output(g, t.keys, "keys");
    at_graph_output(g, t.added, "added");
    return t;
}

/* --- a step ----------------------------------------------------------------------------------- */

typedef struct builder {
    const at_sdxl_unet *m;
    at_graph *g;
    at_sdxl_unet_step io;
    at_tensor times; /* (B, time_rows): every resnet's row of the time */
} builder;

/* The row of the time: the sum's SiLU, which each resnet applies, is taken once, and all their
 * projections are one product. */
static at_tensor describe_times(builder *b)
{
    const at_sdxl_unet *m = b->m;
    at_graph_scope(b->g, "time");
    at_tensor h = sinusoid(m, b->g, b->io.time, m->config.channels[0]);
    if (m->config.guidance)
        h = at_layer_linear(b->g, b->io.guidance, &m->guidance, h, AT_ACT_NONE);
    h = at_layer_linear(b->g, h, &m->time1, none, AT_ACT_SILU);
    h = at_layer_linear(b->g, h, &m->time2, b->io.added, AT_ACT_SILU);
    return at_layer_linear(b->g, h, &m->time_all, none, AT_ACT_NONE);
}

static at_tensor describe_resnet(builder *b, const layer *l, at_tensor x, at_tensor skip)
{
    return at_layer_resnet(b->g, &l->resnet,
                           (at_resnet_in){
                               .x = x,
                               .skip = skip,
                               .time = at_graph_slice_cols(b->g, b->times, l->time, l->size.out),
                               .groups = b->m->config.groups,
                               .eps = b->m->config.eps,
                           });
}

static at_tensor linear(builder *b, at_tensor x, const at_affine *a, at_tensor residual)
{
    return at_layer_linear(b->g, x, a, residual, AT_ACT_NONE);
}

static at_tensor describe_self(builder *b, const block *l, at_tensor x, const transformer *t)
{
    const int64_t c = t->channels;
    at_tensor qkv = linear(b, at_layer_norm_affine(b->g, x, &l->norm1), &l->qkv, none);
    at_tensor o = at_attention(b->g, (at_attend){ .q = at_graph_slice_cols(b->g, qkv, 0, c),
                                                  .k = at_graph_slice_cols(b->g, qkv, c, c),
                                                  .v = at_graph_slice_cols(b->g, qkv, 2 * c, c),
                                                  .heads = t->heads });
    return linear(b, o, &l->out1, x);
}

static at_tensor describe_cross(builder *b, const block *l, at_tensor x, const transformer *t)
{
    const int64_t c = t->channels;
    at_tensor q = linear(b, at_layer_norm_affine(b->g, x, &l->norm2), &l->q, none);
    at_tensor keys = b->io.keys;
    at_tensor o =
        at_attention(b->g, (at_attend){ .q = q,
                                        .k = at_graph_slice_cols(b->g, keys, l->keys, c),
                                        .v = at_graph_slice_cols(b->g, keys, l->keys + c, c),
                                        .heads = t->heads });
    return linear(b, o, &l->out2, x);
}

static at_tensor describe_feed(builder *b, const block *l, at_tensor x)
{
    at_tensor normed = at_layer_norm_affine(b->g, x, &l->norm3);
    at_tensor h = at_linear_geglu(b->g, normed, at_graph_param(b->g, l->up.weight),
                                  at_graph_param(b->g, l->up.bias));
    return linear(b, h, &l->down, x);
}

static at_tensor group_norm(builder *b, const at_affine *a, at_tensor x, float eps, bool silu)
{
    return at_group_norm(b->g, (at_group){ .x = x,
                                           .gamma = at_graph_param(b->g, a->weight),
                                           .beta = at_graph_param(b->g, a->bias),
                                           .groups = b->m->config.groups,
                                           .eps = eps,
                                           .silu = silu });
}

static at_tensor describe_transformer(builder *b, const transformer *t, at_tensor x,
                                      const char *where)
{
    at_graph_scope(b->g, "%s.in", where);
    at_tensor h = group_norm(b, &t->norm, x, 1e-6f, false);
    h = linear(b, at_layer_tokens(b->g, h), &t->in, none);
    for (int i = 0; i < t->depth; i++) {
        at_graph_scope(b->g, "%s.%d.self", where, i);
        h = describe_self(b, &t->blocks[i], h, t);
        at_graph_scope(b->g, "%s.%d.text", where, i);
        h = describe_cross(b, &t->blocks[i], h, t);
        at_graph_scope(b->g, "%s.%d.feed", where, i);
        h = describe_feed(b, &t->blocks[i], h);
    }
    at_graph_scope(b->g, "%s.out", where);
    h = linear(b, h, &t->out, at_layer_tokens(b->g, x));
    return at_layer_picture(b->g, h, x);
}

static at_tensor describe_layer(builder *b, const layer *l, at_tensor x, at_tensor skip,
                                const char *where)
{
    char scope[64];
    at_graph_scope(b->g, "%s.resnet", where);
    x = describe_resnet(b, l, x, skip);
    snprintf(scope, sizeof scope, "%s.attention", where);
    return l->attention.depth ? describe_transformer(b, &l->attention, x, scope) : x;
}

/* Going down, everything is put aside that going up will want; returns how many. */
static int describe_down(builder *b, at_tensor *h, at_tensor *skips)
{
    const at_sdxl_unet *m = b->m;
    char where[32];
    int n = 0;
    skips[n++] = *h;
    for (int i = 0; i < m->config.levels; i++) {
        for (int k = 0; k < m->down[i].n_layers; k++) {
            snprintf(where, sizeof where, "down.%d.%d", i, k);
            skips[n++] = *h = describe_layer(b, &m->down[i].layers[k], *h, none, where);
        }
        if (!m->down[i].resample.weight)
            continue;
        at_graph_scope(b->g, "down.%d.half", i);
        skips[n++] = *h = at_layer_conv(b->g, *h, &m->down[i].resample, 2, none);
    }
    return n;
}

/* To twice the size; to the skip's, where halving had rounded. */
static at_tensor describe_double(builder *b, const level *l, at_tensor h, at_tensor skip, int i)
{
    const at_view to = at_graph_view(b->g, skip);
    at_graph_scope(b->g, "up.%d.double", i);
    h = at_upsample_nearest(b->g, h, to.size[1], to.size[2]);
    return at_layer_conv(b->g, h, &l->resample, 1, none);
}

static at_tensor describe_up(builder *b, at_tensor h, const at_tensor *skips, int n)
{
    const at_sdxl_unet *m = b->m;
    char where[32];
    for (int i = 0; i < m->config.levels; i++) {
        for (int k = 0; k < m->up[i].n_layers; k++) {
            snprintf(where, sizeof where, "up.%d.%d", i, k);
            h = describe_layer(b, &m->up[i].layers[k], h, skips[--n], where);
        }
        if (m->up[i].resample.weight)
            h = describe_double(b, &m->up[i], h, skips[n - 1], i);
    }
    AT_ASSERT(n == 0, "%d skips are left over", n);
    return h;
}

static at_sdxl_unet_step inputs(const at_sdxl_unet *m, at_graph *g, at_sdxl_unet_size s)
{
    const at_sdxl_unet_config *c = &m->config;
    const int64_t latent[] = { s.batch, s.height, s.width, c->in };
    const int64_t keys[] = { s.batch, s.tokens, m->keys_rows };
    const int64_t added[] = { s.batch, 4 * c->channels[0] };
    const int64_t guidance[] = { s.batch, c->guidance };
    at_sdxl_unet_step io = {
        .latent = at_graph_input(g, "latent", m->dtype, 4, latent),
        .time = at_graph_input(g, "time", AT_F32, 1, &s.batch),
        .keys = at_graph_input(g, "keys", m->dtype, 3, keys),
        .added = at_graph_input(g, "added", m->dtype, 2, added),
    };
    if (c->guidance)
        io.guidance = at_graph_input(g, "guidance", m->dtype, 2, guidance);
    return io;
}

at_sdxl_unet_step at_sdxl_unet_describe_step(const at_sdxl_unet *m, at_graph *g,
                                             at_sdxl_unet_size size)
{
    builder b = { .m = m, .g = g, .io = inputs(m, g, size) };
    at_tensor skips[SKIPS_MAX];
    char where[32];
    b.times = describe_times(&b);
    at_graph_scope(g, "in");
    at_tensor h = at_layer_conv(g, b.io.latent, &m->conv_in, 1, none);
    const int n = describe_down(&b, &h, skips);
    for (int k = 0; k < m->config.mid_resnets; k++) {
        snprintf(where, sizeof where, "mid.%d", k);
        h = describe_layer(&b, &m->mid[k], h, none, where);
    }
    h = describe_up(&b, h, skips, n);
    at_graph_scope(g, "out");
    h = group_norm(&b, &m->norm_out, h, m->config.eps, true);
    b.io.out = at_layer_conv(g, h, &m->conv_out, 1, none);
    at_graph_scope(g, "%s", "");
    at_graph_output(g, b.io.out, "out");
    return b.io;
}
