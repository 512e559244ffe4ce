/* recipe.h -- how a picture was made, in the picture: as JSON, enough to make it again, and as the
 * "parameters" text that A1111 and what reads it know (parameters.h).
 *
 * A PNG has the JSON under the name "atelier" and the other under "parameters". Recipes name files
 * without their folders, so that a picture tells nothing of whose it was; beside the name stands
 * what tells whether a file is the same. Everything is written, defaults too: a recipe means the
 * same whatever a later version's defaults are. The caller owns what is filled in. Any thread. */
#ifndef AT_RUNTIME_RECIPE_H
#define AT_RUNTIME_RECIPE_H

#include "runtime/atelier.h"

#define AT_RECIPE_TEXT     "atelier"
#define AT_PARAMETERS_TEXT "parameters"
enum {
    AT_RECIPE_BYTES_MAX = 1 << 20,
    AT_RECIPE_FORMAT = 1, /* "atelier": 1; another is refused */
    AT_RECIPE_LORAS_MAX = 64,
    AT_RECIPE_HASH_TEXT = 17 /* 16 hexadecimal digits and a zero */
};

/* What a request does not say itself: the model, and what was chosen for what it left open. */
typedef struct at_recipe_facts {
    const char *model, *model_hash;     /* the file's name without its folder; its weights' name */
    const char *refiner, *refiner_hash; /* NULL: none */
    const char *sampler;
    const char *device, *precision, *mode;
    uint64_t seed;
    int64_t width, height;
} at_recipe_facts;

/* Both are freed with free(); either may be NULL. Reads the files of noise and adapters that the
 * request names. */
AT_API at_status at_recipe_write(char **json, char **parameters, const at_request *r,
                                 const at_recipe_facts *facts, at_error *err);

/* A request read back, of one picture; its strings lie in the recipe. What the recipe leaves open
 * is NULL or -1, whatever at_request_usual has. Pictures, masks and files of noise are named by
 * their hashes only: who repeats such a recipe has to bring them, and a model for a refiner; of
 * adapters the request has the names without a folder. */
typedef struct at_recipe {
    at_request request;
    at_recipe_facts facts;
    const char *version; /* of the program that wrote it */
    bool needs_picture, needs_mask;
    const char *picture_hash, *mask_hash, *noise_hash; /* NULL: none is needed */
    const char *const *lora_hashes;                    /* (request.n_loras) */
    void *own;
} at_recipe;
/* Keys that are not known are refused: what they mean would be left out. */
AT_API at_status at_recipe_read(at_recipe *out, const char *json, size_t bytes, at_error *err);
AT_API void at_recipe_free(at_recipe *r);

/* The hashes of recipes. */
AT_API void at_recipe_pixels_hash(char out[AT_RECIPE_HASH_TEXT], const at_pixels *pixels);
AT_API at_status at_recipe_file_hash(char out[AT_RECIPE_HASH_TEXT], const char *path,
                                     at_error *err);

#endif
