/* tuning_inside.h -- what the files of a tuning share. */
#ifndef AT_ENGINE_TUNING_INSIDE_H
#define AT_ENGINE_TUNING_INSIDE_H

#include "engine/tuning.h"

typedef struct at_tuning_line {
    at_choice choice;
    char key[];
} at_tuning_line;

struct at_tuning {
    at_tuned_for machine;
    char file[2 * AT_TUNING_FIELD_MAX];
    at_tuning_line **list; /* in the order of their keys */
    int n, capacity;
    at_tuning_settings settings;
    at_tuning_counts counts;
};

void at_tuning_name_file(at_tuning *t);
/* Printable, without tabs, neither empty nor 'size_max' bytes long. */
bool at_tuning_is_word(const char *text, size_t size_max);
/* at_variant_usable() for a choice that was tried out, or is about to be. */
bool at_tuning_usable(const at_variant *v, const void *args, const at_caps *caps, bool exact);
/* Prepares a choice, or says why it cannot be made. */
at_status at_tuning_make(const at_device *d, const at_tuning_call *call, const at_choice *c,
                         const at_variant **variant, at_prepared *prepared, at_error *err);

#endif
