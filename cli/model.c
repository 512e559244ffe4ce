/* model.c -- atelier model: weights into the store, out of it, listed, checked and shown. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/model_list.h"
#include "cli/model_run.h"
#include "cli/progress.h"
#include "cli/weights.h"
#include "engine/checkpoint.h"
#include "engine/json.h"
#include "engine/json_write.h"
#include "engine/transfer.h"
#include "models/sdxl_export.h"
#include "models/sdxl_import.h"

/* --- import ----------------------------------------------------------------------------------- */

enum { TEXT_FILE_MAX = 32 << 20, PROVENANCE_MAX = 1 << 16 };

typedef enum text_form { TEXT_PLAIN, TEXT_JSON } text_form;

/* What a checkpoint carries besides tensors: the option that names its file, and its name there. */
typedef struct text_option {
    const char *option, *name, *help;
    text_form form;
} text_option;

static const text_option text_options[] = {
    { "--config", "config", "JSON: the model's configuration", TEXT_JSON },
    { "--tokenizer", "tokenizer", "JSON: its tokenizer", TEXT_JSON },
    { "--metrics", "metrics", "JSON: what was measured of it", TEXT_JSON },
    { "--licence", "licence", "text: what may be done with it", TEXT_PLAIN },
    { "--data-version", "data_version", "text: what it was trained on", TEXT_PLAIN },
};
enum { TEXT_COUNT = AT_COUNT(text_options), TEXTS_MAX = TEXT_COUNT + 1 };

typedef struct texts {
    at_text items[TEXTS_MAX];
    char *owned[TEXTS_MAX];
    int count;
} texts;

static void free_texts(texts *t)
{
    for (int i = 0; i < t->count; i++)
        free(t->owned[i]);
}

static void add_text(texts *t, const char *name, char *data, size_t bytes)
{
    t->owned[t->count] = data;
    t->items[t->count++] = (at_text){ name, data, bytes };
}

static at_status check_json(const char *path, const char *data, size_t bytes, at_error *err)
{
    at_json j;
    at_error why = { AT_OK, "" };
    at_json_start(&j, data, bytes, &why);
    at_json_skip(&j);
    return at_json_end(&j) == AT_OK
               ? AT_OK
               : at_fail(err, AT_INVALID, "'%.200s' is not JSON: %.200s", path, why.text);
}

static at_status read_text(texts *t, const text_option *o, const char *path, at_error *err)
{
    at_file f;
    at_status status = at_file_open(&f, path, err);
    if (status != AT_OK)
        return status;
    char *data = NULL;
    size_t bytes = (size_t)f.bytes;
    if (f.bytes > TEXT_FILE_MAX)
        status = at_fail(err, AT_INVALID, "'%.200s' has %zu bytes; a text has at most %d", path,
                         bytes, (int)TEXT_FILE_MAX);
    else if (!(data = malloc(bytes + 1)))
        status = at_fail(err, AT_NO_MEMORY, "no memory for '%.200s'", path);
    if (status == AT_OK)
        status = at_file_read(&f, 0, data, bytes, err);
    if (status == AT_OK && !at_utf8_valid(data, bytes))
        status = at_fail(err, AT_INVALID, "'%.200s' is not UTF-8", path);
    if (status == AT_OK && o->form == TEXT_JSON)
        status = check_json(path, data, bytes, err);
    at_file_close(&f);
    if (status == AT_OK)
        add_text(t, o->name, data, bytes);
    else
        free(data);
    return status;
}

/* Where the weights came from, without what differs from one import to the next. */
static at_status add_provenance(texts *t, const at_source *s, const char *path, at_error *err)
{
    at_json_writer w = { .bytes_max = PROVENANCE_MAX };
    const char *slash = strrchr(path, '/'), *name = slash && slash[1] ? slash + 1 : path;
    bool readable = at_utf8_valid(name, strlen(name));
    at_json_write_object(&w);
    at_json_write_key(&w, "source");
    at_json_write_string(&w, readable ? name : "?", readable ? strlen(name) : 1);
    at_json_write_key(&w, "kind");
    at_json_write_string(&w, s->kind->name, strlen(s->kind->name));
    at_json_write_key(&w, "bytes");
    at_json_write_uint(&w, s->file_bytes);
    at_json_write_close(&w);
    at_status status = at_json_write_end(&w, err);
    if (status == AT_OK)
        add_text(t, AT_TEXT_PROVENANCE, w.text, w.bytes);
    else
        at_json_writer_free(&w);
    return status;
}

static at_status import_source(at_source *s, const char *const *words,
                               const char *const *text_paths, at_error *err)
{
    texts t = { .count = 0 };
    at_status status = add_provenance(&t, s, words[0], err);
    for (int i = 0; i < TEXT_COUNT && status == AT_OK; i++)
        if (text_paths[i])
            status = read_text(&t, &text_options[i], text_paths[i], err);
    if (status == AT_OK) {
        at_bar bar;
        char bytes[AT_BYTES_TEXT];
        at_bar_start(&bar, "import");
        status = at_transfer_import(s, words[1], t.items, t.count, &bar.progress, err);
        double seconds = at_bar_end(&bar);
        if (status == AT_OK)
            printf("%s: %d tensors, %s, in %.1f s\n", words[1], s->list.count,
                   at_bytes_text(at_tensors_bytes(&s->list), bytes), seconds);
    }
    free_texts(&t);
    return status;
}

static void print_note(void *context, const char *text)
{
    fprintf(stderr, "atelier %s: ", (const char *)context);
    for (; *text; text++)
        fputc((unsigned char)*text < ' ' ? ' ' : *text, stderr);
    fputc('\n', stderr);
}

/* Two words, or one and the option that names the other: FROM TO, FROM -o TO. */
static at_parsed parse_from_to(const at_usage *usage, int argc, char **argv, const char **words,
                               const char *const *to)
{
    at_parsed parsed = at_options_parse(usage, argc, argv, words, 2);
    if (parsed != AT_PARSED || (words[0] && !words[1] != !*to))
        words[1] = words[1] ? words[1] : *to;
    else
        parsed =
            at_options_parse_all(usage, 1, argv, words, 1); /* whose sentence is the right one */
    return parsed;
}

enum { IMPORT_OWN = 3 };

static int run_import(int argc, char **argv)
{
    const char *paths[TEXT_COUNT] = { NULL }, *words[2], *to = NULL;
    char name[] = "model import";
    at_sdxl_import_options o = { .note = print_note, .context = name };
    at_option list[IMPORT_OWN + TEXT_COUNT] = {
        { "-o", AT_OPTION_TEXT, &to, 0, 0, "TO", "the checkpoint, instead of a second word" },
        { "--variant", AT_OPTION_TEXT, &o.variant, 0, 0, "NAME",
          "of a diffusers folder: fp16 takes *.fp16.safetensors" },
        { "--vae", AT_OPTION_TEXT, &o.vae, 0, 0, "FROM",
          "a file or folder whose VAE replaces the model's" },
    };
    for (size_t i = 0; i < TEXT_COUNT; i++)
        list[IMPORT_OWN + i] =
            (at_option){ text_options[i].option, AT_OPTION_TEXT, &paths[i], 0, 0, "FILE",
                         text_options[i].help };
    const at_usage usage = {
        name,
        "Writes weights into a checkpoint, which appears when it is whole.",
        "FROM TO",
        list,
        (int)AT_COUNT(list),
        "FROM is a model of SDXL, a folder of diffusers or a single file; a safetensors file, the\n"
        "index of one that was cut or a folder with either; a PyTorch .pth file (no code in it is\n"
        "ever run); or a checkpoint.\n"
    };
    at_error err = { AT_OK, "" };
    at_source *s = NULL;
    at_parsed parsed = parse_from_to(&usage, argc, argv, words, &to);
    if (parsed != AT_PARSED)
        return at_parsed_exit(parsed);
    at_status status = at_sdxl_import_open(&s, words[0], &o, &err);
    if (status == AT_OK)
        status = import_source(s, words, paths, &err);
    at_source_close(s);
    return status == AT_OK ? AT_EXIT_OK : at_unable(usage.command, &err);
}

/* --- export ----------------------------------------------------------------------------------- */

typedef at_status export_fn(at_source *from, const char *path, const at_progress *progress,
                            at_error *err);

static const struct {
    const char *name;
    export_fn *run;
} formats[] = {
    { "plain", at_transfer_export },
    { "diffusers", at_sdxl_export_folder },
    { "safetensors", at_sdxl_export_single },
};

static export_fn *find_format(const char *name, at_error *err)
{
    for (size_t i = 0; i < AT_COUNT(formats); i++)
        if (!strcmp(formats[i].name, name))
            return formats[i].run;
    at_fail(err, AT_INVALID, "--format: '%.100s' is not plain, diffusers or safetensors", name);
    return NULL;
}

static int run_export(int argc, char **argv)
{
    const char *words[2], *to = NULL, *format = "plain";
    const at_option list[] = {
        { "-o", AT_OPTION_TEXT, &to, 0, 0, "TO", "the file or folder, instead of a second word" },
        { "--format", AT_OPTION_TEXT, &format, 0, 0, "FORMAT",
          "plain, diffusers or safetensors (plain)" },
    };
    const at_usage usage = {
        "model export",
        "Writes the tensors of a checkpoint, or of any file that can be imported, as safetensors.",
        "FROM TO",
        list,
        (int)AT_COUNT(list),
        "plain: one file, the names as they are in FROM. Of models of SDXL, diffusers: a folder\n"
        "that diffusers' from_pretrained reads; safetensors: a single file, with the names that\n"
        "SDXL was published under.\n"
    };
    at_error err = { AT_OK, "" };
    at_source *s = NULL;
    at_bar bar;
    at_interrupt interrupt;
    at_parsed parsed = parse_from_to(&usage, argc, argv, words, &to);
    if (parsed != AT_PARSED)
        return at_parsed_exit(parsed);
    export_fn *run = find_format(format, &err);
    if (!run)
        return at_unable(usage.command, &err);
    at_bar_start(&bar, "export");
    at_interrupt_start(&interrupt, &bar.progress);
    at_status status = at_source_open(&s, words[0], &err);
    if (status == AT_OK)
        status = run(s, words[1], &interrupt.progress, &err);
    double seconds = at_bar_end(&bar);
    char bytes[AT_BYTES_TEXT];
    if (status == AT_OK)
        printf("%s: %d tensors, %s, in %.1f s\n", words[1], s->list.count,
               at_bytes_text(at_tensors_bytes(&s->list), bytes), seconds);
    at_source_close(s);
    if (status == AT_CANCELLED && at_interrupt_status())
        return at_interrupt_status();
    return status == AT_OK ? AT_EXIT_OK : at_unable(usage.command, &err);
}

/* --- verify ----------------------------------------------------------------------------------- */

static void print_finding(void *context, const char *thing, const char *text)
{
    int *found = context;
    (*found)++;
    printf("%s: %s\n", thing, text);
}

static int run_verify(int argc, char **argv)
{
    const char *word;
    int found = 0;
    at_verify_options o = { .found = print_finding, .context = &found };
    const at_option list[] = {
        { "--threads", AT_OPTION_INT, &o.threads, 1, AT_THREADS_MAX, "N",
          "threads to use; else one per core" },
    };
    const at_usage usage = {
        "model verify",
        "Compares every byte of a checkpoint with its checksums, and HDF5's "
        "view of it with its index.",
        "FILE",
        list,
        (int)AT_COUNT(list),
        "Exit status 1: it is damaged, and a line for each thing says how.\n"
    };
    at_error err = { AT_OK, "" };
    at_bar bar;
    at_parsed parsed = at_options_parse_all(&usage, argc, argv, &word, 1);
    if (parsed != AT_PARSED)
        return at_parsed_exit(parsed);
    at_bar_start(&bar, "verify");
    o.progress = &bar.progress;
    at_status status = at_checkpoint_verify(word, &o, &err);
    double seconds = at_bar_end(&bar);
    if (status == AT_OK)
        printf("%s: whole, in %.1f s\n", word, seconds);
    if (status != AT_OK && !(status == AT_CORRUPT && found))
        return at_unable(usage.command, &err);
    return status == AT_OK ? AT_EXIT_OK : AT_EXIT_WRONG;
}

/* --- show ------------------------------------------------------------------------------------- */

static at_status print_one_text(const at_source *s, const char *path, const char *name,
                                at_error *err)
{
    const at_text *t = at_tensors_text(&s->list, name);
    if (!t)
        return at_fail(err, AT_NOT_FOUND, "'%.200s' has no text '%.100s'", path, name);
    fwrite(t->data, 1, t->bytes, stdout);
    return AT_OK;
}

static int run_show(int argc, char **argv)
{
    const char *word, *text = NULL;
    bool tensors = false, json = false;
    const at_option list[] = {
        { "--tensors", AT_OPTION_FLAG, &tensors, 0, 0, NULL, "also a line for each tensor" },
        { "--text", AT_OPTION_TEXT, &text, 0, 0, "NAME", "print only this text, as it is" },
        { "--json", AT_OPTION_FLAG, &json, 0, 0, NULL, "print JSON" },
    };
    const at_usage usage = {
        "model show", "Says what a file of weights holds.", "FILE", list, (int)AT_COUNT(list), NULL
    };
    at_error err = { AT_OK, "" };
    at_source *s = NULL;
    at_parsed parsed = at_options_parse_all(&usage, argc, argv, &word, 1);
    if (parsed != AT_PARSED)
        return at_parsed_exit(parsed);
    at_status status = at_source_open(&s, word, &err);
    if (status == AT_OK && text)
        status = print_one_text(s, word, text, &err);
    else if (status == AT_OK && json)
        status = at_weights_print_json(s, word, &err);
    else if (status == AT_OK)
        at_weights_print(s, word, tensors ? AT_WEIGHTS_TENSORS : AT_WEIGHTS_SUMMARY);
    at_source_close(s);
    return status == AT_OK ? AT_EXIT_OK : at_unable(usage.command, &err);
}

/* --- the command ------------------------------------------------------------------------------ */

static const at_action actions[] = {
    { "import", run_import, "weights from elsewhere into a checkpoint" },
    { "export", run_export, "a checkpoint's tensors as safetensors, as diffusers has them" },
    { "verify", run_verify, "every byte of a checkpoint against its checksums" },
    { "show", run_show, "what a file of weights holds" },
    { "list", at_model_list, "the models that are found by their names" },
    { "run", at_model_run, "a part of a model by itself" },
};

int at_command_model(int argc, char **argv)
{
    return at_actions_run("model", "Weights: into the store, out of it, listed, checked, shown.",
                          actions, (int)AT_COUNT(actions), argc, argv);
}
