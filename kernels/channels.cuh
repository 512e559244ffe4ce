/* channels.cuh -- passes over pictures with numbers of their own for every channel, on CUDA: the
 * method that group_norm, instance_norm, mean_std, adain and their gradients share.
 *
 * A sample is 'rows' positions of 'cols' channels, those of x and x2 side by side. It is cut into
 * slabs of positions and chunks of channels; a block works on one of each, a thread on the same
 * AT_PACK channels of every y-th position. A first pass leaves sums of every slab and channel in
 * scratch, a small kernel adds them up in f64 and makes coefficients, a second pass applies them.
 * It goes through the blocks backwards, for the L2 cache still holds what was read last. All cuts
 * depend on the sizes of one sample only, and sums are added up in one order. */
#ifndef AT_KERNELS_CHANNELS_CUH
#define AT_KERNELS_CHANNELS_CUH

#include "kernels/channels.h"
#include "kernels/elements.cuh"

struct at_slabs {
    int64_t batch, rows, cols; /* samples, positions of one, channels of all inputs together */
    int64_t slab, slabs;       /* positions of a slab, slabs of a sample */
    int64_t chunk, chunks;     /* channels of a chunk, chunks of a row */
    dim3 block;                /* packs of a chunk, positions at a time */
};

/* 'all' has the sizes (B, ..., C) of all inputs together. */
at_slabs at_slabs_of(const at_view *all);

/* --- launches --------------------------------------------------------------------------------- */

/* Forward: y = act((x - centre) * scale + shift), then divided by *y_scale. */
struct at_channels_job {
    at_slabs s;
    at_lines y;               /* (B * rows, cols) as x, or e4m3 with 'y_scale' */
    at_lines x, x2;           /* (B * rows, seam), (B * rows, cols - seam) or no data */
    int64_t seam;             /* cols where there is no x2 */
    at_lines add;             /* (B, cols) or no data */
    at_lines gamma, beta;     /* (cols) or no data */
    at_lines mean, rstd, std; /* (B, groups) f32 or no data: outputs */
    const float *y_scale;     /* (1) or NULL */
    float *y_amax;            /* (1) or NULL */
    float *parts;        /* (B, slabs, 3, cols): what 'mean' is far from, 'mean' less that, M2 */
    double *moments;     /* (B, 2, cols): mean and M2 of every channel */
    float *coefficients; /* (B, AT_FORWARD_COEFFICIENTS, stride) */
    int64_t stride;
    int64_t size, groups; /* channels of a group, and how many groups */
    int64_t freedom;      /* what the sum of squares is divided by */
    float eps;
    at_channels_act act;
};

/* Sizes, x, x2 and the places in scratch; the rest is zero. */
at_channels_job at_channels_job_of(const at_view *all, const at_view *x, const at_view *x2,
                                   int64_t groups, void *scratch);
size_t at_channels_cuda_scratch(const at_view *all);

/* From x to mean, rstd, std and the coefficients; 'type' is that of x. */
cudaError_t at_channels_measure(const at_channels_job *j, at_dtype type, at_queue stream);
/* From x and the coefficients to y and y_amax. */
cudaError_t at_channels_apply(const at_channels_job *j, at_dtype type, at_queue stream);

/* Backward, of y = act(xhat * gamma + beta), xhat = (x + add - mean) * rstd:
 * dx = rstd * (gamma * dz - mean of gamma dz - xhat * mean of gamma dz xhat). */
struct at_channels_bwd_job {
    at_slabs s;
    at_lines dx, dx2;      /* as x, x2, or no data */
    at_lines dy;           /* (B * rows, cols) */
    at_lines x, x2;        /* (B * rows, seam), (B * rows, cols - seam) or no data */
    int64_t seam;          /* cols where there is no x2 */
    at_lines add, dadd;    /* (B, cols) or no data */
    at_lines gamma, beta;  /* (cols) or no data */
    at_lines mean, rstd;   /* (B, groups) f32 */
    float *dgamma, *dbeta; /* (cols) or NULL */
    float *parts;          /* (B, slabs, AT_BACKWARD_SUMS, cols) */
    double *sums;          /* (B, AT_BACKWARD_SUMS, cols) */
    float *means;          /* (B, groups, 2): of gamma dz, of gamma dz xhat */
    int64_t size, groups;
    at_channels_act act;
};

at_channels_bwd_job at_channels_bwd_job_of(const at_view *dy, const at_view *x, const at_view *x2,
                                           int64_t groups, void *scratch);
size_t at_channels_bwd_cuda_scratch(const at_view *dy, int64_t groups);
cudaError_t at_channels_bwd_cuda(const at_channels_bwd_job *j, at_dtype type, cudaStream_t stream);

/* --- the host's side of an op ----------------------------------------------------------------- */

/* What an operand that is there must be; of types that kernels read at run time. */
static inline bool at_is_absent_or_simd(const at_view *v)
{
    return !at_has(v) || at_is_simd_type(v->dtype);
}

/* Rows of an optional operand; without data where it is absent. */
static inline at_lines at_lines_or_none(const at_view *v)
{
    return at_has(v) ? at_lines_of(v) : at_lines{};
}

/* --- where a thread works --------------------------------------------------------------------- */

struct at_channels_place {
    int64_t b, slab;       /* the sample, the slab in it */
    int64_t first, n;      /* the slab's first row of all samples' rows, and how many it has */
    int64_t chunk, column; /* the chunk's first channel, and this thread's */
};

__device__ __forceinline__ at_channels_place at_channels_place_of(const at_slabs &s, unsigned unit)
{
    const unsigned chunks = (unsigned)s.chunks, slabs = (unsigned)s.slabs;
    const unsigned chunk = unit % chunks, slab = unit / chunks % slabs, b = unit / chunks / slabs;
    const int64_t from = slab * s.slab, left = s.rows - from;
    at_channels_place p = { b, slab, b * s.rows + from, left < s.slab ? left : s.slab, 0, 0 };
    p.chunk = chunk * s.chunk;
    p.column = p.chunk + (int64_t)threadIdx.x * AT_PACK;
    return p;
}

/* Row r of n, or another one instead: loads of several rows together need no tail of their own, for
 * they read one of them again. */
__device__ __forceinline__ unsigned at_row_or(unsigned r, unsigned n, unsigned instead)
{
    return r < n ? r : instead;
}

/* Blocks of a pass over all slabs. */
static inline dim3 at_channels_grid(const at_slabs *s)
{
    return dim3((unsigned)(s->batch * s->slabs * s->chunks));
}

/* Blocks of AT_BLOCK with a thread for every sample and channel. */
static inline dim3 at_channels_flat(const at_slabs *s)
{
    return dim3((unsigned)((s->batch * s->cols + AT_BLOCK - 1) / AT_BLOCK));
}

/* --- rows of two inputs side by side ---------------------------------------------------------- */

/* The address of a pack of row 0 at channel c and its rows' pitch, where whole packs of T can be
 * read and written there with wide instructions; else NULL. */
template <class T>
__device__ __forceinline__ T *at_channels_wide(const at_lines &x, const at_lines &x2, int64_t seam,
                                               int64_t cols, int64_t c, int64_t *pitch)
{
    if (c + AT_PACK <= seam && x.wide) {
        *pitch = x.pitch;
        return static_cast<T *>(x.data) + c;
    }
    if (c < seam || c + AT_PACK > cols || seam % AT_PACK || !x2.wide || x2.dtype != x.dtype)
        return nullptr;
    *pitch = x2.pitch;
    return static_cast<T *>(x2.data) + (c - seam);
}

/* Any pack: wide where 'wide', from the above, is not NULL, else element by element; zeros beyond
 * the row's end. J is the job of either direction. */
template <class T, class J>
__device__ __forceinline__ void at_channels_load(float (&v)[AT_PACK], const T *wide, int64_t pitch,
                                                 const J &j, int64_t row, int64_t c)
{
    if (wide) {
        at_pack_load(v, wide + row * pitch, AT_PACK, true, 0.0f);
        return;
    }
#pragma unroll
    for (int i = 0; i < AT_PACK; i++) {
        v[i] = 0.0f;
        if (c + i < j.seam)
            v[i] = static_cast<float>(at_line<T>(j.x, row)[c + i]);
        else if (c + i < j.s.cols)
            v[i] = at_row_get(j.x2, row, c + i - j.seam);
    }
}

/* One element, in the type that the lines say. */
__device__ __forceinline__ void at_row_set(const at_lines &l, int64_t row, int64_t c, float v)
{
    if (l.dtype == AT_F32)
        at_line<float>(l, row)[c] = v;
    else if (l.dtype == AT_BF16)
        at_line<__nv_bfloat16>(l, row)[c] = static_cast<__nv_bfloat16>(v);
    else
        at_line<__half>(l, row)[c] = static_cast<__half>(v);
}

/* --- sums in f64 ------------------------------------------------------------------------------ */

enum { AT_FINISH = 32 }; /* channels at a time */

/* Sums of SUMS numbers over the threads of the same x; each thread's own first. */
template <int SUMS>
struct at_finish_room {
    double each[SUMS][AT_FINISH][AT_FINISH];
};

/* v = its sums, which only the threads of y = 0 get. All threads call; a barrier is to follow. */
template <int SUMS>
__device__ __forceinline__ void at_column_sums(double (&v)[SUMS], at_finish_room<SUMS> &room)
{
#pragma unroll
    for (int k = 0; k < SUMS; k++)
        room.each[k][threadIdx.y][threadIdx.x] = v[k];
    __syncthreads();
    for (unsigned y = 1; y < blockDim.y && threadIdx.y == 0; y++)
#pragma unroll
        for (int k = 0; k < SUMS; k++)
            v[k] += room.each[k][y][threadIdx.x];
}

/* The sum over neighbouring threads, 1 or a whole warp of them. */
__device__ __forceinline__ double at_lanes_sum(double v, unsigned lanes)
{
    for (unsigned bits = lanes / 2; bits > 0; bits /= 2)
        v += __shfl_xor_sync(AT_LANES_ALL, v, bits);
    return v;
}

/* Threads that finish a group together. */
__device__ __forceinline__ unsigned at_finish_lanes(int64_t size)
{
    return size < AT_PACK ? 1 : AT_WARP;
}

/* Whole groups that a block finishes together. */
__host__ __device__ static inline int64_t at_finish_groups(int64_t size)
{
    return size < AT_FINISH ? AT_FINISH / size : 1;
}

/* Grid and block for that; a thread of each column adds up a few slabs. */
static inline at_tiles at_finish_tiles(const at_slabs *s, int64_t size, int64_t groups)
{
    enum { SLABS_EACH = 4 };
    const int64_t at_once = at_finish_groups(size), runs = (groups + at_once - 1) / at_once;
    unsigned y = 2;
    while (y * SLABS_EACH < s->slabs && y < AT_FINISH)
        y *= 2;
    return { dim3((unsigned)(s->batch * runs)), dim3(AT_FINISH, y) };
}

/* The channels [begin, end) of sample b, whole groups, that this block finishes. */
struct at_finish_run {
    int64_t b, begin, end;
};

__device__ __forceinline__ at_finish_run at_finish_run_of(int64_t size, int64_t groups)
{
    const unsigned at_once = (unsigned)at_finish_groups(size);
    const unsigned runs = ((unsigned)groups + at_once - 1) / at_once;
    const int64_t run = blockIdx.x % runs, begin = run * at_once * size;
    const int64_t end = begin + at_once * size, cols = groups * size;
    return { blockIdx.x / runs, begin, end < cols ? end : cols };
}

/* An optional operand's element in f64. */
__device__ __forceinline__ double at_lines_get(const at_lines &l, int64_t row, int64_t c,
                                               double otherwise)
{
    return l.data ? (double)at_row_get(l, row, c) : otherwise;
}

/* The coefficients of y = (x - centre) * scale + shift. What rounding the centre leaves goes into
 * the shift: so a channel that hardly varies keeps its digits, however far from zero it lies. */
__device__ __forceinline__ void at_channels_set(const at_channels_job &j, int64_t b, int64_t c,
                                                double centre, double scale, double shift)
{
    float *to = j.coefficients + b * AT_FORWARD_COEFFICIENTS * j.stride + c;
    const float rounded = (float)centre;
    to[AT_COEF_CENTRE * j.stride] = rounded;
    to[AT_COEF_SCALE * j.stride] = (float)scale;
    to[AT_COEF_SHIFT * j.stride] = (float)(shift + ((double)rounded - centre) * scale);
}

/* --- y ---------------------------------------------------------------------------------------- */

/* Stores act(v) / y_scale in row 'row' from channel c on; returns the largest |act(v)| so far. What
 * lies beyond the row's end is zero. */
template <class T>
__device__ __forceinline__ float at_channels_put(float (&v)[AT_PACK], const at_channels_job &j,
                                                 int64_t row, int64_t c, float y_scale, float top)
{
    if (j.act == AT_CHANNELS_SILU)
#pragma unroll
        for (int i = 0; i < AT_PACK; i++)
            v[i] *= 1.0f / (1.0f + expf(-v[i]));
    if (j.act == AT_CHANNELS_RELU)
#pragma unroll
        for (int i = 0; i < AT_PACK; i++)
            v[i] = v[i] < 0 ? 0.0f : v[i];
#pragma unroll
    for (int i = 0; i < AT_PACK; i++)
        top = fmaxf(top, fabsf(v[i]));
    if (j.y_scale) {
#pragma unroll
        for (int i = 0; i < AT_PACK; i++)
            v[i] /= y_scale;
        at_pack_store(at_line<__nv_fp8_e4m3>(j.y, row) + c, v, j.s.cols - c, j.y.wide);
    } else {
        at_pack_store(at_line<T>(j.y, row) + c, v, j.s.cols - c, j.y.wide);
    }
    return top;
}

#endif
