#include "cli/model_list.h"

#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/folders.h"
#include "cli/json.h"
#include "cli/progress.h"
#include "models/sdxl_import.h"

enum { PRECISION_TEXT = 64 };

typedef struct entry {
    const char *name, *path;
    const char *kind; /* "SDXL refiner" */
    char form[32];    /* "checkpoint" */
    uint64_t bytes;
    char precision[PRECISION_TEXT];
    at_error err; /* why it cannot be read */
} entry;

/* Types of its tensors, the one with the most bytes first: "f16, f32". */
static void name_precision(const at_tensors *list, char text[PRECISION_TEXT])
{
    uint64_t bytes[AT_STORED_COUNT] = { 0 };
    size_t used = 0;
    *text = 0;
    for (int i = 0; i < list->count; i++)
        bytes[list->items[i].type] += list->items[i].bytes;
    for (;;) {
        int most = 0;
        for (int i = 1; i < AT_STORED_COUNT; i++)
            if (bytes[i] > bytes[most])
                most = i;
        if (!bytes[most] || used >= PRECISION_TEXT)
            return;
        used += (size_t)snprintf(text + used, PRECISION_TEXT - used, "%s%s", used ? ", " : "",
                                 at_stored_about((at_stored)most)->name);
        bytes[most] = 0;
    }
}

/* A file that looks like a model and cannot be read says why. */
static entry look(const at_folder_entry *found)
{
    at_source *s = NULL;
    entry e = { .name = found->name, .path = found->path };
    if (at_sdxl_import_open(&s, found->path, NULL, &e.err) != AT_OK)
        return e;
    e.kind = at_sdxl_kind(s);
    snprintf(e.form, sizeof e.form, "%s", s->kind->name);
    e.bytes = at_tensors_bytes(&s->list);
    name_precision(&s->list, e.precision);
    at_source_close(s);
    return e;
}

static void print_entry(const entry *e, int width)
{
    char bytes[AT_BYTES_TEXT];
    at_print_plain(e->name, strlen(e->name));
    printf("%*s  ", width - (int)strlen(e->name), "");
    if (e->err.status == AT_OK)
        printf("%-15s  %-16s  %9s  %-8s  ", e->kind, e->form, at_bytes_text(e->bytes, bytes),
               e->precision);
    at_print_plain(e->path, strlen(e->path));
    if (e->err.status != AT_OK) {
        printf(" cannot be read: ");
        at_print_plain(e->err.text, strlen(e->err.text));
    }
    putchar('\n');
}

static const char *text_of(const char *text)
{
    return at_utf8_valid(text, strlen(text)) ? text : "?";
}

static void write_entry(at_json_writer *w, const entry *e)
{
    at_json_write_object(w);
    at_json_put_text(w, "name", text_of(e->name));
    at_json_put_text(w, "path", text_of(e->path));
    if (e->err.status == AT_OK) {
        at_json_put_text(w, "kind", e->kind);
        at_json_put_text(w, "form", e->form);
        at_json_put_uint(w, "tensor_bytes", e->bytes);
        at_json_put_text(w, "precision", e->precision);
    } else {
        at_json_put_text(w, "error", text_of(e->err.text));
    }
    at_json_write_close(w);
}

static void print_words(const at_folder_list *list)
{
    int width = 0;
    for (int i = 0; i < list->count; i++) {
        const int n = (int)strlen(list->entries[i].name);
        width = n > width ? n : width;
    }
    for (int i = 0; i < list->count; i++) {
        const entry e = look(&list->entries[i]);
        print_entry(&e, width);
    }
    if (!list->count)
        puts("there are no models");
}

static at_status print_json(const at_folder_list *list, at_error *err)
{
    at_json_writer w = at_json_stdout();
    at_json_write_array(&w);
    for (int i = 0; i < list->count; i++) {
        const entry e = look(&list->entries[i]);
        write_entry(&w, &e);
    }
    at_json_write_close(&w);
    return at_json_finish(&w, err);
}

int at_model_list(int argc, char **argv)
{
    bool json = false;
    at_error err = { 0 };
    at_folder_list list;
    const char *folder;
    const at_option options[] = {
        { "--json", AT_OPTION_FLAG, &json, 0, 0, NULL, "print JSON" },
    };
    const at_usage usage = { "model list",
                             "Lists the models that are found by their names, or those of a "
                             "folder: kind, form, size and precision of each.",
                             "[FOLDER]",
                             options,
                             (int)AT_COUNT(options),
                             "They are files NAME.h5 and NAME.safetensors, and NAME/NAME.h5, in\n"
                             "./models and in $XDG_DATA_HOME/atelier/models, else in\n"
                             "~/.local/share/atelier/models. In a FOLDER pipelines of diffusers\n"
                             "are listed too.\n" };
    const at_parsed parsed = at_options_parse(&usage, argc, argv, &folder, 1);
    if (parsed != AT_PARSED)
        return at_parsed_exit(parsed);
    at_status status = folder ? at_folder_read_one(&list, folder, &err)
                              : at_folder_read(&list, AT_FOLDER_MODELS, &err);
    if (status == AT_OK && json)
        status = print_json(&list, &err);
    else if (status == AT_OK)
        print_words(&list);
    at_folder_free(&list);
    return status == AT_OK ? AT_EXIT_OK : at_unable(usage.command, &err);
}
