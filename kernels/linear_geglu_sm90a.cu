/* linear_geglu_sm90a.cu -- bound by operations: 4 R N K of them on tensor cores, and about thirty
 * instructions for each of the R N outputs that nothing overlaps yet; the aim is 85 % of cuBLASLt's
 * rate for the product alone, and the kernel stays only if a GPU shows that it gets there.
 *
 * x and w are bf16, or e4m3 with a scale each: a row of a tile has 128 bytes and a wgmma takes 32
 * of them, so that only the instruction and what its sums are multiplied by differ.
 *
 * Sums of e4m3 keep 14 bits (hopper.cuh), and here nothing adds them up in f32 between: that would
 * take 128 registers more. By such arithmetic on the host, sums of K = 2048 products of normal
 * numbers lose 0.09 % of their root mean square, where rounding x and w to e4m3 costs 3.8 %; sums
 * whose products all have one sign lose 2.0 % at 1280 and 3.4 % at 2048; the most that can be lost
 * is 33 / 2^13 of the largest sum on the way for each 32 of K. Beyond 2048 the kernel does not fit.
 *
 * Blocks stay, one on a multiprocessor, and take tile after tile: 128 rows of x by 128 columns of a
 * and the same 128 of g, which lie below one another in shared memory, so that one wgmma of 64 x
 * 256 does both and each thread ends up with an a and its g. One thread loads by TMA into a ring,
 * also while the two groups that multiply, 64 rows each, are busy with their ends.
 *
 * Nothing here has been measured. To be tried first on a GPU: the second group a stage or two
 * behind the first, so that the end of one hides behind the products of the other, which in e4m3
 * take half as long while the ends take the same; clusters of two that share a tile of w; 3 stages
 * and tiles of y stored by TMA. */
#include "kernels/device/hopper.cuh"
#include "kernels/elements.cuh"

enum {
    ROWS = 128,
    COLS = 128,
    ROW_BYTES = 128, /* of k: what the widest swizzle spans */
    STEP_BYTES = 32, /* of k, in a wgmma */
    STAGES = 4,
    GROUPS = 2,
    GROUP = 128, /* threads that share a wgmma */
    GROUP_ROWS = ROWS / GROUPS,
    GROUP_WARPS = GROUP / AT_WARP,
    THREADS = GROUPS * GROUP + AT_WARP, /* and the warp that loads */
    X_BYTES = ROWS * ROW_BYTES,
    W_BYTES = COLS * ROW_BYTES,
    STAGE_BYTES = X_BYTES + 2 * W_BYTES,
    SUMS = GROUP_ROWS * 2 * COLS / GROUP, /* of a thread: a, then g */
    BAND = 16,             /* tiles of rows that are walked before the next columns */
    COUNT_MAX = 1 << 30,   /* coordinates and tiles are counted by int */
    E4M3_DEPTH_MAX = 2048, /* of sums of 14 bits */
};

struct linear_geglu_job {
    at_tensor_map x, w;             /* (rows, K), (2 cols, K) bf16 or e4m3 */
    at_lines y;                     /* (rows, cols) bf16 or e4m3 */
    at_lines bias[2];               /* (cols) each, of a and of g; data NULL: none */
    const float *x_scale, *w_scale; /* (1) each, where x and w are e4m3 */
    const float *y_scale;           /* (1), where y is */
    float *amax;                    /* (1) or NULL, zero before */
    int rows, cols;                 /* of y */
    int tiles_down, tiles_across;
    int steps; /* tiles along K */
};

/* The memory of a block. */
struct linear_geglu_room {
    unsigned char *ring;    /* (STAGES, STAGE_BYTES): x, wa, wg */
    uint64_t *full, *empty; /* (STAGES) each */
    float *bias;            /* (2 * COLS) of this warp's tile, a and g */
};

struct linear_geglu_tile {
    int row, col;
};

/* Blocks that run together share rows of x and of w, so that the cache serves most loads. */
__device__ __forceinline__ linear_geglu_tile tile_of(const linear_geglu_job &j, int index)
{
    const int first = index / (BAND * j.tiles_across) * BAND, left = j.tiles_down - first;
    const int in_band = index % (BAND * j.tiles_across), down = left < BAND ? left : (int)BAND;
    return { (first + in_band % down) * ROWS, in_band / down * COLS };
}

/* --- the thread that loads -------------------------------------------------------------------- */

template <class X>
__device__ __forceinline__ void load_tiles(const linear_geglu_job &j, const linear_geglu_room &room)
{
    constexpr int DEPTH = ROW_BYTES / sizeof(X); /* elements */
    uint32_t step = 0;
    for (int i = blockIdx.x; i < j.tiles_down * j.tiles_across; i += gridDim.x) {
        const linear_geglu_tile t = tile_of(j, i);
        for (int k = 0; k < j.steps; k++, step++) {
            const uint32_t stage = step % STAGES, parity = step / STAGES % 2;
            unsigned char *const x = room.ring + stage * STAGE_BYTES, *const w = x + X_BYTES;
            uint64_t *const full = room.full + stage;
            at_mbarrier_wait(room.empty + stage, parity ^ 1); /* true at first */
            at_mbarrier_expect(full, STAGE_BYTES);
            at_tma_load_2d(x, &j.x, full, k * DEPTH, t.row);
            at_tma_load_2d(w, &j.w, full, k * DEPTH, t.col);
            at_tma_load_2d(w + W_BYTES, &j.w, full, k * DEPTH, j.cols + t.col);
        }
    }
}

/* --- the groups that multiply ----------------------------------------------------------------- */

/* The bias of a tile's columns, a copy for each warp: they need no barrier then. */
__device__ __forceinline__ void load_bias(const linear_geglu_job &j, const linear_geglu_room &room,
                                          int col)
{
    const int lane = threadIdx.x % AT_WARP, half = lane / (AT_WARP / 2);
    const int c = lane % (AT_WARP / 2) * AT_PACK;
    float v[AT_PACK] = {};
    static_assert(AT_WARP / 2 * AT_PACK == COLS, "a lane loads a pack");
    if (j.bias[half].data)
        at_row_load(v, j.bias[half], 0, col + c, j.cols, 0.0f);
    __syncwarp(); /* the last tile's has been read */
#pragma unroll
    for (int i = 0; i < AT_PACK; i++)
        room.bias[half * COLS + c + i] = v[i];
    __syncwarp();
}

/* The warp is through with a stage. */
__device__ __forceinline__ void give_back(const linear_geglu_room &room, uint32_t step)
{
    __syncwarp();
    if (threadIdx.x % AT_WARP == 0)
        at_mbarrier_arrive(room.empty + step % STAGES);
}

template <class X>
__device__ __forceinline__ void multiply_step(float (&d)[SUMS], uint64_t x, uint64_t w,
                                              int accumulate)
{
    if (sizeof(X) == 1)
        at_wgmma_m64n256k32_e4m3(d, x, w, accumulate);
    else
        at_wgmma_m64n256k16_bf16<0, 0>(d, x, w, accumulate);
}

/* d = the group's rows of x w^T; returns the step after the last one. A stage is given back when
 * the products of the next one are on their way. */
template <class X>
__device__ __forceinline__ uint32_t multiply(float (&d)[SUMS], const linear_geglu_job &j,
                                             const linear_geglu_room &room, uint32_t step)
{
    const uint32_t row = threadIdx.x / GROUP * GROUP_ROWS;
    for (int k = 0; k < j.steps; k++, step++) {
        const uint32_t stage = step % STAGES, parity = step / STAGES % 2;
        const unsigned char *x = room.ring + stage * STAGE_BYTES, *w = x + X_BYTES;
        x += row * ROW_BYTES;
        at_mbarrier_wait(room.full + stage, parity);
        at_wgmma_fence();
#pragma unroll
        for (int i = 0; i < ROW_BYTES; i += STEP_BYTES)
            multiply_step<X>(d, at_wgmma_descriptor(x + i, 16, 8 * ROW_BYTES, AT_SWIZZLE_128),
                             at_wgmma_descriptor(w + i, 16, 8 * ROW_BYTES, AT_SWIZZLE_128),
                             k + i > 0);
        at_wgmma_commit();
        at_wgmma_wait<1>();
        if (k > 0)
            give_back(room, step - 1);
    }
    at_wgmma_wait<0>();
    give_back(room, step - 1);
    return step;
}

/* --- their ends ------------------------------------------------------------------------------- */

/* g times the normal distribution at g. Its tail, what it is at -|g|, is the density times a
 * polynomial of t = 1 / (1 + 0.3 |g|), fitted for the smallest relative error: 1.3e-7 up to 13.5,
 * where the tail leaves f32. erfcf has twice as many instructions, and nothing hides them here. */
__device__ __forceinline__ float gelu(float g)
{
    const float t = __fdividef(1.0f, fmaf(0.3f, fabsf(g), 1.0f));
    float p = 0.0359317237f;
    p = fmaf(p, t, -0.158275956f);
    p = fmaf(p, t, 0.208206534f);
    p = fmaf(p, t, -0.0553937847f);
    p = fmaf(p, t, 0.12946917f);
    p = fmaf(p, t, 0.0996375017f);
    p = fmaf(p, t, 0.120798357f);
    p = fmaf(p, t, 0.11962639f);
    const float tail = p * t * exp2f(-0.72134752f * g * g);
    return g * (g < 0 ? tail : 1.0f - tail);
}

/* Gives the lane that is APART away what it wants of a pair, and gets the other half of its own. */
template <int APART>
__device__ __forceinline__ void trade(float &low, float &high)
{
    const bool upper = threadIdx.x & APART;
    const float got = __shfl_xor_sync(AT_LANES_ALL, upper ? low : high, APART);
    (upper ? low : high) = got;
}

/* Four lanes have columns 2 l and 2 l + 1 of four times 8 columns; then each has 8 neighbours. */
__device__ __forceinline__ void gather_columns(float (&v)[AT_PACK])
{
#pragma unroll
    for (int i = 0; i < AT_PACK; i++)
        if (!(i & 2))
            trade<1>(v[i], v[i + 2]);
#pragma unroll
    for (int i = 0; i < AT_PACK / 2; i++)
        trade<2>(v[i], v[i + 4]);
}

/* Stores up to n of them; returns the largest magnitude, when it is asked for. */
template <class Y>
__device__ __forceinline__ float put_columns(const linear_geglu_job &j, float (&v)[AT_PACK],
                                             int row, int col)
{
    const int n = j.cols - col;
    float top = 0;
    if (row >= j.rows)
        return top;
    if (j.amax) {
#pragma unroll
        for (int i = 0; i < AT_PACK; i++)
            top = fmaxf(top, i < n ? fabsf(v[i]) : 0.0f);
    }
    if (sizeof(Y) == 1) {
        const float scale = *j.y_scale;
#pragma unroll
        for (int i = 0; i < AT_PACK; i++)
            v[i] /= scale;
    }
    at_pack_store(at_line<Y>(j.y, row) + col, v, n, j.y.wide);
    return top;
}

/* y of a tile from its sums; register r of a thread is what hopper.cuh says, a's first. */
template <class X, class Y>
__device__ __forceinline__ float finish(const linear_geglu_job &j, const linear_geglu_room &room,
                                        const float (&d)[SUMS], linear_geglu_tile tile)
{
    enum { WIDE = 4 * AT_PACK };
    const int lane = threadIdx.x % AT_WARP, pair = lane % 4;
    const int row =
        tile.row + threadIdx.x / GROUP * GROUP_ROWS + threadIdx.x % GROUP / AT_WARP * 16 + lane / 4;
    const float scale = sizeof(X) == 1 ? *j.x_scale * *j.w_scale : 1.0f;
    float top = 0;
#pragma unroll
    for (int c = 0; c < COLS; c += WIDE)
#pragma unroll
        for (int below = 0; below < 2; below++) {
            __syncwarp(); /* packs that the compiler mixes need more registers than there are */
            float v[AT_PACK];
#pragma unroll
            for (int i = 0; i < AT_PACK; i += 2) {
                const int r = c / 2 + i * 2 + below * 2;
                const float *const bias = room.bias + c + i * 4 + pair * 2;
                const float2 a = at_load<float2>(bias), g = at_load<float2>(bias + COLS);
                v[i] = fmaf(d[r], scale, a.x) * gelu(fmaf(d[SUMS / 2 + r], scale, g.x));
                v[i + 1] = fmaf(d[r + 1], scale, a.y) * gelu(fmaf(d[SUMS / 2 + r + 1], scale, g.y));
            }
            gather_columns(v);
            top = fmaxf(top, put_columns<Y>(j, v, row + 8 * below, tile.col + c + pair * AT_PACK));
        }
    return top;
}

template <class X, class Y>
__device__ __forceinline__ float multiply_tiles(const linear_geglu_job &j,
                                                const linear_geglu_room &room)
{
    float d[SUMS], top = 0;
    uint32_t step = 0;
    for (int i = blockIdx.x; i < j.tiles_down * j.tiles_across; i += gridDim.x) {
        const linear_geglu_tile t = tile_of(j, i);
        load_bias(j, room, t.col);
        step = multiply<X>(d, j, room, step);
        top = fmaxf(top, finish<X, Y>(j, room, d, t));
    }
    return top;
}

template <class X, class Y>
__global__ void __launch_bounds__(THREADS, 1)
    linear_geglu(const __grid_constant__ linear_geglu_job j)
{
    AT_SHARED_DYNAMIC(unsigned char, ring);
    AT_SHARED(uint64_t[2 * STAGES], bars);
    AT_SHARED(float[GROUPS * GROUP_WARPS][2 * COLS], bias);
    AT_SHARED(float[AT_WARPS_MAX], tops);
    linear_geglu_room room = { ring, bars, bars + STAGES, nullptr };
    float top = 0;
    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) {
            at_mbarrier_init(room.full + i, 1);
            at_mbarrier_init(room.empty + i, GROUPS * GROUP_WARPS);
        }
        at_mbarrier_init_fence();
    }
    __syncthreads();
    at_wait_for_earlier();
    if (threadIdx.x < GROUPS * GROUP) {
        room.bias = bias[threadIdx.x / AT_WARP];
        top = multiply_tiles<X, Y>(j, room);
    } else if (threadIdx.x == GROUPS * GROUP) {
        load_tiles<X>(j, room);
    }
    if (j.amax)
        at_amax_put(top, j.amax, tops);
}

/* --- launches --------------------------------------------------------------------------------- */

/* A dense matrix in tiles of 'rows' by ROW_BYTES. */
static cudaError_t map_of(at_tensor_map *map, const at_view *v, uint32_t rows)
{
    const auto cols = (uint64_t)at_cols(v);
    const auto bytes = (uint32_t)at_dtype_bytes(v->dtype);
    const at_tensor_map_2d of = { v->data, (uint64_t)at_rows(v), cols,           cols * bytes,
                                  rows,    ROW_BYTES / bytes,    AT_SWIZZLE_128, v->dtype };
    return at_tensor_map_encode(map, &of);
}

static int64_t tiles_of(int64_t size, int64_t tile)
{
    return (size + tile - 1) / tile;
}

/* Half 'half' of the bias. */
static at_lines bias_of(const at_view *bias, int half)
{
    at_view v = *bias;
    const int64_t before = half * (at_cols(bias) / 2);
    if (at_has(bias))
        v.data = static_cast<char *>(bias->data) + (size_t)before * at_dtype_bytes(bias->dtype);
    return at_lines_of(&v);
}

/* A block for every multiprocessor that gets a tile. */
template <class X, class Y>
static cudaError_t launch(const linear_geglu_job &j, at_queue stream)
{
    const size_t shared = (size_t)STAGES * STAGE_BYTES;
    const int tiles = j.tiles_down * j.tiles_across;
    int device = 0, most = 0;
    cudaError_t error = cudaGetDevice(&device);
    if (error == cudaSuccess)
        error = cudaDeviceGetAttribute(&most, cudaDevAttrMultiProcessorCount, device);
    if (error == cudaSuccess)
        error = at_shared_allow(linear_geglu<X, Y>, shared);
    if (error != cudaSuccess)
        return error;
    return AT_LAUNCH_EARLY((linear_geglu<X, Y>), dim3((unsigned)(tiles < most ? tiles : most)),
                           dim3(THREADS), shared, stream, j);
}

/* Rows of x and w must begin at multiples of 16 bytes: dense tensors do when K is a multiple of 16
 * bytes, what is pitched may begin anywhere. */
static bool fits(const at_linear_geglu_args *a, at_dtype type, int64_t depth_max)
{
    const int64_t k = at_cols(&a->x), rows = at_rows(&a->x), cols = at_cols(&a->y);
    return a->x.dtype == type && a->w.dtype == type &&
           k * (int64_t)at_dtype_bytes(type) % 16 == 0 && k <= depth_max && a->x.pitch == k &&
           a->w.pitch == k && (a->y.dtype == AT_BF16 || a->y.dtype == AT_F8) &&
           (!at_has(&a->bias) || at_is_simd_type(a->bias.dtype)) && rows <= COUNT_MAX &&
           cols <= COUNT_MAX / 2 && tiles_of(rows, ROWS) * tiles_of(cols, COLS) <= COUNT_MAX;
}

extern "C" bool at_linear_geglu_bf16_sm90a_fits(const void *args)
{
    return fits(static_cast<const at_linear_geglu_args *>(args), AT_BF16, COUNT_MAX);
}

extern "C" bool at_linear_geglu_e4m3_sm90a_fits(const void *args)
{
    return fits(static_cast<const at_linear_geglu_args *>(args), AT_F8, E4M3_DEPTH_MAX);
}

template <class X>
static cudaError_t launch_by_y(const at_linear_geglu_args *a, const linear_geglu_job &j,
                               at_queue stream)
{
    return a->y.dtype == AT_F8 ? launch<X, __nv_fp8_e4m3>(j, stream)
                               : launch<X, __nv_bfloat16>(j, stream);
}

extern "C" at_status at_linear_geglu_sm90a(const void *args, const at_prepared *,
                                           const at_launch *l)
{
    const auto *a = static_cast<const at_linear_geglu_args *>(args);
    linear_geglu_job j = {};
    j.y = at_lines_of(&a->y);
    for (int half = 0; half < 2; half++)
        j.bias[half] = bias_of(&a->bias, half);
    j.x_scale = at_floats_of(&a->x_scale);
    j.w_scale = at_floats_of(&a->w_scale);
    j.y_scale = at_floats_of(&a->y_scale);
    j.amax = at_floats_of(&a->y_amax);
    j.rows = (int)at_rows(&a->y);
    j.cols = (int)at_cols(&a->y);
    j.tiles_down = (int)tiles_of(j.rows, ROWS);
    j.tiles_across = (int)tiles_of(j.cols, COLS);
    j.steps = (int)tiles_of(at_cols(&a->x) * (int64_t)at_dtype_bytes(a->x.dtype), ROW_BYTES);
    cudaError_t error = map_of(&j.x, &a->x, ROWS);
    if (error == cudaSuccess)
        error = map_of(&j.w, &a->w, COLS);
    if (error == cudaSuccess)
        error = at_amax_clear(j.amax, at_queue_of(l));
    if (error == cudaSuccess)
        error = a->x.dtype == AT_F8 ? launch_by_y<__nv_fp8_e4m3>(a, j, at_queue_of(l))
                                    : launch_by_y<__nv_bfloat16>(a, j, at_queue_of(l));
    return at_launched(l, error);
}
