/* model_run_test.c -- `atelier model run` against diffusers and transformers: small models written
 * as safetensors, imported, each component run and compared; and what it refuses.
 *
 *     model_run_test ATELIER [RUNNER]
 *
 * RUNNER is another program that takes the words of that command. */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/safetensors.h"
#include "engine/source.h"
#include "tests/shapes/sdxl_model.h"
#include "tests/told.h"

/* f32 sums in another order: 1e-6 was seen. */
static const double most_f32 = 1e-4;

enum { TEXT_MAX = 8192, PATH_ROOM = 256, WORDS_MAX = 16, NAME_ROOM = 96, SENTENCE_MAX = 1024 };

static char folder[] = "/tmp/atelier-model-run-XXXXXX";
static const char *atelier, *runner; /* NULL: atelier's own command */

static const char *const models[] = { "inpaint", "refiner" };
static const char *const components[] = { "unet", "vae_decoder", "vae_encoder", "text_encoder",
                                          "text_encoder_2" };

/* --- files ------------------------------------------------------------------------------------ */

static char *in_folder(char path[PATH_ROOM], const char *name)
{
    snprintf(path, PATH_ROOM, "%s/%s", folder, name);
    return path;
}

/* A text of golden/model_run, that the caller frees; NULL: there is none. */
static char *read_text(const char *model, const char *ending)
{
    char path[PATH_ROOM], *text = calloc(1, TEXT_MAX);
    snprintf(path, sizeof path, "%s/tests/golden/model_run/%s.%s", AT_SOURCE_DIR, model, ending);
    FILE *f = fopen(path, "r");
    AT_ASSERT(text, "no memory");
    if (!f) {
        free(text);
        return NULL;
    }
    AT_ASSERT(fread(text, 1, TEXT_MAX - 1, f) > 0, "%s is empty", path);
    fclose(f);
    return text;
}

static at_source *open_golden(const char *model)
{
    char path[PATH_ROOM];
    at_source *s;
    at_error err;
    snprintf(path, sizeof path, "%s/tests/golden/model_run/%s.safetensors", AT_SOURCE_DIR, model);
    test_must(at_source_open(&s, path, &err), &err);
    return s;
}

/* Weights of a list, as they are asked for. */
static at_status read_weights(void *context, int i, uint64_t from, void *out, size_t bytes,
                              at_error *err)
{
    const at_tensors *list = context;
    float *values = sdxl_model_values(&list->items[i]);
    (void)err;
    memcpy(out, (char *)values + from, bytes);
    free(values);
    return AT_OK;
}

static void write_model(const char *model, const char *path)
{
    char *configs[AT_SDXL_PARTS], *index = read_text(model, "model_index");
    at_tensors list = { 0 };
    at_error err;
    for (int i = 0; i < AT_SDXL_PARTS; i++)
        configs[i] = read_text(model, at_sdxl_part_name((at_sdxl_part)i));
    sdxl_model m = sdxl_model_describe((const char *const *)configs);
    sdxl_model_list(&m, &list);
    test_must(at_tensors_add_text(&list, "model_index.json", 16, index, strlen(index), &err), &err);
    test_must(at_tensors_finish(&list, &err), &err);
    const at_tensor_bytes bytes = { read_weights, &list };
    test_must(at_safetensors_write(path, &list, &bytes, NULL, &err), &err);
    at_tensors_free(&list);
    sdxl_model_end(&m);
    for (int i = 0; i < AT_SDXL_PARTS; i++)
        free(configs[i]);
    free(index);
}

/* Inputs of a component, and how they differ from the golden ones. */
typedef struct inputs {
    at_source *golden;
    const char *component;
    const char *without, *add; /* a tensor */
    const char *wider;         /* its last axis has one element more, and zeros */
    const char *set;           /* its first element becomes 'value' */
    double value;
} inputs;

/* "unet.in.sample" of "sample". */
static int find_golden(const inputs *in, const char *kind, const char *name)
{
    char full[NAME_ROOM];
    snprintf(full, sizeof full, "%s.%s.%s", in->component, kind, name);
    return at_tensors_find(&in->golden->list, full);
}

static bool is(const char *name, const char *wanted)
{
    return wanted && !strcmp(name, wanted);
}

typedef struct input_bytes {
    const inputs *in;
    const at_tensors *list;
} input_bytes;

static at_status read_input(void *context, int i, uint64_t from, void *out, size_t bytes,
                            at_error *err)
{
    const input_bytes *b = context;
    const at_stored_tensor *t = &b->list->items[i];
    const int golden = find_golden(b->in, "in", t->name);
    memset(out, 0, bytes);
    AT_ASSERT(from == 0, "%s is read in pieces", t->name);
    if (golden >= 0 && !is(t->name, b->in->wider))
        test_must(at_source_read(b->in->golden, golden, 0, out, bytes, err), err);
    if (is(t->name, b->in->set))
        at_store(out, 0, at_stored_about(t->type)->dtype, b->in->value);
    return AT_OK;
}

static void add_input(at_tensors *list, const inputs *in, const char *name,
                      const at_stored_tensor *t)
{
    int64_t size[AT_STORED_RANK_MAX] = { 0 };
    at_stored_tensor copy = *t;
    at_error err;
    memcpy(size, t->size, (size_t)t->rank * sizeof *size);
    copy.size = size;
    if (is(name, in->wider)) {
        copy.bytes += copy.bytes / (uint64_t)size[t->rank - 1];
        size[t->rank - 1]++;
    }
    test_must(at_tensors_add(list, &copy, name, strlen(name), &err), &err);
}

static void write_inputs(const inputs *in, const char *path)
{
    at_tensors list = { 0 };
    char begin[NAME_ROOM];
    at_error err;
    snprintf(begin, sizeof begin, "%s.in.", in->component);
    for (int i = 0; i < in->golden->list.count; i++) {
        const at_stored_tensor *t = &in->golden->list.items[i];
        const char *name = t->name + strlen(begin);
        if (!strncmp(t->name, begin, strlen(begin)) && !is(name, in->without))
            add_input(&list, in, name, t);
    }
    if (in->add)
        add_input(
            &list, in, in->add,
            &(at_stored_tensor){
                .size = (const int64_t[]){ 1 }, .rank = 1, .bytes = 1, .type = AT_STORED_U8 });
    test_must(at_tensors_finish(&list, &err), &err);
    input_bytes b = { in, &list };
    const at_tensor_bytes bytes = { read_input, &b };
    test_must(at_safetensors_write(path, &list, &bytes, NULL, &err), &err);
    at_tensors_free(&list);
}

/* --- programs --------------------------------------------------------------------------------- */

/* In the child: never returns. */
static void become(const char *const *words, const char *said)
{
    const int err = open(said, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int out = open("/dev/null", O_WRONLY);
    if (err >= 0 && out >= 0 && dup2(err, STDERR_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0)
        execv(words[0], (char *const *)(uintptr_t)words);
    _exit(127);
}

/* Its exit status; what it says on stderr is in the file "said". */
static int run(const char *const *words)
{
    char said[PATH_ROOM];
    int status = 0;
    in_folder(said, "said");
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0)
        become(words, said);
    AT_ASSERT(child > 0 && waitpid(child, &status, 0) == child, "%s cannot be run", words[0]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void read_said(char said[SENTENCE_MAX])
{
    char path[PATH_ROOM];
    FILE *f = fopen(in_folder(path, "said"), "r");
    AT_ASSERT(f, "%s cannot be read", path);
    said[fread(said, 1, SENTENCE_MAX - 1, f)] = 0;
    fclose(f);
}

/* Runs a component of NAME.h5 from 'in' to 'out'; NULL: the files of our folder. */
static int run_component(const char *model, const char *component, const char *precision,
                         const char *in, const char *out)
{
    char file[PATH_ROOM], from[PATH_ROOM], to[PATH_ROOM], name[NAME_ROOM];
    const char *words[WORDS_MAX] = { atelier, "model", "run" };
    int n = 3;
    if (runner)
        words[0] = runner, n = 1;
    snprintf(name, sizeof name, "%s.h5", model);
    const char *const more[] = {
        in_folder(file, name),
        component,
        "--in",
        in ? in : in_folder(from, "in.safetensors"),
        "--out",
        out ? out : in_folder(to, "out.safetensors"),
        "--precision",
        precision,
    };
    memcpy(words + n, more, sizeof more);
    return run(words);
}

static void import(const char *model)
{
    char from[PATH_ROOM], to[PATH_ROOM], name[NAME_ROOM];
    snprintf(name, sizeof name, "%s.safetensors", model);
    write_model(model, in_folder(from, name));
    snprintf(name, sizeof name, "%s.h5", model);
    const char *const words[] = { atelier, "model", "import", from, in_folder(to, name), NULL };
    AT_ASSERT(run(words) == 0, "%s cannot be imported", from);
    unlink(from);
}

/* --- what is computed ------------------------------------------------------------------------- */

static float *floats_of(at_source *s, int i)
{
    const at_stored_tensor *t = &s->list.items[i];
    float *values = malloc((size_t)t->bytes);
    at_error err;
    AT_ASSERT(values && t->type == AT_STORED_F32, "'%s' is not f32", t->name);
    test_must(at_source_read(s, i, 0, values, (size_t)t->bytes, &err), &err);
    return values;
}

static double relative_error(const float *found, const float *expected, int64_t n)
{
    double wrong = 0, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        wrong += pow((double)found[i] - (double)expected[i], 2);
        sum += pow((double)expected[i], 2);
    }
    return sqrt(wrong / sum);
}

static void compare_output(const inputs *in, at_source *out, int i, const char *what, bool bf16)
{
    const at_stored_tensor *t = &out->list.items[i];
    const int golden = find_golden(in, "out", t->name), loss = find_golden(in, "loss", t->name);
    AT_ASSERT(golden >= 0 && loss >= 0, "%s: no '%s' is expected", what, t->name);
    char shape[NAME_ROOM], wanted[NAME_ROOM];
    at_stored_shape_text(t, shape, sizeof shape);
    at_stored_shape_text(&in->golden->list.items[golden], wanted, sizeof wanted);
    if (strcmp(shape, wanted) != 0) {
        test_failed("%s: '%s' is %s, expected %s", what, t->name, shape, wanted);
        return;
    }
    float *found = floats_of(out, i), *expected = floats_of(in->golden, golden);
    float *lost = floats_of(in->golden, loss);
    const double most = bf16 ? 2 * (double)lost[0] : most_f32;
    const double error = relative_error(found, expected, (int64_t)(t->bytes / sizeof *found));
    printf("%s %s: %s, %.2g off of %.2g\n", what, t->name, shape, error, most);
    if (!(error <= most))
        test_failed("%s: '%s' is %.3g off, expected at most %.3g", what, t->name, error, most);
    free(found);
    free(expected);
    free(lost);
}

static int count_outputs(const inputs *in)
{
    char begin[NAME_ROOM];
    int n = 0;
    snprintf(begin, sizeof begin, "%s.out.", in->component);
    for (int i = 0; i < in->golden->list.count; i++)
        n += !strncmp(in->golden->list.items[i].name, begin, strlen(begin));
    return n;
}

static void compare(const inputs *in, const char *model, const char *precision)
{
    char path[PATH_ROOM], what[NAME_ROOM], said[SENTENCE_MAX];
    at_source *out;
    at_error err;
    snprintf(what, sizeof what, "%s %s %s", model, in->component, precision);
    if (run_component(model, in->component, precision, NULL, NULL) != 0) {
        read_said(said);
        test_failed("%s: %s", what, said);
        return;
    }
    test_must(at_source_open(&out, in_folder(path, "out.safetensors"), &err), &err);
    if (out->list.count != count_outputs(in))
        test_failed("%s: %d outputs, expected %d", what, out->list.count, count_outputs(in));
    for (int i = 0; i < out->list.count; i++)
        compare_output(in, out, i, what, !strcmp(precision, "bf16"));
    at_source_close(out);
    unlink(path);
}

static void compare_all(const char *model)
{
    char path[PATH_ROOM];
    inputs in = { .golden = open_golden(model) };
    for (size_t i = 0; i < AT_COUNT(components); i++) {
        in.component = components[i];
        if (!count_outputs(&in))
            continue;
        write_inputs(&in, in_folder(path, "in.safetensors"));
        compare(&in, model, "f32");
        compare(&in, model, "bf16");
    }
    at_source_close(in.golden);
}

/* --- what is refused -------------------------------------------------------------------------- */

typedef struct refusal {
    const char *said;
    inputs in;
    const char *precision, *from, *to; /* NULL: as usual */
} refusal;

static const refusal refusals[] = {
    { "there is no tensor 'timestep'", { .component = "unet", .without = "timestep" } },
    { "'text_embeds' is 2x29: expected 2x28", { .component = "unet", .wider = "text_embeds" } },
    { "'timestep' is 3: expected 2", { .component = "unet", .wider = "timestep" } },
    { "a unet does not read 'mask'", { .component = "unet", .add = "mask" } },
    { "'time_ids' has a number that is not finite, element 0",
      { .component = "unet", .set = "time_ids", .value = INFINITY } },
    { "'sample' has numbers that are not finite; the first ones are made by node",
      { .component = "unet", .set = "sample", .value = 3e38 } },
    { "'input_ids' has 61 as its element 0: expected a whole number of 0 to 60",
      { .component = "text_encoder", .set = "input_ids", .value = 61 } },
    { "has -1 as its", { .component = "text_encoder", .set = "input_ids", .value = -1 } },
    { "/nowhere/out", { .component = "vae_decoder" }, .to = "/nowhere/out" },
    { "/nowhere/in", { .component = "vae_decoder" }, .from = "/nowhere/in" },
    { "expected f32 or bf16", { .component = "vae_decoder" }, .precision = "f16" },
    { "there is no component 'vae': expected unet", { .component = "vae" } },
};

static void refuse(const char *model, at_source *golden, const refusal *r)
{
    char path[PATH_ROOM], said[SENTENCE_MAX];
    inputs in = r->in;
    in.golden = golden;
    write_inputs(&in, in_folder(path, "in.safetensors"));
    const int status =
        run_component(model, in.component, r->precision ? r->precision : "f32", r->from, r->to);
    read_said(said);
    printf("%s", said);
    if (status != 2 || !strstr(said, r->said) || strchr(said, '\n') != strrchr(said, '\n'))
        test_failed("%s %s: exit status %d and '%s', expected 2 and '%s'", model, in.component,
                    status, said, r->said);
    if (unlink(in_folder(path, "out.safetensors")) == 0)
        test_failed("%s %s: '%s', and a file", model, in.component, said);
}

static void refuse_all(void)
{
    static const refusal lacking = { "the model has no text_encoder",
                                     { .component = "text_encoder" } };
    at_source *golden = open_golden("inpaint");
    for (size_t i = 0; i < AT_COUNT(refusals); i++)
        refuse("inpaint", golden, &refusals[i]);
    refuse("refiner", golden, &lacking);
    at_source_close(golden);
}

int main(int argc, char **argv)
{
    char path[PATH_ROOM];
    AT_ASSERT(argc == 2 || argc == 3, "expected the program and perhaps a runner");
    AT_ASSERT(mkdtemp(folder), "no folder in /tmp");
    atelier = argv[1];
    runner = argc == 3 ? argv[2] : NULL;
    for (size_t i = 0; i < AT_COUNT(models); i++) {
        import(models[i]);
        compare_all(models[i]);
    }
    refuse_all();
    static const char *const left[] = { "inpaint.h5", "refiner.h5", "in.safetensors", "said" };
    for (size_t i = 0; i < AT_COUNT(left); i++)
        unlink(in_folder(path, left[i]));
    if (rmdir(folder) != 0)
        test_failed("something is left in %s", folder);
    return test_failures() != 0;
}
