#include "runtime/fits.h"

#include <stdio.h>
#include <string.h>

#include "engine/device_paper.h"
#include "engine/source.h"
#include "kernels/shape.h"

/* What a part needs, in bytes. */
typedef struct need {
    size_t weights, forms, in_out, arena;
} need;

/* A part on paper: a store whose addresses have no memory behind them. */
typedef struct desk {
    const at_fits *fits;
    at_device *paper;
    at_params *store;
} desk;

static at_status open_desk(desk *d, const at_fits *f, at_error *err)
{
    const at_device *device = f->model->device;
    *d = (desk){ .fits = f };
    AT_TRY(at_device_open_paper(&d->paper, device->api->name, &device->caps, SIZE_MAX / 2, err));
    d->store = at_params_new(d->paper);
    return AT_OK;
}

static void close_desk(desk *d)
{
    at_params_free(d->store);
    if (d->paper)
        at_device_close(d->paper);
}

/* Takes the graph. */
static at_status add_plan(desk *d, need *n, at_graph *g, at_error *err)
{
    const at_plan_options options = { .exact = d->fits->model->exact };
    at_plan *plan = NULL;
    const at_status status = at_plan_new(&plan, d->paper, d->store, g, &options, err);
    if (status == AT_OK) {
        const at_plan_bytes b = at_plan_memory(plan);
        n->forms += b.forms;
        n->in_out += b.in_out;
        n->arena = b.arena > n->arena ? b.arena : n->arena;
        at_plan_free(plan);
    }
    at_graph_free(g);
    return status;
}

/* --- weights ---------------------------------------------------------------------------------- */

/* Weights that the device reads where they lie in the file are the system's to keep or not. */
static at_status add_weights(need *n, const at_model *m, at_sdxl_part part, at_dtype dtype,
                             at_error *err)
{
    const char *name = at_sdxl_part_name(part);
    const size_t length = strlen(name);
    at_source *s = NULL;
    AT_TRY(at_source_open(&s, m->path, err));
    for (int i = 0; i < s->list.count; i++) {
        const at_stored_tensor *t = &s->list.items[i];
        if (strncmp(t->name, name, length) != 0 || t->name[length] != '.')
            continue;
        const at_stored_info *info = at_stored_about(t->type);
        if (info->dtype != dtype || !m->device->api->uses_host_memory)
            n->weights += (size_t)(t->bytes / info->bytes) * at_dtype_bytes(dtype);
    }
    at_source_close(s);
    return AT_OK;
}

/* --- parts ------------------------------------------------------------------------------------ */

static at_status need_unet(need *n, const at_fits *f, at_error *err)
{
    const at_model *m = f->model;
    at_sdxl_unet_size text = f->size;
    at_sdxl_unet *unet = NULL;
    desk d;
    text.batch = f->rows;
    at_status status = open_desk(&d, f, err);
    if (status == AT_OK)
        status = at_sdxl_unet_new(&unet, d.store, &at_sdxl_about_of(m->sdxl)->unet, m->dtype, err);
    for (int step = 0; step < 2 && status == AT_OK; step++) {
        at_graph *g = at_graph_new();
        if (step)
            at_sdxl_unet_describe_step(unet, g, f->size);
        else
            at_sdxl_unet_describe_text(unet, g, text);
        status = add_plan(&d, n, g, err);
    }
    at_sdxl_unet_free(unet);
    close_desk(&d);
    return status == AT_OK ? add_weights(n, m, AT_SDXL_UNET, m->dtype, err) : status;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static at_status need_vae(need *n, const at_fits *f, bool encodes, at_error *err)
{
    const at_model *m = f->model;
    const at_sdxl_vae_config *config = &at_sdxl_about_of(m->sdxl)->vae;
    const at_dtype dtype = encodes && config->upcast ? AT_F32 : m->dtype;
    const int64_t shrinks = at_sdxl_vae_shrinks(config);
    const int64_t most = f->tiles && config->sample ? config->sample / shrinks : INT64_MAX;
    const int64_t height = least(f->size.height, most), width = least(f->size.width, most);
    at_sdxl_vae *vae = NULL;
    desk d;
    at_status status = open_desk(&d, f, err);
    if (status == AT_OK)
        status = at_sdxl_vae_new(&vae, d.store, config, dtype, err);
    if (status == AT_OK) {
        at_graph *g = at_graph_new();
        if (encodes)
            at_sdxl_vae_describe_encoder(vae, g, 1, height * shrinks, width * shrinks);
        else
            at_sdxl_vae_describe_decoder(vae, g, 1, height, width);
        status = add_plan(&d, n, g, err);
    }
    at_sdxl_vae_free(vae);
    close_desk(&d);
    return status == AT_OK ? add_weights(n, m, AT_SDXL_VAE, dtype, err) : status;
}

/* --- the check -------------------------------------------------------------------------------- */

static at_status check_need(const at_fits *f, at_sdxl_part part, const need *n, at_error *err)
{
    const at_device *device = f->model->device;
    const bool loaded = at_sdxl_store(f->model->sdxl, part) != NULL;
    const size_t arena = n->arena > device->range_mapped ? n->arena - device->range_mapped : 0;
    const size_t needed = (loaded ? 0 : n->weights + n->forms) + n->in_out + arena;
    const size_t there = at_device_memory_free(f->model->device);
    if (needed <= there)
        return AT_OK;
    return at_fail(err, AT_NO_MEMORY,
                   "the %s needs %zu bytes more on %s for %lld x %lld latents in %lld rows (%zu of "
                   "them working memory), and %zu are there",
                   at_sdxl_part_name(part), needed, device->api->name, (long long)f->size.width,
                   (long long)f->size.height, (long long)f->size.batch, arena, there);
}

static at_status check_vae(const at_fits *f, const need *kept, bool encodes, at_error *err)
{
    need n = { 0 };
    AT_TRY(need_vae(&n, f, encodes, err));
    n.in_out += kept->weights + kept->forms;
    return check_need(f, AT_SDXL_VAE, &n, err);
}

static at_status check_all(const at_fits *f, at_error *err)
{
    need unet = { 0 }, kept = { 0 };
    AT_TRY(need_unet(&unet, f, err));
    AT_TRY(check_need(f, AT_SDXL_UNET, &unet, err));
    if (f->encodes)
        AT_TRY(check_vae(f, &kept, true, err));
    if (f->model->options.keep_parts && !at_sdxl_store(f->model->sdxl, AT_SDXL_UNET))
        kept = unet;
    return f->decodes ? check_vae(f, &kept, false, err) : AT_OK;
}

at_status at_fits_most(const at_fits *f, size_t *bytes, at_error *err)
{
    need unet = { 0 }, vae = { 0 };
    AT_TRY(need_unet(&unet, f, err));
    AT_TRY(need_vae(&vae, f, false, err));
    const size_t arena = unet.arena > vae.arena ? unet.arena : vae.arena;
    const size_t step = unet.weights + unet.forms + unet.in_out + unet.arena;
    const size_t kept = f->model->options.keep_parts ? step - unet.arena : 0;
    const size_t decode = vae.weights + vae.forms + vae.in_out + arena + kept;
    *bytes = step > decode ? step : decode;
    return AT_OK;
}

at_status at_fits_check(const at_fits *f, at_error *err)
{
    char key[AT_MODEL_KEY_MAX];
    snprintf(key, sizeof key, "%lld %lld %lld %lld %d%d%d", (long long)f->size.batch,
             (long long)f->size.height, (long long)f->size.width, (long long)f->size.tokens,
             f->encodes, f->decodes, f->tiles);
    if (at_sdxl_store(f->model->sdxl, AT_SDXL_UNET) && !strcmp(key, f->model->fitted))
        return AT_OK;
    f->model->fitted[0] = 0;
    AT_TRY(check_all(f, err));
    memcpy(f->model->fitted, key, sizeof key);
    return AT_OK;
}
