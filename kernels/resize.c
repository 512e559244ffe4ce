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

static double cubic(double x, double a)
{
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

static double sinc(double x)
{
    return x == 0 ? 1 : sin(M_PI * x) / (M_PI * x);
}

static double filter_at(int filter, double x)
{
    switch ((at_filter)filter) {
    case AT_BILINEAR: return fabs(x) < 1 ? 1 - fabs(x) : 0;
    case AT_BICUBIC: return cubic(x, -0.5);
    case AT_LANCZOS: return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
    case AT_BICUBIC_TORCH: return cubic(x, -0.75);
    }
    AT_ASSERT(false, "filter %d", filter);
}

/* Half the filter's width, in elements of a line that is not shrunk. */
static double support_of(int filter)
{
    return filter == AT_BILINEAR ? 1 : filter == AT_LANCZOS ? 3 : 2;
}

/* How much wider than that the filter is on this axis. */
static double widening(int filter, int64_t in, int64_t out)
{
    double scale = (double)in / (double)out;
    return filter == AT_BICUBIC_TORCH || scale < 1 ? 1 : scale;
}

/* Weights of element o as Pillow makes them. */
static void weights_pillow(at_resize_axis *a, int64_t o, int filter)
{
    double scale = (double)a->in / (double)a->out, wide = widening(filter, a->in, a->out);
    double support = support_of(filter) * wide, center = ((double)o + 0.5) * scale, sum = 0;
    double *w = a->weight + o * a->taps;
    int64_t first = (int64_t)(center - support + 0.5), end = (int64_t)(center + support + 0.5);
    first = first > 0 ? first : 0;
    end = end < a->in ? end : a->in;
    for (int64_t i = first; i < end; i++) {
        w[i - first] = filter_at(filter, ((double)i - center + 0.5) * (1.0 / wide));
        sum += w[i - first];
    }
    for (int64_t t = 0; t < end - first; t++)
        w[t] = sum != 0 ? w[t] / sum : w[t];
    a->first[o] = (int32_t)first;
    a->count[o] = (int32_t)(end - first);
}

/* Weights of element o as torch makes them: coordinates in f32, product and sum rounded once (its
 * builds fuse them; apart, results lie 3.6e-6 from torch's instead of 1e-6), the border
 * repeated. */
static void weights_torch(at_resize_axis *a, int64_t o)
{
    float scale = (float)a->in / (float)a->out, at = fmaf(scale, (float)o + 0.5f, -0.5f);
    int64_t base = (int64_t)floorf(at);
    double part = (double)(at - (float)base), *w = a->weight + o * a->taps;
    int64_t first = base < 1 ? 0 : base - 1 < a->in ? base - 1 : a->in - 1, last = first;
    for (int64_t i = base - 1; i <= base + 2; i++) {
        last = i < first ? first : i < a->in ? i : a->in - 1;
        w[last - first] += cubic((double)(i - base) - part, -0.75);
    }
    a->first[o] = (int32_t)first;
    a->count[o] = (int32_t)(last - first + 1);
}

static bool axis_make(at_resize_axis *a, int64_t in, int64_t out, int filter)
{
    a->in = in;
    a->out = out;
    a->taps = (int64_t)ceil(support_of(filter) * widening(filter, in, out)) * 2 + 1;
    size_t n = (size_t)out, all = (size_t)(out * a->taps);
    a->first = calloc(n, sizeof *a->first);
    a->count = calloc(n, sizeof *a->count);
    a->weight = calloc(all, sizeof *a->weight);
    a->narrow = calloc(all, sizeof *a->narrow);
    a->fixed = calloc(all, sizeof *a->fixed);
    if (!a->first || !a->count || !a->weight || !a->narrow || !a->fixed)
        return false;
    for (int64_t o = 0; o < out; o++)
        if (filter == AT_BICUBIC_TORCH)
            weights_torch(a, o);
        else
            weights_pillow(a, o, filter);
    for (size_t i = 0; i < all; i++) {
        double w = a->weight[i] * (1 << AT_RESIZE_BITS);
        a->narrow[i] = (float)a->weight[i];
        a->fixed[i] = (int32_t)(w < 0 ? w - 0.5 : w + 0.5);
    }
    return true;
}

static void resize_release(at_prepared *p)
{
    at_resize_plan *plan = p->state;
    for (int i = 0; plan && i < 2; i++) {
        free(plan->axis[i].first);
        free(plan->axis[i].count);
        free(plan->axis[i].weight);
        free(plan->axis[i].narrow);
        free(plan->axis[i].fixed);
    }
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
    double down = 2 * support_of(a->filter) * widening(a->filter, a->x.size[1], a->y.size[1]);
    double across = 2 * support_of(a->filter) * widening(a->filter, a->x.size[2], a->y.size[2]);
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

AT_SIMD_DECLARE(at_resize);
static const at_variant resize_variants[] = {
    AT_SIMD_VARIANTS("resize", at_resize, AT_ROWS_INDEPENDENT, resize_fits, resize_prepare,
                     resize_release),
    { "resize_ref", AT_CPU, 0, AT_ROWS_INDEPENDENT, NULL, resize_plan, NULL, resize_release,
      resize_ref },
};
AT_DEFINE_OP(resize, "y = x in another size: " AT_FILTERS, resize_operands, resize_attrs,
             resize_shape, resize_flops, resize_variants);
