/* cuda_driver_test.c -- the device "cuda" without one: what is missing is said in one sentence, and
 * on a stub that plays the driver (cuda_stub.c) ranges grow in place, copies of every size arrive,
 * captures replay in order, what was current stays current, and whichever call fails, the failure
 * is told and nothing leaks. Where there is a GPU, it gets the same work. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/cuda_libraries.h"
#include "engine/device_cuda.h"
#include "tests/cuda_stubbed.h"
#include "tests/unit.h"

enum { MIB = 1 << 20, ILLEGAL_ADDRESS = 700 };

/* --- the stub --------------------------------------------------------------------------------- */

static void launch(at_device *d, int value)
{
    assert_int_equal(cuda_stub_launch_on(d->stream.native, value), AT_CUDA_SUCCESS);
}

static void all_went_well(at_device *d)
{
    at_error err;
    if (at_device_check(d, &err) != AT_OK)
        fail_msg("%s", err.text);
}

static void is_sentence(const at_error *err, const char *words)
{
    if (!strstr(err->text, words) || strchr(err->text, '\n'))
        fail_msg("expected one sentence with '%s', found: %s", words, err->text);
}

/* --- what is missing -------------------------------------------------------------------------- */

static void refused(const char *library, at_status expected, const char *words)
{
    at_device_api api = cuda_stub_api();
    at_device *d = calloc(1, sizeof *d);
    at_error err = { 0 };
    assert_non_null(d);
    d->api = &api;
    const at_cuda_files files = { library, "", "" };
    assert_int_equal(at_device_cuda_open(d, &files, &(at_device_options){ 0 }, &err), expected);
    is_sentence(&err, words);
    free(d);
}

static void a_missing_driver_is_told(void **state)
{
    cuda_stub *s = cuda_stub_seen();
    (void)state;
    refused("/nowhere/libcuda.so.1", AT_NOT_FOUND, "there is no NVIDIA driver: /nowhere/libcuda");
    refused("libm.so.6", AT_UNSUPPORTED, "too old: libm.so.6 has no cuInit");
    s->starts = AT_CUDA_ERROR_STUB_LIBRARY;
    refused(AT_CUDA_STUB, AT_NOT_FOUND, "the toolkit's stand-in");
    s->starts = AT_CUDA_ERROR_NO_DEVICE;
    refused(AT_CUDA_STUB, AT_NOT_FOUND, "the NVIDIA driver is here, and finds no device");
    s->starts = 803;
    refused(AT_CUDA_STUB, AT_DEVICE,
            "starting the NVIDIA driver failed with an error without a "
            "name (803)");
}

static void an_unfit_device_is_told(void **state)
{
    cuda_stub *s = cuda_stub_seen();
    (void)state;
    s->devices = 0;
    refused(AT_CUDA_STUB, AT_NOT_FOUND, "finds no device");
    s->devices = 1;
    s->version = 11040;
    refused(AT_CUDA_STUB, AT_UNSUPPORTED, "it serves CUDA 11.4, and 12.0 is needed");
    s->version = 13000;
    s->sm = 75;
    refused(AT_CUDA_STUB, AT_UNSUPPORTED, "compute capability 7.5, and 8.0 is needed");
}

static void a_device_that_is_named_is_never_replaced(void **state)
{
    at_device *d;
    at_error err = { 0 };
    const at_device_options second = { .index = 1 };
    at_device_api api = cuda_stub_api();
    (void)state;
    assert_int_equal(at_device_open(&d, "cud", NULL, &err), AT_NOT_FOUND);
    is_sentence(&err, "there is no device 'cud': expected cpu or cuda");
    assert_null(d);
    assert_int_equal(at_device_open_api(&d, &api, &second, &err), AT_NOT_FOUND);
    is_sentence(&err, "there is no cuda device 1: the driver shows 1");
    if (at_device_open(&d, "cuda", NULL, &err) == AT_OK) {
        assert_int_equal(d->caps.kind, AT_CUDA);
        at_device_close(d);
        return;
    }
    assert_null(d);
    is_sentence(&err, at_variants_for(AT_CUDA) ? "" : "this build has no kernels for device cuda");
    assert_true(strlen(err.text) > 0);
}

/* Kernels are launched early where the device can, on all lanes, unless it is not wanted. */
static void early_launches_are_the_devices(void **state)
{
    static const struct {
        int sm;
        const char *early;
        bool expected;
    } cases[] = { { 90, NULL, true },  { 90, "yes", true },  { 90, "no", false },
                  { 80, NULL, false }, { 80, "yes", false }, { 100, NULL, true } };
    cuda_stub *s = cuda_stub_seen();
    at_device_api api = cuda_stub_api();
    at_error err;
    (void)state;
    for (size_t i = 0; i < AT_COUNT(cases); i++) {
        const at_device_options options = { .early = cases[i].early };
        at_device *d;
        at_stream lane;
        s->sm = cases[i].sm;
        assert_int_equal(at_device_open_api(&d, &api, &options, &err), AT_OK);
        assert_int_equal(d->stream.early, cases[i].expected);
        assert_int_equal(d->api->lane_stream(d, AT_LANE_COPY, &lane, &err), AT_OK);
        assert_int_equal(lane.early, cases[i].expected);
        at_device_close(d);
    }
    s->sm = 90;
    at_device *none;
    const at_device_options wrong = { .early = "maybe" };
    assert_int_equal(at_device_open_api(&none, &api, &wrong, &err), AT_INVALID);
    is_sentence(&err, "early launches: 'maybe' is neither yes nor no");
    assert_null(none);
}

static void without_a_name_the_best_is_opened(void **state)
{
    at_device *named, *best;
    at_error why, err, wrong;
    (void)state;
    at_status cuda = at_device_open(&named, "cuda", NULL, &wrong);
    at_device_close(named);
    assert_int_equal(at_device_open_best(&best, NULL, &why, &err), AT_OK);
    assert_int_equal(best->caps.kind, cuda == AT_OK ? AT_CUDA : AT_CPU);
    assert_string_equal(why.text, cuda == AT_OK || !at_variants_for(AT_CUDA) ? "" : wrong.text);
    at_device_close(best);
}

static void a_device_tells_what_it_is(void **state)
{
    at_device_api api = cuda_stub_api();
    at_device *d = cuda_stub_open(&api);
    at_cuda_about about;
    at_error err;
    (void)state;
    assert_int_equal(at_device_cuda_about(d, &about, &err), AT_OK);
    assert_string_equal(about.name, "Stub");
    assert_int_equal(about.sm, 90);
    assert_int_equal(about.driver_version, 13000);
    assert_true(about.bytes == (size_t)256 * MIB);
    assert_int_equal(d->caps.kind, AT_CUDA);
    assert_int_equal(d->caps.sm, 90);
    assert_int_equal(d->caps.has, AT_CAP_MASK(HOPPER));
    assert_int_equal(d->stream.kind, AT_CUDA);
    at_device_close(d);
}

/* --- memory ----------------------------------------------------------------------------------- */

static void fill(unsigned char *data, size_t bytes, uint32_t seed)
{
    for (size_t i = 0; i < bytes; i += sizeof seed) {
        seed = seed * 1664525u + 1013904223u;
        memcpy(data + i, &seed, bytes - i < sizeof seed ? bytes - i : sizeof seed);
    }
}

/* To the device, the source spoiled, and back: the same bytes. */
static void round_trip(at_device *d, char *memory, size_t bytes)
{
    unsigned char *sent = malloc(bytes + 1), *found = malloc(bytes + 1);
    assert_true(sent && found);
    fill(sent, bytes, (uint32_t)bytes);
    at_device_upload(d, memory, sent, bytes);
    memset(sent, 0xAA, bytes);
    memset(found, 0x55, bytes + 1);
    at_device_download(d, found, memory, bytes);
    fill(sent, bytes, (uint32_t)bytes);
    all_went_well(d);
    if (bytes)
        assert_memory_equal(sent, found, bytes);
    assert_int_equal(found[bytes], 0x55);
    free(sent);
    free(found);
}

static void the_arena_grows_in_place(void **state)
{
    const size_t sizes[] = { 1, 3 * MIB, 3 * MIB + 1, (size_t)13 * MIB, 5 };
    const size_t pages[] = { 64 << 10, 2 * MIB, 4 * MIB };
    at_device_api api = cuda_stub_api();
    at_error err = { 0 };
    (void)state;
    for (size_t g = 0; g < AT_COUNT(pages); g++) {
        cuda_stub_seen()->granularity = pages[g];
        at_device *d = cuda_stub_open(&api);
        void *first = NULL, *arena;
        unsigned char mark[100], found[100];
        fill(mark, sizeof mark, 7);
        for (size_t i = 0; i < AT_COUNT(sizes); i++) {
            if (at_device_arena(d, sizes[i], &arena, &err) != AT_OK)
                fail_msg("%s", err.text);
            assert_ptr_equal(arena, first ? first : arena);
            if (!first)
                at_device_upload(d, arena, mark, sizeof mark);
            else
                round_trip(d, (char *)arena + 100, sizes[i] > 200 ? sizes[i] - 100 : 10);
            first = arena;
            at_device_download(d, found, arena, sizeof found);
            assert_memory_equal(mark, found, sizeof mark);
        }
        assert_int_equal(at_device_arena(d, (size_t)300 * MIB, &arena, &err), AT_NO_MEMORY);
        is_sentence(&err, "cuda: the plan needs 300 MiB of working memory");
        all_went_well(d);
        at_device_close(d);
    }
}

static void memory_that_is_not_there_is_no_failure_of_the_device(void **state)
{
    at_device_api api = cuda_stub_api();
    at_device *d = cuda_stub_open(&api);
    (void)state;
    void *all = at_device_alloc(d, (size_t)250 * MIB);
    assert_non_null(all);
    assert_int_equal((uintptr_t)all % 64, 0);
    assert_true(at_device_memory_free(d) == (size_t)6 * MIB);
    assert_null(at_device_alloc(d, (size_t)7 * MIB));
    at_device_free(d, all, (size_t)250 * MIB);
    assert_true(at_device_memory_free(d) == (size_t)256 * MIB);
    all_went_well(d);
    at_device_close(d);
}

/* --- copies ----------------------------------------------------------------------------------- */

static void copy_every_size(at_device *d)
{
    const size_t window = AT_CUDA_WINDOW_BYTES;
    const size_t sizes[] = { 0,
                             1,
                             63,
                             64,
                             4097,
                             window - 1,
                             window,
                             window + 1,
                             2 * window,
                             2 * window + 1,
                             5 * window + 77 };
    char *memory = at_device_alloc(d, 6 * window);
    assert_non_null(memory);
    for (size_t i = 0; i < AT_COUNT(sizes); i++) {
        round_trip(d, memory, sizes[i]);
        round_trip(d, memory + 3, sizes[i]);
    }
    at_device_free(d, memory, 6 * window);
}

/* More than the windows hold, without a wait between: each piece is another's neighbour. */
static void copy_many(at_device *d)
{
    enum { PIECE = 5000, PIECES = 3000 };
    const size_t bytes = (size_t)PIECE * PIECES;
    unsigned char piece[PIECE], *found = malloc(bytes);
    char *memory = at_device_alloc(d, bytes);
    assert_true(memory && found);
    for (int i = 0; i < PIECES; i++) {
        fill(piece, PIECE, (uint32_t)i);
        at_device_upload(d, memory + (size_t)i * PIECE, piece, PIECE);
    }
    at_device_download(d, found, memory, bytes);
    all_went_well(d);
    for (int i = 0; i < PIECES; i++) {
        fill(piece, PIECE, (uint32_t)i);
        assert_memory_equal(piece, found + (size_t)i * PIECE, PIECE);
    }
    at_device_free(d, memory, bytes);
    free(found);
}

/* Parameters start with zeros, whatever lay in their memory before. */
static void clear_used(at_device *d)
{
    enum { BYTES = 70001 };
    unsigned char *host = malloc(BYTES);
    assert_non_null(host);
    memset(host, 0xA5, BYTES);
    void *memory = at_device_alloc(d, BYTES);
    assert_non_null(memory);
    at_device_upload(d, memory, host, BYTES);
    at_device_free(d, memory, BYTES);
    memory = at_device_alloc_zeroed(d, BYTES);
    assert_non_null(memory);
    at_device_download(d, host, memory, BYTES);
    all_went_well(d);
    for (int i = 0; i < BYTES; i++)
        assert_int_equal(host[i], 0);
    at_device_free(d, memory, BYTES);
    free(host);
}

static void copies_of_every_size_arrive(void **state)
{
    at_device_api api = cuda_stub_api();
    at_device *d = cuda_stub_open(&api);
    (void)state;
    copy_every_size(d);
    copy_many(d);
    clear_used(d);
    at_device_close(d);
}

/* --- what is current -------------------------------------------------------------------------- */

static void what_was_current_stays_current(void **state)
{
    at_device_api api = cuda_stub_api();
    at_device *d = cuda_stub_open(&api);
    at_cuda_driver driver;
    at_error err;
    char other;
    at_cu_context found;
    (void)state;
    assert_int_equal(at_cuda_driver_open(&driver, AT_CUDA_STUB, &err), AT_OK);
    assert_int_equal(driver.context_push(&other), AT_CUDA_SUCCESS);
    at_device_enter(d);
    at_device_enter(d);
    void *memory = at_device_alloc(d, MIB);
    round_trip(d, memory, MIB);
    at_device_leave(d);
    at_device_leave(d);
    at_device_leave(d); /* once too often changes nothing */
    at_device_free(d, memory, MIB);
    all_went_well(d);
    at_device_close(d);
    assert_int_equal(cuda_stub_seen()->live, 1);
    assert_int_equal(driver.context_pop(&found), AT_CUDA_SUCCESS);
    assert_ptr_equal(found, &other);
}

/* --- capture ---------------------------------------------------------------------------------- */

static void *capture(at_device *d, int from, int to)
{
    at_error err;
    void *captured = NULL;
    assert_int_equal(d->api->capture_begin(d, &err), AT_OK);
    for (int i = from; i <= to; i++)
        launch(d, i);
    assert_int_equal(d->api->capture_end(d, &captured, &err), AT_OK);
    assert_non_null(captured);
    return captured;
}

static void replays_keep_the_order(void **state)
{
    const int expected[] = { 9, 1, 2, 3, 4, 5, 1, 2, 3, 8 };
    cuda_stub *s = cuda_stub_seen();
    at_device_api api = cuda_stub_api();
    at_device *d = cuda_stub_open(&api);
    at_error err;
    (void)state;
    void *first = capture(d, 1, 3), *second = capture(d, 4, 5);
    at_device_wait(d);
    assert_int_equal(s->logged, 0);
    launch(d, 9);
    assert_int_equal(api.replay(d, first, &err), AT_OK);
    assert_int_equal(api.replay(d, second, &err), AT_OK);
    assert_int_equal(api.replay(d, first, &err), AT_OK);
    launch(d, 8);
    assert_int_equal(s->logged, 0);
    at_device_wait(d);
    assert_int_equal(s->logged, AT_COUNT(expected));
    assert_memory_equal(s->log, expected, sizeof expected);
    assert_int_equal(api.replay(d, first, &err), AT_OK);
    api.capture_free(d, first); /* while it may still run */
    api.capture_free(d, second);
    all_went_well(d);
    at_device_close(d);
}

/* --- lanes ------------------------------------------------------------------------------------ */

static void launch_on(const at_stream *stream, int value)
{
    assert_int_equal(cuda_stub_launch_on(stream->native, value), AT_CUDA_SUCCESS);
}

typedef enum lane_end { JOINED, LEFT } lane_end;

/* 1, beside it 2, then 3, which does not wait for 2 if that is left. */
static at_status fork_and_join(at_device *d, void *const marks[2], lane_end end, at_error *err)
{
    at_stream compute, copy;
    const at_device_api *api = d->api;
    assert_int_equal(api->lane_stream(d, AT_LANE_COMPUTE, &compute, err), AT_OK);
    assert_int_equal(api->lane_stream(d, AT_LANE_COPY, &copy, err), AT_OK);
    assert_ptr_equal(compute.native, d->stream.native);
    assert_ptr_not_equal(copy.native, d->stream.native);
    at_status status = api->mark_set(d, AT_LANE_COMPUTE, marks[0], err);
    launch_on(&compute, 1);
    if (status == AT_OK)
        status = api->mark_await(d, AT_LANE_COPY, marks[0], err);
    launch_on(&copy, 2);
    if (status == AT_OK)
        status = api->mark_set(d, AT_LANE_COPY, marks[1], err);
    if (status == AT_OK && end == JOINED)
        status = api->mark_await(d, AT_LANE_COMPUTE, marks[1], err);
    launch_on(&compute, 3);
    return status;
}

static void a_capture_holds_all_lanes_that_are_joined(void **state)
{
    cuda_stub *s = cuda_stub_seen();
    at_device_api api = cuda_stub_api();
    at_device *d = cuda_stub_open(&api);
    at_error err = { 0 };
    void *marks[2], *captured;
    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(api.mark_new(d, &marks[i], &err), AT_OK);
    assert_int_equal(fork_and_join(d, marks, JOINED, &err), AT_OK);
    at_device_wait(d);
    assert_int_equal(s->logged, 3);
    assert_int_equal(api.capture_begin(d, &err), AT_OK);
    assert_int_equal(fork_and_join(d, marks, JOINED, &err), AT_OK);
    assert_int_equal(api.capture_end(d, &captured, &err), AT_OK);
    at_device_wait(d);
    assert_int_equal(s->logged, 3); /* nothing of it ran */
    assert_int_equal(api.replay(d, captured, &err), AT_OK);
    at_device_wait(d);
    assert_int_equal(s->logged, 6);
    api.capture_free(d, captured);
    assert_int_equal(api.capture_begin(d, &err), AT_OK);
    assert_int_equal(fork_and_join(d, marks, LEFT, &err), AT_OK);
    assert_int_equal(api.capture_end(d, &captured, &err), AT_DEVICE);
    is_sentence(&err, "cuda: ending a capture failed with an error without a name (904)");
    assert_null(captured);
    for (int i = 0; i < 2; i++)
        api.mark_free(d, marks[i]);
    all_went_well(d);
    at_device_close(d);
}

/* --- failures --------------------------------------------------------------------------------- */

static void a_failure_is_kept_until_somebody_asks(void **state)
{
    cuda_stub *s = cuda_stub_seen();
    at_device_api api = cuda_stub_api();
    at_device *d = cuda_stub_open(&api);
    at_error err = { 0 };
    char byte = 0;
    (void)state;
    void *memory = at_device_alloc(d, 1);
    s->fail_with = ILLEGAL_ADDRESS;
    s->fail_at = s->calls + 2; /* after the push */
    at_device_wait(d);
    at_device_upload(d, memory, &byte, 1);
    assert_int_equal(at_device_check(d, &err), AT_DEVICE);
    is_sentence(&err, "cuda: the work on the stream failed with an error without a name (700)");
    all_went_well(d);
    s->fail_at = s->calls + 2;
    at_device_wait(d);
    assert_int_equal(api.capture_begin(d, &err), AT_DEVICE);
    assert_int_equal(api.capture_begin(d, &err), AT_OK);
    launch(d, 1);
    void *captured;
    s->fail_at = s->calls + 2;
    assert_int_equal(api.capture_end(d, &captured, &err), AT_DEVICE);
    is_sentence(&err, "cuda: ending a capture failed");
    assert_null(captured);
    at_device_free(d, memory, 1);
    all_went_well(d);
    at_device_close(d);
}

/* A lane beside the compute lane, which waits for it. True if a failure was told. */
static bool work_on_lanes(at_device *d)
{
    at_error err;
    at_stream copy;
    void *mark = NULL;
    const at_device_api *api = d->api;
    bool told = api->lane_stream(d, AT_LANE_COPY, &copy, &err) != AT_OK ||
                api->mark_new(d, &mark, &err) != AT_OK ||
                api->mark_set(d, AT_LANE_COMPUTE, mark, &err) != AT_OK ||
                api->mark_await(d, AT_LANE_COPY, mark, &err) != AT_OK;
    if (mark)
        api->mark_free(d, mark);
    return told;
}

/* A little of everything; gives up at the first failure. True if one was told. */
static bool work(at_device *d, unsigned char *data, size_t bytes)
{
    at_error err;
    bool told = false;
    void *captured = NULL, *arena;
    void *memory = at_device_alloc(d, bytes);
    at_device_enter(d);
    if (memory) {
        at_device_upload(d, memory, data, bytes);
        at_device_download(d, data, memory, bytes);
    }
    told = !memory || at_device_arena(d, MIB, &arena, &err) != AT_OK ||
           at_device_arena(d, (size_t)5 * MIB, &arena, &err) != AT_OK || work_on_lanes(d);
    if (!told && d->api->capture_begin(d, &err) == AT_OK) {
        told = d->api->capture_end(d, &captured, &err) != AT_OK ||
               d->api->replay(d, captured, &err) != AT_OK;
    } else {
        told = true;
    }
    if (captured)
        d->api->capture_free(d, captured);
    at_device_leave(d);
    at_device_free(d, memory, bytes);
    memory = at_device_alloc_zeroed(d, bytes);
    told = told || !memory;
    at_device_free(d, memory, bytes);
    at_device_wait(d);
    return at_device_check(d, &err) != AT_OK || told;
}

/* Whether a failure of call 'n' was met at all. */
static bool fails_at(int n, at_cu_result with)
{
    enum { BYTES = AT_CUDA_WINDOW_BYTES * 2 + 5 };
    cuda_stub *s = cuda_stub_seen();
    at_device_api api = cuda_stub_api();
    at_device *d;
    at_error err = { 0 };
    unsigned char *data = calloc(1, BYTES);
    assert_non_null(data);
    s->calls = 0;
    s->fail_at = n;
    s->fail_with = with;
    bool told = at_device_open_api(&d, &api, NULL, &err) != AT_OK;
    if (told)
        is_sentence(&err, "failed with");
    else
        told = work(d, data, BYTES);
    bool met = s->calls >= n;
    at_device_close(d);
    bool in_close = !met && s->calls >= n;
    free(data);
    if (s->wrong || (met && !told))
        fail_msg("call %d failed with %d: %s", n, with, s->wrong ? s->wrong : "nobody was told");
    return met || in_close;
}

static void whichever_call_fails_it_is_told_and_nothing_leaks(void **state)
{
    const at_cu_result with[] = { AT_CUDA_ERROR_OUT_OF_MEMORY, ILLEGAL_ADDRESS };
    cuda_stub *s = cuda_stub_seen();
    (void)state;
    for (size_t i = 0; i < AT_COUNT(with); i++) {
        int n = 1;
        while (fails_at(n, with[i])) {
            if (s->live || s->used)
                fail_msg("call %d failed with %d: %d objects and %zu bytes leaked", n, with[i],
                         s->live, s->used);
            n++;
        }
        assert_in_range(n, 60, 500);
    }
    s->fail_at = 0;
}

/* --- a real device ---------------------------------------------------------------------------- */

static void a_real_device_does_the_same(void **state)
{
    at_device *d;
    at_error err;
    void *first = NULL, *arena;
    (void)state;
    if (at_device_open_api(&d, &at_device_cuda, NULL, &err) != AT_OK) {
        printf("SKIP the same on a GPU: %s\n", err.text);
        return;
    }
    copy_every_size(d);
    copy_many(d);
    clear_used(d);
    for (size_t bytes = 1; bytes <= (size_t)64 * MIB; bytes *= 8) {
        assert_int_equal(at_device_arena(d, bytes, &arena, &err), AT_OK);
        assert_ptr_equal(arena, first ? first : arena);
        first = arena;
        round_trip(d, arena, bytes);
    }
    void *captured = NULL;
    assert_int_equal(d->api->capture_begin(d, &err), AT_OK);
    assert_int_equal(d->api->capture_end(d, &captured, &err), AT_OK);
    assert_int_equal(d->api->replay(d, captured, &err), AT_OK);
    d->api->capture_free(d, captured);
    at_device_wait(d);
    all_went_well(d);
    at_device_close(d);
}

/* --- CUDA's libraries ------------------------------------------------------------------------- */

/* A link will not do: the loader would know the stub again. */
static void copy_file(const char *to, const char *from)
{
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    assert_true(in && out);
    for (int c; (c = getc(in)) != EOF;)
        assert_int_equal(putc(c, out), c);
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

/* The stub is NCCL as well, in a wheel. A real one is found before it. */
static void libraries_are_found_in_wheels(void **state)
{
    char root[] = "/tmp/atelier-wheels-XXXXXX", path[128];
    const char *const parts[] = { "/nvidia", "/nvidia/nccl", "/nvidia/nccl/lib" };
    at_cuda_library l;
    at_error err = { 0 };
    (void)state;
    assert_non_null(mkdtemp(root));
    for (size_t i = 0; i < AT_COUNT(parts); i++) {
        snprintf(path, sizeof path, "%s%s", root, parts[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    snprintf(path, sizeof path, "%s/nvidia/nccl/lib/libnccl.so.2", root);
    copy_file(path, AT_CUDA_STUB);
    const char *const folders[] = { "/nowhere", root, NULL };
    if (at_cuda_library_open(&l, AT_CUDA_LIBRARY_NCCL, folders, &err) != AT_OK)
        fail_msg("%s", err.text);
    if (strncmp(l.path, root, strlen(root)) != 0)
        printf("SKIP NCCL in a wheel: %s is found first\n", l.path);
    else
        assert_string_equal(l.version, "2.27.3");
    assert_int_equal(l.version[0], '2');
    at_cuda_library_close(&l);
    assert_null(l.handle);
    unlink(path);
    for (size_t i = AT_COUNT(parts); i-- > 0;) {
        snprintf(path, sizeof path, "%s%s", root, parts[i]);
        rmdir(path);
    }
    rmdir(root);
}

static void libraries_are_there_or_say_why(void **state)
{
    (void)state;
    for (int i = 0; i < AT_CUDA_LIBRARY_COUNT; i++) {
        at_cuda_library l;
        at_error err = { 0 };
        at_cuda_library_id id = (at_cuda_library_id)i;
        if (at_cuda_library_open(&l, id, NULL, &err) == AT_OK) {
            assert_true(l.version[0] >= '1' && l.version[0] <= '9' && *l.path);
            at_cuda_library_close(&l);
        } else {
            is_sentence(&err, at_cuda_library_name(id));
        }
    }
}

#define WITH_STUB(test) \
    cmocka_unit_test_setup_teardown(test, cuda_stub_set_up, cuda_stub_nothing_is_left)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STUB(a_missing_driver_is_told),
        WITH_STUB(an_unfit_device_is_told),
        WITH_STUB(a_device_that_is_named_is_never_replaced),
        WITH_STUB(early_launches_are_the_devices),
        WITH_STUB(without_a_name_the_best_is_opened),
        WITH_STUB(a_device_tells_what_it_is),
        WITH_STUB(the_arena_grows_in_place),
        WITH_STUB(memory_that_is_not_there_is_no_failure_of_the_device),
        WITH_STUB(copies_of_every_size_arrive),
        WITH_STUB(what_was_current_stays_current),
        WITH_STUB(replays_keep_the_order),
        WITH_STUB(a_capture_holds_all_lanes_that_are_joined),
        WITH_STUB(a_failure_is_kept_until_somebody_asks),
        WITH_STUB(whichever_call_fails_it_is_told_and_nothing_leaks),
        cmocka_unit_test(a_real_device_does_the_same),
        WITH_STUB(libraries_are_found_in_wheels),
        cmocka_unit_test(libraries_are_there_or_say_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
