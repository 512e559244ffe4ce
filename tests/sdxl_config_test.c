/* sdxl_config_test.c -- configs as diffusers writes them: what is read from them, names and shapes
 * of the full-size models that they describe against digests of diffusers' own
 * (reference/sdxl_configs.py), and what is refused, by which name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/sdxl_config.h"
#include "tests/told.h"
#include "tests/unit.h"

enum { TEXT_MAX = 8192 };

/* A config of tests/golden/sdxl_configs; its bytes. */
static size_t read_golden(const char *file, char text[TEXT_MAX])
{
    char path[512];
    snprintf(path, sizeof path, "%s/tests/golden/sdxl_configs/%s", AT_SOURCE_DIR, file);
    FILE *f = fopen(path, "r");
    AT_ASSERT(f, "%s cannot be read", path);
    const size_t bytes = fread(text, 1, TEXT_MAX - 1, f);
    fclose(f);
    text[bytes] = 0;
    return bytes;
}

static at_sdxl_unet_config golden_unet(const char *file, int64_t pooled)
{
    char text[TEXT_MAX];
    const size_t bytes = read_golden(file, text);
    at_sdxl_unet_config c;
    at_error err = { 0 };
    test_must(at_sdxl_unet_config_read(&c, text, bytes, pooled, &err), &err);
    return c;
}

static at_sdxl_vae_config golden_vae(const char *file)
{
    char text[TEXT_MAX];
    const size_t bytes = read_golden(file, text);
    at_sdxl_vae_config c;
    at_error err = { 0 };
    test_must(at_sdxl_vae_config_read(&c, text, bytes, &err), &err);
    return c;
}

/* --- names and shapes ------------------------------------------------------------------------- */

/* How many tensors and elements, and the sum of the hashes of "name 1x2x3" of each: FNV-1a. */
typedef struct digest {
    long long tensors, elements;
    unsigned long long sum;
} digest;

static void add_param(digest *d, const at_param *p)
{
    char line[256];
    int n = snprintf(line, sizeof line, "%s ", p->name);
    for (int i = 0; i < p->view.rank; i++)
        n += snprintf(line + n, sizeof line - (size_t)n, "%s%lld", i ? "x" : "",
                      (long long)p->view.size[i]);
    unsigned long long h = 0xcbf29ce484222325u;
    for (const char *at = line; *at; at++)
        h = (h ^ (unsigned char)*at) * 0x100000001b3u;
    d->sum += h;
    d->tensors++;
    d->elements += at_elements(&p->view);
}

static digest unet_digest(at_params *store, const char *file)
{
    const at_sdxl_unet_config c = golden_unet(file, 1280);
    at_sdxl_unet *m;
    at_error err = { 0 };
    digest d = { 0 };
    test_must(at_sdxl_unet_new(&m, store, &c, AT_BF16, &err), &err);
    for (int i = 0; i < at_sdxl_unet_params(m); i++)
        add_param(&d, at_sdxl_unet_param(m, i));
    at_sdxl_unet_free(m);
    return d;
}

static digest vae_digest(at_params *store, const char *file)
{
    const at_sdxl_vae_config c = golden_vae(file);
    at_sdxl_vae *m;
    at_error err = { 0 };
    digest d = { 0 };
    test_must(at_sdxl_vae_new(&m, store, &c, AT_BF16, &err), &err);
    for (int i = 0; i < at_sdxl_vae_params(m); i++)
        add_param(&d, at_sdxl_vae_param(m, i));
    at_sdxl_vae_free(m);
    return d;
}

static void parameters_are_diffusers(void **state)
{
    char text[TEXT_MAX], file[64];
    digest expected;
    int used = 0, models = 0;
    at_device *device;
    at_error err = { 0 };
    (void)state;
    test_must(at_device_open(&device, "cpu", &(at_device_options){ .threads = 1 }, &err), &err);
    read_golden("digests.txt", text);
    for (const char *at = text; sscanf(at, "%63s %lld %lld %llx %n", file, &expected.tensors,
                                       &expected.elements, &expected.sum, &used) == 4;
         at += used) {
        at_params *store = at_params_new(device);
        const digest d = strstr(file, ".vae") ? vae_digest(store, file) : unet_digest(store, file);
        if (d.tensors != expected.tensors || d.elements != expected.elements ||
            d.sum != expected.sum)
            fail_msg("%s: %lld tensors, %lld elements, digest %llx; expected %lld, %lld, %llx",
                     file, d.tensors, d.elements, d.sum, expected.tensors, expected.elements,
                     expected.sum);
        assert_int_equal(at_params_bytes(store), 2 * d.elements); /* nothing is there twice */
        printf("%s: %lld tensors, %lld elements\n", file, d.tensors, d.elements);
        at_params_free(store);
        models++;
    }
    assert_int_equal(models, 7);
    at_device_close(device);
}

/* --- what is read ----------------------------------------------------------------------------- */

static void same_unet(const at_sdxl_unet_config *a, const at_sdxl_unet_config *b)
{
    assert_int_equal(a->levels, b->levels);
    for (int i = 0; i < a->levels; i++) {
        assert_int_equal(a->channels[i], b->channels[i]);
        assert_int_equal(a->heads[i], b->heads[i]);
        assert_int_equal(a->layers[i], b->layers[i]);
    }
    assert_memory_equal(a->down, b->down, sizeof a->down);
    assert_memory_equal(a->up, b->up, sizeof a->up);
    assert_true(a->mid_resnets == b->mid_resnets && a->mid_depth == b->mid_depth);
    assert_true(a->in == b->in && a->latent == b->latent && a->context == b->context);
    assert_true(a->pooled == b->pooled && a->sizes == b->sizes && a->size_dim == b->size_dim);
    assert_true(a->guidance == b->guidance && a->groups == b->groups && a->eps == b->eps);
    assert_true(a->freq_shift == b->freq_shift && a->cos_first == b->cos_first);
    assert_memory_equal(a->sample, b->sample, sizeof a->sample);
}

static void known_models_are_read(void **state)
{
    const at_sdxl_unet_config base = golden_unet("base.unet", 1280);
    const at_sdxl_unet_config refiner = golden_unet("refiner.unet", 1280);
    const at_sdxl_vae_config vae = golden_vae("base.vae");
    (void)state;
    same_unet(&base, &at_sdxl_unet_base);
    same_unet(&refiner, &at_sdxl_unet_refiner);
    assert_int_equal(vae.levels, at_sdxl_vae_base.levels);
    assert_memory_equal(vae.channels, at_sdxl_vae_base.channels, sizeof vae.channels);
    assert_int_equal(vae.layers, at_sdxl_vae_base.layers);
    assert_true(vae.latent == 4 && vae.groups == 32 && vae.sample == 1024);
    assert_true(vae.attention && vae.quant && vae.post_quant && !vae.normalized);
    assert_true(vae.scaling == 0.13025 && vae.shift == 0 && vae.upcast);
    assert_int_equal(at_sdxl_vae_shrinks(&vae), AT_SDXL_VAE_SHRINKS);
}

static void details_are_read(void **state)
{
    const at_sdxl_unet_config odd = golden_unet("odd.unet", 10), ssd = golden_unet("ssd.unet", 16);
    const at_sdxl_vae_config vae = golden_vae("odd.vae"), plain = golden_vae("plain.vae");
    static const int up[2][3] = { { 2, 1, 3 }, { 1, 2, 1 } };
    (void)state;
    assert_true(odd.in == 9 && odd.latent == 4 && odd.sizes == 5 && !odd.cos_first);
    assert_true(odd.freq_shift == 1 && odd.eps == 1e-4f && odd.mid_resnets == 2);
    assert_true(odd.sample[0] == 9 && odd.sample[1] == 13);
    assert_true(ssd.guidance == 12 && ssd.mid_resnets == 1 && ssd.sample[1] == 16);
    assert_true(!ssd.down[0][0] && ssd.down[1][0] == 2 && ssd.down[2][1] == 3 && !ssd.up[2][0]);
    for (int i = 0; i < 2; i++)
        assert_memory_equal(ssd.up[i], up[i], sizeof up[i]);
    assert_true(vae.normalized && vae.mean[1] == 1.886 && vae.std[2] == 1.5 && vae.scaling == 0.5);
    assert_true(!plain.attention && !plain.quant && !plain.post_quant && plain.shift == 0.1159);
    assert_true(!plain.normalized && at_sdxl_vae_shrinks(&plain) == 4);
}

/* The rest is as diffusers takes it, and what nobody knows is passed over. */
static void defaults_are_diffusers(void **state)
{
    static const char unet[] =
        "{\"use_linear_projection\": true, \"addition_embed_type\": \"text_time\","
        " \"addition_time_embed_dim\": 256, \"projection_class_embeddings_input_dim\": 2816,"
        " \"decay\": 0.9999, \"nobody\": {\"knows\": [null]}, \"norm_eps\": 1e-5,"
        " \"only_cross_attention\": [false, false], \"downsample_padding\": 1.0}";
    at_sdxl_unet_config c;
    at_sdxl_vae_config v;
    at_error err = { 0 };
    (void)state;
    test_must(at_sdxl_unet_config_read(&c, unet, sizeof unet - 1, 1280, &err), &err);
    assert_true(c.levels == 4 && c.channels[0] == 320 && c.channels[3] == 1280 && c.heads[2] == 8);
    assert_true(c.down[0][1] == 1 && !c.down[3][0] && !c.up[0][0] && c.up[3][2] == 1);
    assert_true(c.in == 4 && c.context == 1280 && c.cos_first && !c.sample[0] && !c.guidance);
    test_must(at_sdxl_vae_config_read(&v, "{}", 2, &err), &err);
    assert_true(v.levels == 1 && v.channels[0] == 64 && v.layers == 1 && v.scaling == 0.18215);
}

/* --- what is refused -------------------------------------------------------------------------- */

typedef struct refusal {
    const char *members; /* which come after those of a good config, and so count */
    const char *found;   /* in the sentence */
} refusal;

static const refusal unet_refusals[] = {
    { "\"_class_name\": \"AutoencoderKL\"", "_class_name" },
    { "\"block_out_channels\": [24, 41, 56]", "41 channels (block_out_channels)" },
    { "\"block_out_channels\": [24, 40]", "down_block_types: expected 2 values" },
    { "\"block_out_channels\": [24, 40, 56, 8, 8]",
      "block_out_channels: expected a list of 1 to 4" },
    { "\"block_out_channels\": [1, 2, 3, 4, 5, 6, 7, 8, 9]",
      "block_out_channels: expected at most" },
    { "\"block_out_channels\": 24", "block_out_channels" },
    { "\"block_out_channels\": []", "block_out_channels: the list is empty" },
    { "\"block_out_channels\": [24, 40, -56]",
      "block_out_channels: expected 1 to 65536, found -56" },
    { "\"block_out_channels\": [24, 40, 9223372036854775807]", "block_out_channels" },
    { "\"block_out_channels\": [24, 40, 1e400]", "block_out_channels" },
    { "\"block_out_channels\": [24, 40, \"56\"]", "block_out_channels" },
    { "\"down_block_types\": [\"DownBlock2D\", \"AttnDownBlock2D\", \"DownBlock2D\"]",
      "down_block_types: expected DownBlock2D or CrossAttnDownBlock2D, found \"AttnDownBlock2D\"" },
    { "\"up_block_types\": [\"UpBlock2D\"]", "up_block_types: expected 3 values" },
    { "\"mid_block_type\": \"UNetMidBlock2DSimpleCrossAttn\"", "mid_block_type" },
    { "\"layers_per_block\": 0", "layers_per_block" },
    { "\"layers_per_block\": 1000000", "layers_per_block" },
    { "\"layers_per_block\": [1, 2]", "layers_per_block: expected 3 values" },
    { "\"transformer_layers_per_block\": [1, [2, 2], 1]", "reverse_transformer_layers_per_block" },
    { "\"transformer_layers_per_block\": [1, 1, 0]", "transformer_layers_per_block: an attention" },
    { "\"transformer_layers_per_block\": 100000", "transformer_layers_per_block" },
    { "\"transformer_layers_per_block\": [[[1]]]", "transformer_layers_per_block" },
    { "\"transformer_layers_per_block\": null", "transformer_layers_per_block: null" },
    { "\"reverse_transformer_layers_per_block\": [1, 1]", "reverse_transformer_layers_per_block" },
    { "\"reverse_transformer_layers_per_block\": [1, [1], 1]", "a list of 1 values for 3 layers" },
    { "\"attention_head_dim\": 7", "7 heads (attention_head_dim)" },
    { "\"attention_head_dim\": [2, 5]", "attention_head_dim: expected 3 values" },
    { "\"attention_head_dim\": null", "attention_head_dim: null" },
    { "\"num_attention_heads\": 8", "num_attention_heads" },
    { "\"cross_attention_dim\": [20, 20, 24]", "cross_attention_dim" },
    { "\"norm_num_groups\": null", "norm_num_groups" },
    { "\"norm_num_groups\": 32", "norm_num_groups" },
    { "\"norm_eps\": 0", "norm_eps" },
    { "\"norm_eps\": NaN", "norm_eps" },
    { "\"freq_shift\": 2", "freq_shift" },
    { "\"flip_sin_to_cos\": 1", "flip_sin_to_cos" },
    { "\"in_channels\": 0", "in_channels" },
    { "\"out_channels\": 4.5", "out_channels" },
    { "\"use_linear_projection\": false", "use_linear_projection: only true" },
    { "\"addition_embed_type\": \"text\"", "addition_embed_type: only \"text_time\"" },
    { "\"addition_embed_type\": null", "addition_embed_type" },
    { "\"addition_time_embed_dim\": null", "addition_time_embed_dim" },
    { "\"addition_time_embed_dim\": 3, \"freq_shift\": 0", "addition_time_embed_dim 3" },
    { "\"projection_class_embeddings_input_dim\": null", "projection_class_embeddings_input_dim" },
    { "\"projection_class_embeddings_input_dim\": 41", "projection_class_embeddings_input_dim" },
    { "\"projection_class_embeddings_input_dim\": 9", "projection_class_embeddings_input_dim" },
    { "\"time_cond_proj_dim\": 0", "time_cond_proj_dim" },
    { "\"resnet_time_scale_shift\": \"scale_shift\"", "resnet_time_scale_shift: only \"default\"" },
    { "\"only_cross_attention\": [false, true, false]", "only_cross_attention: only false" },
    { "\"only_cross_attention\": [[false]]", "only_cross_attention" },
    { "\"act_fn\": \"gelu\"", "act_fn" },
    { "\"dual_cross_attention\": true", "dual_cross_attention" },
    { "\"class_embed_type\": \"timestep\"", "class_embed_type" },
    { "\"encoder_hid_dim\": 64", "encoder_hid_dim" },
    { "\"conv_in_kernel\": 5", "conv_in_kernel" },
    { "\"downsample_padding\": 0", "downsample_padding" },
    { "\"time_embedding_dim\": 96", "time_embedding_dim" },
    { "\"sample_size\": [1, 2, 3]", "sample_size" },
    { "\"transformer_layers_per_block\": 1, \"mid_block_type\": null,"
      " \"down_block_types\": [\"DownBlock2D\", \"DownBlock2D\", \"DownBlock2D\"],"
      " \"up_block_types\": [\"UpBlock2D\", \"UpBlock2D\", \"UpBlock2D\"]",
      "without attention" },
};

static const refusal vae_refusals[] = {
    { "\"_class_name\": \"AutoencoderTiny\"", "_class_name" },
    { "\"in_channels\": 4", "in_channels: only 3" },
    { "\"block_out_channels\": [16, 25]", "25 channels (block_out_channels)" },
    { "\"block_out_channels\": [16]", "down_block_types: expected 1 values" },
    { "\"block_out_channels\": [16, 99999999999]", "block_out_channels" },
    { "\"down_block_types\": [\"DownEncoderBlock2D\", \"AttnDownEncoderBlock2D\"]",
      "down_block_types: expected DownEncoderBlock2D, found \"AttnDownEncoderBlock2D\"" },
    { "\"up_block_types\": []", "up_block_types" },
    { "\"layers_per_block\": 8", "layers_per_block" },
    { "\"latent_channels\": 1000", "latent_channels" },
    { "\"latent_channels\": 4", "latents_mean and latents_std: expected 4 values" },
    { "\"latents_mean\": null", "latents_mean and latents_std" },
    { "\"latents_std\": [1, 0, 1]", "latents_std" },
    { "\"latents_mean\": [1, \"2\", 3]", "latents_mean" },
    { "\"norm_num_groups\": 0", "norm_num_groups" },
    { "\"scaling_factor\": 0", "scaling_factor" },
    { "\"scaling_factor\": null", "scaling_factor" },
    { "\"shift_factor\": \"\"", "shift_factor" },
    { "\"use_quant_conv\": null", "use_quant_conv" },
    { "\"mid_block_add_attention\": 0", "mid_block_add_attention" },
    { "\"act_fn\": \"relu\"", "act_fn" },
};

/* A good config in which other members come after its own. */
static size_t with(char text[TEXT_MAX], const char *file, const char *members)
{
    const size_t bytes = read_golden(file, text);
    char *end = strrchr(text, '}');
    AT_ASSERT(end, "%s is no object", file);
    return (size_t)(end - text) + (size_t)snprintf(end, TEXT_MAX - bytes, ", %s}", members);
}

static void expect(const refusal *r, at_status status, const at_error *err)
{
    if (status == AT_OK)
        fail_msg("%s is accepted", r->members);
    if (!strstr(err->text, r->found) || strchr(err->text, '\n'))
        fail_msg("%s: expected \"%s\" in the sentence \"%s\"", r->members, r->found, err->text);
}

static void bad_configs_are_refused(void **state)
{
    char text[TEXT_MAX];
    (void)state;
    for (size_t i = 0; i < AT_COUNT(unet_refusals); i++) {
        const size_t bytes = with(text, "odd.unet", unet_refusals[i].members);
        at_sdxl_unet_config c;
        at_error err = { 0 };
        expect(&unet_refusals[i], at_sdxl_unet_config_read(&c, text, bytes, 10, &err), &err);
        assert_int_not_equal(at_sdxl_unet_config_read(&c, text, bytes, 10, NULL), AT_OK);
    }
    for (size_t i = 0; i < AT_COUNT(vae_refusals); i++) {
        const size_t bytes = with(text, "odd.vae", vae_refusals[i].members);
        at_sdxl_vae_config c;
        at_error err = { 0 };
        expect(&vae_refusals[i], at_sdxl_vae_config_read(&c, text, bytes, &err), &err);
    }
}

/* Whatever is cut off is missed; so are the keys that have no usable default. */
static void incomplete_configs_are_refused(void **state)
{
    static const refusal needed[] = {
        { "{}", "addition_embed_type, which is not given: only \"text_time\"" },
        { "[]", "unet config" },
        { "", "unet config" }
    };
    char text[TEXT_MAX];
    const size_t bytes = read_golden("odd.unet", text);
    at_sdxl_unet_config c;
    (void)state;
    for (size_t i = 0; i + 1 < bytes; i += 7) {
        at_error err = { 0 };
        assert_int_not_equal(at_sdxl_unet_config_read(&c, text, i, 10, &err), AT_OK);
        assert_true(strstr(err.text, "unet config: "));
    }
    for (size_t i = 0; i < AT_COUNT(needed); i++) {
        at_error err = { 0 };
        const char *json = needed[i].members;
        const at_status status = at_sdxl_unet_config_read(&c, json, strlen(json), 10, &err);
        expect(&needed[i], status, &err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_diffusers),
        cmocka_unit_test(known_models_are_read),
        cmocka_unit_test(details_are_read),
        cmocka_unit_test(defaults_are_diffusers),
        cmocka_unit_test(bad_configs_are_refused),
        cmocka_unit_test(incomplete_configs_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
