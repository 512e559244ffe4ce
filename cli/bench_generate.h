/* bench_generate.h -- atelier bench generate: what drawing takes, part by part. */
#ifndef AT_CLI_BENCH_GENERATE_H
#define AT_CLI_BENCH_GENERATE_H

int at_bench_generate(int argc, char **argv);

#endif
