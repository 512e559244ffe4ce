/* columns.h -- rows of any type cut into panels of columns, panel[row][lane], for products of what
 * already lies in rows. Included by *_simd.c files only. */
#ifndef AT_KERNELS_COLUMNS_H
#define AT_KERNELS_COLUMNS_H

#include "kernels/panel.h"

/* Columns side by side: where registers are many, two vectors waste fewer columns than three and
 * keep the multipliers as busy. */
enum {
    AT_COLUMN_VECTORS = AT_LANES == 8 ? 3 : 2,
    AT_COLUMN_WIDTH = AT_COLUMN_VECTORS * AT_LANES,
};
_Static_assert((int)AT_COLUMN_WIDTH % (int)AT_PANEL_ROWS == 0,
               "at_panel_add() takes whole rows of a tile");

static inline int64_t at_column_panels(int64_t columns)
{
    return (columns + AT_COLUMN_WIDTH - 1) / AT_COLUMN_WIDTH;
}

AT_INLINE void at_columns_load_as(float *panels, int64_t step, const void *rows, int64_t pitch,
                                  int64_t n, int64_t columns, const at_dtype type)
{
    for (int64_t r = 0; r < n; r++) {
        float *out = panels + r * AT_COLUMN_WIDTH;
        for (int64_t c = 0; c < columns; c += AT_COLUMN_WIDTH, out += step)
            AT_UNROLL for (int v = 0; v < AT_COLUMN_VECTORS; v++)
            {
                int64_t at = c + v * AT_LANES;
                at_panel_set(out, v, at_vf_load_upto(rows, r * pitch + at, type, columns - at));
            }
    }
}

/* Panels 'step' floats apart from n rows of 'columns' elements, beginning with element 'first' of
 * 'rows'; zeros in columns that do not exist. */
static inline void at_columns_load(float *panels, int64_t step, const at_view *rows, int64_t pitch,
                                   int64_t first, int64_t n, int64_t columns)
{
    const char *p = (const char *)rows->data + (size_t)first * at_dtype_bytes(rows->dtype);
    if (rows->dtype == AT_F32)
        at_columns_load_as(panels, step, p, pitch, n, columns, AT_F32);
    else if (rows->dtype == AT_BF16)
        at_columns_load_as(panels, step, p, pitch, n, columns, AT_BF16);
    else
        at_columns_load_as(panels, step, p, pitch, n, columns, AT_F16);
}

#endif
