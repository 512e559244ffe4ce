/* reduce.h -- how a reduction walks through memory and is cut: by sizes only, and for sums of one
 * sample or one row by its own sizes only. */
#ifndef AT_KERNELS_REDUCE_H
#define AT_KERNELS_REDUCE_H

#include "kernels/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

/* 'groups' stretches of memory, 'group_step' elements apart. Down: each group is 'rows' rows,
 * 'step' apart, that are added up to one row of 'cols'. Otherwise each group is a row of 'cols'
 * elements, 'pitch' apart, that are added up to a number. */
typedef struct at_reduce_walk {
    int64_t groups, group_step, rows, step, cols, pitch;
    bool down;
} at_reduce_walk;

at_reduce_walk at_reduce_walk_of(const at_reduce_args *a);

enum {
    AT_REDUCE_TILE = 1024,   /* columns that are added up at a time when going down */
    AT_REDUCE_PART = 65536,  /* elements of a tile that one part adds up */
    AT_REDUCE_ALONG = 16384, /* elements of a row that one part adds up */
};

/* Going down: rows that one part adds up, and parts of a group. */
static inline int64_t at_reduce_block(const at_reduce_walk *w)
{
    return AT_REDUCE_PART / (w->cols < AT_REDUCE_TILE ? w->cols : (int64_t)AT_REDUCE_TILE);
}

static inline int64_t at_reduce_blocks(const at_reduce_walk *w)
{
    return (w->rows + at_reduce_block(w) - 1) / at_reduce_block(w);
}

/* Along: parts of a row. */
static inline int64_t at_reduce_pieces(const at_reduce_walk *w)
{
    return (w->cols + AT_REDUCE_ALONG - 1) / AT_REDUCE_ALONG;
}

/* Sums of parts: going down, floats of a row's width for each block; else a double a piece. */
static inline size_t at_reduce_scratch(const at_reduce_walk *w, int over)
{
    if (w->down)
        return at_reduce_blocks(w) > 1
                   ? (size_t)(w->groups * at_reduce_blocks(w) * w->cols) * sizeof(float)
                   : 0;
    if (over == AT_OVER_COLS && at_reduce_pieces(w) == 1)
        return 0;
    return (size_t)(w->groups * at_reduce_pieces(w)) * sizeof(double);
}

#ifdef __cplusplus
}
#endif
#endif
