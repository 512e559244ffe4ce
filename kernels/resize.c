/* resize.c -- pictures in another size, filtered.
 *
 * bilinear, bicubic and lanczos do what Pillow does: where a picture shrinks the filter is widened,
 * so that every pixel counts; bytes are computed with integer weights, pass by pass, the first pass
 * rounded and clamped to bytes, which gives Pillow's own bytes. bicubic_torch is the filter of a =
 * -0.75 at its own width, whatever the scale, on floats. Channels are resized one by one: alpha is
 * not looked at. */
#include "kernels/resize.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/shape.h"
#include "kernels/variants.h"

static const at_operand resize_operands[] = {
    AT_OPERAND(resize, y, AT_OUT, AT_BATCHED, AT_NONE),
    AT_OPERAND(resize, x, AT_IN, AT_BATCHED, AT_NONE),
};
static const at_attr resize_attrs[] = {
    AT_INTS(resize, size, 2),
    AT_ENUM(resize, filter, AT_FILTERS),
};

enum { SIDE_MAX = 1 << 24 };

static at_status resize_shape(void *args, at_error *err)
{
    at_resize_args *a = args;
    AT_TRY(at_expect_rank("resize", "x", &a->x, 4, 4, err));
    bool bytes = a->x.dtype == AT_U8;
    if (!bytes && !at_dtype_is_float(a->x.dtype))
        return at_fail(err, AT_INVALID, "resize: x is %s, expected u8 or a floating type",
                       at_dtype_name(a->x.dtype));
    if (bytes && a->filter == AT_BICUBIC_TORCH)
        return at_fail(err, AT_INVALID, "resize: bicubic_torch takes a floating type, x is u8");
    for (int i = 0; i < 2; i++)
        if (a->size[i] < 1 || a->size[i] > SIDE_MAX || a->x.size[1 + i] > SIDE_MAX)
            return at_fail(err, AT_INVALID,
                           "resize: from %lld x %lld to %lld x %lld, expected 1 to %d",
                           (long long)a->x.size[1], (long long)a->x.size[2], (long long)a->size[0],
                           (long long)a->size[1], SIDE_MAX);
    a->y = at_view_of(a->x.dtype, 4,
                      (const int64_t[]){ a->x.size[0], a->size[0], a->size[1], a->x.size[3] });
    return AT_OK;
}

/* --- weights ---------------------------------------------------------------------------------- */

/* Weights of element o. */
static void weights_make(at_resize_axis *a, int64_t o, int filter)
{
    const at_resize_reach r = at_resize_reach_of(filter, a->in, a->out, o);
    double *w = a->weight + o * a->taps, sum = 0;
    for (int64_t i = r.first; i < r.end; i++)
        sum += w[i - r.first] = at_resize_raw_weight(filter, &r, i);
    for (int64_t t = 0; t < r.end - r.first; t++)
        w[t] = at_resize_weight(filter, w[t], sum);
    a->first[o] = (int32_t)r.first;
    a->count[o] = (int32_t)(r.end - r.first);
}

static bool axis_make(at_resize_axis *a, int64_t in, int64_t out, int filter)
{
    a->in = in;
    a->out = out;
    a->taps = at_resize_taps(filter, in, out);
    size_t n = (size_t)out, all = (size_t)(out * a->taps);
    a->first = calloc(n, sizeof *a->first);
    a->count = calloc(n, sizeof *a->count);
    a->weight = calloc(all, sizeof *a->weight);
    a->narrow = calloc(all, sizeof *a->narrow);
    a->fixed = calloc(all, sizeof *a->fixed);
    if (!a->first || !a->count || !a->weight || !a->narrow || !a->fixed)
        return false;
    for (int64_t o = 0; o < out; o++)
        weights_make(a, o, filter);
    for (size_t i = 0; i < all; i++) {
        a->narrow[i] = (float)a->weight[i];
        a->fixed[i] = at_resize_fixed(a->weight[i]);
    }
    return true;
}

static void axis_free(at_resize_axis *a)
{
    free(a->first);
    free(a->count);
    free(a->weight);
    free(a->narrow);
    free(a->fixed);
}

static void resize_release(at_prepared *p)
{
    at_resize_plan *plan = p->state;
    for (int i = 0; plan && i < 2; i++)
        axis_free(&plan->axis[i]);
    free(plan);
}

/* Pillow (13) goes down the picture first where that shrinks it more. */
static bool goes_down_first(int64_t H, int64_t W, int64_t Ho, int64_t Wo)
{
    int64_t narrower = W > Wo ? W - Wo : 0;
    return H > Ho && H - Ho > 2 * narrower;
}

static at_status resize_plan(const void *args, const at_prepare_in *in, at_prepared *out,
                             at_error *err)
{
    const at_resize_args *a = args;
    at_resize_plan *plan = out->state = calloc(1, sizeof *plan);
    (void)in;
    if (!plan || !axis_make(&plan->axis[0], a->x.size[1], a->y.size[1], a->filter) ||
        !axis_make(&plan->axis[1], a->x.size[2], a->y.size[2], a->filter)) {
        resize_release(out);
        return at_fail(err, AT_NO_MEMORY, "resize: no memory for weights of %lld x %lld",
                       (long long)a->y.size[1], (long long)a->y.size[2]);
    }
    plan->vertical_first = goes_down_first(a->x.size[1], a->x.size[2], a->y.size[1], a->y.size[2]);
    return AT_OK;
}

/* --- reference -------------------------------------------------------------------------------- */

/* The integer sum of weights and bytes, rounded and clamped to a byte. */
static double byte_of(int64_t sum)
{
    int64_t v = (sum + (1 << (AT_RESIZE_BITS - 1))) >> AT_RESIZE_BITS;
    return v < 0 ? 0 : v > 255 ? 255 : (double)v;
}

/* What the first pass makes of one line: element o of the line through 'base' whose elements are
 * 'step' rows of x apart. */
static double first_pass(const at_resize_args *a, const at_resize_axis *axis, int64_t o,
                         int64_t base, int64_t step, int64_t c)
{
    double sum = 0;
    int64_t bytes = 0;
    for (int64_t t = 0; t < axis->count[o]; t++) {
        double x = at_get(&a->x, base + (axis->first[o] + t) * step, c);
        sum += axis->weight[o * axis->taps + t] * x;
        bytes += a->x.dtype == AT_U8 ? axis->fixed[o * axis->taps + t] * (int64_t)x : 0;
    }
    return a->x.dtype == AT_U8 ? byte_of(bytes) : sum;
}

static at_status resize_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_resize_args *a = args;
    const at_resize_plan *plan = p->state;
    (void)l;
    int64_t H = a->x.size[1], W = a->x.size[2], Ho = a->y.size[1], Wo = a->y.size[2];
    bool down = plan->vertical_first;
    const at_resize_axis *one = &plan->axis[down ? 0 : 1], *two = &plan->axis[down ? 1 : 0];
    for (int64_t r = 0; r < at_rows(&a->y); r++)
        for (int64_t c = 0; c < a->y.size[3]; c++) {
            int64_t b = r / Wo / Ho, i = r / Wo % Ho, j = r % Wo, o = down ? j : i, bytes = 0;
            double sum = 0;
            for (int64_t t = 0; t < two->count[o]; t++) {
                int64_t line = two->first[o] + t;
                double x = down ? first_pass(a, one, i, b * H * W + line, W, c)
                                : first_pass(a, one, j, (b * H + line) * W, 1, c);
                sum += two->weight[o * two->taps + t] * x;
                bytes += a->x.dtype == AT_U8 ? two->fixed[o * two->taps + t] * (int64_t)x : 0;
            }
            at_set(&a->y, r, c, a->x.dtype == AT_U8 ? byte_of(bytes) : sum);
        }
    return AT_OK;
}

/* --- variants --------------------------------------------------------------------------------- */

/* Products of both passes, in the order that they are made. */
static double resize_flops(const void *args)
{
    const at_resize_args *a = args;
    double H = (double)a->x.size[1], W = (double)a->x.size[2], Ho = (double)a->y.size[1];
    double Wo = (double)a->y.size[2], n = (double)(a->x.size[0] * a->x.size[3]);
    double down = 2 * at_resize_support(a->filter) *
                  at_resize_widening(a->filter, a->x.size[1], a->y.size[1]);
    double across = 2 * at_resize_support(a->filter) *
                    at_resize_widening(a->filter, a->x.size[2], a->y.size[2]);
    if (goes_down_first(a->x.size[1], a->x.size[2], a->y.size[1], a->y.size[2]))
        return 2 * n * Ho * (W * down + Wo * across);
    return 2 * n * Wo * (H * across + Ho * down);
}

static bool resize_fits(const void *args)
{
    at_dtype type = ((const at_resize_args *)args)->x.dtype;
    return type == AT_U8 || at_is_simd_type(type);
}

static size_t rounded_up(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static at_status resize_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                at_error *err)
{
    const at_resize_args *a = args;
    AT_TRY(resize_plan(args, in, out, err));
    at_resize_plan *plan = out->state;
    int64_t rows = plan->vertical_first ? a->y.size[1] : a->x.size[1];
    int64_t cols = plan->vertical_first ? a->x.size[2] : a->y.size[2];
    size_t row_elements = (size_t)(a->x.size[2] * a->x.size[3]);
    plan->middle_bytes =
        rounded_up((size_t)(rows * cols * a->x.size[3]) * (a->x.dtype == AT_U8 ? 1 : 4));
    plan->worker_bytes = row_elements * AT_RESIZE_LANES * 4;
    out->scratch_bytes = plan->middle_bytes + (size_t)in->caps->threads * plan->worker_bytes;
    return AT_OK;
}

/* --- on a GPU --------------------------------------------------------------------------------- */

/* Appends the weights of one axis that lie near a half; false: no memory. */
static bool keep_close(at_resize_cuda_plan *plan, int which, int64_t in, int64_t out, int filter)
{
    const double margin = 0x1p-22;
    at_resize_axis a = { 0 };
    bool good = axis_make(&a, in, out, filter);
    for (int64_t i = 0; good && i < out * a.taps; i++) {
        double w = a.weight[i] * (1 << AT_RESIZE_BITS), part = w - floor(w);
        if (fabs(part - 0.5) > margin)
            continue;
        size_t bytes = (size_t)(plan->closes + 1) * sizeof *plan->close;
        at_resize_close *close = realloc(plan->close, bytes);
        good = close;
        if (good) {
            const int64_t place = i % a.taps * out + i / a.taps;
            plan->close = close;
            plan->close[plan->closes++] = (at_resize_close){ place, which, a.fixed[i] };
        }
    }
    axis_free(&a);
    return good;
}

void at_resize_cuda_release(at_prepared *p)
{
    at_resize_cuda_plan *plan = p->state;
    if (plan)
        free(plan->close);
    free(plan);
}

at_status at_resize_cuda_prepare(const void *args, const at_prepare_in *in, at_prepared *out,
                                 at_error *err)
{
    const at_resize_args *a = args;
    const int64_t *from = a->x.size, *to = a->y.size;
    at_resize_cuda_plan *plan = out->state = calloc(1, sizeof *plan);
    (void)in;
    bool good = plan, guess = a->x.dtype == AT_U8 && a->filter == AT_LANCZOS;
    for (int i = 0; good && i < 2; i++) {
        int64_t taps = at_resize_taps(a->filter, from[1 + i], to[1 + i]);
        plan->table_at[i] = out->scratch_bytes;
        out->scratch_bytes += rounded_up((size_t)(to[1 + i] * (taps + 2)) * 4);
        good = !guess || keep_close(plan, i, from[1 + i], to[1 + i], a->filter);
    }
    if (!good) {
        at_resize_cuda_release(out);
        return at_fail(err, AT_NO_MEMORY, "resize: no memory for weights of %lld x %lld",
                       (long long)to[1], (long long)to[2]);
    }
    plan->vertical_first = goes_down_first(from[1], from[2], to[1], to[2]);
    int64_t rows = plan->vertical_first ? to[1] : from[1];
    int64_t cols = plan->vertical_first ? from[2] : to[2];
    plan->middle_at = out->scratch_bytes;
    out->scratch_bytes +=
        rounded_up((size_t)(from[0] * rows * cols * from[3]) * (a->x.dtype == AT_U8 ? 1 : 4));
    return AT_OK;
}

AT_SIMD_DECLARE(at_resize);
AT_CUDA_DECLARE(at_resize);
static const at_variant resize_variants[] = {
#ifdef AT_HAS_CUDA
    { "resize_cuda", AT_CUDA, 0, AT_ROWS_INDEPENDENT, at_resize_cuda_fits, at_resize_cuda_prepare,
      NULL, at_resize_cuda_release, at_resize_cuda },
#endif
    AT_SIMD_VARIANTS("resize", at_resize, AT_ROWS_INDEPENDENT, resize_fits, resize_prepare,
                     resize_release),
    { "resize_ref", AT_CPU, 0, AT_ROWS_INDEPENDENT, NULL, resize_plan, NULL, resize_release,
      resize_ref },
};
AT_DEFINE_OP(resize, "y = x in another size: " AT_FILTERS, resize_operands, resize_attrs,
             resize_shape, resize_flops, resize_variants);
