/* arena.h -- memory with one lifetime: many small allocations, one end. Not for threads to
 * share. */
#ifndef AT_ENGINE_ARENA_H
#define AT_ENGINE_ARENA_H

#include "kernels/base.h"

typedef struct at_arena at_arena;

at_arena *at_arena_new(void);
void at_arena_free(at_arena *arena);
/* Zeroed, 16-byte aligned, never NULL: running out of memory for descriptions ends the program. */
void *at_arena_alloc(at_arena *arena, size_t bytes);
/* The same for what comes from outside: NULL when there is no memory. */
at_arena *at_arena_try_new(void);
void *at_arena_try(at_arena *arena, size_t bytes);
const char *at_arena_text(at_arena *arena, const char *text);
size_t at_arena_bytes(const at_arena *arena);

/* Makes room for one more element in a growing array; returns the array, perhaps moved. */
void *at_grow(void *array, int count, int *capacity, size_t element_bytes);

#endif
