/* lion.cu -- bound by memory: 12 bytes read and 8 written for each weight, in one pass; the aim is
 * 85 % of the bandwidth. */
#include "kernels/optimizer.cuh"

struct lion_job {
    at_lines w, m, g, low; /* (rows, cols) */
    const float *hyper;    /* (4) */
    int64_t rows, cols;
    double beta1;
    float beta2, decay;
};

/* The sign of what two nearly opposite terms leave is decided in f64: f32 would turn some
 * around. */
__device__ __forceinline__ float direction(double beta1, float m, double rest1, float g)
{
    const double u = fma(beta1, static_cast<double>(m), rest1 * g);
    return u > 0 ? 1.0f : u < 0 ? -1.0f : 0.0f;
}

template <class G>
__global__ void __launch_bounds__(AT_BLOCK) lion_step(lion_job j)
{
    const float factor = j.hyper[AT_HYPER_FACTOR], rate = j.hyper[AT_HYPER_LR];
    const float keep = fmaf(-rate, j.decay, 1.0f), rest2 = (1.0f - j.beta2) * factor;
    const double rest1 = (1 - j.beta1) * factor;
    const int64_t c = at_step_column();
    for (int64_t r = at_step_row(); c < j.cols && r < j.rows;
         r += (int64_t)gridDim.y * blockDim.y) {
        float w[AT_QUAD], m[AT_QUAD], g[AT_QUAD];
        const at_quad<float> w_in = at_quad_get<float>(j.w, r, c, j.cols);
        const at_quad<float> m_in = at_quad_get<float>(j.m, r, c, j.cols);
        at_quad_take(g, at_quad_get<G>(j.g, r, c, j.cols));
        at_quad_take(w, w_in);
        at_quad_take(m, m_in);
        if (factor != 0) {
            AT_FOR_QUAD(i)
            {
                w[i] = fmaf(w[i], keep, -rate * direction(j.beta1, m[i], rest1, g[i]));
                m[i] = fmaf(j.beta2, m[i], rest2 * g[i]);
            }
            at_quad_put<float>(j.m, r, c, j.cols, m);
            at_quad_put<float>(j.w, r, c, j.cols, w);
        }
        at_low_put(j.low, r, c, j.cols, w);
    }
}

template <class G>
static cudaError_t launch(const lion_job &j, cudaStream_t stream)
{
    const at_tiles t = at_step_tiles_of(j.rows, j.cols);
    return AT_LAUNCH(lion_step<G>, t.grid, t.block, 0, stream, j);
}

extern "C" bool at_lion_cuda_fits(const void *args)
{
    return at_is_simd_type(static_cast<const at_lion_args *>(args)->g.dtype);
}

extern "C" at_status at_lion_cuda(const void *args, const at_prepared *, const at_launch *l)
{
    const auto *a = static_cast<const at_lion_args *>(args);
    const at_view *const views[] = { &a->w, &a->m, &a->g, &a->w_low };
    at_lines lines[AT_COUNT(views)];
    int64_t rows, cols;
    at_step_lines(lines, views, (int)AT_COUNT(views), &rows, &cols);
    const lion_job j = { lines[0], lines[1], lines[2],         lines[3], at_floats_of(&a->hyper),
                         rows,     cols,     (double)a->beta1, a->beta2, a->decay };
    return at_launched(l, AT_BY_TYPE(a->g.dtype, launch, j, at_stream_of(l)));
}
