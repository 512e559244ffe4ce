#include "models/sdxl_measure.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kernels/shape.h"

/* What sizes do not tell: width of a head in SDXL, and of the sinusoid of a size. */
enum { HEAD = 64, SIZE_DIM = 256, CLIP_LAYERS_MAX = 1 << 10 };

/* --- finding ---------------------------------------------------------------------------------- */

static int find_spelled(const at_sdxl_place *p, const char *name)
{
    char full[2 * AT_TENSOR_NAME_MAX];
    snprintf(full, sizeof full, "%s%s", p->prefix, name);
    return at_tensors_find(p->list, full);
}

int at_sdxl_find(const at_sdxl_place *p, const char *name, at_sdxl_form *form)
{
    at_sdxl_name single = { .form = AT_SDXL_AS_IT_IS };
    char other[AT_TENSOR_NAME_MAX];
    if (p->layout == AT_SDXL_SINGLE) {
        if (!at_sdxl_name_single(&single, p->part, name, &p->sizes))
            return -1;
        name = single.text;
    }
    if (form)
        *form = single.form;
    int i = find_spelled(p, name);
    for (int k = 0; i < 0 && at_sdxl_name_also(other, p->part, name, k); k++)
        i = find_spelled(p, other);
    return i;
}

void at_sdxl_spell(const at_sdxl_place *p, const char *name, char out[AT_TENSOR_NAME_MAX])
{
    at_sdxl_name single;
    if (p->layout == AT_SDXL_SINGLE && at_sdxl_name_single(&single, p->part, name, &p->sizes))
        name = single.text;
    if (snprintf(out, AT_TENSOR_NAME_MAX, "%s%s", p->prefix, name) >= AT_TENSOR_NAME_MAX)
        out[AT_TENSOR_NAME_MAX - 1] = 0;
}

/* Tensors by the names that they have in the file. */
static const at_stored_tensor *tensor_spelled(const at_sdxl_place *p, const char *fmt, ...)
    AT_PRINTF(2, 3);
static const at_stored_tensor *tensor_spelled(const at_sdxl_place *p, const char *fmt, ...)
{
    char name[AT_TENSOR_NAME_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    const int i = find_spelled(p, name);
    return i < 0 ? NULL : &p->list->items[i];
}

static const at_stored_tensor *tensor_named(const at_sdxl_place *p, const char *fmt, ...)
    AT_PRINTF(2, 3);
static const at_stored_tensor *tensor_named(const at_sdxl_place *p, const char *fmt, ...)
{
    char name[AT_TENSOR_NAME_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    const int i = at_sdxl_find(p, name, NULL);
    return i < 0 ? NULL : &p->list->items[i];
}

static at_status take_size(int64_t *out, const at_stored_tensor *t, int axis, at_error *err)
{
    if (t->rank <= axis)
        return at_fail(err, AT_INVALID, "tensor '%.200s' has %d axes: expected %d at least",
                       t->name, t->rank, axis + 1);
    *out = t->size[axis];
    return AT_OK;
}

/* A size of a tensor that has to be there, by its name in the file and by diffusers'. */
static at_status size_spelled(int64_t *out, const at_sdxl_place *p, const char *name, int axis,
                              at_error *err)
{
    const at_stored_tensor *t = tensor_spelled(p, "%s", name);
    return t ? take_size(out, t, axis, err)
             : at_fail(err, AT_INVALID, "tensor '%s%s' is missing", p->prefix, name);
}

static at_status size_named(int64_t *out, const at_sdxl_place *p, const char *name, int axis,
                            at_error *err)
{
    char spelled[AT_TENSOR_NAME_MAX];
    const at_stored_tensor *t = tensor_named(p, "%s", name);
    if (t)
        return take_size(out, t, axis, err);
    at_sdxl_spell(p, name, spelled);
    return at_fail(err, AT_INVALID, "tensor '%.200s' is missing", spelled);
}

/* --- UNet ------------------------------------------------------------------------------------- */

static int depth_of(const at_sdxl_place *p, const char *block, int index)
{
    int depth = 0;
    while (depth <= AT_SDXL_DEPTH_MAX &&
           tensor_spelled(p, "%s.%d.1.transformer_blocks.%d.norm1.weight", block, index, depth))
        depth++;
    return depth;
}

/* One list of blocks going down: a resnet each, or a convolution that halves the size. */
static at_status measure_down(at_sdxl_unet_config *c, const at_sdxl_place *p, at_error *err)
{
    int level = 0;
    for (int i = 1;; i++) {
        const at_stored_tensor *t = tensor_spelled(p, "input_blocks.%d.0.in_layers.2.weight", i);
        if (!t && !tensor_spelled(p, "input_blocks.%d.0.op.weight", i))
            break;
        if (!t)
            level++;
        if (level == AT_SDXL_LEVELS_MAX || c->layers[level] == AT_SDXL_LAYERS_MAX - 1)
            return at_fail(err, AT_UNSUPPORTED,
                           "'%sinput_blocks.%d': expected at most %d levels of %d layers",
                           p->prefix, i, AT_SDXL_LEVELS_MAX, AT_SDXL_LAYERS_MAX - 1);
        if (!t)
            continue;
        AT_TRY(take_size(&c->channels[level], t, 0, err));
        c->down[level][c->layers[level]++] = depth_of(p, "input_blocks", i);
    }
    c->levels = level + 1;
    return AT_OK;
}

static void measure_up(at_sdxl_unet_config *c, const at_sdxl_place *p)
{
    int block = 0;
    for (int i = 0; i < c->levels; i++)
        for (int k = 0; k <= c->layers[c->levels - 1 - i]; k++)
            c->up[i][k] = depth_of(p, "output_blocks", block++);
}

static void measure_middle(at_sdxl_unet_config *c, const at_sdxl_place *p)
{
    static const char *const resnets[] = { "middle_block.0.in_layers.2.weight",
                                           "middle_block.2.in_layers.2.weight" };
    while (c->mid_resnets < 2 && tensor_spelled(p, "%s", resnets[c->mid_resnets]))
        c->mid_resnets++;
    while (c->mid_resnets == 2 && c->mid_depth <= AT_SDXL_DEPTH_MAX &&
           tensor_spelled(p, "middle_block.1.transformer_blocks.%d.norm1.weight", c->mid_depth))
        c->mid_depth++;
}

/* The width of the text, in whichever block reads it first. */
static at_status measure_context(at_sdxl_unet_config *c, const at_sdxl_place *p, at_error *err)
{
    static const char block[] = "transformer_blocks.0.attn2.to_k.weight";
    const at_stored_tensor *t = NULL;
    for (int i = 1; !t && i < AT_SDXL_LEVELS_MAX * AT_SDXL_LAYERS_MAX; i++)
        t = tensor_spelled(p, "input_blocks.%d.1.%s", i, block);
    return t ? take_size(&c->context, t, 1, err)
             : size_spelled(&c->context, p, "middle_block.1.transformer_blocks.0.attn2.to_k.weight",
                            1, err);
}

static at_status measure_added(at_sdxl_unet_config *c, const at_sdxl_place *p, int64_t pooled,
                               at_error *err)
{
    static const char name[] = "label_emb.0.0.weight";
    int64_t added = 0;
    AT_TRY(size_spelled(&added, p, name, 1, err));
    if (added - pooled < SIZE_DIM || (added - pooled) % SIZE_DIM)
        return at_fail(
            err, AT_UNSUPPORTED,
            "tensor '%s%s' is %lld wide: expected %lld of the pooled text and a multiple "
            "of %d",
            p->prefix, name, (long long)added, (long long)pooled, SIZE_DIM);
    c->pooled = pooled;
    c->sizes = (added - pooled) / SIZE_DIM;
    return AT_OK;
}

static at_status measure_unet(at_sdxl_unet_config *c, const at_sdxl_place *p, int64_t pooled,
                              at_error *err)
{
    const at_sdxl_unet_config *base = &at_sdxl_unet_base;
    AT_ASSERT(p->layout == AT_SDXL_SINGLE, "%s", "a UNet in diffusers' names");
    *c = (at_sdxl_unet_config){ .size_dim = SIZE_DIM,
                                .groups = base->groups,
                                .eps = base->eps,
                                .cos_first = base->cos_first,
                                .sample = { base->sample[0], base->sample[1] } };
    AT_TRY(size_spelled(&c->in, p, "input_blocks.0.0.weight", 1, err));
    AT_TRY(size_spelled(&c->latent, p, "out.2.weight", 0, err));
    AT_TRY(measure_down(c, p, err));
    measure_middle(c, p);
    measure_up(c, p);
    AT_TRY(measure_context(c, p, err));
    AT_TRY(measure_added(c, p, pooled, err));
    for (int i = 0; i < c->levels; i++) {
        c->heads[i] = c->channels[i] / HEAD;
        if (c->channels[i] < HEAD || c->channels[i] % HEAD)
            return at_fail(err, AT_UNSUPPORTED,
                           "a UNet with %lld channels in a file without a configuration: expected "
                           "a multiple of %d, the width of a head of SDXL",
                           (long long)c->channels[i], HEAD);
    }
    return at_sdxl_unet_check(c, err);
}

/* --- VAE -------------------------------------------------------------------------------------- */

static at_status measure_vae(at_sdxl_vae_config *c, const at_sdxl_place *p, at_error *err)
{
    *c = at_sdxl_vae_base;
    c->levels = 0;
    c->layers = 0;
    while (c->levels < AT_SDXL_VAE_LEVELS_MAX) {
        const at_stored_tensor *t =
            tensor_named(p, "encoder.down_blocks.%d.resnets.0.conv1.weight", c->levels);
        if (!t)
            break;
        AT_TRY(take_size(&c->channels[c->levels++], t, 0, err));
    }
    while (c->layers < AT_SDXL_VAE_LAYERS_MAX &&
           tensor_named(p, "encoder.down_blocks.0.resnets.%d.conv1.weight", c->layers))
        c->layers++;
    if (!c->layers)
        return at_fail(err, AT_INVALID, "there is no VAE under '%s': its encoder is missing",
                       p->prefix);
    AT_TRY(size_named(&c->latent, p, "decoder.conv_in.weight", 1, err));
    c->attention = tensor_named(p, "encoder.mid_block.attentions.0.to_q.weight") != NULL;
    c->quant = tensor_named(p, "quant_conv.weight") != NULL;
    c->post_quant = tensor_named(p, "post_quant_conv.weight") != NULL;
    return at_sdxl_vae_check(c, err);
}

/* --- text encoders ---------------------------------------------------------------------------- */

static at_status measure_text(at_clip_text_config *c, const at_sdxl_place *p, at_error *err)
{
    static const char tokens[] = "text_model.embeddings.token_embedding.weight";
    static const char positions[] = "text_model.embeddings.position_embedding.weight";
    static const char inner[] = "text_model.encoder.layers.0.mlp.fc1.weight";
    const bool second = p->part == AT_SDXL_TEXT_2;
    *c = second ? at_clip_text_sdxl_2 : at_clip_text_sdxl_1;
    AT_TRY(size_named(&c->vocabulary, p, tokens, 0, err));
    AT_TRY(size_named(&c->width, p, tokens, 1, err));
    AT_TRY(size_named(&c->positions, p, positions, 0, err));
    AT_TRY(size_named(&c->inner, p, inner, 0, err));
    c->layers = 0;
    while (
        c->layers <= CLIP_LAYERS_MAX &&
        tensor_named(p, "text_model.encoder.layers.%lld.layer_norm1.weight", (long long)c->layers))
        c->layers++;
    if (second) /* which is turned in single files */
        AT_TRY(size_named(&c->projection, p, "text_projection.weight", p->layout == AT_SDXL_SINGLE,
                          err));
    c->heads = c->width / HEAD;
    if (c->width < HEAD || c->width % HEAD)
        return at_fail(err, AT_UNSUPPORTED,
                       "a text encoder of width %lld in a file without a configuration: expected a "
                       "multiple of %d, the width of a head of CLIP's",
                       (long long)c->width, HEAD);
    return at_clip_text_config_check(c, err);
}

at_status at_sdxl_measure(at_sdxl_configs *c, const at_sdxl_place *p, at_error *err)
{
    switch (p->part) {
    case AT_SDXL_UNET: return measure_unet(&c->unet, p, c->text[1].projection, err);
    case AT_SDXL_VAE: return measure_vae(&c->vae, p, err);
    default: return measure_text(&c->text[p->part != AT_SDXL_TEXT_1], p, err);
    }
}
