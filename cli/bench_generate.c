#include "cli/bench_generate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/folders.h"
#include "cli/json.h"
#include "cli/peaks.h"
#include "cli/process.h"
#include "cli/progress.h"
#include "engine/clock.h"
#include "runtime/fits.h"
#include "runtime/model.h"

enum { BATCHES_MAX = 8, BATCH_MAX = 64, STEPS_MAX = 1000, USUAL_STEPS = 30 };

typedef struct options {
    const char *model, *size, *batches;
    at_model_options open;
    double guidance;
    int steps;
    bool json;
} options;

/* What one batch took. */
typedef struct result {
    int batch;
    int64_t width, height;
    at_drawing_times times;
    double first;      /* seconds from the beginning to the first step, loading and all */
    double step;       /* the fastest one */
    double step_flops; /* of all rows */
    size_t promised;   /* bytes that the plans said, without the text encoders' */
    uint64_t held;     /* bytes that the process had at most, mapped pages and all */
} result;

typedef struct ticks {
    double begun, last, first, fastest;
} ticks;

/* --- what is known before --------------------------------------------------------------------- */

/* Products and all of a step of the UNet, which a description tells without weights. */
static at_status count_step(const at_model *m, at_sdxl_unet_size size, double *flops, at_error *err)
{
    at_params *store = at_params_new(NULL);
    at_sdxl_unet *unet = NULL;
    at_status status =
        at_sdxl_unet_new(&unet, store, &at_sdxl_about_of(m->sdxl)->unet, m->dtype, err);
    if (status == AT_OK) {
        at_graph *g = at_graph_new();
        at_sdxl_unet_describe_step(unet, g, size);
        *flops = 0;
        for (int i = 0; i < at_graph_nodes(g); i++) {
            const at_node *n = at_graph_node(g, i);
            *flops += at_op_cost(n->op, n->args).flops;
        }
        at_graph_free(g);
    }
    at_sdxl_unet_free(unet);
    at_params_free(store);
    return status;
}

static at_status foresee(at_model *m, const options *o, result *r, at_error *err)
{
    const at_sdxl_about *about = at_sdxl_about_of(m->sdxl);
    const int64_t shrinks = at_sdxl_vae_shrinks(&about->vae);
    const int rows = o->guidance > 1 && !about->unet.guidance ? 2 : 1;
    const at_fits fits = { .model = m,
                           .size = { (int64_t)r->batch * rows, r->height / shrinks,
                                     r->width / shrinks, AT_SDXL_TOKENS },
                           .rows = rows,
                           .decodes = true };
    at_status status = at_fits_most(&fits, &r->promised, err);
    return status == AT_OK ? count_step(m, fits.size, &r->step_flops, err) : status;
}

/* --- drawing ---------------------------------------------------------------------------------- */

static bool tick(void *context, at_drawing *d, int step, int steps)
{
    ticks *c = context;
    const double now = at_clock_seconds();
    (void)d, (void)steps;
    if (step == 0)
        c->first = now - c->begun;
    else if (step == 1 || now - c->last < c->fastest)
        c->fastest = now - c->last;
    c->last = now;
    return true;
}

static at_status draw(at_model *m, const options *o, result *r, at_error *err)
{
    ticks c = { .begun = at_clock_seconds() };
    at_request request = at_request_usual;
    at_drawing *d = NULL;
    request.prompt = "a red cube beside a blue ball";
    request.count = r->batch;
    request.width = r->width;
    request.height = r->height;
    request.seed = 1;
    request.steps = o->steps;
    request.guidance = o->guidance;
    request.progress = tick;
    request.progress_context = &c;
    at_process_forget_memory();
    at_status status = at_draw(&d, m, &request, err);
    if (status == AT_OK) {
        r->times = at_drawing_timing(d);
        r->first = c.first;
        r->step = c.fastest;
        r->held = at_process_memory_most();
        const at_pixels p = at_drawing_picture(d, 0);
        r->width = p.width;
        r->height = p.height;
    }
    at_drawing_free(d);
    return status;
}

/* --- what is told ----------------------------------------------------------------------------- */

static double pictures_a_second(const result *r)
{
    return r->batch / (r->times.text + USUAL_STEPS * r->step + r->times.decode);
}

static double peak_of(const at_machine *peaks, const at_model *m)
{
    return m->dtype == AT_BF16 && peaks->bf16_flops > peaks->f32_flops ? peaks->bf16_flops
                                                                       : peaks->f32_flops;
}

static void print_head(const at_model *m, const at_machine *peaks, const options *o)
{
    char text[256];
    at_peaks_text(peaks, text, sizeof text);
    printf("%s (%s), %s, %s plans, guidance %g\n%s: %s\n\n", m->path, at_model_hash(m),
           at_model_precision(m), m->exact ? "exact" : "fast", o->guidance, peaks->name, text);
    printf("batch   to first step   text s   step s  steps/s  GFLOP/s  of peak   decode s"
           "  pictures/s  memory: promised, held\n");
}

static void print_result(const result *r, double peak)
{
    char promised[AT_BYTES_TEXT], held[AT_BYTES_TEXT];
    printf("%5d %15.2f %8.3f %8.3f %8.3f %8.1f %6.1f %% %10.3f %11.4f  %9s, %9s\n", r->batch,
           r->first, r->times.text, r->step, 1 / r->step, r->step_flops / r->step / 1e9,
           100 * r->step_flops / r->step / peak, r->times.decode, pictures_a_second(r),
           at_bytes_text(r->promised, promised), at_bytes_text(r->held, held));
    fflush(stdout);
}

static void write_result(at_json_writer *w, const result *r, double peak)
{
    at_json_write_object(w);
    at_json_put_int(w, "batch", r->batch);
    at_json_put_int(w, "width", r->width);
    at_json_put_int(w, "height", r->height);
    at_json_put_measure(w, "first_step_seconds", r->first);
    at_json_put_measure(w, "load_seconds", r->times.load);
    at_json_put_measure(w, "text_seconds", r->times.text);
    at_json_put_measure(w, "step_seconds", r->step);
    at_json_put_measure(w, "decode_seconds", r->times.decode);
    at_json_put_measure(w, "gflops", r->step_flops / r->step / 1e9);
    at_json_put_measure(w, "share", r->step_flops / r->step / peak);
    at_json_put_measure(w, "pictures_per_second", pictures_a_second(r));
    at_json_put_uint(w, "promised_bytes", r->promised);
    at_json_put_uint(w, "held_bytes", r->held);
    at_json_write_close(w);
}

/* --- the command ------------------------------------------------------------------------------ */

static at_status read_batches(const char *text, int *out, int *n, at_error *err)
{
    for (const char *at = text;; at++) {
        char *end;
        const long batch = strtol(at, &end, 10);
        if (end == at || batch < 1 || batch > BATCH_MAX || *n == BATCHES_MAX ||
            (*end && *end != ','))
            return at_fail(err, AT_INVALID,
                           "--batch: '%.60s': expected up to %d numbers of 1 to %d, as in 1,2,4",
                           text, BATCHES_MAX, BATCH_MAX);
        out[(*n)++] = (int)batch;
        if (!*end)
            return AT_OK;
        at = end;
    }
}

static at_status read_size(const options *o, const at_model *m, result *r, at_error *err)
{
    const at_sdxl_about *about = at_sdxl_about_of(m->sdxl);
    const int64_t shrinks = at_sdxl_vae_shrinks(&about->vae);
    long long width = about->unet.sample[1] * shrinks, height = about->unet.sample[0] * shrinks;
    char rest;
    if (o->size && sscanf(o->size, "%lldx%lld%c", &width, &height, &rest) != 2)
        return at_fail(err, AT_INVALID, "--size: '%.40s': expected WIDTHxHEIGHT", o->size);
    if (width < shrinks || height < shrinks || width % shrinks || height % shrinks ||
        width > 16384 || height > 16384)
        return at_fail(err, AT_INVALID, "--size: %lldx%lld: expected multiples of %lld to 16384",
                       width, height, (long long)shrinks);
    r->width = width;
    r->height = height;
    return AT_OK;
}

/* On a device of its own: what measuring takes of memory is not drawing's. */
static at_status measure(const options *o, const at_model *m, at_machine *peaks, at_error *err)
{
    const at_device_options device = { .threads = o->open.threads };
    at_device *d = NULL;
    at_status status = at_device_open(&d, at_model_device(m), &device, err);
    if (status == AT_OK)
        status = at_machine_measure(d, 0, peaks, err);
    at_device_close(d);
    return status;
}

static at_status run_all(const options *o, at_model *m, const int *batches, int n, at_error *err)
{
    at_machine peaks;
    at_json_writer w = at_json_stdout();
    at_status status = measure(o, m, &peaks, err);
    if (status != AT_OK)
        return status;
    const double peak = peak_of(&peaks, m);
    if (!o->json)
        print_head(m, &peaks, o);
    at_json_write_object(&w);
    at_json_put_text(&w, "device", at_model_device(m));
    at_json_put_text(&w, "precision", at_model_precision(m));
    at_json_put_text(&w, "mode", m->exact ? "exact" : "fast");
    at_json_put_int(&w, "steps", o->steps);
    at_json_write_key(&w, "results");
    at_json_write_array(&w);
    for (int i = 0; i < n && status == AT_OK; i++) {
        result r = { .batch = batches[i] };
        status = read_size(o, m, &r, err);
        if (status == AT_OK)
            status = foresee(m, o, &r, err);
        if (status == AT_OK)
            status = draw(m, o, &r, err);
        if (status == AT_OK && o->json)
            write_result(&w, &r, peak);
        else if (status == AT_OK)
            print_result(&r, peak);
    }
    at_json_write_close(&w);
    at_json_write_close(&w);
    if (status == AT_OK && o->json)
        return at_json_finish(&w, err);
    at_json_writer_free(&w);
    return status;
}

static at_status run(const options *o, at_error *err)
{
    char path[AT_FOLDER_PATH_MAX];
    int batches[BATCHES_MAX], n = 0;
    at_model *m = NULL;
    if (!o->model)
        return at_fail(err, AT_INVALID, "expected --model FILE or NAME");
    at_status status = read_batches(o->batches, batches, &n, err);
    if (status == AT_OK)
        status = at_folder_find(path, AT_FOLDER_MODELS, o->model, err);
    if (status == AT_OK)
        status = at_model_open(&m, path, &o->open, err);
    if (status == AT_OK)
        status = run_all(o, m, batches, n, err);
    at_model_close(m);
    return status;
}

int at_bench_generate(int argc, char **argv)
{
    options o = { .batches = "1", .steps = 4, .guidance = 5 };
    const char *none;
    at_error err = { 0 };
    const at_option list[] = {
        { "--model", AT_OPTION_TEXT, &o.model, 0, 0, "FILE|NAME", "what draws" },
        { "--size", AT_OPTION_TEXT, &o.size, 0, 0, "WxH", "in pixels (the model's)" },
        { "--batch", AT_OPTION_TEXT, &o.batches, 0, 0, "N,...",
          "pictures at once, one number after the other (1)" },
        { "--steps", AT_OPTION_INT, &o.steps, 1, STEPS_MAX, "N", "that are timed (4)" },
        { "--guidance", AT_OPTION_REAL, &o.guidance, 0, 100, "X", "1: one row a picture (5)" },
        { "--device", AT_OPTION_TEXT, &o.open.device, 0, 0, "NAME", "cpu or cuda (the best)" },
        { "--precision", AT_OPTION_TEXT, &o.open.precision, 0, 0, "TYPE",
          "f32 or bf16 (bf16 if the weights have 16 bits)" },
        { "--mode", AT_OPTION_TEXT, &o.open.mode, 0, 0, "MODE",
          "exact: a picture never depends on its batch; or fast (exact)" },
        AT_OPTION_THREADS(&o.open),
        { "--json", AT_OPTION_FLAG, &o.json, 0, 0, NULL, "print JSON" },
    };
    const at_usage usage = {
        "bench generate",
        "Times the parts of drawing with a model.",
        "",
        list,
        (int)AT_COUNT(list),
        "A step is the fastest of those that are made; pictures/s are those of 30 such steps,\n"
        "with text and decoding. Memory is what the plans of UNet and VAE promise, and what the\n"
        "process held at most, mapped pages, text encoders and all.\n"
    };
    const at_parsed parsed = at_options_parse(&usage, argc, argv, &none, 0);
    if (parsed != AT_PARSED)
        return at_parsed_exit(parsed);
    return run(&o, &err) == AT_OK ? AT_EXIT_OK : at_unable(usage.command, &err);
}
