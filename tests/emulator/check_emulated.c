/* check_emulated.c -- checkop on the emulated device: every CUDA variant, in several schedules.
 * Faults are told in the line of the case that had them. */
#include "tests/check.h"
#include "tests/emulator/device.h"
#include "tests/emulator/emulator.h"

static at_status open_emulated(at_check *c, at_error *err)
{
    enum { GUARD = 64 };
    at_status status = at_device_emulated(&c->device, err);
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
