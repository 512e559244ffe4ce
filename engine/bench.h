/* bench.h -- times one op at one shape through any of its variants, outside a plan.
 *
 * A bench holds one call: args from text, inputs in device memory filled with numbers of a sensible
 * range, weights as constants, so that variants compute from their packed forms as they do in a
 * plan. Its memory lies in the device's shared arena: one bench per device at a time, and no plan
 * between. Runs follow one another on warm caches and pages, as nodes of a plan do. One thread. */
#ifndef AT_ENGINE_BENCH_H
#define AT_ENGINE_BENCH_H

#include "engine/device.h"

typedef struct at_bench at_bench;

typedef struct at_timing {
    double seconds, seconds_min; /* of one run: the median, the shortest */
    int runs;
} at_timing;

/* 'text' as at_args_parse() takes it. Optional outputs are left out, except for gradients: training
 * asks for all of them. */
AT_API at_status at_bench_new(at_bench **out, at_device *d, const at_op *op, const char *text,
                              at_dtype dtype, at_error *err);
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

/* Runs again and again for about 'seconds', at least three times unless that takes four times as
 * long. */
AT_API at_status at_bench_time(at_bench *b, const at_variant *v, double seconds, at_timing *out,
                               at_error *err);

/* A row of kernels/shapes.def. */
typedef struct at_bench_shape {
    const char *op, *where, *text;
} at_bench_shape;
AT_API const at_bench_shape *at_bench_shape_at(int i); /* NULL past the end */

#endif
