/* watch_none.c -- builds that do not watch every access. */
#include "tests/emulator/machine.h"

void at_emu_watch_launch(void)
{
}

void at_emu_watch_block(void)
{
}

void at_emu_watch_barrier(void)
{
}

void at_emu_watch_warp(uint32_t warp, uint32_t mask)
{
    (void)warp, (void)mask;
}

void at_emu_watch_release(const void *object)
{
    (void)object;
}

void at_emu_watch_acquire(const void *object)
{
    (void)object;
}

void at_emu_watch_range(const void *p, size_t bytes, at_emu_access access, at_emu_place place)
{
    (void)p, (void)bytes, (void)access, (void)place;
}

void at_emu_watch_written(const void *p, size_t bytes)
{
    (void)p, (void)bytes;
}

void at_emu_watch_forget(const void *p, size_t bytes)
{
    (void)p, (void)bytes;
}

void at_emu_watch_pending(const void *p, size_t bytes)
{
    (void)p, (void)bytes;
}

bool at_emu_watched(void)
{
    return false;
}
