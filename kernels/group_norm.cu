/* group_norm.cu -- bound by memory: where a group fits into a block's shared memory, x is read once
 * and y is written once, elsewhere x is read twice (channels.cu), and the gradient reads x and dy
 * twice (channels_bwd.cu); the aim is 80 % of the bandwidth for these bytes. */
#include "kernels/channels.cuh"
#include "kernels/device/async.cuh"

/* --- groups that shared memory holds ---------------------------------------------------------- */

/* A block has 'span' channels of a sample, whole groups and whole packs, over all positions. */
struct kept_job {
    at_channels_job c;
    int64_t span;
};

/* A thread's packs of the block: the same channels in every 'step'-th row. */
struct kept_place {
    int64_t b, first, column; /* the sample, the block's first channel, this thread's */
    int64_t row, step;        /* of the sample */
    unsigned group, edge;     /* of the block: this pack's first, and where in it the next begins */
};

__device__ __forceinline__ kept_place kept_place_of(const kept_job &j)
{
    const unsigned spans = (unsigned)(j.c.s.cols / j.span), packs = (unsigned)j.span / AT_PACK;
    const unsigned size = (unsigned)j.c.size, c = threadIdx.x % packs * AT_PACK;
    kept_place p = { blockIdx.x / spans, blockIdx.x % spans * j.span, 0, 0, 0, 0, 0 };
    p.column = p.first + c;
    p.row = threadIdx.x / packs;
    p.step = blockDim.x / packs;
    p.group = c / size;
    p.edge = (p.group + 1) * size - c;
    return p;
}

/* A thread copies the packs that it alone will read: nobody has to wait for others. */
template <class T>
__device__ __forceinline__ void keep_rows(T *kept, const kept_job &j, const kept_place &p)
{
    enum { EACH = 16 / sizeof(T) };
    const int64_t cols = j.c.s.cols, base = p.b * j.c.s.rows;
    int64_t pitch = 0;
    const T *x = at_channels_wide<T>(j.c.x, j.c.x2, j.c.seam, cols, p.column, &pitch);
    T *to = kept + threadIdx.x * AT_PACK;
    for (int64_t r = p.row; r < j.c.s.rows; r += p.step, to += blockDim.x * AT_PACK) {
        if (x) {
#pragma unroll
            for (int i = 0; i < AT_PACK; i += EACH)
                at_copy_async16(to + i, x + (base + r) * pitch + i, true);
        } else {
            float v[AT_PACK];
            at_channels_load(v, x, pitch, j.c, base + r, p.column);
            at_pack_store(to, v, AT_PACK, true);
        }
    }
    at_copy_async_commit();
    at_copy_async_wait<0>();
}

/* A number for each of the two groups that a pack may have. */
struct pair {
    float first, next;
};
struct wide_pair {
    double first, next;
};

/* The means over the block for a pack's groups, of n values each; a thread brings the sums of its
 * own packs. In f64, for a mean near zero keeps its digits only if its sum does. */
__device__ __forceinline__ wide_pair mean_groups(pair own, unsigned group, unsigned groups,
                                                 double n, double *room)
{
    const unsigned lane = threadIdx.x % AT_WARP, warp = threadIdx.x / AT_WARP;
    wide_pair sum = { 0, 0 };
    for (unsigned g = 0; g < groups; g++) {
        const float mine = (group == g ? own.first : 0.0f) + (group + 1 == g ? own.next : 0.0f);
        const double part = at_lanes_sum((double)mine, AT_WARP);
        if (lane == 0)
            room[warp] = part;
        __syncthreads();
        const double all = at_lanes_sum(lane < blockDim.x / AT_WARP ? room[lane] : 0.0, AT_WARP);
        __syncthreads();
        sum.first = group == g ? all : sum.first;
        sum.next = group + 1 == g ? all : sum.next;
    }
    return { sum.first / n, sum.next / n };
}

/* The mean and the reciprocal deviation of the two groups of a pack. The mean is found as a
 * difference from 'origin', one of the values, so that pictures far from zero keep their digits. */
struct kept_moments {
    float origin, told; /* the first group's mean */
    pair mean, rstd;
};

template <class T>
__device__ __forceinline__ kept_moments moments_of(const T *kept, const kept_job &j,
                                                   const kept_place &p, const float (&add)[AT_PACK],
                                                   double *room)
{
    const unsigned groups = (unsigned)(j.span / j.c.size);
    const double n = (double)(j.c.s.rows * j.c.size);
    kept_moments m = { 0, 0, { 0, 0 }, { 0, 0 } };
    pair own = { 0, 0 };
    float v[AT_PACK];
    m.origin = p.first < j.c.seam ? at_row_get(j.c.x, p.b * j.c.s.rows, p.first)
                                  : at_row_get(j.c.x2, p.b * j.c.s.rows, p.first - j.c.seam);
    const T *from = kept + threadIdx.x * AT_PACK;
    for (int64_t r = p.row; r < j.c.s.rows; r += p.step, from += blockDim.x * AT_PACK) {
        at_pack_load(v, from, AT_PACK, true, 0.0f);
#pragma unroll
        for (unsigned i = 0; i < AT_PACK; i++) {
            const float d = v[i] - m.origin + add[i];
            own.first += i < p.edge ? d : 0.0f;
            own.next += i < p.edge ? 0.0f : d;
        }
    }
    const wide_pair mean = mean_groups(own, p.group, groups, n, room);
    m.told = (float)((double)m.origin + mean.first);
    m.mean = { (float)mean.first, (float)mean.next };
    own = { 0, 0 };
    from = kept + threadIdx.x * AT_PACK;
    for (int64_t r = p.row; r < j.c.s.rows; r += p.step, from += blockDim.x * AT_PACK) {
        at_pack_load(v, from, AT_PACK, true, 0.0f);
#pragma unroll
        for (unsigned i = 0; i < AT_PACK; i++) {
            const float d = v[i] - m.origin + add[i] - (i < p.edge ? m.mean.first : m.mean.next);
            own.first += i < p.edge ? d * d : 0.0f;
            own.next += i < p.edge ? 0.0f : d * d;
        }
    }
    const wide_pair variance = mean_groups(own, p.group, groups, n, room);
    m.rstd.first = 1.0f / sqrtf((float)variance.first + j.c.eps);
    m.rstd.next = 1.0f / sqrtf((float)variance.next + j.c.eps);
    return m;
}

/* A group's first whole pack tells its moments. */
__device__ __forceinline__ void put_moments(const kept_job &j, const kept_place &p,
                                            const kept_moments &m)
{
    const int64_t c = p.column - p.first, group = p.first / j.c.size + p.group;
    if (p.row > 0 || (c > 0 && (unsigned)((c - AT_PACK) / j.c.size) == p.group))
        return;
    if (j.c.mean.data)
        at_line<float>(j.c.mean, p.b)[group] = m.told;
    if (j.c.rstd.data)
        at_line<float>(j.c.rstd, p.b)[group] = m.rstd.first;
}

template <class T>
__global__ void __launch_bounds__(AT_BLOCK_MAX) group_norm_kept(kept_job j)
{
    AT_SHARED_DYNAMIC(T, kept);
    AT_SHARED(float[AT_WARPS_MAX], room);
    AT_SHARED(double[AT_WARPS_MAX], wide_room);
    at_wait_for_earlier();
    const kept_place p = kept_place_of(j);
    const float y_scale = j.c.y_scale ? *j.c.y_scale : 1.0f;
    float v[AT_PACK], off[AT_PACK] = {}, scale[AT_PACK], beta[AT_PACK], top = 0;
    keep_rows(kept, j, p);
    if (j.c.add.data)
        at_row_load(off, j.c.add, p.b, p.column, j.c.s.cols, 0.0f);
    const kept_moments m = moments_of(kept, j, p, off, wide_room);
    put_moments(j, p, m);
    at_row_load(scale, j.c.gamma, 0, p.column, j.c.s.cols, 0.0f);
    at_row_load(beta, j.c.beta, 0, p.column, j.c.s.cols, 0.0f);
#pragma unroll
    for (unsigned i = 0; i < AT_PACK; i++) {
        off[i] -= i < p.edge ? m.mean.first : m.mean.next;
        scale[i] *= i < p.edge ? m.rstd.first : m.rstd.next;
    }
    const T *from = kept + threadIdx.x * AT_PACK;
    for (int64_t r = p.row; r < j.c.s.rows; r += p.step, from += blockDim.x * AT_PACK) {
        at_pack_load(v, from, AT_PACK, true, 0.0f);
#pragma unroll
        for (int i = 0; i < AT_PACK; i++)
            v[i] = fmaf(v[i] - m.origin + off[i], scale[i], beta[i]);
        top = at_channels_put<T>(v, j.c, p.b * j.c.s.rows + r, p.column, y_scale, top);
    }
    if (j.c.y_amax)
        at_amax_put(top, j.c.y_amax, room);
}

/* --- launches --------------------------------------------------------------------------------- */

struct kept_cut {
    int64_t span;
    unsigned threads;
    size_t bytes; /* of shared memory; 0: two passes are better, or nothing else can be done */
};

/* Groups of at least a pack, so that a pack has at most two; as much as an sm_80 has for a block.
 * Threads are whole warps and whole rows of packs. */
static kept_cut kept_cut_of(const at_group_norm_args *a)
{
    enum { SPAN_GROUPS_MAX = 4, ROWS_EACH = 4, BYTES_MAX = 160 << 10 };
    const int64_t cols = at_cols(&a->y), size = cols / a->groups;
    const int64_t rows = at_rows(&a->x) / a->x.size[0];
    kept_cut cut = { size, 0, 0 };
    while (cut.span % AT_PACK)
        cut.span += size;
    const int64_t packs = cut.span / AT_PACK, row = cut.span * (int64_t)at_dtype_bytes(a->x.dtype);
    int64_t step = 1;
    while (packs * step % AT_WARP)
        step *= 2;
    const bool seams = !at_has(&a->x2) || at_cols(&a->x) % AT_PACK == 0;
    if (size < AT_PACK || cut.span > SPAN_GROUPS_MAX * size || cols % cut.span || !seams ||
        packs * step > AT_BLOCK_MAX || rows > BYTES_MAX / row ||
        (at_has(&a->x2) && a->x2.dtype != a->x.dtype))
        return cut;
    int64_t down = step;
    while (down * ROWS_EACH < rows && packs * (down + step) <= AT_BLOCK_MAX)
        down += step;
    cut.threads = (unsigned)(packs * down);
    cut.bytes = (size_t)(rows * row);
    return cut;
}

template <class T>
static cudaError_t launch_kept(const kept_job *j, const kept_cut *cut, at_queue stream)
{
    const dim3 grid((unsigned)(j->c.s.batch * (j->c.s.cols / cut->span)));
    const cudaError_t error = at_shared_allow(group_norm_kept<T>, cut->bytes);
    return error == cudaSuccess
               ? AT_LAUNCH_EARLY(group_norm_kept<T>, grid, cut->threads, cut->bytes, stream, *j)
               : error;
}

static cudaError_t launch_passes(const at_channels_job *j, at_dtype type, at_queue stream)
{
    const cudaError_t error = at_channels_measure(j, type, stream);
    return error == cudaSuccess ? at_channels_apply(j, type, stream) : error;
}

static cudaError_t launch_forward(const at_channels_job *c, const kept_cut *cut, at_dtype type,
                                  at_queue stream)
{
    const kept_job j = { *c, cut->span };
    if (cut->bytes == 0)
        return launch_passes(c, type, stream);
    const cudaError_t error = at_amax_clear(c->y_amax, stream);
    return error == cudaSuccess ? AT_BY_TYPE(type, launch_kept, &j, cut, stream) : error;
}

extern "C" bool at_group_norm_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_group_norm_args *>(args);
    return at_is_simd_type(a->x.dtype) && at_is_absent_or_simd(&a->x2) &&
           at_is_absent_or_simd(&a->add) && at_is_simd_type(a->gamma.dtype) &&
           at_is_simd_type(a->beta.dtype);
}

extern "C" at_status at_group_norm_cuda_prepare(const void *args, const at_prepare_in *,
                                                at_prepared *out, at_error *)
{
    const auto *a = static_cast<const at_group_norm_args *>(args);
    out->scratch_bytes = kept_cut_of(a).bytes > 0 ? 0 : at_channels_cuda_scratch(&a->y);
    return AT_OK;
}

extern "C" at_status at_group_norm_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_group_norm_args *>(args);
    const kept_cut cut = kept_cut_of(a);
    at_channels_job j = at_channels_job_of(&a->y, &a->x, &a->x2, a->groups, l->scratch);
    j.y = at_lines_of(&a->y);
    j.add = at_lines_or_none(&a->add);
    j.gamma = at_lines_of(&a->gamma);
    j.beta = at_lines_of(&a->beta);
    j.mean = at_lines_or_none(&a->mean);
    j.rstd = at_lines_or_none(&a->rstd);
    j.y_scale = at_floats_of(&a->y_scale);
    j.y_amax = at_floats_of(&a->y_amax);
    j.eps = a->eps;
    j.act = a->silu ? AT_CHANNELS_SILU : AT_CHANNELS_PLAIN;
    return at_launched(l, launch_forward(&j, &cut, a->x.dtype, at_queue_of(l)));
}

/* --- gradient --------------------------------------------------------------------------------- */

extern "C" bool at_group_norm_bwd_cuda_fits(const void *args)
{
    const auto *a = static_cast<const at_group_norm_bwd_args *>(args);
    return at_is_simd_type(a->x.dtype) && at_is_simd_type(a->dy.dtype) &&
           at_is_absent_or_simd(&a->x2) && at_is_absent_or_simd(&a->add) &&
           at_is_simd_type(a->gamma.dtype) && at_is_simd_type(a->beta.dtype);
}

extern "C" at_status at_group_norm_bwd_cuda_prepare(const void *args, const at_prepare_in *,
                                                    at_prepared *out, at_error *)
{
    const auto *a = static_cast<const at_group_norm_bwd_args *>(args);
    out->scratch_bytes = at_channels_bwd_cuda_scratch(&a->dy, a->groups);
    return AT_OK;
}

extern "C" at_status at_group_norm_bwd_cuda(const void *args, const at_prepared *,
                                            const at_launch *l)
{
    const auto *a = static_cast<const at_group_norm_bwd_args *>(args);
    at_channels_bwd_job j = at_channels_bwd_job_of(&a->dy, &a->x, &a->x2, a->groups, l->scratch);
    j.dx = at_lines_of(&a->dx);
    j.dx2 = at_lines_or_none(&a->dx2);
    j.add = at_lines_or_none(&a->add);
    j.dadd = at_lines_or_none(&a->dadd);
    j.gamma = at_lines_of(&a->gamma);
    j.beta = at_lines_of(&a->beta);
    j.mean = at_lines_of(&a->mean);
    j.rstd = at_lines_of(&a->rstd);
    j.dgamma = at_floats_of(&a->dgamma);
    j.dbeta = at_floats_of(&a->dbeta);
    j.act = a->silu ? AT_CHANNELS_SILU : AT_CHANNELS_PLAIN;
    return at_launched(l, at_channels_bwd_cuda(&j, a->x.dtype, at_stream_of(l)));
}
