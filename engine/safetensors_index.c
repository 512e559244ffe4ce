/* A model in several files: {"metadata": ..., "weight_map": {"a tensor's name": "a file's name"}}.
 * The names of files come from outside, so they may name nothing but a neighbour of the index. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/json.h"
#include "engine/safetensors.h"

enum { FILE_NAME_MAX = 255 };

static at_status no_memory(const char *path, at_error *err)
{
    return at_fail(err, AT_NO_MEMORY, "%s: no memory for an index", at_safetensors_path(path));
}

/* --- the text --------------------------------------------------------------------------------- */

/* Counts the entries of weight_map, so that room for them is taken once. */
static bool count_entries(at_json *j, size_t *count)
{
    at_json_text key, member;
    bool seen = false;
    for (at_json_object(j); at_json_key(j, &key);) {
        if (!at_json_is(&key, "weight_map")) {
            at_json_skip(j);
            continue;
        }
        if (seen)
            return at_json_refuse(j, "weight_map is there twice");
        seen = true;
        for (at_json_object(j); at_json_key(j, &member); ++*count)
            if (*count == AT_TENSORS_MAX || !at_json_skip(j))
                return at_json_refuse(j, "over %d tensors", AT_TENSORS_MAX);
    }
    if (at_json_end(j) == AT_OK && !seen)
        return at_json_refuse(j, "expected a weight_map, found none");
    return j->status == AT_OK;
}

static bool is_plain(const char *file)
{
    size_t n = strlen(file);
    return n > 0 && n <= FILE_NAME_MAX && file[0] != '.' && !strpbrk(file, "/\\") &&
           !at_safetensors_has_control(file);
}

/* A string of the text, resolved where it stands. */
static bool take(at_json *j, char *text, const at_json_text *s, const char **out)
{
    char *to = text + (s->raw - text);
    size_t n = at_json_unescape(s, to, s->raw_bytes);
    if (n == SIZE_MAX)
        return at_json_refuse(j, "the string at byte %zu holds half a surrogate pair or a zero",
                              (size_t)(s->raw - text));
    to[n] = 0;
    *out = to;
    return true;
}

static bool read_entry(at_json *j, char *text, const at_json_text *key, at_safetensors_entry *e)
{
    at_json_text file;
    if (!take(j, text, key, &e->name))
        return false;
    if (at_safetensors_has_control(e->name))
        return at_json_refuse(j, "expected a name at byte %zu, found control characters",
                              (size_t)(e->name - text));
    int shown = at_safetensors_shown(e->name, strlen(e->name));
    if (at_json_peek(j) != AT_JSON_STRING)
        return at_json_refuse(j, "tensor '%.*s': expected the name of a file", shown, e->name);
    if (!at_json_string(j, &file) || !take(j, text, &file, &e->file))
        return false;
    if (!is_plain(e->file))
        return at_json_refuse(j,
                              "tensor '%.*s': expected the name of a file beside the index, "
                              "found '%.*s'",
                              shown, e->name,
                              at_safetensors_has_control(e->file)
                                  ? 0
                                  : at_safetensors_shown(e->file, strlen(e->file)),
                              e->file);
    return true;
}

static bool read_entries(at_safetensors_index *index, at_json *j)
{
    at_json_text key, name;
    for (at_json_object(j); at_json_key(j, &key);) {
        if (!at_json_is(&key, "weight_map")) {
            at_json_skip(j);
            continue;
        }
        for (at_json_object(j); at_json_key(j, &name);)
            if (!read_entry(j, index->text, &name, &index->entries[index->count++]))
                return false;
    }
    return at_json_end(j) == AT_OK;
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const at_safetensors_entry *)a)->name, ((const at_safetensors_entry *)b)->name);
}

static at_status read_text(at_safetensors_index *index, const at_file *f, at_error *why)
{
    size_t bytes = (size_t)f->bytes, count = 0;
    at_json j;
    at_status status = at_file_read(f, 0, index->text, bytes, why);
    if (status != AT_OK)
        return status;
    at_json_start(&j, index->text, bytes, why);
    if (!count_entries(&j, &count))
        return j.status;
    index->entries = calloc(count + 1, sizeof *index->entries);
    if (!index->entries)
        return at_fail(why, AT_NO_MEMORY, "no memory for %zu entries", count);
    at_json_start(&j, index->text, bytes, why);
    if (!read_entries(index, &j))
        return j.status;
    qsort(index->entries, index->count, sizeof *index->entries, compare_entries);
    for (size_t i = 1; i < index->count; i++) {
        const char *name = index->entries[i].name;
        if (!strcmp(index->entries[i - 1].name, name))
            return at_fail(why, AT_CORRUPT, "tensor '%.*s' is there twice",
                           at_safetensors_shown(name, strlen(name)), name);
    }
    return AT_OK;
}

/* --- its files -------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The files' names, each once and in order; neighbours in the index mostly name the same. */
static size_t gather_names(const at_safetensors_index *index, const char **names)
{
    size_t n = 0, kept = 0;
    for (size_t i = 0; i < index->count; i++)
        if (i == 0 || strcmp(index->entries[i].file, index->entries[i - 1].file) != 0)
            names[n++] = index->entries[i].file;
    qsort(names, n, sizeof *names, compare_names);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || strcmp(names[i], names[kept - 1]) != 0)
            names[kept++] = names[i];
    return kept;
}

static at_status make_shards(at_safetensors_index *index, const char *const *names, size_t count,
                             const char *path, at_arena *arena, at_error *err)
{
    const char *slash = strrchr(path, '/');
    size_t folder = slash ? (size_t)(slash - path) + 1 : 0;
    if (count > AT_SAFETENSORS_SHARDS_MAX)
        return at_fail(err, AT_CORRUPT, "%s: expected at most %d files, found %zu",
                       at_safetensors_path(path), AT_SAFETENSORS_SHARDS_MAX, count);
    index->shards = calloc(count + 1, sizeof *index->shards);
    if (!index->shards)
        return no_memory(path, err);
    for (size_t k = 0; k < count; k++) {
        size_t bytes = strlen(names[k]) + 1;
        char *to = at_arena_try(arena, folder + bytes);
        if (!to)
            return no_memory(path, err);
        memcpy(to, path, folder);
        memcpy(to + folder, names[k], bytes);
        index->shards[k] = (at_shard){ names[k], to, UINT64_MAX, -1 };
    }
    index->shard_count = (int)count;
    return AT_OK;
}

at_status at_safetensors_index_read(at_safetensors_index *index, const at_file *f, at_arena *arena,
                                    at_error *err)
{
    at_error why = { AT_OK, "" };
    if (f->bytes > AT_SAFETENSORS_HEADER_MAX)
        return at_fail(err, AT_CORRUPT, "%s: expected an index of at most %d bytes, found %llu",
                       at_safetensors_path(f->path), AT_SAFETENSORS_HEADER_MAX,
                       (unsigned long long)f->bytes);
    index->text = malloc((size_t)f->bytes + 1);
    if (!index->text)
        return no_memory(f->path, err);
    at_status status = read_text(index, f, &why);
    if (status != AT_OK)
        return at_fail(err, status, "%s: %s", at_safetensors_path(f->path), why.text);
    const char **names = malloc((index->count + 1) * sizeof *names);
    if (!names)
        return no_memory(f->path, err);
    size_t count = gather_names(index, names);
    status = make_shards(index, names, count, f->path, arena, err);
    free(names);
    return status;
}

at_status at_safetensors_index_check(const at_safetensors_index *index, const at_tensors *list,
                                     const char *path, at_error *err)
{
    size_t i = 0, n = (size_t)list->count;
    path = at_safetensors_path(path);
    for (size_t k = 0; i < index->count || k < n; i++, k++) {
        const at_safetensors_entry *e = i < index->count ? &index->entries[i] : NULL;
        const at_stored_tensor *t = k < n ? &list->items[list->by_name[k]] : NULL;
        int order = !e ? 1 : !t ? -1 : strcmp(e->name, t->name);
        if (order < 0)
            return at_fail(err, AT_CORRUPT, "%s: tensor '%.*s' should be in %.*s, which lacks it",
                           path, at_safetensors_shown(e->name, strlen(e->name)), e->name,
                           at_safetensors_shown(e->file, strlen(e->file)), e->file);
        const char *file = index->shards[t->file].name;
        int shown = at_safetensors_shown(file, strlen(file));
        if (order > 0)
            return at_fail(err, AT_CORRUPT, "%s: does not name tensor '%.*s', which is in %.*s",
                           path, at_safetensors_shown(t->name, strlen(t->name)), t->name, shown,
                           file);
        if (strcmp(e->file, file) != 0)
            return at_fail(err, AT_CORRUPT,
                           "%s: tensor '%.*s' should be in %.*s, but it is in %.*s", path,
                           at_safetensors_shown(t->name, strlen(t->name)), t->name,
                           at_safetensors_shown(e->file, strlen(e->file)), e->file, shown, file);
    }
    return AT_OK;
}

void at_safetensors_index_free(at_safetensors_index *index)
{
    free(index->text);
    free(index->entries);
    *index = (at_safetensors_index){ 0 };
}

/* --- a folder --------------------------------------------------------------------------------- */

static bool ends_in(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n > m && !strcmp(text + n - m, end);
}

/* What a folder holds of one sort: how many, and the first two that were met. */
typedef struct found {
    int count;
    char name[2][FILE_NAME_MAX + 1];
} found;

static void note(found *f, const char *name)
{
    if (f->count < 2)
        snprintf(f->name[f->count], sizeof f->name[0], "%s", name);
    f->count += f->count < 3;
}

static at_status look(DIR *folder, found *index, found *single, const char *path, at_error *err)
{
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (!entry && errno)
            return at_fail(err, AT_IO, "%s: the folder could not be read: %s",
                           at_safetensors_path(path), strerror(errno));
        if (!entry)
            return AT_OK;
        if (entry->d_name[0] == '.')
            continue;
        if (ends_in(entry->d_name, ".safetensors.index.json"))
            note(index, entry->d_name);
        else if (ends_in(entry->d_name, ".safetensors"))
            note(single, entry->d_name);
    }
}

static at_status join(char **out, const char *folder, const char *name, at_error *err)
{
    size_t n = strlen(folder), m = strlen(name);
    char *path = malloc(n + m + 2);
    if (!path)
        return no_memory(folder, err);
    memcpy(path, folder, n);
    path[n] = '/';
    memcpy(path + n + 1, name, m + 1);
    *out = path;
    return AT_OK;
}

at_status at_safetensors_folder(char **path, const char *folder, at_error *err)
{
    found index = { 0 }, single = { 0 };
    DIR *entries = opendir(folder);
    if (!entries)
        return at_fail(err, errno == ENOMEM ? AT_NO_MEMORY : AT_IO,
                       "%s: the folder could not be opened: %s", at_safetensors_path(folder),
                       strerror(errno));
    at_status status = look(entries, &index, &single, folder, err);
    closedir(entries);
    if (status != AT_OK)
        return status;
    const found *best = index.count ? &index : &single;
    if (best->count == 0)
        return at_fail(err, AT_NOT_FOUND,
                       "%s: expected a .safetensors file or an index in the folder, found neither",
                       at_safetensors_path(folder));
    if (best->count > 1)
        return at_fail(err, AT_INVALID, "%s: expected one %s in the folder, found %s%s and %s",
                       at_safetensors_path(folder), index.count ? "index" : ".safetensors file",
                       best->count > 2 ? "several, among them " : "", best->name[0], best->name[1]);
    return join(path, folder, best->name[0], err);
}
