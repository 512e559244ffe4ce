/* layout.c -- greedy by size: the largest blocks are placed first, each at the lowest offset that
 * is free for its whole life. On the graphs of this program that is within a few percent of the
 * lower bound; a second order (by size times life) is tried as well, and the better of the two is
 * kept. */
#include "engine/layout.h"

#include <stdlib.h>
#include <string.h>

static size_t aligned(size_t bytes)
{
    return (bytes + AT_BLOCK_ALIGN - 1) / AT_BLOCK_ALIGN * AT_BLOCK_ALIGN;
}

typedef struct placing {
    const at_block *blocks;
    int *order;     /* in which blocks are placed */
    int *by_offset; /* placed blocks, by rising offset */
    size_t *offset;
} placing;

static bool alive_together(const at_block *a, const at_block *b)
{
    return a->first <= b->until[a->lane] && b->first <= a->until[b->lane];
}

/* The lowest gap between the placed blocks that live with 'i'. */
static size_t find_gap(const placing *p, int placed, int i)
{
    size_t need = aligned(p->blocks[i].bytes), at = 0;
    for (int k = 0; k < placed; k++) {
        int j = p->by_offset[k];
        if (!alive_together(&p->blocks[i], &p->blocks[j]))
            continue;
        if (p->offset[j] >= at + need)
            break;
        size_t end = p->offset[j] + aligned(p->blocks[j].bytes);
        at = end > at ? end : at;
    }
    return at;
}

static size_t place_all(placing *p, int n)
{
    size_t top = 0;
    for (int placed = 0; placed < n; placed++) {
        int i = p->order[placed];
        size_t at = p->offset[i] = find_gap(p, placed, i);
        int k = placed;
        for (; k > 0 && p->offset[p->by_offset[k - 1]] > at; k--)
            p->by_offset[k] = p->by_offset[k - 1];
        p->by_offset[k] = i;
        size_t end = at + aligned(p->blocks[i].bytes);
        top = end > top ? end : top;
    }
    return top;
}

typedef struct ranked {
    double weight;
    int first, index;
} ranked;

static int heavier_first(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->weight != y->weight)
        return x->weight > y->weight ? -1 : 1;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static void rank(placing *p, ranked *r, int n, int by_life)
{
    for (int i = 0; i < n; i++) {
        const at_block *b = &p->blocks[i];
        double life = by_life ? (double)(b->last - b->first + 1) : 1;
        r[i] = (ranked){ (double)b->bytes * life, b->first, i };
    }
    qsort(r, (size_t)n, sizeof *r, heavier_first);
    for (int i = 0; i < n; i++)
        p->order[i] = r[i].index;
}

size_t at_layout(at_block *blocks, int n)
{
    if (!n)
        return 0;
    size_t count = (size_t)n, best = SIZE_MAX;
    int *ints = malloc(2 * count * sizeof *ints);
    size_t *offset = malloc(count * sizeof *offset);
    ranked *r = malloc(count * sizeof *r);
    AT_ASSERT(ints && offset && r, "no memory to lay out %d blocks", n);
    placing p = { blocks, ints, ints + n, offset };
    for (int by_life = 0; by_life < 2; by_life++) {
        rank(&p, r, n, by_life);
        size_t top = place_all(&p, n);
        for (int i = 0; i < n && top < best; i++)
            blocks[i].offset = offset[i];
        best = top < best ? top : best;
    }
    free(ints);
    free(offset);
    free(r);
    return best;
}

size_t at_layout_bound(const at_block *blocks, int n)
{
    int last = -1;
    for (int i = 0; i < n; i++)
        last = blocks[i].last > last ? blocks[i].last : last;
    size_t *change = calloc((size_t)last + 2, 2 * sizeof *change), alive = 0, most = 0;
    AT_ASSERT(change, "no memory for %d nodes", last + 1);
    size_t *born = change, *gone = change + last + 2;
    for (int i = 0; i < n; i++) {
        born[blocks[i].first] += aligned(blocks[i].bytes);
        gone[blocks[i].last + 1] += aligned(blocks[i].bytes);
    }
    for (int t = 0; t <= last; t++) {
        alive += born[t] - gone[t];
        most = alive > most ? alive : most;
    }
    free(change);
    return most;
}
