#include "kernels/spread.h"

#include "kernels/shape.h"

at_status at_expect_spread(const char *op, const char *name, const at_view *small,
                           const at_view *large, int spread, at_error *err)
{
    switch ((at_spread)spread) {
    case AT_SAME: return at_expect_like(op, name, small, large, err);
    case AT_SUFFIX:
        AT_TRY(at_expect_rank(op, name, small, 1, large->rank, err));
        return at_expect_sizes(op, name, small, small->rank,
                               large->size + large->rank - small->rank, err);
    case AT_PER_SAMPLE:
        if (large->rank < 2)
            return at_fail(err, AT_INVALID, "%s: %s is one row per sample, but there is one axis",
                           op, name);
        return at_expect_sizes(op, name, small, 2,
                               (const int64_t[]){ large->size[0], at_cols(large) }, err);
    case AT_SCALAR: return at_expect_vector(op, name, small, 1, err);
    }
    return at_fail(err, AT_INVALID, "%s: spread %d does not exist", op, spread);
}

at_spread_map at_spread_map_of(const at_view *large, const at_view *small, int spread, bool dense)
{
    int64_t rows = at_rows(large), elements = at_elements(large);
    at_spread_map m = { at_cols(large), 1, rows, small->pitch, 0, dense };
    switch ((at_spread)spread) {
    case AT_SAME:
        if (dense && at_dense(small))
            m = (at_spread_map){ elements, 1, 1, elements, 0, true };
        break;
    case AT_SUFFIX:
        m.rows = at_rows(small);
        if (dense && at_dense(small))
            m.cols = m.pitch = at_elements(small), m.rows = 1;
        if (m.rows == 1)
            m.every = elements / m.cols;
        break;
    case AT_PER_SAMPLE:
        m.every = rows / large->size[0];
        m.rows = large->size[0];
        break;
    case AT_SCALAR:
        m.every = rows;
        m.rows = 1;
        m.period = 1;
        break;
    }
    if (dense && m.every > 1 && m.cols <= AT_PATTERN_PERIOD_MAX && !m.period)
        m.period = m.cols;
    return m;
}
