/* param.h -- parameters and the forms that variants compute from.
 *
 * A store owns the device memory of its parameters. A parameter keeps the type and layout that its
 * file gave it. A form is the same weight as one variant wants it (packed, widened, interleaved);
 * it is keyed by (parameter, key), made once, shared by every plan, and made again when the
 * parameter's version has moved on. Several parameters may be row slices of one storage (q, k and v
 * side by side): plans use the storage, everything else the slices. One thread at a time. */
#ifndef AT_ENGINE_PARAM_H
#define AT_ENGINE_PARAM_H

#include "engine/device.h"

typedef struct at_params at_params;

typedef struct at_param {
    const char *name;
    at_view view;             /* its memory is on the store's device */
    struct at_param *storage; /* the parameter this one is a slice of; itself otherwise */
    size_t offset;            /* of a slice: bytes from its storage's first */
    uint64_t version;         /* of a storage: counts changes of any slice; at_param_version() */
    bool trainable;
    bool lent;                     /* of a storage: its memory is somebody else's and only read */
    struct at_param *const *parts; /* of a joined one: it has no memory of its own */
    int n_parts;
    int32_t index; /* order in the store */
} at_param;

/* Without a device parameters are only described: they have names and sizes, and no memory. */
at_params *at_params_new(at_device *device);
void at_params_free(at_params *store);
at_device *at_params_device(at_params *store);
int at_params_count(const at_params *store);
at_param *at_params_at(at_params *store, int i);
at_param *at_params_named(at_params *store, const char *name);

/* Where the bytes of the parameter that will be number 'index' lie already, as at_params_lend()
 * wants them; NULL: nowhere. */
typedef const void *at_params_offer(void *context, int index);
/* From now on at_params_add() takes what is offered before it asks for memory. */
void at_params_accept(at_params *store, at_params_offer *offer, void *context);

/* Told whenever a form was made of bytes that were lent: they are not read again soon. */
typedef void at_params_read(void *context, const void *data, size_t bytes);
void at_params_tell(at_params *store, at_params_read *read, void *context);

/* Adds a parameter with memory of its own, zeroed. NULL (and err) when there is no memory. */
at_param *at_params_add(at_params *store, const char *name, at_dtype dtype, int rank,
                        const int64_t *size, at_error *err);
/* A parameter whose bytes lie at 'data', where they stay unchanged as long as the store. For
 * devices that use the host's memory; it cannot be uploaded to and is not trained. */
at_param *at_params_lend(at_params *store, const char *name, at_dtype dtype, int rank,
                         const int64_t *size, const void *data);
/* A slice of whole rows (first axis) of 'storage': rows [first, first + n). */
at_param *at_params_slice(at_params *store, const char *name, at_param *storage, int64_t first,
                          int64_t n);

/* The name of parameters that lie side by side on their second axis: a weight that files have as
 * one and that is computed from in parts. Only its contents can be read and written; graphs use the
 * parts, which the store holds too. */
at_param *at_params_join(at_params *store, const char *name, at_param *const *parts, int n);

void at_param_upload(at_params *store, at_param *p, const void *host);
void at_param_download(at_params *store, const at_param *p, void *host);
/* Says that the contents changed. */
void at_param_touch(at_param *p);
uint64_t at_param_version(const at_param *p);

/* The address of a form, made or made again if need be; NULL without memory. */
void *at_params_form(at_params *store, at_param *p, const at_prepared *prepared, int form);
/* Bytes of the parameters themselves, those lent left out, and of their forms. */
size_t at_params_bytes(const at_params *store);
size_t at_params_form_bytes(const at_params *store);
/* True if the form is already there: it will cost a plan nothing more. */
bool at_params_has_form(const at_params *store, const at_param *p, const char *key);

#endif
