/* plan.c -- atelier plan: what a model, or a picture, needs of memory, and what it must cost on a
 * GPU. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/device.h"
#include "cli/goals.h"
#include "cli/plan_file.h"
#include "cli/plan_report.h"
#include "engine/device_paper.h"
#include "engine/file.h"

enum { TOP_MAX = 100 };
#define MEASURED_BYTES_MAX ((size_t)16 << 20)

typedef struct options {
    at_device_options device;
    at_planned_words words;
    const char *name, *budget, *measured;
    int top;
    bool json;
} options;

static at_parsed parse(options *o, int argc, char **argv)
{
    const at_option list[] = {
        { "--device", AT_OPTION_TEXT, &o->name, 0, 0, "NAME",
          "cpu, cuda, or a GPU that need not be here; else that of --budget" },
        { "--budget", AT_OPTION_TEXT, &o->budget, 0, 0, "GPU",
          "what it must cost on h200, h100 or a100" },
        AT_PLANNED_OPTIONS(&o->words),
        { "--measured", AT_OPTION_TEXT, &o->measured, 0, 0, "FILE",
          "results of `atelier bench ops --json`, put beside the budget" },
        { "--top", AT_OPTION_INT, &o->top, 1, TOP_MAX, "N", "how many of the largest items (5)" },
        { "--json", AT_OPTION_FLAG, &o->json, 0, 0, NULL, "print JSON" },
    };
    const at_usage usage = {
        "plan",
        "Tells what a model needs of memory and, on a GPU that need not be here, of time.",
        "MODEL",
        list,
        (int)AT_COUNT(list),
        "MODEL is sdxl-unet (a step), sdxl-vae (both halves) or sdxl (pictures from text);\n"
        "or a model's file, or its name in 'atelier model list': pictures of its usual size.\n"
        "A budget is an expectation: arithmetic and bytes of every op, by figures of the GPU and\n"
        "shares of them that are goals or assumptions, as it says. Exit status 1: it does not fit\n"
        "into the device's memory.\n"
    };
    return at_options_parse_all(&usage, argc, argv, &o->words.model, 1);
}

/* --- devices ---------------------------------------------------------------------------------- */

/* What plans are made for: 'real' is open as long as its capabilities are needed; 'paper' stands
 * for it, so that planning takes none of its memory. */
typedef struct planned_device {
    at_device *real, *paper;
    at_gpu gpu;
    bool only_planned, plans;
    at_error no_plans;
} planned_device;

static at_status unknown_gpu(const char *option, const char *name, const char *besides,
                             at_error *err)
{
    char names[128];
    at_gpu_names(names, sizeof names);
    return at_fail(err, AT_NOT_FOUND, "%s: there is no '%s': expected %s%s", option, name, besides,
                   names);
}

/* A budget needs no kernels, plans for a GPU do: 'needed' says whether they were asked for. */
static at_status open_gpu(planned_device *d, const char *name, bool needed, at_error *err)
{
    const at_caps caps = at_paper_caps(&d->gpu);
    d->plans = at_variants_for(AT_CUDA) > 0;
    d->only_planned = true;
    if (!d->plans)
        at_fail(&d->no_plans, AT_UNSUPPORTED, "this build has no kernels for GPUs, so none for %s",
                name);
    if (!d->plans && needed) {
        *err = d->no_plans;
        return AT_UNSUPPORTED;
    }
    return at_device_open_paper(&d->paper, name, &caps,
                                (size_t)d->gpu.figures[AT_FIGURE_MEMORY].value, err);
}

static at_status open_real(planned_device *d, const options *o, at_error *err)
{
    at_error why = { 0 };
    at_status status = at_command_device(&d->real, o->name, &o->device, &why, err);
    if (status != AT_OK)
        return status;
    d->plans = true;
    return at_device_open_paper(&d->paper, d->real->api->name, &d->real->caps,
                                at_device_memory_free(d->real), err);
}

static at_status open_device(planned_device *d, const options *o, at_error *err)
{
    const char *name = o->name ? o->name : o->budget;
    if (name && at_gpu_named(name, &d->gpu))
        return open_gpu(d, name, o->name != NULL, err);
    if (o->name && strcmp(o->name, "cpu") != 0 && strcmp(o->name, "cuda") != 0)
        return unknown_gpu("--device", o->name, "cpu, cuda, ", err);
    return open_real(d, o, err);
}

static void close_device(planned_device *d)
{
    at_device_close(d->paper);
    at_device_close(d->real);
}

/* --- the work --------------------------------------------------------------------------------- */

static at_status take_measured(at_planned *p, const char *path, int *calls, at_error *err)
{
    at_file file;
    at_mapping map = { NULL, 0 };
    at_status status = at_file_open(&file, path, err);
    if (status != AT_OK)
        return status;
    if (file.bytes > MEASURED_BYTES_MAX)
        status = at_fail(err, AT_INVALID, "%s: %llu bytes are no results: expected up to %zu", path,
                         (unsigned long long)file.bytes, MEASURED_BYTES_MAX);
    if (status == AT_OK)
        status = at_file_map(&file, &map, err);
    for (int i = 0; i < p->n_parts && status == AT_OK; i++) {
        at_error why = { 0 };
        int found = 0;
        if (!p->parts[i].budget)
            continue;
        status =
            at_budget_measured(p->parts[i].budget, (const char *)map.data, map.bytes, &found, &why);
        if (status != AT_OK)
            at_fail(err, status, "%s: %s", path, why.text);
        *calls += found;
    }
    at_mapping_free(&map);
    at_file_close(&file);
    return status;
}

static at_status price(at_plan_report *r, at_goal *goals, const options *o, const at_gpu *gpu,
                       at_error *err)
{
    r->gpu = gpu;
    at_status status = at_planned_price(r->planned, gpu, NULL, err);
    if (status == AT_OK && o->measured)
        status = take_measured(r->planned, o->measured, &r->measured_calls, err);
    if (status != AT_OK || r->planned->request.model != AT_PLANNED_SDXL ||
        r->planned->request.about)
        return status; /* the goals are SDXL's own */
    r->goals = goals;
    const at_caps caps = at_paper_caps(gpu);
    at_device *device;
    status = at_device_open_paper(&device, gpu->name, &caps,
                                  (size_t)gpu->figures[AT_FIGURE_MEMORY].value, err);
    if (status == AT_OK)
        status = at_goals_check(goals, &r->n_goals, gpu, device, err);
    at_device_close(device);
    return status;
}

static at_status report(const options *o, planned_device *d, at_planned *p, const at_gpu *gpu,
                        bool *fits, at_error *err)
{
    at_goal goals[AT_GOALS_MAX];
    at_plan_report r = {
        .model = o->words.model,
        .planned = p,
        .device = d->plans ? d->paper->api->name : NULL,
        .why_no_plans = d->no_plans.text,
        .device_bytes = (double)at_device_memory_free(d->paper) + (double)d->paper->bytes_in_use,
        .only_planned = d->only_planned,
        .top = o->top,
        .measured = o->measured,
    };
    at_status status = d->plans ? at_planned_plan(p, err) : AT_OK;
    if (status == AT_OK && o->budget)
        status = price(&r, goals, o, gpu, err);
    if (status != AT_OK)
        return status;
    *fits = at_plan_report_fits(&r);
    if (o->json)
        return at_plan_report_write(&r, err);
    at_plan_report_print(&r);
    return AT_OK;
}

/* What can be told before a device is opened. */
static at_status check(const options *o, at_gpu *gpu, at_error *err)
{
    at_planned_request request;
    if (at_planned_knows(o->words.model)) {
        at_status status = at_planned_read(&request, &o->words, err);
        if (status != AT_OK)
            return status;
    }
    if (o->budget && !at_gpu_named(o->budget, gpu))
        return unknown_gpu("--budget", o->budget, "", err);
    if (o->measured && !o->budget)
        return at_fail(err, AT_INVALID, "--measured goes with --budget");
    return AT_OK;
}

/* The request, with the configurations of a file where the model is one. */
static at_status read_request(at_planned_request *out, at_plan_file *file, const options *o,
                              at_device *device, at_error *err)
{
    at_planned_words words = o->words;
    if (!at_planned_knows(words.model)) {
        at_status status = at_plan_file_open(file, words.model, device, err);
        if (status != AT_OK)
            return status;
        words.about = file->about;
        if (words.size == at_planned_usual.size)
            words.size = file->size;
    }
    return at_planned_read(out, &words, err);
}

static at_status run(const options *o, bool *fits, at_error *err)
{
    at_planned_request request;
    planned_device d = { 0 };
    at_plan_file file = { 0 };
    at_planned p = { 0 };
    at_gpu gpu;
    at_status status = check(o, &gpu, err);
    if (status == AT_OK)
        status = open_device(&d, o, err);
    if (status == AT_OK)
        status = read_request(&request, &file, o, d.paper, err);
    if (status == AT_OK)
        status = at_planned_describe(&p, &request, d.paper, err);
    if (status == AT_OK)
        status = report(o, &d, &p, &gpu, fits, err);
    at_planned_free(&p);
    at_plan_file_close(&file);
    close_device(&d);
    return status;
}

int at_command_plan(int argc, char **argv)
{
    options o = {
        .words = at_planned_usual,
        .top = 5,
    };
    at_error err = { 0 };
    bool fits = true;
    at_parsed parsed = parse(&o, argc, argv);
    if (parsed != AT_PARSED)
        return at_parsed_exit(parsed);
    if (run(&o, &fits, &err) != AT_OK)
        return at_unable("plan", &err);
    return fits ? AT_EXIT_OK : AT_EXIT_WRONG;
}
