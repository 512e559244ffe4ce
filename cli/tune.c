/* tune.c -- atelier tune ops, or a model: tries every variant and candidate of the ops at the
 * models' shapes, or of each call that a model makes, and stores what is fastest here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/device.h"
#include "cli/json.h"
#include "cli/planned.h"
#include "cli/shapes.h"
#include "cli/tuning.h"
#include "engine/bench.h"
#include "engine/clock.h"
#include "engine/device_paper.h"
#include "engine/machine.h"
#include "engine/tuning_try.h"

typedef struct options {
    at_device_options device;
    const char *what;                                        /* "ops" or a model */
    const char *name, *op, *shape, *shapes, *dtype, *folder; /* name: of the device */
    const char *size, *guidance;
    int batch;
    double seconds, seconds_each;
    bool exact, fast, again, check_all, quick, json;
} options;

typedef struct session {
    const options *o;
    at_device *device;
    at_error no_gpu;          /* why there is none, if it should be said */
    at_tuning *tuning, *seen; /* seen: the calls of this run */
    char folder[AT_TUNING_FOLDER_MAX];
    at_dtype dtype;
    at_shapes shapes;
    at_json_writer json; /* the document, in its results while ops are tried */
    at_trial trial;
    double stored; /* when */
    int n_tried, n_known, n_single, n_left, n_failed;
} session;

static at_parsed parse(options *o, int argc, char **argv)
{
    const at_option list[] = {
        { "--device", AT_OPTION_TEXT, &o->name, 0, 0, "NAME",
          "cpu or cuda; else cuda where it can be used" },
        { "--op", AT_OPTION_TEXT, &o->op, 0, 0, "OP", "only this op (checkop --list names them)" },
        { "--shape", AT_OPTION_TEXT, &o->shape, 0, 0, "TEXT",
          "one shape of OP, such as \"x=2,4096,640 w=640,640\"" },
        { "--shapes", AT_OPTION_TEXT, &o->shapes, 0, 0, "FILE",
          "the shapes of a file, a line \"OP SHAPE\" each, instead of the models'" },
        { "--size", AT_OPTION_TEXT, &o->size, 0, 0, "WxH", "of a model's picture (1024)" },
        { "--batch", AT_OPTION_INT, &o->batch, 1, AT_PLANNED_BATCH_MAX, "N",
          "pictures at once, of a model (1)" },
        { "--guidance", AT_OPTION_TEXT, &o->guidance, 0, 0, "yes|no",
          "two rows for each picture, or one (yes)" },
        { "--dtype", AT_OPTION_TEXT, &o->dtype, 0, 0, "TYPE",
          "f32, bf16 or f16; else the one that is faster here, of a model bf16" },
        { "--exact", AT_OPTION_FLAG, &o->exact, 0, 0, NULL,
          "only for plans whose rows do not depend on the batch" },
        { "--fast", AT_OPTION_FLAG, &o->fast, 0, 0, NULL, "only for plans that are free to" },
        { "--seconds", AT_OPTION_REAL, &o->seconds, 0.001, 1e6, "S",
          "stop trying after so long; else when all is tried" },
        { "--seconds-each", AT_OPTION_REAL, &o->seconds_each, 0.0001, 60, "S",
          "time for each candidate (0.05)" },
        { "--quick", AT_OPTION_FLAG, &o->quick, 0, 0, NULL, "only shapes that are soon done" },
        { "--again", AT_OPTION_FLAG, &o->again, 0, 0, NULL, "try what is known already, too" },
        { "--check-all", AT_OPTION_FLAG, &o->check_all, 0, 0, NULL,
          "for exact plans tell of every candidate whether its rows depend on the batch" },
        { "--folder", AT_OPTION_TEXT, &o->folder, 0, 0, "DIR",
          "where choices are kept; else ~/.cache/atelier" },
        AT_OPTION_THREADS(&o->device),
        AT_OPTION_ISA(&o->device),
        AT_OPTION_EARLY(&o->device),
        { "--json", AT_OPTION_FLAG, &o->json, 0, 0, NULL, "print JSON" },
    };
    const at_usage usage = {
        "tune",
        "Tries every way to compute the ops at the models' shapes, or all calls of a model (sdxl,\n"
        "sdxl-unet, sdxl-vae), and stores the fastest.",
        "ops|MODEL",
        list,
        (int)AT_COUNT(list),
        "Choices hold for this device, driver, libraries and version of the kernels; when one of\n"
        "them changes, tuning begins anew. What is known already is not tried again.\n"
    };
    return at_options_parse_all(&usage, argc, argv, &o->what, 1);
}

static bool is_of_ops(const options *o)
{
    return !strcmp(o->what, "ops");
}

static at_status check_names(const options *o, at_error *err)
{
    if (!is_of_ops(o) && (o->op || o->shape || o->shapes || o->quick))
        return at_fail(err, AT_INVALID,
                       "--op, --shape, --shapes and --quick go with ops, not with %s", o->what);
    if (is_of_ops(o) && (o->size || o->batch || o->guidance))
        return at_fail(err, AT_INVALID, "--size, --batch and --guidance go with a model");
    if (o->op && !at_op_named(o->op))
        return at_fail(err, AT_NOT_FOUND, "there is no op '%s'", o->op);
    if (o->shape && !o->op)
        return at_fail(err, AT_INVALID, "--shape goes with --op");
    if (o->shape && o->shapes)
        return at_fail(err, AT_INVALID, "--shape and --shapes do not go together");
    if (o->exact && o->fast)
        return at_fail(err, AT_INVALID,
                       "--exact and --fast are each other's opposite; without "
                       "them both kinds of plans are tuned");
    if (o->dtype &&
        (at_dtype_named(o->dtype) == AT_NONE || !at_dtype_is_float(at_dtype_named(o->dtype))))
        return at_fail(err, AT_INVALID, "'%s' is not a floating element type: f32, bf16, f16",
                       o->dtype);
    return AT_OK;
}

/* --- telling ---------------------------------------------------------------------------------- */

static void print_head(const session *s, const at_tuned_for *machine)
{
    printf("%s, %s, %s; choices in %s/%s\n", machine->field[AT_TUNED_FOR_DEVICE],
           machine->field[AT_TUNED_FOR_COMPUTE], at_dtype_name(s->dtype), s->folder,
           at_tuning_file(s->tuning));
    printf("%-5s  %-16s %-26s %10s  %-34s %10s %6s  %s\n", "for", "op", "untuned", "us", "tuned",
           "us", "gain", "shape");
}

static void write_head(session *s, const at_tuned_for *machine)
{
    at_json_writer *w = &s->json;
    *w = at_json_stdout();
    at_json_write_object(w);
    at_json_write_key(w, "machine");
    at_json_write_object(w);
    for (int i = 0; i < AT_TUNED_FOR_COUNT; i++)
        at_json_put_text(w, at_tuned_for_name(i), machine->field[i]);
    at_json_write_close(w);
    at_json_put_text(w, "folder", s->folder);
    at_json_put_text(w, "file", at_tuning_file(s->tuning));
    at_json_put_text(w, "dtype", at_dtype_name(s->dtype));
    at_json_write_key(w, "results");
    at_json_write_array(w);
}

static at_status write_tail(session *s, at_error *err)
{
    at_json_writer *w = &s->json;
    at_json_write_close(w);
    at_json_put_int(w, "tried", s->n_tried);
    at_json_put_int(w, "known", s->n_known);
    at_json_put_int(w, "single", s->n_single);
    at_json_put_int(w, "left", s->n_left);
    at_json_put_int(w, "failed", s->n_failed);
    at_json_write_close(w);
    return at_json_finish(w, err);
}

static void print_tail(const session *s)
{
    printf("%d tried, %d known already, %d with one candidate only, %d left for want of time\n",
           s->n_tried, s->n_known, s->n_single, s->n_left);
}

static bool was_dropped(const at_tried *c)
{
    return c->verdict != AT_VERDICT_KEPT && c->verdict != AT_VERDICT_SLOWER &&
           c->verdict != AT_VERDICT_HOPELESS;
}

static void print_trial(session *s, const at_tuning_call *call, const char *where, const char *text)
{
    const at_trial *l = &s->trial;
    const at_tried *untuned = &l->list[0], *kept = &l->list[l->kept];
    char name[AT_TUNING_NAME_MAX + AT_CHOICE_MAX];
    snprintf(name, sizeof name, "%s %s", kept->variant->name, kept->choice);
    printf(
        "%-5s  %-16s %-26s %10.1f  %-34s %10.1f %5.2fx  %s%s%s\n", call->exact ? "exact" : "fast",
        call->op->name, untuned->variant->name, untuned->seconds * 1e6, name, kept->seconds * 1e6,
        kept->seconds > 0 ? untuned->seconds / kept->seconds : 0, where, *where ? ": " : "", text);
    for (int i = 0; i < l->n; i++) {
        const at_tried *c = &l->list[i];
        if (was_dropped(c))
            printf("       dropped %s %s, %.1f us: %s%s%s\n", c->variant->name, c->choice,
                   c->seconds * 1e6, at_verdict_text(c->verdict), *c->why ? ": " : "", c->why);
    }
    fflush(stdout);
}

static void write_trial(session *s, const at_tuning_call *call, const char *where, const char *text)
{
    at_json_writer *w = &s->json;
    at_json_write_object(w);
    at_json_put_text(w, "op", call->op->name);
    at_json_put_text(w, "where", where);
    at_json_put_text(w, "shape", text);
    at_json_put_text(w, "mode", call->exact ? "exact" : "fast");
    at_json_put_int(w, "kept", s->trial.kept);
    at_json_write_key(w, "candidates");
    at_json_write_array(w);
    for (int i = 0; i < s->trial.n; i++) {
        const at_tried *c = &s->trial.list[i];
        at_json_write_object(w);
        at_json_put_text(w, "variant", c->variant->name);
        at_json_put_text(w, "choice", c->choice);
        at_json_put_measure(w, "us", c->seconds * 1e6);
        at_json_put_uint(w, "scratch", c->scratch);
        at_json_put_text(w, "verdict", at_verdict_text(c->verdict));
        at_json_put_text(w, "why", c->why);
        at_json_write_close(w);
    }
    at_json_write_close(w);
    at_json_write_close(w);
}

/* --- trying ----------------------------------------------------------------------------------- */

/* What is done in a moment on two cores. */
static bool soon_done(at_cost cost)
{
    return cost.flops < 4e10 && cost.bytes < 2e8;
}

/* Choices are stored every few seconds, so that little is lost with a program that ends early. */
static at_status store(session *s, double seconds, at_error *err)
{
    double now = at_clock_seconds();
    if (now - s->stored < seconds)
        return AT_OK;
    s->stored = now;
    return at_tuning_save(s->tuning, s->folder, err);
}

static at_status try_call(session *s, const at_tuning_call *call, const char *where,
                          const char *text, at_error *err)
{
    const at_choice nothing = { .variant = "any", .text = "any" };
    char key[AT_TUNING_KEY_MAX];
    if (!at_tuning_key(call, key) || at_tuning_find(s->seen, key))
        return AT_OK;
    at_status seen = at_tuning_put(s->seen, key, &nothing, err);
    if (seen != AT_OK)
        return seen;
    if (!s->o->again && at_tuning_find(s->tuning, key)) {
        s->n_known++;
        return AT_OK;
    }
    if (at_tuning_is_over(s->tuning)) {
        s->n_left++;
        return AT_OK;
    }
    at_status status = at_tuning_try(s->tuning, s->device, call, &s->trial, err);
    if (status != AT_OK)
        return status;
    if (s->trial.n < 2) {
        s->n_single++;
        return AT_OK;
    }
    s->n_tried++;
    (s->o->json ? write_trial : print_trial)(s, call, where, text);
    const double often = 5;
    return store(s, often, err);
}

/* For both kinds of plans, but for the one that is not wanted. */
static at_status try_both(session *s, at_tuning_call call, const char *where, const char *text,
                          at_error *err)
{
    at_status status = AT_OK;
    for (int exact = 0; exact < 2 && status == AT_OK; exact++) {
        call.exact = exact;
        if (!(exact ? s->o->fast : s->o->exact))
            status = try_call(s, &call, where, text, err);
    }
    return status;
}

static at_status try_shape(session *s, const at_op *op, const char *where, const char *text,
                           at_error *err)
{
    _Alignas(16) unsigned char args[AT_ARGS_MAX];
    const at_tuning_call call = { op, args, at_bench_constants(op), false };
    at_cost cost;
    at_status status = at_bench_check(s->device, op, text, s->dtype, &cost, err);
    if (status == AT_OK)
        status = at_bench_describe(op, text, s->dtype, args, err);
    if (status != AT_OK || (s->o->quick && !soon_done(cost)))
        return status;
    return try_both(s, call, where, text, err);
}

/* Whether what failed is told, and the rest is tried. */
static bool goes_on(session *s, at_status status, const at_error *err)
{
    if (status == AT_OK)
        return true;
    if (status == AT_DEVICE || status == AT_IO)
        return false;
    s->n_failed++;
    at_unable("tune", err);
    return true;
}

static at_status try_shapes(session *s, at_error *err)
{
    const at_bench_shape *shape;
    const options *o = s->o;
    int n = 0;
    if (o->shape)
        return try_shape(s, at_op_named(o->op), "", o->shape, err);
    for (int i = 0; (shape = at_shapes_at(&s->shapes, i)) != NULL; i++) {
        if (o->op && strcmp(o->op, shape->op) != 0)
            continue;
        n++;
        at_status status = try_shape(s, at_op_named(shape->op), shape->where, shape->text, err);
        if (!goes_on(s, status, err))
            return status;
    }
    return n ? AT_OK
             : at_fail(err, AT_NOT_FOUND, "there is no shape of %s: give one with --shape",
                       o->op ? o->op : "any op");
}

/* --- a model's calls -------------------------------------------------------------------------- */

static at_status try_node(session *s, const at_graph *g, const at_node *node, at_error *err)
{
    at_tuning_call call = { node->op, node->args, 0, false };
    char text[256];
    for (int i = 0; i < node->op->n_operands; i++) {
        const at_view *v = at_operand_in(node->op, node->args, i);
        if (at_has(v) && node->op->operands[i].role == AT_IN && at_graph_tensor(g, v->tag)->param)
            call.constants |= 1u << i;
    }
    at_args_print(node->op, node->args, text, sizeof text);
    return try_both(s, call, node->scope ? node->scope : "", text, err);
}

static at_status try_graph(session *s, at_graph *g, at_error *err)
{
    for (int i = 0; i < at_graph_nodes(g); i++) {
        at_status status = try_node(s, g, at_graph_node(g, i), err);
        if (!goes_on(s, status, err))
            return status;
    }
    return AT_OK;
}

static at_status read_request(const options *o, at_planned_request *r, at_error *err)
{
    at_planned_words w = at_planned_usual;
    w.model = o->what;
    w.size = o->size ? o->size : w.size;
    w.guidance = o->guidance ? o->guidance : w.guidance;
    w.dtype = o->dtype ? o->dtype : w.dtype;
    w.batch = o->batch ? o->batch : w.batch;
    return at_planned_read(r, &w, err);
}

/* The model is described on paper: its weights need no memory, only the call that is tried does. */
static at_status try_model(session *s, at_error *err)
{
    const size_t any_weights = (size_t)1 << 40;
    at_planned_request request;
    at_planned planned = { 0 };
    at_device *paper = NULL;
    at_status status = read_request(s->o, &request, err);
    if (status == AT_OK)
        status =
            at_device_open_paper(&paper, s->device->api->name, &s->device->caps, any_weights, err);
    if (status == AT_OK)
        status = at_planned_describe(&planned, &request, paper, err);
    for (int i = 0; i < planned.n_parts && status == AT_OK; i++)
        if (planned.parts[i].graph)
            status = try_graph(s, planned.parts[i].graph, err);
    at_planned_free(&planned);
    at_device_close(paper);
    return status;
}

/* Threads and an instruction set are the cpu's. */
static at_status open_device(session *s, at_error *err)
{
    const options *o = s->o;
    const char *name = o->name || !(o->device.isa || o->device.threads) ? o->name : "cpu";
    return at_command_device(&s->device, name, &o->device, &s->no_gpu, err);
}

static at_status begin(session *s, at_error *err)
{
    const options *o = s->o;
    at_tuned_for machine;
    at_planned_request request = { .dtype = AT_NONE };
    at_status status = check_names(o, err);
    if (status == AT_OK && !is_of_ops(o))
        status = read_request(o, &request, err);
    if (status == AT_OK)
        status = at_tuning_folder(o->folder, s->folder, err);
    if (status == AT_OK)
        status = at_shapes_read(&s->shapes, o->shapes, err);
    if (status == AT_OK)
        status = open_device(s, err);
    if (status == AT_OK)
        status = at_tuning_open(&s->tuning, "tune", s->device, s->folder, err);
    if (status == AT_OK)
        status = at_tuned_for_device(s->device, &machine, err);
    if (status == AT_OK)
        status = at_tuning_new(&s->seen, &machine, err);
    if (status == AT_OK)
        status = at_tuning_folder_make(s->folder, err);
    if (status != AT_OK)
        return status;
    const at_tuning_settings settings = { .seconds_each = o->seconds_each,
                                          .seconds_total = o->seconds,
                                          .check_all = o->check_all };
    at_tuning_set(s->tuning, &settings);
    s->stored = at_clock_seconds();
    s->dtype = !is_of_ops(o) ? request.dtype
               : o->dtype    ? at_dtype_named(o->dtype)
                             : at_device_default_dtype(s->device);
    if (*s->no_gpu.text)
        fprintf(stderr, "atelier tune: on the cpu: %s\n", s->no_gpu.text);
    if (o->json)
        write_head(s, &machine);
    else
        print_head(s, &machine);
    return AT_OK;
}

static at_status run(session *s, at_error *err)
{
    at_error not_stored = { 0 };
    at_status status = begin(s, err);
    if (status != AT_OK)
        return status;
    status = is_of_ops(s->o) ? try_shapes(s, err) : try_model(s, err);
    at_status stored = s->n_tried ? store(s, 0, &not_stored) : AT_OK;
    if (status == AT_OK && stored != AT_OK)
        status = at_fail(err, stored, "%s", not_stored.text);
    if (status == AT_OK && s->o->json)
        status = write_tail(s, err);
    else if (status == AT_OK)
        print_tail(s);
    return status;
}

int at_command_tune(int argc, char **argv)
{
    options o = { .seconds = 0 };
    at_parsed parsed = parse(&o, argc, argv);
    if (parsed != AT_PARSED)
        return at_parsed_exit(parsed);
    session *s = calloc(1, sizeof *s);
    at_error err = { 0 };
    AT_ASSERT(s, "no memory for a session");
    s->o = &o;
    at_status status = run(s, &err);
    int failed = s->n_failed;
    at_json_writer_free(&s->json);
    at_tuning_free(s->tuning);
    at_tuning_free(s->seen);
    at_shapes_free(&s->shapes);
    at_device_close(s->device);
    free(s);
    if (status != AT_OK)
        return at_unable("tune", &err);
    return failed ? AT_EXIT_WRONG : AT_EXIT_OK;
}
