#include "engine/arena.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 64 * 1024, ALIGN = 16 };

typedef struct chunk {
    struct chunk *next;
    size_t used, size;
    _Alignas(ALIGN) unsigned char data[];
} chunk;

struct at_arena {
    chunk *chunks;
    size_t bytes;
};

static void *must(void *p, size_t bytes)
{
    AT_ASSERT(p, "no memory for %zu bytes of description", bytes);
    return p;
}

at_arena *at_arena_try_new(void)
{
    return calloc(1, sizeof(at_arena));
}

at_arena *at_arena_new(void)
{
    return must(at_arena_try_new(), sizeof(at_arena));
}

void at_arena_free(at_arena *arena)
{
    if (!arena)
        return;
    for (chunk *c = arena->chunks; c;) {
        chunk *next = c->next;
        free(c);
        c = next;
    }
    free(arena);
}

void *at_arena_try(at_arena *arena, size_t bytes)
{
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    chunk *c = arena->chunks;
    if (!c || c->size - c->used < bytes) {
        size_t size = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
        c = calloc(1, sizeof *c + size);
        if (!c)
            return NULL;
        c->size = size;
        c->next = arena->chunks;
        arena->chunks = c;
    }
    void *p = c->data + c->used;
    c->used += bytes;
    arena->bytes += bytes;
    return p;
}

void *at_arena_alloc(at_arena *arena, size_t bytes)
{
    return must(at_arena_try(arena, bytes), bytes);
}

const char *at_arena_text(at_arena *arena, const char *text)
{
    size_t bytes = strlen(text) + 1;
    return memcpy(at_arena_alloc(arena, bytes), text, bytes);
}

size_t at_arena_bytes(const at_arena *arena)
{
    return arena->bytes;
}

void *at_grow(void *array, int count, int *capacity, size_t element_bytes)
{
    if (count < *capacity)
        return array;
    *capacity = *capacity ? *capacity * 2 : 16;
    return must(realloc(array, (size_t)*capacity * element_bytes),
                (size_t)*capacity * element_bytes);
}
