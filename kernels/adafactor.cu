/* adafactor.cu -- bound by memory: the update's size must be known before it is made, and the means
 * before that, so g is read three times, and w read and written once; the aim is 80 % of the
 * bandwidth.
 *
 * The first two passes go tile by tile, TILE_ROWS rows of TILE_COLS columns: a lane adds up its
 * columns, a warp its rows. Borders and the order of every sum depend on the matrix's size only. */
#include "kernels/optimizer.cuh"
#include "kernels/sums.cuh"

enum {
    WARPS = 8,
    TILE_ROWS = 64,
    TILE_COLS = AT_WARP * AT_PACK,
    GRID_Y_MAX = 65535,
    PARTS_AT_ONCE = 8, /* of a column, when its parts are added up */
};

/* Everything is left as it is where the gradient factor is 0. */
struct adafactor_job {
    at_lines w, g, low;  /* (n, k) */
    float *row, *col;    /* (n), (k): means of g^2 */
    const float *hyper;  /* (4) */
    int64_t n, k;        /* the matrix is n rows of k */
    int64_t down, along; /* tiles */
    float eps, clip, decay;
    double *mean; /* (1): of row */
    double *tile; /* (down, along): sums of squares of the update */
    float *rows;  /* (n, along): sums of g^2 */
    float *cols;  /* (down, k): likewise */
    float *root;  /* (k): 1 / sqrt(col) */
    float *rate;  /* (1): lr, less where the update is clipped */
};

/* This warp's row i of the tile, and this lane's first column. */
__device__ __forceinline__ int64_t tile_row(int64_t tile, int i)
{
    return tile * TILE_ROWS + (int64_t)i * WARPS + threadIdx.y;
}

__device__ __forceinline__ int64_t tile_column()
{
    return (int64_t)blockIdx.x * TILE_COLS + threadIdx.x * AT_PACK;
}

template <class G>
__device__ __forceinline__ void load_gradient(float (&g)[AT_PACK], const adafactor_job &j,
                                              int64_t r, int64_t c)
{
    at_pack_load(g, at_line<G>(j.g, r) + c, j.k - c, j.g.wide, 0.0f);
}

/* --- the means -------------------------------------------------------------------------------- */

template <class G>
__device__ __forceinline__ void square_tile(const adafactor_job &j, int64_t tile,
                                            float (&room)[WARPS][TILE_COLS])
{
    const float factor = j.hyper[AT_HYPER_FACTOR];
    const int64_t c = tile_column();
    float sums[AT_PACK] = {};
    for (int i = 0; i < TILE_ROWS / WARPS; i++) {
        const int64_t r = tile_row(tile, i);
        float g[AT_PACK], sum = 0;
        if (r >= j.n) /* the whole warp */
            break;
        load_gradient<G>(g, j, r, c);
#pragma unroll
        for (int e = 0; e < AT_PACK; e++) {
            g[e] *= factor;
            sum = fmaf(g[e], g[e], sum);
            sums[e] = fmaf(g[e], g[e], sums[e]);
        }
        sum = at_warp_sum(sum);
        if (threadIdx.x == 0)
            j.rows[r * j.along + blockIdx.x] = sum;
    }
#pragma unroll
    for (int e = 0; e < AT_PACK; e++)
        room[threadIdx.y][e * AT_WARP + threadIdx.x] = sums[e];
}

template <class G>
__global__ void __launch_bounds__(AT_WARP *WARPS) adafactor_squares(adafactor_job j)
{
    AT_SHARED(float[WARPS][TILE_COLS], room);
    const unsigned t = threadIdx.y * AT_WARP + threadIdx.x; /* a column of the tile */
    const int64_t c = (int64_t)blockIdx.x * TILE_COLS + t;
    if (j.hyper[AT_HYPER_FACTOR] == 0)
        return;
    for (int64_t tile = blockIdx.y; tile < j.down; tile += gridDim.y) {
        float sum = 0;
        square_tile<G>(j, tile, room);
        __syncthreads();
        for (int y = 0; y < WARPS; y++)
            sum += room[y][t % AT_PACK * AT_WARP + t / AT_PACK];
        if (c < j.k)
            j.cols[tile * j.k + c] = sum;
        __syncthreads();
    }
}

__device__ __forceinline__ float moved(const adafactor_job &j, float old, double sum, int64_t count)
{
    const double beta = j.hyper[AT_HYPER_BIAS2];
    return static_cast<float>(beta * old + (1 - beta) * (sum / count + j.eps));
}

/* PARTS_AT_ONCE threads share a column. */
__device__ __forceinline__ void column_means(const adafactor_job &j)
{
    AT_SHARED(double[PARTS_AT_ONCE][AT_WARP], room);
    const int64_t c = (int64_t)blockIdx.x * AT_WARP + threadIdx.x;
    double sum = 0;
    for (int64_t part = threadIdx.y; part < j.down && c < j.k; part += PARTS_AT_ONCE)
        sum += j.cols[part * j.k + c];
    room[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y > 0 || c >= j.k)
        return;
    for (int y = 1; y < PARTS_AT_ONCE; y++)
        sum += room[y][threadIdx.x];
    const float mean = moved(j, j.col[c], sum, j.n);
    j.col[c] = mean;
    j.root[c] = 1.0f / sqrtf(mean);
}

/* A thread has a row. */
__device__ __forceinline__ void row_means(const adafactor_job &j)
{
    const unsigned t = threadIdx.y * AT_WARP + threadIdx.x;
    const int64_t r = (int64_t)blockIdx.x * (AT_WARP * PARTS_AT_ONCE) + t;
    double sum = 0;
    for (int64_t part = 0; part < j.along && r < j.n; part++)
        sum += j.rows[r * j.along + part];
    if (r < j.n)
        j.row[r] = moved(j, j.row[r], sum, j.k);
}

static __global__ void __launch_bounds__(AT_WARP *PARTS_AT_ONCE) adafactor_means(adafactor_job j)
{
    if (j.hyper[AT_HYPER_FACTOR] == 0)
        return;
    if (blockIdx.y == 0)
        column_means(j);
    else
        row_means(j);
}

/* One block: the mean of row. */
static __global__ void __launch_bounds__(AT_BLOCK_MAX) adafactor_mean(adafactor_job j)
{
    AT_SHARED(double[AT_WARPS_MAX], room);
    double sum = 0;
    if (j.hyper[AT_HYPER_FACTOR] == 0)
        return;
    for (int64_t r = threadIdx.x; r < j.n; r += blockDim.x)
        sum += j.row[r];
    sum = at_block_sum(sum, room);
    if (threadIdx.x == 0)
        *j.mean = sum / j.n;
}

/* --- the update ------------------------------------------------------------------------------- */

/* What row r's gradients are multiplied with, besides their columns' roots. */
__device__ __forceinline__ float row_factor(const adafactor_job &j, int64_t r, float mean)
{
    return j.hyper[AT_HYPER_FACTOR] / sqrtf(j.row[r] / mean);
}

template <class G>
__global__ void __launch_bounds__(AT_WARP *WARPS) adafactor_size(adafactor_job j)
{
    AT_SHARED(double[AT_WARPS_MAX], room);
    const int64_t c = tile_column();
    if (j.hyper[AT_HYPER_FACTOR] == 0)
        return;
    const float mean = static_cast<float>(*j.mean);
    const bool wide = true; /* scratch is aligned */
    float root[AT_PACK];
    at_pack_load(root, j.root + c, j.k - c, wide, 0.0f);
    for (int64_t tile = blockIdx.y; tile < j.down; tile += gridDim.y) {
        double squares = 0;
        for (int i = 0; i < TILE_ROWS / WARPS; i++) {
            const int64_t r = tile_row(tile, i);
            float g[AT_PACK], sum = 0;
            if (r >= j.n)
                break;
            const float factor = row_factor(j, r, mean);
            load_gradient<G>(g, j, r, c);
#pragma unroll
            for (int e = 0; e < AT_PACK; e++) {
                g[e] *= factor * root[e];
                sum = fmaf(g[e], g[e], sum);
            }
            squares += sum;
        }
        squares = at_warp_sum(squares);
        if (threadIdx.x == 0)
            room[threadIdx.y] = squares;
        __syncthreads();
        for (int y = 1; y < WARPS && threadIdx.y == 0; y++)
            squares += room[y];
        if (threadIdx.x == 0 && threadIdx.y == 0)
            j.tile[tile * j.along + blockIdx.x] = squares;
        __syncthreads();
    }
}

/* One block. */
static __global__ void __launch_bounds__(AT_BLOCK_MAX) adafactor_rate(adafactor_job j)
{
    AT_SHARED(double[AT_WARPS_MAX], room);
    if (j.hyper[AT_HYPER_FACTOR] == 0)
        return;
    const double squares = at_places_sum(j.tile, j.down * j.along, room);
    const double size = sqrt(squares / (static_cast<double>(j.n) * j.k)) / j.clip;
    if (threadIdx.x == 0)
        *j.rate = static_cast<float>(j.hyper[AT_HYPER_LR] / (size > 1 ? size : 1.0));
}

template <class G>
__global__ void __launch_bounds__(AT_BLOCK) adafactor_step(adafactor_job j)
{
    const bool skip = j.hyper[AT_HYPER_FACTOR] == 0;
    const float keep = fmaf(-j.hyper[AT_HYPER_LR], j.decay, 1.0f);
    const float mean = skip ? 1.0f : static_cast<float>(*j.mean), rate = skip ? 0.0f : *j.rate;
    const int64_t c = at_step_column();
    const bool wide = true; /* scratch is aligned */
    float root[AT_QUAD] = {};
    if (c >= j.k)
        return;
    if (!skip)
        at_quad_take(root, at_quad_load(j.root + c, j.k - c, wide));
    for (int64_t r = at_step_row(); r < j.n; r += (int64_t)gridDim.y * blockDim.y) {
        float w[AT_QUAD], g[AT_QUAD];
        const at_quad<float> w_in = at_quad_get<float>(j.w, r, c, j.k);
        at_quad_take(g, at_quad_get<G>(j.g, r, c, j.k));
        at_quad_take(w, w_in);
        if (!skip) {
            const float factor = row_factor(j, r, mean) * rate;
            AT_FOR_QUAD(i)
            w[i] = fmaf(w[i], keep, -(g[i] * factor * root[i]));
            at_quad_put<float>(j.w, r, c, j.k, w);
        }
        at_low_put(j.low, r, c, j.k, w);
    }
}

/* --- launches --------------------------------------------------------------------------------- */

/* Scratch: first the vector that is loaded 16 bytes at a time, then f64, then f32. */
static int64_t root_places(const adafactor_job &j)
{
    enum { ALIGN = 16 };
    return (j.k + ALIGN - 1) / ALIGN * ALIGN;
}

static size_t bytes_of(const adafactor_job &j)
{
    const int64_t f64 = 1 + j.down * j.along;
    const int64_t f32 = root_places(j) + j.n * j.along + j.down * j.k + 1;
    return (size_t)f64 * sizeof(double) + (size_t)f32 * sizeof(float);
}

static void set_places(adafactor_job *j, void *scratch)
{
    j->root = static_cast<float *>(scratch);
    j->mean = reinterpret_cast<double *>(j->root + root_places(*j));
    j->tile = j->mean + 1;
    j->rows = reinterpret_cast<float *>(j->tile + j->down * j->along);
    j->cols = j->rows + j->n * j->along;
    j->rate = j->cols + j->down * j->k;
}

static adafactor_job job_of(const at_adafactor_args *a)
{
    adafactor_job j = {};
    j.n = a->w.size[0];
    j.k = a->w.size[1];
    j.down = (j.n + TILE_ROWS - 1) / TILE_ROWS;
    j.along = (j.k + TILE_COLS - 1) / TILE_COLS;
    return j;
}

template <class G>
static cudaError_t launch(const adafactor_job &j, cudaStream_t stream)
{
    const int64_t down = j.down < GRID_Y_MAX ? j.down : (int64_t)GRID_Y_MAX;
    const dim3 grid((unsigned)j.along, (unsigned)down), block(AT_WARP, WARPS);
    const int64_t columns = (j.k + AT_WARP - 1) / AT_WARP;
    const int64_t each = AT_WARP * PARTS_AT_ONCE, rows = (j.n + each - 1) / each;
    const dim3 means((unsigned)(columns > rows ? columns : rows), 2), share(AT_WARP, PARTS_AT_ONCE);
    const at_tiles step = at_step_tiles_of(j.n, j.k);
    const unsigned tiles = at_places_threads(j.down * j.along);
    cudaError_t error = AT_LAUNCH(adafactor_squares<G>, grid, block, 0, stream, j);
    if (error == cudaSuccess)
        error = AT_LAUNCH(adafactor_means, means, share, 0, stream, j);
    if (error == cudaSuccess)
        error = AT_LAUNCH(adafactor_mean, 1, at_places_threads(j.n), 0, stream, j);
    if (error == cudaSuccess)
        error = AT_LAUNCH(adafactor_size<G>, grid, block, 0, stream, j);
    if (error == cudaSuccess)
        error = AT_LAUNCH(adafactor_rate, 1, tiles, 0, stream, j);
    if (error == cudaSuccess)
        error = AT_LAUNCH(adafactor_step<G>, step.grid, step.block, 0, stream, j);
    return error;
}

extern "C" bool at_adafactor_cuda_fits(const void *args)
{
    return at_is_simd_type(static_cast<const at_adafactor_args *>(args)->g.dtype);
}

extern "C" at_status at_adafactor_cuda_prepare(const void *args, const at_prepare_in *,
                                               at_prepared *out, at_error *)
{
    out->scratch_bytes = bytes_of(job_of(static_cast<const at_adafactor_args *>(args)));
    return AT_OK;
}

extern "C" at_status at_adafactor_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_adafactor_args *>(args);
    adafactor_job j = job_of(a);
    set_places(&j, l->scratch);
    j.w = at_lines_of(&a->w);
    j.g = at_lines_of(&a->g);
    if (at_has(&a->w_low))
        j.low = at_lines_of(&a->w_low);
    j.row = at_floats_of(&a->row);
    j.col = at_floats_of(&a->col);
    j.hyper = at_floats_of(&a->hyper);
    j.eps = a->eps;
    j.clip = a->clip;
    j.decay = a->decay;
    return at_launched(l, AT_BY_TYPE(a->g.dtype, launch, j, at_stream_of(l)));
}
