/* layout.h -- where each intermediate lies in the arena: blocks that are never alive together may
 * share memory. */
#ifndef AT_ENGINE_LAYOUT_H
#define AT_ENGINE_LAYOUT_H

#include "kernels/base.h"

typedef struct at_block {
    size_t bytes;
    int first, last; /* the nodes between which it is alive, both included */
    size_t offset;   /* filled in */
} at_block;

enum { AT_BLOCK_ALIGN = 64 };

/* Gives every block its offset; returns the bytes of the whole. */
size_t at_layout(at_block *blocks, int n);
/* What no layout can beat: the largest sum of blocks alive at one node. */
size_t at_layout_bound(const at_block *blocks, int n);

#endif
