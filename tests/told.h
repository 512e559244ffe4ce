/* told.h -- how test programs without a framework say what is not so. */
#ifndef AT_TESTS_TOLD_H
#define AT_TESTS_TOLD_H

#include "kernels/base.h"

/* Prints a line and counts it. */
void test_failed(const char *fmt, ...) AT_PRINTF(1, 2);
int test_failures(void);

/* What has to work before anything can be tested: else the program ends with the sentence. */
static inline void test_must(at_status status, const at_error *err)
{
    AT_ASSERT(status == AT_OK, "%s", err->text);
}

#endif
