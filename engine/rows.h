/* rows.h -- the samples of a call: how many there are, and the same call for another number.
 *
 * The batch is the first axis of the operands that are marked AT_BATCHED; of those with fewer axes,
 * or several entries for each sample, it divides the first axis. Any thread. */
#ifndef AT_ENGINE_ROWS_H
#define AT_ENGINE_ROWS_H

#include "engine/bench.h"

/* 1 where nothing is marked. */
int64_t at_rows_batch(const at_op *op, const void *args);
/* Whether some output that is there has samples. */
bool at_rows_matter(const at_op *op, const void *args);
/* Whether operand i is cut when 'batch' samples are taken apart. */
bool at_rows_cut(const at_op *op, const void *args, int i, int64_t batch);
/* 'out' becomes the call for 'batch' samples, pitches kept, without addresses. */
at_status at_rows_resize(const at_op *op, const void *args, int64_t batch, void *out,
                         at_error *err);

/* Whether a sample's bytes are the same in a batch of 'batch' and alone, by the same variant and
 * choice: AT_OK, or AT_INVALID and a sentence that tells the first difference, or what failed. Uses
 * the device's shared arena, as a bench does. */
at_status at_rows_check(at_device *d, const at_op *op, const void *args, int64_t batch,
                        const at_bench_how *how, at_error *err);

#endif
