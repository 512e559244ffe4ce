/* sampling.cu -- argmax is bound by memory: one pass over the scores. Drawing is bound by what one
 * block can sort, because a row is few numbers: BLIP's 30,524 are cut down to the top_k largest
 * before that, and only without top_k all are sorted.
 *
 * A score becomes an integer whose order is the scores', -0 and 0 alike; what is not a number stays
 * below all others. */
#include "kernels/elements.cuh"

typedef unsigned long long u64;

/* Larger for larger scores; 0 for what is not a number and for nothing else. */
__device__ __forceinline__ uint32_t order_of(float score)
{
    const uint32_t bits = __float_as_uint(score + 0.0f); /* -0 becomes 0 */
    if (isnan(score))
        return 0;
    return bits >> 31 ? ~bits : bits | 1u << 31;
}

__device__ __forceinline__ float score_of(uint32_t order)
{
    return __uint_as_float(order >> 31 ? order ^ 1u << 31 : ~order);
}

/* --- argmax ----------------------------------------------------------------------------------- */

struct argmax_job {
    at_lines x; /* (rows, cols) */
    int32_t *y; /* (rows) */
    int64_t rows, cols;
};

/* The largest of 64 bits in a row's threads; the row's first thread gets it. */
__device__ __forceinline__ u64 row_largest(u64 v, u64 *room)
{
#pragma unroll
    for (int bits = AT_WARP / 2; bits > 0; bits /= 2)
        v = max(v, __shfl_xor_sync(AT_LANES_ALL, v, bits));
    if (blockDim.x == AT_WARP)
        return v;
    if (threadIdx.x % AT_WARP == 0)
        room[threadIdx.x / AT_WARP] = v;
    __syncthreads();
    for (unsigned w = 0; threadIdx.x == 0 && w < blockDim.x / AT_WARP; w++)
        v = max(v, room[w]);
    return v;
}

/* The order of a score stands above the order of its index, which falls. */
template <class T>
__global__ void __launch_bounds__(AT_BLOCK_MAX) argmax_rows(argmax_job j)
{
    AT_SHARED(u64[AT_WARPS_MAX], room);
    at_wait_for_earlier();
    const int64_t r = at_kept_row(), span = at_kept_span();
    u64 best = 0;
    if (r >= j.rows) /* whole warps, in blocks that have no barrier */
        return;
    for (int64_t base = 0; base < j.cols; base += span) {
        float v[AT_KEPT][AT_PACK];
        at_kept_load<T>(v, j.x, r, base, j.cols, 0.0f);
        AT_FOR_KEPT(k, i)
        {
            const int64_t c = at_kept_column(base, k) + i;
            const u64 order = order_of(v[k][i]);
            if (c < j.cols)
                best = max(best, order << 32 | (UINT32_MAX - static_cast<uint32_t>(c)));
        }
    }
    best = row_largest(best, room);
    if (threadIdx.x == 0)
        j.y[r] = static_cast<int32_t>(UINT32_MAX - static_cast<uint32_t>(best));
}

template <class T>
static cudaError_t launch_argmax(const argmax_job &j, at_queue stream)
{
    const at_tiles t = at_row_tiles_of(j.rows, j.cols);
    return AT_LAUNCH_EARLY(argmax_rows<T>, t.grid, t.block, 0, stream, j);
}

extern "C" bool at_argmax_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_argmax_args *>(args);
    return at_is_simd_type(a->x.dtype) && at_cols(&a->x) <= INT32_MAX;
}

extern "C" at_status at_argmax_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_argmax_args *>(args);
    const argmax_job j = { at_lines_of(&a->x), static_cast<int32_t *>(a->y.data), at_rows(&a->x),
                           at_cols(&a->x) };
    return at_launched(l, AT_BY_TYPE(a->x.dtype, launch_argmax, j, at_queue_of(l)));
}

/* --- nucleus sampling ------------------------------------------------------------------------- */

/* What walks through a row in order: a warp has a run of its own, STEP elements at a time. */
enum {
    STEP = AT_WARP * AT_PACK,
    DIGIT_BITS = 8,
    DIGITS = 1 << DIGIT_BITS,
    BIN_BITS = 11, /* of a score's order, for the cut */
    BINS = 1 << BIN_BITS,
    CUT_MIN = 1024, /* shorter rows are sorted as they are */
    BLOCKS_MAX = 132,
    COLS_MAX = 1 << 30,
};

struct sample_top_job {
    at_lines x;     /* (rows, cols) */
    const float *u; /* (rows) */
    int32_t *y;     /* (rows) */
    unsigned char *scratch;
    int64_t rows, top_k;
    double top_p, temperature;
    double one; /* the weight of a row's largest: weights are integers, whose sums have no order */
    int cols, bit; /* bit: the lowest that differs between orders of this type's numbers */
};

/* In shared memory. */
struct sample_room {
    uint32_t counts[DIGITS * AT_WARPS_MAX]; /* of digits by warps, or of bins */
    u64 sums[AT_WARPS_MAX];
    uint32_t cut;
    int found;
    u64 found_sum;
};

/* Candidates in scratch; the lower the key, the larger the score. A row has two places for them:
 * the one that sorting leaves takes the weights. */
struct candidates {
    uint32_t *key;  /* (cols) */
    int32_t *index; /* (cols) */
};

__device__ __forceinline__ candidates place_of(const sample_top_job &j, int which)
{
    const int64_t n = ((int64_t)j.cols + 1) / 2 * 2;
    unsigned char *p = j.scratch + (2 * (int64_t)blockIdx.x + which) * n * (int64_t)sizeof(u64);
    auto *key = reinterpret_cast<uint32_t *>(p);
    return { key, reinterpret_cast<int32_t *>(key + n) };
}

struct run {
    int begin, end;
};

/* This warp's run of n elements, whole steps but for the last. */
__device__ __forceinline__ run run_of(int n, int step)
{
    const int warps = (int)blockDim.x / AT_WARP, warp = (int)threadIdx.x / AT_WARP;
    const int steps = (n + step - 1) / step, each = (steps + warps - 1) / warps * step;
    const int64_t begin = (int64_t)warp * each;
    return { (int)min(begin, (int64_t)n), (int)min(begin + each, (int64_t)n) };
}

template <class V>
__device__ __forceinline__ V warp_prefix(V v)
{
#pragma unroll
    for (int lanes = 1; lanes < AT_WARP; lanes *= 2) {
        const V before = __shfl_up_sync(AT_LANES_ALL, v, lanes);
        v += (int)threadIdx.x % AT_WARP >= lanes ? before : V(0);
    }
    return v;
}

/* What the threads before this one have together; *total: what all have. */
__device__ __forceinline__ u64 sum_before(u64 v, u64 *total, u64 *room)
{
    const unsigned warp = threadIdx.x / AT_WARP, warps = blockDim.x / AT_WARP;
    const u64 sum = warp_prefix(v);
    u64 before = sum - v;
    *total = 0;
    if (threadIdx.x % AT_WARP == AT_WARP - 1)
        room[warp] = sum;
    __syncthreads();
    for (unsigned w = 0; w < warps; w++) {
        before += w < warp ? room[w] : 0;
        *total += room[w];
    }
    __syncthreads();
    return before;
}

/* --- the cut: an order below which nothing is among the top_k --------------------------------- */

template <class T>
__device__ __forceinline__ void count_bins(const sample_top_job &j, int64_t r, sample_room &room)
{
    for (int b = (int)threadIdx.x; b < BINS; b += (int)blockDim.x)
        room.counts[b] = 0;
    __syncthreads();
    for (int c = (int)threadIdx.x * AT_PACK; c < j.cols; c += (int)blockDim.x * AT_PACK) {
        float v[AT_PACK];
        at_pack_load(v, at_line<T>(j.x, r) + c, j.cols - c, j.x.wide, NAN);
#pragma unroll
        for (int i = 0; i < AT_PACK; i++)
            if (!isnan(v[i]))
                atomicAdd(&room.counts[order_of(v[i]) >> (32 - BIN_BITS)], 1u);
    }
    __syncthreads();
}

/* The bin in which the top_k are complete, counted from above. */
template <class T>
__device__ __forceinline__ uint32_t find_cut(const sample_top_job &j, int64_t r, sample_room &room)
{
    const int each = BINS / (int)blockDim.x, first = BINS - 1 - (int)threadIdx.x * each;
    const u64 wanted = static_cast<u64>(j.top_k);
    u64 sum = 0, total;
    count_bins<T>(j, r, room);
    for (int b = first; b > first - each; b--)
        sum += room.counts[b];
    if (threadIdx.x == 0)
        room.cut = 1;
    sum = sum_before(sum, &total, room.sums);
    for (int b = first; b > first - each; b--) {
        if (sum < wanted && sum + room.counts[b] >= wanted)
            room.cut = max((uint32_t)b << (32 - BIN_BITS), 1u);
        sum += room.counts[b];
    }
    __syncthreads();
    return room.cut;
}

/* --- candidates ------------------------------------------------------------------------------- */

/* Bit i: this lane's element c + i has at least the order 'cut'. */
template <class T>
__device__ __forceinline__ unsigned choose(float (&v)[AT_PACK], const sample_top_job &j, int64_t r,
                                           int c, uint32_t cut)
{
    unsigned chosen = 0;
    at_pack_load(v, at_line<T>(j.x, r) + c, j.cols - c, j.x.wide, NAN);
#pragma unroll
    for (int i = 0; i < AT_PACK; i++)
        chosen |= (order_of(v[i]) >= cut ? 1u : 0u) << i;
    return chosen;
}

/* Those of order 'cut' or more, by their indices; returns how many. */
template <class T>
__device__ __forceinline__ int gather(const sample_top_job &j, int64_t r, uint32_t cut,
                                      const candidates &to, sample_room &room)
{
    const run mine = run_of(j.cols, STEP);
    const int lane = (int)threadIdx.x % AT_WARP;
    float v[AT_PACK];
    u64 count = 0, total;
    for (int c = mine.begin + lane * AT_PACK; c < mine.end; c += STEP)
        count += __popc(choose<T>(v, j, r, c, cut));
    /* Before this warp: what stands before its first lane. */
    int at = (int)__shfl_sync(AT_LANES_ALL, sum_before(count, &total, room.sums), 0);
    for (int first = mine.begin; first < mine.end; first += STEP) {
        const int c = first + lane * AT_PACK;
        const unsigned chosen = choose<T>(v, j, r, c, cut);
        const int n = __popc(chosen), end = warp_prefix(n);
        int place = at + end - n;
#pragma unroll
        for (int i = 0; i < AT_PACK; i++)
            if (chosen >> i & 1) {
                to.key[place] = ~order_of(v[i]);
                to.index[place++] = c + i;
            }
        at += __shfl_sync(AT_LANES_ALL, end, AT_WARP - 1);
    }
    __syncthreads();
    return (int)total;
}

/* --- sorting ---------------------------------------------------------------------------------- */

__device__ __forceinline__ unsigned digit_of(uint32_t key, int bit)
{
    return key >> bit & (DIGITS - 1);
}

/* Where each warp's first key of each digit goes: counts become sums of what stands before. */
__device__ __forceinline__ void count_digits(const uint32_t *key, int n, int bit, sample_room &room)
{
    const unsigned warp = threadIdx.x / AT_WARP, warps = blockDim.x / AT_WARP;
    const run mine = run_of(n, AT_WARP);
    uint32_t *own = room.counts + threadIdx.x * AT_PACK; /* DIGITS by warps is 8 a thread */
    u64 sum = 0, total;
    for (int i = 0; i < AT_PACK; i++)
        own[i] = 0;
    __syncthreads();
    for (int i = mine.begin + (int)threadIdx.x % AT_WARP; i < mine.end; i += AT_WARP)
        atomicAdd(&room.counts[digit_of(key[i], bit) * warps + warp], 1u);
    __syncthreads();
    for (int i = 0; i < AT_PACK; i++)
        sum += own[i];
    sum = sum_before(sum, &total, room.sums);
    for (int i = 0; i < AT_PACK; i++) {
        const uint32_t count = own[i];
        own[i] = (uint32_t)sum;
        sum += count;
    }
    __syncthreads();
}

/* The lanes of 'there' whose digit is this lane's. */
__device__ __forceinline__ unsigned peers_of(unsigned digit, unsigned there)
{
#pragma unroll
    for (int b = 0; b < DIGIT_BITS; b++) {
        const unsigned ones = __ballot_sync(AT_LANES_ALL, digit >> b & 1);
        there &= digit >> b & 1 ? ones : ~ones;
    }
    return there;
}

/* One digit; equal ones keep their order. */
__device__ __forceinline__ void sort_digit(const candidates &to, const candidates &from, int n,
                                           int bit, sample_room &room)
{
    const unsigned warp = threadIdx.x / AT_WARP, warps = blockDim.x / AT_WARP;
    const unsigned lane = threadIdx.x % AT_WARP;
    const run mine = run_of(n, AT_WARP);
    count_digits(from.key, n, bit, room);
    for (int first = mine.begin; first < mine.end; first += AT_WARP) {
        const int i = first + (int)lane;
        const bool there = i < mine.end;
        const uint32_t key = there ? from.key[i] : 0;
        const unsigned digit = digit_of(key, bit);
        const unsigned peers = peers_of(digit, __ballot_sync(AT_LANES_ALL, there));
        const unsigned before = peers & ((1u << lane) - 1);
        uint32_t *next = &room.counts[digit * warps + warp];
        if (there) {
            const uint32_t place = *next + (uint32_t)__popc(before);
            to.key[place] = key;
            to.index[place] = from.index[i];
        }
        __syncwarp();
        if (there && before == 0)
            *next += (uint32_t)__popc(peers);
        __syncwarp();
    }
    __syncthreads();
}

/* --- the draw --------------------------------------------------------------------------------- */

enum reach { REACHES, EXCEEDS };

/* exp((score - largest) / temperature), also where both are infinite. */
__device__ __forceinline__ u64 weight_of(const sample_top_job &j, uint32_t key, uint32_t largest)
{
    const double score = score_of(~key), top = score_of(~largest);
    const double share = key == largest ? 1.0 : exp((score - top) / j.temperature);
    return static_cast<u64>(share * j.one + 0.5);
}

__device__ __forceinline__ bool is_reached(u64 sum, double enough, reach how)
{
    const double have = static_cast<double>(sum);
    return how == EXCEEDS ? have > enough : have >= enough;
}

/* The first of n weights with which their sum reaches 'enough', or exceeds it, or else the last;
 * *sum: what they weigh up to it. */
__device__ __forceinline__ int walk(const u64 *weight, int n, double enough, reach how, u64 *sum,
                                    sample_room &room)
{
    const run mine = run_of(n, AT_WARP);
    const int lane = (int)threadIdx.x % AT_WARP;
    u64 part = 0, total;
    for (int i = mine.begin + lane; i < mine.end; i += AT_WARP)
        part += weight[i];
    u64 at = __shfl_sync(AT_LANES_ALL, sum_before(part, &total, room.sums), 0);
    if (threadIdx.x == 0) {
        room.found = n - 1;
        room.found_sum = total;
    }
    __syncthreads();
    for (int first = mine.begin; first < mine.end && !is_reached(at, enough, how);
         first += AT_WARP) {
        const u64 own = first + lane < mine.end ? weight[first + lane] : 0;
        const u64 with = at + warp_prefix(own);
        if (is_reached(with, enough, how) && !is_reached(with - own, enough, how)) {
            room.found = first + lane; /* sums never fall: no other thread is here */
            room.found_sum = with;
        }
        at = __shfl_sync(AT_LANES_ALL, with, AT_WARP - 1);
    }
    __syncthreads();
    const int found = room.found;
    *sum = room.found_sum;
    __syncthreads();
    return found;
}

/* n candidates that are sorted; 'weight' is room for n. */
__device__ __forceinline__ int32_t draw(const sample_top_job &j, const candidates &c, u64 *weight,
                                        int n, double u, sample_room &room)
{
    u64 total, kept, sum;
    if (n == 0)
        return 0;
    if (j.top_k > 0 && j.top_k < n)
        n = (int)j.top_k;
    for (int i = (int)threadIdx.x; i < n; i += (int)blockDim.x)
        weight[i] = weight_of(j, c.key[i], c.key[0]);
    __syncthreads();
    walk(weight, n, INFINITY, REACHES, &total, room);
    n = 1 + walk(weight, n, j.top_p * static_cast<double>(total), REACHES, &kept, room);
    return c.index[walk(weight, n, u * static_cast<double>(kept), EXCEEDS, &sum, room)];
}

template <class T>
__global__ void __launch_bounds__(AT_BLOCK_MAX) sample_top_rows(sample_top_job j)
{
    AT_SHARED(sample_room, room);
    at_wait_for_earlier();
    for (int64_t r = blockIdx.x; r < j.rows; r += gridDim.x) {
        const bool many = j.cols > CUT_MIN && j.top_k > 0 && j.top_k < j.cols;
        const uint32_t cut = many ? find_cut<T>(j, r, room) : 1;
        const int n = gather<T>(j, r, cut, place_of(j, 0), room);
        int now = 0;
        for (int bit = j.bit; bit < 32; bit += DIGIT_BITS, now = !now)
            sort_digit(place_of(j, !now), place_of(j, now), n, bit, room);
        u64 *weight = reinterpret_cast<u64 *>(place_of(j, !now).key);
        const int32_t y = draw(j, place_of(j, now), weight, n, j.u[r], room);
        if (threadIdx.x == 0)
            j.y[r] = y;
        __syncthreads();
    }
}

/* --- launches --------------------------------------------------------------------------------- */

static int64_t blocks_of(const at_sample_top_args *a)
{
    return a->x.size[0] < BLOCKS_MAX ? a->x.size[0] : (int64_t)BLOCKS_MAX;
}

template <class T>
static cudaError_t launch_sample(const sample_top_job &j, int64_t blocks, at_queue stream)
{
    unsigned warps = 1;
    while (warps * STEP < (unsigned)j.cols && warps < AT_WARPS_MAX)
        warps *= 2;
    return AT_LAUNCH_EARLY(sample_top_rows<T>, (unsigned)blocks, warps * AT_WARP, 0, stream, j);
}

extern "C" bool at_sample_top_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_sample_top_args *>(args);
    return at_is_simd_type(a->x.dtype) && at_cols(&a->x) <= COLS_MAX;
}

extern "C" at_status at_sample_top_cuda_prepare(const void *args, const at_prepare_in *,
                                                at_prepared *out, at_error *)
{
    const auto *a = static_cast<const at_sample_top_args *>(args);
    const int64_t each = (at_cols(&a->x) + 1) / 2 * 2;
    out->scratch_bytes = (size_t)(blocks_of(a) * 2 * each) * sizeof(u64);
    return AT_OK;
}

extern "C" at_status at_sample_top_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    enum { ONE_BITS = 52, SUM_BITS = 62 }; /* of the largest weight and of a row's sum */
    const auto *a = static_cast<const at_sample_top_args *>(args);
    sample_top_job j = { at_lines_of(&a->x),
                         static_cast<const float *>(a->u.data),
                         static_cast<int32_t *>(a->y.data),
                         static_cast<unsigned char *>(l->scratch),
                         at_rows(&a->x),
                         a->top_k,
                         a->top_p,
                         a->temperature,
                         1,
                         (int)at_cols(&a->x),
                         0 };
    for (int bits = 0; bits < ONE_BITS && j.one * j.cols < (double)(1ull << SUM_BITS) / 2; bits++)
        j.one *= 2;
    if (a->x.dtype != AT_F32) /* bf16 has 16 bits, and f16 no more than 19 in f32's layout */
        j.bit = a->x.dtype == AT_BF16 ? 16 : DIGIT_BITS;
    return at_launched(l, AT_BY_TYPE(a->x.dtype, launch_sample, j, blocks_of(a), at_queue_of(l)));
}
