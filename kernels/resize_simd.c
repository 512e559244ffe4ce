/* resize_simd.c -- bound by arithmetic: a product for each tap, channel and pass.
 *
 * Down the picture, vectors run along a row and every tap is a row of the source. Across it,
 * sixteen rows are turned on their side so that a vector holds the same element of each: then a tap
 * is a vector times one weight there too, whatever the number of channels. Between the passes lies
 * one picture of bytes or f32. */
#include "kernels/resize.h"
#include "kernels/variants.h"
#include "kernels/vec.h"

AT_SIMD_DECLARE(at_resize);

enum { ROUND = 1 << (AT_RESIZE_BITS - 1), TILE = 64 };

/* One pass over one sample: both are (H, W, C) views, pixels in rows. */
typedef struct pass {
    at_view to, from;
    const at_resize_axis *axis;
    char *scratch; /* worker_bytes for each worker */
    size_t worker_bytes;
} pass;

AT_INLINE at_vi clamp_bytes(at_vi sum)
{
    at_vi v = sum >> AT_RESIZE_BITS;
    v &= ~(v >> 31); /* below 0: 0 */
    at_vi over = v > 255;
    return (v & ~over) | (over & 255);
}

/* Sums are carried as the bits of a vector: integers for bytes, else floats. */
AT_INLINE at_vi load_bits(at_dtype type, const void *x, int64_t i, int rest)
{
    if (type == AT_U8)
        return rest ? at_vi_load_u8_n(x, i, rest) : at_vi_load_u8(x, i);
    return (at_vi)(rest ? at_vf_load_n(x, i, type, rest, 0.0f) : at_vf_load(x, i, type));
}

AT_INLINE at_vi add_tap(at_dtype type, at_vi sum, at_vi x, const at_resize_axis *a, int64_t k)
{
    if (type == AT_U8)
        return sum + x * a->fixed[k];
    return (at_vi)at_vf_fma((at_vf)x, at_vf_set(a->narrow[k]), (at_vf)sum);
}

AT_INLINE void store_bits(at_dtype type, void *y, int64_t i, at_vi sum, int rest)
{
    if (type == AT_U8) {
        sum = clamp_bytes(sum);
        if (rest)
            at_vi_store_u8_n(y, i, sum, rest);
        else
            at_vi_store_u8(y, i, sum);
    } else if (rest) {
        at_vf_store_n(y, i, type, (at_vf)sum, rest);
    } else {
        at_vf_store(y, i, type, (at_vf)sum);
    }
}

AT_INLINE at_vi start_of(at_dtype type)
{
    return (at_vi){ 0 } + (type == AT_U8 ? ROUND : 0);
}

/* --- down ------------------------------------------------------------------------------------- */

/* n vectors of row o from element i of a run of pixels; 'x' is the run in the first source row. */
AT_INLINE void down_vectors(at_dtype to, at_dtype from, void *y, const char *x, int64_t row_bytes,
                            const at_resize_axis *a, int64_t o, int64_t i, int n, int rest)
{
    at_vi sum[4];
    for (int k = 0; k < n; k++)
        sum[k] = start_of(from);
    for (int64_t t = 0; t < a->count[o]; t++)
        for (int k = 0; k < n; k++)
            sum[k] =
                add_tap(from, sum[k], load_bits(from, x + t * row_bytes, i + k * AT_LANES, rest), a,
                        o * a->taps + t);
    for (int k = 0; k < n; k++)
        store_bits(to, y, i + k * AT_LANES, sum[k], rest);
}

AT_INLINE void down_rows(at_dtype to, at_dtype from, const pass *p, int64_t begin, int64_t end)
{
    int64_t W = p->from.size[1], C = p->from.size[2];
    int64_t row_bytes = W * p->from.pitch * (int64_t)at_dtype_bytes(from);
    bool dense = at_dense(&p->from) && at_dense(&p->to);
    int64_t runs = dense ? 1 : W, n = dense ? W * C : C;
    for (int64_t o = begin; o < end; o++)
        for (int64_t r = 0; r < runs; r++) {
            const char *x = at_row(&p->from, p->axis->first[o] * W + r);
            void *y = at_row(&p->to, o * W + r);
            int64_t i = 0;
            for (; i + 4 * AT_LANES <= n; i += 4 * AT_LANES)
                down_vectors(to, from, y, x, row_bytes, p->axis, o, i, 4, 0);
            for (; i + AT_LANES <= n; i += AT_LANES)
                down_vectors(to, from, y, x, row_bytes, p->axis, o, i, 1, 0);
            if (i < n)
                down_vectors(to, from, y, x, row_bytes, p->axis, o, i, 1, (int)(n - i));
        }
}

/* --- across ----------------------------------------------------------------------------------- */

/* Elements [begin, end) of a row as 4-byte numbers. */
AT_INLINE void read_tile(at_dtype from, int32_t *out, const at_view *v, int64_t row, int64_t begin,
                         int64_t end)
{
    int64_t W = v->size[1], C = v->size[2], run = at_dense(v) ? end - begin : 1;
    for (int64_t e = begin; e < end; e += run) {
        const char *x = (const char *)at_row(v, row * W + e / C);
        int64_t c = e % C, i = 0;
        for (; i + AT_LANES <= run; i += AT_LANES) {
            at_vi bits = load_bits(from, x, c + i, 0);
            memcpy(out + (e - begin) + i, &bits, sizeof bits);
        }
        if (i < run) {
            at_vi bits = load_bits(from, x, c + i, (int)(run - i));
            memcpy(out + (e - begin) + i, &bits, (size_t)(run - i) * 4);
        }
    }
}

/* Writes elements [begin, end) of a row. */
AT_INLINE void write_tile(at_dtype to, const int32_t *in, const at_view *v, int64_t row,
                          int64_t begin, int64_t end)
{
    int64_t W = v->size[1], C = v->size[2], run = at_dense(v) ? end - begin : 1;
    for (int64_t e = begin; e < end; e += run) {
        char *y = (char *)at_row(v, row * W + e / C);
        int64_t c = e % C;
        for (int64_t i = 0; i < run; i += AT_LANES) {
            at_vi bits = { 0 };
            int rest = run - i < AT_LANES ? (int)(run - i) : 0;
            memcpy(&bits, in + (e - begin) + i, rest ? (size_t)rest * 4 : sizeof bits);
            store_bits(to, y, c + i, bits, rest);
        }
    }
}

/* 'rows' rows from 'row' on, turned on their side: element e of all of them is one vector. */
AT_INLINE void turn(at_dtype from, int32_t *out, const at_view *v, int64_t row, int64_t rows)
{
    int64_t n = v->size[1] * v->size[2];
    int32_t line[TILE];
    for (int64_t e = 0; e < n; e += TILE) {
        int64_t end = e + TILE < n ? e + TILE : n;
        if (rows < AT_LANES)
            memset(out + e * AT_LANES, 0, (size_t)((end - e) * AT_LANES) * 4);
        for (int64_t r = 0; r < rows; r++) {
            read_tile(from, line, v, row + r, e, end);
            for (int64_t i = e; i < end; i++)
                out[i * AT_LANES + r] = line[i - e];
        }
    }
}

/* Elements [begin, end) of the resized rows, side by side. */
AT_INLINE void across_tile(at_dtype from, int32_t *tile, const int32_t *turned,
                           const at_resize_axis *a, int64_t C, int64_t begin, int64_t end)
{
    for (int64_t e = begin; e < end; e++) {
        int64_t o = e / C;
        const int32_t *x = turned + (a->first[o] * C + e % C) * AT_LANES;
        at_vi sum = start_of(from), v;
        for (int64_t t = 0; t < a->count[o]; t++) {
            memcpy(&v, x + t * C * AT_LANES, sizeof v);
            sum = add_tap(from, sum, v, a, o * a->taps + t);
        }
        memcpy(tile + (e - begin) * AT_LANES, &sum, sizeof sum);
    }
}

/* Groups [begin, end) of AT_LANES rows. */
AT_INLINE void across_rows(at_dtype to, at_dtype from, const pass *p, int32_t *turned,
                           int64_t begin, int64_t end)
{
    int64_t H = p->to.size[0], C = p->to.size[2], n = p->to.size[1] * C;
    int32_t tile[TILE * AT_LANES], line[TILE];
    for (int64_t g = begin; g < end; g++) {
        int64_t row = g * AT_LANES, rows = H - row < AT_LANES ? H - row : AT_LANES;
        turn(from, turned, &p->from, row, rows);
        for (int64_t e = 0; e < n; e += TILE) {
            int64_t count = n - e < TILE ? n - e : TILE;
            across_tile(from, tile, turned, p->axis, C, e, e + count);
            for (int64_t r = 0; r < rows; r++) {
                for (int64_t i = 0; i < count; i++)
                    line[i] = tile[i * AT_LANES + r];
                write_tile(to, line, &p->to, row + r, e, e + count);
            }
        }
    }
}

/* --- passes ----------------------------------------------------------------------------------- */

/* FN for the pair of types that a pass goes between: a float picture's middle is f32. */
#define FOR_TYPES(p, FN, ...)                                          \
    do {                                                               \
        at_dtype to_type = (p)->to.dtype, from_type = (p)->from.dtype; \
        if (from_type == AT_U8)                                        \
            FN(AT_U8, AT_U8, __VA_ARGS__);                             \
        else if (from_type == AT_F32 && to_type == AT_F32)             \
            FN(AT_F32, AT_F32, __VA_ARGS__);                           \
        else if (from_type == AT_F32 && to_type == AT_BF16)            \
            FN(AT_BF16, AT_F32, __VA_ARGS__);                          \
        else if (from_type == AT_F32)                                  \
            FN(AT_F16, AT_F32, __VA_ARGS__);                           \
        else if (from_type == AT_BF16)                                 \
            FN(AT_F32, AT_BF16, __VA_ARGS__);                          \
        else                                                           \
            FN(AT_F32, AT_F16, __VA_ARGS__);                           \
    } while (0)

static void down_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    const pass *p = ctx;
    (void)worker;
    FOR_TYPES(p, down_rows, p, begin, end);
}

static void across_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    const pass *p = ctx;
    int32_t *turned = (void *)(p->scratch + (size_t)worker * p->worker_bytes);
    FOR_TYPES(p, across_rows, p, turned, begin, end);
}

static void run_down(const at_stream *stream, pass *p)
{
    double bytes = (double)(p->from.size[1] * p->from.size[2] * p->axis->taps * 2);
    at_parallel(stream, p->axis->out, at_grain(p->axis->out, bytes), down_part, p);
}

static void run_across(const at_stream *stream, pass *p)
{
    at_parallel(stream, (p->to.size[0] + AT_LANES - 1) / AT_LANES, 1, across_part, p);
}

/* Sample b of a picture, as (H, W, C). */
static at_view sample_of(const at_view *v, int64_t b)
{
    at_view s = at_view_of(v->dtype, 3, v->size + 1);
    s.pitch = v->pitch;
    s.data = at_row(v, b * v->size[1] * v->size[2]);
    return s;
}

at_status AT_SIMD(at_resize)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_resize_args *a = args;
    const at_resize_plan *plan = p->state;
    const at_resize_axis *down = &plan->axis[0], *across = &plan->axis[1];
    char *workers = (char *)l->scratch + plan->middle_bytes;
    const int64_t size[] = { plan->vertical_first ? down->out : down->in,
                             plan->vertical_first ? across->in : across->out, a->x.size[3] };
    at_view middle = at_view_of(a->x.dtype == AT_U8 ? AT_U8 : AT_F32, 3, size);
    middle.data = l->scratch;
    for (int64_t b = 0; b < a->x.size[0]; b++) {
        at_view x = sample_of(&a->x, b), y = sample_of(&a->y, b);
        if (plan->vertical_first) {
            run_down(l->stream, &(pass){ middle, x, down, workers, plan->worker_bytes });
            run_across(l->stream, &(pass){ y, middle, across, workers, plan->worker_bytes });
        } else {
            run_across(l->stream, &(pass){ middle, x, across, workers, plan->worker_bytes });
            run_down(l->stream, &(pass){ y, middle, down, workers, plan->worker_bytes });
        }
    }
    return AT_OK;
}
