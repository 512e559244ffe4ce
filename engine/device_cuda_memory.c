/* device_cuda_memory.c -- a GPU's memory, the ranges that are mapped as they grow, and copies by
 * two pinned windows. */
#include "engine/device_cuda_own.h"

#include <stdlib.h>
#include <string.h>

/* --- memory ----------------------------------------------------------------------------------- */

static void *pointer_to(at_cu_address address)
{
    return (void *)(uintptr_t)address;
}

static at_cu_address address_of(const void *memory)
{
    return (at_cu_address)(uintptr_t)memory;
}

void *at_cuda_alloc(at_device *d, size_t bytes)
{
    at_cuda *c = d->own;
    at_cu_address address = 0;
    if (!at_cuda_push(c))
        return NULL;
    bool there = at_cuda_granted(c, c->driver.alloc(&address, bytes), "allocating memory");
    at_cuda_pop(c);
    return there ? pointer_to(address) : NULL;
}

void at_cuda_clear(at_device *d, void *memory, size_t bytes)
{
    at_cuda *c = d->own;
    if (!at_cuda_push(c))
        return;
    at_cuda_good(c, c->driver.fill(address_of(memory), 0, bytes, c->stream), "clearing memory");
    at_cuda_pop(c);
}

void at_cuda_free(at_device *d, void *memory, size_t bytes)
{
    at_cuda *c = d->own;
    (void)bytes;
    bool pushed = at_cuda_push(c);
    at_cuda_good(c, c->driver.free(address_of(memory)), "freeing memory");
    if (pushed)
        at_cuda_pop(c);
}

static size_t in_pages(const at_cuda *c, size_t bytes)
{
    return (bytes + c->granularity - 1) / c->granularity * c->granularity;
}

static at_cuda_range *range_at(at_cuda *c, const void *base)
{
    at_cuda_range *r = c->ranges;
    while (r && r->base != address_of(base))
        r = r->next;
    AT_ASSERT(r, "%p is not a range of device cuda", base);
    return r;
}

void *at_cuda_reserve(at_device *d, size_t bytes)
{
    at_cuda *c = d->own;
    at_cuda_range *r = calloc(1, sizeof *r);
    if (!r || !at_cuda_push(c)) {
        free(r);
        return NULL;
    }
    r->bytes = in_pages(c, bytes);
    bool there = at_cuda_granted(c, c->driver.address_reserve(&r->base, r->bytes, 0, 0, 0),
                                 "reserving a range of addresses");
    at_cuda_pop(c);
    if (!there) {
        free(r);
        return NULL;
    }
    r->next = c->ranges;
    c->ranges = r;
    return pointer_to(r->base);
}

/* Memory for [at, at + bytes). The mapping keeps the memory: its handle is given up at once, and
 * unmapping frees it. */
static bool back(at_cuda *c, at_cu_address at, size_t bytes)
{
    const at_cuda_driver *u = &c->driver;
    const at_cu_allocation what = at_cuda_allocation_of(c);
    const at_cu_access access = { what.location, AT_CU_MEM_ACCESS_FLAGS_PROT_READWRITE };
    at_cu_memory memory = 0;
    if (!at_cuda_granted(c, u->memory_create(&memory, bytes, &what, 0),
                         "creating memory of the arena"))
        return false;
    bool mapped = at_cuda_granted(c, u->memory_map(at, bytes, 0, memory, 0), "mapping the arena");
    at_cuda_good(c, u->memory_release(memory), "giving up the handle of the arena's memory");
    if (!mapped)
        return false;
    if (at_cuda_granted(c, u->memory_access(at, bytes, &access, 1),
                        "opening the arena to the device"))
        return true;
    at_cuda_good(c, u->memory_unmap(at, bytes), "unmapping what could not be opened");
    return false;
}

bool at_cuda_map(at_device *d, void *base, size_t mapped, size_t bytes)
{
    at_cuda *c = d->own;
    at_cuda_range *r = range_at(c, base);
    size_t wanted = in_pages(c, bytes);
    AT_ASSERT(wanted <= r->bytes && mapped <= r->mapped, "%zu of %zu bytes, %zu of %zu mapped",
              wanted, r->bytes, mapped, r->mapped);
    if (wanted <= r->mapped)
        return true; /* the last page reached this far */
    if (!at_cuda_push(c))
        return false;
    bool done = back(c, r->base + r->mapped, wanted - r->mapped);
    at_cuda_pop(c);
    if (done)
        r->mapped = wanted;
    return done;
}

void at_cuda_unreserve(at_device *d, void *base, size_t bytes)
{
    at_cuda *c = d->own;
    at_cuda_range *r = range_at(c, base);
    (void)bytes;
    for (at_cuda_range **link = &c->ranges; *link; link = &(*link)->next)
        if (*link == r) {
            *link = r->next;
            break;
        }
    bool pushed = at_cuda_push(c);
    if (r->mapped)
        at_cuda_good(c, c->driver.memory_unmap(r->base, r->mapped), "unmapping the arena");
    at_cuda_good(c, c->driver.address_free(r->base, r->bytes), "freeing a range of addresses");
    if (pushed)
        at_cuda_pop(c);
    free(r);
}

size_t at_cuda_memory_free(at_device *d)
{
    at_cuda *c = d->own;
    size_t there = 0, all = 0;
    if (!at_cuda_push(c))
        return 0;
    if (!at_cuda_good(c, c->driver.memory_info(&there, &all), "asking for free memory"))
        there = 0;
    at_cuda_pop(c);
    return there;
}

/* --- copies ----------------------------------------------------------------------------------- */

/* The whole of a window is free once the device is through with it. */
static bool empty_window(at_cuda *c, at_cuda_window *w)
{
    if (!at_cuda_good(c, c->driver.event_wait(w->done), "waiting for a copy"))
        return false;
    w->used = 0;
    return true;
}

/* One with room for 'bytes'. Small uploads share a window, so that they need not wait. */
static at_cuda_window *window_for(at_cuda *c, size_t bytes)
{
    at_cuda_window *w = &c->windows[c->current];
    if (w->used + bytes <= AT_CUDA_WINDOW_BYTES)
        return w;
    c->current = (c->current + 1) % AT_CUDA_WINDOWS;
    w = &c->windows[c->current];
    return empty_window(c, w) ? w : NULL;
}

static bool upload_piece(at_cuda *c, at_cu_address to, const void *from, size_t bytes)
{
    enum { ALIGN = 64 };
    at_cuda_window *w = window_for(c, bytes);
    if (!w)
        return false;
    char *staged = (char *)w->host + w->used;
    memcpy(staged, from, bytes);
    w->used += (bytes + ALIGN - 1) / ALIGN * ALIGN;
    return at_cuda_good(c, c->driver.copy_in(to, staged, bytes, c->stream), "an upload") &&
           at_cuda_good(c, c->driver.event_record(w->done, c->stream), "an upload's event");
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

void at_cuda_upload(at_device *d, void *to, const void *from_host, size_t bytes)
{
    at_cuda *c = d->own;
    if (!at_cuda_push(c))
        return;
    for (size_t at = 0; at < bytes;) {
        size_t n = smaller(AT_CUDA_WINDOW_BYTES, bytes - at);
        if (!upload_piece(c, address_of(to) + at, (const char *)from_host + at, n))
            break;
        at += n;
    }
    at_cuda_pop(c);
}

static at_cuda_window *window_of(at_cuda *c, size_t at)
{
    return &c->windows[at / AT_CUDA_WINDOW_BYTES % AT_CUDA_WINDOWS];
}

/* While the host empties one window, the device fills the other. Uploads that are still in a window
 * come before on the stream. */
static void download_pieces(at_cuda *c, char *to, at_cu_address from, size_t bytes)
{
    size_t asked = 0, done = 0;
    while (done < bytes) {
        while (asked < bytes && asked < done + (size_t)AT_CUDA_WINDOWS * AT_CUDA_WINDOW_BYTES) {
            at_cuda_window *w = window_of(c, asked);
            size_t n = smaller(AT_CUDA_WINDOW_BYTES, bytes - asked);
            if (!at_cuda_good(c, c->driver.copy_out(w->host, from + asked, n, c->stream),
                              "a download") ||
                !at_cuda_good(c, c->driver.event_record(w->done, c->stream), "a download's event"))
                return;
            asked += n;
        }
        at_cuda_window *w = window_of(c, done);
        size_t n = smaller(AT_CUDA_WINDOW_BYTES, bytes - done);
        if (!at_cuda_good(c, c->driver.event_wait(w->done), "waiting for a download"))
            return;
        memcpy(to + done, w->host, n);
        done += n;
    }
}

void at_cuda_download(at_device *d, void *to_host, const void *from, size_t bytes)
{
    at_cuda *c = d->own;
    if (!at_cuda_push(c))
        return;
    download_pieces(c, to_host, address_of(from), bytes);
    at_cuda_pop(c);
}

void at_cuda_copy(at_device *d, void *to, const void *from, size_t bytes)
{
    at_cuda *c = d->own;
    if (!at_cuda_push(c))
        return;
    at_cuda_good(c, c->driver.copy(address_of(to), address_of(from), bytes, c->stream),
                 "a copy within the device");
    at_cuda_pop(c);
}

void at_cuda_wait(at_device *d)
{
    at_cuda *c = d->own;
    if (!at_cuda_push(c))
        return;
    if (at_cuda_good(c, c->driver.stream_wait(c->stream), "the work on the stream"))
        for (int i = 0; i < AT_CUDA_WINDOWS; i++)
            c->windows[i].used = 0;
    for (int k = 0; k < AT_LANE_COUNT; k++)
        if (c->lanes[k])
            at_cuda_good(c, c->driver.stream_wait(c->lanes[k]), "the work on a lane");
    at_cuda_pop(c);
}
