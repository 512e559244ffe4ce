/* main.c -- one program, many subcommands: commands.def lists them. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/threads.h"

static const struct {
    const char *name, *text;
    at_command_fn *run;
} commands[] = {
#define AT_COMMAND(name, text) { #name, text, at_command_##name },
#include "cli/commands.def"
#undef AT_COMMAND
};

static void print_commands(FILE *out)
{
    fputs("usage: atelier COMMAND [options]\n", out);
    for (size_t i = 0; i < AT_COUNT(commands); i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].text);
    fputs("  version    the version of this program\n"
          "  help       this text; atelier help COMMAND says more\n"
          "Exit status: 0 done, 1 done and something is wrong, 2 could not be done, 130 Ctrl-C.\n",
          out);
}

static int run_command(int argc, char **argv)
{
    for (size_t i = 0; i < AT_COUNT(commands); i++)
        if (!strcmp(argv[0], commands[i].name))
            return commands[i].run(argc, argv);
    fprintf(stderr, "atelier: there is no command '%s' (see atelier help)\n", argv[0]);
    return AT_EXIT_UNABLE;
}

static int run(int argc, char **argv)
{
    if (argc < 2) {
        print_commands(stderr);
        return AT_EXIT_UNABLE;
    }
    bool help = !strcmp(argv[1], "help");
    if (help && argc == 3)
        return run_command(2, (char *[]){ argv[2], "--help", NULL });
    if (help || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        print_commands(stdout);
        return AT_EXIT_OK;
    }
    if (!strcmp(argv[1], "version") || !strcmp(argv[1], "--version")) {
        puts("atelier " AT_VERSION);
        return AT_EXIT_OK;
    }
    return run_command(argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
    at_threads_settle(argv);
    int status = run(argc, argv);
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    fputs("atelier: the output cannot be written\n", stderr);
    return AT_EXIT_UNABLE;
}
