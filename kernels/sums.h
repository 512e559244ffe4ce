/* sums.h -- sums of millions of numbers, in an order that depends on sizes only.
 *
 * The elements of a sample are cut into parts of AT_SUM_PART. Each part is summed in f64 by
 * whichever thread takes it and its sum put into the part's own place; the places are then added
 * up in order. The places are a variant's scratch, booked when it is prepared. On a GPU a block
 * sums a part, and one more block the places (sums.cuh). */
#ifndef AT_KERNELS_SUMS_H
#define AT_KERNELS_SUMS_H

#include "kernels/op.h"

enum {
    AT_SUM_PART = 16384
}; /* elements: large against the cost of a part, small against a cache */

/* How many parts n elements have. */
static inline int64_t at_sum_parts(int64_t n)
{
    return (n + AT_SUM_PART - 1) / AT_SUM_PART;
}

static inline double at_sum_in_order(const double *parts, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += parts[i];
    return sum;
}

/* Samples as runs: 'per_sample' rows of 'cols' elements each. A dense sample is one long row. */
typedef struct at_sample_rows {
    int64_t per_sample, cols;
} at_sample_rows;

/* How the first of n views of one shape, cut into 'samples' samples, is walked; all are dense or
 * none is taken to be. */
static inline at_sample_rows at_sample_rows_of(const at_view *const *views, int n, int64_t samples)
{
    at_sample_rows r = { 1, at_elements(views[0]) / samples };
    for (int i = 0; i < n; i++)
        if (!at_dense(views[i])) {
            r.per_sample = at_rows(views[0]) / samples;
            r.cols = at_cols(views[0]);
        }
    return r;
}

/* Index in v's memory of element e of sample b. */
static inline int64_t at_sample_index(const at_sample_rows *r, const at_view *v, int64_t b,
                                      int64_t e)
{
    int64_t pitch = r->per_sample == 1 && at_dense(v) ? r->cols : v->pitch;
    return (b * r->per_sample + e / r->cols) * pitch + e % r->cols;
}

/* Elements from e to the end of its row, or to 'end'. */
static inline int64_t at_sample_run(const at_sample_rows *r, int64_t e, int64_t end)
{
    int64_t rest = r->cols - e % r->cols;
    return rest < end - e ? rest : end - e;
}

#endif
