/* reduce.cu -- bound by memory: x is read once, its parts' sums (a tenth of it where rows are added
 * up, else a thousandth) are written and read again; broadcasting writes y once. The aim is 85 % of
 * the bandwidth.
 *
 * Sums are kept in doubles, as on the processor: by the rates of sm_80 and sm_90 a conversion and
 * an addition for each element take half of the time in which bf16 arrives. Parts are cut by the
 * sizes of one sample, or of one row, and added up in their order. */
#include "kernels/reduce.h"

#include "kernels/convert.cuh"
#include "kernels/spread.h"

enum { THREADS = AT_BLOCK };

/* Where sums go: y = sum / count + acc. */
struct reduce_target {
    float *y, *acc; /* (groups, cols), rows apart by their pitch; acc may be NULL */
    int64_t y_pitch, acc_pitch;
    double count;
    double *parts; /* scratch */
};

__device__ __forceinline__ void finish(const reduce_target &to, int64_t g, int64_t c, double sum)
{
    const double acc = to.acc ? to.acc[g * to.acc_pitch + c] : 0.0;
    to.y[g * to.y_pitch + c] = static_cast<float>(sum / to.count + acc);
}

/* --- a thread's sums: one for each column of its packs ---------------------------------------- */

__device__ __forceinline__ void add_pack(double (&sum)[AT_PACK], const float (&v)[AT_PACK],
                                         bool squares)
{
#pragma unroll
    for (int i = 0; i < AT_PACK; i++) {
        const double x = v[i];
        sum[i] = fma(x, squares ? x : 1.0, sum[i]);
    }
}

/* n packs, 'step' elements apart: whole ones at addresses of vectors, several on their way. */
template <class T>
__device__ __forceinline__ void add_wide(double (&sum)[AT_PACK], const T *x, int64_t step,
                                         int64_t n, bool squares)
{
    constexpr int BATCH = 8 / sizeof(T);
    int64_t k = 0;
    for (; k + BATCH <= n; k += BATCH) {
        float v[BATCH][AT_PACK];
#pragma unroll
        for (int b = 0; b < BATCH; b++)
            at_pack_load(v[b], x + (k + b) * step, AT_PACK, true, 0.0f);
#pragma unroll
        for (int b = 0; b < BATCH; b++)
            add_pack(sum, v[b], squares);
    }
    for (; k < n; k++) {
        float v[AT_PACK];
        at_pack_load(v, x + k * step, AT_PACK, true, 0.0f);
        add_pack(sum, v, squares);
    }
}

/* The same sums element by element, of packs that have 'valid' columns. */
template <class T>
__device__ __forceinline__ void add_narrow(double (&sum)[AT_PACK], const T *x, int64_t step,
                                           int64_t n, int64_t valid, bool squares)
{
    for (int64_t k = 0; k < n; k++) {
        float v[AT_PACK];
        at_pack_load(v, x + k * step, valid, false, 0.0f);
        add_pack(sum, v, squares);
    }
}

__device__ __forceinline__ double pack_total(const double (&sum)[AT_PACK])
{
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

/* The sum of 'lanes' neighbours, a power of two up to a warp; all get it. The whole warp calls. */
__device__ __forceinline__ double lanes_sum(double v, unsigned lanes)
{
    for (unsigned bits = lanes / 2; bits > 0; bits /= 2)
        v += __shfl_xor_sync(AT_LANES_ALL, v, bits);
    return v;
}

/* The block's, for its first thread; 'room' is shared, (AT_WARPS_MAX). */
__device__ __forceinline__ double block_sum(double v, double *room)
{
    v = lanes_sum(v, AT_WARP);
    if (threadIdx.x % AT_WARP == 0)
        room[threadIdx.x / AT_WARP] = v;
    __syncthreads();
    for (unsigned w = 1; threadIdx.x == 0 && w < blockDim.x / AT_WARP; w++)
        v += room[w];
    return v;
}

/* --- along: rows are added up to numbers ------------------------------------------------------ */

struct reduce_along_job {
    at_lines x; /* (rows, cols) */
    int64_t rows, cols;
    bool squares;
    reduce_target to;
    int64_t pieces;    /* of a row that is longer than a part */
    int64_t part_rows; /* rows of a part; 1 where a row has several */
    int64_t each;      /* parts of one output */
};

/* This thread's share of columns [first, end) of a row: every lanes-th pack. */
template <class T>
__device__ __forceinline__ void add_columns(double (&sum)[AT_PACK], const reduce_along_job &j,
                                            int64_t r, int64_t first, int64_t end, unsigned lane,
                                            unsigned lanes)
{
    const int64_t step = (int64_t)lanes * AT_PACK, c = first + (int64_t)lane * AT_PACK;
    const int64_t whole = c + AT_PACK <= end ? (end - AT_PACK - c) / step + 1 : 0;
    const T *x = at_line<T>(j.x, r) + c;
    if (j.x.wide)
        add_wide(sum, x, step, whole, j.squares);
    else
        add_narrow(sum, x, step, whole, AT_PACK, j.squares);
    const int64_t rest = end - (c + whole * step);
    if (rest > 0)
        add_narrow(sum, x + whole * step, step, 1, rest, j.squares);
}

/* Rows up to a part long, each by blockDim.x threads: some lanes of a warp, or the block. */
template <class T>
__global__ void __launch_bounds__(THREADS) reduce_rows(reduce_along_job j)
{
    AT_SHARED(double[AT_WARPS_MAX], room);
    const int64_t r = at_kept_row();
    double sum[AT_PACK] = {};
    if (r < j.rows)
        add_columns<T>(sum, j, r, 0, j.cols, threadIdx.x, blockDim.x);
    double total = pack_total(sum);
    total = blockDim.x <= AT_WARP ? lanes_sum(total, blockDim.x) : block_sum(total, room);
    if (r < j.rows && threadIdx.x == 0)
        finish(j.to, 0, r, total);
}

/* A block adds up a part: a piece of a row, or several short rows. */
template <class T>
__global__ void __launch_bounds__(THREADS) reduce_parts(reduce_along_job j)
{
    AT_SHARED(double[AT_WARPS_MAX], room);
    const int64_t part = blockIdx.x, block = part / j.pieces, piece = part - block * j.pieces;
    const int64_t first = piece * AT_REDUCE_ALONG, r0 = block * j.part_rows;
    const int64_t end = min(first + AT_REDUCE_ALONG, j.cols), rows = min(j.part_rows, j.rows - r0);
    double sum[AT_PACK] = {};
    if (rows == 1) {
        add_columns<T>(sum, j, r0, first, end, threadIdx.x, THREADS);
    } else { /* a thread's packs are in any of the rows */
        const unsigned packs = (unsigned)((j.cols + AT_PACK - 1) / AT_PACK);
        for (unsigned q = threadIdx.x; q < packs * (unsigned)rows; q += THREADS) {
            const unsigned r = q / packs, c = (q - r * packs) * AT_PACK;
            float v[AT_PACK];
            at_pack_load(v, at_line<T>(j.x, r0 + r) + c, j.cols - c, j.x.wide, 0.0f);
            add_pack(sum, v, j.squares);
        }
    }
    const double total = block_sum(pack_total(sum), room);
    if (threadIdx.x == 0)
        j.to.parts[part] = total;
}

/* A block adds up the parts of an output. */
static __global__ void __launch_bounds__(THREADS) reduce_along_end(reduce_along_job j)
{
    AT_SHARED(double[AT_WARPS_MAX], room);
    const double *parts = j.to.parts + (int64_t)blockIdx.x * j.each;
    double sum = 0;
#pragma unroll 4
    for (int64_t k = threadIdx.x; k < j.each; k += blockDim.x)
        sum += parts[k];
    sum = block_sum(sum, room);
    if (threadIdx.x == 0)
        finish(j.to, 0, blockIdx.x, sum);
}

/* --- down: rows are added up to one ----------------------------------------------------------- */

/* 'groups' times 'rows' rows of 'width' columns are added up. Where short rows lie together, as
 * many as make whole packs are one row of 'fold' times y's, and the last of those may be cut. */
struct reduce_down_job {
    const void *x;
    int64_t groups, group_step, rows, step; /* in elements */
    int64_t width, last;                    /* columns of a row, and of the last row */
    int64_t cols, fold;                     /* of y; width = cols * fold */
    int64_t part_rows;
    unsigned tiles, parts; /* tiles of columns, and parts of the rows */
    unsigned across, down; /* a block's threads: packs of a tile, rows */
    bool wide, squares;
    reduce_target to; /* parts: (groups, parts, width), or NULL: y is written at once */
};

template <class T>
__global__ void __launch_bounds__(THREADS) reduce_down(reduce_down_job j)
{
    AT_SHARED(double[AT_PACK][THREADS], room);
    const unsigned number = blockIdx.x / j.tiles, tile = blockIdx.x - number * j.tiles;
    const unsigned g = number / j.parts, part = number - g * j.parts;
    const int64_t c = ((int64_t)tile * blockDim.x + threadIdx.x) * AT_PACK, r0 = part * j.part_rows;
    const int64_t end = min(r0 + j.part_rows, j.rows), r = r0 + threadIdx.y;
    const unsigned thread = threadIdx.y * blockDim.x + threadIdx.x;
    const bool cut = end == j.rows && j.last < j.width; /* the part's last row is no whole one */
    const int64_t whole_end = cut ? end - 1 : end, step = j.step * blockDim.y;
    const unsigned n = r < whole_end ? (unsigned)(whole_end - r - 1) / blockDim.y + 1 : 0;
    const T *x = static_cast<const T *>(j.x) + g * j.group_step + r * j.step + c;
    double sum[AT_PACK] = {};
    if (j.wide && c + AT_PACK <= j.width)
        add_wide(sum, x, step, n, j.squares);
    else
        add_narrow(sum, x, step, n, j.width - c, j.squares);
    if (cut && r + (int64_t)n * blockDim.y == end - 1)
        add_narrow(sum, x + n * step, step, 1, j.last - c, j.squares);
#pragma unroll
    for (int i = 0; i < AT_PACK; i++)
        room[i][thread] = sum[i];
    __syncthreads();
    unsigned half = 1;
    while (2 * half < blockDim.y)
        half *= 2;
    for (; half > 0; half /= 2) {
        if (threadIdx.y < half && threadIdx.y + half < blockDim.y)
#pragma unroll
            for (int i = 0; i < AT_PACK; i++)
                room[i][thread] += room[i][thread + half * blockDim.x];
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < AT_PACK; i++) {
        if (threadIdx.y > 0 || c + i >= j.width)
            continue;
        if (j.to.parts)
            j.to.parts[(int64_t)number * j.width + c + i] = room[i][thread];
        else
            finish(j.to, g, c + i, room[i][thread]);
    }
}

enum { END_COLUMNS = 16, END_ROWS_MAX = 32, END_EACH = 4 };

/* Adds up the parts of END_COLUMNS columns, and the columns that are folded onto them; a power of
 * two of threads for each column. */
static __global__ void __launch_bounds__(END_COLUMNS *END_ROWS_MAX)
    reduce_down_end(reduce_down_job j)
{
    AT_SHARED(double[END_ROWS_MAX][END_COLUMNS], room);
    const unsigned tiles = (unsigned)((j.cols - 1) / END_COLUMNS + 1), g = blockIdx.x / tiles;
    const int64_t c = (int64_t)(blockIdx.x - g * tiles) * END_COLUMNS + threadIdx.x;
    const double *parts = j.to.parts + (int64_t)g * j.parts * j.width + c;
    double sum = 0;
    if (c < j.cols)
#pragma unroll 4
        for (int64_t k = threadIdx.y; k < j.parts * j.fold; k += blockDim.y)
            sum += parts[k * j.cols]; /* part k / fold, column c + k % fold * cols */
    room[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    for (unsigned half = blockDim.y / 2; half > 0; half /= 2) {
        if (threadIdx.y < half)
            room[threadIdx.y][threadIdx.x] += room[threadIdx.y + half][threadIdx.x];
        __syncthreads();
    }
    if (threadIdx.y == 0 && c < j.cols)
        finish(j.to, g, c, room[0][threadIdx.x]);
}

/* --- how the work is cut ---------------------------------------------------------------------- */

static reduce_target target_of(const at_reduce_args *a, void *scratch)
{
    const double outputs = (double)at_elements(&a->y);
    return { at_floats_of(&a->y),
             at_floats_of(&a->acc),
             a->y.pitch,
             a->acc.pitch,
             a->kind == AT_MEAN ? (double)at_elements(&a->x) / outputs : 1.0,
             static_cast<double *>(scratch) };
}

static reduce_along_job along_of(const at_reduce_args *a, const at_reduce_walk *w, void *scratch)
{
    const bool all = a->over == AT_OVER_ALL;
    reduce_along_job j = {};
    j.x = w->groups == 1 ? at_lines_joined(&a->x, 0) : at_lines_of(&a->x);
    j.rows = w->groups;
    j.cols = w->cols;
    j.squares = a->kind == AT_SUM_SQUARES;
    j.to = target_of(a, scratch);
    j.pieces = at_reduce_pieces(w);
    j.part_rows = all && w->cols < AT_REDUCE_ALONG ? AT_REDUCE_ALONG / w->cols : 1;
    j.each = j.pieces * (all ? (j.rows + j.part_rows - 1) / j.part_rows : 1);
    return j;
}

/* Rows that are one output each and no longer than a part need no parts. */
static bool has_parts(const at_reduce_args *a, const reduce_along_job *j)
{
    return a->over == AT_OVER_ALL || j->pieces > 1;
}

static int64_t parts_of(const at_reduce_args *a, const reduce_along_job *j)
{
    return has_parts(a, j) ? j->each * at_elements(&a->y) : 0;
}

/* Tiles of up to 64 packs; parts of at least 8 rows a thread, and as many as keep three blocks on
 * each multiprocessor of the largest device. */
static void cut_down(reduce_down_job *j)
{
    enum { ACROSS_MAX = 64, THREAD_ROWS = 8, PARTS_MAX = 384 };
    const int64_t packs = (j->width + AT_PACK - 1) / AT_PACK;
    j->tiles = (unsigned)((packs - 1) / ACROSS_MAX + 1);
    j->across = (unsigned)((packs - 1) / j->tiles + 1);
    j->down = THREADS / j->across;
    if (j->down > j->rows)
        j->down = (unsigned)j->rows;
    const int64_t least = (int64_t)j->down * THREAD_ROWS, most = (j->rows - 1) / PARTS_MAX + 1;
    j->part_rows = most > least ? most : least;
    j->parts = (unsigned)((j->rows - 1) / j->part_rows + 1);
}

static reduce_down_job down_of(const at_reduce_args *a, const at_reduce_walk *w, void *scratch)
{
    enum { FOLD_ROWS = 4 };
    const uint64_t element = at_dtype_bytes(a->x.dtype);
    reduce_down_job j = {};
    j.x = a->x.data;
    j.groups = w->groups;
    j.group_step = w->group_step;
    j.rows = w->rows;
    j.step = w->step;
    j.width = j.last = j.cols = w->cols;
    j.fold = 1;
    while (j.fold * j.cols % AT_PACK)
        j.fold *= 2;
    if (w->step != w->cols || w->rows < j.fold * FOLD_ROWS)
        j.fold = 1;
    if (j.fold > 1) {
        const int64_t all = w->rows * w->cols;
        j.step = j.width = j.fold * j.cols;
        j.rows = (all - 1) / j.width + 1;
        j.last = all - (j.rows - 1) * j.width;
    }
    uint64_t bits = (uint64_t)(uintptr_t)j.x | (j.rows > 1 ? (uint64_t)j.step * element : 0);
    bits |= j.groups > 1 ? (uint64_t)j.group_step * element : 0;
    j.wide = bits % 16 == 0;
    j.squares = a->kind == AT_SUM_SQUARES;
    cut_down(&j);
    j.to = target_of(a, j.parts > 1 || j.fold > 1 ? scratch : nullptr);
    return j;
}

/* --- launches --------------------------------------------------------------------------------- */

template <class T>
static cudaError_t launch_rows(const reduce_along_job &j, cudaStream_t stream)
{
    enum { ROWS_THREADS = 128 };
    const int64_t packs = (j.cols + AT_PACK - 1) / AT_PACK;
    unsigned x = 1;
    while (x < THREADS && (int64_t)x * (x < AT_WARP ? 1 : 2) < packs)
        x *= 2;
    const unsigned y = x <= AT_WARP ? ROWS_THREADS / x : 1;
    const int64_t blocks = (j.rows - 1) / y + 1;
    return AT_LAUNCH(reduce_rows<T>, dim3((unsigned)blocks), dim3(x, y), 0, stream, j);
}

template <class T>
static cudaError_t launch_parts(const reduce_along_job &j, int64_t parts, cudaStream_t stream)
{
    cudaError_t error = AT_LAUNCH(reduce_parts<T>, dim3((unsigned)parts), THREADS, 0, stream, j);
    const int threads = j.each > AT_WARP ? (int)THREADS : (int)AT_WARP;
    if (error == cudaSuccess)
        error =
            AT_LAUNCH(reduce_along_end, dim3((unsigned)(parts / j.each)), threads, 0, stream, j);
    return error;
}

template <class T>
static cudaError_t launch_down(const reduce_down_job &j, cudaStream_t stream)
{
    const int64_t blocks = j.groups * j.parts * j.tiles;
    const int64_t ends = j.groups * ((j.cols - 1) / END_COLUMNS + 1);
    unsigned end_rows = 1;
    while (end_rows < END_ROWS_MAX && (int64_t)end_rows * END_EACH < j.parts * j.fold)
        end_rows *= 2;
    cudaError_t error =
        AT_LAUNCH(reduce_down<T>, dim3((unsigned)blocks), dim3(j.across, j.down), 0, stream, j);
    if (error == cudaSuccess && j.to.parts)
        error = AT_LAUNCH(reduce_down_end, dim3((unsigned)ends), dim3(END_COLUMNS, end_rows), 0,
                          stream, j);
    return error;
}

extern "C" bool at_reduce_cuda_fits(const void *args)
{
    return at_is_simd_type(static_cast<const at_reduce_args *>(args)->x.dtype);
}

extern "C" at_status at_reduce_cuda_prepare(const void *args, const at_prepare_in *,
                                            at_prepared *out, at_error *)
{
    const auto *a = static_cast<const at_reduce_args *>(args);
    const at_reduce_walk w = at_reduce_walk_of(a);
    if (w.down) {
        const reduce_down_job j = down_of(a, &w, nullptr);
        if (j.parts > 1 || j.fold > 1)
            out->scratch_bytes = sizeof(double) * (size_t)(j.groups * j.parts * j.width);
        return AT_OK;
    }
    const reduce_along_job j = along_of(a, &w, nullptr);
    out->scratch_bytes = sizeof(double) * (size_t)parts_of(a, &j);
    return AT_OK;
}

extern "C" at_status at_reduce_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_reduce_args *>(args);
    const at_reduce_walk w = at_reduce_walk_of(a);
    const cudaStream_t stream = at_stream_of(l);
    if (w.down)
        return at_launched(l,
                           AT_BY_TYPE(a->x.dtype, launch_down, down_of(a, &w, l->scratch), stream));
    const reduce_along_job j = along_of(a, &w, l->scratch);
    if (!has_parts(a, &j))
        return at_launched(l, AT_BY_TYPE(a->x.dtype, launch_rows, j, stream));
    return at_launched(l, AT_BY_TYPE(a->x.dtype, launch_parts, j, parts_of(a, &j), stream));
}

/* --- broadcast -------------------------------------------------------------------------------- */

struct broadcast_job {
    at_lines y; /* (rows, cols) */
    at_lines x; /* row r of y is laid out from row r / every % x_rows */
    int64_t rows, cols, every, x_rows;
    int64_t period; /* not 0: x's rows are this short, and repeated along y's */
    float scale;
};

template <class V>
__device__ __forceinline__ V value_at(const at_lines &l, int64_t row, int64_t c)
{
    switch (l.dtype) {
    case AT_BF16: return at_value_of<V>(at_line<__nv_bfloat16>(l, row)[c]);
    case AT_F16: return at_value_of<V>(at_line<__half>(l, row)[c]);
    case AT_F8: return at_value_of<V>(at_line<__nv_fp8_e4m3>(l, row)[c]);
    case AT_F64: return at_value_of<V>(at_line<double>(l, row)[c]);
    default: return at_value_of<V>(at_line<float>(l, row)[c]);
    }
}

template <class V>
__global__ void __launch_bounds__(AT_BLOCK) broadcast_packs(broadcast_job j)
{
    const int64_t c = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * AT_PACK;
    int64_t r = (int64_t)blockIdx.y * blockDim.y + threadIdx.y;
    for (; c < j.cols && r < j.rows; r += (int64_t)gridDim.y * blockDim.y) {
        int64_t row = j.every == 1 ? r : r / j.every; /* divisions are dear, and seldom needed */
        if (row >= j.x_rows)
            row = j.x_rows == 1 ? 0 : row % j.x_rows;
        V v[AT_PACK];
        if (j.period) {
            int64_t at = c % j.period;
#pragma unroll
            for (int i = 0; i < AT_PACK; i++) {
                v[i] = value_at<V>(j.x, row, at);
                at = at + 1 < j.period ? at + 1 : 0;
            }
        } else {
            at_values_load(v, j.x, row, c, j.cols);
        }
#pragma unroll
        for (int i = 0; i < AT_PACK; i++)
            v[i] *= static_cast<V>(j.scale);
        at_values_store(j.y, r, c, j.cols, v);
    }
}

template <class V>
static cudaError_t launch_broadcast(const broadcast_job &j, cudaStream_t stream)
{
    const at_tiles t = at_tiles_of(j.rows, j.cols);
    return AT_LAUNCH(broadcast_packs<V>, t.grid, t.block, 0, stream, j);
}

extern "C" bool at_broadcast_cuda_fits(const void *)
{
    return true;
}

extern "C" at_status at_broadcast_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_broadcast_args *>(args);
    const at_spread_map m = at_spread_map_of(&a->y, &a->x, a->spread, at_dense(&a->y));
    const bool repeated = m.period && m.dense; /* then a row of y is all that one of x gives */
    broadcast_job j = {};
    j.cols = repeated ? m.cols * m.every : m.cols;
    j.rows = at_elements(&a->y) / j.cols;
    j.every = repeated ? 1 : m.every;
    j.x_rows = m.rows;
    j.period = m.period;
    j.scale = a->scale != 0 ? a->scale : 1.0f;
    j.y = m.dense ? at_lines_joined(&a->y, j.cols) : at_lines_of(&a->y);
    j.x = at_lines_joined(&a->x, m.pitch);
    const bool single = at_values_are_float(a->x.dtype) && at_values_are_float(a->y.dtype);
    return at_launched(l, single ? launch_broadcast<float>(j, at_stream_of(l))
                                 : launch_broadcast<double>(j, at_stream_of(l)));
}
