/* optimizer.cuh -- what the optimizers share on a GPU: four weights a thread, the numbers of a step
 * as device memory has them, the rounded copy.
 *
 * A thread's four weights are one load of 16 bytes, beside its neighbours' in each of the step's
 * arrays, whatever their types. A step whose gradient factor is exactly 0 is left out
 * (optimizer.h): everything is loaded, but only the low copy is stored. */
#ifndef AT_KERNELS_OPTIMIZER_CUH
#define AT_KERNELS_OPTIMIZER_CUH

#include "kernels/elements.cuh"

enum { AT_QUAD = 4 };

#define AT_FOR_QUAD(i) _Pragma("unroll") for (int i = 0; i < AT_QUAD; i++)

/* The vector that holds four elements of so many bytes. */
template <int BYTES>
struct at_quad_vector {
    using type = uint4;
};
template <>
struct at_quad_vector<2> {
    using type = uint2;
};
template <>
struct at_quad_vector<1> {
    using type = unsigned;
};

/* Four elements as they lie in memory. They are fetched for all of a step's arrays before the first
 * is made floats of: a load is waited for where its bits are first touched. */
template <class T>
struct at_quad {
    typename at_quad_vector<sizeof(T)>::type bits;
};

/* The elements from p on; zeros from the n-th on. */
template <class T>
__device__ __forceinline__ at_quad<T> at_quad_load(const T *p, int64_t n, bool wide)
{
    at_quad<T> q = {};
    if (wide && n >= AT_QUAD) {
        q.bits = at_load<typename at_quad_vector<sizeof(T)>::type>(p);
        return q;
    }
    T *e = reinterpret_cast<T *>(&q.bits);
    AT_FOR_QUAD(i)
    if (i < n)
        e[i] = p[i];
    return q;
}

/* Columns c to c + 3 of a row of 'cols'. */
template <class T>
__device__ __forceinline__ at_quad<T> at_quad_get(const at_lines &l, int64_t row, int64_t c,
                                                  int64_t cols)
{
    return at_quad_load(at_line<T>(l, row) + c, cols - c, l.wide);
}

/* v = the elements, as floats or as codes. */
template <class T, class V>
__device__ __forceinline__ void at_quad_take(V (&v)[AT_QUAD], const at_quad<T> &q)
{
    const T *e = reinterpret_cast<const T *>(&q.bits);
    AT_FOR_QUAD(i)
    v[i] = static_cast<V>(e[i]);
}

template <class T, class V>
__device__ __forceinline__ void at_quad_store(T *p, const V (&v)[AT_QUAD], int64_t n, bool wide)
{
    at_quad<T> q;
    T *e = reinterpret_cast<T *>(&q.bits);
    AT_FOR_QUAD(i)
    e[i] = static_cast<T>(v[i]);
    if (wide && n >= AT_QUAD) {
        at_store(p, q.bits);
        return;
    }
    AT_FOR_QUAD(i)
    if (i < n)
        p[i] = e[i];
}

template <class T, class V>
__device__ __forceinline__ void at_quad_put(const at_lines &l, int64_t row, int64_t c, int64_t cols,
                                            const V (&v)[AT_QUAD])
{
    at_quad_store(at_line<T>(l, row) + c, v, cols - c, l.wide);
}

/* The rounded copy of weights, where one is kept. */
__device__ __forceinline__ void at_low_put(const at_lines &low, int64_t row, int64_t c,
                                           int64_t cols, const float (&w)[AT_QUAD])
{
    if (!low.data)
        return;
    if (low.dtype == AT_BF16)
        at_quad_put<__nv_bfloat16>(low, row, c, cols, w);
    else
        at_quad_put<__half>(low, row, c, cols, w);
}

/* --- AdamW ------------------------------------------------------------------------------------ */

/* What does not change from weight to weight: the host's part, and with a step's numbers all. */
struct at_adamw_rates {
    float beta1, rest1, beta2, rest2, eps, decay; /* rest: 1 - beta */
};
struct at_adamw_step {
    float factor, keep, rate, root; /* 1 - lr * decay, lr / bias1, 1 / sqrt(bias2) */
};

static inline at_adamw_rates at_adamw_rates_of(float beta1, float beta2, float eps, float decay)
{
    return {
        beta1, (float)(1 - (double)beta1), beta2, (float)(1 - (double)beta2), eps, decay,
    };
}

__device__ __forceinline__ at_adamw_step at_adamw_step_of(const at_adamw_rates &a,
                                                          const float *hyper)
{
    return { hyper[AT_HYPER_FACTOR], fmaf(-hyper[AT_HYPER_LR], a.decay, 1.0f),
             hyper[AT_HYPER_LR] / hyper[AT_HYPER_BIAS1], 1.0f / sqrtf(hyper[AT_HYPER_BIAS2]) };
}

/* m and v forward by one gradient. Nothing is fused, as on a processor: codes of one byte must not
 * depend on who computed them. */
__device__ __forceinline__ void at_adamw_states(const at_adamw_rates &a, float *m, float *v,
                                                float g)
{
    *m = __fadd_rn(__fmul_rn(a.beta1, *m), __fmul_rn(a.rest1, g));
    *v = __fadd_rn(__fmul_rn(a.beta2, *v), __fmul_rn(a.rest2, __fmul_rn(g, g)));
}

/* The weight that follows from the new states. */
__device__ __forceinline__ float at_adamw_weight(const at_adamw_rates &a, const at_adamw_step &s,
                                                 float w, float m, float v)
{
    return w * s.keep - s.rate * m / fmaf(sqrtf(v), s.root, a.eps);
}

/* --- the host's side -------------------------------------------------------------------------- */

/* How the first of 'count' views of one shape is walked: as one row where all are dense. Absent
 * views have no rows. */
static inline void at_step_lines(at_lines *lines, const at_view *const *views, int count,
                                 int64_t *rows, int64_t *cols)
{
    bool dense = true;
    for (int i = 0; i < count; i++)
        dense = dense && (!at_has(views[i]) || at_dense(views[i]));
    *rows = dense ? 1 : at_rows(views[0]);
    *cols = at_elements(views[0]) / *rows;
    for (int i = 0; i < count; i++) {
        at_view v = *views[i];
        v.pitch = dense ? *cols : v.pitch;
        lines[i] = at_lines_of(&v);
        if (!at_has(views[i]))
            lines[i].data = nullptr;
        else if (dense)
            lines[i].wide = (uintptr_t)v.data % 16 == 0; /* there is no second row */
    }
}

/* A thread takes four columns of every row that is its own. */
static inline at_tiles at_step_tiles_of(int64_t rows, int64_t cols)
{
    return at_tiles_of(rows, cols * (AT_PACK / AT_QUAD));
}

__device__ __forceinline__ int64_t at_step_column()
{
    return ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * AT_QUAD;
}

__device__ __forceinline__ int64_t at_step_row()
{
    return (int64_t)blockIdx.y * blockDim.y + threadIdx.y;
}

#endif
