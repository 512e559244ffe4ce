/* pipelines_test.c -- whole drawings with small models against diffusers' pipelines, written by
 * reference/pipelines.py: every sampler and schedule, over pictures, within masks, with refiners
 * and adapters, by noises from a file and by seeds.
 *
 *     pipelines_test [--program ATELIER] [NAME...]
 *
 * --program: by `atelier generate` and its options, instead of the library. Names: only these cases
 * of golden/pipelines/cases.txt, each told about. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/safetensors.h"
#include "engine/source.h"
#include "runtime/atelier.h"
#include "runtime/picture.h"
#include "tests/shapes/sdxl_file.h"
#include "tests/shapes/sdxl_tiny.h"
#include "tests/told.h"

#define FOLDER AT_SOURCE_DIR "/tests/golden/pipelines/"

/* f32 sums in another order, through some ten evaluations that each take the last one's. */
static const double relative_f32 = 1e-3;
/* Of 255: what such latents may move, and a rounding. */
static const int levels_f32 = 2;
/* Of what torch's own bf16 loses, which is as much by chance. */
static const double times_bf16 = 2;

enum {
    LINE_MAX_BYTES = 4096,
    PATH_BYTES = 512,
    LORAS_MAX = 4,
    MODELS_MAX = 16,
    FIELDS_MAX = 64,
    COUNT_MAX = 4
};

/* --- cases ------------------------------------------------------------------------------------ */

typedef struct golden_case {
    at_request request;
    const char *name, *model, *refiner, *picture, *mask, *noises;
    int64_t latent[3];
    double bf16, bf16_picture; /* 0: not compared */
    bool drawn;
    at_lora_use loras[LORAS_MAX];
    char paths[LORAS_MAX][PATH_BYTES];
    const char *names[FIELDS_MAX], *values[FIELDS_MAX]; /* as they stand in the line */
    int n_fields;
} golden_case;

typedef enum field_kind {
    FIELD_TEXT,
    FIELD_INT,
    FIELD_BOOL,
    FIELD_INT64,
    FIELD_REAL,
    FIELD_PAIR,
    FIELD_SIZES,
    FIELD_SEED,
} field_kind;

typedef struct field {
    const char *name;
    field_kind kind;
    size_t place;
} field;

#define OF_CASE(name) offsetof(golden_case, name)
#define OF_REQUEST(kind, name)             \
    {                                      \
#name, kind, OF_CASE(request.name) \
    }
static const field fields[] = {
    { "name", FIELD_TEXT, OF_CASE(name) },
    { "model", FIELD_TEXT, OF_CASE(model) },
    { "refiner", FIELD_TEXT, OF_CASE(refiner) },
    { "picture", FIELD_TEXT, OF_CASE(picture) },
    { "mask", FIELD_TEXT, OF_CASE(mask) },
    { "noises", FIELD_TEXT, OF_CASE(noises) },
    { "latent", FIELD_SIZES, OF_CASE(latent) },
    { "bf16", FIELD_REAL, OF_CASE(bf16) },
    { "bf16_picture", FIELD_REAL, OF_CASE(bf16_picture) },
    { "drawn", FIELD_BOOL, OF_CASE(drawn) },
    OF_REQUEST(FIELD_TEXT, prompt),
    OF_REQUEST(FIELD_TEXT, prompt_2),
    OF_REQUEST(FIELD_TEXT, negative),
    OF_REQUEST(FIELD_TEXT, negative_2),
    OF_REQUEST(FIELD_TEXT, sampler),
    OF_REQUEST(FIELD_TEXT, sigmas),
    OF_REQUEST(FIELD_TEXT, spacing),
    OF_REQUEST(FIELD_TEXT, prediction),
    OF_REQUEST(FIELD_INT, steps),
    OF_REQUEST(FIELD_INT, clip_skip),
    OF_REQUEST(FIELD_INT, count),
    OF_REQUEST(FIELD_INT, zero_snr),
    OF_REQUEST(FIELD_INT, only_masked),
    OF_REQUEST(FIELD_BOOL, tile_vae),
    OF_REQUEST(FIELD_SEED, seed),
    OF_REQUEST(FIELD_INT64, width),
    OF_REQUEST(FIELD_INT64, height),
    OF_REQUEST(FIELD_REAL, guidance),
    OF_REQUEST(FIELD_REAL, guidance_rescale),
    OF_REQUEST(FIELD_REAL, strength),
    OF_REQUEST(FIELD_REAL, mask_blur),
    OF_REQUEST(FIELD_REAL, refine_from),
    OF_REQUEST(FIELD_REAL, begin_at),
    OF_REQUEST(FIELD_REAL, end_at),
    OF_REQUEST(FIELD_REAL, aesthetic_score),
    OF_REQUEST(FIELD_REAL, negative_aesthetic_score),
    OF_REQUEST(FIELD_PAIR, original_size),
    OF_REQUEST(FIELD_PAIR, target_size),
    OF_REQUEST(FIELD_PAIR, crop),
    OF_REQUEST(FIELD_PAIR, negative_original_size),
    OF_REQUEST(FIELD_PAIR, negative_target_size),
    OF_REQUEST(FIELD_PAIR, negative_crop),
};

static void set_numbers(int64_t *out, int n, const char *text)
{
    char *rest = NULL;
    for (int i = 0; i < n; i++, text = rest + 1) {
        out[i] = strtoll(text, &rest, 10);
        AT_ASSERT(rest != text && *rest == (i + 1 < n ? ',' : '\0'), "'%s' is no list", text);
    }
}

static double number(const char *text)
{
    char *rest = NULL;
    const double value = strtod(text, &rest);
    AT_ASSERT(rest != text && !*rest, "'%s' is no number", text);
    return value;
}

static void set_field(golden_case *c, const field *f, const char *text)
{
    void *at = (char *)c + f->place;
    switch (f->kind) {
    case FIELD_TEXT: *(const char **)at = text; break;
    case FIELD_INT: *(int *)at = (int)number(text); break;
    case FIELD_BOOL: *(bool *)at = number(text) != 0; break;
    case FIELD_INT64: set_numbers(at, 1, text); break;
    case FIELD_REAL: *(double *)at = number(text); break;
    case FIELD_PAIR: set_numbers(at, 2, text); break;
    case FIELD_SIZES: set_numbers(at, 3, text); break;
    case FIELD_SEED: *(uint64_t *)at = strtoull(text, NULL, 10); break;
    }
}

/* "FILE:WEIGHT" */
static void set_lora(golden_case *c, const char *text)
{
    const char *colon = strrchr(text, ':');
    const int i = c->request.n_loras++;
    AT_ASSERT(colon && i < LORAS_MAX, "%s: lora '%s'", c->name, text);
    snprintf(c->paths[i], PATH_BYTES, "%s%.*s", FOLDER, (int)(colon - text), text);
    c->loras[i] = (at_lora_use){ .path = c->paths[i], .weight = number(colon + 1) };
    c->request.loras = c->loras;
}

/* "NAME=VALUE", which the case goes on pointing to. */
static void set_named(golden_case *c, char *text)
{
    char *value = strchr(text, '=');
    size_t i = 0;
    AT_ASSERT(value, "'%s' is no field", text);
    *value++ = '\0';
    AT_ASSERT(c->n_fields < FIELDS_MAX, "%s: too many fields", c->name);
    c->names[c->n_fields] = text;
    c->values[c->n_fields++] = value;
    if (!strcmp(text, "lora")) {
        set_lora(c, value);
        return;
    }
    while (i < AT_COUNT(fields) && strcmp(fields[i].name, text) != 0)
        i++;
    AT_ASSERT(i < AT_COUNT(fields), "no field '%s'", text);
    set_field(c, &fields[i], value);
}

static void read_case(golden_case *c, char *line)
{
    *c = (golden_case){ .request = at_request_usual };
    for (bool more = true; more;) {
        const size_t length = strcspn(line, "\t\n");
        more = line[length] == '\t';
        line[length] = '\0';
        set_named(c, line);
        line += length + 1;
    }
}

/* --- models, noises, pictures ----------------------------------------------------------------- */

typedef struct opened {
    char name[64];
    const char *precision;
    at_model *model; /* NULL: the program opens it */
} opened;

typedef struct test {
    char folder[64];
    opened models[MODELS_MAX];
    int n_models;
    at_source *latents;
    const char *program;
    bool told; /* of every case */
    int cases;
    double worst; /* of relative_f32 */
    int levels;
} test;

static const char *path_of(const test *t, const char *name, char path[PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%s/%s", t->folder, name);
    return path;
}

static opened *find_model(test *t, const char *name, const char *precision)
{
    for (int i = 0; i < t->n_models; i++)
        if (!strcmp(t->models[i].name, name) && !strcmp(t->models[i].precision, precision))
            return &t->models[i];
    AT_ASSERT(t->n_models < MODELS_MAX, "too many models");
    opened *o = &t->models[t->n_models++];
    snprintf(o->name, sizeof o->name, "%s", name);
    o->precision = precision;
    return o;
}

/* The path of a model's file, which is made if need be. */
static const char *file_of(test *t, const opened *o, char path[PATH_BYTES])
{
    char file[128], folder[PATH_BYTES];
    at_error err;
    snprintf(file, sizeof file, "%s.h5", o->name);
    snprintf(folder, sizeof folder, "%smodels/%s", FOLDER, o->name);
    if (access(path_of(t, file, path), F_OK) != 0)
        test_must(sdxl_file_write(path, folder, &err), &err);
    return path;
}

static at_model *model_of(test *t, const char *name, const char *precision)
{
    opened *o = find_model(t, name, precision);
    char path[PATH_BYTES];
    at_error err;
    /* One thread: such small models wait for each other's more than they compute. */
    const at_model_options options = { .device = "cpu", .precision = precision, .threads = 1 };
    if (!o->model)
        test_must(at_model_open(&o->model, file_of(t, o, path), &options, &err), &err);
    return o->model;
}

/* As large as N(0, 1), but uniform; by name alone, as in pipeline_models.py. */
static at_status read_noise(void *context, int i, uint64_t from, void *out, size_t bytes,
                            at_error *err)
{
    const at_stored_tensor *t = &((const at_tensors *)context)->items[i];
    const int64_t n = (int64_t)(t->bytes / sizeof(float));
    char *all = sdxl_tiny_numbers(AT_F32, n, sqrt(3), 0, sdxl_tiny_seed(t->name));
    (void)err;
    memcpy(out, all + from, bytes);
    free(all);
    return AT_OK;
}

static void write_noises(const golden_case *c, const char *path)
{
    at_tensors list = { 0 };
    const int64_t size[4] = { c->request.count, c->latent[0], c->latent[1], c->latent[2] };
    const at_stored_tensor t = {
        .size = size,
        .rank = 4,
        .type = AT_STORED_F32,
        .bytes = (uint64_t)(size[0] * size[1] * size[2] * size[3]) * sizeof(float),
    };
    at_error err;
    for (const char *name = c->noises; *name;) {
        const size_t bytes = strcspn(name, ",");
        test_must(at_tensors_add(&list, &t, name, bytes, &err), &err);
        name += bytes + (name[bytes] == ',');
    }
    test_must(at_tensors_finish(&list, &err), &err);
    const at_tensor_bytes from = { .read = read_noise, .context = &list };
    test_must(at_safetensors_write(path, &list, &from, NULL, &err), &err);
    at_tensors_free(&list);
}

static at_picture golden_picture(const char *name)
{
    char path[PATH_BYTES];
    at_picture p;
    at_error err;
    snprintf(path, sizeof path, "%s%s", FOLDER, name);
    test_must(at_picture_read(&p, path, NULL, &err), &err);
    return p;
}

static at_pixels pixels_of(const at_picture *p)
{
    return (at_pixels){
        .width = p->width, .height = p->height, .channels = p->channels, .data = p->pixels
    };
}

/* --- comparing -------------------------------------------------------------------------------- */

/* What was drawn. */
typedef struct result {
    int64_t size[COUNT_MAX][3];
    const float *latents[COUNT_MAX];
    at_pixels pictures[COUNT_MAX];
} result;

/* What diffusers ends with, to be freed. */
static float *golden_latents(const test *t, const golden_case *c, int64_t *count)
{
    const int i = at_tensors_find(&t->latents->list, c->name);
    AT_ASSERT(i >= 0, "no latents of %s", c->name);
    const size_t bytes = (size_t)t->latents->list.items[i].bytes;
    float *values = malloc(bytes);
    at_error err;
    AT_ASSERT(values, "no memory");
    test_must(at_source_read(t->latents, i, 0, values, bytes, &err), &err);
    *count = (int64_t)(bytes / sizeof *values);
    return values;
}

/* The length of all differences by that of all values; infinite where something is no number or of
 * other sizes. */
static double latents_error(const test *t, const golden_case *c, const result *r)
{
    int64_t count;
    float *want = golden_latents(t, c, &count);
    const int64_t each = count / c->request.count;
    double sum = 0, all = 0;
    for (int i = 0; i < c->request.count; i++) {
        const int64_t *size = r->size[i];
        const float *got = r->latents[i];
        if (!got || memcmp(size, c->latent, sizeof c->latent) != 0) {
            test_failed("%s: latents of %dx%dx%d, %dx%dx%d expected", c->name, (int)size[0],
                        (int)size[1], (int)size[2], (int)c->latent[0], (int)c->latent[1],
                        (int)c->latent[2]);
            sum = INFINITY;
            break;
        }
        for (int64_t k = 0; k < each; k++) {
            const double x = want[i * each + k], difference = (double)got[k] - x;
            sum += difference * difference;
            all += x * x;
        }
    }
    free(want);
    return isfinite(sum) ? sqrt(sum / all) : INFINITY;
}

typedef struct picture_error {
    int most;    /* in levels */
    double mean; /* the root of the mean square */
} picture_error;

static picture_error compare_picture(const golden_case *c, const result *r, int i)
{
    char name[128], number[16] = "";
    if (i)
        snprintf(number, sizeof number, ".%d", i);
    snprintf(name, sizeof name, "%s%s.png", c->name, number);
    at_picture want = golden_picture(name);
    const at_pixels got = r->pictures[i];
    const int64_t n = want.width * want.height * 3;
    picture_error e = { .most = 255, .mean = 255 };
    AT_ASSERT(want.channels == 3, "%s has %d channels", name, want.channels);
    if (got.width == want.width && got.height == want.height && got.channels == 3) {
        double sum = 0;
        e.most = 0;
        for (int64_t k = 0; k < n; k++) {
            const int difference = abs(got.data[k] - ((const uint8_t *)want.pixels)[k]);
            e.most = difference > e.most ? difference : e.most;
            sum += difference * difference;
        }
        e.mean = sqrt(sum / (double)n);
    } else {
        test_failed("%s: a picture of %dx%d, %dx%d expected", c->name, (int)got.width,
                    (int)got.height, (int)want.width, (int)want.height);
    }
    at_picture_free(&want);
    return e;
}

static void check_f32(test *t, const golden_case *c, const result *r)
{
    const double error = latents_error(t, c, r);
    if (t->told)
        printf("%s f32: latents differ by %.2g\n", c->name, error);
    if (!(error <= relative_f32))
        test_failed("%s: latents differ by %.2g, %g is allowed", c->name, error, relative_f32);
    t->worst = error > t->worst ? error : t->worst;
    for (int i = 0; c->drawn && i < c->request.count; i++) {
        const picture_error e = compare_picture(c, r, i);
        if (t->told)
            printf("%s f32: picture %d differs by %d levels at most, %.2g in all\n", c->name, i,
                   e.most, e.mean);
        if (e.most > levels_f32)
            test_failed("%s: picture %d differs by %d levels, %d are allowed", c->name, i, e.most,
                        levels_f32);
        t->levels = e.most > t->levels ? e.most : t->levels;
    }
}

static void check_bf16(const test *t, const golden_case *c, const result *r)
{
    const double error = latents_error(t, c, r);
    if (t->told)
        printf("%s bf16: latents differ by %.2g, torch's by %.2g\n", c->name, error, c->bf16);
    if (!(error <= times_bf16 * c->bf16))
        test_failed("%s: bf16 latents differ by %.2g, torch's by %.2g", c->name, error, c->bf16);
    if (!c->drawn)
        return;
    const picture_error e = compare_picture(c, r, 0);
    if (t->told)
        printf("%s bf16: the picture differs by %.2g levels, torch's by %.2g\n", c->name, e.mean,
               c->bf16_picture);
    if (!(e.mean <= times_bf16 * c->bf16_picture))
        test_failed("%s: the bf16 picture differs by %.2g levels, torch's by %.2g", c->name, e.mean,
                    c->bf16_picture);
}

/* --- by the library --------------------------------------------------------------------------- */

static void check(test *t, const golden_case *c, const result *r, const char *precision)
{
    if (!strcmp(precision, "f32"))
        check_f32(t, c, r);
    else
        check_bf16(t, c, r);
    fflush(stdout);
}

static void draw_with(test *t, const golden_case *c, const at_request *request,
                      const char *precision)
{
    at_request asked = *request;
    at_drawing *d = NULL;
    result r = { 0 };
    at_error err;
    if (c->refiner)
        asked.refiner = model_of(t, c->refiner, precision);
    if (at_draw(&d, model_of(t, c->model, precision), &asked, &err) == AT_OK) {
        for (int i = 0; i < c->request.count; i++) {
            r.latents[i] = at_drawing_latents(d, i, r.size[i]);
            r.pictures[i] = at_drawing_picture(d, i);
        }
        check(t, c, &r, precision);
    } else {
        test_failed("%s, %s: %s", c->name, precision, err.text);
    }
    at_drawing_free(d);
}

static void draw_by_library(test *t, const golden_case *c, const char *noise)
{
    at_request r = c->request;
    at_picture picture = { 0 }, mask = { 0 };
    at_pixels picture_pixels, mask_pixels;
    r.noise_file = noise;
    r.latents_only = !c->drawn;
    if (c->picture) {
        picture = golden_picture(c->picture);
        picture_pixels = pixels_of(&picture);
        r.picture = &picture_pixels;
    }
    if (c->mask) {
        mask = golden_picture(c->mask);
        mask_pixels = pixels_of(&mask);
        r.mask = &mask_pixels;
    }
    draw_with(t, c, &r, "f32");
    if (c->bf16 > 0)
        draw_with(t, c, &r, "bf16");
    at_picture_free(&picture);
    at_picture_free(&mask);
}

/* --- by the program --------------------------------------------------------------------------- */

enum { WORDS_MAX = 2 * FIELDS_MAX + 32, WORD_BYTES = 1024 };

/* A command line. */
typedef struct command_line {
    char words[WORDS_MAX][WORD_BYTES];
    char *pointers[WORDS_MAX + 1];
    int count;
} command_line;

static void add_words(command_line *l, const char *option, const char *text)
{
    const char *const words[2] = { option, text };
    for (int i = 0; i < 2 && words[i]; i++) {
        AT_ASSERT(l->count < WORDS_MAX && strlen(words[i]) < WORD_BYTES, "too many words");
        l->pointers[l->count] = l->words[l->count];
        snprintf(l->words[l->count++], WORD_BYTES, "%s", words[i]);
    }
}

/* Pairs stand in cases as in requests, height or top first; options have them the other way. */
static void add_pair(command_line *l, const char *option, const char *text)
{
    int64_t pair[2];
    char turned[64];
    set_numbers(pair, 2, text);
    snprintf(turned, sizeof turned, "%lld%s%lld", (long long)pair[1],
             strstr(option, "crop") ? "," : "x", (long long)pair[0]);
    add_words(l, option, turned);
}

static const field *field_named(const char *name)
{
    for (size_t i = 0; i < AT_COUNT(fields); i++)
        if (!strcmp(fields[i].name, name))
            return &fields[i];
    return NULL;
}

/* What has an option of the field's name. */
static void add_field(command_line *l, const char *name, const char *value)
{
    static const char *const others[] = { "name",   "model",  "refiner", "picture",      "mask",
                                          "noises", "latent", "bf16",    "bf16_picture", "drawn",
                                          "lora",   "count",  "width",   "height" };
    const field *f = field_named(name);
    char option[64];
    for (size_t i = 0; i < AT_COUNT(others); i++)
        if (!strcmp(others[i], name))
            return;
    snprintf(option, sizeof option, "--%s", name);
    for (char *p = option; *p; p++)
        *p = *p == '_' ? '-' : *p;
    if (f->kind == FIELD_PAIR)
        add_pair(l, option, value);
    else if (f->kind == FIELD_BOOL)
        add_words(l, option, NULL);
    else if (!strcmp(name, "zero_snr"))
        add_words(l, option, number(value) != 0 ? "yes" : "no");
    else
        add_words(l, option, value);
}

static void add_files(command_line *l, test *t, const golden_case *c, const char *precision)
{
    char path[PATH_BYTES];
    add_words(l, "--model", file_of(t, find_model(t, c->model, precision), path));
    if (c->refiner)
        add_words(l, "--refiner", file_of(t, find_model(t, c->refiner, precision), path));
    if (c->picture) {
        snprintf(path, sizeof path, "%s%s", FOLDER, c->picture);
        add_words(l, "--image", path);
    }
    if (c->mask) {
        snprintf(path, sizeof path, "%s%s", FOLDER, c->mask);
        add_words(l, "--mask", path);
    }
    for (int i = 0; i < c->n_fields; i++)
        if (!strcmp(c->names[i], "lora")) {
            snprintf(path, sizeof path, "%s%s", FOLDER, c->values[i]);
            add_words(l, "--lora", path);
        }
    if (c->noises)
        add_words(l, "--noise", path_of(t, "noise.safetensors", path));
    add_words(l, "--save-latents", path_of(t, "latents.safetensors", path));
    if (c->drawn)
        add_words(l, "-o", path_of(t, "out.png", path));
}

static void make_command_line(command_line *l, test *t, const golden_case *c, const char *precision)
{
    char text[64];
    add_words(l, t->program, "generate");
    add_words(l, "--device", "cpu");
    add_words(l, "--threads", "1");
    add_words(l, "--precision", precision);
    add_files(l, t, c, precision);
    if (c->request.width) {
        snprintf(text, sizeof text, "%dx%d", (int)c->request.width, (int)c->request.height);
        add_words(l, "--size", text);
    }
    snprintf(text, sizeof text, "%d", c->request.count);
    add_words(l, "-n", text);
    for (int i = 0; i < c->n_fields; i++)
        add_field(l, c->names[i], c->values[i]);
}

/* Its exit status. Nothing of what it prints is shown unless it fails. */
static int run_program(const command_line *l, const char *log)
{
    fflush(stdout);
    const pid_t child = fork();
    AT_ASSERT(child >= 0, "no process");
    if (!child) {
        if (freopen(log, "w", stdout) && dup2(STDOUT_FILENO, STDERR_FILENO) >= 0)
            execv(l->pointers[0], l->pointers);
        _exit(127);
    }
    int status = 0;
    AT_ASSERT(waitpid(child, &status, 0) == child, "the process is lost");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void tell_log(const golden_case *c, const char *log, int status)
{
    char line[512] = "";
    FILE *f = fopen(log, "r");
    if (f && !fgets(line, sizeof line, f))
        line[0] = '\0';
    if (f)
        fclose(f);
    line[strcspn(line, "\n")] = '\0';
    test_failed("%s: exit status %d: %s", c->name, status, line);
}

/* "latents" of a file, to be freed; NULL: they are not there as they should be. */
static float *read_latents(result *r, const golden_case *c, const char *path)
{
    at_source *s;
    at_error err;
    float *values = NULL;
    if (at_source_open(&s, path, &err) != AT_OK) {
        test_failed("%s: %s", c->name, err.text);
        return NULL;
    }
    const int i = at_tensors_find(&s->list, "latents");
    const at_stored_tensor *t = i >= 0 ? &s->list.items[i] : NULL;
    if (t && t->rank == 4 && t->size[0] == c->request.count && t->type == AT_STORED_F32) {
        values = malloc((size_t)t->bytes);
        AT_ASSERT(values, "no memory");
        test_must(at_source_read(s, i, 0, values, (size_t)t->bytes, &err), &err);
        for (int64_t k = 0; k < t->size[0]; k++) {
            memcpy(r->size[k], t->size + 1, sizeof r->size[k]);
            r->latents[k] = values + k * t->size[1] * t->size[2] * t->size[3];
        }
    } else {
        test_failed("%s: the file has no latents of %d pictures", c->name, c->request.count);
    }
    at_source_close(s);
    return values;
}

static void check_files(test *t, const golden_case *c, const char *precision)
{
    result r = { 0 };
    at_picture pictures[COUNT_MAX] = { 0 };
    char path[PATH_BYTES], name[64];
    float *latents = read_latents(&r, c, path_of(t, "latents.safetensors", path));
    at_error err;
    remove(path);
    for (int i = 0; c->drawn && i < c->request.count; i++) {
        snprintf(name, sizeof name, c->request.count > 1 ? "out-%d.png" : "out.png", i + 1);
        if (at_picture_read(&pictures[i], path_of(t, name, path), NULL, &err) != AT_OK)
            test_failed("%s: %s", c->name, err.text);
        r.pictures[i] = pixels_of(&pictures[i]);
        remove(path);
    }
    remove(path_of(t, "out-sheet.png", path));
    if (latents)
        check(t, c, &r, precision);
    free(latents);
    for (int i = 0; i < COUNT_MAX; i++)
        at_picture_free(&pictures[i]);
}

static void draw_by_program(test *t, const golden_case *c)
{
    static command_line l;
    char log[PATH_BYTES];
    path_of(t, "log", log);
    for (int bf16 = 0; bf16 <= (c->bf16 > 0); bf16++) {
        const char *precision = bf16 ? "bf16" : "f32";
        memset(&l, 0, sizeof l);
        make_command_line(&l, t, c, precision);
        const int status = run_program(&l, log);
        if (status == 0)
            check_files(t, c, precision);
        else
            tell_log(c, log, status);
        remove(log);
    }
}

/* --- all of it -------------------------------------------------------------------------------- */

static void run_case(test *t, const golden_case *c)
{
    char path[PATH_BYTES];
    const char *noise = c->noises ? path_of(t, "noise.safetensors", path) : NULL;
    if (noise)
        write_noises(c, noise);
    AT_ASSERT(c->request.count <= COUNT_MAX, "%s: too many pictures", c->name);
    if (t->program)
        draw_by_program(t, c);
    else
        draw_by_library(t, c, noise);
    t->cases++;
}

static bool wanted(const char *name, char **names, int count)
{
    bool is = count == 0;
    for (int i = 0; i < count; i++)
        is |= !strcmp(names[i], name);
    return is;
}

static void run_cases(test *t, char **names, int count)
{
    static golden_case c;
    char line[LINE_MAX_BYTES];
    FILE *f = fopen(FOLDER "cases.txt", "r");
    AT_ASSERT(f, FOLDER "cases.txt cannot be read");
    while (fgets(line, sizeof line, f)) {
        AT_ASSERT(strchr(line, '\n'), "a line of cases.txt is too long");
        read_case(&c, line);
        if (wanted(c.name, names, count))
            run_case(t, &c);
    }
    fclose(f);
}

static void clean_up(test *t)
{
    char path[PATH_BYTES], file[128];
    for (int i = 0; i < t->n_models; i++) {
        at_model_close(t->models[i].model);
        snprintf(file, sizeof file, "%s.h5", t->models[i].name);
        remove(path_of(t, file, path));
    }
    remove(path_of(t, "noise.safetensors", path));
    if (rmdir(t->folder) != 0)
        test_failed("something is left in %s", t->folder);
    at_source_close(t->latents);
}

int main(int argc, char **argv)
{
    static test t = { .folder = "/tmp/pipelines_test_XXXXXX" };
    at_error err;
    if (argc > 2 && !strcmp(argv[1], "--program")) {
        t.program = argv[2];
        argc -= 2;
        argv += 2;
    }
    t.told = argc > 1;
    AT_ASSERT(mkdtemp(t.folder), "no folder %s", t.folder);
    test_must(at_source_open(&t.latents, FOLDER "latents.safetensors", &err), &err);
    run_cases(&t, argv + 1, argc - 1);
    clean_up(&t);
    printf("%d cases, %d failures; f32 latents within %.2g, pictures within %d levels\n", t.cases,
           test_failures(), t.worst, t.levels);
    return t.cases == 0 || test_failures() > 0;
}
