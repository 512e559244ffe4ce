/* recipe.h -- how a picture was made, in the picture: as JSON, enough to make it again, and as the
 * "parameters" text that A1111 and what reads it know.
 *
 * A PNG has the JSON under the name "atelier" and the other under "parameters". The caller owns
 * what is filled in. Any thread. */
#ifndef AT_RUNTIME_RECIPE_H
#define AT_RUNTIME_RECIPE_H

#include "runtime/atelier.h"

#define AT_RECIPE_TEXT     "atelier"
#define AT_PARAMETERS_TEXT "parameters"
enum { AT_RECIPE_BYTES_MAX = 1 << 20 };

/* What a request does not say itself: the model, and what was chosen for what it left open. */
typedef struct at_recipe_facts {
    const char *model, *model_hash;     /* the file's name without its folder; its weights' name */
    const char *refiner, *refiner_hash; /* NULL: none */
    const char *sampler;
    const char *device, *precision, *mode;
    uint64_t seed;
    int64_t width, height;
} at_recipe_facts;

/* Both are freed with free(). */
AT_API at_status at_recipe_write(char **json, char **parameters, const at_request *r,
                                 const at_recipe_facts *facts, at_error *err);

/* A request read back; its strings lie in the recipe. Pictures, masks and files of noise are named
 * by their hashes only: who repeats such a recipe has to bring them. */
typedef struct at_recipe {
    at_request request;
    at_recipe_facts facts;
    bool needs_picture, needs_mask;
    void *own;
} at_recipe;
AT_API at_status at_recipe_read(at_recipe *out, const char *json, size_t bytes, at_error *err);
AT_API void at_recipe_free(at_recipe *r);

#endif
