#include "runtime/parameters.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/json_write.h"
#include "engine/tensors.h"
#include "kernels/shape.h"
#include "runtime/sampler.h"

/* --- writing ---------------------------------------------------------------------------------- */

/* The text as it grows; 'w' spells its numbers and its quoted strings. */
typedef struct page {
    char *text;
    size_t bytes, room;
    bool listed; /* a name and its value stand on the last line */
    at_status status;
} page;

static void put(page *p, const char *text, size_t bytes)
{
    if (p->status == AT_OK && bytes > AT_PARAMETERS_BYTES_MAX - p->bytes)
        p->status = AT_INVALID;
    if (p->status == AT_OK && p->bytes + bytes >= p->room) {
        const size_t room = 2 * p->room + bytes + 256;
        char *grown = realloc(p->text, room);
        p->status = grown ? AT_OK : AT_NO_MEMORY;
        p->text = grown ? grown : p->text;
        p->room = grown ? room : p->room;
    }
    if (p->status != AT_OK)
        return;
    memcpy(p->text + p->bytes, text, bytes);
    p->bytes += bytes;
    p->text[p->bytes] = 0;
}

static void put_line(page *p, const char *text)
{
    put(p, text, strlen(text));
}

static void put_name(page *p, const char *name)
{
    put_line(p, p->listed ? ", " : "");
    put_line(p, name);
    put_line(p, ": ");
    p->listed = true;
}

/* What a writer made of a value; frees the writer. */
static void put_written(page *p, at_json_writer *w)
{
    const at_status status = at_json_write_end(w, NULL);
    if (status == AT_OK)
        put(p, w->text, w->bytes);
    else
        p->status = p->status == AT_OK ? status : p->status;
    at_json_writer_free(w);
}

/* As A1111's quote() has it. */
static void put_text(page *p, const char *name, const char *text)
{
    put_name(p, name);
    if (!strpbrk(text, ",:\n")) {
        put_line(p, text);
        return;
    }
    at_json_writer w = { .bytes_max = AT_PARAMETERS_BYTES_MAX };
    at_json_write_string(&w, text, strlen(text));
    put_written(p, &w);
}

static void put_real(page *p, const char *name, double value)
{
    at_json_writer w = { .bytes_max = 64 };
    put_name(p, name);
    at_json_write_real(&w, value);
    put_written(p, &w);
}

static void put_uint(page *p, const char *name, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    put_name(p, name);
    put_line(p, text);
}

/* A model's name without its ending, which A1111 leaves out. */
static void put_model(page *p, const char *name, const char *file)
{
    char text[256];
    const char *dot = strrchr(file, '.');
    const size_t n = dot && dot > file ? (size_t)(dot - file) : strlen(file);
    snprintf(text, sizeof text, "%.*s", (int)(n < sizeof text ? n : sizeof text - 1), file);
    put_text(p, name, text);
}

/* A name of samplers.def as A1111 has it, and the sigmas it takes. */
static void put_sampler(page *p, const at_request *r, const char *name)
{
    static const struct {
        const char *ours, *theirs;
    } types[] = { { "karras", "Karras" }, { "exponential", "Exponential" }, { "beta", "Beta" } };
    at_sampler sampler;
    const char *type = "Automatic";
    const bool known = at_sampler_named(&sampler, name, NULL) == AT_OK;
    if (known && (at_sampler_at(sampler)->options & AT_SAMPLER_KARRAS))
        type = "Karras";
    for (size_t i = 0; i < AT_COUNT(types) && r->sigmas; i++)
        if (!strcmp(r->sigmas, types[i].ours))
            type = types[i].theirs;
    put_text(p, "Sampler", known ? at_sampler_at(sampler)->a1111 : name);
    put_text(p, "Schedule type", type);
}

static void put_over(page *p, const at_request *r)
{
    if (!r->picture)
        return;
    put_real(p, "Denoising strength", r->strength);
    if (r->mask && r->mask_blur > 0)
        put_real(p, "Mask blur", r->mask_blur);
    if (r->mask && r->only_masked >= 0) {
        put_text(p, "Inpaint area", "Only masked");
        put_uint(p, "Masked area padding", (uint64_t)r->only_masked);
    }
}

static void put_loras(page *p, const at_request *r)
{
    page list = { 0 };
    for (int i = 0; i < r->n_loras; i++) {
        const char *slash = strrchr(r->loras[i].path, '/');
        char name[256];
        snprintf(name, sizeof name, "%s", slash ? slash + 1 : r->loras[i].path);
        if (strrchr(name, '.'))
            *strrchr(name, '.') = 0;
        put_real(&list, name, r->loras[i].weight);
    }
    if (list.status == AT_OK && list.text)
        put_text(p, "Lora weights", list.text);
    p->status = p->status == AT_OK ? list.status : p->status;
    free(list.text);
}

/* A1111 draws with the GPU's generator unless it says otherwise; ours are torch's of the CPU and
 * what it calls NV. */
static const char *rng_of(const char *rng)
{
    if (!rng || !strcmp(rng, "torch"))
        return "CPU";
    return !strcmp(rng, "a1111") ? "NV" : rng;
}

/* CLIP's last layer but one is what SDXL takes, which A1111 and others count as 2. */
static void put_settings(page *p, const at_request *r, const at_recipe_facts *f)
{
    char size[48];
    snprintf(size, sizeof size, "%" PRId64 "x%" PRId64, f->width, f->height);
    put_uint(p, "Steps", (uint64_t)(r->steps > 0 ? r->steps : 0));
    put_sampler(p, r, f->sampler);
    put_real(p, "CFG scale", r->guidance);
    put_uint(p, "Seed", f->seed);
    put_text(p, "Size", size);
    put_text(p, "Model hash", f->model_hash);
    put_model(p, "Model", f->model);
    put_over(p, r);
    if (r->clip_skip > 0)
        put_uint(p, "Clip skip", (uint64_t)r->clip_skip + 2);
    put_text(p, "RNG", rng_of(r->rng));
    if (r->guidance_rescale > 0)
        put_real(p, "CFG Rescale", r->guidance_rescale);
    if (f->refiner) {
        put_model(p, "Refiner", f->refiner);
        put_real(p, "Refiner switch at", r->refine_from);
    }
    put_loras(p, r);
    put_text(p, "Version", "atelier " AT_VERSION);
}

at_status at_parameters_write(char **out, const at_request *r, const at_recipe_facts *facts,
                              at_error *err)
{
    page p = { 0 };
    const char *prompt = r->prompt ? r->prompt : "";
    put_line(&p, prompt);
    if (r->negative && *r->negative) {
        put_line(&p, *prompt ? "\nNegative prompt: " : "Negative prompt: ");
        put_line(&p, r->negative);
    }
    put_line(&p, p.bytes > 0 ? "\n" : "");
    put_settings(&p, r, facts);
    if (p.status == AT_OK) {
        *out = p.text;
        return AT_OK;
    }
    free(p.text);
    if (p.status == AT_NO_MEMORY)
        return at_fail(err, p.status, "no memory for the picture's parameters");
    return at_fail(
        err, p.status,
        "the picture's parameters: expected UTF-8 of at most %d bytes and finite numbers",
        AT_PARAMETERS_BYTES_MAX);
}

/* --- reading ---------------------------------------------------------------------------------- */

enum { NAME_BYTES_MAX = 64, ITEMS_LEAST = 3 };

static bool is_name_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (unsigned char)c >= 0x80;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f' || c == '\v';
}

/* The end of a quoted value that begins at p, behind its closing quote; NULL: it is none. */
static char *quoted_end(char *p)
{
    if (*p != '"')
        return NULL;
    char *q = p + 1;
    while (*q && *q != '"' && *q != '\n')
        q += *q == '\\' && q[1] && q[1] != '\n' ? 2 : 1;
    return *q == '"' && q > p + 1 && (!q[1] || q[1] == ',') ? q + 1 : NULL;
}

/* One "name: value," at p, as A1111's pattern finds them; where the next may begin, or NULL: the
 * text ends. 'name' is NULL where there was none. */
static char *find_item(char *p, char **name, char **name_end, char **value, char **value_end)
{
    *name = NULL;
    while (is_blank(*p))
        p++;
    if (!*p)
        return NULL;
    char *q = p;
    while (q < p + NAME_BYTES_MAX && *q && (is_name_character(*q) || (q > p && strchr(" -/", *q))))
        q++;
    if (q < p + 2 || *q != ':')
        return p + 1;
    *name = p;
    *name_end = q++;
    while (is_blank(*q))
        q++;
    *value = q;
    char *end = quoted_end(q);
    *value_end = end ? end : q + strcspn(q, ",");
    return **value_end ? *value_end + 1 : *value_end;
}

/* A quoted value becomes what it stands for, or stays as it is. */
static char *unquote(char *value, char *end)
{
    at_json j;
    at_json_text text;
    at_json_start(&j, value, (size_t)(end - value), NULL);
    if (*value != '"' || !at_json_string(&j, &text) || at_json_end(&j) != AT_OK)
        return end;
    const size_t n = at_json_unescape(&text, value, text.raw_bytes);
    return n == SIZE_MAX ? end : value + n;
}

/* Fewer than three make no last line: then 'out' stays empty, and the line is a prompt's. */
static bool read_items(at_parameters *out, char *line)
{
    char *name, *name_end, *value, *value_end;
    int found = 0;
    for (char *p = line; p && found < ITEMS_LEAST; found += name != NULL)
        p = find_item(p, &name, &name_end, &value, &value_end);
    if (found < ITEMS_LEAST)
        return false;
    for (char *p = line, *next; p && out->count < AT_PARAMETERS_MAX; p = next) {
        next = find_item(p, &name, &name_end, &value, &value_end);
        if (!name)
            continue;
        out->items[out->count++] = (at_parameter){ name, value };
        value_end = unquote(value, value_end);
        *name_end = *value_end = 0;
    }
    return true;
}

/* The line without blanks round it. */
static char *strip(char *line)
{
    while (is_blank(*line))
        line++;
    for (char *end = line + strlen(line); end > line && is_blank(end[-1]);)
        *--end = 0;
    return line;
}

/* Lines join in the place where they stood, which is never before where they are wanted. */
static void join(char *to, size_t *used, const char *line)
{
    const size_t n = strlen(line);
    if (*used > 0)
        to[(*used)++] = '\n';
    memmove(to + *used, line, n);
    *used += n;
}

static void read_prompts(at_parameters *out, char *text)
{
    static const char word[] = "Negative prompt:";
    char *prompt = text, *negative = NULL, *next;
    size_t prompt_bytes = 0, negative_bytes = 0;
    for (char *line = text; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        line = strip(line);
        if (!negative && !strncmp(line, word, sizeof word - 1)) {
            negative = line + sizeof word - 1;
            line = strip(negative);
        }
        if (negative)
            join(negative, &negative_bytes, line);
        else
            join(prompt, &prompt_bytes, line);
    }
    if (negative)
        negative[negative_bytes] = 0;
    prompt[prompt_bytes] = 0;
    out->prompt = prompt;
    out->negative = negative;
}

at_status at_parameters_read(at_parameters *out, const char *text, size_t bytes, at_error *err)
{
    *out = (at_parameters){ .prompt = "" };
    if (bytes > AT_PARAMETERS_BYTES_MAX)
        return at_fail(err, AT_INVALID, "a picture's parameters: %zu bytes, the limit is %d", bytes,
                       AT_PARAMETERS_BYTES_MAX);
    if (!at_utf8_valid(text, bytes))
        return at_fail(err, AT_CORRUPT, "a picture's parameters: not UTF-8, or with a zero in it");
    out->own = strndup(text, bytes);
    if (!out->own)
        return at_fail(err, AT_NO_MEMORY, "no memory for a picture's parameters");
    char *all = strip(out->own), *last = strrchr(all, '\n');
    const bool listed = read_items(out, last ? last + 1 : all);
    if (listed && !last)
        return AT_OK;
    if (listed)
        *last = 0;
    read_prompts(out, all);
    return AT_OK;
}

void at_parameters_free(at_parameters *p)
{
    free(p->own);
    *p = (at_parameters){ 0 };
}

const char *at_parameters_named(const at_parameters *p, const char *name)
{
    for (int i = 0; i < p->count; i++)
        if (!strcmp(p->items[i].name, name))
            return p->items[i].value;
    return NULL;
}
