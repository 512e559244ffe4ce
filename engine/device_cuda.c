/* device_cuda.c -- an NVIDIA GPU by the driver's own interface.
 *
 * It lives in the device's primary context, which CUDA's run-time library, cuBLASLt and the torch
 * of an embedding program share. Each function pushes that context and pops it again, so that what
 * was current to the calling thread is current afterwards. All work goes to one stream of our own;
 * another lane of a plan has a stream that is made when it is first asked for.
 *
 * What is copied passes through two pinned windows: while the device reads one, the host fills the
 * other. An upload returns when its last byte is in a window, not when it has arrived; the caller
 * may then change or unmap the source.
 *
 * Functions that cannot return a failure keep the first one, and capture, replay and check() give
 * it. A failed launch or an illegal address shows at any later call: the sentence names the call
 * that met it. What frees something goes on after a failure. */
#include "engine/device_cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cuda_driver.h"
#include "engine/cuda_libraries.h"
#include "kernels/cublaslt.h"
#include "kernels/cudnn.h"
#include "kernels/peak_gpu.h"

enum { WINDOWS = 2, SM_MIN = 80 };

typedef struct window {
    void *host;       /* AT_CUDA_WINDOW_BYTES, pinned */
    at_cu_event done; /* the device is through with all that was copied by it */
    size_t used;      /* bytes that it may still be busy with */
} window;

/* A reserved range of addresses; its first 'mapped' bytes have memory. */
typedef struct range {
    struct range *next;
    at_cu_address base;
    size_t bytes, mapped; /* multiples of the granularity */
} range;

typedef struct cuda {
    at_cuda_driver driver;
    at_cu_device device;
    at_cu_context context;
    at_cu_stream stream;
    at_cu_stream lanes[AT_LANE_COUNT]; /* beside it; NULL until asked for */
    window windows[WINDOWS];
    int current;        /* the window that uploads are put into */
    size_t granularity; /* of mapped memory */
    range *ranges;
    int depth; /* of enter() */
    at_error failed;
    at_cublaslt cublaslt; /* without a handle: not there, 'no_cublaslt' says why */
    at_cudnn cudnn;
    at_error no_cublaslt, no_cudnn;
} cuda;

/* --- failures, the context -------------------------------------------------------------------- */

/* For functions that return no status. */
static bool good(cuda *c, at_cu_result result, const char *doing)
{
    at_error err;
    if (at_cuda_check(&c->driver, result, &err, "%s", doing) == AT_OK)
        return true;
    if (c->failed.status == AT_OK)
        c->failed = err;
    return false;
}

/* The same for memory, of which there may be none left: that is the caller's to say. */
static bool granted(cuda *c, at_cu_result result, const char *doing)
{
    return result != AT_CUDA_ERROR_OUT_OF_MEMORY && good(c, result, doing);
}

static at_status cuda_check_failed(at_device *d, at_error *err)
{
    cuda *c = d->own;
    at_error failed = c->failed;
    c->failed = (at_error){ 0 };
    return failed.status == AT_OK ? AT_OK : at_fail(err, failed.status, "%s", failed.text);
}

static bool push(cuda *c)
{
    return good(c, c->driver.context_push(c->context), "making the device current");
}

static void pop(cuda *c)
{
    at_cu_context ours;
    good(c, c->driver.context_pop(&ours), "restoring what was current");
}

static void cuda_enter(at_device *d)
{
    cuda *c = d->own;
    c->depth += push(c);
}

static void cuda_leave(at_device *d)
{
    cuda *c = d->own;
    if (!c->depth)
        return; /* it could not be entered */
    c->depth--;
    pop(c);
}

/* --- open and close --------------------------------------------------------------------------- */

static at_status choose_device(cuda *c, int index, at_error *err)
{
    const at_cuda_driver *u = &c->driver;
    int count = 0;
    at_status status = at_cuda_check(u, u->device_count(&count), err, "counting devices");
    if (status != AT_OK)
        return status;
    if (count == 0)
        return at_fail(err, AT_NOT_FOUND, "the NVIDIA driver is here, and finds no device");
    if (index < 0 || index >= count)
        return at_fail(err, AT_NOT_FOUND, "there is no cuda device %d: the driver shows %d", index,
                       count);
    return at_cuda_check(u, u->device_get(&c->device, index), err, "looking at device %d", index);
}

static at_status ask(cuda *c, int *value, at_cu_attribute attribute, at_error *err)
{
    return at_cuda_check(&c->driver, c->driver.device_attribute(value, attribute, c->device), err,
                         "asking for attribute %d of the device", attribute);
}

static at_status learn_capability(cuda *c, int *sm, at_error *err)
{
    int major = 0, minor = 0, maps = 0;
    at_status status = ask(c, &major, AT_CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, err);
    if (status == AT_OK)
        status = ask(c, &minor, AT_CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, err);
    if (status == AT_OK)
        status = ask(c, &maps, AT_CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, err);
    if (status != AT_OK)
        return status;
    *sm = 10 * major + minor;
    if (*sm < SM_MIN)
        return at_fail(err, AT_UNSUPPORTED,
                       "the cuda device is too old: compute capability %d.%d, and %d.%d is needed",
                       major, minor, SM_MIN / 10, SM_MIN % 10);
    return maps ? AT_OK
                : at_fail(err, AT_UNSUPPORTED,
                          "the cuda device cannot map memory as it is needed (a virtual machine's "
                          "shared GPU?)");
}

/* What at_device and at_cuda_about tell of the device. */
static at_status learn_about(cuda *c, at_device *d, at_error *err)
{
    const at_cuda_driver *u = &c->driver;
    int cache = 0;
    at_status status =
        at_cuda_check(u, u->device_name(d->processor, (int)sizeof d->processor, c->device), err,
                      "asking for the name of device %d", c->device);
    if (status == AT_OK)
        status = at_cuda_check(u, u->device_memory(&d->memory_bytes, c->device), err,
                               "asking for the memory of device %d", c->device);
    if (status == AT_OK)
        status = ask(c, &cache, AT_CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, err);
    if (status == AT_OK)
        status = ask(c, &d->multiprocessors, AT_CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, err);
    d->cache_bytes = cache > 0 ? (size_t)cache : 0;
    return status;
}

static at_caps caps_of(const cuda *c, int sm)
{
    at_caps caps = { .kind = AT_CUDA, .sm = sm };
    if (sm == 90)
        caps.has |= AT_CAP_MASK(HOPPER);
    if (c->cublaslt.handle) {
        caps.has |= AT_CAP_MASK(CUBLASLT);
        caps.cublaslt = &c->cublaslt;
    }
    if (c->cudnn.handle) {
        caps.has |= AT_CAP_MASK(CUDNN);
        caps.cudnn = &c->cudnn;
    }
    return caps;
}

/* The library's handle of dlopen(); NULL, and 'why' tells. It stays in the process. */
static void *library(at_cuda_library_id id, const char *file, const at_device_options *options,
                     at_error *why)
{
    at_cuda_library l;
    if (file && !*file) {
        at_fail(why, AT_NOT_FOUND, "%s is not wanted", at_cuda_library_name(id));
        return NULL;
    }
    at_status status = file ? at_cuda_library_open_file(&l, id, file, why)
                            : at_cuda_library_open(&l, id, options->library_folders, why);
    return status == AT_OK ? l.handle : NULL;
}

/* With the context current. A device without them works: its own kernels take every call. */
static void open_libraries(cuda *c, const at_cuda_files *files, const at_device_options *options)
{
    void *handle = library(AT_CUDA_LIBRARY_CUBLASLT, files->cublaslt, options, &c->no_cublaslt);
    if (handle)
        at_cublaslt_open(&c->cublaslt, handle, &c->no_cublaslt);
    handle = library(AT_CUDA_LIBRARY_CUDNN, files->cudnn, options, &c->no_cudnn);
    if (handle)
        at_cudnn_open(&c->cudnn, handle, c->stream, &c->no_cudnn);
}

static at_cu_allocation allocation_of(const cuda *c)
{
    return (at_cu_allocation){ .type = AT_CU_MEM_ALLOCATION_TYPE_PINNED,
                               .location = { AT_CU_MEM_LOCATION_TYPE_DEVICE, c->device } };
}

/* With the context current: the stream, the windows, the granularity. */
static at_status furnish(cuda *c, at_error *err)
{
    const at_cuda_driver *u = &c->driver;
    const at_cu_allocation what = allocation_of(c);
    at_status status = at_cuda_check(u, u->stream_create(&c->stream, AT_CU_STREAM_NON_BLOCKING),
                                     err, "making the stream");
    for (int i = 0; i < WINDOWS && status == AT_OK; i++) {
        window *w = &c->windows[i];
        status = at_cuda_check(u, u->host_alloc(&w->host, AT_CUDA_WINDOW_BYTES), err,
                               "pinning %d MiB for copies", AT_CUDA_WINDOW_BYTES >> 20);
        if (status == AT_OK)
            status = at_cuda_check(u, u->event_create(&w->done, AT_CU_EVENT_DISABLE_TIMING), err,
                                   "making an event");
    }
    if (status != AT_OK)
        return status;
    return at_cuda_check(
        u, u->granularity(&c->granularity, &what, AT_CU_MEM_ALLOC_GRANULARITY_MINIMUM), err,
        "asking for the size of a page");
}

/* Undoes furnish(), as far as it came. */
static void clear_out(cuda *c)
{
    at_cudnn_close(&c->cudnn);
    at_cublaslt_close(&c->cublaslt);
    for (int i = WINDOWS - 1; i >= 0; i--) {
        window *w = &c->windows[i];
        if (w->done)
            good(c, c->driver.event_destroy(w->done), "freeing an event");
        if (w->host)
            good(c, c->driver.host_free(w->host), "freeing pinned memory");
    }
    for (int k = 0; k < AT_LANE_COUNT; k++)
        if (c->lanes[k])
            good(c, c->driver.stream_destroy(c->lanes[k]), "freeing a lane's stream");
    if (c->stream)
        good(c, c->driver.stream_destroy(c->stream), "freeing the stream");
}

static void release(cuda *c)
{
    if (c->context) {
        bool pushed = push(c);
        clear_out(c);
        if (pushed)
            pop(c);
        good(c, c->driver.primary_release(c->device), "leaving the device");
    }
    free(c);
}

static at_status open_context(cuda *c, const at_cuda_files *files, const at_device_options *options,
                              at_error *err)
{
    const at_cuda_driver *u = &c->driver;
    at_status status = at_cuda_check(u, u->primary_retain(&c->context, c->device), err,
                                     "opening device %d", c->device);
    if (status != AT_OK) {
        c->context = NULL;
        return status;
    }
    status = at_cuda_check(u, u->context_push(c->context), err, "making the device current");
    if (status != AT_OK)
        return status;
    status = furnish(c, err);
    if (status == AT_OK)
        open_libraries(c, files, options);
    pop(c);
    return status;
}

at_status at_device_cuda_open(at_device *d, const at_cuda_files *files,
                              const at_device_options *options, at_error *err)
{
    cuda *c = calloc(1, sizeof *c);
    if (!c)
        return at_fail(err, AT_NO_MEMORY, "no memory to open device cuda");
    int sm = 0;
    at_status status = at_cuda_driver_open(&c->driver, files->driver, err);
    if (status == AT_OK)
        status = choose_device(c, options->index, err);
    if (status == AT_OK)
        status = learn_capability(c, &sm, err);
    if (status == AT_OK)
        status = learn_about(c, d, err);
    if (status == AT_OK)
        status = open_context(c, files, options, err);
    if (status != AT_OK) {
        release(c);
        return status;
    }
    d->own = c;
    d->caps = caps_of(c, sm);
    d->stream = (at_stream){ AT_CUDA, 0, c->stream };
    return AT_OK;
}

static at_status cuda_open(at_device *d, const at_device_options *options, at_error *err)
{
    return at_device_cuda_open(d, &(at_cuda_files){ 0 }, options, err);
}

static void cuda_close(at_device *d)
{
    cuda *c = d->own;
    AT_ASSERT(!c->ranges, "device cuda is closed with a range of %zu bytes", c->ranges->bytes);
    release(c);
}

at_status at_device_cuda_about(at_device *d, at_cuda_about *out, at_error *err)
{
    cuda *c = d->own;
    at_status status = learn_about(c, d, err);
    *out = (at_cuda_about){ .sm = d->caps.sm,
                            .driver_version = c->driver.version,
                            .bytes = d->memory_bytes,
                            .cache_bytes = d->cache_bytes,
                            .multiprocessors = d->multiprocessors,
                            .no_cublaslt = c->no_cublaslt,
                            .no_cudnn = c->no_cudnn };
    snprintf(out->name, sizeof out->name, "%s", d->processor);
    return status;
}

/* --- memory ----------------------------------------------------------------------------------- */

static void *pointer_to(at_cu_address address)
{
    return (void *)(uintptr_t)address;
}

static at_cu_address address_of(const void *memory)
{
    return (at_cu_address)(uintptr_t)memory;
}

static void *cuda_alloc(at_device *d, size_t bytes)
{
    cuda *c = d->own;
    at_cu_address address = 0;
    if (!push(c))
        return NULL;
    bool there = granted(c, c->driver.alloc(&address, bytes), "allocating memory");
    pop(c);
    return there ? pointer_to(address) : NULL;
}

static void cuda_clear(at_device *d, void *memory, size_t bytes)
{
    cuda *c = d->own;
    if (!push(c))
        return;
    good(c, c->driver.fill(address_of(memory), 0, bytes, c->stream), "clearing memory");
    pop(c);
}

static void cuda_free(at_device *d, void *memory, size_t bytes)
{
    cuda *c = d->own;
    (void)bytes;
    bool pushed = push(c);
    good(c, c->driver.free(address_of(memory)), "freeing memory");
    if (pushed)
        pop(c);
}

static size_t in_pages(const cuda *c, size_t bytes)
{
    return (bytes + c->granularity - 1) / c->granularity * c->granularity;
}

static range *range_at(cuda *c, const void *base)
{
    range *r = c->ranges;
    while (r && r->base != address_of(base))
        r = r->next;
    AT_ASSERT(r, "%p is not a range of device cuda", base);
    return r;
}

static void *cuda_reserve(at_device *d, size_t bytes)
{
    cuda *c = d->own;
    range *r = calloc(1, sizeof *r);
    if (!r || !push(c)) {
        free(r);
        return NULL;
    }
    r->bytes = in_pages(c, bytes);
    bool there = granted(c, c->driver.address_reserve(&r->base, r->bytes, 0, 0, 0),
                         "reserving a range of addresses");
    pop(c);
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
static bool back(cuda *c, at_cu_address at, size_t bytes)
{
    const at_cuda_driver *u = &c->driver;
    const at_cu_allocation what = allocation_of(c);
    const at_cu_access access = { what.location, AT_CU_MEM_ACCESS_FLAGS_PROT_READWRITE };
    at_cu_memory memory = 0;
    if (!granted(c, u->memory_create(&memory, bytes, &what, 0), "creating memory of the arena"))
        return false;
    bool mapped = granted(c, u->memory_map(at, bytes, 0, memory, 0), "mapping the arena");
    good(c, u->memory_release(memory), "giving up the handle of the arena's memory");
    if (!mapped)
        return false;
    if (granted(c, u->memory_access(at, bytes, &access, 1), "opening the arena to the device"))
        return true;
    good(c, u->memory_unmap(at, bytes), "unmapping what could not be opened");
    return false;
}

static bool cuda_map(at_device *d, void *base, size_t mapped, size_t bytes)
{
    cuda *c = d->own;
    range *r = range_at(c, base);
    size_t wanted = in_pages(c, bytes);
    AT_ASSERT(wanted <= r->bytes && mapped <= r->mapped, "%zu of %zu bytes, %zu of %zu mapped",
              wanted, r->bytes, mapped, r->mapped);
    if (wanted <= r->mapped)
        return true; /* the last page reached this far */
    if (!push(c))
        return false;
    bool done = back(c, r->base + r->mapped, wanted - r->mapped);
    pop(c);
    if (done)
        r->mapped = wanted;
    return done;
}

static void cuda_unreserve(at_device *d, void *base, size_t bytes)
{
    cuda *c = d->own;
    range *r = range_at(c, base);
    (void)bytes;
    for (range **link = &c->ranges; *link; link = &(*link)->next)
        if (*link == r) {
            *link = r->next;
            break;
        }
    bool pushed = push(c);
    if (r->mapped)
        good(c, c->driver.memory_unmap(r->base, r->mapped), "unmapping the arena");
    good(c, c->driver.address_free(r->base, r->bytes), "freeing a range of addresses");
    if (pushed)
        pop(c);
    free(r);
}

static size_t cuda_memory_free(at_device *d)
{
    cuda *c = d->own;
    size_t there = 0, all = 0;
    if (!push(c))
        return 0;
    if (!good(c, c->driver.memory_info(&there, &all), "asking for free memory"))
        there = 0;
    pop(c);
    return there;
}

/* --- copies ----------------------------------------------------------------------------------- */

/* The whole of a window is free once the device is through with it. */
static bool empty_window(cuda *c, window *w)
{
    if (!good(c, c->driver.event_wait(w->done), "waiting for a copy"))
        return false;
    w->used = 0;
    return true;
}

/* One with room for 'bytes'. Small uploads share a window, so that they need not wait. */
static window *window_for(cuda *c, size_t bytes)
{
    window *w = &c->windows[c->current];
    if (w->used + bytes <= AT_CUDA_WINDOW_BYTES)
        return w;
    c->current = (c->current + 1) % WINDOWS;
    w = &c->windows[c->current];
    return empty_window(c, w) ? w : NULL;
}

static bool upload_piece(cuda *c, at_cu_address to, const void *from, size_t bytes)
{
    enum { ALIGN = 64 };
    window *w = window_for(c, bytes);
    if (!w)
        return false;
    char *staged = (char *)w->host + w->used;
    memcpy(staged, from, bytes);
    w->used += (bytes + ALIGN - 1) / ALIGN * ALIGN;
    return good(c, c->driver.copy_in(to, staged, bytes, c->stream), "an upload") &&
           good(c, c->driver.event_record(w->done, c->stream), "an upload's event");
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void cuda_upload(at_device *d, void *to, const void *from_host, size_t bytes)
{
    cuda *c = d->own;
    if (!push(c))
        return;
    for (size_t at = 0; at < bytes;) {
        size_t n = smaller(AT_CUDA_WINDOW_BYTES, bytes - at);
        if (!upload_piece(c, address_of(to) + at, (const char *)from_host + at, n))
            break;
        at += n;
    }
    pop(c);
}

static window *window_of(cuda *c, size_t at)
{
    return &c->windows[at / AT_CUDA_WINDOW_BYTES % WINDOWS];
}

/* While the host empties one window, the device fills the other. Uploads that are still in a window
 * come before on the stream. */
static void download_pieces(cuda *c, char *to, at_cu_address from, size_t bytes)
{
    size_t asked = 0, done = 0;
    while (done < bytes) {
        while (asked < bytes && asked < done + (size_t)WINDOWS * AT_CUDA_WINDOW_BYTES) {
            window *w = window_of(c, asked);
            size_t n = smaller(AT_CUDA_WINDOW_BYTES, bytes - asked);
            if (!good(c, c->driver.copy_out(w->host, from + asked, n, c->stream), "a download") ||
                !good(c, c->driver.event_record(w->done, c->stream), "a download's event"))
                return;
            asked += n;
        }
        window *w = window_of(c, done);
        size_t n = smaller(AT_CUDA_WINDOW_BYTES, bytes - done);
        if (!good(c, c->driver.event_wait(w->done), "waiting for a download"))
            return;
        memcpy(to + done, w->host, n);
        done += n;
    }
}

static void cuda_download(at_device *d, void *to_host, const void *from, size_t bytes)
{
    cuda *c = d->own;
    if (!push(c))
        return;
    download_pieces(c, to_host, address_of(from), bytes);
    pop(c);
}

static void cuda_copy(at_device *d, void *to, const void *from, size_t bytes)
{
    cuda *c = d->own;
    if (!push(c))
        return;
    good(c, c->driver.copy(address_of(to), address_of(from), bytes, c->stream),
         "a copy within the device");
    pop(c);
}

static void cuda_wait(at_device *d)
{
    cuda *c = d->own;
    if (!push(c))
        return;
    if (good(c, c->driver.stream_wait(c->stream), "the work on the stream"))
        for (int i = 0; i < WINDOWS; i++)
            c->windows[i].used = 0;
    for (int k = 0; k < AT_LANE_COUNT; k++)
        if (c->lanes[k])
            good(c, c->driver.stream_wait(c->lanes[k]), "the work on a lane");
    pop(c);
}

/* --- moments ---------------------------------------------------------------------------------- */

static void *cuda_moment_new(at_device *d)
{
    cuda *c = d->own;
    at_cu_event event = NULL;
    if (!push(c))
        return NULL;
    bool there = good(c, c->driver.event_create(&event, AT_CU_EVENT_DEFAULT), "making an event");
    pop(c);
    return there ? event : NULL;
}

static void cuda_moment_free(at_device *d, void *moment)
{
    cuda *c = d->own;
    bool pushed = push(c);
    good(c, c->driver.event_destroy(moment), "freeing an event");
    if (pushed)
        pop(c);
}

static void cuda_moment_mark(at_device *d, void *moment)
{
    cuda *c = d->own;
    if (!push(c))
        return;
    good(c, c->driver.event_record(moment, c->stream), "marking a moment");
    pop(c);
}

static double cuda_moment_seconds(at_device *d, void *from, void *to)
{
    cuda *c = d->own;
    float ms = 0;
    if (!push(c))
        return 0;
    bool told = good(c, c->driver.event_wait(to), "the work before a moment") &&
                good(c, c->driver.event_between(&ms, from, to), "the time between two moments");
    pop(c);
    return told ? 1e-3 * (double)ms : 0;
}

/* A chain of multiplications on one warp, an instruction a cycle; a slower clock holds longer. */
static void cuda_hold(at_device *d, double seconds)
{
    enum { WARP = 32 };
    const double clock = 2e9;
    const at_peak_gpu *peak = at_peak_gpu_kernels();
    cuda *c = d->own;
    at_error err = { 0 };
    const at_launch launch = { &d->stream, NULL, &err };
    if (!peak || !push(c))
        return;
    int64_t rounds = (int64_t)(seconds * clock / AT_PEAK_GPU_CHAINS);
    if (peak->f32(rounds, 1, WARP, &launch) != AT_OK && c->failed.status == AT_OK)
        at_fail(&c->failed, AT_DEVICE, "cuda: keeping the device busy failed: %s", err.text);
    pop(c);
}

/* --- capture ---------------------------------------------------------------------------------- */

/* A failure that nobody has heard of comes first. */
static at_status begin_call(at_device *d, at_error *err)
{
    cuda *c = d->own;
    at_status status = cuda_check_failed(d, err);
    return status != AT_OK ? status
                           : at_cuda_check(&c->driver, c->driver.context_push(c->context), err,
                                           "making the device current");
}

static at_status cuda_capture_begin(at_device *d, at_error *err)
{
    cuda *c = d->own;
    at_status status = begin_call(d, err);
    if (status != AT_OK)
        return status;
    status = at_cuda_check(
        &c->driver, c->driver.capture_begin(c->stream, AT_CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), err,
        "beginning a capture");
    pop(c);
    return status;
}

static at_status capture_exec(cuda *c, at_cu_exec *exec, at_error *err)
{
    const at_cuda_driver *u = &c->driver;
    at_cu_graph graph = NULL;
    at_status status = at_cuda_check(u, u->capture_end(c->stream, &graph), err, "ending a capture");
    if (status == AT_OK)
        status = at_cuda_check(u, u->graph_instantiate(exec, graph, 0), err,
                               "making a captured plan ready");
    if (status != AT_OK)
        *exec = NULL;
    if (graph)
        good(c, u->graph_destroy(graph), "freeing a captured graph");
    return status;
}

/* It ends the capture even if something failed: else the stream could not be used any more. What
 * failed here besides is told by the replay. */
static at_status cuda_capture_end(at_device *d, void **captured, at_error *err)
{
    cuda *c = d->own;
    at_cu_exec exec = NULL;
    bool pushed = push(c);
    at_status status = capture_exec(c, &exec, err);
    if (pushed)
        pop(c);
    *captured = exec;
    return status;
}

static at_status cuda_replay(at_device *d, void *captured, at_error *err)
{
    cuda *c = d->own;
    at_status status = begin_call(d, err);
    if (status != AT_OK)
        return status;
    status = at_cuda_check(&c->driver, c->driver.graph_launch(captured, c->stream), err,
                           "launching a captured plan");
    pop(c);
    return status;
}

static void cuda_capture_free(at_device *d, void *captured)
{
    cuda *c = d->own;
    cuda_wait(d);
    bool pushed = push(c);
    good(c, c->driver.exec_destroy(captured), "freeing a captured plan");
    if (pushed)
        pop(c);
}

/* --- lanes ------------------------------------------------------------------------------------ */

static at_cu_stream stream_of(const cuda *c, at_lane lane)
{
    at_cu_stream stream = lane == AT_LANE_COMPUTE ? c->stream : c->lanes[lane];
    AT_ASSERT(stream, "lane %d has no stream", (int)lane);
    return stream;
}

static at_status cuda_lane_stream(at_device *d, at_lane lane, at_stream *stream, at_error *err)
{
    cuda *c = d->own;
    if (lane != AT_LANE_COMPUTE && !c->lanes[lane]) {
        at_status status = begin_call(d, err);
        if (status != AT_OK)
            return status;
        status = at_cuda_check(&c->driver,
                               c->driver.stream_create(&c->lanes[lane], AT_CU_STREAM_NON_BLOCKING),
                               err, "making a lane's stream");
        pop(c);
        if (status != AT_OK) {
            c->lanes[lane] = NULL;
            return status;
        }
    }
    *stream = (at_stream){ AT_CUDA, 0, stream_of(c, lane) };
    return AT_OK;
}

static at_status cuda_mark_new(at_device *d, void **mark, at_error *err)
{
    cuda *c = d->own;
    *mark = NULL;
    at_status status = begin_call(d, err);
    if (status != AT_OK)
        return status;
    status = at_cuda_check(&c->driver, c->driver.event_create(mark, AT_CU_EVENT_DISABLE_TIMING),
                           err, "making a lane's event");
    pop(c);
    if (status != AT_OK)
        *mark = NULL;
    return status;
}

static void cuda_mark_free(at_device *d, void *mark)
{
    cuda *c = d->own;
    bool pushed = push(c);
    good(c, c->driver.event_destroy(mark), "freeing a lane's event");
    if (pushed)
        pop(c);
}

static at_status cuda_mark_set(at_device *d, at_lane lane, void *mark, at_error *err)
{
    cuda *c = d->own;
    at_status status = begin_call(d, err);
    if (status != AT_OK)
        return status;
    status = at_cuda_check(&c->driver, c->driver.event_record(mark, stream_of(c, lane)), err,
                           "recording a lane's event");
    pop(c);
    return status;
}

static at_status cuda_mark_await(at_device *d, at_lane lane, void *mark, at_error *err)
{
    cuda *c = d->own;
    at_status status = begin_call(d, err);
    if (status != AT_OK)
        return status;
    status = at_cuda_check(&c->driver, c->driver.stream_wait_event(stream_of(c, lane), mark, 0),
                           err, "making a lane wait for another");
    pop(c);
    return status;
}

const at_device_api at_device_cuda = {
    .name = "cuda",
    .workspace_bytes = AT_WORKSPACE_MAX,
    .open = cuda_open,
    .close = cuda_close,
    .alloc = cuda_alloc,
    .clear = cuda_clear,
    .free = cuda_free,
    .reserve = cuda_reserve,
    .map = cuda_map,
    .unreserve = cuda_unreserve,
    .upload = cuda_upload,
    .download = cuda_download,
    .wait = cuda_wait,
    .memory_free = cuda_memory_free,
    .enter = cuda_enter,
    .leave = cuda_leave,
    .capture_begin = cuda_capture_begin,
    .capture_end = cuda_capture_end,
    .replay = cuda_replay,
    .capture_free = cuda_capture_free,
    .lane_stream = cuda_lane_stream,
    .mark_new = cuda_mark_new,
    .mark_free = cuda_mark_free,
    .mark_set = cuda_mark_set,
    .mark_await = cuda_mark_await,
    .check = cuda_check_failed,
    .copy = cuda_copy,
    .moment_new = cuda_moment_new,
    .moment_free = cuda_moment_free,
    .moment_mark = cuda_moment_mark,
    .moment_seconds = cuda_moment_seconds,
    .hold = cuda_hold,
};
