/* attention.cu -- bound by arithmetic: 4 * D operations a pair of query and key on tensor cores,
 * beside one exponential; the aim is 60 % of the peak of mma.sync at D = 64.
 *
 * A block takes a tile of queries of one head and walks over the keys it sees, 64 at a time, with
 * the next keys and values on their way. Each query keeps the largest score so far, the sum of
 * exponentials and its output in registers, so nothing of queries x keys is stored. A query's bytes
 * depend on its own row and the keys only: not on its tile, nor on the batch.
 *
 * Weights are rounded to the operands' type before the second product. Where all rows have few
 * keys, or a mask leaves some with few, so that errors do not average out, weights go in as sums of
 * two such numbers. */
#include "kernels/attention_plain.cuh"

enum { SIZE_TILED_MAX = 256 };

/* A tile's keys: what a head of DP elements leaves registers for. */
template <int DP>
constexpr int KEYS_OF = DP == 256 ? 32 : 64;

struct attention_job {
    at_lines o, q;     /* (B * Lq, H * D) */
    at_lines k, v;     /* (B * Lk, H * D) */
    float *lse;        /* (B * H, Lq) or NULL */
    int64_t lse_pitch; /* from one head to the next */
    at_heads heads;
    int tiles;      /* of queries, a head */
    int lanes;      /* attend_each(): that share a key, a power of two */
    bool two_parts; /* weights are sums of two rounded numbers */
};

/* Scores become what they weigh, 2^(score * scale - top); tops and sums go on. 'factor' is what
 * earlier weights are still worth. Lanes of a row keep sums of their own. */
template <int MT, int NT>
__device__ __forceinline__ void weigh_scores(float (&s)[MT][NT][4], float (&top)[MT][2],
                                             float (&sum)[MT][2], float (&factor)[MT][2],
                                             float scale)
{
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float high = -INFINITY, part = 0;
#pragma unroll
            for (int i = 0; i < 2 * NT; i++)
                high = fmaxf(high, s[m][i / 2][2 * h + i % 2]);
            high = fmaxf(high, __shfl_xor_sync(AT_LANES_ALL, high, 1));
            high = fmaxf(high, __shfl_xor_sync(AT_LANES_ALL, high, 2));
            const float now = fmaxf(top[m][h], high * scale);
            const float base = now == -INFINITY ? 0.0f : now; /* nothing seen yet */
            factor[m][h] = exp2f(top[m][h] - base);
            top[m][h] = now;
#pragma unroll
            for (int i = 0; i < 2 * NT; i++) {
                float &x = s[m][i / 2][2 * h + i % 2];
                x = exp2f(fmaf(x, scale, -base));
                part += x;
            }
            sum[m][h] = fmaf(sum[m][h], factor[m][h], part);
        }
}

/* Scores of keys that a row does not see. 'row' is the warp's first query, 'key' the tile's first
 * key. */
template <int MT, int NT>
__device__ __forceinline__ void hide_scores(float (&s)[MT][NT][4], const at_heads &hs, int keys,
                                            int row, int key)
{
    key += at_lane_col();
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const int seen = at_keys_seen(hs, row + m * 16 + h * 8 + at_lane_row(), keys);
#pragma unroll
            for (int i = 0; i < 2 * NT; i++)
                if (key + i / 2 * 8 + i % 2 >= seen)
                    s[m][i / 2][2 * h + i % 2] = -INFINITY;
        }
}

/* Earlier outputs, where some row's top has risen. */
template <int MT, int N>
__device__ __forceinline__ void rescale_rows(float (&o)[MT][N][4], const float (&factor)[MT][2])
{
    bool risen = false;
#pragma unroll
    for (int m = 0; m < MT; m++)
        risen = risen || factor[m][0] != 1.0f || factor[m][1] != 1.0f;
    if (!__any_sync(AT_LANES_ALL, risen))
        return;
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int n = 0; n < N; n++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                o[m][n][e] *= factor[m][e / 2];
}

/* o += p * tile. */
template <int DP, int MT, int NT, class T>
__device__ __forceinline__ void add_values(float (&o)[MT][DP / 8][4], const float (&p)[MT][NT][4],
                                           const T *tile, bool two_parts)
{
    uint32_t left[MT][NT / 2][4], rest[MT][NT / 2][4];
    if constexpr (MT == 1)
        if (two_parts || DP == 256) { /* there are no registers for both ways */
            at_fragment_parts<NT>(left, rest, p, tile);
            at_multiply_parts<DP, NT / 2>(o, left, rest, tile);
            return;
        }
    at_fragment_of(left, p, tile);
    at_multiply_weights<DP, MT, NT / 2>(o, left, tile);
}

/* The sums of whole rows: 'factor' becomes what their outputs are multiplied by, 0 for a row that
 * sees nothing. */
template <int MT>
__device__ __forceinline__ void close_rows(const attention_job &j, int64_t head, int row,
                                           const float (&top)[MT][2], const float (&sum)[MT][2],
                                           float (&factor)[MT][2])
{
#pragma unroll
    for (int m = 0; m < MT; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const int i = row + m * 16 + h * 8 + at_lane_row();
            float all = sum[m][h];
            all += __shfl_xor_sync(AT_LANES_ALL, all, 1);
            all += __shfl_xor_sync(AT_LANES_ALL, all, 2);
            factor[m][h] = all == 0 ? 0.0f : 1 / all;
            if (j.lse && i < j.heads.queries && at_lane_col() == 0)
                j.lse[head * j.lse_pitch + i] =
                    all == 0 ? -INFINITY : (top[m][h] + log2f(all)) * AT_LN2;
        }
}

template <class T, int DP, int MT>
__global__ void __launch_bounds__(AT_TILE_THREADS, DP == 64 && MT == 1 ? 3 : 1)
    attend(attention_job j)
{
    at_wait_for_earlier();
    constexpr int ROWS = 16 * MT * AT_TILE_WARPS, KEYS = KEYS_OF<DP>, NT = KEYS / 8;
    constexpr int TILE = KEYS * DP;
    constexpr bool KEPT = DP < 256; /* fragments of queries stay in registers */
    AT_SHARED_DYNAMIC(T, room);
    T *const q = room, *const k = q + ROWS * DP, *const v = k + 2 * TILE;
    const at_heads &hs = j.heads;
    const at_head head = at_head_of(hs, blockIdx.x / (unsigned)j.tiles);
    const int first = at_query_tile(j.heads, j.tiles) * ROWS,
              own = (int)(threadIdx.x / AT_WARP) * 16 * MT;
    const int end = at_keys_seen(hs, min(first + ROWS, hs.queries) - 1, head.keys);
    const int all_see = at_keys_seen(hs, first, head.keys); /* keys that every query sees */
    float o[MT][DP / 8][4] = {}, top[MT][2], sum[MT][2] = {}, factor[MT][2];
    uint32_t a[MT][KEPT ? DP / 16 : 1][4];
#pragma unroll
    for (int i = 0; i < 2 * MT; i++)
        top[i / 2][i % 2] = -INFINITY;
    at_tile_load<ROWS, DP>(q, j.q, head.query + first, head.col, hs.queries - first, hs.size);
    at_tile_load<KEYS, DP>(k, j.k, head.key, head.col, head.keys, hs.size);
    at_tile_load<KEYS, DP>(v, j.v, head.key, head.col, head.keys, hs.size);
    at_copy_async_commit();
    at_copy_async_wait<0>();
    __syncthreads();
    if constexpr (KEPT)
#pragma unroll
        for (int i = 0; i < MT * DP / 16; i++)
            at_fragment_load<DP>(a[i / (DP / 16)][i % (DP / 16)], q, own + i / (DP / 16) * 16,
                                 i % (DP / 16));
    for (int key = 0, at = 0; key < end; key += KEYS, at ^= TILE) {
        float s[MT][NT][4];
        const int next = key + KEYS, left = head.keys - next;
        if (next < end) {
            at_tile_load<KEYS, DP>(k + (at ^ TILE), j.k, head.key + next, head.col, left, hs.size);
            at_tile_load<KEYS, DP>(v + (at ^ TILE), j.v, head.key + next, head.col, left, hs.size);
            at_copy_async_commit();
        }
        if constexpr (KEPT)
            at_multiply_rows<DP, MT, NT>(s, a, k + at);
        else
            at_multiply_tiles<DP, NT>(s, q, own, k + at);
        if (next > all_see)
            hide_scores(s, hs, head.keys, first + own, key);
        weigh_scores(s, top, sum, factor, hs.scale * AT_LOG2E);
        rescale_rows(o, factor);
        add_values<DP, MT>(o, s, v + at, j.two_parts);
        at_copy_async_wait<0>();
        __syncthreads();
    }
    close_rows(j, head.index, first + own, top, sum, factor);
    at_tile_store<DP, MT>(q + own * DP, j.o, head.query + first + own, head.col,
                          hs.queries - first - own, hs.size, o, factor);
}

/* --- few queries ------------------------------------------------------------------------------ */

/* Decoding with a cache: bound by reading keys and values once, the aim is 70 % of the bandwidth
 * from 200 heads on; fewer do not fill a device.
 *
 * A block takes one query. Of a warp, 'lanes' neighbours share a key, AT_PACK elements each,
 * PACKS times; FEW_AHEAD keys of a lane are on their way at once. Every such group keeps a top, a
 * sum and an output of its own, and these are merged at the end, in one order. */
enum { FEW_QUERIES = 4, FEW_WARPS = 8, FEW_AHEAD = 4 };

template <int PACKS>
struct few_state {
    float top, sum, o[PACKS][AT_PACK];
};

/* What both have seen. */
template <int PACKS>
__device__ __forceinline__ void merge_states(few_state<PACKS> &a, const few_state<PACKS> &b)
{
    const float top = fmaxf(a.top, b.top), base = top == -INFINITY ? 0.0f : top;
    const float own = exp2f(a.top - base), other = exp2f(b.top - base);
    a.top = top;
    a.sum = fmaf(a.sum, own, b.sum * other);
#pragma unroll
    for (int i = 0; i < PACKS * AT_PACK; i++) {
        float &o = a.o[i / AT_PACK][i % AT_PACK];
        o = fmaf(o, own, b.o[i / AT_PACK][i % AT_PACK] * other);
    }
}

/* This lane's elements of a row of the head, zeros where there is none. */
template <class T, int PACKS>
__device__ __forceinline__ void few_load(float (&v)[PACKS][AT_PACK], const at_lines &l, int64_t row,
                                         int64_t col, int lanes, int size)
{
#pragma unroll
    for (int p = 0; p < PACKS; p++) {
        const int d = ((at_lane() & (lanes - 1)) + p * lanes) * AT_PACK;
        at_pack_load(v[p], at_line<T>(l, row) + col + d, size - d, l.wide, 0.0f);
    }
}

/* FEW_AHEAD keys from 'key' on, 'step' apart, of which those before 'end' are seen. */
template <class T, int PACKS>
__device__ __forceinline__ void attend_few(few_state<PACKS> &state, const attention_job &j,
                                           const at_head &head, const float (&q)[PACKS][AT_PACK],
                                           int key, int step, int end, int lanes)
{
    float k[FEW_AHEAD][PACKS][AT_PACK], v[FEW_AHEAD][PACKS][AT_PACK], s[FEW_AHEAD];
    float high = -INFINITY;
#pragma unroll
    for (int n = 0; n < FEW_AHEAD; n++) {
        const int at = key + n * step, size = at < end ? j.heads.size : 0;
        const int64_t row = head.key + (at < end ? at : 0);
        few_load<T>(k[n], j.k, row, head.col, lanes, size);
        few_load<T>(v[n], j.v, row, head.col, lanes, size);
    }
#pragma unroll
    for (int n = 0; n < FEW_AHEAD; n++) {
        s[n] = 0;
#pragma unroll
        for (int i = 0; i < PACKS * AT_PACK; i++)
            s[n] = fmaf(q[i / AT_PACK][i % AT_PACK], k[n][i / AT_PACK][i % AT_PACK], s[n]);
        for (int bits = 1; bits < lanes; bits *= 2)
            s[n] += __shfl_xor_sync(AT_LANES_ALL, s[n], bits);
        s[n] = key + n * step < end ? s[n] * (j.heads.scale * AT_LOG2E) : -INFINITY;
        high = fmaxf(high, s[n]);
    }
    const float top = fmaxf(state.top, high), base = top == -INFINITY ? 0.0f : top;
    const float factor = exp2f(state.top - base);
    state.top = top;
    state.sum *= factor;
#pragma unroll
    for (int i = 0; i < PACKS * AT_PACK; i++)
        state.o[i / AT_PACK][i % AT_PACK] *= factor;
#pragma unroll
    for (int n = 0; n < FEW_AHEAD; n++) {
        const float p = exp2f(s[n] - base);
        state.sum += p;
#pragma unroll
        for (int i = 0; i < PACKS * AT_PACK; i++) {
            float &o = state.o[i / AT_PACK][i % AT_PACK];
            o = fmaf(p, v[n][i / AT_PACK][i % AT_PACK], o);
        }
    }
}

/* Merges the groups of a warp; every lane gets the result. */
template <int PACKS>
__device__ __forceinline__ void merge_groups(few_state<PACKS> &state, int lanes)
{
    for (int bits = lanes; bits < AT_WARP; bits *= 2) {
        few_state<PACKS> other;
        other.top = __shfl_xor_sync(AT_LANES_ALL, state.top, bits);
        other.sum = __shfl_xor_sync(AT_LANES_ALL, state.sum, bits);
#pragma unroll
        for (int i = 0; i < PACKS * AT_PACK; i++)
            other.o[i / AT_PACK][i % AT_PACK] =
                __shfl_xor_sync(AT_LANES_ALL, state.o[i / AT_PACK][i % AT_PACK], bits);
        merge_states(state, other);
    }
}

template <class T, int PACKS>
__global__ void __launch_bounds__(FEW_WARPS *AT_WARP) attend_each(attention_job j)
{
    at_wait_for_earlier();
    const int lanes = j.lanes;
    AT_SHARED(few_state<PACKS>[FEW_WARPS][AT_WARP], room);
    const at_head head = at_head_of(j.heads, blockIdx.x / (unsigned)j.heads.queries);
    const int i = (int)(blockIdx.x % (unsigned)j.heads.queries), warp = (int)threadIdx.x / AT_WARP;
    const int end = at_keys_seen(j.heads, i, head.keys), step = FEW_WARPS * AT_WARP / lanes;
    few_state<PACKS> state = { -INFINITY, 0, {} };
    float q[PACKS][AT_PACK];
    few_load<T>(q, j.q, head.query + i, head.col, lanes, j.heads.size);
    for (int key = 0; key < end; key += step * FEW_AHEAD)
        attend_few<T>(state, j, head, q, key + (int)threadIdx.x / lanes, step, end, lanes);
    merge_groups(state, lanes);
    room[warp][at_lane()] = state;
    __syncthreads();
    if (warp > 0)
        return;
    for (int w = 1; w < FEW_WARPS; w++)
        merge_states(state, room[w][at_lane()]);
    const float factor = state.sum == 0 ? 0.0f : 1 / state.sum;
#pragma unroll
    for (int p = 0; p < PACKS; p++) {
        const int d = ((at_lane() & (lanes - 1)) + p * lanes) * AT_PACK;
#pragma unroll
        for (int e = 0; e < AT_PACK; e++)
            state.o[p][e] *= factor;
        if (at_lane() < lanes)
            at_pack_store(at_line<T>(j.o, head.query + i) + head.col + d, state.o[p],
                          j.heads.size - d, j.o.wide);
    }
    if (j.lse && at_lane() == 0)
        j.lse[head.index * j.lse_pitch + i] =
            state.sum == 0 ? -INFINITY : (state.top + log2f(state.sum)) * AT_LN2;
}

/* --- plain ------------------------------------------------------------------------------------ */

/* Scores become what they weigh, as in weigh_scores(); a row's 16 threads lie in one half of a
 * warp. */
__device__ __forceinline__ void weigh_plain(float (&s)[AT_PLAIN_EACH][AT_PLAIN_EACH],
                                            float (&top)[AT_PLAIN_EACH],
                                            float (&sum)[AT_PLAIN_EACH],
                                            float (&factor)[AT_PLAIN_EACH], float scale)
{
#pragma unroll
    for (int r = 0; r < AT_PLAIN_EACH; r++) {
        float high = fmaxf(fmaxf(s[r][0], s[r][1]), fmaxf(s[r][2], s[r][3])), part = 0;
#pragma unroll
        for (int bits = 1; bits < AT_PLAIN_SIDE; bits *= 2)
            high = fmaxf(high, __shfl_xor_sync(AT_LANES_ALL, high, bits));
        const float now = fmaxf(top[r], high * scale), base = now == -INFINITY ? 0.0f : now;
        factor[r] = exp2f(top[r] - base);
        top[r] = now;
#pragma unroll
        for (int c = 0; c < AT_PLAIN_EACH; c++)
            part += s[r][c] = exp2f(fmaf(s[r][c], scale, -base));
        sum[r] = fmaf(sum[r], factor[r], part);
    }
}

/* As attend(), in f32 and for any size of a head. */
template <int PARTS>
__global__ void __launch_bounds__(AT_PLAIN_THREADS, 1) attend_plain(attention_job j)
{
    AT_SHARED(at_plain_room, room);
    at_wait_for_earlier();
    const at_heads &hs = j.heads;
    const at_head head = at_head_of(hs, blockIdx.x / (unsigned)j.tiles);
    const int first = at_query_tile(j.heads, j.tiles) * AT_PLAIN_TILE, left = hs.queries - first;
    const int end = at_keys_seen(hs, min(first + AT_PLAIN_TILE, hs.queries) - 1, head.keys);
    const at_plain_tokens q = { j.q, head.query + first, head.col, left };
    float o[PARTS][AT_PLAIN_EACH][AT_PLAIN_EACH] = {}, sum[AT_PLAIN_EACH] = {};
    float top[AT_PLAIN_EACH], factor[AT_PLAIN_EACH], s[AT_PLAIN_EACH][AT_PLAIN_EACH];
#pragma unroll
    for (int r = 0; r < AT_PLAIN_EACH; r++)
        top[r] = -INFINITY;
    for (int key = 0; key < end; key += AT_PLAIN_TILE) {
        const at_plain_tokens k = { j.k, head.key + key, head.col, head.keys - key };
        const at_plain_tokens v = { j.v, head.key + key, head.col, head.keys - key };
        at_plain_dot(s, room, q, k, hs.size);
        AT_FOR_EACH_SUM(r, c)
        if (key + at_plain_col() + c >= at_keys_seen(hs, first + at_plain_row() + r, head.keys))
            s[r][c] = -INFINITY;
        weigh_plain(s, top, sum, factor, hs.scale * AT_LOG2E);
#pragma unroll
        for (int p = 0; p < PARTS; p++)
            AT_FOR_EACH_SUM(r, c)
        o[p][r][c] *= factor[r];
        at_plain_put(room, s);
        at_plain_add(o, room, v, left, hs.size);
    }
#pragma unroll
    for (int r = 0; r < AT_PLAIN_EACH; r++) {
        const int i = first + at_plain_row() + r;
        float all = sum[r];
#pragma unroll
        for (int bits = 1; bits < AT_PLAIN_SIDE; bits *= 2)
            all += __shfl_xor_sync(AT_LANES_ALL, all, bits);
        factor[r] = all == 0 ? 0.0f : 1 / all;
        if (j.lse && i < hs.queries && at_plain_col() == 0)
            j.lse[head.index * j.lse_pitch + i] =
                all == 0 ? -INFINITY : (top[r] + log2f(all)) * AT_LN2;
    }
    const at_plain_tokens out = { j.o, head.query + first, head.col, left };
    at_plain_store(out, o, factor, hs.size);
}

/* --- launches --------------------------------------------------------------------------------- */

template <class T, int DP, int MT>
static cudaError_t launch_tiles(attention_job j, int64_t heads, at_queue stream)
{
    constexpr int ROWS = 16 * MT * AT_TILE_WARPS;
    constexpr size_t SHARED = (size_t)(ROWS + 4 * KEYS_OF<DP>)*DP * sizeof(T);
    const cudaError_t allowed = at_shared_allow(attend<T, DP, MT>, SHARED);
    if (allowed != cudaSuccess)
        return allowed;
    j.tiles = (j.heads.queries + ROWS - 1) / ROWS;
    return AT_LAUNCH_EARLY((attend<T, DP, MT>), dim3((unsigned)(heads * j.tiles)),
                           dim3(AT_TILE_THREADS), SHARED, stream, j);
}

/* Tiles of 128 queries read keys from shared memory half as often, and leave blocks enough where
 * there are many queries. A query's bytes are the same in both. */
template <class T>
static cudaError_t launch_attention(const attention_job &j, int64_t heads, at_queue stream)
{
    enum { MANY = 1024 };
    if (j.heads.size > 128)
        return launch_tiles<T, 256, 1>(j, heads, stream);
    if (j.heads.size > 64)
        return launch_tiles<T, 128, 1>(j, heads, stream);
    return j.heads.queries >= MANY && !j.two_parts ? launch_tiles<T, 64, 2>(j, heads, stream)
                                                   : launch_tiles<T, 64, 1>(j, heads, stream);
}

/* Heads of up to 256 elements are at most a warp's packs. */
template <class T>
static cudaError_t launch_few(attention_job j, int64_t heads, at_queue stream)
{
    const dim3 grid((unsigned)(heads * j.heads.queries)), block(FEW_WARPS * AT_WARP);
    for (j.lanes = 1; j.lanes < AT_WARP && j.lanes * AT_PACK < j.heads.size;)
        j.lanes *= 2;
    return j.lanes * AT_PACK < j.heads.size
               ? AT_LAUNCH_EARLY((attend_each<T, 2>), grid, block, 0, stream, j)
               : AT_LAUNCH_EARLY((attend_each<T, 1>), grid, block, 0, stream, j);
}

template <int PARTS>
static cudaError_t launch_plain(attention_job j, int64_t heads, at_queue stream)
{
    j.tiles = (j.heads.queries + AT_PLAIN_TILE - 1) / AT_PLAIN_TILE;
    return AT_LAUNCH_EARLY(attend_plain<PARTS>, dim3((unsigned)(heads * j.tiles)),
                           dim3(AT_PLAIN_THREADS), 0, stream, j);
}

static attention_job job_of(const at_attention_args *a)
{
    enum { FEW_KEYS = 256 };
    const at_heads heads = at_heads_of(a);
    return { at_lines_of_heads(&a->o, heads.size),
             at_lines_of_heads(&a->q, heads.size),
             at_lines_of_heads(&a->k, heads.size),
             at_lines_of_heads(&a->v, heads.size),
             at_floats_of(&a->lse),
             a->lse.pitch,
             heads,
             0,
             0,
             heads.causal || heads.lengths || heads.keys < FEW_KEYS };
}

extern "C" bool at_attention_few_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_attention_args *>(args);
    return at_heads_fit(a) && a->q.size[1] <= FEW_QUERIES;
}

extern "C" at_status at_attention_few_cuda(const void *args, const at_prepared *,
                                           const at_launch *l)
{
    const auto *a = static_cast<const at_attention_args *>(args);
    return at_launched(
        l, AT_BY_TYPE(a->q.dtype, launch_few, job_of(a), a->q.size[0] * a->heads, at_queue_of(l)));
}

extern "C" bool at_attention_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_attention_args *>(args);
    return at_heads_fit(a) && a->q.dtype != AT_F32 && at_cols(&a->q) / a->heads <= SIZE_TILED_MAX;
}

extern "C" at_status at_attention_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_attention_args *>(args);
    const int64_t heads = a->q.size[0] * a->heads;
    return at_launched(l, a->q.dtype == AT_BF16
                              ? launch_attention<__nv_bfloat16>(job_of(a), heads, at_queue_of(l))
                              : launch_attention<__half>(job_of(a), heads, at_queue_of(l)));
}

/* What the tensor cores' kernel leaves. */
extern "C" bool at_attention_plain_cuda_fits(const void *args)
{
    return at_heads_fit(static_cast<const at_attention_args *>(args)) &&
           !at_attention_cuda_fits(args);
}

extern "C" at_status at_attention_plain_cuda(const void *args, const at_prepared *,
                                             const at_launch *l)
{
    const auto *a = static_cast<const at_attention_args *>(args);
    const attention_job j = job_of(a);
    return at_launched(l, AT_PLAIN_BY_SIZE(j.heads.size, launch_plain, j, a->q.size[0] * a->heads,
                                           at_queue_of(l)));
}
