/* pickle.h -- Python's pickles as data: a machine for the opcodes that torch.save writes, and the
 * values that come out of it.
 *
 * No pickle is executed. A global is accepted only by its name, from pickle_globals.def or as one
 * of torch's storages and dtypes (stored.def); everything else is refused by that name. Calling one
 * gives an inert value that says what was to be called with what. Values are single words: texts
 * are ranges of the pickle's own bytes, containers are ranges of one heap of words, and what is
 * appended to a container is never copied again, so that memory is linear in the pickle and within
 * a limit that the caller names. The caller keeps the bytes as long as it looks at values. One
 * thread a machine.
 *
 *     status = at_pickle_run(&p, bytes, size, memory_max, err);
 *     for (at_pickle_walk w = at_pickle_enter(&p, p.result); at_pickle_next(&w, &key, &value);)
 *         ...
 *     at_pickle_free(&p); */
#ifndef AT_ENGINE_PICKLE_H
#define AT_ENGINE_PICKLE_H

#include "engine/tensors.h"

enum {
    AT_PICKLE_BYTES_MAX = 64 << 20,
    AT_PICKLE_STEPS_MAX = 1 << 22, /* opcodes; torch needs about 40 for a tensor */
    AT_PICKLE_STACK_MAX = 1 << 16,
    AT_PICKLE_MEMO_MAX = 1 << 22,
    AT_PICKLE_GLOBAL_MAX = 160 /* bytes of a global's name that a sentence repeats */
};

typedef enum at_pickle_kind {
    AT_PICKLE_UNSET,
    AT_PICKLE_MARK, /* never outside the machine */
    AT_PICKLE_NONE,
    AT_PICKLE_BOOL,
    AT_PICKLE_INT,
    AT_PICKLE_NUMBER, /* a real, or an integer past int64_t; its value is not kept */
    AT_PICKLE_TEXT,   /* bytes as the pickle has them; nobody has checked that they are UTF-8 */
    AT_PICKLE_BYTES,
    AT_PICKLE_GLOBAL, /* a class, a function or a dtype, by name */
    AT_PICKLE_TUPLE,
    AT_PICKLE_LIST,
    AT_PICKLE_DICT,
    AT_PICKLE_CALL,  /* what a global would have made of a tuple of arguments */
    AT_PICKLE_STORED /* a persistent id: what stands outside the pickle, described by a tuple */
} at_pickle_kind;

typedef enum at_pickle_name {
    AT_PICKLE_STORAGE, /* torch.FloatStorage and so on; at_pickle_type() tells which */
    AT_PICKLE_DTYPE,   /* torch.float32 and so on */
#define AT_PICKLE_GLOBAL(NAME, module, name, role) AT_PICKLE_##NAME,
#include "engine/pickle_globals.def"
#undef AT_PICKLE_GLOBAL
    AT_PICKLE_NAME_COUNT
} at_pickle_name;

typedef struct at_pickle_value {
    uint64_t word;
} at_pickle_value;

typedef struct at_pickle_text {
    const char *data;
    size_t bytes;
} at_pickle_text;

typedef struct at_pickle_words {
    uint64_t *data;
    size_t count, capacity;
} at_pickle_words;

typedef struct at_pickle {
    const unsigned char *bytes;
    size_t size, at;       /* after a run: the first byte behind the pickle */
    size_t room, room_max; /* bytes of memory it may still take, and could at first */
    at_pickle_words heap, stack, memo;
    at_pickle_value result, stored; /* what it left; the list of its persistent ids, in order */
    bool starved, done;             /* the bytes ended before the pickle did; it is complete */
    at_error *err;
    at_status status;
} at_pickle;

/* 'p' is overwritten; at_pickle_free() it in any case. */
at_status at_pickle_run(at_pickle *p, const void *bytes, size_t size, size_t memory_max,
                        at_error *err);
void at_pickle_free(at_pickle *p);

at_pickle_kind at_pickle_is(at_pickle_value v);
/* False when it is not an integer, or not a text. */
bool at_pickle_int(const at_pickle *p, at_pickle_value v, int64_t *out);
bool at_pickle_text_of(const at_pickle *p, at_pickle_value v, at_pickle_text *out);
bool at_pickle_true(at_pickle_value v); /* whether it is True itself */
/* Of a global or of a call's: which one, and for storages and dtypes the type; AT_STORED_NONE is
 * torch's storage of plain bytes. AT_PICKLE_NAME_COUNT when it is neither. */
at_pickle_name at_pickle_named(at_pickle_value v);
at_stored at_pickle_type(at_pickle_value v);
/* Of a tuple, of a call's arguments, of a persistent id; 0 of everything else. */
size_t at_pickle_count(at_pickle_value v);
at_pickle_value at_pickle_item(const at_pickle *p, at_pickle_value v, size_t i);

/* Walks over a tuple, a list (keys are indices) or a dict; over everything else there is
 * nothing. */
typedef struct at_pickle_walk {
    const at_pickle *p;
    size_t at, left, block; /* words of the heap; elements left of this block; the next one */
    int64_t index;
    bool pairs;
} at_pickle_walk;

at_pickle_walk at_pickle_enter(const at_pickle *p, at_pickle_value v);
bool at_pickle_next(at_pickle_walk *w, at_pickle_value *key, at_pickle_value *value);

/* A name from outside as a sentence may show it: cut, and with '?' for what is not plain ASCII. */
void at_pickle_printable(char *out, size_t room, const char *text, size_t bytes);

#endif
