/* planned.h -- what `atelier plan` looks at: the graphs of a model, or of whole pictures, with how
 * often each runs, the bytes of their plans, and what they must cost on a GPU.
 *
 * It owns all of it but the device, which is one of engine/device_paper.h or has memory for the
 * parameters, whose contents nobody needs. */
#ifndef AT_CLI_PLANNED_H
#define AT_CLI_PLANNED_H

#include "engine/budget.h"
#include "engine/plan.h"
#include "models/sdxl.h"
#include "models/sdxl_unet.h"
#include "models/sdxl_vae.h"

typedef enum at_planned_model {
    AT_PLANNED_UNET, /* a step, and what is made of the text before the first */
    AT_PLANNED_VAE,  /* both halves */
    AT_PLANNED_SDXL, /* pictures from text */
} at_planned_model;

typedef struct at_planned_request {
    at_planned_model model;
    int64_t width, height, batch; /* pictures at once */
    int steps;
    bool guidance; /* two rows a picture instead of one */
    at_dtype dtype;
    bool exact;
    const at_sdxl_about *about; /* a file's; NULL: SDXL base */
} at_planned_request;

/* The same as a command's words. */
typedef struct at_planned_words {
    const char *model, *size, *guidance, *dtype, *mode;
    int batch, steps;
    const at_sdxl_about *about; /* of the file that 'model' is; NULL: it is a name */
} at_planned_words;

enum { AT_PLANNED_SIDE_MAX = 4096, AT_PLANNED_BATCH_MAX = 64, AT_PLANNED_STEPS_MAX = 1000 };

/* Options of cli/command.h that fill in words 'w', whose defaults are at_planned_usual. */
/* clang-format off */
#define AT_PLANNED_OPTIONS(w) \
    { "--size", AT_OPTION_TEXT, &(w)->size, 0, 0, "WxH", \
      "of the picture; one number for a square (1024)" }, \
    { "--batch", AT_OPTION_INT, &(w)->batch, 1, AT_PLANNED_BATCH_MAX, "N", \
      "pictures at once (1)" }, \
    { "--steps", AT_OPTION_INT, &(w)->steps, 1, AT_PLANNED_STEPS_MAX, "N", "of a picture (30)" }, \
    { "--guidance", AT_OPTION_TEXT, &(w)->guidance, 0, 0, "yes|no", \
      "two rows for each picture, or one (yes)" }, \
    { "--dtype", AT_OPTION_TEXT, &(w)->dtype, 0, 0, "TYPE", \
      "f32, bf16, f16, or f8 for the UNet's products (bf16)" }, \
    { "--mode", AT_OPTION_TEXT, &(w)->mode, 0, 0, "MODE", \
      "exact: a picture's bytes never depend on its batch; or fast (exact)" }
/* clang-format on */
extern const at_planned_words at_planned_usual;
/* Whether there is a model of this name; another may be a file's. */
bool at_planned_knows(const char *model);
at_status at_planned_read(at_planned_request *r, const at_planned_words *w, at_error *err);

typedef struct at_planned_part {
    const char *name, *what;
    double runs;     /* for all pictures of the batch */
    at_graph *graph; /* NULL: only estimated */
    at_plan_bytes bytes;
    at_budget *budget; /* NULL until priced, or without a graph */
    double seconds;    /* of one run, expected */
} at_planned_part;

enum { AT_PLANNED_PARTS_MAX = 5 };

typedef struct at_planned {
    at_planned_request request;
    at_params *store;
    at_sdxl_unet *unet;
    at_sdxl_vae *vae;
    at_planned_part parts[AT_PLANNED_PARTS_MAX];
    int n_parts;
} at_planned;

/* The graphs. Zeroed before, or freed; freed by the caller after a failure too. */
at_status at_planned_describe(at_planned *p, const at_planned_request *r, at_device *device,
                              at_error *err);
/* A plan for each graph, for its bytes. */
at_status at_planned_plan(at_planned *p, at_error *err);
/* Budgets, in place of those that were there. */
at_status at_planned_price(at_planned *p, const at_gpu *gpu, const at_budget_options *options,
                           at_error *err);
void at_planned_free(at_planned *p);

/* Of all pictures of the batch. */
double at_planned_seconds(const at_planned *p);
/* The same with what was measured in place of what was expected of those calls. */
double at_planned_measured_seconds(const at_planned *p);
at_planned_part *at_planned_part_named(at_planned *p, const char *name); /* NULL: none */

#endif
