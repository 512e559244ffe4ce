/* generate_options.c -- the options of atelier generate: those of request.def, and its own. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/generate.h"
#include "cli/recipe_report.h"
#include "kernels/shape.h"
#include "runtime/prompt.h"
#include "runtime/sampler.h"

static const char command[] = "generate";

/* --- the list --------------------------------------------------------------------------------- */

typedef enum setting_kind {
    SETTING_TEXT,
    SETTING_INT,
    SETTING_REAL,
    SETTING_SWITCH,
    SETTING_PAIR,
    SETTING_FLAG,
    SETTING_HEADING
} setting_kind;

typedef struct setting {
    const char *name;
    setting_kind kind;
    size_t offset;
    double low, high;
    const char *argument, *help;
} setting;

#define FIELD(field) offsetof(at_request, field)
#define AT_REQUEST_TEXT(field, argument, help) \
    { #field, SETTING_TEXT, FIELD(field), 0, 0, argument, help },
#define AT_REQUEST_INT(field, low, high, argument, help) \
    { #field, SETTING_INT, FIELD(field), low, high, argument, help },
#define AT_REQUEST_REAL(field, low, high, argument, help) \
    { #field, SETTING_REAL, FIELD(field), low, high, argument, help },
#define AT_REQUEST_SWITCH(field, help) \
    { #field, SETTING_SWITCH, FIELD(field), 0, 0, "yes|no", help },
#define AT_REQUEST_PAIR(field, argument, help) \
    { #field, SETTING_PAIR, FIELD(field), 0, 0, argument, help },
#define AT_REQUEST_FLAG(field, help) { #field, SETTING_FLAG, FIELD(field), 0, 0, NULL, help },
#define AT_REQUEST_HEADING(text)     { NULL, SETTING_HEADING, 0, 0, 0, NULL, text },
static const setting settings[] = {
#include "runtime/request.def"
};

enum { SETTINGS = AT_COUNT(settings), NAME_MAX_BYTES = 40 };

/* The options while they are read: what must be said in another way than the request has it. */
typedef struct list {
    at_option options[AT_GENERATE_OPTIONS_MAX];
    int count;
    char names[SETTINGS][NAME_MAX_BYTES];
    const char *texts[SETTINGS]; /* of switches and pairs */
} list;

static void add(list *l, at_option o)
{
    AT_ASSERT(l->count < AT_GENERATE_OPTIONS_MAX, "more than %d options", AT_GENERATE_OPTIONS_MAX);
    l->options[l->count++] = o;
}

static void add_heading(list *l, const char *text)
{
    add(l, (at_option){ .type = AT_OPTION_HEADING, .help = text });
}

static void add_text(list *l, const char *name, const char **value, const char *argument,
                     const char *help)
{
    add(l, (at_option){ name, AT_OPTION_TEXT, (void *)value, 0, 0, argument, help });
}

static void add_int(list *l, const char *name, int *value, int high, const char *help)
{
    add(l, (at_option){ name, AT_OPTION_INT, value, 1, high, "N", help });
}

/* "negative_prompt" as "--negative-prompt". */
static void add_setting(list *l, int i, at_request *r)
{
    const setting *s = &settings[i];
    char *name = l->names[i];
    void *field = (char *)r + s->offset;
    if (s->kind == SETTING_HEADING) {
        add_heading(l, s->help);
        return;
    }
    snprintf(name, NAME_MAX_BYTES, "--%s", s->name);
    for (char *p = name; *p; p++)
        *p = *p == '_' ? '-' : *p;
    at_option o = { name, AT_OPTION_TEXT, field, s->low, s->high, s->argument, s->help };
    if (s->kind == SETTING_INT)
        o.type = AT_OPTION_INT;
    if (s->kind == SETTING_REAL)
        o.type = AT_OPTION_REAL;
    if (s->kind == SETTING_FLAG)
        o.type = AT_OPTION_FLAG;
    if (s->kind == SETTING_SWITCH || s->kind == SETTING_PAIR)
        o.value = (void *)&l->texts[i];
    add(l, o);
}

static void add_files(list *l, at_generate_words *w)
{
    add_heading(l, "Files");
    add_text(l, "--image", &w->image, "FILE", "a picture to draw over");
    add_text(l, "--mask", &w->mask, "FILE", "of its size: white is drawn anew, black stays");
    add_text(l, "--refiner", &w->refiner, "FILE|NAME", "a second model, for the last steps");
    add(l, (at_option){ "--lora", AT_OPTION_WORDS, &w->loras, 0, 0, "FILE|NAME[:WEIGHT]",
                        "an adapter; may be given several times" });
    add_text(l, "--lora-folder", &w->lora_folder, "FOLDER",
             "of those that a prompt names, <lora:NAME:WEIGHT>");
    add_text(l, "--noise", &w->noise, "FILE", "safetensors with the noises, instead of a seed");
    add_text(l, "--save-latents", &w->latents, "FILE", "what the VAE decodes, as safetensors");
    add_text(l, "--preview", &w->preview, "FILE", "a rough picture, renewed while it draws");
}

static void make_list(list *l, at_generate *g)
{
    at_generate_words *w = &g->words;
    memset(l, 0, sizeof *l);
    add_heading(l, "The usual");
    add_text(l, "--model", &w->model, "FILE|NAME",
             "what draws; 'atelier model list' has the names");
    add_text(l, "-o", &w->out, "FILE", "the picture, .png or .jpg (atelier-SEED.png)");
    add_int(l, "-n", &w->count, AT_GENERATE_COUNT_MAX,
            "so many pictures, FILE-1.png ..., and FILE-sheet.png with all");
    add_text(l, "--seed", &w->seed, "N[,N...]",
             "of the first picture, the next ones count on; or of each (any)");
    add_text(l, "--size", &w->size, "WxH", "in pixels (the model's, or the picture's)");
    add_text(l, "--like", &w->like, "FILE", "again as this picture was made; options change that");
    for (int i = 0; i < SETTINGS; i++)
        add_setting(l, i, &g->request);
    add_files(l, w);
    add_heading(l, "The machine");
    add_text(l, "--device", &w->device, "NAME", "cpu, cuda or emulated (the best that is here)");
    add_text(l, "--precision", &w->precision, "TYPE",
             "f32 or bf16 (bf16 if the weights have 16 bits)");
    add_text(l, "--mode", &w->mode, "MODE",
             "exact: a picture never depends on its batch; or fast (exact)");
    add_int(l, "--threads", &w->threads, AT_THREADS_MAX, "threads to use; else one per core");
    add(l, (at_option){ "--json", AT_OPTION_FLAG, &w->json, 0, 0, NULL,
                        "print one JSON object: files, seeds, times, memory" });
}

/* --- values ----------------------------------------------------------------------------------- */

enum { SIDE_MAX = 65535 };

/* "A", then 'between', then "B". */
static bool read_two(const char *text, char between, int64_t least, int64_t out[2])
{
    char *end;
    errno = 0;
    out[0] = strtoll(text, &end, 10);
    if (end == text || *end != between)
        return false;
    const char *second = end + 1;
    out[1] = strtoll(second, &end, 10);
    return end != second && !*end && errno == 0 && out[0] >= least && out[1] >= least &&
           out[0] <= SIDE_MAX && out[1] <= SIDE_MAX;
}

/* Pairs stand in requests as height and width, top and left. */
static at_status read_pair(const char *name, const char *argument, const char *text,
                           int64_t pair[2], at_error *err)
{
    const bool is_size = !strcmp(argument, "WxH");
    const int least = is_size ? 1 : -SIDE_MAX;
    int64_t two[2];
    if (!read_two(text, is_size ? 'x' : ',', least, two))
        return at_fail(err, AT_INVALID, "%s: expected %s, each from %d to %d, found '%.40s'", name,
                       argument, least, SIDE_MAX, text);
    pair[0] = two[1];
    pair[1] = two[0];
    return AT_OK;
}

static at_status read_size(at_generate *g, at_error *err)
{
    int64_t pair[2];
    char square[64];
    const char *text = g->words.size;
    if (!text)
        return AT_OK;
    if (*text && strspn(text, "0123456789") == strlen(text) && strlen(text) < 20) {
        snprintf(square, sizeof square, "%sx%s", text, text);
        text = square;
    }
    AT_TRY(read_pair("--size", "WxH", text, pair, err));
    g->request.height = pair[0];
    g->request.width = pair[1];
    return AT_OK;
}

static at_status read_settings(const list *l, at_request *r, at_error *err)
{
    for (int i = 0; i < SETTINGS; i++) {
        const setting *s = &settings[i];
        const char *text = l->texts[i];
        void *field = (char *)r + s->offset;
        if (text && s->kind == SETTING_PAIR)
            AT_TRY(read_pair(l->names[i], s->argument, text, field, err));
        if (!text || s->kind != SETTING_SWITCH)
            continue;
        if (strcmp(text, "yes") != 0 && strcmp(text, "no") != 0)
            return at_fail(err, AT_INVALID, "%s: expected yes or no, found '%.40s'", l->names[i],
                           text);
        *(int *)field = !strcmp(text, "yes");
    }
    return AT_OK;
}

/* A seed of its own for everybody who names none; short enough to be typed again. */
static at_status any_seed(uint64_t *seed, at_error *err)
{
    uint32_t bits;
    if (getentropy(&bits, sizeof bits) != 0)
        return at_fail(err, AT_IO, "the system gives no random seed; --seed names one");
    *seed = bits;
    return AT_OK;
}

static at_status read_seeds(at_generate *g, at_error *err)
{
    const char *p = g->words.seed;
    int n = 0;
    g->request.seeds = NULL;
    while (p && n < AT_GENERATE_COUNT_MAX) {
        char *end;
        errno = 0;
        g->seeds[n++] = strtoull(p, &end, 10);
        if (*p < '0' || *p > '9' || errno || (*end && *end != ','))
            return at_fail(err, AT_INVALID,
                           "--seed: expected whole numbers from 0 to 2^64 - 1, found '%.40s'", p);
        p = *end ? end + 1 : NULL;
    }
    if (p || (n > 1 && g->words.count > 0 && g->words.count != n))
        return at_fail(err, AT_INVALID, "--seed: expected one or as many as pictures, found %d%s",
                       n, p ? " and more" : "");
    if (n > 1) {
        g->request.count = n;
        g->request.seeds = g->seeds;
    }
    if (n > 0)
        g->request.seed = g->seeds[0];
    return n == 0 && !g->words.like ? any_seed(&g->request.seed, err) : AT_OK;
}

/* --- texts from files ------------------------------------------------------------------------- */

static at_status read_stream(FILE *f, const char *name, char **out, at_error *err)
{
    char *text = malloc(AT_PROMPT_BYTES_MAX + 2);
    if (!text)
        return at_fail(err, AT_NO_MEMORY, "no memory for a prompt");
    size_t n = fread(text, 1, AT_PROMPT_BYTES_MAX + 1, f);
    if (ferror(f) || memchr(text, 0, n)) {
        free(text);
        return at_fail(err, AT_IO, "%s is no text that can be read", name);
    }
    if (n > 0 && text[n - 1] == '\n') /* the one that editors put at the end */
        n--;
    text[n] = 0;
    *out = text;
    return AT_OK;
}

static at_status read_file(const char *path, char **out, at_error *err)
{
    FILE *f = fopen(path, "r");
    if (!f)
        return at_fail(err, AT_IO, "'%.300s' cannot be read: %s", path, strerror(errno));
    at_status status = read_stream(f, path, out, err);
    fclose(f);
    return status;
}

/* "@FILE" and "-" become what stands there. */
static at_status read_prompt(at_generate *g, const char *option, const char **text, at_error *err)
{
    char *read = NULL;
    if (!*text)
        return AT_OK;
    if (!strcmp(*text, "-"))
        AT_TRY(read_stream(stdin, "the standard input", &read, err));
    else if (**text == '@')
        AT_TRY(read_file(*text + 1, &read, err));
    if (read) {
        g->owned[g->n_owned++] = read;
        *text = read;
    }
    if (strlen(*text) > AT_PROMPT_BYTES_MAX)
        return at_fail(err, AT_INVALID, "%s: expected at most %d bytes, found %zu%s", option,
                       AT_PROMPT_BYTES_MAX, strlen(*text), read ? " or more" : "");
    return AT_OK;
}

static at_status read_prompts(at_generate *g, at_error *err)
{
    at_request *r = &g->request;
    AT_TRY(read_prompt(g, "--prompt", &r->prompt, err));
    AT_TRY(read_prompt(g, "--prompt-2", &r->prompt_2, err));
    AT_TRY(read_prompt(g, "--negative", &r->negative, err));
    AT_TRY(read_prompt(g, "--negative-2", &r->negative_2, err));
    if (!r->prompt)
        return at_fail(err, AT_INVALID, "--prompt is missing: what is to be drawn");
    return AT_OK;
}

/* --- recipes ---------------------------------------------------------------------------------- */

static at_status read_recipe(at_generate *g, at_error *err)
{
    at_picture_info info;
    at_error why = { 0 };
    AT_TRY(at_picture_about(&info, g->words.like, NULL, err));
    const char *json = at_recipe_text(&info, AT_RECIPE_TEXT);
    at_status status =
        json ? at_recipe_read(&g->recipe, json, strlen(json), &why)
             : at_fail(&why, AT_NOT_FOUND, "the picture has no recipe of Atelier's in it");
    at_picture_info_free(&info);
    return status == AT_OK ? AT_OK : at_fail(err, status, "%.200s: %s", g->words.like, why.text);
}

/* What the options did not name comes from the recipe. */
static void take_recipe(at_generate *g)
{
    at_generate_words *w = &g->words;
    const at_recipe_facts *f = &g->recipe.facts;
    w->device = w->device ? w->device : f->device;
    w->precision = w->precision ? w->precision : f->precision;
    w->mode = w->mode ? w->mode : f->mode;
}

/* --- parsing ---------------------------------------------------------------------------------- */

static const char more[] =
    "Samplers:" /* their names follow */
#define AT_SAMPLER(NAME, name, a1111, scheduler, options, about) " " name
#include "runtime/samplers.def"
#undef AT_SAMPLER
    "\n"
    "Examples:\n"
    "  atelier generate --model sdxl --prompt 'a red cube and a blue ball' -o cube.png\n"
    "  atelier generate --model sdxl.h5 --prompt @scene.txt --negative 'blurry' --steps 30 \\\n"
    "      --sampler dpmpp_2m --guidance 7 --size 1216x832 --seed 7 -n 4 -o s.png\n"
    "  atelier generate --model sdxl --prompt 'in oil' --image me.jpg --strength 0.5 -o oil.png\n"
    "  atelier generate --model sdxl --prompt 'a hat' --image me.jpg --mask hat.png \\\n"
    "      --only-masked 32 --paste-original -o hat-on.png\n"
    "  atelier generate --like cube.png -o again.png\n"
    "  atelier generate --like cube.png --seed 8 -n 4 -o more.png\n"
    "Exit status: 0 done, 2 could not be done, 130 ended by Ctrl-C. Files are whole or not\n"
    "there, whatever happens.\n";

static at_parsed parse_once(at_generate *g, list *l, int argc, char **argv)
{
    const char *none;
    make_list(l, g);
    const at_usage usage = { command,
                             "Draws pictures from text.",
                             "--model FILE|NAME --prompt TEXT",
                             l->options,
                             l->count,
                             more };
    return at_options_parse(&usage, argc, argv, &none, 0);
}

/* Once for the name of a recipe; then what else was given lies over what the recipe says. */
static at_parsed parse_over_recipe(at_generate *g, list *l, int argc, char **argv, at_error *err)
{
    if (read_recipe(g, err) != AT_OK)
        return AT_PARSED_WRONG;
    g->request = g->recipe.request;
    g->words = (at_generate_words){ .count = -1 };
    const at_parsed parsed = parse_once(g, l, argc, argv);
    take_recipe(g);
    return parsed;
}

static at_status read_all(at_generate *g, const list *l, at_error *err)
{
    at_request *r = &g->request;
    at_sampler sampler;
    if (g->words.count > 0)
        r->count = g->words.count;
    AT_TRY(read_settings(l, r, err));
    AT_TRY(read_size(g, err));
    AT_TRY(read_seeds(g, err));
    AT_TRY(read_prompts(g, err));
    return r->sampler ? at_sampler_named(&sampler, r->sampler, err) : AT_OK;
}

at_parsed at_generate_parse(at_generate *g, int argc, char **argv)
{
    list *l = malloc(sizeof *l);
    at_error err = { 0 };
    AT_ASSERT(l, "no memory for a list of options");
    *g = (at_generate){ .request = at_request_usual, .words = { .count = -1 } };
    at_parsed parsed = parse_once(g, l, argc, argv);
    if (parsed == AT_PARSED && g->words.like)
        parsed = parse_over_recipe(g, l, argc, argv, &err);
    if (parsed == AT_PARSED && read_all(g, l, &err) != AT_OK)
        parsed = AT_PARSED_WRONG;
    if (parsed == AT_PARSED_WRONG && *err.text)
        at_unable(command, &err);
    free(l);
    return parsed;
}

void at_generate_free(at_generate *g)
{
    at_recipe_free(&g->recipe);
    at_picture_free(&g->picture);
    at_picture_free(&g->mask);
    for (int i = 0; i < g->n_owned; i++)
        free(g->owned[i]);
}

/* --- notes ------------------------------------------------------------------------------------ */

void at_generate_note(void *context, const char *sentence)
{
    at_generate *g = context;
    if (g->told)
        fprintf(stderr, "atelier %s: note: %s\n", command, sentence);
    else if (g->n_notes < AT_GENERATE_NOTES_MAX)
        snprintf(g->notes[g->n_notes++], AT_ERROR_TEXT_MAX, "%s", sentence);
}

void at_generate_tell(at_generate *g)
{
    g->told = true;
    for (int i = 0; i < g->n_notes; i++)
        at_generate_note(g, g->notes[i]);
    g->n_notes = 0;
}
