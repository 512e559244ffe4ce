/* command.h -- what the subcommands share: options, sentences, exit statuses.
 *
 * Exit status 0: done. 1: work was done and found something wrong. 2: it could not be done: a wrong
 * option, a missing file, no memory; one sentence on stderr says why. 130: Ctrl-C ended it, as
 * shells have it: 128 and the signal's number. */
#ifndef AT_CLI_COMMAND_H
#define AT_CLI_COMMAND_H

#include "engine/device.h"

enum { AT_EXIT_OK = 0, AT_EXIT_WRONG = 1, AT_EXIT_UNABLE = 2, AT_EXIT_SIGNAL = 128 };

/* argv[0] is the subcommand's name. */
typedef int at_command_fn(int argc, char **argv);
#define AT_COMMAND(name, text) at_command_fn at_command_##name;
#include "cli/commands.def"
#undef AT_COMMAND

typedef enum at_option_type {
    AT_OPTION_FLAG,
    AT_OPTION_TEXT,
    AT_OPTION_INT,
    AT_OPTION_REAL,
    AT_OPTION_WORDS,  /* a text that may be given several times */
    AT_OPTION_HEADING /* none: a line of the help */
} at_option_type;

enum { AT_WORDS_MAX = 64 };
typedef struct at_words {
    const char *items[AT_WORDS_MAX];
    int count;
} at_words;

/* One option: "--name", where its value goes, the bounds of a number, and its line of help. */
typedef struct at_option {
    const char *name; /* NULL: a heading */
    at_option_type type;
    void *value; /* bool, const char *, int, double, at_words */
    double low, high;
    const char *argument, *help;
} at_option;

enum { AT_THREADS_MAX = 1024 };
/* Options that choose what the cpu device uses; 'o' is an at_device_options. */
#define AT_OPTION_THREADS(o)                                               \
    {                                                                      \
        "--threads", AT_OPTION_INT, &(o)->threads, 1, AT_THREADS_MAX, "N", \
            "threads to use; else one per core"                            \
    }
#define AT_OPTION_ISA(o)                                             \
    {                                                                \
        "--isa", AT_OPTION_TEXT, &(o)->isa, 0, 0, "LEVEL",           \
            "nothing beyond plain, avx2, avx512, avx512_bf16 or amx" \
    }

/* How the cuda device launches. */
#define AT_OPTION_EARLY(o)                                                 \
    {                                                                      \
        "--early", AT_OPTION_TEXT, &(o)->early, 0, 0, "yes|no",            \
            "on a GPU: kernels may begin before the one before ends (yes)" \
    }

typedef struct at_usage {
    const char *command, *summary, *arguments;
    const at_option *options;
    int n_options;
    const char *more; /* printed under the options; may be NULL */
} at_usage;

typedef enum at_parsed { AT_PARSED, AT_PARSED_HELP, AT_PARSED_WRONG } at_parsed;

/* Takes options and up to 'max' plain words, the rest NULL. Prints help or the sentence that says
 * what is wrong. */
at_parsed at_options_parse(const at_usage *usage, int argc, char **argv, const char **words,
                           int max);
/* The same when all 'count' words must be there. */
at_parsed at_options_parse_all(const at_usage *usage, int argc, char **argv, const char **words,
                               int count);
/* The exit status of a command that ends after parsing. */
int at_parsed_exit(at_parsed parsed);
/* "atelier COMMAND: sentence", and the exit status for it. */
int at_unable(const char *command, const at_error *err);

/* Text from a file on stdout, on one line: control characters, which a terminal might obey, become
 * blanks. */
void at_print_plain(const char *text, size_t bytes);

/* What comes after a command's name when it has several things to do: atelier model import. */
typedef struct at_action {
    const char *name;
    at_command_fn *run;
    const char *text;
} at_action;
int at_actions_run(const char *command, const char *summary, const at_action *actions, int count,
                   int argc, char **argv);

#endif
