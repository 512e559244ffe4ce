/* recipe_test.c -- recipes written and read back, the text that A1111 knows, and what is
 * refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/parameters.h"
#include "tests/told.h"
#include "tests/unit.h"

static const at_recipe_facts facts = { .model = "small.h5",
                                       .model_hash = "0123456789abcdef",
                                       .sampler = "dpmpp_2m_karras",
                                       .device = "cpu",
                                       .precision = "bf16",
                                       .mode = "exact",
                                       .seed = UINT64_MAX,
                                       .width = 1024,
                                       .height = 768 };

static at_request usual(void)
{
    return (at_request){
        .prompt = "a red cube",
        .prompt_syntax = "literal",
        .count = 1,
        .rng = "torch",
        .steps = 30,
        .zero_snr = -1,
        .guidance = 5,
        .original_size = { -1, -1 },
        .target_size = { -1, -1 },
        .crop = { -1, -1 },
        .negative_original_size = { -1, -1 },
        .negative_target_size = { -1, -1 },
        .negative_crop = { -1, -1 },
        .aesthetic_score = 6,
        .negative_aesthetic_score = 2.5,
        .strength = -1,
        .only_masked = -1,
        .refine_from = 0.8,
        .end_at = 1,
    };
}

/* A file of a few bytes; freed and unlinked by the caller. */
static char *make_file(const char *text)
{
    char path[] = "/tmp/recipe_test.XXXXXX";
    const int fd = mkstemp(path);
    AT_ASSERT(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "no file");
    close(fd);
    return strdup(path);
}

static void drop_file(char *path)
{
    unlink(path);
    free(path);
}

static char *written(const at_request *r, const at_recipe_facts *f)
{
    char *json;
    at_error err;
    test_must(at_recipe_write(&json, NULL, r, f, &err), &err);
    return json;
}

static at_recipe read_back(const char *json)
{
    at_recipe r;
    at_error err;
    test_must(at_recipe_read(&r, json, strlen(json), &err), &err);
    return r;
}

/* --- JSON ------------------------------------------------------------------------------------- */

static void plain_requests_come_back(void **state)
{
    (void)state;
    const at_request r = usual();
    char *json = written(&r, &facts);
    at_recipe back = read_back(json);
    const at_request *b = &back.request;
    assert_string_equal(b->prompt, r.prompt);
    assert_null(b->prompt_2);
    assert_null(b->negative);
    assert_null(b->sigmas);
    assert_string_equal(b->sampler, "dpmpp_2m_karras");
    assert_true(b->seed == UINT64_MAX && back.facts.seed == UINT64_MAX);
    assert_int_equal(b->width, 1024);
    assert_int_equal(b->height, 768);
    assert_int_equal(b->steps, 30);
    assert_int_equal(b->zero_snr, -1);
    assert_int_equal(b->count, 1);
    assert_int_equal(b->only_masked, -1);
    assert_int_equal(b->crop[1], -1);
    assert_true(b->strength == -1 && b->guidance == 5 && b->refine_from == 0.8);
    assert_string_equal(back.facts.model, "small.h5");
    assert_string_equal(back.facts.model_hash, "0123456789abcdef");
    assert_string_equal(back.facts.mode, "exact");
    assert_null(back.facts.refiner);
    assert_null(back.noise_hash);
    assert_false(back.needs_picture || back.needs_mask);
    at_recipe_free(&back);
    free(json);
}

/* Everything that a request can say; what came back is written again as the same text. */
static void full_requests_come_back(void **state)
{
    (void)state;
    const uint8_t grey[6] = { 0, 255, 0, 255, 0, 255 };
    const at_pixels picture = { 1, 2, 3, grey }, mask = { 2, 3, 1, grey };
    char *lora = make_file("adapter"), *noise = make_file("noise"), hash[AT_RECIPE_HASH_TEXT];
    const at_lora_use uses[] = { { lora, 0.1 }, { lora, -1 } };
    at_recipe_facts f = facts;
    f.refiner = "refiner.h5";
    f.refiner_hash = "fedcba9876543210";
    at_request r = usual();
    r.prompt = "\"quoted\"\n\ttwo lines, \xf0\x9f\x98\x80 \x01";
    r.prompt_2 = "";
    r.negative = "";
    r.negative_2 = "n: 2";
    r.sigmas = "karras";
    r.spacing = "trailing";
    r.prediction = "v_prediction";
    r.zero_snr = 1;
    r.guidance = r.aesthetic_score = -1;
    r.crop[0] = 0;
    r.crop[1] = -7;
    r.picture = &picture;
    r.mask = &mask;
    r.only_masked = 32;
    r.paste_original = r.tile_vae = true;
    r.noise_file = noise;
    r.loras = uses;
    r.n_loras = 2;
    char *json = written(&r, &f);
    at_recipe back = read_back(json);
    assert_string_equal(back.request.prompt, r.prompt);
    assert_string_equal(back.request.prompt_2, "");
    assert_string_equal(back.request.negative, "");
    assert_int_equal(back.request.zero_snr, 1);
    assert_int_equal(back.request.crop[1], -7);
    assert_true(back.request.guidance == 7.5 && back.request.strength == 0.9999);
    assert_true(back.request.aesthetic_score == 6);
    assert_true(back.request.paste_original && back.request.tile_vae);
    assert_true(back.needs_picture && back.needs_mask);
    at_recipe_pixels_hash(hash, &mask);
    assert_string_equal(back.mask_hash, hash);
    at_recipe_pixels_hash(hash, &picture);
    assert_string_equal(back.picture_hash, hash);
    test_must(at_recipe_file_hash(hash, noise, NULL), &(at_error){ 0 });
    assert_string_equal(back.noise_hash, hash);
    assert_int_equal(back.request.n_loras, 2);
    assert_string_equal(back.request.loras[1].path, strrchr(lora, '/') + 1);
    assert_true(back.request.loras[0].weight == 0.1 && back.request.loras[1].weight == -1);
    assert_string_equal(back.lora_hashes[0], back.lora_hashes[1]);
    assert_string_equal(back.facts.refiner_hash, "fedcba9876543210");
    at_recipe_free(&back);
    free(json);
    drop_file(lora);
    drop_file(noise);
}

static void told_sizes_follow_the_picture(void **state)
{
    (void)state;
    at_request r = usual();
    int64_t *const sizes[] = { r.original_size, r.target_size, r.negative_original_size,
                               r.negative_target_size };
    for (size_t i = 0; i < AT_COUNT(sizes); i++) {
        sizes[i][0] = 768;
        sizes[i][1] = 1024;
    }
    r.crop[0] = r.crop[1] = r.negative_crop[0] = r.negative_crop[1] = 0;
    char *json = written(&r, &facts);
    assert_null(strstr(json, "original_size"));
    assert_null(strstr(json, "target_size"));
    assert_null(strstr(json, "crop"));
    free(json);
    r.crop[1] = 5;
    json = written(&r, &facts);
    at_recipe back = read_back(json);
    assert_int_equal(back.request.original_size[0], -1);
    assert_int_equal(back.request.crop[1], 5);
    assert_int_equal(back.request.negative_crop[1], 0);
    assert_int_equal(back.request.negative_original_size[1], 1024);
    at_recipe_free(&back);
    free(json);
}

static void pixels_have_names(void **state)
{
    (void)state;
    uint8_t data[6] = { 1, 2, 3, 4, 5, 6 };
    char a[AT_RECIPE_HASH_TEXT], b[AT_RECIPE_HASH_TEXT], c[AT_RECIPE_HASH_TEXT];
    at_recipe_pixels_hash(a, &(at_pixels){ 2, 1, 3, data });
    at_recipe_pixels_hash(b, &(at_pixels){ 1, 2, 3, data });
    data[5] = 7;
    at_recipe_pixels_hash(c, &(at_pixels){ 2, 1, 3, data });
    assert_string_not_equal(a, b);
    assert_string_not_equal(a, c);
    assert_int_equal(strlen(a), AT_RECIPE_HASH_TEXT - 1);
}

static void bad_requests_are_not_written(void **state)
{
    (void)state;
    at_error err;
    char *json;
    at_request r = usual();
    r.guidance = strtod("nan", NULL);
    assert_int_equal(at_recipe_write(&json, NULL, &r, &facts, &err), AT_INVALID);
    assert_non_null(strstr(err.text, "guidance: expected 0 to 1000, found"));
    r = usual();
    r.prompt = "\xff";
    assert_int_equal(at_recipe_write(&json, NULL, &r, &facts, &err), AT_INVALID);
    assert_non_null(strstr(err.text, "UTF-8"));
    r = usual();
    r.noise_file = "/nowhere/noise";
    assert_int_not_equal(at_recipe_write(&json, NULL, &r, &facts, &err), AT_OK);
    assert_non_null(strstr(err.text, "/nowhere/noise"));
}

#define BEGIN "{\"atelier\":1,\"model\":{\"name\":\"m\",\"hash\":\"0\"},\"prompt\":\"p\","
#define END   "\"sampler\":\"euler\",\"steps\":3,\"width\":8,\"height\":8}"

static void bad_recipes_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *says;
    } bad[] = {
        { "", "expected an object" },
        { "[]", "expected an object" },
        { "{\"atelier\":2}", "atelier: expected recipes of format 1, found 2" },
        { "{\"atelier\":1}", "it has no model" },
        { BEGIN "\"steps\":3}", "it has no sampler" },
        { BEGIN "\"tiles\":3," END, "tiles: a key that is not known" },
        { BEGIN "\"prompt\":\"q\"," END, "prompt: it stands there twice" },
        { BEGIN "\"steps\":4," END, "steps: it stands there twice" },
        { BEGIN "\"guidance\":1e9," END, "guidance: expected 0 to 1000, found 1e+09" },
        { BEGIN "\"guidance\":\"7\"," END, "guidance: expected a number" },
        { BEGIN "\"clip_skip\":-1," END, "clip_skip: expected 0 to 64, found -1" },
        { BEGIN "\"clip_skip\":99999999999," END, "clip_skip: expected 0 to 64" },
        { BEGIN "\"seed\":-1," END, "seed: expected a whole number from 0" },
        { BEGIN "\"crop\":[1]," END, "crop: expected two numbers" },
        { BEGIN "\"crop\":[1,2,3]," END, "crop: expected two numbers" },
        { BEGIN "\"crop\":[1,99999]," END, "crop: expected -65535 to 65535" },
        { BEGIN "\"negative\":\"\\u0000\"," END, "negative: a string with a half" },
        { BEGIN "\"mask\":{}," END, "mask: a name or a hash is missing" },
        { BEGIN "\"mask\":{\"hash\":\"xyz\"}," END, "mask: a hash that is not 16" },
        { BEGIN "\"loras\":[{\"name\":\"../x\",\"hash\":\"0\"}]," END, "loras: a file's name" },
        { BEGIN "\"loras\":[{\"name\":\"..\",\"hash\":\"0\"}]," END, "loras: a file's name" },
        { BEGIN "\"loras\":[{\"hash\":\"0\"}]," END, "loras: a name or a hash" },
        { BEGIN "\"width\":0," END, "width: expected 1 to 65535, found 0" },
        { BEGIN END "x", "expected the end" },
    };
    at_recipe r;
    at_error err;
    test_must(at_recipe_read(&r, BEGIN END, strlen(BEGIN END), &err), &err);
    at_recipe_free(&r);
    for (size_t i = 0; i < AT_COUNT(bad); i++) {
        if (at_recipe_read(&r, bad[i].json, strlen(bad[i].json), &err) == AT_OK)
            fail_msg("%s was accepted", bad[i].json);
        if (!strstr(err.text, bad[i].says))
            fail_msg("%s: %s", bad[i].json, err.text);
    }
}

/* --- A1111 ------------------------------------------------------------------------------------ */

static void parameters_are_what_a1111_writes(void **state)
{
    (void)state;
    at_error err;
    char *text;
    at_request r = usual();
    r.negative = "blurry, grey";
    r.guidance = 7;
    test_must(at_recipe_write(NULL, &text, &r, &facts, &err), &err);
    assert_string_equal(text, "a red cube\nNegative prompt: blurry, grey\n"
                              "Steps: 30, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, "
                              "Seed: 18446744073709551615, Size: 1024x768, "
                              "Model hash: 0123456789abcdef, Model: small, RNG: CPU, "
                              "Version: atelier 0.1.0");
    free(text);
    const uint8_t grey = 0;
    const at_pixels one = { 1, 1, 1, &grey };
    const at_lora_use uses[] = { { "/a/b/one.safetensors", 0.5 }, { "two", 1 } };
    at_recipe_facts f = facts;
    f.sampler = "euler_a";
    f.model = "odd: name.safetensors";
    f.refiner = "fine.h5";
    r = usual();
    r.prompt = "";
    r.rng = "a1111";
    r.clip_skip = 1;
    r.sigmas = "beta";
    r.picture = r.mask = &one;
    r.mask_blur = 4;
    r.only_masked = 32;
    r.loras = uses;
    r.n_loras = 2;
    r.guidance = -1;
    test_must(at_recipe_write(NULL, &text, &r, &f, &err), &err);
    assert_string_equal(text, "Steps: 30, Sampler: Euler a, Schedule type: Beta, CFG scale: 7.5, "
                              "Seed: 18446744073709551615, Size: 1024x768, "
                              "Model hash: 0123456789abcdef, Model: \"odd: name\", "
                              "Denoising strength: 0.9999, Mask blur: 4, "
                              "Inpaint area: Only masked, Masked area padding: 32, Clip skip: 3, "
                              "RNG: NV, Refiner: fine, Refiner switch at: 0.8, "
                              "Lora weights: \"one: 0.5, two: 1\", Version: atelier 0.1.0");
    free(text);
}

static at_parameters parsed(const char *text)
{
    at_parameters p;
    at_error err;
    test_must(at_parameters_read(&p, text, strlen(text), &err), &err);
    return p;
}

static void parameters_are_read(void **state)
{
    (void)state;
    at_parameters p =
        parsed("  a cat,\n on a mat: two lines \nNegative prompt: grey\nsmall\n"
               "Steps: 20, Sampler: Euler a, Model: \"a: \\\"b\\\", c\", Hires up-by/x: "
               "2, Version: v1.9.3");
    assert_string_equal(p.prompt, "a cat,\non a mat: two lines");
    assert_string_equal(p.negative, "grey\nsmall");
    assert_int_equal(p.count, 5);
    assert_string_equal(at_parameters_named(&p, "Steps"), "20");
    assert_string_equal(at_parameters_named(&p, "Model"), "a: \"b\", c");
    assert_string_equal(at_parameters_named(&p, "Hires up-by/x"), "2");
    assert_string_equal(p.items[4].value, "v1.9.3");
    assert_null(at_parameters_named(&p, "Seed"));
    at_parameters_free(&p);
    p = parsed("one line: with, few: items");
    assert_string_equal(p.prompt, "one line: with, few: items");
    assert_null(p.negative);
    assert_int_equal(p.count, 0);
    at_parameters_free(&p);
    p = parsed("Steps: 1, Seed: 2, Size: 8x8");
    assert_string_equal(p.prompt, "");
    assert_int_equal(p.count, 3);
    at_parameters_free(&p);
    p = parsed("\nNegative prompt:\n");
    assert_string_equal(p.negative, "");
    at_parameters_free(&p);
}

/* What is written is read back, prompts with all that is special in them. */
static void parameters_come_back(void **state)
{
    (void)state;
    at_error err;
    char *text;
    at_request r = usual();
    r.prompt = "Steps: 1, Size: 2\n\nx: \"y\", (z:1.2)";
    r.negative = "n\nm";
    at_recipe_facts f = facts;
    f.model = "a\"b\\, c:.d";
    test_must(at_parameters_write(&text, &r, &f, &err), &err);
    at_parameters p = parsed(text);
    assert_string_equal(p.prompt, r.prompt);
    assert_string_equal(p.negative, r.negative);
    assert_string_equal(at_parameters_named(&p, "Model"), "a\"b\\, c:");
    assert_string_equal(at_parameters_named(&p, "Seed"), "18446744073709551615");
    at_parameters_free(&p);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_requests_come_back),
        cmocka_unit_test(full_requests_come_back),
        cmocka_unit_test(told_sizes_follow_the_picture),
        cmocka_unit_test(pixels_have_names),
        cmocka_unit_test(bad_requests_are_not_written),
        cmocka_unit_test(bad_recipes_are_refused),
        cmocka_unit_test(parameters_are_what_a1111_writes),
        cmocka_unit_test(parameters_are_read),
        cmocka_unit_test(parameters_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
