/* gram.cu -- bound by reading x once for C up to about 128 channels, by multiply-adds beyond: half
 * of a symmetric matrix is computed, over parts of the positions whose sums are written and read
 * once; the aim is 80 % of the bandwidth or 50 % of the tensor cores' peak. The gradient reads x
 * once for every 128 channels, and a matrix of C x C a sample. */
#include "kernels/ops.h"
#include "kernels/product_parts.cuh"

/* --- y[b] = scale * x[b]^T x[b] --------------------------------------------------------------- */

struct gram_job {
    at_matrix<AT_ALONG_OUTER> x; /* of a sample: (positions, C) */
    float *sums;                 /* (B, parts, C, at_sums_pitch(C)) */
    int64_t across, tiles;       /* tiles in a row of them; at the diagonal and above it */
    at_parts cut;                /* of the positions */
};

/* The tile with this number of those at the diagonal and above, row by row. */
template <class TILE>
__device__ __forceinline__ at_product_part upper_part_of(const gram_job &j, int64_t number)
{
    int64_t row = 0;
    while (number >= j.across - row)
        number -= j.across - row++;
    return { row * TILE::ROWS, (row + number) * TILE::COLS, j.x.outer, j.x.outer, 0, 0 };
}

template <class T, class TILE>
__global__ void __launch_bounds__(TILE::THREADS, (AT_TILE_BLOCKS<T, TILE>)) gram_product(gram_job j)
{
    const int64_t part = blockIdx.x / j.tiles, sample = part / j.cut.parts; /* of all samples */
    const int64_t channels = j.x.outer, pitch = at_sums_pitch(channels);
    const int positions = j.x.depth;
    at_product_part tile = upper_part_of<TILE>(j, blockIdx.x % j.tiles);
    tile.k_begin = (int)(part % j.cut.parts) * j.cut.length;
    tile.k_end = positions - tile.k_begin > j.cut.length ? tile.k_begin + j.cut.length : positions;
    at_matrix<AT_ALONG_OUTER> x = j.x;
    x.data += sample * positions * x.row_bytes;
    at_sums_end end = { { j.sums + part * channels * pitch, pitch, AT_F32, true }, {} };
    at_product_block<T, TILE>(x, x, end, tile);
}

struct gram_sum {
    at_lines y; /* (B * C, C) f32 */
    const float *sums;
    int64_t samples, channels, parts;
    float scale;
};

/* Adds up the parts in their order; what lies below the diagonal is read from above it. */
static __global__ void __launch_bounds__(AT_BLOCK) gram_add(gram_sum j)
{
    const int64_t matrix = j.channels * j.channels, pitch = at_sums_pitch(j.channels);
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= j.samples * matrix)
        return;
    const int64_t sample = i / matrix, r = i % matrix / j.channels, c = i % j.channels;
    const float *p = j.sums + (sample * j.parts * j.channels + (r < c ? r : c)) * pitch;
    p += r < c ? c : r;
    float sum = 0;
    for (int64_t part = 0; part < j.parts; part++)
        sum += p[part * j.channels * pitch];
    at_line<float>(j.y, sample * j.channels + r)[c] = j.scale * sum;
}

struct gram_plan {
    int64_t samples, positions, channels;
    at_parts cut; /* the same alone and in a batch */
    at_tile tile;
};

static gram_plan plan_of(const at_gram_args *a, int candidate)
{
    enum { LEAST = 1024 };
    gram_plan p = {};
    p.samples = a->x.size[0];
    p.channels = at_cols(&a->x);
    p.positions = at_rows(&a->x) / p.samples;
    const int64_t across = at_tiles_across<at_tile_large>(p.channels);
    p.cut = at_parts_of(p.positions, across * (across + 1) / 2, LEAST);
    p.tile = at_tile_of(p.channels, p.channels, p.samples * p.cut.parts, candidate);
    return p;
}

template <class T, class TILE>
static cudaError_t launch_tiles(gram_job &j, const gram_plan &p, cudaStream_t stream)
{
    j.across = at_tiles_across<TILE>(p.channels);
    j.tiles = j.across * (j.across + 1) / 2;
    return at_product_launch<TILE>(gram_product<T, TILE>, j, j.tiles * p.cut.parts * p.samples,
                                   stream);
}

template <class T>
static cudaError_t launch_gram(gram_job &j, const gram_plan &p, cudaStream_t stream)
{
    return p.tile == AT_TILE_LARGE ? launch_tiles<T, at_tile_large>(j, p, stream)
                                   : launch_tiles<T, at_tile_small>(j, p, stream);
}

extern "C" bool at_gram_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_gram_args *>(args);
    return at_is_simd_type(a->x.dtype) && at_is_depth(at_rows(&a->x) / a->x.size[0]);
}

extern "C" int at_gram_cuda_candidates(const void *args, const at_caps *)
{
    const int64_t channels = at_cols(&static_cast<const at_gram_args *>(args)->x);
    return at_tile_candidates(channels, channels);
}

extern "C" at_status at_gram_cuda_prepare(const void *args, const at_prepare_in *in,
                                          at_prepared *out, at_error *)
{
    const gram_plan p = plan_of(static_cast<const at_gram_args *>(args), in->candidate);
    const int64_t rows = p.samples * p.cut.parts * p.channels;
    at_candidate_keep(out, in->candidate);
    out->scratch_bytes = (size_t)(rows * at_sums_pitch(p.channels)) * sizeof(float);
    return AT_OK;
}

extern "C" at_status at_gram_cuda(const void *args, const at_prepared *prepared, const at_launch *l)
{
    const auto *a = static_cast<const at_gram_args *>(args);
    const gram_plan p = plan_of(a, at_candidate_of(prepared));
    gram_job j = {};
    j.x = at_matrix_of<AT_ALONG_OUTER>(at_lines_of(&a->x), p.channels, p.positions, a->x.dtype);
    j.sums = static_cast<float *>(l->scratch);
    j.cut = p.cut;
    const gram_sum sum = {
        at_lines_of(&a->y), j.sums, p.samples, p.channels, p.cut.parts, a->scale
    };
    const int64_t elements = at_elements(&a->y);
    cudaError_t error = AT_BY_TYPE(a->x.dtype, launch_gram, j, p, at_stream_of(l));
    if (error == cudaSuccess)
        error = AT_LAUNCH(gram_add, dim3((unsigned)((elements + AT_BLOCK - 1) / AT_BLOCK)),
                          dim3(AT_BLOCK), 0, at_stream_of(l), sum);
    return at_launched(l, error);
}

/* --- dx[b] = scale * x[b] (dy[b] + dy[b]^T) --------------------------------------------------- */

/* x with its channels once more behind them, from 'period' on. */
struct repeated {
    using place = at_matrix<AT_ALONG_K>::place;
    static constexpr at_along along = AT_ALONG_K;
    at_matrix<AT_ALONG_K> x; /* of a sample: (positions, C) */
    int period;              /* a multiple of a chunk, or beyond the end of k */
    bool direct;
};

__device__ __forceinline__ repeated::place at_source_place(const repeated &r, int64_t outer)
{
    return at_source_place(r.x, outer);
}

template <class T>
__device__ __forceinline__ const void *at_source_chunk(const repeated &r, repeated::place &p, int k,
                                                       bool &wanted)
{
    return at_source_chunk<T>(r.x, p, k < r.period ? k : k - r.period, wanted);
}

template <class T>
__device__ __forceinline__ void at_source_convert(T (&v)[AT_CHUNK<T>], const repeated &r,
                                                  repeated::place &p, int k)
{
    at_source_convert<T>(v, r.x, p, k < r.period ? k : k - r.period);
}

struct gram_bwd_end {
    at_lines y; /* (positions, C) */
};

__device__ __forceinline__ void at_end_put(gram_bwd_end &e, float (&v)[AT_PACK], int64_t row,
                                           int64_t col, int64_t n)
{
    at_row_store(e.y, row, col, n, v);
}

/* The matrix that x is multiplied with, as the tensor cores take it: in bf16 it is two, the
 * rounded one and behind it what rounding lost, so that dy's f32 is not cut to eight bits. In f16,
 * which gradients leave downwards, the product is computed in f32. */
struct gram_bwd_job {
    repeated x;
    at_matrix<AT_ALONG_K> s;         /* of a sample: (C, depth) in scratch */
    at_product_end end;              /* y: dx of a sample */
    at_lines dy;                     /* (B * C, C) f32 */
    int64_t samples, tiles, y_bytes; /* y_bytes: from sample to sample */
    float scale;
};

template <class T, class TILE>
__global__ void __launch_bounds__(TILE::THREADS, (AT_TILE_BLOCKS<T, TILE>))
    gram_bwd_product(gram_bwd_job j)
{
    const int64_t sample = blockIdx.x / j.tiles, positions = j.x.x.outer, channels = j.s.outer;
    const at_product_part part =
        at_product_part_of<TILE>(blockIdx.x % j.tiles, positions, channels, j.s.depth);
    j.x.x.data += sample * positions * j.x.x.row_bytes;
    j.s.data += sample * channels * j.s.row_bytes;
    j.end.y.data = static_cast<char *>(j.end.y.data) + sample * j.y_bytes;
    at_product_block<T, TILE>(j.x, j.s, j.end, part);
}

/* s = scale * (dy + dy^T), zeros behind its columns. */
template <class T>
__global__ void __launch_bounds__(AT_BLOCK) gram_bwd_matrix(gram_bwd_job j, T *s, int64_t half)
{
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    const int64_t channels = j.s.outer, depth = j.s.depth, row = i / half, c = i % half;
    if (row >= j.samples * channels)
        return;
    const int64_t first = row / channels * channels, r = row - first;
    float v = 0;
    if (c < channels)
        v = j.scale * (at_line<float>(j.dy, row)[c] + at_line<float>(j.dy, first + c)[r]);
    const T rounded = static_cast<T>(v);
    s[row * depth + c] = rounded;
    if (depth > half)
        s[row * depth + half + c] = static_cast<T>(v - static_cast<float>(rounded));
}

static at_dtype gram_bwd_type(const at_gram_bwd_args *a)
{
    return a->x.dtype == AT_BF16 ? AT_BF16 : AT_F32;
}

/* Columns of the matrix, and of it with its second half. */
static int64_t gram_bwd_half(const at_gram_bwd_args *a)
{
    return at_sums_pitch(at_cols(&a->x));
}

static int64_t gram_bwd_depth(const at_gram_bwd_args *a)
{
    return gram_bwd_half(a) * (gram_bwd_type(a) == AT_BF16 ? 2 : 1);
}

template <class T>
static cudaError_t launch_gram_bwd(gram_bwd_job &j, int64_t half, int candidate, void *scratch,
                                   cudaStream_t stream)
{
    const int64_t rows = j.x.x.outer, cols = j.s.outer, elements = j.samples * cols * half;
    const cudaError_t error =
        AT_LAUNCH(gram_bwd_matrix<T>, dim3((unsigned)((elements + AT_BLOCK - 1) / AT_BLOCK)),
                  dim3(AT_BLOCK), 0, stream, j, static_cast<T *>(scratch), half);
    if (error != cudaSuccess)
        return error;
    if (at_tile_of(rows, cols, j.samples, candidate) == AT_TILE_LARGE) {
        j.tiles = at_tiles_in<at_tile_large>(rows, cols);
        return at_product_launch<at_tile_large>(gram_bwd_product<T, at_tile_large>, j,
                                                j.tiles * j.samples, stream);
    }
    j.tiles = at_tiles_in<at_tile_small>(rows, cols);
    return at_product_launch<at_tile_small>(gram_bwd_product<T, at_tile_small>, j,
                                            j.tiles * j.samples, stream);
}

extern "C" bool at_gram_bwd_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_gram_bwd_args *>(args);
    return at_is_simd_type(a->x.dtype) && a->dy.dtype == AT_F32 && at_is_depth(2 * at_cols(&a->x));
}

extern "C" int at_gram_bwd_cuda_candidates(const void *args, const at_caps *)
{
    const auto *a = static_cast<const at_gram_bwd_args *>(args);
    return at_tile_candidates(at_rows(&a->x) / a->x.size[0], at_cols(&a->x));
}

extern "C" at_status at_gram_bwd_cuda_prepare(const void *args, const at_prepare_in *in,
                                              at_prepared *out, at_error *)
{
    const auto *a = static_cast<const at_gram_bwd_args *>(args);
    const int64_t elements = at_rows(&a->dy) * gram_bwd_depth(a);
    at_candidate_keep(out, in->candidate);
    out->scratch_bytes = (size_t)elements * at_dtype_bytes(gram_bwd_type(a));
    return AT_OK;
}

extern "C" at_status at_gram_bwd_cuda(const void *args, const at_prepared *p, const at_launch *l)
{
    const auto *a = static_cast<const at_gram_bwd_args *>(args);
    const at_dtype type = gram_bwd_type(a);
    const int64_t channels = at_cols(&a->x), half = gram_bwd_half(a), depth = gram_bwd_depth(a);
    gram_bwd_job j = {};
    j.samples = a->x.size[0];
    const int64_t positions = at_rows(&a->x) / j.samples;
    j.x.x = at_matrix_of<AT_ALONG_K>(at_lines_of(&a->x), positions, channels, type);
    j.x.period = depth > half ? (int)half : INT32_MAX;
    j.x.direct = j.x.x.direct;
    const at_lines s = { l->scratch, depth, type, true };
    j.s = at_matrix_of<AT_ALONG_K>(s, channels, depth, type);
    j.end.y = at_lines_of(&a->dx);
    j.y_bytes = positions * a->dx.pitch * (int64_t)at_dtype_bytes(a->dx.dtype);
    j.dy = at_lines_of(&a->dy);
    j.scale = a->scale;
    const int candidate = at_candidate_of(p);
    return at_launched(
        l, type == AT_BF16
               ? launch_gram_bwd<__nv_bfloat16>(j, half, candidate, l->scratch, at_stream_of(l))
               : launch_gram_bwd<float>(j, half, candidate, l->scratch, at_stream_of(l)));
}
