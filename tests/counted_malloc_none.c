#include "tests/counted_malloc.h"

int test_allocations(void)
{
    return -1;
}
