/* generate.c -- atelier generate: pictures from text. */
#include "cli/generate.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/contact_sheet.h"
#include "cli/json.h"
#include "cli/process.h"
#include "cli/progress.h"
#include "engine/clock.h"
#include "engine/safetensors.h"
#include "kernels/shape.h"

/* --- Ctrl-C ----------------------------------------------------------------------------------- */

/* It ends the program at once, but for while a file is written: that becomes whole first. A handler
 * may run in any of the threads. */
enum { DRAWING, WRITING, ENDING };
static atomic_int doing = DRAWING, signalled; /* the signal's number */

static void end_now(int number)
{
    static const char wipe[] = "\r\033[K";
    if (isatty(STDERR_FILENO) && write(STDERR_FILENO, wipe, sizeof wipe - 1) < 0)
        _exit(AT_EXIT_UNABLE);
    _exit(AT_EXIT_SIGNAL + number);
}

static void on_signal(int number)
{
    int now = DRAWING;
    if (atomic_compare_exchange_strong(&doing, &now, ENDING))
        end_now(number);
    atomic_store(&signalled, number);
}

static void catch_signals(void)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = (int)SA_RESTART };
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static void begin_writing(void)
{
    int now = DRAWING;
    while (!atomic_compare_exchange_strong(&doing, &now, WRITING))
        pause(); /* another thread is about to end the program */
}

static void end_writing(void)
{
    atomic_store(&doing, DRAWING);
    if (atomic_load(&signalled))
        end_now(atomic_load(&signalled));
}

/* --- while it draws --------------------------------------------------------------------------- */

typedef struct watch {
    at_generate *g;
    at_bar bar;
    double previewed;
    bool preview_failed;
} watch;

static const double preview_seconds = 0.25;

static at_status write_pixels(const char *path, const at_pixels *pixels, int n, at_error *err)
{
    at_picture sheet = { 0 }, one = at_picture_of(&pixels[0]);
    if (n == 1)
        return at_picture_write(path, &one, NULL, err);
    AT_TRY(at_contact_sheet(&sheet, pixels, n, err));
    at_status status = at_picture_write(path, &sheet, NULL, err);
    at_picture_free(&sheet);
    return status;
}

static at_status write_preview(const char *path, at_drawing *d, at_error *err)
{
    at_pixels pixels[AT_GENERATE_COUNT_MAX];
    const int n = at_drawing_count(d);
    int made = 0;
    at_status status = AT_OK;
    while (made < n && status == AT_OK) {
        status = at_drawing_preview(d, made, &pixels[made], err);
        made += status == AT_OK;
    }
    if (status == AT_OK)
        status = write_pixels(path, pixels, n, err);
    for (int i = 0; i < made; i++)
        free((void *)(uintptr_t)pixels[i].data);
    return status;
}

/* A preview that cannot be written is told once and costs nothing else. */
static void preview(watch *w, at_drawing *d, bool last)
{
    const double now = at_clock_seconds();
    at_error err;
    if (w->preview_failed || (!last && now - w->previewed < preview_seconds))
        return;
    w->previewed = now;
    begin_writing();
    const at_status status = write_preview(w->g->words.preview, d, &err);
    end_writing();
    if (status == AT_OK)
        return;
    w->preview_failed = true;
    at_generate_note(w->g, err.text);
}

static bool on_step(void *context, at_drawing *d, int step, int steps)
{
    watch *w = context;
    if (step == 0)
        at_generate_tell(w->g);
    if (w->g->words.preview && step > 0)
        preview(w, d, step == steps);
    w->bar.progress.report(w->bar.progress.context, (uint64_t)step, (uint64_t)steps);
    return true;
}

/* --- afterwards ------------------------------------------------------------------------------- */

typedef struct latents {
    at_drawing *drawing;
    size_t bytes; /* of one picture's */
} latents;

static at_status read_latents(void *context, int tensor, uint64_t from, void *out, size_t bytes,
                              at_error *err)
{
    const latents *l = context;
    (void)tensor;
    (void)err;
    for (size_t done = 0; done < bytes;) {
        const uint64_t at = from + done;
        const size_t within = (size_t)(at % l->bytes);
        size_t n = l->bytes - within;
        n = n < bytes - done ? n : bytes - done;
        int64_t size[3];
        const float *data = at_drawing_latents(l->drawing, (int)(at / l->bytes), size);
        memcpy((char *)out + done, (const char *)data + within, n);
        done += n;
    }
    return AT_OK;
}

static at_status save_latents(at_drawing *d, const char *path, at_error *err)
{
    int64_t size[4] = { at_drawing_count(d) };
    at_drawing_latents(d, 0, size + 1);
    latents l = { d, (size_t)(size[1] * size[2] * size[3]) * sizeof(float) };
    const at_stored_tensor t = {
        .size = size, .bytes = (uint64_t)size[0] * l.bytes, .type = AT_STORED_F32, .rank = 4
    };
    const at_tensor_bytes from = { read_latents, &l };
    at_tensors list = { 0 };
    at_status status = at_tensors_add(&list, &t, "latents", strlen("latents"), err);
    if (status == AT_OK)
        status = at_tensors_finish(&list, err);
    if (status == AT_OK)
        status = at_safetensors_write(path, &list, &from, NULL, err);
    at_tensors_free(&list);
    return status;
}

static at_status save_sheet(const at_generate *g, at_drawing *d, at_error *err)
{
    at_pixels pixels[AT_GENERATE_COUNT_MAX];
    char path[AT_FOLDER_PATH_MAX];
    const int n = at_drawing_count(d);
    for (int i = 0; i < n; i++)
        pixels[i] = at_drawing_picture(d, i);
    at_generate_path(g, -1, n, path);
    return write_pixels(path, pixels, n, err);
}

static at_status save_all(const at_generate *g, at_drawing *d, at_error *err)
{
    char path[AT_FOLDER_PATH_MAX];
    const int n = at_drawing_count(d);
    if (g->words.latents)
        AT_TRY(save_latents(d, g->words.latents, err));
    for (int i = 0; *g->out && i < n; i++) {
        at_generate_path(g, i, n, path);
        AT_TRY(at_drawing_save(d, i, path, err));
    }
    return *g->out && n > 1 ? save_sheet(g, d, err) : AT_OK;
}

/* --- what is told ----------------------------------------------------------------------------- */

static double steps_a_second(const at_drawing_times *t)
{
    return t->steps > 0 ? (double)t->evaluations / t->steps : 0;
}

static void print_text(const at_generate *g, at_drawing *d)
{
    const at_drawing_times t = at_drawing_timing(d);
    char path[AT_FOLDER_PATH_MAX], bytes[AT_BYTES_TEXT];
    const int n = at_drawing_count(d);
    for (int i = 0; *g->out && i < n; i++) {
        const at_pixels p = at_drawing_picture(d, i);
        at_generate_path(g, i, n, path);
        printf("%s: %lld x %lld, seed %llu\n", path, (long long)p.width, (long long)p.height,
               (unsigned long long)at_drawing_seed(d, i));
    }
    if (*g->out && n > 1) {
        at_generate_path(g, -1, n, path);
        printf("%s: all of them\n", path);
    }
    if (g->words.latents)
        printf("%s: latents\n", g->words.latents);
    printf("%.1f s: load %.1f, text %.1f, ", t.total, t.load, t.text);
    if (g->request.picture)
        printf("encode %.1f, ", t.encode);
    printf("steps %.1f (%.3g evaluations/s), decode %.1f; %s at most\n", t.steps,
           steps_a_second(&t), t.decode, at_bytes_text(at_process_memory_most(), bytes));
}

static void put_files(at_json_writer *w, const at_generate *g, at_drawing *d)
{
    char path[AT_FOLDER_PATH_MAX];
    const int n = at_drawing_count(d);
    at_json_write_key(w, "files");
    at_json_write_array(w);
    for (int i = 0; *g->out && i < n; i++) {
        const at_pixels p = at_drawing_picture(d, i);
        at_generate_path(g, i, n, path);
        at_json_write_object(w);
        at_json_put_text(w, "path", path);
        at_json_put_uint(w, "seed", at_drawing_seed(d, i));
        at_json_put_int(w, "width", p.width);
        at_json_put_int(w, "height", p.height);
        at_json_write_close(w);
    }
    at_json_write_close(w);
    at_generate_path(g, -1, n, path);
    at_json_put_text(w, "sheet", *g->out && n > 1 ? path : NULL);
    at_json_put_text(w, "latents", g->words.latents);
}

static void put_times(at_json_writer *w, const at_drawing_times *t)
{
    at_json_write_key(w, "seconds");
    at_json_write_object(w);
    at_json_put_measure(w, "load", t->load);
    at_json_put_measure(w, "text", t->text);
    at_json_put_measure(w, "encode", t->encode);
    at_json_put_measure(w, "steps", t->steps);
    at_json_put_measure(w, "decode", t->decode);
    at_json_put_measure(w, "total", t->total);
    at_json_write_close(w);
    at_json_put_int(w, "evaluations", t->evaluations);
    at_json_put_measure(w, "evaluations_per_second", steps_a_second(t));
}

static at_status print_json(const at_generate *g, const at_model *m, at_drawing *d, at_error *err)
{
    const at_drawing_times t = at_drawing_timing(d);
    at_json_writer w = at_json_stdout();
    const char *recipe = at_drawing_recipe(d, 0);
    at_json_write_object(&w);
    put_files(&w, g, d);
    at_json_put_text(&w, "model", at_model_path(m));
    at_json_put_text(&w, "model_hash", at_model_hash(m));
    at_json_put_text(&w, "device", at_model_device(m));
    at_json_put_text(&w, "precision", at_model_precision(m));
    put_times(&w, &t);
    at_json_put_uint(&w, "memory_bytes_most", at_process_memory_most());
    at_json_write_key(&w, "recipe");
    if (recipe)
        at_json_write_raw(&w, recipe, strlen(recipe));
    else
        at_json_write_null(&w);
    at_json_write_close(&w);
    return at_json_finish(&w, err);
}

/* --- the command ------------------------------------------------------------------------------ */

static at_status finish(const at_generate *g, const at_model *m, at_drawing *d, at_error *err)
{
    begin_writing();
    const at_status status = save_all(g, d, err);
    end_writing();
    if (status != AT_OK)
        return status;
    if (g->words.json)
        return print_json(g, m, d, err);
    print_text(g, d);
    return AT_OK;
}

static at_status draw(at_generate *g, at_model *m, at_model *refiner, at_error *err)
{
    at_drawing *d = NULL;
    watch w = { .g = g };
    g->request.refiner = refiner;
    g->request.progress = on_step;
    g->request.progress_context = &w;
    at_bar_start_counting(&w.bar, "generate", "steps");
    at_status status = at_draw(&d, m, &g->request, err);
    at_bar_end(&w.bar);
    if (status == AT_OK)
        status = finish(g, m, d, err);
    at_drawing_free(d);
    return status;
}

static at_status run(at_generate *g, at_error *err)
{
    at_model *model = NULL, *refiner = NULL;
    AT_TRY(at_generate_prepare(g, err));
    at_status status = at_model_open(&model, g->model, &g->options, err);
    if (status == AT_OK && *g->refiner)
        status = at_model_open(&refiner, g->refiner, &g->options, err);
    if (status == AT_OK)
        status = at_generate_check_models(g, model, refiner, err);
    if (status == AT_OK)
        status = draw(g, model, refiner, err);
    at_model_close(refiner);
    at_model_close(model);
    return status;
}

int at_command_generate(int argc, char **argv)
{
    at_error err = { 0 };
    at_generate *g = calloc(1, sizeof *g);
    AT_ASSERT(g, "no memory for a request");
    const at_parsed parsed = at_generate_parse(g, argc, argv);
    int exit_status = at_parsed_exit(parsed);
    if (parsed == AT_PARSED) {
        catch_signals();
        exit_status = run(g, &err) == AT_OK ? AT_EXIT_OK : at_unable("generate", &err);
    }
    at_generate_free(g);
    free(g);
    return exit_status;
}
