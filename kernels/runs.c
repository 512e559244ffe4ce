/* runs.c -- how views are cut into parts, whatever runs the parts. */
#include "kernels/parallel.h"

typedef struct runs {
    int64_t cols, pitch[AT_RUN_VIEWS_MAX];
    int n_views;
    bool dense;
    at_run_part_fn fn;
    void *ctx;
} runs;

static void run_runs(void *ctx, int64_t begin, int64_t end, int worker)
{
    const runs *w = ctx;
    int64_t first[AT_RUN_VIEWS_MAX];
    (void)worker;
    for (int64_t r = begin; r < end; r += w->dense ? end - begin : 1) {
        for (int i = 0; i < w->n_views; i++)
            first[i] = w->dense ? r : r * w->pitch[i];
        w->fn(w->ctx, first, w->dense ? end - begin : w->cols);
    }
}

void at_parallel_runs(const at_stream *stream, const at_view *const *views, int n_views,
                      at_run_part_fn fn, void *ctx)
{
    enum {
        DENSE_GRAIN = 8192
    }; /* elements: large against the cost of a part, small against a core's L2 */
    runs w = { at_cols(views[0]), { 0 }, n_views, true, fn, ctx };
    AT_ASSERT(n_views <= AT_RUN_VIEWS_MAX, "%d views", n_views);
    for (int i = 0; i < n_views; i++) {
        w.pitch[i] = views[i]->pitch;
        w.dense = w.dense && at_dense(views[i]);
    }
    int64_t rows = at_rows(views[0]);
    if (w.dense)
        at_parallel(stream, rows * w.cols, DENSE_GRAIN, run_runs, &w);
    else
        at_parallel(stream, rows, at_grain(rows, (double)w.cols * 4), run_runs, &w);
}

int64_t at_grain(int64_t rows, double bytes_per_row)
{
    double wanted = 32768.0 / (bytes_per_row > 1 ? bytes_per_row : 1);
    int64_t grain = wanted < 1 ? 1 : (int64_t)wanted;
    return grain < rows ? grain : rows > 0 ? rows : 1;
}
