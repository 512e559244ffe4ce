#include "engine/checkpoint_params.h"

#include <stdlib.h>

/* For each parameter the tensor that holds it; NONE: slices bring it, or what it is a part of. */
enum { NONE = -1 };

/* How many rows of each parameter are slices with names of their own, or parts of a joined one. */
static int64_t *count_sliced_rows(at_params *store)
{
    int count = at_params_count(store);
    int64_t *rows = calloc((size_t)count + 1, sizeof *rows);
    for (int i = 0; i < count && rows; i++) {
        const at_param *p = at_params_at(store, i);
        if (p->storage != p)
            rows[p->storage->index] += p->view.size[0];
        for (int k = 0; k < p->n_parts; k++)
            rows[p->parts[k]->index] += p->view.size[0];
    }
    return rows;
}

static at_status check_param(const at_param *p, const at_stored_tensor *t, at_error *err)
{
    char found[160], expected[160];
    at_stored_tensor wanted = { .size = p->view.size, .rank = (int16_t)p->view.rank };
    bool same = at_stored_about(t->type)->dtype == p->view.dtype && t->rank == wanted.rank &&
                t->bytes == (uint64_t)at_view_bytes(&p->view);
    for (int a = 0; a < wanted.rank && same; a++)
        same = t->size[a] == wanted.size[a];
    if (same)
        return AT_OK;
    at_stored_shape_text(t, found, sizeof found);
    at_stored_shape_text(&wanted, expected, sizeof expected);
    return at_fail(err, AT_INVALID, "parameter '%s': expected %s %s, found %s %s", p->name,
                   at_dtype_name(p->view.dtype), expected, at_stored_about(t->type)->name, found);
}

/* Whether everything is there and whole, before anything is changed. */
static at_status find_tensors(int *tensors, at_params *store, at_checkpoint *c,
                              const int64_t *sliced, at_error *err)
{
    const at_tensors *list = at_checkpoint_list(c);
    at_status status = AT_OK;
    for (int i = 0; i < at_params_count(store) && status == AT_OK; i++) {
        const at_param *p = at_params_at(store, i);
        tensors[i] = at_tensors_find(list, p->name);
        if (tensors[i] == NONE && sliced[i] >= p->view.size[0])
            continue;
        if (tensors[i] == NONE)
            return at_fail(err, AT_NOT_FOUND, "parameter '%s' is not among the %d tensors", p->name,
                           list->count);
        status = check_param(p, &list->items[tensors[i]], err);
        if (status == AT_OK && !at_checkpoint_data(c, tensors[i], err))
            status = AT_CORRUPT;
    }
    return status;
}

at_status at_params_load(at_params *store, at_checkpoint *c, at_error *err)
{
    int count = at_params_count(store);
    int64_t *sliced = count_sliced_rows(store);
    int *tensors = malloc(((size_t)count + 1) * sizeof *tensors);
    at_status status = sliced && tensors ? find_tensors(tensors, store, c, sliced, err)
                                         : at_fail(err, AT_NO_MEMORY,
                                                   "no memory to load %d "
                                                   "parameters",
                                                   count);
    for (int i = 0; i < count && status == AT_OK; i++)
        if (tensors[i] != NONE)
            at_param_upload(store, at_params_at(store, i), at_checkpoint_data(c, tensors[i], err));
    free(tensors);
    free(sliced);
    return status;
}

at_param *at_params_from(at_params *store, at_checkpoint *c, const char *name, at_error *err)
{
    static const int64_t one[] = { 1 };
    const at_tensors *list = at_checkpoint_list(c);
    int i = at_tensors_find(list, name);
    if (i == NONE) {
        at_fail(err, AT_NOT_FOUND, "there is no tensor '%s' among the %d", name, list->count);
        return NULL;
    }
    const at_stored_tensor *t = &list->items[i];
    const at_stored_info *info = at_stored_about(t->type);
    if (info->dtype == AT_NONE || t->rank > AT_RANK_MAX || t->bytes == 0) {
        at_fail(err, AT_UNSUPPORTED,
                "tensor '%s' is %s with %d axes and %llu bytes; no op takes it", name, info->name,
                t->rank, (unsigned long long)t->bytes);
        return NULL;
    }
    const void *data = at_checkpoint_data(c, i, err);
    int rank = t->rank ? t->rank : 1;
    const int64_t *size = t->rank ? t->size : one;
    if (!data)
        return NULL;
    if (at_params_device(store)->api->uses_host_memory)
        return at_params_lend(store, name, info->dtype, rank, size, data);
    at_param *p = at_params_add(store, name, info->dtype, rank, size, err);
    if (p)
        at_param_upload(store, p, data);
    return p;
}
