/* profile.c -- atelier profile: what the parts of a model take on a device, variant by variant, and
 * what a captured plan adds to the sum of its nodes. Weights and inputs are random numbers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/device.h"
#include "cli/json.h"
#include "cli/planned.h"
#include "cli/tuning.h"
#include "engine/profile.h"

enum { VARIANTS_MAX = 256 };

typedef struct options {
    at_device_options device;
    at_planned_words words;
    const char *name, *tuning; /* name: of the device */
    bool nodes, json;
} options;

typedef struct session {
    const options *o;
    at_device *device;
    at_error no_gpu; /* why there is none, if it should be said */
    at_machine machine;
    at_tuning *tuning; /* NULL: none was named */
    at_planned planned;
    at_json_writer json;
} session;

static at_parsed parse(options *o, int argc, char **argv)
{
    const at_option list[] = {
        { "--device", AT_OPTION_TEXT, &o->name, 0, 0, "NAME",
          "cpu or cuda; else cuda where it can be used" },
        AT_PLANNED_OPTIONS(&o->words),
        { "--tuning", AT_OPTION_TEXT, &o->tuning, 0, 0, "DIR",
          "take the choices of that folder (atelier tune)" },
        AT_OPTION_EARLY(&o->device),
        { "--nodes", AT_OPTION_FLAG, &o->nodes, 0, 0, NULL, "a row for each node, in order" },
        { "--json", AT_OPTION_FLAG, &o->json, 0, 0, NULL, "print JSON" },
    };
    const at_usage usage = {
        "profile",
        "Times the parts of a model on a device, with random numbers for weights.",
        "MODEL",
        list,
        (int)AT_COUNT(list),
        "MODEL is sdxl-unet (a step), sdxl-vae (both halves) or sdxl (all but the text encoders).\n"
    };
    return at_options_parse_all(&usage, argc, argv, &o->words.model, 1);
}

/* --- numbers ---------------------------------------------------------------------------------- */

/* A block of numbers within 'high' of zero, or near one where they are scales, end to end; its
 * length divides no size that models have. */
static void fill(void *out, size_t bytes, at_dtype dtype, double high, bool scales)
{
    enum { PERIOD = 65521 };
    size_t block = (size_t)PERIOD * at_dtype_bytes(dtype), whole = bytes < block ? bytes : block;
    uint32_t state = 12345;
    for (size_t k = 0; k < whole / at_dtype_bytes(dtype); k++) {
        state = state * 1664525u + 1013904223u;
        double u = (double)(state >> 8) / 0x1p24 * 2 - 1;
        at_store(out, (int64_t)k, dtype, scales ? 1 + 0.1 * u : high * u);
    }
    for (size_t at = whole; at < bytes; at += block)
        memcpy((char *)out + at, out, bytes - at < block ? bytes - at : block);
}

static at_status fill_weights(session *s, at_error *err)
{
    at_params *store = s->planned.store;
    size_t most = 0;
    for (int i = 0; i < at_params_count(store); i++) {
        size_t bytes = at_view_bytes(&at_params_at(store, i)->view);
        most = bytes > most ? bytes : most;
    }
    void *host = malloc(most + 1);
    if (!host)
        return at_fail(err, AT_NO_MEMORY, "no memory for a weight of %zu bytes", most);
    for (int i = 0; i < at_params_count(store); i++) {
        at_param *p = at_params_at(store, i);
        if (p->storage != p || p->n_parts) /* its memory is another's */
            continue;
        fill(host, at_view_bytes(&p->view), p->view.dtype, 0.03, p->view.rank == 1);
        at_param_upload(store, p, host);
    }
    free(host);
    return at_device_check(s->device, err);
}

static at_status set_inputs(const at_graph *g, at_plan *plan, at_error *err)
{
    at_status status = AT_OK;
    for (int32_t id = 1; id <= at_graph_tensors(g) && status == AT_OK; id++) {
        const at_tensor_info *t = at_graph_tensor(g, id);
        if (t->storage != AT_STORAGE_INPUT || t->base != id)
            continue;
        size_t bytes = at_view_bytes(&t->view);
        void *host = malloc(bytes);
        if (!host)
            return at_fail(err, AT_NO_MEMORY, "no memory for %s, %zu bytes", t->name, bytes);
        fill(host, bytes, t->view.dtype, 1, false);
        status = at_plan_set(plan, (at_tensor){ id }, host, err);
        free(host);
    }
    return status;
}

/* --- telling ---------------------------------------------------------------------------------- */

static double seconds_of(const at_plan *plan)
{
    at_plan_times t = at_plan_timing(plan);
    return t.run > 0 ? t.run : t.nodes;
}

typedef struct share {
    const at_variant *variant;
    double seconds, flops, bytes;
    int count;
} share;

static int collect(const at_plan *plan, share *rows)
{
    int n = 0;
    for (int i = 0; i < at_plan_nodes(plan); i++) {
        at_node_info node = at_plan_node(plan, i);
        int k = 0;
        while (k < n && rows[k].variant != node.variant)
            k++;
        if (k == VARIANTS_MAX)
            continue;
        if (k == n)
            rows[n++] = (share){ .variant = node.variant };
        rows[k].seconds += node.seconds;
        rows[k].flops += node.cost.flops;
        rows[k].bytes += node.cost.bytes;
        rows[k].count++;
    }
    return n;
}

static void write_part(session *s, const at_planned_part *part, const at_plan *plan)
{
    at_json_writer *w = &s->json;
    at_plan_times t = at_plan_timing(plan);
    share rows[VARIANTS_MAX];
    int n = collect(plan, rows);
    at_json_write_object(w);
    at_json_put_text(w, "name", part->name);
    at_json_put_text(w, "what", part->what);
    at_json_put_measure(w, "runs", part->runs);
    at_json_put_int(w, "nodes", at_plan_nodes(plan));
    at_json_put_measure(w, "nodes_ms", t.nodes * 1e3);
    at_json_put_measure(w, "run_ms", t.run * 1e3);
    at_json_put_measure(w, "host_us", t.host * 1e6);
    at_json_write_key(w, "variants");
    at_json_write_array(w);
    for (int i = 0; i < n; i++) {
        at_json_write_object(w);
        at_json_put_text(w, "variant", rows[i].variant->name);
        at_json_put_int(w, "count", rows[i].count);
        at_json_put_measure(w, "ms", rows[i].seconds * 1e3);
        at_json_put_measure(w, "gflop", rows[i].flops / 1e9);
        at_json_put_measure(w, "gbyte", rows[i].bytes / 1e9);
        at_json_write_close(w);
    }
    at_json_write_close(w);
    at_json_write_close(w);
}

static at_status print_part(session *s, const at_planned_part *part, const at_plan *plan,
                            at_error *err)
{
    printf("\n%s, %s: %d nodes, %.3f ms\n", part->name, part->what, at_plan_nodes(plan),
           seconds_of(plan) * 1e3);
    return at_profile_table(plan, &s->machine, s->o->nodes ? AT_PROFILE_NODES : AT_PROFILE_VARIANTS,
                            stdout, err);
}

/* What one batch of pictures takes with what was timed. */
static double total_of(const at_planned *p)
{
    double seconds = 0;
    for (int i = 0; i < p->n_parts; i++)
        seconds += p->parts[i].graph ? p->parts[i].runs * p->parts[i].seconds : 0;
    return seconds;
}

static void print_total(const session *s)
{
    const at_planned_request *r = &s->planned.request;
    double seconds = total_of(&s->planned);
    if (r->model == AT_PLANNED_SDXL)
        printf("\n%lld picture%s of %d steps: %.3f s, %.3f a second, without the text encoders\n",
               (long long)r->batch, r->batch == 1 ? "" : "s", r->steps, seconds,
               (double)r->batch / seconds);
}

static void write_head(session *s)
{
    const at_planned_request *r = &s->planned.request;
    at_json_writer *w = &s->json;
    *w = at_json_stdout();
    at_json_write_object(w);
    at_json_put_text(w, "device", s->device->api->name);
    at_json_put_text(w, "name", s->machine.name);
    at_json_put_text(w, "model", s->o->words.model);
    at_json_put_int(w, "batch", r->batch);
    at_json_put_int(w, "steps", r->steps);
    at_json_put_bool(w, "guidance", r->guidance);
    at_json_put_text(w, "dtype", at_dtype_name(r->dtype));
    at_json_put_text(w, "mode", r->exact ? "exact" : "fast");
    at_json_put_bool(w, "tuned", s->tuning != NULL);
    at_json_put_bool(w, "early", s->device->stream.early);
    at_json_write_key(w, "parts");
    at_json_write_array(w);
}

static at_status write_tail(session *s, at_error *err)
{
    at_json_write_close(&s->json);
    at_json_put_measure(&s->json, "seconds", total_of(&s->planned));
    at_json_write_close(&s->json);
    return at_json_finish(&s->json, err);
}

/* --- the work --------------------------------------------------------------------------------- */

static at_status time_part(session *s, at_planned_part *part, at_error *err)
{
    const at_plan_options chosen = { .exact = s->planned.request.exact, .tuning = s->tuning };
    at_plan *plan;
    at_status status = at_plan_new(&plan, s->device, s->planned.store, part->graph, &chosen, err);
    if (status != AT_OK)
        return status;
    status = at_plan_commit(plan, err);
    if (status == AT_OK)
        status = set_inputs(part->graph, plan, err);
    if (status == AT_OK)
        status = at_plan_run(plan, err);
    if (status == AT_OK)
        status = at_plan_profile(plan, err);
    part->seconds = seconds_of(plan);
    if (status == AT_OK && s->o->json)
        write_part(s, part, plan);
    else if (status == AT_OK)
        status = print_part(s, part, plan, err);
    at_plan_free(plan);
    return status;
}

static at_status begin(session *s, at_error *err)
{
    const options *o = s->o;
    at_planned_request request;
    at_status status = at_planned_read(&request, &o->words, err);
    if (status == AT_OK)
        status = at_command_device(&s->device, o->name, &o->device, &s->no_gpu, err);
    if (status == AT_OK && *s->no_gpu.text)
        fprintf(stderr, "atelier profile: on the cpu: %s\n", s->no_gpu.text);
    if (status == AT_OK && o->tuning)
        status = at_tuning_open(&s->tuning, "profile", s->device, o->tuning, err);
    if (status == AT_OK && o->json) /* the name; shares are in the words only */
        at_machine_look(s->device, &s->machine);
    else if (status == AT_OK)
        status = at_machine_measure(s->device, 0, &s->machine, err);
    if (status == AT_OK)
        status = at_planned_describe(&s->planned, &request, s->device, err);
    return status == AT_OK ? fill_weights(s, err) : status;
}

static at_status run(session *s, at_error *err)
{
    at_status status = begin(s, err);
    if (status != AT_OK)
        return status;
    if (s->o->json)
        write_head(s);
    else
        printf("%s, %s, %s\n", s->machine.name, at_dtype_name(s->planned.request.dtype),
               s->planned.request.exact ? "exact" : "fast");
    for (int i = 0; i < s->planned.n_parts && status == AT_OK; i++)
        if (s->planned.parts[i].graph)
            status = time_part(s, &s->planned.parts[i], err);
    if (status != AT_OK)
        return status;
    if (s->o->json)
        return write_tail(s, err);
    print_total(s);
    return AT_OK;
}

int at_command_profile(int argc, char **argv)
{
    options o = { .words = at_planned_usual };
    at_parsed parsed = parse(&o, argc, argv);
    if (parsed != AT_PARSED)
        return at_parsed_exit(parsed);
    session s = { .o = &o };
    at_error err = { 0 };
    at_status status = run(&s, &err);
    at_json_writer_free(&s.json);
    at_planned_free(&s.planned);
    at_tuning_free(s.tuning);
    at_device_close(s.device);
    return status == AT_OK ? AT_EXIT_OK : at_unable("profile", &err);
}
