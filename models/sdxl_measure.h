/* sdxl_measure.h -- the configuration of a part that comes without one, as in single files: read
 * off the names and sizes of its tensors, the rest being SDXL's.
 *
 * What is measured is only looked at where it stands; whoever uses a configuration compares every
 * tensor with what it asks for. Any thread. */
#ifndef AT_MODELS_SDXL_MEASURE_H
#define AT_MODELS_SDXL_MEASURE_H

#include "models/sdxl_names.h"
#include "models/sdxl_wanted.h"

typedef enum at_sdxl_layout { AT_SDXL_DIFFUSERS, AT_SDXL_SINGLE } at_sdxl_layout;

/* Where a part's tensors are: in a list, under names of that layout behind that prefix. */
typedef struct at_sdxl_place {
    const at_tensors *list;
    at_sdxl_part part;
    at_sdxl_layout layout;
    const char *prefix;
    at_sdxl_sizes sizes; /* of single files, where names depend on them */
} at_sdxl_place;

/* The tensor that holds what diffusers calls 'name', and how; -1: there is none. 'form' may be
 * NULL. */
int at_sdxl_find(const at_sdxl_place *place, const char *name, at_sdxl_form *form);

/* What the file calls it, if it has it: for sentences. */
void at_sdxl_spell(const at_sdxl_place *place, const char *name, char out[AT_TENSOR_NAME_MAX]);

/* Fills the configuration of place->part; a UNet needs the second text encoder's. UNets have to be
 * in the single file's layout: in diffusers' they have a config.json. */
at_status at_sdxl_measure(at_sdxl_configs *configs, const at_sdxl_place *place, at_error *err);

#endif
