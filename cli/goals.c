#include "cli/goals.h"

#include <stdio.h>

typedef enum measure { SECONDS, RATE, WALL } measure;

static const struct {
    int batch, steps;
    at_dtype dtype;
    measure what;
    double bound;
    const char *text;
} goals_def[] = {
#define AT_GOAL(batch, steps, DTYPE, WHAT, bound, text) \
    { batch, steps, AT_##DTYPE, WHAT, bound, text },
#include "cli/goals.def"
#undef AT_GOAL
};

static double value_of(at_planned *p, measure what)
{
    const double seconds = at_planned_seconds(p);
    const at_budget_line *step = at_budget_all(at_planned_part_named(p, "step")->budget);
    switch (what) {
    case SECONDS: return seconds;
    case RATE: return (double)p->request.batch / seconds;
    case WALL: return step->seconds / (step->seconds - step->launch_seconds);
    }
    return 0;
}

static bool reached(const at_goal *g)
{
    return g->at_least ? g->value >= g->bound : g->value <= g->bound;
}

/* How many times their shares products and convolutions must reach so that the bound is just kept:
 * by halving, as every effort more makes it cheaper. */
static at_status find_effort(at_goal *g, at_planned *p, measure what, const at_gpu *gpu,
                             at_error *err)
{
    enum { HALVINGS = 12 };
    double low = 0.25, high = 2;
    for (int i = 0; i <= HALVINGS; i++) {
        const at_budget_options options = { .effort = i ? (low + high) / 2 : high };
        at_status status = at_planned_price(p, gpu, &options, err);
        if (status != AT_OK)
            return status;
        at_goal tried = *g;
        tried.value = value_of(p, what);
        if (!i && !reached(&tried))
            return AT_OK; /* needs stays 0 */
        if (i)
            *(reached(&tried) ? &high : &low) = options.effort;
    }
    g->needs = high;
    return AT_OK;
}

static at_status check(at_goal *g, size_t i, const at_gpu *gpu, at_device *device, at_error *err)
{
    enum { SIDE = 1024 };
    const at_planned_request r = { AT_PLANNED_SDXL,
                                   SIDE,
                                   SIDE,
                                   goals_def[i].batch,
                                   goals_def[i].steps,
                                   .guidance = true,
                                   .dtype = goals_def[i].dtype };
    const measure what = goals_def[i].what;
    at_planned p = { 0 };
    *g = (at_goal){ .text = goals_def[i].text,
                    .bound = goals_def[i].bound,
                    .at_least = what == RATE,
                    .of_launches = what == WALL };
    at_status status = at_planned_describe(&p, &r, device, err);
    if (status == AT_OK)
        status = at_planned_price(&p, gpu, NULL, err);
    if (status == AT_OK) {
        const at_budget_line *step = at_budget_all(at_planned_part_named(&p, "step")->budget);
        g->value = value_of(&p, what);
        g->reached = reached(g);
        if (what == WALL)
            g->needs = (g->bound - 1) * (step->seconds - step->launch_seconds) / step->launches;
        else
            status = find_effort(g, &p, what, gpu, err);
    }
    at_planned_free(&p);
    return status;
}

at_status at_goals_check(at_goal *goals, int *count, const at_gpu *gpu, at_device *device,
                         at_error *err)
{
    at_status status = AT_OK;
    *count = 0;
    AT_ASSERT(AT_COUNT(goals_def) <= AT_GOALS_MAX, "more than %d goals", AT_GOALS_MAX);
    for (size_t i = 0; i < AT_COUNT(goals_def) && status == AT_OK; i++) {
        if (gpu->figures[AT_FIGURE_F8].value <= 0 && goals_def[i].dtype == AT_F8)
            continue;
        status = check(&goals[*count], i, gpu, device, err);
        *count += status == AT_OK;
    }
    return status;
}

void at_goal_text(const at_goal *g, char *text, size_t text_size)
{
    const char *yes = g->reached ? "yes" : "no";
    if (g->of_launches)
        snprintf(text, text_size, "%s: %.3f; a launch may take %.2f us", yes, g->value,
                 g->needs * 1e6);
    else if (g->needs <= 0)
        snprintf(text, text_size, "%s: %.2f; not by faster products and 3x3 convolutions alone",
                 yes, g->value);
    else
        snprintf(text, text_size,
                 "%s: %.2f; it takes %.2f times the shares of products and 3x3 convolutions", yes,
                 g->value, g->needs);
}
