/* adamw8bit.cu -- bound by memory: 10 bytes read and 6 written for each weight (f32 gradients), in
 * one pass; the aim is 80 % of the bandwidth.
 *
 * A warp takes a block of states, so that its largest numbers are found by shuffles alone. Codes
 * become numbers by a table, and a number's segment is its exponent divided by three; a block of
 * threads makes its tables once, from state_map.h, for many blocks of states. */
#include "kernels/optimizer.cuh"
#include "kernels/state_map.h"

enum {
    WARPS = AT_BLOCK / AT_WARP,
    GRID_MAX = 1056, /* twice what fits on an H100's 132 multiprocessors: four blocks on each */
    QUADS = AT_STATE_BLOCK / (AT_QUAD * AT_WARP),
    SEGMENTS = 8,
};

struct adamw8bit_job {
    at_lines w, g, low, m, v; /* (blocks, 256), the last cut short by n; m and v u8 */
    float *m_scale, *v_scale; /* (ceil(n / 256)) */
    const float *hyper;       /* (4) */
    int64_t n, blocks;
    at_adamw_rates rates;
};

/* The two maps: what a code stands for, and each segment's line from a number to its code. */
struct state_tables {
    float m[1 << AT_STATE_M_BITS], v[1 << AT_STATE_V_BITS];
    float slope[2][SEGMENTS], offset[2][SEGMENTS];
};

__device__ __forceinline__ void fill_tables(state_tables &t)
{
    const int k = (int)threadIdx.x;
    if (k < 1 << AT_STATE_M_BITS)
        t.m[k] = at_state_value(k, AT_STATE_M_BITS);
    if (k < 1 << AT_STATE_V_BITS)
        t.v[k] = at_state_value(k, AT_STATE_V_BITS);
    if (k < 2 * SEGMENTS) {
        const int bits = k < SEGMENTS ? AT_STATE_M_BITS : AT_STATE_V_BITS;
        const int i = k % SEGMENTS < bits ? k % SEGMENTS : bits - 1;
        t.slope[k / SEGMENTS][k % SEGMENTS] = at_state_slope(bits, i);
        t.offset[k / SEGMENTS][k % SEGMENTS] = at_state_offset(bits, i);
    }
    __syncthreads();
}

/* The nearest code of x4 in [0, 4): at_state_code() without its search. 4 * 8^(i - bits) has the
 * biased exponent 129 + 3 (i - bits), a third of it is 43 + i - bits. */
template <int BITS>
__device__ __forceinline__ unsigned code_of(const state_tables &t, float x4)
{
    constexpr int map = BITS == AT_STATE_M_BITS ? 0 : 1;
    const float x = fmaxf(x4, at_state_begin(BITS, 0));
    const int segment = min((int)(__float_as_uint(x) >> 23) / 3 - 43 + BITS, BITS - 1);
    return (unsigned)(int)__fadd_rn(__fmul_rn(x, t.slope[map][segment]), t.offset[map][segment]);
}

/* A lane's part of a block: four neighbours, and four again half a block further. */
template <class G>
struct block_in {
    at_quad<uint8_t> m[QUADS], v[QUADS];
    at_quad<float> w[QUADS];
    at_quad<G> g[QUADS];
};
struct block_states {
    float m[QUADS][AT_QUAD], v[QUADS][AT_QUAD];
};

/* This lane's k-th column of a block, and how many a block has. */
__device__ __forceinline__ int64_t quad_column(int k)
{
    return (k * AT_WARP + (int)threadIdx.x % AT_WARP) * AT_QUAD;
}

__device__ __forceinline__ int64_t block_columns(const adamw8bit_job &j, int64_t block)
{
    return min(j.n - block * AT_STATE_BLOCK, (int64_t)AT_STATE_BLOCK);
}

template <class G>
__device__ __forceinline__ void load_block(block_in<G> &in, const adamw8bit_job &j, int64_t block)
{
    const int64_t n = block_columns(j, block);
#pragma unroll
    for (int k = 0; k < QUADS; k++) {
        const int64_t c = quad_column(k);
        in.m[k] = at_quad_get<uint8_t>(j.m, block, c, n);
        in.v[k] = at_quad_get<uint8_t>(j.v, block, c, n);
        in.w[k] = at_quad_get<float>(j.w, block, c, n);
        in.g[k] = at_quad_get<G>(j.g, block, c, n);
    }
}

/* The states and weights of a block forward. */
template <class G>
__device__ __forceinline__ void step_block(block_states &q, const block_in<G> &in,
                                           const adamw8bit_job &j, const at_adamw_step &s,
                                           const state_tables &t, int64_t block)
{
    const float m_scale = j.m_scale[block], v_scale = j.v_scale[block];
    const int64_t n = block_columns(j, block);
#pragma unroll
    for (int k = 0; k < QUADS; k++) {
        const int64_t c = quad_column(k);
        unsigned m_code[AT_QUAD], v_code[AT_QUAD];
        float w[AT_QUAD], g[AT_QUAD];
        at_quad_take(m_code, in.m[k]);
        at_quad_take(v_code, in.v[k]);
        at_quad_take(w, in.w[k]);
        at_quad_take(g, in.g[k]);
        AT_FOR_QUAD(i)
        {
            const unsigned sign = m_code[i] & AT_STATE_SIGN;
            const float m = __fmul_rn(t.m[m_code[i] ^ sign], m_scale);
            q.m[k][i] = sign ? -m : m;
            q.v[k][i] = __fmul_rn(t.v[v_code[i]], v_scale);
            at_adamw_states(j.rates, &q.m[k][i], &q.v[k][i], __fmul_rn(g[i], s.factor));
            w[i] = at_adamw_weight(j.rates, s, w[i], q.m[k][i], q.v[k][i]);
        }
        at_quad_put<float>(j.w, block, c, n, w);
        at_low_put(j.low, block, c, n, w);
    }
}

/* Lanes past the end hold a code of zero and a gradient of zero: never larger than the others. */
__device__ __forceinline__ void encode_block(const adamw8bit_job &j, const state_tables &t,
                                             const block_states &q, int64_t block)
{
    const int64_t n = block_columns(j, block);
    float m_top = 0, v_top = 0;
#pragma unroll
    for (int k = 0; k < QUADS; k++)
        AT_FOR_QUAD(i)
        {
            m_top = fmaxf(m_top, fabsf(q.m[k][i]));
            v_top = fmaxf(v_top, q.v[k][i]);
        }
    const float m_scale = at_state_scale(at_warp_max(m_top));
    const float v_scale = at_state_scale(at_warp_max(v_top));
    const float m_inverse = at_state_inverse(m_scale), v_inverse = at_state_inverse(v_scale);
    if (threadIdx.x % AT_WARP == 0) {
        j.m_scale[block] = m_scale;
        j.v_scale[block] = v_scale;
    }
#pragma unroll
    for (int k = 0; k < QUADS; k++) {
        const int64_t c = quad_column(k);
        unsigned m_code[AT_QUAD], v_code[AT_QUAD];
        AT_FOR_QUAD(i)
        {
            const float m = q.m[k][i], v = fabsf(q.v[k][i]);
            const unsigned sign = __float_as_uint(m) >> 24 & AT_STATE_SIGN;
            m_code[i] = code_of<AT_STATE_M_BITS>(t, fabsf(m) * m_inverse) | sign;
            v_code[i] = code_of<AT_STATE_V_BITS>(t, v * v_inverse);
        }
        at_quad_put<uint8_t>(j.m, block, c, n, m_code);
        at_quad_put<uint8_t>(j.v, block, c, n, v_code);
    }
}

/* What is left of a step that is left out. */
__device__ __forceinline__ void copy_block(const adamw8bit_job &j, int64_t block)
{
    const int64_t n = block_columns(j, block);
    for (int k = 0; k < QUADS; k++) {
        float w[AT_QUAD];
        at_quad_take(w, at_quad_get<float>(j.w, block, quad_column(k), n));
        at_low_put(j.low, block, quad_column(k), n, w);
    }
}

template <class G>
__global__ void __launch_bounds__(AT_BLOCK) adamw8bit_step(adamw8bit_job j)
{
    AT_SHARED(state_tables, tables);
    const at_adamw_step s = at_adamw_step_of(j.rates, j.hyper);
    int64_t block = (int64_t)blockIdx.x * WARPS + threadIdx.x / AT_WARP;
    fill_tables(tables);
    for (; block < j.blocks; block += (int64_t)gridDim.x * WARPS) {
        block_in<G> in;
        block_states q;
        if (s.factor == 0) {
            copy_block(j, block);
            continue;
        }
        load_block(in, j, block);
        step_block(q, in, j, s, tables, block);
        __syncwarp(); /* all have read the scales */
        encode_block(j, tables, q, block);
    }
}

/* --- launches --------------------------------------------------------------------------------- */

template <class G>
static cudaError_t launch(const adamw8bit_job &j, cudaStream_t stream)
{
    const int64_t wanted = (j.blocks + WARPS - 1) / WARPS;
    const dim3 grid((unsigned)(wanted < GRID_MAX ? wanted : (int64_t)GRID_MAX));
    return AT_LAUNCH(adamw8bit_step<G>, grid, AT_BLOCK, 0, stream, j);
}

extern "C" bool at_adamw8bit_cuda_fits(const void *args)
{
    return at_is_simd_type(static_cast<const at_adamw8bit_args *>(args)->g.dtype);
}

extern "C" at_status at_adamw8bit_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_adamw8bit_args *>(args);
    const adamw8bit_job j = { at_lines_joined(&a->w, AT_STATE_BLOCK),
                              at_lines_joined(&a->g, AT_STATE_BLOCK),
                              at_has(&a->w_low) ? at_lines_joined(&a->w_low, AT_STATE_BLOCK)
                                                : at_lines{},
                              at_lines_joined(&a->m, AT_STATE_BLOCK),
                              at_lines_joined(&a->v, AT_STATE_BLOCK),
                              at_floats_of(&a->m_scale),
                              at_floats_of(&a->v_scale),
                              at_floats_of(&a->hyper),
                              at_elements(&a->w),
                              at_cols(&a->m_scale),
                              at_adamw_rates_of(a->beta1, a->beta2, a->eps, a->decay) };
    return at_launched(l, AT_BY_TYPE(a->g.dtype, launch, j, at_stream_of(l)));
}
