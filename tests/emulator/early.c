/* early.c -- launches that need not wait for the one before to end (AT_LAUNCH_EARLY).
 *
 * Here launches run one after the other, so nothing goes wrong when a kernel breaks the rule; it is
 * told instead. Each thread must have called at_wait_for_earlier() when it ends. And until all
 * threads of a launch's first block have called it, device memory is closed: an access faults, and
 * the thread is told. In later blocks only the checked loads, stores and copies look. */
#define _GNU_SOURCE /* names of the registers of a fault */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#include "tests/emulator/machine.h"

static bool closed; /* until all of the first block wait */
static uint32_t n_waited;
static struct sigaction before;

static __attribute__((noreturn)) void touched(void)
{
    at_emu_fail((at_emu_place){ NULL, 0 },
                "global memory is touched before at_wait_for_earlier() by an early launch");
}

/* The thread goes on in touched(), on its own stack, as if it had called it. */
#if defined(__x86_64__)
static void divert(ucontext_t *c)
{
    enum { RED_ZONE = 128, ALIGN = 16, CALL = 8 };
    greg_t *r = c->uc_mcontext.gregs;
    r[REG_RSP] = ((r[REG_RSP] - RED_ZONE) & ~(greg_t)(ALIGN - 1)) - CALL;
    r[REG_RIP] = (greg_t)(uintptr_t)touched;
}
#else
static void divert(ucontext_t *c)
{
    c->uc_mcontext.pc = (uintptr_t)touched;
}
#endif

static void on_fault(int number, siginfo_t *info, void *context)
{
    bool live;
    if (closed && at_emu_now.fibre && at_emu_memory_covers(info->si_addr, 1, &live))
        divert(context);
    else
        sigaction(number, &before, NULL); /* it happens again, and is another's */
}

static void listen(const struct sigaction *action, struct sigaction *old)
{
    if (sigaction(SIGSEGV, action, old) == 0)
        return;
    perror("emulator: faults of early launches");
    abort();
}

static void open_memory(void)
{
    at_emu_memory_open();
    listen(&before, NULL);
    closed = false;
}

static bool is_open(void *argument)
{
    (void)argument;
    return !closed;
}

void at_emu_early_launch(void)
{
    const struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
    n_waited = 0;
    if (at_emu_now.kernel->start != AT_EMU_EARLY)
        return;
    listen(&action, &before);
    at_emu_memory_close();
    closed = true;
}

void at_emu_early_wait(at_emu_place place)
{
    at_emu_fibre *f = at_emu_now.fibre;
    if (at_emu_now.kernel->start != AT_EMU_EARLY || f->waited)
        return;
    f->waited = true;
    if (!closed)
        return;
    if (++n_waited == at_emu_now.threads)
        open_memory();
    at_emu_wait(is_open, NULL, "at_wait_for_earlier", place);
}

void at_emu_early_touch(const char *what, at_emu_place place)
{
    if (at_emu_now.kernel->start == AT_EMU_EARLY && !at_emu_now.fibre->waited)
        at_emu_fail(place, "%s of global memory before at_wait_for_earlier() by an early launch",
                    what);
}

void at_emu_early_exit(const at_emu_fibre *f)
{
    if (at_emu_now.kernel->start == AT_EMU_EARLY && !f->waited)
        at_emu_fail((at_emu_place){ NULL, 0 },
                    "thread %u of an early launch ends without at_wait_for_earlier()", f->id);
}

void at_emu_early_end(void)
{
    if (closed)
        open_memory();
}
