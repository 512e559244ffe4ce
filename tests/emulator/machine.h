/* machine.h -- the emulated multiprocessor, as its own files and the twins of kernels/device see
 * it.
 *
 * It runs one block at a time. fibre.c switches stacks, schedule.c chooses who runs and has the
 * barriers, early.c holds early launches to their rule, shared.c and memory.c own the memory,
 * async.c, tensor.c and hopper.c the instructions,
 * watch_race.c or watch_none.c sees the accesses, runtime.c is the host's side. A place is the file
 * and line of the kernel's statement. A fault ends the launch: at_emu_fail() does not return. */
#ifndef AT_TESTS_EMULATOR_MACHINE_H
#define AT_TESTS_EMULATOR_MACHINE_H

#include "tests/emulator/emulator.h"
#include "tests/emulator/twin/cuda_runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    AT_EMU_LANES = 32,
    AT_EMU_THREADS_MAX = 1024,
    AT_EMU_WARPS_MAX = AT_EMU_THREADS_MAX / AT_EMU_LANES,
    AT_EMU_GROUP_THREADS = 128,       /* a warpgroup */
    AT_EMU_SHARED_DEFAULT = 48 << 10, /* bytes of dynamic shared memory without asking for more */
    AT_EMU_SHARED_MAX = 227 << 10,
};

typedef struct at_emu_place {
    const char *file;
    int line;
} at_emu_place;

/* What a complete collective does: data[i] is what lane i brought, for the lanes in mask. */
typedef void (*at_emu_act_fn)(void **data, uint32_t mask, void *context);
typedef bool (*at_emu_ready_fn)(void *argument);

typedef enum at_emu_state { AT_EMU_FRESH, AT_EMU_READY, AT_EMU_WAITS, AT_EMU_DONE } at_emu_state;

typedef struct at_emu_fibre {
    uint3 thread;
    uint32_t id, lane, warp;
    at_emu_state state;
    bool waited;      /* for earlier launches */
    const char *what; /* what it last asked for, and where */
    at_emu_place place;
    uint32_t mask; /* of that collective */
    at_emu_act_fn act;
    at_emu_ready_fn ready; /* waits until ready(ready_argument) */
    void *ready_argument;
    void *stack_pointer;
    char *stack; /* NULL until it runs */
} at_emu_fibre;

/* How a launch follows the one before it in its stream. */
typedef enum at_emu_start { AT_EMU_AFTER, AT_EMU_EARLY } at_emu_start;

typedef struct at_emu_kernel {
    const char *name;
    at_emu_place place; /* of the launch */
    const void *function;
    dim3 grid, block;
    size_t shared_bytes;
    at_emu_start start;
    void (*body)(void *args);
    void *args;
    size_t args_bytes;
} at_emu_kernel;

typedef struct at_emu_machine {
    at_emu_fibre *fibre; /* the one that runs; NULL on the host's side */
    uint3 block;
    dim3 grid_size, block_size;
    uint32_t threads;
    const at_emu_kernel *kernel;
    at_emu_settings settings;
} at_emu_machine;
extern at_emu_machine at_emu_now;

/* --- schedule.c ------------------------------------------------------------------------------- */

cudaError_t at_emu_run(const at_emu_kernel *k);
/* A fault that ends the launch. A note only makes it fail at its end. */
void at_emu_fail(at_emu_place place, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), noreturn));
void at_emu_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
cudaError_t at_emu_reject(const at_emu_kernel *k, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
uint32_t at_emu_random(uint32_t below);

void at_emu_barrier(at_emu_place place);
void at_emu_warp(uint32_t mask, void *data, at_emu_act_fn act, void *context, const char *what,
                 at_emu_place place);
void at_emu_group(void *data, at_emu_act_fn act, void *context, const char *what,
                  at_emu_place place);
void at_emu_wait(at_emu_ready_fn ready, void *argument, const char *what, at_emu_place place);

/* --- fibre.c ---------------------------------------------------------------------------------- */

void at_emu_fibre_start(at_emu_fibre *f, void (*entry)(void));
void at_emu_fibre_entered(void); /* the first statement of an entry */
void at_emu_fibre_give(char *stack);
/* From the running context, whose stack pointer goes to *save, to a fibre or the host (NULL). */
typedef enum at_emu_leave { AT_EMU_STAYS, AT_EMU_ENDS } at_emu_leave;
void at_emu_fibre_switch(void **save, at_emu_fibre *to, at_emu_leave leave);

/* --- early.c: launches that do not wait for the one before ------------------------------------ */

void at_emu_early_launch(void);
void at_emu_early_wait(at_emu_place place);
/* The thread is about to touch device memory. */
void at_emu_early_touch(const char *what, at_emu_place place);
void at_emu_early_exit(const at_emu_fibre *f);
/* The launch is over, however it ended. */
void at_emu_early_end(void);

/* --- shared.c: the block's shared memory ------------------------------------------------------ */

void at_emu_shared_launch(size_t dynamic_bytes);
void at_emu_shared_poison(void);
void *at_emu_shared_dynamic(void);
/* The array that belongs to 'key', the same for every thread of the block. */
void *at_emu_shared_array(const void *key, size_t bytes, at_emu_place place);
bool at_emu_shared_holds(const void *p, size_t bytes);
/* Addresses in the shared window, as instructions and descriptors name them. */
uint32_t at_emu_shared_address(const void *p, at_emu_place place);
void *at_emu_shared_pointer(uint32_t address, size_t bytes, at_emu_place place);
/* The whole window, for the watcher. */
char *at_emu_shared_base(size_t *bytes);

/* --- memory.c: device memory ------------------------------------------------------------------ */

void *at_emu_memory_take(size_t bytes);
bool at_emu_memory_give(void *p);
/* One range of addresses, whose memory comes at its end, in pieces, and goes all at once. */
void *at_emu_memory_reserve(size_t bytes);
bool at_emu_memory_map(void *p, size_t bytes);
bool at_emu_memory_unmap(void *p, size_t bytes);
bool at_emu_memory_unreserve(void *p);
/* True inside the reserved range; *live tells whether an allocation covers all of it. */
bool at_emu_memory_covers(const void *p, size_t bytes, bool *live);
char *at_emu_memory_base(size_t *bytes);
size_t at_emu_memory_free(void);
/* Between the two any access faults. */
void at_emu_memory_close(void);
void at_emu_memory_open(void);
void at_emu_load(void *value, const void *p, size_t bytes, at_emu_place place);
void at_emu_store(void *p, const void *value, size_t bytes, at_emu_place place);

/* --- async.c ---------------------------------------------------------------------------------- */

void at_emu_copy(void *dst, const void *src, uint32_t bytes, uint32_t src_bytes,
                 at_emu_place place);
void at_emu_copy_commit(at_emu_place place);
void at_emu_copy_wait(uint32_t groups_left, at_emu_place place);
void at_emu_copy_exit(at_emu_fibre *f);
/* An operation of the machine itself, which lazily happens when nobody else can go on. */
/* Where bytes are on their way: a write by the thread that asked; lazily poison until they come. */
void at_emu_copy_begin(void *dst, size_t bytes, at_emu_place place);
void at_emu_async_push(void (*act)(void *), void *argument);
bool at_emu_async_deliver(void);
void at_emu_async_reset(void);

/* --- tensor.c, hopper.c ----------------------------------------------------------------------- */

typedef enum at_emu_element { AT_EMU_BF16, AT_EMU_F16, AT_EMU_E4M3 } at_emu_element;

typedef struct at_emu_mma {
    float *d;          /* [4] */
    const uint32_t *a; /* [4] pairs */
    const uint32_t *b; /* [2] pairs */
    const float *c;    /* [4] */
} at_emu_mma;
void at_emu_mma_m16n8k16(const at_emu_mma *m, at_emu_element element, at_emu_place place);
typedef enum at_emu_turn { AT_EMU_STRAIGHT, AT_EMU_TRANSPOSED } at_emu_turn;
void at_emu_ldmatrix(uint32_t *r, const void *row, int matrices, at_emu_turn turn,
                     at_emu_place place);

typedef struct at_emu_wgmma {
    float *d; /* [n / 2] */
    uint64_t a, b;
    int n, accumulate;
    bool a_transposed, b_transposed;
    at_emu_element element;
} at_emu_wgmma;
void at_emu_wgmma_issue(const at_emu_wgmma *w, at_emu_place place);
void at_emu_wgmma_fence(at_emu_place place);
void at_emu_wgmma_commit(at_emu_place place);
void at_emu_wgmma_wait(int groups_left, at_emu_place place);
void at_emu_wgmma_exit(void);
void at_emu_wgmma_reset(void);

void at_emu_mbarrier_init(uint64_t *bar, uint32_t arrivals, at_emu_place place);
void at_emu_mbarrier_arrive(uint64_t *bar, uint32_t expect_bytes, at_emu_place place);
void at_emu_mbarrier_wait(uint64_t *bar, uint32_t parity, at_emu_place place);

typedef struct at_emu_tensor_map { /* fits into the 128 bytes of a CUtensorMap */
    uint64_t magic;
    const char *base;
    uint64_t size[2]; /* elements: inner, outer */
    uint64_t pitch;   /* bytes */
    uint32_t box[2];
    uint32_t element_bytes, swizzle;
} at_emu_tensor_map;
enum { AT_EMU_MAP_MAGIC = 0x50414d54 };
void at_emu_tma_load_2d(void *dst, const void *map, uint64_t *bar, int x, int y,
                        at_emu_place place);
uint32_t at_emu_swizzle(uint32_t address, uint32_t mode);

/* --- runtime.c -------------------------------------------------------------------------------- */

cudaError_t at_emu_enqueue(const at_emu_kernel *k, cudaStream_t stream);
/* Work of an emulated library: call(context) happens now, or, in a captured stream, at each replay
 * with a copy of 'context' (context_bytes > 0). It says itself what it writes, by
 * at_emu_watch_written(). */
typedef void (*at_emu_call_fn)(void *context);
cudaError_t at_emu_enqueue_call(cudaStream_t stream, at_emu_call_fn call, void *context,
                                size_t context_bytes);
int at_emu_shared_limit(const void *function);

/* --- atomic.c --------------------------------------------------------------------------------- */

typedef enum at_emu_rmw {
    AT_EMU_ADD,
    AT_EMU_MIN,
    AT_EMU_MAX,
    AT_EMU_AND,
    AT_EMU_OR,
    AT_EMU_XOR,
    AT_EMU_EXCHANGE,
    AT_EMU_COMPARE,
} at_emu_rmw;
int at_emu_atomic_i32(int *p, at_emu_rmw op, int v, int expected, at_emu_place place);
unsigned at_emu_atomic_u32(unsigned *p, at_emu_rmw op, unsigned v, unsigned expected,
                           at_emu_place place);
unsigned long long at_emu_atomic_u64(unsigned long long *p, at_emu_rmw op, unsigned long long v,
                                     unsigned long long expected, at_emu_place place);
float at_emu_atomic_f32(float *p, at_emu_rmw op, float v, at_emu_place place);

/* --- watch_race.c, or watch_none.c where accesses are not watched ----------------------------- */

typedef enum at_emu_access { AT_EMU_READ, AT_EMU_WRITE, AT_EMU_ATOMIC } at_emu_access;

void at_emu_watch_launch(void);
void at_emu_watch_block(void);
void at_emu_watch_barrier(void);
void at_emu_watch_warp(uint32_t warp, uint32_t mask);
void at_emu_watch_release(const void *object);
void at_emu_watch_acquire(const void *object);
void at_emu_watch_range(const void *p, size_t bytes, at_emu_access access, at_emu_place place);
void at_emu_watch_written(const void *p, size_t bytes); /* by the host */
void at_emu_watch_forget(const void *p, size_t bytes);  /* fresh memory: nobody wrote it */
void at_emu_watch_pending(const void *p, size_t bytes); /* bytes on their way: nobody may read */
bool at_emu_watched(void);

#ifdef __cplusplus
}
#endif
#endif
