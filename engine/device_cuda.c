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

#include "engine/cuda_libraries.h"
#include "engine/device_cuda_own.h"
#include "kernels/peak_gpu.h"

enum { SM_MIN = 80, SM_EARLY = 90 };

/* --- failures, the context -------------------------------------------------------------------- */

static at_status cuda_check_failed(at_device *d, at_error *err)
{
    at_cuda *c = d->own;
    at_error failed = c->failed;
    c->failed = (at_error){ 0 };
    return failed.status == AT_OK ? AT_OK : at_fail(err, failed.status, "%s", failed.text);
}

static void cuda_enter(at_device *d)
{
    at_cuda *c = d->own;
    c->depth += at_cuda_push(c);
}

static void cuda_leave(at_device *d)
{
    at_cuda *c = d->own;
    if (!c->depth)
        return; /* it could not be entered */
    c->depth--;
    at_cuda_pop(c);
}
/* --- open and close --------------------------------------------------------------------------- */

static at_status choose_device(at_cuda *c, int index, at_error *err)
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

static at_status ask(at_cuda *c, int *value, at_cu_attribute attribute, at_error *err)
{
    return at_cuda_check(&c->driver, c->driver.device_attribute(value, attribute, c->device), err,
                         "asking for attribute %d of the device", attribute);
}

static at_status learn_capability(at_cuda *c, int *sm, at_error *err)
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
static at_status learn_about(at_cuda *c, at_device *d, at_error *err)
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

static at_caps caps_of(const at_cuda *c, int sm)
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
static void open_libraries(at_cuda *c, const at_cuda_files *files, const at_device_options *options)
{
    void *handle = library(AT_CUDA_LIBRARY_CUBLASLT, files->cublaslt, options, &c->no_cublaslt);
    if (handle)
        at_cublaslt_open(&c->cublaslt, handle, &c->no_cublaslt);
    handle = library(AT_CUDA_LIBRARY_CUDNN, files->cudnn, options, &c->no_cudnn);
    if (handle)
        at_cudnn_open(&c->cudnn, handle, c->stream, &c->no_cudnn);
}

/* With the context current: the stream, the windows, the granularity. */
static at_status furnish(at_cuda *c, at_error *err)
{
    const at_cuda_driver *u = &c->driver;
    const at_cu_allocation what = at_cuda_allocation_of(c);
    at_status status = at_cuda_check(u, u->stream_create(&c->stream, AT_CU_STREAM_NON_BLOCKING),
                                     err, "making the stream");
    for (int i = 0; i < AT_CUDA_WINDOWS && status == AT_OK; i++) {
        at_cuda_window *w = &c->windows[i];
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
static void clear_out(at_cuda *c)
{
    at_cudnn_close(&c->cudnn);
    at_cublaslt_close(&c->cublaslt);
    for (int i = AT_CUDA_WINDOWS - 1; i >= 0; i--) {
        at_cuda_window *w = &c->windows[i];
        if (w->done)
            at_cuda_good(c, c->driver.event_destroy(w->done), "freeing an event");
        if (w->host)
            at_cuda_good(c, c->driver.host_free(w->host), "freeing pinned memory");
    }
    for (int k = 0; k < AT_LANE_COUNT; k++)
        if (c->lanes[k])
            at_cuda_good(c, c->driver.stream_destroy(c->lanes[k]), "freeing a lane's stream");
    if (c->stream)
        at_cuda_good(c, c->driver.stream_destroy(c->stream), "freeing the stream");
}

static void release(at_cuda *c)
{
    if (c->context) {
        bool pushed = at_cuda_push(c);
        clear_out(c);
        if (pushed)
            at_cuda_pop(c);
        at_cuda_good(c, c->driver.primary_release(c->device), "leaving the device");
    }
    free(c);
}

static at_status open_context(at_cuda *c, const at_cuda_files *files,
                              const at_device_options *options, at_error *err)
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
    at_cuda_pop(c);
    return status;
}

at_status at_device_cuda_open(at_device *d, const at_cuda_files *files,
                              const at_device_options *options, at_error *err)
{
    at_cuda *c = calloc(1, sizeof *c);
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
    const bool early = sm >= SM_EARLY && (!options->early || strcmp(options->early, "no") != 0);
    d->stream = (at_stream){ AT_CUDA, 0, c->stream, early };
    return AT_OK;
}

static at_status cuda_open(at_device *d, const at_device_options *options, at_error *err)
{
    return at_device_cuda_open(d, &(at_cuda_files){ 0 }, options, err);
}

static void cuda_close(at_device *d)
{
    at_cuda *c = d->own;
    AT_ASSERT(!c->ranges, "device cuda is closed with a range of %zu bytes", c->ranges->bytes);
    release(c);
}

at_status at_device_cuda_about(at_device *d, at_cuda_about *out, at_error *err)
{
    at_cuda *c = d->own;
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

/* --- moments ---------------------------------------------------------------------------------- */

static void *cuda_moment_new(at_device *d)
{
    at_cuda *c = d->own;
    at_cu_event event = NULL;
    if (!at_cuda_push(c))
        return NULL;
    bool there =
        at_cuda_good(c, c->driver.event_create(&event, AT_CU_EVENT_DEFAULT), "making an event");
    at_cuda_pop(c);
    return there ? event : NULL;
}

static void cuda_moment_free(at_device *d, void *moment)
{
    at_cuda *c = d->own;
    bool pushed = at_cuda_push(c);
    at_cuda_good(c, c->driver.event_destroy(moment), "freeing an event");
    if (pushed)
        at_cuda_pop(c);
}

static void cuda_moment_mark(at_device *d, void *moment)
{
    at_cuda *c = d->own;
    if (!at_cuda_push(c))
        return;
    at_cuda_good(c, c->driver.event_record(moment, c->stream), "marking a moment");
    at_cuda_pop(c);
}

static double cuda_moment_seconds(at_device *d, void *from, void *to)
{
    at_cuda *c = d->own;
    float ms = 0;
    if (!at_cuda_push(c))
        return 0;
    bool told =
        at_cuda_good(c, c->driver.event_wait(to), "the work before a moment") &&
        at_cuda_good(c, c->driver.event_between(&ms, from, to), "the time between two moments");
    at_cuda_pop(c);
    return told ? 1e-3 * (double)ms : 0;
}

/* A chain of multiplications on one warp, an instruction a cycle; a slower clock holds longer. */
static void cuda_hold(at_device *d, double seconds)
{
    enum { WARP = 32 };
    const double clock = 2e9;
    const at_peak_gpu *peak = at_peak_gpu_kernels();
    at_cuda *c = d->own;
    at_error err = { 0 };
    const at_launch launch = { &d->stream, NULL, &err };
    if (!peak || !at_cuda_push(c))
        return;
    int64_t rounds = (int64_t)(seconds * clock / AT_PEAK_GPU_CHAINS);
    if (peak->f32(rounds, 1, WARP, &launch) != AT_OK && c->failed.status == AT_OK)
        at_fail(&c->failed, AT_DEVICE, "cuda: keeping the device busy failed: %s", err.text);
    at_cuda_pop(c);
}

/* --- capture ---------------------------------------------------------------------------------- */

/* A failure that nobody has heard of comes first. */
static at_status begin_call(at_device *d, at_error *err)
{
    at_cuda *c = d->own;
    at_status status = cuda_check_failed(d, err);
    return status != AT_OK ? status
                           : at_cuda_check(&c->driver, c->driver.context_push(c->context), err,
                                           "making the device current");
}

static at_status cuda_capture_begin(at_device *d, at_error *err)
{
    at_cuda *c = d->own;
    at_status status = begin_call(d, err);
    if (status != AT_OK)
        return status;
    status = at_cuda_check(
        &c->driver, c->driver.capture_begin(c->stream, AT_CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), err,
        "beginning a capture");
    at_cuda_pop(c);
    return status;
}

static at_status capture_exec(at_cuda *c, at_cu_exec *exec, at_error *err)
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
        at_cuda_good(c, u->graph_destroy(graph), "freeing a captured graph");
    return status;
}

/* It ends the capture even if something failed: else the stream could not be used any more. What
 * failed here besides is told by the replay. */
static at_status cuda_capture_end(at_device *d, void **captured, at_error *err)
{
    at_cuda *c = d->own;
    at_cu_exec exec = NULL;
    bool pushed = at_cuda_push(c);
    at_status status = capture_exec(c, &exec, err);
    if (pushed)
        at_cuda_pop(c);
    *captured = exec;
    return status;
}

static at_status cuda_replay(at_device *d, void *captured, at_error *err)
{
    at_cuda *c = d->own;
    at_status status = begin_call(d, err);
    if (status != AT_OK)
        return status;
    status = at_cuda_check(&c->driver, c->driver.graph_launch(captured, c->stream), err,
                           "launching a captured plan");
    at_cuda_pop(c);
    return status;
}

static void cuda_capture_free(at_device *d, void *captured)
{
    at_cuda *c = d->own;
    at_cuda_wait(d);
    bool pushed = at_cuda_push(c);
    at_cuda_good(c, c->driver.exec_destroy(captured), "freeing a captured plan");
    if (pushed)
        at_cuda_pop(c);
}

/* --- lanes ------------------------------------------------------------------------------------ */

static at_cu_stream stream_of(const at_cuda *c, at_lane lane)
{
    at_cu_stream stream = lane == AT_LANE_COMPUTE ? c->stream : c->lanes[lane];
    AT_ASSERT(stream, "lane %d has no stream", (int)lane);
    return stream;
}

static at_status cuda_lane_stream(at_device *d, at_lane lane, at_stream *stream, at_error *err)
{
    at_cuda *c = d->own;
    if (lane != AT_LANE_COMPUTE && !c->lanes[lane]) {
        at_status status = begin_call(d, err);
        if (status != AT_OK)
            return status;
        status = at_cuda_check(&c->driver,
                               c->driver.stream_create(&c->lanes[lane], AT_CU_STREAM_NON_BLOCKING),
                               err, "making a lane's stream");
        at_cuda_pop(c);
        if (status != AT_OK) {
            c->lanes[lane] = NULL;
            return status;
        }
    }
    *stream = (at_stream){ AT_CUDA, 0, stream_of(c, lane), d->stream.early };
    return AT_OK;
}

static at_status cuda_mark_new(at_device *d, void **mark, at_error *err)
{
    at_cuda *c = d->own;
    *mark = NULL;
    at_status status = begin_call(d, err);
    if (status != AT_OK)
        return status;
    status = at_cuda_check(&c->driver, c->driver.event_create(mark, AT_CU_EVENT_DISABLE_TIMING),
                           err, "making a lane's event");
    at_cuda_pop(c);
    if (status != AT_OK)
        *mark = NULL;
    return status;
}

static void cuda_mark_free(at_device *d, void *mark)
{
    at_cuda *c = d->own;
    bool pushed = at_cuda_push(c);
    at_cuda_good(c, c->driver.event_destroy(mark), "freeing a lane's event");
    if (pushed)
        at_cuda_pop(c);
}

static at_status cuda_mark_set(at_device *d, at_lane lane, void *mark, at_error *err)
{
    at_cuda *c = d->own;
    at_status status = begin_call(d, err);
    if (status != AT_OK)
        return status;
    status = at_cuda_check(&c->driver, c->driver.event_record(mark, stream_of(c, lane)), err,
                           "recording a lane's event");
    at_cuda_pop(c);
    return status;
}

static at_status cuda_mark_await(at_device *d, at_lane lane, void *mark, at_error *err)
{
    at_cuda *c = d->own;
    at_status status = begin_call(d, err);
    if (status != AT_OK)
        return status;
    status = at_cuda_check(&c->driver, c->driver.stream_wait_event(stream_of(c, lane), mark, 0),
                           err, "making a lane wait for another");
    at_cuda_pop(c);
    return status;
}

const at_device_api at_device_cuda = {
    .name = "cuda",
    .workspace_bytes = AT_WORKSPACE_MAX,
    .open = cuda_open,
    .close = cuda_close,
    .alloc = at_cuda_alloc,
    .clear = at_cuda_clear,
    .free = at_cuda_free,
    .reserve = at_cuda_reserve,
    .map = at_cuda_map,
    .unreserve = at_cuda_unreserve,
    .upload = at_cuda_upload,
    .download = at_cuda_download,
    .wait = at_cuda_wait,
    .memory_free = at_cuda_memory_free,
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
    .copy = at_cuda_copy,
    .moment_new = cuda_moment_new,
    .moment_free = cuda_moment_free,
    .moment_mark = cuda_moment_mark,
    .moment_seconds = cuda_moment_seconds,
    .hold = cuda_hold,
};
