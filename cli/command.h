/* command.h -- what the subcommands share: options, sentences, exit statuses.
 *
 * Exit status 0: done. 1: work was done and found something wrong. 2: it could not be done: a wrong
 * option, a missing file, no memory; one sentence on stderr says why. */
#ifndef AT_CLI_COMMAND_H
#define AT_CLI_COMMAND_H

#include "engine/device.h"

enum { AT_EXIT_OK = 0, AT_EXIT_WRONG = 1, AT_EXIT_UNABLE = 2 };

typedef int at_command_fn(int argc, char **argv);
#define AT_COMMAND(name, text) at_command_fn at_command_##name;
#include "cli/commands.def"
#undef AT_COMMAND

typedef enum at_option_type { AT_OPTION_FLAG, AT_OPTION_TEXT, AT_OPTION_INT } at_option_type;

/* One option: "--name", where its value goes, the bounds of a number, and its line of help. */
typedef struct at_option {
    const char *name;
    at_option_type type;
    void *value; /* bool, const char *, int */
    int low, high;
    const char *argument, *help;
} at_option;

typedef struct at_usage {
    const char *command, *summary, *arguments;
    const at_option *options;
    int n_options;
    const char *more; /* printed under the options; may be NULL */
} at_usage;

typedef enum at_parsed { AT_PARSED, AT_PARSED_HELP, AT_PARSED_WRONG } at_parsed;

/* Takes options and up to 'max' plain words. Prints help or the sentence that says what is wrong. */
at_parsed at_options_parse(const at_usage *usage, int argc, char **argv, const char **words, int max);
/* "atelier COMMAND: sentence", and the exit status for it. */
int at_unable(const char *command, const at_error *err);

#endif
