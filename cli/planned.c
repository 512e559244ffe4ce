#include "cli/planned.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/build.h"
#include "engine/f8.h"

/* --- graphs ----------------------------------------------------------------------------------- */

static int64_t rows_of(const at_planned_request *r)
{
    return r->batch * (r->guidance ? 2 : 1);
}

static const at_sdxl_unet_config *unet_of(const at_planned_request *r)
{
    return r->about ? &r->about->unet : &at_sdxl_unet_base;
}

static const at_sdxl_vae_config *vae_of(const at_planned_request *r)
{
    return r->about ? &r->about->vae : &at_sdxl_vae_base;
}

/* The type of what is not a product. */
static at_dtype wide(at_dtype dtype)
{
    return dtype == AT_F8 ? AT_BF16 : dtype;
}

static at_graph *add_part(at_planned *p, const char *name, const char *what, double runs)
{
    AT_ASSERT(p->n_parts < AT_PLANNED_PARTS_MAX, "more than %d parts", AT_PLANNED_PARTS_MAX);
    at_planned_part *part = &p->parts[p->n_parts++];
    *part = (at_planned_part){ .name = name, .what = what, .runs = runs };
    return part->graph = at_graph_new();
}

/* Between steps: guidance and the sampler's arithmetic in f32, then the latents in the model's
 * type. */
static void describe_sampler(at_planned *p, int64_t height, int64_t width, at_dtype dtype)
{
    const at_planned_request *r = &p->request;
    const int64_t size[] = { r->batch, height, width, unet_of(r)->latent };
    const int64_t coefs[] = { r->batch, AT_DIFFUSION_COEFS };
    at_graph *g = add_part(p, "sampler", "guidance and a sampler's arithmetic", r->steps);
    at_tensor x = at_graph_input(g, "x", AT_F32, 4, size);
    at_tensor cond = at_graph_input(g, "cond", dtype, 4, size), uncond = { 0 };
    if (r->guidance)
        uncond = at_graph_input(g, "uncond", dtype, 4, size);
    at_diffusion_step_args args = {
        .x = at_graph_view(g, x),
        .cond = at_graph_view(g, cond),
        .uncond = at_graph_view(g, uncond),
        .coef = at_graph_view(g, at_graph_input(g, "coef", AT_F32, 2, coefs)),
    };
    at_graph_append(g, &at_op_diffusion_step, &args, 0);
    at_graph_output(g, at_tensor_of(&args.y), "y");
    at_graph_output(g, at_cast(g, at_tensor_of(&args.y), dtype), "latent");
}

/* Adds what f8 makes of a weight, without numbers: nobody reads them, and found in the store they
 * need no calibration. */
static at_status add_f8(at_params *store, const char *weight, at_error *err)
{
    static const int64_t one = 1;
    const struct {
        const char *what;
        at_dtype dtype;
    } parts[] = { { "f8", AT_F8 }, { "f8_scale", AT_F32 }, { "f8_input", AT_F32 } };
    const at_view w = at_params_named(store, weight)->view;
    for (size_t i = 0; i < AT_COUNT(parts); i++) {
        char name[256];
        const bool whole = parts[i].dtype == AT_F8;
        snprintf(name, sizeof name, "%s.%s", weight, parts[i].what);
        if (!at_params_named(store, name) &&
            !at_params_add(store, name, parts[i].dtype, whole ? w.rank : 1, whole ? w.size : &one,
                           err))
            return AT_NO_MEMORY;
    }
    return AT_OK;
}

/* The same graph with its products in f8 where they can be, in its place. */
static at_status narrow(at_planned *p, at_planned_part *part, at_error *err)
{
    at_graph *f8 = NULL;
    at_f8 *f = at_f8_new(part->graph, p->store);
    at_status status = AT_OK;
    for (int i = 0; i < at_f8_sites(f) && status == AT_OK; i++)
        status = add_f8(p->store, at_f8_site(f, i), err);
    if (status == AT_OK)
        status = at_f8_graph(f, &f8, err);
    at_f8_free(f);
    if (status != AT_OK)
        return status;
    at_graph_free(part->graph);
    part->graph = f8;
    return AT_OK;
}

static at_status describe_unet(at_planned *p, at_error *err)
{
    const at_planned_request *r = &p->request;
    const int64_t shrinks = at_sdxl_vae_shrinks(vae_of(r));
    const at_sdxl_unet_size size = { rows_of(r), r->height / shrinks, r->width / shrinks,
                                     AT_SDXL_TOKENS };
    const bool whole = r->model == AT_PLANNED_SDXL;
    const at_dtype dtype = wide(r->dtype);
    at_status status = at_sdxl_unet_new(&p->unet, p->store, unet_of(r), dtype, err);
    if (status != AT_OK)
        return status;
    at_graph *g = add_part(p, "text", "keys and values of the text, for all steps", 1);
    at_sdxl_unet_describe_text(p->unet, g, size);
    g = add_part(p, "step", "the UNet", whole ? r->steps : 1);
    at_sdxl_unet_describe_step(p->unet, g, size);
    if (r->dtype == AT_F8)
        status = narrow(p, &p->parts[p->n_parts - 1], err);
    if (whole)
        describe_sampler(p, size.height, size.width, dtype);
    return status;
}

/* One picture after the other: at 1024x1024 a tensor of one has a quarter of a gigabyte. */
static at_status describe_vae(at_planned *p, at_error *err)
{
    const at_planned_request *r = &p->request;
    at_status status = at_sdxl_vae_new(&p->vae, p->store, vae_of(r), wide(r->dtype), err);
    if (status != AT_OK)
        return status;
    at_graph *g = add_part(p, "decode", "the VAE, latent to picture", (double)r->batch);
    const int64_t shrinks = at_sdxl_vae_shrinks(vae_of(r));
    at_sdxl_vae_describe_decoder(p->vae, g, 1, r->height / shrinks, r->width / shrinks);
    if (r->model == AT_PLANNED_SDXL)
        return AT_OK;
    g = add_part(p, "encode", "the VAE, picture to latent", (double)r->batch);
    at_sdxl_vae_describe_encoder(p->vae, g, 1, r->height, r->width);
    return AT_OK;
}

at_status at_planned_describe(at_planned *p, const at_planned_request *r, at_device *device,
                              at_error *err)
{
    at_status status = AT_OK;
    *p = (at_planned){ .request = *r, .store = at_params_new(device) };
    if (r->model == AT_PLANNED_SDXL)
        p->parts[p->n_parts++] = (at_planned_part){
            .name = "encoders", .what = "both text encoders, estimated from their sizes", .runs = 1
        };
    if (r->model != AT_PLANNED_VAE)
        status = describe_unet(p, err);
    if (r->model != AT_PLANNED_UNET && status == AT_OK)
        status = describe_vae(p, err);
    return status;
}

void at_planned_free(at_planned *p)
{
    for (int i = 0; i < p->n_parts; i++) {
        at_budget_free(p->parts[i].budget);
        at_graph_free(p->parts[i].graph);
    }
    at_sdxl_unet_free(p->unet);
    at_sdxl_vae_free(p->vae);
    at_params_free(p->store);
    *p = (at_planned){ 0 };
}

/* --- bytes ------------------------------------------------------------------------------------ */

at_status at_planned_plan(at_planned *p, at_error *err)
{
    const at_plan_options options = { .exact = p->request.exact };
    at_status status = AT_OK;
    for (int i = 0; i < p->n_parts && status == AT_OK; i++) {
        at_planned_part *part = &p->parts[i];
        at_plan *plan;
        if (!part->graph)
            continue;
        status =
            at_plan_new(&plan, at_params_device(p->store), p->store, part->graph, &options, err);
        if (status != AT_OK)
            return status;
        part->bytes = at_plan_memory(plan);
        at_plan_free(plan);
    }
    return status;
}

/* --- costs ------------------------------------------------------------------------------------ */

enum { ENCODERS = 2, PRODUCTS = 4 /* of the width by itself, in a layer */ };

typedef struct encoder_size {
    double layers, weights; /* of one layer */
} encoder_size;

/* All but the last layer of the first encoder are needed, and all of the second; without one, 0. */
static void size_encoders(encoder_size out[ENCODERS], const at_sdxl_about *about)
{
    for (int i = 0; i < ENCODERS; i++) {
        const at_clip_text_config *c = &about->text[i];
        const double width = (double)c->width;
        out[i].layers = c->layers > 0 ? (double)(c->layers - (i == 0)) : 0;
        out[i].weights = PRODUCTS * width * width + 2 * width * (double)c->inner;
    }
}

/* CLIP ViT-L (11 of its 12 layers are needed) and OpenCLIP bigG, or what a file has, without their
 * embeddings: a multiplication by each weight for every token, the weights read once. */
static double encoder_seconds(const at_planned *p, const at_gpu *gpu)
{
    encoder_size encoders[ENCODERS] = { { 11, 7.09e6 }, { 32, 19.68e6 } };
    enum { CALLS = 9 /* of a layer */ };
    if (p->request.about)
        size_encoders(encoders, p->request.about);
    const double tokens = (double)rows_of(&p->request) * AT_SDXL_TOKENS;
    double weights = 0, calls = 0;
    for (size_t i = 0; i < AT_COUNT(encoders); i++) {
        weights += encoders[i].layers * encoders[i].weights;
        calls += encoders[i].layers * CALLS;
    }
    const at_share share = at_share_of(AT_WORK_PRODUCT, 0);
    return fmax(2 * weights * tokens / (gpu->figures[AT_FIGURE_BF16].value * share.arithmetic),
                2 * weights / (gpu->figures[AT_FIGURE_COPY].value * share.bandwidth)) +
           calls * gpu->figures[AT_FIGURE_LAUNCH].value;
}

at_status at_planned_price(at_planned *p, const at_gpu *gpu, const at_budget_options *options,
                           at_error *err)
{
    for (int i = 0; i < p->n_parts; i++) {
        at_planned_part *part = &p->parts[i];
        at_budget_free(part->budget);
        part->budget = NULL;
        if (!part->graph) {
            part->seconds = encoder_seconds(p, gpu);
            continue;
        }
        at_status status = at_budget_new(&part->budget, gpu, part->graph, options, err);
        if (status != AT_OK)
            return status;
        part->seconds = at_budget_all(part->budget)->seconds;
    }
    return AT_OK;
}

double at_planned_seconds(const at_planned *p)
{
    double seconds = 0;
    for (int i = 0; i < p->n_parts; i++)
        seconds += p->parts[i].runs * p->parts[i].seconds;
    return seconds;
}

double at_planned_measured_seconds(const at_planned *p)
{
    double seconds = at_planned_seconds(p);
    for (int i = 0; i < p->n_parts; i++) {
        if (!p->parts[i].budget)
            continue;
        const at_budget_line *all = at_budget_all(p->parts[i].budget);
        seconds += p->parts[i].runs * (all->measured_seconds - all->measured_expected);
    }
    return seconds;
}

at_planned_part *at_planned_part_named(at_planned *p, const char *name)
{
    for (int i = 0; i < p->n_parts; i++)
        if (!strcmp(p->parts[i].name, name))
            return &p->parts[i];
    return NULL;
}
