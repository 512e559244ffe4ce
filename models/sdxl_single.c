/* sdxl_single.c -- all parts in one file, as Stability published SDXL and most others keep it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/shape.h"
#include "models/sdxl_import_own.h"
#include "models/sdxl_scheduler.h"

/* Whether there is something of use under a prefix. */
static bool has_prefix(const at_tensors *list, const char *prefix)
{
    for (int i = 0; i < list->count; i++)
        if (!strncmp(list->items[i].name, prefix, strlen(prefix)) &&
            !at_sdxl_ignored(list->items[i].name))
            return true;
    return false;
}

static at_status check_refused(const at_tensors *list, at_error *err)
{
    for (int i = 0; i < list->count; i++) {
        const char *why = at_sdxl_refused(list->items[i].name);
        if (why)
            return at_fail(err, AT_UNSUPPORTED, "tensor '%.200s' tells that %s",
                           list->items[i].name, why);
    }
    return AT_OK;
}

/* What a file that is ours says of itself; others have their trainers' words there. */
static at_status take_texts(at_sdxl_import *m, const at_tensors *list, at_error *err)
{
    for (int i = 0; i < list->text_count; i++) {
        const at_text *t = &list->texts[i];
        if (strcmp(t->name, "format") != 0)
            AT_TRY(at_sdxl_import_text(m, t->name, t->data, t->bytes, err));
    }
    return AT_OK;
}

static bool take_mark(at_sdxl_import *m, const at_tensors *list, int source, const char *name)
{
    const int i = at_tensors_find(list, name);
    if (i >= 0)
        m->used[source][i] = true;
    return i >= 0;
}

/* Empty tensors that say what the model predicts, and that it was trained down to pure noise. */
static at_status write_scheduler(at_sdxl_import *m, const at_tensors *list, int source,
                                 at_error *err)
{
    static const char *const texts[2][2] = {
        { AT_SDXL_SCHEDULER("epsilon", "false"), AT_SDXL_SCHEDULER("epsilon", "true") },
        { AT_SDXL_SCHEDULER("v_prediction", "false"), AT_SDXL_SCHEDULER("v_prediction", "true") },
    };
    const bool v = take_mark(m, list, source, "v_pred");
    const char *text = texts[v][take_mark(m, list, source, "ztsnr")];
    return at_sdxl_import_text(m, "scheduler/scheduler_config.json", text, strlen(text), err);
}

/* Old VAEs of a file whose VAE is another's are nobody's. */
static void pass_over(at_sdxl_import *m, const at_tensors *list, int source, at_sdxl_part part)
{
    const char *prefix;
    for (int k = 0; (prefix = at_sdxl_prefix(part, k)); k++)
        for (int i = 0; i < list->count; i++)
            if (!strncmp(list->items[i].name, prefix, strlen(prefix)))
                m->used[source][i] = true;
}

at_status at_sdxl_import_single(at_sdxl_import *m, at_source *file, at_error *err)
{
    const at_tensors *list = &file->list;
    int source;
    AT_TRY(at_sdxl_import_take(m, file, &source, err));
    AT_TRY(check_refused(list, err));
    AT_TRY(take_texts(m, list, err));
    AT_TRY(write_scheduler(m, list, source, err));
    for (int i = 0; i < AT_SDXL_PARTS; i++) {
        const at_sdxl_part part = (at_sdxl_part)i;
        const char *prefix;
        int k = 0;
        if (part == AT_SDXL_VAE && m->vae_replaced) {
            pass_over(m, list, source, part);
            continue;
        }
        while ((prefix = at_sdxl_prefix(part, k)) && !has_prefix(list, prefix))
            k++;
        if (!prefix)
            continue;
        m->has[i] = true;
        m->source[i] = source;
        m->places[i] = (at_sdxl_place){
            .list = list, .part = part, .layout = AT_SDXL_SINGLE, .prefix = prefix
        };
    }
    return AT_OK;
}
