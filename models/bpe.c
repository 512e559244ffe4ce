/* The pairs are a hash table that is at most half full and never shrinks. A word is a list of
 * symbols in an array; the merges that are possible wait in a heap, and one whose symbols are no
 * longer what they were is dropped when its turn comes. So a word of n bytes takes n log n steps,
 * also where somebody wrote a hundred thousand letters without a blank. */
#include "models/bpe.h"

#include <stdlib.h>

enum { WORD_MAX = 1 << 28 /* symbols; places are int32_t */ };

typedef struct pair {
    uint32_t left, right, rank, result; /* a free one has the rank FREE */
} pair;

static const uint32_t FREE = UINT32_MAX;

struct at_bpe {
    pair *table;
    size_t mask, count, pairs_max;
};

struct at_bpe_merge {
    uint32_t rank, result;
    int32_t at; /* of its left symbol */
};

/* --- pairs ------------------------------------------------------------------------------------ */

at_status at_bpe_new(at_bpe **out, size_t pairs_max, at_error *err)
{
    size_t room = 16;
    AT_ASSERT(pairs_max < FREE, "%zu pairs", pairs_max);
    while (room < 2 * pairs_max)
        room *= 2;
    at_bpe *b = calloc(1, sizeof *b);
    pair *table = malloc(room * sizeof *table);
    if (!b || !table) {
        free(b);
        free(table);
        return at_fail(err, AT_NO_MEMORY, "no memory for %zu pairs of symbols", pairs_max);
    }
    for (size_t i = 0; i < room; i++)
        table[i].rank = FREE;
    *b = (at_bpe){ table, room - 1, 0, pairs_max };
    *out = b;
    return AT_OK;
}

void at_bpe_free(at_bpe *b)
{
    if (b)
        free(b->table);
    free(b);
}

/* Where the pair is, or the free place where it would be. */
static pair *find_pair(const at_bpe *b, uint32_t left, uint32_t right)
{
    uint64_t key = ((uint64_t)left << 32 | right) * UINT64_C(0x9e3779b97f4a7c15);
    for (size_t i = (size_t)(key >> 32);; i++) {
        pair *p = &b->table[i & b->mask];
        if (p->rank == FREE || (p->left == left && p->right == right))
            return p;
    }
}

void at_bpe_add(at_bpe *b, uint32_t left, uint32_t right, uint32_t result)
{
    AT_ASSERT(b->count < b->pairs_max, "more than %zu pairs", b->pairs_max);
    *find_pair(b, left, right) = (pair){ left, right, (uint32_t)b->count++, result };
}

/* --- words ------------------------------------------------------------------------------------ */

void at_bpe_word_free(at_bpe_word *w)
{
    free(w->ids);
    free(w->before);
    free(w->after);
    free(w->heap);
    *w = (at_bpe_word){ 0 };
}

at_status at_bpe_word_reserve(at_bpe_word *w, size_t count, at_error *err)
{
    size_t room = w->room ? w->room : 64;
    if (count <= w->room)
        return AT_OK;
    if (count > WORD_MAX)
        return at_fail(err, AT_INVALID, "a word of %zu bytes is over the limit of %d", count,
                       WORD_MAX);
    while (room < count)
        room *= 2;
    at_bpe_word_free(w);
    w->ids = malloc(room * sizeof *w->ids);
    w->before = malloc(room * sizeof *w->before);
    w->after = malloc(room * sizeof *w->after);
    w->heap = malloc(3 * room * sizeof *w->heap);
    if (!w->ids || !w->before || !w->after || !w->heap) {
        at_bpe_word_free(w);
        return at_fail(err, AT_NO_MEMORY, "no memory for a word of %zu bytes", count);
    }
    w->room = room;
    return AT_OK;
}

static bool is_sooner(const at_bpe_merge *a, const at_bpe_merge *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

/* Returns the new number of merges that wait. */
static size_t push(at_bpe_merge *heap, size_t n, at_bpe_merge m)
{
    size_t i = n;
    while (i > 0 && is_sooner(&m, &heap[(i - 1) / 2])) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = m;
    return n + 1;
}

/* The first one leaves. */
static size_t pop(at_bpe_merge *heap, size_t n)
{
    at_bpe_merge last = heap[--n];
    size_t i = 0;
    for (size_t child = 1; child < n; child = 2 * i + 1) {
        child += child + 1 < n && is_sooner(&heap[child + 1], &heap[child]);
        if (!is_sooner(&heap[child], &last))
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return n;
}

/* The merge of a symbol with the one behind it, if there is one. */
static size_t push_pair(const at_bpe *b, at_bpe_word *w, size_t n, int32_t at)
{
    if (at < 0 || w->after[at] < 0)
        return n;
    const pair *p = find_pair(b, w->ids[at], w->ids[w->after[at]]);
    return p->rank == FREE ? n : push(w->heap, n, (at_bpe_merge){ p->rank, p->result, at });
}

/* The symbol behind 'at' goes into it. */
static void join(at_bpe_word *w, int32_t at, uint32_t result)
{
    int32_t gone = w->after[at], next = w->after[gone];
    w->ids[at] = result;
    w->after[at] = next;
    if (next >= 0)
        w->before[next] = at;
    w->before[gone] = gone; /* the mark of one that is gone: nothing stands before itself */
    w->after[gone] = -1;
}

/* A merge is as good as any with the same result where it stands: symbols only grow, so two
 * different halves of one text do not follow each other at a place. */
void at_bpe_merge_word(const at_bpe *b, at_bpe_word *w)
{
    int32_t count = (int32_t)w->count;
    size_t n = 0, kept = 0;
    AT_ASSERT(w->count <= w->room, "%zu symbols, room for %zu", w->count, w->room);
    for (int32_t i = 0; i < count; i++) {
        w->before[i] = i - 1;
        w->after[i] = i + 1 < count ? i + 1 : -1;
    }
    for (int32_t i = 0; i < count; i++)
        n = push_pair(b, w, n, i);
    while (n > 0) {
        at_bpe_merge m = w->heap[0];
        n = pop(w->heap, n);
        int32_t next = w->after[m.at];
        if (w->before[m.at] == m.at || next < 0)
            continue;
        const pair *p = find_pair(b, w->ids[m.at], w->ids[next]);
        if (p->rank == FREE || p->result != m.result)
            continue;
        join(w, m.at, m.result);
        n = push_pair(b, w, n, w->before[m.at]);
        n = push_pair(b, w, n, m.at);
    }
    for (int32_t i = 0; i < count; i++)
        if (w->before[i] != i)
            w->ids[kept++] = w->ids[i];
    w->count = kept;
}
