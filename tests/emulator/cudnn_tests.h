/* cudnn_tests.h -- what the files of the emulated cuDNN's test share. */
#ifndef AT_TESTS_EMULATOR_CUDNN_TESTS_H
#define AT_TESTS_EMULATOR_CUDNN_TESTS_H

#include "tests/emulator/cudnn_build.h"
#include "tests/unit.h"

static inline void expect_success(const build *b)
{
    char text[256];
    b->c->last_error(text, sizeof text);
    if (b->status != AT_CUDNN_STATUS_SUCCESS)
        fail_msg("%s: %s", b->c->status_text(b->status), text);
}

/* cudnn_graphs_test.c; the library is in *state. */
void test_orders(void **state);
void test_refused(void **state);
void test_tangles(void **state);

#endif
