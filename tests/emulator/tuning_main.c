/* tuning_main.c -- tuning on the emulated device: what libraries offer is tried, and an exact plan
 * takes nothing whose rows depend on the batch.
 *
 * The emulated libraries have engines whose rows do; they are said to be the fastest here, for
 * times on the emulator mean nothing. Without libraries own kernels' tiles are tried, and that is
 * said. Exit status: 0 all is so, 1 something is not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/bench.h"
#include "engine/build.h"
#include "engine/plan.h"
#include "engine/rows.h"
#include "engine/tuning_try.h"
#include "kernels/ops.h"
#include "tests/emulator/device.h"
#include "tests/told.h"

/* --- trying ----------------------------------------------------------------------------------- */

typedef struct said {
    const char *fastest; /* a choice; NULL: what a library offers first, then the next */
    int n;
} said;

static at_status say_time(void *context, at_bench *b, const at_bench_how *how, double seconds,
                          at_timing *out, at_error *err)
{
    const double own = 1e-3, library = 1e-5;
    said *s = context;
    bool tried = how->variant->flags & AT_ROWS_WHEN_TRIED;
    (void)seconds;
    *out = (at_timing){ .seconds = tried ? library * ++s->n : own, .runs = 1 };
    if (s->fastest && !strcmp(s->fastest, how->choice))
        out->seconds = library / 2;
    return at_bench_run(b, how, err);
}

typedef struct call {
    const at_op *op;
    at_dtype dtype;
    const char *text;
    bool rows; /* the emulated library has an engine whose rows depend on the batch */
} call;

static const call calls[] = {
    { &at_op_linear, AT_BF16, "x=3,6,64 w=48,64 bias=48", true },
    { &at_op_linear, AT_F32, "x=1,5,64 w=48,64 residual=1,5,48", true },
    { &at_op_linear_dgrad, AT_BF16, "dy=2,6,48 w=48,64", true },
    { &at_op_conv2d, AT_BF16, "x=2,6,6,16 w=16,16,3,3 bias=16 pad=1,1,1,1", true },
    { &at_op_conv2d, AT_F32, "x=2,6,6,16 w=16,16,3,3 bias=16 pad=1,1,1,1", false },
    { &at_op_attention, AT_BF16, "q=2,8,64 k=2,8,64 v=2,8,64 heads=1", true },
};

static void trial_of(at_tuning *t, at_device *d, const at_tuning_call *c, said *s, at_trial *out)
{
    const at_tuning_settings settings = { .check_all = true, .time = say_time, .context = s };
    at_error err = { 0 };
    s->n = 0;
    at_tuning_set(t, &settings);
    test_must(at_tuning_try(t, d, c, out, &err), &err);
}

static void print_trial(const at_tuning_call *c, const at_trial *l)
{
    char text[160];
    at_args_print(c->op, c->args, text, sizeof text);
    printf("tuning: %s %s %s\n", c->exact ? "exact" : "fast", c->op->name, text);
    for (int i = 0; i < l->n; i++)
        printf("tuning:   %s '%s': %s%s%s\n", l->list[i].variant->name, l->list[i].choice,
               at_verdict_text(l->list[i].verdict), *l->list[i].why ? ": " : "", l->list[i].why);
}

/* What was kept is the same alone and in batches that were not tried. */
static void rows_hold(at_device *d, const at_tuning_call *c, const at_tried *kept)
{
    const at_bench_how how = {
        .variant = kept->variant, .constants = c->constants, .exact = true, .choice = kept->choice
    };
    at_error err = { 0 };
    for (int64_t batch = 2; batch < 8 && at_rows_matter(c->op, c->args); batch += 3)
        if (at_rows_check(d, c->op, c->args, batch, &how, &err) != AT_OK)
            test_failed("%s '%s' was kept: %s", kept->variant->name, kept->choice, err.text);
}

static const at_tried *dropped(const at_trial *l)
{
    for (int i = 0; i < l->n; i++)
        if (l->list[i].verdict == AT_VERDICT_ROWS)
            return &l->list[i];
    return NULL;
}

static void check_call(at_tuning *t, at_device *d, const call *k)
{
    _Alignas(16) unsigned char args[AT_ARGS_MAX];
    at_tuning_call c = { k->op, args, at_bench_constants(k->op), true };
    at_trial *l = malloc(sizeof *l);
    at_error err = { 0 };
    said s = { NULL, 0 };
    AT_ASSERT(l, "no memory");
    test_must(at_bench_describe(k->op, k->text, k->dtype, args, &err), &err);
    trial_of(t, d, &c, &s, l);
    print_trial(&c, l);
    rows_hold(d, &c, &l->list[l->kept]);
    const at_tried *bad = dropped(l);
    bool library = false;
    for (int i = 0; i < l->n; i++)
        library = library || (l->list[i].variant->flags & AT_ROWS_WHEN_TRIED);
    if (library && k->rows && !bad)
        test_failed("%s [%s]: no engine was dropped", k->op->name, k->text);
    if (bad) {
        char choice[AT_CHOICE_MAX];
        snprintf(choice, sizeof choice, "%s", bad->choice);
        s.fastest = choice;
        trial_of(t, d, &c, &s, l);
        if (!strcmp(l->list[l->kept].choice, choice))
            test_failed("%s: exact kept '%s'", k->op->name, choice);
        c.exact = false;
        trial_of(t, d, &c, &s, l);
        if (strcmp(l->list[l->kept].choice, choice) != 0)
            test_failed("%s: fast kept '%s', not the fastest '%s'", k->op->name,
                        l->list[l->kept].choice, choice);
    }
    free(l);
}

/* --- plans ------------------------------------------------------------------------------------ */

enum { BATCH = 3, L = 8, C = 64 };

typedef struct model {
    at_params *params;
    at_graph *graph;
    at_plan *plan;
} model;

static at_tensor weight(model *m, const char *name, int rank, const int64_t *size)
{
    at_error err;
    at_param *p = at_params_add(m->params, name, AT_BF16, rank, size, &err);
    AT_ASSERT(p, "%s", err.text);
    int64_t n = at_elements(&p->view);
    uint16_t *values = malloc((size_t)n * sizeof *values);
    AT_ASSERT(values, "no memory");
    for (int64_t i = 0; i < n; i++)
        values[i] = at_bf16_from_f32((float)((i * 37 + rank) % 101) / 400.0f - 0.12f);
    at_param_upload(m->params, p, values);
    free(values);
    return at_graph_param(m->graph, p);
}

/* Tokens through two products and a convolution over them. */
static model make(at_device *d, int64_t batch, const at_plan_options *options)
{
    model m = { at_params_new(d), at_graph_new(), NULL };
    at_error err = { 0 };
    at_tensor none = { 0 };
    at_tensor x = at_graph_input(m.graph, "x", AT_BF16, 4, (const int64_t[]){ batch, L, L, C });
    at_tensor w = weight(&m, "w", 2, (const int64_t[]){ C, C });
    at_tensor bias = weight(&m, "bias", 1, (const int64_t[]){ C });
    at_tensor k = weight(&m, "k", 4, (const int64_t[]){ C, C, 3, 3 });
    at_tensor y = at_linear(m.graph, x, w, bias, none, AT_ACT_NONE);
    y = at_conv2d(m.graph, (at_conv){ .x = y, .w = k, .bias = bias, .pad = 1 });
    y = at_linear(m.graph, y, w, none, none, AT_ACT_NONE);
    at_graph_output(m.graph, y, "y");
    test_must(at_plan_new(&m.plan, d, m.params, m.graph, options, &err), &err);
    return m;
}

static void unmake(model *m)
{
    at_plan_free(m->plan);
    at_graph_free(m->graph);
    at_params_free(m->params);
}

/* Plain, captured, replayed: all three must be the same. */
static void draw(model *m, const uint16_t *x, uint16_t *y, size_t elements)
{
    uint16_t *again = malloc(elements * sizeof *again);
    at_error err = { 0 };
    AT_ASSERT(again, "no memory");
    test_must(at_plan_set(m->plan, at_graph_named(m->graph, "x"), x, &err), &err);
    for (int i = 0; i < 3; i++) {
        test_must(at_plan_run(m->plan, &err), &err);
        test_must(at_plan_get(m->plan, at_graph_named(m->graph, "y"), i ? again : y, &err), &err);
        if (i && memcmp(again, y, elements * sizeof *y) != 0)
            test_failed("run %d gives other bytes", i);
    }
    free(again);
}

static void samples_are_the_same_alone(at_device *d, at_tuning *t)
{
    enum { EACH = L * L * C };
    static uint16_t x[BATCH * EACH], all[BATCH * EACH], one[EACH];
    const at_plan_options untuned = { .exact = true }, tuned = { .exact = true, .tuning = t };
    for (int i = 0; i < BATCH * EACH; i++)
        x[i] = at_bf16_from_f32((float)((i * 29) % 113) / 60.0f - 0.9f);
    model plain = make(d, BATCH, &untuned), many = make(d, BATCH, &tuned),
          single = make(d, 1, &tuned);
    at_plan_bytes bytes = at_plan_memory(plain.plan), other = at_plan_memory(many.plan);
    if (bytes.arena != other.arena || bytes.workspace != other.workspace)
        test_failed("untuned %zu bytes, tuned %zu", bytes.arena, other.arena);
    draw(&many, x, all, BATCH * EACH);
    for (int b = 0; b < BATCH; b++) {
        draw(&single, x + b * EACH, one, EACH);
        if (memcmp(one, all + b * EACH, sizeof one) != 0)
            test_failed("sample %d has other bytes alone than in the batch", b);
    }
    for (int i = 0; i < at_plan_nodes(many.plan); i++) {
        at_node_info a = at_plan_node(many.plan, i), b = at_plan_node(single.plan, i);
        printf("tuning: %s: %s '%s'\n", a.op->name, a.variant->name, a.choice);
        if (a.variant != b.variant || strcmp(a.choice, b.choice) != 0)
            test_failed("another choice alone: %s '%s'", b.variant->name, b.choice);
    }
    unmake(&plain);
    unmake(&many);
    unmake(&single);
}

/* Choices made by one process's plan, stored, and used by another's. */
static void plans_take_what_was_stored(at_device *d, const at_tuned_for *machine)
{
    char folder[] = "/tmp/atelier-tuning-XXXXXX", file[512];
    at_tuning *t, *again;
    at_error err = { 0 };
    said s = { NULL, 0 };
    const at_tuning_settings settings = { .time = say_time, .context = &s };
    AT_ASSERT(mkdtemp(folder), "no temporary folder");
    test_must(at_tuning_new(&t, machine, &err), &err);
    test_must(at_tuning_new(&again, machine, &err), &err);
    at_tuning_set(t, &settings);
    model first = make(d, 2, &(at_plan_options){ .exact = true, .tuning = t, .tune = true });
    unmake(&first);
    test_must(at_tuning_save(t, folder, &err), &err);
    test_must(at_tuning_load(again, folder, &err), &err);
    samples_are_the_same_alone(d, again);
    at_tuning_counts counts = at_tuning_counted(again);
    if (counts.tried || counts.unmet || counts.found != 2 * at_tuning_count(t))
        test_failed("%lld found of 2 * %d, %lld tried, %lld unmet", (long long)counts.found,
                    at_tuning_count(t), (long long)counts.tried, (long long)counts.unmet);
    snprintf(file, sizeof file, "%s/%s", folder, at_tuning_file(t));
    if (unlink(file) != 0 || rmdir(folder) != 0)
        test_failed("%s was not what was stored", file);
    at_tuning_free(t);
    at_tuning_free(again);
}

int main(void)
{
    at_device *d;
    at_tuning *t;
    at_tuned_for machine;
    at_error err = { 0 };
    setvbuf(stdout, NULL, _IOLBF, 0);
    test_must(at_device_emulated(&d, &err), &err);
    test_must(at_tuned_for_device(d, &machine, &err), &err);
    for (int i = 0; i < AT_TUNED_FOR_COUNT; i++)
        printf("tuning: %s %s\n", at_tuned_for_name(i), machine.field[i]);
    if (!d->caps.cublaslt && !d->caps.cudnn)
        printf("SKIP the libraries' engines: the emulated device has none\n");
    test_must(at_tuning_new(&t, &machine, &err), &err);
    for (size_t i = 0; i < AT_COUNT(calls); i++)
        check_call(t, d, &calls[i]);
    plans_take_what_was_stored(d, &machine);
    at_tuning_free(t);
    at_device_close(d);
    printf("tuning: %d failures\n", test_failures());
    return test_failures() != 0;
}
