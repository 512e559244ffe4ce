#include "engine/transfer.h"

#include <stdlib.h>
#include <string.h>

#include "engine/checkpoint.h"
#include "engine/safetensors.h"

static const size_t piece_bytes = (size_t)8 << 20;

/* --- lists ------------------------------------------------------------------------------------ */

typedef enum own_texts { OWN_TEXTS_STAY, OWN_TEXTS_COME } own_texts;

static bool is_own(const at_text *t)
{
    return !strncmp(t->name, AT_TEXT_OWN, strlen(AT_TEXT_OWN));
}

static bool is_among(const at_text *t, const at_text *texts, int n)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(texts[i].name, t->name))
            return true;
    return false;
}

static at_status add_text(at_tensors *to, const at_text *t, at_error *err)
{
    return at_tensors_add_text(to, t->name, strlen(t->name), t->data, t->bytes, err);
}

/* The tensors of 'from', its texts but for those that 'more' replaces, and 'more'. */
static at_status copy_list(at_tensors *to, const at_tensors *from, own_texts own,
                           const at_text *more, int n_more, at_error *err)
{
    at_status status = at_tensors_reserve(to, from->count, err);
    for (int i = 0; i < from->count && status == AT_OK; i++) {
        const at_stored_tensor *t = &from->items[i];
        status = at_tensors_add(to, t, t->name, strlen(t->name), err);
    }
    for (int i = 0; i < from->text_count && status == AT_OK; i++) {
        const at_text *t = &from->texts[i];
        if (!is_among(t, more, n_more) && (own == OWN_TEXTS_COME || !is_own(t)))
            status = add_text(to, t, err);
    }
    for (int i = 0; i < n_more && status == AT_OK; i++)
        status = add_text(to, &more[i], err);
    return status == AT_OK ? at_tensors_finish(to, err) : status;
}

/* --- import ----------------------------------------------------------------------------------- */

typedef struct copy_job {
    at_source *from;
    at_checkpoint_writer *to;
    unsigned char *piece;
    const at_progress *progress;
    uint64_t done, total;
} copy_job;

static at_status copy_tensor(copy_job *j, int i, at_error *err)
{
    uint64_t bytes = j->from->list.items[i].bytes;
    for (uint64_t at = 0; at < bytes;) {
        size_t n = bytes - at < piece_bytes ? (size_t)(bytes - at) : piece_bytes;
        at_status status = at_source_read(j->from, i, at, j->piece, n, err);
        if (status == AT_OK)
            status = at_checkpoint_write(j->to, i, at, j->piece, n, err);
        at += n;
        j->done += n;
        if (status == AT_OK)
            status = at_progress_report(j->progress, j->done, j->total, err);
        if (status != AT_OK)
            return status;
    }
    return AT_OK;
}

at_status at_transfer_import(at_source *from, const char *path, const at_text *more, int n_more,
                             const at_progress *progress, at_error *err)
{
    at_tensors list = { 0 };
    copy_job j = { .from = from,
                   .progress = progress,
                   .total = at_tensors_bytes(&from->list),
                   .piece = malloc(piece_bytes) };
    at_status status = j.piece ? copy_list(&list, &from->list, OWN_TEXTS_COME, more, n_more, err)
                               : at_fail(err, AT_NO_MEMORY, "no memory to import '%s'", path);
    if (status == AT_OK)
        status = at_checkpoint_writer_new(&j.to, path, &list, err);
    for (int i = 0; i < list.count && status == AT_OK; i++)
        status = copy_tensor(&j, i, err);
    if (status == AT_OK)
        status = at_checkpoint_writer_finish(j.to, err);
    at_checkpoint_writer_free(j.to);
    at_tensors_free(&list);
    free(j.piece);
    return status;
}

/* --- export ----------------------------------------------------------------------------------- */

static at_status read_source(void *context, int i, uint64_t from, void *out, size_t bytes,
                             at_error *err)
{
    return at_source_read(context, i, from, out, bytes, err);
}

at_status at_transfer_export(at_source *from, const char *path, const at_progress *progress,
                             at_error *err)
{
    at_tensors list = { 0 };
    at_tensor_bytes bytes = { read_source, from };
    at_status status = copy_list(&list, &from->list, OWN_TEXTS_STAY, NULL, 0, err);
    if (status == AT_OK)
        status = at_safetensors_write(path, &list, &bytes, progress, err);
    at_tensors_free(&list);
    return status;
}
