/* The visitor runs over a store whose device is of paper: parameters get addresses and no memory.
 * Where a parameter lies in its storage is told by its address. */
#include "models/sdxl_wanted.h"

#include <stdlib.h>
#include <string.h>

#include "engine/device_paper.h"
#include "models/sdxl_config.h"

/* More than any model of these sizes has; a config may say what it likes. */
static const size_t paper_bytes = (size_t)1 << 40;

/* --- the model -------------------------------------------------------------------------------- */

typedef struct model {
    at_device *device;
    at_params *store;
    at_sdxl_unet *unet;
    at_sdxl_vae *vae;
    at_clip_text *text;
} model;

static at_status describe(model *m, at_sdxl_part part, const at_sdxl_configs *c, at_error *err)
{
    const at_caps caps = { .kind = AT_CPU };
    at_status status = at_device_open_paper(&m->device, "paper", &caps, paper_bytes, err);
    if (status != AT_OK)
        return status;
    m->store = at_params_new(m->device);
    switch (part) {
    case AT_SDXL_UNET: return at_sdxl_unet_new(&m->unet, m->store, &c->unet, AT_BF16, err);
    case AT_SDXL_VAE: return at_sdxl_vae_new(&m->vae, m->store, &c->vae, AT_BF16, err);
    default:
        return at_clip_text_new(&m->text, m->store, &c->text[part != AT_SDXL_TEXT_1], AT_BF16, err);
    }
}

static void drop(model *m)
{
    at_sdxl_unet_free(m->unet);
    at_sdxl_vae_free(m->vae);
    at_clip_text_free(m->text);
    at_params_free(m->store);
    at_device_close(m->device);
}

static int params_of(const model *m)
{
    if (m->unet)
        return at_sdxl_unet_params(m->unet);
    return m->vae ? at_sdxl_vae_params(m->vae) : at_clip_text_params(m->text);
}

static const at_param *param_of(const model *m, int i)
{
    if (m->unet)
        return at_sdxl_unet_param(m->unet, i);
    return m->vae ? at_sdxl_vae_param(m->vae, i) : at_clip_text_param(m->text, i);
}

/* --- their order ------------------------------------------------------------------------------ */

/* A parameter: where its storage was met first, and its own place in that. */
typedef struct placed {
    const at_param *param;
    int first;
    size_t offset;
} placed;

static int compare_places(const void *a, const void *b)
{
    const placed *p = a, *q = b;
    if (p->first != q->first)
        return p->first < q->first ? -1 : 1;
    return p->offset < q->offset ? -1 : p->offset > q->offset;
}

/* 'first' has a place for every parameter of the store. */
static void place(placed *out, int *first, const model *m, int n)
{
    for (int i = 0; i < n; i++) {
        const at_param *p = param_of(m, i), *storage = p->storage;
        const char *begin = storage->view.data, *at = p->view.data;
        if (first[storage->index] < 0)
            first[storage->index] = i;
        out[i] = (placed){ p, first[storage->index], p == storage ? 0 : (size_t)(at - begin) };
    }
    qsort(out, (size_t)n, sizeof *out, compare_places);
}

static at_status copy(at_sdxl_wanted_list *out, const placed *from, int n, at_error *err)
{
    size_t bytes = 0;
    for (int i = 0; i < n; i++)
        bytes += strlen(from[i].param->name) + 1;
    out->names = malloc(bytes + 1);
    out->items = calloc((size_t)n + 1, sizeof *out->items);
    if (!out->names || !out->items)
        return at_fail(err, AT_NO_MEMORY, "no memory for a list of %d tensors", n);
    char *to = out->names;
    for (int i = 0; i < n; i++) {
        const at_param *p = from[i].param;
        const size_t length = strlen(p->name) + 1;
        at_sdxl_wanted *w = &out->items[out->count++];
        *w = (at_sdxl_wanted){ .name = memcpy(to, p->name, length), .rank = p->view.rank };
        AT_ASSERT(w->rank <= AT_SDXL_RANK_MAX, "%s has %d axes", p->name, w->rank);
        memcpy(w->size, p->view.size, (size_t)w->rank * sizeof *w->size);
        to += length;
    }
    return AT_OK;
}

at_status at_sdxl_wanted_of(at_sdxl_wanted_list *out, at_sdxl_part part,
                            const at_sdxl_configs *configs, at_error *err)
{
    model m = { 0 };
    *out = (at_sdxl_wanted_list){ 0 };
    at_status status = describe(&m, part, configs, err);
    if (status == AT_OK) {
        const int n = params_of(&m), all = at_params_count(m.store);
        placed *places = calloc((size_t)n + 1, sizeof *places);
        int *first = malloc(((size_t)all + 1) * sizeof *first);
        if (places && first) {
            memset(first, -1, (size_t)all * sizeof *first);
            place(places, first, &m, n);
            status = copy(out, places, n, err);
        } else {
            status = at_fail(err, AT_NO_MEMORY, "no memory for a list of %d tensors", n);
        }
        free(places);
        free(first);
    }
    drop(&m);
    return status;
}

void at_sdxl_wanted_free(at_sdxl_wanted_list *list)
{
    free(list->items);
    free(list->names);
    *list = (at_sdxl_wanted_list){ 0 };
}

/* --- configurations --------------------------------------------------------------------------- */

at_status at_sdxl_configs_read(at_sdxl_configs *c, at_sdxl_part part, const char *json,
                               size_t bytes, const char *what, at_error *err)
{
    at_error why = { AT_OK, "" };
    at_status status;
    switch (part) {
    case AT_SDXL_UNET:
        status = at_sdxl_unet_config_read(&c->unet, json, bytes, c->text[1].projection, &why);
        break;
    case AT_SDXL_VAE: status = at_sdxl_vae_config_read(&c->vae, json, bytes, &why); break;
    default: status = at_clip_text_config_read(&c->text[part != AT_SDXL_TEXT_1], json, bytes, &why);
    }
    if (status == AT_OK && part == AT_SDXL_TEXT_2 && !c->text[1].projection)
        status = at_fail(&why, AT_UNSUPPORTED,
                         "expected a CLIPTextModelWithProjection, whose projection the UNet reads");
    return status == AT_OK ? AT_OK : at_fail(err, status, "%s: %.380s", what, why.text);
}
