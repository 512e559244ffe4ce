#include "cli/command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_help(const at_usage *u)
{
    printf("usage: atelier %s%s%s [options]\n%s\n", u->command, *u->arguments ? " " : "", u->arguments,
           u->summary);
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
    fprintf(stderr, "atelier %s: %s '%s' (see atelier %s --help)\n", u->command, what, arg, u->command);
    return AT_PARSED_WRONG;
}

static at_parsed take_int(const at_usage *u, const at_option *o, const char *text)
{
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    if (errno || end == text || *end || n < o->low || n > o->high) {
        fprintf(stderr, "atelier %s: %s: '%s' is not a number from %d to %d\n", u->command, o->name,
                text, o->low, o->high);
        return AT_PARSED_WRONG;
    }
    *(int *)o->value = (int)n;
    return AT_PARSED;
}

static at_parsed take_option(const at_usage *u, int argc, char **argv, int *i)
{
    for (int k = 0; k < u->n_options; k++) {
        const at_option *o = &u->options[k];
        if (strcmp(argv[*i], o->name))
            continue;
        if (o->type == AT_OPTION_FLAG) {
            *(bool *)o->value = true;
            return AT_PARSED;
        }
        if (*i + 1 >= argc)
            return wrong(u, "a value is missing after", o->name);
        const char *text = argv[++*i];
        if (o->type == AT_OPTION_INT)
            return take_int(u, o, text);
        *(const char **)o->value = text;
        return AT_PARSED;
    }
    return wrong(u, "there is no option", argv[*i]);
}

at_parsed at_options_parse(const at_usage *u, int argc, char **argv, const char **words, int max)
{
    int n = 0;
    for (int i = 1; i < argc; i++) {
        at_parsed parsed = AT_PARSED;
        if (!strcmp(argv[i], "--help")) {
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

int at_unable(const char *command, const at_error *err)
{
    fprintf(stderr, "atelier %s: %s\n", command, err->text);
    return AT_EXIT_UNABLE;
}
