/* model_run.h -- atelier model run: a part of a model by itself. */
#ifndef AT_CLI_MODEL_RUN_H
#define AT_CLI_MODEL_RUN_H

int at_model_run(int argc, char **argv);

#endif
