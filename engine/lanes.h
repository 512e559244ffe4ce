/* lanes.h -- which node waits for which when the nodes of a plan run on several lanes.
 *
 * Nodes of one lane run in the order in which they were added. Nodes of two lanes run side by side
 * unless one waits for the other: it does where both touch the same memory and one of them writes,
 * and only where the order does not follow from other waits. A run begins and ends on the compute
 * lane, so that one run comes after the other whole. Whoever makes the object owns it; one thread
 * at a time. */
#ifndef AT_ENGINE_LANES_H
#define AT_ENGINE_LANES_H

#include "engine/device.h"

typedef struct at_lanes at_lanes;

typedef struct at_touch {
    int memory; /* a number from 0; what has the same number is the same memory */
    bool writes;
} at_touch;

typedef struct at_waits {
    int after[AT_LANE_COUNT]; /* the node of that lane that must be done before; -1: none */
    bool forks;               /* the first of its lane, after nothing but the begin of the run */
} at_waits;

at_lanes *at_lanes_new(int nodes_most, int memories);
void at_lanes_free(at_lanes *l);
/* Adds the next node, with all that it reads and writes. */
void at_lanes_add(at_lanes *l, at_lane lane, const at_touch *touches, int n);
/* After the last node: what the compute lane waits for before the run is over. */
void at_lanes_end(at_lanes *l);

/* Of node i; of the end, for i = the number of nodes. */
const at_waits *at_lanes_waits(const at_lanes *l, int i);
/* True if a node of another lane, or the end, waits for node i. */
bool at_lanes_awaited(const at_lanes *l, int i);
/* True if node i is done when node j begins, on every device and every time. */
bool at_lanes_before(const at_lanes *l, int i, int j);
bool at_lanes_used(const at_lanes *l, at_lane lane);
/* The last node of 'lane', or any node between, at which memory is not yet free that was used last
 * by node last[k] of each lane k (-1: never): nodes of 'lane' after it may use it anew. The number
 * of nodes if there is none in this run. */
int at_lanes_until(const at_lanes *l, const int last[AT_LANE_COUNT], at_lane lane);

#endif
