/* generate.h -- between the files of atelier generate: what the options say, and what they name.
 *
 * generate_options.c reads options, and the recipe of --like under them; generate_files.c looks at
 * every file before a model is opened; generate.c draws and writes. A command owns one at_generate
 * and frees it; one thread. */
#ifndef AT_CLI_GENERATE_H
#define AT_CLI_GENERATE_H

#include "cli/command.h"
#include "cli/device.h"
#include "cli/folders.h"
#include "cli/tuning.h"
#include "runtime/picture.h"
#include "runtime/recipe.h"

enum {
    AT_GENERATE_COUNT_MAX = 64,
    AT_GENERATE_LORAS_MAX = 32,
    AT_GENERATE_TEXTS = 4, /* prompts that may come from files */
    AT_GENERATE_OPTIONS_MAX = 80,
    AT_GENERATE_NOTES_MAX = 16
};

/* The values of options, as they were given; NULL and -1: not at all. */
typedef struct at_generate_words {
    const char *model, *out, *seed, *size, *like, *image, *mask, *refiner, *noise, *latents,
        *preview, *lora_folder;
    const char *device, *precision, *mode;
    at_words loras;
    int count, threads;
    bool json;
} at_generate_words;

typedef struct at_generate {
    at_generate_words words;
    at_request request;
    at_recipe recipe; /* of --like; zeros: none */
    at_model_options options;
    char model[AT_FOLDER_PATH_MAX], refiner[AT_FOLDER_PATH_MAX], lora_folder[AT_FOLDER_PATH_MAX];
    char out[AT_FOLDER_PATH_MAX]; /* "": no picture is wanted, only latents */
    uint64_t seeds[AT_GENERATE_COUNT_MAX];
    at_lora_use loras[AT_GENERATE_LORAS_MAX];
    char *owned[AT_GENERATE_TEXTS + AT_GENERATE_LORAS_MAX];
    int n_owned;
    at_picture picture, mask;
    at_pixels pixels[2]; /* what the request points at */
    at_places places;
    at_tuning_places choices;
    char cache[AT_TUNING_FOLDER_MAX]; /* "": there is none */
    char notes[AT_GENERATE_NOTES_MAX][AT_ERROR_TEXT_MAX];
    int n_notes;
    bool told; /* notes no longer wait */
} at_generate;

/* Fills in words and request. AT_PARSED_WRONG has been said. */
at_parsed at_generate_parse(at_generate *g, int argc, char **argv);
void at_generate_free(at_generate *g);

/* Finds and reads what the options name, and tries the places where something will be written. */
at_status at_generate_prepare(at_generate *g, at_error *err);
/* Whether the opened models are those of the recipe. */
at_status at_generate_check_models(at_generate *g, const at_model *model, const at_model *refiner,
                                   at_error *err);

/* Where picture i of 'count' goes: "x.png", or of several "x-1.png"; picture -1 is the sheet,
 * "x-sheet.png". */
void at_generate_path(const at_generate *g, int i, int count, char path[AT_FOLDER_PATH_MAX]);

/* What is worth saying, a line on stderr; 'context' is the at_generate. What comes before the first
 * step waits for it: of a request that is refused, one sentence tells why. */
void at_generate_note(void *context, const char *sentence);
void at_generate_tell(at_generate *g);

#endif
