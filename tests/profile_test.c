/* profile_test.c -- what a profiled plan tells: a table that adds up, a trace that a JSON reader
 * takes, peaks that make sense. */
#include "tests/unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/build.h"
#include "engine/machine.h"
#include "engine/profile.h"

/* A plan of three nodes, two of them of one variant. */
typedef struct fixture {
    at_device *device;
    at_params *params;
    at_graph *graph;
    at_plan *plan;
} fixture;

static int open_fixture(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    at_error err;
    AT_ASSERT(f, "no memory");
    const at_device_options options = { .threads = 1 };
    AT_ASSERT(at_device_open(&f->device, "cpu", &options, &err) == AT_OK, "%s", err.text);
    f->params = at_params_new(f->device);
    f->graph = at_graph_new();
    at_tensor x = at_graph_input(f->graph, "x", AT_F32, 3, (int64_t[]){ 2, 64, 64 });
    at_graph_scope(f->graph, "down.\"%d\"\\", 0);
    at_tensor y = at_unary(f->graph, x, AT_SILU);
    at_graph_scope(f->graph, "up");
    y = at_unary(f->graph, y, AT_GELU);
    at_graph_scope(f->graph, "%s", "");
    y = at_add(f->graph, y, x);
    at_graph_output(f->graph, y, "y");
    AT_ASSERT(at_plan_new(&f->plan, f->device, f->params, f->graph, NULL, &err) == AT_OK, "%s",
              err.text);
    static const float zeros[2 * 64 * 64];
    AT_ASSERT(at_plan_set(f->plan, x, zeros, &err) == AT_OK, "%s", err.text);
    AT_ASSERT(at_plan_profile(f->plan, &err) == AT_OK, "%s", err.text);
    *state = f;
    return 0;
}

static int close_fixture(void **state)
{
    fixture *f = *state;
    at_plan_free(f->plan);
    at_graph_free(f->graph);
    at_params_free(f->params);
    at_device_close(f->device);
    free(f);
    return 0;
}

/* A machine of round numbers: 1 GFLOP/s, 1 GB/s at any size. */
static at_machine slow_machine(void)
{
    return (
        at_machine){ .f32_flops = 1e9, .bandwidth = { { 1, 1e9, 1e9, 1e9 } }, .n_bandwidth = 1 };
}

typedef struct printed {
    char *text;
    size_t size;
    FILE *out;
} printed;

static void print_to(printed *p)
{
    *p = (printed){ NULL, 0, NULL };
    p->out = open_memstream(&p->text, &p->size);
    assert_non_null(p->out);
}

/* --- the table -------------------------------------------------------------------------------- */

static int count_of(const char *text, const char *word)
{
    int n = 0;
    for (const char *p = text; (p = strstr(p, word)); p += strlen(word))
        n++;
    return n;
}

static void table_merges_variants(void **state)
{
    fixture *f = *state;
    printed p;
    at_error err;
    at_machine machine = slow_machine();
    print_to(&p);
    assert_int_equal(at_profile_table(f->plan, &machine, AT_PROFILE_VARIANTS, p.out, &err), AT_OK);
    fclose(p.out);
    const char *unary = at_plan_node(f->plan, 0).variant->name;
    assert_int_equal(count_of(p.text, "\n"), 4); /* head, two variants, sum */
    assert_int_equal(count_of(p.text, unary), 1);
    char name[64];
    int count;
    assert_int_equal(sscanf(strstr(p.text, unary), "%63s %d", name, &count), 2);
    assert_int_equal(count, 2);
    assert_int_equal(sscanf(strstr(p.text, "\nall"), " all %d", &count), 1);
    assert_int_equal(count, 3);
    free(p.text);
}

static void table_lists_nodes(void **state)
{
    fixture *f = *state;
    printed p;
    at_error err;
    print_to(&p);
    assert_int_equal(at_profile_table(f->plan, NULL, AT_PROFILE_NODES, p.out, &err), AT_OK);
    fclose(p.out);
    assert_int_equal(count_of(p.text, "\n"), 5);
    assert_non_null(strstr(p.text, "\nup "));
    assert_int_equal(count_of(p.text, at_plan_node(f->plan, 0).variant->name), 2);
    free(p.text);
}

static void shares_add_up(void **state)
{
    fixture *f = *state;
    printed p;
    at_error err;
    double sum = 0;
    print_to(&p);
    assert_int_equal(at_profile_table(f->plan, NULL, AT_PROFILE_NODES, p.out, &err), AT_OK);
    fclose(p.out);
    const char *line = p.text;
    for (int i = 0; i < 3; i++) {
        double share;
        line = strchr(line, '\n') + 1;
        const char *percent = strchr(line, '%'); /* the share stands before it, and a blank */
        assert_non_null(percent);
        const char *start = percent - 1;
        while (start > line && start[-1] != ' ')
            start--;
        assert_int_equal(sscanf(start, "%lf", &share), 1);
        sum += share;
    }
    assert_true(fabs(sum - 100) < 0.5);
    free(p.text);
}

/* --- the trace -------------------------------------------------------------------------------- */

/* Walks over one JSON value; NULL when it is none. Enough of a reader to know that others will read
 * it. */
static const char *skip_value(const char *p);

static const char *skip_blank(const char *p)
{
    return p + strspn(p, " \n\t\r");
}

static const char *skip_string(const char *p)
{
    for (p++; *p && *p != '"'; p++) {
        if ((unsigned char)*p < 0x20)
            return NULL;
        if (*p == '\\' && !*++p)
            return NULL;
    }
    return *p ? p + 1 : NULL;
}

static const char *skip_members(const char *p, char end)
{
    p = skip_blank(p + 1);
    if (*p == end)
        return p + 1;
    for (;;) {
        if (end == '}') {
            p = *p == '"' ? skip_string(p) : NULL;
            p = p ? skip_blank(p) : NULL;
            if (!p || *p++ != ':')
                return NULL;
        }
        p = skip_value(p);
        p = p ? skip_blank(p) : NULL;
        if (!p || (*p != ',' && *p != end))
            return NULL;
        if (*p++ == end)
            return p;
        p = skip_blank(p);
    }
}

static const char *skip_value(const char *p)
{
    char *end;
    p = skip_blank(p);
    if (*p == '{')
        return skip_members(p, '}');
    if (*p == '[')
        return skip_members(p, ']');
    if (*p == '"')
        return skip_string(p);
    if (*p != '-' && (*p < '0' || *p > '9'))
        return NULL;
    strtod(p, &end);
    return end;
}

static void trace_is_json(void **state)
{
    fixture *f = *state;
    printed p;
    at_error err;
    at_machine machine = slow_machine();
    print_to(&p);
    assert_int_equal(at_profile_trace(f->plan, &machine, p.out, &err), AT_OK);
    fclose(p.out);
    const char *end = skip_value(p.text);
    assert_non_null(end);
    assert_string_equal(skip_blank(end), "");
    assert_int_equal(count_of(p.text, "\"ph\":\"X\""), 3);
    assert_int_equal(count_of(p.text, "\"name\":\"unary\""), 2);
    assert_non_null(strstr(p.text, "\"cat\":\"down.\\\"0\\\"\\\\\""));
    assert_non_null(strstr(p.text, "\"cat\":\"graph\""));
    assert_non_null(strstr(p.text, "\"args\":\"x=2,64,64:f32 kind=gelu\""));
    assert_int_equal(count_of(p.text, "\"flops_per_s\":"), 3);
    assert_int_equal(count_of(p.text, "\"roofline_share\":"), 3);
    free(p.text);
}

static void events_follow_each_other(void **state)
{
    fixture *f = *state;
    printed p;
    at_error err;
    double end = 0;
    print_to(&p);
    assert_int_equal(at_profile_trace(f->plan, NULL, p.out, &err), AT_OK);
    fclose(p.out);
    for (const char *event = p.text; (event = strstr(event, "\"ts\":")); event++) {
        double ts, dur;
        assert_int_equal(sscanf(event, "\"ts\":%lf,\"dur\":%lf", &ts, &dur), 2);
        assert_true(dur > 0 && ts >= end - 0.01);
        end = ts + dur;
    }
    free(p.text);
}

static void unwritable_output_is_said(void **state)
{
    fixture *f = *state;
    at_error err = { 0 };
    FILE *full = fopen("/dev/full", "w");
    if (!full) {
        print_message("SKIP unwritable_output_is_said: there is no /dev/full\n");
        return;
    }
    assert_int_equal(at_profile_trace(f->plan, NULL, full, &err), AT_IO);
    assert_non_null(strstr(err.text, "written"));
    fclose(full);
}

/* --- peaks ------------------------------------------------------------------------------------ */

static void roofline_is_the_larger_bound(void **state)
{
    at_machine m = slow_machine();
    (void)state;
    m.bf16_flops = 4e9;
    assert_true(fabs(at_machine_roofline(&m, (at_cost){ 2e9, 1e9 }, AT_F32) - 2) < 1e-9);
    assert_true(fabs(at_machine_roofline(&m, (at_cost){ 2e9, 1e9 }, AT_BF16) - 1) < 1e-9);
    assert_true(fabs(at_machine_roofline(&m, (at_cost){ 1, 3e9 }, AT_F32) - 3) < 1e-9);
    m.n_bandwidth = 0;
    assert_true(at_machine_roofline(&m, (at_cost){ 0, 3e9 }, AT_F32) == 0);
}

static void bandwidth_follows_the_working_set(void **state)
{
    at_machine m = { .bandwidth = { { 1 << 20, 80e9, 90e9, 70e9 }, { 1 << 24, 10e9, 20e9, 30e9 } },
                     .n_bandwidth = 2 };
    (void)state;
    assert_true(at_machine_bandwidth(&m, 1000) == 90e9);
    assert_true(fabs(at_machine_bandwidth(&m, 1 << 22) - 60e9) < 1); /* half way, in doublings */
    assert_true(at_machine_bandwidth(&m, 1e12) == 30e9);
}

static void machine_measures_itself(void **state)
{
    fixture *f = *state;
    at_machine m;
    at_error err;
    assert_int_equal(at_machine_measure(f->device, 1, &m, &err), AT_OK);
    assert_true(strlen(m.name) > 0 && m.cores >= 1 && m.threads == 1 && m.memory_bytes > 0);
    if (m.n_bandwidth == 0) {
        print_message("SKIP machine_measures_itself: no loops for this processor\n");
        return;
    }
    assert_int_equal(m.n_bandwidth, 1);
    assert_true(m.f32_flops > 1e8 && m.f32_flops < 1e13);
    assert_true(m.bandwidth[0].copy > 1e7 && m.bandwidth[0].read > 1e7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_merges_variants),
        cmocka_unit_test(table_lists_nodes),
        cmocka_unit_test(shares_add_up),
        cmocka_unit_test(trace_is_json),
        cmocka_unit_test(events_follow_each_other),
        cmocka_unit_test(unwritable_output_is_said),
        cmocka_unit_test(roofline_is_the_larger_bound),
        cmocka_unit_test(bandwidth_follows_the_working_set),
        cmocka_unit_test(machine_measures_itself),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
