/* bench_no_files.c -- in place of bench_generate.c where nothing draws. */
#include "cli/bench_generate.h"
#include "cli/command.h"

int at_bench_generate(int argc, char **argv)
{
    at_error err;
    (void)argc, (void)argv;
    at_fail(&err, AT_UNSUPPORTED, "this build reads no models");
    return at_unable("bench generate", &err);
}
