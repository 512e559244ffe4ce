/* async.c -- cp.async, and operations that the machine finishes by itself.
 *
 * A thread's copies join groups. Lazily a group is copied when its thread waits for it, and the
 * destination is NaN from the copy to the wait; eagerly at once, so that a buffer refilled too
 * early shows its readers what comes next. */
#include <stdlib.h>

#include "tests/emulator/machine.h"

enum { COPIES_MAX = 512, GROUPS_MAX = 32, PENDING_MAX = 1024 };

typedef struct copy {
    void *dst;
    const void *src;
    uint32_t bytes, src_bytes;
    at_emu_place place;
} copy;

typedef struct copies {
    uint32_t count, groups, end[GROUPS_MAX];
    copy *list; /* [COPIES_MAX], kept for the process */
} copies;

typedef struct pending {
    void (*act)(void *);
    void *argument;
} pending;

static copies of_thread[AT_EMU_THREADS_MAX];
static pending queue[PENDING_MAX];
static int n_queue;

static void act_on(const copy *c)
{
    if (c->src_bytes > 0)
        at_emu_watch_range(c->src, c->src_bytes, AT_EMU_READ, c->place);
    at_emu_watch_range(c->dst, c->bytes, AT_EMU_WRITE, c->place);
    memcpy(c->dst, c->src, c->src_bytes);
    memset((char *)c->dst + c->src_bytes, 0, c->bytes - c->src_bytes);
}

void at_emu_copy_begin(void *dst, size_t bytes, at_emu_place place)
{
    at_emu_watch_range(dst, bytes, AT_EMU_WRITE, place);
    if (at_emu_now.settings.async == AT_EMU_EAGER)
        return;
    memset(dst, 0xFF, bytes);
    at_emu_watch_pending(dst, bytes);
}

/* The source is looked at now, whatever happens later, so that a bad address shows here. */
static void check_source(const void *src, uint32_t bytes, at_emu_place place)
{
    bool live;
    if (bytes == 0)
        return;
    if (at_emu_memory_covers(src, bytes, &live) && !live)
        at_emu_fail(place, "cp.async reads %u bytes at %p, which no allocation covers,", bytes,
                    src);
    at_emu_early_touch("cp.async", place);
    volatile char look = *(const char *)src;
    look = ((const char *)src)[bytes - 1];
    (void)look;
}

void at_emu_copy(void *dst, const void *src, uint32_t bytes, uint32_t src_bytes, at_emu_place place)
{
    copies *all = &of_thread[at_emu_now.fibre->id];
    copy c = { dst, src, bytes, src_bytes, place };
    if ((uintptr_t)dst % bytes || (uintptr_t)src % bytes)
        at_emu_fail(place, "misaligned cp.async of %u bytes from %p to %p,", bytes, src, dst);
    if (src_bytes > bytes)
        at_emu_fail(place, "cp.async of %u bytes out of %u,", bytes, src_bytes);
    if (!at_emu_shared_holds(dst, bytes))
        at_emu_fail(place, "cp.async: the destination %p is none of the block's shared arrays,",
                    dst);
    check_source(src, src_bytes, place);
    if (!all->list)
        all->list = malloc(COPIES_MAX * sizeof *all->list);
    if (!all->list || all->count == COPIES_MAX)
        at_emu_fail(place, "more than %d cp.async without a wait", COPIES_MAX);
    at_emu_copy_begin(dst, bytes, place);
    if (at_emu_now.settings.async == AT_EMU_EAGER)
        act_on(&c);
    all->list[all->count++] = c;
}

void at_emu_copy_commit(at_emu_place place)
{
    copies *all = &of_thread[at_emu_now.fibre->id];
    if (all->groups == GROUPS_MAX)
        at_emu_fail(place, "more than %d groups of cp.async are pending", GROUPS_MAX);
    all->end[all->groups++] = all->count;
}

void at_emu_copy_wait(uint32_t groups_left, at_emu_place place)
{
    (void)place;
    copies *all = &of_thread[at_emu_now.fibre->id];
    if (all->groups <= groups_left)
        return;
    uint32_t n = all->groups - groups_left, end = all->end[n - 1];
    if (at_emu_now.settings.async == AT_EMU_LAZY)
        for (uint32_t i = 0; i < end; i++)
            act_on(&all->list[i]);
    if (end > 0) /* a thread's groups may be empty, and then it may have no list */
        memmove(all->list, all->list + end, (all->count - end) * sizeof *all->list);
    all->count -= end;
    for (uint32_t i = n; i < all->groups; i++)
        all->end[i - n] = all->end[i] - end;
    all->groups = groups_left;
}

void at_emu_copy_exit(at_emu_fibre *f)
{
    const copies *all = &of_thread[f->id];
    if (all->count > 0)
        at_emu_fail(all->list[0].place,
                    "thread %u ends with %u cp.async that it did not wait for,"
                    " the first",
                    f->id, all->count);
}

void at_emu_async_push(void (*act)(void *), void *argument)
{
    if (at_emu_now.settings.async == AT_EMU_EAGER) {
        act(argument);
        return;
    }
    if (n_queue == PENDING_MAX)
        at_emu_fail((at_emu_place){ NULL, 0 }, "more than %d asynchronous operations are pending",
                    PENDING_MAX);
    queue[n_queue++] = (pending){ act, argument };
}

bool at_emu_async_deliver(void)
{
    if (n_queue == 0)
        return false;
    int at = 0;
    if (at_emu_now.settings.order == AT_EMU_RANDOM)
        at = (int)at_emu_random((uint32_t)n_queue);
    pending p = queue[at];
    memmove(queue + at, queue + at + 1, (size_t)(--n_queue - at) * sizeof *queue);
    p.act(p.argument);
    return true;
}

void at_emu_async_reset(void)
{
    n_queue = 0;
    for (uint32_t i = 0; i < at_emu_now.threads; i++)
        of_thread[i].count = of_thread[i].groups = 0;
}
