/* conformance_schedules.c -- the schedules that the conformance suite runs under when emulated. */
#include "tests/conformance/conformance.h"

#include <stdio.h>

#include "tests/emulator/emulator.h"

const char *conformance_schedule(int i, uint64_t seed)
{
    static char name[64];
    if (i == AT_EMU_ORDER_COUNT * AT_EMU_ASYNC_COUNT)
        return NULL;
    at_emu_settings s = { .order = (at_emu_order)(i % AT_EMU_ORDER_COUNT),
                          .async = (at_emu_async)(i / AT_EMU_ORDER_COUNT),
                          .seed = seed,
                          .quiet = true };
    at_emu_configure(&s);
    snprintf(name, sizeof name, "%s, %s", at_emu_order_name(s.order),
             s.async == AT_EMU_LAZY ? "lazy" : "eager");
    return name;
}
