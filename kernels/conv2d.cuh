/* conv2d.cuh -- pictures as sources of product.cuh: a convolution as a product that gathers its
 * matrix of (pixels of the output) x (taps, channels) while it runs, and never writes it down.
 *
 *   at_conv_pixels  rows of A: outer is a pixel of the output, k is (kh, kw, channel)
 *   at_taps         columns of B: outer is (kh, kw, channel), k is a pixel of the output
 *
 * Channels are innermost, so that a chunk of 16 bytes lies in one pixel where their number is a
 * multiple of a chunk, and cp.async brings it. Elsewhere (the first convolution of a model, with
 * three or four channels) each element is gathered on its own. */
#ifndef AT_KERNELS_CONV2D_CUH
#define AT_KERNELS_CONV2D_CUH

#include "kernels/conv2d_variants.h"
#include "kernels/product.cuh"
#include "kernels/product_end.cuh"

/* --- division --------------------------------------------------------------------------------- */

/* By a number that the host knows: a multiplication and a shift, for anything below 2^31. */
struct at_divisor {
    uint32_t by, magic, shift;
};

static inline at_divisor at_divisor_of(int64_t by)
{
    uint32_t shift = 0;
    while (((uint64_t)1 << shift) < (uint64_t)by)
        shift++;
    const uint64_t over = ((uint64_t)1 << shift) - (uint64_t)by;
    return { (uint32_t)by, (uint32_t)((over << 32) / (uint64_t)by + 1), shift };
}

__device__ __forceinline__ uint32_t at_divide(uint32_t n, const at_divisor &d)
{
    return (__umulhi(n, d.magic) + n) >> d.shift;
}

/* --- a picture that a kernel window slides over ------------------------------------------------*/

/* Output o and tap i read input (o * step + first + i) / spread, where that is whole. */
struct at_axis {
    int size; /* of the input */
    int step, first;
    at_divisor spread; /* by 1, or the stride whose gradient this is */
};

struct at_picture {
    const char *data;                  /* (samples, y.size, x.size, channels) */
    int64_t pixel_bytes, sample_bytes; /* from one to the next */
    at_axis y, x;
    at_divisor high, wide; /* the output of a sample */
    at_divisor kw, channels;
    int pixels, depth; /* of all outputs; kh * kw * channels */
    int kh;
    at_dtype dtype;
    bool reflect;
    bool whole; /* every chunk lies in one pixel, aligned, and in the type of the computation */
};

/* Which row or column of the input is read, -1 for a zero. */
__device__ __forceinline__ int at_axis_source(const at_axis &a, int v, bool reflect)
{
    if (a.spread.by > 1) {
        const int q = v < 0 ? -1 : (int)at_divide((uint32_t)v, a.spread);
        return q < a.size && q * (int)a.spread.by == v ? q : -1;
    }
    if (v >= 0 && v < a.size)
        return v;
    if (!reflect)
        return -1;
    return v < 0 ? -v : 2 * (a.size - 1) - v;
}

/* The pixel at a padded position of a sample, NULL for zeros. */
__device__ __forceinline__ const char *at_picture_pixel(const at_picture &p, int sample, int y,
                                                        int x)
{
    const int row = at_axis_source(p.y, y, p.reflect), col = at_axis_source(p.x, x, p.reflect);
    if (row < 0 || col < 0)
        return nullptr;
    return p.data + sample * p.sample_bytes + ((int64_t)row * p.x.size + col) * p.pixel_bytes;
}

/* Where the window of an output begins. */
struct at_window {
    int sample; /* -1: there is no such output */
    int y, x;
};

__device__ __forceinline__ at_window at_window_of(const at_picture &p, int64_t pixel)
{
    if (pixel >= p.pixels)
        return { -1, 0, 0 };
    const uint32_t n = (uint32_t)pixel, line = at_divide(n, p.wide), b = at_divide(line, p.high);
    const int oy = (int)(line - b * p.high.by), ox = (int)(n - line * p.wide.by);
    return { (int)b, oy * p.y.step + p.y.first, ox * p.x.step + p.x.first };
}

/* A channel of a tap, from an index of (kh, kw, channel). */
struct at_tap {
    int y, x, channel;
};

__device__ __forceinline__ at_tap at_tap_of(const at_picture &p, int64_t index)
{
    const uint32_t n = (uint32_t)index, tap = at_divide(n, p.channels), y = at_divide(tap, p.kw);
    return { (int)y, (int)(tap - y * p.kw.by), (int)(n - tap * p.channels.by) };
}

__device__ __forceinline__ void at_tap_next(const at_picture &p, at_tap &t)
{
    if (++t.channel < (int)p.channels.by)
        return;
    t.channel = 0;
    if (++t.x < (int)p.kw.by)
        return;
    t.x = 0;
    t.y++;
}

__device__ __forceinline__ float at_element_of(const char *pixel, int channel, at_dtype dtype)
{
    if (dtype == AT_F32)
        return reinterpret_cast<const float *>(pixel)[channel];
    if (dtype == AT_BF16)
        return static_cast<float>(reinterpret_cast<const __nv_bfloat16 *>(pixel)[channel]);
    return static_cast<float>(reinterpret_cast<const __half *>(pixel)[channel]);
}

/* v = the elements from tap 't' on of this window; zeros beyond the last. */
template <class T>
__device__ __forceinline__ void at_window_gather(T (&v)[AT_CHUNK<T>], const at_picture &p,
                                                 const at_window &w, at_tap t)
{
    const char *pixel = nullptr;
#pragma unroll
    for (int i = 0; i < AT_CHUNK<T>; i++) {
        if (i == 0 || t.channel == 0)
            pixel = w.sample >= 0 && t.y < p.kh
                        ? at_picture_pixel(p, w.sample, w.y + t.y, w.x + t.x)
                        : nullptr;
        v[i] = static_cast<T>(pixel ? at_element_of(pixel, t.channel, p.dtype) : 0.0f);
        at_tap_next(p, t);
    }
}

/* --- as rows of A ----------------------------------------------------------------------------- */

struct at_conv_pixels {
    static constexpr at_along along = AT_ALONG_K;
    /* A pixel of the output, and the tap that its next chunk is expected in. */
    struct place {
        at_window window;
        const char *from; /* what k is added to, NULL for zeros */
        int until;        /* the first k of the next tap */
    };
    at_picture in;
    bool direct;
};

__device__ __forceinline__ at_conv_pixels::place at_source_place(const at_conv_pixels &s,
                                                                 int64_t outer)
{
    const at_window w = at_window_of(s.in, outer);
    return { w, nullptr, w.sample < 0 ? INT32_MAX : 0 };
}

/* The tap of k. */
template <class T>
__device__ __forceinline__ void at_place_seek(const at_picture &p, at_conv_pixels::place &place,
                                              int k)
{
    const at_tap t = at_tap_of(p, k);
    const int begin = k - t.channel;
    place.from = nullptr;
    place.until = begin + (int)p.channels.by;
    if (k >= p.depth)
        return;
    place.from =
        at_picture_pixel(p, place.window.sample, place.window.y + t.y, place.window.x + t.x);
    if (place.from)
        place.from -= (int64_t)begin * (int64_t)sizeof(T);
}

template <class T>
__device__ __forceinline__ const void *at_source_chunk(const at_conv_pixels &s,
                                                       at_conv_pixels::place &p, int k,
                                                       bool &wanted)
{
    if (k >= p.until)
        at_place_seek<T>(s.in, p, k);
    wanted = p.from != nullptr;
    return wanted ? p.from + (int64_t)k * (int)sizeof(T) : s.in.data;
}

template <class T>
__device__ __forceinline__ void at_source_convert(T (&v)[AT_CHUNK<T>], const at_conv_pixels &s,
                                                  at_conv_pixels::place &p, int k)
{
    at_window_gather<T>(v, s.in, p.window, at_tap_of(s.in, k));
}

/* --- as columns of B -------------------------------------------------------------------------- */

struct at_taps {
    static constexpr at_along along = AT_ALONG_OUTER;
    using place = at_tap; /* beyond the last one y is kh or more */
    at_picture in;
    bool direct;
};

__device__ __forceinline__ at_taps::place at_source_place(const at_taps &s, int64_t outer)
{
    return at_tap_of(s.in, outer);
}

template <class T>
__device__ __forceinline__ const void *at_source_chunk(const at_taps &s, at_taps::place &p, int k,
                                                       bool &wanted)
{
    const at_window w = at_window_of(s.in, k);
    const char *pixel = nullptr;
    if (w.sample >= 0 && p.y < s.in.kh)
        pixel = at_picture_pixel(s.in, w.sample, w.y + p.y, w.x + p.x);
    wanted = pixel != nullptr;
    return wanted ? pixel + p.channel * (int64_t)sizeof(T) : s.in.data;
}

template <class T>
__device__ __forceinline__ void at_source_convert(T (&v)[AT_CHUNK<T>], const at_taps &s,
                                                  at_taps::place &p, int k)
{
    at_window_gather<T>(v, s.in, at_window_of(s.in, k), p);
}

/* --- the host's side -------------------------------------------------------------------------- */

/* x (b, h, w, ci) under the windows of a convolution. */
static inline at_picture at_picture_of(const at_view *x, const at_conv &c, at_dtype computed)
{
    const at_lines l = at_lines_of(x);
    const int64_t bytes = (int64_t)at_dtype_bytes(l.dtype);
    at_picture p = {};
    p.data = static_cast<const char *>(l.data);
    p.pixel_bytes = l.pitch * bytes;
    p.sample_bytes = c.h * c.w * p.pixel_bytes;
    p.y = { (int)c.h, (int)c.sh, (int)-c.top, at_divisor_of(1) };
    p.x = { (int)c.w, (int)c.sw, (int)-c.left, at_divisor_of(1) };
    p.high = at_divisor_of(c.ho);
    p.wide = at_divisor_of(c.wo);
    p.kh = (int)c.kh;
    p.kw = at_divisor_of(c.kw);
    p.channels = at_divisor_of(c.ci);
    p.pixels = (int)(c.b * c.ho * c.wo);
    p.depth = (int)(c.kh * c.kw * c.ci);
    p.dtype = l.dtype;
    p.reflect = c.reflect;
    p.whole = l.wide && l.dtype == computed && c.ci * bytes % AT_CHUNK_BYTES == 0;
    return p;
}

/* Indices of pixels, taps and positions are 32 bits wide: a picture has less than 2^30 of each. */
static inline bool at_conv_is_small(const at_conv &c)
{
    const int64_t most = (int64_t)1 << 30;
    const int64_t high = c.h + c.top + c.bottom, wide = c.w + c.left + c.right;
    return high < most && wide < most && c.b * high * wide < most && c.b * c.ho * c.wo < most &&
           c.kh * c.kw * c.ci < most && c.kh * c.kw * c.co < most && c.ho * c.sh < most &&
           c.wo * c.sw < most;
}

#endif
