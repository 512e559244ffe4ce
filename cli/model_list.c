#include "cli/model_list.h"

#include <stdio.h>

#include "cli/command.h"
#include "cli/folders.h"
#include "cli/json.h"
#include "cli/progress.h"

static void print(const at_folder_list *list)
{
    char bytes[AT_BYTES_TEXT];
    for (int i = 0; i < list->count; i++) {
        const at_folder_entry *e = &list->entries[i];
        printf("%-20s %8s  %s\n", e->name, at_bytes_text(e->bytes, bytes), e->path);
    }
}

static at_status print_json(const at_folder_list *list, at_error *err)
{
    at_json_writer w = at_json_stdout();
    at_json_write_array(&w);
    for (int i = 0; i < list->count; i++) {
        at_json_write_object(&w);
        at_json_put_text(&w, "name", list->entries[i].name);
        at_json_put_text(&w, "path", list->entries[i].path);
        at_json_put_uint(&w, "bytes", list->entries[i].bytes);
        at_json_write_close(&w);
    }
    at_json_write_close(&w);
    return at_json_finish(&w, err);
}

int at_model_list(int argc, char **argv)
{
    bool json = false;
    at_error err = { 0 };
    at_folder_list list;
    const char *none;
    const at_option options[] = {
        { "--json", AT_OPTION_FLAG, &json, 0, 0, NULL, "print JSON" },
    };
    const at_usage usage = { "model list",
                             "Lists the models that are found by their names.",
                             "",
                             options,
                             (int)AT_COUNT(options),
                             "They are files NAME.h5 and NAME.safetensors, and NAME/NAME.h5, in\n"
                             "./models and in $XDG_DATA_HOME/atelier/models, else in\n"
                             "~/.local/share/atelier/models.\n" };
    const at_parsed parsed = at_options_parse(&usage, argc, argv, &none, 0);
    if (parsed != AT_PARSED)
        return at_parsed_exit(parsed);
    at_status status = at_folder_read(&list, AT_FOLDER_MODELS, &err);
    if (status == AT_OK && json)
        status = print_json(&list, &err);
    else if (status == AT_OK)
        print(&list);
    at_folder_free(&list);
    return status == AT_OK ? AT_EXIT_OK : at_unable(usage.command, &err);
}
