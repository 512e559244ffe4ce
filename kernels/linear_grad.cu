/* linear_grad.cu -- bound by multiply-adds, as linear.cu is, with the same tiles and aims: by the
 * input w's columns, by the weights dy's and x's columns are turned on their way from shared
 * memory. The gradient by the weights cuts the rows into parts where dw has few tiles, and writes
 * and reads their sums once; dbias reads dy once more. */
#include "kernels/linear_variants.h"
#include "kernels/product_parts.cuh"

/* --- by the input: dx = dy w + residual ------------------------------------------------------- */

struct dgrad_job {
    at_matrix<AT_ALONG_K> dy;    /* (rows, depth) */
    at_matrix<AT_ALONG_OUTER> w; /* (depth, cols) */
    at_product_end end;
    int64_t rows, cols;
    int depth;
};

template <class T, class TILE>
__global__ void __launch_bounds__(TILE::THREADS, (AT_TILE_BLOCKS<T, TILE>))
    dgrad_product(dgrad_job j)
{
    const at_product_part part = at_product_part_of<TILE>(blockIdx.x, j.rows, j.cols, j.depth);
    at_product_block<T, TILE>(j.dy, j.w, j.end, part);
}

template <class T>
static cudaError_t launch_dgrad(const dgrad_job &j, int candidate, cudaStream_t stream)
{
    const at_tile tile = at_tile_of(j.rows, j.cols, 1, candidate);
    if (tile == AT_TILE_LARGE)
        return at_product_launch<at_tile_large>(dgrad_product<T, at_tile_large>, j,
                                                at_tiles_in<at_tile_large>(j.rows, j.cols), stream);
    return at_product_launch<at_tile_small>(dgrad_product<T, at_tile_small>, j,
                                            at_tiles_in<at_tile_small>(j.rows, j.cols), stream);
}

extern "C" bool at_linear_dgrad_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_linear_dgrad_args *>(args);
    return at_linear_dgrad_simd_fits(args) && at_is_depth(a->w.size[0]);
}

extern "C" int at_linear_dgrad_cuda_candidates(const void *args, const at_caps *)
{
    const auto *a = static_cast<const at_linear_dgrad_args *>(args);
    return at_tile_candidates(at_rows(&a->dy), a->w.size[1]);
}

extern "C" at_status at_linear_dgrad_cuda_prepare(const void *, const at_prepare_in *in,
                                                  at_prepared *out, at_error *)
{
    at_candidate_keep(out, in->candidate);
    return AT_OK;
}

extern "C" at_status at_linear_dgrad_cuda(const void *args, const at_prepared *p,
                                          const at_launch *l)
{
    const auto *a = static_cast<const at_linear_dgrad_args *>(args);
    const at_dtype type = a->w.dtype == a->dy.dtype ? a->dy.dtype : AT_F32;
    dgrad_job j = {};
    j.rows = at_rows(&a->dy);
    j.cols = a->w.size[1];
    j.depth = (int)a->w.size[0];
    j.dy = at_matrix_of<AT_ALONG_K>(at_lines_of(&a->dy), j.rows, j.depth, type);
    j.w = at_matrix_of<AT_ALONG_OUTER>(at_lines_of(&a->w), j.cols, j.depth, type);
    j.end.y = at_lines_of(&a->dx);
    j.end.residual = at_lines_or_none(&a->residual);
    return at_launched(l, AT_BY_TYPE(type, launch_dgrad, j, at_candidate_of(p), at_stream_of(l)));
}

/* --- by the weights: dw = acc + dy^T x -------------------------------------------------------- */

/* How dw is computed, and where in scratch the sums of the parts and those of dbias lie. */
struct wgrad_plan {
    at_weights_plan product;
    size_t bias, total; /* bytes */
};

static wgrad_plan plan_of(const at_linear_wgrad_args *a, int candidate)
{
    const int64_t rows = at_cols(&a->dy), depth = at_rows(&a->x);
    wgrad_plan p = {};
    p.product = at_weights_plan_of(rows, at_cols(&a->x), depth, candidate);
    if (p.product.cut.parts > 1)
        p.bias = p.product.sums;
    p.total = p.bias + at_bias_bytes(&a->dy, &a->dbias);
    return p;
}

extern "C" bool at_linear_wgrad_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_linear_wgrad_args *>(args);
    return at_linear_wgrad_simd_fits(args) && at_is_depth(at_rows(&a->x));
}

extern "C" int at_linear_wgrad_cuda_candidates(const void *args, const at_caps *)
{
    const auto *a = static_cast<const at_linear_wgrad_args *>(args);
    return at_tile_candidates(at_cols(&a->dy), at_cols(&a->x));
}

extern "C" at_status at_linear_wgrad_cuda_prepare(const void *args, const at_prepare_in *in,
                                                  at_prepared *out, at_error *)
{
    const auto *a = static_cast<const at_linear_wgrad_args *>(args);
    at_candidate_keep(out, in->candidate);
    out->scratch_bytes = plan_of(a, in->candidate).total;
    return AT_OK;
}

static cudaError_t run_dw(const at_linear_wgrad_args *a, const at_weights_plan &p, void *scratch,
                          cudaStream_t stream)
{
    const at_dtype type = a->x.dtype;
    const int64_t depth = at_rows(&a->x);
    at_weights_job<at_matrix<AT_ALONG_OUTER>> j = {};
    j.rows = at_cols(&a->dy);
    j.cols = at_cols(&a->x);
    j.tiles = p.tiles;
    j.cut = p.cut;
    j.dy = at_matrix_of<AT_ALONG_OUTER>(at_lines_of(&a->dy), j.rows, depth, type);
    j.x = at_matrix_of<AT_ALONG_OUTER>(at_lines_of(&a->x), j.cols, depth, type);
    j.end = { at_lines_of(&a->dw), at_lines_or_none(&a->acc) };
    if (p.cut.parts == 1)
        return AT_BY_TYPE(type, at_weights_launch, j, p.tile, stream);
    const at_parts_job sum = { j.end.y, j.end.acc, static_cast<float *>(scratch),
                               j.rows,  j.cols,    p.cut.parts };
    j.end = { { scratch, at_sums_pitch(j.cols), AT_F32, true }, {} };
    const cudaError_t error = AT_BY_TYPE(type, at_weights_launch, j, p.tile, stream);
    return error == cudaSuccess ? at_parts_add_launch(sum, stream) : error;
}

extern "C" at_status at_linear_wgrad_cuda(const void *args, const at_prepared *prepared,
                                          const at_launch *l)
{
    const auto *a = static_cast<const at_linear_wgrad_args *>(args);
    const wgrad_plan p = plan_of(a, at_candidate_of(prepared));
    cudaError_t error = run_dw(a, p.product, l->scratch, at_stream_of(l));
    char *sums = static_cast<char *>(l->scratch) + p.bias;
    if (error == cudaSuccess)
        error = at_bias_launch(&a->dy, &a->dbias, &a->bias_acc, sums, at_stream_of(l));
    return at_launched(l, error);
}

/* --- dbias by itself, beside a product of cuBLASLt -------------------------------------------- */

extern "C" size_t at_linear_dbias_bytes(const at_linear_wgrad_args *a)
{
    return at_bias_bytes(&a->dy, &a->dbias);
}

extern "C" at_status at_linear_dbias_cuda(const at_linear_wgrad_args *a, void *sums,
                                          const at_launch *l)
{
    return at_launched(l, at_bias_launch(&a->dy, &a->dbias, &a->bias_acc, sums, at_stream_of(l)));
}
