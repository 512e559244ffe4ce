/* parallel_pthread.c -- the same loops on plain threads, for the thread sanitizer: it cannot see
 * into OpenMP's run-time library. Threads are started anew for each call; speed does not matter
 * here. */
#include <pthread.h>

#include "kernels/parallel.h"

enum { THREADS_MAX = 16 };

typedef struct team {
    pthread_mutex_t lock;
    int64_t next, count, n, grain;
    at_part_fn fn;
    void *ctx;
} team;

typedef struct member {
    team *team;
    int worker;
} member;

static int64_t take_part(team *t)
{
    pthread_mutex_lock(&t->lock);
    int64_t i = t->next < t->count ? t->next++ : -1;
    pthread_mutex_unlock(&t->lock);
    return i;
}

static void *work(void *arg)
{
    const member *m = arg;
    team *t = m->team;
    for (int64_t i; (i = take_part(t)) >= 0;) {
        int64_t begin = i * t->grain, end = begin + t->grain;
        t->fn(t->ctx, begin, end < t->n ? end : t->n, m->worker);
    }
    return NULL;
}

void at_parallel(const at_stream *stream, int64_t n, int64_t grain, at_part_fn fn, void *ctx)
{
    AT_ASSERT(grain > 0, "grain %lld", (long long)grain);
    team t = { PTHREAD_MUTEX_INITIALIZER, 0, (n + grain - 1) / grain, n, grain, fn, ctx };
    member members[THREADS_MAX];
    pthread_t threads[THREADS_MAX];
    int wanted = stream->threads < THREADS_MAX ? stream->threads : THREADS_MAX, started = 1;
    for (int i = 0; i < wanted; i++)
        members[i] = (member){ &t, i };
    while (started < wanted && started < t.count &&
           pthread_create(&threads[started], NULL, work, &members[started]) == 0)
        started++;
    work(&members[0]);
    while (--started > 0)
        pthread_join(threads[started], NULL);
    pthread_mutex_destroy(&t.lock);
}

void at_parallel_uneven(const at_stream *stream, int64_t n, int64_t grain, at_part_fn fn, void *ctx)
{
    at_parallel(stream, n, grain, fn, ctx);
}
