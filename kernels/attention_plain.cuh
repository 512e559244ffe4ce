/* attention_plain.cuh -- products of tiles of tokens in f32 without tensor cores: for f32, and for
 * heads of any size. The last resort of attention and of its gradient.
 *
 * A block of 16 x 16 threads works on 64 rows of one side and 64 columns of the other; thread
 * (x, y) has rows 4 y .. 4 y + 3 and columns 4 x .. 4 x + 3 of every product. What is summed over
 * lies outermost in shared memory, so that a thread's four are one load. */
#ifndef AT_KERNELS_ATTENTION_PLAIN_CUH
#define AT_KERNELS_ATTENTION_PLAIN_CUH

#include "kernels/attention.cuh"

enum {
    AT_PLAIN_SIDE = 16,
    AT_PLAIN_THREADS = AT_PLAIN_SIDE * AT_PLAIN_SIDE,
    AT_PLAIN_EACH = 4,
    AT_PLAIN_TILE = AT_PLAIN_SIDE * AT_PLAIN_EACH,
    AT_PLAIN_DEPTH = 32,                /* elements of heads staged at once */
    AT_PLAIN_PITCH = AT_PLAIN_TILE + 4, /* spreads columns over banks, keeps 16 bytes aligned */
};

/* For each of a thread's sums of a tile: r, c. */
#define AT_FOR_EACH_SUM(r, c)                                 \
    _Pragma("unroll") for (int r = 0; r < AT_PLAIN_EACH; r++) \
        _Pragma("unroll") for (int c = 0; c < AT_PLAIN_EACH; c++)

/* Tokens of one head: those from 'row' on, of which 'rows' exist. */
struct at_plain_tokens {
    at_lines lines;
    int64_t row, col;
    int rows;
};

struct at_plain_room {
    float staged[2 * AT_PLAIN_DEPTH * AT_PLAIN_PITCH]; /* both sides, or values */
    float weights[AT_PLAIN_TILE * AT_PLAIN_PITCH];     /* (columns, rows) */
};

__device__ __forceinline__ int at_plain_row()
{
    return (int)(threadIdx.x / AT_PLAIN_SIDE) * AT_PLAIN_EACH;
}

__device__ __forceinline__ int at_plain_col()
{
    return (int)(threadIdx.x % AT_PLAIN_SIDE) * AT_PLAIN_EACH;
}

__device__ __forceinline__ void at_plain_load(float (&v)[AT_PACK], const at_plain_tokens &t, int r,
                                              int d, int size)
{
    const int64_t end = r < t.rows ? t.col + size : 0;
    at_row_load(v, t.lines, t.row + (r < t.rows ? r : 0), t.col + d, end, 0.0f);
}

/* Elements d to d + AT_PLAIN_DEPTH - 1 of a tile's tokens, (AT_PLAIN_DEPTH, tokens). */
__device__ __forceinline__ void at_plain_stage(float *staged, const at_plain_tokens &t, int d,
                                               int size)
{
    const int r = (int)(threadIdx.x % AT_PLAIN_TILE);
    const int first = (int)(threadIdx.x / AT_PLAIN_TILE) * AT_PACK;
    float v[AT_PACK];
    static_assert(AT_PLAIN_THREADS * AT_PACK == AT_PLAIN_TILE * AT_PLAIN_DEPTH, "a pack a thread");
    at_plain_load(v, t, r, d + first, size);
#pragma unroll
    for (int i = 0; i < AT_PACK; i++)
        staged[(first + i) * AT_PLAIN_PITCH + r] = v[i];
}

/* sums[r][c] += a[r] * b[c], fours of shared memory. */
__device__ __forceinline__ void at_plain_outer(float (&sums)[AT_PLAIN_EACH][AT_PLAIN_EACH],
                                               const float *a, const float *b)
{
    const float4 x = at_load<float4>(a), y = at_load<float4>(b);
    const float rows[] = { x.x, x.y, x.z, x.w }, cols[] = { y.x, y.y, y.z, y.w };
    AT_FOR_EACH_SUM(r, c)
    sums[r][c] = fmaf(rows[r], cols[c], sums[r][c]);
}

/* s = a b^T, zero where there are no tokens. All threads call, some while others read the
 * room. */
__device__ __forceinline__ void at_plain_dot(float (&s)[AT_PLAIN_EACH][AT_PLAIN_EACH],
                                             at_plain_room &room, const at_plain_tokens &a,
                                             const at_plain_tokens &b, int size)
{
    float *const own = room.staged, *const other = own + AT_PLAIN_DEPTH * AT_PLAIN_PITCH;
    const bool there = at_plain_row() < a.rows && at_plain_col() < b.rows;
    AT_FOR_EACH_SUM(r, c)
    s[r][c] = 0;
    for (int d = 0; d < size; d += AT_PLAIN_DEPTH) {
        __syncthreads();
        at_plain_stage(own, a, d, size);
        at_plain_stage(other, b, d, size);
        __syncthreads();
#pragma unroll 4
        for (int k = 0; there && k < AT_PLAIN_DEPTH; k++)
            at_plain_outer(s, own + k * AT_PLAIN_PITCH + at_plain_row(),
                           other + k * AT_PLAIN_PITCH + at_plain_col());
    }
}

/* Puts this thread's weights where at_plain_add() finds them, after a barrier. */
__device__ __forceinline__ void at_plain_put(at_plain_room &room,
                                             const float (&w)[AT_PLAIN_EACH][AT_PLAIN_EACH])
{
#pragma unroll
    for (int c = 0; c < AT_PLAIN_EACH; c++)
        at_store(room.weights + (at_plain_col() + c) * AT_PLAIN_PITCH + at_plain_row(),
                 make_float4(w[0][c], w[1][c], w[2][c], w[3][c]));
}

/* o (64, 64 * PARTS) += weights * x, x the tokens of the weights' columns; 'rows' are wanted. */
template <int PARTS>
__device__ __forceinline__ void at_plain_add(float (&o)[PARTS][AT_PLAIN_EACH][AT_PLAIN_EACH],
                                             at_plain_room &room, const at_plain_tokens &x,
                                             int rows, int size)
{
    constexpr int PACKS = AT_PLAIN_TILE / AT_PACK;
    const int keys = at_plain_row() < rows ? min(x.rows, (int)AT_PLAIN_TILE) : 0;
#pragma unroll
    for (int p = 0; p < PARTS; p++) {
        if (p * AT_PLAIN_TILE >= size)
            continue;
        __syncthreads();
#pragma unroll
        for (int i = (int)threadIdx.x; i < AT_PLAIN_TILE * PACKS; i += AT_PLAIN_THREADS) {
            float v[AT_PACK];
            float *const to = room.staged + i / PACKS * AT_PLAIN_PITCH + i % PACKS * AT_PACK;
            at_plain_load(v, x, i / PACKS, p * AT_PLAIN_TILE + i % PACKS * AT_PACK, size);
            at_store(to, make_float4(v[0], v[1], v[2], v[3]));
            at_store(to + 4, make_float4(v[4], v[5], v[6], v[7]));
        }
        __syncthreads();
#pragma unroll 4
        for (int k = 0; p * AT_PLAIN_TILE + at_plain_col() < size && k < keys; k++)
            at_plain_outer(o[p], room.weights + k * AT_PLAIN_PITCH + at_plain_row(),
                           room.staged + k * AT_PLAIN_PITCH + at_plain_col());
    }
}

/* A tile's output, row by row times 'factor'. */
template <int PARTS>
__device__ __forceinline__ void at_plain_store(
    const at_plain_tokens &t, const float (&o)[PARTS][AT_PLAIN_EACH][AT_PLAIN_EACH],
    const float (&factor)[AT_PLAIN_EACH], int size)
{
#pragma unroll
    for (int p = 0; p < PARTS; p++)
        AT_FOR_EACH_SUM(r, c)
        {
            const int row = at_plain_row() + r, d = p * AT_PLAIN_TILE + at_plain_col() + c;
            const float y = o[p][r][c] * factor[r];
            if (row >= t.rows || d >= size)
                continue;
            const int64_t at = t.col + d, to = t.row + row;
            if (t.lines.dtype == AT_F32)
                at_line<float>(t.lines, to)[at] = y;
            else if (t.lines.dtype == AT_BF16)
                at_line<__nv_bfloat16>(t.lines, to)[at] = static_cast<__nv_bfloat16>(y);
            else
                at_line<__half>(t.lines, to)[at] = static_cast<__half>(y);
        }
}

/* Calls FUNCTION<PARTS>(arguments...) for heads of 'size'. */
#define AT_PLAIN_BY_SIZE(size, FUNCTION, ...)   \
    ((size) <= 64    ? FUNCTION<1>(__VA_ARGS__) \
     : (size) <= 128 ? FUNCTION<2>(__VA_ARGS__) \
     : (size) <= 256 ? FUNCTION<4>(__VA_ARGS__) \
                     : FUNCTION<8>(__VA_ARGS__))

#endif
