/* denoise.c -- the plan of a step is made once; around it, on the host, are small loops over
 * latents, which are thousands of numbers where the UNet has billions of products. */
#include "runtime/denoise.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/shape.h"
#include "runtime/guidance.h"

struct at_denoise {
    at_denoise_task task;
    int64_t i;          /* the evaluation that is next */
    int64_t each, rows; /* numbers of a picture's latents; of the UNet's batch */
    int64_t in, per;    /* channels that the UNet reads; its rows for a picture */
    bool blends;        /* the picture is mixed in after each step */
    at_plan *plan;      /* the part's */
    at_tensor latent, time, out;
    at_dtype dtype;
    float *memory;                               /* of all that follows */
    float *x0, *h0, *h1, *last, *answer, *drawn; /* (count, each) */
    float *pair;                                 /* (2, each): a picture's two answers */
    float *times;                                /* (rows) */
    void *read, *given;                          /* (rows, height, width, ...) of 'dtype' */
};

/* --- plans ------------------------------------------------------------------------------------ */

static void describe_text(const at_model *m, at_graph *g, const void *what)
{
    at_sdxl_unet_describe_text(at_sdxl_unet_of(m->sdxl), g, *(const at_sdxl_unet_size *)what);
}

static void describe_step(const at_model *m, at_graph *g, const void *what)
{
    at_sdxl_unet_describe_step(at_sdxl_unet_of(m->sdxl), g, *(const at_sdxl_unet_size *)what);
}

static at_status get_plan(at_plan **out, const at_denoise *d, const char *name,
                          at_model_describe *describe, at_sdxl_unet_size size, at_error *err)
{
    char key[AT_MODEL_KEY_MAX];
    snprintf(key, sizeof key, "%s %lld %lld %lld %lld", name, (long long)size.batch,
             (long long)size.height, (long long)size.width, (long long)size.tokens);
    return at_model_plan(d->task.model, AT_SDXL_UNET, key, describe, &size, out, err);
}

static at_tensor tensor_of(const at_plan *plan, const char *name)
{
    return at_graph_named(at_plan_graph(plan), name);
}

static size_t bytes_of(const at_plan *plan, const char *name)
{
    const at_view v = at_graph_view(at_plan_graph(plan), tensor_of(plan, name));
    return at_view_bytes(&v);
}

/* --- what is the same for all steps ----------------------------------------------------------- */

/* f32 numbers into an input of the plan's own type. */
static at_status set_floats(at_plan *plan, const char *name, const float *values, at_error *err)
{
    const at_tensor t = tensor_of(plan, name);
    const at_view v = at_graph_view(at_plan_graph(plan), t);
    void *raw = malloc(at_view_bytes(&v));
    if (!raw)
        return at_fail(err, AT_NO_MEMORY, "no memory for the UNet's %s", name);
    for (int64_t i = 0; i < at_elements(&v); i++)
        at_store(raw, i, v.dtype, (double)values[i]);
    const at_status status = at_plan_set(plan, t, raw, err);
    free(raw);
    return status;
}

/* Copies an output of one plan to the input of another, for each picture the same rows. */
static at_status repeat(at_plan *to, at_plan *from, const char *name, int count, at_error *err)
{
    const size_t bytes = bytes_of(from, name);
    char *rows = malloc(bytes * (size_t)count);
    if (!rows)
        return at_fail(err, AT_NO_MEMORY, "no memory for %d times the text's %s", count, name);
    at_status status = at_plan_get(from, tensor_of(from, name), rows, err);
    for (int i = 1; i < count; i++)
        memcpy(rows + (size_t)i * bytes, rows, bytes);
    if (status == AT_OK)
        status = at_plan_set(to, tensor_of(to, name), rows, err);
    free(rows);
    return status;
}

void at_denoise_guidance_row(float *out, int64_t width, float guidance)
{
    const int64_t half = width / 2;
    const float w = (guidance - 1) * 1000, step = logf(10000) / (float)(half - 1);
    memset(out, 0, (size_t)width * sizeof *out);
    for (int64_t i = 0; i < half; i++) {
        const float angle = w * expf((float)i * -step);
        out[i] = sinf(angle);
        out[half + i] = cosf(angle);
    }
}

static at_status set_guidance(at_denoise *d, at_error *err)
{
    const int64_t width = at_sdxl_about_of(d->task.model->sdxl)->unet.guidance;
    if (!width)
        return AT_OK;
    float *rows = malloc((size_t)(d->rows * width) * sizeof *rows);
    if (!rows)
        return at_fail(err, AT_NO_MEMORY, "no memory for the embedding of guidance");
    for (int64_t i = 0; i < d->rows; i++)
        at_denoise_guidance_row(rows + i * width, width, d->task.guidance);
    const at_status status = set_floats(d->plan, "guidance", rows, err);
    free(rows);
    return status;
}

/* The text's keys and values, and what is added to the time, once for all pictures. */
static at_status run_text(at_denoise *d, at_error *err)
{
    const at_denoise_task *k = &d->task;
    const int64_t sizes = at_sdxl_about_of(k->model->sdxl)->unet.sizes;
    const at_sdxl_unet_size size = { k->text->rows, k->size[1], k->size[2], k->text->tokens };
    float told[2 * AT_DENOISE_SIZES_MAX];
    at_plan *text = NULL;
    for (int64_t i = 0; i < k->text->rows; i++)
        memcpy(told + i * sizes, k->sizes[i], (size_t)sizes * sizeof *told);
    AT_TRY(get_plan(&text, d, "text", describe_text, size, err));
    AT_TRY(set_floats(text, "context", k->text->context, err));
    AT_TRY(set_floats(text, "pooled", k->text->pooled, err));
    AT_TRY(set_floats(text, "sizes", told, err));
    AT_TRY(at_plan_run(text, err));
    AT_TRY(repeat(d->plan, text, "keys", k->count, err));
    return repeat(d->plan, text, "added", k->count, err);
}

static at_status take_memory(at_denoise *d, at_error *err)
{
    const size_t all = (size_t)(d->each * d->task.count), row = (size_t)d->rows;
    const size_t floats = 6 * all + 2 * (size_t)d->each + row;
    d->memory = calloc(floats, sizeof *d->memory);
    d->read = calloc(1, bytes_of(d->plan, "latent"));
    d->given = calloc(1, bytes_of(d->plan, "out"));
    if (!d->memory || !d->read || !d->given)
        return at_fail(err, AT_NO_MEMORY, "no memory for the latents of %d pictures",
                       d->task.count);
    d->x0 = d->memory;
    d->h0 = d->x0 + all;
    d->h1 = d->h0 + all;
    d->last = d->h1 + all;
    d->answer = d->last + all;
    d->drawn = d->answer + all;
    d->pair = d->drawn + all;
    d->times = d->pair + 2 * d->each;
    memcpy(d->x0, d->task.x, all * sizeof *d->x0);
    return AT_OK;
}

static at_status begin(at_denoise *d, at_error *err)
{
    const at_denoise_task *k = &d->task;
    const at_sdxl_unet_size size = { d->rows, k->size[1], k->size[2], k->text->tokens };
    AT_TRY(get_plan(&d->plan, d, "step", describe_step, size, err));
    d->latent = tensor_of(d->plan, "latent");
    d->time = tensor_of(d->plan, "time");
    d->out = tensor_of(d->plan, "out");
    d->dtype = at_graph_view(at_plan_graph(d->plan), d->latent).dtype;
    AT_TRY(take_memory(d, err));
    AT_TRY(run_text(d, err));
    return set_guidance(d, err);
}

at_status at_denoise_begin(at_denoise **out, const at_denoise_task *task, at_error *err)
{
    const at_sdxl_unet_config *unet = &at_sdxl_about_of(task->model->sdxl)->unet;
    at_denoise *d = calloc(1, sizeof *d);
    *out = NULL;
    if (!d)
        return at_fail(err, AT_NO_MEMORY, "no memory for denoising");
    d->task = *task;
    d->i = task->begin;
    d->per = task->text->rows;
    d->rows = d->per * task->count;
    d->in = unet->in;
    d->each = task->size[0] * task->size[1] * task->size[2];
    d->blends = task->inpaint.image != NULL;
    const at_status status = begin(d, err);
    if (status != AT_OK)
        at_denoise_end(d);
    else
        *out = d;
    return status;
}

void at_denoise_end(at_denoise *d)
{
    if (!d)
        return;
    free(d->memory);
    free(d->read);
    free(d->given);
    free(d);
}

/* --- a step ----------------------------------------------------------------------------------- */

/* Channels [first, first + channels) of a picture's rows: n numbers each, 'scale' times. */
static void put_channels(at_denoise *d, int picture, int64_t first, int64_t channels,
                         const float *from, float scale)
{
    const int64_t n = d->task.size[1] * d->task.size[2];
    for (int64_t row = picture * d->per; row < (picture + 1) * d->per; row++)
        for (int64_t c = 0; c < channels; c++)
            for (int64_t i = 0; i < n; i++) {
                const int64_t at = (row * n + i) * d->in + first + c;
                const float value = from[c * n + i] * scale;
                if (d->dtype == AT_F32)
                    ((float *)d->read)[at] = value;
                else
                    ((uint16_t *)d->read)[at] = at_bf16_from_f32(value);
            }
}

static at_status ask(at_denoise *d, const at_sampler_plan *p, at_error *err)
{
    const at_denoise_task *k = &d->task;
    const int64_t channels = k->size[0];
    for (int i = 0; i < k->count; i++) {
        put_channels(d, i, 0, channels, k->x + i * d->each, p->input_scale);
        if (k->inpaint.masked) {
            put_channels(d, i, channels, 1, k->inpaint.mask, 1);
            put_channels(d, i, channels + 1, channels, k->inpaint.masked + i * d->each, 1);
        }
    }
    for (int64_t i = 0; i < d->rows; i++)
        d->times[i] = (float)p->timestep;
    AT_TRY(at_plan_set(d->plan, d->latent, d->read, err));
    AT_TRY(at_plan_set(d->plan, d->time, d->times, err));
    AT_TRY(at_plan_run(d->plan, err));
    return at_plan_get(d->plan, d->out, d->given, err);
}

/* A row of what the UNet gave as (channels, height, width); false: not all of it is finite. */
static bool take_row(const at_denoise *d, float *out, int64_t row)
{
    const int64_t channels = d->task.size[0], n = d->task.size[1] * d->task.size[2];
    bool finite = true;
    for (int64_t c = 0; c < channels; c++)
        for (int64_t i = 0; i < n; i++) {
            const int64_t at = (row * n + i) * channels + c;
            const float value = d->dtype == AT_F32
                                    ? ((const float *)d->given)[at]
                                    : at_bf16_to_f32(((const uint16_t *)d->given)[at]);
            finite = finite && isfinite(value);
            out[c * n + i] = value;
        }
    return finite;
}

/* A picture's answer, guided. */
static bool take_answer(at_denoise *d, int picture)
{
    float *m = d->answer + picture * d->each, *cond = d->pair + d->each;
    if (d->per == 1)
        return take_row(d, m, picture);
    const bool finite = take_row(d, d->pair, 2 * picture) & take_row(d, cond, 2 * picture + 1);
    at_guide(m, d->pair, cond, d->each, d->task.guidance);
    if (d->task.rescale > 0) {
        const float factor = at_guidance_rescale(m, cond, d->each, d->task.rescale);
        for (int64_t i = 0; i < d->each; i++)
            m[i] *= factor;
    }
    return finite;
}

/* Where nothing is drawn anew the picture comes back, as noisy as the latents are now. */
static void blend(at_denoise *d)
{
    const at_denoise_task *k = &d->task;
    const int64_t n = k->size[1] * k->size[2];
    float image = 1, noise = 0;
    if (d->i + 1 < k->end)
        at_sampler_noising(&image, &noise, k->schedule, d->i + 1);
    for (int64_t i = 0; i < k->count * d->each; i++) {
        const float mask = k->inpaint.mask[i % n];
        const float kept = noise != 0 ? image * k->inpaint.image[i] + noise * k->inpaint.noise[i]
                                      : k->inpaint.image[i];
        k->x[i] = (1 - mask) * kept + mask * k->x[i];
    }
}

static at_status refuse_answer(const at_denoise *d, const at_sampler_plan *p, at_error *err)
{
    char what[AT_MODEL_KEY_MAX];
    snprintf(what, sizeof what, "the UNet's answer at step %lld of %lld, timestep %g,",
             (long long)(d->i - d->task.begin + 1), (long long)(d->task.end - d->task.begin),
             p->timestep);
    return at_model_not_finite(d->plan, what, err);
}

static at_status check_latents(const at_denoise *d, at_error *err)
{
    bool finite = true;
    for (int64_t i = 0; i < d->task.count * d->each; i++)
        finite = finite && isfinite(d->task.x[i]);
    if (finite)
        return AT_OK;
    return at_fail(err, AT_INVALID, "the latents are not finite after step %lld of %lld",
                   (long long)(d->i - d->task.begin), (long long)(d->task.end - d->task.begin));
}

at_status at_denoise_step(at_denoise *d, at_error *err)
{
    const at_denoise_task *k = &d->task;
    at_sampler_plan p;
    AT_ASSERT(d->i < k->end, "step %lld of %lld", (long long)d->i, (long long)k->end);
    at_sampler_plan_step(&p, k->schedule, k->begin, d->i);
    AT_TRY(ask(d, &p, err));
    for (int i = 0; i < k->count; i++) {
        const int64_t at = i * d->each;
        if (!take_answer(d, i))
            return refuse_answer(d, &p, err);
        if (p.noise >= 0)
            AT_TRY(at_noise_draw(k->noise, i, AT_NOISE_STEP, d->drawn + at, k->size, err));
    }
    const at_sampler_tensors t = { k->x, d->x0, d->h0, d->h1, d->last, d->answer, d->drawn };
    at_sampler_step(&t, &p, k->count * d->each);
    if (d->blends)
        blend(d);
    d->i++;
    return check_latents(d, err);
}

int64_t at_denoise_done(const at_denoise *d)
{
    return d->i - d->task.begin;
}

int64_t at_denoise_all(const at_denoise *d)
{
    return d->task.end - d->task.begin;
}

const float *at_denoise_guess(const at_denoise *d, int i)
{
    return d->x0 + i * d->each;
}
