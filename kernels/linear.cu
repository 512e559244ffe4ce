/* linear.cu -- bound by multiply-adds where there are hundreds of rows: the tiles of product.cuh
 * read x once for every 128 columns and w once for every 128 rows, mostly from the L2 cache; the
 * aim is 60 % of the tensor cores' peak, which is what mma.sync reaches on an H100 (80 % on an
 * A100), and 75 % of the f32 peak.
 *
 * Sums are computed in x's type where w has it too, and in f16 or bf16 where an operand is e4m3,
 * which both hold exactly. Other pairs, such as x in bf16 and w in f32, are computed in f32: no
 * operand is rounded. */
#include "kernels/linear_variants.h"
#include "kernels/product.cuh"
#include "kernels/product_end.cuh"

struct linear_job {
    at_matrix<AT_ALONG_K> x, w; /* (rows, depth), (cols, depth) */
    at_product_end end;
    int64_t rows, cols;
    int depth;
};

template <class T, class TILE>
__global__ void __launch_bounds__(TILE::THREADS, (AT_TILE_BLOCKS<T, TILE>))
    linear_product(linear_job j)
{
    AT_SHARED(float[AT_WARPS_MAX], room);
    at_wait_for_earlier();
    at_product_end end = j.end;
    const at_product_part part = at_product_part_of<TILE>(blockIdx.x, j.rows, j.cols, j.depth);
    at_product_block<T, TILE>(j.x, j.w, end, part);
    if (end.amax)
        at_amax_put(end.top, end.amax, room);
}

/* --- launches --------------------------------------------------------------------------------- */

/* The type that sums are computed in. */
static at_dtype computed_in(const at_linear_args *a)
{
    const at_dtype x = a->x.dtype, w = a->w.dtype;
    if (x == AT_F8)
        return w == AT_F8 ? AT_F16 : w;
    return w == x || w == AT_F8 ? x : AT_F32;
}

template <class T, class TILE>
static cudaError_t launch_tiles(const linear_job &j, at_queue stream)
{
    return at_product_launch<TILE>(linear_product<T, TILE>, j, at_tiles_in<TILE>(j.rows, j.cols),
                                   stream);
}

template <class T>
static cudaError_t launch(const linear_job &j, int candidate, at_queue stream)
{
    const at_tile tile = at_tile_of(j.rows, j.cols, 1, candidate);
    return tile == AT_TILE_LARGE ? launch_tiles<T, at_tile_large>(j, stream)
                                 : launch_tiles<T, at_tile_small>(j, stream);
}

static bool is_read(at_dtype type)
{
    return at_is_simd_type(type) || type == AT_F8;
}

extern "C" bool at_linear_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_linear_args *>(args);
    return at_is_depth(at_cols(&a->x)) && is_read(a->x.dtype) && is_read(a->w.dtype) &&
           is_read(a->y.dtype) && (!at_has(&a->bias) || at_is_simd_type(a->bias.dtype)) &&
           (!at_has(&a->residual) || at_is_simd_type(a->residual.dtype));
}

extern "C" int at_linear_cuda_candidates(const void *args, const at_caps *)
{
    const auto *a = static_cast<const at_linear_args *>(args);
    return at_tile_candidates(at_rows(&a->x), a->w.size[0]);
}

extern "C" at_status at_linear_cuda_prepare(const void *, const at_prepare_in *in, at_prepared *out,
                                            at_error *)
{
    at_candidate_keep(out, in->candidate);
    return AT_OK;
}

extern "C" at_status at_linear_cuda(const void *args, const at_prepared *p, const at_launch *l)
{
    const auto *a = static_cast<const at_linear_args *>(args);
    const at_dtype type = computed_in(a);
    linear_job j = {};
    j.rows = at_rows(&a->x);
    j.cols = a->w.size[0];
    j.depth = (int)at_cols(&a->x);
    j.x = at_matrix_of<AT_ALONG_K>(at_lines_of(&a->x), j.rows, j.depth, type);
    j.w = at_matrix_of<AT_ALONG_K>(at_lines_of(&a->w), j.cols, j.depth, type);
    j.end = at_linear_end_of(a);
    cudaError_t error = at_amax_clear(j.end.amax, at_queue_of(l));
    if (error == cudaSuccess)
        error = AT_BY_TYPE(type, launch, j, at_candidate_of(p), at_queue_of(l));
    return at_launched(l, error);
}

/* --- what cuBLASLt multiplies by -------------------------------------------------------------- */

struct linear_factor_job {
    float *factor; /* (1): 1 / y_scale */
    const float *y_scale;
    float *amax; /* (1) or NULL: zero afterwards */
};

__global__ void __launch_bounds__(AT_WARP) linear_factor(linear_factor_job j)
{
    at_wait_for_earlier();
    if (threadIdx.x != 0)
        return;
    *j.factor = 1.0f / *j.y_scale;
    if (j.amax)
        *j.amax = 0;
}

extern "C" at_status at_linear_f8_scale_cuda(float *factor, const at_linear_args *a,
                                             const at_launch *l)
{
    const linear_factor_job j = { factor, at_floats_of(&a->y_scale), at_floats_of(&a->y_amax) };
    return at_launched(
        l, AT_LAUNCH_EARLY(linear_factor, dim3(1), dim3(AT_WARP), 0, at_queue_of(l), j));
}
