/* gpus.h -- what is known of GPUs that need not be here: figures for budgets, each with where it
 * comes from. All constant data (gpus.def); any thread. */
#ifndef AT_ENGINE_GPUS_H
#define AT_ENGINE_GPUS_H

#include "kernels/base.h"

typedef enum at_figure_kind {
#define AT_FIGURE_KIND(NAME, unit, size, name) AT_FIGURE_##NAME,
#include "engine/figures.def"
#undef AT_FIGURE_KIND
    AT_FIGURE_KINDS
} at_figure_kind;

/* Where a number comes from. */
typedef enum at_origin { AT_ASSUMED, AT_DATASHEET, AT_MEASURED, AT_GOAL } at_origin;
AT_API const char *at_origin_name(at_origin origin);

/* Bytes, bytes a second, FLOPs a second (2 a multiplication), seconds, or a count. */
typedef struct at_figure {
    double value; /* 0: it has none, as f8 on an A100 */
    at_origin origin;
    const char *how;
} at_figure;

typedef struct at_gpu {
    const char *name, *title;
    int sm; /* compute capability, 90 for 9.0 */
    at_figure figures[AT_FIGURE_KINDS];
} at_gpu;

AT_API bool at_gpu_at(int i, at_gpu *out); /* false past the end */
AT_API bool at_gpu_named(const char *name, at_gpu *out);
/* "h200, h100 or a100" */
AT_API void at_gpu_names(char *text, size_t text_size);

typedef struct at_figure_info {
    const char *name, *unit;
    double size; /* of the unit */
} at_figure_info;
AT_API at_figure_info at_figure_about(at_figure_kind kind);

#endif
