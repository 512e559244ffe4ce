/* cuda_stub.c -- a driver's library without a device, for cuda_driver_test.
 *
 * Memory is the host's. Copies and launches are put off until something waits for them: a window
 * that is filled again too early is seen, as on a device. Objects are counted, sizes and contexts
 * checked, and any one call can be made to fail; what frees something frees it even then. */
#define _GNU_SOURCE
#include "tests/cuda_stub.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define AT_CUDA_VALUE(NAME, value)
#define AT_CUDA_CALL(name, base, suffix, args) AT_API at_cu_result base##suffix args;
#include "engine/cuda_driver.def"
#undef AT_CUDA_CALL
#undef AT_CUDA_VALUE
AT_API cuda_stub *cuda_stub_state(void);
AT_API at_cu_result cuda_stub_launch(at_cu_stream stream, int value);

/* --- state ------------------------------------------------------------------------------------ */

enum { QUEUE_MAX = 1024, GRAPH_MAX = 512, CONTEXTS_MAX = 16 };
enum { CAPTURE_FORBIDS = 900, UNJOINED = 904 };

typedef enum kind { MEMORY, PINNED, RANGE, HANDLE, MAPPING, STREAM, EVENT, GRAPH, EXEC } kind;

/* A copy; without 'from' bytes of a value; with 'to' NULL a launch. */
typedef struct work {
    void *to;
    const void *from;
    size_t bytes;
    int value;
} work;

typedef struct object {
    struct object *next;
    kind kind;
    char *base; /* MEMORY, PINNED, RANGE, MAPPING: its address; else the object's own */
    size_t bytes;
    bool mapped;        /* HANDLE */
    long long recorded; /* EVENT: how much of the queue was issued */
    bool timed, marked; /* EVENT */
    struct object *of;  /* EVENT recorded in a capture: its stream; NULL: in none */
    bool taking_part;   /* STREAM: in the capture */
    int work, joined;   /* the same: how much, how much of it others wait for; EVENT: how much */
    work items[GRAPH_MAX];
    int count; /* GRAPH, EXEC */
} object;

static cuda_stub s = { .devices = 1, .version = 13000, .sm = 90 };
static object *objects, *capture, *origin;
static work queue[QUEUE_MAX];
static long long issued, done;
static at_cu_context contexts[CONTEXTS_MAX];
static int depth, retained;
static char primary; /* its address is the primary context */

cuda_stub *cuda_stub_state(void)
{
    return &s;
}

static at_cu_result misuse(const char *what)
{
    s.wrong = s.wrong ? s.wrong : what;
    return AT_CUDA_ERROR_INVALID_VALUE;
}

static at_cu_result failing(void)
{
    return ++s.calls == s.fail_at ? s.fail_with : AT_CUDA_SUCCESS;
}

/* The same where our context must be current. */
static at_cu_result failing_in_context(void)
{
    at_cu_result result = failing();
    if (result == AT_CUDA_SUCCESS && (!depth || contexts[depth - 1] != &primary))
        return AT_CUDA_ERROR_INVALID_CONTEXT;
    return result;
}

static object *make(kind of, char *base, size_t bytes)
{
    object *o = calloc(1, sizeof *o);
    if (!o)
        abort();
    o->kind = of;
    o->base = base ? base : (char *)o;
    o->bytes = bytes;
    o->next = objects;
    objects = o;
    s.live++;
    return o;
}

static object *find(kind of, const void *base)
{
    object *o = objects;
    while (o && (o->kind != of || o->base != (const char *)base))
        o = o->next;
    return o;
}

static void drop(object *o)
{
    for (object **link = &objects; *link; link = &(*link)->next)
        if (*link == o) {
            *link = o->next;
            break;
        }
    free(o);
    s.live--;
}

static at_cu_result drop_plain(kind of, const void *base, const char *wrong)
{
    at_cu_result result = failing_in_context();
    object *o = find(of, base);
    if (!o)
        return misuse(wrong);
    drop(o);
    return result;
}

static char *pointer_to(at_cu_address address)
{
    return (char *)(uintptr_t)address;
}

/* --- work ------------------------------------------------------------------------------------- */

static void run_until(long long ticket)
{
    for (; done < ticket; done++) {
        const work *w = &queue[done % QUEUE_MAX];
        if (w->from)
            memcpy(w->to, w->from, w->bytes);
        else if (w->to)
            memset(w->to, w->value, w->bytes);
        else if (s.logged < CUDA_STUB_LOG_MAX)
            s.log[s.logged++] = w->value;
    }
}

static at_cu_result enqueue(at_cu_stream stream, work w)
{
    object *o = find(STREAM, stream);
    if (!o)
        return misuse("work for what is no stream");
    if (o->taking_part) {
        if (capture->count == GRAPH_MAX)
            return misuse("too much work in a graph");
        capture->items[capture->count++] = w;
        o->work++;
        return AT_CUDA_SUCCESS;
    }
    if (issued - done == QUEUE_MAX)
        run_until(done + 1);
    queue[issued++ % QUEUE_MAX] = w;
    return AT_CUDA_SUCCESS;
}

at_cu_result cuda_stub_launch(at_cu_stream stream, int value)
{
    return enqueue(stream, (work){ .value = value });
}

/* --- the driver, devices, contexts ------------------------------------------------------------ */

at_cu_result cuInit(unsigned flags)
{
    at_cu_result result = failing();
    (void)flags;
    return result == AT_CUDA_SUCCESS ? s.starts : result;
}

at_cu_result cuDriverGetVersion(int *version)
{
    *version = s.version;
    return failing();
}

at_cu_result cuGetErrorName(at_cu_result error, const char **name)
{
    *name = error == AT_CUDA_ERROR_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : NULL;
    return *name ? AT_CUDA_SUCCESS : AT_CUDA_ERROR_INVALID_VALUE;
}

at_cu_result cuGetErrorString(at_cu_result error, const char **text)
{
    *text = error == AT_CUDA_ERROR_OUT_OF_MEMORY ? "out of memory" : NULL;
    return *text ? AT_CUDA_SUCCESS : AT_CUDA_ERROR_INVALID_VALUE;
}

at_cu_result cuDeviceGetCount(int *count)
{
    *count = s.devices;
    return failing();
}

at_cu_result cuDeviceGet(at_cu_device *device, int index)
{
    *device = index;
    return failing();
}

at_cu_result cuDeviceGetName(char *name, int name_size, at_cu_device device)
{
    (void)device;
    snprintf(name, (size_t)name_size, "Stub");
    return failing();
}

at_cu_result cuDeviceGetAttribute(int *value, at_cu_attribute attribute, at_cu_device device)
{
    (void)device;
    *value = attribute == AT_CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR   ? s.sm / 10
             : attribute == AT_CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR ? s.sm % 10
             : attribute == AT_CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE            ? 50 << 20
             : attribute == AT_CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT     ? 132
                                                                            : 1;
    return failing();
}

at_cu_result cuDeviceTotalMem_v2(size_t *bytes, at_cu_device device)
{
    (void)device;
    *bytes = s.memory;
    return failing();
}

at_cu_result cuDevicePrimaryCtxRetain(at_cu_context *context, at_cu_device device)
{
    at_cu_result result = failing();
    (void)device;
    if (result != AT_CUDA_SUCCESS)
        return result;
    retained++;
    s.live++;
    *context = &primary;
    return AT_CUDA_SUCCESS;
}

at_cu_result cuDevicePrimaryCtxRelease_v2(at_cu_device device)
{
    at_cu_result result = failing();
    (void)device;
    if (!retained)
        return misuse("a context is released too often");
    retained--;
    s.live--;
    return result;
}

at_cu_result cuCtxPushCurrent_v2(at_cu_context context)
{
    at_cu_result result = failing();
    if (result != AT_CUDA_SUCCESS)
        return result;
    if (depth == CONTEXTS_MAX)
        return misuse("too many contexts are pushed");
    contexts[depth++] = context;
    s.live++;
    return AT_CUDA_SUCCESS;
}

at_cu_result cuCtxPopCurrent_v2(at_cu_context *context)
{
    at_cu_result result = failing();
    if (!depth)
        return misuse("there is no context to pop");
    *context = contexts[--depth];
    s.live--;
    return result;
}

/* --- memory ----------------------------------------------------------------------------------- */

static bool takes(size_t bytes)
{
    if (bytes > s.memory - s.used)
        return false;
    s.used += bytes;
    return true;
}

at_cu_result cuMemAlloc_v2(at_cu_address *address, size_t bytes)
{
    enum { ALIGN = 256 };
    at_cu_result result = failing_in_context();
    if (result != AT_CUDA_SUCCESS)
        return result;
    char *base = takes(bytes) ? aligned_alloc(ALIGN, (bytes + ALIGN - 1) / ALIGN * ALIGN) : NULL;
    if (!base)
        return AT_CUDA_ERROR_OUT_OF_MEMORY;
    make(MEMORY, base, bytes);
    *address = (at_cu_address)(uintptr_t)base;
    return AT_CUDA_SUCCESS;
}

at_cu_result cuMemFree_v2(at_cu_address address)
{
    at_cu_result result = failing_in_context();
    object *o = find(MEMORY, pointer_to(address));
    if (!o)
        return misuse("memory is freed that is none");
    run_until(issued);
    s.used -= o->bytes;
    free(o->base);
    drop(o);
    return result;
}

at_cu_result cuMemsetD8Async(at_cu_address to, unsigned char value, size_t bytes,
                             at_cu_stream stream)
{
    at_cu_result result = failing_in_context();
    return result != AT_CUDA_SUCCESS
               ? result
               : enqueue(stream, (work){ pointer_to(to), NULL, bytes, value });
}

at_cu_result cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes)
{
    *free_bytes = s.memory - s.used;
    *total_bytes = s.memory;
    return failing_in_context();
}

at_cu_result cuMemAllocHost_v2(void **host, size_t bytes)
{
    at_cu_result result = failing_in_context();
    if (result != AT_CUDA_SUCCESS)
        return result;
    *host = malloc(bytes);
    if (!*host)
        return AT_CUDA_ERROR_OUT_OF_MEMORY;
    make(PINNED, *host, bytes);
    return AT_CUDA_SUCCESS;
}

at_cu_result cuMemFreeHost(void *host)
{
    at_cu_result result = drop_plain(PINNED, host, "pinned memory is freed that is none");
    run_until(issued);
    free(host);
    return result;
}

at_cu_result cuMemcpyHtoDAsync_v2(at_cu_address to, const void *from, size_t bytes,
                                  at_cu_stream stream)
{
    at_cu_result result = failing_in_context();
    return result != AT_CUDA_SUCCESS ? result
                                     : enqueue(stream, (work){ pointer_to(to), from, bytes, 0 });
}

at_cu_result cuMemcpyDtoDAsync_v2(at_cu_address to, at_cu_address from, size_t bytes,
                                  at_cu_stream stream)
{
    at_cu_result result = failing_in_context();
    return result != AT_CUDA_SUCCESS
               ? result
               : enqueue(stream, (work){ pointer_to(to), pointer_to(from), bytes, 0 });
}

at_cu_result cuMemcpyDtoHAsync_v2(void *to, at_cu_address from, size_t bytes, at_cu_stream stream)
{
    at_cu_result result = failing_in_context();
    return result != AT_CUDA_SUCCESS ? result
                                     : enqueue(stream, (work){ to, pointer_to(from), bytes, 0 });
}

/* --- ranges ----------------------------------------------------------------------------------- */

static bool in_pages(size_t bytes)
{
    return bytes > 0 && bytes % s.granularity == 0;
}

at_cu_result cuMemGetAllocationGranularity(size_t *bytes, const at_cu_allocation *what,
                                           at_cu_granularity flags)
{
    (void)flags;
    *bytes = s.granularity;
    if (what->type != AT_CU_MEM_ALLOCATION_TYPE_PINNED)
        return misuse("memory of an unknown type");
    return failing();
}

at_cu_result cuMemAddressReserve(at_cu_address *address, size_t bytes, size_t alignment,
                                 at_cu_address wish, unsigned long long flags)
{
    at_cu_result result = failing_in_context();
    if (result != AT_CUDA_SUCCESS)
        return result;
    if (!in_pages(bytes) || alignment || wish || flags)
        return misuse("a range that is not in whole pages");
    void *base = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return AT_CUDA_ERROR_OUT_OF_MEMORY;
    make(RANGE, base, bytes);
    *address = (at_cu_address)(uintptr_t)base;
    return AT_CUDA_SUCCESS;
}

static bool overlaps(const object *o, const char *base, size_t bytes)
{
    return o->kind == MAPPING && o->base < base + bytes && base < o->base + o->bytes;
}

static bool is_mapped(const char *base, size_t bytes)
{
    for (const object *o = objects; o; o = o->next)
        if (overlaps(o, base, bytes))
            return true;
    return false;
}

at_cu_result cuMemAddressFree(at_cu_address address, size_t bytes)
{
    at_cu_result result = failing_in_context();
    object *o = find(RANGE, pointer_to(address));
    if (!o || o->bytes != bytes)
        return misuse("a range is freed that is none");
    if (is_mapped(o->base, bytes))
        return misuse("a range is freed while it is mapped");
    munmap(o->base, bytes);
    drop(o);
    return result;
}

at_cu_result cuMemCreate(at_cu_memory *memory, size_t bytes, const at_cu_allocation *what,
                         unsigned long long flags)
{
    at_cu_result result = failing_in_context();
    if (result != AT_CUDA_SUCCESS)
        return result;
    if (!in_pages(bytes) || what->type != AT_CU_MEM_ALLOCATION_TYPE_PINNED || flags)
        return misuse("memory that is not in whole pages");
    if (!takes(bytes))
        return AT_CUDA_ERROR_OUT_OF_MEMORY;
    *memory = (at_cu_memory)(uintptr_t)make(HANDLE, NULL, bytes)->base;
    return AT_CUDA_SUCCESS;
}

/* Mapped memory lives until it is unmapped. */
at_cu_result cuMemRelease(at_cu_memory memory)
{
    at_cu_result result = failing();
    object *o = find(HANDLE, pointer_to(memory));
    if (!o)
        return misuse("a handle is released that is none");
    if (!o->mapped)
        s.used -= o->bytes;
    drop(o);
    return result;
}

at_cu_result cuMemMap(at_cu_address address, size_t bytes, size_t offset, at_cu_memory memory,
                      unsigned long long flags)
{
    at_cu_result result = failing_in_context();
    object *o = find(HANDLE, pointer_to(memory));
    if (result != AT_CUDA_SUCCESS)
        return result;
    if (!o || o->bytes != bytes || offset || flags || is_mapped(pointer_to(address), bytes))
        return misuse("memory is mapped where it cannot be");
    o->mapped = true;
    make(MAPPING, pointer_to(address), bytes);
    return AT_CUDA_SUCCESS;
}

/* Whole mappings only, and without gaps between them. */
at_cu_result cuMemUnmap(at_cu_address address, size_t bytes)
{
    at_cu_result result = failing_in_context();
    char *base = pointer_to(address);
    size_t found = 0;
    run_until(issued);
    for (object *o = objects, *next; o; o = next) {
        next = o->next;
        if (!overlaps(o, base, bytes))
            continue;
        if (o->base < base || o->base + o->bytes > base + bytes)
            return misuse("half a mapping is unmapped");
        found += o->bytes;
        s.used -= o->bytes;
        drop(o);
    }
    mprotect(base, bytes, PROT_NONE);
    return found == bytes ? result : misuse("what is not mapped is unmapped");
}

at_cu_result cuMemSetAccess(at_cu_address address, size_t bytes, const at_cu_access *access,
                            size_t count)
{
    at_cu_result result = failing_in_context();
    const object *o = find(MAPPING, pointer_to(address));
    if (result != AT_CUDA_SUCCESS)
        return result;
    if (!o || o->bytes != bytes || count != 1 ||
        access->flags != AT_CU_MEM_ACCESS_FLAGS_PROT_READWRITE)
        return misuse("access to what is not mapped");
    return mprotect(o->base, bytes, PROT_READ | PROT_WRITE) == 0 ? AT_CUDA_SUCCESS
                                                                 : AT_CUDA_ERROR_OUT_OF_MEMORY;
}

/* --- streams, events -------------------------------------------------------------------------- */

at_cu_result cuStreamCreate(at_cu_stream *stream, unsigned flags)
{
    at_cu_result result = failing_in_context();
    if (result != AT_CUDA_SUCCESS)
        return result;
    if (flags != AT_CU_STREAM_NON_BLOCKING)
        return misuse("a stream that waits for others");
    *stream = make(STREAM, NULL, 0);
    return AT_CUDA_SUCCESS;
}

at_cu_result cuStreamDestroy_v2(at_cu_stream stream)
{
    run_until(issued);
    return drop_plain(STREAM, stream, "a stream is freed that is none");
}

at_cu_result cuStreamSynchronize(at_cu_stream stream)
{
    at_cu_result result = failing_in_context();
    if (result != AT_CUDA_SUCCESS)
        return result;
    if (capture)
        return CAPTURE_FORBIDS;
    if (!find(STREAM, stream))
        return misuse("waiting for what is no stream");
    run_until(issued);
    return AT_CUDA_SUCCESS;
}

at_cu_result cuEventCreate(at_cu_event *event, unsigned flags)
{
    at_cu_result result = failing_in_context();
    if (result != AT_CUDA_SUCCESS)
        return result;
    if (flags != AT_CU_EVENT_DISABLE_TIMING && flags != AT_CU_EVENT_DEFAULT)
        return misuse("an event of an unknown kind");
    object *o = make(EVENT, NULL, 0);
    o->timed = flags == AT_CU_EVENT_DEFAULT;
    *event = o;
    return AT_CUDA_SUCCESS;
}

at_cu_result cuEventDestroy_v2(at_cu_event event)
{
    return drop_plain(EVENT, event, "an event is freed that is none");
}

at_cu_result cuEventRecord(at_cu_event event, at_cu_stream stream)
{
    at_cu_result result = failing_in_context();
    object *o = find(EVENT, event);
    if (result != AT_CUDA_SUCCESS)
        return result;
    object *from = find(STREAM, stream);
    if (!o || !from)
        return misuse("recording what is no event");
    o->recorded = issued;
    o->marked = true;
    o->of = from->taking_part ? from : NULL;
    o->work = from->work;
    return AT_CUDA_SUCCESS;
}

/* A millisecond for each piece of work between them. */
at_cu_result cuEventElapsedTime(float *ms, at_cu_event from, at_cu_event to)
{
    at_cu_result result = failing_in_context();
    const object *a = find(EVENT, from), *b = find(EVENT, to);
    if (result != AT_CUDA_SUCCESS)
        return result;
    if (!a || !b || !a->timed || !b->timed || !a->marked || !b->marked)
        return misuse("the time between what are no moments");
    if (done < a->recorded || done < b->recorded)
        return misuse("the time of work that is not done yet");
    *ms = (float)(b->recorded - a->recorded);
    return AT_CUDA_SUCCESS;
}

/* Takes a stream into a capture. What it has to wait for is a part of it that others must join. */
static void take_part(object *stream)
{
    stream->taking_part = true;
    stream->work = 1;
    stream->joined = 0;
}

/* The queue is in order, so a stream waits by itself; in a capture it is said who joins whom. */
at_cu_result cuStreamWaitEvent(at_cu_stream stream, at_cu_event event, unsigned flags)
{
    at_cu_result result = failing_in_context();
    object *o = find(STREAM, stream);
    const object *e = find(EVENT, event);
    if (result != AT_CUDA_SUCCESS)
        return result;
    if (!o || !e || flags)
        return misuse("a stream waits for what is no event");
    if (!e->of && o->taking_part)
        return misuse("a captured stream waits for what is not captured");
    if (e->of && !capture)
        return misuse("a stream waits for what a capture left behind");
    if (!e->of)
        return AT_CUDA_SUCCESS;
    if (!o->taking_part)
        take_part(o);
    e->of->joined = e->work > e->of->joined ? e->work : e->of->joined;
    return AT_CUDA_SUCCESS;
}

at_cu_result cuEventSynchronize(at_cu_event event)
{
    at_cu_result result = failing_in_context();
    const object *o = find(EVENT, event);
    if (result != AT_CUDA_SUCCESS)
        return result;
    if (!o)
        return misuse("waiting for what is no event");
    run_until(o->recorded);
    return AT_CUDA_SUCCESS;
}

/* --- graphs ----------------------------------------------------------------------------------- */

at_cu_result cuStreamBeginCapture_v2(at_cu_stream stream, at_cu_capture mode)
{
    at_cu_result result = failing_in_context();
    if (result != AT_CUDA_SUCCESS)
        return result;
    if (capture || !find(STREAM, stream) || mode != AT_CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
        return misuse("a capture that cannot begin");
    capture = make(GRAPH, NULL, 0);
    origin = find(STREAM, stream);
    take_part(origin);
    return AT_CUDA_SUCCESS;
}

/* True if the stream that began the capture is behind all the others. It ends their part. */
static bool all_joined(void)
{
    bool all = true;
    for (object *o = objects; o; o = o->next) {
        if (o->kind != STREAM || !o->taking_part)
            continue;
        all = all && (o == origin || o->joined >= o->work);
        o->taking_part = false;
    }
    return all;
}

/* A capture that fails ends without a graph. */
at_cu_result cuStreamEndCapture(at_cu_stream stream, at_cu_graph *graph)
{
    at_cu_result result = failing_in_context();
    if (!capture || find(STREAM, stream) != origin)
        return misuse("a capture is ended that has not begun");
    if (!all_joined() && result == AT_CUDA_SUCCESS)
        result = UNJOINED;
    if (result == AT_CUDA_SUCCESS)
        *graph = capture;
    else
        drop(capture);
    capture = NULL;
    return result;
}

at_cu_result cuGraphInstantiateWithFlags(at_cu_exec *exec, at_cu_graph graph,
                                         unsigned long long flags)
{
    at_cu_result result = failing_in_context();
    const object *from = find(GRAPH, graph);
    if (result != AT_CUDA_SUCCESS)
        return result;
    if (!from || flags)
        return misuse("what is no graph is made ready");
    object *o = make(EXEC, NULL, 0);
    memcpy(o->items, from->items, sizeof o->items);
    o->count = from->count;
    *exec = o;
    return AT_CUDA_SUCCESS;
}

at_cu_result cuGraphDestroy(at_cu_graph graph)
{
    return drop_plain(GRAPH, graph, "a graph is freed that is none");
}

at_cu_result cuGraphLaunch(at_cu_exec exec, at_cu_stream stream)
{
    at_cu_result result = failing_in_context();
    const object *o = find(EXEC, exec);
    if (result != AT_CUDA_SUCCESS)
        return result;
    if (!o)
        return misuse("what is no graph is launched");
    for (int i = 0; i < o->count && result == AT_CUDA_SUCCESS; i++)
        result = enqueue(stream, o->items[i]);
    return result;
}

at_cu_result cuGraphExecDestroy(at_cu_exec exec)
{
    if (done != issued)
        misuse("a graph is freed that may still run");
    return drop_plain(EXEC, exec, "what is freed is no graph");
}

/* --- NCCL ------------------------------------------------------------------------------------- */

AT_API int ncclGetVersion(int *version);

int ncclGetVersion(int *version)
{
    *version = 22703;
    return 0;
}
