/* lora_test.c -- adapters in every naming against what diffusers and PEFT make of a small model's
 * weights (reference/lora.py), and what is refused, by which key. */
#include <math.h>

#include "models/sdxl_config.h"
#include "runtime/lora.h"
#include "runtime/lora_names.h"
#include "tests/safetensors_files.h"
#include "tests/shapes/sdxl_tiny.h"
#include "tests/told.h"
#include "tests/unit.h"

#define LORA AT_SOURCE_DIR "/tests/golden/lora/"

enum { TEXT_MAX = 1 << 16, NAME_MAX_BYTES = 256, SUMS = 3 };

static char *read_text(const char *file, size_t *bytes)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, LORA "%s", file);
    char *text = (char *)whole_file(path, bytes);
    text[*bytes] = 0;
    return text;
}

/* The small model that lora.py makes. */
static at_sdxl_about small_model(void)
{
    at_sdxl_about about = {
        .has = { [AT_SDXL_UNET] = true, [AT_SDXL_TEXT_1] = true, [AT_SDXL_TEXT_2] = true }
    };
    static const char *const files[] = { "text.json", "text_2.json" };
    at_error err = { 0 };
    size_t bytes;
    for (int i = 0; i < 2; i++) {
        char *text = read_text(files[i], &bytes);
        test_must(at_clip_text_config_read(&about.text[i], text, bytes, &err), &err);
        free(text);
    }
    char *text = read_text("unet.json", &bytes);
    test_must(at_sdxl_unet_config_read(&about.unet, text, bytes, about.text[1].projection, &err),
              &err);
    free(text);
    return about;
}

/* --- against diffusers ------------------------------------------------------------------------ */

/* A weight, changed: the sums of its elements times numbers of its name. Those were printed with
 * seven digits, and both sides round sums of up to 2,304 elements' products to f32. */
static void expect_weight(const at_weight_change *change, const char *files, const char *line)
{
    const double tolerance = 2e-6;
    char name[NAME_MAX_BYTES], seed[NAME_MAX_BYTES + 8];
    long long size[4] = { 1, 1, 1, 1 };
    double expected[SUMS];
    int used = 0;
    assert_int_equal(sscanf(line, "%200s %n", name, &used), 1);
    const char *at = line + used;
    for (int k = 0; k < 4; k++) {
        size[k] = strtoll(at, (char **)(uintptr_t)&at, 10);
        if (*at++ != 'x')
            break;
    }
    assert_int_equal(sscanf(at, "%lf %lf %lf", &expected[0], &expected[1], &expected[2]), SUMS);
    const int64_t n = size[0] * size[1] * size[2] * size[3];
    at_error err = { 0 };
    float *w = sdxl_tiny_numbers(AT_F32, n, sqrt(3 * (double)size[0] / (double)n), 0,
                                 sdxl_tiny_seed(name));
    assert_true(change->touches(change->context, name));
    test_must(change->add(change->context, name, w, n, &err), &err);
    for (int k = 0; k < SUMS; k++) {
        snprintf(seed, sizeof seed, "%s/%d", name, k);
        double *by = sdxl_tiny_numbers(AT_F64, n, 1, 0, sdxl_tiny_seed(seed)), sum = 0, square = 0;
        for (int64_t i = 0; i < n; i++) {
            sum += (double)w[i] * (double)(float)by[i];
            square += (double)w[i] * (double)w[i];
        }
        if (fabs(sum - expected[k]) > tolerance * (fabs(expected[k]) + sqrt(square)))
            fail_msg("%s: %s: sum %d is %.9g, expected %.9g", files, name, k, sum, expected[k]);
        free(by);
    }
    free(w);
}

/* Weights of the model that change. */
static int count_touched(const at_sdxl_about *model, const at_weight_change *change)
{
    at_lora_names *names;
    at_error err = { 0 };
    int touched = 0;
    test_must(at_lora_names_new(&names, model, &err), &err);
    for (int i = 0; i < at_lora_targets(names); i++)
        touched += change->touches(change->context, at_lora_target_at(names, i)->name);
    at_lora_names_free(names);
    return touched;
}

/* "adapter FILE WEIGHT...": all of them in one list. */
static at_loras *add_adapters(const at_sdxl_about *model, const char *line)
{
    at_loras *loras = at_loras_new();
    at_error err = { 0 };
    char file[64], path[PATH_BYTES];
    double weight;
    int used = 0;
    assert_non_null(loras);
    for (line += strlen("adapter"); sscanf(line, " %63s %lf%n", file, &weight, &used) == 2;
         line += used) {
        snprintf(path, sizeof path, LORA "%s", file);
        test_must(at_loras_add(loras, model, path, weight, &err), &err);
    }
    return loras;
}

static void weights_are_diffusers(void **state)
{
    const at_sdxl_about model = small_model();
    size_t bytes;
    char *text = read_text("expected.txt", &bytes), *rest = text, *line = strsep(&rest, "\n");
    int adapters = 0;
    (void)state;
    while (line && *line) {
        const char *files = line;
        int weights = 0;
        at_loras *loras = add_adapters(&model, line);
        const at_weight_change change = at_loras_change(loras);
        while ((line = strsep(&rest, "\n")) && *line && strncmp(line, "adapter", 7) != 0) {
            expect_weight(&change, files, line);
            weights++;
        }
        assert_int_equal(count_touched(&model, &change), weights);
        assert_false(at_loras_touch(loras, AT_SDXL_VAE));
        assert_int_equal(at_loras_touch(loras, AT_SDXL_UNET),
                         strstr(files, "text") == NULL && strstr(files, "layer") == NULL);
        at_loras_free(loras);
        adapters++;
    }
    assert_int_equal(adapters, 13);
    free(text);
}

/* --- names ------------------------------------------------------------------------------------ */

static void expect_name(const at_lora_names *names, const char *spelling, const char *name)
{
    const int i = at_lora_target_named(names, spelling, strlen(spelling));
    if (i < 0 || strcmp(at_lora_target_at(names, i)->name, name) != 0)
        fail_msg("'%s' is %s, expected %s", spelling,
                 i < 0 ? "nothing" : at_lora_target_at(names, i)->name, name);
}

static void full_models_have_their_names(void **state)
{
    at_sdxl_about base = { .unet = at_sdxl_unet_base,
                           .text = { at_clip_text_sdxl_1, at_clip_text_sdxl_2 } };
    at_sdxl_about refiner = { .unet = at_sdxl_unet_refiner };
    at_lora_names *names;
    at_error err = { 0 };
    (void)state;
    base.has[AT_SDXL_UNET] = base.has[AT_SDXL_TEXT_1] = base.has[AT_SDXL_TEXT_2] = true;
    refiner.has[AT_SDXL_UNET] = true;
    test_must(at_lora_names_new(&names, &base, &err), &err);
    expect_name(names, "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q",
                "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.weight");
    expect_name(names, "lora_unet_output_blocks_5_2_conv",
                "unet.up_blocks.1.upsamplers.0.conv.weight");
    expect_name(names, "lora_te2_text_model_encoder_layers_31_mlp_fc2",
                "text_encoder_2.text_model.encoder.layers.31.mlp.fc2.weight");
    expect_name(names, "text_encoder_2.text_projection", "text_encoder_2.text_projection.weight");
    expect_name(names, "lora_te_text_model_encoder_layers_0_self_attn_q_proj",
                "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.weight");
    assert_int_equal(at_lora_target_named(names, "unet.conv_in.bias", 17), -1);
    assert_int_equal(at_lora_target_named(names, "unet.conv_inn", 12),
                     at_lora_target_named(names, "unet.conv_in", 12));
    assert_int_equal(at_lora_target_named(names, "unet.conv_i", 11), -1);
    assert_int_equal(at_lora_target_named(names, "", 0), -1);
    at_lora_names_free(names);
    test_must(at_lora_names_new(&names, &refiner, &err), &err);
    expect_name(names, "lora_unet_output_blocks_2_1_conv",
                "unet.up_blocks.0.upsamplers.0.conv.weight");
    at_lora_names_free(names);
}

/* --- made files ------------------------------------------------------------------------------- */

/* A file with the tensors of "KEY TYPE 2x3, KEY TYPE 1, ..." whose bytes are all 'fill', and a text
 * for lora_adapter_metadata, its quotes single ones, or NULL. */
static void put_adapter(const char *path, const char *tensors, const char *metadata, int fill)
{
    static char header[TEXT_MAX];
    char key[NAME_MAX_BYTES], type[8], sizes[64];
    size_t used = (size_t)snprintf(header, sizeof header, "{\"__metadata__\":{\"a\":\"b\"");
    uint64_t from = 0;
    int n = 0;
    if (metadata)
        used +=
            (size_t)snprintf(header + used, sizeof header - used, ",\"lora_adapter_metadata\":\"");
    for (const char *c = metadata; c && *c; c++)
        used +=
            (size_t)snprintf(header + used, sizeof header - used, *c == '\'' ? "\\\"" : "%c", *c);
    used += (size_t)snprintf(header + used, sizeof header - used, "%s}", metadata ? "\"" : "");
    for (; sscanf(tensors, "%255s %7s %63[0-9x] %*[,]%n", key, type, sizes, &n) >= 3; n = 0) {
        uint64_t bytes = !strcmp(type, "F64")                           ? 8
                         : !strcmp(type, "F32") || !strcmp(type, "I32") ? 4
                         : !strcmp(type, "F8_E4M3")                     ? 1
                                                                        : 2;
        for (const char *at = sizes; *at; at += *at == 'x')
            bytes *= strtoull(at, (char **)(uintptr_t)&at, 10);
        for (char *at = sizes; *at; at++)
            *at = *at == 'x' ? ',' : *at;
        used += (size_t)snprintf(header + used, sizeof header - used,
                                 ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":"
                                 "[%llu,%llu]}",
                                 key, type, sizes, (unsigned long long)from,
                                 (unsigned long long)(from + bytes));
        from += bytes;
        if (!n)
            break;
        tensors += n;
    }
    used += (size_t)snprintf(header + used, sizeof header - used, "}");
    put_safetensors(path, used, header, used, 0);
    FILE *f = fopen(path, "ab");
    assert_non_null(f);
    while (from--)
        putc(fill, f);
    fclose(f);
}

/* Every type that a matrix may have: all elements of both are 'value'. */
static void every_type_is_read(void **state)
{
    static const struct {
        const char *type;
        int fill;
        double value;
    } types[] = {
        { "F32", 0x3f, 0.747058808803558349609375 },
        { "BF16", 0x3f, 0.74609375 },
        { "F16", 0x3c, 1.05859375 },
        { "F64", 0x3f, 0.0004767922794117647 },
        { "F8_E4M3", 0x38, 1 },
    };
    const at_sdxl_about model = small_model();
    scratch dir;
    char path[PATH_BYTES], tensors[512];
    at_error err = { 0 };
    (void)state;
    make_scratch(&dir);
    path_in(&dir, "a.safetensors", path);
    for (size_t i = 0; i < AT_COUNT(types); i++) {
        float w[8 * 8 * 9] = { 0 };
        at_loras *loras = at_loras_new();
        const at_weight_change change = at_loras_change(loras);
        snprintf(tensors, sizeof tensors,
                 "unet.down_blocks.0.resnets.0.conv1.lora_A.weight %s 3x8x3x3, "
                 "unet.down_blocks.0.resnets.0.conv1.lora_B.weight %s 8x3x1x1",
                 types[i].type, types[i].type);
        put_adapter(path, tensors, NULL, types[i].fill);
        test_must(at_loras_add(loras, &model, path, 0.5, &err), &err);
        test_must(change.add(change.context, "unet.down_blocks.0.resnets.0.conv1.weight", w,
                             (int64_t)AT_COUNT(w), &err),
                  &err);
        const double expected = 0.5 * 3 * types[i].value * types[i].value;
        for (size_t k = 0; k < AT_COUNT(w); k++)
            if (fabs(w[k] - expected) > 1e-6 * expected)
                fail_msg("%s: element %zu is %.9g, expected %.9g", types[i].type, k, (double)w[k],
                         expected);
        assert_int_equal(
            change.add(change.context, "unet.down_blocks.0.resnets.0.conv1.weight", w, 8, &err),
            AT_INVALID);
        at_loras_free(loras);
    }
    drop_scratch(&dir);
}

/* --- refusals --------------------------------------------------------------------------------- */

#define Q    "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
#define K    "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
#define GOOD Q ".lora_A.weight F32 2x16, " Q ".lora_B.weight F32 16x2"

static const struct {
    const char *tensors, *metadata;
    int fill;
    const char *sentence; /* a piece of it */
} refused[] = {
    /* other kinds */
    { GOOD ", a.hada_w1_a F32 2x2", NULL, 0, "'a.hada_w1_a' is of LoHa: only LoRA" },
    { "lora_unet_conv_in.lokr_w1 F32 2x2", NULL, 0, "is of LoKr" },
    { GOOD ", " Q ".dora_scale F32 16", NULL, 0, "is of DoRA" },
    { GOOD ", " Q ".lora_magnitude_vector F32 16", NULL, 0, "is of DoRA" },
    { "lora_unet_conv_in.oft_blocks F32 2x2", NULL, 0, "is of OFT" },
    { "lora_unet_conv_in.diff F32 8x4x3x3", NULL, 0, "is of whole differences" },
    { GOOD ", " Q ".lora_B.bias F32 16", NULL, 0, "is of LoRA with biases" },
    /* keys */
    { "a F32 1, b F32 1, c F32 1, d F32 1, e F32 1", NULL, 0,
      "all 5 of its 5 keys fit no weight of the model: 'a', 'b', 'c', ..." },
    { "model.diffusion_model.input_blocks.0.0.weight F32 1", NULL, 0, "all 1 of its 1 keys" },
    { GOOD ", unet.nothing.lora_A.weight F32 2x2", NULL, 0,
      "1 of its 3 keys fit no weight of the model: 'unet.nothing.lora_A.weight'" },
    { "lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight F32 2x8", NULL, 0, "all 1" },
    { "vae.decoder.conv_in.lora_A.weight F32 2x4x3x3", NULL, 0, "fit no weight" },
    { GOOD ", unet.conv_in.lora_A.bias F32 2", NULL, 0, "'unet.conv_in.lora_A.bias'" },
    { GOOD ", lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.lora_up.weight F32 16x2",
      NULL, 0, "are the same of " Q ".weight" },
    /* halves */
    { Q ".lora_A.weight F32 2x16", NULL, 0, Q ".weight has no up (lora_B)" },
    { Q ".lora_B.weight F32 16x2", NULL, 0, Q ".weight has no down (lora_A)" },
    { Q ".alpha F32 1", NULL, 0, Q ".weight has no down and up" },
    /* sizes */
    { Q ".lora_A.weight F32 2x8, " Q ".lora_B.weight F32 16x2", NULL, 0,
      Q ".lora_A.weight' is 2x8, expected 2x16 for " Q ".weight, which is 16x16" },
    { Q ".lora_A.weight F32 2x16, " Q ".lora_B.weight F32 16x3", NULL, 0,
      "is 16x3, expected 16x2" },
    { Q ".lora_A.weight F32 2x16x1x3, " Q ".lora_B.weight F32 16x2", NULL, 0, "is 2x16x1x3" },
    { Q ".lora_A.weight F32 32, " Q ".lora_B.weight F32 16x2", NULL, 0, "is 32, expected 32x16" },
    { "unet.conv_in.lora_A.weight F32 2x4, unet.conv_in.lora_B.weight F32 8x2", NULL, 0,
      "is 2x4, expected 2x4x3x3 for unet.conv_in.weight, which is 8x4x3x3" },
    { "unet.conv_in.lora_down.weight F32 2x4x1x1, unet.conv_in.lora_mid.weight F32 2x3x3x3, "
      "unet.conv_in.lora_up.weight F32 8x2x1x1",
      NULL, 0, "is 2x3x3x3, expected 2x2x3x3" },
    { Q ".lora_A.weight F32 0x16, " Q ".lora_B.weight F32 16x0", NULL, 0, "has rank 0" },
    { Q ".lora_A.weight F32 4097x16, " Q ".lora_B.weight F32 16x4097", NULL, 0,
      "has rank 4097, expected 1 to 4096" },
    { "unet.conv_in.lora_down.weight F16 513x4x1x1, unet.conv_in.lora_mid.weight F16 513x513x3x3, "
      "unet.conv_in.lora_up.weight F16 8x513x1x1",
      NULL, 0, "has rank 513, expected 1 to 512" },
    { K ".lora_A.weight F32 2x768, " K ".lora_B.weight F32 320x2", NULL, 0,
      "is for another model: the text that '" K ".lora_A.weight' reads is 768 wide, as Stable "
      "Diffusion 1's, this model's 32" },
    /* numbers */
    { GOOD, NULL, 0xff, "number 0 of '" Q ".lora_B.weight' is " },
    { Q ".lora_A.weight F16 2x16, " Q ".lora_B.weight F16 16x2", NULL, 0x7c, "number 0 of" },
    { Q ".lora_A.weight I32 2x16, " Q ".lora_B.weight I32 16x2", NULL, 0, "is of i32" },
    { GOOD, NULL, 0x7e, "with weight 1 it adds up to " },
    { GOOD ", " Q ".alpha F32 2", NULL, 0, "is not one number" },
    { Q ".alpha F32 1, " GOOD, NULL, 0xff, Q ".alpha' is " },
    /* what PEFT says */
    { GOOD, "{'unet.r':3}", 0, "has rank 2 in its matrices and 3 in the configuration" },
    { GOOD, "{'unet.r':2,'unet.rank_pattern':{'^attn1.to_q':3,'to_q':4}}", 0, "and 4 in" },
    { GOOD ", " Q ".alpha F32 1", "{'unet.r':2,'unet.lora_alpha':3}", 0,
      ".alpha' is 0, which is 3 in the configuration" },
    { GOOD, "{'unet.r':2,'unet.use_dora':true}", 0,
      "lora_adapter_metadata: use_dora is true, which is not supported" },
    { GOOD, "{'unet.r':2,'unet.peft_type':'LOHA'}", 0, "peft_type is 'LOHA', expected 'LORA'" },
    { GOOD, "{'unet.init_lora_weights':'pissa_niter_4'}", 0, "changes the model's own weights" },
    { GOOD, "{'unet.alpha_pattern':{'attn[12]':3}}", 0, "the pattern 'attn[12]' is not a layer's" },
    { GOOD, "{'unet.lora_alpha':1e99}", 0, "lora_alpha is 1e+99" },
    { GOOD, "{'unet.r':2", 0, "lora_adapter_metadata: expected" },
    { GOOD, "[]", 0, "lora_adapter_metadata: expected" },
    { "base_model.model.conv_in.lora_A.weight F32 2x4x3x3, "
      "base_model.model.conv_in.lora_B.weight F32 8x2x1x1",
      NULL, 0, "adapter_config.json" },
    { GOOD ", base_model.model.conv_in.lora_A.weight F32 2x4x3x3", NULL, 0,
      "2 of its 3 keys fit no weight of the model: '" Q },
};

static void expect_refused(const at_sdxl_about *model, const char *path, double weight,
                           const char *piece)
{
    at_loras *loras = at_loras_new();
    at_error err = { 0 };
    const at_status status = at_loras_add(loras, model, path, weight, &err);
    if (status == AT_OK)
        fail_msg("accepted, where '%s' was expected", piece);
    if (!strstr(err.text, piece))
        fail_msg("expected a sentence with '%s', found '%s'", piece, err.text);
    assert_true(at_utf8_valid(err.text, strlen(err.text)));
    for (int p = 0; p < AT_SDXL_PARTS; p++)
        assert_false(at_loras_touch(loras, (at_sdxl_part)p));
    assert_int_equal(at_loras_add(loras, model, LORA "plain.lora", 1, &err), AT_OK);
    at_loras_free(loras);
}

static void what_is_wrong_is_refused(void **state)
{
    const at_sdxl_about model = small_model();
    scratch dir;
    char path[PATH_BYTES];
    (void)state;
    make_scratch(&dir);
    path_in(&dir, "a.safetensors", path);
    for (size_t i = 0; i < AT_COUNT(refused); i++) {
        put_adapter(path, refused[i].tensors, refused[i].metadata, refused[i].fill);
        expect_refused(&model, path, 1, refused[i].sentence);
    }
    put_adapter(path, GOOD, NULL, 0);
    expect_refused(&model, path, (double)NAN, "the weight is nan");
    put_adapter(path, "", NULL, 0);
    expect_refused(&model, path, 1, "it has 0 tensors");
    expect_refused(&model, GOLDEN "torch_zip.pth", 1, "expected safetensors");
    expect_refused(&model, LORA "nothing", 1, "nothing");
    expect_refused(&model, LORA "unet.json", 1, "unet.json");
    drop_scratch(&dir);
}

/* Without the encoders there is nothing to change in them; with two alike PEFT's files do not say
 * which is meant. */
static void parts_have_to_be_there(void **state)
{
    at_sdxl_about model = small_model();
    at_loras *loras = at_loras_new();
    at_error err = { 0 };
    (void)state;
    model.text[1] = model.text[0];
    assert_int_equal(at_loras_add(loras, &model, LORA "peft_text", 1, &err), AT_UNSUPPORTED);
    assert_non_null(strstr(err.text, "fits both text encoders"));
    model.has[AT_SDXL_TEXT_1] = false;
    test_must(at_loras_add(loras, &model, LORA "peft_text/adapter_model.safetensors", 1, &err),
              &err);
    assert_true(at_loras_touch(loras, AT_SDXL_TEXT_2));
    assert_int_equal(at_loras_add(loras, &model, LORA "kohya.lora", 1, &err), AT_INVALID);
    assert_non_null(strstr(err.text, "fit no weight of the model: 'lora_te1_"));
    at_loras_free(loras);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_are_diffusers),  cmocka_unit_test(full_models_have_their_names),
        cmocka_unit_test(every_type_is_read),     cmocka_unit_test(what_is_wrong_is_refused),
        cmocka_unit_test(parts_have_to_be_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
