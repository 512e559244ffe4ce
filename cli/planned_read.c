/* planned_read.c -- what was asked for, from the words of a command line. */
#include <stdlib.h>
#include <string.h>

#include "cli/planned.h"

const at_planned_words at_planned_usual = {
    .batch = 1,
    .steps = 30,
    .size = "1024",
    .guidance = "yes",
    .dtype = "bf16",
    .mode = "exact",
};

static const struct {
    const char *name;
    at_planned_model model;
} models[] = {
    { "sdxl-unet", AT_PLANNED_UNET },
    { "sdxl-vae", AT_PLANNED_VAE },
    { "sdxl", AT_PLANNED_SDXL },
};

static bool read_side(const char **text, int64_t *side, int64_t multiple)
{
    char *end;
    const long value = strtol(*text, &end, 10);
    bool good = end > *text && end - *text <= 4 && **text >= '1' && **text <= '9';
    *side = value;
    *text = end;
    return good && value <= AT_PLANNED_SIDE_MAX && value % multiple == 0;
}

static at_status read_size(const char *text, at_planned_request *r, at_error *err)
{
    const char *at = text;
    const int multiple = r->about ? (int)at_sdxl_vae_shrinks(&r->about->vae) : AT_SDXL_VAE_SHRINKS;
    bool good = read_side(&at, &r->width, multiple);
    r->height = r->width;
    if (good && *at == 'x') {
        at++;
        good = read_side(&at, &r->height, multiple);
    }
    return good && !*at ? AT_OK
                        : at_fail(err, AT_INVALID,
                                  "--size: '%s' is not a side or WIDTHxHEIGHT of up to %d, "
                                  "divisible by %d",
                                  text, AT_PLANNED_SIDE_MAX, multiple);
}

/* One of two words. */
static at_status read_choice(const char *option, const char *text, const char *yes, const char *no,
                             bool *out, at_error *err)
{
    *out = !strcmp(text, yes);
    return *out || !strcmp(text, no)
               ? AT_OK
               : at_fail(err, AT_INVALID, "%s: '%s' is neither %s nor %s", option, text, yes, no);
}

static bool find_model(const char *name, at_planned_model *out)
{
    for (size_t i = 0; i < AT_COUNT(models); i++)
        if (!strcmp(models[i].name, name)) {
            *out = models[i].model;
            return true;
        }
    return false;
}

bool at_planned_knows(const char *model)
{
    at_planned_model found;
    return find_model(model, &found);
}

at_status at_planned_read(at_planned_request *r, const at_planned_words *w, at_error *err)
{
    *r = (at_planned_request){ .batch = w->batch,
                               .steps = w->steps,
                               .dtype = at_dtype_named(w->dtype),
                               .about = w->about,
                               .model = AT_PLANNED_SDXL };
    if (!w->about && !find_model(w->model, &r->model))
        return at_fail(err, AT_NOT_FOUND,
                       "there is no model '%s': expected sdxl-unet, sdxl-vae or sdxl", w->model);
    if (r->dtype != AT_F32 && r->dtype != AT_BF16 && r->dtype != AT_F16 && r->dtype != AT_F8)
        return at_fail(err, AT_INVALID, "--dtype: '%s' is not f32, bf16, f16 or f8", w->dtype);
    if (r->dtype == AT_F8 && r->model == AT_PLANNED_VAE)
        return at_fail(err, AT_INVALID, "--dtype: the VAE has no products for f8");
    at_status status = read_size(w->size, r, err);
    if (status == AT_OK)
        status = read_choice("--guidance", w->guidance, "yes", "no", &r->guidance, err);
    if (status == AT_OK)
        status = read_choice("--mode", w->mode, "exact", "fast", &r->exact, err);
    return status;
}
