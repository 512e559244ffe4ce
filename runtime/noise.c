/* noise.c -- a generator for each picture, or a file that stays open.
 *
 * Torch's GPU generator gives every element of a draw a counter of its own: (the number of draws
 * before, 0, the element, 0), under the seed as the key; of the four words two are used, and of Box
 * and Muller's pair one. A1111 computes it with numpy, in f64 between the words and the f32 result;
 * so does this. The constants are the f32 ones of CUDA's library. */
#include "runtime/noise.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/source.h"
#include "kernels/philox.h"
#include "runtime/torch_noise.h"

enum { PIECE_BYTES = 1 << 12, SHAPE_TEXT_MAX = 128 };

typedef struct picture {
    at_torch_noise torch;
    uint64_t seed;
    int64_t drawn; /* draws so far */
    int64_t drawn_for[AT_NOISE_USES];
} picture;

typedef struct rng {
    const char *name;
    void (*seed)(picture *p);
    void (*draw)(picture *p, at_noise_use use, float *out, int64_t n);
} rng;

struct at_noise {
    const rng *rng;    /* NULL: the file */
    at_source *source; /* or NULL */
    picture *pictures; /* (count) */
    int count;
};

/* --- generators ------------------------------------------------------------------------------- */

static void seed_torch(picture *p)
{
    at_torch_noise_seed(&p->torch, p->seed);
}

static void draw_torch(picture *p, at_noise_use use, float *out, int64_t n)
{
    (void)use;
    at_torch_noise_draw(&p->torch, out, n);
}

static void seed_a1111(picture *p)
{
    (void)p; /* the seed is the key itself */
}

static void draw_a1111(picture *p, at_noise_use use, float *out, int64_t n)
{
    const at_philox_key key = { (uint32_t)p->seed, (uint32_t)(p->seed >> 32) };
    const double step = 0x1p-32, turn = (double)(6.2831855f * 0x1p-32f);
    (void)use;
    for (int64_t i = 0; i < n; i++) {
        const at_philox_words w = at_philox(at_philox_counter(p->drawn, i), key);
        const double u = w.w0 * step + step / 2, v = w.w1 * turn + turn / 2;
        out[i] = (float)(sqrt(-2 * log(u)) * sin(v));
    }
}

static void seed_atelier(picture *p)
{
    (void)p;
}

static void draw_atelier(picture *p, at_noise_use use, float *out, int64_t n)
{
    const at_philox_key key = at_random_key((int64_t)p->seed, use, p->drawn_for[use]);
    for (int64_t i = 0; i < n; i++)
        out[i] = at_random_element(key, 0, i, AT_RANDOM_NORMAL);
}

static const rng rngs[] = {
#define AT_NOISE_RNG(name, seed, draw, about) { name, seed, draw },
#include "runtime/noises.def"
#undef AT_NOISE_RNG
};

static const rng *rng_named(const char *name, at_error *err)
{
    char names[128] = "";
    for (size_t i = 0; i < AT_COUNT(rngs); i++) {
        if (!strcmp(rngs[i].name, name))
            return &rngs[i];
        const size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", rngs[i].name);
    }
    at_fail(err, AT_INVALID, "rng: expected one of %s; found \"%.40s\"", names, name);
    return NULL;
}

/* --- life ------------------------------------------------------------------------------------- */

static at_status make(at_noise **out, int count, at_error *err)
{
    *out = NULL;
    if (count < 1 || count > AT_NOISE_PICTURES_MAX)
        return at_fail(err, AT_INVALID, "noise for %d pictures; expected 1 to %d", count,
                       AT_NOISE_PICTURES_MAX);
    at_noise *n = calloc(1, sizeof *n);
    if (n)
        n->pictures = calloc((size_t)count, sizeof *n->pictures);
    if (!n || !n->pictures) {
        free(n);
        return at_fail(err, AT_NO_MEMORY, "no memory for the noise of %d pictures", count);
    }
    n->count = count;
    *out = n;
    return AT_OK;
}

at_status at_noise_seeded(at_noise **out, const char *name, const uint64_t *seeds, int count,
                          at_error *err)
{
    const rng *r = rng_named(name, err);
    *out = NULL;
    if (!r)
        return AT_INVALID;
    const at_status status = make(out, count, err);
    if (status != AT_OK)
        return status;
    (*out)->rng = r;
    for (int i = 0; i < count; i++) {
        (*out)->pictures[i].seed = seeds[i];
        r->seed(&(*out)->pictures[i]);
    }
    return AT_OK;
}

void at_noise_free(at_noise *n)
{
    if (!n)
        return;
    at_source_close(n->source);
    free(n->pictures);
    free(n);
}

/* --- the file --------------------------------------------------------------------------------- */

/* The type that elements are read as; bytes of f8_e5m2 are the upper halves of f16. */
static at_dtype read_as(at_stored type)
{
    return type == AT_STORED_F8_E5M2 ? AT_F16 : at_stored_about(type)->dtype;
}

static bool is_noise(const char *name)
{
    char *end = NULL;
    if (!strcmp(name, "noise") || !strcmp(name, "noise_vae") || !strcmp(name, "noise_vae_masked"))
        return true;
    return !strncmp(name, "noise_", 6) && name[6] >= '0' && name[6] <= '9' &&
           strtoull(name + 6, &end, 10) > 0 && !*end;
}

static at_status check_tensor(const at_stored_tensor *t, int count, at_error *err)
{
    char shape[SHAPE_TEXT_MAX];
    const at_dtype dtype = read_as(t->type);
    if (dtype == AT_NONE || !at_dtype_is_float(dtype))
        return at_fail(err, AT_INVALID, "tensor %s of the noise file: expected floats, found %s",
                       t->name, at_stored_about(t->type)->name);
    if (t->rank == 4 && t->size[0] == count)
        return AT_OK;
    at_stored_shape_text(t, shape, sizeof shape);
    return at_fail(err, AT_INVALID,
                   "tensor %s of the noise file: expected %d pictures (%dxCxHxW), found %s",
                   t->name, count, count, shape);
}

at_status at_noise_from_file(at_noise **out, const char *path, int count, at_error *err)
{
    at_status status = make(out, count, err);
    if (status == AT_OK)
        status = at_source_open(&(*out)->source, path, err);
    for (int i = 0; status == AT_OK && i < (*out)->source->list.count; i++) {
        const at_stored_tensor *t = &(*out)->source->list.items[i];
        if (is_noise(t->name))
            status = check_tensor(t, count, err);
    }
    if (status != AT_OK) {
        at_noise_free(*out);
        *out = NULL;
    }
    return status;
}

static at_status check_sizes(const at_stored_tensor *t, int count, const int64_t size[3],
                             at_error *err)
{
    char shape[SHAPE_TEXT_MAX];
    if (t->size[1] == size[0] && t->size[2] == size[1] && t->size[3] == size[2])
        return AT_OK;
    at_stored_shape_text(t, shape, sizeof shape);
    return at_fail(err, AT_INVALID,
                   "tensor %s of the noise file: expected %dx%lldx%lldx%lld, found %s", t->name,
                   count, (long long)size[0], (long long)size[1], (long long)size[2], shape);
}

/* Numbers [first, first + n) of tensor 'index'. */
static at_status read_numbers(at_source *s, int index, float *out, int64_t first, int64_t n,
                              at_error *err)
{
    const at_stored_tensor *t = &s->list.items[index];
    const int64_t bytes = at_stored_about(t->type)->bytes;
    unsigned char piece[PIECE_BYTES];
    for (int64_t done = 0; done < n;) {
        const int64_t room = PIECE_BYTES / bytes, now = n - done < room ? n - done : room;
        const at_status status = at_source_read(s, index, (uint64_t)((first + done) * bytes), piece,
                                                (size_t)(now * bytes), err);
        if (status != AT_OK)
            return status;
        for (int64_t i = 0; i < now; i++) {
            const float x = t->type == AT_STORED_F8_E5M2
                                ? at_f16_to_f32((uint16_t)(piece[i] << 8))
                                : (float)at_load(piece, i, read_as(t->type));
            if (!isfinite(x))
                return at_fail(err, AT_INVALID,
                               "tensor %s of the noise file: number %lld is not finite", t->name,
                               (long long)(first + done + i));
            out[done + i] = x;
        }
        done += now;
    }
    return AT_OK;
}

static at_status draw_file(at_noise *n, int i, at_noise_use use, float *out, const int64_t size[3],
                           at_error *err)
{
    char name[32];
    const int64_t numbers = size[0] * size[1] * size[2];
    switch (use) {
    case AT_NOISE_VAE: snprintf(name, sizeof name, "noise_vae"); break;
    case AT_NOISE_VAE_MASKED: snprintf(name, sizeof name, "noise_vae_masked"); break;
    case AT_NOISE_STEP:
        snprintf(name, sizeof name, "noise_%lld", (long long)n->pictures[i].drawn_for[use] + 1);
        break;
    default: snprintf(name, sizeof name, "noise");
    }
    const int index = at_tensors_find(&n->source->list, name);
    if (index < 0 && (use == AT_NOISE_VAE || use == AT_NOISE_VAE_MASKED)) {
        memset(out, 0, (size_t)numbers * sizeof *out);
        return AT_OK;
    }
    if (index < 0)
        return at_fail(err, AT_NOT_FOUND,
                       "the noise file has no tensor %s, of which %dx%lldx%lldx%lld is needed",
                       name, n->count, (long long)size[0], (long long)size[1], (long long)size[2]);
    const at_status status = check_sizes(&n->source->list.items[index], n->count, size, err);
    return status == AT_OK ? read_numbers(n->source, index, out, i * numbers, numbers, err)
                           : status;
}

/* --- drawing ---------------------------------------------------------------------------------- */

static bool sizes_fit(const int64_t size[3])
{
    for (int k = 0; k < 3; k++)
        if (size[k] < 1 || size[k] > AT_NOISE_SIDE_MAX)
            return false;
    const int64_t area = size[1] * size[2];
    return area <= AT_NOISE_NUMBERS_MAX && size[0] <= AT_NOISE_NUMBERS_MAX / area;
}

at_status at_noise_draw(at_noise *n, int i, at_noise_use use, float *out, const int64_t size[3],
                        at_error *err)
{
    AT_ASSERT(i >= 0 && i < n->count, "picture %d of %d", i, n->count);
    AT_ASSERT((int)use >= 0 && use < AT_NOISE_USES, "use %d", (int)use);
    if (!sizes_fit(size))
        return at_fail(err, AT_INVALID, "noise of %lldx%lldx%lld is over the limit of %d numbers",
                       (long long)size[0], (long long)size[1], (long long)size[2],
                       AT_NOISE_NUMBERS_MAX);
    picture *p = &n->pictures[i];
    at_status status = AT_OK;
    if (n->rng)
        n->rng->draw(p, use, out, size[0] * size[1] * size[2]);
    else
        status = draw_file(n, i, use, out, size, err);
    p->drawn++;
    p->drawn_for[use]++;
    return status;
}
