/* convert.cuh -- packs of any element type: what cast, broadcast and embedding share.
 *
 * Values are double where an integer or f64 comes or goes, else float, in which f32, bf16, f16 and
 * e4m3 are exact. Either way an element is rounded as at_store() does it: a double to f32 first,
 * from there to the narrow types; integers truncate and saturate, and what is no number is 0. */
#ifndef AT_KERNELS_CONVERT_CUH
#define AT_KERNELS_CONVERT_CUH

#include "kernels/elements.cuh"

/* --- one element ------------------------------------------------------------------------------ */

template <class V, class T>
__device__ __forceinline__ V at_value_of(T e)
{
    if constexpr (sizeof(T) < sizeof(float))
        return static_cast<V>(static_cast<float>(e));
    else
        return static_cast<V>(e);
}

template <class T, class V>
__device__ __forceinline__ T at_element_of(V v)
{
    return static_cast<T>(static_cast<float>(v));
}

template <>
__device__ __forceinline__ double at_element_of<double, double>(double v)
{
    return v;
}

/* The largest i64 is the last double below 2^63, as in at_store(). */
template <>
__device__ __forceinline__ int64_t at_element_of<int64_t, double>(double v)
{
    const double low = -9223372036854775808.0, high = 9223372036854774784.0;
    return v != v ? 0 : static_cast<int64_t>(v < low ? low : v > high ? high : v);
}

template <>
__device__ __forceinline__ int32_t at_element_of<int32_t, double>(double v)
{
    const double low = -2147483648.0, high = 2147483647.0;
    return v != v ? 0 : static_cast<int32_t>(v < low ? low : v > high ? high : v);
}

template <>
__device__ __forceinline__ uint8_t at_element_of<uint8_t, double>(double v)
{
    return v != v ? 0 : static_cast<uint8_t>(v < 0 ? 0.0 : v > 255 ? 255.0 : v);
}

/* --- packs ------------------------------------------------------------------------------------ */

/* As at_pack_load(), of any type; zeros from the n-th on. */
template <class T, class V>
__device__ __forceinline__ void at_value_load(V (&v)[AT_PACK], const T *p, int64_t n, bool wide)
{
    at_pack<T> raw;
    at_pack_fetch(raw, p, n, wide);
#pragma unroll
    for (int i = 0; i < AT_PACK; i++)
        v[i] = at_value_of<V>(raw.e[i]);
}

template <class T, class V>
__device__ __forceinline__ void at_value_store(T *p, const V (&v)[AT_PACK], int64_t n, bool wide)
{
    at_pack<T> raw;
#pragma unroll
    for (int i = 0; i < AT_PACK; i++)
        raw.e[i] = at_element_of<T>(v[i]);
    at_pack_put(p, raw, n, wide);
}

/* --- in the type that the lines say ----------------------------------------------------------- */

/* True where float values do. */
static inline bool at_values_are_float(at_dtype type)
{
    return type == AT_F32 || type == AT_BF16 || type == AT_F16 || type == AT_F8;
}

template <class T, class V>
__device__ __forceinline__ void at_values_load_of(V (&v)[AT_PACK], const at_lines &l, int64_t row,
                                                  int64_t c, int64_t cols)
{
    at_value_load(v, at_line<T>(l, row) + c, cols - c, l.wide);
}

template <class T, class V>
__device__ __forceinline__ void at_values_store_of(const at_lines &l, int64_t row, int64_t c,
                                                   int64_t cols, const V (&v)[AT_PACK])
{
    at_value_store(at_line<T>(l, row) + c, v, cols - c, l.wide);
}

/* Columns c to c + 7 of a row of 'cols'. */
__device__ __forceinline__ void at_values_load(float (&v)[AT_PACK], const at_lines &l, int64_t row,
                                               int64_t c, int64_t cols)
{
    switch (l.dtype) {
    case AT_BF16: at_values_load_of<__nv_bfloat16>(v, l, row, c, cols); return;
    case AT_F16: at_values_load_of<__half>(v, l, row, c, cols); return;
    case AT_F8: at_values_load_of<__nv_fp8_e4m3>(v, l, row, c, cols); return;
    default: at_values_load_of<float>(v, l, row, c, cols); return;
    }
}

__device__ __forceinline__ void at_values_load(double (&v)[AT_PACK], const at_lines &l, int64_t row,
                                               int64_t c, int64_t cols)
{
    switch (l.dtype) {
    case AT_BF16: at_values_load_of<__nv_bfloat16>(v, l, row, c, cols); return;
    case AT_F16: at_values_load_of<__half>(v, l, row, c, cols); return;
    case AT_F8: at_values_load_of<__nv_fp8_e4m3>(v, l, row, c, cols); return;
    case AT_F64: at_values_load_of<double>(v, l, row, c, cols); return;
    case AT_I32: at_values_load_of<int32_t>(v, l, row, c, cols); return;
    case AT_I64: at_values_load_of<int64_t>(v, l, row, c, cols); return;
    case AT_U8: at_values_load_of<uint8_t>(v, l, row, c, cols); return;
    default: at_values_load_of<float>(v, l, row, c, cols); return;
    }
}

__device__ __forceinline__ void at_values_store(const at_lines &l, int64_t row, int64_t c,
                                                int64_t cols, const float (&v)[AT_PACK])
{
    switch (l.dtype) {
    case AT_BF16: at_values_store_of<__nv_bfloat16>(l, row, c, cols, v); return;
    case AT_F16: at_values_store_of<__half>(l, row, c, cols, v); return;
    case AT_F8: at_values_store_of<__nv_fp8_e4m3>(l, row, c, cols, v); return;
    default: at_values_store_of<float>(l, row, c, cols, v); return;
    }
}

__device__ __forceinline__ void at_values_store(const at_lines &l, int64_t row, int64_t c,
                                                int64_t cols, const double (&v)[AT_PACK])
{
    switch (l.dtype) {
    case AT_BF16: at_values_store_of<__nv_bfloat16>(l, row, c, cols, v); return;
    case AT_F16: at_values_store_of<__half>(l, row, c, cols, v); return;
    case AT_F8: at_values_store_of<__nv_fp8_e4m3>(l, row, c, cols, v); return;
    case AT_F64: at_values_store_of<double>(l, row, c, cols, v); return;
    case AT_I32: at_values_store_of<int32_t>(l, row, c, cols, v); return;
    case AT_I64: at_values_store_of<int64_t>(l, row, c, cols, v); return;
    case AT_U8: at_values_store_of<uint8_t>(l, row, c, cols, v); return;
    default: at_values_store_of<float>(l, row, c, cols, v); return;
    }
}

#endif
