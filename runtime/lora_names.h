/* lora_names.h -- the weights of a model that adapters change, by every name adapters give them.
 *
 * A module is a layer with a weight, "down_blocks.1...attn1.to_q". diffusers puts the part before
 * it and a dot between, kohya's scripts a word of their own and underscores; for the UNet they also
 * use the names of single files. All spellings of a model are made once and then found by binary
 * search. Reading is for any number of threads. */
#ifndef AT_RUNTIME_LORA_NAMES_H
#define AT_RUNTIME_LORA_NAMES_H

#include "models/sdxl.h"

/* A weight as a matrix: (rows, cols), or (rows, cols, kernel, kernel). */
typedef struct at_lora_target {
    const char *name;   /* "unet.down_blocks.0.conv.weight", what at_weight_change is asked about */
    const char *module; /* the same without part and ".weight" */
    size_t module_bytes;
    at_sdxl_part part;
    int64_t rows, cols, kernel; /* kernel 1: a linear layer, or a convolution like one */
} at_lora_target;

typedef struct at_lora_names at_lora_names;

at_status at_lora_names_new(at_lora_names **out, const at_sdxl_about *model, at_error *err);
void at_lora_names_free(at_lora_names *names);
int at_lora_targets(const at_lora_names *names);
const at_lora_target *at_lora_target_at(const at_lora_names *names, int i);
/* The weight of a module, -1: no module is spelled so. */
int at_lora_target_named(const at_lora_names *names, const char *spelling, size_t bytes);

#endif
