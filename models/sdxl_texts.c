#include "models/sdxl_texts.h"

#include <stdio.h>
#include <string.h>

#include "engine/json_write.h"

enum { CONFIG_BYTES_MAX = 1 << 16 };

static const char *const paths[] = {
#define AT_SDXL_TEXT(path) path,
#include "models/sdxl_texts.def"
#undef AT_SDXL_TEXT
};

const char *at_sdxl_text_path(int i)
{
    return i >= 0 && (size_t)i < AT_COUNT(paths) ? paths[i] : NULL;
}

/* --- members ---------------------------------------------------------------------------------- */

static void put_text(at_json_writer *w, const char *key, const char *text)
{
    at_json_write_key(w, key);
    at_json_write_string(w, text, strlen(text));
}

static void put_int(at_json_writer *w, const char *key, int64_t value)
{
    at_json_write_key(w, key);
    at_json_write_int(w, value);
}

/* JSON as it is. */
static void put_raw(at_json_writer *w, const char *key, const char *json)
{
    at_json_write_key(w, key);
    at_json_write_raw(w, json, strlen(json));
}

static void put_flag(at_json_writer *w, const char *key, bool value)
{
    put_raw(w, key, value ? "true" : "false");
}

static void put_ints(at_json_writer *w, const char *key, const int64_t *values, int n)
{
    at_json_write_key(w, key);
    at_json_write_array(w);
    for (int i = 0; i < n; i++)
        at_json_write_int(w, values[i]);
    at_json_write_close(w);
}

static at_status end(at_json_writer *w, at_sdxl_text *out, at_error *err)
{
    at_json_write_close(w);
    at_status status = at_json_write_end(w, err);
    if (status == AT_OK)
        *out = (at_sdxl_text){ w->text, w->bytes };
    else
        at_json_writer_free(w);
    return status;
}

/* --- UNet ------------------------------------------------------------------------------------- */

/* Depths of a level's attentions; diffusers has them in all layers of a block or in none. */
typedef struct depths {
    const int *of;
    int n;
} depths;

static depths depths_down(const at_sdxl_unet_config *c, int level)
{
    return (depths){ c->down[level], c->layers[level] };
}

static depths depths_up(const at_sdxl_unet_config *c, int level)
{
    return (depths){ c->up[level], c->layers[c->levels - 1 - level] + 1 };
}

static bool are_all(depths d, int depth)
{
    for (int i = 0; i < d.n; i++)
        if (d.of[i] != depth)
            return false;
    return true;
}

/* One depth for a level both ways, where that says it all; of the lowest level its middle has the
 * same. A level without attention takes the middle's or 1. */
static bool one_depth(const at_sdxl_unet_config *c, int level, int *depth)
{
    const depths down = depths_down(c, level), up = depths_up(c, c->levels - 1 - level);
    const bool lowest = level + 1 == c->levels && c->mid_resnets == 2;
    *depth = down.of[0] ? down.of[0] : up.of[0];
    if (!*depth)
        *depth = lowest ? c->mid_depth : 1;
    return (are_all(down, *depth) || are_all(down, 0)) && (are_all(up, *depth) || are_all(up, 0)) &&
           (!lowest || c->mid_depth == *depth);
}

static void put_depths(at_json_writer *w, depths d, int without)
{
    if (!d.of[0]) {
        at_json_write_int(w, without);
        return;
    }
    at_json_write_array(w);
    for (int i = 0; i < d.n; i++)
        at_json_write_int(w, d.of[i]);
    at_json_write_close(w);
}

static void put_blocks(at_json_writer *w, const at_sdxl_unet_config *c)
{
    static const char down[] = "transformer_layers_per_block";
    int64_t depth[AT_SDXL_LEVELS_MAX];
    bool simple = true;
    for (int i = 0; i < c->levels; i++) {
        int one;
        simple = one_depth(c, i, &one) && simple;
        depth[i] = one;
    }
    if (simple) {
        put_ints(w, down, depth, c->levels);
        put_raw(w, "reverse_transformer_layers_per_block", "null");
        return;
    }
    at_json_write_key(w, down);
    at_json_write_array(w);
    for (int i = 0; i < c->levels; i++)
        put_depths(w, depths_down(c, i), i + 1 == c->levels && c->mid_depth ? c->mid_depth : 1);
    at_json_write_close(w);
    at_json_write_key(w, "reverse_transformer_layers_per_block");
    at_json_write_array(w);
    for (int i = 0; i < c->levels; i++)
        put_depths(w, depths_up(c, i), 1);
    at_json_write_close(w);
}

static void put_types(at_json_writer *w, const char *key, const at_sdxl_unet_config *c,
                      depths (*of)(const at_sdxl_unet_config *c, int level), const char *plain,
                      const char *attention)
{
    at_json_write_key(w, key);
    at_json_write_array(w);
    for (int i = 0; i < c->levels; i++) {
        const char *type = of(c, i).of[0] ? attention : plain;
        at_json_write_string(w, type, strlen(type));
    }
    at_json_write_close(w);
}

static void put_unet(at_json_writer *w, const at_sdxl_unet_config *c)
{
    static const char *const middles[] = { "null", "\"UNetMidBlock2D\"",
                                           "\"UNetMidBlock2DCrossAttn\"" };
    int64_t layers[AT_SDXL_LEVELS_MAX];
    bool same = true;
    for (int i = 0; i < c->levels; i++) {
        layers[i] = c->layers[i];
        same = same && layers[i] == layers[0];
    }
    put_text(w, "_class_name", "UNet2DConditionModel");
    put_text(w, "act_fn", "silu");
    put_text(w, "addition_embed_type", "text_time");
    put_int(w, "addition_time_embed_dim", c->size_dim);
    put_ints(w, "attention_head_dim", c->heads, c->levels);
    put_ints(w, "block_out_channels", c->channels, c->levels);
    put_int(w, "cross_attention_dim", c->context);
    put_types(w, "down_block_types", c, depths_down, "DownBlock2D", "CrossAttnDownBlock2D");
    put_raw(w, "flip_sin_to_cos", "true");
    put_int(w, "freq_shift", 0);
    put_int(w, "in_channels", c->in);
    if (same)
        put_int(w, "layers_per_block", layers[0]);
    else
        put_ints(w, "layers_per_block", layers, c->levels);
    put_raw(w, "mid_block_type", middles[c->mid_resnets]);
    put_raw(w, "norm_eps", "1e-05");
    put_int(w, "norm_num_groups", c->groups);
    put_int(w, "out_channels", c->latent);
    put_int(w, "projection_class_embeddings_input_dim", c->pooled + c->sizes * c->size_dim);
    put_int(w, "sample_size", c->sample[0]);
    put_blocks(w, c);
    if (c->guidance)
        put_int(w, "time_cond_proj_dim", c->guidance);
    put_types(w, "up_block_types", c, depths_up, "UpBlock2D", "CrossAttnUpBlock2D");
    put_raw(w, "use_linear_projection", "true");
}

#define SAME(field) (!memcmp(&a->field, &b->field, sizeof a->field))

static bool same_unet(const at_sdxl_unet_config *a, const at_sdxl_unet_config *b)
{
    return SAME(levels) && SAME(channels) && SAME(heads) && SAME(layers) && SAME(down) &&
           SAME(up) && SAME(mid_resnets) && SAME(mid_depth) && SAME(in) && SAME(latent) &&
           SAME(context) && SAME(pooled) && SAME(sizes) && SAME(size_dim) && SAME(guidance) &&
           SAME(groups) && SAME(eps) && SAME(freq_shift) && SAME(cos_first);
}

/* --- VAE and text encoders -------------------------------------------------------------------- */

static void put_repeated(at_json_writer *w, const char *key, const char *text, int n)
{
    at_json_write_key(w, key);
    at_json_write_array(w);
    for (int i = 0; i < n; i++)
        at_json_write_string(w, text, strlen(text));
    at_json_write_close(w);
}

static void put_vae(at_json_writer *w, const at_sdxl_vae_config *c)
{
    put_text(w, "_class_name", "AutoencoderKL");
    put_text(w, "act_fn", "silu");
    put_ints(w, "block_out_channels", c->channels, c->levels);
    put_repeated(w, "down_block_types", "DownEncoderBlock2D", c->levels);
    put_raw(w, "force_upcast", "true");
    put_int(w, "in_channels", 3);
    put_int(w, "latent_channels", c->latent);
    put_int(w, "layers_per_block", c->layers);
    put_flag(w, "mid_block_add_attention", c->attention);
    put_int(w, "norm_num_groups", c->groups);
    put_int(w, "out_channels", 3);
    put_int(w, "sample_size", c->sample);
    at_json_write_key(w, "scaling_factor");
    at_json_write_real(w, c->scaling);
    put_repeated(w, "up_block_types", "UpDecoderBlock2D", c->levels);
    put_flag(w, "use_post_quant_conv", c->post_quant);
    put_flag(w, "use_quant_conv", c->quant);
}

static bool same_vae(const at_sdxl_vae_config *a, const at_sdxl_vae_config *b)
{
    return SAME(levels) && SAME(layers) && SAME(latent) && SAME(groups) && SAME(attention) &&
           SAME(quant) && SAME(post_quant) && SAME(scaling) && SAME(shift) && SAME(normalized) &&
           !memcmp(a->channels, b->channels, (size_t)a->levels * sizeof *a->channels);
}

static void put_clip(at_json_writer *w, const at_clip_text_config *c)
{
    at_json_write_key(w, "architectures");
    at_json_write_array(w);
    const char *name = c->projection ? "CLIPTextModelWithProjection" : "CLIPTextModel";
    at_json_write_string(w, name, strlen(name));
    at_json_write_close(w);
    put_int(w, "bos_token_id", 0);
    put_int(w, "eos_token_id", c->end);
    put_text(w, "hidden_act", c->act == AT_ACT_GELU ? "gelu" : "quick_gelu");
    put_int(w, "hidden_size", c->width);
    put_int(w, "intermediate_size", c->inner);
    put_raw(w, "layer_norm_eps", "1e-05");
    put_int(w, "max_position_embeddings", c->positions);
    put_text(w, "model_type", "clip_text_model");
    put_int(w, "num_attention_heads", c->heads);
    put_int(w, "num_hidden_layers", c->layers);
    put_int(w, "pad_token_id", 1);
    put_int(w, "projection_dim", c->projection ? c->projection : c->width);
    put_int(w, "vocab_size", c->vocabulary);
}

static bool same_clip(const at_clip_text_config *a, const at_clip_text_config *b)
{
    return SAME(vocabulary) && SAME(positions) && SAME(width) && SAME(inner) && SAME(layers) &&
           SAME(heads) && SAME(projection) && SAME(end) && SAME(eps) && SAME(act);
}

#undef SAME

/* --- config.json ------------------------------------------------------------------------------ */

static bool same_config(at_sdxl_part part, const at_sdxl_configs *a, const at_sdxl_configs *b)
{
    const int i = part != AT_SDXL_TEXT_1;
    switch (part) {
    case AT_SDXL_UNET: return same_unet(&a->unet, &b->unet);
    case AT_SDXL_VAE: return same_vae(&a->vae, &b->vae);
    default: return same_clip(&a->text[i], &b->text[i]);
    }
}

at_status at_sdxl_config_write(at_sdxl_text *out, at_sdxl_part part, const at_sdxl_configs *c,
                               at_error *err)
{
    at_json_writer w = { .bytes_max = CONFIG_BYTES_MAX };
    at_sdxl_configs back = *c;
    *out = (at_sdxl_text){ 0 };
    at_json_write_object(&w);
    if (part == AT_SDXL_UNET)
        put_unet(&w, &c->unet);
    else if (part == AT_SDXL_VAE)
        put_vae(&w, &c->vae);
    else
        put_clip(&w, &c->text[part != AT_SDXL_TEXT_1]);
    at_status status = end(&w, out, err);
    if (status == AT_OK)
        status = at_sdxl_configs_read(&back, part, out->data, out->bytes, "a config.json", err);
    if (status == AT_OK && !same_config(part, &back, c))
        status = at_fail(err, AT_UNSUPPORTED,
                         "the sizes of the %s are none that a config.json of diffusers can say",
                         at_sdxl_part_name(part));
    return status;
}

/* --- model_index.json ------------------------------------------------------------------------- */

/* A component of the pipeline and the class it has; none of them is there without the first text
 * encoder where 'first' says so. */
typedef struct component {
    const char *name, *value;
    bool first;
} component;

static const component components[] = {
    { "feature_extractor", "[null,null]", false },
    { "image_encoder", "[null,null]", false },
    { "scheduler", "[\"diffusers\",\"EulerDiscreteScheduler\"]", false },
    { "text_encoder", "[\"transformers\",\"CLIPTextModel\"]", true },
    { "text_encoder_2", "[\"transformers\",\"CLIPTextModelWithProjection\"]", false },
    { "tokenizer", "[\"transformers\",\"CLIPTokenizer\"]", true },
    { "tokenizer_2", "[\"transformers\",\"CLIPTokenizer\"]", false },
    { "unet", "[\"diffusers\",\"UNet2DConditionModel\"]", false },
    { "vae", "[\"diffusers\",\"AutoencoderKL\"]", false },
};

enum { REFINER_SIZES = 5 };

at_status at_sdxl_index_write(at_sdxl_text *out, const at_sdxl_configs *c, bool has_text_1,
                              at_error *err)
{
    const bool refiner = c->unet.sizes == REFINER_SIZES, inpaint = c->unet.in > c->unet.latent;
    at_json_writer w = { .bytes_max = CONFIG_BYTES_MAX };
    *out = (at_sdxl_text){ 0 };
    at_json_write_object(&w);
    put_text(&w, "_class_name",
             refiner   ? "StableDiffusionXLImg2ImgPipeline"
             : inpaint ? "StableDiffusionXLInpaintPipeline"
                       : "StableDiffusionXLPipeline");
    put_flag(&w, "force_zeros_for_empty_prompt", !refiner);
    if (refiner || inpaint)
        put_flag(&w, "requires_aesthetics_score", refiner);
    for (size_t i = 0; i < AT_COUNT(components); i++)
        put_raw(&w, components[i].name,
                components[i].first && !has_text_1 ? "[null,null]" : components[i].value);
    return end(&w, out, err);
}

/* [library, class], both null where the component was left out. */
static bool read_component(at_json *j, bool *there)
{
    *there = false;
    for (at_json_array(j); at_json_element(j);) {
        if (at_json_peek(j) != AT_JSON_NULL)
            *there = true;
        at_json_skip(j);
    }
    return j->status == AT_OK;
}

static bool read_class(at_json *j)
{
    static const char expected[] = "StableDiffusionXL";
    at_json_text text;
    if (!at_json_string(j, &text))
        return false;
    if (text.raw_bytes >= sizeof expected - 1 && !memcmp(text.raw, expected, sizeof expected - 1))
        return true;
    return at_json_refuse(j, "expected one of the pipelines %s..., found \"%.*s\"", expected,
                          (int)(text.raw_bytes < 60 ? text.raw_bytes : 60), text.raw);
}

static bool read_member(at_json *j, const at_json_text *key, at_sdxl_index *out)
{
    if (at_json_is(key, "_class_name"))
        return read_class(j);
    for (int i = 0; i < AT_SDXL_PARTS; i++)
        if (at_json_is(key, at_sdxl_part_name((at_sdxl_part)i)))
            return read_component(j, &out->has[i]);
    return at_json_skip(j);
}

at_status at_sdxl_index_read(at_sdxl_index *out, const char *json, size_t bytes, at_error *err)
{
    at_error why = { AT_OK, "" };
    at_json_text key;
    at_json j;
    *out = (at_sdxl_index){ 0 };
    at_json_start(&j, json, bytes, &why);
    for (at_json_object(&j); at_json_key(&j, &key);)
        if (!read_member(&j, &key, out))
            break;
    at_status status = at_json_end(&j);
    return status == AT_OK ? AT_OK : at_fail(err, status, "model_index.json: %.400s", why.text);
}
