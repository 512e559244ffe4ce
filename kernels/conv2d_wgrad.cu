/* conv2d_wgrad.cu -- bound by multiply-adds: an implicit product on the tiles of product.cuh, over
 * all pixels of the output. It reads dy once for every 128 columns of (taps, channels) and x once
 * for every tap and 128 output channels, mostly from the L2 cache; the aim is linear's, 60 % of the
 * tensor cores' peak on an H100 (80 % on an A100) and 75 % of the f32 peak. Its sums go through
 * scratch in f32: channels are innermost there and outermost in dw, and where dw has few tiles
 * they are cut into parts. dbias reads dy once more. How far this is behind cuDNN is not
 * measured. */
#include "kernels/conv2d.cuh"
#include "kernels/conv2d_packing.h"
#include "kernels/product_parts.cuh"

/* --- from sums to dw -------------------------------------------------------------------------- */

struct turning {
    float *dw;         /* (rows, channels, taps) */
    const float *acc;  /* the same, or NULL */
    const float *sums; /* (parts, rows, pitch), a row is (taps, channels) */
    int64_t rows, cols, pitch, parts, channels;
    at_divisor taps;
};

/* dw = acc + the parts, in their order. Neighbours write neighbours; what they read lies in as many
 * places as there are taps, and the next warps read the rest of it from the cache. */
static __global__ void __launch_bounds__(AT_BLOCK) turn_sums(turning j)
{
    const int64_t o = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (o >= j.cols)
        return;
    const uint32_t channel = at_divide((uint32_t)o, j.taps);
    const int64_t tap = o - (int64_t)channel * j.taps.by, step = j.rows * j.pitch;
    for (int64_t r = blockIdx.y; r < j.rows; r += gridDim.y) {
        float v = j.acc ? j.acc[r * j.cols + o] : 0.0f;
        const float *p = j.sums + r * j.pitch + tap * j.channels + channel;
        for (int64_t i = 0; i < j.parts; i++, p += step)
            v += *p;
        j.dw[r * j.cols + o] = v;
    }
}

static cudaError_t launch_turn(const turning &j, cudaStream_t stream)
{
    enum { GRID_Y_MAX = 65535 };
    const dim3 grid((unsigned)((j.cols + AT_BLOCK - 1) / AT_BLOCK),
                    (unsigned)(j.rows < GRID_Y_MAX ? j.rows : (int64_t)GRID_Y_MAX));
    return AT_LAUNCH(turn_sums, grid, dim3(AT_BLOCK), 0, stream, j);
}

/* --- the op ----------------------------------------------------------------------------------- */

/* How dw is computed, and where in scratch the sums of the parts and those of dbias lie. */
struct conv_wgrad_plan {
    at_weights_plan product;
    bool straight;      /* one part and one tap: the sums are dw */
    size_t bias, total; /* bytes */
};

static conv_wgrad_plan plan_of(const at_conv2d_wgrad_args *a, int candidate)
{
    const at_conv c = at_conv_of_wgrad(a);
    const int64_t rows = c.co, taps = c.kh * c.kw, depth = c.b * c.ho * c.wo;
    conv_wgrad_plan p = {};
    p.product = at_weights_plan_of(rows, taps * c.ci, depth, candidate);
    p.straight = p.product.cut.parts == 1 && taps == 1;
    if (!p.straight)
        p.bias = p.product.sums;
    p.total = p.bias + at_bias_bytes(&a->dy, &a->dbias);
    return p;
}

extern "C" bool at_conv2d_wgrad_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_conv2d_wgrad_args *>(args);
    return at_conv2d_wgrad_simd_fits(args) && at_conv_is_small(at_conv_of_wgrad(a));
}

extern "C" int at_conv2d_wgrad_cuda_candidates(const void *args, const at_caps *)
{
    const at_conv c = at_conv_of_wgrad(static_cast<const at_conv2d_wgrad_args *>(args));
    return at_tile_candidates(c.co, c.kh * c.kw * c.ci);
}

extern "C" at_status at_conv2d_wgrad_cuda_prepare(const void *args, const at_prepare_in *in,
                                                  at_prepared *out, at_error *)
{
    const auto *a = static_cast<const at_conv2d_wgrad_args *>(args);
    at_candidate_keep(out, in->candidate);
    out->scratch_bytes = plan_of(a, in->candidate).total;
    return AT_OK;
}

static cudaError_t run_dw(const at_conv2d_wgrad_args *a, const conv_wgrad_plan &p, void *scratch,
                          cudaStream_t stream)
{
    const at_dtype type = a->x.dtype;
    const at_conv c = at_conv_of_wgrad(a);
    const at_picture x = at_picture_of(&a->x, c, type);
    at_weights_job<at_taps> j = {};
    j.rows = c.co;
    j.cols = x.depth;
    j.tiles = p.product.tiles;
    j.cut = p.product.cut;
    j.dy = at_matrix_of<AT_ALONG_OUTER>(at_lines_of(&a->dy), j.rows, x.pixels, type);
    j.x = { x, x.whole };
    if (p.straight) {
        j.end.y = at_lines_joined(&a->dw, j.cols);
        if (at_has(&a->acc))
            j.end.acc = at_lines_joined(&a->acc, j.cols);
        return AT_BY_TYPE(type, at_weights_launch, j, p.product.tile, stream);
    }
    const int64_t pitch = at_sums_pitch(j.cols);
    j.end.y = { scratch, pitch, AT_F32, true };
    const cudaError_t error = AT_BY_TYPE(type, at_weights_launch, j, p.product.tile, stream);
    if (error != cudaSuccess)
        return error;
    const turning t = { at_floats_of(&a->dw),
                        at_floats_of(&a->acc),
                        static_cast<const float *>(scratch),
                        j.rows,
                        j.cols,
                        pitch,
                        p.product.cut.parts,
                        c.ci,
                        at_divisor_of(c.kh * c.kw) };
    return launch_turn(t, stream);
}

extern "C" at_status at_conv2d_wgrad_cuda(const void *args, const at_prepared *prepared,
                                          const at_launch *l)
{
    const auto *a = static_cast<const at_conv2d_wgrad_args *>(args);
    const conv_wgrad_plan p = plan_of(a, at_candidate_of(prepared));
    cudaError_t error = run_dw(a, p, l->scratch, at_stream_of(l));
    char *sums = static_cast<char *>(l->scratch) + p.bias;
    if (error == cudaSuccess)
        error = at_bias_launch(&a->dy, &a->dbias, &a->bias_acc, sums, at_stream_of(l));
    return at_launched(l, error);
}

/* --- after a library -------------------------------------------------------------------------- */

extern "C" size_t at_conv2d_bias_bytes_cuda(const at_conv2d_wgrad_args *a)
{
    return at_bias_bytes(&a->dy, &a->dbias);
}

extern "C" at_status at_conv2d_wgrad_finish_cuda(const at_conv2d_wgrad_args *a, const void *sums,
                                                 void *bias_sums, const at_launch *l)
{
    const at_conv c = at_conv_of_wgrad(a);
    const int64_t cols = c.kh * c.kw * c.ci;
    const turning t = { at_floats_of(&a->dw),
                        at_floats_of(&a->acc),
                        static_cast<const float *>(sums),
                        c.co,
                        cols,
                        cols,
                        1,
                        c.ci,
                        at_divisor_of(c.kh * c.kw) };
    cudaError_t error = launch_turn(t, at_stream_of(l));
    if (error == cudaSuccess)
        error = at_bias_launch(&a->dy, &a->dbias, &a->bias_acc, bias_sums, at_stream_of(l));
    return at_launched(l, error);
}
