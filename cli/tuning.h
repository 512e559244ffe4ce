/* tuning.h -- where the commands keep choices: a folder of the user's, and beside the program those
 * of known devices. The library reads no environment; this does. */
#ifndef AT_CLI_TUNING_H
#define AT_CLI_TUNING_H

#include "engine/tuning.h"

enum { AT_TUNING_FOLDER_MAX = 3072 };

/* 'named', or where it is NULL $XDG_CACHE_HOME/atelier or ~/.cache/atelier. */
at_status at_tuning_folder(const char *named, char folder[AT_TUNING_FOLDER_MAX], at_error *err);
/* A tuning for the device, with what is known of it: the choices that came with the program, if
 * they were made on such a device, and then those in 'folder'. A file that was made with something
 * else is told on stderr and not used; a damaged one is an error. */
at_status at_tuning_open(at_tuning **out, const char *command, at_device *d, const char *folder,
                         at_error *err);
/* The same folders for who opens a model: 'folders' ends with NULL and points into this struct,
 * which therefore stays where it was filled in. 'own': the user's, or NULL. */
enum { AT_TUNING_PLACES_MAX = 3 };
typedef struct at_tuning_places {
    const char *folders[AT_TUNING_PLACES_MAX + 1];
    char text[AT_TUNING_PLACES_MAX][AT_TUNING_FOLDER_MAX];
} at_tuning_places;
void at_tuning_places_find(at_tuning_places *out, const char *own);
/* Makes the folder, and those that it is in. */
at_status at_tuning_folder_make(const char *folder, at_error *err);

#endif
