#include "engine/param.h"

#include <stdlib.h>
#include <string.h>

#include "engine/arena.h"

typedef struct form {
    at_param *param;
    const char *key;
    void *data;
    size_t bytes;
    uint64_t version; /* of the parameter when the form was made */
} form;

struct at_params {
    at_device *device;
    at_arena *arena;
    at_param **params;
    int count, capacity;
    form *forms;
    int n_forms, forms_capacity;
    size_t bytes, form_bytes;
    at_params_offer *offer;
    void *offer_context;
    at_params_read *read;
    void *read_context;
};

at_params *at_params_new(at_device *device)
{
    at_params *store = calloc(1, sizeof *store);
    AT_ASSERT(store, "no memory for a parameter store");
    store->device = device;
    store->arena = at_arena_new();
    return store;
}

void at_params_free(at_params *store)
{
    if (!store)
        return;
    for (int i = 0; i < store->n_forms; i++)
        at_device_free(store->device, store->forms[i].data, store->forms[i].bytes);
    for (int i = 0; i < store->count && store->device; i++)
        if (store->params[i]->storage == store->params[i] && !store->params[i]->lent)
            at_device_free(store->device, store->params[i]->view.data,
                           at_view_bytes(&store->params[i]->view));
    free(store->forms);
    free(store->params);
    at_arena_free(store->arena);
    free(store);
}

at_device *at_params_device(at_params *store)
{
    return store->device;
}

int at_params_count(const at_params *store)
{
    return store->count;
}

at_param *at_params_at(at_params *store, int i)
{
    AT_ASSERT(i >= 0 && i < store->count, "parameter %d of %d", i, store->count);
    return store->params[i];
}

at_param *at_params_named(at_params *store, const char *name)
{
    for (int i = 0; i < store->count; i++)
        if (!strcmp(store->params[i]->name, name))
            return store->params[i];
    return NULL;
}

static at_param *append(at_params *store, const char *name, at_view view)
{
    at_param *p = at_arena_alloc(store->arena, sizeof *p);
    store->params = at_grow(store->params, store->count, &store->capacity, sizeof(at_param *));
    store->params[store->count] = p;
    *p = (at_param){ .name = at_arena_text(store->arena, name),
                     .view = view,
                     .storage = p,
                     .version = 1,
                     .index = store->count++ };
    return p;
}

void at_params_accept(at_params *store, at_params_offer *offer, void *context)
{
    store->offer = offer;
    store->offer_context = context;
}

void at_params_tell(at_params *store, at_params_read *read, void *context)
{
    store->read = read;
    store->read_context = context;
}

at_param *at_params_add(at_params *store, const char *name, at_dtype dtype, int rank,
                        const int64_t *size, at_error *err)
{
    const void *lent = store->offer ? store->offer(store->offer_context, store->count) : NULL;
    if (lent)
        return at_params_lend(store, name, dtype, rank, size, lent);
    at_view view = at_view_of(dtype, rank, size);
    size_t bytes = at_view_bytes(&view);
    if (store->device)
        view.data = at_device_alloc_zeroed(store->device, bytes);
    if (store->device && !view.data) {
        at_fail(err, AT_NO_MEMORY, "no memory for parameter %s: %zu bytes", name, bytes);
        return NULL;
    }
    store->bytes += bytes;
    return append(store, name, view);
}

at_param *at_params_lend(at_params *store, const char *name, at_dtype dtype, int rank,
                         const int64_t *size, const void *data)
{
    AT_ASSERT(store->device->api->uses_host_memory, "%s: device %s does not use the host's memory",
              name, store->device->api->name);
    at_view view = at_view_of(dtype, rank, size);
    view.data = (void *)(uintptr_t)data; /* nobody writes: see at_param_upload() */
    at_param *p = append(store, name, view);
    p->lent = true;
    return p;
}

at_param *at_params_slice(at_params *store, const char *name, at_param *storage, int64_t first,
                          int64_t n)
{
    at_view view = storage->view;
    AT_ASSERT(first >= 0 && n > 0 && first + n <= view.size[0],
              "%s: rows %lld to %lld of %s, which has %lld", name, (long long)first,
              (long long)(first + n), storage->name, (long long)view.size[0]);
    size_t row = at_view_bytes(&view) / (size_t)view.size[0];
    view.size[0] = n;
    if (view.rank == 1)
        view.pitch = n;
    if (view.data)
        view.data = (char *)view.data + row * (size_t)first;
    at_param *p = append(store, name, view);
    p->storage = storage->storage;
    p->offset = storage->offset + row * (size_t)first;
    return p;
}

at_param *at_params_join(at_params *store, const char *name, at_param *const *parts, int n)
{
    at_view view = parts[0]->view;
    at_param **own = at_arena_alloc(store->arena, (size_t)n * sizeof(at_param *));
    own[0] = parts[0];
    for (int i = 1; i < n; i++) {
        at_view expected = parts[i]->view;
        own[i] = parts[i];
        view.size[1] += expected.size[1];
        expected.size[1] = parts[0]->view.size[1];
        AT_ASSERT(at_same_shape(&expected, &parts[0]->view) && expected.dtype == view.dtype,
                  "%s: parts differ in more than their second axis", name);
    }
    view = at_view_of(view.dtype, view.rank, view.size);
    at_param *p = append(store, name, view);
    p->parts = own;
    p->n_parts = n;
    return p;
}

/* Bytes that follow from row 'row' of a dense parameter to the next. */
static size_t row_bytes(const at_param *p)
{
    return at_view_bytes(&p->view) / (size_t)p->view.size[0];
}

void at_param_upload(at_params *store, at_param *p, const void *host)
{
    const char *from = host;
    AT_ASSERT(!p->storage->lent, "parameter %s is lent: it can only be read", p->name);
    if (!p->n_parts)
        at_device_upload(store->device, p->view.data, host, at_view_bytes(&p->view));
    for (int64_t r = 0; p->n_parts && r < p->view.size[0]; r++)
        for (int i = 0; i < p->n_parts; i++) {
            const size_t bytes = row_bytes(p->parts[i]);
            char *to = (char *)p->parts[i]->view.data + (size_t)r * bytes;
            at_device_upload(store->device, to, from, bytes);
            from += bytes;
        }
    at_param_touch(p);
}

void at_param_download(at_params *store, const at_param *p, void *host)
{
    char *to = host;
    if (!p->n_parts)
        at_device_download(store->device, host, p->view.data, at_view_bytes(&p->view));
    for (int64_t r = 0; p->n_parts && r < p->view.size[0]; r++)
        for (int i = 0; i < p->n_parts; i++) {
            const size_t bytes = row_bytes(p->parts[i]);
            const char *from = (const char *)p->parts[i]->view.data + (size_t)r * bytes;
            at_device_download(store->device, to, from, bytes);
            to += bytes;
        }
}

void at_param_touch(at_param *p)
{
    for (int i = 0; i < p->n_parts; i++)
        p->parts[i]->storage->version++;
    p->storage->version++;
}

uint64_t at_param_version(const at_param *p)
{
    return p->storage->version;
}

static form *find_form(const at_params *store, const at_param *p, const char *key)
{
    for (int i = 0; i < store->n_forms; i++)
        if (store->forms[i].param == p && !strcmp(store->forms[i].key, key))
            return &store->forms[i];
    return NULL;
}

bool at_params_has_form(const at_params *store, const at_param *p, const char *key)
{
    return find_form(store, p, key) != NULL;
}

void *at_params_form(at_params *store, at_param *p, const at_prepared *prepared, int index)
{
    const at_form *wanted = &prepared->forms[index];
    form *f = find_form(store, p, wanted->key);
    if (!f) {
        void *data = at_device_alloc(store->device, wanted->bytes);
        if (!data)
            return NULL;
        store->forms = at_grow(store->forms, store->n_forms, &store->forms_capacity, sizeof *f);
        f = &store->forms[store->n_forms++];
        *f = (form){ p, at_arena_text(store->arena, wanted->key), data, wanted->bytes, 0 };
        store->form_bytes += wanted->bytes;
    }
    AT_ASSERT(f->bytes == wanted->bytes, "form %s of %s has %zu bytes, expected %zu", wanted->key,
              p->name, f->bytes, wanted->bytes);
    if (f->version != at_param_version(p)) {
        wanted->pack(prepared, index, f->data, &p->view, &store->device->stream);
        if (p->storage->lent && store->read)
            store->read(store->read_context, p->view.data, at_view_bytes(&p->view));
        f->version = at_param_version(p);
    }
    return f->data;
}

size_t at_params_bytes(const at_params *store)
{
    return store->bytes;
}

size_t at_params_form_bytes(const at_params *store)
{
    return store->form_bytes;
}
