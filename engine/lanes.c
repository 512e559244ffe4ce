/* lanes.c -- every node has a clock: for each lane the last node that is done when it begins. A
 * lane's next node inherits the clock of the one before it, and a wait takes over the clock of the
 * node that is waited for; so one look tells whether an order is there already. */
#include "engine/lanes.h"

#include <stdlib.h>
#include <string.h>

typedef struct node {
    at_lane lane;
    int clock[AT_LANE_COUNT]; /* -1: nothing of that lane; its own lane: itself */
    at_waits waits;
    bool awaited;
} node;

/* Who touched a memory last, on each lane; -1: nobody. */
typedef struct memory {
    int read[AT_LANE_COUNT], written[AT_LANE_COUNT];
} memory;

struct at_lanes {
    node *nodes; /* the last is the end */
    int n, most;
    memory *memories;
    int n_memories;
    int *of_lane[AT_LANE_COUNT]; /* its nodes, in order */
    int count[AT_LANE_COUNT];
};

static void set_none(int index[AT_LANE_COUNT])
{
    for (int k = 0; k < AT_LANE_COUNT; k++)
        index[k] = -1;
}

static void raise(int index[AT_LANE_COUNT], const int to[AT_LANE_COUNT])
{
    for (int k = 0; k < AT_LANE_COUNT; k++)
        index[k] = to[k] > index[k] ? to[k] : index[k];
}

at_lanes *at_lanes_new(int nodes_most, int memories)
{
    at_lanes *l = calloc(1, sizeof *l);
    AT_ASSERT(l && nodes_most >= 0 && memories >= 0, "lanes of %d nodes", nodes_most);
    size_t n = (size_t)nodes_most + 1;
    l->most = nodes_most;
    l->n_memories = memories;
    l->nodes = calloc(n, sizeof *l->nodes);
    l->memories = calloc((size_t)memories + 1, sizeof *l->memories);
    l->of_lane[0] = calloc(n * AT_LANE_COUNT, sizeof *l->of_lane[0]);
    AT_ASSERT(l->nodes && l->memories && l->of_lane[0], "no memory for lanes of %d nodes",
              nodes_most);
    for (int k = 1; k < AT_LANE_COUNT; k++)
        l->of_lane[k] = l->of_lane[0] + n * (size_t)k;
    for (int m = 0; m < memories; m++) {
        set_none(l->memories[m].read);
        set_none(l->memories[m].written);
    }
    return l;
}

void at_lanes_free(at_lanes *l)
{
    if (!l)
        return;
    free(l->nodes);
    free(l->memories);
    free(l->of_lane[0]);
    free(l);
}

static int last_of(const at_lanes *l, int lane)
{
    return l->count[lane] ? l->of_lane[lane][l->count[lane] - 1] : -1;
}

/* Forgets what is done anyway when the lane's node before is done, or another that is waited
 * for. */
static void drop_implied(const at_lanes *l, const int clock[AT_LANE_COUNT], int need[AT_LANE_COUNT])
{
    for (int k = 0; k < AT_LANE_COUNT; k++)
        if (need[k] <= clock[k])
            need[k] = -1;
    for (int k = 0; k < AT_LANE_COUNT; k++)
        for (int other = 0; other < AT_LANE_COUNT; other++)
            if (need[k] >= 0 && other != k && need[other] >= 0 &&
                l->nodes[need[other]].clock[k] >= need[k])
                need[k] = -1;
}

/* Writes the waits and the clock of node i of a lane, which must come after need[k] of lane k. */
static void settle(at_lanes *l, int i, at_lane lane, int need[AT_LANE_COUNT])
{
    node *n = &l->nodes[i];
    int before = last_of(l, (int)lane);
    n->lane = lane;
    n->waits.forks = before < 0 && lane != AT_LANE_COMPUTE;
    set_none(n->clock);
    if (before >= 0)
        raise(n->clock, l->nodes[before].clock);
    need[lane] = -1; /* the lane's own order sees to that */
    drop_implied(l, n->clock, need);
    for (int k = 0; k < AT_LANE_COUNT; k++) {
        n->waits.after[k] = need[k];
        if (need[k] < 0)
            continue;
        raise(n->clock, l->nodes[need[k]].clock);
        l->nodes[need[k]].awaited = true;
        n->waits.forks = false;
    }
    n->clock[lane] = i;
}

void at_lanes_add(at_lanes *l, at_lane lane, const at_touch *touches, int n)
{
    int need[AT_LANE_COUNT], i = l->n;
    AT_ASSERT(i < l->most && lane < AT_LANE_COUNT, "node %d of %d on lane %d", i, l->most,
              (int)lane);
    set_none(need);
    for (int t = 0; t < n; t++) {
        AT_ASSERT(touches[t].memory >= 0 && touches[t].memory < l->n_memories, "memory %d of %d",
                  touches[t].memory, l->n_memories);
        const memory *m = &l->memories[touches[t].memory];
        raise(need, m->written);
        if (touches[t].writes)
            raise(need, m->read);
    }
    settle(l, i, lane, need);
    for (int t = 0; t < n; t++) {
        memory *m = &l->memories[touches[t].memory];
        *(touches[t].writes ? &m->written[lane] : &m->read[lane]) = i;
    }
    l->of_lane[lane][l->count[lane]++] = i;
    l->n++;
}

void at_lanes_end(at_lanes *l)
{
    int need[AT_LANE_COUNT];
    for (int k = 0; k < AT_LANE_COUNT; k++)
        need[k] = last_of(l, k);
    settle(l, l->n, AT_LANE_COMPUTE, need);
}

const at_waits *at_lanes_waits(const at_lanes *l, int i)
{
    AT_ASSERT(i >= 0 && i <= l->n, "node %d of %d", i, l->n);
    return &l->nodes[i].waits;
}

bool at_lanes_awaited(const at_lanes *l, int i)
{
    AT_ASSERT(i >= 0 && i < l->n, "node %d of %d", i, l->n);
    return l->nodes[i].awaited;
}

bool at_lanes_before(const at_lanes *l, int i, int j)
{
    AT_ASSERT(i >= 0 && i < l->n && j >= 0 && j <= l->n, "nodes %d and %d of %d", i, j, l->n);
    return i < j && l->nodes[j].clock[l->nodes[i].lane] >= i;
}

bool at_lanes_used(const at_lanes *l, at_lane lane)
{
    return l->count[lane] > 0;
}

/* True if node i begins when all of last[] are done. */
static bool comes_after(const at_lanes *l, int i, const int last[AT_LANE_COUNT])
{
    for (int k = 0; k < AT_LANE_COUNT; k++)
        if (last[k] >= i || l->nodes[i].clock[k] < last[k])
            return false;
    return true;
}

/* Along a lane it is first false, then true for good. */
int at_lanes_until(const at_lanes *l, const int last[AT_LANE_COUNT], at_lane lane)
{
    const int *nodes = l->of_lane[lane];
    int low = 0, high = l->count[lane];
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (comes_after(l, nodes[middle], last))
            high = middle;
        else
            low = middle + 1;
    }
    return low < l->count[lane] ? nodes[low] - 1 : l->n;
}
