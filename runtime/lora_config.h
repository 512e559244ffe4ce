/* lora_config.h -- what PEFT says about an adapter beside its matrices: rank and alpha, for all
 * layers and for some by pattern.
 *
 * diffusers keeps it in the file's metadata, each key with its part before it ("unet.r"), PEFT in
 * an adapter_config.json. What would change weights in a way that is not known here is refused by
 * its key. Texts are resolved into the arena and live as long. */
#ifndef AT_RUNTIME_LORA_CONFIG_H
#define AT_RUNTIME_LORA_CONFIG_H

#include "engine/arena.h"

enum {
    AT_LORA_CONFIG_BYTES_MAX = 1 << 20,
    AT_LORA_PATTERNS_MAX = 1 << 13,
    AT_LORA_PATTERN_BYTES_MAX = 256
};

/* The module names that it fits end with 'text', at a dot, or are 'text'. */
typedef struct at_lora_pattern {
    const char *text;
    size_t bytes;
    bool whole;
    double value;
} at_lora_pattern;

typedef struct at_lora_patterns {
    at_lora_pattern *items; /* the first that fits counts */
    int count, capacity;
} at_lora_patterns;

typedef struct at_lora_config {
    bool there; /* else all layers have what their matrices say, and alpha is the rank */
    double rank, alpha;
    bool by_root; /* rank-stabilised: alpha is divided by the root of the rank */
    at_lora_patterns ranks, alphas;
} at_lora_config;

/* Members whose names begin with 'prefix' ("unet."; "" takes all), as PEFT understands them.
 * Sentences begin with 'what'. at_lora_config_free() in any case. */
at_status at_lora_config_read(at_lora_config *c, at_arena *arena, const char *what,
                              const char *prefix, const char *json, size_t bytes, at_error *err);
void at_lora_config_free(at_lora_config *c);
/* The value of the first pattern that fits a module, or 'otherwise'. */
double at_lora_pattern_value(const at_lora_patterns *p, const char *module, size_t bytes,
                             double otherwise);

#endif
