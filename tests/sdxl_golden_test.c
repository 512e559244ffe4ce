/* sdxl_golden_test.c -- small models of SDXL's shape against torch's f64, written by
 * reference/sdxl_tiny.py: the order of what is added, norms' eps, pads, who reads which slice; and
 * models of all kinds of configs against diffusers, written by reference/sdxl_configs.py. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/plan.h"
#include "models/sdxl_config.h"
#include "tests/shapes/sdxl_tiny.h"
#include "tests/told.h"
#include "tests/unit.h"

/* f32 sums in another order through some hundred layers: 1e-5 was seen, of results near 1. */
static const double tolerance = 1e-4;

/* The same for the length of all differences by that of all values. */
static const double relative_f32 = 1e-5;

/* Odd sides, which halving rounds, and two samples. */
enum { BATCH = 2, HEIGHT = 9, WIDTH = 13, TOKENS = 7, VALUES_MAX = 8192, CONFIG_MAX = 4096 };

static at_params *open_store(void)
{
    at_device *d;
    at_error err;
    test_must(at_device_open(&d, "cpu", &(at_device_options){ .threads = 2 }, &err), &err);
    return at_params_new(d);
}

static void close_store(at_params *store)
{
    at_device *d = at_params_device(store);
    at_params_free(store);
    at_device_close(d);
}

/* A graph, its plan, and inputs that are set. */
typedef struct run {
    at_graph *graph;
    at_plan *plan;
} run;

static run start(at_params *store, at_graph *g)
{
    run r = { .graph = g };
    at_error err;
    test_must(at_plan_new(&r.plan, at_params_device(store), store, g, NULL, &err), &err);
    return r;
}

/* Numbers that follow from the input's name. */
static void set(run *r, at_tensor t)
{
    const at_tensor_info *info = at_graph_tensor(r->graph, t.id);
    const bool large = !strcmp(info->name, "time") || !strcmp(info->name, "sizes");
    at_error err;
    void *data = sdxl_tiny_numbers(info->view.dtype, at_elements(&info->view), large ? 400 : 1,
                                   large ? 450 : 0, sdxl_tiny_seed(info->name));
    test_must(at_plan_set(r->plan, t, data, &err), &err);
    free(data);
}

static void carry(run *from, at_tensor a, run *to, at_tensor b)
{
    const at_view v = at_graph_view(from->graph, a);
    void *values = malloc(at_view_bytes(&v));
    at_error err;
    AT_ASSERT(values, "no memory");
    test_must(at_plan_get(from->plan, a, values, &err), &err);
    test_must(at_plan_set(to->plan, b, values, &err), &err);
    free(values);
}

static void end(run *r)
{
    at_plan_free(r->plan);
    at_graph_free(r->graph);
}

/* What a model gave, as floats to be freed. */
typedef struct output {
    float *values;
    int count;
} output;

/* Runs a plan, takes its result and ends it. */
static output finish(run *r, at_tensor t)
{
    const at_view v = at_graph_view(r->graph, t);
    void *raw = malloc(at_view_bytes(&v));
    output o = { .count = (int)at_elements(&v) };
    at_error err;
    o.values = malloc((size_t)o.count * sizeof *o.values);
    AT_ASSERT(raw && o.values, "no memory");
    test_must(at_plan_run(r->plan, &err), &err);
    test_must(at_plan_get(r->plan, t, raw, &err), &err);
    for (int i = 0; i < o.count; i++)
        o.values[i] = (float)at_load(raw, i, v.dtype);
    free(raw);
    end(r);
    return o;
}

/* --- what torch gave -------------------------------------------------------------------------- */

/* The values under "name count" in a golden file; those of others pass through 'values' too. */
static int golden(const char *file, const char *name, float values[VALUES_MAX])
{
    char path[512], found[64];
    int count = 0;
    snprintf(path, sizeof path, "%s/tests/golden/%s", AT_SOURCE_DIR, file);
    FILE *f = fopen(path, "r");
    AT_ASSERT(f, "%s cannot be read", path);
    while (fscanf(f, "%63s %d", found, &count) == 2) {
        AT_ASSERT(count > 0 && count <= VALUES_MAX, "%s has %d values", found, count);
        for (int i = 0; i < count; i++)
            AT_ASSERT(fscanf(f, "%f", &values[i]) == 1, "%s ends early", found);
        if (!strcmp(found, name)) {
            fclose(f);
            return count;
        }
    }
    fail_msg("%s is not in %s", name, path);
    return 0;
}

static void compare(const char *name, output o)
{
    static float expected[VALUES_MAX];
    double worst = 0;
    assert_int_equal(o.count, golden("sdxl_tiny.txt", name, expected));
    for (int i = 0; i < o.count; i++) {
        worst = fmax(worst, fabs((double)o.values[i] - expected[i]));
        if (!(fabs((double)o.values[i] - expected[i]) <= tolerance))
            fail_msg("%s, value %d: %.7g, expected %.7g", name, i, o.values[i], expected[i]);
    }
    printf("%s: %d values, at most %.2g off\n", name, o.count, worst);
    free(o.values);
}

/* The relative error, of all values together: in f32 within a bound, in bf16 within twice what
 * torch's own bf16 loses. */
static void compare_case(const char *model, const char *part, at_dtype dtype, output o)
{
    static float expected[VALUES_MAX];
    char name[64];
    double wrong = 0, sum = 0, most = relative_f32;
    snprintf(name, sizeof name, "%s.%s", model, part);
    assert_int_equal(o.count, golden("sdxl_configs/values.txt", name, expected));
    for (int i = 0; i < o.count; i++) {
        wrong += pow((double)o.values[i] - expected[i], 2);
        sum += pow(expected[i], 2);
    }
    if (dtype == AT_BF16) {
        snprintf(name, sizeof name, "%s.%s.bf16", model, part);
        assert_int_equal(golden("sdxl_configs/values.txt", name, expected), 1);
        most = 2 * (double)expected[0];
    }
    printf("%s %s %s: %d values, error %.2g of %.2g\n", model, part, at_dtype_name(dtype), o.count,
           sqrt(wrong / sum), most);
    if (!(sqrt(wrong / sum) <= most))
        fail_msg("%s %s in %s: relative error %.3g, expected at most %.3g", model, part,
                 at_dtype_name(dtype), sqrt(wrong / sum), most);
    free(o.values);
}

/* --- models, run ------------------------------------------------------------------------------ */

static output draw(const at_sdxl_unet_config *config, at_dtype dtype, at_sdxl_unet_size size)
{
    at_params *store = open_store();
    at_sdxl_unet *m;
    at_error err = { 0 };
    test_must(at_sdxl_unet_new(&m, store, config, dtype, &err), &err);
    sdxl_tiny_fill(store);
    at_graph *gt = at_graph_new(), *gs = at_graph_new();
    const at_sdxl_unet_text t = at_sdxl_unet_describe_text(m, gt, size);
    const at_sdxl_unet_step s = at_sdxl_unet_describe_step(m, gs, size);
    run text = start(store, gt), step = start(store, gs);
    set(&text, t.context);
    set(&text, t.pooled);
    set(&text, t.sizes);
    test_must(at_plan_run(text.plan, &err), &err);
    carry(&text, t.keys, &step, s.keys);
    carry(&text, t.added, &step, s.added);
    set(&step, s.latent);
    set(&step, s.time);
    if (config->guidance)
        set(&step, s.guidance);
    const output o = finish(&step, s.out);
    end(&text);
    at_sdxl_unet_free(m);
    close_store(store);
    return o;
}

typedef at_sdxl_vae_io describe_half(const at_sdxl_vae *m, at_graph *g, int64_t batch,
                                     int64_t height, int64_t width);

static output code(const at_sdxl_vae_config *config, at_dtype dtype, describe_half *describe,
                   const int64_t size[3])
{
    at_params *store = open_store();
    at_sdxl_vae *m;
    at_error err = { 0 };
    test_must(at_sdxl_vae_new(&m, store, config, dtype, &err), &err);
    sdxl_tiny_fill(store);
    at_graph *g = at_graph_new();
    const at_sdxl_vae_io io = describe(m, g, size[0], size[1], size[2]);
    run r = start(store, g);
    set(&r, io.in);
    const output o = finish(&r, io.out);
    at_sdxl_vae_free(m);
    close_store(store);
    return o;
}

static void unet_is_torchs(void **state)
{
    const at_sdxl_unet_size size = { BATCH, HEIGHT, WIDTH, TOKENS };
    (void)state;
    compare("unet", draw(&sdxl_tiny_unet, AT_F32, size));
}

static void vae_is_torchs(void **state)
{
    (void)state;
    compare("decoder", code(&sdxl_tiny_vae, AT_F32, at_sdxl_vae_describe_decoder,
                            (const int64_t[]){ 1, 3, 4 }));
    compare("encoder", code(&sdxl_tiny_vae, AT_F32, at_sdxl_vae_describe_encoder,
                            (const int64_t[]){ BATCH, 24, 32 }));
}

/* --- models of many configs ------------------------------------------------------------------- */

/* A config of diffusers', in 'text'; its bytes. */
static size_t read_config(const char *model, const char *ending, char text[CONFIG_MAX])
{
    char path[512];
    snprintf(path, sizeof path, "%s/tests/golden/sdxl_configs/%s.%s", AT_SOURCE_DIR, model, ending);
    FILE *f = fopen(path, "r");
    AT_ASSERT(f, "%s cannot be read", path);
    const size_t bytes = fread(text, 1, CONFIG_MAX, f);
    fclose(f);
    return bytes;
}

static const at_dtype dtypes[] = { AT_F32, AT_BF16 };

static void unets_are_diffusers(void **state)
{
    static const struct {
        const char *name;
        int64_t pooled, height, width;
    } cases[] = {
        { "odd", 10, 9, 13 }, { "ssd", 16, 10, 7 }, { "two", 12, 5, 6 }, { "four", 14, 11, 17 }
    };
    char text[CONFIG_MAX];
    (void)state;
    for (size_t i = 0; i < AT_COUNT(cases); i++) {
        const size_t bytes = read_config(cases[i].name, "unet", text);
        const at_sdxl_unet_size size = { BATCH, cases[i].height, cases[i].width, TOKENS };
        at_sdxl_unet_config c;
        at_error err;
        test_must(at_sdxl_unet_config_read(&c, text, bytes, cases[i].pooled, &err), &err);
        for (size_t k = 0; k < AT_COUNT(dtypes); k++)
            compare_case(cases[i].name, "unet", dtypes[k], draw(&c, dtypes[k], size));
    }
}

static void vaes_are_diffusers(void **state)
{
    static const struct {
        const char *name;
        int64_t latent[3], picture[3];
    } cases[] = { { "odd", { BATCH, 5, 7 }, { BATCH, 11, 14 } },
                  { "plain", { BATCH, 3, 4 }, { BATCH, 13, 15 } },
                  { "one", { BATCH, 6, 5 }, { BATCH, 6, 5 } } };
    char text[CONFIG_MAX];
    (void)state;
    for (size_t i = 0; i < AT_COUNT(cases); i++) {
        const size_t bytes = read_config(cases[i].name, "vae", text);
        at_sdxl_vae_config c;
        at_error err;
        test_must(at_sdxl_vae_config_read(&c, text, bytes, &err), &err);
        for (size_t k = 0; k < AT_COUNT(dtypes); k++) {
            const at_dtype t = dtypes[k];
            compare_case(cases[i].name, "decoder", t,
                         code(&c, t, at_sdxl_vae_describe_decoder, cases[i].latent));
            compare_case(cases[i].name, "encoder", t,
                         code(&c, t, at_sdxl_vae_describe_encoder, cases[i].picture));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unet_is_torchs),
        cmocka_unit_test(vae_is_torchs),
        cmocka_unit_test(unets_are_diffusers),
        cmocka_unit_test(vaes_are_diffusers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
