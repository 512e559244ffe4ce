/* adamw8bit.c -- AdamW with states of one byte each: 16 bytes of traffic for a weight instead of
 * 28, and a quarter of the memory. state_map.h says what the bytes mean. */
#include <math.h>

#include "kernels/optimizer.h"
#include "kernels/shape.h"
#include "kernels/state_map.h"
#include "kernels/variants.h"

static const at_operand adamw8bit_operands[] = {
    AT_OPERAND(adamw8bit, w, AT_INOUT, 0, AT_F32),
    AT_OPERAND(adamw8bit, m, AT_INOUT, 0, AT_U8),
    AT_OPERAND(adamw8bit, v, AT_INOUT, 0, AT_U8),
    AT_OPERAND(adamw8bit, m_scale, AT_INOUT, 0, AT_F32),
    AT_OPERAND(adamw8bit, v_scale, AT_INOUT, 0, AT_F32),
    AT_OPERAND(adamw8bit, w_low, AT_OUT, AT_OPTIONAL, AT_NONE),
    AT_OPERAND(adamw8bit, g, AT_IN, 0, AT_NONE),
    AT_OPERAND(adamw8bit, hyper, AT_IN, 0, AT_F32),
};
static const at_attr adamw8bit_attrs[] = {
    AT_FLOAT(adamw8bit, beta1),
    AT_FLOAT(adamw8bit, beta2),
    AT_FLOAT(adamw8bit, eps),
    AT_FLOAT(adamw8bit, decay),
    AT_ENUM(adamw8bit, low, AT_LOW_TYPES),
};

static at_status adamw8bit_shape(void *args, at_error *err)
{
    at_adamw8bit_args *a = args;
    int64_t n = at_cols(&a->w), blocks = (n + AT_STATE_BLOCK - 1) / AT_STATE_BLOCK;
    AT_TRY(at_expect_rank("adamw8bit", "w", &a->w, 1, 1, err));
    AT_TRY(at_expect_step("adamw8bit", &a->w, &a->g, &a->hyper, err));
    AT_TRY(at_expect_vector("adamw8bit", "m", &a->m, n, err));
    AT_TRY(at_expect_vector("adamw8bit", "v", &a->v, n, err));
    AT_TRY(at_expect_vector("adamw8bit", "m_scale", &a->m_scale, blocks, err));
    AT_TRY(at_expect_vector("adamw8bit", "v_scale", &a->v_scale, blocks, err));
    a->w_low = at_view_like(&a->w, at_low_type(a->low));
    return AT_OK;
}

static double adamw8bit_flops(const void *args)
{
    const at_adamw8bit_args *a = args;
    return 24 * (double)at_elements(&a->w);
}

/* --- reference -------------------------------------------------------------------------------- */

/* One number of a block's state. */
static float decode(int code, float scale, int bits)
{
    int k = bits == AT_STATE_M_BITS ? code & (AT_STATE_SIGN - 1) : code;
    float value = at_state_value(k, bits) * scale;
    return k != code ? -value : value;
}

static uint8_t encode(float x, float scale, int bits)
{
    int k = at_state_code(fabsf(x) * at_state_inverse(scale), bits);
    return (uint8_t)(signbit(x) ? k | AT_STATE_SIGN : k);
}

/* States are f32 here, not double: their codes are compared byte by byte. */
static void adamw8bit_block(const at_adamw8bit_args *a, const at_hyper *h, int64_t block)
{
    float *w = a->w.data, *m_scale = a->m_scale.data, *v_scale = a->v_scale.data;
    uint8_t *m_code = a->m.data, *v_code = a->v.data;
    float m[AT_STATE_BLOCK], v[AT_STATE_BLOCK], m_top = 0, v_top = 0;
    float rest1 = (float)(1 - (double)a->beta1), rest2 = (float)(1 - (double)a->beta2);
    int64_t first = block * AT_STATE_BLOCK, n = at_cols(&a->w) - first;
    n = n < AT_STATE_BLOCK ? n : AT_STATE_BLOCK;
    for (int64_t i = 0; i < n; i++) {
        float g = (float)at_get(&a->g, 0, first + i) * (float)h->factor;
        m[i] = a->beta1 * decode(m_code[first + i], m_scale[block], AT_STATE_M_BITS) + rest1 * g;
        v[i] =
            a->beta2 * decode(v_code[first + i], v_scale[block], AT_STATE_V_BITS) + rest2 * (g * g);
        m_top = fmaxf(m_top, fabsf(m[i]));
        v_top = fmaxf(v_top, v[i]);
        double size = sqrt((double)v[i] / h->bias2) + (double)a->eps;
        double kept = (double)w[first + i] * (1 - h->lr * (double)a->decay);
        w[first + i] = (float)(kept - h->lr * ((double)m[i] / h->bias1) / size);
    }
    m_scale[block] = at_state_scale(m_top);
    v_scale[block] = at_state_scale(v_top);
    for (int64_t i = 0; i < n; i++) {
        m_code[first + i] = encode(m[i], m_scale[block], AT_STATE_M_BITS);
        v_code[first + i] = encode(v[i], v_scale[block], AT_STATE_V_BITS);
    }
}

static at_status adamw8bit_ref(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_adamw8bit_args *a = args;
    const at_hyper h = at_hyper_of(&a->hyper);
    (void)p, (void)l;
    for (int64_t b = 0; b < at_cols(&a->m_scale) && h.factor != 0; b++)
        adamw8bit_block(a, &h, b);
    at_low_copy_ref(&a->w_low, &a->w);
    return AT_OK;
}

/* --- variants --------------------------------------------------------------------------------- */

static bool adamw8bit_fits(const void *args)
{
    const at_adamw8bit_args *a = args;
    return at_is_simd_type(a->g.dtype);
}

AT_SIMD_DECLARE(at_adamw8bit);
AT_CUDA_DECLARE(at_adamw8bit);
static const at_variant adamw8bit_variants[] = {
#ifdef AT_HAS_CUDA
    AT_CUDA_VARIANT("adamw8bit", at_adamw8bit, AT_ROWS_INDEPENDENT, NULL),
#endif
    AT_SIMD_VARIANTS("adamw8bit", at_adamw8bit, AT_ROWS_INDEPENDENT, adamw8bit_fits, NULL, NULL),
    AT_REFERENCE("adamw8bit", adamw8bit_ref),
};
AT_DEFINE_OP(adamw8bit, "AdamW step, states of one byte in blocks of 256, in place",
             adamw8bit_operands, adamw8bit_attrs, adamw8bit_shape, adamw8bit_flops,
             adamw8bit_variants);
