#include "cli/plan_report.h"

#include <stdio.h>
#include <string.h>

#include "cli/json.h"

enum { TOP_MAX = 100, ADVICE_MAX = 256 };

/* --- what both say ---------------------------------------------------------------------------- */

static int64_t rows_of(const at_planned_request *r)
{
    return r->batch * (r->guidance ? 2 : 1);
}

/* Plans share the arena, and parameters; forms and what is given from outside are each one's. */
static at_plan_bytes together(const at_planned *p)
{
    at_plan_bytes sum = { .weights = at_params_bytes(p->store) };
    for (int i = 0; i < p->n_parts; i++) {
        const at_plan_bytes *b = &p->parts[i].bytes;
        sum.forms += b->forms;
        sum.in_out += b->in_out;
        sum.activations = b->activations > sum.activations ? b->activations : sum.activations;
        sum.workspace = b->workspace > sum.workspace ? b->workspace : sum.workspace;
        sum.arena = b->arena > sum.arena ? b->arena : sum.arena;
    }
    return sum;
}

/* Of the store, what no plan reads: the other half of an autoencoder, what f8 was made of. */
static size_t unread_bytes(const at_planned *p)
{
    size_t read = 0;
    for (int i = 0; i < p->n_parts; i++)
        read += p->parts[i].bytes.weights;
    const size_t all = at_params_bytes(p->store);
    return all > read ? all - read : 0;
}

static double all_bytes(const at_plan_bytes *b)
{
    return (double)b->weights + (double)b->forms + (double)b->arena + (double)b->in_out;
}

bool at_plan_report_fits(const at_plan_report *r)
{
    const at_plan_bytes sum = together(r->planned);
    return !r->device || all_bytes(&sum) <= r->device_bytes;
}

/* One of the largest items: equal calls of a part. */
typedef struct item {
    const at_planned_part *part;
    const at_budget_line *line;
    double seconds; /* of all pictures */
} item;

/* The longest first; how many there are, up to 'most'. */
static int find_largest(const at_planned *p, item *items, int most)
{
    int n = 0;
    for (int i = 0; i < p->n_parts; i++) {
        const at_planned_part *part = &p->parts[i];
        for (int k = 0; part->budget && k < at_budget_lines(part->budget, AT_BY_CALL); k++) {
            const at_budget_line *line = at_budget_line_at(part->budget, AT_BY_CALL, k);
            const item new = { part, line, part->runs * line->seconds };
            int at = n < most ? n++ : n;
            for (; at > 0 && items[at - 1].seconds < new.seconds; at--)
                if (at < n)
                    items[at] = items[at - 1];
            if (at < n)
                items[at] = new;
        }
    }
    return n;
}

/* --- text ------------------------------------------------------------------------------------- */

static void print_bytes_row(const char *name, const at_plan_bytes *b)
{
    printf("  %-10s %10.1f %10.1f %12.1f %10.1f %10.1f %10.1f\n", name, (double)b->weights / 1e6,
           (double)b->forms / 1e6, (double)b->activations / 1e6, (double)b->workspace / 1e6,
           (double)b->arena / 1e6, (double)b->in_out / 1e6);
}

static void print_memory(const at_plan_report *r)
{
    const at_planned *p = r->planned;
    if (!r->device) {
        printf("\nMemory: %s\n", r->why_no_plans);
        return;
    }
    printf("\nMemory on %s%s, MB\n", r->device,
           r->only_planned ? ", which is only planned for: without its libraries" : "");
    printf("  %-10s %10s %10s %12s %10s %10s %10s\n", "plan", "weights", "forms", "activations",
           "scratch", "arena", "in, out");
    for (int i = 0; i < p->n_parts; i++)
        if (p->parts[i].graph)
            print_bytes_row(p->parts[i].name, &p->parts[i].bytes);
    const at_plan_bytes sum = together(p);
    if (unread_bytes(p))
        print_bytes_row("unread", &(at_plan_bytes){ .weights = unread_bytes(p) });
    print_bytes_row("together", &sum);
    printf("  %.2f GB of %.2f%s: plans share weights and the arena\n", all_bytes(&sum) / 1e9,
           r->device_bytes / 1e9, at_plan_report_fits(r) ? "" : ", which does not fit");
}

static void print_figures(const at_gpu *gpu)
{
    printf("\nBudget on %s: what it is expected to take, by these figures. This program has "
           "measured none of them.\n",
           gpu->title);
    for (int k = 0; k < AT_FIGURE_KINDS; k++) {
        const at_figure *f = &gpu->figures[k];
        const at_figure_info info = at_figure_about((at_figure_kind)k);
        if (f->value > 0)
            printf("  %-16s %8.5g %-8s %s: %s\n", info.name, f->value / info.size, info.unit,
                   at_origin_name(f->origin), f->how);
    }
}

static double per(double amount, double seconds)
{
    return seconds > 0 ? amount / seconds : 0;
}

static void print_line(const at_budget_line *l, const char *name)
{
    const double kernels = l->seconds - l->launch_seconds;
    printf("    %-30s %6d %9.3f %9.1f %9.3f %9.1f %8.2f", name, l->calls, l->seconds * 1e3,
           per(l->seconds, l->calls) * 1e6, l->launch_seconds * 1e3, per(l->flops, kernels) / 1e12,
           per(l->bytes, kernels) / 1e12);
    if (l->measured_calls)
        printf("   %d took %.3f ms, expected %.3f", l->measured_calls, l->measured_seconds * 1e3,
               l->measured_expected * 1e3);
    putchar('\n');
}

static void print_lines(const at_budget *b, at_budget_by by)
{
    for (int i = 0; i < at_budget_lines(b, by); i++) {
        const at_budget_line *l = at_budget_line_at(b, by, i);
        print_line(l, l->name);
    }
}

static void print_part(const at_planned_part *part)
{
    if (!part->budget)
        return;
    const at_budget_line *all = at_budget_all(part->budget);
    const double kernels = all->seconds - all->launch_seconds;
    printf("\n%s: %s. %.3f ms, %.0f time%s; %.0f %% of its kernels' time by goals, the rest by "
           "assumptions\n",
           part->name, part->what, part->seconds * 1e3, part->runs, part->runs == 1 ? "" : "s",
           100 * per(all->by_origin[AT_GOAL], kernels));
    printf("    %-30s %6s %9s %9s %9s %9s %8s\n", "", "calls", "ms", "us each", "launches",
           "TFLOP/s", "TB/s");
    print_lines(part->budget, AT_BY_PART);
    putchar('\n');
    print_lines(part->budget, AT_BY_WORK);
    print_line(all, "all");
}

static void print_pictures(const at_plan_report *r)
{
    const at_planned *p = r->planned;
    const double seconds = at_planned_seconds(p), pictures = (double)p->request.batch;
    printf("\n%.0f picture%s, without tokens, copies and files, ms a picture\n", pictures,
           pictures == 1 ? "" : "s");
    for (int i = 0; i < p->n_parts; i++) {
        const at_planned_part *part = &p->parts[i];
        printf("  %-10s %9.2f  %4.1f %%  %s\n", part->name,
               part->runs * part->seconds * 1e3 / pictures,
               100 * part->runs * part->seconds / seconds, part->what);
    }
    printf("  %-10s %9.2f          %.3f s for all, %.3f pictures/s\n", "together",
           seconds * 1e3 / pictures, seconds, pictures / seconds);
    if (r->measured_calls)
        printf("  with what was measured in place of its expectations: %.3f s for all\n",
               at_planned_measured_seconds(p));
}

static void print_largest(const at_plan_report *r)
{
    item items[TOP_MAX];
    char advice[ADVICE_MAX];
    const int n = find_largest(r->planned, items, r->top);
    if (n)
        printf("\nThe largest items, and what would shrink them\n");
    for (int i = 0; i < n; i++) {
        const item *it = &items[i];
        at_budget_advice(it->part->budget, it->line, advice, sizeof advice);
        printf("  %d. %s: %d of %s\n     %.2f ms a run, %.1f %% of all; %s\n", i + 1,
               it->part->name, it->line->calls, it->line->name, it->line->seconds * 1e3,
               100 * it->seconds / at_planned_seconds(r->planned), advice);
    }
}

static void print_goals(const at_plan_report *r)
{
    char text[ADVICE_MAX];
    if (r->n_goals)
        printf("\nGoals, set for 1024x1024 with guidance on an H200; expected on %s\n",
               r->gpu->title);
    for (int i = 0; i < r->n_goals; i++) {
        at_goal_text(&r->goals[i], text, sizeof text);
        printf("  %-62s %s\n", r->goals[i].text, text);
    }
}

void at_plan_report_print(const at_plan_report *r)
{
    const at_planned *p = r->planned;
    const at_planned_request *q = &p->request;
    printf("%s, %lldx%lld, %lld at once%s", r->model, (long long)q->width, (long long)q->height,
           (long long)q->batch,
           q->model == AT_PLANNED_VAE ? ""
           : q->guidance              ? " with guidance"
                                      : "");
    if (q->model != AT_PLANNED_VAE)
        printf(" (%lld rows)", (long long)rows_of(q));
    if (q->model == AT_PLANNED_SDXL)
        printf(", %d steps", q->steps);
    printf(", %s, %s plans\n", at_dtype_name(q->dtype), q->exact ? "exact" : "fast");
    print_memory(r);
    if (!r->gpu)
        return;
    print_figures(r->gpu);
    if (r->measured)
        printf("\nMeasured, in %s: %d of these calls\n", r->measured, r->measured_calls);
    for (int i = 0; i < p->n_parts; i++)
        print_part(&p->parts[i]);
    if (q->model == AT_PLANNED_SDXL)
        print_pictures(r);
    print_largest(r);
    print_goals(r);
}

/* --- JSON ------------------------------------------------------------------------------------- */

static void write_bytes(at_json_writer *w, const at_plan_bytes *b)
{
    at_json_put_uint(w, "weights", b->weights);
    at_json_put_uint(w, "forms", b->forms);
    at_json_put_uint(w, "activations", b->activations);
    at_json_put_uint(w, "scratch", b->workspace);
    at_json_put_uint(w, "arena", b->arena);
    at_json_put_uint(w, "in_out", b->in_out);
}

static void write_memory(at_json_writer *w, const at_plan_report *r)
{
    const at_planned *p = r->planned;
    at_json_write_key(w, "memory");
    at_json_write_object(w);
    at_json_put_text(w, "device", r->device);
    at_json_put_bool(w, "only_planned", r->only_planned);
    if (!r->device)
        at_json_put_text(w, "why", r->why_no_plans);
    at_json_write_key(w, "plans");
    at_json_write_array(w);
    for (int i = 0; r->device && i < p->n_parts; i++) {
        if (!p->parts[i].graph)
            continue;
        at_json_write_object(w);
        at_json_put_text(w, "name", p->parts[i].name);
        write_bytes(w, &p->parts[i].bytes);
        at_json_write_close(w);
    }
    at_json_write_close(w);
    if (r->device) {
        const at_plan_bytes sum = together(p);
        write_bytes(w, &sum);
        at_json_put_measure(w, "bytes", all_bytes(&sum));
        at_json_put_measure(w, "device_bytes", r->device_bytes);
        at_json_put_bool(w, "fits", at_plan_report_fits(r));
    }
    at_json_write_close(w);
}

static void write_figures(at_json_writer *w, const at_gpu *gpu)
{
    at_json_write_key(w, "figures");
    at_json_write_array(w);
    for (int k = 0; k < AT_FIGURE_KINDS; k++) {
        const at_figure *f = &gpu->figures[k];
        if (f->value <= 0)
            continue;
        at_json_write_object(w);
        at_json_put_text(w, "name", at_figure_about((at_figure_kind)k).name);
        at_json_put_measure(w, "value", f->value);
        at_json_put_text(w, "origin", at_origin_name(f->origin));
        at_json_put_text(w, "how", f->how);
        at_json_write_close(w);
    }
    at_json_write_close(w);
}

static void write_line(at_json_writer *w, const at_budget_line *l)
{
    at_json_write_object(w);
    at_json_put_text(w, "name", l->name);
    at_json_put_int(w, "calls", l->calls);
    at_json_put_int(w, "launches", l->launches);
    at_json_put_measure(w, "ms", l->seconds * 1e3);
    at_json_put_measure(w, "launch_ms", l->launch_seconds * 1e3);
    at_json_put_measure(w, "gflop", l->flops / 1e9);
    at_json_put_measure(w, "mb", l->bytes / 1e6);
    at_json_put_measure(w, "cached_mb", l->cached / 1e6);
    at_json_put_int(w, "measured_calls", l->measured_calls);
    at_json_put_measure(w, "measured_ms", l->measured_seconds * 1e3);
    at_json_put_measure(w, "measured_expected_ms", l->measured_expected * 1e3);
    at_json_write_close(w);
}

static void write_lines(at_json_writer *w, const char *key, const at_budget *b, at_budget_by by)
{
    at_json_write_key(w, key);
    at_json_write_array(w);
    for (int i = 0; i < at_budget_lines(b, by); i++)
        write_line(w, at_budget_line_at(b, by, i));
    at_json_write_close(w);
}

static void write_part(at_json_writer *w, const at_planned_part *part)
{
    at_json_write_object(w);
    at_json_put_text(w, "name", part->name);
    at_json_put_text(w, "what", part->what);
    at_json_put_measure(w, "runs", part->runs);
    at_json_put_measure(w, "ms", part->seconds * 1e3);
    if (part->budget) {
        at_json_write_key(w, "all");
        write_line(w, at_budget_all(part->budget));
        write_lines(w, "parts", part->budget, AT_BY_PART);
        write_lines(w, "work", part->budget, AT_BY_WORK);
        write_lines(w, "calls", part->budget, AT_BY_CALL);
    }
    at_json_write_close(w);
}

static void write_largest(at_json_writer *w, const at_plan_report *r)
{
    item items[TOP_MAX];
    char advice[ADVICE_MAX];
    const int n = find_largest(r->planned, items, r->top);
    at_json_write_key(w, "largest");
    at_json_write_array(w);
    for (int i = 0; i < n; i++) {
        at_budget_advice(items[i].part->budget, items[i].line, advice, sizeof advice);
        at_json_write_object(w);
        at_json_put_text(w, "part", items[i].part->name);
        at_json_put_text(w, "name", items[i].line->name);
        at_json_put_measure(w, "ms", items[i].seconds * 1e3);
        at_json_put_text(w, "advice", advice);
        at_json_write_close(w);
    }
    at_json_write_close(w);
}

static void write_goals(at_json_writer *w, const at_plan_report *r)
{
    at_json_write_key(w, "goals");
    at_json_write_array(w);
    for (int i = 0; i < r->n_goals; i++) {
        const at_goal *g = &r->goals[i];
        at_json_write_object(w);
        at_json_put_text(w, "text", g->text);
        at_json_put_measure(w, "expected", g->value);
        at_json_put_measure(w, "bound", g->bound);
        at_json_put_bool(w, "reached", g->reached);
        at_json_put_measure(w, g->of_launches ? "launch_us" : "effort",
                            g->of_launches ? g->needs * 1e6 : g->needs);
        at_json_write_close(w);
    }
    at_json_write_close(w);
}

static void write_budget(at_json_writer *w, const at_plan_report *r)
{
    const at_planned *p = r->planned;
    const double seconds = at_planned_seconds(p);
    at_json_write_key(w, "budget");
    at_json_write_object(w);
    at_json_put_text(w, "gpu", r->gpu->name);
    write_figures(w, r->gpu);
    at_json_write_key(w, "parts");
    at_json_write_array(w);
    for (int i = 0; i < p->n_parts; i++)
        write_part(w, &p->parts[i]);
    at_json_write_close(w);
    if (p->request.model == AT_PLANNED_SDXL) {
        at_json_put_measure(w, "seconds", seconds);
        at_json_put_measure(w, "seconds_measured", at_planned_measured_seconds(p));
        at_json_put_measure(w, "pictures_per_second", (double)p->request.batch / seconds);
    }
    at_json_put_text(w, "measured", r->measured);
    at_json_put_int(w, "measured_calls", r->measured_calls);
    write_largest(w, r);
    write_goals(w, r);
    at_json_write_close(w);
}

at_status at_plan_report_write(const at_plan_report *r, at_error *err)
{
    const at_planned_request *q = &r->planned->request;
    at_json_writer w = at_json_stdout();
    at_json_write_object(&w);
    at_json_put_text(&w, "model", r->model);
    at_json_put_int(&w, "width", q->width);
    at_json_put_int(&w, "height", q->height);
    at_json_put_int(&w, "batch", q->batch);
    at_json_put_int(&w, "rows", rows_of(q));
    at_json_put_int(&w, "steps", q->steps);
    at_json_put_bool(&w, "guidance", q->guidance);
    at_json_put_text(&w, "dtype", at_dtype_name(q->dtype));
    at_json_put_text(&w, "mode", q->exact ? "exact" : "fast");
    write_memory(&w, r);
    if (r->gpu)
        write_budget(&w, r);
    at_json_write_close(&w);
    return at_json_finish(&w, err);
}
