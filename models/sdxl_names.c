#include "models/sdxl_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum inside {
    INSIDE_PLAIN,
    INSIDE_RESNET,
    INSIDE_VAE_RESNET,
    INSIDE_VAE_ATTENTION,
    INSIDE_CLIP_LAYER,
    INSIDE_CLIP_PROJECTION
} inside;

typedef struct name_row {
    int part;
    const char *from, *to;
    inside inside;
} name_row;

typedef struct inside_row {
    inside inside;
    const char *from, *to;
    at_sdxl_form form;
} inside_row;

/* A part and a spelling, or a name and a sentence. */
typedef struct text_row {
    int part;
    const char *text, *other;
} text_row;

#define AT_SDXL_PREFIX(PART, prefix) { AT_SDXL_##PART, prefix, NULL },
static const text_row prefixes[] = {
#include "models/sdxl_names.def"
};
#define AT_SDXL_NAME(PART, from, to, INSIDE) { AT_SDXL_##PART, from, to, INSIDE_##INSIDE },
static const name_row names[] = {
#include "models/sdxl_names.def"
};
#define AT_SDXL_INSIDE(INSIDE, from, to, FORM) { INSIDE_##INSIDE, from, to, AT_SDXL_##FORM },
static const inside_row insides[] = {
#include "models/sdxl_names.def"
};
#define AT_SDXL_ALSO(PART, fragment, other) { AT_SDXL_##PART, fragment, other },
static const text_row also[] = {
#include "models/sdxl_names.def"
};
#define AT_SDXL_IGNORED(name, what) { 0, name, what },
static const text_row ignored[] = {
#include "models/sdxl_names.def"
};
#define AT_SDXL_REFUSED(name, why) { 0, name, why },
static const text_row refused[] = {
#include "models/sdxl_names.def"
};

/* --- patterns --------------------------------------------------------------------------------- */

enum { NUMBERS_MAX = 2, DIGITS_MAX = 4 };

typedef struct fit {
    int numbers[NUMBERS_MAX], n;
    const char *rest;
} fit;

static bool fits(const char *pattern, const char *name, fit *f)
{
    *f = (fit){ .rest = "" };
    for (; *pattern && *pattern != '*'; pattern++) {
        if (*pattern != '#') {
            if (*pattern != *name++)
                return false;
            continue;
        }
        const size_t digits = strspn(name, "0123456789");
        if (digits == 0 || digits > DIGITS_MAX || f->n == NUMBERS_MAX)
            return false;
        f->numbers[f->n++] = (int)strtol(name, NULL, 10);
        name += digits;
    }
    f->rest = name;
    return *pattern ? *name != 0 : *name == 0;
}

/* Blocks of a level's list before layer 'layer' of level 'level': going down the first is conv_in,
 * and every level but the last ends with a block of half the size; going up each level has a layer
 * more. */
static int block_down(const at_sdxl_unet_config *c, int level, int layer)
{
    int block = 1 + layer;
    for (int i = 0; i < level && i < c->levels; i++)
        block += c->layers[i] + 1;
    return block;
}

static int block_up(const at_sdxl_unet_config *c, int level, int layer)
{
    int block = layer;
    for (int i = 0; i < level && i < c->levels; i++)
        block += c->layers[c->levels - 1 - i] + 1;
    return block;
}

static int layers_of(const at_sdxl_unet_config *c, int level)
{
    AT_ASSERT(level < c->levels, "level %d of %d", level, c->levels);
    return c->layers[level];
}

static int number_of(char letter, const fit *f, const at_sdxl_sizes *s)
{
    const int level = f->numbers[0], last = s->unet ? s->unet->levels - 1 - level : 0;
    switch (letter) {
    case '1': return level;
    case '2': return f->numbers[1];
    case 'd': return block_down(s->unet, level, f->numbers[1]);
    case 'e': return block_down(s->unet, level, layers_of(s->unet, level));
    case 'u': return block_up(s->unet, level, f->numbers[1]);
    case 'v': return block_up(s->unet, level, layers_of(s->unet, last));
    case 's': return s->unet->up[level][layers_of(s->unet, last)] ? 2 : 1;
    default: return s->vae->levels - 1 - level;
    }
}

/* The text 'to', with numbers and the rest in their places. */
static bool put(char *out, size_t room, const char *to, const fit *f, const char *rest,
                const at_sdxl_sizes *s)
{
    size_t used = 0;
    for (; *to && used < room; to++) {
        if (*to == '$')
            used += (size_t)snprintf(out + used, room - used, "%d", number_of(*++to, f, s));
        else if (*to == '*')
            used += (size_t)snprintf(out + used, room - used, "%s", rest);
        else
            used += (size_t)snprintf(out + used, room - used, "%c", *to);
    }
    return used < room;
}

static bool translate_inside(at_sdxl_name *out, inside which, const char *rest)
{
    fit f;
    out->form = AT_SDXL_AS_IT_IS;
    if (which == INSIDE_PLAIN)
        return (size_t)snprintf(out->text, sizeof out->text, "%s", rest) < sizeof out->text;
    for (size_t i = 0; i < AT_COUNT(insides); i++) {
        if (insides[i].inside != which || !fits(insides[i].from, rest, &f))
            continue;
        out->form = insides[i].form;
        return put(out->text, sizeof out->text, insides[i].to, &f, f.rest, NULL);
    }
    return false;
}

/* --- names ------------------------------------------------------------------------------------ */

bool at_sdxl_name_single(at_sdxl_name *out, at_sdxl_part part, const char *name,
                         const at_sdxl_sizes *sizes)
{
    at_sdxl_name rest;
    fit f;
    for (size_t i = 0; i < AT_COUNT(names); i++) {
        if (names[i].part != (int)part || !fits(names[i].from, name, &f))
            continue;
        if (!translate_inside(&rest, names[i].inside, f.rest))
            return false;
        out->form = rest.form;
        return put(out->text, sizeof out->text, names[i].to, &f, rest.text, sizes);
    }
    return false;
}

bool at_sdxl_name_also(char out[AT_TENSOR_NAME_MAX], at_sdxl_part part, const char *name, int i)
{
    for (size_t k = 0; k < AT_COUNT(also); k++) {
        const char *at = also[k].part == (int)part ? strstr(name, also[k].text) : NULL;
        if (!at || i-- > 0)
            continue;
        const int n = snprintf(out, AT_TENSOR_NAME_MAX, "%.*s%s%s", (int)(at - name), name,
                               also[k].other, at + strlen(also[k].text));
        return n < AT_TENSOR_NAME_MAX;
    }
    return false;
}

const char *at_sdxl_prefix(at_sdxl_part part, int i)
{
    for (size_t k = 0; k < AT_COUNT(prefixes); k++)
        if (prefixes[k].part == (int)part && i-- == 0)
            return prefixes[k].text;
    return NULL;
}

/* --- what is not the model's ------------------------------------------------------------------ */

/* A star in front is any beginning that ends with the point behind it. */
static bool fits_anywhere(const char *pattern, const char *name)
{
    fit f;
    if (*pattern != '*')
        return fits(pattern, name, &f);
    for (const char *at = strchr(name, '.'); at; at = strchr(at + 1, '.'))
        if (fits(pattern + 1, at, &f))
            return true;
    return false;
}

static const char *sentence_of(const text_row *rows, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (fits_anywhere(rows[i].text, name))
            return rows[i].other;
    return NULL;
}

const char *at_sdxl_ignored(const char *name)
{
    return sentence_of(ignored, AT_COUNT(ignored), name);
}

const char *at_sdxl_refused(const char *name)
{
    return sentence_of(refused, AT_COUNT(refused), name);
}
