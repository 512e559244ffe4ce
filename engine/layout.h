/* layout.h -- where each intermediate lies in the arena: blocks that are never alive together may
 * share memory. With lanes a block is alive until the first node of a lane that surely comes after
 * all who touch it. */
#ifndef AT_ENGINE_LAYOUT_H
#define AT_ENGINE_LAYOUT_H

#include "engine/device.h"

typedef struct at_block {
    size_t bytes;
    int first, last; /* the first node that touches it and the last one, in the nodes' order */
    at_lane lane;    /* of the first, which all others come after */
    /* By lane: the last node at which it is not free yet for blocks that begin on that lane; not
     * before 'last'. On the block's own lane that is 'last' if no other lane touches it. */
    int until[AT_LANE_COUNT];
    size_t offset; /* filled in */
} at_block;

enum { AT_BLOCK_ALIGN = 64 };

/* Gives every block its offset; returns the bytes of the whole. */
size_t at_layout(at_block *blocks, int n);
/* What no layout can beat: the largest sum of blocks between their first and last node at one
 * node. */
size_t at_layout_bound(const at_block *blocks, int n);

#endif
