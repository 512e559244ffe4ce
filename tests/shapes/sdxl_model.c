#include "tests/shapes/sdxl_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/sdxl_config.h"
#include "tests/shapes/sdxl_tiny.h"
#include "tests/told.h"

enum { NAME_ROOM = 192 };

static const char *const folders[] = {
#define AT_SDXL_PART(NAME, folder) folder,
#include "models/sdxl_parts.def"
#undef AT_SDXL_PART
};

static void describe_text(sdxl_model *m, int i, at_clip_text_config *config)
{
    at_error err;
    const char *json = m->configs[i];
    if (!json)
        return;
    test_must(at_clip_text_config_read(config, json, strlen(json), &err), &err);
    test_must(at_clip_text_new(&m->text[i], m->stores[i], config, AT_F32, &err), &err);
}

sdxl_model sdxl_model_describe(const char *const configs[AT_SDXL_PARTS])
{
    sdxl_model m = { .unet = NULL };
    at_clip_text_config text[2] = { { 0 } };
    at_sdxl_unet_config unet;
    at_sdxl_vae_config vae;
    at_error err;
    for (int i = 0; i < AT_SDXL_PARTS; i++) {
        m.configs[i] = configs[i];
        m.stores[i] = at_params_new(NULL);
    }
    for (int i = 0; i < 2; i++)
        describe_text(&m, i, &text[i]);
    const char *json = configs[AT_SDXL_UNET];
    if (json) {
        test_must(at_sdxl_unet_config_read(&unet, json, strlen(json), text[1].projection, &err),
                  &err);
        test_must(at_sdxl_unet_new(&m.unet, m.stores[AT_SDXL_UNET], &unet, AT_F32, &err), &err);
    }
    json = configs[AT_SDXL_VAE];
    if (json) {
        test_must(at_sdxl_vae_config_read(&vae, json, strlen(json), &err), &err);
        test_must(at_sdxl_vae_new(&m.vae, m.stores[AT_SDXL_VAE], &vae, AT_F32, &err), &err);
    }
    return m;
}

void sdxl_model_end(sdxl_model *m)
{
    for (int i = 0; i < 2; i++)
        at_clip_text_free(m->text[i]);
    at_sdxl_unet_free(m->unet);
    at_sdxl_vae_free(m->vae);
    for (int i = 0; i < AT_SDXL_PARTS; i++)
        at_params_free(m->stores[i]);
}

int sdxl_model_count(const sdxl_model *m, int part)
{
    if (!m->configs[part])
        return 0;
    return part == AT_SDXL_UNET  ? at_sdxl_unet_params(m->unet)
           : part == AT_SDXL_VAE ? at_sdxl_vae_params(m->vae)
                                 : at_clip_text_params(m->text[part]);
}

const at_param *sdxl_model_param(const sdxl_model *m, int part, int i)
{
    return part == AT_SDXL_UNET  ? at_sdxl_unet_param(m->unet, i)
           : part == AT_SDXL_VAE ? at_sdxl_vae_param(m->vae, i)
                                 : at_clip_text_param(m->text[part], i);
}

static void add_tensor(at_tensors *list, const char *folder, const at_param *p)
{
    char name[NAME_ROOM];
    at_error err;
    const at_stored_tensor t = { .size = p->view.size,
                                 .rank = (int16_t)p->view.rank,
                                 .type = AT_STORED_F32,
                                 .bytes = at_view_bytes(&p->view) };
    snprintf(name, sizeof name, "%s.%s", folder, p->name);
    test_must(at_tensors_add(list, &t, name, strlen(name), &err), &err);
}

void sdxl_model_list(const sdxl_model *m, at_tensors *list)
{
    char name[NAME_ROOM];
    at_error err;
    for (int part = 0; part < AT_SDXL_PARTS; part++) {
        const char *json = m->configs[part];
        for (int i = 0; i < sdxl_model_count(m, part); i++)
            add_tensor(list, folders[part], sdxl_model_param(m, part, i));
        snprintf(name, sizeof name, "%s/config.json", folders[part]);
        if (json)
            test_must(at_tensors_add_text(list, name, strlen(name), json, strlen(json), &err),
                      &err);
    }
}

float *sdxl_model_values(const at_stored_tensor *t)
{
    const int64_t n = (int64_t)(t->bytes / sizeof(float));
    const double fan = (double)n / (double)t->size[0];
    const double scale = t->rank > 1 ? sqrt(3 / fan) : 0.1;
    const double shift = t->rank == 1 && strstr(t->name, "norm") && strstr(t->name, "weight");
    return sdxl_tiny_numbers(AT_F32, n, scale, shift, sdxl_tiny_seed(t->name));
}
