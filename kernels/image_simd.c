/* image_simd.c -- bound by memory: five bytes a channel value in f32, three in bf16. */
#include "kernels/variants.h"
#include "kernels/vec.h"

AT_SIMD_DECLARE(at_image_to_tensor);
AT_SIMD_DECLARE(at_tensor_to_image);

enum { CHANNELS_MAX = 4 };

/* --- bytes to numbers ------------------------------------------------------------------------- */

/* y = x * factor + shift. With C channels the pattern of channels over lanes repeats after C
 * vectors. */
typedef struct tints {
    at_vf factor[CHANNELS_MAX], shift[CHANNELS_MAX];
} tints;

AT_INLINE tints tints_of(const at_image_to_tensor_args *a, int C)
{
    tints t;
    for (int k = 0; k < C; k++)
        for (int lane = 0; lane < AT_LANES; lane++) {
            int c = (k * AT_LANES + lane) % C;
            double std = a->std[c] == 0 ? 1 : (double)a->std[c];
            t.factor[k][lane] = (float)((double)a->scale / std);
            t.shift[k][lane] = (float)(-(double)a->mean[c] / std);
        }
    return t;
}

/* n values of whole pixels of C channels */
AT_INLINE void to_numbers(at_dtype type, int C, void *y, const void *x, int64_t n, const tints *t)
{
    int64_t i = 0;
    for (; i + C * AT_LANES <= n; i += C * AT_LANES)
        for (int k = 0; k < C; k++) {
            at_vf v = __builtin_convertvector(at_vi_load_u8(x, i + k * AT_LANES), at_vf);
            at_vf_store(y, i + k * AT_LANES, type, at_vf_fma(v, t->factor[k], t->shift[k]));
        }
    for (int k = 0; i < n; i += AT_LANES, k++) {
        int rest = n - i < AT_LANES ? (int)(n - i) : AT_LANES;
        at_vf v = __builtin_convertvector(
            rest < AT_LANES ? at_vi_load_u8_n(x, i, rest) : at_vi_load_u8(x, i), at_vf);
        v = at_vf_fma(v, t->factor[k], t->shift[k]);
        if (rest < AT_LANES)
            at_vf_store_n(y, i, type, v, rest);
        else
            at_vf_store(y, i, type, v);
    }
}

AT_INLINE void to_numbers_of_type(int C, at_dtype type, void *y, const void *x, int64_t n,
                                  const tints *t)
{
    if (type == AT_F32)
        to_numbers(AT_F32, C, y, x, n, t);
    else if (type == AT_BF16)
        to_numbers(AT_BF16, C, y, x, n, t);
    else
        to_numbers(AT_F16, C, y, x, n, t);
}

/* Pixels [begin, end): one run where both sides are dense, else one at a time. */
static void to_numbers_part(void *ctx, int64_t begin, int64_t end, int worker)
{
    const at_image_to_tensor_args *a = ctx;
    int C = (int)a->x.size[3];
    (void)worker;
    int64_t run = at_dense(&a->x) && at_dense(&a->y) ? end - begin : 1;
    const tints t = tints_of(a, C);
    for (int64_t r = begin; r < end; r += run) {
        void *y = at_row(&a->y, r);
        const void *x = at_row(&a->x, r);
        switch (C) {
        case 1: to_numbers_of_type(1, a->y.dtype, y, x, run, &t); break;
        case 2: to_numbers_of_type(2, a->y.dtype, y, x, run * 2, &t); break;
        case 3: to_numbers_of_type(3, a->y.dtype, y, x, run * 3, &t); break;
        default: to_numbers_of_type(4, a->y.dtype, y, x, run * 4, &t); break;
        }
    }
}

enum { PIXELS_PER_PART = 8192 };

at_status AT_SIMD(at_image_to_tensor)(const void *args, const at_prepared *p, const at_launch *l)
{
    at_image_to_tensor_args a = *(const at_image_to_tensor_args *)args;
    (void)p;
    at_parallel(l->stream, at_rows(&a.x), PIXELS_PER_PART, to_numbers_part, &a);
    return AT_OK;
}

/* --- numbers to bytes ------------------------------------------------------------------------- */

enum { HALF_EVEN, HALF_UP, TRUNCATE };

/* As the reference: product and sum rounded apart, so that halves fall where they fall there. */
AT_INLINE at_vi bytes_of(int rounding, at_vf x, at_vf scale, at_vf shift)
{
    const at_vf magic = at_vf_set(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
    at_vf v = x * scale + shift;
    v = at_vf_min(at_vf_max(v, (at_vf){ 0 }), at_vf_set(255.0f));
    if (rounding == HALF_EVEN)
        v = (v + magic) - magic;
    if (rounding == HALF_UP)
        v = v + at_vf_set(0.5f);
    return __builtin_convertvector(v, at_vi);
}

AT_INLINE void to_bytes(at_dtype type, int rounding, void *y, const void *x, int64_t n, at_vf scale,
                        at_vf shift)
{
    int64_t i = 0;
    for (; i + AT_LANES <= n; i += AT_LANES)
        at_vi_store_u8(y, i, bytes_of(rounding, at_vf_load(x, i, type), scale, shift));
    int rest = (int)(n - i);
    if (rest)
        at_vi_store_u8_n(
            y, i, bytes_of(rounding, at_vf_load_n(x, i, type, rest, 0.0f), scale, shift), rest);
}

AT_INLINE void to_bytes_of_type(int rounding, at_dtype type, void *y, const void *x, int64_t n,
                                at_vf scale, at_vf shift)
{
    if (type == AT_F32)
        to_bytes(AT_F32, rounding, y, x, n, scale, shift);
    else if (type == AT_BF16)
        to_bytes(AT_BF16, rounding, y, x, n, scale, shift);
    else
        to_bytes(AT_F16, rounding, y, x, n, scale, shift);
}

static void to_bytes_run(void *ctx, const int64_t *first, int64_t n)
{
    const at_tensor_to_image_args *a = ctx;
    void *y = (uint8_t *)a->y.data + first[0];
    const void *x = (const char *)a->x.data + (size_t)first[1] * at_dtype_bytes(a->x.dtype);
    at_vf scale = at_vf_set(a->scale), shift = at_vf_set(a->shift);
    if (a->rounding == HALF_EVEN)
        to_bytes_of_type(HALF_EVEN, a->x.dtype, y, x, n, scale, shift);
    else if (a->rounding == HALF_UP)
        to_bytes_of_type(HALF_UP, a->x.dtype, y, x, n, scale, shift);
    else
        to_bytes_of_type(TRUNCATE, a->x.dtype, y, x, n, scale, shift);
}

at_status AT_SIMD(at_tensor_to_image)(const void *args, const at_prepared *p, const at_launch *l)
{
    at_tensor_to_image_args a = *(const at_tensor_to_image_args *)args;
    (void)p;
    at_parallel_runs(l->stream, (const at_view *const[]){ &a.y, &a.x }, 2, to_bytes_run, &a);
    return AT_OK;
}
