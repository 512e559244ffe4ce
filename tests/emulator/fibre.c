/* fibre.c -- stacks and the switch between them.
 *
 * The switch is a dozen instructions because ucontext's makes a system call: 2 ns against 180. It
 * ends in a jump, not a return, which the processor would mispredict. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "tests/emulator/machine.h"

#if defined(__has_feature)
#define HAS_FEATURE(name) __has_feature(name)
#else
#define HAS_FEATURE(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
enum { STACK_BYTES = 512 << 10 };
#else
enum { STACK_BYTES = 128 << 10 };
#define __sanitizer_start_switch_fiber(save, bottom, bytes)  ((void)(save))
#define __sanitizer_finish_switch_fiber(save, bottom, bytes) ((void)(save))
#define __asan_unpoison_memory_region(p, bytes)              ((void)(p))
#endif

enum { GUARD_BYTES = 4096 };

void at_emu_switch_stacks(void **save, void *to);

#if defined(__x86_64__)
enum { ENTRY_WORD = 6, USED_WORDS = 8 };
__asm__(".text\n.globl at_emu_switch_stacks\n.type at_emu_switch_stacks,@function\n"
        "at_emu_switch_stacks:\n"
        "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
        "movq %rsp,(%rdi)\nmovq %rsi,%rsp\n"
        "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\n"
        "popq %rdx\njmp *%rdx\n"
        ".size at_emu_switch_stacks,.-at_emu_switch_stacks\n");
#elif defined(__aarch64__)
enum { ENTRY_WORD = 11, USED_WORDS = 20 };
__asm__(".text\n.globl at_emu_switch_stacks\n.type at_emu_switch_stacks,%function\n"
        "at_emu_switch_stacks:\n"
        "sub sp, sp, #160\n"
        "stp x19, x20, [sp]\nstp x21, x22, [sp, #16]\nstp x23, x24, [sp, #32]\n"
        "stp x25, x26, [sp, #48]\nstp x27, x28, [sp, #64]\nstp x29, x30, [sp, #80]\n"
        "stp d8, d9, [sp, #96]\nstp d10, d11, [sp, #112]\n"
        "stp d12, d13, [sp, #128]\nstp d14, d15, [sp, #144]\n"
        "mov x9, sp\nstr x9, [x0]\nmov sp, x1\n"
        "ldp x19, x20, [sp]\nldp x21, x22, [sp, #16]\nldp x23, x24, [sp, #32]\n"
        "ldp x25, x26, [sp, #48]\nldp x27, x28, [sp, #64]\nldp x29, x30, [sp, #80]\n"
        "ldp d8, d9, [sp, #96]\nldp d10, d11, [sp, #112]\n"
        "ldp d12, d13, [sp, #128]\nldp d14, d15, [sp, #144]\n"
        "add sp, sp, #160\nbr x30\n"
        ".size at_emu_switch_stacks,.-at_emu_switch_stacks\n");
#else
#error "the emulator has no stack switch for this processor"
#endif

static char *free_stacks[AT_EMU_THREADS_MAX];
static int n_free;
static void *host_stack_pointer;
static const void *host_bottom;
static size_t host_bytes;

static char *take_stack(void)
{
    if (n_free > 0)
        return free_stacks[--n_free];
    char *s = mmap(NULL, STACK_BYTES + GUARD_BYTES, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (s == MAP_FAILED || mprotect(s, GUARD_BYTES, PROT_NONE) != 0) {
        perror("emulator: a thread's stack");
        abort();
    }
    return s + GUARD_BYTES;
}

void at_emu_fibre_give(char *stack)
{
    __asan_unpoison_memory_region(stack, STACK_BYTES);
    free_stacks[n_free++] = stack;
}

void at_emu_fibre_start(at_emu_fibre *f, void (*entry)(void))
{
    f->stack = take_stack();
    void **top = (void **)(void *)(f->stack + STACK_BYTES) - USED_WORDS;
    for (int i = 0; i < USED_WORDS; i++)
        top[i] = NULL;
    memcpy(&top[ENTRY_WORD], &entry, sizeof entry);
    f->stack_pointer = top;
}

void at_emu_fibre_entered(void)
{
    const void *bottom = host_bottom;
    size_t bytes = host_bytes;
    __sanitizer_finish_switch_fiber(NULL, &bottom, &bytes);
    if (!host_bottom) { /* this is the first fibre of a block: it comes from the host's stack */
        host_bottom = bottom;
        host_bytes = bytes;
    }
}

void at_emu_fibre_switch(void **save, at_emu_fibre *to, at_emu_leave leave)
{
    void *fake = NULL;
    if (!save) /* the host leaves, perhaps on another thread's stack than the last time */
        host_bottom = NULL;
    void **own = save ? save : &host_stack_pointer;
    __sanitizer_start_switch_fiber(leave == AT_EMU_ENDS ? NULL : &fake,
                                   to ? to->stack : host_bottom, to ? STACK_BYTES : host_bytes);
    (void)leave;
    at_emu_switch_stacks(own, to ? to->stack_pointer : host_stack_pointer);
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
}
