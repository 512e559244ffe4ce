/* channels.cu -- forward passes over channels: bound by memory. x is read twice, the second time
 * from the L2 cache as far as that holds it, and y is written once; the aim is 80 % of the
 * bandwidth for these bytes. */
#include "kernels/channels.cuh"

enum { ROWS_AT_ONCE = 4 };

/* --- moments of a slab ------------------------------------------------------------------------ */

/* Of a thread's channels: the first value, and sums of the differences from it and their squares.
 * As it is one of the up to 64 values, what cancels later is at most 64 times what is left. */
struct sums {
    float shift[AT_PACK], sum[AT_PACK], squares[AT_PACK];
};

__device__ __forceinline__ void add_row(sums &s, const float (&v)[AT_PACK])
{
#pragma unroll
    for (int i = 0; i < AT_PACK; i++) {
        const float d = v[i] - s.shift[i];
        s.sum[i] += d;
        s.squares[i] = fmaf(d, d, s.squares[i]);
    }
}

template <class T>
__device__ __forceinline__ void sum_rows(sums &s, const at_channels_job &j,
                                         const at_channels_place &p)
{
    const unsigned n = (unsigned)p.n, step = blockDim.y;
    float v[ROWS_AT_ONCE][AT_PACK];
    int64_t pitch = 0;
    const T *x = at_channels_wide<T>(j.x, j.x2, j.seam, j.s.cols, p.column, &pitch);
    unsigned r = threadIdx.y;
    s = {};
    if (r < n)
        at_channels_load(s.shift, x, pitch, j, p.first + r, p.column);
    for (; !x && r < n; r += step) {
        at_channels_load(v[0], x, pitch, j, p.first + r, p.column);
        add_row(s, v[0]);
    }
    for (; r < n; r += ROWS_AT_ONCE * step) {
#pragma unroll
        for (int i = 0; i < ROWS_AT_ONCE; i++)
            at_pack_load(v[i], x + (p.first + at_row_or(r + i * step, n, r)) * pitch, AT_PACK, true,
                         0.0f);
#pragma unroll
        for (int i = 0; i < ROWS_AT_ONCE; i++)
            if (r + i * step < n)
                add_row(s, v[i]);
    }
}

/* Moments of a channel: positions, mean less the slab's first value, sum of squares around it. */
struct moments {
    float n, mean, squares;
};

/* What threads know of the chunk's channels. A thread merges EACH threads' moments of a channel,
 * then one for each channel merges the rest. */
enum { EACH = AT_PACK };
struct merge_room {
    float first[AT_BLOCK]; /* the slab's first values */
    float n[AT_BLOCK], mean[AT_BLOCK * AT_PACK], squares[AT_BLOCK * AT_PACK];
    float some_n[AT_BLOCK], some_mean[AT_BLOCK], some_squares[AT_BLOCK];
};

/* Merges 'count' sets, whose means and squares are 'stride' apart. */
__device__ __forceinline__ moments merge_sets(unsigned count, unsigned stride, const float *n,
                                              const float *mean, const float *squares)
{
    moments m = { 0, 0, 0 };
    for (unsigned k = 0; k < count; k++) {
        m.n += n[k];
        m.mean = fmaf(n[k], mean[k * stride], m.mean);
    }
    m.mean = m.n > 0 ? m.mean / m.n : 0.0f;
    for (unsigned k = 0; k < count; k++) {
        const float off = mean[k * stride] - m.mean;
        m.squares += n[k] > 0 ? fmaf(n[k] * off, off, squares[k * stride]) : 0.0f;
    }
    return m;
}

__device__ __forceinline__ void put_sums(merge_room &room, const sums &s, int64_t rows)
{
    const int64_t y = threadIdx.y, step = blockDim.y;
    const float n = y < rows ? (float)((rows - 1 - y) / step + 1) : 0.0f;
    const unsigned at = (threadIdx.y * blockDim.x + threadIdx.x) * AT_PACK;
    float mean[AT_PACK], squares[AT_PACK];
    if (threadIdx.x == 0)
        room.n[y] = n;
    if (y == 0)
        at_pack_store(room.first + at, s.shift, AT_PACK, true);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < AT_PACK; i++) {
        const float own = n > 0 ? s.sum[i] / n : 0.0f;
        mean[i] = n > 0 ? s.shift[i] - room.first[threadIdx.x * AT_PACK + i] + own : 0.0f;
        squares[i] = fmaxf(fmaf(-own, s.sum[i], s.squares[i]), 0.0f);
    }
    at_pack_store(room.mean + at, mean, AT_PACK, true);
    at_pack_store(room.squares + at, squares, AT_PACK, true);
    __syncthreads();
}

template <class T>
__global__ void __launch_bounds__(AT_BLOCK, 3) channels_sums(at_channels_job j)
{
    AT_SHARED(merge_room, room);
    at_wait_for_earlier();
    const at_channels_place p = at_channels_place_of(j.s, blockIdx.x);
    const unsigned thread = threadIdx.y * blockDim.x + threadIdx.x, chunk = (unsigned)j.s.chunk;
    const unsigned c = thread % chunk, part = thread / chunk;
    sums s;
    sum_rows<T>(s, j, p);
    put_sums(room, s, p.n);
    const moments some =
        merge_sets(EACH, chunk, room.n + part * EACH, room.mean + part * EACH * chunk + c,
                   room.squares + part * EACH * chunk + c);
    if (c == 0)
        room.some_n[part] = some.n;
    room.some_mean[thread] = some.mean;
    room.some_squares[thread] = some.squares;
    __syncthreads();
    if (part > 0 || p.chunk + c >= j.s.cols)
        return;
    const moments all = merge_sets(blockDim.y / EACH, chunk, room.some_n, room.some_mean + c,
                                   room.some_squares + c);
    float *to = j.parts + (p.b * j.s.slabs + p.slab) * 3 * j.s.cols + p.chunk + c;
    to[0] = room.first[c];
    to[j.s.cols] = all.mean;
    to[2 * j.s.cols] = all.squares;
}

/* --- from moments to coefficients ------------------------------------------------------------- */

/* Adds up the slabs of the run's channels, each relative to the first slab's first value. */
__device__ __forceinline__ void merge_slabs(const at_channels_job &j, const at_finish_run &run,
                                            at_finish_room<2> &room)
{
    const int64_t cols = j.s.cols;
    for (int64_t at = run.begin; at < run.end; at += AT_FINISH) {
        const int64_t c = at + threadIdx.x;
        const float *parts = j.parts + run.b * j.s.slabs * 3 * cols + c;
        double sum[2] = { 0, 0 }; /* of the values, of their squares */
        const double first = c < run.end ? (double)parts[0] : 0.0;
        for (int64_t k = threadIdx.y; k < j.s.slabs && c < run.end; k += blockDim.y) {
            const float *part = parts + k * 3 * cols;
            const int64_t left = j.s.rows - k * j.s.slab;
            const double n = (double)(left < j.s.slab ? left : j.s.slab);
            const double off = (double)part[0] - first + (double)part[cols];
            sum[0] += n * off;
            sum[1] += n * off * off + (double)part[2 * cols];
        }
        at_column_sums(sum, room);
        if (threadIdx.y == 0 && c < run.end) {
            const double mean = sum[0] / (double)j.s.rows;
            j.moments[2 * run.b * cols + c] = first + mean;
            j.moments[(2 * run.b + 1) * cols + c] = fmax(sum[1] - sum[0] * mean, 0.0);
        }
        __syncthreads();
    }
}

/* Mean and deviation of a group, by 'lanes' threads of which this one is 'lane'. What the sample
 * adds to a channel moves its mean and leaves its deviation alone: the sums need not know of it. */
__device__ __forceinline__ void finish_group(const at_channels_job &j, int64_t b, int64_t group,
                                             unsigned lane, unsigned lanes)
{
    const int64_t begin = group * j.size, end = begin + j.size, cols = j.s.cols;
    const double *means = j.moments + 2 * b * cols, *all_squares = means + cols;
    double mean = 0, squares = 0;
    for (int64_t c = begin + lane; c < end; c += lanes)
        mean += means[c] + at_lines_get(j.add, b, c, 0);
    mean = at_lanes_sum(mean, lanes) / (double)j.size;
    for (int64_t c = begin + lane; c < end; c += lanes) {
        const double off = means[c] + at_lines_get(j.add, b, c, 0) - mean;
        squares += all_squares[c] + (double)j.s.rows * off * off;
    }
    const double variance = at_lanes_sum(squares, lanes) / (double)j.freedom;
    const double std = sqrt(variance + (double)j.eps), rstd = 1 / std;
    if (lane == 0 && j.mean.data)
        at_line<float>(j.mean, b)[group] = (float)mean;
    if (lane == 0 && j.rstd.data)
        at_line<float>(j.rstd, b)[group] = (float)rstd;
    if (lane == 0 && j.std.data)
        at_line<float>(j.std, b)[group] = (float)std;
    for (int64_t c = begin + lane; c < end && j.y.data; c += lanes)
        at_channels_set(j, b, c, mean - at_lines_get(j.add, b, c, 0),
                        rstd * at_lines_get(j.gamma, 0, c, 1), at_lines_get(j.beta, 0, c, 0));
}

static __global__ void __launch_bounds__(AT_FINISH *AT_FINISH) channels_finish(at_channels_job j)
{
    AT_SHARED(at_finish_room<2>, room);
    at_wait_for_earlier();
    const at_finish_run run = at_finish_run_of(j.size, j.groups);
    const unsigned lanes = at_finish_lanes(j.size), thread = threadIdx.y * AT_FINISH + threadIdx.x;
    merge_slabs(j, run, room);
    for (int64_t g = run.begin / j.size + thread / lanes; g * j.size < run.end;
         g += AT_FINISH * blockDim.y / lanes)
        finish_group(j, run.b, g, thread % lanes, lanes);
}

/* --- y ---------------------------------------------------------------------------------------- */

struct line {
    float centre[AT_PACK], scale[AT_PACK], shift[AT_PACK];
};

__device__ __forceinline__ line line_of(const at_channels_job &j, const at_channels_place &p)
{
    const float *from = j.coefficients + p.b * AT_FORWARD_COEFFICIENTS * j.stride + p.column;
    const int64_t n = j.s.cols - p.column;
    line k;
    at_pack_load(k.centre, from + AT_COEF_CENTRE * j.stride, n, true, 0.0f);
    at_pack_load(k.scale, from + AT_COEF_SCALE * j.stride, n, true, 0.0f);
    at_pack_load(k.shift, from + AT_COEF_SHIFT * j.stride, n, true, 0.0f);
    return k;
}

template <class T>
__device__ __forceinline__ float put_row(float (&v)[AT_PACK], const at_channels_job &j,
                                         const line &k, int64_t row, int64_t c, float y_scale,
                                         float top)
{
#pragma unroll
    for (int i = 0; i < AT_PACK; i++)
        v[i] = fmaf(v[i] - k.centre[i], k.scale[i], k.shift[i]);
    return at_channels_put<T>(v, j, row, c, y_scale, top);
}

template <class T>
__device__ __forceinline__ float put_rows(const at_channels_job &j, const at_channels_place &p)
{
    const unsigned n = (unsigned)p.n, step = blockDim.y;
    const float y_scale = j.y_scale ? *j.y_scale : 1.0f;
    const line k = line_of(j, p);
    float v[ROWS_AT_ONCE][AT_PACK], top = 0;
    int64_t pitch = 0;
    const T *x = at_channels_wide<T>(j.x, j.x2, j.seam, j.s.cols, p.column, &pitch);
    unsigned r = threadIdx.y;
    for (; !x && r < n; r += step) {
        at_channels_load(v[0], x, pitch, j, p.first + r, p.column);
        top = put_row<T>(v[0], j, k, p.first + r, p.column, y_scale, top);
    }
    for (; r < n; r += ROWS_AT_ONCE * step) {
#pragma unroll
        for (int i = 0; i < ROWS_AT_ONCE; i++)
            at_pack_load(v[i], x + (p.first + at_row_or(r + i * step, n, r)) * pitch, AT_PACK, true,
                         0.0f);
#pragma unroll
        for (int i = 0; i < ROWS_AT_ONCE; i++)
            if (r + i * step < n)
                top = put_row<T>(v[i], j, k, p.first + r + i * step, p.column, y_scale, top);
    }
    return top;
}

template <class T>
__global__ void __launch_bounds__(AT_BLOCK, 2) channels_apply(at_channels_job j)
{
    AT_SHARED(float[AT_WARPS_MAX], room);
    at_wait_for_earlier();
    const at_channels_place p = at_channels_place_of(j.s, gridDim.x - 1 - blockIdx.x);
    const float top = p.column < j.s.cols ? put_rows<T>(j, p) : 0.0f;
    if (j.y_amax)
        at_amax_put(top, j.y_amax, room);
}

/* --- launches --------------------------------------------------------------------------------- */

/* A thread works on ROWS_MIN to ROWS_MAX positions: few enough for a grid of BLOCKS_WANTED blocks a
 * sample, two for each processor of the chip; no more, because it adds them up in f32. */
at_slabs at_slabs_of(const at_view *all)
{
    enum { PACKS_MAX = 8, ROWS_MIN = 8, ROWS_MAX = 64, BLOCKS_WANTED = 264 };
    at_slabs s = {};
    s.batch = all->size[0];
    s.rows = at_rows(all) / s.batch;
    s.cols = at_cols(all);
    unsigned x = 1;
    while (x < PACKS_MAX && (int64_t)x * AT_PACK < s.cols)
        x *= 2;
    s.block = dim3(x, AT_BLOCK / x);
    s.chunk = (int64_t)x * AT_PACK;
    s.chunks = (s.cols + s.chunk - 1) / s.chunk;
    int64_t rows = s.rows * s.chunks / ((int64_t)s.block.y * BLOCKS_WANTED);
    rows = rows < ROWS_MIN ? (int64_t)ROWS_MIN : rows > ROWS_MAX ? (int64_t)ROWS_MAX : rows;
    s.slab = rows * s.block.y;
    s.slabs = (s.rows + s.slab - 1) / s.slab;
    return s;
}

/* Where the arrays of the forward passes lie. */
struct places {
    int64_t stride;
    size_t at_moments, at_coefficients, end;
};

static places places_of(const at_slabs *s)
{
    const size_t numbers = (size_t)(s->batch * s->cols);
    places p = { (s->cols + AT_PACK - 1) / AT_PACK * AT_PACK, 0, 0, 0 };
    p.at_moments = (3 * sizeof(float) * numbers * (size_t)s->slabs + 63) / 64 * 64;
    p.at_coefficients = p.at_moments + (2 * sizeof(double) * numbers + 63) / 64 * 64;
    p.end =
        p.at_coefficients + AT_FORWARD_COEFFICIENTS * sizeof(float) * (size_t)(s->batch * p.stride);
    return p;
}

size_t at_channels_cuda_scratch(const at_view *all)
{
    const at_slabs s = at_slabs_of(all);
    return places_of(&s).end;
}

at_channels_job at_channels_job_of(const at_view *all, const at_view *x, const at_view *x2,
                                   int64_t groups, void *scratch)
{
    at_channels_job j = {};
    j.s = at_slabs_of(all);
    const places p = places_of(&j.s);
    char *base = static_cast<char *>(scratch);
    j.x = at_lines_of(x);
    j.x2 = at_lines_or_none(x2);
    j.seam = at_cols(x);
    j.parts = reinterpret_cast<float *>(base);
    j.moments = reinterpret_cast<double *>(base + p.at_moments);
    j.coefficients = reinterpret_cast<float *>(base + p.at_coefficients);
    j.stride = p.stride;
    j.groups = groups;
    j.size = j.s.cols / groups;
    j.freedom = j.s.rows * j.size;
    return j;
}

template <class T>
static cudaError_t launch_sums(const at_channels_job *j, at_queue stream)
{
    return AT_LAUNCH_EARLY(channels_sums<T>, at_channels_grid(&j->s), j->s.block, 0, stream, *j);
}

template <class T>
static cudaError_t launch_apply(const at_channels_job *j, at_queue stream)
{
    return AT_LAUNCH_EARLY(channels_apply<T>, at_channels_grid(&j->s), j->s.block, 0, stream, *j);
}

cudaError_t at_channels_measure(const at_channels_job *j, at_dtype type, at_queue stream)
{
    const at_tiles t = at_finish_tiles(&j->s, j->size, j->groups);
    const cudaError_t error = AT_BY_TYPE(type, launch_sums, j, stream);
    return error == cudaSuccess ? AT_LAUNCH_EARLY(channels_finish, t.grid, t.block, 0, stream, *j)
                                : error;
}

cudaError_t at_channels_apply(const at_channels_job *j, at_dtype type, at_queue stream)
{
    const cudaError_t error = at_amax_clear(j->y_amax, stream);
    return error == cudaSuccess ? AT_BY_TYPE(type, launch_apply, j, stream) : error;
}
