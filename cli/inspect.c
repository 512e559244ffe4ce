/* inspect.c -- atelier inspect: what any file that Atelier reads is and holds. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/json.h"
#include "cli/recipe_report.h"
#include "cli/weights.h"
#include "runtime/picture.h"

static const char *colours_of(const at_picture_info *p)
{
    static const char *const by_channels[] = { "?", "grey", "grey and alpha", "RGB", "RGBA" };
    return p->is_cmyk ? "CMYK" : by_channels[p->channels <= 4 ? p->channels : 0];
}

static void print_picture(const at_picture_info *p, const char *path)
{
    printf("file         %s\npicture      %s, %" PRId64 " x %" PRId64 ", %s, %d bits\n", path,
           at_picture_format_name(p->format), p->width, p->height, colours_of(p), p->depth);
    if (p->orientation > 1)
        printf("orientation  %d of EXIF: it is turned when it is read\n", p->orientation);
    if (p->has_profile)
        puts("profile      a colour profile");
    if (*p->warning)
        printf("warning      %s\n", p->warning);
    at_recipe_print(p);
    for (int i = 0; i < p->n_texts; i++) {
        if (at_recipe_is_shown(p, i))
            continue;
        printf("text         ");
        at_print_plain(p->text[i].name, strlen(p->text[i].name));
        printf(": ");
        at_print_plain(p->text[i].text, strlen(p->text[i].text));
        putchar('\n');
    }
}

static at_status print_picture_json(const at_picture_info *p, at_error *err)
{
    at_json_writer w = at_json_stdout();
    at_json_write_object(&w);
    at_json_put_text(&w, "kind", "picture");
    at_json_put_text(&w, "format", at_picture_format_name(p->format));
    at_json_put_int(&w, "width", p->width);
    at_json_put_int(&w, "height", p->height);
    at_json_put_int(&w, "channels", p->channels);
    at_json_put_int(&w, "depth", p->depth);
    at_json_put_int(&w, "orientation", p->orientation);
    at_json_put_bool(&w, "profile", p->has_profile);
    at_json_write_key(&w, "texts");
    at_json_write_object(&w);
    for (int i = 0; i < p->n_texts; i++)
        at_json_put_text(&w, p->text[i].name, p->text[i].text);
    at_json_write_close(&w);
    at_recipe_put(&w, p);
    at_json_write_close(&w);
    return at_json_finish(&w, err);
}

static at_status inspect_picture(const char *path, bool json, at_error *err)
{
    at_picture_info info;
    at_status status = at_picture_about(&info, path, NULL, err);
    if (status != AT_OK)
        return status;
    if (json)
        status = print_picture_json(&info, err);
    else
        print_picture(&info, path);
    at_picture_info_free(&info);
    return status;
}

static at_status inspect(const char *path, bool json, at_error *err)
{
    at_source *s = NULL;
    at_status status = at_source_open(&s, path, err);
    if (status == AT_UNSUPPORTED)
        return inspect_picture(path, json, err);
    if (status == AT_OK && json)
        status = at_weights_print_json(s, path, err);
    else if (status == AT_OK)
        at_weights_print(s, path, AT_WEIGHTS_TENSORS);
    at_source_close(s);
    return status;
}

int at_command_inspect(int argc, char **argv)
{
    bool json = false;
    const char *word;
    at_error err = { AT_OK, "" };
    const at_option list[] = {
        { "--json", AT_OPTION_FLAG, &json, 0, 0, NULL, "print JSON" },
    };
    const at_usage usage = { "inspect",
                             "Says what a file is and holds: a picture, a checkpoint, weights.",
                             "FILE",
                             list,
                             (int)AT_COUNT(list),
                             NULL };
    at_parsed parsed = at_options_parse_all(&usage, argc, argv, &word, 1);
    if (parsed != AT_PARSED)
        return at_parsed_exit(parsed);
    return inspect(word, json, &err) == AT_OK ? AT_EXIT_OK : at_unable(usage.command, &err);
}
