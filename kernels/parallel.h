/* parallel.h -- the one team of threads. Loops are cut into parts whose borders depend on the sizes
 * only, never on the number of threads, so that results do not either. */
#ifndef AT_KERNELS_PARALLEL_H
#define AT_KERNELS_PARALLEL_H

#include "kernels/op.h"

/* Works on indices [begin, end); 'worker' is below the stream's number of threads and names a
 * thread's own piece of scratch. */
typedef void (*at_part_fn)(void *ctx, int64_t begin, int64_t end, int worker);

/* Cuts [0, n) into parts of 'grain' and works them off, neighbouring parts on one thread. */
void at_parallel(const at_stream *stream, int64_t n, int64_t grain, at_part_fn fn, void *ctx);

/* The same for parts of unequal weight: each thread takes the next one when it is free. */
void at_parallel_uneven(const at_stream *stream, int64_t n, int64_t grain, at_part_fn fn,
                        void *ctx);

/* Walks through views of equal shape run by run, a run being contiguous in all of them: 'first'
 * holds, for each view, the index of the run's first element. Dense views are one long run cut into
 * equal parts; otherwise a run is a row. */
enum { AT_RUN_VIEWS_MAX = 5 };
typedef void (*at_run_part_fn)(void *ctx, const int64_t *first, int64_t n);
void at_parallel_runs(const at_stream *stream, const at_view *const *views, int n_views,
                      at_run_part_fn fn, void *ctx);

/* A grain that gives parts of about 32 KiB of traffic for rows of 'bytes_per_row'. */
int64_t at_grain(int64_t rows, double bytes_per_row);

#endif
