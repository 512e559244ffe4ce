/* moves.cuh -- rows of bytes, whatever their element type: what concat, permute, embedding and fill
 * share.
 *
 * A unit is the largest power of two up to 16 bytes that divides every address, step and length of
 * a copy: the host finds it, kernels are made for each. Every access is then one aligned vector. */
#ifndef AT_KERNELS_MOVES_CUH
#define AT_KERNELS_MOVES_CUH

#include "kernels/elements.cuh"

/* 'bits': all addresses, steps and lengths in bytes, or-ed together. */
static inline int at_unit_of(uint64_t bits)
{
    enum { UNIT_MAX = 16 };
    int unit = 1;
    while (unit < UNIT_MAX && bits % (2 * (uint64_t)unit) == 0)
        unit *= 2;
    return unit;
}

/* FUNCTION<unit>(arguments...). */
#define AT_BY_UNIT(unit, FUNCTION, ...)              \
    ((unit) == 16  ? FUNCTION<uint4>(__VA_ARGS__)    \
     : (unit) == 8 ? FUNCTION<uint2>(__VA_ARGS__)    \
     : (unit) == 4 ? FUNCTION<uint32_t>(__VA_ARGS__) \
     : (unit) == 2 ? FUNCTION<uint16_t>(__VA_ARGS__) \
                   : FUNCTION<uint8_t>(__VA_ARGS__))

template <class U>
__device__ __forceinline__ U at_unit_load(const char *p)
{
    if constexpr (sizeof(U) >= 4)
        return at_load<U>(p);
    else
        return *reinterpret_cast<const U *>(p);
}

template <class U>
__device__ __forceinline__ void at_unit_store(char *p, U v)
{
    if constexpr (sizeof(U) >= 4)
        at_store(p, v);
    else
        *reinterpret_cast<U *>(p) = v;
}

/* --- which thread moves what ------------------------------------------------------------------ */

/* A thread moves AT_MOVES units at a time, all loaded before the first is stored, so that enough
 * bytes are on their way: 'across' columns apart in long rows, else 'down' rows apart. */
enum { AT_MOVES = 4 };

struct at_walk {
    int64_t rows, units; /* of a row */
    int64_t across, down;
};

/* Blocks are as wide as a row or an equal piece of one, so that few threads have nothing to do. */
static inline at_tiles at_walk_tiles_of(at_walk *w)
{
    enum { GRID_Y_MAX = 65535 };
    const bool along = w->units > AT_MOVES * AT_BLOCK;
    const int64_t span = along ? AT_MOVES * AT_BLOCK : AT_BLOCK;
    const int64_t pieces = (w->units + span - 1) / span, piece = (w->units + pieces - 1) / pieces;
    const int64_t x = along ? (piece + AT_MOVES - 1) / AT_MOVES : piece, y = AT_BLOCK / x;
    const int64_t high = along ? y : y * AT_MOVES, below = (w->rows + high - 1) / high;
    w->across = along ? x : 0;
    w->down = along ? 0 : y;
    return { dim3((unsigned)pieces, (unsigned)(below < GRID_Y_MAX ? below : (int64_t)GRID_Y_MAX)),
             dim3((unsigned)x, (unsigned)y) };
}

/* The first unit of this thread, and how far it is to its first in the next round of the grid. */
__device__ __forceinline__ int64_t at_walk_column(const at_walk &w)
{
    return (int64_t)blockIdx.x * (blockDim.x + (AT_MOVES - 1) * w.across) + threadIdx.x;
}

__device__ __forceinline__ int64_t at_walk_row(const at_walk &w)
{
    return (int64_t)blockIdx.y * (blockDim.y + (AT_MOVES - 1) * w.down) + threadIdx.y;
}

__device__ __forceinline__ int64_t at_walk_round(const at_walk &w)
{
    return (int64_t)gridDim.y * (blockDim.y + (AT_MOVES - 1) * w.down);
}

__device__ __forceinline__ bool at_walk_inside(const at_walk &w, int64_t r, int64_t c)
{
    return r < w.rows && c < w.units;
}

/* Fills rows that begin at 'to', 'step' bytes apart. J is a struct with both and 'walk'; a function
 * at_move_from(job, r, at) gives the address of what belongs to byte 'at' of row r, NULL for
 * zeros. */
template <class U, class J>
__global__ void __launch_bounds__(AT_BLOCK) at_move_units(J j)
{
    at_wait_for_earlier();
    const int64_t c0 = at_walk_column(j.walk), round = at_walk_round(j.walk);
    for (int64_t r0 = at_walk_row(j.walk); r0 < j.walk.rows; r0 += round) {
        U v[AT_MOVES];
#pragma unroll
        for (int i = 0; i < AT_MOVES; i++) {
            const int64_t r = r0 + i * j.walk.down, c = c0 + i * j.walk.across;
            const bool inside = at_walk_inside(j.walk, r, c);
            const char *from = inside ? at_move_from(j, r, c * (int64_t)sizeof(U)) : nullptr;
            v[i] = {};
            if (from)
                v[i] = at_unit_load<U>(from);
        }
#pragma unroll
        for (int i = 0; i < AT_MOVES; i++) {
            const int64_t r = r0 + i * j.walk.down, c = c0 + i * j.walk.across;
            if (at_walk_inside(j.walk, r, c))
                at_unit_store<U>(j.to + r * j.step + c * (int64_t)sizeof(U), v[i]);
        }
    }
}

/* 'walk' has its rows, and a row's bytes as units. */
template <class U, class J>
static cudaError_t at_move_launch(J j, at_queue stream)
{
    j.walk.units /= (int64_t)sizeof(U);
    const at_tiles t = at_walk_tiles_of(&j.walk);
    return AT_LAUNCH_EARLY((at_move_units<U, J>), t.grid, t.block, 0, stream, j);
}

#endif
