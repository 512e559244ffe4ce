#include "cli/command.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEFT_LEAST = 20, LEFT_MOST = 32 }; /* columns of the help */

/* "--name ARGUMENT"; its columns. */
static int left_of(const at_option *o, char left[64])
{
    const int n = snprintf(left, 64, "%s%s%s", o->name, o->argument ? " " : "",
                           o->argument ? o->argument : "");
    return n < LEFT_MOST ? n : LEFT_MOST;
}

static void print_help(const at_usage *u)
{
    char left[64];
    int columns = LEFT_LEAST;
    printf("usage: atelier %s%s%s [options]\n%s\n", u->command, *u->arguments ? " " : "",
           u->arguments, u->summary);
    for (int i = 0; i < u->n_options; i++)
        if (u->options[i].name && left_of(&u->options[i], left) > columns)
            columns = left_of(&u->options[i], left);
    for (int i = 0; i < u->n_options; i++) {
        const at_option *o = &u->options[i];
        if (!o->name) {
            printf("%s:\n", o->help);
            continue;
        }
        left_of(o, left);
        printf("  %-*s %s\n", columns, left, o->help);
    }
    printf("  %-*s %s\n", columns, "--help", "this text");
    if (u->more)
        fputs(u->more, stdout);
}

static at_parsed wrong(const at_usage *u, const char *what, const char *arg)
{
    fprintf(stderr, "atelier %s: %s '%s' (see atelier %s --help)\n", u->command, what, arg,
            u->command);
    return AT_PARSED_WRONG;
}

static at_parsed take_number(const at_usage *u, const at_option *o, const char *text)
{
    char *end;
    errno = 0;
    double x = strtod(text, &end);
    bool whole = o->type == AT_OPTION_INT;
    if (errno || end == text || *end || !(x >= o->low && x <= o->high) ||
        (whole && x != floor(x))) {
        fprintf(stderr, "atelier %s: %s: '%s' is not a %s from %g to %g\n", u->command, o->name,
                text, whole ? "whole number" : "number", o->low, o->high);
        return AT_PARSED_WRONG;
    }
    if (whole)
        *(int *)o->value = (int)x;
    else
        *(double *)o->value = x;
    return AT_PARSED;
}

static at_parsed take_word(const at_usage *u, const at_option *o, const char *text)
{
    at_words *words = o->value;
    if (words->count == AT_WORDS_MAX) {
        fprintf(stderr, "atelier %s: %s: at most %d of them\n", u->command, o->name, AT_WORDS_MAX);
        return AT_PARSED_WRONG;
    }
    words->items[words->count++] = text;
    return AT_PARSED;
}

static at_parsed take_option(const at_usage *u, int argc, char **argv, int *i)
{
    const at_option *o = u->options, *end = o + u->n_options;
    while (o < end && (!o->name || strcmp(argv[*i], o->name)))
        o++;
    if (o == end)
        return wrong(u, "there is no option", argv[*i]);
    if (o->type == AT_OPTION_FLAG) {
        *(bool *)o->value = true;
        return AT_PARSED;
    }
    if (*i + 1 >= argc)
        return wrong(u, "a value is missing after", o->name);
    const char *text = argv[++*i];
    if (o->type == AT_OPTION_WORDS)
        return take_word(u, o, text);
    if (o->type != AT_OPTION_TEXT)
        return take_number(u, o, text);
    *(const char **)o->value = text;
    return AT_PARSED;
}

at_parsed at_options_parse(const at_usage *u, int argc, char **argv, const char **words, int max)
{
    int n = 0;
    for (int i = 0; i < max; i++)
        words[i] = NULL;
    for (int i = 1; i < argc; i++) {
        at_parsed parsed = AT_PARSED;
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            print_help(u);
            return AT_PARSED_HELP;
        }
        if (argv[i][0] == '-' && argv[i][1])
            parsed = take_option(u, argc, argv, &i);
        else if (n < max)
            words[n++] = argv[i];
        else
            parsed = wrong(u, "one word too many:", argv[i]);
        if (parsed != AT_PARSED)
            return parsed;
    }
    return AT_PARSED;
}

at_parsed at_options_parse_all(const at_usage *u, int argc, char **argv, const char **words,
                               int count)
{
    at_parsed parsed = at_options_parse(u, argc, argv, words, count);
    if (parsed != AT_PARSED || count == 0 || words[count - 1])
        return parsed;
    fprintf(stderr, "atelier %s: expected %s (see atelier %s --help)\n", u->command, u->arguments,
            u->command);
    return AT_PARSED_WRONG;
}

int at_parsed_exit(at_parsed parsed)
{
    return parsed == AT_PARSED_WRONG ? AT_EXIT_UNABLE : AT_EXIT_OK;
}

int at_unable(const char *command, const at_error *err)
{
    fprintf(stderr, "atelier %s: %s\n", command, err->text);
    return AT_EXIT_UNABLE;
}

void at_print_plain(const char *text, size_t bytes)
{
    const unsigned char *p = (const unsigned char *)text;
    for (size_t i = 0; i < bytes; i++) {
        bool second = p[i] == 0xc2 && i + 1 < bytes && p[i + 1] < 0xa0; /* U+0080 to U+009F */
        putchar(p[i] < ' ' || p[i] == 0x7f || second ? ' ' : p[i]);
        i += second;
    }
}

int at_actions_run(const char *command, const char *summary, const at_action *actions, int count,
                   int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    for (int i = 0; i < count; i++)
        if (!strcmp(word, actions[i].name))
            return actions[i].run(argc - 1, argv + 1);
    bool help = !strcmp(word, "--help") || !strcmp(word, "-h");
    if (*word && !help) {
        fprintf(stderr, "atelier %s: there is no '%s' (see atelier %s --help)\n", command, word,
                command);
        return AT_EXIT_UNABLE;
    }
    FILE *out = help ? stdout : stderr;
    fprintf(out, "usage: atelier %s ACTION ...\n%s\n", command, summary);
    for (int i = 0; i < count; i++)
        fprintf(out, "  %-20s %s\n", actions[i].name, actions[i].text);
    fprintf(out, "atelier %s ACTION --help says more\n", command);
    return help ? AT_EXIT_OK : AT_EXIT_UNABLE;
}
