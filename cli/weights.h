/* weights.h -- what is said about a file of weights: `atelier model show` and `atelier inspect`. */
#ifndef AT_CLI_WEIGHTS_H
#define AT_CLI_WEIGHTS_H

#include "engine/source.h"

typedef enum at_weights_detail { AT_WEIGHTS_SUMMARY, AT_WEIGHTS_TENSORS } at_weights_detail;

void at_weights_print(const at_source *s, const char *path, at_weights_detail detail);
/* The same as JSON, always with the tensors; AT_NO_MEMORY and AT_IO can go wrong. */
at_status at_weights_print_json(const at_source *s, const char *path, at_error *err);

#endif
