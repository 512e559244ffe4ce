/* cudnn.c -- cuDNN's library on the emulated device, opened by engine/device_cuda.c like the real
 * one: so the variants kernels/..._cudnn.c run here, as they are.
 *
 * A module of its own. This file has the library's functions and its descriptors: what may be set
 * in which, by which type and how often, is cudnn_attributes.def. cudnn_graph.c checks graphs,
 * cudnn_engine.c offers engines and makes plans, cudnn_program.c computes. Where the real library
 * would crash or run on wrong memory, this one returns a status and a sentence. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/emulator/cudnn_bag.h"
#include "tests/emulator/machine.h"

#define AT_CUDNN_VALUE(NAME, value)
#define AT_CUDNN_CALL(returns, name, symbol, args) AT_API returns symbol args;
#include "kernels/cudnn.def"
#undef AT_CUDNN_CALL
#undef AT_CUDNN_VALUE

enum { VERSION = 91900, HANDLES_MAX = 16, SENTENCE_MAX = 256 };

typedef struct handle {
    bool open;
    void *stream;
} handle;

static handle handles[HANDLES_MAX];
static at_dnn *held; /* descriptors of the caller */
static char sentence[SENTENCE_MAX];

/* --- failures --------------------------------------------------------------------------------- */

at_cudnn_status at_dnn_fail(at_cudnn_status status, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(sentence, sizeof sentence, fmt, args);
    va_end(args);
    return status;
}

size_t cudnnGetVersion(void)
{
    return VERSION;
}

static const struct {
    int value;
    const char *name;
} names[] = {
#define AT_CUDNN_VALUE(NAME, value) { value, #NAME },
#define AT_CUDNN_CALL(returns, name, symbol, args)
#include "kernels/cudnn.def"
#undef AT_CUDNN_CALL
#undef AT_CUDNN_VALUE
};

/* The name of a constant that begins in a certain way. */
static const char *name_of(const char *beginning, int value)
{
    for (size_t i = 0; i < AT_COUNT(names); i++)
        if (names[i].value == value && strncmp(names[i].name, beginning, strlen(beginning)) == 0)
            return names[i].name;
    return "an unknown one";
}

const char *cudnnGetErrorString(at_cudnn_status status)
{
    return name_of("CUDNN_STATUS_", status);
}

void cudnnGetLastErrorString(char *text, size_t text_size)
{
    if (text && text_size)
        snprintf(text, text_size, "%s", sentence);
    sentence[0] = '\0';
}

/* --- handles ---------------------------------------------------------------------------------- */

static handle *open_handle(at_cudnn_handle h)
{
    for (int i = 0; i < HANDLES_MAX; i++)
        if (h == &handles[i] && handles[i].open)
            return &handles[i];
    at_dnn_fail(0, "%p is no handle of this library", h);
    return NULL;
}

at_cudnn_status cudnnCreate(at_cudnn_handle *out)
{
    for (int i = 0; i < HANDLES_MAX; i++)
        if (!handles[i].open) {
            handles[i] = (handle){ .open = true };
            *out = &handles[i];
            return AT_CUDNN_STATUS_SUCCESS;
        }
    return at_dnn_fail(AT_CUDNN_STATUS_INTERNAL_ERROR, "more than %d handles", HANDLES_MAX);
}

at_cudnn_status cudnnDestroy(at_cudnn_handle h)
{
    handle *own = open_handle(h);
    if (!own)
        return AT_CUDNN_STATUS_BAD_PARAM;
    own->open = false;
    return AT_CUDNN_STATUS_SUCCESS;
}

at_cudnn_status cudnnSetStream(at_cudnn_handle h, at_cudnn_stream stream)
{
    handle *own = open_handle(h);
    if (!own)
        return AT_CUDNN_STATUS_BAD_PARAM;
    own->stream = stream;
    return AT_CUDNN_STATUS_SUCCESS;
}

/* --- the register of attributes --------------------------------------------------------------- */

typedef enum need { AT_DNN_NEEDED, AT_DNN_OPTIONAL, AT_DNN_READ } need;

/* Beside the kinds of descriptors: none, and any that is an operation. */
enum {
    AT_CUDNN_BACKEND_NONE_DESCRIPTOR = -1,
    AT_CUDNN_BACKEND_OPERATION_DESCRIPTOR = -2,
};

typedef struct attribute {
    at_cudnn_kind owner;
    at_cudnn_attribute name;
    at_cudnn_type type;
    int64_t most;
    at_cudnn_kind of;
    need need;
} attribute;

static const attribute attributes[] = {
#define AT_DNN_ATTRIBUTE(owner, name, type, most, of, need)                                    \
    { AT_CUDNN_BACKEND_##owner##_DESCRIPTOR, AT_CUDNN_ATTR_##name, AT_CUDNN_TYPE_##type, most, \
      AT_CUDNN_BACKEND_##of##_DESCRIPTOR,    AT_DNN_##need },
#include "tests/emulator/cudnn_attributes.def"
#undef AT_DNN_ATTRIBUTE
};

static bool is_kind(at_cudnn_kind kind)
{
    for (size_t i = 0; i < AT_COUNT(attributes); i++)
        if (attributes[i].owner == kind)
            return true;
    return false;
}

static bool is_operation(at_cudnn_kind kind)
{
    return strncmp(name_of("CUDNN_BACKEND_", kind), "CUDNN_BACKEND_OPERATION_", 24) == 0;
}

static const attribute *attribute_of(at_cudnn_kind kind, at_cudnn_attribute name)
{
    for (size_t i = 0; i < AT_COUNT(attributes); i++)
        if (attributes[i].owner == kind && attributes[i].name == name)
            return &attributes[i];
    return NULL;
}

static size_t element_bytes(at_cudnn_type type)
{
    switch (type) {
    case AT_CUDNN_TYPE_HANDLE:
    case AT_CUDNN_TYPE_VOID_PTR:
    case AT_CUDNN_TYPE_BACKEND_DESCRIPTOR: return sizeof(void *);
    case AT_CUDNN_TYPE_BOOLEAN: return sizeof(bool);
    case AT_CUDNN_TYPE_INT64: return sizeof(int64_t);
    case AT_CUDNN_TYPE_DOUBLE: return sizeof(double);
    case AT_CUDNN_TYPE_CHAR: return 1;
    default: return sizeof(int); /* f32, and what is an enum in the library's headers */
    }
}

/* --- fields ----------------------------------------------------------------------------------- */

const at_dnn_field *at_dnn_field_of(const at_dnn *d, at_cudnn_attribute name)
{
    for (int i = 0; i < d->n_fields; i++)
        if (d->fields[i].name == name)
            return &d->fields[i];
    return NULL;
}

static const void *element_of(const at_dnn *d, at_cudnn_attribute name)
{
    const at_dnn_field *f = at_dnn_field_of(d, name);
    AT_ASSERT(f, "the emulated cuDNN reads %s, which is not there", name_of("CUDNN_ATTR_", name));
    return f->elements;
}

int64_t at_dnn_i64(const at_dnn *d, at_cudnn_attribute name)
{
    return *(const int64_t *)element_of(d, name);
}

int at_dnn_enum(const at_dnn *d, at_cudnn_attribute name)
{
    return *(const int *)element_of(d, name);
}

const at_dnn *at_dnn_ref(const at_dnn *d, at_cudnn_attribute name)
{
    return *(at_dnn *const *)element_of(d, name);
}

bool at_dnn_flag(const at_dnn *d, at_cudnn_attribute name)
{
    const at_dnn_field *f = at_dnn_field_of(d, name);
    return f && *(const bool *)f->elements;
}

static void empty_field(at_dnn_field *f)
{
    if (f->type == AT_CUDNN_TYPE_BACKEND_DESCRIPTOR)
        for (int64_t i = 0; i < f->count; i++)
            at_dnn_leave(((at_dnn **)f->elements)[i]);
    free(f->elements);
    *f = (at_dnn_field){ 0 };
}

at_cudnn_status at_dnn_put(at_dnn *d, at_cudnn_attribute name, at_cudnn_type type, int64_t count,
                           const void *elements)
{
    size_t bytes = (size_t)count * element_bytes(type);
    void *copy = malloc(bytes ? bytes : 1);
    at_dnn_field *f = NULL;
    for (int i = 0; i < d->n_fields && !f; i++)
        if (d->fields[i].name == name)
            f = &d->fields[i];
    if (!copy || (!f && d->n_fields == AT_DNN_FIELDS_MAX)) {
        free(copy);
        return at_dnn_fail(AT_CUDNN_STATUS_INTERNAL_ERROR, "no room for an attribute");
    }
    if (bytes)
        memcpy(copy, elements, bytes);
    if (type == AT_CUDNN_TYPE_BACKEND_DESCRIPTOR)
        for (int64_t i = 0; i < count; i++) {
            at_dnn *of = ((at_dnn **)copy)[i];
            if (of)
                of->users++;
        }
    if (f)
        empty_field(f);
    else
        f = &d->fields[d->n_fields++];
    *f = (at_dnn_field){ name, type, count, copy };
    return AT_CUDNN_STATUS_SUCCESS;
}

/* --- descriptors ------------------------------------------------------------------------------ */

at_dnn *at_dnn_new(at_cudnn_kind kind)
{
    at_dnn *d = calloc(1, sizeof *d);
    if (d)
        d->kind = kind, d->users = 1;
    return d;
}

static void empty(at_dnn *d)
{
    while (d->n_fields)
        empty_field(&d->fields[--d->n_fields]);
    free(d->program);
    d->program = NULL;
}

void at_dnn_leave(at_dnn *d)
{
    if (!d || --d->users > 0)
        return;
    empty(d);
    free(d);
}

static at_dnn *find_held(at_cudnn_descriptor d)
{
    for (at_dnn *i = held; i; i = i->next)
        if (i == d)
            return i;
    at_dnn_fail(0, "%p is no descriptor that was created and not destroyed", d);
    return NULL;
}

at_dnn *at_dnn_held(at_cudnn_descriptor d, at_cudnn_kind kind)
{
    at_dnn *own = find_held(d);
    if (own && own->kind != kind) {
        at_dnn_fail(0, "expected %s, got %s", name_of("CUDNN_BACKEND_", kind),
                    name_of("CUDNN_BACKEND_", own->kind));
        return NULL;
    }
    return own;
}

at_cudnn_status cudnnBackendCreateDescriptor(at_cudnn_kind kind, at_cudnn_descriptor *out)
{
    if (!out)
        return at_dnn_fail(AT_CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no place for a descriptor");
    *out = NULL;
    if (!is_kind(kind))
        return at_dnn_fail(AT_CUDNN_STATUS_NOT_SUPPORTED, "%d is no kind of descriptor", kind);
    at_dnn *d = at_dnn_new(kind);
    if (!d)
        return at_dnn_fail(AT_CUDNN_STATUS_INTERNAL_ERROR, "no memory");
    d->next = held;
    held = d;
    *out = d;
    return AT_CUDNN_STATUS_SUCCESS;
}

at_cudnn_status cudnnBackendDestroyDescriptor(at_cudnn_descriptor d)
{
    at_dnn *own = find_held(d);
    if (!own)
        return AT_CUDNN_STATUS_BAD_PARAM;
    for (at_dnn **link = &held; *link; link = &(*link)->next)
        if (*link == own) {
            *link = own->next;
            break;
        }
    at_dnn_leave(own);
    return AT_CUDNN_STATUS_SUCCESS;
}

/* --- setting ---------------------------------------------------------------------------------- */

/* An array of the caller's descriptors as it is kept: NULL for those that are not finalized. */
static at_cudnn_status keep_descriptors(const attribute *a, int64_t count, const void *elements,
                                        at_dnn **kept)
{
    for (int64_t i = 0; i < count; i++) {
        at_dnn *d = find_held(((at_cudnn_descriptor const *)elements)[i]);
        if (!d)
            return AT_CUDNN_STATUS_BAD_PARAM;
        bool right = a->of == AT_CUDNN_BACKEND_OPERATION_DESCRIPTOR ? is_operation(d->kind)
                                                                    : d->kind == a->of;
        if (!right)
            return at_dnn_fail(AT_CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE, "%s cannot be %s",
                               name_of("CUDNN_ATTR_", a->name), name_of("CUDNN_BACKEND_", d->kind));
        kept[i] = d->finalized ? d : NULL;
    }
    return AT_CUDNN_STATUS_SUCCESS;
}

static at_cudnn_status check_access(const at_dnn *d, const attribute *a, at_cudnn_attribute name,
                                    at_cudnn_type type)
{
    if (!a)
        return at_dnn_fail(AT_CUDNN_STATUS_BAD_PARAM, "%s has no attribute %d",
                           name_of("CUDNN_BACKEND_", d->kind), name);
    if (type != a->type)
        return at_dnn_fail(AT_CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE, "%s is of %s, not of %s",
                           name_of("CUDNN_ATTR_", name), name_of("CUDNN_TYPE_", a->type),
                           name_of("CUDNN_TYPE_", type));
    return AT_CUDNN_STATUS_SUCCESS;
}

static at_cudnn_status check_set(const at_dnn *d, const attribute *a, int64_t count,
                                 const void *elements)
{
    const char *name = name_of("CUDNN_ATTR_", a->name);
    if (d->finalized)
        return at_dnn_fail(AT_CUDNN_STATUS_BAD_PARAM, "%s is set in what is finalized", name);
    if (a->need == AT_DNN_READ)
        return at_dnn_fail(AT_CUDNN_STATUS_BAD_PARAM, "%s can only be read", name);
    bool many = a->most > 1;
    if (count > a->most || count < (a->need == AT_DNN_OPTIONAL && many ? 0 : 1))
        return at_dnn_fail(AT_CUDNN_STATUS_BAD_PARAM, "%lld elements for %s, %s%lld are taken",
                           (long long)count, name, many ? "at most " : "", (long long)a->most);
    if (!elements && count > 0)
        return at_dnn_fail(AT_CUDNN_STATUS_BAD_PARAM, "no elements for %s", name);
    if (a->type == AT_CUDNN_TYPE_HANDLE && !open_handle(*(at_cudnn_handle const *)elements))
        return AT_CUDNN_STATUS_BAD_PARAM;
    return AT_CUDNN_STATUS_SUCCESS;
}

at_cudnn_status cudnnBackendSetAttribute(at_cudnn_descriptor d, at_cudnn_attribute name,
                                         at_cudnn_type type, int64_t count, const void *elements)
{
    at_dnn *own = find_held(d), *kept[AT_DNN_TENSORS_MAX];
    if (!own)
        return AT_CUDNN_STATUS_BAD_PARAM;
    const attribute *a = attribute_of(own->kind, name);
    at_cudnn_status status = check_access(own, a, name, type);
    if (status == AT_CUDNN_STATUS_SUCCESS)
        status = check_set(own, a, count, elements);
    if (status == AT_CUDNN_STATUS_SUCCESS && type == AT_CUDNN_TYPE_BACKEND_DESCRIPTOR) {
        status = keep_descriptors(a, count, elements, kept);
        elements = kept;
    }
    return status != AT_CUDNN_STATUS_SUCCESS ? status
                                             : at_dnn_put(own, name, type, count, elements);
}

/* --- reading ---------------------------------------------------------------------------------- */

/* The caller's descriptor, created and empty, becomes one like 'from'. */
static at_cudnn_status become(at_cudnn_descriptor d, const at_dnn *from)
{
    at_dnn *to = at_dnn_held(d, from->kind);
    at_cudnn_status status = AT_CUDNN_STATUS_SUCCESS;
    if (!to)
        return AT_CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE;
    empty(to);
    for (int i = 0; i < from->n_fields && status == AT_CUDNN_STATUS_SUCCESS; i++) {
        const at_dnn_field *f = &from->fields[i];
        status = at_dnn_put(to, f->name, f->type, f->count, f->elements);
    }
    to->finalized = status == AT_CUDNN_STATUS_SUCCESS;
    return status;
}

at_cudnn_status cudnnBackendGetAttribute(at_cudnn_descriptor d, at_cudnn_attribute name,
                                         at_cudnn_type type, int64_t most, int64_t *count,
                                         void *elements)
{
    static const at_dnn_field nothing;
    at_dnn *own = find_held(d);
    if (!own || !count || most < 0 || (most > 0 && !elements))
        return own ? at_dnn_fail(AT_CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no place for %s",
                                 name_of("CUDNN_ATTR_", name))
                   : AT_CUDNN_STATUS_BAD_PARAM;
    if (!own->finalized)
        return at_dnn_fail(AT_CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED,
                           "%s is read from what is not finalized", name_of("CUDNN_ATTR_", name));
    at_cudnn_status status = check_access(own, attribute_of(own->kind, name), name, type);
    if (status != AT_CUDNN_STATUS_SUCCESS)
        return status;
    const at_dnn_field *f = at_dnn_field_of(own, name);
    f = f ? f : &nothing;
    if (most == 0) { /* heuristics count what they may have, before they look closer */
        *count = name == AT_CUDNN_ATTR_ENGINEHEUR_RESULTS ? AT_DNN_OFFERED_AT_MOST : f->count;
        return AT_CUDNN_STATUS_SUCCESS;
    }
    *count = most < f->count ? most : f->count;
    if (type != AT_CUDNN_TYPE_BACKEND_DESCRIPTOR && *count > 0)
        memcpy(elements, f->elements, (size_t)*count * element_bytes(type));
    for (int64_t i = 0; i < *count && type == AT_CUDNN_TYPE_BACKEND_DESCRIPTOR; i++)
        if (status == AT_CUDNN_STATUS_SUCCESS)
            status = become(((at_cudnn_descriptor *)elements)[i], ((at_dnn **)f->elements)[i]);
    return status;
}

/* --- finalizing ------------------------------------------------------------------------------- */

/* Every field that is needed is there, and what it refers to was finalized. */
static at_cudnn_status check_complete(const at_dnn *d)
{
    for (size_t i = 0; i < AT_COUNT(attributes); i++) {
        const attribute *a = &attributes[i];
        const at_dnn_field *f = a->owner == d->kind ? at_dnn_field_of(d, a->name) : NULL;
        if (a->owner == d->kind && a->need == AT_DNN_NEEDED && !f)
            return at_dnn_fail(AT_CUDNN_STATUS_BAD_PARAM, "%s is missing",
                               name_of("CUDNN_ATTR_", a->name));
        for (int64_t k = 0; f && a->type == AT_CUDNN_TYPE_BACKEND_DESCRIPTOR && k < f->count; k++)
            if (!((at_dnn **)f->elements)[k])
                return at_dnn_fail(AT_CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED,
                                   "%s was not finalized when it was set",
                                   name_of("CUDNN_ATTR_", a->name));
    }
    return AT_CUDNN_STATUS_SUCCESS;
}

static at_cudnn_status finish(at_dnn *d)
{
    switch (d->kind) {
    case AT_CUDNN_BACKEND_TENSOR_DESCRIPTOR: return at_dnn_check_tensor(d);
    case AT_CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR: return at_dnn_check_convolution(d);
    case AT_CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR: return at_dnn_finish_graph(d);
    case AT_CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR: return at_dnn_finish_heuristics(d);
    case AT_CUDNN_BACKEND_ENGINE_DESCRIPTOR: return at_dnn_finish_engine(d);
    case AT_CUDNN_BACKEND_ENGINECFG_DESCRIPTOR: return at_dnn_finish_config(d);
    case AT_CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR: return at_dnn_finish_plan(d);
    case AT_CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR: return at_dnn_check_pack(d);
    default: return is_operation(d->kind) ? at_dnn_check_operation(d) : AT_CUDNN_STATUS_SUCCESS;
    }
}

at_cudnn_status cudnnBackendFinalize(at_cudnn_descriptor d)
{
    at_dnn *own = find_held(d);
    if (!own)
        return AT_CUDNN_STATUS_BAD_PARAM;
    if (own->finalized)
        return at_dnn_fail(AT_CUDNN_STATUS_BAD_PARAM, "%s is finalized twice",
                           name_of("CUDNN_BACKEND_", own->kind));
    at_cudnn_status status = check_complete(own);
    if (status == AT_CUDNN_STATUS_SUCCESS)
        status = finish(own);
    own->finalized = status == AT_CUDNN_STATUS_SUCCESS;
    return status;
}

/* --- executing -------------------------------------------------------------------------------- */

at_cudnn_status cudnnBackendExecute(at_cudnn_handle h, at_cudnn_descriptor plan,
                                    at_cudnn_descriptor pack)
{
    const handle *own = open_handle(h);
    const at_dnn *p = own ? at_dnn_held(plan, AT_CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) : NULL;
    const at_dnn *v = p ? at_dnn_held(pack, AT_CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR) : NULL;
    if (!v)
        return AT_CUDNN_STATUS_BAD_PARAM;
    if (!p->finalized || !v->finalized)
        return at_dnn_fail(AT_CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED,
                           "a plan and its pack are finalized before they are executed");
    at_dnn_program program;
    at_cudnn_status status = at_dnn_address(&program, p, v);
    if (status != AT_CUDNN_STATUS_SUCCESS)
        return status;
    cudaError_t error =
        at_emu_enqueue_call(own->stream, at_dnn_program_run, &program, sizeof program);
    return error == cudaSuccess
               ? AT_CUDNN_STATUS_SUCCESS
               : at_dnn_fail(AT_CUDNN_STATUS_EXECUTION_FAILED, "%s", cudaGetErrorName(error));
}
