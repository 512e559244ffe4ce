/* sdxl_wanted.h -- what a part of SDXL needs: every tensor's name and sizes, as the model's visitor
 * says, without taking the memory.
 *
 * They come in the order in which a file should hold them: what is computed as one, because it lies
 * in one storage (q | k | v), stands side by side in the order of that storage, so that a loader
 * finds it there as a whole. The list belongs to the caller. Any thread. */
#ifndef AT_MODELS_SDXL_WANTED_H
#define AT_MODELS_SDXL_WANTED_H

#include "models/sdxl.h"

enum { AT_SDXL_RANK_MAX = 4 };

typedef struct at_sdxl_wanted {
    const char *name; /* without its part */
    int64_t size[AT_SDXL_RANK_MAX];
    int rank;
} at_sdxl_wanted;

typedef struct at_sdxl_wanted_list {
    at_sdxl_wanted *items;
    int count;
    char *names; /* where the names lie */
} at_sdxl_wanted_list;

/* What a file has to say about a part to be read. */
typedef struct at_sdxl_configs {
    at_sdxl_unet_config unet;
    at_sdxl_vae_config vae;
    at_clip_text_config text[2];
} at_sdxl_configs;

/* Of a part whose configuration is filled in. To be freed after a failure too. */
at_status at_sdxl_wanted_of(at_sdxl_wanted_list *out, at_sdxl_part part,
                            const at_sdxl_configs *configs, at_error *err);
void at_sdxl_wanted_free(at_sdxl_wanted_list *list);

/* The text of its config.json into its configuration; UNets need the second text encoder's to be
 * there. Sentences begin with 'what'. */
at_status at_sdxl_configs_read(at_sdxl_configs *configs, at_sdxl_part part, const char *json,
                               size_t bytes, const char *what, at_error *err);

#endif
