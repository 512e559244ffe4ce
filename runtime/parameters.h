/* parameters.h -- the text that A1111 writes into its pictures, and that many programs read: the
 * prompt, a line "Negative prompt: ...", and a last line of "Name: value, Name: value".
 *
 * A value that holds a comma, a colon or a line break stands as a JSON string. The text is from
 * outside when it is read. The caller owns what is filled in. Any thread. */
#ifndef AT_RUNTIME_PARAMETERS_H
#define AT_RUNTIME_PARAMETERS_H

#include "runtime/recipe.h"

enum { AT_PARAMETERS_MAX = 128, AT_PARAMETERS_BYTES_MAX = 1 << 20 };

/* What recipe.h knows, as such a text, freed with free(). Numbers that the request leaves open are
 * decided already. */
AT_API at_status at_parameters_write(char **out, const at_request *r, const at_recipe_facts *facts,
                                     at_error *err);

typedef struct at_parameter {
    const char *name, *value;
} at_parameter;

typedef struct at_parameters {
    const char *prompt;
    const char *negative; /* NULL: there is no such line */
    at_parameter items[AT_PARAMETERS_MAX];
    int count;
    char *own;
} at_parameters;

/* As A1111 reads it: any text is one, of a prompt alone if need be. */
AT_API at_status at_parameters_read(at_parameters *out, const char *text, size_t bytes,
                                    at_error *err);
AT_API void at_parameters_free(at_parameters *p);
/* The value of that name, or NULL. */
AT_API const char *at_parameters_named(const at_parameters *p, const char *name);

#endif
