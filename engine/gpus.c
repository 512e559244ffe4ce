#include "engine/gpus.h"

#include <stdio.h>
#include <string.h>

/* One row of gpus.def: a GPU, or a figure of the last one before it. */
typedef struct row {
    const char *name, *title;
    int sm;
    at_figure_kind kind;
    at_figure figure;
} row;

static const row rows[] = {
#define AT_GPU(name, title, sm) { #name, title, sm, AT_FIGURE_KINDS, { 0 } },
#define AT_FIGURE(KIND, value, ORIGIN, text) \
    { .kind = AT_FIGURE_##KIND, .figure = { value, AT_##ORIGIN, text } },
#include "engine/gpus.def"
#undef AT_GPU
#undef AT_FIGURE
};

static const at_figure_info infos[] = {
#define AT_FIGURE_KIND(NAME, unit, size, name) { name, unit, size },
#include "engine/figures.def"
#undef AT_FIGURE_KIND
};

const char *at_origin_name(at_origin origin)
{
    static const char *const names[] = { "assumed", "data sheet", "measured", "goal" };
    return names[origin];
}

at_figure_info at_figure_about(at_figure_kind kind)
{
    return infos[kind];
}

bool at_gpu_at(int i, at_gpu *out)
{
    int seen = -1;
    *out = (at_gpu){ 0 };
    for (size_t r = 0; r < AT_COUNT(rows) && seen <= i; r++) {
        seen += rows[r].name != NULL;
        if (seen == i && rows[r].name)
            *out = (at_gpu){ .name = rows[r].name, .title = rows[r].title, .sm = rows[r].sm };
        else if (seen == i)
            out->figures[rows[r].kind] = rows[r].figure;
    }
    return out->name != NULL;
}

bool at_gpu_named(const char *name, at_gpu *out)
{
    for (int i = 0; at_gpu_at(i, out); i++)
        if (!strcmp(out->name, name))
            return true;
    return false;
}

void at_gpu_names(char *text, size_t text_size)
{
    at_gpu gpu, next;
    size_t used = 0;
    for (int i = 0; at_gpu_at(i, &gpu) && used < text_size; i++) {
        const char *before = !i ? "" : at_gpu_at(i + 1, &next) ? ", " : " or ";
        int n = snprintf(text + used, text_size - used, "%s%s", before, gpu.name);
        used += n > 0 ? (size_t)n : 0;
    }
}
