#define _GNU_SOURCE
#include "engine/device_paper.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Every open one has an interface of its own, because the name in it is the device's. */
typedef struct paper {
    at_device_api api;
    char name[64];
    size_t bytes;
    bool touched;
} paper;

static at_status paper_open(at_device *d, const at_device_options *options, at_error *err)
{
    (void)d, (void)options, (void)err;
    return AT_OK;
}

static void paper_close(at_device *d)
{
    free(d->own);
}

static size_t paper_memory_free(at_device *d)
{
    const paper *p = d->own;
    return p->bytes > d->bytes_in_use ? p->bytes - d->bytes_in_use : 0;
}

static void *paper_alloc(at_device *d, size_t bytes)
{
    if (bytes > paper_memory_free(d))
        return NULL;
    void *range = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return range == MAP_FAILED ? NULL : range;
}

static void paper_free(at_device *d, void *memory, size_t bytes)
{
    (void)d;
    munmap(memory, bytes);
}

static void *paper_reserve(at_device *d, size_t bytes)
{
    (void)d, (void)bytes;
    return NULL; /* so no arena, and no run */
}

static bool paper_map(at_device *d, void *range, size_t mapped, size_t bytes)
{
    (void)d, (void)range, (void)mapped, (void)bytes;
    return false;
}

static void paper_unreserve(at_device *d, void *range, size_t bytes)
{
    (void)d, (void)range, (void)bytes;
}

static void paper_clear(at_device *d, void *memory, size_t bytes)
{
    (void)d, (void)memory, (void)bytes; /* nobody can read it */
}

static void paper_upload(at_device *d, void *to, const void *from_host, size_t bytes)
{
    paper *p = d->own;
    (void)to, (void)from_host, (void)bytes;
    p->touched = true;
}

static void paper_download(at_device *d, void *to_host, const void *from, size_t bytes)
{
    paper *p = d->own;
    (void)to_host, (void)from, (void)bytes;
    p->touched = true;
}

static void paper_wait(at_device *d)
{
    (void)d;
}

static at_status paper_check(at_device *d, at_error *err)
{
    paper *p = d->own;
    const bool touched = p->touched;
    p->touched = false;
    return touched ? at_fail(err, AT_UNSUPPORTED,
                             "%s is only planned for: nothing can be copied to it or from it",
                             d->api->name)
                   : AT_OK;
}

at_caps at_paper_caps(const at_gpu *gpu)
{
    enum { HOPPER_SM = 90 };
    return (at_caps){
        .kind = AT_CUDA,
        .has = gpu->sm == HOPPER_SM ? AT_CAP_MASK(HOPPER) : 0,
        .sm = gpu->sm,
    };
}

at_status at_device_open_paper(at_device **out, const char *name, const at_caps *caps, size_t bytes,
                               at_error *err)
{
    *out = NULL;
    paper *p = calloc(1, sizeof *p);
    if (!p)
        return at_fail(err, AT_NO_MEMORY, "no memory to plan for %s", name);
    snprintf(p->name, sizeof p->name, "%s", name);
    p->bytes = bytes;
    p->api = (at_device_api){
        .name = p->name,
        .workspace_bytes = caps->kind == AT_CUDA ? AT_WORKSPACE_MAX : 0,
        .open = paper_open,
        .close = paper_close,
        .alloc = paper_alloc,
        .clear = paper_clear,
        .free = paper_free,
        .reserve = paper_reserve,
        .map = paper_map,
        .unreserve = paper_unreserve,
        .upload = paper_upload,
        .download = paper_download,
        .wait = paper_wait,
        .memory_free = paper_memory_free,
        .check = paper_check,
    };
    at_status status = at_device_open_api(out, &p->api, NULL, err);
    if (status != AT_OK) {
        free(p);
        return status;
    }
    (*out)->own = p;
    (*out)->caps = *caps;
    (*out)->stream = (at_stream){ .kind = caps->kind, .threads = caps->threads };
    return AT_OK;
}
