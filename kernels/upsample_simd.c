/* upsample_simd.c -- bound by memory, mostly by the writing. */
#include "kernels/box.h"
#include "kernels/variants.h"
#include "kernels/vec.h"

AT_SIMD_DECLARE(at_upsample_nearest);
AT_SIMD_DECLARE(at_upsample_nearest_bwd);

/* Rows [begin, end) of B * Ho. A row of x that serves several rows of y is read from cache after
 * the first time. */
AT_INLINE void copy_rows(const at_upsample_nearest_args *a, int64_t begin, int64_t end,
                         bool streams)
{
    int64_t Ho = a->y.size[1], Wo = a->y.size[2], H = a->x.size[1], W = a->x.size[2];
    size_t bytes = (size_t)a->x.size[3] * at_dtype_bytes(a->x.dtype);
    for (int64_t r = begin; r < end; r++) {
        int64_t from = (r / Ho * H + r % Ho * H / Ho) * W;
        at_walk col = at_walk_start(W, 1 - Wo, Wo); /* floor(j * W / Wo) */
        for (int64_t j = 0; j < Wo; j++, at_walk_next(&col)) {
            void *y = at_row(&a->y, r * Wo + j);
            const void *x = at_row(&a->x, from + col.at);
            if (streams)
                at_stream_copy(y, x, bytes);
            else
                memcpy(y, x, bytes);
        }
    }
}

static void copy_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    const at_upsample_nearest_args *a = ctx;
    (void)worker;
    size_t pixel_bytes = (size_t)a->y.size[3] * at_dtype_bytes(a->y.dtype);
    if (pixel_bytes >= 128 && at_view_bytes(&a->y) >= AT_STREAM_BYTES) {
        copy_rows(a, begin, end, true);
        at_stream_end();
    } else {
        copy_rows(a, begin, end, false);
    }
}

at_status AT_SIMD(at_upsample_nearest)(const void *args, const at_prepared *p, const at_launch *l)
{
    at_upsample_nearest_args a = *(const at_upsample_nearest_args *)args;
    (void)p;
    int64_t rows = a.y.size[0] * a.y.size[1];
    double bytes = (double)(a.y.size[2] * a.y.size[3]) * (double)at_dtype_bytes(a.y.dtype);
    at_parallel(l->stream, rows, at_grain(rows, bytes), copy_part, &a);
    return AT_OK;
}

/* Row h was taken by the rows i with h <= i * H / Ho < h + 1. */
at_status AT_SIMD(at_upsample_nearest_bwd)(const void *args, const at_prepared *p,
                                           const at_launch *l)
{
    const at_upsample_nearest_bwd_args *a = args;
    (void)p;
    int64_t H = a->dx.size[1], W = a->dx.size[2], Ho = a->dy.size[1], Wo = a->dy.size[2];
    const at_box box = { a->dx, a->dy, { { Ho, 0, Ho, H }, { Wo, 0, Wo, W } }, 1.0f };
    AT_SIMD(at_box_sum)(&box, l->stream);
    return AT_OK;
}
