/* spread.h -- a small operand laid over a large one: what binary and broadcast share. */
#ifndef AT_KERNELS_SPREAD_H
#define AT_KERNELS_SPREAD_H

#include "kernels/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

/* 'small' must fit over 'large' as 'spread' says. */
at_status at_expect_spread(const char *op, const char *name, const at_view *small,
                           const at_view *large, int spread, at_error *err);

/* Where an element of the large operand finds its partner. Elements are counted without the gaps
 * of a pitch; when 'dense', rows are as long as the small operand allows. Element e is in row
 * r = e / cols, its partner in row r / every % rows of the small operand. */
typedef struct at_spread_map {
    int64_t cols, every, rows, pitch;
    int64_t period; /* not 0: the small operand's row is this short and is repeated in a pattern */
    bool dense;
} at_spread_map;

/* 'dense': the large operand and all views of its shape are. */
at_spread_map at_spread_map_of(const at_view *large, const at_view *small, int spread, bool dense);

static inline int64_t at_spread_row(const at_spread_map *m, int64_t e)
{
    return e / m->cols / m->every % m->rows;
}

/* Where element e is in the memory of a view of the large shape. */
static inline int64_t at_spread_index(const at_spread_map *m, const at_view *v, int64_t e)
{
    return m->dense ? e : e / m->cols * v->pitch + e % m->cols;
}

/* Patterns hold at most this many elements, and a phase more. */
enum { AT_PATTERN = 512, AT_PATTERN_PERIOD_MAX = 64 };

/* How many elements from e on lie in one run of memory and under one row of the small operand, and
 * where there is a pattern, within it. */
static inline int64_t at_spread_run(const at_spread_map *m, int64_t e, int64_t end)
{
    int64_t span = m->period && m->dense ? m->cols * m->every : m->cols, n = span - e % span;
    if (m->period && n > AT_PATTERN)
        n = AT_PATTERN / m->period * m->period;
    return n < end - e ? n : end - e;
}

#ifdef __cplusplus
}
#endif
#endif
