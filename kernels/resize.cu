/* resize.cu -- bound by the load units: a load and a product for each tap, channel and pass, of
 * which all but the first come from cache; the bytes that must move take a fraction of that time.
 * The aim is half of one load of a warp per clock and multiprocessor.
 *
 * Three launches: both axes' tables, then a pass along each axis with a picture of bytes or f32
 * between them. */
#include "kernels/resize.h"

#include "kernels/picture.cuh"

enum { DOWN, ACROSS, AXES };

/* --- tables ----------------------------------------------------------------------------------- */

struct resize_table {
    int64_t in, out;
    int32_t *first, *count; /* (out) */
    void *weight;           /* (taps, out) f32, of bytes i32 */
};

struct tables_job {
    resize_table axis[AXES];
    int filter;
    bool bytes;
};

__device__ __forceinline__ void put_weight(const resize_table &a, int64_t place, double w,
                                           bool bytes)
{
    if (bytes)
        static_cast<int32_t *>(a.weight)[place] = at_resize_fixed(w);
    else
        static_cast<float *>(a.weight)[place] = (float)w;
}

enum { ADD_UP, WRITE };

/* A warp an element, a lane a tap. Every lane adds the weights up in the host's order, then makes
 * its own again and writes it. */
__global__ void __launch_bounds__(AT_BLOCK) make_tables(tables_job j)
{
    const resize_table a = j.axis[blockIdx.y];
    const int lane = (int)(threadIdx.x % AT_WARP);
    const int64_t o = (int64_t)blockIdx.x * (AT_BLOCK / AT_WARP) + threadIdx.x / AT_WARP;
    if (o >= a.out)
        return;
    const at_resize_reach reach = at_resize_reach_of(j.filter, a.in, a.out, o);
    const int64_t n = reach.end - reach.first;
    double sum = 0;
#pragma unroll 1
    for (int pass = ADD_UP; pass <= WRITE; pass++)
#pragma unroll 1
        for (int64_t base = 0; base < n; base += AT_WARP) {
            const int64_t t = base + lane;
            const double raw = t < n ? at_resize_raw_weight(j.filter, &reach, reach.first + t) : 0;
            for (int i = 0; pass == ADD_UP && i < AT_WARP && base + i < n; i++)
                sum = AT_ADD64_RN(sum, __shfl_sync(AT_LANES_ALL, raw, i));
            if (pass == WRITE && t < n)
                put_weight(a, t * a.out + o, at_resize_weight(j.filter, raw, sum), j.bytes);
        }
    if (lane == 0) {
        a.first[o] = (int32_t)reach.first;
        a.count[o] = (int32_t)n;
    }
}

/* Weights that the host decides: as many as a launch carries. */
enum { CLOSE_MAX = 128 };

struct close_job {
    int32_t *weight[AXES];
    int n;
    at_resize_close close[CLOSE_MAX];
};

__global__ void __launch_bounds__(CLOSE_MAX) put_close(close_job j)
{
    const int i = (int)threadIdx.x;
    if (i < j.n)
        j.weight[j.close[i].axis][j.close[i].place] = j.close[i].weight;
}

/* --- passes ----------------------------------------------------------------------------------- */

/* Element o of the axis is made for every outer and inner position: along a row the outer ones are
 * the rows, down a picture the inner ones are the columns. Where both pictures are dense, inner
 * positions and channels are one run of 'cols'. */
struct pass_job {
    at_lines y, x; /* (outer, out, inner, cols), (outer, in, inner, cols) */
    resize_table table;
    int64_t outer, inner, cols;
    int64_t packs; /* of a run */
};

/* What sums are made of. */
template <class From>
struct resize_sum {
    using type = float;
};
template <>
struct resize_sum<uint8_t> {
    using type = int;
};

template <class From>
__device__ __forceinline__ void load_pack(float (&v)[AT_PACK], const From *x, int64_t n, bool wide)
{
    at_pack_load(v, x, n, wide, 0.0f);
}

__device__ __forceinline__ void load_pack(int (&v)[AT_PACK], const uint8_t *x, int64_t n, bool wide)
{
    at_bytes_load(v, x, n, wide);
}

template <class To>
__device__ __forceinline__ void store_pack(To *y, const float (&v)[AT_PACK], int64_t n, bool wide)
{
    at_pack_store(y, v, n, wide);
}

__device__ __forceinline__ void store_pack(uint8_t *y, const int (&v)[AT_PACK], int64_t n,
                                           bool wide)
{
    at_bytes_store(y, v, n, wide);
}

__device__ __forceinline__ void add_tap(float &sum, float x, float w)
{
    sum = fmaf(x, w, sum);
}

__device__ __forceinline__ void add_tap(int &sum, int x, int w)
{
    sum += x * w;
}

__device__ __forceinline__ void finish(float &)
{
}

/* The integer sum, rounded and clamped to a byte. */
__device__ __forceinline__ void finish(int &sum)
{
    sum = (sum + (1 << (AT_RESIZE_BITS - 1))) >> AT_RESIZE_BITS;
    sum = sum < 0 ? 0 : sum > 255 ? 255 : sum;
}

/* A thread makes AT_PACK neighbours of a run, or, where runs are short (a pixel has three
 * channels), one element of AT_PACK outer positions: a weight that was loaded serves as many. */
template <class To, class From, bool PACKED>
__global__ void __launch_bounds__(AT_BLOCK) resize_pass(pass_job j)
{
    using S = typename resize_sum<From>::type;
    constexpr int OUTERS = PACKED ? 1 : AT_PACK;
    const int64_t e = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    const int64_t c = e % j.packs * (PACKED ? AT_PACK : 1), q = e / j.packs;
    const int64_t p = q % j.inner, o = q / j.inner;
    if (o >= j.table.out)
        return;
    const int64_t first = j.table.first[o], count = j.table.count[o];
    const int64_t tap = j.inner * j.x.pitch, x_step = j.table.in * tap;
    const int64_t y_step = j.table.out * j.inner * j.y.pitch;
    int64_t k = ((int64_t)blockIdx.y * blockDim.y + threadIdx.y) * OUTERS;
    for (; k < j.outer; k += (int64_t)gridDim.y * blockDim.y * OUTERS) {
        const From *x = at_line<From>(j.x, (k * j.table.in + first) * j.inner + p) + c;
        To *y = at_line<To>(j.y, (k * j.table.out + o) * j.inner + p) + c;
        const S *w = static_cast<const S *>(j.table.weight) + o;
        const int64_t n = PACKED ? j.cols - c : j.outer - k;
        S sum[AT_PACK] = {}, v[AT_PACK];
        for (int64_t t = 0; t < count; t++, x += tap, w += j.table.out) {
            if constexpr (PACKED) {
                load_pack(v, x, n, j.x.wide);
            } else {
#pragma unroll
                for (int i = 0; i < AT_PACK; i++)
                    v[i] = i < n ? static_cast<S>(x[i * x_step]) : S();
            }
#pragma unroll
            for (int i = 0; i < AT_PACK; i++)
                add_tap(sum[i], v[i], *w);
        }
#pragma unroll
        for (int i = 0; i < AT_PACK; i++)
            finish(sum[i]);
        if constexpr (PACKED) {
            store_pack(y, sum, n, j.y.wide);
        } else {
#pragma unroll
            for (int i = 0; i < AT_PACK; i++)
                if (i < n)
                    y[i * y_step] = static_cast<To>(sum[i]);
        }
    }
}

/* --- launches --------------------------------------------------------------------------------- */

template <class To, class From>
static cudaError_t launch_pass(pass_job j, cudaStream_t stream)
{
    const bool packed = j.cols >= AT_PACK;
    j.packs = packed ? (j.cols + AT_PACK - 1) / AT_PACK : j.cols;
    const int64_t rows = packed ? j.outer : (j.outer + AT_PACK - 1) / AT_PACK;
    const at_tiles t =
        at_tiles_spread(at_tiles_of(rows, j.table.out * j.inner * j.packs * AT_PACK));
    if (packed)
        return AT_LAUNCH((resize_pass<To, From, true>), t.grid, t.block, 0, stream, j);
    return AT_LAUNCH((resize_pass<To, From, false>), t.grid, t.block, 0, stream, j);
}

template <class To>
static cudaError_t launch_from_f32(const pass_job &j, cudaStream_t stream)
{
    return launch_pass<To, float>(j, stream);
}

/* A float picture's middle is f32. */
static cudaError_t run_pass(const at_view *y, const at_view *x, const resize_table &table, int axis,
                            cudaStream_t stream)
{
    const bool dense = at_dense(y) && at_dense(x);
    pass_job j = {};
    j.table = table;
    j.outer = axis == DOWN ? x->size[0] : x->size[0] * x->size[1];
    j.inner = axis == DOWN ? x->size[2] : 1;
    j.cols = x->size[3];
    if (dense) {
        j.cols *= j.inner;
        j.inner = 1;
    }
    j.y = dense ? at_lines_joined(y, j.cols) : at_lines_of(y);
    j.x = dense ? at_lines_joined(x, j.cols) : at_lines_of(x);
    switch (x->dtype) {
    case AT_U8: return launch_pass<uint8_t, uint8_t>(j, stream);
    case AT_BF16: return launch_pass<float, __nv_bfloat16>(j, stream);
    case AT_F16: return launch_pass<float, __half>(j, stream);
    default: return AT_BY_TYPE(y->dtype, launch_from_f32, j, stream);
    }
}

static cudaError_t run_tables(const tables_job &j, const at_resize_cuda_plan *plan,
                              cudaStream_t stream)
{
    enum { WARPS = AT_BLOCK / AT_WARP };
    const int64_t out =
        j.axis[DOWN].out > j.axis[ACROSS].out ? j.axis[DOWN].out : j.axis[ACROSS].out;
    cudaError_t error = AT_LAUNCH(make_tables, dim3((unsigned)((out + WARPS - 1) / WARPS), AXES),
                                  dim3(AT_BLOCK), 0, stream, j);
    for (int64_t i = 0; i < plan->closes && error == cudaSuccess; i += CLOSE_MAX) {
        close_job c = {};
        for (int axis = 0; axis < AXES; axis++)
            c.weight[axis] = static_cast<int32_t *>(j.axis[axis].weight);
        c.n = plan->closes - i < CLOSE_MAX ? (int)(plan->closes - i) : (int)CLOSE_MAX;
        for (int n = 0; n < c.n; n++)
            c.close[n] = plan->close[i + n];
        error = AT_LAUNCH(put_close, dim3(1), dim3(CLOSE_MAX), 0, stream, c);
    }
    return error;
}

extern "C" bool at_resize_cuda_fits(const void *args)
{
    const at_dtype type = static_cast<const at_resize_args *>(args)->x.dtype;
    return type == AT_U8 || at_is_simd_type(type);
}

extern "C" at_status at_resize_cuda(const void *args, const at_prepared *p, const at_launch *l)
{
    const auto *a = static_cast<const at_resize_args *>(args);
    const auto *plan = static_cast<const at_resize_cuda_plan *>(p->state);
    const int one = plan->vertical_first ? DOWN : ACROSS, two = DOWN + ACROSS - one;
    const cudaStream_t stream = at_stream_of(l);
    char *scratch = static_cast<char *>(l->scratch);
    tables_job j = { {}, a->filter, a->x.dtype == AT_U8 };
    for (int i = 0; i < AXES; i++) {
        auto *table = reinterpret_cast<int32_t *>(scratch + plan->table_at[i]);
        const int64_t in = a->x.size[1 + i], out = a->y.size[1 + i];
        j.axis[i] = { in, out, table, table + out, table + 2 * out };
    }
    at_view middle = a->x;
    middle.data = scratch + plan->middle_at;
    middle.dtype = j.bytes ? AT_U8 : AT_F32;
    middle.size[1 + one] = a->y.size[1 + one];
    middle.pitch = middle.size[3];
    cudaError_t error = run_tables(j, plan, stream);
    if (error == cudaSuccess)
        error = run_pass(&middle, &a->x, j.axis[one], one, stream);
    if (error == cudaSuccess)
        error = run_pass(&a->y, &middle, j.axis[two], two, stream);
    return at_launched(l, error);
}
