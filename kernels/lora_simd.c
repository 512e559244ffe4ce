/* lora_simd.c -- rank multiply-adds for each weight that is read and written: bound by memory up
 * to a rank of about 16, by arithmetic above. */
#include "kernels/columns.h"
#include "kernels/lora.h"
#include "kernels/variants.h"

AT_SIMD_DECLARE(at_lora);

_Static_assert((int)AT_COLUMN_WIDTH <= (int)AT_LORA_PAD,
               "a panel may not be wider than the padding");
_Static_assert(AT_LORA_ROWS % AT_PANEL_ROWS == 0, "a part is whole tiles");

enum { W = AT_COLUMN_WIDTH };

typedef struct job {
    const at_lora_args *a;
    int64_t cols, rank;
    float *panels, *workers; /* down (panels, rank, W), and each worker's own */
    float scale;
} job;

static void pack_down(void *ctx, int64_t begin, int64_t end, int worker)
{
    const job *j = ctx;
    const at_view *down = &j->a->down;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        at_columns_load(j->panels + i * W, j->rank * W, down, at_matrix_pitch(down),
                        i * at_matrix_pitch(down), 1, j->cols);
}

/* y = w + scale * sums for n rows from 'row' and the columns of one panel. */
static void store_rows(const job *j, const float *sums, int64_t row, int64_t n, int64_t col)
{
    const at_view *y = &j->a->y, *w = &j->a->w;
    const at_vf scale = at_vf_set(j->scale);
    for (int64_t r = 0; r < n; r++)
        for (int v = 0; v < AT_COLUMN_VECTORS; v++) {
            int64_t at = col + v * AT_LANES, rest = j->cols - at;
            at_vf old =
                at_vf_load_upto(w->data, (row + r) * at_matrix_pitch(w) + at, w->dtype, rest);
            at_vf sum = at_vf_load(sums, r * W + v * AT_LANES, AT_F32);
            at_vf_store_upto(y->data, (row + r) * at_matrix_pitch(y) + at, y->dtype,
                             at_vf_fma(scale, sum, old), rest);
        }
}

static void merge_rows(void *ctx, int64_t begin, int64_t end, int worker)
{
    const job *j = ctx;
    const at_view *up = &j->a->up;
    float *rows = j->workers + worker * at_lora_worker(j->rank),
          *sums = rows + AT_LORA_ROWS * j->rank;
    int64_t first = begin * at_matrix_pitch(up);
    at_rows_load(rows, j->rank, (const char *)up->data + (size_t)first * at_dtype_bytes(up->dtype),
                 at_matrix_pitch(up), up->dtype, end - begin, j->rank, j->rank);
    for (int64_t panel = 0; panel < at_column_panels(j->cols); panel++) {
        at_panel_dot(sums, rows, j->rank, j->panels + panel * j->rank * W, end - begin, j->rank,
                     AT_COLUMN_VECTORS, AT_PANEL_F32);
        store_rows(j, sums, begin, end - begin, panel * W);
    }
}

at_status AT_SIMD(at_lora)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_lora_args *a = args;
    job j = { .a = a,
              .cols = at_matrix_cols(&a->w),
              .rank = a->down.size[0],
              .panels = l->scratch,
              .scale = (float)(at_get(&a->strength, 0, 0) * (double)a->scale) };
    (void)p;
    j.workers = j.panels + at_lora_panels(j.rank, j.cols);
    at_parallel(l->stream, j.rank, 1, pack_down, &j);
    at_parallel(l->stream, a->w.size[0], AT_LORA_ROWS, merge_rows, &j);
    return AT_OK;
}
