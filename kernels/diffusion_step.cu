/* diffusion_step.cu -- bound by memory: every operand once, and only those that a row's
 * coefficients use, for about ten operations; the aim is 85 % of the bandwidth. */
#include "kernels/picture.cuh"

struct step_job {
    at_lines y, x0, x;      /* (rows, cols) f32; x0 may be absent */
    at_lines cond, uncond;  /* T; uncond may be absent */
    at_lines h0, h1, noise; /* f32, may be absent */
    at_lines coef;          /* (B, 8) f32 */
    int64_t rows, cols;
    int64_t runs; /* rows of a sample */
};

/* What is added to a row with a coefficient; one of 0 leaves it unread, whatever it holds. */
struct step_term {
    float k, v[AT_PACK];
};

__device__ __forceinline__ void load_term(step_term &term, float k, const at_lines &l, int64_t r,
                                          int64_t c, int64_t cols)
{
    term.k = l.data ? k : 0;
    if (term.k != 0)
        at_pack_load(term.v, at_line<float>(l, r) + c, cols - c, l.wide, 0.0f);
}

__device__ __forceinline__ void add_term(float (&sum)[AT_PACK], const step_term &term)
{
    if (term.k != 0)
#pragma unroll
        for (int i = 0; i < AT_PACK; i++)
            sum[i] = fmaf(term.k, term.v[i], sum[i]);
}

/* All loads come before all sums, so that one wait serves them: latents are small. A pack of y may
 * lie where its x lies: a thread has read all of it before it writes. */
template <class T>
__global__ void __launch_bounds__(AT_BLOCK) step_latents(step_job j)
{
    at_wait_for_earlier();
    const int64_t c = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) * AT_PACK;
    int64_t r = (int64_t)blockIdx.y * blockDim.y + threadIdx.y;
    for (; c < j.cols && r < j.rows; r += (int64_t)gridDim.y * blockDim.y) {
        float k[AT_DIFFUSION_COEFS], x[AT_PACK], m[AT_PACK], u[AT_PACK] = {};
        step_term h0 = {}, h1 = {}, noise = {};
        const int64_t n = j.cols - c;
#pragma unroll
        for (int i = 0; i < AT_DIFFUSION_COEFS; i++)
            k[i] = at_line<float>(j.coef, r / j.runs)[i];
        const bool guided = j.uncond.data && k[0] != 1;
        at_pack_load(x, at_line<float>(j.x, r) + c, n, j.x.wide, 0.0f);
        at_pack_load(m, at_line<T>(j.cond, r) + c, n, j.cond.wide, 0.0f);
        if (guided)
            at_pack_load(u, at_line<T>(j.uncond, r) + c, n, j.uncond.wide, 0.0f);
        load_term(h0, k[5], j.h0, r, c, j.cols);
        load_term(h1, k[6], j.h1, r, c, j.cols);
        load_term(noise, k[7], j.noise, r, c, j.cols);
#pragma unroll
        for (int i = 0; i < AT_PACK; i++) {
            m[i] = guided ? fmaf(k[0], m[i] - u[i], u[i]) : m[i];
            m[i] = fmaf(k[1], x[i], __fmul_rn(k[2], m[i])); /* x0 */
            x[i] = fmaf(k[3], x[i], __fmul_rn(k[4], m[i]));
        }
        add_term(x, h0);
        add_term(x, h1);
        add_term(x, noise);
        if (j.x0.data)
            at_pack_store(at_line<float>(j.x0, r) + c, m, n, j.x0.wide);
        at_pack_store(at_line<float>(j.y, r) + c, x, n, j.y.wide);
    }
}

template <class T>
static cudaError_t launch_step(const step_job &j, at_queue stream)
{
    const at_tiles t = at_tiles_spread(at_tiles_of(j.rows, j.cols));
    return AT_LAUNCH_EARLY(step_latents<T>, t.grid, t.block, 0, stream, j);
}

extern "C" bool at_diffusion_step_cuda_fits(const void *args)
{
    return at_is_simd_type(static_cast<const at_diffusion_step_args *>(args)->cond.dtype);
}

extern "C" at_status at_diffusion_step_cuda(const void *args, const at_prepared *,
                                            const at_launch *l)
{
    const auto *a = static_cast<const at_diffusion_step_args *>(args);
    step_job j = {};
    const struct {
        at_lines *lines;
        const at_view *view;
    } operands[] = { { &j.y, &a->y },       { &j.x0, &a->x0 },         { &j.x, &a->x },
                     { &j.cond, &a->cond }, { &j.uncond, &a->uncond }, { &j.h0, &a->h0 },
                     { &j.h1, &a->h1 },     { &j.noise, &a->noise } };
    bool dense = true;
    for (const auto &o : operands)
        dense = dense && (!at_has(o.view) || at_dense(o.view));
    const int64_t B = a->x.size[0];
    j.coef = at_lines_of(&a->coef);
    j.rows = dense ? B : at_rows(&a->x);
    j.cols = at_elements(&a->x) / j.rows;
    j.runs = j.rows / B;
    for (const auto &o : operands)
        if (at_has(o.view))
            *o.lines = dense ? at_lines_joined(o.view, j.cols) : at_lines_of(o.view);
    return at_launched(l, AT_BY_TYPE(a->cond.dtype, launch_step, j, at_queue_of(l)));
}
