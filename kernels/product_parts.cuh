/* product_parts.cuh -- products over a k so long, or with a C so small, that several blocks share
 * a tile: each sums a part of k, and the parts are added up in order. So are gradients of weights,
 * and the sums of columns that go with them. What is cut where depends on sizes only. */
#ifndef AT_KERNELS_PRODUCT_PARTS_CUH
#define AT_KERNELS_PRODUCT_PARTS_CUH

#include "kernels/product.cuh"
#include "kernels/product_end.cuh"

/* A cut of k. */
struct at_parts {
    int parts, length; /* length: a multiple of AT_K_STEP of every type */
};

/* For a C of this many tiles; a part is no shorter than 'least'. */
static inline at_parts at_parts_of(int64_t depth, int64_t tiles, int64_t least)
{
    enum { BLOCKS = 192, ALIGN = 64 }; /* one or two for each multiprocessor */
    int64_t parts = BLOCKS / tiles, most = depth / least;
    parts = parts < most ? parts : most;
    parts = parts > 1 ? parts : 1;
    const int64_t length = ((depth + parts - 1) / parts + ALIGN - 1) / ALIGN * ALIGN;
    return { (int)((depth + length - 1) / length), (int)length };
}

/* Floats from row to row of sums in scratch. */
__host__ __device__ __forceinline__ int64_t at_sums_pitch(int64_t cols)
{
    return (cols + AT_PACK - 1) / AT_PACK * AT_PACK;
}

/* --- adding up -------------------------------------------------------------------------------- */

struct at_parts_job {
    at_lines y, acc;   /* (rows, cols) f32; acc: or no data */
    const float *sums; /* (parts, rows, at_sums_pitch(cols)) */
    int64_t rows, cols, parts;
};

/* y = acc + the parts, in their order. */
static __global__ void __launch_bounds__(AT_BLOCK) at_parts_add(at_parts_job j)
{
    const int64_t c = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * AT_PACK;
    const int64_t pitch = at_sums_pitch(j.cols);
    int64_t r = (int64_t)blockIdx.y * blockDim.y + threadIdx.y;
    for (; c < j.cols && r < j.rows; r += (int64_t)gridDim.y * blockDim.y) {
        float v[AT_PACK] = {}, w[AT_PACK];
        if (j.acc.data)
            at_pack_load(v, at_line<float>(j.acc, r) + c, j.cols - c, j.acc.wide, 0.0f);
        const float *p = j.sums + r * pitch + c;
        for (int64_t i = 0; i < j.parts; i++, p += j.rows * pitch) {
            at_pack_load(w, p, j.cols - c, true, 0.0f);
#pragma unroll
            for (int k = 0; k < AT_PACK; k++)
                v[k] += w[k];
        }
        at_pack_store(at_line<float>(j.y, r) + c, v, j.cols - c, j.y.wide);
    }
}

static inline cudaError_t at_parts_add_launch(const at_parts_job &j, cudaStream_t stream)
{
    const at_tiles t = at_tiles_of(j.rows, j.cols);
    return AT_LAUNCH(at_parts_add, t.grid, t.block, 0, stream, j);
}

/* --- gradients of weights --------------------------------------------------------------------- */

/* C (rows, cols) = dy^T x, or its parts one below the other; x is any source. */
template <class X>
struct at_weights_job {
    at_matrix<AT_ALONG_OUTER> dy; /* (depth, rows) */
    X x;                          /* (depth, cols) */
    at_sums_end end;              /* y: C, or the sums of part 0 */
    int64_t rows, cols, tiles;
    at_parts cut; /* of depth */
};

struct at_weights_plan {
    at_tile tile;
    int64_t tiles;
    at_parts cut;
    size_t sums; /* bytes of all parts */
};

static inline at_weights_plan at_weights_plan_of(int64_t rows, int64_t cols, int64_t depth,
                                                 int candidate)
{
    enum { LEAST = 512 };
    at_weights_plan p = {};
    p.tile = at_tile_of(rows, cols, depth / LEAST > 1 ? depth / LEAST : 1, candidate);
    p.tiles = p.tile == AT_TILE_LARGE ? at_tiles_in<at_tile_large>(rows, cols)
                                      : at_tiles_in<at_tile_small>(rows, cols);
    p.cut = at_parts_of(depth, p.tiles, LEAST);
    p.sums = (size_t)(p.cut.parts * rows * at_sums_pitch(cols)) * sizeof(float);
    return p;
}

template <class T, class TILE, class X>
__global__ void __launch_bounds__(TILE::THREADS, (AT_TILE_BLOCKS<T, TILE>))
    at_weights_product(at_weights_job<X> j)
{
    const int number = (int)(blockIdx.x / j.tiles), k = number * j.cut.length, depth = j.dy.depth;
    at_product_part part = at_product_part_of<TILE>(blockIdx.x % j.tiles, j.rows, j.cols, depth);
    part.k_begin = k;
    part.k_end = depth - k > j.cut.length ? k + j.cut.length : depth;
    at_sums_end end = j.end;
    end.y.data = at_line<float>(end.y, number * j.rows);
    at_product_block<T, TILE>(j.dy, j.x, end, part);
}

template <class T, class X>
static cudaError_t at_weights_launch(const at_weights_job<X> &j, at_tile tile, cudaStream_t stream)
{
    const int64_t blocks = j.tiles * j.cut.parts;
    if (tile == AT_TILE_LARGE)
        return at_product_launch<at_tile_large>(at_weights_product<T, at_tile_large, X>, j, blocks,
                                                stream);
    return at_product_launch<at_tile_small>(at_weights_product<T, at_tile_small, X>, j, blocks,
                                            stream);
}

/* --- sums of columns -------------------------------------------------------------------------- */

/* Rows in slabs, which blocks sum up by themselves; then the slabs in order. */
enum { AT_SLAB_ROWS = 256, AT_SLABS_MAX = 256, AT_SLAB_LANES = 8 };

struct at_columns_job {
    at_lines x;       /* (rows, cols) */
    float *y;         /* (cols) */
    const float *acc; /* (cols) or NULL */
    float *sums;      /* (slabs, cols) */
    int64_t rows, cols, slab, slabs;
};

static inline int64_t at_slab_of(int64_t rows)
{
    const int64_t slab = (rows + AT_SLABS_MAX - 1) / AT_SLABS_MAX;
    return slab > AT_SLAB_ROWS ? slab : (int64_t)AT_SLAB_ROWS;
}

static inline int64_t at_slabs_of(int64_t rows)
{
    return (rows + at_slab_of(rows) - 1) / at_slab_of(rows);
}

/* x (rows, cols) to y = acc + sums; 'sums' is scratch, at_slabs_of(rows) * cols floats. */
static inline at_columns_job at_columns_job_of(const at_view *x, const at_view *y,
                                               const at_view *acc, float *sums)
{
    at_columns_job j = {};
    j.x = at_lines_of(x);
    j.y = at_floats_of(y);
    j.acc = at_floats_of(acc);
    j.sums = sums;
    j.rows = at_rows(x);
    j.cols = at_cols(x);
    j.slab = at_slab_of(j.rows);
    j.slabs = at_slabs_of(j.rows);
    return j;
}

/* A warp has a pack of columns a thread, eight warps every eighth row of a slab. */
template <class T>
__global__ void __launch_bounds__(AT_BLOCK) at_columns_sum(at_columns_job j)
{
    AT_SHARED(float[AT_SLAB_LANES][AT_WARP][AT_PACK], room);
    const int64_t c = ((int64_t)blockIdx.x * AT_WARP + threadIdx.x) * AT_PACK;
    const int64_t begin = blockIdx.y * j.slab;
    const int64_t end = begin + j.slab < j.rows ? begin + j.slab : j.rows;
    float sum[AT_PACK] = {};
    for (int64_t r = begin + threadIdx.y; c < j.cols && r < end; r += AT_SLAB_LANES) {
        float v[AT_PACK];
        at_pack_load(v, at_line<T>(j.x, r) + c, j.cols - c, j.x.wide, 0.0f);
#pragma unroll
        for (int i = 0; i < AT_PACK; i++)
            sum[i] += v[i];
    }
#pragma unroll
    for (int i = 0; i < AT_PACK; i++)
        room[threadIdx.y][threadIdx.x][i] = sum[i];
    __syncthreads();
    /* Now a thread adds up one column: element threadIdx.y of lane threadIdx.x's pack. */
    float all = 0;
    for (int l = 0; l < AT_SLAB_LANES; l++)
        all += room[l][threadIdx.x][threadIdx.y];
    if (c + threadIdx.y < j.cols)
        j.sums[blockIdx.y * j.cols + c + threadIdx.y] = all;
}

static __global__ void __launch_bounds__(AT_BLOCK) at_columns_add(at_columns_job j)
{
    const int64_t c = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= j.cols)
        return;
    float sum = j.acc ? j.acc[c] : 0;
    for (int64_t s = 0; s < j.slabs; s++)
        sum += j.sums[s * j.cols + c];
    j.y[c] = sum;
}

template <class T>
cudaError_t at_columns_launch(const at_columns_job &j, cudaStream_t stream)
{
    const dim3 block(AT_WARP, AT_SLAB_LANES);
    const int64_t wide = AT_WARP * AT_PACK;
    const dim3 grid((unsigned)((j.cols + wide - 1) / wide), (unsigned)j.slabs);
    const cudaError_t error = AT_LAUNCH(at_columns_sum<T>, grid, block, 0, stream, j);
    if (error != cudaSuccess)
        return error;
    return AT_LAUNCH(at_columns_add, dim3((unsigned)((j.cols + AT_BLOCK - 1) / AT_BLOCK)),
                     dim3(AT_BLOCK), 0, stream, j);
}

/* dbias = bias_acc + the sums of dy's columns, where it is wanted. */
static inline cudaError_t at_bias_launch(const at_view *dy, const at_view *dbias,
                                         const at_view *bias_acc, void *sums, cudaStream_t stream)
{
    if (!at_has(dbias))
        return cudaSuccess;
    const at_columns_job j = at_columns_job_of(dy, dbias, bias_acc, static_cast<float *>(sums));
    return AT_BY_TYPE(dy->dtype, at_columns_launch, j, stream);
}

/* Bytes of scratch for that. */
static inline size_t at_bias_bytes(const at_view *dy, const at_view *dbias)
{
    return at_has(dbias) ? (size_t)(at_slabs_of(at_rows(dy)) * at_cols(dy)) * sizeof(float) : 0;
}

#endif
