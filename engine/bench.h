/* bench.h -- times one op at one shape through any of its variants, outside a plan.
 *
 * A bench holds one call: args from text, inputs in device memory filled with numbers of a sensible
 * range, weights as constants, so that variants compute from their packed forms as they do in a
 * plan. Its memory lies in the device's shared arena: one bench per device at a time, and no plan
 * between. One thread.
 *
 * On the cpu, runs follow one another on warm caches and pages, as nodes of a plan do. On a device
 * that captures they are the replays of a graph (engine/timing.h), in which they take several sets
 * of equal operands in turn, as many as its cache cannot hold: no run finds there what the one
 * before it has read. */
#ifndef AT_ENGINE_BENCH_H
#define AT_ENGINE_BENCH_H

#include "engine/timing.h"

typedef struct at_bench at_bench;

/* 'text' as at_args_parse() takes it. Optional outputs are left out, except for gradients: training
 * asks for all of them. */
AT_API at_status at_bench_new(at_bench **out, at_device *d, const at_op *op, const char *text,
                              at_dtype dtype, at_error *err);
/* The same of args as they are, with their pitches; addresses are not looked at. */
AT_API at_status at_bench_new_args(at_bench **out, at_device *d, const at_op *op, const void *args,
                                   at_error *err);
AT_API void at_bench_free(at_bench *b);
/* The args of such a call, AT_ARGS_MAX bytes, without addresses and for no device yet. */
AT_API at_status at_bench_describe(const at_op *op, const char *text, at_dtype dtype, void *args,
                                   at_error *err);
/* The checks of at_bench_new() alone: shapes, sizes, memory, and a variant that can run it. Tells
 * what the call costs. */
AT_API at_status at_bench_check(at_device *d, const at_op *op, const char *text, at_dtype dtype,
                                at_cost *cost, at_error *err);
/* The call's args, without addresses of forms. */
AT_API const void *at_bench_args(const at_bench *b);

/* On a device that captures: sets of operands come to more than 'bytes' together, as far as half of
 * the free memory and the time allow; 0: there is one, which the cache may hold. Without this call
 * AT_BENCH_ROTATE or four times the cache, whichever is more. */
enum { AT_BENCH_ROTATE = 256 << 20 };
AT_API void at_bench_rotate(at_bench *b, size_t bytes);
/* Bytes of one set's operands, without what a variant derives from them. */
AT_API size_t at_bench_bytes(const at_bench *b);

/* Runs again and again for about 'seconds', at least three times unless that takes four times as
 * long. */
AT_API at_status at_bench_time(at_bench *b, const at_variant *v, double seconds, at_timing *out,
                               at_error *err);

/* How a call is prepared: at_prepare_in says what its fields are. */
typedef struct at_bench_how {
    const at_variant *variant;
    uint32_t constants;
    bool exact;
    int candidate;
    const char *choice;
    double
        hopeless; /* a run that takes as many seconds after warming up is the only one; 0: none */
} at_bench_how;
/* The operands that are weights, as at_bench_time() takes them. */
AT_API uint32_t at_bench_constants(const at_op *op);
AT_API at_status at_bench_time_as(at_bench *b, const at_bench_how *how, double seconds,
                                  at_timing *out, at_error *err);
/* Runs once, and waits for it. Operands are then read and written at the addresses of
 * at_bench_args(). */
AT_API at_status at_bench_run(at_bench *b, const at_bench_how *how, at_error *err);

/* A row of kernels/shapes.def. */
typedef struct at_bench_shape {
    const char *op, *where, *text;
} at_bench_shape;
AT_API const at_bench_shape *at_bench_shape_at(int i); /* NULL past the end */

#endif
