#include "cli/plan_file.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/folders.h"

static at_status look(at_plan_file *f, const char *path, at_error *err)
{
    static const at_sdxl_part needed[] = { AT_SDXL_UNET, AT_SDXL_VAE };
    enum { LATENT_USUAL = 128 };
    f->about = at_sdxl_about_of(f->model);
    for (size_t i = 0; i < AT_COUNT(needed); i++)
        if (!f->about->has[needed[i]])
            return at_fail(err, AT_NOT_FOUND, "'%.200s' has no %s", path,
                           at_sdxl_part_name(needed[i]));
    const int64_t *sample = f->about->unet.sample, shrinks = at_sdxl_vae_shrinks(&f->about->vae);
    snprintf(f->size, sizeof f->size, "%" PRId64 "x%" PRId64,
             (sample[1] ? sample[1] : LATENT_USUAL) * shrinks,
             (sample[0] ? sample[0] : LATENT_USUAL) * shrinks);
    return AT_OK;
}

at_status at_plan_file_open(at_plan_file *out, const char *name, at_device *device, at_error *err)
{
    char path[AT_FOLDER_PATH_MAX];
    at_error why = { 0 };
    *out = (at_plan_file){ 0 };
    at_status status = at_folder_find(path, AT_FOLDER_MODELS, name, &why);
    if (status != AT_OK)
        return at_fail(
            err, status,
            "there is no model '%.60s': expected sdxl-unet, sdxl-vae, sdxl or a file, but "
            "%.350s",
            name, why.text);
    status = at_sdxl_open(&out->model, path, device, NULL, err);
    if (status == AT_OK)
        status = look(out, path, err);
    if (status != AT_OK)
        at_plan_file_close(out);
    return status;
}

void at_plan_file_close(at_plan_file *f)
{
    at_sdxl_close(f->model);
    *f = (at_plan_file){ 0 };
}
