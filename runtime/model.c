/* model.c -- opening a model, and its parts' coming and going. */
#include "runtime/model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/clock.h"
#include "engine/machine.h"
#include "kernels/shape.h"

/* --- opening ---------------------------------------------------------------------------------- */

/* Weights of 16 bits are computed with as they are: in f32 they would take twice the memory and
 * have to be converted first. */
static at_status choose_precision(at_model *m, at_error *err)
{
    const char *name = m->options.precision;
    const at_dtype stored = at_sdxl_stored_dtype(m->sdxl, AT_SDXL_UNET);
    m->dtype = name ? at_dtype_named(name) : at_device_default_dtype(m->device);
    if (!name && (stored == AT_BF16 || stored == AT_F16))
        m->dtype = AT_BF16;
    if (m->dtype == AT_F32 || m->dtype == AT_BF16)
        return AT_OK;
    return at_fail(err, AT_INVALID, "precision '%.40s', expected f32 or bf16", name);
}

static at_status choose_mode(at_model *m, at_error *err)
{
    const char *mode = m->options.mode;
    m->exact = !mode || !strcmp(mode, "exact");
    if (m->exact || !strcmp(mode, "fast"))
        return AT_OK;
    return at_fail(err, AT_INVALID, "mode '%.40s', expected exact or fast", mode);
}

static at_status open_device(at_model *m, at_error *err)
{
    const at_model_options *o = &m->options;
    const at_device_options device = { .threads = o->threads,
                                       .library_folders = o->library_folders };
    at_error why = { 0 };
    if (o->threads < 0)
        return at_fail(err, AT_INVALID, "%d threads, expected 1 or more, or 0 for all", o->threads);
    if (m->device)
        return AT_OK;
    m->owns_device = true;
    if (o->device)
        return at_device_open(&m->device, o->device, &device, err);
    AT_TRY(at_device_open_best(&m->device, &device, &why, err));
    if (why.text[0])
        at_model_warn(m, "%s", why.text);
    return AT_OK;
}

static at_status take_choices(at_model *m, const char *folder, at_error *err)
{
    at_error why = { 0 };
    const at_status status = at_tuning_load(m->tuning, folder, &why);
    if (status == AT_UNSUPPORTED) /* made with other libraries, or by another version */
        at_model_warn(m, "%s", why.text);
    return status == AT_OK || status == AT_NOT_FOUND || status == AT_UNSUPPORTED
               ? AT_OK
               : at_fail(err, status, "%s", why.text);
}

static at_status open_tuning(at_model *m, at_error *err)
{
    const char *const *folders = m->options.tuning_folders;
    at_tuned_for machine;
    if (!folders)
        return AT_OK;
    AT_TRY(at_tuned_for_device(m->device, &machine, err));
    AT_TRY(at_tuning_new(&m->tuning, &machine, err));
    for (int i = 0; folders[i]; i++)
        AT_TRY(take_choices(m, folders[i], err));
    return AT_OK;
}

static at_status open_all(at_model *m, const char *path, at_error *err)
{
    AT_TRY(choose_mode(m, err));
    AT_TRY(open_device(m, err));
    AT_TRY(open_tuning(m, err));
    const size_t bytes = strlen(path) + 1;
    m->path = malloc(bytes);
    if (!m->path)
        return at_fail(err, AT_NO_MEMORY, "no memory for the name of a model");
    memcpy(m->path, path, bytes);
    AT_TRY(at_sdxl_open(&m->sdxl, path, m->device, m->options.trust_folder, err));
    return choose_precision(m, err);
}

at_status at_model_open_on(at_model **out, const char *path, at_device *device,
                           const at_model_options *options, at_error *err)
{
    at_model *m = calloc(1, sizeof *m);
    *out = NULL;
    if (!m)
        return at_fail(err, AT_NO_MEMORY, "no memory for a model");
    if (options)
        m->options = *options;
    m->device = device;
    const at_status status = open_all(m, path, err);
    if (status != AT_OK)
        at_model_close(m);
    else
        *out = m;
    return status;
}

at_status at_model_open(at_model **out, const char *path, const at_model_options *options,
                        at_error *err)
{
    return at_model_open_on(out, path, NULL, options, err);
}

void at_model_close(at_model *m)
{
    if (!m)
        return;
    for (int part = 0; part < AT_SDXL_PARTS; part++)
        at_plan_cache_free(m->plans[part]);
    at_sdxl_close(m->sdxl);
    at_tuning_free(m->tuning);
    if (m->owns_device && m->device)
        at_device_close(m->device);
    free(m->path);
    free(m);
}

const char *at_model_path(const at_model *m)
{
    return m->path;
}

const char *at_model_hash(const at_model *m)
{
    return at_sdxl_hash(m->sdxl);
}

const char *at_model_device(const at_model *m)
{
    return m->device->api->name;
}

const char *at_model_precision(const at_model *m)
{
    return at_dtype_name(m->dtype);
}

void at_model_warn(const at_model *m, const char *fmt, ...)
{
    char text[AT_ERROR_TEXT_MAX];
    va_list args;
    if (!m->options.warn)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    m->options.warn(m->options.warn_context, text);
}

/* --- parts ------------------------------------------------------------------------------------ */

at_status at_model_load(at_model *m, at_sdxl_part part, at_dtype dtype,
                        const at_model_adapters *adapters, at_error *err)
{
    const bool changes = adapters && adapters->list && at_loras_touch(adapters->list, part);
    const uint64_t name = changes ? adapters->name : 0;
    const bool loaded = at_sdxl_store(m->sdxl, part) != NULL;
    if (loaded && at_sdxl_dtype(m->sdxl, part) == dtype && m->adapters[part] == name)
        return AT_OK;
    if (loaded)
        at_model_drop(m, part);
    const double begin = at_clock_seconds();
    at_weight_change change = { 0 };
    if (changes)
        change = at_loras_change(adapters->list);
    const at_status status = at_sdxl_load(m->sdxl, part, dtype, changes ? &change : NULL, err);
    m->load_seconds += at_clock_seconds() - begin;
    m->adapters[part] = status == AT_OK ? name : 0;
    return status;
}

void at_model_drop(at_model *m, at_sdxl_part part)
{
    at_plan_cache_free(m->plans[part]);
    m->plans[part] = NULL;
    at_sdxl_drop(m->sdxl, part);
}

void at_model_done(at_model *m, at_sdxl_part part)
{
    if (!m->options.keep_parts)
        at_model_drop(m, part);
}

/* --- plans ------------------------------------------------------------------------------------ */

typedef struct making {
    at_model *model;
    at_sdxl_part part;
    at_model_describe *describe;
    const void *what;
} making;

static at_status make_plan(void *context, const char *key, at_graph **graph, at_plan **plan,
                           at_error *err)
{
    const making *k = context;
    const at_plan_options options = { .exact = k->model->exact, .tuning = k->model->tuning };
    (void)key;
    *graph = at_graph_new();
    k->describe(k->model, *graph, k->what);
    return at_plan_new(plan, k->model->device, at_sdxl_store(k->model->sdxl, k->part), *graph,
                       &options, err);
}

at_status at_model_plan(at_model *m, at_sdxl_part part, const char *key,
                        at_model_describe *describe, const void *what, at_plan **plan,
                        at_error *err)
{
    making k = { m, part, describe, what };
    AT_ASSERT(at_sdxl_store(m->sdxl, part), "a plan of %s, which is not loaded",
              at_sdxl_part_name(part));
    if (!m->plans[part])
        m->plans[part] = at_plan_cache_new(AT_MODEL_PLANS_MAX);
    AT_TRY(at_plan_cache_get(m->plans[part], key, make_plan, &k, plan, err));
    return at_plan_commit(*plan, err);
}

at_status at_model_not_finite(at_plan *plan, const char *what, at_error *err)
{
    int node = -1;
    AT_TRY(at_plan_find_infinite(plan, &node, err));
    if (node < 0)
        return at_fail(err, AT_INVALID, "%s is not finite", what);
    const at_node_info n = at_plan_node(plan, node);
    return at_fail(err, AT_INVALID, "%s is not finite: the first such number comes from %s in '%s'",
                   what, n.op->name, n.scope ? n.scope : "");
}
