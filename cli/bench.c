/* bench.c -- atelier bench ops: every op at the models' shapes, beside what the machine can
 * reach. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench_generate.h"
#include "cli/command.h"
#include "cli/device.h"
#include "cli/json.h"
#include "cli/peaks.h"
#include "cli/shapes.h"
#include "cli/tuning.h"
#include "engine/bench.h"
#include "kernels/ops.h"

typedef struct options {
    at_device_options device;
    const char *name, *op, *shape, *shapes, *dtype, *variant, *tuning; /* name: of the device */
    double seconds;
    bool exact, json, quick, cached;
} options;

/* One shape that was asked for. */
typedef struct request {
    const at_op *op;
    const char *where, *text;
    at_cost cost;
} request;

typedef struct session {
    const options *o;
    at_device *device;
    at_tuning *tuning; /* NULL: none was named */
    at_error no_gpu;   /* why there is none, if it should be said */
    at_machine machine;
    at_dtype dtype;
    at_shapes shapes;
    request *requests;
    int n_requests, n_failed;
    at_json_writer json; /* the document, in its results while ops are timed */
} session;

static at_parsed parse(options *o, int argc, char **argv)
{
    const at_option list[] = {
        { "--device", AT_OPTION_TEXT, &o->name, 0, 0, "NAME",
          "cpu or cuda; else cuda where it can be used" },
        { "--op", AT_OPTION_TEXT, &o->op, 0, 0, "OP", "only this op (checkop --list names them)" },
        { "--shape", AT_OPTION_TEXT, &o->shape, 0, 0, "TEXT",
          "one shape of OP, such as \"x=2,128,128,320 kind=silu\"" },
        { "--shapes", AT_OPTION_TEXT, &o->shapes, 0, 0, "FILE",
          "the shapes of a file, a line \"OP SHAPE\" each, instead of the models'" },
        { "--dtype", AT_OPTION_TEXT, &o->dtype, 0, 0, "TYPE",
          "f32, bf16 or f16; else the one that is faster here" },
        { "--variant", AT_OPTION_TEXT, &o->variant, 0, 0, "NAME",
          "this variant; else the one a plan would choose" },
        { "--tuning", AT_OPTION_TEXT, &o->tuning, 0, 0, "DIR",
          "what a plan would choose with the choices of that folder (atelier tune)" },
        { "--exact", AT_OPTION_FLAG, &o->exact, 0, 0, NULL,
          "what an exact plan would choose: rows do not depend on the batch" },
        { "--seconds", AT_OPTION_REAL, &o->seconds, 0.001, 600, "S", "time for each shape (0.5)" },
        { "--cached", AT_OPTION_FLAG, &o->cached, 0, 0, NULL,
          "on a GPU: what fits into its cache is timed from there too" },
        { "--quick", AT_OPTION_FLAG, &o->quick, 0, 0, NULL,
          "one shape of each op, those that are soon done" },
        AT_OPTION_THREADS(&o->device),
        AT_OPTION_ISA(&o->device),
        AT_OPTION_EARLY(&o->device),
        { "--json", AT_OPTION_FLAG, &o->json, 0, 0, NULL, "print JSON" },
    };
    const at_usage usage = {
        "bench",
        "Times the ops at the shapes that the models run at.",
        "ops",
        list,
        (int)AT_COUNT(list),
        "Shares are of the time that the machine's measured peaks would need: its arithmetic, or\n"
        "the bandwidth that it reaches on as many bytes. On a GPU the operands are several sets\n"
        "taken in turn, more than its cache holds, so that memory's bandwidth counts.\n"
        "`atelier bench generate` times whole pictures; its --help says how.\n"
    };
    const char *word;
    at_parsed parsed = at_options_parse(&usage, argc, argv, &word, 1);
    if (parsed != AT_PARSED)
        return parsed;
    if (word && !strcmp(word, "ops"))
        return AT_PARSED;
    fprintf(stderr,
            "atelier bench: what is timed is named first: atelier bench ops or generate%s%s%s\n",
            word ? ", not '" : "", word ? word : "", word ? "'" : "");
    return AT_PARSED_WRONG;
}

/* --- what was asked for ----------------------------------------------------------------------- */

static bool has_variant(const at_op *op, const char *name)
{
    for (int i = 0; i < op->n_variants; i++)
        if (!strcmp(op->variants[i].name, name))
            return true;
    return false;
}

static at_status check_names(const options *o, at_error *err)
{
    const at_op *op = o->op ? at_op_named(o->op) : NULL;
    if (o->op && !op)
        return at_fail(err, AT_NOT_FOUND, "there is no op '%s'", o->op);
    if (o->shape && !o->op)
        return at_fail(err, AT_INVALID, "--shape goes with --op");
    if (o->shape && o->shapes)
        return at_fail(err, AT_INVALID, "--shape and --shapes do not go together");
    if (o->dtype &&
        (at_dtype_named(o->dtype) == AT_NONE || !at_dtype_is_float(at_dtype_named(o->dtype))))
        return at_fail(err, AT_INVALID, "'%s' is not a floating element type: f32, bf16, f16",
                       o->dtype);
    bool found = !o->variant || (op && has_variant(op, o->variant));
    for (int i = 0; !found && !op && at_op_at(i); i++)
        found = has_variant(at_op_at(i), o->variant);
    return found ? AT_OK
                 : at_fail(err, AT_NOT_FOUND, "%s%shas no variant '%s'", op ? op->name : "no op",
                           op ? " " : " ", o->variant);
}

/* Takes a shape on if it can be run; says why if not. */
static at_status add(session *s, const at_op *op, const char *where, const char *text,
                     at_error *err)
{
    at_cost cost;
    at_status status = at_bench_check(s->device, op, text, s->dtype, &cost, err);
    if (status == AT_OK)
        s->requests[s->n_requests++] = (request){ op, where, text, cost };
    return status;
}

static bool wanted(const session *s, const at_bench_shape *shape)
{
    const options *o = s->o;
    if (o->op && strcmp(o->op, shape->op))
        return false;
    return !o->variant || has_variant(at_op_named(shape->op), o->variant);
}

/* The quick choice: what is done in a moment on two cores, once for each op. */
static bool soon_done(const session *s, const request *r)
{
    for (int i = 0; i < s->n_requests - 1; i++)
        if (s->requests[i].op == r->op)
            return false;
    return r->cost.flops < 4e10 && r->cost.bytes < 2e8;
}

static at_status collect(session *s, at_error *err)
{
    int rows = 0;
    at_status status = at_shapes_read(&s->shapes, s->o->shapes, err);
    if (status != AT_OK)
        return status;
    while (at_shapes_at(&s->shapes, rows))
        rows++;
    s->requests = calloc((size_t)rows + 1, sizeof *s->requests);
    if (!s->requests)
        return at_fail(err, AT_NO_MEMORY, "no memory for %d shapes", rows);
    if (s->o->shape)
        return add(s, at_op_named(s->o->op), "", s->o->shape, err);
    for (int i = 0; i < rows; i++) {
        const at_bench_shape *shape = at_shapes_at(&s->shapes, i);
        if (!wanted(s, shape))
            continue;
        at_status added = add(s, at_op_named(shape->op), shape->where, shape->text, err);
        if (added == AT_OK && s->o->quick && !soon_done(s, &s->requests[s->n_requests - 1]))
            s->n_requests--;
        if (added == AT_OK)
            continue;
        status = added;
        s->n_failed++;
        at_unable("bench", err);
    }
    if (s->n_requests)
        return AT_OK;
    return status != AT_OK ? status
                           : at_fail(err, AT_NOT_FOUND,
                                     "there is no shape of %s: give one with "
                                     "--shape",
                                     s->o->op ? s->o->op : "any op");
}

/* --- timing ----------------------------------------------------------------------------------- */

/* What a plan would take. */
static at_status choose(const session *s, const request *r, const void *args, at_bench_how *how,
                        char choice[AT_CHOICE_MAX], at_error *err)
{
    const at_tuning_call call = { r->op, args, how->constants, how->exact };
    at_prepared p;
    at_status status = at_tuning_choose(s->tuning, s->device, &call, &how->variant, &p, err);
    if (status != AT_OK)
        return status;
    memcpy(choice, p.choice, AT_CHOICE_MAX);
    how->choice = choice;
    at_release(how->variant, &p);
    return AT_OK;
}

static at_status choose_named(const session *s, const request *r, const void *args,
                              at_bench_how *how, at_error *err)
{
    for (int i = 0; i < r->op->n_variants; i++) {
        how->variant = &r->op->variants[i];
        if (!strcmp(how->variant->name, s->o->variant) &&
            at_variant_usable(how->variant, args, &s->device->caps, how->exact))
            return AT_OK;
    }
    return at_fail(err, AT_UNSUPPORTED, "%s does not run on this machine, or not with %s",
                   s->o->variant, r->text);
}

static double per_second(double amount, double seconds)
{
    return seconds > 0 ? amount / seconds : 0;
}

static void print_head(session *s)
{
    char peaks[256];
    const at_machine *m = &s->machine;
    const int units = m->multiprocessors ? m->multiprocessors : m->threads;
    at_peaks_text(m, peaks, sizeof peaks);
    printf("%s, %d %s%s, %s; peaks: %s\n", m->name, units,
           m->multiprocessors ? "multiprocessor" : "thread", units == 1 ? "" : "s",
           at_dtype_name(s->dtype), peaks);
    printf("%-20s %-28s %11s %9s %8s %7s  %s\n", "op", "variant", "us", "GFLOP/s", "GB/s", "share",
           "shape");
}

static void write_gpu(at_json_writer *w, const session *s)
{
    at_json_put_int(w, "sm", s->device->caps.sm);
    at_json_put_int(w, "multiprocessors", s->machine.multiprocessors);
    at_json_put_uint(w, "cache_bytes", s->machine.cache_bytes);
    at_json_put_uint(w, "bytes", s->machine.memory_bytes);
}

static void write_head(session *s)
{
    at_json_writer *w = &s->json;
    *w = at_json_stdout();
    at_json_write_object(w);
    at_json_put_text(w, "device", s->device->api->name);
    at_json_put_text(w, s->machine.multiprocessors ? "gpu" : "cpu", s->machine.name);
    if (s->machine.multiprocessors)
        write_gpu(w, s);
    else
        at_json_put_int(w, "threads", s->machine.threads);
    at_json_put_text(w, "dtype", at_dtype_name(s->dtype));
    at_json_write_key(w, "peaks");
    at_peaks_write(w, &s->machine);
    at_json_write_key(w, "results");
    at_json_write_array(w);
}

static at_status write_tail(session *s, at_error *err)
{
    at_json_write_close(&s->json);
    at_json_write_close(&s->json);
    return at_json_finish(&s->json, err);
}

/* What one shape gave. */
typedef struct result {
    const at_variant *variant;
    at_timing timing, cached; /* cached.runs is 0 where that was not timed */
    at_dtype computed;
    double gflops, gbps, share;
} result;

static void print_result(const request *r, const result *e)
{
    printf("%-20s %-28s %11.1f %9.1f %8.2f %5.0f %%  %s%s%s", r->op->name, e->variant->name,
           e->timing.seconds * 1e6, e->gflops, e->gbps, 100 * e->share, r->where,
           *r->where ? ": " : "", r->text);
    if (e->cached.runs)
        printf("; from the cache %.1f us", e->cached.seconds * 1e6);
    putchar('\n');
    fflush(stdout);
}

static void write_result(at_json_writer *w, const request *r, const result *e)
{
    at_json_write_object(w);
    at_json_put_text(w, "op", r->op->name);
    at_json_put_text(w, "where", r->where);
    at_json_put_text(w, "shape", r->text);
    at_json_put_text(w, "dtype", at_dtype_name(e->computed));
    at_json_put_text(w, "variant", e->variant->name);
    at_json_put_measure(w, "us", e->timing.seconds * 1e6);
    at_json_put_measure(w, "us_min", e->timing.seconds_min * 1e6);
    at_json_put_int(w, "runs", e->timing.runs);
    at_json_put_int(w, "sets", e->timing.sets);
    if (e->cached.runs)
        at_json_put_measure(w, "us_cached", e->cached.seconds * 1e6);
    at_json_put_measure(w, "gflops", e->gflops);
    at_json_put_measure(w, "gbps", e->gbps);
    at_json_put_measure(w, "share", e->share);
    at_json_write_close(w);
}

static void report(session *s, const request *r, result *e)
{
    double bytes = r->cost.bytes * e->timing.sets;
    double roofline = at_machine_roofline_over(&s->machine, r->cost, e->computed, bytes);
    e->gflops = per_second(r->cost.flops, e->timing.seconds) / 1e9;
    e->gbps = per_second(r->cost.bytes, e->timing.seconds) / 1e9;
    e->share = per_second(roofline, e->timing.seconds);
    if (s->o->json)
        write_result(&s->json, r, e);
    else
        print_result(r, e);
}

/* Once more with one set, if there were several and one fits into the cache. */
static at_status time_cached(const session *s, at_bench *b, const at_bench_how *how, result *e,
                             at_error *err)
{
    if (!s->o->cached || e->timing.sets < 2 || at_bench_bytes(b) > s->machine.cache_bytes / 2)
        return AT_OK;
    at_bench_rotate(b, 0);
    return at_bench_time_as(b, how, s->o->seconds, &e->cached, err);
}

static at_status time_one(session *s, const request *r, at_error *err)
{
    at_bench *b;
    result e = { 0 };
    char choice[AT_CHOICE_MAX];
    at_bench_how how = { .constants = at_bench_constants(r->op), .exact = s->o->exact };
    at_status status = at_bench_new(&b, s->device, r->op, r->text, s->dtype, err);
    if (status != AT_OK)
        return status;
    const void *args = at_bench_args(b);
    status =
        s->o->variant ? choose_named(s, r, args, &how, err) : choose(s, r, args, &how, choice, err);
    e.computed = at_machine_dtype_of(r->op, args);
    if (status == AT_OK)
        status = at_bench_time_as(b, &how, s->o->seconds, &e.timing, err);
    e.variant = how.variant;
    if (status == AT_OK)
        status = time_cached(s, b, &how, &e, err);
    if (status == AT_OK)
        report(s, r, &e);
    at_bench_free(b);
    return status;
}

static at_status time_all(session *s, at_error *err)
{
    double bytes = 0;
    int done = 0;
    for (int i = 0; i < s->n_requests; i++)
        bytes = fmax(bytes, s->requests[i].cost.bytes);
    at_status status = at_machine_measure(s->device, bytes, &s->machine, err);
    if (status != AT_OK)
        return status;
    if (*s->no_gpu.text)
        fprintf(stderr, "atelier bench: on the cpu: %s\n", s->no_gpu.text);
    (s->o->json ? write_head : print_head)(s);
    for (int i = 0; i < s->n_requests; i++) {
        at_status timed = time_one(s, &s->requests[i], err);
        done += timed == AT_OK;
        if (timed == AT_OK)
            continue;
        status = timed;
        if (s->n_requests > 1) {
            s->n_failed++;
            at_unable("bench", err);
        }
    }
    return done ? AT_OK : status;
}

/* Threads and an instruction set are the cpu's. */
static at_status open_device(session *s, at_error *err)
{
    const options *o = s->o;
    const char *name = o->name || !(o->device.isa || o->device.threads) ? o->name : "cpu";
    return at_command_device(&s->device, name, &o->device, &s->no_gpu, err);
}

static at_status run(session *s, at_error *err)
{
    at_status status = check_names(s->o, err);
    if (status == AT_OK)
        status = open_device(s, err);
    if (status == AT_OK && s->o->cached && !s->device->api->replay)
        status = at_fail(err, AT_INVALID,
                         "--cached goes with a GPU: on the cpu operands are in its caches anyway");
    if (status != AT_OK)
        return status;
    if (s->o->tuning)
        status = at_tuning_open(&s->tuning, "bench", s->device, s->o->tuning, err);
    if (status != AT_OK)
        return status;
    s->dtype = s->o->dtype ? at_dtype_named(s->o->dtype) : at_device_default_dtype(s->device);
    status = collect(s, err);
    if (status == AT_OK)
        status = time_all(s, err);
    if (status == AT_OK && s->o->json)
        status = write_tail(s, err);
    return status;
}

int at_command_bench(int argc, char **argv)
{
    options o = { .seconds = 0 };
    if (argc > 1 && !strcmp(argv[1], "generate"))
        return at_bench_generate(argc - 1, argv + 1);
    at_parsed parsed = parse(&o, argc, argv);
    if (parsed != AT_PARSED)
        return at_parsed_exit(parsed);
    if (o.seconds <= 0)
        o.seconds = o.quick ? 0.02 : 0.5;
    session s = { .o = &o };
    at_error err = { 0 };
    at_status status = run(&s, &err);
    at_json_writer_free(&s.json);
    free(s.requests);
    at_shapes_free(&s.shapes);
    at_tuning_free(s.tuning);
    at_device_close(s.device);
    if (status != AT_OK)
        return at_unable("bench", &err);
    return s.n_failed ? AT_EXIT_WRONG : AT_EXIT_OK;
}
