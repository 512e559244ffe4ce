/* clip_text_test.c -- CLIP's text encoders: names and shapes of SDXL's two against lists of what
 * transformers saves, small ones against its numbers, where texts end, config.json. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/plan.h"
#include "tests/shapes/clip_text_tiny.h"
#include "tests/shapes/sdxl_tiny.h"
#include "tests/told.h"
#include "tests/unit.h"

/* A device, a store and an encoder in it. */
typedef struct bed {
    at_device *device;
    at_params *store;
    at_clip_text *encoder;
} bed;

static at_device *open_device(void)
{
    at_device *d;
    at_error err = { 0 };
    test_must(at_device_open(&d, "cpu", &(at_device_options){ .threads = 2 }, &err), &err);
    return d;
}

static bed open_bed(const at_clip_text_config *config, at_dtype dtype)
{
    bed b = { .device = open_device() };
    at_error err = { 0 };
    b.store = at_params_new(b.device);
    test_must(at_clip_text_new(&b.encoder, b.store, config, dtype, &err), &err);
    return b;
}

static void close_bed(bed *b)
{
    at_clip_text_free(b->encoder);
    at_params_free(b->store);
    at_device_close(b->device);
}

/* --- parameters ------------------------------------------------------------------------------- */

static void print_param(const at_param *p, char *out, size_t room)
{
    int n = snprintf(out, room, "%s ", p->name);
    for (int i = 0; i < p->view.rank; i++)
        n +=
            snprintf(out + n, room - (size_t)n, "%s%lld", i ? "x" : "", (long long)p->view.size[i]);
}

/* Line by line: "name shape", in the order of the file. */
static void compare_list(const at_clip_text *m, const char *file)
{
    char path[512], expected[256], found[256];
    int line = 0;
    snprintf(path, sizeof path, "%s/tests/golden/%s", AT_SOURCE_DIR, file);
    FILE *f = fopen(path, "r");
    AT_ASSERT(f, "%s cannot be read", path);
    for (; fgets(expected, sizeof expected, f); line++) {
        expected[strcspn(expected, "\n")] = 0;
        assert_true(line < at_clip_text_params(m));
        print_param(at_clip_text_param(m, line), found, sizeof found);
        if (strcmp(expected, found) != 0)
            fail_msg("%s, line %d: expected %s, found %s", file, line + 1, expected, found);
    }
    fclose(f);
    assert_int_equal(line, at_clip_text_params(m));
}

static void parameters_are_transformers(void **state)
{
    bed one = open_bed(&at_clip_text_sdxl_1, AT_BF16), two = open_bed(&at_clip_text_sdxl_2, AT_F16);
    (void)state;
    compare_list(one.encoder, "sdxl_text_1_params.txt");
    compare_list(two.encoder, "sdxl_text_2_params.txt");
    assert_int_equal(at_params_bytes(one.store), 2 * 123060480); /* nothing is there twice */
    assert_int_equal(at_params_bytes(two.store), 2 * 694659840);
    close_bed(&two);
    close_bed(&one);
}

/* --- numbers ---------------------------------------------------------------------------------- */

/* f32: sums in another order through four layers; 3e-7 was seen. */
static void numbers_are_transformers(at_dtype dtype, double f32_most, double times_torch)
{
    at_device *d = open_device();
    clip_text_result r[CLIP_TEXT_RESULTS];
    for (int which = 0; which < CLIP_TEXT_TINY; which++) {
        clip_text_tiny_run(d, which, dtype, r);
        for (int i = 0; i < CLIP_TEXT_RESULTS; i++) {
            const double most = dtype == AT_F32 ? f32_most : times_torch * r[i].torch_bf16;
            printf("%s, %s: %.2g off; torch's bf16 %.2g\n", r[i].name, at_dtype_name(dtype),
                   r[i].error, r[i].torch_bf16);
            if (!(r[i].error <= most))
                fail_msg("%s, %s: %.3g off, expected at most %.3g", r[i].name, at_dtype_name(dtype),
                         r[i].error, most);
        }
    }
    at_device_close(d);
}

static void f32_is_transformers(void **state)
{
    (void)state;
    numbers_are_transformers(AT_F32, 1e-5, 0);
}

static void bf16_loses_no_more_than_torch(void **state)
{
    (void)state;
    numbers_are_transformers(AT_BF16, 0, 2);
}

/* --- batches ---------------------------------------------------------------------------------- */

enum { TOKENS = 3, WIDTH = 39 };

/* The states of 'batch' texts of TOKENS tokens, and what is pooled behind them. */
static void encode(const bed *b, const int32_t *ids, int64_t batch, float *states, float *pooled)
{
    at_graph *g = at_graph_new();
    at_plan *plan;
    at_error err = { 0 };
    int32_t ends[TOKENS];
    const at_clip_text_io io = at_clip_text_describe(
        b->encoder, g,
        (at_clip_text_wanted){
            .batch = batch, .tokens = TOKENS, .hidden = { -2 }, .n_hidden = 1, .pooled = true });
    test_must(at_plan_new(&plan, b->device, b->store, g, &(at_plan_options){ .exact = true }, &err),
              &err);
    test_must(at_clip_text_ends(&clip_text_tiny[CLIP_TEXT_QUICK], ends, ids, batch, TOKENS, &err),
              &err);
    test_must(at_plan_set(plan, io.ids, ids, &err), &err);
    test_must(at_plan_set(plan, io.ends, ends, &err), &err);
    test_must(at_plan_run(plan, &err), &err);
    test_must(at_plan_get(plan, io.hidden[0], states, &err), &err);
    test_must(at_plan_get(plan, io.pooled, pooled, &err), &err);
    at_plan_free(plan);
    at_graph_free(g);
}

/* As many texts as tokens: positions must not be taken for a row of each text. */
static void a_text_is_the_same_in_a_batch(void **state)
{
    static const int32_t ids[TOKENS * TOKENS] = { 59, 4, 60, 59, 60, 60, 59, 31, 7 };
    static float all[TOKENS * TOKENS * WIDTH], pooled[TOKENS * WIDTH], one[TOKENS * WIDTH],
        row[WIDTH];
    bed b = open_bed(&clip_text_tiny[CLIP_TEXT_QUICK], AT_F32);
    (void)state;
    sdxl_tiny_fill(b.store);
    encode(&b, ids, TOKENS, all, pooled);
    for (int i = 0; i < TOKENS; i++) {
        encode(&b, ids + i * TOKENS, 1, one, row);
        assert_memory_equal(one, all + i * TOKENS * WIDTH, sizeof one);
        assert_memory_equal(row, pooled + i * WIDTH, sizeof row);
    }
    close_bed(&b);
}

/* --- what is computed ------------------------------------------------------------------------- */

static int layers_for(const at_clip_text *m, at_clip_text_wanted w)
{
    at_graph *g = at_graph_new();
    int n = 0;
    w.batch = 2;
    w.tokens = 7;
    at_clip_text_describe(m, g, w);
    for (int i = 0; i < at_graph_nodes(g); i++)
        n += at_graph_node(g, i)->op == &at_op_attention;
    at_graph_free(g);
    return n;
}

static void layers_that_nothing_needs_are_left_out(void **state)
{
    bed b = open_bed(&clip_text_tiny[CLIP_TEXT_GELU], AT_F32);
    (void)state;
    assert_int_equal(
        layers_for(b.encoder, (at_clip_text_wanted){ .hidden = { -2 }, .n_hidden = 1 }), 3);
    assert_int_equal(
        layers_for(b.encoder, (at_clip_text_wanted){ .hidden = { -4, 2 }, .n_hidden = 2 }), 2);
    assert_int_equal(layers_for(b.encoder, (at_clip_text_wanted){ .n_hidden = 1 }), 0);
    assert_int_equal(layers_for(b.encoder, (at_clip_text_wanted){ .embeds = true }), 4);
    close_bed(&b);
}

/* --- ends ------------------------------------------------------------------------------------- */

static void ends_are_found_by_either_rule(void **state)
{
    static const int32_t ids[] = { 50, 9, 90, 7, 90, 50, 95, 7, 7, 95, 50, 2, 90, 90, 2 };
    at_clip_text_config c = clip_text_tiny[CLIP_TEXT_GELU];
    int32_t ends[3];
    at_error err = { 0 };
    (void)state;
    test_must(at_clip_text_ends(&c, ends, ids, 3, 5, &err), &err);
    assert_memory_equal(ends, ((int32_t[]){ 2, 5, 12 }), sizeof ends); /* the second has none */
    c.end = 2;
    test_must(at_clip_text_ends(&c, ends, ids, 3, 5, &err), &err);
    assert_memory_equal(ends, ((int32_t[]){ 2, 6, 12 }), sizeof ends);
    c.vocabulary = 95;
    assert_int_equal(at_clip_text_ends(&c, ends, ids, 3, 5, &err), AT_INVALID);
    assert_string_equal(err.text, "token 1 of text 1 is 95: expected 0 to 94");
}

/* --- config.json ------------------------------------------------------------------------------ */

static at_status read_config(at_clip_text_config *out, const char *json, at_error *err)
{
    return at_clip_text_config_read(out, json, strlen(json), err);
}

static void expect_config(const char *json, const at_clip_text_config *expected)
{
    at_clip_text_config c = { 0 };
    at_error err = { 0 };
    test_must(read_config(&c, json, &err), &err);
    assert_int_equal(c.vocabulary, expected->vocabulary);
    assert_int_equal(c.positions, expected->positions);
    assert_int_equal(c.width, expected->width);
    assert_int_equal(c.inner, expected->inner);
    assert_int_equal(c.layers, expected->layers);
    assert_int_equal(c.heads, expected->heads);
    assert_int_equal(c.projection, expected->projection);
    assert_int_equal(c.end, expected->end);
    assert_int_equal(c.act, expected->act);
    assert_true(c.eps == expected->eps);
}

static void configs_are_read(void **state)
{
    static const char first[] =
        "{\"architectures\": [\"CLIPTextModel\"], \"attention_dropout\": 0.0, \"bos_token_id\": 0,"
        " \"dropout\": 0.0, \"eos_token_id\": 2, \"hidden_act\": \"quick_gelu\","
        " \"hidden_size\": 768, \"initializer_factor\": 1.0, \"initializer_range\": 0.02,"
        " \"intermediate_size\": 3072, \"layer_norm_eps\": 1e-05, \"max_position_embeddings\": 77,"
        " \"model_type\": \"clip_text_model\", \"num_attention_heads\": 12,"
        " \"num_hidden_layers\": 12, \"pad_token_id\": 1, \"projection_dim\": 768,"
        " \"torch_dtype\": \"float16\", \"transformers_version\": \"4.32.0.dev0\","
        " \"vocab_size\": 49408}";
    static const char second[] =
        "{\"architectures\": [\"CLIPTextModelWithProjection\"], \"eos_token_id\": 2,"
        " \"hidden_act\": \"gelu\", \"hidden_size\": 1280, \"intermediate_size\": 5120,"
        " \"layer_norm_eps\": 1e-05, \"max_position_embeddings\": 77, \"num_attention_heads\": 20,"
        " \"num_hidden_layers\": 32, \"projection_dim\": 1280, \"vocab_size\": 49408}";
    static const at_clip_text_config defaults = {
        .vocabulary = 49408,
        .positions = 77,
        .width = 512,
        .inner = 2048,
        .layers = 12,
        .heads = 8,
        .end = 49407,
        .eps = 1e-5f,
        .act = AT_ACT_QUICK_GELU,
    };
    (void)state;
    expect_config(first, &at_clip_text_sdxl_1);
    expect_config(second, &at_clip_text_sdxl_2);
    expect_config("{\"architectures\": [\"CLIPTextModel\"], \"projection_dim\": null}", &defaults);
}

/* As transformers saved them. */
static void configs_are_those_of_transformers(void **state)
{
    static const char *const files[CLIP_TEXT_TINY] = { "quick", "gelu" };
    (void)state;
    for (int i = 0; i < CLIP_TEXT_TINY; i++) {
        char path[512], text[4096] = "";
        snprintf(path, sizeof path, "%s/tests/golden/files/%s.encoder", AT_SOURCE_DIR, files[i]);
        FILE *f = fopen(path, "r");
        AT_ASSERT(f, "%s cannot be read", path);
        text[fread(text, 1, sizeof text - 1, f)] = 0;
        fclose(f);
        expect_config(text, &clip_text_tiny[i]);
    }
}

#define PLAIN "{\"architectures\": [\"CLIPTextModel\"], "

static void hostile_configs_are_refused(void **state)
{
    static const struct {
        const char *json, *expected;
    } rows[] = {
        { "{}", "architectures" },
        { "[]", "config.json" },
        { "", "config.json" },
        { "{\"hidden_size\": 768", "config.json" },
        { "{\"architectures\": [\"CLIPModel\"]}", "architectures" },
        { "{\"architectures\": [\"CLIPTextModel\", \"CLIPTextModel\"]}", "architectures" },
        { "{\"architectures\": \"CLIPTextModel\"}", "architectures" },
        { PLAIN "\"hidden_act\": \"gelu_new\"}", "hidden_act: expected quick_gelu or gelu" },
        { PLAIN "\"hidden_act\": 3}", "hidden_act" },
        { PLAIN "\"hidden_size\": 0}", "hidden_size: expected 1 to 65536, found 0" },
        { PLAIN "\"hidden_size\": 9223372036854775807}", "hidden_size" },
        { PLAIN "\"hidden_size\": 99999999999999999999}", "hidden_size" },
        { PLAIN "\"hidden_size\": 7.5}", "hidden_size" },
        { PLAIN "\"hidden_size\": \"768\"}", "hidden_size" },
        { PLAIN "\"hidden_size\": null}", "hidden_size" },
        { PLAIN "\"hidden_size\": 770}", "hidden_size is 770, which num_attention_heads, 8," },
        { PLAIN "\"num_attention_heads\": 0}", "num_attention_heads" },
        { PLAIN "\"hidden_size\": 8192}", "heads of at most 512" },
        { PLAIN "\"intermediate_size\": -1}", "intermediate_size" },
        { PLAIN "\"num_hidden_layers\": 1000000}", "num_hidden_layers" },
        { PLAIN "\"max_position_embeddings\": 1e9}", "max_position_embeddings" },
        { PLAIN "\"vocab_size\": 4294967296}", "vocab_size" },
        { PLAIN "\"layer_norm_eps\": 0}", "layer_norm_eps" },
        { PLAIN "\"layer_norm_eps\": NaN}", "layer_norm_eps" },
        { PLAIN "\"layer_norm_eps\": -1e-5}", "layer_norm_eps" },
        { PLAIN "\"eos_token_id\": [2, 3]}", "eos_token_id" },
        { PLAIN "\"eos_token_id\": -1}", "eos_token_id" },
        { "{\"architectures\": [\"CLIPTextModelWithProjection\"], \"projection_dim\": null}",
          "projection_dim" },
        { PLAIN "\"projection_dim\": -5}", "projection_dim" },
    };
    (void)state;
    for (size_t i = 0; i < AT_COUNT(rows); i++) {
        at_clip_text_config c;
        at_error err = { 0 };
        if (read_config(&c, rows[i].json, &err) == AT_OK)
            fail_msg("taken: %s", rows[i].json);
        if (!strstr(err.text, rows[i].expected))
            fail_msg("%s: '%s' does not tell '%s'", rows[i].json, err.text, rows[i].expected);
    }
}

static void impossible_configs_make_no_model(void **state)
{
    at_device *d = open_device();
    at_params *store = at_params_new(d);
    at_clip_text_config c = clip_text_tiny[CLIP_TEXT_QUICK];
    at_clip_text *m;
    at_error err = { 0 };
    (void)state;
    c.heads = 4;
    assert_int_equal(at_clip_text_new(&m, store, &c, AT_F32, &err), AT_UNSUPPORTED);
    assert_true(!m && at_params_count(store) == 0);
    c = clip_text_tiny[CLIP_TEXT_QUICK];
    c.act = AT_ACT_SILU;
    assert_int_equal(at_clip_text_new(&m, store, &c, AT_F32, &err), AT_UNSUPPORTED);
    at_params_free(store);
    at_device_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_transformers),
        cmocka_unit_test(f32_is_transformers),
        cmocka_unit_test(bf16_loses_no_more_than_torch),
        cmocka_unit_test(a_text_is_the_same_in_a_batch),
        cmocka_unit_test(layers_that_nothing_needs_are_left_out),
        cmocka_unit_test(ends_are_found_by_either_rule),
        cmocka_unit_test(configs_are_read),
        cmocka_unit_test(configs_are_those_of_transformers),
        cmocka_unit_test(hostile_configs_are_refused),
        cmocka_unit_test(impossible_configs_make_no_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
