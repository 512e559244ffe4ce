#include "engine/device.h"

#include <stdlib.h>
#include <string.h>

at_status at_device_open(at_device **out, const char *name, const at_device_options *options,
                         at_error *err)
{
    *out = NULL;
    if (!strcmp(name, "cpu"))
        return at_device_open_api(out, &at_device_cpu, options, err);
    if (strcmp(name, "cuda") != 0)
        return at_fail(err, AT_NOT_FOUND, "there is no device '%s': expected cpu or cuda", name);
    if (!at_variants_for(AT_CUDA))
        return at_fail(err, AT_UNSUPPORTED, "this build has no kernels for device cuda");
    return at_device_open_api(out, &at_device_cuda, options, err);
}

at_status at_device_open_best(at_device **out, const at_device_options *options, at_error *why,
                              at_error *err)
{
    *why = (at_error){ 0 };
    if (at_variants_for(AT_CUDA) && at_device_open(out, "cuda", options, why) == AT_OK)
        return AT_OK;
    return at_device_open(out, "cpu", options, err);
}

at_status at_device_open_api(at_device **out, const at_device_api *api,
                             const at_device_options *options, at_error *err)
{
    const at_device_options none = { 0 };
    const char *early = options && options->early ? options->early : "yes";
    *out = NULL;
    if (strcmp(early, "yes") != 0 && strcmp(early, "no") != 0)
        return at_fail(err, AT_INVALID, "early launches: '%s' is neither yes nor no", early);
    at_device *d = calloc(1, sizeof *d);
    *out = d;
    if (!d)
        return at_fail(err, AT_NO_MEMORY, "no memory to open device %s", api->name);
    d->api = api;
    at_status status = api->open(d, options ? options : &none, err);
    if (status != AT_OK) {
        free(d);
        *out = NULL;
    }
    return status;
}

void at_device_close(at_device *d)
{
    if (!d)
        return;
    d->api->wait(d);
    if (d->range)
        d->api->unreserve(d, d->range, d->range_bytes);
    d->api->close(d);
    free(d);
}

static void count_bytes(at_device *d, size_t bytes)
{
    d->bytes_in_use += bytes;
    if (d->bytes_in_use > d->bytes_high)
        d->bytes_high = d->bytes_in_use;
}

void *at_device_alloc(at_device *d, size_t bytes)
{
    void *memory = d->api->alloc(d, bytes ? bytes : 1);
    if (memory)
        count_bytes(d, bytes);
    return memory;
}

void *at_device_alloc_zeroed(at_device *d, size_t bytes)
{
    void *memory = at_device_alloc(d, bytes);
    if (memory && d->api->clear)
        d->api->clear(d, memory, bytes);
    return memory;
}

void at_device_free(at_device *d, void *memory, size_t bytes)
{
    if (!memory)
        return;
    d->api->free(d, memory, bytes ? bytes : 1);
    d->bytes_in_use -= bytes;
}

at_status at_device_arena(at_device *d, size_t bytes, void **arena, at_error *err)
{
    enum { STEP = 2 << 20 };
    if (!d->range) {
        size_t all = d->bytes_in_use + at_device_memory_free(d);
        d->range_bytes = (all + STEP - 1) / STEP * STEP;
        d->range = d->api->reserve(d, d->range_bytes);
        if (!d->range)
            return at_fail(err, AT_NO_MEMORY, "no address range of %zu bytes for the arena of %s",
                           d->range_bytes, d->api->name);
    }
    size_t wanted = (bytes + STEP - 1) / STEP * STEP;
    if (wanted > d->range_mapped) {
        size_t more = wanted - d->range_mapped, there = at_device_memory_free(d);
        if (more > there || wanted > d->range_bytes ||
            !d->api->map(d, d->range, d->range_mapped, wanted))
            return at_fail(err, AT_NO_MEMORY,
                           "%s: the plan needs %zu MiB of working memory, %zu MiB more than is "
                           "mapped, and %zu MiB are there",
                           d->api->name, wanted >> 20, more >> 20, there >> 20);
        count_bytes(d, more);
        d->range_mapped = wanted;
    }
    *arena = d->range;
    return AT_OK;
}

void at_device_upload(at_device *d, void *to, const void *from_host, size_t bytes)
{
    d->api->upload(d, to, from_host, bytes);
}

void at_device_download(at_device *d, void *to_host, const void *from, size_t bytes)
{
    d->api->wait(d);
    d->api->download(d, to_host, from, bytes);
}

void at_device_copy(at_device *d, void *to, const void *from, size_t bytes)
{
    d->api->copy(d, to, from, bytes);
}

void at_device_wait(at_device *d)
{
    d->api->wait(d);
}

void at_device_enter(at_device *d)
{
    if (d->api->enter)
        d->api->enter(d);
}

void at_device_leave(at_device *d)
{
    if (d->api->leave)
        d->api->leave(d);
}

void at_device_hold(at_device *d, double seconds)
{
    if (d->api->hold)
        d->api->hold(d, seconds);
}

size_t at_device_memory_free(at_device *d)
{
    return d->api->memory_free(d);
}

at_status at_device_check(at_device *d, at_error *err)
{
    return d->api->check ? d->api->check(d, err) : AT_OK;
}
