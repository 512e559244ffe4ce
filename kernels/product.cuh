/* product.cuh -- the product of a block of threads, which linear, convolution, Gram matrices and
 * their gradients share: C (rows, cols) = A (rows, k) B (cols, k)^T for one tile of C.
 *
 * A caller has a kernel of its own, in which it says with plain structs
 *   where tiles of A and B come from  a source, as at_matrix below: any struct S with 'S::place',
 *                                     'S::along', 'direct' and the three at_source_ functions;
 *   what becomes of the sums          an end, as at_product_end below: a struct with at_end_put(),
 *                                     which gets eight neighbouring columns of a row at a time.
 * A source hands out chunks of 16 bytes: neighbours along k, or along the outer axis (rows of A,
 * columns of B), whichever memory has side by side. Where they lie in memory as they are computed
 * with, aligned to 16 and whole, cp.async brings them; elsewhere they come through registers,
 * element by element where it must be, and are rounded to the type of the computation T.
 *
 * A ring of AT_STAGES tiles in shared memory, each with 64 bytes of k for every row and column, is
 * filled ahead of the tensor cores (bf16, f16: mma.m16n8k16) or of fused multiply-adds (f32).
 * Every sum is one chain over k, 16 by 16 or one by one, whatever tile it is computed in: an
 * output's bytes do not depend on the tile, nor on which other rows and columns there are. */
#ifndef AT_KERNELS_PRODUCT_CUH
#define AT_KERNELS_PRODUCT_CUH

#include "kernels/device/async.cuh"
#include "kernels/device/mma.cuh"
#include "kernels/elements.cuh"

/* k is an int: what is longer does not fit. */
static inline bool at_is_depth(int64_t depth)
{
    return depth <= INT32_MAX / 2;
}

enum { AT_STAGES = 4, AT_CHUNK_BYTES = 16, AT_K_BYTES = 64, AT_K_CHUNKS = 4 };

/* Elements of a chunk, and of k in a stage. */
template <class T>
constexpr int AT_CHUNK = AT_CHUNK_BYTES / sizeof(T);
template <class T>
constexpr int AT_K_STEP = AT_K_BYTES / sizeof(T);

/* Two tiles: the large one reads each operand half as often, 64 multiply-adds for every element,
 * and has 16 mma for 6 ldmatrix; the small one fills the device when there are few, and wastes less
 * of a narrow C. Their rings take 64 and 32 KiB, so that two and four blocks share the shared
 * memory of an A100 or H100, as they share its registers. */
struct at_tile_large {
    enum { ROWS = 128, COLS = 128, THREADS = 256 };
};
struct at_tile_small {
    enum { ROWS = 64, COLS = 64, THREADS = 128 };
};

/* Blocks that share a multiprocessor: four warps for each of its schedulers with 128 registers a
 * thread; fewer in f32, whose sums and operands take more. */
template <class T, class TILE>
constexpr int AT_TILE_BLOCKS = (sizeof(T) == 4 ? 384 : 512) / TILE::THREADS;

/* What the memory of an operand has side by side. */
enum at_along { AT_ALONG_K, AT_ALONG_OUTER };

/* --- a matrix as a source --------------------------------------------------------------------- */

/* (outer, depth) in memory with ALONG_K, (depth, outer) with ALONG_OUTER. */
template <at_along ALONG>
struct at_matrix {
    static constexpr at_along along = ALONG;
    /* What a thread remembers of its chunks' outer index; here where they begin, and how many
     * elements there are from there on: of k, or of the outer axis, if those are few. */
    struct place {
        const char *at;
        int left;
    };
    const char *data;
    int64_t bytes, row_bytes; /* of an element; from row to row of memory */
    int64_t outer;
    int depth;
    at_dtype dtype;
    bool wide;   /* every chunk begins at a multiple of its bytes, up to 16 */
    bool direct; /* chunks are copied as they lie */
};

/* For sums in 'computed': rows of A, or of B, that the lines have as rows (ALONG_K) or as
 * columns. */
template <at_along ALONG>
static inline at_matrix<ALONG> at_matrix_of(const at_lines &l, int64_t outer, int64_t depth,
                                            at_dtype computed)
{
    const int64_t run = ALONG == AT_ALONG_K ? depth : outer;
    const int64_t bytes = (int64_t)at_dtype_bytes(l.dtype);
    const bool whole = run * bytes % AT_CHUNK_BYTES == 0;
    at_matrix<ALONG> m = {};
    m.data = static_cast<const char *>(l.data);
    m.bytes = bytes;
    m.row_bytes = l.pitch * bytes;
    m.outer = outer;
    m.depth = (int)depth;
    m.dtype = l.dtype;
    m.wide = l.wide;
    m.direct = l.wide && whole && l.dtype == computed;
    return m;
}

/* The place of the chunk, or the column of chunks, whose outer index begins at 'outer'. */
template <at_along ALONG>
__device__ __forceinline__ typename at_matrix<ALONG>::place at_source_place(
    const at_matrix<ALONG> &m, int64_t outer)
{
    if (ALONG == AT_ALONG_K)
        return { m.data + outer * m.row_bytes, outer < m.outer ? m.depth : 0 };
    const int64_t left = m.outer - outer;
    return { m.data + outer * m.bytes, (int)(left < AT_K_BYTES ? left : (int64_t)AT_K_BYTES) };
}

/* Where 'direct': the address of the chunk at k, a multiple of 16 even where it is not wanted,
 * which means zeros. A place sees k grow by AT_K_STEP and may keep what it knows. */
template <class T, at_along ALONG>
__device__ __forceinline__ const void *at_source_chunk(const at_matrix<ALONG> &m,
                                                       typename at_matrix<ALONG>::place &p, int k,
                                                       bool &wanted)
{
    if (ALONG == AT_ALONG_K) {
        wanted = k < p.left;
        return p.at + (int64_t)k * (int)sizeof(T);
    }
    wanted = p.left > 0 && k < m.depth;
    return p.at + k * m.row_bytes;
}

template <int BYTES>
struct at_bytes_vector {
    using type = uint4;
};
template <>
struct at_bytes_vector<8> {
    using type = uint2;
};
template <>
struct at_bytes_vector<4> {
    using type = uint32_t;
};

/* v = n elements of S from p on, and zeros. */
template <class T, class S>
__device__ __forceinline__ void at_chunk_convert(T (&v)[AT_CHUNK<T>], const char *p, int n,
                                                 bool wide)
{
    constexpr int BYTES = AT_CHUNK<T> * sizeof(S), EACH = BYTES < 16 ? BYTES : 16;
    using V = typename at_bytes_vector<EACH>::type;
    if (wide && n >= AT_CHUNK<T>) {
#pragma unroll
        for (int i = 0; i < AT_CHUNK<T>; i += EACH / sizeof(S)) {
            const V raw = at_load<V>(p + i * sizeof(S));
            const S *e = reinterpret_cast<const S *>(&raw);
#pragma unroll
            for (int j = 0; j < EACH / (int)sizeof(S); j++)
                v[i + j] = static_cast<T>(static_cast<float>(e[j]));
        }
        return;
    }
#pragma unroll
    for (int i = 0; i < AT_CHUNK<T>; i++)
        v[i] = static_cast<T>(i < n ? static_cast<float>(reinterpret_cast<const S *>(p)[i]) : 0.0f);
}

template <class T>
__device__ __forceinline__ void at_chunk_convert_any(T (&v)[AT_CHUNK<T>], const char *p, int n,
                                                     bool wide, at_dtype dtype)
{
    if (dtype == AT_F32)
        at_chunk_convert<T, float>(v, p, n, wide);
    else if (dtype == AT_BF16)
        at_chunk_convert<T, __nv_bfloat16>(v, p, n, wide);
    else if (dtype == AT_F16)
        at_chunk_convert<T, __half>(v, p, n, wide);
    else
        at_chunk_convert<T, __nv_fp8_e4m3>(v, p, n, wide);
}

/* Where not 'direct': the chunk's elements at k, in the type of the computation. */
template <class T, at_along ALONG>
__device__ __forceinline__ void at_source_convert(T (&v)[AT_CHUNK<T>], const at_matrix<ALONG> &m,
                                                  typename at_matrix<ALONG>::place &p, int k)
{
    if (ALONG == AT_ALONG_K)
        at_chunk_convert_any<T>(v, p.at + k * m.bytes, p.left - k, m.wide, m.dtype);
    else
        at_chunk_convert_any<T>(v, p.at + k * m.row_bytes, k < m.depth ? p.left : 0, m.wide,
                                m.dtype);
}

/* --- tiles in shared memory ------------------------------------------------------------------- */

/* Byte offset of chunk c of line r of a tile with 'OUTER' rows or columns. A line is one outer
 * index with four chunks of k, or one k with all outer indices. Chunks change places within a line
 * so that eight lines' chunks at the same place, which ldmatrix reads at a time, and a line's
 * neighbours lie in different banks. */
template <class T, int OUTER, at_along ALONG>
__device__ __forceinline__ int at_tile_offset(int r, int c)
{
    if (ALONG == AT_ALONG_K)
        return (r * AT_K_CHUNKS + (c ^ (r >> 1 & 3))) * AT_CHUNK_BYTES;
    return (r * (OUTER / AT_CHUNK<T>)+(c ^ (r & 7))) * AT_CHUNK_BYTES;
}

/* The i-th chunk that this thread brings: where in the tile, and which. */
struct at_spot {
    int bytes, outer, k;
};

template <class T, int OUTER, at_along ALONG>
__device__ __forceinline__ at_spot at_spot_of(int i, int threads)
{
    constexpr int LINE = ALONG == AT_ALONG_K ? (int)AT_K_CHUNKS : OUTER / AT_CHUNK<T>;
    const int id = (int)threadIdx.x + i * threads, r = id / LINE, c = id % LINE;
    const int bytes = at_tile_offset<T, OUTER, ALONG>(r, c), along = c * AT_CHUNK<T>;
    if (ALONG == AT_ALONG_K)
        return { bytes, r, along };
    return { bytes, along, r };
}

/* Brings this thread's chunks of a tile from k on. */
template <class T, int OUTER, class S, int N>
__device__ __forceinline__ void at_tile_fill(unsigned char *tile, const S &s,
                                             typename S::place (&places)[N], int k, int threads)
{
#pragma unroll
    for (int i = 0; i < N; i++) {
        const at_spot spot = at_spot_of<T, OUTER, S::along>(i, threads);
        if (s.direct) {
            bool wanted;
            const void *from = at_source_chunk<T>(s, places[i], k + spot.k, wanted);
            at_copy_async16(tile + spot.bytes, from, wanted);
        } else {
            __align__(16) T v[AT_CHUNK<T>];
            at_source_convert<T>(v, s, places[i], k + spot.k);
            at_store(tile + spot.bytes, *reinterpret_cast<const uint4 *>(v));
        }
    }
}

template <class T, int OUTER, class S, int N>
__device__ __forceinline__ void at_tile_places(typename S::place (&places)[N], const S &s,
                                               int64_t first, int threads)
{
#pragma unroll
    for (int i = 0; i < N; i++)
        places[i] = at_source_place(s, first + at_spot_of<T, OUTER, S::along>(i, threads).outer);
}

/* The tile of C that a block computes, and its part of k, which ends with k or is a multiple of
 * AT_K_STEP. */
struct at_product_part {
    int64_t row, col, rows, cols; /* its first, and where C ends */
    int k_begin, k_end;
};

/* --- sums on tensor cores --------------------------------------------------------------------- */

__device__ __forceinline__ void at_mma(float (&d)[4], const uint32_t (&a)[4],
                                       const uint32_t (&b)[2], const __nv_bfloat16 *)
{
    at_mma_m16n8k16_bf16(d, a, b, d);
}

__device__ __forceinline__ void at_mma(float (&d)[4], const uint32_t (&a)[4],
                                       const uint32_t (&b)[2], const __half *)
{
    at_mma_m16n8k16_f16(d, a, b, d);
}

/* Two rows of warps, each over half of the tile's rows and 32 columns: those beyond C rest. */
template <class T, class TILE>
struct at_sums {
    enum { HIGH = TILE::ROWS / 2 / 16, WIDE = 4, ACROSS = TILE::COLS / 32 };
    float d[HIGH][WIDE][4]; /* of 16 x 8, as mma.cuh lays them out */
};

/* The 16 x 16 of k at chunk 2 * ks that begin at 'outer', as the fragment that A needs. */
template <class T, int OUTER, at_along ALONG>
__device__ __forceinline__ void at_fragment_a(uint32_t (&r)[4], const unsigned char *tile,
                                              int outer, int ks)
{
    const int lane = threadIdx.x % AT_WARP;
    if (ALONG == AT_ALONG_K)
        at_ldmatrix_x4(
            r, tile + at_tile_offset<T, OUTER, ALONG>(outer + lane % 16, 2 * ks + lane / 16));
    else
        at_ldmatrix_x4_trans(
            r, tile + at_tile_offset<T, OUTER, ALONG>(16 * ks + lane / 16 * 8 + lane % 8,
                                                      outer / 8 + lane / 8 % 2));
}

/* The same as two fragments of B, of 8 columns each. */
template <class T, int OUTER, at_along ALONG>
__device__ __forceinline__ void at_fragment_b(uint32_t (&r)[4], const unsigned char *tile,
                                              int outer, int ks)
{
    const int lane = threadIdx.x % AT_WARP;
    if (ALONG == AT_ALONG_K)
        at_ldmatrix_x4(r, tile + at_tile_offset<T, OUTER, ALONG>(outer + lane / 16 * 8 + lane % 8,
                                                                 2 * ks + lane / 8 % 2));
    else
        at_ldmatrix_x4_trans(
            r, tile + at_tile_offset<T, OUTER, ALONG>(16 * ks + lane % 16, outer / 8 + lane / 16));
}

/* Adds a stage's products. */
template <at_along A, at_along B, class T, class TILE>
__device__ __forceinline__ void at_sums_add(at_sums<T, TILE> &s, const unsigned char *a,
                                            const unsigned char *b, const at_product_part &part)
{
    using S = at_sums<T, TILE>;
    const int warp = threadIdx.x / AT_WARP;
    const int row = warp / S::ACROSS * (TILE::ROWS / 2), col = warp % S::ACROSS * 32;
    if (part.row + row >= part.rows || part.col + col >= part.cols)
        return;
#pragma unroll
    for (int ks = 0; ks < AT_K_STEP<T> / 16; ks++) {
        uint32_t fa[S::HIGH][4];
#pragma unroll
        for (int i = 0; i < S::HIGH; i++)
            at_fragment_a<T, TILE::ROWS, A>(fa[i], a, row + 16 * i, ks);
#pragma unroll
        for (int j = 0; j < S::WIDE; j += 2) {
            uint32_t fb[4];
            at_fragment_b<T, TILE::COLS, B>(fb, b, col + 8 * j, ks);
            const uint32_t left[2] = { fb[0], fb[1] }, right[2] = { fb[2], fb[3] };
#pragma unroll
            for (int i = 0; i < S::HIGH; i++) {
                at_mma(s.d[i][j], fa[i], left, static_cast<const T *>(nullptr));
                at_mma(s.d[i][j + 1], fa[i], right, static_cast<const T *>(nullptr));
            }
        }
    }
}

/* Lays the sums of one half of the rows into 'room', (ROWS / 2, pitch). */
template <at_along A, at_along B, class T, class TILE>
__device__ __forceinline__ void at_sums_lay(const at_sums<T, TILE> &s, float *room, int pitch,
                                            int half)
{
    using S = at_sums<T, TILE>;
    const int warp = threadIdx.x / AT_WARP, lane = threadIdx.x % AT_WARP;
    if (warp / S::ACROSS != half)
        return;
    float *first = room + lane / 4 * pitch + warp % S::ACROSS * 32 + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < S::HIGH; i++)
#pragma unroll
        for (int j = 0; j < S::WIDE; j++) {
            float *p = first + 16 * i * pitch + 8 * j;
            at_store(p, make_float2(s.d[i][j][0], s.d[i][j][1]));
            at_store(p + 8 * pitch, make_float2(s.d[i][j][2], s.d[i][j][3]));
        }
}

/* --- sums in f32 ------------------------------------------------------------------------------ */

/* Sixteen threads across, each with eight rows and every sixteenth column; where memory runs along
 * the outer axis four neighbours instead of one. */
template <class TILE>
struct at_sums<float, TILE> {
    enum { ACROSS = 16, DOWN = TILE::THREADS / 16, HIGH = 8, WIDE = TILE::COLS / 16 };
    float d[HIGH][WIDE];
};

template <at_along ALONG>
__device__ __forceinline__ int at_sums_place(int i, int thread, int threads)
{
    return ALONG == AT_ALONG_K ? i * threads + thread : (i / 4 * threads + thread) * 4 + i % 4;
}

/* Four steps of k, from chunk kk on, of this thread's N outer indices. */
template <int OUTER, at_along ALONG, int N>
__device__ __forceinline__ void at_fours_load(float (&v)[4][N], const unsigned char *tile, int kk,
                                              int thread, int threads)
{
    constexpr bool K = ALONG == AT_ALONG_K;
#pragma unroll
    for (int i = 0; i < N; i++) {
        const int q = i % 4, j = i - q; /* with outer indices side by side: step, first of four */
        const int r = K ? i * threads + thread : 4 * kk + q, c = K ? kk : j / 4 * threads + thread;
        const float4 f = at_load<float4>(tile + at_tile_offset<float, OUTER, ALONG>(r, c));
        const float e[4] = { f.x, f.y, f.z, f.w };
#pragma unroll
        for (int n = 0; n < 4; n++)
            v[K ? n : q][K ? i : j + n] = e[n];
    }
}

template <at_along A, at_along B, class TILE>
__device__ __forceinline__ void at_sums_add(at_sums<float, TILE> &s, const unsigned char *a,
                                            const unsigned char *b, const at_product_part &)
{
    using S = at_sums<float, TILE>;
    const int down = threadIdx.x / S::ACROSS, across = threadIdx.x % S::ACROSS;
    constexpr int LOT = A == AT_ALONG_K ? 1 : 4; /* rows that are loaded at a time */
#pragma unroll
    for (int kk = 0; kk < AT_K_CHUNKS; kk++) {
        float y[4][S::WIDE];
        at_fours_load<TILE::COLS, B>(y, b, kk, across, S::ACROSS);
#pragma unroll
        for (int i = 0; i < S::HIGH; i += LOT) {
            float x[4][LOT];
            const int first = A == AT_ALONG_K ? i * S::DOWN + down : i / 4 * S::DOWN + down;
            at_fours_load<TILE::ROWS, A>(x, a, kk, first, 0);
#pragma unroll
            for (int q = 0; q < 4; q++)
#pragma unroll
                for (int l = 0; l < LOT; l++)
#pragma unroll
                    for (int j = 0; j < S::WIDE; j++)
                        s.d[i + l][j] += x[q][l] * y[q][j]; /* nvcc fuses them */
        }
    }
}

template <at_along A, at_along B, class TILE>
__device__ __forceinline__ void at_sums_lay(const at_sums<float, TILE> &s, float *room, int pitch,
                                            int half)
{
    using S = at_sums<float, TILE>;
    const int down = threadIdx.x / S::ACROSS, across = threadIdx.x % S::ACROSS;
#pragma unroll
    for (int i = 0; i < S::HIGH; i++) {
        const int row = at_sums_place<A>(i, down, S::DOWN) - half * (TILE::ROWS / 2);
        if (i / (S::HIGH / 2) != half)
            continue;
#pragma unroll
        for (int j = 0; j < S::WIDE; j++)
            room[row * pitch + at_sums_place<B>(j, across, S::ACROSS)] = s.d[i][j];
    }
}

/* --- the product of a block ------------------------------------------------------------------- */

/* Bytes of the ring. */
template <class TILE>
constexpr size_t AT_PRODUCT_SHARED = (size_t)AT_STAGES *(TILE::ROWS + TILE::COLS) * AT_K_BYTES;

/* Hands the sums to 'end', eight neighbouring columns of a row at a time. They pass through the
 * ring's memory, a half of the rows at a time, so that the end's loads and stores are wide. */
template <class T, class TILE, at_along A, at_along B, class END>
__device__ __forceinline__ void at_product_finish(const at_sums<T, TILE> &s, END &end,
                                                  const at_product_part &part)
{
    enum { PITCH = TILE::COLS + 8, PACKS = TILE::COLS / AT_PACK, ROWS = TILE::ROWS / 2 };
    static_assert(ROWS * PITCH * 4 <= AT_PRODUCT_SHARED<TILE>, "half of the sums fit");
    AT_SHARED_DYNAMIC(float, room);
#pragma unroll 1
    for (int half = 0; half < 2; half++) {
        __syncthreads();
        at_sums_lay<A, B>(s, room, PITCH, half);
        __syncthreads();
#pragma unroll 1
        for (int i = threadIdx.x; i < ROWS * PACKS; i += TILE::THREADS) {
            const int r = i / PACKS, c = i % PACKS * AT_PACK;
            const int64_t row = part.row + half * ROWS + r, col = part.col + c;
            if (row >= part.rows || col >= part.cols)
                continue;
            float v[AT_PACK];
            at_pack_load(v, room + r * PITCH + c, (int64_t)AT_PACK, true, 0.0f);
            at_end_put(end, v, row, col, part.cols - col);
        }
    }
}

/* One tile of A B^T, by all TILE::THREADS threads of a block launched with AT_PRODUCT_SHARED
 * bytes. */
template <class T, class TILE, class A, class B, class END>
__device__ __forceinline__ void at_product_block(const A &a, const B &b, END &end,
                                                 const at_product_part &part)
{
    enum { A_BYTES = TILE::ROWS * AT_K_BYTES, BYTES = A_BYTES + TILE::COLS * AT_K_BYTES };
    AT_SHARED_DYNAMIC(unsigned char, ring);
    typename A::place a_places[TILE::ROWS * AT_K_CHUNKS / TILE::THREADS];
    typename B::place b_places[TILE::COLS * AT_K_CHUNKS / TILE::THREADS];
    at_tile_places<T, TILE::ROWS>(a_places, a, part.row, TILE::THREADS);
    at_tile_places<T, TILE::COLS>(b_places, b, part.col, TILE::THREADS);
    at_sums<T, TILE> sums = {};
    const int steps = (part.k_end - part.k_begin + AT_K_STEP<T> - 1) / AT_K_STEP<T>;
    /* A step brings the tiles that are AT_STAGES - 1 ahead into the place of those that everybody
     * is done with at the barrier, then adds its own; the first few only bring. */
#pragma unroll 1
    for (int step = 1 - AT_STAGES; step < steps; step++) {
        const int next = step + AT_STAGES - 1;
        if (step >= 0) {
            at_copy_async_wait<AT_STAGES - 2>();
            __syncthreads();
        }
        if (next < steps) {
            unsigned char *tile = ring + next % AT_STAGES * BYTES;
            const int k = part.k_begin + next * AT_K_STEP<T>;
            at_tile_fill<T, TILE::ROWS>(tile, a, a_places, k, TILE::THREADS);
            at_tile_fill<T, TILE::COLS>(tile + A_BYTES, b, b_places, k, TILE::THREADS);
        }
        at_copy_async_commit();
        if (step >= 0) {
            const unsigned char *tile = ring + step % AT_STAGES * BYTES;
            at_sums_add<A::along, B::along>(sums, tile, tile + A_BYTES, part);
        }
    }
    at_product_finish<T, TILE, A::along, B::along>(sums, end, part);
}

/* --- tiles of a grid -------------------------------------------------------------------------- */

template <class TILE>
__host__ __device__ __forceinline__ int64_t at_tiles_down(int64_t rows)
{
    return (rows + TILE::ROWS - 1) / TILE::ROWS;
}

template <class TILE>
__host__ __device__ __forceinline__ int64_t at_tiles_across(int64_t cols)
{
    return (cols + TILE::COLS - 1) / TILE::COLS;
}

template <class TILE>
static inline int64_t at_tiles_in(int64_t rows, int64_t cols)
{
    return at_tiles_down<TILE>(rows) * at_tiles_across<TILE>(cols);
}

/* The tile with this number, with all of k. Blocks that run at the same time have few rows of
 * tiles, so that what they read is still in the L2 cache. */
template <class TILE>
__device__ __forceinline__ at_product_part at_product_part_of(int64_t number, int64_t rows,
                                                              int64_t cols, int depth)
{
    enum { GROUP = 8 };
    const int64_t across = at_tiles_across<TILE>(cols), down = at_tiles_down<TILE>(rows);
    const int64_t first = number / (GROUP * across) * GROUP, in_group = number % (GROUP * across);
    const int64_t high = down - first < GROUP ? down - first : (int64_t)GROUP;
    return {
        (first + in_group % high) * TILE::ROWS, in_group / high * TILE::COLS, rows, cols, 0, depth
    };
}

enum at_tile { AT_TILE_SMALL, AT_TILE_LARGE };

/* Which tile for C (rows, cols), 'batch' times. Candidate 0 takes the large one where its tiles
 * fill the device and waste less than what the small one loses; candidate 1 wherever there is more
 * than one small one both ways. Bytes do not depend on it. */
static inline at_tile at_tile_of(int64_t rows, int64_t cols, int64_t batch, int candidate)
{
    enum { ENOUGH = 96 }; /* large tiles: most of the multiprocessors of an A100 or H100 */
    const int64_t large = at_tiles_in<at_tile_large>(rows, cols);
    const int64_t small = at_tiles_in<at_tile_small>(rows, cols);
    if (candidate == 1)
        return rows > at_tile_small::ROWS && cols > at_tile_small::COLS ? AT_TILE_LARGE
                                                                        : AT_TILE_SMALL;
    return large * batch >= ENOUGH && 3 * large <= small ? AT_TILE_LARGE : AT_TILE_SMALL;
}

static inline int at_tile_candidates(int64_t rows, int64_t cols)
{
    return rows > at_tile_small::ROWS && cols > at_tile_small::COLS ? 2 : 1;
}

/* The candidate's number from prepare to run. */
static inline void at_candidate_keep(at_prepared *out, int candidate)
{
    static const int numbers[] = { 0, 1 };
    out->state = const_cast<int *>(&numbers[candidate]);
}

static inline int at_candidate_of(const at_prepared *p)
{
    return *static_cast<const int *>(p->state);
}

/* STREAM is at_queue for a kernel that waits for earlier ones, else cudaStream_t. */
template <class TILE, class JOB, class STREAM>
static cudaError_t at_product_launch(void (*kernel)(JOB), const JOB &job, int64_t blocks,
                                     STREAM stream)
{
    const size_t bytes = AT_PRODUCT_SHARED<TILE>;
    const cudaError_t error = at_shared_allow(kernel, bytes);
    if (error != cudaSuccess)
        return error;
    return AT_LAUNCH_EARLY(kernel, dim3((unsigned)blocks), dim3(TILE::THREADS), bytes, stream, job);
}

#endif
