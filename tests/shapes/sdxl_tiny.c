#include "tests/shapes/sdxl_tiny.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const at_sdxl_unet_config sdxl_tiny_unet = {
    .levels = 3,
    .channels = { 32, 64, 128 },
    .heads = { 2, 4, 8 },
    .layers = { 2, 2, 2 },
    .down = { { 0 }, { 1, 1 }, { 2, 2 } },
    .up = { { 2, 2, 2 }, { 1, 1, 1 }, { 0 } },
    .mid_resnets = 2,
    .mid_depth = 2,
    .in = 4,
    .latent = 4,
    .context = 48,
    .pooled = 24,
    .sizes = 6,
    .size_dim = 8,
    .groups = 32,
    .eps = 1e-5f,
    .cos_first = true,
};

const at_sdxl_vae_config sdxl_tiny_vae = {
    .levels = 4,
    .channels = { 32, 32, 64, 64 },
    .layers = 2,
    .latent = 4,
    .groups = 32,
    .attention = true,
    .quant = true,
    .post_quant = true,
    .scaling = 0.13025,
};

/* FNV-1a */
uint64_t sdxl_tiny_seed(const char *text)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 0x100000001b3u;
    return h;
}

/* splitmix64 */
static double uniform(uint64_t *seed)
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) / 4503599627370496.0 - 1;
}

void *sdxl_tiny_numbers(at_dtype dtype, int64_t n, double scale, double shift, uint64_t seed)
{
    void *data = malloc((size_t)n * at_dtype_bytes(dtype));
    AT_ASSERT(data, "no memory for %lld numbers", (long long)n);
    for (int64_t i = 0; i < n; i++)
        at_store(data, i, dtype, shift + scale * uniform(&seed));
    return data;
}

void sdxl_tiny_fill(at_params *store)
{
    for (int i = 0; i < at_params_count(store); i++) {
        at_param *p = at_params_at(store, i);
        const at_view *v = &p->view;
        const double fan = (double)at_elements(v) / (double)v->size[0];
        const double scale = v->rank > 1 ? sqrt(3 / fan) : 0.1;
        const double shift = v->rank == 1 && strstr(p->name, "norm") && strstr(p->name, "weight");
        void *data =
            sdxl_tiny_numbers(v->dtype, at_elements(v), scale, shift, sdxl_tiny_seed(p->name));
        at_param_upload(store, p, data);
        free(data);
    }
}
