/* runtime.c -- the host's side: CUDA's runtime calls, on the emulated device.
 *
 * Work happens when it is enqueued, unless its stream is being captured: then it becomes a node of
 * a graph, with its arguments, and happens at each replay, in the order in which it was enqueued or
 * in another that the waits between streams allow (at_emu_streams).
 * A fault does not poison the context as on a device: the next call starts afresh. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/emulator/machine.h"

enum { FUNCTIONS_MAX = 1024, ARGS_ALIGN = 128, STREAMS_MAX = 16 };

typedef enum node_kind { NODE_KERNEL, NODE_COPY, NODE_SET, NODE_CALL, NODE_WAIT } node_kind;

typedef struct node {
    node_kind kind;
    at_emu_kernel kernel; /* its args are the node's own */
    void *dst;
    const void *src;
    size_t bytes;
    int value;
    at_emu_call_fn call;
    void *context; /* the node's own */
    int stream;    /* of the capture */
    int from;      /* of a wait: another one, whose first 'value' nodes must be done */
} node;

struct CUgraph_st {
    node *nodes;
    int count, room, users;
    cudaStream_t streams[STREAMS_MAX]; /* taking part in the capture; the first began it */
    int n_streams;
};

struct CUgraphExec_st {
    struct CUgraph_st *graph;
};

struct CUstream_st {
    struct CUgraph_st *capture;
    int issued, joined; /* while captured: how much there is, how much another stream waits for */
    int index, nodes;   /* and which stream of the capture it is, how many nodes it has */
};

struct CUevent_st {
    struct CUgraph_st *capture;
    cudaStream_t from;
    int issued, nodes;
    double ms;
};

typedef struct limit {
    const void *function;
    int bytes;
} limit;

static limit limits[FUNCTIONS_MAX];
static int n_limits;
static cudaError_t last_error;

static cudaError_t done(cudaError_t status)
{
    if (status != cudaSuccess)
        last_error = status;
    return status;
}

/* --- errors ----------------------------------------------------------------------------------- */

static const struct {
    cudaError_t error;
    const char *name, *text;
} errors[] = {
    { cudaSuccess, "cudaSuccess", "no error" },
    { cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument" },
    { cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory" },
    { cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration" },
    { cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal" },
    { cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid handle" },
    { cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "a kernel failed" },
    { cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
      "not permitted while a stream is captured" },
    { cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined",
      "a captured stream was not joined to the one that began the capture" },
};

const char *cudaGetErrorName(cudaError_t error)
{
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].error == error)
            return errors[i].name;
    return "cudaErrorUnknown";
}

const char *cudaGetErrorString(cudaError_t error)
{
    bool launch = error == cudaErrorLaunchFailure || error == cudaErrorInvalidConfiguration;
    if (launch && at_emu_fault()[0])
        return at_emu_fault();
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].error == error)
            return errors[i].text;
    return "unknown error";
}

cudaError_t cudaPeekAtLastError(void)
{
    return last_error;
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t e = last_error;
    last_error = cudaSuccess;
    return e;
}

/* --- the device ------------------------------------------------------------------------------- */

at_emu_build at_emu_built(void)
{
    if (at_emu_watched())
        return AT_EMU_RACE;
    return AT_EMU_WITH_SANITIZERS ? AT_EMU_SANITIZED : AT_EMU_PLAIN;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = 1;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    return done(device == 0 ? cudaSuccess : cudaErrorInvalidDevice);
}

cudaError_t cudaGetDevice(int *device)
{
    *device = 0;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *prop, int device)
{
    size_t total;
    if (device != 0)
        return done(cudaErrorInvalidDevice);
    at_emu_memory_base(&total);
    *prop = (cudaDeviceProp){ .name = "emulated sm_90",
                              .totalGlobalMem = total,
                              .sharedMemPerBlock = AT_EMU_SHARED_DEFAULT,
                              .sharedMemPerBlockOptin = AT_EMU_SHARED_MAX,
                              .sharedMemPerMultiprocessor = 228 << 10,
                              .regsPerBlock = 65536,
                              .warpSize = AT_EMU_LANES,
                              .maxThreadsPerBlock = AT_EMU_THREADS_MAX,
                              .maxThreadsDim = { 1024, 1024, 64 },
                              .maxGridSize = { INT32_MAX, 65535, 65535 },
                              .major = 9,
                              .multiProcessorCount = 132,
                              .maxThreadsPerMultiProcessor = 2048,
                              .l2CacheSize = 50 << 20,
                              .memoryBusWidth = 5120,
                              .concurrentKernels = 1,
                              .asyncEngineCount = 3,
                              .unifiedAddressing = 1,
                              .ECCEnabled = 1 };
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attr, int device)
{
    cudaDeviceProp p;
    cudaError_t status = cudaGetDeviceProperties(&p, device);
    if (status != cudaSuccess)
        return status;
    switch (attr) {
    case cudaDevAttrMaxThreadsPerBlock: *value = p.maxThreadsPerBlock; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = (int)p.sharedMemPerBlock; break;
    case cudaDevAttrWarpSize: *value = p.warpSize; break;
    case cudaDevAttrMultiProcessorCount: *value = p.multiProcessorCount; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = p.maxThreadsPerMultiProcessor; break;
    case cudaDevAttrComputeCapabilityMajor: *value = p.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = p.minor; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
        *value = (int)p.sharedMemPerMultiprocessor;
        break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = (int)p.sharedMemPerBlockOptin; break;
    default: return done(cudaErrorInvalidValue);
    }
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
    at_emu_memory_base(total_bytes);
    *free_bytes = at_emu_memory_free();
    return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize(void)
{
    return cudaSuccess;
}

cudaError_t cudaDeviceReset(void)
{
    return cudaSuccess;
}

/* --- functions and launches ------------------------------------------------------------------- */

int at_emu_shared_limit(const void *function)
{
    for (int i = 0; i < n_limits; i++)
        if (limits[i].function == function)
            return limits[i].bytes;
    return AT_EMU_SHARED_DEFAULT;
}

cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *attr, const void *function)
{
    attr->maxDynamicSharedSizeBytes = at_emu_shared_limit(function);
    return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void *function, enum cudaFuncAttribute attr, int value)
{
    int i = 0;
    if (attr != cudaFuncAttributeMaxDynamicSharedMemorySize)
        return cudaSuccess;
    if (value < 0 || value > AT_EMU_SHARED_MAX)
        return done(cudaErrorInvalidValue);
    while (i < n_limits && limits[i].function != function)
        i++;
    if (i == FUNCTIONS_MAX)
        return done(cudaErrorUnknown);
    limits[i] = (limit){ function, value };
    n_limits += i == n_limits;
    return cudaSuccess;
}

static void do_copy(const node *n)
{
    memmove(n->dst, n->src, n->bytes);
    at_emu_watch_written(n->dst, n->bytes);
}

static void do_set(const node *n)
{
    memset(n->dst, n->value, n->bytes);
    at_emu_watch_written(n->dst, n->bytes);
}

static cudaError_t do_node(const node *n)
{
    switch (n->kind) {
    case NODE_KERNEL: return at_emu_run(&n->kernel);
    case NODE_COPY: do_copy(n); break;
    case NODE_SET: do_set(n); break;
    case NODE_CALL: n->call(n->context); break;
    case NODE_WAIT: break;
    }
    return cudaSuccess;
}

/* A copy of what a node was given. */
static void *own_copy(const void *from, size_t bytes)
{
    void *copy = aligned_alloc(ARGS_ALIGN, (bytes + ARGS_ALIGN - 1) / ARGS_ALIGN * ARGS_ALIGN);
    return copy ? memcpy(copy, from, bytes) : NULL;
}

static cudaError_t add_node(cudaStream_t s, const node *n)
{
    struct CUgraph_st *g = s->capture;
    if (g->count == g->room) {
        int room = g->room ? 2 * g->room : 64;
        node *more = realloc(g->nodes, (size_t)room * sizeof *more);
        if (!more)
            return done(cudaErrorMemoryAllocation);
        g->nodes = more;
        g->room = room;
    }
    node *own = &g->nodes[g->count];
    *own = *n;
    own->stream = s->index;
    if (n->kind == NODE_KERNEL)
        own->kernel.args = own_copy(n->kernel.args, n->kernel.args_bytes);
    if (n->kind == NODE_CALL)
        own->context = own_copy(n->context, n->bytes);
    if ((n->kind == NODE_KERNEL && !own->kernel.args) || (n->kind == NODE_CALL && !own->context))
        return done(cudaErrorMemoryAllocation);
    g->count++;
    s->nodes++;
    s->issued += n->kind != NODE_WAIT;
    return cudaSuccess;
}

static cudaError_t enqueue(const node *n, cudaStream_t stream)
{
    return stream && stream->capture ? add_node(stream, n) : done(do_node(n));
}

cudaError_t at_emu_enqueue(const at_emu_kernel *k, cudaStream_t stream)
{
    node n = { .kind = NODE_KERNEL, .kernel = *k };
    return enqueue(&n, stream);
}

cudaError_t at_emu_enqueue_call(cudaStream_t stream, at_emu_call_fn call, void *context,
                                size_t context_bytes)
{
    node n = { .kind = NODE_CALL, .call = call, .context = context, .bytes = context_bytes };
    return enqueue(&n, stream);
}

/* --- memory ----------------------------------------------------------------------------------- */

cudaError_t cudaMalloc(void **p, size_t bytes)
{
    *p = bytes ? at_emu_memory_take(bytes) : NULL;
    return done(*p || !bytes ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaFree(void *p)
{
    return done(!p || at_emu_memory_give(p) ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaMallocHost(void **p, size_t bytes)
{
    *p = malloc(bytes);
    return done(*p ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaFreeHost(void *p)
{
    free(p);
    return cudaSuccess;
}

/* Whether the device's side of a call lies in an allocation. */
static bool is_device(const void *p, size_t bytes)
{
    bool live = false;
    return bytes == 0 || (at_emu_memory_covers(p, bytes, &live) && live);
}

static bool is_host(const void *p)
{
    bool live;
    return !at_emu_memory_covers(p, 1, &live);
}

static cudaError_t check_copy(const void *dst, const void *src, size_t bytes,
                              enum cudaMemcpyKind kind)
{
    bool to = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    bool from = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    bool right = kind == cudaMemcpyDefault || ((to ? is_device(dst, bytes) : is_host(dst)) &&
                                               (from ? is_device(src, bytes) : is_host(src)));
    return right || bytes == 0 ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    node n = { .kind = NODE_COPY, .dst = dst, .src = src, .bytes = bytes };
    cudaError_t status = check_copy(dst, src, bytes, kind);
    return status == cudaSuccess ? enqueue(&n, stream) : done(status);
}

cudaError_t cudaMemcpy(void *dst, const void *src, size_t bytes, enum cudaMemcpyKind kind)
{
    return cudaMemcpyAsync(dst, src, bytes, kind, NULL);
}

cudaError_t cudaMemsetAsync(void *dst, int value, size_t bytes, cudaStream_t stream)
{
    node n = { .kind = NODE_SET, .dst = dst, .bytes = bytes, .value = value };
    return is_device(dst, bytes) ? enqueue(&n, stream) : done(cudaErrorInvalidValue);
}

cudaError_t cudaMemset(void *dst, int value, size_t bytes)
{
    return cudaMemsetAsync(dst, value, bytes, NULL);
}

/* --- streams and events ----------------------------------------------------------------------- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    (void)flags;
    *stream = calloc(1, sizeof **stream);
    return done(*stream ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaStreamCreate(cudaStream_t *stream)
{
    return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    free(stream);
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    return done(stream && stream->capture ? cudaErrorStreamCaptureUnsupported : cudaSuccess);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    (void)flags;
    *event = calloc(1, sizeof **event);
    return done(*event ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    free(event);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    event->ms = (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
    event->capture = stream ? stream->capture : NULL;
    event->from = stream;
    event->issued = stream ? stream->issued : 0;
    event->nodes = stream ? stream->nodes : 0;
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    return done(event->capture ? cudaErrorStreamCaptureUnsupported : cudaSuccess);
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end)
{
    *ms = (float)(end->ms - start->ms);
    return cudaSuccess;
}

static cudaError_t take_part(struct CUgraph_st *g, cudaStream_t stream)
{
    if (g->n_streams == STREAMS_MAX)
        return cudaErrorUnknown;
    stream->index = g->n_streams;
    stream->nodes = 0;
    g->streams[g->n_streams++] = stream;
    stream->capture = g;
    stream->issued = 1; /* the fork itself must be joined */
    stream->joined = 0;
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    (void)flags;
    if (!event->capture)
        return cudaSuccess;
    if (!stream)
        return done(cudaErrorStreamCaptureUnsupported);
    if (event->from != stream && event->from->joined < event->issued)
        event->from->joined = event->issued;
    cudaError_t status = stream->capture ? cudaSuccess : take_part(event->capture, stream);
    if (status != cudaSuccess || event->from == stream)
        return done(status);
    return add_node(
        stream, &(node){ .kind = NODE_WAIT, .from = event->from->index, .value = event->nodes });
}

/* --- graphs ----------------------------------------------------------------------------------- */

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    (void)mode;
    if (!stream || stream->capture)
        return done(cudaErrorStreamCaptureUnsupported);
    struct CUgraph_st *g = calloc(1, sizeof *g);
    if (!g)
        return done(cudaErrorMemoryAllocation);
    g->users = 1;
    return done(take_part(g, stream));
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    cudaError_t status = cudaSuccess;
    if (!stream || !stream->capture || stream->capture->streams[0] != stream)
        return done(cudaErrorInvalidValue);
    struct CUgraph_st *g = stream->capture;
    for (int i = 0; i < g->n_streams; i++) {
        if (i > 0 && g->streams[i]->joined < g->streams[i]->issued)
            status = cudaErrorStreamCaptureUnjoined;
        g->streams[i]->capture = NULL;
    }
    *graph = g;
    if (status != cudaSuccess) {
        cudaGraphDestroy(g);
        *graph = NULL;
    }
    return done(status);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags)
{
    (void)flags;
    *exec = malloc(sizeof **exec);
    if (!*exec)
        return done(cudaErrorMemoryAllocation);
    (*exec)->graph = graph;
    graph->users++;
    return cudaSuccess;
}

/* How far each stream of a replay has come: nodes done, and where in the graph to look on. */
typedef struct replay {
    const struct CUgraph_st *graph;
    int done[STREAMS_MAX], at[STREAMS_MAX];
} replay;

/* Runs the first 'count' nodes of a stream, and of others what they wait for. A wait is always for
 * what was enqueued before it, so that no stream is entered for more than it is at already. */
static cudaError_t run_ahead(replay *r, int stream, int count)
{
    cudaError_t status = cudaSuccess;
    while (status == cudaSuccess && r->done[stream] < count && r->at[stream] < r->graph->count) {
        const node *n = &r->graph->nodes[r->at[stream]++];
        if (n->stream != stream)
            continue;
        status = n->kind == NODE_WAIT ? run_ahead(r, n->from, n->value) : do_node(n);
        r->done[stream]++;
    }
    return status;
}

static cudaError_t run_streams(const struct CUgraph_st *g)
{
    replay r = { .graph = g };
    cudaError_t status = cudaSuccess;
    bool ahead = at_emu_now.settings.streams == AT_EMU_STREAMS_FIRST_AHEAD;
    for (int i = 0; i < g->n_streams && status == cudaSuccess; i++)
        status = run_ahead(&r, ahead ? i : g->n_streams - 1 - i, g->count);
    return status;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    const struct CUgraph_st *g = exec->graph;
    cudaError_t status = cudaSuccess;
    if (stream && stream->capture)
        return done(cudaErrorStreamCaptureUnsupported);
    if (at_emu_now.settings.streams != AT_EMU_STREAMS_ENQUEUED)
        return done(run_streams(g));
    for (int i = 0; i < g->count && status == cudaSuccess; i++)
        status = do_node(&g->nodes[i]);
    return done(status);
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    if (--graph->users > 0)
        return cudaSuccess;
    for (int i = 0; i < graph->count; i++) {
        if (graph->nodes[i].kind == NODE_KERNEL)
            free(graph->nodes[i].kernel.args);
        free(graph->nodes[i].context);
    }
    free(graph->nodes);
    free(graph);
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    cudaGraphDestroy(exec->graph);
    free(exec);
    return cudaSuccess;
}
