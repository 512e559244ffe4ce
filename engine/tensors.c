#include "engine/tensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const at_stored_info infos[AT_STORED_COUNT] = {
#define AT_STORED(NAME, name, safetensors, storage, torch, bytes, dtype) \
    [AT_STORED_##NAME] = { name, safetensors, storage, torch, bytes, dtype },
#include "engine/stored.def"
#undef AT_STORED
};

const at_stored_info *at_stored_about(at_stored type)
{
    AT_ASSERT(type > AT_STORED_NONE && type < AT_STORED_COUNT, "stored type %d", (int)type);
    return &infos[type];
}

void at_tensors_free(at_tensors *list)
{
    free(list->items);
    free(list->texts);
    free(list->by_name);
    at_arena_free(list->arena);
    *list = (at_tensors){ 0 };
}

/* --- what is accepted ------------------------------------------------------------------------- */

/* Bytes of the UTF-8 sequence at p, 0 if it is malformed: overlong, a surrogate, past U+10FFFF. */
static size_t sequence_bytes(const unsigned char *p, size_t left)
{
    if (p[0] < 0x80)
        return p[0] != 0;
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || left < n)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool bad = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
               (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f);
    return bad ? 0 : n;
}

bool at_utf8_valid(const char *text, size_t bytes)
{
    const unsigned char *p = (const unsigned char *)text;
    for (size_t i = 0, n; i < bytes; i += n)
        if ((n = sequence_bytes(p + i, bytes - i)) == 0)
            return false;
    return true;
}

static at_status check_name(const char *name, size_t bytes, size_t max, at_error *err)
{
    if (bytes == 0)
        return at_fail(err, AT_CORRUPT, "a name is empty");
    if (bytes > max)
        return at_fail(err, AT_CORRUPT, "a name of %zu bytes; the limit is %zu", bytes, max);
    bool control = false;
    for (size_t i = 0; i < bytes; i++)
        control |= (unsigned char)name[i] < 0x20 || name[i] == 0x7f;
    if (control || !at_utf8_valid(name, bytes))
        return at_fail(err, AT_CORRUPT,
                       "a name is not text: it holds control characters or "
                       "broken UTF-8");
    return AT_OK;
}

bool at_stored_elements(const int64_t *size, int rank, int64_t *elements)
{
    *elements = 1;
    bool empty = false;
    for (int i = 0; i < rank; i++) {
        if (size[i] < 0)
            return false;
        empty |= size[i] == 0;
    }
    for (int i = 0; i < rank && !empty; i++)
        if (__builtin_mul_overflow(*elements, size[i], elements))
            return false;
    *elements = empty ? 0 : *elements;
    return true;
}

static at_status check_tensor(const at_stored_tensor *t, const char *name, size_t name_bytes,
                              at_error *err)
{
    int n = (int)(name_bytes < 200 ? name_bytes : 200);
    if (t->rank < 0 || t->rank > AT_STORED_RANK_MAX)
        return at_fail(err, AT_CORRUPT, "tensor '%.*s' has %d axes; the limit is %d", n, name,
                       t->rank, AT_STORED_RANK_MAX);
    int64_t elements, bytes;
    if (!at_stored_elements(t->size, t->rank, &elements) ||
        __builtin_mul_overflow(elements, at_stored_about(t->type)->bytes, &bytes))
        return at_fail(err, AT_CORRUPT, "tensor '%.*s' has sizes that no memory can hold", n, name);
    if ((uint64_t)bytes != t->bytes)
        return at_fail(err, AT_CORRUPT,
                       "tensor '%.*s' has %" PRIu64 " bytes; its shape needs %" PRId64, n, name,
                       t->bytes, bytes);
    return AT_OK;
}

/* --- filling ---------------------------------------------------------------------------------- */

static at_status no_memory(at_error *err)
{
    return at_fail(err, AT_NO_MEMORY, "no memory for a list of tensors");
}

/* 'bytes' bytes and a zero, in the list's memory. */
static char *keep(at_tensors *list, const void *from, size_t bytes)
{
    if (!list->arena)
        list->arena = at_arena_try_new();
    char *to = list->arena ? at_arena_try(list->arena, bytes + 1) : NULL;
    if (to && bytes)
        memcpy(to, from, bytes);
    return to;
}

/* Room for one more of an array's elements: half as much again, so that memory stays near need. */
static bool make_room(void **array, int count, int *capacity, size_t element_bytes)
{
    if (count < *capacity)
        return true;
    int wanted = *capacity + *capacity / 2 + 16;
    void *grown = realloc(*array, (size_t)wanted * element_bytes);
    if (!grown)
        return false;
    *array = grown;
    *capacity = wanted;
    return true;
}

at_status at_tensors_reserve(at_tensors *list, int64_t count, at_error *err)
{
    if (count > AT_TENSORS_MAX)
        return at_fail(err, AT_CORRUPT, "%" PRId64 " tensors; the limit is %d", count,
                       AT_TENSORS_MAX);
    if (count <= list->capacity)
        return AT_OK;
    void *grown = realloc(list->items, (size_t)count * sizeof *list->items);
    if (!grown)
        return no_memory(err);
    list->items = grown;
    list->capacity = (int)count;
    return AT_OK;
}

at_status at_tensors_add(at_tensors *list, const at_stored_tensor *t, const char *name,
                         size_t name_bytes, at_error *err)
{
    at_status status = check_name(name, name_bytes, AT_TENSOR_NAME_MAX, err);
    if (status == AT_OK)
        status = check_tensor(t, name, name_bytes, err);
    if (status != AT_OK)
        return status;
    if (list->count == AT_TENSORS_MAX)
        return at_fail(err, AT_CORRUPT, "over %d tensors; the limit is that", AT_TENSORS_MAX);
    void *items = list->items;
    if (!make_room(&items, list->count, &list->capacity, sizeof *list->items))
        return no_memory(err);
    list->items = items;
    at_stored_tensor *to = &list->items[list->count];
    *to = *t;
    to->name = keep(list, name, name_bytes);
    to->size =
        (const int64_t *)(const void *)keep(list, t->size, (size_t)t->rank * sizeof *t->size);
    if (!to->name || !to->size)
        return no_memory(err);
    list->count++;
    return AT_OK;
}

at_status at_tensors_add_text(at_tensors *list, const char *name, size_t name_bytes,
                              const char *data, size_t bytes, at_error *err)
{
    at_status status = check_name(name, name_bytes, AT_TEXT_NAME_MAX, err);
    if (status != AT_OK)
        return status;
    if (list->text_count == AT_TEXTS_MAX || bytes > AT_TEXT_BYTES_MAX - list->text_bytes)
        return at_fail(err, AT_CORRUPT, "too many texts, or texts of over %d bytes together",
                       AT_TEXT_BYTES_MAX);
    if (!at_utf8_valid(data, bytes))
        return at_fail(err, AT_CORRUPT, "the text '%.*s' is not UTF-8", (int)name_bytes, name);
    for (int i = 0; i < list->text_count; i++)
        if (!strncmp(list->texts[i].name, name, name_bytes) && !list->texts[i].name[name_bytes])
            return at_fail(err, AT_CORRUPT, "the text '%.*s' is there twice", (int)name_bytes,
                           name);
    void *texts = list->texts;
    if (!make_room(&texts, list->text_count, &list->text_capacity, sizeof *list->texts))
        return no_memory(err);
    list->texts = texts;
    at_text text = { keep(list, name, name_bytes), keep(list, data, bytes), bytes };
    if (!text.name || !text.data)
        return no_memory(err);
    list->texts[list->text_count++] = text;
    list->text_bytes += bytes;
    return AT_OK;
}

/* --- finding ---------------------------------------------------------------------------------- */

typedef struct name_key {
    const char *name;
    uint32_t item;
} name_key;

static int compare_keys(const void *a, const void *b)
{
    return strcmp(((const name_key *)a)->name, ((const name_key *)b)->name);
}

at_status at_tensors_finish(at_tensors *list, at_error *err)
{
    size_t n = (size_t)list->count;
    free(list->by_name);
    list->by_name = malloc((n + 1) * sizeof *list->by_name);
    name_key *keys = malloc((n + 1) * sizeof *keys);
    at_status status = list->by_name && keys ? AT_OK : no_memory(err);
    for (size_t i = 0; i < n && status == AT_OK; i++)
        keys[i] = (name_key){ list->items[i].name, (uint32_t)i };
    if (status == AT_OK && n)
        qsort(keys, n, sizeof *keys, compare_keys);
    for (size_t i = 0; i < n && status == AT_OK; i++) {
        list->by_name[i] = keys[i].item;
        if (i > 0 && !strcmp(keys[i - 1].name, keys[i].name))
            status = at_fail(err, AT_CORRUPT, "tensor '%.200s' is there twice", keys[i].name);
    }
    free(keys);
    return status;
}

int at_tensors_find(const at_tensors *list, const char *name)
{
    int low = 0, high = list->count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        int order = strcmp(list->items[list->by_name[middle]].name, name);
        if (order == 0)
            return (int)list->by_name[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

const at_text *at_tensors_text(const at_tensors *list, const char *name)
{
    for (int i = 0; i < list->text_count; i++)
        if (!strcmp(list->texts[i].name, name))
            return &list->texts[i];
    return NULL;
}

uint64_t at_tensors_bytes(const at_tensors *list)
{
    uint64_t bytes = 0;
    for (int i = 0; i < list->count; i++)
        bytes += list->items[i].bytes;
    return bytes;
}

void at_stored_shape_text(const at_stored_tensor *t, char *text, size_t room)
{
    size_t used = 0;
    snprintf(text, room, "scalar");
    for (int i = 0; i < t->rank && used < room; i++)
        used += (size_t)snprintf(text + used, room - used, "%s%" PRId64, i ? "x" : "", t->size[i]);
}
