/* tuning.h -- which variant, and which of its candidates, is fastest for a call, as it was measured
 * on this machine: choices that are kept in memory and in a file.
 *
 * A choice is found by a key: the op, the sizes, types and pitches of its inputs, its attributes,
 * the optional outputs that are wanted, the weights that are parameters, and whether rows must not
 * depend on the batch. Of an exact call whose outputs have samples the key is that of one sample
 * alone, so that every batch size takes the same choice: that is what makes a picture the same
 * alone and in a batch.
 *
 * Choices hold for one device, driver, set of libraries and version of the kernels' sources
 * (tuning_machine.def). A file that was made with others is not used. A tuning belongs to its
 * caller and to one thread, and is no longer tied to the device it was made for. */
#ifndef AT_ENGINE_TUNING_H
#define AT_ENGINE_TUNING_H

#include "engine/device.h"

enum {
    AT_TUNING_KEY_MAX = 1024,
    AT_TUNING_NAME_MAX = 64,         /* of a variant */
    AT_TUNING_FIELD_MAX = 128,       /* of what the choices are valid for */
    AT_TUNING_CHOICES_MAX = 1 << 16, /* of a file, and in memory */
    AT_TUNING_BYTES_MAX = 16 << 20,  /* of a file */
};

/* What is tuned: args need no addresses. */
typedef struct at_tuning_call {
    const at_op *op;
    const void *args;
    uint32_t constants; /* bit i: operand i is a parameter */
    bool exact;
} at_tuning_call;

typedef struct at_choice {
    char variant[AT_TUNING_NAME_MAX];
    char text[AT_CHOICE_MAX]; /* at_prepared.choice */
    double seconds;
    size_t scratch;
} at_choice;

/* --- what choices are valid for --------------------------------------------------------------- */

enum {
#define AT_TUNED_FOR(FIELD, name) AT_TUNED_FOR_##FIELD,
#include "engine/tuning_machine.def"
#undef AT_TUNED_FOR
    AT_TUNED_FOR_COUNT
};

typedef struct at_tuned_for {
    char field[AT_TUNED_FOR_COUNT][AT_TUNING_FIELD_MAX];
} at_tuned_for;

AT_API at_status at_tuned_for_device(at_device *d, at_tuned_for *out, at_error *err);
AT_API const char *at_tuned_for_name(int field);

/* --- the choices ------------------------------------------------------------------------------ */

typedef struct at_tuning at_tuning;

AT_API at_status at_tuning_new(at_tuning **out, const at_tuned_for *machine, at_error *err);
AT_API void at_tuning_free(at_tuning *t);

/* False: the call cannot be written as a key, and is not tuned. */
AT_API bool at_tuning_key(const at_tuning_call *call, char key[AT_TUNING_KEY_MAX]);
/* NULL: nothing is known of it. Valid until the next change. */
AT_API const at_choice *at_tuning_find(const at_tuning *t, const char *key);
/* Replaces what was there. */
AT_API at_status at_tuning_put(at_tuning *t, const char *key, const at_choice *c, at_error *err);
AT_API void at_tuning_drop(at_tuning *t, const char *key);
AT_API int at_tuning_count(const at_tuning *t);
/* In the order of keys; NULL past the end. */
AT_API const at_choice *at_tuning_at(const at_tuning *t, int i, const char **key);

/* --- files ------------------------------------------------------------------------------------ */

/* The name of the file of such a machine, in whatever folder: "nvidia-h200.tuning". */
AT_API const char *at_tuning_file(const at_tuning *t);
/* Adds the choices of the folder's file; those of its keys that were known before are replaced.
 * AT_NOT_FOUND: there is none. AT_UNSUPPORTED: it was made with another driver, library or kernels,
 * as the sentence says, and is not used. AT_CORRUPT: it is damaged, and nothing of it is used. */
AT_API at_status at_tuning_load(at_tuning *t, const char *folder, at_error *err);
/* The same of text that is there already; 'name' stands in the sentences. */
AT_API at_status at_tuning_parse(at_tuning *t, const char *name, const char *text, size_t bytes,
                                 at_error *err);
/* Writes all of them, in order; the file appears whole or not at all. The folder must be there. */
AT_API at_status at_tuning_save(const at_tuning *t, const char *folder, at_error *err);

/* --- using them ------------------------------------------------------------------------------- */

struct at_trial;
struct at_bench;
struct at_bench_how;
struct at_timing;

/* All of it may be zero. */
typedef struct at_tuning_settings {
    double seconds_each;  /* of timing one candidate; 0: a twentieth */
    double seconds_total; /* of trying, in all; 0: no end */
    bool check_all;       /* exact: every candidate's rows, not only of those that would be kept */
    /* Told of a choice that could not be made. */
    void (*unmet)(void *context, const char *key, const at_choice *c, const char *why);
    /* Told of a call that was tried out. */
    void (*tried)(void *context, const at_tuning_call *call, const struct at_trial *trial);
    /* How a candidate is timed; NULL: by at_bench_time_as(). */
    at_status (*time)(void *context, struct at_bench *b, const struct at_bench_how *how,
                      double seconds, struct at_timing *out, at_error *err);
    void *context;
} at_tuning_settings;
AT_API void at_tuning_set(at_tuning *t, const at_tuning_settings *settings);

/* How often since the tuning was made. */
typedef struct at_tuning_counts {
    int64_t found;   /* choices that were made as they were stored */
    int64_t unknown; /* calls without one */
    int64_t unmet;   /* choices that could not be made: the order of the list was taken */
    int64_t tried;   /* candidates that were timed */
    double seconds;  /* that trying took */
} at_tuning_counts;
AT_API at_tuning_counts at_tuning_counted(const at_tuning *t);

/* at_op_choose(), but by the stored choice if there is one ('t' may be NULL). A choice that cannot
 * be made any more is dropped; an exact one only if it cannot be made for one sample either. */
AT_API at_status at_tuning_choose(at_tuning *t, at_device *d, const at_tuning_call *call,
                                  const at_variant **variant, at_prepared *prepared, at_error *err);

#endif
