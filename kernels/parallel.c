/* parallel.c -- OpenMP, because the product library brings it: two pools would fight for the
 * cores. */
#include "kernels/parallel.h"

#include <omp.h>

typedef struct parts {
    int64_t n, grain;
    at_part_fn fn;
    void *ctx;
} parts;

static void run_part(const parts *p, int64_t i, int worker)
{
    int64_t begin = i * p->grain, end = begin + p->grain;
    p->fn(p->ctx, begin, end < p->n ? end : p->n, worker);
}

/* Inside a team, with one thread or for one part there is nothing to share out. */
static bool run_alone(const at_stream *stream, const parts *p, int64_t count)
{
    if (count > 1 && stream->threads > 1 && !omp_in_parallel())
        return false;
    for (int64_t i = 0; i < count; i++)
        run_part(p, i, 0);
    return true;
}

void at_parallel(const at_stream *stream, int64_t n, int64_t grain, at_part_fn fn, void *ctx)
{
    AT_ASSERT(grain > 0, "grain %lld", (long long)grain);
    const parts p = { n, grain, fn, ctx };
    int64_t count = (n + grain - 1) / grain;
    if (run_alone(stream, &p, count))
        return;
#pragma omp parallel for schedule(static) num_threads(stream->threads)
    for (int64_t i = 0; i < count; i++)
        run_part(&p, i, omp_get_thread_num());
}

void at_parallel_uneven(const at_stream *stream, int64_t n, int64_t grain, at_part_fn fn, void *ctx)
{
    AT_ASSERT(grain > 0, "grain %lld", (long long)grain);
    const parts p = { n, grain, fn, ctx };
    int64_t count = (n + grain - 1) / grain;
    if (run_alone(stream, &p, count))
        return;
#pragma omp parallel for schedule(dynamic) num_threads(stream->threads)
    for (int64_t i = 0; i < count; i++)
        run_part(&p, i, omp_get_thread_num());
}
