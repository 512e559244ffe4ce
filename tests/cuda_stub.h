/* cuda_stub.h -- what a test sees and sets of the driver that cuda_stub.c plays.
 *
 * The library is opened at run time like the real one; its two functions are asked for by name. */
#ifndef AT_TESTS_CUDA_STUB_H
#define AT_TESTS_CUDA_STUB_H

#include "engine/cuda_driver.h"

enum { CUDA_STUB_LOG_MAX = 64 };

typedef struct cuda_stub {
    int devices, version, sm; /* what it claims to be */
    size_t memory, granularity;
    at_cu_result starts; /* what cuInit() returns */
    int calls, fail_at;  /* the call of this number, counted from 1, returns 'fail_with' */
    at_cu_result fail_with;
    size_t used;
    int live;          /* objects that were made and not freed; nested contexts count */
    const char *wrong; /* the first misuse that no status tells; NULL: none */
    int log[CUDA_STUB_LOG_MAX], logged; /* of launches, as they were run */
} cuda_stub;

typedef cuda_stub *cuda_stub_state_fn(void); /* cuda_stub_state */
/* Work that adds 'value' to the log: cuda_stub_launch. */
typedef at_cu_result cuda_stub_launch_fn(at_cu_stream stream, int value);

#endif
