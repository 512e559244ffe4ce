/* adamw8bit_simd.c -- 12 bytes read and 6 written for each weight (f32 gradients), and enough
 * arithmetic to keep two vector units as busy as memory: a code is looked up by its exponent, a
 * number's segment is its exponent divided by three. */
#include "kernels/adamw_step.h"
#include "kernels/state_map.h"
#include "kernels/variants.h"

AT_SIMD_DECLARE(at_adamw8bit);

/* table[index mod 8]; a table is repeated where there are more lanes than eight. */
#if defined(__AVX512F__)
AT_INLINE at_vf look_up(const at_vf *table, at_vi index)
{
    return (at_vf)_mm512_permutexvar_ps((__m512i)index, (__m512)*table);
}
enum { TABLE_VECTORS = 1 };
#elif defined(__AVX2__)
AT_INLINE at_vf look_up(const at_vf *table, at_vi index)
{
    return (at_vf)_mm256_permutevar8x32_ps((__m256)*table, (__m256i)index);
}
enum { TABLE_VECTORS = 1 };
#else
AT_INLINE at_vf look_up(const at_vf *table, at_vi index)
{
    at_vf y;
    for (int i = 0; i < AT_LANES; i++)
        y[i] = ((const float *)table)[index[i] & 7];
    return y;
}
enum { TABLE_VECTORS = 2 };
#endif

enum { SEGMENTS_MAX = 8, TABLE_LANES = TABLE_VECTORS * AT_LANES };

/* The segments of a map as tables, each entry where the index of its segment falls modulo 8. */
typedef struct map {
    at_vf gain[TABLE_VECTORS], base[TABLE_VECTORS], slope[TABLE_VECTORS], offset[TABLE_VECTORS];
    at_vf least;  /* the value of code 0 */
    at_vf lowest; /* where segment 0 begins, four times */
} map;

static map map_of(int bits)
{
    map t;
    float gain[TABLE_LANES], base[TABLE_LANES], slope[TABLE_LANES], offset[TABLE_LANES];
    memset(&t, 0, sizeof t);
    for (int lane = 0; lane < TABLE_LANES; lane++) {
        /* A code k in segment i has the biased exponent 127 + i. */
        int i = (lane - 127) & (SEGMENTS_MAX - 1);
        gain[lane] = at_state_gain(bits, i);
        base[lane] = at_state_base(bits, i);
        /* 4 * 8^(i - n) has the biased exponent 129 + 3 (i - n), a third of it is 43 + i - n. */
        i = (lane - 43 + bits) & (SEGMENTS_MAX - 1);
        slope[lane] = at_state_slope(bits, i < bits ? i : bits - 1);
        offset[lane] = at_state_offset(bits, i < bits ? i : bits - 1);
    }
    memcpy(t.gain, gain, sizeof gain);
    memcpy(t.base, base, sizeof base);
    memcpy(t.slope, slope, sizeof slope);
    memcpy(t.offset, offset, sizeof offset);
    t.least = at_vf_set(at_state_floor(bits));
    t.lowest = at_vf_set(at_state_begin(bits, 0));
    return t;
}

/* Code 0 has no exponent and gets segment 1, whose line is below every value there. */
AT_INLINE at_vf value_of(const map *t, at_vi k)
{
    at_vf x = __builtin_convertvector(k, at_vf);
    at_vi segment = (at_vi)((at_vu)x >> 23);
    return at_vf_max(look_up(t->gain, segment) * x + look_up(t->base, segment), t->least);
}

typedef uint16_t halves __attribute__((vector_size(AT_LANES * 4)));

AT_INLINE at_vi code_of(const map *t, at_vf x4)
{
    at_vf x = at_vf_max(x4, t->lowest);
    at_vu exponent = (at_vu)x >> 23;
    /* e * 171 / 512 is e / 3 for e up to 255, in sixteen bits. */
    at_vi segment = (at_vi)((at_vu)((halves)exponent * 171) >> 9);
    at_vf k = x * look_up(t->slope, segment) + look_up(t->offset, segment);
    return __builtin_convertvector(k, at_vi);
}

/* --- a block ---------------------------------------------------------------------------------- */

typedef struct job {
    const at_adamw8bit_args *a;
    at_adamw_step step;
    map m_map, v_map;
} job;

/* A block's states between decoding and encoding. Lanes past the end are those of a zero
 * gradient and a zero code: never larger than the others. */
typedef struct block {
    uint8_t m_code[AT_STATE_BLOCK], v_code[AT_STATE_BLOCK];
    float m[AT_STATE_BLOCK], v[AT_STATE_BLOCK];
    at_vf m_scale, v_scale, m_top, v_top;
} block;

AT_INLINE void step_vector(const job *j, at_dtype type, block *b, int64_t first, int64_t i, int n)
{
    const at_adamw8bit_args *a = j->a;
    at_vi code = at_vi_load_u8(b->m_code, i);
    at_vi sign = (code & AT_STATE_SIGN) << 24;
    at_vf m = value_of(&j->m_map, code & (AT_STATE_SIGN - 1)) * b->m_scale;
    at_vf v = value_of(&j->v_map, at_vi_load_u8(b->v_code, i)) * b->v_scale;
    m = (at_vf)((at_vi)m | sign);
    at_adamw_states(&j->step, &m, &v, at_lanes_load(a->g.data, first + i, type, n));
    b->m_top = at_vf_max(b->m_top, at_vf_abs(m));
    b->v_top = at_vf_max(b->v_top, v);
    at_vf_store(b->m, i, AT_F32, m);
    at_vf_store(b->v, i, AT_F32, v);
    at_vf w = at_adamw_weight(&j->step, at_lanes_load(a->w.data, first + i, AT_F32, n), m, v);
    at_lanes_store(a->w.data, first + i, AT_F32, w, n);
    at_low_store(&a->w_low, first + i, w, n);
}

static void encode_block(const job *j, block *b, float m_scale, float v_scale)
{
    at_vf m_inverse = at_vf_set(at_state_inverse(m_scale));
    at_vf v_inverse = at_vf_set(at_state_inverse(v_scale));
    for (int64_t i = 0; i < AT_STATE_BLOCK; i += AT_LANES) {
        at_vf m = at_vf_load(b->m, i, AT_F32), v = at_vf_load(b->v, i, AT_F32);
        at_vi sign = (at_vi)((at_vu)m >> 24) & AT_STATE_SIGN;
        at_vi_store_u8(b->m_code, i, code_of(&j->m_map, at_vf_abs(m) * m_inverse) | sign);
        at_vi_store_u8(b->v_code, i, code_of(&j->v_map, v * v_inverse));
    }
}

AT_INLINE void step_block(const job *j, at_dtype type, int64_t index)
{
    const at_adamw8bit_args *a = j->a;
    float *m_scale = (float *)a->m_scale.data + index, *v_scale = (float *)a->v_scale.data + index;
    int64_t first = index * AT_STATE_BLOCK, n = at_cols(&a->w) - first;
    n = n < AT_STATE_BLOCK ? n : AT_STATE_BLOCK;
    block b = { .m_scale = at_vf_set(*m_scale), .v_scale = at_vf_set(*v_scale) };
    memcpy(b.m_code, (uint8_t *)a->m.data + first, (size_t)n);
    memcpy(b.v_code, (uint8_t *)a->v.data + first, (size_t)n);
    int64_t i = 0;
    for (; i + AT_LANES <= n; i += AT_LANES)
        step_vector(j, type, &b, first, i, AT_LANES);
    if (i < n)
        step_vector(j, type, &b, first, i, (int)(n - i));
    *m_scale = at_state_scale(at_vf_largest(b.m_top));
    *v_scale = at_state_scale(at_vf_largest(b.v_top));
    encode_block(j, &b, *m_scale, *v_scale);
    memcpy((uint8_t *)a->m.data + first, b.m_code, (size_t)n);
    memcpy((uint8_t *)a->v.data + first, b.v_code, (size_t)n);
}

static void step_blocks(void *ctx, int64_t begin, int64_t end, int worker)
{
    const job *j = ctx;
    (void)worker;
    for (int64_t i = begin; i < end; i++) {
        if (j->a->g.dtype == AT_F32)
            step_block(j, AT_F32, i);
        else if (j->a->g.dtype == AT_BF16)
            step_block(j, AT_BF16, i);
        else
            step_block(j, AT_F16, i);
    }
}

at_status AT_SIMD(at_adamw8bit)(const void *args, const at_prepared *p, const at_launch *l)
{
    enum { GRAIN = 32 };
    const at_adamw8bit_args *a = args;
    const at_hyper h = at_hyper_of(&a->hyper);
    (void)p;
    if (h.factor == 0)
        return at_low_copy(l->stream, &a->w_low, &a->w);
    job j = { a, at_adamw_step_of(&h, a->beta1, a->beta2, a->eps, a->decay),
              map_of(AT_STATE_M_BITS), map_of(AT_STATE_V_BITS) };
    at_parallel(l->stream, at_cols(&a->m_scale), GRAIN, step_blocks, &j);
    return AT_OK;
}
