/* folders.h -- the user's folders: where models and adapters are found by their names, and where
 * the program remembers things. The library reads no environment; this does.
 *
 * A name without a slash that is no file where the program runs is looked for in ./models (./loras)
 * and in $XDG_DATA_HOME/atelier/models, which is ~/.local/share/atelier/models where the variable
 * is not set: as NAME, NAME.h5, NAME.safetensors, and of models NAME/NAME.h5. */
#ifndef AT_CLI_FOLDERS_H
#define AT_CLI_FOLDERS_H

#include "kernels/base.h"

enum { AT_FOLDER_PATH_MAX = 4096, AT_FOLDER_ENTRIES_MAX = 1024 };

typedef enum at_folder { AT_FOLDER_MODELS, AT_FOLDER_LORAS } at_folder;

/* The path of what has this name, which may be a path itself; a name that is not there is refused
 * with those that are. */
at_status at_folder_find(char path[AT_FOLDER_PATH_MAX], at_folder folder, const char *name,
                         at_error *err);

/* One thing in a folder: the name that finds it, and where it is. */
typedef struct at_folder_entry {
    char *name, *path;
    uint64_t bytes;
} at_folder_entry;

typedef struct at_folder_list {
    at_folder_entry *entries; /* in the order of their names */
    int count;
} at_folder_list;

at_status at_folder_read(at_folder_list *out, at_folder folder, at_error *err);
/* What is in one folder alone: models, checkpoints of any name, and pipelines of diffusers. */
at_status at_folder_read_one(at_folder_list *out, const char *path, at_error *err);
void at_folder_free(at_folder_list *list);

/* The first of the folders that is there; false: none is. */
bool at_folder_path(char path[AT_FOLDER_PATH_MAX], at_folder folder);

#endif
