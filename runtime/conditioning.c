/* conditioning.c -- one chunk of 77 tokens is encoded at a time, so that what a chunk becomes
 * depends on nothing beside it. */
#include "runtime/conditioning.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/shape.h"

/* SDXL reads the output of the layer before the last. */
enum { HIDDEN = -2 };

/* --- reading ---------------------------------------------------------------------------------- */

/* 'chunks' becomes the number of the longest. */
static at_status read_text(const at_prompts *p, at_prompt *out, int *chunks,
                           const at_clip_tokenizer *t, const char *what, const char *text,
                           at_error *err)
{
    at_error why = { 0 };
    const size_t bytes = strnlen(text, (size_t)AT_PROMPT_BYTES_MAX + 1);
    if (bytes > AT_PROMPT_BYTES_MAX)
        return at_fail(err, AT_INVALID, "the %s has more than %d bytes", what,
                       (int)AT_PROMPT_BYTES_MAX);
    const at_status status = at_prompt_read(out, t, p->syntax, text, bytes, &why);
    if (status != AT_OK)
        return at_fail(err, status, "%s: %.400s", what, why.text);
    *chunks = out->n_chunks > *chunks ? out->n_chunks : *chunks;
    return AT_OK;
}

static void tell_cut(const at_model *m, const at_prompt *p, const char *what, int encoder)
{
    if (p->cut)
        at_model_warn(m,
                      "the %s is %zu tokens too long for text encoder %d, which reads %d: its end "
                      "is left out",
                      what, p->cut, encoder + 1, AT_CLIP_LENGTH - 2);
}

/* diffusers takes the same text for the second encoder where it is given none or "". */
static const char *first_of(const char *a, const char *b)
{
    return a && *a ? a : b;
}

static at_status read_of(at_prompts *p, at_prompts_of *of, const at_model *m, const at_request *r,
                         bool second, at_error *err)
{
    const at_clip_tokenizer *t = at_sdxl_tokenizer(m->sdxl, of->index);
    const char *negative = r->negative ? r->negative : "";
    const char *text = second ? first_of(r->prompt_2, r->prompt) : r->prompt;
    AT_TRY(read_text(p, &of->positive, &p->chunks, t, "prompt", text, err));
    tell_cut(m, &of->positive, "prompt", of->index);
    if (p->guided && !p->zeros) {
        text = second ? first_of(r->negative_2, negative) : negative;
        AT_TRY(read_text(p, &of->negative, &p->negative_chunks, t, "negative prompt", text, err));
        tell_cut(m, &of->negative, "negative prompt", of->index);
        if (of->negative.n_loras)
            return at_fail(err, AT_INVALID,
                           "the negative prompt names the adapter '%.100s'; expected in the prompt",
                           of->negative.loras[0].name);
    }
    int one = 1;
    return read_text(p, &of->empty, &one, t, "empty prompt", "", err);
}

static at_status extend_all(at_prompts *p, const at_model *m, at_error *err)
{
    for (int i = 0; i < p->n_encoders; i++) {
        at_prompts_of *of = &p->of[i];
        const at_clip_tokenizer *t = at_sdxl_tokenizer(m->sdxl, of->index);
        AT_TRY(at_prompt_extend(&of->positive, t, p->chunks, err));
        if (of->negative.n_chunks)
            AT_TRY(at_prompt_extend(&of->negative, t, p->negative_chunks, err));
    }
    return AT_OK;
}

static at_status match(at_prompts *p, at_error *err)
{
    if (!p->negative_chunks)
        p->negative_chunks = p->chunks;
    p->common = p->chunks;
    while (p->common % p->negative_chunks)
        p->common += p->chunks;
    if (p->common <= AT_PROMPT_MATCHED_MAX)
        return AT_OK;
    return at_fail(err, AT_UNSUPPORTED,
                   "a prompt of %d chunks beside a negative prompt of %d: they go together in %d, "
                   "expected at most %d",
                   p->chunks, p->negative_chunks, p->common, (int)AT_PROMPT_MATCHED_MAX);
}

at_status at_prompts_read(at_prompts *out, const at_model *m, const at_request *r, bool guided,
                          at_error *err)
{
    const at_sdxl_about *about = at_sdxl_about_of(m->sdxl);
    *out = (at_prompts){ .guided = guided };
    out->zeros = guided && !r->negative && about->zeros_for_no_negative;
    AT_TRY(
        at_prompt_syntax_named(&out->syntax, r->prompt_syntax ? r->prompt_syntax : "literal", err));
    for (int i = about->has[AT_SDXL_TEXT_1] ? 0 : 1; i < AT_CONDITIONING_ENCODERS; i++) {
        at_prompts_of *of = &out->of[out->n_encoders++];
        of->index = i;
        of->part = i ? AT_SDXL_TEXT_2 : AT_SDXL_TEXT_1;
        AT_TRY(read_of(out, of, m, r, out->n_encoders > 1, err));
    }
    AT_TRY(extend_all(out, m, err));
    return match(out, err);
}

void at_prompts_free(at_prompts *p)
{
    for (int i = 0; i < p->n_encoders; i++) {
        at_prompt_free(&p->of[i].positive);
        at_prompt_free(&p->of[i].negative);
        at_prompt_free(&p->of[i].empty);
    }
    *p = (at_prompts){ 0 };
}

/* --- encoding --------------------------------------------------------------------------------- */

/* An encoder at work; nothing of it is owned. */
typedef struct encoder {
    at_model *model;
    const at_clip_text *text;
    const at_clip_text_config *config;
    at_sdxl_part part;
    at_prompt_syntax syntax;
    bool pools; /* it is the one that says what stands for the whole text */
    int hidden; /* which of its states is read */
} encoder;

static void describe_encoder(const at_model *m, at_graph *g, const void *what)
{
    const encoder *e = what;
    const at_clip_text_wanted wanted = { .batch = 1,
                                         .tokens = AT_CLIP_LENGTH,
                                         .hidden = { e->hidden },
                                         .n_hidden = 1,
                                         .embeds = e->config->projection > 0 };
    (void)m;
    at_clip_text_describe(e->text, g, wanted);
}

/* An output of a plan as f32. */
static at_status get_floats(at_plan *plan, const char *name, float *out, at_error *err)
{
    const at_graph *g = at_plan_graph(plan);
    const at_tensor t = at_graph_named(g, name);
    const at_view v = at_graph_view(g, t);
    const int64_t n = at_elements(&v);
    void *raw = malloc(at_view_bytes(&v));
    if (!raw)
        return at_fail(err, AT_NO_MEMORY, "no memory for what a text encoder gives");
    const at_status status = at_plan_get(plan, t, raw, err);
    bool finite = true;
    for (int64_t i = 0; status == AT_OK && i < n; i++) {
        out[i] = (float)at_load(raw, i, v.dtype);
        finite = finite && isfinite(out[i]);
    }
    free(raw);
    return finite ? status : at_model_not_finite(plan, "what a text encoder gives", err);
}

/* 'hidden' is (AT_CLIP_LENGTH, width); 'embeds' (projection) or NULL. */
static at_status encode_chunk(const encoder *e, const at_prompt_chunk *chunk, float *hidden,
                              float *embeds, at_error *err)
{
    char key[AT_MODEL_KEY_MAX], name[32];
    at_plan *plan = NULL;
    int32_t end = 0;
    snprintf(key, sizeof key, "text %d", e->hidden);
    snprintf(name, sizeof name, "hidden.%d", e->hidden);
    AT_TRY(at_model_plan(e->model, e->part, key, describe_encoder, e, &plan, err));
    const at_graph *g = at_plan_graph(plan);
    AT_TRY(at_clip_text_ends(e->config, &end, chunk->ids, 1, AT_CLIP_LENGTH, err));
    AT_TRY(at_plan_set(plan, at_graph_named(g, "ids"), chunk->ids, err));
    if (e->config->projection > 0)
        AT_TRY(at_plan_set(plan, at_graph_named(g, "ends"), &end, err));
    AT_TRY(at_plan_run(plan, err));
    AT_TRY(get_floats(plan, name, hidden, err));
    return embeds ? get_floats(plan, "embeds", embeds, err) : AT_OK;
}

/* All chunks of a prompt, with their weights: 'hidden' is (chunks, AT_CLIP_LENGTH, width). What
 * stands for the whole text is the first chunk's. */
static at_status encode_prompt(const encoder *e, const at_prompt *p, const at_prompt *empty,
                               float *hidden, float *embeds, at_error *err)
{
    const int64_t width = e->config->width;
    at_status status = AT_OK;
    for (int i = 0; i < p->n_chunks && status == AT_OK; i++)
        status = encode_chunk(e, &p->chunks[i], hidden + i * AT_CLIP_LENGTH * width,
                              i ? NULL : embeds, err);
    if (status != AT_OK || !p->weighted)
        return status;
    float *nothing = malloc((size_t)(AT_CLIP_LENGTH * width) * sizeof *nothing);
    if (!nothing)
        return at_fail(err, AT_NO_MEMORY, "no memory for the encoding of an empty prompt");
    status = encode_chunk(e, &empty->chunks[0], nothing, NULL, err);
    if (status == AT_OK)
        at_prompt_weigh(p, e->syntax, hidden, nothing, width);
    free(nothing);
    return status;
}

/* One encoder's columns of a row of the context, and the row's pooled text. */
static at_status encode_row(const encoder *e, const at_prompt *p, const at_prompt *empty,
                            at_conditioning *c, int64_t row, int64_t column, float *hidden,
                            at_error *err)
{
    const int64_t width = e->config->width;
    float *pooled = e->pools ? c->pooled + row * c->pooled_width : NULL;
    AT_TRY(encode_prompt(e, p, empty, hidden, pooled, err));
    const int64_t own = (int64_t)p->n_chunks * AT_CLIP_LENGTH;
    for (int64_t t = 0; t < c->tokens; t++)
        memcpy(c->context + (row * c->tokens + t) * c->width + column, hidden + t % own * width,
               (size_t)width * sizeof *hidden);
    return AT_OK;
}

static at_status encode_of(at_conditioning *c, encoder *e, const at_prompts *p,
                           const at_prompts_of *of, int clip_skip, int64_t column, at_error *err)
{
    float *hidden = malloc((size_t)(c->tokens * e->config->width) * sizeof *hidden);
    at_status status = AT_OK;
    if (!hidden)
        return at_fail(err, AT_NO_MEMORY, "no memory for an encoded prompt");
    e->hidden = HIDDEN;
    if (p->guided && !p->zeros)
        status = encode_row(e, &of->negative, &of->empty, c, 0, column, hidden, err);
    e->hidden = HIDDEN - clip_skip; /* of the prompt only, as in diffusers */
    if (status == AT_OK)
        status = encode_row(e, &of->positive, &of->empty, c, c->rows - 1, column, hidden, err);
    free(hidden);
    return status;
}

/* --- the whole -------------------------------------------------------------------------------- */

static const at_clip_text_config *config_of(const at_model *m, const at_prompts_of *of)
{
    return &at_sdxl_about_of(m->sdxl)->text[of->index];
}

/* The first encoder with a projection, as in diffusers. */
static bool pools(const at_model *m, const at_prompts *p, int i)
{
    for (int k = 0; k < i; k++)
        if (config_of(m, &p->of[k])->projection > 0)
            return false;
    return config_of(m, &p->of[i])->projection > 0;
}

static at_status measure(at_conditioning *c, const at_model *m, const at_prompts *p, int clip_skip,
                         at_error *err)
{
    const at_sdxl_unet_config *unet = &at_sdxl_about_of(m->sdxl)->unet;
    for (int i = 0; i < p->n_encoders; i++) {
        const at_clip_text_config *t = config_of(m, &p->of[i]);
        c->width += t->width;
        c->pooled_width = pools(m, p, i) ? t->projection : c->pooled_width;
        if (clip_skip < 0 || clip_skip > t->layers - 1)
            return at_fail(err, AT_INVALID, "clip skip %d, expected 0 to %lld: %s has %lld layers",
                           clip_skip, (long long)(t->layers - 1), at_sdxl_part_name(p->of[i].part),
                           (long long)t->layers);
    }
    if (c->width != unet->context || c->pooled_width != unet->pooled)
        return at_fail(err, AT_UNSUPPORTED,
                       "the text encoders give %lld and %lld columns, the UNet reads %lld and %lld",
                       (long long)c->width, (long long)c->pooled_width, (long long)unet->context,
                       (long long)unet->pooled);
    return AT_OK;
}

at_status at_conditioning_make(at_conditioning *out, at_model *m, const at_prompts *p,
                               int clip_skip, const at_model_adapters *adapters, at_error *err)
{
    at_conditioning c = { .rows = p->guided ? 2 : 1, .tokens = AT_CLIP_LENGTH * p->common };
    at_status status = measure(&c, m, p, clip_skip, err);
    int64_t column = 0;
    if (status != AT_OK)
        return status;
    c.context = calloc((size_t)(c.rows * c.tokens * c.width), sizeof *c.context);
    c.pooled = calloc((size_t)(c.rows * c.pooled_width), sizeof *c.pooled);
    if (!c.context || !c.pooled)
        status =
            at_fail(err, AT_NO_MEMORY, "no memory for %lld tokens of text", (long long)c.tokens);
    for (int i = 0; i < p->n_encoders && status == AT_OK; i++) {
        const at_prompts_of *of = &p->of[i];
        encoder e = { m, NULL, config_of(m, of), of->part, p->syntax, pools(m, p, i), HIDDEN };
        status = at_model_load(m, of->part, m->dtype, adapters, err);
        e.text = at_sdxl_text_of(m->sdxl, of->index);
        if (status == AT_OK)
            status = encode_of(&c, &e, p, of, clip_skip, column, err);
        at_model_done(m, of->part);
        column += e.config->width;
    }
    if (status != AT_OK)
        at_conditioning_free(&c);
    *out = c;
    return status;
}

void at_conditioning_free(at_conditioning *c)
{
    free(c->context);
    free(c->pooled);
    *c = (at_conditioning){ 0 };
}
