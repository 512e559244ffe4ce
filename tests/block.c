/* block.c -- a small diffusion block through plans on a device: forward, backward, AdamW; run
 * plainly, captured and replayed.
 *
 * What is held: the CPU's results, step by step; the same bytes in a second run and in another
 * order of threads; in an exact plan the same bytes for a sample alone and in a batch of 3; single
 * ops timed. Exit status: 0 all of it, 1 something is not so, 2 the device is not there. */
#include "tests/block.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/backward.h"
#include "engine/bench.h"
#include "engine/plan.h"
#include "tests/told.h"

enum { BATCH = 3, H = 8, W = 8, CIN = 8, C = 16, HEADS = 2, TIME = 32, STEPS = 5, PARAMS_MAX = 40 };

/* How far a weight or a loss may lie from the CPU's in f32, relative to itself and to the root mean
 * square of its tensor: sums in another order, which five steps carry on. In bf16 every result is
 * rounded, not at the CPU's places: half as far again as the CPU's own bf16 lies from its f32. */
static const double tolerance_f32 = 1e-4, times_own = 1.5;

/* --- the block -------------------------------------------------------------------------------- */

typedef enum use { INFERENCE, TRAINING } use;

typedef struct block {
    at_device *device;
    at_params *params;
    at_graph *g;
    at_plan *plan;
    at_tensor weights[PARAMS_MAX], x, t, target, weight, y, loss, hyper;
    at_dtype dtype;
    int n;
} block;

static void numbers(uint32_t seed, int64_t n, double scale, double base, float *out)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)i * 2654435761u + seed * 40503u + 12345u;
        bits = (bits ^ bits >> 15) * 2246822519u;
        bits ^= bits >> 13;
        out[i] = (float)(((double)bits / 4294967296.0 - 0.5) * scale + base);
    }
}

static at_tensor weight(block *b, int rank, const int64_t *size, double scale, double base)
{
    char name[32];
    at_error err;
    snprintf(name, sizeof name, "w%d", b->n);
    at_param *p = at_params_add(b->params, name, AT_F32, rank, size, &err);
    AT_ASSERT(p && b->n < PARAMS_MAX, "%s", err.text);
    p->trainable = true;
    int64_t n = at_elements(&p->view);
    float *values = malloc((size_t)n * sizeof *values);
    AT_ASSERT(values, "no memory");
    numbers((uint32_t)b->n + 1, n, scale, base, values);
    at_param_upload(b->params, p, values);
    free(values);
    return b->weights[b->n++] = at_graph_param(b->g, p);
}

static at_tensor vector(block *b, int64_t n, double base)
{
    return weight(b, 1, &n, 0.2, base);
}

static at_tensor linear(block *b, at_tensor x, int64_t n, at_tensor residual, at_act act)
{
    const at_view v = at_graph_view(b->g, x);
    const int64_t size[] = { n, at_cols(&v) };
    at_tensor w = weight(b, 2, size, 2 / sqrt((double)size[1]), 0), bias = vector(b, n, 0);
    return at_linear(b->g, x, w, bias, residual, act);
}

static at_tensor conv(block *b, at_tensor x, int64_t out, at_tensor residual)
{
    const at_view v = at_graph_view(b->g, x);
    const int64_t size[] = { out, at_cols(&v), 3, 3 };
    at_tensor w = weight(b, 4, size, 1 / sqrt((double)size[1]), 0), bias = vector(b, out, 0);
    return at_conv2d(b->g,
                     (at_conv){ .x = x, .w = w, .bias = bias, .residual = residual, .pad = 1 });
}

static at_tensor group_norm(block *b, at_tensor x, at_tensor add)
{
    at_tensor gamma = vector(b, C, 1), beta = vector(b, C, 0);
    return at_group_norm(b->g, (at_group){ .x = x,
                                           .add = add,
                                           .gamma = gamma,
                                           .beta = beta,
                                           .groups = 4,
                                           .eps = 1e-5f,
                                           .silu = true });
}

static at_tensor layer_norm(block *b, at_tensor x)
{
    at_tensor gamma = vector(b, C, 1), beta = vector(b, C, 0);
    return at_layer_norm(b->g, x, gamma, beta, 1e-5f);
}

/* (B, C): what the time step adds to every position. */
static at_tensor embed_time(block *b)
{
    at_tensor none = { 0 };
    at_tensor e = at_timestep_embedding(
        b->g, b->t, (at_sinusoid){ .dim = TIME, .cos_first = true, .dtype = b->dtype });
    return linear(b, linear(b, e, 2 * C, none, AT_ACT_SILU), C, none, AT_ACT_NONE);
}

static at_tensor transform(block *b, at_tensor h)
{
    at_tensor none = { 0 }, qkv = linear(b, layer_norm(b, h), 3 * C, none, AT_ACT_NONE);
    at_tensor a = at_attention(b->g, (at_attend){ .q = at_graph_slice_cols(b->g, qkv, 0, C),
                                                  .k = at_graph_slice_cols(b->g, qkv, C, C),
                                                  .v = at_graph_slice_cols(b->g, qkv, 2 * C, C),
                                                  .heads = HEADS });
    h = linear(b, a, C, h, AT_ACT_NONE);
    at_tensor up = at_geglu(b->g, linear(b, layer_norm(b, h), 4 * C, none, AT_ACT_NONE));
    return linear(b, up, C, h, AT_ACT_NONE);
}

static void describe(block *b, int64_t batch)
{
    at_graph *g = b->g;
    const int64_t picture[] = { batch, H, W, CIN }, tokens[] = { batch, H * W, C };
    const int64_t map[] = { batch, H, W, C };
    at_tensor none = { 0 };
    b->x = at_graph_input(g, "x", b->dtype, 4, picture);
    b->t = at_graph_input(g, "t", AT_F32, 1, &batch);
    at_tensor first = conv(b, b->x, C, none), time = embed_time(b);
    at_tensor h = conv(b, group_norm(b, first, time), C, first);
    h = transform(b, at_graph_reshape(g, h, 3, tokens));
    h = group_norm(b, at_graph_reshape(g, h, 4, map), none);
    b->y = conv(b, h, CIN, none);
    at_graph_output(g, b->y, "y");
}

static at_tensor state_of(block *b, at_tensor w, const char *kind)
{
    char name[64];
    at_error err;
    at_view v = at_graph_view(b->g, w);
    snprintf(name, sizeof name, "%s.%s", kind, at_graph_tensor(b->g, w.id)->name);
    at_param *p = at_params_add(b->params, name, AT_F32, v.rank, v.size, &err);
    AT_ASSERT(p, "%s", err.text);
    return at_graph_param(b->g, p);
}

/* eps is large: with a small one the first steps are the gradients' signs, and where a gradient is
 * nearly zero rounding would decide. */
static void describe_training(block *b, int64_t batch)
{
    const int64_t picture[] = { batch, H, W, CIN };
    b->target = at_graph_input(b->g, "target", b->dtype, 4, picture);
    b->weight = at_graph_input(b->g, "weight", AT_F32, 1, &batch);
    b->hyper = at_graph_input(b->g, "hyper", AT_F32, 1, (const int64_t[]){ AT_HYPERS });
    b->loss = at_mse(b->g, b->y, b->target, b->weight, 0);
    at_graph_output(b->g, b->loss, "loss");
    at_backward *back = at_graph_backward(b->g, b->loss, &(at_backward_options){ .repeat = true });
    for (int i = 0; i < b->n; i++) {
        at_tensor w = b->weights[i];
        at_adamw(b->g, w, state_of(b, w, "m"), state_of(b, w, "v"), at_backward_gradient(back, w),
                 b->hyper, (at_adam){ 0.9f, 0.999f, 1e-2f, 0.01f });
    }
    at_backward_free(back);
}

/* --- its life --------------------------------------------------------------------------------- */

typedef enum place { ON_CPU, ON_DEVICE } place;

static void set_floats(block *b, at_tensor t, const float *values)
{
    at_error err;
    at_view v = at_graph_view(b->g, t);
    int64_t n = at_elements(&v);
    void *typed = malloc((size_t)n * sizeof(double));
    AT_ASSERT(typed, "no memory");
    for (int64_t i = 0; i < n; i++)
        at_store(typed, i, v.dtype, (double)values[i]);
    test_must(at_plan_set(b->plan, t, typed, &err), &err);
    free(typed);
}

/* Inputs of samples [first, first + batch) of the pictures that every block gets. */
static void set_inputs(block *b, int64_t first, int64_t batch)
{
    enum { EACH = H * W * CIN };
    static const float times[BATCH] = { 999, 17, 421.5f }, weights[BATCH] = { 1, 0.25f, 2 };
    float x[BATCH * EACH];
    numbers(1001, BATCH * EACH, 2, 0, x);
    set_floats(b, b->x, x + first * EACH);
    set_floats(b, b->t, times + first);
    if (!b->target.id)
        return;
    AT_ASSERT(batch == BATCH, "training is on the whole batch");
    numbers(1002, BATCH * EACH, 2, 0, x);
    set_floats(b, b->target, x);
    set_floats(b, b->weight, weights);
}

static void open_block(block *b, place on, at_dtype dtype, use what, int64_t first, int64_t batch)
{
    at_error err;
    *b = (block){ .dtype = dtype };
    test_must(on == ON_CPU ? at_device_open(&b->device, "cpu", NULL, &err)
                           : block_here.open(&b->device, &err),
              &err);
    b->params = at_params_new(b->device);
    b->g = at_graph_new();
    describe(b, batch);
    if (what == TRAINING)
        describe_training(b, batch);
    test_must(at_plan_new(&b->plan, b->device, b->params, b->g,
                          &(at_plan_options){ .exact = what == INFERENCE }, &err),
              &err);
    set_inputs(b, first, batch);
}

static void close_block(block *b)
{
    at_plan_free(b->plan);
    at_graph_free(b->g);
    at_params_free(b->params);
    at_device_close(b->device);
}

static float train_step(block *b, int step)
{
    at_error err;
    float loss = NAN, hyper[AT_HYPERS] = {
        [AT_HYPER_LR] = 1e-2f,
        [AT_HYPER_BIAS1] = (float)(1 - pow(0.9, step)),
        [AT_HYPER_BIAS2] = (float)(1 - pow(0.999, step)),
        [AT_HYPER_FACTOR] = 1,
    };
    test_must(at_plan_set(b->plan, b->hyper, hyper, &err), &err);
    test_must(at_plan_run(b->plan, &err), &err);
    test_must(at_plan_get(b->plan, b->loss, &loss, &err), &err);
    return loss;
}

/* The values of all parameters, weights and states. */
static float *values_of(block *b, int64_t *n)
{
    float *all = NULL;
    *n = 0;
    for (int i = 0; i < at_params_count(b->params); i++) {
        at_param *p = at_params_at(b->params, i);
        int64_t more = at_elements(&p->view);
        all = realloc(all, (size_t)(*n + more) * sizeof *all);
        AT_ASSERT(all, "no memory");
        at_param_download(b->params, p, all + *n);
        *n += more;
    }
    return all;
}

/* --- what is held ----------------------------------------------------------------------------- */

/* The largest distance of a parameter's values, relative to its tolerance's scale. */
static double worst_of(const float *expected, const float *got, int64_t n)
{
    double sum = 0, worst = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)expected[i] * (double)expected[i];
    double scale = sqrt(sum / (double)n) + 1e-12;
    for (int64_t i = 0; i < n; i++) {
        double far =
            fabs((double)got[i] - (double)expected[i]) / (scale + fabs((double)expected[i]));
        worst = far <= worst ? worst : far; /* NaN counts */
    }
    return worst;
}

/* The farthest of the parameters' values, and whose they are. */
static double distance(block *expected, block *got, const char **whose)
{
    int64_t n, m, at = 0;
    float *a = values_of(expected, &n), *b = values_of(got, &m);
    double worst = -1;
    AT_ASSERT(n == m, "%lld and %lld values", (long long)n, (long long)m);
    for (int i = 0; i < at_params_count(expected->params); i++) {
        at_param *p = at_params_at(expected->params, i);
        int64_t size = at_elements(&p->view);
        double far = worst_of(a + at, b + at, size);
        if (!(far <= worst)) {
            worst = far;
            *whose = p->name;
        }
        at += size;
    }
    free(a);
    free(b);
    return worst;
}

static void compare_training(block *cpu, block *device, double tolerance)
{
    const char *whose;
    double far = distance(cpu, device, &whose);
    if (!(far <= tolerance))
        test_failed("%s: %s is %.3g from the cpu's f32, tolerance %.3g",
                    at_dtype_name(device->dtype), whose, far, tolerance);
    printf("block: %s, %d steps, %d nodes, %d parameters: at most %.2g from the cpu's f32\n",
           at_dtype_name(device->dtype), (int)STEPS, at_plan_nodes(device->plan),
           at_params_count(cpu->params), far);
}

/* How far the type alone takes the CPU's results away from f32's. */
static double own_distance(at_dtype dtype)
{
    block single, cpu;
    const char *whose;
    open_block(&single, ON_CPU, AT_F32, TRAINING, 0, BATCH);
    open_block(&cpu, ON_CPU, dtype, TRAINING, 0, BATCH);
    for (int step = 1; step <= STEPS; step++) {
        train_step(&single, step);
        train_step(&cpu, step);
    }
    double far = distance(&single, &cpu, &whose);
    printf("block: %s on the cpu is at most %.2g from f32\n", at_dtype_name(dtype), far);
    close_block(&single);
    close_block(&cpu);
    return far;
}

static void training_is_the_cpus(at_dtype dtype, double tolerance)
{
    block cpu, device;
    float loss = 0, first = 0;
    open_block(&cpu, ON_CPU, AT_F32, TRAINING, 0, BATCH);
    open_block(&device, ON_DEVICE, dtype, TRAINING, 0, BATCH);
    for (int step = 1; step <= STEPS; step++) { /* plain, captured, replayed */
        float expected = train_step(&cpu, step);
        loss = train_step(&device, step);
        first = step == 1 ? loss : first;
        if (!(fabsf(loss - expected) <= (float)tolerance * expected))
            test_failed("%s, step %d: loss %.9g, the cpu's is %.9g", at_dtype_name(dtype), step,
                        (double)loss, (double)expected);
    }
    if (!(loss < first))
        test_failed("%s: the loss went from %.9g to %.9g", at_dtype_name(dtype), (double)first,
                    (double)loss);
    compare_training(&cpu, &device, tolerance);
    close_block(&cpu);
    close_block(&device);
}

static float *trained(at_dtype dtype, int64_t *n)
{
    block b;
    open_block(&b, ON_DEVICE, dtype, TRAINING, 0, BATCH);
    for (int step = 1; step <= 3; step++)
        train_step(&b, step);
    float *values = values_of(&b, n);
    close_block(&b);
    return values;
}

/* Twice in the first order, then in every other one. */
static void training_repeats(at_dtype dtype)
{
    const char *order = block_here.order(0);
    int64_t n, m;
    int runs = 0;
    float *expected = trained(dtype, &n);
    do {
        float *got = trained(dtype, &m);
        if (m != n || memcmp(expected, got, (size_t)n * sizeof *got))
            test_failed("%s: other bytes in %s order", at_dtype_name(dtype), order);
        free(got);
    } while ((order = block_here.order(++runs)) != NULL);
    free(expected);
    block_here.order(0);
    printf("block: %s, trained again %d times: the same bytes\n", at_dtype_name(dtype), runs);
}

/* The bytes of y after a plain run and after a replay. */
static void draw(at_dtype dtype, int64_t first, int64_t batch, unsigned char *y)
{
    block b;
    at_error err;
    size_t bytes = (size_t)(batch * H * W * CIN) * at_dtype_bytes(dtype);
    unsigned char *replayed = malloc(bytes);
    AT_ASSERT(replayed, "no memory");
    open_block(&b, ON_DEVICE, dtype, INFERENCE, first, batch);
    test_must(at_plan_run(b.plan, &err), &err);
    test_must(at_plan_get(b.plan, b.y, y, &err), &err);
    for (int i = 0; i < 2; i++)
        test_must(at_plan_run(b.plan, &err), &err);
    test_must(at_plan_get(b.plan, b.y, replayed, &err), &err);
    if (memcmp(y, replayed, bytes))
        test_failed("%s: a replay gives other bytes", at_dtype_name(dtype));
    free(replayed);
    close_block(&b);
}

static void samples_are_the_same_alone(at_dtype dtype)
{
    enum { EACH = H * W * CIN };
    unsigned char all[BATCH * EACH * sizeof(float)], one[EACH * sizeof(float)];
    const size_t bytes = EACH * at_dtype_bytes(dtype);
    draw(dtype, 0, BATCH, all);
    for (int64_t i = 0; i < BATCH; i++) {
        draw(dtype, i, 1, one);
        if (memcmp(one, all + (size_t)i * bytes, bytes))
            test_failed("%s: sample %lld has other bytes alone than in the batch",
                        at_dtype_name(dtype), (long long)i);
    }
    printf("block: %s, each sample alone and in a batch of %d: the same bytes\n",
           at_dtype_name(dtype), (int)BATCH);
}

/* Timing an op takes the same path as on a GPU: arena, packed weights, scratch. */
static void ops_can_be_timed(void)
{
    static const struct {
        const at_op *op;
        const char *text;
    } calls[] = { { &at_op_conv2d, "x=1,8,8,8 w=8,8,3,3 bias=8 pad=1,1,1,1" },
                  { &at_op_layer_norm_bwd, "x=3,40 dy=3,40 gamma=40 mean=3:f32 rstd=3:f32" } };
    at_device *d;
    at_error err = { 0 };
    test_must(block_here.open(&d, &err), &err);
    for (size_t i = 0; i < AT_COUNT(calls); i++) {
        at_bench *b;
        at_timing t = { 0 };
        test_must(at_bench_new(&b, d, calls[i].op, calls[i].text, AT_BF16, &err), &err);
        const at_variant *v = at_op_pick(calls[i].op, at_bench_args(b), &d->caps, false);
        AT_ASSERT(v, "%s has no variant", calls[i].op->name);
        if (at_bench_time(b, v, 0.001, &t, &err) != AT_OK || t.runs < 1 || t.seconds <= 0)
            test_failed("timing %s: %d runs; %s", v->name, t.runs, err.text);
        at_bench_free(b);
    }
    at_device_close(d);
}

int main(void)
{
    at_device *d;
    at_error err = { 0 };
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (block_here.open(&d, &err) != AT_OK) {
        fprintf(stderr, "block: %s\n", err.text);
        return 2;
    }
    at_device_close(d);
    block_here.order(0);
    training_is_the_cpus(AT_F32, tolerance_f32);
    training_is_the_cpus(AT_BF16, times_own * own_distance(AT_BF16));
    training_repeats(AT_F32);
    training_repeats(AT_BF16);
    samples_are_the_same_alone(AT_F32);
    samples_are_the_same_alone(AT_BF16);
    ops_can_be_timed();
    if (block_here.more)
        block_here.more();
    printf("block: %s, %d failures\n", block_here.name, test_failures());
    return test_failures() > 0;
}
