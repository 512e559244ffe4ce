/* check_emulated.c -- checkop on the emulated device: every CUDA variant, in several schedules.
 *
 * The device is what single ops need of one: memory, copies, a stream. Faults are told in the line
 * of the case that had them. */
#include "tests/check.h"
#include "tests/emulator/emulator.h"

#include <cuda_runtime.h>
#include <stdio.h>

static at_status emulated_open(at_device *d, const at_device_options *options, at_error *err)
{
    struct cudaDeviceProp prop;
    cudaError_t status = cudaGetDeviceProperties(&prop, options->index);
    if (status != cudaSuccess)
        return at_fail(err, AT_DEVICE, "emulated: %s", cudaGetErrorString(status));
    d->caps = (at_caps){ AT_CUDA, 0, 1, prop.major * 10 + prop.minor };
    d->stream = (at_stream){ AT_CUDA, 1, NULL };
    return AT_OK;
}

static void emulated_close(at_device *d)
{
    (void)d;
}

static void *emulated_alloc(at_device *d, size_t bytes)
{
    void *p = NULL;
    (void)d;
    return cudaMalloc(&p, bytes) == cudaSuccess ? p : NULL;
}

static void keep(at_device *d, cudaError_t status)
{
    if (status != cudaSuccess)
        d->own = d; /* something failed since it was asked last */
}

static void emulated_free(at_device *d, void *memory, size_t bytes)
{
    (void)bytes;
    keep(d, cudaFree(memory));
}

static void emulated_upload(at_device *d, void *to, const void *from_host, size_t bytes)
{
    keep(d, cudaMemcpy(to, from_host, bytes, cudaMemcpyHostToDevice));
}

static void emulated_download(at_device *d, void *to_host, const void *from, size_t bytes)
{
    keep(d, cudaMemcpy(to_host, from, bytes, cudaMemcpyDeviceToHost));
}

static void emulated_wait(at_device *d)
{
    keep(d, cudaDeviceSynchronize());
}

static at_status emulated_check(at_device *d, at_error *err)
{
    bool failed = d->own || *at_emu_fault();
    d->own = NULL;
    return failed
               ? at_fail(err, AT_DEVICE, "%s", *at_emu_fault() ? at_emu_fault() : "a copy failed")
               : AT_OK;
}

/* Without an arena and without capture: single ops need neither. */
static const at_device_api api = {
    .name = "emulated",
    .open = emulated_open,
    .close = emulated_close,
    .alloc = emulated_alloc,
    .free = emulated_free,
    .upload = emulated_upload,
    .download = emulated_download,
    .wait = emulated_wait,
    .check = emulated_check,
};

static at_status open_emulated(at_check *c, at_error *err)
{
    enum { GUARD = 64 };
    at_status status = at_device_open_api(&c->device, &api, NULL, err);
    if (status != AT_OK)
        return status;
    c->caps = c->device->caps;
    c->guard = at_emu_built() == AT_EMU_PLAIN ? GUARD : 0; /* the others see every address */
    return AT_OK;
}

static const char *set_schedule(int i, uint64_t seed)
{
    static const at_emu_order orders[] = { AT_EMU_RUN_AHEAD, AT_EMU_FORWARD, AT_EMU_RANDOM };
    int n = at_emu_built() == AT_EMU_PLAIN ? (int)AT_COUNT(orders) : 1; /* the others are slow */
    if (i >= n)
        return NULL;
    at_emu_configure(&(at_emu_settings){ .order = orders[i], .seed = seed, .quiet = true });
    return at_emu_order_name(orders[i]);
}

const check_place check_here = { "emulated", open_emulated, set_schedule };
