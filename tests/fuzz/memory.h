/* memory.h -- how much memory a piece of work held at most, libraries included. */
#ifndef AT_TESTS_FUZZ_MEMORY_H
#define AT_TESTS_FUZZ_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* False where a sanitizer owns the allocator: then there is nothing to read. */
bool at_memory_is_counted(void);
void at_memory_start(void);
/* Bytes held beyond those at the start, at the worst moment since. */
size_t at_memory_peak(void);
/* Bytes held now beyond those at the start: a leak, when everything was freed. */
size_t at_memory_left(void);

#endif
