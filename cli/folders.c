#include "cli/folders.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PLACES = 2, SAID_MAX = 200 };

static const char *const names[] = { "models", "loras" };
static const char *const things[] = { "model", "LoRA" };
static const char *const endings[] = { ".h5", ".safetensors" };

/* --- places ----------------------------------------------------------------------------------- */

static bool format(char path[AT_FOLDER_PATH_MAX], const char *a, const char *b, const char *c)
{
    const int n = snprintf(path, AT_FOLDER_PATH_MAX, "%s%s%s", a, b, c);
    return n > 0 && n < AT_FOLDER_PATH_MAX;
}

/* Folder 'place', from 0 on; false: there is none. */
static bool place_of(char path[AT_FOLDER_PATH_MAX], at_folder folder, int place)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (place == 0)
        return format(path, "./", names[folder], "");
    if (data && *data == '/')
        return format(path, data, "/atelier/", names[folder]);
    return home && *home == '/' && format(path, home, "/.local/share/atelier/", names[folder]);
}

static bool is_file(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISREG(s.st_mode);
}

static bool is_folder(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

bool at_folder_path(char path[AT_FOLDER_PATH_MAX], at_folder folder)
{
    for (int i = 0; i < PLACES; i++)
        if (place_of(path, folder, i) && is_folder(path))
            return true;
    return false;
}

/* --- lists ------------------------------------------------------------------------------------ */

static bool add_entry(at_folder_list *list, const char *name, size_t bytes, const char *path)
{
    struct stat s;
    if (list->count == AT_FOLDER_ENTRIES_MAX || stat(path, &s) != 0)
        return true;
    at_folder_entry *e = &list->entries[list->count++];
    *e = (at_folder_entry){ strndup(name, bytes), strdup(path), (uint64_t)s.st_size };
    return e->name && e->path;
}

/* Bytes of the name before an ending that these files have; 0: it has none. */
static size_t stem_of(const char *name)
{
    const size_t n = strlen(name);
    for (size_t i = 0; i < AT_COUNT(endings); i++) {
        const size_t end = strlen(endings[i]);
        if (n > end && !strcmp(name + n - end, endings[i]))
            return n - end;
    }
    return 0;
}

/* What one thing in a folder is, if it is something. */
static bool take(at_folder_list *list, at_folder folder, const char *where, const char *name)
{
    char path[AT_FOLDER_PATH_MAX], inner[AT_FOLDER_PATH_MAX];
    if (name[0] == '.' || !format(path, where, "/", name))
        return true;
    const size_t stem = stem_of(name);
    if (stem > 0 && is_file(path))
        return add_entry(list, name, stem, path);
    if (folder == AT_FOLDER_MODELS && is_folder(path) && format(inner, path, "/", name) &&
        strlen(inner) + sizeof ".h5" <= sizeof inner) {
        memcpy(inner + strlen(inner), ".h5", sizeof ".h5");
        if (is_file(inner))
            return add_entry(list, name, strlen(name), inner);
    }
    return true;
}

static int by_name(const void *a, const void *b)
{
    const at_folder_entry *x = a, *y = b;
    const int order = strcmp(x->name, y->name);
    return order ? order : strcmp(x->path, y->path);
}

at_status at_folder_read(at_folder_list *out, at_folder folder, at_error *err)
{
    char path[AT_FOLDER_PATH_MAX];
    out->count = 0;
    out->entries = calloc(AT_FOLDER_ENTRIES_MAX, sizeof *out->entries);
    bool well = out->entries != NULL;
    for (int i = 0; i < PLACES && well; i++) {
        DIR *d = place_of(path, folder, i) ? opendir(path) : NULL;
        for (struct dirent *e; d && well && (e = readdir(d));)
            well = take(out, folder, path, e->d_name);
        if (d)
            closedir(d);
    }
    if (!well) {
        at_folder_free(out);
        return at_fail(err, AT_NO_MEMORY, "no memory for a list of files");
    }
    qsort(out->entries, (size_t)out->count, sizeof *out->entries, by_name);
    return AT_OK;
}

/* A pipeline's folder, which is no model's name until it was imported. */
static bool take_pipeline(at_folder_list *list, const char *where, const char *name)
{
    char path[AT_FOLDER_PATH_MAX], index[AT_FOLDER_PATH_MAX];
    if (name[0] == '.' || !format(path, where, "/", name) ||
        !format(index, path, "/model_index.json", "") || !is_file(index))
        return true;
    return add_entry(list, name, strlen(name), path);
}

at_status at_folder_read_one(at_folder_list *out, const char *path, at_error *err)
{
    *out = (at_folder_list){ .entries = calloc(AT_FOLDER_ENTRIES_MAX, sizeof *out->entries) };
    bool well = out->entries != NULL;
    DIR *d = opendir(path);
    if (!d) {
        at_fail(err, AT_IO, "the folder '%.300s' could not be read: %s", path, strerror(errno));
        at_folder_free(out);
        return AT_IO;
    }
    for (struct dirent *e; well && (e = readdir(d));)
        well = take(out, AT_FOLDER_MODELS, path, e->d_name) && take_pipeline(out, path, e->d_name);
    closedir(d);
    if (!well) {
        at_folder_free(out);
        return at_fail(err, AT_NO_MEMORY, "no memory for a list of files");
    }
    qsort(out->entries, (size_t)out->count, sizeof *out->entries, by_name);
    return AT_OK;
}

void at_folder_free(at_folder_list *list)
{
    for (int i = 0; i < list->count; i++) {
        free(list->entries[i].name);
        free(list->entries[i].path);
    }
    free(list->entries);
    *list = (at_folder_list){ 0 };
}

/* --- finding ---------------------------------------------------------------------------------- */

static bool find_in(char path[AT_FOLDER_PATH_MAX], at_folder folder, const char *where,
                    const char *name)
{
    char stem[AT_FOLDER_PATH_MAX];
    if (!format(stem, where, "/", name))
        return false;
    if (format(path, stem, "", "") && is_file(path))
        return true;
    for (size_t i = 0; i < AT_COUNT(endings); i++)
        if (format(path, stem, endings[i], "") && is_file(path))
            return true;
    return folder == AT_FOLDER_MODELS && format(path, stem, "/", name) &&
           format(stem, path, ".h5", "") && format(path, stem, "", "") && is_file(path);
}

static at_status not_found(at_folder folder, const char *name, at_error *err)
{
    char there[SAID_MAX + 1] = "", place[AT_FOLDER_PATH_MAX];
    at_folder_list list;
    size_t used = 0;
    at_status status = at_folder_read(&list, folder, err);
    if (status != AT_OK)
        return status;
    for (int i = 0; i < list.count && used < SAID_MAX; i++) {
        snprintf(there + used, sizeof there - used, "%s%s", i ? ", " : "", list.entries[i].name);
        used = strlen(there);
    }
    at_folder_free(&list);
    const bool has_place = place_of(place, folder, PLACES - 1);
    return at_fail(
        err, AT_NOT_FOUND, "there is no file and no %s '%.100s'; in ./%s%s%.100s there %s%s%s",
        things[folder], name, names[folder], has_place ? " and " : "", has_place ? place : "",
        used ? "is " : "are none", there, used >= SAID_MAX ? "..." : "");
}

at_status at_folder_find(char path[AT_FOLDER_PATH_MAX], at_folder folder, const char *name,
                         at_error *err)
{
    char place[AT_FOLDER_PATH_MAX];
    if (strlen(name) >= AT_FOLDER_PATH_MAX)
        return at_fail(err, AT_INVALID, "a file's name of %zu bytes, the limit is %d", strlen(name),
                       AT_FOLDER_PATH_MAX - 1);
    format(path, name, "", "");
    if (is_file(name))
        return AT_OK;
    if (strchr(name, '/'))
        return at_fail(err, AT_NOT_FOUND, "'%.300s' is no file that can be read", name);
    for (int i = 0; i < PLACES && *name; i++)
        if (place_of(place, folder, i) && find_in(path, folder, place, name))
            return AT_OK;
    return not_found(folder, name, err);
}
