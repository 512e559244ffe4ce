/* hopper.c -- mbarrier and TMA tile loads of sm_90.
 *
 * A barrier keeps its state in its own 8 bytes, as on the device: arrivals expected, arrivals and
 * bytes pending, and the phase that both reaching zero flips. */
#include "tests/emulator/machine.h"

enum { ARRIVALS_BITS = 20, ARRIVALS_MAX = (1 << ARRIVALS_BITS) - 1, BYTES_BIAS = 1 << 22 };

typedef struct phases {
    uint32_t expected, pending, phase;
    int64_t bytes;
} phases;

static phases unpack(uint64_t v)
{
    return (phases){ (uint32_t)(v & ARRIVALS_MAX), (uint32_t)(v >> 20 & ARRIVALS_MAX),
                     (uint32_t)(v >> 40 & 1), (int64_t)(v >> 41) - BYTES_BIAS };
}

static void pack(uint64_t *bar, phases p)
{
    if (p.pending == 0 && p.bytes == 0) {
        p.pending = p.expected;
        p.phase ^= 1;
    }
    *bar = (uint64_t)p.expected | (uint64_t)p.pending << 20 | (uint64_t)p.phase << 40 |
           (uint64_t)(p.bytes + BYTES_BIAS) << 41;
}

static void check_barrier(const uint64_t *bar, at_emu_place place)
{
    if ((uintptr_t)bar % 8 || !at_emu_shared_holds(bar, 8))
        at_emu_fail(place, "the mbarrier at %p is none of the block's shared memory,",
                    (const void *)bar);
    if (*bar == ~(uint64_t)0)
        at_emu_fail(place, "the mbarrier is used before mbarrier.init");
}

void at_emu_mbarrier_init(uint64_t *bar, uint32_t arrivals, at_emu_place place)
{
    if ((uintptr_t)bar % 8 || !at_emu_shared_holds(bar, 8))
        at_emu_fail(place, "mbarrier.init at %p, outside of the block's shared memory,",
                    (const void *)bar);
    if (arrivals == 0 || arrivals > ARRIVALS_MAX)
        at_emu_fail(place, "mbarrier.init for %u arrivals", arrivals);
    pack(bar, (phases){ arrivals, arrivals, 0, 0 });
}

void at_emu_mbarrier_arrive(uint64_t *bar, uint32_t expect_bytes, at_emu_place place)
{
    check_barrier(bar, place);
    at_emu_watch_release(bar);
    phases p = unpack(*bar);
    if (p.pending == 0)
        at_emu_fail(place, "mbarrier: more arrivals than the %u expected,", p.expected);
    p.pending--;
    p.bytes += expect_bytes;
    pack(bar, p);
}

typedef struct wanted {
    const uint64_t *bar;
    uint32_t parity;
} wanted;

static bool is_past(void *argument)
{
    const wanted *w = argument;
    return unpack(*w->bar).phase != w->parity;
}

void at_emu_mbarrier_wait(uint64_t *bar, uint32_t parity, at_emu_place place)
{
    wanted w = { bar, parity & 1 };
    check_barrier(bar, place);
    at_emu_wait(is_past, &w, "mbarrier.try_wait", place);
    at_emu_watch_acquire(bar);
}

/* --- TMA -------------------------------------------------------------------------------------- */

enum { LOADS_MAX = 1024 };

typedef struct load {
    at_emu_tensor_map map;
    char *dst;
    uint64_t *bar;
    int x, y;
    uint32_t base; /* of dst in the window */
    at_emu_place place;
} load;

/* A ring is enough: at most LOADS_MAX are pending, as async.c checks. */
static load loads[LOADS_MAX];
static unsigned next_load;

static void act_load(void *argument)
{
    const load *l = argument;
    const at_emu_tensor_map *m = &l->map;
    uint32_t e = m->element_bytes;
    for (uint32_t row = 0; row < m->box[1]; row++)
        for (uint32_t column = 0; column < m->box[0]; column++) {
            int64_t x = (int64_t)l->x + column, y = (int64_t)l->y + row;
            uint32_t at = at_emu_swizzle(l->base + (row * m->box[0] + column) * e, m->swizzle);
            char *dst = at_emu_shared_pointer(at, e, l->place);
            if (x >= 0 && (uint64_t)x < m->size[0] && y >= 0 && (uint64_t)y < m->size[1])
                memcpy(dst, m->base + (uint64_t)y * m->pitch + (uint64_t)x * e, e);
            else
                memset(dst, 0, e);
        }
    at_emu_watch_written(l->dst, (size_t)m->box[0] * m->box[1] * e);
    phases p = unpack(*l->bar);
    p.bytes -= (int64_t)m->box[0] * m->box[1] * e;
    pack(l->bar, p);
}

void at_emu_tma_load_2d(void *dst, const void *map, uint64_t *bar, int x, int y, at_emu_place place)
{
    /* The pattern of a swizzle repeats after this many bytes; a tile begins at its beginning. */
    static const uint32_t align[4] = { 128, 1024, 512, 256 }, row_max[4] = { 1 << 20, 128, 64, 32 };
    load *l = &loads[next_load++ % LOADS_MAX];
    *l = (load){ .dst = dst, .bar = bar, .x = x, .y = y, .place = place };
    memcpy(&l->map, map, sizeof l->map);
    const at_emu_tensor_map *m = &l->map;
    if (m->magic != AT_EMU_MAP_MAGIC)
        at_emu_fail(place, "TMA: %p is no tensor map,", map);
    check_barrier(bar, place);
    at_emu_early_touch("TMA", place);
    uint32_t bytes = m->box[0] * m->box[1] * m->element_bytes;
    l->base = at_emu_shared_address(dst, place);
    if (l->base % align[m->swizzle])
        at_emu_fail(place, "TMA: the destination 0x%x is not aligned to %u,", l->base,
                    align[m->swizzle]);
    if (m->box[0] * m->element_bytes > row_max[m->swizzle])
        at_emu_fail(place, "TMA: a row of the box has %u bytes; its swizzle takes %u,",
                    m->box[0] * m->element_bytes, row_max[m->swizzle]);
    if (!at_emu_shared_holds(dst, bytes))
        at_emu_fail(place, "TMA: %u bytes at 0x%x leave the block's shared arrays,", bytes,
                    l->base);
    at_emu_copy_begin(dst, bytes, place);
    at_emu_watch_release(bar);
    at_emu_async_push(act_load, l);
}
