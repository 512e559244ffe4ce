/* counted_malloc.h -- how often this process has asked for memory, its libraries included. A
 * program links counted_malloc.c, or, where a sanitizer has taken malloc's place,
 * counted_malloc_none.c. */
#ifndef AT_TESTS_COUNTED_MALLOC_H
#define AT_TESTS_COUNTED_MALLOC_H

/* Calls of malloc and its kin so far; -1: they cannot be counted. */
int test_allocations(void);

#endif
