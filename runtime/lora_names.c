#include "runtime/lora_names.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/arena.h"
#include "kernels/shape.h"
#include "models/layers.h"
#include "models/sdxl_names.h"

enum { SPELLING_MAX = AT_PARAM_NAME_MAX + 32 };

static const char weight[] = ".weight";
static const size_t tail = sizeof weight - 1;

typedef struct spelling {
    const char *text;
    int target;
} spelling;

struct at_lora_names {
    at_arena *arena;
    at_lora_target *targets;
    int n_targets, targets_capacity;
    spelling *spellings; /* in the order of their texts */
    int n_spellings, spellings_capacity;
};

/* --- spellings -------------------------------------------------------------------------------- */

static void AT_PRINTF(2, 3) spell(at_lora_names *names, const char *fmt, ...)
{
    char text[SPELLING_MAX];
    va_list ap;
    va_start(ap, fmt);
    const int written = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    AT_ASSERT(written > 0 && (size_t)written < sizeof text, "the name '%s' is too long", text);
    names->spellings = at_grow(names->spellings, names->n_spellings, &names->spellings_capacity,
                               sizeof *names->spellings);
    names->spellings[names->n_spellings++] =
        (spelling){ at_arena_text(names->arena, text), names->n_targets - 1 };
}

static void spell_kohya(at_lora_names *names, const char *prefix, const char *module)
{
    char text[SPELLING_MAX];
    snprintf(text, sizeof text, "%s", module);
    for (char *at = text; *at; at++)
        if (*at == '.')
            *at = '_';
    spell(names, "%s_%s", prefix, text);
}

/* What diffusers wrote before PEFT: a processor's projections, "to_out" without its number. */
static void spell_processor(at_lora_names *names, const char *module)
{
    const char *attention = strstr(module, ".attn");
    if (!attention)
        return;
    const size_t begin = (size_t)(attention - module) + strlen(".attn1");
    const char *end = module + begin;
    spell(names, "unet.%.*s.processor%s", (int)begin, module,
          strcmp(end, ".to_out.0") ? end : ".to_out");
}

/* Some of kohya's scripts have the names of single files. */
static void spell_unet(at_lora_names *names, const at_sdxl_unet_config *c, const at_param *p,
                       const char *module)
{
    const at_sdxl_sizes sizes = { .unet = c };
    at_sdxl_name single;
    spell_kohya(names, "lora_unet", module);
    spell_processor(names, module);
    if (!at_sdxl_name_single(&single, AT_SDXL_UNET, p->name, &sizes))
        return;
    single.text[strlen(single.text) - tail] = 0;
    spell_kohya(names, "lora_unet", single.text);
}

/* diffusers' older names are the UNet's. */
static void spell_text(at_lora_names *names, at_sdxl_part part, const char *module)
{
    static const struct {
        const char *ours, *theirs;
    } old[] = {
        { "q_proj", "to_q" }, { "k_proj", "to_k" }, { "v_proj", "to_v" }, { "out_proj", "to_out" }
    };
    const char *part_name = at_sdxl_part_name(part);
    char other[AT_TENSOR_NAME_MAX];
    for (int i = 0; at_sdxl_name_also(other, part, module, i); i++)
        spell(names, "%s.%s", part_name, other);
    if (part == AT_SDXL_TEXT_1)
        spell_kohya(names, "lora_te", module);
    spell_kohya(names, part == AT_SDXL_TEXT_1 ? "lora_te1" : "lora_te2", module);
    const char *last = strrchr(module, '.');
    for (size_t i = 0; last && i < AT_COUNT(old); i++)
        if (!strcmp(last + 1, old[i].ours))
            spell(names, "%s.%.*s.%s", part_name, (int)(last - module), module, old[i].theirs);
}

/* --- the weights ------------------------------------------------------------------------------ */

/* Matrices and convolutions; what is looked up by its row is no target. */
static void add_target(at_lora_names *names, const at_sdxl_about *model, at_sdxl_part part,
                       const at_param *p)
{
    const size_t bytes = strlen(p->name);
    const int64_t *size = p->view.size;
    if (p->view.rank < 2 || bytes <= tail || strcmp(p->name + bytes - tail, weight) ||
        strstr(p->name, "embeddings."))
        return;
    char name[SPELLING_MAX], module[AT_PARAM_NAME_MAX];
    const char *part_name = at_sdxl_part_name(part);
    snprintf(name, sizeof name, "%s.%s", part_name, p->name);
    snprintf(module, sizeof module, "%.*s", (int)(bytes - tail), p->name);
    names->targets =
        at_grow(names->targets, names->n_targets, &names->targets_capacity, sizeof *names->targets);
    at_lora_target *t = &names->targets[names->n_targets++];
    *t = (at_lora_target){
        .name = at_arena_text(names->arena, name),
        .module_bytes = bytes - tail,
        .part = part,
        .rows = size[0],
        .cols = size[1],
        .kernel = p->view.rank == 4 ? size[2] : 1,
    };
    t->module = t->name + strlen(part_name) + 1;
    spell(names, "%s.%s", part_name, module);
    if (part == AT_SDXL_UNET)
        spell_unet(names, &model->unet, p, module);
    else
        spell_text(names, part, module);
}

/* In a store without a device: there are names and sizes only. */
static at_status add_unet(at_lora_names *names, const at_sdxl_about *model, at_params *store,
                          at_error *err)
{
    at_sdxl_unet *m;
    AT_TRY(at_sdxl_unet_new(&m, store, &model->unet, AT_BF16, err));
    for (int i = 0; i < at_sdxl_unet_params(m); i++)
        add_target(names, model, AT_SDXL_UNET, at_sdxl_unet_param(m, i));
    at_sdxl_unet_free(m);
    return AT_OK;
}

static at_status add_text(at_lora_names *names, const at_sdxl_about *model, int i, at_params *store,
                          at_error *err)
{
    at_clip_text *m;
    AT_TRY(at_clip_text_new(&m, store, &model->text[i], AT_BF16, err));
    for (int k = 0; k < at_clip_text_params(m); k++)
        add_target(names, model, i ? AT_SDXL_TEXT_2 : AT_SDXL_TEXT_1, at_clip_text_param(m, k));
    at_clip_text_free(m);
    return AT_OK;
}

static at_status add_parts(at_lora_names *names, const at_sdxl_about *model, at_params *store,
                           at_error *err)
{
    if (model->has[AT_SDXL_UNET])
        AT_TRY(add_unet(names, model, store, err));
    if (model->has[AT_SDXL_TEXT_1])
        AT_TRY(add_text(names, model, 0, store, err));
    if (model->has[AT_SDXL_TEXT_2])
        AT_TRY(add_text(names, model, 1, store, err));
    return AT_OK;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(((const spelling *)a)->text, ((const spelling *)b)->text);
}

/* Two layers of one spelling would be a mistake in this file: names come from configurations, of
 * which only numbers are the outside's. */
static void sort_spellings(at_lora_names *names)
{
    spelling *s = names->spellings;
    if (s)
        qsort(s, (size_t)names->n_spellings, sizeof *s, by_text);
    for (int i = 1; i < names->n_spellings; i++)
        AT_ASSERT(strcmp(s[i - 1].text, s[i].text) || s[i - 1].target == s[i].target,
                  "'%s' is the name of two weights, %s and %s", s[i].text,
                  names->targets[s[i - 1].target].name, names->targets[s[i].target].name);
}

at_status at_lora_names_new(at_lora_names **out, const at_sdxl_about *model, at_error *err)
{
    *out = NULL;
    at_lora_names *names = calloc(1, sizeof *names);
    at_params *store = at_params_new(NULL);
    at_status status = AT_OK;
    if (!names || !(names->arena = at_arena_try_new()))
        status = at_fail(err, AT_NO_MEMORY, "no memory for the names of adapters");
    if (status == AT_OK)
        status = add_parts(names, model, store, err);
    at_params_free(store);
    if (status != AT_OK) {
        at_lora_names_free(names);
        return status;
    }
    sort_spellings(names);
    *out = names;
    return AT_OK;
}

void at_lora_names_free(at_lora_names *names)
{
    if (!names)
        return;
    free(names->targets);
    free(names->spellings);
    at_arena_free(names->arena);
    free(names);
}

int at_lora_targets(const at_lora_names *names)
{
    return names->n_targets;
}

const at_lora_target *at_lora_target_at(const at_lora_names *names, int i)
{
    AT_ASSERT(i >= 0 && i < names->n_targets, "weight %d of %d", i, names->n_targets);
    return &names->targets[i];
}

int at_lora_target_named(const at_lora_names *names, const char *text, size_t bytes)
{
    int low = 0, high = names->n_spellings;
    while (low < high) {
        const int mid = low + (high - low) / 2;
        const char *there = names->spellings[mid].text;
        int order = strncmp(there, text, bytes);
        if (!order && !there[bytes])
            return names->spellings[mid].target;
        if (!order)
            order = 1; /* it goes on where the text has ended */
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return -1;
}
