/* sdxl_export_folder.c -- a pipeline's folder: written beside its place under a hidden name, then
 * renamed. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/transfer.h"
#include "kernels/shape.h"
#include "models/assembled.h"
#include "models/clip_tokenizer_write.h"
#include "models/sdxl_export_own.h"
#include "models/sdxl_texts.h"

enum { PATH_BYTES = 4096 };

/* --- folders ---------------------------------------------------------------------------------- */

static at_status join(char out[PATH_BYTES], const char *folder, const char *name, at_error *err)
{
    const int n = snprintf(out, PATH_BYTES, "%s/%s", folder, name);
    return n >= 0 && n < PATH_BYTES
               ? AT_OK
               : at_fail(err, AT_INVALID, "%.200s...: a path of over %d bytes", folder, PATH_BYTES);
}

/* What this module writes is two folders deep. */
static void remove_folder(const char *path, int depth)
{
    DIR *entries = opendir(path);
    char inner[PATH_BYTES];
    struct dirent *e;
    while (entries && (e = readdir(entries))) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        if (join(inner, path, e->d_name, NULL) != AT_OK)
            continue;
        if (unlink(inner) != 0 && depth > 0)
            remove_folder(inner, depth - 1);
    }
    if (entries)
        closedir(entries);
    rmdir(path);
}

/* Whether there is nothing at that path, or an empty folder. */
static at_status check_free(const char *path, at_error *err)
{
    DIR *entries = opendir(path);
    struct dirent *e;
    bool empty = true;
    if (!entries)
        return errno == ENOENT
                   ? AT_OK
                   : at_fail(err, AT_IO, "'%.200s' cannot be a folder: %s", path, strerror(errno));
    while (empty && (e = readdir(entries)))
        empty = !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..");
    closedir(entries);
    return empty ? AT_OK
                 : at_fail(err, AT_INVALID, "the folder '%.200s' is not empty: expected a new one",
                           path);
}

/* Puts the folder under its name, and that on the disk. */
static at_status publish(const char *draft, const char *path, const char *parent, at_error *err)
{
    const int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    at_status status = AT_OK;
    if (chmod(draft, 0755) != 0 || rename(draft, path) != 0 || fd < 0 || fsync(fd) != 0)
        status = at_fail(err, AT_IO, "'%.200s' could not be put in its place: %s", path,
                         strerror(errno));
    if (fd >= 0)
        close(fd);
    return status;
}

/* --- texts ------------------------------------------------------------------------------------ */

static at_status make_folder_of(const char *path, at_error *err)
{
    char folder[PATH_BYTES];
    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = 0;
    return mkdir(folder, 0755) == 0 || errno == EEXIST
               ? AT_OK
               : at_fail(err, AT_IO, "the folder '%.200s' could not be made: %s", folder,
                         strerror(errno));
}

static at_status write_text(const char *folder, const char *name, const char *data, size_t bytes,
                            at_error *err)
{
    char path[PATH_BYTES];
    at_draft *d;
    AT_TRY(join(path, folder, name, err));
    AT_TRY(make_folder_of(path, err));
    AT_TRY(at_draft_new(&d, path, err));
    at_status status = at_draft_write(d, 0, data, bytes, err);
    if (status == AT_OK)
        status = at_draft_publish(d, err);
    at_draft_free(d);
    return status;
}

/* The tokenizers that are built in, for a model that came without. */
static at_status write_tokenizer(const at_sdxl_model *m, const char *folder, int i, at_error *err)
{
    static const char *const folders[] = { "tokenizer", "tokenizer_2" };
    char name[AT_TEXT_NAME_MAX];
    const at_tensors *list = &m->source->list;
    for (int k = 0; k < list->text_count; k++)
        if (!strncmp(list->texts[k].name, folders[i], strlen(folders[i])) &&
            list->texts[k].name[strlen(folders[i])] == '/')
            return AT_OK;
    for (int k = 0; k < AT_CLIP_WRITTEN_COUNT; k++) {
        const at_clip_written file = (at_clip_written)k;
        char *text;
        size_t bytes;
        snprintf(name, sizeof name, "%s/%s", folders[i], at_clip_written_name(file));
        AT_TRY(
            at_clip_tokenizer_write(&text, &bytes, i ? AT_CLIP_SDXL_2 : AT_CLIP_SDXL_1, file, err));
        at_status status = write_text(folder, name, text, bytes, err);
        free(text);
        if (status != AT_OK)
            return status;
    }
    return AT_OK;
}

static at_status write_texts(const at_sdxl_model *m, const char *folder, at_error *err)
{
    const at_tensors *list = &m->source->list;
    const char *name;
    for (int i = 0; (name = at_sdxl_text_path(i)); i++) {
        const at_text *t = at_tensors_text(list, name);
        if (t)
            AT_TRY(write_text(folder, name, t->data, t->bytes, err));
    }
    for (int i = 0; i < 2; i++)
        if (m->has[i ? AT_SDXL_TEXT_2 : AT_SDXL_TEXT_1])
            AT_TRY(write_tokenizer(m, folder, i, err));
    if (at_tensors_text(list, "model_index.json"))
        return AT_OK;
    at_sdxl_text index;
    at_status status = at_sdxl_index_write(&index, &m->configs, m->has[AT_SDXL_TEXT_1], err);
    if (status == AT_OK)
        status = write_text(folder, "model_index.json", index.data, index.bytes, err);
    free(index.data);
    return status;
}

/* --- weights ---------------------------------------------------------------------------------- */

/* One bar over all parts. */
typedef struct whole {
    const at_progress *outer;
    uint64_t before, total;
} whole;

static bool report_whole(void *context, uint64_t done, uint64_t total)
{
    const whole *w = context;
    (void)total;
    return w->outer->report(w->outer->context, w->before + done, w->total);
}

/* The part's tensors under diffusers' names. */
static at_status select_part(at_source *out, const at_sdxl_model *m, at_sdxl_part part,
                             at_error *err)
{
    at_sdxl_wanted_list wanted;
    const int source = at_assembled_borrow(out, m->source, err);
    if (source < 0)
        return AT_UNSUPPORTED;
    at_status status = at_sdxl_wanted_of(&wanted, part, &m->configs, err);
    for (int i = 0; i < wanted.count && status == AT_OK; i++) {
        int tensor;
        status = at_sdxl_model_tensor(m, &tensor, part, &wanted.items[i], err);
        if (status != AT_OK)
            break;
        at_stored_tensor t = m->source->list.items[tensor];
        const at_assembly how = { .pieces = { { source, tensor, 0, t.bytes } }, .n = 1 };
        t.name = wanted.items[i].name;
        status = at_assembled_add(out, &t, &how, err);
    }
    at_sdxl_wanted_free(&wanted);
    if (status == AT_OK)
        status = at_tensors_add_text(&out->list, "format", 6, "pt", 2, err);
    return status == AT_OK ? at_assembled_finish(out, err) : status;
}

static at_status write_part(const at_sdxl_model *m, at_sdxl_part part, const char *folder,
                            whole *bar, at_error *err)
{
    const bool text = part == AT_SDXL_TEXT_1 || part == AT_SDXL_TEXT_2;
    const at_progress progress = { report_whole, bar };
    char name[64], path[PATH_BYTES];
    at_source *out;
    snprintf(name, sizeof name, "%s/%s.safetensors", at_sdxl_part_name(part),
             text ? "model" : "diffusion_pytorch_model");
    AT_TRY(join(path, folder, name, err));
    AT_TRY(make_folder_of(path, err));
    AT_TRY(at_assembled_new(&out, "diffusers folder", err));
    at_status status = select_part(out, m, part, err);
    if (status == AT_OK)
        status = at_transfer_export(out, path, bar->outer ? &progress : NULL, err);
    bar->before += at_tensors_bytes(&out->list);
    at_source_close(out);
    return status;
}

at_status at_sdxl_export_folder(at_source *model, const char *path, const at_progress *progress,
                                at_error *err)
{
    char parent[PATH_BYTES], draft[PATH_BYTES];
    at_sdxl_model m;
    whole bar = { .outer = progress, .total = at_tensors_bytes(&model->list) };
    AT_TRY(at_sdxl_model_read(&m, model, err));
    AT_TRY(check_free(path, err));
    snprintf(parent, sizeof parent, "%s", path);
    for (size_t n = strlen(parent); n > 1 && parent[n - 1] == '/'; n--)
        parent[n - 1] = 0;
    char *slash = strrchr(parent, '/');
    if (slash)
        slash[slash == parent] = 0;
    else
        snprintf(parent, sizeof parent, ".");
    AT_TRY(join(draft, parent, ".atelier-export-XXXXXX", err));
    if (!mkdtemp(draft))
        return at_fail(err, AT_IO, "a folder in '%.200s' could not be made: %s", parent,
                       strerror(errno));
    at_status status = write_texts(&m, draft, err);
    for (int i = 0; i < AT_SDXL_PARTS && status == AT_OK; i++)
        if (m.has[i])
            status = write_part(&m, (at_sdxl_part)i, draft, &bar, err);
    if (status == AT_OK)
        status = publish(draft, path, parent, err);
    if (status != AT_OK)
        remove_folder(draft, 2);
    return status;
}
