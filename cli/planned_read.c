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

static bool read_side(const char **text, int64_t *side)
{
    char *end;
    const long value = strtol(*text, &end, 10);
    bool good = end > *text && end - *text <= 4 && **text >= '1' && **text <= '9';
    *side = value;
    *text = end;
    return good && value <= AT_PLANNED_SIDE_MAX && value % AT_SDXL_VAE_SHRINKS == 0;
}

static at_status read_size(const char *text, at_planned_request *r, at_error *err)
{
    const char *at = text;
    bool good = read_side(&at, &r->width);
    r->height = r->width;
    if (good && *at == 'x') {
        at++;
        good = read_side(&at, &r->height);
    }
    return good && !*at ? AT_OK
                        : at_fail(err, AT_INVALID,
                                  "--size: '%s' is not a side or WIDTHxHEIGHT of up to %d, "
                                  "divisible by %d",
                                  text, AT_PLANNED_SIDE_MAX, AT_SDXL_VAE_SHRINKS);
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

at_status at_planned_read(at_planned_request *r, const at_planned_words *w, at_error *err)
{
    bool known = false;
    *r = (at_planned_request){ .batch = w->batch,
                               .steps = w->steps,
                               .dtype = at_dtype_named(w->dtype) };
    for (size_t i = 0; i < AT_COUNT(models) && !known; i++) {
        known = !strcmp(models[i].name, w->model);
        r->model = models[i].model;
    }
    if (!known)
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
