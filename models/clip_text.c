#include "models/clip_text.h"

#include <stdio.h>
#include <stdlib.h>

#include "models/layers.h"

const at_clip_text_config at_clip_text_sdxl_1 = {
    .vocabulary = 49408,
    .positions = 77,
    .width = 768,
    .inner = 3072,
    .layers = 12,
    .heads = 12,
    .end = 2,
    .eps = 1e-5f,
    .act = AT_ACT_QUICK_GELU,
};

const at_clip_text_config at_clip_text_sdxl_2 = {
    .vocabulary = 49408,
    .positions = 77,
    .width = 1280,
    .inner = 5120,
    .layers = 32,
    .heads = 20,
    .projection = 1280,
    .end = 2,
    .eps = 1e-5f,
    .act = AT_ACT_GELU,
};

typedef struct layer {
    at_affine norm1, kvq, out;
    at_affine norm2, up, down;
} layer;

struct at_clip_text {
    at_clip_text_config config;
    at_dtype dtype;
    at_naming naming;
    at_param *tokens, *positions; /* (vocabulary, C), (positions, C) */
    at_affine norm, projection;
    layer layers[]; /* (config.layers) */
};

static const at_tensor none = { 0 };

/* --- the visitor: every parameter's name stands here, once ------------------------------------ */

static void visit_layer(at_clip_text *m, layer *l)
{
    static const char *const kvq[] = { "k_proj", "v_proj", "q_proj", NULL };
    const int64_t c = m->config.width, inner = m->config.inner;
    at_naming *n = &m->naming;
    size_t mark = at_naming_enter(n, "self_attn");
    l->kvq = at_name_linears(n, "kvq_proj", kvq, c, c, AT_WITH_BIAS);
    l->out = at_name_linear(n, "out_proj", c, c, AT_WITH_BIAS);
    at_naming_leave(n, mark);
    l->norm1 = at_name_norm(n, "layer_norm1", c);
    mark = at_naming_enter(n, "mlp");
    l->up = at_name_linear(n, "fc1", inner, c, AT_WITH_BIAS);
    l->down = at_name_linear(n, "fc2", c, inner, AT_WITH_BIAS);
    at_naming_leave(n, mark);
    l->norm2 = at_name_norm(n, "layer_norm2", c);
}

static void visit(at_clip_text *m)
{
    const at_clip_text_config *c = &m->config;
    const int64_t tokens[] = { c->vocabulary, c->width }, positions[] = { c->positions, c->width };
    at_naming *n = &m->naming;
    const size_t model = at_naming_enter(n, "text_model");
    size_t mark = at_naming_enter(n, "embeddings");
    m->tokens = at_name_param(n, "token_embedding.weight", 2, tokens);
    m->positions = at_name_param(n, "position_embedding.weight", 2, positions);
    at_naming_leave(n, mark);
    for (int64_t i = 0; i < c->layers; i++) {
        mark = at_naming_enter(n, "encoder.layers.%lld", (long long)i);
        visit_layer(m, &m->layers[i]);
        at_naming_leave(n, mark);
    }
    m->norm = at_name_norm(n, "final_layer_norm", c->width);
    at_naming_leave(n, model);
    if (c->projection)
        m->projection =
            at_name_linear(n, "text_projection", c->projection, c->width, AT_WITHOUT_BIAS);
}

/* --- life ------------------------------------------------------------------------------------- */

at_status at_clip_text_new(at_clip_text **out, at_params *store, const at_clip_text_config *config,
                           at_dtype dtype, at_error *err)
{
    *out = NULL;
    at_status status = at_clip_text_config_check(config, err);
    if (status != AT_OK)
        return status;
    at_clip_text *m = calloc(1, sizeof *m + (size_t)config->layers * sizeof(layer));
    if (!m)
        return at_fail(err, AT_NO_MEMORY, "no memory for the description of a text encoder");
    m->config = *config;
    m->dtype = dtype;
    at_naming_start(&m->naming, store, dtype, err);
    visit(m);
    if (m->naming.status != AT_OK) {
        status = m->naming.status;
        at_clip_text_free(m);
        return status;
    }
    *out = m;
    return AT_OK;
}

void at_clip_text_free(at_clip_text *m)
{
    if (!m)
        return;
    at_naming_free(&m->naming);
    free(m);
}

int at_clip_text_params(const at_clip_text *m)
{
    return m->naming.n_named;
}

at_param *at_clip_text_param(const at_clip_text *m, int i)
{
    AT_ASSERT(i >= 0 && i < m->naming.n_named, "parameter %d of %d", i, m->naming.n_named);
    return m->naming.named[i];
}

/* --- where texts end -------------------------------------------------------------------------- */

/* The first of its kind: before 2023 models were saved with an end of 2, by which transformers
 * knows that it has to look for the largest id. */
static int64_t end_of(const at_clip_text_config *c, const int32_t *ids, int64_t tokens)
{
    int64_t largest = 0;
    for (int64_t i = 0; i < tokens; i++) {
        if (c->end != 2 && ids[i] == c->end)
            return i;
        if (ids[i] > ids[largest])
            largest = i;
    }
    return c->end == 2 ? largest : 0;
}

at_status at_clip_text_ends(const at_clip_text_config *c, int32_t *ends, const int32_t *ids,
                            int64_t batch, int64_t tokens, at_error *err)
{
    for (int64_t i = 0; i < batch * tokens; i++)
        if (ids[i] < 0 || ids[i] >= c->vocabulary)
            return at_fail(err, AT_INVALID, "token %lld of text %lld is %d: expected 0 to %lld",
                           (long long)(i % tokens), (long long)(i / tokens), (int)ids[i],
                           (long long)(c->vocabulary - 1));
    for (int64_t b = 0; b < batch; b++)
        ends[b] = (int32_t)(b * tokens + end_of(c, ids + b * tokens, tokens));
    return AT_OK;
}

/* --- the graph -------------------------------------------------------------------------------- */

static at_tensor norm(const at_clip_text *m, at_graph *g, at_tensor x, const at_affine *a)
{
    return at_layer_norm(g, x, at_graph_param(g, a->weight), at_graph_param(g, a->bias),
                         m->config.eps);
}

/* The positions are added to texts that are one row each: laid over (B, L, C), a batch of L texts
 * would look as if it had a row for each text. */
static at_tensor describe_embeddings(const at_clip_text *m, at_graph *g, at_tensor ids,
                                     const at_clip_text_wanted *w)
{
    const int64_t c = m->config.width, all = m->config.positions * c;
    const int64_t size[] = { w->batch, w->tokens, c }, flat[] = { w->batch, w->tokens * c };
    at_graph_scope(g, "embeddings");
    at_tensor h = at_embedding(g, at_graph_param(g, m->tokens), ids, m->dtype);
    at_tensor positions = at_graph_reshape(g, at_graph_param(g, m->positions), 1, &all);
    positions = at_graph_slice_cols(g, positions, 0, w->tokens * c);
    h = at_add(g, at_graph_reshape(g, h, 2, flat), positions);
    return at_graph_reshape(g, h, 3, size);
}

static at_tensor describe_layer(const at_clip_text *m, at_graph *g, const layer *l, at_tensor x,
                                int64_t index)
{
    const int64_t c = m->config.width;
    at_graph_scope(g, "%lld.attention", (long long)index);
    at_tensor kvq = at_layer_linear(g, norm(m, g, x, &l->norm1), &l->kvq, none, AT_ACT_NONE);
    at_tensor o = at_attention(g, (at_attend){ .q = at_graph_slice_cols(g, kvq, 2 * c, c),
                                               .k = at_graph_slice_cols(g, kvq, 0, c),
                                               .v = at_graph_slice_cols(g, kvq, c, c),
                                               .heads = m->config.heads,
                                               .causal = true });
    x = at_layer_linear(g, o, &l->out, x, AT_ACT_NONE);
    at_graph_scope(g, "%lld.feed", (long long)index);
    at_tensor h = at_layer_linear(g, norm(m, g, x, &l->norm2), &l->up, none, m->config.act);
    return at_layer_linear(g, h, &l->down, x, AT_ACT_NONE);
}

/* Hidden state 'asked', counted from the front. */
static int64_t hidden_index(const at_clip_text *m, int asked)
{
    const int64_t layers = m->config.layers, i = asked < 0 ? asked + layers + 1 : asked;
    AT_ASSERT(i >= 0 && i <= layers, "hidden state %d of an encoder with %lld layers", asked,
              (long long)layers);
    return i;
}

static void keep_hidden(const at_clip_text *m, at_graph *g, const at_clip_text_wanted *w,
                        at_clip_text_io *io, at_tensor h, int64_t index)
{
    char name[32];
    for (int k = 0; k < w->n_hidden; k++) {
        if (hidden_index(m, w->hidden[k]) != index)
            continue;
        snprintf(name, sizeof name, "hidden.%d", w->hidden[k]);
        at_graph_output(g, h, name);
        io->hidden[k] = h;
    }
}

/* A text's row is taken as an embedding is, from a table of all rows. */
static void describe_whole(const at_clip_text *m, at_graph *g, const at_clip_text_wanted *w,
                           at_clip_text_io *io, at_tensor h)
{
    const int64_t rows[] = { w->batch * w->tokens, m->config.width };
    at_graph_scope(g, "whole");
    at_tensor last = norm(m, g, h, &m->norm);
    if (w->last)
        at_graph_output(g, io->last = last, "last");
    if (!w->pooled && !w->embeds)
        return;
    io->ends = at_graph_input(g, "ends", AT_I32, 1, &w->batch);
    at_tensor pooled = at_embedding(g, at_graph_reshape(g, last, 2, rows), io->ends, m->dtype);
    if (w->pooled)
        at_graph_output(g, io->pooled = pooled, "pooled");
    if (!w->embeds)
        return;
    io->embeds = at_layer_linear(g, pooled, &m->projection, none, AT_ACT_NONE);
    at_graph_output(g, io->embeds, "embeds");
}

at_clip_text_io at_clip_text_describe(const at_clip_text *m, at_graph *g, at_clip_text_wanted w)
{
    const at_clip_text_config *c = &m->config;
    const int64_t ids[] = { w.batch, w.tokens };
    const bool whole = w.last || w.pooled || w.embeds;
    int64_t depth = whole ? c->layers : -1;
    AT_ASSERT(w.tokens > 0 && w.tokens <= c->positions, "%lld tokens, of %lld positions",
              (long long)w.tokens, (long long)c->positions);
    AT_ASSERT(w.batch > 0 && w.batch <= INT32_MAX / w.tokens, "%lld texts", (long long)w.batch);
    AT_ASSERT(w.n_hidden >= 0 && w.n_hidden <= AT_CLIP_TEXT_HIDDEN_MAX, "%d hidden states",
              w.n_hidden);
    AT_ASSERT(!w.embeds || c->projection, "an encoder without a projection");
    for (int k = 0; k < w.n_hidden; k++) {
        const int64_t i = hidden_index(m, w.hidden[k]);
        depth = i > depth ? i : depth;
    }
    AT_ASSERT(depth >= 0, "nothing is wanted of an encoder");
    at_clip_text_io io = { .ids = at_graph_input(g, "ids", AT_I32, 2, ids) };
    at_tensor h = describe_embeddings(m, g, io.ids, &w);
    keep_hidden(m, g, &w, &io, h, 0);
    for (int64_t i = 0; i < depth; i++) {
        h = describe_layer(m, g, &m->layers[i], h, i);
        keep_hidden(m, g, &w, &io, h, i + 1);
    }
    if (whole)
        describe_whole(m, g, &w, &io, h);
    at_graph_scope(g, "%s", "");
    return io;
}
