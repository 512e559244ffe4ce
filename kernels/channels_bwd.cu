/* channels_bwd.cu -- gradients of normalisations over positions: bound by memory. x and dy are read
 * twice, the second time from the L2 cache as far as that holds them, and dx is written once; the
 * aim is 75 % of the bandwidth for these bytes, for an exponential is computed in both passes. */
#include "kernels/channels.cuh"

/* --- one row ---------------------------------------------------------------------------------- */

/* What a thread knows of its channels: xhat = (x - centre) * rstd + shift. */
struct bwd_line {
    float centre[AT_PACK], rstd[AT_PACK], shift[AT_PACK], gamma[AT_PACK], beta[AT_PACK];
};

/* The centre is mean - add, rounded; the shift has what that leaves. */
__device__ __forceinline__ bwd_line line_of(const at_channels_bwd_job &j,
                                            const at_channels_place &p)
{
    const int64_t c = p.column, cols = j.s.cols;
    int64_t group = c / j.size, left = (group + 1) * j.size - c;
    float add[AT_PACK];
    bwd_line k;
#pragma unroll
    for (int i = 0; i < AT_PACK; i++) {
        k.gamma[i] = 1.0f;
        k.beta[i] = add[i] = 0.0f;
    }
    if (j.gamma.data)
        at_row_load(k.gamma, j.gamma, 0, c, cols, 0.0f);
    if (j.beta.data)
        at_row_load(k.beta, j.beta, 0, c, cols, 0.0f);
    if (j.add.data)
        at_row_load(add, j.add, p.b, c, cols, 0.0f);
#pragma unroll
    for (int i = 0; i < AT_PACK; i++, left--) {
        if (left == 0) {
            group++;
            left = j.size;
        }
        const bool there = c + i < cols;
        const float mean = there ? at_line<float>(j.mean, p.b)[group] : 0.0f;
        k.rstd[i] = there ? at_line<float>(j.rstd, p.b)[group] : 0.0f;
        k.centre[i] = mean - add[i];
        const double rest = (double)k.centre[i] - ((double)mean - (double)add[i]);
        k.shift[i] = (float)rest * k.rstd[i];
    }
    return k;
}

/* x becomes xhat, dy becomes dz = act'(xhat * gamma + beta) * dy. */
__device__ __forceinline__ void make_terms(float (&x)[AT_PACK], float (&dy)[AT_PACK],
                                           const bwd_line &k, at_channels_act act)
{
#pragma unroll
    for (int i = 0; i < AT_PACK; i++)
        x[i] = fmaf(x[i] - k.centre[i], k.rstd[i], k.shift[i]);
    if (act == AT_CHANNELS_SILU)
#pragma unroll
        for (int i = 0; i < AT_PACK; i++) {
            const float z = fmaf(x[i], k.gamma[i], k.beta[i]), s = 1.0f / (1.0f + expf(-z));
            dy[i] *= s * fmaf(z, 1.0f - s, 1.0f);
        }
    if (act == AT_CHANNELS_RELU)
#pragma unroll
        for (int i = 0; i < AT_PACK; i++)
            dy[i] = fmaf(x[i], k.gamma[i], k.beta[i]) <= 0 ? 0.0f : dy[i];
}

/* Where a thread's packs of x and dy are; NULL where they cannot be read wide. */
template <class T>
struct sources {
    const T *x, *dy;
    int64_t x_pitch, dy_pitch;
    bool wide; /* both can */
};

template <class T>
__device__ __forceinline__ sources<T> sources_of(const at_channels_bwd_job &j, int64_t c)
{
    const at_lines none = {};
    sources<T> from = {};
    from.x = at_channels_wide<T>(j.x, j.x2, j.seam, j.s.cols, c, &from.x_pitch);
    from.dy = at_channels_wide<T>(j.dy, none, j.s.cols, j.s.cols, c, &from.dy_pitch);
    from.wide = from.x && from.dy && j.dy.dtype == j.x.dtype;
    return from;
}

template <class T>
__device__ __forceinline__ void load_wide(float (&x)[AT_PACK], float (&dy)[AT_PACK],
                                          const sources<T> &from, int64_t row)
{
    at_pack_load(x, from.x + row * from.x_pitch, AT_PACK, true, 0.0f);
    at_pack_load(dy, from.dy + row * from.dy_pitch, AT_PACK, true, 0.0f);
}

template <class T>
__device__ __forceinline__ void load_any(float (&x)[AT_PACK], float (&dy)[AT_PACK],
                                         const sources<T> &from, const at_channels_bwd_job &j,
                                         int64_t row, int64_t c)
{
    at_channels_load(x, from.x, from.x_pitch, j, row, c);
    at_row_load(dy, j.dy, row, c, j.s.cols, 0.0f);
}

enum { ROWS_AT_ONCE = 2 };

/* --- sums of a slab --------------------------------------------------------------------------- */

/* dz, dz * xhat and xhat of a thread's channels, of up to 64 rows. */
struct bwd_sums {
    float of[AT_BACKWARD_SUMS][AT_PACK];
};

__device__ __forceinline__ void add_row(bwd_sums &s, float (&x)[AT_PACK], float (&dy)[AT_PACK],
                                        const bwd_line &k, at_channels_act act)
{
    make_terms(x, dy, k, act);
#pragma unroll
    for (int i = 0; i < AT_PACK; i++) {
        s.of[AT_SUM_DZ][i] += dy[i];
        s.of[AT_SUM_DZ_XHAT][i] = fmaf(dy[i], x[i], s.of[AT_SUM_DZ_XHAT][i]);
        s.of[AT_SUM_XHAT][i] += x[i];
    }
}

template <class T>
__device__ __forceinline__ void sum_rows(bwd_sums &s, const at_channels_bwd_job &j,
                                         const at_channels_place &p)
{
    const unsigned n = (unsigned)p.n, step = blockDim.y;
    const bwd_line k = line_of(j, p);
    const sources<T> from = sources_of<T>(j, p.column);
    float x[ROWS_AT_ONCE][AT_PACK], dy[ROWS_AT_ONCE][AT_PACK];
    for (unsigned r = threadIdx.y; !from.wide && r < n; r += step) {
        load_any(x[0], dy[0], from, j, p.first + r, p.column);
        add_row(s, x[0], dy[0], k, j.act);
    }
    for (unsigned r = threadIdx.y; from.wide && r < n; r += ROWS_AT_ONCE * step) {
#pragma unroll
        for (int i = 0; i < ROWS_AT_ONCE; i++)
            load_wide(x[i], dy[i], from, p.first + at_row_or(r + i * step, n, r));
#pragma unroll
        for (int i = 0; i < ROWS_AT_ONCE; i++)
            if (r + i * step < n)
                add_row(s, x[i], dy[i], k, j.act);
    }
}

/* A thread adds up EACH threads' sums of a channel, then one for each channel adds up the rest. */
enum { EACH = AT_PACK };
struct sums_room {
    float each[AT_BLOCK * AT_PACK], some[AT_BLOCK];
};

/* Sum i of the slab's channels goes to 'to', (cols). */
__device__ __forceinline__ void put_sum(sums_room &room, const float (&v)[AT_PACK],
                                        const at_channels_bwd_job &j, const at_channels_place &p,
                                        float *to)
{
    const unsigned thread = threadIdx.y * blockDim.x + threadIdx.x, chunk = (unsigned)j.s.chunk;
    const unsigned c = thread % chunk, part = thread / chunk;
    at_pack_store(room.each + thread * AT_PACK, v, AT_PACK, true);
    __syncthreads();
    float sum = 0;
    for (unsigned k = 0; k < EACH; k++)
        sum += room.each[(part * EACH + k) * chunk + c];
    room.some[thread] = sum;
    __syncthreads();
    if (part > 0 || p.chunk + c >= j.s.cols)
        return;
    for (unsigned k = 1; k < blockDim.y / EACH; k++)
        sum += room.some[k * chunk + c];
    to[p.chunk + c] = sum;
}

template <class T>
__global__ void __launch_bounds__(AT_BLOCK, 2) channels_bwd_sums(at_channels_bwd_job j)
{
    AT_SHARED(sums_room[AT_BACKWARD_SUMS], room);
    const at_channels_place p = at_channels_place_of(j.s, blockIdx.x);
    float *to = j.parts + (p.b * j.s.slabs + p.slab) * AT_BACKWARD_SUMS * j.s.cols;
    bwd_sums s = {};
    if (p.column < j.s.cols)
        sum_rows<T>(s, j, p);
    for (int i = 0; i < AT_BACKWARD_SUMS; i++)
        put_sum(room[i], s.of[i], j, p, to + i * j.s.cols);
}

/* --- means of groups -------------------------------------------------------------------------- */

__device__ __forceinline__ void merge_slabs(const at_channels_bwd_job &j, const at_finish_run &run,
                                            at_finish_room<AT_BACKWARD_SUMS> &room)
{
    const int64_t cols = j.s.cols;
    for (int64_t at = run.begin; at < run.end; at += AT_FINISH) {
        const int64_t c = at + threadIdx.x;
        const float *parts = j.parts + run.b * j.s.slabs * AT_BACKWARD_SUMS * cols + c;
        double sum[AT_BACKWARD_SUMS] = {};
        for (int64_t k = threadIdx.y; k < j.s.slabs && c < run.end; k += blockDim.y)
#pragma unroll
            for (int i = 0; i < AT_BACKWARD_SUMS; i++)
                sum[i] += (double)parts[(k * AT_BACKWARD_SUMS + i) * cols];
        at_column_sums(sum, room);
        if (threadIdx.y == 0 && c < run.end)
#pragma unroll
            for (int i = 0; i < AT_BACKWARD_SUMS; i++)
                j.sums[(run.b * AT_BACKWARD_SUMS + i) * cols + c] = sum[i];
        __syncthreads();
    }
}

/* The two means of a group, and dadd, the sum of its channels' dx over the positions. */
__device__ __forceinline__ void finish_group(const at_channels_bwd_job &j, int64_t b, int64_t group,
                                             unsigned lane, unsigned lanes)
{
    const int64_t begin = group * j.size, end = begin + j.size, cols = j.s.cols;
    const double *sums = j.sums + b * AT_BACKWARD_SUMS * cols, rows = (double)j.s.rows;
    double mean = 0, slope = 0;
    for (int64_t c = begin + lane; c < end; c += lanes) {
        const double gamma = at_lines_get(j.gamma, 0, c, 1);
        mean += gamma * sums[AT_SUM_DZ * cols + c];
        slope += gamma * sums[AT_SUM_DZ_XHAT * cols + c];
    }
    mean = at_lanes_sum(mean, lanes) / (rows * (double)j.size);
    slope = at_lanes_sum(slope, lanes) / (rows * (double)j.size);
    if (lane == 0) {
        j.means[(b * j.groups + group) * 2] = (float)mean;
        j.means[(b * j.groups + group) * 2 + 1] = (float)slope;
    }
    const double rstd = (double)at_line<float>(j.rstd, b)[group];
    for (int64_t c = begin + lane; c < end && j.dadd.data; c += lanes) {
        const double dz = at_lines_get(j.gamma, 0, c, 1) * sums[AT_SUM_DZ * cols + c];
        at_row_set(j.dadd, b, c,
                   (float)(rstd * (dz - rows * mean - slope * sums[AT_SUM_XHAT * cols + c])));
    }
}

static __global__ void __launch_bounds__(AT_FINISH *AT_FINISH)
    channels_bwd_finish(at_channels_bwd_job j)
{
    AT_SHARED(at_finish_room<AT_BACKWARD_SUMS>, room);
    const at_finish_run run = at_finish_run_of(j.size, j.groups);
    const unsigned lanes = at_finish_lanes(j.size), thread = threadIdx.y * AT_FINISH + threadIdx.x;
    merge_slabs(j, run, room);
    for (int64_t g = run.begin / j.size + thread / lanes; g * j.size < run.end;
         g += AT_FINISH * blockDim.y / lanes)
        finish_group(j, run.b, g, thread % lanes, lanes);
}

/* Sample after sample, in order. */
static __global__ void __launch_bounds__(AT_BLOCK) channels_bwd_weights(at_channels_bwd_job j)
{
    const int64_t c = (int64_t)blockIdx.x * AT_BLOCK + threadIdx.x, cols = j.s.cols;
    double dgamma = 0, dbeta = 0;
    if (c >= cols)
        return;
    for (int64_t b = 0; b < j.s.batch; b++) {
        dgamma += j.sums[(b * AT_BACKWARD_SUMS + AT_SUM_DZ_XHAT) * cols + c];
        dbeta += j.sums[(b * AT_BACKWARD_SUMS + AT_SUM_DZ) * cols + c];
    }
    if (j.dgamma)
        j.dgamma[c] = (float)dgamma;
    if (j.dbeta)
        j.dbeta[c] = (float)dbeta;
}

/* --- dx --------------------------------------------------------------------------------------- */

/* The means of the groups of a thread's channels. */
struct means {
    float of[AT_PACK], slope[AT_PACK];
};

__device__ __forceinline__ means means_of(const at_channels_bwd_job &j, const at_channels_place &p)
{
    int64_t group = p.column / j.size, left = (group + 1) * j.size - p.column;
    means m;
#pragma unroll
    for (int i = 0; i < AT_PACK; i++, left--) {
        if (left == 0) {
            group++;
            left = j.size;
        }
        const bool there = p.column + i < j.s.cols;
        const float *from = j.means + (p.b * j.groups + group) * 2;
        m.of[i] = there ? from[0] : 0.0f;
        m.slope[i] = there ? from[1] : 0.0f;
    }
    return m;
}

/* dx of x and dy, which it leaves in x. */
__device__ __forceinline__ void make_dx(float (&x)[AT_PACK], float (&dy)[AT_PACK],
                                        const bwd_line &k, const means &m, at_channels_act act)
{
    make_terms(x, dy, k, act);
#pragma unroll
    for (int i = 0; i < AT_PACK; i++)
        x[i] = k.rstd[i] * (fmaf(k.gamma[i], dy[i], -m.of[i]) - x[i] * m.slope[i]);
}

/* Element by element, where dx or dx2 is wanted. */
template <class T>
__device__ __forceinline__ void store_any(const at_channels_bwd_job &j, int64_t row, int64_t c,
                                          const float (&v)[AT_PACK])
{
#pragma unroll
    for (int i = 0; i < AT_PACK; i++) {
        if (c + i < j.seam)
            at_line<T>(j.dx, row)[c + i] = static_cast<T>(v[i]);
        else if (c + i < j.s.cols && j.dx2.data)
            at_row_set(j.dx2, row, c + i - j.seam, v[i]);
    }
}

template <class T>
__device__ __forceinline__ void put_rows(const at_channels_bwd_job &j, const at_channels_place &p)
{
    const unsigned n = (unsigned)p.n, step = blockDim.y;
    const bwd_line k = line_of(j, p);
    const means m = means_of(j, p);
    const sources<T> from = sources_of<T>(j, p.column);
    float x[ROWS_AT_ONCE][AT_PACK], dy[ROWS_AT_ONCE][AT_PACK];
    int64_t pitch = 0;
    T *dx = at_channels_wide<T>(j.dx, j.dx2, j.seam, j.s.cols, p.column, &pitch);
    const bool wide = dx && from.wide;
    for (unsigned r = threadIdx.y; !wide && r < n; r += step) {
        load_any(x[0], dy[0], from, j, p.first + r, p.column);
        make_dx(x[0], dy[0], k, m, j.act);
        store_any<T>(j, p.first + r, p.column, x[0]);
    }
    for (unsigned r = threadIdx.y; wide && r < n; r += ROWS_AT_ONCE * step) {
#pragma unroll
        for (int i = 0; i < ROWS_AT_ONCE; i++)
            load_wide(x[i], dy[i], from, p.first + at_row_or(r + i * step, n, r));
#pragma unroll
        for (int i = 0; i < ROWS_AT_ONCE; i++) {
            make_dx(x[i], dy[i], k, m, j.act);
            if (r + i * step < n)
                at_pack_store(dx + (p.first + r + i * step) * pitch, x[i], AT_PACK, true);
        }
    }
}

/* Where neither dx nor dx2 wants a pack, it is left out. */
template <class T>
__global__ void __launch_bounds__(AT_BLOCK, 2) channels_bwd_apply(at_channels_bwd_job j)
{
    const at_channels_place p = at_channels_place_of(j.s, gridDim.x - 1 - blockIdx.x);
    if (p.column < (j.dx2.data ? j.s.cols : j.seam))
        put_rows<T>(j, p);
}

/* --- launches --------------------------------------------------------------------------------- */

/* Where the arrays lie in scratch. */
struct bwd_places {
    size_t at_sums, at_means, end;
};

static bwd_places places_of(const at_slabs *s, int64_t groups)
{
    const size_t numbers = AT_BACKWARD_SUMS * (size_t)(s->batch * s->cols);
    bwd_places p = {};
    p.at_sums = (sizeof(float) * numbers * (size_t)s->slabs + 63) / 64 * 64;
    p.at_means = p.at_sums + sizeof(double) * numbers;
    p.end = p.at_means + 2 * sizeof(float) * (size_t)(s->batch * groups);
    return p;
}

size_t at_channels_bwd_cuda_scratch(const at_view *dy, int64_t groups)
{
    const at_slabs s = at_slabs_of(dy);
    return places_of(&s, groups).end;
}

at_channels_bwd_job at_channels_bwd_job_of(const at_view *dy, const at_view *x, const at_view *x2,
                                           int64_t groups, void *scratch)
{
    at_channels_bwd_job j = {};
    j.s = at_slabs_of(dy);
    const bwd_places p = places_of(&j.s, groups);
    char *base = static_cast<char *>(scratch);
    j.dy = at_lines_of(dy);
    j.x = at_lines_of(x);
    j.x2 = at_lines_or_none(x2);
    j.seam = at_cols(x);
    j.parts = reinterpret_cast<float *>(base);
    j.sums = reinterpret_cast<double *>(base + p.at_sums);
    j.means = reinterpret_cast<float *>(base + p.at_means);
    j.groups = groups;
    j.size = j.s.cols / groups;
    return j;
}

template <class T>
static cudaError_t launch_sums(const at_channels_bwd_job *j, cudaStream_t stream)
{
    return AT_LAUNCH(channels_bwd_sums<T>, at_channels_grid(&j->s), j->s.block, 0, stream, *j);
}

template <class T>
static cudaError_t launch_apply(const at_channels_bwd_job *j, cudaStream_t stream)
{
    return AT_LAUNCH(channels_bwd_apply<T>, at_channels_grid(&j->s), j->s.block, 0, stream, *j);
}

cudaError_t at_channels_bwd_cuda(const at_channels_bwd_job *j, at_dtype type, cudaStream_t stream)
{
    const at_tiles t = at_finish_tiles(&j->s, j->size, j->groups);
    const dim3 columns((unsigned)((j->s.cols + AT_BLOCK - 1) / AT_BLOCK));
    cudaError_t error = AT_BY_TYPE(type, launch_sums, j, stream);
    if (error == cudaSuccess)
        error = AT_LAUNCH(channels_bwd_finish, t.grid, t.block, 0, stream, *j);
    if (error == cudaSuccess && (j->dgamma || j->dbeta))
        error = AT_LAUNCH(channels_bwd_weights, columns, AT_BLOCK, 0, stream, *j);
    return error == cudaSuccess ? AT_BY_TYPE(type, launch_apply, j, stream) : error;
}
