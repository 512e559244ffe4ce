/* sdxl_shape_test.c -- the descriptions of SDXL's UNet and VAE: names and shapes of every parameter
 * against lists of what diffusers saves, multiplications against counts taken from the published
 * architecture, and small models run once on the cpu. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/f8.h"
#include "engine/plan.h"
#include "models/layers.h"
#include "tests/shapes/sdxl_tiny.h"
#include "tests/told.h"
#include "tests/unit.h"

/* A device, a store and what is made from them. */
typedef struct bed {
    at_device *device;
    at_params *store;
    at_sdxl_unet *unet;
    at_sdxl_vae *vae;
} bed;

static bed open_bed(void)
{
    bed b = { 0 };
    at_error err = { 0 };
    test_must(at_device_open(&b.device, "cpu", &(at_device_options){ .threads = 2 }, &err), &err);
    b.store = at_params_new(b.device);
    return b;
}

static bed open_unet(const at_sdxl_unet_config *config, at_dtype dtype)
{
    bed b = open_bed();
    at_error err = { 0 };
    test_must(at_sdxl_unet_new(&b.unet, b.store, config, dtype, &err), &err);
    return b;
}

static bed open_vae(const at_sdxl_vae_config *config, at_dtype dtype)
{
    bed b = open_bed();
    at_error err = { 0 };
    test_must(at_sdxl_vae_new(&b.vae, b.store, config, dtype, &err), &err);
    return b;
}

static void close_bed(bed *b)
{
    at_sdxl_unet_free(b->unet);
    at_sdxl_vae_free(b->vae);
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

typedef at_param *param_at(const bed *b, int i);

static at_param *unet_param(const bed *b, int i)
{
    return at_sdxl_unet_param(b->unet, i);
}

static at_param *vae_param(const bed *b, int i)
{
    return at_sdxl_vae_param(b->vae, i);
}

static long long elements(const bed *b, param_at *at, int count)
{
    long long sum = 0;
    for (int i = 0; i < count; i++) {
        const at_view v = at(b, i)->view;
        sum += at_elements(&v);
    }
    return sum;
}

/* Line by line: "name shape", in the order of the file. */
static void compare_list(const bed *b, param_at *at, int count, const char *file)
{
    char path[512], expected[256], found[256];
    int line = 0;
    snprintf(path, sizeof path, "%s/tests/golden/%s", AT_SOURCE_DIR, file);
    FILE *f = fopen(path, "r");
    AT_ASSERT(f, "%s cannot be read", path);
    for (; fgets(expected, sizeof expected, f); line++) {
        expected[strcspn(expected, "\n")] = 0;
        assert_true(line < count);
        print_param(at(b, line), found, sizeof found);
        if (strcmp(expected, found) != 0)
            fail_msg("%s, line %d: expected %s, found %s", file, line + 1, expected, found);
    }
    fclose(f);
    assert_int_equal(line, count);
}

static void unet_parameters_are_diffusers(void **state)
{
    bed b = open_unet(&at_sdxl_unet_base, AT_BF16);
    (void)state;
    assert_int_equal(at_sdxl_unet_params(b.unet), 1680);
    assert_int_equal(elements(&b, unet_param, 1680), 2567463684);
    assert_int_equal(at_params_bytes(b.store), 2 * 2567463684); /* nothing is there twice */
    compare_list(&b, unet_param, 1680, "sdxl_unet_params.txt");
    close_bed(&b);
}

static void refiner_has_its_count(void **state)
{
    bed b = open_unet(&at_sdxl_unet_refiner, AT_BF16);
    (void)state;
    assert_int_equal(at_sdxl_unet_params(b.unet), 1220);
    assert_int_equal(elements(&b, unet_param, 1220), 2259526660);
    close_bed(&b);
}

static void vae_parameters_are_diffusers(void **state)
{
    bed b = open_vae(&at_sdxl_vae_base, AT_BF16);
    (void)state;
    assert_int_equal(at_sdxl_vae_params(b.vae), 248);
    assert_int_equal(elements(&b, vae_param, 248), 83653863);
    assert_int_equal(at_params_bytes(b.store), 2 * 83653863);
    compare_list(&b, vae_param, 248, "sdxl_vae_params.txt");
    close_bed(&b);
}

/* --- multiplications -------------------------------------------------------------------------- */

typedef struct macs {
    double linear, conv3, conv1, self, cross;
} macs;

static double total(const macs *m)
{
    return m->linear + m->conv3 + m->conv1 + m->self + m->cross;
}

static void count_node(macs *m, const at_node *node)
{
    if (node->op == &at_op_linear) {
        const at_linear_args *a = node->args;
        m->linear += (double)at_rows(&a->x) * (double)at_elements(&a->w);
    } else if (node->op == &at_op_linear_geglu) {
        const at_linear_geglu_args *a = node->args;
        m->linear += (double)at_rows(&a->x) * (double)at_elements(&a->w);
    } else if (node->op == &at_op_conv2d) {
        const at_conv2d_args *a = node->args;
        double n = (double)at_rows(&a->y) * (double)at_elements(&a->w);
        *(a->w.size[2] == 3 ? &m->conv3 : &m->conv1) += n;
    } else if (node->op == &at_op_attention) {
        const at_attention_args *a = node->args;
        double n = 2 * (double)at_elements(&a->q) * (double)a->k.size[1];
        *(a->k.size[1] == a->q.size[1] ? &m->self : &m->cross) += n;
    }
}

static macs count(at_graph *g)
{
    macs m = { 0 };
    for (int i = 0; i < at_graph_nodes(g); i++)
        count_node(&m, at_graph_node(g, i));
    return m;
}

/* To the digits that are given: thousandths of 1e12. */
static void close_to(const char *what, double found, double expected)
{
    if (fabs(found / 1e12 - expected) > 0.00051)
        fail_msg("%s: %.4f T multiplications, expected %.3f", what, found / 1e12, expected);
}

static void unet_multiplications(void **state)
{
    bed b = open_unet(&at_sdxl_unet_base, AT_BF16);
    const at_sdxl_unet_size size = { .batch = 1, .height = 128, .width = 128, .tokens = 77 };
    at_graph *step = at_graph_new(), *text = at_graph_new();
    (void)state;
    at_sdxl_unet_describe_step(b.unet, step, size);
    at_sdxl_unet_describe_text(b.unet, text, size);
    const macs s = count(step), t = count(text);
    close_to("linear", s.linear, 2.151);
    close_to("3x3", s.conv3, 0.778);
    close_to("self-attention", s.self, 0.376);
    close_to("1x1", s.conv1, 0.034);
    close_to("keys and values of the text", t.linear, 0.026);
    close_to("attention to the text", s.cross, 0.016);
    close_to("all", total(&s) + total(&t), 3.381);
    printf("UNet: %d nodes a step, %d once a picture\n", at_graph_nodes(step),
           at_graph_nodes(text));
    at_graph_free(text);
    at_graph_free(step);
    close_bed(&b);
}

static void vae_multiplications(void **state)
{
    bed b = open_vae(&at_sdxl_vae_base, AT_BF16);
    at_graph *decoder = at_graph_new(), *encoder = at_graph_new();
    (void)state;
    at_sdxl_vae_io out = at_sdxl_vae_describe_decoder(b.vae, decoder, 1, 128, 128);
    at_sdxl_vae_io in = at_sdxl_vae_describe_encoder(b.vae, encoder, 1, 1024, 1024);
    const at_view picture = at_graph_view(decoder, out.out),
                  moments = at_graph_view(encoder, in.out);
    assert_true(picture.size[1] == 1024 && picture.size[2] == 1024 && picture.size[3] == 3);
    assert_true(moments.size[1] == 128 && moments.size[2] == 128 && moments.size[3] == 8);
    const macs d = count(decoder), e = count(encoder);
    close_to("decoder, 3x3", d.conv3, 4.874);
    close_to("decoder", total(&d), 5.235);
    close_to("encoder", total(&e), 2.439);
    at_graph_free(encoder);
    at_graph_free(decoder);
    close_bed(&b);
}

/* --- what shapes do not tell ------------------------------------------------------------------ */

/* Group norms with SiLU and without, by their eps. */
static void expect_norms(at_graph *g, float eps_silu, int with_silu, float eps_plain, int plain)
{
    int silu = 0, bare = 0;
    for (int i = 0; i < at_graph_nodes(g); i++) {
        const at_group_norm_args *a = at_graph_node(g, i)->args;
        if (at_graph_node(g, i)->op != &at_op_group_norm)
            continue;
        assert_true(a->eps == (a->silu ? eps_silu : eps_plain) && a->groups == 32);
        silu += a->silu;
        bare += !a->silu;
    }
    assert_int_equal(silu, with_silu);
    assert_int_equal(bare, plain);
}

/* Convolutions that halve the sides, and how they are padded: top, left, bottom, right. */
static void expect_halving(at_graph *g, int count, const int64_t *pad)
{
    for (int i = 0; i < at_graph_nodes(g); i++) {
        const at_conv2d_args *a = at_graph_node(g, i)->args;
        if (at_graph_node(g, i)->op != &at_op_conv2d || a->stride[0] == 1)
            continue;
        assert_memory_equal(a->pad, pad, sizeof a->pad);
        count--;
    }
    assert_int_equal(count, 0);
}

static void details_are_those_of_the_files(void **state)
{
    bed b = open_unet(&at_sdxl_unet_base, AT_BF16), v = open_vae(&at_sdxl_vae_base, AT_BF16);
    at_graph *step = at_graph_new(), *decoder = at_graph_new(), *encoder = at_graph_new();
    (void)state;
    at_sdxl_unet_describe_step(b.unet, step, (at_sdxl_unet_size){ 2, 128, 128, 77 });
    at_sdxl_vae_describe_decoder(v.vae, decoder, 1, 128, 128);
    at_sdxl_vae_describe_encoder(v.vae, encoder, 1, 1024, 1024);
    expect_norms(step, 1e-5f, 2 * 17 + 1, 1e-6f, 11);
    expect_norms(decoder, 1e-6f, 2 * 14 + 1, 1e-6f, 1);
    expect_norms(encoder, 1e-6f, 2 * 10 + 1, 1e-6f, 1);
    expect_halving(step, 2, (const int64_t[]){ 1, 1, 1, 1 });
    expect_halving(encoder, 3, (const int64_t[]){ 0, 0, 1, 1 });
    at_graph_free(encoder);
    at_graph_free(decoder);
    at_graph_free(step);
    close_bed(&v);
    close_bed(&b);
}

/* --- every parameter is computed from --------------------------------------------------------- */

static bool reads(at_graph *g, const at_param *p)
{
    for (int i = 0; i < at_graph_nodes(g); i++) {
        const at_node *n = at_graph_node(g, i);
        for (int k = 0; k < n->op->n_operands; k++) {
            const at_view *v = at_operand_in(n->op, n->args, k);
            if (at_has(v) && at_graph_tensor(g, at_graph_tensor(g, v->tag)->base)->param == p)
                return true;
        }
    }
    return false;
}

static bool uses(at_graph *const *graphs, int n, const at_param *p)
{
    bool used = p->n_parts > 0;
    for (int i = 0; i < p->n_parts; i++)
        used = used && uses(graphs, n, p->parts[i]);
    for (int i = 0; i < n && !used; i++)
        used = reads(graphs[i], p->storage);
    return used;
}

static void every_parameter_is_used(void **state)
{
    bed b = open_unet(&sdxl_tiny_unet, AT_F32), v = open_vae(&at_sdxl_vae_base, AT_BF16);
    const at_sdxl_unet_size size = { 1, 16, 16, 7 };
    at_graph *unet[] = { at_graph_new(), at_graph_new() };
    at_graph *vae[] = { at_graph_new(), at_graph_new() };
    (void)state;
    at_sdxl_unet_describe_step(b.unet, unet[0], size);
    at_sdxl_unet_describe_text(b.unet, unet[1], size);
    at_sdxl_vae_describe_decoder(v.vae, vae[0], 1, 8, 8);
    at_sdxl_vae_describe_encoder(v.vae, vae[1], 1, 64, 64);
    for (int i = 0; i < at_sdxl_unet_params(b.unet); i++)
        if (!uses(unet, 2, unet_param(&b, i)))
            fail_msg("%s is not used", unet_param(&b, i)->name);
    for (int i = 0; i < at_sdxl_vae_params(v.vae); i++)
        if (!uses(vae, 2, vae_param(&v, i)))
            fail_msg("%s is not used", vae_param(&v, i)->name);
    for (int i = 0; i < 2; i++) {
        at_graph_free(unet[i]);
        at_graph_free(vae[i]);
    }
    close_bed(&v);
    close_bed(&b);
}

/* --- small models, run ------------------------------------------------------------------------ */

enum { TOKENS = 7, SIDE = 8, INPUTS = 5 };

/* What a picture starts from; 'changed' names the input that is another one. */
typedef struct request {
    const char *changed;
    int64_t batch;
} request;

static void set_input(at_plan *plan, at_graph *g, at_tensor t, const request *r)
{
    const at_tensor_info *info = at_graph_tensor(g, t.id);
    const int64_t n = at_elements(&info->view), row = n / info->view.size[0];
    at_error err;
    bool changed = r->changed && !strcmp(r->changed, info->name);
    double scale = !strcmp(info->name, "time") || !strcmp(info->name, "sizes") ? 400 : 1;
    void *data = sdxl_tiny_numbers(info->view.dtype, n, scale, 0, 17);
    if (changed) { /* only the first sample */
        void *fresh = sdxl_tiny_numbers(info->view.dtype, row, scale, 0, 18);
        memcpy(data, fresh, (size_t)row * at_dtype_bytes(info->view.dtype));
        free(fresh);
    }
    test_must(at_plan_set(plan, t, data, &err), &err);
    free(data);
}

static at_plan *plan_of(const bed *b, at_graph *g)
{
    at_plan *plan;
    at_error err;
    test_must(at_plan_new(&plan, b->device, b->store, g, &(at_plan_options){ .exact = true }, &err),
              &err);
    return plan;
}

static void carry(at_plan *from, at_tensor a, at_plan *to, at_tensor b, size_t bytes)
{
    at_error err;
    void *data = malloc(bytes);
    AT_ASSERT(data, "no memory");
    test_must(at_plan_get(from, a, data, &err), &err);
    test_must(at_plan_set(to, b, data, &err), &err);
    free(data);
}

static size_t bytes_of(at_graph *g, at_tensor t)
{
    const at_view v = at_graph_view(g, t);
    return at_view_bytes(&v);
}

/* The text's graph, then a step: (batch, SIDE, SIDE, 4) as floats, to be freed. */
static float *draw(const bed *b, const request *r)
{
    const at_sdxl_unet_size size = { r->batch, SIDE, SIDE, TOKENS };
    at_graph *gt = at_graph_new(), *gs = at_graph_new();
    at_sdxl_unet_text t = at_sdxl_unet_describe_text(b->unet, gt, size);
    at_sdxl_unet_step s = at_sdxl_unet_describe_step(b->unet, gs, size);
    at_plan *text = plan_of(b, gt), *step = plan_of(b, gs);
    at_error err;
    set_input(text, gt, t.context, r);
    set_input(text, gt, t.pooled, r);
    set_input(text, gt, t.sizes, r);
    test_must(at_plan_run(text, &err), &err);
    carry(text, t.keys, step, s.keys, bytes_of(gt, t.keys));
    carry(text, t.added, step, s.added, bytes_of(gt, t.added));
    set_input(step, gs, s.latent, r);
    set_input(step, gs, s.time, r);
    test_must(at_plan_run(step, &err), &err);
    const at_view v = at_graph_view(gs, s.out);
    void *raw = malloc(at_view_bytes(&v));
    float *out = malloc((size_t)at_elements(&v) * sizeof *out);
    AT_ASSERT(raw && out, "no memory");
    test_must(at_plan_get(step, s.out, raw, &err), &err);
    for (int64_t i = 0; i < at_elements(&v); i++)
        out[i] = (float)at_load(raw, i, v.dtype);
    free(raw);
    at_plan_free(step);
    at_plan_free(text);
    at_graph_free(gs);
    at_graph_free(gt);
    return out;
}

enum { SAMPLE = SIDE * SIDE * 4 };

static double spread(const float *x)
{
    double sum = 0;
    for (int i = 0; i < SAMPLE; i++) {
        assert_true(isfinite(x[i]));
        sum += (double)x[i] * x[i];
    }
    return sqrt(sum / SAMPLE);
}

static double distance(const float *a, const float *b)
{
    double sum = 0;
    for (int i = 0; i < SAMPLE; i++)
        sum += (double)(a[i] - b[i]) * (double)(a[i] - b[i]);
    return sqrt(sum / SAMPLE);
}

static void every_input_matters(void **state)
{
    static const char *const inputs[INPUTS] = { "latent", "time", "context", "pooled", "sizes" };
    bed b = open_unet(&sdxl_tiny_unet, AT_F32);
    (void)state;
    sdxl_tiny_fill(b.store);
    float *plain = draw(&b, &(request){ .batch = 1 });
    const double size = spread(plain);
    printf("tiny UNet: outputs of size %.3f\n", size);
    assert_true(size > 0.05 && size < 20);
    for (int i = 0; i < INPUTS; i++) {
        float *other = draw(&b, &(request){ .batch = 1, .changed = inputs[i] });
        const double moved = distance(plain, other) / size;
        printf("  another %-7s moves them by %.4f\n", inputs[i], moved);
        if (moved < 1e-3)
            fail_msg("another %s changes the output by %g only", inputs[i], moved);
        free(other);
    }
    free(plain);
    close_bed(&b);
}

/* Sample 0 in a batch is what it is alone; a change of it leaves sample 1 as it was. */
static void samples_do_not_mix(void **state)
{
    static const char *const inputs[INPUTS] = { "latent", "time", "context", "pooled", "sizes" };
    bed b = open_unet(&sdxl_tiny_unet, AT_F32);
    (void)state;
    sdxl_tiny_fill(b.store);
    float *alone = draw(&b, &(request){ .batch = 1 }), *both = draw(&b, &(request){ .batch = 2 });
    assert_memory_equal(alone, both, SAMPLE * sizeof *alone);
    assert_true(distance(both, both + SAMPLE) > 0.01);
    for (int i = 0; i < INPUTS; i++) {
        float *other = draw(&b, &(request){ .batch = 2, .changed = inputs[i] });
        assert_true(distance(both, other) > 0);
        assert_memory_equal(both + SAMPLE, other + SAMPLE, SAMPLE * sizeof *other);
        free(other);
    }
    free(both);
    free(alone);
    close_bed(&b);
}

/* A step of one sample by a plan of that graph: named inputs, and the text's results for two of
 * them. */
static at_plan *step_of(const bed *b, at_graph *g, const void *keys, const void *added)
{
    at_plan *plan = plan_of(b, g);
    at_error err;
    const request r = { .batch = 1 };
    set_input(plan, g, at_graph_named(g, "latent"), &r);
    set_input(plan, g, at_graph_named(g, "time"), &r);
    test_must(at_plan_set(plan, at_graph_named(g, "keys"), keys, &err), &err);
    test_must(at_plan_set(plan, at_graph_named(g, "added"), added, &err), &err);
    test_must(at_plan_run(plan, &err), &err);
    return plan;
}

static void take(at_plan *plan, at_graph *g, float *out)
{
    at_error err;
    test_must(at_plan_get(plan, at_graph_named(g, "out"), out, &err), &err);
    at_plan_free(plan);
}

/* Every product behind a norm, GEGLU or product: q|k|v, the text's q and both halves of the feed
 * forward of 17 blocks, both ends of 11 transformers, two of the time's. */
static void f8_moves_it_little(void **state)
{
    enum { SITES = 4 * 17 + 2 * 11 + 2 };
    bed b = open_unet(&sdxl_tiny_unet, AT_F32);
    const at_sdxl_unet_size size = { 1, SIDE, SIDE, TOKENS };
    at_graph *g = at_graph_new(), *f8;
    static float plain[SAMPLE], narrow[SAMPLE];
    at_error err = { 0 };
    (void)state;
    sdxl_tiny_fill(b.store);
    const at_sdxl_unet_step s = at_sdxl_unet_describe_step(b.unet, g, size);
    const at_view keys = at_graph_view(g, s.keys), added = at_graph_view(g, s.added);
    void *k = sdxl_tiny_numbers(AT_F32, at_elements(&keys), 1, 0, 3);
    void *a = sdxl_tiny_numbers(AT_F32, at_elements(&added), 1, 0, 4);
    take(step_of(&b, g, k, a), g, plain);
    at_f8 *f = at_f8_new(g, b.store);
    assert_int_equal(at_f8_sites(f), SITES);
    at_graph *calibration = at_f8_calibration(f);
    at_plan *seen = step_of(&b, calibration, k, a);
    test_must(at_f8_observe(f, seen, &err), &err);
    at_plan_free(seen);
    test_must(at_f8_graph(f, &f8, &err), &err);
    take(step_of(&b, f8, k, a), f8, narrow);
    const double moved = distance(plain, narrow) / spread(plain);
    printf("tiny UNet in f8: moved by %.3f\n", moved);
    assert_true(moved > 1e-4 && moved < 0.25); /* e4m3 rounds by 3 %, at 92 places */
    at_f8_free(f);
    at_graph_free(calibration);
    at_graph_free(f8);
    at_graph_free(g);
    free(k);
    free(a);
    close_bed(&b);
}

/* Sides that halving rounds: every level comes back to the size that was put aside. */
static void odd_sides(void **state)
{
    bed b = open_unet(&sdxl_tiny_unet, AT_F32);
    at_graph *g = at_graph_new();
    (void)state;
    at_sdxl_unet_step s = at_sdxl_unet_describe_step(b.unet, g, (at_sdxl_unet_size){ 2, 9, 13, 7 });
    const at_view v = at_graph_view(g, s.out);
    assert_true(v.size[0] == 2 && v.size[1] == 9 && v.size[2] == 13 && v.size[3] == 4);
    at_graph_free(g);
    close_bed(&b);
}

/* A UNet of a shape that the description does not have is refused. */
static void wrong_configurations(void **state)
{
    bed b = open_bed();
    at_error err = { 0 };
    at_sdxl_unet_config c = sdxl_tiny_unet;
    (void)state;
    c.levels = 5;
    assert_int_not_equal(at_sdxl_unet_new(&b.unet, b.store, &c, AT_F32, &err), AT_OK);
    assert_true(strstr(err.text, "5 levels") && !b.unet);
    c = sdxl_tiny_unet;
    c.channels[1] = 65;
    assert_int_not_equal(at_sdxl_unet_new(&b.unet, b.store, &c, AT_F32, &err), AT_OK);
    assert_true(strstr(err.text, "65 channels") && !b.unet);
    c = sdxl_tiny_unet;
    memset(c.down, 0, sizeof c.down);
    memset(c.up, 0, sizeof c.up);
    c.mid_depth = 0;
    assert_int_not_equal(at_sdxl_unet_new(&b.unet, b.store, &c, AT_F32, &err), AT_OK);
    assert_true(strstr(err.text, "attention") && !b.unet);
    assert_int_equal(at_params_count(b.store), 0);
    close_bed(&b);
}

/* --- the skip that is never joined ------------------------------------------------------------ */

enum { IN = 32, SKIP = 64, OUT = 128, PIXELS = 6 };

static at_resnet name_resnet(at_params *store, at_naming *n, const char *where, at_resnet_size size,
                             at_error *err)
{
    at_naming_start(n, store, AT_F32, err);
    at_naming_enter(n, "%s", where);
    at_resnet r = at_name_resnet(n, size, NULL, NULL);
    test_must(n->status, err);
    return r;
}

/* The same numbers, by names, to parameters whose sizes are those of the joined input. */
static void copy_params(at_params *store, const at_naming *from, const at_naming *to)
{
    assert_int_equal(from->n_named, to->n_named);
    for (int i = 0; i < from->n_named; i++) {
        const at_view v = from->named[i]->view;
        assert_true(at_same_shape(&v, &to->named[i]->view));
        float *data = sdxl_tiny_numbers(AT_F32, at_elements(&v), 0.1, 0.02, (uint64_t)i);
        float *back = malloc(at_view_bytes(&v));
        AT_ASSERT(back, "no memory");
        at_param_upload(store, from->named[i], data);
        at_param_upload(store, to->named[i], data);
        at_param_download(store, from->named[i], back);
        assert_memory_equal(data, back, at_view_bytes(&v));
        free(back);
        free(data);
    }
}

static void skip_is_as_if_joined(void **state)
{
    bed b = open_bed();
    at_error err = { 0 };
    at_naming names[2];
    at_resnet apart = name_resnet(b.store, &names[0], "a", (at_resnet_size){ IN, SKIP, OUT }, &err);
    at_resnet whole =
        name_resnet(b.store, &names[1], "b", (at_resnet_size){ IN + SKIP, 0, OUT }, &err);
    const int64_t x_size[] = { 2, PIXELS, PIXELS, IN }, s_size[] = { 2, PIXELS, PIXELS, SKIP };
    (void)state;
    copy_params(b.store, &names[0], &names[1]);
    at_graph *g = at_graph_new();
    at_tensor x = at_graph_input(g, "x", AT_F32, 4, x_size);
    at_tensor skip = at_graph_input(g, "skip", AT_F32, 4, s_size);
    const at_tensor parts[] = { x, skip };
    at_resnet_in in = { .x = x, .skip = skip, .groups = 32, .eps = 1e-5f };
    at_tensor y1 = at_layer_resnet(g, &apart, in);
    in = (at_resnet_in){ .x = at_concat(g, parts, 2, 3), .groups = 32, .eps = 1e-5f };
    at_tensor y2 = at_layer_resnet(g, &whole, in);
    at_graph_output(g, y1, "apart");
    at_graph_output(g, y2, "whole");
    at_plan *plan = plan_of(&b, g);
    static float a[2 * PIXELS * PIXELS * OUT], w[2 * PIXELS * PIXELS * OUT];
    set_input(plan, g, x, &(request){ 0 });
    set_input(plan, g, skip, &(request){ 0 });
    test_must(at_plan_run(plan, &err), &err);
    test_must(at_plan_get(plan, y1, a, &err), &err);
    test_must(at_plan_get(plan, y2, w, &err), &err);
    for (size_t i = 0; i < AT_COUNT(a); i++) /* sums of 96 terms in another order */
        assert_true(fabsf(a[i] - w[i]) <= 1e-4f * (1 + fabsf(w[i])));
    at_plan_free(plan);
    at_graph_free(g);
    at_naming_free(&names[0]);
    at_naming_free(&names[1]);
    close_bed(&b);
}

static void vae_runs(void **state)
{
    bed b = open_vae(&sdxl_tiny_vae, AT_F32);
    at_graph *gd = at_graph_new(), *ge = at_graph_new();
    at_sdxl_vae_io d = at_sdxl_vae_describe_decoder(b.vae, gd, 1, 4, 4);
    at_sdxl_vae_io e = at_sdxl_vae_describe_encoder(b.vae, ge, 1, 32, 32);
    at_plan *decoder = plan_of(&b, gd), *encoder = plan_of(&b, ge);
    static float picture[2][32 * 32 * 3], moments[2][4 * 4 * 8];
    at_error err;
    (void)state;
    sdxl_tiny_fill(b.store);
    for (int i = 0; i < 2; i++) {
        set_input(decoder, gd, d.in, &(request){ .changed = i ? "latent" : NULL });
        test_must(at_plan_run(decoder, &err), &err);
        test_must(at_plan_get(decoder, d.out, picture[i], &err), &err);
        test_must(at_plan_set(encoder, e.in, picture[i], &err), &err);
        test_must(at_plan_run(encoder, &err), &err);
        test_must(at_plan_get(encoder, e.out, moments[i], &err), &err);
    }
    for (size_t i = 0; i < AT_COUNT(picture[0]); i++)
        assert_true(isfinite(picture[0][i]) && isfinite(picture[1][i]));
    assert_memory_not_equal(picture[0], picture[1], sizeof picture[0]);
    assert_memory_not_equal(moments[0], moments[1], sizeof moments[0]);
    at_plan_free(encoder);
    at_plan_free(decoder);
    at_graph_free(ge);
    at_graph_free(gd);
    close_bed(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unet_parameters_are_diffusers),
        cmocka_unit_test(refiner_has_its_count),
        cmocka_unit_test(vae_parameters_are_diffusers),
        cmocka_unit_test(unet_multiplications),
        cmocka_unit_test(vae_multiplications),
        cmocka_unit_test(details_are_those_of_the_files),
        cmocka_unit_test(every_parameter_is_used),
        cmocka_unit_test(every_input_matters),
        cmocka_unit_test(samples_do_not_mix),
        cmocka_unit_test(f8_moves_it_little),
        cmocka_unit_test(odd_sides),
        cmocka_unit_test(wrong_configurations),
        cmocka_unit_test(skip_is_as_if_joined),
        cmocka_unit_test(vae_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
