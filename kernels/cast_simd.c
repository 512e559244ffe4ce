/* cast_simd.c -- bound by memory: one load, one store. The largest magnitude is found in a pass of
 * its own over each part, which is then in the core's cache. */
#include "kernels/amax.h"
#include "kernels/convert.h"
#include "kernels/ops.h"
#include "kernels/variants.h"

AT_SIMD_DECLARE(at_cast);

enum { PART = 8192 }; /* elements */

AT_INLINE void convert_of(void *y, at_dtype to, const void *x, at_dtype from, int64_t n, at_vf f)
{
    int64_t i = 0;
    for (; i + AT_LANES <= n; i += AT_LANES)
        at_vf_store(y, i, to, f * at_vf_load(x, i, from));
    int rest = (int)(n - i);
    if (rest)
        at_vf_store_n(y, i, to, f * at_vf_load_n(x, i, from, rest, 0), rest);
}

AT_INLINE void convert_to(void *y, at_dtype to, const void *x, at_dtype from, int64_t n, at_vf f)
{
    if (from == AT_F32)
        convert_of(y, to, x, AT_F32, n, f);
    else if (from == AT_BF16)
        convert_of(y, to, x, AT_BF16, n, f);
    else
        convert_of(y, to, x, AT_F16, n, f);
}

void AT_SIMD(at_convert)(void *y, at_dtype to, const void *x, at_dtype from, int64_t n,
                         float factor)
{
    at_vf f = at_vf_set(factor);
    if (to == AT_F32)
        convert_to(y, AT_F32, x, from, n, f);
    else if (to == AT_BF16)
        convert_to(y, AT_BF16, x, from, n, f);
    else
        convert_to(y, AT_F16, x, from, n, f);
}

AT_INLINE float largest_of(const void *x, at_dtype type, int64_t n)
{
    at_vf most = { 0 };
    int64_t i = 0;
    for (; i + AT_LANES <= n; i += AT_LANES)
        most = at_vf_max(at_vf_abs(at_vf_load(x, i, type)), most);
    int rest = (int)(n - i);
    if (rest)
        most = at_vf_max(at_vf_abs(at_vf_load_n(x, i, type, rest, 0)), most);
    return at_vf_largest(most);
}

static float largest(const void *x, at_dtype type, int64_t n)
{
    if (type == AT_F32)
        return largest_of(x, AT_F32, n);
    if (type == AT_BF16)
        return largest_of(x, AT_BF16, n);
    return largest_of(x, AT_F16, n);
}

typedef struct job {
    const at_cast_args *a;
    int64_t cols; /* elements that lie together */
    float *amax;  /* the workers' places, or NULL */
} job;

static void work(void *ctx, int64_t begin, int64_t end, int worker)
{
    const job *j = ctx;
    const at_view *x = &j->a->x, *y = &j->a->y;
    for (int64_t e = begin, n; e < end; e += n) {
        int64_t r = e / j->cols, c = e % j->cols;
        n = j->cols - c < end - e ? j->cols - c : end - e;
        const void *from = (const char *)at_row(x, r) + (size_t)c * at_dtype_bytes(x->dtype);
        if (j->amax) {
            float most = largest(from, x->dtype, n), *own = j->amax + worker * AT_AMAX_APART;
            *own = most > *own ? most : *own;
        }
        AT_SIMD(at_convert)
        ((char *)at_row(y, r) + (size_t)c * at_dtype_bytes(y->dtype), y->dtype, from, x->dtype, n,
         1.0f);
    }
}

at_status AT_SIMD(at_cast)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_cast_args *a = args;
    bool dense = at_dense(&a->x) && at_dense(&a->y);
    job j = { a, dense ? at_elements(&a->x) : at_cols(&a->x), at_amax_begin(&a->amax, l) };
    (void)p;
    at_parallel(l->stream, at_elements(&a->x), PART, work, &j);
    at_amax_end(&a->amax, l, j.amax);
    return AT_OK;
}
