/* choices_main.c -- linear's choices of cuBLASLt's algorithms, on the emulated device and library.
 *
 * What is held: every candidate is remade from its text, damaged texts are refused; an exact choice
 * cuts no sum, by candidate and by text; the planted algorithm's rows depend on the batch, and the
 * others' do not; an address off alignment takes our own kernel; a workspace counts as scratch, up
 * to its limit. Exit status: 0 all of it, 1 something is not so. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ops.h"
#include "tests/emulator/device.h"
#include "tests/emulator/emulator.h"
#include "tests/told.h"

enum { SAMPLES = 3, L = 40, K = 64, N = 96, TEXT = 256 };

/* --- a call with its memory ------------------------------------------------------------------- */

typedef struct call {
    at_device *device;
    at_linear_args args;
    void *x, *w, *y; /* on the device */
    size_t x_bytes, w_bytes, y_bytes;
} call;

static const at_variant *variant(const char *name)
{
    for (int i = 0; i < at_op_linear.n_variants; i++)
        if (!strcmp(at_op_linear.variants[i].name, name))
            return &at_op_linear.variants[i];
    AT_ASSERT(false, "linear has no variant %s", name);
}

static void *filled(at_device *d, size_t bytes)
{
    uint16_t *values = malloc(bytes);
    AT_ASSERT(values, "no memory");
    uint32_t state = 1;
    for (size_t i = 0; i < bytes / 2; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = at_bf16_from_f32((float)(state >> 8) / 8388608.0f - 1);
    }
    void *there = at_device_alloc(d, bytes);
    AT_ASSERT(there, "no memory on the device");
    at_device_upload(d, there, values, bytes);
    free(values);
    return there;
}

static void describe(call *c, int samples)
{
    char text[TEXT];
    at_error err;
    snprintf(text, sizeof text, "x=%d,%d,%d w=%d,%d", samples, L, K, N, K);
    at_status status = at_args_parse(&at_op_linear, text, AT_BF16, &c->args, &err);
    if (status == AT_OK)
        status = at_op_shape(&at_op_linear, &c->args, 1, &err);
    AT_ASSERT(status == AT_OK, "%s", err.text);
    c->args.x.data = c->x;
    c->args.w.data = c->w;
    c->args.y.data = c->y;
}

static void make_call(call *c, at_device *d)
{
    *c = (call){ .device = d,
                 .x_bytes = (SAMPLES * L * K + 8) * 2,
                 .w_bytes = N * K * 2,
                 .y_bytes = SAMPLES * L * N * 2 };
    c->x = filled(d, c->x_bytes);
    c->w = filled(d, c->w_bytes);
    c->y = filled(d, c->y_bytes);
    describe(c, SAMPLES);
}

static void clear_call(call *c)
{
    at_device_free(c->device, c->y, c->y_bytes);
    at_device_free(c->device, c->w, c->w_bytes);
    at_device_free(c->device, c->x, c->x_bytes);
}

/* y as bytes, which the caller frees; NULL where it could not be prepared or run. */
static unsigned char *run(call *c, const at_variant *v, const at_prepare_in *in, at_error *err)
{
    at_device *d = c->device;
    at_prepared p;
    if (at_prepare(v, &c->args, in, &p, err) != AT_OK)
        return NULL;
    void *scratch = p.scratch_bytes ? at_device_alloc(d, p.scratch_bytes) : NULL;
    const at_launch launch = { &d->stream, scratch, err };
    unsigned char *y = malloc(c->y_bytes);
    AT_ASSERT(y, "no memory");
    at_device_enter(d);
    at_status status = v->run(&c->args, &p, &launch);
    at_device_download(d, y, c->y, c->y_bytes);
    at_device_leave(d);
    if (scratch)
        at_device_free(d, scratch, p.scratch_bytes);
    at_release(v, &p);
    if (at_device_check(d, err) == AT_OK && status == AT_OK)
        return y;
    free(y);
    return NULL;
}

/* The text of a candidate; empty, and 'err' says why, where there is none. */
static at_status name(call *c, const at_prepare_in *in, char *text, size_t *scratch, at_error *err)
{
    const at_variant *v = variant("linear_cublaslt");
    at_prepared p;
    at_status status = at_prepare(v, &c->args, in, &p, err);
    snprintf(text, AT_CHOICE_MAX, "%s", status == AT_OK ? p.choice : "");
    *scratch = p.scratch_bytes;
    if (status == AT_OK)
        at_release(v, &p);
    return status;
}

/* --- what is held ----------------------------------------------------------------------------- */

static bool same_for_a_sample_alone(call *c, const char *text)
{
    const at_variant *v = variant("linear_cublaslt");
    const at_prepare_in in = { &c->device->caps, 0, true, 0, text };
    at_error err = { 0 };
    unsigned char *all = run(c, v, &in, &err);
    describe(c, 1);
    unsigned char *one = run(c, v, &in, &err);
    describe(c, SAMPLES);
    if (!all || !one)
        test_failed("'%s' does not run: %s", text, err.text);
    bool same = all && one && !memcmp(all, one, c->y_bytes / SAMPLES);
    free(one);
    free(all);
    return same;
}

/* Exact candidates: none that says that it cuts; of the rest exactly one depends on the batch. */
static void check_exact(call *c)
{
    const at_variant *v = variant("linear_cublaslt");
    int n = at_candidates(v, &c->args, &c->device->caps), exact = 0, planted = 0;
    for (int i = 0; i < n; i++) {
        const at_prepare_in in = { &c->device->caps, 0, true, i, NULL };
        char text[AT_CHOICE_MAX];
        at_error err = { 0 };
        size_t scratch;
        at_status status = name(c, &in, text, &scratch, &err);
        if (status == AT_UNSUPPORTED)
            continue;
        if (status != AT_OK)
            test_failed("candidate %d: %s", i, err.text);
        exact++;
        if (strstr(text, "splitk 3"))
            test_failed("exact candidate %d cuts its sums: %s", i, text);
        if (!same_for_a_sample_alone(c, text)) {
            planted++;
            if (strncmp(text, "raw ", 4) != 0)
                test_failed("'%s' depends on the batch", text);
        }
    }
    if (n != 4 || exact != 3 || planted != 1)
        test_failed("%d candidates, %d exact, %d that depend on the batch: expected 4, 3, 1", n,
                    exact, planted);
}

/* Every candidate by its text, in the mode that it is not exact in; then texts that are none. */
static void check_texts(call *c)
{
    const at_variant *v = variant("linear_cublaslt");
    bool cut = false;
    for (int i = 0; i < at_candidates(v, &c->args, &c->device->caps); i++) {
        char text[AT_CHOICE_MAX], again[AT_CHOICE_MAX];
        at_prepare_in in = { &c->device->caps, 0, false, i, NULL };
        at_error err = { 0 };
        size_t scratch, scratch_again;
        at_status status = name(c, &in, text, &scratch, &err);
        in.choice = text;
        if (status == AT_OK)
            status = name(c, &in, again, &scratch_again, &err);
        if (status != AT_OK || strcmp(text, again) != 0 || scratch != scratch_again)
            test_failed("candidate %d '%s' comes back as '%s' %s", i, text, again, err.text);
        in.exact = true;
        if (!strstr(text, "splitk 3"))
            continue;
        cut = true;
        if (scratch < 3 * SAMPLES * L * N * sizeof(float) || scratch > AT_WORKSPACE_MAX)
            test_failed("'%s' has %zu bytes of scratch", text, scratch);
        if (name(c, &in, again, &scratch, &err) != AT_UNSUPPORTED || !strstr(err.text, "not exact"))
            test_failed("'%s' is taken for exact: %s", text, err.text);
    }
    if (!cut)
        test_failed("no candidate cuts its sums");
}

static void check_damaged(call *c)
{
    static const char *const damaged[] = {
        "",
        "algo",
        "algo 21",
        "algo 99 tile 20 stages 0 splitk 1 reduction 0 swizzle 0 custom 0 inner 0 cluster 0",
        "algo 21 tile 9 stages 0 splitk 1 reduction 0 swizzle 0 custom 0 inner 0 cluster 0",
        "algo 21 tile -1 stages 0 splitk 1 reduction 0 swizzle 0 custom 0 inner 0 cluster 0",
        "algo 21 tile 20 stages 0 splitk 1 reduction 0 swizzle 0 custom 0 inner 65536 cluster 0",
        "algo 21 tile 20 stages 0 splitk 1 reduction 0 swizzle 0 custom 0 inner 0 cluster 0 more",
        "algo 99999999999 tile 20 stages 0 splitk 1 reduction 0 swizzle 0 custom 0 inner 0",
        "raw",
        "raw 1 2 3",
        "raw 0 0 0 0 0 0 0 0",
        "raw 1500004c540005 1 2 3 4 5 6 7 8",
        "raw x 1 2 3 4 5 6 7",
        "engine 4",
    };
    for (size_t i = 0; i < AT_COUNT(damaged); i++) {
        const at_prepare_in in = { &c->device->caps, 0, false, 0, damaged[i] };
        char text[AT_CHOICE_MAX];
        size_t scratch;
        at_error err = { 0 };
        if (name(c, &in, text, &scratch, &err) != AT_UNSUPPORTED || !strstr(err.text, "cuBLASLt"))
            test_failed("'%s' is no choice, and what is said is '%s'", damaged[i], err.text);
    }
}

/* Rows at multiples of 16 bytes from an address that is none: our own kernel's bytes. */
static void check_unaligned(call *c)
{
    at_prepare_in in = { &c->device->caps, 0, false, 0, NULL };
    at_error err = { 0 };
    char text[AT_CHOICE_MAX];
    size_t scratch;
    if (name(c, &(at_prepare_in){ &c->device->caps, 0, false, 1, NULL }, text, &scratch, &err))
        test_failed("no second candidate: %s", err.text);
    in.choice = text; /* the planted one, whose bytes are not our own kernel's */
    unsigned char *aligned = run(c, variant("linear_cublaslt"), &in, &err);
    c->args.x.data = (char *)c->x + 2;
    unsigned char *theirs = run(c, variant("linear_cublaslt"), &in, &err);
    in.choice = NULL;
    unsigned char *ours = run(c, variant("linear_cuda"), &in, &err);
    c->args.x.data = c->x;
    if (!aligned || !theirs || !ours)
        test_failed("off alignment: %s", err.text);
    else if (memcmp(theirs, ours, c->y_bytes) != 0)
        test_failed("off alignment: not our own kernel's bytes");
    else if (!memcmp(aligned, ours, c->y_bytes))
        test_failed("off alignment: the same bytes as aligned");
    free(ours);
    free(theirs);
    free(aligned);
}

int main(void)
{
    at_device *device;
    at_error err = { 0 };
    call c;
    at_status status = at_device_emulated(&device, &err);
    AT_ASSERT(status == AT_OK, "%s", err.text);
    AT_ASSERT(device->caps.cublaslt, "the device has no cuBLASLt");
    make_call(&c, device);
    check_exact(&c);
    check_texts(&c);
    check_damaged(&c);
    check_unaligned(&c);
    clear_call(&c);
    at_device_close(device);
    printf("choices: %d failures\n", test_failures());
    return test_failures() > 0;
}
