/* The order of tensors is that of the format's library: by type, aligned types first, then by name.
 * Its readers accept any order; the same one makes the same file, which can be compared. The
 * header goes to the file in pieces as it is made, and its length, known only then, last. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/json_write.h"
#include "engine/safetensors.h"

enum { BUFFER_BYTES = 4 << 20, LENGTH_BYTES = 8, ALIGN = 8 };

/* The rank of a type in the library: its enum from the last to the first. */
static const at_stored type_order[] = {
    AT_STORED_U64,     AT_STORED_I64,     AT_STORED_F64, AT_STORED_F32, AT_STORED_U32,
    AT_STORED_I32,     AT_STORED_BF16,    AT_STORED_F16, AT_STORED_U16, AT_STORED_I16,
    AT_STORED_F8_E4M3, AT_STORED_F8_E5M2, AT_STORED_I8,  AT_STORED_U8,  AT_STORED_BOOL,
};
_Static_assert(AT_COUNT(type_order) == AT_STORED_COUNT - 1, "a stored type has no place");

typedef struct writer {
    const char *path;
    const at_tensors *list;
    const at_tensor_bytes *from;
    const at_progress *progress;
    at_draft *draft;
    uint32_t *order; /* of the list's tensors in the file */
    uint64_t at, total;
    unsigned char *buffer; /* 'room' bytes, 'used' of them waiting to be written */
    size_t used, room;
    bool draft_failed;
} writer;

/* A pass for each type over the names in order; needs no sorting. */
static at_status make_order(writer *w, at_error *err)
{
    size_t n = 0, count = (size_t)w->list->count;
    w->order = malloc((count + 1) * sizeof *w->order);
    if (!w->order)
        return at_fail(err, AT_NO_MEMORY, "%s: no memory to order %zu tensors", w->path, count);
    for (size_t k = 0; k < AT_COUNT(type_order); k++)
        for (size_t i = 0; i < count; i++) {
            uint32_t item = w->list->by_name[i];
            if (w->list->items[item].type == type_order[k])
                w->order[n++] = item;
        }
    return AT_OK;
}

/* --- the header ------------------------------------------------------------------------------- */

static at_status take_header(void *context, const char *text, size_t bytes, at_error *err)
{
    writer *w = context;
    at_status status = at_draft_write(w->draft, w->at, text, bytes, err);
    w->draft_failed |= status != AT_OK;
    w->at += bytes;
    return status;
}

static void put_tensor(at_json_writer *json, const at_stored_tensor *t, uint64_t from)
{
    const char *type = at_stored_about(t->type)->safetensors;
    at_json_write_key(json, t->name);
    at_json_write_object(json);
    at_json_write_key(json, "dtype");
    at_json_write_string(json, type, strlen(type));
    at_json_write_key(json, "shape");
    at_json_write_array(json);
    for (int i = 0; i < t->rank; i++)
        at_json_write_int(json, t->size[i]);
    at_json_write_close(json);
    at_json_write_key(json, "data_offsets");
    at_json_write_array(json);
    at_json_write_uint(json, from);
    at_json_write_uint(json, from + t->bytes);
    at_json_write_close(json);
    at_json_write_close(json);
}

static void put_header(const writer *w, at_json_writer *json)
{
    const at_tensors *list = w->list;
    uint64_t from = 0;
    at_json_write_object(json);
    if (list->text_count > 0) {
        at_json_write_key(json, "__metadata__");
        at_json_write_object(json);
        for (int i = 0; i < list->text_count; i++) {
            at_json_write_key(json, list->texts[i].name);
            at_json_write_string(json, list->texts[i].data, list->texts[i].bytes);
        }
        at_json_write_close(json);
    }
    for (int i = 0; i < list->count && json->status == AT_OK; i++) {
        const at_stored_tensor *t = &list->items[w->order[i]];
        put_tensor(json, t, from);
        from += t->bytes;
    }
    at_json_write_close(json);
}

static at_status write_header(writer *w, at_error *err)
{
    at_json_writer json = { .bytes_max = AT_SAFETENSORS_HEADER_MAX - ALIGN,
                            .sink = { take_header, w } };
    unsigned char length[LENGTH_BYTES];
    w->at = LENGTH_BYTES;
    put_header(w, &json);
    at_error why = { AT_OK, "" };
    at_status status = at_json_write_end(&json, &why);
    if (status != AT_OK && w->draft_failed) /* whose sentences name the file themselves */
        at_fail(err, status, "%s", why.text);
    else if (status != AT_OK)
        at_fail(err, status, "%s: %s", w->path, why.text);
    uint64_t bytes = (json.total + ALIGN - 1) / ALIGN * ALIGN;
    if (status == AT_OK && bytes > json.total)
        status = take_header(w, "        ", (size_t)(bytes - json.total), err);
    for (int i = 0; i < LENGTH_BYTES; i++)
        length[i] = (unsigned char)(bytes >> 8 * i);
    if (status == AT_OK)
        status = at_draft_write(w->draft, 0, length, sizeof length, err);
    at_json_writer_free(&json);
    return status;
}

/* --- the tensors ------------------------------------------------------------------------------ */

static at_status flush(writer *w, at_error *err)
{
    at_status status = AT_OK;
    if (w->used > 0)
        status = at_draft_write(w->draft, w->at, w->buffer, w->used, err);
    w->at += w->used;
    w->used = 0;
    if (status != AT_OK)
        return status;
    return at_progress_report(w->progress, w->at, w->total, err);
}

static at_status write_tensor(writer *w, int item, at_error *err)
{
    uint64_t bytes = w->list->items[item].bytes, done = 0;
    at_status status = AT_OK;
    while (done < bytes && status == AT_OK) {
        size_t n = w->room - w->used;
        if (bytes - done < n)
            n = (size_t)(bytes - done);
        status = w->from->read(w->from->context, item, done, w->buffer + w->used, n, err);
        w->used += n;
        done += n;
        if (status == AT_OK && w->used == w->room)
            status = flush(w, err);
    }
    return status;
}

static at_status write_tensors(writer *w, at_error *err)
{
    uint64_t bytes = at_tensors_bytes(w->list);
    at_status status;
    w->total = w->at + bytes;
    w->room = bytes < BUFFER_BYTES ? (size_t)bytes + 1 : BUFFER_BYTES;
    w->buffer = malloc(w->room);
    if (!w->buffer)
        return at_fail(err, AT_NO_MEMORY, "%s: no memory for %zu bytes to write from", w->path,
                       w->room);
    status = at_draft_reserve(w->draft, w->total, err);
    for (int i = 0; i < w->list->count && status == AT_OK; i++)
        status = write_tensor(w, (int)w->order[i], err);
    return status == AT_OK ? flush(w, err) : status;
}

static at_status check_names(const writer *w, at_error *err)
{
    const at_tensors *list = w->list;
    AT_ASSERT(list->by_name, "a list of %d tensors is not finished", list->count);
    if (at_tensors_find(list, "__metadata__") >= 0)
        return at_fail(err, AT_INVALID,
                       "%s: a tensor is named '__metadata__', which is the place of texts",
                       w->path);
    return AT_OK;
}

at_status at_safetensors_write(const char *path, const at_tensors *list,
                               const at_tensor_bytes *from, const at_progress *progress,
                               at_error *err)
{
    writer w = { .path = at_safetensors_path(path), .list = list, .from = from };
    w.progress = progress;
    at_status status = check_names(&w, err);
    if (status == AT_OK)
        status = make_order(&w, err);
    if (status == AT_OK)
        status = at_draft_new(&w.draft, path, err);
    if (status == AT_OK)
        status = write_header(&w, err);
    if (status == AT_OK)
        status = write_tensors(&w, err);
    if (status == AT_OK)
        status = at_draft_publish(w.draft, err);
    if (w.draft)
        at_draft_free(w.draft);
    free(w.buffer);
    free(w.order);
    return status;
}
