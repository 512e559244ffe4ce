/* model.c -- atelier model: weights into the store, out of it, checked and shown. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/model_list.h"
#include "cli/model_run.h"
#include "cli/progress.h"
#include "cli/weights.h"
#include "engine/checkpoint.h"
#include "engine/json.h"
#include "engine/json_write.h"
#include "engine/transfer.h"

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

static int run_import(int argc, char **argv)
{
    const char *paths[TEXT_COUNT] = { NULL }, *words[2];
    at_option list[TEXT_COUNT];
    for (size_t i = 0; i < TEXT_COUNT; i++)
        list[i] = (at_option){ text_options[i].option, AT_OPTION_TEXT, &paths[i], 0, 0, "FILE",
                               text_options[i].help };
    const at_usage usage = {
        "model import",
        "Writes weights into a checkpoint, which appears when it is whole.",
        "FROM TO",
        list,
        TEXT_COUNT,
        "FROM is a safetensors file, the index of one that was cut or a folder with either, a\n"
        "PyTorch .pth file (no code in it is ever run), or a checkpoint.\n"
    };
    at_error err = { AT_OK, "" };
    at_source *s = NULL;
    at_parsed parsed = at_options_parse_all(&usage, argc, argv, words, 2);
    if (parsed != AT_PARSED)
        return at_parsed_exit(parsed);
    at_status status = at_source_open(&s, words[0], &err);
    if (status == AT_OK)
        status = import_source(s, words, paths, &err);
    at_source_close(s);
    return status == AT_OK ? AT_EXIT_OK : at_unable(usage.command, &err);
}

/* --- export ----------------------------------------------------------------------------------- */

static int run_export(int argc, char **argv)
{
    const char *words[2];
    const at_usage usage = { "model export",
                             "Writes the tensors of a checkpoint, or of any file that can be "
                             "imported, as safetensors.",
                             "FROM TO",
                             NULL,
                             0,
                             NULL };
    at_error err = { AT_OK, "" };
    at_source *s = NULL;
    at_bar bar;
    at_parsed parsed = at_options_parse_all(&usage, argc, argv, words, 2);
    if (parsed != AT_PARSED)
        return at_parsed_exit(parsed);
    at_bar_start(&bar, "export");
    at_status status = at_source_open(&s, words[0], &err);
    if (status == AT_OK)
        status = at_transfer_export(s, words[1], &bar.progress, &err);
    double seconds = at_bar_end(&bar);
    char bytes[AT_BYTES_TEXT];
    if (status == AT_OK)
        printf("%s: %d tensors, %s, in %.1f s\n", words[1], s->list.count,
               at_bytes_text(at_tensors_bytes(&s->list), bytes), seconds);
    at_source_close(s);
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
    { "export", run_export, "a checkpoint's tensors as safetensors" },
    { "verify", run_verify, "every byte of a checkpoint against its checksums" },
    { "show", run_show, "what a file of weights holds" },
    { "list", at_model_list, "the models that are found by their names" },
    { "run", at_model_run, "a part of a model by itself" },
};

int at_command_model(int argc, char **argv)
{
    return at_actions_run("model", "Weights: into the store, out of it, checked, shown.", actions,
                          (int)AT_COUNT(actions), argc, argv);
}
