/* attention_bwd.cu -- bound by arithmetic: 20 * D operations a pair of query and key on tensor
 * cores, of which 10 * D are needed; the aim is 50 % of the peak of mma.sync at D = 64.
 *
 * Scores and dP are computed twice, once where queries receive their gradient and once where keys
 * do: in return no block ever adds to another's sums, so there are no atomics and nothing to
 * reduce. The first kernel makes delta = rowsum(dout * o), with which dS = P * (dP - delta). Where
 * keys receive, products stand on their heads, (keys, queries): what comes out of one in registers
 * is then a left operand of the next, and no probability ever goes through shared memory.
 *
 * P and dS go into the second products as sums of two numbers of the operands' type: rounded once,
 * their errors are a fifth of an output's last place on average, and too many for the tolerance in
 * one of ten thousand. The second part shares what is loaded for the first, and loading is what
 * bounds these kernels where tensor cores are fast. */
#include "kernels/attention_plain.cuh"

enum { GRADIENT_ROWS = 16 * AT_TILE_WARPS, GRADIENT_SIZE_MAX = 128 };

struct gradient_job {
    at_lines dq, q, o, dout; /* (B * Lq, H * D) */
    at_lines dk, dv, k, v;   /* (B * Lk, H * D) */
    const float *lse;        /* (B * H, Lq) */
    int64_t lse_pitch;       /* from one head to the next */
    float *delta;            /* (B * H, Lq) */
    at_heads heads;
    int64_t n_heads; /* B * H */
    int tiles;       /* of the side that receives, a head */
    int lanes;       /* sum_products(): that share a row, a power of two */
};

/* --- delta ------------------------------------------------------------------------------------ */

/* delta = rowsum(dout * o); neighbouring groups of lanes take neighbouring heads of a token. */
__global__ void __launch_bounds__(AT_BLOCK) sum_products(gradient_job j)
{
    const int64_t group = ((int64_t)blockIdx.x * AT_BLOCK + threadIdx.x) / j.lanes;
    const int64_t groups = j.n_heads * j.heads.queries, at = min((long long)group, groups - 1LL);
    const int64_t row = at / j.heads.count, h = at % j.heads.count, col = h * j.heads.size;
    float sum = 0;
    for (int d = (at_lane() & (j.lanes - 1)) * AT_PACK; d < j.heads.size; d += j.lanes * AT_PACK) {
        float o[AT_PACK], dout[AT_PACK];
        at_row_load(o, j.o, row, col + d, col + j.heads.size, 0.0f);
        at_row_load(dout, j.dout, row, col + d, col + j.heads.size, 0.0f);
#pragma unroll
        for (int i = 0; i < AT_PACK; i++)
            sum = fmaf(o[i], dout[i], sum);
    }
    for (int bits = 1; bits < j.lanes; bits *= 2)
        sum += __shfl_xor_sync(AT_LANES_ALL, sum, bits);
    const int64_t b = row / j.heads.queries, i = row % j.heads.queries;
    if (group < groups && (at_lane() & (j.lanes - 1)) == 0)
        j.delta[(b * j.heads.count + h) * j.heads.queries + i] = sum;
}

/* What P is computed with: 2^(score * scale * log2(e) - this). Infinite for a query that is not
 * there, whose probabilities are zero then. */
__device__ __forceinline__ float exponent_of(const gradient_job &j, int64_t head, int query)
{
    return query < j.heads.queries ? j.lse[head * j.lse_pitch + query] * AT_LOG2E : INFINITY;
}

__device__ __forceinline__ float delta_of(const gradient_job &j, int64_t head, int query)
{
    return query < j.heads.queries ? j.delta[head * j.heads.queries + query] : 0.0f;
}

/* The first query that sees key 'key', Lq where none does. */
__device__ __forceinline__ int first_query(const at_heads &hs, int keys, int key)
{
    if (key >= keys)
        return hs.queries;
    return hs.causal ? min(max(key - keys + hs.queries, 0), hs.queries) : 0;
}

/* --- gradients of keys and values ------------------------------------------------------------- */

/* A tile of queries with their dout, exponents and deltas. */
template <int ROWS, int DP, class T>
__device__ __forceinline__ void load_queries(T *q, T *dout, float (&exponents)[ROWS],
                                             float (&deltas)[ROWS], const gradient_job &j,
                                             const at_head &head, int query)
{
    const int left = j.heads.queries - query, i = (int)threadIdx.x;
    at_tile_load<ROWS, DP>(q, j.q, head.query + query, head.col, left, j.heads.size);
    at_tile_load<ROWS, DP>(dout, j.dout, head.query + query, head.col, left, j.heads.size);
    at_copy_async_commit();
    if (i < ROWS) {
        exponents[i] = exponent_of(j, head.index, query + i);
        deltas[i] = delta_of(j, head.index, query + i);
    }
}

/* Scores s (keys, queries) become P. */
template <int NT, int ROWS>
__device__ __forceinline__ void weigh_keys(float (&s)[1][NT][4], const float (&exponents)[ROWS],
                                           float scale)
{
#pragma unroll
    for (int n = 0; n < NT; n++) {
        const int i = n * 8 + at_lane_col();
        const float even = exponents[i], odd = exponents[i + 1];
#pragma unroll
        for (int e = 0; e < 4; e++)
            s[0][n][e] = exp2f(fmaf(s[0][n][e], scale, e % 2 ? -odd : -even));
    }
}

/* P of keys that a query does not see; 'key' is the warp's first, 'query' the tile's. */
template <int NT>
__device__ __forceinline__ void hide_keys(float (&p)[1][NT][4], const at_heads &hs, int keys,
                                          int key, int query)
{
    key += at_lane_row();
    query += at_lane_col();
#pragma unroll
    for (int n = 0; n < NT; n++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            if (key + e / 2 * 8 >= at_keys_seen(hs, query + n * 8 + e % 2, keys))
                p[0][n][e] = 0;
}

/* dp becomes dS. */
template <int NT, int ROWS>
__device__ __forceinline__ void slope_keys(float (&dp)[1][NT][4], const float (&p)[1][NT][4],
                                           const float (&deltas)[ROWS])
{
#pragma unroll
    for (int n = 0; n < NT; n++) {
        const int i = n * 8 + at_lane_col();
        const float even = deltas[i], odd = deltas[i + 1];
#pragma unroll
        for (int e = 0; e < 4; e++)
            dp[0][n][e] = p[0][n][e] * (dp[0][n][e] - (e % 2 ? odd : even));
    }
}

/* A warp has 16 keys of the block's 64; queries come by, as many at a time as registers hold. */
template <class T, int DP>
__global__ void __launch_bounds__(AT_TILE_THREADS, 2) gradient_of_keys(gradient_job j)
{
    constexpr int QUERIES = DP == 64 ? 64 : 32, NT = QUERIES / 8, TILE = QUERIES * DP;
    AT_SHARED(float[2][2][QUERIES], numbers); /* exponents and deltas */
    AT_SHARED_DYNAMIC(T, room);
    T *const k = room, *const v = k + GRADIENT_ROWS * DP;
    T *const q = v + GRADIENT_ROWS * DP, *const dout = q + 2 * TILE;
    const at_heads &hs = j.heads;
    const at_head head = at_head_of(hs, blockIdx.x / (unsigned)j.tiles);
    const int first = (int)(blockIdx.x % (unsigned)j.tiles) * GRADIENT_ROWS;
    const int own = (int)(threadIdx.x / AT_WARP) * 16, left = head.keys - first;
    const int begin = first_query(hs, head.keys, first) / QUERIES * QUERIES;
    float dk[1][DP / 8][4] = {}, dv[1][DP / 8][4] = {}, s[1][NT][4], dp[1][NT][4];
    uint32_t p[1][NT / 2][4], rest[1][NT / 2][4];
    at_tile_load<GRADIENT_ROWS, DP>(k, j.k, head.key + first, head.col, left, hs.size);
    at_tile_load<GRADIENT_ROWS, DP>(v, j.v, head.key + first, head.col, left, hs.size);
    load_queries<QUERIES, DP>(q, dout, numbers[0][0], numbers[0][1], j, head, begin);
    at_copy_async_wait<0>();
    __syncthreads();
    for (int query = begin, at = 0; query < hs.queries; query += QUERIES, at ^= 1) {
        const T *const q_now = q + at * TILE, *const dout_now = dout + at * TILE;
        const int next = query + QUERIES;
        if (next < hs.queries)
            load_queries<QUERIES, DP>(q + (at ^ 1) * TILE, dout + (at ^ 1) * TILE,
                                      numbers[at ^ 1][0], numbers[at ^ 1][1], j, head, next);
        at_multiply_tiles<DP, NT>(s, k, own, q_now);
        weigh_keys(s, numbers[at][0], hs.scale * AT_LOG2E);
        if (first + GRADIENT_ROWS > at_keys_seen(hs, query, head.keys))
            hide_keys(s, hs, head.keys, first + own, query);
        at_fragment_parts<NT>(p, rest, s, q);
        at_multiply_parts<DP, NT / 2>(dv, p, rest, dout_now);
        at_multiply_tiles<DP, NT>(dp, v, own, dout_now);
        slope_keys(dp, s, numbers[at][1]);
        at_fragment_parts<NT>(p, rest, dp, q);
        at_multiply_parts<DP, NT / 2>(dk, p, rest, q_now);
        at_copy_async_wait<0>();
        __syncthreads();
    }
    const float scales[1][2] = { { hs.scale, hs.scale } }, ones[1][2] = { { 1, 1 } };
    const int64_t row = head.key + first + own;
    at_tile_store<DP, 1>(k + own * DP, j.dk, row, head.col, hs.keys - first - own, hs.size, dk,
                         scales);
    at_tile_store<DP, 1>(v + own * DP, j.dv, row, head.col, hs.keys - first - own, hs.size, dv,
                         ones);
}

/* --- gradient of queries ---------------------------------------------------------------------- */

/* Scores s (queries, keys) become P. */
template <int NT>
__device__ __forceinline__ void weigh_queries(float (&s)[1][NT][4], const float (&exponents)[2],
                                              float scale)
{
#pragma unroll
    for (int i = 0; i < NT * 4; i++)
        s[0][i / 4][i % 4] = exp2f(fmaf(s[0][i / 4][i % 4], scale, -exponents[i % 4 / 2]));
}

template <int NT>
__device__ __forceinline__ void hide_queries(float (&p)[1][NT][4], const at_heads &hs, int keys,
                                             int query, int key)
{
    key += at_lane_col();
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int seen = at_keys_seen(hs, query + h * 8 + at_lane_row(), keys);
#pragma unroll
        for (int i = 0; i < 2 * NT; i++)
            if (key + i / 2 * 8 + i % 2 >= seen)
                p[0][i / 2][2 * h + i % 2] = 0;
    }
}

/* A warp has 16 queries of the block's 64; keys come by. */
template <class T, int DP>
__global__ void __launch_bounds__(AT_TILE_THREADS, 2) gradient_of_queries(gradient_job j)
{
    constexpr int KEYS = DP == 64 ? 64 : 32, NT = KEYS / 8, TILE = KEYS * DP;
    AT_SHARED_DYNAMIC(T, room);
    T *const q = room, *const dout = q + GRADIENT_ROWS * DP;
    T *const k = dout + GRADIENT_ROWS * DP, *const v = k + 2 * TILE;
    const at_heads &hs = j.heads;
    const at_head head = at_head_of(hs, blockIdx.x / (unsigned)j.tiles);
    const int first = at_query_tile(hs, j.tiles) * GRADIENT_ROWS;
    const int own = (int)(threadIdx.x / AT_WARP) * 16, left = hs.queries - first;
    const int end = at_keys_seen(hs, min(first + GRADIENT_ROWS, hs.queries) - 1, head.keys);
    const int all_see = at_keys_seen(hs, first, head.keys);
    float dq[1][DP / 8][4] = {}, s[1][NT][4], dp[1][NT][4], exponents[2], deltas[2];
    uint32_t p[1][NT / 2][4], rest[1][NT / 2][4];
#pragma unroll
    for (int h = 0; h < 2; h++) {
        exponents[h] = exponent_of(j, head.index, first + own + h * 8 + at_lane_row());
        deltas[h] = delta_of(j, head.index, first + own + h * 8 + at_lane_row());
    }
    at_tile_load<GRADIENT_ROWS, DP>(q, j.q, head.query + first, head.col, left, hs.size);
    at_tile_load<GRADIENT_ROWS, DP>(dout, j.dout, head.query + first, head.col, left, hs.size);
    at_tile_load<KEYS, DP>(k, j.k, head.key, head.col, head.keys, hs.size);
    at_tile_load<KEYS, DP>(v, j.v, head.key, head.col, head.keys, hs.size);
    at_copy_async_commit();
    at_copy_async_wait<0>();
    __syncthreads();
    for (int key = 0, at = 0; key < end; key += KEYS, at ^= TILE) {
        const int next = key + KEYS, more = head.keys - next;
        if (next < end) {
            at_tile_load<KEYS, DP>(k + (at ^ TILE), j.k, head.key + next, head.col, more, hs.size);
            at_tile_load<KEYS, DP>(v + (at ^ TILE), j.v, head.key + next, head.col, more, hs.size);
            at_copy_async_commit();
        }
        at_multiply_tiles<DP, NT>(s, q, own, k + at);
        weigh_queries(s, exponents, hs.scale * AT_LOG2E);
        if (next > all_see)
            hide_queries(s, hs, head.keys, first + own, key);
        at_multiply_tiles<DP, NT>(dp, dout, own, v + at);
#pragma unroll
        for (int i = 0; i < NT * 4; i++)
            dp[0][i / 4][i % 4] = s[0][i / 4][i % 4] * (dp[0][i / 4][i % 4] - deltas[i % 4 / 2]);
        at_fragment_parts<NT>(p, rest, dp, q);
        at_multiply_parts<DP, NT / 2>(dq, p, rest, k + at);
        at_copy_async_wait<0>();
        __syncthreads();
    }
    const float scales[1][2] = { { hs.scale, hs.scale } };
    at_tile_store<DP, 1>(q + own * DP, j.dq, head.query + first + own, head.col, left - own,
                         hs.size, dq, scales);
}

/* --- plain ------------------------------------------------------------------------------------ */

/* One of the three gradients: rows receive it, columns pass by. */
struct plain_job {
    gradient_job all;
    at_lines out, own, own2;      /* the rows': the gradient; q and dout, or k and v */
    at_lines other, other2, from; /* the columns', and what is weighed of them */
    float factor;
    bool of_keys; /* rows are keys */
    bool by_p;    /* weighs with P, else with dS */
};

/* Scores s and dP become weights; row and col are the thread's first. */
__device__ __forceinline__ void weigh_plain(float (&s)[AT_PLAIN_EACH][AT_PLAIN_EACH],
                                            const float (&dp)[AT_PLAIN_EACH][AT_PLAIN_EACH],
                                            const plain_job &j, const at_head &head, int row,
                                            int col)
{
    const at_heads &hs = j.all.heads;
    AT_FOR_EACH_SUM(r, c)
    {
        const int query = j.of_keys ? col + c : row + r, key = j.of_keys ? row + r : col + c;
        const float exponent = exponent_of(j.all, head.index, query);
        const float p = exp2f(fmaf(s[r][c], hs.scale * AT_LOG2E, -exponent));
        s[r][c] = key >= at_keys_seen(hs, query, head.keys) ? 0.0f
                  : j.by_p                                  ? p
                           : p * (dp[r][c] - delta_of(j.all, head.index, query));
    }
}

template <int PARTS>
__global__ void __launch_bounds__(AT_PLAIN_THREADS, 1) gradient_plain(plain_job j)
{
    AT_SHARED(at_plain_room, room);
    const at_heads &hs = j.all.heads;
    const at_head head = at_head_of(hs, blockIdx.x / (unsigned)j.all.tiles);
    const int first = (int)(blockIdx.x % (unsigned)j.all.tiles) * AT_PLAIN_TILE, size = hs.size;
    const int last = min(first + AT_PLAIN_TILE, hs.queries) - 1;
    const int begin = j.of_keys ? first_query(hs, head.keys, first) : 0;
    const int end = j.of_keys ? hs.queries : at_keys_seen(hs, last, head.keys);
    const int64_t row = (j.of_keys ? head.key : head.query) + first;
    const int rows = (j.of_keys ? head.keys : hs.queries) - first;
    const at_plain_tokens own = { j.own, row, head.col, rows };
    const at_plain_tokens own2 = { j.own2, row, head.col, rows };
    float sums[PARTS][AT_PLAIN_EACH][AT_PLAIN_EACH] = {}, factor[AT_PLAIN_EACH];
    float s[AT_PLAIN_EACH][AT_PLAIN_EACH], dp[AT_PLAIN_EACH][AT_PLAIN_EACH] = {};
    for (int at = begin / AT_PLAIN_TILE * AT_PLAIN_TILE; at < end; at += AT_PLAIN_TILE) {
        const int64_t col = (j.of_keys ? head.query : head.key) + at;
        const int cols = (j.of_keys ? hs.queries : head.keys) - at;
        at_plain_dot(s, room, own, { j.other, col, head.col, cols }, size);
        if (!j.by_p)
            at_plain_dot(dp, room, own2, { j.other2, col, head.col, cols }, size);
        weigh_plain(s, dp, j, head, first + at_plain_row(), at + at_plain_col());
        at_plain_put(room, s);
        at_plain_add(sums, room, { j.from, col, head.col, cols }, rows, size);
    }
#pragma unroll
    for (int r = 0; r < AT_PLAIN_EACH; r++)
        factor[r] = j.factor;
    const int all = (j.of_keys ? hs.keys : hs.queries) - first;
    at_plain_store({ j.out, row, head.col, all }, sums, factor, size);
}

/* --- launches --------------------------------------------------------------------------------- */

static cudaError_t launch_delta(gradient_job j, cudaStream_t stream)
{
    for (j.lanes = 1; j.lanes < AT_WARP && j.lanes * AT_PACK < j.heads.size;)
        j.lanes *= 2;
    const int64_t threads = j.n_heads * j.heads.queries * j.lanes;
    return AT_LAUNCH(sum_products, dim3((unsigned)((threads + AT_BLOCK - 1) / AT_BLOCK)),
                     dim3(AT_BLOCK), 0, stream, j);
}

/* A block's own tokens twice, and two tiles of each of what comes by. */
template <class T, int DP>
static cudaError_t launch_tiles(gradient_job j, cudaStream_t stream)
{
    constexpr int PASSING = DP == 64 ? 64 : 32;
    constexpr size_t SHARED = (size_t)(2 * GRADIENT_ROWS + 4 * PASSING) * DP * sizeof(T);
    const int query_tiles = (j.heads.queries + GRADIENT_ROWS - 1) / GRADIENT_ROWS;
    const int key_tiles = (j.heads.keys + GRADIENT_ROWS - 1) / GRADIENT_ROWS;
    cudaError_t error = at_shared_allow(gradient_of_keys<T, DP>, SHARED);
    if (error == cudaSuccess)
        error = at_shared_allow(gradient_of_queries<T, DP>, SHARED);
    if (error != cudaSuccess)
        return error;
    j.tiles = key_tiles;
    error = AT_LAUNCH((gradient_of_keys<T, DP>), dim3((unsigned)(j.n_heads * key_tiles)),
                      dim3(AT_TILE_THREADS), SHARED, stream, j);
    if (error != cudaSuccess)
        return error;
    j.tiles = query_tiles;
    return AT_LAUNCH((gradient_of_queries<T, DP>), dim3((unsigned)(j.n_heads * query_tiles)),
                     dim3(AT_TILE_THREADS), SHARED, stream, j);
}

template <class T>
static cudaError_t launch_gradients(const gradient_job &j, cudaStream_t stream)
{
    return j.heads.size > 64 ? launch_tiles<T, 128>(j, stream) : launch_tiles<T, 64>(j, stream);
}

template <int PARTS>
static cudaError_t launch_plain(plain_job j, cudaStream_t stream)
{
    const int tokens = j.of_keys ? j.all.heads.keys : j.all.heads.queries;
    j.all.tiles = (tokens + AT_PLAIN_TILE - 1) / AT_PLAIN_TILE;
    return AT_LAUNCH(gradient_plain<PARTS>, dim3((unsigned)(j.all.n_heads * j.all.tiles)),
                     dim3(AT_PLAIN_THREADS), 0, stream, j);
}

static cudaError_t launch_plain_gradients(const gradient_job &j, cudaStream_t stream)
{
    const float scale = j.heads.scale;
    const plain_job jobs[] = {
        { j, j.dq, j.q, j.dout, j.k, j.v, j.k, scale, false, false },
        { j, j.dk, j.k, j.v, j.q, j.dout, j.q, scale, true, false },
        { j, j.dv, j.k, j.v, j.q, j.dout, j.dout, 1.0f, true, true },
    };
    cudaError_t error = cudaSuccess;
    for (int i = 0; i < 3 && error == cudaSuccess; i++)
        error = AT_PLAIN_BY_SIZE(j.heads.size, launch_plain, jobs[i], stream);
    return error;
}

static gradient_job job_of(const at_attention_bwd_args *a, const at_launch *l)
{
    const at_heads hs = at_heads_of(a);
    gradient_job j = {};
    j.dq = at_lines_of_heads(&a->dq, hs.size);
    j.q = at_lines_of_heads(&a->q, hs.size);
    j.o = at_lines_of_heads(&a->o, hs.size);
    j.dout = at_lines_of_heads(&a->dout, hs.size);
    j.dk = at_lines_of_heads(&a->dk, hs.size);
    j.dv = at_lines_of_heads(&a->dv, hs.size);
    j.k = at_lines_of_heads(&a->k, hs.size);
    j.v = at_lines_of_heads(&a->v, hs.size);
    j.lse = at_floats_of(&a->lse);
    j.lse_pitch = a->lse.pitch;
    j.delta = static_cast<float *>(l->scratch);
    j.heads = hs;
    j.n_heads = a->q.size[0] * a->heads;
    return j;
}

/* Both variants: room for delta. */
extern "C" at_status at_attention_bwd_cuda_prepare(const void *args, const at_prepare_in *,
                                                   at_prepared *out, at_error *)
{
    const auto *a = static_cast<const at_attention_bwd_args *>(args);
    out->scratch_bytes = (size_t)(a->q.size[0] * a->heads * a->q.size[1]) * sizeof(float);
    return AT_OK;
}

extern "C" bool at_attention_bwd_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_attention_bwd_args *>(args);
    return at_heads_fit(a) && a->q.dtype != AT_F32 &&
           at_cols(&a->q) / a->heads <= GRADIENT_SIZE_MAX;
}

extern "C" at_status at_attention_bwd_cuda(const void *args, const at_prepared *,
                                           const at_launch *l)
{
    const auto *a = static_cast<const at_attention_bwd_args *>(args);
    const gradient_job j = job_of(a, l);
    const cudaError_t error = launch_delta(j, at_stream_of(l));
    if (error != cudaSuccess)
        return at_launched(l, error);
    return at_launched(l, a->q.dtype == AT_BF16
                              ? launch_gradients<__nv_bfloat16>(j, at_stream_of(l))
                              : launch_gradients<__half>(j, at_stream_of(l)));
}

/* What the tensor cores' kernels leave. */
extern "C" bool at_attention_bwd_plain_cuda_fits(const void *args)
{
    return at_heads_fit(static_cast<const at_attention_bwd_args *>(args)) &&
           !at_attention_bwd_cuda_fits(args);
}

extern "C" at_status at_attention_bwd_plain_cuda(const void *args, const at_prepared *,
                                                 const at_launch *l)
{
    const gradient_job j = job_of(static_cast<const at_attention_bwd_args *>(args), l);
    const cudaError_t error = launch_delta(j, at_stream_of(l));
    return at_launched(l,
                       error != cudaSuccess ? error : launch_plain_gradients(j, at_stream_of(l)));
}
