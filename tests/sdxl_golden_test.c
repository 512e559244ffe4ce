/* sdxl_golden_test.c -- small models of SDXL's shape against torch's f64, written by
 * reference/sdxl_tiny.py: the order of what is added, norms' eps, pads, who reads which slice. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/plan.h"
#include "tests/shapes/sdxl_tiny.h"
#include "tests/told.h"
#include "tests/unit.h"

/* f32 sums in another order through some hundred layers: 1e-5 was seen, of results near 1. */
static const double tolerance = 1e-4;

/* Odd sides, which halving rounds, and two samples. */
enum { BATCH = 2, HEIGHT = 9, WIDTH = 13, TOKENS = 7, VALUES_MAX = 8192 };

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
static void set(run *r, at_tensor t, double scale, double shift)
{
    const at_tensor_info *info = at_graph_tensor(r->graph, t.id);
    at_error err;
    float *data = sdxl_tiny_numbers(AT_F32, at_elements(&info->view), scale, shift,
                                    sdxl_tiny_seed(info->name));
    test_must(at_plan_set(r->plan, t, data, &err), &err);
    free(data);
}

/* Values of an output, to be freed. */
static float *get(run *r, at_tensor t, int *count)
{
    const at_view v = at_graph_view(r->graph, t);
    float *values = malloc(at_view_bytes(&v));
    at_error err;
    AT_ASSERT(values, "no memory");
    test_must(at_plan_get(r->plan, t, values, &err), &err);
    *count = (int)at_elements(&v);
    return values;
}

static void end(run *r)
{
    at_plan_free(r->plan);
    at_graph_free(r->graph);
}

/* The values under "name count" in the golden file. */
static int golden(const char *name, float *values)
{
    char path[512], found[64];
    int count = 0;
    snprintf(path, sizeof path, "%s/tests/golden/sdxl_tiny.txt", AT_SOURCE_DIR);
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

static void compare(const char *name, run *r, at_tensor t)
{
    static float expected[VALUES_MAX];
    int count, wanted = golden(name, expected);
    float *found = get(r, t, &count);
    double worst = 0;
    assert_int_equal(count, wanted);
    for (int i = 0; i < count; i++) {
        worst = fmax(worst, fabs((double)found[i] - expected[i]));
        if (!(fabs((double)found[i] - expected[i]) <= tolerance))
            fail_msg("%s, value %d: %.7g, expected %.7g", name, i, found[i], expected[i]);
    }
    printf("%s: %d values, at most %.2g off\n", name, count, worst);
    free(found);
}

static void carry(run *from, at_tensor a, run *to, at_tensor b)
{
    int count;
    at_error err;
    float *values = get(from, a, &count);
    test_must(at_plan_set(to->plan, b, values, &err), &err);
    free(values);
}

static void unet_is_torchs(void **state)
{
    const at_sdxl_unet_size size = { BATCH, HEIGHT, WIDTH, TOKENS };
    at_params *store = open_store();
    at_sdxl_unet *m;
    at_error err = { 0 };
    (void)state;
    test_must(at_sdxl_unet_new(&m, store, &sdxl_tiny_unet, AT_F32, &err), &err);
    sdxl_tiny_fill(store);
    at_graph *gt = at_graph_new(), *gs = at_graph_new();
    const at_sdxl_unet_text t = at_sdxl_unet_describe_text(m, gt, size);
    const at_sdxl_unet_step s = at_sdxl_unet_describe_step(m, gs, size);
    run text = start(store, gt), step = start(store, gs);
    set(&text, t.context, 1, 0);
    set(&text, t.pooled, 1, 0);
    set(&text, t.sizes, 400, 450);
    test_must(at_plan_run(text.plan, &err), &err);
    carry(&text, t.keys, &step, s.keys);
    carry(&text, t.added, &step, s.added);
    set(&step, s.latent, 1, 0);
    set(&step, s.time, 400, 450);
    test_must(at_plan_run(step.plan, &err), &err);
    compare("unet", &step, s.out);
    end(&step);
    end(&text);
    at_sdxl_unet_free(m);
    close_store(store);
}

static void vae_is_torchs(void **state)
{
    enum { H = 3, W = 4 };
    at_params *store = open_store();
    at_sdxl_vae *m;
    at_error err = { 0 };
    (void)state;
    test_must(at_sdxl_vae_new(&m, store, &sdxl_tiny_vae, AT_F32, &err), &err);
    sdxl_tiny_fill(store);
    at_graph *gd = at_graph_new(), *ge = at_graph_new();
    const at_sdxl_vae_io d = at_sdxl_vae_describe_decoder(m, gd, 1, H, W);
    const at_sdxl_vae_io e = at_sdxl_vae_describe_encoder(m, ge, BATCH, 8 * H, 8 * W);
    run decoder = start(store, gd), encoder = start(store, ge);
    set(&decoder, d.in, 1, 0);
    test_must(at_plan_run(decoder.plan, &err), &err);
    compare("decoder", &decoder, d.out);
    set(&encoder, e.in, 1, 0);
    test_must(at_plan_run(encoder.plan, &err), &err);
    compare("encoder", &encoder, e.out);
    end(&encoder);
    end(&decoder);
    at_sdxl_vae_free(m);
    close_store(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unet_is_torchs),
        cmocka_unit_test(vae_is_torchs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
