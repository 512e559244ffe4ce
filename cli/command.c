#include "cli/command.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_help(const at_usage *u)
{
    printf("usage: atelier %s%s%s [options]\n%s\n", u->command, *u->arguments ? " " : "",
           u->arguments, u->summary);
    for (int i = 0; i < u->n_options; i++) {
        const at_option *o = &u->options[i];
        char left[64];
        snprintf(left, sizeof left, "%s%s%s", o->name, o->argument ? " " : "",
                 o->argument ? o->argument : "");
        printf("  %-20s %s\n", left, o->help);
    }
    printf("  %-20s %s\n", "--help", "this text");
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

static at_parsed take_option(const at_usage *u, int argc, char **argv, int *i)
{
    const at_option *o = u->options, *end = o + u->n_options;
    while (o < end && strcmp(argv[*i], o->name))
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

int at_parsed_exit(at_parsed parsed)
{
    return parsed == AT_PARSED_WRONG ? AT_EXIT_UNABLE : AT_EXIT_OK;
}

int at_unable(const char *command, const at_error *err)
{
    fprintf(stderr, "atelier %s: %s\n", command, err->text);
    return AT_EXIT_UNABLE;
}
