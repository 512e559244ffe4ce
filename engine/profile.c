#include "engine/profile.h"

#include <stdlib.h>
#include <string.h>

typedef struct row {
    const at_variant *variant;
    const char *scope, *op;
    at_cost cost;
    double seconds, roofline;
    int count;
} row;

static row row_of(const at_plan *plan, const at_machine *machine, int i)
{
    at_node_info n = at_plan_node(plan, i);
    at_dtype dtype = at_machine_dtype_of(n.op, n.args);
    return (row){
        .variant = n.variant,
        .scope = n.scope ? n.scope : "",
        .op = n.op->name,
        .cost = n.cost,
        .seconds = n.seconds,
        .roofline = machine ? at_machine_roofline(machine, n.cost, dtype) : 0,
        .count = 1,
    };
}

static double rate(double amount, double seconds)
{
    return seconds > 0 ? amount / seconds : 0;
}

static at_status written(FILE *out, at_error *err)
{
    return fflush(out) == 0 && !ferror(out) ? AT_OK
                                            : at_fail(err, AT_IO, "the profile cannot be written");
}

/* --- the table -------------------------------------------------------------------------------- */

static void add(row *sum, const row *r)
{
    sum->cost.flops += r->cost.flops;
    sum->cost.bytes += r->cost.bytes;
    sum->seconds += r->seconds;
    sum->roofline += r->roofline;
    sum->count += r->count;
}

static int slowest_first(const void *a, const void *b)
{
    const row *x = a, *y = b;
    if (x->seconds != y->seconds)
        return x->seconds < y->seconds ? 1 : -1;
    return strcmp(x->variant->name, y->variant->name);
}

/* One row for each variant; returns how many. */
static int merge(row *rows, int n)
{
    int merged = 0;
    for (int i = 0; i < n; i++) {
        int k = 0;
        while (k < merged && rows[k].variant != rows[i].variant)
            k++;
        if (k < merged)
            add(&rows[k], &rows[i]);
        else
            rows[merged++] = rows[i];
    }
    qsort(rows, (size_t)merged, sizeof *rows, slowest_first);
    return merged;
}

static void print_numbers(FILE *out, const row *r, double total)
{
    fprintf(out, "%6d %10.3f %6.1f %% %9.1f %8.2f", r->count, r->seconds * 1e3,
            100 * rate(r->seconds, total), rate(r->cost.flops, r->seconds) / 1e9,
            rate(r->cost.bytes, r->seconds) / 1e9);
    if (r->roofline > 0)
        fprintf(out, " %7.1f %%\n", 100 * rate(r->roofline, r->seconds));
    else
        fprintf(out, " %9s\n", "-");
}

static void print_table(FILE *out, const row *rows, int n, at_profile_rows kind)
{
    row total = { 0 };
    for (int i = 0; i < n; i++)
        add(&total, &rows[i]);
    if (kind == AT_PROFILE_NODES)
        fprintf(out, "%-28s ", "scope");
    fprintf(out, "%-32s %6s %10s %8s %9s %8s %9s\n", "variant", "count", "ms", "share", "GFLOP/s",
            "GB/s", "roofline");
    for (int i = 0; i < n; i++) {
        if (kind == AT_PROFILE_NODES)
            fprintf(out, "%-28s ", *rows[i].scope ? rows[i].scope : "-");
        fprintf(out, "%-32s ", rows[i].variant->name);
        print_numbers(out, &rows[i], total.seconds);
    }
    if (kind == AT_PROFILE_NODES)
        fprintf(out, "%-28s ", "");
    fprintf(out, "%-32s ", "all");
    print_numbers(out, &total, total.seconds);
}

/* What captured replays add to their nodes, and what the host does for one. */
static void print_replay(FILE *out, at_plan_times t)
{
    fprintf(out, "replayed: %.3f ms, %.3f of the nodes' sum; %.1f us of the host's for each\n",
            t.run * 1e3, rate(t.run, t.nodes), t.host * 1e6);
}

at_status at_profile_table(const at_plan *plan, const at_machine *machine, at_profile_rows kind,
                           FILE *out, at_error *err)
{
    int n = at_plan_nodes(plan);
    row *rows = calloc((size_t)n + 1, sizeof *rows);
    if (!rows)
        return at_fail(err, AT_NO_MEMORY, "no memory for a profile of %d nodes", n);
    for (int i = 0; i < n; i++)
        rows[i] = row_of(plan, machine, i);
    print_table(out, rows, kind == AT_PROFILE_VARIANTS ? merge(rows, n) : n, kind);
    free(rows);
    if (at_plan_timing(plan).run > 0)
        print_replay(out, at_plan_timing(plan));
    return written(out, err);
}

/* --- the trace -------------------------------------------------------------------------------- */

static void print_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p == '"' || *p == '\\')
            fprintf(out, "\\%c", *p);
        else if (*p < 0x20)
            fprintf(out, "\\u%04x", *p);
        else
            fputc(*p, out);
    }
    fputc('"', out);
}

static void print_event(FILE *out, const at_plan *plan, int i, const row *r, double start)
{
    char args[512];
    at_node_info n = at_plan_node(plan, i);
    at_args_print(n.op, n.args, args, sizeof args);
    fprintf(out, "%s\n{\"ph\":\"X\",\"pid\":1,\"tid\":1,\"name\":", i ? "," : "");
    print_string(out, r->op);
    fputs(",\"cat\":", out);
    print_string(out, *r->scope ? r->scope : "graph");
    fprintf(out, ",\"ts\":%.3f,\"dur\":%.3f,\"args\":{\"node\":%d,\"args\":", start * 1e6,
            r->seconds * 1e6, i);
    print_string(out, args);
    fputs(",\"variant\":", out);
    print_string(out, r->variant->name);
    fprintf(out, ",\"flops_per_s\":%.6g,\"bytes_per_s\":%.6g,\"scratch_bytes\":%zu",
            rate(r->cost.flops, r->seconds), rate(r->cost.bytes, r->seconds), n.scratch);
    if (r->roofline > 0)
        fprintf(out, ",\"roofline_share\":%.4f", rate(r->roofline, r->seconds));
    fputs("}}", out);
}

at_status at_profile_trace(const at_plan *plan, const at_machine *machine, FILE *out, at_error *err)
{
    double start = 0;
    fputs("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[", out);
    for (int i = 0; i < at_plan_nodes(plan); i++) {
        row r = row_of(plan, machine, i);
        print_event(out, plan, i, &r, start);
        start += r.seconds;
    }
    at_plan_times t = at_plan_timing(plan);
    fputs("\n]", out);
    if (t.run > 0)
        fprintf(out, ",\"otherData\":{\"nodes_us\":%.3f,\"replay_us\":%.3f,\"host_us\":%.3f}",
                t.nodes * 1e6, t.run * 1e6, t.host * 1e6);
    fputs("}\n", out);
    return written(out, err);
}
