/* attention.cuh -- what the kernels of attention and of its gradient share: which keys a query
 * sees, tiles of tokens in shared memory, and products of such tiles on tensor cores.
 *
 * A tile is some tokens of one head, (tokens, DP) of a 16-bit type, D padded with zeros to DP. Its
 * pieces of 16 bytes are swizzled: piece p of row r lies where p ^ r % 8 would, so that eight rows
 * of a column of pieces, which is what ldmatrix reads, lie in different banks. A block has
 * AT_TILE_WARPS warps; a warp owns 16 * MT rows of a product and all of its columns.
 *
 * Letters: B samples, L tokens, H heads, D the size of a head, DP that size padded. */
#ifndef AT_KERNELS_ATTENTION_CUH
#define AT_KERNELS_ATTENTION_CUH

#include "kernels/device/async.cuh"
#include "kernels/device/mma.cuh"
#include "kernels/elements.cuh"

enum { AT_TILE_WARPS = 4, AT_TILE_THREADS = AT_TILE_WARPS * AT_WARP };
constexpr float AT_LOG2E = 1.44269504f, AT_LN2 = 0.69314718f;

/* The heads of all samples, for every kernel. */
struct at_heads {
    const int32_t *lengths;   /* (B) or NULL */
    int queries, keys, count; /* Lq, Lk, H */
    int size;                 /* D */
    float scale;
    bool causal;
};

/* The block's head, and where its tokens begin. */
struct at_head {
    int64_t index;      /* over all samples */
    int64_t query, key; /* the sample's first rows */
    int64_t col;        /* the head's first column */
    int keys;           /* that exist */
};

__device__ __forceinline__ at_head at_head_of(const at_heads &h, int64_t index)
{
    const int64_t b = index / h.count;
    const int keys = h.lengths ? max(0, min(h.lengths[b], h.keys)) : h.keys;
    return { index, b * h.queries, b * h.keys, index % h.count * h.size, keys };
}

/* Keys that query i sees, of 'keys' that exist: they are always the first ones. */
__device__ __forceinline__ int at_keys_seen(const at_heads &h, int i, int keys)
{
    return h.causal ? max(0, min(keys, i + keys - h.queries + 1)) : keys;
}

/* The block's tile of queries: in their order, or from the last on, because with a causal border
 * the last have most to do and should not begin last. */
__device__ __forceinline__ int at_query_tile(const at_heads &h, int tiles)
{
    const int tile = (int)(blockIdx.x % (unsigned)tiles);
    return h.causal ? tiles - 1 - tile : tile;
}

__device__ __forceinline__ int at_lane()
{
    return (int)(threadIdx.x & (AT_WARP - 1));
}

/* --- tiles ------------------------------------------------------------------------------------ */

/* Written so that pieces eight apart share what is computed. */
template <int DP, class T>
__device__ __forceinline__ T *at_tile_piece(T *tile, int row, int piece)
{
    return tile + row * DP + (piece & ~7) * 8 + ((piece ^ row) & 7) * 8;
}

/* A piece of a row that begins anywhere: 'n' elements, zeros from there on. */
template <class T>
__device__ __forceinline__ uint4 at_piece_gather(const T *from, int n)
{
    uint4 raw = make_uint4(0, 0, 0, 0);
    T *e = reinterpret_cast<T *>(&raw);
#pragma unroll
    for (int i = 0; i < 8; i++)
        if (i < n)
            e[i] = from[i];
    return raw;
}

/* The tokens from 'row' on, of which 'rows' exist; zeros for the others. Asynchronous where rows
 * are aligned: commit, wait, barrier. */
template <int ROWS, int DP, class T>
__device__ __forceinline__ void at_tile_load(T *tile, const at_lines &l, int64_t row, int64_t col,
                                             int rows, int size)
{
    constexpr int PIECES = DP / 8, STEP = AT_TILE_THREADS / PIECES;
    static_assert(AT_TILE_THREADS % PIECES == 0 && ROWS % STEP == 0, "threads share a tile evenly");
    const int piece = (int)(threadIdx.x % PIECES), d = piece * 8;
    int r = (int)(threadIdx.x / PIECES);
    const T *from = at_line<T>(l, row + r) + col + d;
    const int64_t step = STEP * l.pitch;
    if (l.wide) {
#pragma unroll 4
        for (int i = 0; i < ROWS / STEP; i++, r += STEP, from += step) {
            const bool there = r < rows && d < size;
            at_copy_async16(at_tile_piece<DP>(tile, r, piece), there ? from : at_line<T>(l, 0),
                            there);
        }
        return;
    }
#pragma unroll 1
    for (; r < ROWS; r += STEP, from += step)
        at_store(at_tile_piece<DP>(tile, r, piece), at_piece_gather(from, r < rows ? size - d : 0));
}

/* Registers of a warp's product: row g (h = 0) or g + 8 (h = 1) of each 16, columns t and t + 1 of
 * each 8. */
__device__ __forceinline__ int at_lane_row()
{
    return at_lane() / 4;
}

__device__ __forceinline__ int at_lane_col()
{
    return at_lane() % 4 * 2;
}

template <class T>
__device__ __forceinline__ uint32_t at_pair_of(float low, float high)
{
    uint32_t bits;
    T *e = reinterpret_cast<T *>(&bits);
    e[0] = static_cast<T>(low);
    e[1] = static_cast<T>(high);
    return bits;
}

/* Writes a warp's product x, row by row times 'factor', to the tokens from 'row' on, of which
 * 'rows' exist. On the way it lies in 'tile', (16 * MT, DP) of this warp alone. */
template <int DP, int MT, class T>
__device__ __forceinline__ void at_tile_store(T *tile, const at_lines &l, int64_t row, int64_t col,
                                              int rows, int size, const float (&x)[MT][DP / 8][4],
                                              const float (&factor)[MT][2])
{
    constexpr int PIECES = DP / 8;
    __syncwarp();
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int h = 0; h < 2; h++)
#pragma unroll
            for (int n = 0; n < DP / 8; n++)
                at_store(at_tile_piece<DP>(tile, m * 16 + h * 8 + at_lane_row(), n) + at_lane_col(),
                         at_pair_of<T>(x[m][n][2 * h] * factor[m][h],
                                       x[m][n][2 * h + 1] * factor[m][h]));
    __syncwarp();
#pragma unroll 4
    for (int i = at_lane(); i < 16 * MT * PIECES; i += AT_WARP) {
        const int r = i / PIECES, piece = i % PIECES, d = piece * 8;
        const uint4 raw = at_load<uint4>(at_tile_piece<DP>(tile, r, piece));
        if (r >= rows || d >= size)
            continue;
        T *to = at_line<T>(l, row + r) + col + d;
        const T *e = reinterpret_cast<const T *>(&raw);
        if (l.wide)
            at_store(to, raw);
        else
#pragma unroll
            for (int k = 0; k < 8; k++)
                if (d + k < size)
                    to[k] = e[k];
    }
}

/* --- products --------------------------------------------------------------------------------- */

/* The last argument only tells the type. */
__device__ __forceinline__ void at_mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                       uint32_t b1, const __nv_bfloat16 *)
{
    const uint32_t b[2] = { b0, b1 };
    at_mma_m16n8k16_bf16(d, a, b, d);
}

__device__ __forceinline__ void at_mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                       uint32_t b1, const __half *)
{
    const uint32_t b[2] = { b0, b1 };
    at_mma_m16n8k16_f16(d, a, b, d);
}

/* Rows row .. row + 15, elements 16 * k .. 16 * k + 15 of a tile, as a left operand. */
template <int DP, class T>
__device__ __forceinline__ void at_fragment_load(uint32_t (&a)[4], const T *tile, int row, int k)
{
    const int lane = at_lane();
    at_ldmatrix_x4(a, at_tile_piece<DP>(tile, row + lane % 16, 2 * k + lane / 16));
}

/* s (16 * MT, 8 * NT) = a b^T: rows of a tile, or fragments of them, with rows of another tile. */
template <int DP, int MT, int NT, class T>
__device__ __forceinline__ void at_multiply_rows(float (&s)[MT][NT][4],
                                                 const uint32_t (&a)[MT][DP / 16][4], const T *tile)
{
    const int lane = at_lane();
#pragma unroll
    for (int i = 0; i < MT * NT * 4; i++)
        s[i / (NT * 4)][i / 4 % NT][i % 4] = 0;
#pragma unroll
    for (int k = 0; k < DP / 16; k++)
#pragma unroll
        for (int n = 0; n < NT; n += 2) {
            uint32_t b[4];
            at_ldmatrix_x4(
                b, at_tile_piece<DP>(tile, n * 8 + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
#pragma unroll
            for (int m = 0; m < MT; m++) {
                at_mma(s[m][n], a[m][k], b[0], b[1], tile);
                at_mma(s[m][n + 1], a[m][k], b[2], b[3], tile);
            }
        }
}

/* The same for 16 rows from 'row' on of a tile of its own, read as they are needed: where head and
 * sums leave no registers for them. */
template <int DP, int NT, class T>
__device__ __forceinline__ void at_multiply_tiles(float (&s)[1][NT][4], const T *own, int row,
                                                  const T *tile)
{
    const int lane = at_lane();
#pragma unroll
    for (int i = 0; i < NT * 4; i++)
        s[0][i / 4][i % 4] = 0;
#pragma unroll 4 /* more of them would only keep more addresses */
    for (int k = 0; k < DP / 16; k++) {
        uint32_t a[4], b[4];
        at_fragment_load<DP>(a, own, row, k);
#pragma unroll
        for (int n = 0; n < NT; n += 2) {
            at_ldmatrix_x4(
                b, at_tile_piece<DP>(tile, n * 8 + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
            at_mma(s[0][n], a, b[0], b[1], tile);
            at_mma(s[0][n + 1], a, b[2], b[3], tile);
        }
    }
}

/* A product's registers as a left operand of the next: its columns are the next one's k. */
template <int MT, int NT, class T>
__device__ __forceinline__ void at_fragment_of(uint32_t (&p)[MT][NT / 2][4],
                                               const float (&s)[MT][NT][4], const T *)
{
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int n = 0; n < NT; n++) {
            p[m][n / 2][n % 2 * 2] = at_pair_of<T>(s[m][n][0], s[m][n][1]);
            p[m][n / 2][n % 2 * 2 + 1] = at_pair_of<T>(s[m][n][2], s[m][n][3]);
        }
}

/* o (16 * MT, DP) += p (16 * MT, 16 * KS) * tile (16 * KS, DP). */
template <int DP, int MT, int KS, class T>
__device__ __forceinline__ void at_multiply_weights(float (&o)[MT][DP / 8][4],
                                                    const uint32_t (&p)[MT][KS][4], const T *tile)
{
    const int lane = at_lane();
#pragma unroll
    for (int k = 0; k < KS; k++)
#pragma unroll
        for (int n = 0; n < DP / 8; n += 2) {
            uint32_t b[4];
            at_ldmatrix_x4_trans(b, at_tile_piece<DP>(tile, k * 16 + lane % 16, n + lane / 16));
#pragma unroll
            for (int m = 0; m < MT; m++) {
                at_mma(o[m][n], p[m][k], b[0], b[1], tile);
                at_mma(o[m][n + 1], p[m][k], b[2], b[3], tile);
            }
        }
}

/* Sixteen rows of a product as the sum of two left operands, where one would be too coarse. */
template <int NT, class T>
__device__ __forceinline__ void at_fragment_parts(uint32_t (&p)[1][NT / 2][4],
                                                  uint32_t (&rest)[1][NT / 2][4],
                                                  const float (&s)[1][NT][4], const T *)
{
#pragma unroll
    for (int i = 0; i < NT * 2; i++) {
        const float *x = &s[0][i / 2][i % 2 * 2];
        const float low = static_cast<float>(static_cast<T>(x[0]));
        const float high = static_cast<float>(static_cast<T>(x[1]));
        p[0][i / 4][i % 4] = at_pair_of<T>(low, high);
        rest[0][i / 4][i % 4] = at_pair_of<T>(x[0] - low, x[1] - high);
    }
}

/* o (16, DP) += (p + rest) (16, 16 * KS) * tile (16 * KS, DP). */
template <int DP, int KS, class T>
__device__ __forceinline__ void at_multiply_parts(float (&o)[1][DP / 8][4],
                                                  const uint32_t (&p)[1][KS][4],
                                                  const uint32_t (&rest)[1][KS][4], const T *tile)
{
    const int lane = at_lane();
#pragma unroll
    for (int k = 0; k < KS; k++)
#pragma unroll
        for (int n = 0; n < DP / 8; n += 2) {
            uint32_t b[4];
            at_ldmatrix_x4_trans(b, at_tile_piece<DP>(tile, k * 16 + lane % 16, n + lane / 16));
            at_mma(o[0][n], p[0][k], b[0], b[1], tile);
            at_mma(o[0][n + 1], p[0][k], b[2], b[3], tile);
            at_mma(o[0][n], rest[0][k], b[0], b[1], tile);
            at_mma(o[0][n + 1], rest[0][k], b[2], b[3], tile);
        }
}

/* --- the host's side -------------------------------------------------------------------------- */

/* (B, L, H * D) as rows whose pieces of a head are all aligned, or not. */
static inline at_lines at_lines_of_heads(const at_view *v, int size)
{
    at_lines l = at_lines_of(v);
    l.wide = l.wide && size % AT_PACK == 0;
    return l;
}

/* For at_attention_args and at_attention_bwd_args. */
template <class A>
static at_heads at_heads_of(const A *a)
{
    const int64_t size = at_cols(&a->q) / a->heads;
    return { at_has(&a->lengths) ? static_cast<const int32_t *>(a->lengths.data) : nullptr,
             (int)a->q.size[1],
             (int)a->k.size[1],
             (int)a->heads,
             (int)size,
             a->scale > 0 ? a->scale : 1 / sqrtf((float)size),
             a->causal != 0 };
}

/* Tokens are counted in an int. */
template <class A>
static bool at_heads_fit(const A *a)
{
    enum { TOKENS_MAX = 1 << 30 };
    return at_is_simd_type(a->q.dtype) && a->q.size[1] <= TOKENS_MAX && a->k.size[1] <= TOKENS_MAX;
}

#endif
