/* diffusion_step_simd.c -- bound by memory: every operand once, and only those that a row uses. */
#include "kernels/variants.h"
#include "kernels/vec.h"

AT_SIMD_DECLARE(at_diffusion_step);

enum { PART = 4096 };

typedef struct job {
    const at_diffusion_step_args *a;
    int64_t runs;        /* runs of a sample: its rows, or one where everything is dense */
    int64_t cols, parts; /* elements of a run, parts it is cut into */
} job;

/* A piece of a run: addresses, NULL for what is not used, and the row's coefficients. */
typedef struct piece {
    float *y, *x0;
    const float *x, *h0, *h1, *noise;
    const char *cond, *uncond;
    const float *coef;
} piece;

AT_INLINE at_vf load(const void *x, int64_t i, at_dtype type, int rest)
{
    return rest ? at_vf_load_n(x, i, type, rest, 0.0f) : at_vf_load(x, i, type);
}

AT_INLINE void store(float *y, int64_t i, at_vf v, int rest)
{
    if (rest)
        at_vf_store_n(y, i, AT_F32, v, rest);
    else
        at_vf_store(y, i, AT_F32, v);
}

/* One vector from element i, or its first 'rest' elements. */
AT_INLINE void step_vector(at_dtype type, const piece *p, int64_t i, int rest)
{
    const float *k = p->coef;
    at_vf x = load(p->x, i, AT_F32, rest), m = load(p->cond, i, type, rest);
    if (p->uncond) {
        at_vf u = load(p->uncond, i, type, rest);
        m = at_vf_fma(at_vf_set(k[0]), m - u, u);
    }
    at_vf x0 = at_vf_fma(at_vf_set(k[1]), x, at_vf_set(k[2]) * m);
    at_vf y = at_vf_fma(at_vf_set(k[3]), x, at_vf_set(k[4]) * x0);
    if (p->h0)
        y = at_vf_fma(at_vf_set(k[5]), load(p->h0, i, AT_F32, rest), y);
    if (p->h1)
        y = at_vf_fma(at_vf_set(k[6]), load(p->h1, i, AT_F32, rest), y);
    if (p->noise)
        y = at_vf_fma(at_vf_set(k[7]), load(p->noise, i, AT_F32, rest), y);
    if (p->x0)
        store(p->x0, i, x0, rest);
    store(p->y, i, y, rest);
}

AT_INLINE void step_piece(at_dtype type, const piece *p, int64_t n)
{
    int64_t i = 0;
    for (; i + AT_LANES <= n; i += AT_LANES)
        step_vector(type, p, i, 0);
    if (i < n)
        step_vector(type, p, i, (int)(n - i));
}

/* Address of element 'from' of a run, NULL when the operand is absent or its coefficient is
 * 'unused'. */
AT_INLINE void *address(const job *j, const at_view *v, int64_t run, int64_t from, bool unused)
{
    int64_t pitch = j->runs == 1 ? j->cols : v->pitch;
    if (!at_has(v) || unused)
        return NULL;
    return (char *)v->data + (size_t)(run * pitch + from) * at_dtype_bytes(v->dtype);
}

static void step_parts(void *ctx, int64_t begin, int64_t end, int worker)
{
    const job *j = ctx;
    const at_diffusion_step_args *a = j->a;
    (void)worker;
    for (int64_t q = begin; q < end; q++) {
        int64_t run = q / j->parts, from = q % j->parts * PART;
        int64_t n = j->cols - from < PART ? j->cols - from : PART;
        const float *k = at_row(&a->coef, run / j->runs);
        const piece p = { address(j, &a->y, run, from, false),
                          address(j, &a->x0, run, from, false),
                          address(j, &a->x, run, from, false),
                          address(j, &a->h0, run, from, k[5] == 0),
                          address(j, &a->h1, run, from, k[6] == 0),
                          address(j, &a->noise, run, from, k[7] == 0),
                          address(j, &a->cond, run, from, false),
                          address(j, &a->uncond, run, from, k[0] == 1),
                          k };
        if (a->cond.dtype == AT_F32)
            step_piece(AT_F32, &p, n);
        else if (a->cond.dtype == AT_BF16)
            step_piece(AT_BF16, &p, n);
        else
            step_piece(AT_F16, &p, n);
    }
}

at_status AT_SIMD(at_diffusion_step)(const void *args, const at_prepared *p, const at_launch *l)
{
    const at_diffusion_step_args *a = args;
    const at_view *views[] = {
        &a->y, &a->x0, &a->x, &a->cond, &a->uncond, &a->h0, &a->h1, &a->noise
    };
    int64_t B = a->x.size[0], rows = at_rows(&a->x) / B;
    bool dense = true;
    (void)p;
    for (size_t i = 0; i < AT_COUNT(views); i++)
        dense = dense && (!at_has(views[i]) || at_dense(views[i]));
    job j = { a, dense ? 1 : rows, at_cols(&a->x) * (dense ? rows : 1), 1 };
    j.parts = (j.cols + PART - 1) / PART;
    at_parallel(l->stream, B * j.runs * j.parts, j.cols < PART ? 1 + PART / j.cols : 1, step_parts,
                &j);
    return AT_OK;
}
