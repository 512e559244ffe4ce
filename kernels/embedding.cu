/* embedding.cu -- bound by memory: rows that are asked for are read once and written once; the
 * gradient writes the whole table and reads dy once. The aim is 80 % of the bandwidth. */
#include "kernels/convert.cuh"
#include "kernels/moves.cuh"

/* The row of the table for an id; -1 outside of it. */
__device__ __forceinline__ int64_t row_of(int32_t id, int64_t vocabulary)
{
    return id >= 0 && id < vocabulary ? id : -1;
}

/* --- rows as they are ------------------------------------------------------------------------- */

struct embedding_rows_job {
    char *to;
    int64_t step; /* bytes from row to row */
    at_walk walk;
    const char *table;
    const int32_t *ids; /* (rows) */
    int64_t table_step, vocabulary;
};

__device__ __forceinline__ const char *at_move_from(const embedding_rows_job &j, int64_t r,
                                                    int64_t byte)
{
    const int64_t row = row_of(j.ids[r], j.vocabulary);
    return row < 0 ? nullptr : j.table + row * j.table_step + byte;
}

static cudaError_t copy_rows(const at_embedding_args *a, at_queue stream)
{
    const int64_t element = (int64_t)at_dtype_bytes(a->y.dtype);
    embedding_rows_job j = {};
    j.to = static_cast<char *>(a->y.data);
    j.step = a->y.pitch * element;
    j.walk.rows = at_rows(&a->y);
    j.walk.units = at_cols(&a->y) * element;
    j.table = static_cast<const char *>(a->table.data);
    j.ids = static_cast<const int32_t *>(a->ids.data);
    j.table_step = a->table.pitch * element;
    j.vocabulary = a->table.size[0];
    const uint64_t bits = (uint64_t)(uintptr_t)j.to | (uint64_t)(uintptr_t)j.table |
                          (uint64_t)j.step | (uint64_t)j.table_step | (uint64_t)j.walk.units;
    return AT_BY_UNIT(at_unit_of(bits), at_move_launch, j, stream);
}

/* --- rows in another type --------------------------------------------------------------------- */

struct embedding_convert_job {
    at_lines y, table; /* (rows, cols), (vocabulary, cols) */
    const int32_t *ids;
    int64_t rows, cols, vocabulary;
};

template <class V>
__global__ void __launch_bounds__(AT_BLOCK) embedding_packs(embedding_convert_job j)
{
    at_wait_for_earlier();
    const int64_t c = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * AT_PACK;
    int64_t r = (int64_t)blockIdx.y * blockDim.y + threadIdx.y;
    for (; c < j.cols && r < j.rows; r += (int64_t)gridDim.y * blockDim.y) {
        const int64_t row = row_of(j.ids[r], j.vocabulary);
        V v[AT_PACK] = {};
        if (row >= 0)
            at_values_load(v, j.table, row, c, j.cols);
        at_values_store(j.y, r, c, j.cols, v);
    }
}

template <class V>
static cudaError_t launch_packs(const at_embedding_args *a, at_queue stream)
{
    const embedding_convert_job j = {
        at_lines_of(&a->y), at_lines_of(&a->table), static_cast<const int32_t *>(a->ids.data),
        at_rows(&a->y),     at_cols(&a->y),         a->table.size[0]
    };
    const at_tiles t = at_tiles_of(j.rows, j.cols);
    return AT_LAUNCH_EARLY(embedding_packs<V>, t.grid, t.block, 0, stream, j);
}

extern "C" bool at_embedding_cuda_fits(const void *)
{
    return true;
}

extern "C" at_status at_embedding_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_embedding_args *>(args);
    const at_queue stream = at_queue_of(l);
    if (a->y.dtype == a->table.dtype)
        return at_launched(l, copy_rows(a, stream));
    return at_launched(l, a->table.dtype == AT_F64 ? launch_packs<double>(a, stream)
                                                   : launch_packs<float>(a, stream));
}

/* --- gradient --------------------------------------------------------------------------------- */

enum { TABLE_ROWS_MAX = 16, THREADS_MIN = 128 };

struct embedding_bwd_job {
    at_lines dtable, acc; /* (vocabulary, cols) f32; no acc: zeros */
    at_lines dy;          /* (rows, cols) */
    const int32_t *ids;   /* (rows) */
    int64_t rows, cols, vocabulary;
    int table_rows; /* of a block */
    bool begin;     /* dtable does not hold acc already */
};

/* dtable = acc or zeros, in this thread's columns of the block's rows. */
__device__ __forceinline__ void begin_rows(const embedding_bwd_job &j, int64_t first, int64_t end,
                                           int64_t c)
{
    for (int64_t v = first; v < end; v++) {
        float sum[AT_PACK] = {};
        if (j.acc.data)
            at_pack_load(sum, at_line<float>(j.acc, v) + c, j.cols - c, j.acc.wide, 0.0f);
        at_pack_store(at_line<float>(j.dtable, v) + c, sum, j.cols - c, j.dtable.wide);
    }
}

/* Adds n rows of dy, one after the other; the loads of several are on their way at once. */
template <class T>
__device__ __forceinline__ void add_rows(const embedding_bwd_job &j, int64_t v, int64_t base,
                                         int64_t c, const unsigned short *list, unsigned n)
{
    const int64_t left = j.cols - c;
    float *to = at_line<float>(j.dtable, v) + c;
    float sum[AT_PACK], dy[AT_PACK];
    at_pack_load(sum, to, left, j.dtable.wide, 0.0f);
    const unsigned n_wide = j.dy.wide && left >= AT_PACK ? n : 0;
#pragma unroll 4
    for (unsigned k = 0; k < n_wide; k++) {
        at_pack_load(dy, at_line<T>(j.dy, base + list[k]) + c, AT_PACK, true, 0.0f);
#pragma unroll
        for (int i = 0; i < AT_PACK; i++)
            sum[i] += dy[i];
    }
    for (unsigned k = n_wide; k < n; k++) {
        at_pack_load(dy, at_line<T>(j.dy, base + list[k]) + c, left, false, 0.0f);
#pragma unroll
        for (int i = 0; i < AT_PACK; i++)
            sum[i] += dy[i];
    }
    at_pack_store(to, sum, left, j.dtable.wide);
}

/* The block's threads whose 'mine' is true, in their order; returns how many there are. The list
 * and the counts are shared, and free again after the next barrier. */
__device__ __forceinline__ unsigned list_threads(bool mine, unsigned short *list, unsigned *counts)
{
    const unsigned lane = threadIdx.x % AT_WARP, warp = threadIdx.x / AT_WARP;
    const unsigned votes = __ballot_sync(AT_LANES_ALL, mine);
    unsigned before = 0, all = 0;
    if (lane == 0)
        counts[warp] = (unsigned)__popc(votes);
    __syncthreads();
    for (unsigned w = 0; w < blockDim.x / AT_WARP; w++) {
        before += w < warp ? counts[w] : 0;
        all += counts[w];
    }
    if (mine)
        list[before + (unsigned)__popc(votes & ((1u << lane) - 1))] = (unsigned short)threadIdx.x;
    __syncthreads();
    return all;
}

/* A block has some rows of the table and looks through all ids, as many at a time as it has
 * threads. Where it finds some of its own, it lists them in their order, id by id, and each thread
 * adds those rows up in its columns. So no two threads write to one place, and sums are the
 * reference's, to the last bit. */
template <class T>
__global__ void __launch_bounds__(AT_BLOCK) embedding_backward(embedding_bwd_job j)
{
    AT_SHARED(unsigned short[AT_BLOCK], list);
    AT_SHARED(unsigned[AT_BLOCK / AT_WARP], counts);
    AT_SHARED(unsigned[3], present); /* which rows, of this round; cleared two rounds ahead */
    const int64_t first = (int64_t)blockIdx.x * j.table_rows;
    const int64_t end = min(first + j.table_rows, j.vocabulary);
    const int64_t c = ((int64_t)blockIdx.y * blockDim.x + threadIdx.x) * AT_PACK;
    unsigned round = 0;
    if (threadIdx.x < 2)
        present[threadIdx.x] = 0;
    if (j.begin && c < j.cols)
        begin_rows(j, first, end, c);
    __syncthreads();
    for (int64_t base = 0; base < j.rows; base += blockDim.x, round = (round + 1) % 3) {
        const int64_t id = base + threadIdx.x < j.rows ? j.ids[base + threadIdx.x] : -1;
        const bool here = id >= first && id < end;
        if (here)
            atomicOr(&present[round], 1u << (id - first));
        __syncthreads();
        if (threadIdx.x == 0)
            present[(round + 2) % 3] = 0;
        unsigned left = present[round];
        for (; left; left &= left - 1) {
            const int64_t v = first + __ffs((int)left) - 1;
            const unsigned n = list_threads(here && id == v, list, counts);
            if (c < j.cols)
                add_rows<T>(j, v, base, c, list, n);
            __syncthreads();
        }
    }
}

template <class T>
static cudaError_t launch_backward(embedding_bwd_job j, at_queue stream)
{
    enum { BLOCKS = 1024 }; /* enough for any device */
    const int64_t packs = (j.cols - 1) / AT_PACK + 1, tiles = (packs - 1) / AT_BLOCK + 1;
    const int64_t least = (packs - 1) / tiles + 1, each = (j.vocabulary - 1) / BLOCKS + 1;
    const int64_t threads = (least + AT_WARP - 1) / AT_WARP * AT_WARP;
    j.table_rows = (int)(each < TABLE_ROWS_MAX ? each : (int64_t)TABLE_ROWS_MAX);
    const int64_t blocks = (j.vocabulary - 1) / j.table_rows + 1;
    const dim3 grid((unsigned)blocks, (unsigned)tiles);
    const dim3 block((unsigned)(threads > THREADS_MIN ? threads : (int64_t)THREADS_MIN));
    return AT_LAUNCH(embedding_backward<T>, grid, block, 0, stream, j);
}

extern "C" bool at_embedding_bwd_cuda_fits(const void *args)
{
    return at_is_simd_type(static_cast<const at_embedding_bwd_args *>(args)->dy.dtype);
}

extern "C" at_status at_embedding_bwd_cuda(const void *args, const at_prepared *,
                                           const at_launch *l)
{
    const auto *a = static_cast<const at_embedding_bwd_args *>(args);
    const bool begin = !at_has(&a->acc) || a->acc.data != a->dtable.data;
    embedding_bwd_job j = { at_lines_of(&a->dtable),
                            at_has(&a->acc) ? at_lines_of(&a->acc) : at_lines{},
                            at_lines_of(&a->dy),
                            static_cast<const int32_t *>(a->ids.data),
                            at_rows(&a->dy),
                            at_cols(&a->dy),
                            a->vocabulary,
                            0,
                            begin };
    return at_launched(l, AT_BY_TYPE(a->dy.dtype, launch_backward, j, at_queue_of(l)));
}
