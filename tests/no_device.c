/* no_device.c -- checkop on the processor, which has one schedule without a name. */
#include "kernels/cpu.h"
#include "tests/check.h"

static at_status open_cpu(at_check *c, at_error *err)
{
    (void)err;
    at_cpu_limit(c->caps.has);
    return AT_OK;
}

static const char *one_schedule(int i, uint64_t seed)
{
    (void)seed;
    return i == 0 ? "" : NULL;
}

const check_place check_here = { "cpu", open_cpu, one_schedule };
