#include <stdlib.h>
#include <string.h>

#include "engine/plan.h"

enum { KEY_MAX = 160 };

typedef struct entry {
    char key[KEY_MAX];
    at_graph *graph;
    at_plan *plan;
    uint64_t used;
} entry;

struct at_plan_cache {
    entry *entries;
    int count, most, made;
    uint64_t clock;
};

at_plan_cache *at_plan_cache_new(int most)
{
    AT_ASSERT(most > 0, "a cache of %d plans", most);
    at_plan_cache *c = calloc(1, sizeof *c);
    AT_ASSERT(c, "no memory for a plan cache");
    c->entries = calloc((size_t)most, sizeof *c->entries);
    AT_ASSERT(c->entries, "no memory for %d plans", most);
    c->most = most;
    return c;
}

static void drop(entry *e)
{
    at_plan_free(e->plan);
    at_graph_free(e->graph);
    memset(e, 0, sizeof *e);
}

void at_plan_cache_free(at_plan_cache *cache)
{
    if (!cache)
        return;
    for (int i = 0; i < cache->count; i++)
        drop(&cache->entries[i]);
    free(cache->entries);
    free(cache);
}

/* A free entry, or that of the plan which was not used for longest. */
static entry *take_entry(at_plan_cache *cache)
{
    if (cache->count < cache->most)
        return &cache->entries[cache->count++];
    entry *oldest = &cache->entries[0];
    for (int i = 1; i < cache->count; i++)
        if (cache->entries[i].used < oldest->used)
            oldest = &cache->entries[i];
    drop(oldest);
    return oldest;
}

at_status at_plan_cache_get(at_plan_cache *cache, const char *key, at_plan_make make, void *ctx,
                            at_plan **plan, at_error *err)
{
    AT_ASSERT(strlen(key) < KEY_MAX, "key '%s' is longer than %d", key, KEY_MAX - 1);
    cache->clock++;
    for (int i = 0; i < cache->count; i++)
        if (cache->entries[i].plan && !strcmp(cache->entries[i].key, key)) {
            cache->entries[i].used = cache->clock;
            *plan = cache->entries[i].plan;
            return AT_OK;
        }
    at_graph *graph = NULL;
    *plan = NULL;
    at_status status = make(ctx, key, &graph, plan, err);
    if (status != AT_OK) {
        at_graph_free(graph);
        return status;
    }
    entry *e = take_entry(cache);
    memcpy(e->key, key, strlen(key) + 1);
    e->graph = graph;
    e->plan = *plan;
    e->used = cache->clock;
    cache->made++;
    return AT_OK;
}

int at_plan_cache_made(const at_plan_cache *cache)
{
    return cache->made;
}
