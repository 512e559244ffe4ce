/* adamw.cu -- bound by memory: 16 bytes read and 12 written for each weight, in one pass; the aim
 * is 85 % of the bandwidth. */
#include "kernels/optimizer.cuh"

struct adamw_job {
    at_lines w, m, v, g, low; /* (rows, cols) */
    const float *hyper;       /* (4) */
    int64_t rows, cols;
    at_adamw_rates rates;
};

template <class G>
__global__ void __launch_bounds__(AT_BLOCK) adamw_step(adamw_job j)
{
    const at_adamw_step s = at_adamw_step_of(j.rates, j.hyper);
    const int64_t c = at_step_column();
    for (int64_t r = at_step_row(); c < j.cols && r < j.rows;
         r += (int64_t)gridDim.y * blockDim.y) {
        float w[AT_QUAD], m[AT_QUAD], v[AT_QUAD], g[AT_QUAD];
        const at_quad<float> w_in = at_quad_get<float>(j.w, r, c, j.cols);
        const at_quad<float> m_in = at_quad_get<float>(j.m, r, c, j.cols);
        const at_quad<float> v_in = at_quad_get<float>(j.v, r, c, j.cols);
        at_quad_take(g, at_quad_get<G>(j.g, r, c, j.cols));
        at_quad_take(w, w_in);
        at_quad_take(m, m_in);
        at_quad_take(v, v_in);
        if (s.factor != 0) {
            AT_FOR_QUAD(i)
            {
                at_adamw_states(j.rates, &m[i], &v[i], g[i] * s.factor);
                w[i] = at_adamw_weight(j.rates, s, w[i], m[i], v[i]);
            }
            at_quad_put<float>(j.m, r, c, j.cols, m);
            at_quad_put<float>(j.v, r, c, j.cols, v);
            at_quad_put<float>(j.w, r, c, j.cols, w);
        }
        at_low_put(j.low, r, c, j.cols, w);
    }
}

template <class G>
static cudaError_t launch(const adamw_job &j, cudaStream_t stream)
{
    const at_tiles t = at_step_tiles_of(j.rows, j.cols);
    return AT_LAUNCH(adamw_step<G>, t.grid, t.block, 0, stream, j);
}

extern "C" bool at_adamw_cuda_fits(const void *args)
{
    return at_is_simd_type(static_cast<const at_adamw_args *>(args)->g.dtype);
}

extern "C" at_status at_adamw_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_adamw_args *>(args);
    const at_view *const views[] = { &a->w, &a->m, &a->v, &a->g, &a->w_low };
    at_lines lines[AT_COUNT(views)];
    int64_t rows, cols;
    at_step_lines(lines, views, (int)AT_COUNT(views), &rows, &cols);
    const adamw_job j = {
        lines[0], lines[1], lines[2],
        lines[3], lines[4], at_floats_of(&a->hyper),
        rows,     cols,     at_adamw_rates_of(a->beta1, a->beta2, a->eps, a->decay)
    };
    return at_launched(l, AT_BY_TYPE(a->g.dtype, launch, j, at_stream_of(l)));
}
