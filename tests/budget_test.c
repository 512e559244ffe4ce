/* budget_test.c -- what graphs are expected to cost: the arithmetic of budgets by hand on small
 * graphs, SDXL's against the goals, results beside it, and a GPU that is only planned for. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/budget.h"
#include "engine/build.h"
#include "engine/device_paper.h"
#include "engine/plan.h"
#include "models/sdxl_unet.h"
#include "models/sdxl_vae.h"
#include "tests/told.h"
#include "tests/unit.h"

static const at_tensor none = { 0 };

/* A store on a GPU that is not here. */
typedef struct bed {
    at_gpu gpu;
    at_device *device;
    at_params *store;
    at_graph *graph;
} bed;

static bed open_bed(const char *name)
{
    bed b = { .graph = at_graph_new() };
    at_error err = { 0 };
    AT_ASSERT(at_gpu_named(name, &b.gpu), "there is no GPU '%s'", name);
    const at_caps caps = at_paper_caps(&b.gpu);
    test_must(at_device_open_paper(&b.device, name, &caps,
                                   (size_t)b.gpu.figures[AT_FIGURE_MEMORY].value, &err),
              &err);
    b.store = at_params_new(b.device);
    return b;
}

static void close_bed(bed *b)
{
    at_graph_free(b->graph);
    at_params_free(b->store);
    at_device_close(b->device);
}

static at_tensor weight(bed *b, const char *name, int64_t n, int64_t k)
{
    const int64_t size[] = { n, k };
    at_error err = { 0 };
    at_param *p = at_params_add(b->store, name, AT_BF16, 2, size, &err);
    AT_ASSERT(p, "%s", err.text);
    return at_graph_param(b->graph, p);
}

static at_tensor input(bed *b, const char *name, int64_t rows, int64_t cols)
{
    return at_graph_input(b->graph, name, AT_BF16, 2, (const int64_t[]){ rows, cols });
}

static at_budget *budget(bed *b, const at_budget_options *options)
{
    at_budget *made;
    at_error err = { 0 };
    test_must(at_budget_new(&made, &b->gpu, b->graph, options, &err), &err);
    return made;
}

static void near(const char *what, double found, double expected)
{
    if (!(fabs(found - expected) <= 1e-9 * fabs(expected)))
        fail_msg("%s: %.12g, expected %.12g", what, found, expected);
}

/* --- figures ---------------------------------------------------------------------------------- */

static void figures_say_where_they_come_from(void **state)
{
    at_gpu gpu;
    char names[64];
    int n = 0;
    (void)state;
    for (; at_gpu_at(n, &gpu); n++)
        for (int k = 0; k < AT_FIGURE_KINDS; k++) {
            const at_figure *f = &gpu.figures[k];
            assert_true(f->value > 0 || (k == AT_FIGURE_F8 && gpu.sm < 89) ||
                        (k == AT_FIGURE_LAUNCH_EARLY && gpu.sm < 90));
            assert_true(f->value <= 0 || (f->how && *f->how && f->origin != AT_GOAL));
        }
    assert_true(n >= 2);
    assert_true(at_gpu_named("h200", &gpu) && gpu.sm == 90);
    near("H200, copying", gpu.figures[AT_FIGURE_COPY].value, 4.3e12);
    near("H200, bf16", gpu.figures[AT_FIGURE_BF16].value, 790e12);
    assert_true(at_gpu_named("h100", &gpu));
    near("H100, copying", gpu.figures[AT_FIGURE_COPY].value, 3.0e12);
    assert_false(at_gpu_named("h300", &gpu));
    at_gpu_names(names, sizeof names);
    assert_string_equal(names, "h200, h100 or a100");
}

/* The goals are in the table: 82 % and 70 % of the peak, 450 and 950 TFLOP/s, 85 % of the
 * copy. */
static void shares_are_the_goals(void **state)
{
    at_gpu gpu;
    (void)state;
    assert_true(at_gpu_named("h200", &gpu));
    const double bf16 = gpu.figures[AT_FIGURE_BF16].value, f8 = gpu.figures[AT_FIGURE_F8].value;
    const struct {
        at_work work;
        double elements, share;
    } goals[] = {
        { AT_WORK_PRODUCT, 16 * 1024 * 1280, 0.82 },
        { AT_WORK_PRODUCT, 2 * 4096 * 1920, 0.70 },
        { AT_WORK_PRODUCT_GEGLU, 16 * 1024 * 5120, 0.82 },
        { AT_WORK_PRODUCT_GEGLU, 2 * 4096 * 2560, 0.70 },
        { AT_WORK_CONV, 16 * 1024 * 1280, 0.82 },
        { AT_WORK_CONV, 2 * 16384 * 320, 0.70 },
        { AT_WORK_ATTENTION, 2 * 1024 * 1280, 450e12 / bf16 },
        { AT_WORK_PRODUCT_F8, 16 * 1024 * 1280, 950e12 / f8 },
        { AT_WORK_PRODUCT_GEGLU_F8, 16 * 1024 * 5120, 950e12 / f8 },
    };
    for (size_t i = 0; i < AT_COUNT(goals); i++) {
        const at_share s = at_share_of(goals[i].work, goals[i].elements);
        if (fabs(s.arithmetic - goals[i].share) > 0.001 || s.origin != AT_GOAL)
            fail_msg("%s: %.3f of the peak (%s), expected the goal %.3f",
                     at_work_name(goals[i].work), s.arithmetic, at_origin_name(s.origin),
                     goals[i].share);
    }
    near("norms", at_share_of(AT_WORK_NORM, 16 * 1024 * 1280).bandwidth, 0.85);
}

/* --- by hand ---------------------------------------------------------------------------------- */

static void a_product_by_hand(void **state)
{
    bed b = open_bed("h200");
    at_tensor x = input(&b, "x", 4096, 8192), w = weight(&b, "w", 8192, 8192);
    (void)state;
    at_graph_scope(b.graph, "one.of");
    at_tensor y = at_linear(b.graph, x, w, none, none, AT_ACT_NONE);
    at_graph_output(b.graph, y, "y");
    at_budget *made = budget(&b, NULL);
    const at_budget_line *all = at_budget_all(made);
    const double flops = 2.0 * 4096 * 8192 * 8192, bytes = 2.0 * (2.0 * 4096 * 8192 + 8192 * 8192);
    near("flops", all->flops, flops);
    near("bytes", all->bytes, bytes);
    near("seconds", all->seconds, flops / (790e12 * 0.82) + 1.5e-6);
    near("launches", all->launch_seconds, 1.5e-6);
    near("bound by arithmetic", all->by_bound[AT_BOUND_ARITHMETIC], all->seconds);
    assert_int_equal(all->calls, 1);
    assert_string_equal(at_budget_line_at(made, AT_BY_PART, 0)->name, "one");
    at_budget_free(made);
    made = budget(&b, &(at_budget_options){ .effort = 1.1 });
    near("with effort", at_budget_all(made)->seconds, flops / (790e12 * 0.82 * 1.1) + 1.5e-6);
    at_budget_free(made);
    close_bed(&b);
}

/* Intermediates come from the cache if all of a call's fit; what is given from outside never. */
static void bytes_by_hand(void **state)
{
    enum { SMALL = 1024, LARGE = 65536, COLS = 1024 };
    (void)state;
    for (int64_t rows = SMALL; rows <= LARGE; rows += LARGE - SMALL) {
        bed b = open_bed("h200");
        at_tensor h = at_unary(b.graph, input(&b, "x", rows, COLS), AT_SILU);
        h = at_unary(b.graph, h, AT_GELU);
        at_graph_output(b.graph, at_unary(b.graph, h, AT_TANH), "y");
        at_budget *made = budget(&b, NULL);
        const at_budget_line *all = at_budget_all(made);
        const double one = 2.0 * (double)rows * COLS, share = rows == SMALL ? 0.60 : 0.85;
        const double cached = rows == SMALL ? 4 * one : 0, memory = 6 * one - cached;
        near("bytes", all->bytes, 6 * one);
        near("of them cached", all->cached, cached);
        near("seconds", all->seconds - all->launch_seconds,
             (memory / 4.3e12 + cached / 5.5e12) / share);
        at_budget_free(made);
        close_bed(&b);
    }
}

/* Where f8 has no tensor cores, a graph of it has no price. */
static void f8_needs_a_chip_for_it(void **state)
{
    static const char *const names[] = { "h200", "a100" };
    (void)state;
    for (size_t i = 0; i < AT_COUNT(names); i++) {
        bed b = open_bed(names[i]);
        at_budget *made = NULL;
        at_error err = { 0 };
        const int64_t size[] = { 1024, 1024 }, one = 1;
        at_linear_args args = {
            .x = at_graph_view(b.graph, at_graph_input(b.graph, "x", AT_F8, 2, size)),
            .w = at_graph_view(b.graph, at_graph_input(b.graph, "w", AT_F8, 2, size)),
            .x_scale = at_graph_view(b.graph, at_graph_input(b.graph, "s", AT_F32, 1, &one)),
            .y_dtype = 2, /* bf16 */
        };
        args.w_scale = args.x_scale;
        at_graph_append(b.graph, &at_op_linear, &args, 0);
        at_status status = at_budget_new(&made, &b.gpu, b.graph, NULL, &err);
        if (!strcmp(names[i], "h200")) {
            test_must(status, &err);
            assert_int_equal(at_budget_line_at(made, AT_BY_WORK, 0)->work, AT_WORK_PRODUCT_F8);
        } else {
            assert_int_equal(status, AT_UNSUPPORTED);
            assert_true(strstr(err.text, "f8") && strstr(err.text, "A100") && !made);
        }
        at_budget_free(made);
        close_bed(&b);
    }
}

/* --- SDXL ------------------------------------------------------------------------------------- */

static at_budget *unet_budget(bed *b, int64_t rows, at_dtype dtype)
{
    at_sdxl_unet *m;
    at_error err = { 0 };
    test_must(at_sdxl_unet_new(&m, b->store, &at_sdxl_unet_base, dtype, &err), &err);
    at_sdxl_unet_describe_step(m, b->graph, (at_sdxl_unet_size){ rows, 128, 128, 77 });
    at_sdxl_unet_free(m);
    return budget(b, NULL);
}

/* Every line's numbers add up to the whole's, whichever way the calls are put together. */
static void lines_add_up(void **state)
{
    bed b = open_bed("h200");
    at_budget *made = unet_budget(&b, 2, AT_BF16);
    const at_budget_line *all = at_budget_all(made);
    (void)state;
    for (int by = 0; by < AT_BYS; by++) {
        at_budget_line sum = { .calls = 0 };
        double before = INFINITY;
        for (int i = 0; i < at_budget_lines(made, (at_budget_by)by); i++) {
            const at_budget_line *l = at_budget_line_at(made, (at_budget_by)by, i);
            char advice[256];
            sum.calls += l->calls;
            sum.launches += l->launches;
            sum.seconds += l->seconds;
            sum.flops += l->flops;
            sum.bytes += l->bytes;
            assert_true(by == AT_BY_PART || l->seconds <= before);
            before = l->seconds;
            near("bounds", l->by_bound[0] + l->by_bound[1] + l->by_bound[2], l->seconds);
            at_budget_advice(made, l, advice, sizeof advice);
            assert_true(strlen(advice) > 20 && strlen(advice) + 1 < sizeof advice);
        }
        assert_int_equal(sum.calls, all->calls);
        assert_int_equal(sum.launches, all->launches);
        near("seconds", sum.seconds, all->seconds);
        near("flops", sum.flops, all->flops);
        near("bytes", sum.bytes, all->bytes);
    }
    assert_string_equal(at_budget_line_at(made, AT_BY_PART, 2)->name, "down");
    at_budget_free(made);
    close_bed(&b);
}

/* Products and 3x3 convolutions alone, at the goals' shares: a lower bound that the whole step must
 * keep, and not by much. */
static void a_step_is_its_products_and_a_little(void **state)
{
    const struct {
        int64_t rows;
        double share, most;
    } cases[] = { { 2, 0.70, 1.35 }, { 16, 0.82, 1.30 } };
    (void)state;
    for (size_t i = 0; i < AT_COUNT(cases); i++) {
        bed b = open_bed("h200");
        at_budget *made = unet_budget(&b, cases[i].rows, AT_BF16);
        const double products = (2.151e12 + 0.778e12) * 2 * (double)cases[i].rows;
        const double floor = products / (790e12 * cases[i].share);
        printf("UNet, %d rows: %.1f ms, products %.1f\n", (int)cases[i].rows,
               at_budget_all(made)->seconds * 1e3, floor * 1e3);
        assert_true(at_budget_all(made)->seconds > floor);
        assert_true(at_budget_all(made)->seconds < cases[i].most * floor);
        at_budget_free(made);
        close_bed(&b);
    }
}

/* That a step of one picture adds at most 5 % to its kernels takes early launches: those of norms,
 * products with geglu, products of few rows and moves. */
static void early_launches_save_half_a_microsecond(void **state)
{
    double wall[2], seconds[2];
    (void)state;
    for (int early = 0; early < 2; early++) {
        bed b = open_bed("h200");
        if (!early)
            b.gpu.figures[AT_FIGURE_LAUNCH_EARLY].value = 0;
        at_budget *made = unet_budget(&b, 2, AT_BF16);
        const at_budget_line *all = at_budget_all(made);
        seconds[early] = all->seconds;
        wall[early] = all->seconds / (all->seconds - all->launch_seconds);
        at_budget_free(made);
        close_bed(&b);
    }
    printf("UNet, 2 rows: %.4f of its kernels' time, %.4f without early launches\n", wall[1],
           wall[0]);
    near("plain - early", seconds[0] - seconds[1], (70 + 229 + 3 * 27 + 3 + 3) * 0.5e-6);
    assert_true(wall[1] <= 1.05 && wall[0] > 1.05);
}

/* --- measured --------------------------------------------------------------------------------- */

static const char results[] =
    "{\"cpu\": \"x\", \"results\": ["
    "{\"op\": \"conv2d\", \"where\": \"\", \"shape\": \"x=2,64,64,640 w=640,640,3,3 bias=640 "
    "residual=2,64,64,640 pad=1,1,1,1\", \"dtype\": \"bf16\", \"variant\": \"v\", \"us\": 100.5},"
    "{\"op\": \"conv2d\", \"shape\": \"x=2,64,64,640 w=640,640,3,3 bias=640 "
    "residual=2,64,64,640 pad=1,1,1,1\", \"dtype\": \"bf16\", \"us\": 120},"
    "{\"op\": \"conv2d\", \"shape\": \"x=2,64,64,640 w=640,640,3,3 bias=640 "
    "residual=2,64,64,640 pad=1,1,1,1\", \"dtype\": \"f32\", \"us\": 1},"
    "{\"op\": \"another\", \"shape\": \"x=1\", \"dtype\": \"bf16\", \"us\": 1},"
    "{\"op\": \"linear\", \"shape\": \"nonsense\", \"dtype\": \"bf16\", \"us\": 1}]}";

static void measured_calls_stand_beside(void **state)
{
    bed b = open_bed("h200");
    at_budget *made = unet_budget(&b, 2, AT_BF16);
    at_error err = { 0 };
    int found = 0;
    (void)state;
    test_must(at_budget_measured(made, results, sizeof results - 1, &found, &err), &err);
    assert_int_equal(found, 5); /* the second of each resnet, two going down and three going up */
    const at_budget_line *all = at_budget_all(made);
    assert_int_equal(all->measured_calls, 5);
    near("measured", all->measured_seconds, 5 * 100.5e-6);
    assert_true(all->measured_expected > 0 && all->measured_expected < all->seconds);
    at_budget_free(made);
    close_bed(&b);
}

static void damaged_results_are_refused(void **state)
{
    static const char *const wrong[] = { "",
                                         "[]",
                                         "{\"results\": 5}",
                                         "{\"results\": [5]}",
                                         "{\"results\": [{\"op\": 5}]}",
                                         "{}",
                                         "{\"results\": [" };
    bed b = open_bed("h200");
    at_budget *made = unet_budget(&b, 2, AT_BF16);
    (void)state;
    for (size_t i = 0; i < AT_COUNT(wrong); i++) {
        at_error err = { 0 };
        int found = -1;
        assert_int_not_equal(at_budget_measured(made, wrong[i], strlen(wrong[i]), &found, &err),
                             AT_OK);
        assert_true(*err.text && found == 0);
    }
    at_budget_free(made);
    close_bed(&b);
}

/* --- a device on paper ------------------------------------------------------------------------ */

static void paper_plans_and_does_not_run(void **state)
{
    bed b = open_bed("h200");
    at_error err = { 0 };
    at_plan *plan;
    (void)state;
    at_tensor w = weight(&b, "w", 256, 128);
    at_tensor y = at_linear(b.graph, input(&b, "x", 64, 128), w, none, none, AT_ACT_NONE);
    at_graph_output(b.graph, y, "y");
    at_status status = at_plan_new(&plan, b.device, b.store, b.graph, NULL, &err);
    if (!at_variants_for(AT_CUDA)) {
        assert_int_equal(status, AT_UNSUPPORTED);
        assert_true(strstr(err.text, "h200: linear: the device has no variant"));
        close_bed(&b);
        return;
    }
    test_must(status, &err);
    const at_plan_bytes bytes = at_plan_memory(plan);
    assert_int_equal(bytes.weights, 256 * 128 * 2);
    assert_int_equal(bytes.in_out, 64 * 128 * 2 + 64 * 256 * 2);
    assert_int_equal(at_plan_run(plan, &err), AT_NO_MEMORY);
    assert_true(strstr(err.text, "h200"));
    assert_int_equal(at_device_check(b.device, &err), AT_OK);
    at_param_upload(b.store, at_params_at(b.store, 0), results);
    assert_int_equal(at_device_check(b.device, &err), AT_UNSUPPORTED);
    assert_true(strstr(err.text, "only planned for"));
    at_plan_free(plan);
    close_bed(&b);
}

static void paper_has_so_much_memory(void **state)
{
    bed b = open_bed("h100");
    at_error err = { 0 };
    const int64_t half[] = { 45, 1000000000 };
    (void)state;
    assert_non_null(at_params_add(b.store, "a", AT_U8, 2, half, &err));
    assert_null(at_params_add(b.store, "b", AT_U8, 2, half, &err));
    assert_true(strstr(err.text, "no memory for parameter b"));
    close_bed(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_say_where_they_come_from),
        cmocka_unit_test(shares_are_the_goals),
        cmocka_unit_test(a_product_by_hand),
        cmocka_unit_test(bytes_by_hand),
        cmocka_unit_test(f8_needs_a_chip_for_it),
        cmocka_unit_test(lines_add_up),
        cmocka_unit_test(a_step_is_its_products_and_a_little),
        cmocka_unit_test(early_launches_save_half_a_microsecond),
        cmocka_unit_test(measured_calls_stand_beside),
        cmocka_unit_test(damaged_results_are_refused),
        cmocka_unit_test(paper_plans_and_does_not_run),
        cmocka_unit_test(paper_has_so_much_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
