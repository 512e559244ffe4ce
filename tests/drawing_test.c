/* drawing_test.c -- what drawings promise besides the right pixels, which pipelines_test.c has: a
 * picture is the same alone and in a batch, steps allocate nothing, a drawing can be watched and
 * cancelled, and what cannot be drawn is refused with a sentence before anything is. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/atelier.h"
#include "runtime/canvas.h"
#include "runtime/model.h"
#include "runtime/way.h"
#include "tests/counted_malloc.h"
#include "tests/shapes/sdxl_file.h"
#include "tests/told.h"
#include "tests/unit.h"

#define MODELS AT_SOURCE_DIR "/tests/golden/pipelines/models/"

enum { WIDTH = 72, HEIGHT = 56, STEPS = 4, PATH_BYTES = 512 };

/* --- models ----------------------------------------------------------------------------------- */

static char folder[] = "/tmp/atelier-drawing-XXXXXX";

static const char *const models[] = { "odd", "nine", "refiner" };

static const char *model_path(char path[PATH_BYTES], const char *name)
{
    snprintf(path, PATH_BYTES, "%s/%s.h5", folder, name);
    return path;
}

static int write_models(void **state)
{
    char from[PATH_BYTES], path[PATH_BYTES];
    at_error err;
    (void)state;
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < AT_COUNT(models); i++) {
        snprintf(from, sizeof from, MODELS "%s", models[i]);
        test_must(sdxl_file_write(model_path(path, models[i]), from, &err), &err);
    }
    return 0;
}

static int remove_models(void **state)
{
    char path[PATH_BYTES];
    (void)state;
    for (size_t i = 0; i < AT_COUNT(models); i++)
        unlink(model_path(path, models[i]));
    return rmdir(folder);
}

static char warned[AT_ERROR_TEXT_MAX];

static void remember(void *context, const char *sentence)
{
    (void)context;
    snprintf(warned, sizeof warned, "%s", sentence);
}

static at_model *open_model(const char *name, const char *precision)
{
    const at_model_options options = {
        .device = "cpu", .precision = precision, .threads = 2, .keep_parts = true, .warn = remember
    };
    char path[PATH_BYTES];
    at_model *m;
    at_error err;
    test_must(at_model_open(&m, model_path(path, name), &options, &err), &err);
    return m;
}

static at_request small_request(void)
{
    at_request r = at_request_usual;
    r.prompt = "a photo of a cat";
    r.width = WIDTH;
    r.height = HEIGHT;
    r.steps = STEPS;
    r.seed = 7;
    return r;
}

static at_drawing *draw(at_model *m, const at_request *r)
{
    at_drawing *d;
    at_error err;
    test_must(at_draw(&d, m, r, &err), &err);
    return d;
}

/* A picture and a mask of its own size. */
static void paint(uint8_t *picture, uint8_t *mask, int64_t width, int64_t height)
{
    for (int64_t i = 0; i < width * height * 3; i++)
        picture[i] = (uint8_t)(i * 37 % 251);
    for (int64_t i = 0; i < width * height; i++)
        mask[i] = i % width > width / 3 && i / width > height / 4 ? 255 : 0;
}

/* --- alone and in a batch --------------------------------------------------------------------- */

static void expect_same(at_model *m, at_request r, const char *what)
{
    enum { COUNT = 3 };
    int64_t size[3];
    r.count = COUNT;
    at_drawing *all = draw(m, &r);
    for (int i = 0; i < COUNT; i++) {
        r.count = 1;
        r.seed = at_drawing_seed(all, i);
        at_drawing *one = draw(m, &r);
        const at_pixels a = at_drawing_picture(all, i), b = at_drawing_picture(one, 0);
        const float *x = at_drawing_latents(all, i, size), *y = at_drawing_latents(one, 0, size);
        assert_int_equal(a.width, b.width);
        if (memcmp(x, y, (size_t)(size[0] * size[1] * size[2]) * sizeof *x) != 0)
            fail_msg("%s: picture %d has other latents alone", what, i);
        assert_memory_equal(a.data, b.data, (size_t)(a.width * a.height * a.channels));
        at_drawing_free(one);
    }
    at_drawing_free(all);
}

static void pictures_are_the_same_alone(void **state)
{
    static uint8_t picture[3 * 61 * 47], mask[61 * 47];
    const at_pixels over = { 61, 47, 3, picture }, masked = { 61, 47, 1, mask };
    static const char *const precisions[] = { "f32", "bf16" };
    (void)state;
    paint(picture, mask, 61, 47);
    for (size_t i = 0; i < AT_COUNT(precisions); i++) {
        at_model *m = open_model("odd", precisions[i]);
        at_request r = small_request();
        expect_same(m, r, "euler");
        r.sampler = "euler_a";
        expect_same(m, r, "euler_a");
        r.picture = &over;
        r.strength = 0.7;
        expect_same(m, r, "over a picture");
        r.mask = &masked;
        r.sampler = "unipc";
        expect_same(m, r, "within a mask");
        at_model_close(m);
    }
}

/* --- steps ------------------------------------------------------------------------------------ */

static void steps_allocate_nothing(void **state)
{
    static const char *const samplers[] = { "euler", "euler_a", "heun", "unipc" };
    at_model *m = open_model("odd", "f32");
    at_error err;
    (void)state;
    if (test_allocations() < 0)
        printf("SKIP: this build's allocator cannot be counted\n");
    for (size_t i = 0; i < AT_COUNT(samplers); i++) {
        at_request r = small_request();
        at_drawing *d;
        bool more = true;
        r.sampler = samplers[i];
        r.guidance_rescale = 0.5;
        test_must(at_drawing_begin(&d, m, &r, &err), &err);
        test_must(at_drawing_step(d, &more, &err), &err); /* makes forms and threads */
        const int before = test_allocations();
        for (int k = 1; k < STEPS - 1; k++)
            test_must(at_drawing_step(d, &more, &err), &err);
        if (test_allocations() != before)
            fail_msg("%s: %d allocations in %d steps", samplers[i], test_allocations() - before,
                     STEPS - 2);
        at_drawing_free(d);
    }
    at_model_close(m);
}

typedef struct watching {
    int calls, cancel_at, previews;
} watching;

static bool watch(void *context, at_drawing *d, int step, int steps)
{
    watching *w = context;
    at_pixels preview;
    at_error err;
    assert_int_equal(steps, STEPS);
    assert_int_equal(step, w->calls++);
    test_must(at_drawing_preview(d, 0, &preview, &err), &err);
    w->previews += preview.width == 9 && preview.height == 7 && preview.channels == 3;
    free((void *)(uintptr_t)preview.data);
    return step != w->cancel_at;
}

static void drawings_are_watched_and_cancelled(void **state)
{
    at_model *m = open_model("odd", "f32");
    at_request r = small_request();
    watching w = { .cancel_at = -1 };
    at_drawing *d;
    at_error err;
    (void)state;
    r.progress = watch;
    r.progress_context = &w;
    d = draw(m, &r);
    assert_int_equal(w.calls, STEPS + 1);
    assert_int_equal(w.previews, STEPS + 1);
    assert_int_equal(at_drawing_timing(d).evaluations, STEPS);
    at_drawing_free(d);
    w = (watching){ .cancel_at = 2 };
    assert_int_equal(at_draw(&d, m, &r, &err), AT_CANCELLED);
    assert_null(d);
    assert_int_equal(w.calls, 3);
    w = (watching){ .cancel_at = STEPS }; /* before it is decoded */
    assert_int_equal(at_draw(&d, m, &r, &err), AT_CANCELLED);
    r.progress = NULL; /* and the model still draws */
    at_drawing_free(draw(m, &r));
    at_model_close(m);
}

static void a_model_makes_one_drawing_at_a_time(void **state)
{
    at_model *m = open_model("odd", "f32");
    const at_request r = small_request();
    at_drawing *first, *second;
    at_error err;
    (void)state;
    test_must(at_drawing_begin(&first, m, &r, &err), &err);
    assert_int_equal(at_drawing_begin(&second, m, &r, &err), AT_INVALID);
    assert_non_null(strstr(err.text, "another drawing"));
    at_drawing_free(first);
    test_must(at_drawing_begin(&second, m, &r, &err), &err);
    at_drawing_free(second);
    at_model_close(m);
}

/* --- refusals --------------------------------------------------------------------------------- */

static void expect_refused(at_model *m, const at_request *r, const char *words)
{
    at_drawing *d;
    at_error err = { 0 };
    const at_status status = at_draw(&d, m, r, &err);
    if (status == AT_OK || d || !strstr(err.text, words))
        fail_msg("expected a sentence with '%s', found '%s'", words, err.text);
}

/* Each line changes a request that is good otherwise. */
#define REFUSED(change, words)          \
    do {                                \
        at_request r = small_request(); \
        change;                         \
        expect_refused(m, &r, words);   \
    } while (0)

static void bad_requests_are_refused(void **state)
{
    static char long_prompt[100 << 10];
    at_model *m = open_model("odd", "f32");
    (void)state;
    memset(long_prompt, 'a', sizeof long_prompt - 1);
    REFUSED(r.prompt = NULL, "without a prompt");
    REFUSED(r.prompt = long_prompt, "prompt has more than 65536 bytes");
    REFUSED(r.prompt = "caf\xe9", "prompt");
    REFUSED(r.prompt_syntax = "latex", "latex");
    REFUSED(r.width = 7, "width 7, expected 8 to 16384");
    REFUSED(r.width = 100000, "width 100000");
    REFUSED(r.height = -8, "height -8");
    REFUSED(r.height = 60, "height 60, expected a multiple of 8");
    REFUSED(r.count = 0, "count 0, expected 1 to 64");
    REFUSED(r.count = 65, "count 65");
    REFUSED(r.steps = 0, "steps 0, expected 1 to 1000");
    REFUSED(r.steps = 1001, "steps 1001");
    REFUSED(r.guidance = NAN, "guidance");
    REFUSED(r.guidance = INFINITY, "guidance");
    REFUSED(r.guidance = -2, "guidance -2");
    REFUSED(r.guidance_rescale = 1.5, "guidance rescale 1.5");
    REFUSED(r.strength = 1.5, "strength 1.5");
    REFUSED(r.strength = NAN, "strength");
    REFUSED(r.clip_skip = 9, "clip skip 9");
    REFUSED(r.sampler = "eular", "the nearest is euler");
    REFUSED(r.sigmas = "wild", "sigmas 'wild'");
    REFUSED(r.spacing = "wide", "spacing 'wide'");
    REFUSED(r.prediction = "x", "prediction 'x'");
    REFUSED((r.sampler = "lcm", r.spacing = "trailing"), "lcm knows no spacing");
    REFUSED((r.sampler = "ddim", r.sigmas = "karras"), "ddim knows no sigmas");
    REFUSED(r.rng = "dice", "dice");
    REFUSED(r.noise_file = "/nowhere/noise.safetensors", "/nowhere/noise.safetensors");
    REFUSED(r.crop[0] = -5, "crop");
    REFUSED(r.begin_at = 0.5, "without a picture");
    REFUSED(r.end_at = 0, "ends at 0");
    REFUSED(r.lora_folder = NULL; r.prompt_syntax = "a1111";
            r.prompt = "a <lora:cat:1>", "adapter 'cat'");
    REFUSED(r.lora_folder = "/tmp"; r.prompt_syntax = "a1111";
            r.prompt = "a <lora:../cat:1>", "a file's name");
    at_model_close(m);
}

static void bad_pictures_are_refused(void **state)
{
    static uint8_t picture[3 * 40 * 40], mask[40 * 40];
    const at_pixels whole = { 40, 40, 3, picture }, small = { 5, 40, 3, picture };
    const at_pixels white = { 40, 40, 1, mask }, other = { 39, 40, 1, mask };
    const at_pixels strange = { 40, 40, 2, picture };
    at_model *m = open_model("odd", "f32"), *nine = open_model("nine", "f32");
    at_model *refiner = open_model("refiner", "f32");
    (void)state;
    REFUSED(r.mask = &white, "a mask without a picture");
    REFUSED((r.picture = &whole, r.mask = &other), "the mask has 39 x 40 pixels");
    REFUSED(r.picture = &strange, "the picture has 2 channels");
    REFUSED((r.picture = &small, r.width = 0), "width 0, expected 8");
    REFUSED((r.picture = &whole, r.strength = 0.1), "leaves none to run");
    REFUSED((r.picture = &whole, r.mask = &white, r.only_masked = 4), "the mask is black");
    REFUSED(r.only_masked = 4, "only_masked without a mask");
    REFUSED(r.paste_original = true, "paste_original without a mask");
    REFUSED(r.mask_blur = 4, "mask_blur without a mask");
    REFUSED((r.refiner = refiner, r.refine_from = 1), "the refiner begins at 1");
    REFUSED(r.refiner = m, "the refiner is the model itself");
    REFUSED((r.refiner = refiner, r.picture = &whole), "strength 0.3 begins behind 0.8");
    {
        at_request r = small_request();
        expect_refused(nine, &r, "is for inpainting");
        expect_refused(refiner, &r, "is it a refiner");
    }
    at_model_close(refiner);
    at_model_close(nine);
    at_model_close(m);
}

static void what_does_not_fit_is_refused(void **state)
{
    at_model *m = open_model("odd", "f32");
    at_request r = small_request();
    at_drawing *d;
    at_error err;
    (void)state;
    r.width = r.height = 8192;
    r.count = 64;
    assert_int_equal(at_draw(&d, m, &r, &err), AT_NO_MEMORY);
    assert_non_null(strstr(err.text, "are there"));
    at_model_close(m);
}

static void schedulers_without_a_sampler_are_refused(void **state)
{
    static const struct {
        const char *json, *sampler, *words;
    } cases[] = {
        { "{}", "euler", NULL },
        { "{\"_class_name\": \"EulerAncestralDiscreteScheduler\"}", "euler_a", NULL },
        { "{\"_class_name\": \"DPMSolverMultistepScheduler\", \"lambda_min_clipped\": -Infinity}",
          "dpmpp_2m", NULL },
        { "{\"_class_name\": \"DPMSolverMultistepScheduler\", \"use_karras_sigmas\": true}",
          "dpmpp_2m_karras", NULL },
        { "{\"_class_name\": \"DPMSolverMultistepScheduler\", \"algorithm_type\": "
          "\"sde-dpmsolver++\"}",
          "dpmpp_2m_sde", NULL },
        { "{\"_class_name\": \"UniPCMultistepScheduler\"}", "unipc", NULL },
        { "{\"_class_name\": \"LCMScheduler\"}", "lcm", NULL },
        { "{\"_class_name\": \"PNDMScheduler\"}", NULL, "PNDMScheduler" },
        { "{\"_class_name\": \"DPMSolverMultistepScheduler\", \"algorithm_type\": \"dpmsolver\"}",
          NULL, "with dpmsolver" },
        { "{\"_class_name\": 3}", NULL, "scheduler_config" },
    };
    (void)state;
    for (size_t i = 0; i < AT_COUNT(cases); i++) {
        at_sampler sampler;
        at_error err = { 0 };
        const at_status status =
            at_way_sampler_of(&sampler, cases[i].json, strlen(cases[i].json), &err);
        if (cases[i].sampler)
            assert_string_equal(at_sampler_at(sampler)->name, cases[i].sampler);
        else if (status == AT_OK || !strstr(err.text, cases[i].words))
            fail_msg("%s: '%s'", cases[i].json, err.text);
    }
}

/* --- the rest --------------------------------------------------------------------------------- */

static void prompts_that_are_cut_are_told(void **state)
{
    static char words[801];
    at_model *m = open_model("odd", "f32");
    at_request r = small_request();
    (void)state;
    for (size_t i = 0; i < sizeof words - 1; i++)
        words[i] = "cat "[i % 4];
    warned[0] = 0;
    at_drawing_free(draw(m, &r));
    assert_string_equal(warned, "");
    r.prompt = words;
    at_drawing_free(draw(m, &r));
    assert_non_null(strstr(warned, "too long"));
    at_model_close(m);
}

/* A weight of infinity is found by the part of the model that it spoils. In bf16, as weights of f32
 * lie in the file, whose bytes are nobody's to change. */
static void what_is_not_finite_is_found(void **state)
{
    enum { BF16_INFINITY = 0x7f80, CHANNELS_MAX = 256 };
    uint16_t values[CHANNELS_MAX];
    at_model *m = open_model("odd", "bf16");
    const at_request r = small_request();
    at_drawing *d;
    at_error err;
    bool more = true;
    (void)state;
    test_must(at_drawing_begin(&d, m, &r, &err), &err);
    test_must(at_drawing_step(d, &more, &err), &err);
    at_params *store = at_sdxl_store(m->sdxl, AT_SDXL_UNET);
    at_param *p = at_params_named(store, "conv_norm_out.bias");
    assert_true(p && !p->lent && p->view.dtype == AT_BF16 && p->view.size[0] <= CHANNELS_MAX);
    for (int i = 0; i < CHANNELS_MAX; i++)
        values[i] = BF16_INFINITY;
    at_param_upload(store, p, values);
    at_param_touch(p);
    assert_int_equal(at_drawing_step(d, &more, &err), AT_INVALID);
    if (!strstr(err.text, "step 2 of 4") || !strstr(err.text, "in 'out'"))
        fail_msg("%s", err.text);
    at_drawing_free(d);
    at_model_close(m);
}

static bool same_latents(const at_drawing *a, const at_drawing *b)
{
    int64_t size[3];
    const float *x = at_drawing_latents(a, 0, size), *y = at_drawing_latents(b, 0, size);
    return !memcmp(x, y, (size_t)(size[0] * size[1] * size[2]) * sizeof *x);
}

/* n times the same words. */
static const char *words(char *text, size_t text_size, const char *word, int n)
{
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < n && used < text_size; i++)
        used += (size_t)snprintf(text + used, text_size - used, "%s ", word);
    return text;
}

/* Prompts of 1 and 3 chunks beside negative prompts of 2 and 1. */
static void long_prompts_are_read_to_their_end(void **state)
{
    static char longer[2048], as_long[2048], half[2048];
    at_model *m = open_model("odd", "f32");
    at_request r = small_request();
    (void)state;
    r.prompt_syntax = "a1111";
    r.prompt = words(longer, sizeof longer, "cat", 200);
    r.negative = "a dog";
    at_drawing *a = draw(m, &r);
    snprintf(as_long, sizeof as_long, "%s on a (mat:1.5)", words(half, sizeof half, "cat", 200));
    r.prompt = as_long;
    at_drawing *b = draw(m, &r);
    assert_false(same_latents(a, b));
    r.negative = words(half, sizeof half, "dog", 100);
    at_drawing *c = draw(m, &r);
    assert_false(same_latents(b, c));
    r.prompt = "(cat:1.0)";
    at_drawing *d = draw(m, &r);
    r.prompt = "cat";
    at_drawing *e = draw(m, &r);
    assert_true(same_latents(d, e));
    at_drawing *all[] = { a, b, c, d, e };
    for (size_t i = 0; i < AT_COUNT(all); i++)
        at_drawing_free(all[i]);
    at_model_close(m);
}

/* Adapters come with one request and are gone with the next, though the model keeps its parts; and
 * a prompt may name them. */
static void adapters_are_a_requests_own(void **state)
{
    const at_lora_use lora = { MODELS "../attention.safetensors", 0.5 };
    at_model *m = open_model("odd", "f32");
    at_request r = small_request();
    (void)state;
    at_drawing *before = draw(m, &r);
    r.loras = &lora;
    r.n_loras = 1;
    at_drawing *with = draw(m, &r);
    r.n_loras = 0;
    at_drawing *after = draw(m, &r);
    r.prompt_syntax = "a1111";
    r.prompt = "a photo of a cat<lora:attention:0.5>";
    r.lora_folder = MODELS "..";
    at_drawing *named = draw(m, &r);
    assert_true(same_latents(before, after));
    assert_false(same_latents(before, with));
    assert_true(same_latents(with, named));
    at_drawing_free(before);
    at_drawing_free(with);
    at_drawing_free(after);
    at_drawing_free(named);
    at_model_close(m);
}

static void the_parts_that_are_done_are_gone(void **state)
{
    const at_model_options options = { .device = "cpu", .precision = "f32", .threads = 2 };
    const at_request r = small_request();
    char path[PATH_BYTES];
    at_model *m;
    at_drawing *d;
    at_error err;
    bool more = true;
    (void)state;
    test_must(at_model_open(&m, model_path(path, "odd"), &options, &err), &err);
    test_must(at_drawing_begin(&d, m, &r, &err), &err);
    assert_null(at_sdxl_store(m->sdxl, AT_SDXL_TEXT_1));
    assert_null(at_sdxl_store(m->sdxl, AT_SDXL_TEXT_2));
    assert_non_null(at_sdxl_store(m->sdxl, AT_SDXL_UNET));
    while (more)
        test_must(at_drawing_step(d, &more, &err), &err);
    assert_null(at_sdxl_store(m->sdxl, AT_SDXL_UNET));
    test_must(at_drawing_finish(d, &err), &err);
    assert_null(at_sdxl_store(m->sdxl, AT_SDXL_VAE));
    at_drawing_free(d);
    test_must(at_drawing_begin(&d, m, &r, &err), &err);
    at_drawing_free(d); /* in the middle */
    assert_null(at_sdxl_store(m->sdxl, AT_SDXL_UNET));
    at_model_close(m);
}

static void what_is_black_stays(void **state)
{
    static uint8_t picture[3 * WIDTH * HEIGHT], mask[WIDTH * HEIGHT];
    const at_pixels over = { WIDTH, HEIGHT, 3, picture }, masked = { WIDTH, HEIGHT, 1, mask };
    at_model *m = open_model("odd", "f32");
    at_request r = small_request();
    int changed = 0;
    (void)state;
    paint(picture, mask, WIDTH, HEIGHT);
    r.picture = &over;
    r.mask = &masked;
    r.paste_original = true;
    at_drawing *d = draw(m, &r);
    const at_pixels made = at_drawing_picture(d, 0);
    for (int64_t i = 0; i < WIDTH * HEIGHT * 3; i++) {
        if (!mask[i / 3])
            assert_int_equal(made.data[i], picture[i]);
        else
            changed += made.data[i] != picture[i];
    }
    assert_true(changed > 1000);
    at_drawing_free(d);
    at_model_close(m);
}

static void files_carry_their_recipe(void **state)
{
    at_model *m = open_model("odd", "f32");
    const at_request r = small_request();
    at_drawing *d = draw(m, &r);
    char path[PATH_BYTES];
    at_picture_info info;
    at_error err;
    (void)state;
    snprintf(path, sizeof path, "%s/cat.png", folder);
    test_must(at_drawing_save(d, 0, path, &err), &err);
    test_must(at_picture_about(&info, path, NULL, &err), &err);
    assert_string_equal(at_picture_text_of(&info, "atelier"), at_drawing_recipe(d, 0));
    assert_non_null(strstr(at_picture_text_of(&info, "parameters"), "a photo of a cat"));
    at_picture_info_free(&info);
    unlink(path);
    assert_int_not_equal(at_drawing_save(d, 0, "/nowhere/cat.png", &err), AT_OK);
    at_drawing_free(d);
    at_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_are_the_same_alone),
        cmocka_unit_test(steps_allocate_nothing),
        cmocka_unit_test(drawings_are_watched_and_cancelled),
        cmocka_unit_test(a_model_makes_one_drawing_at_a_time),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(bad_pictures_are_refused),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(schedulers_without_a_sampler_are_refused),
        cmocka_unit_test(prompts_that_are_cut_are_told),
        cmocka_unit_test(what_is_not_finite_is_found),
        cmocka_unit_test(long_prompts_are_read_to_their_end),
        cmocka_unit_test(adapters_are_a_requests_own),
        cmocka_unit_test(the_parts_that_are_done_are_gone),
        cmocka_unit_test(what_is_black_stays),
        cmocka_unit_test(files_carry_their_recipe),
    };
    return cmocka_run_group_tests(tests, write_models, remove_models);
}
