#include "tests/told.h"

#include <stdarg.h>
#include <stdio.h>

static int failures;

void test_failed(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    printf("FAIL ");
    vprintf(fmt, args);
    printf("\n");
    va_end(args);
    failures++;
}

int test_failures(void)
{
    return failures;
}
