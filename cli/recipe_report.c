#include "cli/recipe_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "runtime/parameters.h"

enum { NAME_COLUMNS = 24 };

/* --- finding ---------------------------------------------------------------------------------- */

/* What a text says if it has this name; NULL: it has another. */
static const char *text_named(const at_picture_text *t, const char *name)
{
    const size_t n = strlen(name);
    if (!strcmp(t->name, name))
        return t->text;
    if (!strcmp(t->name, "comment") && !strncmp(t->text, name, n) && !strncmp(t->text + n, ": ", 2))
        return t->text + n + 2;
    return NULL;
}

const char *at_recipe_text(const at_picture_info *info, const char *name)
{
    const char *text = NULL;
    for (int i = 0; i < info->n_texts && !text; i++)
        text = text_named(&info->text[i], name);
    return text;
}

bool at_recipe_is_shown(const at_picture_info *info, int i)
{
    return text_named(&info->text[i], AT_RECIPE_TEXT) ||
           text_named(&info->text[i], AT_PARAMETERS_TEXT);
}

/* --- for people ------------------------------------------------------------------------------- */

static void print_line(const char *name, size_t name_bytes, const char *text, size_t bytes)
{
    printf("  ");
    at_print_plain(name, name_bytes);
    for (size_t i = name_bytes; i < NAME_COLUMNS; i++)
        putchar(' ');
    putchar(' ');
    at_print_plain(text, bytes);
    putchar('\n');
}

/* A string without its quotes and escapes, other values as they are written. */
static void print_value(at_json *j, const at_json_text *key)
{
    at_json_text string;
    const char *raw;
    size_t bytes;
    if (at_json_peek(j) != AT_JSON_STRING) {
        if (at_json_raw(j, &raw, &bytes))
            print_line(key->raw, key->raw_bytes, raw, bytes);
        return;
    }
    if (!at_json_string(j, &string))
        return;
    char *text = malloc(string.raw_bytes + 1);
    const size_t n = text ? at_json_unescape(&string, text, string.raw_bytes) : SIZE_MAX;
    print_line(key->raw, key->raw_bytes, n == SIZE_MAX ? string.raw : text,
               n == SIZE_MAX ? string.raw_bytes : n);
    free(text);
}

static void print_recipe(const char *json)
{
    at_recipe r;
    at_json j;
    at_json_text key;
    at_error err;
    if (at_recipe_read(&r, json, strlen(json), &err) != AT_OK)
        printf("recipe       Atelier's, which this version cannot repeat: %s\n", err.text);
    else
        puts("recipe       Atelier's; atelier generate --like repeats it");
    at_recipe_free(&r);
    at_json_start(&j, json, strlen(json), NULL);
    if (at_json_peek(&j) != AT_JSON_OBJECT)
        return;
    for (at_json_object(&j); at_json_key(&j, &key);)
        print_value(&j, &key);
}

static void print_parameters(const char *text)
{
    at_parameters p;
    at_error err;
    if (at_parameters_read(&p, text, strlen(text), &err) != AT_OK) {
        printf("parameters   %s\n", err.text);
        return;
    }
    puts("parameters   as A1111 and others write them");
    print_line("Prompt", strlen("Prompt"), p.prompt, strlen(p.prompt));
    if (p.negative)
        print_line("Negative prompt", strlen("Negative prompt"), p.negative, strlen(p.negative));
    for (int i = 0; i < p.count; i++)
        print_line(p.items[i].name, strlen(p.items[i].name), p.items[i].value,
                   strlen(p.items[i].value));
    at_parameters_free(&p);
}

void at_recipe_print(const at_picture_info *info)
{
    const char *json = at_recipe_text(info, AT_RECIPE_TEXT);
    const char *parameters = at_recipe_text(info, AT_PARAMETERS_TEXT);
    if (json)
        print_recipe(json);
    else if (parameters)
        print_parameters(parameters);
}

/* --- as JSON ---------------------------------------------------------------------------------- */

static bool is_json(const char *text)
{
    at_json j;
    at_json_start(&j, text, strlen(text), NULL);
    at_json_skip(&j);
    return at_json_end(&j) == AT_OK;
}

static void put_parameters(at_json_writer *w, const char *text)
{
    at_parameters p;
    if (!text || at_parameters_read(&p, text, strlen(text), NULL) != AT_OK) {
        at_json_write_null(w);
        return;
    }
    at_json_write_object(w);
    at_json_put_text(w, "prompt", p.prompt);
    at_json_put_text(w, "negative", p.negative);
    at_json_write_key(w, "settings");
    at_json_write_object(w);
    for (int i = 0; i < p.count; i++)
        at_json_put_text(w, p.items[i].name, p.items[i].value);
    at_json_write_close(w);
    at_json_write_close(w);
    at_parameters_free(&p);
}

void at_recipe_put(at_json_writer *w, const at_picture_info *info)
{
    const char *json = at_recipe_text(info, AT_RECIPE_TEXT);
    at_json_write_key(w, "recipe");
    if (json && is_json(json))
        at_json_write_raw(w, json, strlen(json));
    else
        at_json_write_null(w);
    at_json_write_key(w, "parameters");
    put_parameters(w, at_recipe_text(info, AT_PARAMETERS_TEXT));
}
