/* pool_simd.c -- bound by memory: a forward op reads each element once, the gradient of the largest
 * reads x once from memory and again from cache. */
#include "kernels/box.h"
#include "kernels/variants.h"
#include "kernels/vec.h"

AT_SIMD_DECLARE(at_max_pool2d);
AT_SIMD_DECLARE(at_max_pool2d_bwd);
AT_SIMD_DECLARE(at_avg_pool2d);
AT_SIMD_DECLARE(at_avg_pool2d_bwd);

/* A window of x, cut off at the picture's border. */
typedef struct window {
    const char *corner;
    int64_t row_bytes, col_bytes, rows, cols;
} window;

AT_INLINE window window_at(const at_view *x, int64_t b, int64_t top, int64_t left,
                           const int64_t *kernel)
{
    int64_t H = x->size[1], W = x->size[2];
    int64_t col_bytes = x->pitch * (int64_t)at_dtype_bytes(x->dtype);
    return (window){ at_row(x, (b * H + top) * W + left), W * col_bytes, col_bytes,
                     kernel[0] < H - top ? kernel[0] : H - top,
                     kernel[1] < W - left ? kernel[1] : W - left };
}

AT_INLINE at_vf load(at_dtype type, const char *x, int64_t i, int rest)
{
    return rest ? at_vf_load_n(x, i, type, rest, 0.0f) : at_vf_load(x, i, type);
}

/* All ones where v takes the place of best: it is larger, or the first that is not a number. */
AT_INLINE at_vi beats(at_vf v, at_vf best)
{
    return (v > best) | ((v != v) & (best == best));
}

/* The one of the two that stays by that rule. */
AT_INLINE at_vf larger(at_vf v, at_vf best)
{
    return at_vf_select(v != v, v, at_vf_max(v, best));
}

/* --- largest ---------------------------------------------------------------------------------- */

/* Channels [i, i + n * AT_LANES), or the first 'rest' of a vector where rest is not 0. */
AT_INLINE void largest_vectors(at_dtype type, void *y, const window *s, int64_t i, int n, int rest)
{
    at_vf best[4];
    for (int k = 0; k < n; k++)
        best[k] = load(type, s->corner, i + k * AT_LANES, rest);
    for (int64_t r = 0; r < s->rows; r++)
        for (int64_t c = r == 0; c < s->cols; c++)
            for (int k = 0; k < n; k++) {
                at_vf v = load(type, s->corner + r * s->row_bytes + c * s->col_bytes,
                               i + k * AT_LANES, rest);
                best[k] = larger(v, best[k]);
            }
    for (int k = 0; k < n; k++)
        if (rest)
            at_vf_store_n(y, i, type, best[k], rest);
        else
            at_vf_store_exact(y, i + k * AT_LANES, type, best[k]);
}

/* Rows [begin, end) of B * Ho. */
AT_INLINE void largest_rows(at_dtype type, const at_max_pool2d_args *a, int64_t begin, int64_t end)
{
    int64_t Ho = a->y.size[1], Wo = a->y.size[2], C = a->y.size[3];
    for (int64_t r = begin; r < end; r++)
        for (int64_t j = 0; j < Wo; j++) {
            void *y = at_row(&a->y, r * Wo + j);
            const window s =
                window_at(&a->x, r / Ho, r % Ho * a->stride[0], j * a->stride[1], a->kernel);
            int64_t i = 0;
            for (; i + 4 * AT_LANES <= C; i += 4 * AT_LANES)
                largest_vectors(type, y, &s, i, 4, 0);
            for (; i + AT_LANES <= C; i += AT_LANES)
                largest_vectors(type, y, &s, i, 1, 0);
            if (i < C)
                largest_vectors(type, y, &s, i, 1, (int)(C - i));
        }
}

static void largest_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    const at_max_pool2d_args *a = ctx;
    (void)worker;
    if (a->x.dtype == AT_F32)
        largest_rows(AT_F32, a, begin, end);
    else if (a->x.dtype == AT_BF16)
        largest_rows(AT_BF16, a, begin, end);
    else
        largest_rows(AT_F16, a, begin, end);
}

/* Parts of rows of 'out', which with 'in' makes up the traffic. */
static void run_rows(const at_stream *stream, const at_view *out, const at_view *in, at_part_fn fn,
                     void *ctx)
{
    int64_t rows = out->size[0] * out->size[1];
    double bytes =
        (double)(at_elements(out) + at_elements(in)) * (double)at_dtype_bytes(out->dtype);
    at_parallel(stream, rows, at_grain(rows, bytes / (double)rows), fn, ctx);
}

at_status AT_SIMD(at_max_pool2d)(const void *args, const at_prepared *p, const at_launch *l)
{
    at_max_pool2d_args a = *(const at_max_pool2d_args *)args;
    (void)p;
    run_rows(l->stream, &a.y, &a.x, largest_part, &a);
    return AT_OK;
}

/* --- gradient of the largest, windows that do not overlap ------------------------------------- */

/* Writes dy where a vector of channels has its first largest element in the window, else 0. 'to' is
 * the same window of dx. */
AT_INLINE void route_vector(at_dtype type, const window *to, const window *s, at_vf dy, int64_t i,
                            int rest)
{
    at_vf best = load(type, s->corner, i, rest);
    at_vi winner = { 0 };
    for (int64_t r = 0; r < s->rows; r++)
        for (int64_t c = r == 0; c < s->cols; c++) {
            at_vf v = load(type, s->corner + r * s->row_bytes + c * s->col_bytes, i, rest);
            at_vi better = beats(v, best);
            winner = (winner & ~better) | (better & (int32_t)(r * s->cols + c));
            best = larger(v, best);
        }
    for (int64_t r = 0; r < s->rows; r++)
        for (int64_t c = 0; c < s->cols; c++) {
            char *dx = (char *)to->corner + r * to->row_bytes + c * to->col_bytes;
            at_vf v = (at_vf)((at_vi)dy & (winner == (int32_t)(r * s->cols + c)));
            if (rest)
                at_vf_store_n(dx, i, type, v, rest);
            else
                at_vf_store_exact(dx, i, type, v);
        }
}

static void clear_rows(const at_view *v, int64_t first, int64_t end)
{
    size_t bytes = (size_t)at_cols(v) * at_dtype_bytes(v->dtype);
    for (int64_t r = first; r < end; r++)
        memset(at_row(v, r), 0, bytes);
}

/* Rows [begin, end) of the B * Ho rows of windows, with the positions below and beside them that no
 * window holds. */
AT_INLINE void route_rows(at_dtype type, const at_max_pool2d_bwd_args *a, int64_t begin,
                          int64_t end)
{
    int64_t H = a->dx.size[1], W = a->dx.size[2], C = a->dx.size[3];
    int64_t Ho = a->dy.size[1], Wo = a->dy.size[2];
    bool gaps = a->stride[0] > a->kernel[0] || a->stride[1] > a->kernel[1] ||
                Ho * a->stride[0] < H || Wo * a->stride[1] < W;
    for (int64_t r = begin; r < end; r++) {
        int64_t b = r / Ho, top = r % Ho * a->stride[0];
        int64_t bottom = r % Ho == Ho - 1 ? H : top + a->stride[0];
        if (gaps)
            clear_rows(&a->dx, (b * H + top) * W, (b * H + bottom) * W);
        for (int64_t j = 0; j < Wo; j++) {
            const window from = window_at(&a->x, b, top, j * a->stride[1], a->kernel);
            const window to = window_at(&a->dx, b, top, j * a->stride[1], a->kernel);
            const void *dy = at_row(&a->dy, r * Wo + j);
            for (int64_t c = 0; c < C; c += AT_LANES) {
                int rest = C - c < AT_LANES ? (int)(C - c) : 0;
                route_vector(type, &to, &from, load(type, dy, c, rest), c, rest);
            }
        }
    }
}

static void route_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    const at_max_pool2d_bwd_args *a = ctx;
    (void)worker;
    if (a->x.dtype == AT_F32)
        route_rows(AT_F32, a, begin, end);
    else if (a->x.dtype == AT_BF16)
        route_rows(AT_BF16, a, begin, end);
    else
        route_rows(AT_F16, a, begin, end);
}

/* --- gradient of the largest, any windows ----------------------------------------------------- */

/* Adds to 'sum' the dy of one window in the lanes where the position (row, col) of it is its first
 * largest. */
AT_INLINE at_vf add_if_won(at_dtype type, at_vf sum, const window *s, int64_t row, int64_t col,
                           const char *dy, int64_t i, int rest)
{
    at_vf best = load(type, s->corner, i, rest);
    at_vi mine = (row | col) == 0 ? ~(at_vi){ 0 } : (at_vi){ 0 };
    for (int64_t r = 0; r < s->rows; r++)
        for (int64_t c = r == 0; c < s->cols; c++) {
            at_vf v = load(type, s->corner + r * s->row_bytes + c * s->col_bytes, i, rest);
            at_vi better = beats(v, best);
            mine = r == row && c == col ? better : mine & ~better;
            best = larger(v, best);
        }
    return sum + at_vf_select(mine, load(type, dy, i, rest), (at_vf){ 0 });
}

/* Windows that hold position h: [first, end). */
AT_INLINE void windows_of(int64_t h, int64_t kernel, int64_t stride, int64_t n, int64_t *first,
                          int64_t *end)
{
    *first = h < kernel ? 0 : (h - kernel) / stride + 1;
    *end = h / stride + 1 < n ? h / stride + 1 : n;
}

AT_INLINE void won_pixel(at_dtype type, const at_max_pool2d_bwd_args *a, int64_t b, int64_t h,
                         int64_t w)
{
    int64_t H = a->dx.size[1], W = a->dx.size[2], C = a->dx.size[3];
    int64_t Ho = a->dy.size[1], Wo = a->dy.size[2], i0, i1, j0, j1;
    void *dx = at_row(&a->dx, (b * H + h) * W + w);
    windows_of(h, a->kernel[0], a->stride[0], Ho, &i0, &i1);
    windows_of(w, a->kernel[1], a->stride[1], Wo, &j0, &j1);
    for (int64_t c = 0; c < C; c += AT_LANES) {
        int rest = C - c < AT_LANES ? (int)(C - c) : 0;
        at_vf sum = { 0 };
        for (int64_t i = i0; i < i1; i++)
            for (int64_t j = j0; j < j1; j++) {
                int64_t top = i * a->stride[0], left = j * a->stride[1];
                const window s = window_at(&a->x, b, top, left, a->kernel);
                const char *dy = at_row(&a->dy, (b * Ho + i) * Wo + j);
                sum = add_if_won(type, sum, &s, h - top, w - left, dy, c, rest);
            }
        if (rest)
            at_vf_store_n(dx, c, type, sum, rest);
        else
            at_vf_store(dx, c, type, sum);
    }
}

/* Rows [begin, end) of B * H. */
static void won_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    const at_max_pool2d_bwd_args *a = ctx;
    int64_t H = a->dx.size[1], W = a->dx.size[2];
    (void)worker;
    for (int64_t p = begin * W; p < end * W; p++) {
        int64_t b = p / W / H, h = p / W % H, w = p % W;
        if (a->x.dtype == AT_F32)
            won_pixel(AT_F32, a, b, h, w);
        else if (a->x.dtype == AT_BF16)
            won_pixel(AT_BF16, a, b, h, w);
        else
            won_pixel(AT_F16, a, b, h, w);
    }
}

at_status AT_SIMD(at_max_pool2d_bwd)(const void *args, const at_prepared *p, const at_launch *l)
{
    at_max_pool2d_bwd_args a = *(const at_max_pool2d_bwd_args *)args;
    (void)p;
    bool overlap = a.kernel[0] > a.stride[0] || a.kernel[1] > a.stride[1];
    if (overlap)
        run_rows(l->stream, &a.dx, &a.x, won_part, &a);
    else
        run_rows(l->stream, &a.dy, &a.x, route_part, &a);
    return AT_OK;
}

/* --- mean ------------------------------------------------------------------------------------- */

at_status AT_SIMD(at_avg_pool2d)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_avg_pool2d_args *a = args;
    (void)p;
    const at_box box = { a->y,
                         a->x,
                         { { a->stride[0], 0, a->kernel[0], 1 },
                           { a->stride[1], 0, a->kernel[1], 1 } },
                         1.0f / (float)(a->kernel[0] * a->kernel[1]) };
    AT_SIMD(at_box_sum)(&box, l->stream);
    return AT_OK;
}

/* Position h is held by the windows from ceil((h - kernel + 1) / stride) to floor(h / stride). */
at_status AT_SIMD(at_avg_pool2d_bwd)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_avg_pool2d_bwd_args *a = args;
    (void)p;
    const at_box box = { a->dx,
                         a->dy,
                         { { 1, 1 - a->kernel[0], 1, a->stride[0] },
                           { 1, 1 - a->kernel[1], 1, a->stride[1] } },
                         1.0f / (float)(a->kernel[0] * a->kernel[1]) };
    AT_SIMD(at_box_sum)(&box, l->stream);
    return AT_OK;
}
