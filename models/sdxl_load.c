/* sdxl_load.c -- a part's weights on their way into a device's memory.
 *
 * A parameter whose tensor has the wanted type is computed from where it lies in the file, and so
 * is a storage whose slices lie end to end there; q, k and v, for example, of a file that was
 * imported in this order. What is left is copied, on all threads, and the file's pages are given
 * back at once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu.h"
#include "kernels/ops.h"
#include "kernels/parallel.h"
#include "kernels/shape.h"
#include "models/sdxl_own.h"

enum { NONE = -1, ALIGN = 64 };

static const size_t copy_grain = (size_t)1 << 20;   /* bytes that one thread copies at a time */
static const size_t upload_piece = (size_t)8 << 20; /* bytes that are converted for an upload */

/* Memory, as kernels want it, that grows to what was asked of it most. */
typedef struct scratch {
    void *data;
    size_t bytes;
} scratch;

typedef struct loading {
    at_sdxl *m;
    at_sdxl_part part;
    at_dtype dtype;
    const at_weight_change *change;
    at_caps caps; /* of the host */
    at_stream stream;
    int count;         /* parameters of the store, by their numbers there: */
    int *tensors;      /* which of the file's holds it; NONE: none does */
    bool *changed;     /* 'change' touches it */
    const void **lent; /* where it lies in the file; NULL: it is copied */
    scratch wide, narrow, work;
} loading;

static at_status no_memory(const loading *l, size_t bytes, at_error *err)
{
    return at_fail(err, AT_NO_MEMORY, "%.160s: no memory to load the %s: %zu bytes", l->m->path,
                   at_sdxl_part_name(l->part), bytes);
}

static at_status reserve(loading *l, scratch *s, size_t bytes, at_error *err)
{
    if (s->bytes >= bytes)
        return AT_OK;
    free(s->data);
    *s = (scratch){ .bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN };
    s->data = aligned_alloc(ALIGN, s->bytes);
    if (s->data)
        return AT_OK;
    s->bytes = 0;
    return no_memory(l, bytes, err);
}

static const at_stored_tensor *tensor_of(const loading *l, int param)
{
    return &at_checkpoint_list(l->m->file)->items[l->tensors[param]];
}

static at_dtype dtype_of(const at_stored_tensor *t)
{
    return at_stored_about(t->type)->dtype;
}

/* --- what can stay where it is ---------------------------------------------------------------- */

/* The storage's first byte in the file, as slice or storage 'p' tells it; false: p cannot stay. */
static bool find_base(const loading *l, const at_param *p, uint64_t *base)
{
    if (l->tensors[p->index] == NONE || l->changed[p->index])
        return false;
    const at_stored_tensor *t = tensor_of(l, p->index);
    *base = t->offset - p->offset;
    return dtype_of(t) == l->dtype && t->offset >= p->offset;
}

/* Where the slices of storages lie in the file, and whether they lie there as in their storage:
 * 'bases' and 'held', the bytes of theirs that do, by the storages' numbers. */
static void find_lent(loading *l, at_params *store, uint64_t *bases, size_t *held)
{
    for (int i = 0; i < l->count; i++) {
        const at_param *p = at_params_at(store, i);
        const int s = p->storage->index;
        uint64_t base;
        if (p->n_parts || !find_base(l, p, &base) || (held[s] && bases[s] != base))
            continue;
        bases[s] = base;
        held[s] += at_view_bytes(&p->view);
    }
}

/* The addresses of storages that are in the file as a whole. Checksums were compared before. */
static at_status lend(loading *l, at_params *store, at_error *err)
{
    uint64_t *bases = calloc((size_t)l->count + 1, sizeof *bases);
    size_t *held = calloc((size_t)l->count + 1, sizeof *held);
    at_status status = bases && held ? AT_OK : no_memory(l, (size_t)l->count * sizeof *bases, err);
    if (status == AT_OK)
        find_lent(l, store, bases, held);
    for (int i = 0; i < l->count && status == AT_OK; i++) {
        const at_param *p = at_params_at(store, i), *s = p->storage;
        if (p->n_parts || l->tensors[i] == NONE || p->offset ||
            held[s->index] != at_view_bytes(&s->view))
            continue;
        l->lent[s->index] = at_checkpoint_data(l->m->file, l->tensors[i], err);
        if (!l->lent[s->index])
            status = AT_CORRUPT;
    }
    free(held);
    free(bases);
    return status;
}

/* What a form was made of need not stay in memory beside it. */
static void rest(void *context, const void *data, size_t bytes)
{
    at_checkpoint_rest_bytes(context, data, bytes);
}

static const void *offer(void *context, int index)
{
    const loading *l = context;
    AT_ASSERT(index < l->count, "parameter %d of %d", index, l->count);
    return l->lent[index];
}

/* --- checksums -------------------------------------------------------------------------------- */

/* What is damaged is told afterwards, by who asks for it. */
static void compare_sums(void *context, int64_t begin, int64_t end, int worker)
{
    const loading *l = context;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        if (l->tensors[i] != NONE)
            (void)at_checkpoint_data(l->m->file, l->tensors[i], NULL);
}

static at_status check_sums(loading *l, at_error *err)
{
    if (!at_checkpoint_trusted(l->m->file))
        at_parallel_uneven(&l->stream, l->count, 1, compare_sums, l);
    for (int i = 0; i < l->count; i++)
        if (l->tensors[i] != NONE && !at_checkpoint_data(l->m->file, l->tensors[i], err))
            return AT_CORRUPT;
    return AT_OK;
}

/* --- copies ----------------------------------------------------------------------------------- */

typedef struct copy {
    char *to;
    const char *from;
} copy;

static void copy_part(void *context, int64_t begin, int64_t end, int worker)
{
    const copy *c = context;
    (void)worker;
    memcpy(c->to + begin, c->from + begin, (size_t)(end - begin));
}

/* n elements from one type to another, by the op that does it in graphs. */
static at_status convert(loading *l, void *to, at_dtype to_type, const void *from,
                         at_dtype from_type, int64_t n, at_error *err)
{
    static const at_dtype types[] = { AT_F32, AT_BF16, AT_F16 }; /* as in AT_CAST_TYPES */
    const at_prepare_in in = { .caps = &l->caps };
    at_cast_args args = { .x = at_view_of(from_type, 1, &n) };
    at_launch launch = { .stream = &l->stream, .err = err };
    at_prepared prepared = { 0 };
    const at_variant *variant;
    copy c = { to, from };
    if (to_type == from_type) {
        at_parallel(&l->stream, n * (int64_t)at_dtype_bytes(to_type), (int64_t)copy_grain,
                    copy_part, &c);
        return AT_OK;
    }
    while (types[args.to] != to_type)
        args.to++;
    AT_TRY(at_op_shape(&at_op_cast, &args, 0, err));
    AT_TRY(at_op_choose(&at_op_cast, &args, &in, &variant, &prepared, err));
    args.x.data = (void *)(uintptr_t)from; /* it is only read */
    args.y.data = to;
    at_status status = reserve(l, &l->work, prepared.scratch_bytes, err);
    launch.scratch = l->work.data;
    if (status == AT_OK)
        status = variant->run(&args, &prepared, &launch);
    at_release(variant, &prepared);
    return status;
}

/* A changed tensor, in f32. */
static at_status apply_change(loading *l, const at_param *p, const void **from, at_dtype *type,
                              at_error *err)
{
    const int64_t n = at_elements(&p->view);
    char name[AT_SDXL_NAME_MAX];
    AT_TRY(reserve(l, &l->wide, (size_t)n * sizeof(float), err));
    AT_TRY(convert(l, l->wide.data, AT_F32, *from, *type, n, err));
    at_sdxl_tensor_name(name, l->part, p);
    AT_TRY(l->change->add(l->change->context, name, l->wide.data, n, err));
    *from = l->wide.data;
    *type = AT_F32;
    return AT_OK;
}

/* To memory that the host does not see, by pieces. */
static at_status upload(loading *l, at_param *p, const char *from, at_dtype type, at_error *err)
{
    const size_t to_bytes = at_dtype_bytes(l->dtype), from_bytes = at_dtype_bytes(type);
    const int64_t n = at_elements(&p->view), most = (int64_t)(upload_piece / to_bytes);
    AT_TRY(reserve(l, &l->narrow, upload_piece, err));
    for (int64_t at = 0; at < n; at += most) {
        const int64_t now = n - at < most ? n - at : most;
        AT_TRY(
            convert(l, l->narrow.data, l->dtype, from + (size_t)at * from_bytes, type, now, err));
        at_device_upload(l->m->device, (char *)p->view.data + (size_t)at * to_bytes, l->narrow.data,
                         (size_t)now * to_bytes);
    }
    at_param_touch(p);
    return AT_OK;
}

static at_status bring(loading *l, at_params *store, at_param *p, at_error *err)
{
    const int64_t n = at_elements(&p->view);
    at_dtype type = dtype_of(tensor_of(l, p->index));
    const void *from = at_checkpoint_data(l->m->file, l->tensors[p->index], err);
    if (!from)
        return AT_CORRUPT;
    if (l->changed[p->index])
        AT_TRY(apply_change(l, p, &from, &type, err));
    if (l->m->device->api->uses_host_memory && !p->n_parts) {
        AT_TRY(convert(l, p->view.data, l->dtype, from, type, n, err));
        at_param_touch(p);
    } else if (type != l->dtype && !p->n_parts) {
        AT_TRY(upload(l, p, from, type, err));
    } else if (type != l->dtype) {
        AT_TRY(reserve(l, &l->narrow, at_view_bytes(&p->view), err));
        AT_TRY(convert(l, l->narrow.data, l->dtype, from, type, n, err));
        at_param_upload(store, p, l->narrow.data);
    } else {
        at_param_upload(store, p, from);
    }
    at_checkpoint_rest(l->m->file, l->tensors[p->index]);
    return AT_OK;
}

static at_status bring_all(loading *l, const at_sdxl_described *d, at_error *err)
{
    for (int i = 0; i < at_sdxl_described_count(d); i++) {
        at_param *p = at_sdxl_described_param(d, i);
        if (!p->storage->lent)
            AT_TRY(bring(l, d->store, p, err));
    }
    at_device_wait(l->m->device);
    return at_device_check(l->m->device, err);
}

/* --- a part ----------------------------------------------------------------------------------- */

static at_status find_tensors(loading *l, const at_sdxl_described *d, at_error *err)
{
    const at_tensors *list = at_checkpoint_list(l->m->file);
    char name[AT_SDXL_NAME_MAX];
    l->count = at_params_count(d->store);
    const size_t room = (size_t)l->count + 1;
    l->tensors = malloc(room * sizeof *l->tensors);
    l->changed = calloc(room, sizeof *l->changed);
    l->lent = calloc(room, sizeof *l->lent);
    if (!l->tensors || !l->changed || !l->lent)
        return no_memory(l, room * sizeof *l->lent, err);
    for (int i = 0; i < l->count; i++)
        l->tensors[i] = NONE;
    for (int i = 0; i < at_sdxl_described_count(d); i++) {
        const at_param *p = at_sdxl_described_param(d, i);
        at_sdxl_tensor_name(name, l->part, p);
        l->tensors[p->index] = at_tensors_find(list, name);
        l->changed[p->index] = l->change && l->change->touches(l->change->context, name);
    }
    return AT_OK;
}

/* What the file has of it, and what of that can stay there. */
static at_status prepare(loading *l, at_error *err)
{
    at_sdxl_described d;
    at_status status = at_sdxl_describe(&d, l->m, l->part, l->dtype, NULL, NULL, NULL, err);
    if (status == AT_OK)
        status = find_tensors(l, &d, err);
    if (status == AT_OK)
        status = check_sums(l, err);
    if (status == AT_OK && l->m->device->api->uses_host_memory)
        status = lend(l, d.store, err);
    at_sdxl_described_free(&d);
    return status;
}

static void free_loading(loading *l)
{
    free(l->tensors);
    free(l->changed);
    free(l->lent);
    free(l->wide.data);
    free(l->narrow.data);
    free(l->work.data);
}

at_status at_sdxl_load(at_sdxl *m, at_sdxl_part part, at_dtype dtype,
                       const at_weight_change *change, at_error *err)
{
    at_sdxl_described *d = &m->loaded[part];
    const bool host = m->device->caps.kind == AT_CPU;
    loading l = { .m = m, .part = part, .dtype = dtype, .change = change };
    AT_ASSERT(dtype == AT_F32 || dtype == AT_BF16, "weights in %s", at_dtype_name(dtype));
    AT_ASSERT(!d->store, "%s is loaded already", at_sdxl_part_name(part));
    if (!m->about.has[part])
        return at_fail(err, AT_NOT_FOUND, "%.160s: the model has no %s", m->path,
                       at_sdxl_part_name(part));
    l.caps = host ? m->device->caps : (at_caps){ AT_CPU, at_cpu_probe(), at_cpu_cores(), 0 };
    l.stream = (at_stream){ .kind = AT_CPU, .threads = l.caps.threads };
    at_status status = prepare(&l, err);
    if (status == AT_OK)
        status = at_sdxl_describe(d, m, part, dtype, m->device, offer, &l, err);
    if (status == AT_OK) {
        at_params_accept(d->store, NULL, NULL);
        at_params_tell(d->store, rest, m->file);
        status = bring_all(&l, d, err);
    }
    m->dtypes[part] = dtype;
    if (status != AT_OK)
        at_sdxl_drop(m, part);
    free_loading(&l);
    return status;
}

void at_sdxl_drop(at_sdxl *m, at_sdxl_part part)
{
    at_sdxl_described *d = &m->loaded[part];
    char name[AT_SDXL_NAME_MAX];
    if (!d->store)
        return;
    const int count = d->unet || d->vae || d->text ? at_sdxl_described_count(d) : 0;
    for (int i = 0; i < count; i++) {
        const at_param *p = at_sdxl_described_param(d, i);
        at_sdxl_tensor_name(name, part, p);
        if (p->storage->lent)
            at_checkpoint_rest(m->file, at_tensors_find(at_checkpoint_list(m->file), name));
    }
    at_sdxl_described_free(d);
    m->dtypes[part] = AT_NONE;
}

at_params *at_sdxl_store(at_sdxl *m, at_sdxl_part part)
{
    return m->loaded[part].store;
}

const at_sdxl_unet *at_sdxl_unet_of(const at_sdxl *m)
{
    return m->loaded[AT_SDXL_UNET].unet;
}

const at_sdxl_vae *at_sdxl_vae_of(const at_sdxl *m)
{
    return m->loaded[AT_SDXL_VAE].vae;
}

const at_clip_text *at_sdxl_text_of(const at_sdxl *m, int i)
{
    AT_ASSERT(i == 0 || i == 1, "text encoder %d of 2", i);
    return m->loaded[AT_SDXL_TEXT_1 + i].text;
}

at_dtype at_sdxl_dtype(const at_sdxl *m, at_sdxl_part part)
{
    return m->dtypes[part];
}
