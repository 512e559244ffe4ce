/* checkpoint_verify.c -- every byte of a file against its checksum, on all threads; then HDF5's
 * view of it. HDF5 runs in a child whose time and memory are bounded and which tells what it finds
 * through a pipe: metadata made to crash or to hang it end the child, not us. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/checkpoint_hdf5.h"
#include "engine/checksum.h"
#include "engine/clock.h"
#include "kernels/cpu.h"
#include "kernels/parallel.h"

/* --- sums on several threads ------------------------------------------------------------------ */

enum { REPORT_PIECES = 16 }; /* between two reports of progress */

typedef struct piece_sums {
    const at_checkpoint *c;
    const at_extent *extents;
    const int64_t *first; /* piece of each extent, and one past the last */
    uint64_t *sums;       /* of the pieces */
    int count;            /* of the extents */
    atomic_int failed;    /* an extent that cannot be read, -1: none */
    const at_progress *progress;
    atomic_llong done;     /* pieces */
    int64_t next_report;   /* worker 0's, which is the caller's thread */
    at_status status;      /* of reporting */
    at_error *err;         /* the caller's; worker 0 fills it */
    atomic_bool cancelled; /* what is not begun is left */
} piece_sums;

static int64_t pieces_of(uint64_t bytes)
{
    return (int64_t)((bytes + AT_CHECKSUM_PIECE - 1) / AT_CHECKSUM_PIECE);
}

static int extent_of(const piece_sums *p, int64_t piece)
{
    int low = 0, high = p->count;
    while (high - low > 1) {
        int middle = low + (high - low) / 2;
        if (p->first[middle] <= piece)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static void report(piece_sums *p)
{
    int64_t done = atomic_load(&p->done), pieces = p->first[p->count];
    if (done < p->next_report)
        return;
    p->next_report = done + REPORT_PIECES;
    uint64_t bytes = p->c->file.bytes / (uint64_t)pieces * (uint64_t)done;
    p->status = at_progress_report(p->progress, bytes, p->c->file.bytes, p->err);
    atomic_store(&p->cancelled, p->status != AT_OK);
}

/* There is no waiting in between: a thread that others keep from its core delays its own piece. */
static void sum_pieces(void *ctx, int64_t begin, int64_t end, int worker)
{
    piece_sums *p = ctx;
    for (int64_t i = begin; i < end && !atomic_load(&p->cancelled); i++) {
        int x = extent_of(p, i);
        const at_extent *e = &p->extents[x];
        uint64_t from = (uint64_t)(i - p->first[x]) * AT_CHECKSUM_PIECE;
        uint64_t left = e->bytes - from;
        size_t bytes = left < AT_CHECKSUM_PIECE ? (size_t)left : AT_CHECKSUM_PIECE;
        if (at_checkpoint_piece(p->c, e->offset + from, bytes, &p->sums[i], NULL) != AT_OK)
            atomic_store(&p->failed, x);
        atomic_fetch_add(&p->done, 1);
        if (worker == 0)
            report(p);
    }
}

static at_status sum_all(piece_sums *p, int threads)
{
    const at_stream stream = { AT_CPU, threads > 0 ? threads : at_cpu_cores(), NULL };
    at_parallel_uneven(&stream, p->first[p->count], 1, sum_pieces, p);
    int x = atomic_load(&p->failed);
    uint64_t total = p->c->file.bytes;
    if (x < 0 && p->status == AT_OK)
        return at_progress_report(p->progress, total, total, p->err);
    if (x < 0)
        return p->status;
    return at_fail(p->err, AT_IO, "%s: reading the %" PRIu64 " bytes at %" PRIu64 " failed",
                   p->c->path, p->extents[x].bytes, p->extents[x].offset);
}

at_status at_checkpoint_sums(const at_checkpoint *c, const at_extent *extents, int count,
                             uint64_t *sums, int threads, const at_progress *progress,
                             at_error *err)
{
    int64_t *first = malloc(((size_t)count + 1) * sizeof *first), pieces = 0;
    for (int i = 0; first && i <= count; i++) {
        first[i] = pieces;
        pieces += i < count ? pieces_of(extents[i].bytes) : 0;
    }
    uint64_t *parts = malloc(((size_t)pieces + 1) * sizeof *parts);
    at_status status = AT_OK;
    if (!first || !parts) {
        status = at_fail(err, AT_NO_MEMORY, "%s: no memory to check it", c->path);
    } else {
        piece_sums p = { c, extents, first, parts, count, -1, progress, .err = err };
        status = sum_all(&p, threads);
    }
    for (int i = 0; i < count && status == AT_OK; i++)
        sums[i] = at_checksum_join(parts + first[i], (size_t)(first[i + 1] - first[i]));
    free(parts);
    free(first);
    return status;
}

/* --- findings --------------------------------------------------------------------------------- */

typedef struct findings {
    const at_verify_options *options;
    const char *path;
    int count;
    char first[AT_CHECKPOINT_MESSAGE_MAX];
} findings;

static void found(void *context, const char *thing, const char *text)
{
    findings *f = context;
    if (f->count++ == 0)
        snprintf(f->first, sizeof f->first, "%.*s", (int)sizeof f->first - 1, text);
    if (f->options->found)
        f->options->found(f->options->context, thing, text);
}

static void found_text(void *context, const char *name)
{
    char thing[AT_TEXT_NAME_MAX + 16], text[AT_TEXT_NAME_MAX + 64];
    snprintf(thing, sizeof thing, "text %s", name);
    snprintf(text, sizeof text, "text '%s' is damaged: its checksum is not the index's", name);
    found(context, thing, text);
}

/* --- our own view ----------------------------------------------------------------------------- */

/* What lies between the extents, as the writer sums it. */
static at_status check_rest(const at_checkpoint *c, findings *f, at_error *err)
{
    at_checksum *sum = at_checksum_new();
    if (!sum)
        return at_fail(err, AT_NO_MEMORY, "%s: no memory to verify it", c->path);
    uint64_t end = AT_CHECKPOINT_HEADER_BYTES;
    at_status status = AT_OK;
    for (int i = -1; i <= c->list.text_count + c->list.count && status == AT_OK; i++) {
        const at_extent last = { c->file.bytes, 1, 0 };
        const at_extent *e = i < 0                                    ? &c->header.index
                             : i < c->list.text_count + c->list.count ? &c->extents[i]
                                                                      : &last;
        if (e->bytes == 0)
            continue;
        status = at_checkpoint_touch(c, end, (size_t)(e->offset - end), err);
        if (status == AT_OK)
            at_checksum_add(sum, c->map.data + end, (size_t)(e->offset - end));
        end = e->offset + e->bytes;
    }
    uint64_t value = at_checksum_value(sum);
    at_checksum_free(sum);
    char text[160];
    snprintf(text, sizeof text,
             "HDF5's metadata or a gap is damaged: its checksum is %016" PRIx64
             ", expected %016" PRIx64,
             value, c->header.rest_sum);
    if (status == AT_OK && value != c->header.rest_sum)
        found(f, "HDF5 metadata", text);
    return status;
}

static at_status check_tensors(at_checkpoint *c, findings *f, at_error *err)
{
    const at_extent *extents = c->extents + c->list.text_count;
    uint64_t *sums = malloc(((size_t)c->list.count + 1) * sizeof *sums);
    if (!sums)
        return at_fail(err, AT_NO_MEMORY, "%s: no memory to verify it", c->path);
    const at_verify_options *o = f->options;
    at_status status =
        at_checkpoint_sums(c, extents, c->list.count, sums, o->threads, o->progress, err);
    for (int i = 0; i < c->list.count && status == AT_OK; i++) {
        at_error damage;
        if (sums[i] == extents[i].sum)
            continue;
        at_checkpoint_tensor_damaged(c, i, sums[i], &damage);
        found(f, c->list.items[i].name, damage.text);
    }
    free(sums);
    return status;
}

/* --- HDF5's view ------------------------------------------------------------------------------ */

/* What goes through the pipe, in one piece each: smaller than PIPE_BUF. An empty thing: done. */
typedef struct message {
    char thing[AT_TENSOR_NAME_MAX + 1];
    char text[AT_TENSOR_NAME_MAX + 128];
} message;

enum {
    SECONDS_BASE = 20,       /* to look at any file */
    TENSORS_A_SECOND = 1000, /* more: 80,000 on a 2.x GHz Sapphire Rapids */
    MESSAGES_MAX = 10000,    /* of a file that is wrong everywhere, a part is enough */
    STATUS_FILE_TEXT = 64,
};
#define CHILD_MEMORY ((uint64_t)1 << 30) /* beyond what the parent has, and twice the rest */

static void send_message(int fd, const char *thing, const char *text)
{
    message m;
    memset(&m, 0, sizeof m);
    snprintf(m.thing, sizeof m.thing, "%s", thing);
    snprintf(m.text, sizeof m.text, "%s", text);
    while (write(fd, &m, sizeof m) < 0 && errno == EINTR)
        ;
}

static void child_found(void *context, const char *thing, const char *text)
{
    send_message(*(int *)context, thing, text);
}

/* Address space of this process in bytes; sanitizers make that a lot. */
static uint64_t address_space(void)
{
    char text[STATUS_FILE_TEXT] = { 0 };
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0)
        close(fd);
    return n > 0 ? strtoull(text, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static struct rlimit at_most(uint64_t most)
{
    return (struct rlimit){ most, most };
}

/* Ends without running what the parent registered for its own end. */
static void run_child(const at_checkpoint *c, int fd, unsigned seconds)
{
    char path[48];
    uint64_t space = address_space();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const struct rlimit none = at_most(0), time = at_most(seconds);
    const struct rlimit memory = at_most(space + CHILD_MEMORY + 2 * c->header.index.bytes);
    setrlimit(RLIMIT_CORE, &none);
    setrlimit(RLIMIT_FSIZE, &none);
    setrlimit(RLIMIT_CPU, &time);
    if (space)
        setrlimit(RLIMIT_AS, &memory);
    signal(SIGSEGV, SIG_DFL);
    signal(SIGABRT, SIG_DFL);
    signal(SIGBUS, SIG_DFL);
    signal(SIGXCPU, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    snprintf(path, sizeof path, "/proc/self/fd/%d", c->file.fd);
    at_hdf5_compare(path, c, child_found, &fd);
    send_message(fd, "", "");
    raise(SIGKILL);
}

/* A whole message before the deadline; false when there will be none. */
static bool receive(int fd, message *m, double deadline)
{
    for (size_t got = 0; got < sizeof *m;) {
        struct pollfd p = { fd, POLLIN, 0 };
        double left = deadline - at_clock_seconds();
        int ready = left > 0 ? poll(&p, 1, (int)(left * 1000) + 1) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return false;
        ssize_t n = read(fd, (char *)m + got, sizeof *m - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        got += (size_t)n;
    }
    m->thing[sizeof m->thing - 1] = m->text[sizeof m->text - 1] = 0;
    return true;
}

static void listen_to_child(int fd, unsigned seconds, findings *f)
{
    message m;
    double deadline = at_clock_seconds() + seconds;
    for (int i = 0; i < MESSAGES_MAX; i++) {
        if (!receive(fd, &m, deadline)) {
            found(f, "HDF5 metadata", "HDF5 crashes on the file or does not come to an end");
            return;
        }
        if (!*m.thing)
            return;
        found(f, m.thing, m.text);
    }
}

static at_status check_hdf5(const at_checkpoint *c, findings *f, at_error *err)
{
    int ends[2];
    unsigned seconds = f->options->hdf5_seconds;
    if (seconds == 0)
        seconds = SECONDS_BASE + (unsigned)c->list.count / TENSORS_A_SECOND;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return at_fail(err, AT_IO, "%s: no pipe to look at it with HDF5: %s", c->path,
                       strerror(errno));
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        run_child(c, ends[1], seconds);
    }
    int e = errno;
    close(ends[1]);
    if (child > 0) {
        listen_to_child(ends[0], seconds, f);
        kill(child, SIGKILL);
        while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    close(ends[0]);
    return child > 0 ? AT_OK
                     : at_fail(err, AT_NO_MEMORY, "%s: no process to look at it with HDF5: %s",
                               c->path, strerror(e));
}

/* --- all of it -------------------------------------------------------------------------------- */

static at_status verify(at_checkpoint *c, findings *f, at_error *err)
{
    const char *thing;
    at_error local;
    at_status status = at_checkpoint_load(c, f->path, &thing, found_text, f, &local);
    if (status == AT_CORRUPT || status == AT_UNSUPPORTED) {
        found(f, thing, local.text); /* nothing else can be found without it */
        return AT_OK;
    }
    if (status != AT_OK)
        return at_fail(err, status, "%s", local.text);
    status = check_tensors(c, f, err);
    if (status == AT_OK)
        status = check_rest(c, f, err);
    if (status != AT_OK || f->options->parts == AT_VERIFY_SUMS)
        return status;
    return check_hdf5(c, f, err);
}

at_status at_checkpoint_verify(const char *path, const at_verify_options *options, at_error *err)
{
    const at_verify_options none = { 0 };
    findings f = { options ? options : &none, path, 0, "" };
    at_checkpoint *c = calloc(1, sizeof *c);
    if (!c)
        return at_fail(err, AT_NO_MEMORY, "%s: no memory to verify it", path);
    at_status status = verify(c, &f, err);
    at_checkpoint_close(c);
    if (status != AT_OK || f.count == 0)
        return status;
    bool named = !strncmp(f.first, path, strlen(path));
    return at_fail(err, AT_CORRUPT, "%s%s%s", named ? "" : path, named ? "" : ": ", f.first);
}
