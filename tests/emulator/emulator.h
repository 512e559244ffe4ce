/* emulator.h -- CUDA kernels on the processor: what a test program sets and asks.
 *
 * The kernels' own .cu files are compiled by the host's compiler. Every CUDA thread is a fibre, the
 * blocks of a grid run one after the other, and everything that a thread may do to others
 * (barriers, shuffles, products of a warp, asynchronous copies) passes through the emulator, which
 * checks it. A launch that broke a rule returns an error, and cudaGetErrorString() tells which
 * kernel, block and thread did what, at which file and line.
 *
 * "emu" in names is this emulator. One thread of the process uses it. */
#ifndef AT_TESTS_EMULATOR_EMULATOR_H
#define AT_TESTS_EMULATOR_EMULATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Which thread that could go on goes on. */
typedef enum at_emu_order {
    AT_EMU_FORWARD,
    AT_EMU_REVERSE, /* blocks too */
    AT_EMU_RANDOM,
    AT_EMU_RUN_AHEAD, /* warps have random priorities; the first runs as far as it can */
    AT_EMU_ORDER_COUNT
} at_emu_order;

/* When cp.async, TMA and wgmma act: as late as they may, which shows a missing wait, or at once,
 * which shows a buffer that is refilled while others still read it. */
typedef enum at_emu_async { AT_EMU_LAZY, AT_EMU_EAGER, AT_EMU_ASYNC_COUNT } at_emu_async;

/* How the streams of a captured graph are interleaved when it is replayed: as they were enqueued;
 * or one stream runs as far as its waits allow before the next is looked at, and what it does not
 * wait for comes late. A missing wait shows in one of the last two. */
typedef enum at_emu_streams {
    AT_EMU_STREAMS_ENQUEUED,
    AT_EMU_STREAMS_FIRST_AHEAD, /* the first is the one that began the capture */
    AT_EMU_STREAMS_FIRST_LATE,
    AT_EMU_STREAMS_COUNT
} at_emu_streams;

typedef struct at_emu_settings {
    at_emu_order order;
    at_emu_async async;
    at_emu_streams streams;
    uint64_t seed;
    bool float_atomics; /* allowed; else a fault, for their sum depends on the order */
    bool quiet;         /* faults are not printed, only returned */
} at_emu_settings;

/* Which build this is, and so what it can see; CMakeLists.txt makes the three. */
typedef enum at_emu_build {
    AT_EMU_PLAIN = 1,
    AT_EMU_SANITIZED = 2, /* ASan and UBSan: addresses */
    AT_EMU_RACE = 4,      /* every access watched: races, reads of what nobody wrote */
} at_emu_build;

void at_emu_configure(const at_emu_settings *settings);
at_emu_build at_emu_built(void);
const char *at_emu_order_name(at_emu_order order);

/* Reads "--order=random", "--async=eager", "--seed=7" into 'settings'; false when 'arg' is none. */
bool at_emu_option(at_emu_settings *settings, const char *arg);

/* The sentence of the last fault; empty after a launch that was clean. */
const char *at_emu_fault(void);

#ifdef __cplusplus
}
#endif
#endif
