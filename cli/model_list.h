/* model_list.h -- atelier model list: what is found by its name. */
#ifndef AT_CLI_MODEL_LIST_H
#define AT_CLI_MODEL_LIST_H

int at_model_list(int argc, char **argv);

#endif
