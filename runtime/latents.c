/* latents.c -- the VAE's plans, and tiles of them. */
#include "runtime/latents.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/shape.h"

/* The share of a tile that the next one covers too. */
#define OVERLAP 0.25

/* What diffusers takes for a config without sample_size. */
enum { PIXEL = 3, SAMPLE_USUAL = 32 };

at_status at_latents_load(at_model *m, at_latents_way way, at_error *err)
{
    const bool upcast = way == AT_LATENTS_ENCODE && at_sdxl_about_of(m->sdxl)->vae.upcast;
    return at_model_load(m, AT_SDXL_VAE, upcast ? AT_F32 : m->dtype, NULL, err);
}

/* --- one run ---------------------------------------------------------------------------------- */

/* (height, width, channels) f32. */
typedef struct grid {
    int64_t height, width, channels;
    float *at;
} grid;

/* One half of the VAE. */
typedef struct coder {
    at_model *model;
    at_latents_way way;
    at_latents_tiles tiles;
    const char *in, *out; /* names of the graph's tensors */
    const at_sdxl_vae_config *vae;
} coder;

typedef struct coding {
    at_latents_way way;
    int64_t height, width;
} coding;

static void describe_half(const at_model *m, at_graph *g, const void *what)
{
    const coding *c = what;
    const at_sdxl_vae *vae = at_sdxl_vae_of(m->sdxl);
    if (c->way == AT_LATENTS_ENCODE)
        at_sdxl_vae_describe_encoder(vae, g, 1, c->height, c->width);
    else
        at_sdxl_vae_describe_decoder(vae, g, 1, c->height, c->width);
}

static at_status new_grid(grid *g, int64_t height, int64_t width, int64_t channels, at_error *err)
{
    *g = (grid){ height, width, channels, NULL };
    g->at = malloc((size_t)(height * width * channels) * sizeof *g->at);
    return g->at ? AT_OK
                 : at_fail(err, AT_NO_MEMORY, "no memory for %lld x %lld values of the VAE",
                           (long long)width, (long long)height);
}

static at_status set_input(at_plan *plan, at_tensor t, const float *values, at_error *err)
{
    const at_view v = at_graph_view(at_plan_graph(plan), t);
    const int64_t n = at_elements(&v);
    void *raw = malloc(at_view_bytes(&v));
    if (!raw)
        return at_fail(err, AT_NO_MEMORY, "no memory for what the VAE reads");
    for (int64_t i = 0; i < n; i++)
        at_store(raw, i, v.dtype, (double)values[i]);
    const at_status status = at_plan_set(plan, t, raw, err);
    free(raw);
    return status;
}

static bool is_finite(const grid *g)
{
    bool finite = true;
    for (int64_t i = 0; i < g->height * g->width * g->channels; i++)
        finite = finite && isfinite(g->at[i]);
    return finite;
}

/* A new grid, to be freed. */
static at_status get_output(at_plan *plan, at_tensor t, grid *out, at_error *err)
{
    const at_view v = at_graph_view(at_plan_graph(plan), t);
    void *raw = malloc(at_view_bytes(&v));
    at_status status = raw ? AT_OK : at_fail(err, AT_NO_MEMORY, "no memory for what the VAE gives");
    if (status == AT_OK)
        status = at_plan_get(plan, t, raw, err);
    if (status == AT_OK)
        status = new_grid(out, v.size[1], v.size[2], v.size[3], err);
    for (int64_t i = 0; status == AT_OK && i < at_elements(&v); i++)
        out->at[i] = (float)at_load(raw, i, v.dtype);
    free(raw);
    return status;
}

/* 'out' is a new grid, to be freed. */
static at_status run_half(const coder *c, grid *out, const grid *in, at_error *err)
{
    const coding what = { c->way, in->height, in->width };
    const char *name = c->way == AT_LATENTS_ENCODE ? "encode" : "decode";
    char key[AT_MODEL_KEY_MAX];
    at_plan *plan = NULL;
    snprintf(key, sizeof key, "%s %lld %lld", name, (long long)in->height, (long long)in->width);
    AT_TRY(at_model_plan(c->model, AT_SDXL_VAE, key, describe_half, &what, &plan, err));
    AT_TRY(set_input(plan, at_graph_named(at_plan_graph(plan), c->in), in->at, err));
    AT_TRY(at_plan_run(plan, err));
    AT_TRY(get_output(plan, at_graph_named(at_plan_graph(plan), c->out), out, err));
    if (is_finite(out))
        return AT_OK;
    free(out->at);
    *out = (grid){ 0 };
    return at_model_not_finite(
        plan, c->way == AT_LATENTS_ENCODE ? "what the VAE encodes" : "what the VAE decodes", err);
}

/* --- tiles ------------------------------------------------------------------------------------ */

/* Sides of tiles before and after, what of a tile stays, and what is blended. */
typedef struct tiling {
    int64_t side, step, keep, blend;
} tiling;

static tiling tiling_of(const coder *c)
{
    const int64_t pixels = c->vae->sample ? c->vae->sample : SAMPLE_USUAL;
    const int64_t latents = pixels / at_sdxl_vae_shrinks(c->vae);
    const int64_t in = c->way == AT_LATENTS_ENCODE ? pixels : latents;
    const int64_t out = c->way == AT_LATENTS_ENCODE ? latents : pixels;
    const int64_t blend = (int64_t)((double)out * OVERLAP);
    return (tiling){ in, (int64_t)((double)in * (1 - OVERLAP)), out - blend, blend };
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static at_status cut_tile(grid *out, const grid *in, int64_t top, int64_t left, int64_t side,
                          at_error *err)
{
    const int64_t height = least(side, in->height - top), width = least(side, in->width - left);
    AT_TRY(new_grid(out, height, width, in->channels, err));
    for (int64_t y = 0; y < height; y++)
        memcpy(out->at + y * width * in->channels,
               in->at + ((top + y) * in->width + left) * in->channels,
               (size_t)(width * in->channels) * sizeof *out->at);
    return AT_OK;
}

/* Mixes the last rows of the tile above into the first of 'b'. */
static void blend_rows(const grid *a, grid *b, int64_t extent)
{
    extent = least(extent, least(a->height, b->height));
    const int64_t n = b->width * b->channels;
    for (int64_t y = 0; y < extent; y++) {
        const float share = (float)((double)y / (double)extent), rest = (float)(1 - (double)share);
        const float *from = a->at + (a->height - extent + y) * n;
        float *to = b->at + y * n;
        for (int64_t i = 0; i < n; i++)
            to[i] = from[i] * rest + to[i] * share;
    }
}

/* The same of columns and the tile on the left. */
static void blend_columns(const grid *a, grid *b, int64_t extent)
{
    extent = least(extent, least(a->width, b->width));
    for (int64_t y = 0; y < b->height; y++)
        for (int64_t x = 0; x < extent; x++) {
            const float share = (float)((double)x / (double)extent);
            const float rest = (float)(1 - (double)share);
            const float *from = a->at + (y * a->width + a->width - extent + x) * b->channels;
            float *to = b->at + (y * b->width + x) * b->channels;
            for (int64_t i = 0; i < b->channels; i++)
                to[i] = from[i] * rest + to[i] * share;
        }
}

static void paste_tile(grid *out, const grid *tile, int64_t top, int64_t left, int64_t keep)
{
    const int64_t height = least(least(tile->height, keep), out->height - top);
    const int64_t width = least(least(tile->width, keep), out->width - left);
    for (int64_t y = 0; y < height; y++)
        memcpy(out->at + ((top + y) * out->width + left) * out->channels,
               tile->at + y * tile->width * tile->channels,
               (size_t)(width * out->channels) * sizeof *out->at);
}

static void free_row(grid *row, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        free(row[i].at);
        row[i] = (grid){ 0 };
    }
}

/* A row of tiles, blended with the row above, if there is one, and among themselves. */
static at_status make_row(const coder *c, grid *row, const grid *above, const grid *in, int64_t top,
                          const tiling *t, at_error *err)
{
    int64_t n = 0;
    for (int64_t left = 0; left < in->width; left += t->step, n++) {
        grid tile;
        at_status status = cut_tile(&tile, in, top, left, t->side, err);
        if (status != AT_OK)
            return status;
        status = run_half(c, &row[n], &tile, err);
        free(tile.at);
        if (status != AT_OK)
            return status;
        if (above)
            blend_rows(&above[n], &row[n], t->blend);
        if (n)
            blend_columns(&row[n - 1], &row[n], t->blend);
    }
    return AT_OK;
}

static at_status run_tiles(const coder *c, grid *out, const grid *in, at_error *err)
{
    const tiling t = tiling_of(c);
    const int64_t n = (in->width + t.step - 1) / t.step;
    grid *rows[2] = { calloc((size_t)n, sizeof *rows[0]), calloc((size_t)n, sizeof *rows[0]) };
    at_status status =
        rows[0] && rows[1] ? AT_OK : at_fail(err, AT_NO_MEMORY, "no memory for tiles");
    int64_t k = 0;
    for (int64_t top = 0; top < in->height && status == AT_OK; top += t.step, k++) {
        grid *row = rows[k % 2];
        free_row(row, n);
        status = make_row(c, row, k ? rows[(k + 1) % 2] : NULL, in, top, &t, err);
        for (int64_t i = 0; i < n && status == AT_OK; i++)
            paste_tile(out, &row[i], k * t.keep, i * t.keep, t.keep);
    }
    for (int i = 0; i < 2; i++) {
        if (rows[i])
            free_row(rows[i], n);
        free(rows[i]);
    }
    return status;
}

/* 'out' has its room. */
static at_status run_coder(const coder *c, grid *out, const grid *in, at_error *err)
{
    const tiling t = tiling_of(c);
    const bool large = in->height > t.side || in->width > t.side;
    grid whole = { 0 };
    if (c->tiles == AT_LATENTS_TILED && large && t.step > 0)
        return run_tiles(c, out, in, err);
    AT_TRY(run_half(c, &whole, in, err));
    paste_tile(out, &whole, 0, 0, whole.height > whole.width ? whole.height : whole.width);
    free(whole.at);
    return AT_OK;
}

/* --- the two ways ----------------------------------------------------------------------------- */

at_status at_latents_decode(at_model *m, float *picture, const float *latents,
                            const int64_t size[3], at_latents_tiles tiles, at_error *err)
{
    const at_sdxl_vae_config *vae = &at_sdxl_about_of(m->sdxl)->vae;
    const coder c = { m, AT_LATENTS_DECODE, tiles, "latent", "picture", vae };
    const int64_t shrinks = at_sdxl_vae_shrinks(vae), n = size[1] * size[2];
    grid out = { size[1] * shrinks, size[2] * shrinks, PIXEL, picture }, in;
    AT_TRY(new_grid(&in, size[1], size[2], size[0], err));
    for (int64_t k = 0; k < size[0]; k++)
        for (int64_t i = 0; i < n; i++) {
            const float x = latents[k * n + i], scaling = (float)vae->scaling;
            in.at[i * size[0] + k] = vae->normalized
                                         ? x * (float)vae->std[k] / scaling + (float)vae->mean[k]
                                         : x / scaling + (float)vae->shift;
        }
    const at_status status = run_coder(&c, &out, &in, err);
    free(in.at);
    return status;
}

at_status at_latents_encode(at_model *m, float *moments, const float *picture,
                            const int64_t size[3], at_latents_tiles tiles, at_error *err)
{
    const at_sdxl_vae_config *vae = &at_sdxl_about_of(m->sdxl)->vae;
    const coder c = { m, AT_LATENTS_ENCODE, tiles, "picture", "moments", vae };
    const int64_t shrinks = at_sdxl_vae_shrinks(vae), n = size[1] * size[2] * shrinks * shrinks;
    grid out = { size[1], size[2], 2 * size[0], moments }, in;
    AT_TRY(new_grid(&in, size[1] * shrinks, size[2] * shrinks, PIXEL, err));
    memcpy(in.at, picture, (size_t)(n * PIXEL) * sizeof *picture);
    const at_status status = run_coder(&c, &out, &in, err);
    free(in.at);
    return status;
}

void at_latents_sample(float *latents, const float *moments, const float *noise,
                       const at_sdxl_vae_config *vae, const int64_t size[3],
                       at_latents_scaling scaling)
{
    const int64_t channels = size[0], n = size[1] * size[2];
    const float scale = (float)vae->scaling;
    for (int64_t k = 0; k < channels; k++)
        for (int64_t i = 0; i < n; i++) {
            const float *at = moments + i * 2 * channels;
            const float spread = expf(0.5f * fminf(fmaxf(at[channels + k], -30), 20));
            const float z = at[k] + spread * noise[k * n + i];
            latents[k * n + i] = vae->normalized && scaling == AT_LATENTS_NORMALIZED
                                     ? (z - (float)vae->mean[k]) * scale / (float)vae->std[k]
                                     : (z - (float)vae->shift) * scale;
        }
}

void at_latents_to_u8(uint8_t *out, const float *picture, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = (uint8_t)rintf(fminf(fmaxf(picture[i] * 0.5f + 0.5f, 0), 1) * 255);
}

void at_latents_from_u8(float *out, const uint8_t *picture, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)picture[i] / 255 * 2 - 1;
}
