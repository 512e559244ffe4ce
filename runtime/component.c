#include "runtime/component.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/clock.h"
#include "engine/plan.h"
#include "engine/safetensors.h"
#include "engine/source.h"
#include "kernels/shape.h"

enum { OUTPUTS_MAX = 3, ANY = 0 /* a size that the file chooses */ };

/* Numbers that were computed, as they are written. */
typedef struct output {
    const char *name;
    int rank;
    int64_t size[AT_RANK_MAX];
    float *values;
} output;

typedef struct job {
    at_sdxl *m;
    at_device *device;
    const at_component_how *how;
    const char *component;
    const char *path; /* of the input; for messages */
    at_source *in;
    bool *taken; /* of the file's tensors: those that were asked for */
    output outputs[OUTPUTS_MAX];
    int n_outputs;
} job;

/* --- numbers in ------------------------------------------------------------------------------- */

/* Of types with which no op computes. */
static double stored_value(const void *data, int64_t i, at_stored type)
{
    switch (type) {
    case AT_STORED_I16: return ((const int16_t *)data)[i];
    case AT_STORED_I8: return ((const int8_t *)data)[i];
    case AT_STORED_U64: return (double)((const uint64_t *)data)[i];
    case AT_STORED_U32: return ((const uint32_t *)data)[i];
    case AT_STORED_U16: return ((const uint16_t *)data)[i];
    case AT_STORED_F8_E5M2:
        return (double)at_f16_to_f32((uint16_t)(((const uint8_t *)data)[i] << 8));
    default: return ((const uint8_t *)data)[i]; /* bool */
    }
}

static at_status convert(const job *j, float *out, const void *raw, const at_stored_tensor *t,
                         int64_t n, at_error *err)
{
    const at_dtype dtype = at_stored_about(t->type)->dtype;
    for (int64_t i = 0; i < n; i++) {
        out[i] = (float)(dtype == AT_NONE ? stored_value(raw, i, t->type) : at_load(raw, i, dtype));
        if (!isfinite(out[i]))
            return at_fail(err, AT_INVALID,
                           "%.160s: '%s' has a number that is not finite, element %lld", j->path,
                           t->name, (long long)i);
    }
    return AT_OK;
}

/* "2x4xNxN": N is any. */
static void print_wanted(char *text, size_t room, int rank, const int64_t *size)
{
    size_t at = 0;
    text[0] = 0;
    for (int a = 0; a < rank && at < room; a++) {
        int n = size[a] == ANY
                    ? snprintf(text + at, room - at, "%sN", a ? "x" : "")
                    : snprintf(text + at, room - at, "%s%lld", a ? "x" : "", (long long)size[a]);
        at += n > 0 ? (size_t)n : 0;
    }
}

/* Fills in the sizes that may be any. */
static at_status match_sizes(const job *j, const at_stored_tensor *t, int rank, int64_t *size,
                             at_error *err)
{
    char found[128], wanted[128];
    bool same = t->rank == rank;
    for (int a = 0; a < rank && same; a++)
        same = size[a] == ANY ? t->size[a] > 0 : t->size[a] == size[a];
    if (!same) {
        at_stored_shape_text(t, found, sizeof found);
        print_wanted(wanted, sizeof wanted, rank, size);
        return at_fail(err, AT_INVALID, "%.160s: '%s' is %s: expected %s", j->path, t->name, found,
                       wanted);
    }
    memcpy(size, t->size, (size_t)rank * sizeof *size);
    return AT_OK;
}

/* The tensor 'name' as floats, which the caller frees. */
static at_status take(job *j, float **out, const char *name, int rank, int64_t *size, at_error *err)
{
    const int i = at_tensors_find(&j->in->list, name);
    *out = NULL;
    if (i < 0)
        return at_fail(err, AT_NOT_FOUND, "%.160s: there is no tensor '%s', which a %s reads",
                       j->path, name, j->component);
    const at_stored_tensor *t = &j->in->list.items[i];
    j->taken[i] = true;
    AT_TRY(match_sizes(j, t, rank, size, err));
    const int64_t n = (int64_t)(t->bytes / at_stored_about(t->type)->bytes);
    void *raw = malloc((size_t)t->bytes);
    float *values = malloc((size_t)n * sizeof *values);
    at_status status =
        raw && values ? at_source_read(j->in, i, 0, raw, (size_t)t->bytes, err)
                      : at_fail(err, AT_NO_MEMORY, "%.160s: no memory for '%s'", j->path, name);
    if (status == AT_OK)
        status = convert(j, values, raw, t, n, err);
    free(raw);
    if (status == AT_OK)
        *out = values;
    else
        free(values);
    return status;
}

static bool is_given(const job *j, const char *name)
{
    return at_tensors_find(&j->in->list, name) >= 0;
}

/* After the last one was taken. */
static at_status refuse_others(const job *j, at_error *err)
{
    for (int i = 0; i < j->in->list.count; i++)
        if (!j->taken[i])
            return at_fail(err, AT_INVALID, "%.160s: a %s does not read '%.128s'", j->path,
                           j->component, j->in->list.items[i].name);
    return AT_OK;
}

/* --- a graph, run ----------------------------------------------------------------------------- */

typedef struct stage {
    at_graph *graph;
    at_plan *plan;
} stage;

static void end_stage(stage *s)
{
    at_plan_free(s->plan);
    at_graph_free(s->graph);
    *s = (stage){ 0 };
}

static at_status plan_stage(const job *j, stage *s, at_sdxl_part part, at_error *err)
{
    const at_plan_options options = { .exact = !j->how->fast };
    return at_plan_new(&s->plan, j->device, at_sdxl_store(j->m, part), s->graph, &options, err);
}

/* Once, and then as often as is asked to see what it takes. */
static at_status run_stage(const job *j, const stage *s, at_error *err)
{
    at_status status = at_plan_run(s->plan, err);
    at_device_wait(j->device);
    for (int i = 0; i < j->how->repeats && status == AT_OK; i++) {
        const double begin = at_clock_seconds();
        status = at_plan_run(s->plan, err);
        at_device_wait(j->device);
        j->how->seconds[i] += at_clock_seconds() - begin;
    }
    return status;
}

/* Where element i of a tensor of ours is in a file's order: pictures have their channels first. */
static int64_t file_index(const at_view *v, int64_t i)
{
    if (v->rank < AT_RANK_MAX)
        return i;
    const int64_t c = v->size[3], pixels = v->size[1] * v->size[2];
    const int64_t sample = i / (c * pixels), pixel = i / c % pixels;
    return (sample * c + i % c) * pixels + pixel;
}

static at_status set(const stage *s, at_tensor t, const float *values, at_error *err)
{
    const at_view v = at_graph_view(s->graph, t);
    void *data = malloc(at_view_bytes(&v));
    if (!data)
        return at_fail(err, AT_NO_MEMORY, "no memory for %zu bytes of input", at_view_bytes(&v));
    for (int64_t i = 0; i < at_elements(&v); i++)
        at_store(data, i, v.dtype, (double)values[file_index(&v, i)]);
    const at_status status = at_plan_set(s->plan, t, data, err);
    free(data);
    return status;
}

static at_status get(const stage *s, at_tensor t, float **out, at_error *err)
{
    const at_view v = at_graph_view(s->graph, t);
    const int64_t n = at_elements(&v);
    void *data = malloc(at_view_bytes(&v));
    float *values = malloc((size_t)n * sizeof *values);
    at_status status =
        data && values
            ? at_plan_get(s->plan, t, data, err)
            : at_fail(err, AT_NO_MEMORY, "no memory for %zu bytes of output", at_view_bytes(&v));
    for (int64_t i = 0; i < n && status == AT_OK; i++)
        values[file_index(&v, i)] = (float)at_load(data, i, v.dtype);
    free(data);
    *out = values;
    if (status == AT_OK)
        return AT_OK;
    free(values);
    *out = NULL;
    return status;
}

static bool is_finite(const stage *s, at_tensor t, const float *values)
{
    const at_view v = at_graph_view(s->graph, t);
    for (int64_t i = 0; i < at_elements(&v); i++)
        if (!isfinite(values[i]))
            return false;
    return true;
}

/* Says which node made the first number that is not finite. */
static at_status blame(const job *j, const stage *s, const char *name, at_error *err)
{
    int node = -1;
    at_error why = { 0 };
    if (at_plan_find_infinite(s->plan, &node, &why) != AT_OK || node < 0)
        return at_fail(err, AT_INVALID, "%s: '%s' has numbers that are not finite", j->component,
                       name);
    const at_node_info n = at_plan_node(s->plan, node);
    return at_fail(err, AT_INVALID,
                   "%s: '%s' has numbers that are not finite; the first ones are made by node %d, "
                   "%s in '%.100s'",
                   j->component, name, node, n.op->name, n.scope ? n.scope : "");
}

/* What the stage made as 't', to be written as 'name'; the sizes as in files. */
static at_status keep(job *j, const stage *s, at_tensor t, const char *name, at_error *err)
{
    const at_view v = at_graph_view(s->graph, t);
    output *o = &j->outputs[j->n_outputs];
    AT_ASSERT(j->n_outputs < OUTPUTS_MAX, "%d outputs", j->n_outputs);
    *o = (output){ .name = name, .rank = v.rank };
    memcpy(o->size, v.size, sizeof o->size);
    if (v.rank == AT_RANK_MAX) {
        o->size[1] = v.size[3];
        o->size[2] = v.size[1];
        o->size[3] = v.size[2];
    }
    AT_TRY(get(s, t, &o->values, err));
    j->n_outputs++;
    return is_finite(s, t, o->values) ? AT_OK : blame(j, s, name, err);
}

/* --- unet ------------------------------------------------------------------------------------- */

typedef struct unet_inputs {
    at_sdxl_unet_size size;
    float *sample, *time, *context, *pooled, *sizes, *guidance;
} unet_inputs;

static void free_unet_inputs(unet_inputs *in)
{
    float *const all[] = { in->sample, in->time, in->context, in->pooled, in->sizes, in->guidance };
    for (size_t i = 0; i < AT_COUNT(all); i++)
        free(all[i]);
}

static at_status take_unet_inputs(job *j, unet_inputs *in, at_error *err)
{
    const at_sdxl_unet_config *c = &at_sdxl_about_of(j->m)->unet;
    int64_t sample[] = { ANY, c->in, ANY, ANY };
    AT_TRY(take(j, &in->sample, "sample", 4, sample, err));
    int64_t time[] = { sample[0] }, context[] = { sample[0], ANY, c->context };
    int64_t pooled[] = { sample[0], c->pooled }, sizes[] = { sample[0], c->sizes };
    int64_t guidance[] = { sample[0], c->guidance };
    AT_TRY(take(j, &in->time, "timestep", 1, time, err));
    AT_TRY(take(j, &in->context, "encoder_hidden_states", 3, context, err));
    AT_TRY(take(j, &in->pooled, "text_embeds", 2, pooled, err));
    AT_TRY(take(j, &in->sizes, "time_ids", 2, sizes, err));
    if (c->guidance && is_given(j, "timestep_cond"))
        AT_TRY(take(j, &in->guidance, "timestep_cond", 2, guidance, err));
    in->size = (at_sdxl_unet_size){ sample[0], sample[2], sample[3], context[1] };
    return refuse_others(j, err);
}

/* The text's keys and what it adds to the time, as floats that the caller frees. */
static at_status run_unet_text(job *j, const unet_inputs *in, float **keys, float **added,
                               at_error *err)
{
    stage s = { .graph = at_graph_new() };
    const at_sdxl_unet_text t =
        at_sdxl_unet_describe_text(at_sdxl_unet_of(j->m), s.graph, in->size);
    at_status status = plan_stage(j, &s, AT_SDXL_UNET, err);
    if (status == AT_OK)
        status = set(&s, t.context, in->context, err);
    if (status == AT_OK)
        status = set(&s, t.pooled, in->pooled, err);
    if (status == AT_OK)
        status = set(&s, t.sizes, in->sizes, err);
    if (status == AT_OK)
        status = run_stage(j, &s, err);
    if (status == AT_OK)
        status = get(&s, t.keys, keys, err);
    if (status == AT_OK)
        status = get(&s, t.added, added, err);
    if (status == AT_OK && !(is_finite(&s, t.keys, *keys) && is_finite(&s, t.added, *added)))
        status = blame(j, &s, "sample", err);
    end_stage(&s);
    return status;
}

static at_status run_unet_step(job *j, const unet_inputs *in, const float *keys, const float *added,
                               at_error *err)
{
    stage s = { .graph = at_graph_new() };
    const at_sdxl_unet_step t =
        at_sdxl_unet_describe_step(at_sdxl_unet_of(j->m), s.graph, in->size);
    const struct {
        at_tensor t;
        const float *values;
    } sets[] = { { t.latent, in->sample },
                 { t.time, in->time },
                 { t.keys, keys },
                 { t.added, added },
                 { t.guidance, in->guidance } };
    at_status status = plan_stage(j, &s, AT_SDXL_UNET, err);
    /* An input that is not set is zeros, which is what no guidance means. */
    for (size_t i = 0; i < AT_COUNT(sets) && status == AT_OK; i++)
        if (sets[i].t.id && sets[i].values)
            status = set(&s, sets[i].t, sets[i].values, err);
    if (status == AT_OK)
        status = run_stage(j, &s, err);
    if (status == AT_OK)
        status = keep(j, &s, t.out, "sample", err);
    end_stage(&s);
    return status;
}

static at_status run_unet(job *j, at_error *err)
{
    unet_inputs in = { .sample = NULL };
    float *keys = NULL, *added = NULL;
    at_status status = take_unet_inputs(j, &in, err);
    if (status == AT_OK)
        status = at_sdxl_load(j->m, AT_SDXL_UNET, j->how->dtype, NULL, err);
    if (status == AT_OK)
        status = run_unet_text(j, &in, &keys, &added, err);
    if (status == AT_OK)
        status = run_unet_step(j, &in, keys, added, err);
    free(keys);
    free(added);
    free_unet_inputs(&in);
    return status;
}

/* --- vae -------------------------------------------------------------------------------------- */

typedef at_sdxl_vae_io describe_half(const at_sdxl_vae *m, at_graph *g, int64_t batch,
                                     int64_t height, int64_t width);

static at_status run_half(job *j, describe_half *describe, const float *in, const int64_t *size,
                          const char *name, at_error *err)
{
    AT_TRY(at_sdxl_load(j->m, AT_SDXL_VAE, j->how->dtype, NULL, err));
    stage s = { .graph = at_graph_new() };
    const at_sdxl_vae_io io = describe(at_sdxl_vae_of(j->m), s.graph, size[0], size[2], size[3]);
    at_status status = plan_stage(j, &s, AT_SDXL_VAE, err);
    if (status == AT_OK)
        status = set(&s, io.in, in, err);
    if (status == AT_OK)
        status = run_stage(j, &s, err);
    if (status == AT_OK)
        status = keep(j, &s, io.out, name, err);
    end_stage(&s);
    return status;
}

static at_status run_decoder(job *j, at_error *err)
{
    int64_t size[] = { ANY, at_sdxl_about_of(j->m)->vae.latent, ANY, ANY };
    float *z;
    at_status status = take(j, &z, "z", 4, size, err);
    if (status == AT_OK)
        status = refuse_others(j, err);
    if (status == AT_OK)
        status = run_half(j, at_sdxl_vae_describe_decoder, z, size, "sample", err);
    free(z);
    return status;
}

/* The encoder's channels are the mean and the log of the variance, which diffusers bounds. */
static at_status split_moments(job *j, at_error *err)
{
    static const float least = -30, most = 20;
    output *mean = &j->outputs[0], *logvar = &j->outputs[1];
    *logvar = *mean;
    logvar->name = "logvar";
    mean->size[1] = logvar->size[1] = mean->size[1] / 2;
    const size_t each = (size_t)(mean->size[1] * mean->size[2] * mean->size[3]);
    const size_t bytes = (size_t)mean->size[0] * each * sizeof(float);
    float *both = mean->values;
    mean->values = malloc(bytes);
    logvar->values = malloc(bytes);
    j->n_outputs = 2;
    if (!mean->values || !logvar->values) {
        free(both);
        return at_fail(err, AT_NO_MEMORY, "no memory for %zu bytes of output", bytes);
    }
    for (size_t b = 0; b < (size_t)mean->size[0]; b++) {
        memcpy(mean->values + b * each, both + 2 * b * each, each * sizeof(float));
        for (size_t i = 0; i < each; i++)
            logvar->values[b * each + i] = fminf(fmaxf(both[(2 * b + 1) * each + i], least), most);
    }
    free(both);
    return AT_OK;
}

static at_status run_encoder(job *j, at_error *err)
{
    const int64_t least = at_sdxl_vae_shrinks(&at_sdxl_about_of(j->m)->vae);
    int64_t size[] = { ANY, 3, ANY, ANY };
    float *x;
    at_status status = take(j, &x, "x", 4, size, err);
    if (status == AT_OK)
        status = refuse_others(j, err);
    if (status == AT_OK && (size[2] < least || size[3] < least))
        status = at_fail(err, AT_INVALID,
                         "%.160s: 'x' is %lld high and %lld wide: expected %lld at least", j->path,
                         (long long)size[2], (long long)size[3], (long long)least);
    if (status == AT_OK)
        status = run_half(j, at_sdxl_vae_describe_encoder, x, size, "mean", err);
    if (status == AT_OK)
        status = split_moments(j, err);
    free(x);
    return status;
}

/* --- text encoders ---------------------------------------------------------------------------- */

/* B texts of L tokens. */
typedef struct text_inputs {
    int64_t batch, tokens;
    int32_t *ids, *ends;
} text_inputs;

static at_status fill_ids(job *j, text_inputs *in, const at_clip_text_config *c,
                          const float *values, at_error *err)
{
    const size_t n = (size_t)(in->batch * in->tokens);
    in->ids = malloc(n * sizeof *in->ids);
    in->ends = malloc((size_t)in->batch * sizeof *in->ends);
    if (!in->ids || !in->ends)
        return at_fail(err, AT_NO_MEMORY, "no memory for %zu tokens", n);
    for (size_t i = 0; i < n; i++) {
        if (!(values[i] >= 0 && values[i] < (float)c->vocabulary) || values[i] != floorf(values[i]))
            return at_fail(err, AT_INVALID,
                           "%.160s: 'input_ids' has %g as its element %zu: expected a whole number "
                           "of 0 to %lld",
                           j->path, (double)values[i], i, (long long)(c->vocabulary - 1));
        in->ids[i] = (int32_t)values[i];
    }
    return at_clip_text_ends(c, in->ends, in->ids, in->batch, in->tokens, err);
}

static at_status take_ids(job *j, text_inputs *in, const at_clip_text_config *c, at_error *err)
{
    int64_t size[] = { ANY, ANY };
    float *values;
    AT_TRY(take(j, &values, "input_ids", 2, size, err));
    at_status status = refuse_others(j, err);
    if (status == AT_OK && (size[1] > c->positions || size[0] > INT32_MAX / size[1]))
        status = at_fail(err, AT_INVALID,
                         "%.160s: 'input_ids' is %lldx%lld: expected texts of at most %lld tokens",
                         j->path, (long long)size[0], (long long)size[1], (long long)c->positions);
    in->batch = size[0];
    in->tokens = size[1];
    if (status == AT_OK)
        status = fill_ids(j, in, c, values, err);
    free(values);
    return status;
}

static at_status run_text(job *j, const text_inputs *in, int i, at_error *err)
{
    const at_clip_text *m = at_sdxl_text_of(j->m, i);
    const bool embeds = at_sdxl_about_of(j->m)->text[i].projection > 0;
    stage s = { .graph = at_graph_new() };
    const at_clip_text_io io = at_clip_text_describe(m, s.graph,
                                                     (at_clip_text_wanted){ .batch = in->batch,
                                                                            .tokens = in->tokens,
                                                                            .hidden = { -2 },
                                                                            .n_hidden = 1,
                                                                            .last = true,
                                                                            .embeds = embeds });
    at_status status = plan_stage(j, &s, (at_sdxl_part)(AT_SDXL_TEXT_1 + i), err);
    if (status == AT_OK)
        status = at_plan_set(s.plan, io.ids, in->ids, err);
    if (status == AT_OK && embeds)
        status = at_plan_set(s.plan, io.ends, in->ends, err);
    if (status == AT_OK)
        status = run_stage(j, &s, err);
    if (status == AT_OK)
        status = keep(j, &s, io.hidden[0], "hidden_states.-2", err);
    if (status == AT_OK)
        status = keep(j, &s, io.last, "last_hidden_state", err);
    if (status == AT_OK && embeds)
        status = keep(j, &s, io.embeds, "text_embeds", err);
    end_stage(&s);
    return status;
}

static at_status run_text_encoder(job *j, int i, at_error *err)
{
    text_inputs in = { .ids = NULL };
    at_status status = take_ids(j, &in, &at_sdxl_about_of(j->m)->text[i], err);
    if (status == AT_OK)
        status = at_sdxl_load(j->m, (at_sdxl_part)(AT_SDXL_TEXT_1 + i), j->how->dtype, NULL, err);
    if (status == AT_OK)
        status = run_text(j, &in, i, err);
    free(in.ids);
    free(in.ends);
    return status;
}

static at_status run_text_1(job *j, at_error *err)
{
    return run_text_encoder(j, 0, err);
}

static at_status run_text_2(job *j, at_error *err)
{
    return run_text_encoder(j, 1, err);
}

/* --- numbers out ------------------------------------------------------------------------------ */

static at_status read_output(void *context, int i, uint64_t from, void *out, size_t bytes,
                             at_error *err)
{
    const job *j = context;
    (void)err;
    memcpy(out, (const char *)j->outputs[i].values + from, bytes);
    return AT_OK;
}

static at_status write_outputs(job *j, const char *path, at_error *err)
{
    at_tensors list = { 0 };
    const at_tensor_bytes bytes = { read_output, j };
    at_status status = AT_OK;
    for (int i = 0; i < j->n_outputs && status == AT_OK; i++) {
        const output *o = &j->outputs[i];
        at_stored_tensor t = {
            .size = o->size, .rank = (int16_t)o->rank, .type = AT_STORED_F32, .bytes = sizeof(float)
        };
        for (int a = 0; a < o->rank; a++)
            t.bytes *= (uint64_t)o->size[a];
        status = at_tensors_add(&list, &t, o->name, strlen(o->name), err);
    }
    if (status == AT_OK)
        status = at_tensors_finish(&list, err);
    if (status == AT_OK)
        status = at_safetensors_write(path, &list, &bytes, NULL, err);
    at_tensors_free(&list);
    return status;
}

/* --- components ------------------------------------------------------------------------------- */

typedef struct component_row {
    const char *name;
    at_sdxl_part part;
    at_status (*run)(job *j, at_error *err);
} component_row;

static const component_row components[] = {
    { "unet", AT_SDXL_UNET, run_unet },
    { "vae_decoder", AT_SDXL_VAE, run_decoder },
    { "vae_encoder", AT_SDXL_VAE, run_encoder },
    { "text_encoder", AT_SDXL_TEXT_1, run_text_1 },
    { "text_encoder_2", AT_SDXL_TEXT_2, run_text_2 },
};

static at_status find_component(const component_row **out, const at_sdxl *m, const char *name,
                                at_error *err)
{
    size_t i = 0;
    *out = NULL;
    while (i < AT_COUNT(components) && strcmp(components[i].name, name))
        i++;
    if (i == AT_COUNT(components))
        return at_fail(err, AT_INVALID,
                       "there is no component '%.60s': expected unet, vae_decoder, vae_encoder, "
                       "text_encoder or text_encoder_2",
                       name);
    *out = &components[i];
    if (!at_sdxl_about_of(m)->has[components[i].part])
        return at_fail(err, AT_NOT_FOUND, "the model has no %s",
                       at_sdxl_part_name(components[i].part));
    return AT_OK;
}

static at_status run_job(job *j, const component_row *c, const char *to, at_error *err)
{
    AT_TRY(at_source_open(&j->in, j->path, err));
    j->taken = calloc((size_t)j->in->list.count + 1, sizeof *j->taken);
    at_status status =
        j->taken ? c->run(j, err) : at_fail(err, AT_NO_MEMORY, "%.160s: no memory", j->path);
    if (status == AT_OK)
        status = write_outputs(j, to, err);
    for (int i = 0; i < j->n_outputs; i++)
        free(j->outputs[i].values);
    free(j->taken);
    at_source_close(j->in);
    at_sdxl_drop(j->m, c->part);
    return status;
}

at_status at_component_run(at_sdxl *m, const char *component, const at_component_how *how,
                           const char *from, const char *to, at_error *err)
{
    const component_row *c = NULL;
    AT_TRY(find_component(&c, m, component, err));
    if (how->repeats)
        memset(how->seconds, 0, (size_t)how->repeats * sizeof *how->seconds);
    job j = {
        .m = m, .device = at_sdxl_device(m), .how = how, .component = component, .path = from
    };
    return run_job(&j, c, to, err);
}
