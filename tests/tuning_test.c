/* tuning_test.c -- choices: tried, kept, stored, found again, refused.
 *
 * The op is a scaled copy. Its variant "planted_library" stands for a library whose engines nobody
 * knows: two are right, one of them slow, one is fast and its rows depend on the batch, one wants
 * much scratch, one is made for small batches only. How long they take is said, not measured, but
 * where timing itself is the matter. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/bench.h"
#include "engine/plan.h"
#include "engine/rows.h"
#include "engine/tuning_try.h"
#include "kernels/shape.h"
#include "kernels/variants.h"
#include "tests/unit.h"

/* --- the op ----------------------------------------------------------------------------------- */

typedef struct at_planted_args {
    at_view y; /* (B, L, C) f32 */
    at_view x; /* (B, L, C) f32 */
    float factor;
} at_planted_args;

static const at_operand planted_operands[] = {
    AT_OPERAND(planted, y, AT_OUT, AT_BATCHED, AT_F32),
    AT_OPERAND(planted, x, AT_IN, AT_BATCHED, AT_F32),
};
static const at_attr planted_attrs[] = { AT_FLOAT(planted, factor) };

static at_status planted_shape(void *args, at_error *err)
{
    at_planted_args *a = args;
    AT_TRY(at_expect_rank("planted", "x", &a->x, 2, 3, err));
    a->y = at_view_like(&a->x, AT_F32);
    return AT_OK;
}

#define FACTOR 0.75f

enum { SLOW_US = 1600, MIDDLE_US = 800, FAST_US = 120, SCRATCH = 5000, SCRATCH_MUCH = 3 << 20 };

static void scale(const at_planted_args *a, const at_launch *l, size_t scratch)
{
    for (int64_t r = 0; r < at_rows(&a->x); r++)
        for (int64_t c = 0; c < at_cols(&a->x); c++)
            at_set(&a->y, r, c, at_get(&a->x, r, c) * (double)a->factor);
    if (scratch) /* whose memory it is besides will notice */
        memset(l->scratch, 0xff, SCRATCH);
}

static at_status run_own(const void *args, const at_prepared *p, const at_launch *l)
{
    (void)p;
    scale(args, l, 0);
    return AT_OK;
}

typedef struct engine {
    const char *name;
    int micros;
    size_t scratch;
    bool dependent; /* rows on the batch */
    int64_t batch_max;
} engine;

static const engine engines[] = {
    { "e10", MIDDLE_US, SCRATCH, false, 64 },
    { "e11", FAST_US, 0, true, 64 },
    { "e12", FAST_US / 3, SCRATCH_MUCH, false, 64 },
    { "e13", FAST_US / 8, 0, false, 6 },
    { "e14", 3 * FAST_US, 0, false, 64 },
    { "e15", 1, 0, false, 64 }, /* fails */
};
enum { ENGINES = (int)AT_COUNT(engines) };

static at_status prepare_library(const void *args, const at_prepare_in *in, at_prepared *out,
                                 at_error *err)
{
    const at_planted_args *a = args;
    int i = in->candidate;
    for (int k = 0; in->choice && k < ENGINES; k++)
        if (!strcmp(engines[k].name, in->choice))
            i = k;
    if ((in->choice && strcmp(engines[i].name, in->choice) != 0) ||
        a->x.size[0] > engines[i].batch_max)
        return at_fail(err, AT_UNSUPPORTED, "planted_library has no engine %s for a batch of %lld",
                       in->choice ? in->choice : "of that number", (long long)a->x.size[0]);
    out->state = (void *)(uintptr_t)&engines[i];
    out->scratch_bytes = engines[i].scratch;
    snprintf(out->choice, sizeof out->choice, "%s", engines[i].name);
    return AT_OK;
}

static int count_engines(const void *args, const at_caps *caps)
{
    (void)args, (void)caps;
    return ENGINES;
}

static at_status run_library(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_planted_args *a = args;
    const engine *e = p->state;
    if (e == &engines[ENGINES - 1])
        return at_fail(l->err, AT_DEVICE, "the engine has no oil");
    scale(a, l, e->scratch);
    if (e->dependent && a->x.size[0] > 1) {
        int64_t last = at_rows(&a->x) - 1;
        at_set(&a->y, last, 0, at_get(&a->y, last, 0) * (1 + 1e-6));
    }
    return AT_OK;
}

static const at_variant planted_variants[] = {
    { "planted_library", AT_CPU, 0, AT_ROWS_WHEN_TRIED, NULL, prepare_library, count_engines, NULL,
      run_library },
    { "planted_own", AT_CPU, 0, AT_ROWS_INDEPENDENT, NULL, NULL, NULL, NULL, run_own },
    AT_REFERENCE("planted", run_own),
};
static const at_op planted = { "planted",
                               "a scaled copy",
                               sizeof(at_planted_args),
                               planted_operands,
                               (int)AT_COUNT(planted_operands),
                               planted_attrs,
                               (int)AT_COUNT(planted_attrs),
                               planted_shape,
                               NULL,
                               planted_variants,
                               (int)AT_COUNT(planted_variants) };

static at_planted_args args_of(int64_t batch)
{
    at_planted_args a = { .x = at_view_of(AT_F32, 3, (const int64_t[]){ batch, 3, 7 }),
                          .factor = FACTOR };
    at_error err;
    AT_ASSERT(at_op_shape(&planted, &a, 0, &err) == AT_OK, "%s", err.text);
    return a;
}

/* --- what the tests share --------------------------------------------------------------------- */

/* The cpu, with the workspace of a GPU where 'workspace' says so. */
static at_device *open_device(size_t workspace)
{
    static at_device_api api[2]; /* a device keeps the address of its own */
    at_device_api *own = &api[workspace != 0];
    at_device *d;
    at_error err;
    *own = at_device_cpu;
    own->workspace_bytes = workspace;
    at_status status = at_device_open_api(&d, own, &(at_device_options){ .threads = 1 }, &err);
    AT_ASSERT(status == AT_OK, "%s", err.text);
    return d;
}

/* Runs once, and says what is written in the table. */
static at_status told_time(void *context, at_bench *b, const at_bench_how *how, double seconds,
                           at_timing *out, at_error *err)
{
    int micros = SLOW_US;
    (void)context, (void)seconds;
    for (int i = 0; i < ENGINES; i++)
        if (!strcmp(engines[i].name, how->choice))
            micros = engines[i].micros;
    *out = (at_timing){ .seconds = micros * 1e-6, .seconds_min = micros * 1e-6, .runs = 1 };
    return at_bench_run(b, how, err);
}

static at_tuning *new_tuning(at_device *d)
{
    const at_tuning_settings settings = { .time = told_time };
    at_tuned_for machine;
    at_tuning *t;
    at_error err;
    assert_int_equal(at_tuned_for_device(d, &machine, &err), AT_OK);
    assert_int_equal(at_tuning_new(&t, &machine, &err), AT_OK);
    at_tuning_set(t, &settings);
    return t;
}

static at_trial *tried(at_tuning *t, at_device *d, int64_t batch, bool exact)
{
    at_planted_args a = args_of(batch);
    const at_tuning_call call = { &planted, &a, 0, exact };
    at_trial *trial = malloc(sizeof *trial);
    at_error err = { 0 };
    assert_non_null(trial);
    if (at_tuning_try(t, d, &call, trial, &err) != AT_OK)
        fail_msg("%s", err.text);
    return trial;
}

static const at_tried *of(const at_trial *trial, const char *choice)
{
    for (int i = 0; i < trial->n; i++)
        if (!strcmp(trial->list[i].choice, choice))
            return &trial->list[i];
    fail_msg("%s was not tried", choice);
    return NULL;
}

static const at_choice *known(at_tuning *t, int64_t batch, bool exact)
{
    char key[AT_TUNING_KEY_MAX];
    at_planted_args a = args_of(batch);
    const at_tuning_call call = { &planted, &a, 0, exact };
    assert_true(at_tuning_key(&call, key));
    return at_tuning_find(t, key);
}

static void store(at_tuning *t, int64_t batch, bool exact, const char *variant, const char *choice)
{
    char key[AT_TUNING_KEY_MAX];
    at_planted_args a = args_of(batch);
    const at_tuning_call call = { &planted, &a, 0, exact };
    at_choice c = { .seconds = 1e-3 };
    at_error err;
    snprintf(c.variant, sizeof c.variant, "%s", variant);
    snprintf(c.text, sizeof c.text, "%s", choice);
    assert_true(at_tuning_key(&call, key));
    assert_int_equal(at_tuning_put(t, key, &c, &err), AT_OK);
}

/* --- trying ----------------------------------------------------------------------------------- */

static void fast_takes_the_fastest(void **state)
{
    at_device *d = open_device(1 << 20);
    at_tuning *t = new_tuning(d);
    (void)state;
    at_trial *trial = tried(t, d, 8, false); /* e13 is not made for 8 samples */
    assert_int_equal(of(trial, "e11")->verdict, AT_VERDICT_KEPT);
    assert_int_equal(of(trial, "e15")->verdict, AT_VERDICT_FAILED);
    assert_non_null(strstr(of(trial, "e15")->why, "no oil"));
    assert_string_equal(trial->list[0].choice, "e10"); /* what an untuned plan takes */
    assert_string_equal(known(t, 8, false)->text, "e11");
    assert_string_equal(known(t, 8, false)->variant, "planted_library");
    assert_null(known(t, 8, true));
    free(trial);
    trial = tried(t, d, 2, false);
    assert_int_equal(of(trial, "e13")->verdict, AT_VERDICT_KEPT);
    assert_int_equal(at_tuning_count(t), 2);
    free(trial);
    at_tuning_free(t);
    at_device_close(d);
}

static void exact_drops_rows_that_depend_on_the_batch(void **state)
{
    at_device *d = open_device(1 << 20);
    at_tuning *t = new_tuning(d);
    (void)state;
    at_trial *trial = tried(t, d, 4, true);
    const at_tried *wrong = of(trial, "e11");
    assert_string_equal(trial->list[0].variant->name, "planted_own");
    assert_int_equal(wrong->verdict, AT_VERDICT_ROWS);
    assert_non_null(strstr(wrong->why, "in a batch of 4"));
    printf("dropped: %s: %s\n", wrong->choice, wrong->why);
    assert_true(wrong->seconds < of(trial, "e10")->seconds);
    assert_int_equal(of(trial, "e13")->verdict, AT_VERDICT_OTHER_BATCH);
    printf("dropped: e13: %s\n", of(trial, "e13")->why);
    assert_int_equal(of(trial, "e12")->verdict, AT_VERDICT_SCRATCH);
    assert_int_equal(of(trial, "e10")->verdict, AT_VERDICT_SLOWER);
    assert_int_equal(of(trial, "e14")->verdict, AT_VERDICT_KEPT); /* hopeless beside the dropped */
    assert_string_equal(known(t, 1, true)->text, "e14");          /* of every batch */
    free(trial);
    trial = tried(t, d, 1, true); /* seen although it was asked for one sample */
    assert_int_equal(of(trial, "e11")->verdict, AT_VERDICT_ROWS);
    free(trial);
    assert_int_equal(at_tuning_count(t), 1);
    at_tuning_free(t);
    at_device_close(d);
}

/* What would not be kept is looked at when it is asked for. */
static void every_candidate_can_be_checked(void **state)
{
    at_device *d = open_device(0);
    at_tuning *t = new_tuning(d);
    at_tuning_settings settings = { .time = told_time };
    (void)state;
    for (int all = 0; all < 2; all++) {
        settings.check_all = all;
        at_tuning_set(t, &settings);
        at_trial *trial = tried(t, d, 2, true); /* e12 is faster than e11, and right */
        bool dropped = of(trial, "e11")->verdict == AT_VERDICT_ROWS;
        assert_int_equal(of(trial, "e10")->verdict == AT_VERDICT_SLOWER ||
                             of(trial, "e10")->verdict == AT_VERDICT_HOPELESS,
                         true);
        assert_int_equal(of(trial, "e12")->verdict, AT_VERDICT_KEPT);
        assert_int_equal(dropped, all);
        free(trial);
    }
    at_tuning_free(t);
    at_device_close(d);
}

static void time_for_trying_has_an_end(void **state)
{
    at_device *d = open_device(0);
    at_tuning *t = new_tuning(d);
    const at_tuning_settings settings = { .time = told_time, .seconds_total = 1e-9 };
    (void)state;
    at_tuning_set(t, &settings);
    for (int64_t batch = 1; batch < 4; batch++) {
        at_planted_args a = args_of(batch);
        const at_tuning_call call = { &planted, &a, 0, false };
        at_error err;
        assert_int_equal(at_tuning_learn(t, d, &call, &err), AT_OK);
        assert_true(at_tuning_is_over(t));
    }
    assert_int_equal(at_tuning_count(t), 1);
    at_tuning_free(t);
    at_device_close(d);
}

/* --- keys ------------------------------------------------------------------------------------- */

static void key_of(const at_op *op, const void *args, uint32_t constants, bool exact,
                   char key[AT_TUNING_KEY_MAX])
{
    const at_tuning_call call = { op, args, constants, exact };
    assert_true(at_tuning_key(&call, key));
}

static void keys_tell_calls_apart(void **state)
{
    enum { KEYS = 9, W = 4, Z = 1 };
    static char keys[KEYS][AT_TUNING_KEY_MAX];
    _Alignas(16) unsigned char args[AT_ARGS_MAX];
    const at_op *linear = at_op_named("linear");
    const uint32_t w = 1u << at_operand_index(linear, "w"), z = 1u << at_operand_index(linear, "z");
    at_error err;
    int n = 0;
    (void)state;
    static const char *const texts[] = { "x=4,8,32 w=16,32 bias=16 act=gelu",
                                         "x=4,8,32 w=16,32 bias=16 act=relu",
                                         "x=4,8,32 w=16,32:bf16 bias=16 act=gelu",
                                         "x=2,8,32 w=16,32 bias=16 act=gelu" };
    for (size_t i = 0; i < AT_COUNT(texts); i++) {
        assert_int_equal(at_args_parse(linear, texts[i], AT_F32, args, &err), AT_OK);
        assert_int_equal(at_op_shape(linear, args, 0, &err), AT_OK);
        key_of(linear, args, 0, false, keys[n++]);
    }
    key_of(linear, args, w, false, keys[n++]);
    key_of(linear, args, 0, true, keys[n++]);
    at_operand_of(linear, args, at_operand_index(linear, "x"))->pitch = 96;
    key_of(linear, args, 0, false, keys[n++]);
    key_of(linear, args, 0, true, keys[n++]);
    assert_int_equal(at_op_shape(linear, args, z, &err), AT_OK);
    key_of(linear, args, 0, false, keys[n++]);
    assert_int_equal(n, KEYS);
    for (int i = 0; i < KEYS; i++)
        for (int k = 0; k < i; k++)
            assert_string_not_equal(keys[i], keys[k]);
    printf("%s\n", keys[KEYS - 1]);
}

static void exact_keys_leave_the_batch_out(void **state)
{
    char one[AT_TUNING_KEY_MAX], four[AT_TUNING_KEY_MAX];
    at_planted_args a = args_of(1), b = args_of(4);
    (void)state;
    key_of(&planted, &a, 0, true, one);
    key_of(&planted, &b, 0, true, four);
    assert_string_equal(one, four);
    key_of(&planted, &a, 0, false, one);
    key_of(&planted, &b, 0, false, four);
    assert_string_not_equal(one, four);
}

/* A gradient sums over its batch: it has no rows, and another batch is another call. */
static void what_has_no_rows_keeps_its_batch(void **state)
{
    char keys[2][AT_TUNING_KEY_MAX];
    const at_op *op = at_op_named("linear_wgrad");
    _Alignas(16) unsigned char args[AT_ARGS_MAX];
    at_error err;
    (void)state;
    for (int i = 0; i < 2; i++) {
        const char *text = i ? "dy=4,8,16 x=4,8,32" : "dy=2,8,16 x=2,8,32";
        assert_int_equal(at_args_parse(op, text, AT_F32, args, &err), AT_OK);
        assert_int_equal(at_op_shape(op, args, 0, &err), AT_OK);
        assert_false(at_rows_matter(op, args));
        key_of(op, args, 0, true, keys[i]);
    }
    assert_string_not_equal(keys[0], keys[1]);
}

/* --- plans ------------------------------------------------------------------------------------ */

enum { NODES = 3, ROW = 3 * 7, BATCH_MAX = 16 };

typedef struct model {
    at_params *params;
    at_graph *graph;
    at_plan *plan;
} model;

static model make(at_device *d, int64_t batch, const at_plan_options *options)
{
    model m = { at_params_new(d), at_graph_new(), NULL };
    at_error err = { 0 };
    at_tensor x = at_graph_input(m.graph, "x", AT_F32, 3, (const int64_t[]){ batch, 3, 7 });
    for (int i = 0; i < NODES; i++) {
        at_planted_args a = { .x = at_graph_view(m.graph, x), .factor = FACTOR };
        a.x.tag = x.id;
        at_graph_append(m.graph, &planted, &a, 0);
        x.id = a.y.tag;
    }
    at_graph_output(m.graph, x, "y");
    if (at_plan_new(&m.plan, d, m.params, m.graph, options, &err) != AT_OK)
        fail_msg("%s", err.text);
    return m;
}

static void run(model *m, const float *x, float *y)
{
    at_error err;
    assert_int_equal(at_plan_set(m->plan, at_graph_named(m->graph, "x"), x, &err), AT_OK);
    assert_int_equal(at_plan_run(m->plan, &err), AT_OK);
    assert_int_equal(at_plan_get(m->plan, at_graph_named(m->graph, "y"), y, &err), AT_OK);
}

static void unmake(model *m)
{
    at_plan_free(m->plan);
    at_graph_free(m->graph);
    at_params_free(m->params);
}

static void takes(const model *m, const char *variant, const char *choice)
{
    for (int i = 0; i < at_plan_nodes(m->plan); i++) {
        at_node_info node = at_plan_node(m->plan, i);
        assert_string_equal(node.variant->name, variant);
        assert_string_equal(node.choice, choice);
    }
}

static void untuned_plans_follow_the_list(void **state)
{
    at_device *d = open_device(0);
    at_tuning *t = new_tuning(d);
    (void)state;
    model fast = make(d, 4, NULL), exact = make(d, 4, &(at_plan_options){ .exact = true });
    model looks = make(d, 4, &(at_plan_options){ .tuning = t });
    takes(&fast, "planted_library", "e10");
    takes(&exact, "planted_own", "0"); /* never one that has yet to be tried */
    takes(&looks, "planted_library", "e10");
    assert_int_equal(at_tuning_counted(t).unknown, 1);
    assert_int_equal(at_tuning_counted(t).tried, 0);
    unmake(&fast);
    unmake(&exact);
    unmake(&looks);
    at_tuning_free(t);
    at_device_close(d);
}

static void what_cannot_be_prepared_gives_way(void **state)
{
    at_device *d = open_device(0);
    (void)state;
    model m = make(d, 65, NULL); /* no engine is made for as many */
    takes(&m, "planted_own", "0");
    unmake(&m);
    at_device_close(d);
}

static void exact_plans_are_tuned_for_every_batch_at_once(void **state)
{
    at_device *d = open_device(0);
    at_tuning *t = new_tuning(d);
    const at_plan_options options = { .exact = true, .tuning = t, .tune = true };
    float x[BATCH_MAX * ROW], all[BATCH_MAX * ROW], one[ROW];
    (void)state;
    for (int i = 0; i < BATCH_MAX * ROW; i++)
        x[i] = (float)((i * 37) % 101) / 50.0f - 1.0f;
    model single = make(d, 1, &options);
    int64_t trials = at_tuning_counted(t).tried;
    assert_true(trials > 0);
    model many = make(d, 4, &options);
    assert_int_equal(at_tuning_counted(t).tried, trials);
    takes(&single, "planted_library", "e12"); /* no workspace: scratch is no reason here */
    takes(&many, "planted_library", "e12");
    run(&many, x, all);
    for (int b = 0; b < 4; b++) {
        run(&single, x + b * ROW, one);
        assert_memory_equal(one, all + b * ROW, sizeof one);
    }
    unmake(&single);
    unmake(&many);
    at_tuning_free(t);
    at_device_close(d);
}

static void bytes_of_a_plan_do_not_depend_on_choices(void **state)
{
    static const char *const choices[] = { "e10", "e11", "e13" };
    at_device *d = open_device(1 << 20);
    at_tuning *t = new_tuning(d);
    const at_plan_options options = { .tuning = t };
    float x[4 * ROW], expected[4 * ROW], y[4 * ROW];
    (void)state;
    for (int i = 0; i < 4 * ROW; i++)
        x[i] = (float)i;
    model untuned = make(d, 4, NULL);
    at_plan_bytes bytes = at_plan_memory(untuned.plan);
    assert_int_equal(bytes.workspace, 1 << 20);
    run(&untuned, x, expected);
    for (size_t i = 0; i < AT_COUNT(choices); i++) {
        store(t, 4, false, "planted_library", choices[i]);
        model tuned = make(d, 4, &options);
        at_plan_bytes other = at_plan_memory(tuned.plan);
        takes(&tuned, "planted_library", choices[i]);
        assert_memory_equal(&bytes, &other, sizeof bytes);
        run(&tuned, x, y);
        assert_true(strcmp(choices[i], "e11") == 0 || memcmp(y, expected, sizeof y) == 0);
        unmake(&tuned);
    }
    unmake(&untuned);
    at_tuning_free(t);
    at_device_close(d);
}

/* --- choices that cannot be made -------------------------------------------------------------- */

typedef struct heard {
    int n;
    char why[256];
} heard;

static void hear(void *context, const char *key, const at_choice *c, const char *why)
{
    heard *h = context;
    assert_non_null(strstr(key, "planted"));
    assert_non_null(c);
    h->n++;
    snprintf(h->why, sizeof h->why, "%s", why);
}

static void choices_that_cannot_be_made_are_told_and_dropped(void **state)
{
    static const struct {
        const char *variant, *choice, *says;
    } wrong[] = {
        { "planted_library", "e99", "no engine e99" },
        { "planted_gone", "e10", "no variant 'planted_gone'" },
        { "planted_own", "7", "no candidate 7" },
        { "planted_library", "e12", "bytes of scratch" },
    };
    at_device *d = open_device(1 << 20);
    at_tuning *t = new_tuning(d);
    heard h = { 0 };
    const at_tuning_settings settings = { .unmet = hear, .context = &h };
    (void)state;
    at_tuning_set(t, &settings);
    for (size_t i = 0; i < 2 * AT_COUNT(wrong); i++) {
        bool exact = i % 2;
        const at_plan_options options = { .tuning = t, .exact = exact };
        store(t, 4, exact, wrong[i / 2].variant, wrong[i / 2].choice);
        model m = make(d, 4, &options);
        takes(&m, exact ? "planted_own" : "planted_library", exact ? "0" : "e10");
        assert_int_equal(h.n, i + 1);
        assert_non_null(strstr(h.why, wrong[i / 2].says));
        assert_int_equal(at_tuning_counted(t).unmet, i + 1);
        assert_int_equal(at_tuning_count(t), 0);
        unmake(&m);
    }
    at_tuning_free(t);
    at_device_close(d);
}

/* An exact choice is every batch's: one that it cannot be made for passes it over. */
static void a_choice_of_other_batches_stays(void **state)
{
    at_device *d = open_device(0);
    at_tuning *t = new_tuning(d);
    const at_plan_options options = { .tuning = t, .exact = true };
    (void)state;
    store(t, 1, true, "planted_library", "e13");
    model small = make(d, 6, &options), large = make(d, 7, &options);
    takes(&small, "planted_library", "e13");
    takes(&large, "planted_own", "0");
    assert_int_equal(at_tuning_counted(t).unmet, 1);
    assert_string_equal(known(t, 3, true)->text, "e13");
    unmake(&small);
    unmake(&large);
    at_tuning_free(t);
    at_device_close(d);
}

/* --- stored ----------------------------------------------------------------------------------- */

static void a_stored_tuning_is_found_again(void **state)
{
    char folder[] = "/tmp/atelier-tuning-XXXXXX", file[512];
    at_device *d = open_device(1 << 20);
    at_tuning *t = new_tuning(d), *again = new_tuning(d);
    at_error err = { 0 };
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/%s", folder, at_tuning_file(t));
    const at_plan_options first = { .tuning = t, .tune = true },
                          second = { .tuning = again, .tune = true };
    model a = make(d, 8, &first);
    takes(&a, "planted_library", "e11");
    assert_true(at_tuning_counted(t).tried > 0);
    assert_int_equal(at_tuning_save(t, folder, &err), AT_OK);
    assert_int_equal(at_tuning_load(again, folder, &err), AT_OK);
    model b = make(d, 8, &second);
    takes(&b, "planted_library", "e11");
    assert_int_equal(at_tuning_counted(again).tried, 0);
    assert_int_equal(at_tuning_counted(again).found, 1); /* nodes share their call */
    unmake(&a);
    unmake(&b);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(rmdir(folder), 0);
    at_tuning_free(t);
    at_tuning_free(again);
    at_device_close(d);
}

/* --- a real op -------------------------------------------------------------------------------- */

static void hopeless_runs_end_soon(void **state)
{
    at_device *d = open_device(0);
    at_planted_args a = args_of(2);
    at_bench *b;
    at_timing timing;
    at_error err;
    at_bench_how how = { .variant = &planted_variants[1] };
    (void)state;
    assert_int_equal(at_bench_new_args(&b, d, &planted, &a, &err), AT_OK);
    assert_int_equal(at_bench_time_as(b, &how, 0.001, &timing, &err), AT_OK);
    assert_true(timing.runs >= 3);
    how.hopeless = 1e-9;
    assert_int_equal(at_bench_time_as(b, &how, 0.001, &timing, &err), AT_OK);
    assert_int_equal(timing.runs, 1);
    how.choice = "1";
    assert_int_equal(at_bench_time_as(b, &how, 0.001, &timing, &err), AT_UNSUPPORTED);
    at_bench_free(b);
    at_device_close(d);
}

/* Own code and, where it is there, the library: whichever is faster, a sample's bytes are its
 * own. */
static void products_are_tuned(void **state)
{
    static const char *const texts[] = { "x=4,96,64 w=80,64 bias=80", "x=1,96,64 w=80,64 bias=80" };
    at_device *d = open_device(0);
    at_tuning *t = new_tuning(d);
    const at_op *op = at_op_named("linear");
    at_trial *trial = malloc(sizeof *trial);
    at_error err = { 0 };
    (void)state;
    at_tuning_set(t, &(at_tuning_settings){ .seconds_each = 0.004 });
    assert_non_null(trial);
    for (int i = 0; i < 4; i++) {
        _Alignas(16) unsigned char args[AT_ARGS_MAX];
        const at_tuning_call call = { op, args, at_bench_constants(op), i < 2 };
        const at_variant *v;
        at_prepared p;
        assert_int_equal(at_bench_describe(op, texts[i % 2], AT_F32, args, &err), AT_OK);
        int before = at_tuning_count(t);
        assert_int_equal(at_tuning_try(t, d, &call, trial, &err), AT_OK);
        for (int k = 0; k < trial->n; k++)
            printf("%s %s: %s %.1f us %s\n", call.exact ? "exact" : "fast",
                   trial->list[k].variant->name, trial->list[k].choice,
                   1e6 * trial->list[k].seconds, at_verdict_text(trial->list[k].verdict));
        if (trial->n < 2)
            continue;
        assert_int_equal(at_tuning_count(t), i == 1 ? before : before + 1);
        assert_int_equal(at_tuning_choose(t, d, &call, &v, &p, &err), AT_OK);
        assert_ptr_equal(v, trial->list[trial->kept].variant);
        at_release(v, &p);
    }
    free(trial);
    at_tuning_free(t);
    at_device_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fast_takes_the_fastest),
        cmocka_unit_test(exact_drops_rows_that_depend_on_the_batch),
        cmocka_unit_test(every_candidate_can_be_checked),
        cmocka_unit_test(time_for_trying_has_an_end),
        cmocka_unit_test(keys_tell_calls_apart),
        cmocka_unit_test(exact_keys_leave_the_batch_out),
        cmocka_unit_test(what_has_no_rows_keeps_its_batch),
        cmocka_unit_test(untuned_plans_follow_the_list),
        cmocka_unit_test(what_cannot_be_prepared_gives_way),
        cmocka_unit_test(exact_plans_are_tuned_for_every_batch_at_once),
        cmocka_unit_test(bytes_of_a_plan_do_not_depend_on_choices),
        cmocka_unit_test(choices_that_cannot_be_made_are_told_and_dropped),
        cmocka_unit_test(a_choice_of_other_batches_stays),
        cmocka_unit_test(a_stored_tuning_is_found_again),
        cmocka_unit_test(hopeless_runs_end_soon),
        cmocka_unit_test(products_are_tuned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
