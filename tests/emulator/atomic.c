/* atomic.c -- atomic operations. Fibres are not preempted, so a plain read and write is atomic.
 *
 * A sum of floats depends on the order of the threads, and our kernels give the same bytes twice:
 * a float atomic is a fault unless the settings allow it. */
#include "tests/emulator/machine.h"

static void check_atomic(const void *p, size_t bytes, at_emu_place place)
{
    bool live;
    if ((uintptr_t)p % bytes)
        at_emu_fail(place, "misaligned atomic of %zu bytes at %p,", bytes, p);
    if (at_emu_memory_covers(p, bytes, &live) && !live)
        at_emu_fail(place, "atomic of %zu bytes at %p, which no allocation covers,", bytes, p);
    at_emu_watch_range(p, bytes, AT_EMU_ATOMIC, place);
}

#define ATOMIC(name, type)                                                       \
    type name(type *p, at_emu_rmw op, type v, type expected, at_emu_place place) \
    {                                                                            \
        check_atomic(p, sizeof *p, place);                                       \
        type old = *p;                                                           \
        switch (op) {                                                            \
        case AT_EMU_ADD: *p = (type)(old + v); break;                            \
        case AT_EMU_MIN: *p = v < old ? v : old; break;                          \
        case AT_EMU_MAX: *p = v > old ? v : old; break;                          \
        case AT_EMU_AND: *p = old & v; break;                                    \
        case AT_EMU_OR: *p = old | v; break;                                     \
        case AT_EMU_XOR: *p = old ^ v; break;                                    \
        case AT_EMU_EXCHANGE: *p = v; break;                                     \
        case AT_EMU_COMPARE: *p = old == expected ? v : old; break;              \
        }                                                                        \
        return old;                                                              \
    }
ATOMIC(at_emu_atomic_i32, int)
ATOMIC(at_emu_atomic_u32, unsigned)
ATOMIC(at_emu_atomic_u64, unsigned long long)

float at_emu_atomic_f32(float *p, at_emu_rmw op, float v, at_emu_place place)
{
    check_atomic(p, sizeof *p, place);
    if (op == AT_EMU_ADD && !at_emu_now.settings.float_atomics)
        at_emu_fail(place, "the result depends on the order of the threads: atomicAdd of floats");
    float old = *p;
    *p = op == AT_EMU_ADD ? old + v : v;
    return old;
}
