/* main.c -- one program, many subcommands: commands.def lists them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"

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
          "atelier COMMAND --help says more.\n",
          out);
}

/* The team of threads must sleep when it has nothing to do, soon after it ran dry: long enough to catch
 * the next op, short enough to leave the cores to others. The library behind it reads its settings before
 * main() does, so they are made before any library starts; what the user has set stays. */
static void settle_threads(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    setenv("GOMP_SPINCOUNT", "20000", 0);
}
__attribute__((section(".preinit_array"), used)) static void (*const settle)(int, char **, char **) =
    settle_threads;

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "--help";
    if (!strcmp(name, "--help") || !strcmp(name, "help")) {
        print_commands(stdout);
        return AT_EXIT_OK;
    }
    if (!strcmp(name, "version") || !strcmp(name, "--version")) {
        puts("atelier " AT_VERSION);
        return AT_EXIT_OK;
    }
    for (size_t i = 0; i < AT_COUNT(commands); i++)
        if (!strcmp(name, commands[i].name))
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "atelier: there is no command '%s'\n", name);
    print_commands(stderr);
    return AT_EXIT_UNABLE;
}
