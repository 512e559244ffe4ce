/* resize_weights.h -- the weights of resize, by functions that the host and a GPU share.
 *
 * A host makes whole tables (resize.c), a GPU one element a warp (resize.cu). All arithmetic is f64
 * in a fixed order, so that both round the weights of bytes alike; lanczos alone asks a library,
 * for a sine, and there the last places may differ: resize.h says what is done about it. */
#ifndef AT_KERNELS_RESIZE_WEIGHTS_H
#define AT_KERNELS_RESIZE_WEIGHTS_H

#include "kernels/exact.h"
#include "kernels/ops.h"

/* Weights of bytes are integers with so many fractional bits. */
enum { AT_RESIZE_BITS = 22 };

/* --- filters ---------------------------------------------------------------------------------- */

AT_EVERYWHERE double at_resize_cubic(double x, double a)
{
    x = fabs(x);
    if (x < 1)
        return AT_ADD64_RN(
            AT_MUL64_RN(AT_MUL64_RN(AT_ADD64_RN(AT_MUL64_RN(a + 2, x), -(a + 3)), x), x), 1.0);
    if (x >= 2)
        return 0;
    double inner = AT_ADD64_RN(AT_MUL64_RN(x - 5, x), 8.0);
    return AT_MUL64_RN(AT_ADD64_RN(AT_MUL64_RN(inner, x), -4.0), a);
}

AT_EVERYWHERE double at_resize_sinc(double x)
{
    double angle = AT_MUL64_RN(3.14159265358979323846, x);
    return x == 0 ? 1 : sin(angle) / angle;
}

AT_EVERYWHERE double at_resize_filter(int filter, double x)
{
    if (filter == AT_BILINEAR)
        return fabs(x) < 1 ? AT_ADD64_RN(1.0, -fabs(x)) : 0;
    if (filter == AT_BICUBIC)
        return at_resize_cubic(x, -0.5);
    if (filter == AT_BICUBIC_TORCH)
        return at_resize_cubic(x, -0.75);
    return x >= -3 && x < 3 ? AT_MUL64_RN(at_resize_sinc(x), at_resize_sinc(x / 3)) : 0;
}

/* Half the filter's width, in elements of a line that is not shrunk. */
AT_EVERYWHERE double at_resize_support(int filter)
{
    return filter == AT_BILINEAR ? 1 : filter == AT_LANCZOS ? 3 : 2;
}

/* How much wider than that the filter is on this axis. */
AT_EVERYWHERE double at_resize_widening(int filter, int64_t in, int64_t out)
{
    double scale = (double)in / (double)out;
    return filter == AT_BICUBIC_TORCH || scale < 1 ? 1 : scale;
}

/* Weights of an element at most. */
AT_EVERYWHERE int64_t at_resize_taps(int filter, int64_t in, int64_t out)
{
    return (int64_t)ceil(at_resize_support(filter) * at_resize_widening(filter, in, out)) * 2 + 1;
}

/* --- the weights of one element --------------------------------------------------------------- */

/* It is made of elements [first, end) of the line. */
typedef struct at_resize_reach {
    int64_t first, end;
    double center, factor; /* as Pillow does: the filter at (i - center + 0.5) * factor */
    double part;           /* as torch does: 'part' of the way from element base to the next */
    int64_t base;
} at_resize_reach;

AT_EVERYWHERE at_resize_reach at_resize_reach_pillow(int filter, int64_t in, int64_t out, int64_t o)
{
    double scale = (double)in / (double)out, wide = at_resize_widening(filter, in, out);
    double support = AT_MUL64_RN(at_resize_support(filter), wide);
    double center = AT_MUL64_RN((double)o + 0.5, scale);
    at_resize_reach r = { (int64_t)(center - support + 0.5),
                          (int64_t)(center + support + 0.5),
                          center,
                          1.0 / wide,
                          0,
                          0 };
    r.first = r.first > 0 ? r.first : 0;
    r.end = r.end < in ? r.end : in;
    return r;
}

/* Coordinates in f32, product and sum rounded once (torch's builds fuse them; apart, results lie
 * 3.6e-6 from torch's instead of 1e-6), the border repeated. */
AT_EVERYWHERE at_resize_reach at_resize_reach_torch(int64_t in, int64_t out, int64_t o)
{
    float scale = (float)in / (float)out, at = fmaf(scale, (float)o + 0.5f, -0.5f);
    int64_t base = (int64_t)floorf(at);
    at_resize_reach r = { base < 1        ? 0
                          : base - 1 < in ? base - 1
                                          : in - 1,
                          base + 2 < in ? base + 3 : in,
                          0,
                          0,
                          (double)(at - (float)base),
                          base };
    return r;
}

AT_EVERYWHERE at_resize_reach at_resize_reach_of(int filter, int64_t in, int64_t out, int64_t o)
{
    return filter == AT_BICUBIC_TORCH ? at_resize_reach_torch(in, out, o)
                                      : at_resize_reach_pillow(filter, in, out, o);
}

/* The weight of element i of the line. Of Pillow's the sum is not yet 1. */
AT_EVERYWHERE double at_resize_raw_weight(int filter, const at_resize_reach *r, int64_t i)
{
    double sum = 0;
    if (filter != AT_BICUBIC_TORCH)
        return at_resize_filter(filter, AT_MUL64_RN((double)i - r->center + 0.5, r->factor));
    for (int64_t k = r->base - 1; k <= r->base + 2; k++) {
        int64_t at = k < r->first ? r->first : k < r->end ? k : r->end - 1;
        if (at == i)
            sum += at_resize_filter(filter, (double)(k - r->base) - r->part);
    }
    return sum;
}

/* A raw weight with the sum of all: what counts. */
AT_EVERYWHERE double at_resize_weight(int filter, double raw, double sum)
{
    return filter != AT_BICUBIC_TORCH && sum != 0 ? raw / sum : raw;
}

/* The same for bytes. */
AT_EVERYWHERE int32_t at_resize_fixed(double weight)
{
    double w = AT_MUL64_RN(weight, (double)(1 << AT_RESIZE_BITS));
    return (int32_t)(w < 0 ? w - 0.5 : w + 0.5);
}

#endif
