/* conv2d.cu -- bound by multiply-adds: an implicit product on the tiles of product.cuh, which reads
 * each pixel once for every tap and 128 output channels, mostly from the L2 cache. The aim is
 * linear's, 60 % of the tensor cores' peak on an H100 (80 % on an A100) and 75 % of the f32 peak,
 * where there are 32 channels or more; a first convolution with three or four gathers element by
 * element, and one with few output channels computes columns that nobody wants. How far this is
 * behind cuDNN, which has Winograd's and wgmma kernels, is not measured.
 *
 * The gradient by the input is the same product: the taps are turned around and dy is spread by the
 * stride, so with stride 2 three quarters of the products are with zeros. Where the border was
 * reflected, the gradient of the padded picture is written in f32 and folded: two more passes over
 * memory.
 *
 * Sums are computed in x's type, and weights of another type are rounded to it: training keeps them
 * in f32 and wants the tensor cores. Where y is wider than x (y_dtype=f32) nothing is rounded, and
 * such a pair is computed in f32. */
#include <stdio.h>

#include "kernels/conv2d.cuh"
#include "kernels/conv2d_packing.h"

/* --- weights ---------------------------------------------------------------------------------- */

/* Weights as the product reads them, (rows, pitch) with k = (kh, kw, inner) and zeros up to a
 * pitch of whole chunks; made from w (Co, Ci, Kh, Kw). */
struct packing {
    at_lines w;                   /* (Co Ci Kh Kw) as one row */
    void *out;                    /* (rows, pitch) in the type of the computation */
    int64_t rows, inner, taps;    /* Co, Ci; of the gradient Ci, Co */
    int64_t row_step, inner_step; /* in w, where taps are neighbours */
    int64_t pitch;
    bool turned; /* the last tap comes first */
};

/* A thread has all taps of a row's channel, so that what it reads lies together, and what a warp
 * writes. */
template <class T>
__global__ void __launch_bounds__(AT_BLOCK) pack_weights(packing p)
{
    at_wait_for_earlier();
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, depth = p.taps * p.inner;
    const int64_t step = (int64_t)gridDim.y * blockDim.y;
    for (int64_t r = (int64_t)blockIdx.y * blockDim.y + threadIdx.y; r < p.rows; r += step) {
        T *out = static_cast<T *>(p.out) + r * p.pitch;
        if (i < p.pitch - depth)
            out[depth + i] = static_cast<T>(0.0f);
        for (int64_t t = 0; t < p.taps && i < p.inner; t++) {
            const float w = at_row_get(p.w, 0, r * p.row_step + i * p.inner_step + t);
            out[(p.turned ? p.taps - 1 - t : t) * p.inner + i] = static_cast<T>(w);
        }
    }
}

static packing packing_of(const at_view *w, at_dtype computed)
{
    const int64_t taps = w->size[2] * w->size[3], chunk = 16 / (int64_t)at_dtype_bytes(computed);
    packing p = {};
    p.w = at_lines_of(w);
    p.rows = w->size[0];
    p.inner = w->size[1];
    p.taps = taps;
    p.row_step = w->size[1] * taps;
    p.inner_step = taps;
    p.pitch = (taps * p.inner + chunk - 1) / chunk * chunk;
    return p;
}

/* For the gradient by the input. */
static packing packing_turned_of(const at_view *w, at_dtype computed)
{
    const int64_t chunk = 16 / (int64_t)at_dtype_bytes(computed);
    packing p = packing_of(w, computed);
    p.rows = w->size[1];
    p.inner = w->size[0];
    p.row_step = p.taps;
    p.inner_step = w->size[1] * p.taps;
    p.pitch = (p.taps * p.inner + chunk - 1) / chunk * chunk;
    p.turned = true;
    return p;
}

static size_t packed_bytes(const packing &p, at_dtype computed)
{
    return (size_t)(p.rows * p.pitch) * at_dtype_bytes(computed);
}

template <class T>
static cudaError_t launch_packing(const packing &p, at_queue stream)
{
    enum { GRID_Y_MAX = 65535, DOWN = AT_BLOCK / AT_WARP };
    const int64_t down = (p.rows + DOWN - 1) / DOWN;
    const dim3 grid((unsigned)((p.inner + AT_WARP - 1) / AT_WARP),
                    (unsigned)(down < GRID_Y_MAX ? down : (int64_t)GRID_Y_MAX));
    return AT_LAUNCH_EARLY(pack_weights<T>, grid, dim3(AT_WARP, DOWN), 0, stream, p);
}

template <at_dtype COMPUTED, packing PACKING(const at_view *, at_dtype)>
static void pack(const at_prepared *, int, void *dst, const at_view *src, const at_stream *stream)
{
    packing p = PACKING(src, COMPUTED);
    p.out = dst;
    const at_queue queue = at_queue_on(stream);
    const cudaError_t error = AT_BY_TYPE(COMPUTED, launch_packing, p, queue);
    AT_ASSERT(error == cudaSuccess, "packing weights: %s", cudaGetErrorString(error));
}

/* Asks for a form where w is a parameter, else for scratch, first in it. */
template <packing PACKING(const at_view *, at_dtype)>
static void book_weights(at_prepared *out, const at_prepare_in *in, const at_view *w,
                         at_dtype computed)
{
    enum { W = 2 }; /* the weight's place in both tables */
    const packing p = PACKING(w, computed);
    if (!(in->constants >> W & 1u)) {
        out->scratch_bytes += packed_bytes(p, computed);
        return;
    }
    at_form *f = &out->forms[out->n_forms++];
    f->operand = W;
    f->bytes = packed_bytes(p, computed);
    f->pack = computed == AT_F32    ? pack<AT_F32, PACKING>
              : computed == AT_BF16 ? pack<AT_BF16, PACKING>
                                    : pack<AT_F16, PACKING>;
    snprintf(f->key, sizeof f->key, "conv2d_cuda %s %s", at_dtype_name(computed),
             p.turned ? "ihwo turned" : "ohwi");
}

/* As columns of the product. */
struct packed_weights {
    static constexpr at_along along = AT_ALONG_K;
    static constexpr bool direct = true;
    struct place {
        const char *at;
        bool there;
    };
    const char *data; /* (cols, depth), depth a multiple of a chunk */
    int64_t cols, row_bytes;
    int depth;
};

__device__ __forceinline__ packed_weights::place at_source_place(const packed_weights &w,
                                                                 int64_t outer)
{
    return { w.data + outer * w.row_bytes, outer < w.cols };
}

template <class T>
__device__ __forceinline__ const void *at_source_chunk(const packed_weights &w,
                                                       packed_weights::place &p, int k,
                                                       bool &wanted)
{
    wanted = p.there && k < w.depth;
    return p.at + (int64_t)k * (int)sizeof(T);
}

/* Never called: all chunks are direct. */
template <class T>
__device__ __forceinline__ void at_source_convert(T (&)[AT_CHUNK<T>], const packed_weights &,
                                                  packed_weights::place &, int)
{
}

/* '*w' is p.w, which is a form already, or packed into scratch. */
static cudaError_t weights_of(packed_weights *w, packing p, at_dtype computed,
                              const at_prepared *prepared, const at_launch *l)
{
    w->data = static_cast<const char *>(p.w.data);
    w->cols = p.rows;
    w->row_bytes = p.pitch * (int64_t)at_dtype_bytes(computed);
    w->depth = (int)p.pitch;
    if (prepared->n_forms)
        return cudaSuccess;
    p.out = l->scratch;
    w->data = static_cast<const char *>(l->scratch);
    return AT_BY_TYPE(computed, launch_packing, p, at_queue_of(l));
}

/* --- weights for a library -------------------------------------------------------------------- */

extern "C" void at_conv2d_weights_book_cuda(at_prepared *out, const at_prepare_in *in,
                                            const at_view *w, at_dtype computed)
{
    book_weights<packing_of>(out, in, w, computed);
}

extern "C" at_status at_conv2d_weights_cuda(const void **out, const at_view *w, at_dtype computed,
                                            const at_prepared *prepared, const at_launch *l)
{
    packed_weights packed;
    const cudaError_t error = weights_of(&packed, packing_of(w, computed), computed, prepared, l);
    *out = packed.data;
    return at_launched(l, error);
}

extern "C" at_status at_conv2d_vector_cuda(const at_view *v, void *out, at_dtype computed,
                                           const at_launch *l)
{
    const int64_t size[] = { 1, at_cols(v), 1, 1 };
    at_view w = at_view_of(v->dtype, 4, size);
    w.data = v->data;
    packing p = packing_of(&w, computed);
    p.out = out;
    return at_launched(l, AT_BY_TYPE(computed, launch_packing, p, at_queue_of(l)));
}

/* --- the product ------------------------------------------------------------------------------ */

struct conv_job {
    at_conv_pixels x; /* (rows, depth) */
    packed_weights w; /* (cols, depth) */
    at_product_end end;
    int64_t rows, cols;
    int depth;
};

template <class T, class TILE>
__global__ void __launch_bounds__(TILE::THREADS, (AT_TILE_BLOCKS<T, TILE>)) conv_product(conv_job j)
{
    at_wait_for_earlier();
    const at_product_part part = at_product_part_of<TILE>(blockIdx.x, j.rows, j.cols, j.depth);
    at_product_block<T, TILE>(j.x, j.w, j.end, part);
}

template <class T>
static cudaError_t launch_product(const conv_job &j, int candidate, at_queue stream)
{
    if (at_tile_of(j.rows, j.cols, 1, candidate) == AT_TILE_LARGE)
        return at_product_launch<at_tile_large>(conv_product<T, at_tile_large>, j,
                                                at_tiles_in<at_tile_large>(j.rows, j.cols), stream);
    return at_product_launch<at_tile_small>(conv_product<T, at_tile_small>, j,
                                            at_tiles_in<at_tile_small>(j.rows, j.cols), stream);
}

static conv_job job_of(const at_picture &picture, const packed_weights &w)
{
    conv_job j = {};
    j.x = { picture, picture.whole };
    j.w = w;
    j.rows = picture.pixels;
    j.cols = w.cols;
    j.depth = w.depth;
    return j;
}

/* --- conv2d ----------------------------------------------------------------------------------- */

static at_dtype computed_in(const at_conv2d_args *a)
{
    return a->w.dtype == a->x.dtype || a->y.dtype == a->x.dtype ? a->x.dtype : AT_F32;
}

extern "C" bool at_conv2d_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_conv2d_args *>(args);
    return at_conv2d_simd_fits(args) && at_conv_is_small(at_conv_of(a));
}

extern "C" int at_conv2d_cuda_candidates(const void *args, const at_caps *)
{
    const auto *a = static_cast<const at_conv2d_args *>(args);
    return at_tile_candidates(at_rows(&a->y), at_cols(&a->y));
}

extern "C" at_status at_conv2d_cuda_prepare(const void *args, const at_prepare_in *in,
                                            at_prepared *out, at_error *)
{
    const auto *a = static_cast<const at_conv2d_args *>(args);
    at_candidate_keep(out, in->candidate);
    book_weights<packing_of>(out, in, &a->w, computed_in(a));
    return AT_OK;
}

extern "C" at_status at_conv2d_cuda(const void *args, const at_prepared *p, const at_launch *l)
{
    const auto *a = static_cast<const at_conv2d_args *>(args);
    const at_dtype type = computed_in(a);
    packed_weights w;
    const cudaError_t error = weights_of(&w, packing_of(&a->w, type), type, p, l);
    if (error != cudaSuccess)
        return at_launched(l, error);
    conv_job j = job_of(at_picture_of(&a->x, at_conv_of(a), type), w);
    j.end.y = at_lines_of(&a->y);
    j.end.residual = at_lines_or_none(&a->residual);
    j.end.bias = at_lines_or_none(&a->bias);
    j.end.act = a->relu ? AT_ACT_RELU : AT_ACT_NONE;
    return at_launched(l, AT_BY_TYPE(type, launch_product, j, at_candidate_of(p), at_queue_of(l)));
}

/* --- conv2d_dgrad ----------------------------------------------------------------------------- */

/* One axis of a reflected picture and of the padded one. */
struct folded {
    int size, before, after;
};

struct folding {
    at_lines dx;       /* (rows, cols) */
    const float *sums; /* (padded pixels, pitch) */
    folded y, x;
    at_divisor high, wide;
    int64_t rows, cols, pitch;
};

/* The n-th of three padded positions that read input i, -1 for none. */
__device__ __forceinline__ int unfolded(const folded &f, int i, int n)
{
    const int back = f.size - 1 - i;
    if (n == 0)
        return f.before + i;
    if (n == 1)
        return i >= 1 && i <= f.before ? f.before - i : -1;
    return back >= 1 && back <= f.after ? f.before + i + 2 * back : -1;
}

/* dx = the sums of all padded positions that read it. */
template <class T>
__global__ void __launch_bounds__(AT_BLOCK) fold(folding j)
{
    at_wait_for_earlier();
    const int64_t c = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * AT_PACK;
    const int64_t high = j.y.before + j.y.size + j.y.after;
    const int64_t wide = j.x.before + j.x.size + j.x.after;
    int64_t r = (int64_t)blockIdx.y * blockDim.y + threadIdx.y;
    for (; c < j.cols && r < j.rows; r += (int64_t)gridDim.y * blockDim.y) {
        const uint32_t line = at_divide((uint32_t)r, j.wide), b = at_divide(line, j.high);
        const int y = (int)(line - b * j.high.by), x = (int)((uint32_t)r - line * j.wide.by);
        float v[AT_PACK] = {}, w[AT_PACK];
#pragma unroll 1
        for (int n = 0; n < 9; n++) {
            const int py = unfolded(j.y, y, n / 3), px = unfolded(j.x, x, n % 3);
            if (py < 0 || px < 0)
                continue;
            at_pack_load(w, j.sums + ((b * high + py) * wide + px) * j.pitch + c, (int64_t)AT_PACK,
                         true, 0.0f);
#pragma unroll
            for (int i = 0; i < AT_PACK; i++)
                v[i] += w[i];
        }
        at_pack_store(at_line<T>(j.dx, r) + c, v, j.cols - c, j.dx.wide);
    }
}

template <class T>
static cudaError_t launch_fold(const folding &j, at_queue stream)
{
    const at_tiles t = at_tiles_of(j.rows, j.cols);
    return AT_LAUNCH_EARLY(fold<T>, t.grid, t.block, 0, stream, j);
}

static bool folds(const at_conv &c)
{
    return c.reflect && c.top + c.left + c.bottom + c.right > 0;
}

static int64_t fold_pitch(const at_conv &c)
{
    return (c.ci + AT_PACK - 1) / AT_PACK * AT_PACK;
}

/* The convolution whose input has its padding in it. */
static at_conv unpadded(const at_conv &c)
{
    at_conv u = c;
    u.h += c.top + c.bottom;
    u.w += c.left + c.right;
    u.top = u.left = u.bottom = u.right = 0;
    u.reflect = false;
    return u;
}

/* dy (b, ho, wo, co) as the picture that the gradient's windows slide over, one for each pixel of
 * the input. */
static at_picture spread_of(const at_view *dy, const at_conv &c, at_dtype computed)
{
    at_conv t = c;
    t.h = c.ho, t.w = c.wo, t.ci = c.co;
    t.ho = c.h, t.wo = c.w, t.co = c.ci;
    t.sh = t.sw = 1;
    t.top = c.kh - 1 - c.top, t.left = c.kw - 1 - c.left;
    t.reflect = false;
    at_picture p = at_picture_of(dy, t, computed);
    p.y.spread = at_divisor_of(c.sh);
    p.x.spread = at_divisor_of(c.sw);
    return p;
}

extern "C" bool at_conv2d_dgrad_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_conv2d_dgrad_args *>(args);
    return at_conv2d_dgrad_simd_fits(args) && at_conv_is_small(at_conv_of_dgrad(a));
}

extern "C" int at_conv2d_dgrad_cuda_candidates(const void *args, const at_caps *)
{
    const auto *a = static_cast<const at_conv2d_dgrad_args *>(args);
    return at_tile_candidates(at_rows(&a->dx), at_cols(&a->dx));
}

extern "C" at_status at_conv2d_dgrad_cuda_prepare(const void *args, const at_prepare_in *in,
                                                  at_prepared *out, at_error *)
{
    const auto *a = static_cast<const at_conv2d_dgrad_args *>(args);
    const at_conv c = at_conv_of_dgrad(a), u = unpadded(c);
    at_candidate_keep(out, in->candidate);
    book_weights<packing_turned_of>(out, in, &a->w, a->dy.dtype);
    if (folds(c))
        out->scratch_bytes += (size_t)(c.b * u.h * u.w * fold_pitch(c)) * sizeof(float);
    return AT_OK;
}

extern "C" at_status at_conv2d_dgrad_cuda(const void *args, const at_prepared *p,
                                          const at_launch *l)
{
    const auto *a = static_cast<const at_conv2d_dgrad_args *>(args);
    const at_dtype type = a->dy.dtype;
    const at_conv c = at_conv_of_dgrad(a);
    const packing packed = packing_turned_of(&a->w, type);
    packed_weights w;
    cudaError_t error = weights_of(&w, packed, type, p, l);
    if (error != cudaSuccess)
        return at_launched(l, error);
    conv_job j = job_of(spread_of(&a->dy, folds(c) ? unpadded(c) : c, type), w);
    j.end.y = at_lines_of(&a->dx);
    char *sums = static_cast<char *>(l->scratch) + (p->n_forms ? 0 : packed_bytes(packed, type));
    if (folds(c))
        j.end.y = { sums, fold_pitch(c), AT_F32, true };
    error = AT_BY_TYPE(type, launch_product, j, at_candidate_of(p), at_queue_of(l));
    if (error != cudaSuccess || !folds(c))
        return at_launched(l, error);
    folding f = {};
    f.dx = at_lines_of(&a->dx);
    f.sums = reinterpret_cast<const float *>(sums);
    f.y = { (int)c.h, (int)c.top, (int)c.bottom };
    f.x = { (int)c.w, (int)c.left, (int)c.right };
    f.high = at_divisor_of(c.h);
    f.wide = at_divisor_of(c.w);
    f.rows = at_rows(&a->dx);
    f.cols = c.ci;
    f.pitch = fold_pitch(c);
    return at_launched(l, AT_BY_TYPE(type, launch_fold, f, at_queue_of(l)));
}
