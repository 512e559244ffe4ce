/* recipe_report.h -- the recipe in a picture: found, printed for people, and as JSON. */
#ifndef AT_CLI_RECIPE_REPORT_H
#define AT_CLI_RECIPE_REPORT_H

#include "cli/json.h"
#include "runtime/picture.h"

/* The text of this name, which in a JPEG is a comment "NAME: text"; NULL: there is none. */
const char *at_recipe_text(const at_picture_info *info, const char *name);
/* Whether text i is one of those that at_recipe_print() shows. */
bool at_recipe_is_shown(const at_picture_info *info, int i);

/* Atelier's recipe, or else what A1111 and others write; nothing where there is neither. */
void at_recipe_print(const at_picture_info *info);
/* Members "recipe" and "parameters", null where there is none. */
void at_recipe_put(at_json_writer *w, const at_picture_info *info);

#endif
