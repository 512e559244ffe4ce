/* model.h -- what the files that draw share of a model: its device, its parts as they come and go,
 * its plans.
 *
 * A part is loaded before a plan is asked for, and its plans end with it. One thread at a time. */
#ifndef AT_RUNTIME_MODEL_H
#define AT_RUNTIME_MODEL_H

#include "engine/plan.h"
#include "models/sdxl.h"
#include "runtime/atelier.h"
#include "runtime/lora.h"

/* Plans of a part that are kept, and the bytes of their keys. */
enum { AT_MODEL_PLANS_MAX = 8, AT_MODEL_KEY_MAX = 96 };

struct at_model {
    at_device *device;
    at_sdxl *sdxl;
    at_model_options options;
    at_tuning *tuning; /* or NULL */
    char *path;
    at_dtype dtype; /* of weights and layers */
    bool exact, owns_device;
    at_plan_cache *plans[AT_SDXL_PARTS];
    uint64_t adapters[AT_SDXL_PARTS]; /* that a loaded part has in its weights: at_model_adapters */
    double load_seconds;              /* spent on loading, in all */
    const at_drawing *drawing;        /* that is under way */
    char fitted[AT_MODEL_KEY_MAX];    /* what was last found to fit into memory: fits.c */
};

/* at_model_open() on a device that is the caller's and outlives the model. */
AT_API at_status at_model_open_on(at_model **out, const char *path, at_device *device,
                                  const at_model_options *options, at_error *err);

/* Low-rank updates and the number that names their files and weights; NULL and 0: none. */
typedef struct at_model_adapters {
    at_loras *list;
    uint64_t name;
} at_model_adapters;

/* Makes a part ready in this type, with these updates and no others. */
at_status at_model_load(at_model *m, at_sdxl_part part, at_dtype dtype,
                        const at_model_adapters *adapters, at_error *err);
/* Frees a part's plans and its weights. */
void at_model_drop(at_model *m, at_sdxl_part part);
/* The same, unless the model keeps its parts. */
void at_model_done(at_model *m, at_sdxl_part part);

/* Appends a part's nodes to a graph. */
typedef void at_model_describe(const at_model *m, at_graph *g, const void *what);
/* The committed plan of that key, made if need be. It lives as long as the part, or until others
 * of the part take its place. */
at_status at_model_plan(at_model *m, at_sdxl_part part, const char *key,
                        at_model_describe *describe, const void *what, at_plan **plan,
                        at_error *err);

/* Fails with a sentence: 'what' is not finite, and which node of the plan, run once more, makes the
 * first such number. */
at_status at_model_not_finite(at_plan *plan, const char *what, at_error *err);

AT_PRINTF(2, 3) void at_model_warn(const at_model *m, const char *fmt, ...);

#endif
