/* lora.cu -- bound by memory for ranks up to about 100: w is read once and y written once, up and
 * down come from the L2 cache; the aim is 70 % of the bandwidth.
 *
 * A view with gaps between rows that are shorter than the matrix's, as a pitched (Co, Ci, Kh, Kw)
 * has them, takes a way through scratch: up and down are copied there, and the product of such a w
 * or y goes there first. */
#include "kernels/lora.h"
#include "kernels/product.cuh"
#include "kernels/product_end.cuh"

/* y = w + strength * scale * sums, or the sums alone. */
struct lora_end {
    at_lines y, w;         /* (rows, cols), y may lie over w; w: or no data */
    const float *strength; /* (1) or NULL: 1 */
    float scale;
};

__device__ __forceinline__ void at_end_put(lora_end &e, float (&v)[AT_PACK], int64_t row,
                                           int64_t col, int64_t n)
{
    const float factor = e.strength ? *e.strength * e.scale : 1.0f;
    float w[AT_PACK] = {};
    if (e.w.data)
        at_row_load(w, e.w, row, col, col + n, 0.0f);
#pragma unroll
    for (int i = 0; i < AT_PACK; i++)
        v[i] = fmaf(factor, v[i], w[i]);
    at_row_store(e.y, row, col, n, v);
}

struct lora_job {
    at_matrix<AT_ALONG_K> up;       /* (rows, rank) */
    at_matrix<AT_ALONG_OUTER> down; /* (rank, cols) */
    lora_end end;
};

template <class T, class TILE>
__global__ void __launch_bounds__(TILE::THREADS, (AT_TILE_BLOCKS<T, TILE>)) lora_product(lora_job j)
{
    const at_product_part part =
        at_product_part_of<TILE>(blockIdx.x, j.up.outer, j.down.outer, j.up.depth);
    at_product_block<T, TILE>(j.up, j.down, j.end, part);
}

/* --- views with gaps -------------------------------------------------------------------------- */

struct gaps_job {
    at_lines y, w; /* their own rows, of 'inner' */
    float *sums;   /* (rows, cols); copying: what w becomes */
    const float *strength;
    float scale;
    int64_t elements, inner;
};

static __global__ void __launch_bounds__(AT_BLOCK) lora_copy(gaps_job j)
{
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < j.elements)
        j.sums[i] = at_row_get(j.w, i / j.inner, i % j.inner);
}

static __global__ void __launch_bounds__(AT_BLOCK) lora_merge(gaps_job j)
{
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= j.elements)
        return;
    const int64_t r = i / j.inner, c = i % j.inner;
    float v[AT_PACK] = {};
    v[0] = fmaf(*j.strength * j.scale, j.sums[i], at_row_get(j.w, r, c));
    at_row_store(j.y, r, c, 1, v);
}

static dim3 blocks_of(int64_t elements)
{
    return dim3((unsigned)((elements + AT_BLOCK - 1) / AT_BLOCK));
}

/* --- launches --------------------------------------------------------------------------------- */

template <class T>
static cudaError_t launch(const lora_job &j, int candidate, cudaStream_t stream)
{
    const int64_t rows = j.up.outer, cols = j.down.outer;
    if (at_tile_of(rows, cols, 1, candidate) == AT_TILE_LARGE)
        return at_product_launch<at_tile_large>(lora_product<T, at_tile_large>, j,
                                                at_tiles_in<at_tile_large>(rows, cols), stream);
    return at_product_launch<at_tile_small>(lora_product<T, at_tile_small>, j,
                                            at_tiles_in<at_tile_small>(rows, cols), stream);
}

/* Floats of scratch for each way around: copies of up and down, sums. A multiple of a chunk. */
struct lora_scratch {
    int64_t up, down, sums;
};

static int64_t room_of(const at_view *v)
{
    enum { ALIGN = 16 };
    return (at_elements(v) + ALIGN - 1) / ALIGN * ALIGN;
}

static lora_scratch scratch_of(const at_lora_args *a)
{
    const bool gaps = !at_is_matrix(&a->w) || !at_is_matrix(&a->y);
    return { at_is_matrix(&a->up) ? 0 : room_of(&a->up),
             at_is_matrix(&a->down) ? 0 : room_of(&a->down), gaps ? room_of(&a->w) : 0 };
}

/* The matrix's lines; where the view has gaps, those of its copy, which is enqueued. */
static at_lines lines_of(const at_view *v, float *copy, cudaStream_t stream, cudaError_t *error)
{
    if (at_is_matrix(v))
        return at_lines_joined(v, at_matrix_pitch(v));
    gaps_job j = {};
    j.w = at_lines_of(v);
    j.sums = copy;
    j.elements = at_elements(v);
    j.inner = at_cols(v);
    if (*error == cudaSuccess)
        *error = AT_LAUNCH(lora_copy, blocks_of(j.elements), dim3(AT_BLOCK), 0, stream, j);
    return { copy, at_matrix_cols(v), AT_F32, at_matrix_cols(v) % 4 == 0 };
}

extern "C" bool at_lora_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_lora_args *>(args);
    return at_is_simd_type(a->w.dtype) && at_is_simd_type(a->up.dtype) &&
           at_is_simd_type(a->down.dtype) && a->strength.dtype == AT_F32 &&
           at_is_depth(a->down.size[0]);
}

extern "C" int at_lora_cuda_candidates(const void *args, const at_caps *)
{
    const auto *a = static_cast<const at_lora_args *>(args);
    return at_tile_candidates(a->w.size[0], at_matrix_cols(&a->w));
}

extern "C" at_status at_lora_cuda_prepare(const void *args, const at_prepare_in *in,
                                          at_prepared *out, at_error *)
{
    const lora_scratch s = scratch_of(static_cast<const at_lora_args *>(args));
    at_candidate_keep(out, in->candidate);
    out->scratch_bytes = (size_t)(s.up + s.down + s.sums) * sizeof(float);
    return AT_OK;
}

extern "C" at_status at_lora_cuda(const void *args, const at_prepared *p, const at_launch *l)
{
    const auto *a = static_cast<const at_lora_args *>(args);
    const int64_t rows = a->w.size[0], cols = at_matrix_cols(&a->w), rank = a->down.size[0];
    const lora_scratch s = scratch_of(a);
    float *const scratch = static_cast<float *>(l->scratch), *sums = scratch + s.up + s.down;
    cudaStream_t stream = at_stream_of(l);
    cudaError_t error = cudaSuccess;
    const at_lines up = lines_of(&a->up, scratch, stream, &error);
    const at_lines down = lines_of(&a->down, scratch + s.up, stream, &error);
    const at_dtype type = up.dtype == down.dtype ? up.dtype : AT_F32;
    lora_job j = {};
    j.up = at_matrix_of<AT_ALONG_K>(up, rows, rank, type);
    j.down = at_matrix_of<AT_ALONG_OUTER>(down, cols, rank, type);
    if (s.sums)
        j.end.y = { sums, cols, AT_F32, cols % 4 == 0 };
    else
        j.end = { at_lines_joined(&a->y, at_matrix_pitch(&a->y)),
                  at_lines_joined(&a->w, at_matrix_pitch(&a->w)), at_floats_of(&a->strength),
                  a->scale };
    if (error == cudaSuccess)
        error = AT_BY_TYPE(type, launch, j, at_candidate_of(p), stream);
    const gaps_job merge = {
        at_lines_of(&a->y), at_lines_of(&a->w), sums,          at_floats_of(&a->strength),
        a->scale,           rows * cols,        at_cols(&a->w)
    };
    if (error == cudaSuccess && s.sums)
        error = AT_LAUNCH(lora_merge, blocks_of(merge.elements), dim3(AT_BLOCK), 0, stream, merge);
    return at_launched(l, error);
}
