/* on_cuda.c -- checkop on a GPU: the same variants and cases as on the emulated device. */
#include "cli/device.h"
#include "tests/check.h"

static at_status open_cuda(at_check *c, at_error *err)
{
    enum { GUARD = 64 };
    at_error why;
    at_status status = at_command_device(&c->device, "cuda", &(at_device_options){ 0 }, &why, err);
    if (status != AT_OK)
        return status;
    c->caps = c->device->caps;
    c->guard = GUARD;
    return AT_OK;
}

static const char *one_schedule(int i, uint64_t seed)
{
    (void)seed;
    return i == 0 ? "" : NULL;
}

const check_place check_here = { "cuda", open_cuda, one_schedule };
