/* block.h -- a small diffusion block that is trained and run by plans, and what it runs on. */
#ifndef AT_TESTS_BLOCK_H
#define AT_TESTS_BLOCK_H

#include "engine/device.h"

/* tests/emulator/block_emulated.c, tests/block_on_cuda.c. */
typedef struct block_place {
    const char *name;
    at_status (*open)(at_device **out, at_error *err);
    /* Makes order i of threads the one of runs that follow; its name, NULL past the last. Order 0
     * is never past it. */
    const char *(*order)(int i);
    void (*more)(void); /* what is to be held there besides; NULL: nothing */
} block_place;
extern const block_place block_here;

#endif
