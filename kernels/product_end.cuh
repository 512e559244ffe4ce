/* product_end.cuh -- what becomes of a product's sums: the end that linear and convolution share,
 * and the plain one for partial sums. */
#ifndef AT_KERNELS_PRODUCT_END_CUH
#define AT_KERNELS_PRODUCT_END_CUH

#include "kernels/elements.cuh"

/* z = row_scale * col_scale * sum + bias + residual; y = act(z) / y_scale. */
struct at_product_end {
    at_lines y, z, residual;    /* (rows, cols); z, residual: or no data */
    at_lines bias;              /* (cols) or no data */
    const float *row_scale;     /* (1) or (rows), or NULL: 1 */
    const float *col_scale;     /* (1) or (cols), or NULL: 1 */
    const float *y_scale;       /* (1) or NULL: 1 */
    float *amax;                /* (1) or NULL: the largest |act(z)|, zero before */
    int64_t row_step, col_step; /* of the scales: 0 for one, 1 for one each */
    int act;                    /* at_act */
    float top;                  /* a thread's largest |act(z)| */
};

/* An operand's lines; no data where it is absent. */
static inline at_lines at_lines_or_none(const at_view *v)
{
    return at_has(v) ? at_lines_of(v) : at_lines{};
}

static inline const float *at_scale_of(const at_view *scale, int64_t *step)
{
    *step = at_cols(scale) > 1;
    return at_floats_of(scale);
}

static inline at_product_end at_linear_end_of(const at_linear_args *a)
{
    at_product_end e = {};
    e.y = at_lines_of(&a->y);
    e.z = at_lines_or_none(&a->z);
    e.residual = at_lines_or_none(&a->residual);
    e.bias = at_lines_or_none(&a->bias);
    e.row_scale = at_scale_of(&a->x_scale, &e.row_step);
    e.col_scale = at_scale_of(&a->w_scale, &e.col_step);
    e.y_scale = at_floats_of(&a->y_scale);
    e.amax = at_floats_of(&a->y_amax);
    e.act = a->act;
    return e;
}

__device__ __forceinline__ float at_sigmoid(float z)
{
    return 1.0f / (1.0f + expf(-z));
}

__device__ __forceinline__ float at_activate(int act, float z)
{
    switch (act) {
    case AT_ACT_RELU: return z > 0 ? z : 0;
    case AT_ACT_GELU: return z * (0.5f * erfcf(-0.70710678f * z));
    case AT_ACT_QUICK_GELU: return z * at_sigmoid(1.702f * z);
    case AT_ACT_SILU: return z * at_sigmoid(z);
    default: return z;
    }
}

/* Columns c to c + n - 1 of a row, at most a pack of them, in the type that the lines say. */
__device__ __forceinline__ void at_row_store(const at_lines &l, int64_t row, int64_t c, int64_t n,
                                             const float (&v)[AT_PACK])
{
    if (l.dtype == AT_F32)
        at_pack_store(at_line<float>(l, row) + c, v, n, l.wide);
    else if (l.dtype == AT_BF16)
        at_pack_store(at_line<__nv_bfloat16>(l, row) + c, v, n, l.wide);
    else if (l.dtype == AT_F16)
        at_pack_store(at_line<__half>(l, row) + c, v, n, l.wide);
    else
        at_pack_store(at_line<__nv_fp8_e4m3>(l, row) + c, v, n, l.wide);
}

/* v += an operand's columns c to c + 7. */
__device__ __forceinline__ void at_row_add(float (&v)[AT_PACK], const at_lines &l, int64_t row,
                                           int64_t c, int64_t n)
{
    float w[AT_PACK];
    at_row_load(w, l, row, c, c + n, 0.0f);
#pragma unroll
    for (int i = 0; i < AT_PACK; i++)
        v[i] += w[i];
}

/* The sums 'v' of row 'row', columns col to col + n - 1; those beyond are not looked at. */
__device__ __forceinline__ void at_end_put(at_product_end &e, float (&v)[AT_PACK], int64_t row,
                                           int64_t col, int64_t n)
{
    if (e.row_scale || e.col_scale) {
        const float scale = e.row_scale ? e.row_scale[row * e.row_step] : 1.0f;
#pragma unroll
        for (int i = 0; i < AT_PACK; i++)
            v[i] *= scale * (e.col_scale && i < n ? e.col_scale[(col + i) * e.col_step] : 1.0f);
    }
    if (e.bias.data)
        at_row_add(v, e.bias, 0, col, n);
    if (e.residual.data)
        at_row_add(v, e.residual, row, col, n);
    if (e.z.data)
        at_row_store(e.z, row, col, n, v);
    const float scale = e.y_scale ? *e.y_scale : 1.0f;
#pragma unroll
    for (int i = 0; i < AT_PACK; i++) {
        v[i] = at_activate(e.act, v[i]);
        e.top = i < n ? fmaxf(e.top, fabsf(v[i])) : e.top;
        v[i] = e.y_scale ? v[i] / scale : v[i];
    }
    at_row_store(e.y, row, col, n, v);
}

/* Sums in f32, perhaps added to others. */
struct at_sums_end {
    at_lines y, acc; /* (rows, cols) f32; acc: or no data, may be y itself */
};

__device__ __forceinline__ void at_end_put(at_sums_end &e, float (&v)[AT_PACK], int64_t row,
                                           int64_t col, int64_t n)
{
    if (e.acc.data)
        at_row_add(v, e.acc, row, col, n);
    at_pack_store(at_line<float>(e.y, row) + col, v, n, e.y.wide);
}

#endif
